//! Runs the server as systemd would (sd_notify(3), sd_watchdog_enabled(3)): hears when it is ready, and ends it when it has
//! been silent for too long, so that whoever called starts it anew.

use crate::base::replace_file;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::Timespec;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// A server's words are short.
const WORD_BYTES_MAX: usize = 4096;

/// How a command is looked after.
#[derive(Debug)]
pub struct Supervision {
    /// The socket that its words come to.
    pub socket: PathBuf,
    /// There while it serves.
    pub ready: PathBuf,
    /// Holds its process number while it runs.
    pub pid: PathBuf,
    /// Once it is ready, it may be silent for so long.
    pub silence: Duration,
}

impl Supervision {
    /// Starts the command and waits for its end.
    pub fn run(&self, command: &[OsString]) -> io::Result<ExitStatus> {
        let [program, words @ ..] = command else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        self.forget();
        drop(fs::remove_file(&self.socket));
        let socket = UnixDatagram::bind(&self.socket)?;
        // The server is another user.
        fs::set_permissions(&self.socket, fs::Permissions::from_mode(0o622))?;
        let mut child = Command::new(program)
            .args(words)
            .env("NOTIFY_SOCKET", &self.socket)
            .env("WATCHDOG_USEC", self.silence.as_micros().to_string())
            .spawn()?;
        let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        replace_file(&self.pid, format!("{}\n", child.id()).as_bytes(), 0o644)?;
        let mut heard: Option<Instant> = None;
        loop {
            let left = heard.map(|heard| self.silence.saturating_sub(heard.elapsed()));
            if left == Some(Duration::ZERO) {
                log::error!("the server has said nothing for {} s and is ended", self.silence.as_secs());
                child.kill()?;
                heard = None;
                continue;
            }
            let timeout =
                left.map(|left| Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() });
            let mut places = [PollFd::new(&socket, PollFlags::IN), PollFd::new(&ended, PollFlags::IN)];
            match poll(&mut places, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let [has_word, has_ended] = places.map(|place| !place.revents().is_empty());
            if has_word {
                self.hear(&socket, &mut heard)?;
            }
            if has_ended {
                self.forget();
                return child.wait();
            }
        }
    }

    fn hear(&self, socket: &UnixDatagram, heard: &mut Option<Instant>) -> io::Result<()> {
        let mut word = [0; WORD_BYTES_MAX];
        let bytes = socket.recv(&mut word)?;
        for line in word.get(..bytes).unwrap_or_default().split(|octet| *octet == b'\n') {
            match line {
                b"READY=1" => {
                    *heard = Some(Instant::now());
                    fs::write(&self.ready, "")?;
                }
                b"WATCHDOG=1" => *heard = heard.map(|_| Instant::now()),
                // It ends by itself, within a time of its own.
                b"STOPPING=1" => {
                    *heard = None;
                    drop(fs::remove_file(&self.ready));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn forget(&self) {
        // They may not be there.
        drop((fs::remove_file(&self.ready), fs::remove_file(&self.pid)));
    }
}
