//! What makes a store anew, with the power going at its own operations: salvage, and a restore with the salvage in it.

use super::facts::{Book, Facts};
use super::life::{Manner, Moment, Moments, record};
use super::look::Seen;
use super::run::{End, Runner, Wrong};
use super::steps::Phase;
use pigeon::base::{Budget, Clock};
use pigeon::store::backup::{self, Manifest, Restoring};
use pigeon::store::sim::{Cut, SimDisk};
use pigeon::store::{Disk, OpenError, Options, Store};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Of one restore a moment of each step is cut, and so many of its first and of its last, when its mark comes and goes.
const MARK_CUTS: usize = 6;

impl Runner {
    fn open_salvaging(&self, disk: &SimDisk) -> Result<Store, Wrong> {
        let options = Options { salvage: true, ..self.manner.options.clone() };
        let manner = Manner { options, ..self.manner.clone() };
        let (clock, _) = Clock::simulated(0);
        manner.open(disk, clock, Budget::new(16 << 20)).map_err(|error| format!("salvage: {error:?}"))
    }

    /// What the store on this disk shows, opened as it is or salvaged; it is left as it then is.
    fn shown(&self, disk: &SimDisk, salvages: bool) -> Result<Seen, Wrong> {
        let store = if salvages { self.open_salvaging(disk)? } else { self.open(disk)? };
        let seen = self.see(&store);
        disk.stop();
        seen
    }

    /// Makes the index anew, the power going at every operation of that; whoever starts afterwards, or salvages again, finds
    /// everything, raised or as it was.
    pub(super) fn salvage(&mut self, disk: &SimDisk, known: &Facts) -> Result<(), Wrong> {
        let mut raised = known.clone();
        raised.forget_modseqs();
        let disk = disk.reboot(Cut::Nothing);
        let moments = record(&disk, Arc::new(Mutex::new(Phase::Salvage)), Book::new(known.clone()));
        let seen = self.shown(&disk, true)?;
        disk.watch(None);
        raised.check(&seen).and_then(|raised| raised.is_above(known)).map_err(|wrong| format!("salvaged: {wrong}"))?;
        for moment in take(&moments) {
            let (end, salvages) = (End::of(&mut self.dice), self.dice.once_in(2));
            let what = |wrong: Wrong| format!("salvage, {}, {end:?}, then salvaged: {salvages}: {wrong}", moment.step);
            let disk = end.leaves(&moment.disk);
            let seen = self.shown(&disk, salvages).map_err(what)?;
            let shown = match raised.check(&seen) {
                // Cut before anything came of it.
                Err(_) if !salvages => known.check(&seen),
                shown => shown,
            };
            let shown = shown.map_err(what)?;
            // And so it stays.
            let seen = self.shown(&disk.reboot(Cut::Nothing), false).map_err(what)?;
            shown.check(&seen).map_err(what)?;
            self.done.table.count(&moment.step);
        }
        Ok(())
    }

    /// Restores a backup into an empty folder, the power going meanwhile: what that leaves is opened by nobody, or is whole, and
    /// whoever restores again makes it whole. `newer` is what clients know by now.
    pub(super) fn restore(
        &mut self,
        (stick, manifest): (&SimDisk, &Manifest),
        known: &Facts,
        newer: &Facts,
    ) -> Result<(), Wrong> {
        let disk = SimDisk::new();
        let phase = Arc::new(Mutex::new(Phase::Restore));
        let cuts = self.dice.once_in(4);
        let moments = if cuts { record(&disk, phase.clone(), Book::new(known.clone())) } else { Moments::default() };
        let shown = self.restore_onto(&disk, &phase, (stick, manifest), known, newer)?;
        disk.watch(None);
        let moments = take(&moments);
        let (first, last) = (moments.iter().take(MARK_CUTS), moments.iter().rev().take(MARK_CUTS));
        let mut chosen: Vec<Moment> = first.chain(last).cloned().collect();
        let mut steps: BTreeMap<&str, Vec<&Moment>> = BTreeMap::new();
        moments.iter().for_each(|moment| steps.entry(&moment.step).or_default().push(moment));
        chosen.extend(steps.values().filter_map(|of_step| self.dice.pick(of_step).map(|moment| (*moment).clone())));
        for moment in chosen {
            let end = End::of(&mut self.dice);
            let what = |wrong: Wrong| format!("{}, {end:?}: {wrong}", moment.step);
            let disk = end.leaves(&moment.disk);
            let is_marked = backup::is_half_restored(&disk).map_err(|error| what(error.to_string()))?;
            let is_empty = ["", "log", "snapshots"].iter().all(|folder| is_empty(&disk, folder));
            if !is_marked && !is_empty {
                let seen = self.shown(&disk, false).map_err(what)?;
                shown.check(&seen).map_err(|wrong| what(format!("without a mark: {wrong}")))?;
                self.done.restores.0 += 1;
            } else {
                let (clock, _) = Clock::simulated(0);
                let opened = if is_marked { Some(self.manner.open(&disk, clock, Budget::new(16 << 20))) } else { None };
                if opened.is_some_and(|opened| !matches!(opened, Err(OpenError::HalfRestored))) {
                    return Err(what("a part of a store is opened".to_owned()));
                }
                let again = self.restore_onto(&disk, &phase, (stick, manifest), known, newer);
                again.map_err(|wrong| what(format!("then restored again: {wrong}")))?;
                self.done.restores.1 += 1;
            }
            self.done.table.count(&moment.step);
        }
        Ok(())
    }

    fn restore_onto(
        &self,
        disk: &SimDisk,
        phase: &Mutex<Phase>,
        (stick, manifest): (&SimDisk, &Manifest),
        known: &Facts,
        newer: &Facts,
    ) -> Result<Facts, Wrong> {
        *phase.lock().unwrap() = Phase::Restore;
        let restoring = Restoring::begin(disk).map_err(|error| error.to_string())?;
        let copied = restoring.copy((&|name| stick.open(name), manifest), false, &mut |_, _| ());
        copied.map_err(|error| error.to_string())?;
        *phase.lock().unwrap() = Phase::Salvage;
        let (clock, _) = Clock::simulated(0);
        let lock = restoring.into_lock();
        let store = self.manner.open_restored(disk, lock, clock, Budget::new(16 << 20));
        let store = store.map_err(|error| format!("restored: {error:?}"))?;
        // What is restored has new modification sequences throughout.
        let mut raised = known.clone();
        raised.forget_modseqs();
        let shown = self.see(&store).and_then(|seen| raised.check(&seen));
        *phase.lock().unwrap() = Phase::Restore;
        backup::finish_restore(disk).map_err(|error| error.to_string())?;
        *phase.lock().unwrap() = Phase::Stop;
        store.close();
        drop(store);
        let shown = shown.map_err(|wrong| format!("restored: {wrong}"))?;
        // Clients know what was given out since: none of it is given out again, and they see every change.
        shown.is_above(newer).map_err(|wrong| format!("restored: {wrong}"))?;
        let served = disk.revive().reboot(Cut::Nothing);
        let seen = self.shown(&served, false)?;
        shown.check(&seen).map_err(|wrong| format!("restored, then cut: {wrong}"))
    }
}

fn take(moments: &Moments) -> Vec<Moment> {
    std::mem::take(&mut *moments.lock().unwrap())
}

/// Whether there is nothing but what may become the mark.
fn is_empty(disk: &SimDisk, folder: &str) -> bool {
    disk.list(folder).is_ok_and(|names| names.iter().all(|name| name == "restoring.tmp"))
}
