//! The command line: a verb and its arguments to an exit code. 0 done, 1 failed, 2 wrong usage, 75 try again later.

mod archive;
mod args;
mod backup;
mod bar;
mod board;
mod board_args;
pub mod check;
mod export;
mod file;
mod import;
mod machine;
mod manage;
mod output;
mod password;
mod progress;
mod salvage;
mod sources;
mod status;
mod targets;
mod up;
mod verify;

use crate::serve;
use args::{Args, Verb};
use clap::{CommandFactory, Parser};
use output::Failure;
use std::process::ExitCode;

/// The shape of the command line, for what is written out of it: man pages and completions.
pub fn command() -> clap::Command {
    Args::command()
}

/// Reads the arguments, does what they say.
pub fn main() -> ExitCode {
    serve::tune_allocator();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(usage) => {
            // Help and version come this way too, and are no failure.
            drop(usage.print());
            return ExitCode::from(if usage.use_stderr() { 2 } else { 0 });
        }
    };
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(args: Args) -> Result<(), Failure> {
    let config = args.config.as_deref();
    match args.verb {
        Verb::Up => up::run(config),
        Verb::Serve => serve_as_configured(config),
        Verb::Check { json } => machine::check(config, json),
        Verb::Domain { order } => manage::domain(config, order),
        Verb::User { order } => manage::user(config, order),
        Verb::Alias { order } => manage::alias(config, order),
        Verb::Import { source, account, mailbox, from_start } => import::run(
            config,
            &import::What { source: &source, account: &account, mailbox: mailbox.as_deref(), from_start },
        ),
        Verb::Export { address, target, format, mailbox } => export::run(
            config,
            &export::What { account: &address, target: &target, format, mailbox: mailbox.as_deref() },
        ),
        Verb::Status { json } => status::run(config, json),
        Verb::Backup { folder, check: true, .. } => backup::check(config, &folder),
        Verb::Backup { folder, other_disk, .. } => backup::back_up(config, &folder, other_disk),
        Verb::Restore { folder, to, damaged } => {
            backup::restore(config, &backup::Wanted { source: &folder, to: to.as_deref(), damaged })
        }
        Verb::Salvage => salvage::run(config),
        Verb::Verify { json } => verify::run(config, json),
        Verb::Update(args) => board::update(&args),
        Verb::Board { order } => board::run(config, order),
    }
}

fn serve_as_configured(config: Option<&std::path::Path>) -> Result<(), Failure> {
    serve::start_log();
    let file = file::of_server(config);
    let parsed = file::load(&file)?;
    let setup = serve::Setup { config: parsed.config, file: Some(file::absolute(&file)) };
    let ready = |ready: &serve::Ready| {
        for (service, address) in &ready.services {
            log::info!("listening service={} address={address}", service.name());
        }
    };
    Ok(serve::run(setup, |_| Ok(()), ready)?)
}
