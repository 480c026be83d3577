//! SEARCH (RFC 3501 6.4.4, RFC 7162 3.1.5): small rows first, then envelopes, then headers and bodies from the log, each
//! only for messages not decided before. Results go out as they come; others are served between all steps.

use super::failure::Failure;
use super::grammar::{Code, Numbering, Search, Tag, write};
use super::search_plan::{Facts, Finder, Plan, Reading, Refused, Surroundings};
use super::sections::{self, Heads, Octets};
use super::session::{Opened, ok, send};
use super::sync::{Expunges, lost};
use crate::base::Grant;
use crate::mail::{HeaderText, Summary, TextWalk, charset_names};
use crate::net::{Wire, WireError};
use crate::store::{Entry, Message, ModSeq, Refusal, UidRange, UidSet};
use smol::future::yield_now;

/// Small rows read at once.
const ENTRIES_STEP: usize = 1_000;
/// Messages read at once.
const MESSAGES_STEP: usize = 100;
/// Memory of a step: rows, summaries, matchers.
const STEP_BYTES: usize = 160 * 1024;
/// Octets matched before others have their turn, over all texts looked for.
const SLICE_BYTES: usize = 64 * 1024;
/// After so many slices we look whether the client is still there.
const CHECK_SLICES: u32 = 32;
/// Octets taken at once at the least, and at the most.
const SLICE_BYTES_MIN: usize = 512;
const SLICE_BYTES_MAX: usize = 16 * 1024;

/// Why a message was not read to its end.
enum Stopped {
    Refused(Refusal),
    Wire(WireError),
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Opened<'_> {
    /// SEARCH and UID SEARCH.
    pub(super) async fn search(&mut self, tag: &Tag, search: Search) -> Result<(), Failure> {
        // Keywords and new messages are known from here on.
        self.sync(Expunges::Hold).await?;
        let Search { numbering, charset, key } = search;
        let view = &self.selected.view;
        let plan = Plan::new(
            &key,
            &Surroundings {
                charset: charset.as_deref(),
                keywords: &self.selected.keywords,
                by_number: &|set| {
                    // An empty mailbox has no numbers; finding nothing there serves everybody better than BAD.
                    if view.exists() == 0 { Some(UidSet::new()) } else { view.resolve(set, Numbering::Sequence) }
                },
                by_uid: &|set| view.resolve(set, Numbering::Uid).unwrap_or_default(),
            },
        );
        drop(key);
        let plan = plan.map_err(refused)?;
        self.user.condstore |= plan.tells_modseq;
        let room = self.wire.budget().take(STEP_BYTES).ok_or(Refusal::NoMemory)?;
        self.wire.send(b"* SEARCH").await?;
        let done = self.run(&plan, numbering).await;
        drop(room);
        match done {
            Ok(Some(modseq)) if plan.tells_modseq => {
                send(self.wire, |out| {
                    out.extend_from_slice(b" (MODSEQ ");
                    write::number(out, modseq.0);
                    out.extend_from_slice(b")\r\n");
                })
                .await?;
            }
            Ok(_) => self.wire.send(b"\r\n").await?,
            Err(failure @ Failure::End(_)) => return Err(failure),
            Err(failure) => {
                self.wire.send(b"\r\n").await?;
                return Err(failure);
            }
        }
        if numbering == Numbering::Uid {
            self.sync(Expunges::Tell).await?;
        }
        Ok(ok(self.wire, tag, None, "that is all").await?)
    }

    /// Sends what matches; the answer is the highest modification sequence among it.
    async fn run(&mut self, plan: &Plan, numbering: Numbering) -> Result<Option<ModSeq>, Failure> {
        let mailbox = self.selected.view.mailbox;
        let (mut rest, held) = self.candidates(plan).await?;
        let mut highest = None;
        while let Some(first) = rest.first() {
            // A message whose row is damaged matches nothing; it is logged.
            let step = self.store.message_step(mailbox, &rest, ENTRIES_STEP, false).await.map_err(lost)?;
            let Some(last) = step.last else { break };
            rest.remove_range(UidRange { first, last });
            let entries: Vec<Entry> = step.found.into_iter().map(|(entry, _)| entry).collect();
            let found = self.matching(plan, &entries).await?;
            for entry in entries.iter().filter(|entry| found.contains(entry.uid)) {
                let number = match numbering {
                    Numbering::Uid => Some(entry.uid.0),
                    Numbering::Sequence => self.selected.view.number(entry.uid),
                };
                let Some(number) = number else { continue };
                highest = highest.max(Some(entry.modseq));
                send(self.wire, |out| {
                    out.push(b' ');
                    write::number(out, u64::from(number));
                })
                .await?;
            }
        }
        drop(held);
        Ok(highest)
    }

    /// Messages that can match at all: a few when UIDs or a modification sequence are asked for, else everything told.
    async fn candidates(&self, plan: &Plan) -> Result<(UidSet, Grant), Failure> {
        let view = &self.selected.view;
        let mut held = Grant::none(self.wire.budget());
        if let Some(uids) = plan.only_among() {
            return Ok((uids.clone(), held));
        }
        let Some(modseq) = plan.modseq_at_least() else {
            return Ok((view.span(), held));
        };
        let mut since = ModSeq(modseq.0.saturating_sub(1));
        let mut uids = UidSet::new();
        loop {
            let changes = self.store.changes(view.mailbox, since, ENTRIES_STEP).await.map_err(lost)?;
            changes.changed.iter().filter(|e| view.number(e.uid).is_some()).for_each(|entry| uids.insert(entry.uid));
            if !held.resize(uids.ranges().len().saturating_mul(size_of::<UidRange>())) {
                return Err(Refusal::NoMemory.into());
            }
            if !changes.more {
                return Ok((uids, held));
            }
            since = changes.upto;
        }
    }

    /// Which of `entries` match.
    async fn matching(&mut self, plan: &Plan, entries: &[Entry]) -> Result<UidSet, Failure> {
        let (mut found, mut undecided) = (UidSet::new(), UidSet::new());
        for entry in entries {
            let facts = Facts::new(plan, entry, self.selected.view.is_recent(entry.uid));
            match plan.decide(&facts) {
                Some(true) => found.insert(entry.uid),
                Some(false) => {}
                None => undecided.insert(entry.uid),
            }
        }
        while let Some(first) = undecided.first() {
            let mailbox = self.selected.view.mailbox;
            let step = self.store.message_step(mailbox, &undecided, MESSAGES_STEP, true).await.map_err(lost)?;
            let Some(last) = step.last else { break };
            undecided.remove_range(UidRange { first, last });
            let mut heads = Heads::default();
            for (at, (entry, message)) in step.found.iter().enumerate() {
                let Some(message) = message else { continue };
                let behind = step.found.get(at..).unwrap_or_default();
                if self.is_match(plan, entry, message, &mut heads, behind).await? {
                    found.insert(entry.uid);
                }
            }
        }
        Ok(found)
    }

    /// `step` is the message and those after it, whose first octets are read together with its own.
    async fn is_match(
        &mut self,
        plan: &Plan,
        entry: &Entry,
        message: &Message,
        heads: &mut Heads,
        step: &[(Entry, Option<Message>)],
    ) -> Result<bool, Failure> {
        let mut facts = Facts::new(plan, entry, self.selected.view.is_recent(entry.uid));
        facts.message = Some(message);
        if let Some(answer) = plan.decide(&facts) {
            return Ok(answer);
        }
        let (summary, _room) = match sections::summary(self.wire.budget(), message) {
            Ok(summary) => summary,
            Err(Refusal::Damaged) => {
                log::error!("the summary of message {:?} is damaged", entry.message);
                facts.give_up();
                return Ok(plan.decide(&facts) == Some(true));
            }
            Err(refusal) => return Err(refusal.into()),
        };
        facts.know_envelope(plan, &summary.envelope, !summary.truncated);
        if let Some(answer) = plan.decide(&facts) {
            return Ok(answer);
        }
        if heads.is_empty() {
            // What was found so far reaches a client that waits long.
            self.wire.flush().await?;
            let wanted = step.iter().filter_map(|(entry, message)| {
                let message = message.as_ref()?;
                let mut facts = Facts::new(plan, entry, self.selected.view.is_recent(entry.uid));
                facts.message = Some(message);
                // Of a larger message the first octets are worth it only when its header is all that is read.
                let is_worth = message.size <= sections::HEAD_OCTETS as u64 || !plan.reads_bodies();
                (is_worth && plan.decide(&facts).is_none()).then_some((entry.uid, message))
            });
            *heads = Heads::read(self.store, self.wire.budget(), wanted).await;
        }
        let head = heads.take(entry.uid);
        let octets = Octets::new(self.store, message, &head);
        match Box::pin(self.is_match_when_read(plan, facts, octets, &summary)).await {
            Ok(answer) => Ok(answer),
            // A damaged message is its own trouble alone.
            Err(Stopped::Refused(Refusal::Damaged | Refusal::NotFound)) => Ok(false),
            Err(Stopped::Refused(refusal)) => Err(refusal.into()),
            Err(Stopped::Wire(error)) => Err(error.into()),
        }
    }

    async fn is_match_when_read(
        &mut self,
        plan: &Plan,
        mut facts: Facts<'_>,
        mut octets: Octets<'_>,
        summary: &Summary,
    ) -> Result<bool, Stopped> {
        for reading in [Reading::Header, Reading::Body, Reading::Whole] {
            if !plan.wants(reading, &facts) {
                continue;
            }
            let mut finder = plan.finder(reading);
            match reading {
                Reading::Header => read_header(self.wire, &mut octets, summary, &mut finder).await?,
                Reading::Body => walk(self.wire, &mut octets, TextWalk::new(summary, false), &mut finder).await?,
                Reading::Whole => walk(self.wire, &mut octets, TextWalk::new(summary, true), &mut finder).await?,
            }
            facts.know(&finder);
            if let Some(answer) = plan.decide(&facts) {
                return Ok(answer);
            }
        }
        facts.give_up();
        Ok(plan.decide(&facts) == Some(true))
    }
}

async fn read_header(
    wire: &mut Wire,
    reader: &mut Octets<'_>,
    summary: &Summary,
    finder: &mut Finder,
) -> Result<(), Stopped> {
    let mut text = HeaderText::new();
    let span = summary.root.header;
    let (mut offset, mut slices) = (span.offset, 0);
    while offset < span.end() && !finder.is_done() {
        let octets = slice(reader.at(offset).await?, span.end() - offset, finder)?;
        text.feed(octets, &mut |event| finder.take(event));
        offset = offset.saturating_add(octets.len() as u64);
        take_turns(wire, &mut slices).await?;
    }
    text.finish(&mut |event| finder.take(event));
    Ok(())
}

async fn walk(
    wire: &mut Wire,
    reader: &mut Octets<'_>,
    mut walk: TextWalk<'_>,
    finder: &mut Finder,
) -> Result<(), Stopped> {
    let mut slices = 0_u32;
    while let Some(offset) = walk.next_offset() {
        if finder.is_done() {
            return Ok(());
        }
        let octets = slice(reader.at(offset).await?, u64::MAX, finder)?;
        walk.feed(offset, octets, &mut |event| finder.take(event));
        take_turns(wire, &mut slices).await?;
    }
    walk.finish(&mut |event| finder.take(event));
    Ok(())
}

/// Lets others go first, and notices now and then that nobody waits for the answer any more.
async fn take_turns(wire: &mut Wire, slices: &mut u32) -> Result<(), Stopped> {
    *slices = slices.saturating_add(1);
    if slices.is_multiple_of(CHECK_SLICES) {
        wire.check().await.map_err(Stopped::Wire)?;
    }
    yield_now().await;
    Ok(())
}

/// The first octets of a chunk, at most `octets`; the message is shorter than its summary says when there are none.
fn slice<'a>(chunk: &'a [u8], octets: u64, finder: &Finder) -> Result<&'a [u8], Refusal> {
    let fair = (SLICE_BYTES / finder.texts().max(1)).clamp(SLICE_BYTES_MIN, SLICE_BYTES_MAX);
    let count = chunk.len().min(fair).min(usize::try_from(octets).unwrap_or(usize::MAX));
    chunk.get(..count).filter(|slice| !slice.is_empty()).ok_or(Refusal::Damaged)
}

fn refused(refused: Refused) -> Failure {
    match refused {
        Refused::Charset => {
            Failure::No(Some(Code::BadCharset(charset_names())), "there is no such charset here, but these")
        }
        Refused::Text => Failure::Bad("A text is not valid in its charset"),
        Refused::Number => Failure::Bad("there is no message with such a number"),
    }
}
