//! All fuzz targets in one program; the environment variable `PIGEON_FUZZ` chooses: smtp, imap, pop3, mime, values, replay.
//! A session's input is what a client sends; whatever it is, the session must end in step, without a panic, and the
//! memory budget must be whole again afterwards.
#![no_main]
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

#[path = "mail.rs"]
mod mail;
#[path = "../support/world.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use pigeon::base::{Budget, Clock, Workers};
use pigeon::store::sim::SimDisk;
use pigeon::store::{Date, Disk, FlagNames, NewMessage, OpenError, Options, Store};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Timer, future};
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use world::{Protocol, World};

/// A new world after so many sessions: what they have stored makes those after them slower, with 2,000 twice as slow.
const SESSIONS_MAX: u32 = 100;
/// After so long the throttle knows nobody any more.
const FORGOTTEN: Duration = Duration::from_secs(16 * 60);
/// A session must end so soon after its peer has gone. One of seventy lines, with what 1,900 before it had left, took 0.15 s; and once
/// more than 5, in a fuzzer that has the processor only where nobody else wants it.
const END: Duration = Duration::from_secs(60);

const BATCH_HEADER_BYTES: usize = 32;
const PAGE_BYTES: usize = 4096;

thread_local! {
    /// As a power cut leaves it: an account, two messages, nothing checkpointed.
    static TEMPLATE: SimDisk = {
        let disk = SimDisk::new();
        let store = open(&disk).expect("a new store");
        smol::block_on(async {
            store.account_add("a@b", Vec::new(), &[("INBOX", None)]).await.expect("an account");
            deliver(&store).await;
            deliver(&store).await;
        });
        let crashed = disk.revive();
        store.close();
        crashed
    };
    static WORKERS: Workers = Workers::new("reader", 1, 1 << 20).expect("a thread");
    static WORLD: RefCell<Option<(World, u32)>> = const { RefCell::new(None) };
}

fuzz_target!(|input: &[u8]| match std::env::var("PIGEON_FUZZ").as_deref() {
    Ok("smtp") => session(Protocol::Smtp, input),
    Ok("imap") => session(Protocol::Imap, input),
    Ok("pop3") => session(Protocol::Pop3, input),
    Ok("mime") => mail::scan(input),
    Ok("values") => mail::values(input),
    Ok("replay") => replay(input),
    other => panic!("PIGEON_FUZZ={other:?} names no target"),
});

fn session(protocol: Protocol, input: &[u8]) {
    let world = WORLD.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(_, played)| *played >= SESSIONS_MAX) {
            *slot = None;
            *slot = Some((smol::block_on(World::on(Arc::new(SimDisk::new()), None)), 0));
        }
        let (world, played) = slot.as_mut().expect("just made");
        *played += 1;
        world.clone()
    });
    smol::block_on(world.executor().run(async {
        let (mut read, mut write) = smol::io::split(world.connect(protocol, IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let talk = async {
            // The octets come in two pieces, cut at a place that the input decides.
            let cut = input.first().map_or(0, |&octet| usize::from(octet) % (input.len() + 1));
            drop(write.write_all(&input[..cut]).await);
            future::yield_now().await;
            drop(write.write_all(&input[cut..]).await);
            drop(write.close().await);
        };
        let listen = async {
            let mut some = [0; 4096];
            while !matches!(read.read(&mut some).await, Ok(0) | Err(_)) {}
        };
        let ended = async {
            future::zip(talk, listen).await;
            true
        };
        let ended = future::or(ended, async {
            // Delayed answers need the clock to move.
            let tick = Duration::from_micros(500);
            for _ in 0..END.as_micros() / tick.as_micros() {
                Timer::after(tick).await;
                world.pass(Duration::from_millis(500));
            }
            false
        });
        assert!(ended.await, "the session did not end");
        // Failed logins are forgotten: else every later one would have to wait.
        world.pass(FORGOTTEN);
    }));
}

/// A store whose log ends in whatever the input says: events under a right checksum (first octet even), or octets written over
/// the log (odd). It opens or says why not, and where it opened it takes mail and opens again.
fn replay(input: &[u8]) {
    let Some((&how, rest)) = input.split_first() else { return };
    let disk = TEMPLATE.with(|template| template.revive());
    let newest = disk.list("log").expect("a folder").into_iter().filter(|name| name.ends_with(".commit")).max();
    let name = format!("log/{}", newest.expect("a segment"));
    let mut segment = disk.contents(&name).expect("a segment");
    let end = batches_end(&segment);
    if how % 2 == 0 {
        let batch = batch_of(&end, rest);
        segment.resize(segment.len().max(end.offset + batch.len()), 0);
        segment[end.offset..end.offset + batch.len()].copy_from_slice(&batch);
    } else {
        let at = rest.first().map_or(0, |&page| usize::from(page) * 97) % segment.len();
        for (to, from) in segment[at..].iter_mut().zip(rest) {
            *to = *from;
        }
    }
    disk.put(&name, &segment);
    for _ in 0..2 {
        let Ok(store) = open(&disk) else { return };
        smol::block_on(deliver(&store));
        store.close();
    }
}

fn open(disk: &SimDisk) -> Result<Store, OpenError> {
    let options =
        Options { segment_bytes: 1 << 20, index_cache_bytes: 1 << 20, gather: Duration::ZERO, ..Options::default() };
    let workers = WORKERS.with(Clone::clone);
    Store::open_on(Arc::new(disk.clone()), options, Clock::simulated(0).0, workers, Budget::new(16 << 20))
}

async fn deliver(store: &Store) {
    let Ok(Some(account)) = store.account("a@b").await else { return };
    let Ok(Some(inbox)) = store.mailbox_by_name(account.id, "INBOX").await else { return };
    let mut body = store.body();
    if body.write(b"Subject: x\r\n\r\ny\r\n").await.is_err() {
        return;
    }
    let Ok(body) = body.finish().await else { return };
    let internal_date = Date { unix_s: 0, zone_minutes: 0 };
    drop(
        store
            .append(inbox.id, vec![(NewMessage { body, summary: Vec::new(), internal_date }, FlagNames::default())])
            .await,
    );
}

/// Where the batches of a segment end, and what the next one must name: the format that the head of `store::batch` draws.
struct End {
    number: u64,
    offset: usize,
    sequence: u64,
    crc: u32,
}

fn batches_end(segment: &[u8]) -> End {
    let number = u64::from_le_bytes(segment[16..24].try_into().expect("eight"));
    let mut end = End { number, offset: PAGE_BYTES, sequence: 0, crc: 0 };
    while segment.get(end.offset..end.offset + 4) == Some(b"PgB1") {
        let header = &segment[end.offset..end.offset + BATCH_HEADER_BYTES];
        let length = u32::from_le_bytes(header[16..20].try_into().expect("four")) as usize;
        end.sequence = u64::from_le_bytes(header[8..16].try_into().expect("eight"));
        end.crc = u32::from_le_bytes(header[24..28].try_into().expect("four"));
        end.offset += (BATCH_HEADER_BYTES + length).next_multiple_of(PAGE_BYTES);
    }
    end
}

/// A whole batch under a right checksum, whose events are the pieces of `input` between 0xFF octets.
fn batch_of(end: &End, input: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    for event in input.split(|&octet| octet == 0xFF).take(16) {
        payload.push(1);
        let mut length = event.len();
        while length >= 0x80 {
            payload.push(0x80 | (length & 0x7F) as u8);
            length >>= 7;
        }
        payload.push(length as u8);
        payload.extend_from_slice(event);
    }
    let mut batch = Vec::new();
    batch.extend_from_slice(b"PgB1");
    batch.extend_from_slice(&1u16.to_le_bytes());
    batch.extend_from_slice(&[0; 2]);
    batch.extend_from_slice(&(end.sequence + 1).to_le_bytes());
    batch.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    batch.extend_from_slice(&end.crc.to_le_bytes());
    batch.extend_from_slice(&[0; 8]);
    batch.extend_from_slice(&payload);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&end.number.to_le_bytes()), &batch);
    batch.splice(24..28, crc.to_le_bytes());
    batch.resize(batch.len().next_multiple_of(PAGE_BYTES), 0);
    batch
}
