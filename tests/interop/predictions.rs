//! What `ocitar check` says, against what real consumers do with the same archive.
//!
//! Every archive of `testdata` and some that are bad on purpose (from `tests/preflight/shapes.py`) are imported into each
//! consumer's empty store. The names that are listed afterwards and the outcome have to be the predicted ones. k3s, kind,
//! nerdctl and crane are not among the peers; their rows are derived and only compared with each other here.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use ocitar::archive::Archive;
use ocitar::platform::PlatformSpec;
use ocitar::preflight::{Prediction, Preflight, Selection};
use ocitar::progress::Silent;

use crate::consumers::{CTR, DOCKER_C8D, DOCKER_CLASSIC};
use crate::peers::{Peers, required};

/// Shapes that some consumer loses, renames or refuses.
const SHAPES: &[&str] = &[
    "oci-ain-bare",
    "oci-rn-tag",
    "oci-noname",
    "hy-noname",
    "d-tags-null",
    "oci-2names",
    "hy-2names",
    "d-2names",
    "oci-ain-digest",
    "oci-ain-own-digest",
    "d-tags-digest",
    "oci-ain-index",
    "d-indexdockerio",
    "d-familiar",
    "oci-ain-fam",
    "ix-sparse",
    "ix-sparse-hy",
    "ix-sparse-386",
    "ix-onlyarm",
    "oci-ain",
    "d-flat",
    "d-layer-zst",
    "d-layer-xz",
    "outer-gz",
    "outer-d-gz",
    "outer-zst-skippable",
    "hy-names-differ",
    "hy-2img-1bad",
    "oci-nolayer",
    "oci-lie-gz-as-plain",
];

/// A consumer among the peers, and the target it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Column {
    target: &'static str,
    tool: Tool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    /// A docker of the chroot.
    Docker(&'static [&'static str]),
    HostDocker,
    /// ctr 1.7; with `--all-platforms` or not.
    Ctr(bool),
    HostCtr(bool),
    Podman,
    Skopeo(&'static str),
}

const COLUMNS: &[Column] = &[
    Column { target: "docker-26", tool: Tool::Docker(&DOCKER_CLASSIC) },
    Column { target: "docker-c8d-26", tool: Tool::Docker(&DOCKER_C8D) },
    Column { target: "docker-20.10", tool: Tool::HostDocker },
    Column { target: "ctr-1.7", tool: Tool::Ctr(false) },
    Column { target: "ctr-1.7-all", tool: Tool::Ctr(true) },
    Column { target: "ctr-1.6", tool: Tool::HostCtr(false) },
    Column { target: "ctr-1.6-all", tool: Tool::HostCtr(true) },
    Column { target: "podman-5", tool: Tool::Podman },
    Column { target: "skopeo-docker-archive", tool: Tool::Skopeo("docker-archive") },
    Column { target: "skopeo-oci-archive", tool: Tool::Skopeo("oci-archive") },
];

/// What a consumer did: the outcome and the names, the unusable ones marked `!`.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    outcome: &'static str,
    names: BTreeSet<String>,
    error: String,
}

impl Seen {
    fn new(done: Result<Vec<u8>, String>, names: BTreeSet<String>, is_unusable: bool) -> Seen {
        let outcome = match &done {
            Err(_) => "refused",
            Ok(_) if names.is_empty() => "nothing",
            Ok(_) if is_unusable => "unusable",
            Ok(_) => "loads",
        };
        Seen { outcome, names, error: done.err().unwrap_or_default() }
    }
}

fn lines(bytes: &[u8]) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().filter(|line| !line.trim().is_empty()).map(ToOwned::to_owned).collect()
}

/// `<none>:<none>` is an untagged image, and the date of an import is not predicted.
fn plain(name: &str) -> String {
    match name.strip_prefix("import-").and_then(|rest| rest.split_at_checked(10)) {
        Some((_, rest)) => format!("import-YYYY-MM-DD{rest}"),
        None if name == "<none>:<none>" => "<none>".to_owned(),
        None => name.to_owned(),
    }
}

type Run<'a> = dyn Fn(&[&str]) -> Result<Vec<u8>, String> + 'a;

fn empty(docker: &Run) -> Result<(), String> {
    for _ in 0..3 {
        let ids = lines(&docker(&["image", "ls", "-aq", "--no-trunc"])?);
        if ids.is_empty() {
            return Ok(());
        }
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let _ = docker(&[&["image", "rm", "-f"], &ids[..]].concat());
    }
    Err("the store cannot be emptied".to_owned())
}

fn docker(run: &Run, path: &str) -> Result<Seen, String> {
    empty(run)?;
    let done = run(&["load", "-q", "-i", path]);
    let format = "{{.Repository}}:{{.Tag}} {{.ID}}";
    let listed = lines(&run(&["image", "ls", "-a", "--no-trunc", "--format", format])?);
    let mut names = BTreeSet::new();
    let mut is_unusable = false;
    for line in &listed {
        let (name, id) = line.rsplit_once(' ').unwrap_or((line, line));
        let asked = if name.ends_with("<none>") { id } else { name };
        let created = run(&["create", asked, "/none"]);
        if let Ok(container) = &created {
            let container = String::from_utf8_lossy(container).trim().to_owned();
            let _ = run(&["rm", &container]);
        }
        is_unusable |= created.is_err();
        names.insert(format!("{}{}", plain(name), if created.is_err() { "!" } else { "" }));
    }
    empty(run)?;
    Ok(Seen::new(done, names, is_unusable))
}

fn ctr(run: &Run, path: &str, all: bool, number: usize) -> Result<Seen, String> {
    let mode = if all { "all" } else { "own" };
    let space = format!("ocitar-check-{}-{number}-{mode}", std::process::id());
    let ctr = |words: &[&str]| run(&[&["-n", space.as_str()], words].concat());
    let mut words = vec!["images", "import"];
    words.extend(all.then_some("--all-platforms"));
    words.push(path);
    let done = ctr(&words);
    let names = lines(&ctr(&["images", "ls", "-q"])?);
    let snapshots = lines(&ctr(&["snapshots", "ls"])?).len().saturating_sub(1);
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    if !words.is_empty() {
        ctr(&[&["images", "rm", "--sync"], &words[..]].concat())?;
    }
    let left = lines(&ctr(&["content", "ls", "-q"])?);
    if !left.is_empty() {
        let left: Vec<&str> = left.iter().map(String::as_str).collect();
        let _ = ctr(&[&["content", "rm"], &left[..]].concat());
    }
    let _ = run(&["namespaces", "rm", &space]);
    let names = names.iter().map(|name| plain(name)).collect();
    Ok(Seen::new(done, names, snapshots == 0))
}

fn podman(peers: &Peers, path: &str, number: usize) -> Result<Seen, String> {
    let home = peers.room().join(format!("podman-{number}"));
    fs::create_dir_all(&home).map_err(|error| error.to_string())?;
    let [root, run] = ["root", "run"].map(|name| peers.inside(&home.join(name)));
    let store = ["podman", "--root", &root, "--runroot", &run, "--storage-driver", "vfs"];
    let podman = |words: &[&str]| {
        let quiet = ["env", "PODMAN_IGNORE_CGROUPSV1_WARNING=1"];
        peers.run(&[&quiet[..], &store[..], words].concat())
    };
    let done = podman(&["load", "-q", "-i", path]);
    let names = podman(&["images", "-a", "--format", "{{.Repository}}:{{.Tag}}"]);
    let _ = fs::remove_dir_all(&home);
    let names = lines(&names?);
    Ok(Seen::new(done, names.iter().map(|name| plain(name)).collect(), false))
}

fn skopeo(peers: &Peers, transport: &str, path: &str, number: usize) -> Result<Seen, String> {
    let target = peers.room().join(format!("{transport}-{number}"));
    let source = format!("{transport}:{path}");
    let to = format!("dir:{}", peers.inside(&target));
    let done = peers.run(&["skopeo", "--insecure-policy", "copy", "-q", &source, &to]);
    let _ = fs::remove_dir_all(&target);
    Ok(Seen::new(done, BTreeSet::from([String::new()]), false))
}

impl Column {
    fn import(self, peers: &Peers, path: &Path, number: usize) -> Result<Seen, String> {
        let (inside, outside) = (peers.inside(path), path.to_string_lossy().into_owned());
        let chroot = |tool: &[&str], words: &[&str]| peers.run(&[tool, words].concat());
        let host = |tool: &[&str], words: &[&str]| peers.host_run(&[tool, words].concat());
        match self.tool {
            Tool::Docker(tool) => docker(&|words| chroot(tool, words), &inside),
            Tool::HostDocker => docker(&|words| host(&["docker"], words), &outside),
            Tool::Ctr(all) => ctr(&|words| chroot(&CTR, words), &inside, all, number),
            Tool::HostCtr(all) => ctr(&|words| host(&["ctr"], words), &outside, all, number),
            Tool::Podman => podman(peers, &inside, number),
            Tool::Skopeo(transport) => skopeo(peers, transport, &inside, number),
        }
    }

    fn predict(self, preflight: &Preflight<'_>) -> Prediction {
        let host: PlatformSpec = "linux/amd64".parse().unwrap();
        preflight.predict(self.target.parse::<Selection>().unwrap().targets()[0], &host)
    }

    /// What is predicted, as it is seen. What a refused import leaves is not compared here.
    fn expected(self, prediction: &Prediction) -> BTreeSet<String> {
        let says = matches!(self.tool, Tool::Docker(_) | Tool::HostDocker);
        let listed = prediction.images.iter().map(|listed| {
            let none = if prediction.target.keeps_names { "<none>" } else { "" };
            let mark = if says && !listed.usable { "!" } else { "" };
            format!("{}{mark}", listed.name.as_deref().unwrap_or(none))
        });
        listed.collect()
    }
}

/// The archives, in a folder that peers share.
fn archives(room: &Path) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    let files = fs::read_dir(root.join("testdata")).unwrap().map(|file| file.unwrap().path());
    for file in files.filter(|file| file.to_string_lossy().contains(".tar")) {
        let path = room.join(file.file_name().unwrap());
        fs::copy(&file, &path).unwrap();
        paths.push(path);
    }
    let shapes = Command::new("python3")
        .arg(root.join("tests/preflight/shapes.py"))
        .arg(room)
        .args(SHAPES)
        .output();
    match shapes {
        Ok(done) if done.status.success() => {
            paths.extend(SHAPES.iter().map(|shape| room.join(format!("{shape}.tar"))));
        }
        _ => assert!(!required(), "OCITAR_PEERS=1, and python3, zstd or lz4 is missing"),
    }
    paths.sort();
    paths
}

#[test]
fn predictions_hold_for_real_consumers() {
    let Some(peers) = Peers::find() else {
        assert!(!required(), "OCITAR_PEERS=1, and no peers run: tests/peers/peers.sh up");
        crate::say("skipped, no peers");
        return;
    };
    let filter = std::env::var("OCITAR_ARCHIVES").unwrap_or_default();
    let room = peers.room().join("check");
    fs::create_dir(&room).unwrap();
    let mut paths = archives(&room);
    paths.retain(|path| path.to_string_lossy().contains(&filter));
    let columns: Vec<Vec<Result<Seen, String>>> = thread::scope(|scope| {
        let (peers, paths) = (&peers, &paths);
        let column = |column: &'static Column| {
            scope.spawn(move || {
                let runs = paths.iter().enumerate();
                runs.map(|(number, path)| column.import(peers, path, number)).collect()
            })
        };
        // The two modes of one ctr share a daemon, in namespaces of their own.
        let threads: Vec<_> = COLUMNS.iter().map(column).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (text, failures) = compare(&paths, &columns);
    crate::say(&text);
    assert!(failures.is_empty(), "\n{failures}");
}

/// The table, and what differs.
fn compare(paths: &[PathBuf], columns: &[Vec<Result<Seen, String>>]) -> (String, String) {
    let mut text = format!("{:36}", "");
    for column in COLUMNS {
        let _ = write!(text, " {:21}", column.target);
    }
    let mut failures = String::new();
    for (row, path) in paths.iter().enumerate() {
        let title = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let _ = write!(text, "\n{title:36}");
        let archive = Archive::open(path).unwrap();
        let preflight = Preflight::new(&archive, Some(1), &Silent).unwrap();
        for (column, cells) in COLUMNS.iter().zip(columns) {
            let prediction = column.predict(&preflight);
            let outcome = prediction.outcome.as_str();
            let expected = column.expected(&prediction);
            let is_right = match &cells[row] {
                Ok(seen) if seen.outcome == "refused" => outcome == "refused",
                Ok(seen) => seen.outcome == outcome && seen.names == expected,
                Err(_) => false,
            };
            let _ = write!(text, " {:21}", if is_right { outcome } else { "WRONG" });
            if !is_right {
                let rules: Vec<_> = prediction.findings.iter().map(|f| f.rule.id).collect();
                let _ = writeln!(
                    failures,
                    "{title} into {}: predicted {outcome} {expected:?} {rules:?}, seen {:?}",
                    column.target, cells[row],
                );
            }
        }
    }
    (text, failures)
}
