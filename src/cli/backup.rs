//! `backup` and `restore`.

use super::bar::Bar;
use super::file;
use super::output::{Failure, complain, failed, say};
use crate::base::Clock;
use crate::config::{Config, human_bytes};
use crate::serve::{Answer, Request, World, ask, become_owner, beside, connect, create_folder};
use crate::store::backup::{self, BackupError, Content, Copied, Manifest, Restoring};
use crate::store::{Disk, DiskFile, RealDisk};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// Files that are named one by one, of those that the store has lost.
const LOST_TOLD_MAX: usize = 8;

/// What keeps the files of a store as they are while they are copied.
enum Held {
    /// The running server, as long as it is connected with.
    Server(#[expect(dead_code, reason = "held until it is dropped")] crate::net::LocalClient),
    /// A thread of ours that has the store open, as its owner: it ends when the sender is gone.
    Alone(#[expect(dead_code, reason = "held until it is dropped")] Opened),
}

/// A thread that has the store open.
struct Opened(Option<(Sender<()>, JoinHandle<()>)>);

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some((until, thread)) = self.0.take() {
            drop(until);
            drop(thread.join());
        }
    }
}

/// What a backup is made of.
struct Files {
    batch: (u64, u32),
    end: (u64, u64),
    names: Vec<String>,
    needed: Vec<u64>,
    mark: Option<String>,
}

pub(super) fn back_up(config: Option<&Path>, target: &Path, other_disk: bool) -> Result<(), Failure> {
    let config = file::load(&file::of_verb(config))?.config;
    refuse_inside(&config.data, target)?;
    if target.exists() && !target.is_dir() {
        return Err(Failure::Failed(format!("{} is no folder\n    remedy: name a folder", target.display())));
    }
    look_where(&config.data, target, other_disk)?;
    if target.is_dir() && super::manage::has_store(&config)? {
        // Before anything is asked of the server, or made in the folder.
        backup::refuse_other(&RealDisk::read_only(&config.data), &RealDisk::read_only(target))
            .map_err(|error| told(&error, target))?;
    }
    let (held, files) = hold(&config)?;
    // Only read, and whatever the server's user has put there instead of a file is not followed.
    let from = RealDisk::read_only(&config.data);
    let to = disk(target)?;
    let made_s = u64::try_from(Clock::system().unix_s()).unwrap_or(0);
    let mut bar = Bar::new("copying");
    let Files { batch, end, names, needed, mark } = &files;
    let content = Content { batch: *batch, end: *end, names, needed, mark: mark.as_deref(), made_s };
    let copied = backup::back_up(&from, &to, &content, &mut |done, total| bar.at(done, total));
    drop((bar, held));
    let copied = copied.map_err(|error| told(&error, target))?;
    complain(&damage_of(&copied));
    say(&format!(
        "{}: complete, {} in {} files; {} in {} of them new\n",
        target.display(),
        human_bytes(copied.bytes),
        copied.files,
        human_bytes(copied.new_bytes),
        copied.new_files
    ))?;
    let is_whole = copied.unreadable.is_empty() && copied.kept.is_empty() && copied.lost.is_empty();
    if is_whole { Ok(()) } else { Err(Failure::Told) }
}

/// What the store has lost, a line each.
fn damage_of(copied: &Copied) -> String {
    let unreadable = copied
        .unreadable
        .iter()
        .map(|name| format!("pigeon: a part of {name} cannot be read; what it holds is not in the backup\n"));
    let kept = copied.kept.iter().map(|name| {
        format!("pigeon: {name} is missing in the store, or a part of it; the backup keeps the copy it had\n")
    });
    let lost = copied.lost.iter().map(|number| {
        format!("pigeon: segment {number} is missing in the store, and there is no copy of it; its messages are lost\n")
    });
    let count = copied.unreadable.len() + copied.kept.len() + copied.lost.len();
    let mut text: String = lost.chain(unreadable).chain(kept).take(LOST_TOLD_MAX).collect();
    if count > LOST_TOLD_MAX {
        text.push_str(&format!("pigeon: and {} more\n", count - LOST_TOLD_MAX));
    }
    if count > 0 {
        text.push_str(
            "    remedy: `pigeon verify` names the messages; `pigeon restore --to` brings back elsewhere what the backup has\n",
        );
    }
    text
}

/// Restores into a temporary place beside the data, and looks whether everything is there.
pub(super) fn check(config: Option<&Path>, target: &Path) -> Result<(), Failure> {
    let config = file::load(&file::of_verb(config))?.config;
    let (from, manifest) = newest(target)?;
    let place = beside(&config.data, ".checking");
    create_folder(&place)?;
    // A link is not followed: all that is in the place goes.
    let taken = fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY).open(&place);
    let taken = taken.map_err(|error| Failure::Failed(format!("{}: {error}", place.display())))?;
    if rustix::fs::flock(&taken, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(Failure::TryLater(format!("another pigeon checks a backup in {}", place.display())));
    }
    empty(&place)?;
    must_fit(&place, manifest.bytes().saturating_add(config.store.reserve_bytes))
        .inspect_err(|_| drop(remove_ours(&place)))?;
    let outcome = check_in(&config, &place, (&from, &manifest), target);
    let removed = remove_ours(&place);
    outcome?;
    removed?;
    say(&format!(
        "{}: backup {} is good, {} in {} files\n",
        target.display(),
        manifest.number,
        human_bytes(manifest.bytes()),
        manifest.files.len()
    ))
}

fn check_in(
    config: &Config,
    place: &Path,
    (from, manifest): (&RealDisk, &Manifest),
    target: &Path,
) -> Result<(), Failure> {
    let mut bar = Bar::new("restoring for a look");
    backup::restore(from, manifest, &disk(place)?, &mut |done, total| bar.at(done, total))
        .map_err(|error| told(&error, target))?;
    drop(bar);
    let world = World::open(&Config { data: place.to_owned(), ..config.clone() })?;
    let (damage, count) = world.store.damage();
    let damage = damage.first().map(|first| format!("{first} ({count} in all)"));
    let sequence = smol::future::block_on(world.store.stats()).map(|stats| stats.sequence);
    let mut bar = Bar::new("reading");
    let verified = smol::future::block_on(world.store.verify(&mut |progress| bar.at(progress.done, progress.total)));
    drop(bar);
    world.close();
    let bad = |why: String| Failure::Failed(format!("{}: the backup is damaged: {why}", target.display()));
    if let Some(damage) = damage {
        return Err(bad(damage));
    }
    match verified.map(|verified| (verified.faults_total, verified.faults)) {
        Ok((0, _)) => {}
        Ok((total, faults)) => {
            let first = faults.first().map(ToString::to_string).unwrap_or_default();
            return Err(bad(format!("{first} ({total} in all)")));
        }
        Err(refusal) => return Err(bad(format!("it cannot be read: {refusal:?}"))),
    }
    match sequence {
        // A backup that a version before made of a store that nobody had open does not know how far it went.
        Ok(sequence) if sequence == manifest.batch.0 || manifest.batch.0 == 0 => Ok(()),
        Ok(sequence) => Err(bad(format!("it ends with batch {sequence} instead of {}", manifest.batch.0))),
        Err(refusal) => Err(bad(format!("its index cannot be read: {refusal:?}"))),
    }
}

/// What to restore.
pub(super) struct Wanted<'a> {
    pub(super) source: &'a Path,
    /// The data directory to make; the configuration's, if none.
    pub(super) to: Option<&'a Path>,
    /// What is whole of a damaged backup is wanted.
    pub(super) damaged: bool,
}

pub(super) fn restore(config: Option<&Path>, wanted: &Wanted<'_>) -> Result<(), Failure> {
    let config = match wanted.to {
        Some(data) => Config { data: file::absolute(data), ..Config::new("localhost") },
        None => file::load(&file::of_verb(config))?.config,
    };
    let (data, source) = (&config.data, wanted.source);
    let failed = |error: io::Error| Failure::Failed(format!("{}: {error}", data.display()));
    if data.exists() && !data.is_dir() {
        return Err(Failure::Failed(format!("{} is no folder\n    remedy: name another place", data.display())));
    }
    if connect(data)?.is_some() {
        return Err(Failure::TryLater(format!(
            "a server runs on {}\n    remedy: stop it, and put its data aside",
            data.display()
        )));
    }
    if file::absolute(data).starts_with(file::absolute(source)) {
        return Err(Failure::Usage(format!("{} lies inside the backup; name a folder elsewhere", data.display())));
    }
    let (from, manifest) = newest(source)?;
    let is_new = !data.exists();
    create_folder(data)?;
    let (ask, asked) = channel::<(String, Sender<io::Result<Arc<dyn DiskFile>>>)>();
    let open = move |name: &str| {
        let (tell, told) = channel();
        let gone = || io::Error::other("the restore has ended");
        ask.send((name.to_owned(), tell)).map_err(|_| gone())?;
        told.recv().map_err(|_| gone())?
    };
    let filled = std::thread::scope(|scope| {
        // Root may read the backup; all that is done to the data is done by whose they are, whatever lies there.
        let filling = scope.spawn(|| {
            // Dropped with the thread, which ends whoever opens.
            let open = open;
            become_owner(data)
                .map_err(|error| Failure::Failed(format!("cannot work as the owner of {}: {error}", data.display())))?;
            fill(&config, (&open, &manifest), wanted)
        });
        for (name, tell) in asked {
            drop(tell.send(from.open(&name)));
        }
        filling.join().unwrap_or_else(|_| Err(Failure::Failed("the restore came to no end".to_owned())))
    });
    if filled.is_err() && is_new {
        // If nothing is in it.
        drop(fs::remove_dir(data));
    }
    let (told, damaged, is_whole) = filled?;
    sync_parent(data).map_err(failed)?;
    say(&told)?;
    if damaged.is_empty() {
        return if is_whole { Ok(()) } else { Err(Failure::Told) };
    }
    let damaged: String = damaged.iter().map(|name| format!("damaged: {name} of the backup\n")).collect();
    say(&damaged)?;
    complain("what is damaged is not back: `pigeon verify` names the messages; back up again into an empty folder\n");
    Err(Failure::Told)
}

/// Fills a data directory; what is to be said of it, which files of the backup are damaged, and whether what they hold is whole.
fn fill(
    config: &Config,
    (open, manifest): (&backup::Open<'_>, &Manifest),
    wanted: &Wanted<'_>,
) -> Result<(String, Vec<String>, bool), Failure> {
    let data = &config.data;
    let is_again = backup::is_half_restored(&RealDisk::read_only(data)).unwrap_or(false);
    if !is_again {
        refuse_used(data)?;
        must_fit(data, manifest.bytes())?;
    }
    let to: Arc<dyn Disk> = Arc::new(disk(data)?);
    let restoring = Restoring::begin(&*to).map_err(|error| told(&error, data))?;
    if is_again {
        // What was cut short before took some of the room.
        must_fit(data, manifest.bytes())?;
    }
    let mut bar = Bar::new("restoring");
    let copied = restoring.copy((open, manifest), wanted.damaged, &mut |done, total| bar.at(done, total));
    drop(bar);
    let damaged = copied.map_err(|error| told(&error, wanted.source))?;
    let world = World::restore(config, (to.clone(), restoring.into_lock()))?;
    let mut text = lost(&world);
    let is_whole = text.is_empty();
    let stats = smol::future::block_on(world.store.stats());
    // All of it is durable; as long as the store is open nobody else is in it.
    let finished = backup::finish_restore(&*to).map_err(|error| told(&error, data));
    world.close();
    finished?;
    let (accounts, messages) = stats.map_or((0, 0), |stats| (stats.accounts, stats.messages));
    text.push_str(&format!("{}: restored, {accounts} accounts, {messages} messages\n", data.display()));
    Ok((text, damaged, is_whole))
}

/// What could not be had again, a line each.
pub(super) fn lost(world: &World) -> String {
    let (told, count) = world.store.lost();
    let mut text: String = told.iter().map(|what| format!("damaged: {what}\n")).collect();
    if count > told.len() as u64 {
        text.push_str(&format!("damaged: {} more\n", count - told.len() as u64));
    }
    text
}

/// Has the files of a store kept as they are, by the running server or by opening it ourselves.
fn hold(config: &Config) -> Result<(Held, Files), Failure> {
    if let Some(mut client) = connect(&config.data)? {
        return match ask(&mut client, &Request::Hold) {
            Ok(Answer::Held { sequence, crc, end, names, needed, mark }) => {
                Ok((Held::Server(client), Files { batch: (sequence, crc), end, names, needed, mark }))
            }
            Ok(other) => Err(failed(other)),
            Err(error) => Err(Failure::TryLater(format!("the server did not answer: {error}"))),
        };
    }
    if !super::manage::has_store(config)? {
        return Err(Failure::Failed(format!("there is no store in {}", config.data.display())));
    }
    let (told, tells) = channel();
    let (until, ends) = channel();
    let of = config.clone();
    let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || open_until(&of, &told, &ends));
    let thread = thread.map_err(|error| Failure::Failed(format!("cannot start a thread: {error}")))?;
    let opened = Opened(Some((until, thread)));
    let files = tells.recv().map_err(|_| Failure::Failed("opening the store came to no end".to_owned()))??;
    Ok((Held::Alone(opened), files))
}

/// Opens the store, tells what a backup is made of, and keeps it until nobody wants it any more. As its owner: root copies, but
/// what the store writes meanwhile must be the server's.
fn open_until(config: &Config, told: &Sender<Result<Files, Failure>>, ends: &Receiver<()>) {
    let opened = become_owner(&config.data)
        .map_err(|error| Failure::Failed(format!("cannot work as the owner of {}: {error}", config.data.display())))
        .and_then(|()| Ok(World::open(config)?));
    let world = match opened {
        Ok(world) => world,
        Err(failure) => return drop(told.send(Err(failure))),
    };
    match smol::future::block_on(world.store.hold()) {
        Ok(held) => {
            let (names, needed) = (held.names.clone(), held.needed.clone());
            let files = Files { batch: held.batch, end: held.end, names, needed, mark: held.mark.clone() };
            if told.send(Ok(files)).is_ok() {
                // Ends with an error, when the other end is gone.
                let _ = ends.recv();
            }
        }
        Err(refusal) => drop(told.send(Err(Failure::Failed(format!("the store cannot be held: {refusal:?}"))))),
    }
    world.close();
}

fn newest(folder: &Path) -> Result<(RealDisk, Manifest), Failure> {
    if !folder.is_dir() {
        return Err(Failure::Failed(format!(
            "{}: there is no such folder\n    remedy: name the folder that `pigeon backup` wrote; is the stick mounted?",
            folder.display()
        )));
    }
    // A stick may be mounted for reading alone.
    let disk = RealDisk::read_only(folder);
    let manifest = backup::newest(&disk).map_err(|error| told(&error, folder))?;
    Ok((disk, manifest))
}

fn disk(folder: &Path) -> Result<RealDisk, Failure> {
    RealDisk::new(folder).map_err(|error| Failure::Failed(format!("{}: {error}", folder.display())))
}

fn told(error: &BackupError, folder: &Path) -> Failure {
    let remedy = match error {
        BackupError::NotOurs(_) => "\n    remedy: name an empty folder, or one that a backup is in",
        BackupError::Nothing => "\n    remedy: name the folder that `pigeon backup` wrote",
        BackupError::OtherStore => {
            "\n    remedy: name another folder; this one is left as it is, and `pigeon restore` brings back what is in it"
        }
        BackupError::Later(..) | BackupError::Forked(..) => {
            "\n    remedy: name another folder; this one is left as it is, and `pigeon restore --to` brings back elsewhere \
             what is missing here"
        }
        BackupError::NoRoom(..) => "\n    remedy: make room, or take a larger one",
        BackupError::Damaged(name) if name.starts_with("MANIFEST") => {
            "\n    remedy: take another copy; back up again into an empty folder"
        }
        BackupError::Damaged(_) => {
            "\n    remedy: take another copy; `pigeon restore --damaged` brings back what is whole of this one"
        }
        BackupError::NotEmpty(_) => "\n    remedy: put it aside, or name another place with --to",
        BackupError::Busy => "\n    remedy: wait until it is ready, and try again",
        BackupError::Backup(_, error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "\n    remedy: run the command as root or as the folder's owner"
        }
        BackupError::Backup(..) => "\n    what was complete before still is",
        BackupError::Store(..) | BackupError::Strange(_) => "",
    };
    Failure::Failed(format!("{}: {error}{remedy}", folder.display()))
}

/// What a new file system has in it.
const LOST_AND_FOUND: &str = "lost+found";

/// Refuses what the disk has no room for.
fn must_fit(place: &Path, bytes: u64) -> Result<(), Failure> {
    match RealDisk::read_only(place).free_bytes() {
        Ok(free) if free < bytes => Err(Failure::Failed(format!(
            "{} has {} free and {} are needed\n    remedy: make room there",
            place.display(),
            human_bytes(free),
            human_bytes(bytes)
        ))),
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// Removes what an attempt that broke off left in a folder.
fn empty(place: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("cannot empty {}: {error}", place.display()));
    for entry in fs::read_dir(place).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_folder = entry.file_type().map_err(failed)?.is_dir();
        if is_folder { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }.map_err(failed)?;
    }
    Ok(())
}

/// Removes a folder and all that is in it.
fn remove_ours(place: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::Failed(format!("cannot remove {}: {error}", place.display())))
        }
        _ => Ok(()),
    }
}

/// Refuses a data directory with anything in it, but for what a restore that was cut at its first step leaves.
fn refuse_used(data: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("{}: {error}", data.display()));
    let is_empty = |folder: &Path| fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    match fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(entries) => match entries.flatten().map(|entry| entry.file_name()).find(|name| {
            let is_ours = ["lock", "restoring.tmp", LOST_AND_FOUND].iter().any(|ours| name == ours);
            let is_empty_folder =
                ["log", "snapshots", "tls"].iter().any(|ours| name == ours) && is_empty(&data.join(name));
            !is_ours && !is_empty_folder
        }) {
            Some(_) => Err(Failure::Failed(format!(
                "{} is not empty\n    remedy: put it aside, or name another place with --to",
                data.display()
            ))),
            None => Ok(()),
        },
    }
}

/// A backup inside the data would be in the next backup.
fn refuse_inside(data: &Path, target: &Path) -> Result<(), Failure> {
    if file::absolute(target).starts_with(file::absolute(data)) {
        return Err(Failure::Usage(format!("{} lies inside the data; name a folder elsewhere", target.display())));
    }
    Ok(())
}

/// Refuses, or warns of, a backup on the disk that it is to outlive.
fn look_where(data: &Path, target: &Path, refuses: bool) -> Result<(), Failure> {
    // What is not there yet is made on the disk of the folder above.
    let device = |path: &Path| {
        file::absolute(path).ancestors().find_map(|folder| fs::metadata(folder).ok()).map(|facts| facts.dev())
    };
    if !fs::metadata(data).is_ok_and(|facts| device(target) == Some(facts.dev())) {
        return Ok(());
    }
    let same = format!("{} is on the disk that the data is on", target.display());
    if refuses {
        return Err(Failure::Failed(format!(
            "{same}, and nothing is written\n    remedy: mount the stick or disk that the backup belongs on; without \
             --other-disk it is made here"
        )));
    }
    complain(&format!("pigeon: warning: {same}: it goes when that disk does. Is another one to be mounted there?\n"));
    Ok(())
}

fn sync_parent(data: &Path) -> io::Result<()> {
    sync(&file::folder(data))
}
