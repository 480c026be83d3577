//! Copies that editors and people leave beside a file whose passwords were erased (`pigeon.toml~`): told, not touched.

use super::erase::FILE_BYTES_MAX;
use super::files::{Files, Folder, read};
use crate::config::Problem;
use memchr::memmem;

/// Files of the folder that are looked at.
const FILES_MAX: usize = 256;
/// A shorter password is looked for with its quotes: without them it may be a part of any word.
const BARE_BYTES_MIN: usize = 10;

/// A warning for each file in the card's root, but `ours`, that holds one of these values (which have their quotes).
pub(super) fn find(card: &Folder, ours: &[&str], secrets: &[String]) -> Vec<Problem> {
    let wanted: Vec<&str> = secrets.iter().map(|secret| without_quotes(secret)).collect();
    let names = card.names(FILES_MAX).unwrap_or_default();
    let is_copy = |name: &String| {
        let is_small = card.len(name).is_ok_and(|length| length.is_some_and(|length| length <= FILE_BYTES_MAX as u64));
        !ours.contains(&name.as_str())
            && is_small
            && read(card, name, FILE_BYTES_MAX).is_ok_and(|octets| holds(&octets, &wanted))
    };
    names.into_iter().filter(is_copy).map(|name| told(&name)).collect()
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
    wanted.iter().any(|secret| {
        let is_quoted = |quote: char| memmem::find(octets, format!("{quote}{secret}{quote}").as_bytes()).is_some();
        match secret.len() {
            0 => false,
            length if length < BARE_BYTES_MIN => is_quoted('"') || is_quoted('\''),
            _ => memmem::find(octets, secret.as_bytes()).is_some(),
        }
    })
}
