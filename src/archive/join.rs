//! The two views of one archive: images joined, contradictions found.
//!
//! containerd reads `index.json`, classic dockerd and crane read
//! `manifest.json`, podman reads one and falls back to the other. A name that
//! leads to different images in the two makes one file two archives.

use std::collections::HashMap;

use crate::archive::docker::Item;
use crate::archive::image::{Image, ImageManifest, ManifestKind};
use crate::archive::names::{Name, is_no_name};
use crate::diagnostics::Diagnostics;
use crate::digest::Digest;
use crate::error::{Code, Error};

/// Joins the images of the docker view to those of the OCI view, whose names
/// are known.
///
/// Manifests may share a configuration (one image in two compressions, an index
/// and a manifest below it), and the docker view has one item for all of them:
/// each that has a name of the item is joined to it, else the first.
pub(crate) fn join(
    mut images: Vec<Image>,
    docker: Vec<Image>,
    items: &[Item],
    findings: &mut Diagnostics,
) -> Vec<Image> {
    let oci = Keys::of(&images);
    let has_oci = !images.is_empty();
    let mut alone = Vec::new();
    for item in docker {
        let tags = item.items.iter().flat_map(|at| &items[*at].tags).filter(|tag| !is_no_name(tag));
        let mut named: Vec<usize> =
            tags.filter_map(|tag| oci.by_name.get(&Name::new(tag).key()).copied()).collect();
        named.sort_unstable();
        named.dedup();
        let same = oci.same_config(&item);
        let mut joins: Vec<usize> =
            named.iter().copied().filter(|at| same.binary_search(at).is_ok()).collect();
        if joins.is_empty() {
            joins.extend(same.first());
        }
        if joins.is_empty() {
            // Where either configuration cannot be read only the name is left to
            // join by: nothing says that the images differ.
            let is_unknown =
                |at: &usize| has_unknown_config(&item) || has_unknown_config(&images[*at]);
            joins.extend(named.iter().copied().find(is_unknown));
        }
        for at in &joins {
            check_layers(&images[*at], &item, findings);
            images[*at].items.extend(&item.items);
        }
        if joins.is_empty() {
            if has_oci && named.is_empty() {
                let message = format!("{} is in manifest.json only", item.label());
                findings.note(Error::new(Code::ViewsDiffer, message));
            }
            alone.push(item);
        }
    }
    images.extend(alone);
    images
}

/// What the images of the OCI view can be joined by.
struct Keys {
    by_config: HashMap<Digest, Vec<usize>>,
    /// By the file of the configuration: its digest may be of another kind than
    /// docker's, or the file too large to be read.
    by_file: HashMap<Box<str>, Vec<usize>>,
    by_name: HashMap<String, usize>,
}

impl Keys {
    fn of(images: &[Image]) -> Keys {
        let mut keys =
            Keys { by_config: HashMap::new(), by_file: HashMap::new(), by_name: HashMap::new() };
        for (at, image) in images.iter().enumerate() {
            for manifest in &image.manifests {
                if let Some(config) = manifest.body.config {
                    push_new(keys.by_config.entry(config).or_default(), at);
                }
                if let Some(entry) = manifest.config_entry() {
                    push_new(keys.by_file.entry(entry.name.clone()).or_default(), at);
                }
            }
            keys.by_name.extend(image.names.iter().map(|name| (name.key(), at)));
        }
        keys
    }

    fn same_config(&self, item: &Image) -> &[usize] {
        let body = item.manifests.first().map(|manifest| &manifest.body);
        let by_config = body.and_then(|body| self.by_config.get(&body.config?));
        let by_file = || body.and_then(|body| self.by_file.get(&body.config_entry.as_ref()?.name));
        by_config.or_else(by_file).map_or(&[], Vec::as_slice)
    }
}

/// Positions come in order, so a repeated one is the last.
fn push_new(list: &mut Vec<usize>, at: usize) {
    if list.last() != Some(&at) {
        list.push(at);
    }
}

fn has_unknown_config(image: &Image) -> bool {
    let unread = |manifest: &ImageManifest| {
        manifest.kind == ManifestKind::Image && manifest.body.config_view.is_none()
    };
    image.manifests.iter().any(unread)
}

/// The layers of an item against those of the manifest with its configuration.
/// docker 25.0.0 wrote the manifest's in random order; diff IDs settle it.
fn check_layers(image: &Image, item: &Image, findings: &mut Diagnostics) {
    let Some(docker) = item.manifests.first().filter(|docker| docker.body.config.is_some()) else {
        return;
    };
    let same = |manifest: &&ImageManifest| manifest.body.config == docker.body.config;
    let Some(oci) = image.manifests.iter().find(same) else { return };
    let files = |manifest: &ImageManifest| -> Vec<Box<str>> {
        let entries = manifest.layers().iter().filter_map(|layer| layer.entry());
        entries.map(|entry| entry.name.clone()).collect()
    };
    let (mut in_oci, mut in_docker) = (files(oci), files(docker));
    if in_oci == in_docker {
        return;
    }
    in_oci.sort_unstable();
    in_docker.sort_unstable();
    if in_oci == in_docker {
        let message = format!(
            "the two views list the layers of {} in different order; diff IDs settle it",
            image.label()
        );
        findings.error(Error::new(Code::ImageLayerOrder, message));
    } else {
        let message = format!("the two views list different layer files for {}", image.label());
        findings.note(Error::new(Code::ViewsDiffer, message));
    }
}

/// Findings about names once they are collected: one name on two images.
pub(crate) fn check_names(images: &[Image], findings: &mut Diagnostics) {
    let mut seen: HashMap<String, (&Image, &Name)> = HashMap::new();
    for (image, name) in images.iter().flat_map(|image| image.names.iter().map(move |n| (image, n)))
    {
        if name.reference().is_none() {
            let text = name.text();
            let message = format!(
                "\"{text}\" is not an image reference; some consumers refuse the archive for it"
            );
            findings.warning(Error::new(Code::NameOdd, message));
        }
        let key = name.key();
        let Some((other, its)) = seen.insert(key.clone(), (image, name)) else { continue };
        let message = format!("{key} leads to two images");
        let digests = (digest(other), digest(image));
        if views(its) == views(name) {
            let message = format!("{message}; consumers keep the first or the last");
            let error = Error::new(Code::NameCollision, message);
            findings.error(error.expected_found(digests.0, digests.1));
        } else {
            let message = format!("{message}: one in manifest.json, another in index.json");
            let error = Error::new(Code::ImageConflict, message);
            findings.fatal(error.expected_found(digests.0, digests.1));
        }
    }
}

/// Whether the docker view has a name, and whether the OCI view has it.
fn views(name: &Name) -> (bool, bool) {
    let docker = name.sites.iter().any(|site| site.is_docker());
    let oci = name.sites.iter().any(|site| !site.is_docker());
    (docker, oci)
}

fn digest(image: &Image) -> String {
    image.digest().map_or_else(|| "none".into(), |digest| digest.to_string())
}
