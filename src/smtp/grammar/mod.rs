//! SMTP's grammar: a line becomes a [`Command`], a [`Reply`] becomes lines. Pure: never touches sockets, files or clocks.

mod command;
mod parse;
mod path;
mod reply;

pub use command::{Body, Command, ForwardPath, Mail, Mistake};
pub use parse::parse;
pub use reply::{Features, Reply};
