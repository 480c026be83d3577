//! The index: redb behind a handle that can be swapped, because redb refuses everything after any failed read or write
//! until it is opened again. Every row carries a checksum over its table, key and value.
//!
//! Keys are big-endian, so that they sort; `|` joins them. Values are varints unless told.
//!
//! | table         | key                  | value                                                            |
//! |---------------|----------------------|------------------------------------------------------------------|
//! | state         | (empty)              | format, position in the log, next numbers, totals                |
//! | domains       | name                 | accounts and aliases in it                                       |
//! | accounts      | account              | address, secrets                                                 |
//! | addresses     | address              | account                                                          |
//! | locals        | local part, 0, account | (empty)                                                        |
//! | aliases       | address              | targets                                                          |
//! | mailboxes     | mailbox              | name, UIDNEXT, counters, keywords: all that SELECT and STATUS tell |
//! | names         | account \| name      | mailbox                                                          |
//! | subscriptions | account \| name      | (empty)                                                          |
//! | doomed        | mailbox              | (empty): deleted, its rows go in steps                           |
//! | entries       | mailbox \| UID       | message, flags, MODSEQ, save date                                |
//! | modseqs       | mailbox \| MODSEQ    | UID: the message whose last change it was                        |
//! | expunged      | mailbox \| MODSEQ    | UIDs that went with it                                           |
//! | uids, unseen, deleted | mailbox \| first UID | last UID of the run: all, without \Seen, with \Deleted   |
//! | messages      | message              | blob, size, date, summary                                        |
//! | shares        | message              | mailboxes that hold it, when more than one                       |
//! | blobs         | blob \| part         | references and size (part 0), then at most 128 extents           |
//! | segments      | segment              | live and dead octets of bodies                                   |

use super::disk::{Disk, DiskFile};
use super::rows::State;
use super::{MailboxId, ModSeq, Uid};
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

const FILE: &str = "index.redb";
const TEMPORARY: &str = "index.redb.tmp";

/// A table; the number is part of its rows' checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum T {
    State,
    Domains,
    Accounts,
    Addresses,
    Locals,
    Aliases,
    Mailboxes,
    Names,
    Subscriptions,
    Doomed,
    Entries,
    ModSeqs,
    Expunged,
    Uids,
    Unseen,
    Deleted,
    Messages,
    Shares,
    Blobs,
    Segments,
}

/// Tables whose rows name places in the log, which recovery may change.
const WITH_PLACES: [T; 3] = [T::State, T::Blobs, T::Segments];

const TABLES: [(T, &str); 20] = [
    (T::State, "state"),
    (T::Domains, "domains"),
    (T::Accounts, "accounts"),
    (T::Addresses, "addresses"),
    (T::Locals, "locals"),
    (T::Aliases, "aliases"),
    (T::Mailboxes, "mailboxes"),
    (T::Names, "names"),
    (T::Subscriptions, "subscriptions"),
    (T::Doomed, "doomed"),
    (T::Entries, "entries"),
    (T::ModSeqs, "modseqs"),
    (T::Expunged, "expunged"),
    (T::Uids, "uids"),
    (T::Unseen, "unseen"),
    (T::Deleted, "deleted"),
    (T::Messages, "messages"),
    (T::Shares, "shares"),
    (T::Blobs, "blobs"),
    (T::Segments, "segments"),
];

type Bytes = &'static [u8];

impl T {
    fn definition(self) -> TableDefinition<'static, Bytes, Bytes> {
        let name = TABLES.iter().find(|(table, _)| *table == self).map_or("?", |(_, name)| name);
        TableDefinition::new(name)
    }
}

/// Why the index did not answer.
#[derive(Debug)]
pub(crate) enum IndexError {
    /// redb failed; it must be opened again.
    Redb(Box<redb::Error>),
    /// A row is not what was written.
    Damaged(T),
    /// It is not open: the store is closed, or opening the index again failed.
    Closed,
    /// It lacks some of what is in the log.
    Behind,
}

impl std::fmt::Display for IndexError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Redb(error) => write!(f, "{error}"),
            Self::Damaged(table) => write!(f, "a damaged row in table {table:?}"),
            Self::Closed => f.write_str("closed"),
            Self::Behind => f.write_str("behind the log"),
        }
    }
}

impl From<redb::StorageError> for IndexError {
    fn from(error: redb::StorageError) -> Self {
        Self::Redb(Box::new(error.into()))
    }
}
impl From<redb::TableError> for IndexError {
    fn from(error: redb::TableError) -> Self {
        Self::Redb(Box::new(error.into()))
    }
}
impl From<redb::TransactionError> for IndexError {
    fn from(error: redb::TransactionError) -> Self {
        Self::Redb(Box::new(error.into()))
    }
}
impl From<redb::CommitError> for IndexError {
    fn from(error: redb::CommitError) -> Self {
        Self::Redb(Box::new(error.into()))
    }
}
impl From<redb::DatabaseError> for IndexError {
    fn from(error: redb::DatabaseError) -> Self {
        Self::Redb(Box::new(error.into()))
    }
}
impl From<redb::SetDurabilityError> for IndexError {
    fn from(error: redb::SetDurabilityError) -> Self {
        Self::Redb(Box::new(error.into()))
    }
}
impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> Self {
        Self::Redb(Box::new(redb::Error::Io(error)))
    }
}

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
    pub(crate) rows: RowMeter,
}

impl Index {
    /// Opens the index, or makes an empty one, which then holds nothing of the log.
    pub(crate) fn open(disk: Arc<dyn Disk>, cache_bytes: usize) -> Result<Self, IndexError> {
        let index = Self { disk, cache_bytes, database: RwLock::new(None), rows: RowMeter::default() };
        let is_new = match index.disk.open(FILE) {
            Ok(file) if file.len()? > 0 => {
                index.put(index.open_file(file)?);
                false
            }
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(error.into()),
        };
        if is_new {
            // A cut before the rename leaves a temporary file, which is made anew at the next start.
            let database = index.open_file(index.disk.create(TEMPORARY)?)?;
            index.put(database);
            index.write(true, |tx| {
                for (table, _) in TABLES {
                    tx.table(table)?;
                }
                Ok(())
            })?;
            index.disk.rename(TEMPORARY, FILE)?;
            index.disk.sync_folder("")?;
        }
        Ok(index)
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
        let mut place = self.database.write().unwrap_or_else(PoisonError::into_inner);
        drop(place.take());
        let again = Self {
            disk: self.disk.clone(),
            cache_bytes: self.cache_bytes,
            database: RwLock::new(None),
            rows: RowMeter::default(),
        };
        let file = again.disk.open(FILE).map_err(IndexError::from)?;
        again.put(again.open_file(file)?);
        bring_up(&again)?;
        *place = again.database.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(())
    }

    /// Ends it; later calls are refused.
    pub(crate) fn close(&self) {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
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
        let mut rx = Rx { transaction, open: std::array::from_fn(|_| None), rows: 0 };
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
            transaction: &transaction,
            open: std::array::from_fn(|_| None),
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

/// Takes a row's key and value; answers whether to go on.
pub(crate) type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool, IndexError> + 'a;

/// Reading, in either kind of transaction.
pub(crate) trait Read {
    /// The value of a key.
    fn get(&mut self, table: T, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;
    /// Calls `each` for the rows from `from` to `to`, both included, ascending or not, until it answers false.
    fn scan(
        &mut self,
        table: T,
        from: &[u8],
        to: &[u8],
        ascending: bool,
        each: &mut Each<'_>,
    ) -> Result<(), IndexError>;

    /// Whether there is such a key.
    fn has(&mut self, table: T, key: &[u8]) -> Result<bool, IndexError> {
        Ok(self.get(table, key)?.is_some())
    }
}

/// A step of reading.
pub(crate) struct Rx {
    transaction: redb::ReadTransaction,
    open: [Option<ReadOnlyTable<Bytes, Bytes>>; TABLES.len()],
    rows: u64,
}

impl Rx {
    fn table(&mut self, table: T) -> Result<&mut ReadOnlyTable<Bytes, Bytes>, IndexError> {
        let slot = self.open.get_mut(table as usize).ok_or(IndexError::Damaged(table))?;
        if slot.is_none() {
            *slot = Some(self.transaction.open_table(table.definition())?);
        }
        slot.as_mut().ok_or(IndexError::Damaged(table))
    }
}

impl Read for Rx {
    fn get(&mut self, table: T, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.rows += 1;
        get(self.table(table)?, table, key)
    }
    fn scan(
        &mut self,
        table: T,
        from: &[u8],
        to: &[u8],
        ascending: bool,
        each: &mut Each<'_>,
    ) -> Result<(), IndexError> {
        let rows = scan(self.table(table)?, table, (from, to), ascending, each)?;
        self.rows += rows;
        Ok(())
    }
}

/// A transaction of writing.
pub(crate) struct Tx<'t> {
    transaction: &'t redb::WriteTransaction,
    open: [Option<Table<'t, Bytes, Bytes>>; TABLES.len()],
    state: Option<State>,
    state_before: Option<State>,
    /// What the transaction adds to and takes from segments' live octets, and adds to their dead ones.
    pub(crate) segments: BTreeMap<u64, (i64, i64)>,
    rows_read: u64,
    rows_written: u64,
}

impl<'t> Tx<'t> {
    fn table(&mut self, table: T) -> Result<&mut Table<'t, Bytes, Bytes>, IndexError> {
        let slot = self.open.get_mut(table as usize).ok_or(IndexError::Damaged(table))?;
        if slot.is_none() {
            *slot = Some(self.transaction.open_table(table.definition())?);
        }
        slot.as_mut().ok_or(IndexError::Damaged(table))
    }

    /// Writes a row.
    pub(crate) fn put(&mut self, table: T, key: &[u8], mut value: Vec<u8>) -> Result<(), IndexError> {
        self.rows_written += 1;
        value.extend_from_slice(&row_crc(table, key, &value).to_le_bytes());
        self.table(table)?.insert(key, value.as_slice())?;
        Ok(())
    }

    /// Removes a row; says whether there was one.
    pub(crate) fn remove(&mut self, table: T, key: &[u8]) -> Result<bool, IndexError> {
        self.rows_written += 1;
        Ok(self.table(table)?.remove(key)?.is_some())
    }

    /// The state row, to read and to change; written when the transaction ends.
    pub(crate) fn state(&mut self) -> Result<&mut State, IndexError> {
        if self.state.is_none() {
            let state = match self.get(T::State, &[])? {
                Some(row) => State::decode(&row).ok_or(IndexError::Damaged(T::State))?,
                None => State::default(),
            };
            self.state_before = Some(state.clone());
            self.state = Some(state);
        }
        self.state.as_mut().ok_or(IndexError::Damaged(T::State))
    }

    fn finish(&mut self) -> Result<(), IndexError> {
        for (segment, (live, dead)) in std::mem::take(&mut self.segments) {
            super::rows::add_to_segment(self, segment, live, dead)?;
        }
        if self.state != self.state_before
            && let Some(state) = self.state.take()
        {
            self.put(T::State, &[], state.encode())?;
        }
        Ok(())
    }
}

impl Read for Tx<'_> {
    fn get(&mut self, table: T, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.rows_read += 1;
        get(self.table(table)?, table, key)
    }
    fn scan(
        &mut self,
        table: T,
        from: &[u8],
        to: &[u8],
        ascending: bool,
        each: &mut Each<'_>,
    ) -> Result<(), IndexError> {
        let rows = scan(self.table(table)?, table, (from, to), ascending, each)?;
        self.rows_read += rows;
        Ok(())
    }
}

fn row_crc(table: T, key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&[table as u8]), key), value)
}

/// The value in a row, once its checksum is right.
fn checked<'a>(table: T, key: &[u8], row: &'a [u8]) -> Result<&'a [u8], IndexError> {
    let (value, crc) = row.split_last_chunk::<4>().ok_or(IndexError::Damaged(table))?;
    if row_crc(table, key, value) == u32::from_le_bytes(*crc) { Ok(value) } else { Err(IndexError::Damaged(table)) }
}

fn get(rows: &impl ReadableTable<Bytes, Bytes>, table: T, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
    match rows.get(key)? {
        Some(row) => Ok(Some(checked(table, key, row.value())?.to_vec())),
        None => Ok(None),
    }
}

fn scan(
    rows: &impl ReadableTable<Bytes, Bytes>,
    table: T,
    (from, to): (&[u8], &[u8]),
    ascending: bool,
    each: &mut Each<'_>,
) -> Result<u64, IndexError> {
    let mut count = 0;
    if from > to {
        return Ok(count);
    }
    let mut range = rows.range::<&[u8]>(from..=to)?;
    while let Some(row) = if ascending { range.next() } else { range.next_back() } {
        let (key, value) = row?;
        count += 1;
        if !each(key.value(), checked(table, key.value(), value.value())?)? {
            break;
        }
    }
    Ok(count)
}

/// redb's pages go over the same seam.
#[derive(Debug)]
struct Backend(Arc<dyn DiskFile>);

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}

/// A sum over every row that names no place in the log: equal for equal contents.
pub(crate) fn digest(rx: &mut impl Read) -> Result<u64, IndexError> {
    let mut sum = 0u64;
    for (table, _) in TABLES.into_iter().filter(|(table, _)| !WITH_PLACES.contains(table)) {
        rx.scan(table, &[], &[0xff; 16], true, &mut |key, row| {
            sum = sum
                .rotate_left(7)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(u64::from(row_crc(table, key, row)));
            Ok(true)
        })?;
    }
    Ok(sum)
}

/// The key of a number.
pub(crate) fn key_u32(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

/// The key of a number.
pub(crate) fn key_u64(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The key of something of a mailbox's by UID.
pub(crate) fn key_uid(mailbox: MailboxId, uid: Uid) -> [u8; 8] {
    ((u64::from(mailbox.0) << 32) | u64::from(uid.0)).to_be_bytes()
}

/// The key of something of a mailbox's by modification sequence.
pub(crate) fn key_modseq(mailbox: MailboxId, modseq: ModSeq) -> [u8; 12] {
    let mut key = [0; 12];
    for (to, from) in key.iter_mut().zip(mailbox.0.to_be_bytes().into_iter().chain(modseq.0.to_be_bytes())) {
        *to = from;
    }
    key
}

/// The UID at the end of such a key.
pub(crate) fn uid_of_key(key: &[u8]) -> Option<Uid> {
    key.last_chunk::<4>().map(|uid| Uid(u32::from_be_bytes(*uid)))
}

/// The modification sequence at the end of such a key.
pub(crate) fn modseq_of_key(key: &[u8]) -> Option<ModSeq> {
    key.last_chunk::<8>().map(|modseq| ModSeq(u64::from_be_bytes(*modseq)))
}

/// The key of part of a blob.
pub(crate) fn key_blob(blob: u64, part: u32) -> [u8; 12] {
    let mut key = [0; 12];
    for (to, from) in key.iter_mut().zip(blob.to_be_bytes().into_iter().chain(part.to_be_bytes())) {
        *to = from;
    }
    key
}

/// The key of a name in an account.
pub(crate) fn key_name(account: u32, name: &str) -> Vec<u8> {
    let mut key = account.to_be_bytes().to_vec();
    key.extend_from_slice(name.as_bytes());
    key
}

/// Above every key that begins with `prefix` and goes on in UTF-8.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut key = prefix.to_vec();
    key.push(0xff);
    key
}
