//! What this process may use of the machine, and what it does use, from /proc.

use rustix::process::{Gid, Resource, Rlimit, Uid, geteuid, getrlimit, setrlimit};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What the process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Resident, bytes.
    pub(super) resident_bytes: u64,
    /// The part of it that no file backs, bytes.
    pub(super) anonymous_bytes: u64,
}

/// Raises the number of files (and so of connections) to what is allowed; answers how many that is.
pub fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Refused by some sandboxes: then it stays as it was.
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { raised } else { limit };
    limit.current.unwrap_or(u64::MAX)
}

/// Lets a verb that root runs work as the user whose data they are, so that it leaves no file there that the server
/// cannot open. To be called before the first thread starts.
pub fn become_owner(data: &Path) -> io::Result<()> {
    let Some((uid, gid)) = owner_beside_root(data) else {
        return Ok(());
    };
    set_thread_groups(&[gid])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// Whose the data are, if root runs this and they are not root's.
pub(super) fn owner_beside_root(data: &Path) -> Option<(Uid, Gid)> {
    let facts = fs::metadata(data).ok()?;
    let is_other = geteuid().is_root() && facts.uid() != 0;
    is_other.then(|| (Uid::from_raw(facts.uid()), Gid::from_raw(facts.gid())))
}

/// The lowest memory.max from our control group up (cgroups(7), version 2).
pub fn control_group_memory() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let folder = PathBuf::from(format!("/sys/fs/cgroup{group}"));
    let limit = |folder: &Path| fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse::<u64>().ok();
    folder.ancestors().take_while(|folder| folder.starts_with("/sys/fs/cgroup")).filter_map(limit).min()
}

/// What the process takes now; zeros where /proc does not tell.
pub(super) fn usage() -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    Usage {
        resident_bytes: number(&status, "VmRSS:").saturating_mul(1024),
        anonymous_bytes: number(&status, "RssAnon:").saturating_mul(1024),
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
