//! The control socket: `control.sock` in the data directory, for its owner alone. One line of JSON asks, one answers.

use super::manage::{self, Answer, Request, perform};
use super::server::Server;
use super::transfer::{self, Scope};
use super::world::{StartError, World};
use crate::accounts::Error;
use crate::base::Secret;
use crate::config::Config;
use crate::net::{LocalClient, LocalListener, LocalStream};
use crate::store::TARGETS_MAX;
use crate::store::backup::Held;
use smol::lock::{Semaphore, SemaphoreGuardArc};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A question: an alias with its most targets, each an address in quotes.
pub(super) const REQUEST_BYTES_MAX: usize = 4096 + TARGETS_MAX * 512;
/// An answer: a page of such aliases.
const ANSWER_BYTES_MAX: u64 = 32 << 20;
/// Programs that ask at the same time.
const CONNECTIONS_MAX: usize = 8;
/// Of these, so many may have mail carried in or out.
const TRANSFERS_MAX: usize = 2;
/// So many may hold the files or wait until they can,
const HOLDS_MAX: usize = 2;
/// and so many have everything read.
const VERIFIES_MAX: usize = 2;
// However long those take, somebody else can ask.
const _: () = assert!(TRANSFERS_MAX + HOLDS_MAX + VERIFIES_MAX < CONNECTIONS_MAX);
/// Whoever connects asks within this time.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// A verb waits so long for an answer: hashes queue behind those of logins.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How often a long job tells how far it is.
const TELL_PAUSE: Duration = Duration::from_millis(250);
/// A server that has the lock and does not listen yet is starting; a verb waits so long for it.
pub(super) const START_LIMIT: Duration = Duration::from_secs(3);
pub(super) const START_PAUSE: Duration = Duration::from_millis(100);

/// Where the socket is.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Answers on the socket for ever.
pub(super) async fn serve(server: Arc<Server>, listener: LocalListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let long = Arc::new(Long::default());
    loop {
        match listener.accept().await {
            Ok(stream) => {
                // Given back however the conversation ends. Without one the caller is told to try again.
                let Some(place) = places.try_acquire_arc() else { continue };
                let executor = server.executor.clone();
                let (server, long) = (server.clone(), long.clone());
                let conversation = async move {
                    drop(converse(&server, &long, stream).await);
                    drop(place);
                };
                executor.spawn(conversation).detach();
            }
            Err(error) => {
                log::error!("control socket: {error}");
                server.world.clock.sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Places for what may take long.
struct Long {
    transfers: Semaphore,
    holds: Arc<Semaphore>,
    verifies: Semaphore,
}

impl Default for Long {
    fn default() -> Self {
        Self {
            transfers: Semaphore::new(TRANSFERS_MAX),
            holds: Arc::new(Semaphore::new(HOLDS_MAX)),
            verifies: Semaphore::new(VERIFIES_MAX),
        }
    }
}

fn try_later(message: &str) -> Answer {
    Answer::TryLater { message: message.to_owned() }
}

async fn converse(server: &Server, long: &Long, mut stream: LocalStream) -> io::Result<()> {
    // Kept until the conversation ends.
    let mut held: Option<(Held, SemaphoreGuardArc)> = None;
    loop {
        let line = match held {
            None => server.world.clock.timeout(REQUEST_LIMIT, stream.line(REQUEST_BYTES_MAX)).await.unwrap_or(Ok(None)),
            // A slow stick may take hours.
            Some(_) => stream.line(REQUEST_BYTES_MAX).await,
        };
        let Ok(Some(line)) = line else {
            return Ok(());
        };
        // A password may be in it.
        let line = Secret::new(line);
        let answer = match serde_json::from_slice(line.expose()) {
            Ok(Request::Hold) if held.is_some() => Answer::Failed { message: "the files are held already".to_owned() },
            Ok(Request::Hold) => match long.holds.try_acquire_arc() {
                None => try_later("others wait to make a backup already"),
                Some(place) => match server.world.store.hold().await {
                    Ok(files) => {
                        let ((sequence, crc), end) = (files.batch, files.end);
                        let (names, needed, mark) = (files.names.clone(), files.needed.clone(), files.mark.clone());
                        held = Some((files, place));
                        Answer::Held { sequence, crc, end, names, needed, mark }
                    }
                    Err(refusal) => try_later(&Error::Store(refusal).to_string()),
                },
            },
            Ok(Request::Verify) => match long.verifies.try_acquire() {
                Some(_place) => verify(server, &mut stream).await?,
                None => try_later("everything is being read already"),
            },
            Ok(request @ (Request::Import(_) | Request::Export(_))) => match long.transfers.try_acquire() {
                Some(_place) => {
                    let scope = Scope::of(&server.config());
                    return Box::pin(transfer::serve(&server.world, scope, request, &mut stream)).await;
                }
                None => Answer::TryLater { message: "mail is being carried in and out already".to_owned() },
            },
            Ok(request) => answer(server, request).await,
            Err(error) => Answer::Failed { message: format!("this server does not understand the request: {error}") },
        };
        stream.write_line(&serde_json::to_vec(&answer)?).await?;
    }
}

async fn answer(server: &Server, request: Request) -> Answer {
    match perform(&server.world, request).await {
        Answer::Status(mut status) => {
            match server.running().await {
                Ok(running) => status.server = Some(running),
                Err(refusal) => return Answer::TryLater { message: Error::Store(refusal).to_string() },
            }
            Answer::Status(status)
        }
        answer => answer,
    }
}

/// Reads everything, and tells how far it is meanwhile; ends when whoever asked goes away.
async fn verify(server: &Server, stream: &mut LocalStream) -> io::Result<Answer> {
    let latest = Mutex::new(None);
    let mut note = |progress| *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    let done = async { Ok(manage::with_start(&server.world, manage::verify(&server.world, &mut note).await)) };
    let tell = async {
        loop {
            server.world.clock.sleep(TELL_PAUSE).await;
            let progress = latest.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(progress) = progress {
                stream.write_line(&serde_json::to_vec(&manage::verifying(progress))?).await?;
            }
        }
    };
    smol::future::or(done, tell).await
}

/// Whom a verb asks: the running server, or the store itself.
#[derive(Debug)]
pub enum Asked {
    /// A server runs.
    Server(LocalClient),
    /// No server runs: the verb has the store open itself.
    Store(World),
}

impl Asked {
    /// Finds the running server, or opens the store where none runs. Blocks.
    pub fn find(config: &Config) -> Result<Self, StartError> {
        let until = Instant::now() + START_LIMIT;
        loop {
            if let Some(client) = connect(&config.data)? {
                return Ok(Self::Server(client));
            }
            match World::open(config) {
                Ok(world) => return Ok(Self::Store(world)),
                Err(StartError::Busy(_)) if Instant::now() < until => std::thread::sleep(START_PAUSE),
                Err(error) => return Err(error),
            }
        }
    }

    /// Has everything read; `progress` is told the part, how much of it is done, and how much there is. Blocks.
    pub fn verify(&mut self, progress: &mut (dyn FnMut(&str, u64, u64) + Send)) -> Answer {
        let mut told = |answer: &Answer| {
            if let Answer::Verifying { part, done, total } = answer {
                progress(part, *done, *total);
            }
        };
        match self {
            Self::Store(world) => {
                let mut told = |progress| told(&manage::verifying(progress));
                manage::with_start(world, smol::future::block_on(manage::verify(world, &mut told)))
            }
            Self::Server(client) => {
                let mut answer = ask(client, &Request::Verify);
                while let Ok(progress @ Answer::Verifying { .. }) = &answer {
                    told(progress);
                    answer = next(client);
                }
                answer
                    .unwrap_or_else(|error| Answer::TryLater { message: format!("the server did not answer: {error}") })
            }
        }
    }

    /// Asks once. Blocks.
    pub fn ask(&mut self, request: Request) -> Answer {
        match self {
            Self::Store(world) => smol::future::block_on(perform(world, request)),
            Self::Server(client) => match ask(client, &request) {
                Ok(answer) => answer,
                Err(error) => Answer::TryLater { message: format!("the server did not answer: {error}") },
            },
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Self::Store(world) = self {
            world.close();
        }
    }
}

/// The running server of this data directory; `None` when there is none.
pub fn connect(data: &Path) -> Result<Option<LocalClient>, StartError> {
    connect_within(data, ANSWER_LIMIT)
}

/// As [`connect`]; the server has `limit` for each answer.
pub(super) fn connect_within(data: &Path, limit: Duration) -> Result<Option<LocalClient>, StartError> {
    let path = socket_path(data);
    match LocalClient::connect(&path, limit) {
        Ok(client) => Ok(Some(client)),
        // Nothing there, or left by a server that was killed.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => {
            let message = format!("cannot ask the server at {}: {error}", path.display());
            Err(StartError::failed(message, "run the command as root or as the user that Pigeon runs as"))
        }
    }
}

/// Asks a running server once. Blocks.
pub fn ask(client: &mut LocalClient, request: &Request) -> io::Result<Answer> {
    let line = Secret::new(serde_json::to_vec(request)?);
    let answer = client.ask(line.expose(), ANSWER_BYTES_MAX)?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Reads another answer to what was asked.
fn next(client: &mut LocalClient) -> io::Result<Answer> {
    Ok(serde_json::from_slice(&client.line(ANSWER_BYTES_MAX)?)?)
}
