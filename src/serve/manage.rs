//! What the verbs ask for and what they are answered: one request, one answer, both one line of JSON on the control
//! socket, or passed directly where no server runs. Lists come page by page.

use super::status::{Holds, Status};
use super::transfer::{Before, ExportOrder, ImportOrder, Totals};
use super::world::World;
use crate::accounts::Error;
use crate::base::Secret;
use crate::store::verify::{Part, Progress};
use crate::store::{AccountId, Refusal, Stats};
use serde::{Deserialize, Serialize};

/// Accounts of one answer; aliases are fewer, because one may have a thousand targets.
const USERS_MAX: usize = 100;
const ALIASES_MAX: usize = 16;

/// A question or an order.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields say what they are")]
pub enum Request {
    /// `domain add`
    DomainAdd { domain: String },
    /// `domain remove`
    DomainRemove { domain: String },
    /// `domain list`
    DomainList,
    /// `user add`
    UserAdd { address: String, password: Password },
    /// `user password`
    UserPassword { address: String, password: Password },
    /// `user remove`
    UserRemove { address: String },
    /// `user list`, those numbered above `after`.
    UserList { after: Option<u32> },
    /// `alias add`
    AliasAdd { address: String, targets: Vec<String> },
    /// `alias remove`
    AliasRemove { address: String },
    /// `alias list`, those sorted after `after`.
    AliasList { after: Option<String> },
    /// `status`
    Status,
    /// `backup`: the files are kept as they are until the connection ends.
    Hold,
    /// `verify`: answered by `Verifying`, again and again, and then `Verified`.
    Verify,
    /// `import`: frames follow
    Import(ImportOrder),
    /// `export`: frames answer it
    Export(ExportOrder),
}

/// What was done or found.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields say what they are")]
pub enum Answer {
    /// Done as asked.
    Done,
    /// Every domain.
    Domains { domains: Vec<String> },
    /// Some accounts; ask again `after` the last, unless that is nothing.
    Users { users: Vec<User>, after: Option<u32> },
    /// Some aliases; ask again `after` the last, unless that is nothing.
    Aliases { aliases: Vec<Alias>, after: Option<String> },
    /// How the server is.
    Status(Box<Status>),
    /// The files of a backup, the last batch in them, the segments that must be among them, and the backup's mark.
    Held { sequence: u64, crc: u32, end: (u64, u64), names: Vec<String>, needed: Vec<u64>, mark: Option<String> },
    /// How far reading everything has come.
    Verifying { part: String, done: u64, total: u64 },
    /// What was read, and what was damaged.
    Verified(Checked),
    /// The import may begin; frames follow.
    Import(Before),
    /// The export begins; frames follow.
    Export(Totals),
    /// It was not done; why.
    Failed { message: String },
    /// It can not be done now; why.
    TryLater { message: String },
}

/// An account, as lists show it.
#[derive(Debug, Deserialize, Serialize)]
pub struct User {
    /// Its address.
    pub address: String,
    /// Messages in all its mailboxes.
    pub messages: u64,
    /// Their octets.
    pub bytes: u64,
    /// Its mailboxes.
    pub mailboxes: u64,
}

/// An alias, as lists show it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Alias {
    /// `name@domain` or `@domain`.
    pub address: String,
    /// Where its mail goes.
    pub targets: Vec<String>,
}

/// What reading everything found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Checked {
    /// Rows of the index.
    pub rows: u64,
    /// Parts of bodies,
    pub chunks: u64,
    /// and their octets as stored.
    pub chunk_bytes: u64,
    /// Batches of the log.
    pub batches: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// What is damaged, in words; the first of it.
    pub faults: Vec<String>,
    /// How much is.
    pub faults_total: u64,
}

/// Reads everything.
pub(super) async fn verify(world: &World, progress: &mut (dyn FnMut(Progress) + Send)) -> Answer {
    let verified = world.store.verify(progress).await.map_err(Error::Store);
    answer(verified.map(|verified| {
        Answer::Verified(Checked {
            rows: verified.rows,
            chunks: verified.chunks,
            chunk_bytes: verified.chunk_bytes,
            batches: verified.batches,
            snapshots: verified.snapshots,
            faults: verified.faults.iter().map(ToString::to_string).collect(),
            faults_total: verified.faults_total,
        })
    }))
}

/// Adds what opening the store found wrong, or lost for good: reading what there is does not show it again.
pub(super) fn with_start(world: &World, answer: Answer) -> Answer {
    let Answer::Verified(mut checked) = answer else { return answer };
    let (lost, lost_total) = world.store.lost();
    let anew = world.store.source();
    let anew = anew.map(|from| format!("index.redb was missing or unreadable; it is made anew from {from}"));
    checked.faults_total += lost_total + u64::from(anew.is_some());
    checked.faults = anew.into_iter().chain(lost).chain(std::mem::take(&mut checked.faults)).collect();
    Answer::Verified(checked)
}

/// How far it has come, as it is told.
pub(super) fn verifying(progress: Progress) -> Answer {
    let part = match progress.part {
        Part::Index => "index",
        Part::Bodies => "bodies",
        Part::Log => "log",
        Part::Snapshots => "snapshots",
    };
    Answer::Verifying { part: part.to_owned(), done: progress.done, total: progress.total }
}

/// A password on its way to the server.
#[derive(Debug)]
pub struct Password(pub Secret);

impl Serialize for Password {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = std::str::from_utf8(self.0.expose()).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(text)
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Secret::new(String::deserialize(deserializer)?.into_bytes())))
    }
}

/// Does what is asked of an open store; a server adds to the status what it is doing itself.
pub async fn perform(world: &World, request: Request) -> Answer {
    let accounts = &world.accounts;
    let done = match request {
        Request::DomainAdd { domain } => accounts.domain_add(&domain).await,
        Request::DomainRemove { domain } => accounts.domain_remove(&domain).await,
        Request::DomainList => return answer(accounts.domains().await.map(|domains| Answer::Domains { domains })),
        Request::UserAdd { address, password } => accounts.account_add(&address, &password.0).await.map(drop),
        Request::UserPassword { address, password } => accounts.set_password(&address, &password.0).await,
        Request::UserRemove { address } => accounts.account_remove(&address).await,
        Request::UserList { after } => return answer(users(world, after).await),
        Request::AliasAdd { address, targets } => accounts.alias_add(&address, &targets).await,
        Request::AliasRemove { address } => accounts.alias_remove(&address).await,
        Request::AliasList { after } => return answer(aliases(world, after).await),
        Request::Verify => return verify(world, &mut |_| ()).await,
        // Only who holds a connection can be held for.
        Request::Hold => return Answer::Failed { message: "only a running server holds its files".to_owned() },
        Request::Import(_) | Request::Export(_) => {
            return Answer::Failed { message: "a transfer has a connection of its own".to_owned() };
        }
        Request::Status => return answer(status(world).await),
    };
    answer(done.map(|()| Answer::Done))
}

fn answer(result: Result<Answer, Error>) -> Answer {
    match result {
        Ok(answer) => answer,
        Err(error) => failure(&error),
    }
}

/// What an error means for whoever asked.
pub(super) fn failure(error: &Error) -> Answer {
    let message = error.to_string();
    match error {
        Error::Store(Refusal::NoMemory | Refusal::DiskFull | Refusal::Unavailable) => Answer::TryLater { message },
        _ => Answer::Failed { message },
    }
}

async fn users(world: &World, after: Option<u32>) -> Result<Answer, Error> {
    let accounts = world.accounts.accounts(after.map(AccountId), USERS_MAX).await?;
    let after = accounts.last().map(|account| account.id.0);
    let mut users = Vec::with_capacity(accounts.len());
    for account in accounts {
        let mailboxes = world.store.mailboxes(account.id).await?;
        users.push(User {
            address: account.address,
            messages: mailboxes.iter().map(|mailbox| u64::from(mailbox.exists)).sum(),
            bytes: mailboxes.iter().map(|mailbox| mailbox.size).sum(),
            mailboxes: mailboxes.len() as u64,
        });
    }
    Ok(Answer::Users { users, after })
}

async fn status(world: &World) -> Result<Answer, Error> {
    let stats = world.store.stats().await?;
    let times = (world.clock.unix_s(), world.clock.monotonic());
    let wear = world.wear.status(&stats, world.endurance_bytes, times);
    Ok(Answer::Status(Box::new(Status::new(holds(world, &stats).await?, wear, world.store.lost()))))
}

async fn holds(world: &World, stats: &Stats) -> Result<Holds, Error> {
    let mut holds = Holds {
        domains: world.accounts.domains().await?.len() as u64,
        live_bytes: stats.live_bytes,
        dead_bytes: stats.dead_bytes,
        index_bytes: stats.index_bytes,
        ..Holds::default()
    };
    let mut after = None;
    loop {
        let accounts = world.accounts.accounts(after, USERS_MAX).await?;
        let Some(last) = accounts.last() else {
            return Ok(holds);
        };
        after = Some(last.id);
        for account in accounts {
            let mailboxes = world.store.mailboxes(account.id).await?;
            holds.accounts += 1;
            holds.mailboxes += mailboxes.len() as u64;
            holds.messages += mailboxes.iter().map(|mailbox| u64::from(mailbox.exists)).sum::<u64>();
            holds.bytes += mailboxes.iter().map(|mailbox| mailbox.size).sum::<u64>();
        }
    }
}

async fn aliases(world: &World, after: Option<String>) -> Result<Answer, Error> {
    let aliases = world.accounts.aliases(after.as_deref(), ALIASES_MAX).await?;
    let aliases: Vec<Alias> = aliases.into_iter().map(|(address, targets)| Alias { address, targets }).collect();
    let after = aliases.last().map(|alias| alias.address.clone());
    Ok(Answer::Aliases { aliases, after })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_survive_their_line() {
        let password = Password(Secret::new(b"wonder \"land\" \xc3\xa4".to_vec()));
        let request = Request::UserAdd { address: "alice@example.org".to_owned(), password };
        let line = serde_json::to_string(&request).unwrap();
        assert!(!line.contains('\n'));
        let Request::UserAdd { address, password } = serde_json::from_str(&line).unwrap() else {
            panic!("another verb: {line}");
        };
        assert_eq!(address, "alice@example.org");
        assert_eq!(password.0.expose(), b"wonder \"land\" \xc3\xa4");
        assert!(serde_json::from_str::<Request>("{\"verb\":\"reboot\"}").is_err());
        assert!(!format!("{password:?}").contains("wonder"));
    }
}
