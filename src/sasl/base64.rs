//! Base64 with the standard alphabet (RFC 4648 section 4), strict: canonical padding, nothing outside the alphabet,
//! unused bits zero (section 3.5). Never skips white space; MIME bodies have a decoder of their own.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text of `octets`, padded.
pub fn encode(octets: &[u8]) -> String {
    let mut text = encode_unpadded(octets);
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// The text of `octets` without padding, as PHC strings want it.
pub fn encode_unpadded(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len().div_ceil(3).saturating_mul(4));
    for group in octets.chunks(3) {
        let bits = group.iter().enumerate().fold(0u32, |bits, (at, octet)| bits | (u32::from(*octet) << (16 - 8 * at)));
        for at in 0..=group.len() {
            let index = (bits >> (18 - 6 * at)) & 0x3f;
            text.push(ALPHABET.get(index as usize).map_or('A', |c| char::from(*c)));
        }
    }
    text
}

/// The octets of a padded text; `None` when it is not exactly what [`encode`] prints.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let bare = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    if text.len() - bare.len() != (4 - bare.len() % 4) % 4 {
        return None;
    }
    decode_unpadded(bare)
}

/// The octets of a text without padding; `None` when it is not exactly what [`encode_unpadded`] prints.
pub fn decode_unpadded(text: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for (at, digit) in group.iter().enumerate() {
            bits |= value(*digit)? << (18 - 6 * at);
        }
        let count = group.len().checked_sub(1).filter(|count| *count > 0)?;
        let [_, bytes @ ..] = bits.to_be_bytes();
        octets.extend(bytes.iter().take(count));
        if bytes.iter().skip(count).any(|rest| *rest != 0) {
            return None;
        }
    }
    Some(octets)
}

fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vectors_of_rfc_4648_section_10_hold() {
        let rows = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (octets, text) in rows {
            assert_eq!(encode(octets.as_bytes()), text);
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(octets.as_bytes()));
        }
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        let rows: [(&[u8], &str); 11] = [
            (b"Zg", "padding missing"),
            (b"Zg=", "padding short"),
            (b"Zg===", "padding long"),
            (b"Zh==", "unused bits set, one octet"),
            (b"Zm9=", "unused bits set, two octets"),
            (b"Zm9v====", "a group of padding alone"),
            (b"Z===", "one digit cannot hold an octet"),
            (b"Zm 9v", "white space"),
            (b"Zg==Zg==", "padding inside"),
            (b"Zm-_", "the URL alphabet"),
            (b"Zm9v\r\n", "a line end"),
        ];
        for (text, why) in rows {
            assert_eq!(decode(text), None, "{why}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(encode(&octets).as_bytes()), Some(octets.clone()));
            prop_assert_eq!(decode_unpadded(encode_unpadded(&octets).as_bytes()), Some(octets));
        }

        #[test]
        fn what_decodes_is_what_encode_prints(text in "[A-Za-d0-9+/=]{0,12}") {
            if let Some(octets) = decode(text.as_bytes()) {
                prop_assert_eq!(encode(&octets), text);
            }
        }
    }
}
