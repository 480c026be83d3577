//! Settings for the system's scripts: `KEY='value'` lines for a shell. Pure.

use crate::base::hex;
use crate::config::{Board, Wifi};
use ring::pbkdf2;
use std::num::NonZeroU32;

/// The name in the local network when nobody says.
pub(super) const NAME: &str = "pigeon";

/// The lines.
pub(super) fn lines(board: &Board, hostname: &str) -> String {
    let join = |words: &mut dyn Iterator<Item = String>, between: &str| words.collect::<Vec<_>>().join(between);
    let wifi = board.wifi.as_ref();
    let of_wifi = |part: fn(&Wifi) -> String| wifi.map(part).unwrap_or_default();
    let truth = |holds: bool| if holds { "1".to_owned() } else { String::new() };
    let settings = [
        ("HOSTNAME", board.name.clone().unwrap_or_else(|| NAME.to_owned())),
        ("MAILNAME", hostname.to_owned()),
        ("ADDRESS", board.addresses.join(" ")),
        ("GATEWAY", board.gateway.map(|address| address.to_string()).unwrap_or_default()),
        ("DNS", join(&mut board.dns.iter().map(ToString::to_string), " ")),
        ("NTP", board.ntp.join(" ")),
        ("WIFI_SSID", of_wifi(|wifi| wifi.ssid.clone())),
        ("WIFI_SSID_HEX", of_wifi(|wifi| hex(wifi.ssid.as_bytes()))),
        ("WIFI_PSK", of_wifi(key_of)),
        ("WIFI_COUNTRY", of_wifi(|wifi| wifi.country.clone())),
        ("WIFI_HIDDEN", truth(wifi.is_some_and(|wifi| wifi.hidden))),
        ("SSH_KEY", board.ssh_keys.join("\n")),
    ];
    settings.iter().map(|(key, value)| format!("{key}='{}'\n", value.replace('\'', "'\\''"))).collect()
}

/// The network's key, 64 hexadecimal digits: PBKDF2 with HMAC-SHA-1, 4,096 passes (IEEE 802.11i, annex H.4); empty for an
/// open network.
pub(super) fn key_of(wifi: &Wifi) -> String {
    const PASSES: NonZeroU32 = match NonZeroU32::new(4096) {
        Some(passes) => passes,
        None => NonZeroU32::MIN,
    };
    // No passphrase is longer than 63: this is the key already.
    if wifi.password.is_empty() || wifi.password.len() == 64 {
        return wifi.password.to_ascii_lowercase();
    }
    let mut key = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA1, PASSES, wifi.ssid.as_bytes(), wifi.password.as_bytes(), &mut key);
    hex(&key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn wifi(ssid: &str, password: &str) -> Wifi {
        let (ssid, password) = (ssid.to_owned(), password.to_owned());
        Wifi { ssid, password, password_place: None, country: String::new(), hidden: false }
    }

    #[test]
    fn keys_are_those_of_the_standard() {
        // IEEE 802.11i, annex H.4.3.
        let rows = [
            ("IEEE", "password", "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"),
            ("ThisIsASSID", "ThisIsAPassword", "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af"),
        ];
        for (ssid, password, key) in rows {
            assert_eq!(key_of(&wifi(ssid, password)), key);
            assert_eq!(key_of(&wifi(ssid, key)), key, "a key stays what it is");
        }
        assert_eq!(key_of(&wifi("open", "")), "");
    }

    #[test]
    fn a_shell_reads_back_what_was_said() {
        let ssid = "it's $HOME `x` \\ \"q\" ü";
        let board = Board {
            wifi: Some(wifi(ssid, "")),
            ssh_keys: vec!["ssh-ed25519 A a'b".to_owned(), "ssh-rsa B".to_owned()],
            ..Board::default()
        };
        let script = format!(
            "{}printf '%s|%s|%s|%s' \"$WIFI_SSID\" \"$SSH_KEY\" \"$HOSTNAME\" \"$WIFI_HIDDEN\"",
            lines(&board, "m")
        );
        let said = Command::new("sh").args(["-eu", "-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("{ssid}|ssh-ed25519 A a'b\nssh-rsa B|pigeon|"));
    }
}
