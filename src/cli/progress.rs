//! How far a long verb has come: a bar on a terminal, a line every few seconds elsewhere.

use super::bar::{bar, draw, percent};
use super::output::complain;
use crate::config::human_bytes;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// A bar is drawn so often at the most,
const BAR_PAUSE: Duration = Duration::from_millis(200);
/// and a line written.
const LINE_PAUSE: Duration = Duration::from_secs(5);

/// How far it is.
#[derive(Debug)]
pub(super) struct Progress {
    is_terminal: bool,
    started: Instant,
    shown: Option<Instant>,
    /// Messages and their octets that are done.
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// What is done of `total`, of whatever measures the way.
    pub(super) done: u64,
    total: u64,
}

impl Progress {
    pub(super) fn new(total: u64) -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self { is_terminal, started: Instant::now(), shown: None, messages: 0, bytes: 0, done: 0, total }
    }

    /// Shows it, if it is time.
    pub(super) fn show(&mut self) {
        let pause = if self.is_terminal { BAR_PAUSE } else { LINE_PAUSE };
        if self.shown.unwrap_or(self.started).elapsed() < pause {
            return;
        }
        self.shown = Some(Instant::now());
        let (percent, line) = (percent(self.done, self.total), self.line(self.started.elapsed()));
        match self.is_terminal {
            true => draw(&format!("{}  {line}", bar(percent))),
            false => complain(&format!("{percent:>3} %  {line}\n")),
        }
    }

    /// Makes room for another line, or for the end.
    pub(super) fn clear(&mut self) {
        if self.is_terminal && self.shown.is_some() {
            draw("");
        }
    }

    fn line(&self, spent: Duration) -> String {
        let per_s = u128::from(self.messages) * 1_000 / spent.as_millis().max(1);
        let (messages, bytes) = (self.messages, human_bytes(self.bytes));
        format!("{messages} messages, {bytes}, {per_s} per second")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let mut progress = Progress::new(400);
        (progress.messages, progress.bytes) = (1_200, 3 << 20);
        assert_eq!(progress.line(Duration::from_secs(2)), "1200 messages, 3 MiB, 600 per second");
    }
}
