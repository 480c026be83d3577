//! How a command fails and how a session ends (RFC 3501 7.1, RFC 5530). The words are the grammar's.

use super::grammar::{Code, Condition, words};
use super::view::NoRoom;
use crate::net::WireError;
use crate::store::Refusal;

/// Why a command did not come to its tagged OK.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command was fine and cannot be done: tagged NO.
    No(Option<Code<'static>>, &'static str),
    /// The command makes no sense here: tagged BAD.
    Bad(&'static str),
    /// The session ends.
    End(End),
}

/// Why a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client asked for it and has its BYE.
    Logout,
    /// We end it, and say why.
    Bye(Option<Code<'static>>, &'static str),
    /// The connection ended or must end.
    Wire(WireError),
    /// It broke inside a literal: whatever we say now would be taken for the message.
    Broken,
}

impl Failure {
    /// BYE with these words.
    pub(super) fn bye(text: &'static str) -> Self {
        Self::End(End::Bye(None, text))
    }

    /// The tagged reply; `None` when the session ends instead.
    pub(super) fn reply(&self) -> Option<(Condition, Option<&Code<'static>>, &'static str)> {
        match self {
            Self::No(code, text) => Some((Condition::No, code.as_ref(), text)),
            Self::Bad(text) => Some((Condition::Bad, None, text)),
            Self::End(_) => None,
        }
    }
}

impl End {
    /// The last words, if any can be said.
    pub(super) fn words(&self) -> Option<(Option<Code<'static>>, &'static str)> {
        match self {
            Self::Bye(code, text) => Some((code.clone(), text)),
            Self::Wire(error) => words::goodbye(error),
            Self::Logout | Self::Broken => None,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (code, text) = words::refusal(&refusal);
        Self::No(Some(code), text)
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self::End(End::Wire(error))
    }
}

impl From<NoRoom> for Failure {
    fn from(NoRoom: NoRoom) -> Self {
        Self::End(End::Wire(WireError::NoMemory))
    }
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}
