//! `--in-place` where the file system shares extents: XFS and Btrfs in a file, which takes root.

use std::fs;
use std::path::Path;

use super::faults::Edit;
use super::support::docker::docker28;
use super::support::mount::Mounted;
use super::support::run::Room;
use super::{LONG, SHORT, in_place, method, to_new_file, trace};

fn on_each(test: impl Fn(&str, &Path)) {
    for mkfs in [&["mkfs.xfs", "-q", "-f"][..], &["mkfs.btrfs", "-q", "-f"]] {
        if let Some(mounted) = Mounted::new(mkfs) {
            test(mkfs[0], &mounted.folder);
        }
    }
}

#[test]
fn what_stays_is_shared() {
    let room = Room::new();
    let tar = docker28().tar;
    // What is behind the names moves by blocks of a tar, not of a file system.
    let mut first = tar.clone();
    first.members.rotate_left(tar.members.iter().position(|m| m.name == "index.json").unwrap());
    let noise = vec![7; 32 << 20];
    let rows = [
        (
            "names last",
            tar.clone()
                .without(&["index.json"])
                .file("noise", &noise)
                .file("index.json", tar.get("index.json")),
            false,
        ),
        ("names first", first.file("noise", &noise), true),
    ];
    on_each(|system, folder| {
        for (what, tar, moves) in &rows {
            let file = folder.join("in.tar");
            let bytes = tar.bytes();
            fs::write(&file, &bytes).unwrap();
            // Shorter first, then longer.
            for name in [SHORT, LONG] {
                let want = to_new_file(&room, &file, &[name]).unwrap();
                let run = in_place("--in-place", &file, &[name]).ok();
                // What moves by less than a block of the file system cannot be shared.
                let how = if *moves { "kernel copy" } else { "reflink" };
                assert_eq!(method(&run), how, "{system} {what}");
                let written = run.json()["written"]["bytes"].as_u64().unwrap();
                let all = want.len();
                println!("{system}, {what}: {written} of {all} bytes written");
                assert_eq!(written > 1 << 20, *moves, "{system} {what}: {written}");
                assert!(fs::read(&file).unwrap() == want, "{system} {what}");
            }
        }
    });
}

#[test]
fn killed_and_failing() {
    if !trace::works() {
        return;
    }
    on_each(|system, folder| {
        for longer in [true, false] {
            let edit = Edit::new("--in-place", longer);
            let clones = |call: &trace::Call| call.name == "ioctl" && call.line.contains("FICLONE");
            let folder = folder.join("folder");
            assert!(edit.calls(&folder).iter().any(clones), "{system}");
            println!("{system}: {} faults", edit.faults(&folder));
        }
    });
}
