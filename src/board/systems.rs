//! Which systems are on the card, and which of them runs: a line for the report, and what is wrong with them. An update
//! that did not stay lies in the other slot until another comes, so it is told at every start and needs no note.

use super::files::{Files, SECTOR_BYTES, read};
use super::release::{is_later, is_version};
use super::slots::{Slot, State};
use super::sources::disk_problem;
use crate::config::Problem;

/// The system that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its version.
    pub version: String,
    /// Where it was booted from; `None` when it was booted otherwise.
    pub slot: Option<Slot>,
}

impl Running {
    /// What the report says of the systems, and what is wrong.
    pub(super) fn told(&self, card: Option<&impl Files>) -> (String, Vec<Problem>) {
        let line = format!("pigeon {}", self.version);
        let (Some(slot), Some(card)) = (self.slot, card) else {
            return (line, Vec::new());
        };
        let (mut problems, other) = (Vec::new(), slot.other());
        problems.extend(state_problem(card, slot));
        let what = match Held::read(card, other) {
            Held::Nothing => "is empty".to_owned(),
            Held::Damaged => "holds nothing that can be started".to_owned(),
            Held::Version(version) => {
                if is_later(&version, &self.version) {
                    let message =
                        format!("slot {other} holds pigeon {version}, which did not come up, or is damaged by now");
                    let remedy = "put its release file, or a later one, onto the stick MAIL-BACKUP and plug it in";
                    problems.push(Problem::warning(None, message, remedy));
                }
                format!("holds {version}")
            }
        };
        (format!("{line}, slot {slot}; slot {other} {what}"), problems)
    }
}

/// What a slot holds, by the first sector of its file (board/build: build_system).
enum Held {
    Nothing,
    Damaged,
    Version(String),
}

impl Held {
    fn read(card: &impl Files, slot: Slot) -> Self {
        let Ok(Some(octets)) = read(card, slot.file(), SECTOR_BYTES) else {
            return Self::Damaged;
        };
        if octets.iter().all(|octet| *octet == 0) {
            return Self::Nothing;
        }
        let text = String::from_utf8_lossy(&octets);
        let version = text.lines().find_map(|line| line.strip_prefix("version=")).filter(|text| is_version(text));
        version.map_or(Self::Damaged, |version| Self::Version(version.to_owned()))
    }
}

/// Without its state the boot loader starts slot a, whichever was in use. It is written anew once this system serves.
fn state_problem(card: &impl Files, slot: Slot) -> Option<Problem> {
    match State::read(card) {
        Ok(Some(_)) => None,
        Ok(None) => {
            let message = format!(
                "slots.env on the card does not say which system was in use: the one in slot {slot} was started"
            );
            let remedy = "nothing, if it is the later one (see System above); it is written anew";
            Some(Problem::warning(None, message, remedy))
        }
        Err(error) => Some(disk_problem("slots.env cannot be read", &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::simulated::Disk;
    use super::*;

    const STATE: &str = "good=a\ntry=\ntries=0\n";

    fn told(slot: Slot, state: &str, [a, b]: [&[u8]; 2]) -> (String, String) {
        let files = [("slots.env", state.as_bytes()), ("slot-a/system", a), ("slot-b/system", b)];
        let card = Disk::new(&files.map(|(name, octets)| (name, octets.to_vec())));
        let version = if slot == Slot::A { "0.1.0" } else { "0.2.0" };
        let (line, problems) = Running { version: version.to_owned(), slot: Some(slot) }.told(Some(&card));
        (line, problems.into_iter().map(|problem| problem.message).collect())
    }

    #[test]
    fn what_runs_is_said_and_a_later_system_beside_it_for_as_long_as_it_lies_there() {
        let (old, new): (&[u8], &[u8]) = (b"pigeon=1\nversion=0.1.0\nboard=x\n\0", b"pigeon=1\nversion=0.2.0\n\0\0");
        let rows: [(Slot, [&[u8]; 2], &str, &str); 6] = [
            (Slot::A, [old, &[0; 600]], "pigeon 0.1.0, slot a; slot b is empty", ""),
            (Slot::B, [old, new], "pigeon 0.2.0, slot b; slot a holds 0.1.0", ""),
            (Slot::A, [old, new], "pigeon 0.1.0, slot a; slot b holds 0.2.0", "did not come up, or is damaged"),
            (Slot::A, [old, old], "pigeon 0.1.0, slot a; slot b holds 0.1.0", ""),
            (Slot::A, [old, b"junk"], "pigeon 0.1.0, slot a; slot b holds nothing that can be started", ""),
            (Slot::A, [old, b"version=<9>\n"], "pigeon 0.1.0, slot a; slot b holds nothing that can be started", ""),
        ];
        for (slot, systems, expected, problem) in rows {
            let (line, problems) = told(slot, STATE, systems);
            assert_eq!(line, expected);
            assert!(problems.contains(problem) && problems.is_empty() == problem.is_empty(), "{expected}: {problems}");
        }
        for state in ["", "\u{fffd}\u{fffd}", "try=b\n"] {
            let (_, problems) = told(Slot::A, state, [old, old]);
            assert!(problems.contains("does not say which system was in use: the one in slot a"), "{problems}");
        }
    }
}
