//! A release file: one system for a board's slot, signed. Pure but for the stream it reads.
//!
//! ```text
//! PIGEON-RELEASE 1
//! minisig 306                                  octets of minisign's signature of the manifest, then they
//! manifest 120                                 octets of the manifest, then they:
//!     pigeon-release 1
//!     version 0.2.0
//!     board rpi-arm64
//!     file 14680064 SHA-256-IN-HEX system
//! the octets of `system`, and nothing behind them
//! ```
//!
//! Nothing is believed before the signature of the manifest has been verified, and no octet of the system before all of
//! them have the sum that the manifest gives.

use crate::base::hex;
use minisign_verify::{PublicKey, Signature};
use ring::digest::{Context, SHA256};
use std::fmt;
use std::io::{self, Read};

const MAGIC: &str = "PIGEON-RELEASE 1";
const MANIFEST_MAGIC: &str = "pigeon-release 1";
/// A signature has four lines.
const SIGNATURE_BYTES_MAX: usize = 2048;
const MANIFEST_BYTES_MAX: usize = 4096;
const LINE_BYTES_MAX: usize = 64;
/// A version or a board's name is no longer.
const WORD_BYTES_MAX: usize = 64;
/// What is read at a time.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// What a release says of itself, its signature verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its version.
    pub version: String,
    /// The kind of board it is for.
    pub board: String,
    /// Octets of its system.
    pub bytes: u64,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
    /// What the signer says of it.
    pub comment: String,
}

/// Why a release is not taken.
#[derive(Debug)]
pub enum ReleaseError {
    /// The file is something else, or of a later form.
    NotARelease,
    /// The key's file holds no key.
    BadKey,
    /// Somebody else signed it, or it was changed since.
    BadSignature,
    /// Its system is not what was signed: damaged or cut.
    Damaged,
    /// It is for another kind of board.
    OtherBoard {
        /// What it is for.
        theirs: String,
        /// What this is.
        ours: String,
    },
    /// The running system is newer.
    Older {
        /// Its version.
        theirs: String,
        /// The version that runs.
        ours: String,
    },
    /// The running system is on trial itself, and the other slot holds what comes back if it fails.
    OnTrial,
    /// The slot has less room.
    TooLarge {
        /// Octets of the slot.
        bytes_max: u64,
    },
    /// The card has no slot for it.
    NoSlot,
    /// What was written reads back differently.
    BadCard,
    /// Reading or writing failed.
    Io(io::Error),
}

impl From<io::Error> for ReleaseError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Damaged } else { Self::Io(error) }
    }
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARelease => f.write_str("this is no release file, or one of a later form"),
            Self::BadKey => f.write_str("the key's file holds no public key of minisign"),
            Self::BadSignature => {
                f.write_str("the signature is not good: the file is not from who holds the release key")
            }
            Self::Damaged => f.write_str("the file is damaged or incomplete"),
            Self::OtherBoard { theirs, ours } => write!(f, "the release is for {theirs}, and this is {ours}"),
            Self::Older { theirs, ours } => write!(f, "the release {theirs} is older than {ours}, which runs"),
            Self::OnTrial => f.write_str("the running system is on trial, and the other one must stay for its failure"),
            Self::TooLarge { bytes_max } => write!(f, "the release is larger than the slot's {bytes_max} octets"),
            Self::NoSlot => f.write_str("the card has no slot for it"),
            Self::BadCard => f.write_str("the card does not hold what is written on it"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl ReleaseError {
    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NotARelease | Self::Damaged | Self::BadSignature => "fetch the file again from where releases are",
            Self::BadKey => "name the .pub file that minisign made, with --key",
            Self::OtherBoard { .. } => "fetch the release for this board",
            Self::Older { .. } => "add --allow-older if that is what you want",
            Self::OnTrial => "try again when this system has served for some minutes",
            Self::TooLarge { .. } | Self::NoSlot => {
                "write the new image onto the card; mail can come along by backup and restore"
            }
            Self::BadCard => "use another card; mail can come along by backup and restore",
            Self::Io(_) => "look at the card and the file, and try again",
        }
    }
}

/// Reads up to where the system's octets begin, and verifies the signature with this public key (the text of minisign's
/// .pub file).
pub fn open(file: &mut impl Read, key: &str) -> Result<Release, ReleaseError> {
    let key =
        PublicKey::decode(key).or_else(|_| PublicKey::from_base64(key.trim())).map_err(|_| ReleaseError::BadKey)?;
    if line(file)? != MAGIC {
        return Err(ReleaseError::NotARelease);
    }
    let signature = text(file, "minisig", SIGNATURE_BYTES_MAX)?;
    let manifest = text(file, "manifest", MANIFEST_BYTES_MAX)?;
    let signature = Signature::decode(&signature).map_err(|_| ReleaseError::BadSignature)?;
    key.verify(manifest.as_bytes(), &signature, false).map_err(|_| ReleaseError::BadSignature)?;
    parse(&manifest, signature.trusted_comment()).ok_or(ReleaseError::NotARelease)
}

/// Passes the system's octets to `take`, piece by piece, and verifies their sum. What is taken may be believed only after `Ok`.
pub(super) fn each_piece(
    file: &mut impl Read,
    release: &Release,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), ReleaseError>,
) -> Result<(), ReleaseError> {
    let (mut sum, mut offset) = (Context::new(&SHA256), 0);
    let mut piece = vec![0; PIECE_BYTES];
    while offset < release.bytes {
        let length = usize::try_from(release.bytes - offset).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let piece = piece.get_mut(..length).unwrap_or_default();
        file.read_exact(piece)?;
        sum.update(piece);
        take(offset, piece)?;
        offset += length as u64;
    }
    let is_more = file.read(&mut [0])? != 0;
    if is_more || hex(sum.finish().as_ref()) != release.sha256 {
        return Err(ReleaseError::Damaged);
    }
    Ok(())
}

/// Verifies everything in the file behind what [`open`] read.
pub fn verify(file: &mut impl Read, release: &Release) -> Result<(), ReleaseError> {
    each_piece(file, release, |_, _| Ok(()))
}

/// Whether it may follow the running system.
pub fn judge(release: &Release, board: &str, version: &str, allow_older: bool) -> Result<(), ReleaseError> {
    if release.board != board {
        return Err(ReleaseError::OtherBoard { theirs: release.board.clone(), ours: board.to_owned() });
    }
    let is_older = match (Version::parse(&release.version), Version::parse(version)) {
        (Some(theirs), Some(ours)) => theirs < ours,
        _ => true,
    };
    if is_older && !allow_older {
        return Err(ReleaseError::Older { theirs: release.version.clone(), ours: version.to_owned() });
    }
    Ok(())
}

/// The latest of these that may follow the running system of this version, and is later.
pub fn newest(releases: &[Release], version: &str) -> Option<usize> {
    let ours = Version::parse(version)?;
    let versions = releases.iter().map(|release| Version::parse(&release.version));
    let later = (0..).zip(versions).filter_map(|(at, version)| Some((version.filter(|one| *one > ours)?, at)));
    later.max().map(|(_, at)| at)
}

/// Whether this version is later than another; `false` where it cannot be told.
pub(super) fn is_later(version: &str, than: &str) -> bool {
    Version::parse(version).zip(Version::parse(than)).is_some_and(|(one, other)| one > other)
}

/// Whether it can be told which of this version and another is later.
pub fn is_version(text: &str) -> bool {
    Version::parse(text).is_some()
}

/// A version: three numbers, and what comes before the release itself (`-rc1`); what is behind `+` does not count. As Semantic
/// Versioning 2.0.0, section 11, orders them, but that `rc10` comes after `rc9`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version([u64; 3], Stage);

/// Before a release, or it. The order of the variants is that of the stages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Before(Vec<Word>),
    Release,
}

/// Digits or letters; digits are lower.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Number(u64),
    Letters(String),
}

impl Version {
    /// `None` for what is no version: whether it is later than another cannot be told.
    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|octet| octet.is_ascii_digit()));
        let text = text.split('+').next()?;
        let (numbers, before) = text.split_once('-').map_or((text, None), |(numbers, before)| (numbers, Some(before)));
        let numbers = numbers.split('.').map(number).collect::<Option<Vec<u64>>>()?;
        let stage = match before {
            None => Stage::Release,
            Some(before) => {
                let mut words = Vec::new();
                for part in before.split(['.', '-']) {
                    if part.is_empty() || !part.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
                        return None;
                    }
                    for run in part.as_bytes().chunk_by(|one, next| one.is_ascii_digit() == next.is_ascii_digit()) {
                        let run = std::str::from_utf8(run).ok()?;
                        words.push(match run.starts_with(|first: char| first.is_ascii_digit()) {
                            true => Word::Number(number(run)?),
                            false => Word::Letters(run.to_owned()),
                        });
                    }
                }
                Stage::Before(words)
            }
        };
        Some(Self(numbers.try_into().ok()?, stage))
    }
}

fn parse(manifest: &str, comment: &str) -> Option<Release> {
    let mut lines = manifest.lines();
    if lines.next()? != MANIFEST_MAGIC {
        return None;
    }
    let word = |line: Option<&str>, key: &str| {
        let word = line?.strip_prefix(key)?.strip_prefix(' ')?;
        let is_plain = word.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-+_~".contains(&octet));
        (is_plain && (1..=WORD_BYTES_MAX).contains(&word.len())).then(|| word.to_owned())
    };
    let version = word(lines.next(), "version").filter(|version| Version::parse(version).is_some())?;
    let board = word(lines.next(), "board")?;
    let mut file = lines.next()?.strip_prefix("file ")?.split(' ');
    let (bytes, sha256, name) = (file.next()?.parse().ok()?, file.next()?.to_owned(), file.next()?);
    let is_sum =
        sha256.len() == 64 && sha256.bytes().all(|octet| octet.is_ascii_digit() || (b'a'..=b'f').contains(&octet));
    let is_whole = is_sum && name == "system" && file.next().is_none() && lines.next().is_none() && bytes > 0;
    let comment = comment.chars().filter(|letter| !letter.is_control()).collect();
    is_whole.then_some(Release { version, board, bytes, sha256, comment })
}

/// `KEY LENGTH`, then as many octets.
fn text(file: &mut impl Read, key: &str, max: usize) -> Result<String, ReleaseError> {
    let line = line(file)?;
    let length = line.strip_prefix(key).and_then(|rest| rest.strip_prefix(' ')?.parse::<usize>().ok());
    let length = length.filter(|length| *length <= max).ok_or(ReleaseError::NotARelease)?;
    let mut octets = vec![0; length];
    file.read_exact(&mut octets)?;
    String::from_utf8(octets).map_err(|_| ReleaseError::NotARelease)
}

fn line(file: &mut impl Read) -> Result<String, ReleaseError> {
    let mut line = Vec::new();
    let mut octet = [0];
    while line.len() < LINE_BYTES_MAX {
        if file.read(&mut octet)? == 0 {
            break;
        }
        if octet == *b"\n" {
            return String::from_utf8(line).map_err(|_| ReleaseError::NotARelease);
        }
        line.extend(octet);
    }
    Err(ReleaseError::NotARelease)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by board/release with a key that was thrown away: version 0.2.0 for rpi-arm64, 3,000 octets.
    const FILE: &[u8] = include_bytes!("../../tests/data/release/example.release");
    const KEY: &str = include_str!("../../tests/data/release/example.pub");
    const OTHER_KEY: &str = include_str!("../../tests/data/release/other.pub");

    fn whole(octets: &[u8], key: &str) -> Result<Release, ReleaseError> {
        let mut file = octets;
        let release = open(&mut file, key)?;
        verify(&mut file, &release)?;
        Ok(release)
    }

    #[test]
    fn a_signed_release_says_what_it_is() {
        let release = whole(FILE, KEY).unwrap();
        assert_eq!((release.version.as_str(), release.board.as_str(), release.bytes), ("0.2.0", "rpi-arm64", 3_000));
        assert!(release.comment.contains("0.2.0"), "{}", release.comment);
    }

    #[test]
    fn another_key_is_refused() {
        assert!(matches!(whole(FILE, OTHER_KEY), Err(ReleaseError::BadSignature)));
        assert!(matches!(whole(FILE, "untrusted comment: x\nAAAA\n"), Err(ReleaseError::BadKey)));
    }

    #[test]
    fn no_octet_may_be_changed_missing_or_added() {
        for at in (0..FILE.len()).step_by(7).chain(FILE.len() - 40..FILE.len()) {
            let mut octets = FILE.to_vec();
            octets[at] ^= 1;
            // What stands in the comment that nobody signs is the one exception.
            let untrusted = FILE.windows(9).position(|window| window == b"untrusted").unwrap();
            let end = untrusted + FILE[untrusted..].iter().position(|octet| *octet == b'\n').unwrap();
            assert!(whole(&octets, KEY).is_err() || (untrusted..end).contains(&at), "octet {at}");
        }
        for cut in (0..FILE.len()).step_by(13) {
            assert!(whole(&FILE[..cut], KEY).is_err(), "cut at {cut}");
        }
        assert!(matches!(whole(&[FILE, b"x"].concat(), KEY), Err(ReleaseError::Damaged)));
    }

    #[test]
    fn a_manifest_says_one_file_and_nothing_odd() {
        let sum = "0".repeat(64);
        let good = format!("pigeon-release 1\nversion 0.2.0\nboard rpi-arm64\nfile 10 {sum} system\n");
        assert!(parse(&good, "").is_some());
        let rows = [
            (good.replace("system", "../system"), "another name"),
            (good.replace("release 1", "release 2"), "a later form"),
            (good.replace("file 10", "file 0"), "nothing in it"),
            (good.replace("file 10", "file -1"), "no number"),
            (good.replace(&sum, "00"), "no sum"),
            (good.replace("0.2.0", "0.2.0\x1b[2J"), "a terminal's orders"),
            (good.replace("0.2.0", "0~2"), "no version"),
            (format!("{good}file 10 {sum} more\n"), "two files"),
        ];
        for (manifest, why) in rows {
            assert_eq!(parse(&manifest, ""), None, "{why}");
        }
    }

    #[test]
    fn versions_follow_each_other() {
        let rising = [
            "0.1.0",
            "0.2.0-1",
            "0.2.0-beta",
            "0.2.0-rc",
            "0.2.0-rc1",
            "0.2.0-rc2",
            "0.2.0-rc2.1",
            "0.2.0-rc10",
            "0.2.0",
            "0.10.0",
            "1.0.0",
        ];
        let parse = |version: &str| Version::parse(version).unwrap();
        for (index, version) in rising.iter().enumerate() {
            for (other_index, other) in rising.iter().enumerate() {
                assert_eq!(parse(version).cmp(&parse(other)), index.cmp(&other_index), "{version} {other}");
            }
        }
        assert_eq!(parse("1.0.0+one"), parse("1.0.0+another"));
        let rows = [
            ("2.0~rc1", "Debian's way to say before"),
            ("2.0.0~rc1", "the same"),
            ("1.0", "not three numbers"),
            ("1.0.0.0", "not three numbers"),
            ("1.0.x", "a letter for a number"),
            ("1.0.", "no number"),
            ("1.0.0-", "nothing behind the hyphen"),
            ("1.0.0-rc..1", "nothing between points"),
            ("1.0.0-rc_1", "neither letter nor digit"),
            ("1.0.18446744073709551616", "a number beyond all"),
            ("", "nothing"),
        ];
        for (version, why) in rows {
            assert_eq!(Version::parse(version), None, "{why}");
        }
    }

    #[test]
    fn the_latest_of_several_is_taken_and_only_if_it_is_later() {
        let release = whole(FILE, KEY).unwrap();
        let of = |versions: &[&str]| -> Vec<Release> {
            versions.iter().map(|version| Release { version: (*version).to_owned(), ..release.clone() }).collect()
        };
        let several = of(&["0.10.0", "0.9.0", "0.10.0-rc2", "0.8.0"]);
        assert_eq!(newest(&several, "0.8.0"), Some(0));
        assert_eq!(newest(&several, "0.10.0"), None);
        assert_eq!(newest(&several, "0.10.0-rc2"), Some(0));
        assert_eq!(newest(&several, "no version"), None);
        assert_eq!(newest(&[], "0.1.0"), None);
    }

    #[test]
    fn an_older_release_and_one_of_another_board_are_refused() {
        let release = whole(FILE, KEY).unwrap();
        assert!(judge(&release, "rpi-arm64", "0.2.0", false).is_ok());
        assert!(matches!(judge(&release, "rpi-arm64", "0.3.0", false), Err(ReleaseError::Older { .. })));
        assert!(judge(&release, "rpi-arm64", "0.3.0", true).is_ok());
        assert!(matches!(judge(&release, "rpi-arm64", "no version", false), Err(ReleaseError::Older { .. })));
        assert!(matches!(judge(&release, "pc", "0.1.0", true), Err(ReleaseError::OtherBoard { .. })));
    }
}
