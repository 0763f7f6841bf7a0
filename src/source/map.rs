//! The one `unsafe` file: a read-only map of a file.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use memmap2::{Advice, Mmap};

/// A file mapped read-only.
///
/// # Contract
///
/// While the map lives nobody may change or shorten the file. A byte that
/// changes under the map can make two readings of it differ; a page that is cut
/// off ends the process with `SIGBUS`. Only [`Source`](super::Source) holds a
/// map, it hands out copies or visits short-lived slices, and everything that
/// is hashed or copied in bulk is compared with its digest or its length there.
/// Who cannot promise this opens with
/// [`MapChoice::Never`](super::MapChoice::Never).
#[derive(Debug)]
pub(super) struct Map(Mmap);

impl Map {
    /// Maps a whole regular file that is not empty.
    pub(super) fn new(file: &File) -> io::Result<Map> {
        // SAFETY: the map is read-only and private to `Source`; that nobody
        // changes the file meanwhile is the documented contract of opening an
        // archive by map, see the type.
        let map = unsafe { Mmap::map(file)? };
        Ok(Map(map))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Asks the kernel to bring a range in at once, instead of by a fault a
    /// page. Best effort: an old kernel faults the pages in as they are read.
    pub(super) fn populate(&self, offset: usize, len: usize) {
        #[cfg(target_os = "linux")]
        let _ = self.0.advise_range(Advice::PopulateRead, offset, len);
        #[cfg(not(target_os = "linux"))]
        let _ = self.0.advise_range(Advice::WillNeed, offset, len);
    }
}
