//! The bytes of a stored summary, version 1. Integers are LEB128; a text is twice its length and its octets, or twice the
//! index of a word every mail has and one. Parts stand in post-order: a part follows those inside it, so that a scanner
//! writes each when it ends and a reader needs a stack. Never panics on what it reads.
//!
//! ```text
//! summary  = version(1) flags octets envelope [preview] part+
//! envelope = presence(10 bits) [date] [subject] lists of addresses ... [in_reply_to] [message_id]
//! list     = count, each: presence(4 bits) [name] [route] [mailbox] [host]
//! part     = shape offset header_octets body_octets lines fields; after a message/rfc822's: the envelope inside it
//! shape    = 0 leaf, 1 message/rfc822, n+1 multipart of n parts
//! fields   = kind subtype parameters encoding presence(6 bits) [id] [description] [md5] [disposition] [languages] [location]
//! ```

use super::scanner::DEPTH_MAX;
use super::summary::{
    Content, Damaged, Disposition, Envelope, EnvelopeAddress, Message, Parameter, Part, SUMMARY_BYTES_MAX, Span,
    Summary,
};

const VERSION: u8 = 1;
const TRUNCATED: u64 = 1;
const HAS_PREVIEW: u64 = 2;

/// Words that most messages have. Their order is part of the format: only ever append.
const WORDS: [&[u8]; 48] = [
    b"text",
    b"plain",
    b"html",
    b"charset",
    b"utf-8",
    b"UTF-8",
    b"us-ascii",
    b"US-ASCII",
    b"iso-8859-1",
    b"ISO-8859-1",
    b"windows-1252",
    b"7bit",
    b"8bit",
    b"quoted-printable",
    b"base64",
    b"binary",
    b"multipart",
    b"mixed",
    b"alternative",
    b"related",
    b"signed",
    b"report",
    b"digest",
    b"boundary",
    b"message",
    b"rfc822",
    b"delivery-status",
    b"application",
    b"octet-stream",
    b"pdf",
    b"pgp-signature",
    b"image",
    b"png",
    b"jpeg",
    b"gif",
    b"audio",
    b"video",
    b"attachment",
    b"inline",
    b"name",
    b"filename",
    b"format",
    b"flowed",
    b"delsp",
    b"yes",
    b"type",
    b"text/html",
    b"calendar",
];

/// Octets of a number at the most.
const NUMBER_BYTES_MAX: usize = 10;
/// Octets of a part's shape and numbers at the most.
pub(super) const PART_NUMBERS_BYTES_MAX: usize = 5 * NUMBER_BYTES_MAX;
/// Octets of what stands before the envelope at the most.
pub(super) const HEAD_BYTES_MAX: usize = 2 + NUMBER_BYTES_MAX;

/// Where a part stands; its fields are packed already.
pub(super) struct Place {
    pub(super) shape: u64,
    pub(super) header: Span,
    pub(super) body_octets: u64,
    pub(super) lines: u64,
}

/// The shape of a leaf.
pub(super) const LEAF: u64 = 0;
/// The shape of a message/rfc822.
pub(super) const MESSAGE: u64 = 1;

/// The shape of a multipart of `parts`.
pub(super) fn multipart(parts: usize) -> u64 {
    parts as u64 + 1
}

pub(super) fn put_place(out: &mut Vec<u8>, place: &Place) {
    put_number(out, place.shape);
    put_number(out, place.header.offset);
    put_number(out, place.header.octets);
    put_number(out, place.body_octets);
    put_number(out, place.lines);
}

pub(super) fn put_head(out: &mut Vec<u8>, octets: u64, truncated: bool, has_preview: bool) {
    out.push(VERSION);
    put_number(out, u64::from(truncated) * TRUNCATED + u64::from(has_preview) * HAS_PREVIEW);
    put_number(out, octets);
}

pub(super) fn put_envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    let texts = [&envelope.date, &envelope.subject, &envelope.in_reply_to, &envelope.message_id];
    let lists = envelope_lists(envelope);
    let mut presence = 0;
    for (bit, is_there) in texts.iter().map(|t| t.is_some()).chain(lists.iter().map(|l| !l.is_empty())).enumerate() {
        presence |= u64::from(is_there) << bit;
    }
    put_number(out, presence);
    texts.iter().filter_map(|t| t.as_ref()).for_each(|t| put_text(out, t));
    for list in lists.iter().filter(|l| !l.is_empty()) {
        put_number(out, list.len() as u64);
        for address in *list {
            let texts = [&address.name, &address.route, &address.mailbox, &address.host];
            out.push(texts.iter().enumerate().map(|(bit, t)| u8::from(t.is_some()) << bit).sum());
            texts.iter().filter_map(|t| t.as_ref()).for_each(|t| put_text(out, t));
        }
    }
}

fn envelope_lists(envelope: &Envelope) -> [&Vec<EnvelopeAddress>; 6] {
    [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc]
}

/// The fields of a part, in words of `Part`; where it stands and what is inside are not looked at.
pub(super) fn put_fields(out: &mut Vec<u8>, part: &Part) {
    put_text(out, &part.kind);
    put_text(out, &part.subtype);
    put_parameters(out, &part.parameters);
    put_text(out, &part.encoding);
    let texts = [&part.id, &part.description, &part.md5, &part.location];
    let mut presence: u8 = texts.iter().enumerate().map(|(bit, t)| u8::from(t.is_some()) << bit).sum();
    presence |= u8::from(part.disposition.is_some()) << 4 | u8::from(!part.languages.is_empty()) << 5;
    out.push(presence);
    texts.iter().filter_map(|t| t.as_ref()).for_each(|t| put_text(out, t));
    if let Some(disposition) = &part.disposition {
        put_text(out, &disposition.kind);
        put_parameters(out, &disposition.parameters);
    }
    if !part.languages.is_empty() {
        put_number(out, part.languages.len() as u64);
        part.languages.iter().for_each(|l| put_text(out, l));
    }
}

fn put_parameters(out: &mut Vec<u8>, parameters: &[Parameter]) {
    put_number(out, parameters.len() as u64);
    for parameter in parameters {
        put_text(out, &parameter.name);
        put_text(out, &parameter.value);
    }
}

fn put_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    match WORDS.iter().position(|word| *word == text) {
        Some(index) => put_number(out, index as u64 * 2 + 1),
        None => {
            put_number(out, text.len() as u64 * 2);
            out.extend_from_slice(text);
        }
    }
}

impl Summary {
    /// The bytes the store keeps: at most [`SUMMARY_BYTES_MAX`] for what a scanner made.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        put_head(&mut out, self.octets, self.truncated, self.preview.is_some());
        put_envelope(&mut out, &self.envelope);
        self.preview.iter().for_each(|preview| put_text(&mut out, preview));
        put_part(&mut out, &self.root);
        out
    }

    /// Reads what [`Summary::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        if bytes.len() > SUMMARY_BYTES_MAX {
            return Err(Damaged);
        }
        let mut reader = Reader(bytes);
        if reader.byte()? != VERSION {
            return Err(Damaged);
        }
        let flags = reader.number()?;
        let octets = reader.number()?;
        let envelope = reader.envelope()?;
        let preview = if flags & HAS_PREVIEW == 0 { None } else { Some(reader.text()?) };
        let root = reader.parts(octets)?;
        Ok(Self { octets, truncated: flags & TRUNCATED != 0, envelope, root, preview })
    }
}

fn put_part(out: &mut Vec<u8>, part: &Part) {
    let shape = match &part.content {
        Content::Leaf => LEAF,
        Content::Multipart(parts) => {
            parts.iter().for_each(|inside| put_part(out, inside));
            multipart(parts.len())
        }
        Content::Message(message) => {
            put_part(out, &message.root);
            MESSAGE
        }
    };
    put_place(out, &Place { shape, header: part.header, body_octets: part.body.octets, lines: part.lines });
    put_fields(out, part);
    if let Content::Message(message) = &part.content {
        put_envelope(out, &message.envelope);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, Damaged> {
        let (&b, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(b)
    }

    fn number(&mut self) -> Result<u64, Damaged> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let b = self.byte()?;
            let bits = u64::from(b & 0x7F);
            if bits << shift >> shift != bits {
                return Err(Damaged);
            }
            n |= bits << shift;
            if b < 0x80 {
                return Ok(n);
            }
        }
        Err(Damaged)
    }

    /// A number of things that follow: each takes at least one octet, so that memory stays bounded.
    fn count(&mut self) -> Result<usize, Damaged> {
        usize::try_from(self.number()?).ok().filter(|&n| n <= self.0.len()).ok_or(Damaged)
    }

    fn text(&mut self) -> Result<Vec<u8>, Damaged> {
        let n = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        if n % 2 == 1 {
            return WORDS.get(n / 2).map(|word| word.to_vec()).ok_or(Damaged);
        }
        let (text, rest): (&'a [u8], &'a [u8]) = self.0.split_at_checked(n / 2).ok_or(Damaged)?;
        self.0 = rest;
        Ok(text.to_vec())
    }

    fn maybe(&mut self, presence: u64, bit: u32) -> Result<Option<Vec<u8>>, Damaged> {
        if presence >> bit & 1 == 0 { Ok(None) } else { self.text().map(Some) }
    }

    fn envelope(&mut self) -> Result<Envelope, Damaged> {
        let presence = self.number()?;
        Ok(Envelope {
            date: self.maybe(presence, 0)?,
            subject: self.maybe(presence, 1)?,
            in_reply_to: self.maybe(presence, 2)?,
            message_id: self.maybe(presence, 3)?,
            from: self.addresses(presence, 4)?,
            sender: self.addresses(presence, 5)?,
            reply_to: self.addresses(presence, 6)?,
            to: self.addresses(presence, 7)?,
            cc: self.addresses(presence, 8)?,
            bcc: self.addresses(presence, 9)?,
        })
    }

    fn addresses(&mut self, presence: u64, bit: u32) -> Result<Vec<EnvelopeAddress>, Damaged> {
        if presence >> bit & 1 == 0 {
            return Ok(Vec::new());
        }
        let count = self.count()?;
        let address = |_| {
            let presence = u64::from(self.byte()?);
            Ok(EnvelopeAddress {
                name: self.maybe(presence, 0)?,
                route: self.maybe(presence, 1)?,
                mailbox: self.maybe(presence, 2)?,
                host: self.maybe(presence, 3)?,
            })
        };
        (0..count).map(address).collect()
    }

    fn parameters(&mut self) -> Result<Vec<Parameter>, Damaged> {
        let count = self.count()?;
        (0..count).map(|_| Ok(Parameter { name: self.text()?, value: self.text()? })).collect()
    }

    /// All parts to the end: the last one is the root.
    fn parts(&mut self, octets: u64) -> Result<Part, Damaged> {
        let mut stack: Vec<(Part, usize)> = Vec::new();
        loop {
            let part = self.part(&mut stack)?;
            if part.0.body.end() > octets || part.1 > DEPTH_MAX {
                return Err(Damaged);
            }
            if self.0.is_empty() {
                return if stack.is_empty() { Ok(part.0) } else { Err(Damaged) };
            }
            stack.push(part);
        }
    }

    /// The next part, with those from the stack that are inside it, and how deep it reaches.
    fn part(&mut self, stack: &mut Vec<(Part, usize)>) -> Result<(Part, usize), Damaged> {
        let shape = self.number()?;
        let header = Span { offset: self.number()?, octets: self.number()? };
        let body = Span { offset: header.end(), octets: self.number()? };
        let lines = self.number()?;
        let mut part = self.fields(header, body, lines)?;
        let mut depth = 1;
        match shape {
            LEAF => {}
            MESSAGE => {
                let (root, root_depth) = stack.pop().ok_or(Damaged)?;
                depth = root_depth + 1;
                part.content = Content::Message(Box::new(Message { envelope: self.envelope()?, root }));
            }
            _ => {
                let count = usize::try_from(shape - 1).map_err(|_| Damaged)?;
                let inside = stack.split_off(stack.len().checked_sub(count).ok_or(Damaged)?);
                depth += inside.iter().map(|(_, depth)| *depth).max().ok_or(Damaged)?;
                part.content = Content::Multipart(inside.into_iter().map(|(part, _)| part).collect());
            }
        }
        Ok((part, depth))
    }

    fn fields(&mut self, header: Span, body: Span, lines: u64) -> Result<Part, Damaged> {
        let kind = self.text()?;
        let subtype = self.text()?;
        let parameters = self.parameters()?;
        let encoding = self.text()?;
        let presence = u64::from(self.byte()?);
        let id = self.maybe(presence, 0)?;
        let description = self.maybe(presence, 1)?;
        let md5 = self.maybe(presence, 2)?;
        let location = self.maybe(presence, 3)?;
        let disposition = if presence >> 4 & 1 == 0 {
            None
        } else {
            Some(Disposition { kind: self.text()?, parameters: self.parameters()? })
        };
        let count = if presence >> 5 & 1 == 0 { 0 } else { self.count()? };
        let languages = (0..count).map(|_| self.text()).collect::<Result<_, _>>()?;
        let content = Content::Leaf;
        Ok(Part {
            header,
            body,
            lines,
            kind,
            subtype,
            parameters,
            id,
            description,
            encoding,
            md5,
            disposition,
            languages,
            location,
            content,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Scanner;
    use proptest::prelude::*;

    const SIMPLE: &[u8] = b"Received: from mail.example.net by mx.example.org; Fri, 21 Nov 1997 09:55:06 -0600\r\n\
        From: Mary Smith <mary@example.net>\r\nTo: Alice Wonder <alice@example.org>\r\n\
        Subject: Minutes of the meeting last Thursday\r\nDate: Fri, 21 Nov 1997 09:55:06 -0600\r\n\
        Message-ID: <20231121.1234567890.abcdef@example.net>\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nHello.\r\n";

    fn scanned(message: &[u8]) -> Vec<u8> {
        let mut scanner = Scanner::new();
        scanner.feed(message);
        scanner.finish_encoded()
    }

    #[test]
    fn a_simple_mail_takes_under_500_bytes() {
        let bytes = scanned(SIMPLE);
        assert!(bytes.len() < 250, "{} bytes", bytes.len());
    }

    #[test]
    fn what_is_cut_or_grows_or_is_of_another_version_is_damaged() {
        let bytes = scanned(SIMPLE);
        assert!(Summary::decode(&bytes).is_ok());
        for end in 0..bytes.len() {
            assert_eq!(Summary::decode(&bytes[..end]), Err(Damaged), "cut at {end}");
        }
        assert_eq!(Summary::decode(&[&bytes[..], b"\0"].concat()), Err(Damaged));
        assert_eq!(Summary::decode(&[&b"\x02"[..], &bytes[1..]].concat()), Err(Damaged));
        assert_eq!(Summary::decode(&vec![0; SUMMARY_BYTES_MAX + 1]), Err(Damaged));
    }

    #[test]
    fn a_tree_deeper_than_any_scanner_makes_is_damaged() {
        let mut bytes = Vec::new();
        put_head(&mut bytes, 0, false, false);
        put_envelope(&mut bytes, &Envelope::default());
        for level in 0..2000 {
            // Each a multipart of the one before.
            bytes.extend_from_slice(&[if level == 0 { 0 } else { 2 }, 0, 0, 0, 0, 1, 1, 0, 1, 0]);
        }
        assert_eq!(Summary::decode(&bytes), Err(Damaged));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [&[VERSION, 0][..], &bytes].concat();
            if let Ok(summary) = Summary::decode(&bytes) {
                prop_assert_eq!(Summary::decode(&summary.encode()), Ok(summary));
            }
        }

        #[test]
        fn damage_never_panics(at in 0usize..200, b in any::<u8>()) {
            let mut bytes = scanned(SIMPLE);
            if let Some(there) = bytes.get_mut(at) {
                *there = b;
            }
            if let Ok(summary) = Summary::decode(&bytes) {
                prop_assert_eq!(Summary::decode(&summary.encode()), Ok(summary));
            }
        }
    }
}
