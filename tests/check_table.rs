//! `pigeon check`: broken configurations and broken machines, each with the message and the place it must be told at.

use pigeon::cli::check::{Binding, CertificateFacts, Data, DataState, Facts, FileFacts, ServerState, judge};
use pigeon::config::{Problem, Service, Severity, read};
use std::net::Ipv6Addr;
use std::path::Path;

const NOW_S: i64 = 1_800_000_000; // 2027-01-15
const DAY_S: i64 = 86_400;
const GIB: u64 = 1 << 30;

/// Everything on, so that every place exists.
const WHOLE: &str = r#"hostname = "mail.example.org"
data = "/srv/mail"
[listen]
smtp = "[::]:25"
imap = "192.0.2.1:143"
imaps = "[::1]:993"
[tls]
certificate = "/etc/pigeon/cert.pem"
key = "/etc/pigeon/key.pem"
[limits]
memory = "24 MiB"
connections = 512
connections_per_ip = 64
[store]
reserve = "64 MiB"
[outbound]
relay = "smtps://user@smtp.provider.example:465"
password_file = "/etc/pigeon/relay-password"
"#;

struct BrokenFile {
    why: &'static str,
    text: &'static str,
    /// From 1; 0: no line, because something misses.
    line: usize,
    message: &'static str,
    remedy: &'static str,
}

/// One problem each; the line it must point at.
const FILES: [BrokenFile; 28] = [
    BrokenFile {
        why: "the only required key",
        text: "data = \"/srv/mail\"\n",
        line: 0,
        message: "the key `hostname` is missing",
        remedy: "hostname = \"mail.example.org\"",
    },
    BrokenFile {
        why: "an empty file",
        text: "",
        line: 0,
        message: "the key `hostname` is missing",
        remedy: "hostname =",
    },
    BrokenFile {
        why: "an address literal names no host",
        text: "hostname = \"192.0.2.1\"\n",
        line: 1,
        message: "`192.0.2.1` is no host name",
        remedy: "the name that other servers find this one by",
    },
    BrokenFile {
        why: "underscores are not for host names (RFC 1123 2.1)",
        text: "hostname = \"my_mail.example.org\"\n",
        line: 1,
        message: "`my_mail.example.org` is no host name",
        remedy: "hostname =",
    },
    BrokenFile {
        why: "texts stand in quotes",
        text: "hostname = mail.example.org\n",
        line: 1,
        message: "string",
        remedy: "texts stand in quotes",
    },
    BrokenFile {
        why: "a number where a text belongs",
        text: "hostname = \"a.example\"\ndata = 7\n",
        line: 2,
        message: "`data` is a text, not integer",
        remedy: "data = \"/path/to/it\"",
    },
    BrokenFile {
        why: "an empty path would be the current folder",
        text: "hostname = \"a.example\"\ndata = \"\"\n",
        line: 2,
        message: "`data` is empty",
        remedy: "data = ",
    },
    BrokenFile {
        why: "a key mistyped",
        text: "hostname = \"a.example\"\n[listen]\nsmpt = \"[::]:25\"\n",
        line: 3,
        message: "unknown key `listen.smpt`",
        remedy: "did you mean `smtp`?",
    },
    BrokenFile {
        why: "a section mistyped",
        text: "hostname = \"a.example\"\n[limit]\nmemory = \"24 MiB\"\n",
        line: 2,
        message: "unknown section [limit]",
        remedy: "did you mean [limits]?",
    },
    BrokenFile {
        why: "a key in the wrong section",
        text: "hostname = \"a.example\"\n[store]\nmemory = \"24 MiB\"\n",
        line: 3,
        message: "unknown key `store.memory`",
        remedy: "`memory` stands in [limits]",
    },
    BrokenFile {
        why: "a key below a section that belongs above it",
        text: "[listen]\nhostname = \"a.example\"\n",
        line: 2,
        message: "unknown key `listen.hostname`",
        remedy: "at the top of the file",
    },
    BrokenFile {
        why: "the same key twice",
        text: "hostname = \"a.example\"\nhostname = \"b.example\"\n",
        line: 2,
        message: "duplicate",
        remedy: "keep one of the two",
    },
    BrokenFile {
        why: "a section used as a key",
        text: "hostname = \"a.example\"\nlimits = \"24 MiB\"\n",
        line: 2,
        message: "`limits` is a section",
        remedy: "write [limits]",
    },
    BrokenFile {
        why: "a port without an address",
        text: "hostname = \"a.example\"\n[listen]\nimap = \"143\"\n",
        line: 3,
        message: "the address is missing",
        remedy: "imap = \"[::]:143\"",
    },
    BrokenFile {
        why: "an address without a port",
        text: "hostname = \"a.example\"\n[listen]\nimap = \"192.0.2.1\"\n",
        line: 3,
        message: "the port is missing",
        remedy: "\"127.0.0.1:143\" for this machine alone",
    },
    BrokenFile {
        why: "a name where an address belongs",
        text: "hostname = \"a.example\"\n[listen]\nimap = \"localhost:143\"\n",
        line: 3,
        message: "an IP address is needed",
        remedy: "imap =",
    },
    BrokenFile {
        why: "a port beyond the last",
        text: "hostname = \"a.example\"\n[listen]\nimap = [\"127.0.0.1:143\", \"127.0.0.1:70000\"]\n",
        line: 3,
        message: "`127.0.0.1:70000`: the port must be a number up to 65535",
        remedy: "imap =",
    },
    BrokenFile {
        why: "an empty list is not off",
        text: "hostname = \"a.example\"\n[listen]\npop3 = []\n",
        line: 3,
        message: "`pop3` is an empty list",
        remedy: "pop3 = \"off\"",
    },
    BrokenFile {
        why: "two services on one address",
        text: "hostname = \"a.example\"\n[listen]\nimaps = \"[::]:143\"\n",
        line: 3,
        message: "imap and imaps both listen on [::]:143",
        remedy: "standard: 993",
    },
    BrokenFile {
        why: "a certificate without its key",
        text: "hostname = \"a.example\"\n[tls]\ncertificate = \"/c.pem\"\n",
        line: 2,
        message: "[tls] has `certificate` but not `key`",
        remedy: "add key =",
    },
    BrokenFile {
        why: "a size without a unit",
        text: "hostname = \"a.example\"\n[limits]\nmemory = 24\n",
        line: 3,
        message: "`memory` is a text with a number and a unit",
        remedy: "memory = \"24 MiB\"",
    },
    BrokenFile {
        why: "an unknown unit",
        text: "hostname = \"a.example\"\n[limits]\nmessage = \"50 megs\"\n",
        line: 3,
        message: "`50 megs` is no size",
        remedy: "write a size from 64 KiB",
    },
    BrokenFile {
        why: "less memory than a hash and the base take",
        text: "hostname = \"a.example\"\n[limits]\nmemory = \"8 MiB\"\n",
        line: 3,
        message: "8 MiB is too little for `memory`",
        remedy: "from 16 MiB",
    },
    BrokenFile {
        why: "no connections at all",
        text: "hostname = \"a.example\"\n[limits]\nconnections = 0\n",
        line: 3,
        message: "`connections` is a whole number, 1 or more",
        remedy: "connections = 512",
    },
    BrokenFile {
        why: "a cache that eats the budget",
        text: "hostname = \"a.example\"\n[store]\nindex_cache = \"20 MiB\"\n",
        line: 3,
        message: "an index cache of 20 MiB leaves no memory for connections",
        remedy: "raise `memory` in [limits]",
    },
    BrokenFile {
        why: "a commit that waits for minutes",
        text: "hostname = \"a.example\"\n[store]\ngather = \"90 s\"\n",
        line: 3,
        message: "90000 ms is too long for `gather`",
        remedy: "gather = \"3 ms\"",
    },
    BrokenFile {
        why: "an endurance without its unit",
        text: "hostname = \"a.example\"\n[store]\nendurance = \"10\"\n",
        line: 3,
        message: "`10` is no size",
        remedy: "write a size from 0 B to 1024 TiB",
    },
    BrokenFile {
        why: "a relay that is no address",
        text: "hostname = \"a.example\"\n[outbound]\nrelay = \"smtp.provider.example\"\n",
        line: 3,
        message: "`smtp.provider.example` is no relay",
        remedy: "smtps://",
    },
];

struct BrokenMachine {
    why: &'static str,
    breaks: fn(&mut Facts),
    severity: Severity,
    /// The key whose value it must point at; empty: the machine itself.
    key: &'static str,
    message: &'static str,
    remedy: &'static str,
}

use Severity::{Error, Warning};

const MACHINES: [BrokenMachine; 28] = [
    BrokenMachine {
        why: "a board without a battery for its clock",
        breaks: |facts| facts.unix_s = 12,
        severity: Error,
        key: "",
        message: "the clock says 1970-01-01",
        remedy: "timedatectl",
    },
    BrokenMachine {
        why: "the data belong to another user",
        breaks: |facts| facts.data.state = DataState::NotWritable("Permission denied".to_owned()),
        severity: Error,
        key: "data",
        message: "/srv/mail cannot be written to: Permission denied",
        remedy: "chown",
    },
    BrokenMachine {
        why: "a file where the folder should be",
        breaks: |facts| facts.data.state = DataState::NoFolder,
        severity: Error,
        key: "data",
        message: "/srv/mail is not a folder",
        remedy: "set `data` to a folder",
    },
    BrokenMachine {
        why: "other users can read the mail",
        breaks: |facts| facts.data.is_open_to_others = true,
        severity: Warning,
        key: "data",
        message: "everybody on this machine can look into /srv/mail",
        remedy: "chmod 700 /srv/mail",
    },
    BrokenMachine {
        why: "a restore that was cut short",
        breaks: |facts| facts.data.is_half_restored = true,
        severity: Error,
        key: "data",
        message: "a restore into /srv/mail is under way or was cut short",
        remedy: "`pigeon restore` again",
    },
    BrokenMachine {
        why: "mail on a RAM disk",
        breaks: |facts| facts.data.is_in_memory = true,
        severity: Warning,
        key: "data",
        message: "all mail is lost when the machine stops",
        remedy: "on a disk or card",
    },
    BrokenMachine {
        why: "less free than the reserve",
        breaks: |facts| facts.data.free_bytes = 64 << 20,
        severity: Error,
        key: "store.reserve",
        message: "the disk is full: 64 MiB free",
        remedy: "lower `reserve`",
    },
    BrokenMachine {
        why: "less free than the reserve and what the store lays down for a full disk",
        breaks: |facts| (facts.data.free_bytes, facts.data.ballast_bytes) = (70 << 20, 8 << 20),
        severity: Error,
        key: "store.reserve",
        message: "64 MiB are kept in reserve beside 8 MiB for deleting on a full disk",
        remedy: "lower `reserve`",
    },
    BrokenMachine {
        why: "hardly anything free",
        breaks: |facts| facts.data.free_bytes = GIB / 2,
        severity: Warning,
        key: "data",
        message: "the disk is nearly full: 512 MiB free, 1 % of it",
        remedy: "before mail is refused",
    },
    BrokenMachine {
        why: "the lock is held by somebody who does not answer",
        breaks: |facts| facts.server = ServerState::Silent,
        severity: Error,
        key: "data",
        message: "another process has /srv/mail open",
        remedy: "fuser",
    },
    BrokenMachine {
        why: "Postfix is still there",
        breaks: |facts| bound(facts, Service::Smtp, Binding::Taken),
        severity: Error,
        key: "listen.smtp",
        message: "another program listens on [::]:25 for smtp",
        remedy: "ss -ltnp 'sport = :25'",
    },
    BrokenMachine {
        why: "not root, and no capability",
        breaks: |facts| bound(facts, Service::Smtp, Binding::NotAllowed),
        severity: Error,
        key: "listen.smtp",
        message: "may not listen on [::]:25 for smtp",
        remedy: "CAP_NET_BIND_SERVICE",
    },
    BrokenMachine {
        why: "an address of another machine",
        breaks: |facts| bound(facts, Service::Imap, Binding::NoAddress),
        severity: Error,
        key: "listen.imap",
        message: "192.0.2.1:143 for imap: this machine does not have that address",
        remedy: "ip address",
    },
    BrokenMachine {
        why: "IPv6 is off and an IPv6 address is configured",
        breaks: |facts| bound(facts, Service::Imaps, Binding::NoIpv6),
        severity: Warning,
        key: "listen.imaps",
        message: "not listening on [::1]:993 for imaps: this machine has no IPv6",
        remedy: "disable_ipv6=0",
    },
    BrokenMachine {
        why: "a socket unit is enabled, and another address configured",
        breaks: |facts| {
            let (unit, by) = ("pigeon-imaps.socket".to_owned(), "[::]:993".to_owned());
            bound(facts, Service::Imaps, Binding::Replaced { unit, by });
        },
        severity: Warning,
        key: "listen.imaps",
        message: "not listening on [::1]:993 for imaps: systemd listens on [::]:993 instead",
        remedy: "systemctl edit pigeon-imaps.socket",
    },
    BrokenMachine {
        why: "IPv6 is off, and every address is meant",
        breaks: |facts| facts.has_ipv6 = false,
        severity: Warning,
        key: "",
        message: "\"[::]\" means every IPv4 address only",
        remedy: "disable_ipv6=0",
    },
    BrokenMachine {
        why: "whatever else binding may say",
        breaks: |facts| bound(facts, Service::Imap, Binding::Failed("Invalid argument".to_owned())),
        severity: Error,
        key: "listen.imap",
        message: "cannot listen on 192.0.2.1:143 for imap: Invalid argument",
        remedy: "correct the address",
    },
    BrokenMachine {
        why: "the certificate is not there",
        breaks: |facts| facts.certificate = unusable(false, "cannot read /etc/pigeon/cert.pem: not found"),
        severity: Error,
        key: "tls.certificate",
        message: "cannot read /etc/pigeon/cert.pem",
        remedy: "do this",
    },
    BrokenMachine {
        why: "the key is another certificate's",
        breaks: |facts| facts.certificate = unusable(true, "the key does not belong to the certificate"),
        severity: Error,
        key: "tls.key",
        message: "does not belong to the certificate",
        remedy: "do this",
    },
    BrokenMachine {
        why: "nobody renewed it",
        breaks: |facts| facts.certificate = usable(-90, -1, true, false),
        severity: Error,
        key: "tls.certificate",
        message: "the certificate expired on 2027-01-14",
        remedy: "systemctl reload pigeon",
    },
    BrokenMachine {
        why: "it ends next week",
        breaks: |facts| facts.certificate = usable(-80, 7, true, false),
        severity: Warning,
        key: "tls.certificate",
        message: "the certificate expires on 2027-01-22",
        remedy: "renew it",
    },
    BrokenMachine {
        why: "it begins tomorrow, or the clock is behind",
        breaks: |facts| facts.certificate = usable(1, 90, true, false),
        severity: Error,
        key: "tls.certificate",
        message: "the certificate is not valid before 2027-01-16",
        remedy: "correct the clock",
    },
    BrokenMachine {
        why: "it is another host's",
        breaks: |facts| facts.certificate = usable(-1, 90, false, false),
        severity: Error,
        key: "tls.certificate",
        message: "the certificate is not for `mail.example.org`",
        remedy: "set `hostname` to a name that is in it",
    },
    BrokenMachine {
        why: "everybody can be this server",
        breaks: |facts| facts.certificate = usable(-1, 90, true, true),
        severity: Warning,
        key: "tls.key",
        message: "everybody on this machine can read the private key",
        remedy: "chmod 640",
    },
    BrokenMachine {
        why: "a container smaller than the configuration",
        breaks: |facts| facts.memory_bytes = 20 << 20,
        severity: Error,
        key: "limits.memory",
        message: "24 MiB of memory are allowed, but there are only 20 MiB",
        remedy: "MemoryMax=",
    },
    BrokenMachine {
        why: "a container too small for any configuration",
        breaks: |facts| facts.memory_bytes = 8 << 20,
        severity: Error,
        key: "",
        message: "8 MiB of memory are too little",
        remedy: "MemoryMax=",
    },
    BrokenMachine {
        why: "fewer files than connections",
        breaks: |facts| facts.files_max = 256,
        severity: Warning,
        key: "limits.connections",
        message: "512 connections need 576 open files, and 256 are allowed",
        remedy: "LimitNOFILE=",
    },
    BrokenMachine {
        why: "the relay's password is not there",
        breaks: |facts| facts.password_file = Some(FileFacts::Unreadable("No such file or directory".to_owned())),
        severity: Error,
        key: "outbound.password_file",
        message: "cannot read the relay's password from /etc/pigeon/relay-password",
        remedy: "put it there",
    },
];

/// A machine without any problem.
fn good_machine() -> Facts {
    Facts {
        unix_s: NOW_S,
        files_max: 524_288,
        memory_bytes: GIB,
        has_ipv6: true,
        data: Data {
            state: DataState::Writable,
            is_open_to_others: false,
            is_half_restored: false,
            is_in_memory: false,
            ballast_bytes: 0,
            free_bytes: 20 * GIB,
            disk_bytes: 32 * GIB,
        },
        server: ServerState::None,
        addresses: vec![
            (Service::Smtp, (Ipv6Addr::UNSPECIFIED, 25).into(), Binding::Free),
            (Service::Imap, ([192, 0, 2, 1], 143).into(), Binding::Free),
            (Service::Imaps, (Ipv6Addr::LOCALHOST, 993).into(), Binding::Ours),
        ],
        certificate: usable(-1, 90, true, false),
        password_file: Some(FileFacts::Readable { is_open: false }),
    }
}

fn bound(facts: &mut Facts, service: Service, binding: Binding) {
    for (at, _, place) in &mut facts.addresses {
        if *at == service {
            *place = binding.clone();
        }
    }
}

fn usable(from_days: i64, until_days: i64, is_for_hostname: bool, is_key_open: bool) -> CertificateFacts {
    let (not_before_s, not_after_s) = (NOW_S + from_days * DAY_S, NOW_S + until_days * DAY_S);
    CertificateFacts::Usable { not_before_s, not_after_s, is_for_hostname, is_key_open }
}

fn unusable(is_key: bool, message: &str) -> CertificateFacts {
    CertificateFacts::Unusable { is_key, message: message.to_owned(), remedy: "do this".to_owned() }
}

fn read_whole(text: &str) -> Result<pigeon::config::Parsed, Vec<Problem>> {
    read(text, Path::new("/etc/pigeon"))
}

#[test]
fn a_good_configuration_on_a_good_machine_has_no_problem() {
    let parsed = read_whole(WHOLE).unwrap();
    assert_eq!(judge(&parsed.config, &parsed.places, &good_machine()), []);
}

#[test]
fn every_broken_file_is_told_once_with_its_line_and_its_remedy() {
    for row in &FILES {
        let problems = read_whole(row.text).expect_err(row.why);
        assert_eq!(problems.len(), 1, "{}: {problems:#?}", row.why);
        let problem = &problems[0];
        assert_eq!(problem.line(row.text).unwrap_or(0), row.line, "{}: {problem:#?}", row.why);
        assert!(problem.message.contains(row.message), "{}: {problem:#?}", row.why);
        assert!(problem.remedy.contains(row.remedy), "{}: {problem:#?}", row.why);
    }
}

#[test]
fn every_broken_machine_is_told_once_with_its_key_and_its_remedy() {
    let parsed = read_whole(WHOLE).unwrap();
    for row in &MACHINES {
        let mut facts = good_machine();
        (row.breaks)(&mut facts);
        let problems = judge(&parsed.config, &parsed.places, &facts);
        // A clock in 1970 makes every certificate invalid as well.
        let expected = if facts.unix_s < NOW_S { 2 } else { 1 };
        assert_eq!(problems.len(), expected, "{}: {problems:#?}", row.why);
        let problem = &problems[0];
        assert_eq!(problem.severity, row.severity, "{}: {problem:#?}", row.why);
        assert_eq!(problem.place, parsed.places.of(row.key), "{}: {problem:#?}", row.why);
        assert!(problem.message.contains(row.message), "{}: {problem:#?}", row.why);
        assert!(problem.remedy.contains(row.remedy), "{}: {problem:#?}", row.why);
    }
}

#[test]
fn all_that_is_broken_is_told_at_once() {
    let parsed = read_whole(WHOLE).unwrap();
    let mut facts = good_machine();
    facts.unix_s = 0;
    facts.files_max = 10;
    facts.data.state = DataState::NoFolder;
    bound(&mut facts, Service::Smtp, Binding::Taken);
    bound(&mut facts, Service::Imap, Binding::NoAddress);
    assert!(judge(&parsed.config, &parsed.places, &facts).len() >= 5);

    let text = "hostname = \"?\"\ndata = 1\n[listen]\nsmpt = \"\"\nimap = \"143\"\n[limits]\nmemory = \"1 B\"\n";
    let lines: Vec<_> = read_whole(text).unwrap_err().iter().map(|problem| problem.line(text)).collect();
    for line in [1, 2, 4, 5, 7] {
        assert!(lines.contains(&Some(line)), "line {line} in {lines:?}");
    }
}

#[test]
fn a_short_host_name_is_warned_of_and_a_name_for_this_machine_alone_is_not() {
    for (name, count) in [("mail", 1), ("localhost", 0), ("mail.example.org", 0)] {
        let text = WHOLE.replace("mail.example.org", name);
        let parsed = read_whole(&text).unwrap();
        let problems = judge(&parsed.config, &parsed.places, &good_machine());
        assert_eq!(problems.len(), count, "{name}: {problems:#?}");
        assert!(problems.iter().all(|problem| problem.line(&text) == Some(1)));
    }
}
