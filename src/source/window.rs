//! Small reads at ascending offsets: the headers of a tar.

use crate::error::Result;
use crate::source::{Kind, Source};

/// Bytes read at once: a page, which costs little more to read than a header and
/// often holds the next one, too.
const PAGE: usize = 4 << 10;

/// The most that is read at once, where members are so small that the next
/// header is in what was read again and again.
const MOST: usize = 64 << 10;

/// A source, and the bytes that were read of it last.
pub(crate) struct Window<'s> {
    source: &'s Source,
    page: Vec<u8>,
    /// Where the bytes are from.
    start: u64,
    /// How many there are.
    len: usize,
}

impl<'s> Window<'s> {
    pub(crate) fn new(source: &'s Source) -> Window<'s> {
        Window { source, page: vec![0; PAGE], start: 0, len: 0 }
    }

    pub(crate) fn source_len(&self) -> u64 {
        self.source.len()
    }

    /// As [`Source::read_some_at`].
    pub(crate) fn read_some_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let is_call = matches!(self.source.kind, Kind::File(_));
        if !is_call || buffer.len() > PAGE {
            return self.source.read_some_at(offset, buffer);
        }
        if self.behind(offset).is_none_or(|page| page.len() < buffer.len()) {
            // Where the next one is close more is read, where it is far a page.
            let end = self.start + self.len as u64;
            let is_close = self.len > 0 && offset >= self.start && offset < end + PAGE as u64;
            let size = if is_close { (self.page.len() * 2).min(MOST) } else { PAGE };
            self.page.resize(size, 0);
            self.len = 0;
            self.len = self.source.read_some_at(offset, &mut self.page)?;
            self.start = offset;
        }
        let page = self.behind(offset).unwrap_or_default();
        let take = page.len().min(buffer.len());
        buffer[..take].copy_from_slice(&page[..take]);
        Ok(take)
    }

    /// What the page holds from an offset on.
    fn behind(&self, offset: u64) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.page[..self.len].get(from..)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::source::MapChoice;

    #[test]
    fn reads_what_the_source_holds() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| (n / 7) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let source = Source::file("file", file, MapChoice::Never).unwrap();
        let mut window = Window::new(&source);
        let offsets = [0, 512, 4095, 4096, 8190, 3000, 9000, 9001, 19_488, 19_500, 20_000, 30_000];
        for offset in offsets {
            for len in [0, 1, 512, PAGE, PAGE + 1] {
                let mut buffer = vec![0; len];
                let got = window.read_some_at(offset as u64, &mut buffer).unwrap();
                let want = bytes.get(offset..).unwrap_or_default();
                assert_eq!(buffer[..got], want[..len.min(want.len())], "{offset} {len}");
            }
        }
    }
}
