//! `export`: takes an account's mail from the store over the control socket and writes it as its caller may.

use super::args::Format;
use super::file;
use super::output::{Failure, complain, failed, say};
use super::progress::Progress;
use super::targets::Target;
use crate::base::replace_file;
use crate::serve::transfer::{After, ExportOrder, Failed, Folder, Line, Outgoing, Totals, kind};
use crate::serve::{Answer, Request};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How far an export has come; in the target until it is done.
const NOTE: &str = ".pigeon-export.json";
/// A note is written after so many messages,
const NOTE_MESSAGES: u64 = 1_024;
/// or so many octets.
const NOTE_BYTES: u64 = 64 * 1024 * 1024;
/// The format of notes.
const VERSION: u32 = 1;
/// A line of the conversation.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// What to export.
pub(super) struct What<'a> {
    pub(super) account: &'a str,
    pub(super) target: &'a Path,
    pub(super) format: Format,
    pub(super) mailbox: Option<&'a str>,
}

/// How far an export has come.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Note {
    version: u32,
    account: String,
    format: Format,
    only: Option<String>,
    /// The last message that is there; nothing at the start.
    after: Option<After>,
    /// Octets of the mailbox's mbox or index then.
    log_bytes: u64,
    messages: u64,
}

/// Why an export stops before its end.
enum Stop {
    Connection(io::Error),
    Target(io::Error),
}

pub(super) fn run(config: Option<&Path>, what: &What<'_>) -> Result<(), Failure> {
    let config = file::load(&file::of_verb(config))?.config;
    if !super::manage::has_store(&config)? {
        return Err(Failure::Failed(format!("there is no store in {} yet", config.data.display())));
    }
    let note = resume(what)?;
    let mut line = Line::open(&config)?;
    let order = ExportOrder {
        account: what.account.to_owned(),
        mailbox: what.mailbox.map(str::to_owned),
        after: note.after.clone(),
    };
    let request = serde_json::to_vec(&Request::Export(order)).map_err(io::Error::from).map_err(lost)?;
    let answer = line.client().and_then(|client| client.ask(&request, LINE_BYTES_MAX)).map_err(lost)?;
    let totals = match serde_json::from_slice(&answer).map_err(io::Error::from).map_err(lost)? {
        Answer::Export(totals) => totals,
        other => return Err(failed(other)),
    };
    if note.after.is_none() {
        begin(what, &note)?;
    } else {
        complain(&format!("going on after the {} messages that an earlier run wrote\n", note.messages));
    }
    let mut taker = Taker {
        what,
        resumed: note.after.clone().map(|after| (after, note.log_bytes)),
        note,
        target: None,
        since: (0, 0),
        progress: Progress::new(totals.bytes),
        failures: 0,
        keywords_left_out: 0,
        outgoing: None,
    };
    let told = taker.all(&mut line, &totals);
    taker.progress.clear();
    match told {
        Ok(None) => taker.report(),
        Ok(Some(told)) if told.is_passing => Err(Failure::TryLater(told.message)),
        Ok(Some(told)) => Err(Failure::Failed(told.message)),
        Err(Stop::Connection(error)) => Err(lost(error)),
        Err(Stop::Target(error)) => Err(not_written(what, error)),
    }
}

fn lost(error: io::Error) -> Failure {
    Failure::TryLater(format!("the server went away: {error}\n    remedy: the same command goes on where it was"))
}

fn not_written(what: &What<'_>, error: io::Error) -> Failure {
    Failure::Failed(format!("cannot write to {}: {error}", what.target.display()))
}

/// The note of an earlier run into this target, or a new one; nothing is written. A folder with anything else in it is left
/// alone.
fn resume(what: &What<'_>) -> Result<Note, Failure> {
    let shown = what.target.display();
    let new = Note {
        version: VERSION,
        account: what.account.to_owned(),
        format: what.format,
        only: what.mailbox.map(str::to_owned),
        after: None,
        log_bytes: 0,
        messages: 0,
    };
    let path = what.target.join(NOTE);
    match fs::read(&path) {
        Ok(octets) => {
            let same = |note: &Note| Note { after: None, log_bytes: 0, messages: 0, ..note.clone() } == new;
            return serde_json::from_slice(&octets).ok().filter(same).ok_or_else(|| {
                Failure::Failed(format!("{shown} holds another export that was cut\n    remedy: name another folder"))
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(not_written(what, error)),
    }
    match fs::read_dir(what.target).map(|mut entries| entries.next().is_none()) {
        Ok(false) => Err(Failure::Failed(format!("{shown} is not empty\n    remedy: name a new or an empty folder"))),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(not_written(what, error)),
        _ => Ok(new),
    }
}

/// Makes the target, with its first note.
fn begin(what: &What<'_>, note: &Note) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(what.target);
    made.and_then(|()| write_note(what.target, note)).map_err(|error| not_written(what, error))
}

/// What was written is durable before the note that says so.
fn write_note(target: &Path, note: &Note) -> io::Result<()> {
    rustix::fs::syncfs(&File::open(target)?)?;
    replace_file(&target.join(NOTE), &serde_json::to_vec_pretty(note)?, 0o600)
}

/// Takes messages from the store.
struct Taker<'a> {
    what: &'a What<'a>,
    note: Note,
    /// Where an earlier run was cut, until that mailbox has begun.
    resumed: Option<(After, u64)>,
    /// The mailbox; nothing while one is passed over that cannot be written.
    target: Option<(After, Target)>,
    outgoing: Option<u32>,
    /// Messages and octets since the note.
    since: (u64, u64),
    progress: Progress,
    failures: u64,
    keywords_left_out: u64,
}

impl Taker<'_> {
    /// The failure that the store told, if it did.
    fn all(&mut self, line: &mut Line, totals: &Totals) -> Result<Option<Failed>, Stop> {
        let mut frame = Vec::new();
        let bad = |error: serde_json::Error| Stop::Connection(error.into());
        loop {
            let kind = line.client().and_then(|client| client.frame(&mut frame)).map_err(Stop::Connection)?;
            match kind {
                kind::MAILBOX => self.mailbox(&serde_json::from_slice(&frame).map_err(bad)?).map_err(Stop::Target)?,
                kind::BEGIN => self.begin(serde_json::from_slice(&frame).map_err(bad)?).map_err(Stop::Target)?,
                kind::DATA => {
                    self.progress.bytes = self.progress.bytes.saturating_add(frame.len() as u64);
                    self.since.1 = self.since.1.saturating_add(frame.len() as u64);
                    if let Some((_, target)) = &mut self.target {
                        target.octets(&frame).map_err(Stop::Target)?;
                    }
                }
                kind::END => self.end(totals).map_err(Stop::Target)?,
                kind::FORGET => {
                    self.outgoing = None;
                    if let Some((_, target)) = &mut self.target {
                        target.forget().map_err(Stop::Target)?;
                    }
                    self.miss(&String::from_utf8_lossy(&frame));
                }
                kind::DONE => return self.done().map(|()| None).map_err(Stop::Target),
                kind::ANSWER => {
                    self.note_here().map_err(Stop::Target)?;
                    return serde_json::from_slice(&frame).map(Some).map_err(bad);
                }
                _ => return Err(Stop::Connection(io::ErrorKind::InvalidData.into())),
            }
        }
    }

    fn miss(&mut self, words: &str) {
        self.failures += 1;
        self.progress.clear();
        complain(&format!("pigeon: {words}\n"));
    }

    fn mailbox(&mut self, folder: &Folder) -> io::Result<()> {
        self.leave_mailbox()?;
        let is_same =
            |(after, _): &(After, u64)| after.mailbox == folder.name && after.uid_validity == folder.uid_validity;
        let resumed = self.resumed.take().filter(is_same);
        let uid = resumed.as_ref().map_or(0, |(after, _)| after.uid);
        let place = After { mailbox: folder.name.clone(), uid_validity: folder.uid_validity, uid };
        let resumed = resumed.map(|(after, log_bytes)| (after.uid, log_bytes));
        match Target::begin(self.what.format, self.what.target, folder, resumed) {
            Ok(target) => self.target = Some((place, target)),
            // A name that this file system cannot have. The rest may be written all the same.
            Err(error) if matches!(error.raw_os_error(), Some(NAME_TOO_LONG | INVALID)) => {
                self.miss(&format!("{}: {} messages are left out: {error}", folder.name, folder.messages));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn leave_mailbox(&mut self) -> io::Result<()> {
        if let Some((_, mut target)) = self.target.take() {
            target.flush()?;
            self.keywords_left_out += target.keywords_left_out;
        }
        Ok(())
    }

    fn begin(&mut self, outgoing: Outgoing) -> io::Result<()> {
        self.outgoing = Some(outgoing.uid);
        match &mut self.target {
            Some((_, target)) => target.message(outgoing),
            None => Ok(()),
        }
    }

    fn end(&mut self, totals: &Totals) -> io::Result<()> {
        self.since.0 += 1;
        self.progress.messages += 1;
        self.progress.done = self.progress.bytes.min(totals.bytes);
        self.progress.show();
        let (Some(uid), Some((place, target))) = (self.outgoing.take(), &mut self.target) else {
            return Ok(());
        };
        target.end()?;
        place.uid = uid;
        self.note.messages += 1;
        if self.since.0 >= NOTE_MESSAGES || self.since.1 >= NOTE_BYTES { self.note_here() } else { Ok(()) }
    }

    fn note_here(&mut self) -> io::Result<()> {
        let Some((place, target)) = &mut self.target else {
            return Ok(());
        };
        target.forget()?;
        self.note.log_bytes = target.flush()?;
        self.note.after = Some(place.clone());
        self.since = (0, 0);
        write_note(self.what.target, &self.note)
    }

    /// Everything is durable, and then the note goes.
    fn done(&mut self) -> io::Result<()> {
        self.leave_mailbox()?;
        let target = self.what.target;
        rustix::fs::syncfs(&File::open(target)?)?;
        fs::remove_file(PathBuf::from(target).join(NOTE))
    }

    fn report(&self) -> Result<(), Failure> {
        let mut text = format!("{}: {} messages exported", self.what.account, self.note.messages);
        if self.keywords_left_out > 0 {
            text.push_str(&format!(", {} without some of their keywords", self.keywords_left_out));
        }
        say(&format!("{text}\n"))?;
        match self.failures {
            0 => Ok(()),
            _ => Err(Failure::Failed("not everything could be exported; what is left out is named above".to_owned())),
        }
    }
}

/// ENAMETOOLONG and EINVAL.
const NAME_TOO_LONG: i32 = rustix::io::Errno::NAMETOOLONG.raw_os_error();
const INVALID: i32 = rustix::io::Errno::INVAL.raw_os_error();
