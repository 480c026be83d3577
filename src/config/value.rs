//! Values as the file writes them: sizes, durations, addresses, host names.

use std::net::SocketAddr;
use std::time::Duration;

/// `24 MiB`, `512 KiB`, `100 MB`, `4096 B`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// `3 ms`, `1 s`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    match number_and_unit(text)? {
        (number, "ms") => Some(Duration::from_millis(number)),
        (number, "s") => Some(Duration::from_secs(number)),
        _ => None,
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let (number, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// `[::]:25`, `192.0.2.1:25`; the error says what is wrong with it.
pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 { Err("port 0 is no port") } else { Ok(address) };
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Err("the port is missing");
    }
    if text.parse::<u16>().is_ok() {
        return Err("the address is missing");
    }
    match text.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_err() => Err("the port must be a number up to 65535"),
        Some((host, _)) if is_host_name(host) => Err("this is a name, and an IP address is needed"),
        _ => Err("this is no address with a port"),
    }
}

/// Whether this can be a host name: labels of letters, digits and hyphens (RFC 1123 2.1), not an IP address.
pub fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
    };
    // A last label of digits alone would be an IPv4 address.
    let is_number = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|octet| octet.is_ascii_digit()));
    text.len() <= 253 && !is_number && text.split('.').all(label)
}

/// Bytes for people: the largest unit that keeps a number of at most four digits, one decimal below ten.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, factor) in UNITS {
        if bytes >= factor {
            let tenths = bytes / (factor / 10).max(1);
            let (whole, rest) = (bytes / factor, bytes % factor);
            return if whole < 10 && rest != 0 {
                format!("{}.{} {unit}", tenths.min(99) / 10, tenths.min(99) % 10)
            } else {
                format!("{whole} {unit}")
            };
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        let table = [
            ("24 MiB", Some(24 << 20)),
            ("24MiB", Some(24 << 20)),
            ("100 MB", Some(100_000_000)),
            ("0 B", Some(0)),
            ("24", None),
            ("MiB", None),
            ("1.5 MiB", None),
            ("-1 MiB", None),
            ("24 mib", None),
            ("99999999999 TiB", None),
            ("", None),
        ];
        for (text, bytes) in table {
            assert_eq!(size(text), bytes, "{text}");
        }
    }

    #[test]
    fn addresses_have_an_ip_and_a_port() {
        assert_eq!(address("[::]:25").unwrap().port(), 25);
        assert_eq!(address("192.0.2.1:2525").unwrap().port(), 2525);
        let table = [
            ("192.0.2.1", "port is missing"),
            ("::1", "port is missing"),
            ("25", "address is missing"),
            ("localhost:25", "a name"),
            ("192.0.2.1:99999", "up to 65535"),
            ("192.0.2.1:0", "port 0"),
            ("???", "no address"),
            ("", "no address"),
        ];
        for (text, words) in table {
            assert!(address(text).unwrap_err().contains(words), "{text}: {:?}", address(text));
        }
    }

    #[test]
    fn host_names_are_those_of_rfc_1123() {
        for good in ["localhost", "mail.example.org", "3com.example", "xn--bcher-kva.example", "a-b.c"] {
            assert!(is_host_name(good), "{good}");
        }
        let long = "a".repeat(64);
        for bad in
            ["", ".", "mail.", "-a.example", "a b", "a_b.example", "192.0.2.1", "mail..org", "bücher.example", &long]
        {
            assert!(!is_host_name(bad), "{bad}");
        }
    }

    #[test]
    fn bytes_are_written_for_people() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (24 << 20, "24 MiB"),
            ((1 << 30) - 1, "1023 MiB"),
            (10 << 40, "10 TiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
