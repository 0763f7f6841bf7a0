//! Media types of descriptors: what the bytes behind a digest are.
//!
//! Unknown types are kept as they were read; nothing is normalised. Types are
//! compared character by character, as the consumers of archives do (RFC 6838
//! would ignore case, no consumer does).

use std::borrow::Cow;
use std::fmt;

/// A media type, as written in a descriptor.
///
/// Every text is one; what is known about it is asked of [`MediaType::class`]
/// and its neighbours. The types of the OCI image specification and of
/// Docker's distribution are constants and cost no allocation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(Cow<'static, str>);

/// What a media type is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MediaClass {
    /// The configuration of an image.
    Config,
    /// An OCI image index or a Docker manifest list.
    Index,
    /// A layer, of any format and compression.
    Layer,
    /// An image manifest.
    Manifest,
    /// Anything else, unknown types and artifacts among it.
    Other,
    /// Docker's manifest of schema version 1, which archives no longer hold.
    Schema1,
}

/// The compression a layer's media type promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LayerCompression {
    /// One or more gzip members.
    Gzip,
    /// A plain tar.
    Uncompressed,
    /// One or more zstd frames.
    Zstd,
}

macro_rules! media_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)+) => {
        impl MediaType {
            $($(#[$doc])* pub const $name: Self = Self(Cow::Borrowed($text));)+
        }

        const KNOWN: &[&str] = &[$($text),+];
    };
}

media_types! {
    /// An OCI image index.
    OCI_INDEX = "application/vnd.oci.image.index.v1+json";
    /// An OCI image manifest.
    OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI image configuration.
    OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
    /// An OCI layer: a plain tar.
    OCI_LAYER = "application/vnd.oci.image.layer.v1.tar";
    /// An OCI layer: a tar in gzip.
    OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// An OCI layer: a tar in zstd.
    OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// An OCI layer that must not be redistributed: a plain tar.
    OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    /// An OCI layer that must not be redistributed: a tar in gzip.
    OCI_FOREIGN_LAYER_GZIP = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    /// An OCI layer that must not be redistributed: a tar in zstd.
    OCI_FOREIGN_LAYER_ZSTD = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";
    /// The two bytes `{}` that fill a place a manifest must have.
    OCI_EMPTY = "application/vnd.oci.empty.v1+json";
    /// The `oci-layout` file of an image layout.
    OCI_LAYOUT_HEADER = "application/vnd.oci.layout.header.v1+json";
    /// A Docker manifest list.
    DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// A Docker image manifest, schema version 2.
    DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
    /// A Docker image configuration.
    DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json";
    /// A Docker layer: a plain tar.
    DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar";
    /// A Docker layer: a tar in gzip.
    DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// A Docker layer: a tar in zstd.
    DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    /// A Docker layer fetched from elsewhere: a plain tar.
    DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar";
    /// A Docker layer fetched from elsewhere: a tar in gzip.
    DOCKER_FOREIGN_LAYER_GZIP = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    /// A Docker manifest, schema version 1.
    DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json";
    /// A signed Docker manifest, schema version 1.
    DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// The artifact type of BuildKit's attestation manifests.
    DOCKER_ATTESTATION = "application/vnd.docker.attestation.manifest.v1+json";
    /// An in-toto statement, the layer of an attestation manifest.
    IN_TOTO = "application/vnd.in-toto+json";
    /// A layer that is an EROFS image instead of a tar.
    EROFS_LAYER = "application/vnd.erofs.layer.v1";
}

/// Docker types and the OCI types of the same content.
const DOCKER_AND_OCI: &[(MediaType, MediaType)] = &[
    (MediaType::DOCKER_LIST, MediaType::OCI_INDEX),
    (MediaType::DOCKER_MANIFEST, MediaType::OCI_MANIFEST),
    (MediaType::DOCKER_CONFIG, MediaType::OCI_CONFIG),
    (MediaType::DOCKER_LAYER, MediaType::OCI_LAYER),
    (MediaType::DOCKER_LAYER_GZIP, MediaType::OCI_LAYER_GZIP),
    (MediaType::DOCKER_LAYER_ZSTD, MediaType::OCI_LAYER_ZSTD),
    (MediaType::DOCKER_FOREIGN_LAYER, MediaType::OCI_FOREIGN_LAYER),
    (MediaType::DOCKER_FOREIGN_LAYER_GZIP, MediaType::OCI_FOREIGN_LAYER_GZIP),
];

const OCI_LAYER_PREFIX: &str = "application/vnd.oci.image.layer.";
const OCI_FOREIGN_PREFIX: &str = "application/vnd.oci.image.layer.nondistributable.";
const DOCKER_PREFIX: &str = "application/vnd.docker.";
const DOCKER_LAYER_PREFIX: &str = "application/vnd.docker.image.rootfs.";
const DOCKER_FOREIGN_PREFIX: &str = "application/vnd.docker.image.rootfs.foreign.";
const ENCRYPTED_SUFFIX: &str = "+encrypted";

impl MediaType {
    /// The type, as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is used for.
    ///
    /// A type below the OCI or Docker layer names counts as a layer whatever
    /// its ending, as it does for containerd: new compressions and `+encrypted`
    /// come as endings.
    #[must_use]
    pub fn class(&self) -> MediaClass {
        if *self == Self::OCI_INDEX || *self == Self::DOCKER_LIST {
            MediaClass::Index
        } else if *self == Self::OCI_MANIFEST || *self == Self::DOCKER_MANIFEST {
            MediaClass::Manifest
        } else if *self == Self::OCI_CONFIG || *self == Self::DOCKER_CONFIG {
            MediaClass::Config
        } else if *self == Self::DOCKER_SCHEMA1 || *self == Self::DOCKER_SCHEMA1_SIGNED {
            MediaClass::Schema1
        } else if self.starts_with(OCI_LAYER_PREFIX)
            || self.starts_with(DOCKER_LAYER_PREFIX)
            || *self == Self::EROFS_LAYER
        {
            MediaClass::Layer
        } else {
            MediaClass::Other
        }
    }

    /// The compression this layer type promises for the stored bytes, or `None`
    /// when it promises none of the known ones: no layer, an encrypted layer,
    /// a layer that is no tar, an ending nobody has defined.
    ///
    /// It is a promise only: archives hold layers whose bytes are something
    /// else.
    #[must_use]
    pub fn declared_compression(&self) -> Option<LayerCompression> {
        if self.class() != MediaClass::Layer {
            return None;
        }
        let (_, ending) = self.0.rsplit_once(".tar")?;
        match ending {
            "" => Some(LayerCompression::Uncompressed),
            "+gzip" | ".gzip" => Some(LayerCompression::Gzip),
            "+zstd" | ".zstd" => Some(LayerCompression::Zstd),
            _ => None,
        }
    }

    /// Whether it is a layer that archives may leave out because it is fetched
    /// from elsewhere: OCI `nondistributable`, Docker `foreign`.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.starts_with(OCI_FOREIGN_PREFIX) || self.starts_with(DOCKER_FOREIGN_PREFIX)
    }

    /// Whether the stored bytes are encrypted, in the manner of ocicrypt.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.ends_with(ENCRYPTED_SUFFIX)
    }

    /// Whether it is one of Docker's own types.
    #[must_use]
    pub fn is_docker(&self) -> bool {
        self.starts_with(DOCKER_PREFIX)
    }

    /// The OCI type for the same bytes, or `None` if it is not a Docker type
    /// that has one.
    #[must_use]
    pub fn to_oci(&self) -> Option<Self> {
        let pair = DOCKER_AND_OCI.iter().find(|(docker, _)| docker == self);
        pair.map(|(_, oci)| oci.clone())
    }

    /// The Docker type for the same bytes, or `None` if it is not an OCI type
    /// that has one. (An index or a manifest names its own type, so its bytes
    /// have to change with it.)
    #[must_use]
    pub fn to_docker(&self) -> Option<Self> {
        let pair = DOCKER_AND_OCI.iter().find(|(_, oci)| oci == self);
        pair.map(|(docker, _)| docker.clone())
    }

    fn starts_with(&self, prefix: &str) -> bool {
        self.0.starts_with(prefix)
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        match KNOWN.iter().find(|known| **known == text) {
            Some(known) => Self(Cow::Borrowed(known)),
            None => Self(Cow::Owned(text.to_owned())),
        }
    }
}

impl From<String> for MediaType {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl AsRef<str> for MediaType {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_compressions() {
        use LayerCompression::{Gzip, Uncompressed, Zstd};
        use MediaClass::{Config, Index, Layer, Manifest, Other, Schema1};
        // Text, class, declared compression, foreign, docker.
        let rows = [
            ("application/vnd.oci.image.index.v1+json", Index, None, false, false),
            ("application/vnd.oci.image.manifest.v1+json", Manifest, None, false, false),
            ("application/vnd.oci.image.config.v1+json", Config, None, false, false),
            ("application/vnd.oci.image.layer.v1.tar", Layer, Some(Uncompressed), false, false),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Layer, Some(Gzip), false, false),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Layer, Some(Zstd), false, false),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar",
                Layer,
                Some(Uncompressed),
                true,
                false,
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                Layer,
                Some(Gzip),
                true,
                false,
            ),
            (
                "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
                Layer,
                Some(Zstd),
                true,
                false,
            ),
            ("application/vnd.oci.empty.v1+json", Other, None, false, false),
            ("application/vnd.oci.layout.header.v1+json", Other, None, false, false),
            ("application/vnd.docker.distribution.manifest.list.v2+json", Index, None, false, true),
            ("application/vnd.docker.distribution.manifest.v2+json", Manifest, None, false, true),
            ("application/vnd.docker.container.image.v1+json", Config, None, false, true),
            (
                "application/vnd.docker.image.rootfs.diff.tar",
                Layer,
                Some(Uncompressed),
                false,
                true,
            ),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Layer, Some(Gzip), false, true),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", Layer, Some(Zstd), false, true),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar",
                Layer,
                Some(Uncompressed),
                true,
                true,
            ),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                Layer,
                Some(Gzip),
                true,
                true,
            ),
            ("application/vnd.docker.distribution.manifest.v1+json", Schema1, None, false, true),
            (
                "application/vnd.docker.distribution.manifest.v1+prettyjws",
                Schema1,
                None,
                false,
                true,
            ),
            ("application/vnd.docker.attestation.manifest.v1+json", Other, None, false, true),
            ("application/vnd.in-toto+json", Other, None, false, false),
            ("application/vnd.erofs.layer.v1", Layer, None, false, false),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", Layer, None, false, false),
            ("application/vnd.oci.image.layer.v1.tar+lz4", Layer, None, false, false),
            ("Application/vnd.oci.image.index.v1+json", Other, None, false, false),
            ("application/x-tar+gzip", Other, None, false, false),
            ("text/plain", Other, None, false, false),
            ("", Other, None, false, false),
        ];
        for (text, class, compression, foreign, docker) in rows {
            let media_type = MediaType::from(text);
            assert_eq!(media_type.class(), class, "{text}");
            assert_eq!(media_type.declared_compression(), compression, "{text}");
            assert_eq!(media_type.is_foreign(), foreign, "{text}");
            assert_eq!(media_type.is_docker(), docker, "{text}");
            assert_eq!(media_type.to_string(), text);
        }
        // Every constant has a row.
        for known in KNOWN {
            assert!(rows.iter().any(|row| row.0 == *known), "{known}");
        }
    }

    #[test]
    fn known_types_are_not_copied() {
        for known in KNOWN {
            let text = String::from(*known);
            assert!(matches!(MediaType::from(text.as_str()).0, Cow::Borrowed(_)));
            assert_eq!(MediaType::from(text.as_str()), MediaType::from(text));
        }
    }

    #[test]
    fn docker_and_oci_map_to_each_other() {
        for (docker, oci) in DOCKER_AND_OCI {
            assert!(docker.is_docker() && !oci.is_docker());
            assert_eq!(docker.to_oci().as_ref(), Some(oci));
            assert_eq!(oci.to_docker().as_ref(), Some(docker));
            assert_eq!(docker.class(), oci.class());
            assert_eq!(docker.declared_compression(), oci.declared_compression());
            assert_eq!(docker.is_foreign(), oci.is_foreign());
            assert_eq!((oci.to_oci(), docker.to_docker()), (None, None));
        }
        assert_eq!(MediaType::OCI_FOREIGN_LAYER_ZSTD.to_docker(), None);
        assert_eq!(MediaType::from("text/plain").to_oci(), None);
    }

    #[test]
    fn encryption_is_an_ending() {
        assert!(MediaType::from("application/vnd.oci.image.layer.v1.tar+encrypted").is_encrypted());
        assert!(!MediaType::OCI_LAYER_GZIP.is_encrypted());
    }
}
