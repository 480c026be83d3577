//! `status`: what the server serves, holds and spends.

use super::manage::reading;
use super::output::{Failure, failed, say, say_json, table};
use crate::config::human_bytes;
use crate::serve::{Answer, Request, Running, Status, WearStatus};
use crate::tls::date;
use std::path::Path;

/// No card lives so long (a thousand years).
const LIFE_S_MAX: u64 = 1_000 * 365 * 86_400;

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
    rows_of_wear(&status.wear, &mut row);
    rows_of_damage(&status.damage, status.damage_total, &mut row);
    table(&rows)
}

/// Damages shown one by one.
const DAMAGE_SHOWN: usize = 8;

/// What the last start found, and what to do.
fn rows_of_damage(damage: &[String], total: u64, row: &mut impl FnMut(&str, String)) {
    if total == 0 {
        return;
    }
    damage.iter().take(DAMAGE_SHOWN).for_each(|what| row("damaged", what.clone()));
    let shown = damage.len().min(DAMAGE_SHOWN) as u64;
    if total > shown {
        row("damaged", format!("{} more, which the log names", total - shown));
    }
    row(
        "remedy",
        "`pigeon verify` names each message that is hit; `pigeon restore` has a backup's; look after the card"
            .to_owned(),
    );
}

fn rows_of_wear(wear: &WearStatus, row: &mut impl FnMut(&str, String)) {
    let per_message =
        wear.per_message_bytes.map_or_else(String::new, |bytes| format!(", {} per message", human_bytes(bytes)));
    let (today, all) = (human_bytes(wear.written_today_bytes), human_bytes(wear.written_bytes));
    row("written", format!("{today} today, {all} in all{per_message}"));
    if let Some(endurance) = wear.endurance_bytes {
        let left = match wear.left_s {
            Some(left_s) if left_s >= LIFE_S_MAX => "at this pace for ever".to_owned(),
            Some(left_s) => format!("{} left at this pace", human_time(left_s)),
            None => "what is left can be told after a day".to_owned(),
        };
        // Hundredths of a percent.
        let used = u128::from(wear.written_bytes) * 10_000 / u128::from(endurance.max(1));
        row("card", format!("{}.{:02} % of {} used, {left}", used / 100, used % 100, human_bytes(endurance)));
    }
}

fn rows_of_server(server: &Running, version: &str, row: &mut impl FnMut(&str, String)) {
    row("server", format!("pigeon {version}, process {}, up {}", server.pid, human_time(server.uptime_s)));
    for served in &server.services {
        let by = if served.passed { ", bound by systemd" } else { "" };
        row(&served.service, format!("{}{by}", served.address));
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
    row("this run", format!("{} written in {} syncs", human_bytes(store.written_bytes), store.syncs));
    if let Some(why) = &store.read_only {
        row("read only", why.clone());
    }
}

/// Seconds for people: the two largest units.
fn human_time(seconds: u64) -> String {
    let units = [(365 * 86_400, "y"), (86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
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
    fn a_cards_life_is_told_where_its_endurance_is_known() {
        let shown = |wear: &WearStatus| {
            let mut rows = Vec::new();
            rows_of_wear(wear, &mut |name, value| rows.push(format!("{name}: {value}")));
            rows
        };
        let mut wear = WearStatus { written_today_bytes: 2 << 20, written_bytes: 5 << 30, ..WearStatus::default() };
        assert_eq!(shown(&wear), ["written: 2 MiB today, 5 GiB in all"]);
        (wear.per_message_bytes, wear.endurance_bytes) = (Some(9 << 10), Some(10 << 40));
        assert_eq!(
            shown(&wear),
            [
                "written: 2 MiB today, 5 GiB in all, 9 KiB per message",
                "card: 0.04 % of 10 TiB used, what is left can be told after a day"
            ]
        );
        wear.left_s = Some(41 * 365 * 86_400);
        assert!(shown(&wear)[1].ends_with("41 y left at this pace"));
        wear.left_s = Some(u64::MAX);
        assert!(shown(&wear)[1].ends_with("at this pace for ever"));
    }

    #[test]
    fn damage_is_told_with_what_to_do() {
        let shown = |damage: &[&str], total| {
            let damage: Vec<String> = damage.iter().map(|what| (*what).to_owned()).collect();
            let mut rows = Vec::new();
            rows_of_damage(&damage, total, &mut |name, value| rows.push(format!("{name}: {value}")));
            rows
        };
        assert!(shown(&[], 0).is_empty());
        let rows = shown(&["segment 7 is missing"], 3);
        assert_eq!(rows[..2], ["damaged: segment 7 is missing", "damaged: 2 more, which the log names"]);
        assert!(rows[2].starts_with("remedy: ") && rows.len() == 3, "{rows:?}");
    }

    #[test]
    fn times_are_written_for_people() {
        let table = [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (86_400, "1 d"),
            (90_061, "1 d 1 h"),
            (366 * 86_400, "1 y 1 d"),
        ];
        for (seconds, text) in table {
            assert_eq!(human_time(seconds), text);
        }
    }
}
