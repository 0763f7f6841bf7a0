//! A file that has no name until it is complete.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use tempfile::{Builder, NamedTempFile};

use crate::source::settled::folder_of;

/// The start and the end of names that last no longer than the work.
const PREFIX: &str = ".ocitar.";
const SUFFIX: &str = ".tmp";

/// A file being written, gone unless it is kept.
pub(super) enum Temporary {
    /// The kernel removes it however the process ends.
    Nameless(File),
    /// Where the file system has no files without names (NFS, FAT, FUSE): one of
    /// a random name, which stays when the process is killed.
    Named(NamedTempFile),
}

impl Temporary {
    /// Starts a file in this folder.
    pub(super) fn new(folder: &Path, mode: u32) -> io::Result<Temporary> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let nameless = rustix::fs::open(folder, flags, Mode::from_raw_mode(mode)).map(File::from);
        match nameless {
            // It gets its name by way of /proc, which a chroot may lack.
            Ok(file) if fs::metadata(by_descriptor(&file)).is_ok() => Ok(Temporary::Nameless(file)),
            _ => named()
                .permissions(Permissions::from_mode(mode))
                .tempfile_in(folder)
                .map(Temporary::Named)
                .map_err(plain_error),
        }
    }

    pub(super) fn file(&self) -> &File {
        match self {
            Temporary::Nameless(file) => file,
            Temporary::Named(file) => file.as_file(),
        }
    }

    /// Gives the file its name, in one step: that of nothing, or with `replace`
    /// of another file.
    pub(super) fn keep(self, path: &Path, replace: bool) -> io::Result<()> {
        match self {
            Temporary::Nameless(file) => match link(&file, path) {
                Err(e) if replace && e.kind() == io::ErrorKind::AlreadyExists => {
                    replace_by(&file, path)
                }
                done => done,
            },
            Temporary::Named(file) if replace => file.persist(path).map(drop).map_err(|e| e.error),
            Temporary::Named(file) => file.persist_noclobber(path).map(drop).map_err(|e| e.error),
        }
    }
}

/// Puts a file without a name in the place of another one.
///
/// Linux links to free names only, so for a moment there is another name. A
/// process that is killed in that moment leaves it. While the folder is locked
/// nobody has the one fixed name, and whoever comes next removes what was left of it.
fn replace_by(file: &File, path: &Path) -> io::Result<()> {
    let folder = folder_of(path);
    let make = |random| named().rand_bytes(random).make_in(folder, |name| link(file, name));
    let lock = File::open(folder);
    let lock = lock.map(|lock| {
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map(|()| lock)
    });
    let between = match lock {
        Ok(Ok(_)) => {
            let _ = fs::remove_file(folder.join([PREFIX, SUFFIX].concat()));
            make(0).or_else(|_| make(RANDOM))
        }
        _ => make(RANDOM),
    };
    between.map_err(plain_error)?.persist(path).map(drop).map_err(|e| e.error)
}

/// Letters of a random name.
const RANDOM: usize = 6;

fn named() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX).rand_bytes(RANDOM);
    builder
}

/// Gives a file without a name a free one.
fn link(file: &File, path: &Path) -> io::Result<()> {
    let from = by_descriptor(file);
    rustix::fs::linkat(CWD, from, CWD, path, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from)
}

fn by_descriptor(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// The error without the name of the temporary file, which means nothing to
/// anyone.
fn plain_error(error: io::Error) -> io::Error {
    match std::error::Error::source(&error).and_then(|e| e.downcast_ref::<io::Error>()) {
        Some(inner) => {
            inner.raw_os_error().map_or(inner.kind().into(), io::Error::from_raw_os_error)
        }
        None => error.kind().into(),
    }
}
