//! Logging in, folders, SELECT, STATUS, LIST.

use super::*;

#[test]
fn capabilities_depend_on_the_state() {
    World::run(|world| async move {
        let mut near = world.connect(LOOPBACK);
        assert!(near.line().await.contains(" STARTTLS AUTH=PLAIN AUTH=LOGIN] mx.example.org "));
        let mut far = world.connect(([192, 0, 2, 7], 1));
        assert!(far.line().await.contains(" STARTTLS LOGINDISABLED] "));
        assert!(far.refused(&format!("LOGIN alice@example.org {PASSWORD}")).await.starts_with("NO [PRIVACYREQUIRED]"));
        assert!(far.refused("AUTHENTICATE PLAIN").await.starts_with("NO [PRIVACYREQUIRED]"));
        let (_, reply) = near.command(&format!("LOGIN alice@example.org {PASSWORD}")).await;
        assert!(reply.contains(" UIDPLUS MOVE ") && !reply.contains("AUTH=") && !reply.contains("STARTTLS"), "{reply}");
        assert!(near.refused("LOGIN a b").await.starts_with("BAD"));
        assert!(near.refused("FETCH 1 FLAGS").await.starts_with("BAD"));
    });
}

#[test]
fn authenticate_takes_plain_and_login_with_and_without_initial_response() {
    World::run(|world| async move {
        let response = "AGFsaWNlQGV4YW1wbGUub3JnAHdvbmRlcmxhbmQtNw==";
        let mut client = world.connect(LOOPBACK);
        client.line().await;
        client.ok(&format!("AUTHENTICATE PLAIN {response}")).await;
        let mut client = world.connect(LOOPBACK);
        client.line().await;
        client.send(b"a AUTHENTICATE plain\r\n").await;
        assert_eq!(client.line().await, "+ ");
        client.send(b"*\r\n").await;
        assert!(client.tagged("a").await.1.starts_with("BAD"), "RFC 3501 6.2.2");
        client.send(b"b AUTHENTICATE PLAIN\r\n").await;
        client.line().await;
        client.send(format!("{response}\r\n").as_bytes()).await;
        assert!(client.tagged("b").await.1.starts_with("OK [CAPABILITY "));
        let mut client = world.connect(LOOPBACK);
        client.line().await;
        client.send(b"a AUTHENTICATE LOGIN\r\n").await;
        assert_eq!(client.line().await, "+ VXNlcm5hbWU6");
        client.send(b"YWxpY2VAZXhhbXBsZS5vcmc=\r\n").await;
        assert_eq!(client.line().await, "+ UGFzc3dvcmQ6");
        client.send(b"d29uZGVybGFuZC03\r\n").await;
        assert!(client.tagged("a").await.1.starts_with("OK"));
    });
}

#[test]
fn the_third_failed_login_ends_the_session() {
    World::run(|world| async move {
        let mut client = world.connect(LOOPBACK);
        client.line().await;
        for _ in 0..2 {
            assert!(client.refused("LOGIN alice@example.org wrong").await.starts_with("NO [AUTHENTICATIONFAILED]"));
        }
        client.send(b"x LOGIN nobody wrong\r\n").await;
        assert!(client.line().await.starts_with("x NO [AUTHENTICATIONFAILED]"));
        assert!(client.rest().await.starts_with("* BYE "));
    });
}

#[test]
fn select_tells_what_the_rfc_requires() {
    World::run(|world| async move {
        let mut client = world.alice().await;
        for _ in 0..3 {
            client.append("INBOX", SHORT).await;
        }
        client.append_with("INBOX", "(\\Seen) ", SHORT).await;
        let lines = client.ok("SELECT inbox").await;
        assert_eq!(
            lines[..4],
            [
                "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)",
                "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] flags that last",
                "* 4 EXISTS",
                "* 4 RECENT",
            ]
        );
        for (at, start) in [(4, "* OK [UNSEEN 1] "), (5, "* OK [UIDVALIDITY "), (6, "* OK [UIDNEXT 5] ")] {
            assert!(lines[at].starts_with(start), "{lines:?}");
        }
        assert!(lines[7].starts_with("* OK [HIGHESTMODSEQ ") && lines.len() == 8, "{lines:?}");
        let lines = client.ok("EXAMINE INBOX").await;
        assert!(lines[0].starts_with("* OK [CLOSED]"), "RFC 7162 3.2.11");
        assert!(lines.iter().any(|line| line.starts_with("* OK [PERMANENTFLAGS ()]")), "{lines:?}");
        assert!(lines.contains(&"* 0 RECENT".to_owned()), "the session before has seen them");
        assert!(client.refused("SELECT nowhere").await.starts_with("NO [NONEXISTENT]"));
        assert!(client.refused("CHECK").await.starts_with("BAD"), "RFC 3501 6.3.1: nothing is selected then");
    });
}

#[test]
fn folders_are_created_with_parents_renamed_with_children_and_deleted_from_the_leaves() {
    World::run(|world| async move {
        let mut client = world.alice().await;
        client.ok("CREATE Entw&APw-rfe/2026/").await;
        assert_eq!(
            client.ok("LIST \"\" Entw*").await,
            [
                "* LIST (\\HasChildren) \"/\" \"Entw&APw-rfe\"".replace('"', "").replace("/ ", "\"/\" "),
                "* LIST (\\HasNoChildren) \"/\" Entw&APw-rfe/2026".to_owned(),
            ]
        );
        assert!(client.refused("CREATE Entw&APw-rfe").await.starts_with("NO [ALREADYEXISTS]"));
        assert!(client.refused("CREATE INBOX").await.starts_with("NO"));
        assert!(client.refused("DELETE Entw&APw-rfe").await.starts_with("NO"), "it has a child");
        assert!(client.refused("DELETE inbox").await.starts_with("NO"));
        client.ok("RENAME Entw&APw-rfe Notes").await;
        client.ok("SELECT Notes/2026").await;
        client.ok("DELETE Notes/2026").await;
        assert!(client.refused("CHECK").await.starts_with("BAD"), "it was closed");
        client.ok("DELETE Notes").await;
        assert!(client.refused("RENAME Notes x").await.starts_with("NO [NONEXISTENT]"));
        // RFC 3501 6.3.5: renaming INBOX moves its messages.
        client.append("INBOX", SHORT).await;
        client.ok("RENAME INBOX Old").await;
        assert_eq!(client.ok("STATUS INBOX (MESSAGES)").await, ["* STATUS INBOX (MESSAGES 0)"]);
        assert_eq!(client.ok("STATUS Old (MESSAGES UNSEEN RECENT UIDNEXT)").await.len(), 1);
        client.ok("SUBSCRIBE Old").await;
        assert!(client.ok("LSUB \"\" Old").await[0].starts_with("* LSUB ("));
        client.ok("UNSUBSCRIBE Old").await;
        assert!(client.ok("LSUB \"\" Old").await.is_empty());
        assert!(client.refused("SUBSCRIBE nowhere").await.starts_with("NO [NONEXISTENT]"));
    });
}

#[test]
fn a_new_account_has_its_folders_with_special_uses() {
    World::run(|world| async move {
        let mut client = world.alice().await;
        assert_eq!(client.ok("LIST \"\" \"\"").await, ["* LIST (\\Noselect) \"/\" \"\""], "RFC 3501 6.3.8");
        let lines = client.ok("LIST \"\" *").await;
        for (name, attribute) in [
            ("Drafts", "\\Drafts"),
            ("Sent", "\\Sent"),
            ("Junk", "\\Junk"),
            ("Trash", "\\Trash"),
            ("Archive", "\\Archive"),
        ] {
            let expected = format!("* LIST (\\HasNoChildren {attribute}) \"/\" {name}");
            assert!(lines.contains(&expected), "{expected} in {lines:?}");
        }
        assert_eq!(client.ok("LSUB \"\" *").await.len(), 6);
        assert_eq!(client.ok("NAMESPACE").await, ["* NAMESPACE ((\"\" \"/\")) NIL NIL"]);
        let lines = client.ok("LIST (SPECIAL-USE) \"\" * RETURN (STATUS (MESSAGES))").await;
        assert_eq!(lines.len(), 10, "five mailboxes, a STATUS each: {lines:?}");
        assert!(client.ok("ID NIL").await[0].starts_with("* ID (\"name\" \"Pigeon\" \"version\" "));
    });
}

#[test]
fn starttls_throws_away_what_was_sent_ahead() {
    World::run(|world| async move {
        let mut client = world.connect(([192, 0, 2, 7], 1));
        client.line().await;
        client.send(b"a STARTTLS\r\nb NOOP\r\n").await;
        assert!(client.line().await.starts_with("a OK"));
        assert!(client.is_silent().await, "RFC 9051 6.2.1");
    });
}

#[test]
fn any_number_of_names_is_listed_in_steps_and_in_order() {
    World::run(|world| async move {
        let mut client = world.alice().await;
        let mut names = Vec::new();
        for n in 0..130 {
            let name = format!("many/{:03}{}/x", n / 3, " -b"[n % 3..].chars().next().unwrap());
            client.ok(&format!("CREATE \"{name}\"")).await;
            client.ok(&format!("SUBSCRIBE \"{name}\"")).await;
            names.push(name);
        }
        names.sort_unstable();
        let told = |lines: Vec<String>| -> Vec<String> {
            lines.iter().map(|line| line.split_once(" \"/\" ").unwrap().1.trim_matches('"').to_owned()).collect()
        };
        assert_eq!(told(client.ok("LIST \"\" many/%/x").await), names);
        assert_eq!(told(client.ok("LSUB \"\" many/*/x").await), names);
        assert_eq!(told(client.ok("LIST (SUBSCRIBED) \"\" many/*").await), names);
        let parents: Vec<String> = names.iter().map(|name| name.strip_suffix("/x").unwrap().to_owned()).collect();
        let lines = client.ok("LSUB \"\" many/%").await;
        assert!(lines.iter().all(|line| line.starts_with("* LSUB (\\Noselect) ")), "{lines:?}");
        assert_eq!(told(lines), parents);
        assert_eq!(
            client.ok("LIST (SUBSCRIBED RECURSIVEMATCH) \"\" many").await,
            ["* LIST (\\HasChildren) \"/\" many (\"CHILDINFO\" (\"SUBSCRIBED\"))"]
        );
        let all = client.ok("LIST \"\" *").await;
        assert_eq!(all.len(), 6 + 1 + 2 * 130);
        assert!(all.iter().filter(|line| line.contains("/x")).all(|line| line.contains("\\HasNoChildren")));
        assert!(
            all.iter()
                .filter(|line| line.contains("many") && !line.contains("/x"))
                .all(|l| l.contains("\\HasChildren"))
        );
        assert_eq!(world.wires.budget.spent(), 0, "a session that waits holds nothing");
    });
}

#[test]
fn a_damaged_row_takes_no_name_away() {
    World::run(|world| async move {
        let mut client = world.alice().await;
        let all = client.ok("LIST \"\" *").await;
        let store = &world.context.store;
        let account = store.account("alice@example.org").await.unwrap().unwrap();
        let sent = store.mailbox_by_name(account.id, "Sent").await.unwrap().unwrap();
        store.spoil_mailbox(sent.id);
        let expected: Vec<String> = all.iter().map(|line| line.replace(" \\Sent)", ")")).collect();
        assert_ne!(expected, all);
        assert_eq!(client.ok("LIST \"\" *").await, expected, "only what that row knew is missing");
        assert_eq!(client.ok("LSUB \"\" *").await.len(), 6);
        // Whoever reads it has it made anew.
        assert_eq!(client.ok("LIST \"\" * RETURN (STATUS (MESSAGES))").await.len(), 6 + 6);
        assert_eq!(client.ok("LIST \"\" *").await, all);
    });
}
