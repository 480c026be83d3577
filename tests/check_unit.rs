//! The systemd unit: it names what the program names, and systemd understands it.

#![allow(clippy::expect_used, reason = "a test that cannot go on says so")]

use pigeon::config::{Config, DATA, SYSTEM_FILE, Service};
use pigeon::serve::socket_unit;
use std::path::{Path, PathBuf};
use std::process::Command;

const UNIT: &str = include_str!("../systemd/pigeon.service");
/// The exposure that `systemd-analyze security` may find at the most, in tenths.
const EXPOSURE_MAX: &str = "15";

fn value(key: &str) -> &'static str {
    let mut lines = UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.next().unwrap_or_default()
}

#[test]
fn the_unit_names_the_programs_own_files() {
    assert!(value("ExecStart").ends_with(&format!("pigeon serve --config {SYSTEM_FILE}")));
    assert_eq!(Path::new("/var/lib").join(value("StateDirectory")), Path::new(DATA));
    assert_eq!(
        Path::new("/etc").join(value("ConfigurationDirectory")),
        Path::new(SYSTEM_FILE).parent().unwrap_or(Path::new(""))
    );
}

#[test]
fn the_walls_stand_further_out_than_the_programs_own_limits() {
    let config = Config::new("mail.example.org");
    let wall = value("MemoryMax").strip_suffix('M').and_then(|megabytes| megabytes.parse::<u64>().ok());
    assert!(wall.is_some_and(|wall| wall << 20 >= 2 * config.limits.memory_bytes));
    let files = value("LimitNOFILE").parse::<u64>();
    assert!(files.is_ok_and(|files| files >= u64::from(config.limits.connections) + 64));
    let stop = value("TimeoutStopSec").parse::<u64>();
    assert!(stop.is_ok_and(|seconds| seconds > 5), "SIGKILL comes only after the end that the program promises");
}

#[test]
fn each_service_has_a_socket_unit_of_its_name_on_its_port() {
    for service in Service::ALL {
        let name = service.name();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/sockets").join(socket_unit(service));
        let unit = std::fs::read_to_string(file).expect("there is a unit");
        for line in [
            format!("ListenStream={}", service.port()),
            format!("FileDescriptorName={name}"),
            "Service=pigeon.service".to_owned(),
        ] {
            assert!(unit.lines().any(|one| one == line), "{name}: {line}");
        }
    }
}

/// The units in a folder, the program replaced by one that is there, the drop-in for sockets beside them if wanted.
fn units(with_sockets: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let copy = |from: &Path| {
        for entry in std::fs::read_dir(from).expect("a folder") {
            let path = entry.expect("an entry").path();
            if let (true, Some(name)) = (path.is_file(), path.file_name()) {
                let text = std::fs::read_to_string(&path).expect("a unit").replace("/usr/bin/pigeon", "/bin/true");
                std::fs::write(folder.path().join(name), text).expect("it is written");
            }
        }
    };
    copy(&from);
    copy(&from.join("sockets"));
    if with_sockets {
        let own = folder.path().join("pigeon.service.d");
        std::fs::create_dir(&own).expect("a folder");
        std::fs::copy(from.join("sockets/pigeon.service.d/sockets.conf"), own.join("sockets.conf")).expect("a copy");
    }
    folder
}

/// Its output; nothing where it is not installed, unless it must be.
fn analyze(arguments: &[&str], units: &[&Path]) -> Option<(bool, String)> {
    let run = Command::new("systemd-analyze").args(arguments).args(units).output();
    let Ok(output) = run else {
        assert!(std::env::var_os("CI").is_none(), "systemd-analyze is missing");
        return None;
    };
    let told = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&told).into_owned()))
}

#[test]
fn systemd_understands_the_units() {
    let folder = units(true);
    let entries = std::fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry").path());
    let is_unit = |path: &PathBuf| path.extension().is_some_and(|kind| kind != "sysusers" && kind != "d");
    let paths: Vec<PathBuf> = entries.filter(is_unit).collect();
    assert!(paths.len() > Service::ALL.len() + 4, "{paths:?}");
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let Some((is_good, told)) = analyze(&["verify", "--man=no"], &paths) else { return };
    assert!(is_good && !told.contains("pigeon"), "{told}");
}

#[test]
fn the_sandbox_leaves_little_open() {
    let security = ["security", "--offline=yes", "--no-pager", "--threshold", EXPOSURE_MAX];
    for (with_sockets, unit) in [(true, "pigeon.service"), (false, "pigeon.service"), (false, "pigeon-verify.service")]
    {
        let folder = units(with_sockets);
        let Some((is_good, told)) = analyze(&security, &[&folder.path().join(unit)]) else { return };
        let last = told.lines().last().unwrap_or_default().to_owned();
        assert!(is_good && last.contains("exposure level"), "{told}");
        eprintln!("{unit}, sockets handed over: {with_sockets}: {last}");
    }
}
