//! How far a long job has come: a bar on a terminal, nothing elsewhere. What `progress` shows of messages looks the same.

use super::output::complain;
use crate::config::human_bytes;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// The bar's length in characters.
const CELLS: u64 = 24;
/// It is drawn again after so long.
const PAUSE: Duration = Duration::from_millis(100);

/// A bar on stderr; it goes when it is dropped.
#[derive(Debug)]
pub(super) struct Bar {
    what: &'static str,
    is_terminal: bool,
    drawn: Option<Instant>,
}

impl Bar {
    /// A bar for this job.
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, is_terminal: io::stderr().is_terminal(), drawn: None }
    }

    /// So many octets of so many are done.
    pub(super) fn at(&mut self, done: u64, total: u64) {
        if !self.is_terminal || self.drawn.is_some_and(|drawn| drawn.elapsed() < PAUSE) {
            return;
        }
        self.drawn = Some(Instant::now());
        draw(&line(self.what, done, total));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            draw("");
        }
    }
}

fn line(what: &str, done: u64, total: u64) -> String {
    let (done, total) = (done.min(total), total.max(1));
    format!("{what} {}  {} of {}", bar(percent(done, total)), human_bytes(done), human_bytes(total))
}

/// What of a hundred is done; where there is nothing to do, all.
pub(super) fn percent(done: u64, total: u64) -> u64 {
    done.min(total).saturating_mul(100).checked_div(total).unwrap_or(100)
}

/// The bar itself.
pub(super) fn bar(percent: u64) -> String {
    let cells = usize::try_from(percent * CELLS / 100).unwrap_or(0);
    let bar = format!("{:<width$}", "#".repeat(cells), width = usize::try_from(CELLS).unwrap_or(0));
    format!("[{bar}] {percent:>3} %")
}

/// Puts a text in the place of the terminal's last line.
pub(super) fn draw(text: &str) {
    complain(&format!("\r{text}\x1b[K"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_from_left_to_right() {
        assert_eq!(line("copying", 0, 0), "copying [                        ]   0 %  0 B of 1 B");
        assert_eq!(line("copying", 1 << 20, 2 << 20), "copying [############            ]  50 %  1 MiB of 2 MiB");
        assert!(line("copying", 5, 4).contains("100 %"));
        assert_eq!((percent(100, 400), percent(500, 400), percent(0, 0)), (25, 100, 100));
    }
}
