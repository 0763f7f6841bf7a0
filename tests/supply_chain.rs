//! What the package depends on, and what it promises about its own source.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates of the library without its features, those that only build it
/// included. Every one of them is somebody who must be trusted; raise this
/// together with the reason.
const CRATES: usize = 45;

/// The one file in which `unsafe` may stand.
const UNSAFE: &str = "src/source/map.rs";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// Every Rust file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[test]
fn few_crates() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--locked", "--no-default-features", "--prefix", "none"]);
    cargo.args(["--edges", "normal,build", "--format", "{p}"]).current_dir(root());
    let tree = cargo.output().unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).unwrap();
    let names: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    let others: Vec<&&str> = names.iter().filter(|name| !name.starts_with("ocitar ")).collect();
    println!("{} crates", others.len());
    others.iter().for_each(|name| println!("  {name}"));
    assert!(others.len() <= CRATES, "{} crates, {CRATES} are wanted", others.len());
}

/// `deny` can be taken back by any module, `forbid` by none and so not by the
/// one that maps files: this is the `forbid` for all but that one.
#[test]
fn unsafe_code_stands_in_one_file() {
    assert!(read("Cargo.toml").contains("unsafe_code = \"deny\""));
    for path in ["src", "benches", "tests"].iter().flat_map(|name| sources(&root().join(name))) {
        let name = path.strip_prefix(root()).unwrap();
        if name == Path::new(UNSAFE) || name == Path::new(file!()) {
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let code = line.split("//").next().unwrap();
            let blocks = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "(unsafe_code"];
            let found = blocks.iter().find(|block| code.contains(*block));
            assert!(found.is_none(), "{}: {line}", name.display());
        }
    }
    assert_eq!(read(UNSAFE).matches("unsafe {").count(), 1);
}

/// Nothing of ours runs when the package is built.
#[test]
fn nothing_runs_when_it_is_built() {
    assert!(!root().join("build.rs").exists());
    let manifest = read("Cargo.toml");
    assert!(!manifest.contains("\nbuild = ") && !manifest.contains("proc-macro = true"));
    assert!(root().join("Cargo.lock").is_file());
}

/// A sum that overflows in a release build must end the program there, too,
/// instead of becoming an offset.
#[test]
fn releases_check_their_sums() {
    let manifest = read("Cargo.toml");
    let (_, release) = manifest.split_once("[profile.release]").unwrap();
    assert!(release.split("\n[").next().unwrap().contains("overflow-checks = true"));
}

/// The oldest compiler is stated once for cargo, once for people, and once for
/// the run that tries it.
#[test]
fn the_oldest_compiler_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_RUST_VERSION");
    assert!(read("README.md").contains(&format!("({version} or newer)")), "README.md");
    let ci = root().join(".ci/run");
    if ci.exists() {
        assert!(fs::read_to_string(ci).unwrap().contains(&format!("+{version} ")), ".ci/run");
    }
}

/// Every test that SECURITY.md names is there: `path::name`.
#[test]
fn promises_have_tests() {
    let text = read("SECURITY.md");
    let named = text.split('`').filter_map(|word| word.split_once("::"));
    let mut count = 0;
    for (path, name) in named.filter(|(path, _)| path.ends_with(".rs")) {
        let source =
            fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(source.contains(&format!("fn {name}()")), "{path}::{name}");
        count += 1;
    }
    assert!(count > 10, "{count} tests are named");
}

/// Every row of crafted archives is explained, and every number up to the last has a row.
#[test]
fn attacks_have_rows() {
    let text = read("SECURITY.md");
    for (kind, last) in [("T", 73), ("R", 26)] {
        for number in 1..=last {
            let start = format!("| {kind}{number} |");
            let rows: Vec<&str> = text.lines().filter(|line| line.starts_with(&start)).collect();
            let [row] = rows[..] else { panic!("{start}: {} rows", rows.len()) };
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            assert!(cells.len() >= 4 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
        }
    }
}
