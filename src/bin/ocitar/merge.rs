//! `ocitar merge`: several archives become one.

use std::path::Path;

use ocitar::archive::Archive;
use ocitar::bundle::{Bundle, GatherOptions, IndexPolicy, Platforms};
use ocitar::error::{Code, Error, Result};
use ocitar::write::WriteOptions;
use serde_json::json;

use crate::args::{Common, Merge};
use crate::output::{self, Printer};
use crate::progress::Bar;
use crate::{bundles, report, writing};

pub fn run(verb: &Merge, common: &Common, printer: &Printer) -> Result<u8> {
    let selection = verb.shape.selection(Platforms::Complete, IndexPolicy::Keep)?;
    let to_stdout = verb.output == Path::new("-");
    if to_stdout {
        writing::check_stdout(&verb.writing, printer)?;
    }
    let dash = Path::new("-");
    if verb.inputs.iter().filter(|input| *input == dash).count() > 1 {
        return Err(Error::new(Code::Usage, "standard input can be read once"));
    }
    let codec = verb.writing.codec(Some(&verb.output))?;
    let options = WriteOptions::new().force(verb.writing.force);
    for input in &verb.inputs {
        if !to_stdout && !verb.writing.dry_run {
            options.check(&verb.output, input)?;
        }
        if let Some(path) = &verb.writing.report {
            report::check(path, input, &verb.output, &options)?;
        }
    }
    if !to_stdout && !verb.writing.dry_run {
        writing::warn_of_links(&verb.output, printer);
    }
    let folder = verb.output.parent();
    let folder = folder.filter(|folder| !to_stdout && !folder.as_os_str().is_empty());
    let mut archives = Vec::new();
    for input in &verb.inputs {
        match writing::open(input, &verb.writing, common, folder, printer)? {
            Ok(archive) => archives.push(archive),
            Err(code) => return Ok(code),
        }
    }
    let archives: Vec<&Archive> = archives.iter().collect();
    let bar = Bar::new(common, "reading");
    let mut gather = GatherOptions::new().jobs(common.jobs.map(usize::from));
    if let Some(conflict) = verb.on_conflict {
        gather = gather.on_conflict(conflict.into());
    }
    let gathered = Bundle::gather(&archives, &gather, &bar);
    bar.finish();
    // Which of them is to blame is only known when one was written to.
    let fail = |error: Error| {
        let changed = archives.iter().find_map(|archive| archive.check_unchanged().err());
        changed.unwrap_or(error)
    };
    let gathered = gathered.map_err(fail)?;
    bundles::missing(&gathered.missing(&selection), printer, to_stdout)?;
    let layout = verb.shape.layout(verb.to, &gathered, &Platforms::Complete)?;
    let bundle = gathered.select(&selection).map_err(fail)?;
    let plan = bundle.plan(&layout).map_err(fail)?;
    let outcome = bundle.outcome(&layout)?;
    let mut said = bundles::outcome_json(&bundle, &outcome);
    said["output"] = verb.output.display().to_string().into();
    said["bytes"] = plan.len().into();
    if verb.writing.dry_run {
        bundles::say(&bundle, &outcome, None, plan.len(), printer);
    } else {
        let options = options.codec(codec.unwrap_or_default());
        let written = writing::write(&plan, &verb.output, options, common)?;
        said["written"] = json!({ "bytes": written.bytes, "method": written.method.as_str() });
        bundles::say(&bundle, &outcome, Some(&written), plan.len(), printer);
    }
    if let Some(path) = &verb.writing.report {
        report::write(path, &said, verb.writing.force)?;
    }
    if printer.json {
        output::json_data(&said)?;
    }
    Ok(0)
}
