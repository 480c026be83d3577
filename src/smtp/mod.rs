//! SMTP: receiving mail for local accounts (RFC 5321) and taking it from their owners (RFC 6409).
//! A grammar, the machine that reads DATA, and the session.

mod auth;
mod complete;
mod data;
pub mod grammar;
mod limits;
mod message;
mod session;
mod transaction;

use crate::accounts::Accounts;
use crate::net::Wire;
use crate::store::Store;
use crate::tls::Tls;
use std::sync::Arc;

/// Which of SMTP's two services a session gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Port 25: anybody brings mail for local accounts. Never AUTH.
    Receive,
    /// Ports 587 and 465: an account's owner hands in mail, under TLS and after AUTH.
    Submission,
}

/// What every session of a server shares; cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// Which service.
    pub role: Role,
    /// Our name, as in the greeting and in `Received`.
    pub hostname: Arc<str>,
    /// Octets of a message at the most.
    pub message_bytes_max: u64,
    /// Where mail goes.
    pub store: Store,
    /// Whose mail an address is, and who may log in.
    pub accounts: Accounts,
    /// What STARTTLS upgrades with.
    pub tls: Tls,
}

/// Serves one connection to its end; on a port with implicit TLS the handshake is done already.
pub fn serve(wire: Wire, context: Context) -> impl Future<Output = ()> + Send {
    // No async function: its future would hold the arguments beside the session.
    session::Session::new(wire, context).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_bytes<F: Future>(_: impl FnOnce(Wire, Context) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_session_that_waits_is_small() {
        let bytes = future_bytes(serve);
        assert!(bytes <= 1_280, "{bytes} octets");
    }
}
