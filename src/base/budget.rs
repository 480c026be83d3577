//! The memory budget: every buffer whose size a peer influences is granted here, so that the process stays
//! within `[limits] memory` by construction. A grant gives its bytes back when it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that may still be handed out. Cheap to clone; all clones share one account.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Account>);

#[derive(Debug)]
struct Account {
    total: usize,
    spent: AtomicUsize,
}

/// So many bytes of the budget, held until dropped.
#[derive(Debug)]
pub struct Grant {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// A budget of `total` bytes.
    pub fn new(total: usize) -> Self {
        Self(Arc::new(Account { total, spent: AtomicUsize::new(0) }))
    }

    /// Takes `bytes`, or nothing at all when fewer are left: the caller then refuses the work politely.
    pub fn take(&self, bytes: usize) -> Option<Grant> {
        let fits = |spent: usize| spent.checked_add(bytes).filter(|&sum| sum <= self.0.total);
        match self.0.spent.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits) {
            Ok(_) => Some(Grant { budget: self.clone(), bytes }),
            Err(_) => None,
        }
    }

    /// Bytes handed out and not yet given back.
    pub fn spent(&self) -> usize {
        self.0.spent.load(Ordering::Acquire)
    }

    /// Bytes there are in all.
    pub fn total(&self) -> usize {
        self.0.total
    }

    /// Whether less than half is spent: only then do buffers grow past their smallest useful size.
    pub fn is_roomy(&self) -> bool {
        self.spent() < self.0.total / 2
    }
}

impl Grant {
    /// A grant of nothing, to grow later.
    pub fn none(budget: &Budget) -> Self {
        Self { budget: budget.clone(), bytes: 0 }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes the grant exactly `bytes`; false, and unchanged, when the budget has not that many more.
    #[must_use]
    pub fn resize(&mut self, bytes: usize) -> bool {
        if bytes <= self.bytes {
            let back = self.bytes - bytes;
            self.budget.0.spent.fetch_sub(back, Ordering::AcqRel);
            self.bytes = bytes;
            return true;
        }
        let Some(mut more) = self.budget.take(bytes - self.bytes) else {
            return false;
        };
        self.bytes = bytes;
        more.bytes = 0; // now held by self
        true
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.budget.0.spent.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_refuses_and_a_dropped_grant_pays_back() {
        let budget = Budget::new(100);
        let first = budget.take(60).unwrap();
        assert!(budget.take(41).is_none());
        let mut second = budget.take(40).unwrap();
        assert_eq!(budget.spent(), 100);
        drop(first);
        assert!(second.resize(100));
        assert!(!second.resize(101));
        assert_eq!(budget.spent(), 100);
        assert!(second.resize(0));
        assert_eq!(budget.spent(), 0);
        drop(second);
        assert_eq!(budget.spent(), 0);
    }
}
