//! What a client may spend of us. Sizes are octets.

use std::time::Duration;

/// A command line without its end: RFC 5321 4.5.3.1.4 asks for 512, each extension for more; generous.
pub(super) const COMMAND_BYTES_MAX: usize = 2_048;
/// A line with a SASL response (RFC 4954 section 4.3).
pub(super) const AUTH_BYTES_MAX: usize = 12_288;
/// RFC 5321 4.5.3.2.7: wait at least five minutes for a command.
pub(super) const COMMAND_WAIT: Duration = Duration::from_secs(5 * 60);
/// RFC 5321 4.5.3.2.5 gives the client three minutes for each block of data.
pub(super) const DATA_WAIT: Duration = Duration::from_secs(3 * 60);
/// A message may take so long, and a second more for every [`DATA_RATE`] octets that have come: a slow line gets its
/// mail through, a drip does not.
pub(super) const DATA_GRACE: Duration = Duration::from_secs(10 * 60);
/// Octets a second that a sender must reach in the long run.
pub(super) const DATA_RATE: u64 = 1_024;
/// A connection that hands in no message for so long is ended, whatever it says meanwhile.
pub(super) const FRUITLESS: Duration = Duration::from_secs(60 * 60);
/// Commands without a message handed in: enough for a message to as many recipients as are allowed, several times.
pub(super) const FRUITLESS_COMMANDS_MAX: u32 = 5_000;
/// Mistakes of one connection; the last one is answered with 421.
pub(super) const ERRORS_MAX: u32 = 20;
/// Recipients of one connection that do not exist; the last one is answered with 421.
pub(super) const UNKNOWN_RECIPIENTS_MAX: u32 = 100;
/// Wrong passwords of one connection; the last one is answered with 421.
pub(super) const LOGINS_FAILED_MAX: u32 = 3;
/// Messages of one connection.
pub(super) const MESSAGES_MAX: u32 = 10_000;
/// Recipients of one message (RFC 5321 4.5.3.1.8 asks for 100).
pub(super) const RECIPIENTS_MAX: usize = 1_000;
/// A line of a message without its end. Longer than any RFC allows: what is sent is stored, not folded.
pub(super) const TEXT_LINE_BYTES_MAX: usize = 1 << 20;
/// `Received` fields of a message: RFC 5321 section 6.3 asks for a threshold of at least 100.
pub(super) const RECEIVED_MAX: u32 = 100;
/// Octets read and thrown away to stay in step, after a message turned out too big or nobody wants it.
pub(super) const DRAIN_BYTES_MAX: u64 = 256 << 20;

const _: () = assert!(COMMAND_BYTES_MAX < AUTH_BYTES_MAX);
const _: () = assert!(RECIPIENTS_MAX <= crate::store::TARGETS_MAX);
