//! A signal that is given once and reaches everyone who waits: the server stops, or an account's sessions end.

use event_listener::Event;
use std::sync::atomic::{AtomicBool, Ordering};

/// Not given yet, or given for good.
#[derive(Debug, Default)]
pub struct Stop {
    given: AtomicBool,
    event: Event,
}

impl Stop {
    /// A signal not yet given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal; later calls change nothing.
    pub fn give(&self) {
        self.given.store(true, Ordering::Release);
        self.event.notify(usize::MAX);
    }

    /// Whether it has been given.
    pub fn is_given(&self) -> bool {
        self.given.load(Ordering::Acquire)
    }

    /// Waits until it is given.
    pub async fn given(&self) {
        loop {
            if self.is_given() {
                return;
            }
            let listener = self.event.listen();
            if self.is_given() {
                return;
            }
            listener.await;
        }
    }
}
