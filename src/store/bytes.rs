//! How rows and events are written as bytes: varints, fixed little-endian integers, lengths before contents.
//! Reading is total: anything out of shape is `None`, never a panic and never more memory than the input is long.

use super::types::*;

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub(crate) struct Encoder(pub(crate) Vec<u8>);

/// Takes values from the front of a slice.
#[derive(Debug)]
pub(crate) struct Decoder<'a>(pub(crate) &'a [u8]);

/// What can be written and read back.
pub(crate) trait Code: Sized {
    /// Appends the value.
    fn put(&self, to: &mut Encoder);
    /// Takes a value; nothing when the bytes are not one.
    fn get(from: &mut Decoder<'_>) -> Option<Self>;
}

impl Encoder {
    /// Appends one value.
    pub(crate) fn put(&mut self, value: &impl Code) -> &mut Self {
        value.put(self);
        self
    }

    /// LEB128: seven bits a byte, lowest first.
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    /// A length and so many bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

impl<'a> Decoder<'a> {
    /// Takes one value.
    pub(crate) fn get<T: Code>(&mut self) -> Option<T> {
        T::get(self)
    }

    /// Takes exactly `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(front)
    }

    /// Takes a LEB128 number.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(*self.take(1)?.first()?);
            let bits = byte & 0x7f;
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Takes a length and so many bytes.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let n = usize::try_from(self.varint()?).ok()?;
        self.take(n)
    }

    /// Takes four bytes, little-endian.
    pub(crate) fn fixed_u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// Takes eight bytes, little-endian.
    pub(crate) fn fixed_u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// Whether everything was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Code for u64 {
    fn put(&self, to: &mut Encoder) {
        to.varint(*self);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        from.varint()
    }
}

impl Code for u32 {
    fn put(&self, to: &mut Encoder) {
        to.varint(u64::from(*self));
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        u32::try_from(from.varint()?).ok()
    }
}

impl Code for u8 {
    fn put(&self, to: &mut Encoder) {
        to.0.push(*self);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        from.take(1)?.first().copied()
    }
}

impl Code for bool {
    fn put(&self, to: &mut Encoder) {
        to.0.push(u8::from(*self));
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        match u8::get(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

/// Zigzag: small numbers of either sign are short.
impl Code for i64 {
    fn put(&self, to: &mut Encoder) {
        to.varint(((self << 1) ^ (self >> 63)).cast_unsigned());
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        let n = from.varint()?;
        Some((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }
}

impl Code for Vec<u8> {
    fn put(&self, to: &mut Encoder) {
        to.bytes(self);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        from.bytes().map(<[u8]>::to_vec)
    }
}

impl Code for String {
    fn put(&self, to: &mut Encoder) {
        to.bytes(self.as_bytes());
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        std::str::from_utf8(from.bytes()?).ok().map(str::to_owned)
    }
}

/// A list of anything whose code is at least one byte long.
pub(crate) fn put_list<T: Code>(to: &mut Encoder, list: &[T]) {
    to.varint(list.len() as u64);
    for item in list {
        item.put(to);
    }
}

/// Takes a list; its length is believed only as far as bytes are left.
pub(crate) fn get_list<T: Code>(from: &mut Decoder<'_>) -> Option<Vec<T>> {
    let n = usize::try_from(from.varint()?).ok()?;
    if n > from.0.len() {
        return None;
    }
    let mut list = Vec::with_capacity(n);
    for _ in 0..n {
        list.push(T::get(from)?);
    }
    Some(list)
}

impl Code for AccountId {
    fn put(&self, to: &mut Encoder) {
        self.0.put(to);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        from.get().map(Self)
    }
}

impl Code for MailboxId {
    fn put(&self, to: &mut Encoder) {
        self.0.put(to);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        from.get().map(Self)
    }
}

impl Code for Uid {
    fn put(&self, to: &mut Encoder) {
        self.0.put(to);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        from.get().map(Self)
    }
}

impl Code for UidValidity {
    fn put(&self, to: &mut Encoder) {
        self.0.put(to);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        from.get().map(Self)
    }
}

impl Code for ModSeq {
    fn put(&self, to: &mut Encoder) {
        self.0.put(to);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        from.get().map(Self)
    }
}

impl Code for MessageId {
    fn put(&self, to: &mut Encoder) {
        self.0.put(to);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        from.get().map(Self)
    }
}

impl Code for BlobId {
    fn put(&self, to: &mut Encoder) {
        self.0.put(to);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        from.get().map(Self)
    }
}

impl Code for Flags {
    fn put(&self, to: &mut Encoder) {
        self.0.put(to);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        from.get().map(Self)
    }
}

impl Code for FlagNames {
    fn put(&self, to: &mut Encoder) {
        self.system.put(to);
        put_list(to, &self.keywords);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self { system: from.get()?, keywords: get_list(from)? })
    }
}

impl Code for Date {
    fn put(&self, to: &mut Encoder) {
        self.unix_s.put(to);
        i64::from(self.zone_minutes).put(to);
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(Self { unix_s: from.get()?, zone_minutes: i16::try_from(i64::get(from)?).ok()? })
    }
}

impl Code for Option<SpecialUse> {
    fn put(&self, to: &mut Encoder) {
        to.0.push(match self {
            None => 0,
            Some(SpecialUse::Archive) => 1,
            Some(SpecialUse::Drafts) => 2,
            Some(SpecialUse::Junk) => 3,
            Some(SpecialUse::Sent) => 4,
            Some(SpecialUse::Trash) => 5,
        });
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(match u8::get(from)? {
            0 => None,
            1 => Some(SpecialUse::Archive),
            2 => Some(SpecialUse::Drafts),
            3 => Some(SpecialUse::Junk),
            4 => Some(SpecialUse::Sent),
            5 => Some(SpecialUse::Trash),
            _ => return None,
        })
    }
}

impl Code for FlagChange {
    fn put(&self, to: &mut Encoder) {
        to.0.push(match self {
            Self::Replace => 0,
            Self::Add => 1,
            Self::Remove => 2,
        });
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        Some(match u8::get(from)? {
            0 => Self::Replace,
            1 => Self::Add,
            2 => Self::Remove,
            _ => return None,
        })
    }
}

/// Ranges as the gap after the one before and the length, so that a run costs two bytes.
impl Code for UidSet {
    fn put(&self, to: &mut Encoder) {
        to.varint(self.ranges().len() as u64);
        let mut after = 0;
        for range in self.ranges() {
            to.varint(u64::from(range.first.0.wrapping_sub(after)));
            to.varint(u64::from(range.last.0.wrapping_sub(range.first.0)));
            after = range.last.0;
        }
    }
    fn get(from: &mut Decoder<'_>) -> Option<Self> {
        let mut set = Self::new();
        let mut after = 0u32;
        for _ in 0..from.varint()? {
            let first = after.checked_add(from.get()?)?;
            let last = first.checked_add(from.get()?)?;
            set.insert_range(UidRange { first: Uid(first), last: Uid(last) });
            after = last;
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_read_back(unsigned: u64, signed: i64, small: u32) {
            let mut to = Encoder::default();
            to.put(&unsigned).put(&signed).put(&small);
            let mut from = Decoder(&to.0);
            prop_assert_eq!(from.get::<u64>(), Some(unsigned));
            prop_assert_eq!(from.get::<i64>(), Some(signed));
            prop_assert_eq!(from.get::<u32>(), Some(small));
            prop_assert!(from.is_empty());
        }

        #[test]
        fn uid_sets_read_back(uids in proptest::collection::vec(any::<u32>(), 0..50), run in 0u32..500) {
            let mut set: UidSet = uids.into_iter().map(Uid).collect();
            set.insert_range(UidRange { first: Uid(1), last: Uid(1 + run) });
            let mut to = Encoder::default();
            to.put(&set);
            prop_assert_eq!(Decoder(&to.0).get::<UidSet>(), Some(set));
        }

        #[test]
        fn garbage_is_none_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            drop(Decoder(&bytes).get::<UidSet>());
            drop(Decoder(&bytes).get::<FlagNames>());
            drop(Decoder(&bytes).get::<String>());
        }
    }

    #[test]
    fn a_number_longer_than_64_bits_is_refused() {
        assert_eq!(Decoder(&[0xff; 10]).varint(), None);
        assert_eq!(Decoder(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).varint(), Some(u64::MAX));
    }
}
