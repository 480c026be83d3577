//! Several sessions on one mailbox, IDLE, STORE, EXPUNGE, MOVE, CONDSTORE.

use super::*;

#[test]
fn sessions_see_each_others_changes() {
    World::run(|world| async move {
        let (mut one, mut two) = (world.inbox().await, world.inbox().await);
        one.append("INBOX", SHORT).await;
        one.append("INBOX", SHORT).await;
        // \Recent belongs to the session that was told first (RFC 3501 2.3.2).
        assert_eq!(two.ok("NOOP").await, ["* 2 EXISTS", "* 0 RECENT"]);
        two.ok("STORE 1 +FLAGS.SILENT (\\Flagged $Forwarded)").await;
        assert_eq!(
            one.ok("NOOP").await,
            [
                "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded)",
                "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded \\*)] flags that last",
                "* 1 FETCH (FLAGS (\\Flagged $Forwarded \\Recent))",
            ]
        );
        assert!(two.ok("NOOP").await.is_empty(), "its own change is not told again");
        two.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        assert_eq!(two.ok("EXPUNGE").await, ["* 1 EXPUNGE"]);
        // RFC 3501 7.4.1: no EXPUNGE while FETCH, STORE or SEARCH by number is under way.
        assert_eq!(one.ok("FETCH 2 FLAGS").await, ["* 2 FETCH (FLAGS (\\Recent))"]);
        assert!(one.refused("FETCH 1 FLAGS").await.starts_with("NO [EXPUNGEISSUED]"));
        assert_eq!(one.ok("SEARCH ALL").await, ["* SEARCH 2"]);
        assert_eq!(one.ok("UID FETCH 2 UID").await, ["* 2 FETCH (UID 2)", "* 1 EXPUNGE"]);
        assert_eq!(one.ok("FETCH 1 UID").await, ["* 1 FETCH (UID 2)"]);
    });
}

#[test]
fn silent_hides_only_the_sessions_own_work() {
    World::run(|world| async move {
        let (mut one, mut two) = (world.inbox().await, world.inbox().await);
        one.append("INBOX", SHORT).await;
        two.ok("NOOP").await;
        two.ok("STORE 1 +FLAGS.SILENT (\\Flagged)").await;
        // RFC 3501 6.4.6: a change from elsewhere is told nevertheless.
        assert_eq!(one.ok("STORE 1 +FLAGS.SILENT (\\Seen)").await, ["* 1 FETCH (FLAGS (\\Flagged \\Recent))"]);
        assert!(one.ok("NOOP").await.is_empty());
        assert_eq!(two.ok("NOOP").await, ["* 1 FETCH (FLAGS (\\Flagged \\Seen))"]);
        assert_eq!(one.ok("STORE 1 -FLAGS (\\Flagged)").await, ["* 1 FETCH (FLAGS (\\Seen \\Recent))"]);
        assert_eq!(one.ok("UID STORE 1 FLAGS (\\Draft)").await, ["* 1 FETCH (UID 1 FLAGS (\\Draft \\Recent))"]);
        assert_eq!(
            one.ok("UID STORE 1 FLAGS (\\Draft)").await,
            ["* 1 FETCH (UID 1 FLAGS (\\Draft \\Recent))"],
            "told though the same"
        );
    });
}

#[test]
fn idle_tells_changes_at_once() {
    World::run(|world| async move {
        let (mut idle, mut other) = (world.inbox().await, world.alice().await);
        idle.send(b"i IDLE\r\n").await;
        assert!(idle.line().await.starts_with("+ "));
        other.append("INBOX", SHORT).await;
        assert_eq!(idle.line().await, "* 1 EXISTS");
        assert_eq!(idle.line().await, "* 1 RECENT");
        other.ok("SELECT INBOX").await;
        other.ok("STORE 1 +FLAGS (\\Deleted)").await;
        assert_eq!(idle.line().await, "* 1 FETCH (FLAGS (\\Deleted \\Recent))");
        other.ok("EXPUNGE").await;
        assert_eq!(idle.line().await, "* 1 EXPUNGE");
        assert!(idle.is_silent().await);
        idle.send(b"DONE\r\n").await;
        assert!(idle.tagged("i").await.1.starts_with("OK"));
        // Also without a mailbox, and ended by something else than DONE.
        idle.ok("UNSELECT").await;
        idle.send(b"j IDLE\r\n").await;
        assert!(idle.line().await.starts_with("+ "));
        idle.send(b"k NOOP\r\n").await;
        assert!(idle.tagged("j").await.1.starts_with("BAD"));
    });
}

#[test]
fn an_idle_session_is_logged_out_after_thirty_minutes_and_not_before() {
    World::run(|world| async move {
        let mut idle = world.inbox().await;
        idle.send(b"i IDLE\r\n").await;
        idle.line().await;
        world.hand.advance(Duration::from_secs(29 * 60));
        assert!(idle.is_silent().await);
        world.hand.advance(Duration::from_secs(61));
        assert!(idle.rest().await.starts_with("* BYE "), "RFC 3501 5.4");
    });
}

#[test]
fn a_mailbox_deleted_elsewhere_ends_the_session_in_it() {
    World::run(|world| async move {
        let (mut idle, mut other) = (world.alice().await, world.alice().await);
        other.ok("CREATE gone").await;
        idle.ok("SELECT gone").await;
        idle.send(b"i IDLE\r\n").await;
        idle.line().await;
        other.ok("DELETE gone").await;
        assert!(idle.rest().await.starts_with("* BYE "));
    });
}

#[test]
fn expunge_takes_out_what_is_deleted_and_close_says_nothing() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        for _ in 0..6 {
            client.append("INBOX", SHORT).await;
        }
        client.ok("STORE 1,3:4 +FLAGS.SILENT (\\Deleted)").await;
        // RFC 4315 2.1: both in the set and \Deleted.
        assert_eq!(client.ok("UID EXPUNGE 2:3").await, ["* 3 EXPUNGE"]);
        // Highest first, so that no number moves.
        assert_eq!(client.ok("EXPUNGE").await, ["* 3 EXPUNGE", "* 1 EXPUNGE"]);
        assert_eq!(client.ok("UID SEARCH ALL").await, ["* SEARCH 2 5 6"]);
        client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        assert!(client.ok("CLOSE").await.is_empty(), "RFC 3501 6.4.2");
        assert!(client.ok("SELECT INBOX").await.contains(&"* 2 EXISTS".to_owned()));
        client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
        client.ok("EXAMINE INBOX").await;
        assert!(client.refused("EXPUNGE").await.starts_with("NO"));
        client.ok("CLOSE").await;
        assert!(client.ok("EXAMINE INBOX").await.contains(&"* 2 EXISTS".to_owned()), "EXAMINE takes nothing out");
    });
}

#[test]
fn copy_and_move_tell_the_new_uids() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        for _ in 0..3 {
            client.append("INBOX", SHORT).await;
        }
        assert!(client.refused("COPY 1 nowhere").await.starts_with("NO [TRYCREATE]"));
        client.ok("STORE 2 +FLAGS.SILENT (\\Flagged)").await;
        let (_, reply) = client.command("COPY 2:3 Archive").await;
        assert!(reply.contains(" 2:3 1:2]") && reply.starts_with("OK [COPYUID "), "RFC 4315 3: {reply}");
        // RFC 6851 4.3: COPYUID in an untagged OK, before the EXPUNGEs.
        let lines = client.ok("MOVE 1,3 Archive").await;
        assert!(lines[0].starts_with("* OK [COPYUID ") && lines[0].contains(" 1,3 3:4]"), "{lines:?}");
        assert_eq!(lines[1..], ["* 3 EXPUNGE", "* 1 EXPUNGE"]);
        client.ok("SELECT Archive").await;
        assert_eq!(
            client.ok("FETCH 1:* FLAGS").await,
            [
                "* 1 FETCH (FLAGS (\\Flagged \\Recent))",
                "* 2 FETCH (FLAGS (\\Recent))",
                "* 3 FETCH (FLAGS (\\Recent))",
                "* 4 FETCH (FLAGS (\\Recent))",
            ]
        );
        // RFC 3501 6.4.8: UIDs of no message are passed over, and none at all is no error.
        assert!(client.command("UID COPY 77 INBOX").await.1.starts_with("OK"));
        assert!(client.command("UID MOVE 77 INBOX").await.1.starts_with("OK"));
    });
}

#[test]
fn condstore_tells_modification_sequences_once_enabled() {
    World::run(|world| async move {
        let mut client = world.alice().await;
        client.append("INBOX", SHORT).await;
        client.append("INBOX", SHORT).await;
        let selected = client.ok("SELECT INBOX (CONDSTORE)").await;
        let highest: u64 =
            number_after(selected.iter().find(|l| l.contains("HIGHESTMODSEQ")).unwrap(), "HIGHESTMODSEQ ");
        let lines = client.ok("STORE 1 +FLAGS (\\Seen)").await;
        let first: u64 = number_after(&lines[0], "MODSEQ (");
        assert!(first > highest, "RFC 7162 3.1: every change takes a higher one");
        // RFC 7162 3.1.3: told even when silent.
        let lines = client.ok("STORE 2 +FLAGS.SILENT (\\Seen)").await;
        let second: u64 = number_after(&lines[0], "MODSEQ (");
        assert!(second > first && !lines[0].contains("FLAGS"));
        // Message 2 changed after `first`: left alone.
        let (untagged, reply) =
            client.command(&format!("STORE 1,2 (UNCHANGEDSINCE {first}) +FLAGS.SILENT (\\Flagged)")).await;
        assert!(reply.starts_with("OK [MODIFIED 2]"), "{reply}");
        assert!(lines_of(&untagged, "* 1 FETCH (UID 1 MODSEQ (") && !lines_of(&untagged, "* 2 FETCH"));
        // RFC 7162 3.1.4.1
        let lines = client.ok(&format!("FETCH 1:* (FLAGS) (CHANGEDSINCE {second})")).await;
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("* 1 FETCH (FLAGS (\\Flagged \\Seen \\Recent) MODSEQ ("), "{lines:?}");
        let third: u64 = number_after(&lines[0], "MODSEQ (");
        // RFC 7162 3.1.5
        assert_eq!(client.ok(&format!("SEARCH MODSEQ {third}")).await, [format!("* SEARCH 1 (MODSEQ {third})")]);
        assert_eq!(client.ok(&format!("SEARCH MODSEQ {}", third + 1)).await, ["* SEARCH"]);
        assert_eq!(
            client.ok("STATUS INBOX (HIGHESTMODSEQ)").await,
            [format!("* STATUS INBOX (HIGHESTMODSEQ {third})")]
        );
        assert_eq!(client.ok("ENABLE CONDSTORE X-NONE").await, ["* ENABLED"], "it was on already");
    });
}

fn number_after(line: &str, before: &str) -> u64 {
    let rest = &line[line.find(before).unwrap() + before.len()..];
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

fn lines_of(octets: &[u8], start: &str) -> bool {
    lines(octets).iter().any(|line| line.starts_with(start))
}

#[test]
fn a_message_is_recent_to_one_session_however_many_are_woken() {
    World::run(|world| async move {
        let mut writer = world.alice().await;
        let mut idle = Vec::new();
        for _ in 0..6 {
            let mut client = world.inbox().await;
            client.send(b"i IDLE\r\n").await;
            client.line().await;
            idle.push(client);
        }
        let mut known = [0; 6];
        for round in 1..=20 {
            writer.append("INBOX", SHORT).await;
            let mut news = 0;
            for (client, known) in idle.iter_mut().zip(&mut known) {
                assert_eq!(client.line().await, format!("* {round} EXISTS"));
                let recent = client.line().await;
                let recent: u32 = recent.split(' ').nth(1).unwrap().parse().unwrap();
                news += recent - std::mem::replace(known, recent);
            }
            assert_eq!(news, 1, "RFC 3501 2.3.2, round {round}");
        }
    });
}

#[test]
fn a_copy_that_loses_keywords_says_so() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        client.append("INBOX", SHORT).await;
        client.append("INBOX", SHORT).await;
        client.append("Trash", SHORT).await;
        let many: Vec<String> = (0..58).map(|n| format!("k{n}")).collect();
        client.ok("STORE 1 +FLAGS (one two)").await;
        client.ok("SELECT Trash").await;
        client.ok(&format!("STORE 1 +FLAGS ({})", many.join(" "))).await;
        client.ok("SELECT INBOX").await;
        let warned = |lines: Vec<String>| lines.iter().any(|line| line.starts_with("* NO [LIMIT] "));
        assert!(!warned(client.ok("COPY 2 Trash").await), "it has no keywords");
        assert!(!warned(client.ok("COPY 1 INBOX").await));
        assert!(warned(client.ok("COPY 1 Trash").await), "there is room for one of its two");
        assert!(warned(client.ok("MOVE 1 Trash").await));
        // Asked for outright they are refused (RFC 5530 LIMIT).
        client.ok("SELECT Trash").await;
        assert!(client.refused("STORE 1 +FLAGS (two)").await.starts_with("NO [LIMIT]"));
    });
}
