//! What the parser takes, refuses and forgives, a reason per row.

use super::*;
use crate::imap::grammar::command::{Fetch, List, ListReturn, ListSelect, Search, StatusItem, StoreFlags};
use crate::imap::grammar::fetch::FetchItem;
use crate::imap::grammar::pattern::Pattern;
use crate::imap::grammar::search::SearchKey;
use crate::store::{FlagChange, Flags, ModSeq};

fn parsed(text: &str) -> CommandBody {
    match command(format!("a {text}").as_bytes()) {
        Ok(command) => command.body,
        Err(stop) => panic!("{text}: {stop:?}"),
    }
}

fn refused(text: &str) -> Reason {
    match command(format!("a {text}").as_bytes()) {
        Err(Stop::Refused(reason)) => reason,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn what_breaks_the_grammar_is_bad() {
    for (text, why) in [
        ("", "no command"),
        ("FROBNICATE", "unknown"),
        ("FROBNICATE now", "unknown, with arguments"),
        ("NOOP now", "NOOP has no arguments"),
        ("NOOP\tnow", "a tab is no space"),
        ("LOGIN", "no arguments"),
        ("LOGIN alice", "no password"),
        ("LOGIN alice wonder land", "one argument too many"),
        ("LOGIN \"alice wonderland-7", "a quoted string that does not end"),
        ("LOGIN \"ali\\ce\" x", "RFC 3501 section 9: only \" and \\ are quoted"),
        ("LOGIN \"ali\rce\" x", "a bare CR in a quoted string"),
        ("LOGIN al(ice x", "( is no atom-char"),
        ("LOGIN al\u{e9}ce x", "8-bit in an atom"),
        ("LOGIN {5", "a literal that is none"),
        ("LOGIN {x}", "a literal without a size"),
        ("LOGIN {5}x", "a literal that does not end the line"),
        ("LOGIN {-1}", "a negative size"),
        ("LOGIN {1}\r\n\0 x", "NUL is no CHAR8"),
        ("LOGIN ~{1}\r\na x", "literal8 belongs to APPEND"),
        ("SELECT", "no mailbox"),
        ("SELECT INBOX (QRESYNC)", "not served yet"),
        ("SELECT INBOX ()", "RFC 4466: at least one parameter"),
        ("LIST \"\"", "no pattern"),
        ("LIST (RECURSIVEMATCH) \"\" *", "RFC 5258 3.1: not alone"),
        ("LIST \"\" * RETURN (FROBNICATE)", "unknown option"),
        ("STATUS INBOX", "no items"),
        ("STATUS INBOX ()", "RFC 3501 section 9: at least one item"),
        ("STATUS INBOX (FROBNICATE)", "unknown item"),
        ("STATUS INBOX MESSAGES", "no parentheses"),
        ("APPEND INBOX", "no message"),
        ("APPEND INBOX \"text\"", "neither a date nor a literal"),
        ("APPEND INBOX (\\Recent) {3}", "only the server sets \\Recent"),
        ("APPEND INBOX \"32-Jan-2026 00:00:00 +0000\" {3}", "no such day"),
        ("FETCH 1", "no items"),
        ("FETCH 0 FLAGS", "messages are numbered from 1"),
        ("FETCH 1,,2 FLAGS", "an empty number"),
        ("FETCH 1 ()", "no items in the parentheses"),
        ("FETCH 1 (ALL)", "RFC 3501 6.4.5: macros stand alone"),
        ("FETCH 1 (FLAGS", "not closed"),
        ("FETCH 1 (FLAGSUID)", "not separated"),
        ("FETCH 1 (BODY[]UID)", "not separated after a section"),
        ("FETCH 1 FROBNICATE", "unknown item"),
        ("FETCH 1 BODY.PEEK", "PEEK without a section"),
        ("FETCH 1 BODY[MIME]", "RFC 3501 6.4.5: MIME needs a part"),
        ("FETCH 1 BODY[1.]", "a number is missing"),
        ("FETCH 1 BODY[0]", "parts are numbered from 1"),
        ("FETCH 1 BODY[99999999999]", "no 32-bit number"),
        ("FETCH 1 BODY[HEADER.FIELDS]", "no names"),
        ("FETCH 1 BODY[HEADER.FIELDS ()]", "no names in the parentheses"),
        ("FETCH 1 BODY[TEXT", "not closed"),
        ("FETCH 1 BODY[]<0>", "a partial without a count"),
        ("FETCH 1 BODY[]<0.0>", "RFC 3501 section 9: the count is an nz-number"),
        ("FETCH 1 RFC822.TEXT[]", "takes no section"),
        ("FETCH 1 FLAGS (FROBNICATE 1)", "unknown modifier"),
        ("FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)", "RFC 7162 section 7: 63 bits"),
        ("STORE 1 FLAGS", "no flags"),
        ("STORE 1 \\Seen", "no FLAGS"),
        ("STORE 1 FLAGS.LOUD (\\Seen)", "no such suffix"),
        ("STORE 1 +FLAGS (\\Frobnicated)", "no such system flag"),
        ("STORE 1 +FLAGS (\\*)", "only PERMANENTFLAGS has it"),
        ("STORE 1 +FLAGS (a\"b)", "a quote is no atom-char"),
        ("STORE 1 +FLAGS (\\Seen", "not closed"),
        ("STORE 1 (FROBNICATE 1) +FLAGS (a)", "unknown modifier"),
        ("SEARCH", "no keys"),
        ("SEARCH CHARSET UTF-8", "a charset but no keys"),
        ("SEARCH FROBNICATE", "unknown key"),
        ("SEARCH ()", "no keys in the parentheses"),
        ("SEARCH (ALL", "not closed"),
        ("SEARCH ALL)", "not opened"),
        ("SEARCH NOT", "no key"),
        ("SEARCH OR ALL", "one key"),
        ("SEARCH SUBJECT", "no text"),
        ("SEARCH SINCE yesterday", "no date"),
        ("SEARCH LARGER big", "no number"),
        ("SEARCH KEYWORD \\Seen", "no keyword"),
        ("SEARCH 0", "messages are numbered from 1"),
        ("SEARCH MODSEQ x", "no number"),
        ("COPY 1", "no mailbox"),
        ("COPY INBOX 1", "the other way round"),
        ("UID", "nothing"),
        ("UID NOOP", "not a command with UIDs"),
        ("UID FETCH", "no arguments"),
        ("UID EXPUNGE", "RFC 4315 section 2.1: a set is needed"),
        ("EXPUNGE 1:3", "a set is only taken by UID EXPUNGE"),
        ("ID", "RFC 2971: NIL or a list is needed"),
        ("ID (\"name\")", "a field without a value"),
        ("ENABLE", "RFC 5161: at least one capability"),
        ("AUTHENTICATE", "no mechanism"),
        ("CREATE a (FROB (x))", "unknown parameter"),
    ] {
        let reason = refused(text);
        assert_eq!((reason.condition, reason.code), (Condition::Bad, None), "{text}: {why}");
        assert!(!reason.text.is_empty());
    }
}

#[test]
fn without_a_tag_there_is_no_command() {
    for octets in [&b""[..], b" NOOP", b"+ NOOP", b"a(b NOOP", b"\xff NOOP", &[b'a'; 65]] {
        assert_eq!(tag_of(octets), None);
        assert!(matches!(command(octets), Err(Stop::Refused(_))));
    }
    assert!(command(b"a]b NOOP").is_ok(), "RFC 3501 section 9: ] is an ASTRING-CHAR");
}

#[test]
fn well_formed_commands_beyond_a_bound_are_refused_with_limit() {
    let names = |count: usize| (0..count).map(|n| format!("x{n} ")).collect::<String>();
    for (text, why) in [
        (format!("FETCH 1 ({})", "FLAGS ".repeat(65)), "FETCH items"),
        (format!("FETCH 1 BODY[HEADER.FIELDS ({})]", names(257)), "header names"),
        (format!("FETCH 1 BODY[{}1]", "1.".repeat(64)), "part numbers"),
        (format!("FETCH {}1 FLAGS", (0..8_192).map(|n| format!("{},", 4 + n * 2)).collect::<String>()), "ranges"),
        (format!("SEARCH {}ALL", "ALL ".repeat(1_000)), "keys"),
        (format!("SEARCH {}ALL", "(".repeat(1_000)), "open parentheses"),
        (format!("SEARCH {}ALL", "NOT ".repeat(1_000)), "NOTs"),
        (format!("STORE 1 FLAGS ({})", names(101)), "flags"),
        (format!("STORE 1 FLAGS {}", names(101)), "flags without parentheses"),
        (format!("STORE 1 FLAGS ({})", "x".repeat(129)), "a keyword's name"),
        (format!("LIST \"\" ({})", "* ".repeat(17)), "patterns"),
        (format!("LIST \"\" {}", "a".repeat(1_025)), "a pattern"),
        (format!("STATUS INBOX ({})", "UNSEEN ".repeat(33)), "STATUS items"),
        (format!("ENABLE {}", names(33)), "capabilities"),
        (format!("ID ({})", "\"a\" \"b\" ".repeat(31)), "RFC 2971 3.3: fields"),
    ] {
        let reason = refused(text.trim_end());
        assert_eq!((reason.condition, reason.code), (Condition::No, Some(Code::Limit)), "{why}");
    }
}

#[test]
fn chains_are_not_nesting() {
    // A client that searches for a hundred senders chains ORs; to the left, to the right, or in parentheses.
    let right = format!("SEARCH {}SEEN", "OR SEEN ".repeat(400));
    let left = format!("SEARCH {}SEEN{}", "OR ".repeat(400), " SEEN".repeat(400));
    for text in [right, left] {
        let CommandBody::Search(Search { key: SearchKey::Or(keys), .. }) = parsed(&text) else { panic!("no OR") };
        assert_eq!(keys.len(), 401);
    }
    let seen = SearchKey::Flag(Flags::SEEN);
    for text in ["SEARCH ((((SEEN))))", "SEARCH NOT NOT SEEN", "SEARCH NOT (NOT ((SEEN)))"] {
        let CommandBody::Search(search) = parsed(text) else { panic!("no SEARCH") };
        assert_eq!(search.key, seen, "{text}");
    }
}

#[test]
fn a_search_has_at_most_so_many_levels() {
    // Each turn adds NOT, AND and OR: three levels that do not melt.
    let nested = |turns: usize| format!("SEARCH {}SEEN{}", "NOT (ALL OR SEEN ".repeat(turns), ")".repeat(turns));
    assert!(matches!(parsed(&nested(10)), CommandBody::Search(_)));
    assert_eq!(refused(&nested(11)).code, Some(Code::Limit));
}

#[test]
fn names_that_no_mailbox_can_have_are_no_error_of_grammar() {
    for text in ["SELECT \"\"", "CREATE a//b", "DELETE &", "COPY 1 {2}\r\na\t", "APPEND %x {3}", "RENAME a \"b*\""] {
        let text = text.replace("%x", "\"%x\"");
        let reason = refused(&text);
        assert_eq!((reason.condition, reason.code), (Condition::No, Some(Code::Cannot)), "{text}");
    }
}

#[test]
fn clients_are_forgiven_their_spaces_and_quotes() {
    let flags = FlagNames { system: Flags::DELETED, keywords: Vec::new() };
    for (text, why) in [
        ("STORE 1 +FLAGS (\\Deleted)", "as it should be"),
        ("STORE 1 +FLAGS (\\Deleted )", "a space before the parenthesis"),
        ("STORE  1  +FLAGS  ( \\Deleted)", "two spaces"),
        ("store 1 +flags (\\deleted) ", "lower case, a space at the end"),
        ("STORE 1 +FLAGS \\Deleted", "no parentheses"),
    ] {
        let CommandBody::Store(StoreFlags { change: FlagChange::Add, flags: found, .. }) = parsed(text) else {
            panic!("{why}")
        };
        assert_eq!(found, flags, "{why}");
    }
    for text in ["FETCH 1 (UID FLAGS)", "FETCH 1 ( UID  FLAGS )", "fetch 1 (uid flags uid)", "FETCH 1:1 (UID FLAGS)"] {
        let CommandBody::Fetch(Fetch { items, .. }) = parsed(text) else { panic!("{text}") };
        assert_eq!(items, [FetchItem::Uid, FetchItem::Flags], "{text}");
    }
    let CommandBody::Login { name, .. } = parsed("LOGIN \"al\u{e9}ce\" x") else { panic!("UTF-8 in quotes") };
    assert_eq!(name, "al\u{e9}ce".as_bytes());
}

#[test]
fn a_section_is_printed_as_it_was_asked_for() {
    for (text, name) in [
        ("BODY[]", "BODY[]"),
        ("body.peek[]<5.10>", "BODY[]<5>"),
        ("BODY[1.2.MIME]", "BODY[1.2.MIME]"),
        ("BODY[1.TEXT]<0.1>", "BODY[1.TEXT]<0>"),
        ("BODY.PEEK[HEADER.FIELDS (DATE \"FROM\" \"X Y\")]", "BODY[HEADER.FIELDS (DATE FROM \"X Y\")]"),
        ("BODY[3.HEADER.FIELDS.NOT (Received)]", "BODY[3.HEADER.FIELDS.NOT (Received)]"),
        ("RFC822.HEADER", "RFC822.HEADER"),
    ] {
        let CommandBody::Fetch(fetch) = parsed(&format!("FETCH 1 {text}")) else { panic!("{text}") };
        let mut out = Vec::new();
        fetch.items[0].put_name(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), name);
    }
}

#[test]
fn list_has_its_extended_forms() {
    let pattern = |text: &str| Pattern::new(b"", text.as_bytes()).unwrap();
    let list = List {
        kind: ListKind::List,
        patterns: vec![pattern("INBOX"), pattern("a/%")],
        select: ListSelect { subscribed: true, recursive_match: true, ..ListSelect::default() },
        returns: ListReturn {
            children: true,
            status: vec![StatusItem::Messages, StatusItem::Unseen],
            ..ListReturn::default()
        },
    };
    let text = "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (INBOX a/%) RETURN (CHILDREN STATUS (MESSAGES UNSEEN))";
    assert_eq!(parsed(text), CommandBody::List(list));
    let CommandBody::List(xlist) = parsed("XLIST \"\" *") else { panic!("no XLIST") };
    assert_eq!(xlist.kind, ListKind::Xlist);
    assert!(matches!(parsed("LIST () \"\" () RETURN ()".replace("\"\" ()", "\"\" *").as_str()), CommandBody::List(_)));
}

#[test]
fn create_takes_a_special_use() {
    let CommandBody::Create { special_use, .. } = parsed("CREATE x (USE (\\Sent))") else { panic!("no CREATE") };
    assert_eq!(special_use, Some(SpecialUse::Sent));
    for text in ["CREATE x (USE (\\All))", "CREATE x (USE (\\Sent \\Trash))"] {
        assert_eq!(refused(text).code, Some(Code::UseAttr), "RFC 6154 section 3");
    }
}

#[test]
fn an_initial_response_may_be_empty() {
    for (text, expected) in [
        ("AUTHENTICATE PLAIN", None),
        ("AUTHENTICATE plain =", Some(&b""[..])),
        ("AUTHENTICATE PLAIN AGEAYg==", Some(b"AGEAYg==")),
    ] {
        let CommandBody::Authenticate { mechanism, initial } = parsed(text) else { panic!("{text}") };
        assert_eq!((mechanism.as_str(), initial.as_ref().map(Secret::expose)), ("PLAIN", expected));
    }
}

#[test]
fn modification_sequences_have_63_bits() {
    let CommandBody::Fetch(fetch) = parsed("UID FETCH 1:* FLAGS (CHANGEDSINCE 9223372036854775807)") else {
        panic!("no FETCH")
    };
    assert_eq!(fetch.changed_since, Some(ModSeq(u64::MAX >> 1)));
    let CommandBody::Store(store) = parsed("STORE 1 (UNCHANGEDSINCE 0) FLAGS.SILENT ()") else { panic!("no STORE") };
    assert_eq!((store.unchanged_since, store.silent, store.change), (Some(ModSeq(0)), true, FlagChange::Replace));
}

#[test]
fn after_a_message_append_ends_or_goes_on() {
    let tag = Tag::parse(b"a").unwrap();
    assert_eq!(append_rest(b"", &tag), Ok(AppendRest::End));
    assert_eq!(append_rest(b" ", &tag), Ok(AppendRest::End));
    let Ok(AppendRest::Another(message)) = append_rest(b" (\\Seen) {5+}", &tag) else { panic!("RFC 3502") };
    assert_eq!((message.flags.system, message.literal.octets), (Flags::SEEN, 5));
    for line in [&b"x"[..], b" x", b" (\\Seen)", b"{5}"] {
        assert_eq!(append_rest(line, &tag).unwrap_err().condition, Condition::Bad);
    }
}

#[test]
fn done_ends_idle_whatever_its_case() {
    for (line, ends) in [(&b"DONE"[..], true), (b"done ", true), (b"a DONE", false), (b"", false), (b"DONE x", false)] {
        assert_eq!(is_done(line), ends);
    }
}
