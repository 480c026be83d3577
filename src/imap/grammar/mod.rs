//! IMAP's grammar: bytes to typed commands, typed replies to bytes (RFC 3501 section 9 and the extensions served).
//! Pure: no I/O, no clock, no async; bounded by [`limits`] whatever a client sends.

mod assemble;
mod command;
mod date;
mod fetch;
mod flags;
mod lexer;
pub mod limits;
mod list;
mod mailbox;
mod parse;
mod pattern;
pub mod reply;
mod search;
mod sequence;
pub mod structure;
mod tag;
pub mod utf7;
pub mod words;
pub mod write;

pub use assemble::{Assembler, Rejected, Step};
pub use command::{
    AppendMessage, AppendRest, Command, CommandBody, Fetch, IdPair, List, ListKind, ListReturn, ListSelect,
    LiteralHead, Numbering, Search, StatusItem, StoreFlags, Transfer,
};
pub use date::{Day, put_date_time};
pub use fetch::{BodySection, FetchItem, Partial, Section, SectionText};
pub use mailbox::{INBOX, MailboxName, NameError, SEPARATOR, put_mailbox};
pub use parse::{append_rest, is_done};
pub use pattern::{Pattern, PatternTooLong};
pub use reply::{Code, Condition};
pub use search::{SearchField, SearchKey, When};
pub use sequence::{SequenceSet, SetError, put_ranges, put_uids};
pub use tag::Tag;
