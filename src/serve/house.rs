//! Keeps the store's house while the server runs: one task, one piece after another, whenever the store says that it is time.

use super::server::Server;
use crate::store::Kept;
use std::sync::Arc;
use std::time::Duration;

/// Pieces at a time at the most; then the store is asked again when it is time.
const PIECES_MAX: usize = 64;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn keep(server: Arc<Server>) {
    let store = &server.world.store;
    store.lay_ballast().await;
    // The start is over, and much of its code is not needed again.
    let _ = server.world.workers.run(super::malloc::forget_code).await;
    // Of a store that was made from its log alone.
    if let Err(refusal) = crate::delivery::summarize(store).await {
        log::warn!("summaries of messages put off until the next start: {refusal:?}");
    }
    loop {
        store.housework_due().await;
        // However often it is due, others come first.
        server.world.clock.sleep(PAUSE).await;
        for _ in 0..PIECES_MAX {
            match store.keep_house().await {
                Ok(Kept::Nothing) => break,
                Ok(Kept::Snapshot(snapshot)) => {
                    log::info!("snapshot written number={} bytes={}", snapshot.number, snapshot.bytes);
                }
                Ok(Kept::Reclaimed(done)) => log::info!(
                    "reclaimed segments={} copied={} freed={}",
                    done.segments,
                    done.copied_bytes,
                    done.freed_bytes
                ),
                Err(refusal) => {
                    log::warn!("housekeeping put off: {refusal:?}");
                    break;
                }
            }
        }
    }
}
