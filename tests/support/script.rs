//! The grammar of dialogue scripts (tests/scripts/README.md).

use std::path::Path;

/// One line of a script.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Where it stands in the file.
    pub(crate) line: usize,
    /// Which connection it is of.
    pub(crate) connection: String,
    /// What happens.
    pub(crate) act: Act,
}

/// What happens in a step.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Protocol(String),
    Peer(String),
    Send(Vec<u8>),
    Expect(String),
    Any(String),
    Closed,
    Passes(u64),
    Tls,
}

/// Reads a script; panics with file and line when it is none.
pub(crate) fn read(path: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(path).expect("a readable script");
    let mut steps = Vec::new();
    for (at, raw) in text.lines().enumerate() {
        let line = at + 1;
        let mut rest = raw.trim_end_matches('\r');
        if rest.trim().is_empty() || rest.starts_with('#') {
            continue;
        }
        let mut connection = String::new();
        if rest.starts_with('[') {
            let (name, after) = rest[1..].split_once("] ").unwrap_or_else(|| panic!("{}:{line}: no ]", path.display()));
            connection = name.to_owned();
            rest = after;
        }
        let act = act(rest).unwrap_or_else(|| panic!("{}:{line}: what is {rest:?}?", path.display()));
        steps.push(Step { line, connection, act });
    }
    steps
}

fn act(text: &str) -> Option<Act> {
    if text.trim() == "TLS" {
        return Some(Act::Tls);
    }
    if let Some(rest) = text.strip_prefix("protocol:") {
        return Some(Act::Protocol(rest.trim().to_owned()));
    }
    if let Some(rest) = text.strip_prefix("peer:") {
        return Some(Act::Peer(rest.trim().to_owned()));
    }
    if let Some(rest) = text.strip_prefix("T:") {
        return rest.trim().parse().ok().map(Act::Passes);
    }
    let (mark, rest) = text.split_at_checked(2)?;
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    match mark {
        "C:" => Some(Act::Send([rest.as_bytes(), b"\r\n"].concat())),
        "C!" => Some(Act::Send(unescape(rest)?)),
        "C*" => {
            let (count, what) = rest.split_once(' ')?;
            Some(Act::Send(unescape(what)?.repeat(count.parse().ok()?)))
        }
        "S:" => Some(Act::Expect(rest.to_owned())),
        "S*" => Some(Act::Any(rest.to_owned())),
        "S!" if rest.trim() == "[closed]" => Some(Act::Closed),
        _ => None,
    }
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        octets.push(match chars.next()? {
            'r' => b'\r',
            'n' => b'\n',
            't' => b'\t',
            '0' => 0,
            '\\' => b'\\',
            'x' => u8::from_str_radix(&[chars.next()?, chars.next()?].iter().collect::<String>(), 16).ok()?,
            _ => return None,
        });
    }
    Some(octets)
}

/// Whether `line` is what `pattern` says; `...` stands for any text.
pub(crate) fn matches(pattern: &str, line: &str) -> bool {
    let mut pieces = pattern.split("...");
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}
