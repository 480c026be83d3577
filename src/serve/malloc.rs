//! glibc's allocator made to give memory back: one arena, large blocks mapped and unmapped one by one, and what many
//! connections have left behind given back once they are gone. musl's, in releases, needs and has none of this: it gives
//! whole groups of slots back by itself.

use super::server::Server;
use std::sync::Arc;
use std::time::Duration;

/// So many connections must have ended before it is worth to look through the heap.
const ENDED_MIN: u64 = 32;
/// Connections that end together are waited for: until for so long none has ended,
const PAUSE: Duration = Duration::from_secs(1);
/// but not longer than so many pauses.
const PAUSES_MAX: u32 = 30;

/// Tunes the allocator; called once, before the first thread starts.
pub fn tune() {
    #[cfg(target_env = "gnu")]
    {
        const BLOCK_BYTES: libc::c_int = 64 * 1024;
        #[expect(unsafe_code, reason = "mallopt only sets numbers in the allocator; no other thread runs yet")]
        // SAFETY: mallopt takes plain integers and has no preconditions.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
            libc::mallopt(libc::M_MMAP_THRESHOLD, BLOCK_BYTES);
            libc::mallopt(libc::M_TRIM_THRESHOLD, BLOCK_BYTES);
        }
    }
}

/// Gives memory back whenever many connections have ended: free blocks lie between used ones, and glibc by itself gives
/// back only what is free at the end of its heap. No timer ticks while nobody leaves.
pub(super) async fn give_back_after_many(server: Arc<Server>) {
    if !cfg!(target_env = "gnu") {
        return;
    }
    let mut ended = 0;
    loop {
        server.ceilings.ended_beyond(ended + ENDED_MIN).await;
        for _ in 0..PAUSES_MAX {
            let before = std::mem::replace(&mut ended, server.ceilings.ended());
            if before == ended {
                break;
            }
            server.world.clock.sleep(PAUSE).await;
        }
        // On a worker, because it may take milliseconds.
        if server.world.workers.run(give_back).await.is_none() {
            return;
        }
    }
}

/// Gives back every page on which nothing is in use. Blocks.
fn give_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "the allocator's own call, which rustix does not have")]
    // SAFETY: malloc_trim takes the allocator's locks itself and touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}
