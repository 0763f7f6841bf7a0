//! `--limit`: every limit can be set, and whoever hits one learns how.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ocitar::limits::Limit;
use support::image::{Descriptor, Image, OCI_CONFIG, OCI_MANIFEST, blob, manifest};
use support::oci::layout;
use support::run::{Room, arg, ocitar};

const NAME: &str = "example.com/team/app:1.0";

#[test]
fn every_limit_is_in_the_help() {
    let text = ocitar(["--help"]).ok().text();
    for limit in Limit::ALL {
        let name = format!("  {limit} ");
        assert!(text.lines().any(|line| line.starts_with(&name)), "{limit} in {text}");
    }
    assert!(ocitar(["verify", "-h"]).ok().text().contains("--limit <NAME=VALUE>"));
}

#[test]
fn a_limit_that_is_hit_says_so() {
    let room = Room::new();
    let image = Image::app("x");
    let tar = layout(image.blobs(), &[image.descriptor().named(NAME)]);
    let path = room.write("in.tar", tar.bytes());
    let path = arg(&path);
    let rows = [
        ("members=2", "ls", "E_LIMIT_ENTRIES"),
        ("member-name=9", "ls", "E_LIMIT_TARMETA"),
        ("member-names=99", "ls", "E_LIMIT_TARMETA"),
        ("document=100", "ls", "E_LIMIT_JSON"),
        ("documents=600", "ls", "E_LIMIT_JSON"),
        ("control-file=100", "ls", "E_LIMIT_JSON"),
        ("json-depth=2", "ls", "E_LIMIT_JSON"),
        ("json-values=5", "ls", "E_LIMIT_JSON"),
        ("descriptors=2", "ls", "E_LIMIT_GRAPH"),
        ("layers=1", "ls", "E_LIMIT_LAYERS"),
        ("unpacked=1K", "verify", "E_LIMIT_UNPACKED"),
        ("unpacked-total=4K", "verify", "E_LIMIT_UNPACKED"),
    ];
    for (setting, verb, id) in rows {
        let (name, _) = setting.split_once('=').unwrap();
        for args in [["--limit", setting, verb, path], [verb, "--limit", setting, path]] {
            let run = ocitar(args);
            assert_eq!(run.code, 4, "{setting}: {}", run.err);
            assert!(run.err.contains(&format!("(limit {name})")), "{setting}: {}", run.err);
            assert!(run.err.contains(&format!("[{id}]")), "{setting}: {}", run.err);
            let hint = format!("  hint: --limit {name}=VALUE raises the limit");
            assert!(run.err.lines().any(|line| line == hint), "{setting}: {}", run.err);
        }
    }
    let run = ocitar(["ls", "--json", "--limit", "layers=1", path]);
    let error = &run.json()["archives"][0]["error"];
    assert_eq!(error["limit"], "layers");
    assert_eq!(error["hint"], "--limit layers=VALUE raises the limit");
}

#[test]
fn both_sides_of_the_verb_count_and_the_last_wins() {
    let room = Room::new();
    let image = Image::app("x");
    let tar = layout(image.blobs(), &[image.descriptor().named(NAME)]);
    let path = room.write("in.tar", tar.bytes());
    let path = arg(&path);
    let hit = |args: &[&str]| ocitar(args).id().to_owned();
    let before = ["--limit", "members=2", "ls", "--limit", "layers=9", path];
    assert_eq!(hit(&before), "E_LIMIT_ENTRIES");
    let behind = ["--limit", "layers=9", "ls", "--limit", "members=2", path];
    assert_eq!(hit(&behind), "E_LIMIT_ENTRIES");
    ocitar(["--limit", "members=2", "ls", "--limit", "members=1K", path]).ok();
    ocitar(["ls", "--limit", "members=2", "--limit", "members=1K", path]).ok();
    for wrong in ["member=2", "members", "members=", "members=-1", "members=1X", "json-depth=9K"] {
        let run = ocitar(["ls", "--limit", wrong, path]);
        assert_eq!(run.code, 2, "{wrong}: {}", run.err);
    }
}

/// containerd and podman load manifests of 9 MiB; podman and skopeo refuse
/// configurations of more than 4 MiB.
#[test]
fn large_documents_are_read() {
    let room = Room::new();
    let image = Image::plain("x");
    let long = format!(",\"annotations\":{{\"long\":\"{}\"}}", "a".repeat(9 << 20));
    let layers: Vec<Descriptor> = image
        .layers
        .iter()
        .map(|layer| Descriptor::new("application/vnd.oci.image.layer.v1.tar", &layer.blob))
        .collect();
    let text = manifest(OCI_MANIFEST, &Descriptor::new(OCI_CONFIG, &image.config), &layers, &long);
    let mut files = image.blobs();
    files.push(blob(&text));
    let tar = layout(files, &[Descriptor::new(OCI_MANIFEST, &text).named(NAME)]);
    let path = room.write("manifest.tar", tar.bytes());
    let run = ocitar(["verify", arg(&path)]).ok();
    assert!(!run.err.contains("N_LARGE"), "{}", run.err);

    let config =
        image.config.replacen('{', &format!("{{\"author\":\"{}\",", "a".repeat(5 << 20)), 1);
    let text = manifest(OCI_MANIFEST, &Descriptor::new(OCI_CONFIG, &config), &layers, "");
    let mut files = image.blobs();
    files.extend([blob(&text), blob(&config)]);
    let tar = layout(files, &[Descriptor::new(OCI_MANIFEST, &text).named(NAME)]);
    let path = room.write("config.tar", tar.bytes());
    let run = ocitar(["verify", arg(&path)]).ok();
    assert!(run.err.contains("N_LARGE"), "{}", run.err);
}
