//! From archives to a bundle: which images, under which names, and manifests
//! for those that have none.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::archive::graph::Content;
use crate::archive::view::annotation;
use crate::archive::{
    Archive, Descriptor, Entry, Format, Image, ImageManifest, Manifest, Name, Target,
};
use crate::bundle::blobs::Blobs;
use crate::bundle::names::{self, BundleName, Top, raw_top};
use crate::bundle::outcome;
use crate::bundle::{Bundle, BundleImage, Referrer};
use crate::compress::{Compression, Wanted, measure_span};
use crate::digest::{Algorithm, Digest};
use crate::error::{Code, Error, Result};
use crate::media_type::MediaType;
use crate::parallel;
use crate::progress::Progress;

/// Which images a bundle is made of.
#[derive(Clone, Debug, Default)]
pub struct GatherOptions {
    only: Vec<String>,
    except: Vec<String>,
    on_conflict: OnConflict,
    jobs: Option<usize>,
}

/// What happens to a name that leads to different images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnConflict {
    /// An error says so.
    #[default]
    Fail,
    /// The image that comes first keeps it.
    First,
    /// The image that comes last keeps it.
    Last,
}

impl GatherOptions {
    /// Every image under all of its names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes only what these lead to: a name, and of its image this name
    /// alone; or a digest or the start of its hex, and all names of the image.
    #[must_use]
    pub fn only<S: Into<String>>(mut self, references: impl IntoIterator<Item = S>) -> Self {
        self.only.extend(references.into_iter().map(Into::into));
        self
    }

    /// Leaves out what these lead to: a name, and its image with the last of
    /// its names; or a digest.
    #[must_use]
    pub fn except<S: Into<String>>(mut self, references: impl IntoIterator<Item = S>) -> Self {
        self.except.extend(references.into_iter().map(Into::into));
        self
    }

    /// What happens to a name that leads to different images.
    #[must_use]
    pub fn on_conflict(mut self, what: OnConflict) -> Self {
        self.on_conflict = what;
        self
    }

    /// Threads to read layers with; as many as the machine has when `None`.
    #[must_use]
    pub fn jobs(mut self, jobs: Option<usize>) -> Self {
        self.jobs = jobs;
        self
    }
}

/// An image that was chosen, with the positions of the names it keeps.
struct Chosen<'a> {
    archive: &'a Archive,
    image: &'a Image,
    names: Vec<usize>,
    /// Whether it was asked for itself, and stays whatever it is about.
    is_picked: bool,
}

impl<'a> Bundle<'a> {
    /// Gathers images of archives that passed [`Archive::check`].
    ///
    /// Layers are read only of images that `manifest.json` alone has: for the
    /// digests of their bytes and to check their diff IDs.
    ///
    /// # Errors
    ///
    /// `E_NO_MATCH` when a reference leads to no image, `E_NAME_COLLISION`,
    /// `E_BLOB_MISSING`, `E_DIFFID_MISMATCH` and `E_MEDIATYPE` for an image that
    /// no manifest can be made for, `N_DOCKER_V1` for archives without
    /// configurations, and the errors of reading.
    pub fn gather(
        archives: &[&'a Archive],
        options: &GatherOptions,
        progress: &dyn Progress,
    ) -> Result<Bundle<'a>> {
        let (chosen, dropped) = choose(archives, options)?;
        let mut blobs = Blobs::new(archives);
        let measured = measure_layers(&chosen, options.jobs, progress)?;
        let mut images = Vec::new();
        for chosen in &chosen {
            images.push(
                image(chosen, &measured, &mut blobs)
                    .map_err(|error| error.in_archive(chosen.archive.label()))?,
            );
        }
        let mut bundle = Bundle {
            blobs,
            images: Vec::new(),
            referrers: referrers(archives)?,
            before: Arc::new(outcome::before(archives)),
            replaced: HashMap::new(),
            renamed: Vec::new(),
            dropped,
            broken: Vec::new(),
            format: format_of(archives),
        };
        bundle.images = bundle.united(images, options.on_conflict)?;
        bundle.follow(!options.only.is_empty());
        Ok(bundle)
    }

    /// Images with one digest become one, and every name leads to one image.
    fn united(
        &mut self,
        images: Vec<BundleImage>,
        on_conflict: OnConflict,
    ) -> Result<Vec<BundleImage>> {
        let mut united: Vec<BundleImage> = Vec::new();
        let mut by_digest: HashMap<Digest, usize> = HashMap::new();
        for image in images {
            match by_digest.get(&image.root.digest) {
                Some(at) => united[*at].join(image),
                None => {
                    by_digest.insert(image.root.digest, united.len());
                    united.push(image);
                }
            }
        }
        let mut owner: HashMap<String, usize> = HashMap::new();
        let mut loses: BTreeMap<usize, HashSet<String>> = BTreeMap::new();
        for at in 0..united.len() {
            for name in &united[at].names {
                let Some(other) = owner.get(name.key()).copied() else {
                    owner.insert(name.key().to_owned(), at);
                    continue;
                };
                let is_same = united[at].is_same_for_docker(&united[other]);
                if !is_same && on_conflict == OnConflict::Fail {
                    let message = format!("{} leads to two images", name.key());
                    let error = Error::new(Code::NameCollision, message)
                        .expected_found(united[other].root.digest, united[at].root.digest);
                    return Err(error.hint("merge --on-conflict first or last chooses one; --except DIGEST leaves one out"));
                }
                // Of two that are one for docker, the same whatever came first.
                let rank = |at: usize| (united[at].is_made(), united[at].root.digest);
                let wins = match is_same {
                    true => rank(at) < rank(other),
                    false => on_conflict == OnConflict::Last,
                };
                let loser = if wins { other } else { at };
                loses.entry(loser).or_default().insert(name.key().to_owned());
                if wins {
                    owner.insert(name.key().to_owned(), at);
                }
            }
        }
        for (at, names) in &loses {
            united[*at].lose(names)?;
        }
        let mut kept = Vec::new();
        for (at, image) in united.into_iter().enumerate() {
            if image.names.is_empty() && loses.contains_key(&at) {
                self.dropped.push(image.root.digest.to_string());
            } else {
                kept.push(image);
            }
        }
        for image in &mut kept {
            image.leaves = self.blobs.leaves(&image.root);
            names::settle(&mut image.tops, &image.names);
        }
        kept.sort_by_cached_key(BundleImage::order);
        Ok(kept)
    }
}

impl BundleImage {
    /// By name, and those without one last, by digest.
    pub(super) fn order(&self) -> (bool, Option<String>, Digest) {
        let name = self.names.first().map(|name| name.key().to_owned());
        (name.is_none(), name, self.root.digest)
    }

    fn join(&mut self, other: BundleImage) {
        // Where one archive has the manifest it is not new.
        if self.is_made() {
            self.before = other.before;
        }
        for name in other.names {
            match self.names.iter_mut().find(|own| own.key() == name.key()) {
                Some(own) => own.join(&name),
                None => self.names.push(name),
            }
        }
        self.names.sort();
        self.tops.extend(other.tops);
        self.shown.extend(other.shown);
    }

    /// Whether its manifest was made for it.
    fn is_made(&self) -> bool {
        self.before != Some(self.root.digest)
    }

    /// Whether two images of different digest are one docker image: the same
    /// configuration, in manifests whose layers are compressed differently.
    fn is_same_for_docker(&self, other: &BundleImage) -> bool {
        let config =
            |image: &BundleImage| image.shown.first().copied().filter(|_| image.leaves.len() == 1);
        matches!((config(self), config(other)), (Some(a), Some(b)) if a == b)
    }

    fn lose(&mut self, names: &HashSet<String>) -> Result<()> {
        self.names.retain(|name| !names.contains(name.key()));
        let mut tops = Vec::new();
        for top in std::mem::take(&mut self.tops) {
            if !top.keys.iter().any(|key| names.contains(key)) {
                tops.push(top);
                continue;
            }
            tops.extend(self.apart(&top)?);
        }
        self.tops = tops;
        Ok(())
    }

    /// A descriptor for each name the image still has of one that carries several.
    pub(super) fn apart(&self, top: &Top) -> Result<Vec<Top>> {
        let names = self.names.iter().filter(|name| top.keys.iter().any(|key| key == name.key()));
        names
            .filter_map(BundleName::reference)
            .map(|reference| Top::named(&top.raw, reference))
            .collect()
    }
}

/// The view or views the archives have between them.
fn format_of(archives: &[&Archive]) -> Format {
    let mut formats = archives.iter().filter_map(|archive| archive.format());
    match formats.next() {
        Some(first) if formats.all(|format| format == first) => first,
        Some(_) => Format::Hybrid,
        None => Format::Oci,
    }
}

/// The images the options choose, in the order of the archives, and labels of
/// those that are left out by name.
fn choose<'a>(
    archives: &[&'a Archive],
    options: &GatherOptions,
) -> Result<(Vec<Chosen<'a>>, Vec<String>)> {
    let mut all: Vec<Chosen<'a>> = Vec::new();
    for archive in archives {
        for image in archive.images() {
            let names = (0..image.names().len()).collect();
            all.push(Chosen { archive, image, names, is_picked: false });
        }
    }
    // Signatures come along with what they are about; the rest has to be asked
    // for.
    let takes_all = options.only.is_empty();
    let mut stays: Vec<bool> =
        all.iter().map(|c| takes_all || names::is_attached(c.image)).collect();
    for reference in &options.only {
        for (at, name) in found(&all, reference, archives)? {
            stays[at] = true;
            if !std::mem::replace(&mut all[at].is_picked, true) {
                all[at].names.clear();
            }
            match name {
                Some(name) => all[at].names.push(name),
                None => all[at].names = (0..all[at].image.names().len()).collect(),
            }
        }
    }
    for reference in &options.except {
        for (at, name) in found(&all, reference, archives)? {
            match name {
                Some(name) => {
                    all[at].names.retain(|kept| *kept != name);
                    stays[at] &= !all[at].names.is_empty();
                }
                None => stays[at] = false,
            }
        }
    }
    let mut chosen = Vec::new();
    let mut dropped = Vec::new();
    for (mut image, stays) in all.into_iter().zip(stays) {
        if stays {
            image.names.sort_unstable();
            image.names.dedup();
            chosen.push(image);
        } else {
            dropped.push(image.image.label());
        }
    }
    if chosen.is_empty() {
        let error = Error::new(Code::NoMatch, "no image is left");
        return Err(error.in_archive(labels(archives)));
    }
    Ok((chosen, dropped))
}

/// Where a reference leads: images, each with the position of the name that was
/// meant, or with none when it was a digest.
fn found(
    all: &[Chosen<'_>],
    reference: &str,
    archives: &[&Archive],
) -> Result<Vec<(usize, Option<usize>)>> {
    let key = Name::new(reference).key();
    let hits: Vec<&Image> = archives.iter().flat_map(|archive| archive.find(reference)).collect();
    let mut found = Vec::new();
    for (at, chosen) in all.iter().enumerate() {
        if hits.iter().any(|image| std::ptr::eq(*image, chosen.image)) {
            found.push((at, chosen.image.names().iter().position(|name| name.key() == key)));
        }
    }
    // `find` prefers names to digests, but only within one archive.
    if found.iter().any(|(_, name)| name.is_some()) {
        found.retain(|(_, name)| name.is_some());
    }
    if found.is_empty() {
        let mut labels: Vec<String> = all.iter().map(|chosen| chosen.image.label()).collect();
        labels.dedup();
        let more = if labels.len() > 5 { ", …" } else { "" };
        labels.truncate(5);
        let message = format!("no image is called \"{reference}\"");
        let error = Error::new(Code::NoMatch, message);
        return Err(error
            .in_archive(self::labels(archives))
            .hint(format!("it holds {}{more}", labels.join(", "))));
    }
    Ok(found)
}

fn labels(archives: &[&Archive]) -> String {
    let labels: Vec<&str> = archives.iter().map(|archive| archive.label()).collect();
    labels.join(", ")
}

/// What reading a layer file found.
struct Measured {
    digest: Digest,
    media_type: MediaType,
    diff_id: Digest,
}

/// By archive (its address) and file.
type Layers = HashMap<(usize, Box<str>), Measured>;

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
fn measure_layers(
    chosen: &[Chosen<'_>],
    jobs: Option<usize>,
    progress: &dyn Progress,
) -> Result<Layers> {
    let mut files: Vec<(&Archive, Entry)> = Vec::new();
    let mut seen = HashSet::new();
    for chosen in chosen {
        let layers = docker_manifest(chosen.image).map_or(&[][..], ImageManifest::layers);
        for entry in layers.iter().filter_map(|layer| layer.entry()) {
            if seen.insert(key_of(chosen.archive, entry)) {
                files.push((chosen.archive, entry.clone()));
            }
        }
    }
    files.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.span.len));
    if !files.is_empty() {
        progress.begin(files.iter().map(|(_, entry)| entry.span.len).sum());
    }
    let wanted = Wanted { algorithms: vec![Algorithm::Sha256], content: true };
    let results = parallel::map(&files, jobs, |(archive, entry)| {
        let facts = measure_span(&entry.span, &wanted, archive.limits(), progress)?;
        let digest =
            facts.raw(Algorithm::Sha256).ok_or_else(|| Error::new(Code::Bug, "no digest"))?;
        let media_type = match facts.compression {
            Compression::None => MediaType::OCI_LAYER,
            Compression::Gzip => MediaType::OCI_LAYER_GZIP,
            Compression::Zstd => MediaType::OCI_LAYER_ZSTD,
            other => {
                let message = format!("there is no media type for layers in {other}");
                return Err(Error::new(Code::MediaType, message)
                    .hint("load it into docker and save it again"));
            }
        };
        let diff_id = facts.unpacked.transpose()?.unwrap_or(digest);
        Ok(Measured { digest, media_type, diff_id })
    });
    let mut layers = HashMap::new();
    for ((archive, entry), result) in files.iter().zip(results) {
        let measured =
            result.map_err(|error| error.at(entry.place.clone()).in_archive(archive.label()))?;
        layers.insert(key_of(archive, entry), measured);
    }
    Ok(layers)
}

fn image(chosen: &Chosen<'_>, measured: &Layers, blobs: &mut Blobs<'_>) -> Result<BundleImage> {
    let Chosen { archive, image, names: kept, is_picked } = chosen;
    let (names, mut tops) = names::of(archive, image, kept)?;
    let root = match image.target() {
        Target::Manifest(top) => (**top).clone(),
        Target::Config(_) => made_manifest(archive, image, measured, blobs)?,
        Target::V1(_) => {
            let message =
                "an archive from before docker 1.10 has no configurations to make manifests from";
            return Err(Error::new(Code::DockerV1, message)
                .hint("load it into docker 1.10 to 28 and save it again"));
        }
        Target::Unknown => {
            let message = format!("the configuration of {} is not in the archive", image.label());
            return Err(Error::new(Code::BlobMissing, message));
        }
    };
    if tops.is_empty() {
        let bare = descriptor_text(&root).into_bytes();
        for reference in names.iter().filter_map(BundleName::reference) {
            tops.push(Top::named(&bare, reference)?);
        }
        if tops.is_empty() {
            tops.push(Top { keys: Vec::new(), raw: bare });
        }
    }
    tops.sort();
    let shown = image.items.first().and_then(|item| shown_config(archive, image, *item));
    let leaves = blobs.leaves(&root);
    let shown = shown.or_else(|| match &leaves[..] {
        [only] => blobs.manifest(&only.descriptor.digest).map(|manifest| manifest.config.digest),
        _ => None,
    });
    let shown = shown.into_iter().collect();
    let about = names::about(image, names.iter().map(BundleName::reference));
    let follows = about.is_some() && !is_picked;
    let before = image.digest();
    Ok(BundleImage { names, tops, root, before, leaves, shown, about, follows })
}

/// The configuration an item of `manifest.json` shows.
fn shown_config(archive: &Archive, image: &Image, item: usize) -> Option<Digest> {
    let path = &archive.documents.items.get(item)?.config;
    let entry = archive.store.find(path).ok()??;
    let same = |manifest: &&ImageManifest| {
        manifest.config_entry().is_some_and(|config| config.name == entry.name)
    };
    image.manifests().iter().find(same)?.config_digest()
}

/// A manifest made from a configuration and the layers `manifest.json` lists.
fn made_manifest(
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
    let config_size = entry.span.len;
    let config_descriptor = descriptor(MediaType::OCI_CONFIG, config, config_size);
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
fn descriptor_text(descriptor: &Descriptor) -> String {
    format!(
        "{{\"mediaType\":{},\"digest\":\"{}\",\"size\":{}}}",
        crate::json::edit::string(descriptor.media_type.as_str()),
        descriptor.digest,
        descriptor.size,
    )
}

/// The top-level descriptors about others, each once.
fn referrers(archives: &[&Archive]) -> Result<Vec<Referrer>> {
    let mut all: BTreeMap<Digest, Referrer> = BTreeMap::new();
    for archive in archives {
        for position in archive.referrer_positions() {
            let descriptor = &archive.documents.tops[*position];
            let Some(raw) = raw_top(archive, *position)? else { continue };
            let stated = descriptor.annotation(annotation::SUBJECT);
            let stated = stated.and_then(|text| text.parse().ok());
            let subject =
                stated.or_else(|| archive.subject_of(descriptor).map(|subject| subject.digest));
            let referrer = Referrer { raw: raw.to_vec(), descriptor: descriptor.clone(), subject };
            let same = all.entry(descriptor.digest).or_insert_with(|| referrer.clone());
            // Whichever archive came first.
            if referrer.raw < same.raw {
                *same = referrer;
            }
        }
    }
    Ok(all.into_values().collect())
}
