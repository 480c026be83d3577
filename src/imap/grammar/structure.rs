//! ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 7.4.2), printed from what the mail room learned of a message.
//! Never looks at the message's bytes.

use super::write::{nstring, number, string};
use crate::mail::{Content, Disposition, Envelope, EnvelopeAddress, Message, Parameter, Part};

/// Writes ENVELOPE's value.
pub fn put_envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    out.push(b'(');
    nstring(out, envelope.date.as_deref());
    out.push(b' ');
    nstring(out, envelope.subject.as_deref());
    let from = envelope.from.as_slice();
    let lists = [from, envelope.sender(), envelope.reply_to(), &envelope.to, &envelope.cc, &envelope.bcc];
    for addresses in lists {
        out.push(b' ');
        put_addresses(out, addresses);
    }
    out.push(b' ');
    nstring(out, envelope.in_reply_to.as_deref());
    out.push(b' ');
    nstring(out, envelope.message_id.as_deref());
    out.push(b')');
}

fn put_addresses(out: &mut Vec<u8>, addresses: &[EnvelopeAddress]) {
    if addresses.is_empty() {
        return nstring(out, None);
    }
    out.push(b'(');
    for address in addresses {
        let fields = [&address.name, &address.route, &address.mailbox, &address.host];
        for (n, field) in fields.into_iter().enumerate() {
            out.push(if n == 0 { b'(' } else { b' ' });
            nstring(out, field.as_deref());
        }
        out.push(b')');
    }
    out.push(b')');
}

/// Writes BODY's value, or with `extended` BODYSTRUCTURE's. The tree is as deep as the scanner allows, no deeper.
pub fn put_structure(out: &mut Vec<u8>, part: &Part, extended: bool) {
    out.push(b'(');
    match &part.content {
        Content::Multipart(parts) => put_multipart(out, part, parts, extended),
        Content::Message(message) => put_message(out, part, message, extended),
        Content::Leaf => put_leaf(out, part, extended),
    }
    out.push(b')');
}

/// `body-type-mpart`
fn put_multipart(out: &mut Vec<u8>, part: &Part, parts: &[Part], extended: bool) {
    for part in parts {
        put_structure(out, part, extended);
    }
    out.push(b' ');
    string(out, &part.subtype);
    if extended {
        out.push(b' ');
        put_parameters(out, &part.parameters);
        put_extension(out, part);
    }
}

/// `body-type-msg`
fn put_message(out: &mut Vec<u8>, part: &Part, message: &Message, extended: bool) {
    put_fields(out, part, &part.kind, &part.subtype);
    out.push(b' ');
    put_envelope(out, &message.envelope);
    out.push(b' ');
    put_structure(out, &message.root, extended);
    out.push(b' ');
    number(out, part.lines);
    if extended {
        put_md5_and_extension(out, part);
    }
}

/// `body-type-text` and `body-type-basic`
fn put_leaf(out: &mut Vec<u8>, part: &Part, extended: bool) {
    // A multipart without parts, or a message not looked into, has no form of its own: RFC 2046 4.5.1 says what a
    // receiver makes of such a thing.
    let is = |kind: &[u8]| part.kind.eq_ignore_ascii_case(kind);
    let whole = |subtype: &[u8]| part.subtype.eq_ignore_ascii_case(subtype);
    if is(b"multipart") || (is(b"message") && (whole(b"rfc822") || whole(b"global"))) {
        put_fields(out, part, b"application", b"octet-stream");
    } else {
        put_fields(out, part, &part.kind, &part.subtype);
    }
    if is(b"text") {
        out.push(b' ');
        number(out, part.lines);
    }
    if extended {
        put_md5_and_extension(out, part);
    }
}

/// Type, subtype and `body-fields`.
fn put_fields(out: &mut Vec<u8>, part: &Part, kind: &[u8], subtype: &[u8]) {
    string(out, kind);
    out.push(b' ');
    string(out, subtype);
    out.push(b' ');
    put_parameters(out, &part.parameters);
    out.push(b' ');
    nstring(out, part.id.as_deref());
    out.push(b' ');
    nstring(out, part.description.as_deref());
    out.push(b' ');
    string(out, &part.encoding);
    out.push(b' ');
    number(out, part.body.octets);
}

/// `body-ext-1part`
fn put_md5_and_extension(out: &mut Vec<u8>, part: &Part) {
    out.push(b' ');
    nstring(out, part.md5.as_deref());
    put_extension(out, part);
}

/// Disposition, language and location: the end of both `body-ext-1part` and `body-ext-mpart`.
fn put_extension(out: &mut Vec<u8>, part: &Part) {
    out.push(b' ');
    put_disposition(out, part.disposition.as_ref());
    out.push(b' ');
    match part.languages.as_slice() {
        [] => nstring(out, None),
        [language] => string(out, language),
        languages => {
            for (n, language) in languages.iter().enumerate() {
                out.push(if n == 0 { b'(' } else { b' ' });
                string(out, language);
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    nstring(out, part.location.as_deref());
}

fn put_disposition(out: &mut Vec<u8>, disposition: Option<&Disposition>) {
    let Some(disposition) = disposition else {
        return nstring(out, None);
    };
    out.push(b'(');
    string(out, &disposition.kind);
    out.push(b' ');
    put_parameters(out, &disposition.parameters);
    out.push(b')');
}

/// `body-fld-param`
fn put_parameters(out: &mut Vec<u8>, parameters: &[Parameter]) {
    if parameters.is_empty() {
        return nstring(out, None);
    }
    for (n, parameter) in parameters.iter().enumerate() {
        out.push(if n == 0 { b'(' } else { b' ' });
        string(out, &parameter.name);
        out.push(b' ');
        string(out, &parameter.value);
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Span;

    fn text(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }

    fn address(name: Option<&str>, mailbox: Option<&str>, host: Option<&str>) -> EnvelopeAddress {
        EnvelopeAddress {
            name: name.and_then(text),
            route: None,
            mailbox: mailbox.and_then(text),
            host: host.and_then(text),
        }
    }

    fn part(kind: &str, subtype: &str, octets: u64, lines: u64) -> Part {
        Part {
            header: Span::default(),
            body: Span { offset: 0, octets },
            lines,
            kind: kind.into(),
            subtype: subtype.into(),
            parameters: Vec::new(),
            id: None,
            description: None,
            encoding: b"7bit".to_vec(),
            md5: None,
            disposition: None,
            languages: Vec::new(),
            location: None,
            content: Content::Leaf,
        }
    }

    fn parameter(name: &str, value: &str) -> Parameter {
        Parameter { name: name.into(), value: value.into() }
    }

    fn printed(part: &Part, extended: bool) -> String {
        let mut out = Vec::new();
        put_structure(&mut out, part, extended);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_envelope_is_printed_as_in_the_rfc() {
        // RFC 3501 section 8.
        let gray = address(Some("Terry Gray"), Some("gray"), Some("cac.washington.edu"));
        let envelope = Envelope {
            date: text("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)"),
            subject: text("IMAP4rev1 WG mtg summary and minutes"),
            from: vec![gray],
            to: vec![address(None, Some("imap"), Some("cac.washington.edu"))],
            cc: vec![
                address(None, Some("minutes"), Some("CNRI.Reston.VA.US")),
                address(Some("John Klensin"), Some("KLENSIN"), Some("MIT.EDU")),
            ],
            message_id: text("<B27397-0100000@cac.washington.edu>"),
            ..Envelope::default()
        };
        let mut out = Vec::new();
        put_envelope(&mut out, &envelope);
        let expected = concat!(
            "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" ",
            "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ",
            "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) ",
            "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL ",
            "\"<B27397-0100000@cac.washington.edu>\")"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn groups_and_raw_octets_keep_their_form() {
        // RFC 3501 7.4.2: a group begins and ends with an address without a host.
        let envelope = Envelope {
            subject: Some(b"caf\xc3\xa9".to_vec()),
            to: vec![address(None, Some("friends"), None), address(None, None, None)],
            ..Envelope::default()
        };
        let mut out = Vec::new();
        put_envelope(&mut out, &envelope);
        let expected =
            b"(NIL {5}\r\ncaf\xc3\xa9 NIL NIL NIL ((NIL NIL \"friends\" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL)";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_text_part_has_lines() {
        // RFC 3501 7.4.2.
        let mut plain = part("TEXT", "PLAIN", 1152, 23);
        plain.parameters = vec![parameter("CHARSET", "US-ASCII")];
        assert_eq!(printed(&plain, false), "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7bit\" 1152 23)");
        let extended = "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7bit\" 1152 23 NIL NIL NIL NIL)";
        assert_eq!(printed(&plain, true), extended);
    }

    #[test]
    fn a_multipart_lists_its_parts_and_then_its_subtype() {
        let mut image = part("image", "png", 400, 6);
        image.encoding = b"base64".to_vec();
        image.id = text("<960723163407.20117h@cac.washington.edu>");
        image.description = text("a picture");
        image.md5 = text("Q2hlY2sgSW50ZWdyaXR5IQ==");
        image.disposition =
            Some(Disposition { kind: b"attachment".to_vec(), parameters: vec![parameter("filename", "a\"b.png")] });
        image.languages = vec![b"de".to_vec(), b"en".to_vec()];
        image.location = text("http://example.org/");
        let mut mixed = part("multipart", "mixed", 3000, 60);
        mixed.parameters = vec![parameter("boundary", "x")];
        mixed.languages = vec![b"en".to_vec()];
        mixed.content = Content::Multipart(vec![part("text", "plain", 10, 1), image]);
        let body = concat!(
            "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 10 1)",
            "(\"image\" \"png\" NIL \"<960723163407.20117h@cac.washington.edu>\" \"a picture\" \"base64\" 400) \"mixed\")"
        );
        assert_eq!(printed(&mixed, false), body);
        let structure = concat!(
            "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 10 1 NIL NIL NIL NIL)",
            "(\"image\" \"png\" NIL \"<960723163407.20117h@cac.washington.edu>\" \"a picture\" \"base64\" 400",
            " \"Q2hlY2sgSW50ZWdyaXR5IQ==\" (\"attachment\" (\"filename\" \"a\\\"b.png\")) (\"de\" \"en\")",
            " \"http://example.org/\") \"mixed\" (\"boundary\" \"x\") NIL \"en\" NIL)"
        );
        assert_eq!(printed(&mixed, true), structure);
    }

    #[test]
    fn a_message_in_a_message_has_envelope_structure_and_lines() {
        let mut outer = part("message", "rfc822", 500, 12);
        let envelope = Envelope { subject: text("inner"), ..Envelope::default() };
        outer.content = Content::Message(Box::new(Message { envelope, root: part("text", "plain", 300, 8) }));
        let expected = concat!(
            "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 500 ",
            "(NIL \"inner\" NIL NIL NIL NIL NIL NIL NIL NIL) ",
            "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 300 8) 12)"
        );
        assert_eq!(printed(&outer, false), expected);
    }

    #[test]
    fn what_is_not_looked_into_is_shown_as_octets() {
        for (kind, subtype) in [("multipart", "mixed"), ("Message", "RFC822")] {
            let opaque = part(kind, subtype, 10, 1);
            assert_eq!(printed(&opaque, false), "(\"application\" \"octet-stream\" NIL NIL NIL \"7bit\" 10)");
        }
        let status = part("message", "delivery-status", 10, 1);
        assert_eq!(printed(&status, false), "(\"message\" \"delivery-status\" NIL NIL NIL \"7bit\" 10)");
    }
}
