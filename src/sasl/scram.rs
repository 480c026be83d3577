//! The keys a server stores for SCRAM-SHA-256 (RFC 5802 section 3, RFC 7677): derived when a password is set, so that
//! the mechanism can be offered later without asking anyone for a new password. Never sees a client's proof.

use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;

/// RFC 7677 section 4: at least 4,096.
pub const SCRAM_ITERATIONS: u32 = 4_096;
/// Octets of a fresh salt.
pub const SCRAM_SALT_BYTES: usize = 16;
/// Octets of each key: SHA-256's.
pub const SCRAM_KEY_BYTES: usize = digest::SHA256_OUTPUT_LEN;

/// What is stored: enough to check a client and to be checked, not enough to log in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramKeys {
    /// The salt.
    pub salt: Vec<u8>,
    /// How often the password was hashed.
    pub iterations: u32,
    /// H(HMAC(SaltedPassword, "Client Key")).
    pub stored_key: [u8; SCRAM_KEY_BYTES],
    /// HMAC(SaltedPassword, "Server Key").
    pub server_key: [u8; SCRAM_KEY_BYTES],
}

impl ScramKeys {
    /// Derives the keys; the password's octets are taken as they are.
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        let mut salted = [0; SCRAM_KEY_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password, &mut salted);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        salted.fill(0);
        std::hint::black_box(&salted); // keeps the fill from being optimised away
        let stored = digest::digest(&digest::SHA256, hmac::sign(&key, b"Client Key").as_ref());
        let server = hmac::sign(&key, b"Server Key");
        Self {
            salt: salt.to_vec(),
            iterations: rounds.get(),
            stored_key: octets(stored.as_ref()),
            server_key: octets(server.as_ref()),
        }
    }
}

/// A digest as an array; both are SHA-256's length.
fn octets(digest: &[u8]) -> [u8; SCRAM_KEY_BYTES] {
    let mut octets = [0; SCRAM_KEY_BYTES];
    for (to, from) in octets.iter_mut().zip(digest) {
        *to = *from;
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::base64;

    /// RFC 7677 section 3: user `user`, password `pencil`, both sides' messages as printed there.
    #[test]
    fn the_example_of_rfc_7677_holds() {
        let salt = base64::decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = ScramKeys::derive(b"pencil", &salt, 4_096);
        let auth_message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

        let server_key = hmac::Key::new(hmac::HMAC_SHA256, &keys.server_key);
        let server_signature = hmac::sign(&server_key, auth_message.as_bytes());
        assert_eq!(base64::encode(server_signature.as_ref()), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");

        let stored_key = hmac::Key::new(hmac::HMAC_SHA256, &keys.stored_key);
        let client_signature = hmac::sign(&stored_key, auth_message.as_bytes());
        let proof = base64::decode(b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let client_key: Vec<u8> = proof.iter().zip(client_signature.as_ref()).map(|(p, s)| p ^ s).collect();
        assert_eq!(digest::digest(&digest::SHA256, &client_key).as_ref(), keys.stored_key);
    }
}
