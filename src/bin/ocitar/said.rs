//! What became of images, for people and as data: what export, convert, merge
//! and split say.

use ocitar::archive::ManifestKind;
use ocitar::bundle::{Gone, Lack, Missing, Output, OutputImage, Why, left_out};
use ocitar::edit::Ledger;
use ocitar::error::{Code, Error};
use ocitar::platform::Platform;
use ocitar::text::{printable, size};
use ocitar::write::Written;
use serde_json::{Value, json};

use crate::changes::ledger_json;
use crate::output::{self, Printer, short_digest, table, talk_width, wrapped};

/// How many images are told of when not everything was asked for.
const FEW: usize = 10;

/// An output as data.
pub fn output_json(output: &Output<'_>) -> Value {
    let renamed = output.renamed().iter().map(|(old, new)| json!({ "old": old, "new": new }));
    let broken = output.broken().iter().map(|broken| {
        json!({
            "name": broken.label,
            "type": broken.artifact_type,
            "subject": broken.subject.map(|digest| digest.to_string()),
        })
    });
    json!({
        "images": output.images().iter().map(image_json).collect::<Vec<_>>(),
        "dropped": output.dropped(),
        "broken": broken.collect::<Vec<_>>(),
        "renamed": renamed.collect::<Vec<_>>(),
    })
}

/// The output of a verb that writes one, with everything that is in none.
pub fn whole_json(output: &Output<'_>) -> Value {
    let mut value = output_json(output);
    value["left_out"] = left_out_json(std::slice::from_ref(output));
    value["ledger"] = ledger_json(&output.ledger());
    value
}

pub fn left_out_json(outputs: &[Output<'_>]) -> Value {
    let (blobs, bytes) = left_out(outputs);
    json!({ "blobs": blobs, "bytes": bytes })
}

fn image_json(image: &OutputImage) -> Value {
    let gone = image.gone.iter().map(|gone| {
        json!({
            "digest": gone.digest.to_string(),
            "kind": kind(gone),
            "platform": gone.platform.as_ref().map(|platform| platform.to_string()),
            "why": gone.why.as_str(),
        })
    });
    json!({
        "names": image.names,
        "before": image.before.map(|digest| digest.to_string()),
        "after": image.after.map(|digest| digest.to_string()),
        "type": image.media_type.as_str(),
        "shown": image.shown.map(|digest| digest.to_string()),
        "platforms": image.platforms.iter().map(|p| platform(p.as_ref())).collect::<Vec<_>>(),
        "gone": gone.collect::<Vec<_>>(),
    })
}

fn kind(gone: &Gone) -> &'static str {
    match gone.kind {
        ManifestKind::Image => "image",
        ManifestKind::Attestation(_) => "attestation",
        _ => "artifact",
    }
}

/// A platform in full, as `--platform` takes it.
pub fn platform(platform: Option<&Platform>) -> String {
    platform.map_or_else(|| "unknown".to_owned(), |platform| platform.to_string())
}

/// Says what was written, or what would be.
pub fn say(output: &Output<'_>, written: Option<&Written>, bytes: u64, printer: &Printer) {
    let images = output.images();
    let told: Vec<String> =
        images.iter().filter_map(|image| told(image, output, printer.verbose)).collect();
    let most = if printer.verbose { told.len() } else { FEW };
    for text in told.iter().take(most) {
        printer.say(text.trim_end());
    }
    if told.len() > most {
        printer.say(&format!("… and {} more images that changed; -v tells all", told.len() - most));
    }
    say_warnings(output, &images, printer);
    for (old, new) in output.renamed() {
        printer.say(&format!("renamed {} to {new}", printable(old)));
    }
    if printer.verbose {
        printer.say(ledger_text(&output.ledger()).trim_end());
    }
    list("dropped", output.dropped().iter().map(String::as_str), printer);
    list("broken", output.broken().iter().map(|broken| &*broken.label), printer);
    let mut parts = vec![count(images.len(), "image")];
    parts.push(match written {
        Some(written) => format!("wrote {} ({})", size(written.bytes), written.method.as_str()),
        None => format!("would write {}", size(bytes)),
    });
    if let (blobs @ 1.., bytes) = left_out(std::slice::from_ref(output)) {
        parts.push(format!("left out {}, {}", count(blobs, "blob"), size(bytes)));
    }
    printer.say(&parts.join("; "));
}

/// What changed of an image: its digest, and what is not written of it although
/// nobody asked for that, or with `all`, everything.
fn told(image: &OutputImage, output: &Output<'_>, all: bool) -> Option<String> {
    let label = label(image);
    let digests = match (image.before, image.after) {
        (Some(before), Some(after)) if before != after => {
            format!("\n    {before}\n  → {after}")
        }
        _ => String::new(),
    };
    let listed = |gone: &&Gone| all || gone.why != Why::NotAsked;
    let gone = gone(&image.gone.iter().filter(listed).collect::<Vec<_>>());
    if digests.is_empty() && gone.is_empty() {
        return None;
    }
    let is_promised = output.has_oci_view() && digests.is_empty();
    let word = if is_promised { "promised only:" } else { "without" };
    let gone = match &gone[..] {
        [] => String::new(),
        gone => wrapped(&format!("{word} {}", gone.join(", ")), talk_width().unwrap_or(80)),
    };
    Some(format!("{label}{digests}\n{gone}"))
}

fn label(image: &OutputImage) -> String {
    let name = image.names.first().map(|name| printable(name).into_owned());
    name.or_else(|| image.after.or(image.shown).map(|digest| digest.to_string()))
        .unwrap_or_else(|| "<none>".to_owned())
}

/// The platforms that are not written and why, and how many attestations.
fn gone(all: &[&Gone]) -> Vec<String> {
    let (attestations, others): (Vec<&Gone>, Vec<&Gone>) =
        all.iter().partition(|gone| matches!(gone.kind, ManifestKind::Attestation(_)));
    let text = |gone: &&Gone| {
        let platform = platform(gone.platform.as_ref());
        let platform = printable(&platform);
        match gone.why {
            Why::NotAsked => platform.into_owned(),
            why => format!("{platform} ({})", why.as_str()),
        }
    };
    let mut parts: Vec<String> = others.iter().map(text).collect();
    if !attestations.is_empty() {
        parts.push(count(attestations.len(), "attestation"));
    }
    parts
}

/// Warns of what a consumer of the output will not see.
fn say_warnings(output: &Output<'_>, images: &[OutputImage], printer: &Printer) {
    let is_docker = output.has_docker_view() && !output.has_oci_view();
    let unnamed = images.iter().filter(|image| image.names.is_empty());
    if is_docker && unnamed.clone().any(|image| image.before.is_some()) {
        let count = count(unnamed.count(), "image");
        printer
            .say(&format!("warning: {count} without a name that docker's format has a place for"));
    }
    if output.has_docker_view() && output.has_oci_view() {
        let hidden =
            images.iter().filter(|image| image.shown.is_none() && !image.platforms.is_empty());
        list_as(
            "warning: not in manifest.json, for docker cannot run what is there:",
            hidden.map(label),
            printer,
        );
    }
    let descriptors: usize = images.iter().map(|image| image.names.len().max(1)).sum();
    let digest_names = images.iter().flat_map(|image| &image.names).any(|name| name.contains('@'));
    if !output.has_docker_view() && descriptors > 1 && digest_names {
        printer.say("warning: podman and skopeo load an OCI archive of one name only; --to hybrid has the docker view, too");
    }
}

/// A list of images or names, the digests cut.
pub fn list<'l>(what: &str, labels: impl ExactSizeIterator<Item = &'l str>, printer: &Printer) {
    let what = format!("{what} {}:", labels.len());
    list_as(&what, labels.map(short_digest), printer);
}

fn list_as(what: &str, labels: impl Iterator<Item = String>, printer: &Printer) {
    let labels: Vec<String> = labels.map(|label| printable(&label).into_owned()).collect();
    if labels.is_empty() {
        return;
    }
    let most = if printer.verbose { labels.len() } else { FEW.min(labels.len()) };
    let more = if labels.len() > most { ", …" } else { "" };
    let text = format!("{what} {}{more}", labels[..most].join(", "));
    printer.say(wrapped(&text, talk_width().unwrap_or(80)).trim());
}

/// A row for each document, or where that is too wide, a block of lines.
pub fn ledger_text(ledger: &Ledger) -> String {
    let digest = |digest: Option<ocitar::digest::Digest>| {
        digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string())
    };
    let rows: Vec<Vec<String>> = ledger
        .entries()
        .iter()
        .map(|entry| {
            let platform = entry.platform.as_ref().map_or_else(|| "-".into(), Platform::to_string);
            vec![entry.kind.as_str().into(), platform, digest(entry.before), digest(entry.after)]
        })
        .collect();
    let text = table(&["KIND", "PLATFORM", "BEFORE", "AFTER"], &rows);
    let fits = |width: usize| text.lines().all(|line| line.chars().count() <= width);
    if talk_width().is_none_or(fits) {
        return text;
    }
    let block = |row: &Vec<String>| match &row[..] {
        [kind, platform, before, after] if before == after => {
            format!("{kind} {platform}\n    {before}\n")
        }
        [kind, platform, before, after] => {
            format!("{kind} {platform}\n    {before}\n  → {after}\n")
        }
        _ => String::new(),
    };
    rows.iter().map(block).collect()
}

/// A number of things, in words.
pub fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Which platforms cannot be had, as data and as an error, after a table where no
/// data will be printed. Whether they were `asked` for, or nothing else is there.
pub fn missing(list: &[Missing], asked: bool, prints_data: bool) -> Option<(Value, Error)> {
    if list.is_empty() {
        return None;
    }
    let said = |lack: &Lack| match lack {
        Lack::Unpromised(_) => "not in the image".to_owned(),
        Lack::Incomplete { present, needed } => format!("incomplete ({present}/{needed})"),
        _ => "absent".to_owned(),
    };
    let rows = list.iter().map(|missing| {
        let mut row = json!({
            "image": missing.image,
            "platform": missing.platform,
            "status": said(&missing.lack),
        });
        if let Lack::Unpromised(has) = &missing.lack {
            row["has"] = json!(has);
        }
        row
    });
    let data = json!({ "missing": rows.collect::<Vec<_>>() });
    if !prints_data {
        let row = |missing: &Missing| {
            let status = match &missing.lack {
                Lack::Unpromised(has) if has.len() <= FEW => {
                    format!("not in the image, which has {}", has.join(", "))
                }
                lack => said(lack),
            };
            vec![
                printable(&missing.image).into_owned(),
                printable(&missing.platform).into_owned(),
                printable(&status).into_owned(),
            ]
        };
        let rows: Vec<Vec<String>> = list.iter().map(row).collect();
        let lines = table(&["IMAGE", "PLATFORM", "STATUS"], &rows);
        output::talk(format_args!("{}", lines.trim_end()));
    }
    let message = match (asked, list.len()) {
        (true, 1) => "a platform that was asked for is missing; nothing was written".to_owned(),
        (true, n) => format!("{n} platforms that were asked for are missing; nothing was written"),
        (false, _) => {
            let mut images: Vec<&str> = list.iter().map(|missing| &*missing.image).collect();
            images.dedup();
            let images = images.join(", ");
            format!("no platform is complete of {images}; nothing was written")
        }
    };
    Some((data, Error::new(Code::PlatformMissing, message)))
}
