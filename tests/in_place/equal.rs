//! The bytes are those of retagging to a new file.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use super::support::docker::{crane, docker28};
use super::support::image::{Image, Layer, Packing, index};
use super::support::oci::{LAYOUT, blobs, tag_only};
use super::support::run::{Room, arg, ocitar, testdata};
use super::support::tarball::{End, Tar};
use super::{LONG, MOST, SHORT, WAYS, in_place, journal_of, method, to_new_file};

/// Names that grow, names that shrink, images that go.
const RULES: [&[&str]; 3] = [
    &["--regex", "[^/]+/(.*)", "registry.with-a-much-longer-name.example.com/some/group/$1"],
    &["--regex", "(?:.*/)?([^/]*)", "a.io/$1", "--allow-unmatched"],
    &["--regex", "(.*app.*|.*1)", "$1", "--drop-unmatched", "--allow-unmatched"],
];

#[test]
fn every_archive_becomes_what_a_new_file_would_be() {
    let mut inputs: Vec<(String, Vec<u8>)> =
        testdata().iter().map(|path| (arg(path).to_owned(), fs::read(path).unwrap())).collect();
    inputs.extend(
        super::support::all().into_iter().map(|made| (made.name.to_owned(), made.tar.bytes())),
    );
    let mut journalled = 0;
    for (name, bytes) in inputs {
        let room = Room::new();
        let plain = bytes.get(257..262) == Some(b"ustar") || bytes.starts_with(b"manifest.json");
        let file = room.write("in", &bytes);
        for rules in RULES {
            fs::write(&file, &bytes).unwrap();
            let want = to_new_file(&room, &file, rules);
            for way in WAYS {
                let what = format!("{name} {way} {rules:?}");
                fs::write(&file, &bytes).unwrap();
                let run = in_place(way, &file, rules);
                let after = fs::read(&file).unwrap();
                assert!(!journal_of(&file).exists(), "{what}");
                if way.ends_with("journal") && !plain {
                    assert_eq!((run.code, run.id()), (2, "E_IN_PLACE"), "{what}: {}", run.err);
                    assert!(after == bytes, "{what}");
                    continue;
                }
                match &want {
                    Ok(want) => {
                        let run = run.ok();
                        assert!(&after == want, "{what}: not the same bytes");
                        let method = method(&run);
                        journalled += u32::from(method == "journal");
                        let written = run.json()["written"]["bytes"].as_u64().unwrap();
                        assert_eq!(written == 0, *want == bytes && plain, "{what}: {method}");
                    }
                    Err(failed) => {
                        assert_eq!((run.code, run.id()), (failed.code, failed.id()), "{what}");
                        assert!(after == bytes, "{what}: changed although it failed");
                    }
                }
            }
        }
        let _ = fs::remove_file(room.path("new-file"));
        assert_eq!(room.list(), ["in"], "{name}");
    }
    assert!(journalled > 100, "{journalled}");
}

/// An archive whose first member is `index.json`, and a body behind it.
fn index_first(body: usize) -> Tar {
    let made = tag_only();
    let index = made.tar.get("index.json").to_vec();
    let mut tar = Tar::new().file("index.json", index);
    tar.members.extend(made.tar.without(&["index.json"]).members);
    tar.file("noise", vec![7; body])
}

#[test]
fn what_is_written_and_how() {
    // A name that fits the blocks of its member, and one that does not.
    let (near, far) = (SHORT, LONG);
    let docker = docker28().tar;
    let last = docker.members.iter().rposition(|member| member.name.starts_with("blobs/"));
    let mut behind = docker.clone().file("noise", vec![7; MOST + 1]);
    behind.members[last.unwrap() + 1..].rotate_right(1);
    let small = 8 << 10;
    // What is made, its rule, how it is written, and at most how many bytes.
    let rows = [
        ("at the end", docker.clone(), far, "journal", small),
        ("behind much", behind, near, "journal", small),
        ("before much, in its blocks", index_first(2 * MOST), near, "journal", small),
        ("before much, beyond its blocks", index_first(2 * MOST), far, "copy", 3 * MOST),
        ("before less", index_first(MOST - (64 << 10)), far, "journal", MOST),
        ("no end", docker.clone().end(End::Missing), far, "journal", small),
        ("a record", docker.clone().end(End::Record), far, "journal", 2 * small),
    ];
    for (what, tar, rule, how, most) in rows {
        let room = Room::new();
        let file = room.write("in.tar", tar.bytes());
        let want = to_new_file(&room, &file, &[rule]).unwrap();
        let run = in_place("--in-place=journal", &file, &[rule]).ok();
        assert!(fs::read(&file).unwrap() == want, "{what}");
        assert_eq!(method(&run), how, "{what}");
        let written = run.json()["written"]["bytes"].as_u64().unwrap();
        assert!(written > 0 && written <= most as u64, "{what}: {written}");
        assert_eq!(run.err.contains("replaced instead"), how == "copy", "{what}: {}", run.err);
        // Once more there is nothing to do, and nothing is touched.
        for way in WAYS {
            let before = fs::metadata(&file).unwrap();
            let run = in_place(way, &file, &[rule, "--allow-unmatched"]).ok();
            assert_eq!(method(&run), "nothing to change", "{what}");
            let after = fs::metadata(&file).unwrap();
            let look = |m: &fs::Metadata| (m.ino(), m.mtime(), m.mtime_nsec(), m.ctime_nsec());
            assert_eq!(look(&before), look(&after), "{what}");
        }
    }
}

#[test]
fn images_that_go_and_leave_much_to_cut() {
    // What is cut off is kept in the journal, too.
    for (size, how) in [(1 << 20, "journal"), (MOST + 1, "copy")] {
        let room = Room::new();
        let layer = Layer { blob: vec![7; size], ..Layer::new("goes", Packing::Plain) };
        let (stays, goes) = (Image::plain("stays"), Image::new("linux/arm64", vec![layer]));
        let tops = [stays.descriptor().named("a.io/b:1"), goes.descriptor().named("a.io/c:1")];
        let mut tar = blobs(stays.blobs());
        tar = tar.file("oci-layout", LAYOUT).file("index.json", index(&tops));
        tar.members.extend(blobs(goes.blobs()).members);
        let file = room.write("in.tar", tar.bytes());
        let rules = ["a.io/b:1=a.io/d:1", "--drop-unmatched"];
        let want = to_new_file(&room, &file, &rules).unwrap();
        assert!(want.len() < 1 << 20, "{}", want.len());
        let run = in_place("--in-place=journal", &file, &rules).ok();
        assert!(fs::read(&file).unwrap() == want, "{size}");
        assert_eq!(method(&run), how, "{size}");
    }
}

#[test]
fn mode_owner_and_links_stay() {
    let room = Room::new();
    let bytes = tag_only().tar.bytes();
    let want = to_new_file(&room, &room.write("in.tar", &bytes), &["a.io/b:1"]).unwrap();
    for way in WAYS {
        let file = room.write("real.tar", &bytes);
        let link = room.path("link.tar");
        let _ = fs::remove_file(&link);
        symlink("real.tar", &link).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        // Only root may.
        let owner = chown(&file, Some(12345), Some(23456)).ok();
        in_place(way, &link, &["a.io/b:1"]).ok();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read(&file).unwrap() == want);
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o640);
        if owner.is_some() {
            assert_eq!((metadata.uid(), metadata.gid()), (12345, 23456));
        }
    }
}

#[test]
fn a_dry_run_and_a_failed_verification_change_nothing() {
    let room = Room::new();
    let tar = docker28().tar;
    let bytes = tar.bytes();
    let file = room.write("in.tar", &bytes);
    for way in WAYS {
        let run = ocitar(["retag", way, "-n", "--json", arg(&file), "a.io/b:1"]).ok();
        assert_eq!(run.json()["changes"][0]["new"], "a.io/b:1");
        assert!(fs::read(&file).unwrap() == bytes);
    }
    // A layer, which is the one member that is a tar.
    let is_layer = |body: &[u8]| body.get(257..262) == Some(b"ustar");
    let bytes = tar
        .each(|member| {
            if is_layer(&member.body) {
                member.body[0] ^= 1
            }
        })
        .bytes();
    fs::write(&file, &bytes).unwrap();
    for way in WAYS {
        let run = ocitar(["retag", way, "--verify", arg(&file), "a.io/b:1"]);
        assert_eq!(run.code, 1, "{}", run.err);
        assert!(fs::read(&file).unwrap() == bytes);
    }
    assert_eq!(room.list(), ["in.tar"]);
}

#[test]
fn rules_keep_their_order() {
    // The first rule stands where OUT would; options before it come first.
    let room = Room::new();
    let bytes = crane().tar.bytes();
    let name = ocitar(["ls", "-q", arg(&room.write("in.tar", &bytes))]).ok().text();
    let name = name.lines().next().unwrap();
    let exact = format!("{name}=a.io/exact:1");
    let regex = ["--regex", ".*", "a.io/regex:1"];
    let rows = [
        ([&[&*exact][..], &regex].concat(), "a.io/exact:1"),
        ([&regex[..], &[&exact], &["--allow-unmatched"]].concat(), "a.io/regex:1"),
        (regex.to_vec(), "a.io/regex:1"),
        (vec![&*exact, "x:1=y:1", "--allow-unmatched"], "a.io/exact:1"),
        (vec!["x:1=y:1", &*exact, "--allow-unmatched"], "a.io/exact:1"),
    ];
    for (rules, want) in rows {
        for way in WAYS {
            let file = room.write("in.tar", &bytes);
            // Before and behind the input.
            for args in [
                [&["retag", way, arg(&file)], &rules[..]].concat(),
                [&["retag", arg(&file)], &rules[..], &[way]].concat(),
            ] {
                fs::write(&file, &bytes).unwrap();
                ocitar(&args).ok();
                assert_eq!(ocitar(["ls", "-q", arg(&file)]).ok().text().trim(), want, "{args:?}");
            }
        }
    }
}
