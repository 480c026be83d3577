//! Everything the server can say (RFC 5321 section 4.2), in one table: code, enhanced code (RFC 3463, sent as RFC 2034
//! has it) and words. A peer learns nothing about our files.

use super::command::Mistake;
use std::borrow::Cow;

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The greeting.
    Greeting,
    /// To HELO.
    Helo,
    /// To EHLO.
    Ehlo(Features),
    /// To QUIT.
    Bye,
    /// To RSET and NOOP.
    Ok,
    /// To MAIL.
    SenderOk,
    /// To RCPT.
    RecipientOk,
    /// To DATA: go on.
    StartData,
    /// To BDAT, but for the last.
    ChunkOk {
        /// Octets of this chunk.
        octets: u64,
    },
    /// The message is in the store.
    Stored {
        /// Its name in the log.
        id: String,
    },
    /// To HELP.
    Help,
    /// To VRFY.
    NotVerified,
    /// To STARTTLS: begin.
    StartTls,
    /// The login is right.
    LoggedIn,
    /// A SASL challenge, in base64.
    Challenge(String),

    /// No command, or a path or argument that is wrong.
    Mistake(Mistake),
    /// A command line over the limit.
    LineTooLong,
    /// A response line of AUTH over the limit.
    AuthLineTooLong,
    /// A command line that a bare LF ended.
    BareLineFeed,
    /// A command that this service does not have.
    NotHere,
    /// EHLO must come first.
    HelloFirst,
    /// MAIL was given already.
    NestedMail,
    /// MAIL must come first.
    MailFirst,
    /// DATA after BDAT, or RCPT after BDAT.
    AfterChunk,
    /// No recipient was accepted.
    NoRecipients,
    /// STARTTLS again.
    TlsAlready,
    /// STARTTLS must come first.
    TlsFirst,
    /// AUTH without TLS.
    AuthNeedsTls,
    /// AUTH must come first.
    AuthFirst,
    /// AUTH again.
    AuthAlready,
    /// AUTH inside a mail transaction.
    AuthInMail,
    /// A mechanism we do not have.
    NoSuchMechanism,
    /// The client took AUTH back.
    AuthCancelled,
    /// A response that is not base64 or not what the mechanism wants.
    AuthSyntax,
    /// Wrong name or password.
    WrongPassword,
    /// The login could not be checked.
    LoginLater,

    /// Somebody else's address as the sender.
    NotYourAddress,
    /// An address beyond ASCII without SMTPUTF8.
    NeedsUtf8,
    /// No such mailbox.
    NoSuchUser,
    /// A domain that is not ours, on port 25.
    NoRelay,
    /// A domain that is not ours, in submission.
    NotSentYet,
    /// More recipients than one message may have.
    TooManyRecipients,

    /// Bigger than allowed.
    TooBig {
        /// What is allowed, octets.
        bytes_max: u64,
    },
    /// A bare CR or LF in the message.
    BareLineEnd,
    /// A text line over the limit.
    TextLineTooLong,
    /// A NUL in the message.
    Nul,
    /// It has been through too many servers.
    Loop,
    /// The account is full.
    MailboxFull,
    /// Memory or disk is short.
    NoRoom,
    /// The store cannot do it now.
    TryLater,

    /// Ends the session: the server stops.
    Stopping,
    /// Ends the session: the client was silent or slow.
    TooSlow,
    /// Ends the session: the memory budget is spent.
    NoMemory,
    /// Ends the session: the account was removed or its password changed.
    Revoked,
    /// Ends the session: too many mistakes.
    TooManyErrors,
    /// Ends the session: too many recipients that do not exist.
    TooManyUnknown,
    /// Ends the session: too many wrong passwords.
    TooManyLogins,
    /// Ends the session: too many commands without a message, or too many messages.
    TooMuch,
    /// Ends the session: the client sends far more than it may.
    Flood,
}

/// What EHLO offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Octets of a message at the most (RFC 1870).
    pub message_bytes_max: u64,
    /// STARTTLS (RFC 3207).
    pub start_tls: bool,
    /// AUTH (RFC 4954).
    pub auth: bool,
}

impl Reply {
    /// The lines on the wire, each with its CRLF. `hostname` is ours: greeting, EHLO, 221 and 421 begin with it.
    pub fn print(&self, hostname: &str) -> String {
        let (code, enhanced, words) = self.parts();
        let is_ours = matches!(self, Self::Greeting | Self::Helo | Self::Ehlo(_) | Self::Bye) || code == 421;
        let words = if is_ours { Cow::Owned(format!("{hostname} {words}")) } else { words };
        let mut text = String::new();
        let mut lines = words.split('\n').peekable();
        while let Some(line) = lines.next() {
            let mark = if lines.peek().is_some() { '-' } else { ' ' };
            let space = if enhanced.is_empty() { "" } else { " " };
            text.push_str(&format!("{code}{mark}{enhanced}{space}{line}\r\n"));
        }
        text
    }

    /// The table: code, enhanced code (none in greeting, HELO, EHLO and 3xx: RFC 2034 section 4), words.
    fn parts(&self) -> (u16, &'static str, Cow<'static, str>) {
        let (code, enhanced, words) = match self {
            Self::Greeting => (220, "", "ESMTP Pigeon"),
            Self::Helo => (250, "", "at your service"),
            Self::Ehlo(features) => return (250, "", features.print().into()),
            Self::Bye => (221, "2.0.0", "bye"),
            Self::Ok => (250, "2.0.0", "OK"),
            Self::SenderOk => (250, "2.1.0", "sender OK"),
            Self::RecipientOk => (250, "2.1.5", "recipient OK"),
            Self::StartData => (354, "", "go ahead, end with <CRLF>.<CRLF>"),
            Self::ChunkOk { octets } => return (250, "2.0.0", format!("{octets} octets received").into()),
            Self::Stored { id } => return (250, "2.0.0", format!("stored as {id}").into()),
            Self::Help => (214, "2.0.0", HELP),
            // RFC 5321 3.5.3, 7.3: names are not told.
            Self::NotVerified => (252, "2.5.0", "cannot verify, but will take mail and try"),
            Self::StartTls => (220, "2.0.0", "ready to start TLS"),
            Self::LoggedIn => (235, "2.7.0", "authentication succeeded"),
            Self::Challenge(base64) => return (334, "", base64.clone().into()),

            Self::Mistake(mistake) => return mistake_parts(*mistake),
            Self::LineTooLong => (500, "5.5.2", "line too long"),
            Self::AuthLineTooLong => (500, "5.5.6", "authentication line too long"),
            Self::BareLineFeed => (500, "5.5.2", "a line must end with CRLF"),
            Self::NotHere => (502, "5.5.1", "command not implemented here"),
            Self::HelloFirst => (503, "5.5.1", "say EHLO first"),
            Self::NestedMail => (503, "5.5.1", "MAIL was given already; RSET first"),
            Self::MailFirst => (503, "5.5.1", "say MAIL first"),
            Self::AfterChunk => (503, "5.5.1", "after BDAT only BDAT or RSET"),
            Self::NoRecipients => (554, "5.5.1", "no valid recipients"),
            Self::TlsAlready => (503, "5.5.1", "TLS is on already"),
            Self::TlsFirst => (530, "5.7.0", "must issue a STARTTLS command first"),
            Self::AuthNeedsTls => (538, "5.7.11", "encryption required: STARTTLS first"),
            Self::AuthFirst => (530, "5.7.0", "authentication required"),
            Self::AuthAlready => (503, "5.5.1", "already authenticated"),
            Self::AuthInMail => (503, "5.5.1", "not inside a mail transaction"),
            Self::NoSuchMechanism => (504, "5.5.4", "unrecognized authentication type"),
            Self::AuthCancelled => (501, "5.7.0", "authentication cancelled"),
            Self::AuthSyntax => (501, "5.5.2", "cannot decode the response"),
            Self::WrongPassword => (535, "5.7.8", "authentication credentials invalid"),
            Self::LoginLater => (454, "4.7.0", "temporary authentication failure"),

            Self::NotYourAddress => (553, "5.7.1", "this sender address is not yours"),
            Self::NeedsUtf8 => (553, "5.6.7", "an address beyond ASCII needs SMTPUTF8"),
            Self::NoSuchUser => (550, "5.1.1", "no such mailbox here"),
            Self::NoRelay => (550, "5.7.1", "relaying denied: that domain is not served here"),
            Self::NotSentYet => (550, "5.7.1", "this server does not send yet"),
            Self::TooManyRecipients => (452, "4.5.3", "too many recipients; send the rest in another message"),

            Self::TooBig { bytes_max } => {
                return (552, "5.3.4", format!("message too big: at most {bytes_max} octets").into());
            }
            Self::BareLineEnd => (550, "5.6.11", "bare CR or LF in the message: lines must end with CRLF"),
            Self::TextLineTooLong => (500, "5.6.0", "text line too long"),
            Self::Nul => (550, "5.6.0", "NUL in the message"),
            Self::Loop => (554, "5.4.6", "mail loop: too many Received fields"),
            Self::MailboxFull => (452, "4.2.2", "mailbox full"),
            Self::NoRoom => (452, "4.3.1", "no room for it now; try again later"),
            Self::TryLater => (451, "4.3.0", "trouble here; try again later"),

            Self::Stopping => (421, "4.3.2", "shutting down"),
            Self::TooSlow => (421, "4.4.2", "timed out"),
            Self::NoMemory => (421, "4.3.1", "too busy; try again later"),
            Self::Revoked => (421, "4.7.0", "the account has changed; log in again"),
            Self::TooManyErrors => (421, "4.7.0", "too many errors"),
            Self::TooManyUnknown => (421, "4.7.0", "too many unknown recipients"),
            Self::TooManyLogins => (421, "4.7.0", "too many failed logins"),
            Self::TooMuch => (421, "4.7.0", "enough for one connection; please connect again"),
            Self::Flood => (421, "4.3.4", "far more octets than allowed"),
        };
        (code, enhanced, Cow::Borrowed(words))
    }
}

const HELP: &str = "commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT HELP VRFY STARTTLS AUTH\n\
    see RFC 5321; AUTH is for submission under TLS";

fn mistake_parts(mistake: Mistake) -> (u16, &'static str, Cow<'static, str>) {
    let (code, enhanced, words) = match mistake {
        Mistake::Unknown => (500, "5.5.1", "command not recognized"),
        Mistake::NotImplemented => (502, "5.5.1", "command not implemented"),
        Mistake::Garbage => (500, "5.5.2", "not a command"),
        Mistake::Arguments(usage) => return (501, "5.5.4", format!("syntax: {usage}").into()),
        Mistake::Sender => (501, "5.1.7", "bad sender address: MAIL FROM:<local@domain>"),
        Mistake::Recipient => (501, "5.1.3", "bad recipient address: RCPT TO:<local@domain>"),
        Mistake::PathTooLong => (501, "5.1.0", "path too long"),
        Mistake::Parameter => (555, "5.5.4", "parameter not recognized or not implemented"),
        Mistake::ChunkSize => (501, "5.5.4", "syntax: BDAT octets [LAST]"),
    };
    (code, enhanced, Cow::Borrowed(words))
}

impl Features {
    fn print(self) -> String {
        let size = self.message_bytes_max;
        let mut text =
            format!("at your service\nPIPELINING\nSIZE {size}\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\nCHUNKING");
        if self.start_tls {
            text.push_str("\nSTARTTLS");
        }
        if self.auth {
            text.push_str("\nAUTH PLAIN LOGIN");
        }
        text.push_str("\nHELP");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "mx.example.org";

    /// Every reply but those with arguments that only differ in words.
    #[rustfmt::skip]
    fn all() -> Vec<Reply> {
        use Reply::*;
        use super::super::command::Mistake as Wrong;
        let features = Features { message_bytes_max: 1, start_tls: true, auth: true };
        let mut all = vec![
            Greeting, Helo, Ehlo(features), Bye, Ok, SenderOk, RecipientOk, StartData, ChunkOk { octets: 7 },
            Stored { id: "x".into() }, Help, NotVerified, StartTls, LoggedIn, Challenge("Zm9v".into()), LineTooLong,
            AuthLineTooLong, BareLineFeed, NotHere, HelloFirst, NestedMail, MailFirst, AfterChunk, NoRecipients,
            TlsAlready, TlsFirst, AuthNeedsTls, AuthFirst, AuthAlready, AuthInMail, NoSuchMechanism, AuthCancelled,
            AuthSyntax, WrongPassword, LoginLater, NotYourAddress, NeedsUtf8, NoSuchUser, NoRelay, NotSentYet,
            TooManyRecipients, TooBig { bytes_max: u64::MAX }, BareLineEnd, TextLineTooLong, Nul, Loop, MailboxFull,
            NoRoom, TryLater, Stopping, TooSlow, NoMemory, Revoked, TooManyErrors, TooManyUnknown, TooManyLogins,
            TooMuch, Flood,
        ];
        all.extend([
            Wrong::Unknown, Wrong::NotImplemented, Wrong::Garbage, Wrong::Arguments("X"), Wrong::Sender,
            Wrong::Recipient, Wrong::PathTooLong, Wrong::Parameter, Wrong::ChunkSize,
        ].map(Reply::Mistake));
        all
    }

    /// A client's reading of a whole reply (RFC 5321 4.2.1): its code and its lines' texts.
    fn read(reply: &str) -> Option<(u16, Vec<&str>)> {
        let mut lines = reply.strip_suffix("\r\n")?.split("\r\n").peekable();
        let (mut code, mut texts) = (None, Vec::new());
        while let Some(line) = lines.next() {
            let (digits, text) = (line.get(..3)?.parse().ok()?, line.get(4..)?);
            let mark = if lines.peek().is_some() { "-" } else { " " };
            if line.get(3..4)? != mark || *code.get_or_insert(digits) != digits {
                return None;
            }
            texts.push(text);
        }
        Some((code?, texts))
    }

    #[test]
    fn every_reply_is_one_that_a_client_can_read() {
        for reply in all() {
            let text = reply.print(HOST);
            let (code, texts) = read(&text).unwrap_or_else(|| panic!("{reply:?} prints {text:?}"));
            assert!((200..600).contains(&code), "{text}");
            assert!(text.split_inclusive("\r\n").all(|line| line.len() <= 512), "RFC 5321 4.5.3.1.5: {text}");
            assert!(text.is_ascii() && texts.iter().all(|text| !text.contains(['\r', '\n'])), "{text}");
        }
    }

    #[test]
    fn enhanced_codes_are_there_and_agree_with_the_code() {
        // RFC 2034 section 4: in every 2xx, 4xx and 5xx but the greeting and the answers to HELO and EHLO.
        for reply in all() {
            let text = reply.print(HOST);
            let (code, texts) = read(&text).unwrap();
            let bare = matches!(reply, Reply::Greeting | Reply::Helo | Reply::Ehlo(_)) || code / 100 == 3;
            for line in texts {
                let enhanced: Vec<_> = line.split(' ').next().unwrap_or_default().split('.').collect();
                let is_code = enhanced.len() == 3 && enhanced.iter().all(|part| part.parse::<u16>().is_ok());
                assert_eq!(is_code, !bare, "{text}");
                assert!(bare || enhanced[0] == (code / 100).to_string(), "{text}");
            }
        }
    }

    #[test]
    fn codes_are_those_of_the_rfcs() {
        for (reply, start, source) in [
            (Reply::Greeting, "220 mx.example.org ", "RFC 5321 4.2: the domain comes first"),
            (Reply::Bye, "221 2.0.0 mx.example.org ", "RFC 5321 4.2"),
            (Reply::Stopping, "421 4.3.2 mx.example.org ", "RFC 5321 3.8"),
            (Reply::StartData, "354 ", "RFC 5321 4.1.1.4"),
            (Reply::NotVerified, "252 ", "RFC 5321 3.5.3"),
            (Reply::Mistake(Mistake::Unknown), "500 5.5.1 ", "RFC 5321 4.2.4"),
            (Reply::Mistake(Mistake::NotImplemented), "502 5.5.1 ", "RFC 5321 4.2.4"),
            (Reply::Mistake(Mistake::Parameter), "555 5.5.4 ", "RFC 5321 4.1.1.11"),
            (Reply::MailFirst, "503 5.5.1 ", "RFC 5321 4.1.4"),
            (Reply::NoRecipients, "554 5.5.1 ", "RFC 5321 3.3"),
            (Reply::NoSuchUser, "550 5.1.1 ", "RFC 5321 3.3, RFC 3463 3.2"),
            (Reply::NoRelay, "550 5.7.1 ", "RFC 3463 3.8"),
            (Reply::TooManyRecipients, "452 4.5.3 ", "RFC 5321 4.5.3.1.10"),
            (Reply::TooBig { bytes_max: 5 }, "552 5.3.4 ", "RFC 1870 6.1, RFC 3463 3.4"),
            (Reply::Loop, "554 5.4.6 ", "RFC 5321 6.3, RFC 3463 3.5"),
            (Reply::TlsFirst, "530 5.7.0 ", "RFC 3207 4"),
            (Reply::AuthFirst, "530 5.7.0 ", "RFC 4954 6"),
            (Reply::AuthNeedsTls, "538 5.7.11 ", "RFC 4954 6"),
            (Reply::WrongPassword, "535 5.7.8 ", "RFC 4954 6"),
            (Reply::LoginLater, "454 4.7.0 ", "RFC 4954 6"),
            (Reply::AuthLineTooLong, "500 5.5.6 ", "RFC 4954 6"),
            (Reply::NoSuchMechanism, "504 5.5.4 ", "RFC 4954 4"),
            (Reply::NeedsUtf8, "553 5.6.7 ", "RFC 6531 3.5"),
            (Reply::TooSlow, "421 4.4.2 ", "RFC 3463 3.5"),
        ] {
            let text = reply.print(HOST);
            assert!(text.starts_with(start), "{source}: {text}");
        }
    }

    #[test]
    fn ehlo_offers_what_the_connection_allows() {
        let plain = Features { message_bytes_max: 1000, start_tls: true, auth: false };
        let expected = "250-mx.example.org at your service\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n\
            250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250-STARTTLS\r\n250 HELP\r\n";
        assert_eq!(Reply::Ehlo(plain).print(HOST), expected);
        let under_tls = Reply::Ehlo(Features { start_tls: false, auth: true, ..plain }).print(HOST);
        assert!(under_tls.contains("\r\n250-AUTH PLAIN LOGIN\r\n") && !under_tls.contains("STARTTLS"));
    }

    proptest! {
        #[test]
        fn dynamic_replies_stay_readable(octets: u64, id in "[0-9a-f]{16}", base64 in "[A-Za-z0-9+/=]{0,40}") {
            for reply in [Reply::ChunkOk { octets }, Reply::Stored { id: id.clone() }, Reply::Challenge(base64.clone())] {
                let text = reply.print(HOST);
                prop_assert!(read(&text).is_some(), "{text}");
            }
        }
    }
}
