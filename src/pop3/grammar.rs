//! POP3's command grammar (RFC 1939 section 3, RFC 2449 section 4): a line in, a [`Command`] out. Never touches sockets,
//! messages or clocks.

use crate::base::Secret;

/// RFC 2449 section 4: a command line has at most 255 octets with its CRLF.
pub(super) const LINE_BYTES_MAX: usize = 255 - 2;

/// A command as the client means it; whether it is fit for the state is the session's to say.
#[derive(Debug)]
pub(super) enum Command {
    User(Vec<u8>),
    Pass(Secret),
    Apop,
    /// The mechanism's name and its initial response, still in base64; nothing asks for the list.
    Auth(Option<(Vec<u8>, Option<Secret>)>),
    Capa,
    Stls,
    Utf8,
    /// Language ranges in order of preference; none asks for the list.
    Lang(Vec<Vec<u8>>),
    Stat,
    List(Option<Number>),
    Uidl(Option<Number>),
    Retr(Number),
    Top(Number, Lines),
    Dele(Number),
    Rset,
    Noop,
    Quit,
}

/// A message's number in the maildrop as the client gave it; too large a one is simply no message's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number(pub(super) u32);

/// TOP's second argument; beyond all bounds it means all lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lines(pub(super) u64);

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The keyword is none of ours.
    Unknown,
    /// The arguments do not fit; how it should be written.
    Syntax(&'static str),
}

impl Command {
    /// Parses a line without its end.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Fault> {
        let (keyword, rest) = split(line);
        let is_bare = rest.iter().all(|octet| *octet == b' ');
        let bare = |command: Self, usage| if is_bare { Ok(command) } else { Err(Fault::Syntax(usage)) };
        let optional = |usage| match is_bare {
            true => Ok(None),
            false => number(rest, usage).map(Some),
        };
        // RFC 1939 section 3: keywords are case-insensitive, three or four characters.
        match keyword.to_ascii_uppercase().as_slice() {
            b"USER" => text(rest, "USER name").map(|name| Self::User(name.to_vec())),
            // The argument of PASS goes to the end of the line, spaces included (RFC 1939 section 7).
            b"PASS" => text(rest, "PASS password").map(|password| Self::Pass(Secret::new(password.to_vec()))),
            b"APOP" => Ok(Self::Apop),
            b"AUTH" => auth(rest),
            b"CAPA" => bare(Self::Capa, "CAPA"),
            b"STLS" => bare(Self::Stls, "STLS"),
            b"UTF8" => bare(Self::Utf8, "UTF8"),
            b"LANG" => Ok(Self::Lang(words(rest).map(<[u8]>::to_vec).collect())),
            b"STAT" => bare(Self::Stat, "STAT"),
            b"LIST" => optional("LIST [message]").map(Self::List),
            b"UIDL" => optional("UIDL [message]").map(Self::Uidl),
            b"RETR" => number(rest, "RETR message").map(Self::Retr),
            b"DELE" => number(rest, "DELE message").map(Self::Dele),
            b"TOP" => top(rest),
            b"RSET" => bare(Self::Rset, "RSET"),
            b"NOOP" => bare(Self::Noop, "NOOP"),
            b"QUIT" => bare(Self::Quit, "QUIT"),
            _ => Err(Fault::Unknown),
        }
    }
}

fn auth(rest: &[u8]) -> Result<Command, Fault> {
    let mut words = words(rest);
    let (mechanism, initial) = (words.next(), words.next());
    if words.next().is_some() {
        return Err(Fault::Syntax("AUTH [mechanism [initial-response]]"));
    }
    let initial = initial.map(|initial| Secret::new(initial.to_vec()));
    Ok(Command::Auth(mechanism.map(|mechanism| (mechanism.to_vec(), initial))))
}

fn top(rest: &[u8]) -> Result<Command, Fault> {
    const USAGE: Fault = Fault::Syntax("TOP message lines");
    let mut words = words(rest);
    let (Some(number), Some(lines), None) = (words.next(), words.next(), words.next()) else {
        return Err(USAGE);
    };
    let number = decimal(number).ok_or(USAGE)?;
    let lines = decimal(lines).ok_or(USAGE)?;
    Ok(Command::Top(Number(u32::try_from(number).unwrap_or(u32::MAX)), Lines(lines)))
}

fn number(rest: &[u8], usage: &'static str) -> Result<Number, Fault> {
    let mut words = words(rest);
    let (Some(number), None) = (words.next(), words.next()) else {
        return Err(Fault::Syntax(usage));
    };
    let number = decimal(number).ok_or(Fault::Syntax(usage))?;
    Ok(Number(u32::try_from(number).unwrap_or(u32::MAX)))
}

/// Digits alone; a number beyond all bounds is the largest there is.
fn decimal(word: &[u8]) -> Option<u64> {
    let is_digits = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    is_digits.then(|| {
        word.iter().fold(0u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}

/// Everything after the keyword, as it is.
fn text<'a>(rest: &'a [u8], usage: &'static str) -> Result<&'a [u8], Fault> {
    if rest.is_empty() { Err(Fault::Syntax(usage)) } else { Ok(rest) }
}

/// The keyword, and what follows the one space after it.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|octet| *octet == b' ') {
        Some(at) => {
            let (keyword, rest) = line.split_at_checked(at).unwrap_or((line, b""));
            (keyword, rest.strip_prefix(b" ").unwrap_or(rest))
        }
        None => (line, b""),
    }
}

/// Arguments are separated by one space (RFC 1939 section 3); some clients send more, or one at the end.
fn words(rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    rest.split(|octet| *octet == b' ').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_parse_as_the_rfcs_write_them() {
        let rows: [(&[u8], &str, &str); 32] = [
            (b"USER mrose", "User mrose", "RFC 1939 section 7"),
            (b"user mrose", "User mrose", "keywords have no case"),
            (b"USER alice@example.org", "User alice@example.org", "an address"),
            (b"PASS a secret ", "Pass a secret ", "spaces belong to the password"),
            (b"PASS  x", "Pass  x", "even the first one"),
            (b"APOP mrose c4c9334bac560ecc979e58001b3e22fb", "Apop", "RFC 1939 section 7"),
            (b"AUTH", "Auth", "asks for the list"),
            (b"AUTH PLAIN", "Auth PLAIN", "RFC 5034 section 4"),
            (b"auth plain dGVzdA==", "Auth plain dGVzdA==", "with an initial response"),
            (b"AUTH PLAIN =", "Auth PLAIN =", "with an empty one"),
            (b"CAPA", "Capa", "RFC 2449 section 5"),
            (b"STLS", "Stls", "RFC 2595 section 4"),
            (b"UTF8", "Utf8", "RFC 6856 section 2"),
            (b"LANG", "Lang", "RFC 6856 section 3"),
            (b"LANG de en", "Lang de en", "with ranges"),
            (b"STAT", "Stat", "RFC 1939 section 5"),
            (b"stat ", "Stat", "a space at the end harms nobody"),
            (b"LIST", "List", "all"),
            (b"LIST 2", "List 2", "one"),
            (b"UIDL", "Uidl", "all"),
            (b"UIDL 2", "Uidl 2", "one"),
            (b"RETR 1", "Retr 1", "RFC 1939 section 5"),
            (b"RETR 0001", "Retr 1", "leading zeros"),
            (b"RETR 0", "Retr 0", "a number, though no message's"),
            (b"RETR 99999999999999999999999", "Retr 4294967295", "beyond all bounds is no message's either"),
            (b"TOP 1 10", "Top 1 10", "RFC 1939 section 7"),
            (b"TOP 1 0", "Top 1 0", "headers only"),
            (b"TOP  1  10 ", "Top 1 10", "spaces too many"),
            (b"DELE 1", "Dele 1", "RFC 1939 section 5"),
            (b"RSET", "Rset", "RFC 1939 section 5"),
            (b"NOOP", "Noop", "RFC 1939 section 5"),
            (b"QUIT", "Quit", "RFC 1939 section 4"),
        ];
        for (line, expected, why) in rows {
            assert_eq!(Command::parse(line).map(|command| print(&command)), Ok(expected.to_owned()), "{why}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let rows: [(&[u8], Option<&str>, &str); 24] = [
            (b"", None, "empty line"),
            (b" STAT", None, "space before the keyword"),
            (b"HELO example.org", None, "another protocol's"),
            (b"GET / HTTP/1.1", None, "another protocol's"),
            (b"STAT\0", None, "NUL"),
            (b"\xff\xfe\x00\x80", None, "no text at all"),
            (b"XTND XMIT", None, "an extension that is not ours"),
            (b"STATUS", None, "longer than a keyword of ours"),
            (b"STAT 1", Some("STAT"), "argument too many"),
            (b"QUIT now", Some("QUIT"), "argument too many"),
            (b"NOOP x", Some("NOOP"), "argument too many"),
            (b"CAPA x", Some("CAPA"), "argument too many"),
            (b"USER", Some("USER name"), "argument missing"),
            (b"USER ", Some("USER name"), "argument empty"),
            (b"PASS", Some("PASS password"), "argument missing"),
            (b"RETR", Some("RETR message"), "argument missing"),
            (b"RETR one", Some("RETR message"), "no number"),
            (b"RETR -1", Some("RETR message"), "no number"),
            (b"RETR 1 2", Some("RETR message"), "argument too many"),
            (b"LIST 1:3", Some("LIST [message]"), "a set, as in IMAP"),
            (b"UIDL \xd9\xa1", Some("UIDL [message]"), "a digit that is not ASCII"),
            (b"TOP 1", Some("TOP message lines"), "argument missing"),
            (b"TOP 1 2 3", Some("TOP message lines"), "argument too many"),
            (b"AUTH PLAIN a b", Some("AUTH [mechanism [initial-response]]"), "argument too many"),
        ];
        for (line, usage, why) in rows {
            let expected = usage.map_or(Fault::Unknown, Fault::Syntax);
            assert_eq!(Command::parse(line).map(|command| print(&command)), Err(expected), "{why}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_a_command_or_a_fault(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(Command::parse(&line));
        }

        #[test]
        fn what_parses_also_prints(line in "(USER|PASS|AUTH|LIST|UIDL|RETR|DELE|TOP|LANG|STAT|RSET)( [0-9a-z@.+]{1,9}){0,2}") {
            if let Ok(command) = Command::parse(line.as_bytes()) {
                let printed = print(&command);
                prop_assert_eq!(Command::parse(printed.as_bytes()).map(|again| print(&again)), Ok(printed));
            }
        }
    }

    fn print(command: &Command) -> String {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let of = |keyword: &str, number: &Option<Number>| match number {
            Some(number) => format!("{keyword} {}", number.0),
            None => keyword.to_owned(),
        };
        match command {
            Command::User(name) => format!("User {}", text(name)),
            Command::Pass(password) => format!("Pass {}", text(password.expose())),
            Command::Apop => "Apop".into(),
            Command::Auth(None) => "Auth".into(),
            Command::Auth(Some((name, None))) => format!("Auth {}", text(name)),
            Command::Auth(Some((name, Some(initial)))) => format!("Auth {} {}", text(name), text(initial.expose())),
            Command::Capa => "Capa".into(),
            Command::Stls => "Stls".into(),
            Command::Utf8 => "Utf8".into(),
            Command::Lang(ranges) => {
                ranges.iter().fold("Lang".to_owned(), |line, range| format!("{line} {}", text(range)))
            }
            Command::Stat => "Stat".into(),
            Command::List(number) => of("List", number),
            Command::Uidl(number) => of("Uidl", number),
            Command::Retr(number) => format!("Retr {}", number.0),
            Command::Top(number, lines) => format!("Top {} {}", number.0, lines.0),
            Command::Dele(number) => format!("Dele {}", number.0),
            Command::Rset => "Rset".into(),
            Command::Noop => "Noop".into(),
            Command::Quit => "Quit".into(),
        }
    }
}
