//! `ocitar check`: what importers will do with an archive.

use std::collections::BTreeSet;

use ocitar::archive::Access;
use ocitar::error::{Code, Error, Result};
use ocitar::platform::PlatformSpec;
use ocitar::preflight::{Finding, Listed, Outcome, Prediction, Preflight, Selection, Target};
use ocitar::text::printable;
use serde_json::{Value, json};

use crate::args::{Check, Common};
use crate::output::{self, Printer, table};
use crate::progress::Bar;

/// Names of one target that are shown without `-v`.
const SHOWN: usize = 3;

pub fn run(verb: &Check, common: &Common, printer: &Printer) -> Result<u8> {
    let targets = targets(&verb.targets)?;
    let host: PlatformSpec = verb.host.parse().map_err(|error| {
        Error::new(Code::Usage, format!("--host {}: {error}", printable(&verb.host)))
    })?;
    let archive = crate::open(&verb.input, Access::Whole, common, None)?;
    let bar = Bar::new(common, "reading");
    let preflight = Preflight::new(&archive, common.jobs(), &bar);
    bar.finish();
    let preflight = preflight?;
    let predictions: Vec<Prediction> =
        targets.into_iter().map(|target| preflight.predict(target, &host)).collect();
    let label = archive.label();
    // No command of ocitar's touches what it cannot read in one way.
    let mends = archive.findings().fatal_one().is_none().then_some(label);
    let is_ok = predictions.iter().all(Prediction::is_ok);
    if printer.json {
        let rows: Vec<Value> = predictions.iter().map(|p| prediction_json(p, mends)).collect();
        let host = host.to_string();
        output::json_data(&json!({ "path": label, "host": host, "ok": is_ok, "targets": rows }))?;
    } else if !printer.quiet {
        output::data(text(&predictions, mends, printer).as_bytes())?;
    }
    Ok(u8::from(!is_ok))
}

/// What was asked for, each once, in the order of the library's table.
fn targets(asked: &[String]) -> Result<Vec<&'static Target>> {
    let mut ids = BTreeSet::new();
    let everything = ["all".to_owned()];
    for text in if asked.is_empty() { &everything[..] } else { asked } {
        let selection: Selection = text.parse()?;
        ids.extend(selection.targets().iter().map(|target| target.id));
    }
    Ok(ocitar::preflight::TARGETS.iter().filter(|target| ids.contains(target.id)).collect())
}

fn text(predictions: &[Prediction], input: Option<&str>, printer: &Printer) -> String {
    let row = |prediction: &Prediction| {
        vec![
            prediction.target.title.to_owned(),
            outcome(prediction),
            names(prediction, printer.verbose),
        ]
    };
    let rows: Vec<Vec<String>> = predictions.iter().map(row).collect();
    let mut text = table(&["TARGET", "OUTCOME", "NAMES"], &rows);
    for (finding, targets) in findings(predictions) {
        let rule = finding.rule;
        let detail = match finding.detail.as_str() {
            "" => String::new(),
            detail => format!(" ({})", printable(detail)),
        };
        text.push_str(&format!(
            "\n{}: {}{detail}\n  in {}\n",
            rule.id,
            rule.text,
            targets.join(", ")
        ));
        if printer.verbose {
            text.push_str(&format!("  known from: {}\n", rule.source));
        }
        if let Some(command) = input.and_then(|input| finding.command(input)) {
            text.push_str(&format!("  repair: {}\n", printable(&command)));
        }
    }
    text
}

/// The outcome, which is not the exit code: what is lost or left is said too.
fn outcome(prediction: &Prediction) -> String {
    let word = prediction.outcome.as_str();
    let (left, lost) = (prediction.images.len(), prediction.lost.len());
    match prediction.outcome {
        Outcome::Refused if left > 0 => format!("{word}, leaves {left}"),
        _ if lost > 0 => format!("{word}, loses {lost}"),
        _ => word.to_owned(),
    }
}

fn names(prediction: &Prediction, all: bool) -> String {
    if !prediction.target.keeps_names {
        return "-".to_owned();
    }
    let name = |listed: &Listed| {
        let name = listed.name.as_deref().unwrap_or("<none>");
        let mark = if listed.usable { "" } else { "(unusable)" };
        format!("{}{mark}", printable(name))
    };
    let shown = if all { prediction.images.len() } else { SHOWN };
    let mut names: Vec<String> = prediction.images.iter().take(shown).map(name).collect();
    match prediction.images.len().saturating_sub(shown) {
        0 => {}
        more => names.push(format!("and {more} more")),
    }
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

/// Findings, each once, with the targets it was made for.
fn findings(predictions: &[Prediction]) -> Vec<(&Finding, Vec<&'static str>)> {
    let mut found: Vec<(&Finding, Vec<&'static str>)> = Vec::new();
    for prediction in predictions {
        for finding in &prediction.findings {
            let same = |(other, _): &&mut (&Finding, Vec<&'static str>)| {
                other.rule == finding.rule && other.detail == finding.detail
            };
            match found.iter_mut().find(same) {
                Some((_, targets)) => targets.push(prediction.target.title),
                None => found.push((finding, vec![prediction.target.title])),
            }
        }
    }
    found
}

fn prediction_json(prediction: &Prediction, input: Option<&str>) -> Value {
    let images = prediction.images.iter().map(|listed| {
        json!({
            "name": listed.name,
            "image": listed.image.map(|digest| digest.to_string()),
            "usable": listed.usable,
        })
    });
    let findings = prediction.findings.iter().map(|finding| {
        json!({
            "rule": finding.rule.id,
            "text": finding.rule.text,
            "detail": finding.detail,
            "fatal": finding.fatal,
            "repair": input.and_then(|input| finding.command(input)),
            "source": finding.rule.source,
        })
    });
    json!({
        "target": prediction.target.id,
        "title": prediction.target.title,
        "source": prediction.target.source,
        "outcome": prediction.outcome.as_str(),
        "ok": prediction.is_ok(),
        "images": images.collect::<Vec<_>>(),
        "lost": prediction.lost,
        "findings": findings.collect::<Vec<_>>(),
    })
}
