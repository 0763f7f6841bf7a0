//! What every verb that writes an archive does alike.

use std::fs;
use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ocitar::archive::{Access, Archive};
use ocitar::compress::{Codec, Compression};
use ocitar::error::{Code, Error, Result};
use ocitar::plan::Plan;
use ocitar::text::printable;
use ocitar::write::{WriteOptions, Written};

use crate::args::{Common, Writing};
use crate::output::Printer;
use crate::progress::{Bar, catch_signals};
use crate::{pipe, verify};

impl Writing {
    /// What an output is to be compressed with, where the command line says so:
    /// by --compress, or by the extension of a file.
    pub fn codec(&self, output: Option<&Path>) -> Result<Option<Codec>> {
        if let Some(text) = &self.compress {
            return text.parse().map(Some);
        }
        let Some(output) = output.filter(|output| *output != Path::new("-")) else {
            return Ok(None);
        };
        if let Some(compression) = Compression::from_extension(output) {
            return Ok(Some(compression.into()));
        }
        let extension = output.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("lz4" | "lzma" | "lz" | "lzo" | "br" | "z") => {
                Err(Error::new(Code::Usage, "ocitar does not write this compression")
                    .in_archive(output.display().to_string())
                    .hint(".tar, .tar.gz, .tar.zst, .tar.xz, .tar.bz2, or --compress"))
            }
            _ => Ok(None),
        }
    }
}

/// What is asked of a writer.
pub fn options(writing: &Writing, common: &Common) -> WriteOptions<'static> {
    WriteOptions::new().force(writing.force).jobs(common.jobs())
}

/// The error of work on an archive; but one that was written to meanwhile is to
/// blame for any.
pub fn failed(archive: &Archive, error: Error) -> Error {
    match archive.check_unchanged() {
        Err(changed) if error.code() != Code::Interrupted => changed,
        _ => error.in_archive(archive.label()),
    }
}

/// Says that an output which is about to be replaced has other names.
pub fn warn_of_links(output: &Path, printer: &Printer) {
    let links = fs::metadata(output).map_or(1, |old| if old.is_file() { old.nlink() } else { 1 });
    if links > 1 {
        let name = output.display().to_string();
        let name = printable(&name);
        printer.say(&format!("warning: {name}: its other hard links will lead to the old file"));
    }
}

/// Whether an archive may go to standard output.
pub fn check_stdout(writing: &Writing, printer: &Printer) -> Result<()> {
    if writing.dry_run {
        return Ok(());
    }
    if printer.json {
        let message = "--json and an archive cannot both go to standard output";
        return Err(Error::new(Code::Usage, message));
    }
    if io::stdout().is_terminal() {
        return Err(Error::new(Code::Usage, "an archive is not for a terminal")
            .hint("redirect the output or name a file"));
    }
    Ok(())
}

/// Opens an input whole, verified where that is asked for. What is wrong with
/// the content has been printed when there is no archive.
pub fn open(
    input: &Path,
    writing: &Writing,
    common: &Common,
    tmpdir: Option<&Path>,
    printer: &Printer,
) -> Result<std::result::Result<Archive, u8>> {
    let archive = crate::open(input, Access::Whole, common, tmpdir)?;
    if writing.verify
        && let Err(code) = verify::sound(&archive, common, printer)
    {
        return Ok(Err(code));
    }
    let archive = archive.check()?;
    printer.warnings(archive.label(), archive.findings());
    Ok(Ok(archive))
}

/// Writes a plan made of these to a file, or to standard output for `-`.
pub fn write(
    plan: &Plan,
    inputs: &[PathBuf],
    output: &Path,
    options: WriteOptions<'_>,
    common: &Common,
) -> Result<Written> {
    let bar = Bar::new(common, "writing");
    let options = options.progress(&bar);
    let written = if output == Path::new("-") {
        pipe::stdout(inputs.iter().map(|input| &**input))
            .and_then(|mut out| plan.write_stream(&mut out, &options))
    } else {
        catch_signals()?;
        plan.write_to(output, &options)
    };
    bar.finish();
    written
}
