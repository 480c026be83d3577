//! One connection from its acceptance to its end: the ceilings, TLS where it comes first, then its protocol. A session
//! that panics is ended and logged; the server lives.

use super::ceilings::{Full, Pass};
use super::sabotage;
use super::server::Server;
use crate::base::Grant;
use crate::config::{Config, Service};
use crate::net::{Socket, Wire, WireError};
use crate::{imap, pop3, smtp};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A session's whole future; boxed by itself, so that an idle connection takes what its own protocol needs and no more.
pub(super) type Session = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a connection takes beside its buffers: its socket's bookkeeping and its session's future.
const CONNECTION_BYTES: usize = 4 * 1024;

const NO_MEMORY: &str = "the memory is spent";

/// Starts a session for `socket`, or refuses it politely.
pub(super) fn start(server: &Arc<Server>, service: Service, socket: Socket) {
    let (peer, name) = (socket.peer.ip(), service.name());
    let why = match (server.ceilings.admit(peer), server.world.budget.take(CONNECTION_BYTES)) {
        (Ok(pass), Some(grant)) => {
            let session = run(server.clone(), service, socket, (pass, grant));
            return server.executor.spawn(session).detach();
        }
        (Ok(_), None) => NO_MEMORY,
        (Err(Full::Server), _) => "too many",
        (Err(Full::Address), _) => &format!("too many from {peer}"),
    };
    // Whoever comes in numbers cannot fill the log: lines that are the same are counted.
    log::warn!("refused a connection: {why} service={name}");
    socket.refuse(refusal(service));
}

/// The protocol's words for "come back later"; none where TLS would have to come first.
fn refusal(service: Service) -> &'static [u8] {
    match service {
        // RFC 5321 3.8 and 4.2.1.
        Service::Smtp | Service::Submission => b"421 4.3.2 Too many connections, try again later\r\n",
        // RFC 3501 7.1.5.
        Service::Imap => b"* BYE Too many connections, try again later\r\n",
        // RFC 3206 section 4.
        Service::Pop3 => b"-ERR [SYS/TEMP] Too many connections, try again later\r\n",
        Service::Submissions | Service::Imaps | Service::Pop3s => b"",
    }
}

/// `held` is what the connection holds as long as it lives.
async fn run(server: Arc<Server>, service: Service, socket: Socket, held: (Pass, Grant)) {
    let peer = socket.peer.ip();
    let mut wire = Wire::new(socket, server.wire.clone());
    if service.is_tls() {
        // Boxed, because a handshake is large and over soon.
        if let Err(error) = Box::pin(wire.start_tls(server.tls.config())).await {
            let name = service.name();
            match error {
                WireError::NoMemory => log::warn!("refused a connection: {NO_MEMORY} service={name}"),
                WireError::TimedOut => log::info!("tls handshake failed service={name} peer={peer} error=timed out"),
                WireError::Failed(error) => log::info!("tls handshake failed service={name} peer={peer} error={error}"),
                WireError::Closed | WireError::Stopping | WireError::LineTooLong | WireError::Revoked => {}
            }
            return;
        }
    }
    let session = sabotage::doom(service, protocol(&server, service, wire));
    drop(server);
    if (Caught { session }).await.is_err() {
        log::error!("a session ended by a bug service={} peer={peer}", service.name());
    }
    drop(held);
}

fn protocol(server: &Server, service: Service, wire: Wire) -> Session {
    let config = server.config();
    match service {
        Service::Smtp => Box::pin(smtp::serve(wire, smtp_context(server, &config, smtp::Role::Receive))),
        Service::Submission | Service::Submissions => {
            Box::pin(smtp::serve(wire, smtp_context(server, &config, smtp::Role::Submission)))
        }
        Service::Imap | Service::Imaps => Box::pin(imap::serve(
            wire,
            imap::Context {
                hostname: config.hostname.as_str().into(),
                message_bytes_max: config.limits.message_bytes,
                store: server.world.store.clone(),
                accounts: server.world.accounts.clone(),
                tls: server.tls.clone(),
            },
        )),
        Service::Pop3 | Service::Pop3s => Box::pin(pop3::serve(
            wire,
            pop3::Context {
                hostname: config.hostname.as_str().into(),
                store: server.world.store.clone(),
                accounts: server.world.accounts.clone(),
                tls: server.tls.clone(),
            },
        )),
    }
}

fn smtp_context(server: &Server, config: &Config, role: smtp::Role) -> smtp::Context {
    smtp::Context {
        role,
        hostname: config.hostname.as_str().into(),
        message_bytes_max: config.limits.message_bytes,
        store: server.world.store.clone(),
        accounts: server.world.accounts.clone(),
        tls: server.tls.clone(),
    }
}

/// A session whose panic is its own end and nobody else's.
struct Caught {
    session: Session,
}

/// The session panicked.
#[derive(Debug)]
struct Panicked;

impl Future for Caught {
    type Output = Result<(), Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // What the session shared with others is behind locks that survive it; it is itself never polled again.
        match catch_unwind(AssertUnwindSafe(|| self.session.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_session_ends_alone() {
        let caught = Caught { session: Box::pin(async { panic!("as the test wants") }) };
        assert!(smol::block_on(caught).is_err());
        assert!(smol::block_on(Caught { session: Box::pin(async {}) }).is_ok());
    }

    #[test]
    fn what_surrounds_a_waiting_session_is_small() {
        fn bytes_of<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
            size_of::<F>()
        }
        // The session itself is boxed at its own protocol's size, and tested there.
        assert!(bytes_of(run) <= 1_024, "{} octets", bytes_of(run));
    }

    #[test]
    fn every_service_without_tls_has_words_of_refusal() {
        for service in Service::ALL {
            assert_eq!(refusal(service).ends_with(b"\r\n"), !service.is_tls());
        }
    }
}
