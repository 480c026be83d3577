//! Proves the simulator of power cuts: faults planted in the store must each be caught within 10,000 cuts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    dead_code,
    reason = "a test that cannot go on may stop"
)]
#![cfg(debug_assertions)]

#[path = "support/client.rs"]
mod client;
mod power;
mod store_support;
#[path = "support/world.rs"]
mod world;

use pigeon::store::sabotage::{self, Sabotage};
use power::life::Time;
use power::run::{Plan, run};

const CUTS_MAX: u64 = 10_000;

// One test, because what is planted holds for every store of the process.
#[test]
fn every_saboteur_is_caught() {
    let saboteurs = [
        Sabotage::AnswerBeforeSync,
        Sabotage::BodyWithoutSync,
        Sabotage::BlindToBatches,
        Sabotage::BlindToChunks,
        Sabotage::IndexFirst,
        Sabotage::TrustTheLastBatch,
        Sabotage::FolderWithoutSync,
    ];
    let mut missed = Vec::new();
    let only = std::env::var("PIGEON_SABOTEUR").ok();
    for saboteur in saboteurs {
        if only.as_ref().is_some_and(|only| *only != format!("{saboteur:?}")) {
            continue;
        }
        sabotage::choose(saboteur);
        let (mut cuts, mut caught) = (0, None);
        for seed in 1.. {
            let done =
                run(&Plan { seed, in_step: true, time: Time::Ordinary, pauses: false, cuts_max: CUTS_MAX - cuts });
            cuts += done.table.total();
            caught = done.wrong;
            if caught.is_some() || cuts >= CUTS_MAX {
                break;
            }
        }
        match caught {
            Some(what) => {
                let what = what.chars().take(230).collect::<String>();
                println!("{saboteur:?}: caught after {cuts} cuts: {what}");
            }
            None => missed.push(saboteur),
        }
    }
    sabotage::choose(Sabotage::None);
    assert!(missed.is_empty(), "not caught within {CUTS_MAX} cuts: {missed:?}");
}
