//! What every room stands on: time, the memory budget, worker threads, secrets, files replaced whole, octets as text, and the order to stop.
//! Knows no protocol, no mail and no store.

mod budget;
mod clock;
mod file;
mod hex;
mod secret;
mod stop;
mod workers;

pub use budget::{Budget, Grant};
pub use clock::{Clock, Elapsed, Simulated};
pub use file::replace_file;
pub use hex::hex;
pub use secret::{Secret, wipe};
pub use stop::Stop;
pub use workers::Workers;
