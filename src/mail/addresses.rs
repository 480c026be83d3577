//! Address lists of header fields (RFC 5322 3.4, 4.4 obsolete), read leniently into the address structures of ENVELOPE
//! (RFC 3501 7.4.2). Refuses nothing: what is no address is shown as well as it can be. 8-bit octets stay as they are.

use super::header::unfold;
use super::summary::EnvelopeAddress;

/// Words, comments and marks of one address that are looked at; more are passed over.
const TOKENS_MAX: usize = 128;
/// Octets that a structure costs at the least (short ones cost us more memory than they have octets), octets beside its
/// texts, and beside each text, at the most.
const ADDRESS_BYTES_MIN: usize = 20;
const STRUCTURE_BYTES: usize = 1;
const TEXT_OVERHEAD_BYTES: usize = 3;

/// The addresses in a field's value, in order, and whether some were left out. Each takes octets from `room`; those that
/// come when it is spent are left out.
pub(super) fn parse_addresses(value: &[u8], room: &mut usize) -> (Vec<EnvelopeAddress>, bool) {
    let value = unfold(value);
    let mut lexer = Lexer { rest: &value };
    let mut list = List { found: Vec::new(), room };
    let mut in_group = false;
    loop {
        let (tokens, end) = lexer.address(in_group);
        let fits = match end {
            // RFC 3501 7.4.2: a group begins with its name as mailbox and without a host, and ends with neither.
            Some(b':') => {
                in_group = true;
                list.add(EnvelopeAddress { mailbox: Some(phrase(&tokens)), ..EnvelopeAddress::default() })
            }
            _ => address(&tokens).is_none_or(|address| list.add(address)),
        };
        if in_group && (end.is_none_or(|mark| mark == b';') || !fits) {
            in_group = false;
            list.found.push(EnvelopeAddress::default());
        }
        if end.is_none() || !fits {
            return (list.found, !fits);
        }
    }
}

struct List<'r> {
    found: Vec<EnvelopeAddress>,
    room: &'r mut usize,
}

impl List<'_> {
    /// Adds it if there is room.
    fn add(&mut self, address: EnvelopeAddress) -> bool {
        let texts = [&address.name, &address.route, &address.mailbox, &address.host];
        let text_bytes: usize = texts.iter().filter_map(|t| t.as_ref()).map(|t| t.len() + TEXT_OVERHEAD_BYTES).sum();
        let cost = (text_bytes + STRUCTURE_BYTES).max(ADDRESS_BYTES_MIN);
        // The end of a group is always kept free.
        let Some(left) = self.room.checked_sub(cost + STRUCTURE_BYTES) else { return false };
        *self.room = left + STRUCTURE_BYTES;
        self.found.push(address);
        true
    }
}

struct Token {
    kind: Kind,
    /// Whether white space or a comment stands before it.
    spaced: bool,
}

enum Kind {
    /// An atom with its dots, a quoted string without its quotes, or an address literal.
    Word(Vec<u8>),
    Comment(Vec<u8>),
    Mark(u8),
}

impl Token {
    fn is(&self, mark: u8) -> bool {
        matches!(self.kind, Kind::Mark(m) if m == mark)
    }

    fn word(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            Kind::Comment(_) | Kind::Mark(_) => None,
        }
    }
}

struct Lexer<'a> {
    rest: &'a [u8],
}

impl<'a> Lexer<'a> {
    /// The tokens of the next address and the mark that ends it: a comma, a semicolon (Outlook parts addresses with
    /// them), or the colon after a group's name.
    fn address(&mut self, in_group: bool) -> (Vec<Token>, Option<u8>) {
        let mut tokens: Vec<Token> = Vec::new();
        let mut angle_at = None;
        while let Some(token) = self.token() {
            // A source route has commas and a colon inside its brackets: <@a,@b:joe@c>.
            let in_route = angle_at.is_some_and(|at: usize| {
                tokens.get(at + 1).is_some_and(|t| t.is(b'@') || t.is(b',')) && !tokens.iter().any(|t| t.is(b':'))
            });
            match token.kind {
                Kind::Mark(b',') if !in_route => return (tokens, Some(b',')),
                Kind::Mark(b';') => return (tokens, Some(b';')),
                Kind::Mark(b':') if angle_at.is_none() && !in_group && !tokens.iter().any(|t| t.is(b'@')) => {
                    return (tokens, Some(b':'));
                }
                Kind::Mark(b'<') if angle_at.is_none() => angle_at = Some(tokens.len()),
                _ => {}
            }
            if tokens.len() < TOKENS_MAX {
                tokens.push(token);
            }
        }
        (tokens, None)
    }

    fn token(&mut self) -> Option<Token> {
        let before = self.rest.len();
        self.run(|b| b.is_ascii_whitespace());
        let mut spaced = self.rest.len() < before;
        let kind = match self.rest.first()? {
            b'(' => {
                spaced = true;
                Kind::Comment(self.comment())
            }
            b'"' => Kind::Word(self.quoted()),
            b'[' if self.rest.contains(&b']') => {
                let literal = self.run(|b| b != b']');
                let literal = [literal, self.take(1)].concat();
                Kind::Word(literal.into_iter().filter(|b| !b.is_ascii_whitespace()).collect())
            }
            mark @ (b'<' | b'>' | b'@' | b',' | b';' | b':') => {
                let mark = *mark;
                self.take(1);
                Kind::Mark(mark)
            }
            _ => {
                let first = self.take(1);
                let more = self.run(|b| !b.is_ascii_whitespace() && !b"(\"<>@,;:[".contains(&b));
                Kind::Word([first, more].concat())
            }
        };
        Some(Token { kind, spaced })
    }

    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(n).unwrap_or((self.rest, b""));
        self.rest = rest;
        taken
    }

    fn run(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        self.take(self.rest.iter().position(|&b| !belongs(b)).unwrap_or(self.rest.len()))
    }

    /// A quoted string; one that never ends goes to the end.
    fn quoted(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        self.take(1);
        while let [b, ..] = *self.take(1) {
            match b {
                b'"' => break,
                b'\\' => text.extend_from_slice(self.take(1)),
                _ => text.push(b),
            }
        }
        text
    }

    /// A comment with those nested in it; one that never ends goes to the end.
    fn comment(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut depth = 0u32;
        while let [b, ..] = *self.take(1) {
            match b {
                b'(' => {
                    depth = depth.saturating_add(1);
                    if depth == 1 {
                        continue;
                    }
                }
                b')' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        break;
                    }
                }
                b'\\' => {
                    text.extend_from_slice(self.take(1));
                    continue;
                }
                _ => {}
            }
            text.push(b);
        }
        text.trim_ascii().to_vec()
    }
}

/// The words, a space between those that had white space between them.
fn phrase(tokens: &[Token]) -> Vec<u8> {
    let mut text = Vec::new();
    for token in tokens {
        let Some(word) = token.word() else { continue };
        if token.spaced && !text.is_empty() {
            text.push(b' ');
        }
        text.extend_from_slice(word);
    }
    text
}

/// The words alone: of a local part or domain, where white space around dots means nothing (RFC 5322 4.4).
fn joined(tokens: &[Token]) -> Vec<u8> {
    tokens.iter().filter_map(Token::word).flatten().copied().collect()
}

fn split(tokens: &[Token], mark: u8) -> Option<(&[Token], &[Token])> {
    let at = tokens.iter().position(|t| t.is(mark))?;
    let (before, after) = tokens.split_at_checked(at)?;
    Some((before, after.get(1..)?))
}

/// One address; nothing when there is no word in it.
fn address(tokens: &[Token]) -> Option<EnvelopeAddress> {
    let mut found = if let Some((before, inside)) = split(tokens, b'<') {
        let mut found = angle(split(inside, b'>').map_or(inside, |(inside, _)| inside));
        found.name = Some(phrase(before));
        found
    } else if let Some((before, after)) = split(tokens, b'@') {
        // "Joe Bloggs joe@example.org" forgot its brackets: the last word is the local part, those before it are a name.
        let (name, local) = before.split_at_checked(bound_from(before)).unwrap_or((before, &[]));
        let host = after.get(..bound_to(after)).unwrap_or(after);
        EnvelopeAddress {
            name: Some(phrase(name)),
            mailbox: Some(joined(local)),
            host: Some(joined(host)),
            route: None,
        }
    } else {
        // A name and no address: it is the mailbox, and its host is empty, not absent, for that would make a group of it.
        let mailbox = phrase(tokens);
        if mailbox.is_empty() {
            return None;
        }
        EnvelopeAddress { mailbox: Some(mailbox), host: Some(Vec::new()), name: None, route: None }
    };
    // "joe@example.org (Joe Bloggs)" names Joe (RFC 822 practice).
    let comment =
        || tokens.iter().rev().find_map(|t| if let Kind::Comment(c) = &t.kind { Some(c.clone()) } else { None });
    found.name = found.name.filter(|n| !n.is_empty()).or_else(comment).filter(|n| !n.is_empty());
    Some(found)
}

/// What stands in angle brackets, with a source route if there is one (RFC 5322 4.4, obs-route).
fn angle(inside: &[Token]) -> EnvelopeAddress {
    let is_route = inside.first().is_some_and(|t| t.is(b'@') || t.is(b','));
    let (route, spec) = match split(inside, b':') {
        Some((route, spec)) if is_route => (Some(route), spec),
        _ => (None, inside),
    };
    let (local, host) = split(spec, b'@').unwrap_or((spec, &[]));
    let route = route.map(|tokens| {
        let piece = |t: &Token| match &t.kind {
            Kind::Word(word) => word.clone(),
            Kind::Mark(mark) => vec![*mark],
            Kind::Comment(_) => Vec::new(),
        };
        tokens.iter().flat_map(piece).collect()
    });
    EnvelopeAddress { name: None, route, mailbox: Some(phrase(local)), host: Some(joined(host)) }
}

/// Whether no white space parts two words, or a dot binds them all the same.
fn binds(left: &Token, right: &Token) -> bool {
    match (left.word(), right.word()) {
        (Some(l), Some(r)) => !right.spaced || l.ends_with(b".") || r.starts_with(b"."),
        _ => false,
    }
}

/// Where the words begin that bind to the last one.
fn bound_from(tokens: &[Token]) -> usize {
    let bound = tokens.windows(2).rev().take_while(|pair| matches!(pair, [l, r] if binds(l, r))).count();
    tokens.len().saturating_sub(bound + 1)
}

/// Where the words end that bind to the first one.
fn bound_to(tokens: &[Token]) -> usize {
    let bound = tokens.windows(2).take_while(|pair| matches!(pair, [l, r] if binds(l, r))).count();
    (bound + 1).min(tokens.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Prints as `name|route|mailbox|host`, `-` for what is absent.
    fn shown(value: &[u8]) -> Vec<String> {
        let text = |t: &Option<Vec<u8>>| t.as_ref().map_or("-".into(), |t| String::from_utf8_lossy(t).into_owned());
        let (found, cut) = parse_addresses(value, &mut 10_000);
        assert!(!cut);
        found
            .iter()
            .map(|a| format!("{}|{}|{}|{}", text(&a.name), text(&a.route), text(&a.mailbox), text(&a.host)))
            .collect()
    }

    #[test]
    fn addresses_are_read_as_rfc_5322_writes_them() {
        for (value, expected, why) in [
            ("John Doe <jdoe@machine.example>", &["John Doe|-|jdoe|machine.example"][..], "A.1.1"),
            ("\"Joe Q. Public\" <john.q.public@example.com>", &["Joe Q. Public|-|john.q.public|example.com"], "A.1.2"),
            (
                "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
                &["Mary Smith|-|mary|x.test", "-|-|jdoe|example.org", "Who?|-|one|y.test"],
                "A.1.2",
            ),
            (
                "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
                &["-|-|boss|nil.test", "Giant; \"Big\" Box|-|sysservices|example.net"],
                "A.1.2",
            ),
            (
                "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
                &["-|-|A Group|-", "Ed Jones|-|c|a.test", "-|-|joe|where.test", "John|-|jdoe|one.test", "-|-|-|-"],
                "A.1.3",
            ),
            ("Undisclosed recipients:;", &["-|-|Undisclosed recipients|-", "-|-|-|-"], "A.1.3"),
            ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", &["Pete|-|pete|silly.test"], "A.5"),
            (
                "A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)",
                &[
                    "-|-|A Group|-",
                    "Chris Jones|-|c|public.example",
                    "-|-|joe|example.org",
                    "John|-|jdoe|one.test",
                    "-|-|-|-",
                ],
                "A.5",
            ),
            (
                "(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
                &["-|-|Hidden recipients|-", "-|-|-|-"],
                "A.5",
            ),
            ("Joe Q. Public <john.q.public@example.com>", &["Joe Q. Public|-|john.q.public|example.com"], "A.6.1"),
            (
                "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
                &["Mary Smith|@node.test|mary|example.net", "-|-|jdoe|test.example"],
                "A.6.1",
            ),
            ("<@a.test,@b.test:joe@c.test>", &["-|@a.test,@b.test|joe|c.test"], "a route of two"),
        ] {
            assert_eq!(shown(value.as_bytes()), expected, "{why}: {value}");
        }
    }

    #[test]
    fn what_programs_write_instead_is_understood() {
        for (value, expected, why) in [
            ("joe@example.org (Joe Bloggs)", &["Joe Bloggs|-|joe|example.org"][..], "a comment as name"),
            ("Joe Bloggs joe@example.org", &["Joe Bloggs|-|joe|example.org"], "brackets forgotten"),
            ("a@x.test; b@y.test", &["-|-|a|x.test", "-|-|b|y.test"], "semicolons between addresses"),
            ("Joe <joe@x.test, Bob <bob@y.test>", &["Joe|-|joe|x.test", "Bob|-|bob|y.test"], "a bracket never closed"),
            ("joe", &["-|-|joe|"], "no domain"),
            ("<>", &["-|-||"], "nobody"),
            ("joe@", &["-|-|joe|"], "an empty domain"),
            ("\"joe bloggs\"@x.test", &["-|-|joe bloggs|x.test"], "a quoted local part"),
            ("joe@[IPv6:::1]", &["-|-|joe|[IPv6:::1]"], "an address literal"),
            (
                "list: a@x.test, b@x.test",
                &["-|-|list|-", "-|-|a|x.test", "-|-|b|x.test", "-|-|-|-"],
                "a group never closed",
            ),
            ("\"unclosed <a@x.test>", &["-|-|unclosed <a@x.test>|"], "a quote never closed"),
            ("(unclosed <a@x.test>", &[], "a comment never closed"),
            (",,, ;", &[], "only marks"),
            ("", &[], "nothing"),
            (
                "=?utf-8?q?J=C3=B6rg?= =?utf-8?q?X?= <j@x.test>",
                &["=?utf-8?q?J=C3=B6rg?= =?utf-8?q?X?=|-|j|x.test"],
                "RFC 2047 words stay",
            ),
            ("<a b@x.test>", &["-|-|a b|x.test"], "a space in a local part"),
            ("<<a@x.test>>", &["-|-|a|x.test"], "brackets doubled"),
            ("mailto:a@x.test", &["-|-|mailto|-", "-|-|a|x.test", "-|-|-|-"], "a URL reads as a group"),
            ("a@b@c.test", &["-|-|a|b"], "two at signs"),
        ] {
            assert_eq!(shown(value.as_bytes()), expected, "{why}: {value}");
        }
        let (found, _) = parse_addresses(b"J\xF6rg <j\xFF@x>", &mut 1000);
        assert_eq!(found.first().and_then(|a| a.name.as_deref()), Some(&b"J\xF6rg"[..]), "8-bit octets stay raw");
    }

    #[test]
    fn a_list_beyond_its_room_is_cut_and_its_group_closed() {
        let value = format!("g: {};", "joe@example.org, ".repeat(100));
        let mut room = 100;
        let (found, cut) = parse_addresses(value.as_bytes(), &mut room);
        assert!(cut && found.len() < 10);
        assert_eq!(found.last(), Some(&EnvelopeAddress::default()));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(value in proptest::collection::vec(
            prop_oneof![proptest::sample::select(b" \t\r\n(),.:;<>@[\\]\"ab\0".to_vec()), any::<u8>()], 0..80)) {
            parse_addresses(&value, &mut 200);
        }
    }
}
