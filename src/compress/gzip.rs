//! Gzip by several threads: one member that any reader takes, and the same
//! bytes whatever the number of threads.
//!
//! The input is cut into blocks of one size. Each is deflated by itself, with
//! the end of the block before it as its dictionary, and ends on a byte with an
//! empty stored block, as `pigz` does it (RFC 1951, 3.2.4): so the pieces can be
//! put together as they are. Checksums of pieces add up to that of the whole.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::sync::mpsc;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Bytes of a block. Small enough that a few of them keep all threads busy, large
/// enough that starting each costs nothing: 128 KiB and 1 MiB give sizes
/// within 0.1 % of each other.
const BLOCK: usize = 256 << 10;

/// How far back deflate can refer.
const WINDOW: usize = 32 << 10;

/// A compressing writer, to be finished: what was written is else cut short.
pub(crate) struct Gzip<W: Write> {
    output: W,
    block: Vec<u8>,
    /// The end of the block before.
    window: Vec<u8>,
    crc: Crc,
    level: Compression,
    /// Threads that may be started; they are with the first full block.
    jobs: usize,
    pool: Option<Pool>,
}

struct Pool {
    threads: ThreadPool,
    /// What is being deflated, in order.
    pieces: VecDeque<mpsc::Receiver<io::Result<Piece>>>,
    /// Pieces at once; more would only take memory.
    most: usize,
}

/// A block, deflated.
struct Piece {
    bytes: Vec<u8>,
    crc: Crc,
}

impl Pool {
    fn new(jobs: usize) -> Option<Pool> {
        let threads = ThreadPoolBuilder::new().num_threads(jobs).build().ok()?;
        // Each thread has one, and some wait to be written or begun.
        Some(Pool { threads, pieces: VecDeque::new(), most: jobs + jobs / 2 })
    }
}

impl<W: Write> Gzip<W> {
    /// Starts a member. Where no thread can be had the work is done on this one.
    pub(crate) fn new(mut output: W, level: u32, jobs: usize) -> io::Result<Gzip<W>> {
        // RFC 1952: deflate, no name, no time, the effort, an unknown system.
        let effort = match level {
            9 => 2,
            1 => 4,
            _ => 0,
        };
        output.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, effort, 0xff])?;
        Ok(Gzip {
            output,
            block: Vec::with_capacity(BLOCK),
            window: Vec::new(),
            crc: Crc::new(),
            level: Compression::new(level),
            jobs,
            pool: None,
        })
    }

    /// Ends the member and gives the writer below back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.push(FlushCompress::Finish)?;
        self.drain(0)?;
        self.output.write_all(&self.crc.sum().to_le_bytes())?;
        // The length modulo 2^32 is what the field holds.
        self.output.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.output)
    }

    /// Has the block deflated.
    fn push(&mut self, flush: FlushCompress) -> io::Result<()> {
        let block = mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let tail = block[block.len().saturating_sub(WINDOW)..].to_vec();
        let window = mem::replace(&mut self.window, tail);
        let level = self.level;
        if self.pool.is_none() && self.jobs > 1 && flush == FlushCompress::Sync {
            self.pool = Pool::new(self.jobs);
            // Once is enough where none can be had.
            self.jobs = 1;
        }
        let Some(pool) = &mut self.pool else {
            let piece = deflate(level, &window, &block, flush)?;
            return self.put(&piece);
        };
        let (done, piece) = mpsc::channel();
        pool.threads.spawn(move || {
            // Nobody waits for it any more when writing has failed.
            let _ = done.send(deflate(level, &window, &block, flush));
        });
        pool.pieces.push_back(piece);
        let most = pool.most;
        self.drain(most)
    }

    /// Writes pieces until there are no more than these.
    fn drain(&mut self, most: usize) -> io::Result<()> {
        loop {
            let Some(pool) = self.pool.as_mut().filter(|pool| pool.pieces.len() > most) else {
                return Ok(());
            };
            let Some(next) = pool.pieces.pop_front() else { return Ok(()) };
            let piece = next.recv().map_err(|_| io::Error::other("a thread is gone"))??;
            self.put(&piece)?;
        }
    }

    fn put(&mut self, piece: &Piece) -> io::Result<()> {
        self.crc.combine(&piece.crc);
        self.output.write_all(&piece.bytes)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let take = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..take]);
        if self.block.len() == BLOCK {
            self.push(FlushCompress::Sync)?;
        }
        Ok(take)
    }

    /// Writes everything out. What follows begins a block, so that the bytes are
    /// others than without.
    fn flush(&mut self) -> io::Result<()> {
        self.push(FlushCompress::Sync)?;
        self.drain(0)?;
        self.output.flush()
    }
}

/// Deflates a block. The state is a new one each time: what one keeps from the
/// block it had before shows in the bytes, even when it was reset.
fn deflate(
    level: Compression,
    window: &[u8],
    block: &[u8],
    flush: FlushCompress,
) -> io::Result<Piece> {
    let mut state = Compress::new(level, false);
    if !window.is_empty() {
        state.set_dictionary(window).map_err(io::Error::other)?;
    }
    let mut bytes = Vec::with_capacity(block.len() / 2 + 1024);
    loop {
        let taken = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        let rest = block.get(taken..).unwrap_or_default();
        let status = state.compress_vec(rest, &mut bytes, flush).map_err(io::Error::other)?;
        let is_done = match flush {
            FlushCompress::Finish => status == Status::StreamEnd,
            // All of it is out when room is left.
            _ => state.total_in() == block.len() as u64 && bytes.len() < bytes.capacity(),
        };
        if is_done {
            break;
        }
        bytes.reserve(block.len() / 2 + 1024);
    }
    let mut crc = Crc::new();
    crc.update(block);
    Ok(Piece { bytes, crc })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn packed(bytes: &[u8], level: u32, jobs: usize, at_once: usize) -> Vec<u8> {
        let mut gzip = Gzip::new(Vec::new(), level, jobs).unwrap();
        bytes.chunks(at_once).for_each(|chunk| gzip.write_all(chunk).unwrap());
        gzip.finish().unwrap()
    }

    /// Text that repeats itself farther apart than a block and nearer than a
    /// window, and some that does not.
    fn text(len: usize) -> Vec<u8> {
        let mut seed = 1_u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 16
        };
        (0..len)
            .map(|at| if at % 40_000 < 30_000 { (at % 251) as u8 } else { next() as u8 })
            .collect()
    }

    #[test]
    fn one_member_that_reads_back() {
        let lens = [0, 1, WINDOW - 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 77];
        for (len, level) in lens.into_iter().zip([6, 0, 1, 9, 6, 1, 6, 9]) {
            let bytes = text(len);
            let one = packed(&bytes, level, 1, 4096);
            for (jobs, at_once) in [(2, 1 << 20), (7, 1000)] {
                assert!(packed(&bytes, level, jobs, at_once) == one, "{len} {level} {jobs}");
            }
            // One that reads no second member, and leaves what is behind the first.
            #[expect(clippy::disallowed_types, reason = "it stops after the first member")]
            let mut decoder = flate2::bufread::GzDecoder::new(&*one);
            let mut read = Vec::new();
            decoder.read_to_end(&mut read).unwrap();
            assert!(read == bytes && decoder.into_inner().is_empty(), "{len} {level}");
        }
    }

    #[test]
    fn blocks_refer_to_the_one_before() {
        // As long as half a window, again and again: in every block but the first
        // it is only referred to.
        let noise: Vec<u8> = text(40_000)[30_000..].to_vec();
        let bytes = noise.repeat(BLOCK * 4 / noise.len());
        assert!(packed(&bytes, 6, 2, BLOCK).len() < 3 * noise.len());
    }

    #[test]
    fn a_stream_that_is_not_finished_is_cut_short() {
        let mut gzip = Gzip::new(Vec::new(), 6, 2).unwrap();
        gzip.write_all(&text(BLOCK + 5)).unwrap();
        gzip.flush().unwrap();
        let mut read = Vec::new();
        let error = flate2::read::MultiGzDecoder::new(&*gzip.output).read_to_end(&mut read);
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read.len(), BLOCK + 5);
    }
}
