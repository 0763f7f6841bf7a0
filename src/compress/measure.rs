//! One reading of bytes: hashed, and hashed again as what they decompress to.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use crate::compress::{Compression, Decoder, decode_error};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Code, Result};
use crate::limits::Limits;
use crate::progress::{Progress, advance};
use crate::source::Span;
use crate::tarball::layer::{LayerReport, LayerScan};

/// Bytes read and decompressed at once: stays in the second-level cache while
/// hashed.
const BUFFER: usize = 256 << 10;

/// The largest zstd window, 8 MiB, that decoders on several threads may have at
/// once: what `zstd -19` writes; more takes `--ultra` or `--long`.
const USUAL_WINDOW_LOG: u32 = 23;

/// What one reading of a file's bytes found.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) compression: Compression,
    raw: Vec<(Algorithm, Digest)>,
    /// The sha256 of the content, where the file is compressed.
    pub(crate) unpacked: Option<Result<Digest>>,
    /// What the content is as a layer, where that was wanted and it is sound.
    pub(crate) layer: Option<LayerReport>,
}

/// Which facts are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) algorithms: Vec<Algorithm>,
    /// The digest of the content, too.
    pub(crate) content: bool,
    /// Whether the content is a tar, too.
    pub(crate) layer: bool,
}

/// Reads bytes to their end, once, hashing them and what they decompress to.
///
/// # Errors
///
/// Those of reading. That a compressed stream is damaged is a fact, and the
/// rest of the bytes is hashed all the same.
pub(crate) fn measure(
    reader: impl Read,
    wanted: &Wanted,
    limits: &Limits,
    progress: &dyn Progress,
) -> Result<Facts> {
    let hashers = wanted.algorithms.iter().map(|a| (*a, Hasher::new(*a))).collect();
    let mut input = Tee { reader, hashers, progress };
    let (compression, head) = Compression::read_head(&mut input).map_err(decode_error)?;
    let mut unpacked = None;
    let mut layer = wanted.layer.then(LayerScan::new);
    if wanted.content && compression != Compression::None {
        let whole = io::Cursor::new(head).chain(&mut input);
        unpacked = match hash_unpacked(whole, compression, limits, layer.as_mut()) {
            Err(e) if matches!(e.code(), Code::Interrupted | Code::Io | Code::InputChanged) => {
                return Err(e);
            }
            hashed => Some(hashed),
        };
        if matches!(unpacked, Some(Err(_))) {
            layer = None;
        }
    } else if let Some(layer) = layer.as_mut() {
        layer.push(&head, &mut |_| ());
    }
    let mut rest = vec![0; BUFFER];
    loop {
        let got = input.read(&mut rest).map_err(decode_error)?;
        match layer.as_mut().filter(|_| unpacked.is_none()) {
            _ if got == 0 => break,
            Some(layer) => layer.push(&rest[..got], &mut |_| ()),
            None => {}
        }
    }
    let raw = input.hashers.into_iter().map(|(a, hasher)| (a, hasher.finish())).collect();
    Ok(Facts { compression, raw, unpacked, layer: layer.map(LayerScan::finish) })
}

/// As [`measure`], of what can be read twice and is by several threads.
///
/// A zstd window is memory for as long as the stream is read, and who writes a
/// stream says how much. So large windows wait for each other: a stream that
/// turns out to have one is read again when it is its turn.
pub(crate) fn measure_span(
    span: &Span,
    wanted: &Wanted,
    limits: &Limits,
    progress: &dyn Progress,
) -> Result<Facts> {
    static TURN: Mutex<()> = Mutex::new(());
    let zstd_window_log = limits.zstd_window_log.min(USUAL_WINDOW_LOG);
    let usual = Limits { zstd_window_log, ..limits.clone() };
    let facts = measure(span.reader(), wanted, &usual, progress)?;
    let is_large = matches!(&facts.unpacked, Some(Err(e)) if e.code() == Code::LimitWindow);
    if !is_large || usual == *limits {
        return Ok(facts);
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    measure(span.reader(), wanted, limits, &Again(progress))
}

/// The progress of a second reading, whose bytes were counted.
struct Again<'p>(&'p dyn Progress);

impl Progress for Again<'_> {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl Facts {
    /// The digest of the bytes themselves, of a kind that was wanted.
    pub(crate) fn raw(&self, algorithm: Algorithm) -> Option<Digest> {
        self.raw.iter().find(|(found, _)| *found == algorithm).map(|(_, digest)| *digest)
    }
}

/// Decompresses to the very end.
fn hash_unpacked(
    input: impl Read,
    compression: Compression,
    limits: &Limits,
    mut layer: Option<&mut LayerScan>,
) -> Result<Digest> {
    let mut decoder = Decoder::new(compression, input, limits)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; BUFFER];
    loop {
        match decoder.read(&mut buffer).map_err(decode_error)? {
            0 => return Ok(hasher.finish()),
            got => {
                hasher.update(&buffer[..got]);
                if let Some(layer) = layer.as_mut() {
                    layer.push(&buffer[..got], &mut |_| ());
                }
            }
        }
    }
}

/// Hashes what is read through it.
struct Tee<'a, R> {
    reader: R,
    hashers: Vec<(Algorithm, Hasher)>,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.reader.read(buffer)?;
        self.hashers.iter_mut().for_each(|(_, hasher)| hasher.update(&buffer[..got]));
        advance(self.progress, got as u64).map_err(io::Error::other)?;
        Ok(got)
    }
}
