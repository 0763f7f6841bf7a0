//! A bundle of many images, as a relocation carries them.

use super::docker::containerd_manifest;
use super::image::{Image, Layer, Packing, index};
use super::oci::{LAYOUT, blobs};

/// Images in it.
pub const COUNT: usize = 500;
/// Rules about one name.
pub const EXACT: usize = 20;
/// The rule about the others.
pub const PREFIX: &str = "docker.io/kubeguide=registry.cn-hangzhou.aliyuncs.com/k8s-mirror";

/// One image of the bundle: its name, and what the rules make of it.
pub struct Named {
    pub old: String,
    pub new: String,
}

/// The names. Every 25th image has a rule of its own; every second of those is
/// not below the prefix.
pub fn names() -> Vec<Named> {
    (0..COUNT)
        .map(|n| match (n % (COUNT / EXACT), n % (2 * COUNT / EXACT)) {
            (0, 0) => Named {
                old: format!("quay.io/tools/tool-{n}:v{n}"),
                new: format!("registry.k8s.io/tools/tool:v{n}"),
            },
            (0, _) => Named {
                old: format!("docker.io/kubeguide/special-{n}:v{n}"),
                new: format!("registry.example.com/special/{n}:v{n}.1"),
            },
            _ => Named {
                old: format!("docker.io/kubeguide/app-{n}:1.{n}"),
                new: format!("registry.cn-hangzhou.aliyuncs.com/k8s-mirror/app-{n}:1.{n}"),
            },
        })
        .collect()
}

/// The rules, as arguments: the exact ones first, because the first match wins.
pub fn rules() -> Vec<String> {
    let names = names();
    let exact = names.iter().step_by(COUNT / EXACT);
    let exact = exact.map(|Named { old, new }| format!("{old}={new}"));
    exact.chain(["--prefix".to_owned(), PREFIX.to_owned()]).collect()
}

/// The bundle, as `ctr images export` writes it: both views. The images share
/// a layer and have a small one of their own.
pub fn archive() -> Vec<u8> {
    let base = Layer::new("base", Packing::Gzip);
    let image = |n| {
        let own = Layer::new(&format!("app-{n}"), Packing::Gzip);
        Image::new("linux/amd64", vec![base.clone(), own])
    };
    let images: Vec<Image> = (0..COUNT).map(image).collect();
    let names = names();
    let tops: Vec<_> = images
        .iter()
        .zip(&names)
        .map(|(image, name)| image.descriptor().named(&name.old))
        .collect();
    let tags: Vec<[&str; 1]> = names.iter().map(|name| [name.old.as_str()]).collect();
    let items: Vec<(&Image, &[&str])> =
        images.iter().zip(&tags).map(|(image, tags)| (image, &tags[..])).collect();
    let files = images.iter().flat_map(Image::blobs).collect();
    blobs(files)
        .file("index.json", index(&tops))
        .file("manifest.json", containerd_manifest(&items))
        .file("oci-layout", LAYOUT)
        .bytes()
}
