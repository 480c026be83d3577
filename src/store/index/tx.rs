//! A transaction of writing: rows with their checksums, and what it adds up of the state and of segments.

use super::read::{Each, Look, Read, look, prove, row_crc, scan};
use super::{Bytes, IndexError};
use crate::store::keys::T;
use crate::store::rows::State;
use redb::Table;
use std::collections::BTreeMap;

/// A transaction of writing.
pub(crate) struct Tx<'t> {
    pub(super) table: Table<'t, Bytes, Bytes>,
    pub(super) state: Option<State>,
    pub(super) state_before: Option<State>,
    /// What the transaction adds to and takes from segments' live octets, and adds to their dead ones.
    pub(crate) segments: BTreeMap<u64, (i64, i64)>,
    pub(super) rows_read: u64,
    pub(super) rows_written: u64,
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
        use redb::ReadableTable;
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

    pub(super) fn finish(&mut self) -> Result<(), IndexError> {
        for (segment, (live, dead)) in std::mem::take(&mut self.segments) {
            crate::store::rows::add_to_segment(self, segment, live, dead)?;
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
