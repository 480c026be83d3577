//! FETCH (RFC 3501 6.4.5, RFC 7162 3.1.4): any number of messages in steps, each streamed. What the index knows is
//! answered without a look at the message.

use super::failure::Failure;
use super::grammar::structure::{put_envelope, put_structure};
use super::grammar::{Code, Fetch, FetchItem, Numbering, Tag, put_date_time, reply, write};
use super::sections::{self, Heads, Section, Source};
use super::session::{Opened, ok};
use super::sync::{Expunges, expunge_issued, lost};
use crate::base::{Budget, Grant};
use crate::mail::Summary;
use crate::store::{Entry, FlagChange, FlagNames, Flags, Message, ModSeq, Refusal, UidRange, UidSet};
use std::collections::VecDeque;

/// Messages of one step: a read of the index, and one change of flags where \Seen is set.
const STEP_MESSAGES: usize = 250;
/// Memory of such a step: its rows, with 64 KiB of summaries.
const STEP_BYTES: usize = 128 * 1024;
/// Memory of a step of one message, when there is little left.
const SMALL_STEP_BYTES: usize = 48 * 1024;
/// Memory of a step that needs only the small rows.
const ENTRIES_STEP_BYTES: usize = 32 * 1024;
/// Changes looked at in one step of CHANGEDSINCE.
const CHANGES_STEP: usize = 500;

/// What is asked of every message.
struct Plan {
    items: Vec<FetchItem>,
    /// UID is told, though not asked for.
    adds_uid: bool,
    /// MODSEQ is told wherever FLAGS are, though not asked for.
    adds_modseq: bool,
    sets_seen: bool,
    needs_row: bool,
    needs_summary: bool,
    reads: Reads,
}

/// What a plan reads of messages' octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    Nothing,
    /// Only headers: the first octets, of messages of any size.
    Headers,
    /// Bodies from their beginning: the first octets are all only of small messages.
    Small,
    /// Anything else.
    Elsewhere,
}

/// How it went.
#[derive(Default)]
struct Tally {
    answered: u32,
    failed: Option<Failure>,
    /// Messages whose rows cannot be read.
    damaged: u32,
}

/// A message with its row, if the plan needs it.
struct Found {
    entry: Entry,
    message: Option<Message>,
    /// \Seen was set just now.
    is_seen_now: bool,
}

impl Opened<'_> {
    /// FETCH and UID FETCH.
    pub(super) async fn fetch(&mut self, tag: &Tag, fetch: Fetch) -> Result<(), Failure> {
        let uids = self.resolve(&fetch.set, fetch.numbering)?;
        let asked = self.selected.view.count_in(&uids);
        // RFC 7162 3.1: CONDSTORE enabling commands.
        self.user.condstore |= fetch.changed_since.is_some() || fetch.items.contains(&FetchItem::ModSeq);
        let (changed_since, numbering) = (fetch.changed_since, fetch.numbering);
        let plan = Plan::new(fetch, self.user.condstore);
        let mut tally = Tally::default();
        match changed_since {
            None => self.fetch_set(&plan, uids, &mut tally).await?,
            Some(since) => self.fetch_changed(&plan, &uids, since, &mut tally).await?,
        }
        match numbering {
            Numbering::Uid => self.sync(Expunges::Tell).await?,
            Numbering::Sequence => self.sync(Expunges::Hold).await?,
        }
        match tally.failed {
            Some(failure) => Err(failure),
            None if tally.damaged > 0 => {
                Err(Failure::No(Some(Code::Corruption), "some messages cannot be read, these are the others"))
            }
            None if numbering == Numbering::Sequence && changed_since.is_none() && tally.answered < asked => {
                Err(expunge_issued())
            }
            None => Ok(ok(self.wire, tag, None, "that is all").await?),
        }
    }

    /// Only what changed after `since`: the cost is that of the changes, not of the mailbox.
    async fn fetch_changed(
        &mut self,
        plan: &Plan,
        uids: &UidSet,
        since: ModSeq,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let mailbox = self.selected.view.mailbox;
        let mut since = since;
        loop {
            let changes = self.store.changes(mailbox, since, CHANGES_STEP).await.map_err(lost)?;
            let wanted = changes.changed.iter().map(|entry| entry.uid).filter(|uid| uids.contains(*uid));
            self.fetch_set(plan, wanted.collect(), tally).await?;
            if !changes.more {
                return Ok(());
            }
            since = changes.upto;
        }
    }

    async fn fetch_set(&mut self, plan: &Plan, uids: UidSet, tally: &mut Tally) -> Result<(), Failure> {
        let mut rest = uids;
        while let Some(first) = rest.first() {
            let (mut room, messages_max) = room(self.wire.budget(), plan)?;
            let mailbox = self.selected.view.mailbox;
            let step = self.store.message_step(mailbox, &rest, messages_max, plan.needs_row).await.map_err(lost)?;
            let Some(last) = step.last else {
                return Ok(());
            };
            rest.remove_range(UidRange { first, last });
            tally.damaged = tally.damaged.saturating_add(self.selected.view.count_in(&step.damaged));
            let found = |(entry, message)| Found { entry, message, is_seen_now: false };
            let mut step: VecDeque<Found> = step.found.into_iter().map(found).collect();
            if plan.sets_seen && !self.selected.read_only {
                self.set_seen(step.make_contiguous()).await;
            }
            let flags = step.iter().fold(Flags::default(), |all, found| all.with(found.entry.flags));
            self.know_keywords(flags).await?;
            let mut heads = Heads::default();
            // What has been told is given back: a slow reader of a long answer holds ever less.
            let mut held: usize = step.iter().map(Found::bytes).sum();
            while let Some(found) = step.pop_front() {
                if heads.is_empty() && plan.reads(&found) {
                    let wanted = std::iter::once(&found).chain(&step).take_while(|found| plan.reads(found));
                    let wanted = wanted.filter_map(|found| Some((found.entry.uid, found.message.as_ref()?)));
                    heads = Heads::read(self.store, self.wire.budget(), wanted).await;
                }
                let head = heads.take(found.entry.uid);
                held = held.saturating_sub(found.bytes());
                self.fetch_one(plan, found, &head, tally).await?;
                // Smaller than before, so it fits.
                let _ = room.resize(held.min(room.bytes()));
            }
        }
        Ok(())
    }

    /// Sets \Seen on a whole step at once. If it cannot be set, reading goes on: a full disk is no reason to hide mail.
    async fn set_seen(&mut self, step: &mut [Found]) {
        let unseen = step.iter().filter(|found| !found.entry.flags.has(Flags::SEEN)).map(|found| found.entry.uid);
        let unseen: UidSet = unseen.collect();
        if unseen.is_empty() {
            return;
        }
        let seen = FlagNames { system: Flags::SEEN, keywords: Vec::new() };
        let mailbox = self.selected.view.mailbox;
        let mut done = match self.store.flags(mailbox, unseen, FlagChange::Add, seen, None).await {
            Ok(changed) => changed.done,
            Err(refusal) => {
                log::warn!("\\Seen could not be set: {refusal:?}");
                return;
            }
        };
        self.selected.view.own_changes(done.iter().map(|entry| entry.modseq));
        done.sort_unstable_by_key(|entry| entry.uid);
        for found in step {
            let at = done.binary_search_by_key(&found.entry.uid, |entry| entry.uid);
            if let Some(now) = at.ok().and_then(|at| done.get(at)) {
                found.is_seen_now = !found.entry.flags.has(Flags::SEEN);
                found.entry = *now;
            }
        }
    }

    /// One message's reply.
    async fn fetch_one(&mut self, plan: &Plan, found: Found, head: &[u8], tally: &mut Tally) -> Result<(), Failure> {
        let Some(number) = self.selected.view.number(found.entry.uid) else {
            return Ok(());
        };
        tally.answered = tally.answered.saturating_add(1);
        let summary = match &found.message {
            Some(message) if plan.needs_summary => match sections::summary(self.wire.budget(), message) {
                Ok(summary) => Some(summary),
                Err(refusal) => {
                    log::error!("message {:?} cannot be described: {refusal:?}", found.entry.message);
                    tally.note(Some(refusal));
                    return Ok(());
                }
            },
            _ => None,
        };
        let summary = summary.as_ref().map(|(summary, _room)| summary);
        let mut out = Vec::new();
        out.extend_from_slice(b"* ");
        write::number(&mut out, u64::from(number));
        out.extend_from_slice(b" FETCH (");
        self.put_flags(plan, &found, &mut out);
        let mut source = found.message.as_ref().map(|message| Source::new(self.store, message, summary, head));
        for item in &plan.items {
            match item {
                FetchItem::Flags | FetchItem::Uid | FetchItem::ModSeq => {}
                FetchItem::Envelope
                | FetchItem::InternalDate
                | FetchItem::Rfc822Size
                | FetchItem::Body
                | FetchItem::BodyStructure => {
                    separate(&mut out);
                    item.put_name(&mut out);
                    out.push(b' ');
                    if let Some(message) = &found.message {
                        put_known(&mut out, item, message, summary);
                    }
                }
                FetchItem::Rfc822 | FetchItem::Rfc822Header | FetchItem::Rfc822Text | FetchItem::Section(_) => {
                    separate(&mut out);
                    item.put_name(&mut out);
                    out.push(b' ');
                    if let (Some(source), Some(section)) = (&mut source, Section::of(item)) {
                        tally.note(source.send(self.wire, &mut out, section).await?);
                    }
                }
            }
        }
        out.extend_from_slice(b")\r\n");
        Ok(self.wire.send(&out).await?)
    }

    /// UID, FLAGS and MODSEQ go first: small, and clients like them there.
    fn put_flags(&self, plan: &Plan, found: &Found, out: &mut Vec<u8>) {
        let asked = |item: &FetchItem| plan.items.contains(item);
        let entry = &found.entry;
        if plan.adds_uid || asked(&FetchItem::Uid) {
            out.extend_from_slice(b"UID ");
            write::number(out, u64::from(entry.uid.0));
        }
        let tells_flags = asked(&FetchItem::Flags) || found.is_seen_now;
        if tells_flags {
            separate(out);
            out.extend_from_slice(b"FLAGS ");
            let selected = &self.selected;
            reply::put_flags(out, entry.flags, &selected.keywords, selected.view.is_recent(entry.uid));
        }
        if asked(&FetchItem::ModSeq) || (plan.adds_modseq && tells_flags) {
            separate(out);
            out.extend_from_slice(b"MODSEQ (");
            write::number(out, entry.modseq.0);
            out.push(b')');
        }
    }
}

impl Plan {
    fn new(fetch: Fetch, condstore: bool) -> Self {
        let Fetch { numbering, mut items, changed_since, set: _ } = fetch;
        // RFC 7162 3.1.4.1: CHANGEDSINCE tells MODSEQ, asked for or not.
        if changed_since.is_some() && !items.contains(&FetchItem::ModSeq) {
            items.push(FetchItem::ModSeq);
        }
        let needs_row = |item: &FetchItem| !matches!(item, FetchItem::Flags | FetchItem::Uid | FetchItem::ModSeq);
        let needs_summary = |item: &FetchItem| match item {
            FetchItem::Envelope | FetchItem::Body | FetchItem::BodyStructure => true,
            FetchItem::Rfc822Header | FetchItem::Rfc822Text => true,
            FetchItem::Section(section) => !section.section.part.is_empty() || section.section.text.is_some(),
            FetchItem::Flags
            | FetchItem::InternalDate
            | FetchItem::Rfc822
            | FetchItem::Rfc822Size
            | FetchItem::Uid
            | FetchItem::ModSeq => false,
        };
        Self {
            adds_uid: numbering == Numbering::Uid,
            adds_modseq: condstore,
            sets_seen: items.iter().any(FetchItem::sets_seen),
            needs_row: items.iter().any(needs_row),
            needs_summary: items.iter().any(needs_summary),
            reads: Reads::of(&items),
            items,
        }
    }

    /// Whether the first octets of this message are worth reading together with others'.
    fn reads(&self, found: &Found) -> bool {
        match (self.reads, &found.message) {
            (Reads::Headers, Some(_)) => true,
            (Reads::Small, Some(message)) => message.size <= sections::HEAD_OCTETS as u64,
            (Reads::Nothing | Reads::Elsewhere, _) | (_, None) => false,
        }
    }
}

impl Reads {
    fn of(items: &[FetchItem]) -> Self {
        let mut reads = Self::Nothing;
        for section in items.iter().filter_map(Section::of) {
            reads = match (reads, section.is_header()) {
                _ if !section.begins_in_head() => return Self::Elsewhere,
                (Self::Nothing | Self::Headers, true) => Self::Headers,
                _ => Self::Small,
            };
        }
        reads
    }
}

impl Found {
    /// Memory that it takes.
    fn bytes(&self) -> usize {
        size_of::<Self>().saturating_add(self.message.as_ref().map_or(0, |message| message.summary.capacity()))
    }
}

impl Tally {
    fn note(&mut self, failed: Option<Refusal>) {
        if let Some(refusal) = failed {
            self.failed = Some(refusal.into());
        }
    }
}

/// Room for a step; few messages when there is little left.
fn room(budget: &Budget, plan: &Plan) -> Result<(Grant, usize), Failure> {
    let (roomy, small) =
        if plan.needs_row { (STEP_BYTES, SMALL_STEP_BYTES) } else { (ENTRIES_STEP_BYTES, ENTRIES_STEP_BYTES / 8) };
    let step = if budget.is_roomy() { budget.take(roomy).map(|room| (room, STEP_MESSAGES)) } else { None };
    let few = if plan.needs_row { 1 } else { STEP_MESSAGES / 8 };
    Ok(step.or_else(|| budget.take(small).map(|room| (room, few))).ok_or(Refusal::NoMemory)?)
}

/// What the message's row knows.
fn put_known(out: &mut Vec<u8>, item: &FetchItem, message: &Message, summary: Option<&Summary>) {
    match (item, summary) {
        (FetchItem::InternalDate, _) => put_date_time(out, message.internal_date),
        (FetchItem::Rfc822Size, _) => write::number(out, message.size),
        (FetchItem::Envelope, Some(summary)) => put_envelope(out, &summary.envelope),
        (FetchItem::Body, Some(summary)) => put_structure(out, &summary.root, false),
        (FetchItem::BodyStructure, Some(summary)) => put_structure(out, &summary.root, true),
        _ => out.extend_from_slice(b"NIL"),
    }
}

/// A space, unless the list has just begun.
fn separate(out: &mut Vec<u8>) {
    if out.last() != Some(&b'(') {
        out.push(b' ');
    }
}
