//! The server's configuration, of what the card's file says and of what the machine is: never one that the server would not
//! start with.

use super::erase::FILE_BYTES_MAX;
use super::files::{Folder, read};
use super::settings::NAME;
use crate::config::{self, Board, Config, Parsed, Problem, human_bytes, profile};
use std::path::Path;

/// The configuration in the data directory.
pub(super) const CONFIG: &str = "pigeon.toml";

/// The server may have this part of the machine's memory: the system and the card's cached pages need theirs.
const MEMORY_SHARE: u64 = 2;

/// The server's configuration: what the card says, the machine's profile where it says nothing, and never one that the server
/// would not start with.
pub(super) fn server_config(
    said: Option<Parsed>,
    board: &Board,
    data: &Path,
    memory_bytes: u64,
    problems: &mut Vec<Problem>,
) -> Config {
    let Parsed { mut config, places } =
        said.unwrap_or_else(|| Parsed { config: Config::new(""), places: config::Places::default() });
    if places.of("data").is_some() {
        let remedy = "leave `data` out of the card's file";
        problems.push(Problem::warning(None, "the mail of a board is on its data partition alone", remedy));
    }
    config.data = data.to_owned();
    if config.hostname.is_empty() {
        config.hostname =
            kept_hostname(data).unwrap_or_else(|| format!("{}.local", board.name.as_deref().unwrap_or(NAME)));
    }
    let (limits, store) = profile(memory_bytes);
    if places.of("limits.memory").is_none() {
        config.limits.memory_bytes = limits.memory_bytes;
        // A cache of a size for another amount of memory might leave nothing of it.
        if places.of("store.index_cache").is_none() {
            config.store.index_cache_bytes = store.index_cache_bytes;
        }
    }
    let most_bytes = memory_bytes / MEMORY_SHARE;
    if memory_bytes > 0 && config.limits.memory_bytes > most_bytes.max(limits.memory_bytes) {
        let (asked, all) = (human_bytes(config.limits.memory_bytes), human_bytes(memory_bytes));
        let message = format!("`memory` in [limits] is {asked}, more than half of the {all} of this board");
        let usual = human_bytes(limits.memory_bytes);
        let remedy = format!("leave the line out for {usual}, or write at most memory = \"{} MiB\"", most_bytes >> 20);
        problems.push(Problem::error(None, message, remedy));
        (config.limits.memory_bytes, config.store.index_cache_bytes) = (limits.memory_bytes, store.index_cache_bytes);
    }
    if places.of("limits.connections").is_none() {
        config.limits.connections = limits.connections;
    }
    let would_start = |config: &Config| config::read(&config::print(config, "."), data).is_ok();
    if !would_start(&config) {
        (config.limits, config.store) = profile(memory_bytes);
    }
    if !would_start(&config) {
        config.listen = config::Listen::default();
    }
    if !would_start(&config) {
        let hostname = config.hostname;
        config = Config::new(&hostname);
        config.data = data.to_owned();
    }
    config
}

fn kept_hostname(data: &Path) -> Option<String> {
    // The folder is the server's own: what lies there may be no file at all.
    let octets = read(&Folder(data.to_owned()), CONFIG, FILE_BYTES_MAX).ok()??;
    let (parsed, _) = config::read_what_is_good(std::str::from_utf8(&octets).ok()?, data);
    Some(parsed?.config.hostname)
}
