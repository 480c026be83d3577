//! A password from standard input or from the person at the terminal.

use super::output::{Failure, complain};
use crate::accounts::weakness;
use crate::base::Secret;
use crate::serve::Password;
use std::io::{self, BufRead, IsTerminal};

/// A line of standard input is no longer; no password is.
const LINE_BYTES_MAX: u64 = 4096;

/// The new password of `address`; warns of a weak one.
pub(super) fn new_password(address: &str, from_stdin: bool) -> Result<Password, Failure> {
    let password = if from_stdin { first_line(io::stdin().lock())? } else { asked_twice(address)? };
    if password.is_empty() {
        return Err(Failure::Failed("the password is empty".to_owned()));
    }
    if std::str::from_utf8(password.expose()).is_err() {
        return Err(Failure::Failed("the password is not valid UTF-8".to_owned()));
    }
    if let Some(weakness) = weakness(&password, address) {
        complain(&format!("pigeon: warning: the password is weak: {weakness}\n"));
    }
    Ok(Password(password))
}

/// The first line, without its end.
fn first_line(input: impl BufRead) -> Result<Secret, Failure> {
    let mut line = Vec::new();
    input
        .take(LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .map_err(|error| Failure::Failed(format!("cannot read the password from standard input: {error}")))?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Secret::new(line))
}

fn asked_twice(address: &str) -> Result<Secret, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage("no terminal to ask for the password: use --password-stdin".to_owned()));
    }
    let ask = |prompt: String| -> Result<Secret, Failure> {
        let typed = rpassword::prompt_password(prompt);
        let typed = typed.map_err(|error| Failure::Failed(format!("cannot ask for the password: {error}")))?;
        Ok(Secret::new(typed.into_bytes()))
    };
    let password = ask(format!("New password for {address}: "))?;
    let again = ask("The same again: ".to_owned())?;
    if password.expose() != again.expose() {
        return Err(Failure::Failed("the two passwords differ; nothing was changed".to_owned()));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_read_and_its_end_removed() {
        let table: [(&[u8], &[u8]); 6] = [
            (b"word\n", b"word"),
            (b"word\r\n", b"word"),
            (b"word", b"word"),
            (b" two words \nmore\n", b" two words "),
            (b"\n", b""),
            (b"", b""),
        ];
        for (input, password) in table {
            assert_eq!(first_line(input).unwrap().expose(), password);
        }
    }
}
