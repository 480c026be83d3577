//! `salvage`: the index is made anew from what is left, and what came back is told, and from what.

use super::backup::lost;
use super::output::{Failure, say};
use crate::delivery;
use crate::serve::{World, connect};
use crate::store::{Refusal, Source, Store};
use std::fs;
use std::path::Path;

/// Accounts asked for at a time.
const ACCOUNTS_STEP: usize = 100;
/// Made-up names told one by one.
const MADE_UP_TOLD: usize = 100;

pub(super) fn run(config: Option<&Path>) -> Result<(), Failure> {
    let config = super::manage::configuration(config)?;
    if !super::manage::has_store(&config)? {
        return Err(Failure::Failed(format!("there is no store in {}", config.data.display())));
    }
    if connect(&config.data)?.is_some() {
        return Err(Failure::TryLater(format!(
            "a server runs on {}\n    remedy: stop it first",
            config.data.display()
        )));
    }
    if !has_log(&config.data) {
        return Err(Failure::Failed(format!(
            "{}: nothing is left of the log, from which an index is made; it stays as it is\n    remedy: `pigeon restore` has a backup's",
            config.data.display()
        )));
    }
    let world = World::salvage(&config)?;
    let lost = lost(&world);
    let told = smol::future::block_on(salvaged(&world.store));
    let stats = smol::future::block_on(world.store.stats());
    world.close();
    say(&lost)?;
    say(&told.unwrap_or_else(|refusal| format!("what came back cannot be read: {refusal:?}\n")))?;
    let (accounts, messages) = stats.map_or((0, 0), |stats| (stats.accounts, stats.messages));
    say(&format!(
        "{}: the index is made anew, {accounts} accounts, {messages} messages; the old one is kept beside\n",
        config.data.display()
    ))?;
    if lost.is_empty() { Ok(()) } else { Err(Failure::Told) }
}

/// Whether there is a segment of the log, or a snapshot.
fn has_log(data: &Path) -> bool {
    let has_file = |folder: &str| fs::read_dir(data.join(folder)).is_ok_and(|mut entries| entries.next().is_some());
    has_file("log") || has_file("snapshots")
}

/// What the mail came back from, and which names are made up.
async fn salvaged(store: &Store) -> Result<String, Refusal> {
    let mut text = match store.source() {
        Some(from @ Source::Snapshot(_)) => format!("made from {from}\n"),
        Some(from @ Source::Log) => format!(
            "made from {from}, since no snapshot is whole: flags may be old, and what was deleted may be back where the log \
             is damaged\n"
        ),
        None => String::new(),
    };
    let summarized = delivery::summarize(store).await?;
    if summarized > 0 {
        text.push_str(&format!("{summarized} messages were read to know their structure again\n"));
    }
    let (mut made_up, mut untold, mut after) = (Vec::new(), 0u64, None);
    loop {
        let accounts = store.accounts(after, ACCOUNTS_STEP).await?;
        let Some(last) = accounts.last() else {
            break;
        };
        after = Some(last.id);
        for account in accounts {
            for mailbox in store.mailboxes(account.id).await? {
                if !account.is_made_up() && !mailbox.is_made_up() {
                    continue;
                }
                match made_up.len() < MADE_UP_TOLD {
                    true => {
                        made_up.push(format!("{} {:?}: {} messages", account.address, mailbox.name, mailbox.exists))
                    }
                    false => untold += 1,
                }
            }
        }
    }
    made_up.iter().for_each(|line| text.push_str(&format!("name lost: {line}\n")));
    if untold > 0 {
        text.push_str(&format!("name lost: {untold} more mailboxes\n"));
    }
    if !made_up.is_empty() {
        text.push_str(
            "    remedy: give such an account a password (`pigeon user password`) and move its mail with a mail program, \
             or rename the mailbox\n",
        );
    }
    Ok(text)
}
