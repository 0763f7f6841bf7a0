//! Opening: a mapped file, a directory, or a stream that is unpacked first.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::Archive;
use crate::archive::store::{Directory, Store, Tar};
use crate::compress::{Compression, Decoder, decode_error};
use crate::diagnostics::Diagnostics;
use crate::error::{Code, Error, Result};
use crate::limits::Limits;
use crate::source::{Kept, MapChoice, Source, open_file};
use crate::tarball::scan::{Input, Scanner, Step};
use crate::tarball::{End, Kind, TarIndex};

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
    limits: Limits,
    tmpdir: Option<PathBuf>,
}

impl OpenOptions {
    /// The defaults: everything can be read, files are mapped.
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

    /// Says whether files are mapped.
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
    /// As [`Archive::open`].
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Archive> {
        let path = path.as_ref();
        let label = path.display().to_string();
        let file = open_file(path)?;
        let kind = file.metadata().map_err(|e| Error::io(path, e))?;
        let origin = (kind.dev(), kind.ino());
        let mut archive = self.open_file(path, label, file, &kind)?;
        archive.origin = Some(origin);
        Ok(archive)
    }

    fn open_file(
        &self,
        path: &Path,
        label: String,
        file: File,
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
                Ok(self.archive(label, Compression::None, source))
            }
            _ => self.open_stream(label, file),
        }
    }

    /// Opens what a reader gives: a pipe, standard input. Compression is told
    /// by its first bytes.
    ///
    /// # Errors
    ///
    /// As [`Archive::open`]; `E_DECOMP_CORRUPT` and limits of the archive's own
    /// compression, and `E_LIMIT_JSON` when [`Access::Metadata`] would have to
    /// keep more than [`Limits::kept`].
    pub fn open_stream(&self, label: impl Into<String>, mut input: impl Read) -> Result<Archive> {
        let label = label.into();
        let fail = |error: Error| error.in_archive(label.clone());
        let mut head = Vec::with_capacity(Compression::SNIFF_LEN);
        let read = input.by_ref().take(Compression::SNIFF_LEN as u64).read_to_end(&mut head);
        read.map_err(|e| Error::io(&label, e))?;
        let compression = Compression::sniff(&head);
        let whole = io::Cursor::new(head).chain(input);
        let mut stream = Decoder::new(compression, whole, &self.limits).map_err(fail)?;
        if self.access == Access::Whole {
            let file = self.spool(&mut stream).map_err(fail)?;
            let source = Source::file(label.clone(), file, self.map)?;
            return Ok(self.archive(label, compression, source));
        }
        let mut findings = Diagnostics::default();
        let tar = self.keep(&label, stream, &mut findings).map_err(fail)?;
        Ok(Archive::read(label, compression, Store::Tar(tar), self.limits.clone(), findings))
    }

    /// Opens bytes that are in memory already, plain or compressed. Compression
    /// is told by the first bytes; what it unpacks to is treated as
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
                Ok(self.archive(label, Compression::None, source))
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
    ) -> Archive {
        let mut findings = Diagnostics::default();
        let index = TarIndex::scan(&source, &self.limits, &mut findings);
        index.check_names(&source, &mut findings);
        let store = Store::Tar(Tar { source: Arc::new(source), index });
        Archive::read(label, compression, store, self.limits.clone(), findings)
    }

    /// Unpacks a stream into a file that has no name and is gone with its handle.
    fn spool(&self, stream: &mut dyn Read) -> Result<File> {
        let folder = self.tmpdir.clone().unwrap_or_else(std::env::temp_dir);
        let mut file = tempfile::tempfile_in(&folder).map_err(|e| Error::io(&folder, e))?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let got = stream.read(&mut buffer).map_err(decode_error)?;
            if got == 0 {
                break;
            }
            file.write_all(&buffer[..got]).map_err(|e| Error::io(&folder, e))?;
        }
        file.seek(SeekFrom::Start(0)).map_err(|e| Error::io(&folder, e))?;
        Ok(file)
    }

    /// Reads a stream to its end and keeps the members that are JSON.
    fn keep(&self, label: &str, stream: impl Read, findings: &mut Diagnostics) -> Result<Tar> {
        let mut input = Forward::new(stream);
        let mut scanner = Scanner::new(&self.limits);
        let mut members = Vec::new();
        let mut kept = Kept::default();
        let mut left = self.limits.kept;
        let end = loop {
            match scanner.step(&mut input, findings) {
                Ok(Step::End(end)) => break end,
                Err(error) => {
                    findings.fatal(error);
                    break End::damaged(&members);
                }
                Ok(Step::Member(member)) => {
                    if member.kind == Kind::File && member.size <= self.limits.control_file {
                        let mut first = [0];
                        let looks =
                            input.read_at(member.body, &mut first)? == 1 && is_json_start(first[0]);
                        if looks && member.size > 0 {
                            left = left.checked_sub(member.size).ok_or_else(|| {
                                let limit = self.limits.kept;
                                Error::new(
                                    Code::LimitJson,
                                    format!("more than {limit} bytes of JSON in a stream"),
                                )
                                .hint("unpack the archive to a file first")
                            })?;
                            let mut body =
                                vec![0; usize::try_from(member.size).unwrap_or(usize::MAX)];
                            body[0] = first[0];
                            let got = input.read_at(member.body + 1, &mut body[1..])?;
                            body.truncate(got + 1);
                            kept.push(member.body, body);
                        }
                    }
                    members.push(member);
                }
            }
        };
        input.drain()?;
        let source = Source::kept(label, kept, input.position);
        let index = TarIndex::new(members, end);
        index.check_names(&source, findings);
        Ok(Tar { source: Arc::new(source), index })
    }
}

/// JSON starts with one of these; tar headers, gzip and zstd layers do not.
fn is_json_start(byte: u8) -> bool {
    matches!(byte, b'{' | b'[' | b' ' | b'\n' | b'\r' | b'\t' | b'n')
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

/// A stream as input of a scan: offsets only go up.
struct Forward<R> {
    stream: R,
    position: u64,
    ended: bool,
}

impl<R: Read> Forward<R> {
    fn new(stream: R) -> Self {
        Forward { stream, position: 0, ended: false }
    }

    /// Reads until the buffer is full or the stream ends.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut got = 0;
        while got < buffer.len() && !self.ended {
            match self.stream.read(&mut buffer[got..]) {
                Ok(0) => self.ended = true,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(decode_error(e)),
            }
        }
        self.position += got as u64;
        Ok(got)
    }

    fn skip_to(&mut self, offset: u64) -> Result<()> {
        let mut buffer = vec![0; 128 << 10];
        while self.position < offset && !self.ended {
            let left = offset - self.position;
            let take = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.fill(&mut buffer[..take])?;
        }
        Ok(())
    }

    /// Reads to the end: a compressed stream is only known to be sound there,
    /// and a writer at the other end of a pipe wants to finish.
    fn drain(&mut self) -> Result<()> {
        self.skip_to(u64::MAX)
    }
}

impl<R: Read> Input for Forward<R> {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.skip_to(offset)?;
        if self.position < offset {
            return Ok(0);
        }
        self.fill(buffer)
    }

    fn known_len(&self) -> Option<u64> {
        self.ended.then_some(self.position)
    }
}
