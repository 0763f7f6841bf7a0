//! An archive: its files, its documents, its images and their names.
//!
//! [`Archive::open`] indexes the tar, reads the control files and every
//! manifest and configuration they lead to, and joins the docker view
//! (`manifest.json`) with the OCI view (`index.json`). Layers are not read.
//! What is wrong is collected as findings; [`Archive::check`] stops at the
//! fatal ones, which is what every verb but `verify` and `inspect` does.

mod check;
pub(crate) mod docker;
mod document;
mod embedded;
pub(crate) mod find;
pub(crate) mod graph;
mod image;
mod join;
pub(crate) mod names;
pub(crate) mod oci;
mod open;
pub(crate) mod store;
mod stream;
mod v1;
pub(crate) mod view;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::compress::Compression;
use crate::diagnostics::Diagnostics;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::json;
use crate::limits::Limits;
use crate::tarball::TarIndex;
pub(crate) use document::{Document, Reader};
use graph::{Content, Graph};
pub use image::{Image, ImageManifest, Layer, ManifestKind, Target};
pub use names::{Name, NameSite};
pub use open::{Access, OpenOptions};
pub use store::Entry;
use store::Store;
pub(crate) use stream::{PassOptions, pass};
pub use view::{Config, ConfigSummary, Descriptor, History, Index, Manifest};

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
    pub(crate) layout: Option<Document>,
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
    origin: Origin,
    /// Whether its zstd stream starts with a skippable frame, which not every
    /// reader takes for zstd.
    pub(crate) skippable_first: bool,
}

/// What an archive was opened from, to keep an output from overwriting it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A file, by device and inode.
    File(u64, u64),
    /// A layout directory, by its real path.
    Directory(PathBuf),
    /// A pipe, or bytes in memory.
    Stream,
}

impl Origin {
    /// What a path leads to.
    pub(crate) fn of(path: &Path) -> io::Result<Origin> {
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            return path.canonicalize().map(Origin::Directory);
        }
        Ok(Origin::File(metadata.dev(), metadata.ino()))
    }
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
        let reader = Reader::new(&store, &limits);
        let graph = Graph::load(&reader, &documents.tops, &mut findings);
        let format = documents.format(&store);
        let (mut oci, referrers) = oci::images(&documents.tops, &graph, &limits, &mut findings);
        names::of_descriptors(&mut oci, &documents.tops);
        let docker = docker::images(&documents.items, &reader, &mut findings);
        let mut images = join::join(oci, docker, &documents.items, &mut findings);
        if format == Some(Format::DockerV1) {
            images = v1::images(&documents.tagged, &reader, &mut findings);
        }
        let strays = names::of_items(&mut images, &documents.items, &documents.tagged);
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
            findings: Diagnostics::default(),
            origin: Origin::Stream,
            skippable_first: false,
        };
        if format == Some(Format::DockerV1) {
            archive.name_v1_images();
        }
        check::check(&archive, &mut findings);
        archive.findings = findings;
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

    /// The images a reference leads to: a name in any spelling; `<none>:TAG` for
    /// a tag without a repository; a digest of an image or of one of its
    /// manifests or configurations, alone or behind the repository of a name;
    /// the first 7 or more digits of such a digest.
    #[must_use]
    pub fn find(&self, reference: &str) -> Vec<&Image> {
        let mut found: Vec<usize> = self.hits(reference).into_iter().map(|(at, _)| at).collect();
        found.dedup();
        found.into_iter().map(|at| &self.images[at]).collect()
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
        self.distinct_files_of(image).into_iter().map(Cow::into_owned).collect()
    }

    fn distinct_files_of<'a>(&'a self, image: &'a Image) -> Vec<Cow<'a, Entry>> {
        let mut files = Vec::new();
        if let Target::Manifest(top) = &image.target {
            files.extend(self.files_below(&top.digest).into_iter().map(Cow::Borrowed));
        }
        for manifest in &image.manifests {
            let layers = manifest.layers().iter().filter_map(Layer::entry);
            files.extend(manifest.config_entry().into_iter().chain(layers).map(Cow::Borrowed));
        }
        for item in &image.items {
            let item = &self.documents.items[*item];
            let paths = item.layers.iter().chain([&item.config]);
            let found = paths.filter_map(|path| self.store.find(path).ok().flatten());
            files.extend(found.map(Cow::Owned));
        }
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        files.dedup_by(|a, b| a.name == b.name);
        files
    }

    /// The files present of the graph below a digest, its own included.
    pub(crate) fn files_below(&self, digest: &Digest) -> Vec<&Entry> {
        let mut files = Vec::new();
        let mut seen = HashSet::new();
        let mut stack = vec![*digest];
        while let Some(digest) = stack.pop() {
            let Some(node) = self.graph.get(&digest).filter(|_| seen.insert(digest)) else {
                continue;
            };
            files.extend(&node.entry);
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
        self.distinct_files_of(image).iter().map(|entry| entry.span.len).sum()
    }

    /// Every descriptor that leads to an index or a manifest in the archive.
    pub(crate) fn document_descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        let is_document = |descriptor: &&Descriptor| {
            let node = self.graph.get(&descriptor.digest);
            node.is_some_and(|node| !matches!(node.content, Content::Other))
        };
        self.documents.tops.iter().chain(self.graph.descriptors()).filter(is_document)
    }

    /// What is wrong with content that is embedded in descriptors.
    pub(crate) fn bad_data(&self) -> impl Iterator<Item = Error> {
        let index = self.documents.index.as_ref();
        let tops = self.documents.tops.iter();
        let tops = index
            .into_iter()
            .flat_map(move |index| tops.clone().map(move |top| (&index.entry, top)));
        tops.chain(self.graph.bad_data()).filter_map(|(entry, descriptor)| {
            let error = descriptor.bad_data.as_ref()?.error(descriptor);
            Some(error.at(entry.place.clone()))
        })
    }

    /// The file the archive is in, where it is one.
    pub(crate) fn tar_source(&self) -> Option<&crate::source::Source> {
        match &self.store {
            Store::Tar(tar) => Some(&tar.source),
            Store::Directory(_) => None,
        }
    }

    /// Fails when the archive was written to since it was opened: then no
    /// result and no other error means anything.
    ///
    /// # Errors
    ///
    /// `E_INPUT_CHANGED`, `E_IO`.
    pub fn check_unchanged(&self) -> Result<()> {
        self.store.check_unchanged()
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

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Reads the configuration of a manifest in full; `None` when it is absent
    /// or no image's.
    ///
    /// # Errors
    ///
    /// As opening: JSON findings, and `E_IO`.
    pub fn config(&self, manifest: &ImageManifest) -> Result<Option<Config>> {
        let (Some(entry), Some(_)) = (manifest.config_entry(), manifest.config()) else {
            return Ok(None);
        };
        let bytes = Reader::new(&self.store, &self.limits).read(entry)?;
        let root = json::parse(&bytes, &self.limits)?;
        Config::read(&root).map(Some).map_err(|error| error.at(entry.place.clone()))
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
            layout: load("oci-layout"),
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
