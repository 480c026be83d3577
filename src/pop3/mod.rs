//! POP3 (RFC 1939) with CAPA (2449), STLS (2595), response codes (2449, 3206), AUTH (5034), UTF8 and LANG (6856).
//! A grammar, the maildrop as a session sees it, the way of a body onto the wire, and the session.

mod body;
mod grammar;
mod maildrop;
mod session;
mod transaction;

pub use session::serve;

use crate::accounts::Accounts;
use crate::store::Store;
use crate::tls::Tls;
use std::sync::Arc;

/// What every session of a server shares; cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// Our name, as in the greeting.
    pub hostname: Arc<str>,
    /// Where mail is.
    pub store: Store,
    /// Who may log in.
    pub accounts: Accounts,
    /// What STLS uses.
    pub tls: Tls,
}
