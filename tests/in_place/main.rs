//! `ocitar retag --in-place` and `ocitar recover`: the file is the old one or the new one, whatever happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "cli")]

mod equal;
mod faults;
mod recover;
mod reflink;
mod refuse;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::run::{Room, Run, arg, ocitar};
use support::trace;

/// Bytes that a journal takes, and the file may change by.
const MOST: usize = 16 << 20;

/// A name so long that a document needs another block for it.
const LONG: &str = concat!(
    "registry.with-a-long-name.example.com/this/is/a/path/of/many/many/components/that/is/",
    "about/as/long/as/a/path/may/be/because/every/document/of/the/archive/should/need/at/least/",
    "one/block/more/than/with/the/other/name/of/this/test/which/is/quite/short:with-a-long-tag-too"
);
const SHORT: &str = "a.io/b:1";

/// Both ways.
const WAYS: [&str; 2] = ["--in-place", "--in-place=journal"];

/// What retagging to a new file gives, or how it fails.
fn to_new_file(room: &Room, input: &Path, rules: &[&str]) -> Result<Vec<u8>, Run> {
    // Without an extension: compressed as the input is.
    let out = room.path("new-file");
    let run = ocitar([&["retag", "--force", arg(input), arg(&out)], rules].concat());
    if run.code == 0 { Ok(fs::read(out).unwrap()) } else { Err(run) }
}

fn in_place(way: &str, file: &Path, rules: &[&str]) -> Run {
    ocitar([&["retag", way, "--json", arg(file)], rules].concat())
}

/// How it was written, as the run says.
fn method(run: &Run) -> String {
    run.json()["written"]["method"].as_str().unwrap().to_owned()
}

/// The path of a file's journal.
fn journal_of(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}.ocitar-journal", arg(file)))
}
