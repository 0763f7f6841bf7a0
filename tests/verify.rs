//! What `verify` says of descriptors.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::image::{
    Descriptor, Image, Layer, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Packing, blob, index, manifest,
    pack,
};
use support::oci::layout;
use support::run::{Room, arg, ocitar};
use support::tarball::Tar;

const NAME: &str = "example.com/team/app:1.0";

/// A descriptor with more fields, each with a comma before it.
fn with(descriptor: &Descriptor, more: &str) -> String {
    let text = descriptor.to_string();
    format!("{}{more}}}", text.strip_suffix('}').unwrap())
}

#[test]
fn embedded_content_is_the_content() {
    let room = Room::new();
    // Where `data` stands: in index.json, and in a manifest for its config.
    let config = "{\"rootfs\":{\"type\":\"layers\"}}";
    let good = "eyJyb290ZnMiOnsidHlwZSI6ImxheWVycyJ9fQ==";
    let rows = [
        (good, 0, ""),
        ("eyJyb290ZnMiOnsidHlwZSI6\\nImxheWVycyJ9fQ==", 0, ""),
        ("eyJyb290ZnMiOnsidHlwZSI6ImxheWVyczJ9fQ==", 1, "E_DIGEST_MISMATCH"),
        ("eyJyb290ZnMiOnsidHlwZSI6ImxheWVycyJ9", 1, "E_SIZE_MISMATCH"),
        ("", 1, "E_SIZE_MISMATCH"),
        ("e30", 3, "E_JSON_SHAPE"),
        ("{}", 3, "E_JSON_SHAPE"),
    ];
    for (data, code, id) in rows {
        let config_descriptor = Descriptor::new(OCI_CONFIG, config);
        let text = manifest(OCI_MANIFEST, &config_descriptor, &[], "");
        let more = format!(",\"data\":\"{data}\"");
        let text = text.replace(&config_descriptor.to_string(), &with(&config_descriptor, &more));
        let top = Descriptor::new(OCI_MANIFEST, &text).named(NAME);
        let tar = layout(vec![blob(config), blob(&text)], &[top]);
        let path = room.write("in.tar", tar.bytes());
        let run = ocitar(["verify", arg(&path)]);
        assert_eq!(run.code, code, "{data}: {}", run.err);
        assert!(run.err.contains(id), "{data}: {}", run.err);
        // A rename does not read it.
        let (out, rule) = (room.path("out.tar"), "example.com/new:1");
        ocitar(["retag", "-f", arg(&path), arg(&out), rule]).ok();
    }
    let image = Image::plain("x");
    let top = image.descriptor().named(NAME);
    let tar = layout(image.blobs(), std::slice::from_ref(&top));
    let index = String::from_utf8(tar.get("index.json").to_vec()).unwrap();
    let index = index.replace(&top.to_string(), &with(&top, ",\"data\":\"e30=\""));
    let path = room.write("top.tar", tar.with("index.json", index).bytes());
    let run = ocitar(["verify", arg(&path)]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("index.json (member") && run.err.contains("E_SIZE_MISMATCH"));
}

#[test]
fn layers_of_unknown_types_are_named() {
    let room = Room::new();
    let layer = Layer::new("x", Packing::Plain);
    let config = Image::new("linux/amd64", vec![layer.clone()]).config;
    let rows = [
        ("application/vnd.oci.image.layer.v1.tar", OCI_CONFIG, false),
        ("application/vnd.example.layer", OCI_CONFIG, true),
        ("", OCI_CONFIG, true),
        // What is no image has other layers.
        ("application/vnd.example.layer", "application/vnd.example.config", false),
    ];
    for (layer_type, config_type, warns) in rows {
        let layers = [Descriptor::new(layer_type, &layer.blob)];
        let text = manifest(OCI_MANIFEST, &Descriptor::new(config_type, &config), &layers, "");
        let top = Descriptor::new(OCI_MANIFEST, &text).named(NAME);
        let files = vec![blob(&config), blob(&text), blob(&layer.blob)];
        let path = room.write("in.tar", layout(files, &[top]).bytes());
        let run = ocitar(["verify", arg(&path)]).ok();
        let warned = run.err.lines().any(|line| {
            line.starts_with("warning: ")
                && line.contains("a layer")
                && line.contains("E_MEDIATYPE")
        });
        assert_eq!(warned, warns, "{layer_type} {config_type}: {}", run.err);
    }
}

#[test]
fn platforms_that_an_index_has_wrong_are_named() {
    let room = Room::new();
    let layer = || vec![Layer::new("x", Packing::Plain)];
    let image = Image::new("linux/amd64", layer());
    let unknown = Image::new("unknown/unknown", layer());
    let rows = [
        (&image, "linux/amd64", false),
        (&image, "linux/arm64", true),
        (&image, "windows/amd64", true),
        // Configurations rarely have the variant that an index has.
        (&image, "linux/amd64/v2", false),
        (&unknown, "linux/amd64", false),
    ];
    for (image, stated, warns) in rows {
        let index = index(&[image.descriptor().platform(stated)]);
        let mut files = image.blobs();
        files.push(blob(&index));
        let top = Descriptor::new(OCI_INDEX, &index).named(NAME);
        let path = room.write("in.tar", layout(files, &[top]).bytes());
        for verb in ["verify", "ls"] {
            let run = ocitar([verb, arg(&path)]).ok();
            let says = format!("expected {stated}, found linux/amd64 [N_PLATFORM]");
            assert_eq!(run.err.contains(&says), warns, "{stated}: {}", run.err);
            assert_eq!(run.err.is_empty(), !warns, "{stated}: {}", run.err);
        }
    }
}

/// What is in a layer is Go's to read: doubts are warnings, what it cannot read is an error.
#[test]
fn layers_are_tars_that_go_reads() {
    let room = Room::new();
    let file = |name: &str| Tar::new().file(name, "text");
    let kind_of = |name: &str, kind: u8, tar: Tar| {
        tar.each(|member| {
            if member.name == name {
                member.kind = kind
            }
        })
        .bytes()
    };
    let sparse = Tar::new().file("pax", "22 GNU.sparse.major=1\n").file("a", "");
    let inner = Tar::new().file("a", &file("inner").bytes()[..1024]);
    let cut = file("a").bytes()[..514].to_vec();
    // The layer, how verify ends without and with --strict-layers, and what it says.
    let rows: Vec<(&str, Vec<u8>, [i32; 2], &str)> = vec![
        ("a file", file("a").bytes(), [0, 0], ""),
        ("nothing", vec![], [0, 0], ""),
        ("an empty tar", vec![0; 1024], [0, 0], ""),
        ("whiteouts", file("a/.wh.b").file("a/.wh..wh..opq", "").bytes(), [0, 0], ""),
        ("a whiteout of nothing", file("a/.wh.").bytes(), [0, 1], "E_LAYER_WHITEOUT"),
        ("a whiteout of the folder itself", file("a/.wh..").bytes(), [0, 1], "E_LAYER_WHITEOUT"),
        ("a whiteout of the folder above", file("a/.wh...").bytes(), [0, 1], "E_LAYER_WHITEOUT"),
        ("a name that leads out", file("a/../../b").bytes(), [0, 1], "E_LAYER_PATH"),
        ("a name from the root", file("/a").bytes(), [0, 0], ""),
        ("a sparse file", kind_of("pax", b'x', sparse), [0, 1], "E_LAYER_SPARSE"),
        ("a link that states a size", kind_of("a", b'2', inner), [0, 1], "E_LAYER_ODD"),
        ("text", b"no tar ".repeat(100), [1, 1], "E_LAYER_TAR"),
        ("cut", cut, [1, 1], "E_LAYER_TAR"),
        ("compressed twice", pack(&file("a").bytes(), Packing::Gzip), [1, 1], "E_LAYER_TAR"),
    ];
    for (what, plain, codes, id) in rows {
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
            let layer =
                Layer { blob: pack(&plain, packing), plain: plain.clone(), packing, url: None };
            let image = Image::new("linux/amd64", vec![layer]);
            // A plain layer that begins as a compressed one is taken for one.
            if packing == Packing::Plain && what == "compressed twice" {
                continue;
            }
            let top = image.descriptor().named(NAME);
            let path = room.write("in.tar", layout(image.blobs(), &[top]).bytes());
            let runs = [&["verify"][..], &["verify", "--strict-layers"]]
                .map(|verb| ocitar(verb.iter().copied().chain([arg(&path)])));
            for (run, code) in runs.iter().zip(codes) {
                assert_eq!(run.code, code, "{what}, {packing:?}: {}", run.err);
                assert!(run.err.contains(id), "{what}, {packing:?}: {}", run.err);
                assert_eq!(run.err.contains("E_LAYER"), !id.is_empty(), "{what}: {}", run.err);
            }
            // It is carried all the same, and says nothing of what it does not read.
            let (out, rule) = (room.path("out.tar"), "example.com/new:1");
            let run = ocitar(["retag", "-f", arg(&path), arg(&out), rule]).ok();
            assert!(!run.err.contains("E_LAYER"), "{what}: {}", run.err);
        }
    }
}

/// What is no layer of an image to unpack is not read as one.
#[test]
fn other_blobs_are_no_tars() {
    let room = Room::new();
    let blob_of_text = Layer {
        plain: b"{\"critical\":{}}".to_vec(),
        blob: b"{\"critical\":{}}".to_vec(),
        packing: Packing::Plain,
        url: None,
    };
    let config = Image::new("linux/amd64", vec![blob_of_text.clone()]).config;
    for media_type in
        ["application/vnd.dev.cosign.simplesigning.v1+json", "application/vnd.in-toto+json"]
    {
        let layers = [Descriptor::new(media_type, &blob_of_text.blob)];
        let text = manifest(OCI_MANIFEST, &Descriptor::new(OCI_CONFIG, &config), &layers, "");
        let top = Descriptor::new(OCI_MANIFEST, &text).named(NAME);
        let files = vec![blob(&config), blob(&text), blob(&blob_of_text.blob)];
        let path = room.write("in.tar", layout(files, &[top]).bytes());
        let run = ocitar(["verify", "--strict-layers", arg(&path)]).ok();
        assert!(!run.err.contains("E_LAYER"), "{media_type}: {}", run.err);
    }
}
