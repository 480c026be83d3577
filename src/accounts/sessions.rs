//! How the sessions of an account learn that it was removed or its password changed: one signal for each account that has
//! sessions, held by them and only looked at from here. Bounded by the number of connections.

use crate::base::Stop;
use crate::store::AccountId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Entries before the first look for those whose sessions are gone.
const SWEEP_FIRST: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Signals>);

#[derive(Debug, Default)]
struct Signals {
    by_account: BTreeMap<AccountId, Weak<Stop>>,
    sweep_at: usize,
}

impl Sessions {
    /// The signal that a session of `account` is to heed.
    pub(super) fn signal(&self, account: AccountId) -> Arc<Stop> {
        let mut signals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signal) = signals.by_account.get(&account).and_then(Weak::upgrade) {
            return signal;
        }
        if signals.by_account.len() >= signals.sweep_at {
            signals.by_account.retain(|_, signal| signal.strong_count() > 0);
            signals.sweep_at = SWEEP_FIRST.max(signals.by_account.len().saturating_mul(2));
        }
        let signal = Arc::new(Stop::new());
        signals.by_account.insert(account, Arc::downgrade(&signal));
        signal
    }

    /// Ends every session of `account` that has its signal by now.
    pub(super) fn end(&self, account: AccountId) {
        let signal = self.0.lock().unwrap_or_else(PoisonError::into_inner).by_account.remove(&account);
        if let Some(signal) = signal.and_then(|signal| signal.upgrade()) {
            signal.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ending_reaches_the_sessions_of_one_account_and_later_ones_begin_anew() {
        let sessions = Sessions::default();
        let (first, second) = (sessions.signal(AccountId(1)), sessions.signal(AccountId(1)));
        let other = sessions.signal(AccountId(2));
        sessions.end(AccountId(1));
        assert!(first.is_given() && second.is_given());
        assert!(!other.is_given());
        assert!(!sessions.signal(AccountId(1)).is_given());
    }

    #[test]
    fn signals_of_ended_sessions_do_not_pile_up() {
        let sessions = Sessions::default();
        for id in 0..10_000 {
            drop(sessions.signal(AccountId(id)));
        }
        assert!(sessions.0.lock().unwrap().by_account.len() <= SWEEP_FIRST);
    }
}
