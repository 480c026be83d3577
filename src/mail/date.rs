//! Dates: of header fields (RFC 5322 3.3, and 4.3 obsolete) and of IMAP (RFC 3501 date-time and date).

use crate::store::Date;

/// Parses a date as header fields have it: obsolete zones, two-digit years, comments and missing day names included.
#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
pub fn parse_message_date(text: &[u8]) -> Option<Date> {
    todo!()
}

/// Prints `Fri, 21 Nov 1997 09:55:06 -0600` (RFC 5322 3.3), for Received and Date.
#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
pub fn print_message_date(date: Date) -> String {
    todo!()
}

/// Parses `17-Jul-1996 02:44:25 -0700` (RFC 3501 date-time, without its quotes; the day may have a leading space).
#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
pub fn parse_imap_date_time(text: &[u8]) -> Option<Date> {
    todo!()
}

/// Prints `17-Jul-1996 02:44:25 -0700`, without quotes (RFC 3501 INTERNALDATE).
#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
pub fn print_imap_date_time(date: Date) -> String {
    todo!()
}

/// Parses `1-Feb-1994` (RFC 3501 date, without quotes) into days since 1970-01-01.
#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
pub fn parse_imap_date(text: &[u8]) -> Option<i64> {
    todo!()
}

/// The day of a date in its own zone, days since 1970-01-01: what BEFORE, ON, SINCE, SENTON ... compare ("disregarding
/// time and timezone", RFC 3501 6.4.4).
#[expect(clippy::todo, unused_variables, reason = "the shape that other rooms are written against")]
pub fn day(date: Date) -> i64 {
    todo!()
}
