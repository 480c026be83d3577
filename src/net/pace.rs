//! How fast a peer must take what it is told. One that takes an octet a minute holds what is kept for it as one that takes
//! nothing does. Pure: time comes in.

use std::time::Duration;

/// Time spent waiting for the peer over which its pace is judged (RFC 5321 4.5.3.2 asks for minutes of patience).
const WINDOW: Duration = Duration::from_secs(180);
/// Octets that it must take in that: 182 a second, less than any link that a person would wait for.
const WINDOW_OCTETS_MIN: u64 = 32 * 1024;

/// A window under way. Only waiting counts: what the kernel takes at once takes no time.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    octets: u64,
}

impl Pace {
    /// How much longer a write that has waited so long may wait before it is looked at again; `None` when the peer is too
    /// slow.
    pub(super) fn patience(&self, waited: Duration) -> Option<Duration> {
        // A peer that took enough in this window has the next one for this write.
        let windows = if self.octets >= WINDOW_OCTETS_MIN { 2 } else { 1 };
        let left = (WINDOW * windows).saturating_sub(self.waited.saturating_add(waited));
        let left = left.min(WINDOW.saturating_sub(waited));
        (!left.is_zero()).then_some(left)
    }

    /// A write of so many octets is done, and waited so long.
    pub(super) fn wrote(&mut self, octets: usize, waited: Duration) {
        self.waited = self.waited.saturating_add(waited);
        self.octets = self.octets.saturating_add(octets as u64);
        if self.octets >= WINDOW_OCTETS_MIN && self.waited >= WINDOW {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds until a peer that takes `octets` every `every_s` seconds is ended; `None` when it gets through an hour.
    fn ended_after_s(octets: usize, every_s: u64) -> Option<u64> {
        let mut pace = Pace::default();
        let mut now_s = 0;
        while now_s < 3_600 {
            let patience = pace.patience(Duration::ZERO)?.as_secs();
            if patience < every_s {
                return Some(now_s + patience);
            }
            now_s += every_s;
            pace.wrote(octets, Duration::from_secs(every_s));
            if pace.patience(Duration::ZERO).is_none() {
                return Some(now_s);
            }
        }
        None
    }

    #[test]
    fn only_peers_that_take_next_to_nothing_are_ended() {
        for (octets, every_s, ended_s, why) in [
            (1, 60, Some(180), "an octet a minute"),
            (100, 1, Some(180), "a hundred a second"),
            (1_024, 1, None, "a very slow modem"),
            (65_536, 64, None, "the same, in the windows of a large segment"),
            (65_536, 170, None, "slower, but enough in every window"),
            (1 << 20, 200, Some(180), "nothing for the whole of a window"),
        ] {
            assert_eq!(ended_after_s(octets, every_s), ended_s, "{why}");
        }
    }
}
