//! `domain`, `user` and `alias`: asked of the running server, or of the store where none runs.

use super::args::{AliasOrder, DomainOrder, UserOrder};
use super::file;
use super::output::{Failure, failed, say, say_json, table};
use super::password::new_password;
use crate::config::{Config, human_bytes};
use crate::serve::{Alias, Answer, Asked, Request, User, become_owner};
use serde::Serialize;
use std::path::Path;
use std::{fs, io};

pub(super) fn domain(config: Option<&Path>, order: DomainOrder) -> Result<(), Failure> {
    match order {
        DomainOrder::Add { domain } => change(config, Request::DomainAdd { domain }, "added"),
        DomainOrder::Remove { domain } => change(config, Request::DomainRemove { domain }, "removed"),
        DomainOrder::List { json } => {
            let domains = match reading(config)?.ask(Request::DomainList) {
                Answer::Domains { domains } => domains,
                other => return Err(failed(other)),
            };
            if json {
                #[derive(Serialize)]
                struct Domains {
                    domains: Vec<String>,
                }
                return say_json(&Domains { domains });
            }
            say(&domains.into_iter().map(|domain| domain + "\n").collect::<String>())
        }
    }
}

pub(super) fn user(config: Option<&Path>, order: UserOrder) -> Result<(), Failure> {
    match order {
        UserOrder::Add { address, password_stdin } => {
            let password = new_password(&address, password_stdin)?;
            change(config, Request::UserAdd { address, password }, "added")
        }
        UserOrder::Password { address, password_stdin } => {
            let password = new_password(&address, password_stdin)?;
            change(config, Request::UserPassword { address, password }, "changed")
        }
        UserOrder::Remove { address } => change(config, Request::UserRemove { address }, "removed"),
        UserOrder::List { json } => {
            let mut asked = reading(config)?;
            let mut users: Vec<User> = Vec::new();
            let mut after = None;
            loop {
                match asked.ask(Request::UserList { after }) {
                    Answer::Users { users: page, after: next } => {
                        users.extend(page);
                        after = next;
                    }
                    other => return Err(failed(other)),
                }
                if after.is_none() {
                    break;
                }
            }
            say_users(users, json)
        }
    }
}

pub(super) fn alias(config: Option<&Path>, order: AliasOrder) -> Result<(), Failure> {
    match order {
        AliasOrder::Add { address, targets } => change(config, Request::AliasAdd { address, targets }, "added"),
        AliasOrder::Remove { address } => change(config, Request::AliasRemove { address }, "removed"),
        AliasOrder::List { json } => {
            let mut asked = reading(config)?;
            let mut aliases: Vec<Alias> = Vec::new();
            let mut after = None;
            loop {
                match asked.ask(Request::AliasList { after }) {
                    Answer::Aliases { aliases: page, after: next } => {
                        aliases.extend(page);
                        after = next;
                    }
                    other => return Err(failed(other)),
                }
                if after.is_none() {
                    break;
                }
            }
            say_aliases(aliases, json)
        }
    }
}

fn say_users(users: Vec<User>, json: bool) -> Result<(), Failure> {
    if json {
        #[derive(Serialize)]
        struct Users {
            users: Vec<User>,
        }
        return say_json(&Users { users });
    }
    let row = |user: &User| {
        let messages = format!("{} messages", user.messages);
        vec![user.address.clone(), messages, human_bytes(user.bytes)]
    };
    say(&table(&users.iter().map(row).collect::<Vec<_>>()))
}

fn say_aliases(aliases: Vec<Alias>, json: bool) -> Result<(), Failure> {
    if json {
        #[derive(Serialize)]
        struct Aliases {
            aliases: Vec<Alias>,
        }
        return say_json(&Aliases { aliases });
    }
    let row = |alias: &Alias| vec![alias.address.clone(), alias.targets.join(" ")];
    say(&table(&aliases.iter().map(row).collect::<Vec<_>>()))
}

/// Asks for a change, and says that it was made.
fn change(config: Option<&Path>, request: Request, done: &str) -> Result<(), Failure> {
    let config = configuration(config)?;
    let name = match &request {
        Request::DomainAdd { domain } | Request::DomainRemove { domain } => domain.clone(),
        Request::UserAdd { address, .. }
        | Request::UserPassword { address, .. }
        | Request::UserRemove { address }
        | Request::AliasAdd { address, .. }
        | Request::AliasRemove { address } => address.clone(),
        Request::DomainList
        | Request::UserList { .. }
        | Request::AliasList { .. }
        | Request::Status
        | Request::Hold
        | Request::Verify
        | Request::Import(_)
        | Request::Export(_) => String::new(),
    };
    match Asked::find(&config)?.ask(request) {
        Answer::Done => say(&format!("{name}: {done}\n")),
        other => Err(failed(other)),
    }
}

/// Whether there is a store; an error when this user may not know.
pub(super) fn has_store(config: &Config) -> Result<bool, Failure> {
    let is_there = |name: &str| config.data.join(name).try_exists();
    let holds_some =
        |folder: &str| fs::read_dir(config.data.join(folder)).is_ok_and(|mut names| names.next().is_some());
    // A restore that was refused may have left a lock, and empty folders.
    let has_mail = || {
        Ok(is_there("lock")?
            && (is_there("index.redb")? || is_there("restoring")? || ["log", "snapshots"].into_iter().any(holds_some)))
    };
    has_mail().map_err(|error: io::Error| {
        let data = config.data.display();
        Failure::Failed(format!(
            "cannot look into {data}: {error}\n    remedy: run the command as root or as the user that Pigeon runs as"
        ))
    })
}

/// Whom to ask for a list; a list alone creates nothing.
pub(super) fn reading(config: Option<&Path>) -> Result<Asked, Failure> {
    let config = configuration(config)?;
    if !has_store(&config)? {
        let data = config.data.display();
        return Err(Failure::Failed(format!(
            "there is no store in {data} yet\n    remedy: `pigeon serve` and `pigeon user add` make one"
        )));
    }
    Ok(Asked::find(&config)?)
}

/// The configuration; from now on the process works as the owner of the data.
pub(super) fn configuration(config: Option<&Path>) -> Result<Config, Failure> {
    let config = file::load(&file::of_verb(config))?.config;
    become_owner(&config.data)
        .map_err(|error| Failure::Failed(format!("cannot work as the owner of {}: {error}", config.data.display())))?;
    Ok(config)
}
