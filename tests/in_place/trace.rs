//! `ocitar` under strace: the calls it makes, and what comes of it when one of them goes wrong.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::support::run::{Room, Run, arg, finish};

/// One system call that touches the folder of a test: its name, and how many of that name came before it in its
/// thread and with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    pub number: usize,
    /// As strace prints it, with paths behind descriptors.
    pub line: String,
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

fn strace(options: &[&str], args: &[&str]) -> Run {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(options).arg(env!("CARGO_BIN_EXE_ocitar")).args(args);
    finish(command.env_remove("RUST_BACKTRACE"), &[])
}

/// Runs `ocitar` and lists the calls that touch this folder.
pub fn calls(folder: &Path, args: &[&str]) -> (Run, Vec<Call>) {
    let log = Room::new();
    let log = log.path("log");
    let run = strace(&["-y", "-s", "0", "-o", arg(&log)], args);
    let mut numbers = HashMap::new();
    let mut calls = Vec::new();
    for line in fs::read_to_string(log).unwrap().lines() {
        let Some((thread, line)) = line.split_once(' ') else { continue };
        let Some((name, _)) = line.trim_start().split_once('(') else { continue };
        // `<... read resumed>` and `+++ exited` are no calls.
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let number = numbers.entry((thread.to_owned(), name.to_owned())).or_insert(0);
        *number += 1;
        if line.contains(arg(folder)) && name != "execve" {
            calls.push(Call { name: name.to_owned(), number: *number, line: line.to_owned() });
        }
    }
    (run, calls)
}

/// Runs `ocitar` with something wrong at one call, `signal=SIGKILL`, or from it on, `error=ENOSPC+`.
pub fn inject(call: &Call, what: &str, args: &[&str]) -> Run {
    let (name, number) = (&call.name, call.number);
    let (what, on) = what.strip_suffix('+').map_or((what, ""), |what| (what, "+"));
    let trace = format!("trace={name}");
    let inject = format!("inject={name}:{what}:when={number}{on}");
    strace(&["-o", "/dev/null", "-e", &trace, "-e", &inject], args)
}
