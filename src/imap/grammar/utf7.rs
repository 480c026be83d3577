//! Modified UTF-7 (RFC 3501 5.1.3), in which mailbox names travel: one encoding for every name, and no other accepted.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// `name` in modified UTF-7. Control characters are encoded as well, so the result is printable ASCII.
pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut shifted = false;
    let (mut bits, mut held) = (0_u32, 0_u32);
    for character in name.chars() {
        if matches!(character, ' '..='~') {
            if shifted {
                end_shift(&mut out, &mut bits, &mut held);
                shifted = false;
            }
            out.push(character);
            if character == '&' {
                out.push('-');
            }
            continue;
        }
        if !shifted {
            out.push('&');
            shifted = true;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // At most 5 bits wait, so 21 of 32 are in use.
            bits = bits << 16 | u32::from(*unit);
            held += 16;
            while held >= 6 {
                held -= 6;
                push_digit(&mut out, bits >> held);
            }
            bits &= (1 << held) - 1;
        }
    }
    if shifted {
        end_shift(&mut out, &mut bits, &mut held);
    }
    out
}

/// The name that `wire` encodes; `None` unless `wire` is exactly what [`encode`] makes of it.
pub fn decode(wire: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(wire.len());
    let mut rest = wire;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        if octet != b'&' {
            out.push(char::from(octet));
            continue;
        }
        let end = rest.iter().position(|&octet| octet == b'-')?;
        let (digits, after) = rest.split_at_checked(end)?;
        rest = after.get(1..)?;
        if digits.is_empty() {
            out.push('&');
        } else {
            decode_shifted(digits, &mut out)?;
        }
    }
    // Encoding again refuses 8-bit and control octets, printable ASCII in base64, shifts to no purpose, left-over bits.
    (encode(&out).as_bytes() == wire).then_some(out)
}

fn decode_shifted(digits: &[u8], out: &mut String) -> Option<()> {
    let mut units = Vec::with_capacity(digits.len() / 2);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for digit in digits {
        let value = ALPHABET.iter().position(|letter| letter == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        held += 6;
        if held >= 16 {
            held -= 16;
            units.push(u16::try_from(bits >> held).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    for character in char::decode_utf16(units) {
        out.push(character.ok()?);
    }
    Some(())
}

fn end_shift(out: &mut String, bits: &mut u32, held: &mut u32) {
    if *held > 0 {
        push_digit(out, *bits << (6 - *held));
    }
    (*bits, *held) = (0, 0);
    out.push('-');
}

fn push_digit(out: &mut String, value: u32) {
    let digit = ALPHABET.get((value & 63) as usize).copied().unwrap_or(b'A');
    out.push(char::from(digit));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_encoded_as_the_rfc_shows() {
        for (name, wire, why) in [
            ("INBOX", "INBOX", "printable ASCII is itself"),
            ("Tom & Jerry", "Tom &- Jerry", "& is &-"),
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-", "RFC 3501 5.1.3"),
            ("Entwürfe", "Entw&APw-rfe", "one unit: 16 bits, 2 left over"),
            ("Éé", "&AMkA6Q-", "two units"),
            ("日&", "&ZeU-&-", "an ampersand right after base64"),
            ("😀", "&2D3eAA-", "a surrogate pair"),
            ("a\tb", "a&AAk-b", "a control character"),
        ] {
            assert_eq!(encode(name), wire, "{why}");
            assert_eq!(decode(wire.as_bytes()).as_deref(), Some(name), "{why}");
        }
    }

    #[test]
    fn only_the_one_encoding_is_accepted() {
        for (wire, why) in [
            (&b"a&"[..], "ends in a shift"),
            (b"&Jjo", "does not return to ASCII"),
            (b"&Jjo!-", "not a base64 digit"),
            (b"&U/BTFw-", "/ instead of ,"),
            (b"&AGE-", "an ASCII letter in base64"),
            (b"&ZeU-&ZyyKng-", "leaves base64 only to enter it again"),
            (b"&ZeV-", "left-over bits are not zero"),
            (b"&ZeUA-", "a digit too many"),
            (b"&2D0-", "half a surrogate pair"),
            (b"&A-", "less than one unit"),
            (b"caf\xe9", "8-bit"),
            ("é".as_bytes(), "UTF-8"),
            (b"a\tb", "a bare control character"),
        ] {
            assert_eq!(decode(wire), None, "{why}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(name in any::<String>()) {
            let wire = encode(&name);
            prop_assert!(wire.bytes().all(|octet| matches!(octet, b' '..=b'~')));
            prop_assert_eq!(decode(wire.as_bytes()), Some(name));
        }

        #[test]
        fn octets_never_panic(wire in any::<Vec<u8>>()) {
            if let Some(name) = decode(&wire) {
                prop_assert_eq!(encode(&name).into_bytes(), wire);
            }
        }
    }
}
