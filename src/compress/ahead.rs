//! Decompression on a thread of its own, ahead of whoever reads.

use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use crate::compress::{Decoder, decode_error};
use crate::error::Error;

/// Bytes of a buffer: stays in the second-level cache while it is hashed.
pub(super) const BUFFER: usize = 256 << 10;

/// Buffers that are full before they are read.
pub(super) const AHEAD: usize = 4;

/// Does work on what a decoder gives. If so asked another thread decompresses
/// meanwhile, where there can be one.
///
/// It ends with the work, or when the read it is in has ended: so it is not for
/// pipes, whose reads may wait for ever.
pub(crate) fn read_ahead<R: Read + Send, T>(
    ahead: bool,
    mut decoder: Decoder<R>,
    work: impl FnOnce(&mut dyn Read) -> T,
) -> T {
    if !ahead {
        return work(&mut decoder);
    }
    let done = thread::scope(|scope| {
        let (full, fulls) = mpsc::sync_channel(AHEAD);
        let (empty, empties) = empties();
        let decoder = &mut decoder;
        let decode = move || decode(decoder, &full, &empties);
        if thread::Builder::new().spawn_scoped(scope, decode).is_err() {
            return Err(work);
        }
        Ok(work(&mut Ahead {
            fulls,
            empty,
            buffer: Vec::new(),
            filled: 0,
            used: 0,
            failed: None,
            ended: false,
        }))
    });
    done.unwrap_or_else(|work| work(&mut decoder))
}

/// Buffers to fill, which have their length when they are, and the way back for
/// those that were used.
pub(super) fn empties() -> (SyncSender<Vec<u8>>, Receiver<Vec<u8>>) {
    let (empty, empties) = mpsc::sync_channel(AHEAD);
    for _ in 0..AHEAD {
        let _ = empty.send(Vec::new());
    }
    (empty, empties)
}

/// A buffer and how much of it is filled: nothing at the end.
type Filled = io::Result<(Vec<u8>, usize)>;

/// Fills buffers until the end, an error, or nobody wants more.
fn decode(decoder: &mut impl Read, full: &SyncSender<Filled>, empties: &Receiver<Vec<u8>>) {
    while let Ok(mut buffer) = empties.recv() {
        // No more than once: a buffer keeps its length.
        buffer.resize(BUFFER, 0);
        let filled = fill(decoder, &mut buffer);
        let is_last = !matches!(filled, Ok(1..));
        if full.send(filled.map(|len| (buffer, len))).is_err() || is_last {
            return;
        }
    }
}

/// Fills a buffer to its end or that of the stream. What came before an error is
/// given first: a decoder that failed fails again.
pub(super) fn fill(decoder: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match decoder.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if got == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(got)
}

/// The reader's end.
struct Ahead {
    fulls: Receiver<Filled>,
    empty: SyncSender<Vec<u8>>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are filled, and that were read.
    filled: usize,
    used: usize,
    failed: Option<Error>,
    ended: bool,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(io::Error::other(error.clone()));
        }
        if self.used == self.filled && !self.ended {
            // Nobody fills it any more behind the end.
            let _ = self.empty.send(std::mem::take(&mut self.buffer));
            (self.filled, self.used) = (0, 0);
            match self.fulls.recv() {
                Ok(Ok((buffer, filled))) => (self.buffer, self.filled) = (buffer, filled),
                Ok(Err(error)) => {
                    let error = self.failed.insert(decode_error(error)).clone();
                    return Err(io::Error::other(error));
                }
                Err(_) => return Err(io::Error::other("the thread that decompresses is gone")),
            }
            self.ended = self.filled == 0;
        }
        let take = (self.filled - self.used).min(buffer.len());
        buffer[..take].copy_from_slice(&self.buffer[self.used..self.used + take]);
        self.used += take;
        Ok(take)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::compress::Compression;
    use crate::error::Code;
    use crate::limits::Limits;

    fn read(packed: &[u8], limits: &Limits) -> (Vec<u8>, Option<Code>) {
        let decoder = Decoder::new(Compression::Gzip, packed, limits).unwrap();
        read_ahead(true, decoder, |ahead| {
            let mut read = Vec::new();
            let error = ahead.read_to_end(&mut read).err();
            let again = ahead.read(&mut [0]);
            assert_eq!(again.is_err(), error.is_some(), "an error stays");
            (read, error.map(|error| decode_error(error).code()))
        })
    }

    #[test]
    fn gives_what_the_decoder_gives() {
        let bytes: Vec<u8> = (0..BUFFER as u32 * 7 + 5).map(|n| (n / 3) as u8).collect();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&bytes).unwrap();
        let packed = encoder.finish().unwrap();
        let limits = Limits::default();
        assert!(read(&packed, &limits) == (bytes.clone(), None));
        let (some, code) = read(&packed[..packed.len() / 2], &limits);
        assert!(bytes.starts_with(&some) && code == Some(Code::DecompCorrupt));
        let few = Limits { unpacked: 1000, ..limits };
        assert_eq!(read(&packed, &few).1, Some(Code::LimitUnpacked));
        // Who wants no more is not waited for.
        let decoder = Decoder::new(Compression::Gzip, &*packed, &Limits::default()).unwrap();
        read_ahead(true, decoder, |ahead| ahead.read_exact(&mut [0; 10]).unwrap());
    }
}
