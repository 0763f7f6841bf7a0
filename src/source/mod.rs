//! Where bytes come from: positional reads, a mapped file, memory.
//!
//! A [`Source`] is a run of bytes of known length that any thread may read at
//! any offset. A [`Span`] is a piece of one. Neither ever hands out a slice of
//! a map to keep: small reads are copies, and bulk reads lend chunks that end
//! with the visit.
//!
//! # Files that change
//!
//! A file that somebody writes to or shortens while it is read ends the work
//! with `E_INPUT_CHANGED`. Reading by position makes that possible: what is cut
//! off is an error of a call. Where a map is torn the kernel ends the process
//! instead, so a file that others can reach is mapped only when that is asked
//! for ([`MapChoice::Always`]). What an archive is unpacked into has no name and no
//! other reader; it is mapped.
//!
//! What there is to gain was measured on eight layers of 256 MiB in memory, with
//! two threads: hashed out of a map, whose pages are had by windows of 2 MiB, they
//! take 0.94 of the time that reads into a buffer take. Copying takes 1.3 times as
//! long, so it never works from a map.
//!
//! A change is told by length and time of modification. Who sets the time back,
//! or writes by a map of their own that is not synced, is not noticed.

mod kept;
mod map;
mod reader;
pub(crate) mod settled;
mod window;

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::{Code, Error, Result};
pub(crate) use kept::{Kept, Tail};
use map::Map;
pub use reader::SpanReader;
pub(crate) use window::Window;

/// What is mapped into memory, for headers, documents and what is hashed. Whatever
/// is copied is read by position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapChoice {
    /// Files that nobody else has: what a compressed archive or a pipe is
    /// unpacked into.
    #[default]
    Auto,
    /// Every regular file.
    ///
    /// The bargain: nobody may change or shorten it while it is open. A byte that
    /// changes can be read as two values, and a page that is cut off
    /// ends the process with `SIGBUS`.
    Always,
    /// Nothing.
    Never,
}

/// Bytes a bulk read visits at once. Large enough to make calls rare, small
/// enough to stay in the second-level cache while it is hashed.
const CHUNK: usize = 256 << 10;

/// Reads of at least this many bytes go to the file even when it is mapped.
///
/// In bulk every page of a map costs a fault, unless a whole window of them is had
/// at once, as [`SpanReader`] does it.
const BULK: usize = 16 << 10;

/// A run of bytes that can be read at any offset, by any thread.
#[derive(Debug)]
pub struct Source {
    label: String,
    len: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Mapped {
        map: Map,
        file: Opened,
    },
    File(Opened),
    Memory(Box<[u8]>),
    /// Some ranges of a stream that has gone by.
    Kept(Kept),
    /// A file of an OCI layout directory, opened for each read: a layout may
    /// hold more blobs than a process may hold files.
    Path {
        path: PathBuf,
        stamp: Stamp,
    },
}

impl Source {
    /// Opens a regular file of any length.
    ///
    /// # Errors
    ///
    /// `E_IO` when the file's length cannot be learned.
    pub fn file(label: impl Into<String>, file: File, choice: MapChoice) -> Result<Source> {
        Source::open(label.into(), file, choice == MapChoice::Always)
    }

    /// Opens a file without a name, which nobody else has.
    pub(crate) fn own_file(label: String, file: File, choice: MapChoice) -> Result<Source> {
        Source::open(label, file, choice != MapChoice::Never)
    }

    fn open(label: String, file: File, map: bool) -> Result<Source> {
        let file = Opened::new(file).map_err(|e| Error::io(&label, e))?;
        let len = file.stamp.len;
        let mapped = if map && len > 0 { Map::new(&file.file).ok() } else { None };
        let kind = match mapped {
            Some(map) if map.bytes().len() as u64 == len => Kind::Mapped { map, file },
            _ => Kind::File(file),
        };
        Ok(Source { label, len, kind })
    }

    /// Bytes that are already in memory.
    pub fn memory(label: impl Into<String>, bytes: impl Into<Box<[u8]>>) -> Source {
        let bytes = bytes.into();
        Source { label: label.into(), len: bytes.len() as u64, kind: Kind::Memory(bytes) }
    }

    /// A file that is opened anew for every read.
    pub(crate) fn path(path: PathBuf, metadata: &Metadata) -> Source {
        let stamp = Stamp::of(metadata);
        Source {
            label: path.display().to_string(),
            len: stamp.len,
            kind: Kind::Path { path, stamp },
        }
    }

    /// The ranges that were kept of a stream of `len` bytes.
    pub(crate) fn kept(label: impl Into<String>, kept: Kept, len: u64) -> Source {
        Source { label: label.into(), len, kind: Kind::Kept(kept) }
    }

    /// What errors call this source: usually the path.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The open file behind this source, when its offsets are the source's:
    /// what kernel copies work from.
    pub(crate) fn as_file(&self) -> Option<&File> {
        match &self.kind {
            Kind::Mapped { file, .. } | Kind::File(file) => Some(&file.file),
            Kind::Memory(_) | Kind::Kept(_) | Kind::Path { .. } => None,
        }
    }

    /// Fails when the file was written to since it was opened, as far as its
    /// length and time of modification tell.
    ///
    /// # Errors
    ///
    /// `E_INPUT_CHANGED`.
    pub fn check_unchanged(&self) -> Result<()> {
        match &self.kind {
            Kind::Mapped { file, .. } | Kind::File(file) => file.check_unchanged(&self.label),
            Kind::Path { path, stamp } => stamp.check(std::fs::metadata(path), &self.label),
            Kind::Memory(_) | Kind::Kept(_) => Ok(()),
        }
    }

    /// Whether every byte can be read, or only what was kept of a stream.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !matches!(self.kind, Kind::Kept(_))
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    ///
    /// `E_INPUT_CHANGED` when the file has become shorter than it was, `E_IO`
    /// for anything else the operating system reports.
    pub fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.try_read(offset, buffer).map_err(|e| self.read_error(e))
    }

    /// Like [`read_exact_at`](Self::read_exact_at), for a new buffer of `len` bytes.
    ///
    /// The caller has checked `len` against a limit; it is checked here against
    /// what the source holds before memory is taken.
    pub(crate) fn read_vec(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(self.read_error(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        self.read_exact_at(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads what there is from `offset`, at most the length of `buffer`; 0 at
    /// the end.
    pub(crate) fn read_some_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let left = self.len.saturating_sub(offset);
        let take = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if take > 0 {
            self.read_exact_at(offset, &mut buffer[..take])?;
        }
        Ok(take)
    }

    fn try_read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match &self.kind {
            Kind::Mapped { map, .. } if buffer.len() < BULK => {
                copy_from(map.bytes(), offset, buffer)
            }
            Kind::Mapped { file, .. } => file.file.read_exact_at(buffer, offset),
            Kind::Memory(bytes) => copy_from(bytes, offset, buffer),
            Kind::File(file) => file.file.read_exact_at(buffer, offset),
            Kind::Kept(kept) => kept.read(offset, buffer),
            Kind::Path { path, .. } => File::open(path)?.read_exact_at(buffer, offset),
        }
    }

    /// Visits `len` bytes from `offset` in order, in chunks of at most 256 KiB.
    ///
    /// # Errors
    ///
    /// The visitor's, which ends the walk; else as
    /// [`read_exact_at`](Self::read_exact_at).
    pub fn visit_chunks(
        &self,
        offset: u64,
        len: u64,
        visit: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        match &self.kind {
            Kind::Memory(bytes) => {
                let bytes = range_of(bytes, offset, len).map_err(|e| self.read_error(e))?;
                bytes.chunks(CHUNK).try_for_each(visit)
            }
            Kind::Mapped { file, .. } | Kind::File(file) => {
                self.visit_by_reads(offset, len, visit, &|at, buf| file.file.read_exact_at(buf, at))
            }
            Kind::Kept(kept) => {
                self.visit_by_reads(offset, len, visit, &|at, buf| kept.read(at, buf))
            }
            Kind::Path { path, .. } => {
                let file = File::open(path).map_err(|e| self.read_error(e))?;
                self.visit_by_reads(offset, len, visit, &|at, buf| file.read_exact_at(buf, at))
            }
        }
    }

    fn visit_by_reads(
        &self,
        mut offset: u64,
        len: u64,
        visit: &mut dyn FnMut(&[u8]) -> Result<()>,
        read: &dyn Fn(u64, &mut [u8]) -> io::Result<()>,
    ) -> Result<()> {
        let mut left = len;
        let mut buffer = vec![0; CHUNK.min(usize::try_from(len).unwrap_or(CHUNK))];
        while left > 0 {
            let take = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            read(offset, &mut buffer[..take]).map_err(|e| self.read_error(e))?;
            visit(&buffer[..take])?;
            offset += take as u64;
            left -= take as u64;
        }
        Ok(())
    }

    fn read_error(&self, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Error::new(Code::InputChanged, "the file became shorter while it was read")
                .in_archive(&self.label)
                .caused_by(error);
        }
        if error.kind() == io::ErrorKind::Unsupported {
            return Error::new(Code::LimitKept, error.to_string()).in_archive(&self.label);
        }
        Error::io(&self.label, error)
    }
}

/// An open file and what it looked like then.
#[derive(Debug)]
pub(crate) struct Opened {
    file: File,
    stamp: Stamp,
}

#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
}

impl Opened {
    pub(crate) fn new(file: File) -> io::Result<Opened> {
        let stamp = Stamp::of(&file.metadata()?);
        Ok(Opened { file, stamp })
    }

    /// As [`Source::check_unchanged`].
    pub(crate) fn check_unchanged(&self, label: &str) -> Result<()> {
        self.stamp.check(self.file.metadata(), label)
    }

    /// What came of reading the file, unless it changed meanwhile: then
    /// neither a result nor another error means anything.
    pub(crate) fn unless_changed<T>(&self, label: &str, done: Result<T>) -> Result<T> {
        // Stopped by the caller, who has no use for another reason.
        if !matches!(&done, Err(error) if error.code() == Code::Interrupted) {
            self.check_unchanged(label)?;
        }
        done
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp { len: metadata.len(), modified: metadata.modified().ok() }
    }

    fn check(&self, now: io::Result<Metadata>, label: &str) -> Result<()> {
        if Stamp::of(&now.map_err(|e| Error::io(label, e))?) == *self {
            return Ok(());
        }
        Err(Error::new(Code::InputChanged, "the file was written to while it was read")
            .in_archive(label))
    }
}

fn range_of(bytes: &[u8], offset: u64, len: u64) -> io::Result<&[u8]> {
    let start = usize::try_from(offset).ok();
    let end = offset.checked_add(len).and_then(|end| usize::try_from(end).ok());
    start
        .zip(end)
        .and_then(|(start, end)| bytes.get(start..end))
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn copy_from(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    buffer.copy_from_slice(range_of(bytes, offset, buffer.len() as u64)?);
    Ok(())
}

/// A piece of a [`Source`].
#[derive(Clone, Debug)]
pub struct Span {
    /// Where the bytes are.
    pub source: Arc<Source>,
    /// Bytes from the start of the source.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

impl Span {
    /// The span without its first bytes.
    pub(crate) fn behind(&self, bytes: u64) -> Span {
        let bytes = bytes.min(self.len);
        Span { offset: self.offset + bytes, len: self.len - bytes, ..self.clone() }
    }

    /// Reads the whole span into memory. The caller has checked the length.
    pub(crate) fn read(&self) -> Result<Vec<u8>> {
        self.source.read_vec(self.offset, self.len)
    }

    /// Visits the span's bytes in order, as [`Source::visit_chunks`].
    ///
    /// # Errors
    ///
    /// As [`Source::visit_chunks`].
    pub fn visit_chunks(&self, visit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.source.visit_chunks(self.offset, self.len, visit)
    }

    /// A sequential reader over the span's bytes.
    #[must_use]
    pub fn reader(&self) -> SpanReader {
        SpanReader::new(self.clone())
    }
}

/// Opens a regular file for reading by label.
pub(crate) fn open_file(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::io(path, e))
}
