//! What is not edited in place, and who stays away from a file with a journal.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;

use super::support::image::{Packing, pack};
use super::support::oci::tag_only;
use super::support::run::{Room, arg, ocitar, ocitar_reading};
use super::{WAYS, in_place, journal_of, to_new_file};

const RULE: &str = "a.io/b:1";

#[test]
fn a_file_with_other_links() {
    let room = Room::new();
    let bytes = tag_only().tar.bytes();
    let file = room.write("in.tar", &bytes);
    let link = room.path("link.tar");
    fs::hard_link(&file, &link).unwrap();
    let want = to_new_file(&room, &file, &[RULE]).unwrap();

    let run = in_place("--in-place=journal", &file, &[RULE]);
    assert_eq!((run.code, run.id()), (2, "E_IN_PLACE"), "{}", run.err);
    assert!(fs::read(&file).unwrap() == bytes);

    // The other way breaks the link, and says so.
    let run = in_place("--in-place", &file, &[RULE]).ok();
    assert!(run.err.contains("another hard link still leads to the old file"), "{}", run.err);
    assert!(fs::read(&file).unwrap() == want);
    assert!(fs::read(&link).unwrap() == bytes);
    assert_eq!(fs::metadata(&link).unwrap().nlink(), 1);
}

#[test]
fn what_is_no_plain_file() {
    let room = Room::new();
    let bytes = tag_only().tar.bytes();
    for packing in [Packing::Gzip, Packing::Zstd] {
        let packed = pack(&bytes, packing);
        let file = room.write("in.tar", &packed);
        let run = in_place("--in-place=journal", &file, &[RULE]);
        assert_eq!((run.code, run.id()), (2, "E_IN_PLACE"), "{}", run.err);
        assert!(fs::read(&file).unwrap() == packed);
    }
    fs::create_dir(room.path("folder")).unwrap();
    let made = Command::new("mkfifo").arg(room.path("fifo")).status();
    for way in WAYS {
        let run = in_place(way, &room.path("folder"), &[RULE]);
        assert_eq!((run.code, run.id()), (2, "E_IN_PLACE"), "{}", run.err);
        let run = in_place(way, "/dev/null".as_ref(), &[RULE]);
        assert_eq!((run.code, run.id()), (2, "E_IN_PLACE"), "{}", run.err);
        if made.as_ref().is_ok_and(|made| made.success()) {
            let run = in_place(way, &room.path("fifo"), &[RULE]);
            assert_eq!((run.code, run.id()), (2, "E_IN_PLACE"), "{}", run.err);
        }
        let run = ocitar_reading(&bytes, ["retag", way, "-", RULE]);
        assert_eq!((run.code, run.id()), (2, "E_USAGE"), "{}", run.err);
        let run = in_place(way, &room.path("absent"), &[RULE]);
        assert_eq!((run.code, run.id()), (5, "E_IO"), "{}", run.err);
    }
}

#[test]
fn options_that_do_not_go_together() {
    let room = Room::new();
    let file = room.write("in.tar", tag_only().tar.bytes());
    let file = arg(&file);
    let rows: [&[&str]; 6] = [
        &["--in-place", file, RULE, "--force"],
        &["--in-place", file, RULE, "--compress", "gzip"],
        &["--in-place=twice", file, RULE],
        &["--in-place", file],
        &["--in-place"],
        &[file],
    ];
    for args in rows {
        let run = ocitar([&["retag"], args].concat());
        assert_eq!(run.code, 2, "{args:?}: {}", run.err);
    }
    assert_eq!(room.list(), ["in.tar"]);
}

/// Every verb, with arguments that make it open `in.tar`; `recover` is what the others ask for.
fn verbs<'a>(
    file: &'a str,
    out: &'a str,
    other: &'a str,
) -> Vec<(&'static str, Vec<Vec<&'a str>>)> {
    let retag = vec![
        vec![file, out, RULE],
        vec![file, "-", RULE],
        vec!["-n", file, out, RULE],
        vec!["--verify", file, out, RULE],
        vec!["--in-place", file, RULE],
        vec!["--in-place=journal", file, RULE],
        vec!["--in-place", "-n", file, RULE],
        // As an output: the journal would stand beside another file then.
        vec!["--force", other, file, RULE],
    ];
    vec![
        ("ls", vec![vec![file], vec!["-q", file]]),
        ("inspect", vec![vec![file], vec![file, "--raw", "index"]]),
        ("verify", vec![vec![file]]),
        ("check", vec![vec![file]]),
        ("export", vec![vec![file, out]]),
        ("convert", vec![vec![file, out, "--to", "oci"]]),
        ("merge", vec![vec!["-o", out, other, file]]),
        ("split", vec![vec![file, out, "--by", "image"]]),
        ("retag", retag),
    ]
}

#[test]
fn every_verb_refuses_a_file_with_a_journal() {
    let room = Room::new();
    let bytes = tag_only().tar.bytes();
    let (file, other) = (room.write("in.tar", &bytes), room.write("other.tar", &bytes));
    let link = room.path("link.tar");
    symlink("in.tar", &link).unwrap();
    let out = room.path("out.tar");
    fs::write(journal_of(&file), "whatever").unwrap();

    let help = ocitar(["--help"]).ok().text();
    let listed = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let listed: Vec<&str> =
        listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(listed.contains(&"recover"), "{listed:?}");
    let apart = ["recover", "completions", "man", "schema", "help"];
    for verb in listed.into_iter().filter(|verb| !apart.contains(verb)) {
        for path in [&file, &link] {
            let table = verbs(arg(path), arg(&out), arg(&other));
            let (_, runs) = table.iter().find(|(name, _)| *name == verb).unwrap_or_else(|| {
                panic!("{verb} is new: how does it open a file?");
            });
            for args in runs {
                let run = ocitar([&[verb], &args[..]].concat());
                assert_eq!((run.code, run.id()), (5, "E_JOURNAL"), "{verb} {args:?}: {}", run.err);
                assert!(run.err.contains("ocitar recover "), "{verb} {args:?}: {}", run.err);
                assert!(fs::read(&file).unwrap() == bytes, "{verb} {args:?}");
            }
        }
    }
    assert_eq!(room.list(), ["in.tar", "in.tar.ocitar-journal", "link.tar", "other.tar"]);
    ocitar(["recover", arg(&link)]).ok();
    assert_eq!(room.list(), ["in.tar", "link.tar", "other.tar"]);
    ocitar(["ls", arg(&file)]).ok();
}
