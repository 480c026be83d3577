//! POP3 sessions over pipes and a real store, for what the dialogue scripts cannot say: octets in unusual places, plain text
//! ahead of TLS, the server's stop, a spent budget, lost connections, garbage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use pigeon::accounts::Accounts;
use pigeon::base::{Budget, Clock, Secret, Simulated, Stop, Workers};
use pigeon::delivery::{Incoming, deliver};
use pigeon::net::{PipeEnd, Wire, WireOptions, pipe};
use pigeon::pop3;
use pigeon::store::{AccountId, Date, FlagChange, FlagNames, Flags, Options, Store};
use pigeon::tls::Tls;
use smol::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use smol::{Executor, Timer, future};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// An answer that has not come after so long, in real time, does not come.
const ANSWER: Duration = Duration::from_secs(20);

struct World {
    executor: Arc<Executor<'static>>,
    context: pop3::Context,
    options: WireOptions,
    hand: Arc<Simulated>,
    alice: AccountId,
    data: TempDir,
}

/// example.org with alice, whose INBOX holds `messages`.
fn world<T>(messages: &[&[u8]], test: impl AsyncFnOnce(&World) -> T) -> T {
    world_with(16 << 20, messages, test)
}

fn world_with<T>(budget_bytes: usize, messages: &[&[u8]], test: impl AsyncFnOnce(&World) -> T) -> T {
    smol::block_on(async {
        let (clock, hand) = Clock::simulated(1_773_480_413);
        let data = tempfile::tempdir().unwrap();
        let options = Options {
            segment_bytes: 1 << 20,
            index_cache_bytes: 1 << 20,
            gather: Duration::from_millis(3),
            ..Options::default()
        };
        let workers = Workers::new("reader", 2, 1 << 20).unwrap();
        let store = Store::open(data.path(), options, clock.clone(), workers, Budget::new(16 << 20)).unwrap();
        let accounts = Accounts::new(store.clone(), clock.clone()).unwrap();
        let alice = accounts.account_add("alice@example.org", &secret("wonderland-7")).await.unwrap();
        let context = pop3::Context {
            hostname: "mx.example.org".into(),
            store: store.clone(),
            accounts,
            tls: Tls::in_memory().unwrap(),
        };
        let options = WireOptions { budget: Budget::new(budget_bytes), clock, stop: Arc::new(Stop::new()) };
        let world = World { executor: Arc::new(Executor::new()), context, options, hand, alice, data };
        for message in messages {
            world.deliver(message).await;
        }
        let executor = world.executor.clone();
        let outcome = executor.run(test(&world)).await;
        store.close();
        outcome
    })
}

impl World {
    async fn deliver(&self, message: &[u8]) {
        let mut incoming = Incoming::new(&self.context.store);
        incoming.write(message).await.unwrap();
        let message = incoming.finish(Date { unix_s: 0, zone_minutes: 0 }).await.unwrap();
        deliver(&self.context.store, message, &[self.alice]).await.unwrap();
    }

    fn connect(&self) -> Client {
        self.connect_from(Ipv4Addr::LOCALHOST.into())
    }

    fn connect_from(&self, peer: IpAddr) -> Client {
        let (ours, theirs) = pipe(64 * 1024);
        let wire = Wire::over_pipe(ours, SocketAddr::new(peer, 40_000), self.options.clone());
        self.executor.spawn(pop3::serve(wire, self.context.clone())).detach();
        Client(BufReader::new(theirs))
    }

    /// A client that has logged in.
    async fn log_in(&self) -> Client {
        let mut client = self.connect();
        client.expect("+OK").await;
        client.say("USER alice").await;
        client.expect("+OK").await;
        client.say("PASS wonderland-7").await;
        client.expect("+OK").await;
        client
    }

    async fn stat(&self) -> String {
        let mut client = self.log_in().await;
        client.say("STAT").await;
        client.line().await.unwrap()
    }
}

struct Client(BufReader<PipeEnd>);

impl Client {
    async fn say(&mut self, line: &str) {
        self.send(format!("{line}\r\n").as_bytes()).await;
    }

    async fn send(&mut self, octets: &[u8]) {
        self.0.get_mut().write_all(octets).await.unwrap();
    }

    /// The next line without its end; `None` when the server has closed.
    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        in_time(self.0.read_until(b'\n', &mut line)).await.unwrap();
        (!line.is_empty()).then(|| String::from_utf8_lossy(&line).trim_end_matches("\r\n").to_owned())
    }

    async fn expect(&mut self, start: &str) {
        let line = self.line().await;
        assert!(line.as_deref().is_some_and(|line| line.starts_with(start)), "wanted {start:?}, got {line:?}");
    }

    /// A multi-line answer's octets after its first line, up to CRLF, dot, CRLF.
    async fn answer(&mut self, command: &str) -> Vec<u8> {
        self.say(command).await;
        self.expect("+OK").await;
        let mut octets = b"\r\n".to_vec();
        while !octets.ends_with(b"\r\n.\r\n") {
            let mut octet = [0];
            in_time(self.0.read_exact(&mut octet)).await.unwrap();
            octets.push(octet[0]);
        }
        octets.split_off(2)
    }

    async fn rest(mut self) -> String {
        let mut octets = Vec::new();
        in_time(self.0.read_to_end(&mut octets)).await.unwrap();
        String::from_utf8_lossy(&octets).into_owned()
    }
}

#[test]
fn messages_of_every_shape_come_out_as_they_are_stored() {
    let big: Vec<u8> = (0..300_000u32).map(|n| if n % 71 == 70 { b'\n' } else { b'a' + (n % 23) as u8 }).collect();
    let long_line = [b"Subject: long\r\n\r\n".as_slice(), &[b'x'; 200_000], b"\r\n"].concat();
    let rows: [(&[u8], &[u8], &str); 9] = [
        (b"Subject: a\r\n\r\nb\r\n", b"Subject: a\r\n\r\nb\r\n.\r\n", "ordinary"),
        (b"Subject: a\r\n\r\nb", b"Subject: a\r\n\r\nb\r\n.\r\n", "no line end at the end"),
        (b"Subject: a\n\nb\n", b"Subject: a\n\nb\n\r\n.\r\n", "bare LF"),
        (b"Subject: a\r\r\rb", b"Subject: a\r\r\rb\r\n.\r\n", "bare CR"),
        (b".\r\n.\n.", b"..\r\n..\n..\r\n.\r\n", "dots"),
        (b"\r\n", b"\r\n.\r\n", "an empty line alone"),
        (b"\xff\xfe\x80\r\n", b"\xff\xfe\x80\r\n.\r\n", "no text"),
        (&big, &[&big[..], b"\r\n.\r\n"].concat(), "many chunks"),
        (&long_line, &[&long_line[..], b".\r\n"].concat(), "a very long line"),
    ];
    let messages: Vec<&[u8]> = rows.iter().map(|(message, _, _)| *message).collect();
    world(&messages, async |world| {
        let mut client = world.log_in().await;
        for (number, (message, expected, why)) in (1..).zip(rows) {
            client.say(&format!("LIST {number}")).await;
            client.expect(&format!("+OK {number} {}", message.len())).await;
            let got = client.answer(&format!("RETR {number}")).await;
            assert!(got == expected, "{why}: {}", got.escape_ascii());
        }
    });
}

#[test]
fn unique_ids_are_the_same_in_every_session_and_never_used_again() {
    world(&[b"a\r\n", b"b\r\n", b"c\r\n"], async |world| {
        let ids = async || {
            let mut client = world.log_in().await;
            let text = String::from_utf8(client.answer("UIDL").await).unwrap();
            let ids = text.lines().filter_map(|line| line.split_once(' ')).map(|(_, id)| id.to_owned());
            let ids: Vec<String> = ids.collect();
            (client, ids)
        };
        let (mut client, before) = ids().await;
        for id in &before {
            // RFC 1939 section 7: 1 to 70 characters from 0x21 to 0x7E.
            assert!((1..=70).contains(&id.len()) && id.bytes().all(|c| (0x21..=0x7e).contains(&c)), "{id}");
        }
        client.say("DELE 3").await;
        client.expect("+OK").await;
        client.say("QUIT").await;
        client.expect("+OK").await;
        assert_eq!(client.line().await, None);
        world.deliver(b"d\r\n").await;
        let (_, after) = ids().await;
        assert_eq!(after[..2], before[..2]);
        assert!(!before.contains(&after[2]), "{before:?} {after:?}");
    });
}

#[test]
fn plain_text_sent_ahead_of_tls_is_dropped() {
    world(&[], async |world| {
        let mut client = world.connect_from([192, 0, 2, 7].into());
        client.expect("+OK").await;
        client.send(b"STLS\r\nUSER alice\r\nPASS wonderland-7\r\nSTAT\r\n").await;
        client.expect("+OK").await;
        // What follows in plain text is no handshake either: no answer but the end (or an alert, which is no POP3).
        client.send(b"STAT\r\n").await;
        let rest = client.rest().await;
        assert!(!rest.contains("+OK") && !rest.contains("-ERR"), "{rest:?}");
    });
}

#[test]
fn a_lost_connection_removes_nothing() {
    world(&[b"a\r\n", b"b\r\n"], async |world| {
        let mut client = world.log_in().await;
        client.say("DELE 1").await;
        client.expect("+OK").await;
        drop(client);
        settle().await;
        assert_eq!(world.stat().await, "+OK 2 6");
    });
}

#[test]
fn quit_removes_thousands_before_it_answers() {
    let messages = vec![b"a\r\n".as_slice(); 1_200];
    world(&messages, async |world| {
        let mut client = world.log_in().await;
        let all: String = (1..=1_200).filter(|n| n % 600 != 0).map(|n| format!("DELE {n}\r\n")).collect();
        let mut got = 0;
        for part in all.as_bytes().chunks(2_000) {
            client.send(part).await;
            for _ in part.iter().filter(|octet| **octet == b'\n') {
                client.expect("+OK").await;
                got += 1;
            }
        }
        assert_eq!(got, 1_198);
        client.say("QUIT").await;
        client.expect("+OK").await;
        assert_eq!(client.line().await, None);
        assert_eq!(world.stat().await, "+OK 2 6");
    });
}

#[test]
fn a_message_that_imap_has_taken_out_is_refused_and_quit_does_not_mind() {
    world(&[b"a\r\n", b"b\r\n"], async |world| {
        let mut client = world.log_in().await;
        client.say("DELE 2").await;
        client.expect("+OK").await;
        let store = &world.context.store;
        let inbox = store.mailbox_by_name(world.alice, "INBOX").await.unwrap().unwrap();
        let (uids, _) = store.uids(inbox.id).await.unwrap();
        let flags = FlagNames { system: Flags::DELETED, keywords: Vec::new() };
        store.flags(inbox.id, uids.clone(), FlagChange::Add, flags, None).await.unwrap();
        store.expunge(inbox.id, uids, true).await.unwrap();
        for command in ["RETR 1", "TOP 1 0", "LIST 1", "DELE 1"] {
            client.say(command).await;
            client.expect("-ERR").await;
        }
        assert_eq!(client.answer("LIST").await, b".\r\n");
        client.say("QUIT").await;
        client.expect("+OK").await;
    });
}

/// Nothing can be said in the middle of a message, so the session ends there: once, and not whenever a client comes for its mail.
#[test]
fn a_damaged_message_holds_up_no_other_for_ever() {
    let mut state = 1_u32;
    let mut octet = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'0' + (state >> 26) as u8
    };
    // No compression makes it smaller.
    let noise: Vec<u8> = (0..150_000).map(|n| if n % 75 == 74 { b'\n' } else { octet() }).collect();
    let large = [b"Subject: a\r\n\r\n", &noise[..]].concat();
    world(&[b"a\r\n", &large, b"b\r\n"], async |world| {
        let mut flipped = 0;
        for entry in std::fs::read_dir(world.data.path().join("log")).unwrap() {
            let path = entry.unwrap().path();
            let mut octets = std::fs::read(&path).unwrap();
            if let Some(at) = memchr::memmem::find(&octets, &large[149_000..149_100]) {
                octets[at] ^= 1;
                std::fs::write(&path, octets).unwrap();
                flipped += 1;
            }
        }
        assert_eq!(flipped, 1);
        let mut client = world.log_in().await;
        client.say("RETR 2").await;
        client.expect("+OK 150014 ").await;
        let got = client.rest().await;
        assert!(got.len() >= 64 * 1024 && !got.ends_with("\r\n.\r\n"), "{} octets", got.len());
        let mut client = world.log_in().await;
        assert_eq!(client.answer("RETR 1").await, b"a\r\n.\r\n");
        client.say("RETR 2").await;
        client.expect("-ERR [SYS/PERM] ").await;
        assert_eq!(client.answer("RETR 3").await, b"b\r\n.\r\n");
        assert_eq!(client.answer("TOP 2 0").await, b"Subject: a\r\n\r\n.\r\n");
    });
}

#[test]
fn the_stop_is_told_and_the_connection_closed() {
    world(&[], async |world| {
        let (mut one, two) = (world.connect(), world.log_in().await);
        one.expect("+OK").await;
        settle().await;
        world.options.stop.give();
        for client in [one, two] {
            let rest = client.rest().await;
            assert!(rest.starts_with("-ERR [SYS/TEMP] ") && rest.ends_with("\r\n"), "{rest:?}");
        }
    });
}

#[test]
fn a_changed_password_ends_the_session_and_nothing_is_removed() {
    world(&[b"a\r\n"], async |world| {
        let mut client = world.log_in().await;
        client.say("DELE 1").await;
        client.expect("+OK").await;
        world.context.accounts.set_password("alice@example.org", &secret("looking-glass-8")).await.unwrap();
        assert!(client.rest().await.starts_with("-ERR "));
        let inbox = world.context.store.mailbox_by_name(world.alice, "INBOX").await.unwrap().unwrap();
        assert_eq!(inbox.exists, 1);
    });
}

#[test]
fn a_spent_budget_refuses_politely_and_the_next_client_is_served() {
    world_with(64 * 1024, &[b"a\r\n"], async |world| {
        let grant = world.options.budget.take(64 * 1024).unwrap();
        let mut client = world.connect();
        client.expect("+OK").await;
        client.say("USER alice").await;
        assert!(client.rest().await.starts_with("-ERR [SYS/TEMP] "));
        drop(grant);
        assert_eq!(world.stat().await, "+OK 1 3");
    });
}

#[test]
fn garbage_gets_refusals_and_an_end_and_harms_nobody() {
    world(&[b"a\r\n"], async |world| {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for _ in 0..20 {
            let mut client = world.connect();
            let garbage: Vec<u8> = (0..20_000).map(|_| random()).collect();
            // The server may close before it has taken everything.
            let sent = client.0.get_mut().write_all(&garbage);
            let taken = future::or(async { sent.await.is_ok() }, async {
                Timer::after(ANSWER).await;
                false
            });
            taken.await;
            let closed = client.0.get_mut().close().await;
            drop(closed);
            let text = client.rest().await;
            assert!(text.lines().all(|line| line.starts_with("+OK") || line.starts_with("-ERR")), "{text:?}");
        }
        assert_eq!(world.stat().await, "+OK 1 3");
    });
}

#[test]
fn one_octet_a_minute_does_not_hold_a_connection() {
    world(&[], async |world| {
        let mut client = world.connect();
        client.expect("+OK").await;
        for _ in 0..11 {
            if client.0.get_mut().write_all(b"x").await.is_err() {
                return; // closed
            }
            settle().await;
            world.hand.advance(Duration::from_secs(60));
            settle().await;
        }
        assert_eq!(client.line().await, None);
    });
}

#[test]
fn a_client_that_never_reads_is_given_up() {
    let big = vec![b'x'; 500_000];
    world(&[&big], async |world| {
        let mut client = world.log_in().await;
        client.say("RETR 1").await;
        settle().await;
        world.hand.advance(Duration::from_secs(200));
        settle().await;
        assert!(client.rest().await.len() < big.len(), "the answer breaks off");
    });
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

/// Lets sessions do what they can do now.
async fn settle() {
    Timer::after(Duration::from_millis(50)).await;
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    future::or(work, async {
        Timer::after(ANSWER).await;
        panic!("no answer within {} s", ANSWER.as_secs())
    })
    .await
}

#[test]
fn a_waiting_session_is_small() {
    world(&[], async |world| {
        let (ours, _theirs) = pipe(1);
        let wire = Wire::over_pipe(ours, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1), world.options.clone());
        let session = pop3::serve(wire, world.context.clone());
        let bytes = size_of_val(&session);
        println!("a POP3 session's future: {bytes} octets");
        assert!(bytes <= 3 * 1024, "{bytes} octets");
    });
}
