//! Simulated power cuts: real sessions of every protocol work on a store on a simulated disk; the power goes at every
//! operation of the disk, and every promise is looked at in what is left.
//!
//!     PIGEON_CUTS=1000000     so many cuts, with progress
//!     PIGEON_SEED=17          only this seed

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    dead_code,
    reason = "a test that cannot go on may stop"
)]

#[path = "support/client.rs"]
mod client;
mod power;
mod store_support;
#[path = "support/world.rs"]
mod world;

use power::life::Time;
use power::run::{Plan, run};
use power::steps::Table;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Cuts of a run without an argument.
const CUTS: u64 = 4_000;
const THREADS: usize = 2;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Every fourth seed runs with threads that go their own way, the others in step, so that they can be run again.
fn plan(seed: u64) -> Plan {
    Plan { seed, in_step: !seed.is_multiple_of(4), time: Time::Ordinary, cuts_max: u64::MAX }
}

fn command(seed: u64) -> String {
    format!("PIGEON_SEED={seed} cargo test --test power_cuts a_power_cut_at_any_operation -- --nocapture")
}

#[test]
fn a_power_cut_at_any_operation_keeps_every_promise() {
    let only = number("PIGEON_SEED");
    let wanted = number("PIGEON_CUTS").unwrap_or(CUTS);
    let (next, cuts, stop) = (AtomicU64::new(1), AtomicU64::new(0), AtomicBool::new(false));
    let (table, wrong) = (Mutex::new(Table::default()), Mutex::new(Vec::new()));
    let (begun, told) = (Instant::now(), Mutex::new(Instant::now()));
    std::thread::scope(|scope| {
        for _ in 0..if only.is_some() { 1 } else { THREADS } {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = only.unwrap_or_else(|| next.fetch_add(1, Ordering::Relaxed));
                    let done = run(&plan(seed));
                    table.lock().unwrap().add(&done.table);
                    let cuts = cuts.fetch_add(done.table.total(), Ordering::Relaxed) + done.table.total();
                    if let Some(what) = done.wrong {
                        wrong.lock().unwrap().push(format!("seed {seed}: {what}\n  again: {}", command(seed)));
                        stop.store(true, Ordering::Relaxed);
                    }
                    if cuts >= wanted || only.is_some() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    let mut told = told.lock().unwrap();
                    if told.elapsed() > Duration::from_secs(10) {
                        *told = Instant::now();
                        println!("{cuts} of {wanted} cuts, seed {seed}, {:.0} s", begun.elapsed().as_secs_f64());
                    }
                }
            });
        }
    });
    let (table, wrong) = (table.into_inner().unwrap(), wrong.into_inner().unwrap());
    let seconds = begun.elapsed().as_secs_f64();
    println!("{table}\n{:.0} cuts a second", table.total() as f64 / seconds);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
