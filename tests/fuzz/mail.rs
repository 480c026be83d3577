//! Fuzz targets for the mail room: whatever comes, no panic, bounded memory, sane offsets, the same for any cut.

use pigeon::mail::{
    Address, Content, DEPTH_MAX, FieldFilter, FieldNames, HeaderText, Part, SUMMARY_BYTES_MAX, Scanner, Span, Summary,
    TextEvent, TextWalk, Wanted, decode_words, fields, parse_imap_date, parse_imap_date_time, parse_message_date,
    unfold,
};

/// A message: its first octet says how it is cut.
pub(crate) fn scan(data: &[u8]) {
    let Some((&cut, message)) = data.split_first() else { return };
    let mut whole = Scanner::new();
    whole.feed(message);
    let summary = whole.finish();
    check(message, &summary);
    let mut cut_up = Scanner::new();
    for piece in message.chunks(usize::from(cut).max(1)) {
        cut_up.feed(piece);
        assert!(cut_up.held_bytes() <= 128 * 1024);
    }
    assert_eq!(cut_up.finish_encoded(), summary.encode());
    let mut walk = TextWalk::new(&summary, cut % 2 == 0);
    while let Some(at) = walk.next_offset() {
        let rest = message.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default();
        assert!(!rest.is_empty(), "a walk ends with its message");
        walk.feed(at, rest.get(..usize::from(cut).max(1)).unwrap_or(rest), &mut |_| {});
    }
}

/// Values of fields and commands, and a summary from a damaged store.
pub(crate) fn values(data: &[u8]) {
    parse_message_date(data);
    parse_imap_date(data);
    parse_imap_date_time(data);
    decode_words(&unfold(data));
    if let Ok(address) = Address::parse(data) {
        assert_eq!(Address::parse(address.to_string().as_bytes()), Ok(address));
    }
    if let Ok(summary) = Summary::decode(data) {
        assert_eq!(Summary::decode(&summary.encode()), Ok(summary));
    }
    let mut names = 0;
    let mut text = HeaderText::new();
    let mut sink = |event: TextEvent<'_>| names += usize::from(matches!(event, TextEvent::Field(_)));
    text.feed(data, &mut sink);
    text.finish(&mut sink);
    assert!(names >= fields(data).count());
    let mut passed = 0;
    let mut filter = FieldFilter::new(FieldNames::Not(&[]));
    filter.feed(data, &mut |octets| passed += octets.len());
    filter.finish(&mut |octets| passed += octets.len());
    assert!(passed <= data.len());
}

fn octets_of(message: &[u8], span: Span) -> &[u8] {
    let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let octets = message.get(at(span.offset)..at(span.end()));
    assert!(octets.is_some(), "every part is in the message");
    octets.unwrap_or_default()
}

/// What must hold for every message, however broken.
pub(crate) fn check(message: &[u8], summary: &Summary) {
    assert_eq!(summary.octets, message.len() as u64);
    assert_eq!(summary.section(&[], Wanted::Body), Some(Span { offset: 0, octets: summary.octets }));
    assert_eq!(summary.root.header.offset, 0);
    assert_eq!(summary.root.body.end(), summary.octets, "header and body are the whole message");
    check_part(message, &summary.root, 1);
    let encoded = summary.encode();
    assert!(encoded.len() <= SUMMARY_BYTES_MAX);
    assert_eq!(Summary::decode(&encoded).as_ref(), Ok(summary));
}

fn check_part(message: &[u8], part: &Part, depth: usize) {
    assert!(depth <= DEPTH_MAX);
    assert_eq!(part.header.end(), part.body.offset, "a body begins where its header ends");
    let lines = octets_of(message, part.body).iter().filter(|&&b| b == b'\n').count() as u64;
    assert_eq!(part.lines, lines);
    assert!(!part.kind.is_empty() && !part.subtype.is_empty() && !part.encoding.is_empty());
    match &part.content {
        Content::Leaf => {
            let is_container = part.is("multipart", "*") || part.is("message", "rfc822");
            assert!(!is_container, "IMAP has no words for it without parts");
        }
        Content::Multipart(parts) => {
            assert!(part.is("multipart", "*") && !parts.is_empty());
            let mut end = part.body.offset;
            for inside in parts {
                assert!(
                    inside.header.offset >= end && inside.body.end() <= part.body.end(),
                    "parts are in order, inside"
                );
                end = inside.body.end();
                check_part(message, inside, depth + 1);
            }
        }
        Content::Message(inside) => {
            assert!(part.is("message", "rfc822"));
            assert_eq!(inside.root.header.offset, part.body.offset);
            assert_eq!(inside.root.body.end(), part.body.end(), "the message inside is all of the body");
            check_part(message, &inside.root, depth + 1);
        }
    }
}
