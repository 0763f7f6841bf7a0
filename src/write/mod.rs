//! The one writer: executes a plan to a file or a pipe.
//!
//! A file appears whole or not at all: the bytes go to a temporary file beside
//! it, are synced, and take the name in one step. The size is known before the
//! first byte, so a disk too full is said before it is touched.

mod atomic;
mod copy;

use std::io::{self, Write};
use std::path::Path;

use crate::archive::Archive;
use crate::compress::{Codec, Compression, Encoder};
use crate::error::{Code, Error, Result};
use crate::plan::Plan;
use crate::progress::{Progress, advance};
use atomic::Destination;
pub use copy::Method;

/// How to write.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WriteOptions {
    /// How the output as a whole is compressed.
    pub codec: Codec,
    /// Whether an existing file is replaced.
    pub force: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// Bytes of the output, compressed.
    pub bytes: u64,
    /// How the bulk of them got there.
    pub method: Method,
}

impl Plan {
    /// Writes the output as a file, whole or not at all.
    ///
    /// `inputs` are the archives the plan's bytes come from; the file must be
    /// none of them, and they must not have changed when it is done.
    ///
    /// # Errors
    ///
    /// `E_OUT_EXISTS` without `force`, `E_OUT_SAME`, `E_NO_SPACE` before the
    /// first byte, `E_INPUT_CHANGED`, `E_INTERRUPTED`, `E_IO`. After an error the
    /// path is what it was before.
    pub fn write_to(
        &self,
        path: impl AsRef<Path>,
        inputs: &[&Archive],
        options: &WriteOptions,
        progress: &dyn Progress,
    ) -> Result<Written> {
        let plain = options.codec.compression == Compression::None;
        let size = plain.then_some(self.len());
        let output = Destination::open(path.as_ref(), inputs, options.force, size)?;
        progress.begin(self.len());
        let method = if plain {
            copy::pieces(self, output.file(), progress).map_err(|e| output.write_error(e))?
        } else {
            self.compress(
                &mut io::BufWriter::with_capacity(1 << 20, output.file()),
                options.codec,
                progress,
            )
            .map_err(|e| output.write_error(e))?;
            Method::Compressed
        };
        for input in inputs {
            input.check_unchanged()?;
        }
        let bytes = output.finish()?;
        Ok(Written { bytes, method })
    }

    /// Writes the output to a pipe or any other writer.
    ///
    /// # Errors
    ///
    /// `E_IO` when the writer fails, `E_INPUT_CHANGED`, `E_INTERRUPTED`. What
    /// was written until then is not an archive.
    pub fn write_stream(
        &self,
        output: &mut dyn Write,
        options: &WriteOptions,
        progress: &dyn Progress,
    ) -> Result<Written> {
        progress.begin(self.len());
        let mut counted = Counted { inner: output, bytes: 0 };
        self.compress(&mut counted, options.codec, progress)?;
        let plain = options.codec.compression == Compression::None;
        let method = if plain { Method::Copy } else { Method::Compressed };
        Ok(Written { bytes: counted.bytes, method })
    }

    fn compress(
        &self,
        output: &mut dyn Write,
        codec: Codec,
        progress: &dyn Progress,
    ) -> Result<()> {
        let failed = |e: io::Error| Error::new(Code::Io, format!("cannot write: {e}")).caused_by(e);
        let mut encoder = Encoder::new(codec, output)?;
        self.visit(&mut |bytes| {
            encoder.write_all(bytes).map_err(failed)?;
            advance(progress, bytes.len() as u64)
        })?;
        encoder.finish().and_then(|output| output.flush()).map_err(failed)
    }
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
