//! glibc's allocator made to give memory back: one arena, and large blocks mapped and unmapped one by one.
//! musl's, in releases, needs none of this.

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
