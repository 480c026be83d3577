//! The maildrop as a session sees it from its login on (RFC 1939 section 5): message numbers over the UIDs that INBOX had
//! then, and which of them are marked as deleted. Memory is a few octets for each run of UIDs and a bit for each message, so
//! that half a million messages fit. Pure; never asks the store.

use super::grammar::Number;
use crate::base::{Budget, Grant};
use crate::store::{Mailbox, MailboxId, Uid, UidRange, UidSet, UidValidity};

/// Octets a range costs: itself and its first number.
const RANGE_BYTES: usize = size_of::<UidRange>() + size_of::<u32>();
/// Messages that one word of marks stands for.
const WORD_BITS: u32 = u64::BITS;

#[derive(Debug)]
pub(super) struct Maildrop {
    mailbox: MailboxId,
    uid_validity: UidValidity,
    uids: UidSet,
    /// For each range of `uids`, the number of its first message.
    firsts: Vec<u32>,
    count: u32,
    octets: u64,
    marks: Marks,
    grant: Grant,
}

/// Which messages are marked as deleted; empty until the first is.
#[derive(Debug, Default)]
struct Marks {
    words: Vec<u64>,
    count: u32,
    octets: u64,
}

/// The memory budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoMemory;

impl Maildrop {
    /// The maildrop over `uids` of `mailbox`, `octets` in all.
    pub(super) fn new(mailbox: &Mailbox, uids: UidSet, octets: u64, budget: &Budget) -> Result<Self, NoMemory> {
        let ranges = uids.ranges();
        let grant = budget.take(ranges.len().saturating_mul(RANGE_BYTES)).ok_or(NoMemory)?;
        let mut firsts = Vec::with_capacity(ranges.len());
        let mut count = 0u32;
        for range in ranges {
            firsts.push(count.saturating_add(1));
            count = count.saturating_add(range.last.0.saturating_sub(range.first.0)).saturating_add(1);
        }
        let (mailbox, uid_validity) = (mailbox.id, mailbox.uid_validity);
        Ok(Self { mailbox, uid_validity, uids, firsts, count, octets, marks: Marks::default(), grant })
    }

    pub(super) fn mailbox(&self) -> MailboxId {
        self.mailbox
    }

    /// Messages not marked as deleted.
    pub(super) fn count(&self) -> u32 {
        self.count.saturating_sub(self.marks.count)
    }

    /// Octets of the messages not marked as deleted.
    pub(super) fn octets(&self) -> u64 {
        self.octets.saturating_sub(self.marks.octets)
    }

    /// The message of that number, unless there is none or it is marked as deleted.
    pub(super) fn uid(&self, number: Number) -> Option<Uid> {
        self.uid_at(number.0).filter(|_| !self.is_marked(number.0))
    }

    /// The number of a message that is not marked as deleted.
    pub(super) fn number(&self, uid: Uid) -> Option<u32> {
        let at = self.uids.ranges().partition_point(|range| range.last < uid);
        let (range, first) = (self.uids.ranges().get(at)?, self.firsts.get(at)?);
        let number = first.checked_add(uid.0.checked_sub(range.first.0)?)?;
        (!self.is_marked(number)).then_some(number)
    }

    /// Those from `uid` on, marked or not.
    pub(super) fn uids_from(&self, uid: Uid) -> UidSet {
        self.uids.last().map_or_else(UidSet::new, |last| UidSet::range(uid, last))
    }

    /// Every message not marked as deleted, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Uid)> + '_ {
        (1u32..).zip(self.uids.iter()).filter(|(number, _)| !self.is_marked(*number))
    }

    /// Marks a message of `octets` as deleted.
    pub(super) fn mark(&mut self, number: Number, octets: u64) -> Result<(), NoMemory> {
        if self.marks.words.is_empty() {
            let words = self.count.div_ceil(WORD_BITS) as usize;
            if !self.grant.resize(self.grant.bytes().saturating_add(words.saturating_mul(size_of::<u64>()))) {
                return Err(NoMemory);
            }
            self.marks.words = vec![0; words];
        }
        let (word, bit) = place(number.0);
        if let Some(word) = self.marks.words.get_mut(word).filter(|word| **word & bit == 0) {
            *word |= bit;
            self.marks.count = self.marks.count.saturating_add(1);
            self.marks.octets = self.marks.octets.saturating_add(octets);
        }
        Ok(())
    }

    /// Takes every mark away.
    pub(super) fn unmark_all(&mut self) {
        self.marks.words.fill(0);
        (self.marks.count, self.marks.octets) = (0, 0);
    }

    /// Whether any message is marked.
    pub(super) fn has_marks(&self) -> bool {
        self.marks.count > 0
    }

    /// A step through the marked messages: at most `max` of them with numbers from `from` on, and the number to go on from.
    pub(super) fn marked(&self, from: u32, max: usize) -> (UidSet, u32) {
        let numbers = (from..=self.count).filter(|number| self.is_marked(*number));
        let numbers: Vec<u32> = numbers.take(max).collect();
        let next = numbers.last().map_or(u32::MAX, |last| last.saturating_add(1));
        (numbers.into_iter().filter_map(|number| self.uid_at(number)).collect(), next)
    }

    /// The unique id of a message (RFC 1939 section 7, UIDL): the same for ever, in every session.
    pub(super) fn unique_id(&self, uid: Uid) -> String {
        format!("{:08x}{:08x}", self.uid_validity.0, uid.0)
    }

    fn uid_at(&self, number: u32) -> Option<Uid> {
        if number == 0 || number > self.count {
            return None;
        }
        let at = self.firsts.partition_point(|first| *first <= number).checked_sub(1)?;
        let (range, first) = (self.uids.ranges().get(at)?, self.firsts.get(at)?);
        range.first.0.checked_add(number.checked_sub(*first)?).map(Uid)
    }

    fn is_marked(&self, number: u32) -> bool {
        let (word, bit) = place(number);
        self.marks.words.get(word).is_some_and(|word| word & bit != 0)
    }
}

/// Where the mark of a message is; numbers begin at 1.
fn place(number: u32) -> (usize, u64) {
    let index = number.saturating_sub(1);
    ((index / WORD_BITS) as usize, 1 << (index % WORD_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{AccountId, ModSeq};
    use proptest::prelude::*;

    #[test]
    fn numbers_run_over_gaps_in_the_uids() {
        let drop = maildrop([3, 4, 5, 9, 20, 21]);
        let numbered: Vec<_> = drop.iter().map(|(number, uid)| (number, uid.0)).collect();
        assert_eq!(numbered, [(1, 3), (2, 4), (3, 5), (4, 9), (5, 20), (6, 21)]);
        assert_eq!(drop.uid(Number(4)), Some(Uid(9)));
        assert_eq!(drop.uid(Number(0)), None);
        assert_eq!(drop.uid(Number(7)), None);
        assert_eq!(drop.number(Uid(21)), Some(6));
        assert_eq!(drop.number(Uid(8)), None);
    }

    #[test]
    fn a_marked_message_is_no_longer_there_until_rset() {
        let mut drop = maildrop([3, 4, 9]);
        drop.mark(Number(2), 30).unwrap();
        drop.mark(Number(2), 30).unwrap();
        assert_eq!((drop.count(), drop.octets()), (2, 70));
        assert_eq!((drop.uid(Number(2)), drop.number(Uid(4))), (None, None));
        assert_eq!(drop.uid(Number(3)), Some(Uid(9)), "numbers do not move (RFC 1939 section 5, DELE)");
        assert_eq!(drop.marked(1, 10), (UidSet::one(Uid(4)), 3));
        assert_eq!(drop.marked(3, 10), (UidSet::new(), u32::MAX));
        drop.unmark_all();
        assert_eq!((drop.count(), drop.octets(), drop.has_marks()), (3, 100, false));
    }

    #[test]
    fn a_unique_id_has_printable_characters_only_and_depends_on_both_numbers() {
        let drop = maildrop([255]);
        assert_eq!(drop.unique_id(Uid(255)), "00000007000000ff");
    }

    #[test]
    fn half_a_million_messages_with_gaps_everywhere_fit_into_the_budget() {
        let budget = Budget::new(11 << 20);
        let uids: UidSet = (0..250_000).flat_map(|n| [Uid(n * 3 + 1), Uid(n * 3 + 2)]).collect();
        let mut drop = Maildrop::new(&mailbox(), uids, 0, &budget).unwrap();
        drop.mark(Number(500_000), 1).unwrap();
        assert_eq!(drop.uid(Number(499_999)), Some(Uid(749_998)));
        assert!(budget.spent() < 4 << 20, "{} octets", budget.spent());
        let small = Budget::new(1 << 20);
        let uids: UidSet = (0..250_000).map(|n| Uid(n * 3 + 1)).collect();
        assert_eq!(Maildrop::new(&mailbox(), uids, 0, &small).err(), Some(NoMemory));
    }

    proptest! {
        #[test]
        fn numbers_and_uids_lead_to_each_other(uids in proptest::collection::btree_set(1u32..500, 0..100)) {
            let drop = maildrop(uids.iter().copied());
            for (at, uid) in uids.iter().enumerate() {
                let number = at as u32 + 1;
                prop_assert_eq!(drop.uid(Number(number)), Some(Uid(*uid)));
                prop_assert_eq!(drop.number(Uid(*uid)), Some(number));
            }
            prop_assert_eq!(drop.count() as usize, uids.len());
        }
    }

    fn maildrop(uids: impl IntoIterator<Item = u32>) -> Maildrop {
        Maildrop::new(&mailbox(), uids.into_iter().map(Uid).collect(), 100, &Budget::new(1 << 20)).unwrap()
    }

    fn mailbox() -> Mailbox {
        Mailbox {
            id: MailboxId(1),
            account: AccountId(1),
            name: "INBOX".into(),
            uid_validity: UidValidity(7),
            uid_next: Uid(1_000),
            highest_modseq: ModSeq(1),
            exists: 0,
            unseen: 0,
            deleted: 0,
            size: 100,
            recent_from: Uid(1),
            special_use: None,
            keywords: Vec::new(),
            expunges_known: 0,
            expunges_forgotten: ModSeq(0),
        }
    }
}
