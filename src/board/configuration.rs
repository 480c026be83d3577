//! The server's configuration, of what the card's file says and of what the machine is: never one that the server would not
//! start with.

use super::erase::FILE_BYTES_MAX;
use super::files::{Folder, read};
use super::settings::NAME;
use crate::config::{self, Board, Config, Listen, Parsed, Problem, Service, human_bytes, profile};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;

/// The configuration in the data directory.
pub(super) const CONFIG: &str = "pigeon.toml";

/// The server may have this part of the machine's memory: the system and the card's cached pages need theirs.
const MEMORY_SHARE: u64 = 2;

/// What the board has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    /// Its memory; 0 when it is not known.
    pub(super) memory_bytes: u64,
    /// Its data partition; 0 when it is not known.
    pub(super) data_bytes: u64,
}

/// The server's configuration: what the card says, the machine's profile where it says nothing, and never one that the server
/// would not start with.
pub(super) fn server_config(
    said: Option<Parsed>,
    board: &Board,
    data: &Path,
    Machine { memory_bytes, data_bytes }: Machine,
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
    let reserve_bytes = config.store.reserve_bytes;
    if data_bytes > 0 && reserve_bytes >= data_bytes {
        let (asked, all) = (human_bytes(reserve_bytes), human_bytes(data_bytes));
        let message =
            format!("`reserve` in [store] is {asked}, and the card's data partition has {all}: no mail would fit");
        problems.push(Problem::error(
            None,
            message,
            format!("leave the line out for {}", human_bytes(store.reserve_bytes)),
        ));
        config.store.reserve_bytes = store.reserve_bytes;
    }
    listen_everywhere(&mut config.listen, problems);
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

/// An address that the board may not have, today or tomorrow, would keep the whole server from starting.
fn listen_everywhere(listen: &mut Listen, problems: &mut Vec<Problem>) {
    for service in Service::ALL {
        let told = listen.of(service);
        let is_kept = |address: &SocketAddr| address.ip().is_unspecified() || address.ip().is_loopback();
        let Some(other) = told.iter().find(|address| !is_kept(address)).copied() else { continue };
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in told.iter().filter(|address| !is_kept(address)) {
            let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
            if !addresses.contains(&everywhere) {
                addresses.push(everywhere);
            }
        }
        // The wildcard has them already.
        let is_left = |kept: &&SocketAddr| is_kept(kept) && addresses.iter().all(|one| one.port() != kept.port());
        let left: Vec<SocketAddr> = told.iter().filter(is_left).copied().collect();
        addresses.extend(left);
        let (name, port) = (service.name(), other.port());
        let message = format!(
            "`{name}` in [listen] names {}: a board's addresses change, so it listens on all it has",
            other.ip()
        );
        problems.push(Problem::warning(None, message, format!("write {name} = \"[::]:{port}\", or \"off\"")));
        listen.set(service, addresses);
    }
}

fn kept_hostname(data: &Path) -> Option<String> {
    // The folder is the server's own: what lies there may be no file at all.
    let octets = read(&Folder(data.to_owned()), CONFIG, FILE_BYTES_MAX).ok()??;
    let (parsed, _) = config::read_what_is_good(std::str::from_utf8(&octets).ok()?, data);
    Some(parsed?.config.hostname)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_room_than_the_card_has_is_not_kept_free() {
        let machine = Machine { memory_bytes: 1 << 30, data_bytes: 4 << 30 };
        for (reserve, data_bytes, given_bytes) in [
            ("900 GiB", 4 << 30, 64 << 20),
            ("4 GiB", 4 << 30, 64 << 20),
            ("1 GiB", 4 << 30, 1 << 30),
            ("900 GiB", 0, 900 << 30),
        ] {
            let text = format!("hostname = \"a.example\"\n[store]\nreserve = \"{reserve}\"\n");
            let (parsed, board, mut problems) = config::read_board(&text, Path::new(""));
            let machine = Machine { data_bytes, ..machine };
            let config = server_config(Some(parsed), &board, Path::new("/nowhere"), machine, &mut problems);
            assert_eq!(config.store.reserve_bytes, given_bytes, "{reserve}");
            let told = problems.iter().filter(|problem| problem.message.contains("no mail would fit")).count();
            assert_eq!(told, usize::from(given_bytes == 64 << 20), "{reserve}: {problems:?}");
        }
    }
}
