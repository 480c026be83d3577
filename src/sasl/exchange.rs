//! The server's side of PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login-00, what Outlook and old devices
//! speak): responses in, challenges and at last credentials out. Who the credentials belong to is not known here.

use crate::base::Secret;

/// A name or password longer than this is refused (RFC 4616 section 2 leaves the bound to us).
const FIELD_OCTETS_MAX: usize = 1_024;

/// A mechanism that a server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616: everything in one response.
    Plain,
    /// Name and password asked for one after the other.
    Login,
}

/// Who says to be who, with the password to show it.
#[derive(Debug)]
pub struct Credentials {
    /// The name to log in with, as the client wrote it.
    pub name: Vec<u8>,
    /// The password.
    pub password: Secret,
}

/// Why an exchange ended without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The response is not what the mechanism wants: a syntax error.
    Malformed,
    /// The client wants to act as somebody else (RFC 4616's authzid): never allowed.
    OtherIdentity,
}

/// A running exchange. Each of the client's responses, decoded, goes to [`Exchange::answer`]; an initial response
/// (RFC 4422 section 4.3.1) is simply the first of them.
#[derive(Debug)]
pub struct Exchange(State);

#[derive(Debug)]
enum State {
    Plain,
    LoginName,
    LoginPassword { name: Vec<u8> },
}

impl Mechanism {
    /// Every mechanism offered, the better first.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Login];

    /// The mechanism of this name, whatever its case (RFC 4422 section 3.1).
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }
}

impl Exchange {
    /// Begins.
    pub fn new(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::Plain => Self(State::Plain),
            Mechanism::Login => Self(State::LoginName),
        }
    }

    /// The challenge to send for the response that is wanted next, not yet in base64.
    pub fn challenge(&self) -> &'static [u8] {
        match self.0 {
            State::Plain => b"",
            State::LoginName => b"Username:",
            State::LoginPassword { .. } => b"Password:",
        }
    }

    /// Takes a response: credentials when they are complete, `None` when a further response is wanted.
    pub fn answer(&mut self, response: &[u8]) -> Result<Option<Credentials>, Failure> {
        match &mut self.0 {
            State::Plain => plain(response).map(Some),
            State::LoginName => {
                self.0 = State::LoginPassword { name: field(response)? };
                Ok(None)
            }
            State::LoginPassword { name } => {
                let password = Secret::new(field(response)?);
                Ok(Some(Credentials { name: std::mem::take(name), password }))
            }
        }
    }
}

/// RFC 4616 section 2: `[authzid] NUL authcid NUL passwd`.
fn plain(response: &[u8]) -> Result<Credentials, Failure> {
    let mut fields = response.split(|octet| *octet == 0);
    let (Some(identity), Some(name), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(Failure::Malformed);
    };
    if !identity.is_empty() && !identity.eq_ignore_ascii_case(name) {
        return Err(Failure::OtherIdentity);
    }
    Ok(Credentials { name: field(name)?, password: Secret::new(field(password)?) })
}

/// A name or a password: not empty, no NUL, not absurdly long.
fn field(octets: &[u8]) -> Result<Vec<u8>, Failure> {
    if octets.is_empty() || octets.len() > FIELD_OCTETS_MAX || octets.contains(&0) {
        return Err(Failure::Malformed);
    }
    Ok(octets.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_takes_rfc_4616_responses_and_nothing_else() {
        let long = [b"\0tim\0".as_slice(), &[b'x'; 1_025]].concat();
        type Row<'a> = (&'a [u8], Result<(&'a str, &'a str), Failure>, &'a str);
        let rows: [Row<'_>; 11] = [
            (b"\0tim\0tanstaaftanstaaf", Ok(("tim", "tanstaaftanstaaf")), "RFC 4616 section 4, first example"),
            (b"tim\0tim\0secret", Ok(("tim", "secret")), "authzid is the same"),
            (b"TIM\0tim\0secret", Ok(("tim", "secret")), "names have no case"),
            (b"Ursel\0Kurt\0xipj3plmq", Err(Failure::OtherIdentity), "RFC 4616 section 4, second example"),
            ("\0jos\u{e9}\0p\u{e4}ss word".as_bytes(), Ok(("jos\u{e9}", "p\u{e4}ss word")), "UTF-8 passes as it is"),
            (b"", Err(Failure::Malformed), "empty"),
            (b"tim\0secret", Err(Failure::Malformed), "one NUL"),
            (b"\0tim\0sec\0ret", Err(Failure::Malformed), "NUL in the password"),
            (b"\0\0secret", Err(Failure::Malformed), "no name"),
            (b"\0tim\0", Err(Failure::Malformed), "no password"),
            (&long, Err(Failure::Malformed), "password too long"),
        ];
        for (response, expected, why) in rows {
            let answer = Exchange::new(Mechanism::Plain).answer(response);
            assert_eq!(flat(answer), expected.map(|(n, p)| Some((n.into(), p.into()))), "{why}");
        }
    }

    #[test]
    fn login_asks_for_the_name_and_then_the_password() {
        let mut exchange = Exchange::new(Mechanism::Login);
        assert_eq!(exchange.challenge(), b"Username:");
        assert_eq!(flat(exchange.answer(b"tim")), Ok(None));
        assert_eq!(exchange.challenge(), b"Password:");
        assert_eq!(flat(exchange.answer(b"tan staaf")), Ok(Some(("tim".into(), "tan staaf".into()))));
    }

    #[test]
    fn login_refuses_an_empty_name_and_a_password_with_nul() {
        assert_eq!(flat(Exchange::new(Mechanism::Login).answer(b"")), Err(Failure::Malformed));
        let mut exchange = Exchange::new(Mechanism::Login);
        exchange.answer(b"tim").unwrap();
        assert_eq!(flat(exchange.answer(b"a\0b")), Err(Failure::Malformed));
    }

    #[test]
    fn mechanism_names_have_no_case() {
        assert_eq!(Mechanism::parse(b"plain"), Some(Mechanism::Plain));
        assert_eq!(Mechanism::parse(b"Login"), Some(Mechanism::Login));
        assert_eq!(Mechanism::parse(b"CRAM-MD5"), None);
    }

    type Flat = Result<Option<(String, String)>, Failure>;

    fn flat(answer: Result<Option<Credentials>, Failure>) -> Flat {
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        answer.map(|done| done.map(|c| (text(&c.name), text(c.password.expose()))))
    }
}
