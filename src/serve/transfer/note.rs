//! How far an import has come: a mark in the store, which changes with each batch of messages or not at all, and goes when
//! all are in; another one names the last that came to their end, so that nobody brings them twice without wanting to. A run
//! that is cut anywhere leaves the mark of its last batch, and the next one goes on behind that.

use super::{Earlier, ImportOrder};
use crate::base::hex;
use crate::store::{AccountId, Mark, Refusal, Store};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// How far an import has come.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Note {
    /// The source.
    source: String,
    /// The last message that is in, as the program named it; nothing before the first.
    pub(super) position: Option<String>,
    /// Messages stored so far.
    pub(super) stored: u64,
    /// What the source looked like when it began.
    #[serde(default)]
    look: String,
}

/// The mark that names imports which came to their end,
const ENDED: &str = "imports that ended";
/// the last so many.
const ENDED_MAX: usize = 50;

/// Imports that came to their end, the last one last.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Ended(Vec<EndedOne>);

#[derive(Debug, Deserialize, Serialize)]
struct EndedOne {
    import: String,
    /// What the source looked like when it began.
    look: String,
    stored: u64,
    refused: u64,
}

/// Held while that list is read and written.
static ENDING: smol::lock::Mutex<()> = smol::lock::Mutex::new(());

impl Ended {
    async fn read(store: &Store, account: AccountId) -> Result<Self, Refusal> {
        Ok(serde_json::from_slice(&store.mark(account, ENDED).await?).unwrap_or_default())
    }
}

impl Note {
    /// How far this import came; nothing of it when there was none before, or when that is to be forgotten.
    pub(super) async fn read(store: &Store, account: AccountId, order: &ImportOrder) -> Result<Self, Refusal> {
        let new = Self { source: order.source.clone(), position: None, stored: 0, look: order.look.clone() };
        if order.from_start {
            store.set_mark(new.forgotten(account)).await?;
            new.note_ended(store, account, None).await?;
            return Ok(new);
        }
        let mark = store.mark(account, &new.name()).await?;
        let known = serde_json::from_slice(&mark).ok();
        Ok(known.filter(|known: &Self| known.source == order.source).unwrap_or(new))
    }

    /// The mark that says so.
    pub(super) fn mark(&self, account: AccountId) -> Mark {
        // A struct of texts and numbers can always be written; were it not, the import would begin at its start again.
        let value = serde_json::to_vec(self).unwrap_or_default();
        Mark { account, name: self.name(), value }
    }

    /// The earlier run that came to the source's end, and whether that looked then as it does now.
    pub(super) async fn ended(
        &self,
        store: &Store,
        (account, look): (AccountId, &str),
    ) -> Result<Option<Earlier>, Refusal> {
        let (ended, name) = (Ended::read(store, account).await?, self.name());
        let ended = ended.0.into_iter().find(|ended| ended.import == name);
        Ok(ended.map(|EndedOne { look: then, stored, refused, .. }| Earlier { stored, refused, is_same: then == look }))
    }

    /// The source's end is reached; so many of the last run could not be taken. After a cut in the middle of this the next run
    /// finds nothing left to bring.
    pub(super) async fn end(&self, store: &Store, account: AccountId, refused: u64) -> Result<(), Refusal> {
        let found_some = self.stored > 0 || refused > 0;
        self.note_ended(store, account, found_some.then_some(refused)).await?;
        store.set_mark(self.forgotten(account)).await
    }

    async fn note_ended(&self, store: &Store, account: AccountId, refused: Option<u64>) -> Result<(), Refusal> {
        let _alone = ENDING.lock().await;
        let (mut ended, name) = (Ended::read(store, account).await?, self.name());
        let before = ended.0.len();
        ended.0.retain(|ended| ended.import != name);
        if refused.is_none() && ended.0.len() == before {
            return Ok(());
        }
        if let Some(refused) = refused {
            ended.0.push(EndedOne { import: name, look: self.look.clone(), stored: self.stored, refused });
        }
        ended.0.drain(..ended.0.len().saturating_sub(ENDED_MAX));
        let value = serde_json::to_vec(&ended).unwrap_or_default();
        store.set_mark(Mark { account, name: ENDED.to_owned(), value }).await
    }

    /// That nothing of it is known any more.
    fn forgotten(&self, account: AccountId) -> Mark {
        Mark { account, name: self.name(), value: Vec::new() }
    }

    /// A source may be longer than a name.
    fn name(&self) -> String {
        let sum = digest(&SHA256, self.source.as_bytes());
        format!("import {}", hex(sum.as_ref().iter().take(8)))
    }
}

/// Imports at work in this process.
static AT_WORK: Mutex<BTreeSet<(AccountId, String)>> = Mutex::new(BTreeSet::new());

/// The right to be at work on an import, for one at a time.
#[derive(Debug)]
pub(super) struct Alone((AccountId, String));

impl Alone {
    pub(super) fn take(account: AccountId, source: &str) -> Option<Self> {
        let import = (account, source.to_owned());
        let is_first = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner).insert(import.clone());
        is_first.then(|| Self(import))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        AT_WORK.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_works_on_an_import_at_a_time() {
        let (account, other) = (AccountId(1_000_001), AccountId(1_000_002));
        let first = Alone::take(account, "mbox /one").unwrap();
        assert!(Alone::take(account, "mbox /one").is_none());
        assert!(Alone::take(account, "mbox /two").is_some() && Alone::take(other, "mbox /one").is_some());
        drop(first);
        assert!(Alone::take(account, "mbox /one").is_some());
    }
}
