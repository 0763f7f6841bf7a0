//! The table of crafted archives: what is wrong with each, and what ocitar must say.
//!
//! Each is a sound image archive around its trick, so that nothing else can be the reason for a refusal.

mod configs;
mod images;
pub mod json;
mod layers;
mod metadata;
mod names;
mod producers;
mod structure;

use ocitar::error::Code;
use ocitar::limits::Limits;

use crate::bytes::Bytes;
use crate::support::image::{Image, index};
use crate::support::oci::LAYOUT;

/// What must come of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing is wrong, or nothing that keeps it from being read one way.
    Accepted,
    /// Every verb but `verify` and `inspect` stops.
    Refused(Code),
    /// It reads one way, and `verify` says that its content is at fault.
    Fails(Code),
}

/// One crafted archive.
pub struct Row {
    /// The number of the threat.
    pub threat: &'static str,
    pub what: &'static str,
    pub bytes: Vec<u8>,
    pub want: Want,
    pub limits: Limits,
}

impl Row {
    pub fn new(threat: &'static str, what: &'static str, bytes: Vec<u8>, want: Want) -> Row {
        Row { threat, what, bytes, want, limits: Limits::default() }
    }

    /// Under other limits.
    pub fn limited(mut self, limit: impl FnOnce(&mut Limits)) -> Row {
        limit(&mut self.limits);
        self
    }
}

/// Every row.
pub fn all() -> Vec<Row> {
    let mut all = structure::rows();
    all.extend(metadata::rows());
    all.extend(names::rows());
    all.extend(images::rows());
    all.extend(configs::rows());
    all.extend(layers::rows());
    all.extend(producers::rows());
    all
}

/// The name of the image in every archive.
pub const NAME: &str = "example.com/team/app:1.0";

/// The files of a small OCI layout: blobs, then what leads to them.
pub fn layout() -> (Bytes, Bytes) {
    let image = Image::app("hostile");
    let mut blobs = Bytes::new();
    for (path, body) in image.blobs() {
        blobs = blobs.file(&path, body);
    }
    let top = index(&[image.child().named(NAME)]);
    (blobs, Bytes::new().file("index.json", top).file("oci-layout", LAYOUT))
}

/// A sound archive with these bytes between its members.
pub fn around(trick: Bytes) -> Vec<u8> {
    let (blobs, documents) = layout();
    blobs.raw(trick.0).raw(documents.0).end().0
}

/// A sound archive with these bytes for its end.
pub fn ending(trick: &Bytes) -> Vec<u8> {
    let (blobs, documents) = layout();
    blobs.raw(documents.0).raw(&trick.0).0
}
