//! Where the bytes of a bundle are, by digest, over several archives.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use crate::archive::graph::Content;
use crate::archive::oci::kind_of;
use crate::archive::{
    Archive, ConfigSummary, Descriptor, Entry, Index, Manifest, ManifestKind, Reader,
};
use crate::digest::Digest;
use crate::error::{Code, Error, Result};
use crate::limits::Limits;
use crate::platform::Platform;

/// Every blob that can go into a bundle.
#[derive(Clone, Debug)]
pub(super) struct Blobs<'a> {
    archives: Vec<&'a Archive>,
    /// Where there are several archives: positions of those that hold a blob.
    holders: HashMap<Digest, Vec<usize>>,
    /// Files of the docker view, by the digest of their bytes.
    files: HashMap<Digest, Entry>,
    /// Configurations of the docker view.
    configs: HashMap<Digest, Arc<ConfigSummary>>,
    /// Indexes and manifests that no archive holds.
    made: HashMap<Digest, Arc<Made>>,
}

/// A document made here.
#[derive(Debug)]
struct Made {
    bytes: Vec<u8>,
    content: Content,
}

/// Where a blob's bytes are.
#[derive(Clone, Debug)]
pub(super) enum Blob {
    Entry(Entry),
    Bytes(Vec<u8>),
}

/// What a selection chooses: a manifest, for one of the platforms it is listed
/// for.
pub(super) type LeafKey = (Digest, Option<Platform>);

/// A manifest of an image, at the end of whatever indexes lead to it, for one
/// platform.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) descriptor: Descriptor,
    pub(super) kind: ManifestKind,
    /// From the descriptor, else from the configuration; normalised.
    pub(super) platform: Option<Platform>,
    /// Blobs a complete copy has: manifest, configuration, layers that are
    /// distributed.
    pub(super) needed: usize,
    /// How many of them there are.
    pub(super) present: usize,
}

impl Leaf {
    pub(super) fn is_complete(&self) -> bool {
        self.present == self.needed
    }

    pub(super) fn is_image(&self) -> bool {
        self.kind == ManifestKind::Image
    }

    pub(super) fn is_attestation(&self) -> bool {
        matches!(self.kind, ManifestKind::Attestation(_))
    }

    /// What an attestation is about.
    pub(super) fn subject(&self) -> Option<Digest> {
        match self.kind {
            ManifestKind::Attestation(subject) => subject,
            _ => None,
        }
    }

    pub(super) fn key(&self) -> LeafKey {
        (self.descriptor.digest, self.platform.clone())
    }

    pub(super) fn platform_text(&self) -> String {
        platform_text(self.platform.as_ref())
    }
}

/// A platform in full, as it would be asked for.
pub(super) fn platform_text(platform: Option<&Platform>) -> String {
    platform.map_or_else(|| "unknown".into(), |platform| platform.to_string())
}

impl<'a> Blobs<'a> {
    pub(super) fn new(archives: &[&'a Archive]) -> Blobs<'a> {
        let mut holders: HashMap<Digest, Vec<usize>> = HashMap::new();
        if archives.len() > 1 {
            for (at, archive) in archives.iter().enumerate() {
                for digest in archive.store.blobs() {
                    holders.entry(digest).or_default().push(at);
                }
            }
        }
        Blobs {
            archives: archives.to_vec(),
            holders,
            files: HashMap::new(),
            configs: HashMap::new(),
            made: HashMap::new(),
        }
    }

    pub(super) fn archives(&self) -> &[&'a Archive] {
        &self.archives
    }

    /// The limits documents are read under.
    pub(super) fn limits(&self) -> &'a Limits {
        static DEFAULT: LazyLock<Limits> = LazyLock::new(Limits::default);
        self.archives.first().map_or(&*DEFAULT, |archive| archive.limits())
    }

    /// Adds a file of the docker view under the digest of its bytes.
    pub(super) fn add_file(&mut self, digest: Digest, entry: Entry) {
        self.files.entry(digest).or_insert(entry);
    }

    pub(super) fn add_config(&mut self, digest: Digest, config: &ConfigSummary) {
        self.configs.entry(digest).or_insert_with(|| Arc::new(config.clone()));
    }

    /// Adds a document that was made; its digest is what it is found by.
    pub(super) fn add_document(&mut self, bytes: Vec<u8>, content: Content) -> Digest {
        let digest = Digest::of(&bytes);
        self.made.insert(digest, Arc::new(Made { bytes, content }));
        digest
    }

    /// The archives that hold a blob, in order.
    fn holding(&self, digest: &Digest) -> impl Iterator<Item = &'a Archive> {
        // Of one archive the archive itself is asked.
        let single: &[usize] = if self.archives.len() == 1 { &[0] } else { &[] };
        let holders = self.holders.get(digest).map_or(single, Vec::as_slice);
        holders.iter().map(|at| self.archives[*at])
    }

    /// Whether a document was made here, and no archive holds it.
    pub(super) fn is_made(&self, digest: &Digest) -> bool {
        self.made.contains_key(digest) && self.holding(digest).all(|a| a.blob(digest).is_none())
    }

    pub(super) fn content(&self, digest: &Digest) -> Option<&Content> {
        if let Some(made) = self.made.get(digest) {
            return Some(&made.content);
        }
        let nodes = self.holding(digest).filter_map(|archive| archive.graph.get(digest));
        nodes.map(|node| &node.content).find(|content| !matches!(content, Content::Other))
    }

    pub(super) fn index(&self, digest: &Digest) -> Option<&Index> {
        match self.content(digest)? {
            Content::Index(index) => Some(index),
            _ => None,
        }
    }

    pub(super) fn manifest(&self, digest: &Digest) -> Option<&Manifest> {
        match self.content(digest)? {
            Content::Manifest(manifest) => Some(manifest),
            _ => None,
        }
    }

    pub(super) fn config(&self, digest: &Digest) -> Option<&ConfigSummary> {
        let of_graph = |archive: &'a Archive| archive.graph.get(digest)?.config.as_deref();
        let found = self.holding(digest).find_map(of_graph);
        found.or_else(|| self.configs.get(digest).map(|config| &**config))
    }

    /// The blob of a digest, from the first archive that has it.
    pub(super) fn find(&self, digest: &Digest) -> Option<Blob> {
        if let Some(made) = self.made.get(digest) {
            return Some(Blob::Bytes(made.bytes.clone()));
        }
        // A file that was read goes before one that is only called so.
        let entry = self.files.get(digest).cloned();
        entry.or_else(|| self.holding(digest).find_map(|a| a.blob(digest))).map(Blob::Entry)
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.made.contains_key(digest)
            || self.files.contains_key(digest)
            || self.holding(digest).any(|archive| archive.blob(digest).is_some())
    }

    /// The blob a descriptor leads to, from the first archive that has it in
    /// the size the descriptor says.
    ///
    /// # Errors
    ///
    /// `E_SIZE_MISMATCH` when it is there, and nowhere of this size.
    pub(super) fn of(&self, descriptor: &Descriptor) -> Result<Option<Blob>> {
        let Descriptor { digest, size, .. } = descriptor;
        let Some(blob) = self.find(digest) else { return Ok(None) };
        if blob.len() == *size {
            return Ok(Some(blob));
        }
        let mut held = self.holding(digest).filter_map(|archive| archive.blob(digest));
        if let Some(entry) = held.find(|entry| entry.span.len == *size) {
            return Ok(Some(Blob::Entry(entry)));
        }
        Err(self.wrong_size(descriptor, &blob))
    }

    pub(super) fn wrong_size(&self, descriptor: &Descriptor, blob: &Blob) -> Error {
        let Descriptor { digest, size, .. } = descriptor;
        let message = format!("{digest} is not of the size its descriptor says");
        let error = Error::new(Code::SizeMismatch, message).expected_found(size, blob.len());
        let held = self.holding(digest).find_map(|a| Some((a, a.blob(digest)?)));
        match held {
            Some((archive, entry)) => error.at(entry.place).in_archive(archive.label()),
            None => error,
        }
    }

    /// The bytes of a document.
    pub(super) fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        match self.find(digest) {
            Some(Blob::Bytes(bytes)) => Ok(bytes),
            Some(Blob::Entry(entry)) => match self.holding(digest).next() {
                Some(archive) => Reader::new(&archive.store, archive.limits()).read(&entry),
                None => entry.span.read(),
            },
            None => {
                let message = format!("{digest} is not in the archive");
                Err(Error::new(Code::BlobMissing, message))
            }
        }
    }

    /// The manifests below a descriptor, nested indexes included, in index
    /// order, once for each platform they are listed for.
    pub(super) fn leaves(&self, top: &Descriptor) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        let (mut indexes, mut seen) = (HashSet::new(), HashSet::new());
        let mut stack = vec![top];
        while let Some(descriptor) = stack.pop() {
            match self.index(&descriptor.digest) {
                Some(index) => {
                    if indexes.insert(descriptor.digest) {
                        stack.extend(index.manifests.iter().rev());
                    }
                }
                None => {
                    if seen.insert(self.key(descriptor)) {
                        leaves.push(self.leaf(descriptor));
                    }
                }
            }
        }
        leaves
    }

    /// The indexes at and below a digest, a child before its parents.
    pub(super) fn indexes(&self, top: &Digest) -> Vec<Digest> {
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        let mut stack = vec![(*top, false)];
        while let Some((digest, is_done)) = stack.pop() {
            if is_done {
                order.push(digest);
                continue;
            }
            let Some(index) = self.index(&digest).filter(|_| seen.insert(digest)) else { continue };
            stack.push((digest, true));
            stack.extend(index.manifests.iter().rev().map(|child| (child.digest, false)));
        }
        order
    }

    /// How a child of an index is chosen.
    pub(super) fn key(&self, descriptor: &Descriptor) -> LeafKey {
        let stated = descriptor.platform.as_ref().filter(|p| !p.architecture.is_empty());
        let platform = stated.or_else(|| {
            let manifest = self.manifest(&descriptor.digest)?;
            self.config(&manifest.config.digest).map(|config| &config.platform)
        });
        (descriptor.digest, platform.map(Platform::normalized))
    }

    fn leaf(&self, descriptor: &Descriptor) -> Leaf {
        let content = self.content(&descriptor.digest);
        let kind = kind_of(descriptor, content);
        let (mut needed, mut present) = (1, usize::from(self.has(&descriptor.digest)));
        match content {
            Some(Content::Manifest(manifest)) => {
                for blob in manifest.layers.iter().chain([&manifest.config]) {
                    let is_present = self.has(&blob.digest);
                    needed += usize::from(is_present || !blob.is_foreign());
                    present += usize::from(is_present);
                }
            }
            // What an image that cannot be read lacks is not known.
            _ if kind != ManifestKind::Artifact => needed += 1,
            _ => {}
        }
        let (_, platform) = self.key(descriptor);
        Leaf { descriptor: descriptor.clone(), kind, platform, needed, present }
    }
}

impl Blob {
    pub(super) fn len(&self) -> u64 {
        match self {
            Blob::Entry(entry) => entry.span.len,
            Blob::Bytes(bytes) => bytes.len() as u64,
        }
    }
}
