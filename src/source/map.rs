//! The one `unsafe` file: a read-only map of a file.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// A file mapped read-only.
///
/// # Contract
///
/// While the map lives nobody may change or shorten the file. A byte that
/// changes under the map can make two readings of it differ; a page that is cut
/// off, or that a failing disk cannot deliver, ends the process with `SIGBUS`. Only
/// [`Source`](super::Source) holds a map, it hands out nothing but copies, and only of
/// small pieces. It maps what nobody else can reach, and other files for a
/// caller who promises so: [`MapChoice::Always`](super::MapChoice::Always).
#[derive(Debug)]
pub(super) struct Map(Mmap);

impl Map {
    /// Maps a whole regular file that is not empty.
    pub(super) fn new(file: &File) -> io::Result<Map> {
        // SAFETY: the map is read-only and private to `Source`; that nobody
        // changes the file meanwhile follows from its having no name, or is the
        // documented contract of `MapChoice::Always`, see the type.
        let map = unsafe { Mmap::map(file)? };
        Ok(Map(map))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
