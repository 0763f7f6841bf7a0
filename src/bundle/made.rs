//! Manifests for images that only the docker view has.
//!
//! Their layers are read: for the digest of their bytes, for what compresses
//! them, and to check their diff IDs. The configuration stays as it is.

use std::collections::{HashMap, HashSet};

use crate::archive::graph::Content;
use crate::archive::{Archive, Descriptor, Entry, Image, ImageManifest, Manifest, Target};
use crate::bundle::blobs::Blobs;
use crate::compress::{Compression, Reading, Total, Wanted, measure_span};
use crate::digest::{Algorithm, Digest};
use crate::error::{Code, Error, Result};
use crate::json::edit::string;
use crate::media_type::MediaType;
use crate::parallel;
use crate::progress::Progress;

/// What reading a layer file found.
pub(super) struct Measured {
    digest: Digest,
    media_type: MediaType,
    diff_id: Digest,
}

/// By archive (its address) and file.
pub(super) type Layers = HashMap<(usize, Box<str>), Measured>;

fn key_of(archive: &Archive, entry: &Entry) -> (usize, Box<str>) {
    (std::ptr::from_ref(archive) as usize, entry.name.clone())
}

/// The manifest of an image that has no digest of its own.
fn docker_manifest(image: &Image) -> Option<&ImageManifest> {
    match image.target() {
        Target::Config(_) => image.manifests().first(),
        _ => None,
    }
}

/// Reads every layer of the images that have no manifest, each file once,
/// biggest first.
pub(super) fn measure_layers(
    images: &[(&Archive, &Image)],
    jobs: Option<usize>,
    progress: &dyn Progress,
) -> Result<Layers> {
    let mut files: Vec<(&Archive, Entry)> = Vec::new();
    let mut seen = HashSet::new();
    for (archive, image) in images {
        let layers = docker_manifest(image).map_or(&[][..], ImageManifest::layers);
        for entry in layers.iter().filter_map(|layer| layer.entry()) {
            if seen.insert(key_of(archive, entry)) {
                files.push((archive, entry.clone()));
            }
        }
    }
    files.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.span.len));
    let Some((first, _)) = files.first() else { return Ok(HashMap::new()) };
    let total = Total::new(first.limits());
    progress.begin(files.iter().map(|(_, entry)| entry.span.len).sum());
    let results = parallel::map(&files, jobs, |(archive, entry), spare| {
        let how = Reading::new(archive.limits(), &total, progress);
        let how = Reading { spare: Some(spare), ..how };
        measure(entry, &how)
            .map_err(|error| error.at(entry.place.clone()).in_archive(archive.label()))
    });
    let mut layers = HashMap::new();
    for ((archive, entry), result) in files.iter().zip(results) {
        layers.insert(key_of(archive, entry), result?);
    }
    Ok(layers)
}

fn measure(entry: &Entry, reading: &Reading<'_>) -> Result<Measured> {
    let of_path = Digest::from_blob_path(&entry.name);
    let mut algorithms = vec![Algorithm::Sha256];
    algorithms.extend(of_path.map(|digest| digest.algorithm()));
    algorithms.dedup();
    let wanted = Wanted { algorithms, content: true, layer: false };
    let facts = measure_span(&entry.span, &wanted, reading)?;
    let plain = facts.raw(Algorithm::Sha256).ok_or_else(|| Error::new(Code::Bug, "no digest"))?;
    let media_type = match facts.compression {
        Compression::None => MediaType::OCI_LAYER,
        Compression::Gzip => MediaType::OCI_LAYER_GZIP,
        Compression::Zstd => MediaType::OCI_LAYER_ZSTD,
        other => {
            let message = format!("there is no media type for layers in {other}");
            return Err(
                Error::new(Code::MediaType, message).hint("load it into docker and save it again")
            );
        }
    };
    // Where its name is a digest of another kind, and true, it stays.
    let own = of_path.filter(|digest| facts.raw(digest.algorithm()) == Some(*digest));
    let diff_id = facts.unpacked.transpose()?.unwrap_or(plain);
    Ok(Measured { digest: own.unwrap_or(plain), media_type, diff_id })
}

/// A manifest made from a configuration and the layers `manifest.json` lists.
pub(super) fn manifest(
    archive: &Archive,
    image: &Image,
    measured: &Layers,
    blobs: &mut Blobs<'_>,
) -> Result<Descriptor> {
    let missing = |what: &str| {
        Error::new(Code::BlobMissing, format!("{}: {what} is not in the archive", image.label()))
    };
    let manifest = docker_manifest(image).ok_or_else(|| missing("the configuration"))?;
    let (Some(config), Some(entry), Some(view)) =
        (manifest.config_digest(), manifest.config_entry(), manifest.config())
    else {
        return Err(missing("the configuration"));
    };
    if view.diff_ids.len() != manifest.layers().len() {
        let message = format!("{}: layers listed", image.label());
        return Err(Error::new(Code::ImageLayerCount, message)
            .expected_found(view.diff_ids.len(), manifest.layers().len()));
    }
    let config = match Digest::from_blob_path(&entry.name) {
        Some(own) if own.algorithm() != config.algorithm() && own.is_of(&entry.span.read()?) => own,
        _ => config,
    };
    let config_descriptor = descriptor(MediaType::OCI_CONFIG, config, entry.span.len);
    blobs.add_file(config, entry.clone());
    blobs.add_config(config, view);
    let mut layers = Vec::new();
    for (layer, diff_id) in manifest.layers().iter().zip(&view.diff_ids) {
        let found =
            layer.entry().and_then(|entry| Some((entry, measured.get(&key_of(archive, entry))?)));
        let (entry, found) = found.ok_or_else(|| missing(layer.path()))?;
        if found.diff_id != *diff_id {
            let message = format!("{}: a layer is not the one of its configuration", image.label());
            return Err(Error::new(Code::DiffIdMismatch, message)
                .expected_found(diff_id, found.diff_id)
                .at(entry.place.clone()));
        }
        blobs.add_file(found.digest, entry.clone());
        layers.push(descriptor(found.media_type.clone(), found.digest, entry.span.len));
    }
    let list: Vec<String> = layers.iter().map(descriptor_text).collect();
    let text = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{}\",\"config\":{},\"layers\":[{}]}}",
        MediaType::OCI_MANIFEST.as_str(),
        descriptor_text(&config_descriptor),
        list.join(","),
    );
    let view = Manifest { config: config_descriptor, layers, subject: None, artifact_type: None };
    let size = text.len() as u64;
    let digest = blobs.add_document(text.into_bytes(), Content::Manifest(Box::new(view)));
    Ok(descriptor(MediaType::OCI_MANIFEST, digest, size))
}

pub(super) fn descriptor(media_type: MediaType, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type,
        digest,
        size,
        platform: None,
        annotations: Vec::new(),
        artifact_type: None,
        urls: Vec::new(),
        bad_data: None,
    }
}

/// A descriptor of nothing but type, digest and size, in the order of the
/// specification.
pub(super) fn descriptor_text(descriptor: &Descriptor) -> String {
    format!(
        "{{\"mediaType\":{},\"digest\":\"{}\",\"size\":{}}}",
        string(descriptor.media_type.as_str()),
        descriptor.digest,
        descriptor.size,
    )
}
