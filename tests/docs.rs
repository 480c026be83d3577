//! The man pages and completions know every verb, every option and every key, and what reads them understands them.

#![allow(clippy::expect_used, reason = "a test that cannot go on says so")]

#[path = "../cross/docs/pages.rs"]
mod pages;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_else(|error| format!("{name}: {error}"))
}

/// Every command with its path of names, `pigeon` first.
fn commands(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
    found.push((path.to_owned(), command.clone()));
    for verb in command.get_subcommands() {
        commands(verb, &format!("{path}-{}", verb.get_name()), found);
    }
}

#[test]
fn every_verb_has_a_page_with_every_option_and_the_completions_know_them() {
    let folder = tempfile::tempdir().expect("a folder");
    pages::write(folder.path()).expect("the pages are written");
    let mut all = Vec::new();
    commands(&pigeon::cli::command(), "pigeon", &mut all);
    assert!(all.len() > 20, "{}", all.len());
    let shells = ["bash/pigeon", "zsh/_pigeon", "fish/pigeon.fish"].map(|name| read(folder.path(), name));
    for (name, command) in &all {
        let page = read(folder.path(), &format!("man1/{name}.1"));
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(page.contains(&about.replace('-', "\\-").replace('\'', "\\*(Aq")), "{name}: {page}");
        for argument in command.get_arguments() {
            let option = argument.get_long().map(|long| long.replace('-', "\\-"));
            let value = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
            let word = option.or(value).expect("a name");
            assert!(page.contains(&word), "{name}: {word}");
        }
        if command.get_after_help().is_some_and(|help| help.to_string().contains("Example")) {
            assert!(page.contains(".SH \"EXAMPLES\"\n.nf\n"), "{name}: {page}");
        }
        for shell in &shells {
            assert!(shell.contains(command.get_name()), "{name}: {shell}");
        }
    }
    let pages = fs::read_dir(folder.path().join("man1")).expect("a folder").count();
    assert_eq!(pages, all.len(), "no page is of a verb that is gone");
    assert!(read(folder.path(), "man1/pigeon.1").contains(".SH \"EXIT STATUS\"\n.nf\n0 done, 1 failed"));
}

#[test]
fn the_page_of_the_configuration_has_every_key_with_its_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    pages::write(folder.path()).expect("the pages are written");
    let page = read(folder.path(), "man5/pigeon.toml.5");
    let (mut above, mut keys) = ("", BTreeSet::new());
    for line in pages::CONFIGURATION.lines() {
        let plain = line.trim_start_matches("# ");
        if let Some((key, value)) = plain.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
            let start = format!("\\fB{key}\\fR = {}", pages::escaped(value));
            let (_, after) = page.split_once(&start).expect("the key");
            assert!(after.lines().take(8).any(|line| line == pages::escaped(above)), "{key}: {above}");
            keys.insert(key);
        }
        above = plain;
    }
    assert!(keys.len() > 20, "{keys:?}");
}

/// Runs a program that judges; where it is not installed nobody judges.
fn judged(program: &str, arguments: &[&str], file: &Path) {
    let run = Command::new(program).args(arguments).arg(file).stdin(Stdio::null()).output();
    if let Ok(output) = run {
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && told.is_empty(), "{program} {}: {told}", file.display());
    }
}

#[test]
fn what_reads_them_understands_them() {
    let folder = tempfile::tempdir().expect("a folder");
    pages::write(folder.path()).expect("the pages are written");
    for section in ["man1", "man5"] {
        for entry in fs::read_dir(folder.path().join(section)).expect("a folder") {
            judged("groff", &["-man", "-Tutf8", "-ww", "-z"], &entry.expect("an entry").path());
        }
    }
    judged("bash", &["-n"], &folder.path().join("bash/pigeon"));
    judged("zsh", &["-n"], &folder.path().join("zsh/_pigeon"));
    judged("fish", &["-n"], &folder.path().join("fish/pigeon.fish"));
}

#[test]
fn the_same_source_gives_the_same_octets() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    for folder in &folders {
        pages::write(folder.path()).expect("the pages are written");
    }
    let [first, second] = folders;
    for name in ["man1/pigeon.1", "man1/pigeon-user-add.1", "man5/pigeon.toml.5", "bash/pigeon", "zsh/_pigeon"] {
        assert_eq!(read(first.path(), name), read(second.path(), name));
    }
}
