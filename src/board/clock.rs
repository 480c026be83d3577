//! Keeps the system's clock right by asking time servers (RFC 5905 section 14): set when it is far off, as it is at each start
//! of a board that has no battery; else sped up or slowed down. Asks seldom, and more seldom where nobody answers.

use super::ioctl::slew;
use super::sntp::{PACKET_BYTES, Refusal, offset_ns, question};
use crate::net::ask_once;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::time::{ClockId, Timespec, clock_settime};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Asked when nobody says whom to ask.
const SERVERS: [&str; 4] = ["0", "1", "2", "3"];
const PORT: u16 = 123;
/// How long an answer is waited for.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// A clock that is further off is set.
const SLEW_MAX_NS: i128 = 500_000_000;
/// Between questions while the clock was off, and once it is right. RFC 5905 section 14 asks for at least 15 s.
const POLL_MIN: Duration = Duration::from_secs(64);
const POLL_MAX: Duration = Duration::from_secs(2048);
/// Between rounds over servers none of which answers.
const RETRY_MIN: Duration = Duration::from_secs(4);
const RETRY_MAX: Duration = Duration::from_secs(900);

/// Asks these servers (`host` or `host:port`) for ever, each in its turn. An error when this process may not set the clock.
pub fn keep_clock(servers: &[String]) -> io::Result<()> {
    let usual = SERVERS.map(|number| format!("{number}.debian.pool.ntp.org"));
    let servers = if servers.is_empty() { &usual[..] } else { servers };
    let (mut next, mut failures) = (0, 0);
    let (mut poll, mut retry) = (POLL_MIN, RETRY_MIN);
    let mut is_told = false;
    loop {
        let Some(server) = servers.get(next % servers.len().max(1)) else { return Ok(()) };
        match ask(server) {
            Ok(offset) => {
                let is_far = offset.abs() > SLEW_MAX_NS;
                if is_far {
                    set(offset)?;
                    // For the console, too: mail that came before has another time.
                    log::warn!("clock set server={server} by_s={}", offset / 1_000_000_000);
                } else {
                    slew(i64::try_from(offset / 1_000).unwrap_or(0))?;
                    if is_told || poll == POLL_MIN {
                        log::info!("clock right server={server} off_ms={}", offset / 1_000_000);
                    }
                }
                (failures, retry, is_told) = (0, RETRY_MIN, false);
                poll = if is_far { POLL_MIN } else { (poll * 2).min(POLL_MAX) };
                sleep(poll);
            }
            Err(error) => {
                failures += 1;
                next += 1;
                if failures >= servers.len() {
                    if !is_told {
                        log::warn!("no time server answers; asking on server={server} error={error}");
                    }
                    (failures, is_told) = (0, true);
                    sleep(retry);
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }
}

/// How far our clock is behind that of this server, nanoseconds.
fn ask(server: &str) -> io::Result<i128> {
    let address = resolve(server)?;
    let mut nonce = [0; 8];
    SystemRandom::new().fill(&mut nonce).map_err(|_| io::Error::other("the system gives no randomness"))?;
    let nonce = u64::from_be_bytes(nonce);
    let mut answer = [0; PACKET_BYTES];
    let sent = now();
    let length = ask_once(address, &question(nonce), ANSWER_LIMIT, &mut answer)?;
    let offset = offset_ns(answer.get(..length).unwrap_or_default(), nonce, sent, now());
    offset.map_err(|refusal| {
        io::Error::other(match refusal {
            Refusal::NotOurs => "the answer is to another question",
            Refusal::StayAway => "the server does not want to be asked",
            Refusal::NotSynchronised => "the server does not know the time",
            Refusal::TooSlow => "the answer took too long",
        })
    })
}

fn resolve(server: &str) -> io::Result<SocketAddr> {
    if let Ok(ip) = server.parse::<IpAddr>() {
        return Ok((ip, PORT).into());
    }
    let has_port = server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let mut found = if has_port { server.to_socket_addrs()? } else { (server, PORT).to_socket_addrs()? };
    found.next().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn set(offset_ns: i128) -> io::Result<()> {
    const SECOND_NS: i128 = 1_000_000_000;
    let ns = i128::try_from(now().as_nanos()).unwrap_or(0).saturating_add(offset_ns).max(0);
    let too_late = |_| io::Error::from(io::ErrorKind::InvalidData);
    let time = Timespec {
        tv_sec: (ns / SECOND_NS).try_into().map_err(too_late)?,
        tv_nsec: (ns % SECOND_NS).try_into().map_err(too_late)?,
    };
    Ok(clock_settime(ClockId::Realtime, time)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_server_is_asked_and_its_time_understood() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string();
        let answering = std::thread::spawn(move || {
            let mut packet = [0; PACKET_BYTES];
            let (length, from) = server.recv_from(&mut packet).unwrap();
            assert_eq!((length, packet[0]), (PACKET_BYTES, 0x23));
            packet.copy_within(40..48, 24);
            (packet[0], packet[1]) = (0x24, 1);
            let time = now() + Duration::from_secs(3_600);
            let seconds = u32::try_from(time.as_secs() + 2_208_988_800).unwrap().to_be_bytes();
            packet[32..36].copy_from_slice(&seconds);
            packet[40..44].copy_from_slice(&seconds);
            server.send_to(&packet, from).unwrap();
        });
        let offset = ask(&address).unwrap() / 1_000_000_000;
        assert!((3_597..=3_601).contains(&offset), "{offset}");
        answering.join().unwrap();
    }

    #[test]
    fn servers_are_names_or_addresses_with_or_without_a_port() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1:123"),
            ("192.0.2.1:1123", "192.0.2.1:1123"),
            ("2001:db8::1", "[2001:db8::1]:123"),
            ("[2001:db8::1]:1123", "[2001:db8::1]:1123"),
        ] {
            assert_eq!(resolve(text).unwrap().to_string(), expected);
        }
    }
}
