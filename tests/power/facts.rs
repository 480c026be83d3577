//! What clients and operators know: a plain model of what was acknowledged, and of what was on its way.

use super::look::{Seen, SeenFolder};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

pub(crate) type Flags = BTreeSet<String>;

/// What is known of a message's modification sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modseq {
    Is(u64),
    Above(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) token: u64,
    /// Nothing until somebody was told.
    pub(crate) uid: Option<u32>,
    pub(crate) flags: Flags,
    pub(crate) modseq: Modseq,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    /// Nothing until somebody was told.
    pub(crate) validity: Option<u32>,
    /// UIDNEXT when it was last looked at, and one more than any UID told since.
    pub(crate) floor: u32,
    pub(crate) next: u32,
    pub(crate) modseq: u64,
    pub(crate) mails: Vec<Mail>,
    /// Every UID that anybody ever saw, and whose it is.
    pub(crate) given: BTreeMap<u32, u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) secrets: Vec<u8>,
    pub(crate) folders: BTreeMap<String, Folder>,
    pub(crate) subscribed: BTreeSet<String>,
}

/// A message that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) octets: Arc<[u8]>,
    /// Stored as it is, and not behind trace headers.
    pub(crate) exact: bool,
}

/// Something asked for that is done wholly or not at all.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Deliver { token: u64, to: Vec<String> },
    Append { account: String, folder: String, token: u64, flags: Flags },
    Copy { account: String, from: String, uids: Vec<u32>, to: String },
    Move { account: String, from: String, uids: Vec<u32>, to: String },
    Flag { account: String, folder: String, uids: Vec<u32>, flag: String, on: bool },
    Expunge { account: String, folder: String, uids: Vec<u32> },
    Create { account: String, folder: String },
    Delete { account: String, folder: String },
    Rename { account: String, from: String, to: String },
    Subscribe { account: String, name: String, on: bool },
    AddAccount { address: String, secrets: Vec<u8> },
    RemoveAccount { address: String },
    Secrets { address: String, secrets: Vec<u8> },
    AddAlias { address: String, targets: Vec<String> },
    RemoveAlias { address: String },
    AddDomain { name: String },
    RemoveDomain { name: String },
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) aliases: BTreeMap<String, Vec<String>>,
    pub(crate) domains: BTreeSet<String>,
    pub(crate) sent: BTreeMap<u64, Sent>,
    /// Every UIDVALIDITY ever seen.
    pub(crate) validities: BTreeSet<u32>,
    /// What was begun and not acknowledged.
    pub(crate) doing: BTreeMap<u64, Deed>,
    /// What POP3 clients call a message, by account and UID.
    pub(crate) uidl: BTreeMap<(String, u32), String>,
}

fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(move |(at, _)| &name[..at])
}

impl Folder {
    fn find(&self, uid: u32) -> Option<&Mail> {
        self.mails.iter().find(|mail| mail.uid == Some(uid))
    }

    fn add(&mut self, token: u64, flags: Flags) {
        self.mails.push(Mail { token, uid: None, flags, modseq: Modseq::Above(self.modseq) });
    }

    fn remove(&mut self, uids: &[u32]) {
        self.mails.retain(|mail| mail.uid.is_none_or(|uid| !uids.contains(&uid)));
    }

    fn some(&self, uids: &[u32]) -> Vec<(u64, Flags)> {
        uids.iter().filter_map(|uid| self.find(*uid)).map(|mail| (mail.token, mail.flags.clone())).collect()
    }

    pub(crate) fn has_flag(&self, uid: u32, flag: &str) -> bool {
        self.find(uid).is_some_and(|mail| mail.flags.contains(flag))
    }
}

impl Facts {
    pub(crate) fn folder(&self, account: &str, folder: &str) -> &Folder {
        &self.accounts[account].folders[folder]
    }

    fn folder_mut(&mut self, account: &str, folder: &str) -> &mut Folder {
        self.accounts.get_mut(account).unwrap().folders.get_mut(folder).unwrap()
    }

    fn create(&mut self, account: &str, name: &str) {
        let folders = &mut self.accounts.get_mut(account).unwrap().folders;
        for name in parents(name).chain([name]) {
            folders.entry(name.to_owned()).or_default();
        }
    }

    /// It was done.
    pub(crate) fn apply(&mut self, deed: &Deed) {
        match deed {
            Deed::Deliver { token, to } => {
                to.iter().for_each(|account| self.folder_mut(account, "INBOX").add(*token, Flags::new()));
            }
            Deed::Append { account, folder, token, flags } => {
                self.folder_mut(account, folder).add(*token, flags.clone());
            }
            Deed::Copy { account, from, uids, to } => {
                let some = self.folder(account, from).some(uids);
                some.into_iter().for_each(|(token, flags)| self.folder_mut(account, to).add(token, flags));
            }
            Deed::Move { account, from, uids, to } => {
                let some = self.folder(account, from).some(uids);
                self.folder_mut(account, from).remove(uids);
                some.into_iter().for_each(|(token, flags)| self.folder_mut(account, to).add(token, flags));
            }
            Deed::Flag { account, folder, uids, flag, on } => {
                let folder = self.folder_mut(account, folder);
                let modseq = folder.modseq;
                for mail in folder.mails.iter_mut().filter(|mail| mail.uid.is_some_and(|uid| uids.contains(&uid))) {
                    let changed = if *on { mail.flags.insert(flag.clone()) } else { mail.flags.remove(flag) };
                    if changed {
                        mail.modseq = Modseq::Above(modseq);
                    }
                }
            }
            Deed::Expunge { account, folder, uids } => self.folder_mut(account, folder).remove(uids),
            Deed::Create { account, folder } => self.create(account, folder),
            Deed::Delete { account, folder } => {
                self.accounts.get_mut(account).unwrap().folders.remove(folder);
            }
            Deed::Rename { account, from, to } => {
                let inside = format!("{from}/");
                let folders = &mut self.accounts.get_mut(account).unwrap().folders;
                let names: Vec<String> =
                    folders.keys().filter(|name| *name == from || name.starts_with(&inside)).cloned().collect();
                for name in names {
                    let folder = folders.remove(&name).unwrap();
                    folders.insert(format!("{to}{}", &name[from.len()..]), folder);
                }
                self.create(account, to);
            }
            Deed::Subscribe { account, name, on } => {
                let subscribed = &mut self.accounts.get_mut(account).unwrap().subscribed;
                if *on {
                    subscribed.insert(name.clone())
                } else {
                    subscribed.remove(name)
                };
            }
            Deed::AddAccount { address, secrets } => {
                let mut account = Account { secrets: secrets.clone(), ..Account::default() };
                for (name, _) in pigeon::accounts::MAILBOXES {
                    account.folders.insert(name.to_owned(), Folder::default());
                    account.subscribed.insert(name.to_owned());
                }
                self.accounts.insert(address.clone(), account);
                self.domains.insert(address.rsplit_once('@').unwrap().1.to_owned());
            }
            Deed::RemoveAccount { address } => drop(self.accounts.remove(address)),
            Deed::Secrets { address, secrets } => self.accounts.get_mut(address).unwrap().secrets = secrets.clone(),
            Deed::AddAlias { address, targets } => drop(self.aliases.insert(address.clone(), targets.clone())),
            Deed::RemoveAlias { address } => drop(self.aliases.remove(address)),
            Deed::AddDomain { name } => drop(self.domains.insert(name.clone())),
            Deed::RemoveDomain { name } => drop(self.domains.remove(name)),
        }
    }

    /// Whether `seen` shows that it was done. Deeds that are on their way together never touch the same things.
    fn happened(&self, deed: &Deed, seen: &Seen) -> bool {
        let no_folder = SeenFolder::default();
        let folder = |account: &str, name: &str| seen.folder(account, name).unwrap_or(&no_folder);
        match deed {
            Deed::Deliver { token, to } => to.iter().any(|to| folder(to, "INBOX").count(*token) > 0),
            Deed::Append { account, folder: name, token, .. } => folder(account, name).count(*token) > 0,
            Deed::Copy { account, from, uids, to } => {
                let before = self.folder(account, to);
                self.folder(account, from).some(uids).first().is_some_and(|(token, _)| {
                    folder(account, to).count(*token) > before.mails.iter().filter(|mail| mail.token == *token).count()
                })
            }
            Deed::Move { account, from: name, uids, .. } | Deed::Expunge { account, folder: name, uids } => {
                uids.first().is_some_and(|uid| folder(account, name).find(*uid).is_none())
            }
            Deed::Flag { account, folder: name, uids, flag, on } => {
                let before = self.folder(account, name);
                let changes = uids.iter().find(|uid| before.has_flag(**uid, flag) != *on);
                changes.is_some_and(|uid| {
                    folder(account, name).find(*uid).is_some_and(|mail| mail.flags.contains(flag) == *on)
                })
            }
            Deed::Create { account, folder } => seen.folder(account, folder).is_some(),
            Deed::Delete { account, folder } => seen.folder(account, folder).is_none(),
            Deed::Rename { account, from, .. } => seen.folder(account, from).is_none(),
            Deed::Subscribe { account, name, on } => {
                seen.accounts.get(account).is_some_and(|account| account.subscribed.contains(name)) == *on
            }
            Deed::AddAccount { address, .. } => seen.accounts.contains_key(address),
            Deed::RemoveAccount { address } => !seen.accounts.contains_key(address),
            Deed::Secrets { address, secrets } => {
                seen.accounts.get(address).is_some_and(|account| account.secrets == *secrets)
            }
            Deed::AddAlias { address, targets } => seen.aliases.get(address) == Some(targets),
            Deed::RemoveAlias { address } => !seen.aliases.contains_key(address),
            Deed::AddDomain { name } => seen.domains.contains(name),
            Deed::RemoveDomain { name } => !seen.domains.contains(name),
        }
    }

    /// A restore gives every message a new modification sequence.
    pub(crate) fn forget_modseqs(&mut self) {
        for folder in self.accounts.values_mut().flat_map(|account| account.folders.values_mut()) {
            let modseq = folder.modseq;
            folder.mails.iter_mut().for_each(|mail| mail.modseq = Modseq::Above(modseq));
        }
    }

    /// Whether nothing that is given out from now on was ever known by whoever knows `newer`.
    pub(crate) fn is_above(&self, newer: &Self) -> Result<(), String> {
        for (address, account) in &self.accounts {
            for (name, folder) in &account.folders {
                let known = newer.accounts.get(address).into_iter().flat_map(|account| account.folders.values());
                for known in known.filter(|known| known.validity == folder.validity) {
                    if folder.next <= known.next || folder.modseq <= known.modseq {
                        let (now, known) = ((folder.next, folder.modseq), (known.next, known.modseq));
                        return Err(format!("{address} {name}: UIDNEXT and HIGHESTMODSEQ {now:?}, known {known:?}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a store may show `seen`; what is known once somebody has looked at that.
    pub(crate) fn check(&self, seen: &Seen) -> Result<Self, String> {
        let mut now = self.clone();
        for deed in std::mem::take(&mut now.doing).values() {
            if now.happened(deed, seen) {
                now.apply(deed);
            }
        }
        same("accounts", &now.accounts.keys().collect::<Vec<_>>(), &seen.accounts.keys().collect())?;
        same("aliases", &now.aliases, &seen.aliases)?;
        same("domains", &now.domains, &seen.domains)?;
        for (address, account) in &mut now.accounts {
            let shown = &seen.accounts[address];
            same(&format!("{address}'s secrets"), &account.secrets, &shown.secrets)?;
            same(&format!("{address}'s subscriptions"), &account.subscribed, &shown.subscribed)?;
            let (known, there): (Vec<_>, Vec<_>) = (account.folders.keys().collect(), shown.folders.keys().collect());
            same(&format!("{address}'s mailboxes"), &known, &there)?;
            for (name, folder) in &mut account.folders {
                check_folder(&now.sent, &mut now.validities, folder, &shown.folders[name])
                    .map_err(|what| format!("{address} {name}: {what}"))?;
            }
        }
        for ((address, uid), name) in &seen.uidl {
            let known = now.uidl.entry((address.clone(), *uid)).or_insert_with(|| name.clone());
            same(&format!("{address}: UIDL of UID {uid}"), known, name)?;
        }
        Ok(now)
    }
}

fn same<O: PartialEq + std::fmt::Debug>(what: &str, known: &O, shown: &O) -> Result<(), String> {
    if known == shown { Ok(()) } else { Err(format!("{what}: {shown:?} are there, {known:?} were acknowledged")) }
}

fn check_folder(
    sent: &BTreeMap<u64, Sent>,
    validities: &mut BTreeSet<u32>,
    folder: &mut Folder,
    seen: &SeenFolder,
) -> Result<(), String> {
    match folder.validity {
        Some(known) if known != seen.validity => {
            return Err(format!("UIDVALIDITY changed from {known} to {}", seen.validity));
        }
        None if validities.contains(&seen.validity) => {
            return Err(format!("UIDVALIDITY {} was another's", seen.validity));
        }
        Some(_) | None => {}
    }
    if seen.next < folder.next || seen.modseq < folder.modseq {
        let known = (folder.next, folder.modseq);
        return Err(format!("UIDNEXT and HIGHESTMODSEQ went from {known:?} to {:?}", (seen.next, seen.modseq)));
    }
    let mut found = vec![false; folder.mails.len()];
    for mail in &seen.mails {
        let octets = sent.get(&mail.token).ok_or_else(|| format!("UID {} was never sent", mail.uid))?;
        if !mail.is_whole(octets) {
            return Err(format!("UID {}, message {}, is not what was sent: {:?}", mail.uid, mail.token, mail.begin()));
        }
        if folder.given.get(&mail.uid).is_some_and(|token| *token != mail.token) {
            return Err(format!("UID {} was given out twice", mail.uid));
        }
        let place = folder.mails.iter().position(|known| known.uid == Some(mail.uid));
        let place = place.or_else(|| {
            let is_it = |known: &Mail| known.uid.is_none() && known.token == mail.token;
            folder.mails.iter().zip(&found).position(|(known, found)| !found && is_it(known))
        });
        let (Some(known), Some(found)) =
            (place.and_then(|at| folder.mails.get_mut(at)), place.and_then(|at| found.get_mut(at)))
        else {
            return Err(format!("UID {}, message {}, is there, which was never put there", mail.uid, mail.token));
        };
        *found = true;
        if known.uid.is_none() && mail.uid < folder.floor {
            return Err(format!("UID {} is below UIDNEXT, {}, of before", mail.uid, folder.floor));
        }
        if known.flags != mail.flags {
            return Err(format!("UID {} has flags {:?}, acknowledged were {:?}", mail.uid, mail.flags, known.flags));
        }
        let fits = match known.modseq {
            Modseq::Is(modseq) => mail.modseq == modseq,
            Modseq::Above(modseq) => mail.modseq > modseq,
        };
        if !fits {
            return Err(format!("UID {} has MODSEQ {}, known is {:?}", mail.uid, mail.modseq, known.modseq));
        }
        known.uid = Some(mail.uid);
        known.modseq = Modseq::Is(mail.modseq);
        folder.given.insert(mail.uid, mail.token);
    }
    if let Some(at) = found.iter().position(|found| !found) {
        let lost = &folder.mails[at];
        return Err(format!("message {}, UID {:?}, was acknowledged and is lost", lost.token, lost.uid));
    }
    folder.validity = Some(seen.validity);
    validities.insert(seen.validity);
    (folder.floor, folder.next, folder.modseq) = (seen.next, seen.next, seen.modseq);
    Ok(())
}

/// The facts, as all clients of a life share them.
#[derive(Clone, Default)]
pub(crate) struct Book(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    facts: Arc<Facts>,
    next: u64,
    /// What was begun since the mark.
    begun: Vec<(u64, Deed)>,
}

impl Book {
    pub(crate) fn new(facts: Facts) -> Self {
        let next = facts.sent.keys().last().map_or(1, |last| last + 1);
        Self(Arc::new(Mutex::new(Pages { facts: Arc::new(facts), next, begun: Vec::new() })))
    }

    pub(crate) fn facts(&self) -> Arc<Facts> {
        self.0.lock().unwrap().facts.clone()
    }

    /// From here on, what is begun is kept for [`Book::since`].
    pub(crate) fn mark(&self) -> Arc<Facts> {
        let mut pages = self.0.lock().unwrap();
        pages.begun.clear();
        pages.facts.clone()
    }

    /// What is known of some moment between the mark and now: whatever was on its way then or has begun since may have been
    /// done by that moment, or not.
    pub(crate) fn since(&self, mark: &Facts) -> Facts {
        let pages = self.0.lock().unwrap();
        let mut facts = mark.clone();
        facts.doing.extend(pages.begun.iter().cloned());
        facts.sent.clone_from(&pages.facts.sent);
        facts
    }

    pub(crate) fn set(&self, facts: Facts) {
        self.0.lock().unwrap().facts = Arc::new(facts);
    }

    fn change<O>(&self, change: impl FnOnce(&mut Facts, &mut u64) -> O) -> O {
        let Pages { facts, next, .. } = &mut *self.0.lock().unwrap();
        change(Arc::make_mut(facts), next)
    }

    /// A new message; its number.
    pub(crate) fn send(&self, make: impl FnOnce(u64) -> Sent) -> (u64, Arc<[u8]>) {
        self.change(|facts, next| {
            let token = *next;
            *next += 1;
            let sent = make(token);
            let octets = sent.octets.clone();
            facts.sent.insert(token, sent);
            (token, octets)
        })
    }

    /// From now on it may be done.
    pub(crate) fn begin(&self, deed: Deed) -> u64 {
        let id = self.change(|facts, next| {
            *next += 1;
            facts.doing.insert(*next, deed.clone());
            *next
        });
        self.0.lock().unwrap().begun.push((id, deed));
        id
    }

    /// It was acknowledged.
    pub(crate) fn done(&self, id: u64) {
        self.change(|facts, _| {
            let deed = facts.doing.remove(&id).expect("it was begun");
            facts.apply(&deed);
        });
    }

    /// It was acknowledged with UIDs for messages of a folder, by token.
    pub(crate) fn done_with(&self, id: u64, (account, folder): (&str, &str), validity: u32, uids: &[(u64, u32)]) {
        self.done(id);
        self.change(|facts, _| {
            let folder = facts.folder_mut(account, folder);
            assert!(folder.validity.is_none_or(|known| known == validity), "UIDVALIDITY {validity} was told");
            for (token, uid) in uids {
                assert!(folder.given.insert(*uid, *token).is_none(), "UID {uid} was told twice");
                let mail = folder.mails.iter_mut().find(|mail| mail.uid.is_none() && mail.token == *token).unwrap();
                mail.uid = Some(*uid);
                folder.next = folder.next.max(*uid + 1);
            }
        });
    }
}
