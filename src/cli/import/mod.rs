//! `import`: reads mail as its caller may, and hands it to the store over the control socket, message by message.

mod carrier;
mod index;
mod pipe;

use super::archive::{MaildirName, Piece, Splitter, keyword_letters, position_name};
use super::file;
use super::output::{Failure, complain, say};
use super::sources::{FILE_WEIGHT, Folder, INDEX, Kind, Names, file_name, find};
use crate::base::hex;
use crate::imap::grammar::{MailboxName, NameError};
use crate::serve::transfer::{Before, Earlier, ImportOrder, Marks, kind};
use crate::store::Date;
use carrier::{Carrier, Stop, lost};
use index::Index;
use pipe::{Lines, Pipe, READ_BYTES, has_unix_lines};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// No line of an index is longer; nor is a whole list of keywords.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// What to import.
pub(super) struct What<'a> {
    pub(super) source: &'a Path,
    pub(super) account: &'a str,
    pub(super) mailbox: Option<&'a str>,
    pub(super) from_start: bool,
}

/// Where a message stands in the source; what comes after it sorts behind.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
struct Position {
    folder: String,
    /// The message's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// Where the mbox goes on behind the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

pub(super) fn run(config: Option<&Path>, what: &What<'_>) -> Result<(), Failure> {
    if let Some(name) = what.mailbox {
        MailboxName::from_utf8(name).map_err(|error| Failure::Usage(format!("--mailbox {name}: {}", error.words())))?;
    }
    let config = file::load(&file::of_verb(config))?.config;
    let folders = find(what.source, what.mailbox)?;
    let total = folders.iter().map(|folder| folder.weight).sum();
    let order = ImportOrder {
        account: what.account.to_owned(),
        source: format!("{} {}", what.mailbox.unwrap_or_default(), file::absolute(what.source).display()),
        from_start: what.from_start,
        look: look(&folders),
    };
    let (mut carrier, before) = Carrier::begin(&config, order, total)?;
    if let Some(earlier) = before.ended {
        carrier.progress.clear();
        return again(what, &earlier);
    }
    let position = resumed(&before);
    if position.is_some() {
        complain(&format!("going on after the {} messages that an earlier run brought in\n", before.stored));
    }
    let done = carrier.all(&folders, position.as_ref());
    carrier.progress.clear();
    match done {
        Ok(()) => carrier.report(what.account),
        Err(Stop::Failure(failure)) => Err(failure),
        Err(Stop::Connection(error)) => Err(lost(error)),
    }
}

/// Nothing comes twice without being asked for.
fn again(what: &What<'_>, earlier: &Earlier) -> Result<(), Failure> {
    let Earlier { stored, refused, is_same } = earlier;
    let refused = if *refused > 0 { format!(", {refused} could not be taken") } else { String::new() };
    let told = format!(
        "{}: an earlier import came to the end of {}: {stored} messages are in{refused}",
        what.account,
        what.source.display()
    );
    if *is_same {
        return say(&format!("{told}; --from-start brings all of it once more\n"));
    }
    Err(Failure::Failed(format!(
        "{told}; it has changed since\n    remedy: --from-start brings all of it once more; what is new alone comes from a \
         folder or file of its own"
    )))
}

/// What the source looks like: another one, or more in it, looks different.
fn look(folders: &[Folder]) -> String {
    let mut digest = Context::new(&SHA256);
    for folder in folders {
        let mut places = vec![folder.path.clone()];
        if folder.kind == Kind::Maildir {
            places.extend(["cur", "new"].map(|name| folder.path.join(name)));
        }
        for place in places {
            let facts = fs::metadata(&place).map(|facts| (facts.len(), facts.mtime()));
            digest.update(format!("{:?} {} {facts:?}\n", folder.key, folder.weight).as_bytes());
        }
    }
    hex(digest.finish().as_ref().iter().take(16))
}

fn resumed(before: &Before) -> Option<Position> {
    before.position.as_deref().and_then(|text| serde_json::from_str(text).ok())
}

/// How the sources are read.
impl Carrier {
    fn all(&mut self, folders: &[Folder], position: Option<&Position>) -> Result<(), Stop> {
        let mut weight = 0_u64;
        for folder in folders {
            let resumed = position.filter(|position| position.folder == folder.key);
            self.progress.done = weight;
            weight = weight.saturating_add(folder.weight);
            if position.is_some_and(|position| folder.key < position.folder) {
                continue;
            }
            match mailbox_name(&folder.mailbox) {
                Ok(name) => self.mailbox(&name)?,
                Err(error) => {
                    let why = format!("its mailbox cannot be {}: {}", folder.mailbox, error.words());
                    self.miss(&folder.path.display().to_string(), &why);
                    continue;
                }
            }
            match folder.kind {
                Kind::Mbox => self.mbox(folder, resumed)?,
                Kind::Maildir | Kind::Eml => self.files(folder, resumed)?,
                Kind::OneFile if resumed.is_some() => {}
                Kind::OneFile => {
                    let position = Position { folder: folder.key.clone(), ..Position::default() };
                    self.file(&folder.path, Marks::default(), (Lines::Unknown, false), &position)?;
                }
            }
        }
        // What was refused is known then.
        self.order(kind::COMMIT, b"")?;
        self.order(kind::DONE, self.missed().to_string().as_bytes())
    }

    fn mbox(&mut self, folder: &Folder, resumed: Option<&Position>) -> Result<(), Stop> {
        let name = folder.path.display().to_string();
        let start = resumed.and_then(|position| position.offset).unwrap_or(0);
        let opened = File::open(&folder.path).and_then(|mut file| file.seek(SeekFrom::Start(start)).map(|_| file));
        let mut file = match opened {
            Ok(file) => file,
            Err(error) => {
                self.miss(&name, &error.to_string());
                return Ok(());
            }
        };
        let mtime = mtime(&file);
        let weight = self.progress.done;
        let mut splitter = Splitter::new(start);
        let mut message: Option<(Pipe, Option<Date>)> = None;
        let (mut count, mut offset) = (0_u64, start);
        let mut begun_at = start;
        let mut sink = |carrier: &mut Self, piece: Piece<'_>| {
            match piece {
                Piece::Begin { date, is_crlf } => message = Some((Pipe::new(true, !is_crlf), date)),
                Piece::Text(text) => {
                    if let Some((pipe, _)) = &mut message {
                        pipe.feed(text, carrier)?;
                    }
                }
                Piece::End { next } => {
                    if let Some((pipe, date)) = message.take() {
                        count += 1;
                        let heading = pipe.finish(carrier)?;
                        let mut marks = heading.marks();
                        if let Some(date) = date.or(heading.date()).or(mtime) {
                            marks.set_date(date);
                        }
                        let position = Position { folder: folder.key.clone(), file: None, offset: Some(next) };
                        carrier.progress.done = weight.saturating_add(next);
                        let label = format!("{name}: the message at octet {begun_at}");
                        begun_at = next;
                        carrier.end(marks, &position, label)?;
                    }
                }
            }
            Ok::<(), Stop>(())
        };
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let part = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => buffer.get(..read).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // What has begun is not whole.
                    self.forget()?;
                    self.miss(&format!("{name}: at octet {offset}"), &error.to_string());
                    return Ok(());
                }
            };
            offset = offset.saturating_add(part.len() as u64);
            splitter.feed(part, &mut |piece| sink(self, piece))?;
        }
        splitter.finish(&mut |piece| sink(self, piece))?;
        if count == 0 && offset > start {
            let why =
                if start == 0 { "no message in it" } else { "it has changed since the earlier run: use --from-start" };
            self.miss(&name, why);
        }
        Ok(())
    }

    fn files(&mut self, folder: &Folder, resumed: Option<&Position>) -> Result<(), Stop> {
        let keywords = match folder.kind {
            Kind::Maildir => keyword_letters(&small_file(&folder.path.join("dovecot-keywords"))),
            Kind::Mbox | Kind::Eml | Kind::OneFile => Vec::new(),
        };
        let mut index = Index::open(&folder.path.join(INDEX));
        let mut names = Names::of(folder);
        let weight = self.progress.done;
        let mut count = 0_u64;
        loop {
            let named = match names.next() {
                Ok(Some(named)) => named,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.miss(&folder.path.display().to_string(), &error.to_string());
                    return Ok(());
                }
            };
            count += 1;
            self.progress.done = weight.saturating_add(count.saturating_mul(FILE_WEIGHT));
            let at = position_name(&named.key);
            // The same order as that of the names.
            if resumed
                .and_then(|position| position.file.as_deref())
                .is_some_and(|done| unescaped(&at) <= unescaped(done))
            {
                continue;
            }
            let position = Position { folder: folder.key.clone(), file: Some(at), offset: None };
            let name = file_name(&named.path);
            if folder.kind == Kind::Maildir {
                let said = MaildirName::parse(name.as_bytes(), &keywords);
                let lines = said.sizes.map_or(Lines::Unknown, |(size, size_crlf)| Lines::Sized { size, size_crlf });
                self.file(&named.path, said.marks, (lines, true), &position)?;
            } else {
                // What the index knows was written as it is kept.
                let known = name.to_str().and_then(|name| index.find(name));
                let lines = if known.is_some() { Lines::AsTheyAre } else { Lines::Unknown };
                self.file(&named.path, known.unwrap_or_default(), (lines, false), &position)?;
            }
        }
    }

    /// A message in a file of its own; whether its time is that of its arrival, as in a Maildir.
    fn file(
        &mut self,
        path: &Path,
        mut marks: Marks,
        (lines, is_arrival): (Lines, bool),
        position: &Position,
    ) -> Result<(), Stop> {
        let label = path.display().to_string();
        let opened = File::open(path).and_then(|file| Ok((has_unix_lines(&file, lines)?, file)));
        let (is_lf, mut file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.miss(&label, &error.to_string());
                return Ok(());
            }
        };
        let mut pipe = Pipe::new(false, is_lf);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => pipe.feed(buffer.get(..read).unwrap_or_default(), self)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.forget()?;
                    self.miss(&label, &error.to_string());
                    return Ok(());
                }
            }
        }
        let heading = pipe.finish(self)?;
        if marks.unix_s.is_none() {
            let file_date = mtime(&file).map(|date| Date { zone_minutes: marks.zone_minutes, ..date });
            // A Maildir's file time is the time of arrival; others know only what the sender says.
            let date = if is_arrival { file_date } else { heading.date().or(file_date) };
            if let Some(date) = date {
                marks.set_date(date);
            }
        }
        self.end(marks, position, label)
    }
}

/// The name, or the nearest that a mailbox can have.
fn mailbox_name(name: &str) -> Result<String, NameError> {
    let is_good = |level: &&str| !level.is_empty();
    let plain = name.replace(|c: char| c.is_control() || matches!(c, '%' | '*' | '\u{2028}' | '\u{2029}'), "_");
    let plain = plain.split('/').filter(is_good).collect::<Vec<_>>().join("/");
    MailboxName::from_utf8(&plain).map(|name| name.as_str().to_owned())
}

/// A position's name as octets, which sort as the names do.
fn unescaped(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('%') {
        out.extend_from_slice(before.as_bytes());
        out.extend(after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()));
        rest = after.get(2..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// A small file's text; none when there is none.
fn small_file(path: &Path) -> String {
    let is_small = fs::metadata(path).is_ok_and(|facts| facts.len() <= LINE_BYTES_MAX);
    if is_small { fs::read_to_string(path).unwrap_or_default() } else { String::new() }
}

fn mtime(file: &File) -> Option<Date> {
    file.metadata().ok().map(|facts| Date { unix_s: facts.mtime(), zone_minutes: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_with_names_that_no_mailbox_can_have_get_the_nearest() {
        let deep = "x/".repeat(40);
        for (name, mailbox) in [
            ("a/b", Ok("a/b")),
            ("100%/a*b", Ok("100_/a_b")),
            ("a//b", Ok("a/b")),
            ("inbox", Ok("INBOX")),
            (&deep, Err(())),
        ] {
            assert_eq!(mailbox_name(name).map_err(drop), mailbox.map(str::to_owned), "{name}");
        }
    }

    #[test]
    fn positions_sort_as_names_do() {
        let mut names: Vec<&[u8]> = vec![b"a b", b"a%b", b"a.b", b"\xffx", b"a", b"\x01"];
        let mut positions: Vec<String> = names.iter().map(|name| position_name(name)).collect();
        names.sort();
        positions.sort_by_key(|position| unescaped(position));
        assert_eq!(positions.iter().map(|position| unescaped(position)).collect::<Vec<_>>(), names);
    }
}
