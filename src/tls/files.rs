//! A certificate and its key from PEM files (RFC 7468), with errors that tell what to do.

use super::validity::validity;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

/// No certificate file is longer; whatever is, is another file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why there is no usable certificate.
#[derive(Debug)]
pub enum TlsError {
    /// A file could not be read.
    Read(PathBuf, io::Error),
    /// A file of our own could not be written.
    Write(PathBuf, io::Error),
    /// No certificate in it.
    NoCertificate(PathBuf),
    /// No private key in it.
    NoKey(PathBuf),
    /// What is in it cannot be understood.
    Malformed(PathBuf, String),
    /// The key is another certificate's.
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The CA or the certificate could not be made.
    NotMade(rcgen::Error),
    /// TLS would not take it.
    Refused(rustls::Error),
}

impl TlsError {
    /// What the operator can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Read(path, error) if error.kind() == io::ErrorKind::NotFound => {
                format!(
                    "put the file there, or correct the path; without [tls] a local CA is made ({})",
                    path.display()
                )
            }
            Self::Read(path, error) if error.kind() == io::ErrorKind::PermissionDenied => {
                format!("let the server's user read it: chgrp pigeon {0} && chmod 640 {0}", path.display())
            }
            Self::Read(..) | Self::Write(..) => "look at the file system it is on".to_owned(),
            Self::NoCertificate(_) => "it must hold -----BEGIN CERTIFICATE-----, the server's own first".to_owned(),
            Self::NoKey(_) => {
                "it must hold -----BEGIN PRIVATE KEY----- (PKCS#8, PKCS#1 or SEC1), without a passphrase".to_owned()
            }
            Self::Malformed(..) => "copy the file again from where the certificate was issued".to_owned(),
            Self::Mismatch { .. } => "give the key that the certificate was requested with".to_owned(),
            Self::NotMade(_) | Self::Refused(_) => {
                "use a certificate with an ECDSA P-256, P-384, Ed25519 or RSA (2048 bits or more) key".to_owned()
            }
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Write(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            Self::NoCertificate(path) => write!(f, "{} holds no certificate", path.display()),
            Self::NoKey(path) => write!(f, "{} holds no private key", path.display()),
            Self::Malformed(path, why) => write!(f, "cannot understand {}: {why}", path.display()),
            Self::Mismatch { certificate, key } => {
                write!(
                    f,
                    "the key in {} does not belong to the certificate in {}",
                    key.display(),
                    certificate.display()
                )
            }
            Self::NotMade(error) => write!(f, "cannot make a certificate: {error}"),
            Self::Refused(error) => write!(f, "the certificate cannot be used: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// What there is to know of a server's certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Valid from here, seconds since 1970.
    pub not_before_s: i64,
    /// Valid up to here, seconds since 1970.
    pub not_after_s: i64,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// From when to when it is valid, seconds since 1970.
    pub(super) fn validity(&self) -> (i64, i64) {
        (self.not_before_s, self.not_after_s)
    }

    /// Whether it is for this host name or IP address (RFC 6125).
    pub fn covers(&self, name: &str) -> bool {
        let (Ok(certificate), Ok(name)) = (ParsedCertificate::try_from(&self.der), ServerName::try_from(name)) else {
            return false;
        };
        rustls::client::verify_server_name(&certificate, &name).is_ok()
    }
}

/// A chain with its key.
pub(super) struct Loaded {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) facts: Certificate,
}

/// Looks at a certificate and its key as the server would at start.
pub fn examine(certificate: &Path, key: &Path) -> Result<Certificate, TlsError> {
    Ok(load(certificate, key)?.facts)
}

/// Reads both files and makes sure that they belong together.
pub(super) fn load(certificate: &Path, key: &Path) -> Result<Loaded, TlsError> {
    let chain = chain(certificate)?;
    let facts = facts(certificate, &chain)?;
    let private = private_key(key)?;
    let signing = any_supported_type(&private).map_err(|error| malformed(key, &error))?;
    let pair = CertifiedKey::new(chain, signing);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(_) => {
            return Err(TlsError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() });
        }
    }
    Ok(Loaded { chain: pair.cert, key: private, facts })
}

/// The certificates in a PEM file, in order.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| malformed(path, &error))?;
    if chain.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(chain) }
}

/// The facts of the first certificate of a chain.
pub(super) fn facts(path: &Path, chain: &[CertificateDer<'static>]) -> Result<Certificate, TlsError> {
    let Some(der) = chain.first() else {
        return Err(TlsError::NoCertificate(path.to_owned()));
    };
    ParsedCertificate::try_from(der).map_err(|error| malformed(path, &error))?;
    let Some((not_before_s, not_after_s)) = validity(der) else {
        return Err(malformed(path, &"no dates of validity"));
    };
    Ok(Certificate { not_before_s, not_after_s, der: der.clone() })
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    match PrivateKeyDer::from_pem_slice(&read(path)?) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey(path.to_owned())),
        Err(error) => Err(malformed(path, &error)),
    }
}

fn malformed(path: &Path, why: &dyn fmt::Display) -> TlsError {
    TlsError::Malformed(path.to_owned(), why.to_string())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError::Read(path.to_owned(), error);
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        return Err(malformed(path, &format_args!("{length} octets are too many for a certificate")));
    }
    fs::read(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::super::local;
    use super::*;

    #[test]
    fn every_mistake_has_its_own_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (certificate, key) = local::ensure(&path("one"), &["a.example.org".to_owned()], 1_800_000_000).unwrap();
        let (_, other) = local::ensure(&path("two"), &["a.example.org".to_owned()], 1_800_000_000).unwrap();
        fs::write(path("empty"), "").unwrap();
        fs::write(path("torn"), "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n").unwrap();
        fs::write(path("odd"), "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n").unwrap();

        let table = [
            (path("none"), key.clone(), "cannot read"),
            (path("empty"), key.clone(), "holds no certificate"),
            (key.clone(), key.clone(), "holds no certificate"),
            (path("torn"), key.clone(), "cannot understand"),
            (path("odd"), key.clone(), "cannot understand"),
            (certificate.clone(), path("none"), "cannot read"),
            (certificate.clone(), certificate.clone(), "holds no private key"),
            (certificate.clone(), other, "does not belong to"),
        ];
        for (certificate, key, words) in table {
            let error = examine(&certificate, &key).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert!(!error.remedy().is_empty());
        }
        assert!(examine(&certificate, &key).is_ok());
    }
}
