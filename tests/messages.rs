//! The mail room on whole messages: the odd ones of tests/data/odd, generated ones with mail-parser as the other opinion,
//! hostile ones, and any cut of any of them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

#[path = "fuzz/mail.rs"]
mod fuzz;

use fuzz::check;
use mail_parser::{MessageParser, PartType};
use pigeon::mail::{
    Content, Envelope, EnvelopeAddress, PARTS_MAX, Part, SUMMARY_BYTES_MAX, Scanner, Span, Summary, Wanted,
};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn scan(message: &[u8]) -> Summary {
    let mut scanner = Scanner::new();
    scanner.feed(message);
    scanner.finish()
}

fn scan_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut scanner = Scanner::new();
    pieces.into_iter().for_each(|piece| scanner.feed(piece));
    scanner.finish_encoded()
}

fn slice(message: &[u8], span: Span) -> &[u8] {
    &message[usize::try_from(span.offset).unwrap()..usize::try_from(span.end()).unwrap()]
}

/// `multipart/mixed(text/plain,text/html)`
fn outline(part: &Part) -> String {
    let text = |t: &[u8]| String::from_utf8_lossy(t).to_ascii_lowercase();
    let inside = match &part.content {
        Content::Leaf => String::new(),
        Content::Multipart(parts) => format!("({})", parts.iter().map(outline).collect::<Vec<_>>().join(",")),
        Content::Message(message) => format!("({})", outline(&message.root)),
    };
    format!("{}/{}{inside}", text(&part.kind), text(&part.subtype))
}

fn odd() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/odd")
}

fn odd_messages() -> Vec<(String, Vec<u8>, String)> {
    let structures = std::fs::read_to_string(odd().join("structures.txt")).unwrap();
    let messages: Vec<_> = structures
        .lines()
        .map(|line| {
            let (name, structure) = line.split_once(' ').unwrap();
            let message = std::fs::read(odd().join(format!("{name}.eml"))).unwrap();
            (name.to_owned(), message, structure.to_owned())
        })
        .collect();
    assert!(messages.len() >= 60, "the collection is there");
    messages
}

#[test]
fn odd_messages_have_the_structure_that_is_written_beside_them() {
    for (name, message, structure) in odd_messages() {
        let summary = scan(&message);
        assert_eq!(outline(&summary.root), structure, "{name}");
        check(&message, &summary);
        let is_beyond = name == "multipart-fifty-deep";
        assert_eq!(summary.truncated, is_beyond, "{name}: only what is beyond a cap is cut");
    }
}

#[test]
fn every_cut_of_an_odd_message_gives_the_same() {
    for (name, message, _) in odd_messages() {
        let whole = scan_pieces([message.as_slice()]);
        assert_eq!(whole, scan(&message).encode(), "{name}: packed directly or by way of a summary");
        for piece_bytes in [1, 2, 3, 7, 64] {
            assert_eq!(whole, scan_pieces(message.chunks(piece_bytes)), "{name}: {piece_bytes} octets at a time");
        }
        for at in 0..message.len().min(600) {
            let (left, right) = message.split_at(at);
            assert_eq!(whole, scan_pieces([left, right]), "{name}: cut at {at}");
        }
    }
}

#[test]
fn every_beginning_of_an_odd_message_is_sane() {
    for (_, message, _) in odd_messages() {
        for end in 0..message.len().min(600) {
            let beginning = &message[..end];
            check(beginning, &scan(beginning));
        }
    }
}

#[test]
fn odd_messages_are_named_in_the_readme_and_hold_no_nul() {
    let readme = std::fs::read_to_string(odd().join("README.md")).unwrap();
    for (name, message, _) in odd_messages() {
        assert!(readme.contains(&format!("- `{name}.eml`: ")), "{name}");
        assert!(!message.contains(&0), "{name}");
    }
    let files =
        std::fs::read_dir(odd()).unwrap().filter(|f| f.as_ref().unwrap().path().extension() == Some("eml".as_ref()));
    assert_eq!(files.count(), odd_messages().len(), "each has a structure");
}

#[test]
fn the_corpus_is_scanned_when_it_is_there() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let mut folders = vec![corpus];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let message = std::fs::read(&path).unwrap();
            let summary = scan(&message);
            check(&message, &summary);
            assert_eq!(summary.encode(), scan_pieces(message.chunks(11)), "{}", path.display());
        }
    }
}

// RFC 3501 7.4.2

fn envelope(name: &str) -> Envelope {
    scan(&std::fs::read(odd().join(format!("{name}.eml"))).unwrap()).envelope
}

fn address(name: Option<&str>, mailbox: &str, host: &str) -> EnvelopeAddress {
    let text = |t: &str| Some(t.as_bytes().to_vec());
    EnvelopeAddress { name: name.and_then(text), route: None, mailbox: text(mailbox), host: text(host) }
}

#[test]
fn an_envelope_has_the_fields_of_the_header() {
    let envelope = envelope("plain");
    assert_eq!(envelope.date.as_deref(), Some(&b"Fri, 21 Nov 1997 09:55:06 -0600"[..]));
    assert_eq!(envelope.subject.as_deref(), Some(&b"plain"[..]));
    assert_eq!(envelope.from, [address(Some("Mary Smith"), "mary", "example.net")]);
    assert_eq!(envelope.sender(), envelope.from, "Sender defaults to From");
    assert_eq!(envelope.reply_to(), envelope.from, "Reply-To defaults to From");
    assert_eq!(envelope.to, [address(None, "alice", "example.org")]);
    assert_eq!((envelope.cc.len(), envelope.bcc.len()), (0, 0));
    assert_eq!(envelope.in_reply_to, None);
    assert_eq!(envelope.message_id.as_deref(), Some(&b"<plain@example.net>"[..]));
}

#[test]
fn the_first_of_two_subjects_counts_and_two_froms_are_one_list() {
    let envelope = envelope("duplicate-fields");
    assert_eq!(envelope.subject.as_deref(), Some(&b"first"[..]));
    assert_eq!(envelope.from, [address(None, "a", "example.net"), address(None, "b", "example.net")]);
}

#[test]
fn raw_octets_of_the_header_stay_in_the_envelope() {
    let latin = envelope("latin-1-header-raw");
    assert_eq!(latin.subject.as_deref(), Some(&b"Gr\xfc\xdfe"[..]));
    assert_eq!(latin.from.first().and_then(|a| a.name.as_deref()), Some(&b"J\xf6rg"[..]));
}

#[test]
fn a_present_but_empty_field_is_not_an_absent_one() {
    let empty = envelope("empty-fields");
    assert_eq!(empty.subject.as_deref(), Some(&b""[..]));
    assert_eq!((empty.from.len(), empty.to.len()), (0, 0));
}

#[test]
fn a_message_inside_has_an_envelope_of_its_own() {
    let summary = scan(&std::fs::read(odd().join("message.eml")).unwrap());
    let Content::Message(inside) = &summary.root.content else { panic!("a message inside") };
    assert_eq!(inside.envelope.subject.as_deref(), Some(&b"inner"[..]));
    assert_eq!(summary.envelope.subject.as_deref(), Some(&b"message"[..]));
}

#[test]
fn every_content_field_is_told() {
    let part = scan(&std::fs::read(odd().join("all-content-fields.eml")).unwrap()).root;
    let text = |t: &str| Some(t.as_bytes().to_vec());
    assert_eq!(part.id, text("<id@example.net>"));
    assert_eq!(part.description, text("a text"));
    assert_eq!(part.encoding, b"7BIT");
    assert_eq!(part.md5, text("Q2hlY2sgSW50ZWdyaXR5IQ=="));
    let disposition = part.disposition.as_ref().expect("a disposition");
    assert_eq!((disposition.kind.as_slice(), disposition.parameters.len()), (&b"inline"[..], 2));
    assert_eq!(part.languages, [b"en".to_vec(), b"de-CH".to_vec()]);
    assert_eq!(part.location, text("http://example.net/a.txt"));
    assert_eq!(part.parameter("CHARSET"), Some(&b"us-ascii"[..]));
}

// Where bodies begin and end, octet by octet.

#[test]
fn the_line_end_before_a_delimiter_belongs_to_it() {
    // RFC 2046 5.1.1
    let message = std::fs::read(odd().join("multipart.eml")).unwrap();
    let summary = scan(&message);
    let body = |n| slice(&message, summary.section(&[n], Wanted::Body).unwrap());
    assert!(body(1).ends_with(b"It does NOT end with a linebreak."));
    assert!(body(2).ends_with(b"It DOES end with a linebreak.\r\n"));
    let Content::Multipart(parts) = &summary.root.content else { panic!("a multipart") };
    assert_eq!(parts.iter().map(|p| p.lines).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn odd_bodies_begin_and_end_where_they_should() {
    for (name, path, body, why) in [
        ("bare-lf-multipart", &[1][..], &b"one"[..], "LF before the delimiter goes"),
        ("crlf-split-by-boundary", &[1], b"one", "LF before the delimiter goes"),
        ("crlf-split-by-boundary", &[2], b"two", "CRLF before the delimiter goes"),
        ("multipart-empty-body", &[1], b"", "an empty part stands in"),
        ("multipart-only-closed", &[1], b"", "an empty part stands in"),
        ("multipart-boundary-never-comes", &[1], b"There is no part.\r\n", "all of it is one part"),
        ("multipart-part-without-blank-line", &[1], b"", "a header without a body"),
        ("multipart-never-closed", &[2], b"two\r\n", "to the message's end, with its line end"),
        ("multipart-cut-in-boundary", &[1], b"one\r\n--boun", "half a delimiter is text"),
        ("multipart-delimiter-padding", &[2], b"two", "after a delimiter with a tab"),
        ("multipart-almost-delimiters", &[1], b"one\r\n--boun\r\n- --bound\r\n--BOUND", "none is a delimiter"),
        ("multipart-boundary-of-hyphens", &[1], b"one\r\n-----", "fewer hyphens are text"),
        ("boundary-prefix-of-inner", &[1, 2], b"two", "the longer boundary counts"),
        ("boundary-prefix-of-inner", &[2], b"three", "the shorter one too"),
        ("boundary-prefix-of-outer", &[1, 2], b"two", "the shorter boundary inside"),
        ("boundary-prefix-of-outer", &[2], b"three", "the longer one outside"),
        ("same-boundary-nested", &[1, 1], b"inner", "the innermost counts"),
        ("same-boundary-nested", &[2], b"outer", "after it is closed the outer one"),
        ("inner-never-closed", &[1, 2], b"two", "ended by the outer delimiter"),
        ("digest", &[1, 1], b"body one", "a message by default"),
        ("message-in-multipart-cut", &[1, 1], b"", "cut in its header"),
        ("signed", &[1], b"signed  \r\n", "octets as they are"),
        ("no-header", &[1], b"There is no header.\r\n", "after the blank line"),
        ("one-octet", &[1], b"", "a header without an end"),
    ] {
        let message = std::fs::read(odd().join(format!("{name}.eml"))).unwrap();
        let span = scan(&message).section(path, Wanted::Body).expect(name);
        assert_eq!(slice(&message, span), body, "{name}: {why}");
    }
}

#[test]
fn received_fields_are_counted_while_the_message_streams_in() {
    let mut scanner = Scanner::new();
    for n in 0..150 {
        scanner.feed(b"Received: from a by b\r\n\twith SMTP\r\nreceived-spf: pass\r\n");
        assert!(scanner.received_count() >= n, "at the latest with the next field");
        assert!(!scanner.is_past_header());
    }
    scanner.feed(b"RECEIVED : x\r\n\r\nReceived: in the body\r\n");
    assert!(scanner.is_past_header());
    assert_eq!(scanner.received_count(), 151);
}

// Hostile messages: memory stays bounded, the rest is opaque, offsets stay true.

/// Octets that a scanner holds at the most, whatever comes.
const HELD_BYTES_MAX: usize = 128 * 1024;

/// Feeds `first`, then `next` so many times; checks what the scanner holds all the while.
fn scan_bounded(first: &[u8], next: &[u8], times: usize) -> (Summary, Vec<u8>) {
    let mut scanner = Scanner::new();
    let mut message = first.to_vec();
    scanner.feed(first);
    for _ in 0..times {
        scanner.feed(next);
        message.extend_from_slice(next);
        assert!(scanner.held_bytes() <= HELD_BYTES_MAX, "{} octets held", scanner.held_bytes());
    }
    let summary = scanner.finish();
    check(&message, &summary);
    (summary, message)
}

#[test]
fn twenty_thousand_parts_end_in_one_that_is_opaque() {
    let first = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let (summary, message) = scan_bounded(first, b"--b\r\n\r\npart\r\n", 20_000);
    assert!(summary.truncated);
    let Content::Multipart(parts) = &summary.root.content else { panic!("a multipart") };
    assert!((500..=PARTS_MAX + 1).contains(&parts.len()), "{}", parts.len());
    let rest = parts.last().expect("a last one");
    assert_eq!(outline(rest), "application/octet-stream");
    assert_eq!(rest.body.end(), message.len() as u64, "nothing is lost");
    assert_eq!(slice(&message, parts[400].body), b"part");
}

#[test]
fn twenty_thousand_levels_end_in_one_that_is_opaque() {
    let mut message = Vec::new();
    for level in 0..20_000 {
        let header = format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
        message.extend_from_slice(header.as_bytes());
    }
    let (summary, _) = scan_bounded(&message, b"", 0);
    assert!(summary.truncated);
    scan_bounded(b"", b"Content-Type: message/rfc822\r\n\r\n", 20_000);
}

#[test]
fn fields_lines_and_lists_without_end_are_cut() {
    for (first, next, why) in [
        (&b""[..], &b"X: y\r\n"[..], "fields"),
        (b"To: ", b"\"A Name\" <name@example.org>,\r\n ", "recipients"),
        (b"To: g:", b"a,", "a group's members"),
        (b"Subject: ", b"text text text ", "a subject"),
        (b"", b"Cc: a@example.org, b@example.org\r\n", "repeated address fields"),
        (b"Content-Type: text/plain", b"; a=b", "parameters"),
        (b"Content-Type: multipart/mixed; boundary=", b"bbbbbbbb", "a boundary"),
        (b"Content-Language: ", b"en, ", "languages"),
        (b"", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "one line of the header"),
        (b"\r\n", b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "one line of the body"),
        (b"X:", b"\r\n y", "folds"),
        (b"Subject: ", b"(((((((", "comments"),
        (b"To: ", b"((((((\"", "comments in an address"),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b", b"bbbbbbbb", "a delimiter line"),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"--", "a line of hyphens"),
    ] {
        let (summary, _) = scan_bounded(first, next, 10_000);
        assert!(summary.encode().len() <= SUMMARY_BYTES_MAX, "{why}");
    }
}

#[test]
fn big_parts_everywhere_still_fit_the_summary() {
    let parameters: String = (0..30).map(|n| format!("; p{n}=\"{}\"", "v".repeat(200))).collect();
    let names: String = (0..200).map(|n| format!("Somebody {n} <s{n}@example.org>, ")).collect();
    let part = format!(
        "--b\r\nContent-Type: application/x-{}{parameters}\r\nContent-Description: {}\r\n\r\nx\r\n\
         --b\r\nContent-Type: message/rfc822{parameters}\r\n\r\nTo: {names}\r\nSubject: {}\r\n\r\nx\r\n",
        "y".repeat(50),
        "d".repeat(900),
        "s".repeat(3000)
    );
    let first = format!("To: {names}\r\nContent-Type: multipart/mixed; boundary=b{parameters}\r\n\r\n");
    let (summary, _) = scan_bounded(first.as_bytes(), part.as_bytes(), 300);
    assert!(summary.truncated);
    let nested = format!("Content-Type: message/rfc822{parameters}\r\nTo: {names}\r\n\r\n");
    let (summary, _) = scan_bounded(b"", nested.as_bytes(), 100);
    assert!(summary.truncated);
}

// mail-parser as the other opinion, on messages that are well formed.

/// A tree of parts, printed with boundaries that do not occur elsewhere.
#[derive(Clone, Debug)]
enum Tree {
    Leaf { html: bool, body: String },
    Multipart(Vec<Tree>),
    Message(Box<Tree>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = (any::<bool>(), "([a-z -]{0,30}\r\n){0,4}[a-z]{0,9}").prop_map(|(html, body)| Tree::Leaf { html, body });
    leaf.prop_recursive(5, 24, 4, |inside| {
        prop_oneof![
            proptest::collection::vec(inside.clone(), 1..4).prop_map(Tree::Multipart),
            // mail-parser 0.11.9 panics at a message whose body is a message, in a multipart.
            inside
                .prop_filter("no message right inside a message", |tree| !matches!(tree, Tree::Message(_)))
                .prop_map(|tree| Tree::Message(Box::new(tree))),
        ]
    })
}

impl Tree {
    fn print(&self, number: &mut u32, out: &mut String) {
        *number += 1;
        match self {
            Self::Leaf { html, body } => {
                let subtype = if *html { "html" } else { "plain" };
                out.push_str(&format!("Content-Type: text/{subtype}; charset=us-ascii\r\n\r\n{body}"));
            }
            Self::Multipart(parts) => {
                let boundary = format!("=_{number}_=");
                out.push_str(&format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\npreamble"));
                for part in parts {
                    out.push_str(&format!("\r\n--{boundary}\r\n"));
                    part.print(number, out);
                }
                out.push_str(&format!("\r\n--{boundary}--\r\nepilogue"));
            }
            Self::Message(tree) => {
                out.push_str("Content-Type: message/rfc822\r\n\r\nSubject: inside\r\nFrom: a@example.org\r\n");
                tree.print(number, out);
            }
        }
    }
}

/// Each part's depth-first kind, header offset, body offset and end, as mail-parser sees it. (Whether an epilogue belongs
/// to a multipart it decides now so, now so: the end of a multipart is left out.)
fn opinion(message: &mail_parser::Message<'_>, id: u32, out: &mut Vec<(&'static str, u32, u32, u32)>) {
    let part = &message.parts[usize::try_from(id).unwrap()];
    let kind = match &part.body {
        PartType::Multipart(_) => "multipart",
        PartType::Message(_) => "message",
        PartType::Html(_) => "html",
        PartType::Text(_) | PartType::Binary(_) | PartType::InlineBinary(_) => "plain",
    };
    let end = if kind == "multipart" { 0 } else { part.offset_end };
    out.push((kind, part.offset_header, part.offset_body, end));
    match &part.body {
        PartType::Multipart(ids) => ids.iter().for_each(|&id| opinion(message, id, out)),
        PartType::Message(inside) => opinion(inside, 0, out),
        PartType::Text(_) | PartType::Html(_) | PartType::Binary(_) | PartType::InlineBinary(_) => {}
    }
}

fn ours(part: &Part, out: &mut Vec<(&'static str, u32, u32, u32)>) {
    let at = |n: u64| u32::try_from(n).unwrap();
    let kind = match &part.content {
        Content::Multipart(_) => "multipart",
        Content::Message(_) => "message",
        Content::Leaf if part.is("text", "html") => "html",
        Content::Leaf => "plain",
    };
    let end = if kind == "multipart" { 0 } else { at(part.body.end()) };
    out.push((kind, at(part.header.offset), at(part.body.offset), end));
    match &part.content {
        Content::Multipart(parts) => parts.iter().for_each(|part| ours(part, out)),
        Content::Message(message) => ours(&message.root, out),
        Content::Leaf => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn well_formed_messages_are_as_mail_parser_sees_them(tree in tree()) {
        let mut message = String::from("From: alice@example.org\r\nMIME-Version: 1.0\r\n");
        tree.print(&mut 0, &mut message);
        let parsed = MessageParser::new().parse(message.as_bytes()).expect("a message");
        let summary = scan(message.as_bytes());
        check(message.as_bytes(), &summary);
        let (mut theirs, mut own) = (Vec::new(), Vec::new());
        opinion(&parsed, 0, &mut theirs);
        ours(&summary.root, &mut own);
        prop_assert_eq!(own, theirs, "{}", message);
    }

    #[test]
    fn any_cut_of_anything_gives_the_same(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "Content-Type: multipart/mixed; boundary=b\r\n", "Content-Type: multipart/digest; boundary=bb\r\n",
            "Content-Type: message/rfc822\n", "Content-Type: text/html", "Subject: x\r\n", "To: a@b, c <d@e>\r\n", "\r\n", "\n",
            "\r", "--b", "--bb", "--b--", "--bb--", "--", "-", " ", "text", "\u{e4}", "Received: x\r\n",
        ]), 0..40),
        piece_bytes in 1usize..12,
    ) {
        let message = pieces.concat().into_bytes();
        let summary = scan(&message);
        check(&message, &summary);
        prop_assert_eq!(summary.encode(), scan_pieces(message.chunks(piece_bytes)));
    }

    #[test]
    fn garbage_never_panics(message in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz::scan(&message);
        fuzz::values(&message);
    }
}
