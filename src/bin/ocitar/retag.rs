//! `ocitar retag`: the main job.

use std::path::Path;

use clap::ArgMatches;
use ocitar::archive::{Access, Archive};
use ocitar::edit::{Edit, RenameRules};
use ocitar::error::{Error, Result};
use ocitar::text::size;
use ocitar::write::Written;
use serde_json::json;

use crate::args::{Common, Retag};
use crate::changes::{Changes, Counts};
use crate::output::{self, Printer};
use crate::progress::{Bar, catch_signals};
use crate::rules::rules;
use crate::{in_place, pipe, report, stream, verify, writing};

pub fn run(
    verb: &Retag,
    order: Option<&ArgMatches>,
    common: &Common,
    printer: &Printer,
) -> Result<u8> {
    // What is wrong with the request is said before anything is read.
    let rules = rules(verb, order)?;
    let to_stdout = verb.in_place.is_none() && verb.output == Path::new("-");
    if to_stdout {
        writing::check_stdout(&verb.writing, printer)?;
    }
    let output = if verb.in_place.is_some() { &verb.input } else { &verb.output };
    let named = verb.in_place.is_none().then_some(&*verb.output);
    let codec = verb.writing.codec(named)?;
    let options = writing::options(&verb.writing, common);
    if verb.in_place.is_some() {
        in_place::check(verb)?;
    } else if !to_stdout && !verb.writing.dry_run {
        options.check(output, &verb.input)?;
        writing::warn_of_links(output, printer);
    }
    if let Some(path) = &verb.writing.report {
        report::check(path, &verb.input, output, &options)?;
    }

    let streams = verb.in_place.is_none() && !verb.writing.dry_run && !rules.drops_unmatched();
    if streams && stream::applies(&verb.input)? {
        return stream::run(verb, &rules, codec, common, printer);
    }
    let folder = output.parent().filter(|folder| !to_stdout && !folder.as_os_str().is_empty());
    let access =
        if verb.writing.dry_run && !verb.writing.verify { Access::Metadata } else { Access::Whole };
    let archive = crate::open(&verb.input, access, common, folder)?;
    // To a file it is verified and written in one reading; what nothing can be
    // written of is only verified.
    let at_once = verb.writing.verify
        && !to_stdout
        && verb.in_place.is_none()
        && !verb.writing.dry_run
        && archive.findings().fatal_one().is_none();
    if verb.writing.verify
        && !at_once
        && let Err(code) = verify::sound(&archive, common, printer)
    {
        return Ok(code);
    }
    let archive = archive.check()?;
    printer.warnings(archive.label(), archive.findings());
    let fail = |error: Error| writing::failed(&archive, error);
    let edit = archive.edit().rename(&rules);
    // What is wrong with the archive comes before what is with the rules.
    if edit.is_err()
        && at_once
        && let Err(code) = verify::sound(&archive, common, printer)
    {
        return Ok(code);
    }
    let edit = edit.map_err(fail)?;
    if verb.writing.dry_run {
        return dry_run(&archive, edit, &rules, printer).map(|()| 0);
    }
    let list = edit.changes().to_vec();
    let plan = edit.plan().map_err(fail)?;
    let codec = codec.unwrap_or(archive.compression().into());
    let bar = Bar::new(common, if at_once { "verifying and writing" } else { "writing" });
    let options = options.codec(codec).progress(&bar);
    let written = if to_stdout {
        pipe::stdout([&*verb.input]).and_then(|mut out| plan.write_stream(&mut out, &options))
    } else {
        catch_signals()?;
        match verb.in_place {
            Some(how) => in_place::write(&plan, &verb.input, how, &options, printer),
            None if at_once => {
                let verify = verify::options(common);
                match plan.write_verified_to(output, &archive, &verify, &options) {
                    Ok((_, Some(written))) => Ok(written),
                    Ok((report, None)) => {
                        bar.finish();
                        return Ok(verify::unsound(&archive, &report, printer));
                    }
                    Err(error) => Err(error),
                }
            }
            None => plan.write_to(output, &options),
        }
    };
    bar.finish();
    let changes = Changes { archive: &archive, list: &list, rules: &rules };
    summary(&changes, &written?, verb, printer)?;
    Ok(0)
}

fn dry_run(
    archive: &Archive,
    edit: Edit<'_>,
    rules: &RenameRules,
    printer: &Printer,
) -> Result<()> {
    let list = edit.changes().to_vec();
    let ledger = edit.ledger();
    // The plan is made for its checks, and for its length. It needs headers,
    // which are not kept of a compressed or piped archive.
    let bytes = if archive.is_whole() { Some(edit.plan()?.len()) } else { None };
    let changes = Changes { archive, list: &list, rules };
    if printer.json {
        let mut said = changes.json(&ledger);
        said["bytes"] = bytes.into();
        return output::json_data(&said);
    }
    output::data(changes.table(output::terminal_width()).as_bytes())?;
    let Counts { retagged, unchanged, dropped } = changes.counts();
    let bytes = bytes.map(|bytes| format!(", write {}", size(bytes))).unwrap_or_default();
    printer.say(&format!(
        "would retag {retagged}, leave {unchanged} unchanged, drop {dropped}{bytes}"
    ));
    Ok(())
}

/// Says what was done: on the way out of every way to retag.
pub fn summary(
    done: &Changes<'_>,
    written: &Written,
    verb: &Retag,
    printer: &Printer,
) -> Result<()> {
    if printer.json || verb.writing.report.is_some() {
        let edit = done.archive.edit().rename(done.rules)?;
        let mut said = done.json(&edit.ledger());
        said["written"] = json!({ "bytes": written.bytes, "method": written.method.as_str() });
        if let Some(path) = &verb.writing.report {
            report::write(path, &said, verb.writing.force)?;
        }
        if printer.json {
            return output::json_data(&said);
        }
    }
    if printer.verbose {
        printer.say(done.table(output::talk_width()).trim_end());
    }
    let Counts { retagged, unchanged, dropped } = done.counts();
    printer.say(&format!(
        "retagged {retagged}, unchanged {unchanged}, dropped {dropped}; wrote {} ({})",
        size(written.bytes),
        written.method.as_str(),
    ));
    Ok(())
}
