//! Reading rows, each with its checksum proved.

use super::{Bytes, IndexError};
use crate::store::keys::T;
use redb::{ReadOnlyTable, ReadableTable};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    pub(super) table: ReadOnlyTable<Bytes, Bytes>,
    pub(super) rows: u64,
    pub(super) wanted: Arc<AtomicBool>,
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
pub(super) fn prove(tree_key: &[u8], row: &[u8]) -> Result<(), IndexError> {
    let table = crate::store::keys::table_of(tree_key).and_then(T::from_number).ok_or(IndexError::Damaged(T::State))?;
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
            let table = crate::store::keys::table_of(tree).and_then(T::from_number);
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

pub(super) fn row_crc(table: T, key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&[table as u8]), key), value)
}

/// The value in a row, once its checksum is right.
fn checked<'a>(table: T, key: &[u8], row: &'a [u8]) -> Result<&'a [u8], IndexError> {
    let (value, crc) = row.split_last_chunk::<4>().ok_or(IndexError::Damaged(table))?;
    if row_crc(table, key, value) == u32::from_le_bytes(*crc) { Ok(value) } else { Err(IndexError::Damaged(table)) }
}

pub(super) fn look(
    rows: &impl ReadableTable<Bytes, Bytes>,
    table: T,
    key: &[u8],
    look: &mut Look<'_>,
) -> Result<(), IndexError> {
    match rows.get(&*table.tree_key(key))? {
        Some(row) => look(checked(table, key, row.value())?),
        None => Ok(()),
    }
}

pub(super) fn scan(
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

/// A sum over every row that names no place in the log: equal for equal contents.
pub(crate) fn digest(rx: &Rx) -> Result<u64, IndexError> {
    let mut sum = 0u64;
    for row in rx.table.range::<&[u8]>(..)? {
        let (key, value) = row?;
        if crate::store::keys::table_of(key.value()).is_some_and(|table| !T::names_places(table)) {
            let row = crc32c::crc32c_append(crc32c::crc32c(key.value()), value.value());
            sum = sum.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(row));
        }
    }
    Ok(sum)
}
