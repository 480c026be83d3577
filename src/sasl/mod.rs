//! SASL as a server speaks it (RFC 4422): the mechanisms PLAIN and LOGIN as pure state machines, base64 (RFC 4648), and
//! the keys that SCRAM-SHA-256 will need (RFC 7677). Never touches accounts, sockets or clocks.

pub mod base64;
mod exchange;
mod scram;

pub use exchange::{Credentials, Exchange, Failure, Mechanism};
pub use scram::{SCRAM_ITERATIONS, SCRAM_KEY_BYTES, SCRAM_SALT_BYTES, ScramKeys};
