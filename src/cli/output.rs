//! What a verb prints, and how it fails.

use crate::config::{Problem, Style, report};
use crate::serve::{Answer, StartError};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Why a verb did not do what it was asked for.
#[derive(Debug)]
pub(super) enum Failure {
    /// It cannot be done; why.
    Failed(String),
    /// It was asked for in the wrong way; how to do it.
    Usage(String),
    /// Later it may be possible; why not now.
    TryLater(String),
    /// The configuration has problems, and they are printed already.
    Told,
}

impl Failure {
    /// Says why on stderr; the exit code.
    pub(super) fn report(self) -> ExitCode {
        let (words, code) = match self {
            Self::Failed(words) => (words, 1),
            Self::Usage(words) => (words, 2),
            Self::TryLater(words) => (words, 75),
            Self::Told => return ExitCode::from(1),
        };
        complain(&format!("pigeon: {words}\n"));
        ExitCode::from(code)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let words = error.to_string();
        match error {
            StartError::Busy(_) => Self::TryLater(words),
            StartError::Failed { .. } => Self::Failed(words),
        }
    }
}

/// Writes to stdout. Whoever closes it early, as `head` does, has seen enough.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::Failed(format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Writes a value as JSON, and a line end.
pub(super) fn say_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Failed(error.to_string()))?;
    say(&format!("{text}\n"))
}

/// Writes to stderr, as far as that is possible.
pub(super) fn complain(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// Prints problems with the configuration `name`, whose content is `text`, to stderr.
pub(super) fn complain_of(name: &str, text: &str, problems: &[Problem]) {
    let style = if io::stderr().is_terminal() { Style::Drawn } else { Style::Plain };
    complain(&report(name, text, problems, style));
}

/// What an answer that is none of the expected ones means.
pub(super) fn failed(answer: Answer) -> Failure {
    match answer {
        Answer::Failed { message } => Failure::Failed(message),
        Answer::TryLater { message } => Failure::TryLater(message),
        Answer::Done
        | Answer::Domains { .. }
        | Answer::Users { .. }
        | Answer::Aliases { .. }
        | Answer::Held { .. }
        | Answer::Verifying { .. }
        | Answer::Verified(_)
        | Answer::Status(_)
        | Answer::Import(_)
        | Answer::Export(_) => {
            Failure::Failed("the server answered something else; is it of another version?".to_owned())
        }
    }
}

/// Columns, each as wide as its widest cell; the last is not filled up.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["a", "bb", "c"], ["aaa", "b", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "a    bb  c\naaa  b\n");
    }
}
