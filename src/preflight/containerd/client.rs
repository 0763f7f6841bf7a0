//! The containerd client importing by itself: `ctr` 1.x, nerdctl up to 2.2,
//! k3s. Records are stored first and unpacked one by one; what fails leaves
//! all records behind.

use crate::platform::HostMatcher;
use crate::preflight::containerd::graph::{self, Filter};
use crate::preflight::containerd::unpack::{How, Image, Unpacked};
use crate::preflight::containerd::{LARGEST_MESSAGE, Record, Root, import};
use crate::preflight::naming::{IMPORT_PREFIX, is_whole};
use crate::preflight::rules;
use crate::preflight::run::{Run, Step};
use crate::preflight::targets::Client;
use crate::reference::Reference;

pub(in crate::preflight) fn load(run: &mut Run<'_>, client: Client) -> Step<()> {
    let records = import(run)?;
    let filter = match (client.all_platforms, client.strict) {
        (true, _) => Filter::All,
        (_, true) => Filter::Strict(run.host.clone()),
        _ => Filter::Only(HostMatcher::new(run.host.platform())),
    };
    if records.is_empty() {
        return run.refuse(rules::EMPTY, "image might be filtered out");
    }
    let passes = |record: &&Record| filter.passes(record.platform.as_ref());
    if !records.iter().any(|record| passes(&record)) {
        return run.refuse(rules::FILTERED, "image might be filtered out");
    }
    for record in records.iter().filter(passes) {
        graph::walk(run, record, &filter, client.skips_missing)?;
    }
    if let Some(record) = records.iter().find(|r| r.annotations > LARGEST_MESSAGE) {
        let detail = format!("annotations of {} bytes", record.annotations);
        return run.refuse(rules::LARGE, detail);
    }
    let mut named = Vec::new();
    for record in &records {
        if let Some(name) = name(run, record, client) {
            if run.held(&name).is_some() {
                run.note(rules::SAME_NAME, &*name);
            }
            run.name(name.clone(), record.image, true);
            named.push((name, record));
        }
    }
    for (name, record) in named {
        if !passes(&record) && !client.keeps_filtered {
            return run.refuse(rules::FILTERED_NAME, name);
        }
        let usable = unpack(run, record, client)?;
        let usable = usable && (!client.kubelet || is_for_kubelet(run, &name));
        if let Some(listed) = run.held(&name).filter(|listed| listed.image == record.image) {
            listed.usable = usable;
        }
    }
    Ok(())
}

fn name(run: &mut Run<'_>, record: &Record, client: Client) -> Option<String> {
    let name = match client.prefix {
        true => record.names.prefixed(),
        false => record.names.verbatim().map(ToOwned::to_owned),
    };
    if let Some(name) = name {
        let tag =
            record.names.image_name.is_none() && record.names.ref_name.as_deref() != Some(&name);
        if tag && name.starts_with(IMPORT_PREFIX) {
            run.note(rules::TAG_ONLY, &*name);
        } else if !is_whole(&name) {
            run.note(rules::BARE_NAME, &*name);
        }
        return Some(name);
    }
    let digest = record.image.map(|digest| digest.to_string()).unwrap_or_default();
    run.note(rules::UNNAMED, &*digest);
    client.unnamed.map(|prefix| format!("{prefix}{digest}"))
}

/// Whether a record can be used afterwards, which for all but k3s means that it
/// was unpacked.
fn unpack(run: &mut Run<'_>, record: &Record, client: Client) -> Step<bool> {
    let image = match &record.root {
        Root::Docker { .. } => Image::of_root(run, &record.root),
        Root::Oci(top) if record.is_index() => {
            let filter = Filter::Only(HostMatcher::new(run.host.platform()));
            let leaves = graph::leaves(run, top, &filter)?;
            let Some(leaf) = graph::best(run, &leaves) else {
                let detail = format!("{}: nothing for {}", top.digest, run.host);
                return give_up(run, client, rules::NO_PLATFORM, detail);
            };
            let detail = leaf.descriptor.digest.to_string();
            match &leaf.document {
                Some(manifest) => Some(Image::of_manifest(run, manifest)),
                None => return give_up(run, client, rules::SPARSE, detail),
            }
        }
        Root::Oci(top) => match graph::document(run, top) {
            Some(manifest) => Some(Image::of_manifest(run, &manifest)),
            None => return give_up(run, client, rules::MANIFEST_GONE, top.digest.to_string()),
        },
    };
    let Some(image) = image else { return Ok(false) };
    match image.unpack(run, How { knows_layers: client.knows_layers, lenient: false }) {
        Unpacked::Done => Ok(true),
        Unpacked::Nothing(rule) => {
            run.note(rule, "nothing is unpacked");
            Ok(false)
        }
        Unpacked::NoConfig => {
            give_up(run, client, rules::MANIFEST_GONE, "failed to resolve rootfs".to_owned())
        }
        Unpacked::Failed(rule, detail) => give_up(run, client, rule, detail),
    }
}

/// Fails the import where it unpacks; elsewhere the container fails later.
fn give_up(
    run: &mut Run<'_>,
    client: Client,
    rule: &'static rules::Rule,
    detail: String,
) -> Step<bool> {
    if client.unpacks {
        return run.refuse(rule, detail);
    }
    run.note(rule, detail);
    Ok(false)
}

/// Kubelets ask for names in full, and k3s wants a tag.
fn is_for_kubelet(run: &mut Run<'_>, name: &str) -> bool {
    let reference = Reference::parse(name);
    let (rule, good) = match &reference {
        Err(_) => (rules::INVALID_NAME, false),
        Ok(reference) if reference.tag().is_none() => (rules::TAGLESS, false),
        Ok(reference) => (rules::NOT_CANONICAL, reference.canonical().to_string() == name),
    };
    if !good {
        run.note(rule, name);
    }
    good
}
