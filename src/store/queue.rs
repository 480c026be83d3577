//! The requests that wait for the writer: bounded, so that whoever asks too fast waits in its own future.

use super::Refusal;
use super::decide::Step;
use super::segment::Position;
use event_listener::Event;
use smol::channel::{Receiver, Sender};
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
    /// When it was handed in.
    pub(crate) came: Instant,
}

/// The last batch of what was sealed, and a number that none of its segments reaches.
pub(crate) type Left = (Position, u64);

/// What the writer does next.
pub(crate) enum Work {
    /// Decide these.
    Batch(Batch),
    /// Nobody waits: there is time for chores.
    Chores,
    /// What has been written so far is to be sealed: the log goes on in a new segment.
    Leave(Vec<Sender<Left>>),
    /// The index is to be opened again, or made anew.
    Reopen { anew: bool },
    /// The index is to be made durable; these wait for it.
    Checkpoint(Vec<Sender<Result<(), Refusal>>>),
    /// The store is to be closed.
    Close,
}

/// Requests that are decided together.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) requests: Vec<Request>,
    /// It waited for others until its time was over.
    pub(crate) waited_in_vain: bool,
}

/// How many deliveries a batch waits for: senders that were answered a moment ago mostly have more.
#[derive(Debug)]
pub(crate) struct Senders {
    gather: Duration,
    /// Deliveries in the last batch and in the one before, and when the last was answered.
    last: usize,
    before: usize,
    answered: Option<Instant>,
}

impl Senders {
    /// Nobody was answered yet.
    pub(crate) fn new(gather: Duration) -> Self {
        Self { gather, last: 0, before: 0, answered: None }
    }

    /// So many deliveries are waited for. One that comes alone after one that came alone waits for nobody.
    pub(crate) fn expected(&self, now: Instant) -> usize {
        let is_fresh = |answered: Instant| now.saturating_duration_since(answered) < self.gather * 10;
        if self.answered.is_some_and(is_fresh) { self.last.max(self.before) } else { 0 }
    }

    /// So many were in a batch that is answered now. Who was waited for in vain is not waited for again.
    pub(crate) fn answered(&mut self, deliveries: usize, waited_in_vain: bool, now: Instant) {
        self.before = if waited_in_vain { 0 } else { self.last };
        self.last = deliveries;
        self.answered = Some(now);
    }
}

/// The queue.
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    /// The writer rests: it waits for work, or for its turn.
    rested: Condvar,
    room: Event,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    closed: bool,
    reopen: bool,
    anew: bool,
    /// Whoever waits for the log to go on in a new segment.
    leave: Vec<Sender<Left>>,
    /// Whoever waits for the index to be opened again.
    reopened: Vec<Sender<()>>,
    /// The writer waits for work.
    is_waited_in: bool,
    /// The writer works only when it is given a turn: a test decides who goes first.
    takes_turns: bool,
    has_turn: bool,
    /// While the writer rests: whether there is work.
    rests: Option<bool>,
    /// Whoever waits for the index to be durable.
    checkpoint: Vec<Sender<Result<(), Refusal>>>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), rested: Condvar::new(), room: Event::new() }
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
                    state.rests = None;
                    self.arrived.notify_one();
                    return Ok(());
                }
                self.room.listen()
            };
            room.await;
        }
    }

    /// Asks for the index to be opened again, or made anew; the receiver ends when that has been tried.
    pub(crate) fn reopen(&self, anew: bool) -> Receiver<()> {
        let (done, wait) = smol::channel::bounded(1);
        let mut state = self.lock();
        if !state.closed {
            state.reopen = true;
            state.anew |= anew;
            state.reopened.push(done);
            state.rests = None;
            self.arrived.notify_one();
        }
        wait
    }

    /// Asks for what has been written so far to be sealed; the answer comes when it is.
    pub(crate) fn leave(&self) -> Receiver<Left> {
        let (done, wait) = smol::channel::bounded(1);
        let mut state = self.lock();
        if !state.closed {
            state.leave.push(done);
            state.rests = None;
            self.arrived.notify_one();
        }
        wait
    }

    /// The index was opened again, or made `anew`: whoever asked for it is told, those too who came meanwhile, when the old
    /// one still served them. Who has asked for more than was done waits for that.
    pub(crate) fn reopened(&self, anew: bool) {
        let mut state = self.lock();
        if state.anew && !anew {
            return;
        }
        state.reopen = false;
        state.anew = false;
        state.reopened.clear();
    }

    /// Asks for the index to be made durable; the receiver ends without an answer when the store is closed.
    pub(crate) fn checkpoint(&self) -> Receiver<Result<(), Refusal>> {
        let (done, wait) = smol::channel::bounded(1);
        let mut state = self.lock();
        if !state.closed {
            state.checkpoint.push(done);
            state.rests = None;
            self.arrived.notify_one();
        }
        wait
    }

    /// Whether the writer waits for work and there is none.
    pub(crate) fn is_at_rest(&self) -> bool {
        let state = self.lock();
        let has_work = state.reopen || !state.leave.is_empty() || !state.checkpoint.is_empty();
        state.closed || (state.is_waited_in && !has_work && state.waiting.is_empty())
    }

    /// Whether requests wait.
    pub(crate) fn is_busy(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// No more requests are taken; those that wait are still decided.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.rests = None;
        drop(state);
        self.rested.notify_all();
        self.arrived.notify_one();
        self.room.notify(usize::MAX);
    }

    /// Wakes the writer to count who is on the way.
    pub(crate) fn look_again(&self) {
        self.lock().rests = None;
        self.arrived.notify_one();
    }

    /// The writer works only when it is given a turn, or again whenever there is work.
    pub(crate) fn take_turns(&self, takes_turns: bool) {
        let mut state = self.lock();
        state.takes_turns = takes_turns;
        state.rests = None;
        drop(state);
        self.arrived.notify_one();
    }

    /// Waits until the writer rests; says whether it waits for its turn, and not for work.
    pub(crate) fn rest(&self) -> bool {
        let mut state = self.lock();
        loop {
            match state.rests {
                Some(has_work) => return has_work,
                None if state.closed => return false,
                None => state = self.rested.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Lets the writer do one piece of work.
    pub(crate) fn give_turn(&self) {
        let mut state = self.lock();
        state.has_turn = true;
        state.rests = None;
        drop(state);
        self.arrived.notify_one();
    }

    /// Waits for work. Gathers requests while `on_the_way`, asked with how many have come, says that more are coming, until
    /// the first has waited for `gather`; with `chores` it does not wait for the first.
    pub(crate) fn take(&self, gather: Duration, on_the_way: &dyn Fn(usize) -> bool, chores: bool) -> Work {
        let mut state = self.lock();
        loop {
            if state.takes_turns && !state.closed {
                let asked = state.reopen || !state.leave.is_empty() || !state.checkpoint.is_empty();
                let has_work = asked || !state.waiting.is_empty() || chores;
                if !has_work || !std::mem::take(&mut state.has_turn) {
                    state.rests = Some(has_work);
                    self.rested.notify_all();
                    state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                state.rests = None;
            }
            if std::mem::take(&mut state.reopen) {
                return Work::Reopen { anew: std::mem::take(&mut state.anew) };
            }
            if !state.leave.is_empty() {
                return Work::Leave(std::mem::take(&mut state.leave));
            }
            if !state.checkpoint.is_empty() {
                return Work::Checkpoint(std::mem::take(&mut state.checkpoint));
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
            state.is_waited_in = true;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.is_waited_in = false;
        }
        // What came while the batch before was written has waited already.
        let until = state.waiting.front().map_or_else(Instant::now, |first| first.came + gather);
        let mut waited_in_vain = false;
        while !state.closed && !is_full(&state) {
            let come = state.waiting.iter().filter(|request| request.gathers).count();
            if come == 0 || !on_the_way(come) {
                break;
            }
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                waited_in_vain = true;
                break;
            };
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut requests = Vec::new();
        let mut bytes = 0usize;
        while let Some(request) = state.waiting.front() {
            if !requests.is_empty() && bytes.saturating_add(request.bytes) > BATCH_BYTES_MAX {
                break;
            }
            bytes = bytes.saturating_add(request.bytes);
            requests.extend(state.waiting.pop_front());
        }
        drop(state);
        self.room.notify(usize::MAX);
        Work::Batch(Batch { requests, waited_in_vain })
    }
}

fn is_full(state: &State) -> bool {
    let bytes = state.waiting.iter().fold(0usize, |sum, request| sum.saturating_add(request.bytes));
    state.waiting.len() >= REQUESTS_MAX || bytes >= BATCH_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATHER: Duration = Duration::from_millis(3);

    fn request(came: Instant) -> Request {
        Request { decide: Box::new(|_| Box::new(|_| ())), bytes: 1, gathers: true, came }
    }

    fn take(queue: &Queue, expected: usize) -> Batch {
        match queue.take(GATHER, &|come| come < expected, false) {
            Work::Batch(batch) => batch,
            Work::Chores | Work::Leave(_) | Work::Reopen { .. } | Work::Checkpoint(_) | Work::Close => {
                panic!("no batch")
            }
        }
    }

    #[test]
    fn a_batch_gathers_from_when_its_first_request_came() {
        let queue = Queue::new();
        let came = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let began = Instant::now();
        for _ in 0..200 {
            smol::block_on(queue.push(request(came))).ok().unwrap();
            assert!(take(&queue, 2).waited_in_vain);
        }
        // Each waiting for 3 ms would be 600.
        assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
        smol::block_on(queue.push(request(Instant::now()))).ok().unwrap();
        smol::block_on(queue.push(request(came))).ok().unwrap();
        let began = Instant::now();
        assert_eq!(take(&queue, 3).requests.len(), 2);
        assert!(began.elapsed() >= Duration::from_millis(2), "{:?}", began.elapsed());
    }

    #[test]
    fn who_asks_for_the_index_while_it_is_made_anew_is_answered_by_that() {
        let queue = Queue::new();
        let take = || queue.take(GATHER, &|_| false, true);
        let waits = |asked: &Receiver<()>| !asked.is_closed();
        let first = queue.reopen(true);
        assert!(matches!(take(), Work::Reopen { anew: true }));
        let meanwhile = [queue.reopen(true), queue.reopen(false)];
        assert!(waits(&first) && meanwhile.iter().all(waits));
        queue.reopened(true);
        assert!(!waits(&first) && !meanwhile.iter().any(waits));
        assert!(matches!(take(), Work::Chores), "nobody asks for another one");
        // Opened again is not made anew.
        let first = queue.reopen(false);
        assert!(matches!(take(), Work::Reopen { anew: false }));
        let meanwhile = queue.reopen(true);
        queue.reopened(false);
        assert!(matches!(take(), Work::Reopen { anew: true }));
        queue.reopened(true);
        assert!(!waits(&first) && !waits(&meanwhile));
        assert!(matches!(take(), Work::Chores));
    }

    #[test]
    fn a_lone_sender_waits_for_nobody_and_for_those_who_left_once() {
        let now = Instant::now();
        let mut senders = Senders::new(GATHER);
        assert_eq!(senders.expected(now), 0);
        for _ in 0..3 {
            senders.answered(1, false, now);
            assert_eq!(senders.expected(now), 1, "itself");
        }
        senders.answered(10, false, now);
        assert_eq!(senders.expected(now), 10);
        assert_eq!(senders.expected(now + GATHER * 10), 0, "long ago");
        // One comes again alone, waits, and goes on alone.
        senders.answered(1, true, now);
        assert_eq!(senders.expected(now), 1);
        // Groups that alternate still wait for one another.
        senders.answered(5, false, now);
        senders.answered(2, false, now);
        assert_eq!(senders.expected(now), 5);
    }
}
