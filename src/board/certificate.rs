//! A certificate of the user's own: two PEM files (RFC 7468) beside pigeon.toml that `[tls]` names, taken over into one file
//! among the server's data, because the server may not read the card and has them even when the card is not there. The key is
//! erased from the card. What the server would not start with is not taken over, and what was taken over before stays.
//!
//! | step | what a cut behind it leaves |
//! |---|---|
//! | both are written beside, looked at as the server would, and removed | files that the next start overwrites |
//! | chain and key replace the one file that the server reads | the new pair, the key on the card as well: done again |
//! | the key is erased from the card (`erase`) | the new pair |

use super::erase::FILE_BYTES_MAX;
use super::files::{Files, Folder, read};
use crate::base::{Secret, replace_file};
use crate::config::TlsFiles;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Chain and key, in the data directory; named so in the server's configuration.
pub(super) const FILE: &str = "certificate.pem";
/// What is looked at before it is taken over.
const TRIED: [&str; 2] = ["certificate.tried.pem", "key.tried.pem"];
/// Stands on the card instead of a key.
const NOTE: &[u8] =
    b"# The key was taken over by the board and erased here. A new one goes here together with its certificate.\n";

/// What looks at a pair as the server does: an error has its words and its remedy.
pub type Examine<'e> = &'e dyn Fn(&Path, &Path) -> Result<(), (String, String)>;

/// The files that `[tls]` names, as far as they are on the card.
#[derive(Debug)]
pub(super) struct Offered {
    certificate: Pem,
    key: Pem,
}

/// One of them.
#[derive(Debug)]
struct Pem {
    /// As `[tls]` has it.
    path: PathBuf,
    /// Its name on the card; `None` when it is said to lie elsewhere.
    name: Option<String>,
    /// What is in it but for private keys, and these.
    parts: Option<(Vec<u8>, Secret)>,
}

/// What is to be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// [`FILE`].
    Taken,
    /// The files where they lie, which the server can read.
    AsNamed,
}

impl Offered {
    /// Reads what `[tls]` names from the card that is mounted at `boot`.
    pub(super) fn read(files: &TlsFiles, card: Option<&Folder>) -> io::Result<Self> {
        let pem = |path: &Path| {
            let name = name_on_card(path, card);
            let octets = match (card, &name) {
                (Some(card), Some(name)) if card.len(name)?.is_some_and(|length| length > FILE_BYTES_MAX as u64) => {
                    return Err(io::Error::other(format!("{name} is larger than 64 KiB")));
                }
                (Some(card), Some(name)) => read(card, name, FILE_BYTES_MAX)?,
                _ => None,
            };
            Ok(Pem { path: path.to_owned(), name, parts: octets.map(|octets| without_keys(&octets)) })
        };
        Ok(Self { certificate: pem(&files.certificate)?, key: pem(&files.key)? })
    }

    /// Takes them over into `data`, whose owner the caller is, and answers what is to be used; what was taken over before where
    /// the card has no key any more. An error: what is wrong, and the remedy.
    pub(super) fn settle(&self, data: &Path, examine: Examine<'_>) -> Result<Settled, (String, String)> {
        if self.certificate.name.is_none() || self.key.name.is_none() {
            let absolute = |pem: &Pem| data.join(&pem.path);
            return examine(&absolute(&self.certificate), &absolute(&self.key)).map(|()| Settled::AsNamed);
        }
        let before = read(&Folder(data.to_owned()), FILE, 3 * FILE_BYTES_MAX).ok().flatten();
        let before = before.map(|octets| (without_keys(&octets), octets));
        let kept = before.as_ref().map(|(parts, _)| parts);
        let chain = self.certificate.parts.as_ref().or(kept).map(|(chain, _)| chain);
        let has_key = |parts: &&(Vec<u8>, Secret)| !parts.1.is_empty();
        let key = self.key.parts.as_ref().filter(has_key).or(kept).map(|(_, key)| key);
        let (Some(chain), Some(key)) = (chain, key) else {
            let missing = if chain.is_none() { &self.certificate } else { &self.key };
            let has = if missing.parts.is_some() { "holds no private key" } else { "is not on the card" };
            return Err((format!("{} {has}", missing.path.display()), PUT_BOTH.to_owned()));
        };
        let pair = [chain.as_slice(), key.expose()].concat();
        if before.as_ref().is_some_and(|(_, octets)| *octets == pair) {
            return examine(&data.join(FILE), &data.join(FILE)).map(|()| Settled::Taken);
        }
        let tried = TRIED.map(|name| data.join(name));
        let looked_at = written(&tried, [chain, key.expose()]).map_err(not_written).and_then(|()| {
            let [certificate, key] = &tried;
            examine(certificate, key)
        });
        let removed = tried.iter().try_for_each(fs::remove_file);
        looked_at.map_err(|(what, remedy)| (self.in_the_cards_words(what, &tried), remedy))?;
        removed.and_then(|()| replace_file(&data.join(FILE), &pair, 0o600)).map_err(not_written)?;
        Ok(Settled::Taken)
    }

    /// What is to stand on the card instead of files with private keys: names and contents.
    pub(super) fn without_keys(&self) -> Vec<(&str, Vec<u8>)> {
        let mut files = Vec::new();
        for pem in [&self.certificate, &self.key] {
            if let (Some(name), Some((rest, key))) = (&pem.name, &pem.parts)
                && !key.is_empty()
                && files.iter().all(|(other, _)| other != name)
            {
                files.push((name.as_str(), [rest.as_slice(), NOTE].concat()));
            }
        }
        files
    }

    fn in_the_cards_words(&self, what: String, tried: &[PathBuf; 2]) -> String {
        let [certificate, key] = tried.each_ref().map(|path| path.display().to_string());
        let name = |pem: &Pem| pem.path.display().to_string();
        what.replace(&certificate, &name(&self.certificate)).replace(&key, &name(&self.key))
    }
}

const PUT_BOTH: &str = "put both PEM files beside pigeon.toml and name them in [tls], or leave [tls] out";

/// A relative path, or one below the place where the card is mounted.
fn name_on_card(path: &Path, card: Option<&Folder>) -> Option<String> {
    let below = path.strip_prefix(card.map_or(Path::new("/boot"), |card| &card.0)).unwrap_or(path);
    let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    below.to_str().filter(|_| is_plain).map(str::to_owned)
}

fn written(paths: &[PathBuf; 2], octets: [&[u8]; 2]) -> io::Result<()> {
    paths.iter().zip(octets).try_for_each(|(path, octets)| replace_file(path, octets, 0o600))
}

fn not_written(error: io::Error) -> (String, String) {
    let remedy = "look at the data partition: it may be full or damaged";
    (format!("the certificate cannot be written into the data directory: {error}"), remedy.to_owned())
}

/// The text without its private keys, and these; each line ends.
fn without_keys(pem: &[u8]) -> (Vec<u8>, Secret) {
    let (mut rest, mut keys, mut in_key) = (Vec::new(), Vec::new(), false);
    for line in pem.split_inclusive(|octet| *octet == b'\n') {
        let is = |start: &[u8]| line.starts_with(start) && memchr::memmem::find(line, b"PRIVATE KEY-----").is_some();
        in_key |= is(b"-----BEGIN ");
        let to = if in_key { &mut keys } else { &mut rest };
        to.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            to.push(b'\n');
        }
        in_key &= !is(b"-----END ");
    }
    (rest, Secret::new(keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_the_rest() {
        let chain = "# mine\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for kind in ["", "EC ", "RSA ", "ENCRYPTED "] {
            let key = format!("-----BEGIN {kind}PRIVATE KEY-----\nBBBB\n-----END {kind}PRIVATE KEY-----\n");
            for text in [format!("{chain}{key}"), format!("{key}{chain}")] {
                let (rest, keys) = without_keys(text.as_bytes());
                assert_eq!((rest.as_slice(), keys.expose()), (chain.as_bytes(), key.as_bytes()));
            }
        }
        // One that is torn is a key to the end.
        let (rest, keys) = without_keys(b"-----BEGIN PRIVATE KEY-----\nBBBB");
        assert!(rest.is_empty() && keys.expose().ends_with(b"BBBB\n"));
        assert!(without_keys(NOTE).1.is_empty());
    }

    #[test]
    fn a_name_is_one_on_the_card_unless_it_leads_elsewhere() {
        let card = Folder("/boot".into());
        let rows = [
            ("cert.pem", Some("cert.pem")),
            ("/boot/tls/cert.pem", Some("tls/cert.pem")),
            ("/data/cert.pem", None),
            ("../cert.pem", None),
        ];
        for (path, name) in rows {
            assert_eq!(name_on_card(Path::new(path), Some(&card)).as_deref(), name, "{path}");
            assert_eq!(name_on_card(Path::new(path), None).as_deref(), name, "{path}, without a card");
        }
    }
}
