//! Figures about the store, for `pigeon status` and for tests.

use super::query;
use super::rows;
use super::{Refusal, Shared};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// What the store holds, and what it did since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Octets written to the disk, index included.
    pub written_bytes: u64,
    /// Octets read from the disk.
    pub read_bytes: u64,
    /// Reads from the disk.
    pub reads: u64,
    /// Syncs.
    pub syncs: u64,
    /// Batches committed.
    pub batches: u64,
    /// The last batch's sequence, counted since the store was made.
    pub sequence: u64,
    /// Rows of the index read.
    pub rows_read: u64,
    /// Rows of the index written or removed.
    pub rows_written: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Octets of bodies that messages need, as stored.
    pub live_bytes: u64,
    /// Octets of bodies that nobody needs any more.
    pub dead_bytes: u64,
    /// Octets that reclaim copied, a part of those written.
    pub copied_bytes: u64,
    /// Octets of segments that reclaim deleted.
    pub reclaimed_bytes: u64,
    /// Octets of the index's file.
    pub index_bytes: u64,
    /// Accounts.
    pub accounts: u64,
    /// Messages; copies count once.
    pub messages: u64,
    /// Messages that were ever stored; copies count once.
    pub messages_ever: u64,
    /// Deleted mailboxes whose rows are still being removed.
    pub doomed: u64,
    /// Why nothing can be written at the moment.
    pub read_only: Option<String>,
}

impl super::Store {
    /// Octets written to the disk since the store was opened; can be asked of a closed one, too.
    pub fn written_bytes(&self) -> u64 {
        self.shared.meter.written_bytes.load(Ordering::Relaxed)
    }
}

pub(crate) async fn stats(shared: &Arc<Shared>) -> Result<Stats, Refusal> {
    let of_shared = shared.clone();
    shared
        .query(move |rx| {
            let state = query::state(rx)?;
            let (live_bytes, dead_bytes) = rows::segment_totals(rx)?;
            let (meter, index) = (&of_shared.meter, &of_shared.index);
            let trouble = of_shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Ok(Stats {
                written_bytes: meter.written_bytes.load(Ordering::Relaxed),
                read_bytes: meter.read_bytes.load(Ordering::Relaxed),
                reads: meter.reads.load(Ordering::Relaxed),
                syncs: meter.syncs.load(Ordering::Relaxed),
                batches: of_shared.batches.load(Ordering::Relaxed),
                sequence: state.position.sequence,
                rows_read: index.rows.read.load(Ordering::Relaxed),
                rows_written: index.rows.written.load(Ordering::Relaxed),
                segments: of_shared.disk.list("log").map_or(0, |names| names.len() as u64),
                live_bytes,
                dead_bytes,
                copied_bytes: of_shared.copied_bytes.load(Ordering::Relaxed),
                reclaimed_bytes: of_shared.reclaimed_bytes.load(Ordering::Relaxed),
                index_bytes: index.bytes(),
                accounts: state.accounts,
                messages: state.messages,
                messages_ever: state.message_next.saturating_sub(1),
                doomed: state.doomed,
                read_only: trouble.or_else(|| (!of_shared.has_room()).then(|| of_shared.full())),
            })
        })
        .await
}
