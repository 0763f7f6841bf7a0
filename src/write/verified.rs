//! Verified and written in one reading: what is hashed goes to its place in the
//! output from the buffer it was hashed in.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::plan::{Piece, Plan};
use crate::progress::advance;
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
        let path = path.as_ref();
        let verification = Verification::new(archive);
        let to_read: u64 = verification.spans().map(|span| span.len).sum();
        // Whoever reads a pipe gets nothing of what is wrong; and an encoder is slower
        // than all reading.
        let is_special = fs::metadata(path).is_ok_and(|there| !there.is_file());
        if is_special || !options.is_plain() {
            options.progress.begin(to_read);
            let report = run(verification, verify, options, None)?;
            let written = report.is_ok().then(|| self.write_to(path, options)).transpose()?;
            return Ok((report, written));
        }
        let output = self.destination(path, options)?;
        let start = self.start(&output, options)?;
        let places = match (&start, archive.tar_source()) {
            // A clone has the bytes already.
            (Some(start), Some(source)) if !start.is_clone() => {
                places(self, source, verification.spans())
            }
            _ => HashMap::new(),
        };
        let moved: u64 = places.values().map(|place| place.len).sum();
        options.progress.begin(to_read + self.len() - moved);
        let failed: Mutex<Option<Error>> = Mutex::default();
        let first = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        let put = |span: &Span, at: u64, bytes: &[u8]| {
            let Some(place) = places.get(&span.offset) else { return Ok(()) };
            if let Some(error) = &*first() {
                return Err(error.clone());
            }
            output.file().write_all_at(bytes, place.at + at).map_err(|error| {
                let error = write_failed(error);
                first().get_or_insert(error).clone()
            })
        };
        let put: Option<&Tap<'_>> = if places.is_empty() { None } else { Some(&put) };
        let report = run(verification, verify, options, put);
        if let Some(error) = first().take() {
            return Err(output.write_error(error));
        }
        let report = report?;
        if !report.is_ok() {
            return Ok((report, None));
        }
        let written = places.values().map(|place| (place.at, place.len));
        let start = start.map(|start| start.with(written));
        let written = self.write_from(output, start, options)?;
        Ok((report, Some(written)))
    }
}

/// Verifies; to be stopped meanwhile is no finding about the archive.
fn run(
    verification: Verification<'_>,
    verify: &VerifyOptions,
    options: &WriteOptions<'_>,
    tap: Option<&Tap<'_>>,
) -> Result<Report> {
    let report = verification.run(verify, options.progress, tap);
    advance(options.progress, 0)?;
    Ok(report)
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
