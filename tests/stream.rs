//! Retagging in one pass gives what retagging a file gives, and a pass that
//! fails leaves nothing anybody could take for an archive.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(dead_code, reason = "every test uses a part of the support")]

mod support;

use std::fs;

use support::run::{Room, arg, command, finish, ocitar, ocitar_reading, testdata};

const RULE: [&str; 3] = ["--regex", "[^/]+/(.*)", "registry.example.com/$1"];

/// Every plain archive there is, by name.
fn archives() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> =
        support::all().into_iter().map(|made| (made.name.to_owned(), made.tar.bytes())).collect();
    for path in testdata() {
        if path.extension().is_some_and(|extension| extension == "tar") {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            all.push((name, fs::read(path).unwrap()));
        }
    }
    all
}

#[test]
fn a_pass_gives_what_a_file_gives() {
    let room = Room::new();
    let mut compared = 0;
    for (name, bytes) in archives() {
        let input = room.write("in.tar", &bytes);
        for rules in [&["registry.example.com/a:1"][..], &RULE] {
            let out = room.path("out.tar");
            let _ = fs::remove_file(&out);
            let file = ocitar([&["retag", arg(&input), arg(&out)], rules].concat());
            for verify in [&[][..], &["--verify"]] {
                let pass = ocitar_reading(&bytes, [&["retag", "-", "-"], rules, verify].concat());
                if file.code == 0 && (verify.is_empty() || pass.code == 0) {
                    assert_eq!(pass.code, 0, "{name}: {}", pass.err);
                    assert!(pass.out == fs::read(&out).unwrap(), "{name}: other bytes");
                    compared += 1;
                } else if verify.is_empty() {
                    assert_eq!(pass.code, file.code, "{name}: {} {}", pass.err, file.err);
                }
            }
        }
    }
    println!("compared {compared} passes");
    assert!(compared > 100);
}

/// Names that come before the blobs: the rest is held back until they are known.
#[test]
fn documents_may_come_first() {
    let room = Room::new();
    for made in support::all() {
        let (name, mut tar) = (made.name, made.tar);
        let is_control =
            |name: &str| ["index.json", "manifest.json", "repositories"].contains(&name);
        tar.members.sort_by_key(|member| !is_control(&member.name));
        let bytes = tar.bytes();
        let input = room.write("in.tar", &bytes);
        let out = room.path("out.tar");
        let _ = fs::remove_file(&out);
        let file = ocitar([&["retag", arg(&input), arg(&out)], &RULE[..]].concat());
        let pass = ocitar_reading(&bytes, [&["retag", "-", "-"], &RULE[..]].concat());
        assert_eq!(pass.code, file.code, "{name}: {} {}", pass.err, file.err);
        if file.code == 0 {
            assert!(pass.out == fs::read(&out).unwrap(), "{name}: other bytes");
        }
    }
}

#[test]
fn a_corrupt_layer_fails_a_verified_pass() {
    let room = Room::new();
    let made = support::docker::docker28();
    let mut tar = made.tar;
    let layer =
        tar.members.iter().filter(|m| m.name.starts_with("blobs/")).max_by_key(|m| m.body.len());
    let name = layer.unwrap().name.clone();
    for member in tar.members.iter_mut().filter(|member| member.name == name) {
        let middle = member.body.len() / 2;
        member.body[middle] ^= 1;
    }
    let bytes = tar.bytes();
    let rule = RULE;
    let blind = ocitar_reading(&bytes, [&["retag", "-", "-"], &rule[..]].concat()).ok();
    assert!(!blind.out.is_empty());
    let pass = ocitar_reading(&bytes, [&["retag", "--verify", "-", "-"], &rule[..]].concat());
    assert_eq!(pass.code, 1, "{}", pass.err);
    assert!(pass.err.contains("[E_DIGEST_MISMATCH]") && pass.err.contains(&name), "{}", pass.err);
    assert!(pass.out.len() < blind.out.len());
    assert!(pass.out[pass.out.len() - 512..].starts_with(b".ocitar-aborted\0"));
    // The same to a file leaves none.
    let out = room.path("out.tar");
    let args = [&["retag", "--verify", "-", arg(&out)], &rule[..]].concat();
    assert_eq!(ocitar_reading(&bytes, args).code, 1);
    assert_eq!(room.list(), [""; 0]);
    // And compressed: the stream is not finished.
    let args = [&["retag", "--verify", "--compress", "gzip", "-", "-"], &rule[..]].concat();
    let packed = ocitar_reading(&bytes, args);
    let listed = ocitar_reading(&packed.out, ["ls", "-"]);
    assert_ne!(listed.code, 0);
}

#[test]
fn images_cannot_be_dropped_from_what_has_gone_by() {
    let room = Room::new();
    let (name, bytes) =
        archives().into_iter().find(|(name, _)| name == "docker26-two-images.tar").unwrap();
    let args = ["--drop-unmatched", "app:1.0=registry.example.com/app:1.0"];
    let input = room.write("in.tar", &bytes);
    let out = room.path("out.tar");
    ocitar([&["retag", arg(&input), arg(&out)], &args[..]].concat()).ok();
    // The stream is unpacked first, and the result is the same.
    let pass = ocitar_reading(&bytes, [&["retag", "-", "-"], &args[..]].concat()).ok();
    assert!(pass.out == fs::read(&out).unwrap(), "{name}");
}

/// No temporary file, nothing but the pipes.
#[test]
fn a_pass_makes_no_file() {
    let mut strace = std::process::Command::new("strace");
    if strace.arg("-V").output().is_err() {
        println!("skipped, no strace");
        return;
    }
    let room = Room::new();
    let log = room.path("log");
    let bytes = support::docker::docker28().tar.bytes();
    let mut run = std::process::Command::new("strace");
    run.args(["-f", "-qq", "-e", "trace=open,openat,creat,memfd_create", "-o", arg(&log)]);
    run.arg(command([""; 0]).get_program()).args(["retag", "-", "-"]).args(RULE);
    let done = finish(&mut run, &bytes);
    if done.code != 0 && done.err.contains("ptrace") {
        println!("skipped, strace may not trace");
        return;
    }
    assert_eq!(done.code, 0, "{}", done.err);
    let log = fs::read_to_string(&log).unwrap();
    let made: Vec<&str> = log
        .lines()
        .filter(|line| {
            line.contains("O_CREAT") || line.contains("O_TMPFILE") || line.contains("memfd")
        })
        .collect();
    assert!(made.is_empty(), "{made:?}");
}
