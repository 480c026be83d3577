//! Which of the two systems on the card is booted: `slots.env`, one sector, read by the boot loader and overwritten in place.
//!
//! `good` comes up; `try` is booted instead while `tries` is above 0, the boot loader counting down before it does. A new system
//! is written into the slot that does not run, put to the try, and becomes `good` once it serves.

use super::files::{Files, Folder, SECTOR_BYTES, read};
use super::{first_boot::write_report, report};
use std::fmt;
use std::io;
use std::path::Path;

/// The state's file.
const STATE: &str = "slots.env";
/// Boots that a new system is given to come up.
const TRIES: u8 = 2;
const FELL_BACK: &str = "The update did not come up; the system before it runs.";
const PASSED_OVER: &str = "The system last in use is damaged on the card; the one before it runs.";

/// One of the two places for a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// `slot-a`
    A,
    /// `slot-b`
    B,
}

impl Slot {
    /// `a` or `b`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "a" => Some(Self::A),
            "b" => Some(Self::B),
            _ => None,
        }
    }

    /// The slot that runs: `pigeon.slot=` of the kernel's command line; `None` when the system was booted otherwise.
    pub fn running() -> Option<Self> {
        let line = std::fs::read_to_string("/proc/cmdline").ok()?;
        line.split_ascii_whitespace().find_map(|word| word.strip_prefix("pigeon.slot=")).and_then(Self::parse)
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its system's file.
    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::A => "slot-a/system",
            Self::B => "slot-b/system",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

/// What the boot loader goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) good: Slot,
    /// The slot on trial.
    pub(super) on_trial: Option<Slot>,
    /// Boots it has left.
    pub(super) tries: u8,
}

impl State {
    pub(super) const fn good(slot: Slot) -> Self {
        Self { good: slot, on_trial: None, tries: 0 }
    }

    pub(super) const fn trial(good: Slot) -> Self {
        Self { good, on_trial: Some(good.other()), tries: TRIES }
    }

    /// `None` when there is none, or it says nothing that makes sense.
    pub(super) fn read(files: &impl Files) -> io::Result<Option<Self>> {
        let octets = read(files, STATE, SECTOR_BYTES)?.unwrap_or_default();
        Ok(Self::parse(&String::from_utf8_lossy(&octets)))
    }

    /// Lines in any order, padded with line ends, blanks or NULs.
    fn parse(text: &str) -> Option<Self> {
        let line = |key: &str| {
            text.split(['\n', '\0', '\r']).find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))
        };
        let tries = line("tries").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Some(Self {
            good: Slot::parse(line("good")?.trim())?,
            on_trial: line("try").and_then(|text| Slot::parse(text.trim())),
            tries,
        })
    }

    fn print(self) -> [u8; SECTOR_BYTES] {
        let on_trial = self.on_trial.map(|slot| slot.to_string()).unwrap_or_default();
        let text = format!("good={}\ntry={on_trial}\ntries={}\n", self.good, self.tries);
        let mut sector = [b'\n'; SECTOR_BYTES];
        for (place, octet) in sector.iter_mut().zip(text.bytes()) {
            *place = octet;
        }
        sector
    }

    /// Overwrites the one sector, unless it says this already.
    pub(super) fn write(self, files: &impl Files) -> io::Result<()> {
        if Self::read(files)? == Some(self) && files.len(STATE)? == Some(SECTOR_BYTES as u64) {
            return Ok(());
        }
        files.write_at(STATE, 0, &self.print())?;
        files.sync(STATE)
    }
}

/// Makes the running slot the good one. Answers a sentence when an update had fallen back; that is put into the report too.
/// An update that has been written since the start keeps its tries.
pub fn healthy(boot: &Path, running: Slot) -> io::Result<Option<&'static str>> {
    let card = Folder(boot.to_owned());
    let state = State::read(&card)?;
    if state == Some(State::trial(running)) {
        return Ok(None);
    }
    let told = state.and_then(|state| {
        if state.on_trial == Some(running.other()) {
            return Some(FELL_BACK);
        }
        (state.good != running && state.on_trial.is_none()).then_some(PASSED_OVER)
    });
    if let Some(told) = told {
        let before = read(&card, report::FILE, report::FILE_BYTES_MAX)?.unwrap_or_default();
        write_report(&card, &report::with_line(&String::from_utf8_lossy(&before), told))?;
    }
    State::good(running).write(&card)?;
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_one_sector_of_lines_that_a_boot_loader_reads() {
        let state = State::trial(Slot::A);
        let sector = state.print();
        assert!(sector.starts_with(b"good=a\ntry=b\ntries=2\n\n"));
        assert_eq!(State::parse(std::str::from_utf8(&sector).unwrap()), Some(state));
        let rows = [
            // U-Boot sorts, and pads with NULs.
            ("good=b\ntries=1\ntry=a\0\0\0\0", Some(State { good: Slot::B, on_trial: Some(Slot::A), tries: 1 })),
            ("good=a\ntry=\ntries=0\n", Some(State::good(Slot::A))),
            ("good=a\n", Some(State::good(Slot::A))),
            ("try=a\ntries=3\n", None),
            ("good=c\n", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(State::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_system_that_serves_becomes_the_good_one_and_a_fall_back_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let state = |text: &str| std::fs::write(folder.path().join(STATE), text).unwrap();
        let now = || State::read(&Folder(folder.path().to_owned())).unwrap().unwrap();
        state("good=a\ntry=b\ntries=1\n");
        assert_eq!(healthy(folder.path(), Slot::B).unwrap(), None);
        assert_eq!(now(), State::good(Slot::B));
        state("good=a\ntry=b\ntries=0\n");
        assert_eq!(healthy(folder.path(), Slot::A).unwrap(), Some(FELL_BACK));
        assert_eq!(now(), State::good(Slot::A));
        assert!(std::fs::read_to_string(folder.path().join(report::FILE)).unwrap().contains(FELL_BACK));
        assert_eq!(healthy(folder.path(), Slot::A).unwrap(), None);
        // A slot whose sums are wrong is passed over by the boot loader, whatever tries it has left.
        state("good=a\ntry=b\ntries=1\n");
        assert_eq!(healthy(folder.path(), Slot::A).unwrap(), Some(FELL_BACK));
        state("good=b\ntry=\ntries=0\n");
        assert_eq!(healthy(folder.path(), Slot::A).unwrap(), Some(PASSED_OVER));
        assert_eq!(now(), State::good(Slot::A));
        assert!(std::fs::read_to_string(folder.path().join(report::FILE)).unwrap().contains(PASSED_OVER));
    }

    #[test]
    fn an_update_that_waits_for_its_first_start_is_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(STATE), State::trial(Slot::A).print()).unwrap();
        assert_eq!(healthy(folder.path(), Slot::A).unwrap(), None);
        assert_eq!(State::read(&Folder(folder.path().to_owned())).unwrap(), Some(State::trial(Slot::A)));
    }
}
