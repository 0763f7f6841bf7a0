//! Compression of a whole output.

use std::io::{self, Write};

use flate2::write::GzEncoder;

use crate::compress::{Codec, Compression};
use crate::error::{Code, Error, Result};

/// Bytes gzip is given at once.
const BLOCK: usize = 64 << 10;

/// A compressing writer that must be finished: a stream that is not stays
/// unreadable, which is what a failed run wants.
pub(crate) enum Encoder<W: Write> {
    None(W),
    Gzip(Blocks<W>),
    Zstd(zstd::Encoder<'static, W>),
    #[cfg(feature = "xz")]
    Xz(liblzma::write::XzEncoder<W>),
    #[cfg(feature = "bzip2")]
    Bzip2(bzip2::write::BzEncoder<W>),
}

impl<W: Write> Encoder<W> {
    pub(crate) fn new(codec: Codec, output: W) -> Result<Self> {
        Ok(match codec.compression {
            Compression::None => Encoder::None(output),
            Compression::Gzip => {
                let level = flate2::Compression::new(codec.level.unwrap_or(6));
                Encoder::Gzip(Blocks { encoder: GzEncoder::new(output, level), block: Vec::new() })
            }
            Compression::Zstd => {
                let level = i32::try_from(codec.level.unwrap_or(3)).unwrap_or(3);
                let start = || -> io::Result<_> {
                    let mut encoder = zstd::Encoder::new(output, level)?;
                    encoder.include_checksum(true)?;
                    // With at least one worker the bytes do not depend on how many.
                    encoder.multithread(1)?;
                    Ok(encoder)
                };
                Encoder::Zstd(start().map_err(|e| {
                    Error::new(Code::Io, "cannot start the zstd encoder").caused_by(e)
                })?)
            }
            #[cfg(feature = "xz")]
            Compression::Xz => {
                Encoder::Xz(liblzma::write::XzEncoder::new(output, codec.level.unwrap_or(6)))
            }
            #[cfg(feature = "bzip2")]
            Compression::Bzip2 => {
                let level = bzip2::Compression::new(codec.level.unwrap_or(9));
                Encoder::Bzip2(bzip2::write::BzEncoder::new(output, level))
            }
            #[cfg(not(all(feature = "xz", feature = "bzip2")))]
            other => {
                return Err(Error::new(Code::Usage, format!("this build does not write {other}")));
            }
        })
    }

    /// Ends the stream and gives the writer below back.
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Encoder::None(output) => Ok(output),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
            #[cfg(feature = "xz")]
            Encoder::Xz(encoder) => encoder.finish(),
            #[cfg(feature = "bzip2")]
            Encoder::Bzip2(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Encoder::None(output) => output.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Zstd(encoder) => encoder.write(bytes),
            #[cfg(feature = "xz")]
            Encoder::Xz(encoder) => encoder.write(bytes),
            #[cfg(feature = "bzip2")]
            Encoder::Bzip2(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Encoder::None(output) => output.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Zstd(encoder) => encoder.flush(),
            #[cfg(feature = "xz")]
            Encoder::Xz(encoder) => encoder.flush(),
            #[cfg(feature = "bzip2")]
            Encoder::Bzip2(encoder) => encoder.flush(),
        }
    }
}

/// Gzip in blocks of one size: what comes out would else depend on how the
/// bytes happened to come in, and a pipe would give other bytes than a file.
pub(crate) struct Blocks<W: Write> {
    encoder: GzEncoder<W>,
    block: Vec<u8>,
}

impl<W: Write> Blocks<W> {
    fn push(&mut self) -> io::Result<()> {
        self.encoder.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        self.push()?;
        self.encoder.finish()
    }
}

impl<W: Write> Write for Blocks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let take = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..take]);
        if self.block.len() == BLOCK {
            self.push()?;
        }
        Ok(take)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()?;
        self.encoder.flush()
    }
}
