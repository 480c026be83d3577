//! One connection's dialogue (RFC 5321 section 3): a command is read, obeyed and answered. What belongs to a mail
//! transaction is in `transaction`, to AUTH in `auth`.

use super::grammar::{Command, Features, Mistake, Reply, parse};
use super::limits::*;
use super::transaction::Transaction;
use super::{Context, Role};
use crate::accounts::Login;
use crate::net::{Wire, WireError};
use crate::store::Refusal;
use std::time::Duration;

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) wire: Wire,
    pub(super) context: Context,
    /// What EHLO or HELO said; nothing before, and again nothing after STARTTLS.
    pub(super) hello: Option<Hello>,
    /// Who has logged in; submission only.
    pub(super) login: Option<Login>,
    /// Between MAIL and the message's end.
    pub(super) transaction: Option<Box<Transaction>>,
    pub(super) counts: Counts,
    /// When the last message was handed in, or the connection began; monotonic.
    fruitful: Duration,
    /// Whether the last line ended in a bare LF: what comes before the next CRLF belongs to it (RFC 5321 2.3.8).
    in_broken_line: bool,
}

/// How a client introduced itself.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) name: String,
    /// EHLO, not HELO.
    pub(super) extended: bool,
}

/// What a client has spent.
#[derive(Debug, Default)]
pub(super) struct Counts {
    errors: u32,
    commands: u32,
    messages: u32,
    pub(super) unknown_recipients: u32,
    pub(super) logins_failed: u32,
}

/// The session is over; these are its last words, if there is anybody to hear them.
#[derive(Debug)]
pub(super) struct Last(pub(super) Option<Reply>);

impl Session {
    pub(super) fn new(wire: Wire, context: Context) -> Self {
        let fruitful = wire.clock().monotonic();
        Self {
            wire,
            context,
            hello: None,
            login: None,
            transaction: None,
            counts: Counts::default(),
            fruitful,
            in_broken_line: false,
        }
    }

    /// From the greeting to the end.
    #[expect(clippy::manual_async_fn, reason = "an async function's future would hold the session twice")]
    pub(super) fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            let Last(words) = self.dialogue().await;
            if let Some(words) = words {
                self.wire.put(words.print(&self.context.hostname).as_bytes());
            }
            Box::pin(self.wire.close()).await;
        }
    }

    async fn dialogue(&mut self) -> Last {
        if let Err(last) = self.say(Reply::Greeting).await {
            return last;
        }
        loop {
            let command = match self.command().await {
                Ok(command) => command,
                Err(last) => return last,
            };
            // Boxed: a session that waits for a command is to be small.
            let obeyed = match command {
                Ok(command) => Box::pin(self.obey(command)).await,
                Err(reply) => Box::pin(self.wrong(reply)).await,
            };
            if let Err(last) = obeyed {
                return last;
            }
        }
    }

    /// The next command, or what to answer to a line that is none.
    async fn command(&mut self) -> Result<Result<Command, Reply>, Last> {
        self.counts.commands += 1;
        if self.counts.commands > FRUITLESS_COMMANDS_MAX {
            return Err(Last(Some(Reply::TooMuch)));
        }
        let since = self.wire.clock().monotonic().saturating_sub(self.fruitful);
        let wait = FRUITLESS.saturating_sub(since).min(COMMAND_WAIT);
        let bytes_max = if self.may_log_in() { AUTH_BYTES_MAX } else { COMMAND_BYTES_MAX };
        let line = match self.wire.line(bytes_max, wait).await {
            Ok(line) => line,
            Err(WireError::LineTooLong) => return Ok(Err(Reply::LineTooLong)),
            Err(error) => return Err(error.into()),
        };
        let was_broken = std::mem::replace(&mut self.in_broken_line, !line.crlf);
        if was_broken || self.in_broken_line {
            return Ok(Err(Reply::BareLineFeed));
        }
        Ok(parse(&line.text).map_err(Reply::Mistake))
    }

    async fn obey(&mut self, command: Command) -> Result<(), Last> {
        match command {
            Command::Ehlo(name) => self.hello(name, true).await,
            Command::Helo(name) => self.hello(name, false).await,
            Command::Mail(mail) => self.mail(mail).await,
            Command::Rcpt(path) => self.recipient(path).await,
            Command::Data => self.data().await,
            Command::Bdat { octets, last } => self.chunk(octets, last).await,
            Command::Rset => {
                self.transaction = None;
                self.say(Reply::Ok).await
            }
            Command::Noop => self.say(Reply::Ok).await,
            Command::Quit => Err(Last(Some(Reply::Bye))),
            Command::Help => self.say(Reply::Help).await,
            Command::Vrfy => self.say(Reply::NotVerified).await,
            Command::Expn => self.wrong(Reply::NotHere).await,
            Command::StartTls => self.start_tls().await,
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial).await,
        }
    }

    /// RFC 5321 4.1.1.1; both also do what RSET does (4.1.4).
    async fn hello(&mut self, name: String, extended: bool) -> Result<(), Last> {
        self.transaction = None;
        self.hello = Some(Hello { name, extended });
        if !extended {
            return self.say(Reply::Helo).await;
        }
        let message_bytes_max = self.context.message_bytes_max;
        let start_tls = !self.wire.is_tls();
        self.say(Reply::Ehlo(Features { message_bytes_max, start_tls, auth: self.may_log_in() })).await
    }

    /// RFC 3207: everything the client said before is forgotten, and so is what it sent ahead of the handshake.
    async fn start_tls(&mut self) -> Result<(), Last> {
        if self.wire.is_tls() {
            return self.wrong(Reply::TlsAlready).await;
        }
        self.say(Reply::StartTls).await?;
        self.transaction = None;
        self.hello = None;
        let config = self.context.tls.config();
        self.wire.start_tls(config).await.map_err(|error| {
            log::debug!("smtp: no TLS with {}: {error:?}", self.wire.peer().ip());
            Last(None)
        })
    }

    /// Whether AUTH is on offer.
    fn may_log_in(&self) -> bool {
        self.context.role == Role::Submission && self.wire.is_tls() && self.login.is_none()
    }

    /// Answers.
    pub(super) async fn say(&mut self, reply: Reply) -> Result<(), Last> {
        let text = reply.print(&self.context.hostname);
        Ok(self.wire.send(text.as_bytes()).await?)
    }

    /// Answers a mistake, which counts.
    pub(super) async fn wrong(&mut self, reply: Reply) -> Result<(), Last> {
        self.counts.errors += 1;
        if self.counts.errors >= ERRORS_MAX {
            return Err(Last(Some(Reply::TooManyErrors)));
        }
        self.say(reply.clone()).await?;
        match reply {
            // What follows is as likely the chunk as a command.
            Reply::Mistake(Mistake::ChunkSize) => Err(Last(None)),
            _ => Ok(()),
        }
    }

    /// A message is in the store: the client may go on for as long again.
    pub(super) fn has_handed_in(&mut self) {
        self.fruitful = self.wire.clock().monotonic();
        self.counts.commands = 0;
        self.counts.messages += 1;
    }

    /// Whether this connection has handed in as many messages as one may.
    pub(super) fn is_spent(&self) -> bool {
        self.counts.messages >= MESSAGES_MAX
    }
}

impl From<WireError> for Last {
    fn from(error: WireError) -> Self {
        Self(match error {
            WireError::Closed => None,
            WireError::TimedOut => Some(Reply::TooSlow),
            WireError::LineTooLong => Some(Reply::LineTooLong),
            WireError::NoMemory => Some(Reply::NoMemory),
            WireError::Stopping => Some(Reply::Stopping),
            WireError::Revoked => Some(Reply::Revoked),
            WireError::Failed(error) => {
                log::debug!("smtp: a connection failed: {error}");
                None
            }
        })
    }
}

/// What to say when the store, or what stands on it, refuses.
impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NoSuchUser, // removed since RCPT
            Refusal::OverQuota => Self::MailboxFull,
            Refusal::NoMemory | Refusal::DiskFull => Self::NoRoom,
            Refusal::Exists | Refusal::NotAllowed | Refusal::Limit | Refusal::Unavailable | Refusal::Damaged => {
                Self::TryLater
            }
        }
    }
}
