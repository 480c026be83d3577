//! What a client asks for: IMAP commands as types (RFC 3501 section 6 and the extensions served). Holds no parser.

use super::fetch::FetchItem;
use super::mailbox::MailboxName;
use super::pattern::Pattern;
use super::search::SearchKey;
use super::sequence::SequenceSet;
use super::tag::Tag;
use crate::base::Secret;
use crate::store::{Date, FlagChange, FlagNames, ModSeq, SpecialUse};

/// A whole command.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// What the tagged reply begins with.
    pub tag: Tag,
    /// What is asked.
    pub body: CommandBody,
}

/// What a command asks. Names stand as the client's UTF-8 (modified UTF-7 is decoded); numbers are in range.
#[derive(Clone, Debug, PartialEq)]
pub enum CommandBody {
    /// CAPABILITY
    Capability,
    /// NOOP
    Noop,
    /// LOGOUT
    Logout,
    /// ID (RFC 2971): field names with values; empty for NIL.
    Id(Vec<IdPair>),

    /// STARTTLS
    StartTls,
    /// AUTHENTICATE, with SASL-IR's initial response (RFC 4959).
    Authenticate {
        /// The mechanism in upper case.
        mechanism: String,
        /// The initial response, still base64; empty when the client sent `=`.
        initial: Option<Secret>,
    },
    /// LOGIN
    Login {
        /// The name, as sent.
        name: Vec<u8>,
        /// The password, as sent.
        password: Secret,
    },

    /// ENABLE (RFC 5161): capability names in upper case.
    Enable(Vec<String>),
    /// SELECT or EXAMINE.
    Select {
        /// The mailbox.
        mailbox: MailboxName,
        /// EXAMINE: nothing is changed, \Recent stays.
        read_only: bool,
        /// `(CONDSTORE)` was asked for (RFC 7162 3.1.8).
        condstore: bool,
    },
    /// CREATE
    Create {
        /// The new name; a separator at its end was taken off (RFC 3501 6.3.3).
        mailbox: MailboxName,
        /// `(USE (\Sent))` (RFC 6154 3).
        special_use: Option<SpecialUse>,
    },
    /// DELETE
    Delete(MailboxName),
    /// RENAME
    Rename {
        /// The name there is.
        from: MailboxName,
        /// The name there shall be.
        to: MailboxName,
    },
    /// SUBSCRIBE
    Subscribe(MailboxName),
    /// UNSUBSCRIBE
    Unsubscribe(MailboxName),
    /// LIST, LSUB or XLIST
    List(List),
    /// NAMESPACE (RFC 2342)
    Namespace,
    /// STATUS
    Status {
        /// The mailbox.
        mailbox: MailboxName,
        /// What is asked about it, in the client's order, without repeats.
        items: Vec<StatusItem>,
    },
    /// APPEND up to its (first) message, whose octets follow on the wire; what follows them goes to
    /// [`super::append_rest`].
    Append {
        /// The mailbox.
        mailbox: MailboxName,
        /// The first message.
        message: AppendMessage,
    },
    /// IDLE (RFC 2177): a line `DONE` ends it (see [`super::is_done`]).
    Idle,

    /// CHECK
    Check,
    /// CLOSE
    Close,
    /// UNSELECT (RFC 3691)
    Unselect,
    /// EXPUNGE, or UID EXPUNGE with its set (RFC 4315).
    Expunge {
        /// UIDs to which the command is confined.
        uids: Option<SequenceSet>,
    },
    /// SEARCH
    Search(Search),
    /// FETCH
    Fetch(Fetch),
    /// STORE
    Store(StoreFlags),
    /// COPY
    Copy(Transfer),
    /// MOVE (RFC 6851)
    Move(Transfer),
}

/// A field of ID (RFC 2971).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPair {
    /// The field, at most 30 octets.
    pub field: Vec<u8>,
    /// Its value, at most 1,024 octets; `None` for NIL.
    pub value: Option<Vec<u8>>,
}

/// Whether message numbers are UIDs, and replies to FETCH, STORE and SEARCH tell UIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// Message sequence numbers.
    Sequence,
    /// UIDs.
    Uid,
}

/// Which of the list commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// LIST
    List,
    /// LSUB
    Lsub,
    /// XLIST, Gmail's forerunner of SPECIAL-USE: as LIST, and INBOX carries \Inbox.
    Xlist,
}

/// LIST, LSUB and XLIST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Which of them.
    pub kind: ListKind,
    /// Reference and pattern together, one or more (RFC 5258); see [`Pattern::asks_for_root`].
    pub patterns: Vec<Pattern>,
    /// Which mailboxes (RFC 5258 3.1, RFC 6154 5.2).
    pub select: ListSelect,
    /// What is told about each.
    pub returns: ListReturn,
}

/// LIST's selection options (RFC 5258 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListSelect {
    /// SUBSCRIBED: subscribed names only, those that do not exist as well.
    pub subscribed: bool,
    /// REMOTE: no such mailboxes here; changes nothing.
    pub remote: bool,
    /// RECURSIVEMATCH: also parents of what matches; comes only together with `subscribed` or `special_use`.
    pub recursive_match: bool,
    /// SPECIAL-USE: only mailboxes with a special use (RFC 6154).
    pub special_use: bool,
}

/// LIST's return options (RFC 5258 3.2, RFC 5819, RFC 6154).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListReturn {
    /// SUBSCRIBED: tell \Subscribed.
    pub subscribed: bool,
    /// CHILDREN: tell \HasChildren and \HasNoChildren (told in any case).
    pub children: bool,
    /// SPECIAL-USE: tell special uses (told in any case).
    pub special_use: bool,
    /// STATUS (...): a STATUS reply after each mailbox that can be selected; empty when not asked for.
    pub status: Vec<StatusItem>,
}

/// What STATUS can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusItem {
    /// MESSAGES
    Messages,
    /// RECENT
    Recent,
    /// UIDNEXT
    UidNext,
    /// UIDVALIDITY
    UidValidity,
    /// UNSEEN
    Unseen,
    /// HIGHESTMODSEQ (RFC 7162 3.1.7)
    HighestModSeq,
}

/// One message of an APPEND: all but its octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendMessage {
    /// Flags it shall have.
    pub flags: FlagNames,
    /// Its INTERNALDATE; now, if none.
    pub date: Option<Date>,
    /// How its octets come.
    pub literal: LiteralHead,
}

/// What comes after a message of an APPEND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendRest {
    /// The command is whole.
    End,
    /// Another message (MULTIAPPEND, RFC 3502).
    Another(AppendMessage),
}

/// The announcement of octets: `{n}`, `{n+}` or `~{n}` (RFC 3501 4.3, RFC 7888, RFC 3516).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiteralHead {
    /// How many octets come.
    pub octets: u64,
    /// Whether the client waits for a go-ahead (`+ ...`) before it sends them.
    pub waits: bool,
    /// `~{n}`: NUL is allowed among them.
    pub binary: bool,
}

/// SEARCH
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// What numbers the reply tells.
    pub numbering: Numbering,
    /// The charset of the texts, upper case as sent; US-ASCII when not given (UTF-8 is taken as well).
    pub charset: Option<String>,
    /// What to look for.
    pub key: SearchKey,
}

/// FETCH
#[derive(Clone, Debug, PartialEq)]
pub struct Fetch {
    /// What the set means; with [`Numbering::Uid`] every reply carries UID, asked for or not.
    pub numbering: Numbering,
    /// Which messages.
    pub set: SequenceSet,
    /// What of each, without repeats; ALL, FAST and FULL are spelled out.
    pub items: Vec<FetchItem>,
    /// Only those changed since (RFC 7162 3.1.4.1); MODSEQ is then told as well.
    pub changed_since: Option<ModSeq>,
}

/// STORE
#[derive(Clone, Debug, PartialEq)]
pub struct StoreFlags {
    /// What the set means.
    pub numbering: Numbering,
    /// Which messages.
    pub set: SequenceSet,
    /// How `flags` combine with those there.
    pub change: FlagChange,
    /// `.SILENT`: the client does not want to be told the new flags.
    pub silent: bool,
    /// The flags.
    pub flags: FlagNames,
    /// Leave alone what changed after (RFC 7162 3.1.3).
    pub unchanged_since: Option<ModSeq>,
}

/// COPY and MOVE
#[derive(Clone, Debug, PartialEq)]
pub struct Transfer {
    /// What the set means.
    pub numbering: Numbering,
    /// Which messages.
    pub set: SequenceSet,
    /// Where to.
    pub to: MailboxName,
}
