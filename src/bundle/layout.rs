//! How a bundle is written: the canonical archive.
//!
//! ustar, regular files and directories, owner 0, one time for all; the blobs
//! sorted, each once, then the control files, as Go's exporters order them. No
//! links, no `repositories`, nothing that no document leads to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::archive::{Descriptor, Format};
use crate::bundle::blobs::{Blob, Leaf};
use crate::bundle::names::{BundleName, Top};
use crate::bundle::{Bundle, BundleImage, Output};
use crate::digest::Digest;
use crate::error::{Code, Error, Result};
use crate::json::edit::{string, strings};
use crate::media_type::MediaType;
use crate::platform::{Platform, PlatformSpec};

/// How a bundle is laid out.
#[derive(Clone, Debug)]
pub struct Layout {
    format: Format,
    mtime: u64,
    prefer: Vec<PlatformSpec>,
    default_platform: Option<PlatformSpec>,
    digest_names: bool,
    breaks: bool,
}

impl Layout {
    /// The view or views to write, at time 0. An archive of
    /// [`Format::DockerV1`] is written as [`Format::Docker`].
    #[must_use]
    pub fn new(format: Format) -> Self {
        Layout {
            format,
            mtime: 0,
            prefer: Vec::new(),
            default_platform: None,
            digest_names: false,
            breaks: false,
        }
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

    /// As the first of those to [`prefer`](Self::prefer), and one that at least
    /// one image must have.
    #[must_use]
    pub fn default_platform(mut self, platform: PlatformSpec) -> Self {
        self.prefer.insert(0, platform.clone());
        self.default_platform = Some(platform);
        self
    }

    /// Whether every image gets `repository@digest` as a further name. Only the
    /// OCI view has a place for it.
    #[must_use]
    pub fn digest_names(mut self, yes: bool) -> Self {
        self.digest_names = yes;
        self
    }

    /// Whether signatures may go that docker's format has no place for. Where
    /// not, that is an error.
    #[must_use]
    pub fn break_signatures(mut self, yes: bool) -> Self {
        self.breaks = yes;
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
struct Item {
    config: Descriptor,
    tags: BTreeSet<String>,
    layers: Vec<Descriptor>,
}

/// A manifest that docker can run, as the docker view shows it.
struct Runs<'b> {
    leaf: &'b Leaf,
    config: &'b Descriptor,
    /// In the order of the diff IDs.
    layers: Vec<&'b Descriptor>,
}

impl<'a> Bundle<'a> {
    /// Lays the bundle out.
    ///
    /// # Errors
    ///
    /// `E_SIZE_MISMATCH` when a blob is not of the size its descriptor says,
    /// `E_PLATFORM_MISSING` when no image has the default platform. When docker's
    /// format alone is wanted: `E_PLATFORM_CHOICE` of an image with several
    /// platforms, `E_NO_MATCH` of one with none that runs, `E_REFERRER` for
    /// signatures, `E_USAGE` for names with digests.
    pub fn output(&self, layout: &Layout) -> Result<Output<'a>> {
        let mut bundle = match layout.has_index() {
            true => self.clone(),
            false => self.for_docker(layout)?,
        };
        let (items, shown) = match layout.has_items() {
            true => bundle.items(layout)?,
            false => (Vec::new(), vec![None; bundle.images.len()]),
        };
        bundle.drop_unplaced(layout, &shown);
        let mut blobs: BTreeMap<String, Blob> = BTreeMap::new();
        for item in &items {
            for descriptor in item.layers.iter().chain([&item.config]) {
                bundle.add_blob(descriptor, &mut blobs)?;
            }
        }
        let mut digest_names = vec![Vec::new(); bundle.images.len()];
        let mut controls: Vec<(&'static str, Vec<u8>)> = Vec::new();
        if layout.has_index() {
            bundle.add_graphs(&mut blobs)?;
            let index = bundle.index_json(layout, &mut digest_names)?;
            controls.push(("index.json", index));
        }
        if !items.is_empty() || !layout.has_index() {
            controls.push(("manifest.json", manifest_json(&items)));
        }
        if layout.has_index() {
            controls.push(("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()));
        }
        Ok(Output {
            bundle,
            blobs,
            controls,
            mtime: layout.mtime,
            has_index: layout.has_index(),
            has_items: layout.has_items(),
            shown,
            digest_names,
        })
    }

    /// What of the bundle docker's format has a place for: one manifest an
    /// image, names without digests, nothing that is attached.
    fn for_docker(&self, layout: &Layout) -> Result<Bundle<'a>> {
        if layout.digest_names {
            let message = "docker's format has no place for names with a digest";
            return Err(Error::new(Code::Usage, message));
        }
        let mut bundle = self.clone();
        bundle.break_attached();
        if !layout.breaks {
            bundle.check_broken("docker's format has no place for what is about an image")?;
        }
        let mut images = std::mem::take(&mut bundle.images);
        for image in &mut images {
            let leaf = match &*bundle.runs(image) {
                [] => return Err(bundle.why_nothing_runs(image)),
                runs => {
                    let leaves: Vec<&Leaf> = runs.iter().map(|runs| runs.leaf).collect();
                    let message = "docker's format holds one platform";
                    leaves[image.sole(&leaves, &layout.prefer, message)?].key()
                }
            };
            image.keep_only(&leaf);
            let (names, rest): (Vec<_>, Vec<_>) =
                std::mem::take(&mut image.names).into_iter().partition(BundleName::is_repo_tag);
            image.names = names;
            for name in rest {
                // A new digest in a name that goes is no news.
                let is_new = |(_, new): &(String, String)| new == name.key();
                let old = bundle.renamed.iter().position(is_new);
                let old = old.map(|at| bundle.renamed.remove(at).0);
                bundle.dropped.push(old.unwrap_or_else(|| name.key().to_owned()));
            }
        }
        bundle.images = images;
        Ok(bundle)
    }

    /// Lets go of names that stand nowhere: of a docker view's name that is no
    /// reference no descriptor is made.
    fn drop_unplaced(&mut self, layout: &Layout, shown: &[Option<Digest>]) {
        for (image, shown) in self.images.iter_mut().zip(shown) {
            let on_top = image.tops.iter().flat_map(|top| &top.keys);
            let on_top: HashSet<&str> = on_top.map(String::as_str).collect();
            let is_placed = |name: &BundleName| {
                layout.has_index() && on_top.contains(name.key())
                    || shown.is_some() && name.is_repo_tag()
            };
            let names = std::mem::take(&mut image.names);
            let (names, rest): (Vec<_>, Vec<_>) = names.into_iter().partition(is_placed);
            image.names = names;
            self.dropped.extend(rest.iter().map(|name| name.key().to_owned()));
        }
    }

    fn add_blob(&self, descriptor: &Descriptor, all: &mut BTreeMap<String, Blob>) -> Result<()> {
        let path = descriptor.digest.blob_path();
        match all.get(&path) {
            Some(blob) if blob.len() == descriptor.size => {}
            Some(blob) => return Err(self.blobs.wrong_size(descriptor, blob)),
            None => all.extend(self.blobs.of(descriptor)?.map(|blob| (path, blob))),
        }
        Ok(())
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
        let mut add = |descriptor: &Descriptor| self.add_blob(descriptor, all);
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
    fn index_json(&self, layout: &Layout, digest_names: &mut [Vec<String>]) -> Result<Vec<u8>> {
        let mut tops: Vec<(bool, Top)> = Vec::new();
        for (at, image) in self.images.iter().enumerate() {
            for top in &image.tops {
                let top =
                    if layout.format == self.format { top.clone() } else { image.in_full(top)? };
                tops.push((top.keys.is_empty(), top));
            }
            if layout.digest_names && image.about.is_none() {
                let more = image.digest_tops()?;
                digest_names[at].extend(more.iter().flat_map(|top| top.keys.iter().cloned()));
                tops.extend(more.into_iter().map(|top| (false, top)));
            }
        }
        tops.sort();
        tops.dedup();
        let media_type = string(MediaType::OCI_INDEX.as_str());
        let mut json = format!("{{\"schemaVersion\":2,\"mediaType\":{media_type},\"manifests\":[")
            .into_bytes();
        let images = tops.iter().map(|(_, top)| &top.raw);
        let all = images.chain(self.referrers.iter().map(|referrer| &referrer.raw));
        for (at, raw) in all.enumerate() {
            if at > 0 {
                json.push(b',');
            }
            json.extend_from_slice(raw);
        }
        json.extend_from_slice(b"]}");
        Ok(json)
    }

    /// The items of `manifest.json`, one for each configuration, and which of
    /// them shows each image.
    fn items(&self, layout: &Layout) -> Result<(Vec<Item>, Vec<Option<Digest>>)> {
        let mut items: Vec<Item> = Vec::new();
        let mut by_config: HashMap<Digest, usize> = HashMap::new();
        let mut shown = Vec::new();
        let mut platforms: BTreeSet<&Platform> = BTreeSet::new();
        for image in &self.images {
            let all = if image.about.is_some() { Vec::new() } else { self.runs(image) };
            platforms.extend(all.iter().filter_map(|runs| runs.leaf.platform.as_ref()));
            let Some(runs) = image.preferred(all, layout) else {
                shown.push(None);
                continue;
            };
            let Runs { config, layers, .. } = runs;
            shown.push(Some(config.digest));
            let at = *by_config.entry(config.digest).or_insert_with(|| {
                let layers = layers.into_iter().cloned().collect();
                items.push(Item { config: config.clone(), tags: BTreeSet::new(), layers });
                items.len() - 1
            });
            let tags = image.names.iter().filter_map(BundleName::repo_tag);
            items[at].tags.extend(tags.map(str::to_owned));
        }
        if let Some(spec) = &layout.default_platform
            && !platforms.iter().any(|platform| spec.matches(platform))
        {
            let there: Vec<String> = platforms.iter().map(|p| p.to_string()).collect();
            let message = format!("no image has the default platform {spec}");
            return Err(Error::new(Code::PlatformMissing, message)
                .hint(format!("there are {}", there.join(", "))));
        }
        items.sort_by(|a, b| {
            let key = |item: &Item| {
                (item.tags.is_empty(), item.tags.first().cloned(), item.config.digest)
            };
            key(a).cmp(&key(b))
        });
        Ok((items, shown))
    }

    /// The manifests of an image that docker could run, with all their blobs.
    fn runs<'b>(&'b self, image: &'b BundleImage) -> Vec<Runs<'b>> {
        image.leaves.iter().filter_map(|leaf| self.leaf_runs(leaf)).collect()
    }

    fn leaf_runs<'b>(&'b self, leaf: &'b Leaf) -> Option<Runs<'b>> {
        let manifest = self.blobs.manifest(&leaf.descriptor.digest).filter(|_| leaf.is_image())?;
        let config = &manifest.config;
        let view = self.blobs.config(&config.digest).filter(|view| view.has_rootfs)?;
        let mut layers: Vec<&Descriptor> = manifest.layers.iter().collect();
        let is_there = |descriptor: &&Descriptor| self.blobs.has(&descriptor.digest);
        let mut all = layers.iter().copied().chain([config]);
        if layers.len() != view.diff_ids.len() || !all.all(|descriptor| is_there(&descriptor)) {
            return None;
        }
        // No docker has a key.
        if layers.iter().any(|layer| layer.media_type.is_encrypted()) {
            return None;
        }
        // docker 25.0.0 lists plain layers in random order.
        let sorted = |mut list: Vec<Digest>| {
            list.sort_unstable();
            list
        };
        let own = sorted(layers.iter().map(|layer| layer.digest).collect());
        if own == sorted(view.diff_ids.clone()) {
            let by_digest: HashMap<Digest, &Descriptor> =
                layers.iter().map(|layer| (layer.digest, *layer)).collect();
            layers = view.diff_ids.iter().filter_map(|d| by_digest.get(d).copied()).collect();
        }
        Some(Runs { leaf, config, layers })
    }

    fn why_nothing_runs(&self, image: &BundleImage) -> Error {
        let label = image.label();
        let bad = image.leaves.iter().filter(|leaf| leaf.is_image()).find_map(|leaf| {
            let manifest = self.blobs.manifest(&leaf.descriptor.digest)?;
            let is_bad = |layer: &&Descriptor| {
                !self.blobs.has(&layer.digest) || layer.media_type.is_encrypted()
            };
            manifest.layers.iter().find(is_bad)
        });
        let message = match bad {
            Some(layer) if self.blobs.has(&layer.digest) => {
                format!("{label}: the layer {} is encrypted, and docker has no key", layer.digest)
            }
            Some(layer) if layer.is_foreign() => format!(
                "{label}: the foreign layer {} is not in the archive, and docker's format cannot do without",
                layer.digest
            ),
            Some(layer) => format!("{label}: the layer {} is not in the archive", layer.digest),
            None => format!("{label}: nothing in it that docker could run"),
        };
        Error::new(Code::NoMatch, message)
    }
}

impl BundleImage {
    /// Which of its manifests the docker view shows.
    fn preferred<'b>(&self, all: Vec<Runs<'b>>, layout: &Layout) -> Option<Runs<'b>> {
        let platforms: Vec<Option<&Platform>> =
            all.iter().map(|runs| runs.leaf.platform.as_ref()).collect();
        let amd64 = PlatformSpec::from(Platform::new("linux", "amd64"));
        let of = |spec: &PlatformSpec| {
            let exact = spec.platform().normalized();
            let exact = platforms.iter().position(|platform| *platform == Some(&exact));
            exact.or_else(|| platforms.iter().position(|p| p.is_some_and(|p| spec.matches(p))))
        };
        // Views that showed several were merged: of those, too, linux/amd64.
        let was_shown = |at: &usize| self.shown.contains(&all[*at].config.digest);
        let at = layout
            .prefer
            .iter()
            .find_map(of)
            .or_else(|| of(&amd64).filter(was_shown))
            .or_else(|| (0..all.len()).find(was_shown))
            .or_else(|| of(&amd64))
            .unwrap_or(0);
        all.into_iter().nth(at)
    }

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
fn manifest_json(items: &[Item]) -> Vec<u8> {
    let path = |descriptor: &Descriptor| string(&descriptor.digest.blob_path());
    let items = items.iter().map(|item| {
        let layers: Vec<String> = item.layers.iter().map(path).collect();
        format!(
            "{{\"Config\":{},\"RepoTags\":{},\"Layers\":[{}]}}",
            path(&item.config),
            strings(item.tags.iter().map(String::as_str)),
            layers.join(",")
        )
    });
    format!("[{}]", items.collect::<Vec<_>>().join(",")).into_bytes()
}
