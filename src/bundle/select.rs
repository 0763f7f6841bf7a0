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
use crate::bundle::names::set_target;
use crate::bundle::{Bundle, BundleImage};
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

    /// Whether images that have none of the platforms are left out. Where not,
    /// that is an error.
    #[must_use]
    pub fn lenient(mut self, yes: bool) -> Self {
        self.lenient = yes;
        self
    }

    fn wants(&self, leaf: &Leaf) -> bool {
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
        for image in &self.images {
            let mut image = image.clone();
            let kept = if image.about.is_some() {
                selection.attestations != Attestations::Drop || !image.follows
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
                image.leaves.retain(Leaf::is_image);
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
        let is_artifact = self.leaves.iter().any(|leaf| leaf.kind == ManifestKind::Artifact);
        match &selection.platforms {
            // An index that stays promises its attestations, too.
            Platforms::All => {
                let keeps = selection.index == IndexPolicy::Keep;
                let promised = self.leaves.iter().filter(|leaf| leaf.is_image() || keeps);
                promised.filter(|leaf| !leaf.is_complete()).map(lacking).collect()
            }
            Platforms::Complete => {
                if is_artifact || images().any(Leaf::is_complete) {
                    return Vec::new();
                }
                images().map(lacking).collect()
            }
            Platforms::Only(specs) => {
                let wanted: Vec<&Leaf> = images().filter(|leaf| selection.wants(leaf)).collect();
                if wanted.is_empty() && !is_artifact && !selection.lenient {
                    let specs = specs.iter().map(|spec| spec.platform().to_string());
                    return specs.map(|spec| missing(spec, Lack::Unpromised)).collect();
                }
                wanted.into_iter().filter(|leaf| !leaf.is_complete()).map(lacking).collect()
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
    let stays = |leaf: &&Leaf| leaf.is_complete() && selection.wants(leaf);
    let is_attestation = |leaf: &&Leaf| matches!(leaf.kind, ManifestKind::Attestation(_));
    let subjects: HashSet<Digest> = leaves
        .iter()
        .filter(|leaf| !is_attestation(leaf))
        .filter(|leaf| match selection.attestations {
            Attestations::Only => selection.wants(leaf),
            _ => stays(leaf),
        })
        .map(|leaf| leaf.descriptor.digest)
        .collect();
    let follows = |leaf: &&Leaf| {
        leaf.is_complete()
            && match leaf.subject() {
                Some(subject) => subjects.contains(&subject),
                // About nothing in particular: about all of them.
                None => !matches!(selection.platforms, Platforms::Only(_)),
            }
    };
    let attestations = leaves.iter().filter(is_attestation).filter(follows);
    let attestations = attestations.map(|leaf| leaf.descriptor.digest);
    match selection.attestations {
        Attestations::Keep => subjects.iter().copied().chain(attestations).collect(),
        Attestations::Drop => subjects,
        Attestations::Only => attestations.collect(),
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
    for digest in blobs.indexes(&root.digest) {
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
        let media_type = if digest == root.digest {
            root.media_type.clone()
        } else {
            children_type(blobs, root, &digest)
        };
        new.insert(digest, descriptor(media_type, made, size));
    }
    Ok(new)
}

/// The media type of a nested index, from the descriptor that leads to it.
fn children_type(blobs: &Blobs<'_>, root: &Descriptor, digest: &Digest) -> MediaType {
    let indexes = blobs.indexes(&root.digest);
    let mut children =
        indexes.iter().filter_map(|index| blobs.index(index)).flat_map(|index| &index.manifests);
    let found = children.find(|child| child.digest == *digest);
    found.map_or(MediaType::OCI_INDEX, |child| child.media_type.clone())
}
