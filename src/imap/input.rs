//! Reads one command from the wire, line by line and literal by literal (RFC 3501 4.3, RFC 7888), within the memory
//! budget and in step whatever the client sends.

use super::failure::End;
use super::grammar::limits::{COMMAND_BYTES_MAX, STRANGER_BYTES_MAX, TAG_BYTES_MAX};
use super::grammar::{Assembler, Command, CommandBody, Rejected, Step, Tag, reply};
use super::session::{AUTOLOGOUT, Session, State};
use crate::base::Secret;
use crate::net::{Wire, WireError};
use std::time::Duration;

/// Once a command has begun, its next line or octets come within this time.
const NEXT_OCTETS: Duration = Duration::from_secs(5 * 60);
/// The slowest upload, octets a second.
pub(super) const OCTETS_PER_S_MIN: u64 = 512;
/// A parsed command takes at most about so many times its octets.
const PARSED_FACTOR: usize = 4;
/// Before login: no command there has many small parts.
const STRANGER_PARSED_FACTOR: usize = 2;

/// The command whose line may be longer than a stranger's otherwise, and what follows its name (RFC 2971 section 4).
const ID_WORD: &[u8] = b"ID (";

/// What came.
pub(super) enum Input {
    /// A command.
    Command(Box<Command>),
    /// Something that is none: what to tell the client.
    Rejected(Rejected),
}

/// The next command. The session's `held` grant covers it until the next call.
pub(super) async fn command(session: &mut Session) -> Result<Input, End> {
    let started = session.wire.clock().monotonic();
    // A stranger has so long for a whole command, however it trickles in; a user only waits for its first octets.
    let stranger_until = match session.state {
        State::NotAuthenticated { .. } => Some(started.saturating_add(session.login_wait()?)),
        State::Authenticated(_) | State::Selected(..) => None,
    };
    let (bytes_max, factor, wait) = match stranger_until {
        Some(until) => (STRANGER_BYTES_MAX, STRANGER_PARSED_FACTOR, until.saturating_sub(started)),
        None => (COMMAND_BYTES_MAX, PARSED_FACTOR, AUTOLOGOUT),
    };
    let until = |wire: &Wire| stranger_until.unwrap_or_else(|| wire.clock().monotonic().saturating_add(NEXT_OCTETS));
    let mut assembler = Assembler::new(bytes_max);
    hold(session, 0)?;
    session.wire.octets(wait).await.map_err(End::Wire)?;
    let start_until = until(&session.wire);
    let mut start = Some(start(&mut session.wire, start_until).await?);
    loop {
        let limit = left(&session.wire, until(&session.wire))?;
        let line = match session.wire.line(assembler.line_bytes_max(), limit).await {
            Ok(line) => Some(Secret::new(line.text)), // it may hold a password
            Err(WireError::LineTooLong) => None,
            Err(error) => return Err(End::Wire(error)),
        };
        let octets = line.as_ref().map(Secret::expose).unwrap_or_default();
        let bytes = assembler.bytes_held().saturating_add(octets.len());
        hold(session, bytes.saturating_mul(factor))?;
        let step = match &line {
            Some(line) => assembler.line(line.expose()),
            None => match start.take() {
                Some(Start { tag: Some(tag), is_id: true }) if stranger_until.is_some() => {
                    // What a client says of itself is forgotten in any case.
                    Step::Command(Box::new(Command { tag, body: CommandBody::Id(Vec::new()) }))
                }
                start => assembler.line_too_long(start.and_then(|start| start.tag), session.wire.long_line_end()),
            },
        };
        start = None;
        drop(line);
        match step {
            Step::Command(command) => return Ok(Input::Command(command)),
            Step::Rejected(rejected) => return Ok(Input::Rejected(rejected)),
            Step::End(text) => return Err(End::Bye(None, text)),
            Step::Discard { octets } => {
                let until = stranger_until.unwrap_or_else(|| discarded_until(&session.wire, octets));
                discard(&mut session.wire, octets, until).await?;
            }
            Step::Literal { octets, waits } => {
                hold(session, bytes.saturating_add(octets).saturating_mul(factor))?;
                if waits {
                    let mut out = Vec::new();
                    reply::go_ahead(&mut out, "go ahead");
                    session.wire.put(&out);
                }
                literal(&mut session.wire, &mut assembler, until).await?;
            }
        }
    }
}

/// How a command begins.
struct Start {
    tag: Option<Tag>,
    is_id: bool,
}

/// The start of a line yet to be read: of a line too long nothing else is left, and the client waits for its tag.
async fn start(wire: &mut Wire, until: Duration) -> Result<Start, End> {
    loop {
        let here = wire.buffered();
        let line = memchr::memchr(b'\n', here).and_then(|end| here.get(..end));
        if line.is_some() || here.len() > TAG_BYTES_MAX + ID_WORD.len() {
            let mut words = line.unwrap_or(here).splitn(2, |octet| *octet == b' ');
            let tag = words.next().and_then(Tag::parse);
            let command = words.next().and_then(|rest| rest.get(..ID_WORD.len()));
            let is_id = line.is_none() && command.is_some_and(|word| word.eq_ignore_ascii_case(ID_WORD));
            return Ok(Start { tag, is_id });
        }
        let limit = left(wire, until)?;
        wire.read_more(limit).await.map_err(End::Wire)?;
    }
}

async fn literal(wire: &mut Wire, assembler: &mut Assembler, until: impl Fn(&Wire) -> Duration) -> Result<(), End> {
    while assembler.missing() > 0 {
        let limit = left(wire, until(wire))?;
        let octets = wire.octets(limit).await.map_err(End::Wire)?;
        let count = assembler.literal(octets);
        wire.consume(count);
    }
    wire.acknowledge();
    Ok(())
}

/// The time left, if any is.
fn left(wire: &Wire, until: Duration) -> Result<Duration, End> {
    until.checked_sub(wire.clock().monotonic()).ok_or(End::Wire(WireError::TimedOut))
}

/// Reads octets and throws them away, until so late (monotonic) at the most.
pub(super) async fn discard(wire: &mut Wire, octets: u64, until: Duration) -> Result<(), End> {
    let mut missing = octets;
    while missing > 0 {
        let limit = left(wire, until)?.min(NEXT_OCTETS);
        let here = wire.octets(limit).await.map_err(End::Wire)?.len();
        let count = here.min(usize::try_from(missing).unwrap_or(usize::MAX));
        wire.consume(count);
        missing = missing.saturating_sub(count as u64);
    }
    Ok(())
}

/// When a user's octets to throw away are to be here, however they trickle in.
pub(super) fn discarded_until(wire: &Wire, octets: u64) -> Duration {
    let allowed = NEXT_OCTETS.saturating_add(Duration::from_secs(octets / OCTETS_PER_S_MIN));
    wire.clock().monotonic().saturating_add(allowed)
}

fn hold(session: &mut Session, bytes: usize) -> Result<(), End> {
    if session.held.resize(bytes) { Ok(()) } else { Err(End::Wire(WireError::NoMemory)) }
}
