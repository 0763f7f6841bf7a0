//! Small views of the OCI and Docker documents: the fields ocitar uses, read
//! from nodes, never written back.
//!
//! Shapes follow the OCI image specification (descriptor, image index, image
//! manifest, image configuration); Docker's manifest list and schema 2 manifest
//! have the same fields under other media types.

use crate::archive::embedded::BadData;
use crate::digest::{Digest, DigestError};
use crate::error::{Code, Error, Result};
use crate::json::shape::{CONFIG, INDEX, MANIFEST};
use crate::json::{Node, shape};
use crate::limits::{Limit, Limits};
use crate::media_type::{MediaClass, MediaType};
use crate::platform::Platform;

/// Annotation keys that mean something to importers.
pub(crate) mod annotation {
    /// containerd's full image name.
    pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";
    /// The OCI layout's name of a descriptor: a tag or a full name.
    pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// On a descriptor of index.json that refers to another: no image.
    pub(crate) const SUBJECT: &str = "io.containerd.manifest.subject";
    /// On a child of an index: an attestation about a sibling.
    pub(crate) const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
    /// The sibling an attestation is about.
    pub(crate) const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
}

/// A reference to a blob: what it is, its digest, its size.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// The media type; empty when the document states none.
    pub media_type: MediaType,
    /// The digest of the blob's bytes.
    pub digest: Digest,
    /// Bytes of the blob, as stated.
    pub size: u64,
    /// The platform, where an index states one.
    pub platform: Option<Platform>,
    /// Annotations in document order.
    pub annotations: Vec<(Box<str>, Box<str>)>,
    /// The type of an artifact.
    pub artifact_type: Option<Box<str>>,
    /// Where the blob can be had, for layers that are not distributed.
    pub urls: Vec<Box<str>>,
    /// What is wrong with the content that is embedded, where some is.
    pub(crate) bad_data: Option<Box<BadData>>,
}

impl Descriptor {
    pub(crate) fn read(node: &Node) -> Result<Descriptor> {
        let digest =
            node.str_field("digest")?.ok_or_else(|| shape("a descriptor without \"digest\""))?;
        let size =
            node.size_field("size")?.ok_or_else(|| shape("a descriptor without \"size\""))?;
        let digest = digest_of(digest)?;
        let bad_data = node.str_field("data")?.and_then(|data| BadData::find(data, digest, size));
        Ok(Descriptor {
            media_type: MediaType::from(node.str_field("mediaType")?.unwrap_or_default()),
            digest,
            size,
            platform: node.field("platform")?.map(platform).transpose()?,
            annotations: node.map_field("annotations")?,
            artifact_type: node.str_field("artifactType")?.map(Into::into),
            urls: node.strings_field("urls")?,
            bad_data: bad_data.map(Box::new),
        })
    }

    /// Bytes of the texts in it that have no bound of their own.
    pub(crate) fn bulk(&self) -> u64 {
        let texts = self.annotations.iter().flat_map(|(key, value)| [key, value]);
        texts.chain(&self.urls).map(|text| text.len() as u64).sum()
    }

    /// The value of an annotation, when it is there and not empty.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        let found = self.annotations.iter().find(|(k, _)| &**k == key);
        found.map(|(_, value)| &**value).filter(|value| !value.is_empty())
    }

    /// Whether this is BuildKit's attestation about a sibling, by its
    /// annotation or by its unknown platform.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.annotation(annotation::REFERENCE_TYPE).is_some()
            || self.platform.as_ref().is_some_and(Platform::is_unknown)
    }

    /// Whether the blob may be absent without anything being wrong.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.media_type.is_foreign() || !self.urls.is_empty()
    }
}

/// An image index or a manifest list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Index {
    /// The children, in order.
    pub manifests: Vec<Descriptor>,
    /// What the index refers to.
    pub subject: Option<Descriptor>,
    /// The type of an artifact.
    pub artifact_type: Option<Box<str>>,
}

/// An image manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// The configuration.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
    /// What the manifest refers to.
    pub subject: Option<Descriptor>,
    /// The type of an artifact.
    pub artifact_type: Option<Box<str>>,
}

/// Either kind of document a manifest descriptor may lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestDocument {
    /// An index of manifests.
    Index(Box<Index>),
    /// One manifest.
    Manifest(Box<Manifest>),
}

impl ManifestDocument {
    /// Reads a blob that a descriptor calls an index or a manifest.
    ///
    /// A document that could be both is refused (CVE-2021-41190), and so are
    /// schema 1 and a `mediaType` that contradicts the shape.
    pub(crate) fn read(node: &Node, limits: &Limits) -> Result<ManifestDocument> {
        let has = |key: &str| node.field_or_null(key).map(|found| found.is_some());
        let index = has("manifests")?;
        let manifest = has("config")? || has("layers")?;
        if has("fsLayers")? || (index && manifest) {
            let message = if index {
                "an index and a manifest in one document"
            } else {
                "a schema 1 manifest"
            };
            return Err(Error::new(Code::DocumentKind, message));
        }
        let stated = node.str_field("mediaType")?.map(|text| MediaType::from(text).class());
        let shape_class = if index { MediaClass::Index } else { MediaClass::Manifest };
        if stated.is_some_and(|class| class != shape_class && class != MediaClass::Other) {
            return Err(Error::new(
                Code::DocumentKind,
                "the mediaType of the document is not its shape",
            ));
        }
        if index {
            INDEX.check(node)?
        } else {
            MANIFEST.check(node)?
        }
        let subject = node.field("subject")?.map(Descriptor::read).transpose()?;
        let artifact_type = node.str_field("artifactType")?.map(Into::into);
        let list = |key: &str| {
            node.array_field(key)?.iter().map(Descriptor::read).collect::<Result<Vec<_>>>()
        };
        if index {
            let index = Index { manifests: list("manifests")?, subject, artifact_type };
            return Ok(ManifestDocument::Index(Box::new(index)));
        }
        let config = node.field("config")?.ok_or_else(|| shape("a manifest without \"config\""))?;
        let layers = list("layers")?;
        if layers.len() > limits.layers as usize {
            return Err(limits.exceeded(Limit::Layers));
        }
        let config = Descriptor::read(config)?;
        Ok(ManifestDocument::Manifest(Box::new(Manifest {
            config,
            layers,
            subject,
            artifact_type,
        })))
    }
}

/// What every image's configuration is asked for when an archive is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigSummary {
    /// The platform the image runs on.
    pub platform: Platform,
    /// The digests of the uncompressed layers, base first.
    pub diff_ids: Vec<Digest>,
    /// Whether `rootfs` is there and of type `layers`, which the
    /// specification demands of an image that can run.
    pub has_rootfs: bool,
    /// Steps of the history that made a layer.
    pub layer_steps: usize,
}

impl ConfigSummary {
    pub(crate) fn read(node: &Node) -> Result<ConfigSummary> {
        CONFIG.check(node)?;
        let mut summary = ConfigSummary { platform: platform(node)?, ..ConfigSummary::default() };
        if let Some(rootfs) = node.field("rootfs")? {
            summary.has_rootfs = matches!(rootfs.str_field("type")?, None | Some("" | "layers"));
            let diff_ids = rootfs.strings_field("diff_ids")?;
            summary.diff_ids =
                diff_ids.iter().map(|text| digest_of(text)).collect::<Result<_>>()?;
        }
        for step in node.array_field("history")? {
            summary.layer_steps += usize::from(!step.bool_field("empty_layer")?);
        }
        Ok(summary)
    }
}

/// An image configuration in full, as far as ocitar shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// RFC 3339, as written.
    pub created: Option<Box<str>>,
    /// The program that runs.
    pub entrypoint: Vec<Box<str>>,
    /// Its default arguments.
    pub cmd: Vec<Box<str>>,
    /// `KEY=value`.
    pub env: Vec<Box<str>>,
    /// The user it runs as.
    pub user: Option<Box<str>>,
    /// The folder it starts in.
    pub working_dir: Option<Box<str>>,
    /// Labels in document order.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// How the layers came to be, base first.
    pub history: Vec<History>,
}

/// One step of an image's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// RFC 3339, as written.
    pub created: Option<Box<str>>,
    /// The command.
    pub created_by: Option<Box<str>>,
    /// A comment.
    pub comment: Option<Box<str>>,
    /// Whether the step made no layer.
    pub empty_layer: bool,
}

impl Config {
    pub(crate) fn read(node: &Node) -> Result<Config> {
        let text = |node: &Node, key: &str| -> Result<Option<Box<str>>> {
            Ok(node.str_field(key)?.map(Into::into))
        };
        let mut config = Config { created: text(node, "created")?, ..Config::default() };
        if let Some(run) = node.field("config")? {
            config.entrypoint = run.strings_field("Entrypoint")?;
            config.cmd = run.strings_field("Cmd")?;
            config.env = run.strings_field("Env")?;
            config.user = text(run, "User")?.filter(|user| !user.is_empty());
            config.working_dir = text(run, "WorkingDir")?.filter(|dir| !dir.is_empty());
            config.labels = run.map_field("Labels")?;
        }
        for step in node.array_field("history")? {
            config.history.push(History {
                created: text(step, "created")?,
                created_by: text(step, "created_by")?,
                comment: text(step, "comment")?,
                empty_layer: step.bool_field("empty_layer")?,
            });
        }
        Ok(config)
    }
}

/// The platform fields of a descriptor's `platform` or of a configuration.
pub(crate) fn platform(node: &Node) -> Result<Platform> {
    let text =
        |key: &str| -> Result<String> { Ok(node.str_field(key)?.unwrap_or_default().to_owned()) };
    let mut platform = Platform::new(text("os")?, text("architecture")?);
    platform.variant = text("variant")?;
    platform.os_version = text("os.version")?;
    let features = |key: &str| -> Result<Vec<String>> {
        Ok(node.strings_field(key)?.into_iter().map(String::from).collect())
    };
    platform.os_features = features("os.features")?;
    Ok(platform)
}

pub(crate) fn digest_of(text: &str) -> Result<Digest> {
    text.parse().map_err(|e: DigestError| {
        let code = match e {
            DigestError::UnsupportedAlgorithm(_) => Code::DigestAlgorithm,
            _ => Code::DigestFormat,
        };
        Error::new(code, format!("\"{text}\": {e}"))
    })
}
