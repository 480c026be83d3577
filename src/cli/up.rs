//! `up`: a server without any configuration, in ./pigeon-data, for this machine alone; and what to type into a mail
//! program.

use super::file::{self, FILE_NAME, UP_FOLDER};
use super::output::{Failure, say, table};
use crate::accounts::generated_password;
use crate::base::{Secret, replace_file};
use crate::config::{Config, Service};
use crate::net::Listener;
use crate::serve::{self, Ready, Setup, StartError, World, connect, create_folder, is_without_ipv6};
use crate::tls::CA_FILE;
use std::cell::RefCell;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The first account.
const ACCOUNT: &str = "me@localhost";
/// Attempts to find a port that is free on both loopback addresses.
const PORT_TRIES_MAX: usize = 32;

/// A port that was taken, and what replaces it.
struct Moved {
    service: Service,
    from: u16,
}

/// Who can log in, as far as we know it.
#[derive(Default)]
struct First {
    address: String,
    /// Known only in the run that made the account.
    password: Option<Secret>,
}

pub(super) fn run(config: Option<&Path>) -> Result<(), Failure> {
    serve::start_log();
    let path = config.map_or_else(|| Path::new(UP_FOLDER).join(FILE_NAME), Path::to_owned);
    create_folder(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    let folder = file::folder(&path);
    if connect(&folder)?.is_some() {
        let words = format!("a server runs in {} already; `pigeon status` shows it", folder.display());
        return Err(Failure::TryLater(words));
    }
    let (config, moved) = configuration(&path)?;
    let (data, first) = (config.data.clone(), RefCell::new(First::default()));
    let setup = Setup { config, file: Some(file::absolute(&path)) };
    let before = |world: &World| {
        *first.borrow_mut() = first_account(world)?;
        Ok(())
    };
    let ready = |ready: &Ready| {
        let text = settings(&data, ready, &moved, &first.borrow(), io::stdout().is_terminal());
        if let Err(failure) = say(&text) {
            log::error!("{failure:?}");
        }
        // It has been shown; nobody needs it in memory any more.
        first.borrow_mut().password = None;
    };
    Ok(serve::run(setup, before, ready)?)
}

/// What is configured here, or a new file; ports that are taken replaced by free ones.
fn configuration(path: &Path) -> Result<(Config, Vec<Moved>), Failure> {
    if path.exists() {
        let mut config = file::load(path)?.config;
        let moved = replace_taken_ports(&mut config);
        return Ok((config, moved));
    }
    let mut config = Config::new("localhost");
    config.data = file::folder(path);
    for service in Service::ALL {
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        config.listen.set(service, addresses.map(|ip| SocketAddr::new(ip, usual_port(service))).to_vec());
    }
    let moved = replace_taken_ports(&mut config);
    replace_file(path, text(&config).as_bytes(), 0o600).map_err(|error| {
        Failure::Failed(format!("cannot write {}: {error}\n    remedy: run it in a folder of your own", path.display()))
    })?;
    Ok((config, moved))
}

/// Ports that need no privileges.
const fn usual_port(service: Service) -> u16 {
    match service {
        Service::Smtp => 2525,
        Service::Submission => 1587,
        Service::Submissions => 1465,
        Service::Imap => 1143,
        Service::Imaps => 1993,
        Service::Pop3 => 1110,
        Service::Pop3s => 1995,
    }
}

fn text(config: &Config) -> String {
    let mut text = format!(
        "# Made by `pigeon up`: a server for this machine alone. Every key is explained in the documentation.\n\
         hostname = \"{}\"\n\
         # Relative paths count from this file's folder.\n\
         data = \".\"\n\n\
         [listen]\n",
        config.hostname
    );
    for service in Service::ALL {
        let addresses: Vec<String> = config.listen.of(service).iter().map(|address| format!("\"{address}\"")).collect();
        text.push_str(&format!("{} = [{}]\n", service.name(), addresses.join(", ")));
    }
    text
}

/// Gives every service whose port another program has a free one.
fn replace_taken_ports(config: &mut Config) -> Vec<Moved> {
    let mut moved = Vec::new();
    // Held until all are chosen, so that no port is chosen twice.
    let mut held = Vec::new();
    for service in Service::ALL {
        let addresses = config.listen.of(service).to_vec();
        let Some(first) = addresses.first() else { continue };
        match bind(&addresses) {
            Ok(listeners) => held.extend(listeners),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if let Some((free, listeners)) = free_port(&addresses) {
                    moved.push(Moved { service, from: first.port() });
                    config.listen.set(service, free);
                    held.extend(listeners);
                }
            }
            // Told when the server itself tries.
            Err(_) => {}
        }
    }
    moved
}

/// Binds all of them; those that this machine cannot have for want of IPv6 are passed over.
fn bind(addresses: &[SocketAddr]) -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for &address in addresses {
        match Listener::bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if is_without_ipv6(address, &error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(listeners)
}

/// The same addresses with a port that is free on each.
fn free_port(addresses: &[SocketAddr]) -> Option<(Vec<SocketAddr>, Vec<Listener>)> {
    for _ in 0..PORT_TRIES_MAX {
        let probe = Listener::bind(SocketAddr::new(addresses.first()?.ip(), 0)).ok()?;
        let port = probe.local().ok()?.port();
        drop(probe);
        let free: Vec<SocketAddr> = addresses.iter().map(|address| SocketAddr::new(address.ip(), port)).collect();
        if let Ok(listeners) = bind(&free) {
            return Some((free, listeners));
        }
    }
    None
}

/// The first account there is, or a new one with a password nobody guesses.
fn first_account(world: &World) -> Result<First, StartError> {
    let failed =
        |error: &dyn std::fmt::Display| StartError::failed(format!("cannot add {ACCOUNT}: {error}"), "try again");
    smol::future::block_on(async {
        let accounts = world.accounts.accounts(None, 1).await.map_err(|error| failed(&error))?;
        if let Some(account) = accounts.into_iter().next() {
            return Ok(First { address: account.address, password: None });
        }
        let Some(password) = generated_password() else {
            return Err(failed(&"this machine gives no random numbers"));
        };
        world.accounts.account_add(ACCOUNT, &password).await.map_err(|error| failed(&error))?;
        Ok(First { address: ACCOUNT.to_owned(), password: Some(password) })
    })
}

/// Everything to type into a mail program, and two commands that show that it works.
fn settings(data: &Path, ready: &Ready, moved: &[Moved], first: &First, is_terminal: bool) -> String {
    let (bold, plain) = if is_terminal { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let heading = |words: &str| format!("\n{bold}{words}{plain}\n\n");
    let ca = data.join("tls").join(CA_FILE);
    let mut text = format!("\n{bold}Pigeon serves{plain} the mail in {}. Stop it with Ctrl-C.\n", data.display());

    text.push_str(&heading("Settings for a mail program on this machine"));
    text.push_str(&indented(&table(&services(ready, moved, &first.address))));
    let password = match &first.password {
        Some(password) => format!(
            "{bold}{}{plain}    (shown this once; another: pigeon user password {})",
            String::from_utf8_lossy(password.expose()),
            first.address
        ),
        None => format!("as shown when it was made, the first time; a new one: pigeon user password {}", first.address),
    };
    let rows = [
        vec!["user name".to_owned(), first.address.clone()],
        vec!["password".to_owned(), password],
        vec!["trust this CA".to_owned(), ca.display().to_string()],
    ];
    text.push('\n');
    text.push_str(&indented(&table(&rows)));

    if let Some(port) = port(ready, Service::Smtp) {
        text.push_str(&heading("Send a first mail"));
        text.push_str(&indented(&send_command(port, &first.address)));
    }
    if let Some(port) = port(ready, Service::Imaps) {
        text.push_str(&heading("Read it"));
        text.push_str(&indented(&read_command(port, first, &ca)));
    }
    text.push('\n');
    text
}

fn services(ready: &Ready, moved: &[Moved], user: &str) -> Vec<Vec<String>> {
    let mut rows = vec![["for", "server", "port", "security", "login"].map(str::to_owned).to_vec()];
    let order = [
        (Service::Imaps, "reading, IMAP", "TLS"),
        (Service::Imap, "reading, IMAP", "STARTTLS"),
        (Service::Pop3s, "fetching, POP3", "TLS"),
        (Service::Pop3, "fetching, POP3", "STARTTLS"),
        (Service::Submissions, "sending, SMTP", "TLS"),
        (Service::Submission, "sending, SMTP", "STARTTLS"),
        (Service::Smtp, "mail from elsewhere", "STARTTLS or none"),
    ];
    for (service, purpose, security) in order {
        let Some(port) = port(ready, service) else { continue };
        let login = if service == Service::Smtp { "none" } else { user };
        let mut row = [purpose, "localhost", &port.to_string(), security, login].map(str::to_owned).to_vec();
        if let Some(moved) = moved.iter().find(|moved| moved.service == service) {
            row.push(format!("(port {} is taken)", moved.from));
        }
        rows.push(row);
    }
    rows
}

fn port(ready: &Ready, service: Service) -> Option<u16> {
    ready.services.iter().find(|(listening, _)| *listening == service).map(|(_, address)| address.port())
}

fn send_command(port: u16, to: &str) -> String {
    format!(
        "printf '%s\\r\\n' 'From: you@example.org' 'To: {to}' 'Subject: First mail' \"Date: $(date -R)\" '' 'It works.' |\n  \
         curl -sS smtp://localhost:{port} --mail-from you@example.org --mail-rcpt {to} -T -\n"
    )
}

fn read_command(port: u16, first: &First, ca: &Path) -> String {
    let user = match &first.password {
        Some(password) => format!("{}:{}", first.address, String::from_utf8_lossy(password.expose())),
        // curl asks for the password.
        None => first.address.clone(),
    };
    format!("curl -sS --cacert {} --user {user} 'imaps://localhost:{port}/INBOX;MAILINDEX=1'\n", quoted(ca))
}

/// For a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"/._-+,@".contains(&octet);
    if text.bytes().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read;

    fn example() -> Config {
        let mut config = Config::new("localhost");
        for service in Service::ALL {
            config.listen.set(service, vec![SocketAddr::from((Ipv4Addr::LOCALHOST, usual_port(service)))]);
        }
        config
    }

    fn ready(config: &Config) -> Ready {
        Ready { services: config.listen.all().collect() }
    }

    #[test]
    fn the_file_that_is_made_can_be_read() {
        let mut config = example();
        let read = read(&text(&config), Path::new("/home/me/pigeon-data")).unwrap().config;
        config.data = "/home/me/pigeon-data".into();
        assert_eq!(read, config);
    }

    #[test]
    fn a_taken_port_is_replaced_and_the_table_says_so() {
        let taken = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port_taken = taken.local().unwrap().port();
        let mut config = example();
        config.listen = crate::config::Listen::default();
        for service in Service::ALL {
            config.listen.set(service, Vec::new());
        }
        config.listen.set(Service::Imaps, vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port_taken))]);
        let moved = replace_taken_ports(&mut config);
        let free = port(&ready(&config), Service::Imaps).unwrap();
        assert_ne!(free, port_taken);
        let text = settings(Path::new("/d"), &ready(&config), &moved, &First::default(), false);
        assert!(text.contains(&free.to_string()) && text.contains(&format!("(port {port_taken} is taken)")), "{text}");
    }

    #[test]
    fn the_password_is_shown_the_first_time_and_never_again() {
        let config = example();
        let mut first = First { address: ACCOUNT.to_owned(), password: Some(Secret::new(b"abcd-efgh".to_vec())) };
        let shown = settings(Path::new("/d"), &ready(&config), &[], &first, false);
        assert!(shown.contains("abcd-efgh    (shown this once"));
        first.password = None;
        let later = settings(Path::new("/d"), &ready(&config), &[], &first, false);
        assert!(later.contains("pigeon user password me@localhost") && !later.contains("abcd"));
    }

    #[test]
    fn a_pipe_gets_plain_text_and_a_terminal_bold() {
        let config = example();
        let plain = settings(Path::new("/d"), &ready(&config), &[], &First::default(), false);
        assert!(plain.chars().all(|c| c == '\n' || (' '..='~').contains(&c)));
        assert!(settings(Path::new("/d"), &ready(&config), &[], &First::default(), true).contains("\x1b[1m"));
    }

    #[test]
    fn paths_are_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("/home/me/pigeon-data")), "/home/me/pigeon-data");
        assert_eq!(quoted(Path::new("/it's here")), "'/it'\\''s here'");
    }
}
