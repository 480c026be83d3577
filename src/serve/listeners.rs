//! The listening sockets: bound as configured, or handed over by systemd, each with a task that accepts; changed on reload
//! without touching those that stay, nor any session.
//!
//! A socket that was handed over takes the place of its service's configured addresses. `"off"` still counts: then nothing
//! is accepted from it. It is kept all the same, because nobody hands it over a second time.

use super::server::Server;
use super::session;
use super::status::Served;
use super::world::StartError;
use crate::config::{Config, Service};
use crate::net::{Inherited, Listener, inherited};
use smol::Task;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// When there is no room for another socket, we look again after this time.
const OUT_OF_FILES_PAUSE: Duration = Duration::from_millis(250);

/// Every socket that listens.
#[derive(Debug)]
pub(super) struct Listeners {
    open: BTreeMap<(Service, SocketAddr), Task<()>>,
    passed: Passed,
}

/// A socket that is bound and not accepted from yet.
#[derive(Debug)]
pub(super) struct Bound {
    service: Service,
    address: SocketAddr,
    listener: Arc<Listener>,
}

/// The sockets that were handed over, whether or not anything is accepted from them.
#[derive(Debug, Default)]
pub(super) struct Passed(Vec<(Service, SocketAddr, Arc<Listener>)>);

impl Passed {
    /// Takes what was handed over; what is not for us is told and closed.
    pub(super) fn take() -> Result<Self, StartError> {
        let handed_over = inherited().map_err(|error| {
            let message = format!("cannot take over the sockets that were handed over: {error}");
            StartError::failed(message, "correct the socket units, or start pigeon without them")
        })?;
        let mut passed = Vec::new();
        for Inherited { name, listener } in handed_over {
            let service = Service::ALL.into_iter().find(|service| service.name() == name);
            let taken = listener.and_then(|listener| Ok((listener.local()?, Arc::new(listener))));
            match (service, taken) {
                (Some(service), Ok((address, listener))) => passed.push((service, address, listener)),
                (Some(_), Err(error)) => log::error!("closed a socket that was handed over name={name} error={error}"),
                (None, _) => log::error!(
                    "closed a socket that was handed over: its FileDescriptorName= is no key of [listen] name={name}"
                ),
            }
        }
        Ok(Self(passed))
    }

    fn of(&self, service: Service) -> impl Iterator<Item = &(Service, SocketAddr, Arc<Listener>)> {
        self.0.iter().filter(move |(of, ..)| *of == service)
    }

    fn get(&self, service: Service, address: SocketAddr) -> Option<&Arc<Listener>> {
        self.of(service).find(|(_, at, _)| *at == address).map(|(.., listener)| listener)
    }

    /// What listens where under this configuration.
    fn wanted(&self, config: &Config) -> Vec<(Service, SocketAddr)> {
        let mut wanted = Vec::new();
        for service in Service::ALL {
            let configured = config.listen.of(service);
            let mut handed_over = self.of(service).map(|&(_, address, _)| (service, address)).peekable();
            match handed_over.peek() {
                Some(_) if configured.is_empty() => log::warn!(
                    "systemd listens for a service that is off, and whoever connects there waits in vain; \
                     `systemctl disable --now {}` ends that service={}",
                    socket_unit(service),
                    service.name()
                ),
                Some(_) => wanted.extend(handed_over),
                None => wanted.extend(configured.iter().map(|&address| (service, address))),
            }
        }
        wanted
    }
}

/// Binds everything that is configured and was not handed over, or answers with every address that could not be had.
pub(super) fn bind_all(config: &Config, passed: &Passed) -> Result<Vec<Bound>, StartError> {
    let mut bound = Vec::new();
    let mut wrong = Vec::new();
    let mut remedy = "";
    for (service, address) in passed.wanted(config) {
        match bind(service, address, passed) {
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
fn bind(service: Service, address: SocketAddr, passed: &Passed) -> io::Result<Option<Bound>> {
    if let Some(listener) = passed.get(service, address) {
        return Ok(Some(Bound { service, address, listener: listener.clone() }));
    }
    match Listener::bind(address) {
        Ok(listener) => Ok(Some(Bound { service, address, listener: Arc::new(listener) })),
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

/// The systemd unit that binds a service's sockets, where it is enabled.
pub fn socket_unit(service: Service) -> String {
    format!("pigeon-{}.socket", service.name())
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
    /// Nothing is accepted from yet.
    pub(super) fn new(passed: Passed) -> Self {
        Self { open: BTreeMap::new(), passed }
    }

    /// Accepts from all of `bound`.
    pub(super) fn start(&mut self, server: &Arc<Server>, bound: Vec<Bound>) {
        for one in bound {
            let task = server.executor.spawn(accept(server.clone(), one.service, one.listener));
            self.open.insert((one.service, one.address), task);
        }
    }

    /// Ends the sockets that `config` no longer has and starts its new ones; answers with what went wrong.
    pub(super) async fn change(&mut self, server: &Arc<Server>, config: &Config) -> Vec<String> {
        let wanted = self.passed.wanted(config);
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
            match bind(service, address, &self.passed) {
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

    /// The same, for the status.
    pub(super) fn served(&self) -> Vec<Served> {
        let served = |&(service, address): &(Service, SocketAddr)| Served {
            service: service.name().to_owned(),
            address: address.to_string(),
            passed: self.passed.get(service, address).is_some(),
        };
        self.open.keys().map(served).collect()
    }

    /// Ends all of them.
    pub(super) async fn close(&mut self) {
        for (_, task) in std::mem::take(&mut self.open) {
            task.cancel().await;
        }
    }
}

async fn accept(server: Arc<Server>, service: Service, listener: Arc<Listener>) {
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
