//! `ocitar` under strace: the calls it makes, and what comes of it when one of them goes wrong.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use super::run::{Room, Run, arg, finish};

/// One system call that touches the folder of a test: its name, and how many of that name came before it in its
/// thread and with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    pub number: usize,
    /// As strace prints it, with paths behind descriptors.
    pub line: String,
}

/// How `ocitar` is run: its arguments, and the files that are its standard input and output where it has any.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    pub args: &'a [&'a str],
    pub streams: Option<[&'a Path; 2]>,
}

impl<'a> From<&'a Vec<&'a str>> for Start<'a> {
    fn from(args: &'a Vec<&'a str>) -> Start<'a> {
        Start { args, streams: None }
    }
}

impl Start<'_> {
    /// Runs it below another program, whose last arguments are the program and its arguments.
    pub fn below(self, program: &str, options: &[&str]) -> Run {
        let mut command = Command::new(program);
        command.args(options).arg(env!("CARGO_BIN_EXE_ocitar")).args(self.args);
        command.env_remove("RUST_BACKTRACE");
        let Some([input, output]) = self.streams else { return finish(&mut command, &[]) };
        let output = File::create(output).unwrap();
        let done = command.stdin(File::open(input).unwrap()).stdout(output).output().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&done.status);
        let code = done.status.code().unwrap_or(-signal.unwrap_or(0));
        Run { code, out: Vec::new(), err: String::from_utf8_lossy(&done.stderr).into_owned() }
    }
}

/// Whether programs can be traced here.
pub fn works() -> bool {
    let works = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).output();
    let works = works.is_ok_and(|done| done.status.success());
    if !works {
        eprintln!("skipped: no strace, or it may not trace");
    }
    works
}

/// Runs `ocitar` and lists all its calls, each behind the number of its thread.
pub fn lines(start: Start<'_>) -> (Run, Vec<(String, String)>) {
    let log = Room::new();
    let log = log.path("log");
    let run = start.below("strace", &["-f", "-qq", "-y", "-s", "0", "-o", arg(&log)]);
    let text = fs::read_to_string(log).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    (run, lines.map(|(thread, line)| (thread.to_owned(), line.trim_start().to_owned())).collect())
}

/// Runs `ocitar` and lists the calls that touch this folder.
pub fn calls<'a>(folder: &Path, start: impl Into<Start<'a>>) -> (Run, Vec<Call>) {
    let (run, lines) = lines(start.into());
    let mut numbers = HashMap::new();
    let mut calls = Vec::new();
    for (thread, line) in lines {
        let Some((name, _)) = line.split_once('(') else { continue };
        // `<... read resumed>` and `+++ exited` are no calls.
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let number = numbers.entry((thread, name.to_owned())).or_insert(0);
        *number += 1;
        if line.contains(arg(folder)) && name != "execve" {
            calls.push(Call { name: name.to_owned(), number: *number, line: line.clone() });
        }
    }
    (run, calls)
}

/// Runs `ocitar` with something wrong at one call, `signal=SIGKILL`, or from it on, `error=ENOSPC+`.
pub fn inject<'a>(call: &Call, what: &str, start: impl Into<Start<'a>>) -> Run {
    let (name, number) = (&call.name, call.number);
    let (what, on) = what.strip_suffix('+').map_or((what, ""), |what| (what, "+"));
    let trace = format!("trace={name}");
    let inject = format!("inject={name}:{what}:when={number}{on}");
    start.into().below("strace", &["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject])
}
