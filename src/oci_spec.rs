//! Conversions of ocitar's views to the `oci-spec` types other tools use.
//!
//! One way only, and never used for reading or writing an archive: the types
//! drop fields they do not know, so a document that went through them would
//! have another digest. `os.version` and `os.features` of a platform are among
//! what is lost when they are serialised.

use oci_spec::image as spec;

use crate::archive::{Descriptor, Index, Manifest};
use crate::digest::Digest;
use crate::error::{Code, Error, Result};
use crate::media_type::MediaType;
use crate::platform::Platform;

impl From<&MediaType> for spec::MediaType {
    fn from(media_type: &MediaType) -> Self {
        media_type.as_str().into()
    }
}

impl From<&Digest> for spec::Digest {
    fn from(digest: &Digest) -> Self {
        match digest.to_string().parse() {
            Ok(digest) => digest,
            // Every digest of this crate is `sha256:` or `sha512:` and the hex
            // digits they ask for.
            Err(_) => unreachable!("a sha256 or sha512 digest"),
        }
    }
}

impl TryFrom<&spec::Digest> for Digest {
    type Error = Error;

    fn try_from(digest: &spec::Digest) -> Result<Self> {
        let text = digest.to_string();
        text.parse().map_err(|e| Error::new(Code::DigestFormat, format!("\"{text}\": {e}")))
    }
}

impl From<&Platform> for spec::Platform {
    fn from(platform: &Platform) -> Self {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let mut out = spec::Platform::default();
        out.set_os(platform.os.as_str().into());
        out.set_architecture(platform.architecture.as_str().into());
        out.set_variant(text(&platform.variant));
        out.set_os_version(text(&platform.os_version));
        out.set_os_features(list(&platform.os_features));
        out.set_features(list(&platform.features));
        out
    }
}

impl From<&Descriptor> for spec::Descriptor {
    fn from(descriptor: &Descriptor) -> Self {
        let mut out = spec::Descriptor::new(
            (&descriptor.media_type).into(),
            descriptor.size,
            &descriptor.digest,
        );
        out.set_platform(descriptor.platform.as_ref().map(Into::into));
        let urls: Vec<String> = descriptor.urls.iter().map(ToString::to_string).collect();
        out.set_urls((!urls.is_empty()).then_some(urls));
        let annotations = descriptor.annotations.iter();
        let annotations =
            annotations.map(|(key, value)| (key.to_string(), value.to_string())).collect();
        out.set_annotations((!descriptor.annotations.is_empty()).then_some(annotations));
        out.set_artifact_type(descriptor.artifact_type.as_deref().map(Into::into));
        out
    }
}

impl TryFrom<&Manifest> for spec::ImageManifest {
    type Error = Error;

    fn try_from(manifest: &Manifest) -> Result<Self> {
        let layers: Vec<spec::Descriptor> = manifest.layers.iter().map(Into::into).collect();
        let mut out = spec::ImageManifestBuilder::default()
            .schema_version(2_u32)
            .config(&manifest.config)
            .layers(layers)
            .build()
            .map_err(|e| Error::new(Code::JsonShape, e.to_string()))?;
        out.set_subject(manifest.subject.as_ref().map(Into::into));
        out.set_artifact_type(manifest.artifact_type.as_deref().map(Into::into));
        Ok(out)
    }
}

impl From<&Index> for spec::ImageIndex {
    fn from(index: &Index) -> Self {
        let mut out = spec::ImageIndex::default();
        out.set_schema_version(2);
        out.set_manifests(index.manifests.iter().map(Into::into).collect());
        out.set_subject(index.subject.as_ref().map(Into::into));
        out.set_artifact_type(index.artifact_type.as_deref().map(Into::into));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::view::ManifestDocument;
    use crate::json;
    use crate::limits::Limits;

    #[test]
    fn views_convert() {
        let digest = Digest::of(b"x");
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json",
               "digest":"{digest}","size":7,"annotations":{{"a":"b"}},
               "platform":{{"os":"windows","architecture":"amd64","os.version":"10.0"}}}}]}}"#
        );
        let root = json::parse(text.as_bytes(), &Limits::default()).unwrap();
        let Ok(ManifestDocument::Index(index)) = ManifestDocument::read(&root, &Limits::default())
        else {
            panic!("an index");
        };
        let out = spec::ImageIndex::from(&*index);
        let child = &out.manifests()[0];
        assert_eq!(*child.media_type(), spec::MediaType::ImageManifest);
        assert_eq!((child.size(), child.digest().to_string()), (7, digest.to_string()));
        assert_eq!(Digest::try_from(child.digest()).unwrap(), digest);
        assert_eq!(child.annotations().as_ref().unwrap()["a"], "b");
        let platform = child.platform().as_ref().unwrap();
        assert_eq!(platform.os_version().as_deref(), Some("10.0"));
    }
}
