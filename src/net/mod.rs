//! Streams and listeners. The only room that opens sockets: it hands a session its [`Wire`], with its upgrade to TLS.
//! A connection that waits owns no buffer.

mod datagram;
mod inherited;
mod input;
mod listener;
mod local;
mod pace;
mod pipe;
mod stream;
mod wire;

pub use datagram::{MulticastDns, ask_once};
pub use inherited::{Inherited, inherited};
pub use listener::{Listener, Socket};
pub use local::{FRAME_BYTES_MAX, LocalClient, LocalListener, LocalStream};
pub use pipe::{PipeEnd, pipe};
pub use wire::{Line, Wire, WireError, WireOptions};
