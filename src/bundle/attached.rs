//! What speaks about an image goes where the image goes: signatures,
//! attestations and bills of material, in each of the forms they have.
//!
//! * BuildKit's attestations are children of the image's index (select.rs).
//! * Referrers (OCI 1.1 `subject`, containerd's copies of them) stand beside the
//!   images in `index.json`.
//! * cosign's older signatures are images under a tag made of the digest.
//!
//! What speaks of these is attached, too. Work is linear in what is attached,
//! however long a chain it is.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::archive::{Descriptor, Manifest};
use crate::bundle::{Bundle, BundleImage, Referrer};
use crate::digest::Digest;
use crate::edit::LedgerKind;

/// A signature, an attestation or another thing that is about something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attachment {
    /// Its first name, or its digest.
    pub label: String,
    /// What kind of thing: the type of the artifact, else of its configuration;
    /// empty when nothing says so.
    pub artifact_type: String,
    /// What it is about.
    pub subject: Option<Digest>,
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)?;
        if !self.artifact_type.is_empty() {
            write!(f, " ({})", self.artifact_type)?;
        }
        Ok(())
    }
}

impl<'a> Bundle<'a> {
    /// Drops what is about something that was in the inputs and did not stay.
    /// What is about something that never was there stays, unless images were
    /// `picked`.
    pub(super) fn follow(&mut self, picked: bool) {
        let entries = self.before.entries().iter();
        let was: HashSet<Digest> = entries
            .filter(|entry| entry.kind != LedgerKind::Config)
            .filter_map(|entry| entry.before)
            .collect();
        let waiting = self.take_attached();
        let stays = |attached: &Attached| {
            !picked && attached.subject().is_none_or(|subject| !was.contains(&subject))
        };
        let seeds: Vec<usize> = (0..waiting.len()).filter(|at| stays(&waiting[*at])).collect();
        let kept: Vec<Digest> = self.all_documents();
        let about = About::new(&waiting);
        let follow = about.closure(self, &waiting, kept, seeds);
        // Of what does not stay, what is about a digest that changed is broken,
        // and so is what is about that.
        let changed: Vec<Digest> = self.replaced.keys().copied().collect();
        let broken = about.closure(self, &waiting, changed, Vec::new());
        for (at, attached) in waiting.into_iter().enumerate() {
            match () {
                () if follow.contains(&at) => self.attach(attached),
                () if broken.contains(&at) => {
                    let attachment = attached.attachment(self);
                    self.broken.push(attachment);
                }
                () => self.dropped.push(attached.label()),
            }
        }
        self.sort_attached();
    }

    /// Drops everything that speaks about an image and stands beside it.
    pub(super) fn drop_attached(&mut self) {
        let attached = self.take_attached();
        self.dropped.extend(attached.iter().map(Attached::label));
    }

    /// Drops it as what the layout has no place for, which breaks it.
    pub(super) fn break_attached(&mut self) {
        for attached in self.take_attached() {
            let attachment = attached.attachment(self);
            self.broken.push(attachment);
        }
    }

    /// Takes out all that follows something.
    pub(super) fn take_attached(&mut self) -> Vec<Attached> {
        let (images, attached): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.images).into_iter().partition(|image| !image.follows);
        self.images = images;
        let mut all: Vec<Attached> =
            attached.into_iter().map(|image| Attached::Image(Box::new(image))).collect();
        all.extend(
            std::mem::take(&mut self.referrers)
                .into_iter()
                .map(|referrer| Attached::Referrer(Box::new(referrer))),
        );
        all
    }

    pub(super) fn attach(&mut self, attached: Attached) {
        match attached {
            Attached::Image(image) => self.images.push(*image),
            Attached::Referrer(referrer) => self.referrers.push(*referrer),
        }
    }

    pub(super) fn sort_attached(&mut self) {
        self.images.sort_by_cached_key(BundleImage::order);
        self.referrers.sort_by_key(|referrer| referrer.descriptor.digest);
    }

    /// The indexes and manifests of all images.
    fn all_documents(&self) -> Vec<Digest> {
        self.images.iter().flat_map(|image| self.documents(image)).collect()
    }
}

/// Something that may follow another.
#[derive(Clone, Debug)]
pub(super) enum Attached {
    Image(Box<BundleImage>),
    Referrer(Box<Referrer>),
}

impl Attached {
    pub(super) fn subject(&self) -> Option<Digest> {
        match self {
            Attached::Image(image) => image.about,
            Attached::Referrer(referrer) => referrer.subject,
        }
    }

    /// Its own indexes and manifests, which others may be about.
    pub(super) fn documents(&self, bundle: &Bundle<'_>) -> Vec<Digest> {
        match self {
            Attached::Image(image) => bundle.documents(image).into_iter().collect(),
            Attached::Referrer(referrer) => {
                let mut all = bundle.blobs.indexes(&referrer.descriptor.digest);
                let leaves = bundle.blobs.leaves(&referrer.descriptor);
                all.extend(leaves.iter().map(|leaf| leaf.descriptor.digest));
                all
            }
        }
    }

    fn descriptor(&self) -> &Descriptor {
        match self {
            Attached::Image(image) => &image.root,
            Attached::Referrer(referrer) => &referrer.descriptor,
        }
    }

    fn label(&self) -> String {
        match self {
            Attached::Image(image) => image.label(),
            Attached::Referrer(referrer) => referrer.descriptor.digest.to_string(),
        }
    }

    fn attachment(&self, bundle: &Bundle<'_>) -> Attachment {
        let manifest = bundle.blobs.manifest(&self.descriptor().digest);
        let of_config = |manifest: &Manifest| manifest.config.media_type.as_str().to_owned();
        let stated = self.descriptor().artifact_type.clone();
        let stated = stated.or_else(|| manifest?.artifact_type.clone());
        let artifact_type = stated.map(String::from).or_else(|| manifest.map(of_config));
        Attachment {
            label: self.label(),
            artifact_type: artifact_type.unwrap_or_default(),
            subject: self.subject(),
        }
    }
}

/// What is attached, by what it is about.
pub(super) struct About {
    by_subject: HashMap<Digest, Vec<usize>>,
}

impl About {
    pub(super) fn new(attached: &[Attached]) -> About {
        let mut by_subject: HashMap<Digest, Vec<usize>> = HashMap::new();
        for (at, attached) in attached.iter().enumerate() {
            if let Some(subject) = attached.subject() {
                by_subject.entry(subject).or_default().push(at);
            }
        }
        About { by_subject }
    }

    /// Positions of what is about any of these documents, of what is about that,
    /// and so on; and of the seeds and what is about them.
    pub(super) fn closure(
        &self,
        bundle: &Bundle<'_>,
        attached: &[Attached],
        documents: Vec<Digest>,
        seeds: Vec<usize>,
    ) -> HashSet<usize> {
        let mut found: HashSet<usize> = seeds.iter().copied().collect();
        let mut documents = documents;
        documents.extend(seeds.iter().flat_map(|at| attached[*at].documents(bundle)));
        let mut done: HashSet<Digest> = HashSet::new();
        while let Some(document) = documents.pop() {
            if !done.insert(document) {
                continue;
            }
            for at in self.by_subject.get(&document).into_iter().flatten() {
                if found.insert(*at) {
                    documents.extend(attached[*at].documents(bundle));
                }
            }
        }
        found
    }
}
