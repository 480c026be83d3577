//! Faults that the simulator of power cuts must find (tests/power_saboteurs.rs). They exist only where debug assertions do:
//! a release build has none of it, and no configuration reaches it.

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// A batch is synced only when the next one is written.
    AnswerBeforeSync,
    /// A body's segment is not synced before the event that names it is written.
    BodyWithoutSync,
    /// A batch's checksum is not looked at.
    BlindToBatches,
    /// A chunk's checksum is not looked at.
    BlindToChunks,
    /// The index is committed, durably, before the log is written.
    IndexFirst,
    /// A start does not write the last batch again; it syncs the segment and goes on in the next.
    TrustTheLastBatch,
    /// A new segment's folder is not synced.
    FolderWithoutSync,
    /// The writer takes work and never does it.
    WriterStuck,
}

#[cfg(debug_assertions)]
static CHOSEN: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Does this wrong from now on, in every store of the process.
pub fn choose(sabotage: Sabotage) {
    #[cfg(debug_assertions)]
    CHOSEN.store(sabotage as u8, std::sync::atomic::Ordering::Release);
    #[cfg(not(debug_assertions))]
    let _ = sabotage;
}

/// Whether this is to be done wrong.
pub(crate) fn is(sabotage: Sabotage) -> bool {
    #[cfg(debug_assertions)]
    return CHOSEN.load(std::sync::atomic::Ordering::Acquire) == sabotage as u8;
    #[cfg(not(debug_assertions))]
    {
        let _ = sabotage;
        false
    }
}
