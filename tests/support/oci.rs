//! Synthetic archives with `index.json`: jib, bazel, containerd, cosign, buildx, and unusual content.
//!
//! Written after what the producers' sources and the image specification say; no producer ran.

use super::Made;
use super::docker::{as_bazel, as_jib, containerd_manifest};
use super::image::{
    Descriptor, EMPTY, Image, Layer, OCI_INDEX, OCI_MANIFEST, Packing, REF_NAME, SUBJECT, blob,
    blob_path, index, item, manifest, sha512, strings,
};
use super::tarball::Tar;

/// As containerd, podman and most others write it.
pub const LAYOUT: &str = "{\"imageLayoutVersion\":\"1.0.0\"}";
/// As docker and jib write it.
pub const LAYOUT_SPACED: &str = "{\"imageLayoutVersion\": \"1.0.0\"}";

const NAME: &str = "example.com/team/app:1.0";
const AMD64: &[&str] = &["linux/amd64"];

/// Every archive of this file.
pub fn all() -> Vec<Made> {
    vec![
        jib(),
        bazel(),
        referrers(),
        cosign(),
        foreign(),
        nested(),
        sha512_blobs(),
        sha512_hybrid(),
        no_config(),
        zstd(),
        no_images(),
        no_images_null(),
        buildx_attested(),
        sparse(),
        tag_only(),
        no_layers(),
    ]
}

/// Folders, then blobs sorted by path, each once.
pub fn blobs(mut files: Vec<(String, Vec<u8>)>) -> Tar {
    files.sort();
    files.dedup();
    let mut tar = Tar::new().folder("blobs");
    for (path, body) in files {
        let folder = path.rsplit_once('/').unwrap().0;
        if !tar.members.iter().any(|member| member.name.trim_end_matches('/') == folder) {
            tar = tar.folder(folder);
        }
        tar = tar.file(&path, body);
    }
    tar
}

/// A layout of these blobs and descriptors, in containerd's order.
pub fn layout(files: Vec<(String, Vec<u8>)>, tops: &[Descriptor]) -> Tar {
    blobs(files).file("index.json", index(tops)).file("oci-layout", LAYOUT)
}

/// As containerd exports: both views.
pub fn hybrid(
    files: Vec<(String, Vec<u8>)>,
    tops: &[Descriptor],
    items: &[(&Image, &[&str])],
) -> Tar {
    blobs(files)
        .file("index.json", index(tops))
        .file("manifest.json", containerd_manifest(items))
        .file("oci-layout", LAYOUT)
}

/// jib's OCI tar: no folders, the full name in `ref.name` and nowhere else.
fn jib() -> Made {
    let image = Image::app("jib");
    let mut tar = Tar::new();
    for (path, body) in image.blobs() {
        tar = tar.file(&path, body);
    }
    let top = image.descriptor().annotation(REF_NAME, NAME);
    let tar = tar.file("oci-layout", LAYOUT_SPACED).file("index.json", index(&[top])).each(as_jib);
    Made::new("jib-oci", "oci", tar).image(&image.manifest_digest(), &[NAME], AMD64)
}

/// rules_oci, OCI format: the descriptor of the index once for each tag, names as they were written.
fn bazel() -> Made {
    let images =
        [Image::app("bazel"), Image::new("linux/arm64/v8", Image::app("bazel-arm").layers)];
    let text = index(&images.each_ref().map(Image::child));
    let mut tar = Tar::new().file("oci-layout", LAYOUT);
    let (path, body) = blob(&text);
    tar = tar.file(&path, body);
    for (path, body) in images.iter().flat_map(Image::blobs) {
        tar = tar.file(&path, body);
    }
    let tops = [NAME, "team/app:1.0"]
        .map(|name| Descriptor::new(OCI_INDEX, &text).annotation(REF_NAME, name));
    let tar = tar.file("index.json", index(&tops)).each(as_bazel);
    let names = [NAME, "docker.io/team/app:1.0"];
    Made::new("bazel-oci", "oci", tar).image(
        &tops[0].digest,
        &names,
        &["linux/amd64", "linux/arm64"],
    )
}

/// A signature over another manifest: an empty config, `subject`.
pub fn signature(subject: &Descriptor) -> (Descriptor, Vec<(String, Vec<u8>)>) {
    let (config, payload) = ("{}", format!("{{\"critical\":\"{}\"}}", subject.digest));
    let text = manifest(
        OCI_MANIFEST,
        &Descriptor::new(EMPTY, config),
        &[Descriptor::new("application/vnd.dev.cosign.simplesigning.v1+json", &payload)],
        &format!(",\"subject\":{subject}"),
    );
    (Descriptor::new(OCI_MANIFEST, &text), vec![blob(config), blob(&payload), blob(&text)])
}

/// containerd since 2.2: referrers are descriptors that say what they are about.
pub fn referrers() -> Made {
    let image = Image::app("referrers");
    let (marked, files) = signature(&image.descriptor());
    let (unmarked, other_files) = signature(&Image::app("elsewhere").descriptor());
    let marked = marked.annotation(SUBJECT, &image.manifest_digest());
    let tops = [image.descriptor().named(NAME), marked, unmarked];
    let files = [image.blobs(), files, other_files].concat();
    let tar = hybrid(files, &tops, &[(&image, &[NAME])]);
    Made::new("containerd-referrers", "hybrid", tar).image(&image.manifest_digest(), &[NAME], AMD64)
}

/// cosign's tags beside the image they are about.
pub fn cosign() -> Made {
    let image = Image::app("cosign");
    let digest = image.manifest_digest().replace(':', "-");
    let (sig, files) = signature(&image.descriptor());
    let (att, more) = signature(&Image::app("statement").descriptor());
    let name = |kind: &str| format!("example.com/team/app:{digest}.{kind}");
    let tops = [
        image.descriptor().named(NAME),
        sig.clone().named(&name("sig")),
        att.clone().named(&name("att")),
    ];
    let tar = layout([image.blobs(), files, more].concat(), &tops);
    Made::new("cosign", "oci", tar)
        .image(&image.manifest_digest(), &[NAME], AMD64)
        .image(&sig.digest, &[&name("sig")], &[])
        .image(&att.digest, &[&name("att")], &[])
}

/// `ctr images export --skip-non-distributable`: a base layer that is only an address.
fn foreign() -> Made {
    let base = Layer::new("windows-base", Packing::Gzip).foreign("https://example.com/base");
    let image = Image::docker("windows/amd64", vec![base, Layer::new("app", Packing::Gzip)]);
    let tar = hybrid(image.blobs(), &[image.descriptor().named(NAME)], &[]);
    let tar = tar.without(&["manifest.json"]);
    Made::new("foreign-layer", "oci", tar).image(
        &image.manifest_digest(),
        &[NAME],
        &["windows/amd64"],
    )
}

/// An index inside an index.
fn nested() -> Made {
    let images = [Image::app("one"), Image::new("linux/arm/v7", Image::app("two").layers)];
    let inner = index(&[images[1].child()]);
    let outer = index(&[images[0].child(), Descriptor::new(OCI_INDEX, &inner)]);
    let mut files: Vec<_> = images.iter().flat_map(Image::blobs).collect();
    files.extend([blob(&inner), blob(&outer)]);
    let top = Descriptor::new(OCI_INDEX, &outer).named(NAME);
    let digest = top.digest.clone();
    let made = Made::new("nested-index", "oci", layout(files, &[top]));
    made.image(&digest, &[NAME], &["linux/amd64", "linux/arm/v7"])
}

/// Every blob under its SHA-512, in members whose names need a pax header.
fn sha512_blobs() -> Made {
    let (files, top, _) = sha512_image();
    let digest = top.digest.clone();
    Made::new("sha512", "oci", layout(files, &[top])).image(&digest, &[NAME], AMD64)
}

/// The same with a docker view, whose readers know the config by its SHA-256.
fn sha512_hybrid() -> Made {
    let (files, top, image) = sha512_image();
    let digest = top.digest.clone();
    let layers: Vec<String> =
        image.layers.iter().map(|layer| blob_path(&sha512(&layer.blob))).collect();
    let manifest = item(&blob_path(&sha512(&image.config)), &strings(&[NAME]), &layers, "");
    let tar = layout(files, &[top]).file("manifest.json", format!("[{manifest}]"));
    Made::new("sha512-hybrid", "hybrid", tar).image(&digest, &[NAME], AMD64)
}

fn sha512_image() -> (Vec<(String, Vec<u8>)>, Descriptor, Image) {
    let image = Image::app("sha512");
    let at = |bytes: &[u8]| (blob_path(&sha512(bytes)), bytes.to_vec());
    let descriptor = |media_type: &str, bytes: &[u8]| {
        let descriptor = Descriptor::new(media_type, bytes);
        Descriptor { digest: sha512(bytes), ..descriptor }
    };
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let layers: Vec<Descriptor> =
        image.layers.iter().map(|layer| descriptor(gzip, &layer.blob)).collect();
    let config = descriptor("application/vnd.oci.image.config.v1+json", image.config.as_bytes());
    let text = manifest(OCI_MANIFEST, &config, &layers, "");
    let mut files: Vec<_> = image.layers.iter().map(|layer| at(&layer.blob)).collect();
    files.extend([at(image.config.as_bytes()), at(text.as_bytes())]);
    (files, descriptor(OCI_MANIFEST, text.as_bytes()).named(NAME), image)
}

/// The config is absent: one damaged image in both views, not two images.
fn no_config() -> Made {
    let image = Image::app("no-config");
    let tar = hybrid(image.blobs(), &[image.descriptor().named(NAME)], &[(&image, &[NAME])]);
    let tar = tar.without(&[&blob(&image.config).0]);
    Made::new("no-config", "hybrid", tar)
        .image(&image.manifest_digest(), &[NAME], &["-unknown"])
        .verify(1)
}

fn zstd() -> Made {
    let layers = vec![Layer::new("zstd-1", Packing::Zstd), Layer::new("zstd-2", Packing::Zstd)];
    let image = Image::new("linux/arm64", layers);
    let tar = hybrid(image.blobs(), &[image.descriptor().named(NAME)], &[(&image, &[NAME])]);
    Made::new("zstd-layers", "hybrid", tar).image(
        &image.manifest_digest(),
        &[NAME],
        &["linux/arm64"],
    )
}

fn no_images() -> Made {
    Made::new(
        "no-images",
        "oci",
        Tar::new().file("index.json", index(&[])).file("oci-layout", LAYOUT),
    )
    .verify(1)
}

/// containerd since 2.2 where no image could be resolved.
fn no_images_null() -> Made {
    let tar = Tar::new()
        .file("index.json", index(&[]).replace("[]", "null"))
        .file("manifest.json", "null")
        .file("oci-layout", LAYOUT);
    Made::new("manifests-null", "hybrid", tar).verify(1)
}

/// buildx since 0.31: attestations as artifacts with a subject, inside the index.
fn buildx_attested() -> Made {
    let image = Image::app("attested");
    let (statement, files) = signature(&image.descriptor());
    let statement = statement
        .annotation("vnd.docker.reference.digest", &image.manifest_digest())
        .annotation("vnd.docker.reference.type", "attestation-manifest")
        .platform("unknown/unknown");
    let text = index(&[image.child(), statement]);
    let top = Descriptor::new(OCI_INDEX, &text).named(NAME);
    let digest = top.digest.clone();
    let tar = layout([image.blobs(), files, vec![blob(&text)]].concat(), &[top]);
    Made::new("buildx-attested", "oci", tar).image(&digest, &[NAME], AMD64)
}

/// An index that promises more than there is; one child has its manifest and nothing else.
pub fn sparse() -> Made {
    let here = Image::app("here");
    let gone = Image::new("linux/arm64", Image::app("gone").layers);
    let half = Image::new("linux/s390x", Image::app("half").layers);
    let text = index(&[here.child(), gone.child(), half.child()]);
    let top = Descriptor::new(OCI_INDEX, &text).named(NAME);
    let digest = top.digest.clone();
    let files = [here.blobs(), vec![blob(&half.manifest), blob(&text)]].concat();
    let tar = hybrid(files, &[top], &[(&here, &[NAME])]);
    let platforms = ["linux/amd64", "-linux/arm64", "-linux/s390x"];
    Made::new("sparse", "hybrid", tar).image(&digest, &[NAME], &platforms)
}

/// A tag is all there is.
pub fn tag_only() -> Made {
    let image = Image::app("tag");
    let tar = layout(image.blobs(), &[image.descriptor().annotation(REF_NAME, "1.0")]);
    Made::new("tag-only", "oci", tar).image(&image.manifest_digest(), &[], AMD64)
}

/// An image of nothing, as containerd exports it.
fn no_layers() -> Made {
    let image = Image::new("linux/amd64", Vec::new());
    let tar = hybrid(image.blobs(), &[image.descriptor().named(NAME)], &[(&image, &[NAME])]);
    let text = String::from_utf8(tar.get("manifest.json").to_vec()).unwrap();
    let tar = tar.with("manifest.json", text.replace("\"Layers\":[]", "\"Layers\":null"));
    Made::new("no-layers", "hybrid", tar).image(&image.manifest_digest(), &[NAME], AMD64)
}
