//! What is refused: the code, the exit code, and no output.

use super::support::image::Image;
use super::support::run::{Room, arg, ocitar};
use super::support::tarball::Tar;
use super::{APP, Docs, Fixture, NEW, TEAM, item, retag, top};

fn two() -> Docs {
    Docs::new(
        &[top('a', APP, "1.0"), top('b', TEAM, "1.0")].join(","),
        &[item('a', &["app:1.0"]), item('b', &[TEAM])].join(","),
        "",
    )
}

#[test]
fn rules_that_do_not_fit_the_archive() {
    let (fixture, room) = (Fixture::new(), Room::new());
    let tar = fixture.archive(&two()).bytes();
    let b = fixture.digest('b');
    let other_digest = format!("app:1.0=example.com/app@{b}");
    let prefix = ["--prefix", "docker.io/library=example.com/team"];
    let rows: [(&str, &[&str], i32, &str); 9] = [
        ("two images for one name", &[NEW], 1, "E_NO_MATCH"),
        ("a rule that matches nothing", &["x:1=y:1"], 1, "E_RULE_UNMATCHED"),
        ("one of two rules matches nothing", &["app:1.0=y:1", "x:1=y:1"], 1, "E_RULE_UNMATCHED"),
        ("a repository that is not there", &["x=y"], 1, "E_RULE_UNMATCHED"),
        ("no prefix matches", &["--prefix", "quay.io=ghcr.io"], 1, "E_RULE_UNMATCHED"),
        ("the pattern matches a part only", &["--regex", "library", "x"], 1, "E_RULE_UNMATCHED"),
        ("a name that is taken", &["app:1.0=example.com/team/app:1.0"], 1, "E_NAME_COLLISION"),
        ("a prefix that collides", &prefix, 1, "E_NAME_COLLISION"),
        ("a digest of another image", &[&other_digest], 1, "E_DIGEST_NAME"),
    ];
    for (what, rules, code, id) in rows {
        let run = retag(&room, &tar, rules);
        assert_eq!((run.code, run.id()), (code, id), "{what}: {}", run.err);
        assert_eq!(room.list(), ["in.tar"], "{what}");
        assert!(run.out.is_empty(), "{what}");
        assert!(run.err.starts_with("ocitar: "), "{what}: {}", run.err);
        // A dry run fails alike.
        let out = room.path("out.tar");
        let dry = ocitar([&["retag", "-n", arg(&room.path("in.tar")), arg(&out)], rules].concat());
        assert_eq!((dry.code, dry.id()), (code, id), "{what}, dry: {}", dry.err);
    }
}

#[test]
fn rules_that_no_archive_fits() {
    let room = Room::new();
    let bad_map = room.write("map", "app:1 b:1\nx y z\n");
    let bad_map = arg(&bad_map);
    let empty_map = room.write("empty", "# none\n");
    let other_map = room.write("other", b"app:1 b:\xff\n");
    let rows: [(&str, &[&str], &str); 22] = [
        ("no rule", &[], "E_USAGE"),
        ("upper case", &["example.com/APP:1"], "E_REF"),
        ("upper case on the right", &["app:1=example.com/APP:1"], "E_REF"),
        ("an empty name", &[""], "E_REF"),
        ("an image ID", &[&"a".repeat(64)], "E_REF"),
        ("a tag on one side", &["app:1=b"], "E_RULE"),
        ("a tag on the other side", &["app=b:1"], "E_RULE"),
        ("a file", &["other.tar"], "E_RULE"),
        ("a path", &["./x"], "E_RULE"),
        ("OLD NEW without =", &["app:1.0", "b:1"], "E_RULE"),
        ("NEW beside another rule", &[NEW, "app:1=b:1"], "E_RULE"),
        ("NEW beside a prefix", &[NEW, "--prefix", "docker.io=quay.io"], "E_RULE"),
        ("a prefix without a host", &["--prefix", "library=quay.io"], "E_RULE"),
        ("a prefix without =", &["--prefix", "docker.io"], "E_RULE"),
        ("a pattern that does not compile", &["--regex", "(", "x"], "E_RULE"),
        ("a pattern that is too large", &["--regex", "a{1000}{1000}{1000}", "x"], "E_RULE"),
        ("a group the pattern has not", &["--regex", "(.*)", "$1_x"], "E_RULE"),
        ("a map with three words", &["--map", bad_map], "E_RULE"),
        ("a map of nothing", &["--map", arg(&empty_map)], "E_RULE"),
        ("a map that is no text", &["--map", arg(&other_map)], "E_RULE"),
        ("a digest cut short", &["sha256:0123456789ab=x:1"], "E_RULE"),
        ("a compression nobody has", &["--compress", "lz4", NEW], "E_USAGE"),
    ];
    for (what, rules, id) in rows {
        // The input is not even looked for.
        let run = ocitar([&["retag", "no-such.tar", "out.tar"], rules].concat());
        assert_eq!((run.code, run.id()), (2, id), "{what}: {}", run.err);
    }
    let run = ocitar(["retag", "no-such.tar", "out.tar", "app:1.0", "b:1"]);
    assert!(run.err.contains("hint: ") && run.err.contains("app:1.0=b:1"), "{}", run.err);
    let run = ocitar(["retag", "no-such.tar", "out.tar", "--map", bad_map]);
    assert!(run.err.contains("map: ") && run.err.contains("line 2"), "{}", run.err);
}

#[test]
fn a_pattern_whose_result_is_no_name() {
    let (fixture, room) = (Fixture::new(), Room::new());
    let tar = fixture.archive(&two()).bytes();
    for replacement in ["example.com/UP/$1", "$1/UP", "x:y:z"] {
        let run = retag(&room, &tar, &["--regex", "docker.io/(.*)", replacement]);
        assert_eq!((run.code, run.id()), (2, "E_REF"), "{replacement}: {}", run.err);
        assert!(run.err.contains("hint: "), "{}", run.err);
        assert_eq!(room.list(), ["in.tar"]);
    }
}

/// Archives that readers disagree about are not edited.
#[test]
fn archives_that_are_two_archives() {
    let fixture = Fixture::new();
    let room = Room::new();
    let named = || Docs::new(&top('a', APP, "1.0"), &item('a', &["app:1.0"]), "");
    let good = || fixture.archive(&named());
    let conflict = Docs::new(&top('a', APP, "1.0"), &item('b', &["app:1.0"]), "");
    let flipped = good().each(|member| {
        if member.name == fixture.paths('a').last().unwrap().as_str() {
            let end = member.body.len() - 1;
            member.body[end] = b' ';
        }
    });
    let rows: [(&str, Vec<u8>, i32, &str); 9] = [
        ("one name, two images", fixture.archive(&conflict).bytes(), 3, "E_IMG_CONFLICT"),
        ("index.json twice", good().file("index.json", "{}").bytes(), 3, "E_TAR_DUP"),
        ("a manifest that is not its digest", flipped.bytes(), 1, "E_DIGEST_MISMATCH"),
        (
            "a key twice",
            good().with("manifest.json", "[{\"Config\":\"a\",\"Config\":\"b\"}]").bytes(),
            3,
            "E_JSON_DUPKEY",
        ),
        (
            "keys that differ in case",
            good().with("manifest.json", "[{\"Config\":\"a\",\"config\":\"b\"}]").bytes(),
            3,
            "E_JSON_CASEKEY",
        ),
        ("no JSON", good().with("index.json", "{").bytes(), 3, "E_JSON_SYNTAX"),
        ("not a tar", b"not a tar".repeat(100), 3, "E_FORMAT"),
        ("no image archive", Tar::new().file("etc/passwd", "root").bytes(), 3, "E_FORMAT"),
        ("cut", good().bytes()[..3000].to_vec(), 3, "E_TAR_TRUNCATED"),
    ];
    for (what, bytes, code, id) in rows {
        let run = retag(&room, &bytes, &[NEW]);
        assert_eq!((run.code, run.id()), (code, id), "{what}: {}", run.err);
        assert_eq!(room.list(), ["in.tar"], "{what}");
        let dry = ocitar(["retag", "-n", arg(&room.path("in.tar")), "x", NEW]);
        assert_eq!((dry.code, dry.id()), (code, id), "{what}, dry: {}", dry.err);
        let piped = super::support::run::ocitar_reading(&bytes, ["retag", "-", "-", NEW]);
        assert_eq!((piped.code, piped.id()), (code, id), "{what}, piped: {}", piped.err);
        assert_unreadable(&piped.out, what);
    }
}

/// What had gone by when the fault was found cannot be taken for an archive.
fn assert_unreadable(out: &[u8], what: &str) {
    if out.is_empty() {
        return;
    }
    let last = &out[out.len() - 512..];
    assert!(last.starts_with(b".ocitar-aborted\0"), "{what}");
    let run = super::support::run::ocitar_reading(out, ["ls", "-"]);
    assert_eq!((run.code, run.id()), (3, "E_TAR_TRUNCATED"), "{what}: {}", run.err);
}

#[test]
fn verify_first() {
    let room = Room::new();
    let image = Image::plain("v");
    let tar = super::support::oci::layout(image.blobs(), &[image.descriptor().named(APP)]);
    let layer = super::support::image::blob_path(&image.layers[0].digest());
    let broken =
        tar.clone().with(&layer, image.layers[0].plain.iter().map(|b| b ^ 1).collect::<Vec<_>>());
    // Without --verify a layer is nobody's business.
    retag(&room, &broken.bytes(), &[NEW]).ok();
    let run = retag(&room, &broken.bytes(), &[NEW, "--verify"]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("[E_DIGEST_MISMATCH]") && run.err.contains(&layer), "{}", run.err);
    assert_eq!(room.list(), ["in.tar"]);
    assert!(run.out.is_empty());
    retag(&room, &tar.bytes(), &[NEW, "--verify"]).ok();
    assert_eq!(room.list(), ["in.tar", "out.tar"]);
}
