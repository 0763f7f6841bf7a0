//! What a bundle becomes when it is laid out: the pieces of an archive, and what
//! became of the images and of the digests people pin.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::bundle::attached::Attachment;
use crate::bundle::blobs::Blob;
use crate::bundle::{Bundle, Gone};
use crate::digest::Digest;
use crate::edit::{Ledger, LedgerEntry, LedgerKind};
use crate::error::Result;
use crate::media_type::MediaType;
use crate::plan::{Plan, PlanBuilder};
use crate::platform::Platform;
use crate::tarball::write::{END_MARKER, directory_header, file_header, padding};

/// One archive, before it is written: see [`plan`](Self::plan).
#[derive(Debug)]
pub struct Output<'a> {
    /// What of the bundle the layout has a place for.
    pub(super) bundle: Bundle<'a>,
    /// By path.
    pub(super) blobs: BTreeMap<String, Blob>,
    /// The control files, in order.
    pub(super) controls: Vec<(&'static str, Vec<u8>)>,
    pub(super) mtime: u64,
    pub(super) has_index: bool,
    pub(super) has_items: bool,
    /// The configuration that `manifest.json` shows of each image.
    pub(super) shown: Vec<Option<Digest>>,
    /// Names with a digest that each image got besides its own.
    pub(super) digest_names: Vec<Vec<String>>,
}

/// One image that is written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutputImage {
    /// Its names as they are written, sorted.
    pub names: Vec<String>,
    /// The digest of its index or manifest in the input; `None` where only the
    /// docker view had it.
    pub before: Option<Digest>,
    /// The digest of its index or manifest in the output; `None` where that has
    /// only the docker view.
    pub after: Option<Digest>,
    /// The media type of what has that digest, else docker's of a configuration.
    pub media_type: MediaType,
    /// The configuration that `manifest.json` shows of it: docker's image ID.
    /// `None` where there is no such file, or nothing docker could run.
    pub shown: Option<Digest>,
    /// The platforms that are written, in index order; `None` for one that is
    /// not stated.
    pub platforms: Vec<Option<Platform>>,
    /// The manifests of the input that are not written, in index order.
    pub gone: Vec<Gone>,
}

impl Output<'_> {
    /// The pieces of the archive: ustar, regular files and directories, owner 0,
    /// one time for all; the blobs sorted, each once, then the control files.
    ///
    /// # Errors
    ///
    /// `E_TAR_NUMERIC` for a blob no header can state the size of.
    pub fn plan(&self) -> Result<Plan> {
        let origins = self.bundle.blobs.archives().iter().map(|archive| archive.origin().clone());
        let mut plan = PlanBuilder::new(origins.collect());
        let mut folder = "";
        for (path, blob) in &self.blobs {
            let own = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            if own != folder {
                if folder.is_empty() {
                    plan.bytes(directory_header("blobs", self.mtime)?);
                }
                plan.bytes(directory_header(own, self.mtime)?);
                folder = own;
            }
            plan.bytes(file_header(path, blob.len(), self.mtime)?);
            match blob {
                Blob::Entry(entry) => plan.span(entry.span.clone()),
                Blob::Bytes(bytes) => plan.bytes(bytes.clone()),
            }
            plan.zeros(padding(blob.len()));
        }
        for (name, text) in &self.controls {
            let len = text.len() as u64;
            plan.bytes(file_header(name, len, self.mtime)?);
            plan.bytes(text.clone());
            plan.zeros(padding(len));
        }
        plan.zeros(usize::try_from(END_MARKER).unwrap_or(1024));
        Ok(plan.build())
    }

    /// The images, sorted by name.
    #[must_use]
    pub fn images(&self) -> Vec<OutputImage> {
        let images = self.bundle.images.iter().enumerate();
        images
            .map(|(at, image)| {
                let mut names: Vec<String> = image.names().map(str::to_owned).collect();
                names.extend(self.digest_names[at].iter().cloned());
                names.sort();
                let after = self.has_index.then_some(image.root.digest);
                let media_type =
                    after.map_or(MediaType::DOCKER_CONFIG, |_| image.root.media_type.clone());
                OutputImage {
                    names,
                    before: image.before,
                    after,
                    media_type,
                    shown: self.shown[at],
                    platforms: image.platforms().map(|platform| platform.cloned()).collect(),
                    gone: image.gone.clone(),
                }
            })
            .collect()
    }

    /// Whether the output has a docker view.
    #[must_use]
    pub fn has_docker_view(&self) -> bool {
        self.has_items
    }

    /// Whether the output has an OCI view.
    #[must_use]
    pub fn has_oci_view(&self) -> bool {
        self.has_index
    }

    /// Names with a digest that changed with it: the old and the new one.
    #[must_use]
    pub fn renamed(&self) -> &[(String, String)] {
        &self.bundle.renamed
    }

    /// Images that did not stay, by name or digest, and names the layout has no
    /// place for.
    #[must_use]
    pub fn dropped(&self) -> &[String] {
        &self.bundle.dropped
    }

    /// Signatures and attestations that went because they were about a digest
    /// that changed, or about such.
    #[must_use]
    pub fn broken(&self) -> &[Attachment] {
        &self.bundle.broken
    }

    /// Every index, manifest and configuration that is written, with its digest
    /// before.
    #[must_use]
    pub fn written(&self) -> Ledger {
        let bundle = &self.bundle;
        let mut was: HashMap<Digest, Digest> = HashMap::new();
        for (old, new) in &bundle.replaced {
            // Which of several does not matter, as long as it is always the same.
            was.entry(*new).or_insert(*old);
        }
        let mut ledger = Ledger::default();
        let mut seen = HashSet::new();
        let mut add = |kind, digest: Digest, platform: Option<&Platform>| {
            if !self.has(&digest) || !seen.insert((kind, digest)) {
                return;
            }
            let mut before = Some(digest);
            // A document may have been made anew more than once.
            while let Some(made) = before.filter(|digest| bundle.blobs.is_made(digest)) {
                before = was.get(&made).copied();
            }
            let platform = platform.cloned();
            ledger.push(LedgerEntry { kind, before, after: Some(digest), platform });
        };
        let mut walk = |root: &Digest, leaves: &[super::Leaf]| {
            for index in bundle.blobs.indexes(root).into_iter().rev() {
                add(LedgerKind::Index, index, None);
            }
            for leaf in leaves {
                let platform = leaf.platform.as_ref();
                add(LedgerKind::Manifest, leaf.descriptor.digest, platform);
                if let Some(manifest) = bundle.blobs.manifest(&leaf.descriptor.digest) {
                    add(LedgerKind::Config, manifest.config.digest, platform);
                }
            }
        };
        for image in &bundle.images {
            walk(&image.root.digest, &image.leaves);
        }
        for referrer in &bundle.referrers {
            let leaves = bundle.blobs.leaves(&referrer.descriptor);
            walk(&referrer.descriptor.digest, &leaves);
        }
        ledger
    }

    fn has(&self, digest: &Digest) -> bool {
        self.blobs.contains_key(&digest.blob_path())
    }

    /// As [`written`](Self::written), and then those of the inputs that are not.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let mut ledger = self.written();
        let mut known = HashSet::new();
        for entry in ledger.entries() {
            known.extend(entry.before.map(|digest| (entry.kind, digest)));
        }
        for entry in self.bundle.before.entries() {
            let Some(before) =
                entry.before.filter(|digest| !known.contains(&(entry.kind, *digest)))
            else {
                continue;
            };
            // What took its place may be of another kind: a manifest.
            let mut after = Some(before);
            while let Some(digest) = after.filter(|digest| !self.has(digest)) {
                after = self.bundle.replaced.get(&digest).copied();
            }
            ledger.push(LedgerEntry { after, ..entry.clone() });
        }
        ledger
    }
}

/// How many blobs of the inputs are in none of the outputs that were made of
/// them, and their bytes.
#[must_use]
pub fn left_out(outputs: &[Output<'_>]) -> (usize, u64) {
    let Some(first) = outputs.first() else { return (0, 0) };
    let seen: HashSet<&str> =
        outputs.iter().flat_map(|output| output.blobs.keys()).map(String::as_str).collect();
    let (mut files, mut bytes) = (0, 0);
    let mut others: HashSet<Box<str>> = HashSet::new();
    for entry in first.bundle.blobs.archives().iter().flat_map(|archive| archive.store.entries()) {
        let is_blob = Digest::from_blob_path(&entry.name).is_some();
        if is_blob && !seen.contains(&*entry.name) && others.insert(entry.name) {
            files += 1;
            bytes += entry.span.len;
        }
    }
    (files, bytes)
}
