//! Several archives into one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::seen::{Seen, digest};
use super::support::docker::containerd_manifest;
use super::support::image::{
    Descriptor, IMAGE_NAME, Image, Layer, OCI_INDEX, Packing, REF_NAME, blob, hex, index, item,
    strings,
};
use super::support::oci::{hybrid, layout, signature};
use super::support::run::{Room, arg, ocitar};
use super::support::tarball::Tar;
use super::{APP, Multi, OTHER, assert_verified, data, exported, merge, merged, words};

#[test]
fn ten_archives_that_share_layers() {
    let room = Room::new();
    let base = Layer::new("base", Packing::Gzip);
    let images: Vec<Image> = (0..10)
        .map(|n| {
            Image::new(
                "linux/amd64",
                vec![base.clone(), Layer::new(&format!("own-{n}"), Packing::Gzip)],
            )
        })
        .collect();
    let mut blobs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut inputs = Vec::new();
    for (n, image) in images.iter().enumerate() {
        let name = format!("example.com/team/app-{n}:1");
        let tar = hybrid(image.blobs(), &[image.descriptor().named(&name)], &[(image, &[&name])]);
        inputs.push(room.write(&format!("{n}.tar"), tar.bytes()));
        blobs.extend(image.blobs());
    }
    assert_eq!(blobs.len(), 31);
    let out = room.path("merged.tar");
    let forecast = merge(&out, &inputs, &["--dry-run", "--json"]).ok().json();
    assert!(!out.exists());
    let bytes = merged(&room, &inputs, &[]);
    assert_eq!(forecast["bytes"], bytes.len());
    let seen = Seen::of(bytes.clone());
    seen.assert_canonical(0);
    seen.assert_sound();
    let padded = |body: &Vec<u8>| 512 + body.len().next_multiple_of(512);
    let controls =
        ["index.json", "manifest.json", "oci-layout"].map(|name| padded(&seen.files[name]));
    let sum: usize = blobs.values().map(padded).sum();
    assert_eq!(bytes.len(), sum + controls.iter().sum::<usize>() + 2 * 512 + 1024);
    assert_verified(&out, true);
}

/// One archive of each family, all under different names.
fn families() -> Vec<PathBuf> {
    let names = "docker20-links docker26-two-images docker20-by-id skopeo-docker-archive buildx-oci-three \
                 buildx-oci-estargz ctr17-all-platforms ctr17-digest-name skopeo-oci-archive umoci-dot oras-artifact";
    let compressed = data("x").with_file_name("buildx-oci-multi.tar.zst");
    words(names).into_iter().map(data).chain([compressed]).collect()
}

#[test]
fn archives_of_every_form() {
    let room = Room::new();
    let inputs = families();
    let mut names: Vec<String> = Vec::new();
    for input in &inputs {
        let listed = ocitar(["ls", "-q", arg(input)]).ok().text();
        names.extend(listed.lines().map(str::to_owned));
    }
    names.retain(|name| name.contains('/'));
    names.sort();
    names.dedup();
    for to in ["same", "hybrid", "oci"] {
        let seen = Seen::of(merged(&room, &inputs, &["--to", to]));
        seen.assert_canonical(0);
        seen.assert_sound();
        assert_eq!(seen.oci_names(), names, "{to}");
        assert_eq!(seen.items().is_empty(), to == "oci");
        assert_verified(&room.path("merged.tar"), true);
    }
}

/// Order does not matter, nor does merging again, nor an input that is there twice.
#[test]
fn order_does_not_matter() {
    let room = Room::new();
    let inputs = families();
    let want = merged(&room, &inputs, &[]);
    let mut turned = inputs.clone();
    for _ in 0..3 {
        turned.rotate_left(3);
        turned.swap(0, 5);
        assert!(merged(&room, &turned, &[]) == want);
    }
    let twice = [&inputs[..], &turned[..2]].concat();
    assert!(merged(&room, &twice, &[]) == want);
    let again = room.write("again.tar", &want);
    assert!(merged(&room, std::slice::from_ref(&again), &[]) == want);
    assert!(merged(&room, &[again, inputs[3].clone()], &[]) == want);
}

/// The same image in archives that write its descriptor, its names and its layers differently.
#[test]
fn one_image_in_many_spellings() {
    let room = Room::new();
    let plain = Image::plain("spelled");
    let gzip = Image::new(
        "linux/amd64",
        plain
            .layers
            .iter()
            .map(|layer| Layer {
                blob: super::support::image::pack(&layer.plain, Packing::Gzip),
                packing: Packing::Gzip,
                ..layer.clone()
            })
            .collect(),
    );
    assert_eq!(gzip.config, plain.config);
    let (sig, files) = signature(&gzip.descriptor());
    let marked = sig.clone().annotation("x", "y");
    let familiar = hybrid(
        plain.blobs(),
        &[plain.descriptor().named("docker.io/library/app:1.0")],
        &[(&plain, &["app:1.0"])],
    );
    let full = "docker.io/library/app:1.0";
    let oci = |top: Descriptor, more: Option<Descriptor>| {
        let tops: Vec<Descriptor> = [Some(top), more].into_iter().flatten().collect();
        layout([gzip.blobs(), files.clone()].concat(), &tops)
    };
    let config = format!("{}.json", hex(&plain.config_digest()));
    let docker = Tar::new()
        .file(&config, &plain.config)
        .file("1", &plain.layers[0].plain)
        .file("2", &plain.layers[1].plain);
    let docker = docker.file(
        "manifest.json",
        format!("[{}]", item(&config, &strings(&[full]), &["1".into(), "2".into()], "")),
    );
    let archives = [
        oci(gzip.descriptor().named(full), None),
        oci(gzip.descriptor().annotation(REF_NAME, full), Some(sig)),
        oci(gzip.descriptor().annotation("z", "z").annotation(IMAGE_NAME, full), Some(marked)),
        oci(gzip.child().annotation(REF_NAME, "1.0"), None),
        oci(gzip.child(), None),
        familiar,
        docker,
    ];
    let inputs: Vec<PathBuf> = archives
        .iter()
        .enumerate()
        .map(|(at, tar)| room.write(&format!("{at}.tar"), tar.bytes()))
        .collect();
    for a in 0..inputs.len() {
        for b in 0..inputs.len() {
            let [ab, ba] = [[a, b], [b, a]]
                .map(|pair| merged(&room, &pair.map(|at| inputs[at].clone()), &["--to", "hybrid"]));
            assert!(
                ab == ba,
                "{a} {b}: {:?}\n{:?}",
                Seen::of(ab.clone()).tops(),
                Seen::of(ba).tops()
            );
            let seen = Seen::of(ab.clone());
            seen.assert_sound();
            assert_eq!(seen.items().len(), 1, "{a} {b}: one image ID");
            let again = room.write("again.tar", &ab);
            assert!(merged(&room, &[again], &[]) == ab, "{a} {b}: {:?}", seen.tops());
        }
    }
    let all = merged(&room, &inputs, &[]);
    let mut turned = inputs.clone();
    turned.reverse();
    assert!(merged(&room, &turned, &[]) == all);
}

#[test]
fn one_name_for_two_images() {
    let room = Room::new();
    let (a, b) = (Image::app("first"), Image::app("last"));
    let both = |image: &Image, more: &str| {
        let tops = [image.descriptor().named(APP), image.descriptor().named(more)];
        hybrid(image.blobs(), &tops, &[(image, &[APP, more])]).bytes()
    };
    let own = "example.com/own:1";
    let inputs = [
        room.write("a.tar", both(&a, own)),
        room.write("b.tar", layout(b.blobs(), &[b.descriptor().named(APP)]).bytes()),
    ];
    let out = room.path("merged.tar");
    let refused = merge(&out, &inputs, &[]);
    assert_eq!((refused.code, refused.id()), (1, "E_NAME_COLLISION"));
    for text in [APP, &a.manifest_digest(), &b.manifest_digest()] {
        assert!(refused.err.contains(text), "{}", refused.err);
    }
    assert!(!out.exists());
    let rows = [
        ("first", a.manifest_digest(), vec![APP, own]),
        ("last", b.manifest_digest(), vec![own, APP]),
    ];
    for (which, digest, mut names) in rows {
        let seen = Seen::of(merged(&room, &inputs, &["--on-conflict", which]));
        seen.assert_sound();
        assert_eq!(seen.named(APP), Some(digest), "{which}");
        // The other image stays under the name that is its own, or goes.
        assert_eq!(seen.named(own), Some(a.manifest_digest()));
        names.sort_unstable();
        assert_eq!(seen.oci_names(), names);
        assert_eq!(seen.tags(), names);
        assert_eq!(seen.blob(&b.manifest_digest()).is_some(), which == "last");
        assert_verified(&out, true);
    }
}

#[test]
fn sparse_files_complete_each_other() {
    let room = Room::new();
    for name in ["buildx-oci-three", "docker26c8d-multi-attested", "skopeo-oci-all"] {
        let whole = merged(&room, &[data(name)], &["--to", "oci"]);
        let mut inputs = Vec::new();
        let platforms: &[&str] = if name == "buildx-oci-three" {
            &["linux/arm/v7", "linux/amd64", "linux/arm64"]
        } else {
            &["linux/arm64", "linux/amd64"]
        };
        for platform in platforms {
            let args = ["--platform", platform, "--index", "keep", "--to", "oci"];
            let seen = exported(&room, "export", &data(name), &args);
            assert!(!seen.dangling().is_empty());
            inputs.push(room.write(&platform.replace('/', "-"), seen.bytes()));
        }
        assert!(merged(&room, &inputs, &[]) == whole, "{name}");
        assert_verified(&room.path("merged.tar"), true);
        // One of them is missing: sparse still, and said to be.
        let seen = Seen::of(merged(&room, &inputs[1..], &[]));
        assert!(!seen.dangling().is_empty());
        let out = room.path("merged.tar");
        let true_index = merge(&out, &inputs[1..], &["--force", "--index", "rewrite"]).ok();
        assert!(true_index.err.contains("\n  → sha256:"), "{}", true_index.err);
        Seen::at(&out).assert_sound();
        assert_verified(&out, true);
    }
}

/// Two indexes with a manifest in common are two images for containerd and one for docker, under two names: that is no
/// contradiction.
#[test]
fn two_indexes_that_share_a_manifest() {
    let room = Room::new();
    let multi = Multi::new("common", &["linux/amd64", "linux/arm64"]);
    let text = index(&[multi.images[0].child()]);
    let tops = [multi.descriptor().named(APP), Descriptor::new(OCI_INDEX, &text).named(OTHER)];
    let tar = layout([multi.blobs(), vec![blob(&text)]].concat(), &tops);
    let input = room.write("in.tar", tar.bytes());
    let seen = exported(&room, "convert", &input, &["--to", "hybrid"]);
    assert_eq!(seen.tags(), [APP, OTHER]);
    assert_eq!(seen.items().len(), 1);
    assert_verified(&room.path("out.tar"), true);
    // As it is of archives that real tools wrote.
    merged(&room, &[data("docker26c8d-multi-attested"), data("ctr17-all-platforms")], &[]);
    assert_verified(&room.path("merged.tar"), true);
}

/// Half of a platform in one file, half in another.
#[test]
fn halves_of_one_platform() {
    let room = Room::new();
    let multi = Multi::new("halves", &["linux/amd64", "linux/arm64"]);
    let whole = multi.archive(APP);
    let arm = &multi.images[1];
    let (config, layer) = (blob(&arm.config).0, blob(&arm.layers[1].blob).0);
    let inputs = [
        room.write("a.tar", whole.clone().without(&[&config]).bytes()),
        room.write("b.tar", whole.clone().without(&[&layer]).bytes()),
    ];
    for input in &inputs {
        assert_eq!(exported(&room, "export", input, &[]).platforms(APP), ["linux/amd64"]);
    }
    let seen = Seen::of(merged(&room, &inputs, &[]));
    assert_eq!(seen.platforms(APP), ["linux/amd64", "linux/arm64"]);
    seen.assert_sound();
    assert_eq!(seen.named(APP), Some(multi.descriptor().digest));
}

/// Two images with one configuration are one for docker; one document says so once.
#[test]
fn documents_of_a_merge() {
    let room = Room::new();
    let (a, b) = (Image::app("doc-a"), Image::app("doc-b"));
    let inputs = [
        room.write("b.tar", layout(b.blobs(), &[b.descriptor().named(OTHER)]).bytes()),
        room.write("a.tar", layout(a.blobs(), &[a.descriptor().named(APP)]).bytes()),
    ];
    let seen = Seen::of(merged(&room, &inputs, &["--to", "hybrid"]));
    let tops = [a.descriptor().named(APP), b.descriptor().named(OTHER)];
    assert_eq!(String::from_utf8_lossy(&seen.files["index.json"]), index(&tops));
    let items = containerd_manifest(&[(&a, &[APP]), (&b, &[OTHER])]);
    assert_eq!(String::from_utf8_lossy(&seen.files["manifest.json"]), items);
    assert_eq!(digest(&seen.tops()[0]), a.manifest_digest());
    assert_eq!(
        OCI_INDEX,
        serde_json::from_slice::<serde_json::Value>(&seen.files["index.json"]).unwrap()["mediaType"]
    );
}

/// One image in two compressions is one image, unless it is said which of them is meant.
#[test]
fn one_image_in_two_compressions() {
    let room = Room::new();
    let repacked = |packing: Packing| {
        let plain = Image::plain("packed");
        let layers = plain.layers.iter().map(|layer| Layer {
            blob: super::support::image::pack(&layer.plain, packing),
            packing,
            ..layer.clone()
        });
        Image::new("linux/amd64", layers.collect())
    };
    let images = [repacked(Packing::Gzip), repacked(Packing::Zstd)];
    let input = |at: usize| {
        let image = &images[at];
        let bytes = layout(image.blobs(), &[image.descriptor().named(APP)]).bytes();
        room.write(&format!("{at}.tar"), bytes)
    };
    let inputs = [input(0), input(1)];
    let digests = images.each_ref().map(Image::manifest_digest);
    let bytes = |image: &Image| image.layers.iter().map(|layer| layer.blob.len()).sum::<usize>();
    let smaller = usize::from(bytes(&images[1]) < bytes(&images[0]));
    for (conflict, want) in
        [(&[][..], smaller), (&["--on-conflict", "first"], 0), (&["--on-conflict", "last"], 1)]
    {
        let seen = Seen::of(merged(&room, &inputs, conflict));
        assert_eq!(seen.named(APP).as_ref(), Some(&digests[want]), "{conflict:?}");
        seen.assert_sound();
    }
}

/// Of two copies the one that has the size it should have is taken.
#[test]
fn a_copy_that_is_cut_short() {
    let room = Room::new();
    let image = Image::app("copies");
    let (path, body) = blob(&image.layers[0].blob);
    let cut = [(path, body[1..].to_vec())];
    let files = image.blobs().into_iter().map(|(path, body)| {
        let cut = cut.iter().find(|(other, _)| *other == path);
        cut.map_or((path, body), Clone::clone)
    });
    let cut = layout(files.collect(), &[image.descriptor().named(APP)]).bytes();
    let whole = layout(image.blobs(), &[image.descriptor().named(OTHER)]).bytes();
    let inputs = [room.write("cut.tar", cut), room.write("whole.tar", whole)];
    for inputs in [inputs.clone(), [inputs[1].clone(), inputs[0].clone()]] {
        merged(&room, &inputs, &[]);
        assert_verified(&room.path("merged.tar"), true);
    }
    let refused = merge(&room.path("merged.tar"), &inputs[..1], &["--force"]);
    super::assert_refused(&refused, 1, "E_SIZE_MISMATCH");
    assert!(refused.err.contains("cut.tar"), "{}", refused.err);
}
