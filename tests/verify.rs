//! What `verify` says of descriptors.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::image::{Descriptor, Image, Layer, OCI_CONFIG, OCI_MANIFEST, Packing, blob, manifest};
use support::oci::layout;
use support::run::{Room, arg, ocitar};

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
