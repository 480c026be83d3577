//! A CA of our own, for servers without a certificate from elsewhere: made once, kept for ten years, trusted by hand.
//! It signs one certificate for this server and renews it. Four files: ca.pem, ca.key, cert.pem, key.pem.

use super::files::{self, TlsError};
use super::validity::{date, day_number};
use crate::base::{hex, replace_file};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber, date_time_ymd,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// The certificate to trust, in `tls/` of the data directory.
pub const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key";
const CERTIFICATE_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";

const DAY_S: i64 = 86_400;
const CA_DAYS: i64 = 3_653;
/// Apple's systems take no server certificate of more than 825 days, whoever signed it.
const CERTIFICATE_DAYS: i64 = 820;
/// Renewed so long before the end, so that a box that is off for weeks has a valid one.
const RENEW_DAYS: i64 = 60;
/// Clocks of clients that go behind ours by up to this see a valid certificate.
const SKEW_DAYS: i64 = 1;
const _: () = assert!(CERTIFICATE_DAYS + SKEW_DAYS <= 825 && RENEW_DAYS < CERTIFICATE_DAYS);

/// The names that the certificate is for: the machine as it sees itself, and as others call it.
fn local_names(hosts: &[String]) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    for host in hosts.iter().map(|host| host.to_ascii_lowercase()) {
        if !names.contains(&host) {
            names.push(host);
        }
    }
    names
}

/// Whether a certificate that is valid between these seconds should be made anew: it ends soon, or has not begun, because
/// the clock was ahead when it was made. A CA made anew keeps its key and its name, so that whoever trusts the one before
/// still does, and no harm is done where it is today's clock that goes wrong.
pub(super) fn is_due((not_before_s, not_after_s): (i64, i64), unix_s: i64) -> bool {
    let unix_s = not_in_the_past(unix_s);
    not_after_s.saturating_sub(unix_s) < RENEW_DAYS * DAY_S || not_before_s > unix_s
}

/// Makes what is missing, near its end, before its beginning or for other names; answers the paths of certificate and key.
/// A cut between key and certificate leaves a pair that does not match: the next start makes a new one.
pub(super) fn ensure(folder: &Path, hosts: &[String], unix_s: i64) -> Result<(PathBuf, PathBuf), TlsError> {
    fs::create_dir_all(folder).map_err(|error| TlsError::Write(folder.to_owned(), error))?;
    let (certificate, key) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
    let from_s = not_in_the_past(unix_s);
    let ca = ensure_ca(folder, from_s)?;
    let kept = files::examine(&certificate, &key).ok().filter(|_| !ca.is_new);
    let covers_all = |facts: &files::Certificate| local_names(hosts).iter().all(|name| facts.covers(name));
    if kept.as_ref().is_some_and(|facts| !is_due(facts.validity(), unix_s) && covers_all(facts)) {
        return Ok((certificate, key));
    }
    let made = make(&certificate, (&key, kept.is_some()), &ca, server_params(hosts, from_s, ca.not_after_s)?);
    match (made, kept) {
        // A full disk keeps nobody from mail.
        (Err(error), Some(kept)) if kept.not_after_s > unix_s => {
            log::error!("{error}; the certificate that is there is used on");
        }
        (made, _) => made?,
    }
    Ok((certificate, key))
}

/// Makes a certificate: for the key that is there, so that nothing but the certificate is replaced, or for a new one.
fn make(
    certificate: &Path,
    (key, keeps_key): (&Path, bool),
    ca: &Ca,
    params: CertificateParams,
) -> Result<(), TlsError> {
    let kept = if keeps_key { key_there(key)? } else { None };
    let pair = kept.map_or_else(|| new_key(key), Ok)?;
    let made = params.signed_by(&pair, &ca.issuer).map_err(TlsError::NotMade)?;
    write(certificate, &made.pem(), 0o644)
}

/// A certificate for localhost that no file knows.
pub(super) fn self_signed() -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let pair = KeyPair::generate().map_err(TlsError::NotMade)?;
    let params = server_params(&[], not_in_the_past(0), i64::MAX)?;
    let made = params.self_signed(&pair).map_err(TlsError::NotMade)?;
    Ok((vec![made.der().clone()], PrivatePkcs8KeyDer::from(pair.serialize_der()).into()))
}

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    not_after_s: i64,
    is_new: bool,
}

fn ensure_ca(folder: &Path, from_s: i64) -> Result<Ca, TlsError> {
    let (certificate, key) = (folder.join(CA_FILE), folder.join(CA_KEY_FILE));
    let pair = match key_there(&key)? {
        Some(pair) => pair,
        None => {
            let pair = new_key(&key)?;
            // Whatever certificate there was, its key is lost.
            if certificate.exists() {
                fs::remove_file(&certificate).map_err(|error| TlsError::Write(certificate.clone(), error))?;
            }
            pair
        }
    };
    let kept = files::chain(&certificate).and_then(|chain| files::facts(&certificate, &chain));
    let params = ca_params(&pair, from_s)?;
    let (not_after_s, is_new) = match kept {
        Ok(facts) if !is_due(facts.validity(), from_s) => (facts.not_after_s, false),
        _ => {
            let made = params.self_signed(&pair).map_err(TlsError::NotMade)?;
            write(&certificate, &made.pem(), 0o644)?;
            (from_s.saturating_add(CA_DAYS * DAY_S), true)
        }
    };
    Ok(Ca { issuer: Issuer::new(params, pair), not_after_s, is_new })
}

/// The key in a file; nothing when there is no such file.
fn key_there(path: &Path) -> Result<Option<KeyPair>, TlsError> {
    match fs::read_to_string(path) {
        Ok(pem) => match KeyPair::from_pem(&pem) {
            Ok(pair) => Ok(Some(pair)),
            Err(error) => Err(TlsError::Malformed(path.to_owned(), error.to_string())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TlsError::Read(path.to_owned(), error)),
    }
}

/// A new key, in its file.
fn new_key(path: &Path) -> Result<KeyPair, TlsError> {
    let pair = KeyPair::generate().map_err(TlsError::NotMade)?;
    write(path, &pair.serialize_pem(), 0o600)?;
    Ok(pair)
}

fn ca_params(pair: &KeyPair, from_s: i64) -> Result<CertificateParams, TlsError> {
    // The name follows from the key, so that it is the same at every start, and two servers' CAs differ in name.
    let digest = ring::digest::digest(&ring::digest::SHA256, pair.public_key_raw());
    let print = hex(digest.as_ref().iter().take(4));
    let mut params = params(format!("Pigeon local CA {print}"), from_s, from_s.saturating_add(CA_DAYS * DAY_S))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn server_params(hosts: &[String], from_s: i64, until_s: i64) -> Result<CertificateParams, TlsError> {
    let until_s = from_s.saturating_add(CERTIFICATE_DAYS * DAY_S).min(until_s);
    let common_name = hosts.first().map_or_else(|| "localhost".to_owned(), |host| host.to_ascii_lowercase());
    let mut params = params(common_name, from_s, until_s)?;
    for name in local_names(hosts) {
        params.subject_alt_names.push(match name.as_str() {
            "127.0.0.1" => SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            "::1" => SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            name => SanType::DnsName(name.try_into().map_err(TlsError::NotMade)?),
        });
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Name, dates (to the day) and a random serial number: the same issuer and number twice is refused by mail programs.
fn params(common_name: String, from_s: i64, until_s: i64) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    set_dates(&mut params, from_s, until_s);
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| TlsError::NotMade(rcgen::Error::RingUnspecified))?;
    // RFC 5280 4.1.2.2: positive.
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn set_dates(params: &mut CertificateParams, from_s: i64, until_s: i64) {
    let at = |unix_s: i64| {
        let (year, month, day) = date(unix_s.clamp(0, day_number(9999, 12, 31) * DAY_S));
        let small = |number: i64| u8::try_from(number).unwrap_or(1);
        date_time_ymd(i32::try_from(year).unwrap_or(1970), small(month), small(day))
    };
    params.not_before = at(from_s.saturating_sub(SKEW_DAYS * DAY_S));
    params.not_after = at(until_s);
}

/// A board without a clock starts in 1970: its certificate must be valid once the time is known.
fn not_in_the_past(unix_s: i64) -> i64 {
    unix_s.max(day_number(2026, 1, 1) * DAY_S)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    replace_file(path, text.as_bytes(), mode).map_err(|error| TlsError::Write(path.to_owned(), error))
}
