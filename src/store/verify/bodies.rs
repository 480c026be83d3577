//! Every chunk of every body that a message has: there, its checksum right, and as long as its extent says once it is decoded.

use super::{Fault, Part, Progress, Verified};
use crate::store::chunk::{HEADER_BYTES, Header};
use crate::store::index::IndexError;
use crate::store::reclaim::{ChunkError, Chunks, Cursor, extents_from};
use crate::store::rows::{self, Extent};
use crate::store::{BlobId, Refusal, Shared, refusal_of};
use smol::lock::MutexGuardArc;
use std::io;
use std::sync::Arc;

/// Octets read in one step, about,
const STEP_BYTES: u64 = 4 * 1024 * 1024;
/// and parts of bodies.
const STEP_EXTENTS: usize = 4_000;

/// What a step read.
#[derive(Default)]
struct Step {
    chunks: u64,
    bytes: u64,
    faults: Vec<Fault>,
    next: Option<Cursor>,
}

/// Between two steps whoever waits for the house has it first: each step reads the index anew.
pub(super) async fn verify(
    shared: &Arc<Shared>,
    mut house: MutexGuardArc<()>,
    report: &mut Verified,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<MutexGuardArc<()>, Refusal> {
    let keeper = shared.keeper()?;
    let total = shared.query_on(&keeper, |rx| Ok(rows::segment_totals(rx)?.0)).await.unwrap_or(0);
    let mut next = Some(Cursor::default());
    while let Some(from) = next {
        let of = shared.clone();
        match keeper.run(move || step(&of, from)).await.ok_or(Refusal::Unavailable)? {
            Ok(step) => {
                report.chunks += step.chunks;
                report.chunk_bytes += step.bytes;
                step.faults.into_iter().for_each(|fault| report.note(fault));
                next = step.next;
            }
            Err(StepError::Index(error)) => {
                super::note_index(report, &error);
                return Ok(house);
            }
            Err(StepError::Disk(error)) => {
                log::error!("verifying: {error}");
                return Err(refusal_of(&error));
            }
        }
        progress(Progress { part: Part::Bodies, done: report.chunk_bytes, total: total.max(report.chunk_bytes) });
        house = shared.give_way(house).await;
    }
    Ok(house)
}

enum StepError {
    Index(IndexError),
    Disk(io::Error),
}

impl From<IndexError> for StepError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

fn step(shared: &Shared, from: Cursor) -> Result<Step, StepError> {
    let mut step = Step::default();
    let mut parts = Vec::new();
    // What is deleted after this is read all the same: nobody deletes its segment meanwhile.
    step.next = shared.index.read(|rx| {
        let mut bytes = 0u64;
        extents_from(rx, from, true, &mut |blob, extent| {
            if parts.len() >= STEP_EXTENTS || bytes >= STEP_BYTES {
                return false;
            }
            bytes = bytes.saturating_add(extent.stored_bytes);
            parts.push((blob, extent));
            true
        })
    })?;
    for (blob, extent) in parts {
        read(shared, blob, &extent, &mut step).map_err(StepError::Disk)?;
    }
    Ok(step)
}

/// Reads a part of a body to its end or to the first chunk that is damaged.
fn read(shared: &Shared, blob: BlobId, extent: &Extent, step: &mut Step) -> io::Result<()> {
    let fault = |offset| Fault::Body { blob, segment: extent.segment, offset, places: Vec::new() };
    let file = match shared.files.get(extent.segment) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            step.faults.push(fault(extent.offset));
            return Ok(());
        }
        file => file?,
    };
    let mut chunks = Chunks::of(&*file, extent);
    let mut offset = extent.offset;
    loop {
        match chunks.next() {
            Ok(Some(chunk)) if decodes(chunk) => {
                step.chunks += 1;
                step.bytes += chunk.len() as u64;
                offset += chunk.len() as u64;
            }
            Ok(None) => return Ok(()),
            Ok(Some(_)) | Err(ChunkError::Damaged) => {
                step.faults.push(fault(offset));
                return Ok(());
            }
            Err(ChunkError::Disk(error)) => return Err(error),
        }
    }
}

fn decodes(chunk: &[u8]) -> bool {
    let Some((head, stored)) = chunk.split_first_chunk::<HEADER_BYTES>() else {
        return false;
    };
    Header::parse(head).is_ok_and(|header| header.decode(stored).is_ok())
}
