//! The flags and dates of .eml files, told by `index.tsv` beside them.

use super::LINE_BYTES_MAX;
use crate::cli::archive::IndexLine;
use crate::serve::transfer::Marks;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Lines of index.tsv, which are sorted as the files are.
pub(super) struct Index {
    lines: Option<io::Take<BufReader<File>>>,
    current: Option<IndexLine>,
}

impl Index {
    pub(super) fn open(path: &Path) -> Self {
        let lines = File::open(path).ok().map(|file| BufReader::new(file).take(LINE_BYTES_MAX));
        Self { lines, current: None }
    }

    pub(super) fn find(&mut self, name: &str) -> Option<Marks> {
        while self.current.as_ref().is_none_or(|line| line.name.as_str() < name) {
            let lines = self.lines.as_mut()?;
            lines.set_limit(LINE_BYTES_MAX);
            let mut line = Vec::new();
            if !matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
                self.lines = None;
                return None;
            }
            if let Some(line) = std::str::from_utf8(&line).ok().and_then(IndexLine::parse) {
                self.current = Some(line);
            }
        }
        self.current.as_ref().filter(|line| line.name == name).map(|line| line.marks.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_index_is_read_along_with_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.tsv");
        fs::write(
            &path,
            "1.eml\t 8-Jul-2011 12:08:34 +0200\t\\Seen\nnonsense\n3.eml\t 8-Jul-2011 12:08:34 +0200\twork\n",
        )
        .unwrap();
        let mut index = Index::open(&path);
        assert_eq!(index.find("1.eml").unwrap().flags, 1);
        assert!(index.find("2.eml").is_none());
        assert_eq!(index.find("3.eml").unwrap().keywords, ["work"]);
        assert!(index.find("4.eml").is_none());
        assert!(Index::open(Path::new("/nonexistent")).find("x").is_none());
    }
}
