//! containerd's transfer service: `ctr` 2.x, kind, nerdctl from 2.3. It unpacks
//! while it imports and stores names at the end, so that a failure leaves none.

use crate::preflight::containerd::graph::{self, Filter};
use crate::preflight::containerd::unpack::{How, Image, Unpacked};
use crate::preflight::containerd::{LARGEST_MESSAGE, Record, Root, import};
use crate::preflight::control;
use crate::preflight::naming::{IMPORT_PREFIX, is_whole};
use crate::preflight::rules;
use crate::preflight::run::{Run, Step};

pub(in crate::preflight) fn load(
    run: &mut Run<'_>,
    all_platforms: bool,
    unnamed: Option<&'static str>,
) -> Step<()> {
    let records = import(run)?;
    let filter = if all_platforms { Filter::All } else { Filter::Strict(run.host.clone()) };
    if records.is_empty() {
        return run.refuse(rules::EMPTY, "image might be filtered out");
    }
    let passes = |record: &&Record| filter.passes(record.platform.as_ref());
    if !records.iter().any(|record| passes(&record)) {
        return run.refuse(rules::FILTERED, "image might be filtered out");
    }
    for record in records.iter().filter(passes) {
        graph::walk(run, record, &filter, false)?;
    }
    let mut stored = Vec::new();
    for record in &records {
        let usable = passes(&record) && unpack(run, record, &filter)?;
        if let Some(name) = name(run, record, unnamed) {
            if !passes(&record) {
                run.note(rules::FILTERED_NAME, &*name);
            }
            stored.push((name, record, usable));
        }
    }
    if let Some(record) = records.iter().find(|r| r.annotations > LARGEST_MESSAGE) {
        let detail = format!("annotations of {} bytes: no image can be listed", record.annotations);
        run.note(rules::LARGE, detail);
        return Ok(());
    }
    for (name, record, usable) in stored {
        if run.held(&name).is_some() {
            run.note(rules::SAME_NAME, &*name);
        }
        run.name(name, record.image, usable);
    }
    Ok(())
}

fn name(run: &mut Run<'_>, record: &Record, unnamed: Option<&'static str>) -> Option<String> {
    let name = record.names.prefixed();
    let digest = record.image.map(|digest| digest.to_string()).unwrap_or_default();
    match name {
        Some(name) if is_whole(&name) => {
            if name.starts_with(IMPORT_PREFIX) {
                run.note(rules::TAG_ONLY, &*name);
            }
            return Some(name);
        }
        Some(name) => run.note(rules::BARE_NAME, name),
        None => run.note(rules::UNNAMED, &*digest),
    }
    unnamed.map(|prefix| format!("{prefix}{digest}"))
}

/// Unpacks every manifest that passes; whether there was one.
fn unpack(run: &mut Run<'_>, record: &Record, filter: &Filter) -> Step<bool> {
    let images: Vec<Image> = match &record.root {
        Root::Docker { .. } => Image::of_root(run, &record.root).into_iter().collect(),
        Root::Oci(top) => {
            let leaves = graph::leaves(run, top, filter)?;
            if leaves.is_empty() {
                run.note(rules::NO_PLATFORM, format!("{}: nothing for {}", top.digest, run.host));
            }
            let images = leaves.iter().filter(|leaf| !control::is_attestation(&leaf.descriptor));
            let manifests = images.filter_map(|leaf| leaf.document.as_ref());
            manifests.map(|manifest| Image::of_manifest(run, manifest)).collect()
        }
    };
    let mut done = false;
    for image in images {
        match image.unpack(run, How { knows_layers: true, lenient: true }) {
            Unpacked::Done => done = true,
            Unpacked::Nothing(rule) => run.note(rule, "nothing is unpacked"),
            Unpacked::NoConfig => return run.refuse(rules::MANIFEST_GONE, "configuration"),
            Unpacked::Failed(rule, detail) => return run.refuse(rule, detail),
        }
    }
    Ok(done)
}
