//! `ocitar export`, and `ocitar convert`, which is export with nothing selected.

use std::path::{Path, PathBuf};

use ocitar::bundle::{Bundle, GatherOptions, IndexPolicy, Platforms, SplitBy};
use ocitar::error::{Code, Error, Result};
use ocitar::write::WriteOptions;
use serde_json::{Value, json};

use crate::args::{Common, Convert, Export, Shape, To, Writing};
use crate::output::{self, Printer};
use crate::progress::Bar;
use crate::{bundles, report, writing};

/// What both verbs ask for.
struct Request<'v> {
    input: &'v Path,
    output: &'v Path,
    gather: GatherOptions,
    platforms: Platforms,
    to: To,
    fan_out: bool,
    shape: &'v Shape,
    writing: &'v Writing,
}

pub fn export(verb: &Export, common: &Common, printer: &Printer) -> Result<u8> {
    run(
        Request {
            input: &verb.input,
            output: &verb.output,
            gather: GatherOptions::new().only(&verb.references).except(&verb.except),
            platforms: verb.platforms.platforms()?,
            to: verb.to,
            fan_out: false,
            shape: &verb.shape,
            writing: &verb.writing,
        },
        common,
        printer,
    )
}

pub fn convert(verb: &Convert, common: &Common, printer: &Printer) -> Result<u8> {
    run(
        Request {
            input: &verb.input,
            output: &verb.output,
            gather: GatherOptions::new(),
            platforms: verb.platforms.platforms()?,
            to: verb.to,
            fan_out: verb.fan_out,
            shape: &verb.shape,
            writing: &verb.writing,
        },
        common,
        printer,
    )
}

fn run(request: Request<'_>, common: &Common, printer: &Printer) -> Result<u8> {
    let Request { input, output, writing, shape, .. } = request;
    // What is wrong with the request is said before anything is read.
    let selection = shape.selection(request.platforms.clone(), IndexPolicy::Rewrite)?;
    let to_stdout = output == Path::new("-");
    if to_stdout {
        if request.fan_out {
            return Err(Error::new(Code::Usage, "--fan-out writes several files, not a stream"));
        }
        writing::check_stdout(writing, printer)?;
    }
    let codec = writing.codec(Some(output))?;
    let options = WriteOptions::new().force(writing.force);
    if !to_stdout && !writing.dry_run && !request.fan_out {
        options.check(output, input)?;
        writing::warn_of_links(output, printer);
    }
    if let Some(path) = &writing.report {
        report::check(path, input, output, &options)?;
    }
    let folder = output.parent().filter(|folder| !to_stdout && !folder.as_os_str().is_empty());
    let archive = match writing::open(input, writing, common, folder, printer)? {
        Ok(archive) => archive,
        Err(code) => return Ok(code),
    };
    let fail = |error: Error| writing::failed(&archive, error);
    let bar = Bar::new(common, "reading");
    let gather = request.gather.jobs(common.jobs.map(usize::from));
    let gathered = Bundle::gather(&[&archive], &gather, &bar);
    bar.finish();
    let gathered = gathered.map_err(fail)?;
    let layout = shape.layout(request.to, &gathered, &request.platforms)?;
    let options = options.codec(codec.unwrap_or(archive.compression().into()));
    if !request.fan_out {
        bundles::missing(&gathered.missing(&selection), printer, to_stdout).map_err(fail)?;
    }
    // Each output and what goes into it.
    let bundles: Vec<(PathBuf, Bundle<'_>)> = if request.fan_out {
        let parts = gathered.split(SplitBy::Platform, &selection, &layout).map_err(fail)?;
        let path = |content: &str| match content {
            "" => output.to_owned(),
            content => beside(output, content),
        };
        parts.into_iter().map(|part| (path(&part.content), part.bundle)).collect()
    } else {
        vec![(output.to_owned(), gathered.select(&selection).map_err(fail)?)]
    };
    let mut plans = Vec::new();
    for (path, bundle) in &bundles {
        if request.fan_out && !writing.dry_run {
            options.check(path, input)?;
        }
        plans.push(bundle.plan(&layout).map_err(fail)?);
    }
    let mut said: Vec<Value> = Vec::new();
    for ((path, bundle), plan) in bundles.iter().zip(&plans) {
        if request.fan_out {
            printer.say(&format!("{}:", path.display()));
        }
        let outcome = bundle.outcome(&layout).map_err(fail)?;
        let mut value = bundles::outcome_json(bundle, &outcome);
        value["output"] = path.display().to_string().into();
        value["bytes"] = plan.len().into();
        if writing.dry_run {
            bundles::say(bundle, &outcome, None, plan.len(), printer);
        } else {
            let written = writing::write(plan, path, options, common)?;
            value["written"] = json!({ "bytes": written.bytes, "method": written.method.as_str() });
            bundles::say(bundle, &outcome, Some(&written), plan.len(), printer);
        }
        said.push(value);
    }
    let said = if request.fan_out { json!({ "outputs": said }) } else { said.remove(0) };
    if let Some(path) = &writing.report {
        report::write(path, &said, writing.force)?;
    }
    if printer.json {
        output::json_data(&said)?;
    }
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
