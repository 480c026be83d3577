//! Time as an argument. The system's clock in the server, a simulated one in tests.

use event_listener::Event;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time: cheap to clone.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock; the instant is where its monotonic time starts.
    System(Instant),
    /// A clock that stands until a test moves it.
    Simulated(Arc<Simulated>),
}

/// The time given to [`Clock::timeout`] has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// A clock under a test's control.
#[derive(Debug)]
pub struct Simulated {
    now: Mutex<(i64, Duration)>,
    moved: Event,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::System(Instant::now())
    }

    /// A clock that stands at `unix_s` seconds until [`Simulated::advance`] moves it.
    pub fn simulated(unix_s: i64) -> (Self, Arc<Simulated>) {
        let clock = Arc::new(Simulated { now: Mutex::new((unix_s, Duration::ZERO)), moved: Event::new() });
        (Self::Simulated(clock.clone()), clock)
    }

    /// Wall time, seconds since 1970. May jump either way: order and timers never depend on it.
    pub fn unix_s(&self) -> i64 {
        match self {
            Self::System(_) => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                Err(_) => 0,
            },
            Self::Simulated(clock) => clock.read().0,
        }
    }

    /// Time since an arbitrary start; never goes back.
    pub fn monotonic(&self) -> Duration {
        match self {
            Self::System(start) => start.elapsed(),
            Self::Simulated(clock) => clock.read().1,
        }
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        match self {
            Self::System(_) => {
                smol::Timer::after(duration).await;
            }
            Self::Simulated(clock) => {
                let until = clock.read().1.saturating_add(duration);
                loop {
                    let moved = clock.moved.listen();
                    if clock.read().1 >= until {
                        return;
                    }
                    moved.await;
                }
            }
        }
    }

    /// The outcome of `work`, unless `limit` passes first; `work` is dropped then.
    pub async fn timeout<F: Future>(&self, limit: Duration, work: F) -> Result<F::Output, Elapsed> {
        smol::future::or(async { Ok(work.await) }, async {
            self.sleep(limit).await;
            Err(Elapsed)
        })
        .await
    }
}

impl Simulated {
    /// Moves both clocks forward and wakes whoever sleeps.
    pub fn advance(&self, by: Duration) {
        {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            now.0 = now.0.saturating_add(i64::try_from(by.as_secs()).unwrap_or(i64::MAX));
            now.1 = now.1.saturating_add(by);
        }
        self.moved.notify(usize::MAX);
    }

    /// Sets the wall clock alone, as NTP would.
    pub fn set_unix_s(&self, unix_s: i64) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0 = unix_s;
    }

    fn read(&self) -> (i64, Duration) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_sleep_ends_when_the_clock_is_moved() {
        let (clock, hand) = Clock::simulated(1_000);
        smol::block_on(async {
            let slept = clock.timeout(Duration::from_secs(60), std::future::pending::<()>());
            let moved = async {
                hand.advance(Duration::from_secs(59));
                smol::future::yield_now().await;
                hand.advance(Duration::from_secs(1));
            };
            let (slept, ()) = smol::future::zip(slept, moved).await;
            assert_eq!(slept, Err(Elapsed));
            assert_eq!(clock.unix_s(), 1_060);
        });
    }
}
