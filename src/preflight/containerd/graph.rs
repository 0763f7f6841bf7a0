//! Walking down from a descriptor: what has to be there, and which manifests
//! are for the host.

use std::collections::HashSet;
use std::sync::Arc;

use crate::archive::view::Descriptor;
use crate::media_type::MediaClass;
use crate::platform::{HostMatcher, Platform, PlatformSpec};
use crate::preflight::containerd::{Record, Root};
use crate::preflight::control::Manifest;
use crate::preflight::rules;
use crate::preflight::run::{Run, Step};

/// Indexes below indexes; more is a loop.
const DEPTH: u32 = 16;

/// Which children of an index are looked at.
#[derive(Debug)]
pub(super) enum Filter {
    All,
    /// What the host runs.
    Only(HostMatcher),
    /// The host's own platform.
    Strict(PlatformSpec),
}

impl Filter {
    /// A descriptor without a platform always passes.
    pub(super) fn passes(&self, platform: Option<&Platform>) -> bool {
        let Some(platform) = platform else { return true };
        match self {
            Filter::All => true,
            Filter::Only(host) => host.rank(platform).is_some(),
            Filter::Strict(host) => host.matches(platform),
        }
    }
}

/// A manifest below a record and the platform that is known of it.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) descriptor: Descriptor,
    pub(super) document: Option<Arc<Manifest>>,
    /// How many indexes are above it.
    pub(super) depth: u32,
}

/// The document of a descriptor, when its bytes are in the archive.
pub(super) fn document(run: &Run<'_>, descriptor: &Descriptor) -> Option<Arc<Manifest>> {
    let at = run.facts.by_digest(&descriptor.digest)?;
    run.facts.manifest(at)
}

/// Walks below a record as the importer does: every index and manifest that
/// passes the filter has to be there and of its kind.
pub(super) fn walk(
    run: &mut Run<'_>,
    record: &Record,
    filter: &Filter,
    skips_missing: bool,
) -> Step<()> {
    let Root::Oci(top) = &record.root else { return Ok(()) };
    if top.media_type.as_str().is_empty() {
        return run.refuse(rules::MEDIA_TYPE, format!("{}: no media type", top.digest));
    }
    let skips_missing = skips_missing && !record.has_data;
    let mut stack = vec![(Descriptor::clone(top), 0)];
    let mut seen = HashSet::new();
    while let Some((descriptor, depth)) = stack.pop() {
        run.descend()?;
        let class = descriptor.media_type.class();
        let is_read = matches!(class, MediaClass::Index | MediaClass::Manifest);
        if !is_read || depth > DEPTH || !seen.insert(descriptor.digest) {
            continue;
        }
        let Some(document) = document(run, &descriptor) else {
            if skips_missing {
                continue;
            }
            let detail = format!("content digest {}: not found", descriptor.digest);
            return run.refuse(gone(run, &descriptor, depth), detail);
        };
        let wrong = match class {
            MediaClass::Index => document.has_config,
            _ => document.has_children,
        };
        if wrong {
            return run.refuse(rules::MEDIA_TYPE, format!("{}: another kind", descriptor.digest));
        }
        let passing = document.children.iter().filter(|c| filter.passes(c.platform.as_ref()));
        stack.extend(passing.map(|child| (child.clone(), depth + 1)));
    }
    Ok(())
}

/// The rule for a manifest that is not there.
fn gone(run: &Run<'_>, descriptor: &Descriptor, depth: u32) -> &'static rules::Rule {
    let named = run.facts.has(&descriptor.digest.blob_path());
    match (depth, named) {
        (_, true) if descriptor.digest.algorithm() != crate::digest::Algorithm::Sha256 => {
            rules::SHA512
        }
        (0, _) | (_, true) => rules::MANIFEST_GONE,
        _ => rules::SPARSE,
    }
}

/// The manifests below a record that pass the filter, in index order.
pub(super) fn leaves(run: &mut Run<'_>, top: &Descriptor, filter: &Filter) -> Step<Vec<Leaf>> {
    let mut found = Vec::new();
    let mut stack = vec![(top.clone(), 0)];
    let mut seen = HashSet::new();
    while let Some((descriptor, depth)) = stack.pop() {
        run.descend()?;
        if !seen.insert(descriptor.digest) {
            continue;
        }
        let document = document(run, &descriptor);
        match (&document, descriptor.media_type.class()) {
            (Some(index), MediaClass::Index) if depth <= DEPTH => {
                let passing = index.children.iter().filter(|c| filter.passes(c.platform.as_ref()));
                stack.extend(passing.rev().map(|child| (child.clone(), depth + 1)));
            }
            _ => found.push(Leaf { descriptor, document, depth }),
        }
    }
    Ok(found)
}

/// The platform of a manifest: what its descriptor says, else its configuration.
pub(super) fn platform(run: &Run<'_>, leaf: &Leaf) -> Option<Platform> {
    if let Some(platform) = &leaf.descriptor.platform {
        return Some(platform.clone());
    }
    let config = leaf.document.as_ref()?.config.as_ref()?;
    let at = run.facts.by_digest(&config.digest)?;
    Some(run.facts.config(at)?.platform.clone())
}

/// The manifest a host takes: of the lowest rank, the first among equals.
pub(super) fn best<'l>(run: &Run<'_>, leaves: &'l [Leaf]) -> Option<&'l Leaf> {
    let host = HostMatcher::new(run.host.platform());
    let ranked = leaves.iter().filter_map(|leaf| Some((host.rank(&platform(run, leaf)?)?, leaf)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, leaf)| leaf)
}
