//! What hostile, clumsy and slow clients get.

use super::*;

#[test]
fn a_message_too_large_is_refused_before_it_is_sent() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        client.send(b"a APPEND INBOX {1048577}\r\n").await;
        assert!(client.line().await.starts_with("a NO [TOOBIG]"));
        client.send(b"b APPEND nowhere {10}\r\n").await;
        assert!(client.line().await.starts_with("b NO [TRYCREATE]"));
        // One that does not wait is heard out, and the connection stays in step.
        let reply = client.append("INBOX", &vec![b'x'; (1 << 20) + 1]).await;
        assert!(reply.starts_with("NO [TOOBIG]"), "{reply}");
        assert!(client.append("nowhere", SHORT).await.starts_with("NO [TRYCREATE]"));
        assert!(client.ok("NOOP").await.is_empty());
        client.send(b"c APPEND INBOX {99999999+}\r\n").await;
        assert!(client.line().await.starts_with("* BYE [TOOBIG]"));
    });
}

#[test]
fn a_literal_that_waits_is_asked_for() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        client.send(b"a APPEND INBOX {24}\r\n").await;
        assert!(client.line().await.starts_with("+ "));
        client.send(SHORT).await;
        client.send(b"\r\n").await;
        let (untagged, reply) = client.tagged("a").await;
        assert_eq!(lines(&untagged), ["* 1 EXISTS", "* 1 RECENT"]);
        assert!(reply.starts_with("OK [APPENDUID ") && reply.contains(" 1] "), "{reply}");
    });
}

#[test]
fn bad_commands_are_told_and_too_many_end_the_session() {
    World::run(|world| async move {
        let mut client = world.alice().await;
        for (command, reason) in [
            ("FROBNICATE", "unknown"),
            ("SELECT", "no argument"),
            ("FETCH 1 FLAGS", "wrong state"),
            ("STARTTLS", "wrong state"),
            ("NOOP NOOP", "too many arguments"),
        ] {
            assert!(client.refused(command).await.starts_with("BAD"), "{reason}");
        }
        client.ok("NOOP").await;
        let long = "x".repeat(100_000);
        assert!(client.refused(&format!("NOOP {long}")).await.starts_with("BAD"));
        client.ok("NOOP").await;
        client.send("x Y\r\n".repeat(25).as_bytes()).await;
        assert!(client.rest().await.ends_with("* BYE too many bad commands\r\n"));
    });
}

#[test]
fn waiting_for_a_login_or_a_command_ends() {
    World::run(|world| async move {
        let mut stranger = world.connect(LOOPBACK);
        stranger.line().await;
        let mut alice = world.alice().await;
        world.hand.advance(Duration::from_secs(3 * 60 + 1));
        assert!(stranger.rest().await.starts_with("* BYE "));
        assert!(alice.is_silent().await);
        world.hand.advance(Duration::from_secs(27 * 60));
        assert!(alice.rest().await.starts_with("* BYE "));
    });
}

#[test]
fn a_stranger_who_talks_all_the_time_ends_too() {
    World::run(|world| async move {
        let mut stranger = world.connect(LOOPBACK);
        stranger.line().await;
        let mut user = world.alice().await;
        for _ in 0..5 {
            stranger.ok("NOOP").await;
            world.hand.advance(Duration::from_secs(2 * 60));
        }
        assert!(stranger.rest().await.starts_with("* BYE "));
        world.hand.advance(Duration::from_secs(20 * 60));
        user.ok("NOOP").await;
    });
}

#[test]
fn a_stranger_holds_little_whatever_it_sends() {
    World::run(|world| async move {
        let before = world.wires.budget.spent();
        for (octets, why) in [
            (b"x".to_vec(), "an octet"),
            (vec![b'x'; 3_000], "most of a line"),
            ([b"a LOGIN {2900}\r\n", [b'x'; 2_899].as_slice()].concat(), "most of a literal"),
            ([b"a LOGIN {1400+}\r\n", [b'x'; 1_400].as_slice(), b" {1400+}\r\n", &[b'y'; 1_399]].concat(), "two"),
            ([b"a ID (".as_slice(), &[b'x'; 20_000]].concat(), "an ID"),
            ([b"a AUTHENTICATE PLAIN\r\n", [b'x'; 3_000].as_slice()].concat(), "a response"),
            ([b"a LOGIN {900000+}\r\n".as_slice(), &[b'x'; 100_000]].concat(), "what is thrown away"),
            ([b"a LOGIN a b\r\n".as_slice(), &[b'x'; 20_000]].concat(), "more behind a login"),
        ] {
            let mut stranger = world.connect(LOOPBACK);
            stranger.line().await;
            stranger.send(&octets).await;
            let mut most = 0;
            for _ in 0..50 {
                smol::Timer::after(Duration::from_millis(1)).await;
                most = most.max(world.wires.budget.spent() - before);
            }
            assert!(most <= 12 * 1024, "{why}: {most} octets");
            drop(stranger);
            while world.wires.budget.spent() > before {
                smol::Timer::after(Duration::from_millis(1)).await;
            }
        }
    });
}

#[test]
fn whatever_a_stranger_may_say_is_heard() {
    World::run(|world| async move {
        let long = "x".repeat(1_024);
        let pairs: Vec<String> = (0..30).map(|n| format!("\"field-{n:024}\" \"{long}\"")).collect();
        let mut client = world.connect(LOOPBACK);
        client.line().await;
        assert!(client.ok(&format!("ID ({})", pairs.join(" "))).await.concat().starts_with("* ID ("));
        assert!(client.refused(&format!("LOGIN ({})", pairs.join(" "))).await.starts_with("BAD [TOOBIG]"));
        // The longest name and password that an account can have, in every form: wrong, but not too long.
        let (name, password) = ("n".repeat(320), "\\\"".repeat(1_024));
        assert!(client.refused(&format!("LOGIN {name} \"{password}\"")).await.starts_with("NO [AUTHENTICATIONFAILED]"));
        let mut client = world.connect(LOOPBACK);
        client.line().await;
        let literals = format!("l LOGIN {{320+}}\r\n{name} {{1024+}}\r\n{long}\r\n");
        client.send(literals.as_bytes()).await;
        assert!(client.tagged("l").await.1.starts_with("NO [AUTHENTICATIONFAILED]"));
        let plain = crate::sasl::base64::encode(format!("{name}\0{name}\0{long}").as_bytes());
        assert!(client.refused(&format!("AUTHENTICATE PLAIN {plain}")).await.starts_with("NO [AUTHENTICATIONFAILED]"));
        let mut client = world.connect(LOOPBACK);
        client.line().await;
        client.send(format!("p AUTHENTICATE PLAIN\r\n{plain}\r\n").as_bytes()).await;
        assert!(client.tagged("p").await.1.starts_with("NO [AUTHENTICATIONFAILED]"));
        client.ok(&format!("LOGIN {{17+}}\r\nalice@example.org \"{PASSWORD}\"")).await;
    });
}

#[test]
fn the_literal_of_a_line_too_long_is_not_taken_for_commands() {
    World::run(|world| async move {
        let mut client = world.alice().await;
        let line = format!("a SEARCH SUBJECT {} SUBJECT {{15+}}\r\nb CREATE gotten\r\n", "x".repeat(70_000));
        client.send(line.as_bytes()).await;
        assert!(client.line().await.starts_with("a BAD [TOOBIG]"));
        assert_eq!(client.ok("LIST \"\" gotten").await, [""; 0]);
        let line = format!("c SEARCH SUBJECT {} SUBJECT {{9999999+}}\r\nd NOOP\r\n", "x".repeat(70_000));
        client.send(line.as_bytes()).await;
        assert!(client.rest().await.starts_with("* BYE "));
    });
}

#[test]
fn the_stop_and_a_new_password_end_sessions_with_bye() {
    World::run(|world| async move {
        let mut alice = world.alice().await;
        world
            .context
            .accounts
            .set_password("alice@example.org", &Secret::new(b"other-words-9".to_vec()))
            .await
            .unwrap();
        assert!(alice.rest().await.starts_with("* BYE "));
        let mut stranger = world.connect(LOOPBACK);
        stranger.line().await;
        world.wires.stop.give();
        assert!(stranger.rest().await.starts_with("* BYE [UNAVAILABLE]"));
    });
}

#[test]
fn a_session_that_waits_is_small_and_holds_no_memory() {
    World::run(|world| async move {
        let mut idle = world.inbox().await;
        idle.send(b"i IDLE\r\n").await;
        idle.line().await;
        assert!(idle.is_silent().await);
        let selected = size_of::<crate::store::UidRange>();
        assert!(world.wires.budget.spent() <= 4 * selected, "{} octets", world.wires.budget.spent());
        let (ours, _theirs) = pipe(1);
        let wire = Wire::over_pipe(ours, LOOPBACK.into(), world.wires.clone());
        let task = serve(wire, world.context.clone());
        assert!(size_of_val(&task) < 1_000, "{} octets", size_of_val(&task));
    });
}

#[test]
fn when_the_budget_is_spent_commands_are_refused_politely() {
    World::run(|world| async move {
        let mut client = world.inbox().await;
        client.append("INBOX", SHORT).await;
        let budget = &world.wires.budget;
        let hog = budget.take(budget.total() - budget.spent() - 32 * 1024).unwrap();
        assert!(client.refused("FETCH 1 BODY[]").await.starts_with("NO [UNAVAILABLE]"));
        assert!(client.refused("SEARCH ALL").await.starts_with("NO [UNAVAILABLE]"));
        drop(hog);
        client.ok("FETCH 1 BODY[]").await;
    });
}
