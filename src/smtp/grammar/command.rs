//! What a client can say (RFC 5321 section 4.1, RFC 3030, RFC 3207, RFC 4954), as types; and how each is printed.

use crate::base::Secret;
use crate::mail::Address;

/// One command, parsed whole.
#[derive(Clone, Debug)]
pub enum Command {
    /// EHLO with what the client calls itself, safe to quote in a header.
    Ehlo(String),
    /// HELO, as before.
    Helo(String),
    /// MAIL FROM.
    Mail(Mail),
    /// RCPT TO; no parameter of it is supported.
    Rcpt(ForwardPath),
    /// DATA.
    Data,
    /// BDAT (RFC 3030 section 2): so many octets follow the line.
    Bdat {
        /// How many; more than 64 bits can hold becomes the most they can.
        octets: u64,
        /// Whether they end the message.
        last: bool,
    },
    /// RSET.
    Rset,
    /// NOOP, its argument ignored.
    Noop,
    /// QUIT.
    Quit,
    /// HELP, its argument ignored.
    Help,
    /// VRFY; whom is not looked at.
    Vrfy,
    /// EXPN; what is not looked at.
    Expn,
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH (RFC 4954 section 4).
    Auth {
        /// The mechanism's name in upper case.
        mechanism: String,
        /// The initial response in base64, or `=` for an empty one.
        initial: Option<Secret>,
    },
}

/// MAIL with its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// The reverse-path; `None` is the null one, `<>`.
    pub from: Option<Address>,
    /// SIZE (RFC 1870), octets; more than 64 bits can hold becomes the most they can.
    pub size: Option<u64>,
    /// BODY (RFC 6152).
    pub body: Option<Body>,
    /// SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// Whether there was an AUTH parameter (RFC 4954 section 5); its value is not used.
    pub auth: bool,
}

/// What the client says about the body (RFC 6152).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// 7BIT
    SevenBit,
    /// 8BITMIME
    EightBitMime,
}

/// To whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardPath {
    /// An address; a source route before it is dropped (RFC 5321 appendix C).
    Address(Address),
    /// `<postmaster>` without a domain (RFC 5321 section 4.5.1).
    Postmaster,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// No such command.
    Unknown,
    /// A command that RFCs know and we do not implement.
    NotImplemented,
    /// No command at all: empty, or with control characters.
    Garbage,
    /// The arguments are wrong; this is how they go.
    Arguments(&'static str),
    /// The reverse-path is no path.
    Sender,
    /// The forward-path is no path.
    Recipient,
    /// A path is longer than RFC 5321 section 4.5.3.1 allows.
    PathTooLong,
    /// A parameter of MAIL or RCPT that is not supported.
    Parameter,
    /// BDAT without a usable size: what follows cannot be told from commands.
    ChunkSize,
}

impl Command {
    /// The line, CRLF included: what [`super::parse()`] reads back as the same.
    pub fn print(&self) -> Vec<u8> {
        let mut line = match self {
            Self::Ehlo(name) => format!("EHLO {name}"),
            Self::Helo(name) => format!("HELO {name}"),
            Self::Mail(mail) => mail.print(),
            Self::Rcpt(ForwardPath::Address(address)) => format!("RCPT TO:<{address}>"),
            Self::Rcpt(ForwardPath::Postmaster) => "RCPT TO:<postmaster>".to_owned(),
            Self::Data => "DATA".to_owned(),
            Self::Bdat { octets, last: false } => format!("BDAT {octets}"),
            Self::Bdat { octets, last: true } => format!("BDAT {octets} LAST"),
            Self::Rset => "RSET".to_owned(),
            Self::Noop => "NOOP".to_owned(),
            Self::Quit => "QUIT".to_owned(),
            Self::Help => "HELP".to_owned(),
            Self::Vrfy => "VRFY postmaster".to_owned(),
            Self::Expn => "EXPN postmaster".to_owned(),
            Self::StartTls => "STARTTLS".to_owned(),
            Self::Auth { mechanism, .. } => format!("AUTH {mechanism}"),
        }
        .into_bytes();
        if let Self::Auth { initial: Some(initial), .. } = self {
            line.push(b' ');
            line.extend_from_slice(initial.expose());
        }
        line.extend_from_slice(b"\r\n");
        line
    }
}

impl Mail {
    fn print(&self) -> String {
        let mut line = match &self.from {
            Some(address) => format!("MAIL FROM:<{address}>"),
            None => "MAIL FROM:<>".to_owned(),
        };
        if let Some(size) = self.size {
            line.push_str(&format!(" SIZE={size}"));
        }
        match self.body {
            Some(Body::SevenBit) => line.push_str(" BODY=7BIT"),
            Some(Body::EightBitMime) => line.push_str(" BODY=8BITMIME"),
            None => (),
        }
        if self.utf8 {
            line.push_str(" SMTPUTF8");
        }
        if self.auth {
            line.push_str(" AUTH=<>");
        }
        line
    }
}
