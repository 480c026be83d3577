//! What the file on a board's card says beside the server's own configuration: the name in the local network, accounts,
//! addresses, Wi-Fi. Passwords stand in it until they are taken over; their places are handed out so that they can be erased.

use super::is_host_name;
use super::problem::Problem;
use super::read::{Parsed, Reader};
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Every key that the server does not know; those of `[accounts]` are addresses.
pub(super) const KEYS: [(&str, &str); 14] = [
    ("board", "name"),
    ("board", "account"),
    ("board", "password"),
    ("board", "domains"),
    ("board", "address"),
    ("board", "gateway"),
    ("board", "dns"),
    ("board", "ntp"),
    ("board", "ssh_key"),
    ("board", "restore"),
    ("wifi", "ssid"),
    ("wifi", "password"),
    ("wifi", "country"),
    ("wifi", "hidden"),
];
/// Their sections.
pub(super) const SECTIONS: [&str; 3] = ["board", "accounts", "wifi"];
/// The section whose keys are addresses.
pub(super) const ACCOUNTS: &str = "accounts";

/// Entries that one list may have.
const LIST_MAX: usize = 16;
/// Accounts that one file may make.
const ACCOUNTS_MAX: usize = 100;
/// IEEE 802.11: octets of a network's name.
const SSID_BYTES_MAX: usize = 32;
/// A text is no longer; an RSA key of 16,384 bits fits.
const TEXT_BYTES_MAX: usize = 4096;

/// What a board is told beside its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    /// Its name in the local network, one label.
    pub name: Option<String>,
    /// Accounts to make, or to give a new password.
    pub accounts: Vec<BoardAccount>,
    /// Domains to serve beside those of the accounts.
    pub domains: Vec<(String, Range<usize>)>,
    /// `192.0.2.10/24`; none: asked of the network.
    pub addresses: Vec<String>,
    /// The way out, if the addresses are fixed.
    pub gateway: Option<IpAddr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Time servers, `host` or `host:port`.
    pub ntp: Vec<String>,
    /// Who may log in over ssh: lines of authorized_keys.
    pub ssh_keys: Vec<String>,
    /// Whether the data come from a backup on a stick.
    pub restore: Restore,
    /// The wireless network.
    pub wifi: Option<Wifi>,
    /// Where secrets stand that are of no use and only to be erased.
    pub stale: Vec<Range<usize>>,
}

/// Whether the data come from a backup. The order is that of what counts where two files say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Restore {
    /// Nobody says so.
    #[default]
    No,
    /// Something is said of it that cannot be understood.
    Unclear,
    /// They do.
    Yes,
}

/// An account, as the card's file has it.
#[derive(Clone, PartialEq, Eq)]
pub struct BoardAccount {
    /// Its address.
    pub address: String,
    /// Where that stands.
    pub place: Range<usize>,
    /// The new password; empty: taken over before.
    pub password: String,
    /// Where it stands, quotes included.
    pub password_place: Option<Range<usize>>,
}

/// A wireless network.
#[derive(Clone, PartialEq, Eq)]
pub struct Wifi {
    /// Its name.
    pub ssid: String,
    /// The passphrase (8 to 63 characters), or the key made of it (64 hexadecimal digits); empty: an open network.
    pub password: String,
    /// Where it stands, quotes included.
    pub password_place: Option<Range<usize>>,
    /// The country whose radio rules hold, two letters.
    pub country: String,
    /// Whether the network does not tell its name.
    pub hidden: bool,
}

impl std::fmt::Debug for BoardAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BoardAccount").field("address", &self.address).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Wifi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wifi").field("ssid", &self.ssid).finish_non_exhaustive()
    }
}

/// Reads the file of a board's card: the server's part as far as it is good, the board's part as far as it is good, and
/// every problem. The host name may be missing: then the server's part has an empty one. Relative paths count from `folder`.
pub fn read_board(text: &str, folder: &Path) -> (Parsed, Board, Vec<Problem>) {
    let mut reader = Reader::new(text, folder, true);
    let (config, board) = reader.whole(Reader::board);
    (Parsed { config, places: reader.places }, board, reader.problems)
}

impl Reader<'_> {
    fn board(&mut self, root: &DeTable<'_>) -> Board {
        let name = self.string(root, "board", "name", LABEL).and_then(|(name, place)| {
            let is_label = is_host_name(&name) && !name.contains('.');
            let shown = self.shown(&name, &place);
            self.demand(is_label, place, || format!("{shown} is no name for a machine"), LABEL).then_some(name)
        });
        let mut board = Board { name, accounts: self.accounts(root), ..Board::default() };
        let remedy = "write domains = [\"example.org\"]";
        for (domain, place) in self.list_of(root, "board", "domains", remedy) {
            let shown = self.shown(&domain, &place);
            let is_good = self.demand(is_host_name(&domain), place.clone(), || format!("{shown} is no domain"), remedy);
            // A domain stays for ever, and where a list has no end a password may be in it.
            if is_good && !self.has_torn() {
                board.domains.push((domain, place));
            }
        }
        let dns = "write dns = [\"192.168.1.1\"]";
        for (text, place) in self.list_of(root, "board", "dns", dns) {
            let address = text.parse::<IpAddr>().ok();
            let shown = self.shown(&text, &place);
            self.demand(address.is_some(), place, || format!("{shown} is no address"), dns);
            board.dns.extend(address);
        }
        (board.addresses, board.gateway) = self.fixed(root);
        let ntp = "write ntp = [\"pool.ntp.org\"]";
        for (text, place) in self.list_of(root, "board", "ntp", ntp) {
            let shown = self.shown(&text, &place);
            if self.demand(is_server(&text), place, || format!("{shown} is no server"), ntp) {
                board.ntp.push(text);
            }
        }
        let key = "write the line that your .pub file has: ssh_key = \"ssh-ed25519 AAAA... you@computer\"";
        for (text, place) in self.list_of(root, "board", "ssh_key", key) {
            let text = text.trim().to_owned();
            if self.demand(is_ssh_key(&text), place, || "this is no public key for ssh".to_owned(), key) {
                board.ssh_keys.push(text);
            }
        }
        board.restore = match self.is_true(root, "board", "restore") {
            Some(true) => Restore::Yes,
            None if self.places.of("board.restore").is_some() || self.is_torn_off("restore") => Restore::Unclear,
            Some(false) | None => Restore::No,
        };
        board.wifi = self.wifi(root);
        board
    }

    fn accounts(&mut self, root: &DeTable<'_>) -> Vec<BoardAccount> {
        const REMEDY: &str = "write account = \"alice@example.org\", and its password below: password = \"...\"";
        let mut accounts = Vec::new();
        let password = self.password(root, "board", "write password = \"...\"");
        match (self.string(root, "board", "account", REMEDY), password) {
            (Some((address, place)), password) => {
                if self.demand(is_address(&address), place.clone(), || NO_ADDRESS.to_owned(), REMEDY) {
                    let (password, password_place) =
                        password.map_or((String::new(), None), |(text, at)| (text, Some(at)));
                    accounts.push(BoardAccount { address, place, password, password_place });
                }
            }
            (None, Some((_, place))) => self.wrong(place, "[board] has `password` but no good `account`", REMEDY),
            (None, None) => {}
        }
        let Some(section) = root.get(ACCOUNTS).and_then(|section| section.get_ref().as_table()) else {
            return accounts;
        };
        for (name, value) in section {
            let (address, place) = (name.get_ref().to_string(), name.span());
            // For its place: a password, wherever it belongs.
            self.value(root, ACCOUNTS, &address);
            let remedy = "write \"alice@example.org\" = \"password\", both in quotes";
            if accounts.len() >= ACCOUNTS_MAX {
                self.wrong(
                    place,
                    format!("more than {ACCOUNTS_MAX} accounts"),
                    "make the others with `pigeon user add`",
                );
                break;
            }
            let is_good = self.demand(is_address(&address), place.clone(), || NO_ADDRESS.to_owned(), remedy);
            match value.get_ref().as_str() {
                Some(_) if is_good && self.is_torn(&value.span()) => {
                    accounts.push(BoardAccount { address, place, password: String::new(), password_place: None })
                }
                Some(password) if is_good => accounts.push(BoardAccount {
                    address,
                    place,
                    password: password.to_owned(),
                    password_place: Some(value.span()),
                }),
                Some(_) => {}
                None => self.wrong(value.span(), "a password is a text", remedy),
            }
        }
        accounts
    }

    fn wifi(&mut self, root: &DeTable<'_>) -> Option<Wifi> {
        let ssid_remedy = "write ssid = \"the network's name\", of at most 32 octets";
        let (ssid, place) = self.string(root, "wifi", "ssid", ssid_remedy).or_else(|| {
            let section = root.get("wifi").and_then(|section| Some((section.get_ref().as_table()?, section.span())));
            if let Some((section, place)) = section {
                let is_said = section.is_empty() || section.get("ssid").is_some();
                self.demand(is_said, place, || "[wifi] has no `ssid`".to_owned(), ssid_remedy);
            }
            None
        })?;
        if !self.demand(is_ssid(&ssid), place, || NO_SSID.to_owned(), ssid_remedy) {
            return None;
        }
        let remedy = "a Wi-Fi password has 8 to 63 letters, digits and signs; leave the line out for an open network";
        let (password, password_place) = match self.password(root, "wifi", remedy) {
            Some((password, place)) => (password, Some(place)),
            // Its password may be what could not be understood.
            None if self.has_torn() || self.places.of("wifi.password").is_some() => return None,
            None => (String::new(), None),
        };
        if let Some(place) = password_place.clone()
            && !self.demand(is_wifi_password(&password), place, || "this is no Wi-Fi password".to_owned(), remedy)
        {
            return None;
        }
        let remedy = "write country = \"DE\", with the two letters of the country the board is in";
        let country = match self.string(root, "wifi", "country", remedy) {
            Some((country, place)) => {
                let is_good = country.len() == 2 && country.bytes().all(|octet| octet.is_ascii_alphabetic());
                let country = country.to_ascii_uppercase();
                let shown = self.shown(&country, &place);
                if self.demand(is_good, place, || format!("{shown} is no country"), remedy) {
                    country
                } else {
                    String::new()
                }
            }
            None => {
                let place = self.places.of("wifi.ssid").unwrap_or_default();
                self.warn(place, "[wifi] has no `country`: many channels stay closed", remedy);
                String::new()
            }
        };
        let hidden = self.truth(root, "wifi", "hidden");
        Some(Wifi { ssid, password, password_place, country, hidden })
    }

    /// The section's `password`, unless there is something wrong with its line: then it stays where it is.
    pub(super) fn password(
        &mut self,
        root: &DeTable<'_>,
        section: &str,
        remedy: &str,
    ) -> Option<(String, Range<usize>)> {
        self.string(root, section, "password", remedy)
    }

    /// One text, or a list of them, each with its place.
    pub(super) fn list_of(
        &mut self,
        root: &DeTable<'_>,
        section: &str,
        key: &str,
        remedy: &str,
    ) -> Vec<(String, Range<usize>)> {
        // What a list holds whose syntax is wrong may belong elsewhere.
        let Some(value) = self.value(root, section, key).filter(|value| !self.is_torn(&value.span())) else {
            return Vec::new();
        };
        let items: Vec<&Spanned<DeValue<'_>>> = match value.get_ref().as_array() {
            Some(array) => array.iter().collect(),
            None => vec![value],
        };
        if items.len() > LIST_MAX {
            self.wrong(value.span(), format!("`{key}` has more than {LIST_MAX} entries"), remedy);
        }
        let mut texts = Vec::new();
        for item in items.into_iter().take(LIST_MAX) {
            match item.get_ref().as_str() {
                Some(text) if text.len() <= TEXT_BYTES_MAX => texts.push((text.to_owned(), item.span())),
                Some(_) => self.wrong(item.span(), format!("`{key}` is too long"), remedy),
                None => self.wrong(item.span(), format!("`{key}` is a text or a list of texts"), remedy),
            }
        }
        texts
    }

    pub(super) fn truth(&mut self, root: &DeTable<'_>, section: &str, key: &str) -> bool {
        self.is_true(root, section, key).unwrap_or(false)
    }

    /// `None` for what is not there, or is neither; `"true"` in quotes is what it says.
    fn is_true(&mut self, root: &DeTable<'_>, section: &str, key: &str) -> Option<bool> {
        let value = self.value(root, section, key)?;
        let place = value.span();
        let truth = match value.get_ref().as_str().filter(|_| !self.is_torn(&place)) {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => value.get_ref().as_bool(),
        };
        if truth.is_none() {
            self.wrong(place, format!("`{key}` is true or false"), format!("write {key} = true, without quotes"));
        }
        truth
    }

    /// Whether a line begins with this key, and may have been meant for a section that wrong syntax has taken it from.
    fn is_torn_off(&self, key: &str) -> bool {
        self.has_torn() && self.text.lines().any(|line| line.trim_start().starts_with(key))
    }

    /// Whether it holds; a problem if not.
    pub(super) fn demand(
        &mut self,
        holds: bool,
        place: Range<usize>,
        message: impl FnOnce() -> String,
        remedy: &str,
    ) -> bool {
        if !holds {
            self.wrong(place, message(), remedy);
        }
        holds
    }
}

pub(super) const LABEL: &str = "write name = \"pigeon\": letters, digits and hyphens, without .local";

pub(super) const NO_SSID: &str = "this is no name of a network";

/// Without the value: somebody's password may stand behind the address.
const NO_ADDRESS: &str = "this is no mail address";

fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    // RFC 5321, section 4.1.2: what no Dot-string has.
    let is_special = |c: char| c.is_control() || " \"(),:;<>@[\\]".contains(c);
    let is_local = (1..=64).contains(&local.len()) && !local.chars().any(is_special);
    is_local && (is_host_name(domain) || (!domain.is_ascii() && !domain.chars().any(is_special)))
}

fn is_server(text: &str) -> bool {
    let is_host = |text: &str| is_host_name(text) || text.parse::<IpAddr>().is_ok();
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port != 0);
    is_host(text)
        || text.parse::<std::net::SocketAddr>().is_ok()
        || text.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port))
}

/// `TYPE BASE64 [comment]` (the form of authorized_keys without options).
pub(super) fn is_ssh_key(text: &str) -> bool {
    let mut words = text.split(' ');
    let is_type = |word: &str| ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start));
    let is_base64 =
        |word: &str| word.len() > 16 && word.bytes().all(|c| c.is_ascii_alphanumeric() || b"+/=".contains(&c));
    words.next().is_some_and(is_type) && words.next().is_some_and(is_base64) && !text.chars().any(char::is_control)
}

pub(super) fn is_ssid(text: &str) -> bool {
    (1..=SSID_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// IEEE 802.11i, annex H.4: 8 to 63 printable ASCII characters; or the key itself; or nothing.
pub(super) fn is_wifi_password(text: &str) -> bool {
    let is_key = text.len() == 64 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
    let is_printable = text.bytes().all(|octet| (b' '..=b'~').contains(&octet));
    text.is_empty() || is_key || ((8..=63).contains(&text.len()) && is_printable)
}

#[cfg(test)]
mod tests {

    use super::*;

    fn read(text: &str) -> (Parsed, Board, Vec<Problem>) {
        read_board(text, Path::new("/data"))
    }

    #[test]
    fn everything_that_a_board_is_told() {
        let text = "hostname = \"mail.example.org\"\n\
            [board]\nname = \"post\"\naccount = \"alice@example.org\"\npassword = \"wonderland-7\"\n\
            domains = [\"example.net\"]\naddress = \"192.0.2.10/24\"\ngateway = \"192.0.2.1\"\ndns = [\"192.0.2.1\", \"2001:db8::1\"]\n\
            ntp = [\"pool.ntp.org\", \"10.0.2.2:1123\"]\nssh_key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB alice\"\nrestore = true\n\
            [accounts]\n\"bob@example.org\" = \"builder-22\"\n\
            [wifi]\nssid = \"Alice's\"\npassword = \"correct horse\"\ncountry = \"de\"\nhidden = true\n\
            [limits]\nconnections = 20\n";
        let (parsed, board, problems) = read(text);
        assert_eq!(problems, []);
        assert_eq!((parsed.config.hostname.as_str(), parsed.config.limits.connections), ("mail.example.org", 20));
        assert_eq!(board.name.as_deref(), Some("post"));
        let accounts: Vec<_> = board.accounts.iter().map(|one| (one.address.as_str(), one.password.as_str())).collect();
        assert_eq!(accounts, [("alice@example.org", "wonderland-7"), ("bob@example.org", "builder-22")]);
        let place = board.accounts[1].password_place.clone().unwrap();
        assert_eq!(text.get(place), Some("\"builder-22\""));
        assert_eq!((board.addresses, board.dns.len(), board.ntp.len()), (vec!["192.0.2.10/24".to_owned()], 2, 2));
        let wifi = board.wifi.unwrap();
        assert_eq!((wifi.ssid.as_str(), wifi.country.as_str(), wifi.hidden), ("Alice's", "DE", true));
        assert_eq!((board.restore, board.ssh_keys.len()), (Restore::Yes, 1));
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_the_rest_is_kept() {
        let text = "hostnam = \"a.example\"\n[board]\nname = \"my pigeon\"\naccount = \"alice\"\npassword = \"x\"\naddress = \"192.0.2.10\"\n\
            dns = \"192.0.2.1\"\nntp = 3\nssh_key = \"alice\"\n[wfi]\nssid = \"a\"\n[wifi]\nssid = \"home\"\npassword = \"short\"\n\
            [accounts]\nbob@example.org = \"b\"\n\"carol@example.org\" = \"c\"\n";
        let (_, board, problems) = read(text);
        let lines: Vec<usize> = problems.iter().filter_map(|problem| problem.line(text)).collect();
        for line in [1, 3, 4, 6, 8, 9, 10, 14, 16] {
            assert!(lines.contains(&line), "line {line}: {problems:#?}");
        }
        assert_eq!(board.dns.len(), 1);
        assert!(board.accounts.iter().any(|account| account.address == "carol@example.org"), "{board:?}");
        let remedy = |line| problems.iter().find(|one| one.line(text) == Some(line)).map(|one| one.remedy.clone());
        assert!(remedy(1).unwrap().contains("`hostname`") && remedy(10).unwrap().contains("[wifi]"));
        assert!(remedy(16).unwrap().contains("quotes"), "{problems:#?}");
    }

    #[test]
    fn no_password_is_taken_from_a_line_with_a_syntax_error() {
        let rows = [
            ("“wonderland-77”", "what TextEdit makes of quotes"),
            ("wonderland-77", "no quotes"),
            ("\"wonderland-77", "no end"),
            ("\"wonder\\land-77\"", "an escape that there is not"),
            ("\"wonderland\"-77", "something behind the quotes"),
            ("\"wonderland-77\" # a \u{7} bell", "a control character in the remark"),
            ("'wonderland-77\"", "two kinds of quotes"),
            ("\"\"\"wonderland-77\"", "one of three quotes"),
        ];
        for (value, why) in rows {
            let text = format!("[board]\naccount = \"alice@example.org\"\npassword = {value}\n");
            let (_, board, problems) = read(&text);
            let account = &board.accounts[0];
            assert_eq!((account.password.as_str(), account.password_place.clone()), ("", None), "{why}");
            assert!(
                problems.iter().any(|problem| problem.line(&text).is_some_and(|line| line >= 3)),
                "{why}: {problems:?}"
            );

            let text = format!(
                "[accounts]\n\"bob@example.org\" = \"builder-22\"\n\"carol@example.org\" = {value}\n\n[board]\nname = \"post\"\n"
            );
            let (_, board, _) = read(&text);
            assert!(board.accounts.iter().all(|one| !one.password.contains("wonder")), "{why}: {board:?}");
            assert!(board.accounts.iter().any(|one| one.password == "builder-22"), "{why}: the line above is whole");

            let text = format!("[wifi]\nssid = \"home\"\ncountry = \"DE\"\npassword = {value}\n");
            assert_eq!(read(&text).1.wifi, None, "{why}: neither another password nor an open network");
        }
        let (_, board, _) =
            read("[board]\naccount = \"a@b.example\"\npassword = \"first-77\"\npassword = \"second-77\"\n");
        assert_ne!(board.accounts[0].password, "second-77");
        // A mistake elsewhere is none of a password's.
        let (_, board, _) =
            read("[board]\nname = “post”\naccount = \"a@b.example\"\npassword = \"first-77\"\n[listen\n");
        assert_eq!(board.accounts[0].password, "first-77");
    }

    #[test]
    fn no_message_quotes_a_password() {
        let texts = [
            "[board]\naccount = \"alice\"\npassword = \"hunter2x\"\n",
            "[board]\naccount = \"a@b.example\"\npassword = 1234567\n",
            "[wifi]\nssid = \"a\"\npassword = \"hunter2\"\n",
            "[accounts]\n\"alice\" = \"hunter2x\"\n\"b@example.org\" = 1234567\n",
        ];
        for text in texts {
            let (_, board, problems) = read(text);
            assert!(!problems.is_empty(), "{text}");
            let said = format!("{problems:?}{board:?}");
            assert!(!said.contains("hunter2") && !said.contains("1234567"), "{said}");
        }
    }

    #[test]
    fn the_file_on_the_card_says_nothing_until_its_lines_are_wanted_and_names_every_key() {
        const SHIPPED: &str = include_str!("../../board/pigeon.toml");
        let (parsed, board, problems) = read(SHIPPED);
        assert_eq!((board, problems, parsed.config), (Board::default(), vec![], crate::config::Config::new("")));

        let wanted = |line: &str| match line.strip_prefix("# ") {
            Some(plain) if plain.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => format!("{plain}\n"),
            _ => format!("{line}\n"),
        };
        let text: String = SHIPPED.lines().map(wanted).collect();
        let (parsed, board, problems) = read(&text);
        assert_eq!(problems, []);
        for (section, key) in KEYS {
            assert!(parsed.places.of(&format!("{section}.{key}")).is_some(), "{section}.{key}");
        }
        assert!(board.accounts.len() == 2 && board.restore == Restore::Yes && board.wifi.unwrap().hidden);
    }

    #[test]
    fn a_wish_for_a_restore_that_is_not_understood_is_no_no() {
        for (value, expected, problems) in [
            ("true", Restore::Yes, 0),
            ("\"true\"", Restore::Yes, 0),
            ("'true'", Restore::Yes, 0),
            ("false", Restore::No, 0),
            ("\"false\"", Restore::No, 0),
            ("yes", Restore::Unclear, 1),
            ("\"yes\"", Restore::Unclear, 1),
            ("1", Restore::Unclear, 1),
            ("", Restore::Unclear, 1),
            ("True", Restore::Yes, 1),
            ("“true”", Restore::Unclear, 1),
            ("\"true", Restore::Unclear, 1),
        ] {
            let (_, board, told) = read(&format!("[board]\nrestore = {value}\nname = \"post\"\n"));
            assert_eq!((board.restore, told.len()), (expected, problems), "{value}: {told:?}");
        }
        for (text, expected) in [
            ("[board]\n# restore = yes\n", Restore::No),
            ("[board\nrestore = true\n", Restore::Unclear),
            ("[board]\nname = \"\"\"post\"\nrestore = true\n", Restore::Unclear),
            ("[board]\nname = “post”\n# restore = true\n", Restore::No),
        ] {
            assert_eq!(read(text).1.restore, expected, "{text}");
        }
    }

    #[test]
    fn a_server_is_not_told_what_only_boards_know() {
        let problems =
            super::super::read("hostname = \"a.example\"\n[board]\nname = \"a\"\n", Path::new("/")).unwrap_err();
        assert!(problems[0].message.contains("[board]"));
    }
}
