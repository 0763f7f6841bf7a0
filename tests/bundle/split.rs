//! One archive into several, and back.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::seen::Seen;
use super::support::image::{Image, hex};
use super::support::oci::{hybrid, layout};
use super::support::run::{Room, arg, ocitar};
use super::{APP, Multi, OTHER, assert_verified, data, exported, merged, parts, words};

/// The archives to split, and into how many images and platforms.
const ROWS: [(&str, usize, usize); 12] = [
    ("docker20-three-images", 3, 1),
    ("docker20-links", 2, 1),
    ("docker20-by-id", 1, 1),
    ("docker26-two-images", 2, 1),
    ("podman5-two-images", 2, 1),
    ("buildx-oci-three", 1, 3),
    ("ctr17-sparse-three", 1, 1),
    ("ctr17-two-names", 1, 1),
    ("docker26c8d-multi-attested", 1, 2),
    ("oras-attached", 1, 1),
    ("oras-artifact", 1, 1),
    ("skopeo-oci-tag-only", 1, 1),
];

/// Every part is an archive by itself, and `parts.json` says what is in it.
#[track_caller]
fn check(parts: &[PathBuf], is_true: bool) {
    let folder = parts[0].parent().unwrap();
    let list: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("parts.json")).unwrap()).unwrap();
    let list = list["parts"].as_array().unwrap();
    assert_eq!(list.len(), parts.len());
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut want: Vec<String> =
        parts.iter().map(|part| part.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert!(want.is_sorted(), "{want:?}");
    want.push("parts.json".into());
    assert_eq!(files, want);
    for (part, said) in parts.iter().zip(list) {
        let seen = Seen::at(part);
        seen.assert_canonical(0);
        if is_true {
            seen.assert_sound();
        }
        assert_eq!(said["bytes"], seen.bytes().len());
        let listed =
            ocitar(["ls", "--json", arg(part)]).ok().json()["archives"][0]["images"].clone();
        let names = |images: &Value, key: &str| -> Vec<(Vec<String>, String)> {
            let image = |image: &Value| {
                let names = image["names"].as_array().unwrap().iter();
                let mut names: Vec<String> =
                    names.map(|name| name.as_str().unwrap().to_owned()).collect();
                names.sort();
                // Where the docker view is all there is, the configuration is the image.
                let digest = image[key].as_str().or(image["shown"].as_str());
                (names, digest.unwrap().to_owned())
            };
            let mut all: Vec<_> = images.as_array().unwrap().iter().map(image).collect();
            all.sort();
            all
        };
        assert_eq!(names(&said["images"], "after"), names(&listed, "digest"), "{}", part.display());
        assert_verified(part, is_true);
    }
}

#[test]
fn by_image_and_back() {
    let room = Room::new();
    for (name, images, _) in ROWS {
        let parts = parts(&room, "parts", &data(name), &["--by", "image"]);
        assert_eq!(parts.len(), images, "{name}");
        check(&parts, !name.contains("sparse"));
        assert!(merged(&room, &parts, &[]) == merged(&room, &[data(name)], &[]), "{name}");
    }
}

#[test]
fn by_platform_and_back() {
    let room = Room::new();
    for (name, _, platforms) in ROWS {
        let made = parts(&room, "parts", &data(name), &["--by", "platform"]);
        assert_eq!(made.len(), platforms, "{name}");
        check(&made, true);
        let kept = parts(&room, "kept", &data(name), &["--by", "platform", "--index", "keep"]);
        assert_eq!(kept.len(), platforms, "{name}");
        check(&kept, platforms == 1 && !name.contains("sparse"));
        assert!(merged(&room, &kept, &[]) == merged(&room, &[data(name)], &[]), "{name}");
    }
}

/// Images that have different platforms: each part has those that have its own.
#[test]
fn platforms_that_not_all_have() {
    let room = Room::new();
    let first = Multi::new("one", &["linux/amd64", "linux/arm64"]);
    let second = Multi::new("two", &["linux/s390x", "linux/arm64"]);
    let third = Image::app("three");
    let files = [first.blobs(), second.blobs(), third.blobs()].concat();
    // Of the second image one platform is promised and absent.
    let gone = super::support::image::blob_path(&second.images[0].manifest_digest());
    let third_name = "example.com/third:1";
    let tops = [
        first.descriptor().named(APP),
        second.descriptor().named(OTHER),
        third.descriptor().named(third_name),
    ];
    let input = room.write("in.tar", layout(files, &tops).without(&[&gone]).bytes());
    let parts = parts(&room, "parts", &input, &["--by", "platform"]);
    let names: Vec<&str> =
        parts.iter().map(|part| part.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["001-linux-amd64.tar", "002-linux-arm64.tar"]);
    check(&parts, true);
    assert_eq!(Seen::at(&parts[0]).oci_names(), [APP, third_name]);
    assert_eq!(Seen::at(&parts[1]).oci_names(), [APP, OTHER]);
}

/// Images of about 4, 8, … KiB that share a layer.
fn sizes(room: &Room) -> PathBuf {
    let shared = Image::app("sizes").layers[0].clone();
    let mut tops = Vec::new();
    let mut files = Vec::new();
    for n in 1..=7_usize {
        let mut layers = vec![shared.clone()];
        layers.extend((0..2 * n).map(|i| Image::app(&format!("size-{n}-{i}")).layers[0].clone()));
        let image = Image::new("linux/amd64", layers);
        tops.push(image.descriptor().named(&format!("example.com/size:{n}")));
        files.extend(image.blobs());
    }
    room.write("sizes.tar", layout(files, &tops).bytes())
}

#[test]
fn by_size_and_back() {
    let room = Room::new();
    let input = sizes(&room);
    let whole = merged(&room, std::slice::from_ref(&input), &[]);
    let alone = parts(&room, "alone", &input, &["--by", "image"]);
    let largest = alone.iter().map(|part| part.metadata().unwrap().len()).max().unwrap();
    let mut counts = Vec::new();
    for limit in [
        largest,
        largest + 511,
        largest + 512,
        2 * largest,
        3 * largest,
        whole.len() as u64 - 1,
        whole.len() as u64,
        1 << 30,
    ] {
        let made = parts(&room, "parts", &input, &["--by", &format!("size={limit}")]);
        check(&made, true);
        for part in &made {
            assert!(part.metadata().unwrap().len() <= limit, "{limit}");
        }
        assert!(merged(&room, &made, &[]) == whole, "{limit}");
        counts.push(made.len());
    }
    assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
    assert_eq!(counts[5..], [2, 1, 1], "{counts:?}");
    // No part could have taken the first image of the next one.
    let limit = 2 * largest;
    let made = parts(&room, "parts", &input, &["--by", &format!("size={limit}")]);
    let names: Vec<Vec<String>> = made.iter().map(|part| Seen::at(part).oci_names()).collect();
    for pair in names.windows(2) {
        let mut args: Vec<&str> = pair[0].iter().map(String::as_str).collect();
        args.push(&pair[1][0]);
        let larger = exported(&room, "export", &input, &args).bytes().len() as u64;
        assert!(larger > limit, "{names:?}");
    }
    let out = room.path("refused");
    let refused =
        ocitar(["split", arg(&input), arg(&out), "--by", &format!("size={}", largest - 1)]);
    assert_eq!((refused.code, refused.id()), (1, "E_PART_SIZE"));
    assert!(refused.err.contains("example.com/size:7 "), "{}", refused.err);
    assert!(!out.exists());
}

#[test]
fn one_image_by_its_digest() {
    let room = Room::new();
    let (a, b) = (Image::app("slice-a"), Image::app("slice-b"));
    let tops = [a.descriptor(), b.descriptor().named(OTHER)];
    let input = room.write("in.tar", layout([a.blobs(), b.blobs()].concat(), &tops).bytes());
    let seen = exported(&room, "export", &input, &[&hex(&a.manifest_digest())[..12]]);
    seen.assert_sound();
    assert_eq!(seen.roots(), [a.manifest_digest()]);
    // The same as the part, which is called by the digest.
    let parts = parts(&room, "parts", &input, &["--by", "image"]);
    let name = format!("002-{}.tar", a.manifest_digest().replace(':', "-"));
    assert_eq!(parts[1], room.path("parts").join(name));
    assert!(std::fs::read(&parts[1]).unwrap() == seen.bytes());
}

#[test]
fn names_and_compression_of_parts() {
    let room = Room::new();
    let input = data("docker26-two-tags").with_extension("tar.gz");
    let files = |parts: &[PathBuf]| -> Vec<String> {
        parts
            .iter()
            .map(|part| Path::new(part.file_name().unwrap()).display().to_string())
            .collect()
    };
    let rows = [
        ("", "001-app-1.0.tar.gz"),
        ("--compress none", "001-app-1.0.tar"),
        ("--compress zstd:1", "001-app-1.0.tar.zst"),
    ];
    for (args, want) in rows {
        let args = [&["--by", "image"][..], &words(args)].concat();
        let parts = parts(&room, "parts", &input, &args);
        assert_eq!(files(&parts), [want]);
        ocitar(["verify", arg(&parts[0])]).ok();
    }
    let run = ocitar([
        "split",
        arg(&input),
        arg(&room.path("dry")),
        "--by",
        "image",
        "--dry-run",
        "--json",
    ])
    .ok();
    assert_eq!(run.json()["parts"][0]["file"], "001-app-1.0.tar.gz");
    assert!(!room.path("dry").exists());
}

#[test]
fn ways_that_are_none() {
    let room = Room::new();
    for by in [
        "",
        "images",
        "size",
        "size=",
        "size=0",
        "size=-1",
        "size=x",
        "platform=linux/amd64",
        "size=99999999999999999999",
    ] {
        let refused =
            ocitar(["split", arg(&data("docker20-links")), arg(&room.path("x")), "--by", by]);
        assert_eq!((refused.code, refused.id()), (2, "E_USAGE"), "{by}: {}", refused.err);
    }
}

/// Both views of each part are those of the whole.
#[test]
fn parts_of_both_views() {
    let room = Room::new();
    let multi = Multi::new("both", &["linux/amd64", "linux/arm64"]);
    let other = Image::app("both-other");
    let tops = [multi.descriptor().named(APP), other.descriptor().named(OTHER)];
    let tar = hybrid(
        [multi.blobs(), other.blobs()].concat(),
        &tops,
        &[(&multi.images[1], &[APP]), (&other, &[OTHER])],
    );
    let input = room.write("in.tar", tar.bytes());
    let parts = parts(&room, "parts", &input, &["--by", "image"]);
    let ids: Vec<Vec<String>> = parts.iter().map(|part| Seen::at(part).ids()).collect();
    assert_eq!(ids, [[multi.images[1].config_digest()], [other.config_digest()]]);
    assert!(merged(&room, &parts, &[]) == merged(&room, &[input], &[]));
}
