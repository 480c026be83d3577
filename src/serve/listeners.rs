//! The listening sockets: bound as configured, each with a task that accepts; changed on reload without touching those
//! that stay, nor any session.

use super::server::Server;
use super::session;
use super::world::StartError;
use crate::config::{Config, Service};
use crate::net::Listener;
use smol::Task;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// When there is no room for another socket, we look again after this time.
const OUT_OF_FILES_PAUSE: Duration = Duration::from_millis(250);

/// Every socket that listens.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    open: BTreeMap<(Service, SocketAddr), Task<()>>,
}

/// A socket that is bound and not accepted from yet.
#[derive(Debug)]
pub(super) struct Bound {
    service: Service,
    address: SocketAddr,
    listener: Listener,
}

/// Binds everything that is configured, or answers with every address that could not be had.
pub(super) fn bind_all(config: &Config) -> Result<Vec<Bound>, StartError> {
    let mut bound = Vec::new();
    let mut wrong = Vec::new();
    let mut remedy = "";
    for (service, address) in config.listen.all() {
        match bind(service, address) {
            Ok(one) => bound.extend(one),
            Err(error) => {
                wrong.push(format!("cannot listen on {address} for {}: {error}", service.name()));
                remedy = remedy_for(&error);
            }
        }
    }
    if wrong.is_empty() { Ok(bound) } else { Err(StartError::failed(wrong.join("\n"), remedy)) }
}

/// Nothing, with a warning, where this machine has no IPv6.
fn bind(service: Service, address: SocketAddr) -> io::Result<Option<Bound>> {
    match Listener::bind(address) {
        Ok(listener) => Ok(Some(Bound { service, address, listener })),
        Err(error) if is_without_ipv6(address, &error) => {
            log::warn!("not listening: this machine has no IPv6 service={} address={address}", service.name());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether binding failed because IPv6 is switched off here.
pub fn is_without_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    let code = error.raw_os_error();
    let no_family = code == Some(libc::EAFNOSUPPORT);
    let no_address = code == Some(libc::EADDRNOTAVAIL);
    address.is_ipv6() && (no_family || (no_address && address.ip().is_loopback()))
}

/// What helps against an error of binding.
pub fn remedy_for(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there: find it with `ss -ltnp`, stop it, or change [listen]"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE (the systemd unit has it); or choose higher ports in [listen]"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address: see `ip address`, correct [listen]"
        }
        _ => "correct [listen] in the configuration",
    }
}

impl Listeners {
    /// Accepts from all of `bound`.
    pub(super) fn start(&mut self, server: &Arc<Server>, bound: Vec<Bound>) {
        for one in bound {
            let task = server.executor.spawn(accept(server.clone(), one.service, one.listener));
            self.open.insert((one.service, one.address), task);
        }
    }

    /// Ends the sockets that `config` no longer has and starts its new ones; answers with what went wrong.
    pub(super) async fn change(&mut self, server: &Arc<Server>, config: &Config) -> Vec<String> {
        let wanted: Vec<_> = config.listen.all().collect();
        let gone: Vec<_> = self.open.keys().filter(|open| !wanted.contains(open)).copied().collect();
        for key in gone {
            if let Some(task) = self.open.remove(&key) {
                // Afterwards the socket is closed, and its address free for another.
                task.cancel().await;
                log::info!("no longer listening service={} address={}", key.0.name(), key.1);
            }
        }
        let mut wrong = Vec::new();
        for (service, address) in wanted {
            if self.open.contains_key(&(service, address)) {
                continue;
            }
            match bind(service, address) {
                Ok(bound) => {
                    self.start(server, bound.into_iter().collect());
                    log::info!("listening service={} address={address}", service.name());
                }
                Err(error) => wrong.push(format!("cannot listen on {address} for {}: {error}", service.name())),
            }
        }
        wrong
    }

    /// What listens where.
    pub(super) fn addresses(&self) -> Vec<(Service, SocketAddr)> {
        self.open.keys().copied().collect()
    }

    /// Ends all of them.
    pub(super) async fn close(&mut self) {
        for (_, task) in std::mem::take(&mut self.open) {
            task.cancel().await;
        }
    }
}

async fn accept(server: Arc<Server>, service: Service, listener: Listener) {
    loop {
        match listener.accept().await {
            Ok(socket) => {
                server.renew_certificate_if_due();
                server.save_wear_if_due();
                session::start(&server, service, socket);
            }
            Err(error) if is_out_of_room(&error) => {
                log::error!("cannot accept a connection service={} error={error}", service.name());
                server.world.clock.sleep(OUT_OF_FILES_PAUSE).await;
            }
            // The peer was gone before we came to it.
            Err(_) => {}
        }
    }
}

fn is_out_of_room(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
