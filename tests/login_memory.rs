//! What a login leaves behind in memory: nothing. A test of its own, because it looks at the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use pigeon::accounts::{Accounts, LoginError};
use pigeon::base::{Budget, Clock, Secret, Workers};
use pigeon::store::{Options, Store};
use std::time::Duration;

/// What a hash takes, KiB.
const HASH_KIB: u64 = 7 * 1024;

#[test]
fn a_login_gives_the_memory_of_its_hash_back() {
    tune_malloc();
    let data = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes: 1 << 20,
        index_cache_bytes: 1 << 20,
        gather: Duration::from_millis(3),
        ..Options::default()
    };
    let workers = Workers::new("reader", 2, 1 << 20).unwrap();
    let clock = Clock::system();
    let store = Store::open(data.path(), options, clock.clone(), workers, Budget::new(16 << 20)).unwrap();
    let accounts = Accounts::new(store.clone(), clock).unwrap();
    smol::block_on(async {
        accounts.account_add("alice@example.org", &secret("wonderland-7")).await.unwrap();
        accounts.login(b"alice", &secret("wonderland-7"), [127, 0, 0, 1].into()).await.unwrap();
    });
    let before = status_kib("RssAnon");
    smol::block_on(async {
        for n in 0..20 {
            let refused = accounts.login(b"alice", &secret("wrong"), [10, 0, 0, n].into()).await;
            assert_eq!(refused.err(), Some(LoginError::Wrong));
        }
    });
    let (after, peak) = (status_kib("RssAnon"), status_kib("VmHWM") - status_kib("RssFile"));
    println!("anonymous memory: {before} KiB before 20 logins, {after} KiB after, {peak} KiB at the peak");
    assert!(after <= before + 512, "{before} KiB before, {after} KiB after");
    assert!(peak >= before.min(after) + HASH_KIB / 2, "the test has not seen the hash: peak {peak} KiB");
    store.close();
}

/// As the server does at its start: glibc would keep what is freed for later.
fn tune_malloc() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "mallopt only sets numbers in the allocator")]
    // SAFETY: mallopt takes plain integers and has no preconditions.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 * 1024);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 * 1024);
    }
}

fn status_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a line of that name");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}
