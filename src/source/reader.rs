//! A span from its start to its end.

use std::io::{self, BufRead, Read};

use crate::source::{CHUNK, Kind, Span, range_of};

/// Reads a [`Span`] from its start to its end. What is mapped or in memory is
/// lent where it lies.
#[derive(Debug)]
pub struct SpanReader {
    span: Span,
    /// Bytes that were consumed.
    position: u64,
    /// What was read ahead of that.
    buffer: Vec<u8>,
    /// How much of the buffer is consumed.
    used: usize,
    /// Where the window of a map ends that was had last.
    window_end: u64,
}

impl SpanReader {
    pub(super) fn new(span: Span) -> SpanReader {
        SpanReader { span, position: 0, buffer: Vec::new(), used: 0, window_end: 0 }
    }

    fn left(&self) -> u64 {
        self.span.len - self.position
    }
}

impl BufRead for SpanReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let at = self.span.offset + self.position;
        let most = self.left().min(CHUNK as u64);
        match &self.span.source.kind {
            Kind::Memory(bytes) => range_of(bytes, at, most),
            Kind::Mapped { map, .. } => {
                if at >= self.window_end {
                    let window = map.window(at, self.span.len - self.position)?;
                    self.window_end = at + window.len() as u64;
                }
                range_of(map.bytes(), at, most.min(self.window_end - at))
            }
            _ => {
                if self.used == self.buffer.len() {
                    self.used = 0;
                    self.buffer.resize(usize::try_from(most).unwrap_or(CHUNK), 0);
                    let read = self.span.source.try_read(at, &mut self.buffer);
                    if let Err(error) = read {
                        self.buffer.clear();
                        return Err(error);
                    }
                }
                Ok(&self.buffer[self.used..])
            }
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.position += bytes as u64;
        self.used = (self.used + bytes).min(self.buffer.len());
    }
}

impl Read for SpanReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let took = self.fill_buf()?.read(buffer)?;
        self.consume(took);
        Ok(took)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::source::{MapChoice, Source};

    #[test]
    fn reads_the_span_and_no_more() {
        let bytes: Vec<u8> = (0..3 * CHUNK as u32 + 77).map(|n| (n / 5) as u8).collect();
        let source = |choice| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            Arc::new(Source::file("file", file, choice).unwrap())
        };
        let memory = Arc::new(Source::memory("memory", bytes.clone()));
        for source in [source(MapChoice::Never), source(MapChoice::Always), memory] {
            for (offset, len) in [(0, bytes.len()), (1, 0), (5, 1), (4097, 2 * CHUNK), (77, CHUNK)]
            {
                let span =
                    Span { source: Arc::clone(&source), offset: offset as u64, len: len as u64 };
                let mut read = Vec::new();
                span.reader().read_to_end(&mut read).unwrap();
                assert!(read == bytes[offset..offset + len], "{offset} {len}");
                let mut visited = Vec::new();
                let mut visit = |bytes: &[u8]| {
                    visited.extend_from_slice(bytes);
                    Ok(())
                };
                span.visit_chunks(&mut visit).unwrap();
                assert!(visited == read, "{offset} {len}");
            }
            // More than there is.
            let span = Span { source: Arc::clone(&source), offset: 100, len: bytes.len() as u64 };
            assert!(span.reader().read_to_end(&mut Vec::new()).is_err());
            assert!(span.visit_chunks(&mut |_| Ok(())).is_err());
        }
    }
}
