//! An IMAP session (RFC 3501 section 3): greeting, commands one after another, BYE. Each command is a short function in
//! the file of its topic; what is rare or large is boxed, so that a session that waits is small.

use super::failure::{End, Failure};
use super::grammar::{Code, Command, CommandBody, Condition, Tag, reply};
use super::sync::Expunges;
use super::view::View;
use super::{capability, input};
use crate::accounts::Accounts;
use crate::base::Grant;
use crate::net::{Wire, WireError};
use crate::store::{AccountId, Store, Watch};
use crate::tls::Tls;
use std::sync::Arc;
use std::time::Duration;

/// Commands refused in a row before the session ends: no program means it any more.
const REFUSED_IN_A_ROW_MAX: u8 = 25;
/// RFC 3501 5.4: at least 30 minutes. IDLE is to be renewed every 29 (RFC 2177).
pub(super) const AUTOLOGOUT: Duration = Duration::from_secs(30 * 60);
/// Before login, for a command.
pub(super) const LOGIN_WAIT: Duration = Duration::from_secs(3 * 60);
/// Before login in all, whatever the client says meanwhile.
const STRANGER_TIME: Duration = Duration::from_secs(10 * 60);

/// What every session of a server shares; cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// Our name, for the greeting.
    pub hostname: Arc<str>,
    /// Octets of a message at the most, for APPEND.
    pub message_bytes_max: u64,
    /// Where mail is.
    pub store: Store,
    /// Who may log in.
    pub accounts: Accounts,
    /// For STARTTLS.
    pub tls: Tls,
}

/// Serves one connection to its end; on a port with implicit TLS the handshake is done already.
pub fn serve(mut wire: Wire, context: Context) -> impl Future<Output = ()> + Send {
    // Made outside of the future, which would else hold it twice.
    wire.set_stranger(true);
    let mut session = Session {
        held: Grant::none(wire.budget()),
        stranger_until: wire.clock().monotonic().saturating_add(STRANGER_TIME),
        wire,
        context,
        state: State::NotAuthenticated { failures: 0 },
        refused_in_a_row: 0,
    };
    async move {
        let end = session.run().await;
        if let Some((code, text)) = end.words() {
            let mut out = Vec::new();
            reply::status(&mut out, None, Condition::Bye, code.as_ref(), text);
            session.wire.put(&out);
        }
        if !matches!(end, End::Broken) {
            Box::pin(session.wire.close()).await;
        }
    }
}

/// One connection and what it has come to.
pub(super) struct Session {
    pub(super) wire: Wire,
    pub(super) context: Context,
    pub(super) state: State,
    /// The memory of the command being done.
    pub(super) held: Grant,
    refused_in_a_row: u8,
    /// When a session without a login ends (monotonic).
    stranger_until: Duration,
}

/// RFC 3501 section 3; logging out is the session's end.
pub(super) enum State {
    /// Nobody yet.
    NotAuthenticated {
        /// Logins that failed on this connection.
        failures: u8,
    },
    /// Somebody, without a mailbox.
    Authenticated(User),
    /// Somebody in a mailbox.
    Selected(User, Box<Selected>),
}

/// Whose session it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    pub(super) account: AccountId,
    /// A CONDSTORE enabling command was given (RFC 7162 3.1): untagged FETCH tells MODSEQ.
    pub(super) condstore: bool,
}

/// A selected mailbox.
pub(super) struct Selected {
    pub(super) view: View,
    /// Names of the mailbox's keywords that the client has been told.
    pub(super) keywords: Vec<String>,
    /// EXAMINE
    pub(super) read_only: bool,
    pub(super) watch: Watch,
}

/// What the commands of the selected state work with.
pub(super) struct Opened<'a> {
    pub(super) wire: &'a mut Wire,
    pub(super) store: &'a Store,
    pub(super) user: &'a mut User,
    pub(super) selected: &'a mut Selected,
}

impl Session {
    /// Everything that is awaited here is boxed, so that a session that waits is no larger than its wait.
    async fn run(&mut self) -> End {
        if let Err(error) = Box::pin(self.greet()).await {
            return End::Wire(error);
        }
        loop {
            let outcome = match Box::pin(input::command(self)).await {
                Ok(input::Input::Command(command)) => {
                    let Command { tag, body } = *command;
                    let done = match body {
                        CommandBody::Idle => Box::pin(self.idle(&tag)).await,
                        body => Box::pin(self.execute(&tag, body)).await,
                    };
                    Box::pin(self.conclude(&tag, done)).await
                }
                Ok(input::Input::Rejected(rejected)) => {
                    self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
                    Box::pin(send(&mut self.wire, |out| rejected.put(out))).await.map_err(End::Wire)
                }
                Err(end) => Err(end),
            };
            if let Err(end) = outcome {
                return end;
            }
            if self.refused_in_a_row >= REFUSED_IN_A_ROW_MAX {
                return End::Bye(None, "too many bad commands");
            }
        }
    }

    async fn greet(&mut self) -> Result<(), WireError> {
        let list = capability::list(&self.state, &self.wire);
        let text = format!("{} Pigeon ready", self.context.hostname);
        send(&mut self.wire, |out| reply::status(out, None, Condition::Ok, Some(&Code::Capability(&list)), &text)).await
    }

    /// The tagged reply of a command that failed; the others have given theirs.
    async fn conclude(&mut self, tag: &Tag, done: Result<(), Failure>) -> Result<(), End> {
        match done {
            Ok(()) => self.refused_in_a_row = 0,
            Err(Failure::End(end)) => return Err(end),
            Err(failure) => {
                if matches!(failure, Failure::Bad(_)) {
                    self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
                }
                if let Some((condition, code, text)) = failure.reply() {
                    send(&mut self.wire, |out| reply::status(out, Some(tag), condition, code, text))
                        .await
                        .map_err(End::Wire)?;
                }
            }
        }
        Ok(())
    }

    async fn execute(&mut self, tag: &Tag, command: CommandBody) -> Result<(), Failure> {
        match command {
            // RFC 3501 6.1: in any state
            CommandBody::Capability => self.capability(tag).await,
            CommandBody::Noop => self.noop(tag).await,
            CommandBody::Logout => self.logout(tag).await,
            CommandBody::Id(_) => self.id(tag).await,
            // 6.2: before login
            CommandBody::StartTls => Box::pin(self.start_tls(tag)).await,
            CommandBody::Authenticate { mechanism, initial } => {
                Box::pin(self.authenticate(tag, &mechanism, initial)).await
            }
            CommandBody::Login { name, password } => Box::pin(self.login(tag, &name, &password)).await,
            // 6.3: after login
            CommandBody::Enable(names) => self.enable(tag, &names).await,
            CommandBody::Select { mailbox, read_only, condstore } => {
                Box::pin(self.select(tag, mailbox, read_only, condstore)).await
            }
            CommandBody::Create { mailbox, special_use } => Box::pin(self.create(tag, &mailbox, special_use)).await,
            CommandBody::Delete(mailbox) => Box::pin(self.delete(tag, &mailbox)).await,
            CommandBody::Rename { from, to } => Box::pin(self.rename(tag, &from, &to)).await,
            CommandBody::Subscribe(mailbox) => Box::pin(self.subscribe(tag, &mailbox)).await,
            CommandBody::Unsubscribe(mailbox) => Box::pin(self.unsubscribe(tag, &mailbox)).await,
            CommandBody::List(list) => Box::pin(self.list(tag, list)).await,
            CommandBody::Namespace => self.namespace(tag).await,
            CommandBody::Status { mailbox, items } => Box::pin(self.status(tag, &mailbox, &items)).await,
            CommandBody::Append { mailbox, message } => Box::pin(self.append(tag, &mailbox, message)).await,
            CommandBody::Idle => Box::pin(self.idle(tag)).await,
            // 6.4: in a mailbox
            CommandBody::Check => Box::pin(self.check(tag)).await,
            CommandBody::Close => Box::pin(self.close(tag)).await,
            CommandBody::Unselect => self.unselect(tag).await,
            CommandBody::Expunge { uids } => Box::pin(self.opened()?.expunge(tag, uids.as_ref())).await,
            CommandBody::Search(search) => Box::pin(self.opened()?.search(tag, search)).await,
            CommandBody::Fetch(fetch) => Box::pin(self.opened()?.fetch(tag, fetch)).await,
            CommandBody::Store(store) => Box::pin(self.opened()?.store_flags(tag, store)).await,
            CommandBody::Copy(transfer) => Box::pin(self.copy(tag, &transfer)).await,
            CommandBody::Move(transfer) => Box::pin(self.move_messages(tag, &transfer)).await,
        }
    }

    /// NOOP (RFC 3501 6.1.2)
    async fn noop(&mut self, tag: &Tag) -> Result<(), Failure> {
        Box::pin(self.sync_if_selected()).await?;
        self.ok(tag, None, "done").await
    }

    /// CHECK (RFC 3501 6.4.1): everything acknowledged is on the disk already.
    async fn check(&mut self, tag: &Tag) -> Result<(), Failure> {
        self.opened()?.sync(Expunges::Tell).await?;
        self.ok(tag, None, "done").await
    }

    /// LOGOUT (RFC 3501 6.1.3)
    async fn logout(&mut self, tag: &Tag) -> Result<(), Failure> {
        send(&mut self.wire, |out| reply::status(out, None, Condition::Bye, None, "until next time")).await?;
        self.ok(tag, None, "logged out").await?;
        Err(Failure::End(End::Logout))
    }

    /// ID (RFC 2971): what the client says of itself is heard and forgotten.
    async fn id(&mut self, tag: &Tag) -> Result<(), Failure> {
        let fields = [("name", "Pigeon"), ("version", env!("CARGO_PKG_VERSION"))];
        send(&mut self.wire, |out| reply::id(out, &fields)).await?;
        self.ok(tag, None, "pleased to meet you").await
    }

    /// What the client does not know yet of its mailbox, if it has one.
    pub(super) async fn sync_if_selected(&mut self) -> Result<(), Failure> {
        match self.state {
            State::NotAuthenticated { .. } | State::Authenticated(_) => Ok(()),
            State::Selected(..) => self.opened()?.sync(Expunges::Tell).await,
        }
    }

    /// How long somebody who has not logged in yet may take for what comes next.
    pub(super) fn login_wait(&self) -> Result<Duration, End> {
        match self.stranger_until.checked_sub(self.wire.clock().monotonic()) {
            Some(left) if !left.is_zero() => Ok(left.min(LOGIN_WAIT)),
            _ => Err(End::Bye(None, "too long without a login")),
        }
    }

    /// Tagged OK.
    pub(super) async fn ok(&mut self, tag: &Tag, code: Option<&Code<'_>>, text: &str) -> Result<(), Failure> {
        Ok(ok(&mut self.wire, tag, code, text).await?)
    }

    /// Whose session it is; BAD before login.
    pub(super) fn user(&mut self) -> Result<&mut User, Failure> {
        match &mut self.state {
            State::NotAuthenticated { .. } => Err(Failure::Bad("log in first")),
            State::Authenticated(user) | State::Selected(user, _) => Ok(user),
        }
    }

    /// The selected mailbox; BAD without one.
    pub(super) fn opened(&mut self) -> Result<Opened<'_>, Failure> {
        match &mut self.state {
            State::NotAuthenticated { .. } => Err(Failure::Bad("log in first")),
            State::Authenticated(_) => Err(Failure::Bad("select a mailbox first")),
            State::Selected(user, selected) => {
                Ok(Opened { wire: &mut self.wire, store: &self.context.store, user, selected })
            }
        }
    }

    /// Leaves the selected mailbox; says whether there was one.
    pub(super) fn leave_mailbox(&mut self) -> bool {
        match self.state {
            State::NotAuthenticated { .. } | State::Authenticated(_) => false,
            State::Selected(user, _) => {
                self.state = State::Authenticated(user);
                true
            }
        }
    }
}

/// Sends a reply that `write` writes; for short ones.
pub(super) async fn send(wire: &mut Wire, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), WireError> {
    let mut out = Vec::new();
    write(&mut out);
    wire.send(&out).await
}

/// Sends a tagged OK.
pub(super) async fn ok(wire: &mut Wire, tag: &Tag, code: Option<&Code<'_>>, text: &str) -> Result<(), WireError> {
    send(wire, |out| reply::status(out, Some(tag), Condition::Ok, code, text)).await
}
