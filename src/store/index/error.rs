//! What can go wrong with the index.

use crate::store::keys::T;
use std::io;

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
