//! What a run does and does not ask of the system, by its system calls.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::NEW;
use super::support::docker::docker28;
use super::support::image::{Packing, pack};
use super::support::run::{Room, arg, ocitar};
use super::support::trace::{self, Start};

/// Runs it, and gives its calls.
fn lines(args: &[&str]) -> Vec<String> {
    let (run, lines) = trace::lines(Start { args, streams: None });
    run.ok();
    lines.into_iter().map(|(_, line)| line).collect()
}

fn paths(room: &Room) -> [PathBuf; 3] {
    let bytes = docker28().tar.bytes();
    let packed = pack(&bytes, Packing::Zstd);
    [room.write("in.tar", bytes), room.write("in.tar.zst", packed), room.path("out.tar")]
}

/// Before exit 0 the bytes are on disk, then the name, then the folder.
#[test]
fn the_order_on_disk() {
    if !trace::works() {
        return;
    }
    let room = Room::new();
    let [plain, packed, out] = paths(&room);
    let order = |args: &[&str]| -> Vec<String> {
        let mut order = Vec::new();
        for line in lines(args) {
            let Some((name, rest)) = line.split_once('(') else { continue };
            let what = match name {
                "write" | "pwrite64" if rest.contains("(deleted)") => "bytes",
                "fsync" if rest.contains("(deleted)") => "bytes",
                "fsync" => "folder",
                "linkat" | "renameat" | "rename" if rest.contains("= 0") => "name",
                "linkat" => "taken",
                _ => continue,
            };
            order.push(format!("{} {what}", name.trim_start_matches('p').trim_end_matches("64")));
        }
        order.dedup();
        order
    };
    let fresh = ["write bytes", "fsync bytes", "linkat name", "fsync folder"];
    let replaced = [
        "write bytes",
        "fsync bytes",
        "linkat taken",
        "linkat name",
        "renameat name",
        "fsync folder",
    ];
    let (input, packed, out) = (arg(&plain), arg(&packed), arg(&out));
    let verbs = [
        vec!["retag", input, out, NEW],
        vec!["retag", packed, out, NEW],
        // Where threads end meanwhile strace tells of a call in two lines.
        vec!["retag", "--jobs", "1", "--compress", "gzip", input, out, NEW],
        vec!["export", input, out],
        vec!["merge", "-o", out, input],
    ];
    for verb in &verbs {
        let _ = fs::remove_file(out);
        let kernel_copies =
            |order: Vec<String>| order.into_iter().filter(|call| !call.starts_with("copy"));
        assert_eq!(kernel_copies(order(verb)).collect::<Vec<_>>(), fresh, "{verb:?}");
        let forced = [&verb[..], &["--force"]].concat();
        assert_eq!(kernel_copies(order(&forced)).collect::<Vec<_>>(), replaced, "{forced:?}");
    }
}

/// No network, no other program, and no file that was not asked for.
#[test]
fn nothing_but_its_files() {
    if !trace::works() {
        return;
    }
    let room = Room::new();
    let [plain, packed, out] = paths(&room);
    let report = room.path("report.json");
    let (plain, packed, out) = (arg(&plain), arg(&packed), arg(&out));
    let folder = arg(&room.path("")).to_owned();
    let verbs: [&[&str]; 9] = [
        &["ls", plain],
        &["inspect", plain],
        &["verify", plain],
        &["check", plain],
        &["retag", plain, out, NEW, "--report", arg(&report)],
        &["retag", "--in-place=journal", out, "x.io/y:1"],
        &["retag", packed, out, NEW, "--force", "--verify"],
        &["export", plain, out, "--force"],
        &["merge", "-o", out, plain, "--force"],
    ];
    // The loader, the allocator, and how many processors a group may use.
    let known = ["/etc/ld.so", "/lib", "/usr/lib", "/usr/local/lib", "/proc/", "/sys/"];
    for args in verbs {
        for line in lines(args).iter().skip(1) {
            let Some((name, rest)) = line.split_once('(') else { continue };
            let is_process = name == "clone" || name.ends_with("fork");
            assert!(
                !["execve", "socket", "connect", "bind", "listen", "ptrace"].contains(&name)
                    && (!is_process || rest.contains("CLONE_THREAD")),
                "{args:?}: {line}"
            );
            let Some(path) = rest.split('"').nth(1).filter(|_| name.starts_with("open")) else {
                continue;
            };
            let of_us = path.starts_with(&folder) || path.starts_with(folder.trim_end_matches('/'));
            let of_system = known.iter().any(|known| path.starts_with(known));
            let opened = !rest.contains("ENOENT");
            assert!(of_us || of_system || !opened, "{args:?}: {line}");
            assert!(!of_system || rest.contains("O_RDONLY"), "{args:?}: {line}");
        }
    }
}

/// Who only reads leaves no trace, not even one that is gone at the end; what is compressed is unpacked without a name.
#[test]
fn reading_writes_nothing() {
    if !trace::works() {
        return;
    }
    let room = Room::new();
    let [plain, packed, _] = paths(&room);
    let (plain, packed) = (arg(&plain), arg(&packed));
    let tmpdir = arg(&room.path("")).to_owned();
    for (args, unpacks) in [
        (vec!["ls", plain], false),
        (vec!["verify", plain], false),
        (vec!["check", plain], false),
        (vec!["retag", "-n", plain, "-", NEW], false),
        (vec!["ls", packed], false),
        (vec!["verify", packed, "--tmpdir", &tmpdir], true),
    ] {
        let mut unpacked = false;
        for line in lines(&args) {
            let writes = ["O_CREAT", "O_WRONLY", "O_RDWR"].iter().any(|flag| line.contains(flag));
            if line.starts_with("open") && writes {
                assert!(unpacks && line.contains("O_TMPFILE"), "{args:?}: {line}");
                unpacked = true;
            }
        }
        assert_eq!(unpacked, unpacks, "{args:?}");
    }
}

/// Calls that are interrupted are made again.
#[test]
fn interrupted_calls() {
    if !trace::works() {
        return;
    }
    let room = Room::new();
    let [plain, packed, out] = paths(&room);
    let (plain, packed, out) = (arg(&plain), arg(&packed), arg(&out));
    for args in [
        vec!["retag", "--force", plain, out, NEW],
        vec!["retag", "--force", packed, out, NEW],
        vec!["verify", plain],
        vec!["verify", packed],
    ] {
        let want = ocitar(&args).ok();
        let file = fs::read(out).unwrap();
        for call in ["read", "pread64", "write", "pwrite64", "fsync", "copy_file_range"] {
            let inject = format!("inject={call}:error=EINTR:when=2+3");
            let trace = format!("trace={call}");
            let mut options = vec!["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
            if call.contains("read") {
                // Not those of the loader, who does not expect it.
                options.extend(["-P", plain, "-P", packed]);
            }
            let run = Start { args: &args, streams: None }.below("strace", &options).ok();
            assert_eq!(run.out, want.out, "{args:?} {call}");
            assert!(fs::read(out).unwrap() == file, "{args:?} {call}");
        }
    }
}

/// An archive of 4 GiB, most of it a hole.
fn huge(room: &Room) -> PathBuf {
    let tar = docker28().tar.file("hole", "");
    let bytes = tar.bytes();
    let at = bytes.len() - 1024 - 512;
    let hole = 4 << 30;
    let mut header = tar::Header::from_byte_slice(&bytes[at..at + 512]).clone();
    header.set_size(hole);
    header.set_cksum();
    let path = room.write("huge.tar", &bytes[..at]);
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(header.as_bytes(), at as u64).unwrap();
    file.set_len(at as u64 + 512 + hole + 1024).unwrap();
    path
}

/// Where there is no address space for a map, files are read.
#[test]
fn little_address_space() {
    let room = Room::new();
    let path = huge(&room);
    let below = |args: &[&str], path: &Path| {
        let limit = "ulimit -v 400000 && exec \"$@\"";
        let args = [args, &[arg(path)]].concat();
        Start { args: &args, streams: None }.below("sh", &["-c", limit, "sh"]).ok().out
    };
    let want = ocitar(["ls", arg(&path)]).ok().out;
    for how in [&["ls"][..], &["ls", "--mmap"], &["ls", "--no-mmap"]] {
        assert_eq!(below(how, &path), want, "{how:?}");
    }
}

/// Where no thread can be had the work is done without.
#[test]
fn no_threads() {
    // The limit is of a user, and root has none.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let room = Room::new();
    let [plain, packed, _] = paths(&room);
    let (plain, packed) = (arg(&plain), arg(&packed));
    for args in [
        vec!["ls", plain],
        vec!["verify", "-j", "4", plain],
        vec!["verify", "-j", "4", packed],
        vec!["retag", "-j", "4", plain, "-", NEW],
        vec!["retag", "-j", "4", plain, "-", NEW, "--compress", "gzip"],
        vec!["retag", "-j", "4", plain, "-", NEW, "--compress", "zstd"],
    ] {
        let below = ["--reuid=65534", "--clear-groups", "prlimit", "--nproc=1"];
        let alone = Start { args: &args, streams: None }.below("setpriv", &below).ok();
        let want = ocitar(&args).ok();
        if args.contains(&"zstd") {
            // Which compresses otherwise without threads.
            assert!(
                zstd::decode_all(&*alone.out).unwrap() == zstd::decode_all(&*want.out).unwrap()
            );
        } else {
            assert!(alone.out == want.out, "{args:?}");
        }
    }
}
