//! The message itself: addresses, header fields, dates, structure, decoding for search. Everything here is pure: bytes
//! in, values out. Never touches sockets, files or clocks, never holds a whole message.

mod address;
mod addresses;
mod charset;
mod content;
mod date;
mod gather;
mod header;
mod matcher;
mod pack;
mod scanner;
mod section;
mod summary;
mod text;
mod transfer;
mod words;

pub use address::{ADDRESS_BYTES_MAX, Address, AddressError, DOMAIN_BYTES_MAX, LOCAL_BYTES_MAX};
pub use charset::{Charset, charset_names, decode_key, knows_charset};
pub use date::{
    day, parse_imap_date, parse_imap_date_time, parse_message_date, print_imap_date_time, print_message_date,
};
pub use header::{Field, FieldFilter, FieldNames, fields, unfold};
pub use matcher::Matcher;
pub use scanner::{DEPTH_MAX, FIELD_BYTES_MAX, PARTS_MAX, Scanner};
pub use section::Wanted;
pub use summary::{
    Content, Damaged, Disposition, Envelope, EnvelopeAddress, Message, Parameter, Part, SUMMARY_BYTES_MAX, Span,
    Summary,
};
pub use text::{HeaderText, TextEvent, TextWalk};
pub use transfer::{Encoding, Transfer};
pub use words::decode_words;
