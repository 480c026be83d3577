//! Mail in and out in bulk, for `import` and `export`: frames on the control socket, which carry a message's octets without
//! holding it. The program that was called reads and writes its files with its caller's permissions; the server, or a thread
//! of that program where no server runs, has the store.

mod export;
mod import;
mod note;

use super::control::{START_LIMIT, START_PAUSE, connect_within};
use super::manage::{Answer, Request};
use super::process::become_owner;
use super::world::{StartError, World};
use crate::accounts::Error;
use crate::config::Config;
use crate::net::{LocalClient, LocalStream};
use crate::store::{Date, Refusal};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Either side waits so long for the other: for a slow disk, or for one that spins up.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);
/// Messages that are committed together at the most.
pub const BATCH_MESSAGES_MAX: usize = 128;
/// Octets of messages after which they are committed: what the server holds of them is less.
pub const BATCH_BYTES: u64 = 512 * 1024;

/// What a frame is.
pub mod kind {
    /// To the server: the mailbox of the messages that follow. From it: a mailbox begins, a [`super::Folder`].
    pub const MAILBOX: u8 = b'M';
    /// From the server: a message begins, an [`super::Outgoing`].
    pub const BEGIN: u8 = b'B';
    /// Octets of the message.
    pub const DATA: u8 = b'D';
    /// The message is whole; to the server with an [`super::Arrived`].
    pub const END: u8 = b'E';
    /// The message is not to be had: it is forgotten. From the server with the reason.
    pub const FORGET: u8 = b'X';
    /// To the server: commit what has come.
    pub const COMMIT: u8 = b'C';
    /// That was all.
    pub const DONE: u8 = b'Q';
    /// From the server: an [`super::Acked`].
    pub const ANSWER: u8 = b'A';
}

/// `import`: frames follow the answer.
#[derive(Debug, Deserialize, Serialize)]
pub struct ImportOrder {
    /// Whose mail it becomes.
    pub account: String,
    /// What names the source: the same again goes on where it was cut.
    pub source: String,
    /// Forget how far an earlier run came.
    pub from_start: bool,
    /// What it looks like: the same when nothing in it has changed since.
    pub look: String,
}

/// `export`: frames answer it.
#[derive(Debug, Deserialize, Serialize)]
pub struct ExportOrder {
    /// Whose mail.
    pub account: String,
    /// Of one mailbox alone.
    pub mailbox: Option<String>,
    /// Where an earlier run was cut.
    pub after: Option<After>,
}

/// A place in an account: mailboxes come by name, messages by UID.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct After {
    /// The mailbox.
    pub mailbox: String,
    /// Its UIDVALIDITY.
    pub uid_validity: u32,
    /// The last UID that is done.
    pub uid: u32,
}

/// An import that came to its source's end.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Earlier {
    /// Messages that it brought in.
    pub stored: u64,
    /// Messages that could not be taken.
    pub refused: u64,
    /// The source looked then as it does now.
    pub is_same: bool,
}

/// What the server knows of an earlier run of the same import.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Before {
    /// The last message that is surely in, as the program named it; nothing at the start.
    pub position: Option<String>,
    /// Messages that are in.
    pub stored: u64,
    /// The earlier run that came to the source's end.
    pub ended: Option<Earlier>,
    /// The largest message that is taken, octets.
    pub message_bytes_max: u64,
}

/// What is stored beside a message.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Marks {
    /// INTERNALDATE: seconds since 1970; nothing for now.
    pub unix_s: Option<i64>,
    /// Its zone, minutes east of UTC.
    pub zone_minutes: i16,
    /// The system flags, as [`crate::store::Flags`] has them.
    pub flags: u64,
    /// Keywords.
    pub keywords: Vec<String>,
}

impl Marks {
    /// INTERNALDATE, unless IMAP could not print it (years 1 to 9999, RFC 3501 date-time).
    pub fn date(&self) -> Option<Date> {
        const YEAR_1_S: i64 = -62_135_596_800 + 86_400;
        const YEAR_10000_S: i64 = 253_402_300_800 - 86_400;
        const ZONE_MINUTES_MAX: i16 = 24 * 60 - 1;
        let unix_s = self.unix_s.filter(|unix_s| (YEAR_1_S..YEAR_10000_S).contains(unix_s))?;
        let zone_minutes = self.zone_minutes.clamp(-ZONE_MINUTES_MAX, ZONE_MINUTES_MAX);
        Some(Date { unix_s, zone_minutes })
    }

    /// With this INTERNALDATE.
    pub fn set_date(&mut self, date: Date) {
        self.unix_s = Some(date.unix_s);
        self.zone_minutes = date.zone_minutes;
    }
}

/// The end of a message that goes in.
#[derive(Debug, Deserialize, Serialize)]
pub struct Arrived {
    /// What is stored beside it.
    pub marks: Marks,
    /// Where it stands in the source; an import that was cut goes on behind such a position.
    pub position: String,
}

/// What became of the messages since the last answer.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Acked {
    /// Stored, and durable.
    pub stored: u64,
    /// Not stored: which (counted from 0 since the last answer), and why.
    pub refused: Vec<(u32, String)>,
    /// Messages that were stored without some of their keywords, because the mailbox has no room for more.
    pub keywords_left_out: u64,
    /// Why nothing more is taken.
    pub failed: Option<Failed>,
}

/// Why a transfer ended.
#[derive(Debug, Deserialize, Serialize)]
pub struct Failed {
    /// In words.
    pub message: String,
    /// Whether it may go on later.
    pub is_passing: bool,
}

impl Failed {
    fn of(error: &Error) -> Self {
        let is_passing = matches!(error, Error::Store(Refusal::NoMemory | Refusal::DiskFull | Refusal::Unavailable));
        Self { message: error.to_string(), is_passing }
    }
}

/// A mailbox that goes out.
#[derive(Debug, Deserialize, Serialize)]
pub struct Folder {
    /// Its name.
    pub name: String,
    /// Its UIDVALIDITY.
    pub uid_validity: u32,
    /// Messages of it that follow.
    pub messages: u64,
}

/// A message that goes out.
#[derive(Debug, Deserialize, Serialize)]
pub struct Outgoing {
    /// Its UID.
    pub uid: u32,
    /// Its octets.
    pub size: u64,
    /// What is stored beside it.
    pub marks: Marks,
    /// Whether every line of it ends with CRLF, and none holds a CR or LF of its own.
    pub is_regular: bool,
    /// Whether its last octet is an LF, or it has none.
    pub is_ended: bool,
}

/// What the whole export will be.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Totals {
    /// Messages.
    pub messages: u64,
    /// Their octets.
    pub bytes: u64,
}

/// How much a transfer may carry.
pub(super) struct Scope {
    /// The largest message that is taken, octets.
    pub(super) message_bytes_max: u64,
}

impl Scope {
    pub(super) fn of(config: &Config) -> Self {
        Self { message_bytes_max: config.limits.message_bytes }
    }
}

/// Carries a transfer out, to the end of the connection. Any other request is refused.
pub(super) async fn serve(world: &World, scope: Scope, request: Request, stream: &mut LocalStream) -> io::Result<()> {
    match request {
        Request::Import(order) => import::serve(world, scope, order, stream).await,
        Request::Export(order) => export::serve(world, order, stream).await,
        _ => answer(stream, &Answer::Failed { message: "this connection is for transfers".to_owned() }).await,
    }
}

async fn answer(stream: &mut LocalStream, answer: &Answer) -> io::Result<()> {
    stream.write_line(&serde_json::to_vec(answer)?).await
}

/// A connection for a transfer: to the server, or to a thread that has the store open itself. Only that thread becomes the
/// data's owner.
#[derive(Debug)]
pub struct Line {
    client: Option<LocalClient>,
    beside: Option<JoinHandle<()>>,
}

impl Line {
    /// Finds the running server, or opens the store where none runs. Blocks.
    pub fn open(config: &Config) -> Result<Self, StartError> {
        let until = Instant::now() + START_LIMIT;
        loop {
            if let Some(client) = connect_within(&config.data, PATIENCE)? {
                return Ok(Self { client: Some(client), beside: None });
            }
            match Self::beside(config) {
                Err(StartError::Busy(_)) if Instant::now() < until => std::thread::sleep(START_PAUSE),
                opened => return opened,
            }
        }
    }

    fn beside(config: &Config) -> Result<Self, StartError> {
        let failed = |error: io::Error| StartError::failed(format!("cannot open the store: {error}"), "try again");
        let (mut stream, client) = LocalStream::pair(PATIENCE).map_err(failed)?;
        let (told, opened) = mpsc::channel();
        let config = config.clone();
        let work = move || {
            let world = match become_owner(&config.data).map_err(failed).and_then(|()| World::open(&config)) {
                Ok(world) => world,
                Err(error) => return drop(told.send(Err(error))),
            };
            // Whoever waits for it has not gone.
            drop(told.send(Ok(())));
            let converse = async {
                let Some(line) = stream.line(super::control::REQUEST_BYTES_MAX).await? else {
                    return Ok(());
                };
                serve(&world, Scope::of(&config), serde_json::from_slice(&line)?, &mut stream).await
            };
            // The connection ends, however this did: the other side tells what it missed.
            drop(async_io::block_on(converse));
            drop(stream);
            world.close();
        };
        let beside = std::thread::Builder::new().name("transfer".to_owned()).spawn(work).map_err(failed)?;
        opened.recv().unwrap_or_else(|_| Err(failed(io::Error::other("the thread ended"))))?;
        Ok(Self { client: Some(client), beside: Some(beside) })
    }

    /// The connection.
    pub fn client(&mut self) -> io::Result<&mut LocalClient> {
        self.client.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // The thread ends with its connection, and has written down everything then.
        if let Some(client) = self.client.take() {
            client.close();
        }
        if let Some(beside) = self.beside.take() {
            drop(beside.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_that_imap_cannot_print_are_none() {
        for (unix_s, is_date) in
            [(Some(0), true), (Some(-1), true), (Some(i64::MIN), false), (Some(253_402_300_800), false), (None, false)]
        {
            assert_eq!(Marks { unix_s, ..Marks::default() }.date().is_some(), is_date, "{unix_s:?}");
        }
    }
}
