//! Verified and written in one reading: what is hashed goes to its place in the
//! output from the buffer it was hashed in.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::plan::{Piece, Plan};
use crate::source::{Source, Span};
use crate::verify::{Report, Tap, Verification, VerifyOptions};
use crate::write::{WriteOptions, Written, write_failed};

impl Plan {
    /// As [`write_to`](Self::write_to), of an archive that is verified meanwhile.
    /// Where verification finds an error nothing is written.
    ///
    /// # Errors
    ///
    /// As [`write_to`](Self::write_to). What is wrong with the archive is in the
    /// report.
    pub fn write_verified_to(
        &self,
        path: impl AsRef<Path>,
        archive: &Archive,
        verify: &VerifyOptions,
        options: &WriteOptions<'_>,
    ) -> Result<(Report, Option<Written>)> {
        let output = self.destination(path.as_ref(), options)?;
        let verification = Verification::new(archive);
        let start = self.start(&output, options)?;
        let places = match (&start, archive.tar_source()) {
            // A clone has the bytes already, a stream takes them in their order.
            (Some(start), Some(source)) if !start.is_clone() => {
                places(self, source, verification.spans())
            }
            _ => HashMap::new(),
        };
        let to_read: u64 = verification.spans().map(|span| span.len).sum();
        let moved: u64 = places.values().map(|place| place.len).sum();
        options.progress.begin(to_read + self.len() - moved);
        let failed: Mutex<Option<Error>> = Mutex::default();
        let put = |span: &Span, at: u64, bytes: &[u8]| {
            let Some(place) = places.get(&span.offset) else { return Ok(()) };
            output.file().write_all_at(bytes, place.at + at).map_err(|error| {
                let error = write_failed(error);
                let mut first = failed.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(error).clone()
            })
        };
        let put: Option<&Tap<'_>> = if places.is_empty() { None } else { Some(&put) };
        let report = verification.run(verify, options.progress, put);
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(output.write_error(error));
        }
        if !report.is_ok() {
            return Ok((report, None));
        }
        let written = places.values().map(|place| (place.at, place.len));
        let start = start.map(|start| start.with(written));
        let written = self.write_from(output, start, options)?;
        Ok((report, Some(written)))
    }
}

/// Where a file of the archive is in the output.
struct Place {
    at: u64,
    len: u64,
}

/// Where files of an archive go that a plan takes whole, by their offset.
fn places<'s>(
    plan: &Plan,
    source: &Source,
    files: impl Iterator<Item = &'s Span>,
) -> HashMap<u64, Place> {
    let mut spans = Vec::new();
    let mut at = 0;
    for piece in plan.pieces() {
        if let Piece::Span(span) = piece
            && std::ptr::eq(&*span.source, source)
        {
            spans.push((span.offset, span.len, at));
        }
        at += piece.len();
    }
    spans.sort_unstable();
    let place = |file: &Span| {
        let behind = spans.partition_point(|(offset, ..)| *offset <= file.offset);
        let (offset, len, at) = spans.get(behind.checked_sub(1)?)?;
        let from = file.offset - offset;
        let is_whole = file.len > 0 && from.checked_add(file.len)? <= *len;
        is_whole.then_some((file.offset, Place { at: at + from, len: file.len }))
    };
    files.filter(|file| std::ptr::eq(&*file.source, source)).filter_map(place).collect()
}
