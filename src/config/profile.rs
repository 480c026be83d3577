//! What a machine with so much memory gives its server, where nobody says otherwise.

use super::{Limits, MIB, StoreConfig};

/// Boards sold with 512 MB have less of it left, and with 1 GB.
const SMALL_BYTES: u64 = 600 * MIB;
const MIDDLE_BYTES: u64 = 1_200 * MIB;

/// The limits and the store's settings for a machine that has so many bytes of memory and nothing else to do. What more
/// memory buys is a larger index cache (fewer reads from the card in large mailboxes) and more connections at once.
pub fn profile(machine_bytes: u64) -> (Limits, StoreConfig) {
    let (mut limits, mut store) = (Limits::default(), StoreConfig::default());
    if machine_bytes <= SMALL_BYTES {
        return (limits, store);
    }
    let (memory, cache, connections) = if machine_bytes <= MIDDLE_BYTES { (48, 8, 1_024) } else { (96, 32, 2_048) };
    limits.memory_bytes = memory * MIB;
    limits.connections = connections;
    store.index_cache_bytes = cache * MIB;
    (limits, store)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn more_memory_is_more_budget_and_never_a_twentieth_of_the_machine() {
        let mut before = 0;
        // What Linux reports as MemTotal on boards of 512 MB, 1 GB, 2 GB and 8 GB.
        for machine_mib in [427, 906, 1_850, 7_900] {
            let mut config = Config::new("a.example");
            (config.limits, config.store) = profile(machine_mib * MIB);
            assert!(config.budget_bytes() >= before, "{machine_mib} MiB");
            assert!(config.limits.memory_bytes * 16 < machine_mib * MIB, "{machine_mib} MiB");
            before = config.budget_bytes();
        }
    }
}
