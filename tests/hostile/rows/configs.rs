//! Configurations and documents that Go refuses, or reads in another way than others do.

use ocitar::error::Code;

use super::Want::{Accepted, Refused};
use super::{NAME, Row};
use crate::bytes::Bytes;
use crate::support::image::{Descriptor, blob};
use crate::support::image::{Image, OCI_CONFIG, OCI_MANIFEST, index, manifest};
use crate::support::oci::LAYOUT;

pub fn rows() -> Vec<Row> {
    let (case, shape, range) =
        (Refused(Code::JsonCaseKey), Refused(Code::JsonShape), Refused(Code::JsonRange));
    let mut rows = Vec::new();
    for (what, fields, want) in [
        ("a user", "\"config\":{\"User\":\"1000\"}", Accepted),
        ("two users", "\"config\":{\"User\":\"1000\",\"user\":\"0\"}", case),
        ("a user with a long s", "\"config\":{\"U\u{17f}er\":\"0\"}", case),
        (
            "two entrypoints",
            "\"config\":{\"Entrypoint\":[\"/a\"],\"entrypoint\":[\"/evil\"]}",
            case,
        ),
        ("two volumes", "\"config\":{\"Volumes\":{},\"volumes\":{\"/\":{}}}", case),
        ("two configs", "\"config\":{},\"Config\":{\"User\":\"0\"}", case),
        (
            "two commands of a step",
            "\"history\":[{\"created_by\":\"a\",\"Created_By\":\"b\"}]",
            case,
        ),
        ("labels in two cases", "\"config\":{\"Labels\":{\"a\":\"1\",\"A\":\"2\"}}", Accepted),
        ("keys nobody knows", "\"x\":1,\"X\":2", Accepted),
        ("an environment that is a text", "\"config\":{\"Env\":\"x\"}", shape),
        ("a config that is a list", "\"config\":[]", shape),
        ("a label that is a number", "\"config\":{\"Labels\":{\"a\":1}}", shape),
        ("a time that is none", "\"created\":\"yesterday\"", shape),
        ("half a retry", "\"config\":{\"Healthcheck\":{\"Retries\":0.5}}", range),
    ] {
        rows.push(Row::new("T47", what, with_config(fields), want));
    }
    for (threat, what, fields, want) in [
        ("T50", "an index of version \"2\"", "\"schemaVersion\":\"2\"", shape),
        ("T50", "an index of version 2.5", "\"schemaVersion\":2.5", range),
        ("T50", "an index of version 1e0", "\"schemaVersion\":1e0", range),
        ("T47", "an index whose type is a number", "\"mediaType\":1", shape),
        ("T47", "a note that is a number", "\"annotations\":{\"a\":1}", shape),
        ("T47", "a subject that is a number", "\"subject\":5", shape),
        ("T47", "an index of two types", "\"mediaType\":\"\",\"MEDIATYPE\":\"\"", case),
        ("T41", "an index with a config of null", "\"config\":null", Refused(Code::DocumentKind)),
        ("T41", "an index with layers of schema 1", "\"fsLayers\":[]", Refused(Code::DocumentKind)),
        (
            "T41",
            "an index that calls itself a manifest",
            "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\"",
            Refused(Code::DocumentKind),
        ),
    ] {
        rows.push(Row::new(threat, what, with_top(fields), want));
    }
    rows
}

/// A layout whose configuration has further fields.
fn with_config(fields: &str) -> Vec<u8> {
    let image = Image::app("configs");
    let config = image.config.replacen('{', "{\"author\":\"a\",", 1);
    // In place of what it has of the same kind.
    let config = config.replace("\"config\":{\"Cmd\":[\"/etc\"]},", "");
    let config = config.replace("\"created\":\"2024-01-02T03:04:05Z\",", "");
    let config = config.replacen('{', &format!("{{{fields},"), 1);
    let layers = image
        .layers
        .iter()
        .map(|layer| Descriptor::new("application/vnd.oci.image.layer.v1.tar+gzip", &layer.blob));
    let layers: Vec<Descriptor> = layers.collect();
    let text = manifest(OCI_MANIFEST, &Descriptor::new(OCI_CONFIG, &config), &layers, "");
    let mut blobs = vec![blob(&config), blob(&text)];
    blobs.extend(image.layers.iter().map(|layer| blob(&layer.blob)));
    let top = index(&[Descriptor::new(OCI_MANIFEST, &text).named(NAME)]);
    archive(&blobs, &top)
}

/// A layout whose index.json has further fields instead of its version.
fn with_top(fields: &str) -> Vec<u8> {
    let image = Image::app("configs");
    let top = index(&[image.descriptor().named(NAME)]);
    let manifests = top.split_once("\"manifests\"").unwrap().1;
    archive(&image.blobs(), &format!("{{{fields},\"manifests\"{manifests}"))
}

fn archive(blobs: &[(String, Vec<u8>)], top: &str) -> Vec<u8> {
    let bytes = blobs.iter().fold(Bytes::new(), |bytes, (path, body)| bytes.file(path, body));
    bytes.file("index.json", top).file("oci-layout", LAYOUT).end().0
}
