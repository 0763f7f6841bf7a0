//! A file that appears whole or not at all.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::archive::Origin;
use crate::error::{Code, Error, Result};
use crate::source::settled::{self, folder_of, follow};
use crate::text;

/// An output being written.
pub(super) enum Destination {
    /// A temporary file in the folder of `path`, gone unless it is finished.
    Temporary { file: NamedTempFile, path: PathBuf, replace: bool },
    /// A device or fifo, which cannot be replaced.
    Special { file: File, path: PathBuf },
}

/// Where a path leads, and what is there.
pub(super) struct Resolved {
    path: PathBuf,
    old: Option<Metadata>,
}

/// Follows links to the file that is to be written: a link is kept and what it
/// leads to is replaced, or made where it leads nowhere.
pub(super) fn resolve(path: &Path, input: Option<&Origin>, force: bool) -> Result<Resolved> {
    let path = follow(path)?;
    let name = || path.display().to_string();
    let old = match fs::metadata(&path) {
        Ok(old) => Some(old),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(Error::io(&path, e)),
    };
    if is_input(&path, old.as_ref(), input) {
        return Err(Error::new(Code::OutSame, "the output is the input, or a part of it")
            .in_archive(name())
            .hint("write to another file, then rename it"));
    }
    match &old {
        Some(old) if old.is_dir() => {
            return Err(Error::new(Code::Usage, "the output is a directory").in_archive(name()));
        }
        // A pipe or `/dev/null` has nothing to lose; a file or a disk has.
        Some(old) if !force && (old.is_file() || old.file_type().is_block_device()) => {
            let error = Error::new(Code::OutExists, "the output exists").in_archive(name());
            return Err(error.hint("--force replaces it"));
        }
        // The journal of the old file would stand beside the new one.
        Some(old) if old.is_file() => settled::check(&path)?,
        Some(_) => {}
        None => {
            let folder = folder_of(&path);
            fs::metadata(folder).map_err(|e| Error::io(folder, e))?;
        }
    }
    Ok(Resolved { path, old })
}

impl Destination {
    /// Checks the path, and the space when the size is known, and starts.
    pub(super) fn open(
        path: &Path,
        input: Option<&Origin>,
        force: bool,
        size: Option<u64>,
    ) -> Result<Destination> {
        let Resolved { path, old } = resolve(path, input, force)?;
        if old.as_ref().is_some_and(|old| !old.is_file()) {
            let file = fs::OpenOptions::new().write(true).open(&path);
            let file = file.map_err(|e| Error::io(&path, e))?;
            return Ok(Destination::Special { file, path });
        }
        check_space(folder_of(&path), size)?;
        let file = temporary(&path, old.as_ref())?;
        Ok(Destination::Temporary { file, path, replace: force })
    }

    /// Starts a file that takes the place of one, and its mode and as far as
    /// possible its owner: who edits a file in place does not mean to own it.
    pub(super) fn replacing(path: PathBuf, old: &Metadata) -> Result<Destination> {
        let file = temporary(&path, Some(old))?;
        let new = file.as_file().metadata().map_err(|e| Error::io(&path, e))?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            let give = |owner| fchown(file.as_file(), owner, Some(old.gid()));
            // Only root may give files away; a group of one's own is allowed.
            let _ = give(Some(old.uid())).or_else(|_| give(None));
            // Changing the owner may have cleared bits of the mode.
            file.as_file().set_permissions(old.permissions()).map_err(|e| Error::io(&path, e))?;
        }
        Ok(Destination::Temporary { file, path, replace: true })
    }

    /// Fails when the folder has no room for this many bytes.
    pub(super) fn check_space(&self, size: u64) -> Result<()> {
        check_space(folder_of(self.path()), Some(size))
    }

    pub(super) fn is_special(&self) -> bool {
        matches!(self, Destination::Special { .. })
    }

    pub(super) fn file(&self) -> &File {
        match self {
            Destination::Temporary { file, .. } => file.as_file(),
            Destination::Special { file, .. } => file,
        }
    }

    fn path(&self) -> &Path {
        match self {
            Destination::Temporary { path, .. } | Destination::Special { path, .. } => path,
        }
    }

    /// Names the output in an error that came from writing it.
    pub(super) fn write_error(&self, error: Error) -> Error {
        error.in_archive(self.path().display().to_string())
    }

    /// Makes the bytes durable and gives them their name.
    pub(super) fn finish(self) -> Result<()> {
        let Destination::Temporary { file, path, replace } = self else {
            // Pipes and terminals have nothing to sync.
            return Ok(());
        };
        let fail = |e: io::Error| Error::io(&path, e);
        file.as_file().sync_all().map_err(fail)?;
        if replace {
            file.persist(&path).map_err(|e| fail(e.error))?;
        } else {
            file.persist_noclobber(&path).map_err(|e| match e.error.kind() {
                io::ErrorKind::AlreadyExists => {
                    Error::new(Code::OutExists, "the output appeared while it was written")
                        .in_archive(path.display().to_string())
                        .hint("--force replaces it")
                }
                _ => fail(e.error),
            })?;
        }
        let folder = folder_of(&path);
        match File::open(folder) {
            Ok(open) => open.sync_all().map_err(|e| Error::io(folder, e)),
            // A folder one may write to but not read: the file is there.
            Err(_) => Ok(()),
        }
    }
}

/// A temporary file in the folder of `path`, with the mode of what it replaces.
fn temporary(path: &Path, old: Option<&Metadata>) -> Result<NamedTempFile> {
    let folder = folder_of(path);
    // As `open` would create it; a replaced file keeps its mode.
    let mode = old.map_or(0o666, |old| old.permissions().mode() & 0o7777);
    let file = Builder::new()
        .prefix(".ocitar.")
        .suffix(".tmp")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(|e| Error::io(folder, plain_error(e)))?;
    if let Some(old) = old {
        file.as_file().set_permissions(old.permissions()).map_err(|e| Error::io(path, e))?;
    }
    Ok(file)
}

/// Whether writing here would overwrite what is read.
fn is_input(path: &Path, old: Option<&Metadata>, input: Option<&Origin>) -> bool {
    match input {
        Some(Origin::File(device, inode)) => {
            old.is_some_and(|old| (old.dev(), old.ino()) == (*device, *inode))
        }
        Some(Origin::Directory(root)) => {
            let folder = folder_of(path).canonicalize();
            folder.is_ok_and(|folder| folder.starts_with(root))
        }
        Some(Origin::Stream) | None => false,
    }
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

fn check_space(folder: &Path, size: Option<u64>) -> Result<()> {
    let Some(needed) = size else { return Ok(()) };
    let Ok(stat) = rustix::fs::statvfs(folder) else { return Ok(()) };
    // Some file systems (network, overlay) say nothing.
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if stat.f_blocks > 0 && free < needed {
        return Err(Error::new(
            Code::NoSpace,
            format!("not enough space: {} needed, {} free", text::size(needed), text::size(free)),
        )
        .in_archive(folder.display().to_string()));
    }
    Ok(())
}
