//! Clients: each writes into the book what it asks for before it asks, and what was acknowledged once it has read the answer.
//! Anything but the expected answer ends what a client is doing, and leaves it on its way.

use super::facts::{Book, Deed, Flags, Sent};
use crate::client::Client;
use crate::store_support::{mail::base64, noise};
use crate::world::{Protocol, World};
use std::net::Ipv4Addr;
use std::sync::Arc;

pub(crate) const PASSWORD: &str = "wonderland-7";

/// A session's client end.
pub(crate) struct Line {
    client: Client,
    tag: u32,
    selected: Option<String>,
    asked: String,
}

/// A message of about so many octets: its number, and text that compresses or does not.
pub(crate) fn text(token: u64, bytes: usize) -> Arc<[u8]> {
    let mut mail = format!(
        "X-Number: {token}\r\nFrom: Carol <carol@example.net>\r\nSubject: number {token}\r\nDate: Sat, 14 Mar 2026 10:00:00 \
         +0100\r\nMessage-ID: <{token}@client.example.net>\r\n\r\n"
    );
    let rest = bytes.saturating_sub(mail.len()).max(10);
    if token.is_multiple_of(3) {
        while mail.len() < bytes {
            mail += "..all work and no play makes a dull message\r\n.\r\n..\r\n";
        }
    } else if token.is_multiple_of(7) {
        mail += &base64(&noise(token, rest.min(20_000) * 57 / 78), 76);
        mail += "\r\n";
    } else {
        // Eight bits, which nothing compresses.
        let mut mail = mail.into_bytes();
        for line in noise(token, rest).chunks(76) {
            mail.extend(line.iter().map(|octet| octet | 0x80));
            mail.extend_from_slice(b"\r\n");
        }
        return mail.into();
    }
    mail.into_bytes().into()
}

/// Secrets for [`PASSWORD`] and others, cheap to prove: argon2id with 8 KiB and one pass.
pub(crate) fn secrets(password: &str) -> Vec<u8> {
    let salt = *b"0123456789abcdef";
    let mut hash = [0; 32];
    let params = argon2::Params::new(8, 1, 1, Some(hash.len())).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut blocks = vec![argon2::Block::new(); 8];
    argon2.hash_password_into_with_memory(password.as_bytes(), &salt, &mut hash, &mut blocks).unwrap();
    let unpadded = |octets: &[u8]| base64(octets, usize::MAX).trim_end_matches('=').to_owned();
    let phc = format!("$argon2id$v=19$m=8,t=1,p=1${}${}", unpadded(&salt), unpadded(&hash));
    let mut secrets = vec![1, u8::try_from(phc.len()).unwrap()];
    secrets.extend_from_slice(phc.as_bytes());
    secrets.extend_from_slice(&4_096u32.to_le_bytes());
    secrets.push(16);
    secrets.extend_from_slice(&salt);
    secrets.extend_from_slice(&[7; 64]);
    secrets
}

fn set(uids: &[u32]) -> String {
    uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// The UIDs of a set as a response has it.
fn uids_of(set: &str) -> Vec<u32> {
    let number = |text: &str| text.parse::<u32>().unwrap();
    let range = |part: &str| match part.split_once(':') {
        Some((first, last)) => (number(first)..=number(last)).collect(),
        None => vec![number(part)],
    };
    set.split(',').flat_map(range).collect()
}

/// The words of a response code.
fn code<'a>(line: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let (_, rest) = line.split_once(&format!("[{name} "))?;
    Some(rest.split_once(']')?.0.split(' ').collect())
}

thread_local! {
    /// What the last refused client was told.
    static REFUSED: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

/// What the last refused client of this thread was told.
pub(crate) fn refused() -> String {
    REFUSED.with_borrow(String::clone)
}

pub(crate) fn note(asked: &str, line: &str) {
    REFUSED.with_borrow_mut(|refused| *refused = format!("{asked}: {line}"));
}

impl Line {
    pub(crate) async fn connect(world: &World, protocol: Protocol) -> Option<Self> {
        let mut client = Client::new(world.connect(protocol, Ipv4Addr::LOCALHOST.into()));
        if protocol.tls_first() {
            client.start_tls().await.ok()?;
        }
        let mut line = Self { client, tag: 0, selected: None, asked: String::new() };
        line.line().await?;
        Some(line)
    }

    async fn line(&mut self) -> Option<String> {
        let line = self.client.line().await;
        if line.is_none() {
            note(&self.asked, "the end");
        }
        line
    }

    async fn send(&mut self, text: &str) -> Option<()> {
        text.trim_end().clone_into(&mut self.asked);
        self.client.send(text.as_bytes()).await.then_some(())
    }

    // SMTP.

    /// A command and its answer's last line, if it begins so.
    async fn ask(&mut self, command: &str, expected: &str) -> Option<String> {
        self.send(&format!("{command}\r\n")).await?;
        self.answer(expected).await
    }

    async fn answer(&mut self, expected: &str) -> Option<String> {
        loop {
            let line = self.line().await?;
            if line.as_bytes().get(3) != Some(&b'-') {
                if !line.starts_with(expected) {
                    note(&self.asked, &line);
                    return None;
                }
                return Some(line);
            }
        }
    }

    pub(crate) async fn smtp_hello(&mut self, login: Option<&str>) -> Option<()> {
        self.ask("EHLO client.example.net", "250").await?;
        if let Some(name) = login {
            let plain = base64(format!("\0{name}\0{PASSWORD}").as_bytes(), usize::MAX);
            self.ask(&format!("AUTH PLAIN {plain}"), "235").await?;
        }
        Some(())
    }

    /// A message for these recipients, who are these accounts.
    pub(crate) async fn deliver(
        &mut self,
        book: &Book,
        from: &str,
        (recipients, accounts): (Vec<String>, Vec<String>),
        bytes: usize,
    ) -> Option<()> {
        let (token, octets) = book.send(|token| Sent { octets: text(token, bytes), exact: false });
        self.ask(&format!("MAIL FROM:<{from}>"), "250").await?;
        for recipient in recipients {
            self.ask(&format!("RCPT TO:<{recipient}>"), "250").await?;
        }
        let id = if token.is_multiple_of(4) {
            let id = book.begin(Deed::Deliver { token, to: accounts });
            let (first, last) = octets.split_at(octets.len() / 2);
            self.send(&format!("BDAT {}\r\n", first.len())).await?;
            self.client.send(first).await.then_some(())?;
            self.answer("250").await?;
            self.send(&format!("BDAT {} LAST\r\n", last.len())).await?;
            self.client.send(last).await.then_some(())?;
            id
        } else {
            self.ask("DATA", "354").await?;
            let id = book.begin(Deed::Deliver { token, to: accounts });
            let mut stuffed = Vec::with_capacity(octets.len() + 100);
            for line in octets.split_inclusive(|octet| *octet == b'\n') {
                if line.starts_with(b".") {
                    stuffed.push(b'.');
                }
                stuffed.extend_from_slice(line);
            }
            stuffed.extend_from_slice(b".\r\n");
            self.client.send(&stuffed).await.then_some(())?;
            id
        };
        self.answer("250").await?;
        book.done(id);
        Some(())
    }

    // IMAP.

    /// A command and everything up to its OK.
    async fn command(&mut self, text: &str) -> Option<Vec<String>> {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        self.send(&format!("{tag} {text}\r\n")).await?;
        self.until_ok(&tag).await
    }

    async fn until_ok(&mut self, tag: &str) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            if let Some(rest) = line.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
                let is_ok = rest.starts_with("OK");
                if !is_ok {
                    note(&self.asked, &line);
                }
                lines.push(line);
                return is_ok.then_some(lines);
            }
            lines.push(line);
        }
    }

    pub(crate) async fn login(&mut self, name: &str) -> Option<()> {
        self.command(&format!("LOGIN {name} {PASSWORD}")).await.map(drop)
    }

    pub(crate) async fn select(&mut self, folder: &str) -> Option<()> {
        if self.selected.as_deref() == Some(folder) {
            // Is told of what has come meanwhile.
            return self.command("NOOP").await.map(drop);
        }
        self.command(&format!("SELECT {folder}")).await?;
        self.selected = Some(folder.to_owned());
        Some(())
    }

    /// No mailbox is selected: it may be deleted or get another name.
    pub(crate) async fn unselect(&mut self) -> Option<()> {
        if self.selected.take().is_some() {
            self.command("UNSELECT").await?;
        }
        Some(())
    }

    pub(crate) async fn append(
        &mut self,
        book: &Book,
        (account, folder): (&str, &str),
        flags: Flags,
        bytes: usize,
    ) -> Option<()> {
        let (token, octets) = book.send(|token| Sent { octets: text(token, bytes), exact: true });
        let names = flags.iter().cloned().collect::<Vec<_>>().join(" ");
        let deed = Deed::Append { account: account.into(), folder: folder.into(), token, flags };
        let id = book.begin(deed);
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        self.send(&format!("{tag} APPEND {folder} ({names}) {{{}+}}\r\n", octets.len())).await?;
        self.client.send(&octets).await.then_some(())?;
        self.send("\r\n").await?;
        let lines = self.until_ok(&tag).await?;
        let told = code(lines.last()?, "APPENDUID").expect("APPENDUID");
        let (validity, uid) = (told[0].parse().unwrap(), told[1].parse().unwrap());
        book.done_with(id, (account, folder), validity, &[(token, uid)]);
        Some(())
    }

    /// COPY or MOVE.
    pub(crate) async fn copy(
        &mut self,
        book: &Book,
        (account, from, to): (&str, &str, &str),
        uids: Vec<u32>,
        moves: bool,
    ) -> Option<()> {
        self.select(from).await?;
        let facts = book.facts();
        let tokens: Vec<u64> = {
            let mails = &facts.folder(account, from).mails;
            uids.iter().map(|uid| mails.iter().find(|mail| mail.uid == Some(*uid)).unwrap().token).collect()
        };
        drop(facts);
        let (verb, uid_set) = (if moves { "MOVE" } else { "COPY" }, set(&uids));
        let (account_, from, to_) = (account.to_owned(), from.to_owned(), to.to_owned());
        let id = book.begin(match moves {
            true => Deed::Move { account: account_, from, uids: uids.clone(), to: to_ },
            false => Deed::Copy { account: account_, from, uids: uids.clone(), to: to_ },
        });
        let lines = self.command(&format!("UID {verb} {uid_set} {to}")).await?;
        let told = lines.iter().find_map(|line| code(line, "COPYUID")).expect("COPYUID");
        assert_eq!(uids_of(told[1]), uids);
        let new: Vec<(u64, u32)> = tokens.into_iter().zip(uids_of(told[2])).collect();
        assert_eq!(new.len(), uids.len());
        book.done_with(id, (account, to), told[0].parse().unwrap(), &new);
        Some(())
    }

    pub(crate) async fn flag(
        &mut self,
        book: &Book,
        (account, folder): (&str, &str),
        uids: &[u32],
        (flag, on): (&str, bool),
    ) -> Option<()> {
        self.select(folder).await?;
        let (account, folder, flag_) = (account.to_owned(), folder.to_owned(), flag.to_owned());
        let id = book.begin(Deed::Flag { account, folder, uids: uids.to_vec(), flag: flag_, on });
        let sign = if on { '+' } else { '-' };
        self.command(&format!("UID STORE {} {sign}FLAGS ({flag})", set(uids))).await?;
        book.done(id);
        Some(())
    }

    /// Reads a message whole, which makes it seen.
    pub(crate) async fn read(&mut self, book: &Book, (account, folder): (&str, &str), uid: u32) -> Option<()> {
        self.select(folder).await?;
        let had = book.facts().folder(account, folder).has_flag(uid, "\\Seen");
        let (account, folder) = (account.to_owned(), folder.to_owned());
        let id = book.begin(Deed::Flag { account, folder, uids: vec![uid], flag: "\\Seen".into(), on: true });
        let lines = self.command(&format!("UID FETCH {uid} BODY[]")).await?;
        // A full disk keeps nobody from reading; then no flag is told.
        if lines.iter().any(|line| line.contains("\\Seen")) || had {
            book.done(id);
        }
        Some(())
    }

    /// RENAME of INBOX: a new mailbox gets all that is in it (RFC 3501 section 6.3.5).
    pub(crate) async fn rename_inbox(
        &mut self,
        book: &Book,
        (account, to): (&str, &str),
        uids: Vec<u32>,
    ) -> Option<()> {
        let create = book.begin(Deed::Create { account: account.into(), folder: to.into() });
        let moves = book.begin(Deed::Move { account: account.into(), from: "INBOX".into(), uids, to: to.into() });
        self.command(&format!("RENAME INBOX {to}")).await?;
        book.done(create);
        book.done(moves);
        Some(())
    }

    /// Marks as deleted and expunges, in one of three ways; whatever is marked goes.
    pub(crate) async fn expunge(
        &mut self,
        book: &Book,
        (account, folder): (&str, &str),
        uids: &[u32],
        way: u64,
    ) -> Option<()> {
        self.flag(book, (account, folder), uids, ("\\Deleted", true)).await?;
        let facts = book.facts();
        let marked = facts.folder(account, folder).mails.iter().filter(|mail| mail.flags.contains("\\Deleted"));
        let marked: Vec<u32> = marked.filter_map(|mail| mail.uid).collect();
        drop(facts);
        let gone = if way == 0 { uids.to_vec() } else { marked };
        let id = book.begin(Deed::Expunge { account: account.into(), folder: folder.into(), uids: gone });
        match way {
            0 => self.command(&format!("UID EXPUNGE {}", set(uids))).await?,
            1 => self.command("EXPUNGE").await?,
            _ => {
                self.selected = None;
                self.command("CLOSE").await?
            }
        };
        book.done(id);
        Some(())
    }

    /// CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, NOOP.
    pub(crate) async fn simple(&mut self, book: &Book, command: &str, deed: Option<Deed>) -> Option<()> {
        let id = deed.map(|deed| book.begin(deed));
        self.command(command).await?;
        if let Some(id) = id {
            book.done(id);
        }
        Some(())
    }

    // POP3.

    async fn pop(&mut self, command: &str) -> Option<String> {
        self.send(&format!("{command}\r\n")).await?;
        let line = self.line().await.unwrap_or_default();
        if !line.starts_with("+OK") {
            note(&self.asked, &line);
            return None;
        }
        Some(line)
    }

    async fn pop_lines(&mut self, command: &str) -> Option<Vec<String>> {
        self.pop(command).await?;
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            if line == "." {
                return Some(lines);
            }
            lines.push(line);
        }
    }

    pub(crate) async fn pop_login(&mut self, name: &str) -> Option<()> {
        self.pop(&format!("USER {name}")).await?;
        self.pop(&format!("PASS {PASSWORD}")).await.map(drop)
    }

    /// What each message is called, in order.
    pub(crate) async fn uidl(&mut self) -> Option<Vec<String>> {
        let lines = self.pop_lines("UIDL").await?;
        Some(lines.iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect())
    }

    /// Reads and deletes messages by their numbers; they are gone once QUIT is answered.
    pub(crate) async fn pop_delete(&mut self, book: &Book, account: &str, mails: &[(usize, u32)]) -> Option<()> {
        for (number, _) in mails {
            self.pop_lines(&format!("RETR {number}")).await?;
            self.pop(&format!("DELE {number}")).await?;
        }
        let uids = mails.iter().map(|(_, uid)| *uid).collect();
        let id = book.begin(Deed::Expunge { account: account.into(), folder: "INBOX".into(), uids });
        self.pop("QUIT").await?;
        book.done(id);
        Some(())
    }
}
