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

/// A manifest of an image, at the end of whatever indexes lead to it.
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

    pub(super) fn platform_text(&self) -> String {
        self.platform.as_ref().map_or_else(|| "unknown".into(), Platform::to_string)
    }
}

impl<'a> Blobs<'a> {
    pub(super) fn new(archives: &[&'a Archive]) -> Blobs<'a> {
        Blobs {
            archives: archives.to_vec(),
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

    pub(super) fn content(&self, digest: &Digest) -> Option<&Content> {
        if let Some(made) = self.made.get(digest) {
            return Some(&made.content);
        }
        let nodes = self.archives.iter().filter_map(|archive| archive.graph.get(digest));
        // One archive may hold what another only promises.
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
        let of_graph = |archive: &&'a Archive| archive.graph.get(digest)?.config.as_deref();
        self.archives
            .iter()
            .find_map(of_graph)
            .or_else(|| self.configs.get(digest).map(|config| &**config))
    }

    /// The blob of a digest, from the first archive that has it.
    pub(super) fn find(&self, digest: &Digest) -> Option<Blob> {
        if let Some(made) = self.made.get(digest) {
            return Some(Blob::Bytes(made.bytes.clone()));
        }
        // A file that was read goes before one that is only called so.
        let entry = self.files.get(digest).cloned();
        entry
            .or_else(|| self.archives.iter().find_map(|archive| archive.blob(digest)))
            .map(Blob::Entry)
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.made.contains_key(digest)
            || self.files.contains_key(digest)
            || self.archives.iter().any(|archive| archive.blob(digest).is_some())
    }

    /// The blob a descriptor leads to, which has to be of the size it says.
    ///
    /// # Errors
    ///
    /// `E_SIZE_MISMATCH`.
    pub(super) fn of(&self, descriptor: &Descriptor) -> Result<Option<Blob>> {
        let Some(blob) = self.find(&descriptor.digest) else { return Ok(None) };
        let len = match &blob {
            Blob::Entry(entry) => entry.span.len,
            Blob::Bytes(bytes) => bytes.len() as u64,
        };
        if len == descriptor.size {
            return Ok(Some(blob));
        }
        let message = format!("{} is not of the size its descriptor says", descriptor.digest);
        let error = Error::new(Code::SizeMismatch, message).expected_found(descriptor.size, len);
        Err(match blob {
            Blob::Entry(entry) => error.at(entry.place),
            Blob::Bytes(_) => error,
        })
    }

    /// The bytes of a document.
    pub(super) fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        match self.find(digest) {
            Some(Blob::Bytes(bytes)) => Ok(bytes),
            Some(Blob::Entry(entry)) => {
                let archive = self.archives.iter().find(|archive| archive.blob(digest).is_some());
                let Some(archive) = archive else { return entry.span.read() };
                Reader::new(&archive.store, archive.limits()).read(&entry)
            }
            None => {
                let message = format!("{digest} is not in the archive");
                Err(Error::new(Code::BlobMissing, message))
            }
        }
    }

    /// The manifests below a descriptor, nested indexes included, in index
    /// order and each once.
    pub(super) fn leaves(&self, top: &Descriptor) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        let mut seen = HashSet::new();
        let mut stack = vec![top];
        while let Some(descriptor) = stack.pop() {
            if !seen.insert(descriptor.digest) {
                continue;
            }
            match self.index(&descriptor.digest) {
                Some(index) => stack.extend(index.manifests.iter().rev()),
                None => leaves.push(self.leaf(descriptor)),
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

    fn leaf(&self, descriptor: &Descriptor) -> Leaf {
        let content = self.content(&descriptor.digest);
        let kind = kind_of(descriptor, content);
        let manifest = match content {
            Some(Content::Manifest(manifest)) => Some(manifest),
            _ => None,
        };
        let config = manifest.and_then(|manifest| self.config(&manifest.config.digest));
        let stated =
            descriptor.platform.clone().filter(|platform| !platform.architecture.is_empty());
        let platform = stated.or_else(|| config.map(|config| config.platform.clone()));
        let (mut needed, mut present) = (1, usize::from(self.has(&descriptor.digest)));
        match manifest {
            Some(manifest) => {
                for blob in manifest.layers.iter().chain([&manifest.config]) {
                    let is_present = self.has(&blob.digest);
                    needed += usize::from(is_present || !blob.is_foreign());
                    present += usize::from(is_present);
                }
            }
            // What an image that cannot be read lacks is not known.
            None if kind != ManifestKind::Artifact => needed += 1,
            None => {}
        }
        let platform = platform.map(|platform| platform.normalized());
        Leaf { descriptor: descriptor.clone(), kind, platform, needed, present }
    }
}
