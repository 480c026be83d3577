//! `verify`: reads everything that is kept, and names what is damaged.

use super::bar::Bar;
use super::manage::reading;
use super::output::{Failure, failed, say, say_json};
use crate::config::human_bytes;
use crate::serve::{Answer, Checked};
use std::path::Path;

pub(super) fn run(config: Option<&Path>, json: bool) -> Result<(), Failure> {
    let mut bar: Option<(String, Bar)> = None;
    let answer = reading(config)?.verify(&mut |part, done, total| {
        if bar.as_ref().is_none_or(|(shown, _)| shown != part) {
            bar = Some((part.to_owned(), Bar::new("reading")));
        }
        if let Some((_, bar)) = &mut bar {
            bar.at(done, total);
        }
    });
    drop(bar);
    let checked = match answer {
        Answer::Verified(checked) => checked,
        other => return Err(failed(other)),
    };
    match json {
        true => say_json(&checked)?,
        false => say(&text(&checked))?,
    }
    if checked.faults_total == 0 { Ok(()) } else { Err(Failure::Told) }
}

fn text(checked: &Checked) -> String {
    let mut text: String = checked.faults.iter().map(|fault| format!("damaged: {fault}\n")).collect();
    let untold = checked.faults_total.saturating_sub(checked.faults.len() as u64);
    if untold > 0 {
        text.push_str(&format!("damaged: {untold} more\n"));
    }
    text.push_str(&format!(
        "read {} rows of the index, {} parts of bodies ({}), {} batches of the log, {} snapshots: ",
        checked.rows,
        checked.chunks,
        human_bytes(checked.chunk_bytes),
        checked.batches,
        checked.snapshots
    ));
    match checked.faults_total {
        0 => text.push_str("nothing is damaged\n"),
        faults => text.push_str(&format!(
            "{faults} damaged\n    remedy: a damaged body costs its message alone; `pigeon salvage` makes a damaged \
             index anew; `pigeon restore` has a backup's\n"
        )),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_named_and_counted() {
        let whole = Checked { rows: 5, chunks: 2, chunk_bytes: 2048, batches: 3, snapshots: 1, ..Checked::default() };
        assert!(text(&whole).ends_with("nothing is damaged\n"));
        let faults = vec!["body 7 is damaged".to_owned()];
        let broken = Checked { faults, faults_total: 3, ..whole };
        let text = text(&broken);
        assert!(text.starts_with("damaged: body 7 is damaged\ndamaged: 2 more\nread "), "{text}");
        assert!(text.contains("3 damaged"), "{text}");
    }
}
