//! The log: one line each to stderr, for people or (with priorities) for the journal. Lines that repeat are counted
//! instead of written, because on a board every line wears the card. Never writes a file of its own.

use log::{Level, LevelFilter, Log, Metadata, Record};
use std::env;
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A line that comes again within this time is counted, not written.
const REPEAT_WITHIN: Duration = Duration::from_secs(60);
/// Different lines that are watched for repetition.
const WATCHED_MAX: usize = 8;
/// A line is cut here; whatever a peer sent, a line stays a line.
const LINE_CHARACTERS_MAX: usize = 1_000;

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Starts the log; the first call counts.
pub fn start() {
    let form = if env::var_os("JOURNAL_STREAM").is_some() { Form::Journal } else { Form::Human };
    let logger = LOGGER.get_or_init(|| Logger { form, recent: Mutex::new(Recent::default()) });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
    std::panic::set_hook(Box::new(|panic| log::error!("bug: {}", panic.to_string().replace('\n', ": "))));
}

#[derive(Clone, Copy, Debug)]
enum Form {
    /// `<4>words`: the journal adds the time.
    Journal,
    /// `2026-01-02T03:04:05Z warning words`
    Human,
}

struct Logger {
    form: Form,
    recent: Mutex<Recent>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info && is_ours(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let words = one_line(&record.args().to_string());
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for (level, words) in recent.pass(record.level(), words, Instant::now()) {
            write(&line(self.form, level, &words, unix_s()));
        }
    }

    fn flush(&self) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for (level, words) in recent.rest() {
            write(&line(self.form, level, &words, unix_s()));
        }
    }
}

/// Libraries speak of their own trouble only when it is an error to us too, and then we say it.
fn is_ours(target: &str) -> bool {
    target == "pigeon" || target.starts_with("pigeon::")
}

/// Nobody reads it if stderr is gone; the server goes on.
fn write(line: &str) {
    drop(std::io::stderr().lock().write_all(line.as_bytes()));
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn line(form: Form, level: Level, words: &str, unix_s: u64) -> String {
    let (priority, name) = match level {
        Level::Error => (3, "error"),
        Level::Warn => (4, "warning"),
        Level::Info => (6, "info"),
        Level::Debug | Level::Trace => (7, "debug"),
    };
    match form {
        Form::Journal => format!("<{priority}>{words}\n"),
        Form::Human => {
            let (day_s, (year, month, day)) = (unix_s % 86_400, crate::tls::date(unix_s.try_into().unwrap_or(0)));
            let (hour, minute, second) = (day_s / 3_600, day_s / 60 % 60, day_s % 60);
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z {name} {words}\n")
        }
    }
}

/// Without control characters, cut at a bound.
fn one_line(words: &str) -> String {
    let plain = words.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    plain.take(LINE_CHARACTERS_MAX).collect()
}

/// The last different lines, and how often each has come again without being written.
#[derive(Default)]
struct Recent(Vec<Watched>);

struct Watched {
    level: Level,
    words: String,
    written: Instant,
    again: u32,
}

impl Recent {
    /// The lines to write when `words` are logged at `now`.
    fn pass(&mut self, level: Level, words: String, now: Instant) -> Vec<(Level, String)> {
        let mut lines = Vec::new();
        let is_old = |watched: &Watched| now.duration_since(watched.written) >= REPEAT_WITHIN;
        while let Some(at) = self.0.iter().position(is_old) {
            lines.extend(told(self.0.remove(at)));
        }
        if let Some(same) = self.0.iter_mut().find(|watched| watched.words == words) {
            same.again = same.again.saturating_add(1);
            return lines;
        }
        if self.0.len() >= WATCHED_MAX {
            lines.extend(told(self.0.remove(0)));
        }
        self.0.push(Watched { level, words: words.clone(), written: now, again: 0 });
        lines.push((level, words));
        lines
    }

    fn rest(&mut self) -> Vec<(Level, String)> {
        self.0.drain(..).filter_map(told).collect()
    }
}

fn told(watched: Watched) -> Option<(Level, String)> {
    (watched.again > 0).then(|| (watched.level, format!("{} repeated={}", watched.words, watched.again)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_lines_are_counted_and_told_later() {
        let mut recent = Recent::default();
        let start = Instant::now();
        let mut pass = |words: &str, after_s| {
            let lines = recent.pass(Level::Warn, words.to_owned(), start + Duration::from_secs(after_s));
            lines.into_iter().map(|(_, words)| words).collect::<Vec<_>>()
        };
        assert_eq!(pass("disk full", 0), ["disk full"]);
        assert_eq!(pass("peer gone", 1), ["peer gone"]);
        for second in 2..50 {
            assert!(pass("disk full", second).is_empty());
        }
        assert_eq!(pass("disk full", 61), ["disk full repeated=48", "disk full"]);
    }

    #[test]
    fn a_flood_of_different_lines_is_written_and_the_table_stays_small() {
        let mut recent = Recent::default();
        let now = Instant::now();
        for number in 0..100 {
            assert_eq!(recent.pass(Level::Info, format!("line {number}"), now).len(), 1);
        }
        assert_eq!(recent.0.len(), WATCHED_MAX);
    }

    #[test]
    fn what_a_peer_sent_cannot_make_a_second_line() {
        assert_eq!(one_line("a\r\nb"), "a\u{fffd}\u{fffd}b");
        assert_eq!(one_line(&"x".repeat(5_000)).len(), LINE_CHARACTERS_MAX);
    }

    #[test]
    fn the_journal_gets_priorities_and_people_get_the_time() {
        assert_eq!(line(Form::Journal, Level::Warn, "words", 0), "<4>words\n");
        assert_eq!(line(Form::Human, Level::Info, "words", 951_782_461), "2000-02-29T00:01:01Z info words\n");
    }
}
