//! What a client sends in plain text ahead of the TLS handshake is thrown away, in one piece with STARTTLS or not (RFC 3207
//! 4.2, RFC 2595 4, RFC 9051 6.2.1): else somebody in the middle could put words into its mouth. Not a dialogue script, since
//! it only holds when both lines come at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/client.rs"]
mod client;
#[path = "support/world.rs"]
mod world;

use client::Client;
use smol::future;
use std::net::Ipv4Addr;
use std::time::Duration;
use world::{Protocol, World};

/// What comes before, what is sent at once and answered in plain text, what is asked under TLS, and the answer to that.
struct Row {
    protocol: Protocol,
    before: &'static [(&'static str, &'static str)],
    at_once: &'static str,
    plain: &'static str,
    asked: &'static str,
    answer: &'static str,
}

const ROWS: [Row; 4] = [
    // Had LOGIN been taken, SELECT would be.
    Row {
        protocol: Protocol::Imap,
        before: &[("", "* OK ")],
        at_once: "a STARTTLS\r\nb LOGIN alice@example.org wonderland-7\r\n",
        plain: "a OK ",
        asked: "c SELECT INBOX\r\n",
        answer: "c BAD ",
    },
    // Had MAIL been taken, RCPT would be.
    Row {
        protocol: Protocol::Smtp,
        before: &[("", "220 "), ("HELO client.example.net\r\n", "250 ")],
        at_once: "STARTTLS\r\nEHLO other.example.net\r\nMAIL FROM:<carol@example.net>\r\n",
        plain: "220 ",
        asked: "RCPT TO:<alice@example.org>\r\n",
        answer: "503 ",
    },
    Row {
        protocol: Protocol::Submission,
        before: &[("", "220 "), ("HELO client.example.net\r\n", "250 ")],
        at_once: "STARTTLS\r\nEHLO other.example.net\r\nAUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHdvbmRlcmxhbmQtNw==\r\n",
        plain: "220 ",
        asked: "MAIL FROM:<alice@example.org>\r\n",
        answer: "5",
    },
    // Had the login been taken, STAT would be.
    Row {
        protocol: Protocol::Pop3,
        before: &[("", "+OK")],
        at_once: "STLS\r\nUSER alice@example.org\r\nPASS wonderland-7\r\n",
        plain: "+OK",
        asked: "STAT\r\n",
        answer: "-ERR",
    },
];

#[test]
fn what_comes_ahead_of_the_handshake_is_thrown_away() {
    for row in ROWS {
        let play = async {
            let world = World::new().await;
            let executor = world.executor();
            executor.run(play(&world, &row)).await;
        };
        let late = async {
            smol::Timer::after(Duration::from_secs(20)).await;
            panic!("{:?}: no answer", row.protocol);
        };
        smol::block_on(future::or(play, late));
    }
}

async fn play(world: &World, row: &Row) {
    let mut client = Client::new(world.connect(row.protocol, Ipv4Addr::LOCALHOST.into()));
    for (said, answer) in row.before {
        assert!(client.send(said.as_bytes()).await);
        expect(&mut client, row, answer).await;
    }
    assert!(client.send(row.at_once.as_bytes()).await);
    expect(&mut client, row, row.plain).await;
    client.start_tls().await.expect("the handshake is not disturbed by what came before");
    assert!(client.send(row.asked.as_bytes()).await);
    // Nothing else is answered: this is the first line under TLS.
    expect(&mut client, row, row.answer).await;
}

async fn expect(client: &mut Client, row: &Row, start: &str) {
    let line = client.line().await.expect("a line");
    assert!(line.starts_with(start), "{:?}: expected {start:?}, got {line:?}", row.protocol);
}
