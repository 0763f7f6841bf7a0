//! `ocitar retag`: the main job.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;

use clap::ArgMatches;
use ocitar::archive::{Access, Archive};
use ocitar::compress::{Codec, Compression};
use ocitar::diagnostics::Severity;
use ocitar::edit::{Change, Edit, Outcome, RenameRules, Rule};
use ocitar::error::{Code, Error, Result};
use ocitar::text::{printable, size};
use ocitar::write::{WriteOptions, Written};
use serde_json::{Value, json};

use crate::args::{Common, Retag};
use crate::output::{self, Printer, table};
use crate::progress::Bar;
use crate::{stream, verify};

pub fn run(
    verb: &Retag,
    order: Option<&ArgMatches>,
    common: &Common,
    printer: &Printer,
) -> Result<u8> {
    // What is wrong with the request is said before anything is read.
    let rules = rules(verb, order)?;
    let to_stdout = verb.output == Path::new("-");
    if to_stdout && printer.json && !verb.dry_run {
        return Err(Error::new(
            Code::Usage,
            "--json and an archive cannot both go to standard output",
        ));
    }
    if to_stdout && !verb.dry_run && io::stdout().is_terminal() {
        return Err(Error::new(Code::Usage, "an archive is not for a terminal")
            .hint("redirect the output or name a file"));
    }
    let codec = codec(verb, to_stdout)?;
    let options = WriteOptions::new().force(verb.force);
    if !to_stdout && !verb.dry_run {
        options.check(&verb.output, &verb.input)?;
    }

    if !verb.dry_run && !verb.drop_unmatched && stream::applies(&verb.input)? {
        return stream::run(verb, &rules, codec, common, printer);
    }
    let folder = verb.output.parent().filter(|folder| !to_stdout && !folder.as_os_str().is_empty());
    let access = if verb.dry_run && !verb.verify { Access::Metadata } else { Access::Whole };
    let archive = crate::open(&verb.input, access, common, folder)?;
    if verb.verify {
        let report = verify::check(&archive, common, false);
        if !report.is_ok() {
            printer.findings(archive.label(), &report.findings, Severity::Error);
            return Ok(report.findings.exit_code());
        }
    }
    let archive = archive.check()?;
    printer.warnings(archive.label(), archive.findings());
    let fail = |error: Error| error.in_archive(archive.label());
    let edit = archive.edit().rename(&rules).map_err(fail)?;
    let changes = edit.renaming().map(|renaming| renaming.changes().to_vec()).unwrap_or_default();
    if verb.dry_run {
        return dry_run(&archive, edit, &changes, &rules, printer).map(|()| 0);
    }
    let plan = edit.plan().map_err(fail)?;
    let codec = codec.unwrap_or(archive.compression().into());
    let bar = Bar::new(common, "writing");
    let options = options.codec(codec).progress(&bar);
    let written = if to_stdout {
        plan.write_stream(&mut io::stdout().lock(), &options)
    } else {
        bar.catch_signals()?;
        plan.write_to(&verb.output, &options)
    };
    bar.finish();
    summary(&archive, &changes, &rules, &written?, printer)?;
    Ok(0)
}

/// What the output is to be compressed with, where the command line says so.
fn codec(verb: &Retag, to_stdout: bool) -> Result<Option<Codec>> {
    if let Some(text) = &verb.compress {
        return text.parse().map(Some);
    }
    if to_stdout {
        return Ok(None);
    }
    if let Some(compression) = Compression::from_extension(&verb.output) {
        return Ok(Some(compression.into()));
    }
    let extension = verb.output.extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("lz4" | "lzma" | "lz" | "lzo" | "br" | "z") => {
            Err(Error::new(Code::Usage, "ocitar does not write this compression")
                .in_archive(verb.output.display().to_string())
                .hint(".tar, .tar.gz, .tar.zst, .tar.xz, .tar.bz2, or --compress"))
        }
        _ => Ok(None),
    }
}

/// The rules in the order of the command line, whichever option gave them.
fn rules(verb: &Retag, order: Option<&ArgMatches>) -> Result<RenameRules> {
    let places = |id: &str| -> Vec<usize> {
        order.and_then(|order| order.indices_of(id)).map(Iterator::collect).unwrap_or_default()
    };
    let mut given: Vec<(usize, Given)> = Vec::new();
    given.extend(places("rules").into_iter().zip(verb.rules.iter().map(|text| Given::Rule(text))));
    given.extend(
        places("prefix").into_iter().zip(verb.prefix.iter().map(|text| Given::Prefix(text))),
    );
    let pairs = verb.regex.chunks_exact(2).map(|pair| Given::Regex(&pair[0], &pair[1]));
    given.extend(places("regex").into_iter().step_by(2).zip(pairs));
    given.extend(places("map").into_iter().zip(verb.map.iter().map(|path| Given::Map(path))));
    given.sort_by_key(|(place, _)| *place);

    let mut rules = RenameRules::new()
        .keep_old(verb.add)
        .drop_unmatched(verb.drop_unmatched)
        .allow_unmatched(verb.allow_unmatched);
    if given.is_empty() {
        return Err(Error::new(Code::Usage, "no rule was given")
            .hint("a NEW name, OLD=NEW, --prefix, --regex or --map; see `ocitar retag --help`"));
    }
    for (_, given) in given {
        rules = match given {
            Given::Rule(text) => rules.rule(Rule::parse(text)?),
            Given::Prefix(text) => rules.rule(Rule::prefix(text)?),
            Given::Regex(pattern, replacement) => rules.rule(Rule::regex(pattern, replacement)?),
            Given::Map(path) => {
                let text = fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
                rules.map_file(&text).map_err(|e| e.in_archive(path.display().to_string()))?
            }
        };
    }
    rules.check()?;
    Ok(rules)
}

enum Given<'a> {
    Rule(&'a str),
    Prefix(&'a str),
    Regex(&'a str, &'a str),
    Map(&'a Path),
}

fn dry_run(
    archive: &Archive,
    edit: Edit<'_>,
    changes: &[Change],
    rules: &RenameRules,
    printer: &Printer,
) -> Result<()> {
    // The plan is made for its checks, and for its length. It needs headers,
    // which are not kept of a compressed or piped archive.
    let bytes = if archive.is_whole() { Some(edit.plan()?.len()) } else { None };
    if printer.json {
        let changes: Vec<Value> =
            changes.iter().map(|change| change_json(archive, change, rules)).collect();
        return output::json_data(&json!({ "changes": changes, "bytes": bytes }));
    }
    let rows: Vec<Vec<String>> = changes.iter().map(|change| row(change, rules)).collect();
    output::data(table(&["OLD", "NEW", "RULE"], &rows).as_bytes())
}

fn row(change: &Change, rules: &RenameRules) -> Vec<String> {
    let old = change.old.as_deref().unwrap_or("<none>");
    let new = match &change.outcome {
        Outcome::Keep => "(unchanged)".to_owned(),
        Outcome::Rename(new) => new.to_string(),
        Outcome::Add(new) => format!("+ {new}"),
        _ => "(dropped)".to_owned(),
    };
    vec![printable(old).into_owned(), new, rule_text(change, rules)]
}

fn rule_text(change: &Change, rules: &RenameRules) -> String {
    let rule = change.rule.and_then(|rule| rules.rules().get(rule));
    rule.map_or_else(|| "-".to_owned(), |rule| printable(&rule.to_string()).into_owned())
}

fn change_json(archive: &Archive, change: &Change, rules: &RenameRules) -> Value {
    let (outcome, new) = match &change.outcome {
        Outcome::Keep => ("keep", None),
        Outcome::Rename(new) => ("rename", Some(new.to_string())),
        Outcome::Add(new) => ("add", Some(new.to_string())),
        _ => ("drop", None),
    };
    let digest =
        change.image.and_then(|image| archive.images().get(image)).and_then(|image| image.digest());
    json!({
        "old": change.old,
        "new": new,
        "outcome": outcome,
        "rule": change.rule.and_then(|rule| rules.rules().get(rule)).map(ToString::to_string),
        "digest": digest.map(|digest| digest.to_string()),
        "sites": change.sites.iter().map(|site| site.as_str()).collect::<Vec<_>>(),
    })
}

pub fn summary(
    archive: &Archive,
    changes: &[Change],
    rules: &RenameRules,
    written: &Written,
    printer: &Printer,
) -> Result<()> {
    if printer.json {
        let changes: Vec<Value> =
            changes.iter().map(|change| change_json(archive, change, rules)).collect();
        let written = json!({ "bytes": written.bytes, "method": written.method.as_str() });
        return output::json_data(&json!({ "changes": changes, "written": written }));
    }
    let count = |which: &dyn Fn(&Outcome) -> bool| {
        changes.iter().filter(|change| which(&change.outcome)).count()
    };
    if printer.verbose {
        let rows: Vec<Vec<String>> = changes.iter().map(|change| row(change, rules)).collect();
        printer.say(table(&["OLD", "NEW", "RULE"], &rows).trim_end());
    }
    printer.say(&format!(
        "retagged {}, unchanged {}, dropped {}; wrote {} ({})",
        count(&|outcome| matches!(outcome, Outcome::Rename(_) | Outcome::Add(_))),
        count(&|outcome| matches!(outcome, Outcome::Keep)),
        count(&|outcome| matches!(outcome, Outcome::Drop)),
        size(written.bytes),
        written.method.as_str(),
    ));
    Ok(())
}
