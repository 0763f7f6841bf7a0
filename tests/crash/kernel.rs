//! Where the kernel is asked to copy or to share: it refuses, fails, or does less than it was asked to.
//!
//! A `retval` that strace injects is a call that did nothing: 0 is what the kernel gives at the end of a file, and what
//! some file systems give for no reason.

use std::fs;
use std::path::Path;

use super::NEW;
use super::support::docker::docker28;
use super::support::mount::Mounted;
use super::support::run::{Room, arg, ocitar};
use super::support::trace::{self, Call};

/// The file systems that copy or share by themselves.
const SYSTEMS: [&[&str]; 2] = [&["mkfs.xfs", "-q", "-f"], &["mkfs.btrfs", "-q", "-f"]];

/// Refused, or not done: what is asked for has to be read and written instead.
const REFUSED: [&str; 7] = [
    "error=EXDEV",
    "error=EINVAL",
    "error=EOPNOTSUPP",
    "error=ENOSYS",
    "error=EPERM",
    "error=EINTR",
    "retval=0",
];

/// A failure of the disk, which no other way around it makes good.
const FAILED: [(&str, &str); 4] = [
    ("error=EIO", "E_IO"),
    ("error=EFBIG", "E_IO"),
    ("error=ENOSPC", "E_NO_SPACE"),
    ("error=EDQUOT", "E_NO_SPACE"),
];

/// An archive that is large enough for more than one call of each kind, most of it before or behind the names: then it
/// stays where it is when they become longer, or moves.
fn archive(names_first: bool) -> Vec<u8> {
    let noise = (0..33_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8);
    let mut tar = docker28().tar.file("noise", noise.collect::<Vec<u8>>());
    if !names_first {
        tar.members.rotate_right(1);
    }
    tar.bytes()
}

/// Calls of this name in a run that succeeds, with this in their line.
fn calls(folder: &Path, args: &[&str], name: &str, with: &str) -> Vec<Call> {
    let args = args.to_vec();
    let (run, calls) = trace::calls(folder, &args);
    run.ok();
    calls.into_iter().filter(|call| call.name == name && call.line.contains(with)).collect()
}

fn on_each(test: impl Fn(&str, &Path)) {
    if !trace::works() {
        return;
    }
    for mkfs in SYSTEMS {
        if let Some(mounted) = Mounted::new(mkfs) {
            test(mkfs[0], &mounted.folder);
        }
    }
}

#[test]
fn copies() {
    let bytes = archive(true);
    on_each(|system, folder| {
        let (input, out) = (folder.join("in.tar"), folder.join("out.tar"));
        fs::write(&input, &bytes).unwrap();
        let want = ocitar(["retag", arg(&input), "-", NEW]).ok().out;
        // Calls of several threads are not in one order.
        let args = vec!["retag", "--jobs", "1", "--force", arg(&input), arg(&out), NEW];
        let copies = calls(folder, &args, "copy_file_range", "in.tar");
        assert!(copies.len() > 1, "{system}: {copies:?}");
        let rescued = |call: &Call, what: &str| {
            fs::write(&out, "old").unwrap();
            let run = trace::inject(call, what, &args);
            assert_eq!(run.code, 0, "{system}, {what} at {call:?}: {}", run.err);
            assert!(fs::read(&out).unwrap() == want, "{system}, {what} at {call:?}");
        };
        for call in &copies {
            for what in REFUSED {
                rescued(call, what);
            }
            for (what, id) in FAILED {
                let context = format!("{system}, {what} at {call:?}");
                fs::write(&out, "old").unwrap();
                let run = trace::inject(call, what, &args);
                assert_eq!((run.code, run.id()), (5, id), "{context}: {}", run.err);
                assert_eq!(fs::read(&out).unwrap(), b"old", "{context}");
                assert_eq!(left(folder), ["in.tar", "out.tar"], "{context}");
            }
        }
        // All of them; but who is interrupted for ever waits for ever.
        for what in REFUSED.iter().filter(|what| !what.contains("EINTR")) {
            rescued(&copies[0], &format!("{what}+"));
        }
        // Nor is there anything where there was nothing.
        fs::remove_file(&out).unwrap();
        let run = trace::inject(&copies[1], "error=EIO", &args);
        assert_eq!((run.code, run.id()), (5, "E_IO"), "{system}: {}", run.err);
        assert_eq!(left(folder), ["in.tar"], "{system}");
    });
}

/// A last write that is answered as if it had been done, and was not, makes the file shorter than it was meant to be.
#[test]
fn a_write_that_was_not_done() {
    if !trace::works() {
        return;
    }
    let room = Room::new();
    let (input, out) = (room.write("in.tar", docker28().tar.bytes()), room.path("out.tar"));
    let args = vec!["retag", "--force", arg(&input), arg(&out), NEW];
    let writes = calls(&room.path(""), &args, "pwrite64", "(deleted)");
    let call = writes.last().unwrap();
    let took = call.line.rsplit("= ").next().unwrap();
    fs::write(&out, "old").unwrap();
    let run = trace::inject(call, &format!("retval={took}"), &args);
    assert_eq!((run.code, run.id()), (5, "E_IO"), "{call:?}: {}", run.err);
    assert_eq!(fs::read(&out).unwrap(), b"old", "{call:?}");
    assert_eq!(room.list(), ["in.tar", "out.tar"], "{call:?}");
}

/// Two file systems of different kinds do refuse, without anybody's help.
#[test]
fn between_file_systems() {
    let bytes = archive(true);
    let room = Room::new();
    let here = room.write("in.tar", &bytes);
    let want = ocitar(["retag", arg(&here), "-", NEW]).ok().out;
    on_each(|system, folder| {
        let (there, out) = (folder.join("in.tar"), folder.join("out.tar"));
        fs::write(&there, &bytes).unwrap();
        for (input, output) in [(&here, &out), (&there, &room.path("out.tar"))] {
            ocitar(["retag", "--force", arg(input), arg(output), NEW]).ok();
            assert!(fs::read(output).unwrap() == want, "{system}: {input:?}");
        }
        // Some of the input here, some there.
        let args = ["merge", "--force", "-o", arg(&out), arg(&here), arg(&there)];
        ocitar(args).ok();
        let merged = fs::read(&out).unwrap();
        assert!(ocitar([&args[..3], &["-"], &args[4..]].concat()).ok().out == merged, "{system}");
    });
}

/// Sharing is only a faster way: whatever it answers, the file in the place of the old one is complete.
#[test]
fn clones() {
    let bytes = archive(false);
    let room = Room::new();
    let input = room.write("in.tar", &bytes);
    // Both shorter and longer than the file before.
    let names = ["a.io/b:1".to_owned(), format!("a.io/{}:1", "b".repeat(200))];
    on_each(|system, folder| {
        let file = folder.join("in.tar");
        for name in &names {
            let want = ocitar(["retag", arg(&input), "-", name]).ok().out;
            let args = vec!["retag", "--in-place", arg(&file), name];
            fs::write(&file, &bytes).unwrap();
            let clones = calls(folder, &args, "ioctl", "FICLONE");
            assert_eq!(clones.len(), 1, "{system}");
            let failed = FAILED.iter().map(|(what, _)| what);
            for what in REFUSED.iter().chain(failed) {
                fs::write(&file, &bytes).unwrap();
                let run = trace::inject(&clones[0], what, &args);
                let context = format!("{system}, {what}, {name}: {}", run.err);
                assert_eq!(run.code, 0, "{context}");
                assert!(fs::read(&file).unwrap() == want, "{context}");
                assert_eq!(left(folder), ["in.tar"], "{context}");
            }
        }
    });
}

/// What is in a folder, hidden files too.
fn left(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
