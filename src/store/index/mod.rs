//! The index: redb behind a handle that can be swapped, because redb refuses everything after any failed read or write
//! until it is opened again. Every row carries a checksum over its table, key and value. The tables are drawn in
//! [`super::keys`].

mod error;
mod files;
mod read;
mod tx;

use super::disk::{Disk, DiskFile};
pub(crate) use error::IndexError;
use files::{Backend, FILE, TEMPORARY, set_aside};
pub(crate) use files::{Unpublished, aside, is_there};
pub(crate) use read::{Read, Rx, digest};
use redb::{Database, Durability, ReadableDatabase, TableDefinition};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub(crate) use tx::Tx;

type Bytes = &'static [u8];

const ROWS: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("rows");

/// Rows read and written since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct RowMeter {
    /// Rows read.
    pub(crate) read: AtomicU64,
    /// Rows written or removed.
    pub(crate) written: AtomicU64,
}

/// The handle.
#[derive(Debug)]
pub(crate) struct Index {
    disk: Arc<dyn Disk>,
    cache_bytes: usize,
    database: RwLock<Option<Database>>,
    /// Somebody waits to open it again: long reads give up.
    wanted: Arc<AtomicBool>,
    pub(crate) rows: RowMeter,
}

impl Index {
    /// Opens the index, or makes an empty one, which then holds nothing of the log.
    pub(crate) fn open(disk: Arc<dyn Disk>, cache_bytes: usize) -> Result<Self, IndexError> {
        let index = Self::unopened(disk, cache_bytes);
        if is_there(&*index.disk)? {
            index.put(index.open_file(index.disk.open(FILE)?)?);
            return Ok(index);
        }
        // A cut before the rename leaves a temporary file, which is made anew at the next start.
        let index = Self::make(&index.disk, cache_bytes)?;
        index.publish()?;
        Ok(index)
    }

    fn unopened(disk: Arc<dyn Disk>, cache_bytes: usize) -> Self {
        let (database, wanted) = (RwLock::new(None), Arc::default());
        Self { disk, cache_bytes, database, wanted, rows: RowMeter::default() }
    }

    /// Makes an empty index beside the one there is, to be filled and then [`Index::publish`]ed.
    pub(crate) fn make(disk: &Arc<dyn Disk>, cache_bytes: usize) -> Result<Self, IndexError> {
        let index = Self::unopened(disk.clone(), cache_bytes);
        index.put(index.open_file(disk.create(TEMPORARY)?)?);
        index.write(true, |_| Ok(()))?;
        Ok(index)
    }

    /// Puts an index that was made beside it, and is durable, in the place of the old one, which is kept; says where.
    pub(crate) fn publish(&self) -> io::Result<Option<String>> {
        let aside = set_aside(&*self.disk)?;
        self.disk.rename(TEMPORARY, FILE)?;
        self.disk.sync_folder("")?;
        Ok(aside)
    }

    fn open_file(&self, file: Arc<dyn DiskFile>) -> Result<Database, IndexError> {
        let mut builder = Database::builder();
        builder.set_cache_size(self.cache_bytes);
        Ok(builder.create_with_backend(Backend(file))?)
    }

    fn put(&self, database: Database) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
    }

    fn get(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops redb and opens it again, at the last state it made durable or at a later one that it still knew; `bring_up`
    /// applies what it lacks. Nobody reads before that has succeeded; if it fails, every call is refused until the next
    /// time.
    pub(crate) fn reopen<E: From<IndexError>>(&self, bring_up: impl FnOnce(&Self) -> Result<(), E>) -> Result<(), E> {
        let mut place = self.alone();
        drop(place.take());
        let again = Self::unopened(self.disk.clone(), self.cache_bytes);
        let file = again.disk.open(FILE).map_err(IndexError::from)?;
        again.put(again.open_file(file)?);
        bring_up(&again)?;
        *place = again.database.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(())
    }

    /// Puts another index, made beside this one, in its place.
    pub(crate) fn replace(&self, other: Self) -> io::Result<Option<String>> {
        let mut place = self.alone();
        drop(place.take());
        let aside = other.publish()?;
        *place = other.database.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(aside)
    }

    /// The database, once nobody reads.
    fn alone(&self) -> RwLockWriteGuard<'_, Option<Database>> {
        self.wanted.store(true, Ordering::Release);
        let place = self.database.write().unwrap_or_else(PoisonError::into_inner);
        self.wanted.store(false, Ordering::Release);
        place
    }

    /// The size of its cache, bytes.
    pub(crate) fn cache_bytes(&self) -> usize {
        self.cache_bytes
    }

    /// Ends it; later calls are refused.
    pub(crate) fn close(&self) {
        let database = self.alone().take();
        if let Some(database) = database
            && let Err(error) = database.close()
        {
            log::warn!("closing the index: {error}");
        }
    }

    /// Octets of its file.
    pub(crate) fn bytes(&self) -> u64 {
        self.disk.open(FILE).and_then(|file| file.len()).unwrap_or(0)
    }

    /// One step of reading, in a transaction of its own that ends with it.
    pub(crate) fn read<O, E: From<IndexError>>(&self, step: impl FnOnce(&mut Rx) -> Result<O, E>) -> Result<O, E> {
        let guard = self.get();
        let database = guard.as_ref().ok_or(IndexError::Closed)?;
        let transaction = database.begin_read().map_err(IndexError::from)?;
        let table = transaction.open_table(ROWS).map_err(IndexError::from)?;
        let mut rx = Rx { table, rows: 0, wanted: self.wanted.clone() };
        let outcome = step(&mut rx);
        self.rows.read.fetch_add(rx.rows, Ordering::Relaxed);
        outcome
    }

    /// One transaction of writing, committed when `step` succeeds and else dropped without a trace.
    pub(crate) fn write<O>(
        &self,
        durable: bool,
        step: impl FnOnce(&mut Tx<'_>) -> Result<O, IndexError>,
    ) -> Result<O, IndexError> {
        self.write_then(durable, step, |outcome| Ok(Some(outcome)))?.ok_or(IndexError::Closed)
    }

    /// As [`Index::write`]; `before` runs when everything is decided and may still call the commit off with `None`.
    pub(crate) fn write_then<O, P>(
        &self,
        durable: bool,
        step: impl FnOnce(&mut Tx<'_>) -> Result<O, IndexError>,
        before: impl FnOnce(O) -> Result<Option<P>, IndexError>,
    ) -> Result<Option<P>, IndexError> {
        let guard = self.get();
        let database = guard.as_ref().ok_or(IndexError::Closed)?;
        let mut transaction = database.begin_write()?;
        if durable {
            // Quick-repair: without it a crash makes redb read the whole file at the next start.
            transaction.set_quick_repair(true);
        } else {
            transaction.set_durability(Durability::None)?;
        }
        let mut tx = Tx {
            table: transaction.open_table(ROWS)?,
            state: None,
            state_before: None,
            segments: BTreeMap::new(),
            rows_read: 0,
            rows_written: 0,
        };
        let outcome = step(&mut tx).and_then(|outcome| tx.finish().map(|()| outcome));
        self.rows.read.fetch_add(tx.rows_read, Ordering::Relaxed);
        self.rows.written.fetch_add(tx.rows_written, Ordering::Relaxed);
        drop(tx);
        match outcome.and_then(before) {
            Ok(Some(outcome)) => {
                transaction.commit()?;
                Ok(Some(outcome))
            }
            Ok(None) => {
                transaction.abort()?;
                Ok(None)
            }
            Err(error) => {
                if let Err(second) = transaction.abort() {
                    log::warn!("abandoning a transaction: {second}");
                }
                Err(error)
            }
        }
    }
}
