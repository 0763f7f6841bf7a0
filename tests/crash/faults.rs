//! Every way to write an archive, with a fault at the system calls that touch its files, on several file systems.
//!
//! By default some of the calls that only read are passed over; `OCITAR_CRASH=all` takes every one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::NEW;
use super::support::docker::{crane, docker28};
use super::support::image::{Packing, pack};
use super::support::mount::Mounted;
use super::support::run::{Room, Run, arg, ocitar};
use super::support::trace::{self, Call, Start};

/// Of the calls that only read, every how manieth fails when not all do.
const STEP: usize = 5;

/// Where a process that is killed between two calls may leave a file; the next run removes it.
const BETWEEN: &str = ".ocitar.replacing.tmp";

/// One way to write an archive.
struct Operation {
    name: &'static str,
    /// Names of files stand for their paths.
    args: &'static [&'static str],
    /// What is written, in the folder.
    output: &'static str,
    /// What is there before.
    old: Option<Vec<u8>>,
    /// Whether standard input and output are `in.tar` and the output.
    streams: bool,
}

/// The files there are before.
struct Inputs(Vec<(&'static str, Vec<u8>)>);

const IN_PLACE: &str = "in.tar";

fn operations(inputs: &Inputs) -> Vec<Operation> {
    let new = |name, args, output| Operation { name, args, output, old: None, streams: false };
    let old = |name| Some(inputs.get(name).to_vec());
    vec![
        new("retag, new file", &["retag", "in.tar", "out.tar", NEW], "out.tar"),
        Operation {
            old: old("other.tar"),
            ..new(
                "retag --force",
                &["retag", "--force", "--no-progress", "in.tar", "out.tar", NEW],
                "out.tar",
            )
        },
        Operation {
            old: old(IN_PLACE),
            ..new("retag --in-place", &["retag", "--in-place", "in.tar", NEW], IN_PLACE)
        },
        Operation {
            old: old(IN_PLACE),
            ..new("--in-place=journal", &["retag", "--in-place=journal", "in.tar", NEW], IN_PLACE)
        },
        new("compressed", &["retag", "in.tar", "out.tar.zst", NEW], "out.tar.zst"),
        new("one pass, .gz", &["retag", "in.tar.gz", "out.tar", NEW], "out.tar"),
        Operation {
            streams: true,
            ..new("retag - -", &["retag", "-", "-", NEW, "--tmpdir", "."], "out.tar")
        },
        Operation {
            old: old("other.tar"),
            ..new("export", &["export", "--force", "in.tar", "out.tar"], "out.tar")
        },
        new("merge", &["merge", "-o", "out.tar", "in.tar", "other.tar"], "out.tar"),
    ]
}

impl Inputs {
    fn new() -> Inputs {
        // Enough for several writes, and nothing a codec makes smaller.
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        let plain = docker28().tar.file("noise", noise.take(1 << 20).collect::<Vec<u8>>()).bytes();
        let packed = pack(&plain, Packing::Gzip);
        Inputs(vec![("in.tar", plain), ("in.tar.gz", packed), ("other.tar", crane().tar.bytes())])
    }

    fn get(&self, name: &str) -> &[u8] {
        &self.0.iter().find(|(known, _)| *known == name).unwrap().1
    }

    fn len(&self) -> u64 {
        self.0.iter().map(|(_, bytes)| bytes.len().next_multiple_of(4096) as u64).sum()
    }
}

/// What became of the destination. A stream that nobody can take for whole counts as the old one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Old,
    New,
    Neither,
}

/// Runs, and what they left.
#[derive(Clone, Copy, Default)]
struct Count {
    runs: usize,
    old: usize,
    new: usize,
    lost: usize,
    left: usize,
}

type Table = BTreeMap<(usize, &'static str, String, String), Count>;

/// An operation in a folder of its own.
struct Case<'a> {
    operation: &'a Operation,
    inputs: &'a Inputs,
    folder: PathBuf,
}

impl Case<'_> {
    fn output(&self) -> PathBuf {
        self.folder.join(self.operation.output)
    }

    fn begin(&self) {
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir(&self.folder).unwrap();
        for (name, bytes) in &self.inputs.0 {
            fs::write(self.folder.join(name), bytes).unwrap();
        }
        if let Some(old) = &self.operation.old {
            fs::write(self.output(), old).unwrap();
        }
    }

    /// Starts it by this function.
    fn start(&self, run: impl FnOnce(Start<'_>) -> Run) -> Run {
        let path = |word: &&str| match *word {
            "." => arg(&self.folder).to_owned(),
            word if word.contains(".tar") => arg(&self.folder.join(word)).to_owned(),
            word => word.to_owned(),
        };
        let args: Vec<String> = self.operation.args.iter().map(path).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (input, output) = (self.folder.join("in.tar"), self.output());
        let streams = self.operation.streams.then_some([&*input, &*output]);
        run(Start { args: &args, streams })
    }

    /// What nothing in the way leads to, and the calls it takes.
    fn clean(&self) -> (Vec<u8>, Vec<Call>) {
        self.begin();
        let mut calls = Vec::new();
        let run = self.start(|start| {
            let (run, all) = trace::calls(&self.folder, start);
            calls = all;
            run
        });
        run.ok();
        (fs::read(self.output()).unwrap(), calls)
    }

    /// Looks what a run left, and counts it.
    fn look(&self, run: &Run, new: &[u8], killed: bool, context: &str, count: &mut Count) {
        let context = format!("{}, {context}: {} {}", self.operation.name, run.code, run.err);
        let output = self.output();
        let journal = PathBuf::from(format!("{}.ocitar-journal", arg(&output)));
        match run.code {
            -9 if killed => {}
            0 if !killed => {}
            5 if !killed => {
                assert!(run.err.starts_with("ocitar: ") && run.err.contains(" [E_"), "{context}");
            }
            _ => panic!("{context}"),
        }
        if journal.exists() {
            let refused = ocitar(["ls", arg(&output)]);
            assert_eq!((refused.code, refused.id()), (5, "E_JOURNAL"), "{context}");
            ocitar(["recover", arg(&output)]).ok();
        }
        let found = self.found(run, new, killed);
        assert!(run.code != 0 || found == Found::New, "{context}: exit 0 without the output");
        let left = self.left();
        if killed {
            // Only in the moment before a file is replaced it has another name.
            assert!(left.iter().all(|name| name == BETWEEN), "{context}: {left:?}");
        } else {
            assert!(left.is_empty(), "{context}: {left:?}");
        }
        count.runs += 1;
        count.old += usize::from(found == Found::Old);
        count.new += usize::from(found == Found::New);
        count.lost += usize::from(found == Found::Neither);
        count.left += left.len();
        if !left.is_empty() {
            // Whoever comes next cleans up.
            self.start(|start| start.below("env", &[])).ok();
            assert!(self.left().is_empty(), "{context}: {:?}", self.left());
        }
    }

    fn found(&self, run: &Run, new: &[u8], killed: bool) -> Found {
        let output = self.output();
        let is = fs::read(&output).ok();
        match (is, &self.operation.old) {
            (Some(is), _) if is == new => Found::New,
            // A stream has an output from the first byte on, but none that can be taken for the whole.
            (Some(is), _) if self.operation.streams => {
                let cut = killed && new.starts_with(&is);
                let refused = run.code != 0 && ocitar(["verify", arg(&output)]).code != 0;
                if cut || refused { Found::Old } else { Found::Neither }
            }
            (is, old) if is == *old => Found::Old,
            _ => Found::Neither,
        }
    }

    /// Files that were not there before and are not the output.
    fn left(&self) -> Vec<String> {
        let names = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        let known = |name: &String| self.inputs.0.iter().any(|(known, _)| known == name);
        names.filter(|name| name != self.operation.output && !known(name)).collect()
    }
}

/// Whether a call changes something: on disk, or in the folder.
fn changes(call: &Call) -> bool {
    match &*call.name {
        "open" | "openat" => call.line.contains("O_CREAT") || call.line.contains("O_TMPFILE"),
        "ioctl" => call.line.contains("FICLONE"),
        "read" | "pread64" | "lseek" | "close" | "fcntl" | "mmap" | "getxattr" | "readlink"
        | "readlinkat" | "statx" | "newfstatat" | "fstat" | "fstatfs" | "statfs" => false,
        _ => true,
    }
}

/// Kills, and lets calls fail, where `some` says so.
fn faults(case: &Case<'_>, system: &str, at: usize, table: &mut Table) {
    let all = std::env::var_os("OCITAR_CRASH").is_some_and(|value| value == "all");
    let (new, calls) = case.clean();
    let kinds = ["signal=SIGKILL", "error=EIO", "error=ENOSPC"];
    for (position, call) in calls.iter().enumerate() {
        for (kind, what) in kinds.iter().enumerate() {
            let changes = changes(call);
            let reads = all || (position + 2 * kind) % STEP == 0;
            if !(changes || (reads && *what != "error=ENOSPC")) {
                continue;
            }
            // A full disk stays full; but words get out.
            let on = if *what == "error=ENOSPC" && call.name != "write" { "+" } else { "" };
            case.begin();
            let run = case.start(|start| trace::inject(call, &format!("{what}{on}"), start));
            if run.code == 127 {
                // Calls are counted by thread: this was one of the loader's, too.
                continue;
            }
            let key = (at, case.operation.name, (*what).to_owned(), system.to_owned());
            let count = table.entry(key).or_default();
            case.look(&run, &new, kind == 0, &format!("{system}, {what}{on} at {call:?}"), count);
        }
    }
}

/// Lets no file grow beyond more and more bytes, so that writes become short ones, then errors.
fn limited(case: &Case<'_>, system: &str, at: usize, table: &mut Table) {
    let (new, _) = case.clean();
    let steps: Vec<usize> = (0..10).map(|step| (new.len() * step / 9).div_ceil(512)).collect();
    for blocks in steps {
        case.begin();
        let limit = format!("ulimit -f {blocks} && exec \"$@\"");
        let run = case.start(|start| start.below("sh", &["-c", &limit, "sh"]));
        let key = (at, case.operation.name, "file size limit".to_owned(), system.to_owned());
        let count = table.entry(key).or_default();
        case.look(&run, &new, false, &format!("{system}, {blocks} blocks a file"), count);
    }
}

/// A file system that is full at more and more bytes: real short writes, then real errors.
fn full(operation: &Operation, inputs: &Inputs, at: usize, table: &mut Table) {
    let room = Room::new();
    let case = Case { operation, inputs, folder: room.path("folder") };
    let (new, _) = case.clean();
    let beside = operation.old.as_ref().filter(|_| operation.output != IN_PLACE);
    let old = beside.map_or(0, Vec::len).next_multiple_of(4096);
    let before = inputs.len() + old as u64 + 8192;
    let steps = if std::env::var_os("OCITAR_CRASH").is_some() { 32 } else { 12 };
    for step in 0..=steps {
        let more = (new.len() as u64 + (24 << 10)) * step / steps;
        let size = format!("size={}", (before + more).next_multiple_of(4096));
        let Some(mounted) = Mounted::tmpfs(&size) else { return };
        let case = Case { operation, inputs, folder: mounted.folder.join("folder") };
        case.begin();
        let run = case.start(|start| start.below("env", &[]));
        let key = (at, operation.name, "full disk".to_owned(), "tmpfs".to_owned());
        let count = table.entry(key).or_default();
        case.look(&run, &new, false, &size, count);
    }
}

fn print(table: &Table) {
    println!(
        "{:<20} {:<16} {:<6} {:>5} {:>5} {:>5} {:>5}",
        "operation", "fault", "on", "runs", "old", "new", "lost"
    );
    let mut sum = Count::default();
    for ((_, operation, fault, system), count) in table {
        let Count { runs, old, new, lost, left } = count;
        let fault = fault.rsplit('=').next().unwrap();
        print!("{operation:<20} {fault:<16} {system:<6} {runs:>5} {old:>5} {new:>5} {lost:>5}");
        println!(
            "{}",
            if *left > 0 {
                format!("  {left} left a file, removed next time")
            } else {
                String::new()
            }
        );
        sum.runs += runs;
        sum.lost += lost;
    }
    println!("{} runs, {} lost", sum.runs, sum.lost);
    assert_eq!(sum.lost, 0);
}

fn on_each(system: Option<(&'static str, &Path)>, table: &mut Table) {
    let Some((system, folder)) = system else { return };
    let inputs = Inputs::new();
    for (at, operation) in operations(&inputs).iter().enumerate() {
        let case = Case { operation, inputs: &inputs, folder: folder.join("folder") };
        faults(&case, system, at, table);
        limited(&case, system, at, table);
    }
}

fn on(mkfs: &[&str], system: &'static str) {
    if !trace::works() {
        return;
    }
    let mut table = Table::new();
    let mounted = Mounted::new(mkfs);
    on_each(mounted.as_ref().map(|mounted| (system, &*mounted.folder)), &mut table);
    print(&table);
}

#[test]
fn on_ext4() {
    on(&["mkfs.ext4", "-q", "-F"], "ext4");
}

#[test]
fn on_xfs() {
    on(&["mkfs.xfs", "-q", "-f"], "xfs");
}

#[test]
fn on_a_full_disk() {
    let inputs = Inputs::new();
    let mut table = Table::new();
    for (at, operation) in operations(&inputs).iter().enumerate() {
        full(operation, &inputs, at, &mut table);
    }
    print(&table);
}

/// Without root there is no other file system than that of the temporary folder.
#[test]
fn where_temporary_files_are() {
    // Root has tested two others.
    if !trace::works() || fs::metadata("/proc/self").unwrap().uid() == 0 {
        return;
    }
    let room = Room::new();
    let mut table = Table::new();
    on_each(Some(("here", &room.path(""))), &mut table);
    print(&table);
}
