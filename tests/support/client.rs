//! A client at the other end of a pipe, plain or under TLS, that sends octets and takes lines.

use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use pigeon::net::PipeEnd;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::sync::Arc;

/// A client's end of a connection.
pub(crate) struct Client {
    stream: Stream,
    input: Vec<u8>,
}

enum Stream {
    Plain(PipeEnd),
    Tls(Box<TlsStream<PipeEnd>>),
    Gone,
}

impl Client {
    /// A client on `end`.
    pub(crate) fn new(end: PipeEnd) -> Self {
        Self { stream: Stream::Plain(end), input: Vec::new() }
    }

    /// Does the client's side of a TLS handshake.
    pub(crate) async fn start_tls(&mut self) -> std::io::Result<()> {
        let Stream::Plain(end) = std::mem::replace(&mut self.stream, Stream::Gone) else { panic!("TLS twice") };
        let connector = TlsConnector::from(config());
        let name = ServerName::try_from("localhost").expect("a name");
        self.stream = Stream::Tls(Box::new(connector.connect(name, end).await?));
        self.input.clear();
        Ok(())
    }

    /// Sends octets; false when the server has closed.
    pub(crate) async fn send(&mut self, octets: &[u8]) -> bool {
        let sent = match &mut self.stream {
            Stream::Plain(end) => end.write_all(octets).await,
            Stream::Tls(tls) => match tls.write_all(octets).await {
                Ok(()) => tls.flush().await,
                refused => refused,
            },
            Stream::Gone => return false,
        };
        sent.is_ok()
    }

    /// The next line without its CRLF, octets beyond UTF-8 replaced; `None` once the server has closed.
    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.input.iter().position(|&octet| octet == b'\n') {
                let line: Vec<u8> = self.input.drain(..=at).collect();
                let line = line.strip_suffix(b"\r\n").unwrap_or(&line);
                return Some(String::from_utf8_lossy(line).into_owned());
            }
            if !self.read().await {
                return (!self.input.is_empty())
                    .then(|| String::from_utf8_lossy(&std::mem::take(&mut self.input)).into_owned());
            }
        }
    }

    async fn read(&mut self) -> bool {
        let mut some = [0; 4096];
        let count = match &mut self.stream {
            Stream::Plain(end) => end.read(&mut some).await,
            Stream::Tls(tls) => tls.read(&mut some).await,
            Stream::Gone => Ok(0),
        };
        let count = count.unwrap_or(0);
        self.input.extend_from_slice(&some[..count]);
        count > 0
    }
}

/// Trusts whatever certificate comes: these tests are of dialogues, others are of certificates.
fn config() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Anyone(provider.clone()));
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end: &CertificateDer<'_>,
        _issuers: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
