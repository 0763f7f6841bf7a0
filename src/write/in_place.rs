//! A plan written over the file it was made from.
//!
//! Most of what retagging changes stands at the end of an archive, behind the
//! layers. Who wants no second copy of the layers has two ways, and both end
//! with the bytes that writing to a new file gives:
//!
//! * [`InPlace::Atomic`]: a new file takes the place of the old one. Where the
//!   file system shares extents the new one starts as a clone, and only what
//!   differs is written.
//! * [`InPlace::Journal`]: what differs is written into the file itself, on any
//!   file system, in milliseconds. The old bytes are in a journal beside it
//!   until the new ones are on disk; [`recover`](crate::write::recover) goes
//!   back when the work was cut short.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::archive::Origin;
use crate::compress::Compression;
use crate::error::{Code, Error, Result};
use crate::plan::{Piece, Plan};
use crate::source::settled::{self, follow};
use crate::write::atomic::Destination;
use crate::write::journal::Changes;
use crate::write::{Method, WriteOptions, Written, write_failed};

/// How a file is edited in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InPlace {
    /// A new file takes the place of the old one, whole or not at all. It has
    /// the old one's mode, access list and as far as possible owner; other
    /// extended attributes are not kept. Other hard links keep the old file.
    Atomic,
    /// The bytes that differ are written into the file itself, under an undo
    /// journal. Where that would be much the file is replaced as by `Atomic`.
    ///
    /// The file must be plain, writable and without other hard links: somebody
    /// who opens it by another name would not find the journal.
    Journal,
}

/// What was done in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewritten {
    /// How many bytes were written, and how.
    pub written: Written,
    /// Whether a journal was asked for and the file was replaced all the same,
    /// because more than [`InPlace::MOST`] would have had to change.
    pub fell_back: bool,
    /// Hard links that still lead to the old file.
    pub links_left: u64,
}

impl InPlace {
    /// The most bytes a journal keeps, and the most that are changed under one.
    ///
    /// They are held in memory, because what moves within a file has to be read
    /// before anything is written. Names and manifests of hundreds of images
    /// fit; layers that move are cheaper copied.
    pub const MOST: u64 = 16 << 20;

    /// Whether a file could be edited so, as far as can be said without
    /// touching it: to be asked before long work.
    ///
    /// # Errors
    ///
    /// `E_IN_PLACE` when it cannot, `E_JOURNAL` when an edit was cut short, and
    /// `E_IO`.
    pub fn check(self, path: impl AsRef<Path>) -> Result<()> {
        let target = Target::open(path.as_ref(), self)?;
        let mut head = [0; Compression::SNIFF_LEN];
        let len = head.len().min(usize::try_from(target.metadata.len()).unwrap_or(usize::MAX));
        target.file.read_exact_at(&mut head[..len], 0).map_err(|e| Error::io(&target.path, e))?;
        if self == InPlace::Journal && Compression::sniff(&head[..len]) != Compression::None {
            return Err(target.is_compressed());
        }
        Ok(())
    }
}

impl Plan {
    /// Writes the output over the file that the plan was made from. `path`
    /// leads to that file; a symbolic link is kept.
    ///
    /// The archive must not be read from afterwards: a journalled edit changes
    /// the bytes under it, and one that was mapped on demand
    /// ([`MapChoice::Always`](crate::source::MapChoice::Always)) may have become shorter.
    ///
    /// # Errors
    ///
    /// `E_IN_PLACE` when the file is not the one of the plan or cannot be edited
    /// in this way, `E_JOURNAL` when an edit was cut short, `E_NO_SPACE`,
    /// `E_INPUT_CHANGED`, `E_INTERRUPTED`, `E_IO`. After an error the file is
    /// what it was before, or has a journal and is refused by every
    /// [`open`](crate::archive::Archive::open) until it is recovered.
    pub fn write_in_place(
        &self,
        path: impl AsRef<Path>,
        how: InPlace,
        options: &WriteOptions<'_>,
    ) -> Result<Rewritten> {
        let target = Target::open(path.as_ref(), how)?;
        target.is_origin_of(self)?;
        self.check_unchanged()?;
        // Not so when the file is compressed: then its spans are of another one.
        let direct = options.is_plain() && target.holds_spans_of(self)?;
        if how == InPlace::Journal && !direct {
            return Err(target.is_compressed());
        }
        let changes = if direct { target.changes(self)? } else { None };
        let done = |written| Rewritten { written, fell_back: false, links_left: 0 };
        match changes {
            Some(changes) if changes.is_empty() => {
                Ok(done(Written { bytes: 0, method: Method::Unchanged }))
            }
            Some(changes) if how == InPlace::Journal => target.edit(self, changes).map(done),
            _ => Ok(Rewritten {
                links_left: target.metadata.nlink().saturating_sub(1),
                fell_back: how == InPlace::Journal,
                written: target.replace(self, direct, options)?,
            }),
        }
    }
}

/// The file that is edited.
struct Target {
    /// Where it is; no symbolic link.
    path: PathBuf,
    file: File,
    metadata: Metadata,
}

impl Target {
    fn open(path: &Path, how: InPlace) -> Result<Target> {
        let fail = |e| Error::io(path, e);
        let refuse = |message: &str| {
            Error::new(Code::InPlace, message).in_archive(path.display().to_string())
        };
        let real = follow(path)?;
        // Asked before it is opened: opening a fifo waits for somebody.
        if !fs::metadata(&real).map_err(fail)?.is_file() {
            return Err(refuse("only a regular file can be edited in place"));
        }
        settled::check(path)?;
        let journal = how == InPlace::Journal;
        let file = fs::OpenOptions::new().read(true).write(journal).open(&real);
        let file = file.map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if journal && metadata.nlink() > 1 {
            return Err(refuse("the file has other hard links, which would change with it")
                .hint("--in-place without a journal leaves them as they are"));
        }
        Ok(Target { path: real, file, metadata })
    }

    fn fail(&self, code: Code, message: &str) -> Error {
        Error::new(code, message).in_archive(self.path.display().to_string())
    }

    fn is_compressed(&self) -> Error {
        self.fail(Code::InPlace, "a compressed file cannot be edited under a journal")
            .hint("--in-place without a journal writes it anew")
    }

    fn is_origin_of(&self, plan: &Plan) -> Result<()> {
        match plan.origins() {
            [Origin::File(device, inode)]
                if (*device, *inode) == (self.metadata.dev(), self.metadata.ino()) =>
            {
                Ok(())
            }
            _ => Err(self.fail(Code::InPlace, "this is not the file that was read")),
        }
    }

    /// Whether every span of the plan is of this file.
    fn holds_spans_of(&self, plan: &Plan) -> Result<bool> {
        for piece in plan.pieces() {
            let Piece::Span(span) = piece else { continue };
            let Some(file) = span.source.as_file() else { return Ok(false) };
            let metadata = file.metadata().map_err(|e| Error::io(&self.path, e))?;
            if (metadata.dev(), metadata.ino()) != (self.metadata.dev(), self.metadata.ino()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What differs between this file and the output; `None` when it is more
    /// than [`InPlace::MOST`].
    fn changes(&self, plan: &Plan) -> Result<Option<Changes<'_>>> {
        let mut changes = Changes::new(&self.file, self.metadata.len());
        let fail = |e| Error::io(&self.path, e);
        let (mut at, mut left) = (0, InPlace::MOST);
        let mut new = Vec::new();
        for piece in plan.pieces() {
            if piece.stays(at) {
                let start = at - new.len() as u64;
                if !changes.push(start, &new).map_err(fail)? {
                    return Ok(None);
                }
                new.clear();
            } else {
                let Some(rest) = left.checked_sub(piece.len()) else { return Ok(None) };
                left = rest;
                match piece {
                    Piece::Bytes(bytes) => new.extend_from_slice(bytes),
                    Piece::Span(span) => span.visit_chunks(&mut |bytes| {
                        new.extend_from_slice(bytes);
                        Ok(())
                    })?,
                }
            }
            at += piece.len();
        }
        let whole = changes.push(at - new.len() as u64, &new).map_err(fail)?;
        Ok((whole && changes.end(at).map_err(fail)?).then_some(changes))
    }

    /// Writes a new file in the place of this one.
    fn replace(&self, plan: &Plan, direct: bool, options: &WriteOptions<'_>) -> Result<Written> {
        let output = Destination::replacing(self.path.clone(), &self.metadata)?;
        let clone = direct && self.clone_to(output.file())?;
        if direct && !clone {
            output.check_space(plan.len())?;
        }
        let written = plan.write_file(&output, clone, options);
        let written = written.map_err(|e| output.write_error(e))?;
        plan.check_unchanged()?;
        output.finish()?;
        Ok(written)
    }

    /// Whether an empty file now shares all bytes of this one; if not it is
    /// empty as before.
    ///
    /// A clone that fails on its way may leave what it has done, and XFS is known
    /// to have called half of a file a success.
    fn clone_to(&self, output: &File) -> Result<bool> {
        let fail = |e| Error::io(&self.path, e);
        let shared = rustix::fs::ioctl_ficlone(output, &self.file).is_ok();
        let len = output.metadata().map_err(fail)?.len();
        if shared && len == self.metadata.len() {
            return Ok(true);
        }
        if len > 0 {
            output.set_len(0).map_err(fail)?;
        }
        Ok(false)
    }

    /// Writes what differs into the file itself.
    fn edit(&self, plan: &Plan, changes: Changes<'_>) -> Result<Written> {
        let (journal, new) = changes.into_journal(self.metadata.ino(), plan.len());
        let pending = journal.create(&self.path)?;
        // The old bytes were read before the journal kept others away.
        if let Err(error) = plan.check_unchanged() {
            pending.clear()?;
            return Err(error);
        }
        let recover = |error: Error| error.hint(format!("ocitar recover {}", self.path.display()));
        if let Err(error) = journal.apply(&self.file, &new) {
            let error = write_failed(error).in_archive(self.path.display().to_string());
            return match journal.undo(&self.file) {
                Ok(()) => pending.clear().map_err(recover).and(Err(error)),
                Err(_) => Err(recover(error)),
            };
        }
        pending.clear().map_err(recover)?;
        Ok(Written { bytes: new.len() as u64, method: Method::Journal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a clone that failed has left does not stay behind a shorter output.
    #[test]
    fn half_a_clone_is_no_clone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.tar");
        fs::write(&path, "the file").unwrap();
        let target = Target::open(&path, InPlace::Atomic).unwrap();
        let output = tempfile::tempfile().unwrap();
        output.write_all_at(b"more than the file", 0).unwrap();
        assert!(!target.clone_to(&output).unwrap());
        assert_eq!(output.metadata().unwrap().len(), 0);
    }
}
