//! Whether a file is settled: no edit in place was cut short in it.
//!
//! Such an edit leaves an undo journal beside the file, and its presence is
//! all that has to be known to stay away from the file. What is in it is the
//! business of [`recover`](crate::write::recover).

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Result};

/// As many links as Linux follows.
const MAX_LINKS: usize = 40;

/// The file that a path leads to when its last component is a symbolic link:
/// what is beside a file is beside that one.
///
/// # Errors
///
/// `E_IO` when it cannot be told whether it is a link.
pub(crate) fn follow(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = folder_of(&path).join(target),
            Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => break,
            Err(e) => return Err(Error::io(path, e)),
        }
    }
    Ok(path)
}

/// The folder a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Where the journal of a file is, while there is one: `FILE.ocitar-journal`.
/// The path is one that [`follow`] gave.
pub(crate) fn journal_of(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".ocitar-journal");
    PathBuf::from(name)
}

/// Fails when the file this path leads to has a journal, or may have one.
///
/// # Errors
///
/// `E_JOURNAL`, `E_IO`.
pub(crate) fn check(path: &Path) -> Result<()> {
    let journal = journal_of(&follow(path)?);
    if !exists(&journal).map_err(|e| Error::io(&journal, e))? {
        return Ok(());
    }
    let name = path.display().to_string();
    Err(Error::new(Code::Journal, "an edit in place was cut short, or is going on")
        .hint(format!("ocitar recover {name}"))
        .in_archive(name))
}

/// Whether there is anything of this name.
pub(crate) fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        // A name that is too long for a journal has none.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidFilename) => Ok(false),
        Err(e) => Err(e),
    }
}
