//! Every archive of a folder through `ls`, `verify`, `retag` and `verify` again: set `OCITAR_CORPUS=DIR`.
//!
//! The table is for people: what each file is and how it fared. The test fails where a file that verified before a
//! retag does not after it, and where the command ended with 70 (a bug it noticed) or 101 (a panic).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::run::{Room, Run, arg, ocitar};

const NEW: &str = "registry.example.com/corpus/new:v9";

/// How one file fared.
struct Row {
    cells: [String; 6],
    faults: Vec<String>,
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

/// `0`, or the code and the first id that was printed.
fn cell(run: &Run) -> String {
    match run.code {
        0 => "0".to_owned(),
        code => {
            let ids = run
                .err
                .lines()
                .filter_map(|line| Some(line.rsplit_once('[')?.1.split_once(']')?.0));
            let id = ids.into_iter().find(|id| id.starts_with("E_")).unwrap_or("?");
            format!("{code} {id}")
        }
    }
}

fn check(path: &Path, name: &str, room: &Room) -> Row {
    let mut faults = Vec::new();
    let mut run = |args: &[&str]| {
        let run = ocitar(args);
        if run.code == 70 || run.code == 101 || run.code < 0 {
            faults.push(format!("{name}: {args:?} ended with {}: {}", run.code, run.err));
        }
        run
    };
    let listed = run(&["ls", "--json", arg(path)]);
    let archive = listed.json()["archives"][0].clone();
    let images = archive["images"].as_array().map(Vec::len);
    let before = run(&["verify", arg(path)]);
    let out = room.path("out.tar");
    let rules: &[&str] = match images {
        Some(1) => &[NEW],
        _ => &["--regex", "[^/]+/(.*)", "registry.example.com/$1"],
    };
    let renamed = run(&[&["retag", "--force", arg(path), arg(&out)], rules].concat());
    let after = (renamed.code == 0).then(|| run(&["verify", arg(&out)]));
    if let Some(after) = after.as_ref().filter(|after| before.code == 0 && after.code != 0) {
        faults.push(format!("{name}: verified before the retag and not after it: {}", after.err));
    }
    if renamed.code != 0 && out.exists() {
        faults.push(format!("{name}: a retag that failed left a file"));
    }
    let _ = fs::remove_file(&out);
    let format = archive["format"].as_str().unwrap_or("-").to_owned();
    let images = images.map_or_else(|| cell(&listed), |count| count.to_string());
    let after = after.as_ref().map_or_else(|| "-".to_owned(), cell);
    Row { cells: [name.to_owned(), format, images, cell(&before), cell(&renamed), after], faults }
}

#[test]
fn a_folder_of_archives() {
    let Some(folder) = std::env::var_os("OCITAR_CORPUS").filter(|folder| !folder.is_empty()) else {
        println!("skipped, OCITAR_CORPUS not set");
        return;
    };
    let folder = PathBuf::from(folder);
    let mut found = Vec::new();
    files(&folder, &mut found);
    found.sort();
    let room = Room::new();
    let rows: Vec<Row> = found
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&folder).unwrap().display().to_string();
            check(path, &name, &room)
        })
        .collect();
    let header = ["FILE", "FORMAT", "IMAGES", "VERIFY", "RETAG", "VERIFY AFTER"].map(str::to_owned);
    let lines = || std::iter::once(&header).chain(rows.iter().map(|row| &row.cells));
    let widths: Vec<usize> = (0..header.len())
        .map(|column| lines().map(|cells| cells[column].chars().count()).max().unwrap_or(0))
        .collect();
    for cells in lines() {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    }
    println!("{} files", rows.len());
    let faults: Vec<&String> = rows.iter().flat_map(|row| &row.faults).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
