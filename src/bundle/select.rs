//! Platforms: which manifests stay, and indexes that say so.
//!
//! Matching is containerd's strict one ([`PlatformSpec::matches`]) and knows no
//! host. An index is made anew only where it loses a child, and then only by
//! taking out the text of the child; what stays keeps its bytes.

use std::collections::{HashMap, HashSet};

use crate::archive::graph::Content;
use crate::archive::view::ManifestDocument;
use crate::archive::{Descriptor, ManifestKind};
use crate::bundle::blobs::{Blobs, Leaf};
use crate::bundle::gather::descriptor;
use crate::bundle::names::{BundleName, set_target};
use crate::bundle::{Bundle, BundleImage, Referrer};
use crate::digest::Digest;
use crate::error::{Code, Error, Result};
use crate::json;
use crate::json::edit::Edits;
use crate::media_type::MediaType;
use crate::platform::PlatformSpec;

/// What of every image stays.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    platforms: Platforms,
    index: IndexPolicy,
    attestations: Attestations,
    breaks: bool,
    lenient: bool,
}

/// Which platforms stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Platforms {
    /// Those that are complete.
    #[default]
    Complete,
    /// All that are promised, which have to be complete.
    All,
    /// Those that are asked for, which have to be there and complete. The order
    /// says which one a docker view shows.
    Only(Vec<PlatformSpec>),
}

/// What becomes of an index that loses children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexPolicy {
    /// It is made anew and true, and has another digest.
    #[default]
    Rewrite,
    /// It stays and promises more than there is, as `ctr images export` and
    /// `docker save` leave it.
    Keep,
    /// The one manifest is named directly.
    Flatten,
}

/// What becomes of attestations and signatures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attestations {
    /// They go where what they are about goes.
    #[default]
    Keep,
    /// None stays.
    Drop,
    /// Nothing else stays.
    Only,
}

/// A platform that was asked for and cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// The image, by its first name or its digest.
    pub image: String,
    /// The platform.
    pub platform: String,
    /// What is wrong with it.
    pub lack: Lack,
}

/// What is wrong with a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lack {
    /// The image has no such platform.
    Unpromised,
    /// The index names a manifest that is not there.
    Absent,
    /// Some of its blobs are not there.
    Incomplete {
        /// Blobs that are there.
        present: usize,
        /// Blobs a complete copy has.
        needed: usize,
    },
}

impl Selection {
    /// Every platform that is complete, true indexes, and what is about them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Which platforms stay.
    #[must_use]
    pub fn platforms(mut self, platforms: Platforms) -> Self {
        self.platforms = platforms;
        self
    }

    /// What becomes of an index that loses children.
    #[must_use]
    pub fn index(mut self, policy: IndexPolicy) -> Self {
        self.index = policy;
        self
    }

    /// What becomes of attestations and signatures.
    #[must_use]
    pub fn attestations(mut self, attestations: Attestations) -> Self {
        self.attestations = attestations;
        self
    }

    /// Whether signatures about a digest that changes may go. Where not, that
    /// is an error.
    #[must_use]
    pub fn break_signatures(mut self, yes: bool) -> Self {
        self.breaks = yes;
        self
    }

    /// Whether images that do not have the platforms, or not whole, are left out.
    /// Where not, that is an error.
    #[must_use]
    pub fn lenient(mut self, yes: bool) -> Self {
        self.lenient = yes;
        self
    }

    /// A platform that is asked for and is none of these.
    pub(super) fn absent(&self, platforms: &[PlatformSpec]) -> Option<&PlatformSpec> {
        let Platforms::Only(specs) = &self.platforms else { return None };
        let is_there = |spec: &PlatformSpec| platforms.iter().any(|p| spec.matches(p.platform()));
        specs.iter().find(|spec| !is_there(spec))
    }

    pub(super) fn wants(&self, leaf: &Leaf) -> bool {
        match (&self.platforms, &leaf.platform) {
            (Platforms::Only(specs), Some(platform)) => {
                specs.iter().any(|spec| spec.matches(platform))
            }
            // Where neither descriptor nor configuration says: an artifact.
            (Platforms::Only(_), None) => !leaf.is_image(),
            _ => true,
        }
    }
}

impl<'a> Bundle<'a> {
    /// What a selection asks for and the inputs do not hold.
    #[must_use]
    pub fn missing(&self, selection: &Selection) -> Vec<Missing> {
        let images = self.images.iter().filter(|image| image.about.is_none());
        images.flat_map(|image| image.missing(selection)).collect()
    }

    /// Keeps what a selection asks for.
    ///
    /// # Errors
    ///
    /// `E_PLATFORM_MISSING` when something of [`missing`](Self::missing) is
    /// missing or nothing is left of an image, `E_USAGE` for an index of
    /// several platforms that is to be flattened, `E_REFERRER` when a signature
    /// would be about a digest that is gone, and errors of reading.
    pub fn select(&self, selection: &Selection) -> Result<Bundle<'a>> {
        let missing = self.missing(selection);
        if let Some(first) = missing.first() {
            return Err(first.error(missing.len()));
        }
        let mut bundle = self.clone();
        bundle.images.clear();
        // What is attached is not promised again where it is not there.
        let keeps = selection.index == IndexPolicy::Keep;
        let is_there =
            |r: &Referrer| self.blobs.leaves(&r.descriptor).iter().all(Leaf::is_complete);
        let (there, absent): (Vec<_>, Vec<_>) =
            bundle.referrers.drain(..).partition(|referrer| keeps || is_there(referrer));
        bundle.referrers = there;
        bundle.dropped.extend(absent.iter().map(|r| r.descriptor.digest.to_string()));
        for image in &self.images {
            let mut image = image.clone();
            let kept = if image.about.is_some() {
                let stays = selection.attestations != Attestations::Drop || !image.follows;
                stays && (keeps || image.leaves.iter().all(Leaf::is_complete))
            } else {
                bundle.select_image(&mut image, selection)?
            };
            if kept {
                bundle.images.push(image);
            } else {
                bundle.dropped.push(image.label());
            }
        }
        if selection.attestations == Attestations::Drop {
            bundle.drop_attached();
        }
        if selection.attestations == Attestations::Only {
            // What they are about is not there on purpose.
            bundle.images.retain(|image| !image.leaves.is_empty());
        } else {
            bundle.follow(false);
        }
        if !bundle.broken.is_empty() && !selection.breaks {
            let list = bundle.broken.join(", ");
            let message = format!("the new index would not be what these are about: {list}");
            return Err(Error::new(Code::Referrer, message)
                .hint("--index keep leaves its digest alone, --break-signatures leaves them out"));
        }
        if bundle.images.is_empty() && bundle.referrers.is_empty() {
            return Err(Error::new(Code::NoMatch, "nothing is left to write"));
        }
        Ok(bundle)
    }

    /// Selects within an image; whether anything of it stays.
    fn select_image(&mut self, image: &mut BundleImage, selection: &Selection) -> Result<bool> {
        let kept = kept_leaves(&image.leaves, selection);
        if kept.is_empty() {
            return Ok(false);
        }
        let goes: HashSet<Digest> =
            image.leaves.iter().map(|leaf| leaf.descriptor.digest).collect();
        image.leaves.retain(|leaf| kept.contains(&leaf.descriptor.digest));
        let goes = &goes - &kept;
        let old = image.root.clone();
        let is_index = self.blobs.index(&old.digest).is_some();
        match selection.index {
            IndexPolicy::Rewrite if is_index && !goes.is_empty() => {
                let rewritten = rewrite(&mut self.blobs, &old, &goes)?;
                self.replaced.extend(rewritten.iter().map(|(old, new)| (*old, new.digest)));
                if let Some(new) = rewritten.get(&old.digest) {
                    image.root = new.clone();
                }
            }
            IndexPolicy::Flatten if is_index => {
                image.leaves.retain(|leaf| !leaf.is_attestation());
                let [only] = &image.leaves[..] else {
                    let platforms: Vec<String> =
                        image.leaves.iter().map(Leaf::platform_text).collect();
                    let message = format!(
                        "{}: only one platform can be named directly, and there are {}: {}",
                        image.label(),
                        platforms.len(),
                        platforms.join(", ")
                    );
                    return Err(Error::new(Code::Usage, message).hint("--platform chooses one"));
                };
                let only = &only.descriptor;
                image.root = descriptor(only.media_type.clone(), only.digest, only.size);
                self.replaced.insert(old.digest, image.root.digest);
            }
            _ => {}
        }
        if image.root.digest != old.digest {
            for top in &mut image.tops {
                top.lead_to(&image.root)?;
            }
            self.rename_digests(image)?;
        }
        Ok(true)
    }

    /// A name with a digest names the new one.
    fn rename_digests(&mut self, image: &mut BundleImage) -> Result<()> {
        let pinned: HashSet<&str> = image
            .names
            .iter()
            .filter(|name| name.with_digest(image.root.digest).is_some())
            .map(BundleName::key)
            .collect();
        let mut tops = Vec::new();
        for top in &image.tops {
            // Beside another name it gets a descriptor of its own.
            if top.keys.len() > 1 && top.keys.iter().any(|key| pinned.contains(&**key)) {
                tops.extend(image.apart(top)?);
            } else {
                tops.push(top.clone());
            }
        }
        image.tops = tops;
        for name in &mut image.names {
            let Some(new) = name.with_digest(image.root.digest) else { continue };
            for top in &mut image.tops {
                if let ([key], Some(reference)) = (&top.keys[..], new.reference())
                    && key == name.key()
                {
                    *top = super::Top::named(&top.raw, reference)?;
                }
            }
            self.renamed.push((name.key().to_owned(), new.key().to_owned()));
            *name = new;
        }
        image.names.sort();
        image.names.dedup();
        image.tops.sort();
        image.tops.dedup();
        Ok(())
    }
}

impl BundleImage {
    fn missing(&self, selection: &Selection) -> Vec<Missing> {
        let missing =
            |platform: String, lack: Lack| Missing { image: self.label(), platform, lack };
        let images = || self.leaves.iter().filter(|leaf| leaf.is_image());
        let lacking = |leaf: &Leaf| missing(leaf.platform_text(), leaf.lack());
        // What can be asked for: images and artifacts.
        let promised = || self.leaves.iter().filter(|leaf| !leaf.is_attestation());
        let is_artifact = self.leaves.iter().any(|leaf| leaf.kind == ManifestKind::Artifact);
        match &selection.platforms {
            // An index that stays promises its attestations, too.
            Platforms::All => {
                let keeps = selection.index == IndexPolicy::Keep;
                let all = self.leaves.iter().filter(|leaf| !leaf.is_attestation() || keeps);
                all.filter(|leaf| !leaf.is_complete()).map(lacking).collect()
            }
            Platforms::Complete => {
                if promised().any(Leaf::is_complete) {
                    return Vec::new();
                }
                promised().map(lacking).collect()
            }
            Platforms::Only(_) if selection.lenient => Vec::new(),
            Platforms::Only(specs) => {
                let has = |spec: &PlatformSpec| {
                    images().any(|leaf| leaf.platform.as_ref().is_some_and(|p| spec.matches(p)))
                };
                let absent = specs.iter().filter(|spec| !is_artifact && !has(spec));
                let absent =
                    absent.map(|spec| missing(spec.platform().to_string(), Lack::Unpromised));
                let wanted = promised().filter(|leaf| selection.wants(leaf) && !leaf.is_complete());
                absent.chain(wanted.map(lacking)).collect()
            }
        }
    }
}

impl Leaf {
    fn lack(&self) -> Lack {
        let Leaf { present, needed, .. } = *self;
        if present == 0 { Lack::Absent } else { Lack::Incomplete { present, needed } }
    }
}

impl Missing {
    fn error(&self, count: usize) -> Error {
        let Missing { image, platform, lack } = self;
        let lack = match lack {
            Lack::Unpromised => "it has no such platform".to_owned(),
            Lack::Absent => "the index promises it, the archive does not hold it".to_owned(),
            Lack::Incomplete { present, needed } => {
                format!("{present} of {needed} blobs are there")
            }
        };
        let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
        let message = format!("{image}: {platform}: {lack}{more}");
        Error::new(Code::PlatformMissing, message)
    }
}

/// The manifests that stay, by digest.
fn kept_leaves(leaves: &[Leaf], selection: &Selection) -> HashSet<Digest> {
    let (attestations, others): (Vec<&Leaf>, Vec<&Leaf>) =
        leaves.iter().partition(|leaf| leaf.is_attestation());
    let stays = |leaf: &&Leaf| match selection.attestations {
        Attestations::Only => selection.wants(leaf),
        _ => leaf.is_complete() && selection.wants(leaf),
    };
    let digest = |leaf: &Leaf| leaf.descriptor.digest;
    let subjects: HashSet<Digest> = others.into_iter().filter(stays).map(digest).collect();
    if selection.attestations == Attestations::Drop {
        return subjects;
    }
    let all: HashSet<Digest> = leaves.iter().map(digest).collect();
    let is_part = matches!(selection.platforms, Platforms::Only(_)) && !selection.lenient;
    let mut kept = subjects.clone();
    // An attestation may itself be attested: until nothing more follows.
    loop {
        let follows = |leaf: &&&Leaf| {
            let stays = match leaf.subject().filter(|subject| all.contains(subject)) {
                Some(subject) => kept.contains(&subject),
                // About nothing in the index: about all of it.
                None => !is_part,
            };
            stays && leaf.is_complete() && !kept.contains(&digest(leaf))
        };
        let more: Vec<Digest> =
            attestations.iter().filter(follows).map(|leaf| digest(leaf)).collect();
        if more.is_empty() {
            break;
        }
        kept.extend(more);
    }
    match selection.attestations {
        Attestations::Only => &kept - &subjects,
        _ => kept,
    }
}

/// Makes the indexes at and below a root anew without some of their manifests:
/// by the digest of the old one, the descriptor of the new one.
fn rewrite(
    blobs: &mut Blobs<'_>,
    root: &Descriptor,
    goes: &HashSet<Digest>,
) -> Result<HashMap<Digest, Descriptor>> {
    let mut new: HashMap<Digest, Descriptor> = HashMap::new();
    let mut empty: HashSet<Digest> = HashSet::new();
    let indexes = blobs.indexes(&root.digest);
    let types = types_of(blobs, root, &indexes);
    for digest in indexes {
        let Some(index) = blobs.index(&digest) else { continue };
        let children: Vec<Descriptor> = index.manifests.clone();
        let stays =
            |child: &Descriptor| !goes.contains(&child.digest) && !empty.contains(&child.digest);
        if children.iter().all(|child| stays(child) && !new.contains_key(&child.digest)) {
            continue;
        }
        if !children.iter().any(stays) {
            empty.insert(digest);
            continue;
        }
        let bytes = blobs.read(&digest)?;
        let limits = blobs.limits();
        let node = json::parse(&bytes, limits)?;
        let Some(array) = node.field("manifests")? else { continue };
        let mut edits = Edits::default();
        for (child, node) in children.iter().zip(array.array()?) {
            if let Some(target) = new.get(&child.digest) {
                set_target(node, target, &mut edits)?;
            }
        }
        edits.retain_items(array, |at| children.get(at).is_some_and(stays));
        let bytes = edits.apply(&bytes);
        let size = bytes.len() as u64;
        let view = ManifestDocument::read(&json::parse(&bytes, limits)?, limits)?;
        let ManifestDocument::Index(view) = view else {
            return Err(Error::new(Code::Bug, "an index that became something else"));
        };
        let made = blobs.add_document(bytes, Content::Index(view));
        let media_type = types.get(&digest).cloned().unwrap_or(MediaType::OCI_INDEX);
        new.insert(digest, descriptor(media_type, made, size));
    }
    Ok(new)
}

/// The media types of indexes, from the descriptors that lead to them.
fn types_of(
    blobs: &Blobs<'_>,
    root: &Descriptor,
    indexes: &[Digest],
) -> HashMap<Digest, MediaType> {
    let mut types = HashMap::from([(root.digest, root.media_type.clone())]);
    let children =
        indexes.iter().filter_map(|index| blobs.index(index)).flat_map(|index| &index.manifests);
    for child in children.filter(|child| blobs.index(&child.digest).is_some()) {
        types.entry(child.digest).or_insert_with(|| child.media_type.clone());
    }
    types
}
