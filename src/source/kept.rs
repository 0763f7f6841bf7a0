//! What is kept of a stream that has gone by.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Ranges of a stream, in ascending order and apart from each other.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    ranges: Vec<(u64, Box<[u8]>)>,
    /// Everything from an offset on.
    tail: Option<(u64, Tail)>,
}

/// Where the rest of a stream is.
#[derive(Debug)]
pub(crate) enum Tail {
    Memory(Vec<u8>),
    /// A file that starts with the tail.
    File(File),
}

impl Kept {
    /// Keeps a range that starts behind all that were kept before.
    pub(crate) fn push(&mut self, offset: u64, bytes: Vec<u8>) {
        debug_assert!(self.ranges.last().is_none_or(|(o, b)| o + b.len() as u64 <= offset));
        self.ranges.push((offset, bytes.into_boxed_slice()));
    }

    /// Adds everything from an offset on.
    pub(crate) fn with_tail(mut self, offset: u64, tail: Tail) -> Kept {
        self.tail = Some((offset, tail));
        self
    }

    /// Fills `buffer` from within one kept range.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        match &self.tail {
            Some((start, Tail::Memory(bytes))) if offset >= *start => {
                return super::copy_from(bytes, offset - start, buffer);
            }
            Some((start, Tail::File(file))) if offset >= *start => {
                return file.read_exact_at(buffer, offset - start);
            }
            _ => {}
        }
        let after = self.ranges.partition_point(|(start, _)| *start <= offset);
        let found = after.checked_sub(1).and_then(|i| {
            let (start, bytes) = &self.ranges[i];
            let from = usize::try_from(offset - start).ok()?;
            bytes.get(from..from.checked_add(buffer.len())?)
        });
        match found {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "these bytes of the stream were not kept",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_inside_one_range_only() {
        let mut kept = Kept::default();
        kept.push(10, b"abc".to_vec());
        kept.push(20, b"defg".to_vec());
        let read = |offset, len: usize| {
            let mut buffer = vec![0; len];
            kept.read(offset, &mut buffer).ok().map(|()| buffer)
        };
        assert_eq!(read(10, 3).as_deref(), Some(&b"abc"[..]));
        assert_eq!(read(21, 2).as_deref(), Some(&b"ef"[..]));
        assert_eq!(read(12, 2), None);
        assert_eq!(read(9, 1), None);
        assert_eq!(read(24, 1), None);
        assert_eq!(read(0, 0).as_deref(), Some(&b""[..]));
    }
}
