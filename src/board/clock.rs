//! Keeps the system's clock right by asking time servers (RFC 5905 section 14): set when two of them agree that it is far off, as
//! it is at each start of a board that has no battery; else sped up or slowed down. Asks seldom, and more seldom where nobody
//! answers.

use super::ioctl::slew;
use super::judge::{Judge, Opinion, Verdict, is_enough};
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
/// Between questions while the clock was off, and once it is right. RFC 5905 section 14 asks for at least 15 s.
const POLL_MIN: Duration = Duration::from_secs(64);
const POLL_MAX: Duration = Duration::from_secs(2048);
/// Between rounds over servers none of which answers.
const RETRY_MIN: Duration = Duration::from_secs(4);
const RETRY_MAX: Duration = Duration::from_secs(900);

/// Between rounds that came to no verdict, at least: the same servers are asked.
const UNDECIDED_MIN: Duration = Duration::from_secs(16);
/// Servers that are asked in one round: addresses of one name where there is no other, else one of each.
const ADDRESSES_MAX: usize = 4;
const CANDIDATES_MAX: usize = 8;

/// Asks these servers (`host` or `host:port`) for ever, one after the other, and calls `is_right` once the clock is. An
/// error when this process may not set it.
pub fn keep_clock(servers: &[String], is_right: &mut dyn FnMut()) -> io::Result<()> {
    let usual = SERVERS.map(|number| format!("{number}.debian.pool.ntp.org"));
    let servers = if servers.is_empty() { &usual[..] } else { servers };
    let (mut judge, mut first) = (Judge::default(), 0);
    let (mut poll, mut retry) = (POLL_MIN, RETRY_MIN);
    let (mut is_told, mut was_right) = (false, false);
    loop {
        let round = ask_round(servers, first);
        let verdict = judge.judge(&round.opinions, round.candidates);
        match verdict {
            Verdict::Set(offset) => {
                set(offset)?;
                // For the console, too: mail that came before has another time.
                log::warn!("clock set server={} by_s={}", round.answered(), offset / 1_000_000_000);
                poll = POLL_MIN;
            }
            Verdict::Slew(offset) => {
                slew(i64::try_from(offset / 1_000).unwrap_or(0))?;
                if is_told || poll == POLL_MIN {
                    log::info!("clock right server={} off_ms={}", round.answered(), offset / 1_000_000);
                }
                poll = (poll * 2).min(POLL_MAX);
            }
            Verdict::Silence if is_told => {}
            Verdict::Silence => log::warn!("no time server answers; asking on {}", round.last_error),
            Verdict::Alone => log::warn!(
                "one time server alone says that the clock is far off; asking on {} others={}",
                round.said(),
                round.last_error
            ),
            Verdict::AtOdds => log::warn!("the time servers do not agree; asking on {}", round.said()),
        }
        if matches!(verdict, Verdict::Set(_) | Verdict::Slew(_)) {
            if !was_right {
                was_right = true;
                is_right();
            }
            (retry, is_told) = (RETRY_MIN, false);
            sleep(poll);
        } else {
            // Who says something else than the rest is not the first to be asked for ever.
            first += 1;
            is_told = true;
            sleep(if verdict == Verdict::Silence { retry } else { retry.max(UNDECIDED_MIN) });
            retry = (retry * 2).min(RETRY_MAX);
        }
    }
}

/// What came of a round of questions.
#[derive(Debug, Default)]
struct Round {
    opinions: Vec<Opinion>,
    /// How many servers there were to ask.
    candidates: usize,
    last_error: String,
}

impl Round {
    fn answered(&self) -> String {
        let servers: Vec<String> = self.opinions.iter().map(|opinion| opinion.server.to_string()).collect();
        servers.join(",")
    }

    fn said(&self) -> String {
        let said = |opinion: &Opinion| format!("server={} by_s={}", opinion.server, opinion.offset_ns / 1_000_000_000);
        self.opinions.iter().map(said).collect::<Vec<_>>().join(" ")
    }
}

/// Asks one server after the other, beginning with number `first`, until that is enough.
fn ask_round(servers: &[String], first: usize) -> Round {
    let mut round = Round::default();
    let from = first.checked_rem(servers.len()).unwrap_or(0);
    let of_each = if servers.len() == 1 { ADDRESSES_MAX } else { 1 };
    let mut asked = Vec::new();
    for server in servers.iter().cycle().skip(from).take(servers.len()) {
        let addresses = resolve(server, of_each).unwrap_or_else(|error| {
            round.last_error = format!("server={server} error={error}");
            Vec::new()
        });
        // A name that is not found stands for a server all the same.
        round.candidates += addresses.len().max(1);
        for address in addresses {
            if asked.len() >= CANDIDATES_MAX || asked.contains(&address) {
                continue;
            }
            asked.push(address);
            match ask(address) {
                Ok(offset_ns) => round.opinions.push(Opinion { server: address, offset_ns }),
                Err(error) => round.last_error = format!("server={address} error={error}"),
            }
            if is_enough(&round.opinions) {
                return round;
            }
        }
    }
    round
}

/// How far our clock is behind that of this server, nanoseconds.
fn ask(server: SocketAddr) -> io::Result<i128> {
    let mut nonce = [0; 8];
    SystemRandom::new().fill(&mut nonce).map_err(|_| io::Error::other("the system gives no randomness"))?;
    let nonce = u64::from_be_bytes(nonce);
    let mut answer = [0; PACKET_BYTES];
    let sent = now();
    let length = ask_once(server, &question(nonce), ANSWER_LIMIT, &mut answer)?;
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

/// The first addresses of a server.
fn resolve(server: &str, count: usize) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = server.parse::<IpAddr>() {
        return Ok(vec![(ip, PORT).into()]);
    }
    let has_port = server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let found = if has_port { server.to_socket_addrs()? } else { (server, PORT).to_socket_addrs()? };
    Ok(found.take(count).collect())
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

    /// A server that is `ahead_s` ahead of us and answers so many questions; its address.
    fn server(ahead_s: u64, answers: usize) -> String {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for _ in 0..answers {
                let mut packet = [0; PACKET_BYTES];
                let (length, from) = server.recv_from(&mut packet).unwrap();
                assert_eq!((length, packet[0]), (PACKET_BYTES, 0x23));
                packet.copy_within(40..48, 24);
                (packet[0], packet[1]) = (0x24, 1);
                let time = now() + Duration::from_secs(ahead_s);
                let seconds = u32::try_from(time.as_secs() + 2_208_988_800).unwrap().to_be_bytes();
                packet[32..36].copy_from_slice(&seconds);
                packet[40..44].copy_from_slice(&seconds);
                server.send_to(&packet, from).unwrap();
            }
        });
        address
    }

    #[test]
    fn servers_are_asked_until_two_agree() {
        let servers = [server(3_600, 2), server(900_000, 1), server(3_600, 1), server(0, 0)];
        let round = ask_round(&servers, 0);
        let seconds: Vec<i128> = round.opinions.iter().map(|opinion| opinion.offset_ns / 1_000_000_000).collect();
        assert!(matches!(seconds[..], [3_597..=3_601, 899_997..=900_001, 3_597..=3_601]), "{seconds:?}");
        assert_eq!(round.candidates, 3, "the fourth is not asked");
        let alone = ask_round(&servers[..1], 7);
        assert_eq!((alone.opinions.len(), alone.candidates), (1, 1));
        let twice = ask_round(&["127.0.0.1:1".to_owned(), "127.0.0.1:1".to_owned()], 0);
        assert!(twice.opinions.is_empty() && twice.last_error.contains("127.0.0.1:1"), "{twice:?}");
    }

    #[test]
    fn servers_are_names_or_addresses_with_or_without_a_port() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1:123"),
            ("192.0.2.1:1123", "192.0.2.1:1123"),
            ("2001:db8::1", "[2001:db8::1]:123"),
            ("[2001:db8::1]:1123", "[2001:db8::1]:1123"),
        ] {
            assert_eq!(resolve(text, 4).unwrap(), [expected.parse().unwrap()]);
        }
    }
}
