//! A mail address as SMTP writes it: Mailbox of RFC 5321 4.1.2, with quoted local parts, address literals and UTF-8
//! (RFC 6531 3.3). Never resolves anything; header addresses, which are looser, are in `addresses`.

use std::fmt;

/// Octets of a local part (RFC 5321 4.5.3.1.1).
pub const LOCAL_BYTES_MAX: usize = 64;
/// Octets of a domain (RFC 5321 4.5.3.1.2).
pub const DOMAIN_BYTES_MAX: usize = 255;
/// Octets of a whole address: a path is 256 with its angle brackets (RFC 5321 4.5.3.1.3).
pub const ADDRESS_BYTES_MAX: usize = 254;
/// Octets of a label (RFC 1035 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// A mail address: what stands before the `@`, unquoted, and the domain or address literal after it, in lower case.
/// Two are equal when SMTP says so: the domain without regard to case, the local part exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    local: String,
    domain: String,
}

/// Why it is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Not the grammar of RFC 5321 4.1.2.
    Syntax,
    /// Longer than RFC 5321 4.5.3.1 allows.
    TooLong,
}

impl Address {
    /// Parses all of `text` as a Mailbox.
    pub fn parse(text: &[u8]) -> Result<Self, AddressError> {
        let (address, rest) = Self::take(text)?;
        if rest.is_empty() { Ok(address) } else { Err(AddressError::Syntax) }
    }

    /// Parses a Mailbox at the start of `text`, and gives what follows it (`>` and parameters, in an SMTP path).
    pub fn take(text: &[u8]) -> Result<(Self, &[u8]), AddressError> {
        let (local, rest) = match text.first() {
            Some(b'"') => quoted_local(text)?,
            _ => dotted_local(text)?,
        };
        let rest = rest.strip_prefix(b"@").ok_or(AddressError::Syntax)?;
        let (domain, after) = match rest.first() {
            Some(b'[') => literal(rest)?,
            _ => dotted_domain(rest)?,
        };
        if local.len() > LOCAL_BYTES_MAX || domain.len() > DOMAIN_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        if text.len() - after.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        Ok((Self { local, domain }, after))
    }

    /// An address of two known parts: `local` as it is meant, without quotes. The error is that of [`Address::parse`].
    pub fn new(local: &str, domain: &str) -> Result<Self, AddressError> {
        Self::parse(Self { local: local.to_owned(), domain: domain.to_owned() }.to_string().as_bytes())
    }

    /// What stands before the `@`, quotes and backslashes taken away.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain in lower case, or the address literal with its brackets.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether the domain is an address literal, `[192.0.2.1]` or `[IPv6:...]`.
    pub fn is_literal(&self) -> bool {
        self.domain.starts_with('[')
    }

    /// Whether it needs no SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii() && self.domain.is_ascii()
    }

    /// The form that tables are keyed by: `local@domain`, both in lower case, unquoted. The local part's case is ours to
    /// ignore for the domains we serve (RFC 5321 2.4); an IDN stays the U-label or A-label it was given as.
    pub fn key(&self) -> String {
        format!("{}@{}", self.local.to_lowercase(), self.domain)
    }
}

/// Prints the Mailbox of RFC 5321 4.1.2: the local part is quoted only where it must be.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local) {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        f.write_str("\"")?;
        for c in self.local.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

impl std::error::Error for AddressError {}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "not a mail address",
            Self::TooLong => "mail address too long",
        })
    }
}

/// atext of RFC 5322 3.2.3, and every non-ASCII octet (RFC 6531 3.3).
pub(super) fn is_atext(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b >= 0x80 || b"!#$%&'*+-/=?^_`{|}~".contains(&b)
}

/// Whether `local` can be written without quotes: atoms joined by single dots.
fn is_dot_string(local: &str) -> bool {
    local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

fn split(text: &[u8], at: usize) -> (&[u8], &[u8]) {
    text.split_at_checked(at).unwrap_or((text, b""))
}

fn utf8(text: &[u8]) -> Result<&str, AddressError> {
    std::str::from_utf8(text).map_err(|_| AddressError::Syntax)
}

fn dotted_local(text: &[u8]) -> Result<(String, &[u8]), AddressError> {
    let end = text.iter().position(|&b| !is_atext(b) && b != b'.').unwrap_or(text.len());
    let (local, rest) = split(text, end);
    let local = utf8(local)?;
    if !is_dot_string(local) {
        return Err(AddressError::Syntax);
    }
    Ok((local.to_owned(), rest))
}

/// Quoted-string of RFC 5321 4.1.2: qtextSMTP and backslash pairs of printable characters and spaces. An empty one is
/// allowed by the grammar and refused here: no mailbox has no name, and `""@x` could not be told from a catch-all.
fn quoted_local(text: &[u8]) -> Result<(String, &[u8]), AddressError> {
    let mut local = Vec::new();
    let mut octets = text.iter().enumerate().skip(1);
    while let Some((at, &b)) = octets.next() {
        let b = match b {
            b'"' if local.is_empty() => return Err(AddressError::Syntax),
            b'"' => return Ok((utf8(&local)?.to_owned(), split(text, at + 1).1)),
            b'\\' => *octets.next().ok_or(AddressError::Syntax)?.1,
            _ => b,
        };
        if b < b' ' || b == 0x7F {
            return Err(AddressError::Syntax);
        }
        if local.len() > LOCAL_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        local.push(b);
    }
    Err(AddressError::Syntax)
}

/// Domain of RFC 5321 4.1.2 with U-labels (RFC 6531 3.3). Underscores occur in real host names and are let through.
fn dotted_domain(text: &[u8]) -> Result<(String, &[u8]), AddressError> {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b >= 0x80 || matches!(b, b'-' | b'_' | b'.');
    let (domain, rest) = split(text, text.iter().position(|&b| !is_part(b)).unwrap_or(text.len()));
    let domain = utf8(domain)?.to_lowercase();
    for label in domain.split('.') {
        if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
            return Err(AddressError::Syntax);
        }
        if label.len() > LABEL_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
    }
    if domain.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(AddressError::Syntax);
    }
    Ok((domain, rest))
}

/// address-literal of RFC 5321 4.1.3: IPv4, `IPv6:`; a general literal is refused, there is no tag but IPv6.
fn literal(text: &[u8]) -> Result<(String, &[u8]), AddressError> {
    let end = text.iter().position(|&b| b == b']').ok_or(AddressError::Syntax)?;
    let (inside, rest) = split(text, end);
    let inside = utf8(inside)?.strip_prefix('[').ok_or(AddressError::Syntax)?;
    let known = match inside.split_at_checked(5) {
        Some((tag, v6)) if tag.eq_ignore_ascii_case("IPv6:") => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => inside.parse::<std::net::Ipv4Addr>().is_ok(),
    };
    if !known {
        return Err(AddressError::Syntax);
    }
    Ok((format!("[{}]", inside.to_ascii_lowercase()), split(rest, 1).1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mailbox_is_parsed_and_printed() {
        // (given, local part, domain, printed)
        for (given, local, domain, printed) in [
            ("alice@example.org", "alice", "example.org", "alice@example.org"),
            ("Alice@EXAMPLE.Org", "Alice", "example.org", "Alice@example.org"),
            ("a.b+c=d@x-y.example", "a.b+c=d", "x-y.example", "a.b+c=d@x-y.example"),
            ("postmaster@[192.0.2.1]", "postmaster", "[192.0.2.1]", "postmaster@[192.0.2.1]"),
            ("p@[IPv6:2001:DB8::1]", "p", "[ipv6:2001:db8::1]", "p@[ipv6:2001:db8::1]"),
            (r#""joe bloggs"@example.org"#, "joe bloggs", "example.org", r#""joe bloggs"@example.org"#),
            (r#""joe"@example.org"#, "joe", "example.org", "joe@example.org"), // needless quotes say the same
            (r#""a\"b\\c@d"@example.org"#, r#"a"b\c@d"#, "example.org", r#""a\"b\\c@d"@example.org"#),
            (r#"".a."@example.org"#, ".a.", "example.org", r#"".a."@example.org"#),
            ("用户@例子.广告", "用户", "例子.广告", "用户@例子.广告"), // RFC 6531
            ("root@localhost", "root", "localhost", "root@localhost"),
            ("x@my_host.example", "x", "my_host.example", "x@my_host.example"),
        ] {
            let address = Address::parse(given.as_bytes()).expect(given);
            assert_eq!((address.local(), address.domain()), (local, domain), "{given}");
            assert_eq!(address.to_string(), printed, "{given}");
        }
    }

    #[test]
    fn what_is_no_mailbox_is_refused() {
        for (given, why) in [
            ("", "empty"),
            ("alice", "no domain"),
            ("@example.org", "no local part"),
            ("alice@", "empty domain"),
            ("a..b@example.org", "two dots in a row"),
            (".a@example.org", "a dot first"),
            ("a.@example.org", "a dot last"),
            ("a b@example.org", "space outside quotes"),
            ("a@b@example.org", "two at signs"),
            ("a@-b.example", "label begins with a hyphen"),
            ("a@b-.example", "label ends with a hyphen"),
            ("a@b..example", "empty label"),
            ("a@example.org.", "an empty label last"),
            ("a@[192.0.2.300]", "no IPv4 address"),
            ("a@[IPv6:192.0.2.1]", "no IPv6 address"),
            ("a@[192.0.2.1", "unclosed literal"),
            ("a@[tag:content]", "no such tag is registered"),
            (r#""a@example.org"#, "unclosed quotes"),
            (r#""""#, "quotes alone"),
            (r#"""@example.org"#, "an empty name"),
            ("\"a\x07\"@example.org", "control character"),
            ("<a@example.org>", "a path, not a mailbox"),
            ("a@example.org ", "something after it"),
            ("a@exa\u{a0}mple.org", "a space that is not ASCII"),
        ] {
            assert_eq!(Address::parse(given.as_bytes()), Err(AddressError::Syntax), "{given:?}: {why}");
        }
        assert_eq!(Address::parse(b"a\xFF@example.org"), Err(AddressError::Syntax), "not UTF-8");
    }

    #[test]
    fn lengths_are_those_of_rfc_5321_4_5_3_1() {
        let at = |local: usize, domain: &str| format!("{}@{domain}", "l".repeat(local));
        let label = "d".repeat(63);
        let long = format!("{label}.{label}.{label}");
        assert!(Address::parse(at(64, "example.org").as_bytes()).is_ok());
        assert_eq!(Address::parse(at(65, "example.org").as_bytes()), Err(AddressError::TooLong));
        assert!(Address::parse(at(62, &long).as_bytes()).is_ok(), "254 octets");
        assert_eq!(Address::parse(at(63, &long).as_bytes()), Err(AddressError::TooLong), "255 octets");
        assert_eq!(Address::parse(at(1, &"d".repeat(64)).as_bytes()), Err(AddressError::TooLong));
    }

    #[test]
    fn a_key_ignores_case_and_quotes() {
        let key = |text: &str| Address::parse(text.as_bytes()).expect(text).key();
        assert_eq!(key("Alice@Example.ORG"), "alice@example.org");
        assert_eq!(key(r#""ALICE"@example.org"#), "alice@example.org");
        assert_eq!(key("MÜLLER@BÜCHER.example"), "müller@bücher.example");
    }

    #[test]
    fn an_address_in_a_path_leaves_the_rest() {
        let (address, rest) = Address::take(br#""a>b"@example.org> SIZE=3"#).expect("an address");
        assert_eq!((address.local(), rest), ("a>b", &b"> SIZE=3"[..]));
    }

    proptest! {
        #[test]
        fn what_prints_parses_to_the_same(local in "[ -~äß用]{1,20}", domain in "[a-z0-9]{1,8}(\\.[a-z]{1,8}){0,3}") {
            let address = Address::new(&local, &domain).expect("valid");
            prop_assert_eq!(address.local(), local);
            prop_assert_eq!(Address::parse(address.to_string().as_bytes()), Ok(address));
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(address) = Address::parse(&bytes) {
                prop_assert_eq!(Address::parse(address.to_string().as_bytes()), Ok(address));
            }
        }
    }
}
