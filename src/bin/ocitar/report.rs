//! `--report FILE`: what a run did, as a file.

use std::path::Path;

use ocitar::error::{Code, Error, Result};
use ocitar::write::{WriteOptions, write_file};
use serde_json::Value;

/// Whether the report could be written, as far as can be said before the work.
///
/// # Errors
///
/// Those of [`WriteOptions::check`], and `E_OUT_SAME` when it is the output.
pub fn check(report: &Path, input: &Path, output: &Path, options: &WriteOptions<'_>) -> Result<()> {
    let is_output = report == output
        || matches!((report.canonicalize(), output.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if is_output {
        return Err(Error::new(Code::OutSame, "the report is the output")
            .in_archive(report.display().to_string()));
    }
    options.check(report, input)
}

/// Writes the report.
///
/// # Errors
///
/// `E_IO`; without `force` also when the file is there by now.
pub fn write(path: &Path, report: &Value, force: bool) -> Result<()> {
    let text = format!("{report:#}\n");
    write_file(path, text.as_bytes(), &WriteOptions::new().force(force))
}
