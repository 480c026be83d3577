//! Octets as text, two digits each.

/// The octets in hexadecimal, lower case.
pub fn hex<'a>(octets: impl IntoIterator<Item = &'a u8>) -> String {
    octets.into_iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_has_two_digits() {
        assert_eq!(hex(&[0, 0x0a, 0xff]), "000aff");
    }
}
