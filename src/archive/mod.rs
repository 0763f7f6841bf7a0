//! An archive: its files, its documents, its images and their names.
//!
//! [`Archive::open`] indexes the tar, reads the control files and every
//! manifest and configuration they lead to, and joins the docker view
//! (`manifest.json`) with the OCI view (`index.json`). Layers are not read.
//! What is wrong is collected as findings; [`Archive::check`] stops at the
//! fatal ones, which is what every verb but `verify` and `inspect` does.

pub(crate) mod docker;
mod document;
pub(crate) mod graph;
mod image;
mod join;
pub(crate) mod names;
pub(crate) mod oci;
mod open;
pub(crate) mod store;
mod v1;
pub(crate) mod view;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use crate::compress::Compression;
use crate::diagnostics::{Diagnostics, Severity};
use crate::digest::Digest;
use crate::error::{Code, Error, Place, Result};
use crate::limits::Limits;
use crate::tarball::{Marker, TarIndex};
pub(crate) use document::Document;
use graph::{Content, Graph};
pub use image::{Image, ImageManifest, Layer, ManifestKind, Target};
pub use names::{Name, NameSite};
pub use open::{Access, OpenOptions};
pub use store::Entry;
use store::Store;
pub use view::{Config, Descriptor, History, Index, Manifest};

/// Which views an archive has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `manifest.json` alone: `docker save` from 1.10 to 24, podman, crane,
    /// kaniko, jib, bazel.
    Docker,
    /// `repositories` alone, or only layer folders: `docker save` before 1.10.
    DockerV1,
    /// `index.json` and `manifest.json`: `docker save` since 25, `ctr images
    /// export`, `nerdctl save`.
    Hybrid,
    /// `index.json` alone: podman and skopeo `oci-archive`, buildx `type=oci`,
    /// and OCI layout directories.
    Oci,
}

impl Format {
    /// The lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Docker => "docker",
            Format::DockerV1 => "docker-v1",
            Format::Hybrid => "hybrid",
            Format::Oci => "oci",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The control files, parsed.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    pub(crate) index: Option<Document>,
    pub(crate) manifest: Option<Document>,
    pub(crate) repositories: Option<Document>,
    pub(crate) tops: Vec<Descriptor>,
    pub(crate) items: Vec<docker::Item>,
    pub(crate) tagged: Vec<docker::Tagged>,
}

/// An opened image archive.
#[derive(Debug)]
pub struct Archive {
    label: String,
    format: Option<Format>,
    compression: Compression,
    limits: Limits,
    pub(crate) store: Store,
    pub(crate) documents: Documents,
    pub(crate) graph: Graph,
    images: Vec<Image>,
    /// Names that only `repositories` has.
    pub(crate) strays: Vec<Name>,
    referrers: Vec<usize>,
    findings: Diagnostics,
    /// Device and inode of the file it was opened from.
    origin: Option<(u64, u64)>,
}

impl Archive {
    /// Opens a file or an OCI layout directory with default options.
    ///
    /// # Errors
    ///
    /// What keeps the archive from being read at all: `E_IO`, and `E_FORMAT`
    /// when it is no image archive. Everything else is a finding; call
    /// [`check`](Self::check) before relying on the content.
    pub fn open(path: impl AsRef<Path>) -> Result<Archive> {
        OpenOptions::default().open(path)
    }

    /// Reads the documents of a store into an archive.
    pub(crate) fn read(
        label: String,
        compression: Compression,
        store: Store,
        limits: Limits,
        mut findings: Diagnostics,
    ) -> Archive {
        let documents = Documents::load(&store, &limits, &mut findings);
        let layout = Document::load(&store, "oci-layout", &limits, &mut findings);
        let graph = Graph::load(&store, &documents.tops, &limits, &mut findings);
        let format = documents.format(&store);
        let (oci, referrers) = oci::images(&documents.tops, &graph, &limits, &mut findings);
        let docker = docker::images(&documents.items, &store, &limits, &mut findings);
        let mut images = join::join(oci, docker, &documents.tops, &documents.items, &mut findings);
        if format == Some(Format::DockerV1) {
            images = v1::images(&documents.tagged, &store, &limits, &mut findings);
        }
        let strays =
            names::collect(&mut images, &documents.tops, &documents.items, &documents.tagged);
        let mut archive = Archive {
            label,
            format,
            compression,
            limits,
            store,
            documents,
            graph,
            images,
            strays,
            referrers,
            findings,
            origin: None,
        };
        if format == Some(Format::DockerV1) {
            archive.name_v1_images();
        }
        if let Some(layout) = &layout {
            oci::check_layout(layout, &mut archive.findings);
        }
        join::check_names(&archive.images, &mut archive.findings);
        archive.check_whole(layout.is_some());
        archive
    }

    /// In the oldest archives `repositories` is the only place of a name, and
    /// its layer ID says whose.
    fn name_v1_images(&mut self) {
        let by_id: HashMap<&str, usize> = self
            .images
            .iter()
            .enumerate()
            .filter_map(|(at, image)| match &image.target {
                Target::V1(id) => Some((&**id, at)),
                _ => None,
            })
            .collect();
        let mut names = Vec::new();
        for name in self.strays.drain(..) {
            let id = name.sites.iter().find_map(|site| match site {
                NameSite::Repositories { position } => Some(&*self.documents.tagged[*position].id),
                _ => None,
            });
            if let Some(at) = id.and_then(|id| by_id.get(id)) {
                names.push((*at, name));
            }
        }
        for (at, name) in names {
            self.images[at].names.push(name);
        }
        let message = "written by docker 1.9 or older: docker 29, containerd, podman and crane do not read it, and nothing in it can be verified";
        self.findings.warning(Error::new(Code::Format, message));
    }

    /// Findings about what is not there at all. Without an end marker a control
    /// file that everything else points to has been cut off.
    fn check_whole(&mut self, has_layout: bool) {
        let documents = &self.documents;
        let end = self.store.tar().map(|tar| tar.index.end());
        let cut = end.is_some_and(|end| end.marker != Marker::Full);
        let has_tags =
            documents.items.iter().any(|item| item.tags.iter().any(|tag| !names::is_no_name(tag)));
        let wants_repositories = has_tags
            && (documents.items.iter().any(|item| item.has_layer_sources)
                || self.store.entries().any(|entry| entry.name.ends_with("/VERSION")));
        let missing = match self.format {
            None if has_layout => Some("index.json"),
            None => Some("manifest.json"),
            Some(Format::Docker) if has_layout => Some("index.json"),
            Some(Format::Hybrid | Format::Oci) if !has_layout => Some("oci-layout"),
            Some(Format::DockerV1) if documents.repositories.is_none() => Some("repositories"),
            Some(Format::Docker | Format::Hybrid)
                if wants_repositories && documents.repositories.is_none() =>
            {
                Some("repositories")
            }
            _ => None,
        };
        let has_fatal = self.findings.worst() == Some(Severity::Fatal);
        match missing {
            Some(name) if cut && !has_fatal => {
                let message = format!("the file ends before {name} and the end marker");
                let place = Place::offset(end.map_or(0, |end| end.offset));
                self.findings.fatal(Error::new(Code::TarTruncated, message).at(place));
            }
            Some("oci-layout") => {
                let message = "index.json without oci-layout: containerd and docker read manifest.json instead, or refuse";
                self.findings.warning(Error::new(Code::Format, message));
            }
            Some("index.json") if self.format.is_some() => {
                let message = "oci-layout without index.json: containerd refuses the archive";
                self.findings.error(Error::new(Code::Format, message));
            }
            _ => {}
        }
        if let (None, false) = (self.format, cut || has_fatal) {
            let error = Error::new(
                Code::Format,
                "no index.json, manifest.json or repositories: not an image archive",
            );
            self.findings.fatal(error.hint("`docker export` and plain root file systems are not images; was the archive made one folder too high?"));
        }
        if cut {
            let place = Place::offset(end.map_or(0, |end| end.offset));
            self.findings.error(
                Error::new(Code::TarNoEnd, "the end-of-archive marker is missing").at(place),
            );
        }
    }

    /// The name errors use: usually the path.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Which views it has. `None` when it is too damaged to tell.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// How the archive as a whole is compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The limits it was opened with.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The images, those of `index.json` first, each in document order.
    #[must_use]
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The images a name leads to: in any spelling, or a digest, or `sha256:`
    /// left out and shortened to at least 7 characters.
    #[must_use]
    pub fn find(&self, name: &str) -> Vec<&Image> {
        let key = Name::new(name).key();
        let named = |image: &&Image| image.names.iter().any(|n| n.key() == key);
        let found: Vec<&Image> = self.images.iter().filter(named).collect();
        if !found.is_empty() {
            return found;
        }
        let hex = name.strip_prefix("sha256:").unwrap_or(name);
        let matches = |digest: Digest| hex.len() >= 7 && digest.hex().starts_with(hex);
        let is = |image: &&Image| {
            let configs = image.manifests.iter().filter_map(ImageManifest::config_digest);
            image.digest().into_iter().chain(configs).any(matches)
        };
        self.images.iter().filter(is).collect()
    }

    /// Descriptors of `index.json` that are no images: signatures and
    /// attestations about others.
    pub fn referrers(&self) -> impl Iterator<Item = &Descriptor> {
        self.referrers.iter().map(|at| &self.documents.tops[*at])
    }

    pub(crate) fn referrer_positions(&self) -> &[usize] {
        &self.referrers
    }

    /// What an index or manifest descriptor refers to, when it is present.
    #[must_use]
    pub fn subject_of(&self, descriptor: &Descriptor) -> Option<&Descriptor> {
        match &self.graph.get(&descriptor.digest)?.content {
            Content::Manifest(manifest) => manifest.subject.as_ref(),
            Content::Index(index) => index.subject.as_ref(),
            _ => None,
        }
    }

    /// The manifest of a digest, when it is reachable, present and sound.
    #[must_use]
    pub fn manifest(&self, digest: &Digest) -> Option<&Manifest> {
        match &self.graph.get(digest)?.content {
            Content::Manifest(manifest) => Some(manifest),
            _ => None,
        }
    }

    /// The index of a digest, when it is reachable, present and sound.
    #[must_use]
    pub fn index(&self, digest: &Digest) -> Option<&Index> {
        match &self.graph.get(digest)?.content {
            Content::Index(index) => Some(index),
            _ => None,
        }
    }

    /// The file of a blob, by digest.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Option<Entry> {
        self.store.find(&digest.blob_path()).ok().flatten()
    }

    /// The files that are present of an image: index, manifests,
    /// configurations and layers, each once.
    #[must_use]
    pub fn files_of(&self, image: &Image) -> Vec<Entry> {
        let mut files = match &image.target {
            Target::Manifest(top) => self.files_below(&top.digest),
            _ => Vec::new(),
        };
        for manifest in &image.manifests {
            files.extend(manifest.config_entry().cloned());
            files.extend(manifest.layers().iter().filter_map(|layer| layer.entry().cloned()));
        }
        for item in &image.items {
            let item = &self.documents.items[*item];
            let paths = item.layers.iter().chain([&item.config]);
            files.extend(paths.filter_map(|path| self.store.find(path).ok().flatten()));
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files.dedup_by(|a, b| a.name == b.name);
        files
    }

    /// The files present of the graph below a digest, its own included.
    pub(crate) fn files_below(&self, digest: &Digest) -> Vec<Entry> {
        let mut files = Vec::new();
        let mut seen = HashSet::new();
        let mut stack = vec![*digest];
        while let Some(digest) = stack.pop() {
            let Some(node) = self.graph.get(&digest).filter(|_| seen.insert(digest)) else {
                continue;
            };
            files.extend(node.entry.clone());
            match &node.content {
                Content::Index(index) => stack.extend(index.manifests.iter().map(|d| d.digest)),
                Content::Manifest(manifest) => {
                    stack.push(manifest.config.digest);
                    stack.extend(manifest.layers.iter().map(|d| d.digest));
                }
                _ => {}
            }
        }
        files
    }

    /// Bytes of an image's files that are present, each counted once.
    #[must_use]
    pub fn size_of(&self, image: &Image) -> u64 {
        self.files_of(image).iter().map(|entry| entry.span.len).sum()
    }

    /// Fails when the file was written to since it was opened.
    ///
    /// # Errors
    ///
    /// `E_INPUT_CHANGED`.
    pub fn check_unchanged(&self) -> Result<()> {
        match &self.store {
            Store::Tar(tar) => tar.source.check_unchanged(),
            Store::Directory(_) => Ok(()),
        }
    }

    /// Whether layers can be read, or only what was kept of a stream.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.store.tar().is_none_or(|tar| tar.source.is_whole())
    }

    /// The members of the tar; `None` of an OCI layout directory.
    #[must_use]
    pub fn tar(&self) -> Option<&TarIndex> {
        self.store.tar().map(|tar| &tar.index)
    }

    /// Whether the archive is the file of this device and inode.
    pub(crate) fn is_file(&self, device: u64, inode: u64) -> bool {
        self.origin == Some((device, inode))
    }

    /// What opening found.
    #[must_use]
    pub fn findings(&self) -> &Diagnostics {
        &self.findings
    }

    /// The bytes of `index.json`, as they are.
    #[must_use]
    pub fn raw_index(&self) -> Option<&[u8]> {
        self.documents.index.as_ref().map(|document| &*document.bytes)
    }

    /// Stops at a fatal finding.
    ///
    /// # Errors
    ///
    /// The first digest mismatch among the fatal findings, else the first fatal
    /// one.
    pub fn check(self) -> Result<Archive> {
        match self.findings.fatal_one() {
            Some(error) => Err(error.clone().in_archive(self.label)),
            None => Ok(self),
        }
    }
}

impl Documents {
    fn load(store: &Store, limits: &Limits, findings: &mut Diagnostics) -> Documents {
        let mut load = |name| Document::load(store, name, limits, findings);
        let mut documents = Documents {
            index: load("index.json"),
            manifest: load("manifest.json"),
            repositories: load("repositories"),
            ..Documents::default()
        };
        if let Some(index) = &documents.index {
            documents.tops = or_fatal(oci::descriptors(index), index, findings);
        }
        if let Some(manifest) = &documents.manifest {
            documents.items = or_fatal(docker::items(manifest, limits), manifest, findings);
        }
        if let Some(repositories) = &documents.repositories {
            documents.tagged = or_fatal(docker::repositories(repositories), repositories, findings);
        }
        documents
    }

    fn format(&self, store: &Store) -> Option<Format> {
        match (&self.index, &self.manifest, &self.repositories) {
            (Some(_), Some(_), _) => Some(Format::Hybrid),
            (Some(_), None, _) => Some(Format::Oci),
            (None, Some(_), _) => Some(Format::Docker),
            (None, None, Some(_)) => Some(Format::DockerV1),
            (None, None, None) => v1::looks_like(store).then_some(Format::DockerV1),
        }
    }
}

fn or_fatal<T: Default>(read: Result<T>, document: &Document, findings: &mut Diagnostics) -> T {
    read.unwrap_or_else(|error| {
        findings.fatal(error.at(document.entry.place.clone()));
        T::default()
    })
}
