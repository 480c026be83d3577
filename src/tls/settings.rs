//! How we speak TLS: ring, versions 1.2 and 1.3, few sessions remembered, the cipher that this CPU is good at.

use super::TlsError;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};
use rustls::{CipherSuite, Error, ServerConfig};
use std::sync::Arc;

/// TLS 1.2 sessions kept for clients without tickets; the oldest go first.
const SESSIONS_MAX: usize = 32;

/// What lets clients resume a session.
pub(super) struct Sessions {
    tickets: Arc<dyn ProducesTickets>,
    cache: Arc<dyn StoresServerSessions>,
}

impl Sessions {
    /// New ticket keys and an empty cache.
    pub(super) fn new() -> Result<Self, TlsError> {
        let tickets = ring::Ticketer::new().map_err(TlsError::Refused)?;
        Ok(Self { tickets, cache: ServerSessionMemoryCache::new(SESSIONS_MAX) })
    }
}

/// The configuration for one certificate.
pub(super) fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    sessions: &Sessions,
) -> Result<Arc<ServerConfig>, Error> {
    let has_aes = cpu_has_aes();
    let mut config = ServerConfig::builder_with_provider(provider(has_aes))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    // Our order counts only where AES would be slow for us; else the client knows best what is fast for it.
    config.ignore_client_order = !has_aes;
    config.session_storage = sessions.cache.clone();
    config.ticketer = sessions.tickets.clone();
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// ring, with ChaCha20-Poly1305 first on a CPU without AES instructions.
fn provider(has_aes: bool) -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    if !has_aes {
        provider.cipher_suites.sort_by_key(|suite| !is_chacha20(suite.suite()));
    }
    Arc::new(provider)
}

fn is_chacha20(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

/// Raspberry Pi 4 and older have none.
fn cpu_has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chacha20_comes_first_without_aes_and_not_with_it() {
        let first = |has_aes| provider(has_aes).cipher_suites.first().unwrap().suite();
        assert!(is_chacha20(first(false)));
        assert!(!is_chacha20(first(true)));
        assert_eq!(provider(false).cipher_suites.len(), provider(true).cipher_suites.len());
    }
}
