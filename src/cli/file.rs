//! Which configuration file a verb reads, and its reading.

use super::output::{Failure, complain_of};
use crate::config::{Parsed, SYSTEM_FILE, read};
use crate::serve::settle_hostname;
use std::path::{Path, PathBuf};

/// The folder that `pigeon up` makes.
pub(super) const UP_FOLDER: &str = "pigeon-data";
/// The configuration in it.
pub(super) const FILE_NAME: &str = "pigeon.toml";
/// No configuration is longer.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The file of `pigeon serve`.
pub(super) fn of_server(given: Option<&Path>) -> PathBuf {
    given.map_or_else(|| PathBuf::from(SYSTEM_FILE), Path::to_owned)
}

/// The file of every other verb: what `pigeon up` made here, or the system's.
pub(super) fn of_verb(given: Option<&Path>) -> PathBuf {
    let here = Path::new(UP_FOLDER).join(FILE_NAME);
    match given {
        Some(file) => file.to_owned(),
        None if here.exists() => here,
        None => PathBuf::from(SYSTEM_FILE),
    }
}

/// The file's text.
pub(super) fn text(file: &Path) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Failed(format!(
            "cannot read the configuration {}: {error}\n    remedy: name another with --config, or try `pigeon up`, \
             which needs none",
            file.display()
        ))
    };
    match std::fs::metadata(file) {
        Ok(facts) if facts.len() > FILE_BYTES_MAX => return Err(failed(&"it is too long to be one")),
        Ok(_) => {}
        Err(error) => return Err(failed(&error)),
    }
    std::fs::read_to_string(file).map_err(|error| failed(&error))
}

/// The configuration in the file; every problem in it is printed.
pub(super) fn load(file: &Path) -> Result<Parsed, Failure> {
    let text = text(file)?;
    let mut parsed = read(&text, &folder(file)).map_err(|problems| {
        complain_of(&file.display().to_string(), &text, &problems);
        Failure::Told
    })?;
    settle_hostname(&mut parsed.config);
    Ok(parsed)
}

/// The folder a file is in, absolute, so that what it names is found from anywhere.
pub(super) fn folder(file: &Path) -> PathBuf {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// The same file, found from anywhere.
pub(super) fn absolute(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_| file.to_owned())
}
