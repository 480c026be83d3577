//! IMAP4rev1 (RFC 3501) and its extensions: a grammar, and a session that speaks it over the store.

pub mod grammar;

mod append;
mod auth;
mod capability;
mod copy_move;
mod expunge;
mod failure;
mod fetch;
mod idle;
mod input;
mod list;
mod mailboxes;
mod search;
mod search_plan;
mod sections;
mod select;
mod session;
mod status;
mod store_flags;
mod sync;
mod view;

pub use session::{Context, serve};

#[cfg(test)]
mod tests;
