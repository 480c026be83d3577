//! The shape of the command line, and its help.

use super::board_args::{BoardOrder, UpdateArgs};
use clap::{Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A mail server for a board: SMTP, IMAP and POP3 in a few MiB.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
pub(super) struct Args {
    /// The configuration [default: ./pigeon-data/pigeon.toml if it is there, else /etc/pigeon/pigeon.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(super) verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  pigeon up                                    try it: a server in ./pigeon-data
  pigeon check                                 look at the configuration and this machine
  pigeon user add alice@example.org            add an account; asks for its password
  pigeon serve --config /etc/pigeon/pigeon.toml

Exit codes: 0 done, 1 failed, 2 wrong usage, 75 try again later.";

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Set up everything in ./pigeon-data, print settings for a mail program, and serve
    #[command(after_help = "\
Makes ./pigeon-data with a configuration, a local certificate authority and the account
me@localhost, prints its password and what to type into a mail program, and serves on this machine
alone, on ports that need no privileges. A second `pigeon up` keeps everything. Stop it with
Ctrl-C.

Examples:
  pigeon up
  pigeon user add you@localhost                in another terminal")]
    Up,

    /// Serve as configured, in the foreground
    #[command(after_help = "\
Reads /etc/pigeon/pigeon.toml unless --config names another file; creates the data directory and
an empty store if there is none. SIGHUP reads certificate and configuration again, SIGTERM ends
within 5 seconds.

Examples:
  pigeon serve
  pigeon serve --config ./pigeon-data/pigeon.toml")]
    Serve,

    /// Look for problems in the configuration and on this machine, all at once
    #[command(after_help = "\
Every problem is told with its place and its remedy. The exit code is 1 if the server would not
start or not work; warnings alone leave it 0.

Examples:
  pigeon check
  pigeon check --config pigeon.toml --json")]
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Add, list or remove the domains that mail is taken for
    Domain {
        #[command(subcommand)]
        order: DomainOrder,
    },

    /// Add, list, change or remove accounts
    User {
        #[command(subcommand)]
        order: UserOrder,
    },

    /// Add, list or remove aliases: addresses whose mail goes to accounts
    Alias {
        #[command(subcommand)]
        order: AliasOrder,
    },

    /// Bring mail in from an mbox, a Maildir or a folder of .eml files
    #[command(after_help = "\
SOURCE is an mbox file, a Maildir with its subfolders, or a folder of .eml files or of mbox files,
with folders in it, which become mailboxes; what it is, is found out. Flags and dates come along;
lines get the ends that mail has (CRLF). Whoever runs this must be able to read SOURCE; nothing in
it is changed. After a cut, the same command goes on where it was, and nothing comes twice; once all
is in, --from-start alone brings the same once more.
Messages that cannot be taken are named and counted, and make the exit code 1.

Examples:
  pigeon import ~/Maildir --account alice@example.org
  pigeon import old.mbox --account alice@example.org --mailbox Archive/2020")]
    Import {
        /// The mbox, Maildir or folder
        #[arg(value_name = "SOURCE")]
        source: PathBuf,
        /// The account that the mail is for
        #[arg(long, value_name = "ADDRESS")]
        account: String,
        /// The mailbox for it, with those of its folders below [default: INBOX, and those of its folders beside]
        #[arg(long, value_name = "NAME")]
        mailbox: Option<String>,
        /// Forget how far an earlier run came: what it brought in comes again
        #[arg(long)]
        from_start: bool,
    },

    /// Write an account's mail into files that other programs read
    #[command(after_help = "\
Formats, all in the folder TARGET, which must be new, empty, or left by a run that was cut:
  maildir  Maildir++: INBOX in TARGET, other mailboxes in .NAME.NAME, keywords in dovecot-keywords
  mbox     mboxrd, a file NAME.mbox for each mailbox; flags in Status, X-Status and X-Keywords
  eml      a folder for each mailbox, with a file for each message; index.tsv has dates and flags
Lines end with LF in maildir and mbox, except in messages that have odd line ends of their own,
and with CRLF in eml. What is exported and imported again has the same mailboxes, flags, dates and
octets. After a cut, the same command goes on where it was.

Examples:
  pigeon export alice@example.org /mnt/usb/alice --format maildir
  pigeon export alice@example.org sent --format eml --mailbox Sent")]
    Export {
        /// The account
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// The folder to write
        #[arg(value_name = "TARGET")]
        target: PathBuf,
        /// The format
        #[arg(long, value_name = "FORMAT")]
        format: Format,
        /// This mailbox alone
        #[arg(long, value_name = "NAME")]
        mailbox: Option<String>,
    },

    /// Show what the server serves, holds and spends
    #[command(after_help = "\
Examples:
  pigeon status
  pigeon status --json | jq .server.memory.resident_bytes")]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Copy everything into a folder: mail, accounts, settings, the local certificate authority
    #[command(after_help = "\
The first backup into a folder copies everything, later ones only what is new. Mail goes on
arriving meanwhile. The backup counts when its last file is written and read back; one that breaks
off leaves the one before good. What is in the folder does not change later, so any program that
copies files can take it further. A folder on the disk that the data is on is warned of: it goes
when that disk does, and may be where a stick should be mounted.

Examples:
  pigeon backup /media/stick/mail
  pigeon backup --check /media/stick/mail      restore it beside the data, and look")]
    Backup {
        /// Where the backup is, or will be
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// Change nothing: restore the backup into a temporary place and see whether it is whole
        #[arg(long, conflicts_with = "other_disk")]
        check: bool,
        /// Refuse a folder on the disk that the data is on, as when a stick is not mounted
        #[arg(long)]
        other_disk: bool,
    },

    /// Make the data directory from a backup
    #[command(after_help = "\
The data directory must not exist yet, or be empty, and no server may run on it. What a restore
that was cut short left in it is removed first. Message numbers jump ahead, because mail programs
may have seen some that were given out after the backup.

Examples:
  pigeon restore /media/stick/mail
  pigeon restore /media/stick/mail --to ./pigeon-data")]
    Restore {
        /// Where the backup is
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
        /// The data directory to make [default: the one that the configuration names]
        #[arg(long, value_name = "FOLDER")]
        to: Option<PathBuf>,
        /// Of a damaged backup bring back what is whole, and name what is not
        #[arg(long)]
        damaged: bool,
    },

    /// Read everything that is kept, and name what is damaged
    #[command(after_help = "\
Every row of the index, every part of every body, the log and the snapshots are read and compared
with their checksums, while the server runs or not. The exit code is 1 if anything is damaged.

Examples:
  pigeon verify
  pigeon verify --json")]
    Verify {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },

    /// Make the index anew from what is on the disk, when it is damaged
    #[command(after_help = "\
`pigeon serve` does the same by itself when the index cannot be opened. Message numbers jump
ahead, because mail programs may have seen some that are lost. The old index is kept beside.

Example:
  pigeon salvage")]
    Salvage,

    /// Verify a signed release file, or write it into the other system slot of a board
    #[command(
        hide = true,
        after_help = "\
A release is verified whole before anything of it can be booted. The running system is never
written; if the new one does not come up healthy, the board falls back to it.

Examples:
  pigeon update --newest /media/stick/*.release
  pigeon update --check pigeon-0.2.0-arm64.release
  pigeon update --apply /media/stick/pigeon-0.2.0-arm64.release"
    )]
    Update(UpdateArgs),

    /// What an image for a board calls while it starts
    #[command(hide = true)]
    Board {
        #[command(subcommand)]
        order: BoardOrder,
    },
}

/// A format that mail is exported in.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    Maildir,
    Mbox,
    Eml,
}

#[derive(Debug, Subcommand)]
pub(super) enum DomainOrder {
    /// Take mail for a further domain
    #[command(after_help = "Example:\n  pigeon domain add example.org")]
    Add {
        /// The domain
        #[arg(value_name = "DOMAIN")]
        domain: String,
    },
    /// Print the domains that mail is taken for
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take no more mail for a domain; it must have neither accounts nor aliases
    #[command(after_help = "Example:\n  pigeon domain remove example.org")]
    Remove {
        /// The domain
        #[arg(value_name = "DOMAIN")]
        domain: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum UserOrder {
    /// Add an account, and its domain if that is new
    #[command(after_help = "\
Examples:
  pigeon user add alice@example.org
  printf '%s\\n' \"$PASSWORD\" | pigeon user add alice@example.org --password-stdin")]
    Add {
        /// The account's address, which is also its login name
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// Read the password from one line of standard input, instead of asking for it
        #[arg(long)]
        password_stdin: bool,
    },
    /// Print the accounts, with what they hold
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give an account a new password; its sessions end
    #[command(after_help = "\
Examples:
  pigeon user password alice@example.org
  printf '%s\\n' \"$PASSWORD\" | pigeon user password alice@example.org --password-stdin")]
    Password {
        /// The account's address
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// Read the password from one line of standard input, instead of asking for it
        #[arg(long)]
        password_stdin: bool,
    },
    /// Remove an account with all its mail
    #[command(after_help = "Example:\n  pigeon user remove alice@example.org")]
    Remove {
        /// The account's address
        #[arg(value_name = "ADDRESS")]
        address: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AliasOrder {
    /// Send the mail of an address to accounts
    #[command(after_help = "\
Examples:
  pigeon alias add team@example.org alice@example.org bob@example.org
  pigeon alias add @example.org alice@example.org          whatever else comes to the domain")]
    Add {
        /// NAME@DOMAIN, or @DOMAIN for whatever else comes to the domain
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// Where its mail goes
        #[arg(value_name = "TARGET", required = true)]
        targets: Vec<String>,
    },
    /// Print the aliases with their targets
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove an alias
    #[command(after_help = "Example:\n  pigeon alias remove team@example.org")]
    Remove {
        /// NAME@DOMAIN, or @DOMAIN
        #[arg(value_name = "ADDRESS")]
        address: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_shape_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_configuration_stands_before_or_after_the_verb() {
        for line in [
            ["pigeon", "--config", "a.toml", "domain", "list"],
            ["pigeon", "domain", "--config", "a.toml", "list"],
            ["pigeon", "domain", "list", "--config", "a.toml"],
        ] {
            assert_eq!(Args::parse_from(line).config, Some(PathBuf::from("a.toml")));
        }
    }

    #[test]
    fn help_lines_fit_a_terminal() {
        fn check(command: &mut clap::Command) {
            let help = command.render_long_help().to_string();
            assert!(help.lines().all(|line| line.chars().count() <= 110), "{help}");
            // What we broke into lines ourselves must not be broken again.
            let ours = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(ours.lines().all(|line| line.chars().count() <= 100), "{ours}");
            command.get_subcommands_mut().for_each(check);
        }
        check(&mut Args::command());
    }
}
