//! The index: redb behind a handle that can be swapped, because redb refuses everything after any failed read or write
//! until it is opened again. Every row carries a checksum over its table, key and value. The tables are drawn in
//! [`super::keys`].

use super::disk::{Disk, DiskFile};
use super::keys::T;
use super::rows::State;
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

const FILE: &str = "index.redb";
const TEMPORARY: &str = "index.redb.tmp";

/// Indexes that were set aside and are kept, the newest.
const ASIDE_KEPT: usize = 2;

type Bytes = &'static [u8];

const ROWS: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("rows");

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

impl IndexError {
    /// What the disk said, where that is all that is wrong.
    pub(crate) fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Redb(error) => match &**error {
                redb::Error::Io(error) => Some(error),
                _ => None,
            },
            Self::Damaged(_) | Self::Closed | Self::Behind => None,
        }
    }
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

/// Takes a row's key and value; answers whether to go on.
pub(crate) type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool, IndexError> + 'a;

/// Takes a value that was looked at where it lies.
pub(crate) type Look<'a> = dyn FnMut(&[u8]) -> Result<(), IndexError> + 'a;

/// As [`Each`], with nothing in place of a damaged row's value.
pub(crate) type EachWhole<'a> = dyn FnMut(&[u8], Option<&[u8]>) -> Result<bool, IndexError> + 'a;

/// Reading, in either kind of transaction.
pub(crate) trait Read {
    /// Calls `look` for the value of a key, if there is one.
    fn look(&mut self, table: T, key: &[u8], look: &mut Look<'_>) -> Result<(), IndexError>;
    /// Calls `each` for the rows from `from` to `to`, both included, ascending or not, until it answers false.
    fn scan(
        &mut self,
        table: T,
        from: &[u8],
        to: &[u8],
        ascending: bool,
        each: &mut Each<'_>,
    ) -> Result<(), IndexError>;

    /// The value of a key.
    fn get(&mut self, table: T, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let mut found = None;
        self.look(table, key, &mut |value| {
            found = Some(value.to_vec());
            Ok(())
        })?;
        Ok(found)
    }

    /// Whether there is such a key.
    fn has(&mut self, table: T, key: &[u8]) -> Result<bool, IndexError> {
        Ok(self.get(table, key)?.is_some())
    }
}

/// A step of reading.
pub(crate) struct Rx {
    table: ReadOnlyTable<Bytes, Bytes>,
    rows: u64,
    wanted: Arc<AtomicBool>,
}

impl Rx {
    /// Every row in key order as it stands in the tree, its checksum proved; given up when the index is to be opened again.
    pub(crate) fn rows(&mut self, each: &mut Each<'_>) -> Result<(), IndexError> {
        for row in self.table.range::<&[u8]>(..)? {
            let (key, value) = row?;
            self.rows += 1;
            prove(key.value(), value.value())?;
            if self.wanted.load(Ordering::Acquire) {
                return Err(IndexError::Closed);
            }
            if !each(key.value(), value.value())? {
                break;
            }
        }
        Ok(())
    }
}

/// Whether a row is what was written.
fn prove(tree_key: &[u8], row: &[u8]) -> Result<(), IndexError> {
    let table = super::keys::table_of(tree_key).and_then(T::from_number).ok_or(IndexError::Damaged(T::State))?;
    let key = table.key_of(tree_key).ok_or(IndexError::Damaged(table))?;
    checked(table, &key, row).map(drop)
}

/// Takes a row's key in the tree and its table, key and value, or nothing where it is damaged; answers whether to go on.
pub(crate) type EachRow<'a> = dyn FnMut(&[u8], Option<(T, &[u8], &[u8])>) -> Result<bool, IndexError> + 'a;

impl Rx {
    /// Calls `each` for the rows of all tables whose keys in the tree are from `from` on, ascending, until it answers false.
    pub(crate) fn walk(&mut self, from: &[u8], each: &mut EachRow<'_>) -> Result<(), IndexError> {
        for row in self.table.range::<&[u8]>(from..)? {
            let (tree, value) = row?;
            self.rows += 1;
            let tree = tree.value();
            let table = super::keys::table_of(tree).and_then(T::from_number);
            let key = table.and_then(|table| Some((table, table.key_of(tree)?)));
            let row = key.as_ref().and_then(|(table, key)| {
                checked(*table, key, value.value()).ok().map(|value| (*table, key.as_slice(), value))
            });
            if !each(tree, row)? {
                break;
            }
        }
        Ok(())
    }

    /// As [`Read::scan`], ascending, past damaged rows: one of them is no reason to be silent about the others.
    pub(crate) fn scan_whole(
        &mut self,
        table: T,
        from: &[u8],
        to: &[u8],
        each: &mut EachWhole<'_>,
    ) -> Result<(), IndexError> {
        self.rows += scan_whole(&self.table, table, (from, to), true, each)?;
        Ok(())
    }
}

impl Read for Rx {
    fn look(&mut self, table: T, key: &[u8], with: &mut Look<'_>) -> Result<(), IndexError> {
        self.rows += 1;
        look(&self.table, table, key, with)
    }
    fn scan(
        &mut self,
        table: T,
        from: &[u8],
        to: &[u8],
        ascending: bool,
        each: &mut Each<'_>,
    ) -> Result<(), IndexError> {
        let rows = scan(&self.table, table, (from, to), ascending, each)?;
        self.rows += rows;
        Ok(())
    }
}

/// A transaction of writing.
pub(crate) struct Tx<'t> {
    table: Table<'t, Bytes, Bytes>,
    state: Option<State>,
    state_before: Option<State>,
    /// What the transaction adds to and takes from segments' live octets, and adds to their dead ones.
    pub(crate) segments: BTreeMap<u64, (i64, i64)>,
    rows_read: u64,
    rows_written: u64,
}

impl Tx<'_> {
    /// Writes a row.
    pub(crate) fn put(&mut self, table: T, key: &[u8], mut value: Vec<u8>) -> Result<(), IndexError> {
        self.rows_written += 1;
        value.extend_from_slice(&row_crc(table, key, &value).to_le_bytes());
        self.table.insert(&*table.tree_key(key), value.as_slice())?;
        Ok(())
    }

    /// Breaks a row's checksum, as a worn card would.
    #[cfg(test)]
    pub(crate) fn spoil(&mut self, table: T, key: &[u8]) -> Result<(), IndexError> {
        let row = self.table.get(&*table.tree_key(key))?.map(|row| row.value().to_vec());
        let mut row = row.ok_or(IndexError::Damaged(table))?;
        row.iter_mut().for_each(|octet| *octet ^= 0x55);
        self.table.insert(&*table.tree_key(key), row.as_slice())?;
        Ok(())
    }

    /// Writes a row as it stood in a tree, checksum included.
    pub(crate) fn put_row(&mut self, tree_key: &[u8], row: &[u8]) -> Result<(), IndexError> {
        prove(tree_key, row)?;
        self.rows_written += 1;
        self.table.insert(tree_key, row)?;
        Ok(())
    }

    /// Removes a row; says whether there was one.
    pub(crate) fn remove(&mut self, table: T, key: &[u8]) -> Result<bool, IndexError> {
        self.rows_written += 1;
        Ok(self.table.remove(&*table.tree_key(key))?.is_some())
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
    fn look(&mut self, table: T, key: &[u8], with: &mut Look<'_>) -> Result<(), IndexError> {
        self.rows_read += 1;
        look(&self.table, table, key, with)
    }
    fn scan(
        &mut self,
        table: T,
        from: &[u8],
        to: &[u8],
        ascending: bool,
        each: &mut Each<'_>,
    ) -> Result<(), IndexError> {
        let rows = scan(&self.table, table, (from, to), ascending, each)?;
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

fn look(rows: &impl ReadableTable<Bytes, Bytes>, table: T, key: &[u8], look: &mut Look<'_>) -> Result<(), IndexError> {
    match rows.get(&*table.tree_key(key))? {
        Some(row) => look(checked(table, key, row.value())?),
        None => Ok(()),
    }
}

fn scan(
    rows: &impl ReadableTable<Bytes, Bytes>,
    table: T,
    (from, to): (&[u8], &[u8]),
    ascending: bool,
    each: &mut Each<'_>,
) -> Result<u64, IndexError> {
    scan_whole(rows, table, (from, to), ascending, &mut |key, value| {
        each(key, value.ok_or(IndexError::Damaged(table))?)
    })
}

fn scan_whole(
    rows: &impl ReadableTable<Bytes, Bytes>,
    table: T,
    (from, to): (&[u8], &[u8]),
    ascending: bool,
    each: &mut EachWhole<'_>,
) -> Result<u64, IndexError> {
    let mut count = 0;
    if from > to {
        return Ok(count);
    }
    let (mut from, mut to) = (table.tree_key(from), table.tree_key(to));
    let mut forward = ascending;
    if table.runs_backwards() {
        (from, to) = (to, from);
        forward = !forward;
    }
    let mut range = rows.range::<&[u8]>(&*from..=&*to)?;
    while let Some(row) = if forward { range.next() } else { range.next_back() } {
        let (key, value) = row?;
        count += 1;
        let key = table.key_of(key.value()).ok_or(IndexError::Damaged(table))?;
        if !each(&key, checked(table, &key, value.value()).ok())? {
            break;
        }
    }
    Ok(count)
}

/// Whether there is an index with anything in it.
pub(crate) fn is_there(disk: &dyn Disk) -> io::Result<bool> {
    match disk.open(FILE) {
        Ok(file) => Ok(file.len()? > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes what is left of an index that was made beside the one there is and is not to take its place.
#[derive(Debug)]
pub(crate) struct Unpublished<'a>(pub(crate) &'a dyn Disk);

impl Drop for Unpublished<'_> {
    fn drop(&mut self) {
        // One that has taken its place is not there any more.
        drop(self.0.remove(TEMPORARY));
    }
}

/// Puts the index aside, if there is one, where nobody looks for one; says where. Only the newest are kept.
fn set_aside(disk: &dyn Disk) -> io::Result<Option<String>> {
    let names = disk.list("")?;
    if !names.iter().any(|name| name == FILE) {
        return Ok(None);
    }
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| aside_number(name)).collect();
    numbers.sort_unstable();
    let aside = format!("{FILE}.broken-{}", numbers.last().map_or(1, |last| last.saturating_add(1)));
    disk.rename(FILE, &aside)?;
    for old in numbers.iter().rev().skip(ASIDE_KEPT - 1) {
        if let Err(error) = disk.remove(&format!("{FILE}.broken-{old}")) {
            log::warn!("removing {FILE}.broken-{old}: {error}");
        }
    }
    Ok(Some(aside))
}

/// The names of indexes that were put aside.
pub(crate) fn aside(disk: &dyn Disk) -> Vec<String> {
    let mut names = disk.list("").unwrap_or_default();
    names.retain(|name| aside_number(name).is_some());
    names
}

fn aside_number(name: &str) -> Option<u32> {
    name.strip_prefix(FILE)?.strip_prefix(".broken-")?.parse().ok()
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
pub(crate) fn digest(rx: &Rx) -> Result<u64, IndexError> {
    let mut sum = 0u64;
    for row in rx.table.range::<&[u8]>(..)? {
        let (key, value) = row?;
        if super::keys::table_of(key.value()).is_some_and(|table| !T::names_places(table)) {
            let row = crc32c::crc32c_append(crc32c::crc32c(key.value()), value.value());
            sum = sum.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(row));
        }
    }
    Ok(sum)
}
