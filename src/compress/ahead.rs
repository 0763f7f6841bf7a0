//! Decompression on a thread of its own, ahead of whoever reads.

use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use crate::compress::{Compression, Decoder, decode_error};
use crate::error::Error;

/// Bytes of a buffer.
const BUFFER: usize = 256 << 10;

/// Buffers that are full before they are read.
const AHEAD: usize = 4;

/// Does work on what a decoder gives; what is compressed is decompressed by
/// another thread meanwhile, where there can be one.
///
/// The thread ends with the work, or when the read it is in has ended.
pub(crate) fn read_ahead<R: Read + Send, T>(
    compression: Compression,
    mut decoder: Decoder<R>,
    work: impl FnOnce(&mut dyn Read) -> T,
) -> T {
    if compression == Compression::None {
        return work(&mut decoder);
    }
    let done = thread::scope(|scope| {
        let (full, fulls) = mpsc::sync_channel(AHEAD);
        let (empty, empties) = mpsc::sync_channel(AHEAD);
        for _ in 0..AHEAD {
            let _ = empty.send(Vec::new());
        }
        let decoder = &mut decoder;
        let fill = move || fill(decoder, &full, &empties);
        if thread::Builder::new().spawn_scoped(scope, fill).is_err() {
            return Err(work);
        }
        Ok(work(&mut Ahead {
            fulls,
            empty,
            buffer: Vec::new(),
            used: 0,
            failed: None,
            ended: false,
        }))
    });
    done.unwrap_or_else(|work| work(&mut decoder))
}

type Filled = io::Result<Vec<u8>>;

/// Fills buffers until the end, an error, or nobody wants more.
fn fill(decoder: &mut impl Read, full: &SyncSender<Filled>, empties: &Receiver<Vec<u8>>) {
    while let Ok(mut buffer) = empties.recv() {
        buffer.resize(BUFFER, 0);
        let filled = decoder.read(&mut buffer).map(|got| {
            buffer.truncate(got);
            buffer
        });
        let is_last = !matches!(&filled, Ok(buffer) if !buffer.is_empty());
        if full.send(filled).is_err() || is_last {
            return;
        }
    }
}

/// The reader's end.
struct Ahead {
    fulls: Receiver<Filled>,
    empty: SyncSender<Vec<u8>>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were read.
    used: usize,
    failed: Option<Error>,
    ended: bool,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(io::Error::other(error.clone()));
        }
        if self.used == self.buffer.len() && !self.ended {
            // Nobody fills it any more behind the end.
            let _ = self.empty.send(std::mem::take(&mut self.buffer));
            self.used = 0;
            match self.fulls.recv() {
                Ok(Ok(filled)) => self.buffer = filled,
                Ok(Err(error)) => {
                    let error = self.failed.insert(decode_error(error)).clone();
                    return Err(io::Error::other(error));
                }
                Err(_) => return Err(io::Error::other("the thread that decompresses is gone")),
            }
            self.ended = self.buffer.is_empty();
        }
        let take = (self.buffer.len() - self.used).min(buffer.len());
        buffer[..take].copy_from_slice(&self.buffer[self.used..self.used + take]);
        self.used += take;
        Ok(take)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::error::Code;
    use crate::limits::Limits;

    fn read(packed: &[u8], limits: &Limits) -> (Vec<u8>, Option<Code>) {
        let decoder = Decoder::new(Compression::Gzip, packed, limits).unwrap();
        read_ahead(Compression::Gzip, decoder, |ahead| {
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
        read_ahead(Compression::Gzip, decoder, |ahead| ahead.read_exact(&mut [0; 10]).unwrap());
    }
}
