//! A POP3 session from greeting to farewell, as RFC 1939 tells it: AUTHORIZATION here, TRANSACTION and UPDATE in
//! `transaction`. No lock is taken on the maildrop: other sessions, POP3's and IMAP's, go on beside this one.

use super::Context;
use super::grammar::{Command, Fault, LINE_BYTES_MAX};
use super::maildrop::Maildrop;
use super::transaction::{self, OpenError};
use crate::accounts::LoginError;
use crate::base::Secret;
use crate::net::{Wire, WireError};
use crate::sasl::{Credentials, Exchange, Mechanism, base64};
use std::time::Duration;

/// RFC 1939 section 3: the autologout timer runs at least ten minutes.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// Before login in all, whatever the client says meanwhile.
const STRANGER_TIME: Duration = Duration::from_secs(15 * 60);
/// Failed logins on one connection; the last one ends it.
const FAILED_LOGINS_MAX: u8 = 3;
/// Lines that are no command, or none for the state, on one connection; the last one ends it.
const FAULTS_MAX: u8 = 20;
/// A SASL response in base64 (RFC 5034 section 4 frees it from the limit on command lines): PLAIN with the longest fields.
const RESPONSE_BYTES_MAX: usize = 6 * 1024;

/// Serves one connection to its end; on a port with implicit TLS the handshake is done already.
pub async fn serve(mut wire: Wire, context: Context) {
    if let Err(error) = dialogue(&mut wire, &context).await {
        match error {
            WireError::Stopping => wire.put(b"-ERR [SYS/TEMP] the server stops; try again later\r\n"),
            WireError::NoMemory => wire.put(b"-ERR [SYS/TEMP] the server has no memory to spare; try again later\r\n"),
            WireError::Revoked => wire.put(b"-ERR [AUTH] the account has changed; log in again\r\n"),
            // RFC 1939 section 3: the autologout sends nothing and removes nothing.
            WireError::TimedOut | WireError::Closed | WireError::LineTooLong | WireError::Failed(_) => (),
        }
    }
    wire.close().await;
}

async fn dialogue(wire: &mut Wire, context: &Context) -> Result<(), WireError> {
    // No timestamp in the greeting: APOP is not offered (RFC 1939 section 7).
    wire.put(format!("+OK {} POP3 server ready\r\n", context.hostname).as_bytes());
    let mut faults = Faults(0);
    match authorization(wire, context, &mut faults).await? {
        Some(maildrop) => transaction::serve(wire, &context.store, maildrop, &mut faults).await,
        None => Ok(()),
    }
}

/// Lines so far that were no command, or none for the state.
pub(super) struct Faults(u8);

impl Faults {
    /// Answers a fault; whether that was one too many.
    pub(super) fn answer(&mut self, wire: &mut Wire, words: &str) -> bool {
        self.0 = self.0.saturating_add(1);
        if self.0 >= FAULTS_MAX {
            wire.put(b"-ERR too many errors; goodbye\r\n");
            return true;
        }
        wire.put(format!("-ERR {words}\r\n").as_bytes());
        false
    }
}

/// The next command, which comes before `until` (monotonic); lines that are none are answered here. `None` after too many of
/// them: the session ends.
pub(super) async fn command(
    wire: &mut Wire,
    faults: &mut Faults,
    until: Duration,
) -> Result<Option<Command>, WireError> {
    loop {
        let wait = patience(wire, until)?;
        let is_last = match wire.line(LINE_BYTES_MAX, wait).await {
            Ok(line) => {
                let parsed = Command::parse(&line.text);
                drop(Secret::new(line.text)); // it may hold a password
                match parsed {
                    Ok(command) => return Ok(Some(command)),
                    Err(Fault::Unknown) => faults.answer(wire, "unknown command"),
                    Err(Fault::Syntax(usage)) => faults.answer(wire, &format!("syntax: {usage}")),
                }
            }
            Err(WireError::LineTooLong) => faults.answer(wire, "the line is too long"),
            Err(error) => return Err(error),
        };
        if is_last {
            return Ok(None);
        }
    }
}

/// How long a client may take for its next line.
fn patience(wire: &Wire, until: Duration) -> Result<Duration, WireError> {
    let left = until.checked_sub(wire.clock().monotonic()).ok_or(WireError::TimedOut)?;
    Ok(left.min(IDLE))
}

/// What a client can do before and after it has logged in (RFC 2449 section 5).
pub(super) fn capabilities(wire: &mut Wire, is_logged_in: bool) {
    wire.put(b"+OK capability list follows\r\n");
    wire.put(b"TOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nEXPIRE NEVER\r\nUTF8 USER\r\nLANG\r\n");
    if !is_logged_in && takes_passwords(wire) {
        wire.put(b"USER\r\nSASL");
        for mechanism in Mechanism::ALL {
            wire.put(format!(" {}", mechanism.name()).as_bytes());
        }
        wire.put(b"\r\n");
    }
    if !is_logged_in && !wire.is_tls() {
        wire.put(b"STLS\r\n"); // RFC 2595 section 4: in AUTHORIZATION only, and not under TLS
    }
    wire.put(b"IMPLEMENTATION Pigeon\r\n.\r\n");
}

/// LANG (RFC 6856 section 3): everything is said in English, which is also what `i-default` and `*` give.
pub(super) fn language(wire: &mut Wire, ranges: &[Vec<u8>]) {
    if ranges.is_empty() {
        wire.put(b"+OK languages follow\r\ni-default English\r\nen English\r\n.\r\n");
        return;
    }
    let tag = ranges.iter().find_map(|range| match range.to_ascii_lowercase().as_slice() {
        b"i-default" => Some("i-default"),
        b"*" | b"en" => Some("en"),
        range if range.starts_with(b"en-") => Some("en"), // RFC 4647 section 3.4
        _ => None,
    });
    match tag {
        Some(tag) => wire.put(format!("+OK {tag} language changed\r\n").as_bytes()),
        None => wire.put(b"-ERR en no such language; LANG lists those there are\r\n"),
    }
}

/// Passwords go over TLS, or over no network at all (RFC 2595 section 4 lets a server refuse the rest).
fn takes_passwords(wire: &Wire) -> bool {
    wire.is_tls() || wire.is_loopback()
}

/// RFC 1939 section 4. The maildrop of whoever logged in; `None` when the session is over.
async fn authorization(wire: &mut Wire, context: &Context, faults: &mut Faults) -> Result<Option<Maildrop>, WireError> {
    let mut user: Option<Vec<u8>> = None;
    let mut failures = 0;
    let until = wire.clock().monotonic().saturating_add(STRANGER_TIME);
    wire.set_stranger(true);
    while let Some(command) = command(wire, faults, until).await? {
        let credentials = match command {
            Command::User(_) | Command::Pass(_) | Command::Auth(Some(_)) if !takes_passwords(wire) => {
                wire.put(b"-ERR [AUTH] passwords are taken under TLS only: use STLS, or port 995\r\n");
                continue;
            }
            Command::User(name) => {
                // Whether there is such a user is not told.
                wire.put(b"+OK now the password\r\n");
                user = Some(name);
                continue;
            }
            Command::Pass(password) => match user.take() {
                Some(name) => Credentials { name, password },
                None => {
                    if faults.answer(wire, "USER comes first") {
                        return Ok(None);
                    }
                    continue;
                }
            },
            Command::Auth(None) => {
                mechanisms(wire);
                continue;
            }
            Command::Auth(Some((name, initial))) => {
                user = None;
                match Box::pin(authenticate(wire, &name, initial, until)).await? {
                    Ok(credentials) => credentials,
                    Err(words) => {
                        if faults.answer(wire, words) {
                            return Ok(None);
                        }
                        continue;
                    }
                }
            }
            Command::Stls if wire.is_tls() => {
                wire.put(b"-ERR TLS is active already\r\n");
                continue;
            }
            Command::Stls => {
                wire.put(b"+OK begin TLS\r\n");
                // What was sent ahead in plain text is dropped, and so is what it told us (RFC 2595 section 4).
                Box::pin(wire.start_tls(context.tls.config())).await?;
                user = None;
                continue;
            }
            Command::Capa => {
                capabilities(wire, false);
                continue;
            }
            Command::Utf8 => {
                // RFC 6856 section 2: messages go out as they are stored in either mode, names and passwords come as UTF-8.
                wire.put(b"+OK UTF8 enabled\r\n");
                continue;
            }
            Command::Lang(ranges) => {
                language(wire, &ranges);
                continue;
            }
            Command::Apop => {
                wire.put(b"-ERR APOP is not offered: use USER and PASS, or AUTH\r\n");
                continue;
            }
            Command::Quit => {
                wire.put(b"+OK goodbye\r\n");
                return Ok(None);
            }
            Command::Stat
            | Command::List(_)
            | Command::Uidl(_)
            | Command::Retr(_)
            | Command::Top(..)
            | Command::Dele(_)
            | Command::Rset
            | Command::Noop => {
                if faults.answer(wire, "log in first") {
                    return Ok(None);
                }
                continue;
            }
        };
        match Box::pin(log_in(wire, context, credentials)).await {
            Ok(maildrop) => return Ok(Some(maildrop)),
            Err(Refused::Wrong) => {
                failures += 1;
                wire.put(b"-ERR [AUTH] wrong name or password\r\n");
                if failures >= FAILED_LOGINS_MAX {
                    return Ok(None);
                }
            }
            Err(Refused::TryLater) => wire.put(b"-ERR [SYS/TEMP] cannot log you in now; try again later\r\n"),
            Err(Refused::Damaged) => wire.put(b"-ERR [SYS/PERM] the maildrop is damaged\r\n"),
        }
    }
    Ok(None)
}

/// Why nobody was logged in.
enum Refused {
    Wrong,
    TryLater,
    Damaged,
}

/// Checks the password and opens the maildrop; the session ends from now on when the account does.
async fn log_in(wire: &mut Wire, context: &Context, credentials: Credentials) -> Result<Maildrop, Refused> {
    let Credentials { name, password } = credentials;
    let login = match context.accounts.login(&name, &password, wire.peer().ip()).await {
        Ok(login) => login,
        Err(LoginError::Wrong) => return Err(Refused::Wrong),
        Err(LoginError::TryLater) => return Err(Refused::TryLater),
    };
    match transaction::open(&context.store, login.id, wire.budget()).await {
        Ok(maildrop) => {
            wire.set_stranger(false);
            wire.end_with(Some(login.ended));
            wire.put(format!("+OK {} messages ({} octets)\r\n", maildrop.count(), maildrop.octets()).as_bytes());
            Ok(maildrop)
        }
        Err(OpenError::TryLater) => Err(Refused::TryLater),
        Err(OpenError::Damaged) => Err(Refused::Damaged),
    }
}

/// AUTH alone (as RFC 1734's drafts had it, and clients still ask): the mechanisms, one a line.
fn mechanisms(wire: &mut Wire) {
    wire.put(b"+OK mechanisms follow\r\n");
    if takes_passwords(wire) {
        for mechanism in Mechanism::ALL {
            wire.put(format!("{}\r\n", mechanism.name()).as_bytes());
        }
    }
    wire.put(b".\r\n");
}

/// RFC 5034 section 4: challenges and responses until there are credentials, or words that say why there are none.
async fn authenticate(
    wire: &mut Wire,
    mechanism: &[u8],
    initial: Option<Secret>,
    until: Duration,
) -> Result<Result<Credentials, &'static str>, WireError> {
    const MALFORMED: &str = "the response is malformed";
    let Some(mechanism) = Mechanism::parse(mechanism) else {
        return Ok(Err("no such mechanism"));
    };
    let mut exchange = Exchange::new(mechanism);
    let mut waiting = initial;
    loop {
        let response = match waiting.take() {
            // A lone `=` is an initial response without octets.
            Some(initial) if initial.expose() == b"=" => Secret::new(Vec::new()),
            Some(initial) => initial,
            None => {
                wire.put(format!("+ {}\r\n", base64::encode(exchange.challenge())).as_bytes());
                let wait = patience(wire, until)?;
                match wire.line(RESPONSE_BYTES_MAX, wait).await {
                    Ok(line) => Secret::new(line.text),
                    Err(WireError::LineTooLong) => return Ok(Err("the response is too long")),
                    Err(error) => return Err(error),
                }
            }
        };
        if response.expose() == b"*" {
            return Ok(Err("authentication cancelled"));
        }
        let Some(octets) = base64::decode(response.expose()).map(Secret::new) else {
            return Ok(Err(MALFORMED));
        };
        match exchange.answer(octets.expose()) {
            Ok(Some(credentials)) => return Ok(Ok(credentials)),
            Ok(None) => (),
            Err(crate::sasl::Failure::Malformed) => return Ok(Err(MALFORMED)),
            Err(crate::sasl::Failure::OtherIdentity) => {
                return Ok(Err("[AUTH] you cannot act as somebody else"));
            }
        }
    }
}
