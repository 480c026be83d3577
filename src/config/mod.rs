//! The configuration file: its keys, their defaults, and its reading. Pure: text in, [`Config`] or every [`Problem`]
//! at once out. Looks at no file and no machine; `pigeon check` does that with what this room hands out.

mod board;
mod fixed;
mod imager;
mod nearest;
mod print;
mod problem;
mod profile;
mod read;
mod value;

pub use board::{Board, BoardAccount, Restore, Wifi, read_board};
pub use imager::read_imager;
pub use nearest::nearest;
pub use print::print;
pub use problem::{Problem, Severity, Style, report};
pub use profile::profile;
pub use read::{Parsed, Places, read, read_what_is_good};
pub use value::{human_bytes, is_host_name};

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

#[cfg(test)]
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Where the configuration is looked for when nobody says.
pub const SYSTEM_FILE: &str = "/etc/pigeon/pigeon.toml";
/// As `hostname`: the machine's own name, whatever it is.
pub const HOSTNAME_AUTO: &str = "auto";
/// The data directory when nobody says.
pub const DATA: &str = "/var/lib/pigeon";

/// What the process holds beside the budget: program, stacks, index cache, tables.
pub const BASE_BYTES: u64 = 6 * MIB;
/// What one password hash takes, kept free so that a login never fails for lack of it.
pub const HASH_BYTES: u64 = 7 * MIB;
/// The index cache that [`BASE_BYTES`] has room for.
pub const BASE_INDEX_CACHE_BYTES: u64 = 2 * MIB;
/// Below this even a few connections could not be served.
pub const MEMORY_BYTES_MIN: u64 = 16 * MIB;

/// Everything the file says, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The server's name: in greetings, `Received`, and the certificate of our own.
    pub hostname: String,
    /// Where mail, accounts and the local CA are.
    pub data: PathBuf,
    /// Where each service listens.
    pub listen: Listen,
    /// The certificate; `None`: one of our own.
    pub tls: Option<TlsFiles>,
    /// What may be used up.
    pub limits: Limits,
    /// How mail is kept.
    pub store: StoreConfig,
    /// How mail goes out.
    pub outbound: Option<Outbound>,
}

/// One of the services that listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Mail from other servers, port 25.
    Smtp,
    /// Mail from our users, STARTTLS, port 587.
    Submission,
    /// Mail from our users, TLS, port 465.
    Submissions,
    /// IMAP with STARTTLS, port 143.
    Imap,
    /// IMAP over TLS, port 993.
    Imaps,
    /// POP3 with STLS, port 110.
    Pop3,
    /// POP3 over TLS, port 995.
    Pop3s,
}

impl Service {
    /// All of them, in the file's order.
    pub const ALL: [Self; 7] =
        [Self::Smtp, Self::Submission, Self::Submissions, Self::Imap, Self::Imaps, Self::Pop3, Self::Pop3s];

    /// Its key in `[listen]`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Submissions => "submissions",
            Self::Imap => "imap",
            Self::Imaps => "imaps",
            Self::Pop3 => "pop3",
            Self::Pop3s => "pop3s",
        }
    }

    /// Its registered port (RFC 6409, 8314, 9051, 1939).
    pub const fn port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Submission => 587,
            Self::Submissions => 465,
            Self::Imap => 143,
            Self::Imaps => 993,
            Self::Pop3 => 110,
            Self::Pop3s => 995,
        }
    }

    /// Whether a connection starts with the TLS handshake.
    pub const fn is_tls(self) -> bool {
        match self {
            Self::Submissions | Self::Imaps | Self::Pop3s => true,
            Self::Smtp | Self::Submission | Self::Imap | Self::Pop3 => false,
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// The addresses of every service; none: not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen([Vec<SocketAddr>; 7]);

impl Listen {
    /// Where `service` listens.
    pub fn of(&self, service: Service) -> &[SocketAddr] {
        self.0.get(service.index()).map_or(&[], Vec::as_slice)
    }

    /// Every service with every address of it.
    pub fn all(&self) -> impl Iterator<Item = (Service, SocketAddr)> + '_ {
        Service::ALL.into_iter().flat_map(|service| self.of(service).iter().map(move |&address| (service, address)))
    }

    /// Makes `service` listen on these; on none: not served.
    pub fn set(&mut self, service: Service, addresses: Vec<SocketAddr>) {
        if let Some(place) = self.0.get_mut(service.index()) {
            *place = addresses;
        }
    }
}

impl Default for Listen {
    /// The registered port on every address, IPv6 and IPv4.
    fn default() -> Self {
        Self(Service::ALL.map(|service| vec![SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), service.port())]))
    }
}

/// A certificate that somebody else renews.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the certificate, then its issuers.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What the process may take, bytes.
    pub memory_bytes: u64,
    /// The largest message, octets.
    pub message_bytes: u64,
    /// Connections at once; a ceiling, not a reservation.
    pub connections: u32,
    /// Connections at once from one address.
    pub connections_per_ip: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 24 * MIB, message_bytes: 50 * MIB, connections: 512, connections_per_ip: 64 }
    }
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// A segment of the log, bytes.
    pub segment_bytes: u64,
    /// The index's cache, bytes.
    pub index_cache_bytes: u64,
    /// Space on the disk kept for the work of deleting and cleaning up, bytes.
    pub reserve_bytes: u64,
    /// How long a commit waits for company.
    pub gather: Duration,
    /// What the disk can take over its life, bytes; 0: nobody knows.
    pub endurance_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 16 * MIB,
            index_cache_bytes: 2 * MIB,
            reserve_bytes: 64 * MIB,
            gather: Duration::from_millis(3),
            endurance_bytes: 0,
        }
    }
}

/// `[outbound]`: kept for the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// `smtps://user@host:port` or `smtp://`: where all mail for elsewhere goes.
    pub relay: String,
    /// The file whose first line is the relay's password.
    pub password_file: Option<PathBuf>,
}

impl Config {
    /// The defaults, for a server of this name.
    pub fn new(hostname: &str) -> Self {
        Self {
            hostname: hostname.to_owned(),
            data: PathBuf::from(DATA),
            listen: Listen::default(),
            tls: None,
            limits: Limits::default(),
            store: StoreConfig::default(),
            outbound: None,
        }
    }

    /// The bytes that buffers whose size a peer influences may take in all: memory less the fixed base, the password
    /// hash, and an index cache beyond what the base has room for.
    pub fn budget_bytes(&self) -> u64 {
        let cache = self.store.index_cache_bytes.saturating_sub(BASE_INDEX_CACHE_BYTES);
        self.limits.memory_bytes.saturating_sub(BASE_BYTES + HASH_BYTES).saturating_sub(cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const SHIPPED: &str = include_str!("../../config/pigeon.toml");

    #[test]
    fn the_shipped_file_says_exactly_the_defaults() {
        let parsed = read(SHIPPED, Path::new("/etc/pigeon")).unwrap();
        assert_eq!(parsed.config, Config::new("mail.example.org"));
    }

    #[test]
    fn the_shipped_file_names_every_key_each_with_a_sentence_above() {
        let mut section = "";
        let mut named = Vec::new();
        let mut above = "";
        for line in SHIPPED.lines() {
            let plain = line.trim_start_matches("# ");
            if let Some(name) = plain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
            } else if let Some((key, _)) = plain.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
                assert!(above.starts_with("# ") && above.ends_with(['.', ':']), "no sentence above {line}");
                named.push((section, key));
            }
            above = if line.starts_with("# ") && !line.contains(" = ") { line } else { above };
        }
        let keys: Vec<_> = read::KEYS.iter().map(|&(section, key)| (section, key)).collect();
        assert_eq!(named, keys);
    }

    #[test]
    fn what_the_shipped_file_has_in_comments_is_valid_too() {
        let uncommented: String = SHIPPED
            .lines()
            .map(|line| {
                let plain = line.strip_prefix("# ").unwrap_or(line);
                let is_key =
                    plain.starts_with('[') || plain.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
                if is_key { format!("{plain}\n") } else { format!("{line}\n") }
            })
            .collect();
        let config = read(&uncommented, Path::new("/etc/pigeon")).unwrap().config;
        assert!(config.tls.is_some() && config.outbound.is_some());
    }

    #[test]
    fn the_budget_is_what_base_and_hash_leave() {
        let mut config = Config::new("mail.example.org");
        assert_eq!(config.budget_bytes(), 11 * MIB);
        config.store.index_cache_bytes = 4 * MIB;
        assert_eq!(config.budget_bytes(), 9 * MIB);
        config.limits.memory_bytes = KIB;
        assert_eq!(config.budget_bytes(), 0);
    }
}
