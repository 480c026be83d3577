//! AUTH (RFC 4954): in submission, under TLS, once. The exchange itself is `sasl`'s; who may log in is `accounts`'.

use super::Role;
use super::grammar::Reply;
use super::limits::{AUTH_BYTES_MAX, COMMAND_WAIT, LOGINS_FAILED_MAX};
use super::session::{Last, Session};
use crate::accounts::LoginError;
use crate::base::Secret;
use crate::net::WireError;
use crate::sasl::{Credentials, Exchange, Failure, Mechanism, base64};

impl Session {
    pub(super) async fn auth(&mut self, mechanism: &str, initial: Option<Secret>) -> Result<(), Last> {
        if let Some(refusal) = self.auth_refusal() {
            return self.wrong(refusal).await;
        }
        let Some(mechanism) = Mechanism::parse(mechanism.as_bytes()) else {
            return self.wrong(Reply::NoSuchMechanism).await;
        };
        match self.exchange(Exchange::new(mechanism), initial).await? {
            Ok(credentials) => self.log_in(credentials).await,
            Err(Reply::WrongPassword) => self.login_failed().await,
            Err(refusal) => self.wrong(refusal).await,
        }
    }

    /// Whether AUTH is out of place.
    fn auth_refusal(&self) -> Option<Reply> {
        if self.context.role == Role::Receive {
            return Some(Reply::NotHere);
        }
        if self.hello.is_none() {
            return Some(Reply::HelloFirst);
        }
        if !self.wire.is_tls() {
            return Some(Reply::AuthNeedsTls);
        }
        if self.login.is_some() {
            return Some(Reply::AuthAlready);
        }
        self.transaction.is_some().then_some(Reply::AuthInMail)
    }

    /// Challenges and responses until there are credentials, or a reason why there will be none.
    async fn exchange(
        &mut self,
        mut exchange: Exchange,
        initial: Option<Secret>,
    ) -> Result<Result<Credentials, Reply>, Last> {
        // RFC 4954 section 4: an empty initial response is sent as "=".
        let mut response = initial.map(|text| if text.expose() == b"=" { Secret::new(Vec::new()) } else { text });
        // Ends: no mechanism has more than two responses.
        loop {
            let text = match response.take() {
                Some(text) => text,
                None => match self.response(exchange.challenge()).await? {
                    Ok(text) => text,
                    Err(refusal) => return Ok(Err(refusal)),
                },
            };
            let Some(octets) = base64::decode(text.expose()).map(Secret::new) else {
                return Ok(Err(Reply::AuthSyntax));
            };
            match exchange.answer(octets.expose()) {
                Ok(None) => (),
                Ok(Some(credentials)) => return Ok(Ok(credentials)),
                Err(Failure::Malformed) => return Ok(Err(Reply::AuthSyntax)),
                Err(Failure::OtherIdentity) => return Ok(Err(Reply::WrongPassword)),
            }
        }
    }

    /// Asks for the next response, in base64.
    async fn response(&mut self, challenge: &[u8]) -> Result<Result<Secret, Reply>, Last> {
        self.say(Reply::Challenge(base64::encode(challenge))).await?;
        let line = match self.wire.line(AUTH_BYTES_MAX, COMMAND_WAIT).await {
            Ok(line) => line,
            Err(WireError::LineTooLong) => return Ok(Err(Reply::AuthLineTooLong)),
            Err(error) => return Err(error.into()),
        };
        let text = Secret::new(line.text);
        if !line.crlf {
            return Err(Last(Some(Reply::BareLineFeed)));
        }
        if text.expose() == b"*" {
            return Ok(Err(Reply::AuthCancelled));
        }
        Ok(Ok(text))
    }

    async fn log_in(&mut self, credentials: Credentials) -> Result<(), Last> {
        let peer = self.wire.peer().ip();
        match self.context.accounts.login(&credentials.name, &credentials.password, peer).await {
            Ok(login) => {
                log::info!("smtp: logged in account={} peer={peer}", login.address);
                self.wire.end_with(Some(login.ended.clone()));
                self.login = Some(login);
                self.say(Reply::LoggedIn).await
            }
            Err(LoginError::Wrong) => self.login_failed().await,
            Err(LoginError::TryLater) => self.wrong(Reply::LoginLater).await,
        }
    }

    async fn login_failed(&mut self) -> Result<(), Last> {
        log::info!("smtp: login failed peer={}", self.wire.peer().ip());
        self.counts.logins_failed += 1;
        if self.counts.logins_failed >= LOGINS_FAILED_MAX {
            return Err(Last(Some(Reply::TooManyLogins)));
        }
        self.say(Reply::WrongPassword).await
    }
}
