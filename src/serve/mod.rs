//! The wiring: everything opened in order, one executor thread for all connections, the control socket, reload, and an
//! end within five seconds. No timer ticks: an idle server makes no system call.

mod ceilings;
mod control;
mod hostname;
mod house;
mod listeners;
mod logger;
mod malloc;
mod manage;
mod process;
mod reload;
mod sabotage;
mod server;
mod session;
mod status;
pub mod transfer;
mod watchdog;
mod wear;
mod world;

pub use control::{Asked, ask, connect, socket_path};
pub use hostname::settle_hostname;
pub use listeners::{is_without_ipv6, remedy_for, socket_unit};
pub use logger::start as start_log;
pub use malloc::tune as tune_allocator;
pub use manage::{Alias, Answer, Checked, Password, Request, User, perform};
pub use process::{become_owner, control_group_memory, raise_file_limit};
pub use status::{Connections, Holds, Memory, Running, Served, Status, StoreWork};
pub use wear::WearStatus;
pub use world::{StartError, World, beside, create_folder};

use crate::base::Clock;
use crate::config::{Config, Service};
use crate::net::LocalListener;
use crate::tls::{Source, Tls};
use async_signal::{Signal, Signals};
use hostname::names_in_the_house;
use listeners::{Bound, Listeners, Passed};
use sd_notify::NotifyState;
use server::Server;
use smol::Executor;
use smol::stream::StreamExt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Sessions have so long for their last words; with [`CLOSE_LIMIT`] less than the five seconds promised.
const SESSIONS_LIMIT: Duration = Duration::from_millis(3_000);
/// The store has so long for its last checkpoint; the log is durable without one. A stop takes milliseconds; what makes it
/// longer is a disk busy with others, whose flushes the checkpoint waits for (measured: three of 0.2 s), up to this limit;
/// or a peer that has more coming and does not read, up to what `net` gives last words (2 s).
const CLOSE_LIMIT: Duration = Duration::from_millis(1_500);

/// What to serve.
#[derive(Debug)]
pub struct Setup {
    /// As configured.
    pub config: Config,
    /// Where that was read, to read it again on SIGHUP; absolute.
    pub file: Option<PathBuf>,
}

/// A server that listens, as the one who started it sees it.
#[derive(Debug)]
pub struct Ready {
    /// What listens where.
    pub services: Vec<(Service, SocketAddr)>,
}

/// Where the certificate of this configuration comes from.
pub fn tls_source(config: &Config) -> Source {
    match &config.tls {
        Some(files) => Source::Files { certificate: files.certificate.clone(), key: files.key.clone() },
        None => {
            let hosts = std::iter::once(config.hostname.clone()).chain(names_in_the_house()).collect();
            Source::Local { folder: config.data.join("tls"), hosts }
        }
    }
}

/// Serves until SIGTERM or SIGINT. `before` runs when the store is open and nothing listens yet, `ready` when everything
/// listens. Blocks; everything has ended when it returns.
pub fn run(
    setup: Setup,
    before: impl FnOnce(&World) -> Result<(), StartError>,
    ready: impl FnOnce(&Ready),
) -> Result<(), StartError> {
    let files = raise_file_limit();
    if files < u64::from(setup.config.limits.connections).saturating_add(64) {
        log::warn!("fewer files than connections may be open files={files}");
    }
    let memory_bytes = setup.config.limits.memory_bytes;
    if let Some(wall) = control_group_memory().filter(|wall| *wall < memory_bytes.saturating_add(memory_bytes / 2)) {
        log::warn!(
            "the control group (MemoryMax= of the unit) leaves little room above [limits] memory bytes={wall}, of that memory={memory_bytes}"
        );
    }
    if let Some((owner, _)) = process::owner_beside_root(&setup.config.data) {
        log::warn!("root serves data of another user, who will not be able to open what is written now owner={owner}");
    }
    // First the sockets, then the store: whoever cannot listen should not have replayed a log for it.
    let passed = Passed::take()?;
    let bound = listeners::bind_all(&setup.config, &passed)?;
    let world = World::open(&setup.config)?;
    let served = before(&world).and_then(|()| serve(setup, world.clone(), (Listeners::new(passed), bound), ready));
    close(world);
    served
}

fn serve(
    setup: Setup,
    world: World,
    (mut listeners, bound): (Listeners, Vec<Bound>),
    ready: impl FnOnce(&Ready),
) -> Result<(), StartError> {
    let tls = Tls::open(tls_source(&setup.config), Clock::system().unix_s())
        .map_err(|error| StartError::failed(error.to_string(), error.remedy()))?;
    let path = socket_path(&setup.config.data);
    let control = LocalListener::bind(&path).map_err(|error| {
        let message = format!("cannot make the control socket {}: {error}", path.display());
        StartError::failed(message, "the data directory must be on a file system that takes sockets")
    })?;
    let signals = Signals::new([Signal::Term, Signal::Int, Signal::Hup])
        .map_err(|error| StartError::failed(format!("cannot wait for signals: {error}"), "restart the machine"))?;

    let executor = Arc::new(Executor::new());
    let server = Server::new(executor.clone(), world, tls, setup.config);
    let served = async {
        listeners.start(&server, bound);
        server.set_listening(listeners.served());
        let control = executor.spawn(control::serve(server.clone(), control));
        let keeping = executor.spawn(house::keep(server.clone()));
        let giving_back = executor.spawn(malloc::give_back_after_many(server.clone()));
        ready(&Ready { services: listeners.addresses() });
        tell_systemd(&[NotifyState::Ready, NotifyState::Status(&server.in_a_line())]);
        let watched = executor.spawn(watchdog::keep(server.clone()));

        // A task of its own waits for signals: this future is polled whenever the thread wakes, for whatever reason, and each
        // look at the signals is a system call.
        let (signalled, told) = smol::channel::bounded(1);
        let waiting = executor.spawn(pass_on(signals, signalled));
        until_told_to_stop(&server, &mut listeners, told, setup.file).await;
        waiting.cancel().await;

        tell_systemd(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
        log::info!("stopping");
        control.cancel().await;
        giving_back.cancel().await;
        keeping.cancel().await;
        watched.cancel().await;
        listeners.close().await;
        server.stop.give();
        if server.world.clock.timeout(SESSIONS_LIMIT, server.ceilings.empty()).await.is_err() {
            log::warn!("ended connections that would not end connections={}", server.ceilings.counts().open);
        }
    };
    async_io::block_on(executor.run(served));
    Ok(())
}

async fn pass_on(mut signals: Signals, to: smol::channel::Sender<std::io::Result<Signal>>) {
    while let Some(signal) = signals.next().await {
        if to.send(signal).await.is_err() {
            return;
        }
    }
}

async fn until_told_to_stop(
    server: &Arc<Server>,
    listeners: &mut Listeners,
    signals: smol::channel::Receiver<std::io::Result<Signal>>,
    file: Option<PathBuf>,
) {
    while let Ok(signal) = signals.recv().await {
        match signal {
            Ok(Signal::Hup) => {
                // Since systemd 253 (Type=notify-reload) the time must be told, too.
                let mut told = vec![NotifyState::Reloading];
                told.extend(NotifyState::monotonic_usec_now());
                tell_systemd(&told);
                Box::pin(reload::reload(server, listeners, file.as_deref())).await;
                tell_systemd(&[NotifyState::Ready, NotifyState::Status(&server.in_a_line())]);
            }
            Ok(_) => return,
            Err(error) => log::error!("cannot wait for signals: {error}"),
        }
    }
}

/// Closes the store, unless the disk makes us wait longer than we may.
fn close(world: World) {
    let (done, is_done) = mpsc::channel();
    let closing = std::thread::Builder::new().name("close".to_owned()).spawn(move || {
        world.close();
        match done.send(()) {
            Ok(()) => {}
            Err(mpsc::SendError(())) => log::info!("the store was closed late"),
        }
    });
    if closing.is_ok() && is_done.recv_timeout(CLOSE_LIMIT).is_err() {
        log::warn!("the store was not closed in time; the next start replays its log");
    }
    log::logger().flush();
}

/// systemd may not be there at all.
fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("cannot tell systemd: {error}");
    }
}
