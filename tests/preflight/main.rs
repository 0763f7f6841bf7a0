//! Predictions against what importers did.
//!
//! `shapes.py` writes 275 small archives, one precise shape each. `observed.tsv` holds what happened when archives of
//! these shapes were imported into real consumers, each into an empty store on linux/amd64: a line a run with the shape,
//! the column (which consumer, below), the outcome and what was listed afterwards. A listed name is `NAME=LABEL!`: the
//! label says which of the archive's images it leads to (`cfg` its configuration, `man` its manifest, `idx` its index),
//! where the run recorded that, and `!` that it could not be used. Hashes are written as `*`.
//!
//! Every cell is predicted and compared. The figure is printed, and so is every cell that differs, which has to have its
//! reason in [`REASONS`]. Without python3, zstd and lz4, which make the archives, the test is skipped.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use ocitar::archive::Archive;
use ocitar::platform::PlatformSpec;
use ocitar::preflight::{Prediction, Preflight, Selection, Target};
use ocitar::progress::Silent;

/// Columns of the runs and the targets they are compared with. podman 5.4 and 5.8 did the same everywhere.
const COLUMNS: &[(&str, &str)] = &[
    ("ctr16", "ctr-1.6"),
    ("ctr17", "ctr-1.7"),
    ("ctr21", "ctr-2.1"),
    ("ctr16-all", "ctr-1.6-all"),
    ("ctr17-all", "ctr-1.7-all"),
    ("ctr21-all", "ctr-2.1-all"),
    ("dk20", "docker-20.10"),
    ("dk26g", "docker-26"),
    ("dk28g", "docker-28"),
    ("dk26c", "docker-c8d-26"),
    ("dk28c", "docker-c8d-28"),
    ("podman54", "podman-5"),
    ("podman58", "podman-5"),
    ("sk122d", "skopeo-docker-archive"),
    ("sk122o", "skopeo-oci-archive"),
    ("crane-val", "crane-0.20"),
];

/// Why predictions differ from single runs: shape, columns, reason.
const REASONS: &[(&str, &[&str], &str)] = &[
    (
        "d-symlink-chain",
        &["ctr21"],
        "chance: containerd takes links in no order; the same file loaded 18 times of 20",
    ),
    (
        "oci-2img-1name",
        &["ctr16-all"],
        "chance: garbage collection ran between storing and unpacking the image that lost its name",
    ),
    (
        "outer-gzgz",
        &["podman54", "podman58", "sk122d"],
        "docker-archive unpacks gzip twice; ocitar unpacks the archive's own compression once",
    ),
    (
        "top-2plat-1name",
        &["ctr16"],
        "chance: the image of the other platform was found, or collected already; another shape with the same form was refused",
    ),
    (
        "top-2plat-1name",
        &["ctr21"],
        "the run saw the name and one snapshot, which is the other image's: what the name leads to is not unpacked",
    ),
];

/// The least share of cells that has to agree.
const WANTED: f64 = 0.98;

/// What is listed, as sets are compared: names with their labels.
type Names = BTreeSet<String>;

struct Observed {
    shape: String,
    column: String,
    outcome: String,
    names: Vec<String>,
}

fn observed() -> Vec<Observed> {
    let line = |line: &str| {
        let mut fields = line.split('\t').map(ToOwned::to_owned);
        let mut field = || fields.next().expect("four fields a line");
        let (shape, column, outcome, names) = (field(), field(), field(), field());
        let names = names.split('|').filter(|name| !name.is_empty()).map(ToOwned::to_owned);
        Observed { shape, column, outcome, names: names.collect() }
    };
    include_str!("observed.tsv").lines().map(line).collect()
}

/// A name with every sha256 hidden: hashes are those of the archives of the runs.
fn masked(name: &str) -> String {
    let mut text = String::new();
    let mut rest = name;
    while let Some(at) = rest.find("sha256:") {
        let (before, after) = rest.split_at(at + "sha256:".len());
        let hex = after.bytes().take_while(u8::is_ascii_hexdigit).count();
        text.push_str(before);
        text.push_str(if hex == 64 { "*" } else { &after[..hex] });
        rest = &after[hex..];
    }
    text + rest
}

fn predicted(
    prediction: &Prediction,
    labels: &HashMap<String, String>,
    observed: &[String],
) -> Names {
    let listed = |listed: &ocitar::preflight::Listed| {
        let name = listed.name.as_deref().map_or_else(
            || if prediction.target.keeps_names { "<none>".to_owned() } else { String::new() },
            masked,
        );
        let label = listed.image.and_then(|image| labels.get(&image.to_string()));
        // Runs did not record every label.
        let known = observed.iter().any(|name| name.contains('='));
        let label = label.filter(|_| known).map_or_else(String::new, |label| format!("={label}"));
        // ctr does not say what can be used.
        let says = !prediction.target.id.starts_with("ctr");
        format!("{name}{label}{}", if listed.usable || !says { "" } else { "!" })
    };
    prediction.images.iter().map(listed).collect()
}

fn target(id: &str) -> &'static Target {
    id.parse::<Selection>().unwrap().targets()[0]
}

/// Writes the archives; `false` when what makes them is missing.
fn generate(folder: &Path) -> bool {
    for program in ["python3", "zstd", "lz4"] {
        let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            let _ = writeln!(std::io::stderr(), "skipped, there is no {program}");
            return false;
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/preflight/shapes.py");
    let done = Command::new("python3").arg(script).arg(folder).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    true
}

/// The labels of every shape: digest to label.
fn labels(folder: &Path) -> HashMap<String, HashMap<String, String>> {
    let text = std::fs::read_to_string(folder.join("labels.tsv")).unwrap();
    let mut labels: HashMap<String, HashMap<String, String>> = HashMap::new();
    for line in text.lines() {
        let [shape, digest, label] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("three fields a line: {line}");
        };
        labels.entry(shape.to_owned()).or_default().insert(digest.to_owned(), label.to_owned());
    }
    labels
}

#[test]
fn predictions_agree_with_what_was_observed() {
    let room = tempfile::tempdir().unwrap();
    if !generate(room.path()) {
        return;
    }
    let labels = labels(room.path());
    let none = HashMap::new();
    let host: PlatformSpec = "linux/amd64".parse().unwrap();
    let mut by_shape: BTreeMap<String, Vec<Observed>> = BTreeMap::new();
    for run in observed() {
        by_shape.entry(run.shape.clone()).or_default().push(run);
    }
    let (mut cells, mut wrong, mut text) = (0, 0, String::new());
    let mut unexplained = Vec::new();
    let mut used = BTreeSet::new();
    for (shape, runs) in &by_shape {
        let archive = Archive::open(room.path().join(format!("{shape}.tar"))).unwrap();
        let preflight = Preflight::new(&archive, Some(1), &Silent).unwrap();
        for run in runs {
            cells += 1;
            let id = COLUMNS.iter().find(|(column, _)| *column == run.column).expect("a column").1;
            let prediction = preflight.predict(target(id), &host);
            let found = predicted(&prediction, labels.get(shape).unwrap_or(&none), &run.names);
            let wanted: Names = run.names.iter().cloned().collect();
            // crane and skopeo keep no names, and not every run says which image it was.
            let silent = !prediction.target.keeps_names && wanted.is_empty();
            let same_names = found == wanted || silent;
            if prediction.outcome.as_str() == run.outcome && same_names {
                continue;
            }
            wrong += 1;
            let reason = REASONS
                .iter()
                .position(|(name, columns, _)| name == shape && columns.contains(&&*run.column));
            let why = match reason {
                Some(at) => {
                    used.insert(at);
                    REASONS[at].2
                }
                None => {
                    unexplained.push(format!("{shape} {}", run.column));
                    "NO REASON"
                }
            };
            let first =
                prediction.findings.iter().map(|finding| finding.rule.id).collect::<Vec<_>>();
            let _ = writeln!(
                text,
                "{shape:24} {:10} observed {} {wanted:?}, predicted {} {found:?} {first:?}: {why}",
                run.column, run.outcome, prediction.outcome,
            );
        }
    }
    let share = f64::from(cells - wrong) / f64::from(cells);
    let _ = writeln!(
        std::io::stderr(),
        "{text}{} of {cells} cells agree, {:.2} %",
        cells - wrong,
        share * 100.0
    );
    assert_eq!(by_shape.len(), 275);
    assert!(unexplained.is_empty(), "cells without a reason: {unexplained:#?}");
    let unused: Vec<_> = (0..REASONS.len()).filter(|at| !used.contains(at)).collect();
    assert!(unused.is_empty(), "reasons without a cell: {unused:?}");
    assert!(share >= WANTED, "{share}");
}

/// Where the repair that is named leaves the rule standing, and why.
const UNMENDED: &[(&str, &str, &str)] =
    &[("subj-desc", "one-image-wanted", "a signature stays with its image")];

/// Every repair without a name to fill in is run, and what it is for has to be
/// gone afterwards.
#[test]
fn repairs_mend_what_they_are_named_for() {
    let room = tempfile::tempdir().unwrap();
    if !generate(room.path()) {
        return;
    }
    let host: PlatformSpec = "linux/amd64".parse().unwrap();
    let targets: Vec<&Target> = COLUMNS.iter().map(|(_, id)| target(id)).collect();
    let shapes: BTreeSet<String> = observed().into_iter().map(|run| run.shape).collect();
    let (mut mended, mut refused) = (0, 0);
    let mut left = Vec::new();
    for shape in &shapes {
        let input = room.path().join(format!("{shape}.tar"));
        let archive = Archive::open(&input).unwrap();
        if archive.findings().fatal_one().is_some() {
            continue;
        }
        let preflight = Preflight::new(&archive, Some(1), &Silent).unwrap();
        let mut rules: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
        for target in &targets {
            for finding in preflight.predict(target, &host).findings {
                let repair = finding.repair.filter(|text| {
                    !["HOST/", "PLATFORM", "NAME"].iter().any(|hole| text.contains(hole))
                });
                if let Some(repair) = repair {
                    rules.entry(repair).or_default().insert((finding.rule.id, target.id));
                }
            }
        }
        for (repair, broken) in rules {
            let out = tempfile::tempdir().unwrap();
            let words = repair.split(' ').skip(1).map(|word| match word {
                "{in}" => input.clone(),
                "OUT.tar" | "DIR" => out.path().join(word),
                word => word.into(),
            });
            let done = Command::new(env!("CARGO_BIN_EXE_ocitar")).args(words).output().unwrap();
            if done.status.code() == Some(1) {
                // What is missing or named twice cannot be mended without being asked.
                refused += 1;
                continue;
            }
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{shape}: {repair}: {said}");
            let mut outputs = vec![out.path().join("OUT.tar")];
            if let Ok(parts) = std::fs::read_dir(out.path().join("DIR")) {
                outputs = parts.map(|part| part.unwrap().path()).collect();
                outputs.retain(|part| part.extension().is_some_and(|end| end == "tar"));
            }
            for output in outputs {
                let archive = Archive::open(&output).unwrap().check().unwrap();
                let preflight = Preflight::new(&archive, Some(1), &Silent).unwrap();
                for (rule, id) in &broken {
                    let now = preflight.predict(target(id), &host);
                    mended += 1;
                    let stands = now.findings.iter().any(|finding| finding.rule.id == *rule);
                    if stands && !UNMENDED.iter().any(|(s, r, _)| s == shape && r == rule) {
                        left.push(format!("{shape} {id}: {rule} after {repair}"));
                    }
                }
            }
        }
    }
    let _ = writeln!(std::io::stderr(), "{mended} findings mended, {refused} commands refused");
    assert!(left.is_empty(), "{left:#?}");
    assert!(mended > 700 && refused < 40, "{mended} {refused}");
}

/// Runs `ocitar check` on a file of `testdata`: its exit code and what it printed.
fn check(file: &str, words: &[&str]) -> (Option<i32>, String) {
    let path = Path::new("testdata").join(file);
    let done = Command::new(env!("CARGO_BIN_EXE_ocitar"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("check")
        .arg(path)
        .args(words)
        .output()
        .unwrap();
    let text = [done.stdout, done.stderr].concat();
    (done.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_command_prints_a_table_and_what_mends_it() {
    let (code, text) = check("docker26-two-tags.tar", &["--for", "docker", "--for", "podman"]);
    assert_eq!(code, Some(0), "{text}");
    let names = "docker 28    loads   app:1.0, example.com/team/app:latest";
    assert!(text.contains(names), "{text}");
    assert!(text.contains("podman 5     loads   localhost/app:1.0,"), "{text}");

    let (code, text) = check("buildx-oci-single.tar", &["--for", "docker-28"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no-manifest-json: "), "{text}");
    // Exit 0 of ctr, and nothing is there.
    let (code, text) = check("buildx-oci-unnamed.tar", &["--for", "ctr-2.1"]);
    assert_eq!(code, Some(1), "{text}");
    let repair = "repair: ocitar retag testdata/buildx-oci-unnamed.tar OUT.tar HOST/PATH:TAG";
    assert!(text.contains(repair), "{text}");
    let (code, text) = check("buildx-oci-unnamed.tar", &["--for", "ctr-2.1", "--json"]);
    assert_eq!(code, Some(1), "{text}");
    let data: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(data["targets"][0]["outcome"], "nothing");
    assert_eq!(data["targets"][0]["lost"].as_array().map(Vec::len), Some(1));
    assert_eq!(data["ok"], false);
}

#[test]
fn the_host_decides_about_platforms() {
    let (code, text) = check("ctr17-sparse.tar", &["--for", "ctr-1.7"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = check("ctr17-sparse.tar", &["--for", "ctr-1.7", "--host", "linux/s390x"]);
    assert_eq!(code, Some(1), "{text}");
}

#[test]
fn what_is_no_target_or_host_is_a_usage_error() {
    for words in [&["--for", "rkt"], &["--host", "linux"]] {
        let (code, text) = check("docker26-two-tags.tar", words);
        assert_eq!(code, Some(2), "{text}");
    }
}
