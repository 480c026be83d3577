//! Plays every dialogue script in tests/scripts against whole sessions in memory: once as written, once with the client's
//! octets handed over one at a time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test"
)]

#[path = "support/client.rs"]
mod client;
#[path = "support/script.rs"]
mod script;
#[path = "support/world.rs"]
mod world;

use client::Client;
use script::{Act, Step, matches};
use smol::future;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use world::{Protocol, World};

/// An answer that has not come after so long, in real time, does not come.
const ANSWER: Duration = Duration::from_secs(20);

#[test]
fn every_script_gets_the_answers_it_expects() {
    play_all(false);
}

#[test]
fn every_script_gets_them_when_each_octet_comes_alone() {
    play_all(true);
}

/// `SCRIPT=name` plays those alone whose names hold it.
fn play_all(apart: bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let only = std::env::var("SCRIPT").unwrap_or_default();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "txt") && path.to_string_lossy().contains(&only));
    paths.sort();
    assert!(!paths.is_empty(), "no scripts");
    let failed: Vec<String> = paths.iter().filter_map(|path| smol::block_on(play(path, apart)).err()).collect();
    assert!(failed.is_empty(), "{} of {} scripts failed:\n\n{}", failed.len(), paths.len(), failed.join("\n\n"));
    println!("{} scripts", paths.len());
}

struct Player {
    world: World,
    clients: HashMap<String, Client>,
    protocols: HashMap<String, Protocol>,
    peers: HashMap<String, std::net::IpAddr>,
    apart: bool,
}

async fn play(path: &Path, apart: bool) -> Result<(), String> {
    let steps = script::read(path);
    let mut player = Player {
        world: World::new().await,
        clients: HashMap::new(),
        protocols: HashMap::new(),
        peers: HashMap::new(),
        apart,
    };
    let executor = player.world.executor();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut wildcards: Vec<String> = Vec::new();
    executor
        .run(async {
            for step in &steps {
                if let Act::Any(pattern) = &step.act {
                    wildcards.push(pattern.clone());
                    continue;
                }
                let outcome = player.step(step, &wildcards).await;
                if matches!(step.act, Act::Expect(_) | Act::Closed) {
                    wildcards.clear();
                }
                outcome.map_err(|what| {
                    format!("{name}:{}{}: {what}", step.line, if apart { " (octet by octet)" } else { "" })
                })?;
            }
            // Once its peer is gone, a session ends, as soon as whatever delay it is in has passed.
            player.clients.clear();
            let started = Instant::now();
            while !executor.is_empty() {
                if started.elapsed() > ANSWER {
                    return Err(format!("{name}: a session outlives its connection"));
                }
                smol::Timer::after(Duration::from_millis(1)).await;
                player.world.pass(Duration::from_millis(100));
            }
            Ok(())
        })
        .await
}

impl Player {
    async fn step(&mut self, step: &Step, wildcards: &[String]) -> Result<(), String> {
        let on = &step.connection;
        match &step.act {
            Act::Protocol(name) => {
                let protocol = Protocol::named(name).ok_or_else(|| format!("no protocol {name:?}"))?;
                self.protocols.insert(on.clone(), protocol);
                Ok(())
            }
            Act::Peer(address) => {
                let address = address.parse().map_err(|_| format!("no address {address:?}"))?;
                self.peers.insert(on.clone(), address);
                Ok(())
            }
            Act::Send(octets) => self.send(on, octets).await,
            Act::Tls => self.client(on).await?.start_tls().await.map_err(|error| format!("TLS: {error}")),
            Act::Passes(seconds) => {
                self.settle().await;
                self.world.pass(Duration::from_secs(*seconds));
                self.settle().await;
                Ok(())
            }
            Act::Expect(pattern) => loop {
                let Some(line) = self.line(on).await? else {
                    return Err(format!("expected {pattern:?}, the server closed"));
                };
                if matches(pattern, &line) {
                    return Ok(());
                }
                if !wildcards.iter().any(|any| matches(any, &line)) {
                    return Err(format!("expected {pattern:?}\n      got {line:?}"));
                }
            },
            Act::Closed => loop {
                match self.line(on).await? {
                    None => return Ok(()),
                    Some(line) if wildcards.iter().any(|any| matches(any, &line)) => {}
                    Some(line) => return Err(format!("expected the end, got {line:?}")),
                }
            },
            Act::Any(_) => Ok(()),
        }
    }

    async fn send(&mut self, on: &str, octets: &[u8]) -> Result<(), String> {
        // What comes in bulk is cut in larger pieces, or the run takes minutes.
        let piece = if self.apart { 1.max(octets.len() / 4096) } else { octets.len().max(1) };
        let client = self.client(on).await?;
        for piece in octets.chunks(piece) {
            let sent = future::or(client.send(piece), async {
                smol::Timer::after(ANSWER).await;
                false
            });
            if !sent.await {
                // The server may refuse and close before everything is sent; the next expectation shows it.
                return Ok(());
            }
            future::yield_now().await;
        }
        Ok(())
    }

    /// The next line; moves the clock on while a delayed answer is awaited.
    async fn line(&mut self, on: &str) -> Result<Option<String>, String> {
        let world = self.world.clone();
        let client = self.client(on).await?;
        let started = Instant::now();
        future::or(async { Ok(client.line().await) }, async {
            let mut passed = Duration::ZERO;
            while started.elapsed() < ANSWER {
                smol::Timer::after(Duration::from_millis(100)).await;
                if passed < Duration::from_secs(10) {
                    world.pass(Duration::from_millis(500));
                    passed += Duration::from_millis(500);
                }
            }
            Err(format!("no answer after {} s", ANSWER.as_secs()))
        })
        .await
    }

    /// Lets sessions do what they can do now.
    async fn settle(&self) {
        smol::Timer::after(Duration::from_millis(30)).await;
    }

    async fn client(&mut self, on: &str) -> Result<&mut Client, String> {
        if !self.clients.contains_key(on) {
            let first = self.protocols.get("").copied();
            let protocol = self.protocols.get(on).copied().or(first).ok_or("the script names no protocol")?;
            let peer = self.peers.get(on).or(self.peers.get("")).copied();
            let peer = peer.unwrap_or(std::net::Ipv4Addr::LOCALHOST.into());
            let mut client = Client::new(self.world.connect(protocol, peer));
            if protocol.tls_first() {
                client.start_tls().await.map_err(|error| format!("TLS: {error}"))?;
            }
            self.clients.insert(on.to_owned(), client);
        }
        self.clients.get_mut(on).ok_or_else(|| "no client".to_owned())
    }
}
