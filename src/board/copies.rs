//! Copies that editors, people and desktops leave beside a file whose passwords were erased (`pigeon.toml~`,
//! `.Trash-1000/files/pigeon.toml`): told, not touched.

use super::erase::FILE_BYTES_MAX;
use super::files::{Files, Folder, read};
use super::text::decode;
use crate::config::Problem;
use memchr::memmem;

/// Files of one folder that are looked at.
const FILES_MAX: usize = 256;
/// Folders of trash that are looked into.
const FOLDERS_MAX: usize = 32;
/// How what desktops move files to on a card is called: freedesktop.org's trash, macOS's, Windows's.
const TRASH: [&str; 2] = [".trash", "$recycle.bin"];
/// A shorter password is looked for with its quotes: without them it may be a part of any word.
const BARE_BYTES_MIN: usize = 10;

/// A warning for each file in the card's root, but `ours`, and in its trash that holds one of these values (which have
/// their quotes).
pub(super) fn find(card: &Folder, ours: &[&str], secrets: &[String]) -> Vec<Problem> {
    let wanted: Vec<&str> = secrets.iter().map(|secret| without_quotes(secret)).collect();
    let folders = std::iter::once(String::new()).chain(trash(card));
    let names = folders.flat_map(|folder| card.names(&folder, FILES_MAX).unwrap_or_default());
    let is_copy = |name: &String| {
        let is_small = card.len(name).is_ok_and(|length| length.is_some_and(|length| length <= FILE_BYTES_MAX as u64));
        !ours.contains(&name.as_str())
            && is_small
            && read(card, name, FILE_BYTES_MAX).is_ok_and(|octets| holds(&octets, &wanted))
    };
    names.filter(is_copy).map(|name| told(&name)).collect()
}

/// Folders of trash in the card's root, and those in them: `.Trash-1000/files`, `.Trashes/501`.
fn trash(card: &Folder) -> Vec<String> {
    let folders = |of: &str| card.folders(of, FOLDERS_MAX).unwrap_or_default();
    let is_trash = |name: &String| TRASH.iter().any(|begin| name.to_ascii_lowercase().starts_with(begin));
    let found = folders("").into_iter().filter(is_trash);
    found.flat_map(|folder| [vec![folder.clone()], folders(&folder)].concat()).take(FOLDERS_MAX).collect()
}

fn told(name: &str) -> Problem {
    let message = format!("{} on the card holds a password that was taken over", name.escape_debug());
    Problem::warning(None, message, "remove that file, and give another password: who has the card may read it")
}

fn without_quotes(value: &str) -> &str {
    value.trim_matches(['"', '\''])
}

fn holds(octets: &Option<Vec<u8>>, wanted: &[&str]) -> bool {
    let Some(octets) = octets else { return false };
    let text = decode(octets.clone());
    let octets = text.as_ref().map_or(&octets[..], String::as_bytes);
    wanted.iter().any(|secret| {
        let is_quoted = |quote: char| memmem::find(octets, format!("{quote}{secret}{quote}").as_bytes()).is_some();
        match secret.len() {
            0 => false,
            length if length < BARE_BYTES_MIN => is_quoted('"') || is_quoted('\''),
            _ => memmem::find(octets, secret.as_bytes()).is_some(),
        }
    })
}
