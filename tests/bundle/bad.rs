//! Graphs and platforms made to hurt: each verb refuses them, or handles them, and soon.

use std::path::Path;
use std::time::{Duration, Instant};

use super::seen::Seen;
use super::support::image::{Descriptor, Image, OCI_INDEX, OCI_MANIFEST, blob, blob_path, index};
use super::support::oci::{LAYOUT, blobs, layout};
use super::support::run::{Room, Run, arg, ocitar};
use super::support::tarball::Tar;
use super::{APP, OTHER, assert_refused, data, exported, words};

/// Far more than any of this takes, on a machine that does other things.
const CAP: Duration = Duration::from_secs(30);

/// Runs each of the four verbs on an input.
fn each_verb(room: &Room, input: &Path) -> Vec<(&'static str, Run)> {
    let rows = [
        ("export", "export IN OUT"),
        ("convert", "convert IN OUT --to hybrid"),
        ("merge", "merge -o OUT IN"),
        ("split", "split IN DIR --by image"),
    ];
    let (out, folder) = (room.path("out.tar"), room.path("parts"));
    let run = |line: &str| {
        let _ = std::fs::remove_file(&out);
        let _ = std::fs::remove_dir_all(&folder);
        let expand = |word| match word {
            "IN" => arg(input),
            "OUT" => arg(&out),
            "DIR" => arg(&folder),
            word => word,
        };
        let start = Instant::now();
        let run = ocitar(line.split(' ').map(expand));
        assert!(start.elapsed() < CAP, "{line}: {:?}", start.elapsed());
        run
    };
    rows.into_iter().map(|(verb, line)| (verb, run(line))).collect()
}

#[test]
fn graphs_that_are_refused() {
    let room = Room::new();
    let image = Image::app("bad");
    // Two indexes, each a child of the other: only where a digest lies.
    let lie = Descriptor::new(OCI_INDEX, "no such bytes");
    let one = index(&[image.child(), lie.clone()]);
    let mut two = Descriptor::new(OCI_INDEX, &one);
    two.size = one.len();
    let other = index(&[two.clone()]);
    let cycle = layout(
        [image.blobs(), vec![blob(&one), (blob_path(&lie.digest), other.into_bytes())]].concat(),
        &[two.named(APP)],
    );
    let own = Descriptor::new(OCI_INDEX, "another");
    let itself = index(std::slice::from_ref(&own));
    let itself = layout(vec![(blob_path(&own.digest), itself.into_bytes())], &[own.named(APP)]);
    let both = format!(
        "{{\"schemaVersion\":2,\"manifests\":[{}],{}",
        image.child(),
        &image.manifest[image.manifest.find("\"config\"").unwrap()..]
    );
    let as_type = |kind| {
        layout(
            [image.blobs(), vec![blob(&both)]].concat(),
            &[Descriptor::new(kind, &both).named(APP)],
        )
    };
    let swapped = layout(image.blobs(), &[Descriptor::new(OCI_INDEX, &image.manifest).named(APP)]);
    let size = Descriptor { size: 7, ..image.descriptor() };
    let rows: [(&str, Tar, i32, &str); 6] = [
        ("a cycle", cycle, 1, "E_DIGEST_MISMATCH"),
        ("its own child", itself, 1, "E_DIGEST_MISMATCH"),
        ("an index that is a manifest, as index", as_type(OCI_INDEX), 3, "E_DOCUMENT_KIND"),
        ("an index that is a manifest, as manifest", as_type(OCI_MANIFEST), 3, "E_DOCUMENT_KIND"),
        ("a manifest called index", swapped, 3, "E_DOCUMENT_KIND"),
        ("a size that is wrong", layout(image.blobs(), &[size.named(APP)]), 1, "E_SIZE_MISMATCH"),
    ];
    for (what, tar, code, id) in rows {
        let input = room.write("in.tar", tar.bytes());
        for (verb, run) in each_verb(&room, &input) {
            assert_eq!((run.code, run.id()), (code, id), "{what}, {verb}: {}", run.err);
        }
        assert_eq!(room.list(), ["in.tar"], "{what}");
    }
}

/// Twelve levels of sixteen indexes, each with all sixteen of the next as children: 2.8 × 10^14 paths.
#[test]
fn more_paths_than_there_is_time() {
    let room = Room::new();
    let images = [Image::app("wide"), Image::new("linux/arm64", Image::app("wide").layers)];
    let mut files: Vec<_> = images.iter().flat_map(Image::blobs).collect();
    let mut children: Vec<Descriptor> = images.iter().map(Image::child).collect();
    for level in 0..12 {
        let texts: Vec<String> = (0..16)
            .map(|n| index(&children).replacen('{', &format!("{{\"n\":\"{level}-{n}\","), 1))
            .collect();
        files.extend(texts.iter().map(blob));
        children = texts.iter().map(|text| Descriptor::new(OCI_INDEX, text)).collect();
    }
    let tops: Vec<Descriptor> = children
        .iter()
        .take(3)
        .enumerate()
        .map(|(n, top)| top.clone().named(&format!("example.com/wide:{n}")))
        .collect();
    let input = room.write("in.tar", layout(files, &tops).bytes());
    for (verb, run) in each_verb(&room, &input) {
        assert!(matches!(run.code, 0 | 4), "{verb}: {}", run.err);
    }
    let start = Instant::now();
    let run = super::run(&room, "export", &input, &["--platform", "arm64"]);
    assert!(start.elapsed() < CAP);
    if run.code == 0 {
        let seen = Seen::at(&room.path("out.tar"));
        assert_eq!(
            seen.files.keys().filter(|name| name.starts_with("blobs/sha256/")).count() - 1,
            11 * 16 + 3 + 4
        );
        assert!(seen.blob(&images[0].manifest_digest()).is_none());
    } else {
        assert_eq!((run.code, run.id()), (4, "E_LIMIT_GRAPH"), "{}", run.err);
    }
}

#[test]
fn texts_that_are_no_platform() {
    let room = Room::new();
    let input = data("buildx-oci-three");
    for text in [
        "",
        "/",
        "linux/",
        "/amd64",
        "*",
        "linux/*",
        "linux",
        "any",
        "linux/amd64/v1/x",
        "linux /amd64",
        "a//b",
        "linux(/amd64",
        "\u{0}",
        "lin\nux/amd64",
        "é/ü",
    ] {
        if text.contains('\0') {
            continue;
        }
        for option in ["--platform", "--default-platform"] {
            let option = format!("{option}={text}");
            let verbs: [&[&str]; 2] = [&["export"], &["convert", "--to", "hybrid"]];
            for verb in verbs {
                let run = super::run(&room, verb[0], &input, &[&verb[1..], &[&option]].concat());
                assert_eq!((run.code, run.id()), (2, "E_USAGE"), "{verb:?} {option}: {}", run.err);
            }
        }
        let run = ocitar([
            "split",
            arg(&input),
            arg(&room.path("x")),
            "--by",
            "image",
            "--default-platform",
            text,
        ]);
        assert_eq!(run.code, 2, "{text}: {}", run.err);
        let run =
            ocitar(["merge", "-o", arg(&room.path("x")), arg(&input), "--default-platform", text]);
        assert_eq!(run.code, 2, "{text}: {}", run.err);
    }
    assert_eq!(room.list(), Vec::<String>::new());
}

/// Where a descriptor says nothing about the platform the configuration does.
#[test]
fn platforms_that_say_nothing() {
    let room = Room::new();
    let images = [Image::app("empty"), Image::new("linux/arm64", Image::app("empty-arm").layers)];
    for object in [
        "{}",
        "null",
        "{\"os\":\"\",\"architecture\":\"\"}",
        "{\"os\":\"linux\"}",
        "{\"architecture\":\"\",\"os\":\"linux\",\"variant\":\"\"}",
    ] {
        let bare = |image: &Image| {
            image
                .descriptor()
                .to_string()
                .replace("\"size\"", &format!("\"platform\":{object},\"size\""))
        };
        let text = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{OCI_INDEX}\",\"manifests\":[{},{}]}}",
            bare(&images[0]),
            bare(&images[1])
        );
        let files = images.iter().flat_map(Image::blobs).chain([blob(&text)]).collect();
        let input = room.write(
            "in.tar",
            layout(files, &[Descriptor::new(OCI_INDEX, &text).named(APP)]).bytes(),
        );
        for (args, want) in [("", 2), ("--platform arm64", 1), ("--all-platforms", 2)] {
            let seen = exported(&room, "export", &input, &words(args));
            assert_eq!(seen.platforms(APP).len(), want, "{object} {args}");
            seen.assert_sound();
        }
        let seen = exported(&room, "convert", &input, &words("--to docker --platform arm64"));
        assert_eq!(seen.ids(), [images[1].config_digest()], "{object}");
        for (verb, run) in each_verb(&room, &input) {
            assert_eq!(run.code, 0, "{object} {verb}: {}", run.err);
        }
        let run = ocitar([
            "split",
            arg(&input),
            arg(&room.path("by-platform")),
            "--by",
            "platform",
            "--force",
        ])
        .ok();
        assert_eq!(run.err.lines().filter(|line| line.contains("linux")).count(), 2, "{}", run.err);
    }
}

/// What is called an image and holds none.
#[test]
fn indexes_of_nothing() {
    let room = Room::new();
    let image = Image::app("some");
    let empty = index(&[]);
    let outer = index(&[Descriptor::new(OCI_INDEX, &empty)]);
    for text in [&empty, &outer] {
        let top = Descriptor::new(OCI_INDEX, text).named(APP);
        let input = room.write(
            "in.tar",
            layout(vec![blob(&empty), blob(&outer)], std::slice::from_ref(&top)).bytes(),
        );
        for (verb, run) in each_verb(&room, &input) {
            assert_eq!((run.code, run.id()), (1, "E_NO_MATCH"), "{verb}: {}", run.err);
        }
        // Beside an image it goes, and that is said.
        let tops = [top, image.descriptor().named("example.com/some:1")];
        let files = [image.blobs(), vec![blob(&empty), blob(&outer)]].concat();
        let input = room.write("in.tar", layout(files, &tops).bytes());
        let run = super::run(&room, "export", &input, &["--json"]).ok();
        assert_eq!(run.json()["dropped"], serde_json::json!([APP]));
        Seen::at(&room.path("out.tar")).assert_sound();
    }
}

/// An artifact of which a blob is gone is as incomplete as an image.
#[test]
fn artifacts_that_are_incomplete() {
    let room = Room::new();
    let seen = Seen::at(&data("oras-artifact"));
    let manifest = seen.doc(&seen.roots()[0]).unwrap();
    let layer = blob_path(manifest["layers"][0]["digest"].as_str().unwrap());
    let mut tar = Tar::new();
    for (name, body) in
        seen.files.iter().filter(|(name, _)| **name != layer && !name.ends_with('/'))
    {
        tar = tar.file(name, body);
    }
    let image = Image::app("whole");
    let mut index = String::from_utf8(seen.files["index.json"].clone()).unwrap();
    let at = index.rfind(']').unwrap();
    index.insert_str(at, &format!(",{}", image.descriptor().named(APP)));
    tar = tar.with("index.json", index);
    for (path, body) in image.blobs() {
        tar = tar.file(&path, body);
    }
    let input = room.write("in.tar", tar.bytes());
    for args in ["", "--all-platforms"] {
        let run = super::run(&room, "export", &input, &words(args));
        assert_refused(&run, 1, "E_PLATFORM_MISSING");
    }
    exported(&room, "export", &input, &[APP]).assert_sound();
}

/// What stands behind the end, or inside a descriptor, may be more than one archive: it is not passed over in silence.
#[test]
fn what_would_be_lost() {
    let room = Room::new();
    let (a, b) = (Image::app("a"), Image::app("b"));
    let one = |image: &Image, name| layout(image.blobs(), &[image.descriptor().named(name)]);
    // `cat a.tar b.tar`, whose second half nobody reads.
    let joined = [one(&a, APP).bytes(), one(&b, OTHER).bytes()].concat();
    let input = room.write("joined.tar", joined);
    for (verb, run) in each_verb(&room, &input) {
        assert!(run.code == 1 && run.err.contains("[E_TAR_TRAILING]"), "{verb}: {}", run.err);
    }
    let data = |text: &str| {
        let top = a.descriptor().named(APP).to_string();
        let top = format!("{},\"data\":\"{text}\"}}", top.strip_suffix('}').unwrap());
        let index = format!("{{\"schemaVersion\":2,\"manifests\":[{top}]}}");
        blobs(a.blobs()).file("index.json", index).file("oci-layout", LAYOUT).bytes()
    };
    let input = room.write("data.tar", data("e30="));
    for (verb, run) in each_verb(&room, &input) {
        assert!(run.code == 1 && run.err.contains("[E_SIZE_MISMATCH]"), "{verb}: {}", run.err);
    }
}
