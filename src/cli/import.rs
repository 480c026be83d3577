//! `import`: reads mail as its caller may, and hands it to the store over the control socket, message by message.

use super::archive::{Heading, IndexLine, MaildirName, Piece, Splitter, ToCrlf, keyword_letters, position_name};
use super::file;
use super::output::{Failure, complain, failed, say};
use super::progress::Progress;
use super::sources::{FILE_WEIGHT, Folder, INDEX, Kind, Names, file_name, find};
use crate::imap::grammar::{MailboxName, NameError};
use crate::net::{FRAME_BYTES_MAX, LocalClient};
use crate::serve::transfer::{Acked, Arrived, BATCH_BYTES, BATCH_MESSAGES_MAX, Before, ImportOrder, Line, Marks, kind};
use crate::serve::{Answer, Request};
use crate::store::Date;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// What is read at once.
const READ_BYTES: usize = 64 * 1024;
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
    };
    let mut line = Line::open(&config)?;
    let request = serde_json::to_vec(&Request::Import(order)).map_err(io::Error::from).map_err(lost)?;
    let answer = line.client().and_then(|client| client.ask(&request, LINE_BYTES_MAX)).map_err(lost)?;
    let before = match serde_json::from_slice(&answer).map_err(io::Error::from).map_err(lost)? {
        Answer::Import(before) => before,
        other => return Err(failed(other)),
    };
    let out = line.client().and_then(|client| client.writer()).map_err(lost)?;
    let mut carrier = Carrier {
        line,
        out,
        data: Vec::new(),
        labels: Vec::new(),
        bytes: 0,
        progress: Progress::new(total),
        stored: 0,
        refused: 0,
        keywords_left_out: 0,
    };
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

fn resumed(before: &Before) -> Option<Position> {
    before.position.as_deref().and_then(|text| serde_json::from_str(text).ok())
}

/// The connection ended where it should not.
fn lost(error: io::Error) -> Failure {
    Failure::TryLater(format!("the server went away: {error}\n    remedy: the same command goes on where it was"))
}

/// Why an import stops before its end.
enum Stop {
    Connection(io::Error),
    Failure(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

/// Carries messages to the store.
struct Carrier {
    line: Line,
    out: BufWriter<UnixStream>,
    /// Octets of the message that wait for a frame.
    data: Vec<u8>,
    /// What the messages since the last answer are called.
    labels: Vec<String>,
    /// Octets of them.
    bytes: u64,
    progress: Progress,
    stored: u64,
    refused: u64,
    keywords_left_out: u64,
}

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
        self.order(kind::DONE, b"")
    }

    /// What cannot be taken is named, and the rest goes on.
    fn miss(&mut self, label: &str, why: &str) {
        self.refused += 1;
        self.progress.clear();
        complain(&format!("pigeon: {label}: {why}\n"));
    }

    /// Sends an order and takes its answer.
    fn order(&mut self, kind: u8, octets: &[u8]) -> Result<(), Stop> {
        let sent = LocalClient::put_frame(&mut self.out, kind, octets).and_then(|()| self.out.flush());
        // A server that takes no more has said why.
        let answer = match (sent, self.answer()) {
            (_, Ok(answer)) => answer,
            (Err(error), Err(_)) | (Ok(()), Err(error)) => return Err(Stop::Connection(error)),
        };
        self.stored += answer.stored;
        self.keywords_left_out += answer.keywords_left_out;
        for (number, why) in answer.refused {
            let label = usize::try_from(number).ok().and_then(|number| self.labels.get(number)).cloned();
            self.miss(&label.unwrap_or_default(), &why);
        }
        self.progress.messages += self.labels.len() as u64;
        self.progress.bytes += self.bytes;
        self.labels.clear();
        self.bytes = 0;
        self.progress.show();
        match answer.failed {
            None => Ok(()),
            Some(failed) => {
                let words = format!("{}\n    remedy: the same command goes on where it was", failed.message);
                Err(Stop::Failure(if failed.is_passing { Failure::TryLater(words) } else { Failure::Failed(words) }))
            }
        }
    }

    fn answer(&mut self) -> io::Result<Acked> {
        let mut frame = Vec::new();
        match self.line.client()?.frame(&mut frame)? {
            kind::ANSWER => Ok(serde_json::from_slice(&frame)?),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Sends a frame that is not answered; a server that takes no more is asked why.
    fn frame(&mut self, kind: u8, octets: &[u8]) -> Result<(), Stop> {
        match LocalClient::put_frame(&mut self.out, kind, octets) {
            Ok(()) => Ok(()),
            Err(error) => match self.answer() {
                Ok(Acked { failed: Some(failed), .. }) if !failed.is_passing => {
                    Err(Stop::Failure(Failure::Failed(failed.message)))
                }
                Ok(Acked { failed: Some(failed), .. }) => Err(Stop::Failure(Failure::TryLater(failed.message))),
                _ => Err(Stop::Connection(error)),
            },
        }
    }

    fn mailbox(&mut self, name: &str) -> Result<(), Stop> {
        self.commit()?;
        self.order(kind::MAILBOX, name.as_bytes())
    }

    fn commit(&mut self) -> Result<(), Stop> {
        if self.labels.is_empty() { Ok(()) } else { self.order(kind::COMMIT, b"") }
    }

    /// Octets of the message, as they are to be stored.
    fn octets(&mut self, mut octets: &[u8]) -> Result<(), Stop> {
        self.bytes = self.bytes.saturating_add(octets.len() as u64);
        while !octets.is_empty() {
            let room = FRAME_BYTES_MAX.saturating_sub(self.data.len());
            let (now, later) = octets.split_at_checked(room).unwrap_or((octets, b""));
            self.data.extend_from_slice(now);
            octets = later;
            if self.data.len() >= FRAME_BYTES_MAX {
                self.flush_data()?;
            }
        }
        Ok(())
    }

    fn flush_data(&mut self) -> Result<(), Stop> {
        let mut data = std::mem::take(&mut self.data);
        if !data.is_empty() {
            self.frame(kind::DATA, &data)?;
        }
        data.clear();
        self.data = data;
        Ok(())
    }

    /// The message is whole.
    fn end(&mut self, marks: Marks, position: &Position, label: String) -> Result<(), Stop> {
        self.flush_data()?;
        let position = serde_json::to_string(position).map_err(io::Error::from)?;
        let arrived = serde_json::to_vec(&Arrived { marks, position }).map_err(io::Error::from)?;
        self.frame(kind::END, &arrived)?;
        self.labels.push(label);
        if self.labels.len() >= BATCH_MESSAGES_MAX || self.bytes >= BATCH_BYTES { self.commit() } else { Ok(()) }
    }

    fn forget(&mut self) -> Result<(), Stop> {
        self.data.clear();
        self.frame(kind::FORGET, b"")
    }

    // Formats.

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

    fn report(&self, account: &str) -> Result<(), Failure> {
        let mut text = format!("{account}: {} messages imported", self.stored);
        if self.keywords_left_out > 0 {
            text.push_str(&format!(", {} without some of their keywords", self.keywords_left_out));
        }
        say(&format!("{text}\n"))?;
        match self.refused {
            0 => Ok(()),
            1 => Err(Failure::Failed("1 message could not be imported; it is named above".to_owned())),
            refused => Err(Failure::Failed(format!("{refused} messages could not be imported; they are named above"))),
        }
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

/// A message's way from its file's octets to those that are stored.
struct Pipe {
    heading: Heading,
    to_crlf: Option<ToCrlf>,
    /// The last octets, of a message whose line end at the end is not its own.
    tail: Vec<u8>,
    own: Vec<u8>,
    stored: Vec<u8>,
}

impl Pipe {
    fn new(is_mbox: bool, is_lf: bool) -> Self {
        let (tail, own, stored) = (Vec::new(), Vec::new(), Vec::new());
        Self { heading: Heading::new(is_mbox), to_crlf: is_lf.then(ToCrlf::default), tail, own, stored }
    }

    fn feed(&mut self, octets: &[u8], to: &mut Carrier) -> Result<(), Stop> {
        let Self { heading, own, .. } = self;
        own.clear();
        heading.feed(octets, &mut |part| {
            own.extend_from_slice(part);
            Ok::<(), Stop>(())
        })?;
        self.pass(to)
    }

    fn pass(&mut self, to: &mut Carrier) -> Result<(), Stop> {
        const LINE_END_BYTES: usize = 2;
        let octets = match &mut self.to_crlf {
            Some(to_crlf) => {
                self.stored.clear();
                to_crlf.feed(&self.own, &mut self.stored);
                &self.stored
            }
            None => &self.own,
        };
        if !self.heading.is_unended {
            return to.octets(octets);
        }
        self.tail.extend_from_slice(octets);
        let sure = self.tail.len().saturating_sub(LINE_END_BYTES);
        to.octets(self.tail.get(..sure).unwrap_or_default())?;
        self.tail.drain(..sure);
        Ok(())
    }

    fn finish(mut self, to: &mut Carrier) -> Result<Heading, Stop> {
        let Self { heading, own, .. } = &mut self;
        own.clear();
        heading.finish(&mut |part| {
            own.extend_from_slice(part);
            Ok::<(), Stop>(())
        })?;
        self.pass(to)?;
        let tail = self.tail.strip_suffix(b"\n").unwrap_or(&self.tail);
        to.octets(tail.strip_suffix(b"\r").unwrap_or(tail))?;
        Ok(self.heading)
    }
}

/// Lines of index.tsv, which are sorted as the files are.
struct Index {
    lines: Option<io::Take<BufReader<File>>>,
    current: Option<IndexLine>,
}

impl Index {
    fn open(path: &Path) -> Self {
        let lines = File::open(path).ok().map(|file| BufReader::new(file).take(LINE_BYTES_MAX));
        Self { lines, current: None }
    }

    fn find(&mut self, name: &str) -> Option<Marks> {
        while self.current.as_ref().is_none_or(|line| line.name.as_str() < name) {
            let lines = self.lines.as_mut()?;
            lines.set_limit(LINE_BYTES_MAX);
            let mut line = Vec::new();
            if !matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
                self.lines = None;
                return None;
            }
            if let Some(line) = std::str::from_utf8(&line).ok().and_then(IndexLine::parse) {
                self.current = Some(line);
            }
        }
        self.current.as_ref().filter(|line| line.name == name).map(|line| line.marks.clone())
    }
}

/// A small file's text; none when there is none.
fn small_file(path: &Path) -> String {
    let is_small = fs::metadata(path).is_ok_and(|facts| facts.len() <= LINE_BYTES_MAX);
    if is_small { fs::read_to_string(path).unwrap_or_default() } else { String::new() }
}

fn mtime(file: &File) -> Option<Date> {
    file.metadata().ok().map(|facts| Date { unix_s: facts.mtime(), zone_minutes: 0 })
}

/// What is known of a file's line ends.
#[derive(Clone, Copy, Debug)]
enum Lines {
    /// They are those that mail has, or the message's own.
    AsTheyAre,
    /// Octets in the file, and those that it has with CRLF.
    Sized {
        size: u64,
        size_crlf: u64,
    },
    Unknown,
}

/// Whether lines end with LF alone, and are to get a CR: where nothing tells, no line of the file ends with CRLF.
fn has_unix_lines(mut file: &File, lines: Lines) -> io::Result<bool> {
    match lines {
        Lines::AsTheyAre => return Ok(false),
        Lines::Sized { size, size_crlf } if file.metadata()?.len() == size => return Ok(size_crlf != size),
        Lines::Sized { .. } | Lines::Unknown => {}
    }
    let mut buffer = vec![0; READ_BYTES];
    let mut is_after_cr = false;
    let is_lf = loop {
        let read = file.read(&mut buffer)?;
        let part = buffer.get(..read).unwrap_or_default();
        if part.is_empty() {
            break true;
        }
        let has_crlf = memchr::memchr_iter(b'\n', part)
            .any(|at| at.checked_sub(1).map_or(is_after_cr, |before| part.get(before) == Some(&b'\r')));
        if has_crlf {
            break false;
        }
        is_after_cr = part.last() == Some(&b'\r');
    };
    file.rewind()?;
    Ok(is_lf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_lines_are_told_by_their_file_or_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let long = "x".repeat(READ_BYTES - 1);
        let sized = |size, size_crlf| Lines::Sized { size, size_crlf };
        for (text, lines, is_lf) in [
            ("a\nb\n".to_owned(), Lines::Unknown, true),
            ("a\nb\n".to_owned(), Lines::AsTheyAre, false),
            ("a\r\nb\n".to_owned(), Lines::Unknown, false),
            ("a\nb\r\n".to_owned(), Lines::Unknown, false),
            (format!("{long}\r\n"), Lines::Unknown, false),
            ("a\n".to_owned(), sized(2, 2), false),
            ("a\r\n".to_owned(), sized(3, 4), true),
            ("a\r\n".to_owned(), sized(9, 9), false),
            (String::new(), Lines::Unknown, true),
        ] {
            fs::write(&path, &text).unwrap();
            let mut file = File::open(&path).unwrap();
            assert_eq!(has_unix_lines(&file, lines).unwrap(), is_lf, "{text:.9}");
            assert_eq!(file.stream_position().unwrap(), 0);
        }
    }

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
    fn an_index_is_read_along_with_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.tsv");
        fs::write(
            &path,
            "1.eml\t 8-Jul-2011 12:08:34 +0200\t\\Seen\nnonsense\n3.eml\t 8-Jul-2011 12:08:34 +0200\twork\n",
        )
        .unwrap();
        let mut index = Index::open(&path);
        assert_eq!(index.find("1.eml").unwrap().flags, 1);
        assert!(index.find("2.eml").is_none());
        assert_eq!(index.find("3.eml").unwrap().keywords, ["work"]);
        assert!(index.find("4.eml").is_none());
        assert!(Index::open(Path::new("/nonexistent")).find("x").is_none());
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
