//! From the docker view to the OCI view and back.

use serde_json::Value;

use super::seen::{Seen, digest};
use super::support::docker;
use super::support::image::{
    Descriptor, Image, Layer, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Packing, blob, hex,
    index, item, manifest, sha256, strings,
};
use super::support::oci::{hybrid, layout};
use super::support::run::{Room, ocitar};
use super::support::tarball::Tar;
use super::{APP, Multi, OTHER, assert_refused, assert_verified, data, exported, run, words};

/// A docker archive of one image, its layers under these names.
fn docker_archive(image: &Image, names: &[&str]) -> Tar {
    let config = format!("{}.json", hex(&image.config_digest()));
    let mut tar = Tar::new().file(&config, &image.config);
    for (name, layer) in names.iter().zip(&image.layers) {
        tar = tar.file(name, &layer.blob);
    }
    let paths: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    tar.file("manifest.json", format!("[{}]", item(&config, &strings(&[APP]), &paths, "")))
}

const KINDS: [(Packing, &str); 3] = [
    (Packing::Plain, "application/vnd.oci.image.layer.v1.tar"),
    (Packing::Gzip, "application/vnd.oci.image.layer.v1.tar+gzip"),
    (Packing::Zstd, "application/vnd.oci.image.layer.v1.tar+zstd"),
];

#[test]
fn media_types_are_told_by_magic() {
    let room = Room::new();
    // Whatever the extension says.
    let names = ["a.tar.gz", "b.tar", "c.tar.gz"];
    let layers = KINDS.map(|(packing, _)| Layer::new("same", packing));
    let image = Image::new("linux/amd64", layers.to_vec());
    let input = room.write("in.tar", docker_archive(&image, &names).bytes());
    for to in ["oci", "hybrid"] {
        let seen = exported(&room, "convert", &input, &["--to", to]);
        seen.assert_sound();
        assert_verified(&room.path("out.tar"), true);
        let manifest = seen.doc(&seen.named(APP).unwrap()).unwrap();
        assert_eq!(seen.blob(digest(&manifest["config"])).unwrap(), image.config.as_bytes());
        let found: Vec<(&str, &str)> = manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| (layer["mediaType"].as_str().unwrap(), digest(layer)))
            .collect();
        let digests = layers.each_ref().map(Layer::digest);
        let want: Vec<(&str, &str)> =
            KINDS.iter().zip(&digests).map(|((_, kind), digest)| (*kind, &**digest)).collect();
        assert_eq!(found, want);
    }
}

#[test]
fn every_docker_form_becomes_oci_and_comes_back() {
    let room = Room::new();
    let mut done = 0;
    for made in docker::all().into_iter().filter(|made| made.format == "docker") {
        let input = room.write("in.tar", made.tar.bytes());
        let oci = exported(&room, "convert", &input, &["--to", "oci"]);
        oci.assert_sound();
        assert_verified(&room.path("out.tar"), true);
        let mut ids: Vec<String> =
            made.images.iter().map(|image| image.digest.clone().unwrap()).collect();
        ids.sort();
        let configs = |seen: &Seen| {
            let config = |root: &String| digest(&seen.doc(root).unwrap()["config"]).to_owned();
            let mut configs: Vec<String> = seen.roots().iter().map(config).collect();
            configs.sort();
            configs
        };
        assert_eq!(configs(&oci), ids, "{}", made.name);
        let mut names: Vec<String> =
            made.images.iter().flat_map(|image| image.names.clone()).collect();
        names.sort();
        assert_eq!(oci.oci_names(), names, "{}", made.name);
        let between = room.write("oci.tar", oci.bytes());
        let back = exported(&room, "convert", &between, &["--to", "docker"]);
        back.assert_sound();
        assert_eq!(back.ids(), ids, "{}", made.name);
        // The layers, in order, byte for byte.
        let layers = |seen: &Seen| -> Vec<Vec<Vec<u8>>> {
            let body = |path: &Value| seen.files[path.as_str().unwrap()].clone();
            let all = |item: &Value| item["Layers"].as_array().unwrap().iter().map(body).collect();
            let mut items = seen.items();
            items.sort_by_key(|item| sha256(&seen.files[item["Config"].as_str().unwrap()]));
            items.iter().map(all).collect()
        };
        let direct = exported(&room, "convert", &input, &["--to", "docker"]);
        assert!(layers(&direct) == layers(&back), "{}", made.name);
        done += 1;
    }
    assert!(done > 10, "{done}");
}

#[test]
fn what_no_manifest_can_be_made_for() {
    let room = Room::new();
    let names = ["a.tar", "b.tar"];
    let image = Image::plain("refused");
    let good = docker_archive(&image, &names);
    let text = String::from_utf8(good.get("manifest.json").to_vec()).unwrap();
    let config = format!("{}.json", hex(&image.config_digest()));
    let swapped =
        text.replace("a.tar", "x").replace("b.tar", "a.tar").replace("\"x\"", "\"b.tar\"");
    let cut = &Layer::new("cut", Packing::Gzip).blob;
    let cut_image = Image::new("linux/amd64", vec![Layer::new("cut", Packing::Gzip)]);
    let xz = [&[0xfd, b'7', b'z', b'X', b'Z', 0][..], &[0; 64]].concat();
    let rows: [(&str, Tar, &str, &str); 7] = [
        (
            "another layer",
            good.clone().with("a.tar", &image.layers[1].plain),
            "E_DIFFID_MISMATCH",
            "a.tar",
        ),
        (
            "layers in another order",
            good.clone().with("manifest.json", swapped),
            "E_DIFFID_MISMATCH",
            "b.tar",
        ),
        ("a layer is gone", good.clone().without(&["b.tar"]), "E_BLOB_MISSING", "b.tar"),
        (
            "the configuration is gone",
            good.clone().without(&[&config]),
            "E_BLOB_MISSING",
            "configuration",
        ),
        (
            "one layer too few",
            good.clone().with("manifest.json", text.replace(",\"b.tar\"", "")),
            "E_IMG_LAYERCOUNT",
            "app",
        ),
        (
            "a cut layer",
            docker_archive(&cut_image, &["a.tar.gz"]).with("a.tar.gz", &cut[..cut.len() - 9]),
            "E_DECOMP_CORRUPT",
            "a.tar.gz",
        ),
        ("bytes that are no xz", good.clone().with("a.tar", xz), "E_MEDIATYPE", "a.tar"),
    ];
    for (what, tar, id, place) in rows {
        let input = room.write("in.tar", tar.bytes());
        for to in ["oci", "hybrid", "docker"] {
            let refused = run(&room, "convert", &input, &["--to", to]);
            assert_eq!((refused.code, refused.id()), (1, id), "{what}: {}", refused.err);
            assert!(refused.err.contains(place), "{what}: {}", refused.err);
            assert!(!room.path("out.tar").exists());
        }
    }
}

/// A blob that lies about itself does not come into a manifest made from files that do not.
#[test]
fn a_file_that_was_read_goes_before_one_that_is_only_called_so() {
    let room = Room::new();
    let image = Image::plain("lie");
    let tar = docker_archive(&image, &["a.tar", "b.tar"]);
    let (path, mut body) = blob(&image.layers[0].plain);
    body[600] ^= 1;
    let input = room.write("in.tar", tar.file(&path, body).bytes());
    exported(&room, "convert", &input, &["--to", "oci"]).assert_sound();
}

#[test]
fn one_platform_and_several() {
    let room = Room::new();
    let multi = Multi::new("choice", &["linux/amd64", "linux/arm64", "linux/arm/v7"]);
    let input = room.write("in.tar", multi.archive(APP).bytes());
    let refused = run(&room, "convert", &input, &["--to", "docker"]);
    assert_eq!((refused.code, refused.id()), (1, "E_PLATFORM_CHOICE"));
    for platform in ["linux/amd64", "linux/arm64", "linux/arm/v7"] {
        assert!(refused.err.contains(platform), "{}", refused.err);
    }
    for (at, platform) in ["linux/amd64", "linux/arm64", "linux/arm/v7"].iter().enumerate() {
        let seen = exported(&room, "convert", &input, &["--to", "docker", "--platform", platform]);
        seen.assert_sound();
        assert_eq!(seen.ids(), [multi.images[at].config_digest()]);
        assert_eq!(seen.tags(), [APP]);
        assert_eq!(seen.tops().len(), 0);
    }
}

/// The platforms of `--fan-out`, with what has to be in the files.
#[test]
fn a_file_for_each_platform() {
    let room = Room::new();
    let multi = Multi::new("fan", &["linux/amd64", "linux/arm64", "linux/arm/v7"]);
    let other = Image::app("fan-other");
    let tops = [multi.descriptor().named(APP), other.descriptor().named(OTHER)];
    let bytes = layout([multi.blobs(), other.blobs()].concat(), &tops).bytes();
    let input = room.write("in.tar", bytes);
    let files = ["x-linux-amd64.tar", "x-linux-arm64.tar", "x-linux-arm-v7.tar"];
    let rows: [(&str, &[usize]); 3] = [
        ("", &[0, 1, 2]),
        ("--platform arm64", &[1]),
        ("--platform linux/arm/v7 --platform linux/amd64", &[0, 2]),
    ];
    for (args, want) in rows {
        for file in files {
            let _ = std::fs::remove_file(room.path(file));
        }
        let out = room.path("x.tar");
        let all = [
            &["convert", "in.tar", "x.tar", "--to", "docker", "--fan-out", "--json"][..],
            &words(args),
        ]
        .concat();
        let all: Vec<&str> = all
            .iter()
            .map(|&arg| match arg {
                "in.tar" => input.to_str().unwrap(),
                "x.tar" => out.to_str().unwrap(),
                other => other,
            })
            .collect();
        let run = ocitar(all);
        assert_eq!(run.code, 0, "{args}: {}", run.err);
        let written: Vec<usize> = (0..3).filter(|at| room.path(files[*at]).exists()).collect();
        assert_eq!(written, want, "{args}");
        assert_eq!(run.json()["outputs"].as_array().unwrap().len(), want.len());
        for at in want {
            let seen = Seen::at(&room.path(files[*at]));
            seen.assert_canonical(0);
            seen.assert_sound();
            let mut ids = vec![multi.images[*at].config_digest()];
            if *at == 0 {
                ids.push(other.config_digest());
            }
            ids.sort();
            assert_eq!(seen.ids(), ids);
        }
    }
    let refused = run(&room, "convert", &input, &words("--to docker --fan-out --platform s390x"));
    assert_eq!((refused.code, refused.id()), (1, "E_PLATFORM_MISSING"), "{}", refused.err);
}

#[test]
fn the_two_views_agree() {
    let room = Room::new();
    let multi = Multi::new("views", &["linux/s390x", "linux/arm64", "linux/amd64"]);
    let other = Multi::new("views-2", &["linux/s390x", "linux/arm64"]);
    let tops = [
        multi.descriptor().named(APP),
        multi.descriptor().named("docker.io/library/x:1"),
        other.descriptor().named(OTHER),
    ];
    let bytes = layout([multi.blobs(), other.blobs()].concat(), &tops).bytes();
    let input = room.write("in.tar", bytes);
    // Which image of each the docker view shows.
    let rows = [
        ("", 2, 0),
        ("--default-platform linux/arm64", 1, 1),
        ("--default-platform s390x", 0, 0),
        ("--platform linux/arm64 --platform linux/s390x", 1, 1),
        ("--platform linux/s390x --platform linux/arm64", 0, 0),
        ("--platform linux/s390x --platform linux/arm64 --default-platform arm64", 1, 1),
    ];
    for (args, first, second) in rows {
        let args = [&["--to", "hybrid"][..], &words(args)].concat();
        let seen = exported(&room, "convert", &input, &args);
        seen.assert_sound();
        assert_eq!(seen.tags(), seen.oci_names(), "{args:?}");
        let mut ids = [multi.images[first].config_digest(), other.images[second].config_digest()];
        ids.sort();
        assert_eq!(seen.ids(), ids, "{args:?}");
        assert_verified(&room.path("out.tar"), true);
    }
    for (args, code, id) in [
        ("--to hybrid --default-platform windows/amd64", 1, "E_PLATFORM_MISSING"),
        ("--to hybrid --default-platform a/b/c/d", 2, "E_USAGE"),
        ("--to oci --default-platform linux/arm64", 2, "E_USAGE"),
    ] {
        super::assert_refused(&run(&room, "convert", &input, &words(args)), code, id);
    }
}

/// What the docker view showed before it shows again, whatever comes first.
#[test]
fn the_docker_view_stays() {
    let room = Room::new();
    let multi = Multi::new("stays", &["linux/amd64", "linux/arm64", "linux/s390x"]);
    let tar =
        hybrid(multi.blobs(), &[multi.descriptor().named(APP)], &[(&multi.images[1], &[APP])]);
    let input = room.write("in.tar", tar.bytes());
    for (args, want) in [
        ("", 1),
        ("--platform s390x", 2),
        ("--platform amd64 --platform arm64", 0),
        ("--default-platform s390x", 2),
    ] {
        let seen = exported(&room, "export", &input, &words(args));
        assert_eq!(seen.ids(), [multi.images[want].config_digest()], "{args}");
    }
}

/// An index with one platform twice, as the same image in gzip and zstd: the first one counts.
#[test]
fn one_platform_twice() {
    let room = Room::new();
    let gzip = Image::new("linux/amd64", vec![Layer::new("twice", Packing::Gzip)]);
    let zstd = Image::new("linux/amd64", vec![Layer::new("twice", Packing::Zstd)]);
    assert_eq!(gzip.config, zstd.config);
    let text = index(&[gzip.child(), zstd.child()]);
    let files = [gzip.blobs(), zstd.blobs(), vec![blob(&text)]].concat();
    let input = room
        .write("in.tar", layout(files, &[Descriptor::new(OCI_INDEX, &text).named(APP)]).bytes());
    let seen = exported(&room, "convert", &input, &["--to", "docker"]);
    seen.assert_sound();
    let layer = seen.items()[0]["Layers"][0].as_str().unwrap().to_owned();
    assert_eq!(seen.files[&layer], gzip.layers[0].blob);
    let seen = exported(&room, "convert", &input, &["--to", "hybrid"]);
    assert_eq!(seen.platforms(APP), ["linux/amd64", "linux/amd64"]);
}

#[test]
fn what_docker_cannot_run_does_not_become_docker() {
    let room = Room::new();
    let artifact = data("oras-artifact");
    let refused = run(&room, "convert", &artifact, &["--to", "docker"]);
    assert_eq!((refused.code, refused.id()), (1, "E_NO_MATCH"), "{}", refused.err);
    let seen = exported(&room, "convert", &artifact, &["--to", "hybrid"]);
    seen.assert_sound();
    assert_eq!(seen.items().len(), 0);
    let old = room.write("v1.tar", docker::v1().tar.bytes());
    for to in ["oci", "docker"] {
        let refused = run(&room, "convert", &old, &["--to", to]);
        assert_eq!(refused.code, 1, "{}", refused.err);
        assert!(refused.err.contains("[N_DOCKER_V1]"), "{}", refused.err);
    }
}

/// Names under their SHA-512 do not fit a ustar header.
#[test]
fn long_names() {
    let room = Room::new();
    for made in
        super::support::oci::all().into_iter().filter(|made| made.name.starts_with("sha512"))
    {
        let input = room.write("in.tar", made.tar.bytes());
        for to in ["oci", "hybrid"] {
            let run = run(&room, "convert", &input, &["--to", to]);
            assert_eq!(run.code, 0, "{} {to}: {}", made.name, run.err);
            assert_verified(&room.path("out.tar"), true);
            let bytes = std::fs::read(room.path("out.tar")).unwrap();
            let names = super::support::tarball::names(&bytes);
            let blobs =
                names.iter().filter(|name| name.starts_with("blobs/sha512/") && name.len() > 100);
            assert_eq!(blobs.count(), 4, "{} {to}: {names:?}", made.name);
        }
    }
}

/// A blob that is not of the size its descriptor says is not written, in whichever view it is wanted.
#[test]
fn sizes_that_are_wrong() {
    let room = Room::new();
    let image = Image::app("size");
    let blob = format!("\"size\":{}", image.layers[0].blob.len());
    let text = image.manifest.replace(&blob, "\"size\":7");
    assert_ne!(text, image.manifest);
    let image = Image { manifest: text, ..image };
    let tar = hybrid(image.blobs(), &[image.descriptor().named(APP)], &[(&image, &[APP])]);
    let input = room.write("in.tar", tar.bytes());
    for to in ["oci", "hybrid", "docker"] {
        let refused = run(&room, "convert", &input, &["--to", to]);
        super::assert_refused(&refused, 1, "E_SIZE_MISMATCH");
        assert!(!room.path("out.tar").exists());
    }
}

/// Names with a digest have no place in docker's format, and what has none is said.
#[test]
fn names_with_a_digest_and_docker() {
    let room = Room::new();
    let image = Image::app("pinned");
    let pinned = format!("example.com/team/app@{}", image.manifest_digest());
    for (names, left) in [(vec![APP, &*pinned], vec![APP]), (vec![&*pinned], vec![])] {
        let tops: Vec<Descriptor> =
            names.iter().map(|name| image.descriptor().named(name)).collect();
        let input = room.write("in.tar", layout(image.blobs(), &tops).bytes());
        let said = run(&room, "convert", &input, &["--to", "docker", "--json"]).ok().json();
        assert_eq!(said["dropped"][0], pinned);
        assert_eq!(said["images"][0]["names"].as_array().unwrap().len(), left.len());
        assert_eq!(Seen::at(&room.path("out.tar")).tags(), left);
        let said = run(&room, "convert", &input, &["--to", "docker"]).ok();
        assert_eq!(said.err.contains("warning: 1 image without a name"), left.is_empty());
    }
    // docker's own view may have one, of a manifest nobody knows.
    let wrong = format!("example.com/team/app@{}", image.config_digest());
    let plain = Image::plain("pinned");
    let layers = ["1", "2"].map(str::to_owned);
    let tar = Tar::new()
        .file("config.json", &plain.config)
        .file("1", &plain.layers[0].blob)
        .file("2", &plain.layers[1].blob)
        .file(
            "manifest.json",
            format!("[{}]", item("config.json", &strings(&[APP, &wrong]), &layers, "")),
        );
    let input = room.write("in.tar", tar.bytes());
    let seen = exported(&room, "convert", &input, &["--to", "oci"]);
    assert_verified(&room.path("out.tar"), true);
    assert!(!seen.oci_names().contains(&wrong));
}

/// Of a name that is no reference there is a docker view, and no descriptor; nothing goes in silence.
#[test]
fn names_that_are_no_references() {
    let room = Room::new();
    let image = Image::plain("x");
    let odd = format!("example.com/team/app:{}", "t".repeat(129));
    let tar = docker_archive(&image, &["a.tar", "b.tar"]);
    let items = String::from_utf8(tar.get("manifest.json").to_vec()).unwrap();
    let items = items.replace(APP, &format!("{APP}\",\"{odd}"));
    let input = room.write("in.tar", tar.with("manifest.json", items).bytes());
    for (to, stays) in [("oci", false), ("docker", true), ("hybrid", true)] {
        let run = run(&room, "convert", &input, &["--to", to, "--json"]).ok();
        let said: Value = serde_json::from_slice(&run.out).unwrap();
        let dropped = if stays { serde_json::json!([]) } else { serde_json::json!([odd]) };
        assert_eq!(said["dropped"], dropped, "{to}");
        let names = said["images"][0]["names"].as_array().unwrap();
        assert_eq!(names.contains(&odd.as_str().into()), stays, "{to}: {names:?}");
        assert!(names.contains(&APP.into()), "{to}: {names:?}");
        let listed = ocitar(["ls", "-q", super::arg(&room.path("out.tar"))]);
        let listed = listed.text();
        assert_eq!(listed.lines().any(|name| name == odd), stays, "{to}: {listed}");
    }
}

/// Of two manifests of one platform the first goes along, and that is said.
#[test]
fn a_second_manifest_of_a_platform_is_told() {
    let room = Room::new();
    let images = ["a", "b"].map(Image::app);
    let index = index(&images.each_ref().map(Image::child));
    let mut files: Vec<_> = images.iter().flat_map(Image::blobs).collect();
    files.push(blob(&index));
    let top = Descriptor::new(OCI_INDEX, &index).named(APP);
    let input = room.write("in.tar", layout(files, &[top]).bytes());
    for (verb, more) in [("convert", ["--to", "docker"]), ("export", ["--index", "flatten"])] {
        let run = run(&room, verb, &input, &more).ok();
        let says = "without linux/amd64 (another of the platform came first)";
        assert!(words(&run.err).join(" ").contains(says), "{}", run.err);
        let seen = Seen::at(&room.path("out.tar"));
        assert!(seen.blob(&images[0].config_digest()).is_some(), "{verb}");
        assert!(seen.blob(&images[1].config_digest()).is_none(), "{verb}");
    }
}

/// What only a key opens is no docker image, and its diff IDs cannot be checked.
#[test]
fn encrypted_layers() {
    let room = Room::new();
    let image = Image::app("secret");
    let cipher: Vec<u8> = image.layers[0].blob.iter().map(|byte| byte ^ 0x5a).collect();
    let types = ["+gzip+encrypted", "+gzip"].map(|end| format!("{OCI_LAYER}{end}"));
    let layers =
        [Descriptor::new(&types[0], &cipher), Descriptor::new(&types[1], &image.layers[1].blob)];
    let config = Descriptor::new(OCI_CONFIG, &image.config);
    let text = manifest(OCI_MANIFEST, &config, &layers, "");
    let files = vec![blob(&image.config), blob(&text), blob(&cipher), blob(&image.layers[1].blob)];
    let top = Descriptor::new(OCI_MANIFEST, &text).named(APP);
    let input = room.write("in.tar", layout(files, &[top]).bytes());
    let verified = ocitar(["verify", "-v", input.to_str().unwrap()]).ok();
    assert!(verified.err.contains("whose diff IDs only a key can check: 1"), "{}", verified.err);
    let refused = run(&room, "convert", &input, &["--to", "docker"]);
    assert_refused(&refused, 1, "E_NO_MATCH");
    assert!(refused.err.contains("is encrypted"), "{}", refused.err);
    let seen = exported(&room, "convert", &input, &["--to", "hybrid"]);
    assert!(seen.blob(&sha256(&cipher)).is_some());
}
