//! The one thread that computes password hashes, one at a time: 7 MiB are there for one, and no more.

use super::secrets::{Salts, Secrets};
use crate::base::{Secret, Workers};
use ring::rand::{SecureRandom, SystemRandom};
use smol::lock::{Mutex, MutexGuardArc};
use std::io;
use std::sync::Arc;

/// argon2 keeps a few blocks of 1 KiB on the stack.
const STACK_BYTES: usize = 128 * 1024;

#[derive(Debug)]
pub(super) struct Hasher {
    workers: Workers,
    turn: Arc<Mutex<()>>,
    nobody: Arc<Secrets>,
}

/// The right to compute the next hash; it goes along with the work, so that a caller that goes away does not make room for
/// another hash beside its own.
pub(super) type Turn = MutexGuardArc<()>;

impl Hasher {
    pub(super) fn new() -> io::Result<Self> {
        let nobody = Arc::new(Secrets::of_nobody(&salts()?));
        Ok(Self { workers: Workers::new("hash", 1, STACK_BYTES)?, turn: Arc::default(), nobody })
    }

    /// Waits until no other hash is being computed.
    pub(super) async fn turn(&self) -> Turn {
        self.turn.lock_arc().await
    }

    /// Whether `password` is the one behind `secrets`; without secrets the answer is no, after the same work. The turn comes
    /// back with the answer. `None` when it could not be found out.
    pub(super) async fn fits(&self, turn: Turn, secrets: Option<Secrets>, password: Secret) -> Option<(bool, Turn)> {
        let secrets = secrets.map_or_else(|| self.nobody.clone(), Arc::new);
        let work = move || Some((secrets.fits(password.expose())?, turn));
        self.workers.run(work).await.flatten()
    }

    /// The secrets of a new password; `None` without memory or randomness.
    pub(super) async fn secrets(&self, password: Secret) -> Option<Secrets> {
        let turn = self.turn().await;
        let work = move || {
            let secrets = Secrets::new(password.expose(), &salts().ok()?);
            drop(turn);
            secrets
        };
        self.workers.run(work).await.flatten()
    }
}

fn salts() -> io::Result<Salts> {
    let mut salts = Salts { argon2: Default::default(), scram: Default::default() };
    let random = SystemRandom::new();
    let filled = random.fill(&mut salts.argon2).and_then(|()| random.fill(&mut salts.scram));
    filled.map_err(|_| io::Error::other("the system gives no randomness"))?;
    Ok(salts)
}
