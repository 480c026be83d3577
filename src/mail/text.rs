//! The words of a message as a reader sees them: headers unfolded and decoded, text parts decoded to UTF-8; streaming, in
//! constant memory, for SEARCH HEADER, BODY and TEXT (RFC 3501 6.4.4).

use super::charset::Charset;
use super::header::{fields, unfold};
use super::summary::{Content, Part, Span, Summary};
use super::transfer::{Encoding, Transfer};
use super::words::decode_words;

/// Octets of a header field that are decoded at a time; one that is longer comes in pieces, cut at white space.
const FIELD_PIECE_BYTES: usize = 8 * 1024;

/// A piece of decoded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextEvent<'a> {
    /// A header field (of the message or of a part) begins: its name, as written; empty for a line without a colon. Its
    /// text follows.
    Field(&'a [u8]),
    /// A part's text begins.
    Part,
    /// The next piece of the text of the field or part.
    Text(&'a str),
}

/// Decodes a header while it streams through: [`TextEvent::Field`] and its text, for every field.
#[derive(Debug, Default)]
pub struct HeaderText {
    /// The field at hand, or what is left of it.
    field: Vec<u8>,
    /// Whether the field's beginning has been given.
    begun: bool,
    at_line_start: bool,
}

impl HeaderText {
    /// At the first octet of a header.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next octets, cut anywhere.
    pub fn feed(&mut self, octets: &[u8], sink: &mut dyn FnMut(TextEvent<'_>)) {
        let mut rest = octets;
        while let Some(&first) = rest.first() {
            if self.at_line_start && !matches!(first, b' ' | b'\t') {
                self.end_field(sink);
            }
            let line_bytes = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let room = FIELD_PIECE_BYTES.saturating_sub(self.field.len());
            let (piece, after) = rest.split_at_checked(line_bytes.min(room)).unwrap_or((rest, b""));
            self.field.extend_from_slice(piece);
            self.at_line_start = piece.ends_with(b"\n");
            rest = after;
            if self.field.len() >= FIELD_PIECE_BYTES {
                self.give_piece(sink);
            }
        }
    }

    /// The header is whole.
    pub fn finish(&mut self, sink: &mut dyn FnMut(TextEvent<'_>)) {
        self.end_field(sink);
    }

    /// Gives what is held up to its last white space, so that no word is cut; all of it when there is none.
    fn give_piece(&mut self, sink: &mut dyn FnMut(TextEvent<'_>)) {
        let is_space = |b: &u8| b.is_ascii_whitespace();
        let end = self.field.iter().rposition(is_space).map_or(self.field.len(), |at| at + 1);
        let rest = self.field.split_off(end);
        // A field of one endless word is not parted by spaces that it does not have.
        let is_cut_at_space = self.field.last().is_some_and(is_space) && self.field.iter().any(|b| !is_space(b));
        self.give(sink);
        if is_cut_at_space {
            sink(TextEvent::Text(" "));
        }
        self.field = rest;
        self.begun = true;
    }

    fn end_field(&mut self, sink: &mut dyn FnMut(TextEvent<'_>)) {
        let is_blank = matches!(self.field.as_slice(), b"" | b"\n" | b"\r\n");
        if !is_blank || self.begun {
            self.give(sink);
        }
        self.field.clear();
        self.begun = false;
        self.at_line_start = false;
    }

    /// Gives all that is held.
    fn give(&self, sink: &mut dyn FnMut(TextEvent<'_>)) {
        let mut value = self.field.as_slice();
        if !self.begun {
            let Some(field) = fields(&self.field).next() else { return };
            sink(TextEvent::Field(field.name));
            value = field.value;
        }
        let text = decode_words(&unfold(value));
        if !text.is_empty() {
            sink(TextEvent::Text(&text));
        }
    }
}

/// Walks once through a message and gives the texts in it. For BODY and TEXT: a [`super::Matcher`] is restarted at Field
/// and Part, and fed with Text.
///
/// Texts are those of text/* and message/* parts (a delivery report is read by people), not of attachments; of what the
/// scanner did not look into, the raw octets.
#[derive(Debug)]
pub struct TextWalk<'a> {
    steps: std::vec::IntoIter<Step<'a>>,
    /// The step at hand, and how far it is decoded.
    at: Option<(Step<'a>, Stage)>,
    /// The octet of the message that comes next.
    position: u64,
}

#[derive(Clone, Copy, Debug)]
struct Step<'a> {
    span: Span,
    what: What<'a>,
}

#[derive(Clone, Copy, Debug)]
enum What<'a> {
    Header,
    Text { encoding: Encoding, charset: Option<&'a [u8]> },
}

#[derive(Debug)]
enum Stage {
    Before,
    Header(HeaderText),
    Text(Box<(Transfer, Charset)>),
}

impl<'a> TextWalk<'a> {
    /// A walk through the message of `summary`; without `headers` (SEARCH BODY) the message's own header and the MIME
    /// headers of its parts are passed over; headers of messages inside it belong to its body.
    pub fn new(summary: &'a Summary, headers: bool) -> Self {
        let mut steps = Vec::new();
        plan(&summary.root, headers, headers, &mut steps);
        let mut walk = Self { steps: steps.into_iter(), at: None, position: 0 };
        walk.next_step();
        walk
    }

    /// The next octet of the message that is needed: skip to it (attachments are not read); nothing when done.
    pub fn next_offset(&self) -> Option<u64> {
        self.at.as_ref().map(|(step, _)| step.span.offset.max(self.position))
    }

    /// Takes octets of the message that stand at `offset` (at most [`TextWalk::next_offset`]), cut anywhere.
    pub fn feed(&mut self, offset: u64, octets: &[u8], sink: &mut dyn FnMut(TextEvent<'_>)) {
        while let Some(next) = self.next_offset() {
            let skipped = usize::try_from(next.saturating_sub(offset)).unwrap_or(usize::MAX);
            let Some((step, stage)) = &mut self.at else { return };
            let Some(rest) = octets.get(skipped..).filter(|rest| !rest.is_empty()) else { return };
            let wanted = usize::try_from(step.span.end().saturating_sub(next)).unwrap_or(usize::MAX);
            let piece = rest.get(..wanted).unwrap_or(rest);
            stage.feed(&step.what, piece, sink);
            self.position = next.saturating_add(piece.len() as u64);
            if self.position >= step.span.end() {
                stage.finish(sink);
                self.next_step();
            }
        }
    }

    /// The message has ended.
    pub fn finish(&mut self, sink: &mut dyn FnMut(TextEvent<'_>)) {
        if let Some((_, mut stage)) = self.at.take() {
            stage.finish(sink);
        }
        self.steps = Vec::new().into_iter();
    }

    fn next_step(&mut self) {
        self.at = self.steps.find(|step| step.span.octets > 0).map(|step| (step, Stage::Before));
    }
}

/// Steps through `part` and what is inside it, in the order of the message. Depth is bounded as the scanner bounds it.
fn plan<'a>(part: &'a Part, header: bool, headers: bool, steps: &mut Vec<Step<'a>>) {
    if header {
        steps.push(Step { span: part.header, what: What::Header });
    }
    match &part.content {
        Content::Multipart(parts) => parts.iter().for_each(|inside| plan(inside, headers, headers, steps)),
        Content::Message(message) => plan(&message.root, true, headers, steps),
        Content::Leaf => {
            // A part without a header of its own is only opaque where the scanner reached a cap.
            let is_rest = part.is("application", "octet-stream") && part.header.octets == 0;
            if is_rest || part.is("text", "*") || part.is("message", "*") {
                let encoding = Encoding::of(&part.encoding);
                let charset = part.parameter("charset");
                steps.push(Step { span: part.body, what: What::Text { encoding, charset } });
            }
        }
    }
}

impl Stage {
    fn feed(&mut self, what: &What<'_>, octets: &[u8], sink: &mut dyn FnMut(TextEvent<'_>)) {
        if matches!(self, Self::Before) {
            *self = match what {
                What::Header => Self::Header(HeaderText::new()),
                What::Text { encoding, charset } => {
                    sink(TextEvent::Part);
                    Self::Text(Box::new((Transfer::new(*encoding), Charset::new(*charset))))
                }
            };
        }
        match self {
            Self::Before => {}
            Self::Header(header) => header.feed(octets, sink),
            Self::Text(decoders) => {
                let (transfer, charset) = decoders.as_mut();
                transfer.feed(octets, &mut |piece| charset.feed(piece, &mut |text| sink(TextEvent::Text(text))));
            }
        }
    }

    fn finish(&mut self, sink: &mut dyn FnMut(TextEvent<'_>)) {
        match std::mem::replace(self, Self::Before) {
            Self::Before => {}
            Self::Header(mut header) => header.finish(sink),
            Self::Text(decoders) => {
                let (mut transfer, mut charset) = *decoders;
                transfer.finish(&mut |piece| charset.feed(piece, &mut |text| sink(TextEvent::Text(text))));
                charset.finish(&mut |text| sink(TextEvent::Text(text)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Scanner;
    use proptest::prelude::*;

    const MESSAGE: &str = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n from afar\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        preamble\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        Sch=F6n=\r\nes Wetter\r\n--b\r\nContent-Type: image/png; name=x.png\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        aGlkZGVu\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n--b--\r\nepilogue\r\n";

    /// Field names with a colon, parts as `*`, each with its text.
    fn texts(message: &[u8], headers: bool, piece_bytes: usize) -> Vec<String> {
        let mut scanner = Scanner::new();
        scanner.feed(message);
        let summary = scanner.finish();
        let mut walk = TextWalk::new(&summary, headers);
        let mut found: Vec<String> = Vec::new();
        let mut sink = |event: TextEvent<'_>| match event {
            TextEvent::Field(name) => found.push(format!("{}:", String::from_utf8_lossy(name))),
            TextEvent::Part => found.push("*".into()),
            TextEvent::Text(text) => found.last_mut().expect("a beginning").push_str(text),
        };
        while let Some(at) = walk.next_offset() {
            let from = usize::try_from(at).expect("small");
            let piece = &message[from..message.len().min(from + piece_bytes)];
            walk.feed(at, piece, &mut sink);
        }
        walk.finish(&mut sink);
        found
    }

    #[test]
    fn texts_are_given_decoded_and_attachments_left_out() {
        let all = [
            "Subject:Grüße from afar",
            "Content-Type:multipart/mixed; boundary=b",
            "Content-Type:text/plain; charset=iso-8859-1",
            "Content-Transfer-Encoding:quoted-printable",
            "*Schönes Wetter",
            "Content-Type:image/png; name=x.png",
            "Content-Transfer-Encoding:base64",
            "Content-Type:message/rfc822",
            "Subject:inner",
            "*inner text",
        ];
        assert_eq!(texts(MESSAGE.as_bytes(), true, 10_000), all);
        assert_eq!(
            texts(MESSAGE.as_bytes(), false, 10_000),
            ["*Schönes Wetter", "Subject:inner", "*inner text"],
            "BODY: no headers but those of messages inside"
        );
        for piece_bytes in 1..40 {
            assert_eq!(texts(MESSAGE.as_bytes(), true, piece_bytes), all, "{piece_bytes} octets at a time");
        }
    }

    #[test]
    fn a_field_of_any_length_is_given_in_pieces_whole() {
        let mut header = HeaderText::new();
        let mut text = String::new();
        let mut held_bytes = 0;
        let mut sink = |event: TextEvent<'_>| {
            if let TextEvent::Text(piece) = event {
                text.push_str(piece);
            }
        };
        header.feed(b"Subject: ", &mut sink);
        for n in 0..100_000u32 {
            header.feed(format!("{n}\r\n ").as_bytes(), &mut sink);
            held_bytes = held_bytes.max(header.field.capacity());
        }
        header.feed(b"\r\nTo: x\r\n\r\n", &mut sink);
        header.finish(&mut sink);
        assert!(held_bytes <= 4 * FIELD_PIECE_BYTES, "{held_bytes}");
        let expected: String = (0..100_000u32).map(|n| format!("{n} ")).collect();
        assert_eq!(text, format!("{}x", expected.trim_end()));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(
            message in "((a|Content-Type|Subject|=\\?utf-8\\?q\\?=C3=A4\\?=)[: ]{0,2}(text/plain|x|multipart/x; boundary=b)?\r\n|\r\n|--b\r\n|[ä =\n]){0,20}",
            piece_bytes in 1usize..9,
        ) {
            prop_assert_eq!(texts(message.as_bytes(), true, 10_000), texts(message.as_bytes(), true, piece_bytes));
        }
    }
}
