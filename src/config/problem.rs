//! A problem with the configuration or the machine: what is wrong, where, and what to do. Printed with the line it is
//! about: drawn on a terminal, plain elsewhere.

use ariadne::{Color, Config, IndexType, Label, Report, ReportKind, Source};
use std::ops::Range;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The server would not start, or not do what was asked.
    Error,
    /// It would, but somebody should know.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// The octets of the configuration that it is about; `None`: the machine.
    pub place: Option<Range<usize>>,
    /// What is wrong, one line.
    pub message: String,
    /// What to do about it, one line.
    pub remedy: String,
}

/// How problems are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Lines of text, for files and pipes.
    Plain,
    /// Drawn, for a terminal.
    Drawn,
}

impl Problem {
    /// An error.
    pub fn error(place: Option<Range<usize>>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place, message: message.into(), remedy: remedy.into() }
    }

    /// The line of `text` that it is about, from 1.
    pub fn line(&self, text: &str) -> Option<usize> {
        self.place.as_ref().map(|place| line_at(text, place.start).0)
    }

    /// A warning.
    pub fn warning(place: Option<Range<usize>>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, place, message: message.into(), remedy: remedy.into() }
    }
}

/// Everything at once, in the order of the file, then what has no place. `name` is the file's, `text` its content.
pub fn report(name: &str, text: &str, problems: &[Problem], style: Style) -> String {
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by_key(|problem| problem.place.as_ref().map_or(usize::MAX, |place| place.start));
    sorted
        .into_iter()
        .map(|problem| match (style, &problem.place) {
            (Style::Drawn, Some(place)) => drawn(name, text, problem, place.clone()),
            (_, place) => plain(name, text, problem, place.as_ref()),
        })
        .collect()
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// `pigeon.toml:3:8: error: what`, the line, and the remedy.
fn plain(name: &str, text: &str, problem: &Problem, place: Option<&Range<usize>>) -> String {
    let word = word(problem.severity);
    let Some(place) = place else {
        return format!("{word}: {}\n    remedy: {}\n", problem.message, problem.remedy);
    };
    let (line, column, content) = line_at(text, place.start);
    format!(
        "{name}:{line}:{column}: {word}: {}\n    {}\n    remedy: {}\n",
        problem.message,
        content.trim_end(),
        problem.remedy
    )
}

fn drawn(name: &str, text: &str, problem: &Problem, place: Range<usize>) -> String {
    let (kind, color) = match problem.severity {
        Severity::Error => (ReportKind::Error, Color::Red),
        Severity::Warning => (ReportKind::Warning, Color::Yellow),
    };
    // The file's end is shown at its last octet.
    let end = place.end.min(text.len());
    let place = place.start.min(text.len().saturating_sub(1))..end.max(1).min(text.len());
    let report = Report::build(kind, (name, place.clone()))
        .with_config(Config::default().with_index_type(IndexType::Byte))
        .with_message(&problem.message)
        .with_label(Label::new((name, place)).with_message("here").with_color(color))
        .with_help(&problem.remedy)
        .finish();
    let mut octets = Vec::new();
    match report.write((name, Source::from(text)), &mut octets) {
        Ok(()) => String::from_utf8_lossy(&octets).into_owned(),
        Err(_) => plain(name, text, problem, problem.place.as_ref()),
    }
}

/// Line and column (from 1) of an octet, and the line itself.
pub(super) fn line_at(text: &str, offset: usize) -> (usize, usize, &str) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count();
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(start..).unwrap_or("").chars().count();
    (line + 1, column + 1, text.lines().nth(line).unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const TEXT: &str = "hostname = \"a\"\n[listen]\nsmpt = \"[::]:25\"\n";

    fn problems() -> Vec<Problem> {
        vec![
            Problem::error(None, "the disk is full", "delete something"),
            Problem::warning(Some(11..14), "not qualified", "use a full name"),
            Problem::error(Some(24..28), "unknown key `smpt`", "did you mean `smtp`?"),
        ]
    }

    #[test]
    fn plain_reports_name_line_and_column() {
        expect![[r#"
            pigeon.toml:1:12: warning: not qualified
                hostname = "a"
                remedy: use a full name
            pigeon.toml:3:1: error: unknown key `smpt`
                smpt = "[::]:25"
                remedy: did you mean `smtp`?
            error: the disk is full
                remedy: delete something
        "#]]
        .assert_eq(&report("pigeon.toml", TEXT, &problems(), Style::Plain));
    }

    #[test]
    fn drawn_reports_show_the_line_and_never_fail_at_the_ends_of_the_file() {
        let drawn = report("pigeon.toml", TEXT, &problems(), Style::Drawn);
        assert!(drawn.contains("smpt") && drawn.contains("did you mean"));
        for text in ["", "x", TEXT] {
            for place in [0..0, 0..text.len(), text.len()..text.len(), text.len()..text.len() + 5] {
                let all = report("f", text, &[Problem::error(Some(place), "what", "so")], Style::Drawn);
                assert!(all.contains("what"));
            }
        }
    }
}
