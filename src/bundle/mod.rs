//! Bundles: images of one or several archives that will be one archive.
//!
//! This is what `export`, `convert`, `merge` and `split` share. A [`Bundle`] is
//! gathered from archives, changed by pure functions from bundle to bundle, and
//! laid out as a [`Plan`](crate::plan::Plan):
//!
//! ```text
//!     archives ──gather──► bundle ──select──► bundle ──split──► bundles ──output──► plan
//!              names,              platforms,         by image,           layout:
//!              docker → OCI        indexes,           platform,           sorted, ustar,
//!                                  attestations       size                one view or both
//! ```
//!
//! * Inside a bundle every image is OCI: an image that only the docker view has
//!   gets a manifest made from its configuration and its layers, which are read
//!   for it, and their diff IDs checked. The configuration is never written
//!   anew, so docker's image ID stays what it was.
//! * A blob is never changed. The only documents made anew are manifests for
//!   images that had none and indexes that lose children; the [`Output`] lists
//!   them, and what is in no output.
//! * The bytes of an [`Output`] depend on the images and their bytes alone: not
//!   on the order of members in the inputs, on threads or on time. Blobs are not
//!   hashed for it; [`Archive::verify`](crate::archive::Archive::verify) does that.
//!
//! Retagging does not go through here: it keeps an archive member by member.

mod attached;
mod blobs;
mod gather;
mod layout;
mod made;
mod names;
mod output;
mod rewrite;
mod select;
mod split;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::archive::{Descriptor, Format};
use crate::digest::Digest;
use crate::edit::Ledger;
use crate::platform::Platform;
pub use attached::Attachment;
use blobs::{Blobs, Leaf};
pub use gather::{GatherOptions, OnConflict};
pub use layout::Layout;
use names::{BundleName, Top};
pub use output::{Output, OutputImage, left_out};
pub use select::{Attestations, Gone, IndexPolicy, Lack, Missing, Platforms, Selection, Why};
pub use split::{Part, SplitBy};

/// Images that will be one archive.
#[derive(Clone, Debug)]
pub struct Bundle<'a> {
    /// Shared by the bundles that are made of this one.
    blobs: Arc<Blobs<'a>>,
    images: Vec<BundleImage>,
    /// Manifests and indexes that are about others, and no images.
    referrers: Vec<Referrer>,
    /// What the inputs held.
    before: Arc<Ledger>,
    /// Indexes and manifests that another took the place of.
    replaced: BTreeMap<Digest, Digest>,
    /// Names that had to change with a digest: old and new.
    renamed: Vec<(String, String)>,
    /// Labels of images, and names, that did not stay.
    dropped: Vec<String>,
    /// Signatures and attestations that went although what they were about
    /// stays.
    broken: Vec<Attachment>,
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
    /// The digest of its index or manifest in the input, where it had one.
    before: Option<Digest>,
    /// The position of the archive it comes from.
    archive: usize,
    /// The manifests that go along.
    leaves: Vec<Leaf>,
    /// Those that were asked for by digest; `None` for all.
    picked: Option<HashSet<Digest>>,
    /// The manifests that do not go along.
    gone: Vec<Gone>,
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

impl<'a> Bundle<'a> {
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

    /// A bundle of other images from the same archives.
    fn with(&self, images: Vec<BundleImage>, referrers: Vec<Referrer>) -> Bundle<'a> {
        Bundle {
            blobs: Arc::clone(&self.blobs),
            images,
            referrers,
            before: Arc::clone(&self.before),
            replaced: self.replaced.clone(),
            renamed: self.renamed.clone(),
            dropped: self.dropped.clone(),
            broken: self.broken.clone(),
            format: self.format,
        }
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
        self.names.iter().map(BundleName::key)
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
