//! The server's certificate and its TLS configuration (TLS 1.2 and 1.3, RFC 5246 and 8446): from files, or from a
//! local CA of our own. Swapped whole on reload; sessions under way keep what they have. Never opens a socket.

mod files;
mod local;
mod settings;
mod validity;

pub use files::{Certificate, TlsError, examine};
pub use local::CA_FILE;
pub use validity::date;

use rustls::ServerConfig;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// PEM files that somebody else renews.
    Files {
        /// The certificate, then its issuers.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// A CA of our own in `folder`, which is created.
    Local {
        /// `tls/` in the data directory.
        folder: PathBuf,
        /// The host names that the certificate is for, beside localhost; the first is its common name.
        hosts: Vec<String>,
    },
}

/// The current TLS configuration. Cheap to clone; all clones follow a reload.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    current: RwLock<Current>,
    /// Tickets and the session cache outlive a reload, so that clients resume.
    sessions: settings::Sessions,
}

struct Current {
    source: Source,
    config: Arc<ServerConfig>,
    /// From when to when it is valid, seconds since 1970.
    validity_s: (i64, i64),
}

impl Tls {
    /// Loads the certificate, or makes it (and the CA) where `source` is local and it is missing, near its end or for
    /// another name. `unix_s` is the wall clock. Blocks on files.
    pub fn open(source: Source, unix_s: i64) -> Result<Self, TlsError> {
        let sessions = settings::Sessions::new()?;
        let current = load(source, unix_s, &sessions)?;
        Ok(Self(Arc::new(Shared { current: RwLock::new(current), sessions })))
    }

    /// A certificate for localhost that exists in memory only, for tests.
    pub fn in_memory() -> Result<Self, TlsError> {
        let sessions = settings::Sessions::new()?;
        let (chain, key) = local::self_signed()?;
        let config = settings::server_config(chain, key, &sessions).map_err(TlsError::Refused)?;
        let source = Source::Local { folder: PathBuf::new(), hosts: Vec::new() };
        let current = Current { source, config, validity_s: (0, i64::MAX) };
        Ok(Self(Arc::new(Shared { current: RwLock::new(current), sessions })))
    }

    /// What the next handshake uses.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).config.clone()
    }

    /// Loads again, from `source`; on an error everything stays as it was. Blocks on files.
    pub fn reload(&self, source: Source, unix_s: i64) -> Result<(), TlsError> {
        let current = load(source, unix_s, &self.0.sessions)?;
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(())
    }

    /// Where the current certificate came from.
    pub fn source(&self) -> Source {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).source.clone()
    }

    /// When the current certificate ends, seconds since 1970.
    pub fn not_after_s(&self) -> i64 {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).validity_s.1
    }

    /// Whether a certificate of our own should be renewed by now; [`Tls::reload`] does it.
    pub fn is_due(&self, unix_s: i64) -> bool {
        let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        matches!(current.source, Source::Local { .. }) && local::is_due(current.validity_s, unix_s)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.source()).finish()
    }
}

fn load(source: Source, unix_s: i64, sessions: &settings::Sessions) -> Result<Current, TlsError> {
    let (certificate, key) = match &source {
        Source::Files { certificate, key } => (certificate.clone(), key.clone()),
        Source::Local { folder, hosts } => local::ensure(folder, hosts, unix_s)?,
    };
    let loaded = files::load(&certificate, &key)?;
    let validity_s = loaded.facts.validity();
    let config = settings::server_config(loaded.chain, loaded.key, sessions).map_err(TlsError::Refused)?;
    Ok(Current { source, config, validity_s })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const NOW_S: i64 = 1_800_000_000;
    const DAY_S: i64 = 86_400;

    fn local(folder: &std::path::Path, hostname: &str) -> Source {
        Source::Local { folder: folder.join("tls"), hosts: vec![hostname.to_owned()] }
    }

    #[test]
    fn a_first_start_makes_a_ca_and_a_second_one_keeps_it() {
        let data = tempfile::tempdir().unwrap();
        let tls = Tls::open(local(data.path(), "mail.example.org"), NOW_S).unwrap();
        assert!(!tls.is_due(NOW_S));
        let read = |name: &str| fs::read(data.path().join("tls").join(name)).unwrap();
        let (ca, cert) = (read("ca.pem"), read("cert.pem"));
        Tls::open(local(data.path(), "mail.example.org"), NOW_S + DAY_S).unwrap();
        assert_eq!((read("ca.pem"), read("cert.pem")), (ca, cert));
    }

    #[test]
    fn the_certificate_is_renewed_near_its_end_and_for_a_new_name_and_the_ca_stays() {
        let data = tempfile::tempdir().unwrap();
        let tls = Tls::open(local(data.path(), "one.example.org"), NOW_S).unwrap();
        let read = |name: &str| fs::read(data.path().join("tls").join(name)).unwrap();
        let (ca, first) = (read("ca.pem"), read("cert.pem"));

        let late = tls.not_after_s() - 10 * DAY_S;
        assert!(tls.is_due(late));
        tls.reload(tls.source(), late).unwrap();
        let second = read("cert.pem");
        assert_ne!(first, second);
        assert!(!tls.is_due(late));

        tls.reload(local(data.path(), "two.example.org"), late).unwrap();
        assert_ne!(second, read("cert.pem"));
        assert_eq!(ca, read("ca.pem"));
        let folder = data.path().join("tls");
        let facts = examine(&folder.join("cert.pem"), &folder.join("key.pem")).unwrap();
        for name in ["two.example.org", "localhost", "127.0.0.1", "::1"] {
            assert!(facts.covers(name), "{name}");
        }
        assert!(!facts.covers("one.example.org"));
    }

    #[test]
    fn a_certificate_without_one_of_the_names_is_made_anew_under_the_same_ca() {
        let data = tempfile::tempdir().unwrap();
        Tls::open(local(data.path(), "mail.example.org"), NOW_S).unwrap();
        let folder = data.path().join("tls");
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        let (ca, first) = (read("ca.pem"), read("cert.pem"));

        let hosts = vec!["mail.example.org".to_owned(), "Pigeon.local".to_owned()];
        let source = Source::Local { folder: folder.clone(), hosts };
        Tls::open(source.clone(), NOW_S + DAY_S).unwrap();
        let second = read("cert.pem");
        assert_ne!(first, second);
        assert_eq!(ca, read("ca.pem"));
        let facts = examine(&folder.join("cert.pem"), &folder.join("key.pem")).unwrap();
        for name in ["mail.example.org", "pigeon.local", "localhost", "127.0.0.1", "::1"] {
            assert!(facts.covers(name), "{name}");
        }

        Tls::open(source, NOW_S + 2 * DAY_S).unwrap();
        Tls::open(local(data.path(), "mail.example.org"), NOW_S + 2 * DAY_S).unwrap();
        assert_eq!(second, read("cert.pem"), "a name more than needed is no reason");
    }

    #[test]
    fn a_certificate_that_cannot_be_replaced_is_used_until_it_ends() {
        let data = tempfile::tempdir().unwrap();
        Tls::open(local(data.path(), "a.example.org"), NOW_S).unwrap();
        let folder = data.path().join("tls");
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        let before = (read("cert.pem"), read("key.pem"));
        // What is written goes to this name first.
        fs::create_dir(folder.join("cert.pem.new")).unwrap();
        Tls::open(local(data.path(), "b.example.org"), NOW_S + DAY_S).unwrap();
        assert_eq!(before, (read("cert.pem"), read("key.pem")));
        Tls::open(local(data.path(), "b.example.org"), NOW_S + 3_000 * DAY_S).unwrap_err();
        fs::remove_dir(folder.join("cert.pem.new")).unwrap();
        Tls::open(local(data.path(), "b.example.org"), NOW_S + DAY_S).unwrap();
        assert_ne!(before.0, read("cert.pem"));
        assert_eq!(before.1, read("key.pem"));
    }

    #[test]
    fn what_was_made_while_the_clock_was_ahead_is_made_anew_under_the_same_key() {
        let data = tempfile::tempdir().unwrap();
        let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let now_s = i64::try_from(now_s).unwrap();
        let folder = data.path().join("tls");
        let source = local(data.path(), "mail.example.org");
        let tls = Tls::open(source.clone(), now_s + 400 * DAY_S).unwrap();
        fs::copy(folder.join(CA_FILE), data.path().join("trusted.pem")).unwrap();
        assert!(tls.is_due(now_s), "the clock was put right while the server ran");
        let tls = Tls::open(source.clone(), now_s).unwrap();
        assert!(!tls.is_due(now_s));
        let begins = |name: &str| {
            let path = folder.join(name);
            files::facts(&path, &files::chain(&path).unwrap()).unwrap().not_before_s
        };
        assert!(begins(CA_FILE) <= now_s && begins("cert.pem") <= now_s);
        handshake(&tls, &folder.join(CA_FILE), "mail.example.org");
        handshake(&tls, &data.path().join("trusted.pem"), "mail.example.org");
        // A clock that begins in 1970 is put right later: no reason by itself.
        let before = fs::read(folder.join("cert.pem")).unwrap();
        Tls::open(source.clone(), now_s - DAY_S / 2).unwrap();
        let early = tempfile::tempdir().unwrap();
        let tls = Tls::open(local(early.path(), "mail.example.org"), 0).unwrap();
        assert!(!tls.is_due(0) && !tls.is_due(now_s.min(NOW_S)));
        assert_eq!(before, fs::read(folder.join("cert.pem")).unwrap());
    }

    #[test]
    fn a_power_cut_between_key_and_certificate_is_mended() {
        let data = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        Tls::open(local(data.path(), "a.example.org"), NOW_S).unwrap();
        Tls::open(local(other.path(), "a.example.org"), NOW_S).unwrap();
        fs::copy(other.path().join("tls/key.pem"), data.path().join("tls/key.pem")).unwrap();
        Tls::open(local(data.path(), "a.example.org"), NOW_S).unwrap();
        let folder = data.path().join("tls");
        assert!(examine(&folder.join("cert.pem"), &folder.join("key.pem")).is_ok());
    }

    #[test]
    fn a_client_that_trusts_the_ca_completes_a_handshake() {
        let data = tempfile::tempdir().unwrap();
        let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let tls = Tls::open(local(data.path(), "mail.example.org"), i64::try_from(now_s).unwrap()).unwrap();
        for name in ["mail.example.org", "localhost", "127.0.0.1"] {
            handshake(&tls, &data.path().join("tls").join(CA_FILE), name);
        }
    }

    fn handshake(tls: &Tls, ca: &std::path::Path, name: &str) {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, ServerName};
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = rustls::ServerConnection::new(tls.config()).unwrap();
        for _ in 0..4 {
            let mut octets = Vec::new();
            client.write_tls(&mut octets).unwrap();
            server.read_tls(&mut octets.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut octets = Vec::new();
            server.write_tls(&mut octets).unwrap();
            client.read_tls(&mut octets.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
    }
}
