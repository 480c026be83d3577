//! Reverse-path and forward-path (RFC 5321 section 4.1.2), and the parameters after them (section 4.1.1.11).

use super::command::Mistake;
use crate::mail::{Address, AddressError};

/// What stands between the angle brackets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Path {
    Null,
    Postmaster,
    Address(Address),
}

/// One parameter of MAIL or RCPT.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameter<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: Option<&'a [u8]>,
}

/// A path at the start of `text`, and the parameters after it. `wrong` is whose fault a bad path is.
pub(super) fn path(text: &[u8], wrong: Mistake) -> Result<(Path, &[u8]), Mistake> {
    let inside = text.strip_prefix(b"<").ok_or(wrong)?;
    let (path, rest) = if let Some(rest) = inside.strip_prefix(b">") {
        (Path::Null, rest)
    } else if let Some(rest) = strip_ignoring_case(inside, b"postmaster>") {
        (Path::Postmaster, rest)
    } else {
        let mailbox = without_route(inside).ok_or(wrong)?;
        let (address, rest) = Address::take(mailbox).map_err(|error| match error {
            AddressError::Syntax => wrong,
            AddressError::TooLong => Mistake::PathTooLong,
        })?;
        (Path::Address(address), rest.strip_prefix(b">").ok_or(wrong)?)
    };
    if rest.first().is_some_and(|&octet| octet != b' ') {
        return Err(wrong);
    }
    Ok((path, rest))
}

/// The parameters, each checked for the form of esmtp-param.
pub(super) fn parameters(text: &[u8]) -> impl Iterator<Item = Result<Parameter<'_>, Mistake>> {
    let words = text.split(|&octet| octet == b' ').filter(|word| !word.is_empty());
    words.map(|word| {
        let (name, value) = match word.iter().position(|&octet| octet == b'=') {
            Some(at) => (word.get(..at).unwrap_or_default(), word.get(at + 1..)),
            None => (word, None),
        };
        let is_keyword = name.first().is_some_and(u8::is_ascii_alphanumeric)
            && name.iter().all(|&octet| octet.is_ascii_alphanumeric() || octet == b'-');
        let is_value = value.is_none_or(|value| !value.is_empty() && !value.contains(&b'='));
        match is_keyword && is_value {
            true => Ok(Parameter { name, value }),
            false => Err(Mistake::Arguments("parameters are KEYWORD or KEYWORD=value")),
        }
    })
}

/// What follows `prefix`, whatever the case of its letters.
pub(super) fn strip_ignoring_case<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// RFC 5321 4.1.2 A-d-l: `@one.example,@two.example:` must be accepted and ignored.
fn without_route(text: &[u8]) -> Option<&[u8]> {
    if text.first() != Some(&b'@') {
        return Some(text);
    }
    let is_part = |octet: &u8| octet.is_ascii_alphanumeric() || *octet >= 0x80 || b"-_.".contains(octet);
    let end = text.iter().position(|&octet| octet == b':')?;
    let (route, rest) = text.split_at_checked(end)?;
    for hop in route.split(|&octet| octet == b',') {
        let domain = hop.strip_prefix(b"@")?;
        if domain.is_empty() || !domain.iter().all(is_part) {
            return None;
        }
    }
    rest.strip_prefix(b":")
}
