//! IDLE (RFC 2177): waits for the client's DONE and for changes of its mailbox at once. Nothing is held and nothing
//! ticks meanwhile; a change is told as soon as it is committed.

use super::failure::{End, Failure};
use super::grammar::{Tag, is_done, reply};
use super::session::{AUTOLOGOUT, Session, State, send};
use super::sync::Expunges;
use crate::net::{Line, Wire, WireError};
use smol::future;
use std::time::Duration;

/// `DONE` and some patience for white space.
const DONE_BYTES_MAX: usize = 64;

/// Why a wait ended.
enum Woken {
    Line(Line),
    Changes,
}

impl Session {
    /// IDLE; also without a mailbox, where nothing can happen.
    pub(super) async fn idle(&mut self, tag: &Tag) -> Result<(), Failure> {
        self.user()?;
        send(&mut self.wire, |out| reply::go_ahead(out, "waiting")).await?;
        let started = self.wire.clock().monotonic();
        // Boxed: telling needs much more room than waiting.
        Box::pin(self.sync_if_selected()).await?;
        loop {
            let spent = self.wire.clock().monotonic().saturating_sub(started);
            let left = AUTOLOGOUT.checked_sub(spent).ok_or(End::Wire(WireError::TimedOut))?;
            match self.woken(left).await {
                Ok(Woken::Changes) => Box::pin(self.opened()?.sync_now(Expunges::Tell)).await?,
                Ok(Woken::Line(line)) if is_done(&line.text) => return self.ok(tag, None, "welcome back").await,
                Ok(Woken::Line(_)) | Err(WireError::LineTooLong) => return Err(Failure::Bad("DONE ends IDLE")),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn woken(&mut self, limit: Duration) -> Result<Woken, WireError> {
        match &self.state {
            State::NotAuthenticated { .. } | State::Authenticated(_) => line(&mut self.wire, limit).await,
            State::Selected(_, selected) => {
                let (watch, seen) = (&selected.watch, selected.view.modseq());
                let changed = async {
                    watch.beyond(seen).await;
                    Ok(Woken::Changes)
                };
                // The line first: what it has read stays in the wire when the change wins.
                future::or(line(&mut self.wire, limit), changed).await
            }
        }
    }
}

async fn line(wire: &mut Wire, limit: Duration) -> Result<Woken, WireError> {
    wire.line(DONE_BYTES_MAX, limit).await.map(Woken::Line)
}
