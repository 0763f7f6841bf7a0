//! The one `unsafe` file: a read-only map of a file.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use memmap2::{Advice, Mmap};
use rustix::io::Errno;

use crate::source::range_of;

/// Bytes whose pages are had at once.
const WINDOW: u64 = 2 << 20;

/// A file mapped read-only.
///
/// # Contract
///
/// While the map lives nobody may change or shorten the file. A byte that
/// changes under the map can make two readings of it differ; a page that is cut
/// off, or that a failing disk cannot deliver, ends the process with `SIGBUS`. Only
/// [`Source`](super::Source) holds a map, and it hands out copies of small pieces
/// and windows that are looked at at once. It maps what nobody else can reach, and
/// other files for a caller who promises so:
/// [`MapChoice::Always`](super::MapChoice::Always).
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

    /// Bytes from an offset, these many or as many as a window has. Their pages
    /// are had at once: one by one each costs a fault, which is slower than
    /// reading.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` where the map, or by now the file, has no such bytes.
    pub(super) fn window(&self, offset: u64, most: u64) -> io::Result<&[u8]> {
        let bytes = range_of(&self.0, offset, most.min(WINDOW))?;
        // It is in bounds, so that it is an index.
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        match self.0.advise_range(Advice::PopulateRead, start, bytes.len()) {
            // The file is shorter now.
            Err(error) if error.raw_os_error() == Some(Errno::FAULT.raw_os_error()) => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            // Kernels before 5.14 do not know it, and fault.
            Err(_) | Ok(()) => Ok(bytes),
        }
    }
}
