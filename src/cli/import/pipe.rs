//! A message's octets on their way to the store: without what its archive added, with the line ends that mail has.

use super::carrier::{Carrier, Stop};
use crate::cli::archive::{Heading, ToCrlf};
use std::fs::File;
use std::io::{self, Read, Seek};

/// What is read at once.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// A message's way from its file's octets to those that are stored.
pub(super) struct Pipe {
    heading: Heading,
    to_crlf: Option<ToCrlf>,
    /// The last octets, of a message whose line end at the end is not its own.
    tail: Vec<u8>,
    own: Vec<u8>,
    stored: Vec<u8>,
}

impl Pipe {
    pub(super) fn new(is_mbox: bool, is_lf: bool) -> Self {
        let (tail, own, stored) = (Vec::new(), Vec::new(), Vec::new());
        Self { heading: Heading::new(is_mbox), to_crlf: is_lf.then(ToCrlf::default), tail, own, stored }
    }

    pub(super) fn feed(&mut self, octets: &[u8], to: &mut Carrier) -> Result<(), Stop> {
        let Self { heading, own, .. } = self;
        own.clear();
        heading.feed(octets, &mut |part| {
            own.extend_from_slice(part);
            Ok::<(), Stop>(())
        })?;
        self.pass(to)
    }

    fn pass(&mut self, to: &mut Carrier) -> Result<(), Stop> {
        const LINE_END_BYTES: usize = 2;
        let octets = match &mut self.to_crlf {
            Some(to_crlf) => {
                self.stored.clear();
                to_crlf.feed(&self.own, &mut self.stored);
                &self.stored
            }
            None => &self.own,
        };
        if !self.heading.is_unended {
            return to.octets(octets);
        }
        self.tail.extend_from_slice(octets);
        let sure = self.tail.len().saturating_sub(LINE_END_BYTES);
        to.octets(self.tail.get(..sure).unwrap_or_default())?;
        self.tail.drain(..sure);
        Ok(())
    }

    pub(super) fn finish(mut self, to: &mut Carrier) -> Result<Heading, Stop> {
        let Self { heading, own, .. } = &mut self;
        own.clear();
        heading.finish(&mut |part| {
            own.extend_from_slice(part);
            Ok::<(), Stop>(())
        })?;
        self.pass(to)?;
        let tail = self.tail.strip_suffix(b"\n").unwrap_or(&self.tail);
        to.octets(tail.strip_suffix(b"\r").unwrap_or(tail))?;
        Ok(self.heading)
    }
}

/// What is known of a file's line ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lines {
    /// They are those that mail has, or the message's own.
    AsTheyAre,
    /// Octets in the file, and those that it has with CRLF.
    Sized {
        size: u64,
        size_crlf: u64,
    },
    Unknown,
}

/// Whether lines end with LF alone, and are to get a CR: where nothing tells, no line of the file ends with CRLF.
pub(super) fn has_unix_lines(mut file: &File, lines: Lines) -> io::Result<bool> {
    match lines {
        Lines::AsTheyAre => return Ok(false),
        Lines::Sized { size, size_crlf } if file.metadata()?.len() == size => return Ok(size_crlf != size),
        Lines::Sized { .. } | Lines::Unknown => {}
    }
    let mut buffer = vec![0; READ_BYTES];
    let mut is_after_cr = false;
    let is_lf = loop {
        let read = file.read(&mut buffer)?;
        let part = buffer.get(..read).unwrap_or_default();
        if part.is_empty() {
            break true;
        }
        let has_crlf = memchr::memchr_iter(b'\n', part)
            .any(|at| at.checked_sub(1).map_or(is_after_cr, |before| part.get(before) == Some(&b'\r')));
        if has_crlf {
            break false;
        }
        is_after_cr = part.last() == Some(&b'\r');
    };
    file.rewind()?;
    Ok(is_lf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn unix_lines_are_told_by_their_file_or_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let long = "x".repeat(READ_BYTES - 1);
        let sized = |size, size_crlf| Lines::Sized { size, size_crlf };
        for (text, lines, is_lf) in [
            ("a\nb\n".to_owned(), Lines::Unknown, true),
            ("a\nb\n".to_owned(), Lines::AsTheyAre, false),
            ("a\r\nb\n".to_owned(), Lines::Unknown, false),
            ("a\nb\r\n".to_owned(), Lines::Unknown, false),
            (format!("{long}\r\n"), Lines::Unknown, false),
            ("a\n".to_owned(), sized(2, 2), false),
            ("a\r\n".to_owned(), sized(3, 4), true),
            ("a\r\n".to_owned(), sized(9, 9), false),
            (String::new(), Lines::Unknown, true),
        ] {
            fs::write(&path, &text).unwrap();
            let mut file = File::open(&path).unwrap();
            assert_eq!(has_unix_lines(&file, lines).unwrap(), is_lf, "{text:.9}");
            assert_eq!(file.stream_position().unwrap(), 0);
        }
    }
}
