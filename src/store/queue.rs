//! The requests that wait for the writer: bounded, so that whoever asks too fast waits in its own future.

use super::Refusal;
use super::decide::Step;
use event_listener::Event;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Requests in one batch, and waiting, at the most.
const REQUESTS_MAX: usize = 256;
/// Octets of their bodies in one batch, unless a single request has more.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Tells whoever asked, once the batch is durable or has failed.
pub(crate) type Answer = Box<dyn FnOnce(Result<(), Refusal>) + Send>;

/// Something to be decided by the writer.
pub(crate) struct Request {
    /// Decides, and says how to answer.
    pub(crate) decide: Box<dyn FnOnce(&mut Step<'_, '_>) -> Answer + Send>,
    /// Octets that it will put into the batch, about.
    pub(crate) bytes: usize,
    /// Whether its batch waits a moment for others that are on their way.
    pub(crate) gathers: bool,
}

/// What the writer does next.
pub(crate) enum Work {
    /// Decide these.
    Batch(Vec<Request>),
    /// Nobody waits: there is time for chores.
    Chores,
    /// The index is to be opened again.
    Reopen,
    /// The store is to be closed.
    Close,
}

/// The queue.
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    room: Event,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    closed: bool,
    reopen: bool,
    /// Whoever waits for the index to be opened again.
    reopened: Vec<smol::channel::Sender<()>>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), room: Event::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a request in; waits while the queue is full. Gives it back when the store is closed.
    pub(crate) async fn push(&self, request: Request) -> Result<(), Request> {
        loop {
            let room = {
                let mut state = self.lock();
                if state.closed {
                    return Err(request);
                }
                if state.waiting.len() < REQUESTS_MAX {
                    state.waiting.push_back(request);
                    self.arrived.notify_one();
                    return Ok(());
                }
                self.room.listen()
            };
            room.await;
        }
    }

    /// Asks for the index to be opened again; the receiver ends when that has been tried.
    pub(crate) fn reopen(&self) -> smol::channel::Receiver<()> {
        let (done, wait) = smol::channel::bounded(1);
        let mut state = self.lock();
        if !state.closed {
            state.reopen = true;
            state.reopened.push(done);
            self.arrived.notify_one();
        }
        wait
    }

    /// Whoever asked for it is told.
    pub(crate) fn reopened(&self) {
        self.lock().reopened.clear();
    }

    /// No more requests are taken; those that wait are still decided.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_one();
        self.room.notify(usize::MAX);
    }

    /// Wakes the writer to count who is on the way.
    pub(crate) fn look_again(&self) {
        drop(self.lock());
        self.arrived.notify_one();
    }

    /// Waits for work. Gathers requests for at most `gather` while `on_the_way`, asked with how many have come, says that
    /// more are coming; with `chores` it does not wait for the first.
    pub(crate) fn take(&self, gather: Duration, on_the_way: &dyn Fn(usize) -> bool, chores: bool) -> Work {
        let mut state = self.lock();
        loop {
            if std::mem::take(&mut state.reopen) {
                return Work::Reopen;
            }
            if !state.waiting.is_empty() {
                break;
            }
            if state.closed {
                return Work::Close;
            }
            if chores {
                return Work::Chores;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now() + gather;
        while !state.closed && !is_full(&state) {
            let come = state.waiting.iter().filter(|request| request.gathers).count();
            if come == 0 || !on_the_way(come) {
                break;
            }
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                break;
            };
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut batch = Vec::new();
        let mut bytes = 0usize;
        while let Some(request) = state.waiting.front() {
            if !batch.is_empty() && bytes.saturating_add(request.bytes) > BATCH_BYTES_MAX {
                break;
            }
            bytes = bytes.saturating_add(request.bytes);
            batch.extend(state.waiting.pop_front());
        }
        drop(state);
        self.room.notify(usize::MAX);
        Work::Batch(batch)
    }
}

fn is_full(state: &State) -> bool {
    let bytes = state.waiting.iter().fold(0usize, |sum, request| sum.saturating_add(request.bytes));
    state.waiting.len() >= REQUESTS_MAX || bytes >= BATCH_BYTES_MAX
}
