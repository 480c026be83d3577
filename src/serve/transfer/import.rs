//! The store's side of `import`: messages stream in, several to a commit; what an earlier run stored and did not note is
//! recognised by its octets.

use super::note::{self, Note, Place};
use super::{Acked, Arrived, Before, Failed, ImportOrder, PATIENCE, Scope, answer, kind};
use crate::accounts::Error;
use crate::base::Grant;
use crate::delivery::Incoming;
use crate::imap::grammar::MailboxName;
use crate::imap::grammar::limits::KEYWORD_BYTES_MAX;
use crate::net::LocalStream;
use crate::serve::manage::{Answer, failure};
use crate::serve::world::World;
use crate::store::{AccountId, Date, FlagNames, Flags, Mailbox, NewMessage, Refusal, Uid, UidSet};
use ring::digest::{Context, SHA256};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A note is written after so many messages,
const NOTE_MESSAGES: u64 = 1_024;
/// or so many octets of them.
const NOTE_BYTES: u64 = 64 * 1024 * 1024;
/// Messages that are looked at for what an earlier run stored; what came after those came from elsewhere.
const EARLIER_MESSAGES_MAX: usize = 20_000;
/// What is remembered of one of them.
const EARLIER_BYTES: usize = 64;
/// Messages of a mailbox that are read in a step.
const STEP_MESSAGES: usize = 256;
/// While memory is spent, a message waits so long, so many times.
const MEMORY_PAUSE: Duration = Duration::from_millis(100);
const MEMORY_TRIES: u32 = 300;
/// Whoever finds the same import at work waits so long, so many times.
const ALONE_PAUSE: Duration = Duration::from_millis(50);
const ALONE_TRIES: u32 = 100;
/// The system flags.
const SYSTEM_FLAGS: u64 = (1 << Flags::KEYWORD_BIT_FIRST) - 1;
const NOTHING_BEGUN: &str = "a message came before its mailbox";

type Sum = [u8; 32];

/// An import at work.
struct Import<'w> {
    world: &'w World,
    scope: Scope,
    account: AccountId,
    path: PathBuf,
    note: Note,
    /// What the note of an earlier run says, until that mailbox begins, or something is stored elsewhere.
    before: Option<Place>,
    mailbox: Option<Mailbox>,
    message: Option<Message>,
    batch: Vec<(NewMessage, FlagNames)>,
    /// Sums of what may have been stored by an earlier run, and how often.
    earlier: BTreeMap<Sum, u32>,
    /// Their memory.
    earlier_grant: Grant,
    /// The note on disk does not tell of the mailbox yet.
    is_unnoted: bool,
    /// An earlier run may have stored more than the note on disk says.
    is_behind: bool,
    /// Messages and octets since the note.
    since: (u64, u64),
    /// The position of the last message that came,
    position: Option<String>,
    /// and of the last one that is committed, with all before it.
    committed: Option<String>,
    /// The next answer.
    acked: Acked,
    /// Messages since the last answer.
    count: u32,
}

/// A message on its way.
struct Message {
    incoming: Incoming,
    sum: Option<Context>,
    refused: Option<String>,
    bytes: u64,
}

/// Why an import ends before its end.
enum End {
    Connection(io::Error),
    Failed(Failed),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(match refusal {
            Refusal::NotFound => {
                Failed { message: "the mailbox or its account has gone".to_owned(), is_passing: false }
            }
            refusal => Failed::of(&Error::Store(refusal)),
        })
    }
}

/// Takes messages until the connection ends.
pub(super) async fn serve(world: &World, scope: Scope, order: ImportOrder, stream: &mut LocalStream) -> io::Result<()> {
    let account = match world.accounts.account(&order.account).await {
        Ok(account) => account.id,
        Err(error) => return answer(stream, &failure(&error)).await,
    };
    let path = note::path(&scope.data, &order);
    // One that was cut a moment ago may still be writing its note.
    let mut tries = 0;
    let _alone = loop {
        if let Some(alone) = note::Alone::take(&path) {
            break alone;
        }
        if tries >= ALONE_TRIES {
            let message = "the same import is running already".to_owned();
            return answer(stream, &Answer::TryLater { message }).await;
        }
        tries += 1;
        world.clock.sleep(ALONE_PAUSE).await;
    };
    let told = {
        let (path, order) = (path.clone(), ImportOrder { account: order.account.clone(), ..order });
        let look = move || {
            if order.from_start {
                note::remove(&path)?;
            }
            Ok(Note::read(&path, &order)?.unwrap_or_else(|| Note::new(&order)))
        };
        world.workers.run(look).await.unwrap_or_else(|| Err(io::Error::other("the worker is gone")))
    };
    let note = match told {
        Ok(note) => note,
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            return answer(stream, &Answer::Failed { message }).await;
        }
    };
    let message_bytes_max = scope.message_bytes_max;
    let before = Before { position: note.position.clone(), stored: note.stored, message_bytes_max };
    answer(stream, &Answer::Import(before)).await?;
    let mut import = Import {
        world,
        scope,
        account,
        path,
        before: note.place.clone(),
        position: note.position.clone(),
        committed: note.position.clone(),
        note,
        mailbox: None,
        message: None,
        batch: Vec::new(),
        earlier: BTreeMap::new(),
        earlier_grant: Grant::none(&world.budget),
        is_unnoted: false,
        is_behind: false,
        since: (0, 0),
        acked: Acked::default(),
        count: 0,
    };
    match import.run(stream).await {
        Ok(()) => Ok(()),
        Err(End::Connection(error)) => Err(error),
        Err(End::Failed(failed)) => {
            log::warn!("an import ended: {}", failed.message);
            import.acked.failed = Some(failed);
            stream.write_frame(kind::ANSWER, &serde_json::to_vec(&import.acked)?).await
        }
    }
}

impl Import<'_> {
    async fn run(&mut self, stream: &mut LocalStream) -> Result<(), End> {
        let mut frame = Vec::new();
        loop {
            let read = self.world.clock.timeout(PATIENCE, stream.frame(&mut frame)).await;
            let Some(kind) = read.unwrap_or(Ok(None))? else {
                return self.cut().await;
            };
            match kind {
                kind::MAILBOX => self.begin(&frame).await?,
                kind::DATA => {
                    self.octets(&frame).await?;
                    continue;
                }
                kind::END => {
                    let arrived = serde_json::from_slice(&frame).map_err(io::Error::from)?;
                    self.end(arrived).await?;
                    continue;
                }
                kind::FORGET => {
                    self.message = None;
                    continue;
                }
                kind::COMMIT => self.commit().await?,
                kind::DONE => {
                    self.commit().await?;
                    let path = self.path.clone();
                    self.blocking(move || note::remove(&path)).await?;
                    // Nothing is left to be noted when the program goes.
                    self.since = (0, 0);
                    self.mailbox = None;
                }
                _ => return Err(End::Connection(io::ErrorKind::InvalidData.into())),
            }
            self.count = 0;
            let acked = std::mem::take(&mut self.acked);
            stream.write_frame(kind::ANSWER, &serde_json::to_vec(&acked).map_err(io::Error::from)?).await?;
        }
    }

    /// A disk that fails the note is told as a failure: a run without notes could not go on.
    async fn blocking(&self, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<(), End> {
        let done = self.world.workers.run(work).await.unwrap_or_else(|| Err(io::Error::other("the worker is gone")));
        let failed = |error| Failed { message: format!("{}: {error}", self.path.display()), is_passing: true };
        done.map_err(|error| End::Failed(failed(error)))
    }

    async fn write_note(&self) -> Result<(), End> {
        let (note, path) = (self.note.clone(), self.path.clone());
        self.blocking(move || note.write(&path)).await
    }

    /// What follows goes into this mailbox, which is made if there is none.
    async fn begin(&mut self, name: &[u8]) -> Result<(), End> {
        self.store_batch().await?;
        let name = std::str::from_utf8(name).ok().and_then(|name| MailboxName::from_utf8(name).ok());
        let Some(name) = name else {
            return Err(End::Failed(Failed { message: "no mailbox can have this name".to_owned(), is_passing: false }));
        };
        let mailbox = self.mailbox(name.as_str()).await?;
        self.committed.clone_from(&self.position);
        self.since = (0, 0);
        self.forget_earlier();
        let is_same =
            |before: &mut Place| before.mailbox == mailbox.name && before.uid_validity == mailbox.uid_validity.0;
        match self.before.take_if(is_same) {
            Some(before) => {
                (self.is_unnoted, self.is_behind) = (false, true);
                self.remember(&mailbox, Uid(before.uid_next)).await?;
            }
            None => self.is_unnoted = true,
        }
        self.mailbox = Some(mailbox);
        Ok(())
    }

    /// From here on, what is stored has the mailbox's next UID or a higher one.
    async fn note_place(&mut self) -> Result<(), End> {
        let Some(known) = &self.mailbox else {
            return Ok(());
        };
        let mailbox = self.world.store.mailbox(known.id).await?.ok_or(Refusal::NotFound)?;
        let (uid_validity, uid_next) = (mailbox.uid_validity.0, mailbox.uid_next.0);
        self.before = None;
        self.is_unnoted = false;
        self.note.place = Some(Place { mailbox: mailbox.name, uid_validity, uid_next });
        self.note.position.clone_from(&self.committed);
        self.write_note().await
    }

    async fn mailbox(&self, name: &str) -> Result<Mailbox, End> {
        let store = &self.world.store;
        if let Some(mailbox) = store.mailbox_by_name(self.account, name).await? {
            return Ok(mailbox);
        }
        match store.mailbox_create(self.account, name, None).await {
            Ok(_) | Err(Refusal::Exists) => {}
            Err(refusal) => return Err(refusal.into()),
        }
        // So that mail programs show it. One that cannot be is there all the same.
        drop(store.subscribe(self.account, name, true).await);
        Ok(store.mailbox_by_name(self.account, name).await?.ok_or(Refusal::NotFound)?)
    }

    fn forget_earlier(&mut self) {
        self.is_behind = false;
        self.earlier = BTreeMap::new();
        self.earlier_grant = Grant::none(&self.world.budget);
    }

    /// Sums up what has come into the mailbox since the note.
    async fn remember(&mut self, mailbox: &Mailbox, from: Uid) -> Result<(), End> {
        self.earlier = BTreeMap::new();
        let store = &self.world.store;
        let mut uids = UidSet::range(from, Uid(mailbox.uid_next.0.saturating_sub(1)));
        let mut looked_at = 0;
        while looked_at < EARLIER_MESSAGES_MAX {
            let step = store.messages(mailbox.id, &uids, STEP_MESSAGES).await?;
            let Some((last, _)) = step.last() else {
                break;
            };
            uids.remove_range(crate::store::UidRange { first: Uid(0), last: last.uid });
            looked_at += step.len();
            let bytes = looked_at.saturating_mul(EARLIER_BYTES);
            self.earlier_grant = self.world.budget.take(bytes).ok_or(Refusal::NoMemory)?;
            for (_, message) in step {
                let mut reader = match store.read(message.blob).await {
                    Err(Refusal::NotFound | Refusal::Damaged) => continue,
                    reader => reader?,
                };
                let mut sum = Context::new(&SHA256);
                let mut offset = 0;
                let is_whole = loop {
                    match reader.at(offset).await {
                        Ok([]) => break true,
                        Ok(part) => {
                            sum.update(part);
                            offset += part.len() as u64;
                        }
                        // Nothing that comes can be told from it.
                        Err(Refusal::Damaged | Refusal::NotFound) => break false,
                        Err(refusal) => return Err(refusal.into()),
                    }
                };
                if is_whole && let Some(sum) = sum_of(sum) {
                    *self.earlier.entry(sum).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    async fn octets(&mut self, octets: &[u8]) -> Result<(), End> {
        if self.mailbox.is_none() {
            return Err(End::Failed(Failed { message: NOTHING_BEGUN.to_owned(), is_passing: false }));
        }
        let mut message = match self.message.take() {
            Some(message) => message,
            None => self.message(),
        };
        let size = message.bytes.saturating_add(octets.len() as u64);
        message.bytes = size;
        if message.refused.is_none() && memchr::memchr(0, octets).is_some() {
            // RFC 3501 9: CHAR8 is any octet but NUL.
            message.refused = Some("it has a NUL octet in it, which IMAP cannot carry".to_owned());
        }
        if message.refused.is_none() && size > self.scope.message_bytes_max {
            let most = crate::config::human_bytes(self.scope.message_bytes_max);
            message.refused = Some(format!("it is larger than {most} (`message` in [limits])"));
        }
        if message.refused.is_none() {
            if let Some(sum) = &mut message.sum {
                sum.update(octets);
            }
            let mut tries = 0;
            while let Err(refusal) = message.incoming.write(octets).await {
                if refusal != Refusal::NoMemory || !message.incoming.is_empty() || tries >= MEMORY_TRIES {
                    return Err(refusal.into());
                }
                // What waits for its commit holds memory, and so do others, for a while.
                self.store_batch().await?;
                self.world.clock.sleep(MEMORY_PAUSE).await;
                tries += 1;
                message.incoming = Incoming::new(&self.world.store);
            }
        }
        self.message = Some(message);
        Ok(())
    }

    fn message(&self) -> Message {
        let sum = (!self.earlier.is_empty()).then(|| Context::new(&SHA256));
        Message { incoming: Incoming::new(&self.world.store), sum, refused: None, bytes: 0 }
    }

    /// The message is whole: it waits for its commit, unless it is refused or there already.
    async fn end(&mut self, arrived: Arrived) -> Result<(), End> {
        let number = self.count;
        self.count = self.count.saturating_add(1);
        self.position = Some(arrived.position);
        let message = self.message.take();
        self.since.0 += 1;
        self.since.1 = self.since.1.saturating_add(message.as_ref().map_or(0, |message| message.bytes));
        let Some(message) = message else {
            self.acked.refused.push((number, "it is empty".to_owned()));
            return Ok(());
        };
        if let Some(why) = message.refused {
            self.acked.refused.push((number, why));
            return Ok(());
        }
        if let Some(sum) = message.sum.and_then(sum_of)
            && let Some(times) = self.earlier.get_mut(&sum).filter(|times| **times > 0)
        {
            *times -= 1;
            self.acked.present += 1;
            return Ok(());
        }
        let now = Date { unix_s: self.world.clock.unix_s(), zone_minutes: 0 };
        let date = arrived.marks.date().unwrap_or(now);
        let flags = self.flags(arrived.marks.flags, arrived.marks.keywords);
        let whole = message.incoming.finish(date).await?;
        self.batch.push((whole, flags));
        Ok(())
    }

    /// Flags with those keywords that the mailbox knows or has room for.
    fn flags(&mut self, system: u64, keywords: Vec<String>) -> FlagNames {
        let count = keywords.len();
        let mut kept: Vec<String> = Vec::new();
        if let Some(mailbox) = &mut self.mailbox {
            for keyword in keywords {
                let is_known = mailbox.keywords.iter().any(|known| known.eq_ignore_ascii_case(&keyword));
                if !is_known && is_keyword(&keyword) && mailbox.keywords.len() < Flags::KEYWORDS_MAX {
                    mailbox.keywords.push(keyword.clone());
                } else if !is_known {
                    continue;
                }
                kept.push(keyword);
            }
        }
        if kept.len() < count {
            self.acked.keywords_left_out += 1;
        }
        FlagNames { system: Flags(system & SYSTEM_FLAGS), keywords: kept }
    }

    async fn store_batch(&mut self) -> Result<(), End> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if self.is_unnoted {
            self.note_place().await?;
        }
        let batch = std::mem::take(&mut self.batch);
        if let Some(mailbox) = &self.mailbox {
            let stored = self.world.store.append(mailbox.id, batch).await?.len() as u64;
            self.acked.stored += stored;
            self.note.stored += stored;
        }
        Ok(())
    }

    /// Makes what has come durable, and writes a note when it is time for one.
    async fn commit(&mut self) -> Result<(), End> {
        self.store_batch().await?;
        self.committed.clone_from(&self.position);
        if self.since.0 >= NOTE_MESSAGES || self.since.1 >= NOTE_BYTES {
            self.note_here().await?;
        }
        Ok(())
    }

    async fn note_here(&mut self) -> Result<(), End> {
        self.forget_earlier();
        self.since = (0, 0);
        self.note_place().await
    }

    /// The program has gone. What was whole is kept and noted; half a message is forgotten.
    async fn cut(&mut self) -> Result<(), End> {
        self.message = None;
        if self.before.is_some() || self.since.0 == 0 {
            return Ok(());
        }
        self.store_batch().await?;
        self.committed.clone_from(&self.position);
        // An earlier run may have stored what this one has not come to yet.
        if self.is_behind { Ok(()) } else { self.note_here().await }
    }
}

fn sum_of(sum: Context) -> Option<Sum> {
    sum.finish().as_ref().try_into().ok()
}

/// An atom (RFC 3501 9) that is no system flag.
fn is_keyword(text: &str) -> bool {
    let is_atom = |octet: u8| octet.is_ascii_graphic() && !b"(){%*\"\\]".contains(&octet);
    !text.is_empty() && text.len() <= KEYWORD_BYTES_MAX && text.bytes().all(is_atom)
}
