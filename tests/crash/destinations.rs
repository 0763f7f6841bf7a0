//! Every kind of thing a destination can be, and what is there afterwards.

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::XattrFlags;

use super::NEW;
use super::support::image::{Packing, pack};
use super::support::mount::Mounted;
use super::support::oci::tag_only;
use super::support::run::{Room, arg, command, ocitar};

/// An archive as a destination has it before.
const PRECIOUS: &[u8] = b"precious";

fn input(room: &Room) -> (Vec<u8>, Vec<u8>) {
    let input = room.write("in.tar", tag_only().tar.bytes());
    let new = ocitar(["retag", arg(&input), "-", NEW]).ok().out;
    (fs::read(input).unwrap(), new)
}

/// An exit code, and the id of the error.
type Exit = (i32, &'static str);

#[test]
fn what_stands_at_the_path() {
    // What is made, what is asked for, the exit code and id with and without `--force`.
    let same = (2, "E_OUT_SAME");
    let rows: [(&str, &str, Exit, Exit); 15] = [
        ("nothing", "out.tar", (0, ""), (0, "")),
        ("a file", "out.tar", (2, "E_OUT_EXISTS"), (0, "")),
        ("a file with another link", "out.tar", (2, "E_OUT_EXISTS"), (0, "")),
        ("a link to a file", "link.tar", (2, "E_OUT_EXISTS"), (0, "")),
        ("a link to a link", "chain.tar", (2, "E_OUT_EXISTS"), (0, "")),
        ("a link to nothing", "link.tar", (0, ""), (0, "")),
        ("a link to itself", "self.tar", (5, "E_IO"), (5, "E_IO")),
        ("a folder", "folder", (2, "E_USAGE"), (2, "E_USAGE")),
        ("no folder", "no/out.tar", (5, "E_IO"), (5, "E_IO")),
        ("a file for a folder", "in.tar/out.tar", (5, "E_IO"), (5, "E_IO")),
        ("a socket", "socket", (5, "E_IO"), (5, "E_IO")),
        ("the input", "in.tar", same, same),
        ("the input, by another way", "folder/../in.tar", same, same),
        ("a link to the input", "input-link.tar", same, same),
        ("another link of the input", "input-hard.tar", same, same),
    ];
    for (what, output, plain, forced) in rows {
        for (force, want) in [(false, plain), (true, forced)] {
            let room = Room::new();
            let (input, new) = input(&room);
            let path = |name: &str| room.path(name);
            let in_tar = path("in.tar");
            fs::create_dir(path("folder")).unwrap();
            symlink("out.tar", path("link.tar")).unwrap();
            symlink("link.tar", path("chain.tar")).unwrap();
            symlink("self.tar", path("self.tar")).unwrap();
            symlink("in.tar", path("input-link.tar")).unwrap();
            fs::hard_link(&in_tar, path("input-hard.tar")).unwrap();
            let _socket = UnixListener::bind(path("socket")).unwrap();
            if want != (0, "") || force {
                fs::write(path("out.tar"), PRECIOUS).unwrap();
            }
            if ["nothing", "a link to nothing"].contains(&what) {
                let _ = fs::remove_file(path("out.tar"));
            }
            if what == "a file with another link" {
                fs::hard_link(path("out.tar"), path("other.tar")).unwrap();
            }
            let (names, before) = (room.list(), fs::read(path("out.tar")).ok());
            let mut args = vec!["retag", arg(&in_tar)];
            let output = path(output);
            args.extend([arg(&output), NEW]);
            args.extend(force.then_some("--force"));
            let run = ocitar(args);
            let what = format!("{what}, force {force}: {}", run.err);
            let id = if run.code == 0 { "" } else { run.id() };
            assert_eq!((run.code, id), want, "{what}");
            let after = if run.code == 0 { Some(new) } else { before };
            assert!(fs::read(path("out.tar")).ok() == after, "{what}");
            assert!(fs::read(&in_tar).unwrap() == input, "{what}");
            // The links are still links, and nothing is there that was not.
            for link in ["link.tar", "chain.tar", "self.tar", "input-link.tar"] {
                assert!(fs::symlink_metadata(path(link)).unwrap().is_symlink(), "{what}");
            }
            assert_eq!(fs::metadata(&in_tar).unwrap().nlink(), 2, "{what}");
            let new_names: Vec<String> =
                room.list().into_iter().filter(|name| !names.contains(name)).collect();
            assert!(new_names.is_empty() || new_names == ["out.tar"], "{what}: {new_names:?}");
            if what.starts_with("a file with another link") {
                assert_eq!(fs::read(path("other.tar")).unwrap(), PRECIOUS, "{what}");
                assert_eq!(run.err.contains("other hard links"), force, "{what}");
            }
        }
    }
}

#[test]
fn devices_and_pipes() {
    let room = Room::new();
    let (_, new) = input(&room);
    let in_tar = room.path("in.tar");
    for force in [&[][..], &["--force"]] {
        let to = |output: &str| ocitar([&["retag", arg(&in_tar), output, NEW], force].concat());
        to("/dev/null").ok();
        let run = to("/dev/full");
        assert_eq!((run.code, run.id()), (5, "E_NO_SPACE"), "{}", run.err);
        // Its link leads to something that has no path.
        assert!(to("/dev/stdout").ok().out.starts_with(&new), "/dev/stdout");

        let fifo = room.path("fifo");
        if !Command::new("mkfifo").arg(&fifo).status().is_ok_and(|made| made.success()) {
            continue;
        }
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || fs::read(fifo).unwrap()
        });
        to(arg(&fifo)).ok();
        assert!(reader.join().unwrap() == new, "fifo");
        // A reader that goes away early: no success, no signal.
        let mut child = command([&["retag", arg(&in_tar), arg(&fifo), NEW], force].concat());
        let child = child.stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 1];
        fs::File::open(&fifo).unwrap().read_exact(&mut first).unwrap();
        let done = child.wait_with_output().unwrap();
        // The whole of a small archive may be in the pipe by then.
        assert!([Some(0), Some(5)].contains(&done.status.code()), "{done:?}");
        assert!(!fs::symlink_metadata(&fifo).unwrap().is_file());
        fs::remove_file(fifo).unwrap();
    }
    assert_eq!(room.list(), ["in.tar"]);
}

/// What can be said before the work is said before: the input, which is damaged, is not even looked at.
#[test]
fn folders_that_take_no_file() {
    let room = Room::new();
    let bad = room.write("bad.tar", "no archive at all");
    let refuses = |folder: &Path, what: &str, below: &[&str]| {
        let before = fs::read(folder.join("old.tar")).unwrap();
        for (output, force) in [("out.tar", "-q"), ("old.tar", "--force")] {
            let output = folder.join(output);
            let mut run = Command::new(below[0]);
            run.args(&below[1..]).arg(env!("CARGO_BIN_EXE_ocitar"));
            run.args(["retag", arg(&bad), arg(&output), NEW, force]);
            let run = super::support::run::finish(&mut run, &[]);
            assert_eq!((run.code, run.id()), (5, "E_IO"), "{what}: {}", run.err);
            assert!(!run.err.contains(".ocitar."), "{what}: {}", run.err);
        }
        assert_eq!(fs::read(folder.join("old.tar")).unwrap(), before, "{what}");
    };
    if let Some(mounted) = Mounted::tmpfs("size=1m") {
        fs::write(mounted.folder.join("old.tar"), PRECIOUS).unwrap();
        mounted.remount("ro");
        refuses(&mounted.folder, "a read-only file system", &["env"]);
    }
    let folder = room.path("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("old.tar"), PRECIOUS).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(room.path(""), Permissions::from_mode(0o755)).unwrap();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let below: &[&str] =
        if is_root { &["setpriv", "--reuid=65534", "--clear-groups"] } else { &["env"] };
    let may_run = Command::new(below[0])
        .args(&below[1..])
        .args([env!("CARGO_BIN_EXE_ocitar"), "--version"])
        .output();
    if may_run.is_ok_and(|done| done.status.success()) {
        refuses(&folder, "a read-only folder", below);
    } else {
        eprintln!("skipped: nobody else may run ocitar here");
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_full_file_system() {
    let Some(mounted) = Mounted::tmpfs("size=256k") else { return };
    let room = Room::new();
    let tar = tag_only().tar.file("noise", vec![7; 1 << 20]);
    let in_tar = room.write("in.tar", tar.bytes());
    let gz = room.write("in.tar.gz", pack(&tar.bytes(), Packing::Gzip));
    let old = mounted.folder.join("old.tar");
    fs::write(&old, PRECIOUS).unwrap();
    for input in [&in_tar, &gz] {
        for output in ["out.tar", "old.tar"] {
            let output = mounted.folder.join(output);
            let run = ocitar(["retag", "--force", arg(input), arg(&output), NEW]);
            assert_eq!((run.code, run.id()), (5, "E_NO_SPACE"), "{}", run.err);
            // Of a plain archive the size is known, and both numbers are said.
            let numbers = run.err.contains("1.0 MiB needed, 252.0 KiB free");
            assert_eq!(numbers, input == &in_tar, "{}", run.err);
        }
    }
    let left: Vec<_> = fs::read_dir(&mounted.folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left, std::slice::from_ref(&old));
    assert_eq!(fs::read(old).unwrap(), PRECIOUS);
}

#[test]
fn permissions_of_what_is_written() {
    let room = Room::new();
    input(&room);
    let run = |umask: &str, args: &str| {
        let script =
            format!("umask {umask} && cd \"$2\" && \"$1\" retag {args} in.tar out.tar {NEW}");
        let done = Command::new("sh")
            .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_ocitar"), arg(&room.path(""))])
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        fs::metadata(room.path("out.tar")).unwrap().mode() & 0o7777
    };
    for (umask, mode) in [("000", 0o666), ("022", 0o644), ("027", 0o640), ("077", 0o600)] {
        let _ = fs::remove_file(room.path("out.tar"));
        assert_eq!(run(umask, ""), mode, "new, umask {umask}");
        // What is replaced says what it will be, whatever the umask.
        for old in [0o600, 0o640, 0o444, 0o666] {
            fs::set_permissions(room.path("out.tar"), Permissions::from_mode(old)).unwrap();
            assert_eq!(run(umask, "--force"), old, "replaced, umask {umask}");
        }
        fs::set_permissions(room.path("out.tar"), Permissions::from_mode(0o644)).unwrap();
    }
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        std::os::unix::fs::chown(room.path("out.tar"), Some(12345), Some(23456)).unwrap();
        run("022", "--force");
        let after = fs::metadata(room.path("out.tar")).unwrap();
        assert_eq!((after.uid(), after.gid()), (12345, 23456));
    }
}

/// An access list as the kernel stores it: its owner may write, the group nothing, and this user may write.
fn access_list(user: u32) -> Vec<u8> {
    let entry = |tag: u16, bits: u16, id: u32| {
        [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    let entries = [
        entry(1, 6, none),
        entry(2, 6, user),
        entry(4, 0, none),
        entry(16, 6, none),
        entry(32, 0, none),
    ];
    [&2_u32.to_le_bytes()[..], &entries.concat()].concat()
}

/// Access lists go with the file that is replaced; other attributes do not.
#[test]
fn attributes_of_what_is_replaced() {
    const LIST: &str = "system.posix_acl_access";
    let room = Room::new();
    input(&room);
    let get = |path: &Path, name: &str| {
        let mut value = vec![0; 1024];
        let len = rustix::fs::getxattr(path, name, &mut value).ok()?;
        value.truncate(len);
        Some(value)
    };
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::setxattr(path, name, value, XattrFlags::empty())
    };
    let (in_tar, out) = (room.path("in.tar"), room.write("out.tar", PRECIOUS));
    if set(&out, LIST, &access_list(4321)).is_err() {
        eprintln!("skipped: no access lists here");
        return;
    }
    let _ = set(&out, "user.note", b"mine");
    ocitar(["retag", "--force", arg(&in_tar), arg(&out), NEW]).ok();
    assert_eq!(get(&out, LIST), Some(access_list(4321)));
    assert_eq!(fs::metadata(&out).unwrap().mode() & 0o777, 0o660);
    assert_eq!(get(&out, "user.note"), None);
    ocitar(["retag", "--in-place", arg(&out), "x.io/y:1"]).ok();
    assert_eq!(get(&out, LIST), Some(access_list(4321)));
    // What the folder gives to new files is not for those who could not read the old one.
    let plain = room.write("plain.tar", PRECIOUS);
    fs::set_permissions(&plain, Permissions::from_mode(0o640)).unwrap();
    set(&room.path(""), "system.posix_acl_default", &access_list(999)).unwrap();
    ocitar(["retag", "--force", arg(&in_tar), arg(&plain), NEW]).ok();
    assert_eq!(get(&plain, LIST), None);
    assert_eq!(fs::metadata(&plain).unwrap().mode() & 0o777, 0o640);
    // A new file has it.
    let new = room.path("new.tar");
    ocitar(["retag", arg(&in_tar), arg(&new), NEW]).ok();
    assert!(get(&new, LIST).is_some());
}

/// Whoever is last wins, or whoever is first; never both.
#[test]
fn many_writers_of_one_file() {
    let room = Room::new();
    input(&room);
    let in_tar = room.path("in.tar");
    let new = |n: usize| ocitar(["retag", arg(&in_tar), "-", &format!("a.io/b:{n}")]).ok().out;
    let all: Vec<Vec<u8>> = (0..20).map(new).collect();
    for (force, old) in [(false, false), (true, false), (true, true)] {
        let out = room.path("out.tar");
        let _ = fs::remove_file(&out);
        if old {
            fs::write(&out, PRECIOUS).unwrap();
        }
        let children: Vec<_> = (0..20)
            .map(|n| {
                let rule = format!("a.io/b:{n}");
                let force = if force { "--force" } else { "-q" };
                let mut child = command(["retag", arg(&in_tar), arg(&out), &rule, force]);
                child.stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let mut won = 0;
        for child in children {
            let done = child.wait_with_output().unwrap();
            let err = String::from_utf8_lossy(&done.stderr).into_owned();
            match done.status.code() {
                Some(0) => won += 1,
                Some(2) if !force => assert!(err.contains("[E_OUT_EXISTS]"), "{err}"),
                _ => panic!("{done:?} {err}"),
            }
        }
        assert_eq!(won, if force { 20 } else { 1 });
        assert!(all.contains(&fs::read(&out).unwrap()));
        assert_eq!(room.list(), ["in.tar", "out.tar"]);
    }
}
