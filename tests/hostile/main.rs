//! What ocitar accepts has one reading, everywhere.
//!
//! * [`rows`]: the table of crafted archives, each with the verdict it must get.
//! * [`readers`]: Go, GNU tar, libarchive, Python and the `tar` crate, asked about the same bytes. Where ocitar accepts
//!   and Go lists other members, the test fails.
//! * [`mutate`]: thousands of damaged archives of real tools, for the same question.
//! * [`layers`]: the same bytes as layers, which are read as Go reads them.
//! * [`documents`]: the same for JSON: what ocitar takes from a document, and what `encoding/json` takes.
//!
//! Readers are those on the PATH; with `OCITAR_READERS=1` all must be there (Debian: golang-go, libarchive-tools,
//! python3). `cargo test --test hostile -- --nocapture` prints what was found.
#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod bytes;
mod compare;
mod documents;
mod layers;
mod mutate;
mod readers;
mod rows;
mod verdict;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::{Bytes, H};
use compare::Tally;
use documents::Role;
use ocitar::archive::Archive;
use readers::{Reader, Reading};
use rows::Want;
use verdict::Verdict;

#[test]
fn every_row_gets_its_verdict() {
    let rows = rows::all();
    let mut wrong = Vec::new();
    for row in &rows {
        let found = Verdict::of(&row.bytes, &row.limits);
        if !found.is(row.want) {
            wrong.push(format!(
                "{} {}: wanted {:?}, found {found:?}",
                row.threat, row.what, row.want
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    let accepted = rows.iter().filter(|row| row.want == Want::Accepted).count();
    println!("{} rows, {accepted} of them accepted", rows.len());
}

/// Damaged archives that are tried; `OCITAR_DAMAGED` asks for another number.
const DAMAGED: u64 = 10_000;
/// Archives at once: all of their bytes are in memory.
const BATCH: usize = 500;
/// Of damaged archives GNU tar and bsdtar, which are a process each, read one of this many.
const SAMPLED: usize = 16;

#[test]
fn what_is_accepted_has_one_reading() {
    let readers = Reader::all();
    let crafted: Vec<(String, Vec<u8>)> = rows::all()
        .into_iter()
        .map(|row| (format!("{} {}", row.threat, row.what), row.bytes))
        .collect();
    let stored = stored();
    let seeds: Vec<Vec<u8>> = testdata().into_iter().map(|(_, bytes)| bytes).collect();
    let mut tallies = ["crafted", "stored", "damaged"].map(Tally::new);
    tallies[0].add(&crafted, &readers, 1);
    tallies[1].add(&stored, &readers, 1);
    let mut layers = layers::Tally::default();
    layers.add(&crafted, &readers);
    layers.add(&stored, &readers);
    let wanted = std::env::var("OCITAR_DAMAGED").map_or(DAMAGED, |text| text.parse().unwrap());
    let numbers: Vec<u64> = (0..wanted).collect();
    for batch in numbers.chunks(BATCH) {
        let batch = batch
            .iter()
            .map(|number| (format!("damaged {number}"), mutate::damaged(&seeds, *number)));
        let batch = batch.collect::<Vec<_>>();
        tallies[2].add(&batch, &readers, SAMPLED);
        layers.add(&batch, &readers);
    }
    let documents = compare_documents(&readers, wanted / 2);
    let shown = tallies.each_ref().map(Tally::shown).concat();
    println!("{shown}{}{}", layers.shown(), documents.shown());
    let lies = tallies.iter().flat_map(|tally| &tally.lies).chain(&documents.lies);
    let lies = lies.chain(&layers.lies);
    let lies: Vec<&String> = lies.collect();
    let shown: Vec<String> = lies.iter().take(20).map(|lie| format!("\n  {lie}")).collect();
    assert!(lies.is_empty(), "{} lies:{}", lies.len(), shown.concat());
}

/// The size of a member that octal cannot say.
const LARGE: u64 = 9 << 30;

#[test]
fn a_member_past_8_gib_has_one_reading() {
    let readers = Reader::all();
    let mut base256 = [0; 12];
    base256[0] = 0x80;
    base256[4..].copy_from_slice(&LARGE.to_be_bytes());
    let large = H::new("large", 0, b'0');
    let size = LARGE.to_string();
    let pax = Bytes::new().x(&[("size", &size)]);
    let forms = [
        ("base-256", Bytes::new().h(&large.clone().put(bytes::SIZE, base256))),
        ("pax and base-256", pax.clone().h(&large.clone().put(bytes::SIZE, base256))),
        ("pax over zero", pax.h(&large)),
    ];
    for (what, header) in forms {
        let (blobs, documents) = rows::layout();
        let head = blobs.raw(header.0).0;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&head).unwrap();
        // A hole: nothing of it is written, and nothing of it is read.
        let at = head.len() as u64 + LARGE;
        file.as_file().set_len(at).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&documents.end().0).unwrap();

        let archive = Archive::open(file.path()).and_then(Archive::check).unwrap();
        let ours = Reading::of(archive.tar().unwrap().members());
        assert!(ours.members.iter().any(|member| member.size == LARGE), "{what}");
        for reader in readers.iter().filter(|reader| reader.reads_files()) {
            let theirs = reader.read_file(file.path());
            let name = reader.name();
            assert!(
                theirs.error.is_none() && ours.agrees(&theirs),
                "{what}: {name}: {}",
                theirs.shown()
            );
        }
    }
}

/// Documents made by hand, those of real tools, and damaged ones, beside Go.
fn compare_documents(readers: &[Reader], damaged: u64) -> documents::Tally {
    let mut tally = documents::Tally::default();
    let Some(go) = readers.iter().find(|reader| reader.name() == "Go") else { return tally };
    let real = documents::real(&testdata());
    tally.add(&rows::json::all(), go);
    tally.add(&real, go);
    let found = ["regressions", "corpus"].map(|from| files(&format!("fuzz/{from}/documents")));
    let found = found.into_iter().flatten().filter_map(|(what, bytes)| {
        let (role, bytes) = bytes.split_first()?;
        Some(documents::Document { what, role: Role::of(*role), bytes: bytes.to_vec() })
    });
    tally.add(&found.collect::<Vec<_>>(), go);
    let damaged: Vec<_> = (0..damaged).map(|number| documents::damaged(&real, number)).collect();
    tally.add(&damaged, go);
    tally
}

/// The plain archives of real tools.
fn testdata() -> Vec<(String, Vec<u8>)> {
    let mut found = files("testdata");
    found.retain(|(name, _)| name.ends_with(".tar"));
    assert!(found.len() > 30, "the test data is there");
    found
}

/// What real tools wrote, what fuzzing found, and its corpus where there is one.
fn stored() -> Vec<(String, Vec<u8>)> {
    let mut found = testdata();
    for target in ["tar_scan", "archive_open", "retag_roundtrip", "layer_scan", "operations"] {
        found.extend(files(&format!("fuzz/regressions/{target}")));
        found.extend(files(&format!("fuzz/corpus/{target}")));
    }
    found
}

/// Writes the crafted archives and documents where fuzzing starts from them: `fuzz/seed.sh` calls it.
#[test]
#[ignore = "writes into the folder OCITAR_SEEDS names"]
fn crafted_cases_as_seeds() {
    let folder = PathBuf::from(std::env::var_os("OCITAR_SEEDS").expect("OCITAR_SEEDS"));
    // What fuzzing does not get larger.
    let (archives, documents) = (folder.join("archives"), folder.join("documents"));
    fs::create_dir_all(&archives).unwrap();
    fs::create_dir_all(&documents).unwrap();
    for (at, row) in rows::all().iter().enumerate().filter(|(_, row)| row.bytes.len() <= 64 << 10) {
        fs::write(archives.join(format!("crafted-{at}")), &row.bytes).unwrap();
    }
    let all = rows::json::all().into_iter().chain(documents::real(&testdata()));
    for (at, document) in all.enumerate().filter(|(_, document)| document.bytes.len() <= 64 << 10) {
        let bytes = [&[document.role.byte()], &document.bytes[..]].concat();
        fs::write(documents.join(format!("crafted-{at}")), bytes).unwrap();
    }
}

/// The files of a folder of the package, sorted; none where there is no folder.
fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let Ok(items) = fs::read_dir(path) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = items.map(|item| item.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.is_file());
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}
