//! Platforms that are nearly the same, and manifests that are listed for several.

use super::seen::Seen;
use super::support::image::{Descriptor, Image, OCI_INDEX, blob, index};
use super::support::oci::layout;
use super::support::run::{Room, arg, ocitar};
use super::{APP, Multi, assert_refused, exported, parts, run, words};

const LINUX: &str = "linux/amd64";
const OLD: &str = "windows(10.0.17763.5)/amd64";
const SERVER: &str = "windows(10.0.20348.5)/amd64";
const NEW: &str = "windows(10.0.26100.5)/amd64";

/// Newer Windows runs what older ones were built for, so that asking for the newest is asking for all of these; yet there
/// is room for one in docker's format, and a part holds one.
#[test]
fn versions_of_windows() {
    let room = Room::new();
    let all = [LINUX, OLD, SERVER, NEW];
    let multi = Multi::new("win", &all);
    let input = room.write("in.tar", multi.archive(APP).bytes());
    let id = |platform: &str| {
        let at = all.iter().position(|one| *one == platform).unwrap();
        multi.images[at].config_digest()
    };
    for platform in [OLD, SERVER, NEW] {
        for more in ["--to docker", "--index flatten --to hybrid"] {
            let args = [&["--platform", platform][..], &words(more)].concat();
            let seen = exported(&room, "export", &input, &args);
            assert_eq!(seen.ids(), [id(platform)], "{args:?}");
        }
    }
    ocitar(
        [&["convert", arg(&input), arg(&room.path("f.tar"))][..], &words("--to docker --fan-out")]
            .concat(),
    )
    .ok();
    for (file, platform) in [
        ("f-linux-amd64.tar", LINUX),
        ("f-windows-10.0.17763.5-amd64.tar", OLD),
        ("f-windows-10.0.20348.5-amd64.tar", SERVER),
        ("f-windows-10.0.26100.5-amd64.tar", NEW),
    ] {
        assert_eq!(Seen::at(&room.path(file)).ids(), [id(platform)], "{file}");
    }
    let parts = parts(&room, "parts", &input, &["--by", "platform", "--to", "hybrid"]);
    let ids: Vec<Vec<String>> = parts.iter().map(|part| Seen::at(part).ids()).collect();
    assert_eq!(ids, all.map(|platform| vec![id(platform)]));
    // What there is to choose from is said so that it can be.
    let refused = run(&room, "convert", &input, &words("--to docker"));
    assert_refused(&refused, 1, "E_PLATFORM_CHOICE");
    let listed = ocitar(["ls", arg(&input)]).ok().text();
    for platform in all {
        assert!(refused.err.contains(platform) && listed.contains(platform), "{}", refused.err);
    }
}

/// One manifest that an index lists for two platforms is both of them.
#[test]
fn one_manifest_for_two_platforms() {
    let room = Room::new();
    let image = Image::app("both");
    let children = [LINUX, "linux/arm64"].map(|platform| image.descriptor().platform(platform));
    let text = index(&children);
    let top = Descriptor::new(OCI_INDEX, &text).named(APP);
    let files = [image.blobs(), vec![blob(&text)]].concat();
    let input = room.write("in.tar", layout(files, &[top]).bytes());
    assert!(ocitar(["ls", arg(&input)]).ok().text().contains("linux/amd64,linux/arm64"));
    for platform in [LINUX, "linux/arm64"] {
        let seen = exported(&room, "export", &input, &["--platform", platform]);
        seen.assert_sound();
        assert_eq!(seen.platforms(APP), [platform]);
    }
    let parts = parts(&room, "parts", &input, &["--by", "platform"]);
    let platforms: Vec<Vec<String>> =
        parts.iter().map(|part| Seen::at(part).platforms(APP)).collect();
    assert_eq!(platforms, [[LINUX], ["linux/arm64"]]);
}

/// What goes is said, and why.
#[test]
fn what_goes_is_said() {
    let room = Room::new();
    let input = super::data("ctr17-sparse-three");
    let said = run(&room, "export", &input, &[]).ok();
    let told = "without linux/arm64 (absent), linux/arm/v7 (absent), 3 attestations";
    assert!(said.err.contains(told), "{}", said.err);
    let said = run(&room, "export", &input, &["--index", "keep"]).ok();
    assert!(said.err.contains("promised only: linux/arm64 (absent)"), "{}", said.err);
    let three = super::data("buildx-oci-three");
    let quiet = run(&room, "export", &three, &["--platform", "arm64"]).ok();
    assert!(!quiet.err.contains("without"), "nobody is told what they asked for: {}", quiet.err);
    let json = run(&room, "export", &three, &["--platform", "arm64", "--json"]).ok().json();
    let gone: Vec<(&str, &str, &str)> = json["images"][0]["gone"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gone| ["platform", "kind", "why"].map(|key| gone[key].as_str().unwrap()).into())
        .collect();
    let attestation = ("unknown/unknown", "attestation", "not asked for");
    assert_eq!(
        gone,
        [
            ("linux/amd64", "image", "not asked for"),
            ("linux/arm/v7", "image", "not asked for"),
            attestation,
            attestation
        ]
    );
}
