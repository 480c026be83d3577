//! What a submitted message may lack (RFC 6409 section 8): `Date` and `Message-ID` are added at the end of its header.
//! Nothing else changes. Pure and streaming; holds a field name's start and no more.

/// As many octets of a field's name as tell the two names apart from all others.
const NAME_BYTES_MAX: usize = 11;

/// Watches a message's header go by.
#[derive(Debug, Default)]
pub(super) struct Completion {
    state: State,
    name: heapless::Vec<u8, NAME_BYTES_MAX>,
    has_date: bool,
    has_message_id: bool,
    is_broken: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the start of a line of the header.
    #[default]
    LineStart,
    /// In a field's name.
    Name,
    /// In a field's value, or a line that goes on with it.
    Value,
    /// Past the header.
    Done,
}

impl Completion {
    /// Takes the next octets; `Some(n)` when the header ends after `n` of them, once: what is missing goes there.
    pub(super) fn feed(&mut self, octets: &[u8]) -> Option<usize> {
        for (at, &octet) in octets.iter().enumerate() {
            match (self.state, octet) {
                (State::Done, _) => return None,
                (State::LineStart, b'\r' | b'\n') => {
                    self.state = State::Done;
                    return Some(at);
                }
                (State::LineStart, b' ' | b'\t') => self.state = State::Value,
                (State::LineStart, _) => {
                    self.state = State::Name;
                    self.name.clear();
                    self.name_octet(octet);
                }
                (State::Name, b':') => {
                    self.named();
                    self.state = State::Value;
                }
                (State::Name, b'\n') => {
                    self.is_broken = true;
                    self.state = State::LineStart;
                }
                (State::Name, _) => self.name_octet(octet),
                (State::Value, b'\n') => self.state = State::LineStart,
                (State::Value, _) => (),
            }
        }
        None
    }

    /// Whether the message has ended inside its header, after a whole line: what is missing goes to its end.
    pub(super) fn ends_in_header(&self) -> bool {
        self.state == State::LineStart
    }

    /// The fields to add. None to a message whose header is broken: there is no telling where it ends.
    pub(super) fn missing(&self, date: &str, message_id: &str) -> String {
        let mut fields = String::new();
        if !self.has_date && !self.is_broken {
            fields.push_str(&format!("Date: {date}\r\n"));
        }
        if !self.has_message_id && !self.is_broken {
            fields.push_str(&format!("Message-ID: <{message_id}>\r\n"));
        }
        fields
    }

    fn name_octet(&mut self, octet: u8) {
        // A full name is longer than the two that matter, and equal to neither.
        self.name.push(octet.to_ascii_lowercase()).ok();
    }

    fn named(&mut self) {
        match self.name.as_slice().trim_ascii_end() {
            b"date" => self.has_date = true,
            b"message-id" => self.has_message_id = true,
            _ => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message with what it lacked, fed in pieces of `piece` octets.
    fn complete(message: &str, piece: usize) -> String {
        let (mut completion, mut out) = (Completion::default(), Vec::new());
        for part in message.as_bytes().chunks(piece) {
            match completion.feed(part) {
                None => out.extend_from_slice(part),
                Some(at) => {
                    out.extend_from_slice(&part[..at]);
                    out.extend_from_slice(completion.missing("D", "I").as_bytes());
                    out.extend_from_slice(&part[at..]);
                }
            }
        }
        if completion.ends_in_header() {
            out.extend_from_slice(completion.missing("D", "I").as_bytes());
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_missing_is_added_at_the_end_of_the_header_and_nothing_else_changes() {
        let rows = [
            ("Date: x\r\nMessage-ID: y\r\n\r\nbody\r\n", "Date: x\r\nMessage-ID: y\r\n\r\nbody\r\n", "complete"),
            (
                "A: x\r\n\r\nDate: x\r\n",
                "A: x\r\nDate: D\r\nMessage-ID: <I>\r\n\r\nDate: x\r\n",
                "only the header counts",
            ),
            (
                "dAtE : x\r\n\r\n",
                "dAtE : x\r\nMessage-ID: <I>\r\n\r\n",
                "no case, and RFC 5322 4.5: space before the colon",
            ),
            (
                "A: x\r\n Date: y\r\n\r\n",
                "A: x\r\n Date: y\r\nDate: D\r\nMessage-ID: <I>\r\n\r\n",
                "a folded line is no field",
            ),
            (
                "Date-X: x\r\nMessage-ID2: y\r\n\r\n",
                "Date-X: x\r\nMessage-ID2: y\r\nDate: D\r\nMessage-ID: <I>\r\n\r\n",
                "other names",
            ),
            ("\r\nbody\r\n", "Date: D\r\nMessage-ID: <I>\r\n\r\nbody\r\n", "no header at all"),
            ("A: x\r\n", "A: x\r\nDate: D\r\nMessage-ID: <I>\r\n", "no body at all"),
            ("", "Date: D\r\nMessage-ID: <I>\r\n", "nothing at all"),
            ("just text\r\n\r\nmore\r\n", "just text\r\n\r\nmore\r\n", "a broken header is left alone"),
            ("A: x", "A: x", "no line end at the end (BDAT): left alone"),
        ];
        for (message, expected, why) in rows {
            for piece in 1..=message.len().max(1) {
                assert_eq!(complete(message, piece), expected, "{why}, by {piece}");
            }
        }
    }
}
