//! Images: what a name leads to, in whichever view of the archive.

use std::sync::Arc;

use crate::archive::names::Name;
use crate::archive::store::Entry;
use crate::archive::view::{ConfigSummary, Descriptor};
use crate::digest::Digest;
use crate::media_type::MediaType;
use crate::platform::Platform;

/// What an image is, in the strongest terms its archive has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A manifest or an index: a top-level descriptor of `index.json`.
    Manifest(Box<Descriptor>),
    /// A configuration, by the digest of its bytes: an item of `manifest.json`
    /// alone. This is docker's image ID.
    Config(Digest),
    /// A layer ID of an archive from before docker 1.10, which is no digest.
    V1(Box<str>),
    /// An item of `manifest.json` whose configuration is not there.
    Unknown,
}

/// One image of an archive: a top-level target of `index.json`, joined to its
/// item of `manifest.json` by configuration digest, or such an item alone.
#[derive(Debug)]
pub struct Image {
    pub(crate) target: Target,
    pub(crate) names: Vec<Name>,
    pub(crate) manifests: Vec<ImageManifest>,
    /// Positions in `index.json` of the descriptors with this target.
    pub(crate) descriptors: Vec<usize>,
    /// Positions in `manifest.json` of the items with this configuration.
    pub(crate) items: Vec<usize>,
    /// Tags without a repository: descriptors whose only name is a bare
    /// `ref.name`, by position.
    pub(crate) bare_tags: Vec<(usize, Box<str>)>,
}

/// One manifest of an image.
#[derive(Clone, Debug)]
pub struct ImageManifest {
    pub(crate) descriptor: Option<Descriptor>,
    pub(crate) kind: ManifestKind,
    pub(crate) platform: Option<Platform>,
    pub(crate) body: Arc<ManifestBody>,
}

/// What a manifest is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManifestKind {
    /// An image to run.
    Image,
    /// A statement (provenance, SBOM, signature) about another manifest.
    Attestation(Option<Digest>),
    /// Anything else: a chart, a model, a file.
    Artifact,
}

/// What several descriptors of one manifest share.
#[derive(Debug, Default)]
pub(crate) struct ManifestBody {
    /// The manifest's own file.
    pub(crate) entry: Option<Entry>,
    pub(crate) config: Option<Digest>,
    pub(crate) config_entry: Option<Entry>,
    pub(crate) config_view: Option<Arc<ConfigSummary>>,
    pub(crate) layers: Vec<Layer>,
    /// Whether the manifest itself is there.
    pub(crate) is_present: bool,
}

/// One layer of a manifest.
#[derive(Clone, Debug)]
pub struct Layer {
    pub(crate) descriptor: Option<Descriptor>,
    pub(crate) path: Box<str>,
    pub(crate) diff_id: Option<Digest>,
    pub(crate) entry: Option<Entry>,
}

impl Image {
    pub(crate) fn new(target: Target, manifests: Vec<ImageManifest>) -> Image {
        Image {
            target,
            names: Vec::new(),
            manifests,
            descriptors: Vec::new(),
            items: Vec::new(),
            bare_tags: Vec::new(),
        }
    }

    /// What the image is.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Its names, in document order; none for an untagged image.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// Tags without a repository, from descriptors whose only name is a bare
    /// `ref.name`: containerd and docker make different names of them, so they
    /// are none.
    pub fn bare_tags(&self) -> impl Iterator<Item = &str> {
        self.bare_tags.iter().map(|(_, tag)| &**tag)
    }

    /// Every manifest of the image, attestations included, in index order.
    #[must_use]
    pub fn manifests(&self) -> &[ImageManifest] {
        &self.manifests
    }

    /// The manifests that run somewhere: one for each platform.
    pub fn platforms(&self) -> impl Iterator<Item = &ImageManifest> {
        self.manifests.iter().filter(|manifest| manifest.kind == ManifestKind::Image)
    }

    /// The digest of the target: of the manifest or index, or of the
    /// configuration where there is no manifest.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        match &self.target {
            Target::Manifest(descriptor) => Some(descriptor.digest),
            Target::Config(digest) => Some(*digest),
            Target::V1(_) | Target::Unknown => None,
        }
    }

    /// The digest of its manifest or index; `None` where it has neither.
    #[must_use]
    pub fn target_digest(&self) -> Option<Digest> {
        match &self.target {
            Target::Manifest(descriptor) => Some(descriptor.digest),
            _ => None,
        }
    }

    /// The media type of the target; empty where none is stated.
    #[must_use]
    pub fn media_type(&self) -> MediaType {
        match &self.target {
            Target::Manifest(descriptor) => descriptor.media_type.clone(),
            Target::Config(_) => MediaType::DOCKER_CONFIG,
            Target::V1(_) | Target::Unknown => MediaType::from(""),
        }
    }

    /// How people call it: its first name, or its digest.
    #[must_use]
    pub fn label(&self) -> String {
        match (self.names.first(), &self.target) {
            (Some(name), _) => name.to_string(),
            (None, Target::V1(id)) => id.to_string(),
            (None, _) => self.digest().map_or_else(|| "<none>".into(), |digest| digest.to_string()),
        }
    }
}

impl ImageManifest {
    /// The descriptor that leads here; `None` in the docker view.
    #[must_use]
    pub fn descriptor(&self) -> Option<&Descriptor> {
        self.descriptor.as_ref()
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> ManifestKind {
        self.kind
    }

    /// The platform, normalised: from the descriptor, else from the
    /// configuration. `None` when neither says.
    #[must_use]
    pub fn platform(&self) -> Option<Platform> {
        self.platform.as_ref().map(Platform::normalized)
    }

    /// Whether the manifest itself is in the archive.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.body.is_present
    }

    /// Whether manifest, configuration and every layer that is distributed are
    /// in the archive.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.blobs_present() == self.blobs_needed()
    }

    /// How many blobs a complete copy has: manifest, configuration, layers.
    /// Absent foreign layers do not count.
    #[must_use]
    pub fn blobs_needed(&self) -> usize {
        let own = usize::from(self.descriptor.is_some());
        let layers = self.body.layers.iter().filter(|layer| layer.is_needed()).count();
        own + 1 + layers
    }

    /// How many of those are in the archive.
    #[must_use]
    pub fn blobs_present(&self) -> usize {
        let own = usize::from(self.descriptor.is_some() && self.body.is_present);
        let config = usize::from(self.body.config_entry.is_some());
        let layers = self
            .body
            .layers
            .iter()
            .filter(|layer| layer.is_needed() && layer.entry.is_some())
            .count();
        own + config + layers
    }

    /// The digest of the configuration: docker's image ID. `None` when the
    /// manifest is absent.
    #[must_use]
    pub fn config_digest(&self) -> Option<Digest> {
        self.body.config
    }

    /// What the configuration says about platform and layers; `None` when it is
    /// absent or no image's. [`Archive::config`](super::Archive::config) reads
    /// the rest.
    #[must_use]
    pub fn config(&self) -> Option<&ConfigSummary> {
        self.body.config_view.as_deref()
    }

    /// The file that holds the manifest.
    #[must_use]
    pub fn manifest_entry(&self) -> Option<&Entry> {
        self.body.entry.as_ref()
    }

    /// The file that holds the configuration.
    #[must_use]
    pub fn config_entry(&self) -> Option<&Entry> {
        self.body.config_entry.as_ref()
    }

    /// The layers, base first.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.body.layers
    }
}

impl Layer {
    /// The descriptor; `None` in the docker view.
    #[must_use]
    pub fn descriptor(&self) -> Option<&Descriptor> {
        self.descriptor.as_ref()
    }

    /// The path in the archive, as the documents spell it.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The digest of the uncompressed layer, from the configuration.
    #[must_use]
    pub fn diff_id(&self) -> Option<Digest> {
        self.diff_id
    }

    /// The file that holds the layer; `None` when it is absent.
    #[must_use]
    pub fn entry(&self) -> Option<&Entry> {
        self.entry.as_ref()
    }

    /// Whether the layer may be absent: it is not distributed with the image.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.descriptor.as_ref().is_some_and(Descriptor::is_foreign)
    }

    fn is_needed(&self) -> bool {
        self.entry.is_some() || !self.is_foreign()
    }
}
