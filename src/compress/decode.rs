//! Decompression with caps.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use crate::compress::Compression;
use crate::error::{Code, Error, Result};
use crate::limits::{Limit, Limits};

/// Bytes read from below at once.
const BUFFER: usize = 128 << 10;

/// A decompressing reader that ends where the whole stream ends, and fails
/// when that yields more than [`Limits::unpacked`] bytes.
pub(crate) struct Decoder<R: Read> {
    inner: Inner<R>,
    left: u64,
    limits: Limits,
    /// What ended the stream. No decoder is read on behind its own error: the
    /// one of bzip2 aborts the process then.
    failed: Option<Error>,
}

enum Inner<R: Read> {
    None(BufReader<Patient<R>>),
    Gzip(Box<MultiGzDecoder<BufReader<Patient<R>>>>),
    Zstd(zstd::Decoder<'static, BufReader<Patient<R>>>),
    #[cfg(feature = "xz")]
    Xz(liblzma::bufread::XzDecoder<BufReader<Patient<R>>>),
    #[cfg(feature = "bzip2")]
    Bzip2(bzip2::bufread::MultiBzDecoder<BufReader<Patient<R>>>),
}

/// Reads again when a signal came between; not every decoder does.
struct Patient<R>(R);

impl<R: Read> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

impl<R: Read> Decoder<R> {
    pub(crate) fn new(compression: Compression, input: R, limits: &Limits) -> Result<Self> {
        let input = BufReader::with_capacity(BUFFER, Patient(input));
        let inner = match compression {
            Compression::None => Inner::None(input),
            Compression::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(input))),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input).map_err(decode_error)?;
                decoder.window_log_max(limits.zstd_window_log).map_err(decode_error)?;
                Inner::Zstd(decoder)
            }
            #[cfg(feature = "xz")]
            Compression::Xz => Inner::Xz(liblzma::bufread::XzDecoder::new_multi_decoder(input)),
            #[cfg(feature = "bzip2")]
            Compression::Bzip2 => Inner::Bzip2(bzip2::bufread::MultiBzDecoder::new(input)),
            #[cfg(not(all(feature = "xz", feature = "bzip2")))]
            other => {
                return Err(Error::new(Code::Format, format!("this build does not read {other}"))
                    .hint(format!("build with the feature `{other}`")));
            }
        };
        Ok(Decoder { inner, left: limits.unpacked, limits: limits.clone(), failed: None })
    }

    fn decode(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = match &mut self.inner {
            Inner::None(reader) => reader.read(buffer),
            Inner::Gzip(reader) => reader.read(buffer),
            Inner::Zstd(reader) => reader.read(buffer),
            #[cfg(feature = "xz")]
            Inner::Xz(reader) => reader.read(buffer),
            #[cfg(feature = "bzip2")]
            Inner::Bzip2(reader) => reader.read(buffer),
        }?;
        let left = self.left.checked_sub(got as u64);
        self.left = left.ok_or_else(|| io::Error::other(self.limits.exceeded(Limit::Unpacked)))?;
        Ok(got)
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(io::Error::other(error.clone()));
        }
        self.decode(buffer).map_err(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            let error = match decode_error(error) {
                error if error.code() == Code::LimitWindow => {
                    self.limits.exceeded(Limit::ZstdWindowLog)
                }
                error => error,
            };
            self.failed = Some(error.clone());
            io::Error::other(error)
        })
    }
}

/// What a failed read of a [`Decoder`] means.
pub(crate) fn decode_error(error: io::Error) -> Error {
    if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        let inner = error.into_inner().map(|inner| inner.downcast::<Error>());
        return match inner {
            Some(Ok(ours)) => *ours,
            _ => Error::new(Code::DecompCorrupt, "the compressed stream is damaged"),
        };
    }
    if error.raw_os_error().is_some() {
        return Error::new(Code::Io, error.to_string()).caused_by(error);
    }
    let text = error.to_string();
    if text.contains("too much memory") {
        return Error::new(Code::LimitWindow, "a zstd window larger than the limit")
            .caused_by(error);
    }
    if text.contains("not enough memory") {
        return Error::new(Code::LimitMemory, "the system gave no memory to decompress with")
            .hint("--jobs 1 needs less")
            .caused_by(error);
    }
    let message = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the compressed stream is cut short".to_owned(),
        _ => format!("the compressed stream is damaged ({text})"),
    };
    Error::new(Code::DecompCorrupt, message).caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(compression: Compression, bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, Code> {
        let mut out = Vec::new();
        let mut decoder = Decoder::new(compression, bytes, limits).map_err(|e| e.code())?;
        decoder.read_to_end(&mut out).map_err(|e| decode_error(e).code())?;
        Ok(out)
    }

    #[test]
    fn streams_decode_to_their_very_end() {
        let limits = Limits::default();
        let zst = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec();
        let cut = |mut bytes: Vec<u8>| {
            bytes.pop();
            bytes
        };
        let gz = Compression::Gzip;
        let zs = Compression::Zstd;
        type Row = (Compression, Vec<u8>, Result<&'static [u8], Code>);
        let rows: Vec<Row> = vec![
            (gz, gzip(b"a"), Ok(b"a")),
            (gz, [gzip(b"a"), gzip(b"b")].concat(), Ok(b"ab")),
            (gz, [gzip(b""), gzip(b"b")].concat(), Ok(b"b")),
            (gz, [gzip(b"a"), b"GARBAGE!".to_vec()].concat(), Err(Code::DecompCorrupt)),
            (gz, [gzip(b"a"), vec![0; 512]].concat(), Err(Code::DecompCorrupt)),
            (gz, cut(gzip(b"a")), Err(Code::DecompCorrupt)),
            (zs, [zst(b"a"), zst(b"b")].concat(), Ok(b"ab")),
            (zs, [skippable.clone(), zst(b"b"), skippable].concat(), Ok(b"b")),
            (zs, cut(zst(b"abc")), Err(Code::DecompCorrupt)),
            (zs, [zst(b"a"), b"GARBAGE!".to_vec()].concat(), Err(Code::DecompCorrupt)),
        ];
        for (i, (compression, bytes, want)) in rows.into_iter().enumerate() {
            let got = decoded(compression, &bytes, &limits);
            assert_eq!(got.as_deref().map_err(|c| *c), want, "row {i}");
        }
    }

    #[test]
    fn more_than_the_limit_is_an_error() {
        let limits = Limits { unpacked: 1000, ..Limits::default() };
        let got = decoded(Compression::Gzip, &gzip(&[0; 1001]), &limits);
        assert_eq!(got, Err(Code::LimitUnpacked));
        let got = decoded(Compression::Gzip, &gzip(&[0; 1000]), &limits);
        assert_eq!(got.map(|b| b.len()), Ok(1000));
    }
}
