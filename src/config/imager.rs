//! The file that Raspberry Pi Imager leaves on a card (`rpi-preseed.toml`, before that `custom.toml`): `[system] hostname`, `[user]
//! name password`, `[ssh] authorized_keys`, `[wlan] ssid password country hidden`. What it says of locale, keyboard and
//! interfaces is nothing to a mail server and is passed over.

use super::board::{Board, BoardAccount, LABEL, NO_SSID, Wifi, is_ssh_key, is_ssid, is_wifi_password};
use super::is_host_name;
use super::problem::Problem;
use super::read::{Places, Reader};
use std::path::Path;
use toml::de::DeTable;

/// Reads Imager's file as far as it is good. The account's address is a local part alone: Imager knows no mail addresses.
pub fn read_imager(text: &str) -> (Board, Places, Vec<Problem>) {
    let mut reader = Reader::new(text, Path::new(""), true);
    let table = reader.table(|_, _| "write the card again, or use pigeon.toml");
    let board = reader.imager(table.get_ref());
    (board, reader.places, reader.problems)
}

impl Reader<'_> {
    fn imager(&mut self, root: &DeTable<'_>) -> Board {
        const REMEDY: &str = "set it in Raspberry Pi Imager again, or write it into pigeon.toml";
        let name = self.string(root, "system", "hostname", REMEDY).and_then(|(name, place)| {
            // What stands behind the first dot is no part of the machine's own name.
            let label = name.split('.').next().unwrap_or_default().to_owned();
            let shown = self.shown(&name, &place);
            self.demand(is_host_name(&label), place, || format!("{shown} is no name for a machine"), LABEL)
                .then_some(label)
        });
        let mut board = Board { name, ..Board::default() };
        self.imager_user(root, &mut board);
        // Keys beside a service that is switched off are no wish for it.
        let is_off = self.value(root, "ssh", "enabled").is_some_and(|value| value.get_ref().as_bool() == Some(false));
        for (key, place) in self.list_of(root, "ssh", "authorized_keys", REMEDY) {
            let key = key.trim().to_owned();
            if self.demand(is_ssh_key(&key), place, || "this is no public key for ssh".to_owned(), REMEDY) && !is_off {
                board.ssh_keys.push(key);
            }
        }
        if let Some((_, place)) = self.string(root, "connect", "token", REMEDY).filter(|(token, _)| !token.is_empty()) {
            board.stale.push(place);
        }
        board.wifi = self.imager_wlan(root, REMEDY);
        board
    }

    fn imager_user(&mut self, root: &DeTable<'_>, board: &mut Board) {
        const REMEDY: &str =
            "write account = \"name@example.org\" and password = \"...\" below [board] in pigeon.toml on this card";
        let is_hash = self.truth(root, "user", "password_encrypted");
        let name = self.string(root, "user", "name", REMEDY);
        let Some((password, at)) = self.password(root, "user", REMEDY).filter(|(text, _)| !text.is_empty()) else {
            return;
        };
        match name {
            Some((address, place)) if !is_hash && !password.starts_with('$') => {
                board.accounts.push(BoardAccount { address, place, password, password_place: Some(at) });
            }
            // Good for a login at a terminal, which there is none of here.
            _ => {
                self.warn(
                    at.clone(),
                    "Imager gives a hash of the password, of which no mail account can be made",
                    REMEDY,
                );
                board.stale.push(at);
            }
        }
    }

    fn imager_wlan(&mut self, root: &DeTable<'_>, remedy: &str) -> Option<Wifi> {
        let (ssid, place) = self.string(root, "wlan", "ssid", remedy).filter(|(ssid, _)| !ssid.is_empty())?;
        if !self.demand(is_ssid(&ssid), place, || NO_SSID.to_owned(), remedy) {
            return None;
        }
        let (password, password_place) = match self.password(root, "wlan", remedy) {
            Some((password, place)) => (password, Some(place)),
            None if self.has_torn() || self.places.of("wlan.password").is_some() => return None,
            None => (String::new(), None),
        };
        if let Some(place) = password_place.clone()
            && !self.demand(is_wifi_password(&password), place, || "this is no Wi-Fi password".to_owned(), remedy)
        {
            return None;
        }
        let country = self.string(root, "wlan", "country", remedy).map_or(String::new(), |(country, _)| country);
        let is_country = country.len() == 2 && country.bytes().all(|octet| octet.is_ascii_alphabetic());
        let country = if is_country { country.to_ascii_uppercase() } else { String::new() };
        let hidden = self.truth(root, "wlan", "hidden");
        Some(Wifi { ssid, password, password_place, country, hidden })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_imager_writes_is_read() {
        let psk = "0123456789abcdef".repeat(4);
        let text = format!(
            "config_version = \"1.0\"\n\n[system]\nhostname = \"post\"\n\n[user]\nname = \"alice\"\npassword = \"$y$j9T$abc$def\"\n\
             password_encrypted = true\ngroups = [\"sudo\"]\n\n[ssh]\nenabled = true\npassword_authentication = false\n\
             authorized_keys = [\n  \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB a@b\",\n]\n\n[wlan]\nssid = \"home\"\n\
             password = \"{psk}\"\npassword_encrypted = true\nhidden = false\ncountry = \"GB\"\n\n[locale]\nkeymap = \"gb\"\n"
        );
        let (board, _, problems) = read_imager(&text);
        assert_eq!((board.name.as_deref(), board.ssh_keys.len(), board.accounts.len()), (Some("post"), 1, 0));
        let wifi = board.wifi.unwrap();
        assert_eq!((wifi.ssid.as_str(), wifi.password.as_str(), wifi.country.as_str()), ("home", psk.as_str(), "GB"));
        // The hash is told to be of no use, and is to be erased.
        assert_eq!((problems.len(), problems[0].line(&text)), (1, Some(8)));
        assert_eq!(text.get(board.stale[0].clone()), Some("\"$y$j9T$abc$def\""));
    }

    #[test]
    fn keys_are_taken_unless_ssh_is_switched_off() {
        let key = "authorized_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB a@b\"]\n";
        for (line, keys) in [("", 1), ("enabled = true\n", 1), ("enabled = false\n", 0)] {
            assert_eq!(read_imager(&format!("[ssh]\n{line}{key}")).0.ssh_keys.len(), keys, "{line}");
        }
    }

    #[test]
    fn a_networks_name_is_held_to_its_rules() {
        for (ssid, networks, mistakes) in [("home", 1, 0), ("", 0, 0), ("a\\u0007b", 0, 1), (&"a".repeat(33), 0, 1)] {
            let (board, _, problems) = read_imager(&format!("[wlan]\nssid = \"{ssid}\"\n"));
            assert_eq!((board.wifi.iter().count(), problems.len()), (networks, mistakes), "{ssid:?}: {problems:?}");
        }
    }

    #[test]
    fn a_plain_password_makes_an_account() {
        let (board, _, problems) = read_imager("[user]\nname = \"alice\"\npassword = \"wonderland-7\"\n");
        assert_eq!((board.accounts[0].address.as_str(), problems.len()), ("alice", 0));
    }
}
