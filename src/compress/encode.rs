//! Compression of a whole output.

use std::io::{self, Write};

use zstd::stream::raw::CParameter;

use crate::compress::gzip::Gzip;
use crate::compress::{Codec, Compression};
use crate::error::{Code, Error, Result};
use crate::parallel;

/// Threads that compress one stream, at most: each takes memory, and one writer
/// cannot feed more.
const MOST_THREADS: usize = 32;

/// Bytes that a thread of zstd takes at once. Its own choice is four windows,
/// which is twice as much at the usual level.
const ZSTD_JOB: u32 = 4 << 20;

/// A compressing writer that must be finished: a stream that is not stays
/// unreadable, which is what a failed run wants.
pub(crate) enum Encoder<W: Write> {
    None(W),
    Gzip(Gzip<W>),
    Zstd(zstd::Encoder<'static, W>),
    #[cfg(feature = "xz")]
    Xz(liblzma::write::XzEncoder<W>),
    #[cfg(feature = "bzip2")]
    Bzip2(bzip2::write::BzEncoder<W>),
}

impl<W: Write> Encoder<W> {
    /// Starts a stream that this many threads compress; as many as the machine
    /// has when `None`.
    pub(crate) fn new(codec: Codec, output: W, jobs: Option<usize>) -> Result<Self> {
        let jobs = jobs.unwrap_or_else(parallel::machine).min(MOST_THREADS);
        Ok(match codec.compression {
            Compression::None => Encoder::None(output),
            Compression::Gzip => {
                let gzip = Gzip::new(output, codec.level.unwrap_or(6), jobs);
                Encoder::Gzip(
                    gzip.map_err(|e| {
                        Error::new(Code::Io, format!("cannot write: {e}")).caused_by(e)
                    })?,
                )
            }
            Compression::Zstd => {
                let level = i32::try_from(codec.level.unwrap_or(3)).unwrap_or(3);
                let start = || -> io::Result<_> {
                    let mut encoder = zstd::Encoder::new(output, level)?;
                    encoder.include_checksum(true)?;
                    // With at least one worker the bytes do not depend on how many.
                    // Where there can be none they are others, but there are some.
                    if let workers @ 1.. = parallel::startable(jobs) {
                        encoder.multithread(u32::try_from(workers).unwrap_or(1))?;
                        encoder.set_parameter(CParameter::JobSize(ZSTD_JOB))?;
                    }
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

    /// Leaves the stream as it is, without its end.
    pub(crate) fn abandon(self) {
        match self {
            Encoder::None(_) | Encoder::Gzip(_) | Encoder::Zstd(_) => {}
            // These finish their stream when they are dropped.
            #[cfg(feature = "xz")]
            Encoder::Xz(encoder) => std::mem::forget(encoder),
            #[cfg(feature = "bzip2")]
            Encoder::Bzip2(encoder) => std::mem::forget(encoder),
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
