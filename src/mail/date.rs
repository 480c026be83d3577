//! Dates: of header fields (RFC 5322 3.3, and 4.3 obsolete) and of IMAP (RFC 3501 date-time and date). Reads no clock.

use crate::store::Date;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// From 1970-01-01, a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY_S: i64 = 86_400;
/// Comments of a date nest so deep at the most.
const COMMENT_DEPTH_MAX: u32 = 32;
/// Tokens of a date that are looked at: day name, comma, day, month, year, time of up to five tokens, zone, and the same
/// again for what broken programs add.
const TOKENS_MAX: usize = 24;

/// Parses a date as header fields have it: obsolete zones, two-digit years, comments and missing day names included.
/// A date without a time is midnight, one without a zone is UTC.
pub fn parse_message_date(text: &[u8]) -> Option<Date> {
    let tokens = tokens(text);
    let mut rest = tokens.as_slice();
    // The day's name says nothing: it is passed over wherever it stands, with its comma.
    while let [Token::Word(_) | Token::Mark(b','), after @ ..] = rest {
        let Some(Token::Word(word)) = rest.first() else {
            rest = after;
            continue;
        };
        if month(word).is_some() {
            break;
        }
        rest = after;
    }
    let (day, month, year, rest) = match rest {
        [Token::Number(d, _), Token::Word(m), Token::Number(y, width), rest @ ..] => {
            (*d, month(m)?, year(*y, *width)?, rest)
        }
        // 21-Nov-97, as mailers of the eighties wrote it.
        [
            Token::Number(d, _),
            Token::Mark(b'-'),
            Token::Word(m),
            Token::Mark(b'-'),
            Token::Number(y, width),
            rest @ ..,
        ] => (*d, month(m)?, year(*y, *width)?, rest),
        // asctime: Nov 21 09:55:06 1997
        [
            Token::Word(m),
            Token::Number(d, _),
            Token::Number(hour, _),
            Token::Mark(b':'),
            Token::Number(minute, _),
            Token::Mark(b':'),
            Token::Number(second, _),
            rest @ ..,
        ] => {
            let (y, zone) = match rest {
                [Token::Number(y, width), zone @ ..] => (year(*y, *width)?, zone),
                [Token::Word(_), Token::Number(y, width)] => (year(*y, *width)?, rest),
                _ => return None,
            };
            return moment(days(y, month(m)?, *d)?, *hour, *minute, *second, zone_of(zone));
        }
        _ => return None,
    };
    let days = days(year, month, day)?;
    match rest {
        [
            Token::Number(h, _),
            Token::Mark(b':'),
            Token::Number(m, _),
            Token::Mark(b':'),
            Token::Number(s, _),
            zone @ ..,
        ] => moment(days, *h, *m, *s, zone_of(zone)),
        [Token::Number(h, _), Token::Mark(b':'), Token::Number(m, _), zone @ ..] => {
            moment(days, *h, *m, 0, zone_of(zone))
        }
        zone => moment(days, 0, 0, 0, zone_of(zone)),
    }
}

/// Prints `Fri, 21 Nov 1997 09:55:06 -0600` (RFC 5322 3.3), for Received and Date.
pub fn print_message_date(date: Date) -> String {
    let shown = Shown::of(date);
    let weekday = usize::try_from(day(date).rem_euclid(7)).ok().and_then(|n| WEEKDAYS.get(n)).copied();
    format!(
        "{}, {} {} {:04} {} {}",
        weekday.unwrap_or("Thu"),
        shown.day,
        shown.month,
        shown.year,
        shown.time,
        shown.zone
    )
}

/// Parses `17-Jul-1996 02:44:25 -0700` (RFC 3501 date-time, without its quotes; the day may have a leading space).
pub fn parse_imap_date_time(text: &[u8]) -> Option<Date> {
    let text = std::str::from_utf8(text).ok()?;
    let (date, time) = text.strip_prefix(' ').unwrap_or(text).split_once(' ')?;
    let (time, zone) = time.split_once(' ')?;
    let mut time = time.split(':');
    let (hour, minute, second) = (time.next()?, time.next()?, time.next()?);
    if time.next().is_some() || [hour, minute, second].iter().any(|t| t.len() != 2) {
        return None;
    }
    moment(
        parse_imap_date(date.as_bytes())?,
        digits(hour)?,
        digits(minute)?,
        digits(second)?,
        numeric_zone(zone.strip_prefix('-').map(|z| (true, z)).or(zone.strip_prefix('+').map(|z| (false, z)))?)?,
    )
}

/// Prints `17-Jul-1996 02:44:25 -0700`, without quotes, the day with two places (RFC 3501 INTERNALDATE).
pub fn print_imap_date_time(date: Date) -> String {
    let shown = Shown::of(date);
    format!("{:>2}-{}-{:04} {} {}", shown.day, shown.month, shown.year, shown.time, shown.zone)
}

/// Parses `1-Feb-1994` (RFC 3501 date, without quotes) into days since 1970-01-01.
pub fn parse_imap_date(text: &[u8]) -> Option<i64> {
    let mut pieces = std::str::from_utf8(text).ok()?.split('-');
    let (day, name, year) = (pieces.next()?, pieces.next()?, pieces.next()?);
    if pieces.next().is_some() || !(1..=2).contains(&day.len()) || name.len() != 3 || year.len() != 4 {
        return None;
    }
    days(digits(year)?, month(name.as_bytes())?, digits(day)?)
}

/// The day of a date in its own zone, days since 1970-01-01: what BEFORE, ON, SINCE, SENTON ... compare ("disregarding
/// time and timezone", RFC 3501 6.4.4).
pub fn day(date: Date) -> i64 {
    local_s(date).div_euclid(DAY_S)
}

fn local_s(date: Date) -> i64 {
    date.unix_s.saturating_add(i64::from(date.zone_minutes) * 60)
}

enum Token<'a> {
    /// Its value and how many digits it has.
    Number(i64, usize),
    Word(&'a [u8]),
    Mark(u8),
}

/// Cuts a date into numbers, words and marks; comments and white space go.
fn tokens(text: &[u8]) -> Vec<Token<'_>> {
    let mut found = Vec::with_capacity(TOKENS_MAX);
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if found.len() == TOKENS_MAX {
            break;
        }
        rest = match first {
            b'(' => skip_comment(rest),
            b' ' | b'\t' | b'\r' | b'\n' => after,
            b'0'..=b'9' => {
                let (number, after) = run(rest, |b| b.is_ascii_digit());
                let value = std::str::from_utf8(number).ok().and_then(digits);
                found.push(value.map_or(Token::Mark(0), |value| Token::Number(value, number.len())));
                after
            }
            b if b.is_ascii_alphabetic() => {
                let (word, after) = run(rest, |b| b.is_ascii_alphabetic());
                found.push(Token::Word(word));
                // "Fri." and "Nov." occur.
                after.strip_prefix(b".").unwrap_or(after)
            }
            mark => {
                found.push(Token::Mark(mark));
                after
            }
        };
    }
    found
}

fn run(text: &[u8], belongs: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&b| !belongs(b)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, b""))
}

/// What follows the comment that `text` begins with; nothing when it never ends.
fn skip_comment(text: &[u8]) -> &[u8] {
    let mut depth = 0;
    let mut rest = text;
    while let Some((&b, after)) = rest.split_first() {
        rest = after;
        match b {
            b'\\' => rest = after.get(1..).unwrap_or(b""),
            b'(' if depth < COMMENT_DEPTH_MAX => depth += 1,
            b')' if depth <= 1 => return after,
            b')' => depth -= 1,
            _ => {}
        }
    }
    rest
}

fn digits(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 9 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// 1 to 12, by the first three letters, as "Sept" and "November" occur.
fn month(word: &[u8]) -> Option<i64> {
    let word = word.get(..3)?;
    let at = MONTHS.iter().position(|m| m.as_bytes().eq_ignore_ascii_case(word))?;
    i64::try_from(at).ok()?.checked_add(1)
}

/// RFC 5322 4.3: 00 to 49 are 2000 to 2049, 50 to 999 are counted from 1900.
fn year(year: i64, width: usize) -> Option<i64> {
    match (width, year) {
        (2, 0..=49) => Some(2000 + year),
        (2 | 3, 0..=999) => Some(1900 + year),
        (4, 1..) => Some(year),
        _ => None,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; nothing when there is no such day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=month_days).contains(&day) || !(0..=9999).contains(&year) {
        return None;
    }
    // Years begin in March, so that the leap day is a year's last; an era has 400 of them.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Year, month and day of a day; the other direction of `days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted_month + 2) / 5 + 1)
}

fn moment(days: i64, hour: i64, minute: i64, second: i64, zone_minutes: i16) -> Option<Date> {
    // A leap second is 60 (RFC 5322 3.3); it counts as the second after it.
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
        return None;
    }
    let local_s = days * DAY_S + hour * 3600 + minute * 60 + second;
    Some(Date { unix_s: local_s - i64::from(zone_minutes) * 60, zone_minutes })
}

/// The zone that the rest of a date says (RFC 5322 4.3); what is unknown is UTC, as military letters are, because
/// RFC 822 had their signs wrong.
fn zone_of(rest: &[Token<'_>]) -> i16 {
    match rest {
        [Token::Mark(sign @ (b'+' | b'-')), Token::Number(value, 4), ..] => {
            numeric_zone((*sign == b'-', &format!("{value:04}"))).unwrap_or(0)
        }
        // "+01:00", as ISO 8601 writes it.
        [Token::Mark(sign @ (b'+' | b'-')), Token::Number(h, 2), Token::Mark(b':'), Token::Number(m, 2), ..] => {
            numeric_zone((*sign == b'-', &format!("{h:02}{m:02}"))).unwrap_or(0)
        }
        [Token::Word(name), more @ ..] => match name.to_ascii_uppercase().as_slice() {
            b"EDT" => -4 * 60,
            b"EST" | b"CDT" => -5 * 60,
            b"CST" | b"MDT" => -6 * 60,
            b"MST" | b"PDT" => -7 * 60,
            b"PST" => -8 * 60,
            // "GMT+0200": the number is meant.
            b"GMT" | b"UTC" | b"UT" if !more.is_empty() => zone_of(more),
            _ => 0,
        },
        _ => 0,
    }
}

/// A zone of four digits, and whether it is west.
fn numeric_zone((west, zone): (bool, &str)) -> Option<i16> {
    if zone.len() != 4 {
        return None;
    }
    let zone = i16::try_from(digits(zone)?).ok()?;
    let minutes = zone / 100 * 60 + zone % 100;
    (zone % 100 < 60).then_some(if west { -minutes } else { minutes })
}

/// The pieces of a date, for printing.
struct Shown {
    year: i64,
    month: &'static str,
    day: i64,
    time: String,
    zone: String,
}

impl Shown {
    fn of(date: Date) -> Self {
        let (year, month, day) = civil(self::day(date));
        let second = local_s(date).rem_euclid(DAY_S);
        let zone = date.zone_minutes.unsigned_abs();
        Self {
            year,
            month: usize::try_from(month - 1).ok().and_then(|m| MONTHS.get(m)).copied().unwrap_or("Jan"),
            day,
            time: format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60),
            zone: format!("{}{:02}{:02}", if date.zone_minutes < 0 { '-' } else { '+' }, zone / 60, zone % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn date(unix_s: i64, zone_minutes: i16) -> Option<Date> {
        Some(Date { unix_s, zone_minutes })
    }

    #[test]
    fn header_dates_are_understood() {
        // Seconds from `date -u -d ... +%s`.
        for (text, expected, why) in [
            ("Fri, 21 Nov 1997 09:55:06 -0600", date(880_127_706, -360), "RFC 5322 A.1.1"),
            ("Tue, 1 Jul 2003 10:52:37 +0200", date(1_057_049_557, 120), "RFC 5322 A.1.2"),
            ("Thu, 13 Feb 1969 23:32:54 -0330", date(-27_723_426, -210), "RFC 5322 A.1.3"),
            (
                "Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland Time)",
                date(-27_723_480, -210),
                "RFC 5322 A.5",
            ),
            ("21 Nov 97 09:55:06 GMT", date(880_106_106, 0), "RFC 5322 A.6.2"),
            ("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", date(880_127_706, -360), "RFC 5322 A.6.3"),
            ("Fri, 21 Nov 97 09:55 EST", date(880_124_100, -300), "obsolete zone, no seconds"),
            ("Fri, 21 Nov 1997 09:55:06 PDT", date(880_131_306, -420), "obsolete zone"),
            ("Fri, 21 Nov 1997 09:55:06 Z", date(880_106_106, 0), "military zone counts as UTC"),
            ("Fri, 21 Nov 1997 09:55:06 CEST", date(880_106_106, 0), "an unknown zone counts as UTC"),
            ("Fri, 21 Nov 1997 09:55:06", date(880_106_106, 0), "no zone"),
            ("21 Nov 1997", date(880_070_400, 0), "no time"),
            ("Fri, 21 Nov 105 09:55:06 +0000", date(1_132_566_906, 0), "three-digit year"),
            ("21 Nov 49 00:00:00 +0000", date(2_521_065_600, 0), "2049"),
            ("21 Nov 50 00:00:00 +0000", date(-603_158_400, 0), "1950"),
            ("21-Nov-1997 09:55:06 -0600", date(880_127_706, -360), "hyphens"),
            ("Fri Nov 21 09:55:06 1997", date(880_106_106, 0), "asctime"),
            ("Fri Nov 21 09:55:06 EST 1997", date(880_124_106, -300), "date(1)"),
            ("friday, 21 november 1997 09:55:06 gmt", date(880_106_106, 0), "long names, lower case"),
            ("Fri, 21 Nov 1997 09:55:06 GMT+0200", date(880_098_906, 120), "two zones: the number"),
            ("Fri, 21 Nov 1997 09:55:06 +02:00", date(880_098_906, 120), "colon in the zone"),
            ("Fri, 31 Dec 2016 23:59:60 +0000", date(1_483_228_800, 0), "leap second"),
            ("Tue, 29 Feb 2000 00:00:00 +0000", date(951_782_400, 0), "leap day"),
            ("Thu, 29 Feb 2001 00:00:00 +0000", None, "no such day"),
            ("Fri, 21 Nov 1997 24:00:00 +0000", None, "no such hour"),
            ("Fri, 21 Foo 1997 09:55:06 +0000", None, "no such month"),
            ("", None, "empty"),
            ("(only a comment", None, "no date"),
            ("yesterday", None, "no date"),
            ("21 Nov 19999999999999 00:00", None, "a year beyond all"),
        ] {
            assert_eq!(parse_message_date(text.as_bytes()), expected, "{text:?}: {why}");
        }
    }

    #[test]
    fn header_dates_are_printed() {
        assert_eq!(
            print_message_date(Date { unix_s: 880_127_706, zone_minutes: -360 }),
            "Fri, 21 Nov 1997 09:55:06 -0600"
        );
        assert_eq!(print_message_date(Date { unix_s: 0, zone_minutes: 0 }), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(print_message_date(Date { unix_s: -1, zone_minutes: 330 }), "Thu, 1 Jan 1970 05:29:59 +0530");
    }

    #[test]
    fn imap_dates_are_understood_exactly() {
        for (text, expected, why) in [
            ("17-Jul-1996 02:44:25 -0700", date(837_596_665, -420), "RFC 3501 8"),
            (" 1-jul-1996 02:44:25 +0000", date(836_189_065, 0), "a space before the day, lower case"),
            ("01-Jul-1996 02:44:25 +0530", date(836_169_265, 330), "a zero before the day"),
            ("17-Jul-1996 02:44:25", None, "no zone"),
            ("17-Jul-1996 2:44:25 -0700", None, "hour of one digit"),
            ("17-Jul-1996 02:44 -0700", None, "no seconds"),
            ("17-Jul-96 02:44:25 -0700", None, "year of two digits"),
            ("17-July-1996 02:44:25 -0700", None, "long month"),
            ("31-Jun-1996 02:44:25 -0700", None, "no such day"),
            ("17-Jul-1996 02:44:25 PST", None, "a zone of letters"),
            ("17-Jul-1996 02:44:25 -0760", None, "sixty minutes"),
            ("+7-Jul-1996 02:44:25 -0700", None, "a sign"),
        ] {
            assert_eq!(parse_imap_date_time(text.as_bytes()), expected, "{text:?}: {why}");
        }
        assert_eq!(parse_imap_date(b"1-Feb-1994"), Some(8797));
        assert_eq!(parse_imap_date(b"01-Feb-1994"), Some(8797));
        assert_eq!(parse_imap_date(b"1-Feb-94"), None);
        assert_eq!(parse_imap_date(b"1-Jan-0001"), Some(-719_162));
    }

    #[test]
    fn a_day_is_that_of_the_dates_own_zone() {
        let late = parse_imap_date_time(b"31-Jan-1994 23:59:59 -0800").expect("valid");
        assert_eq!(Some(day(late)), parse_imap_date(b"31-Jan-1994"));
    }

    proptest! {
        #[test]
        fn printed_dates_parse_to_the_same(unix_s in -62_000_000_000i64..253_000_000_000, zone_minutes in -1439i16..1440) {
            let date = Date { unix_s, zone_minutes };
            prop_assert_eq!(parse_imap_date_time(print_imap_date_time(date).as_bytes()), Some(date));
            prop_assert_eq!(parse_message_date(print_message_date(date).as_bytes()), Some(date));
        }

        #[test]
        fn garbage_never_panics(text in "[0-9A-Za-z:,+() \\\\-]{0,60}", unix_s in any::<i64>(), zone_minutes in any::<i16>()) {
            parse_message_date(text.as_bytes());
            parse_imap_date_time(text.as_bytes());
            let date = Date { unix_s, zone_minutes };
            print_message_date(date);
            print_imap_date_time(date);
        }
    }
}
