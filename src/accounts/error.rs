//! Why the management of accounts did not do what was asked, in words for the person who asked.

use crate::store::Refusal;
use std::fmt;

/// Why an account, alias or domain was not changed. Nothing was changed then.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// The address cannot be one here; why, in words.
    BadAddress {
        /// What was given.
        address: String,
        /// What is wrong with it and how to write it.
        why: &'static str,
    },
    /// The domain cannot be one; why, in words.
    BadDomain {
        /// What was given.
        domain: String,
        /// What is wrong with it and how to write it.
        why: &'static str,
    },
    /// The password is empty, too long or holds a NUL.
    BadPassword(&'static str),
    /// There is one already.
    Exists {
        /// `account`, `alias` or `domain`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// There is none.
    NotFound {
        /// `account`, `alias` or `domain`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// An alias needs at least one target and takes at most [`crate::store::TARGETS_MAX`].
    TargetCount,
    /// An alias may only lead to an address that exists here.
    BadTarget(String),
    /// The domain still has accounts or aliases.
    DomainInUse(String),
    /// The store refused.
    Store(Refusal),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadAddress { address, why } => write!(f, "{address:?} is no address for an account or alias: {why}"),
            Self::BadDomain { domain, why } => write!(f, "{domain:?} is no domain: {why}"),
            Self::BadPassword(why) => write!(f, "{why}"),
            Self::Exists { kind, name } => write!(f, "the {kind} {name} exists already"),
            Self::NotFound { kind, name } => write!(f, "there is no {kind} {name}"),
            Self::TargetCount => {
                write!(f, "an alias needs 1 to {} targets, each an address here", crate::store::TARGETS_MAX)
            }
            Self::BadTarget(target) => {
                write!(f, "there is no account or alias {target}: an alias leads to addresses of this server only")
            }
            Self::DomainInUse(domain) => write!(f, "{domain} still has accounts or aliases: remove them first"),
            Self::Store(refusal) => f.write_str(match refusal {
                Refusal::DiskFull => "the disk is full; `pigeon status` tells how much must be free",
                Refusal::NoMemory => "the server has no memory to spare now; try again later",
                Refusal::Limit => "the store takes no more of these",
                Refusal::Damaged => "what is stored about it is damaged; see the log",
                Refusal::NotFound => "it is gone",
                Refusal::Exists => "there is one already",
                Refusal::NotAllowed => "the store does not allow it",
                Refusal::OverQuota => "the account is full",
                Refusal::Unavailable => "the store cannot do it now; see the log",
            }),
        }
    }
}

impl std::error::Error for Error {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Store(refusal)
    }
}
