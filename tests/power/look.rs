//! Everything that a store shows to clients and operators.

use super::facts::{Flags, Sent};
use crate::store_support::{body, check_counters};
use pigeon::store::{self, AccountId, Refusal, Store, UidRange};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) accounts: BTreeMap<String, SeenAccount>,
    pub(crate) aliases: BTreeMap<String, Vec<String>>,
    pub(crate) domains: BTreeSet<String>,
    /// As POP3 told it, where it was asked.
    pub(crate) uidl: BTreeMap<(String, u32), String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SeenAccount {
    pub(crate) secrets: Vec<u8>,
    pub(crate) folders: BTreeMap<String, SeenFolder>,
    pub(crate) subscribed: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SeenFolder {
    pub(crate) validity: u32,
    pub(crate) next: u32,
    pub(crate) modseq: u64,
    pub(crate) mails: Vec<SeenMail>,
}

#[derive(Clone, Debug)]
pub(crate) struct SeenMail {
    pub(crate) uid: u32,
    /// The number in its text; 0 when it has none.
    pub(crate) token: u64,
    pub(crate) flags: Flags,
    pub(crate) modseq: u64,
    octets: Vec<u8>,
}

impl SeenMail {
    /// Its first octets, to be told.
    pub(crate) fn begin(&self) -> String {
        String::from_utf8_lossy(self.octets.get(..400).unwrap_or(&self.octets)).into_owned()
    }

    /// Whether it is this message, octet for octet, behind trace headers if it was delivered.
    pub(crate) fn is_whole(&self, sent: &Sent) -> bool {
        match self.octets.strip_suffix(&*sent.octets) {
            Some([]) => true,
            Some(trace) => !sent.exact && trace.starts_with(b"Return-Path: <") && trace.len() < 1_000,
            None => false,
        }
    }
}

impl SeenFolder {
    pub(crate) fn count(&self, token: u64) -> usize {
        self.mails.iter().filter(|mail| mail.token == token).count()
    }

    pub(crate) fn find(&self, uid: u32) -> Option<&SeenMail> {
        self.mails.iter().find(|mail| mail.uid == uid)
    }
}

impl Seen {
    pub(crate) fn folder(&self, account: &str, folder: &str) -> Option<&SeenFolder> {
        self.accounts.get(account)?.folders.get(folder)
    }

    /// Who has what under which numbers: the same whatever the clock says.
    pub(crate) fn order(&self) -> String {
        let mut text = String::new();
        for (address, account) in &self.accounts {
            for (name, folder) in &account.folders {
                let mails: Vec<_> =
                    folder.mails.iter().map(|mail| (mail.uid, mail.token, &mail.flags, mail.modseq)).collect();
                let (validity, next, modseq) = (folder.validity, folder.next, folder.modseq);
                text += &format!("{address} {name} {validity} {next} {modseq} {mails:?}\n");
            }
        }
        text
    }
}

const MARK: &[u8] = b"X-Number: ";

fn token(octets: &[u8]) -> u64 {
    let Some(at) = octets.windows(MARK.len()).take(2_000).position(|window| window == MARK) else { return 0 };
    let digits = octets[at + MARK.len()..].iter().take_while(|octet| octet.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

fn names(entry: &store::Entry, mailbox: &store::Mailbox) -> Flags {
    let system = [
        (store::Flags::SEEN, "\\Seen"),
        (store::Flags::ANSWERED, "\\Answered"),
        (store::Flags::FLAGGED, "\\Flagged"),
        (store::Flags::DELETED, "\\Deleted"),
        (store::Flags::DRAFT, "\\Draft"),
    ];
    let system = system.iter().filter(|(flag, _)| entry.flags.has(*flag)).map(|(_, name)| (*name).to_owned());
    let keywords = mailbox.keywords.iter().enumerate();
    let keywords = keywords.filter(|(n, _)| entry.flags.has(store::Flags::keyword(*n))).map(|(_, name)| name.clone());
    system.chain(keywords).collect()
}

/// Looks at everything; also proves that counters agree with rows. `refused` takes the bodies that cannot be read: without
/// it that is an error.
pub(crate) async fn look(store: &Store, mut refused: Option<&mut Vec<u64>>) -> Result<Seen, Refusal> {
    let mut seen = Seen { domains: store.domains().await?.into_iter().collect(), ..Seen::default() };
    seen.aliases = store.aliases(None, 1_000).await?.into_iter().collect();
    for account in store.accounts(None, 1_000).await? {
        let mut shown = SeenAccount { secrets: account.secrets.clone(), ..SeenAccount::default() };
        shown.subscribed = store.subscriptions(account.id).await?.into_iter().collect();
        for mailbox in store.mailboxes(account.id).await? {
            let folder = look_into(store, &mailbox, &mut refused).await?;
            shown.folders.insert(mailbox.name, folder);
        }
        seen.accounts.insert(account.address, shown);
    }
    Ok(seen)
}

async fn look_into(
    store: &Store,
    mailbox: &store::Mailbox,
    refused: &mut Option<&mut Vec<u64>>,
) -> Result<SeenFolder, Refusal> {
    // A mailbox that nothing ever happened in has nothing to disagree about.
    if mailbox.highest_modseq.0 > 1 || mailbox.exists > 0 {
        check_counters(store, mailbox).await?;
    }
    let mut folder = SeenFolder {
        validity: mailbox.uid_validity.0,
        next: mailbox.uid_next.0,
        modseq: mailbox.highest_modseq.0,
        mails: Vec::new(),
    };
    let (mut rest, _) = store.uids(mailbox.id).await?;
    while !rest.is_empty() {
        let found = store.messages(mailbox.id, &rest, 1_000).await?;
        let last = found.last().expect("uids() named it").0.uid;
        rest.remove_range(UidRange { first: store::Uid(0), last });
        for (entry, message) in found {
            let octets = match (body(store, message.blob).await, &mut *refused) {
                (Ok(octets), _) => octets,
                (Err(Refusal::Damaged | Refusal::Unavailable), Some(refused)) => {
                    refused.push(message.blob.0);
                    continue;
                }
                (Err(refusal), _) => return Err(refusal),
            };
            assert_eq!(octets.len() as u64, message.size);
            let (token, flags) = (token(&octets), names(&entry, mailbox));
            folder.mails.push(SeenMail { uid: entry.uid.0, token, flags, modseq: entry.modseq.0, octets });
        }
    }
    Ok(folder)
}

/// Waits until what deleted mailboxes held is gone, so that two sums are of the same moment.
pub(crate) async fn settle(store: &Store) {
    for _ in 0..10_000 {
        if store.stats().await.is_ok_and(|stats| stats.doomed == 0) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    panic!("what deleted mailboxes held is still there");
}

/// The account's number.
pub(crate) async fn id(store: &Store, address: &str) -> Result<AccountId, Refusal> {
    Ok(store.account(address).await?.ok_or(Refusal::NotFound)?.id)
}
