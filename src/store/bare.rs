//! Messages without summaries: the log tells everything again but these ([`super::roll`]), so that a store that was made
//! from the log alone has to have them computed from the bodies.

use super::event::Event;
use super::index::IndexError;
use super::keys::{T, key_u64};
use super::query;
use super::types::*;
use super::{Refusal, Store};

/// Rows looked at in one step,
const ROWS_MAX: usize = 2_000;
/// and messages without summaries found.
const FOUND_MAX: usize = 100;

/// Some messages without summaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bare {
    /// Each with its body.
    pub messages: Vec<(MessageId, BlobId)>,
    /// Where the next are looked for; 0 when these are all.
    next: MessageId,
}

impl Store {
    /// The next messages that lack summaries because their store was made from the log alone; nothing when none does.
    pub async fn bare(&self) -> Result<Option<Bare>, Refusal> {
        let look = move |rx: &mut super::index::Rx| {
            let from = query::state(rx)?.bare_from;
            if from == 0 {
                return Ok(None);
            }
            let mut bare = Bare { messages: Vec::new(), next: MessageId(0) };
            let mut rows = 0;
            // The rows of a message's body lie between.
            rx.walk(&T::Messages.tree_key(&key_u64(from)), &mut |_, row| {
                let Some((T::Messages, key, row)) = row else {
                    return Ok(true);
                };
                let id = key.first_chunk().map(|id| MessageId(u64::from_be_bytes(*id)));
                let id = id.ok_or(IndexError::Damaged(T::Messages))?;
                if rows >= ROWS_MAX || bare.messages.len() >= FOUND_MAX {
                    bare.next = id;
                    return Ok(false);
                }
                rows += 1;
                let message = super::rows::decode_message(row)?;
                if message.summary.is_empty() {
                    bare.messages.push((id, message.blob));
                }
                Ok(true)
            })?;
            Ok(Some(bare))
        };
        self.shared.query(look).await
    }

    /// Gives messages their summaries; the others of `bare` have to do without.
    pub async fn summarize(&self, bare: &Bare, summaries: Vec<(MessageId, Vec<u8>)>) -> Result<(), Refusal> {
        let next = bare.next;
        let bytes = summaries.iter().map(|(_, summary)| summary.len()).sum();
        self.shared.decide(bytes, move |step| step.happen(&Event::Summarized { summaries, next })).await
    }
}
