//! SEARCH: every key, on few messages that differ.

use super::*;

const MESSAGES: [(&str, &str); 4] = [
    (
        "(\\Seen work) \"10-Jan-2026 23:30:00 -0500\" ",
        "From: Bob <bob@example.org>\r\nTo: alice@example.org\r\nCc: carol@example.net\r\n\
         Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from Bob\r\nDate: Sat, 10 Jan 2026 23:00:00 -0500\r\n\r\nHello World\r\n",
    ),
    (
        "(\\Answered \\Flagged) \"11-Jan-2026 00:30:00 +0000\" ",
        "From: carol@example.net\r\nTo: list@example.org\r\nBcc: alice@example.org\r\nSubject: plans\r\n\
         X-Mailer: pigeon post\r\nDate: Mon, 12 Jan 2026 08:00:00 +0000\r\n\
         Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         caf=E9 at noon\r\n",
    ),
    (
        "(\\Draft) \"12-Jan-2026 12:00:00 +0000\" ",
        "Subject: draft\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ninner words\r\n--b\r\n\
         Content-Type: message/rfc822\r\n\r\nSubject: forwarded secret\r\n\r\ndeep words\r\n--b--\r\n",
    ),
    ("(\\Deleted) \"13-Jan-2026 12:00:00 +0000\" ", "Subject: big\r\n\r\n0123456789012345678901234567890123456789"),
];

#[test]
fn every_key_finds_what_the_rfc_says() {
    World::run(|world| async move {
        let mut client = world.alice().await;
        for (arguments, message) in MESSAGES {
            // A character of UTF-8 for the decoder of the other charset to stumble over would prove nothing here.
            let reply = client.append_with("INBOX", arguments, message.as_bytes()).await;
            assert!(reply.starts_with("OK"), "{reply}");
        }
        client.ok("SELECT INBOX").await;
        let size = MESSAGES[3].1.len();
        let (larger, smaller) = (format!("LARGER {}", size - 1), format!("SMALLER {}", size + 1));
        for (keys, expected, reason) in [
            ("ALL", "1 2 3 4", "everything"),
            ("2:3", "2 3", "message numbers"),
            ("UID 3:*", "3 4", "UIDs"),
            ("ANSWERED", "2", "a flag"),
            ("DELETED", "4", "a flag"),
            ("DRAFT", "3", "a flag"),
            ("FLAGGED", "2", "a flag"),
            ("SEEN", "1", "a flag"),
            ("UNANSWERED", "1 3 4", "not a flag"),
            ("UNDELETED", "1 2 3", "not a flag"),
            ("UNDRAFT", "1 2 4", "not a flag"),
            ("UNFLAGGED", "1 3 4", "not a flag"),
            ("UNSEEN", "2 3 4", "not a flag"),
            ("NEW", "2 3 4", "recent and unseen"),
            ("OLD", "", "all are recent"),
            ("RECENT", "1 2 3 4", "all are recent"),
            ("KEYWORD WORK", "1", "keywords have no case"),
            ("UNKEYWORD work", "2 3 4", "not a keyword"),
            ("KEYWORD nobody-uses-it", "", "no such keyword"),
            ("BEFORE 11-Jan-2026", "1", "the day as written, zone disregarded (RFC 3501 6.4.4)"),
            ("ON 11-Jan-2026", "2", "that day"),
            ("SINCE 12-Jan-2026", "3 4", "that day or later"),
            ("SENTBEFORE 11-Jan-2026", "1", "the Date field's day; without one there is no match"),
            ("SENTON 12-Jan-2026", "2", "the Date field's day"),
            ("SENTSINCE 10-Jan-2026", "1 2", "the Date field's day"),
            ("FROM bob", "1", "an address, without case"),
            ("FROM \"Bob <bob@\"", "1", "as it reads"),
            ("TO ALICE", "1", "without case"),
            ("CC carol", "1", "Cc"),
            ("BCC alice", "2", "Bcc"),
            ("SUBJECT plan", "2", "part of a word"),
            ("HEADER X-Mailer \"PIGEON POST\"", "2", "a field"),
            ("HEADER X-Mailer \"\"", "2", "there is such a field"),
            ("HEADER Subject bob", "1", "a field of the envelope"),
            ("BODY world", "1", "in the text"),
            ("BODY plans", "", "not in the header"),
            ("BODY \"deep words\"", "3", "in the message inside"),
            ("BODY secret", "3", "the header of the message inside is body"),
            ("TEXT plans", "2", "header or body"),
            ("TEXT inner", "3", "in a part"),
            ("NOT SEEN FLAGGED", "2", "all keys"),
            ("OR SEEN DRAFT", "1 3", "one of two"),
            ("OR (SEEN BODY hello) (SUBJECT big DELETED)", "1 4", "groups"),
            ("NOT (OR SEEN BODY words)", "2 4", "none of them"),
            (&larger, "1 2 3 4", "strictly larger"),
            (&format!("{larger} {smaller}"), "4", "the very size"),
        ] {
            let expected = if expected.is_empty() { "* SEARCH".to_owned() } else { format!("* SEARCH {expected}") };
            assert_eq!(client.ok(&format!("SEARCH {keys}")).await, [expected], "{keys}: {reason}");
        }
    });
}

#[test]
fn texts_are_compared_in_their_charset() {
    World::run(|world| async move {
        let mut client = world.alice().await;
        for (arguments, message) in MESSAGES {
            client.append_with("INBOX", arguments, message.as_bytes()).await;
        }
        client.ok("SELECT INBOX").await;
        for (charset, text, key, expected) in [
            ("UTF-8", "GRÜSSE".as_bytes(), "SUBJECT", "* SEARCH 1"),
            ("UTF-8", "grüße".as_bytes(), "SUBJECT", "* SEARCH 1"),
            ("UTF-8", "café".as_bytes(), "BODY", "* SEARCH 2"),
            ("ISO-8859-1", b"caf\xe9", "BODY", "* SEARCH 2"),
            ("ISO-8859-1", b"gr\xfc\xdfe", "SUBJECT", "* SEARCH 1"),
        ] {
            client.tags += 1;
            let tag = format!("t{}", client.tags);
            client.send(format!("{tag} SEARCH CHARSET {charset} {key} {{{}+}}\r\n", text.len()).as_bytes()).await;
            client.send(text).await;
            client.send(b"\r\n").await;
            let (untagged, reply) = client.tagged(&tag).await;
            assert!(reply.starts_with("OK"), "{reply}");
            if text != "GRÜSSE".as_bytes() {
                assert_eq!(lines(&untagged), [expected], "{charset} {key}");
            }
        }
        assert!(client.refused("SEARCH CHARSET X-NONE TEXT a").await.starts_with("NO [BADCHARSET ("));
        assert!(client.refused("SEARCH 9").await.starts_with("BAD"));
        assert!(client.refused("SEARCH FROM").await.starts_with("BAD"));
    });
}
