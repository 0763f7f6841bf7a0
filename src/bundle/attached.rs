//! What speaks about an image goes where the image goes: signatures,
//! attestations and bills of material, in each of the forms they have.
//!
//! * BuildKit's attestations are children of the image's index (select.rs).
//! * Referrers (OCI 1.1 `subject`, containerd's copies of them) stand beside the
//!   images in `index.json`.
//! * cosign's older signatures are images under a tag made of the digest.

use std::collections::HashSet;

use crate::bundle::{Bundle, BundleImage, Referrer};
use crate::digest::Digest;
use crate::edit::LedgerKind;

impl Bundle<'_> {
    /// Drops what is about something that was in the inputs and did not stay.
    /// What is about something that never was there stays, unless images were
    /// `picked`.
    pub(super) fn follow(&mut self, picked: bool) {
        let entries = self.before.entries().iter();
        let was: HashSet<Digest> = entries
            .filter(|entry| entry.kind != LedgerKind::Config)
            .filter_map(|entry| entry.before)
            .collect();
        let (images, attached): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.images).into_iter().partition(|image| !image.follows);
        self.images = images;
        let referrers = std::mem::take(&mut self.referrers);
        let mut waiting: Vec<Attached> = attached.into_iter().map(Attached::Image).collect();
        waiting.extend(referrers.into_iter().map(Attached::Referrer));
        let mut kept = self.all_documents();
        // A signature may itself be signed: until nothing more follows.
        loop {
            let stays = |attached: &Attached| match attached.subject() {
                Some(subject) => kept.contains(&subject) || !picked && !was.contains(&subject),
                None => !picked,
            };
            let (follow, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(stays);
            waiting = rest;
            if follow.is_empty() {
                break;
            }
            for attached in follow {
                match attached {
                    Attached::Image(image) => {
                        kept.extend(self.documents(&image));
                        self.images.push(image);
                    }
                    Attached::Referrer(referrer) => {
                        kept.extend(self.blobs.indexes(&referrer.descriptor.digest));
                        let leaves = self.blobs.leaves(&referrer.descriptor);
                        kept.extend(leaves.iter().map(|leaf| leaf.descriptor.digest));
                        self.referrers.push(referrer);
                    }
                }
            }
        }
        for attached in waiting {
            let label = attached.label();
            match attached.subject() {
                // What it was about is still there, under another digest.
                Some(subject) if self.replaced.contains_key(&subject) => self.broken.push(label),
                _ => self.dropped.push(label),
            }
        }
        self.images.sort_by_cached_key(BundleImage::order);
        self.referrers.sort_by_key(|referrer| referrer.descriptor.digest);
    }

    /// Drops everything that speaks about an image and stands beside it.
    pub(super) fn drop_attached(&mut self) {
        let (images, attached): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.images).into_iter().partition(|image| !image.follows);
        self.images = images;
        self.dropped.extend(attached.iter().map(BundleImage::label));
        let referrers = std::mem::take(&mut self.referrers);
        self.dropped.extend(referrers.iter().map(|r| r.descriptor.digest.to_string()));
    }

    fn all_documents(&self) -> HashSet<Digest> {
        self.images.iter().flat_map(|image| self.documents(image)).collect()
    }
}

/// Something that may follow another.
enum Attached {
    Image(BundleImage),
    Referrer(Referrer),
}

impl Attached {
    fn subject(&self) -> Option<Digest> {
        match self {
            Attached::Image(image) => image.about,
            Attached::Referrer(referrer) => referrer.subject,
        }
    }

    fn label(&self) -> String {
        match self {
            Attached::Image(image) => image.label(),
            Attached::Referrer(referrer) => referrer.descriptor.digest.to_string(),
        }
    }
}
