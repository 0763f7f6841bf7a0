//! What became of images, for people and as data: what export, convert, merge
//! and split say.

use ocitar::bundle::{Bundle, Lack, Missing, Outcome, OutcomeImage};
use ocitar::digest::Digest;
use ocitar::edit::Ledger;
use ocitar::error::{Code, Error, Result};
use ocitar::platform::Platform;
use ocitar::text::{printable, size};
use ocitar::write::Written;
use serde_json::{Value, json};

use crate::changes::ledger_json;
use crate::output::{self, Printer, table};

/// What becomes of a bundle, as data.
pub fn outcome_json(bundle: &Bundle<'_>, outcome: &Outcome) -> Value {
    let renamed = bundle.renamed().iter().map(|(old, new)| json!({ "old": old, "new": new }));
    json!({
        "images": images_json(outcome),
        "dropped": bundle.dropped(),
        "broken": bundle.broken(),
        "left_out": { "blobs": outcome.left_out, "bytes": outcome.left_out_bytes },
        "renamed": renamed.collect::<Vec<_>>(),
        "ledger": ledger_json(&outcome.ledger),
    })
}

pub fn images_json(outcome: &Outcome) -> Vec<Value> {
    outcome.images.iter().map(image_json).collect()
}

fn image_json(image: &OutcomeImage) -> Value {
    let platform = |platform: &Option<Platform>| {
        platform.as_ref().map_or_else(|| "unknown".to_owned(), Platform::to_string)
    };
    json!({
        "names": image.names,
        "before": image.before.map(|digest| digest.to_string()),
        "after": image.after.map(|digest| digest.to_string()),
        "type": image.media_type.as_str(),
        "shown": image.shown.map(|digest| digest.to_string()),
        "platforms": image.platforms.iter().map(platform).collect::<Vec<_>>(),
    })
}

/// Says what was written, or what would be.
pub fn say(
    bundle: &Bundle<'_>,
    outcome: &Outcome,
    written: Option<&Written>,
    bytes: u64,
    printer: &Printer,
) {
    let mut changed = outcome.images.iter().filter(|image| image.before != image.after).peekable();
    if changed.peek().is_some() {
        printer.say("digests that changed:");
    }
    for image in changed {
        let label = image.names.first().map_or("<none>", |name| name);
        let (before, after) = (digest(image.before), digest(image.after));
        printer.say(&format!("  {}\n    {before}\n  → {after}", printable(label)));
    }
    for (old, new) in bundle.renamed() {
        printer.say(&format!("renamed {} to {new}", printable(old)));
    }
    if printer.verbose {
        printer.say(ledger_table(&outcome.ledger).trim_end());
    }
    let mut parts = vec![count(outcome.images.len(), "image")];
    parts.push(match written {
        Some(written) => format!("wrote {} ({})", size(written.bytes), written.method.as_str()),
        None => format!("would write {}", size(bytes)),
    });
    let mut list = |what: &str, labels: &[String]| {
        if !labels.is_empty() {
            let shown: Vec<_> = labels.iter().take(3).map(|label| printable(label)).collect();
            let more = if labels.len() > 3 { ", …" } else { "" };
            parts.push(format!("{what} {} ({}{more})", labels.len(), shown.join(", ")));
        }
    };
    list("dropped", bundle.dropped());
    list("broke", bundle.broken());
    if outcome.left_out > 0 {
        let out = size(outcome.left_out_bytes);
        parts.push(format!("left out {}, {out}", count(outcome.left_out, "blob")));
    }
    printer.say(&parts.join("; "));
}

fn digest(digest: Option<Digest>) -> String {
    digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string())
}

fn ledger_table(ledger: &Ledger) -> String {
    let rows: Vec<Vec<String>> = ledger
        .entries()
        .iter()
        .map(|entry| {
            let platform = entry.platform.as_ref().map_or_else(|| "-".into(), Platform::to_string);
            vec![entry.kind.as_str().into(), platform, digest(entry.before), digest(entry.after)]
        })
        .collect();
    table(&["KIND", "PLATFORM", "BEFORE", "AFTER"], &rows)
}

/// A number of things, in words.
pub fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Says which platforms cannot be had, as a table or as data, and fails.
pub fn missing(list: &[Missing], printer: &Printer, to_stdout: bool) -> Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    let said = |lack: Lack| match lack {
        Lack::Unpromised => "not in the image".to_owned(),
        Lack::Incomplete { present, needed } => format!("incomplete ({present}/{needed})"),
        _ => "absent".to_owned(),
    };
    if printer.json && !to_stdout {
        let rows = list.iter().map(|missing| {
            json!({ "image": missing.image, "platform": missing.platform, "status": said(missing.lack) })
        });
        output::json_data(&json!({ "missing": rows.collect::<Vec<_>>() }))?;
    } else {
        let row = |missing: &Missing| {
            vec![
                printable(&missing.image).into_owned(),
                printable(&missing.platform).into_owned(),
                said(missing.lack),
            ]
        };
        let rows: Vec<Vec<String>> = list.iter().map(row).collect();
        let lines = table(&["IMAGE", "PLATFORM", "STATUS"], &rows);
        output::talk(format_args!("{}", lines.trim_end()));
    }
    let message = match list.len() {
        1 => "a platform that was asked for is missing; nothing was written".to_owned(),
        n => format!("{n} platforms that were asked for are missing; nothing was written"),
    };
    Err(Error::new(Code::PlatformMissing, message)
        .hint("without --platform and --all-platforms every complete platform is kept"))
}
