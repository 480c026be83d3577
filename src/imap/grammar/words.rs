//! What a client is told when it cannot be done: one table for the store's refusals, one for the end of a connection.
//! Nothing here tells a peer about our files.

use super::reply::Code;
use crate::net::WireError;
use crate::store::Refusal;

/// Code and words of the NO for a refusal (RFC 5530). The session puts TRYCREATE instead where RFC 3501 wants it: on a
/// destination of APPEND, COPY and MOVE that does not exist.
pub fn refusal(refusal: &Refusal) -> (Code<'static>, &'static str) {
    match refusal {
        Refusal::NotFound => (Code::NonExistent, "no such mailbox"),
        Refusal::Exists => (Code::AlreadyExists, "there is such a mailbox already"),
        Refusal::NotAllowed => (Code::Cannot, "that cannot be done to this mailbox"),
        Refusal::Limit => (Code::Limit, "more than the server takes"),
        Refusal::OverQuota => (Code::OverQuota, "the account is full"),
        Refusal::NoMemory => (Code::Unavailable, "the server is busy, try again later"),
        Refusal::DiskFull => (Code::Unavailable, "the server has no room now, try again later"),
        Refusal::Unavailable => (Code::Unavailable, "not possible now, try again later"),
        Refusal::Damaged => (Code::Corruption, "what was stored cannot be read"),
    }
}

/// Code and words of the BYE when a wait on the connection ended; `None` when nobody is there to read it.
pub fn goodbye(error: &WireError) -> Option<(Option<Code<'static>>, &'static str)> {
    match error {
        WireError::Closed | WireError::Failed(_) => None,
        WireError::TimedOut => Some((None, "idle for too long")), // RFC 3501 5.4
        WireError::LineTooLong => Some((Some(Code::TooBig), "the line is too long")),
        WireError::NoMemory => Some((Some(Code::Unavailable), "the server is busy, try again later")),
        WireError::Stopping => Some((Some(Code::Unavailable), "the server is shutting down")),
        WireError::Revoked => Some((None, "the account or its password has changed, log in again")),
    }
}
