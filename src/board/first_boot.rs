//! What the card's files say, taken over: the server's configuration, accounts, settings for scripts; then the secrets are
//! erased from the card and the report is written. Run at every start; what was done before is done again or left alone, so a
//! power cut anywhere is mended by the next start. Accounts are made by the caller, who has the store.

use super::blank;
use super::certificate::{self, Examine, Offered, Settled};
use super::configuration::{CONFIG, Machine, server_config};
use super::copies;
use super::erase::{self, exchange};
use super::files::{Files, Folder, read};
use super::report;
use super::settings::{self, NAME};
use super::sources::{Folders, Sources, disk_problem, replace};
use super::systems::Running;
use super::text::{cleaned, cleaned_in_place, covered};
use super::unread;
use crate::base::Secret;
use crate::config::{self, Board, Config, Problem, Style, TlsFiles};
use rustix::fs::statvfs;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const HEAD: &str =
    "# Made of pigeon.toml on the card's first partition at every start of the board: change it there.\n";

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
    keep: Option<PathBuf>,
    sources: Sources,
    config: Config,
    board: Board,
    /// Which system runs, for the report.
    system: String,
    /// Problems of no file.
    problems: Vec<Problem>,
    /// The certificate that `[tls]` names, and whether the data directory has it by now.
    certificate: Option<Offered>,
    has_certificate: bool,
    /// Which source and which account of it each order comes from.
    orders: Vec<(usize, usize)>,
}

impl Plan {
    /// Reads the card and what the data directory has kept, for a board with so many bytes of memory. One that `is_held`
    /// makes no account.
    pub fn read(folders: &Folders, memory_bytes: u64, running: &Running, is_held: bool) -> Self {
        let Folders { boot, data, keep } = folders.clone();
        let card = boot.map(Folder);
        let mut problems = Vec::new();
        // First the room that a cut may have left taken.
        if let Some(Err(error)) = card.as_ref().map(|card| blank::give_back(card).and_then(|()| erase::finish(card))) {
            problems.push(disk_problem("the card cannot be written", &error));
        }
        if data.is_none() {
            let message = "the data partition (pigeon-data) cannot be used: no account is made, and no password erased";
            problems.push(Problem::error(None, message, "look at the card in a computer, or flash another one"));
        }
        if is_held {
            let message =
                "it cannot be told whether mail is to come back from a backup: none is taken, and no account is made";
            let remedy = "correct pigeon.toml (restore = true, or no such line) and start again";
            problems.push(Problem::error(None, message, remedy));
        }
        let (system, mut of_systems) = running.told(card.as_ref());
        problems.append(&mut of_systems);
        problems.extend(card.as_ref().and_then(unread::find));
        let folder = data.as_deref().unwrap_or(Path::new(""));
        let mut sources = Sources::find(folders);
        problems.append(&mut sources.problems);
        let board = sources.board();
        let data_bytes = data.as_deref().map_or(0, disk_bytes);
        let machine = Machine { memory_bytes, data_bytes };
        let config = server_config(sources.server.take(), &board, folder, machine, &mut problems);
        let certificate = config.tls.as_ref().map(|files| Offered::read(files, card.as_ref()));
        let certificate = certificate.transpose().unwrap_or_else(|error| {
            problems.push(disk_problem("the certificate of [tls] cannot be read", &error));
            None
        });
        let has_store = folder.join("lock").exists();
        let mut orders = Vec::new();
        for (index, source) in sources.all.iter_mut().enumerate() {
            for (number, account) in source.board.accounts.iter_mut().enumerate() {
                // Imager knows the name alone.
                if !account.address.contains('@') {
                    account.address = format!("{}@{}", account.address, config.hostname);
                }
                if data.is_none() || is_held {
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
        let has_certificate = false;
        Self { card, data, keep, sources, config, board, system, problems, certificate, has_certificate, orders }
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
        let account = |&(source, number): &(usize, usize)| self.sources.all.get(source)?.board.accounts.get(number);
        let order = |account: &config::BoardAccount| NewAccount {
            address: account.address.clone(),
            password: Secret::new(account.password.clone().into_bytes()),
        };
        self.orders.iter().filter_map(account).map(order).collect()
    }

    /// Keeps what the card said, without secrets, for a start without it. To be called as root.
    pub fn keep(&self) -> io::Result<()> {
        self.keep.as_ref().filter(|_| self.data.is_some()).map_or(Ok(()), |folder| self.sources.keep(folder))
    }

    /// Writes the configuration, and a certificate of the user's own, into the data directory, where they changed. `examine` looks
    /// at a certificate and its key as the server does. To be called as the owner of the data.
    pub fn configure(&mut self, examine: Examine<'_>) -> io::Result<()> {
        let Some(data) = &self.data else { return Ok(()) };
        let taken = TlsFiles { certificate: certificate::FILE.into(), key: certificate::FILE.into() };
        match self.certificate.as_ref().map(|offered| offered.settle(data, examine)) {
            None => self.config.tls = None,
            Some(Ok(Settled::AsNamed)) => {}
            Some(Ok(Settled::Taken)) => {
                self.has_certificate = true;
                self.config.tls = Some(taken);
            }
            Some(Err((what, remedy))) => {
                let kept = data.join(certificate::FILE);
                let is_good = kept.exists() && examine(&kept, &kept).is_ok();
                let instead =
                    if is_good { "the one taken over before stays" } else { "one of the board's own is used" };
                self.config.tls = is_good.then_some(taken);
                let message = format!("the certificate of [tls] cannot be used: {what}; {instead}");
                self.problems.push(Problem::error(None, message, remedy));
            }
        }
        let mut text = HEAD.to_owned();
        if self.config.limits != config::Limits::default() || self.config.store != config::StoreConfig::default() {
            text.push_str("# Limits that the card's file does not name are those for a board with this much memory.\n");
        }
        text.push_str(&config::print(&self.config, "."));
        replace(&data.join(CONFIG), &text)?;
        self.sources.forget_old(data)
    }

    /// Erases the secrets that were taken over and writes the report; answers its text. `accounts` and `domains` are what became
    /// of the orders, in their order; `failures` what else went wrong.
    pub fn finish(mut self, accounts: Vec<Outcome>, domains: Vec<Outcome>, failures: Vec<(String, String)>) -> String {
        let mut done = Vec::new();
        let mut taken = Vec::new();
        for (&(source, number), outcome) in self.orders.iter().zip(accounts) {
            let Some(of) = self.sources.all.get_mut(source) else { continue };
            let Some(account) = of.board.accounts.get(number) else { continue };
            match outcome {
                Ok(what) => {
                    done.push(format!("{}: {what}", account.address));
                    taken.push((source, number));
                }
                Err(why) => {
                    let remedy = "correct the line, or give another password";
                    let problem = Problem::error(Some(account.place.clone()), why, remedy);
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
        self.erase_keys(&mut done);
        let text = self.report(&done);
        if let Some(Err(error)) = self.card.as_ref().map(|card| write_report(card, &text)) {
            return format!("{text}\n{} cannot be written: {error}\n", report::FILE);
        }
        text
    }

    /// Erases from the card the passwords of the orders that were carried out, and what else is of no use there.
    fn erase(&mut self, taken: &[(usize, usize)], done: &mut Vec<String>) {
        let (Some(card), Some(_)) = (&self.card, &self.data) else { return };
        let mut secrets = Vec::new();
        for (index, source) in self.sources.all.iter_mut().enumerate().filter(|(_, source)| source.is_on_card()) {
            let erasures = source.erasures(|number| taken.contains(&(index, number)));
            for place in source.left(&erasures) {
                let remedy = "correct what is said of it and start again, or take it out of the file";
                let message = "this password is not taken over, and stays on the card";
                source.problems.push(Problem::warning(Some(place), message, remedy));
            }
            if erasures.is_empty() {
                continue;
            }
            let of_source: Vec<String> = erasures
                .iter()
                .filter_map(|erasure| Some(source.text.get(erasure.place.clone())?.to_owned()))
                .collect();
            // Without room for it nothing is free.
            drop(blank::note(card));
            let exchanged = match exchange(card, source.name, cleaned(&source.text, erasures.clone()).as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    exchange(card, source.name, cleaned_in_place(&source.text, erasures).as_bytes())
                }
                done => done,
            };
            match exchanged {
                Ok(()) => {
                    done.push(format!("{}: its passwords are erased", source.name));
                    secrets.extend(of_source);
                }
                Err(error) => self.problems.push(disk_problem("the passwords on the card cannot be erased", &error)),
            }
        }
        if !secrets.is_empty() {
            let ours: Vec<&str> = self.sources.all.iter().map(|source| source.name).collect();
            self.problems.extend(copies::find(card, &ours, &secrets));
        }
    }

    /// Erases keys that the server has by now; one that was not taken over stays.
    fn erase_keys(&mut self, done: &mut Vec<String>) {
        let (Some(card), Some(_), Some(offered)) = (&self.card, &self.data, &self.certificate) else { return };
        for (name, rest) in offered.without_keys().into_iter().filter(|_| self.has_certificate) {
            drop(blank::note(card));
            match exchange(card, name, &rest) {
                Ok(()) => done.push(format!("{name}: its key is taken over and erased")),
                Err(error) => self.problems.push(disk_problem("the key on the card cannot be erased", &error)),
            }
        }
    }

    fn report(&self, done: &[String]) -> String {
        let mut problems = config::report("", "", &self.problems, Style::Plain);
        for source in &self.sources.all {
            let covered = covered(&source.text, &source.open);
            problems.push_str(&config::report(source.name, &covered, &source.problems, Style::Plain));
        }
        let mut on_card = self.sources.all.iter().filter(|source| source.is_on_card());
        if on_card.any(|source| !source.is_understood()) {
            problems.push_str(
                "\nA line with a mistake stays on the card as it is, and with it a password that is in it.\n",
            );
        }
        let severities = self.sources.all.iter().flat_map(|source| &source.problems).chain(&self.problems);
        report::print(&report::Facts {
            system: &self.system,
            has_data: self.data.is_some(),
            problems: &problems,
            // An error sorts before a warning.
            worst: severities.map(|problem| problem.severity).min(),
            done,
            config: &self.config,
            name: self.board.name.as_deref().unwrap_or(NAME),
            account: self.sources.all.iter().flat_map(|one| &one.board.accounts).map(|one| one.address.as_str()).next(),
            addresses: &self.board.addresses,
        })
    }
}

/// Writes the report where it says something else than before; addresses are told later.
pub(super) fn write_report(card: &impl Files, text: &str) -> io::Result<()> {
    let before = read(card, report::FILE, report::FILE_BYTES_MAX)?;
    if before.as_ref().is_some_and(|before| same(&String::from_utf8_lossy(before), text)) {
        return Ok(());
    }
    let octets = report::for_editors(text).into_bytes();
    let octets = octets.get(..report::FILE_BYTES_MAX).unwrap_or(&octets);
    // Nothing of the one before is left behind its end.
    erase::overwrite(card, report::FILE, before.map_or(0, |before| before.len()), octets)
}

fn same(before: &str, text: &str) -> bool {
    text.contains("none yet") && report::with_addresses(before, None, &[]) == report::with_addresses(text, None, &[])
        || before.replace("\r\n", "\n") == text
}

/// The machine's memory, bytes (MemTotal of /proc/meminfo); 0 when it is not told.
pub fn machine_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

/// The size of the disk that a folder is on or will be made on, octets; 0 when it is not told.
fn disk_bytes(folder: &Path) -> u64 {
    let found = folder.ancestors().find_map(|folder| statvfs(folder).ok());
    found.map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize))
}

/// Puts the board's addresses into the report on the card.
pub fn tell_addresses(boot: &Path, name: Option<&str>, addresses: &[std::net::IpAddr]) -> io::Result<()> {
    let card = Folder(boot.to_owned());
    let before = read(&card, report::FILE, report::FILE_BYTES_MAX)?.unwrap_or_default();
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let text = report::with_addresses(&String::from_utf8_lossy(&before), name, &addresses);
    if report::for_editors(&text).as_bytes() == before {
        return Ok(());
    }
    write_report(&card, &text)
}
