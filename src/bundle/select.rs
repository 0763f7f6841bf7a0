//! Platforms: which manifests stay, and indexes that say so.
//!
//! Matching is containerd's strict one ([`PlatformSpec::matches`]) and knows no
//! host. An index is made anew only where it loses a child, and then only by
//! taking out the text of the child; what stays keeps its bytes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::archive::ManifestKind;
use crate::bundle::blobs::{Leaf, LeafKey};
use crate::bundle::gather::joined;
use crate::bundle::names::BundleName;
use crate::bundle::rewrite::rewrite;
use crate::bundle::{Attachment, Bundle, BundleImage, Referrer, made};
use crate::digest::Digest;
use crate::error::{Code, Error, Result};
use crate::platform::{Platform, PlatformSpec};

/// What of every image stays.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    platforms: Platforms,
    /// Of these, just this one.
    exactly: Option<Platform>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lack {
    /// The image has no such platform, but these.
    Unpromised(Vec<String>),
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

/// A manifest that does not go along.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gone {
    /// Its digest.
    pub digest: Digest,
    /// What it is for.
    pub kind: ManifestKind,
    /// The platform the index lists it for.
    pub platform: Option<Platform>,
    /// Why it does not.
    pub why: Why,
}

/// Why a manifest does not go along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// It is not in the input.
    Absent,
    /// Some of its blobs are not in the input.
    Incomplete,
    /// It is none of those that were asked for, nor about one.
    NotAsked,
    /// There is room for one of each platform, and another one came before it.
    Twin,
}

impl Why {
    /// The words for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Absent => "absent",
            Why::Incomplete => "incomplete",
            Why::NotAsked => "not asked for",
            Why::Twin => "another of the platform came first",
        }
    }
}

impl Gone {
    pub(super) fn of(leaf: &Leaf) -> Gone {
        let why = match leaf.present {
            _ if leaf.is_complete() => Why::NotAsked,
            0 => Why::Absent,
            _ => Why::Incomplete,
        };
        let (digest, platform) = leaf.key();
        Gone { digest, kind: leaf.kind, platform, why }
    }
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

    /// Of what this selection asks for, what is listed for just this platform.
    pub(super) fn exactly(mut self, platform: Platform) -> Self {
        self.exactly = Some(platform);
        self.lenient(true)
    }

    /// A platform that is asked for and is none of these.
    pub(super) fn absent(&self, platforms: &[Platform]) -> Option<&PlatformSpec> {
        let is_there = |spec: &&PlatformSpec| platforms.iter().any(|p| spec.matches(p));
        self.specs().iter().find(|spec| !is_there(spec))
    }

    fn specs(&self) -> &[PlatformSpec] {
        match &self.platforms {
            Platforms::Only(specs) => specs,
            _ => &[],
        }
    }

    pub(super) fn wants(&self, leaf: &Leaf) -> bool {
        let Some(platform) = &leaf.platform else {
            // Where neither descriptor nor configuration says: an artifact.
            let is_any = self.exactly.is_none() && !matches!(self.platforms, Platforms::Only(_));
            return is_any || !leaf.is_image();
        };
        self.exactly.as_ref().is_none_or(|exactly| exactly == platform)
            && (!matches!(self.platforms, Platforms::Only(_))
                || self.specs().iter().any(|spec| spec.matches(platform)))
    }

    /// Whether some of what is complete does not stay on purpose.
    fn is_part(&self) -> bool {
        matches!(self.platforms, Platforms::Only(_)) && !self.lenient
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
    /// missing or nothing is left of an image, `E_PLATFORM_CHOICE` for an index of
    /// several platforms that is to be flattened, `E_REFERRER` when a signature
    /// would be about a digest that is gone, `E_NO_MATCH` when nothing is left,
    /// and errors of reading.
    pub fn select(&self, selection: &Selection) -> Result<Bundle<'a>> {
        let missing = self.missing(selection);
        if let Some(first) = missing.first() {
            return Err(first.error(missing.len()));
        }
        // What is attached is not promised again where it is not there.
        let keeps = selection.index == IndexPolicy::Keep;
        let is_there =
            |r: &Referrer| self.blobs.leaves(&r.descriptor).iter().all(Leaf::is_complete);
        let (there, absent): (Vec<_>, Vec<_>) =
            self.referrers.iter().cloned().partition(|referrer| keeps || is_there(referrer));
        let mut bundle = self.with(Vec::new(), there);
        bundle.dropped.extend(absent.iter().map(|r| r.descriptor.digest.to_string()));
        let mut images = Vec::new();
        for image in &self.images {
            let mut image = image.clone();
            let kept = if image.about.is_some() {
                let stays = selection.attestations != Attestations::Drop || !image.follows;
                stays && (keeps || image.leaves.iter().all(Leaf::is_complete))
            } else {
                bundle.select_image(&mut image, selection)?
            };
            if kept {
                images.push(image);
            } else {
                bundle.dropped.push(image.label());
            }
        }
        // Images of one manifest that were named by several indexes.
        bundle.images = joined(images)?;
        if selection.attestations == Attestations::Drop {
            bundle.drop_attached();
        }
        if selection.attestations == Attestations::Only {
            // What they are about is not there on purpose.
            bundle.images.retain(|image| !image.leaves.is_empty());
            bundle.images.sort_by_cached_key(BundleImage::order);
        } else {
            bundle.follow(false);
        }
        if !selection.breaks {
            bundle.check_broken("the new index would not be what these are about")?;
        }
        if bundle.images.is_empty() && bundle.referrers.is_empty() {
            return Err(Error::new(Code::NoMatch, "nothing is left to write"));
        }
        Ok(bundle)
    }

    /// Fails when something attached is broken.
    pub(super) fn check_broken(&self, message: &str) -> Result<()> {
        if self.broken.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = self.broken.iter().map(Attachment::to_string).collect();
        Err(Error::new(Code::Referrer, format!("{message}: {}", list.join(", "))))
    }

    /// Selects within an image; whether anything of it stays.
    fn select_image(&mut self, image: &mut BundleImage, selection: &Selection) -> Result<bool> {
        let kept = kept_leaves(image, selection);
        if kept.is_empty() {
            return Ok(false);
        }
        let is_whole = image.leaves.iter().all(|leaf| kept.contains(&leaf.key()));
        image.keep(|leaf| kept.contains(&leaf.key()));
        let old = image.root.clone();
        let is_index = self.blobs.index(&old.digest).is_some();
        match selection.index {
            IndexPolicy::Rewrite if is_index && !is_whole => {
                let rewritten = rewrite(Arc::make_mut(&mut self.blobs), &old, &kept)?;
                self.replaced.extend(rewritten.iter().map(|(old, new)| (*old, new.digest)));
                if let Some(new) = rewritten.get(&old.digest) {
                    image.root = new.clone();
                }
            }
            IndexPolicy::Flatten if is_index => {
                let all = image.leaves.iter().filter(|leaf| !leaf.is_attestation());
                let all: Vec<&Leaf> = all.collect();
                let only = image.sole(&all, selection.specs(), "only one can be named directly")?;
                let only = all[only].clone();
                image.keep_only(&only.key());
                let only = only.descriptor;
                image.root = made::descriptor(only.media_type, only.digest, only.size);
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

    /// A name with a digest names the image's.
    pub(super) fn rename_digests(&mut self, image: &mut BundleImage) -> Result<()> {
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
            if name.key() != new.key() {
                self.renamed.push((name.key().to_owned(), new.key().to_owned()));
            }
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
    /// Keeps some of the manifests, and notes which go.
    pub(super) fn keep(&mut self, stays: impl Fn(&Leaf) -> bool) {
        let (stay, go): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.leaves).into_iter().partition(|leaf| stays(leaf));
        self.leaves = stay;
        self.gone.extend(go.iter().map(Gone::of));
    }

    /// Keeps one of the manifests, where there is room for one.
    pub(super) fn keep_only(&mut self, only: &LeafKey) {
        let before = self.gone.len();
        self.keep(|leaf| leaf.key() == *only);
        for gone in &mut self.gone[before..] {
            let is_twin = gone.kind == ManifestKind::Image && gone.platform == only.1;
            if is_twin && gone.why == Why::NotAsked {
                gone.why = Why::Twin;
            }
        }
    }

    /// The position of the one manifest where there is room for one: of several
    /// that were asked for the one that was asked for exactly, of one platform
    /// that is there twice the first.
    pub(super) fn sole(
        &self,
        leaves: &[&Leaf],
        specs: &[PlatformSpec],
        message: &str,
    ) -> Result<usize> {
        let exact = |leaf: &&Leaf| {
            let platform = leaf.platform.as_ref();
            platform.is_some_and(|p| specs.iter().any(|spec| spec.platform().normalized() == *p))
        };
        let is_exact = leaves.iter().any(exact);
        let mut found: Vec<(usize, &Leaf)> = Vec::new();
        for (at, leaf) in leaves.iter().enumerate().filter(|(_, leaf)| !is_exact || exact(leaf)) {
            if found.iter().all(|(_, other)| other.platform != leaf.platform) {
                found.push((at, leaf));
            }
        }
        if let [(at, _)] = found[..] {
            return Ok(at);
        }
        let platforms: Vec<String> = found.iter().map(|(_, leaf)| leaf.platform_text()).collect();
        let message = format!("{}: {message} of {}", self.label(), platforms.join(", "));
        Err(Error::new(Code::PlatformChoice, message))
    }

    fn is_picked(&self, leaf: &Leaf) -> bool {
        self.picked.as_ref().is_none_or(|picked| picked.contains(&leaf.descriptor.digest))
    }

    fn missing(&self, selection: &Selection) -> Vec<Missing> {
        let missing =
            |platform: String, lack: Lack| Missing { image: self.label(), platform, lack };
        let picked = || self.leaves.iter().filter(|leaf| self.is_picked(leaf));
        let images = || picked().filter(|leaf| leaf.is_image());
        let lacking = |leaf: &Leaf| missing(leaf.platform_text(), leaf.lack());
        // What can be asked for: images and artifacts.
        let promised = || picked().filter(|leaf| !leaf.is_attestation());
        let is_artifact = self.leaves.iter().any(|leaf| leaf.kind == ManifestKind::Artifact);
        match &selection.platforms {
            // An index that stays promises its attestations, too.
            Platforms::All => {
                let keeps = selection.index == IndexPolicy::Keep;
                let all = self.leaves.iter().filter(|leaf| {
                    if leaf.is_attestation() { keeps } else { self.is_picked(leaf) }
                });
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
                let there = || Lack::Unpromised(images().map(Leaf::platform_text).collect());
                let absent = specs.iter().filter(|spec| !is_artifact && !has(spec));
                let absent = absent.map(|spec| missing(spec.to_string(), there()));
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
            Lack::Unpromised(has) => {
                let more = if has.len() > 10 { ", …" } else { "" };
                let has: Vec<&str> = has.iter().take(10).map(String::as_str).collect();
                format!("it has no such platform, but {}{more}", has.join(", "))
            }
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

/// The manifests that stay.
fn kept_leaves(image: &BundleImage, selection: &Selection) -> HashSet<LeafKey> {
    let (attestations, others): (Vec<&Leaf>, Vec<&Leaf>) =
        image.leaves.iter().partition(|leaf| leaf.is_attestation());
    let stays = |leaf: &&Leaf| match selection.attestations {
        Attestations::Only => selection.wants(leaf) && image.is_picked(leaf),
        _ => leaf.is_complete() && selection.wants(leaf) && image.is_picked(leaf),
    };
    let subjects: HashSet<LeafKey> = others.into_iter().filter(stays).map(Leaf::key).collect();
    if selection.attestations == Attestations::Drop {
        return subjects;
    }
    let all: HashSet<Digest> = image.leaves.iter().map(|leaf| leaf.descriptor.digest).collect();
    // By what they are about; of nothing in the index: about all of it.
    let mut about: HashMap<Option<Digest>, Vec<&Leaf>> = HashMap::new();
    for leaf in attestations.into_iter().filter(|leaf| leaf.is_complete()) {
        let subject = leaf.subject().filter(|subject| all.contains(subject));
        about.entry(subject).or_default().push(leaf);
    }
    let is_part = selection.is_part() || image.picked.is_some();
    let mut next: Vec<Option<Digest>> = subjects.iter().map(|(digest, _)| Some(*digest)).collect();
    next.extend((!is_part).then_some(None));
    let mut kept = HashSet::new();
    // An attestation may itself be attested.
    while let Some(subject) = next.pop() {
        for leaf in about.remove(&subject).unwrap_or_default() {
            kept.insert(leaf.key());
            next.push(Some(leaf.descriptor.digest));
        }
    }
    match selection.attestations {
        Attestations::Only => kept,
        _ => &kept | &subjects,
    }
}
