//! News without queues: after a commit the writer says how far a mailbox has come, and whoever watches wakes and reads what
//! changed. A mailbox or an account that nobody watches costs nothing.

use super::apply::News;
use super::{AccountId, MailboxId, ModSeq, Shared, Uid};
use event_listener::Event;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What is watched, and by how many.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    mailboxes: Mutex<HashMap<MailboxId, (usize, Arc<Bell>)>>,
    accounts: Mutex<HashMap<AccountId, (usize, Arc<Bell>)>>,
}

#[derive(Debug, Default)]
struct Bell {
    /// A mailbox's modification sequence, or how often an account changed.
    reached: AtomicU64,
    gone: AtomicBool,
    /// Messages with lower UIDs have been \Recent to somebody who watches.
    recent_from: AtomicU32,
    event: Event,
}

impl Bell {
    fn ring(&self, reached: u64) {
        self.reached.fetch_max(reached, Ordering::AcqRel);
        self.event.notify(usize::MAX);
    }

    fn end(&self) {
        self.gone.store(true, Ordering::Release);
        self.event.notify(usize::MAX);
    }

    async fn beyond(&self, seen: u64) {
        loop {
            let listener = self.event.listen();
            if self.gone.load(Ordering::Acquire) || self.reached.load(Ordering::Acquire) > seen {
                return;
            }
            listener.await;
        }
    }
}

fn enter<K: Copy + Eq + Hash>(map: &Mutex<HashMap<K, (usize, Arc<Bell>)>>, key: K) -> Arc<Bell> {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    let (count, bell) = map.entry(key).or_default();
    *count += 1;
    bell.clone()
}

fn leave<K: Copy + Eq + Hash>(map: &Mutex<HashMap<K, (usize, Arc<Bell>)>>, key: K) {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((count, _)) = map.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            map.remove(&key);
            if map.len() * 4 < map.capacity() {
                map.shrink_to_fit();
            }
        }
    }
}

fn find<K: Eq + Hash>(map: &Mutex<HashMap<K, (usize, Arc<Bell>)>>, key: &K) -> Option<Arc<Bell>> {
    map.lock().unwrap_or_else(PoisonError::into_inner).get(key).map(|(_, bell)| bell.clone())
}

impl Watched {
    /// Tells everybody what happened.
    pub(crate) fn publish(&self, news: &News) {
        for (mailbox, reached) in &news.mailboxes {
            if let Some(bell) = find(&self.mailboxes, mailbox) {
                bell.ring(reached.0);
            }
        }
        for mailbox in &news.gone {
            if let Some(bell) = find(&self.mailboxes, mailbox) {
                bell.end();
            }
        }
        for (account, gone) in &news.accounts {
            if let Some(bell) = find(&self.accounts, account) {
                bell.ring(bell.reached.load(Ordering::Acquire) + 1);
                if *gone {
                    bell.end();
                }
            }
        }
    }
}

/// Wakes when a mailbox has changed; holds no queue. Begin to watch before reading the mailbox, so that nothing falls
/// between.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    mailbox: MailboxId,
    bell: Arc<Bell>,
}

impl Watch {
    pub(crate) fn new(shared: &Arc<Shared>, mailbox: MailboxId) -> Self {
        Self { bell: enter(&shared.watched.mailboxes, mailbox), shared: shared.clone(), mailbox }
    }

    /// The modification sequence the mailbox has reached since somebody began to watch it, without a look at the disk; 0
    /// when nothing happened since.
    pub fn reached(&self) -> ModSeq {
        ModSeq(self.bell.reached.load(Ordering::Acquire))
    }

    /// Returns once the mailbox has reached more than `seen`, or is gone.
    pub async fn beyond(&self, seen: ModSeq) {
        self.bell.beyond(seen.0).await;
    }

    /// Claims what is \Recent below `next` for one session (RFC 3501 2.3.2: it should be one): the answer is the first UID
    /// that no other session has claimed, as far as those go that watch now.
    pub fn claim_recent(&self, next: Uid) -> Uid {
        Uid(self.bell.recent_from.fetch_max(next.0, Ordering::AcqRel))
    }

    /// As [`Watch::claim_recent`], for a session that claims nothing (EXAMINE).
    pub fn recent_from(&self) -> Uid {
        Uid(self.bell.recent_from.load(Ordering::Acquire))
    }

    /// Whether the mailbox was deleted while it was watched.
    pub fn is_gone(&self) -> bool {
        self.bell.gone.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        leave(&self.shared.watched.mailboxes, self.mailbox);
    }
}

/// Tells when an account got new secrets or was removed, from when the watch began.
#[derive(Debug)]
pub struct AccountWatch {
    shared: Arc<Shared>,
    account: AccountId,
    bell: Arc<Bell>,
    began: u64,
}

impl AccountWatch {
    pub(crate) fn new(shared: &Arc<Shared>, account: AccountId) -> Self {
        let bell = enter(&shared.watched.accounts, account);
        Self { began: bell.reached.load(Ordering::Acquire), bell, shared: shared.clone(), account }
    }

    /// Returns once the account has new secrets or is gone.
    pub async fn changed(&self) {
        self.bell.beyond(self.began).await;
    }

    /// Whether that has happened.
    pub fn has_changed(&self) -> bool {
        self.bell.reached.load(Ordering::Acquire) > self.began
    }

    /// Whether the account was removed.
    pub fn is_gone(&self) -> bool {
        self.bell.gone.load(Ordering::Acquire)
    }
}

impl Drop for AccountWatch {
    fn drop(&mut self) {
        leave(&self.shared.watched.accounts, self.account);
    }
}
