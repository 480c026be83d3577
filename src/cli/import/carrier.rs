//! Carries messages to the store: what the two ends of the control socket say to each other during an import.

use super::{LINE_BYTES_MAX, Position};
use crate::cli::output::{Failure, complain, failed, say};
use crate::cli::progress::Progress;
use crate::config::Config;
use crate::net::{FRAME_BYTES_MAX, LocalClient};
use crate::serve::transfer::{Acked, Arrived, BATCH_BYTES, BATCH_MESSAGES_MAX, Before, ImportOrder, Line, Marks, kind};
use crate::serve::{Answer, Request};
use std::io::{self, BufWriter, Write};
use std::os::unix::net::UnixStream;

/// The connection ended where it should not.
pub(super) fn lost(error: io::Error) -> Failure {
    Failure::TryLater(format!("the server went away: {error}\n    remedy: the same command goes on where it was"))
}

/// Why an import stops before its end.
pub(super) enum Stop {
    Connection(io::Error),
    Failure(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

/// Carries messages to the store.
pub(super) struct Carrier {
    line: Line,
    out: BufWriter<UnixStream>,
    /// Octets of the message that wait for a frame.
    data: Vec<u8>,
    /// What the messages since the last answer are called.
    labels: Vec<String>,
    /// Octets of them.
    bytes: u64,
    pub(super) progress: Progress,
    stored: u64,
    refused: u64,
    keywords_left_out: u64,
}

impl Carrier {
    /// Begins an import of sources that weigh `total`; says what an earlier run of it has brought in.
    pub(super) fn begin(config: &Config, order: ImportOrder, total: u64) -> Result<(Self, Before), Failure> {
        let mut line = Line::open(config)?;
        let request = serde_json::to_vec(&Request::Import(order)).map_err(io::Error::from).map_err(lost)?;
        let answer = line.client().and_then(|client| client.ask(&request, LINE_BYTES_MAX)).map_err(lost)?;
        let before = match serde_json::from_slice(&answer).map_err(io::Error::from).map_err(lost)? {
            Answer::Import(before) => before,
            other => return Err(failed(other)),
        };
        let out = line.client().and_then(|client| client.writer()).map_err(lost)?;
        let (data, labels, progress) = (Vec::new(), Vec::new(), Progress::new(total));
        let (bytes, stored, refused, keywords_left_out) = (0, 0, 0, 0);
        Ok((Self { line, out, data, labels, bytes, progress, stored, refused, keywords_left_out }, before))
    }

    /// Messages and files that could not be taken.
    pub(super) fn missed(&self) -> u64 {
        self.refused
    }

    /// What cannot be taken is named, and the rest goes on.
    pub(super) fn miss(&mut self, label: &str, why: &str) {
        self.refused += 1;
        self.progress.clear();
        complain(&format!("pigeon: {label}: {why}\n"));
    }

    /// Sends an order and takes its answer.
    pub(super) fn order(&mut self, kind: u8, octets: &[u8]) -> Result<(), Stop> {
        let sent = LocalClient::put_frame(&mut self.out, kind, octets).and_then(|()| self.out.flush());
        // A server that takes no more has said why.
        let answer = match (sent, self.answer()) {
            (_, Ok(answer)) => answer,
            (Err(error), Err(_)) | (Ok(()), Err(error)) => return Err(Stop::Connection(error)),
        };
        self.stored += answer.stored;
        self.keywords_left_out += answer.keywords_left_out;
        for (number, why) in answer.refused {
            let label = usize::try_from(number).ok().and_then(|number| self.labels.get(number)).cloned();
            self.miss(&label.unwrap_or_default(), &why);
        }
        self.progress.messages += self.labels.len() as u64;
        self.progress.bytes += self.bytes;
        self.labels.clear();
        self.bytes = 0;
        self.progress.show();
        match answer.failed {
            None => Ok(()),
            Some(failed) => {
                let words = format!("{}\n    remedy: the same command goes on where it was", failed.message);
                Err(Stop::Failure(if failed.is_passing { Failure::TryLater(words) } else { Failure::Failed(words) }))
            }
        }
    }

    fn answer(&mut self) -> io::Result<Acked> {
        let mut frame = Vec::new();
        match self.line.client()?.frame(&mut frame)? {
            kind::ANSWER => Ok(serde_json::from_slice(&frame)?),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Sends a frame that is not answered; a server that takes no more is asked why.
    fn frame(&mut self, kind: u8, octets: &[u8]) -> Result<(), Stop> {
        match LocalClient::put_frame(&mut self.out, kind, octets) {
            Ok(()) => Ok(()),
            Err(error) => match self.answer() {
                Ok(Acked { failed: Some(failed), .. }) if !failed.is_passing => {
                    Err(Stop::Failure(Failure::Failed(failed.message)))
                }
                Ok(Acked { failed: Some(failed), .. }) => Err(Stop::Failure(Failure::TryLater(failed.message))),
                _ => Err(Stop::Connection(error)),
            },
        }
    }

    pub(super) fn mailbox(&mut self, name: &str) -> Result<(), Stop> {
        self.commit()?;
        self.order(kind::MAILBOX, name.as_bytes())
    }

    fn commit(&mut self) -> Result<(), Stop> {
        if self.labels.is_empty() { Ok(()) } else { self.order(kind::COMMIT, b"") }
    }

    /// Octets of the message, as they are to be stored.
    pub(super) fn octets(&mut self, mut octets: &[u8]) -> Result<(), Stop> {
        self.bytes = self.bytes.saturating_add(octets.len() as u64);
        while !octets.is_empty() {
            let room = FRAME_BYTES_MAX.saturating_sub(self.data.len());
            let (now, later) = octets.split_at_checked(room).unwrap_or((octets, b""));
            self.data.extend_from_slice(now);
            octets = later;
            if self.data.len() >= FRAME_BYTES_MAX {
                self.flush_data()?;
            }
        }
        Ok(())
    }

    fn flush_data(&mut self) -> Result<(), Stop> {
        let mut data = std::mem::take(&mut self.data);
        if !data.is_empty() {
            self.frame(kind::DATA, &data)?;
        }
        data.clear();
        self.data = data;
        Ok(())
    }

    /// The message is whole.
    pub(super) fn end(&mut self, marks: Marks, position: &Position, label: String) -> Result<(), Stop> {
        self.flush_data()?;
        let position = serde_json::to_string(position).map_err(io::Error::from)?;
        let arrived = serde_json::to_vec(&Arrived { marks, position }).map_err(io::Error::from)?;
        self.frame(kind::END, &arrived)?;
        self.labels.push(label);
        if self.labels.len() >= BATCH_MESSAGES_MAX || self.bytes >= BATCH_BYTES { self.commit() } else { Ok(()) }
    }

    pub(super) fn forget(&mut self) -> Result<(), Stop> {
        self.data.clear();
        self.frame(kind::FORGET, b"")
    }

    pub(super) fn report(&self, account: &str) -> Result<(), Failure> {
        let mut text = format!("{account}: {} messages imported", self.stored);
        if self.keywords_left_out > 0 {
            text.push_str(&format!(", {} without some of their keywords", self.keywords_left_out));
        }
        say(&format!("{text}\n"))?;
        match self.refused {
            0 => Ok(()),
            1 => Err(Failure::Failed("1 message could not be imported; it is named above".to_owned())),
            refused => Err(Failure::Failed(format!("{refused} messages could not be imported; they are named above"))),
        }
    }
}
