//! A file that appears whole or not at all.
//!
//! The bytes go to a file without a name in the folder of the output
//! ([`Temporary`]), are synced, and get the name in one step; then the folder is
//! synced. A file that is replaced hands on its mode, its access list and as far
//! as possible its owner and group. Other extended attributes and its hard links
//! stay with the old file.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::archive::Origin;
use crate::error::{Code, Error, Result};
use crate::source::settled::{self, folder_of, follow};
use crate::text;
use crate::write::temporary::Temporary;

/// An output being written.
pub(super) enum Destination {
    /// What will be the file `path` when it is finished, and else is gone.
    Temporary { file: Temporary, path: PathBuf, replace: bool },
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
pub(super) fn resolve(path: &Path, inputs: &[Origin], force: bool) -> Result<Resolved> {
    // A pipe may be behind a link that leads nowhere, as /dev/stdout is one.
    let is_special = fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir());
    let path = if is_special { path.to_owned() } else { follow(path)? };
    let name = || path.display().to_string();
    let old = match fs::metadata(&path) {
        Ok(old) => Some(old),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(Error::io(&path, e)),
    };
    if inputs.iter().any(|input| is_input(&path, old.as_ref(), input)) {
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

impl Resolved {
    /// Fails when no file can be made there; leaves nothing.
    pub(super) fn probe(&self) -> Result<()> {
        match &self.old {
            Some(old) if !old.is_file() => Ok(()),
            _ => temporary(&self.path, None).map(drop),
        }
    }
}

impl Destination {
    /// Checks the path, and starts.
    pub(super) fn open(path: &Path, inputs: &[Origin], force: bool) -> Result<Destination> {
        let Resolved { path, old } = resolve(path, inputs, force)?;
        if old.as_ref().is_some_and(|old| !old.is_file()) {
            let file = fs::OpenOptions::new().write(true).open(&path);
            let file = file.map_err(|e| Error::io(&path, e))?;
            return Ok(Destination::Special { file, path });
        }
        let file = temporary(&path, old.as_ref())?;
        Ok(Destination::Temporary { file, path, replace: force })
    }

    /// Starts a file that takes the place of one.
    pub(super) fn replacing(path: PathBuf, old: &Metadata) -> Result<Destination> {
        let file = temporary(&path, Some(old))?;
        Ok(Destination::Temporary { file, path, replace: true })
    }

    /// Fails when the folder has no room for this many bytes.
    pub(super) fn check_space(&self, size: u64) -> Result<()> {
        check_space(folder_of(self.path()), size)
    }

    pub(super) fn is_special(&self) -> bool {
        matches!(self, Destination::Special { .. })
    }

    pub(super) fn file(&self) -> &File {
        match self {
            Destination::Temporary { file, .. } => file.file(),
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
        file.file().sync_all().map_err(fail)?;
        file.keep(&path, replace).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists if !replace => {
                Error::new(Code::OutExists, "the output appeared while it was written")
                    .in_archive(path.display().to_string())
                    .hint("--force replaces it")
            }
            _ => fail(e),
        })?;
        let folder = folder_of(&path);
        match File::open(folder) {
            Ok(open) => open.sync_all().map_err(|e| Error::io(folder, e)),
            // A folder one may write to but not read: the file is there.
            Err(_) => Ok(()),
        }
    }
}

/// What is to become the file `path`.
fn temporary(path: &Path, old: Option<&Metadata>) -> Result<Temporary> {
    let folder = folder_of(path);
    // As `open` would create it; a replaced file keeps its mode.
    let mode = old.map_or(0o666, |old| old.permissions().mode() & 0o7777);
    let file = Temporary::new(folder, mode).map_err(|e| Error::io(folder, e))?;
    if let Some(old) = old {
        take_after(file.file(), path, old).map_err(|e| Error::io(path, e))?;
    }
    Ok(file)
}

/// Makes a file as accessible as the one it is to replace, and no more.
fn take_after(file: &File, path: &Path, old: &Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        let give = |owner| fchown(file, owner, Some(old.gid()));
        // Only root may give files away; a group of one's own is allowed.
        let _ = give(Some(old.uid())).or_else(|_| give(None));
    }
    let mut permissions = old.permissions();
    if copy_access_list(path, file).is_err() {
        // The group's bits stood for all who were on the list.
        permissions.set_mode(permissions.mode() & !0o070);
    }
    // Last, because all of the above may clear bits of the mode.
    file.set_permissions(permissions)
}

/// Gives a file the access list of another; none, when that has none, instead
/// of the one it got from its folder.
fn copy_access_list(from: &Path, to: &File) -> rustix::io::Result<()> {
    const NAME: &str = "system.posix_acl_access";
    // As large as Linux lets an attribute be.
    let mut list = vec![0; 64 << 10];
    match rustix::fs::getxattr(from, NAME, &mut list) {
        Ok(len) => rustix::fs::fsetxattr(to, NAME, &list[..len], XattrFlags::empty()),
        Err(_) => match rustix::fs::fremovexattr(to, NAME) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        },
    }
}

/// Whether writing here would overwrite what is read.
fn is_input(path: &Path, old: Option<&Metadata>, input: &Origin) -> bool {
    match input {
        Origin::File(device, inode) => {
            old.is_some_and(|old| (old.dev(), old.ino()) == (*device, *inode))
        }
        Origin::Directory(root) => {
            let folder = folder_of(path).canonicalize();
            folder.is_ok_and(|folder| folder.starts_with(root))
        }
        Origin::Stream => false,
    }
}

pub(super) fn check_space(folder: &Path, needed: u64) -> Result<()> {
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
