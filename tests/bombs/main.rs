//! Bombs, and what they cost: exit code, id, peak memory and time of the real
//! program; then all of them, and every archive of `testdata`, where memory and
//! stack are small.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod make;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use make::{Bomb, End};
use ocitar::archive::{Access, Archive, OpenOptions};
use ocitar::error::Error;
use ocitar::progress::Silent;
use ocitar::verify::VerifyOptions;
use support::run::{Room, arg, finish, testdata};
use wait4::Wait4;

/// MiB that every run must do with.
const MEMORY: u64 = 64;

/// MiB of address space: what a debug build, the C library and the stacks of
/// threads take, and no bomb.
const ADDRESSES: u64 = 512;

/// What a hang is, however busy the machine. Nothing here takes a second of a
/// processor in a release build.
const HANG: Duration = Duration::from_secs(300);

/// One test, because whatever else runs in this process counts, too.
#[test]
fn bombs() {
    let room = Room::new();
    let bombs = make::all(&room);
    let wrong = measured(&room, &bombs);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    with_few_addresses(&room, &bombs);
    with_little_stack(&bombs);
}

/// What a run ended with, and what it took.
struct Cost {
    code: i32,
    err: String,
    /// MiB, at most.
    memory: u64,
    /// Of a processor.
    time: Duration,
}

impl Cost {
    /// The first id that is named as what is wrong.
    fn id(&self) -> &str {
        let ids = self.err.lines().filter_map(|line| line.rsplit_once('[')?.1.strip_suffix(']'));
        ids.clone().find(|id| id.starts_with("E_")).unwrap_or_default()
    }
}

/// Runs a program and says what it took.
///
/// The memory of a program counts from what started it, and this process has
/// built bombs. So it starts itself anew, and that process starts the program.
fn run(room: &Room, args: &[&str]) -> Cost {
    let (err, cost) = (room.path("stderr"), room.path("cost"));
    let args = [&[arg(&err), arg(&cost)], args].concat();
    let mut own = Command::new(std::env::current_exe().unwrap());
    own.args(["--exact", "run_one", "--ignored"]).env(RUN, args.join(SEPARATOR));
    let done = finish(&mut own, &[]);
    assert_eq!(done.code, 0, "{args:?} {}{}", done.text(), done.err);
    let numbers: Vec<i64> =
        fs::read_to_string(cost).unwrap().split(' ').map(|text| text.parse().unwrap()).collect();
    let [code, memory, time] = numbers[..] else { panic!("{numbers:?}") };
    Cost {
        code: code as i32,
        err: fs::read_to_string(err).unwrap(),
        memory: memory as u64,
        time: Duration::from_millis(time as u64),
    }
}

/// What `run` asks of its second process: two files to write, and a command.
const RUN: &str = "OCITAR_TEST_RUN";
const SEPARATOR: &str = "\u{1f}";

#[test]
#[ignore = "the other half of `bombs`"]
fn run_one() {
    let args = std::env::var(RUN).unwrap();
    let [err, cost, program, args @ ..] = &*args.split(SEPARATOR).collect::<Vec<_>>() else {
        panic!()
    };
    let mut command = Command::new(program);
    command.args(args).env_remove("RUST_BACKTRACE").stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(File::create(err).unwrap()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let (done, waits) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if waits.recv_timeout(HANG) == Err(mpsc::RecvTimeoutError::Timeout) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    });
    let used = child.wait4().unwrap();
    let time = (used.rusage.utime + used.rusage.stime).as_millis();
    drop(done);
    watch.join().unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&used.status);
    let code = used.status.code().unwrap_or(-signal.unwrap_or(0));
    fs::write(cost, format!("{code} {} {time}", used.rusage.maxrss >> 20)).unwrap();
}

fn verbs(room: &Room, bomb: &Bomb) -> [(&'static str, Vec<String>, End); 3] {
    let (input, output) = (arg(&bomb.path).to_owned(), arg(&room.path("out.tar")).to_owned());
    let prefix = "--prefix=example.com=registry.example.com".to_owned();
    [
        ("ls", vec!["ls".into(), input.clone()], bomb.ls),
        ("verify", vec!["verify".into(), input.clone()], bomb.verify),
        ("retag", vec!["retag".into(), "-f".into(), input, output, prefix], bomb.retag),
    ]
}

/// Prints the table and returns what is wrong in it.
fn measured(room: &Room, bombs: &[Bomb]) -> Vec<String> {
    let mut wrong = Vec::new();
    println!(
        "{:24} {:>9} {:6} {:>4} {:18} {:>4} {:>5}",
        "BOMB", "BYTES", "VERB", "EXIT", "ID", "MIB", "S"
    );
    for bomb in bombs {
        for (verb, args, (code, id)) in verbs(room, bomb) {
            let args: Vec<&str> = [env!("CARGO_BIN_EXE_ocitar")]
                .into_iter()
                .chain(args.iter().map(String::as_str))
                // Pages of a map are counted and can be taken back.
                .chain(["--no-mmap"])
                .chain(bomb.options.iter().copied())
                .collect();
            let cost = run(room, &args);
            let row = format!(
                "{:24} {:9} {verb:6} {:4} {:18} {:4} {:5.1}",
                bomb.name,
                fs::metadata(&bomb.path).unwrap().len(),
                cost.code,
                cost.id(),
                cost.memory,
                cost.time.as_secs_f64()
            );
            println!("{row}");
            if (cost.code, cost.id()) != (code, id) || cost.memory >= MEMORY + bomb.more {
                wrong.push(format!("{row}, and not {code} {id}\n{}", cost.err));
            }
            if code == 4 && !cost.err.contains("  hint: --limit ") {
                wrong.push(format!("{row}: no limit is named\n{}", cost.err));
            }
        }
    }
    wrong
}

fn with_few_addresses(room: &Room, bombs: &[Bomb]) {
    let limited = format!("ulimit -v {} && exec \"$0\" \"$@\"", ADDRESSES << 10);
    let end = |input: &Path, options: &[&str]| {
        for verb in ["ls", "verify"] {
            let program = [env!("CARGO_BIN_EXE_ocitar"), verb, arg(input)];
            let cost = run(room, &[&["sh", "-c", &limited], &program[..], options].concat());
            // Neither a panic nor an abort nor a signal.
            let what = format!("{verb} {} {options:?}", input.display());
            assert!((0..=5).contains(&cost.code), "{what}: {} {}", cost.code, cost.err);
        }
    };
    for bomb in bombs {
        let jobs: &[&str] = if bomb.options.contains(&"--jobs") { &[] } else { &["--jobs", "2"] };
        end(&bomb.path, &[bomb.options, jobs].concat());
    }
    for input in testdata() {
        end(&input, &["--mmap", "--jobs", "2"]);
        end(&input, &["--no-mmap", "--jobs", "2"]);
    }
}

/// On a thread of 256 KiB, which is less than any platform gives.
fn with_little_stack(bombs: &[Bomb]) {
    let inputs: Vec<_> = bombs.iter().map(|bomb| bomb.path.clone()).chain(testdata()).collect();
    let open = move || inputs.iter().for_each(|input| drop(read(input)));
    thread::Builder::new().stack_size(256 << 10).spawn(open).unwrap().join().unwrap();
}

/// Opens and verifies on this very thread.
fn read(input: &Path) -> Result<(), Error> {
    let options = OpenOptions::new().access(Access::Metadata);
    let archive: Archive = options.open(input)?;
    let mut verify = VerifyOptions::default();
    verify.jobs = Some(1);
    if archive.is_whole() {
        let _ = archive.verify(&verify, &Silent);
    }
    Ok(())
}
