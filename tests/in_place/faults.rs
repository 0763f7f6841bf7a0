//! Killed at every system call that touches the file's folder, and every one of them failing: the file is the old one
//! or the new one, at once or after `ocitar recover`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::recover::Journal;
use super::support::docker::docker28;
use super::support::run::{Room, arg, ocitar};
use super::trace::{self, Call};
use super::{LONG, SHORT, journal_of, to_new_file};

/// Calls that change something, which a full disk may stop.
const WRITES: [&str; 11] = [
    "open",
    "openat",
    "write",
    "pwrite64",
    "ftruncate",
    "fsync",
    "unlink",
    "linkat",
    "renameat",
    "copy_file_range",
    "ioctl",
];

/// An edit: the file before and after it, and how to begin.
pub struct Edit {
    pub old: Vec<u8>,
    pub new: Vec<u8>,
    pub args: Vec<&'static str>,
    /// A journal and a half-written file to begin with, for `recover`.
    cut_short: bool,
}

impl Edit {
    /// From one name to another, which makes the archive longer or shorter.
    pub fn new(way: &'static str, longer: bool) -> Edit {
        let room = Room::new();
        let file = room.write("in.tar", docker28().tar.bytes());
        let [before, after] = if longer { [SHORT, LONG] } else { [LONG, SHORT] };
        let old = to_new_file(&room, &file, &[before]).unwrap();
        let new = to_new_file(&room, &room.write("old.tar", &old), &[after]).unwrap();
        assert_eq!(new.len() > old.len(), longer);
        Edit { old, new, args: vec!["retag", way, after], cut_short: false }
    }

    fn recovery(longer: bool) -> Edit {
        Edit { args: vec!["recover"], cut_short: true, ..Edit::new("--in-place", longer) }
    }

    /// The file as it is before, in an empty folder.
    fn begin(&self, folder: &Path) -> PathBuf {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir(folder).unwrap();
        let file = folder.join("in.tar");
        fs::write(&file, &self.old).unwrap();
        if self.cut_short {
            let journal = Journal::new(fs::metadata(&file).unwrap().ino(), &self.old, &self.new);
            fs::write(journal_of(&file), journal.bytes()).unwrap();
            let (offset, _, new) = &journal.ranges[0];
            // Half of it is written, and the file is as long as it was meant to be.
            let mut half = self.old.clone();
            half.resize(self.new.len(), 0);
            let offset = *offset as usize;
            half[offset..offset + new.len() / 2].copy_from_slice(&new[..new.len() / 2]);
            fs::write(&file, half).unwrap();
        }
        file
    }

    fn args<'a>(&'a self, file: &'a Path) -> Vec<&'a str> {
        let mut args = self.args.clone();
        args.push(arg(file));
        // The file comes before the rule.
        let end = args.len() - 1;
        if end > 1 {
            args.swap(end - 1, end);
        }
        args
    }

    /// What the run must leave when nothing goes wrong.
    fn result(&self) -> &[u8] {
        if self.cut_short { &self.old } else { &self.new }
    }

    /// The calls of a run without a fault.
    pub fn calls(&self, folder: &Path) -> Vec<Call> {
        let file = self.begin(folder);
        let (run, calls) = trace::calls(folder, &self.args(&file));
        run.ok();
        assert!(fs::read(&file).unwrap() == self.result());
        calls
    }

    /// Fails at one call, recovers, and checks what is there.
    fn fault(&self, folder: &Path, call: &Call, what: &str) {
        let file = self.begin(folder);
        let run = trace::inject(call, what, &self.args(&file));
        let context = format!("{:?} {what} at {call:?}: {} {}", self.args, run.code, run.err);
        let killed = what.starts_with("signal");
        match run.code {
            -9 if killed => {}
            // What does not matter may fail.
            0 if !killed => assert!(fs::read(&file).unwrap() == self.result(), "{context}"),
            5 if !killed => {
                assert!(run.err.starts_with("ocitar: "), "{context}");
                assert!(run.err.contains(" [E_"), "{context}");
            }
            _ => panic!("{context}"),
        }
        let cut_short = journal_of(&file).exists();
        if cut_short {
            // Until then nobody reads it.
            let run = ocitar(["ls", arg(&file)]);
            assert_eq!((run.code, run.id()), (5, "E_JOURNAL"), "{context}: {}", run.err);
            let run = ocitar(["recover", arg(&file)]);
            assert_eq!(run.code, 0, "{context}: {}", run.err);
        }
        let found = fs::read(&file).unwrap();
        assert!(
            found == self.old || found == self.new,
            "{context}: neither the old nor the new file"
        );
        let again = ocitar(["recover", arg(&file)]).ok();
        assert!(again.err.contains("nothing to recover"), "{context}: {}", again.err);
        // A process that is killed cannot remove its temporary file.
        let left = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<String> = left.map(|name| name.to_string_lossy().into_owned()).collect();
        let mut others = left.iter().filter(|name| *name != "in.tar");
        assert!(
            others.all(|name| name.starts_with(".ocitar.") && name.ends_with(".tmp")),
            "{left:?}"
        );
    }

    /// Fails at every call, in every way; returns how often.
    pub fn faults(&self, folder: &Path) -> usize {
        let calls = self.calls(folder);
        let mut count = 0;
        for call in &calls {
            self.fault(folder, call, "signal=SIGKILL");
            self.fault(folder, call, "error=EIO");
            count += 2;
            if WRITES.contains(&&*call.name) {
                // A full disk stays full, so that going back may fail as well; but words get out.
                let on = if call.name == "write" { "" } else { "+" };
                self.fault(folder, call, &format!("error=ENOSPC{on}"));
                count += 1;
            }
        }
        count
    }
}

fn faults(edits: &[Edit]) {
    if !trace::works() {
        return;
    }
    let room = Room::new();
    for edit in edits {
        let count = edit.faults(&room.path("folder"));
        println!("{:?}, {} to {} bytes: {count} faults", edit.args, edit.old.len(), edit.new.len());
        assert!(count > 20);
    }
}

#[test]
fn a_journalled_edit() {
    faults(&[Edit::new("--in-place=journal", true), Edit::new("--in-place=journal", false)]);
}

#[test]
fn an_atomic_edit() {
    faults(&[Edit::new("--in-place", true)]);
}

#[test]
fn a_recovery() {
    faults(&[Edit::recovery(true), Edit::recovery(false)]);
}

/// What must be on disk before what: without this order a power cut could leave a file nobody can go back from.
#[test]
fn the_order_on_disk() {
    if !trace::works() {
        return;
    }
    let room = Room::new();
    let folder = room.path("folder");
    let order = |edit: &Edit| -> Vec<String> {
        let short = |call: &Call| {
            let what = match &*call.line {
                line if line.contains(".ocitar-journal") => "journal",
                line if line.contains("/.ocitar.") => "temporary",
                // It has no name before its bytes are on disk.
                line if line.contains("O_TMPFILE") || line.contains("(deleted)") => "temporary",
                line if line.contains("in.tar") => "file",
                _ => "folder",
            };
            // Where there are both, libraries differ in which they call.
            let name = if call.name == "open" { "openat" } else { &call.name };
            format!("{name} {what}")
        };
        let changes = |call: &&Call| match &*call.name {
            "open" | "openat" => call.line.contains("O_CREAT") || call.line.contains("O_TMPFILE"),
            name => WRITES.contains(&name) && name != "ioctl",
        };
        let mut order: Vec<String> =
            edit.calls(&folder).iter().filter(changes).map(short).collect();
        order.dedup();
        order
    };
    let journal = |middle: &[&'static str]| {
        let before = ["openat journal", "write journal", "fsync journal", "fsync folder"];
        let after = ["fsync file", "unlink journal", "fsync folder"];
        [&before[..], middle, &after].concat()
    };
    assert_eq!(order(&Edit::new("--in-place=journal", true)), journal(&["pwrite64 file"]));
    let cut = ["pwrite64 file", "ftruncate file"];
    assert_eq!(order(&Edit::new("--in-place=journal", false)), journal(&cut));
    let undone =
        ["pwrite64 file", "ftruncate file", "fsync file", "unlink journal", "fsync folder"];
    assert_eq!(order(&Edit::recovery(true)), undone);
    let written = order(&Edit::new("--in-place", true));
    let atomic = [
        "openat temporary",
        "pwrite64 temporary",
        "fsync temporary",
        // Which fails, because there is the old file.
        "linkat file",
        "unlink temporary",
        "linkat temporary",
        "renameat temporary",
        "fsync folder",
    ];
    let without_kernel_copies: Vec<&str> = written
        .iter()
        .map(String::as_str)
        .filter(|call| !call.starts_with("copy_file_range"))
        .collect();
    assert_eq!(without_kernel_copies, atomic);
}
