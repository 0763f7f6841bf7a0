//! What became of images, for people and as data: what export, convert, merge
//! and split say.

use ocitar::bundle::{Bundle, BundleImage, Lack, Missing};
use ocitar::diagnostics::Severity;
use ocitar::error::{Code, Error, Result};
use ocitar::text::{printable, size};
use ocitar::write::Written;
use serde_json::{Value, json};

use crate::changes::ledger_json;
use crate::output::{self, Printer, table};

/// What a bundle is, as data.
pub fn bundle_json(bundle: &Bundle<'_>) -> Value {
    let (blobs, bytes) = bundle.left_out();
    let images: Vec<Value> = bundle.images().iter().map(image_json).collect();
    let renamed = bundle.renamed().iter().map(|(old, new)| json!({ "old": old, "new": new }));
    json!({
        "images": images,
        "dropped": bundle.dropped(),
        "broken": bundle.broken(),
        "left_out": { "blobs": blobs, "bytes": bytes },
        "renamed": renamed.collect::<Vec<_>>(),
        "ledger": ledger_json(&bundle.ledger()),
    })
}

pub fn image_json(image: &BundleImage) -> Value {
    json!({
        "names": image.names().collect::<Vec<_>>(),
        "before": image.before().map(|digest| digest.to_string()),
        "after": image.target().digest.to_string(),
        "type": image.target().media_type.as_str(),
        "platforms": platforms(image),
    })
}

fn platforms(image: &BundleImage) -> Vec<String> {
    let text = |platform: Option<&_>| {
        platform
            .map_or_else(|| "unknown".to_owned(), |p: &ocitar::platform::Platform| p.to_string())
    };
    image.platforms().map(text).collect()
}

/// Says what was or would be written.
pub fn say(bundle: &Bundle<'_>, written: Option<&Written>, bytes: u64, printer: &Printer) {
    let changed: Vec<&BundleImage> = bundle
        .images()
        .iter()
        .filter(|image| image.before() != Some(image.target().digest))
        .collect();
    if !changed.is_empty() {
        printer.say("digests that changed:");
        for image in changed {
            let before = image.before().map_or_else(|| "none".into(), |digest| digest.to_string());
            let label = image.label();
            printer.say(&format!(
                "  {}\n    {before}\n  → {}",
                printable(&label),
                image.target().digest
            ));
        }
    }
    for (old, new) in bundle.renamed() {
        printer.say(&format!("renamed {} to {new}", printable(old)));
    }
    if printer.verbose {
        printer.say(ledger_table(bundle).trim_end());
    }
    printer.findings("", bundle.notes(), Severity::Note);
    let (blobs, out) = bundle.left_out();
    let mut parts = vec![count(bundle.images().len(), "image")];
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
    if blobs > 0 {
        parts.push(format!("left out {}, {}", count(blobs, "blob"), size(out)));
    }
    printer.say(&parts.join("; "));
}

fn ledger_table(bundle: &Bundle<'_>) -> String {
    let ledger = bundle.ledger();
    let digest = |digest: Option<_>| {
        digest.map_or_else(|| "-".to_owned(), |d: ocitar::digest::Digest| d.to_string())
    };
    let rows: Vec<Vec<String>> = ledger
        .entries()
        .iter()
        .map(|entry| {
            let platform = entry.platform.as_ref().map_or_else(|| "-".into(), ToString::to_string);
            vec![
                entry.kind.as_str().to_owned(),
                platform,
                digest(entry.before),
                digest(entry.after),
            ]
        })
        .collect();
    table(&["KIND", "PLATFORM", "BEFORE", "AFTER"], &rows)
}

fn count(n: usize, what: &str) -> String {
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
        eprint!("{}", table(&["IMAGE", "PLATFORM", "STATUS"], &rows));
    }
    let message = match list.len() {
        1 => "a platform that was asked for is missing; nothing was written".to_owned(),
        n => format!("{n} platforms that were asked for are missing; nothing was written"),
    };
    Err(Error::new(Code::PlatformMissing, message)
        .hint("without --platform and --all-platforms every complete platform is kept"))
}
