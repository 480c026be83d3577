//! `check`: gathers the facts of this machine, has them judged, and prints what came of it.

use super::check::{Binding, CertificateFacts, Data, DataState, Facts, FileFacts, ServerState, judge};
use super::file;
use super::output::{Failure, say, say_json};
use crate::config::{Config, Problem, Service, Severity, Style, TlsFiles, read_what_is_good, report};
use crate::net::Listener;
use crate::serve::{Asked, Served, connect, control_group_memory, is_without_ipv6, settle_hostname, socket_unit};
use crate::store::backup::is_half_restored;
use crate::store::{RealDisk, ballast_needs_bytes};
use crate::tls::{TlsError, examine};
use rustix::fs::{Access, FlockOperation, access, flock, statfs, statvfs};
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// File systems in memory (statfs(2)).
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

pub(super) fn check(config: Option<&Path>, json: bool) -> Result<(), Failure> {
    let path = file::of_verb(config);
    let text = file::text(&path)?;
    let problems = every_problem(&text, &file::folder(&path));
    let name = path.display().to_string();
    if json {
        say_json(&as_json(&name, &text, &problems))?;
    } else if problems.is_empty() {
        say(&format!("{name}: no problems\n"))?;
    } else {
        let style = if io::stdout().is_terminal() { Style::Drawn } else { Style::Plain };
        say(&report(&name, &text, &problems, style))?;
    }
    if problems.iter().any(|problem| problem.severity == Severity::Error) { Err(Failure::Told) } else { Ok(()) }
}

/// Those of the file, and those that what could be read of it has on this machine.
fn every_problem(text: &str, folder: &Path) -> Vec<Problem> {
    let (parsed, mut problems) = read_what_is_good(text, folder);
    if let Some(mut parsed) = parsed {
        settle_hostname(&mut parsed.config);
        let of_machine = judge(&parsed.config, &parsed.places, &gather(&parsed.config));
        // A value that is wrong in itself says nothing about the machine.
        let is_new = |problem: &Problem| problem.place.is_none() || problems.iter().all(|p| p.place != problem.place);
        let of_machine: Vec<Problem> = of_machine.into_iter().filter(is_new).collect();
        problems.extend(of_machine);
    }
    problems
}

#[derive(Serialize)]
struct Report<'r> {
    file: &'r str,
    problems: Vec<Told<'r>>,
}

#[derive(Serialize)]
struct Told<'r> {
    severity: &'static str,
    line: Option<usize>,
    message: &'r str,
    remedy: &'r str,
}

fn as_json<'r>(name: &'r str, text: &str, problems: &'r [Problem]) -> Report<'r> {
    let told = |problem: &'r Problem| Told {
        severity: match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        line: problem.line(text),
        message: &problem.message,
        remedy: &problem.remedy,
    };
    Report { file: name, problems: problems.iter().map(told).collect() }
}

fn gather(config: &Config) -> Facts {
    let (server, ours) = server(&config.data);
    Facts {
        unix_s: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
        files_max: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX),
        memory_bytes: memory(),
        has_ipv6: Listener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))).is_ok(),
        data: data(&config.data),
        addresses: config.listen.all().map(|(service, at)| (service, at, binding(service, at, &ours))).collect(),
        server,
        certificate: config.tls.as_ref().map_or(CertificateFacts::Own, |files| certificate(files, &config.hostname)),
        password_file: config.outbound.as_ref().and_then(|outbound| outbound.password_file.as_deref()).map(secret),
    }
}

/// Who has the data directory open, and where it listens.
fn server(data: &Path) -> (ServerState, Vec<Served>) {
    if let Ok(Some(client)) = connect(data) {
        let served = match Asked::Server(client).ask(crate::serve::Request::Status) {
            crate::serve::Answer::Status(status) => status.server.map(|server| server.services).unwrap_or_default(),
            _ => Vec::new(),
        };
        return (ServerState::Running, served);
    }
    let is_locked = File::open(data.join("lock"))
        .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::WOULDBLOCK));
    (if is_locked { ServerState::Silent } else { ServerState::None }, Vec::new())
}

fn binding(service: Service, address: SocketAddr, served: &[Served]) -> Binding {
    let ours: Vec<&Served> = served.iter().filter(|one| one.service == service.name()).collect();
    if ours.iter().any(|one| one.address == address.to_string()) {
        return Binding::Ours;
    }
    if ours.iter().any(|one| one.passed) {
        let places: Vec<&str> = ours.iter().map(|one| one.address.as_str()).collect();
        return Binding::Replaced { unit: socket_unit(service), by: places.join(", ") };
    }
    match Listener::bind(address) {
        Ok(_) => Binding::Free,
        Err(error) if is_without_ipv6(address, &error) => Binding::NoIpv6,
        Err(error) => match error.kind() {
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied if is_active(&socket_unit(service)) => {
                Binding::Ours
            }
            io::ErrorKind::AddrInUse => Binding::Taken,
            io::ErrorKind::PermissionDenied => Binding::NotAllowed,
            io::ErrorKind::AddrNotAvailable => Binding::NoAddress,
            _ => Binding::Failed(error.to_string()),
        },
    }
}

/// Whether systemd has this unit running; without systemd nothing is.
fn is_active(unit: &str) -> bool {
    let mut asked = Command::new("systemctl");
    asked.args(["is-active", "--quiet", unit]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}

fn data(path: &Path) -> Data {
    // Where nothing is yet, the folder that it would be made in decides.
    let existing = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let state = if path.exists() && !path.is_dir() {
        DataState::NoFolder
    } else if let Err(error) = access(existing, Access::WRITE_OK | Access::EXEC_OK) {
        DataState::NotWritable(io::Error::from(error).to_string())
    } else if path.exists() {
        DataState::Writable
    } else {
        DataState::Absent
    };
    let space = statvfs(existing);
    let bytes = |blocks: u64| space.as_ref().map_or(u64::MAX, |space| blocks.saturating_mul(space.f_frsize));
    // The field's type differs from platform to platform; its numbers have 32 bits.
    let kind = statfs(existing).map_or(0, |facts| facts.f_type as u64 & 0xffff_ffff);
    Data {
        state,
        is_open_to_others: path.is_dir()
            && fs::metadata(path).is_ok_and(|facts| facts.permissions().mode() & 0o005 != 0),
        is_half_restored: is_half_restored(&RealDisk::read_only(path)).unwrap_or(false),
        is_in_memory: [TMPFS, RAMFS].contains(&kind),
        ballast_bytes: ballast_needs_bytes(path),
        free_bytes: bytes(space.as_ref().map_or(1, |space| space.f_bavail)),
        disk_bytes: bytes(space.as_ref().map_or(1, |space| space.f_blocks)),
    }
}

/// The machine's memory, or less if a control group allows less.
fn memory() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    });
    machine.unwrap_or(u64::MAX).min(control_group_memory().unwrap_or(u64::MAX))
}

fn certificate(files: &TlsFiles, hostname: &str) -> CertificateFacts {
    match examine(&files.certificate, &files.key) {
        Ok(certificate) => CertificateFacts::Usable {
            not_before_s: certificate.not_before_s,
            not_after_s: certificate.not_after_s,
            is_for_hostname: certificate.covers(hostname),
            is_key_open: is_open(&files.key),
        },
        Err(error) => {
            let is_key = match &error {
                TlsError::Read(path, _) | TlsError::Malformed(path, _) => *path == files.key,
                TlsError::NoKey(_) | TlsError::Mismatch { .. } => true,
                TlsError::Write(..) | TlsError::NoCertificate(_) | TlsError::NotMade(_) | TlsError::Refused(_) => false,
            };
            CertificateFacts::Unusable { is_key, message: error.to_string(), remedy: error.remedy() }
        }
    }
}

fn secret(path: &Path) -> FileFacts {
    match File::open(path) {
        Ok(_) => FileFacts::Readable { is_open: is_open(path) },
        Err(error) => FileFacts::Unreadable(error.to_string()),
    }
}

/// Whether others than owner and group can read the file.
fn is_open(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| facts.permissions().mode() & 0o004 != 0)
}
