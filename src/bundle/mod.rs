//! Bundles: images of one or several archives that will be one archive.
//!
//! This is what `export`, `convert`, `merge` and `split` share. A [`Bundle`] is
//! gathered from archives, changed by pure functions from bundle to bundle, and
//! laid out as a [`Plan`](crate::plan::Plan):
//!
//! ```text
//!     archives ──gather──► bundle ──select──► bundle ──split──► bundles ──plan──► writer
//!              names,              platforms,         by image,          layout:
//!              docker → OCI        indexes,           platform,          sorted, ustar,
//!                                  attestations       size               one view or both
//! ```
//!
//! * Inside a bundle every image is OCI: an image that only the docker view has
//!   gets a manifest made from its configuration and its layers, which are read
//!   for it, and their diff IDs checked. The configuration is never written
//!   anew, so docker's image ID stays what it was.
//! * A blob is never changed. The only documents made anew are manifests for
//!   images that had none and indexes that lose children; the [`Outcome`] lists
//!   them.
//! * The output of [`Bundle::plan`] depends on the images and their bytes
//!   alone: not on the order of members in the inputs, on threads or on time.
//!
//! Retagging does not go through here: it keeps an archive member by member.

mod attached;
mod blobs;
mod gather;
mod layout;
mod names;
mod outcome;
mod select;
mod split;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::archive::{Descriptor, Format};
use crate::digest::Digest;
use crate::edit::Ledger;
use crate::platform::Platform;
use blobs::{Blobs, Leaf};
pub use gather::{GatherOptions, OnConflict};
pub use layout::Layout;
use names::{BundleName, Top};
pub use outcome::{Outcome, OutcomeImage};
pub use select::{Attestations, IndexPolicy, Lack, Missing, Platforms, Selection};
pub use split::{Part, SplitBy};

/// Images that will be one archive.
#[derive(Clone, Debug)]
pub struct Bundle<'a> {
    blobs: Blobs<'a>,
    images: Vec<BundleImage>,
    /// Manifests and indexes that are about others, and no images.
    referrers: Vec<Referrer>,
    /// What the inputs held, for the ledger.
    before: Arc<Ledger>,
    /// Indexes and manifests that another took the place of.
    replaced: HashMap<Digest, Digest>,
    /// Names that had to change with a digest: old and new.
    renamed: Vec<(String, String)>,
    /// Labels of images that did not stay.
    dropped: Vec<String>,
    /// Labels of signatures and attestations that went although what they were
    /// about stays.
    broken: Vec<String>,
    format: Format,
}

/// One image of a bundle.
#[derive(Clone, Debug)]
pub struct BundleImage {
    /// Its names, sorted.
    names: Vec<BundleName>,
    /// The descriptors of `index.json` that lead to it, at least one.
    tops: Vec<Top>,
    /// What they lead to: an index or a manifest.
    root: Descriptor,
    /// The digest of the image in the input.
    before: Option<Digest>,
    /// The manifests that go along, each once.
    leaves: Vec<Leaf>,
    /// The configurations the docker views of the inputs showed.
    shown: BTreeSet<Digest>,
    /// What the image is about, where it is a signature or the like.
    about: Option<Digest>,
    /// Whether it goes when that goes.
    follows: bool,
}

/// A top-level descriptor about another.
#[derive(Clone, Debug)]
struct Referrer {
    /// The descriptor's text.
    raw: Vec<u8>,
    descriptor: Descriptor,
    /// What it is about.
    subject: Option<Digest>,
}

impl Bundle<'_> {
    /// The images, sorted by name.
    #[must_use]
    pub fn images(&self) -> &[BundleImage] {
        &self.images
    }

    /// The view or views the inputs have between them: what `--to same` writes.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Names with a digest that changed with it: the old and the new one.
    #[must_use]
    pub fn renamed(&self) -> &[(String, String)] {
        &self.renamed
    }

    /// Images that did not stay, by name or digest.
    #[must_use]
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// Signatures and attestations that went because they were about a digest
    /// that changed, by name or digest.
    #[must_use]
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    /// The indexes and manifests of an image that stay.
    fn documents(&self, image: &BundleImage) -> HashSet<Digest> {
        let mut all: HashSet<Digest> = self.blobs.indexes(&image.root.digest).into_iter().collect();
        all.extend(image.leaves.iter().map(|leaf| leaf.descriptor.digest));
        all
    }
}

impl BundleImage {
    /// Its names as they will be written, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(BundleName::text)
    }

    /// How people call it: its first name, or its digest.
    #[must_use]
    pub fn label(&self) -> String {
        self.names.first().map_or_else(|| self.root.digest.to_string(), |name| name.key().into())
    }

    /// The descriptor of its index or manifest.
    #[must_use]
    pub fn target(&self) -> &Descriptor {
        &self.root
    }

    /// The platforms that go along, in index order; `None` for one that is not
    /// stated.
    pub fn platforms(&self) -> impl Iterator<Item = Option<&Platform>> {
        let images = self.leaves.iter().filter(|leaf| leaf.is_image() && self.about.is_none());
        images.map(|leaf| leaf.platform.as_ref())
    }
}
