//! How much is written to the card over its life: a small file in the data directory, written at the end and at most once an
//! hour. Nothing in it hangs on the wall clock but "today"; a clock that was never set does not start a new day.

use crate::base::replace_file;
use crate::store::{Stats, Store};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const FILE: &str = "wear.json";
const VERSION: u32 = 1;
/// The file is not written more often while the store is open.
const SAVE_PAUSE: Duration = Duration::from_secs(3_600);
/// A clock before this was never set (1 January 2025): it tells no day.
const DAY_MIN: i64 = 20_089;
const DAY_S: i64 = 86_400;
/// The pace of less than a day says nothing about years.
const PACE_S_MIN: u64 = 86_400;
/// No such file is longer.
const BYTES_MAX: u64 = 4 * 1024;

/// What is written down.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
struct Counted {
    version: u32,
    /// Octets written in all.
    bytes: u64,
    /// The day that is today, days since 1970; 0 while no clock has told.
    day: i64,
    /// Octets written on it.
    day_bytes: u64,
    /// Seconds for which the store was open.
    running_s: u64,
    /// Messages stored before counting began.
    messages_before: Option<u64>,
}

/// Counts what is written.
#[derive(Debug)]
pub(super) struct Wear {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    counted: Counted,
    /// Octets that the store has written of which `counted` knows.
    known_bytes: u64,
    /// Up to when `counted` knows.
    known_until: Duration,
    saved_at: Duration,
}

/// What a card has taken, and may yet take.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct WearStatus {
    /// Octets written to the disk today (UTC).
    pub written_today_bytes: u64,
    /// Octets written to the disk since the data directory was made.
    pub written_bytes: u64,
    /// Messages stored in that time; copies count once.
    pub messages: u64,
    /// Octets written for each of these; nothing while there is none.
    pub per_message_bytes: Option<u64>,
    /// Seconds for which the store was open.
    pub running_s: u64,
    /// What the card can take, as configured.
    pub endurance_bytes: Option<u64>,
    /// Seconds of running that are left at this pace; nothing before a day's worth of running.
    pub left_s: Option<u64>,
}

impl Counted {
    /// `bytes` more were written, up to this second.
    fn add(&mut self, bytes: u64, unix_s: i64) {
        let day = unix_s.div_euclid(DAY_S);
        if day >= DAY_MIN && day != self.day {
            // What came while no clock told is today's.
            if self.day != 0 {
                self.day_bytes = 0;
            }
            self.day = day;
        }
        self.day_bytes = self.day_bytes.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn status(&self, messages_ever: u64, endurance_bytes: u64) -> WearStatus {
        let messages = messages_ever.saturating_sub(self.messages_before.unwrap_or(messages_ever));
        let left = |endurance: u64| {
            let pace = u128::from(self.bytes).max(1);
            let left = u128::from(endurance.saturating_sub(self.bytes));
            u64::try_from(left.saturating_mul(u128::from(self.running_s)) / pace).unwrap_or(u64::MAX)
        };
        let endurance_bytes = (endurance_bytes > 0).then_some(endurance_bytes);
        WearStatus {
            written_today_bytes: self.day_bytes,
            written_bytes: self.bytes,
            messages,
            per_message_bytes: self.bytes.checked_div(messages),
            running_s: self.running_s,
            endurance_bytes,
            left_s: endurance_bytes.filter(|_| self.running_s >= PACE_S_MIN).map(left),
        }
    }
}

impl Wear {
    /// Goes on with what is written down in `data`; whatever cannot be read there counts from nothing.
    pub(super) fn open(data: &Path, now: Duration) -> Self {
        let path = data.join(FILE);
        let is_small = std::fs::metadata(&path).is_ok_and(|facts| facts.len() <= BYTES_MAX);
        let read = is_small.then(|| std::fs::read(&path).ok()).flatten();
        let counted = read.and_then(|octets| serde_json::from_slice::<Counted>(&octets).ok());
        let counted = counted.filter(|counted| counted.version == VERSION);
        let counted = counted.unwrap_or(Counted { version: VERSION, ..Counted::default() });
        Self { path, state: Mutex::new(State { counted, known_bytes: 0, known_until: now, saved_at: now }) }
    }

    /// Takes in what the store has written so far. `now` is monotonic.
    fn take(&self, written_bytes: u64, unix_s: i64, now: Duration) -> Counted {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = written_bytes.saturating_sub(state.known_bytes);
        state.known_bytes = written_bytes.max(state.known_bytes);
        state.counted.add(bytes, unix_s);
        let spent_s = now.saturating_sub(state.known_until).as_secs();
        state.counted.running_s = state.counted.running_s.saturating_add(spent_s);
        state.known_until = state.known_until.saturating_add(Duration::from_secs(spent_s));
        state.counted
    }

    /// How it is now.
    pub(super) fn status(&self, stats: &Stats, endurance_bytes: u64, (unix_s, now): (i64, Duration)) -> WearStatus {
        self.begin(stats.messages_ever);
        self.take(stats.written_bytes, unix_s, now).status(stats.messages_ever, endurance_bytes)
    }

    /// Messages count from here, unless they do already.
    pub(super) fn begin(&self, messages_ever: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.counted.messages_before.get_or_insert(messages_ever);
    }

    /// Whether an hour has passed since it was written down.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        now.saturating_sub(state.saved_at) >= SAVE_PAUSE
    }

    /// Writes it down, if anything was written since. Blocks.
    pub(super) fn save(&self, store: &Store, unix_s: i64, now: Duration) -> io::Result<()> {
        let before = self.state.lock().unwrap_or_else(PoisonError::into_inner).known_bytes;
        let written_bytes = store.written_bytes();
        let mut counted = self.take(written_bytes, unix_s, now);
        let is_new = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let is_new = written_bytes > before || now.saturating_sub(state.saved_at) >= SAVE_PAUSE;
            state.saved_at = now;
            is_new
        };
        if !is_new {
            return Ok(());
        }
        counted.version = VERSION;
        replace_file(&self.path, &serde_json::to_vec(&counted)?, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY_S: i64 = 1_790_000_000;

    #[test]
    fn today_ends_at_midnight_and_no_jump_of_the_clock_breaks_it() {
        let mut counted = Counted::default();
        for (unix_s, today, why) in [
            (0, 10, "booted in 1970: no day yet"),
            (TODAY_S, 20, "the time arrives: what came before is today's"),
            (TODAY_S + 60, 30, "the same day"),
            (5, 40, "back in 1970 after a restart: the same day goes on"),
            (TODAY_S + 70, 50, "and the time arrives again"),
            (TODAY_S + DAY_S, 10, "the next day"),
            (TODAY_S + 90 * 365 * DAY_S, 10, "far ahead by mistake"),
            (TODAY_S + DAY_S, 10, "and back"),
            (i64::MIN, 20, "nonsense"),
        ] {
            counted.add(10, unix_s);
            assert_eq!(counted.day_bytes, today, "{why}");
        }
        assert_eq!(counted.bytes, 90);
    }

    #[test]
    fn a_cards_life_follows_from_the_pace() {
        let mut counted = Counted { bytes: 1_000, running_s: 86_400, messages_before: Some(5), ..Counted::default() };
        let status = counted.status(105, 11_000);
        assert_eq!((status.per_message_bytes, status.messages), (Some(10), 100));
        assert_eq!(status.left_s, Some(864_000), "ten times what is used, at the same pace");
        assert_eq!(counted.status(105, 0).endurance_bytes, None, "not configured");
        assert_eq!(counted.status(105, 999).left_s, Some(0), "used up");
        counted.running_s -= 1;
        assert_eq!(counted.status(105, 11_000).left_s, None, "too early to tell");
        assert_eq!(Counted::default().status(7, 1).per_message_bytes, None, "no message yet");
        let most = Counted { bytes: 1, running_s: u64::MAX, ..Counted::default() };
        assert_eq!(most.status(0, u64::MAX).left_s, Some(u64::MAX));
    }

    #[test]
    fn what_was_counted_goes_on_after_a_restart_also_with_a_broken_file() {
        let folder = tempfile::tempdir().unwrap();
        let wear = Wear::open(folder.path(), Duration::ZERO);
        wear.begin(3);
        let counted = wear.take(500, TODAY_S, Duration::from_millis(7_900));
        assert_eq!(wear.take(700, TODAY_S, Duration::from_millis(8_100)).running_s, 8, "no part of a second is lost");
        assert_eq!(wear.take(600, TODAY_S, Duration::from_secs(1)).bytes, 700, "nothing counts backwards");
        std::fs::write(folder.path().join(FILE), serde_json::to_vec(&counted).unwrap()).unwrap();
        let again = Wear::open(folder.path(), Duration::from_secs(99));
        let counted = again.take(50, TODAY_S, Duration::from_secs(100));
        assert_eq!((counted.bytes, counted.running_s, counted.messages_before), (550, 8, Some(3)));
        std::fs::write(folder.path().join(FILE), "{\"version\":").unwrap();
        assert_eq!(Wear::open(folder.path(), Duration::ZERO).take(0, TODAY_S, Duration::ZERO).bytes, 0);
    }

    #[test]
    fn it_is_written_down_once_an_hour_at_the_most() {
        let folder = tempfile::tempdir().unwrap();
        let wear = Wear::open(folder.path(), Duration::from_secs(10));
        assert!(!wear.is_due(Duration::from_secs(3_609)) && wear.is_due(Duration::from_secs(3_610)));
    }
}
