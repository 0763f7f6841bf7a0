//! `ocitar export`; `ocitar convert`, which is export with nothing selected; and
//! `ocitar merge`, which is export from several archives.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use ocitar::bundle::{Bundle, GatherOptions, IndexPolicy, Platforms, SplitBy};
use ocitar::compress::Codec;
use ocitar::error::{Code, Error, Result};
use serde_json::{Value, json};

use crate::args::{Common, Convert, Export, Merge};
use crate::bundles::{Request, Verb};
use crate::output::Printer;
use crate::writing;

pub fn export(verb: &Export, common: &Common, printer: &Printer) -> Result<u8> {
    let request = Request {
        verb: Verb::Export,
        inputs: std::slice::from_ref(&verb.input),
        output: &verb.output,
        gather: GatherOptions::new().only(&verb.references).except(&verb.except),
        platforms: verb.platforms.platforms()?,
        index: IndexPolicy::Rewrite,
        to: verb.to,
        shape: &verb.shape,
        writing: &verb.writing,
    };
    run(request, false, common, printer)
}

pub fn convert(verb: &Convert, common: &Common, printer: &Printer) -> Result<u8> {
    let request = Request {
        verb: Verb::Convert,
        inputs: std::slice::from_ref(&verb.input),
        output: &verb.output,
        gather: GatherOptions::new(),
        platforms: verb.platforms.platforms()?,
        index: IndexPolicy::Rewrite,
        to: verb.to,
        shape: &verb.shape,
        writing: &verb.writing,
    };
    run(request, verb.fan_out, common, printer)
}

pub fn merge(verb: &Merge, common: &Common, printer: &Printer) -> Result<u8> {
    let mut gather = GatherOptions::new();
    if let Some(conflict) = verb.on_conflict {
        gather = gather.on_conflict(conflict.into());
    }
    let request = Request {
        verb: Verb::Merge,
        inputs: &verb.inputs,
        output: &verb.output,
        gather,
        platforms: Platforms::Complete,
        index: IndexPolicy::Keep,
        to: verb.to,
        shape: &verb.shape,
        writing: &verb.writing,
    };
    run(request, false, common, printer)
}

/// Writes one output, or one for each platform.
fn run(request: Request<'_>, fan_out: bool, common: &Common, printer: &Printer) -> Result<u8> {
    let (output, writing) = (request.output, request.writing);
    let job = request.check(printer)?;
    if fan_out && job.is_to_stdout() {
        return Err(Error::new(Code::Usage, "--fan-out writes several files, not a stream"));
    }
    let is_file = !job.is_to_stdout() && !writing.dry_run;
    let codec = writing.codec(Some(output))?;
    if is_file && !fan_out {
        job.check_output(output)?;
        writing::warn_of_links(output, printer);
    }
    let archives = match job.open(common, printer)? {
        Ok(archives) => archives,
        Err(code) => return Ok(code),
    };
    let fail = |error: Error| job.failed(&archives, error);
    let (gathered, layout) = job.gather(&archives, fan_out, common, printer)?;
    let own: Codec = match &archives[..] {
        [only] => only.compression().into(),
        _ => Codec::default(),
    };
    let options = writing::options(writing, common).codec(codec.unwrap_or(own));
    // Each output and what goes into it.
    let bundles: Vec<(PathBuf, Bundle<'_>)> = if fan_out {
        let parts = gathered.split(SplitBy::Platform, &job.selection, &layout).map_err(fail)?;
        let path = |content: &str| match content {
            "" => output.to_owned(),
            content => beside(output, content),
        };
        parts.into_iter().map(|part| (path(&part.content), part.bundle)).collect()
    } else {
        vec![(output.to_owned(), gathered.select(&job.selection).map_err(fail)?)]
    };
    let mut outputs = Vec::new();
    let mut paths = HashSet::new();
    for (path, bundle) in &bundles {
        if !paths.insert(path) {
            let message = format!("two platforms would be written to {}", path.display());
            return Err(Error::new(Code::Usage, message)
                .hint("`ocitar split --by platform` numbers its files"));
        }
        if fan_out && is_file {
            job.check_output(path)?;
        }
        outputs.push((path, bundle.output(&layout).map_err(fail)?));
    }
    let mut said: Vec<Value> = Vec::new();
    for (path, output) in &outputs {
        if fan_out {
            printer.say(&format!("{}:", path.display()));
        }
        said.push(job.write(output, path, options, common, printer)?);
    }
    let said = if fan_out { json!({ "outputs": said }) } else { said.remove(0) };
    job.report(&said, printer)?;
    Ok(0)
}

/// A file name with more before its extension: `out-linux-arm64.tar.gz`.
fn beside(output: &Path, more: &str) -> PathBuf {
    let name = output.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let at = name.rfind(".tar").or_else(|| name.rfind('.')).filter(|at| *at > 0);
    let (stem, extension) = name.split_at(at.unwrap_or(name.len()));
    output.with_file_name(format!("{stem}-{more}{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_for_platforms() {
        let rows = [
            ("out.tar", "out-linux-arm64.tar"),
            ("a/out.tar.gz", "a/out-linux-arm64.tar.gz"),
            ("out.tzst", "out-linux-arm64.tzst"),
            ("out", "out-linux-arm64"),
            (".tar", ".tar-linux-arm64"),
            ("v1.2/out", "v1.2/out-linux-arm64"),
        ];
        for (output, want) in rows {
            assert_eq!(beside(Path::new(output), "linux-arm64"), Path::new(want));
        }
    }
}
