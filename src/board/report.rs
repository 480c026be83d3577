//! The report on the card: what is wrong with its file and what to do, and how to connect. Pure.

use crate::config::{Config, Service, Severity};

/// The file on the card.
pub(super) const FILE: &str = "pigeon-report.txt";
/// No report is longer, octets: more problems are of no use to anybody.
pub(super) const FILE_BYTES_MAX: usize = 64 * 1024;
const SERVER: &str = "Server: ";
const ADDRESSES: &str = "Addresses: ";
const ALL_IS_WELL: &str = "All is well.";
const NO_ADDRESS: &str = "none yet: the network has given none";

/// What was found, and what there is to connect to.
pub(super) struct Facts<'f> {
    /// Which system runs.
    pub(super) system: &'f str,
    /// Whether there is a data directory.
    pub(super) has_data: bool,
    /// Problems as text, remedies included.
    pub(super) problems: &'f str,
    /// The worst of them.
    pub(super) worst: Option<Severity>,
    /// What was done, a line each.
    pub(super) done: &'f [String],
    pub(super) config: &'f Config,
    pub(super) name: &'f str,
    /// An account to put into the example.
    pub(super) account: Option<&'f str>,
    /// Fixed addresses.
    pub(super) addresses: &'f [String],
}

/// The whole report.
pub(super) fn print(facts: &Facts<'_>) -> String {
    let verdict = match facts.worst {
        _ if !facts.has_data => {
            "This board takes no mail and gives none out: the data partition of its card cannot be used."
        }
        None => ALL_IS_WELL,
        Some(Severity::Warning) => "All is taken over, with remarks:",
        Some(Severity::Error) => {
            "There are mistakes. What made sense is done; correct the rest and start the board again:"
        }
    };
    let mut text = format!(
        "Pigeon on this board. This file is written anew at each start.\nSystem: {}\n\n{verdict}\n",
        facts.system
    );
    if !facts.problems.is_empty() {
        text.push_str(&format!("\n{}", facts.problems));
    }
    if !facts.done.is_empty() {
        text.push('\n');
        facts.done.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    }
    let bare: Vec<&str> = facts.addresses.iter().map(|one| one.split('/').next().unwrap_or(one)).collect();
    let addresses = if bare.is_empty() { NO_ADDRESS.to_owned() } else { bare.join(", ") };
    text.push_str(&format!("\nHow to connect\n\n{SERVER}{}.local\n{ADDRESSES}{addresses}\n", facts.name));
    let user = facts.account.unwrap_or("the account's whole mail address");
    text.push_str(&format!("User name: {user}\n"));
    let purposes = [
        (Service::Imaps, "Reading, IMAP", "TLS"),
        (Service::Pop3s, "Fetching, POP3", "TLS"),
        (Service::Submissions, "Sending, SMTP", "TLS"),
    ];
    for (service, purpose, security) in purposes {
        if let Some(address) = facts.config.listen.of(service).first() {
            text.push_str(&format!("{purpose}: port {}, {security}\n", address.port()));
        }
    }
    if facts.config.tls.is_none() {
        text.push_str("Certificate to trust: pigeon-ca.crt, beside this file once the board has come up\n");
    }
    if facts.account.is_none() {
        text.push_str(
            "\nThere is no account in pigeon.toml: write account = \"...\" and password = \"...\" below [board].\n",
        );
    }
    text
}

/// The report with these addresses in it, and this name (without `.local`).
pub(super) fn with_addresses(report: &str, name: Option<&str>, addresses: &[String]) -> String {
    let addresses = if addresses.is_empty() { NO_ADDRESS.to_owned() } else { addresses.join(", ") };
    let line = |line: &str| match name {
        _ if line.starts_with(ADDRESSES) => format!("{ADDRESSES}{addresses}\n"),
        Some(name) if line.starts_with(SERVER) => format!("{SERVER}{name}.local\n"),
        _ => format!("{line}\n"),
    };
    report.lines().map(line).collect()
}

/// The report with another line at its end, unless it has it; it does not go on calling all well. `into_report` of the image's scripts
/// does the same.
pub(super) fn with_line(report: &str, line: &str) -> String {
    let text: String = report.lines().map(|line| format!("{line}\n")).collect();
    if text.contains(line) {
        return text;
    }
    format!("{}\n{line}\n", text.replacen(ALL_IS_WELL, "All is well, but for what stands at the end.", 1))
}

/// As every editor on every computer shows it.
pub(super) fn for_editors(text: &str) -> String {
    text.replace('\n', "\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_where_to_connect_and_learns_the_addresses_later() {
        let mut config = Config::new("mail.example.org");
        config.listen.set(Service::Pop3s, Vec::new());
        let facts = Facts {
            system: "pigeon 0.1.0, slot a; slot b is empty",
            has_data: true,
            problems: "",
            worst: None,
            done: &["alice@example.org: added".to_owned()],
            config: &config,
            name: "pigeon",
            account: Some("alice@example.org"),
            addresses: &[],
        };
        let text = print(&facts);
        for words in [
            "System: pigeon 0.1.0, slot a; slot b is empty\n",
            "All is well.",
            "pigeon.local",
            "none yet",
            "port 993, TLS",
            "port 465",
            "User name: alice@",
            "added",
            "pigeon-ca.crt",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("995"));
        let later = with_addresses(&for_editors(&text), None, &["192.0.2.10".to_owned(), "2001:db8::10".to_owned()]);
        assert!(later.contains("Addresses: 192.0.2.10, 2001:db8::10\n") && !later.contains("none yet"));
        assert!(later.contains("Server: pigeon.local\n"));
        let taken = with_addresses(&for_editors(&later), Some("pigeon-2"), &["192.0.2.10".to_owned()]);
        assert!(taken.contains("Server: pigeon-2.local\n") && !taken.contains("pigeon.local"), "{taken}");
        let twice = with_line(&with_line(&later, "It fell back."), "It fell back.");
        assert_eq!(twice.matches("It fell back.").count(), 1);
        assert!(!twice.contains("All is well.") && twice.contains("All is well, but for what stands at the end."));
    }
}
