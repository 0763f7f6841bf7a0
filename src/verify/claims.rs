//! What an archive states about each of its files.

use std::collections::{HashMap, HashSet};

use crate::archive::docker::digest_in_name;
use crate::archive::{Archive, Descriptor, Entry, Image, ImageManifest, ManifestKind};
use crate::digest::Digest;
use crate::media_type::MediaType;
use crate::verify::is_layer;

/// A file and everything stated about it.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) entry: Entry,
    /// Digests of its bytes, from its path and from descriptors.
    pub(super) digests: Vec<Digest>,
    /// A digest in its name that tools give to either the bytes or the
    /// decompressed bytes: podman's `<diff ID>.tar`, crane's `<digest>.tar.gz`.
    pub(super) either: Option<Digest>,
    /// Digests of its decompressed bytes.
    pub(super) diff_ids: Vec<Digest>,
    /// Sizes descriptors give.
    pub(super) sizes: Vec<u64>,
    /// Media types of the descriptors that call it a layer.
    pub(super) layer_types: Vec<MediaType>,
}

/// Every file of an archive, sorted by what can be said of it.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Files with something to check, biggest first.
    pub(super) checked: Vec<Check>,
    /// Names of files nothing is stated about.
    pub(super) unverifiable: Vec<Box<str>>,
    /// Names of blobs no descriptor leads to.
    pub(super) unreferenced: Vec<Box<str>>,
}

/// Collects what paths, descriptors and configurations state.
pub(super) fn collect(archive: &Archive) -> Claims {
    let mut checks = Checks::default();
    for entry in archive.store.entries() {
        if let Some(digest) = Digest::from_blob_path(&entry.name) {
            add(&mut checks.of(&entry).digests, digest);
        }
    }
    let mut referenced: HashSet<Box<str>> = HashSet::new();
    let mut state = |descriptor: &Descriptor| {
        let entry = archive.graph.get(&descriptor.digest).and_then(|node| node.entry.as_ref());
        let Some(check) = entry.map(|entry| checks.of(entry)) else { return };
        referenced.insert(check.entry.name.clone());
        add(&mut check.digests, descriptor.digest);
        add(&mut check.sizes, descriptor.size);
        if is_layer(&descriptor.media_type) {
            add(&mut check.layer_types, descriptor.media_type.clone());
        }
    };
    archive.documents.tops.iter().for_each(&mut state);
    archive.graph.descriptors().for_each(&mut state);

    for item in &archive.documents.items {
        let paths = item.layers.iter().map(|path| (path, true)).chain([(&item.config, false)]);
        for (path, is_layer) in paths {
            let Ok(Some(entry)) = archive.store.find(path) else { continue };
            let check = checks.of(&entry);
            referenced.insert(entry.name.clone());
            match digest_in_name(&entry.name) {
                Some(stated) if is_layer => check.either = Some(stated),
                Some(stated) => add(&mut check.digests, stated),
                None => {}
            }
        }
    }
    for manifest in archive.images().iter().flat_map(|image| image.manifests()) {
        if manifest.kind() != ManifestKind::Image {
            continue;
        }
        let is_shuffled = is_shuffled(manifest);
        for layer in manifest.layers() {
            let check = layer.entry().map(|entry| checks.of(entry));
            let own = layer.descriptor().map(|descriptor| descriptor.digest);
            let diff_id = if is_shuffled { own } else { layer.diff_id() };
            // Its diff ID is that of what only a key opens.
            let is_encrypted = layer.descriptor().is_some_and(|d| d.media_type.is_encrypted());
            let diff_id = diff_id.filter(|_| !is_encrypted);
            if let (Some(check), Some(diff_id)) = (check, diff_id) {
                add(&mut check.diff_ids, diff_id);
            }
        }
    }
    for image in archive.images() {
        state_item_layers(archive, image, &mut checks);
    }
    sort(archive, checks, &referenced)
}

/// Files that something is stated about. Of most members of an odd archive
/// nothing is, and they cost nothing here.
#[derive(Default)]
struct Checks(HashMap<Box<str>, Check>);

impl Checks {
    fn of(&mut self, entry: &Entry) -> &mut Check {
        self.0.entry(entry.name.clone()).or_insert_with(|| Check {
            entry: entry.clone(),
            digests: Vec::new(),
            either: None,
            diff_ids: Vec::new(),
            sizes: Vec::new(),
            layer_types: Vec::new(),
        })
    }
}

/// The layers that `manifest.json` lists for an image of the OCI view. They may
/// be other files than the manifest's, and are still the configuration's.
fn state_item_layers(archive: &Archive, image: &Image, checks: &mut Checks) {
    for item in image.items.iter().map(|at| &archive.documents.items[*at]) {
        let Ok(Some(config)) = archive.store.find(&item.config) else { continue };
        let is_its = |manifest: &&ImageManifest| {
            manifest.config_entry().is_some_and(|e| e.name == config.name)
        };
        let manifest = image.manifests().iter().find(is_its);
        let Some(summary) = manifest.and_then(|manifest| manifest.config()) else { continue };
        for (path, diff_id) in item.layers.iter().zip(&summary.diff_ids) {
            let Ok(Some(entry)) = archive.store.find(path) else { continue };
            add(&mut checks.of(&entry).diff_ids, *diff_id);
        }
    }
}

/// docker 25.0.0 listed the layers of a manifest in random order. They are
/// plain, so each has its diff ID for a digest and none is corrupt; that the
/// order is wrong is a finding of its own.
fn is_shuffled(manifest: &ImageManifest) -> bool {
    let own = manifest.layers().iter().map(|layer| layer.descriptor().map(|d| d.digest));
    let stated = manifest.layers().iter().map(|layer| layer.diff_id());
    let (mut own, mut stated): (Vec<_>, Vec<_>) = (own.collect(), stated.collect());
    let differs = own != stated;
    own.sort_unstable();
    stated.sort_unstable();
    differs && own == stated
}

fn sort(archive: &Archive, mut checks: Checks, referenced: &HashSet<Box<str>>) -> Claims {
    let mut claims = Claims::default();
    // An equal second copy is covered by the first, a different one is fatal.
    for entry in archive.store.entries().filter(|entry| archive.store.is_first(entry)) {
        let check = checks.0.remove(&entry.name).filter(|check| {
            !check.digests.is_empty() || !check.diff_ids.is_empty() || check.either.is_some()
        });
        if Digest::from_blob_path(&entry.name).is_some() && !referenced.contains(&entry.name) {
            claims.unreferenced.push(entry.name.clone());
        }
        match check {
            Some(check) => claims.checked.push(check),
            None => claims.unverifiable.push(entry.name),
        }
    }
    claims.checked.sort_by_key(|check| std::cmp::Reverse(check.entry.span.len));
    claims
}

fn add<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if !list.contains(&value) {
        list.push(value);
    }
}
