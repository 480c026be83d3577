//! What the card's files say, taken over: the server's configuration, accounts, settings for scripts; then the secrets are
//! erased from the card and the report is written. Run at every start; what was done before is done again or left alone, so a
//! power cut anywhere is mended by the next start. Accounts are made by the caller, who has the store.

use super::erase::{self, exchange};
use super::files::{Files, Folder, read};
use super::report;
use super::settings::{self, NAME, key_of};
use super::text::{Erasure, cleaned, covered, decode};
use crate::base::{Secret, replace_file};
use crate::config::{self, Board, Config, Parsed, Problem, Severity, Style, profile, read_board, read_imager};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What a person edits, and what Notepad makes of its name.
const OURS: [&str; 2] = ["pigeon.toml", "pigeon.toml.txt"];
/// What Raspberry Pi Imager writes, and what it wrote before.
const IMAGERS: [&str; 2] = ["rpi-preseed.toml", "custom.toml"];
/// The server's configuration in the data directory.
const CONFIG: &str = "pigeon.toml";
/// What the card said last, without secrets, for a start without the card's file.
const KEPT: [&str; 2] = ["board.toml", "imager.toml"];

const HEAD: &str =
    "# Made of pigeon.toml on the card's first partition at every start of the board: change it there.\n";

/// Where things are; what could not be mounted is absent.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    /// The card's FAT partition. Without it, what the card said last is used, and nothing is erased or reported there.
    pub boot: Option<PathBuf>,
    /// The data directory, on the card's data partition. Without it nothing can be taken over, so nothing is erased.
    pub data: Option<PathBuf>,
}

/// An account to make, or to give a new password.
#[derive(Debug)]
pub struct NewAccount {
    /// Its address.
    pub address: String,
    /// The password.
    pub password: Secret,
}

/// What became of an order.
pub type Outcome = Result<String, String>;

/// Everything that the card's files ask for.
#[derive(Debug)]
pub struct Plan {
    card: Option<Folder>,
    data: Option<PathBuf>,
    sources: Vec<Source>,
    config: Config,
    board: Board,
    /// Problems of no file.
    problems: Vec<Problem>,
    /// Which source and which account of it each order comes from.
    orders: Vec<(usize, usize)>,
}

/// One file that says something.
#[derive(Debug)]
struct Source {
    name: &'static str,
    kept: &'static str,
    /// Whether it lies on the card, and not in the data directory.
    on_card: bool,
    text: String,
    board: Board,
    /// Values that hold secrets, taken over or not.
    secrets: Vec<std::ops::Range<usize>>,
    problems: Vec<Problem>,
}

impl Plan {
    /// Reads the card and what the data directory has kept, for a board with so many bytes of memory.
    pub fn read(folders: &Folders, memory_bytes: u64) -> Self {
        let Folders { boot, data } = folders.clone();
        let card = boot.map(Folder);
        let mut problems = Vec::new();
        if let Some(Err(error)) = card.as_ref().map(erase::finish) {
            problems.push(disk_problem("the card cannot be written", &error));
        }
        if data.is_none() {
            let message = "the data partition (pigeon-data) cannot be used: no account is made, and no password erased";
            problems.push(Problem::error(None, message, "look at the card in a computer, or flash another one"));
        }
        let folder = data.as_deref().unwrap_or(Path::new(""));
        let mut server = None;
        let mut sources = Vec::new();
        for (names, kept, is_ours) in [(OURS, KEPT[0], true), (IMAGERS, KEPT[1], false)] {
            let Some((name, on_card, text)) = find(card.as_ref(), data.as_deref(), names, kept, &mut problems) else {
                continue;
            };
            let source = if is_ours {
                let (parsed, board, problems) = read_board(&text, folder);
                let source = Source::new((name, kept, on_card), text, board, Some(&parsed), problems);
                server = Some(parsed);
                source
            } else {
                let (board, problems) = read_imager(&text);
                Source::new((name, kept, on_card), text, board, None, problems)
            };
            sources.push(source);
        }
        let mut board = Board::default();
        for source in &sources {
            board = merged(board, source.board.clone());
        }
        let config = server_config(server, &board, folder, memory_bytes, &mut problems);
        let has_store = folder.join("lock").exists();
        let mut orders = Vec::new();
        for (index, source) in sources.iter_mut().enumerate() {
            for (number, account) in source.board.accounts.iter_mut().enumerate() {
                // Imager knows the name alone.
                if !account.address.contains('@') {
                    account.address = format!("{}@{}", account.address, config.hostname);
                }
                if data.is_none() {
                    continue;
                }
                if !account.password.is_empty() {
                    orders.push((index, number));
                } else if !has_store {
                    let message = format!("{} has no password", account.address);
                    let remedy = "write one between the quotes of its `password`";
                    source.problems.push(Problem::error(Some(account.place.clone()), message, remedy));
                }
            }
        }
        Self { card, data, sources, config, board, problems, orders }
    }

    /// The server's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The settings for scripts.
    pub fn settings(&self) -> String {
        settings::lines(&self.board, &self.config.hostname)
    }

    /// The data directory; without one nothing can be kept, and nobody is to make accounts.
    pub fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// Domains to serve.
    pub fn domains(&self) -> Vec<String> {
        self.board.domains.iter().map(|(domain, _)| domain.clone()).collect()
    }

    /// Accounts to make, or to give a new password.
    pub fn accounts(&self) -> Vec<NewAccount> {
        let account = |&(source, number): &(usize, usize)| self.sources.get(source)?.board.accounts.get(number);
        let order = |account: &config::BoardAccount| NewAccount {
            address: account.address.clone(),
            password: Secret::new(account.password.clone().into_bytes()),
        };
        self.orders.iter().filter_map(account).map(order).collect()
    }

    /// Writes the configuration, and what the card said, into the data directory, where it changed. To be called as the owner
    /// of the data.
    pub fn keep(&self) -> io::Result<()> {
        let Some(data) = &self.data else { return Ok(()) };
        let mut text = HEAD.to_owned();
        if self.config.limits != config::Limits::default() || self.config.store != config::StoreConfig::default() {
            text.push_str("# Limits that the card's file does not name are those for a board with this much memory.\n");
        }
        text.push_str(&config::print(&self.config, "."));
        replace(&data.join(CONFIG), &text)?;
        for source in self.sources.iter().filter(|source| source.on_card && source.is_understood()) {
            replace(&data.join(source.kept), &cleaned(&source.text, source.erasures(|_| true)))?;
        }
        Ok(())
    }

    /// Erases the secrets that were taken over and writes the report; answers its text. `accounts` and `domains` are what became
    /// of the orders, in their order; `failures` what else went wrong.
    pub fn finish(mut self, accounts: Vec<Outcome>, domains: Vec<Outcome>, failures: Vec<(String, String)>) -> String {
        let mut done = Vec::new();
        let mut taken = Vec::new();
        for (&(source, number), outcome) in self.orders.iter().zip(accounts) {
            let Some(of) = self.sources.get_mut(source) else { continue };
            let Some(account) = of.board.accounts.get(number) else { continue };
            match outcome {
                Ok(what) => {
                    done.push(format!("{}: {what}", account.address));
                    taken.push((source, number));
                }
                Err(why) => {
                    let problem =
                        Problem::error(Some(account.place.clone()), why, "its password still stands on the card");
                    of.problems.push(problem);
                }
            }
        }
        for (domain, outcome) in self.board.domains.iter().zip(domains) {
            if let Err(why) = outcome {
                let message = format!("{}: {why}", domain.0);
                self.problems.push(Problem::error(None, message, "correct `domains` below [board]"));
            }
        }
        self.problems.extend(failures.into_iter().map(|(what, remedy)| Problem::error(None, what, remedy)));
        self.erase(&taken, &mut done);
        let text = self.report(&done);
        if let Some(Err(error)) = self.card.as_ref().map(|card| write_report(card, &text)) {
            return format!("{text}\n{} cannot be written: {error}\n", report::FILE);
        }
        text
    }

    /// Erases from the card the passwords of the orders that were carried out, and what else is of no use there.
    fn erase(&mut self, taken: &[(usize, usize)], done: &mut Vec<String>) {
        let (Some(card), Some(_)) = (&self.card, &self.data) else { return };
        for (index, source) in self.sources.iter().enumerate().filter(|(_, source)| source.on_card) {
            let erasures = source.erasures(|number| taken.contains(&(index, number)));
            if erasures.is_empty() {
                continue;
            }
            match exchange(card, source.name, cleaned(&source.text, erasures).as_bytes()) {
                Ok(()) => done.push(format!("{}: its passwords are erased", source.name)),
                Err(error) => self.problems.push(disk_problem("the passwords on the card cannot be erased", &error)),
            }
        }
    }

    fn report(&self, done: &[String]) -> String {
        let mut problems = config::report("", "", &self.problems, Style::Plain);
        for source in &self.sources {
            let covered = covered(&source.text, &source.secrets);
            problems.push_str(&config::report(source.name, &covered, &source.problems, Style::Plain));
        }
        let severities = self.sources.iter().flat_map(|source| &source.problems).chain(&self.problems);
        report::print(&report::Facts {
            has_data: self.data.is_some(),
            problems: &problems,
            // An error sorts before a warning.
            worst: severities.map(|problem| problem.severity).min(),
            done,
            config: &self.config,
            name: self.board.name.as_deref().unwrap_or(NAME),
            account: self.sources.iter().flat_map(|one| &one.board.accounts).map(|one| one.address.as_str()).next(),
            addresses: &self.board.addresses,
        })
    }
}

impl Source {
    fn new(
        (name, kept, on_card): (&'static str, &'static str, bool),
        text: String,
        board: Board,
        parsed: Option<&Parsed>,
        problems: Vec<Problem>,
    ) -> Self {
        let mut secrets = board.stale.clone();
        secrets.extend(board.accounts.iter().filter_map(|account| account.password_place.clone()));
        secrets.extend(board.wifi.iter().filter_map(|wifi| wifi.password_place.clone()));
        secrets.extend(["board.password", "wifi.password"].iter().filter_map(|key| parsed?.places.of(key)));
        Self { name, kept, on_card, text, board, secrets, problems }
    }

    fn is_understood(&self) -> bool {
        self.problems.iter().all(|problem| problem.severity == Severity::Warning)
    }

    /// What is to be replaced: passwords of the accounts that `is_taken` names, the network's, and what is of no use.
    fn erasures(&self, is_taken: impl Fn(usize) -> bool) -> Vec<Erasure> {
        let nothing = |place: &std::ops::Range<usize>| Erasure { place: place.clone(), with: String::new() };
        let mut erasures: Vec<Erasure> = self.board.stale.iter().map(nothing).collect();
        for (number, account) in self.board.accounts.iter().enumerate() {
            if let Some(place) = &account.password_place
                && !account.password.is_empty()
                && is_taken(number)
            {
                erasures.push(nothing(place));
            }
        }
        if let Some(wifi) = &self.board.wifi
            && let Some(place) = &wifi.password_place
            && !wifi.password.is_empty()
            && wifi.password.len() < 64
        {
            erasures.push(Erasure { place: place.clone(), with: key_of(wifi) });
        }
        erasures
    }
}

/// The first of these files that says anything, on the card or as it was kept.
fn find(
    card: Option<&Folder>,
    data: Option<&Path>,
    names: [&'static str; 2],
    kept: &'static str,
    problems: &mut Vec<Problem>,
) -> Option<(&'static str, bool, String)> {
    let mut found: Option<(&'static str, bool, String)> = None;
    for (name, card) in names.into_iter().filter_map(|name| Some((name, card?))) {
        let octets = match card.len(name) {
            Ok(None) => continue,
            Ok(Some(length)) if length > erase::FILE_BYTES_MAX as u64 => {
                problems.push(Problem::error(None, format!("{name} is larger than 64 KiB"), "no settings are so long"));
                continue;
            }
            Ok(Some(_)) => read(card, name, erase::FILE_BYTES_MAX),
            Err(error) => Err(error),
        };
        match octets.map(|octets| decode(octets.unwrap_or_default())) {
            Ok(Ok(text)) => match &found {
                Some((first, _, said)) if says_anything(said) => {
                    if says_anything(&text) {
                        let message = format!("there are {first} and {name}; {name} is not looked at");
                        problems.push(Problem::warning(None, message, format!("remove {name} from the card")));
                    }
                }
                _ => found = Some((name, true, text)),
            },
            Ok(Err((what, remedy))) => problems.push(Problem::error(None, format!("{name}: {what}"), remedy)),
            Err(error) => problems.push(disk_problem(&format!("{name} cannot be read"), &error)),
        }
    }
    found.or_else(|| Some((kept, false, fs::read_to_string(data?.join(kept)).ok()?)))
}

/// Whether the file on the card in `boot` asks for the mail of a backup; read as [`Plan::read`] reads it, nothing is written.
pub fn wants_restore(boot: &Path) -> bool {
    let card = Folder(boot.to_owned());
    let found = find(Some(&card), None, OURS, "", &mut Vec::new());
    found.is_some_and(|(_, _, text)| read_board(&text, Path::new("")).1.restore)
}

fn says_anything(text: &str) -> bool {
    text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with(['#', '[']))
}

/// What the first says, and the second where the first says nothing.
fn merged(first: Board, second: Board) -> Board {
    let list = |first: Vec<String>, second: Vec<String>| if first.is_empty() { second } else { first };
    Board {
        name: first.name.or(second.name),
        accounts: [first.accounts, second.accounts].concat(),
        domains: [first.domains, second.domains].concat(),
        addresses: list(first.addresses, second.addresses),
        gateway: first.gateway.or(second.gateway),
        dns: if first.dns.is_empty() { second.dns } else { first.dns },
        ntp: list(first.ntp, second.ntp),
        ssh_keys: list(first.ssh_keys, second.ssh_keys),
        restore: first.restore || second.restore,
        wifi: first.wifi.or(second.wifi),
        stale: Vec::new(),
    }
}

/// The server's configuration: what the card says, the machine's profile where it says nothing, and never one that the server
/// would not start with.
fn server_config(
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
    if places.of("limits.connections").is_none() {
        config.limits.connections = limits.connections;
    }
    let unreadable = |path: &&PathBuf| File::open(path).is_err();
    let bad = config.tls.as_ref().and_then(|tls| [&tls.certificate, &tls.key].into_iter().find(unreadable)).cloned();
    if let Some(bad) = bad {
        let message = format!("{} of [tls] cannot be read; a certificate of the board's own is used", bad.display());
        problems.push(Problem::error(None, message, "leave [tls] out, or put both files on the data partition"));
        config.tls = None;
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
    let text = fs::read_to_string(data.join(CONFIG)).ok()?;
    let (parsed, _) = config::read_what_is_good(&text, data);
    Some(parsed?.config.hostname)
}

/// Replaces the file where its content changed.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|octets| octets == text.as_bytes()) {
        return Ok(());
    }
    replace_file(path, text.as_bytes(), 0o600)
}

/// Writes the report where it says something else than before; addresses are told later.
pub(super) fn write_report(card: &impl Files, text: &str) -> io::Result<()> {
    let before = read(card, report::FILE, report::FILE_BYTES_MAX)?;
    let before = before.map(|octets| String::from_utf8_lossy(&octets).into_owned());
    if before.as_ref().is_some_and(|before| same(before, text)) {
        return Ok(());
    }
    let octets = report::for_editors(text).into_bytes();
    let octets = octets.get(..report::FILE_BYTES_MAX).unwrap_or(&octets);
    card.write_at(report::FILE, 0, octets)?;
    card.cut_at(report::FILE, octets.len() as u64)?;
    card.sync(report::FILE)
}

fn same(before: &str, text: &str) -> bool {
    text.contains("none yet") && report::with_addresses(before, &[]) == report::with_addresses(text, &[])
        || before.replace("\r\n", "\n") == text
}

fn disk_problem(what: &str, error: &io::Error) -> Problem {
    Problem::error(None, format!("{what}: {error}"), "look at the card in a computer, or use another one")
}

/// The machine's memory, bytes (MemTotal of /proc/meminfo); 0 when it is not told.
pub fn machine_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

/// Puts the board's addresses into the report on the card.
pub fn tell_addresses(boot: &Path, addresses: &[std::net::IpAddr]) -> io::Result<()> {
    let card = Folder(boot.to_owned());
    let before = read(&card, report::FILE, report::FILE_BYTES_MAX)?.unwrap_or_default();
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let text = report::with_addresses(&String::from_utf8_lossy(&before), &addresses);
    if report::for_editors(&text).as_bytes() == before {
        return Ok(());
    }
    write_report(&card, &text)
}
