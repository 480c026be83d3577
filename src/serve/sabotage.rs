//! Bugs on purpose, so that tests see what a running server makes of them: a session that panics, on every board
//! (`cross/test`), and one that never lets the others have the thread (tests/watchdog.rs). They exist only where debug assertions
//! do: a release build has none of it, and nothing that a peer sends or a configuration says reaches it.

use super::session::Session;
use crate::config::Service;

/// The environment variables that name the service one of whose sessions is to have the bug.
#[cfg(debug_assertions)]
const PANICS: &str = "PIGEON_PANIC";
#[cfg(debug_assertions)]
const HANGS: &str = "PIGEON_HANG";

/// Gives the first session of the service that is asked for its bug, when it has come to rest and octets wake it.
#[cfg(debug_assertions)]
pub(super) fn doom(service: Service, session: Session) -> Session {
    use std::sync::atomic::{AtomicBool, Ordering};
    static DONE: AtomicBool = AtomicBool::new(false);
    let is_asked = |bug: &str| std::env::var_os(bug).is_some_and(|asked| asked == service.name());
    let bug = match (is_asked(PANICS), is_asked(HANGS)) {
        (true, _) => panics,
        (false, true) => hangs,
        (false, false) => return session,
    };
    if DONE.swap(true, Ordering::AcqRel) { session } else { Box::pin(when_woken(session, bug)) }
}

/// As it is.
#[cfg(not(debug_assertions))]
pub(super) fn doom(_service: Service, session: Session) -> Session {
    session
}

#[cfg(debug_assertions)]
async fn when_woken(mut session: Session, bug: fn()) {
    let mut polls = 0u8;
    std::future::poll_fn(move |cx| {
        polls = polls.saturating_add(1);
        if polls > 1 {
            bug();
        }
        session.as_mut().poll(cx)
    })
    .await;
}

#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "this is what it is for")]
fn panics() {
    panic!("as {PANICS} asks");
}

#[cfg(debug_assertions)]
fn hangs() {
    loop {
        std::thread::park();
    }
}
