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
/// The start of the name a file has just before it replaces another.
const BETWEEN: &str = ".ocitar.replacing";

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
/// Linux links to free names only, so for a moment there is another name, which
/// stays when the process is killed in that moment. While the folder is locked
/// nobody else uses the one name that is not random, and what is left of it goes.
fn replace_by(file: &File, path: &Path) -> io::Result<()> {
    let folder = folder_of(path);
    let make = |builder: Builder<'_, '_>| builder.make_in(folder, |name| link(file, name));
    let lock = File::open(folder);
    let locked = lock.as_ref().is_ok_and(|folder| {
        rustix::fs::flock(folder, FlockOperation::NonBlockingLockExclusive).is_ok()
    });
    let between = if locked {
        let _ = fs::remove_file(folder.join([BETWEEN, SUFFIX].concat()));
        let mut fixed = Builder::new();
        fixed.prefix(BETWEEN).suffix(SUFFIX).rand_bytes(0);
        make(fixed).or_else(|_| make(named()))
    } else {
        make(named())
    };
    between.map_err(plain_error)?.persist(path).map(drop).map_err(|e| e.error)
}

fn named() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
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
