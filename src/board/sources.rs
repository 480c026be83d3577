//! The files that tell a board what to be: the one that a person edits on the card, and Raspberry Pi Imager's. What they said
//! last, without passwords, is kept in a folder of root's for a start at which the card's partition cannot be read; where it can
//! be, what is not on it does not count. Nothing of weight is believed of the server's own folder: whoever takes the server
//! over must not become root by it.

use super::erase::FILE_BYTES_MAX;
use super::files::{Files, Folder, read};
use super::settings::{NAME, key_of};
use super::text::{Erasure, cleaned, decode};
use crate::base::replace_file;
use crate::config::{Board, Parsed, Places, Problem, Restore, Severity, read_board, read_imager};
use std::fs::{self, DirBuilder};
use std::io;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What a person edits, and what Notepad makes of its name.
const OURS: [&str; 2] = ["pigeon.toml", "pigeon.toml.txt"];
/// What Raspberry Pi Imager writes, and what it wrote before.
const IMAGERS: [&str; 2] = ["rpi-preseed.toml", "custom.toml"];
/// What the card said last, in the folder for it.
const KEPT: [&str; 2] = ["board.toml", "imager.toml"];

/// Said of a file on the card that is not taken over.
const STAYS: &str = "a password in it stays on the card";

/// Where things are; what could not be mounted is absent.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    /// The card's FAT partition. Without it, what the card said last is used, and nothing is erased or reported there.
    pub boot: Option<PathBuf>,
    /// The data directory, on the card's data partition. Without it nothing can be taken over, so nothing is erased.
    pub data: Option<PathBuf>,
    /// Where what the card said is kept, on the data partition as well, and root's.
    pub keep: Option<PathBuf>,
}

/// Where a text was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// On the card.
    Card,
    /// In the folder for what the card said last.
    Kept,
    /// Among the server's data, where it was kept by the first version.
    ServersFolder,
}

/// One file that says something.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: &'static str,
    kept: &'static str,
    origin: Origin,
    pub(super) text: String,
    pub(super) board: Board,
    /// Values that hold secrets, taken over or not.
    pub(super) secrets: Vec<Range<usize>>,
    /// Values that hold none, of keys that are known.
    pub(super) open: Vec<Range<usize>>,
    pub(super) problems: Vec<Problem>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The files, ours first.
    pub(super) all: Vec<Source>,
    /// What ours says to the server.
    pub(super) server: Option<Parsed>,
    /// Problems of no file.
    pub(super) problems: Vec<Problem>,
    /// Whether one of them is on the card and could not be read as a text.
    is_unread: bool,
    /// Kept copies of files that are no longer on the card.
    gone: Vec<&'static str>,
}

impl Sources {
    /// Looks at the card, and where it cannot be read at what was kept of it.
    pub(super) fn find(folders: &Folders) -> Self {
        let mut found = Self::default();
        if let Some((name, origin, text)) = found.text(folders, OURS, KEPT[0]) {
            let (parsed, board, problems) = read_board(&text, Path::new(""));
            found.all.push(Source::new((name, KEPT[0], origin), text, board, &parsed.places, problems));
            found.server = Some(parsed);
        } else if found.gone.contains(&KEPT[0]) {
            let message =
                "there is no pigeon.toml on the card any more: what it said holds no longer, but for the accounts";
            found.problems.push(Problem::warning(None, message, "write another one, with what is to hold"));
        }
        if let Some((name, origin, text)) = found.text(folders, IMAGERS, KEPT[1]) {
            let (board, places, problems) = read_imager(&text);
            found.all.push(Source::new((name, KEPT[1], origin), text, board, &places, problems));
        }
        found
    }

    /// What all of them say together.
    pub(super) fn board(&self) -> Board {
        self.all.iter().fold(Board::default(), |board, source| merged(board, source.board.clone()))
    }

    /// Keeps what the card says for a start without it, and nothing of what it no longer says. To be called as root.
    pub(super) fn keep(&self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        for source in self.all.iter().filter(|source| source.is_on_card() && source.is_understood()) {
            replace(&folder.join(source.kept), &cleaned(&source.text, source.erasures(|_| true)))?;
        }
        self.gone.iter().try_for_each(|name| remove(&folder.join(name)))
    }

    /// Removes what the first version kept in the data directory, once the card was read. To be called as the owner of the data.
    pub(super) fn forget_old(&self, data: &Path) -> io::Result<()> {
        let is_read = |kept: &&'static str| {
            self.gone.contains(kept) || self.all.iter().any(|source| source.kept == *kept && source.is_on_card())
        };
        KEPT.into_iter().filter(is_read).try_for_each(|name| remove(&data.join(name)))
    }

    /// The first of these files that says anything, on the card or, where the card does not tell, as it was kept.
    fn text(
        &mut self,
        folders: &Folders,
        names: [&'static str; 2],
        kept: &'static str,
    ) -> Option<(&'static str, Origin, String)> {
        let mut found: Option<(&'static str, Origin, String)> = None;
        let card = folders.boot.clone().map(Folder);
        let mut is_gone = card.is_some();
        for (name, card) in names.into_iter().filter_map(|name| Some((name, card.as_ref()?))) {
            let octets = match card.len(name) {
                Ok(None) => continue,
                Ok(Some(length)) if length > FILE_BYTES_MAX as u64 => {
                    let message = format!("{name} is larger than 64 KiB: {STAYS}");
                    self.problems.push(Problem::error(None, message, "no settings are so long"));
                    (is_gone, self.is_unread) = (false, true);
                    continue;
                }
                Ok(Some(_)) => read(card, name, FILE_BYTES_MAX),
                Err(error) => Err(error),
            };
            is_gone = false;
            match octets.map(|octets| decode(octets.unwrap_or_default())) {
                Ok(Ok(text)) => match &found {
                    Some((first, _, said)) if says_anything(said) => {
                        if says_anything(&text) {
                            let message = format!("there are {first} and {name}; {name} is not looked at, and {STAYS}");
                            self.problems.push(Problem::warning(None, message, format!("remove {name} from the card")));
                        }
                    }
                    _ => found = Some((name, Origin::Card, text)),
                },
                Ok(Err((what, remedy))) => {
                    self.is_unread = true;
                    self.problems.push(Problem::error(None, format!("{name}: {what}; {STAYS}"), remedy));
                }
                Err(error) => {
                    self.is_unread = true;
                    self.problems.push(disk_problem(&format!("{name} cannot be read"), &error));
                }
            }
        }
        if found.is_some() {
            return found;
        }
        let stored = |folder: &Option<PathBuf>| {
            let octets = read(&Folder(folder.clone()?), kept, FILE_BYTES_MAX).ok()??;
            String::from_utf8(octets).ok()
        };
        let last = stored(&folders.keep).map(|text| (kept, Origin::Kept, text));
        let last = last.or_else(|| Some((kept, Origin::ServersFolder, stored(&folders.data)?)));
        if is_gone {
            self.gone.extend(last.map(|(kept, ..)| kept));
            return None;
        }
        last
    }
}

impl Source {
    fn new(
        (name, kept, origin): (&'static str, &'static str, Origin),
        text: String,
        mut board: Board,
        places: &Places,
        problems: Vec<Problem>,
    ) -> Self {
        if origin == Origin::ServersFolder {
            board.ssh_keys.clear();
        }
        let is_secret = |key: &str| {
            ["password", "token", "relay"].iter().any(|end| key.ends_with(end)) || key.starts_with("accounts.")
        };
        // A relay's user is not shown, but nothing that stays on the card by mistake.
        let is_user = |key: &str, place: &Range<usize>| {
            let user = text.get(place.clone()).and_then(|relay| relay.rsplit_once('@')?.0.split_once("//"));
            key.ends_with("relay") && user.is_none_or(|(_, user)| !user.contains(':'))
        };
        let (secrets, open): (Vec<_>, Vec<_>) = places.all().partition(|(key, _)| is_secret(key));
        let secrets = secrets.into_iter().filter(|(key, place)| !is_user(key, place)).map(|(_, place)| place).collect();
        let open = open.into_iter().map(|(_, place)| place).collect();
        Self { name, kept, origin, text, board, secrets, open, problems }
    }

    /// Whether it lies on the card, and was not kept of it.
    pub(super) fn is_on_card(&self) -> bool {
        self.origin == Origin::Card
    }

    /// Whether there is no mistake in it.
    pub(super) fn is_understood(&self) -> bool {
        self.problems.iter().all(|problem| problem.severity == Severity::Warning)
    }

    /// Passwords that are on the card and stay there, once `erasures` are gone.
    pub(super) fn left(&self, erasures: &[Erasure]) -> Vec<Range<usize>> {
        let is_left = |place: &&Range<usize>| {
            let value = self.text.get((*place).clone()).unwrap_or_default().trim_matches(['"', '\'']);
            let is_wifi_key = value.len() == 64 && value.bytes().all(|octet| octet.is_ascii_hexdigit());
            !value.is_empty() && !is_wifi_key && erasures.iter().all(|erasure| erasure.place != **place)
        };
        self.secrets.iter().filter(is_left).cloned().collect()
    }

    /// What is to be replaced: passwords of the accounts that `is_taken` names, the network's, and what is of no use.
    pub(super) fn erasures(&self, is_taken: impl Fn(usize) -> bool) -> Vec<Erasure> {
        let nothing = |place: &Range<usize>| Erasure { place: place.clone(), with: String::new() };
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

/// Whether the files on the card in `boot` ask for the mail of a backup.
pub fn wants_restore(boot: &Path) -> Restore {
    let found = on_card(boot);
    let unread = if found.is_unread { Restore::Unclear } else { Restore::No };
    found.board().restore.max(unread)
}

/// The board's name as the files on the card in `boot` say it.
pub fn told_name(boot: &Path) -> String {
    on_card(boot).board().name.unwrap_or_else(|| NAME.to_owned())
}

/// What the files on the card in `boot` say, before anything of them is taken over; nothing is written.
fn on_card(boot: &Path) -> Sources {
    Sources::find(&Folders { boot: Some(boot.to_owned()), ..Folders::default() })
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
        restore: first.restore.max(second.restore),
        wifi: first.wifi.or(second.wifi),
        stale: Vec::new(),
    }
}

/// Replaces the file where its content changed.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|octets| octets == text.as_bytes()) {
        return Ok(());
    }
    replace_file(path, text.as_bytes(), 0o600)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// What cannot be read or written on the card.
pub(super) fn disk_problem(what: &str, error: &io::Error) -> Problem {
    Problem::error(None, format!("{what}: {error}"), "look at the card in a computer, or use another one")
}
