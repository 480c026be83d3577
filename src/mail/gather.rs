//! Gathers from one header, field by field, what the summary keeps of it: the envelope of a message (RFC 3501 7.4.2) and
//! the MIME fields of a part (RFC 2045), each within a room in octets, so that what a header can make us keep is bounded.

use super::addresses::parse_addresses;
use super::content::{ContentType, parse_disposition, parse_encoding, parse_languages};
use super::header::{fields, unfold};
use super::pack::{put_envelope, put_fields};
use super::summary::{Content, Envelope, EnvelopeAddress, Part, Span};

/// Octets of one text of the envelope, such as the subject; longer ones are cut.
const TEXT_BYTES_MAX: usize = 2 * 1024;
/// Octets of the value of one parameter, description, id or location; longer parameters are left out.
const SMALL_TEXT_BYTES_MAX: usize = 1024;

/// Octets of the longest name of a field that we look at.
const NAME_BYTES_MAX: usize = "content-transfer-encoding".len();

/// What a header has said so far.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Of a message's header: the envelope, and the octets that it may still take.
    envelope: Option<(Envelope, usize)>,
    /// Whether an absent Content-Type means message/rfc822 (RFC 2046 5.1.5).
    in_digest: bool,
    content_type: Option<ContentType>,
    part: Part,
    seen_type: bool,
    /// Whether an address found no room: no more are looked for.
    is_full: bool,
    /// Whether something was left out.
    pub(super) cut: bool,
}

impl Gathered {
    /// Before the header of a message, whose envelope may take `room` octets.
    pub(super) fn of_message(room: usize) -> Self {
        Self { envelope: Some((Envelope::default(), room)), ..Self::of_part(false) }
    }

    /// Before the header of a body part.
    pub(super) fn of_part(in_digest: bool) -> Self {
        let part = Part {
            header: Span::default(),
            body: Span::default(),
            lines: 0,
            kind: Vec::new(),
            subtype: Vec::new(),
            parameters: Vec::new(),
            id: None,
            description: None,
            encoding: Vec::new(),
            md5: None,
            disposition: None,
            languages: Vec::new(),
            location: None,
            content: Content::Leaf,
        };
        Self { envelope: None, in_digest, content_type: None, part, seen_type: false, is_full: false, cut: false }
    }

    /// Octets of memory it holds, roughly.
    pub(super) fn held_bytes(&self) -> usize {
        let Some((envelope, _)) = &self.envelope else { return 0 };
        let lists = [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc];
        lists.iter().map(|list| list.capacity() * size_of::<EnvelopeAddress>()).sum()
    }

    /// Takes a field with all its lines. Of a field that must come once, the first counts, as mail programs show it;
    /// addresses of a repeated field are added to those before. Tells whether it is a field we look at.
    pub(super) fn field(&mut self, raw: &[u8]) -> bool {
        let Some(field) = fields(raw).next() else { return false };
        let mut lower = [0; NAME_BYTES_MAX];
        let Some(name) = lower.get_mut(..field.name.len()) else { return false };
        name.copy_from_slice(field.name);
        name.make_ascii_lowercase();
        let value = field.value;
        match &*name {
            b"content-type" => {
                if !self.seen_type {
                    self.content_type = ContentType::parse(value);
                    self.seen_type = true;
                }
            }
            b"content-transfer-encoding" if self.part.encoding.is_empty() => {
                self.part.encoding = parse_encoding(value).unwrap_or_default();
            }
            b"content-id" => self.text(value, |g| &mut g.part.id),
            b"content-description" => self.text(value, |g| &mut g.part.description),
            b"content-md5" => self.text(value, |g| &mut g.part.md5),
            b"content-location" => self.text(value, |g| &mut g.part.location),
            b"content-disposition" if self.part.disposition.is_none() => {
                self.part.disposition = parse_disposition(value);
            }
            b"content-language" if self.part.languages.is_empty() => self.part.languages = parse_languages(value),
            _ => return self.envelope_field(name, value),
        }
        true
    }

    fn text(&mut self, value: &[u8], of: impl Fn(&mut Self) -> &mut Option<Vec<u8>>) {
        let mut text = unfold(value);
        if of(self).is_none() && !text.is_empty() {
            self.cut |= text.len() > SMALL_TEXT_BYTES_MAX;
            text.truncate(SMALL_TEXT_BYTES_MAX);
            *of(self) = Some(text);
        }
    }

    fn envelope_field(&mut self, name: &[u8], value: &[u8]) -> bool {
        let Some((envelope, room)) = &mut self.envelope else { return false };
        let text = match name {
            b"date" => &mut envelope.date,
            b"subject" => &mut envelope.subject,
            b"in-reply-to" => &mut envelope.in_reply_to,
            b"message-id" => &mut envelope.message_id,
            _ => {
                let list: &mut Vec<EnvelopeAddress> = match name {
                    b"from" => &mut envelope.from,
                    b"sender" => &mut envelope.sender,
                    b"reply-to" => &mut envelope.reply_to,
                    b"to" => &mut envelope.to,
                    b"cc" => &mut envelope.cc,
                    b"bcc" => &mut envelope.bcc,
                    _ => return false,
                };
                if !self.is_full {
                    let (found, cut) = parse_addresses(value, room);
                    list.extend(found);
                    self.is_full = cut;
                    self.cut |= cut;
                }
                return true;
            }
        };
        if text.is_none() {
            let mut unfolded = unfold(value);
            let most = TEXT_BYTES_MAX.min(room.saturating_sub(4));
            self.cut |= unfolded.len() > most;
            unfolded.truncate(most);
            *room = room.saturating_sub(unfolded.len() + 4);
            *text = Some(unfolded);
        }
        true
    }

    /// The header has ended: its content type, and what the part's record says, in at most `room` octets. Content that
    /// may not be looked into because of a cap is opaque.
    pub(super) fn finish(&mut self, room: usize, is_full: bool) -> (ContentType, Vec<u8>) {
        let mut content_type = self.content_type.take().unwrap_or_else(|| ContentType::default_in(self.in_digest));
        if content_type.is_multipart() && content_type.boundary().is_none() {
            // RFC 2045 5.2: what is not valid is as if it were not there.
            content_type = ContentType::default_in(false);
        }
        if is_full && (content_type.is_multipart() || content_type.is_message()) {
            content_type = ContentType::opaque();
            self.cut = true;
        }
        self.part.kind.clone_from(&content_type.kind);
        self.part.subtype.clone_from(&content_type.subtype);
        self.part.parameters.clone_from(&content_type.parameters);
        if self.part.encoding.is_empty() {
            // RFC 2045 6.1
            self.part.encoding = b"7bit".to_vec();
        }
        let disposition = self.part.disposition.as_mut().map(|d| &mut d.parameters);
        for list in std::iter::once(&mut self.part.parameters).chain(disposition) {
            let before = list.len();
            list.retain(|p| p.name.len() + p.value.len() <= SMALL_TEXT_BYTES_MAX);
            self.cut |= list.len() < before;
        }
        (content_type, self.packed(room))
    }

    /// The part's fields, of them as much as `room` holds.
    fn packed(&mut self, room: usize) -> Vec<u8> {
        let mut packed = Vec::new();
        put_fields(&mut packed, &self.part);
        if packed.len() <= room {
            return packed;
        }
        // First what only describes, then the parameters.
        self.cut = true;
        let part = &mut self.part;
        (part.id, part.description, part.md5, part.location) = (None, None, None, None);
        part.languages.clear();
        for parameters_max in [4, 0] {
            part.parameters.truncate(parameters_max);
            if let Some(disposition) = &mut part.disposition {
                disposition.parameters.truncate(parameters_max);
            }
            packed.clear();
            put_fields(&mut packed, part);
            if packed.len() <= room {
                break;
            }
        }
        packed
    }

    /// Of a message's header: the packed envelope; of a part's: nothing.
    pub(super) fn packed_envelope(&self) -> Vec<u8> {
        let mut packed = Vec::new();
        if let Some((envelope, _)) = &self.envelope {
            put_envelope(&mut packed, envelope);
        }
        packed
    }
}

/// The packed fields of a part without a header.
pub(super) fn packed_default(content_type: &ContentType) -> Vec<u8> {
    let mut gathered = Gathered::of_part(false);
    gathered.content_type = Some(content_type.clone());
    gathered.finish(usize::MAX, false).1
}
