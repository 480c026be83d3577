//! From stranger to user: STARTTLS, LOGIN, AUTHENTICATE (RFC 3501 6.2, RFC 4959). Passwords come under TLS only, except
//! from this machine; the third failed login ends the session.

use super::capability;
use super::failure::{End, Failure};
use super::grammar::{Code, Tag, reply};
use super::session::{Session, State, User, send};
use crate::accounts::LoginError;
use crate::base::Secret;
use crate::net::WireError;
use crate::sasl::{Credentials, Exchange, Mechanism, base64};

/// Failed logins that end a session.
const FAILURES_MAX: u8 = 3;
/// A response line of AUTHENTICATE: base64 of the longest name, twice, and password that an account can have.
const RESPONSE_BYTES_MAX: usize = 3 * 1024;

impl Session {
    /// STARTTLS: what the client sent ahead of the handshake is thrown away (RFC 9051 6.2.1, RFC 7457 2.2).
    pub(super) async fn start_tls(&mut self, tag: &Tag) -> Result<(), Failure> {
        self.stranger()?;
        if self.wire.is_tls() {
            return Err(Failure::Bad("TLS is on already"));
        }
        self.ok(tag, None, "begin TLS now").await?;
        self.wire.start_tls(self.context.tls.config()).await?;
        Ok(())
    }

    /// LOGIN
    pub(super) async fn login(&mut self, tag: &Tag, name: &[u8], password: &Secret) -> Result<(), Failure> {
        self.may_try()?;
        self.admit(tag, name, password).await
    }

    /// AUTHENTICATE, with or without an initial response (RFC 4959).
    pub(super) async fn authenticate(
        &mut self,
        tag: &Tag,
        mechanism: &str,
        initial: Option<Secret>,
    ) -> Result<(), Failure> {
        self.may_try()?;
        let Some(mechanism) = Mechanism::parse(mechanism.as_bytes()) else {
            return Err(Failure::No(Some(Code::Cannot), "there is no such mechanism here"));
        };
        let mut exchange = Exchange::new(mechanism);
        let mut response = initial;
        loop {
            let text = match response.take() {
                Some(initial) => initial,
                None => self.response(exchange.challenge()).await?,
            };
            let octets = base64::decode(text.expose()).map(Secret::new).ok_or(Failure::Bad("that is no base64"))?;
            match exchange.answer(octets.expose()) {
                Ok(None) => {}
                Ok(Some(Credentials { name, password })) => return self.admit(tag, &name, &password).await,
                Err(_) => return Err(Failure::No(Some(Code::AuthenticationFailed), "that cannot be a login")),
            }
        }
    }

    /// Sends a challenge and reads the response; `*` ends the exchange (RFC 3501 6.2.2).
    async fn response(&mut self, challenge: &[u8]) -> Result<Secret, Failure> {
        let challenge = base64::encode(challenge);
        send(&mut self.wire, |out| reply::go_ahead(out, &challenge)).await?;
        let wait = self.login_wait()?;
        // The response and what is decoded of it.
        if !self.held.resize(2 * RESPONSE_BYTES_MAX) {
            return Err(End::Wire(WireError::NoMemory).into());
        }
        match self.wire.line(RESPONSE_BYTES_MAX, wait).await {
            Ok(line) if line.text == b"*" => Err(Failure::Bad("as you wish")),
            Ok(line) => Ok(Secret::new(line.text)),
            Err(WireError::LineTooLong) => Err(Failure::Bad("the response is too long")),
            Err(error) => Err(error.into()),
        }
    }

    async fn admit(&mut self, tag: &Tag, name: &[u8], password: &Secret) -> Result<(), Failure> {
        let peer = self.wire.peer().ip();
        match self.context.accounts.login(name, password, peer).await {
            Ok(login) => {
                self.wire.end_with(Some(login.ended));
                self.wire.set_stranger(false);
                self.state = State::Authenticated(User { account: login.id, condstore: false });
                let list = capability::list(&self.state, &self.wire);
                self.ok(tag, Some(&Code::Capability(&list)), "logged in").await
            }
            Err(LoginError::TryLater) => Err(Failure::No(Some(Code::Unavailable), "try again later")),
            Err(LoginError::Wrong) => self.turn_away(tag).await,
        }
    }

    async fn turn_away(&mut self, tag: &Tag) -> Result<(), Failure> {
        let no = Failure::No(Some(Code::AuthenticationFailed), "wrong name or password");
        let State::NotAuthenticated { failures } = &mut self.state else {
            return Err(no);
        };
        *failures = failures.saturating_add(1);
        if *failures < FAILURES_MAX {
            return Err(no);
        }
        if let Some((condition, code, text)) = no.reply() {
            send(&mut self.wire, |out| reply::status(out, Some(tag), condition, code, text)).await?;
        }
        Err(Failure::bye("too many failed logins"))
    }

    fn stranger(&self) -> Result<(), Failure> {
        match self.state {
            State::NotAuthenticated { .. } => Ok(()),
            State::Authenticated(_) | State::Selected(..) => Err(Failure::Bad("somebody is logged in already")),
        }
    }

    fn may_try(&self) -> Result<(), Failure> {
        self.stranger()?;
        if capability::may_log_in(&self.wire) {
            Ok(())
        } else {
            Err(Failure::No(Some(Code::PrivacyRequired), "passwords are taken under TLS only"))
        }
    }
}
