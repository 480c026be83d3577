//! What dialogue scripts cannot say of SMTP: octets that race a handshake, the server's stop, an account that ends, memory that
//! is spent, a peer that never reads; that what was sent is what is stored, and that bare line ends never are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "support/client.rs"]
mod client;
#[path = "support/world.rs"]
mod world;

use client::Client;
use pigeon::base::Secret;
use pigeon::delivery::{self, Incoming};
use pigeon::store::{AccountId, Date, Entry, Message, Uid, UidSet};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use world::{Protocol, World};

/// base64 of NUL alice@example.org NUL wonderland-7
const ALICE: &str = "AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHdvbmRlcmxhbmQtNw==\r\n";
const TO_ALICE: &str = "MAIL FROM:<carol@example.net>\r\nRCPT TO:<alice@example.org>\r\n";

#[test]
fn plaintext_sent_ahead_of_the_handshake_is_discarded() {
    // RFC 3207 section 4.2, and CVE-2011-0411: what was pipelined behind STARTTLS must not run under TLS.
    run(async |world| {
        let mut client = hello(&world, Protocol::Smtp).await;
        say(&mut client, "STARTTLS\r\nEHLO eve.example.com\r\nMAIL FROM:<eve@example.com>\r\n", "220 2.0.0").await;
        client.start_tls().await.unwrap();
        say(&mut client, "NOOP\r\n", "250 2.0.0").await;
        say(&mut client, "RCPT TO:<alice@example.org>\r\n", "503 ").await;
        say(&mut client, "MAIL FROM:<carol@example.net>\r\n", "503 ").await;
    });
}

#[test]
fn the_stop_reaches_a_waiting_client_and_one_in_the_middle_of_data() {
    run(async |world| {
        let mut idle = hello(&world, Protocol::Smtp).await;
        let mut busy = hello(&world, Protocol::Smtp).await;
        begin_data(&mut busy).await;
        assert!(busy.send(b"Subject: half\r\n").await);
        world.stop();
        for client in [&mut idle, &mut busy] {
            assert!(client.line().await.unwrap().starts_with("421 4.3.2 mx.example.org"));
            assert_eq!(client.line().await, None);
        }
        assert_eq!(inbox(&world, "alice@example.org").await.len(), 0);
    });
}

#[test]
fn a_changed_password_ends_a_submission_session() {
    run(async |world| {
        let mut client = hello(&world, Protocol::Submissions).await;
        say(&mut client, ALICE, "235 2.7.0").await;
        world.accounts().set_password("alice@example.org", &Secret::new(b"looking-glass-8".to_vec())).await.unwrap();
        assert!(client.line().await.unwrap().starts_with("421 4.7.0 mx.example.org"));
        assert_eq!(client.line().await, None);
    });
}

#[test]
fn when_memory_is_spent_mail_is_put_off_and_the_next_client_is_served() {
    run(async |world| {
        let mut client = hello(&world, Protocol::Smtp).await;
        begin_data(&mut client).await;
        let all = world.budget().total() - world.budget().spent();
        let grant = world.budget().take(all).unwrap();
        assert!(client.send(&[b'x'; 20_000]).await);
        assert!(client.send(b"\r\n.\r\n").await);
        // RFC 5321 4.2.4 with RFC 3463 3.4: 421 or 452, 4.3.1.
        let answer = client.line().await.unwrap();
        assert!(answer.contains(" 4.3.1 "), "{answer}");
        drop(grant);
        drop(client);
        let mut next = hello(&world, Protocol::Smtp).await;
        deliver(&mut next, b"Subject: next\r\n").await;
        assert_eq!(inbox(&world, "alice@example.org").await.len(), 1);
    });
}

#[test]
fn an_idle_connection_holds_no_memory_of_the_budget() {
    run(async |world| {
        let before = world.budget().spent();
        let mut client = hello(&world, Protocol::Smtp).await;
        deliver(&mut client, b"Subject: one\r\n").await;
        assert_eq!(world.budget().spent(), before);
    });
}

#[test]
fn a_peer_that_never_reads_is_left_after_a_few_minutes() {
    run(async |world| {
        let mut deaf = Client::new(world.connect(Protocol::Smtp, PEER));
        let before = world.budget().spent();
        // Far more replies than the connection's buffers hold.
        let flood = smol::future::or(
            async {
                while deaf.send(&b"HELP\r\n".repeat(1_000)).await {}
                true
            },
            async {
                smol::Timer::after(Duration::from_millis(500)).await;
                false
            },
        );
        assert!(!flood.await, "the server stopped reading");
        let held = world.budget().spent() - before;
        assert!(held <= 64 * 1024, "{held} octets held for a peer that does not read");
        for seconds in [181, 31] {
            world.pass(Duration::from_secs(seconds));
            smol::Timer::after(Duration::from_millis(50)).await;
        }
        assert_eq!(world.budget().spent(), before, "the session has ended");
    });
}

#[test]
fn a_message_for_two_is_stored_once() {
    run(async |world| {
        let mut client = hello(&world, Protocol::Smtp).await;
        say(&mut client, "MAIL FROM:<carol@example.net>\r\n", "250 ").await;
        say(&mut client, "RCPT TO:<team@example.org>\r\n", "250 ").await;
        say(&mut client, "DATA\r\n", "354 ").await;
        say(&mut client, "Subject: both\r\n.\r\n", "250 2.0.0").await;
        let alice = inbox(&world, "alice@example.org").await;
        let bob = inbox(&world, "bob@example.org").await;
        assert_eq!((alice.len(), bob.len()), (1, 1));
        assert_eq!(alice[0].0.message, bob[0].0.message);
        assert_eq!(alice[0].1.internal_date.unix_s, world::START_S);
    });
}

#[test]
fn an_account_removed_between_rcpt_and_data_is_passed_over() {
    run(async |world| {
        let mut both = hello(&world, Protocol::Smtp).await;
        say(&mut both, "MAIL FROM:<carol@example.net>\r\n", "250 ").await;
        say(&mut both, "RCPT TO:<team@example.org>\r\n", "250 ").await;
        let mut bob = hello(&world, Protocol::Smtp).await;
        say(&mut bob, "MAIL FROM:<carol@example.net>\r\n", "250 ").await;
        say(&mut bob, "RCPT TO:<bob@example.org>\r\n", "250 ").await;
        world.accounts().alias_remove("team@example.org").await.unwrap();
        world.accounts().account_remove("bob@example.org").await.unwrap();
        for (client, answer) in [(&mut both, "250 2.0.0"), (&mut bob, "550 5.1.1")] {
            say(client, "DATA\r\n", "354 ").await;
            say(client, "Subject: late\r\n.\r\n", answer).await;
        }
        assert_eq!(inbox(&world, "alice@example.org").await.len(), 1);
    });
}

#[test]
fn a_delivery_names_the_accounts_that_have_gone() {
    run(async |world| {
        let id = async |address| world.accounts().account(address).await.unwrap().id;
        let (alice, bob) = (id("alice@example.org").await, id("bob@example.org").await);
        world.accounts().alias_remove("team@example.org").await.unwrap();
        world.accounts().account_remove("bob@example.org").await.unwrap();
        let mut incoming = Incoming::new(world.store());
        incoming.write(b"Subject: late\r\n\r\n").await.unwrap();
        let message = incoming.finish(Date { unix_s: 0, zone_minutes: 0 }).await.unwrap();
        assert_eq!(delivery::deliver(world.store(), message, &[bob, alice, bob]).await.unwrap(), [bob]);
        assert_eq!(inbox(&world, "alice@example.org").await.len(), 1);
    });
}

#[test]
fn what_is_sent_is_what_is_stored() {
    // Lines of any octets but NUL, CR and LF, by DATA or by chunks that cut them anywhere.
    let world = smol::block_on(World::new());
    let line = prop_oneof!["\\.{0,3}[ -~]{0,20}".prop_map(String::into_bytes), proptest::collection::vec(1u8.., 0..30)];
    let messages = proptest::collection::vec(line, 0..12);
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(lines in messages, by_chunks: bool, ends: bool, piece in 1usize..40)| {
        let clean = |line: &Vec<u8>| line.iter().filter(|octet| !b"\r\n".contains(octet)).copied().collect::<Vec<u8>>();
        let mut message: Vec<u8> = lines.iter().flat_map(|line| [clean(line), b"\r\n".to_vec()].concat()).collect();
        if by_chunks && !ends {
            // RFC 3030 2: what LAST ends need not end a line.
            message.extend_from_slice(b"last");
        }
        let world = world.clone();
        let executor = world.executor();
        let stored = smol::block_on(executor.run(async {
            let mut client = hello(&world, Protocol::Smtp).await;
            match by_chunks {
                true => assert!(send_in_chunks(&mut client, &message, piece).await.starts_with("250 2.0.0")),
                false => deliver(&mut client, &message).await,
            }
            let last = inbox(&world, "alice@example.org").await.pop().unwrap().1;
            body(&world, &last).await
        }));
        // Exactly two fields are on top: Return-Path, and Received in three lines.
        let top: Vec<&[u8]> = stored.split_inclusive(|octet| *octet == b'\n').take(4).collect();
        prop_assert!(top[0] == b"Return-Path: <carol@example.net>\r\n" && top[1].starts_with(b"Received: from "));
        prop_assert!(top[2].starts_with(b"\t") && top[3].starts_with(b"\t"));
        prop_assert_eq!(&stored[top.concat().len()..], &message[..]);
    });
}

#[test]
fn chunks_with_a_bare_cr_or_lf_are_refused_wherever_they_are_cut() {
    // RFC 3030 section 3: only BINARYMIME, which is not offered, would allow them; sent on, they could end a message elsewhere.
    let world = smol::block_on(World::new());
    let config = ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(text in "(a|\\.|\r\n|\r|\n){0,12}", piece in 1usize..8)| {
        let is_bare = text.replace("\r\n", "").contains(['\r', '\n']);
        let world = world.clone();
        let executor = world.executor();
        smol::block_on(executor.run(async {
            let before = inbox(&world, "alice@example.org").await.len();
            let mut client = hello(&world, Protocol::Smtp).await;
            let answer = send_in_chunks(&mut client, text.as_bytes(), piece).await;
            let want = if is_bare { "550 5.6.11" } else { "250 2.0.0" };
            assert!(answer.starts_with(want), "{text:?} by {piece}: {answer}");
            let stored = inbox(&world, "alice@example.org").await.len() - before;
            assert_eq!(stored, usize::from(!is_bare), "{text:?}");
        }));
    });
}

#[test]
fn garbage_never_breaks_a_session() {
    let world = smol::block_on(World::new());
    let word = prop_oneof![
        "(EHLO|MAIL|RCPT|DATA|BDAT|RSET|AUTH|NOOP|VRFY)( [ -~]{0,12})?\r\n".prop_map(String::into_bytes),
        Just(TO_ALICE.as_bytes().to_vec()),
        Just(b"DATA\r\n".to_vec()),
        Just(b"EHLO x\r\n".to_vec()),
        Just(b"\r\n.\r\n".to_vec()),
        "BDAT [0-9]{1,3}( LAST)?\r\n".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    let config = ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(words in proptest::collection::vec(word, 0..16))| {
        let world = world.clone();
        let executor = world.executor();
        smol::block_on(executor.run(async {
            let mut wild = Client::new(world.connect(Protocol::Smtp, PEER));
            for word in &words {
                wild.send(word).await;
            }
            drop(wild);
            // The next client is served.
            let mut next = hello(&world, Protocol::Smtp).await;
            say(&mut next, "NOOP\r\n", "250 ").await;
        }));
    });
}

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn run(test: impl AsyncFnOnce(World)) {
    smol::block_on(async {
        let world = World::new().await;
        let executor = world.executor();
        executor.run(test(world)).await;
    });
}

/// A client that has said EHLO.
async fn hello(world: &World, protocol: Protocol) -> Client {
    let mut client = Client::new(world.connect(protocol, PEER));
    if protocol.tls_first() {
        client.start_tls().await.unwrap();
    }
    assert!(client.line().await.unwrap().starts_with("220 mx.example.org "));
    assert!(client.send(b"EHLO client.example.net\r\n").await);
    while client.line().await.unwrap().starts_with("250-") {}
    client
}

/// Sends, and expects one line that begins so.
async fn say(client: &mut Client, text: &str, start: &str) {
    assert!(client.send(text.as_bytes()).await, "{text}: the server has closed");
    let line = client.line().await.unwrap_or_default();
    assert!(line.starts_with(start), "{text}: expected {start}, got {line}");
}

async fn begin_data(client: &mut Client) {
    assert!(client.send(TO_ALICE.as_bytes()).await);
    for _ in 0..2 {
        assert!(client.line().await.unwrap().starts_with("250 "));
    }
    say(client, "DATA\r\n", "354 ").await;
}

/// By DATA; `message` is made of whole lines.
async fn deliver(client: &mut Client, message: &[u8]) {
    begin_data(client).await;
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        let dot: &[u8] = if line.first() == Some(&b'.') { b"." } else { b"" };
        assert!(client.send(&[dot, line].concat()).await);
    }
    say(client, ".\r\n", "250 2.0.0").await;
}

/// By BDAT; the answer to the last chunk, or to the one that was refused.
async fn send_in_chunks(client: &mut Client, message: &[u8], piece: usize) -> String {
    assert!(client.send(TO_ALICE.as_bytes()).await);
    for _ in 0..2 {
        assert!(client.line().await.unwrap().starts_with("250 "));
    }
    for chunk in message.chunks(piece) {
        let command = format!("BDAT {}\r\n", chunk.len());
        assert!(client.send(&[command.as_bytes(), chunk].concat()).await);
        let answer = client.line().await.unwrap();
        if !answer.starts_with("250 2.0.0") {
            return answer;
        }
    }
    assert!(client.send(b"BDAT 0 LAST\r\n").await);
    client.line().await.unwrap()
}

/// Everything in an account's INBOX.
async fn inbox(world: &World, address: &str) -> Vec<(Entry, Message)> {
    let account: AccountId = world.accounts().account(address).await.unwrap().id;
    let inbox = world.store().mailbox_by_name(account, "INBOX").await.unwrap().unwrap();
    let (mut all, mut from) = (Vec::new(), Uid(1));
    loop {
        let part = world.store().messages(inbox.id, &UidSet::range(from, Uid(u32::MAX)), 100).await.unwrap();
        let Some((last, _)) = part.last() else { return all };
        from = Uid(last.uid.0 + 1);
        all.extend(part);
    }
}

async fn body(world: &World, message: &Message) -> Vec<u8> {
    let mut reader = world.store().read(message.blob).await.unwrap();
    let mut octets = Vec::new();
    while (octets.len() as u64) < reader.len() {
        let part = reader.at(octets.len() as u64).await.unwrap();
        octets.extend_from_slice(part);
    }
    octets
}
