//! An input that is cut or written over while it is read: the run ends as if that had not happened, or with
//! `E_INPUT_CHANGED` and without an output.
//!
//! `OCITAR_CRASH=all` does so a thousand times.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::NEW;
use super::support::image::{Image, Layer, Packing, index, pack};
use super::support::oci::{LAYOUT, blobs};
use super::support::run::{Room, Run, arg, command, ocitar};
use super::support::tarball::Tar;
use super::support::trace;

/// Long enough to be read that something can happen meanwhile: many members, and one that is large.
fn archive(name: &str) -> Vec<u8> {
    let noise = (0..4_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8);
    let plain = Tar::new().file("noise", noise.collect::<Vec<u8>>()).bytes();
    let layer = Layer { blob: plain.clone(), plain, ..Layer::new("large", Packing::Plain) };
    let image = Image::new("linux/amd64", vec![layer]);
    let mut tar = blobs(image.blobs());
    for n in 0..1500 {
        tar = tar.file(&format!("more/{n}"), format!("{n}"));
    }
    let top = image.descriptor().named(name);
    tar.file("oci-layout", LAYOUT).file("index.json", index(&[top])).bytes()
}

/// What happens to the file.
#[derive(Clone, Copy, Debug)]
enum Change {
    Cut,
    Empty,
    /// Another archive of the same length, in one write.
    Other,
    Grow,
}

const CHANGES: [Change; 4] = [Change::Cut, Change::Empty, Change::Other, Change::Grow];

impl Change {
    fn make(self, path: &Path, other: &[u8]) {
        let file = File::options().write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len();
        match self {
            Change::Cut => file.set_len(len / 2 / 512 * 512).unwrap(),
            Change::Empty => file.set_len(0).unwrap(),
            Change::Other => file.write_all_at(other, 0).unwrap(),
            Change::Grow => file.set_len(len + 4096).unwrap(),
        }
    }
}

/// Waits until the process has the file open, and a little longer.
fn wait_for(child: &mut Child, path: &Path, micros: u64) {
    let folder = format!("/proc/{}/fd", child.id());
    let started = Instant::now();
    let has_it = || {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        entries.into_iter().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == path))
    };
    while !has_it()
        && child.try_wait().unwrap().is_none()
        && started.elapsed() < Duration::from_secs(20)
    {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_micros(micros));
}

struct Verb {
    args: Vec<String>,
    output: Option<std::path::PathBuf>,
}

/// What a run gave: its code, its standard output, the file it wrote.
type Result = (i32, Vec<u8>, Option<Vec<u8>>);

impl Verb {
    fn result(&self, run: &Run) -> Result {
        (run.code, run.out.clone(), self.output.as_ref().and_then(|path| fs::read(path).ok()))
    }

    fn clean_up(&self) {
        self.output.as_ref().map(fs::remove_file);
    }
}

fn loop_over(input: &str, bytes: &[u8], other: &[u8], more: &[&str], names_it: bool) {
    let all = std::env::var_os("OCITAR_CRASH").is_some_and(|value| value == "all");
    let rounds = if all { 63 } else { 3 };
    let room = Room::new();
    let path = room.write(input, bytes);
    let path = path.canonicalize().unwrap();
    let out = room.path("out.tar");
    let verb = |args: &[&str], output: Option<&Path>| {
        let mut args: Vec<String> = args.iter().map(|&word| word.to_owned()).collect();
        args.insert(1, arg(&path).to_owned());
        args.extend(more.iter().map(|&word| word.to_owned()));
        Verb { args, output: output.map(Path::to_owned) }
    };
    let verbs = [
        verb(&["ls", "--json"], None),
        verb(&["verify"], None),
        verb(&["retag", arg(&out), NEW], Some(&out)),
        verb(&["retag", "-", NEW], None),
    ];
    let (mut kept, mut refused, mut late) = (0, 0, 0);
    for verb in &verbs {
        let started = Instant::now();
        let good = verb.result(&ocitar(&verb.args).ok());
        let takes = u64::try_from(started.elapsed().as_micros()).unwrap();
        for change in CHANGES {
            // What a run gives that comes too late.
            verb.clean_up();
            change.make(&path, other);
            let changed = verb.result(&ocitar(&verb.args));
            for round in 0..rounds {
                verb.clean_up();
                fs::write(&path, bytes).unwrap();
                let mut child = command(&verb.args);
                let child =
                    child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut child = child.spawn().unwrap();
                // Standard output is more than a pipe holds.
                let mut stdout = child.stdout.take().unwrap();
                let reader = std::thread::spawn(move || {
                    let mut out = Vec::new();
                    std::io::Read::read_to_end(&mut stdout, &mut out).unwrap();
                    out
                });
                wait_for(&mut child, &path, takes * round / rounds);
                change.make(&path, other);
                let done = child.wait_with_output().unwrap();
                let out = reader.join().unwrap();
                let err = String::from_utf8_lossy(&done.stderr).into_owned();
                let what = format!("{:?} {change:?} {round}: {:?} {err}", verb.args, done.status);
                let code = done.status.code().unwrap_or_else(|| panic!("a signal: {what}"));
                let run = Run { code, out, err };
                let result = verb.result(&run);
                if result == good {
                    kept += 1;
                } else if result == changed {
                    late += 1;
                } else {
                    refused += 1;
                    assert_eq!(code, 5, "{what}");
                    assert!(!names_it || run.err.contains("[E_INPUT_CHANGED]"), "{what}");
                    assert_eq!(result.2, None, "{what}: an output");
                    // A stream is marked as unusable; a listing has not begun.
                    let streams = verb.args.iter().any(|word| word == "-");
                    let marked = run.out.rchunks(512).next().is_none_or(|last| {
                        last.starts_with(b".ocitar-aborted\0") || !input.ends_with(".tar")
                    });
                    let listed = run.out.is_empty() || run.out.starts_with(b"{");
                    assert!(
                        if streams { marked || !names_it } else { listed },
                        "{what}: {}",
                        run.text()
                    );
                }
                let names = room.list();
                assert!(names.iter().all(|name| name == input || name == "out.tar"), "{names:?}");
            }
            fs::write(&path, bytes).unwrap();
        }
    }
    println!("{input} {more:?}: {kept} not hit, {refused} refused, {late} came too late");
    assert!(refused > 0);
}

#[test]
fn a_plain_archive() {
    let [bytes, other] = ["a.io/first:1", "a.io/other:2"].map(archive);
    assert_eq!(bytes.len(), other.len());
    loop_over("in.tar", &bytes, &other, &[], true);
}

#[test]
fn a_compressed_archive() {
    let [bytes, mut other] =
        ["a.io/first:1", "a.io/other:2"].map(|name| pack(&archive(name), Packing::Zstd));
    other.resize(bytes.len(), 0);
    loop_over("in.tar.zst", &bytes, &other, &[], true);
}

/// A merge that waits for its second archive has the first one open already; that one is cut meanwhile.
#[test]
fn cut_while_it_waits() {
    let [bytes, other] = ["a.io/first:1", "a.io/other:2"].map(archive);
    for (more, says) in [(&[][..], true), (&["--no-mmap"], true), (&["--mmap"], false)] {
        for len in [0, 512, bytes.len() / 2 / 512 * 512] {
            let room = Room::new();
            let (input, out) = (room.write("in.tar", &bytes), room.path("out.tar"));
            let args = [&["merge", "-o", arg(&out), arg(&input), "-"], more].concat();
            let mut child = command(&args);
            let child = child.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child = child.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            // More than a pipe holds: somebody reads.
            let (first, rest) = other.split_at(1 << 20);
            stdin.write_all(first).unwrap();
            File::options().write(true).open(&input).unwrap().set_len(len as u64).unwrap();
            // Who has noticed reads no more.
            let _ = stdin.write_all(rest);
            drop(stdin);
            let done = child.wait_with_output().unwrap();
            let err = String::from_utf8_lossy(&done.stderr);
            let what = format!("{args:?} {len}: {:?} {err}", done.status);
            assert_eq!(done.status.code(), Some(5), "{what}");
            // Where a map is torn nothing can be said any more.
            let changed = err.lines().count() == 1 && err.contains("[E_INPUT_CHANGED]");
            assert!(changed || !says && err.is_empty(), "{what}");
            assert_eq!(room.list(), ["in.tar"], "{what}");
        }
    }
}

/// Stopped between mapping a file and reading it, which is when the file is cut.
#[test]
fn a_torn_map() {
    if !trace::works() {
        return;
    }
    let bytes = archive("a.io/first:1");
    for verb in ["ls", "verify", "retag"] {
        let room = Room::new();
        let (input, out) = (room.write("in.tar", &bytes), room.path("out.tar"));
        let input = input.canonicalize().unwrap();
        let mut args = vec![verb, "--mmap", arg(&input)];
        if verb == "retag" {
            args.extend([arg(&out), NEW]);
        }
        // Below itself, so that the child is ocitar.
        let mut child = Command::new("strace");
        let stop = ["-P", arg(&input), "-e", "trace=mmap", "-e", "inject=mmap:signal=SIGSTOP"];
        child.args(["-D", "-f", "-qq", "-o", "/dev/null"]).args(stop);
        child.arg(env!("CARGO_BIN_EXE_ocitar")).args(&args).stdin(Stdio::null());
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let maps = format!("/proc/{}/maps", child.id());
        let is_mapped = || fs::read_to_string(&maps).is_ok_and(|maps| maps.contains(arg(&input)));
        while !is_mapped() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        File::options().write(true).open(&input).unwrap().set_len(0).unwrap();
        // It may not have stopped yet.
        while child.try_wait().unwrap().is_none() {
            let id = child.id().to_string();
            assert!(Command::new("kill").args(["-s", "CONT", &id]).status().unwrap().success());
            std::thread::sleep(Duration::from_millis(1));
        }
        let done = child.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(5), "{verb}: {done:?}");
        assert!(done.stdout.is_empty() && done.stderr.is_empty(), "{verb}: {done:?}");
        assert_eq!(room.list(), ["in.tar"], "{verb}");
    }
}

/// What the kernel does to who reads a map that is torn ends as other failures of files do, and leaves nothing.
#[test]
fn the_signal_of_a_torn_map() {
    let room = Room::new();
    let input = room.write("in.tar", archive("a.io/first:1"));
    let out = room.path("out.tar");
    let args = ["merge", "--mmap", "-o", arg(&out), arg(&input), "-"];
    let mut child = command(args);
    let child = child.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Once it has read this it waits for more.
    child.stdin.as_ref().unwrap().write_all(&archive("a.io/b:1")[..1 << 20]).unwrap();
    let sent = Command::new("kill").args(["-s", "BUS", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(5), "{done:?}");
    assert_eq!(room.list(), ["in.tar"]);
}

/// Nobody should, but who maps a file that is then cut gets an error, too; only nothing can be said any more.
#[test]
fn a_mapped_archive() {
    let [bytes, other] = ["a.io/first:1", "a.io/other:2"].map(archive);
    loop_over("in.tar", &bytes, &other, &["--mmap"], false);
}
