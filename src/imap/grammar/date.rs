//! Dates of IMAP (RFC 3501 section 9: `date`, `date-time`): parsed and printed. Days are counted, no calendar beyond that.

use super::lexer::{Cursor, Parsed, bad};
use crate::store::Date;
use std::ops::RangeInclusive;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAY_S: i64 = 86_400;
/// Years have four digits: what lies beyond is printed as the nearest moment that has.
const UNIX_S_MIN: i64 = -62_167_219_200; // 0000-01-01
const UNIX_S_MAX: i64 = 253_402_300_799; // 9999-12-31

/// A day: how many after 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i64);

impl Day {
    /// The day that `date` names where it was written: its time and zone disregarded, as SEARCH wants it.
    pub fn of(date: Date) -> Self {
        Self(date.unix_s.saturating_add(i64::from(date.zone_minutes) * 60).div_euclid(DAY_S))
    }

    /// The day with this date in the Gregorian calendar; `None` when there is no such day.
    pub fn from_calendar(year: i64, month: u8, day: u8) -> Option<Self> {
        if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
            return None;
        }
        // Years counted from March, so that the leap day is the last one: 400 of them have 146,097 days.
        let month = i64::from(month);
        let year = if month <= 2 { year - 1 } else { year };
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Some(Self(year.div_euclid(400) * 146_097 + day_of_era - 719_468))
    }

    /// Year, month from 1, day of the month from 1.
    pub fn calendar(self) -> (i64, u8, u8) {
        let days = self.0.saturating_add(719_468);
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        (year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
    }
}

fn days_in(year: i64, month: u8) -> u8 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `date`: `1-Feb-2026`, quoted or not.
pub(super) fn date(cursor: &mut Cursor<'_>) -> Parsed<Day> {
    const EXPECTED: &str = "expected a date like 1-Feb-2026";
    let quoted = cursor.eat(b'"');
    let day = day(cursor, EXPECTED)?;
    if quoted {
        cursor.expect(b'"', EXPECTED)?;
    }
    Ok(day)
}

/// `date-time`: `"01-Feb-2026 12:34:56 +0100"`; the first digit may be a space, or be missing (some scripts leave it out).
pub(super) fn date_time(cursor: &mut Cursor<'_>) -> Parsed<Date> {
    const EXPECTED: &str = "expected a date and time like \"01-Feb-2026 12:34:56 +0100\"";
    cursor.expect(b'"', EXPECTED)?;
    cursor.eat(b' ');
    let day = day(cursor, EXPECTED)?;
    cursor.expect(b' ', EXPECTED)?;
    let hour = two_digits(cursor, 23, EXPECTED)?;
    cursor.expect(b':', EXPECTED)?;
    let minute = two_digits(cursor, 59, EXPECTED)?;
    cursor.expect(b':', EXPECTED)?;
    let second = two_digits(cursor, 60, EXPECTED)?;
    cursor.expect(b' ', EXPECTED)?;
    let west = cursor.eat(b'-');
    if !west {
        cursor.expect(b'+', EXPECTED)?;
    }
    let zone = two_digits(cursor, 23, EXPECTED)? * 60 + two_digits(cursor, 59, EXPECTED)?;
    cursor.expect(b'"', EXPECTED)?;
    let zone = if west { -zone } else { zone };
    let unix_s =
        day.0 * DAY_S + i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second) - i64::from(zone) * 60;
    Ok(Date { unix_s, zone_minutes: zone })
}

fn day(cursor: &mut Cursor<'_>, expected: &'static str) -> Parsed<Day> {
    let day = digits(cursor, 1..=2).and_then(|day| u8::try_from(day).ok());
    cursor.expect(b'-', expected)?;
    let month = MONTHS.iter().zip(1..).find(|(name, _)| cursor.eat_word(name.as_slice())).map(|(_, month)| month);
    cursor.expect(b'-', expected)?;
    let year = digits(cursor, 4..=4);
    match (day, month, year) {
        (Some(day), Some(month), Some(year)) => match Day::from_calendar(year, month, day) {
            Some(day) => Ok(day),
            None => bad("there is no such day"),
        },
        _ => bad(expected),
    }
}

/// A number of so many digits.
fn digits(cursor: &mut Cursor<'_>, count: RangeInclusive<usize>) -> Option<i64> {
    let digits = cursor.take_while(|octet| octet.is_ascii_digit());
    super::lexer::decimal(digits)
        .filter(|_| count.contains(&digits.len()))
        .and_then(|number| i64::try_from(number).ok())
}

fn two_digits(cursor: &mut Cursor<'_>, max: i16, expected: &'static str) -> Parsed<i16> {
    let mut number = 0;
    for _ in 0..2 {
        match cursor.peek() {
            Some(digit @ b'0'..=b'9') if cursor.eat(digit) => number = number * 10 + i16::from(digit - b'0'),
            _ => return bad(expected),
        }
    }
    if number <= max { Ok(number) } else { bad(expected) }
}

/// Writes INTERNALDATE: `"01-Feb-2026 12:34:56 +0100"`, in the zone it was given in.
pub fn put_date_time(out: &mut Vec<u8>, date: Date) {
    let zone = date.zone_minutes.clamp(-1_439, 1_439);
    let local = date.unix_s.saturating_add(i64::from(zone) * 60).clamp(UNIX_S_MIN, UNIX_S_MAX);
    let (year, month, day) = Day(local.div_euclid(DAY_S)).calendar();
    let second = local.rem_euclid(DAY_S);
    let month = MONTHS.get(usize::from(month).saturating_sub(1)).copied().unwrap_or(b"Jan");
    let (sign, zone) = if zone < 0 { ('-', -zone) } else { ('+', zone) };
    let text = format!(
        "\"{day:02}-{}-{year:04} {:02}:{:02}:{:02} {sign}{:02}{:02}\"",
        String::from_utf8_lossy(month),
        second / 3_600,
        second / 60 % 60,
        second % 60,
        zone / 60,
        zone % 60
    );
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Option<Date> {
        let mut cursor = Cursor::new(text.as_bytes());
        date_time(&mut cursor).ok().filter(|_| cursor.is_at_end())
    }

    #[test]
    fn dates_mean_their_moment() {
        for (text, unix_s, zone_minutes, why) in [
            ("\"01-Jan-1970 00:00:00 +0000\"", 0, 0, "the epoch"),
            ("\"17-Jul-1996 02:44:25 -0700\"", 837_596_665, -420, "RFC 3501 section 8"),
            ("\" 7-Feb-1994 21:52:25 -0800\"", 760_686_745, -480, "RFC 3501 6.3.11: a space for the first digit"),
            ("\"7-feb-1994 21:52:25 -0800\"", 760_686_745, -480, "lower case, one digit"),
            ("\"29-Feb-2000 23:59:59 +1400\"", 951_818_399, 840, "a leap day far east"),
            ("\"31-Dec-1969 23:59:59 +0000\"", -1, 0, "before the epoch"),
            ("\"31-Dec-2016 23:59:60 +0000\"", 1_483_228_800, 0, "a leap second"),
        ] {
            assert_eq!(parsed(text), Some(Date { unix_s, zone_minutes }), "{why}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for (text, why) in [
            ("01-Jan-1970 00:00:00 +0000", "not quoted"),
            ("\"29-Feb-2023 00:00:00 +0000\"", "no leap year"),
            ("\"31-Apr-2023 00:00:00 +0000\"", "April has 30 days"),
            ("\"00-Jan-2023 00:00:00 +0000\"", "day 0"),
            ("\"01-Foo-2023 00:00:00 +0000\"", "no month"),
            ("\"01-Jan-20233 00:00:00 +0000\"", "five digits"),
            ("\"01-Jan-2023 24:00:00 +0000\"", "hour 24"),
            ("\"01-Jan-2023 00:60:00 +0000\"", "minute 60"),
            ("\"01-Jan-2023 00:00:00 0000\"", "no sign"),
            ("\"01-Jan-2023 00:00:00 +0060\"", "zone minute 60"),
            ("\"01-Jan-2023 00:00:00 UTC\"", "a zone's name"),
            ("\"01-Jan-2023 00:00:00 +0000", "not ended"),
            ("\"", "nothing"),
        ] {
            assert_eq!(parsed(text), None, "{why}");
        }
    }

    #[test]
    fn a_day_disregards_time_and_zone() {
        let late = parsed("\"01-Feb-2026 23:30:00 -0500\"").unwrap(); // in UTC it is the next day
        assert_eq!(Some(Day::of(late)), Day::from_calendar(2026, 2, 1));
        let early = parsed("\"01-Feb-2026 00:30:00 +0500\"").unwrap(); // in UTC it is the day before
        assert_eq!(Some(Day::of(early)), Day::from_calendar(2026, 2, 1));
    }

    #[test]
    fn search_dates_may_be_quoted() {
        for text in ["1-Feb-1994", "01-Feb-1994", "\"1-Feb-1994\"", "\"01-feb-1994\""] {
            assert_eq!(date(&mut Cursor::new(text.as_bytes())), Ok(Day(8_797)), "{text}");
        }
        for text in ["1-Feb-94", "\"1-Feb-1994", "001-Feb-1994", "Feb-1-1994", "1994-02-01", ""] {
            let mut cursor = Cursor::new(text.as_bytes());
            assert!(date(&mut cursor).is_err() || !cursor.is_at_end(), "{text}");
        }
    }

    #[test]
    fn moments_without_four_digit_years_are_printed_as_the_nearest() {
        let mut out = Vec::new();
        put_date_time(&mut out, Date { unix_s: i64::MAX, zone_minutes: i16::MAX });
        put_date_time(&mut out, Date { unix_s: i64::MIN, zone_minutes: i16::MIN });
        assert_eq!(out, b"\"31-Dec-9999 23:59:59 +2359\"\"01-Jan-0000 00:00:00 -2359\"");
    }

    proptest! {
        #[test]
        fn what_is_printed_parses(unix_s in -62_000_000_000_i64..253_000_000_000, zone_minutes in -1_439_i16..=1_439) {
            let date = Date { unix_s, zone_minutes };
            let mut out = Vec::new();
            put_date_time(&mut out, date);
            prop_assert_eq!(parsed(std::str::from_utf8(&out).unwrap()), Some(date));
        }

        #[test]
        fn days_and_calendar_agree(day in -700_000_i64..2_900_000) {
            let (year, month, of_month) = Day(day).calendar();
            prop_assert_eq!(Day::from_calendar(year, month, of_month), Some(Day(day)));
        }
    }
}
