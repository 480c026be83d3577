//! Files in the card's root by which other images are set up, and `pigeon.toml` as a word processor saves it: nothing
//! here reads them, so whoever wrote one is told. Their content is not looked at.

use super::files::Folder;
use crate::config::Problem;

/// What Raspberry Pi OS reads, or did, and its Imager writes (cloud-init's `user-data` and `network-config`, too).
const OF_OTHERS: [&str; 8] =
    ["firstrun.sh", "user-data", "network-config", "wpa_supplicant.conf", "userconf", "userconf.txt", "ssh", "ssh.txt"];
/// How names end that word processors and editors give to `pigeon.toml`, or to `pigeon`.
const ENDS: [&str; 5] = [".rtf", ".doc", ".docx", ".odt", ".txt"];
/// Ours, and read (`sources`).
const OURS: &str = "pigeon.toml.txt";
/// Files of the card's root that are looked at.
const FILES_MAX: usize = 256;

/// One warning that names all of them.
pub(super) fn find(card: &Folder) -> Option<Problem> {
    let mut names = card.names("", FILES_MAX).unwrap_or_default();
    names.retain(|name| is_unread(&name.to_ascii_lowercase()));
    names.sort();
    if names.is_empty() {
        return None;
    }
    let message = format!("not read here: {}", names.join(", ").escape_debug());
    let remedy = "write what it says into pigeon.toml, and remove it from the card: it may hold a password";
    Some(Problem::warning(None, message, remedy))
}

fn is_unread(name: &str) -> bool {
    let is_ours_in_another_form = name.starts_with("pigeon.") && ENDS.iter().any(|end| name.ends_with(end));
    OF_OTHERS.contains(&name) || (is_ours_in_another_form && name != OURS)
}
