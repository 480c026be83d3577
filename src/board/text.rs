//! The card's file as people's editors leave it, without its secrets, and with them covered. Pure.

use std::ops::Range;

/// Said behind a password that was taken over.
const TAKEN: &str = "  # taken over; write a new one between the quotes to change it";

/// The text of a file, or what is wrong with its octets: what, and what to do.
pub(super) fn decode(octets: Vec<u8>) -> Result<String, (String, &'static str)> {
    const SAVE: &str = "save it again as UTF-8 (in Notepad: Save as, Encoding: UTF-8)";
    let no_text = || ("the file is in UTF-16 without its mark, or no text".to_owned(), SAVE);
    // What Notepad calls Unicode.
    match octets.split_at_checked(2) {
        Some((b"\xff\xfe", rest)) => return from_wide(rest, u16::from_le_bytes).ok_or_else(no_text),
        Some((b"\xfe\xff", rest)) => return from_wide(rest, u16::from_be_bytes).ok_or_else(no_text),
        // Text in two octets a letter has an empty one in every second place.
        _ if octets.contains(&0) => return Err(no_text()),
        _ => {}
    }
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(octets);
    String::from_utf8(octets).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = memchr::memchr_iter(b'\n', good).count() + 1;
        (format!("line {line} has a letter that is not UTF-8"), SAVE)
    })
}

fn from_wide(octets: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (units, rest) = octets.as_chunks::<2>();
    let text = String::from_utf16(&units.iter().copied().map(unit).collect::<Vec<_>>()).ok()?;
    (rest.is_empty() && !text.contains('\0')).then_some(text)
}

/// A value that is to be replaced.
#[derive(Clone, Debug)]
pub(super) struct Erasure {
    /// Where it stands, quotes included.
    pub(super) place: Range<usize>,
    /// What stands there instead, without quotes.
    pub(super) with: String,
}

/// The text with these values replaced; where nothing follows on the line, a remark says why.
pub(super) fn cleaned(text: &str, erasures: Vec<Erasure>) -> String {
    replaced(text, erasures, TAKEN)
}

/// The same without remarks, so that it is hardly ever longer than the text was.
pub(super) fn cleaned_in_place(text: &str, erasures: Vec<Erasure>) -> String {
    replaced(text, erasures, "")
}

fn replaced(text: &str, mut erasures: Vec<Erasure>, taken: &str) -> String {
    erasures.sort_by_key(|erasure| std::cmp::Reverse(erasure.place.start));
    let mut cleaned = text.to_owned();
    for Erasure { place, with } in erasures {
        let rest = cleaned.get(place.end..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default();
        let remark = if line.trim().is_empty() && with.is_empty() { taken } else { "" };
        if cleaned.is_char_boundary(place.start) && cleaned.is_char_boundary(place.end) && place.start <= place.end {
            cleaned.replace_range(place, &format!("\"{with}\"{remark}"));
        }
    }
    cleaned
}

/// The text with a star for each octet of its values but the `open` ones, of known keys that hold no secrets, and even of these
/// where a line speaks of passwords; first words of lines, headers and remarks stay. Octets and lines are as many as before.
pub(super) fn covered(text: &str, open: &[Range<usize>]) -> String {
    const KEEP: &[u8] = b"= \t\"'\r\n";
    let mut is_open = vec![false; text.len()];
    let mut mark = |place: Range<usize>, open| is_open.get_mut(place).unwrap_or_default().fill(open);
    open.iter().for_each(|place| mark(place.clone(), true));
    let (mut start, mut in_accounts) = (0, false);
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        let is_remark = trimmed.starts_with('#');
        let is_header = trimmed.starts_with('[');
        if is_header {
            in_accounts = trimmed.contains("accounts");
        }
        let indent = line.len() - trimmed.len();
        let first = match (is_remark, trimmed.find(']').filter(|_| is_header)) {
            (true, _) => trimmed.len(),
            (false, Some(end)) => end + 1,
            // A word that may be a value's is none of a key.
            (false, None) if !line.contains('=') => 0,
            (false, None) => {
                trimmed.find(|c: char| c.is_whitespace() || "=:".contains(c) || !c.is_ascii()).unwrap_or(trimmed.len())
            }
        };
        mark(start..start + indent + first, true);
        let word =
            ["password", "token"].iter().find_map(|word| Some(line.to_ascii_lowercase().find(word)? + word.len()));
        let value = line.find('=').map(|at| at + 1).filter(|_| in_accounts || line.contains('@'));
        if let Some(from) = [word, value].into_iter().flatten().min().filter(|_| !is_remark) {
            mark(start + from..start + line.len(), false);
        }
        start += line.len();
    }
    let octets =
        text.bytes().zip(is_open).map(|(octet, open)| if open || KEEP.contains(&octet) { octet } else { b'*' });
    String::from_utf8(octets.collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_save_is_read_or_told() {
        assert_eq!(decode(b"\xef\xbb\xbfa = 1\r\n".to_vec()).unwrap(), "a = 1\r\n");
        let wide: Vec<u8> = "a = 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let other: Vec<u8> = "a = 1".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for octets in [[b"\xff\xfe", &wide[..]].concat(), [b"\xfe\xff", &other[..]].concat()] {
            assert_eq!(decode(octets).unwrap(), "a = 1");
        }
        // Without the mark, odd, with an empty letter, with half a letter.
        for octets in [&wide[..], b"\xff\xfea", b"\xff\xfea\0\0\0", b"\xfe\xff\xd8\0"] {
            assert!(decode(octets.to_vec()).unwrap_err().0.contains("UTF-16"), "{octets:?}");
        }
        assert!(decode(b"a = 1\nb = \"M\xfcller\"\n".to_vec()).unwrap_err().0.contains("line 2"));
    }

    #[test]
    fn values_are_replaced_and_the_rest_stays_as_it_is() {
        let text = "# mine\r\n[board]\r\npassword = \"x\"\r\nwifi = { p = 'y', q = 1 } # home\r\n";
        let at = |word: &str| text.find(word).map(|start| start..start + word.len()).unwrap();
        let erasures = vec![
            Erasure { place: at("\"x\""), with: String::new() },
            Erasure { place: at("'y'"), with: "00ff".to_owned() },
        ];
        let expected =
            format!("# mine\r\n[board]\r\npassword = \"\"{TAKEN}\r\nwifi = {{ p = \"00ff\", q = 1 }} # home\r\n");
        assert_eq!(cleaned(text, erasures), expected);
    }

    #[test]
    fn no_password_shows_wherever_it_stands() {
        let text = "[board]\npassword = hunter2\npassword = \"a hunter2\nPassWord: hunter2\n# password\n[wifi\nssid = \"home\"\n\
                    [accounts]\n\"a@b.example\" = hunter2\nb = \"hunter2\"\n[x]\nc@d.example=hunter2\n";
        let home = text.find("\"home\"").map(|at| at..at + 6).unwrap();
        let shown = covered(text, std::slice::from_ref(&home));
        assert!(!shown.contains("unter"), "{shown}");
        assert_eq!((shown.len(), shown.lines().count()), (text.len(), text.lines().count()));
        assert!(
            shown.contains("ssid = \"home\"") && shown.contains("# password") && shown.contains("\"a@b.example\" =")
        );
        assert!(!covered(text, &[]).contains("home"));
        // Under keys that nobody knows, too.
        for line in [
            "pasword = \"hunter2\"",
            "psk='hunter2' # hunter2",
            "pasword “hunter2”",
            "pas wort hunter2",
            "[wifi] hunter2",
            "[wifi] psk = \"hunter2]pw\"",
            "passwort:hunter2",
            "password.hunter2 = 1",
            "x = [\nhunter2 ]",
        ] {
            let shown = covered(line, &[]);
            assert!(!shown.contains("unter"), "{line}: {shown}");
        }
    }
}
