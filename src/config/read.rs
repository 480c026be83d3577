//! From the text of the file to [`Config`], or to every problem in it at once, each with its place and its remedy.

use super::board;
use super::problem::{Problem, line_at};
use super::{Config, MEMORY_BYTES_MIN, Outbound, Service, TlsFiles, human_bytes, is_host_name, nearest, value};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Every key, by section (the first have none), in the file's order.
pub(super) const KEYS: [(&str, &str); 22] = [
    ("", "hostname"),
    ("", "data"),
    ("listen", "smtp"),
    ("listen", "submission"),
    ("listen", "submissions"),
    ("listen", "imap"),
    ("listen", "imaps"),
    ("listen", "pop3"),
    ("listen", "pop3s"),
    ("tls", "certificate"),
    ("tls", "key"),
    ("limits", "memory"),
    ("limits", "message"),
    ("limits", "connections"),
    ("limits", "connections_per_ip"),
    ("store", "segment"),
    ("store", "index_cache"),
    ("store", "reserve"),
    ("store", "gather"),
    ("store", "endurance"),
    ("outbound", "relay"),
    ("outbound", "password_file"),
];

const SECTIONS: [&str; 5] = ["listen", "tls", "limits", "store", "outbound"];
/// Addresses that one service may have.
const ADDRESSES_MAX: usize = 16;
/// A longer value is not shown, octets.
const SHOWN_BYTES_MAX: usize = 64;
/// Problems that one report names; a file with more is no configuration.
const PROBLEMS_MAX: usize = 100;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A configuration, and where its keys stand.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What the file says.
    pub config: Config,
    /// Where it says so.
    pub places: Places,
}

/// Where each value stands in the text, by `section.key` (`hostname`, `listen.smtp`).
#[derive(Clone, Debug, Default)]
pub struct Places(BTreeMap<String, Range<usize>>);

impl Places {
    /// The octets of this key's value; `None` when the file does not have it.
    pub fn of(&self, key: &str) -> Option<Range<usize>> {
        self.0.get(key).cloned()
    }

    /// Every key that the file has, with its value's octets.
    pub fn all(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.0.iter().map(|(key, place)| (key.as_str(), place.clone()))
    }
}

/// Reads a configuration. Relative paths in it count from `folder`, where the file is.
pub fn read(text: &str, folder: &Path) -> Result<Parsed, Vec<Problem>> {
    match read_what_is_good(text, folder) {
        (Some(parsed), problems) if problems.is_empty() => Ok(parsed),
        (_, problems) => Err(problems),
    }
}

/// As [`read`], but hands out what could be understood beside the problems, so that `check` can look at that as well: keys
/// with problems have their defaults, services with problems are off. Nothing at all without a host name.
pub fn read_what_is_good(text: &str, folder: &Path) -> (Option<Parsed>, Vec<Problem>) {
    let mut reader = Reader::new(text, folder, false);
    let (config, ()) = reader.whole(|_, _| ());
    let is_named = !config.hostname.is_empty();
    (is_named.then_some(Parsed { config, places: reader.places }), reader.problems)
}

fn syntax_remedy(message: &str, line: &str) -> &'static str {
    if line.split_once('=').is_some_and(|(key, _)| key.contains('@') && !key.contains('"')) {
        "an address stands in quotes: \"alice@example.org\" = \"password\""
    } else if message.contains("duplicate") {
        "keep one of the two"
    } else if message.contains("string") || message.contains("quote") || message.contains("literal") {
        "texts stand in quotes: key = \"value\""
    } else {
        "the file is TOML: key = \"value\" lines under [section] lines"
    }
}

pub(super) struct Reader<'t> {
    pub(super) text: &'t str,
    pub(super) folder: &'t Path,
    /// Whether it is the file of a board's card, which knows more keys and needs no host name.
    pub(super) of_board: bool,
    pub(super) problems: Vec<Problem>,
    pub(super) places: Places,
    /// Where the syntax is wrong.
    torn: Vec<Range<usize>>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, folder: &'t Path, of_board: bool) -> Self {
        Self { text, folder, of_board, problems: Vec::new(), places: Places::default(), torn: Vec::new() }
    }

    /// What could be understood of the text; a problem for each place that could not, with what `remedy` says of its words and line.
    pub(super) fn table(&mut self, remedy: impl Fn(&str, &str) -> &'static str) -> Spanned<DeTable<'t>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let place = error.span().unwrap_or(self.text.len()..self.text.len());
            let remedy = remedy(error.message(), line_at(self.text, place.start).2);
            self.torn.push(place.clone());
            self.problems.push(Problem::error(Some(place), error.message(), remedy));
        }
        table
    }
}

impl Reader<'_> {
    /// Everything in the text, without a host name where it has no good one; `further` reads the keys beside the server's.
    pub(super) fn whole<T>(&mut self, further: impl FnOnce(&mut Self, &DeTable<'_>) -> T) -> (Config, T) {
        let table = self.table(syntax_remedy);
        let torn: Vec<usize> = self.problems.iter().map(|problem| self.line(problem)).collect();

        self.unknown_keys(table.get_ref());
        let config = self.config(table.get_ref());
        let further = further(self, table.get_ref());

        if !torn.is_empty() {
            // What is on a line that could not be understood, or misses because of one, would be said twice.
            let text = self.text;
            let line = |problem: &Problem| problem.place.as_ref().map_or(0, |place| line_at(text, place.start).0);
            let syntax = torn.len();
            let mut count = 0;
            self.problems.retain(|problem| {
                count += 1;
                count <= syntax || (problem.place.is_some() && !torn.contains(&line(problem)))
            });
        }
        self.problems.truncate(PROBLEMS_MAX);
        (config, further)
    }

    fn keys(&self) -> impl Iterator<Item = (&'static str, &'static str)> + Clone + use<> {
        let further: &'static [_] = if self.of_board { &board::KEYS } else { &[] };
        KEYS.iter().chain(further).copied()
    }

    fn sections(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        let further: &'static [_] = if self.of_board { &board::SECTIONS } else { &[] };
        SECTIONS.iter().chain(further).copied()
    }

    fn line(&self, problem: &Problem) -> usize {
        problem.place.as_ref().map_or(0, |place| line_at(self.text, place.start).0)
    }

    /// Whether the syntax is wrong on a line of this value: then it may not be what was meant.
    pub(super) fn is_torn(&self, place: &Range<usize>) -> bool {
        let (before, behind) =
            (self.text.get(..place.start).unwrap_or_default(), self.text.get(place.end..).unwrap_or_default());
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let end = place.end.saturating_add(behind.find('\n').unwrap_or(behind.len()));
        self.torn.iter().any(|torn| torn.start <= end && start <= torn.end)
    }

    /// A value as a message shows it. One that is long, runs over a line's end, or whose syntax is wrong may have a
    /// password in it, and is not shown.
    pub(super) fn shown(&self, text: &str, place: &Range<usize>) -> String {
        let is_plain = text.len() <= SHOWN_BYTES_MAX && !text.contains(['\n', '\r']) && !self.is_torn(place);
        if is_plain { format!("`{text}`") } else { "this".to_owned() }
    }

    /// Whether there is a place at which the syntax is wrong.
    pub(super) fn has_torn(&self) -> bool {
        !self.torn.is_empty()
    }

    pub(super) fn warn(&mut self, place: Range<usize>, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::warning(Some(place), message, remedy));
    }

    pub(super) fn wrong(&mut self, place: Range<usize>, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::error(Some(place), message, remedy));
    }

    // Names.

    fn unknown_keys(&mut self, root: &DeTable<'_>) {
        for (name, value) in root {
            let (key, place) = (name.get_ref().as_ref(), name.span());
            if self.sections().any(|section| section == key) {
                match value.get_ref().as_table() {
                    Some(section) => self.unknown_in_section(key, section),
                    None => {
                        self.wrong(place, format!("`{key}` is a section"), format!("write [{key}] and its keys below"))
                    }
                }
            } else if value.get_ref().is_table() {
                let remedy = match nearest(key, self.sections()) {
                    Some(meant) => format!("did you mean [{meant}]?"),
                    None => format!("the sections are {}", list(self.sections())),
                };
                let shown = self.shown(&format!("[{key}]"), &place);
                self.wrong(place, format!("unknown section {}", shown.trim_matches('`')), remedy);
            } else if !self.is_key("", key) {
                self.unknown_key("", key, place);
            }
        }
    }

    fn unknown_in_section(&mut self, section: &str, table: &DeTable<'_>) {
        if self.of_board && section == board::ACCOUNTS {
            return;
        }
        for (name, _) in table {
            if !self.is_key(section, name.get_ref()) {
                self.unknown_key(section, name.get_ref(), name.span());
            }
        }
    }

    fn unknown_key(&mut self, section: &str, key: &str, place: Range<usize>) {
        let at = |section: &str| match section {
            "" => "at the top of the file, above the first [section]".to_owned(),
            section => format!("in [{section}]"),
        };
        let keys = self.keys();
        let elsewhere = keys.clone().find(|&(other, name)| name == key && other != section);
        let here = keys.clone().filter(|(other, _)| *other == section).map(|(_, name)| name);
        let remedy = match (elsewhere, nearest(key, here.clone())) {
            (Some((other, _)), _) => format!("`{key}` stands {}", at(other)),
            (None, Some(meant)) => format!("did you mean `{meant}`?"),
            (None, None) => match nearest(key, keys.clone().map(|(_, name)| name)) {
                Some(meant) => {
                    let home = keys.clone().find(|(_, name)| *name == meant).map_or("", |(home, _)| home);
                    format!("did you mean `{meant}` {}?", at(home))
                }
                None => format!("the keys {} are {}", at(section), list(here)),
            },
        };
        let whole = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
        let message = format!("unknown key {}", self.shown(&whole, &place));
        self.wrong(place, message, remedy);
    }

    // The whole.

    fn is_key(&self, section: &str, key: &str) -> bool {
        self.keys().any(|known| known == (section, key))
    }

    /// With an empty host name where there is no good one.
    fn config(&mut self, root: &DeTable<'_>) -> Config {
        let hostname = self.hostname(root);
        let mut config = Config::new(hostname.as_deref().unwrap_or_default());
        if let Some(data) = self.path(root, "", "data") {
            config.data = data;
        }
        for service in Service::ALL {
            if let Some(value) = self.value(root, "listen", service.name()) {
                config.listen.set(service, self.addresses(value, service).unwrap_or_default());
            }
        }
        self.same_address_twice(&config);
        config.tls = self.tls(root);

        let limits = &mut config.limits;
        let bytes = |reader: &mut Self, section, key, bounds, place: &mut u64| {
            if let Some(bytes) = reader.size(root, section, key, bounds) {
                *place = bytes;
            }
        };
        bytes(self, "limits", "memory", MEMORY_BYTES_MIN..=1024 * GIB, &mut limits.memory_bytes);
        bytes(self, "limits", "message", 64 * KIB..=2 * GIB, &mut limits.message_bytes);
        if let Some(count) = self.count(root, "limits", "connections") {
            limits.connections = count;
        }
        if let Some(count) = self.count(root, "limits", "connections_per_ip") {
            limits.connections_per_ip = count;
        }

        let store = &mut config.store;
        bytes(self, "store", "segment", MIB..=GIB, &mut store.segment_bytes);
        bytes(self, "store", "index_cache", 64 * KIB..=16 * GIB, &mut store.index_cache_bytes);
        bytes(self, "store", "reserve", 0..=1024 * GIB, &mut store.reserve_bytes);
        if let Some(gather) = self.duration(root, "store", "gather", Duration::from_secs(1)) {
            store.gather = gather;
        }
        bytes(self, "store", "endurance", 0..=1024 * 1024 * GIB, &mut config.store.endurance_bytes);
        self.memory_for_the_cache(&config);
        config.outbound = self.outbound(root);
        config
    }

    fn hostname(&mut self, root: &DeTable<'_>) -> Option<String> {
        const REMEDY: &str = "write hostname = \"mail.example.org\", with the name that other servers find this one by";
        if root.get("hostname").is_none() {
            // One that stands in a section has been told already.
            let is_told = |section: &str| root.get(section).is_some_and(|at| at.get_ref().get("hostname").is_some());
            if self.of_board || self.sections().any(is_told) {
                return None;
            }
            self.problems.push(Problem::error(None, "the key `hostname` is missing", REMEDY));
            return None;
        }
        let (name, place) = self.string(root, "", "hostname", REMEDY)?;
        if !is_host_name(&name) {
            let message = format!("{} is no host name", self.shown(&name, &place));
            self.wrong(place, message, REMEDY);
            return None;
        }
        Some(name)
    }

    fn same_address_twice(&mut self, config: &Config) {
        let mut seen: Vec<(Service, SocketAddr)> = Vec::new();
        for (service, address) in config.listen.all() {
            if let Some(&(other, _)) = seen.iter().find(|(_, taken)| *taken == address) {
                let key = |service: Service| format!("listen.{}", service.name());
                let place = self.places.of(&key(service)).or_else(|| self.places.of(&key(other)));
                let message = format!("{} and {} both listen on {address}", other.name(), service.name());
                let remedy =
                    format!("give {} a port of its own (standard: {}), or \"off\"", service.name(), service.port());
                self.problems.push(Problem::error(place, message, remedy));
            }
            seen.push((service, address));
        }
    }

    fn tls(&mut self, root: &DeTable<'_>) -> Option<TlsFiles> {
        let section = root.get("tls").filter(|section| section.get_ref().is_table())?;
        let (certificate, key) = (self.path(root, "tls", "certificate"), self.path(root, "tls", "key"));
        let has = |key: &str| section.get_ref().get(key).is_some();
        for (here, missing) in [("certificate", "key"), ("key", "certificate")] {
            if has(here) && !has(missing) {
                let message = format!("[tls] has `{here}` but not `{missing}`");
                self.wrong(section.span(), message, format!("add {missing} = \"/path/to/file.pem\", or remove [tls]"));
            }
        }
        Some(TlsFiles { certificate: certificate?, key: key? })
    }

    fn memory_for_the_cache(&mut self, config: &Config) {
        let in_range = config.limits.memory_bytes >= MEMORY_BYTES_MIN;
        if in_range && config.budget_bytes() < 3 * MIB {
            let place = self.places.of("store.index_cache");
            let cache = human_bytes(config.store.index_cache_bytes);
            let memory = human_bytes(config.limits.memory_bytes);
            let message =
                format!("an index cache of {cache} leaves no memory for connections of the {memory} there are");
            self.problems.push(Problem::error(
                place,
                message,
                "raise `memory` in [limits], or make `index_cache` smaller",
            ));
        }
    }

    fn outbound(&mut self, root: &DeTable<'_>) -> Option<Outbound> {
        const REMEDY: &str = "write relay = \"smtps://user@smtp.provider.example:465\"";
        let section = root.get("outbound").filter(|section| section.get_ref().is_table())?;
        let password_file = self.path(root, "outbound", "password_file");
        if section.get_ref().get("relay").is_none() {
            if password_file.is_some() {
                self.wrong(section.span(), "[outbound] has `password_file` but not `relay`", REMEDY);
            }
            return None;
        }
        let (relay, place) = self.string(root, "outbound", "relay", REMEDY)?;
        let host = relay.strip_prefix("smtps://").or_else(|| relay.strip_prefix("smtp://"));
        let host = host.map(|rest| rest.rsplit_once('@').map_or(rest, |(_, host)| host));
        let is_good = host.is_some_and(|host| match host.rsplit_once(':') {
            Some((name, port)) => is_host_name(name) && port.parse::<u16>().is_ok_and(|port| port != 0),
            None => is_host_name(host),
        });
        if !is_good {
            // Somebody's password may stand in front of the host.
            let what = if relay.contains('@') { "this".to_owned() } else { self.shown(&relay, &place) };
            self.wrong(place, format!("{what} is no relay"), REMEDY);
            return None;
        }
        Some(Outbound { relay, password_file })
    }

    // Values.

    pub(super) fn value<'v, 't>(
        &mut self,
        root: &'v DeTable<'t>,
        section: &str,
        key: &str,
    ) -> Option<&'v Spanned<DeValue<'t>>> {
        let (value, whole) = if section.is_empty() {
            (root.get(key)?, key.to_owned())
        } else {
            (root.get(section)?.get_ref().as_table()?.get(key)?, format!("{section}.{key}"))
        };
        self.places.0.insert(whole, value.span());
        Some(value)
    }

    pub(super) fn string(
        &mut self,
        root: &DeTable<'_>,
        section: &str,
        key: &str,
        remedy: &str,
    ) -> Option<(String, Range<usize>)> {
        let value = self.value(root, section, key)?;
        match value.get_ref().as_str() {
            // Told already.
            Some(_) if self.is_torn(&value.span()) => None,
            Some(text) => Some((text.to_owned(), value.span())),
            None => {
                let message = format!("`{key}` is a text, not {}", value.get_ref().type_str());
                self.wrong(value.span(), message, remedy);
                None
            }
        }
    }

    fn path(&mut self, root: &DeTable<'_>, section: &str, key: &str) -> Option<PathBuf> {
        let remedy = format!("write {key} = \"/path/to/it\"");
        let (text, place) = self.string(root, section, key, &remedy)?;
        if text.is_empty() || text.contains('\0') {
            self.wrong(place, format!("`{key}` is empty"), remedy);
            return None;
        }
        let joined = self.folder.join(&text);
        Some(if text == "." { self.folder.to_owned() } else { joined })
    }

    fn size(&mut self, root: &DeTable<'_>, section: &str, key: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let value = self.value(root, section, key)?;
        let place = value.span();
        let between = format!("write a size from {} to {}", human_bytes(*bounds.start()), human_bytes(*bounds.end()));
        let example = format!("{between}, such as {key} = \"24 MiB\"");
        let Some(text) = value.get_ref().as_str() else {
            self.wrong(place, format!("`{key}` is a text with a number and a unit"), example);
            return None;
        };
        let Some(bytes) = value::size(text) else {
            let message = format!("{} is no size", self.shown(text, &place));
            self.wrong(place, message, example);
            return None;
        };
        if !bounds.contains(&bytes) {
            let word = if bytes < *bounds.start() { "little" } else { "much" };
            self.wrong(place, format!("{} is too {word} for `{key}`", human_bytes(bytes)), between);
            return None;
        }
        Some(bytes)
    }

    fn duration(&mut self, root: &DeTable<'_>, section: &str, key: &str, max: Duration) -> Option<Duration> {
        let value = self.value(root, section, key)?;
        let place = value.span();
        let remedy = format!("write a time from 0 ms to {} ms, such as {key} = \"3 ms\"", max.as_millis());
        let Some(duration) = value.get_ref().as_str().and_then(value::duration) else {
            self.wrong(place, format!("`{key}` is a text with a number and a unit, ms or s"), remedy);
            return None;
        };
        if duration > max {
            self.wrong(place, format!("{} ms is too long for `{key}`", duration.as_millis()), remedy);
            return None;
        }
        Some(duration)
    }

    fn count(&mut self, root: &DeTable<'_>, section: &str, key: &str) -> Option<u32> {
        let value = self.value(root, section, key)?;
        let number = value.get_ref().as_integer().and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok());
        match number.and_then(|number| u32::try_from(number).ok()) {
            Some(count) if count > 0 => Some(count),
            _ => {
                let message = format!("`{key}` is a whole number, 1 or more");
                self.wrong(value.span(), message, format!("write {key} = 512, without quotes"));
                None
            }
        }
    }

    fn addresses(&mut self, value: &Spanned<DeValue<'_>>, service: Service) -> Option<Vec<SocketAddr>> {
        let (key, port) = (service.name(), service.port());
        let remedy = format!(
            "write {key} = \"[::]:{port}\" for every address, \"127.0.0.1:{port}\" for this machine alone, a list of \
             such, or \"off\""
        );
        let place = value.span();
        if let Some(text) = value.get_ref().as_str() {
            return if text == "off" {
                Some(Vec::new())
            } else {
                self.address(text, place, &remedy).map(|one| vec![one])
            };
        }
        let Some(array) = value.get_ref().as_array() else {
            self.wrong(place, format!("`{key}` is an address, a list of addresses, or \"off\""), remedy);
            return None;
        };
        if array.is_empty() {
            self.wrong(place, format!("`{key}` is an empty list"), format!("write {key} = \"off\" not to serve it"));
            return None;
        }
        if array.len() > ADDRESSES_MAX {
            self.wrong(place, format!("`{key}` has more than {ADDRESSES_MAX} addresses"), remedy);
            return None;
        }
        let mut addresses = Vec::new();
        for item in array {
            let address = match item.get_ref().as_str() {
                Some(text) => self.address(text, item.span(), &remedy),
                None => {
                    self.wrong(item.span(), "an address is a text", &remedy);
                    None
                }
            };
            addresses.extend(address);
        }
        (addresses.len() == array.len()).then_some(addresses)
    }

    fn address(&mut self, text: &str, place: Range<usize>, remedy: &str) -> Option<SocketAddr> {
        match value::address(text) {
            Ok(address) => Some(address),
            Err(why) => {
                let message = format!("{}: {why}", self.shown(text, &place));
                self.wrong(place, message, remedy);
                None
            }
        }
    }
}

fn list<'l>(names: impl IntoIterator<Item = &'l str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> Config {
        read(text, Path::new("/etc/pigeon")).unwrap().config
    }

    #[test]
    fn the_host_name_alone_is_a_configuration() {
        assert_eq!(good("hostname = \"mail.example.org\""), Config::new("mail.example.org"));
    }

    #[test]
    fn services_listen_where_told_or_not_at_all() {
        let config = good(
            "hostname = \"a.example\"\n[listen]\nsmtp = [\"192.0.2.1:25\", \"[2001:db8::1]:26\"]\npop3 = \"off\"\n",
        );
        assert_eq!(config.listen.of(Service::Smtp).len(), 2);
        assert!(config.listen.of(Service::Pop3).is_empty());
        assert_eq!(config.listen.of(Service::Imap), ["[::]:143".parse().unwrap()]);
        assert_eq!(config.listen.all().count(), 7);
    }

    #[test]
    fn relative_paths_count_from_the_files_folder() {
        let config = good("hostname = \"a.example\"\ndata = \".\"\n[tls]\ncertificate = \"c.pem\"\nkey = \"/k.pem\"\n");
        assert_eq!(config.data, Path::new("/etc/pigeon"));
        let tls = config.tls.unwrap();
        assert_eq!((tls.certificate, tls.key), ("/etc/pigeon/c.pem".into(), "/k.pem".into()));
    }

    #[test]
    fn every_problem_comes_at_once_and_a_torn_line_is_told_once() {
        let text = "hostname = mail.example.org\nlisten = 3\n[limit]\n[limits]\nmemory = 24\nconections = 5\n";
        let problems = read(text, Path::new("/")).unwrap_err();
        let lines: Vec<usize> =
            problems.iter().map(|problem| line_at(text, problem.place.clone().unwrap().start).0).collect();
        for line in [1, 2, 3, 5, 6] {
            assert!(lines.contains(&line), "line {line} of {problems:#?}");
        }
    }

    #[test]
    fn garbage_is_told_in_a_bounded_number_of_problems() {
        let text = "= [ ] ?\n".repeat(1_000);
        assert!(read(&text, Path::new("/")).unwrap_err().len() <= PROBLEMS_MAX);
        assert!(read("\0\u{feff}[[[[", Path::new("/")).is_err());
    }
}
