//! The store's side of `import`: messages stream in, several to a commit, which takes along how far the import has come:
//! wherever it is cut, and whatever clients do with the messages meanwhile, the next run goes on behind the last one stored.

use super::note::{Alone, Note};
use super::{Acked, Arrived, Before, Failed, ImportOrder, PATIENCE, Scope, answer, kind};
use crate::accounts::Error;
use crate::delivery::Incoming;
use crate::imap::grammar::MailboxName;
use crate::imap::grammar::limits::KEYWORD_BYTES_MAX;
use crate::net::LocalStream;
use crate::serve::manage::{Answer, failure};
use crate::serve::world::World;
use crate::store::{AccountId, Date, FlagNames, Flags, Mailbox, NewMessage, Refusal};
use std::io;
use std::time::Duration;

/// While memory is spent, a message waits so long, so many times.
const MEMORY_PAUSE: Duration = Duration::from_millis(100);
const MEMORY_TRIES: u32 = 300;
/// Whoever finds the same import at work waits so long, so many times.
const ALONE_PAUSE: Duration = Duration::from_millis(50);
const ALONE_TRIES: u32 = 100;
/// The system flags.
const SYSTEM_FLAGS: u64 = (1 << Flags::KEYWORD_BIT_FIRST) - 1;
const NOTHING_BEGUN: &str = "a message came before its mailbox";

/// An import at work.
struct Import<'w> {
    world: &'w World,
    scope: Scope,
    account: AccountId,
    /// How far it has come: as stored, but for the position of messages that came since.
    note: Note,
    mailbox: Option<Mailbox>,
    message: Option<Message>,
    batch: Vec<(NewMessage, FlagNames)>,
    /// The next answer.
    acked: Acked,
    /// Messages since the last answer.
    count: u32,
}

/// A message on its way.
struct Message {
    incoming: Incoming,
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
    // One that was cut a moment ago may still be storing its last messages.
    let mut tries = 0;
    let _alone = loop {
        if let Some(alone) = Alone::take(account, &order.source) {
            break alone;
        }
        if tries >= ALONE_TRIES {
            let message = "the same import is running already".to_owned();
            return answer(stream, &Answer::TryLater { message }).await;
        }
        tries += 1;
        world.clock.sleep(ALONE_PAUSE).await;
    };
    let note = match Note::read(&world.store, account, &order).await {
        Ok(note) => note,
        Err(refusal) => return answer(stream, &failure(&Error::Store(refusal))).await,
    };
    let message_bytes_max = scope.message_bytes_max;
    let ended = match note.ended(&world.store, (account, &order.look)).await {
        Ok(ended) => ended,
        Err(refusal) => return answer(stream, &failure(&Error::Store(refusal))).await,
    };
    let before = Before { position: note.position.clone(), stored: note.stored, ended, message_bytes_max };
    answer(stream, &Answer::Import(before)).await?;
    let mut import = Import {
        world,
        scope,
        account,
        note,
        mailbox: None,
        message: None,
        batch: Vec::new(),
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
                // What was whole is kept; half a message is forgotten.
                return self.commit().await;
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
                    let refused = std::str::from_utf8(&frame).ok().and_then(|count| count.parse().ok()).unwrap_or(0);
                    self.note.end(&self.world.store, self.account, refused).await?;
                    self.mailbox = None;
                }
                _ => return Err(End::Connection(io::ErrorKind::InvalidData.into())),
            }
            self.count = 0;
            let acked = std::mem::take(&mut self.acked);
            stream.write_frame(kind::ANSWER, &serde_json::to_vec(&acked).map_err(io::Error::from)?).await?;
        }
    }

    /// What follows goes into this mailbox, which is made if there is none.
    async fn begin(&mut self, name: &[u8]) -> Result<(), End> {
        self.commit().await?;
        let name = std::str::from_utf8(name).ok().and_then(|name| MailboxName::from_utf8(name).ok());
        let Some(name) = name else {
            return Err(End::Failed(Failed { message: "no mailbox can have this name".to_owned(), is_passing: false }));
        };
        self.mailbox = Some(self.mailbox(name.as_str()).await?);
        Ok(())
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

    async fn octets(&mut self, octets: &[u8]) -> Result<(), End> {
        if self.mailbox.is_none() {
            return Err(End::Failed(Failed { message: NOTHING_BEGUN.to_owned(), is_passing: false }));
        }
        let mut message = match self.message.take() {
            Some(message) => message,
            None => Message { incoming: Incoming::new(&self.world.store), refused: None, bytes: 0 },
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
            let mut tries = 0;
            while let Err(refusal) = message.incoming.write(octets).await {
                if refusal != Refusal::NoMemory || !message.incoming.is_empty() || tries >= MEMORY_TRIES {
                    return Err(refusal.into());
                }
                // What waits for its commit holds memory, and so do others, for a while.
                self.commit().await?;
                self.world.clock.sleep(MEMORY_PAUSE).await;
                tries += 1;
                message.incoming = Incoming::new(&self.world.store);
            }
        }
        self.message = Some(message);
        Ok(())
    }

    /// The message is whole: it waits for its commit, unless it is refused.
    async fn end(&mut self, arrived: Arrived) -> Result<(), End> {
        let number = self.count;
        self.count = self.count.saturating_add(1);
        self.note.position = Some(arrived.position);
        let message = self.message.take();
        let Some(message) = message else {
            self.acked.refused.push((number, "it is empty".to_owned()));
            return Ok(());
        };
        if let Some(why) = message.refused {
            self.acked.refused.push((number, why));
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

    /// Makes what has come durable, with how far that is.
    async fn commit(&mut self) -> Result<(), End> {
        let batch = std::mem::take(&mut self.batch);
        let Some(mailbox) = self.mailbox.as_ref().filter(|_| !batch.is_empty()) else {
            return Ok(());
        };
        let stored = batch.len() as u64;
        self.note.stored += stored;
        self.world.store.append_marked(mailbox.id, batch, self.note.mark(self.account)).await?;
        self.acked.stored += stored;
        Ok(())
    }
}

/// An atom (RFC 3501 9) that is no system flag.
fn is_keyword(text: &str) -> bool {
    let is_atom = |octet: u8| octet.is_ascii_graphic() && !b"(){%*\"\\]".contains(&octet);
    !text.is_empty() && text.len() <= KEYWORD_BYTES_MAX && text.bytes().all(is_atom)
}
