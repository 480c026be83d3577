//! A session's connection: lines and octets in, replies out, TLS on request, with time limits and the memory budget.
//! While it waits it owns no buffer. Dropping one of its futures loses nothing: what was read stays for the next call.

use super::input::Input;
use super::listener::Socket;
use super::pace::Pace;
use super::pipe::PipeEnd;
use super::stream::{Stream, Transport};
use crate::base::{Budget, Clock, Grant, Stop, wipe};
use smol::future;
use smol::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Octets taken from the stream at once; on the stack, so that a waiting connection has none.
const READ_BYTES: usize = 8 * 1024;
/// The same for a stranger, who is to hold little.
const STRANGER_READ_BYTES: usize = 2 * 1024;
/// The last octets of a line too long that are kept: room for any literal's announcement in IMAP.
pub(super) const LONG_LINE_END_BYTES: usize = 32;
/// Replies collect up to here before [`Wire::send`] writes them.
const OUTPUT_BYTES: usize = 8 * 1024;
/// What keys, tickets and the handshake take of memory for one connection (measured with 500 of them).
const TLS_BYTES: usize = 8 * 1024;
/// So many lines, reads and writes in a row, and other connections have their turn.
const STREAK_MAX: u8 = 16;
/// Once the server stops, last words may take so long.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// A session that has ended waits no longer than this for its last words to be taken.
const CLOSING: Duration = Duration::from_secs(30);
/// Octets that a closed connection still takes, to throw them away.
const THROWN_AWAY_BYTES_MAX: usize = 256 * 1024;
/// A TLS handshake ends within this time or fails.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// What every connection of a server shares.
#[derive(Clone, Debug)]
pub struct WireOptions {
    /// Where its buffers are granted.
    pub budget: Budget,
    /// Its time.
    pub clock: Clock,
    /// Given when the server stops: every wait then ends with [`WireError::Stopping`].
    pub stop: Arc<Stop>,
}

/// One line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The octets before the line end; may hold anything but LF.
    pub text: Vec<u8>,
    /// Whether it ended in CRLF; else it ended in a bare LF.
    pub crlf: bool,
}

/// Why a wait on the connection ended without what was waited for.
#[derive(Debug)]
pub enum WireError {
    /// The peer is gone.
    Closed,
    /// The peer took too long.
    TimedOut,
    /// A line was longer than allowed; it was discarded up to its end, the connection is still in step.
    LineTooLong,
    /// The memory budget is spent: say so politely and close.
    NoMemory,
    /// The server stops: say so (421, BYE, -ERR) and close.
    Stopping,
    /// The account was removed or its password changed: say so and close.
    Revoked,
    /// The TLS handshake failed, or the stream did.
    Failed(io::Error),
}

/// A session's connection.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    input: Input,
    output: Vec<u8>,
    /// How fast the peer takes what it is told.
    pace: Pace,
    /// Little is read at once.
    is_stranger: bool,
    /// How the last line that was too long ended.
    long_line_end: [u8; LONG_LINE_END_BYTES],
    /// Lines, reads and writes since others had their turn.
    streak: u8,
    grant: Grant,
    tls_grant: Grant,
    options: WireOptions,
    account: Option<Arc<Stop>>,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Wire {
    /// A wire over an accepted socket.
    pub fn new(socket: Socket, options: WireOptions) -> Self {
        Self::over(Stream::Plain(Transport::Tcp(socket.stream)), socket.peer, socket.local, options)
    }

    /// A wire over one end of a pipe, for tests; `peer` is who it claims to come from.
    pub fn over_pipe(end: PipeEnd, peer: SocketAddr, options: WireOptions) -> Self {
        let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self::over(Stream::Plain(Transport::Pipe(end)), peer, local, options)
    }

    fn over(stream: Stream, peer: SocketAddr, local: SocketAddr, options: WireOptions) -> Self {
        let (grant, tls_grant) = (Grant::none(&options.budget), Grant::none(&options.budget));
        Self {
            stream,
            input: Input::default(),
            output: Vec::new(),
            pace: Pace::default(),
            is_stranger: false,
            long_line_end: [0; LONG_LINE_END_BYTES],
            streak: 0,
            grant,
            tls_grant,
            options,
            account: None,
            peer,
            local,
        }
    }

    /// The other side.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Our side.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether the peer is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.peer.ip().is_loopback()
    }

    /// Whether the connection is under TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// The protocol version and cipher suite in use, for `Received` and the log; `None` without TLS.
    pub fn tls_name(&self) -> Option<String> {
        let Stream::Tls(tls) = &self.stream else {
            return None;
        };
        let (_, session) = tls.get_ref();
        Some(format!("{:?} {:?}", session.protocol_version()?, session.negotiated_cipher_suite()?.suite()))
    }

    /// The clock that this connection's limits are measured with.
    pub fn clock(&self) -> &Clock {
        &self.options.clock
    }

    /// The budget that this connection's buffers come from.
    pub fn budget(&self) -> &Budget {
        &self.options.budget
    }

    /// From now on every wait also ends, with [`WireError::Revoked`], when `account` is given.
    pub fn end_with(&mut self, account: Option<Arc<Stop>>) {
        self.account = account;
    }

    /// From now on the peer is somebody, or a stranger of whom little is read at once, and so little is held. A new wire's
    /// peer is somebody.
    pub fn set_stranger(&mut self, is_stranger: bool) {
        self.is_stranger = is_stranger;
    }

    /// Upgrades to TLS. Whatever the peer sent ahead of the handshake is discarded (RFC 3207 4.2, RFC 9051 6.2.1);
    /// pending replies are written first.
    pub async fn start_tls(&mut self, config: Arc<rustls::ServerConfig>) -> Result<(), WireError> {
        self.flush().await?;
        self.release();
        if !self.tls_grant.resize(TLS_BYTES) {
            return Err(WireError::NoMemory);
        }
        let stream = std::mem::replace(&mut self.stream, Stream::Plain(Transport::Gone));
        let handshake = async { stream.accept_tls(config).await.map_err(WireError::Failed) };
        self.stream = within(&self.options, self.account.as_deref(), HANDSHAKE, handshake).await?;
        Ok(())
    }

    /// The next line, of at most `bytes_max` octets without its end, within `limit` in all. Replies not yet written are
    /// written before waiting. After [`WireError::LineTooLong`], [`Wire::long_line_end`] has how the line ended.
    pub async fn line(&mut self, bytes_max: usize, limit: Duration) -> Result<Line, WireError> {
        let mut searched = 0;
        let mut too_long = false;
        self.long_line_end = [0; LONG_LINE_END_BYTES];
        let started = self.options.clock.monotonic();
        self.take_turns().await;
        loop {
            let waiting = self.input.waiting();
            let fresh = waiting.get(searched..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', fresh) {
                let line = waiting.get(..searched + at).unwrap_or_default();
                let crlf = line.last() == Some(&b'\r');
                let text = if crlf { line.get(..line.len() - 1).unwrap_or_default() } else { line };
                too_long |= text.len() > bytes_max;
                if too_long {
                    keep_end(&mut self.long_line_end, text);
                }
                let line = Line { text: if too_long { Vec::new() } else { text.to_vec() }, crlf };
                self.consume(searched + at + 1);
                if self.input.waiting().is_empty() {
                    self.release();
                }
                return if too_long { Err(WireError::LineTooLong) } else { Ok(line) };
            }
            searched += fresh.len();
            if searched > bytes_max + 1 {
                // All but the last octet, which may be the CR of the line's end.
                let gone = waiting.get(..searched - 1).unwrap_or_default();
                too_long = true;
                keep_end(&mut self.long_line_end, gone);
                self.consume(searched - 1);
                searched = 1;
            }
            let spent = self.options.clock.monotonic().saturating_sub(started);
            let left = limit.checked_sub(spent).ok_or(WireError::TimedOut)?;
            self.read_more(left).await?;
        }
    }

    /// The last octets, without its end, of the line that was last too long: fewer are behind zeros.
    pub fn long_line_end(&self) -> &[u8] {
        &self.long_line_end
    }

    /// Octets from the peer, at least one, reading within `limit` if none wait. [`Wire::consume`] those used.
    pub async fn octets(&mut self, limit: Duration) -> Result<&[u8], WireError> {
        if self.buffered().is_empty() {
            self.read_more(limit).await?;
        }
        Ok(self.buffered())
    }

    /// The peer is in the middle of something: acknowledges what it has sent at once. Programs that write a message and
    /// its last line end separately would else wait 40 ms for the kernel's delayed acknowledgement (Nagle's algorithm).
    pub fn acknowledge(&self) {
        if self.buffered().is_empty() {
            self.stream.acknowledge();
        }
    }

    /// Octets read and not yet consumed.
    pub fn buffered(&self) -> &[u8] {
        self.input.waiting()
    }

    /// Marks `count` of [`Wire::buffered`] as used; they may be a password, and are wiped.
    pub fn consume(&mut self, count: usize) {
        self.input.consume(count);
    }

    /// Queues a reply; the next wait, [`Wire::flush`] or a long enough [`Wire::send`] writes it. For short replies only.
    pub fn put(&mut self, reply: &[u8]) {
        self.output.extend_from_slice(reply);
    }

    /// Queues octets and writes them once enough have come together: for answers of any length.
    pub async fn send(&mut self, octets: &[u8]) -> Result<(), WireError> {
        for part in octets.chunks(OUTPUT_BYTES) {
            self.output.extend_from_slice(part);
            if self.output.len() >= OUTPUT_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Writes everything queued.
    pub async fn flush(&mut self) -> Result<(), WireError> {
        while !self.output.is_empty() {
            match self.write_some().await {
                // Taken off at once: what is written must not be written again if this future is dropped at a wait.
                Ok(count) => {
                    drop(self.output.drain(..count));
                    self.take_turns().await;
                }
                Err(error) => {
                    self.output = Vec::new();
                    return Err(error);
                }
            }
        }
        let Self { stream, pace, options, .. } = self;
        let flushed = poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx));
        let flushed = async { flushed.await.map(|()| 0).map_err(failed) };
        unless_stalled(options, pace, flushed).await.map(|_| ())
    }

    async fn write_some(&mut self) -> Result<usize, WireError> {
        let Self { stream, output, pace, options, .. } = self;
        let write = poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, output));
        let write = async {
            match write.await {
                Ok(0) => Err(WireError::Closed),
                written => written.map_err(failed),
            }
        };
        unless_stalled(options, pace, write).await
    }

    /// Writes everything queued and ends the connection; errors no longer matter. A peer that has stopped reading holds
    /// it up no longer than [`CLOSING`]. What a peer is still sending is thrown away for a moment: a socket closed over
    /// unread octets is reset, and the peer would never see the last words.
    pub async fn close(mut self) {
        let clock = self.options.clock.clone();
        let closing = async {
            if self.flush().await.is_ok() {
                drop(clock.timeout(LAST_WORDS, self.stream.close()).await);
                if !self.options.stop.is_given() {
                    clock.timeout(LAST_WORDS, self.throw_away()).await.ok();
                }
            }
        };
        clock.timeout(CLOSING, closing).await.ok();
    }

    /// Reads until the peer closes too, or has sent more than is worth waiting for.
    async fn throw_away(&mut self) {
        let mut left = THROWN_AWAY_BYTES_MAX;
        let stream = &mut self.stream;
        poll_fn(|cx| {
            let mut scratch = [0; READ_BYTES];
            loop {
                match Pin::new(&mut *stream).poll_read(cx, &mut scratch) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(count)) if count > 0 && count < left => left -= count,
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
        })
        .await;
    }

    /// Reads once more into the input, whatever is there already.
    pub async fn read_more(&mut self, limit: Duration) -> Result<(), WireError> {
        if !self.output.is_empty() {
            // Boxed, so that a connection that only waits is small.
            Box::pin(self.flush()).await?;
        }
        if self.options.stop.is_given() {
            return Err(WireError::Stopping);
        }
        if self.buffered().is_empty() {
            self.release();
        }
        self.take_turns().await;
        let Self { stream, input, grant, options, account, is_stranger, .. } = self;
        let count_max = if *is_stranger { STRANGER_READ_BYTES } else { READ_BYTES };
        let read = poll_fn(|cx| {
            let mut scratch = [0; READ_BYTES];
            let room = scratch.get_mut(..count_max).unwrap_or_default();
            match Pin::new(&mut *stream).poll_read(cx, room) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(failed(error))),
                Poll::Ready(Ok(0)) => Poll::Ready(Err(WireError::Closed)),
                Poll::Ready(Ok(count)) => {
                    let octets = scratch.get_mut(..count).unwrap_or_default();
                    let granted = grant.resize(input.bytes_with(octets.len()));
                    if granted {
                        input.extend(octets);
                    }
                    wipe(octets);
                    Poll::Ready(if granted { Ok(()) } else { Err(WireError::NoMemory) })
                }
            }
        });
        within(options, account.as_deref(), limit, read).await
    }

    /// Looks, without waiting, whether the peer is still there and nothing else ends the connection: for long work
    /// during which nothing is written. What the peer has sent stays for the next call.
    pub async fn check(&mut self) -> Result<(), WireError> {
        if self.buffered().len() >= READ_BYTES {
            return if self.options.stop.is_given() { Err(WireError::Stopping) } else { Ok(()) };
        }
        future::poll_once(self.read_more(Duration::MAX)).await.unwrap_or(Ok(()))
    }

    /// All connections share one thread: a peer that always has more to say, or always takes what it is told, must not
    /// keep it.
    async fn take_turns(&mut self) {
        self.streak = self.streak.saturating_add(1);
        if self.streak >= STREAK_MAX {
            self.streak = 0;
            future::yield_now().await;
        }
    }

    /// Gives the buffers back.
    fn release(&mut self) {
        self.input = Input::default();
        if self.output.is_empty() {
            self.output = Vec::new();
        }
        // Shrinking a grant always succeeds.
        let shrunk = self.grant.resize(0);
        debug_assert!(shrunk);
    }
}

/// `work`, unless `limit` passes, the server stops or the account ends first. No async function: that would hold `work`
/// twice.
fn within<'a, T: 'a>(
    options: &'a WireOptions,
    account: Option<&'a Stop>,
    limit: Duration,
    work: impl Future<Output = Result<T, WireError>> + 'a,
) -> impl Future<Output = Result<T, WireError>> + 'a {
    let revoked = async move {
        match account {
            Some(account) => account.given().await,
            None => std::future::pending().await,
        }
        Err(WireError::Revoked)
    };
    let stopping = async {
        options.stop.given().await;
        Err(WireError::Stopping)
    };
    let late = async move {
        options.clock.sleep(limit).await;
        Err(WireError::TimedOut)
    };
    future::or(work, future::or(future::or(stopping, revoked), late))
}

/// `write`, unless the peer is slower than [`Pace`] allows, or takes longer than [`LAST_WORDS`] once the server stops.
async fn unless_stalled(
    options: &WireOptions,
    pace: &mut Pace,
    write: impl Future<Output = Result<usize, WireError>>,
) -> Result<usize, WireError> {
    let clock = &options.clock;
    let began = clock.monotonic();
    let stalled = async {
        while let Some(patience) = pace.patience(clock.monotonic().saturating_sub(began)) {
            clock.sleep(patience).await;
        }
        Err(WireError::TimedOut)
    };
    let stopped = async {
        options.stop.given().await;
        clock.sleep(LAST_WORDS).await;
        Err(WireError::TimedOut)
    };
    let written = future::or(write, future::or(stalled, stopped)).await?;
    pace.wrote(written, clock.monotonic().saturating_sub(began));
    Ok(written)
}

/// Shifts `octets` into the last octets of a line that are kept.
fn keep_end(end: &mut [u8; LONG_LINE_END_BYTES], octets: &[u8]) {
    let kept = octets.len().min(end.len());
    end.rotate_left(kept);
    let (_, fresh) = end.split_at_mut(LONG_LINE_END_BYTES - kept);
    fresh.copy_from_slice(octets.get(octets.len() - kept..).unwrap_or_default());
}

fn failed(error: io::Error) -> WireError {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => WireError::Closed,
        _ => WireError::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::pipe;
    use smol::io::AsyncReadExt;

    const LIMIT: Duration = Duration::from_secs(300);

    fn wire() -> (Wire, PipeEnd, Arc<crate::base::Simulated>) {
        let (clock, hand) = Clock::simulated(0);
        let (end, peer) = pipe(64 * 1024);
        let options = WireOptions { budget: Budget::new(1 << 20), clock, stop: Arc::new(Stop::new()) };
        (Wire::over_pipe(end, SocketAddr::from(([192, 0, 2, 1], 1)), options), peer, hand)
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        smol::block_on(async {
            let (mut wire, mut peer, _hand) = wire();
            peer.write_all(b"EHLO a\r\nQU").await.unwrap();
            assert_eq!(wire.line(100, LIMIT).await.unwrap(), Line { text: b"EHLO a".to_vec(), crlf: true });
            assert!(future::poll_once(wire.line(100, LIMIT)).await.is_none());
            peer.write_all(b"IT\n").await.unwrap();
            assert_eq!(wire.line(100, LIMIT).await.unwrap(), Line { text: b"QUIT".to_vec(), crlf: false });
            drop(peer);
            assert!(matches!(wire.line(100, LIMIT).await, Err(WireError::Closed)));
        });
    }

    #[test]
    fn long_work_notices_that_nobody_waits_for_it_any_more() {
        smol::block_on(async {
            let (mut wire, mut peer, _hand) = wire();
            wire.check().await.unwrap();
            peer.write_all(b"DONE\r\n").await.unwrap();
            wire.check().await.unwrap();
            assert_eq!(wire.line(100, LIMIT).await.unwrap().text, b"DONE", "what was sent meanwhile is not lost");
            drop(peer);
            assert!(matches!(wire.check().await, Err(WireError::Closed)));
            let (mut wire, _peer, _hand) = self::wire();
            wire.options.stop.give();
            assert!(matches!(wire.check().await, Err(WireError::Stopping)));
        });
    }

    #[test]
    fn a_peer_that_never_stops_talking_does_not_hold_up_the_others() {
        let (clock, _hand) = Clock::simulated(0);
        let executor = smol::LocalExecutor::new();
        smol::block_on(executor.run(async {
            let lines = 1_000;
            let (end, mut peer) = pipe(64 * 1024);
            peer.write_all("NOOP\r\n".repeat(lines).as_bytes()).await.unwrap();
            let options = WireOptions { budget: Budget::new(1 << 20), clock, stop: Arc::new(Stop::new()) };
            let mut wire = Wire::over_pipe(end, SocketAddr::from(([192, 0, 2, 1], 1)), options);
            let served = std::cell::Cell::new(0);
            let flood = async {
                for _ in 0..lines {
                    wire.line(100, LIMIT).await.unwrap();
                    served.set(served.get() + 1);
                }
            };
            let other = async {
                future::yield_now().await;
                served.get()
            };
            let ((), seen) = future::zip(flood, other).await;
            assert!(seen < 50, "the other had to wait for {seen} lines");
        }));
    }

    #[test]
    fn a_line_too_long_is_discarded_and_the_next_one_served() {
        smol::block_on(async {
            let (mut wire, mut peer, _hand) = wire();
            peer.write_all(&[b'x'; 30_000]).await.unwrap();
            peer.write_all(b"\r\nNOOP\r\n").await.unwrap();
            assert!(matches!(wire.line(512, LIMIT).await, Err(WireError::LineTooLong)));
            assert_eq!(wire.line(512, LIMIT).await.unwrap().text, b"NOOP");
            assert!(future::poll_once(wire.line(100, LIMIT)).await.is_none());
            assert_eq!(wire.budget().spent(), 0, "a waiting wire owns no buffer");
        });
    }

    #[test]
    fn a_line_too_long_keeps_how_it_ended() {
        smol::block_on(async {
            let (mut wire, mut peer, _hand) = wire();
            for (octets, end, why) in [
                (30_000, "a {5+}", "many reads"),
                (600, "{6}", "one"),
                (8_190 - 3, "{7+}", "CR and LF in the next one"),
            ] {
                peer.write_all(&vec![b'x'; octets]).await.unwrap();
                peer.write_all(end.as_bytes()).await.unwrap();
                peer.write_all(b"\r\n").await.unwrap();
                assert!(matches!(wire.line(512, LIMIT).await, Err(WireError::LineTooLong)));
                assert!(wire.long_line_end().ends_with(format!("xxx{end}").as_bytes()), "{why}");
            }
            peer.write_all(b"short {1+}\r\n").await.unwrap();
            assert!(matches!(wire.line(5, LIMIT).await, Err(WireError::LineTooLong)));
            assert_eq!(wire.long_line_end().trim_ascii_start().strip_prefix(&[0; 22]), Some(&b"short {1+}"[..]));
        });
    }

    #[test]
    fn a_few_octets_hold_little_memory_and_a_stranger_never_much() {
        smol::block_on(async {
            let (mut wire, mut peer, _hand) = wire();
            peer.write_all(b"x").await.unwrap();
            assert!(future::poll_once(wire.line(100, LIMIT)).await.is_none());
            assert_eq!(wire.budget().spent(), 1_024);
            let (mut wire, mut peer, _hand) = self::wire();
            wire.set_stranger(true);
            peer.write_all(&[b'x'; 2_000]).await.unwrap();
            assert!(future::poll_once(wire.line(2_000, LIMIT)).await.is_none());
            peer.write_all(&[b'\n'; 10_000]).await.unwrap();
            wire.line(2_000, LIMIT).await.unwrap();
            assert!(wire.budget().spent() <= 4 * 1_024, "{}", wire.budget().spent());
        });
    }

    /// Whether a peer that takes `octets` every `pause` gets all of a long answer.
    fn gets_all(octets: usize, pause: Duration) -> bool {
        smol::block_on(async {
            let (clock, hand) = Clock::simulated(0);
            let (end, mut peer) = pipe(4 * 1024);
            let options = WireOptions { budget: Budget::new(1 << 20), clock, stop: Arc::new(Stop::new()) };
            let mut wire = Wire::over_pipe(end, SocketAddr::from(([192, 0, 2, 1], 1)), options);
            let write = async {
                for _ in 0..400 {
                    wire.send(&[b'x'; 1_024]).await?;
                }
                wire.flush().await
            };
            let read = async {
                let mut some = vec![0; octets];
                loop {
                    peer.read_exact(&mut some).await.unwrap();
                    future::yield_now().await;
                    hand.advance(pause);
                    future::yield_now().await;
                }
            };
            match future::or(write, read).await {
                Err(WireError::TimedOut) => false,
                other => other.is_ok(),
            }
        })
    }

    #[test]
    fn a_peer_that_takes_an_octet_a_minute_is_ended_and_a_slow_link_is_not() {
        assert!(!gets_all(1, Duration::from_secs(60)), "an octet a minute");
        assert!(!gets_all(100, Duration::from_secs(1)), "a hundred octets a second");
        assert!(gets_all(1_024, Duration::from_secs(1)), "1 KiB a second");
    }

    #[test]
    fn one_byte_a_minute_is_too_slow() {
        smol::block_on(async {
            let (mut wire, mut peer, hand) = wire();
            let slow = async {
                loop {
                    peer.write_all(b"x").await.unwrap();
                    smol::future::yield_now().await;
                    hand.advance(Duration::from_secs(60));
                    smol::future::yield_now().await;
                }
            };
            let line = future::or(async { Some(wire.line(512, LIMIT).await) }, async {
                slow.await;
                None
            });
            assert!(matches!(line.await, Some(Err(WireError::TimedOut))));
        });
    }

    #[test]
    fn replies_are_written_before_waiting_and_the_stop_ends_the_wait() {
        smol::block_on(async {
            let (mut wire, mut peer, _hand) = wire();
            wire.put(b"220 ready\r\n");
            let stop = wire.options.stop.clone();
            assert!(future::poll_once(wire.line(100, LIMIT)).await.is_none());
            let mut reply = [0; 11];
            peer.read_exact(&mut reply).await.unwrap();
            assert_eq!(&reply, b"220 ready\r\n");
            stop.give();
            assert!(matches!(wire.line(100, LIMIT).await, Err(WireError::Stopping)));
        });
    }

    #[test]
    fn last_words_reach_a_peer_that_is_still_sending() {
        smol::block_on(async {
            let listener = crate::net::Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
            let mut peer = smol::net::TcpStream::connect(listener.local().unwrap()).await.unwrap();
            let options =
                WireOptions { budget: Budget::new(1 << 20), clock: Clock::system(), stop: Arc::new(Stop::new()) };
            let mut wire = Wire::new(listener.accept().await.unwrap(), options);
            peer.write_all(&[b'x'; 100_000]).await.unwrap();
            wire.put(b"421 enough\r\n");
            let answer = async move {
                // Sends once more after the server has closed its side.
                smol::Timer::after(Duration::from_millis(50)).await;
                peer.write_all(b"x").await.unwrap();
                let mut answer = String::new();
                peer.read_to_string(&mut answer).await.map(|_| answer)
            };
            let ((), answer) = future::zip(wire.close(), answer).await;
            assert_eq!(answer.unwrap(), "421 enough\r\n");
        });
    }
}
