//! The systemd unit: it names what the program names, and systemd understands it.

use pigeon::config::{Config, DATA, SYSTEM_FILE};
use std::path::Path;
use std::process::Command;

const UNIT: &str = include_str!("../systemd/pigeon.service");

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
fn systemd_understands_the_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return; // Nobody to ask here.
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let unit = folder.path().join("pigeon.service");
    std::fs::write(&unit, UNIT.replace("/usr/bin/pigeon", "/bin/true")).expect("the unit is written");
    let output = Command::new("systemd-analyze").arg("verify").arg(&unit).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !told.contains("pigeon.service"), "{told}");
}
