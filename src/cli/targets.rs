//! Files that an export writes: mbox, Maildir, .eml. Each message is there whole or not at all; what is written again after a
//! cut takes the place of what was there.

use super::archive::{
    Quoter, ToLf, folder_name, keyword_letters, path_of_mailbox, print_from_line, put_index_line, put_name, put_top,
};
use super::args::Format;
use super::sources::INDEX;
use crate::base::replace_file;
use crate::serve::transfer::{Folder, Marks, Outgoing};
use crate::store::Date;
use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Octets that are gathered before they are written.
const BUFFER_BYTES: usize = 64 * 1024;
/// What Dovecot and we keep a folder's keywords in.
const KEYWORDS: &str = "dovecot-keywords";
/// Where an .eml file is until it is whole.
const PART: &str = ".part";

/// A mailbox that is being written.
pub(super) struct Target {
    format: Format,
    folder: PathBuf,
    uid_validity: u32,
    /// The mbox, or the index of .eml files; nothing for a Maildir.
    log: Option<BufWriter<File>>,
    /// Octets in it that belong to whole messages.
    log_bytes: u64,
    keywords: Vec<String>,
    /// Messages whose keywords have no room in the format.
    pub(super) keywords_left_out: u64,
    message: Option<Message>,
}

/// A message that is being written.
struct Message {
    told: Outgoing,
    /// Its own file; an mbox has it in the log.
    file: Option<BufWriter<File>>,
    part: PathBuf,
    quoter: Quoter,
    bytes: u64,
}

impl Target {
    /// Begins a mailbox below `root`; `resumed` is the last UID that is there, and the octets of the log then.
    pub(super) fn begin(format: Format, root: &Path, folder: &Folder, resumed: Option<(u32, u64)>) -> io::Result<Self> {
        let levels = path_of_mailbox(&folder.name);
        let (last_uid, log_bytes) = resumed.unwrap_or((0, 0));
        let (place, log) = match format {
            Format::Maildir => {
                let place = match folder.name.as_str() {
                    "INBOX" => root.to_owned(),
                    name => root.join(folder_name(name)),
                };
                for sub in ["cur", "new", "tmp"] {
                    make_folder(&place.join(sub))?;
                }
                if place != root {
                    // Maildir++: what marks a folder.
                    fs::write(place.join("maildirfolder"), b"")?;
                }
                remove_above(&place.join("cur"), last_uid)?;
                (place, None)
            }
            Format::Mbox => {
                let mut file = levels.iter().fold(root.to_owned(), |path, level| path.join(level)).into_os_string();
                file.push(".mbox");
                let file = PathBuf::from(file);
                let place = file.parent().map_or_else(|| root.to_owned(), Path::to_owned);
                make_folder(&place)?;
                (place, Some(file))
            }
            Format::Eml => {
                let place = levels.iter().fold(root.to_owned(), |path, level| path.join(level));
                make_folder(&place)?;
                remove_above(&place, last_uid)?;
                let log = place.join(INDEX);
                (place, Some(log))
            }
        };
        let log = log.map(|path| open_log(&path, log_bytes)).transpose()?;
        let known = if resumed.is_some() && format == Format::Maildir {
            fs::read_to_string(place.join(KEYWORDS)).unwrap_or_default()
        } else {
            String::new()
        };
        Ok(Self {
            format,
            folder: place,
            uid_validity: folder.uid_validity,
            log,
            log_bytes,
            keywords: keyword_letters(&known).into_iter().map_while(|keyword| keyword).collect(),
            keywords_left_out: 0,
            message: None,
        })
    }

    /// A message begins.
    pub(super) fn message(&mut self, told: Outgoing) -> io::Result<()> {
        self.forget()?;
        let (name, folder) = match self.format {
            Format::Maildir => (format!("{:010}{PART}", told.uid), self.folder.join("tmp")),
            Format::Mbox | Format::Eml => (format!(".{:010}{PART}", told.uid), self.folder.clone()),
        };
        let part = folder.join(name);
        let file = match self.format {
            Format::Mbox => None,
            Format::Maildir | Format::Eml => {
                let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
                Some(BufWriter::with_capacity(BUFFER_BYTES, file))
            }
        };
        if let (Format::Mbox, Some(log)) = (self.format, &mut self.log) {
            let line_end = if told.is_regular { "\n" } else { "\r\n" };
            let date = told.marks.date().unwrap_or(Date { unix_s: 0, zone_minutes: 0 });
            let mut top = format!("{}{line_end}", print_from_line(date)).into_bytes();
            put_top(&told.marks, told.is_ended, line_end, &mut top);
            log.write_all(&top)?;
        }
        self.message = Some(Message { told, file, part, quoter: Quoter::new(), bytes: 0 });
        Ok(())
    }

    /// Octets of the message.
    pub(super) fn octets(&mut self, octets: &[u8]) -> io::Result<()> {
        let Some(message) = &mut self.message else {
            return Ok(());
        };
        let mut lines = Vec::new();
        let octets = if message.told.is_regular && self.format != Format::Eml {
            ToLf::feed(octets, &mut lines);
            &lines
        } else {
            octets
        };
        message.bytes = message.bytes.saturating_add(octets.len() as u64);
        match (&mut message.file, &mut self.log) {
            (Some(file), _) => file.write_all(octets),
            (None, Some(log)) => {
                let mut quoted = Vec::with_capacity(octets.len());
                message.quoter.feed(octets, &mut quoted);
                log.write_all(&quoted)
            }
            (None, None) => Ok(()),
        }
    }

    /// The message is whole.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let Some(mut message) = self.message.take() else {
            return Ok(());
        };
        let marks = &message.told.marks;
        match (message.file.take(), &mut self.log) {
            (Some(file), log) => {
                let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.set_times(FileTimes::new().set_modified(time(marks)))?;
                let name = match log {
                    None => {
                        let sizes = (message.bytes, message.told.size);
                        let ids = (message.told.uid, self.uid_validity);
                        let (name, is_whole) = put_name(ids, sizes, marks, &mut self.keywords);
                        self.keywords_left_out += u64::from(!is_whole);
                        Path::new("cur").join(name)
                    }
                    Some(log) => {
                        let name = format!("{:010}.eml", message.told.uid);
                        log.write_all(put_index_line(&name, marks).as_bytes())?;
                        PathBuf::from(name)
                    }
                };
                fs::rename(&message.part, self.folder.join(name))?;
            }
            (None, Some(log)) => {
                let mut rest = Vec::new();
                message.quoter.finish(&mut rest);
                let line_end: &[u8] = if message.told.is_regular { b"\n" } else { b"\r\n" };
                if !message.told.is_ended {
                    rest.extend_from_slice(line_end);
                }
                rest.extend_from_slice(line_end);
                log.write_all(&rest)?;
            }
            (None, None) => {}
        }
        if let Some(log) = &mut self.log {
            self.log_bytes = log.stream_position()?;
        }
        Ok(())
    }

    /// What has come of the message is forgotten.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        let Some(message) = self.message.take() else {
            return Ok(());
        };
        match (message.file, &mut self.log) {
            (Some(_), _) => fs::remove_file(&message.part),
            (None, Some(log)) => {
                log.flush()?;
                log.get_ref().set_len(self.log_bytes)?;
                log.seek(SeekFrom::Start(self.log_bytes)).map(drop)
            }
            (None, None) => Ok(()),
        }
    }

    /// Hands everything whole to the system; octets of the log.
    pub(super) fn flush(&mut self) -> io::Result<u64> {
        if let Some(log) = &mut self.log {
            log.flush()?;
        }
        if self.format == Format::Maildir && !self.keywords.is_empty() {
            let lines = self.keywords.iter().enumerate().map(|(n, keyword)| format!("{n} {keyword}\n"));
            replace_file(&self.folder.join(KEYWORDS), lines.collect::<String>().as_bytes(), 0o600)?;
        }
        Ok(self.log_bytes)
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a log as it was when it had so many octets.
fn open_log(path: &Path, bytes: u64) -> io::Result<BufWriter<File>> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.len() < bytes {
        return Err(io::Error::other("it is shorter than when the export was cut; export into an empty folder"));
    }
    file.set_len(bytes)?;
    file.seek(SeekFrom::End(0))?;
    Ok(BufWriter::with_capacity(BUFFER_BYTES, file))
}

/// Removes messages that a cut export wrote and did not note: their names, or what they are flagged with, may be others now.
fn remove_above(folder: &Path, uid: u32) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_ours = name.ends_with(PART) || name.ends_with(".eml") || name.contains(".pigeon,");
        let number = name.trim_start_matches('.').get(..10).and_then(|number| number.parse::<u32>().ok());
        if is_ours && number.is_some_and(|number| number > uid) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn time(marks: &Marks) -> SystemTime {
    let unix_s = marks.unix_s.unwrap_or(0);
    let distance = Duration::from_secs(unix_s.unsigned_abs());
    let time = if unix_s < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}
