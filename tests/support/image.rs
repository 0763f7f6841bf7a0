//! Layers, configurations, manifests and descriptors.

use std::fmt;
use std::io::Write;

use sha2::{Digest as _, Sha256, Sha512};

use super::tarball::Tar;

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub const FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

pub const IMAGE_NAME: &str = "io.containerd.image.name";
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub const SUBJECT: &str = "io.containerd.manifest.subject";

/// `sha256:` and the hex of these bytes.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    format!("sha256:{}", to_hex(&Sha256::digest(bytes.as_ref())))
}

/// `sha512:` and the hex of these bytes.
pub fn sha512(bytes: impl AsRef<[u8]>) -> String {
    format!("sha512:{}", to_hex(&Sha512::digest(bytes.as_ref())))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What stands behind the colon of a digest.
pub fn hex(digest: &str) -> &str {
    digest.split_once(':').expect(digest).1
}

/// `blobs/sha256/<hex>`.
pub fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

/// How a layer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A layer: a small tar, plain and as stored.
#[derive(Clone, Debug)]
pub struct Layer {
    pub plain: Vec<u8>,
    pub blob: Vec<u8>,
    pub packing: Packing,
    /// Where a layer that is not distributed can be had.
    pub url: Option<&'static str>,
}

impl Layer {
    /// A layer of one file; the text is its name and its content.
    pub fn new(text: &str, packing: Packing) -> Layer {
        let plain =
            Tar::new().folder("etc").file(&format!("etc/{text}"), format!("{text}\n")).bytes();
        let blob = pack(&plain, packing);
        Layer { plain, blob, packing, url: None }
    }

    /// The same, at this address instead of in the archive.
    pub fn foreign(self, url: &'static str) -> Layer {
        Layer { url: Some(url), ..self }
    }

    /// Digest of the bytes as stored.
    pub fn digest(&self) -> String {
        sha256(&self.blob)
    }

    /// Digest of the plain bytes.
    pub fn diff_id(&self) -> String {
        sha256(&self.plain)
    }

    fn media_type(&self, docker: bool) -> String {
        match (self.url, docker, self.packing) {
            (Some(_), ..) => FOREIGN_LAYER.to_owned(),
            (None, true, _) => DOCKER_LAYER.to_owned(),
            (None, false, Packing::Plain) => OCI_LAYER.to_owned(),
            (None, false, Packing::Gzip) => format!("{OCI_LAYER}+gzip"),
            (None, false, Packing::Zstd) => format!("{OCI_LAYER}+zstd"),
        }
    }
}

/// These bytes, compressed.
pub fn pack(bytes: &[u8], packing: Packing) -> Vec<u8> {
    match packing {
        Packing::Plain => bytes.to_vec(),
        Packing::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Packing::Zstd => zstd::encode_all(bytes, 3).unwrap(),
    }
}

/// An image for one platform.
#[derive(Clone, Debug)]
pub struct Image {
    pub layers: Vec<Layer>,
    pub config: String,
    pub manifest: String,
    pub docker: bool,
    pub platform: &'static str,
}

impl Image {
    /// An image of OCI types; `platform` is `os/arch`, `os/arch/variant` or
    /// `os(version)/arch`.
    pub fn new(platform: &'static str, layers: Vec<Layer>) -> Image {
        Image::build(platform, layers, false)
    }

    /// An image of docker's types.
    pub fn docker(platform: &'static str, layers: Vec<Layer>) -> Image {
        Image::build(platform, layers, true)
    }

    /// Two gzip layers for linux/amd64, told apart by this word.
    pub fn app(word: &str) -> Image {
        let layer = |n: usize| Layer::new(&format!("{word}-{n}"), Packing::Gzip);
        Image::new("linux/amd64", vec![layer(1), layer(2)])
    }

    /// The same with plain layers, as docker's classic store has them.
    pub fn plain(word: &str) -> Image {
        let layer = |n: usize| Layer::new(&format!("{word}-{n}"), Packing::Plain);
        Image::new("linux/amd64", vec![layer(1), layer(2)])
    }

    fn build(platform: &'static str, layers: Vec<Layer>, docker: bool) -> Image {
        let ids: Vec<String> =
            layers.iter().map(|layer| format!("\"{}\"", layer.diff_id())).collect();
        let config = format!(
            "{{{},\"config\":{{\"Cmd\":[\"/etc\"]}},\"created\":\"2024-01-02T03:04:05Z\",\
             \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[{}]}}}}",
            platform_fields(platform),
            ids.join(",")
        );
        let list: Vec<Descriptor> = layers
            .iter()
            .map(|layer| {
                let descriptor = Descriptor::new(&layer.media_type(docker), &layer.blob);
                Descriptor { url: layer.url, ..descriptor }
            })
            .collect();
        let types =
            if docker { (DOCKER_MANIFEST, DOCKER_CONFIG) } else { (OCI_MANIFEST, OCI_CONFIG) };
        let manifest = manifest(types.0, &Descriptor::new(types.1, &config), &list, "");
        Image { layers, config, manifest, docker, platform }
    }

    pub fn config_digest(&self) -> String {
        sha256(&self.config)
    }

    pub fn manifest_digest(&self) -> String {
        sha256(&self.manifest)
    }

    /// The descriptor of the manifest, without a platform.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(if self.docker { DOCKER_MANIFEST } else { OCI_MANIFEST }, &self.manifest)
    }

    /// The descriptor as an index has it.
    pub fn child(&self) -> Descriptor {
        self.descriptor().platform(self.platform)
    }

    /// Config, manifest and the layers that are distributed: paths and bytes.
    pub fn blobs(&self) -> Vec<(String, Vec<u8>)> {
        let documents = [&self.config, &self.manifest].map(blob);
        let layers = self.layers.iter().filter(|layer| layer.url.is_none());
        layers.map(|layer| blob(&layer.blob)).chain(documents).collect()
    }
}

/// Bytes with the path they have as a blob.
pub fn blob(bytes: impl AsRef<[u8]>) -> (String, Vec<u8>) {
    (blob_path(&sha256(&bytes)), bytes.as_ref().to_vec())
}

/// A manifest; `more` are further fields, each with a comma before it.
pub fn manifest(
    media_type: &str,
    config: &Descriptor,
    layers: &[Descriptor],
    more: &str,
) -> String {
    let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
    format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{media_type}\",\"config\":{config},\"layers\":[{}]{more}}}",
        layers.join(",")
    )
}

/// An index of OCI's type.
pub fn index(children: &[Descriptor]) -> String {
    let children: Vec<String> = children.iter().map(ToString::to_string).collect();
    format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{OCI_INDEX}\",\"manifests\":[{}]}}",
        children.join(",")
    )
}

/// A descriptor; prints as Go writes it.
#[derive(Clone, Debug)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: usize,
    pub url: Option<&'static str>,
    pub annotations: Vec<(String, String)>,
    pub platform: Option<&'static str>,
}

impl Descriptor {
    pub fn new(media_type: &str, bytes: impl AsRef<[u8]>) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest: sha256(&bytes),
            size: bytes.as_ref().len(),
            url: None,
            annotations: Vec::new(),
            platform: None,
        }
    }

    pub fn platform(self, platform: &'static str) -> Descriptor {
        Descriptor { platform: Some(platform), ..self }
    }

    pub fn annotation(mut self, key: &str, value: &str) -> Descriptor {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    /// As containerd names it: the full name, and the tag.
    pub fn named(self, name: &str) -> Descriptor {
        let object = match (name.split_once('@'), name.rsplit_once(':')) {
            (Some(_), _) | (None, None) => name,
            (None, Some((_, tag))) => tag,
        };
        self.annotation(IMAGE_NAME, name).annotation(REF_NAME, object)
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Descriptor { media_type, digest, size, .. } = self;
        write!(f, "{{\"mediaType\":\"{media_type}\",\"digest\":\"{digest}\",\"size\":{size}")?;
        if let Some(url) = self.url {
            write!(f, ",\"urls\":[\"{url}\"]")?;
        }
        if !self.annotations.is_empty() {
            let list: Vec<String> =
                self.annotations.iter().map(|(k, v)| format!("\"{k}\":\"{v}\"")).collect();
            write!(f, ",\"annotations\":{{{}}}", list.join(","))?;
        }
        if let Some(platform) = self.platform {
            write!(f, ",\"platform\":{{{}}}", platform_fields(platform))?;
        }
        f.write_str("}")
    }
}

fn platform_fields(platform: &str) -> String {
    let mut parts = platform.split('/');
    let (os, architecture) = (parts.next().unwrap(), parts.next().unwrap());
    let (os, version) = os.split_once('(').unwrap_or((os, ""));
    let version = match version.trim_end_matches(')') {
        "" => String::new(),
        version => format!(",\"os.version\":\"{version}\""),
    };
    let variant = parts.next().map(|text| format!(",\"variant\":\"{text}\"")).unwrap_or_default();
    format!("\"architecture\":\"{architecture}\",\"os\":\"{os}\"{version}{variant}")
}

/// `["a","b"]`.
pub fn strings<T: AsRef<str>>(texts: &[T]) -> String {
    let list: Vec<String> = texts.iter().map(|text| format!("\"{}\"", text.as_ref())).collect();
    format!("[{}]", list.join(","))
}

/// One item of `manifest.json`, as Go writes it; `tags` and `more` are JSON, `more` with a comma before it.
pub fn item(config: &str, tags: &str, layers: &[String], more: &str) -> String {
    format!("{{\"Config\":\"{config}\",\"RepoTags\":{tags},\"Layers\":{}{more}}}", strings(layers))
}
