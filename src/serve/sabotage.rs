//! A bug on purpose, so that tests see a running server outlive a session's panic, on every board (`cross/test`). It exists only
//! where debug assertions do: a release build has none of it, and nothing that a peer sends or a configuration says reaches it.

use super::session::Session;
use crate::config::Service;

/// The environment variable that names the service one of whose sessions is to panic.
#[cfg(debug_assertions)]
const ASKED: &str = "PIGEON_PANIC";

/// Makes the first session of the service that is asked for panic when its client's first octets wake it.
#[cfg(debug_assertions)]
pub(super) fn doom(service: Service, session: Session) -> Session {
    use std::sync::atomic::{AtomicBool, Ordering};
    static DONE: AtomicBool = AtomicBool::new(false);
    let is_asked = std::env::var_os(ASKED).is_some_and(|asked| asked == service.name());
    if is_asked && !DONE.swap(true, Ordering::AcqRel) { Box::pin(panic_when_woken(session)) } else { session }
}

/// As it is.
#[cfg(not(debug_assertions))]
pub(super) fn doom(_service: Service, session: Session) -> Session {
    session
}

#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "this is what it is for")]
async fn panic_when_woken(mut session: Session) {
    let mut polls = 0u8;
    std::future::poll_fn(move |cx| {
        polls = polls.saturating_add(1);
        if polls > 1 {
            panic!("as {ASKED} asks");
        }
        session.as_mut().poll(cx)
    })
    .await;
}
