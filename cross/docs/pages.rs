//! The man pages: one for the program, one for each verb and each of its orders, all out of the command line's own help; and
//! pigeon.toml(5) out of the comments of config/pigeon.toml. The completions for bash, zsh and fish. No dates and no paths in
//! any of them, so that the same source gives the same octets.

use clap::Command;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// The configuration with every key, its default, and a sentence for each.
pub(crate) const CONFIGURATION: &str = include_str!("../../config/pigeon.toml");

/// The completions: for which shell, in which folder, and what it calls the file.
const SHELLS: [(Shell, &str, &str); 3] =
    [(Shell::Bash, "bash", "pigeon"), (Shell::Zsh, "zsh", "_pigeon"), (Shell::Fish, "fish", "pigeon.fish")];

/// Writes all of it: `man1/`, `man5/`, `bash/`, `zsh/`, `fish/`.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    for name in ["man1", "man5", "bash", "zsh", "fish"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let mut program = pigeon::cli::command();
    for (shell, place, name) in SHELLS {
        let made = generate_to(shell, &mut program, "pigeon", folder.join(place))?;
        fs::rename(made, folder.join(place).join(name))?;
    }
    // The verb that prints help is help enough; a page for it says nothing.
    let mut program = pigeon::cli::command().disable_help_subcommand(true);
    program.build();
    page_of(&program, &folder.join("man1"), true)?;
    fs::write(folder.join("man5/pigeon.toml.5"), configuration_page(CONFIGURATION))
}

fn page_of(command: &Command, folder: &Path, is_program: bool) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or("pigeon").to_owned();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (more, examples) = after.split_once("Example").unwrap_or((&after, ""));
    // "Examples:" or "Example:", and what follows it.
    let (examples, rest) =
        examples.split_once('\n').map_or(("", ""), |(_, text)| text.split_once("\n\n").unwrap_or((text, "")));

    let man =
        Man::new(command.clone()).title(&name).manual("Pigeon").source(concat!("pigeon ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    verbatim(&mut page, None, more)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    verbatim(&mut page, Some("EXAMPLES"), examples)?;
    if is_program {
        verbatim(&mut page, Some("EXIT STATUS"), rest.trim_start_matches("Exit codes: "))?;
        verbatim(
            &mut page,
            Some("FILES"),
            "/etc/pigeon/pigeon.toml    the configuration\n/var/lib/pigeon            mail, accounts, and a certificate of its own",
        )?;
    }
    let others = if is_program { "pigeon.toml(5)" } else { "pigeon(1), pigeon.toml(5)" };
    verbatim(&mut page, Some("SEE ALSO"), others)?;
    fs::write(folder.join(format!("{name}.1")), page)?;
    command.get_subcommands().try_for_each(|verb| page_of(verb, folder, false))
}

/// Lines as they are.
fn verbatim(page: &mut Vec<u8>, heading: Option<&str>, text: &str) -> io::Result<()> {
    let text = text.trim_matches('\n');
    if text.is_empty() {
        return Ok(());
    }
    match heading {
        Some(heading) => writeln!(page, ".SH \"{heading}\"")?,
        None => writeln!(page, ".PP")?,
    }
    writeln!(page, ".nf")?;
    text.lines().try_for_each(|line| writeln!(page, "{}", escaped(line)))?;
    writeln!(page, ".fi")
}

/// A line of text for troff: nothing in it is taken for a request or an escape.
pub(crate) fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    // What troff would make typographic, and a reader wants to copy.
    let line = line.replace('\'', "\\(aq").replace('`', "\\(ga").replace('~', "\\(ti").replace('^', "\\(ha");
    if line.starts_with('.') { format!("\\&{line}") } else { line }
}

/// A line of the configuration.
enum ConfigLine<'t> {
    Section(&'t str),
    /// A key with its default; without one when it stands in a comment.
    Key {
        key: &'t str,
        value: &'t str,
        has_default: bool,
    },
    Sentence(&'t str),
    Empty,
}

fn config_line(line: &str) -> ConfigLine<'_> {
    let plain = line.strip_prefix("# ").unwrap_or(line);
    if let Some(name) = plain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return ConfigLine::Section(name);
    }
    match plain.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
        Some((key, value)) => ConfigLine::Key { key, value, has_default: plain == line },
        None if plain.is_empty() => ConfigLine::Empty,
        None => ConfigLine::Sentence(plain),
    }
}

fn configuration_page(text: &str) -> String {
    let mut page = format!(
        ".TH \"pigeon.toml\" 5 \"\" \"pigeon {}\" \"Pigeon\"\n.SH NAME\npigeon.toml \\- configuration of the mail server \
         pigeon(1)\n.SH DESCRIPTION\n",
        env!("CARGO_PKG_VERSION")
    );
    // Sentences belong to the key or section that comes next; those that an empty line follows, to what came before.
    let mut sentences = Vec::new();
    let paragraph = |page: &mut String, sentences: &mut Vec<&str>| {
        for sentence in sentences.drain(..) {
            page.push_str(&format!("{}\n", escaped(sentence)));
        }
    };
    for line in text.lines() {
        match config_line(line) {
            ConfigLine::Sentence(sentence) => sentences.push(sentence),
            ConfigLine::Empty => paragraph(&mut page, &mut sentences),
            ConfigLine::Section(name) => {
                page.push_str(&format!(".SH \"[{name}]\"\n"));
                paragraph(&mut page, &mut sentences);
            }
            ConfigLine::Key { key, value, has_default } => {
                let kind = if has_default { "" } else { "  (an example; there is no default)" };
                page.push_str(&format!(".TP\n\\fB{}\\fR = {}{kind}\n", escaped(key), escaped(value)));
                paragraph(&mut page, &mut sentences);
            }
        }
    }
    paragraph(&mut page, &mut sentences);
    page.push_str(".SH FILES\n/etc/pigeon/pigeon.toml\n.SH \"SEE ALSO\"\npigeon(1), pigeon\\-check(1)\n");
    page
}
