//! Runs seeds: lives one after another on the same disk, each ended by a cut; and every other moment of each life is
//! rebooted, opened and looked at beside.

use super::facts::Facts;
use super::life::{Backup, Dice, Life, Manner, Moment, Stick, Time, record};
use super::look::{Seen, look, settle};
use super::steps::{Phase, Table};
use pigeon::base::{Budget, Clock};
use pigeon::store::sim::{Cut, SimDisk, Tear};
use pigeon::store::{Disk, Store, backup};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// Lives of a seed, and rounds of each.
const LIVES: u64 = 3;
const ROUNDS: u64 = 6;

/// How a moment is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Cut(Cut),
    /// Killed, started again, and then cut.
    KillThenCut,
}

impl End {
    pub(crate) fn of(dice: &mut Dice) -> Self {
        let seed = dice.roll(u64::MAX);
        match dice.roll(7) {
            0 => Self::Cut(Cut::Nothing),
            1 => Self::Cut(Cut::Everything),
            2 | 3 => Self::Cut(Cut::Some(Tear::Byte, seed)),
            4 => Self::Cut(Cut::Some(Tear::Sector, seed)),
            5 => Self::Cut(Cut::Some(Tear::Page, seed)),
            _ => Self::KillThenCut,
        }
    }

    /// The disk as whoever starts next finds it.
    pub(super) fn leaves(self, disk: &SimDisk) -> SimDisk {
        match self {
            Self::Cut(cut) => disk.reboot(cut),
            Self::KillThenCut => disk.revive(),
        }
    }
}

/// What is found wrong.
pub(crate) type Wrong = String;

/// What a seed does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) in_step: bool,
    pub(crate) time: Time,
    /// The house is kept only while sessions pause.
    pub(crate) pauses: bool,
    /// Ends when so many cuts are made.
    pub(crate) cuts_max: u64,
}

/// What a seed did.
#[derive(Default)]
pub(crate) struct Done {
    /// Cut restores that were whole, and those that were done again.
    pub(crate) restores: (u64, u64),
    pub(crate) table: Table,
    /// The steps in the order in which they came, summed up.
    pub(crate) order: u64,
    pub(crate) seen: String,
    /// Replays that made the very same index, and those whose end was uncertain.
    pub(crate) replays: (u64, u64),
    pub(crate) wrong: Option<Wrong>,
}

pub(super) struct Runner {
    pub(super) manner: Manner,
    pub(super) dice: Dice,
    pub(super) done: Done,
    cuts_max: u64,
}

/// Runs a seed.
pub(crate) fn run(plan: &Plan) -> Done {
    let mut dice = Dice(plan.seed);
    let manner = Manner { pauses: plan.pauses, ..Manner::of(&mut dice, plan.in_step, plan.time) };
    let mut runner = Runner { manner, dice, done: Done::default(), cuts_max: plan.cuts_max };
    let lived = catch_unwind(AssertUnwindSafe(|| runner.lives()));
    let wrong = match lived {
        Ok(Ok(())) => None,
        Ok(Err(wrong)) => Some(wrong),
        Err(panic) => Some(said(&*panic)),
    };
    Done { wrong, ..runner.done }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

impl Runner {
    fn lives(&mut self) -> Result<(), Wrong> {
        let (mut disk, mut facts, mut stick) = (SimDisk::new(), Facts::default(), Stick::default());
        // In some life of every other seed the disk fills up.
        let fills = self.dice.roll(2 * LIVES);
        for number in 0..LIVES {
            disk.leave_room(None);
            let mut life = Life::begin(disk, facts, &self.manner, Dice(self.dice.roll(u64::MAX)))
                .map_err(|what| format!("life {number}: {what}"))?;
            life.stick = stick;
            let mut last = None;
            for round in 0..ROUNDS {
                life.round().map_err(|what| format!("life {number}, round {round}: {what}"))?;
                let moments = life.take_moments();
                self.moments(&format!("life {number}, round {round}"), moments, &mut last)?;
                self.backups(&mut life.stick)?;
                if self.is_enough() {
                    return Ok(());
                }
            }
            if number == fills {
                life.full_round().map_err(|what| format!("life {number}, on a full disk: {what}"))?;
                self.moments(&format!("life {number}, on a full disk"), life.take_moments(), &mut last)?;
                self.backups(&mut life.stick)?;
            }
            self.done.seen += &life.observe()?.order();
            if self.dice.once_in(2) {
                life.stop();
                self.moments(&format!("the end of life {number}"), life.take_moments(), &mut last)?;
            }
            stick = std::mem::take(&mut life.stick);
            drop(life);
            let Some(moment) = last else { return Err("a life without any operation".into()) };
            // What comes next stands on what this cut leaves.
            let end = End::of(&mut self.dice);
            let (found, known) = self.reopen(&moment.disk, end, &moment.facts, None)?;
            disk = found.reboot(Cut::Nothing);
            facts = known;
            // That moment may lie before the last backup, which then holds what never happened: no stick does. It was completed only
            // after its mark was durable.
            let there = self.open(&found.reboot(Cut::Nothing))?;
            let sequence = smol::block_on(there.stats()).map_err(|refusal| format!("{refusal:?}"))?.sequence;
            let written_down = moment.disk.reboot(Cut::Nothing).contents("backups.made").unwrap_or_default();
            let has = |mark: &String| written_down.windows(mark.len()).any(|octets| octets == mark.as_bytes());
            let is_before = |newest: backup::Manifest| newest.batch.0 > sequence || !newest.mark.iter().all(has);
            if backup::newest(&stick.disk).is_ok_and(is_before) {
                stick = Stick::default();
            }
        }
        Ok(())
    }

    fn is_enough(&self) -> bool {
        self.done.table.total() >= self.cuts_max
    }

    /// A stick pulled out at every one of these moments: the backup before, or the new one, is complete.
    fn backups(&mut self, stick: &mut Stick) -> Result<(), Wrong> {
        for (moment, before, newer) in std::mem::take(&mut stick.moments) {
            let end = End::of(&mut self.dice);
            let pulled = self
                .pulled(&moment, end, before, &newer)
                .map_err(|wrong| format!("a backup, {}, {end:?}: {wrong}", moment.step));
            pulled?;
            self.done.table.count(&moment.step);
        }
        Ok(())
    }

    fn pulled(&mut self, moment: &Moment, end: End, before: Option<Backup>, newer: &Facts) -> Result<(), Wrong> {
        let disk = end.leaves(&moment.disk);
        let manifest = match (backup::newest(&disk), before.as_ref()) {
            (Ok(manifest), _) => manifest,
            (Err(_), None) => return Ok(()),
            (Err(error), Some(_)) => return Err(error.to_string()),
        };
        backup::prove(&disk, &manifest, &mut |_, _| ()).map_err(|error| error.to_string())?;
        if !self.dice.once_in(3) {
            return Ok(());
        }
        let before = before.filter(|(number, _)| *number == manifest.number);
        let facts = before.as_ref().map_or(&moment.facts, |(_, facts)| facts);
        self.restore((&disk, &manifest), facts, newer)
    }

    /// Ends every one of these moments; keeps one of them.
    fn moments(&mut self, when: &str, moments: Vec<Moment>, kept: &mut Option<Moment>) -> Result<(), Wrong> {
        for (number, moment) in moments.into_iter().enumerate() {
            self.done.order = self.done.order.rotate_left(5) ^ crc32c::crc32c(moment.step.as_bytes()) as u64;
            let end = End::of(&mut self.dice);
            let what = format!("{when}, moment {number}, {}, {end:?}", moment.step);
            let looked = catch_unwind(AssertUnwindSafe(|| self.examine(&moment, end)));
            looked.unwrap_or_else(|panic| Err(said(&*panic))).map_err(|wrong| format!("{what}: {wrong}"))?;
            self.done.table.count(&moment.step);
            if self.is_enough() {
                return Ok(());
            }
            if self.dice.once_in(number as u64 + 1) {
                *kept = Some(moment);
            }
        }
        Ok(())
    }

    /// Reboots, opens, looks; now and then cuts the start as well, drops the index, or goes on for a step.
    fn examine(&mut self, moment: &Moment, end: End) -> Result<(), Wrong> {
        let inner = self.dice.once_in(64);
        let mut starts = Vec::new();
        let (disk, known) = self.reopen(&moment.disk, end, &moment.facts, inner.then_some(&mut starts))?;
        for start in starts {
            let end = End::of(&mut self.dice);
            self.reopen(&start.disk, end, &start.facts, None)
                .map_err(|wrong| format!("then, at {}, {end:?}: {wrong}", start.step))?;
            self.done.table.count(&start.step);
        }
        match self.dice.roll(7) {
            // What was shown once stays, whatever the next cut takes.
            0 => {
                let again = disk.reboot(Cut::Nothing);
                self.look_at(&again, &known, None).map_err(|wrong| format!("then a second cut: {wrong}"))?;
            }
            1 => self.replay(&disk, &known)?,
            2 => self.rot(&disk, &known)?,
            3 if self.dice.once_in(60) => self.salvage(&disk, &known)?,
            _ => {}
        }
        Ok(())
    }

    /// The disk after the end of a moment, with the store opened once on it; and what is known then.
    fn reopen(
        &mut self,
        disk: &SimDisk,
        end: End,
        facts: &Facts,
        starts: Option<&mut Vec<Moment>>,
    ) -> Result<(SimDisk, Facts), Wrong> {
        match end {
            End::Cut(cut) => {
                let disk = disk.reboot(cut);
                let known = self.look_at(&disk, facts, starts)?;
                Ok((disk, known))
            }
            End::KillThenCut => {
                let killed = disk.revive();
                let known = self.look_at(&killed, facts, starts)?;
                let disk = killed.reboot(Cut::Nothing);
                let known = self.look_at(&disk, &known, None).map_err(|wrong| format!("then cut: {wrong}"))?;
                Ok((disk, known))
            }
        }
    }

    pub(super) fn open(&self, disk: &SimDisk) -> Result<Store, Wrong> {
        let (clock, _) = Clock::simulated(0);
        self.manner.open(disk, clock, Budget::new(16 << 20)).map_err(|error| format!("open: {error:?}"))
    }

    /// Opens the store and compares what it shows with what is known; what is known then.
    fn look_at(&self, disk: &SimDisk, facts: &Facts, starts: Option<&mut Vec<Moment>>) -> Result<Facts, Wrong> {
        let recorded = starts.is_some().then(|| {
            let book = super::facts::Book::new(facts.clone());
            record(disk, Arc::new(Mutex::new(Phase::Start)), book)
        });
        let store = self.open(disk)?;
        disk.watch(None);
        if let (Some(to), Some(recorded)) = (starts, recorded) {
            to.append(&mut recorded.lock().unwrap());
        }
        let known = self.see(&store).and_then(|seen| facts.check(&seen));
        // Nothing is made durable on the way out: the power goes.
        disk.stop();
        known
    }

    pub(super) fn see(&self, store: &Store) -> Result<Seen, Wrong> {
        if let (told, 1..) = store.damage() {
            return Err(format!("a cut was taken for damage: {told:?}"));
        }
        smol::block_on(async {
            let stats = store.stats().await.map_err(|refusal| format!("stats: {refusal:?}"))?;
            if let Some(why) = stats.read_only {
                return Err(format!("read-only: {why}"));
            }
            look(store, None).await.map_err(|refusal| format!("look: {refusal:?}"))
        })
    }

    /// A page of the log rots while the store is open: what lay in it is refused, never shown wrong, and all else is whole.
    fn rot(&mut self, disk: &SimDisk, known: &Facts) -> Result<(), Wrong> {
        let disk = disk.reboot(Cut::Nothing);
        let store = self.open(&disk)?;
        let names = disk.list("log").map_err(|error| error.to_string())?;
        let Some(name) = self.dice.pick(&names).map(|name| format!("log/{name}")) else { return Ok(()) };
        let mut contents = disk.contents(&name).unwrap_or_default();
        let page = usize::try_from(1 + self.dice.roll(contents.len() as u64 / 4096)).unwrap() * 4096;
        let whole = contents.len().min(page + 4096);
        match contents.get_mut(page.min(whole)..whole) {
            Some(page) if self.dice.once_in(2) => page.fill(0),
            Some(page) => page.iter_mut().take(1).for_each(|octet| *octet ^= 1 << self.dice.roll(8)),
            None => {}
        }
        disk.put(&name, &contents);
        let mut refused = Vec::new();
        let seen = smol::block_on(look(&store, Some(&mut refused))).map_err(|refusal| format!("rot: {refusal:?}"));
        disk.stop();
        let all = seen?;
        let mails = all.accounts.values().flat_map(|account| account.folders.values()).flat_map(|folder| &folder.mails);
        for mail in mails {
            if !known.sent.get(&mail.token).is_some_and(|sent| mail.is_whole(sent)) {
                return Err(format!("{name}, page at {page} rotten: UID {} is shown wrong", mail.uid));
            }
        }
        let there = |seen: &Seen| {
            let accounts = seen.accounts.values().flat_map(|account| account.folders.values());
            accounts.map(|folder| folder.mails.len()).sum::<usize>()
        };
        let acknowledged = known.accounts.values().flat_map(|account| account.folders.values());
        let acknowledged: usize = acknowledged.map(|folder| folder.mails.len()).sum();
        if there(&all) + refused.len() != acknowledged {
            return Err(format!("{name}, page at {page} rotten: {} of {acknowledged} messages are there", there(&all)));
        }
        Ok(())
    }

    /// The index is what a replay of the log makes.
    fn replay(&mut self, disk: &SimDisk, known: &Facts) -> Result<(), Wrong> {
        let disk = disk.reboot(Cut::Nothing);
        disk.leave_room(None);
        let digest = |store: &Store| {
            smol::block_on(async {
                settle(store).await;
                store.digest().await.map_err(|refusal| format!("digest: {refusal:?}"))
            })
        };
        let store = self.open(&disk)?;
        let before = digest(&store)?;
        let lost = disk.revive();
        drop(store);
        lost.put("index.redb", b"");
        let store = self.open(&lost)?;
        if store.is_end_uncertain() {
            // A torn end and then no index: nobody can know what the tail was, so everything is raised and nothing lost.
            self.done.replays.1 += 1;
            let mut before = known.clone();
            before.forget_modseqs();
            let raised = self.see(&store).and_then(|seen| before.check(&seen));
            lost.stop();
            return raised.and_then(|raised| raised.is_above(known)).map_err(|wrong| format!("raised: {wrong}"));
        }
        self.done.replays.0 += 1;
        let (after, seen) = (digest(&store)?, self.see(&store));
        lost.stop();
        if after != before {
            return Err(format!("the index is not what a replay makes: damage {:?}", store.damage()));
        }
        seen.and_then(|seen| known.check(&seen)).map(drop).map_err(|wrong| format!("after a replay: {wrong}"))
    }
}
