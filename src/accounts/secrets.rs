//! What is stored of a password: its argon2id hash as a PHC string, and the keys for SCRAM-SHA-256; and how it is checked.
//! Blocking and hungry (7 MiB for one hash): only the hasher's thread calls it.

use super::password::PASSWORD_OCTETS_MAX;
use crate::sasl::base64;
use crate::sasl::{SCRAM_ITERATIONS, SCRAM_KEY_BYTES, SCRAM_SALT_BYTES, ScramKeys};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// The first octet of the stored form.
const FORMAT: u8 = 1;
/// KiB of memory for a hash, passes over it, lanes: OWASP's weakest recommended set with the least memory.
const MEMORY_KIB: u32 = if cfg!(fuzzing) { 8 } else { 7 * 1024 };
/// A fuzzer tries a wrong password in every second input, and is not after our hashes.
const PASSES: u32 = if cfg!(fuzzing) { 1 } else { 5 };
const LANES: u32 = 1;
/// What stored parameters may ask for: memory is reserved for one hash of ours and no more.
const PASSES_MAX: u32 = 20;
/// Octets of argon2's salt and output.
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// The stored form of a password, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Secrets {
    hash: Hash,
    /// Read by the mechanism that is yet to be offered.
    pub(super) scram: ScramKeys,
}

/// A PHC string's parts, argon2id version 0x13 only.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hash {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: Vec<u8>,
    output: Vec<u8>,
}

/// Fresh randomness for [`Secrets::new`] and [`Secrets::of_nobody`].
#[derive(Clone, Debug)]
pub(super) struct Salts {
    pub(super) argon2: [u8; SALT_BYTES],
    pub(super) scram: [u8; SCRAM_SALT_BYTES],
}

impl Secrets {
    /// Derives everything from a new password; `None` when there is no memory for it.
    pub(super) fn new(password: &[u8], salts: &Salts) -> Option<Self> {
        let mut hash = Hash {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: salts.argon2.to_vec(),
            output: vec![0; HASH_BYTES],
        };
        hash.output = hash.compute(password)?;
        Some(Self { hash, scram: ScramKeys::derive(password, &salts.scram, SCRAM_ITERATIONS) })
    }

    /// Secrets that no password fits: an unknown user is checked against them, so that the answer takes as long.
    pub(super) fn of_nobody(salts: &Salts) -> Self {
        let output = vec![0; HASH_BYTES]; // no password is known whose hash is this
        let hash = Hash { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES, salt: salts.argon2.to_vec(), output };
        let no_key = [0; SCRAM_KEY_BYTES];
        let scram = ScramKeys {
            salt: salts.scram.to_vec(),
            iterations: SCRAM_ITERATIONS,
            stored_key: no_key,
            server_key: no_key,
        };
        Self { hash, scram }
    }

    /// Whether this is the password; `None` when there is no memory to find out.
    pub(super) fn fits(&self, password: &[u8]) -> Option<bool> {
        let output = self.hash.compute(password)?;
        Some(password.len() <= PASSWORD_OCTETS_MAX && same(&output, &self.hash.output))
    }

    /// The stored form:
    ///
    /// ```text
    /// format u8 = 1 | length u8, PHC string | iterations u32 LE | length u8, salt | StoredKey 32 | ServerKey 32
    /// ```
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        put_short(&mut bytes, self.hash.print().as_bytes());
        bytes.extend(self.scram.iterations.to_le_bytes());
        put_short(&mut bytes, &self.scram.salt);
        bytes.extend(self.scram.stored_key);
        bytes.extend(self.scram.server_key);
        bytes
    }

    /// Reads the stored form; `None` when it is none of ours.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&format, rest) = bytes.split_first()?;
        if format != FORMAT {
            return None;
        }
        let (phc, rest) = take_short(rest)?;
        let hash = Hash::parse(std::str::from_utf8(phc).ok()?)?;
        let (iterations, rest) = rest.split_first_chunk::<4>()?;
        let (salt, rest) = take_short(rest)?;
        let (stored_key, rest) = rest.split_first_chunk::<SCRAM_KEY_BYTES>()?;
        let (server_key, rest) = rest.split_first_chunk::<SCRAM_KEY_BYTES>()?;
        let scram = ScramKeys {
            salt: salt.to_vec(),
            iterations: u32::from_le_bytes(*iterations),
            stored_key: *stored_key,
            server_key: *server_key,
        };
        rest.is_empty().then_some(Self { hash, scram })
    }
}

impl Hash {
    /// Hashes with these parameters. The block array lives for this one hash: it is larger than any allocator's
    /// threshold for mapping, so it goes back to the system at the end.
    fn compute(&self, password: &[u8]) -> Option<Vec<u8>> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(self.output.len())).ok()?;
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(params.block_count()).ok()?;
        blocks.resize(params.block_count(), Block::new());
        let mut output = vec![0; self.output.len()];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(password, &self.salt, &mut output, &mut blocks)
            .ok()?;
        Some(output)
    }

    /// `$argon2id$v=19$m=7168,t=5,p=1$salt$hash` (the PHC string format).
    fn print(&self) -> String {
        format!(
            "$argon2id$v=19$m={},t={},p={}${}${}",
            self.memory_kib,
            self.passes,
            self.lanes,
            base64::encode_unpadded(&self.salt),
            base64::encode_unpadded(&self.output)
        )
    }

    fn parse(phc: &str) -> Option<Self> {
        let (params, rest) = phc.strip_prefix("$argon2id$v=19$")?.split_once('$')?;
        let (salt, output) = rest.split_once('$')?;
        let mut params = params.split(',');
        let mut number = |key: &str| params.next()?.strip_prefix(key)?.parse::<u32>().ok();
        let hash = Self {
            memory_kib: number("m=")?,
            passes: number("t=")?,
            lanes: number("p=")?,
            salt: base64::decode_unpadded(salt.as_bytes())?,
            output: base64::decode_unpadded(output.as_bytes())?,
        };
        let is_ours = hash.memory_kib <= MEMORY_KIB && hash.passes <= PASSES_MAX && hash.lanes == LANES;
        (is_ours && params.next().is_none()).then_some(hash)
    }
}

/// Compares in a time that does not tell where they differ.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && std::hint::black_box(one.iter().zip(other).fold(0, |diff, (a, b)| diff | (a ^ b))) == 0
}

/// All that is put is shorter than 256 octets; more would be cut and not decode.
fn put_short(bytes: &mut Vec<u8>, field: &[u8]) {
    let length = u8::try_from(field.len()).unwrap_or(u8::MAX);
    bytes.push(length);
    bytes.extend(field.iter().take(usize::from(length)));
}

fn take_short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALTS: Salts = Salts { argon2: *b"0123456789abcdef", scram: *b"fedcba9876543210" };

    #[test]
    fn a_password_fits_its_own_secrets_and_no_other_does() {
        let secrets = Secrets::new(b"wonderland-7", &SALTS).unwrap();
        assert_eq!(secrets.fits(b"wonderland-7"), Some(true));
        assert_eq!(secrets.fits(b"wonderland-8"), Some(false));
        assert_eq!(secrets.fits(b""), Some(false));
        assert_eq!(Secrets::of_nobody(&SALTS).fits(b"wonderland-7"), Some(false));
    }

    #[test]
    fn what_is_stored_is_a_phc_string_and_decodes_again() {
        let secrets = Secrets::new(b"wonderland-7", &SALTS).unwrap();
        let bytes = secrets.encode();
        assert_eq!(Secrets::decode(&bytes), Some(secrets));
        assert!(bytes[2..].starts_with(b"$argon2id$v=19$m=7168,t=5,p=1$MDEyMzQ1Njc4OWFiY2RlZg$"));
        for cut in 0..bytes.len() {
            assert_eq!(Secrets::decode(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(Secrets::decode(&[&bytes[..], b"x"].concat()), None, "something behind");
    }

    #[test]
    fn stored_parameters_cannot_ask_for_more_memory_than_is_reserved() {
        let rows = [
            ("$argon2id$v=19$m=7168,t=5,p=1$MDEyMzQ1Njc4OWFiY2RlZg$AAAAAAAAAAAAAAAAAAAAAA", true, "ours"),
            ("$argon2id$v=19$m=65536,t=3,p=1$MDEyMzQ1Njc4OWFiY2RlZg$AAAAAAAAAAAAAAAAAAAAAA", false, "64 MiB"),
            ("$argon2id$v=19$m=7168,t=5,p=4$MDEyMzQ1Njc4OWFiY2RlZg$AAAAAAAAAAAAAAAAAAAAAA", false, "four lanes"),
            ("$argon2i$v=19$m=7168,t=5,p=1$MDEyMzQ1Njc4OWFiY2RlZg$AAAAAAAAAAAAAAAAAAAAAA", false, "argon2i"),
            ("$argon2id$v=19$m=7168,t=5$MDEyMzQ1Njc4OWFiY2RlZg$AAAAAAAAAAAAAAAAAAAAAA", false, "no lanes"),
            ("$argon2id$v=19$m=7168,t=5,p=1$MDEyMzQ1Njc4OWFiY2RlZg", false, "no hash"),
        ];
        for (phc, expected, why) in rows {
            assert_eq!(Hash::parse(phc).is_some(), expected, "{why}");
            if let Some(hash) = Hash::parse(phc) {
                assert_eq!(hash.print(), phc);
            }
        }
    }
}
