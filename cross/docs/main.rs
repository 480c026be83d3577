//! Writes the man pages and shell completions: `cargo run --example docs -- DIR`. A build task, so that the program does not
//! carry them.

mod pages;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: docs DIR");
        return ExitCode::from(2);
    };
    match pages::write(folder.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("docs: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
