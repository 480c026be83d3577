//! A certificate that is replaced while the server runs, as certbot's hook does it: files, SIGHUP, and what clients see.

use super::process::{Home, PATIENCE, until};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

const NAME: &str = "mx.example.org";
const FILES: &str = "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n";

/// A CA that only this test knows.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

/// A server's certificate with its key.
struct Issued {
    der: CertificateDer<'static>,
    pem: String,
    key: String,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("a root").der().clone();
        Self { issuer: Issuer::new(params, key), root }
    }

    fn issue(&self) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![NAME.to_owned()]).expect("parameters");
        let made = params.signed_by(&key, &self.issuer).expect("a certificate");
        Issued { der: made.der().clone(), pem: made.pem(), key: key.serialize_pem() }
    }

    /// An IMAP connection after STARTTLS, from a client that trusts this CA alone and has never been here.
    fn connect(&self, home: &Home) -> Secured {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, home.imap)).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        plain_line(&mut socket);
        socket.write_all(b"s STARTTLS\r\n").expect("a line is sent");
        assert!(plain_line(&mut socket).starts_with("s OK"));
        let name = ServerName::try_from(NAME).expect("a name");
        let client = ClientConnection::new(Arc::new(config), name).expect("a client");
        Secured(BufReader::new(StreamOwned::new(client, socket)))
    }
}

impl Issued {
    fn install(&self, home: &Home) {
        std::fs::write(home.path().join("server.key"), &self.key).expect("the key is written");
        std::fs::write(home.path().join("server.pem"), &self.pem).expect("the certificate is written");
    }
}

/// A connection under TLS.
struct Secured(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Secured {
    /// Asks for NOOP, and expects it done.
    fn works(&mut self) -> &mut Self {
        self.0.get_mut().write_all(b"n NOOP\r\n").expect("the handshake and a line");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        assert!(line.starts_with("n OK"), "{line}");
        self
    }

    /// The certificate that the server showed.
    fn sees(&self) -> CertificateDer<'static> {
        let shown = self.0.get_ref().conn.peer_certificates().expect("certificates");
        shown.first().expect("the server's own").clone().into_owned()
    }
}

/// Octet by octet, so that nothing of the handshake is read ahead.
fn plain_line(socket: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut octet = [0];
        socket.read_exact(&mut octet).expect("a line");
        line.extend(octet);
    }
    String::from_utf8_lossy(&line).into_owned()
}

#[test]
fn sighup_shows_a_replaced_certificate_to_new_connections_and_ends_none() {
    let (ca, home) = (Ca::new(), Home::new(FILES));
    let (a, b) = (ca.issue(), ca.issue());
    a.install(&home);
    let server = home.serve();
    let mut first = ca.connect(&home);
    assert_eq!(first.works().sees(), a.der);

    b.install(&home);
    assert_eq!(ca.connect(&home).works().sees(), a.der, "nothing is read before the signal");
    server.signal(Signal::HUP);
    until("it is loaded", || home.log().contains("info certificate loaded"));
    let mut second = ca.connect(&home);
    assert_eq!(second.works().sees(), b.der);
    first.works();

    // What a reload can find: cut off, gone, another one's key.
    let complaint = "error the certificate stays as it was: ";
    let told = || home.log().matches(complaint).count();
    let broken: [(&str, Option<&str>); 3] =
        [("server.pem", Some("-----BEGIN CERTIFICATE-----\nMIIB")), ("server.pem", None), ("server.key", Some(&a.key))];
    for (count, (file, text)) in broken.into_iter().enumerate() {
        b.install(&home);
        match text {
            Some(text) => std::fs::write(home.path().join(file), text).expect("it is written"),
            None => std::fs::remove_file(home.path().join(file)).expect("it is removed"),
        }
        server.signal(Signal::HUP);
        until("it is told", || told() > count);
        assert_eq!(ca.connect(&home).works().sees(), b.der);
    }
    first.works();
    second.works();
    assert_eq!(told(), 3, "one line each: {}", home.log());
}
