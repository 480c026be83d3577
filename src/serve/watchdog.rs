//! Tells systemd that the server lives (WatchdogSec=), as long as it does: the word goes out from the executor that serves
//! all connections, and only while the store's writer is alive, too. When either is stuck nothing goes out, and systemd
//! starts the server anew; what was acknowledged is on the disk.
//!
//! One look in half of the time that systemd gives. A writer that hangs is seen to hang at the second look after, so that
//! it is ended between one and two of these times later.

use super::{server::Server, tell_systemd};
use crate::base::Clock;
use crate::store::{Found, Look, Store};
use sd_notify::NotifyState;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// However short a time systemd gives: more looks than this would be busy work.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(100);

/// Answers the watchdog, if there is one.
pub(super) async fn keep(server: Arc<Server>) {
    if let Some(limit) = sd_notify::watchdog_enabled() {
        let every = (limit / 2).max(LOOK_EVERY_MIN);
        let world = &server.world;
        look_after(&world.store, &world.clock, every, &mut || tell_systemd(&[NotifyState::Watchdog])).await;
    }
}

async fn look_after(store: &Store, clock: &Clock, every: Duration, tell: &mut (dyn FnMut() + Send)) -> Infallible {
    let mut last = Look::default();
    let mut before = Found::Alive;
    loop {
        clock.sleep(every).await;
        let found = store.look_at_writer(&mut last);
        match found {
            Found::Alive => {}
            Found::Waiting if before == found => {}
            Found::Waiting => log::warn!("the disk has not answered seconds={}", every.as_secs()),
            Found::Stuck => {
                log::error!("the store's writer does nothing, although there is work; the watchdog may bite")
            }
        }
        if found != Found::Stuck {
            tell();
        }
        before = found;
    }
}
