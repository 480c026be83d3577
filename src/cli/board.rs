//! `board` and `update`: what an image for a board calls.

use super::board_args::{BoardOrder, UpdateArgs};
use super::output::{Failure, complain, say};
use crate::accounts::weakness;
use crate::base::replace_file;
use crate::board::{
    Folders, GrowError, NewAccount, Outcome, Plan, Release, ReleaseError, Running, Slot, Supervision, answer_for_name,
    apply, blank, grow, healthy, is_version, judge, keep_clock, machine_memory, newest, open, tell_addresses,
    told_name, verify, wants_restore,
};
use crate::config::{Listen, Restore, Service, human_bytes};
use crate::serve::{self, Answer, Asked, Password, Request, become_owner, create_folder};
use crate::store::{RealDisk, backup};
use crate::tls::{Source, Tls};
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

pub(super) fn run(config: Option<&Path>, order: BoardOrder) -> Result<(), Failure> {
    match order {
        BoardOrder::FirstBoot { boot, data, keep, settings, memory, hold, system, slot } => {
            let running = running_system(&system, slot.as_deref())?;
            let plan = Plan::read(&Folders { boot, data, keep }, memory.unwrap_or_else(machine_memory), &running, hold);
            first_boot(plan, &settings, hold)
        }
        BoardOrder::WantsRestore { boot } => say(match wants_restore(&boot) {
            Restore::Yes => "yes\n",
            Restore::Unclear => "unclear\n",
            Restore::No => "no\n",
        }),
        BoardOrder::Name { boot } => say(&format!("{}\n", told_name(&boot))),
        BoardOrder::Blank { boot } => match blank(&boot) {
            Ok(None) => Ok(()),
            Ok(Some(octets)) => say(&format!("the free space of the card is overwritten: {}\n", human_bytes(octets))),
            Err(error) => {
                Err(Failure::Failed(format!("cannot overwrite the free space of {}: {error}", boot.display())))
            }
        },
        BoardOrder::Report { boot, name, addresses, .. } => tell_addresses(&boot, name.as_deref(), &addresses)
            .map_err(|error| Failure::Failed(format!("cannot write the report in {}: {error}", boot.display()))),
        BoardOrder::Grow { disk, partition, mount } => {
            let failed = |error: GrowError| Failure::Failed(format!("{}: {error}", disk.display()));
            let grown = grow(&disk, partition, &mount).map_err(failed)?;
            let what = if grown.partition || grown.files { "grown to" } else { "has all there is:" };
            say(&format!("{} partition {partition}: {what} {}\n", disk.display(), human_bytes(grown.bytes)))
        }
        BoardOrder::Mdns { name, interface } => {
            serve::start_log();
            let services = config.map_or_else(Vec::new, served);
            // Whoever reads it may have gone.
            let mut taken = |name: &str| drop(say(&format!("{name}\n")));
            answer_for_name(&name, &services, interface.as_deref(), &mut taken)
                .map_err(|error| Failure::Failed(format!("cannot answer for {name}.local: {error}")))
        }
        BoardOrder::Clock { servers } => {
            serve::start_log();
            let mut is_right = || drop(say("right\n"));
            keep_clock(&servers, &mut is_right)
                .map_err(|error| Failure::Failed(format!("cannot set the clock: {error}")))
        }
        BoardOrder::Supervise { silence, folder, command } => {
            serve::start_log();
            let supervision = Supervision {
                socket: folder.join("notify"),
                ready: folder.join("ready"),
                pid: folder.join("serve.pid"),
                silence: Duration::from_secs(silence),
            };
            let ended = supervision
                .run(&command)
                .map_err(|error| Failure::Failed(format!("cannot run the server: {error}")))?;
            if ended.success() { Ok(()) } else { Err(Failure::Failed(format!("the server ended: {ended}"))) }
        }
        BoardOrder::Healthy { boot, slot } => {
            let slot = running(slot.as_deref())?;
            let told = healthy(&boot, slot)
                .map_err(|error| Failure::Failed(format!("cannot write to {}: {error}", boot.display())))?;
            say(&told.map(|words| format!("{words}\n")).unwrap_or_default())
        }
    }
}

pub(super) fn update(args: &UpdateArgs) -> Result<(), Failure> {
    let key_file = args.key.clone().unwrap_or_else(|| args.system.join("pigeon/release.pub"));
    let key = std::fs::read_to_string(&key_file).map_err(|error| {
        let words = format!("cannot read the release key {}: {error}", key_file.display());
        Failure::Failed(format!("{words}\n    remedy: name the key that signed the release, with --key"))
    })?;
    if !args.newest.is_empty() {
        return tell_newest(args, &key);
    }
    let Some(path) = args.apply.as_ref().or(args.check.as_ref()) else {
        return Err(Failure::Usage("--check, --apply or --newest names the release file".to_owned()));
    };
    let refused = |error: ReleaseError| {
        let words = format!("{}: {error}\n    remedy: {}", path.display(), error.remedy());
        match error {
            // Of the moment, not of the release.
            ReleaseError::OnTrial | ReleaseError::Io(_) => Failure::TryLater(words),
            _ => Failure::Failed(words),
        }
    };
    let (mut file, release) = open_file(path, &key).map_err(refused)?;
    let what = format!("pigeon {} for {}, {}", release.version, release.board, human_bytes(release.bytes));
    if args.apply.is_none() {
        verify(&mut file, &release).map_err(refused)?;
        return say(&format!("{what}\nsigned: {}\n", release.comment));
    }
    let slot = running(args.slot.as_deref())?;
    judge(&release, &system(args, BOARD)?, &system(args, VERSION)?, args.allow_older).map_err(refused)?;
    apply(&args.boot, slot, &mut file, &release).map_err(refused)?;
    say(&format!(
        "{what}: in slot {}\nThe next start tries it, and falls back to this system if it does not come up.\n",
        slot.other()
    ))
}

/// Where a running system says which board and version it is.
const BOARD: &str = "pigeon-board";
const VERSION: &str = "pigeon-version";

fn system(args: &UpdateArgs, name: &str) -> Result<String, Failure> {
    let path = args.system.join(name);
    let text = std::fs::read_to_string(&path);
    text.map(|text| text.trim().to_owned()).map_err(|error| {
        let words = format!("this is no image for a board: cannot read {}: {error}", path.display());
        Failure::Failed(format!("{words}\n    remedy: install the package of the new version instead"))
    })
}

fn open_file(path: &Path, key: &str) -> Result<(BufReader<std::fs::File>, Release), ReleaseError> {
    // To open a pipe would wait for who writes to it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(ReleaseError::NotARelease);
    }
    let mut file = BufReader::new(std::fs::File::open(path)?);
    let release = open(&mut file, key)?;
    Ok((file, release))
}

/// Of several, the one to apply; why others cannot be, a line each on stderr. One that is no later is no mistake.
fn tell_newest(args: &UpdateArgs, key: &str) -> Result<(), Failure> {
    let (board, version) = (system(args, BOARD)?, system(args, VERSION)?);
    if !is_version(&version) {
        let remedy = "write an image whose version is three numbers onto the card, or apply a release by --apply";
        complain(&format!("pigeon: this system's version {version} cannot be compared with a release's; {remedy}\n"));
    }
    let (mut paths, mut releases) = (Vec::new(), Vec::new());
    for path in &args.newest {
        match open_file(path, key).and_then(|(_, release)| judge(&release, &board, &version, true).map(|()| release)) {
            Ok(release) => {
                paths.push(path);
                releases.push(release);
            }
            Err(error) => complain(&format!("pigeon: {}: {error}; {}\n", path.display(), error.remedy())),
        }
    }
    let found = newest(&releases, &version).and_then(|at| paths.get(at));
    say(&found.map(|path| format!("{}\n", path.display())).unwrap_or_default())
}

/// What the server of this configuration serves; of one that cannot be used, nothing.
fn served(file: &Path) -> Vec<(&'static str, u16)> {
    match super::file::load(file) {
        Ok(parsed) => services(&parsed.config.listen),
        Err(_) => {
            log::warn!("the name alone is told, and no service: the configuration cannot be used");
            Vec::new()
        }
    }
}

/// What mail programs look for (RFC 6186 section 3.2 and RFC 8314 section 5.1), where other machines reach it.
fn services(listen: &Listen) -> Vec<(&'static str, u16)> {
    const KINDS: [(Service, &str); 3] =
        [(Service::Imaps, "_imaps"), (Service::Pop3s, "_pop3s"), (Service::Submissions, "_submissions")];
    let reached = |service| listen.of(service).iter().find(|address| !address.ip().is_loopback());
    KINDS.into_iter().filter_map(|(service, kind)| Some((kind, reached(service)?.port()))).collect()
}

/// The slot that runs, as told or as the kernel was told.
fn running(slot: Option<&str>) -> Result<Slot, Failure> {
    match slot {
        Some(slot) => Slot::parse(slot).ok_or_else(|| Failure::Usage(format!("a slot is a or b, not {slot}"))),
        None => Slot::running().ok_or_else(|| {
            let words = "this system was not booted from a slot (no pigeon.slot= in /proc/cmdline)\n    \
                         remedy: write the image onto the card again, or name the slot with --slot";
            Failure::Failed(words.to_owned())
        }),
    }
}

/// The running system, as its folder, and the kernel's command line or `slot`, tell.
fn running_system(folder: &Path, slot: Option<&str>) -> Result<Running, Failure> {
    let version = std::fs::read_to_string(folder.join(VERSION)).map(|text| text.trim().to_owned());
    let version = version.unwrap_or_else(|_| env!("CARGO_PKG_VERSION").to_owned());
    let slot = slot.map(|slot| running(Some(slot))).transpose()?;
    Ok(Running { version, slot: slot.or_else(Slot::running) })
}

/// Whatever fails here is told in the report: the board has to come up.
fn first_boot(mut plan: Plan, settings: &Path, is_held: bool) -> Result<(), Failure> {
    const AGAIN: &str = "start the board again with the stick in it, or write the image onto the card again";
    const DISK: &str = "`pigeon check` tells more; the data partition may be damaged or full";
    let mut failures = Vec::new();
    if let Some(folder) = settings.parent() {
        drop(std::fs::create_dir_all(folder));
    }
    if let Err(error) = replace_file(settings, plan.settings().as_bytes(), 0o600) {
        failures.push((format!("cannot write {}: {error}", settings.display()), "start the board again".to_owned()));
    }
    if let Err(error) = plan.keep() {
        failures.push((format!("what the card says cannot be kept: {error}"), DISK.to_owned()));
    }
    if plan.data().is_some_and(is_half_restored) {
        failures.push(("the restore was cut short: no mail is taken or given out".to_owned(), AGAIN.to_owned()));
    }
    let worked = std::thread::scope(|scope| scope.spawn(|| as_owner(&mut plan, is_held)).join());
    let (accounts, domains) = match worked {
        Ok(Ok(outcomes)) => outcomes,
        Ok(Err(why)) => {
            failures.push((why, DISK.to_owned()));
            Default::default()
        }
        Err(_) => {
            failures.push(("the accounts could not be made".to_owned(), DISK.to_owned()));
            Default::default()
        }
    };
    say(&plan.finish(accounts, domains, failures))
}

fn is_half_restored(data: &Path) -> bool {
    backup::is_half_restored(&RealDisk::read_only(data)).unwrap_or(false)
}

/// As the server loads it.
fn examine(certificate: &Path, key: &Path) -> Result<(), (String, String)> {
    let files = Source::Files { certificate: certificate.to_owned(), key: key.to_owned() };
    Tls::open(files, 0).map(drop).map_err(|error| (error.to_string(), error.remedy()))
}

/// Everything below the data directory, by a thread that has become its owner: the server must be able to open all of it.
fn as_owner(plan: &mut Plan, is_held: bool) -> Result<(Vec<Outcome>, Vec<Outcome>), String> {
    // A restore wants an empty folder.
    let Some(data) = plan.data().map(Path::to_owned).filter(|_| !is_held) else {
        return Ok(Default::default());
    };
    let data = data.as_path();
    create_folder(data).map_err(|error| error.to_string())?;
    become_owner(data).map_err(|error| format!("cannot work as the owner of {}: {error}", data.display()))?;
    plan.configure(&examine).map_err(|error| format!("cannot write into {}: {error}", data.display()))?;
    let (accounts, domains) = (plan.accounts(), plan.domains());
    // Nobody opens what is no store yet.
    if is_half_restored(data) {
        return Ok(Default::default());
    }
    // Opening the store takes time that a start without orders need not take.
    if accounts.is_empty() && (domains.is_empty() || is_done(data, &domains)) {
        return Ok((Vec::new(), domains.iter().map(|_| Ok(String::new())).collect()));
    }
    let mut asked = Asked::find(plan.config()).map_err(|error| error.to_string())?;
    let known = match asked.ask(Request::DomainList) {
        Answer::Domains { domains } => domains,
        _ => Vec::new(),
    };
    let accounts = accounts.into_iter().map(|account| make(&mut asked, account)).collect();
    let domains: Vec<Outcome> = domains.into_iter().map(|domain| serve_domain(&mut asked, &known, domain)).collect();
    if domains.iter().all(Result::is_ok) {
        let text = plan.domains().join("\n");
        drop(replace_file(&data.join(DOMAINS), text.as_bytes(), 0o600));
    }
    Ok((accounts, domains))
}

/// The domains that were made last, so that the store need not be asked at every start.
const DOMAINS: &str = "board.domains";

fn is_done(data: &Path, domains: &[String]) -> bool {
    std::fs::read_to_string(data.join(DOMAINS)).is_ok_and(|text| text == domains.join("\n"))
}

fn make(asked: &mut Asked, account: NewAccount) -> Outcome {
    let NewAccount { address, password } = account;
    let remark =
        weakness(&password, &address).map(|weak| format!("; the password is weak: {weak}")).unwrap_or_default();
    let add = Request::UserAdd { address: address.clone(), password: Password(password.clone()) };
    let why = match asked.ask(add) {
        Answer::Done => return Ok(format!("added{remark}")),
        Answer::Failed { message } | Answer::TryLater { message } => message,
        _ => "the store answered something else".to_owned(),
    };
    // One that is there already is given this password; what else is wrong is told as it was told first.
    match asked.ask(Request::UserPassword { address, password: Password(password) }) {
        Answer::Done => Ok(format!("has its new password{remark}")),
        _ => Err(why),
    }
}

fn serve_domain(asked: &mut Asked, known: &[String], domain: String) -> Outcome {
    if known.iter().any(|one| one.eq_ignore_ascii_case(&domain)) {
        return Ok(String::new());
    }
    match asked.ask(Request::DomainAdd { domain }) {
        Answer::Done => Ok(String::new()),
        Answer::Failed { message } | Answer::TryLater { message } => Err(message),
        _ => Err("the store answered something else".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_off_or_on_loopback_is_not_announced_and_the_rest_where_it_listens() {
        let mut config = Config::new("mail.example.org");
        let all = [("_imaps", 993), ("_pop3s", 995), ("_submissions", 465)];
        assert_eq!(services(&config.listen), all);
        config.listen.set(Service::Imaps, vec!["127.0.0.1:993".parse().unwrap(), "[::]:1993".parse().unwrap()]);
        config.listen.set(Service::Pop3s, Vec::new());
        config.listen.set(Service::Submissions, vec!["[::1]:465".parse().unwrap()]);
        assert_eq!(services(&config.listen), [("_imaps", 1993)]);
    }
}
