//! SMTP command grammar (RFC 5321 section 4.1). A line in, a [`Command`] or the [`Mistake`] in it out.

use super::command::{Body, Command, ForwardPath, Mail, Mistake};
use super::path::{Parameter, Path, parameters, path, strip_ignoring_case};
use crate::base::Secret;

/// Octets of a client's name (RFC 5321 4.5.3.1.2: a domain has at most 255).
const NAME_BYTES_MAX: usize = 255;
/// RFC 4422 section 3.1: a mechanism's name.
const MECHANISM_BYTES_MAX: usize = 20;
/// Commands of RFC 821, 1985 and 2645 that we will not have.
const NOT_IMPLEMENTED: [&[u8]; 6] = [b"SEND", b"SOML", b"SAML", b"TURN", b"ETRN", b"ATRN"];

/// Parses a command line without its end. White space before the end is tolerated (RFC 5321 4.1.1).
pub fn parse(line: &[u8]) -> Result<Command, Mistake> {
    let end = line.iter().rposition(|octet| !b" \t".contains(octet)).map_or(0, |at| at.saturating_add(1));
    let line = line.get(..end).unwrap_or_default();
    if line.is_empty() || line.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t') {
        return Err(Mistake::Garbage);
    }
    let end = line.iter().position(|&octet| octet == b' ').unwrap_or(line.len());
    let (verb, arguments) = line.split_at_checked(end).unwrap_or((line, b""));
    let (verb, arguments) = (verb.to_ascii_uppercase(), arguments.trim_ascii_start());
    match verb.as_slice() {
        b"EHLO" => Ok(Command::Ehlo(name(arguments, "EHLO hostname")?)),
        b"HELO" => Ok(Command::Helo(name(arguments, "HELO hostname")?)),
        b"MAIL" => mail(arguments).map(Command::Mail),
        b"RCPT" => recipient(arguments).map(Command::Rcpt),
        b"DATA" => alone(arguments, Command::Data),
        b"BDAT" => chunk(arguments),
        b"RSET" => alone(arguments, Command::Rset),
        b"NOOP" => Ok(Command::Noop),
        b"QUIT" => alone(arguments, Command::Quit),
        b"HELP" => Ok(Command::Help),
        b"VRFY" => with_argument(arguments, Command::Vrfy, "VRFY address"),
        b"EXPN" => with_argument(arguments, Command::Expn, "EXPN list"),
        b"STARTTLS" => alone(arguments, Command::StartTls),
        b"AUTH" => auth(arguments),
        verb if NOT_IMPLEMENTED.contains(&verb) => Err(Mistake::NotImplemented),
        _ => Err(Mistake::Unknown),
    }
}

fn alone(arguments: &[u8], command: Command) -> Result<Command, Mistake> {
    if arguments.is_empty() { Ok(command) } else { Err(Mistake::Arguments("this command takes no argument")) }
}

fn with_argument(arguments: &[u8], command: Command, usage: &'static str) -> Result<Command, Mistake> {
    if arguments.is_empty() { Err(Mistake::Arguments(usage)) } else { Ok(command) }
}

/// What a client calls itself. Phones and PCs send any name their owner gave them ("Bob's laptop"): nobody is refused for
/// that (RFC 5321 4.1.4), but what could upset a Received field becomes a hyphen.
fn name(arguments: &[u8], usage: &'static str) -> Result<String, Mistake> {
    if arguments.is_empty() || arguments.len() > NAME_BYTES_MAX {
        return Err(Mistake::Arguments(usage));
    }
    let safe = |&octet: &u8| match octet.is_ascii_alphanumeric() || b"-._:[]".contains(&octet) {
        true => char::from(octet),
        false => '-',
    };
    Ok(arguments.iter().map(safe).collect())
}

fn mail(arguments: &[u8]) -> Result<Mail, Mistake> {
    const USAGE: Mistake = Mistake::Arguments("MAIL FROM:<address>");
    // RFC 5321 3.3 forbids a space after the colon; many programs send it. Accepted.
    let text = strip_ignoring_case(arguments, b"FROM:").ok_or(USAGE)?.trim_ascii_start();
    let (path, rest) = path(text, Mistake::Sender)?;
    let mut mail = match path {
        Path::Null => Mail::default(),
        Path::Postmaster => return Err(Mistake::Sender), // RFC 5321 4.1.1.3: only a recipient may do without a domain.
        Path::Address(address) => Mail { from: Some(address), ..Mail::default() },
    };
    for parameter in parameters(rest) {
        mail_parameter(&mut mail, &parameter?)?;
    }
    Ok(mail)
}

fn mail_parameter(mail: &mut Mail, parameter: &Parameter<'_>) -> Result<(), Mistake> {
    let given_before = match parameter.name.to_ascii_uppercase().as_slice() {
        b"SIZE" => mail.size.replace(size(parameter.value)?).is_some(),
        b"BODY" => mail.body.replace(body(parameter.value)?).is_some(),
        b"SMTPUTF8" if parameter.value.is_none() => std::mem::replace(&mut mail.utf8, true),
        b"SMTPUTF8" => return Err(Mistake::Arguments("SMTPUTF8 takes no value")), // RFC 6531 3.4
        b"AUTH" if parameter.value.is_some_and(is_xtext) => std::mem::replace(&mut mail.auth, true),
        b"AUTH" => return Err(Mistake::Arguments("AUTH=<> or AUTH=xtext")),
        _ => return Err(Mistake::Parameter),
    };
    if given_before { Err(Mistake::Arguments("a parameter was given twice")) } else { Ok(()) }
}

/// RFC 1870 section 5: one to twenty digits.
fn size(value: Option<&[u8]>) -> Result<u64, Mistake> {
    value.and_then(number).ok_or(Mistake::Arguments("SIZE=octets"))
}

fn body(value: Option<&[u8]>) -> Result<Body, Mistake> {
    let value = value.ok_or(Mistake::Arguments("BODY=7BIT or BODY=8BITMIME"))?;
    match value.to_ascii_uppercase().as_slice() {
        b"7BIT" => Ok(Body::SevenBit),
        b"8BITMIME" => Ok(Body::EightBitMime),
        _ => Err(Mistake::Parameter), // BINARYMIME (RFC 3030) is not offered.
    }
}

/// RFC 3461 section 4; `<>` is what AUTH says for nobody.
fn is_xtext(value: &[u8]) -> bool {
    let mut octets = value.iter();
    while let Some(&octet) = octets.next() {
        let fine = match octet {
            b'+' => [octets.next(), octets.next()]
                .into_iter()
                .all(|digit| digit.is_some_and(|d| d.is_ascii_digit() || (b'A'..=b'F').contains(d))),
            _ => octet.is_ascii_graphic() && octet != b'=',
        };
        if !fine {
            return false;
        }
    }
    true
}

fn recipient(arguments: &[u8]) -> Result<ForwardPath, Mistake> {
    const USAGE: Mistake = Mistake::Arguments("RCPT TO:<address>");
    let text = strip_ignoring_case(arguments, b"TO:").ok_or(USAGE)?.trim_ascii_start();
    let (path, rest) = path(text, Mistake::Recipient)?;
    let recipient = match path {
        Path::Null => return Err(Mistake::Recipient),
        Path::Postmaster => ForwardPath::Postmaster,
        Path::Address(address) => ForwardPath::Address(address),
    };
    match parameters(rest).next() {
        None => Ok(recipient),
        Some(parameter) => parameter.and(Err(Mistake::Parameter)),
    }
}

/// RFC 3030 section 2: `BDAT chunk-size [LAST]`.
fn chunk(arguments: &[u8]) -> Result<Command, Mistake> {
    let mut words = arguments.split(|&octet| octet == b' ').filter(|word| !word.is_empty());
    let octets = words.next().and_then(number).ok_or(Mistake::ChunkSize)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"LAST") => true,
        Some(_) => return Err(Mistake::ChunkSize),
    };
    if words.next().is_some() { Err(Mistake::ChunkSize) } else { Ok(Command::Bdat { octets, last }) }
}

/// One to twenty digits; what 64 bits cannot hold becomes the most they can.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(text.iter().fold(0, add))
}

/// RFC 4954 section 4: `AUTH mechanism [initial-response]`.
fn auth(arguments: &[u8]) -> Result<Command, Mistake> {
    const USAGE: Mistake = Mistake::Arguments("AUTH mechanism [initial-response]");
    let mut words = arguments.split(|&octet| octet == b' ').filter(|word| !word.is_empty());
    let mechanism = words.next().filter(|word| word.len() <= MECHANISM_BYTES_MAX).ok_or(USAGE)?;
    if !mechanism.iter().all(|&octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_') {
        return Err(USAGE);
    }
    let mechanism = mechanism.iter().map(|octet| char::from(octet.to_ascii_uppercase())).collect();
    let initial = words.next().map(|word| Secret::new(word.to_vec()));
    if words.next().is_some() { Err(USAGE) } else { Ok(Command::Auth { mechanism, initial }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The canonical line of what `line` means, or the mistake in it.
    fn read(line: &str) -> Result<String, Mistake> {
        let printed = parse(line.as_bytes())?.print();
        Ok(String::from_utf8(printed).unwrap().trim_end().to_owned())
    }

    #[test]
    fn commands_are_read() {
        let rows = [
            ("EHLO client.example", "EHLO client.example", "RFC 5321 4.1.1.1"),
            ("ehlo client.example", "EHLO client.example", "RFC 5321 2.4: verbs have no case"),
            ("EHLO [192.0.2.1]", "EHLO [192.0.2.1]", "RFC 5321 4.1.3: an address literal"),
            ("EHLO [IPv6:2001:db8::1]", "EHLO [IPv6:2001:db8::1]", "RFC 5321 4.1.3"),
            ("HELO Bob's laptop", "HELO Bob-s-laptop", "nobody is refused for his name"),
            ("HELO a)(b", "HELO a--b", "no comment can be forged in Received"),
            ("MAIL FROM:<>", "MAIL FROM:<>", "RFC 5321 4.5.5: the null reverse-path"),
            ("mail from:<a@example.net>", "MAIL FROM:<a@example.net>", "keywords have no case"),
            ("MAIL FROM: <a@example.net>", "MAIL FROM:<a@example.net>", "a space that many send"),
            ("MAIL FROM:<@x.example,@y.example:a@example.net>", "MAIL FROM:<a@example.net>", "appendix C: no route"),
            ("MAIL FROM:<\"a b\"@example.net>", "MAIL FROM:<\"a b\"@example.net>", "a quoted local part"),
            ("MAIL FROM:<\"a>b\"@example.net>", "MAIL FROM:<\"a>b\"@example.net>", "brackets inside quotes"),
            ("MAIL FROM:<a@[192.0.2.1]>", "MAIL FROM:<a@[192.0.2.1]>", "RFC 5321 4.1.3"),
            ("MAIL FROM:<a@b.example> SIZE=0", "MAIL FROM:<a@b.example> SIZE=0", "RFC 1870"),
            (
                "MAIL FROM:<a@b.example> size=99999999999999999999",
                "MAIL FROM:<a@b.example> SIZE=18446744073709551615",
                "RFC 1870: up to twenty digits",
            ),
            (
                "MAIL FROM:<a@b.example> BODY=8bitmime  SMTPUTF8",
                "MAIL FROM:<a@b.example> BODY=8BITMIME SMTPUTF8",
                "RFC 6152, 6531",
            ),
            ("MAIL FROM:<a@b.example> BODY=7BIT", "MAIL FROM:<a@b.example> BODY=7BIT", "RFC 6152"),
            (
                "MAIL FROM:<a@b.example> AUTH=e+3Dmc2@example.com",
                "MAIL FROM:<a@b.example> AUTH=<>",
                "RFC 4954 5: not used",
            ),
            ("MAIL FROM:<\u{e4}@b.example> SMTPUTF8", "MAIL FROM:<\u{e4}@b.example> SMTPUTF8", "RFC 6531"),
            ("RCPT TO:<alice@example.org>", "RCPT TO:<alice@example.org>", "RFC 5321 4.1.1.3"),
            ("RCPT TO:<@x.example:alice@example.org>", "RCPT TO:<alice@example.org>", "appendix C"),
            ("RCPT TO:<PostMaster>", "RCPT TO:<postmaster>", "RFC 5321 4.5.1: in any case"),
            ("RCPT TO:<Postmaster@Example.ORG>", "RCPT TO:<Postmaster@example.org>", "with a domain"),
            ("DATA", "DATA", "RFC 5321 4.1.1.4"),
            ("DATA \t ", "DATA", "RFC 5321 4.1.1: trailing white space"),
            ("BDAT 0 LAST", "BDAT 0 LAST", "RFC 3030 2"),
            ("BDAT 1000", "BDAT 1000", "RFC 3030 2"),
            ("bdat 86 last", "BDAT 86 LAST", "no case"),
            ("RSET", "RSET", "RFC 5321 4.1.1.5"),
            ("NOOP anything at all", "NOOP", "RFC 5321 4.1.1.9: the argument is ignored"),
            ("QUIT", "QUIT", "RFC 5321 4.1.1.10"),
            ("HELP MAIL", "HELP", "RFC 5321 4.1.1.8"),
            ("VRFY alice", "VRFY postmaster", "RFC 5321 4.1.1.6"),
            ("EXPN list", "EXPN postmaster", "RFC 5321 4.1.1.7"),
            ("STARTTLS", "STARTTLS", "RFC 3207 4"),
            ("AUTH plain =", "AUTH PLAIN =", "RFC 4954 4: an empty initial response"),
            ("AUTH SCRAM-SHA-256", "AUTH SCRAM-SHA-256", "RFC 4422 3.1"),
        ];
        for (line, expected, why) in rows {
            assert_eq!(read(line).as_deref(), Ok(expected), "{line}: {why}");
        }
    }

    #[test]
    fn mistakes_are_told_apart() {
        let long = format!("RCPT TO:<{}@example.org>", "x".repeat(65));
        let name = format!("EHLO {}", "x".repeat(256));
        let arguments = |line: &str| matches!(read(line), Err(Mistake::Arguments(_)));
        for (line, why) in [
            ("EHLO", "a name is required"),
            (name.as_str(), "a domain has at most 255 octets"),
            ("MAIL", "no path"),
            ("MAIL <a@b.example>", "no FROM:"),
            ("MAIL FROM <a@b.example>", "no colon"),
            ("RCPT FROM:<a@b.example>", "not TO:"),
            ("MAIL FROM:<a@b.example> SIZE=", "an empty value"),
            ("MAIL FROM:<a@b.example> SIZE", "no value"),
            ("MAIL FROM:<a@b.example> SIZE=1k", "not a number"),
            ("MAIL FROM:<a@b.example> SIZE=1 SIZE=1", "given twice"),
            ("MAIL FROM:<a@b.example> SIZE=111111111111111111111", "21 digits"),
            ("MAIL FROM:<a@b.example> SMTPUTF8=1", "RFC 6531 3.4: no value"),
            ("MAIL FROM:<a@b.example> AUTH=a+zz", "not xtext"),
            ("MAIL FROM:<a@b.example> =x", "no keyword"),
            ("MAIL FROM:<a@b.example> A_B=x", "not a keyword"),
            ("DATA now", "no argument allowed"),
            ("RSET x", "no argument allowed"),
            ("QUIT now", "no argument allowed"),
            ("STARTTLS x", "RFC 3207 4: no argument allowed"),
            ("VRFY", "an argument is required"),
            ("EXPN", "an argument is required"),
            ("AUTH", "a mechanism is required"),
            ("AUTH PLAIN a b", "one response at the most"),
            ("AUTH PL*IN", "not a mechanism's name"),
        ] {
            assert!(arguments(line), "{line}: {why}: {:?}", read(line));
        }
        for (line, mistake, why) in [
            ("", Mistake::Garbage, "empty"),
            ("   ", Mistake::Garbage, "blank"),
            ("NOOP \0", Mistake::Garbage, "NUL"),
            ("NOOP a\rb", Mistake::Garbage, "bare CR"),
            ("NOOP\r", Mistake::Garbage, "bare CR before the end"),
            (" NOOP", Mistake::Unknown, "a verb begins the line"),
            ("XYZZY", Mistake::Unknown, "no such command"),
            ("\u{e4}", Mistake::Unknown, "not even ASCII"),
            ("ETRN example.org", Mistake::NotImplemented, "RFC 1985"),
            ("SEND FROM:<a@b.example>", Mistake::NotImplemented, "RFC 5321 F.6"),
            ("MAIL FROM:a@b.example", Mistake::Sender, "no brackets"),
            ("MAIL FROM:<a@b.example", Mistake::Sender, "no closing bracket"),
            ("MAIL FROM:<a@b.example>x", Mistake::Sender, "something glued to the path"),
            ("MAIL FROM:<a b@c.example>", Mistake::Sender, "a space outside quotes"),
            ("MAIL FROM:<a>", Mistake::Sender, "no domain"),
            ("MAIL FROM:<postmaster>", Mistake::Sender, "only a recipient may do without a domain"),
            ("MAIL FROM:<@x.example>", Mistake::Sender, "a route that leads nowhere"),
            ("MAIL FROM:<@x,y:a@b.example>", Mistake::Sender, "each hop begins with @"),
            ("RCPT TO:<>", Mistake::Recipient, "the null path is no recipient"),
            ("RCPT TO:<alice>", Mistake::Recipient, "no domain"),
            (long.as_str(), Mistake::PathTooLong, "RFC 5321 4.5.3.1.1"),
            ("RCPT TO:<a@b.example> NOTIFY=NEVER", Mistake::Parameter, "DSN is not offered"),
            ("MAIL FROM:<a@b.example> RET=HDRS", Mistake::Parameter, "DSN is not offered"),
            ("MAIL FROM:<a@b.example> BODY=BINARYMIME", Mistake::Parameter, "BINARYMIME is not offered"),
            ("BDAT", Mistake::ChunkSize, "no size"),
            ("BDAT -1", Mistake::ChunkSize, "not a size"),
            ("BDAT 1 FIRST", Mistake::ChunkSize, "only LAST"),
            ("BDAT 1 LAST LAST", Mistake::ChunkSize, "once"),
        ] {
            assert_eq!(read(line), Err(mistake), "{line}: {why}");
        }
    }

    fn commands() -> impl Strategy<Value = String> {
        let path = prop_oneof!["", "[a-z.]{1,9}@[a-z]{1,5}\\.example", "\"[ -~]{0,9}\"@[a-z]{1,5}", "postmaster"];
        let parameters = "( (SIZE=[0-9]{1,21}|BODY=[78A-Z]{4,8}|SMTPUTF8|AUTH=[!-~]{1,8}|X=[a-z]{0,3})){0,3}";
        prop_oneof![
            (path.clone(), parameters).prop_map(|(path, rest)| format!("MAIL FROM:<{path}>{rest}")),
            path.prop_map(|path| format!("RCPT TO:<{path}>")),
            "(EHLO|HELO|AUTH|BDAT|VRFY|DATA|RSET|NOOP|QUIT|HELP)( [ -~]{0,20})?",
        ]
    }

    proptest! {
        #[test]
        fn what_parses_prints_to_the_same(line in commands()) {
            if let Ok(command) = parse(line.as_bytes()) {
                let printed = command.print();
                let again = parse(printed.strip_suffix(b"\r\n").unwrap());
                prop_assert_eq!(again.map(|command| command.print()), Ok(printed), "{}", line);
            }
        }

        #[test]
        fn garbage_is_a_mistake_and_never_a_panic(line in proptest::collection::vec(any::<u8>(), 0..120)) {
            drop(parse(&line));
        }
    }
}
