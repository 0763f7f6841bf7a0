//! One reading of bytes: hashed, and hashed again as what they decompress to.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use crate::compress::ahead::{AHEAD, BUFFER, empties, fill};
use crate::compress::{Compression, Decoder, decode_error};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Code, Result};
use crate::limits::{Limit, Limits};
use crate::parallel::Spare;
use crate::progress::{Progress, advance};
use crate::source::Span;
use crate::tarball::layer::{LayerReport, LayerScan};

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

/// Hears every byte of a file as it is read: where in the file, and the bytes.
pub(crate) type Tap<'t> = dyn Fn(u64, &[u8]) -> Result<()> + Sync + 't;

/// What all files of a run may still decompress to: [`Limits::unpacked_total`] bytes
/// when it begins.
pub(crate) struct Total(AtomicU64);

impl Total {
    pub(crate) fn new(limits: &Limits) -> Total {
        Total(AtomicU64::new(limits.unpacked_total))
    }
}

/// How bytes are read.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'r> {
    pub(crate) limits: &'r Limits,
    pub(crate) total: &'r Total,
    pub(crate) progress: &'r dyn Progress,
    /// Who else is given what is read. It may be given the same twice.
    pub(crate) tap: Option<&'r Tap<'r>>,
    /// Threads to hash on what another one decompresses.
    pub(crate) spare: Option<&'r Spare>,
}

impl<'r> Reading<'r> {
    /// On this thread, for nobody else.
    pub(crate) fn new(
        limits: &'r Limits,
        total: &'r Total,
        progress: &'r dyn Progress,
    ) -> Reading<'r> {
        Reading { limits, total, progress, tap: None, spare: None }
    }

    /// Reads on from a decoder, as far as the run may go.
    fn decode(&self, read: impl FnOnce() -> io::Result<usize>) -> Result<usize> {
        let got = read().map_err(decode_error)?;
        let less = |left: u64| left.checked_sub(got as u64);
        match self.total.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Ok(got),
            Err(_) => Err(self.limits.exceeded(Limit::UnpackedTotal)),
        }
    }
}

/// Reads bytes to their end, once, hashing them and what they decompress to.
///
/// # Errors
///
/// Those of reading. That a compressed stream is damaged is a fact, and the
/// rest of the bytes is hashed all the same.
pub(crate) fn measure(reader: impl BufRead, wanted: &Wanted, how: &Reading<'_>) -> Result<Facts> {
    let hashers = wanted.algorithms.iter().map(|a| (*a, Hasher::new(*a))).collect();
    let mut input = Tee { reader, at: 0, seen: 0, hashers, how };
    let compression = Compression::sniff(input.fill_buf().map_err(decode_error)?);
    let mut unpacked = None;
    let mut layer = wanted.layer.then(LayerScan::new);
    if wanted.content && compression != Compression::None {
        let mut content = Content { hasher: Hasher::new(Algorithm::Sha256), layer: layer.take() };
        let decoder = Decoder::new(compression, &mut input, how.limits);
        unpacked = match decoder.and_then(|decoder| content.read(decoder, how)) {
            Err(e) if matches!(e.code(), Code::Interrupted | Code::Io | Code::InputChanged) => {
                return Err(e);
            }
            Err(error) => Some(Err(error)),
            Ok(()) => {
                layer = content.layer;
                Some(Ok(content.hasher.finish()))
            }
        };
    }
    loop {
        let bytes = input.fill_buf().map_err(decode_error)?;
        if let Some(layer) = layer.as_mut().filter(|_| unpacked.is_none()) {
            layer.push(bytes, &mut |_| ());
        }
        match bytes.len() {
            0 => break,
            len => input.consume(len),
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
pub(crate) fn measure_span(span: &Span, wanted: &Wanted, how: &Reading<'_>) -> Result<Facts> {
    static TURN: Mutex<()> = Mutex::new(());
    let zstd_window_log = how.limits.zstd_window_log.min(USUAL_WINDOW_LOG);
    let usual = Limits { zstd_window_log, ..how.limits.clone() };
    let facts = measure(span.reader(), wanted, &Reading { limits: &usual, ..*how })?;
    let is_large = matches!(&facts.unpacked, Some(Err(e)) if e.code() == Code::LimitWindow);
    if !is_large || usual == *how.limits {
        return Ok(facts);
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    measure(span.reader(), wanted, &Reading { progress: &Again(how.progress), ..*how })
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

/// What is made of decompressed bytes.
struct Content {
    hasher: Hasher,
    layer: Option<LayerScan>,
}

impl Content {
    fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        if let Some(layer) = &mut self.layer {
            layer.push(bytes, &mut |_| ());
        }
    }

    /// Decompresses to the very end; from when a thread is to be had, while
    /// another one hashes.
    fn read(&mut self, mut decoder: Decoder<impl Read>, how: &Reading<'_>) -> Result<()> {
        let mut spare = how.spare;
        let mut buffer = vec![0; BUFFER];
        loop {
            if let Some(_taken) = spare.and_then(Spare::take) {
                if let Some(done) = self.read_ahead(&mut decoder, how) {
                    return done;
                }
                // Where there was none there will be none.
                spare = None;
            }
            match how.decode(|| decoder.read(&mut buffer))? {
                0 => return Ok(()),
                got => self.update(&buffer[..got]),
            }
        }
    }

    /// Decompresses on this thread and hashes on another; `None` where there is
    /// no other, and then nothing was read.
    fn read_ahead(
        &mut self,
        decoder: &mut Decoder<impl Read>,
        how: &Reading<'_>,
    ) -> Option<Result<()>> {
        // What is full waits to be hashed; what is empty, to be filled again.
        let (full, fulls) = mpsc::sync_channel::<(Vec<u8>, usize)>(AHEAD);
        let (empty, empties) = empties();
        thread::scope(|scope| {
            let content = &mut *self;
            let hash = move || {
                for (buffer, len) in fulls {
                    content.update(&buffer[..len]);
                    let _ = empty.send(buffer);
                }
            };
            thread::Builder::new().spawn_scoped(scope, hash).ok()?;
            let mut decode = || -> Result<()> {
                // Nobody takes or gives any more: the other thread has ended,
                // which only a panic brings about. The scope passes it on.
                while let Ok(mut buffer) = empties.recv() {
                    buffer.resize(BUFFER, 0);
                    match how.decode(|| fill(decoder, &mut buffer))? {
                        0 => break,
                        got if full.send((buffer, got)).is_err() => break,
                        _ => {}
                    }
                }
                Ok(())
            };
            let done = decode();
            drop(full);
            Some(done)
        })
    }
}

/// Hashes what is read through it.
struct Tee<'a, R> {
    reader: R,
    /// Bytes that were consumed.
    at: u64,
    /// Bytes behind them that are hashed already.
    seen: usize,
    hashers: Vec<(Algorithm, Hasher)>,
    how: &'a Reading<'a>,
}

impl<R: BufRead> BufRead for Tee<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let bytes = patiently(&mut self.reader)?;
        if self.seen == 0 && !bytes.is_empty() {
            self.hashers.iter_mut().for_each(|(_, hasher)| hasher.update(bytes));
            if let Some(tap) = self.how.tap {
                tap(self.at, bytes).map_err(io::Error::other)?;
            }
            advance(self.how.progress, bytes.len() as u64).map_err(io::Error::other)?;
            self.seen = bytes.len();
        }
        // There may be more by now than what was hashed.
        let bytes = self.reader.fill_buf()?;
        Ok(&bytes[..self.seen.min(bytes.len())])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes as u64;
        self.seen -= bytes;
        self.reader.consume(bytes);
    }
}

impl<R: BufRead> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let took = self.fill_buf()?.read(buffer)?;
        self.consume(took);
        Ok(took)
    }
}

/// Fills a buffer, again when a signal came between.
fn patiently(reader: &mut impl BufRead) -> io::Result<&[u8]> {
    loop {
        match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => return reader.fill_buf(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::progress::Silent;
    use crate::source::{MapChoice, Source};

    /// Bytes nothing compresses.
    fn noise(len: usize) -> Vec<u8> {
        let mut seed = 1_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn sources(bytes: &[u8]) -> [Arc<Source>; 3] {
        let file = |choice| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            Arc::new(Source::file("file", file, choice).unwrap())
        };
        let memory = Arc::new(Source::memory("memory", bytes.to_vec()));
        [memory, file(MapChoice::Always), file(MapChoice::Never)]
    }

    /// Every byte is hashed once, wherever a decoder stops in them.
    #[test]
    fn all_is_hashed_when_a_decoder_stops_early() {
        let plain = noise(3 << 20);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&plain).unwrap();
        let gzip = encoder.finish().unwrap();
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(25).unwrap();
        encoder.write_all(&plain).unwrap();
        let long = encoder.finish().unwrap();
        let mut rows = vec![(gzip.clone(), true), (long, true)];
        for at in [20, 1 << 20, (1 << 20) + 200_000, gzip.len() - 9] {
            let mut damaged = gzip.clone();
            damaged[at..].iter_mut().take(64).for_each(|byte| *byte = !*byte);
            rows.push((damaged, false));
        }
        let wanted = Wanted { algorithms: vec![Algorithm::Sha256], content: true, layer: true };
        for (at, (bytes, is_sound)) in rows.iter().enumerate() {
            for source in sources(bytes) {
                let span = Span { source, offset: 0, len: bytes.len() as u64 };
                for spare in [0, 1] {
                    let (limits, spare) = (Limits::default(), Spare::new(spare));
                    let total = Total::new(&limits);
                    let how = Reading::new(&limits, &total, &Silent);
                    let how = Reading { spare: Some(&spare), ..how };
                    let facts = measure_span(&span, &wanted, &how).unwrap();
                    assert_eq!(facts.raw(Algorithm::Sha256), Some(Digest::of(bytes)), "{at}");
                    let unpacked = facts.unpacked.unwrap();
                    assert_eq!(unpacked.clone().ok(), is_sound.then(|| Digest::of(&plain)), "{at}");
                }
            }
        }
    }
}
