//! `BODY[section]` (RFC 3501 6.4.5): from part numbers to a byte range of the message.

use super::summary::{Content, Part, Span, Summary};

/// What of a part is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// BODY[] is the whole message, BODY[1.2] a part's body.
    Body,
    /// `BODY[HEADER]`, `BODY[1.2.HEADER]` and its FIELDS (see `FieldFilter`): of the message or of a message/rfc822 part.
    Header,
    /// `BODY[TEXT]`, `BODY[1.2.TEXT]`: of the message or of a message/rfc822 part.
    Text,
    /// BODY[1.2.MIME]: the header of the part itself. Of part 1 of a message that is no multipart it is the message's
    /// header, as Dovecot has it.
    Mime,
}

impl Summary {
    /// The octets that BODY[path.wanted] names; nothing when the message has no such part (RFC 3501 has servers answer
    /// NIL or an empty string). Part 1 of a message that is no multipart is its body.
    pub fn section(&self, path: &[u32], wanted: Wanted) -> Option<Span> {
        if path.is_empty() {
            return match wanted {
                Wanted::Body => Some(Span { offset: 0, octets: self.octets }),
                Wanted::Header => Some(self.root.header),
                Wanted::Text => Some(self.root.body),
                Wanted::Mime => None,
            };
        }
        let part = self.part(path)?;
        match (wanted, &part.content) {
            (Wanted::Body, _) => Some(part.body),
            (Wanted::Mime, _) => Some(part.header),
            (Wanted::Header, Content::Message(message)) => Some(message.root.header),
            (Wanted::Text, Content::Message(message)) => Some(message.root.body),
            (Wanted::Header | Wanted::Text, Content::Leaf | Content::Multipart(_)) => None,
        }
    }

    /// The part with these numbers; the message itself for an empty path.
    pub fn part(&self, path: &[u32]) -> Option<&Part> {
        let mut at = Step::Message(&self.root);
        for &number in path {
            at = Step::Part(at.inside(number)?);
        }
        let (Step::Message(part) | Step::Part(part)) = at;
        Some(part)
    }
}

enum Step<'a> {
    /// A message: when it is no multipart, it has one part, itself.
    Message(&'a Part),
    /// A part of one.
    Part(&'a Part),
}

impl<'a> Step<'a> {
    fn inside(&self, number: u32) -> Option<&'a Part> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        match self {
            Self::Message(part) => match &part.content {
                Content::Multipart(parts) => parts.get(index),
                Content::Leaf | Content::Message(_) => (index == 0).then_some(part),
            },
            Self::Part(part) => match &part.content {
                Content::Multipart(parts) => parts.get(index),
                Content::Message(message) => Step::Message(&message.root).inside(number),
                Content::Leaf => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Scanner;

    fn scan(message: &str) -> Summary {
        let mut scanner = Scanner::new();
        scanner.feed(message.as_bytes());
        scanner.finish()
    }

    /// The example of RFC 3501 6.4.5, each part's text naming it.
    fn example() -> String {
        let part = |boundary: &str, header: &str, body: &str| format!("--{boundary}\r\n{header}\r\n{body}\r\n");
        let inner = format!(
            "Subject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n{}{}--i--\r\n",
            part("i", "", "is 3.1"),
            part("i", "Content-Type: application/octet-stream\r\n", "is 3.2")
        );
        let nested = format!(
            "Content-Type: message/rfc822\r\n\r\nSubject: nested\r\nContent-Type: multipart/mixed; boundary=n\r\n\r\n{}{}--n--",
            part("n", "Content-Type: text/plain\r\n", "is 4.2.1"),
            part(
                "n",
                "Content-Type: multipart/alternative; boundary=a\r\n",
                &format!(
                    "{}{}--a--",
                    part("a", "", "is 4.2.2.1"),
                    part("a", "Content-Type: text/richtext\r\n", "is 4.2.2.2")
                ),
            )
        );
        let fourth = format!("{}--f\r\n{nested}\r\n--f--", part("f", "Content-Type: image/gif\r\n", "is 4.1"));
        format!(
            "Subject: outer\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n{}{}{}{}--o--\r\n",
            part("o", "", "is 1"),
            part("o", "Content-Type: application/octet-stream\r\n", "is 2"),
            part("o", "Content-Type: message/rfc822\r\n", &inner),
            part("o", "Content-Type: multipart/mixed; boundary=f\r\n", &fourth),
        )
    }

    #[test]
    fn sections_are_those_of_the_example_in_rfc_3501_6_4_5() {
        let message = example();
        let summary = scan(&message);
        let section = |path: &[u32], wanted| {
            let span = summary.section(path, wanted)?;
            message.get(usize::try_from(span.offset).ok()?..usize::try_from(span.end()).ok()?)
        };
        assert_eq!(section(&[], Wanted::Body), Some(message.as_str()));
        assert_eq!(
            section(&[], Wanted::Header),
            Some("Subject: outer\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n")
        );
        assert!(section(&[], Wanted::Text).is_some_and(|t| t.starts_with("--o\r\n") && t.ends_with("--o--\r\n")));
        for path in [&[1][..], &[2], &[3, 1], &[3, 2], &[4, 1], &[4, 2, 1], &[4, 2, 2, 1], &[4, 2, 2, 2]] {
            let name = path.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
            assert_eq!(section(path, Wanted::Body), Some(format!("is {name}").as_str()));
        }
        assert_eq!(section(&[1], Wanted::Mime), Some("\r\n"));
        assert_eq!(section(&[2], Wanted::Mime), Some("Content-Type: application/octet-stream\r\n\r\n"));
        assert_eq!(section(&[3], Wanted::Mime), Some("Content-Type: message/rfc822\r\n\r\n"));
        assert_eq!(
            section(&[3], Wanted::Header),
            Some("Subject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n")
        );
        assert!(section(&[3], Wanted::Text).is_some_and(|t| t.starts_with("--i\r\n") && t.ends_with("--i--\r\n")));
        assert!(section(&[3], Wanted::Body).is_some_and(|t| t.starts_with("Subject: inner\r\n")));
        assert_eq!(section(&[4, 2, 2], Wanted::Mime), Some("Content-Type: multipart/alternative; boundary=a\r\n\r\n"));
        for (path, wanted, why) in [
            (&[5][..], Wanted::Body, "no fifth part"),
            (&[0], Wanted::Body, "parts count from 1"),
            (&[1, 1], Wanted::Body, "a leaf has no parts"),
            (&[1], Wanted::Header, "a leaf has no header of its own"),
            (&[4], Wanted::Text, "a multipart is no message"),
            (&[3, 3], Wanted::Body, "no third part inside"),
            (&[], Wanted::Mime, "the message is no part"),
            (&[u32::MAX], Wanted::Body, "far beyond"),
        ] {
            assert_eq!(section(path, wanted), None, "{why}");
        }
    }

    #[test]
    fn part_1_of_a_message_that_is_no_multipart_is_its_body() {
        let summary = scan("Subject: x\r\n\r\nbody\r\n");
        assert_eq!(summary.section(&[1], Wanted::Body), Some(Span { offset: 14, octets: 6 }));
        assert_eq!(summary.section(&[1], Wanted::Mime), Some(Span { offset: 0, octets: 14 }));
        assert_eq!(summary.section(&[2], Wanted::Body), None);
        assert_eq!(summary.section(&[1, 1], Wanted::Body), None);
        assert_eq!(summary.section(&[1], Wanted::Text), None);
    }

    #[test]
    fn a_message_whose_body_is_a_message_is_entered_through_part_1() {
        let outer = "Content-Type: message/rfc822\r\n\r\n";
        let summary = scan(&format!("{outer}Subject: in\r\n\r\nbody\r\n"));
        let at = outer.len() as u64;
        assert_eq!(summary.section(&[1], Wanted::Body), Some(Span { offset: at, octets: 21 }));
        assert_eq!(summary.section(&[1], Wanted::Header), Some(Span { offset: at, octets: 15 }));
        assert_eq!(summary.section(&[1], Wanted::Text), Some(Span { offset: at + 15, octets: 6 }));
        assert_eq!(summary.section(&[1, 1], Wanted::Body), Some(Span { offset: at + 15, octets: 6 }));
        assert_eq!(summary.section(&[1, 2], Wanted::Body), None);
    }
}
