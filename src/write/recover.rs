//! What comes after an edit in place that was cut short.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::archive::OpenOptions as Open;
use crate::compress::Compression;
use crate::error::{Code, Error, Result};
use crate::source::settled::{exists, folder_of, follow, journal_of};
use crate::source::{MapChoice, Source};
use crate::write::journal::{Journal, MAX_LEN, Parsed, Pending, State};

/// What [`recover`] found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovery {
    /// There was no journal: nothing was cut short.
    NotNeeded,
    /// The edit had not begun; the journal was removed.
    NotBegun,
    /// The edit was complete; the journal was removed.
    Complete,
    /// The old bytes were put back and the journal was removed.
    Restored,
}

impl Recovery {
    /// One word for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Recovery::NotNeeded => "not-needed",
            Recovery::NotBegun => "not-begun",
            Recovery::Complete => "complete",
            Recovery::Restored => "restored",
        }
    }
}

/// Ends an edit in place of a file that was cut short: afterwards the file is
/// byte for byte what it was before, or what it was to become, and has no
/// journal. May itself be cut short and done again.
///
/// # Errors
///
/// `E_JOURNAL` when another process is editing the file, when the journal is
/// damaged, when it is of another file (one that was copied or written to since)
/// and when somebody else may have put it there; `E_IO`. The journal is left
/// where it is then.
pub fn recover(path: impl AsRef<Path>) -> Result<Recovery> {
    let path = follow(path.as_ref())?;
    let Some(pending) = find(&path)? else { return Ok(Recovery::NotNeeded) };
    let fail = |e| Error::io(&path, e);
    let file = File::open(&path).map_err(fail)?;
    let refuse = |why: &str| damaged(&pending, why);
    let done = match parse(&pending)? {
        None => {
            if !reads_well(&path, file) {
                return Err(refuse("neither the journal nor the file is whole"));
            }
            Recovery::NotBegun
        }
        Some(Parsed { journal, whole }) => match journal.state(&file).map_err(fail)? {
            State::Old => Recovery::NotBegun,
            State::New => Recovery::Complete,
            State::Between if !whole => return Err(refuse("the journal is damaged")),
            State::Between => {
                let metadata = file.metadata().map_err(fail)?;
                let (least, most) = sorted(journal.old_size, journal.new_size);
                if metadata.ino() != journal.inode || !(least..=most).contains(&metadata.len()) {
                    return Err(refuse("the journal is of another file"));
                }
                let file = OpenOptions::new().write(true).open(&path).map_err(fail)?;
                journal.undo(&file).map_err(fail)?;
                Recovery::Restored
            }
        },
    };
    pending.clear()?;
    Ok(done)
}

/// The journal of a file, if there is one, held by this process.
fn find(path: &Path) -> Result<Option<Pending>> {
    let journal = journal_of(path);
    let fail = |e| Error::io(&journal, e);
    let target = fs::metadata(path).map_err(|e| Error::io(path, e))?;
    // A name in a folder others may write to can be anything.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(&journal, flags, Mode::empty()).map_err(io::Error::from) {
        Ok(file) => File::from(file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fail(e)),
    };
    let found = file.metadata().map_err(fail)?;
    let folder = folder_of(path);
    let folder = File::open(folder).map_err(|e| Error::io(folder, e))?;
    let pending = Pending { file, path: journal, folder };
    let owners = [0, target.uid(), rustix::process::geteuid().as_raw()];
    if !found.is_file() || found.len() > MAX_LEN || !owners.contains(&found.uid()) {
        return Err(damaged(&pending, "this is no journal of the file's owner or yours"));
    }
    pending.lock()?;
    // Whoever held it may have finished in between.
    let exists = exists(&pending.path).map_err(|e| Error::io(&pending.path, e))?;
    Ok(exists.then_some(pending))
}

/// What the journal says; nothing when it was never written to its end.
fn parse(pending: &Pending) -> Result<Option<Parsed>> {
    let mut bytes = Vec::new();
    let read = (&pending.file).take(MAX_LEN).read_to_end(&mut bytes);
    read.map_err(|e| Error::io(&pending.path, e))?;
    Journal::parse(&bytes).map_err(|why| damaged(pending, why))
}

/// Whether the file is an archive without a fault that keeps it from being used.
///
/// A journal that is torn was never on disk as a whole, so the file was not
/// written to. This guards against a journal that was damaged later.
fn reads_well(path: &Path, file: File) -> bool {
    let label = path.display().to_string();
    let source = Source::file(label.clone(), file, MapChoice::Never);
    let archive = source.and_then(|source| Open::new().archive(label, Compression::None, source));
    archive.and_then(crate::archive::Archive::check).is_ok()
}

fn damaged(pending: &Pending, why: &str) -> Error {
    Error::new(Code::Journal, why)
        .in_archive(pending.path.display().to_string())
        .hint("nothing was changed; remove the journal once the archive is known to be sound")
}

fn sorted(a: u64, b: u64) -> (u64, u64) {
    if a < b { (a, b) } else { (b, a) }
}
