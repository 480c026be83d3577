//! What this process may use of the machine, and what it does use, from /proc.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;

/// What the process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Resident, bytes.
    pub(super) resident_bytes: u64,
    /// The part of it that no file backs, bytes.
    pub(super) anonymous_bytes: u64,
    /// Written to storage since it started, bytes.
    pub(super) written_bytes: u64,
}

/// Raises the number of files (and so of connections) to what is allowed; answers how many that is.
pub fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Refused by some sandboxes: then it stays as it was.
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { raised } else { limit };
    limit.current.unwrap_or(u64::MAX)
}

/// What the process takes now; zeros where /proc does not tell.
pub(super) fn usage() -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    Usage {
        resident_bytes: number(&status, "VmRSS:").saturating_mul(1024),
        anonymous_bytes: number(&status, "RssAnon:").saturating_mul(1024),
        written_bytes: number(&io, "write_bytes:"),
    }
}

fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_names() {
        let status = "Name:\tpigeon\nVmRSS:\t    5124 kB\nRssAnon:\t  1800 kB\n";
        assert_eq!(number(status, "VmRSS:"), 5_124);
        assert_eq!(number(status, "RssAnon:"), 1_800);
        assert_eq!(number(status, "VmSwap:"), 0);
        assert!(usage().resident_bytes > 0);
    }
}
