//! What became of the images and the digests people pin.

use std::collections::{BTreeMap, HashSet};

use crate::archive::Archive;
use crate::bundle::blobs::Blob;
use crate::bundle::{Bundle, Layout};
use crate::digest::Digest;
use crate::edit::{Ledger, LedgerKind};
use crate::error::Result;
use crate::media_type::MediaType;
use crate::platform::Platform;

/// What a bundle becomes when it is laid out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The images, sorted by name.
    pub images: Vec<OutcomeImage>,
    /// Every index, manifest and configuration before and after.
    pub ledger: Ledger,
    /// Blobs of the inputs that are in nothing that is written.
    pub left_out: usize,
    /// Their bytes.
    pub left_out_bytes: u64,
}

/// One image that is written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutcomeImage {
    /// Its names as they are written, sorted.
    pub names: Vec<String>,
    /// The digest in the input: of its index or manifest, or of its
    /// configuration where it had neither.
    pub before: Option<Digest>,
    /// The digest in the output, of the same kinds; `None` when the layout has
    /// no place for it.
    pub after: Option<Digest>,
    /// The media type of what has that digest.
    pub media_type: MediaType,
    /// The configuration the docker view shows of it; `None` where there is no
    /// such view, or nothing in the image that docker could run.
    pub shown: Option<Digest>,
    /// The platforms that are written, in index order; `None` for one that is
    /// not stated.
    pub platforms: Vec<Option<Platform>>,
}

/// What archives hold.
pub(super) fn before(archives: &[&Archive]) -> Ledger {
    Ledger::of(archives, &|digest| Some(*digest))
}

impl Bundle<'_> {
    /// What becomes of the images and of every digest in a layout.
    ///
    /// # Errors
    ///
    /// Those of [`plan`](Self::plan).
    pub fn outcome(&self, layout: &Layout) -> Result<Outcome> {
        let (blobs, _) = self.content(layout)?;
        let written: HashSet<Digest> =
            blobs.keys().filter_map(|path| Digest::from_blob_path(path)).collect();
        let mut images = Vec::new();
        for image in &self.images {
            let has_view = layout.has_items() && image.about.is_none();
            let shown = if has_view { self.shown(image, layout)? } else { None };
            let shown = shown.map(|(config, _)| config);
            let (after, media_type) = match (layout.has_index(), shown) {
                (true, _) => (Some(image.root.digest), image.root.media_type.clone()),
                (false, Some(config)) => (Some(config), MediaType::DOCKER_CONFIG),
                (false, None) => (None, MediaType::from("")),
            };
            let names = image.names().map(str::to_owned).collect();
            let platforms = image.platforms().map(|platform| platform.cloned()).collect();
            let before = image.before;
            images.push(OutcomeImage { names, before, after, media_type, shown, platforms });
        }
        let (left_out, left_out_bytes) = self.left_out(&blobs);
        let ledger = self.ledger(&written);
        Ok(Outcome { images, ledger, left_out, left_out_bytes })
    }

    fn left_out(&self, written: &BTreeMap<String, Blob>) -> (usize, u64) {
        let mut seen = HashSet::new();
        let (mut files, mut bytes) = (0, 0);
        for entry in self.blobs.archives().iter().flat_map(|archive| archive.store.entries()) {
            let is_blob = Digest::from_blob_path(&entry.name).is_some();
            if is_blob && !written.contains_key(&*entry.name) && seen.insert(entry.name) {
                files += 1;
                bytes += entry.span.len;
            }
        }
        (files, bytes)
    }

    fn ledger(&self, written: &HashSet<Digest>) -> Ledger {
        let after = |digest: &Digest| {
            let mut digest = *digest;
            // A document may have been replaced more than once.
            for _ in 0..=self.replaced.len() {
                if written.contains(&digest) {
                    return Some(digest);
                }
                digest = *self.replaced.get(&digest)?;
            }
            None
        };
        let mut ledger = Ledger::of(self.blobs.archives(), &after);
        let entries = ledger.entries().iter();
        let mut known: HashSet<Digest> =
            entries.flat_map(|entry| entry.before.into_iter().chain(entry.after)).collect();
        let mut add = |kind, digest: Digest, platform| {
            if written.contains(&digest) && known.insert(digest) {
                ledger.add(kind, digest, platform);
            }
        };
        for image in &self.images {
            for index in self.blobs.indexes(&image.root.digest) {
                add(LedgerKind::Index, index, None);
            }
            for leaf in &image.leaves {
                add(LedgerKind::Manifest, leaf.descriptor.digest, leaf.platform.clone());
            }
        }
        ledger
    }
}
