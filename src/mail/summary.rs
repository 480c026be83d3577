//! What is kept of a message beside its bytes: envelope (RFC 3501 7.4.2) and part tree (RFC 2045, 2046), enough for
//! ENVELOPE, BODYSTRUCTURE and every `BODY[section]`. Holds byte ranges of the message, never its bytes.

/// Octets of an encoded summary at the most; what would not fit is cut and `truncated` says so.
pub const SUMMARY_BYTES_MAX: usize = 32 * 1024;

/// A byte range of the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Where it begins, octets from the message's first.
    pub offset: u64,
    /// How long it is.
    pub octets: u64,
}

impl Span {
    /// One octet beyond its last.
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.octets)
    }
}

/// What a scanner learned of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Octets of the whole message.
    pub octets: u64,
    /// Whether addresses, parameters or parts were left out because a cap was reached; offsets are true nevertheless.
    pub truncated: bool,
    /// The envelope of the message itself.
    pub envelope: Envelope,
    /// The message as a part: its header is the message's header.
    pub root: Part,
    /// The first words of the text, for PREVIEW (RFC 8970); not computed yet.
    pub preview: Option<Vec<u8>>,
}

/// One part of a message, in the words of BODYSTRUCTURE. Texts are raw octets as they stand in the header, unfolded,
/// without NUL, CR and LF; they may hold 8-bit octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its header, with the blank line that ends it if there is one. Of a body part: its MIME header.
    pub header: Span,
    /// Its body: begins where the header ends; the line end before the next boundary is not in it.
    pub body: Span,
    /// Line ends in the body.
    pub lines: u64,
    /// The type, as written (`text`); never empty.
    pub kind: Vec<u8>,
    /// The subtype, as written (`plain`); never empty.
    pub subtype: Vec<u8>,
    /// The parameters of Content-Type, as written (RFC 2231 attributes raw); `charset us-ascii` when there is no
    /// Content-Type (RFC 2045 5.2).
    pub parameters: Vec<Parameter>,
    /// Content-ID
    pub id: Option<Vec<u8>>,
    /// Content-Description
    pub description: Option<Vec<u8>>,
    /// Content-Transfer-Encoding, `7bit` when absent; never empty.
    pub encoding: Vec<u8>,
    /// Content-MD5
    pub md5: Option<Vec<u8>>,
    /// Content-Disposition
    pub disposition: Option<Disposition>,
    /// Content-Language, one per tag.
    pub languages: Vec<Vec<u8>>,
    /// Content-Location
    pub location: Option<Vec<u8>>,
    /// What is inside.
    pub content: Content,
}

/// What a part holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// No part that we look into.
    Leaf,
    /// The parts of a multipart; at least one.
    Multipart(Vec<Part>),
    /// The message in a message/rfc822.
    Message(Box<Message>),
}

/// A message inside a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its envelope.
    pub envelope: Envelope,
    /// The message as a part.
    pub root: Part,
}

/// An attribute and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The attribute, as written.
    pub name: Vec<u8>,
    /// The value, quotes taken away.
    pub value: Vec<u8>,
}

/// Content-Disposition (RFC 2183).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition {
    /// `attachment`, `inline` ..., as written.
    pub kind: Vec<u8>,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
}

/// The fields of ENVELOPE (RFC 3501 7.4.2). Texts are raw: unfolded, RFC 2047 words not decoded, 8-bit kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Date
    pub date: Option<Vec<u8>>,
    /// Subject
    pub subject: Option<Vec<u8>>,
    /// From
    pub from: Vec<EnvelopeAddress>,
    /// Sender as it stands; [`Envelope::sender`] is what ENVELOPE shows.
    pub sender: Vec<EnvelopeAddress>,
    /// Reply-To as it stands; [`Envelope::reply_to`] is what ENVELOPE shows.
    pub reply_to: Vec<EnvelopeAddress>,
    /// To
    pub to: Vec<EnvelopeAddress>,
    /// Cc
    pub cc: Vec<EnvelopeAddress>,
    /// Bcc
    pub bcc: Vec<EnvelopeAddress>,
    /// In-Reply-To
    pub in_reply_to: Option<Vec<u8>>,
    /// Message-ID
    pub message_id: Option<Vec<u8>>,
}

impl Envelope {
    /// Sender, or From when there is none (RFC 3501 7.4.2).
    pub fn sender(&self) -> &[EnvelopeAddress] {
        if self.sender.is_empty() { &self.from } else { &self.sender }
    }

    /// Reply-To, or From when there is none (RFC 3501 7.4.2).
    pub fn reply_to(&self) -> &[EnvelopeAddress] {
        if self.reply_to.is_empty() { &self.from } else { &self.reply_to }
    }
}

/// One address structure of ENVELOPE. A group begins with one that has no host and its name as mailbox, and ends with
/// one that has neither (RFC 3501 7.4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeAddress {
    /// The display name, quotes taken away.
    pub name: Option<Vec<u8>>,
    /// The source route (at-domain-list).
    pub route: Option<Vec<u8>>,
    /// The local part, or a group's name.
    pub mailbox: Option<Vec<u8>>,
    /// The domain.
    pub host: Option<Vec<u8>>,
}

/// The stored summary is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl Summary {
    /// A message of which nothing is known but its size.
    pub(super) fn opaque(octets: u64) -> Self {
        let root = Part {
            header: Span::default(),
            body: Span { offset: 0, octets },
            lines: 0,
            kind: b"application".to_vec(),
            subtype: b"octet-stream".to_vec(),
            parameters: Vec::new(),
            id: None,
            description: None,
            encoding: b"7bit".to_vec(),
            md5: None,
            disposition: None,
            languages: Vec::new(),
            location: None,
            content: Content::Leaf,
        };
        Self { octets, truncated: true, envelope: Envelope::default(), root, preview: None }
    }
}

impl Part {
    /// Whether it is of this type, without regard to case; `*` stands for any subtype.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind.as_bytes())
            && (subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype.as_bytes()))
    }

    /// The value of a parameter of Content-Type.
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        let found = self.parameters.iter().find(|p| p.name.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|p| p.value.as_slice())
    }
}
