//! A file that appears whole or not at all.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::archive::Archive;
use crate::error::{Code, Error, Result};
use crate::text;

/// An output being written.
pub(super) enum Destination {
    /// A temporary file in the folder of `path`, gone unless it is finished.
    Temporary { file: NamedTempFile, path: PathBuf, replace: bool },
    /// A device or fifo, which cannot be replaced.
    Special { file: File, path: PathBuf },
}

impl Destination {
    /// Checks the path, and the space when the size is known, and starts.
    pub(super) fn open(
        path: &Path,
        inputs: &[&Archive],
        force: bool,
        size: Option<u64>,
    ) -> Result<Destination> {
        // A link is kept, and what it leads to replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let old = match fs::metadata(&path) {
            Ok(old) => Some(old),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(Error::io(&path, e)),
        };
        if let Some(old) = &old {
            if old.is_dir() {
                return Err(Error::new(Code::Usage, "the output is a directory")
                    .in_archive(path.display().to_string()));
            }
            if inputs.iter().any(|input| input.is_file(old.dev(), old.ino())) {
                return Err(Error::new(Code::OutSame, "the output is the input")
                    .in_archive(path.display().to_string())
                    .hint("write to another file, then rename it"));
            }
            if !old.is_file() {
                let file = fs::OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .map_err(|e| Error::io(&path, e))?;
                return Ok(Destination::Special { file, path });
            }
            if !force {
                return Err(Error::new(Code::OutExists, "the output exists")
                    .in_archive(path.display().to_string())
                    .hint("--force replaces it"));
            }
        }
        let folder = folder_of(&path);
        check_space(folder, size)?;
        // As `open` would create it; a replaced file keeps its mode.
        let mode = old.as_ref().map_or(0o666, |old| old.permissions().mode() & 0o7777);
        let file = Builder::new()
            .prefix(".ocitar.")
            .suffix(".tmp")
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(folder)
            .map_err(|e| Error::io(folder, e))?;
        if let Some(old) = &old {
            file.as_file().set_permissions(old.permissions()).map_err(|e| Error::io(&path, e))?;
        }
        Ok(Destination::Temporary { file, path, replace: force })
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

    /// Makes the bytes durable and gives them their name. Returns their number.
    pub(super) fn finish(self) -> Result<u64> {
        match self {
            Destination::Special { file, path } => {
                // Pipes and terminals have nothing to sync.
                let _ = file.sync_all();
                let written = file.metadata().map_err(|e| Error::io(&path, e))?.len();
                Ok(written)
            }
            Destination::Temporary { file, path, replace } => {
                let fail = |e: io::Error| Error::io(&path, e);
                file.as_file().sync_all().map_err(fail)?;
                let bytes = file.as_file().metadata().map_err(fail)?.len();
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
                let synced = File::open(folder).and_then(|folder| folder.sync_all());
                synced.map_err(|e| Error::io(folder, e))?;
                Ok(bytes)
            }
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
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
