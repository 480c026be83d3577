//! What FETCH can be asked (RFC 3501 6.4.5): items and sections as types, their parser and their names in replies.

/// One item of FETCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchItem {
    /// ENVELOPE
    Envelope,
    /// FLAGS
    Flags,
    /// INTERNALDATE
    InternalDate,
    /// RFC822: as BODY\[\], but named RFC822 in the reply.
    Rfc822,
    /// RFC822.HEADER: as BODY.PEEK\[HEADER\]; does not set \Seen.
    Rfc822Header,
    /// RFC822.SIZE
    Rfc822Size,
    /// RFC822.TEXT: as BODY\[TEXT\]; sets \Seen.
    Rfc822Text,
    /// BODY: the structure without extension data.
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// UID
    Uid,
    /// MODSEQ (RFC 7162 3.1.4.2)
    ModSeq,
    /// BODY\[section\]<partial>, BODY.PEEK\[section\]<partial>
    Section(BodySection),
}

impl FetchItem {
    /// Whether fetching it sets \Seen (RFC 3501 6.4.5).
    pub fn sets_seen(&self) -> bool {
        match self {
            Self::Rfc822 | Self::Rfc822Text => true,
            Self::Section(section) => !section.peek,
            Self::Envelope
            | Self::Flags
            | Self::InternalDate
            | Self::Rfc822Header
            | Self::Rfc822Size
            | Self::Body
            | Self::BodyStructure
            | Self::Uid
            | Self::ModSeq => false,
        }
    }
}

/// BODY\[section\]<partial>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodySection {
    /// BODY.PEEK: \Seen is not set.
    pub peek: bool,
    /// Which part of the message.
    pub section: Section,
    /// Which octets of it.
    pub partial: Option<Partial>,
}

/// `<first.count>`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The first octet, from 0.
    pub first: u64,
    /// How many octets at most; at least 1.
    pub count: u64,
}

/// A section specification (RFC 3501 6.4.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The part's number; empty for the message itself.
    pub part: Vec<u32>,
    /// What of the part; `None` for its whole content (or, without a part, the whole message).
    pub text: Option<SectionText>,
}

/// What of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionText {
    /// HEADER
    Header,
    /// HEADER.FIELDS: these; names as the client wrote them.
    HeaderFields(Vec<Vec<u8>>),
    /// HEADER.FIELDS.NOT: all but these.
    HeaderFieldsNot(Vec<Vec<u8>>),
    /// TEXT
    Text,
    /// MIME: only with a part.
    Mime,
}
