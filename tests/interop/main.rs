//! Real tools load what `ocitar retag` wrote.
//!
//! Every archive of `testdata` is renamed; then each tool that takes its format loads the result into an empty store,
//! and the names must be the new ones only, the image IDs and layers those of the archive before. What was in an archive
//! is read by `archive.rs`, which shares no code with ocitar.
//!
//! The tools are started by `tests/peers/peers.sh` (`up` and `host-up`). Where they do not run, that part is skipped, unless
//! `OCITAR_PEERS=1` asks for it. `OCITAR_ARCHIVES=docker26` takes only the cases whose title contains that.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod archive;
mod bundle;
mod cases;
mod consumers;
mod export;
mod export_consumers;
mod export_graph;
mod export_inputs;
mod peers;
mod predictions;
mod recipes;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use archive::{Archive, Image};
use cases::Case;
use consumers::{Consumer, Job};
use peers::{Peers, output};

/// To stderr, past what the test harness captures.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}

fn ocitar(words: &[&str]) -> Result<Vec<u8>, String> {
    output(Command::new(env!("CARGO_BIN_EXE_ocitar")).args(words))
        .map_err(|error| format!("ocitar {words:?}: {error}"))
}

/// A case after `ocitar retag`.
struct Retagged {
    path: PathBuf,
    before: Archive,
    after: Archive,
}

/// Renames the archive of a case into `room`, a folder of its own.
fn retag(case: &Case, room: &Path) -> Result<Retagged, String> {
    fs::create_dir_all(room).map_err(|error| error.to_string())?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(case.file.trim_end_matches('/'));
    let (input, before) = if case.file.ends_with('/') {
        let folder = room.join("in");
        let before = Archive::open(&file.with_extension("tar"), &folder)?;
        (folder, before)
    } else {
        let before = Archive::open(&file, &room.join("before"))?;
        (file, before)
    };
    let name = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let path = room.join(format!("out{}", name.find(".tar").map_or(".tar", |at| &name[at..])));
    let mut words = vec!["retag", input.to_str().unwrap(), path.to_str().unwrap()];
    words.extend(case.rules.iter().map(String::as_str));
    ocitar(&words)?;
    let after = Archive::open(&path, &room.join("after"))?;
    Ok(Retagged { path, before, after })
}

/// One view after the run: other names, everything else as it was.
fn same_view(case: &Case, before: &[Image], after: &[Image]) -> Result<(), String> {
    let rename = |image: &Image| Image { names: case.renamed(&image.names), ..image.clone() };
    let mut expected: Vec<_> = before.iter().map(rename).collect();
    let mut found = after.to_vec();
    expected.sort();
    found.sort();
    if expected == found {
        Ok(())
    } else {
        Err(format!("the images are {found:#?}, not {expected:#?}"))
    }
}

/// `ref.name` holds the tag where it held a tag, the whole name where it held one.
pub fn same_references(case: &Case, before: &Archive, after: &Archive) -> Result<(), String> {
    for image in &before.oci {
        let target = image.target.clone().unwrap_or_default();
        let of = |archive: &Archive| -> Vec<_> {
            archive
                .refs
                .iter()
                .filter(|(_, digest)| *digest == target)
                .map(|(reference, _)| reference.clone())
                .collect()
        };
        let names = case.renamed(&image.names);
        let mut found: Vec<_> = of(after);
        if found.len() != names.len().max(1) {
            return Err(format!(
                "{target} has {} descriptors and the names {names:?}",
                found.len()
            ));
        }
        // Free where there was none before, and where it was a digest.
        let Some(Some(old)) = of(before).first().cloned() else {
            continue;
        };
        if old.contains('@') || names.is_empty() {
            continue;
        }
        let tag = |name: &String| name.rsplit(':').next().unwrap_or_default().to_owned();
        let mut expected: Vec<_> = names
            .iter()
            .map(|name| Some(if old.contains('/') { name.clone() } else { tag(name) }))
            .collect();
        expected.sort();
        found.sort();
        if found != expected {
            return Err(format!("ref.name of {target} is {found:?}, not {expected:?}"));
        }
    }
    Ok(())
}

/// The new archive, as we read it: only names differ, in all four places alike.
fn check(case: &Case, job: &Retagged) -> Result<(), String> {
    same_view(case, &job.before.docker, &job.after.docker)?;
    same_view(case, &job.before.oci, &job.after.oci)?;
    same_references(case, &job.before, &job.after)?;
    job.before.same_files(&job.after)?;
    if let Some(repositories) = &job.after.repositories {
        let mut names: Vec<_> =
            job.after.docker.iter().flat_map(|image| image.names.clone()).collect();
        names.sort();
        if *repositories != names {
            return Err(format!("repositories holds {repositories:?}, not {names:?}"));
        }
    }
    let path = job.path.to_str().unwrap();
    ocitar(&["verify", path])?;
    let listed: serde_json::Value = serde_json::from_slice(&ocitar(&["ls", "--json", path])?)
        .map_err(|error| error.to_string())?;
    let images = listed["archives"][0]["images"].as_array().cloned().unwrap_or_default();
    let listed: BTreeSet<_> =
        images.iter().flat_map(|image| archive::texts(&image["names"])).collect();
    let views = job.after.docker.iter().chain(&job.after.oci);
    let names: BTreeSet<_> = views.flat_map(|image| image.names.clone()).collect();
    if listed == names { Ok(()) } else { Err(format!("ocitar ls names {listed:?}, not {names:?}")) }
}

/// Whether what unpacks this file for us is installed.
fn readable(case: &Case) -> bool {
    let program = match Path::new(&case.file).extension().and_then(|end| end.to_str()) {
        Some("gz") => "gzip",
        Some("zst") => "zstd",
        Some("xz") => "xz",
        Some("bz2") => "bzip2",
        _ => "tar",
    };
    let found = output(Command::new(program).arg("--version")).is_ok();
    assert!(found || !peers::required(), "OCITAR_PEERS=1, and there is no {program}");
    if !found {
        say(&format!("{} is skipped, there is no {program}", case.file));
    }
    found
}

fn chosen() -> Vec<Case> {
    let filter = env::var("OCITAR_ARCHIVES").unwrap_or_default();
    let wanted = |case: &Case| case.title().contains(&filter) && readable(case);
    cases::all().into_iter().filter(wanted).collect()
}

#[test]
fn retag_changes_names_and_nothing_else() {
    let room = tempfile::tempdir().unwrap();
    let mut failures = String::new();
    for (number, case) in chosen().iter().enumerate() {
        if let Err(error) =
            retag(case, &room.path().join(number.to_string())).and_then(|job| check(case, &job))
        {
            let _ = writeln!(failures, "{}: {error}", case.title());
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn real_tools_load_what_was_retagged() {
    let Some(peers) = Peers::find() else {
        assert!(!peers::required(), "OCITAR_PEERS=1, and no peers run: tests/peers/peers.sh up");
        say("skipped, no peers");
        return;
    };
    assert!(
        peers.host || !peers::required(),
        "OCITAR_PEERS=1, and docker 20.10 does not run: tests/peers/peers.sh host-up"
    );
    let mut cases = chosen();
    if env::var_os("OCITAR_ARCHIVES").is_none() {
        cases.extend(big_images(&peers).unwrap());
    }
    let jobs: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(n, case)| retag(case, &peers.room().join(n.to_string())))
        .collect();
    let columns: Vec<_> = thread::scope(|scope| {
        let (peers, cases, jobs) = (&peers, &cases, &jobs);
        let threads = consumers::ALL
            .map(|consumer| scope.spawn(move || column(peers, consumer, cases, jobs)));
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let failures = table(&cases, &columns);
    assert!(failures.is_empty(), "\n{failures}");
}

/// What one consumer made of one archive.
enum Cell {
    Ok,
    NotApplicable,
    Fail(String),
}

/// All archives, one after the other, into one consumer.
fn column(
    peers: &Peers,
    consumer: Consumer,
    cases: &[Case],
    jobs: &[Result<Retagged, String>],
) -> Vec<Cell> {
    let start = Instant::now();
    let cell = |(case, job): (&Case, &Result<Retagged, String>)| {
        let job = match job {
            Ok(job) => Job { case, path: &job.path, before: &job.before, after: &job.after },
            Err(error) => return Cell::Fail(error.clone()),
        };
        if consumer.on_host() && !peers.host || consumer.declines(&job).is_some() {
            return Cell::NotApplicable;
        }
        consumer.check(peers, &job).map_or_else(Cell::Fail, |()| Cell::Ok)
    };
    let cells = cases.iter().zip(jobs).map(cell).collect();
    say(&format!("{:14} {:3} s", consumer.name(), start.elapsed().as_secs()));
    cells
}

/// Prints archive × consumer; gives back the failures.
fn table(cases: &[Case], columns: &[Vec<Cell>]) -> String {
    let mut text = format!("{:44}", "");
    for consumer in consumers::ALL {
        let _ = write!(text, " {:13}", consumer.name());
    }
    let mut failures = String::new();
    for (row, case) in cases.iter().enumerate() {
        let _ = write!(text, "\n{:44}", case.title());
        for (consumer, column) in consumers::ALL.iter().zip(columns) {
            let word = match &column[row] {
                Cell::Ok => "ok",
                Cell::NotApplicable => "–",
                Cell::Fail(reason) => {
                    let _ =
                        writeln!(failures, "{} into {}: {reason}", case.title(), consumer.name());
                    "FAIL"
                }
            };
            let _ = write!(text, " {word:13}");
        }
    }
    say(&text);
    failures
}

/// An image of three layers and 20 MB, saved by docker and exported by containerd.
fn big_images(peers: &Peers) -> Result<[Case; 2], String> {
    let folder = peers.room().join("big");
    fs::create_dir(&folder).map_err(|error| error.to_string())?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut dockerfile = "FROM scratch\n".to_owned();
    for layer in ["a", "b", "c"] {
        let mut bytes = Vec::with_capacity(7 << 20);
        while bytes.len() < 7 << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        fs::write(folder.join(layer), bytes).map_err(|error| error.to_string())?;
        let _ = writeln!(dockerfile, "COPY {layer} /{layer}");
    }
    fs::write(folder.join("Dockerfile"), dockerfile).map_err(|error| error.to_string())?;
    let name = "example.com/team/big:1.0";
    let inside = peers.inside(&folder);
    let [saved, built, exported] =
        ["docker26-big.tar", "buildx-big.tar", "ctr17-big.tar"].map(|file| peers.room().join(file));
    let classic = |words: &[&str]| {
        peers.run(&[&["env", "DOCKER_BUILDKIT=0"], &consumers::DOCKER_CLASSIC[..], words].concat())
    };
    classic(&["build", "-q", "-t", name, &inside])?;
    classic(&["save", "-o", &peers.inside(&saved), name])?;
    classic(&["image", "rm", "-f", name])?;
    let to = format!("type=oci,dest={},name={name}", peers.inside(&built));
    let build = ["buildx", "build", "-q", "--provenance=false", "--output", &to, &inside];
    peers.run(&[&consumers::DOCKER_C8D[..], &build].concat())?;
    let space = "ocitar-interop-big";
    let ctr = |words: &[&str]| peers.run(&[&consumers::CTR[..], &["-n", space], words].concat());
    ctr(&["images", "import", "--no-unpack", &peers.inside(&built)])?;
    ctr(&["images", "export", &peers.inside(&exported), name])?;
    ctr(&["images", "rm", "--sync", name])?;
    let _ = peers.run(&[&consumers::CTR[..], &["namespaces", "rm", space]].concat());
    Ok(cases::big(saved.to_str().unwrap(), exported.to_str().unwrap()))
}
