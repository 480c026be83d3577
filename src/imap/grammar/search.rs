//! What SEARCH can be asked (RFC 3501 6.4.4): keys as a tree, and their parser. Does not match anything.

use super::date::Day;
use super::sequence::SequenceSet;
use crate::store::{Flags, ModSeq};

/// One key of SEARCH. Chains of AND and OR are flat; the tree is at most [`super::limits::SEARCH_DEPTH_MAX`] deep.
/// Texts are octets in the command's charset, compared without case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    /// ALL
    All,
    /// Every one of them; keys written side by side or in parentheses.
    And(Vec<SearchKey>),
    /// At least one of them.
    Or(Vec<SearchKey>),
    /// NOT
    Not(Box<SearchKey>),
    /// Has the system flag (one bit of [`Flags`]): ANSWERED, DELETED, DRAFT, FLAGGED, SEEN; UNSEEN is its [`SearchKey::Not`].
    Flag(Flags),
    /// KEYWORD; UNKEYWORD is its [`SearchKey::Not`].
    Keyword(String),
    /// RECENT; OLD is its [`SearchKey::Not`], NEW is RECENT and not SEEN.
    Recent,
    /// INTERNALDATE's day, its time and zone disregarded: BEFORE, ON, SINCE.
    Internal(When, Day),
    /// The Date header's day, its time and zone disregarded: SENTBEFORE, SENTON, SENTSINCE.
    Sent(When, Day),
    /// More octets than that (RFC822.SIZE).
    Larger(u64),
    /// Fewer octets than that.
    Smaller(u64),
    /// BCC, CC, FROM, TO: the text is in that address list of the envelope. SUBJECT: in the decoded subject.
    Field(SearchField, Vec<u8>),
    /// HEADER name text: there is such a field and the text is in it; an empty text asks only for the field.
    Header(String, Vec<u8>),
    /// BODY
    Body(Vec<u8>),
    /// TEXT: header or body.
    Text(Vec<u8>),
    /// Message sequence numbers.
    Sequence(SequenceSet),
    /// UID
    Uid(SequenceSet),
    /// MODSEQ: at least that (RFC 7162 3.1.5); the reply then ends in (MODSEQ n).
    ModSeq(ModSeq),
}

/// Compared with a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On an earlier day.
    Before,
    /// On that day.
    On,
    /// On that day or later.
    Since,
}

/// Header fields that SEARCH names by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchField {
    /// BCC
    Bcc,
    /// CC
    Cc,
    /// FROM
    From,
    /// SUBJECT
    Subject,
    /// TO
    To,
}
