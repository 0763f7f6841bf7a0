//! Opening: a file, a directory, or a stream that is unpacked first.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::store::{Directory, Store, Tar};
use crate::archive::stream;
use crate::archive::{Archive, Origin};
use crate::compress::{Compression, Decoder, read_ahead};
use crate::diagnostics::Diagnostics;
use crate::error::{Code, Error, Result};
use crate::limits::Limits;
use crate::source::{MapChoice, Opened, Source, Window, open_file, settled};
use crate::tarball::{TarIndex, equal_bodies};

/// What the caller will read of an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Anything. A compressed file or a pipe is first unpacked into an unlinked
    /// temporary file.
    #[default]
    Whole,
    /// Names, manifests and configurations only: of a compressed file or a pipe
    /// the JSON members are kept in memory and nothing is written to disk.
    Metadata,
}

/// How to open an archive.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    access: Access,
    map: MapChoice,
    pub(crate) limits: Limits,
    pub(crate) tmpdir: Option<PathBuf>,
}

impl OpenOptions {
    /// The defaults: everything can be read, no file of others is mapped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what will be read.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Says which files are mapped.
    #[must_use]
    pub fn map(mut self, map: MapChoice) -> Self {
        self.map = map;
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the folder of temporary files; the system's by default.
    #[must_use]
    pub fn tmpdir(mut self, folder: Option<PathBuf>) -> Self {
        self.tmpdir = folder;
        self
    }

    /// Opens a file, or an OCI layout directory.
    ///
    /// # Errors
    ///
    /// As [`Archive::open`]; `E_JOURNAL` when an edit in place of the file was
    /// cut short (see [`recover`](crate::write::recover)).
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Archive> {
        let path = path.as_ref();
        let label = path.display().to_string();
        let file = open_file(path)?;
        let kind = file.metadata().map_err(|e| Error::io(path, e))?;
        if kind.is_file() {
            settled::check(path)?;
        }
        let origin = Origin::of(path).map_err(|e| Error::io(path, e))?;
        let mut archive = if kind.is_file() {
            let fail = |e| Error::io(path, e);
            let watch = file.try_clone().and_then(Opened::new).map_err(fail)?;
            let archive = self.open_file(path, label.clone(), file, &kind);
            watch.unless_changed(&label, archive)?
        } else {
            self.open_file(path, label, file, &kind)?
        };
        archive.origin = origin;
        Ok(archive)
    }

    fn open_file(
        &self,
        path: &Path,
        label: String,
        mut file: File,
        kind: &Metadata,
    ) -> Result<Archive> {
        if kind.is_dir() {
            let mut findings = Diagnostics::default();
            let directory = Directory::open(path, &self.limits, &mut findings)?;
            let store = Store::Directory(directory);
            return Ok(Archive::read(
                label,
                Compression::None,
                store,
                self.limits.clone(),
                findings,
            ));
        }
        if !kind.is_file() {
            return self.open_stream(label, file);
        }
        let mut head = [0; Compression::SNIFF_LEN];
        let got = read_head(&file, &mut head).map_err(|e| Error::io(path, e))?;
        match Compression::sniff(&head[..got]) {
            Compression::None => {
                let source = Source::file(label.clone(), file, self.map)?;
                self.archive(label, Compression::None, source)
            }
            _ => match self.open_ahead(label.clone(), &file, true) {
                // Too much to keep: this one can be read again, into a file.
                Err(error) if error.code() == Code::LimitKept => {
                    file.rewind().map_err(|e| Error::io(path, e))?;
                    self.clone().access(Access::Whole).open_ahead(label, file, true)
                }
                opened => opened,
            },
        }
    }

    /// Opens what a reader gives: a pipe, standard input. Compression is told
    /// by its first bytes.
    ///
    /// # Errors
    ///
    /// As [`Archive::open`]; `E_DECOMP_CORRUPT` and limits of the archive's own
    /// compression, and `E_LIMIT_KEPT` when [`Access::Metadata`] would have to
    /// keep more than [`Limits::kept`].
    pub fn open_stream(
        &self,
        label: impl Into<String>,
        input: impl Read + Send,
    ) -> Result<Archive> {
        self.open_ahead(label.into(), input, false)
    }

    /// As [`open_stream`](Self::open_stream), of what never keeps a reader waiting
    /// when it is `ahead`.
    fn open_ahead(
        &self,
        label: String,
        mut input: impl Read + Send,
        ahead: bool,
    ) -> Result<Archive> {
        let fail = |error: Error| error.in_archive(label.clone());
        let (compression, head) =
            Compression::read_head(&mut input).map_err(|e| Error::io(&label, e))?;
        let skippable_first = compression == Compression::Zstd && head[0] != 0x28;
        let whole = io::Cursor::new(head).chain(input);
        let stream = Decoder::new(compression, whole, &self.limits).map_err(fail)?;
        if self.access == Access::Whole {
            let mut findings = Diagnostics::default();
            let spooled = read_ahead(ahead, stream, |stream| {
                stream::spool(stream, &self.limits, self.tmpdir.clone(), &mut findings)
            });
            let (file, index) = spooled.map_err(fail)?;
            let source = Source::own_file(label.clone(), file, self.map)?;
            let archive = self.indexed(label, compression, source, index, findings);
            return Ok(Archive { skippable_first, ..archive });
        }
        let mut findings = Diagnostics::default();
        let tar = read_ahead(ahead, stream, |stream| {
            stream::keep(&label, stream, &self.limits, &mut findings)
        });
        let tar = tar.map_err(fail)?;
        let store = Store::Tar(tar);
        Ok(Archive::read(label, compression, store, self.limits.clone(), findings))
    }

    /// Opens bytes that are in memory already, plain or compressed. Compression
    /// is told by the first bytes; a compressed archive is treated as
    /// [`open_stream`](Self::open_stream) treats it.
    ///
    /// # Errors
    ///
    /// As [`open_stream`](Self::open_stream).
    pub fn open_bytes(
        &self,
        label: impl Into<String>,
        bytes: impl Into<Box<[u8]>>,
    ) -> Result<Archive> {
        let (label, bytes) = (label.into(), bytes.into());
        match Compression::sniff(&bytes) {
            Compression::None => {
                let source = Source::memory(label.clone(), bytes);
                self.archive(label, Compression::None, source)
            }
            _ => self.open_stream(label, &*bytes),
        }
    }

    /// An archive over a source that can be read anywhere.
    pub(crate) fn archive(
        &self,
        label: String,
        compression: Compression,
        source: Source,
    ) -> Result<Archive> {
        let mut findings = Diagnostics::default();
        let mut input = Window::new(&source);
        let index = TarIndex::scan(&mut input, &self.limits, &mut findings, |_, _| Ok(()))?;
        Ok(self.indexed(label, compression, source, index, findings))
    }

    fn indexed(
        &self,
        label: String,
        compression: Compression,
        source: Source,
        index: TarIndex,
        mut findings: Diagnostics,
    ) -> Archive {
        index.check_names(&|a, b| equal_bodies(&source, a, b), &mut findings);
        index.check_links(&mut findings);
        let store = Store::Tar(Tar { source: Arc::new(source), index });
        Archive::read(label, compression, store, self.limits.clone(), findings)
    }
}

fn read_head(file: &File, head: &mut [u8]) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;
    let mut got = 0;
    while got < head.len() {
        match file.read_at(&mut head[got..], got as u64)? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}
