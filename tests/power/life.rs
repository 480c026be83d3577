//! A life: from a start of the store to the power cut that ends it. Sessions of every protocol and an operator work on it in
//! rounds; the disk's every operation is kept as a moment at which the power may have gone.

use super::facts::{Book, Deed, Facts, Flags, Folder};
use super::look::{Seen, id, look};
use super::sessions::{Line, note, secrets};
use super::steps::{Phase, step};
use crate::world::{Protocol, World};
use pigeon::base::{Budget, Clock, Workers};
use pigeon::store::backup::{Content, back_up, newest};
pub(crate) use pigeon::store::sim::Dice;
use pigeon::store::sim::SimDisk;
use pigeon::store::{Kept, Lock, OpenError, Options, Refusal, Store};
use pigeon::tls::Tls;
use smol::lock::Mutex as AsyncMutex;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Octets of a message: mostly few.
fn some_bytes(dice: &mut Dice) -> usize {
    let bytes = match dice.roll(20) {
        0..14 => 200 + dice.roll(2_500),
        14..18 => 4_000 + dice.roll(55_000),
        _ => 66_000 + dice.roll(90_000),
    };
    usize::try_from(bytes).unwrap()
}

/// The clock that a life is lived under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    Ordinary,
    /// From 1970, jumping years forward and backward.
    Wild,
}

/// How a seed's stores are opened.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) options: Options,
    /// No threads but the writer's, which works when it is told to: the same every time.
    pub(crate) in_step: bool,
    pub(crate) time: Time,
    /// The house is kept only while sessions pause.
    pub(crate) pauses: bool,
}

impl Manner {
    pub(crate) fn of(dice: &mut Dice, in_step: bool, time: Time) -> Self {
        // Small ones roll over all the time; in large ones zeros are written ahead again.
        let segment_bytes = if dice.0.is_multiple_of(3) { 1 << 20 } else { 32 * 1024 + dice.roll(4) * 16 * 1024 };
        let options = Options {
            segment_bytes,
            index_cache_bytes: 256 * 1024,
            gather: Duration::from_millis(if in_step { 0 } else { 1 }),
            checkpoint_commits: 6 + dice.roll(10),
            ..Options::default()
        };
        Self { options, in_step, time, pauses: false }
    }

    fn workers(&self) -> Workers {
        if self.in_step { Workers::none() } else { Workers::new("test", 2, 512 * 1024).expect("threads") }
    }

    pub(crate) fn open(&self, disk: &SimDisk, clock: Clock, budget: Budget) -> Result<Store, OpenError> {
        Store::open_on(Arc::new(disk.clone()), self.options.clone(), clock, self.workers(), budget)
    }

    /// What a restore has copied.
    pub(crate) fn open_restored(
        &self,
        disk: &SimDisk,
        lock: Lock,
        clock: Clock,
        budget: Budget,
    ) -> Result<Store, OpenError> {
        Store::open_restored((Arc::new(disk.clone()), lock), self.options.clone(), clock, self.workers(), budget)
    }
}

/// A moment at which the power may have gone: the disk to be rebooted, and what clients knew.
#[derive(Clone)]
pub(crate) struct Moment {
    pub(crate) step: String,
    pub(crate) disk: SimDisk,
    pub(crate) facts: Arc<Facts>,
}

/// Every moment of a disk from now on, with what `book` held then.
pub(crate) type Moments = Arc<Mutex<Vec<Moment>>>;

/// Keeps every moment of `disk` from now on.
pub(crate) fn record(disk: &SimDisk, phase: Arc<Mutex<Phase>>, book: Book) -> Moments {
    let moments = Moments::default();
    let to = moments.clone();
    disk.watch(Some(Arc::new(move |operation, disk| {
        let step = step(*phase.lock().unwrap(), operation);
        to.lock().unwrap().push(Moment { step, disk, facts: book.facts() });
    })));
    moments
}

/// A backup's number, and what was known when it was made.
pub(crate) type Backup = (u64, Arc<Facts>);

/// What backups are written to.
#[derive(Default)]
pub(crate) struct Stick {
    pub(crate) disk: SimDisk,
    /// The newest complete backup, and what was known when it was made.
    pub(crate) newest: Option<Backup>,
    /// Moments of backups, with what the one being made holds; the newest complete one before; and what clients knew when it
    /// was done.
    pub(crate) moments: Vec<(Moment, Option<Backup>, Arc<Facts>)>,
}

type Session = Arc<AsyncMutex<Line>>;
type Act = Pin<Box<dyn Future<Output = Option<()>> + Send>>;

const ALICE: &str = "alice@example.org";
const BOB: &str = "bob@example.org";
const SYSTEM_FLAGS: [&str; 5] = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Work"];
/// Mailboxes that come and go.
const LOOSE: [&str; 4] = ["Lists", "Lists/rust", "Work", "Work/old"];
const GUESTS: [&str; 2] = ["guest1@example.net", "guest2@example.net"];

pub(crate) struct Life {
    pub(crate) world: World,
    pub(crate) disk: SimDisk,
    pub(crate) book: Book,
    pub(crate) moments: Moments,
    pub(crate) phase: Arc<Mutex<Phase>>,
    manner: Manner,
    dice: Dice,
    smtp: Vec<Session>,
    submission: Vec<Session>,
    imap: Vec<Session>,
    pub(crate) stick: Stick,
    /// Whether clients may be refused, because the disk fails.
    pub(crate) may_fail: bool,
    /// The disk has little room left.
    full: bool,
}

fn tls() -> Tls {
    static TLS: OnceLock<Tls> = OnceLock::new();
    TLS.get_or_init(|| Tls::in_memory().expect("a certificate")).clone()
}

/// Things that one round's deeds touch: no two touch the same, so that what happened can be told afterwards.
#[derive(Default)]
struct Touched(BTreeSet<String>);

impl Touched {
    /// Takes all of these, or none; `x/*` stands for everything of x.
    fn take(&mut self, keys: &[String]) -> bool {
        let clashes = |key: &String| match key.strip_suffix('*') {
            Some(of) => self.0.iter().any(|other| other.starts_with(of)),
            None => {
                let whole = key.split_once('/').map(|(of, _)| format!("{of}/*"));
                self.0.contains(key) || whole.is_some_and(|whole| self.0.contains(&whole))
            }
        };
        let free = !keys.iter().any(clashes);
        if free {
            self.0.extend(keys.iter().cloned());
        }
        free
    }
}

impl Life {
    /// Starts the store on this disk, and sessions on it; `facts` are what clients know of it.
    pub(crate) fn begin(disk: SimDisk, facts: Facts, manner: &Manner, dice: Dice) -> Result<Self, String> {
        let unix_s = if manner.time == Time::Wild { 0 } else { crate::world::START_S };
        let (clock, hand) = Clock::simulated(unix_s);
        let (phase, book) = (Arc::new(Mutex::new(Phase::Start)), Book::new(facts));
        let moments = record(&disk, phase.clone(), book.clone());
        let budget = Budget::new(16 << 20);
        let store = manner.open(&disk, clock.clone(), budget.clone()).map_err(|error| format!("open: {error:?}"))?;
        *phase.lock().unwrap() = Phase::Work;
        let world = World::of(store, (clock, hand), budget, tls());
        let none = Vec::new;
        let mut life = Self {
            world,
            disk,
            book,
            moments,
            phase,
            manner: manner.clone(),
            dice,
            smtp: none(),
            submission: none(),
            imap: none(),
            stick: Stick::default(),
            may_fail: false,
            full: false,
        };
        life.world.store().take_turns(manner.in_step);
        life.world.store().reclaim_no_faster_than(u64::MAX / 2_000);
        life.furnish();
        life.connect();
        life.observe()?;
        Ok(life)
    }

    pub(crate) fn store(&self) -> &Store {
        self.world.store()
    }

    /// The accounts and aliases there always are.
    fn furnish(&mut self) {
        for address in [ALICE, BOB] {
            if !self.book.facts().accounts.contains_key(address) {
                let act = add_account(self.store().clone(), self.book.clone(), address, secrets("wonderland-7"));
                self.play(vec![act]);
            }
        }
    }

    /// Two sessions of each protocol that last; POP3's come and go.
    pub(crate) fn connect(&mut self) {
        (self.smtp, self.submission, self.imap) = (Vec::new(), Vec::new(), Vec::new());
        let world = self.world.clone();
        let lines: Arc<Mutex<Vec<(Protocol, Line)>>> = Arc::default();
        let to = lines.clone();
        self.play(vec![Box::pin(async move {
            for _ in 0..2 {
                let mut smtp = Line::connect(&world, Protocol::Smtp).await?;
                smtp.smtp_hello(None).await?;
                to.lock().unwrap().push((Protocol::Smtp, smtp));
                let mut submission = Line::connect(&world, Protocol::Submissions).await?;
                submission.smtp_hello(Some(ALICE)).await?;
                to.lock().unwrap().push((Protocol::Submissions, submission));
                let mut imap = Line::connect(&world, Protocol::Imap).await?;
                imap.login(ALICE).await?;
                to.lock().unwrap().push((Protocol::Imap, imap));
            }
            // So that no login of a round waits for a hash.
            Line::connect(&world, Protocol::Pop3).await?.pop_login(BOB).await
        })]);
        for (protocol, line) in lines.lock().unwrap().drain(..) {
            let line = Arc::new(AsyncMutex::new(line));
            match protocol {
                Protocol::Smtp => self.smtp.push(line),
                Protocol::Submissions => self.submission.push(line),
                _ => self.imap.push(line),
            }
        }
    }

    /// Runs these together until all have ended.
    pub(crate) fn play(&mut self, acts: Vec<Act>) {
        let done = self.play_to_the_end(acts);
        assert!(
            self.may_fail || done.iter().all(Option::is_some),
            "a client was refused: {}",
            super::sessions::refused()
        );
    }

    fn play_to_the_end(&mut self, acts: Vec<Act>) -> Vec<Option<()>> {
        let executor = self.world.executor();
        let tasks: Vec<_> = acts.into_iter().map(|act| executor.spawn(act)).collect();
        if !self.manner.in_step {
            return smol::block_on(executor.run(async {
                let mut done = Vec::new();
                for task in tasks {
                    done.push(task.await);
                }
                done
            }));
        }
        self.go_on_until(|| tasks.iter().all(smol::Task::is_finished));
        tasks.into_iter().map(smol::block_on).collect()
    }

    /// In step: everybody goes on until this is so.
    fn go_on_until(&mut self, is_done: impl Fn() -> bool) {
        let started = std::time::Instant::now();
        while !is_done() {
            if !self.go_on() {
                // A password is being hashed.
                assert!(started.elapsed() < Duration::from_secs(60), "a session waits for ever");
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }

    /// In step: everybody who can goes on for a while, or the writer does one piece of work; false when nobody can.
    fn go_on(&mut self) -> bool {
        let executor = self.world.executor();
        let waits = self.world.store().writer_waits();
        // Mostly everybody goes as far as possible before the writer does, but not always.
        let hurries = waits && self.dice.once_in(5);
        let limit = if hurries { self.dice.roll(10) } else { u64::MAX };
        let mut moved = 0;
        while moved < limit && executor.try_tick() {
            moved += 1;
        }
        if hurries || (waits && moved == 0) {
            self.world.store().give_turn();
            return true;
        }
        moved > 0
    }

    /// Looks at everything while nothing is under way: the store shows what clients know, and they know more afterwards.
    pub(crate) fn observe(&mut self) -> Result<Seen, String> {
        let mut seen = self.look()?;
        if let Some(uidl) = self.uidl(&seen) {
            seen.uidl = uidl;
        }
        let facts = self.book.facts().check(&seen).map_err(|what| format!("before any cut: {what}"))?;
        self.book.set(facts);
        Ok(seen)
    }

    /// Where the disk fails now and then, looking is tried again, as clients do.
    fn look(&mut self) -> Result<Seen, String> {
        let tries = if self.may_fail { 5 } else { 1 };
        let mut seen = Err("never looked".to_owned());
        for _ in 0..tries {
            let store = self.store().clone();
            let looked = self.alone(Phase::Work, async move { look(&store, None).await });
            seen = looked.map_err(|refusal| format!("look: {refusal:?}"));
            if seen.is_ok() {
                break;
            }
        }
        seen
    }

    /// What POP3 calls bob's messages.
    fn uidl(&mut self, seen: &Seen) -> Option<std::collections::BTreeMap<(String, u32), String>> {
        let uids: Vec<u32> = seen.folder(BOB, "INBOX")?.mails.iter().map(|mail| mail.uid).collect();
        let world = self.world.clone();
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let to = told.clone();
        self.play(vec![Box::pin(async move {
            let mut line = Line::connect(&world, Protocol::Pop3).await?;
            line.pop_login(BOB).await?;
            *to.lock().unwrap() = line.uidl().await?;
            Some(())
        })]);
        let told = told.lock().unwrap().clone();
        (told.len() == uids.len()).then(|| uids.into_iter().map(|uid| (BOB.to_owned(), uid)).zip(told).collect())
    }

    /// Several things at once, as the seed has it; then everything is looked at.
    pub(crate) fn round(&mut self) -> Result<Seen, String> {
        self.world.pass(Duration::from_secs(self.dice.roll(20)));
        if self.manner.time == Time::Wild {
            // Dice of its own: everything else goes as it does under an ordinary clock.
            let years = i64::try_from(self.dice.clone().roll(120)).unwrap() - 20;
            self.world.set_unix_s(years * 31_556_952);
        }
        if self.manner.options.segment_bytes >= 1 << 20 && self.dice.once_in(4) && !self.may_fail {
            self.fill();
            self.observe()?;
        }
        let (facts, mut touched) = (self.book.facts(), Touched::default());
        let mut acts = Vec::new();
        let sessions = [self.smtp.clone(), self.submission.clone()].concat();
        for (n, session) in sessions.into_iter().enumerate() {
            if self.dice.once_in(2) {
                acts.extend(self.delivery(&facts, &mut touched, session, n >= 2));
            }
        }
        for session in self.imap.clone() {
            if !self.dice.once_in(4) {
                acts.extend(self.imap_act(&facts, &mut touched, session));
            }
        }
        for _ in 0..2 {
            if self.dice.once_in(3) {
                acts.extend(self.pop_act(&facts, &mut touched));
            }
        }
        if self.dice.once_in(2) {
            acts.extend(self.operator_act(&facts, &mut touched));
        }
        let house = self.dice.roll(6);
        if self.dice.once_in(2) && house < 4 && !self.manner.pauses {
            self.meanwhile(acts, house)?;
        } else {
            self.play(acts);
            match house {
                0 => self.snapshot(),
                1 | 2 => self.keep_house(),
                3 => self.back_up(Vec::new())?,
                _ => {}
            }
        }
        self.observe()
    }

    /// The house is kept while sessions work.
    fn meanwhile(&mut self, mut acts: Vec<Act>, house: u64) -> Result<(), String> {
        *self.phase.lock().unwrap() = if self.full { Phase::Full } else { Phase::Meanwhile };
        let (store, may_fail) = (self.store().clone(), self.may_fail);
        let done = match house {
            0 => {
                acts.push(Box::pin(async move { (store.snapshot().await.is_ok() || may_fail).then_some(()) }));
                self.play(acts);
                Ok(())
            }
            1 | 2 => {
                acts.push(Box::pin(async move { (keep(&store).await.is_ok() || may_fail).then_some(()) }));
                self.play(acts);
                Ok(())
            }
            _ => self.back_up(acts),
        };
        *self.phase.lock().unwrap() = self.at_work();
        done
    }

    /// Runs one thing alone, with a writer that works as it likes: what waits for the writer itself cannot give it turns.
    fn alone<O>(&mut self, phase: Phase, work: impl Future<Output = O>) -> O {
        *self.phase.lock().unwrap() = if self.full { Phase::Full } else { phase };
        self.store().take_turns(false);
        let done = smol::block_on(self.world.executor().run(work));
        self.store().take_turns(self.manner.in_step);
        *self.phase.lock().unwrap() = self.at_work();
        done
    }

    fn at_work(&self) -> Phase {
        if self.full { Phase::Full } else { Phase::Work }
    }

    fn snapshot(&mut self) {
        let store = self.store().clone();
        let taken = self.alone(Phase::Work, async move { store.snapshot().await });
        assert!(self.may_fail || taken.is_ok(), "snapshot: {taken:?}");
    }

    /// Housekeeping until there is none.
    pub(crate) fn keep_house(&mut self) {
        let store = self.store().clone();
        let kept = self.alone(Phase::House, async move { keep(&store).await });
        assert!(self.may_fail || kept.is_ok(), "keeping house: {kept:?}");
    }

    /// A backup onto another disk, whose every operation is a moment too, while these go on.
    fn back_up(&mut self, acts: Vec<Act>) -> Result<(), String> {
        let (executor, store, book) = (self.world.executor(), self.store().clone(), self.book.clone());
        let alone = acts.is_empty();
        if alone {
            *self.phase.lock().unwrap() = Phase::Backup;
            self.store().take_turns(false);
        }
        let in_step = self.manner.in_step && !alone;
        let tasks: Vec<_> = acts.into_iter().map(|act| executor.spawn(act)).collect();
        let holding = executor.spawn(async move {
            let mark = book.mark();
            let held = store.hold().await;
            (held, book.since(&mark))
        });
        if in_step {
            self.go_on_until(|| holding.is_finished());
        }
        let (held, facts) = smol::block_on(executor.run(holding));
        let copied = match held {
            Err(refusal) => Err(format!("{refusal:?}")),
            Ok(held) => {
                let facts = Arc::new(facts);
                let stick = self.stick.disk.clone();
                let moments = record(&stick, Arc::new(Mutex::new(Phase::Backup)), Book::new(Facts::clone(&facts)));
                let done = if in_step {
                    let disk = self.disk.clone();
                    let mut go_on = |_, _| {
                        for _ in 0..self.dice.roll(3) {
                            self.go_on();
                        }
                    };
                    back_up(&disk, &stick, &held.content(0), &mut go_on)
                } else {
                    let (disk, stick) = (self.disk.clone(), stick.clone());
                    let (names, needed) = (held.names.clone(), held.needed.clone());
                    let (batch, end, mark) = (held.batch, held.end, held.mark.clone());
                    smol::block_on(executor.run(smol::unblock(move || {
                        let content =
                            Content { batch, end, names: &names, needed: &needed, mark: mark.as_deref(), made_s: 0 };
                        back_up(&disk, &stick, &content, &mut |_, _| ())
                    })))
                };
                drop(held);
                stick.watch(None);
                let moments = std::mem::take(&mut *moments.lock().unwrap());
                done.map(|_| (facts, moments)).map_err(|error| error.to_string())
            }
        };
        if in_step {
            self.go_on_until(|| tasks.iter().all(smol::Task::is_finished));
        }
        let done: Vec<Option<()>> = tasks.into_iter().map(|task| smol::block_on(executor.run(task))).collect();
        if alone {
            self.store().take_turns(self.manner.in_step);
            *self.phase.lock().unwrap() = self.at_work();
        }
        assert!(
            self.may_fail || done.iter().all(Option::is_some),
            "a client was refused: {}",
            super::sessions::refused()
        );
        let (facts, moments) = match copied {
            Err(_) if self.may_fail => return Ok(()),
            copied => copied.map_err(|error| format!("backup: {error}"))?,
        };
        let (before, newer) = (self.stick.newest.clone(), self.book.facts());
        self.stick.moments.extend(moments.into_iter().map(|moment| (moment, before.clone(), newer.clone())));
        let number = newest(&self.stick.disk).map_err(|error| format!("backup: {error}"))?.number;
        self.stick.newest = Some((number, facts));
        Ok(())
    }

    /// A round on a disk that fills up; then there is room again.
    pub(crate) fn full_round(&mut self) -> Result<(), String> {
        let store = self.store().clone();
        let laid = self.alone(Phase::Full, async move { store.lay_ballast().await });
        assert!(laid, "there is room for the ballast");
        let room = self.dice.roll(300_000);
        self.disk.leave_room(Some(room));
        self.may_fail = true;
        self.full = true;
        self.round()?;
        self.connect();
        self.keep_house();
        self.round()?;
        self.disk.leave_room(None);
        self.keep_house();
        self.keep_house();
        (self.may_fail, self.full) = (false, false);
        self.connect();
        let store = self.store().clone();
        let laid = self.alone(Phase::Full, async move { store.lay_ballast().await });
        assert!(laid, "there is room again");
        self.observe().map(drop)
    }

    fn delivery(&mut self, facts: &Facts, touched: &mut Touched, session: Session, submits: bool) -> Option<Act> {
        let (bytes, book, serial) = (some_bytes(&mut self.dice), self.book.clone(), self.dice.roll(u64::MAX));
        let mut choices: Vec<(String, Vec<String>, String)> = Vec::new();
        for address in facts.accounts.keys() {
            choices.push((address.clone(), vec![address.clone()], format!("{address}/mail {serial}")));
        }
        for (alias, targets) in &facts.aliases {
            choices.push((alias.clone(), targets.clone(), format!("{alias}/use {serial}")));
        }
        let (mut recipients, mut accounts, mut keys) = (Vec::new(), BTreeSet::new(), Vec::new());
        for _ in 0..=self.dice.roll(3) {
            let (name, targets, key) = self.dice.pick(&choices)?.clone();
            recipients.push(name);
            accounts.extend(targets);
            keys.push(key);
        }
        if !touched.take(&keys) {
            return None;
        }
        let (from, accounts) =
            (if submits { ALICE } else { "carol@example.net" }, accounts.into_iter().collect::<Vec<_>>());
        Some(Box::pin(async move { session.lock().await.deliver(&book, from, (recipients, accounts), bytes).await }))
    }

    /// So much into one large segment that zeros are written ahead again.
    fn fill(&mut self) {
        let (book, session) = (self.book.clone(), self.imap[0].clone());
        self.play(vec![Box::pin(async move {
            for _ in 0..6 {
                session.lock().await.append(&book, (ALICE, "Archive"), Flags::new(), 60_000).await?;
            }
            Some(())
        })]);
    }

    /// Some UIDs of a mailbox that has any.
    fn some_uids(&mut self, facts: &Facts) -> Option<(String, Vec<u32>)> {
        let folders: Vec<(&String, &Folder)> = facts.accounts[ALICE]
            .folders
            .iter()
            .filter(|(name, folder)| !folder.mails.is_empty() && !LOOSE.contains(&name.as_str()))
            .collect();
        let (name, folder) = *self.dice.pick(&folders)?;
        let mut uids: Vec<u32> = folder.mails.iter().filter_map(|mail| mail.uid).collect();
        uids.sort_unstable();
        let first = usize::try_from(self.dice.roll(uids.len() as u64)).unwrap();
        let count = usize::try_from(1 + self.dice.roll(4)).unwrap();
        Some((name.clone(), uids.into_iter().skip(first).take(count).collect()))
    }

    fn imap_act(&mut self, facts: &Facts, touched: &mut Touched, session: Session) -> Option<Act> {
        let (book, serial) = (self.book.clone(), self.dice.roll(u64::MAX));
        let names: Vec<String> = facts.accounts[ALICE].folders.keys().cloned().collect();
        let key = |name: &str| format!("{ALICE}/{name}");
        match self.dice.roll(14) {
            0..3 => {
                let (folder, bytes) = (self.dice.pick(&names)?.clone(), some_bytes(&mut self.dice));
                let flags: Flags =
                    SYSTEM_FLAGS.iter().filter(|_| self.dice.once_in(4)).map(|flag| (*flag).to_owned()).collect();
                touched.take(&[key(&format!("{folder} append {serial}"))]).then_some(())?;
                Some(Box::pin(async move { session.lock().await.append(&book, (ALICE, &folder), flags, bytes).await }))
            }
            3..6 => {
                let (folder, uids) = self.some_uids(facts)?;
                let (flag, on) = (*self.dice.pick(&SYSTEM_FLAGS)?, !self.dice.once_in(3));
                touched.take(&[key(&folder)]).then_some(())?;
                Some(Box::pin(
                    async move { session.lock().await.flag(&book, (ALICE, &folder), &uids, (flag, on)).await },
                ))
            }
            6..9 => {
                let ((from, uids), to, moves) =
                    (self.some_uids(facts)?, self.dice.pick(&names)?.clone(), self.dice.once_in(2));
                (from != to && touched.take(&[key(&from), key(&to)])).then_some(())?;
                Some(Box::pin(async move { session.lock().await.copy(&book, (ALICE, &from, &to), uids, moves).await }))
            }
            9..11 => {
                let ((folder, uids), way) = (self.some_uids(facts)?, self.dice.roll(3));
                touched.take(&[key(&folder)]).then_some(())?;
                Some(Box::pin(async move { session.lock().await.expunge(&book, (ALICE, &folder), &uids, way).await }))
            }
            11 => {
                let (folder, uids) = self.some_uids(facts)?;
                touched.take(&[key(&folder)]).then_some(())?;
                Some(Box::pin(async move { session.lock().await.read(&book, (ALICE, &folder), *uids.first()?).await }))
            }
            12 => {
                let (name, on) = (self.dice.pick(&names)?.clone(), self.dice.once_in(2));
                touched.take(&[format!("subscribed/{name}"), key(&format!("{name} subscribed"))]).then_some(())?;
                let command = if on { format!("SUBSCRIBE {name}") } else { format!("UNSUBSCRIBE {name}") };
                let deed = Deed::Subscribe { account: ALICE.into(), name, on };
                Some(Box::pin(async move { session.lock().await.simple(&book, &command, Some(deed)).await }))
            }
            _ if self.dice.once_in(4) => {
                let absent: Vec<&str> = LOOSE.into_iter().filter(|name| !names.iter().any(|n| n == name)).collect();
                let to = (*self.dice.pick(&absent)?).to_owned();
                // What comes meanwhile over an alias may be moved too, or not.
                let mut keys = vec![format!("{ALICE}/*")];
                keys.extend(facts.aliases.keys().map(|alias| format!("{alias}/*")));
                // A parent that it lacks would be a deed of its own.
                let has_parent = to.rsplit_once('/').is_none_or(|(parent, _)| names.iter().any(|name| name == parent));
                (has_parent && touched.take(&keys)).then_some(())?;
                let uids = facts.folder(ALICE, "INBOX").mails.iter().filter_map(|mail| mail.uid).collect();
                Some(Box::pin(async move { session.lock().await.rename_inbox(&book, (ALICE, &to), uids).await }))
            }
            _ => {
                touched.take(&[format!("{ALICE}/*")]).then_some(())?;
                let (command, deed) = self.structure(&names)?;
                Some(Box::pin(async move {
                    let mut session = session.lock().await;
                    session.unselect().await?;
                    session.simple(&book, &command, Some(deed)).await
                }))
            }
        }
    }

    /// CREATE, DELETE or RENAME of one of the mailboxes that come and go.
    fn structure(&mut self, names: &[String]) -> Option<(String, Deed)> {
        let account = ALICE.to_owned();
        let (there, absent): (Vec<&str>, Vec<&str>) =
            LOOSE.into_iter().partition(|name| names.iter().any(|there| there == name));
        let leaf = there.iter().copied().find(|name| !names.iter().any(|n| n.starts_with(&format!("{name}/"))));
        match (self.dice.roll(3), leaf) {
            (0, Some(leaf)) => Some((format!("DELETE {leaf}"), Deed::Delete { account, folder: leaf.to_owned() })),
            (1, Some(leaf)) => {
                let to = self.dice.pick(&absent)?;
                let is_inside = to.starts_with(&format!("{leaf}/"));
                let deed = Deed::Rename { account, from: leaf.to_owned(), to: (*to).to_owned() };
                (!is_inside).then(|| (format!("RENAME {leaf} {to}"), deed))
            }
            _ => {
                let name = self.dice.pick(&absent)?;
                Some((format!("CREATE {name}"), Deed::Create { account, folder: (*name).to_owned() }))
            }
        }
    }

    fn pop_act(&mut self, facts: &Facts, touched: &mut Touched) -> Option<Act> {
        let (world, book) = (self.world.clone(), self.book.clone());
        let who = if self.dice.once_in(3) { ALICE } else { BOB };
        touched.take(&[format!("{who}/INBOX")]).then_some(())?;
        let mut uids: Vec<u32> = facts.folder(who, "INBOX").mails.iter().filter_map(|mail| mail.uid).collect();
        uids.sort_unstable();
        let mails: Vec<(usize, u32)> = (1..).zip(uids).filter(|_| self.dice.once_in(4)).take(4).collect();
        (!mails.is_empty()).then_some(())?;
        Some(Box::pin(async move {
            let mut line = Line::connect(&world, Protocol::Pop3).await?;
            line.pop_login(who).await?;
            line.pop_delete(&book, who, &mails).await
        }))
    }

    fn operator_act(&mut self, facts: &Facts, touched: &mut Touched) -> Option<Act> {
        let (store, book) = (self.store().clone(), self.book.clone());
        let guest = *self.dice.pick(&GUESTS)?;
        let (there, is_used) = (
            facts.accounts.contains_key(guest),
            facts.aliases.values().any(|targets| targets.iter().any(|target| target == guest)),
        );
        match self.dice.roll(10) {
            0..3 if !there => {
                touched.take(&[format!("{guest}/*")]).then_some(())?;
                Some(add_account(store, book, guest, secrets(&format!("number {}", self.dice.roll(9)))))
            }
            0 if !is_used => {
                touched.take(&[format!("{guest}/*")]).then_some(())?;
                Some(doing(book, Deed::RemoveAccount { address: guest.into() }, async move {
                    store.account_remove(id(&store, guest).await?).await
                }))
            }
            1 | 2 if there => {
                touched.take(&[format!("{guest}/secrets")]).then_some(())?;
                let secrets = secrets(&format!("number {}", self.dice.roll(9)));
                Some(doing(book, Deed::Secrets { address: guest.into(), secrets: secrets.clone() }, async move {
                    store.account_secrets(id(&store, guest).await?, secrets).await
                }))
            }
            3..5 => {
                let alias = *self.dice.pick(&["team@example.org", "all@example.com"])?;
                touched.take(&[format!("{alias}/*"), format!("{guest}/alias {alias}")]).then_some(())?;
                if facts.aliases.contains_key(alias) {
                    return Some(doing(book, Deed::RemoveAlias { address: alias.into() }, async move {
                        store.alias_remove(alias).await
                    }));
                }
                // Its domain comes with it.
                let mut targets = vec![ALICE.to_owned(), BOB.to_owned()];
                if there {
                    targets.push(guest.to_owned());
                }
                let domain = alias.rsplit_once('@')?.1.to_owned();
                if !facts.domains.contains(&domain) {
                    return None;
                }
                Some(doing(book, Deed::AddAlias { address: alias.into(), targets: targets.clone() }, async move {
                    store.alias_add(alias, &targets).await
                }))
            }
            5 | 6 => {
                let name = "example.com";
                touched.take(&["all@example.com/*".to_owned(), "domain".to_owned()]).then_some(())?;
                match (facts.domains.contains(name), facts.aliases.contains_key("all@example.com")) {
                    (true, true) => None,
                    (true, false) => Some(doing(book, Deed::RemoveDomain { name: name.into() }, async move {
                        store.domain_remove(name).await
                    })),
                    (false, _) => {
                        Some(doing(
                            book,
                            Deed::AddDomain { name: name.into() },
                            async move { store.domain_add(name).await },
                        ))
                    }
                }
            }
            _ => None,
        }
    }

    /// Ends the store as a clean stop would.
    pub(crate) fn stop(&mut self) {
        *self.phase.lock().unwrap() = Phase::Stop;
        self.world.store().close();
    }

    /// Takes what was recorded so far.
    pub(crate) fn take_moments(&self) -> Vec<Moment> {
        std::mem::take(&mut *self.moments.lock().unwrap())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.disk.watch(None);
        self.disk.stop();
        // Sessions hold the world, and the world what runs them: they end first.
        (self.smtp, self.submission, self.imap) = (Vec::new(), Vec::new(), Vec::new());
        self.world.stop();
        self.store().take_turns(false);
        self.store().close();
        let executor = self.world.executor();
        let began = std::time::Instant::now();
        while !executor.is_empty() && began.elapsed() < Duration::from_secs(1) {
            if !executor.try_tick() {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }
}

/// Keeps house until there is nothing to do.
async fn keep(store: &Store) -> Result<(), Refusal> {
    for _ in 0..20 {
        if store.keep_house().await? == Kept::Nothing {
            break;
        }
    }
    Ok(())
}

/// Something an operator does: begun, asked for, acknowledged.
fn doing(book: Book, deed: Deed, ask: impl Future<Output = Result<(), Refusal>> + Send + 'static) -> Act {
    Box::pin(async move {
        let asked = format!("{deed:?}");
        let id = book.begin(deed);
        ask.await.inspect_err(|refusal| note(&asked, &format!("{refusal:?}"))).ok()?;
        book.done(id);
        Some(())
    })
}

fn add_account(store: Store, book: Book, address: &'static str, secrets: Vec<u8>) -> Act {
    let deed = Deed::AddAccount { address: address.into(), secrets: secrets.clone() };
    doing(book, deed, async move { store.account_add(address, secrets, &pigeon::accounts::MAILBOXES).await.map(drop) })
}
