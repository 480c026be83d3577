//! The mailbox as one session has told its client: UIDs and sequence numbers (RFC 3501 2.3.1), \Recent, and how far its
//! changes have been looked at (RFC 7162). Pure: no store, no wire, no clock; what it grows by is granted from the budget.

use super::grammar::{Numbering, SequenceSet};
use crate::base::{Budget, Grant};
use crate::store::{Changes, MailboxId, ModSeq, Uid, UidRange, UidSet};

/// Every so many ranges one running count is kept: looking a number up is a binary search and a walk of at most this.
const STRIDE: usize = 64;
/// So few removed ranges are cut out in place; more are worth one pass over all.
const IN_PLACE_MAX: usize = 16;

/// The memory budget has no room for the view; the session ends politely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// One mailbox, as its client knows it.
#[derive(Debug)]
pub(super) struct View {
    /// Which mailbox.
    pub(super) mailbox: MailboxId,
    // Invariant: the client has been told exactly these, as `* n EXISTS` and later EXPUNGEs.
    uids: UidSet,
    // Invariant: before[i] messages stand in the ranges before number i * STRIDE.
    before: Vec<u32>,
    count: u32,
    // Invariant: a subset of `uids`; no longer in the store, and EXPUNGE was not allowed yet.
    gone: UidSet,
    recent: UidSet,
    modseq: ModSeq,
    grant: Grant,
}

impl View {
    /// A view of `uids`, the state of `mailbox` at `modseq`.
    pub(super) fn new(mailbox: MailboxId, uids: UidSet, modseq: ModSeq, budget: &Budget) -> Result<Self, NoRoom> {
        let mut view = Self {
            mailbox,
            uids,
            before: Vec::new(),
            count: 0,
            gone: UidSet::new(),
            recent: UidSet::new(),
            modseq,
            grant: Grant::none(budget),
        };
        view.recount();
        view.fit()?;
        Ok(view)
    }

    /// Bytes that the view of a mailbox with `exists` messages and this UIDNEXT can take at the most: there are no more
    /// ranges than messages, and one more than gaps.
    pub(super) fn bytes_max(exists: u32, uid_next: Uid) -> usize {
        let gaps = uid_next.0.saturating_sub(1).saturating_sub(exists);
        bytes(exists.min(gaps.saturating_add(1)) as usize)
    }

    /// Messages that the client knows of.
    pub(super) fn exists(&self) -> u32 {
        self.count
    }

    /// Those of them that are \Recent to this session.
    pub(super) fn recent(&self) -> u32 {
        self.count_in(&self.recent)
    }

    /// Whether a message is \Recent to this session.
    pub(super) fn is_recent(&self, uid: Uid) -> bool {
        self.recent.contains(uid)
    }

    /// Messages from `first` on to the last one told are \Recent to this session.
    pub(super) fn claim_recent(&mut self, first: Uid) {
        if let Some(last) = self.uids.last().filter(|last| first <= *last) {
            self.recent.insert_range(UidRange { first, last });
        }
    }

    /// Everything up to here has been looked at.
    pub(super) fn modseq(&self) -> ModSeq {
        self.modseq
    }

    /// The highest UID told.
    pub(super) fn last_uid(&self) -> Option<Uid> {
        self.uids.last()
    }

    /// Everything told, as one span.
    pub(super) fn span(&self) -> UidSet {
        match (self.uids.first(), self.uids.last()) {
            (Some(first), Some(last)) => UidSet::range(first, last),
            _ => UidSet::new(),
        }
    }

    /// The sequence number of a message.
    pub(super) fn number(&self, uid: Uid) -> Option<u32> {
        if self.uids.contains(uid) { Some(self.rank(uid)) } else { None }
    }

    /// The message with a sequence number.
    pub(super) fn uid(&self, number: u32) -> Option<Uid> {
        if number == 0 || number > self.count {
            return None;
        }
        let group = self.before.partition_point(|before| *before < number).checked_sub(1)?;
        let mut left = number - self.before.get(group)?;
        for range in self.uids.ranges().get(group * STRIDE..)? {
            let count = range.last.0 - range.first.0 + 1;
            if left <= count {
                return Some(Uid(range.first.0 + left - 1));
            }
            left -= count;
        }
        None
    }

    /// The UIDs that a sequence set names, as spans: among them may be UIDs of no message, never one not yet told. The
    /// answer is `None` when a message number is none (RFC 3501 9, seq-number: BAD).
    pub(super) fn resolve(&self, set: &SequenceSet, numbering: Numbering) -> Option<UidSet> {
        let mut uids = UidSet::new();
        match numbering {
            Numbering::Sequence if self.count == 0 => return None,
            Numbering::Sequence => {
                for (first, last) in set.resolve(self.count) {
                    uids.insert_range(UidRange { first: self.uid(first)?, last: self.uid(last)? });
                }
            }
            Numbering::Uid => {
                let star = self.last_uid().map_or(0, |uid| uid.0);
                for (first, last) in set.resolve(star) {
                    let last = last.min(star);
                    if first <= last {
                        uids.insert_range(UidRange { first: Uid(first), last: Uid(last) });
                    }
                }
            }
        }
        Some(uids)
    }

    /// Messages told whose UIDs are in `uids`.
    pub(super) fn count_in(&self, uids: &UidSet) -> u32 {
        uids.ranges().iter().map(|r| self.rank(r.last) - self.rank_before(r.first)).sum()
    }

    /// Takes in what has happened: notes what is gone, collects new messages in `fresh` and moves the known modification
    /// sequence. New messages are told with [`View::add`] only when all steps of `changes` are in, since a later step
    /// may hold a lower UID.
    pub(super) fn learn(&mut self, changes: &Changes, fresh: &mut UidSet) -> Result<(), NoRoom> {
        let last = self.uids.last();
        for entry in &changes.changed {
            if last.is_none_or(|last| entry.uid > last) {
                fresh.insert(entry.uid);
            }
        }
        for range in changes.expunged.ranges() {
            fresh.remove_range(*range);
            self.note_gone(*range);
        }
        self.modseq = self.modseq.max(changes.upto);
        self.fit()
    }

    /// This session made these changes itself and has told its client, so that they need not be told again; only if
    /// nobody else's came between (then all are told, which is redundant and right).
    pub(super) fn own_changes(&mut self, modseqs: impl Iterator<Item = ModSeq>) {
        let (mut first, mut last, mut count) = (u64::MAX, 0, 0_u64);
        for modseq in modseqs.filter(|modseq| *modseq > self.modseq) {
            first = first.min(modseq.0);
            last = last.max(modseq.0);
            count = count.saturating_add(1);
        }
        let known = self.modseq.0;
        // Either every message took a modification sequence of its own, or all share one.
        if count > 0 && first == known + 1 && (last == first || last - known == count) {
            self.modseq = ModSeq(last);
        }
    }

    /// Whether an EXPUNGE waits to be told.
    pub(super) fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Whether some of `uids` are known to be gone, and the client does not know yet.
    pub(super) fn has_gone_in(&self, uids: &UidSet) -> bool {
        let meets = |range: &UidRange| {
            let at = self.gone.ranges().partition_point(|gone| gone.last < range.first);
            self.gone.ranges().get(at).is_some_and(|gone| gone.first <= range.last)
        };
        uids.ranges().iter().any(meets)
    }

    /// The sequence numbers of what is gone, highest first, so that none of them moves another.
    pub(super) fn gone_numbers(&self) -> impl Iterator<Item = u32> + '_ {
        let spans = self.gone.ranges().iter().rev();
        spans.flat_map(|range| (self.rank_before(range.first)..self.rank(range.last)).rev().map(|before| before + 1))
    }

    /// The client has been told [`View::gone_numbers`].
    pub(super) fn forget_gone(&mut self) -> Result<(), NoRoom> {
        let gone = std::mem::take(&mut self.gone);
        if gone.ranges().len() <= IN_PLACE_MAX {
            for range in gone.ranges() {
                self.uids.remove_range(*range);
                self.recent.remove_range(*range);
            }
        } else {
            // For a moment there are two.
            let room = self.grant.bytes().saturating_add(bytes(self.uids.ranges().len() + gone.ranges().len()));
            if !self.grant.resize(room) {
                return Err(NoRoom);
            }
            self.uids = without(&self.uids, &gone);
            self.recent = without(&self.recent, &gone);
        }
        self.recount();
        self.fit()
    }

    /// The client is being told of new messages.
    pub(super) fn add(&mut self, fresh: &UidSet) -> Result<(), NoRoom> {
        for range in fresh.ranges() {
            self.uids.insert_range(*range);
        }
        self.recount();
        self.fit()
    }

    /// Messages told with UIDs up to `uid`.
    fn rank(&self, uid: Uid) -> u32 {
        let ranges = self.uids.ranges();
        let at = ranges.partition_point(|range| range.last < uid);
        let inside = match ranges.get(at) {
            Some(range) if range.first <= uid => uid.0 - range.first.0 + 1,
            _ => 0,
        };
        let group = at / STRIDE;
        let before = self.before.get(group).copied().unwrap_or_default();
        let walked: u32 =
            ranges.get(group * STRIDE..at).unwrap_or_default().iter().map(|r| r.last.0 - r.first.0 + 1).sum();
        before + walked + inside
    }

    fn rank_before(&self, uid: Uid) -> u32 {
        self.rank(Uid(uid.0.saturating_sub(1)))
    }

    fn note_gone(&mut self, range: UidRange) {
        let ranges = self.uids.ranges();
        let from = ranges.partition_point(|told| told.last < range.first);
        for told in ranges.get(from..).unwrap_or_default() {
            if told.first > range.last {
                break;
            }
            self.gone.insert_range(UidRange { first: told.first.max(range.first), last: told.last.min(range.last) });
        }
    }

    fn recount(&mut self) {
        let mut before = Vec::with_capacity(self.uids.ranges().len().div_ceil(STRIDE).max(1));
        let mut count = 0_u32;
        for group in self.uids.ranges().chunks(STRIDE) {
            before.push(count);
            // Invariant: UIDs are 32 bits and never 0, so their count fits.
            count = group.iter().fold(count, |count, range| count.saturating_add(range.last.0 - range.first.0 + 1));
        }
        self.before = before;
        self.count = count;
    }

    /// Makes the grant what the view takes.
    fn fit(&mut self) -> Result<(), NoRoom> {
        let ranges = self.uids.ranges().len() + self.gone.ranges().len() + self.recent.ranges().len();
        if self.grant.resize(bytes(ranges)) { Ok(()) } else { Err(NoRoom) }
    }
}

/// Bytes of so many ranges and their running counts.
fn bytes(ranges: usize) -> usize {
    ranges.saturating_mul(size_of::<UidRange>()).saturating_add(ranges / STRIDE * size_of::<u32>())
}

/// `set` without `other`, in one pass over both.
fn without(set: &UidSet, other: &UidSet) -> UidSet {
    let mut rest = UidSet::new();
    let mut cuts = other.ranges().iter().peekable();
    for range in set.ranges() {
        let mut first = range.first.0;
        while cuts.peek().is_some_and(|cut| cut.last.0 < first) {
            cuts.next();
        }
        // A cut may reach into the next range, so it is only passed when it ends in this one.
        loop {
            match cuts.peek() {
                Some(cut) if cut.first <= range.last => {
                    if cut.first.0 > first {
                        rest.insert_range(UidRange { first: Uid(first), last: Uid(cut.first.0 - 1) });
                    }
                    if cut.last >= range.last {
                        break;
                    }
                    first = cut.last.0 + 1;
                    cuts.next();
                }
                _ => {
                    rest.insert_range(UidRange { first: Uid(first), last: range.last });
                    break;
                }
            }
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Entry, Flags, MessageId};
    use proptest::prelude::*;

    fn budget() -> Budget {
        Budget::new(1 << 20)
    }

    fn set(uids: &[u32]) -> UidSet {
        uids.iter().copied().map(Uid).collect()
    }

    fn view(uids: &[u32]) -> View {
        View::new(MailboxId(1), set(uids), ModSeq(1), &budget()).unwrap()
    }

    #[test]
    fn sequence_sets_name_what_was_told() {
        let view = view(&[2, 3, 7, 9, 10]);
        let all = [
            ("1", Numbering::Sequence, Some(vec![(2, 2)]), "the first"),
            ("2:*", Numbering::Sequence, Some(vec![(3, 10)]), "to the last"),
            ("*:4", Numbering::Sequence, Some(vec![(9, 10)]), "either order (RFC 3501 9, seq-range)"),
            ("6", Numbering::Sequence, None, "no such message: BAD"),
            ("7:3", Numbering::Uid, Some(vec![(3, 7)]), "either order"),
            ("50:*", Numbering::Uid, Some(vec![(10, 10)]), "559:* holds the last (RFC 3501 6.4.8)"),
            ("50:60", Numbering::Uid, Some(vec![]), "no such UIDs: no error"),
            ("9:60", Numbering::Uid, Some(vec![(9, 10)]), "never one not yet told"),
        ];
        for (wire, numbering, expected, reason) in all {
            let found = view.resolve(&SequenceSet::parse(wire.as_bytes()).unwrap(), numbering);
            let spans = found.map(|f| f.ranges().iter().map(|r| (r.first.0, r.last.0)).collect::<Vec<_>>());
            assert_eq!(spans, expected, "{wire}: {reason}");
        }
    }

    #[test]
    fn an_empty_mailbox_has_no_star_by_number_and_none_by_uid() {
        let view = view(&[]);
        let all = SequenceSet::parse(b"1:*").unwrap();
        assert_eq!(view.resolve(&all, Numbering::Sequence), None);
        assert_eq!(view.resolve(&all, Numbering::Uid), Some(UidSet::new()));
    }

    #[test]
    fn a_fragmented_view_that_the_budget_cannot_hold_is_refused() {
        let scattered = (0..10_000).map(|n| Uid(n * 2 + 1)).collect::<UidSet>();
        let small = Budget::new(40_000);
        assert_eq!(View::new(MailboxId(1), scattered.clone(), ModSeq(1), &small).unwrap_err(), NoRoom);
        assert_eq!(small.spent(), 0);
        let view = View::new(MailboxId(1), scattered, ModSeq(1), &budget()).unwrap();
        assert!(view.grant.bytes() <= View::bytes_max(10_000, Uid(20_001)));
        assert_eq!(view.uid(9_999), Some(Uid(19_997)));
        assert_eq!(view.number(Uid(19_997)), Some(9_999));
    }

    #[test]
    fn own_changes_are_known_unless_others_came_between() {
        let mut view = view(&[1, 2, 3]);
        view.own_changes([ModSeq(2), ModSeq(3)].into_iter());
        assert_eq!(view.modseq(), ModSeq(3), "one each");
        view.own_changes([ModSeq(4), ModSeq(4), ModSeq(2)].into_iter());
        assert_eq!(view.modseq(), ModSeq(4), "one for all, and one that was so already");
        view.own_changes([ModSeq(6)].into_iter());
        assert_eq!(view.modseq(), ModSeq(4), "number 5 is somebody else's");
        view.own_changes([ModSeq(5), ModSeq(7)].into_iter());
        assert_eq!(view.modseq(), ModSeq(4), "number 6 is somebody else's");
    }

    /// The store as the interface describes it, and a client that believes what it is told.
    #[derive(Default)]
    struct Model {
        live: Vec<Entry>,
        graves: Vec<(u32, u64)>,
        modseq: u64,
        uid_next: u32,
    }

    impl Model {
        fn changes(&self, since: ModSeq, max: usize) -> Changes {
            let mut changed: Vec<Entry> = self.live.iter().filter(|e| e.modseq > since).copied().collect();
            changed.sort_by_key(|e| e.modseq);
            let more = changed.len() > max;
            changed.truncate(max);
            let upto = if more { changed.last().unwrap().modseq } else { ModSeq(self.modseq) };
            let expunged =
                self.graves.iter().filter(|(_, m)| *m > since.0 && *m <= upto.0).map(|(uid, _)| Uid(*uid)).collect();
            Changes { changed, expunged, upto, more }
        }
    }

    proptest! {
        #[test]
        fn a_client_told_by_the_view_knows_the_mailbox(steps in prop::collection::vec((0..6_u8, any::<u32>()), 1..120)) {
            let mut model = Model { uid_next: 1, modseq: 1, ..Model::default() };
            let mut view = view(&[]);
            let mut client: Vec<u32> = Vec::new(); // UIDs by sequence number
            for (step, number) in steps {
                let at = (number as usize).checked_rem(model.live.len());
                match (step, at) {
                    (0 | 1, _) => {
                        model.modseq += 1;
                        let entry = Entry {
                            uid: Uid(model.uid_next + number % 2),
                            flags: Flags::default(),
                            modseq: ModSeq(model.modseq),
                            message: MessageId(1),
                        };
                        model.uid_next = entry.uid.0 + 1;
                        model.live.push(entry);
                    }
                    (2, Some(at)) => {
                        model.modseq += 1;
                        model.live[at].modseq = ModSeq(model.modseq);
                    }
                    (3, Some(at)) => {
                        model.modseq += 1;
                        let gone = model.live.remove(at);
                        model.graves.push((gone.uid.0, model.modseq));
                    }
                    _ => {
                        let expunge = step == 4;
                        let mut fresh = UidSet::new();
                        loop {
                            let changes = model.changes(view.modseq(), 3);
                            view.learn(&changes, &mut fresh).unwrap();
                            for entry in &changes.changed {
                                if let Some(number) = view.number(entry.uid) {
                                    prop_assert_eq!(client[number as usize - 1], entry.uid.0);
                                }
                            }
                            if !changes.more {
                                break;
                            }
                        }
                        if expunge {
                            for number in view.gone_numbers() {
                                client.remove(number as usize - 1);
                            }
                            view.forget_gone().unwrap();
                        }
                        view.add(&fresh).unwrap();
                        // `* n EXISTS`: the client asks for the UIDs of the new ones.
                        let told = client.len() as u32;
                        client.extend((told + 1..=view.exists()).map(|n| view.uid(n).unwrap().0));
                        if expunge {
                            let live: Vec<u32> = model.live.iter().map(|e| e.uid.0).collect();
                            prop_assert_eq!(&client, &live);
                        }
                        for (at, uid) in client.iter().enumerate() {
                            prop_assert_eq!(view.number(Uid(*uid)), Some(at as u32 + 1));
                        }
                    }
                }
            }
        }

        #[test]
        fn without_is_set_difference(a in prop::collection::btree_set(1..300_u32, 0..200), b in prop::collection::btree_set(1..300_u32, 0..200)) {
            let difference: UidSet = a.difference(&b).copied().map(Uid).collect();
            let a: UidSet = a.into_iter().map(Uid).collect();
            let b: UidSet = b.into_iter().map(Uid).collect();
            prop_assert_eq!(without(&a, &b), difference);
        }
    }
}
