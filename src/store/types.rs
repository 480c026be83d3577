//! What the store hands out and takes in: ids, flags, UID sets, rows, refusals.

/// An account, numbered once and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u32);

/// A mailbox of some account, numbered once and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId(pub u32);

/// A message's number in its mailbox (RFC 3501 2.3.1.1): ascending, never given twice, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub u32);

/// A mailbox's UIDVALIDITY: from a counter in the store, never from the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UidValidity(pub u32);

/// A mailbox's modification sequence (RFC 7162): every change of a message takes a new, higher one; 0 is before all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModSeq(pub u64);

/// A message in the store, whichever mailboxes hold it: copies share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u64);

/// A stored body; messages may share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub u64);

/// A message's flags: five bits for the system flags (RFC 3501 2.3.2), one for each keyword of its mailbox.
/// \Recent is not among them: it belongs to a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u64);

impl Flags {
    /// \Seen
    pub const SEEN: Self = Self(1);
    /// \Answered
    pub const ANSWERED: Self = Self(1 << 1);
    /// \Flagged
    pub const FLAGGED: Self = Self(1 << 2);
    /// \Deleted
    pub const DELETED: Self = Self(1 << 3);
    /// \Draft
    pub const DRAFT: Self = Self(1 << 4);
    /// Keyword number `n` of a mailbox has bit `KEYWORD_BIT_FIRST + n`.
    pub const KEYWORD_BIT_FIRST: u32 = 5;
    /// Keywords that one mailbox can hold.
    pub const KEYWORDS_MAX: usize = 59;

    /// The flag of a mailbox's keyword number `n`; nothing when there is no such number.
    pub fn keyword(n: usize) -> Self {
        match u32::try_from(n) {
            Ok(n) if (n as usize) < Self::KEYWORDS_MAX => Self(1 << (Self::KEYWORD_BIT_FIRST + n)),
            _ => Self(0),
        }
    }

    /// Whether all of `other` are in it.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// UIDs from `first` to `last`, both included; `first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UidRange {
    /// The lowest.
    pub first: Uid,
    /// The highest.
    pub last: Uid,
}

/// A set of UIDs: ascending ranges that neither touch nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UidSet(Vec<UidRange>);

impl UidSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// A set of one.
    pub fn one(uid: Uid) -> Self {
        Self(vec![UidRange { first: uid, last: uid }])
    }

    /// All from `first` to `last`; empty when `first > last`.
    pub fn range(first: Uid, last: Uid) -> Self {
        if first > last { Self::new() } else { Self(vec![UidRange { first, last }]) }
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[UidRange] {
        &self.0
    }

    /// Whether there is none in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many UIDs are in it.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|r| u64::from(r.last.0 - r.first.0) + 1).sum()
    }

    /// Whether `uid` is in it.
    pub fn contains(&self, uid: Uid) -> bool {
        let at = self.0.partition_point(|r| r.last < uid);
        self.0.get(at).is_some_and(|r| r.first <= uid)
    }

    /// Every UID, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.0.iter().flat_map(|r| (r.first.0..=r.last.0).map(Uid))
    }

    /// The same set in pieces of at most `ranges_max` ranges, ascending.
    pub fn pieces(&self, ranges_max: usize) -> impl Iterator<Item = Self> + '_ {
        self.0.chunks(ranges_max.max(1)).map(|ranges| Self(ranges.to_vec()))
    }

    /// All from 1 to below `end` that are not in it.
    pub fn missing_below(&self, end: Uid) -> Self {
        let mut missing = Vec::new();
        let mut next = 1;
        for range in &self.0 {
            if range.first.0 > next && next < end.0 {
                missing.push(UidRange { first: Uid(next), last: Uid(range.first.0.min(end.0) - 1) });
            }
            next = range.last.0.saturating_add(1);
        }
        if next < end.0 {
            missing.push(UidRange { first: Uid(next), last: Uid(end.0 - 1) });
        }
        Self(missing)
    }

    /// Adds one UID; cheap when they come in ascending order.
    pub fn insert(&mut self, uid: Uid) {
        self.insert_range(UidRange { first: uid, last: uid });
    }

    /// Adds a range; cheap when they come in ascending order.
    pub fn insert_range(&mut self, range: UidRange) {
        // Ranges that overlap or touch the new one melt into it.
        let from = self.0.partition_point(|r| r.last.0.saturating_add(1) < range.first.0);
        let to = self.0.partition_point(|r| r.first.0 <= range.last.0.saturating_add(1));
        let (mut first, mut last) = (range.first, range.last);
        if from < to {
            first = self.0.get(from).map_or(first, |r| r.first.min(first));
            last = self.0.get(to - 1).map_or(last, |r| r.last.max(last));
        }
        self.0.splice(from..to.max(from), [UidRange { first, last }]);
    }

    /// Takes a range out.
    pub fn remove_range(&mut self, range: UidRange) {
        let from = self.0.partition_point(|r| r.last < range.first);
        let to = self.0.partition_point(|r| r.first <= range.last);
        if from >= to {
            return;
        }
        let mut rest = smallvec::SmallVec::<[UidRange; 2]>::new();
        if let Some(left) = self.0.get(from).filter(|r| r.first < range.first) {
            rest.push(UidRange { first: left.first, last: Uid(range.first.0 - 1) });
        }
        if let Some(right) = self.0.get(to - 1).filter(|r| r.last > range.last) {
            rest.push(UidRange { first: Uid(range.last.0 + 1), last: right.last });
        }
        self.0.splice(from..to, rest);
    }

    /// The lowest.
    pub fn first(&self) -> Option<Uid> {
        self.0.first().map(|r| r.first)
    }

    /// The highest.
    pub fn last(&self) -> Option<Uid> {
        self.0.last().map(|r| r.last)
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        let mut set = Self::new();
        for uid in uids {
            set.insert(uid);
        }
        set
    }
}

/// What a mailbox is for (RFC 6154); at most one per mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    /// \Archive
    Archive,
    /// \Drafts
    Drafts,
    /// \Junk
    Junk,
    /// \Sent
    Sent,
    /// \Trash
    Trash,
}

/// How far work of an account's has got that comes in steps, an import: it changes with the messages of a step or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whose.
    pub account: AccountId,
    /// Which work.
    pub name: String,
    /// How far; opaque to the store. None when empty.
    pub value: Vec<u8>,
}

/// An account's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// `local@domain`, as the accounts room normalises it.
    pub address: String,
    /// Password hash and SCRAM keys; opaque to the store.
    pub secrets: Vec<u8>,
}

impl Account {
    /// Whether its address was lost and another made up for it.
    pub fn is_made_up(&self) -> bool {
        self.address.strip_suffix(super::apply::RECOVERED_DOMAIN).is_some_and(|rest| rest.ends_with('@'))
    }
}

/// A mailbox's row: everything SELECT and STATUS tell, at a flat cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Its number.
    pub id: MailboxId,
    /// Whose it is.
    pub account: AccountId,
    /// Its name, UTF-8, levels separated by `/`; the inbox is `INBOX`.
    pub name: String,
    /// Its UIDVALIDITY; never changes.
    pub uid_validity: UidValidity,
    /// The UID that the next message will get at the least.
    pub uid_next: Uid,
    /// The highest modification sequence any change in it has taken; at least 1.
    pub highest_modseq: ModSeq,
    /// Messages in it.
    pub exists: u32,
    /// Messages in it without \Seen.
    pub unseen: u32,
    /// Messages in it with \Deleted.
    pub deleted: u32,
    /// Octets of all messages in it.
    pub size: u64,
    /// Messages from this UID on have been in no session yet: \Recent to the next one that selects it.
    pub recent_from: Uid,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
    /// Names of its keywords, by number (see [`Flags::keyword`]); spelled as first used, compared without case.
    pub keywords: Vec<String>,
    /// Expunges that are still known one by one.
    pub expunges_known: u32,
    /// The newest of those that no longer are.
    pub expunges_forgotten: ModSeq,
}

impl Mailbox {
    /// Whether its name was lost and another made up for it.
    pub fn is_made_up(&self) -> bool {
        let made_up = format!("{} {}", super::apply::RECOVERED_MAILBOX, self.id.0);
        self.name.strip_prefix(&made_up).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

/// A message in a mailbox, the small part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its UID.
    pub uid: Uid,
    /// Its flags.
    pub flags: Flags,
    /// The modification sequence of its last change.
    pub modseq: ModSeq,
    /// The message.
    pub message: MessageId,
}

/// A message, the part that never changes; copies share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its body.
    pub blob: BlobId,
    /// Octets of the body (RFC822.SIZE).
    pub size: u64,
    /// INTERNALDATE.
    pub internal_date: Date,
    /// What the mail room computed while it arrived (envelope, structure); opaque to the store.
    pub summary: Vec<u8>,
}

/// A moment and the zone it was given in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Date {
    /// Seconds since 1970, UTC.
    pub unix_s: i64,
    /// The zone's offset from UTC in minutes.
    pub zone_minutes: i16,
}

/// What happened in a mailbox after some modification sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Messages new or changed, and still there, ascending by modification sequence; at most as many as asked for.
    pub changed: Vec<Entry>,
    /// UIDs that are gone.
    pub expunged: UidSet,
    /// Everything up to here is told; ask again from here.
    pub upto: ModSeq,
    /// Whether there is more to ask for.
    pub more: bool,
}

/// How STORE combines the flags given with those there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagChange {
    /// FLAGS: exactly these.
    Replace,
    /// +FLAGS: these too.
    Add,
    /// -FLAGS: without these.
    Remove,
}

/// Flags as a client names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagNames {
    /// The system flags.
    pub system: Flags,
    /// Keywords by name.
    pub keywords: Vec<String>,
}

/// Why the store did not do it. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such account, mailbox, message, domain or alias.
    NotFound,
    /// There is one already.
    Exists,
    /// It cannot be done to this one (INBOX deleted, a parent into its own child, ...).
    NotAllowed,
    /// More than the store takes at once (messages of one COPY, keywords of a mailbox, mailboxes of an account).
    Limit,
    /// The account is full.
    OverQuota,
    /// The memory budget is spent; later.
    NoMemory,
    /// The disk is full; later.
    DiskFull,
    /// The store cannot write, or not read, now; the log says why.
    Unavailable,
    /// What was stored is damaged.
    Damaged,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_set_melts_what_touches() {
        let mut set: UidSet = [5, 1, 3, 2, 9].into_iter().map(Uid).collect();
        assert_eq!(set.ranges().len(), 3);
        set.insert(Uid(4));
        assert_eq!(set.ranges(), [range(1, 5), range(9, 9)]);
        set.insert_range(range(4, 12));
        assert_eq!(set.ranges(), [range(1, 12)]);
        set.remove_range(range(3, 4));
        assert_eq!(set.ranges(), [range(1, 2), range(5, 12)]);
        set.remove_range(range(1, 20));
        assert!(set.is_empty());
        set.insert(Uid(u32::MAX));
        set.insert(Uid(u32::MAX - 1));
        assert_eq!(set.len(), 2);
        assert!(set.contains(Uid(u32::MAX)) && !set.contains(Uid(7)));
    }

    #[test]
    fn what_is_missing_below_an_end_is_the_rest() {
        let set: UidSet = [2, 3, 7].into_iter().map(Uid).collect();
        let table = [
            (1, vec![]),
            (2, vec![range(1, 1)]),
            (3, vec![range(1, 1)]),
            (6, vec![range(1, 1), range(4, 5)]),
            (8, vec![range(1, 1), range(4, 6)]),
            (10, vec![range(1, 1), range(4, 6), range(8, 9)]),
        ];
        for (end, expected) in table {
            assert_eq!(set.missing_below(Uid(end)).ranges(), expected, "{end}");
        }
        assert_eq!(UidSet::new().missing_below(Uid(5)).ranges(), [range(1, 4)]);
        assert_eq!(UidSet::one(Uid(1)).missing_below(Uid(2)).ranges(), []);
        let pieces: Vec<usize> = set.pieces(1).map(|piece| piece.ranges().len()).collect();
        assert_eq!(pieces, [1, 1]);
    }

    fn range(first: u32, last: u32) -> UidRange {
        UidRange { first: Uid(first), last: Uid(last) }
    }
}
