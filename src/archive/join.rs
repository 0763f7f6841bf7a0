//! The two views of one archive: images joined, contradictions found.
//!
//! containerd reads `index.json`, classic dockerd and crane read
//! `manifest.json`, podman reads one and falls back to the other. A name that
//! leads to different images in the two makes one file two archives.

use std::collections::{HashMap, HashSet};

use crate::archive::docker::Item;
use crate::archive::image::{Image, ManifestKind, Target};
use crate::archive::names::{Name, is_no_name};
use crate::archive::view::{Descriptor, annotation};
use crate::diagnostics::Diagnostics;
use crate::digest::Digest;
use crate::error::{Code, Error};

/// Joins the images of the docker view to those of the OCI view.
pub(crate) fn join(
    mut images: Vec<Image>,
    docker: Vec<Image>,
    tops: &[Descriptor],
    items: &[Item],
    findings: &mut Diagnostics,
) -> Vec<Image> {
    let mut by_config: HashMap<Digest, Vec<usize>> = HashMap::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for (at, image) in images.iter().enumerate() {
        for config in image.manifests.iter().filter_map(|m| m.body.config).collect::<HashSet<_>>() {
            by_config.entry(config).or_default().push(at);
        }
        for descriptor in &image.descriptors {
            if let Some(name) = tops[*descriptor].annotation(annotation::IMAGE_NAME) {
                by_name.insert(Name::new(name).key(), at);
            }
        }
    }
    let has_oci = !images.is_empty();
    let mut alone = Vec::new();
    for item in docker {
        let named =
            item.items.iter().flat_map(|at| &items[*at].tags).filter(|tag| !is_no_name(tag));
        let named: Vec<usize> =
            named.filter_map(|tag| by_name.get(&Name::new(tag).key()).copied()).collect();
        // The path claims a digest, too: of another algorithm, or of a file that is absent.
        let claimed = item.items.first().and_then(|at| Digest::from_blob_path(&items[*at].config));
        let found = match item.target {
            Target::Config(config) => Some(config),
            _ => None,
        };
        let same = found.into_iter().chain(claimed).find_map(|config| by_config.get(&config));
        let same = same.map_or(&[][..], Vec::as_slice);
        // Several manifests may share a configuration; a shared name decides.
        let at = same.iter().find(|at| named.contains(at)).or(same.first()).copied();
        // Where the manifest is absent only the name is left to join by.
        let at = at.or_else(|| named.iter().find(|at| has_unknown_config(&images[**at])).copied());
        match at {
            Some(at) => {
                check_layers(&images[at], &item, findings);
                images[at].items.extend(item.items);
            }
            None => {
                if has_oci && named.is_empty() {
                    let message = format!("{} is in manifest.json only", item.label());
                    findings.note(Error::new(Code::ViewsDiffer, message));
                }
                alone.push(item);
            }
        }
    }
    images.extend(alone);
    images
}

fn has_unknown_config(image: &Image) -> bool {
    image
        .manifests
        .iter()
        .any(|manifest| manifest.kind == ManifestKind::Image && manifest.body.config.is_none())
}

/// The layers of an item against those of the manifest with its configuration.
/// docker 25.0.0 wrote the manifest's in random order; diff IDs settle it.
fn check_layers(image: &Image, item: &Image, findings: &mut Diagnostics) {
    let Target::Config(config) = item.target else { return };
    let manifest = image.manifests.iter().find(|manifest| manifest.body.config == Some(config));
    let (Some(oci), Some(docker)) = (manifest, item.manifests.first()) else { return };
    let files = |manifest: &crate::archive::image::ImageManifest| -> Vec<Box<str>> {
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
