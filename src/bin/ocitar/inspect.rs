//! `ocitar inspect`: images in full, or one document's bytes.

use std::fmt::Write;

use ocitar::archive::{Access, Archive, Config, Image, ImageManifest, Layer, ManifestKind};
use ocitar::compress::Compression;
use ocitar::diagnostics::Severity;
use ocitar::error::{Code, Error, Result};
use ocitar::platform::PlatformSpec;
use ocitar::text::{printable, size};
use serde_json::{Map, Value, json};

use crate::args::{Common, Inspect, Raw};
use crate::ls::platform_text;
use crate::output::{self, Printer, finding_json};

pub fn run(verb: &Inspect, common: &Common, printer: &Printer) -> Result<u8> {
    let platform = verb.platform.as_deref().map(parse_platform).transpose()?;
    let archive = crate::open(&verb.input, Access::Metadata, common, None)?;
    let fail = |error: Error| error.in_archive(archive.label());
    let images = match &verb.reference {
        Some(name) => {
            let found = archive.find(name);
            if found.is_empty() && archive.findings().fatal_one().is_none() {
                return Err(fail(no_image(&archive, name)));
            }
            found
        }
        None => archive.images().iter().collect(),
    };
    if let Some(raw) = verb.raw {
        return raw_document(&archive, raw, verb, &images, platform.as_ref()).map_err(fail);
    }
    let wanted = |manifest: &&ImageManifest| match (&platform, manifest.platform()) {
        (None, _) => true,
        (Some(spec), Some(platform)) => spec.matches(&platform),
        (Some(_), None) => false,
    };
    let is_wanted = |image: &&Image| image.platforms().any(|manifest| wanted(&manifest));
    if let Some(spec) = platform.as_ref().filter(|_| !images.iter().any(is_wanted)) {
        return Err(fail(no_platform(spec, &images)));
    }
    if printer.json {
        let images: Vec<Value> =
            images.iter().map(|image| image_json(&archive, image, &wanted)).collect();
        let referrers = archive.referrers().map(|descriptor| {
            json!({
                "digest": descriptor.digest.to_string(),
                "type": descriptor.artifact_type.as_deref().unwrap_or(descriptor.media_type.as_str()),
                "subject": archive.subject_of(descriptor).map(|subject| subject.digest.to_string()),
            })
        });
        output::json_data(&json!({
            "path": archive.label(),
            "format": archive.format().map(|format| format.as_str()),
            "compression": archive.compression().as_str(),
            "images": images,
            "referrers": referrers.collect::<Vec<_>>(),
            "findings": archive.findings().iter().map(finding_json).collect::<Vec<_>>(),
        }))?;
    } else {
        let mut text = String::new();
        for (i, image) in images.iter().enumerate() {
            text.push_str(if i > 0 { "\n" } else { "" });
            image_text(&archive, image, &wanted, &mut text);
        }
        for descriptor in archive.referrers() {
            let kind =
                descriptor.artifact_type.as_deref().unwrap_or(descriptor.media_type.as_str());
            let subject = archive.subject_of(descriptor).map(|subject| subject.digest.to_string());
            let subject = subject.unwrap_or_else(|| "an absent subject".into());
            let _ = writeln!(
                text,
                "\nReferrer:     {} {}\n  About:      {subject}",
                descriptor.digest,
                printable(kind)
            );
        }
        output::data(text.as_bytes())?;
        let least = if printer.quiet { Severity::Error } else { Severity::Note };
        printer.findings(archive.label(), archive.findings(), least);
    }
    Ok(archive.findings().exit_code())
}

fn parse_platform(text: &str) -> Result<PlatformSpec> {
    PlatformSpec::parse(text).map_err(|e| {
        Error::new(Code::Usage, format!("platform \"{text}\": {e}"))
            .hint("for example linux/arm64, linux/arm/v7")
    })
}

fn no_image(archive: &Archive, name: &str) -> Error {
    let names: Vec<String> = archive.images().iter().map(Image::label).take(10).collect();
    Error::new(Code::NoMatch, format!("no image \"{name}\""))
        .hint(format!("there is: {}", names.join(", ")))
}

fn no_platform(spec: &PlatformSpec, images: &[&Image]) -> Error {
    let there: Vec<String> =
        images.iter().flat_map(|image| image.platforms()).map(platform_text).take(20).collect();
    Error::new(Code::NoMatch, format!("no image for {spec}"))
        .hint(format!("there is: {}", there.join(", ")))
}

/// Prints one document as its bytes are.
fn raw_document(
    archive: &Archive,
    raw: Raw,
    verb: &Inspect,
    images: &[&Image],
    platform: Option<&PlatformSpec>,
) -> Result<u8> {
    let missing = |what: &str| Error::new(Code::NoMatch, format!("the archive has no {what}"));
    if raw == Raw::Index && verb.reference.is_none() {
        let bytes = archive.raw_index().ok_or_else(|| missing("index.json"))?;
        output::data(bytes)?;
        return Ok(0);
    }
    let [image] = images else {
        let names: Vec<String> = images.iter().map(|image| image.label()).take(10).collect();
        return Err(Error::new(
            Code::Usage,
            format!("--raw prints one image's document, and this is {}", images.len()),
        )
        .hint(format!("name one: {}", names.join(", "))));
    };
    let entry = if raw == Raw::Index {
        image
            .digest()
            .and_then(|digest| archive.blob(&digest))
            .ok_or_else(|| missing("index for this image"))?
    } else {
        let manifests: Vec<&ImageManifest> = image
            .platforms()
            .filter(|manifest| match (platform, manifest.platform()) {
                (Some(spec), Some(platform)) => spec.matches(&platform),
                (Some(_), None) => false,
                (None, _) => true,
            })
            .collect();
        if let (Some(spec), []) = (platform, &manifests[..]) {
            return Err(no_platform(spec, images));
        }
        let [manifest] = &manifests[..] else {
            let held = image.platforms().filter(|manifest| manifest.is_present());
            let there =
                held.filter_map(ImageManifest::platform).map(|platform| platform.to_string());
            let there: Vec<String> = there.collect();
            return Err(Error::new(
                Code::NoMatch,
                format!("--raw prints one platform's document, and this is {}", manifests.len()),
            )
            .hint(format!("--platform {}", there.join(" or "))));
        };
        let entry =
            if raw == Raw::Manifest { manifest.manifest_entry() } else { manifest.config_entry() };
        let what = if raw == Raw::Manifest { "manifest for it" } else { "configuration for it" };
        entry.cloned().ok_or_else(|| missing(what))?
    };
    let mut bytes = Vec::new();
    entry.span.visit_chunks(&mut |chunk| {
        bytes.extend_from_slice(chunk);
        Ok(())
    })?;
    output::data(&bytes)?;
    Ok(0)
}

fn image_text(
    archive: &Archive,
    image: &Image,
    wanted: &dyn Fn(&&ImageManifest) -> bool,
    text: &mut String,
) {
    let names: Vec<String> = image.names().iter().map(ToString::to_string).collect();
    let names = if names.is_empty() { "<none>".to_owned() } else { names.join(", ") };
    let digest = image.digest().map_or_else(|| "-".into(), |digest| digest.to_string());
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key:<13} {}", printable(value));
    };
    line("Image:", &names);
    line("Digest:", &digest);
    line("Type:", image.media_type().as_str());
    line("Size:", &size(archive.size_of(image)));
    for manifest in image.manifests().iter().filter(wanted) {
        manifest_text(archive, manifest, text);
    }
}

fn manifest_text(archive: &Archive, manifest: &ImageManifest, text: &mut String) {
    let title = match manifest.kind() {
        ManifestKind::Image => format!("Platform:     {}", platform_text(manifest)),
        ManifestKind::Attestation(_) => "Attestation:".to_owned(),
        _ => "Artifact:".to_owned(),
    };
    let _ = writeln!(text, "\n{}", title.trim_end());
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "  {key:<11} {}", printable(value));
    };
    if let ManifestKind::Attestation(Some(subject)) = manifest.kind() {
        line("About:", &subject.to_string());
    }
    if let Some(descriptor) = manifest.descriptor() {
        line("Manifest:", &descriptor.digest.to_string());
    }
    if let Some(config) = manifest.config_digest() {
        line("Config:", &config.to_string());
    }
    let config = full_config(archive, manifest).unwrap_or_default();
    config_text(&config, &mut line);
    for (i, layer) in manifest.layers().iter().enumerate() {
        let key = if i == 0 { "Layers:" } else { "" };
        line(key, &layer_line(layer));
        if let Some(diff_id) =
            layer.diff_id().filter(|id| layer.descriptor().is_none_or(|d| d.digest != *id))
        {
            line("", &format!("  diff ID {diff_id}"));
        }
    }
    for (i, step) in config.history.iter().enumerate() {
        let key = if i == 0 { "History:" } else { "" };
        let command = step.created_by.as_deref().or(step.comment.as_deref()).unwrap_or("-");
        let empty = if step.empty_layer { " (no layer)" } else { "" };
        line(key, &format!("{}{empty}", command.replace(['\t', '\n'], " ")));
    }
}

/// The configuration of an image. Why one cannot be read is among the findings,
/// and fatal.
fn full_config(archive: &Archive, manifest: &ImageManifest) -> Option<Config> {
    let is_image = manifest.kind() == ManifestKind::Image;
    archive.config(manifest).ok().flatten().filter(|_| is_image)
}

fn config_text(config: &Config, line: &mut dyn FnMut(&str, &str)) {
    let list = |words: &[Box<str>]| serde_json::to_string(words).unwrap_or_default();
    let facts = [
        ("Created:", config.created.as_deref().map(str::to_owned)),
        ("Entrypoint:", (!config.entrypoint.is_empty()).then(|| list(&config.entrypoint))),
        ("Cmd:", (!config.cmd.is_empty()).then(|| list(&config.cmd))),
        ("User:", config.user.as_deref().map(str::to_owned)),
        ("Folder:", config.working_dir.as_deref().map(str::to_owned)),
    ];
    for (key, value) in facts {
        if let Some(value) = value {
            line(key, &value);
        }
    }
    let pairs = config.labels.iter().map(|(key, value)| format!("{key}={value}"));
    for (i, pair) in config.env.iter().enumerate() {
        line(if i == 0 { "Env:" } else { "" }, pair);
    }
    for (i, pair) in pairs.enumerate() {
        line(if i == 0 { "Labels:" } else { "" }, &pair);
    }
}

fn layer_line(layer: &Layer) -> String {
    let digest = layer
        .descriptor()
        .map(|d| d.digest.to_string())
        .or_else(|| layer.diff_id().map(|id| id.to_string()));
    let digest = digest.unwrap_or_else(|| layer.path().to_owned());
    match layer.entry() {
        Some(entry) => format!("{digest} {} {}", size(entry.span.len), compression_of(layer)),
        None if layer.is_foreign() => format!("{digest} (foreign, not in the archive)"),
        None => format!("{digest} (absent)"),
    }
}

/// What a layer's first bytes say; its media type where they were not kept.
fn compression_of(layer: &Layer) -> String {
    let Some(entry) = layer.entry() else { return "-".into() };
    let mut head =
        vec![0; Compression::SNIFF_LEN.min(usize::try_from(entry.span.len).unwrap_or(usize::MAX))];
    if entry.span.source.read_exact_at(entry.span.offset, &mut head).is_ok() {
        return match (Compression::sniff(&head), layer.descriptor()) {
            (Compression::None, Some(d)) if d.media_type.as_str().ends_with("json") => {
                "json".into()
            }
            (Compression::None, _) => "uncompressed".into(),
            (compression, _) => compression.to_string(),
        };
    }
    let declared = layer.descriptor().and_then(|d| d.media_type.declared_compression());
    declared.map_or_else(|| "-".into(), |declared| format!("{declared:?}").to_lowercase())
}

fn image_json(archive: &Archive, image: &Image, wanted: &dyn Fn(&&ImageManifest) -> bool) -> Value {
    json!({
        "names": image.names().iter().map(|name| {
            json!({
                "name": name.to_string(),
                "text": name.text(),
                "sites": name.sites().iter().map(|site| site.as_str()).collect::<Vec<_>>(),
            })
        }).collect::<Vec<_>>(),
        "digest": image.digest().map(|digest| digest.to_string()),
        "type": image.media_type().as_str(),
        "size": archive.size_of(image),
        "manifests": image.manifests().iter().filter(wanted)
            .map(|manifest| manifest_json(archive, manifest)).collect::<Vec<_>>(),
    })
}

fn manifest_json(archive: &Archive, manifest: &ImageManifest) -> Value {
    let (kind, subject) = match manifest.kind() {
        ManifestKind::Image => ("image", None),
        ManifestKind::Attestation(subject) => ("attestation", subject),
        _ => ("artifact", None),
    };
    let layers = manifest.layers().iter().map(|layer| {
        json!({
            "path": layer.path(),
            "digest": layer.descriptor().map(|d| d.digest.to_string()),
            "type": layer.descriptor().map(|d| d.media_type.as_str().to_owned()),
            "diff_id": layer.diff_id().map(|id| id.to_string()),
            "size": layer.entry().map(|entry| entry.span.len),
            "compression": layer.entry().map(|_| compression_of(layer)),
            "present": layer.entry().is_some(),
        })
    });
    json!({
        "kind": kind,
        "subject": subject.map(|subject| subject.to_string()),
        "platform": manifest.platform().map(|platform| platform.to_string()),
        "complete": manifest.is_complete(),
        "digest": manifest.descriptor().map(|d| d.digest.to_string()),
        "config": manifest.config_digest().map(|digest| digest.to_string()),
        "image": full_config(archive, manifest).as_ref().map(config_json),
        "layers": layers.collect::<Vec<_>>(),
    })
}

fn config_json(config: &Config) -> Value {
    let labels: Map<String, Value> =
        config.labels.iter().map(|(key, value)| (key.to_string(), Value::from(&**value))).collect();
    let history = config.history.iter().map(|step| {
        json!({
            "created": step.created,
            "created_by": step.created_by,
            "comment": step.comment,
            "empty_layer": step.empty_layer,
        })
    });
    json!({
        "created": config.created,
        "entrypoint": config.entrypoint,
        "cmd": config.cmd,
        "env": config.env,
        "user": config.user,
        "working_dir": config.working_dir,
        "labels": labels,
        "history": history.collect::<Vec<_>>(),
    })
}
