//! Which passwords are taken, which are warned about, and one that is made up. Pure but for the randomness.

use super::Error;
use crate::base::Secret;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;

/// Octets of a password; argon2 takes more, no person types more.
pub(super) const PASSWORD_OCTETS_MAX: usize = 1_024;
/// Characters below which a password is called short.
const SHORT_CHARACTERS: usize = 10;
/// Different characters below which a password is called monotonous.
const DIFFERENT_CHARACTERS: usize = 5;

/// Letters and digits that nobody mistakes for one another: 32, so that each is worth five bits.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Four groups of four letters: 80 bits.
const GENERATED_LETTERS: usize = 16;

/// What the lists of stolen passwords begin with, without digits and case.
const COMMON: [&str; 14] = [
    "password", "passwort", "qwerty", "qwertz", "letmein", "welcome", "admin", "iloveyou", "monkey", "dragon", "abc",
    "secret", "changeme", "test",
];

/// Why a password is easily guessed. It is taken nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// Fewer than ten characters.
    Short,
    /// Few different characters.
    Monotonous,
    /// Digits alone.
    Digits,
    /// One of the words everybody tries first.
    Common,
    /// The account's name is in it.
    HoldsName,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "it has fewer than 10 characters",
            Self::Monotonous => "it repeats a few characters",
            Self::Digits => "it has digits only",
            Self::Common => "it is one of the first that everybody tries",
            Self::HoldsName => "the account's name is in it",
        })
    }
}

/// What makes `password` easily guessed for the account `address`, if anything.
pub fn weakness(password: &Secret, address: &str) -> Option<Weakness> {
    let text = String::from_utf8_lossy(password.expose()).to_lowercase();
    let name = address.split('@').next().unwrap_or_default().to_lowercase();
    let word = text.trim_matches(|c: char| !c.is_alphabetic());
    let mut different: Vec<char> = text.chars().collect();
    different.sort_unstable();
    different.dedup();
    if COMMON.contains(&word) {
        Some(Weakness::Common)
    } else if name.len() > 2 && text.contains(&name) {
        Some(Weakness::HoldsName)
    } else if text.chars().count() < SHORT_CHARACTERS {
        Some(Weakness::Short)
    } else if text.bytes().all(|octet| octet.is_ascii_digit()) {
        Some(Weakness::Digits)
    } else if different.len() < DIFFERENT_CHARACTERS {
        Some(Weakness::Monotonous)
    } else {
        None
    }
}

/// A password nobody guesses, easy to type: four groups of four letters and digits. `None` without randomness.
pub fn generated_password() -> Option<Secret> {
    let mut random = [0; GENERATED_LETTERS];
    SystemRandom::new().fill(&mut random).ok()?;
    let mut text = Vec::with_capacity(GENERATED_LETTERS + 3);
    for (at, octet) in random.iter().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push(b'-');
        }
        text.extend(LETTERS.get(usize::from(octet % 32)));
    }
    Some(Secret::new(text))
}

/// Why a password cannot be set, if it cannot.
pub(super) fn check(password: &Secret) -> Result<(), Error> {
    let octets = password.expose();
    if octets.is_empty() {
        Err(Error::BadPassword("the password must not be empty"))
    } else if octets.contains(&0) {
        Err(Error::BadPassword("the password must not hold a NUL")) // RFC 4616 section 2 could not carry it
    } else if octets.len() > PASSWORD_OCTETS_MAX {
        Err(Error::BadPassword("the password is longer than 1024 octets"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_passwords_are_told_from_good_ones() {
        let rows = [
            ("Password123!", Some(Weakness::Common), "a common word with trimmings"),
            ("wonderful-alice-9", Some(Weakness::HoldsName), "the name in it"),
            ("x7Q!p", Some(Weakness::Short), "five characters"),
            ("\u{e4}\u{f6}\u{fc}\u{df}\u{e9}\u{e8}\u{ea}", Some(Weakness::Short), "characters count, not octets"),
            ("8264519370264", Some(Weakness::Digits), "digits alone"),
            ("abababababab", Some(Weakness::Monotonous), "two letters"),
            ("correct horse battery", None, "long"),
            ("wonderland-7", None, "long enough and mixed"),
        ];
        for (password, expected, why) in rows {
            assert_eq!(weakness(&secret(password), "alice@example.org"), expected, "{why}");
        }
    }

    #[test]
    fn a_generated_password_is_strong_and_new_each_time() {
        let (one, two) = (generated_password().unwrap(), generated_password().unwrap());
        assert_ne!(one.expose(), two.expose());
        assert_eq!(one.expose().len(), 19);
        assert_eq!(weakness(&one, "me@localhost"), None);
        assert_eq!(check(&one), Ok(()));
    }

    #[test]
    fn empty_nul_and_endless_passwords_are_refused() {
        assert!(check(&secret("")).is_err());
        assert!(check(&secret("a\0b")).is_err());
        assert!(check(&secret(&"x".repeat(1_025))).is_err());
        assert!(check(&secret(&"x".repeat(1_024))).is_ok());
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }
}
