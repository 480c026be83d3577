//! The formats in which mail is kept elsewhere: mbox, Maildir, folders of .eml files. Pure: octets and names in, octets and
//! names out; [`super::import`] and [`super::export`] have the files.

mod from_line;
mod heading;
mod index;
mod lines;
mod maildir;
mod mbox;
mod names;

pub(super) use from_line::print_from_line;
pub(super) use heading::{Heading, put_top};
pub(super) use index::{IndexLine, put_index_line};
pub(super) use lines::{ToCrlf, ToLf};
pub(super) use maildir::{MaildirName, folder_name, keyword_letters, mailbox_of_folder, put_name, sort_key};
pub(super) use mbox::{Piece, Quoter, Splitter};
pub(super) use names::{mailbox_of_path, path_of_mailbox, position_name};
