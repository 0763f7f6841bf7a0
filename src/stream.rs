//! Retagging a stream in one pass: a pipe to a pipe, a compressed file to a
//! compressed file, in constant memory.
//!
//! What comes is passed on until the first document that holds names; what
//! follows is held back, because only then is everything known that the
//! documents say of each other. The result is byte for byte what retagging a
//! file gives. A stream that turns out to be unsound is made unreadable on
//! purpose, see [`Plan::write_stream`](crate::plan::Plan::write_stream).
//!
//! Dropping images is not possible so: their layers have gone by.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::archive::store::Store;
use crate::archive::{Archive, OpenOptions, Origin, PassOptions, pass};
use crate::compress::{Compression, Decoder, read_ahead};
use crate::diagnostics::{Diagnostics, Severity};
use crate::edit::{Change, RenameRules};
use crate::error::{Code, Error, Result};
use crate::source::{Opened, settled};
use crate::write::{self, WriteOptions, Written};

/// What a pass did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Streamed {
    /// The archive that went by, as far as it was kept: names, manifests and
    /// configurations can be read, layers cannot.
    pub archive: Archive,
    /// Every name and what happened to it.
    pub changes: Vec<Change>,
    /// What was written.
    pub written: Written,
}

/// Whether a path is better read in one pass: a pipe, or compressed.
///
/// # Errors
///
/// `E_IO`.
pub fn is_stream(path: &Path) -> Result<bool> {
    let fail = |e: io::Error| Error::io(path, e);
    // Only asked about: who writes to a pipe that was opened and closed again is
    // killed.
    let kind = std::fs::metadata(path).map_err(fail)?;
    if !kind.is_file() {
        return Ok(!kind.is_dir());
    }
    let file = File::open(path).map_err(fail)?;
    let (compression, _) = Compression::read_head(&file).map_err(fail)?;
    Ok(compression != Compression::None)
}

/// One pass over one stream.
#[derive(Clone, Debug)]
pub struct Pass<'r> {
    rules: &'r RenameRules,
    open: OpenOptions,
    verify: bool,
}

impl<'r> Pass<'r> {
    /// A pass that renames.
    #[must_use]
    pub fn new(rules: &'r RenameRules) -> Pass<'r> {
        Pass { rules, open: OpenOptions::new(), verify: false }
    }

    /// The limits, and the folder of the temporary file that is needed when
    /// much follows the first names.
    #[must_use]
    pub fn options(mut self, open: OpenOptions) -> Self {
        self.open = open;
        self
    }

    /// Whether to check every digest, size and diff ID on the way: a mismatch
    /// fails the pass.
    #[must_use]
    pub fn verify(mut self, yes: bool) -> Self {
        self.verify = yes;
        self
    }

    /// Passes a stream on to a writer.
    ///
    /// # Errors
    ///
    /// Everything opening, checking and renaming an archive may fail with; the
    /// first error of verification; `E_USAGE` when the rules drop images.
    pub fn write_stream(
        &self,
        label: &str,
        input: impl Read + Send,
        output: &mut dyn Write,
        options: &WriteOptions<'_>,
    ) -> Result<Streamed> {
        self.write_watched(label, input, output, options, None)
    }

    /// As [`write_stream`](Self::write_stream); fails when the file it comes from changed.
    fn write_watched(
        &self,
        label: &str,
        mut input: impl Read + Send,
        output: &mut dyn Write,
        options: &WriteOptions<'_>,
        file: Option<&Opened>,
    ) -> Result<Streamed> {
        if self.rules.drops_unmatched() {
            return Err(Error::new(
                Code::Usage,
                "images cannot be dropped from a stream in one pass",
            ));
        }
        let (compression, head) =
            Compression::read_head(&mut input).map_err(|e| Error::io(label, e))?;
        let codec = options.codec.unwrap_or(compression.into());
        let whole = io::Cursor::new(head).chain(input);
        options.progress.begin(0);
        let stream = Decoder::new(compression, whole, &self.open.limits)?;
        // Not of a pipe: an error is said at once, not when somebody writes more.
        let ahead = compression != Compression::None && file.is_some() && options.jobs != Some(1);
        let passed = read_ahead(ahead, stream, |stream| {
            write::stream(output, codec, options.jobs, |outlet| {
                let passed = self.pass(label, compression, stream, outlet, options);
                match file {
                    Some(file) => file.unless_changed(label, passed),
                    None => passed,
                }
            })
        });
        let ((archive, changes), written) = passed.map_err(|e| e.in_archive(label))?;
        Ok(Streamed { archive, changes, written })
    }

    /// Passes a stream on to a file, which appears whole or not at all.
    ///
    /// # Errors
    ///
    /// As [`write_stream`](Self::write_stream), and as
    /// [`Plan::write_to`](crate::plan::Plan::write_to).
    pub fn write_stream_to(
        &self,
        label: &str,
        input: impl Read + Send,
        output: &Path,
        options: &WriteOptions<'_>,
    ) -> Result<Streamed> {
        write::stream_to_file(output, &[], options.force, |out| {
            self.write_stream(label, input, out, options)
        })
    }

    /// Passes a file on to a writer.
    ///
    /// # Errors
    ///
    /// As [`write_stream`](Self::write_stream).
    pub fn write_file(
        &self,
        input: &Path,
        output: &mut dyn Write,
        options: &WriteOptions<'_>,
    ) -> Result<Streamed> {
        settled::check(input)?;
        let fail = |e| Error::io(input, e);
        let file = File::open(input).map_err(fail)?;
        let label = input.display().to_string();
        if !file.metadata().map_err(fail)?.is_file() {
            return self.write_stream(&label, file, output, options);
        }
        let watch = file.try_clone().and_then(Opened::new).map_err(fail)?;
        self.write_watched(&label, file, output, options, Some(&watch))
    }

    /// Passes a file on to another, which appears whole or not at all.
    ///
    /// # Errors
    ///
    /// As [`write_stream_to`](Self::write_stream_to).
    pub fn write_to(
        &self,
        input: &Path,
        output: &Path,
        options: &WriteOptions<'_>,
    ) -> Result<Streamed> {
        let origin = Origin::of(input).map_err(|e| Error::io(input, e))?;
        write::stream_to_file(output, &[origin], options.force, |out| {
            self.write_file(input, out, options)
        })
    }

    fn pass(
        &self,
        label: &str,
        compression: Compression,
        stream: impl Read,
        outlet: &mut write::Outlet<'_>,
        options: &WriteOptions<'_>,
    ) -> Result<(Archive, Vec<Change>)> {
        let mut findings = Diagnostics::default();
        let mut put = |bytes: &[u8]| outlet.put(bytes);
        let pass_options = PassOptions {
            limits: &self.open.limits,
            sink: Some(&mut put),
            verify: self.verify,
            tmpdir: self.open.tmpdir.clone(),
            progress: options.progress,
        };
        let passed = pass(label, stream, pass_options, &mut findings)?;
        let store = Store::Tar(passed.tar);
        let limits = self.open.limits.clone();
        let archive = Archive::read(label.to_owned(), compression, store, limits, findings);
        if self.verify {
            let report = archive.verify_measured(&passed.facts);
            let mismatch = |code| code == Code::DigestMismatch;
            let failed = || report.findings.iter().filter(|f| f.severity >= Severity::Error);
            let first = failed().find(|f| mismatch(f.error.code())).or_else(|| failed().next());
            if let Some(finding) = first {
                return Err(finding.error.clone());
            }
        }
        let archive = archive.check()?;
        let edit = archive.edit().rename(self.rules)?;
        let changes = edit.changes().to_vec();
        let plan = edit.plan()?;
        plan.visit_from(passed.held_from, &mut |bytes| outlet.put(bytes))?;
        Ok((archive, changes))
    }
}
