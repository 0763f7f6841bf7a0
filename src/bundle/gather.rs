//! From archives to a bundle: which images, under which names, and manifests
//! for those that have none.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::archive::find::Hit;
use crate::archive::view::annotation;
use crate::archive::{Archive, Format, Image, ImageManifest, Target};
use crate::bundle::blobs::{Blobs, Leaf, LeafKey};
use crate::bundle::names::{self, BundleName, Top, raw_top};
use crate::bundle::{Bundle, BundleImage, Referrer, made};
use crate::digest::Digest;
use crate::edit::Ledger;
use crate::error::{Code, Error, Result};
use crate::media_type::MediaType;
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
    /// An error says so, unless they are one docker image: then the manifest
    /// with the fewest bytes keeps it.
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

    /// Takes only what these lead to: a name, and of its image this name alone;
    /// a digest of an image, and all its names; or a digest of a manifest or a
    /// configuration in an index, and of its platforms this one. A digest may be
    /// the start of its hex, or stand behind a repository.
    #[must_use]
    pub fn only<S: Into<String>>(mut self, references: impl IntoIterator<Item = S>) -> Self {
        self.only.extend(references.into_iter().map(Into::into));
        self
    }

    /// Leaves out what these lead to: a name, and its image with the last of
    /// its names; the image of a digest; or one of its platforms.
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

/// An image, and what of it was chosen.
struct Chosen<'a> {
    archive: &'a Archive,
    image: &'a Image,
    stays: bool,
    /// Positions of the names it keeps.
    names: Vec<usize>,
    /// Whether it was asked for itself, and stays whatever it is about.
    is_picked: bool,
    /// Manifests that were asked for; all of them when none is said.
    only: Option<HashSet<Digest>>,
    /// Manifests that were to be left out.
    except: HashSet<Digest>,
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
    /// no manifest can be made for, `E_MEDIATYPE` for a manifest to which two media
    /// types are given, `N_DOCKER_V1` for archives without
    /// configurations, `E_TAR_TRAILING`, what is wrong with embedded content, and
    /// the errors of reading.
    pub fn gather(
        archives: &[&'a Archive],
        options: &GatherOptions,
        progress: &dyn Progress,
    ) -> Result<Bundle<'a>> {
        archives.iter().try_for_each(|archive| check(archive))?;
        let (chosen, dropped) = choose(archives, options)?;
        let mut blobs = Blobs::new(archives);
        let docker: Vec<(&Archive, &Image)> = chosen.iter().map(|c| (c.archive, c.image)).collect();
        let measured = made::measure_layers(&docker, options.jobs, progress)?;
        let mut images = Vec::new();
        for chosen in &chosen {
            images.push(
                image(chosen, &measured, &mut blobs)
                    .map_err(|error| error.in_archive(chosen.archive.label()))?,
            );
        }
        let mut bundle = Bundle {
            blobs: Arc::new(blobs),
            images: Vec::new(),
            referrers: referrers(archives)?,
            before: Arc::new(Ledger::of(archives)),
            replaced: BTreeMap::new(),
            renamed: Vec::new(),
            dropped,
            broken: Vec::new(),
            format: format_of(archives),
        };
        for image in images.iter_mut().filter(|image| image.is_made()) {
            // docker's view does not say what manifest a digest in a name is of.
            bundle.rename_digests(image)?;
        }
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
        let mut united = joined(images)?;
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
                    return Err(self.collision(name, &united[other], &united[at]));
                }
                let wins = match on_conflict {
                    OnConflict::First => false,
                    OnConflict::Last => true,
                    // One image in both, whichever came first: in the manifest
                    // that was there before, else in the fewest bytes.
                    OnConflict::Fail => {
                        let rank = |image: &BundleImage| {
                            (image.is_made(), self.layer_bytes(image), image.root.digest)
                        };
                        rank(&united[at]) < rank(&united[other])
                    }
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
            // What one archive lacks another may have.
            image.leaves = self.blobs.leaves(&image.root);
            names::settle(&mut image.tops, &image.names);
        }
        kept.sort_by_cached_key(BundleImage::order);
        Ok(kept)
    }

    fn layer_bytes(&self, image: &BundleImage) -> u64 {
        let manifests =
            image.leaves.iter().filter_map(|l| self.blobs.manifest(&l.descriptor.digest));
        let sizes = manifests.flat_map(|manifest| &manifest.layers).map(|layer| layer.size);
        sizes.fold(0, u64::saturating_add)
    }

    fn collision(&self, name: &BundleName, first: &BundleImage, second: &BundleImage) -> Error {
        let place = |image: &BundleImage| {
            let archives = self.blobs.archives();
            let archive = archives.get(image.archive).filter(|_| archives.len() > 1);
            let archive = archive.map_or_else(String::new, |a| format!(" in {}", a.label()));
            format!("{}{archive}", image.before.unwrap_or(image.root.digest))
        };
        let (first, second) = (place(first), place(second));
        let message = format!("{} leads to two images: {first} and {second}", name.key());
        Error::new(Code::NameCollision, message)
    }
}

/// Images with one digest as one.
///
/// # Errors
///
/// `E_MEDIATYPE` when they give it two media types, which is no archive to a reader.
pub(super) fn joined(images: Vec<BundleImage>) -> Result<Vec<BundleImage>> {
    let mut joined: Vec<BundleImage> = Vec::new();
    let mut by_digest: HashMap<Digest, usize> = HashMap::new();
    for image in images {
        match by_digest.get(&image.root.digest) {
            Some(at) => joined[*at].join(image)?,
            None => {
                by_digest.insert(image.root.digest, joined.len());
                joined.push(image);
            }
        }
    }
    Ok(joined)
}

impl BundleImage {
    /// By name, and those without one last, by digest.
    pub(super) fn order(&self) -> (bool, Option<String>, Digest) {
        let name = self.names.first().map(|name| name.key().to_owned());
        (name.is_none(), name, self.root.digest)
    }

    fn join(&mut self, other: BundleImage) -> Result<()> {
        let [own, others] = [&self.root, &other.root].map(|root| &root.media_type);
        if own != others {
            return Err(under_two(&self.root.digest, own, others));
        }
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
        let own: HashSet<LeafKey> = self.leaves.iter().map(Leaf::key).collect();
        self.leaves.extend(other.leaves.into_iter().filter(|leaf| !own.contains(&leaf.key())));
        // Whatever either was asked for.
        self.picked = match (self.picked.take(), other.picked) {
            (Some(own), Some(others)) => Some(&own | &others),
            _ => None,
        };
        self.follows &= other.follows;
        let new = other.gone.into_iter().filter(|gone| !self.gone.contains(gone));
        self.gone.extend(new.collect::<Vec<_>>());
        Ok(())
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

/// Fails for what may be read in place and not be carried over: content that is
/// embedded in a descriptor and is not what it says, and bytes behind the end,
/// which may be an archive that somebody meant to join.
fn check(archive: &Archive) -> Result<()> {
    let trailing = archive.findings().iter().find(|finding| {
        let error = &finding.error;
        error.code() == Code::TarTrailing
    });
    let trailing = trailing.map(|finding| finding.error.clone());
    let wrong = trailing.or_else(|| archive.bad_data().next());
    match wrong.or_else(|| two_types(archive)) {
        Some(error) => Err(error.in_archive(archive.label())),
        None => Ok(()),
    }
}

/// A manifest or an index to which two media types are given: what leads to it by one
/// of them alone is no image to a reader.
fn two_types(archive: &Archive) -> Option<Error> {
    let mut types = HashMap::new();
    archive.document_descriptors().find_map(|descriptor| {
        let found = &descriptor.media_type;
        let first = *types.entry(&descriptor.digest).or_insert(found);
        (first != found).then(|| under_two(&descriptor.digest, first, found))
    })
}

fn under_two(digest: &Digest, first: &MediaType, second: &MediaType) -> Error {
    let message = format!("{digest} under two media types");
    Error::new(Code::MediaType, message).expected_found(first, second)
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
/// those that are left out.
fn choose<'a>(
    archives: &[&'a Archive],
    options: &GatherOptions,
) -> Result<(Vec<Chosen<'a>>, Vec<String>)> {
    let takes_all = options.only.is_empty();
    let mut all: Vec<Chosen<'a>> = Vec::new();
    // Where each archive's images start.
    let mut starts = Vec::new();
    for archive in archives {
        starts.push(all.len());
        all.extend(archive.images().iter().map(|image| Chosen {
            archive,
            image,
            // Signatures come along with what they are about; the rest has to be
            // asked for.
            stays: takes_all || names::is_attached(image),
            names: (0..image.names().len()).collect(),
            is_picked: false,
            only: None,
            except: HashSet::new(),
        }));
    }
    for reference in &options.only {
        for (at, hit) in found(&all, &starts, reference, archives)? {
            all[at].pick(hit);
        }
    }
    for reference in &options.except {
        for (at, hit) in found(&all, &starts, reference, archives)? {
            all[at].leave_out(hit);
        }
    }
    let (mut chosen, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|chosen| chosen.stays);
    if chosen.is_empty() {
        let error = Error::new(Code::NoMatch, "no image is left");
        return Err(error.in_archive(labels(archives)));
    }
    for image in &mut chosen {
        image.names.sort_unstable();
        image.names.dedup();
    }
    Ok((chosen, rest.iter().map(|chosen| chosen.image.label()).collect()))
}

impl Chosen<'_> {
    fn pick(&mut self, hit: Hit) {
        self.stays = true;
        let all = 0..self.image.names().len();
        let is_first = !std::mem::replace(&mut self.is_picked, true);
        match hit {
            Hit::Name(name) => {
                if is_first {
                    self.names.clear();
                }
                self.names.push(name);
                self.only = None;
            }
            Hit::Image => {
                self.names = all.collect();
                self.only = None;
            }
            Hit::Manifest(digest) if is_first => self.only = Some(HashSet::from([digest])),
            Hit::Manifest(digest) => self.only.iter_mut().for_each(|only| {
                only.insert(digest);
            }),
        }
    }

    fn leave_out(&mut self, hit: Hit) {
        match hit {
            Hit::Name(name) => {
                self.names.retain(|kept| *kept != name);
                self.stays &= !self.names.is_empty();
            }
            Hit::Image => self.stays = false,
            Hit::Manifest(digest) => _ = self.except.insert(digest),
        }
    }

    /// The manifests that were chosen; `None` for all there are.
    fn picked(&self) -> Option<HashSet<Digest>> {
        if self.only.is_none() && self.except.is_empty() {
            return None;
        }
        let manifests = self.image.manifests().iter().filter_map(|m| m.descriptor());
        let all = || manifests.map(|descriptor| descriptor.digest).collect();
        Some(&self.only.clone().unwrap_or_else(all) - &self.except)
    }
}

/// Where a reference leads: positions in the list of all images.
fn found(
    all: &[Chosen<'_>],
    starts: &[usize],
    reference: &str,
    archives: &[&Archive],
) -> Result<Vec<(usize, Hit)>> {
    let hits = |(archive, start): (&&Archive, &usize)| {
        let start = *start;
        archive.hits(reference).into_iter().map(move |(at, hit)| (start + at, hit))
    };
    let mut found: Vec<(usize, Hit)> = archives.iter().zip(starts).flat_map(hits).collect();
    // Names go before digests, over all archives as within one.
    if found.iter().any(|(_, hit)| matches!(hit, Hit::Name(_))) {
        found.retain(|(_, hit)| matches!(hit, Hit::Name(_)));
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

fn image(
    chosen: &Chosen<'_>,
    measured: &made::Layers,
    blobs: &mut Blobs<'_>,
) -> Result<BundleImage> {
    let Chosen { archive, image, names: kept, is_picked, .. } = chosen;
    let (names, mut tops) = names::of(archive, image, kept)?;
    let root = match image.target() {
        Target::Manifest(top) => (**top).clone(),
        Target::Config(_) => made::manifest(archive, image, measured, blobs)?,
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
        let bare = made::descriptor_text(&root).into_bytes();
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
    let about = names::about(image, names.iter().map(BundleName::reference));
    let position = |other: &&Archive| std::ptr::eq(*other, *archive);
    Ok(BundleImage {
        before: image.target_digest(),
        archive: blobs.archives().iter().position(position).unwrap_or(0),
        shown: shown.into_iter().collect(),
        follows: about.is_some() && !is_picked,
        picked: chosen.picked(),
        gone: Vec::new(),
        names,
        tops,
        root,
        leaves,
        about,
    })
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
