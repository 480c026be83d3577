//! FETCH: items, sections, partials, \Seen.

use super::*;

/// A message with a text, an attachment and a message inside that is itself a multipart.
const NESTED: &str = "From: Bob <bob@example.org>\r\n\
To: alice@example.org\r\n\
Subject: nested\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=out\r\n\
\r\n\
preamble\r\n\
--out\r\n\
Content-Type: text/plain\r\n\
\r\n\
first\r\n\
--out\r\n\
Content-Type: message/rfc822\r\n\
Content-Description: inner\r\n\
\r\n\
Subject: inner\r\n\
Content-Type: multipart/alternative; boundary=in\r\n\
\r\n\
--in\r\n\
\r\n\
plain\r\n\
--in\r\n\
Content-Type: text/html\r\n\
\r\n\
<p>html\r\n\
--in--\r\n\
\r\n\
--out--\r\n\
epilogue\r\n";

#[test]
fn sections_are_the_octets_the_rfc_says() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        client.append("INBOX", NESTED.as_bytes()).await;
        let inner = &NESTED[NESTED.find("Subject: inner").unwrap()..NESTED.find("\r\n--out--").unwrap()];
        let header = &NESTED[..NESTED.find("preamble").unwrap()];
        let text = &NESTED[NESTED.find("preamble").unwrap()..];
        let inner_text = &inner[inner.find("--in").unwrap()..];
        // RFC 3501 6.4.5, section by section.
        let sections = [
            ("", Some(NESTED)),
            ("HEADER", Some(header)),
            ("TEXT", Some(text)),
            ("HEADER.FIELDS (SUBJECT TO)", Some("To: alice@example.org\r\nSubject: nested\r\n\r\n")),
            ("HEADER.FIELDS.NOT (From To Content-Type)", Some("Subject: nested\r\nMIME-Version: 1.0\r\n\r\n")),
            ("HEADER.FIELDS (X-None)", Some("\r\n")),
            ("1", Some("first")),
            ("1.MIME", Some("Content-Type: text/plain\r\n\r\n")),
            ("2", Some(inner)),
            ("2.MIME", Some("Content-Type: message/rfc822\r\nContent-Description: inner\r\n\r\n")),
            ("2.HEADER", Some("Subject: inner\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n")),
            ("2.HEADER.FIELDS (subject)", Some("Subject: inner\r\n\r\n")),
            ("2.TEXT", Some(inner_text)),
            ("2.1", Some("plain")),
            ("2.2", Some("<p>html")),
            ("2.2.MIME", Some("Content-Type: text/html\r\n\r\n")),
            ("3", None),
            ("1.HEADER", None),
            ("2.3", None),
        ];
        for (section, expected) in sections {
            let (untagged, reply) = client.command(&format!("FETCH 1 BODY.PEEK[{section}]")).await;
            assert!(reply.starts_with("OK"), "{section}: {reply}");
            let expected = match expected {
                Some(octets) => format!("* 1 FETCH (BODY[{section}] {{{}}}\r\n{octets})\r\n", octets.len()),
                None => format!("* 1 FETCH (BODY[{section}] NIL)\r\n"),
            };
            assert_eq!(String::from_utf8_lossy(&untagged), expected, "{section}");
        }
    });
}

#[test]
fn partials_are_cut_exactly() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        client.append("INBOX", SHORT).await;
        let whole = std::str::from_utf8(SHORT).unwrap();
        // RFC 3501 6.4.5: a partial is truncated at the end; one that begins beyond it is empty.
        for (partial, expected, reason) in [
            ("<0.7>", &whole[..7], "from the start"),
            ("<9.5>", &whole[9..14], "in the middle"),
            ("<20.100>", &whole[20..], "beyond the end"),
            ("<24.1>", "", "at the end"),
            ("<4000000000.10>", "", "far beyond"),
        ] {
            let (untagged, _) = client.command(&format!("FETCH 1 BODY.PEEK[]{partial}")).await;
            let first = partial.trim_matches(['<', '>']).split('.').next().unwrap();
            let expected = format!("* 1 FETCH (BODY[]<{first}> {{{}}}\r\n{expected})\r\n", expected.len());
            assert_eq!(String::from_utf8_lossy(&untagged), expected, "{reason}");
        }
        let (untagged, _) = client.command("FETCH 1 BODY.PEEK[HEADER.FIELDS (Subject)]<3.6>").await;
        assert_eq!(
            String::from_utf8_lossy(&untagged),
            "* 1 FETCH (BODY[HEADER.FIELDS (Subject)]<3> {6}\r\nject: )\r\n"
        );
    });
}

#[test]
fn odd_octets_come_back_as_they_were_appended() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        let long = [b"Subject: long\r\n\r\n".as_slice(), &vec![b'x'; 300_000]].concat();
        let eight_bit: Vec<u8> = (1..=255).collect();
        let messages: [(&[u8], &str); 6] = [
            (b"Subject: bare\n\nline feeds\n", "bare LF"),
            (b"Subject: cr\r\n\r\na\rb\r\n", "bare CR"),
            (b"Subject: open\r\n\r\nno line end", "no final line end"),
            (b"no header at all", "no header"),
            (&eight_bit, "every octet but NUL"),
            (&long, "one very long line"),
        ];
        for (number, (message, reason)) in messages.into_iter().enumerate() {
            let reply = client.append("INBOX", message).await;
            assert!(reply.starts_with("OK [APPENDUID "), "{reason}: {reply}");
            let number = number + 1;
            let (untagged, _) = client.command(&format!("FETCH {number} (RFC822.SIZE BODY.PEEK[])")).await;
            let head = format!("* {number} FETCH (RFC822.SIZE {0} BODY[] {{{0}}}\r\n", message.len());
            let expected = [head.as_bytes(), message, b")\r\n"].concat();
            assert!(
                untagged == expected,
                "{reason}: {}",
                String::from_utf8_lossy(&untagged[..untagged.len().min(200)])
            );
        }
        let reply = client.append("INBOX", b"Subject: nul\r\n\r\n\0\r\n").await;
        assert!(reply.starts_with("BAD"), "RFC 3501 9, CHAR8: {reply}");
        client.ok("NOOP").await;
    });
}

#[test]
fn reading_sets_seen_and_peeking_does_not() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        client.append("INBOX", SHORT).await;
        client.append("INBOX", SHORT).await;
        let flags = |line: &str| line.contains("\\Seen");
        let lines = client.ok("FETCH 1:2 (BODY.PEEK[TEXT] RFC822.HEADER)").await;
        assert!(!lines.iter().any(|line| flags(line)));
        // RFC 3501 6.4.5: \Seen is set, and told in the same reply.
        let (untagged, _) = client.command("FETCH 1 BODY[TEXT]").await;
        let untagged = String::from_utf8(untagged).unwrap();
        assert_eq!(untagged, "* 1 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT] {6}\r\nbody\r\n)\r\n");
        assert_eq!(client.ok("FETCH 1 RFC822.TEXT").await.first().unwrap(), "* 1 FETCH (RFC822.TEXT {6}");
        assert_eq!(
            client.ok("FETCH 1:2 FLAGS").await,
            ["* 1 FETCH (FLAGS (\\Seen \\Recent))", "* 2 FETCH (FLAGS (\\Recent))",]
        );
        // EXAMINE changes nothing.
        client.ok("EXAMINE INBOX").await;
        client.ok("FETCH 2 RFC822").await;
        assert_eq!(client.ok("UID FETCH 2 FLAGS").await, ["* 2 FETCH (UID 2 FLAGS ())"]);
    });
}

#[test]
fn the_index_answers_envelope_structure_size_and_date() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        let reply =
            client.append_with("INBOX", "(\\Flagged work) \"01-Feb-2026 12:34:56 +0100\" ", NESTED.as_bytes()).await;
        assert!(reply.starts_with("OK"), "{reply}");
        let lines = client.ok("FETCH 1 (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)").await;
        // The new keyword is told before it is used (RFC 3501 7.2.6).
        assert_eq!(lines[0], "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft work)");
        assert_eq!(
            lines[2..],
            [format!(
                "* 1 FETCH (UID 1 FLAGS (\\Flagged work \\Recent) INTERNALDATE \"01-Feb-2026 12:34:56 +0100\" \
             RFC822.SIZE {} ENVELOPE (NIL \"nested\" ((\"Bob\" NIL \"bob\" \"example.org\")) \
             ((\"Bob\" NIL \"bob\" \"example.org\")) ((\"Bob\" NIL \"bob\" \"example.org\")) \
             ((NIL NIL \"alice\" \"example.org\")) NIL NIL NIL NIL))",
                NESTED.len()
            )]
        );
        let lines = client.ok("FETCH 1 BODY").await;
        assert!(
            lines[0].starts_with("* 1 FETCH (BODY ((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 ")
                || lines[0].starts_with("* 1 FETCH (BODY ((\"text\" \"plain\" NIL NIL NIL \"7bit\" 5 "),
            "{}",
            lines[0]
        );
        assert!(lines[0].ends_with("\"mixed\"))"), "{}", lines[0]);
        let mut other = world.alice().await;
        let lines = other.ok("SELECT INBOX").await;
        assert!(
            lines.contains(&"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft work)".to_owned()),
            "{lines:?}"
        );
    });
}

#[test]
fn sets_that_name_no_message_are_bad_and_uids_that_do_are_passed_over() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        assert!(client.refused("FETCH 1 FLAGS").await.starts_with("BAD"), "RFC 3501 9, seq-number");
        assert!(client.ok("UID FETCH 1:* FLAGS").await.is_empty());
        client.append("INBOX", SHORT).await;
        assert!(client.refused("FETCH 2 FLAGS").await.starts_with("BAD"));
        assert_eq!(client.ok("UID FETCH 7:* FLAGS").await, ["* 1 FETCH (UID 1 FLAGS (\\Recent))"], "RFC 3501 6.4.8");
        assert!(client.ok("UID FETCH 7:9 FLAGS").await.is_empty());
    });
}

#[test]
fn ten_thousand_messages_are_fetched_in_constant_memory() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        for _ in 0..40 {
            client.append("INBOX", SHORT).await;
        }
        client.ok("CREATE many").await;
        for _ in 0..25 {
            client.ok("COPY 1:40 many").await;
        }
        client.ok("SELECT many").await;
        let spent = world.wires.budget.spent();
        let (untagged, _) =
            client.command("FETCH 1:* (FLAGS RFC822.SIZE ENVELOPE BODY.PEEK[HEADER.FIELDS (SUBJECT)])").await;
        assert_eq!(lines(&untagged).iter().filter(|line| line.starts_with("* ")).count(), 1_000);
        client.ok("NOOP").await;
        assert_eq!(world.wires.budget.spent(), spent, "everything is given back");
    });
}

#[test]
fn a_damaged_row_is_made_anew_and_costs_no_answer() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        for _ in 0..5 {
            client.append("INBOX", SHORT).await;
        }
        let store = &world.context.store;
        let account = store.account("alice@example.org").await.unwrap().unwrap();
        let inbox = store.mailbox_by_name(account.id, "INBOX").await.unwrap().unwrap();
        let entry = store.entries(inbox.id, &crate::store::UidSet::one(crate::store::Uid(4)), 1).await.unwrap()[0];
        store.spoil_entry(inbox.id, entry.uid);
        let entry = store.entries(inbox.id, &crate::store::UidSet::one(crate::store::Uid(2)), 1).await.unwrap()[0];
        store.spoil_message(entry.message);
        for command in ["FETCH 1:* FLAGS", "FETCH 1:* (RFC822.SIZE)", "UID FETCH 1:* (BODY.PEEK[])"] {
            assert_eq!(
                client.ok(command).await.iter().filter(|line| line.contains(" FETCH (")).count(),
                5,
                "{command}"
            );
        }
        assert_eq!(client.ok("SEARCH SUBJECT short").await, ["* SEARCH 1 2 3 4 5"]);
    });
}

/// A message of about so many octets that no compression makes smaller, with `mark` at its end.
fn noise(octets: usize, mark: &str) -> String {
    let mut state = 1_u32;
    let letters = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"[(state >> 26) as usize])
    });
    format!("Subject: noise\r\n\r\n{}{mark}\r\n", letters.take(octets).collect::<String>())
}

/// Changes the octet in the log where `mark` lies, or changes it back.
fn flip(folder: &std::path::Path, mark: &str) {
    let mut flipped = 0;
    for entry in std::fs::read_dir(folder.join("log")).unwrap() {
        let path = entry.unwrap().path();
        let mut octets = std::fs::read(&path).unwrap();
        // All but its first octet, which is what changes.
        if let Some(at) = memchr::memmem::find(&octets, &mark.as_bytes()[1..]) {
            octets[at - 1] ^= 1;
            std::fs::write(&path, octets).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1, "{mark}");
}

/// What stands where octets cannot be read would be kept for the message.
#[test]
fn a_damaged_message_is_never_made_up_and_holds_up_no_other() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        let (large, small) = (noise(150_000, "(far)"), noise(3_000, "(near)"));
        for message in [SHORT, large.as_bytes(), small.as_bytes(), SHORT] {
            assert!(client.append("INBOX", message).await.starts_with("OK"));
        }
        flip(world.folder.path(), "(far)");
        flip(world.folder.path(), "(near)");
        // All of it is in one chunk: nothing was promised.
        let (untagged, reply) = client.command("FETCH 3 BODY.PEEK[]").await;
        assert_eq!(lines(&untagged), ["* 3 FETCH (BODY[] NIL)"]);
        assert!(reply.starts_with("NO [CORRUPTION] "), "{reply}");
        // The damage is found in the middle of the literal.
        client.send(b"x FETCH 1:4 BODY.PEEK[]\r\n").await;
        let got = client.rest().await;
        let (_, literal) = got.split_once(&format!("* 2 FETCH (BODY[] {{{}}}\r\n", large.len())).unwrap();
        assert!(literal.len() >= 64 * 1024 && large.starts_with(literal), "{} octets", literal.len());
        // The next to ask is told at once, and has all others.
        let mut client = world.inbox().await;
        for command in ["FETCH 1:4 BODY.PEEK[]", "FETCH 1:4 BODY.PEEK[]<0.200000>"] {
            let (untagged, reply) = client.command(command).await;
            let origin = if command.ends_with('>') { "<0>" } else { "" };
            let whole = |n: u32| format!("* {n} FETCH (BODY[]{origin} {{24}}\r\nSubject: short\r\n\r\nbody\r\n)\r\n");
            let nil = |n: u32| format!("* {n} FETCH (BODY[]{origin} NIL)\r\n");
            let expected = [whole(1), nil(2), nil(3), whole(4)].concat();
            assert_eq!(String::from_utf8_lossy(&untagged), expected, "{command}");
            assert!(reply.starts_with("NO [CORRUPTION] "), "{reply}");
        }
        // What lies before it is there.
        assert_eq!(client.ok("FETCH 2 BODY.PEEK[HEADER]").await.len(), 4);
        let (untagged, reply) = client.command("FETCH 2 BODY.PEEK[]<0.60000>").await;
        assert!(reply.starts_with("OK"), "{reply}");
        assert!(memchr::memmem::find(&untagged, &large.as_bytes()[..60_000]).is_some());
        // What can be read again is served again.
        flip(world.folder.path(), "(far)");
        let (untagged, reply) = client.command("FETCH 2 BODY.PEEK[]").await;
        assert!(reply.starts_with("OK"), "{reply}");
        assert!(memchr::memmem::find(&untagged, large.as_bytes()).is_some());
    });
}

#[test]
fn messages_of_all_sizes_come_whole_though_they_are_read_together() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        let mut messages = Vec::new();
        for (n, size) in [0, 10, 4_000, 8_191, 8_192, 8_193, 20_000, 70_000, 100, 150_000, 1].into_iter().enumerate() {
            let body: String = (0..size).map(|at| char::from(b'a' + ((at / 7 + n) % 26) as u8)).collect();
            messages.push(format!("From: me\r\nSubject: number {n}\r\nX-Long: {}\r\n\r\n{body}", "y".repeat(size / 2)));
        }
        for message in &messages {
            assert!(client.append("INBOX", message.as_bytes()).await.starts_with("OK"));
        }
        for item in
            ["BODY.PEEK[]", "BODY.PEEK[HEADER]", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]", "BODY.PEEK[TEXT]<8100.200>"]
        {
            let (untagged, reply) = client.command(&format!("FETCH 1:* {item}")).await;
            assert!(reply.starts_with("OK"), "{reply}");
            let mut expected = Vec::new();
            for (n, message) in messages.iter().enumerate() {
                let (header, text) = message.split_once("\r\n\r\n").unwrap();
                let (name, part) = match item {
                    "BODY.PEEK[]" => ("BODY[]", message.clone()),
                    "BODY.PEEK[HEADER]" => ("BODY[HEADER]", format!("{header}\r\n\r\n")),
                    "BODY.PEEK[TEXT]<8100.200>" => {
                        ("BODY[TEXT]<8100>", text.get(8_100..text.len().min(8_300)).unwrap_or_default().to_owned())
                    }
                    _ => ("BODY[HEADER.FIELDS (SUBJECT)]", format!("Subject: number {n}\r\n\r\n")),
                };
                let line = format!("* {} FETCH ({name} {{{}}}\r\n{part})\r\n", n + 1, part.len());
                expected.extend_from_slice(line.as_bytes());
            }
            assert!(untagged == expected, "{item}: {} octets, not {}", untagged.len(), expected.len());
        }
        assert_eq!(client.ok("SEARCH HEADER subject \"number 7\"").await, ["* SEARCH 8"]);
        assert_eq!(client.ok("SEARCH BODY abcd HEADER x-long yyyyyyyyyyyyyyyy").await.len(), 1);
    });
}
