//! What an image for a board calls, as its init calls it: the card's file taken over and its secrets erased, releases
//! verified and written into the other slot.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

use assert_cmd::Command;
use std::fs;
use std::path::{Path, PathBuf};

/// A card, a data partition, and what init has beside.
struct Board(tempfile::TempDir);

impl Board {
    fn new() -> Self {
        let board = Self(tempfile::tempdir().unwrap());
        fs::create_dir(board.boot()).unwrap();
        board
    }

    fn boot(&self) -> PathBuf {
        self.0.path().join("boot")
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn pigeon(&self, args: &[&str]) -> Command {
        let mut command = Command::cargo_bin("pigeon").unwrap();
        command.args(args).current_dir(self.0.path());
        command
    }

    /// A start of the board; answers the report as it is on standard output.
    fn start(&self) -> String {
        self.start_with(&["--boot", "boot", "--data", "data", "--keep", "keep"])
    }

    /// A start with these of the card's partitions.
    fn start_with(&self, partitions: &[&str]) -> String {
        let args = ["board", "first-boot", "--memory", "1000000000", "--settings", "run/settings"];
        let done = self.pigeon(&args).args(partitions).assert().success();
        String::from_utf8(done.get_output().stdout.clone()).unwrap()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.boot().join(name), text).unwrap();
    }

    fn card(&self, name: &str) -> String {
        fs::read_to_string(self.boot().join(name)).unwrap()
    }

    fn settings(&self) -> String {
        fs::read_to_string(self.0.path().join("run/settings")).unwrap()
    }

    fn users(&self) -> String {
        let done = self.pigeon(&["user", "list", "--config", "data/pigeon.toml"]).assert().success();
        String::from_utf8(done.get_output().stdout.clone()).unwrap()
    }
}

/// Whether any file below `folder` has these octets.
fn anywhere(folder: &Path, words: &str) -> bool {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            anywhere(&path, words)
        } else {
            fs::read(&path).unwrap_or_default().windows(words.len()).any(|window| window == words.as_bytes())
        }
    })
}

const FILE: &str = "\u{feff}hostname = \"mail.example.org\"\r\n[board]\r\nname = \"post\"\r\naccount = \"alice@example.org\"\r\n\
    password = \"wonderland-7\"\r\ndomains = [\"example.net\"]\r\naddress = \"192.0.2.10/24\"\r\n\
    gateway = \"192.0.2.1\"\r\ndns = \"192.0.2.1\"\r\n[accounts]\r\n\
    \"bob@example.org\" = \"builder-22-octets\"\r\n[wifi]\r\nssid = \"IEEE\"\r\npassword = \"password\"\r\ncountry = \"GB\"\r\n\
    [listen]\r\npop3 = \"off\"\r\n";

#[test]
fn the_cards_file_is_taken_over_once_and_its_secrets_are_gone() {
    let board = Board::new();
    board.write("pigeon.toml", FILE);
    let report = board.start();
    assert!(report.contains("All is well") && report.contains("alice@example.org: added"), "{report}");
    assert_eq!(board.card("pigeon-report.txt"), report.replace('\n', "\r\n"));
    assert!(report.contains("post.local") && report.contains("192.0.2.10"), "{report}");

    for secret in ["wonderland-7", "builder-22-octets", "\"password\""] {
        assert!(!anywhere(board.0.path(), secret), "{secret}");
    }
    assert!(board.boot().join("pigeon-zeros.tmp").exists(), "the free space is to be overwritten");
    let cleaned = board.card("pigeon.toml");
    assert!(cleaned.contains("password = \"\"  # taken over"), "{cleaned}");
    assert!(cleaned.contains("\"f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e\""));

    let settings = board.settings();
    for line in
        ["HOSTNAME='post'\n", "MAILNAME='mail.example.org'\n", "WIFI_SSID='IEEE'\n", "WIFI_PSK='f42c6f", "NTP=''\n"]
    {
        assert!(settings.contains(line), "{line} in {settings}");
    }
    let config = fs::read_to_string(board.data().join("pigeon.toml")).unwrap();
    assert!(config.contains("pop3 = \"off\"") && config.contains("memory = \"48 MiB\""), "{config}");
    assert!(board.users().contains("alice@example.org") && board.users().contains("bob@example.org"));

    // A second start changes nothing, and asks for nothing.
    let again = board.start();
    assert!(again.contains("All is well") && !again.contains("added"), "{again}");
    assert_eq!((board.card("pigeon.toml"), board.settings()), (cleaned.clone(), settings.clone()));

    // Without the card everything stays as it was.
    board.start_with(&["--data", "data", "--keep", "keep"]);
    assert_eq!(board.settings(), settings);

    // A further line is a further account; a new password between the quotes is one.
    fs::remove_file(board.boot().join("pigeon.toml")).unwrap();
    board.write("pigeon.toml.txt", format!("{cleaned}\r\n").replace("\"\"  # taken over", "\"new-password-77\" #"));
    let report = board.start();
    assert!(report.contains("alice@example.org: has its new password"), "{report}");
    assert!(!anywhere(board.0.path(), "new-password-77"));
}

#[test]
fn without_the_data_partition_nothing_is_erased_and_no_account_is_made() {
    let board = Board::new();
    board.write("pigeon.toml", FILE);
    let report = board.start_with(&["--boot", "boot"]);
    assert!(report.contains("takes no mail") && report.contains("no password erased"), "{report}");
    assert!(!report.contains("All is well") && !report.contains("added") && !report.contains("are erased"), "{report}");
    assert_eq!(board.card("pigeon-report.txt"), report.replace('\n', "\r\n"));
    assert_eq!(board.card("pigeon.toml"), FILE);
    assert!(!board.data().exists());
    assert!(board.settings().contains("HOSTNAME='post'") && board.settings().contains("WIFI_PSK='f42c6f"));
    // Once it is back, all of it is taken over.
    assert!(board.start().contains("alice@example.org: added"));
    assert!(!anywhere(&board.boot(), "wonderland-7"));
    // A changed password as well.
    let changed = board.card("pigeon.toml").replace("password = \"\"", "password = \"another-77\"");
    board.write("pigeon.toml", &changed);
    board.start_with(&["--boot", "boot"]);
    assert_eq!(board.card("pigeon.toml"), changed);
    assert!(board.start().contains("alice@example.org: has its new password"));
    // Without either the board comes up.
    assert!(board.start_with(&[]).contains("takes no mail"));
}

#[test]
fn mistakes_are_told_without_passwords_and_the_rest_is_done() {
    let board = Board::new();
    board.write(
        "pigeon.toml",
        "hostname = \"mail.example.org\"\n[board]\nnam = \"post\"\naccount = \"alice@example.org\"\npassword = \"wonderland-7\"\n\
         [limits]\nmemory = 24\n[accounts]\nbob@example.org = \"builder-22\"\n[wifi]\nssid = \"home\"\npassword = hunter2hunter2\n",
    );
    let report = board.start();
    for words in
        ["There are mistakes", "pigeon.toml:3:1: error", "did you mean `name`?", "pigeon.toml:7:", "stands in quotes"]
    {
        assert!(report.contains(words), "{words} in {report}");
    }
    assert!(!report.contains("hunter2") && !report.contains("builder-22"), "{report}");
    assert!(board.users().contains("alice@example.org"));
    assert!(!board.card("pigeon.toml").contains("wonderland-7"));
    assert!(!anywhere(&board.data(), "hunter2hunter2"));
    board.start();
    board.pigeon(&["board", "report", "--boot", "boot", "198.51.100.7"]).assert().success();
    assert!(board.card("pigeon-report.txt").contains("Addresses: 198.51.100.7"));
    // The report is not written again for an address that the network gives later.
    board.start();
    assert!(board.card("pigeon-report.txt").contains("Addresses: 198.51.100.7"));
}

#[test]
fn a_board_comes_up_whatever_is_on_its_card() {
    let wide: Vec<u8> = "[board]\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let rows: [(Vec<u8>, &str); 5] = [
        (b"".to_vec(), "There is no account"),
        (wide, "UTF-16"),
        (b"[[[[\n= = =\n".to_vec(), "mistakes"),
        (vec![b'#'; 70_000], "larger than 64 KiB"),
        (b"hostname = \"a.example\"\n[listen]\nsmtp = \"[::]:25\"\nimap = \"[::]:25\"\n[limits]\nmemory = \"16 MiB\"\n".to_vec(), "both listen"),
    ];
    for (octets, words) in rows {
        let board = Board::new();
        board.write("pigeon.toml", &octets);
        let report = board.start();
        assert!(report.contains(words), "{words} in {report}");
        assert!(board.settings().contains("HOSTNAME='pigeon'"));
        // The server would start with what was made of it.
        board.pigeon(&["domain", "add", "example.org", "--config", "data/pigeon.toml"]).assert().success();
    }
    let board = Board::new();
    assert!(board.start().contains("pigeon.local"));
}

#[test]
fn what_is_taken_off_the_card_holds_no_longer() {
    let board = Board::new();
    board.write("pigeon.toml", "[board]\nname = \"post\"\n");
    board.write("custom.toml", format!("[ssh]\nauthorized_keys = [\"{KEY}\"]\n"));
    board.start();
    assert!(board.settings().contains(KEY) && board.settings().contains("'post'"));
    // A card that cannot be read tells nothing new.
    board.start_with(&["--data", "data", "--keep", "keep"]);
    assert!(board.settings().contains(KEY) && board.settings().contains("'post'"));
    fs::remove_file(board.boot().join("custom.toml")).unwrap();
    board.start();
    assert!(!board.settings().contains(KEY) && board.settings().contains("'post'"));
    fs::remove_file(board.boot().join("pigeon.toml")).unwrap();
    let report = board.start();
    assert!(report.contains("no pigeon.toml on the card any more"), "{report}");
    for partitions in
        [&["--data", "data", "--keep", "keep"][..], &["--boot", "boot", "--data", "data", "--keep", "keep"]]
    {
        board.start_with(partitions);
        assert!(!board.settings().contains(KEY) && board.settings().contains("HOSTNAME='pigeon'"));
    }
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBexample alice@computer";

#[test]
fn who_can_write_into_the_servers_folder_is_not_let_in_as_root() {
    let board = Board::new();
    fs::create_dir(board.data()).unwrap();
    // As the first version kept it, or as whoever took the server over would like it.
    let text = format!("[board]\nname = \"post\"\nssh_key = \"{KEY}\"\n");
    fs::write(board.data().join("board.toml"), &text).unwrap();
    fs::write(board.data().join("imager.toml"), format!("[ssh]\nauthorized_keys = [\"{KEY}\"]\n")).unwrap();
    board.start_with(&["--data", "data", "--keep", "keep"]);
    assert!(!board.settings().contains("ssh-ed25519"), "{}", board.settings());
    assert!(board.settings().contains("HOSTNAME='post'"), "the rest is taken until the card can be read");
    board.write("pigeon.toml", &text);
    board.start();
    assert!(board.settings().contains(KEY));
    assert!(!board.data().join("board.toml").exists() && !board.data().join("imager.toml").exists());
    let facts = fs::metadata(board.0.path().join("keep")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&facts.permissions()) & 0o777, 0o700);
}

/// A certificate for a name and its key, as PEM.
fn pair(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn a_certificate_of_ones_own_is_taken_over_and_its_key_erased() {
    let board = Board::new();
    let kept = || fs::read_to_string(board.data().join("certificate.pem")).unwrap();
    let config = || fs::read_to_string(board.data().join("pigeon.toml")).unwrap();
    let secret = |key: &str| key.lines().nth(1).unwrap().to_owned();
    board.write(
        "pigeon.toml",
        "hostname = \"a.example\"\n[tls]\ncertificate = \"cert.pem\"\nkey = \"/boot/../key.pem\"\n",
    );
    assert!(board.start().contains("cannot be used"), "a path that leads elsewhere");
    board.write("pigeon.toml", "hostname = \"a.example\"\n[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n");
    let (certificate, key) = pair("a.example");
    board.write("cert.pem", &certificate);
    board.write("key.pem", &key);
    let report = board.start();
    assert!(report.contains("All is well") && report.contains("key.pem: its key is taken over and erased"), "{report}");
    assert_eq!((kept(), board.card("cert.pem")), (format!("{certificate}{key}"), certificate.clone()));
    assert!(!anywhere(&board.boot(), &secret(&key)) && board.card("key.pem").starts_with("# The key was taken over"));
    assert!(
        config().contains("certificate = \"certificate.pem\"") && !report.contains("pigeon-ca.crt"),
        "{}",
        config()
    );
    let mode = fs::metadata(board.data().join("certificate.pem")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);

    // The next start, one without the card, and one with both files gone, change nothing.
    assert!(board.start().contains("All is well"));
    board.start_with(&["--data", "data", "--keep", "keep"]);
    assert!(config().contains("certificate.pem"));
    fs::remove_file(board.boot().join("key.pem")).unwrap();
    assert!(board.start().contains("All is well"));

    // A pair that does not belong together stays on the card, and the server goes on with the old one.
    let (_, other) = pair("a.example");
    board.write("key.pem", &other);
    let report = board.start();
    assert!(report.contains("the key in key.pem does not belong to the certificate in cert.pem"), "{report}");
    assert!(report.contains("the one taken over before stays") && !report.contains("All is well"), "{report}");
    assert_eq!((board.card("key.pem"), kept()), (other, format!("{certificate}{key}")));

    // The next one, in one file.
    let (certificate, key) = pair("a.example");
    board.write("cert.pem", format!("{key}{certificate}"));
    board.write("pigeon.toml", "hostname = \"a.example\"\n[tls]\ncertificate = \"cert.pem\"\nkey = \"cert.pem\"\n");
    assert!(board.start().contains("All is well"));
    assert_eq!(kept(), format!("{certificate}{key}"));
    assert!(!anywhere(&board.boot(), &secret(&key)) && board.card("cert.pem").starts_with(&certificate));
    let names: Vec<_> = fs::read_dir(board.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("tried")), "{names:?}");
}

#[test]
fn a_certificate_that_the_server_would_not_start_with_gives_way_to_one_of_the_boards_own() {
    let ((certificate, key), (_, other)) = (pair("a.example"), pair("a.example"));
    let rows = [
        (Some("junk\n"), Some(key.as_str()), "cert.pem holds no certificate"),
        (Some(certificate.as_str()), Some(other.as_str()), "does not belong"),
        (Some(certificate.as_str()), Some("junk\n"), "key.pem holds no private key"),
        (Some(certificate.as_str()), None, "key.pem is not on the card"),
        (None, Some(key.as_str()), "cert.pem is not on the card"),
    ];
    for (certificate, key, words) in rows {
        let board = Board::new();
        board.write("pigeon.toml", "hostname = \"a.example\"\n[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n");
        for (name, text) in [("cert.pem", certificate), ("key.pem", key)] {
            text.iter().for_each(|text| board.write(name, text));
        }
        let report = board.start();
        assert!(report.contains(words) && report.contains("one of the board's own is used"), "{words}: {report}");
        assert!(!report.contains("All is well") && report.contains("pigeon-ca.crt"), "{report}");
        assert!(!fs::read_to_string(board.data().join("pigeon.toml")).unwrap().contains("[tls]"));
        assert!(key.is_none_or(|key| board.card("key.pem") == key), "what is not taken over is not erased");
        assert!(!board.data().join("certificate.pem").exists());
    }
}

#[test]
fn a_password_in_curly_quotes_is_neither_taken_nor_erased() {
    let board = Board::new();
    let text = "[board]\naccount = \"alice@example.org\"\npassword = “wonderland-77”\n";
    board.write("pigeon.toml", text);
    let report = board.start();
    assert!(report.contains("pigeon.toml:3:12: error") && !report.contains("wonderland"), "{report}");
    assert!(!report.contains("added") && !report.contains("erased\n"), "{report}");
    assert_eq!(board.card("pigeon.toml"), text);
}

#[test]
fn a_password_that_stays_on_the_card_is_not_shown_and_is_told_to_stay() {
    let rows = [
        ("[board]\naccount = \"a@b.example\"\npassword = \"first-77\"\npassword = \"hunter2x\"\n", "duplicate key"),
        ("[board]\naccount = \"a@b.example\"\npasword = \"hunter2x\"\n", "did you mean `password`"),
        ("[board]\npassword = \"hunter2x\"\n", "no good `account`"),
        ("[wifi]\nssid = \"home\"\ncountry = \"DE\"\npsk = \"hunter2x\"\n", "unknown key `wifi.psk`"),
        ("[wifi]\npassword = \"hunter2x\"\n", "has no `ssid`"),
        ("[accounts]\nalice = \"hunter2x\"\n", "no mail address"),
        ("[board]\naccount = \"alice@example.org:hunter2x\"\n", "no mail address"),
        ("[board]\naccount = \"alice@example.org hunter2x\"\n", "no mail address"),
        ("[board]\naccount = \"alice@example.org:hunter2x@home\"\n", "no mail address"),
        ("[accounts]\n\"alice@b\u{fc}cher.example:hunter2x\" = \"x\"\n", "no mail address"),
        ("[board]\naddress = \"alice@example.org:hunter2x\"\n", "no address"),
        ("[wifi] psk = \"hunter2x]pw\"\n", "[wifi]"),
        ("[outbound]\nrelay = \"smtps://alice:hunter2x@smtp.example.org:none\"\n", "no relay"),
    ];
    for (text, words) in rows {
        let board = Board::new();
        board.write("pigeon.toml", text);
        let report = board.start();
        assert!(report.contains(words) && !report.contains("unter"), "{words}: {report}");
        assert!(report.contains("stays on the card"), "{words}: {report}");
        assert!(board.card("pigeon.toml").contains("hunter2x") && !anywhere(&board.data(), "unter2"), "{words}");
    }
    // A relay's user is no password, though the line is not shown to who may guess.
    let board = Board::new();
    let relay = "[outbound]\nrelay = \"smtps://alice@smtp.example.org:465\"\n";
    board.write("pigeon.toml", format!("hostname = \"mail.example.org\"\n{relay}"));
    let report = board.start();
    assert!(!report.contains("stays on the card") && report.contains("All is well."), "{report}");
    board.write("pigeon.toml", relay.replace("alice", "alice:hunter2x"));
    let report = board.start();
    assert!(report.contains("stays on the card") && !report.contains("unter"), "{report}");
    let wide: Vec<u8> = "[board]\npassword = \"hunter2x\"\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let board = Board::new();
    board.write("pigeon.toml", wide);
    assert!(board.start().contains("a password in it stays on the card"));
    board.write("pigeon.toml", "[board]\nname = \"post\"\n");
    board.write("pigeon.toml.txt", "[board]\npassword = \"hunter2x\"\n");
    assert!(board.start().contains("is not looked at, and a password in it stays on the card"));
}

#[test]
fn what_a_torn_text_swallows_is_neither_shown_nor_taken() {
    let rest = "account = \"alice@example.org\"\npassword = \"hunter2x\"\n[accounts]\n\"bob@example.org\" = \"hunter2y\"\n\
        [wifi]\nssid = \"home\"\ncountry = \"DE\"\npassword = \"hunter2z\"\n";
    let values =
        ["\"\"\"post\"", "\"\"\"post", "'''post'", "['post\"]", "[\"post\"", "[\"post", "[\"\"\"post\"]", "['''post']"];
    for key in ["name", "domains", "gateway", "dns", "ntp", "ssh_key", "address", "restore", "nam"] {
        for value in values {
            let text = format!("[board]\n{key} = {value}\n{rest}");
            let board = Board::new();
            board.write("pigeon.toml", &text);
            let report = board.start();
            assert!(report.contains("There are mistakes") && !report.contains("unter2"), "{text}\n{report}");
            assert!(!anywhere(&board.data(), "unter2") && !board.settings().contains("unter2"), "{text}");
        }
    }
    for line in [
        "hostname = \"\"\"mail.example.org\"",
        "[limits]\nmemory = \"\"\"24 MiB\"",
        "[listen]\nsmtp = \"\"\"[::]:25\"",
        "[outbound]\nrelay = \"\"\"smtps://a\"",
        "[wifi]\ncountry = \"\"\"DE\"",
        "\"\"\"nam\" = 1",
        "[\"\"\"nam\"]",
    ] {
        let board = Board::new();
        board.write("pigeon.toml", format!("{line}\n[board]\n{rest}"));
        let report = board.start();
        assert!(report.contains("There are mistakes") && !report.contains("unter2"), "{line}\n{report}");
        assert!(!anywhere(&board.data(), "unter2"), "{line}");
    }
    // A text that is whole and wrong is shown, unless it is as long as what may be in it.
    let board = Board::new();
    let long = "hunter2 ".repeat(9);
    board.write("pigeon.toml", format!("[board]\nname = \"my pigeon\"\ngateway = \"{long}\"\n"));
    let report = board.start();
    assert!(
        report.contains("`my pigeon` is no name for a machine") && report.contains("this is no address"),
        "{report}"
    );
}

#[test]
fn copies_of_a_file_whose_passwords_were_erased_are_told() {
    let names = [
        "pigeon.toml~",
        ".pigeon.toml.swp",
        "Copy of pigeon.toml",
        "firstrun.sh",
        ".Trash-1000/files/pigeon.toml",
        ".Trashes/501/pigeon.toml",
        "$RECYCLE.BIN/$R1.toml",
    ];
    let board = Board::new();
    for folder in [".Trash-1000/files", ".Trash-1000/info", ".Trashes/501/deeper", "$RECYCLE.BIN", "elsewhere"] {
        fs::create_dir_all(board.boot().join(folder)).unwrap();
    }
    let text = "[board]\naccount = \"alice@example.org\"\npassword = \"short-7\"\n[wifi]\nssid = \"home\"\ncountry = \"DE\"\n\
        password = \"password\"\n[accounts]\n\"bob@example.org\" = \"a long sentence\"\n";
    board.write("pigeon.toml", text);
    board.write(names[0], text);
    board.write(names[1], [b"\0\x01b0VIM", text.as_bytes()].concat());
    board.write(names[2], "password = 'short-7'\n");
    board.write(names[3], "x a long sentence\n");
    board.write("custom.toml", "[wlan]\nssid = \"home\"\npassword = \"password\"\n");
    names[4..].iter().for_each(|name| board.write(name, text));
    // Nobody looks deeper than that, or elsewhere.
    [".Trashes/501/deeper/pigeon.toml", "elsewhere/pigeon.toml"].iter().for_each(|name| board.write(name, text));
    // These hold none: a word of the same letters, and what is too large to be a copy.
    board.write("notes.txt", "# password = \n# short-7\n");
    board.write("photo", text.repeat(1_000));
    let report = board.start();
    for name in names {
        let told = format!("warning: {name} on the card holds a password that was taken over");
        assert!(report.contains(&told), "{told}: {report}");
    }
    assert!(report.matches("holds a password").count() == names.len() && !report.contains("All is well"), "{report}");
    assert!(!report.contains("short-7") && !report.contains("long sentence"), "{report}");
    assert!(!board.card("pigeon.toml").contains("short-7"));
    names.iter().for_each(|name| fs::remove_file(board.boot().join(name)).unwrap());
    assert!(board.start().contains("All is well"));
}

#[test]
fn a_board_listens_on_all_its_addresses_instead_of_one_that_it_may_not_have() {
    let rows = [
        ("smtp = \"192.0.2.10:2525\"", "192.0.2.10", "smtp = [\"[::]:2525\"]"),
        (
            "imap = [\"127.0.0.1:1143\", \"[2001:db8::1]:1143\", \"192.0.2.1:1143\"]",
            "2001:db8::1",
            "imap = [\"[::]:1143\"]",
        ),
        ("pop3 = [\"127.0.0.1:1110\", \"192.0.2.1:110\"]", "192.0.2.1", "pop3 = [\"[::]:110\", \"127.0.0.1:1110\"]"),
        ("pop3s = \"127.0.0.1:995\"", "", "pop3s = [\"127.0.0.1:995\"]"),
        ("imaps = \"0.0.0.0:1993\"", "", "imaps = [\"0.0.0.0:1993\"]"),
    ];
    for (line, told, expected) in rows {
        let board = Board::new();
        board.write("pigeon.toml", format!("hostname = \"a.example\"\n[listen]\n{line}\n"));
        let report = board.start();
        let config = fs::read_to_string(board.data().join("pigeon.toml")).unwrap();
        assert!(config.contains(expected), "{line}: {config}");
        assert_eq!(report.contains("All is well"), told.is_empty(), "{line}: {report}");
        let words = format!("names {told}: a board's addresses change");
        assert_eq!(report.contains(&words), !told.is_empty(), "{line}: {report}");
    }
}

#[test]
fn a_restore_that_was_cut_short_is_told_with_what_its_reader_can_do() {
    for text in ["", FILE] {
        let board = Board::new();
        fs::create_dir(board.data()).unwrap();
        fs::write(board.data().join("restoring"), "").unwrap();
        board.write("pigeon.toml", text);
        let report = board.start();
        assert!(report.contains("the restore was cut short: no mail is taken or given out"), "{report}");
        assert!(report.contains("start the board again with the stick in it, or write the image onto the card again"));
        assert!(!report.contains("All is well") && !report.contains("pigeon restore"), "{report}");
        assert!(text.is_empty() || board.card("pigeon.toml").contains("wonderland-7"), "nothing took it over");
    }
}

#[test]
fn more_memory_than_the_board_has_is_not_given() {
    let board = Board::new();
    for (memory, is_given) in [("2 GiB", false), ("600 MiB", false), ("200 MiB", true)] {
        board.write("pigeon.toml", format!("hostname = \"a.example\"\n[limits]\nmemory = \"{memory}\"\n"));
        let report = board.start();
        assert_eq!(report.contains("All is well"), is_given, "{memory}: {report}");
        assert_eq!(report.contains("of this board"), !is_given, "{memory}: {report}");
        let config = fs::read_to_string(board.data().join("pigeon.toml")).unwrap();
        assert!(config.contains(if is_given { "\"200 MiB\"" } else { "\"48 MiB\"" }), "{config}");
    }
}

#[test]
fn a_restore_is_seen_in_whatever_way_it_is_written() {
    let rows: [(&str, &str, &str); 14] = [
        ("pigeon.toml", "[board]\nrestore = true\n", "yes"),
        ("pigeon.toml", "[board]\nrestore = \"true\"\n", "yes"),
        ("pigeon.toml", "[board]\nrestore = yes\n", "unclear"),
        ("pigeon.toml", "[board]\nrestore = \"ja\"\n", "unclear"),
        ("pigeon.toml", "[board]\nrestore = 1\n", "unclear"),
        ("pigeon.toml", "[board]\nrestore = false\n", "no"),
        ("pigeon.toml", "\0[board]\n", "unclear"),
        ("pigeon.toml.txt", "\u{feff}[board]\r\n  restore=true # from the old card\r\n", "yes"),
        ("pigeon.toml", "board.restore = true\n", "yes"),
        ("pigeon.toml", "board = { account = \"a@b.example\", restore = true }\n", "yes"),
        // Beside a mistake.
        ("pigeon.toml", "[board]\nname = “post”\nrestore = true\n", "yes"),
        ("pigeon.toml", "[board]\n# restore = true\n", "no"),
        ("pigeon.toml", "[accounts]\nrestore = true\n", "no"),
        ("other.toml", "[board]\nrestore = true\n", "no"),
    ];
    for (name, text, expected) in rows {
        let board = Board::new();
        board.write(name, text);
        let said = board.pigeon(&["board", "wants-restore", "--boot", "boot"]).assert().success();
        assert_eq!(String::from_utf8_lossy(&said.get_output().stdout).trim(), expected, "{name}: {text}");
        assert!(!board.data().exists() && fs::read_dir(board.boot()).unwrap().count() == 1, "nothing is written");
    }
}

#[test]
fn what_notepad_calls_unicode_is_read_and_saved_as_everybody_reads_it() {
    let wide = |text: &str| [b"\xff\xfe".to_vec(), text.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat();
    let text = "[board]\r\nname = \"post\"\r\naccount = \"alice@example.org\"\r\npassword = \"wonderland-7\"\r\n\
        restore = true\r\n";
    let board = Board::new();
    board.write("pigeon.toml", wide(text));
    board.write("pigeon.toml~", wide(text));
    let said = board.pigeon(&["board", "wants-restore", "--boot", "boot"]).assert().success();
    assert_eq!(said.get_output().stdout, b"yes\n");
    let report = board.start();
    assert!(report.contains("alice@example.org: added") && board.settings().contains("'post'"), "{report}");
    assert!(report.contains("pigeon.toml~ on the card holds a password"), "{report}");
    let card = fs::read(board.boot().join("pigeon.toml")).unwrap();
    assert!(card.starts_with(b"[board]\r\nname = \"post\"") && !card.contains(&0), "{}", board.card("pigeon.toml"));
    assert!(!anywhere(&board.data(), "wonderland-7"));
    // A letter of an old encoding: nobody knows what it says of a restore.
    board.write("pigeon.toml", b"[board]\n# M\xfcller\nrestore = true\n");
    let said = board.pigeon(&["board", "wants-restore", "--boot", "boot"]).assert().success();
    assert_eq!(said.get_output().stdout, b"unclear\n");
}

#[test]
fn a_board_that_is_held_has_no_store_and_takes_all_over_once_the_file_is_corrected() {
    let board = Board::new();
    board.write("pigeon.toml", FILE.replace("[accounts]", "restore = yes\r\n[accounts]"));
    let held = ["--boot", "boot", "--data", "data", "--keep", "keep", "--hold"];
    let report = board.start_with(&held);
    assert!(report.contains("it cannot be told whether mail is to come back") && !report.contains("added"), "{report}");
    assert!(!report.contains("wonderland-7") && !report.contains("All is well"), "{report}");
    assert!(board.card("pigeon.toml").contains("wonderland-7") && !board.data().exists());
    assert!(board.settings().contains("WIFI_PSK='f42c6f"), "it is reached all the same");
    board.write("pigeon.toml", FILE);
    let report = board.start();
    assert!(report.contains("alice@example.org: added") && report.contains("All is well"), "{report}");
}

#[test]
fn files_by_which_other_images_are_set_up_are_named_once_and_not_shown() {
    let board = Board::new();
    board.write("pigeon.toml", FILE);
    let names = [
        "FIRSTRUN.SH",
        "network-config",
        "pigeon.rtf",
        "pigeon.toml.docx",
        "ssh",
        "user-data",
        "userconf.txt",
        "wpa_supplicant.conf",
    ];
    names.iter().for_each(|name| board.write(name, "psk=\"hunter2x\"\n"));
    let others = ["pigeon-ca.crt", "config.txt", "notes.txt", "pigeon.toml~"];
    others.iter().for_each(|name| board.write(name, ""));
    let report = board.start();
    let told = format!("warning: not read here: {}\n    remedy: write what it says into pigeon.toml", names.join(", "));
    assert!(report.contains(&told) && report.contains("it may hold a password"), "{report}");
    assert!(!report.contains("hunter2x") && !report.contains("All is well"), "{report}");
    names.iter().for_each(|name| fs::remove_file(board.boot().join(name)).unwrap());
    assert!(board.start().contains("All is well"));
}

#[test]
fn the_report_says_which_system_runs_and_goes_on_naming_an_update_that_did_not_stay() {
    let board = board_with_slots();
    board.write("pigeon.toml", FILE);
    let header = |version: &str| format!("{:\0<8192}", format!("pigeon=1\nversion={version}\nboard=rpi-arm64\n"));
    board.write("slot-a/system", header("0.1.0"));
    board.write("slot-b/system", vec![0; 8_192]);
    let start = |slot: &str, version: &str| {
        fs::write(board.0.path().join("etc/pigeon-version"), format!("{version}\n")).unwrap();
        let card = ["--boot", "boot", "--data", "data", "--keep", "keep", "--system", "etc", "--slot"];
        board.start_with(&[&card[..], &[slot]].concat())
    };
    let healthy = |slot: &str| {
        board.pigeon(&["board", "healthy", "--boot", "boot", "--slot", slot]).assert().success();
        board.card("pigeon-report.txt")
    };
    let state = |text: &str| board.write("slots.env", format!("{text:\n<512}"));
    let report = start("a", "0.1.0");
    assert!(
        report.contains("\nSystem: pigeon 0.1.0, slot a; slot b is empty\n") && report.contains("All is well."),
        "{report}"
    );
    // It came up.
    board.write("slot-b/system", header("0.2.0"));
    state("good=a\ntry=b\ntries=1\n");
    let report = start("b", "0.2.0");
    assert!(
        report.contains("System: pigeon 0.2.0, slot b; slot a holds 0.1.0") && report.contains("All is well."),
        "{report}"
    );
    healthy("b");
    // It did not, or is damaged since: told at once, and from then on.
    for (slots, words) in [
        ("good=a\ntry=b\ntries=0\n", "The update did not come up"),
        ("good=b\ntry=\ntries=0\n", "is damaged on the card"),
    ] {
        state(slots);
        start("a", "0.1.0");
        assert!(healthy("a").contains(words));
        for _ in 0..2 {
            let report = start("a", "0.1.0");
            assert!(report.contains("System: pigeon 0.1.0, slot a; slot b holds 0.2.0"), "{report}");
            assert!(
                report.contains("warning: slot b holds pigeon 0.2.0, which did not come up, or is damaged"),
                "{report}"
            );
            assert!(report.contains("onto the stick MAIL-BACKUP") && !report.contains("All is well"), "{report}");
            healthy("a");
        }
    }
    // Nobody knows any more which was in use.
    for octets in [vec![], vec![0; 512], b"junk\xff".repeat(99)] {
        board.write("slots.env", octets);
        let report = start("a", "0.1.0");
        assert!(report.contains("does not say which system was in use: the one in slot a was started"), "{report}");
        assert!(report.contains("slot b holds pigeon 0.2.0"), "{report}");
    }
    fs::remove_file(board.boot().join("slots.env")).unwrap();
    assert!(start("a", "0.1.0").contains("does not say which system was in use"));
    healthy("a");
    // A later one.
    board.write("slot-a/system", header("0.3.0"));
    assert!(start("a", "0.3.0").contains("All is well."));
}

#[test]
fn imagers_file_is_read_beside_ours() {
    let board = Board::new();
    board.write("pigeon.toml", "# nothing\n[board]\n# account = \"alice@example.org\"\n");
    board.write(
        "rpi-preseed.toml",
        "[system]\nhostname = \"post\"\n[user]\nname = \"alice\"\npassword = \"$6$salt$hash\"\npassword_encrypted = true\n\
         [wlan]\nssid = \"IEEE\"\npassword = \"password\"\ncountry = \"GB\"\n",
    );
    let report = board.start();
    assert!(report.contains("rpi-preseed.toml:5:") && report.contains("hash of the password"), "{report}");
    assert!(!report.contains("$6$salt"));
    assert!(board.settings().contains("HOSTNAME='post'") && board.settings().contains("WIFI_PSK='f42c6f"));
    let card = board.card("rpi-preseed.toml");
    assert!(!card.contains("$6$salt$hash") && !card.contains("\"password\""), "{card}");
}

#[test]
fn the_boards_name_is_known_before_anything_is_taken_over() {
    let rows = [
        ("pigeon.toml", "[board]\nname = \"post\"\n", "post"),
        ("pigeon.toml.txt", "board.name = \"post\"\r\n", "post"),
        ("custom.toml", "[system]\nhostname = \"kitchen\"\n", "kitchen"),
        ("pigeon.toml", "[board]\nrestore = true\n", "pigeon"),
    ];
    for (name, text, expected) in rows {
        let board = Board::new();
        board.write(name, text);
        let said = board.pigeon(&["board", "name", "--boot", "boot"]).assert().success();
        assert_eq!(String::from_utf8_lossy(&said.get_output().stdout).trim(), expected, "{name}: {text}");
        assert!(!board.data().exists() && fs::read_dir(board.boot()).unwrap().count() == 1, "nothing is written");
    }
}

/// A board whose slots hold 8 KiB each, running 0.1.0 from slot a.
fn board_with_slots() -> Board {
    let board = Board::new();
    for slot in ["slot-a", "slot-b"] {
        fs::create_dir(board.boot().join(slot)).unwrap();
        board.write(&format!("{slot}/system"), [b'o'; 8_192]);
    }
    board.write("slots.env", format!("{:\n<512}", "good=a\ntry=\ntries=0\n"));
    let etc = board.0.path().join("etc");
    fs::create_dir_all(etc.join("pigeon")).unwrap();
    fs::write(etc.join("pigeon-board"), "rpi-arm64\n").unwrap();
    fs::write(etc.join("pigeon-version"), "0.1.0\n").unwrap();
    fs::write(etc.join("pigeon/release.pub"), include_str!("data/release/example.pub")).unwrap();
    fs::write(board.0.path().join("new.release"), include_bytes!("data/release/example.release")).unwrap();
    board
}

const APPLY: [&str; 9] = ["update", "--apply", "new.release", "--boot", "boot", "--system", "etc", "--slot", "a"];

#[test]
fn a_release_is_checked_applied_tried_and_found_good() {
    let board = board_with_slots();
    let checked = board.pigeon(&["update", "--check", "new.release", "--system", "etc"]).assert().success();
    let said = String::from_utf8(checked.get_output().stdout.clone()).unwrap();
    assert!(said.contains("pigeon 0.2.0 for rpi-arm64"), "{said}");
    assert!(board.card("slots.env").starts_with("good=a\ntry=\n"), "--check changes nothing");

    board.pigeon(&APPLY).assert().success();
    let slot = fs::read(board.boot().join("slot-b/system")).unwrap();
    assert!(slot.starts_with(b"an example of a system\n") && slot.len() == 8_192);
    assert!(board.card("slots.env").starts_with("good=a\ntry=b\ntries=2\n"));
    assert_eq!(board.card("slots.env").len(), 512);

    board.pigeon(&["board", "healthy", "--boot", "boot", "--slot", "b"]).assert().success();
    assert!(board.card("slots.env").starts_with("good=b\ntry=\ntries=0\n"));
}

#[test]
fn of_several_releases_the_latest_is_named_and_what_is_none_is_told() {
    let board = board_with_slots();
    fs::write(board.0.path().join("torn.release"), "PIGEON-RELEASE 1\nmin").unwrap();
    let newest = ["update", "--newest", "torn.release", "new.release", "no.release", "--system", "etc"];
    let told = board.pigeon(&newest).assert().success();
    assert_eq!(String::from_utf8_lossy(&told.get_output().stdout), "new.release\n");
    let said = String::from_utf8_lossy(&told.get_output().stderr).into_owned();
    assert!(said.contains("torn.release: ") && said.contains("no.release: ") && said.lines().count() == 2, "{said}");
    // Who opens a pipe waits for somebody who writes to it.
    assert!(std::process::Command::new("mkfifo").arg(board.0.path().join("pipe.release")).status().unwrap().success());
    let newest_of_two = ["update", "--newest", "pipe.release", "new.release", "--system", "etc"];
    let told = board.pigeon(&newest_of_two).timeout(std::time::Duration::from_secs(60)).assert().success();
    assert_eq!(String::from_utf8_lossy(&told.get_output().stdout), "new.release\n");
    assert!(String::from_utf8_lossy(&told.get_output().stderr).contains("pipe.release: this is no release file"));
    for order in ["--check", "--apply"] {
        let args = ["update", order, "pipe.release", "--system", "etc", "--boot", "boot", "--slot", "a"];
        board.pigeon(&args).timeout(std::time::Duration::from_secs(60)).assert().code(1);
    }
    // What runs and has no such version is later than none, and none is later.
    fs::write(board.0.path().join("etc/pigeon-version"), "1.0\n").unwrap();
    let told = board.pigeon(&newest).assert().success();
    let said = String::from_utf8_lossy(&told.get_output().stderr).into_owned();
    assert!(
        told.get_output().stdout.is_empty() && said.contains("this system's version 1.0 cannot be compared"),
        "{said}"
    );
    // Nothing is to be done where it runs already, or where it is for another board.
    for (file, text, lines) in [("etc/pigeon-version", "0.2.0\n", 2), ("etc/pigeon-board", "pc\n", 3)] {
        fs::write(board.0.path().join(file), text).unwrap();
        let told = board.pigeon(&newest).assert().success();
        assert!(told.get_output().stdout.is_empty(), "{file}");
        assert_eq!(String::from_utf8_lossy(&told.get_output().stderr).lines().count(), lines, "{file}");
    }
}

#[test]
fn a_part_of_the_image_that_was_broken_off_is_compressed_again() {
    let folder = tempfile::tempdir().unwrap();
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("board/build");
    let script = format!(
        "eval \"$(sed -n '/^pack() {{/,/^}}/p' {})\"\necho a > from; pack from to cat\n\
         echo b > from; (set -e; pack from to false)\necho a > from; pack from to cat; cmp from to",
        build.display()
    );
    let done = std::process::Command::new("bash").args(["-c", &script]).current_dir(&folder).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}

#[test]
fn what_is_no_version_is_neither_built_nor_signed() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let long = format!("1.2.3+{}", "a".repeat(60));
    let bad =
        ["1.0", "v0.1.0", "0.1.0~rc1", "0.1.0-", "0.1.0-rc..1", "0.1.0-rc_1", "0.1.0 ", "1.2.3.4", "1.2.3\n", &long];
    let release = |version: &str| {
        let mut signing = std::process::Command::new(top.join("board/release"));
        signing.args(["/nowhere/system", version, "rpi-arm64", "/nowhere/key", "/nowhere/out"]).output().unwrap()
    };
    for version in bad {
        let building =
            std::process::Command::new(top.join("board/build")).args(["--version", version]).output().unwrap();
        for done in [release(version), building] {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(!done.status.success() && said.contains("is no version"), "{version:?}: {said}");
        }
    }
    for version in ["0.1.0", "10.20.30", "0.2.0-rc1", "0.2.0-rc.1-b", "1.0.0+build.7"] {
        let said = String::from_utf8_lossy(&release(version).stderr).into_owned();
        assert!(said.contains("/nowhere/system") && !said.contains("is no version"), "{version}: {said}");
    }
}

#[test]
fn a_system_on_trial_is_told_to_wait_with_updates() {
    let board = board_with_slots();
    board.write("slots.env", format!("{:\n<512}", "good=b\ntry=a\ntries=1\n"));
    let refused = board.pigeon(&APPLY).assert().code(75);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("on trial") && said.contains("try again"), "{said}");
    assert!(board.card("slot-b/system").starts_with("oooo") && board.card("slots.env").starts_with("good=b\ntry=a"));
}

#[test]
fn what_must_not_be_applied_is_refused_with_a_remedy_and_changes_nothing() {
    let rows: [(&str, &str, &[u8]); 4] = [
        ("etc/pigeon-version", "--allow-older", b"0.3.0"),
        ("etc/pigeon-board", "for this board", b"pc-amd64"),
        ("etc/pigeon/release.pub", "fetch the file again", include_bytes!("data/release/other.pub")),
        ("boot/slot-b/system", "write the new image", &[b'o'; 1_000]),
    ];
    for (file, words, octets) in rows {
        let board = board_with_slots();
        fs::write(board.0.path().join(file), octets).unwrap();
        let before = (board.card("slots.env"), board.card("slot-b/system"));
        let refused = board.pigeon(&APPLY).assert().code(1);
        let said = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        assert!(said.contains(words), "{file}: {said}");
        assert_eq!((board.card("slots.env"), board.card("slot-b/system")), before, "{file}");
    }
    let board = board_with_slots();
    fs::write(board.0.path().join("etc/pigeon-version"), "0.3.0").unwrap();
    board.pigeon(&APPLY).arg("--allow-older").assert().success();
    // Not booted from a slot, as this machine is.
    let said = board.pigeon(&["board", "healthy", "--boot", "boot"]).assert().code(1);
    assert!(String::from_utf8_lossy(&said.get_output().stderr).contains("pigeon.slot="));
}
