//! How a bundle is written: the canonical archive.
//!
//! ustar, regular files and directories, owner 0, one time for all; the blobs
//! sorted, each once, then the control files, as Go's exporters order them. No
//! links, no `repositories`, nothing that no document leads to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::archive::{Descriptor, Format};
use crate::bundle::blobs::{Blob, Leaf};
use crate::bundle::names::{BundleName, Top};
use crate::bundle::{Bundle, BundleImage};
use crate::digest::Digest;
use crate::error::{Code, Error, Result};
use crate::json::edit::{string, strings};
use crate::media_type::MediaType;
use crate::plan::{Plan, PlanBuilder};
use crate::platform::{Platform, PlatformSpec};
use crate::tarball::write::{END_MARKER, directory_header, file_header, padding};

/// How a bundle is laid out.
#[derive(Clone, Debug)]
pub struct Layout {
    format: Format,
    mtime: u64,
    prefer: Vec<PlatformSpec>,
    digest_names: bool,
}

impl Layout {
    /// The view or views to write, at time 0. An archive of
    /// [`Format::DockerV1`] is written as [`Format::Docker`].
    #[must_use]
    pub fn new(format: Format) -> Self {
        Layout { format, mtime: 0, prefer: Vec::new(), digest_names: false }
    }

    /// The time of every member, in seconds since 1970.
    #[must_use]
    pub fn mtime(mut self, seconds: u64) -> Self {
        self.mtime = seconds;
        self
    }

    /// Which platform the docker view shows of an image that has several: the
    /// first of these it has, else the one it showed before, else linux/amd64,
    /// else the first.
    #[must_use]
    pub fn prefer(mut self, platforms: impl IntoIterator<Item = PlatformSpec>) -> Self {
        self.prefer.extend(platforms);
        self
    }

    /// Whether every image gets `repository@digest` as a further name. Only the
    /// OCI view has a place for it.
    #[must_use]
    pub fn digest_names(mut self, yes: bool) -> Self {
        self.digest_names = yes;
        self
    }

    pub(super) fn has_index(&self) -> bool {
        matches!(self.format, Format::Oci | Format::Hybrid)
    }

    pub(super) fn has_items(&self) -> bool {
        !matches!(self.format, Format::Oci)
    }
}

/// An item of `manifest.json`.
#[derive(Debug)]
pub(super) struct Item {
    config: Digest,
    tags: BTreeSet<String>,
    layers: Vec<Digest>,
}

impl Bundle<'_> {
    /// The pieces of the output.
    ///
    /// # Errors
    ///
    /// `E_PLATFORM_CHOICE` when docker's format alone is wanted of an image with
    /// several platforms, `E_NO_MATCH` of one with none that runs,
    /// `E_SIZE_MISMATCH` when a blob is not of the size its descriptor says,
    /// `E_USAGE` for names with digests in docker's format.
    pub fn plan(&self, layout: &Layout) -> Result<Plan> {
        let (blobs, items) = self.content(layout)?;
        let mut controls = Vec::new();
        if layout.has_index() {
            controls.push(("index.json", self.index_json(layout)?));
        }
        if !items.is_empty() || !layout.has_index() {
            controls.push(("manifest.json", manifest_json(&items)));
        }
        if layout.has_index() {
            controls.push(("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}".to_owned()));
        }
        self.pieces(blobs, controls, layout.mtime)
    }

    /// The blobs that are written, by path, and the items of `manifest.json`.
    pub(super) fn content(&self, layout: &Layout) -> Result<(BTreeMap<String, Blob>, Vec<Item>)> {
        if layout.digest_names && !layout.has_index() {
            let message = "docker's format has no place for names with a digest";
            return Err(Error::new(Code::Usage, message).hint("--to hybrid or oci has"));
        }
        let items = if layout.has_items() { self.items(layout)? } else { Vec::new() };
        let mut blobs: BTreeMap<String, Blob> = BTreeMap::new();
        for item in &items {
            for digest in item.layers.iter().chain([&item.config]) {
                if let Some(blob) = self.blobs.find(digest) {
                    blobs.insert(digest.blob_path(), blob);
                }
            }
        }
        if layout.has_index() {
            self.add_graphs(&mut blobs)?;
        }
        Ok((blobs, items))
    }

    fn pieces(
        &self,
        blobs: BTreeMap<String, Blob>,
        controls: Vec<(&str, String)>,
        mtime: u64,
    ) -> Result<Plan> {
        let origins = self.blobs.archives().iter().map(|archive| archive.origin().clone());
        let mut plan = PlanBuilder::new(origins.collect());
        let mut folder = String::new();
        for (path, blob) in blobs {
            let own = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            if own != folder {
                if folder.is_empty() {
                    plan.bytes(directory_header("blobs", mtime)?);
                }
                plan.bytes(directory_header(own, mtime)?);
                folder = own.to_owned();
            }
            let len = match &blob {
                Blob::Entry(entry) => entry.span.len,
                Blob::Bytes(bytes) => bytes.len() as u64,
            };
            plan.bytes(file_header(&path, len, mtime)?);
            match blob {
                Blob::Entry(entry) => plan.span(entry.span),
                Blob::Bytes(bytes) => plan.bytes(bytes),
            }
            plan.zeros(padding(len));
        }
        for (name, text) in controls {
            let len = text.len() as u64;
            plan.bytes(file_header(name, len, mtime)?);
            plan.bytes(text.into_bytes());
            plan.zeros(padding(len));
        }
        plan.zeros(usize::try_from(END_MARKER).unwrap_or(1024));
        Ok(plan.build())
    }

    /// Every blob the OCI view leads to and the inputs hold.
    fn add_graphs(&self, all: &mut BTreeMap<String, Blob>) -> Result<()> {
        for image in &self.images {
            let leaves = image.leaves.iter().map(|leaf| &leaf.descriptor);
            self.add_graph(&image.root, leaves, all)?;
        }
        for referrer in &self.referrers {
            let leaves = self.blobs.leaves(&referrer.descriptor);
            let leaves = leaves.iter().map(|leaf| &leaf.descriptor);
            self.add_graph(&referrer.descriptor, leaves, all)?;
        }
        Ok(())
    }

    fn add_graph<'d>(
        &self,
        root: &Descriptor,
        leaves: impl Iterator<Item = &'d Descriptor>,
        all: &mut BTreeMap<String, Blob>,
    ) -> Result<()> {
        let mut add = |descriptor: &Descriptor| -> Result<()> {
            let path = descriptor.digest.blob_path();
            if !all.contains_key(&path)
                && let Some(blob) = self.blobs.of(descriptor)?
            {
                all.insert(path, blob);
            }
            Ok(())
        };
        let indexes = self.blobs.indexes(&root.digest);
        if !indexes.is_empty() {
            add(root)?;
        }
        for index in indexes.iter().filter_map(|digest| self.blobs.index(digest)) {
            let nested = |child: &&Descriptor| self.blobs.index(&child.digest).is_some();
            index.manifests.iter().filter(nested).try_for_each(&mut add)?;
        }
        for leaf in leaves {
            add(leaf)?;
            if let Some(manifest) = self.blobs.manifest(&leaf.digest) {
                manifest.layers.iter().chain([&manifest.config]).try_for_each(&mut add)?;
            }
        }
        Ok(())
    }

    /// `index.json`: a descriptor for each name, sorted, then those about
    /// others.
    fn index_json(&self, layout: &Layout) -> Result<String> {
        let mut tops: Vec<(bool, Top)> = Vec::new();
        for image in &self.images {
            for top in &image.tops {
                let top =
                    if layout.format == self.format { top.clone() } else { image.in_full(top)? };
                tops.push((top.keys.is_empty(), top));
            }
            if layout.digest_names && image.about.is_none() {
                tops.extend(image.digest_tops()?.into_iter().map(|top| (false, top)));
            }
        }
        tops.sort();
        tops.dedup();
        let images = tops.iter().map(|(_, top)| &top.raw);
        let all = images.chain(self.referrers.iter().map(|referrer| &referrer.raw));
        let all: Vec<String> = all.map(|raw| String::from_utf8_lossy(raw).into_owned()).collect();
        let media_type = string(MediaType::OCI_INDEX.as_str());
        Ok(format!(
            "{{\"schemaVersion\":2,\"mediaType\":{media_type},\"manifests\":[{}]}}",
            all.join(",")
        ))
    }

    /// The items of `manifest.json`: one for each configuration.
    fn items(&self, layout: &Layout) -> Result<Vec<Item>> {
        let mut items: Vec<Item> = Vec::new();
        let mut by_config: HashMap<Digest, usize> = HashMap::new();
        for image in self.images.iter().filter(|image| image.about.is_none()) {
            let Some((config, layers)) = self.shown(image, layout)? else { continue };
            let at = *by_config.entry(config).or_insert_with(|| {
                items.push(Item { config, tags: BTreeSet::new(), layers });
                items.len() - 1
            });
            let tags = image.names.iter().filter_map(BundleName::repo_tag);
            items[at].tags.extend(tags.map(str::to_owned));
        }
        items.sort_by(|a, b| {
            let key = |item: &Item| (item.tags.is_empty(), item.tags.first().cloned(), item.config);
            key(a).cmp(&key(b))
        });
        Ok(items)
    }

    /// What the docker view shows of an image: a configuration and layers.
    pub(super) fn shown(
        &self,
        image: &BundleImage,
        layout: &Layout,
    ) -> Result<Option<(Digest, Vec<Digest>)>> {
        let runs: Vec<(&Leaf, Digest, Vec<Digest>)> = image
            .leaves
            .iter()
            .filter_map(|leaf| {
                let (config, layers) = self.runs(leaf)?;
                Some((leaf, config, layers))
            })
            .collect();
        if layout.format != Format::Hybrid {
            let mut platforms: Vec<&Option<Platform>> = Vec::new();
            for (leaf, ..) in &runs {
                // Of one that is there twice the first counts.
                if !platforms.contains(&&leaf.platform) {
                    platforms.push(&leaf.platform);
                }
            }
            match &platforms[..] {
                [] => {
                    let message = format!("{}: nothing in it that docker could run", image.label());
                    return Err(Error::new(Code::NoMatch, message)
                        .hint("--except leaves it out, --to oci keeps it"));
                }
                [_] => {}
                several => {
                    let text = |platform: &&Option<Platform>| {
                        platform.as_ref().map_or_else(|| "unknown".into(), Platform::to_string)
                    };
                    let platforms: Vec<String> = several.iter().map(text).collect();
                    let platforms = platforms.join(", ");
                    let message = format!(
                        "{}: docker's format holds one platform of {platforms}",
                        image.label()
                    );
                    return Err(Error::new(Code::PlatformChoice, message)
                        .hint("--platform chooses one, --fan-out writes a file for each"));
                }
            }
        }
        let platforms: Vec<Option<&Platform>> =
            runs.iter().map(|(leaf, ..)| leaf.platform.as_ref()).collect();
        let amd64 = PlatformSpec::from(Platform::new("linux", "amd64"));
        let of = |spec: &PlatformSpec| {
            platforms.iter().position(|platform| platform.is_some_and(|p| spec.matches(p)))
        };
        // Views that showed several were merged: of those, too, linux/amd64.
        let was_shown = |at: &usize| image.shown.contains(&runs[*at].1);
        let at = layout
            .prefer
            .iter()
            .find_map(of)
            .or_else(|| of(&amd64).filter(was_shown))
            .or_else(|| (0..runs.len()).find(was_shown))
            .or_else(|| of(&amd64))
            .unwrap_or(0);
        Ok(runs.into_iter().nth(at).map(|(_, config, layers)| (config, layers)))
    }

    /// The configuration and the layers of a manifest, where all of them are
    /// there and docker could run it.
    fn runs(&self, leaf: &Leaf) -> Option<(Digest, Vec<Digest>)> {
        let manifest = self.blobs.manifest(&leaf.descriptor.digest).filter(|_| leaf.is_image())?;
        let config = manifest.config.digest;
        let view = self.blobs.config(&config).filter(|view| view.has_rootfs)?;
        let mut layers: Vec<Digest> = manifest.layers.iter().map(|layer| layer.digest).collect();
        let is_there = |digest: &Digest| self.blobs.has(digest);
        if layers.len() != view.diff_ids.len() || !layers.iter().chain([&config]).all(is_there) {
            return None;
        }
        // docker 25.0.0 lists plain layers in random order.
        let sorted = |list: &[Digest]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list
        };
        if sorted(&layers) == sorted(&view.diff_ids) {
            layers.clone_from(&view.diff_ids);
        }
        Some((config, layers))
    }
}

impl BundleImage {
    /// A descriptor with containerd's annotation.
    fn in_full(&self, top: &Top) -> Result<Top> {
        let name = match &top.keys[..] {
            [key] => self.names.iter().find(|name| name.key() == key),
            _ => None,
        };
        match name.and_then(BundleName::reference) {
            Some(reference) if !top.has_image_name() => Top::named(&top.raw, reference),
            _ => Ok(top.clone()),
        }
    }

    /// A further descriptor for each repository, with the digest in the name.
    fn digest_tops(&self) -> Result<Vec<Top>> {
        let Some(first) = self.tops.first() else { return Ok(Vec::new()) };
        let references = self.names.iter().filter_map(BundleName::reference);
        let names = references.map(|name| name.without_tag().with_digest(self.root.digest));
        let mut tops = Vec::new();
        let mut seen: BTreeSet<String> =
            self.names.iter().map(|name| name.key().to_owned()).collect();
        for name in names {
            if seen.insert(name.to_string()) {
                tops.push(Top::named(&first.raw, &name)?);
            }
        }
        Ok(tops)
    }
}

/// `manifest.json`, in the order of Go's fields.
fn manifest_json(items: &[Item]) -> String {
    let path = |digest: &Digest| string(&digest.blob_path());
    let items = items.iter().map(|item| {
        let layers: Vec<String> = item.layers.iter().map(path).collect();
        format!(
            "{{\"Config\":{},\"RepoTags\":{},\"Layers\":[{}]}}",
            path(&item.config),
            strings(item.tags.iter().map(String::as_str)),
            layers.join(",")
        )
    });
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}
