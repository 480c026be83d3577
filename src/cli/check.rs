//! `check`'s judgement: a configuration and the facts of a machine to every problem at once. Pure; [`super::machine`]
//! gathers the facts.

use crate::config::{Config, MEMORY_BYTES_MIN, Places, Problem, Service, human_bytes};
use crate::tls::date;
use std::net::SocketAddr;

/// A clock before this has never been set (1 January 2025).
const CLOCK_S_MIN: i64 = 1_735_689_600;
/// Files beside the connections: listeners, the store, the log.
const OTHER_FILES: u64 = 64;
/// A certificate is told to be near its end so long before.
const CERTIFICATE_NEAR_END_S: i64 = 14 * 86_400;
/// Below this share of the disk, somebody should look.
const DISK_FREE_PERCENT_MIN: u64 = 5;

/// What there is to know of a machine.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Wall time, seconds since 1970.
    pub unix_s: i64,
    /// Files that a process may have open at the most (RLIMIT_NOFILE's hard limit).
    pub files_max: u64,
    /// Memory of the machine, or what its control group leaves us, bytes.
    pub memory_bytes: u64,
    /// Whether IPv6 is switched on.
    pub has_ipv6: bool,
    /// The data directory.
    pub data: Data,
    /// Whether a server of ours runs on that data directory.
    pub server: ServerState,
    /// What came of trying each address.
    pub addresses: Vec<(Service, SocketAddr, Binding)>,
    /// What came of reading the configured certificate.
    pub certificate: CertificateFacts,
    /// What came of looking at the relay's password file, if one is configured.
    pub password_file: Option<FileFacts>,
}

/// A data directory, or the folder it would be made in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// What is there.
    pub state: DataState,
    /// Others than its owner can look into it.
    pub is_open_to_others: bool,
    /// A restore into it is under way, or was cut short.
    pub is_half_restored: bool,
    /// Whether it is kept in memory only, and lost at the next start.
    pub is_in_memory: bool,
    /// Free for us, bytes.
    pub free_bytes: u64,
    /// What the store still has to lay down for when it is full, and as much again, bytes; 0 where it lies.
    pub ballast_bytes: u64,
    /// Of the whole file system, bytes.
    pub disk_bytes: u64,
}

/// What is where the data directory should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataState {
    /// A folder that we may write to.
    Writable,
    /// Nothing yet, and it can be made.
    Absent,
    /// Nothing yet, and it cannot be made, or it cannot be written to; why.
    NotWritable(String),
    /// Something that is no folder.
    NoFolder,
}

/// Who has the data directory open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Nobody.
    None,
    /// A server that answers.
    Running,
    /// Somebody who does not answer.
    Silent,
}

/// What came of listening on an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// It is free.
    Free,
    /// Our own server listens there, or systemd for it.
    Ours,
    /// Our own server listens elsewhere, on what systemd handed over.
    Replaced {
        /// The unit that bound it.
        unit: String,
        /// Where that is.
        by: String,
    },
    /// Another program does.
    Taken,
    /// This user may not.
    NotAllowed,
    /// This machine does not have the address.
    NoAddress,
    /// This machine has no IPv6.
    NoIpv6,
    /// Anything else.
    Failed(String),
}

/// What came of reading the configured certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateFacts {
    /// None is configured; one of our own is made.
    Own,
    /// It cannot be used.
    Unusable {
        /// Whether it is the key's fault.
        is_key: bool,
        /// What is wrong.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// It can be used.
    Usable {
        /// Valid from here, seconds since 1970.
        not_before_s: i64,
        /// Valid up to here, seconds since 1970.
        not_after_s: i64,
        /// Whether it is for our host name.
        is_for_hostname: bool,
        /// Whether others than owner and group can read the key.
        is_key_open: bool,
    },
}

/// A file with a secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFacts {
    /// It can be read; whether others than owner and group can, too.
    Readable {
        /// Whether they can.
        is_open: bool,
    },
    /// It cannot be read; why.
    Unreadable(String),
}

/// Every problem that `config` has on a machine like this. `places` is where its keys stand.
pub fn judge(config: &Config, places: &Places, facts: &Facts) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(clock(facts));
    problems.extend(hostname(config, places));
    problems.extend(data(config, places, facts));
    problems.extend(server(config, places, facts));
    problems.extend(listen(config, places, facts));
    problems.extend(certificate(config, places, facts));
    problems.extend(limits(config, places, facts));
    problems.extend(outbound(config, places, facts));
    problems
}

fn clock(facts: &Facts) -> Option<Problem> {
    (facts.unix_s < CLOCK_S_MIN).then(|| {
        Problem::error(
            None,
            format!("the clock says {}", day(facts.unix_s)),
            "set it (timedatectl set-ntp true), or mail gets wrong dates and certificates look invalid",
        )
    })
}

fn hostname(config: &Config, places: &Places) -> Option<Problem> {
    let name = &config.hostname;
    (!name.contains('.') && name != "localhost").then(|| {
        Problem::warning(
            places.of("hostname"),
            format!("`{name}` is not a full host name"),
            format!(
                "write the name with its domain, such as {name}.example.org: other servers may refuse mail from it"
            ),
        )
    })
}

fn data(config: &Config, places: &Places, facts: &Facts) -> Vec<Problem> {
    let place = || places.of("data");
    let (path, data) = (config.data.display(), &facts.data);
    let mut problems = Vec::new();
    match &data.state {
        DataState::Writable | DataState::Absent => {}
        DataState::NotWritable(why) => problems.push(Problem::error(
            place(),
            format!("the data directory {path} cannot be written to: {why}"),
            format!("run this as the user that Pigeon runs as, or give it to that user: chown -R pigeon {path}"),
        )),
        DataState::NoFolder => problems.push(Problem::error(
            place(),
            format!("{path} is not a folder"),
            "set `data` to a folder, or remove what is there",
        )),
    }
    if data.is_open_to_others {
        problems.push(Problem::warning(
            place(),
            format!("everybody on this machine can look into {path}"),
            format!("chmod 700 {path}"),
        ));
    }
    if data.is_half_restored {
        problems.push(Problem::error(
            place(),
            format!("a restore into {path} is under way or was cut short; nothing is served from it"),
            "run `pigeon restore` again, or remove what is in the folder for a new store",
        ));
    }
    if data.is_in_memory {
        problems.push(Problem::warning(
            place(),
            format!("{path} is in memory: all mail is lost when the machine stops"),
            "set `data` to a folder on a disk or card",
        ));
    }
    problems.extend(disk(config, places, data));
    problems
}

fn disk(config: &Config, places: &Places, data: &Data) -> Option<Problem> {
    let free = human_bytes(data.free_bytes);
    let reserve_bytes = config.store.reserve_bytes;
    if data.free_bytes <= reserve_bytes.saturating_add(data.ballast_bytes) {
        let beside = match data.ballast_bytes {
            0 => String::new(),
            bytes => format!(" beside {} for deleting on a full disk", human_bytes(bytes)),
        };
        let reserve = human_bytes(reserve_bytes);
        return Some(Problem::error(
            places.of("store.reserve").or_else(|| places.of("data")),
            format!("the disk is full: {free} free, and {reserve} are kept in reserve{beside}, so no mail is taken"),
            "delete something, use a larger disk, or lower `reserve` in [store]",
        ));
    }
    let percent = data.free_bytes.saturating_mul(100) / data.disk_bytes.max(1);
    (percent < DISK_FREE_PERCENT_MIN).then(|| {
        Problem::warning(
            places.of("data"),
            format!("the disk is nearly full: {free} free, {percent} % of it"),
            "delete something or use a larger disk, before mail is refused",
        )
    })
}

fn server(config: &Config, places: &Places, facts: &Facts) -> Option<Problem> {
    (facts.server == ServerState::Silent).then(|| {
        Problem::error(
            places.of("data"),
            format!("another process has {} open and does not answer", config.data.display()),
            "wait if it is starting; else find it with `fuser -v` on the file `lock` there, and end it",
        )
    })
}

fn listen(config: &Config, places: &Places, facts: &Facts) -> Vec<Problem> {
    let mut problems = Vec::new();
    if config.listen.all().next().is_none() {
        problems.push(Problem::warning(
            Service::ALL.into_iter().find_map(|service| places.of(&key_of(service))),
            "every service is off: nothing listens",
            "give at least one of the keys in [listen] an address",
        ));
    }
    for (service, address, binding) in &facts.addresses {
        let place = places.of(&key_of(*service));
        let at = format!("{address} for {}", service.name());
        let problem = match binding {
            Binding::Free | Binding::Ours => continue,
            Binding::Replaced { unit, by } => Problem::warning(
                place,
                format!("not listening on {at}: systemd listens on {by} instead"),
                format!("correct ListenStream= (systemctl edit {unit}), or disable that unit"),
            ),
            Binding::Taken => Problem::error(
                place,
                format!("another program listens on {at}"),
                format!("find it with `ss -ltnp 'sport = :{}'` and stop it, or choose another port", address.port()),
            ),
            Binding::NotAllowed => Problem::error(
                place,
                format!("this user may not listen on {at}: ports below 1024 are privileged"),
                "start it by systemd (the unit has CAP_NET_BIND_SERVICE) or as root, or choose a port above 1023",
            ),
            Binding::NoAddress => Problem::error(
                place,
                format!("cannot listen on {at}: this machine does not have that address"),
                "correct it (see `ip address`), or use \"[::]\" for every address",
            ),
            Binding::NoIpv6 => Problem::warning(
                place,
                format!("not listening on {at}: this machine has no IPv6"),
                "switch IPv6 on (sysctl net.ipv6.conf.all.disable_ipv6=0), or use an IPv4 address",
            ),
            Binding::Failed(why) => {
                Problem::error(place, format!("cannot listen on {at}: {why}"), "correct the address")
            }
        };
        problems.push(problem);
    }
    let listens_everywhere = config.listen.all().any(|(_, address)| address.ip().is_unspecified() && address.is_ipv6());
    let is_told = facts.addresses.iter().any(|(_, _, binding)| *binding == Binding::NoIpv6);
    if !facts.has_ipv6 && listens_everywhere && !is_told {
        problems.push(Problem::warning(
            None,
            "this machine has no IPv6: \"[::]\" means every IPv4 address only",
            "switch IPv6 on (sysctl net.ipv6.conf.all.disable_ipv6=0) if mail should come by it, too",
        ));
    }
    problems
}

fn key_of(service: Service) -> String {
    format!("listen.{}", service.name())
}

fn certificate(config: &Config, places: &Places, facts: &Facts) -> Vec<Problem> {
    let (certificate, key) = (places.of("tls.certificate"), places.of("tls.key"));
    match &facts.certificate {
        CertificateFacts::Own => Vec::new(),
        CertificateFacts::Unusable { is_key, message, remedy } => {
            vec![Problem::error(if *is_key { key } else { certificate }, message, remedy)]
        }
        CertificateFacts::Usable { not_before_s, not_after_s, is_for_hostname, is_key_open } => {
            let mut problems = Vec::new();
            if *is_key_open {
                problems.push(Problem::warning(
                    key,
                    "everybody on this machine can read the private key",
                    "chmod 640 the file, and chgrp it to the group that Pigeon runs as",
                ));
            }
            if !is_for_hostname {
                problems.push(Problem::error(
                    certificate.clone(),
                    format!("the certificate is not for `{}`", config.hostname),
                    "get one for this name, or set `hostname` to a name that is in it",
                ));
            }
            problems.extend(validity(certificate, *not_before_s, *not_after_s, facts.unix_s));
            problems
        }
    }
}

fn validity(
    place: Option<std::ops::Range<usize>>,
    not_before_s: i64,
    not_after_s: i64,
    unix_s: i64,
) -> Option<Problem> {
    if unix_s > not_after_s {
        let message = format!("the certificate expired on {}", day(not_after_s));
        Some(Problem::error(place, message, "renew it; then `systemctl reload pigeon` takes it over"))
    } else if unix_s < not_before_s {
        let message = format!("the certificate is not valid before {}", day(not_before_s));
        Some(Problem::error(place, message, "wait until then, or correct the clock (see `timedatectl`)"))
    } else if not_after_s.saturating_sub(unix_s) < CERTIFICATE_NEAR_END_S {
        let message = format!("the certificate expires on {}", day(not_after_s));
        Some(Problem::warning(place, message, "renew it; then `systemctl reload pigeon` takes it over"))
    } else {
        None
    }
}

fn limits(config: &Config, places: &Places, facts: &Facts) -> Vec<Problem> {
    let mut problems = Vec::new();
    let limits = &config.limits;
    let (wanted, there) = (human_bytes(limits.memory_bytes), human_bytes(facts.memory_bytes));
    if facts.memory_bytes < MEMORY_BYTES_MIN {
        problems.push(Problem::error(
            None,
            format!("{there} of memory are too little: Pigeon needs {}", human_bytes(MEMORY_BYTES_MIN)),
            "raise the limit (MemoryMax= of the systemd unit, or of the container)",
        ));
    } else if limits.memory_bytes > facts.memory_bytes {
        problems.push(Problem::error(
            places.of("limits.memory"),
            format!("{wanted} of memory are allowed, but there are only {there}"),
            "lower `memory` in [limits], or raise MemoryMax= of the systemd unit or container",
        ));
    }
    let files = u64::from(limits.connections).saturating_add(OTHER_FILES);
    if facts.files_max < files {
        problems.push(Problem::warning(
            places.of("limits.connections"),
            format!("{} connections need {files} open files, and {} are allowed", limits.connections, facts.files_max),
            "raise LimitNOFILE= of the systemd unit (or `ulimit -Hn`), or lower `connections`",
        ));
    }
    if limits.connections_per_ip > limits.connections {
        problems.push(Problem::warning(
            places.of("limits.connections_per_ip").or_else(|| places.of("limits.connections")),
            "one address may have more connections than there are in all",
            "set `connections_per_ip` below `connections`, so that one address cannot take them all",
        ));
    }
    problems
}

fn outbound(config: &Config, places: &Places, facts: &Facts) -> Option<Problem> {
    let file = config.outbound.as_ref()?.password_file.as_ref()?.display();
    let place = places.of("outbound.password_file");
    match facts.password_file.as_ref()? {
        FileFacts::Readable { is_open: false } => None,
        FileFacts::Readable { is_open: true } => Some(Problem::warning(
            place,
            format!("everybody on this machine can read {file}"),
            format!("chmod 640 {file}, and chgrp it to the group that Pigeon runs as"),
        )),
        FileFacts::Unreadable(why) => Some(Problem::error(
            place,
            format!("cannot read the relay's password from {file}: {why}"),
            "put it there, readable for the user that Pigeon runs as",
        )),
    }
}

fn day(unix_s: i64) -> String {
    let (year, month, day) = date(unix_s);
    format!("{year:04}-{month:02}-{day:02}")
}
