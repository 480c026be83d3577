//! Streaming scanner: a message in pieces of any size in, its `Summary` out (RFC 5322, 2045, 2046). Memory is bounded
//! whatever comes: beyond a cap the rest is an opaque leaf, never an error, and offsets stay true. Never keeps a body.
//!
//! Where mail is broken, this is what holds (mostly as Dovecot has it, whose clients are used to it):
//! - A line ends with LF, whether or not a CR stands before it; a bare CR ends nothing.
//! - A header ends at the first blank line, or at a boundary, or with the message; a line without a colon does not end it.
//! - A delimiter line needs only to begin with the boundary (RFC 2046 5.1.2). Of several boundaries that fit the longest
//!   counts, among equals the innermost. After its close delimiter a multipart has no boundary any more.
//! - The line end before a delimiter belongs to it (RFC 2046 5.1.1), unless it ends the header.
//! - A multipart without a boundary parameter is no multipart: text/plain (RFC 2045 5.2). One whose boundary never comes
//!   has one text/plain part that is all of it, so that a client that goes by BODYSTRUCTURE shows it; one that is closed
//!   before any part has one that is empty.
//! - Inside a transfer encoding that RFC 2045 6.4 forbids for them, multiparts and messages are read as they stand.

use super::content::{BOUNDARY_BYTES_MAX, ContentType};
use super::gather::{Gathered, packed_default};
use super::header::fields;
use super::pack::{HEAD_BYTES_MAX, LEAF, MESSAGE, PART_NUMBERS_BYTES_MAX, Place, multipart, put_head, put_place};
use super::summary::{Damaged, SUMMARY_BYTES_MAX, Span, Summary};

/// Parts inside each other, the message itself counted.
pub const DEPTH_MAX: usize = 32;
/// Parts of a message; besides, each multipart at hand may have one more that takes the rest.
pub const PARTS_MAX: usize = 1_000;
/// Octets of one header field that are looked at.
pub const FIELD_BYTES_MAX: usize = 32 * 1024;
/// Octets that the envelope of the message takes of its summary.
const ENVELOPE_BYTES_MAX: usize = 12 * 1024;
/// Octets that the envelope of a message inside takes.
const INNER_ENVELOPE_BYTES_MAX: usize = 4 * 1024;
/// Octets that the fields of one part take.
const FIELDS_BYTES_MAX: usize = 4 * 1024;
/// Octets kept free for the fields of a part of which only types are kept: four tokens and a few counts.
const FIELDS_BYTES_MIN: usize = 320;
/// Octets kept free for each part at hand: its numbers, and the part that must be inside or takes its rest.
const OPEN_BYTES: usize = 2 * PART_NUMBERS_BYTES_MAX + 16;
/// Octets of a line that must be held until it is known whether it is a delimiter.
const HEAD_OF_LINE_BYTES_MAX: usize = 2 + BOUNDARY_BYTES_MAX + 2;
/// Room of a field's buffer that is kept from field to field.
const FIELD_BYTES_KEPT: usize = 1024;

const _: () = assert!(
    ENVELOPE_BYTES_MAX + FIELDS_BYTES_MAX + HEAD_BYTES_MAX + DEPTH_MAX * (OPEN_BYTES + FIELDS_BYTES_MIN)
        < SUMMARY_BYTES_MAX
);

/// Reads a message while it arrives.
#[derive(Debug)]
pub struct Scanner {
    /// Octets and line ends behind us.
    octets: u64,
    lines: u64,
    /// Where the line at hand begins, the lines before it, and the octets of the line end before it.
    line_start: u64,
    lines_before: u64,
    end_before: u64,
    /// The first octets of the line while it is not known what it is; not counted in `octets` yet.
    head: Vec<u8>,
    line: Line,
    last: u8,
    /// The field at hand, up to a cap.
    field: Vec<u8>,
    gathered: Gathered,
    in_header: bool,
    /// The parts at hand, the message first, the innermost last; never empty.
    open: Vec<Open>,
    /// Whether a boundary may come.
    watching: bool,
    parts: usize,
    /// The parts that have ended, packed.
    records: Vec<u8>,
    received: u32,
    truncated: bool,
}

/// What the line at hand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Unknown,
    /// A line of a header field.
    Field,
    /// The line that ends a header.
    Blank,
    Body,
    /// A delimiter: after it begins a part of the innermost multipart.
    Delimiter,
    /// A close delimiter.
    Close,
}

/// A part at hand.
#[derive(Debug)]
struct Open {
    header_start: u64,
    body_start: u64,
    lines_at_body: u64,
    /// Where what is inside ends so far: a header's last line end is the header's, even before a delimiter.
    inside_end: u64,
    lines_at_inside_end: u64,
    /// Packed.
    fields: Vec<u8>,
    /// Of a message: its envelope, packed.
    envelope: Vec<u8>,
    /// Of a message/rfc822 part: the envelope of the message inside, once that has ended.
    inner_envelope: Vec<u8>,
    inside: Inside,
}

#[derive(Debug)]
enum Inside {
    Leaf,
    Message,
    Multipart {
        boundary: Vec<u8>,
        is_digest: bool,
        parts: usize,
        /// Whether a delimiter has come.
        begun: bool,
        /// Whether no delimiter is to come any more.
        closed: bool,
    },
}

impl Open {
    fn at(header_start: u64) -> Self {
        Self {
            header_start,
            body_start: header_start,
            lines_at_body: 0,
            inside_end: 0,
            lines_at_inside_end: 0,
            fields: Vec::new(),
            envelope: Vec::new(),
            inner_envelope: Vec::new(),
            inside: Inside::Leaf,
        }
    }

    fn packed_bytes(&self) -> usize {
        self.fields.len() + self.envelope.len() + self.inner_envelope.len()
    }

    fn boundary(&self) -> Option<&[u8]> {
        match &self.inside {
            Inside::Multipart { boundary, closed: false, .. } => Some(boundary),
            Inside::Leaf | Inside::Message | Inside::Multipart { .. } => None,
        }
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// At the first octet of a message.
    pub fn new() -> Self {
        Self {
            octets: 0,
            lines: 0,
            line_start: 0,
            lines_before: 0,
            end_before: 0,
            head: Vec::new(),
            line: Line::Unknown,
            last: 0,
            field: Vec::new(),
            gathered: Gathered::of_message(ENVELOPE_BYTES_MAX),
            in_header: true,
            open: vec![Open::at(0)],
            watching: false,
            parts: 1,
            records: Vec::new(),
            received: 0,
            truncated: false,
        }
    }

    /// Takes the next octets; how they are cut makes no difference.
    pub fn feed(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while let Some(&first) = rest.first() {
            if self.line != Line::Unknown {
                rest = self.pass_line(rest);
            } else if !self.in_header && !self.watching {
                self.pass_body(rest);
                return;
            } else if self.head.is_empty() && !(first == b'-' && self.watching) && !self.in_header {
                rest = self.pass_lines(rest);
            } else if self.head.is_empty() && !(first == b'-' && self.watching) && !matches!(first, b'\r' | b'\n') {
                self.begin_field_line(first);
            } else {
                self.head.push(first);
                rest = rest.get(1..).unwrap_or_default();
                if let Some(line) = self.tell(false) {
                    self.begin_line(line);
                }
            }
        }
    }

    /// `Received:` fields seen so far in the message's own header, for loop detection (RFC 5321 6.3).
    pub fn received_count(&self) -> u32 {
        self.received
    }

    /// Whether the message's own header has ended.
    pub fn is_past_header(&self) -> bool {
        !self.in_header || self.open.len() > 1
    }

    /// Octets of memory it holds at the moment, roughly: at most about 100 KiB, for most messages under 2 KiB.
    pub fn held_bytes(&self) -> usize {
        let open: usize = self.open.iter().map(|o| size_of::<Open>() + o.packed_bytes()).sum();
        size_of::<Self>() + self.records.capacity() + self.field.capacity() + self.gathered.held_bytes() + open
    }

    /// The message is whole.
    pub fn finish(self) -> Summary {
        let octets = self.octets.saturating_add(self.head.len() as u64);
        let decoded = Summary::decode(&self.finish_encoded());
        debug_assert!(decoded.is_ok(), "a scanner writes what a reader reads");
        decoded.unwrap_or_else(|Damaged| Summary::opaque(octets))
    }

    /// The message is whole: what [`Summary::encode`] would give, without the detour.
    pub fn finish_encoded(mut self) -> Vec<u8> {
        if self.line == Line::Unknown
            && !self.head.is_empty()
            && let Some(line) = self.tell(true)
        {
            self.begin_line(line);
        }
        self.close_down_to(0, self.octets, self.lines);
        let mut encoded = Vec::with_capacity(HEAD_BYTES_MAX + self.records.len() + 256);
        put_head(&mut encoded, self.octets, self.truncated, false);
        let root = self.open.pop();
        encoded.extend_from_slice(root.as_ref().map_or(b"\0", |root| &root.envelope));
        if let Some(root) = root {
            self.close(root, self.octets, self.lines);
        }
        encoded.extend_from_slice(&self.records);
        encoded
    }

    /// What the line is that begins with `head`; nothing while more of it is needed. After `is_last` no more comes.
    fn tell(&self, is_last: bool) -> Option<Line> {
        let head = self.head.as_slice();
        if self.watching && head.starts_with(b"-") {
            let is_whole = is_last || head.ends_with(b"\n") || head.len() >= HEAD_OF_LINE_BYTES_MAX;
            match head {
                [b'-'] if !is_whole => return None,
                [b'-', b'-', ..] if !is_whole => return None,
                [b'-', b'-', rest @ ..] => match self.delimits(rest) {
                    Some((_, true)) => return Some(Line::Close),
                    Some((_, false)) => return Some(Line::Delimiter),
                    None => {}
                },
                _ => {}
            }
        }
        match head {
            _ if !self.in_header => Some(Line::Body),
            [b'\r'] if !is_last => None,
            [b'\n'] | [b'\r', b'\n'] => Some(Line::Blank),
            _ => Some(Line::Field),
        }
    }

    /// Which multipart's delimiter a line is whose octets after the hyphens are `rest`, and whether it is the last one.
    fn delimits(&self, rest: &[u8]) -> Option<(usize, bool)> {
        let mut best: Option<(usize, &[u8])> = None;
        for (at, open) in self.open.iter().enumerate().rev() {
            if let Some(boundary) = open.boundary()
                && rest.starts_with(boundary)
                && best.is_none_or(|(_, found)| boundary.len() > found.len())
            {
                best = Some((at, boundary));
            }
        }
        best.map(|(at, boundary)| (at, rest.get(boundary.len()..).is_some_and(|after| after.starts_with(b"--"))))
    }

    /// It is known what the line is: `head` is let go.
    fn begin_line(&mut self, line: Line) {
        self.line = line;
        let head = std::mem::take(&mut self.head);
        match line {
            Line::Delimiter | Line::Close => {
                if let Some((at, _)) = head.get(2..).and_then(|rest| self.delimits(rest)) {
                    self.delimiter(at, line == Line::Close);
                }
            }
            Line::Field => self.begin_field_line(head.first().copied().unwrap_or_default()),
            Line::Unknown | Line::Blank | Line::Body => {}
        }
        self.pass_line(&head);
        self.head = head;
        self.head.clear();
    }

    /// A line of the header begins with this octet: white space goes on with the field at hand (RFC 5322 2.2.3).
    fn begin_field_line(&mut self, first: u8) {
        self.line = Line::Field;
        if !matches!(first, b' ' | b'\t') {
            self.end_field();
        }
    }

    /// Counts octets up to the end of the line at hand, and gives those after it.
    fn pass_line<'a>(&mut self, octets: &'a [u8]) -> &'a [u8] {
        let end = memchr::memchr(b'\n', octets);
        let (piece, rest) = octets.split_at_checked(end.map_or(octets.len(), |at| at + 1)).unwrap_or((octets, b""));
        if self.line == Line::Field {
            let room = FIELD_BYTES_MAX.saturating_sub(self.field.len());
            self.field.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
        self.octets = self.octets.saturating_add(piece.len() as u64);
        if end.is_some() {
            let before = piece.iter().rev().nth(1).copied().unwrap_or(self.last);
            self.end_line(if before == b'\r' { 2 } else { 1 });
        }
        self.last = piece.last().copied().unwrap_or(self.last);
        rest
    }

    /// Counts whole lines of a body up to one that may be a delimiter, and gives what is behind them.
    fn pass_lines<'a>(&mut self, octets: &'a [u8]) -> &'a [u8] {
        let end = memchr::memmem::find(octets, b"\n-").or_else(|| memchr::memrchr(b'\n', octets));
        let Some((piece, rest)) = end.and_then(|at| octets.split_at_checked(at + 1)) else {
            self.line = Line::Body;
            return self.pass_line(octets);
        };
        self.octets = self.octets.saturating_add(piece.len() as u64);
        // The last one is counted by its end.
        let lines = memchr::memchr_iter(b'\n', piece).count().saturating_sub(1);
        self.lines = self.lines.saturating_add(lines as u64);
        let before = piece.iter().rev().nth(1).copied().unwrap_or(self.last);
        self.end_line(if before == b'\r' { 2 } else { 1 });
        self.last = b'\n';
        rest
    }

    /// Counts octets of which none can be a delimiter any more.
    fn pass_body(&mut self, octets: &[u8]) {
        self.octets = self.octets.saturating_add(octets.len() as u64);
        self.lines = self.lines.saturating_add(memchr::memchr_iter(b'\n', octets).count() as u64);
    }

    fn end_line(&mut self, end_octets: u64) {
        let line = std::mem::replace(&mut self.line, Line::Unknown);
        self.lines = self.lines.saturating_add(1);
        self.line_start = self.octets;
        self.lines_before = self.lines;
        self.end_before = end_octets;
        match line {
            Line::Blank => self.end_header(),
            Line::Delimiter => self.begin_part(),
            Line::Unknown | Line::Field | Line::Body | Line::Close => {}
        }
    }

    /// The field at hand has ended.
    fn end_field(&mut self) {
        if self.field.is_empty() {
            return;
        }
        if self.open.len() == 1 && fields(&self.field).next().is_some_and(|f| f.is("Received")) {
            self.received = self.received.saturating_add(1);
        }
        let is_kept = self.gathered.field(&self.field);
        self.truncated |= is_kept && self.field.len() >= FIELD_BYTES_MAX;
        self.field.clear();
        self.field.shrink_to(FIELD_BYTES_KEPT);
    }

    /// Octets that the summary has left when everything at hand is written.
    fn room(&self) -> usize {
        let open: usize = self.open.iter().map(|o| OPEN_BYTES + o.packed_bytes()).sum();
        SUMMARY_BYTES_MAX.saturating_sub(HEAD_BYTES_MAX + open + self.records.len())
    }

    /// The header at hand has ended, and the body begins here.
    fn end_header(&mut self) {
        self.end_field();
        self.in_header = false;
        let is_full = self.open.len() >= DEPTH_MAX || !self.has_room_for_part();
        // What parts to come need at the least is kept free.
        let room = self.room().saturating_sub(3 * FIELDS_BYTES_MIN).clamp(FIELDS_BYTES_MIN, FIELDS_BYTES_MAX);
        let (content_type, fields) = self.gathered.finish(room, is_full);
        let envelope = self.gathered.packed_envelope();
        self.truncated |= self.gathered.cut;
        let (octets, lines) = (self.octets, self.lines);
        let Some(open) = self.open.last_mut() else { return };
        open.body_start = octets;
        open.lines_at_body = lines;
        open.fields = fields;
        open.envelope = envelope;
        if content_type.is_message() {
            open.inside = Inside::Message;
            self.open_part(Open::at(octets));
            let room = self.room().saturating_sub(2 * FIELDS_BYTES_MIN).min(INNER_ENVELOPE_BYTES_MAX);
            self.gathered = Gathered::of_message(room);
        } else if content_type.is_multipart()
            && let Some(boundary) = content_type.boundary()
        {
            let is_digest = content_type.is_digest();
            open.inside = Inside::Multipart { boundary, is_digest, parts: 0, begun: false, closed: false };
        }
        self.watch();
    }

    fn has_room_for_part(&self) -> bool {
        self.parts < PARTS_MAX && self.room() >= OPEN_BYTES + 3 * FIELDS_BYTES_MIN
    }

    fn open_part(&mut self, open: Open) {
        self.open.push(open);
        self.parts += 1;
        self.in_header = true;
        self.field.clear();
    }

    fn watch(&mut self) {
        self.watching = self.open.iter().any(|open| open.boundary().is_some());
    }

    /// A delimiter of the multipart `at` begins at this line: what is open inside it ends.
    fn delimiter(&mut self, at: usize, is_last: bool) {
        let end = self.line_start.saturating_sub(self.end_before);
        let lines = self.lines_before.saturating_sub(u64::from(self.end_before > 0));
        self.close_down_to(at, end, lines);
        if let Some(Inside::Multipart { begun, closed, .. }) = self.open.last_mut().map(|open| &mut open.inside) {
            *begun = true;
            *closed |= is_last;
        }
        self.watch();
    }

    /// A delimiter's line has ended: the next part of the innermost multipart begins.
    fn begin_part(&mut self) {
        let has_room = self.has_room_for_part();
        let (octets, lines) = (self.octets, self.lines);
        let Some(Inside::Multipart { is_digest, closed, .. }) = self.open.last_mut().map(|open| &mut open.inside)
        else {
            return;
        };
        if has_room {
            self.gathered = Gathered::of_part(*is_digest);
            self.open_part(Open::at(octets));
        } else {
            // The rest of the multipart is one part that is not looked into.
            *closed = true;
            self.truncated = true;
            let fields = packed_default(&ContentType::opaque());
            self.open.push(Open { fields, lines_at_body: lines, ..Open::at(octets) });
            self.watch();
        }
    }

    /// Ends everything open inside the part `at`, and that part's header; bodies end at octet `end`, before which there
    /// are so many `lines`.
    fn close_down_to(&mut self, at: usize, end: u64, lines: u64) {
        loop {
            while self.in_header {
                self.end_header();
            }
            if self.open.len() <= at + 1 {
                return;
            }
            let Some(open) = self.open.pop() else { return };
            self.close(open, end, lines);
        }
    }

    /// Writes a part that has ended.
    fn close(&mut self, open: Open, end: u64, lines: u64) {
        let (end, lines) = (end, lines).max((open.body_start, open.lines_at_body));
        let (end, lines) = (end, lines).max((open.inside_end, open.lines_at_inside_end));
        let body_octets = end.saturating_sub(open.body_start);
        let body_lines = lines.saturating_sub(open.lines_at_body);
        let header = Span { offset: open.header_start, octets: open.body_start.saturating_sub(open.header_start) };
        let shape = match open.inside {
            Inside::Leaf => LEAF,
            Inside::Message => MESSAGE,
            Inside::Multipart { parts: 0, begun, .. } => {
                let all = if begun { (0, 0) } else { (body_octets, body_lines) };
                let header = Span { offset: open.body_start, octets: 0 };
                put_place(&mut self.records, &Place { shape: LEAF, header, body_octets: all.0, lines: all.1 });
                self.records.extend_from_slice(&packed_default(&ContentType::default_in(false)));
                self.parts += 1;
                multipart(1)
            }
            Inside::Multipart { parts, .. } => multipart(parts),
        };
        put_place(&mut self.records, &Place { shape, header, body_octets, lines: body_lines });
        self.records.extend_from_slice(&open.fields);
        self.records.extend_from_slice(&open.inner_envelope);
        if let Some(parent) = self.open.last_mut() {
            (parent.inside_end, parent.lines_at_inside_end) = (end, lines);
            match &mut parent.inside {
                Inside::Message => parent.inner_envelope = open.envelope,
                Inside::Multipart { parts, .. } => *parts += 1,
                Inside::Leaf => {}
            }
        }
    }
}
