//! What every room stands on: time, the memory budget, worker threads, secrets, and the order to stop.
//! Knows no protocol, no mail and no store.

mod budget;
mod clock;
mod secret;
mod stop;
mod workers;

pub use budget::{Budget, Grant};
pub use clock::{Clock, Elapsed, Simulated};
pub use secret::Secret;
pub use stop::Stop;
pub use workers::Workers;
