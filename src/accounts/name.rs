//! Names of accounts, aliases and domains: checked once where they come in, and lower-case from there on. Pure.

use super::Error;

/// RFC 5321 4.5.3.1.1, octets.
const LOCAL_OCTETS_MAX: usize = 64;
/// RFC 5321 4.5.3.1.2, octets; RFC 1035 2.3.4 leaves 253 for a name in text.
const DOMAIN_OCTETS_MAX: usize = 253;
/// RFC 1035 2.3.4, octets.
const LABEL_OCTETS_MAX: usize = 63;

/// The form in which names are stored and compared: case means nothing in any name here.
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// `local@domain` as an account or alias is stored.
pub(super) fn address(given: &str) -> Result<String, Error> {
    let bad = |why| Error::BadAddress { address: given.to_owned(), why };
    let (local, host) = given.rsplit_once('@').ok_or(bad("write it as name@domain"))?;
    if let Some(why) = local_fault(local) {
        return Err(bad(why));
    }
    if let Some(why) = domain_fault(host) {
        return Err(bad(why));
    }
    Ok(fold(given))
}

/// `local@domain`, or `@domain` for the catch-all, as an alias is stored.
pub(super) fn alias(given: &str) -> Result<String, Error> {
    match given.strip_prefix('@') {
        Some(host) => match domain_fault(host) {
            Some(why) => Err(Error::BadAddress { address: given.to_owned(), why }),
            None => Ok(fold(given)),
        },
        None => address(given),
    }
}

/// A domain as it is stored.
pub(super) fn domain(given: &str) -> Result<String, Error> {
    match domain_fault(given) {
        Some(why) => Err(Error::BadDomain { domain: given.to_owned(), why }),
        None => Ok(fold(given)),
    }
}

/// The local part without its `+tag`, when it has one behind something.
pub(super) fn without_tag(local: &str) -> Option<&str> {
    local.split_once('+').map(|(base, _)| base).filter(|base| !base.is_empty())
}

/// RFC 5321 4.1.2's Dot-string, with RFC 6531's UTF-8; quoted local parts make poor account names.
fn local_fault(local: &str) -> Option<&'static str> {
    let is_atext = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) || is_text_beyond_ascii(c);
    if local.is_empty() {
        Some("the name before the @ is missing")
    } else if local.len() > LOCAL_OCTETS_MAX {
        Some("the name before the @ is longer than 64 octets")
    } else if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        Some("dots in the name must stand alone and between other characters")
    } else if !local.chars().all(is_atext) {
        Some("the name holds a character that mail addresses may not have")
    } else {
        None
    }
}

/// Letters, digits and hyphens (RFC 1123 2.1).
fn domain_fault(domain: &str) -> Option<&'static str> {
    let is_label_fine =
        |label: &str| (1..=LABEL_OCTETS_MAX).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
    if domain.is_empty() {
        Some("the domain is missing")
    } else if !domain.is_ascii() {
        Some("write an international domain in its xn-- form")
    } else if domain.len() > DOMAIN_OCTETS_MAX {
        Some("the domain is longer than 253 octets")
    } else if !domain.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.') {
        Some("a domain has letters, digits, hyphens and dots only")
    } else if !domain.split('.').all(is_label_fine) {
        Some("between dots a domain has 1 to 63 characters, with no hyphen at either end")
    } else {
        None
    }
}

fn is_text_beyond_ascii(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_lowered() {
        let rows: [(&str, Option<&str>, &str); 15] = [
            ("Alice@Example.ORG", Some("alice@example.org"), "case means nothing"),
            ("me@localhost", Some("me@localhost"), "a domain of one label"),
            ("o'neil+x_y@a-b.example", Some("o'neil+x_y@a-b.example"), "atext"),
            ("J\u{d6}RG@example.org", Some("j\u{f6}rg@example.org"), "UTF-8 local part, RFC 6531"),
            ("alice", None, "no domain"),
            ("@example.org", None, "no name"),
            ("alice@", None, "empty domain"),
            (".alice@example.org", None, "leading dot"),
            ("a..b@example.org", None, "two dots"),
            ("a b@example.org", None, "space"),
            ("a\u{0}b@example.org", None, "NUL"),
            ("a@b@example.org", None, "an @ would need quotes"),
            ("a@-x.example", None, "hyphen at an end"),
            ("a@x..example", None, "empty label"),
            ("a@m\u{fc}nchen.example", None, "domain not in xn-- form"),
        ];
        for (given, expected, why) in rows {
            assert_eq!(address(given).ok().as_deref(), expected, "{why}");
        }
        let (fits, long) = ("a".repeat(64), "a".repeat(65));
        assert!(address(&format!("{fits}@x")).is_ok());
        assert!(address(&format!("{long}@x")).is_err());
    }

    #[test]
    fn an_alias_may_be_a_catch_all() {
        assert_eq!(alias("@Example.org").as_deref(), Ok("@example.org"));
        assert!(alias("@").is_err());
        assert!(alias("example.org").is_err());
    }

    #[test]
    fn a_tag_is_what_follows_the_first_plus() {
        assert_eq!(without_tag("user+a+b"), Some("user"));
        assert_eq!(without_tag("user"), None);
        assert_eq!(without_tag("+tag"), None);
    }
}
