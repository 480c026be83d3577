//! IMAP4rev1 (RFC 3501) and its extensions: a grammar, and a session that speaks it over the store.

pub mod grammar;
