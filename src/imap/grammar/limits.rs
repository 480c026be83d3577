//! Every bound of the IMAP grammar, by name, with its reason.

/// A command in all: its lines and the literals inside it, but not a message. Enough for a phone's list of some 9,000 UIDs.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;
/// A literal inside a command: a password, a mailbox name, a search text. A message has its own bound.
pub const LITERAL_BYTES_MAX: usize = 64 * 1024;
/// A literal sent without waiting (RFC 7888) that is too long is read and thrown away up to here; beyond, the
/// connection ends.
pub const DISCARD_BYTES_MAX: u64 = 1024 * 1024;
/// Literals in one command: a LOGIN has two, an ID sixty.
pub const LITERALS_MAX: usize = 100;
/// A tag; clients use four to ten octets.
pub const TAG_BYTES_MAX: usize = 64;
/// A number of any size is shorter.
pub const NUMBER_DIGITS_MAX: usize = 20;
/// Ranges in a sequence set, after neighbours melted: 64 KiB of scattered UIDs of seven digits.
pub const SET_RANGES_MAX: usize = 8_192;
/// Items in one FETCH; fetchmail and Apple Mail ask for up to ten.
pub const FETCH_ITEMS_MAX: usize = 64;
/// Header names in one FETCH, over all its items; Thunderbird asks for about twenty.
pub const HEADER_FIELDS_MAX: usize = 256;
/// A header field's name (RFC 5322 2.1.1: a line has at most 998 octets).
pub const FIELD_NAME_BYTES_MAX: usize = 998;
/// Numbers in BODY[1.2.3]: the structure scanner goes no deeper.
pub const SECTION_DEPTH_MAX: usize = 64;
/// Keys in one SEARCH.
pub const SEARCH_KEYS_MAX: usize = 1_000;
/// Levels of a search after chains of OR, AND and NOT have been flattened.
pub const SEARCH_DEPTH_MAX: usize = 32;
/// Flags in one list.
pub const FLAGS_MAX: usize = 100;
/// A keyword's name.
pub const KEYWORD_BYTES_MAX: usize = 128;
/// Patterns in one LIST (RFC 5258).
pub const LIST_PATTERNS_MAX: usize = 16;
/// A LIST pattern, its reference included.
pub const PATTERN_BYTES_MAX: usize = 1_024;
/// A mailbox name as UTF-8.
pub const MAILBOX_BYTES_MAX: usize = 1_000;
/// Levels of a mailbox name.
pub const MAILBOX_DEPTH_MAX: usize = 32;
/// Pairs in ID (RFC 2971 3.3).
pub const ID_PAIRS_MAX: usize = 30;
/// A field's name in ID (RFC 2971 3.3).
pub const ID_FIELD_BYTES_MAX: usize = 30;
/// A field's value in ID (RFC 2971 3.3).
pub const ID_VALUE_BYTES_MAX: usize = 1_024;
/// Capabilities in one ENABLE.
pub const ENABLE_MAX: usize = 32;
/// Attributes in one STATUS.
pub const STATUS_ITEMS_MAX: usize = 32;
/// A string longer than this is printed as a literal (some clients read quoted strings into small buffers).
pub const QUOTED_BYTES_MAX: usize = 1_000;

const _: () = assert!(LITERAL_BYTES_MAX <= COMMAND_BYTES_MAX);
const _: () = assert!((LITERAL_BYTES_MAX as u64) < DISCARD_BYTES_MAX);

/// A command before login, its literals included: room for the longest name and password that an account can have, in any
/// of their forms. Of an ID that is longer nothing is kept.
pub const STRANGER_BYTES_MAX: usize = 3 * 1024;
