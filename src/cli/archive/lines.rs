//! Line ends: mail has CRLF (RFC 5322 2.1), files of Unix programs have LF.

/// LF to CRLF; a CRLF stays one.
#[derive(Debug, Default)]
pub(in crate::cli) struct ToCrlf {
    is_after_cr: bool,
}

impl ToCrlf {
    /// Appends `text` to `out`.
    pub(in crate::cli) fn feed(&mut self, mut text: &[u8], out: &mut Vec<u8>) {
        while let Some(at) = memchr::memchr(b'\n', text) {
            let (line, rest) = text.split_at_checked(at).unwrap_or((text, b""));
            out.extend_from_slice(line);
            let is_crlf = line.last().map_or(self.is_after_cr, |last| *last == b'\r');
            out.extend_from_slice(if is_crlf { b"\n" } else { b"\r\n" });
            self.is_after_cr = false;
            text = rest.get(1..).unwrap_or_default();
        }
        out.extend_from_slice(text);
        self.is_after_cr = text.last().map_or(self.is_after_cr, |last| *last == b'\r');
    }
}

/// CRLF to LF, for octets in which nothing but CRLF ends a line.
#[derive(Debug, Default)]
pub(in crate::cli) struct ToLf;

impl ToLf {
    /// Appends `text` to `out`.
    pub(in crate::cli) fn feed(text: &[u8], out: &mut Vec<u8>) {
        for part in text.split(|octet| *octet == b'\r') {
            out.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lf_becomes_crlf_once() {
        for (text, wanted) in
            [("a\nb\r\nc", "a\r\nb\r\nc"), ("\n\r\n\n", "\r\n\r\n\r\n"), ("a\rb\n", "a\rb\r\n"), ("", "")]
        {
            for step in 1..4 {
                let (mut lines, mut out) = (ToCrlf::default(), Vec::new());
                text.as_bytes().chunks(step).for_each(|part| lines.feed(part, &mut out));
                assert_eq!(String::from_utf8(out).unwrap(), wanted, "{step}");
            }
        }
    }

    proptest! {
        #[test]
        fn lines_survive_lf(lines in prop::collection::vec("[^\r\n]{0,9}", 0..9), step in 1_usize..9) {
            let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let (mut lf, mut crlf, mut back) = (Vec::new(), ToCrlf::default(), Vec::new());
            text.as_bytes().chunks(step).for_each(|part| ToLf::feed(part, &mut lf));
            prop_assert!(!lf.contains(&b'\r'));
            lf.chunks(step).for_each(|part| crlf.feed(part, &mut back));
            prop_assert_eq!(back, text.into_bytes());
        }
    }
}
