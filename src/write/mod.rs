//! The one writer: executes a plan to a file, to a pipe, or in place.
//!
//! A file appears whole or not at all: the bytes go to a file without a name
//! beside it, are synced, and get the name in one step. The size is known before the
//! first byte, so a disk too full is said before it is touched.
//!
//! In place that holds too, unless [`InPlace::Journal`] is asked for: then the
//! file itself is written to, and what it takes to go back is kept beside it
//! until that is done.

mod atomic;
mod copy;
mod in_place;
mod journal;
mod recover;
mod temporary;
mod verified;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::archive::Origin;
use crate::compress::{Codec, Compression, Encoder};
use crate::error::{Code, Error, Result};
use crate::plan::Plan;
use crate::progress::{Progress, Silent, advance};
use crate::tarball::write::file_header;
use atomic::Destination;
pub use copy::Method;
use copy::Start;
pub use in_place::{InPlace, Rewritten};
pub use recover::{Recovery, recover};

/// How to write.
#[derive(Clone, Copy)]
pub struct WriteOptions<'p> {
    pub(crate) codec: Option<Codec>,
    pub(crate) force: bool,
    pub(crate) jobs: Option<usize>,
    pub(crate) progress: &'p dyn Progress,
}

impl Default for WriteOptions<'_> {
    fn default() -> Self {
        WriteOptions { codec: None, force: false, jobs: None, progress: &Silent }
    }
}

impl<'p> WriteOptions<'p> {
    /// Compressed as the input, replacing nothing, silent.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How the output as a whole is compressed. Where this is not said a plan
    /// is written plain, and a stream as it came.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    /// Whether an existing file is replaced.
    #[must_use]
    pub fn force(mut self, yes: bool) -> Self {
        self.force = yes;
        self
    }

    /// Threads; as many as the machine has when `None`. The bytes written do not
    /// depend on it.
    #[must_use]
    pub fn jobs(mut self, jobs: Option<usize>) -> Self {
        self.jobs = jobs;
        self
    }

    /// Who hears about bytes going by, and may end the work.
    #[must_use]
    pub fn progress<'q>(self, progress: &'q dyn Progress) -> WriteOptions<'q>
    where
        'p: 'q,
    {
        WriteOptions { progress, ..self }
    }

    fn is_plain(&self) -> bool {
        self.codec.unwrap_or_default().compression == Compression::None
    }

    /// Whether an output of this path could be started when `input` is read, as
    /// far as can be said without a trace: to be asked before long work.
    ///
    /// # Errors
    ///
    /// `E_OUT_SAME`, `E_OUT_EXISTS`, `E_USAGE` for a directory, `E_IO`.
    pub fn check(&self, output: impl AsRef<Path>, input: impl AsRef<Path>) -> Result<()> {
        let origins: Vec<Origin> = Origin::of(input.as_ref()).into_iter().collect();
        atomic::resolve(output.as_ref(), &origins, self.force)?.probe()
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Bytes that were written: of the output, compressed; in place only of
    /// what differs.
    pub bytes: u64,
    /// How the bulk of the output got there.
    pub method: Method,
}

impl Plan {
    /// Writes the output as a file, whole or not at all. One that is replaced
    /// hands on its mode, access list and as far as possible owner, but neither
    /// other extended attributes nor its hard links.
    ///
    /// # Errors
    ///
    /// `E_OUT_EXISTS` without `force`, `E_OUT_SAME` when it would overwrite what
    /// the plan reads, `E_NO_SPACE` before the first byte, `E_INPUT_CHANGED`,
    /// `E_INTERRUPTED`, `E_IO`. After an error the path is what it was before.
    pub fn write_to(&self, path: impl AsRef<Path>, options: &WriteOptions<'_>) -> Result<Written> {
        self.write_into(self.destination(path.as_ref(), options)?, options)
    }

    fn destination(&self, path: &Path, options: &WriteOptions<'_>) -> Result<Destination> {
        Destination::open(path, self.origins(), options.force)
    }

    fn write_into(&self, output: Destination, options: &WriteOptions<'_>) -> Result<Written> {
        let start = self.start(&output, options)?;
        options.progress.begin(self.len());
        self.write_from(output, start, options)
    }

    /// What a new file begins as; `None` where the output is a stream.
    fn start(&self, output: &Destination, options: &WriteOptions<'_>) -> Result<Option<Start<'_>>> {
        if output.is_special() || !options.is_plain() {
            return Ok(None);
        }
        let clone = Start::clone_of(self, output.file()).map_err(|e| output.write_error(e))?;
        if let Some(clone) = clone {
            output.check_space(clone.fresh())?;
            return Ok(Some(clone));
        }
        output.check_space(self.len())?;
        Ok(Some(Start::default()))
    }

    /// Writes what is not in the output yet, and finishes it.
    fn write_from(
        &self,
        output: Destination,
        start: Option<Start<'_>>,
        options: &WriteOptions<'_>,
    ) -> Result<Written> {
        let written = match start {
            None => self.write_stream(&mut buffered(output.file()), options),
            Some(start) => {
                copy::pieces(self, output.file(), &start, options.jobs, options.progress)
            }
        };
        let written = written.map_err(|e| output.write_error(e))?;
        self.check_unchanged()?;
        output.finish()?;
        Ok(written)
    }

    /// Writes the output to a pipe or any other writer.
    ///
    /// A stream that fails half-way is made unreadable on purpose, because
    /// importers accept an archive without its end: a plain one gets the header
    /// of a member whose body never comes, a compressed one is not finished.
    ///
    /// # Errors
    ///
    /// `E_IO` when the writer fails, `E_INPUT_CHANGED`, `E_INTERRUPTED`.
    pub fn write_stream(
        &self,
        output: &mut dyn Write,
        options: &WriteOptions<'_>,
    ) -> Result<Written> {
        options.progress.begin(self.len());
        stream(output, options.codec.unwrap_or_default(), options.jobs, |outlet| {
            self.visit(&mut |bytes| {
                outlet.put(bytes)?;
                advance(options.progress, bytes.len() as u64)
            })?;
            self.check_unchanged()
        })
        .map(|((), written)| written)
    }
}

/// Fails when a folder has no room for this many bytes, as far as its file
/// system says. [`Plan::write_to`] asks for its own output.
///
/// # Errors
///
/// `E_NO_SPACE`.
pub fn check_space(folder: impl AsRef<Path>, bytes: u64) -> Result<()> {
    atomic::check_space(folder.as_ref(), bytes)
}

/// Writes a file that is no archive (a report about one), whole or not at all.
///
/// # Errors
///
/// Those of [`Plan::write_to`] that are about the output.
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8], options: &WriteOptions<'_>) -> Result<()> {
    stream_to_file(path.as_ref(), &[], options.force, |output| {
        output.write_all(bytes).and_then(|()| output.flush()).map_err(write_failed)
    })
}

/// Writes a file whole or not at all, by a function that writes a stream.
pub(crate) fn stream_to_file<T>(
    path: &Path,
    origins: &[Origin],
    force: bool,
    write: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<T> {
    let output = Destination::open(path, origins, force)?;
    let done = write(&mut buffered(output.file())).map_err(|e| output.write_error(e))?;
    output.finish()?;
    Ok(done)
}

fn buffered(file: &File) -> io::BufWriter<&File> {
    io::BufWriter::with_capacity(1 << 20, file)
}

/// Writes a stream that is whole or cannot be read.
pub(crate) fn stream<T>(
    output: &mut dyn Write,
    codec: Codec,
    jobs: Option<usize>,
    write: impl FnOnce(&mut Outlet<'_>) -> Result<T>,
) -> Result<(T, Written)> {
    let mut counted = Counted { inner: output, bytes: 0 };
    let encoder = Encoder::new(codec, &mut counted as &mut dyn Write, jobs)?;
    let done = encode(encoder, write)?;
    let plain = codec.compression == Compression::None;
    let method = if plain { Method::Copy } else { Method::Compressed };
    Ok((done, Written { bytes: counted.bytes, method }))
}

fn encode<T>(
    encoder: Encoder<&mut dyn Write>,
    write: impl FnOnce(&mut Outlet<'_>) -> Result<T>,
) -> Result<T> {
    let mut outlet = Outlet { encoder, started: false };
    match write(&mut outlet) {
        Ok(done) => {
            let finished = outlet.encoder.finish().and_then(|output| output.flush());
            finished.map_err(write_failed)?;
            Ok(done)
        }
        Err(error) => {
            if outlet.started {
                // What comes of these writes no longer matters.
                let _ = outlet.put(&aborted()).map(|()| outlet.encoder.flush());
            }
            outlet.encoder.abandon();
            Err(error)
        }
    }
}

/// A stream being written.
pub(crate) struct Outlet<'w> {
    encoder: Encoder<&'w mut dyn Write>,
    /// Whether anything has been written, which must then not look whole.
    started: bool,
}

impl Outlet<'_> {
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.started |= !bytes.is_empty();
        self.encoder.write_all(bytes).map_err(write_failed)
    }
}

/// The header of a member that will have no body.
fn aborted() -> Vec<u8> {
    file_header(".ocitar-aborted", 512, 0).unwrap_or_default()
}

fn write_failed(error: io::Error) -> Error {
    let code = match error.kind() {
        // zstd says so when it is to write for the first time.
        _ if error.to_string().contains("not enough memory") => Code::LimitMemory,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::NoSpace,
        _ => Code::Io,
    };
    Error::new(code, format!("cannot write: {error}")).caused_by(error)
}

struct Counted<'a> {
    inner: &'a mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wrote = self.inner.write(bytes)?;
        self.bytes += wrote as u64;
        Ok(wrote)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
