//! Memory given back. Code that only the start needed need not stay in memory; the rest of this page is about glibc's
//! allocator, made to give memory back: one arena, large blocks mapped and unmapped one by one, and what many
//! connections have left behind given back once they are gone. musl's, in releases, needs and has none of that: it gives
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

/// Lets go of the pages of code that are in memory: those still needed come back from the system's cache, for a fault each;
/// those that only the start needed do not. Blocks.
pub(super) fn forget_code() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, length) in maps.lines().filter_map(code_of_file) {
        #[expect(unsafe_code, reason = "advice about pages, which rustix marks unsafe too")]
        // SAFETY: the range is a private mapping of a file that can be read and run and never written, so that no page of it
        // differs from the file: whoever runs into one that was let go of gets it from there again.
        unsafe {
            libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED);
        }
    }
}

/// Where a mapping of code lies and how long it is, from a line of /proc/self/maps; nothing for any other mapping.
fn code_of_file(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let is_code = fields.next()? == "r-xp";
    // Not the kernel's own, which have no file.
    let is_file = fields.nth(3)?.starts_with('/');
    (is_code && is_file).then_some((start, end.checked_sub(start)?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_let_go_of_and_the_program_goes_on() {
        let table = [
            ("5581c0000000-5581c0002000 r-xp 00001000 fe:00 1234   /usr/bin/pigeon", Some((0x5581_c000_0000, 0x2000))),
            ("5581c0000000-5581c0002000 r--p 00001000 fe:00 1234   /usr/bin/pigeon", None),
            ("5581c0000000-5581c0002000 rw-p 00001000 fe:00 1234   /usr/bin/pigeon", None),
            (
                "5581c0000000-5581c0002000 r-xp 00001000 fe:00 1234   /usr/bin/my pigeon",
                Some((0x5581_c000_0000, 0x2000)),
            ),
            ("7ffd5b5f2000-7ffd5b5f4000 r-xp 00000000 00:00 0      [vdso]", None),
            ("7ffd5b5f2000-7ffd5b5f4000 r-xp 00000000 00:00 0", None),
            ("rubbish", None),
        ];
        for (line, expected) in table {
            assert_eq!(code_of_file(line), expected, "{line}");
        }
        forget_code();
    }
}
