//! `status`: what the server serves, holds and spends.

use super::manage::reading;
use super::output::{Failure, failed, say, say_json, table};
use crate::config::human_bytes;
use crate::serve::{Answer, Request, Running, Status};
use crate::tls::date;
use std::path::Path;

pub(super) fn run(config: Option<&Path>, json: bool) -> Result<(), Failure> {
    match reading(config)?.ask(Request::Status) {
        Answer::Status(status) if json => say_json(&status),
        Answer::Status(status) => say(&text(&status)),
        other => Err(failed(other)),
    }
}

fn text(status: &Status) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    match &status.server {
        Some(server) => rows_of_server(server, &status.version, &mut row),
        None => row("server", "not running".to_owned()),
    }
    let holds = &status.holds;
    row("domains", holds.domains.to_string());
    row("accounts", holds.accounts.to_string());
    row("mailboxes", holds.mailboxes.to_string());
    row("messages", format!("{}, {}", holds.messages, human_bytes(holds.bytes)));
    row(
        "disk",
        format!(
            "{} of mail, {} no longer needed, {} of index",
            human_bytes(holds.live_bytes),
            human_bytes(holds.dead_bytes),
            human_bytes(holds.index_bytes)
        ),
    );
    table(&rows)
}

fn rows_of_server(server: &Running, version: &str, row: &mut impl FnMut(&str, String)) {
    row("server", format!("pigeon {version}, process {}, up {}", server.pid, human_time(server.uptime_s)));
    for served in &server.services {
        row(&served.service, served.address.clone());
    }
    let (year, month, day) = date(server.certificate_ends_s);
    row("certificate", format!("until {year:04}-{month:02}-{day:02}"));
    let connections = &server.connections;
    row(
        "connections",
        format!(
            "{} of {}; {} since the start, {} refused",
            connections.open, connections.open_max, connections.accepted, connections.refused
        ),
    );
    let memory = &server.memory;
    row(
        "memory",
        format!("{}, of that {} its own", human_bytes(memory.resident_bytes), human_bytes(memory.anonymous_bytes)),
    );
    row("buffers", format!("{} of {}", human_bytes(memory.budget_spent_bytes), human_bytes(memory.budget_bytes)));
    let store = &server.store;
    row("written", format!("{} in {} syncs since the start", human_bytes(store.written_bytes), store.syncs));
    if let Some(why) = &store.read_only {
        row("read only", why.clone());
    }
}

/// Seconds for people: the two largest units.
fn human_time(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (length, unit) in units {
        if rest >= length || (length == 1 && parts.is_empty()) {
            parts.push(format!("{} {unit}", rest / length));
            rest %= length;
        }
    }
    parts.truncate(2);
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_for_people() {
        let table = [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (86_400, "1 d"), (90_061, "1 d 1 h")];
        for (seconds, text) in table {
            assert_eq!(human_time(seconds), text);
        }
    }
}
