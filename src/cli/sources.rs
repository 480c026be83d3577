//! Where mail is found on a disk: which folders hold which format, and the files of one in an order that stays, a bounded
//! number of names in memory.

use super::archive::{mailbox_of_folder, mailbox_of_path, sort_key};
use super::output::Failure;
use std::collections::BinaryHeap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Folders that are looked into, at the most; an account has fewer mailboxes.
const FOLDERS_MAX: usize = 10_000;
/// Levels of folders; a mailbox's name has no more.
const DEPTH_MAX: usize = 32;
/// Names that are held at once.
const NAMES_MAX: usize = 16 * 1024;
/// What says more of .eml files.
pub(super) const INDEX: &str = "index.tsv";
/// What a message in a file of its own counts in the progress beside those of an mbox, octets.
pub(super) const FILE_WEIGHT: u64 = 8 * 1024;

/// What holds messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Mbox,
    Maildir,
    /// A folder of .eml files.
    Eml,
    /// One message.
    OneFile,
}

/// Something that becomes a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    /// Its path below the source, by which folders are sorted; empty for the source itself.
    pub(super) key: String,
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) mailbox: String,
    /// What it is to the progress.
    pub(super) weight: u64,
}

/// Everything in `source` that becomes a mailbox, sorted. `base` is the mailbox of the source itself, and stands before the
/// names of others if it was asked for.
pub(super) fn find(source: &Path, base: Option<&str>) -> Result<Vec<Folder>, Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("cannot read {}: {error}", source.display()));
    let facts = fs::metadata(source).map_err(failed)?;
    let mut search = Search { base, found: Vec::new() };
    if facts.is_dir() {
        search.folder(source, &mut Vec::new()).map_err(failed)?;
    } else {
        let kind =
            if facts.len() == 0 || begins_with_from(source).map_err(failed)? { Kind::Mbox } else { Kind::OneFile };
        let is_message = source.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("eml"));
        if kind == Kind::OneFile && !is_message {
            let why = "it is no mbox (its first line does not start with `From `), no folder, and no .eml file";
            return Err(Failure::Failed(format!("{}: {why}", source.display())));
        }
        let weight = facts.len();
        search.add(Folder { key: String::new(), path: source.to_owned(), kind, mailbox: search.name(&[]), weight });
    }
    let mut found = search.found;
    if found.is_empty() {
        let why = "it holds no mbox, Maildir or .eml file";
        return Err(Failure::Failed(format!("{}: {why}", source.display())));
    }
    if found.len() > FOLDERS_MAX {
        return Err(Failure::Failed(format!("{}: it has more than {FOLDERS_MAX} folders", source.display())));
    }
    found.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(found)
}

struct Search<'a> {
    base: Option<&'a str>,
    found: Vec<Folder>,
}

impl Search<'_> {
    fn name(&self, levels: &[String]) -> String {
        let below = mailbox_of_path(levels.iter().map(String::as_str));
        match (self.base, below.as_str()) {
            (None, "") => "INBOX".to_owned(),
            (Some(base), "") => base.to_owned(),
            (None, below) => below.to_owned(),
            (Some(base), below) => format!("{base}/{below}"),
        }
    }

    fn add(&mut self, folder: Folder) {
        if self.found.len() <= FOLDERS_MAX {
            self.found.push(folder);
        }
    }

    fn folder(&mut self, path: &Path, levels: &mut Vec<String>) -> io::Result<()> {
        if levels.len() > DEPTH_MAX || self.found.len() > FOLDERS_MAX {
            return Ok(());
        }
        let is_maildir = is_maildir(path);
        let mut messages = 0_u64;
        let mut has_index = false;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let (kind, name) = (entry.file_type()?, entry.file_name());
            let Some(text) = name.to_str().map(str::to_owned) else {
                // A folder without a name that text can have becomes no mailbox; a file in it is found by its octets.
                messages += u64::from(is_eml(&name));
                continue;
            };
            if kind.is_dir() {
                self.below(&entry.path(), &text, is_maildir, levels)?;
            } else if is_eml(&name) {
                messages += 1;
            } else if text == INDEX {
                // We write one into every folder, empty or not.
                has_index = true;
            } else if !is_maildir && !text.starts_with('.') && is_mbox(&entry.path()).unwrap_or(false) {
                let stem = text.strip_suffix(".mbox").unwrap_or(&text).to_owned();
                levels.push(stem);
                let (key, mailbox) = (format!("{}\u{1}", levels.join("/")), self.name(levels));
                levels.pop();
                let weight = entry.metadata().map_or(0, |facts| facts.len());
                self.add(Folder { key, path: entry.path(), kind: Kind::Mbox, mailbox, weight });
            }
        }
        let kind = if is_maildir { Kind::Maildir } else { Kind::Eml };
        if is_maildir {
            messages = count(path);
        }
        if is_maildir || has_index || messages > 0 {
            let (key, mailbox, weight) = (levels.join("/"), self.name(levels), messages.saturating_mul(FILE_WEIGHT));
            self.add(Folder { key, path: path.to_owned(), kind, mailbox, weight });
        }
        Ok(())
    }

    fn below(&mut self, path: &Path, name: &str, is_maildir: bool, levels: &mut Vec<String>) -> io::Result<()> {
        if is_maildir && ["cur", "new", "tmp"].contains(&name) {
            return Ok(());
        }
        match name.strip_prefix('.') {
            None => {
                levels.push(name.to_owned());
                let done = self.folder(path, levels);
                levels.pop();
                done
            }
            // Maildir++ has all of its folders in one.
            Some(rest) if crate::cli::sources::is_maildir(path) => {
                levels.push(mailbox_of_folder(rest));
                let mailbox = match (self.base, levels.as_slice()) {
                    // What a mailbox is called there needs no decoding of ours.
                    (None, [name]) => name.clone(),
                    (Some(base), [name]) => format!("{base}/{name}"),
                    (_, levels) => self.name(levels),
                };
                levels.pop();
                let key = [levels.as_slice(), &[name.to_owned()]].concat().join("/");
                let weight = count(path).saturating_mul(FILE_WEIGHT);
                self.add(Folder { key, path: path.to_owned(), kind: Kind::Maildir, mailbox, weight });
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }
}

fn is_maildir(path: &Path) -> bool {
    path.join("cur").is_dir() || path.join("new").is_dir()
}

fn count(maildir: &Path) -> u64 {
    let entries = |sub: &str| fs::read_dir(maildir.join(sub)).map_or(0, |entries| entries.count() as u64);
    entries("cur").saturating_add(entries("new"))
}

fn is_eml(name: &std::ffi::OsStr) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("eml"))
        && !name.as_bytes().starts_with(b".")
}

/// An empty one is told by its name.
fn is_mbox(path: &Path) -> io::Result<bool> {
    let is_empty = || {
        path.extension().is_some_and(|extension| extension == "mbox")
            && path.metadata().is_ok_and(|facts| facts.len() == 0)
    };
    Ok(begins_with_from(path)? || is_empty())
}

fn begins_with_from(path: &Path) -> io::Result<bool> {
    let mut head = [0; 5];
    match File::open(path)?.read_exact(&mut head) {
        Ok(()) => Ok(head == *b"From "),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// A message's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    /// What it is sorted by: its name as far as that stays.
    pub(super) key: Vec<u8>,
    pub(super) path: PathBuf,
}

/// The messages of a folder in order. The folder is read again for every so many of them.
#[derive(Debug)]
pub(super) struct Names {
    folders: Vec<PathBuf>,
    is_maildir: bool,
    /// Those to come, the next one last.
    window: Vec<Named>,
    after: Option<Named>,
    is_all: bool,
    names_max: usize,
}

impl Names {
    pub(super) fn of(folder: &Folder) -> Self {
        let is_maildir = folder.kind == Kind::Maildir;
        let folders = match is_maildir {
            true => vec![folder.path.join("cur"), folder.path.join("new")],
            false => vec![folder.path.clone()],
        };
        Self { folders, is_maildir, window: Vec::new(), after: None, is_all: false, names_max: NAMES_MAX }
    }

    /// The next one.
    pub(super) fn next(&mut self) -> io::Result<Option<Named>> {
        if self.window.is_empty() && !self.is_all {
            self.fill()?;
        }
        let next = self.window.pop();
        if next.is_some() {
            self.after.clone_from(&next);
        }
        Ok(next)
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut lowest: BinaryHeap<Named> = BinaryHeap::new();
        let mut is_all = true;
        for folder in &self.folders {
            let entries = match fs::read_dir(folder) {
                // A Maildir may lack one of its two.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_maildir => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let is_message = match self.is_maildir {
                    true => !name.as_bytes().starts_with(b"."),
                    false => is_eml(&name),
                };
                if !is_message || entry.file_type()?.is_dir() {
                    continue;
                }
                let named = Named { key: sort_key(&name.into_vec()).to_vec(), path: entry.path() };
                if self.after.as_ref().is_some_and(|after| named <= *after) {
                    continue;
                }
                if lowest.len() < self.names_max {
                    lowest.push(named);
                } else {
                    is_all = false;
                    if lowest.peek().is_some_and(|highest| named < *highest) {
                        lowest.pop();
                        lowest.push(named);
                    }
                }
            }
        }
        self.window = lowest.into_sorted_vec();
        self.window.reverse();
        self.is_all = is_all;
        Ok(())
    }
}

/// A file's name.
pub(super) fn file_name(path: &Path) -> OsString {
    path.file_name().map(OsString::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailboxes(source: &Path, base: Option<&str>) -> Vec<(String, Kind)> {
        let mut found: Vec<_> = find(source, base).unwrap().into_iter().map(|it| (it.mailbox, it.kind)).collect();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found
    }

    fn maildir(path: &Path) {
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(path.join(sub)).unwrap();
        }
    }

    fn named(names: &[&str], kind: Kind) -> Vec<(String, Kind)> {
        names.iter().map(|name| ((*name).to_owned(), kind)).collect()
    }

    #[test]
    fn formats_are_found_out() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);

        maildir(&at("plus"));
        for folder in [".Sent", ".Archive.2020", ".a&AC4-b"] {
            maildir(&at("plus").join(folder));
        }
        fs::create_dir_all(at("plus/.git/objects")).unwrap();
        let names = ["Archive/2020", "INBOX", "Sent", "a.b"];
        assert_eq!(mailboxes(&at("plus"), None), named(&names, Kind::Maildir));
        let names = ["Old", "Old/Archive/2020", "Old/Sent", "Old/a.b"];
        assert_eq!(mailboxes(&at("plus"), Some("Old")), named(&names, Kind::Maildir));

        maildir(&at("nested/Inbox"));
        maildir(&at("nested/work/a"));
        assert_eq!(mailboxes(&at("nested"), None), named(&["Inbox", "work/a"], Kind::Maildir));

        fs::create_dir_all(at("eml/deep/er")).unwrap();
        fs::write(at("eml/1.eml"), "a: b\n\n").unwrap();
        fs::write(at("eml/deep/er/2.EML"), "a: b\n\n").unwrap();
        fs::write(at("eml/deep/notes.txt"), "x").unwrap();
        assert_eq!(mailboxes(&at("eml"), None), named(&["INBOX", "deep/er"], Kind::Eml));
        assert_eq!(mailboxes(&at("eml/1.eml"), None), named(&["INBOX"], Kind::OneFile));

        fs::create_dir_all(at("mbox/Archive.sbd")).unwrap();
        for file in ["mbox/INBOX.mbox", "mbox/Archive", "mbox/Archive.sbd/2020"] {
            fs::write(at(file), "From a Fri Jul  8 12:08:34 2011\n\n").unwrap();
        }
        fs::write(at("mbox/Archive.msf"), "// index").unwrap();
        fs::write(at("mbox/Empty.mbox"), "").unwrap();
        assert_eq!(mailboxes(&at("mbox"), None), named(&["Archive", "Archive/2020", "Empty", "INBOX"], Kind::Mbox));
        assert_eq!(mailboxes(&at("mbox/Archive"), Some("Old")), named(&["Old"], Kind::Mbox));

        for (source, words) in [("none", "cannot read"), ("eml/deep/notes.txt", "no mbox"), ("plus/.git", "no mbox")] {
            let Err(Failure::Failed(told)) = find(&at(source), None) else { panic!("{source}") };
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn names_come_in_order_however_few_are_held() {
        let home = tempfile::tempdir().unwrap();
        maildir(home.path());
        let mut wanted = Vec::new();
        for n in 0..100 {
            let sub = if n % 3 == 0 { "new" } else { "cur" };
            let name = format!("{:03}.x{}", (n * 37) % 100, if n % 2 == 0 { ":2,S" } else { "" });
            fs::write(home.path().join(sub).join(&name), "x").unwrap();
            wanted.push(format!("{:03}.x", (n * 37) % 100));
        }
        wanted.sort();
        let folder = find(home.path(), None).unwrap().remove(0);
        assert_eq!(folder.weight, 100 * FILE_WEIGHT);
        for names_max in [1, 7, 99, 100, 1_000] {
            let mut names = Names { names_max, ..Names::of(&folder) };
            let mut found = Vec::new();
            while let Some(named) = names.next().unwrap() {
                found.push(String::from_utf8(named.key).unwrap());
            }
            assert_eq!(found, wanted, "{names_max}");
        }
    }
}
