//! The line that separates the messages of an mbox (RFC 4155 appendix A): `From sender date`, the date as asctime writes it.
//! Where a zone follows, as many programs write it, the date is of that zone; else it is UTC.

use crate::mail::{parse_message_date, print_message_date};
use crate::store::Date;

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Words of a line that are looked at; a sender may have spaces in it.
const WORDS_MAX: usize = 64;

/// The date of a separator, whose line starts with `From `; nothing when it has none, and so may be text.
pub(super) fn parse_from_line(line: &[u8]) -> Option<Date> {
    let text = std::str::from_utf8(line.strip_prefix(b"From ")?).ok()?;
    let words: Vec<&str> = text.split_ascii_whitespace().take(WORDS_MAX).collect();
    // The sender may be a weekday, too: the last one counts.
    let at = words.iter().rposition(|word| WEEKDAYS.contains(word))?;
    let (month, day, time, rest) = match words.get(at + 1..)? {
        [month, day, time, rest @ ..] if time.contains(':') => (month, day, time, rest),
        _ => return None,
    };
    // Seconds may be missing, and year and zone come in either order.
    let seconds = if time.matches(':').count() == 1 { ":00" } else { "" };
    let is_year = |word: &&&str| word.len() == 4 && word.bytes().all(|octet| octet.is_ascii_digit());
    let year = rest.iter().find(is_year)?;
    let zone = rest.iter().find(|word| **word != *year && is_zone(word)).copied().unwrap_or("+0000");
    parse_message_date(format!("{day} {month} {year} {time}{seconds} {zone}").as_bytes())
}

fn is_zone(word: &str) -> bool {
    let is_number = |rest: &str| rest.len() == 4 && rest.bytes().all(|octet| octet.is_ascii_digit());
    word.strip_prefix(['+', '-']).is_some_and(is_number)
        || (2..=5).contains(&word.len()) && word.bytes().all(|octet| octet.is_ascii_uppercase())
}

/// A separator without its line end.
pub(in crate::cli) fn print_from_line(date: Date) -> String {
    // Fri, 21 Nov 1997 09:55:06 -0600
    let printed = print_message_date(date);
    let words: Vec<&str> = printed.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let [weekday, day, month, year, time, zone] = words.as_slice() else {
        return "From MAILER-DAEMON Thu Jan  1 00:00:00 1970".to_owned();
    };
    let zone = if *zone == "+0000" { String::new() } else { format!(" {zone}") };
    format!("From MAILER-DAEMON {weekday} {month} {day:>2} {time} {year}{zone}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_many_programs_have_a_date() {
        for (line, unix_s, zone_minutes, why) in [
            ("From MAILER-DAEMON Fri Jul  8 12:08:34 2011", 1_310_126_914, 0, "RFC 4155 and Python"),
            ("From alice@example.org Thu Nov 29 22:33:52 2001 +0200", 1_007_066_032, 120, "Dovecot, zone behind"),
            ("From 1573@xxx Fri Jul 08 12:08:34 +0000 2011", 1_310_126_914, 0, "Google Takeout, zone before the year"),
            ("From - Fri Jul  8 12:08:34 2011\r", 1_310_126_914, 0, "Thunderbird, on Windows"),
            ("From bob Fri Jul  8 12:08 2011", 1_310_126_880, 0, "no seconds"),
            ("From bob Fri Jul  8 12:08:34 EDT 2011", 1_310_141_314, -240, "a zone by name, as UUCP had it"),
            ("From Fri Fri Jul  8 12:08:34 2011", 1_310_126_914, 0, "a sender named like a day"),
            ("From a b c Fri Jul  8 12:08:34 2011 remote from x", 1_310_126_914, 0, "spaces, and a trailer"),
        ] {
            assert_eq!(parse_from_line(line.as_bytes()), Some(Date { unix_s, zone_minutes }), "{why}");
        }
    }

    #[test]
    fn text_has_none() {
        for line in [
            "From here on it is text",
            "From Monday on",
            "From Fri Jul 8",
            "From bob Fri Jul 8 12:08:34",
            "from x",
            "From ",
        ] {
            assert_eq!(parse_from_line(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses(unix_s in -62_000_000_000_i64..253_000_000_000, zone_minutes in -1439_i16..1440) {
            let date = Date { unix_s, zone_minutes };
            prop_assert_eq!(parse_from_line(print_from_line(date).as_bytes()), Some(date));
        }

        #[test]
        fn octets_never_panic(line in any::<Vec<u8>>()) {
            let _ = parse_from_line(&[b"From ", line.as_slice()].concat());
        }
    }
}
