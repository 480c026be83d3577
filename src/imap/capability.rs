//! What a session offers in which state (RFC 3501 6.1.1), and ENABLE (RFC 5161).

use super::failure::Failure;
use super::grammar::{Tag, reply};
use super::session::{Session, State, send};
use crate::net::Wire;

const ALWAYS: &str = "IMAP4rev1 LITERAL+ SASL-IR ENABLE ID IDLE";
const LOGGED_IN: &str = "NAMESPACE CHILDREN UNSELECT UIDPLUS MOVE SPECIAL-USE CREATE-SPECIAL-USE LIST-EXTENDED \
                         LIST-STATUS CONDSTORE";

/// The capabilities, words separated by spaces.
pub(super) fn list(state: &State, wire: &Wire) -> String {
    let rest = match state {
        State::NotAuthenticated { .. } => match (wire.is_tls(), may_log_in(wire)) {
            (true, _) => "AUTH=PLAIN AUTH=LOGIN",
            (false, true) => "STARTTLS AUTH=PLAIN AUTH=LOGIN",
            (false, false) => "STARTTLS LOGINDISABLED",
        },
        State::Authenticated(_) | State::Selected(..) => LOGGED_IN,
    };
    format!("{ALWAYS} {rest}")
}

/// Passwords come under TLS only, except from this machine itself.
pub(super) fn may_log_in(wire: &Wire) -> bool {
    wire.is_tls() || wire.is_loopback()
}

impl Session {
    /// CAPABILITY
    pub(super) async fn capability(&mut self, tag: &Tag) -> Result<(), Failure> {
        let list = list(&self.state, &self.wire);
        send(&mut self.wire, |out| reply::capability(out, &list)).await?;
        self.ok(tag, None, "that is all").await
    }

    /// ENABLE (RFC 5161): what can be enabled is, the rest is passed over.
    pub(super) async fn enable(&mut self, tag: &Tag, names: &[String]) -> Result<(), Failure> {
        let user = self.user()?;
        let asked = names.iter().any(|name| name == "CONDSTORE");
        // RFC 5161 3.1: told is what this command enabled.
        let news = asked && !user.condstore;
        user.condstore |= asked;
        send(&mut self.wire, |out| reply::enabled(out, if news { "CONDSTORE" } else { "" })).await?;
        self.ok(tag, None, "done").await
    }
}
