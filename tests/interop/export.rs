//! Real tools load what `export`, `convert`, `merge` and `split` wrote.
//!
//! A row is an archive that one of them wrote, or one that a real tool wrote and that serves as the counter-example: the
//! sparse index that `ctr images export --platform` keeps is refused by `--all-platforms`, the one that ocitar made of it is
//! not. Before any tool sees an archive, `export_graph.rs` reads it and what it was made of: images, their configs and
//! layers, and what was attested of them have to be those chosen, byte for byte, and nothing else may be in it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use crate::archive::{text, texts};
use crate::export_consumers::{ALL, Consumer, Expected, Job};
use crate::export_graph::{Graph, Target, Wanted};
use crate::export_inputs::{Inputs, THREE};
use crate::peers::{Peers, required};
use crate::support::run;
use crate::{ocitar, say};

/// What an option makes of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Index {
    /// As it was: all of it is kept, or it was not to be touched.
    Same,
    /// A new one, true.
    New,
    /// None, the manifest itself.
    Flat,
    /// None either: manifest.json is all there is.
    Docker,
}
use Index::{Docker, Flat, New, Same};

/// The image of three platforms: options, platforms kept, index, attestations kept, platform in manifest.json.
type Row = (&'static str, &'static str, Index, bool, &'static str);

const ALL_THREE: &str = "linux/amd64 linux/arm64 linux/arm/v7";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("export", ALL_THREE, Same, true, ""),
    ("export --all-platforms", ALL_THREE, Same, true, ""),
    ("export --all-platforms --index keep", ALL_THREE, Same, true, ""),
    ("export --platform linux/amd64", "linux/amd64", New, true, ""),
    ("export --platform linux/amd64 --index keep", "linux/amd64", Same, true, ""),
    ("export --platform linux/amd64 --index flatten", "linux/amd64", Flat, false, ""),
    ("export --platform linux/arm64", "linux/arm64", New, true, ""),
    ("export --platform linux/arm64 --index keep", "linux/arm64", Same, true, ""),
    ("export --platform linux/arm64 --index flatten", "linux/arm64", Flat, false, ""),
    ("export --platform linux/arm/v7", "linux/arm/v7", New, true, ""),
    ("export --platform linux/arm/v7 --index keep", "linux/arm/v7", Same, true, ""),
    ("export --platform linux/arm/v7 --index flatten", "linux/arm/v7", Flat, false, ""),
    ("export --platform linux/amd64 --platform linux/arm64", "linux/amd64 linux/arm64", New, true, ""),
    ("export --platform linux/amd64 --platform linux/arm64 --index keep", "linux/amd64 linux/arm64", Same, true, ""),
    ("export --platform linux/amd64 --platform linux/arm/v7", "linux/amd64 linux/arm/v7", New, true, ""),
    ("export --platform linux/amd64 --platform linux/arm/v7 --index keep", "linux/amd64 linux/arm/v7", Same, true, ""),
    ("export --platform linux/arm/v7 --platform linux/arm64", "linux/arm64 linux/arm/v7", New, true, ""),
    ("export --platform linux/arm/v7 --platform linux/arm64 --index keep", "linux/arm64 linux/arm/v7", Same, true, ""),
    ("export --attestations drop", ALL_THREE, New, false, ""),
    ("export --attestations drop --index keep", ALL_THREE, Same, false, ""),
    ("export --attestations drop --platform linux/arm64", "linux/arm64", New, false, ""),
    ("export --to hybrid", ALL_THREE, Same, true, "linux/amd64"),
    ("export --to hybrid --platform linux/amd64 --index keep", "linux/amd64", Same, true, "linux/amd64"),
    ("export --to hybrid --platform linux/amd64 --index flatten", "linux/amd64", Flat, false, "linux/amd64"),
    ("export --to hybrid --platform linux/arm64", "linux/arm64", New, true, "linux/arm64"),
    ("export --to docker --platform linux/amd64", "linux/amd64", Docker, false, "linux/amd64"),
    ("convert --to hybrid", ALL_THREE, Same, true, "linux/amd64"),
    ("convert --to hybrid --default-platform linux/amd64", ALL_THREE, Same, true, "linux/amd64"),
    ("convert --to hybrid --default-platform linux/arm64", ALL_THREE, Same, true, "linux/arm64"),
    ("convert --to hybrid --default-platform linux/arm/v7", ALL_THREE, Same, true, "linux/arm/v7"),
    ("convert --to docker --platform linux/amd64", "linux/amd64", Docker, false, "linux/amd64"),
    ("convert --to docker --platform linux/arm64", "linux/arm64", Docker, false, "linux/arm64"),
    ("convert --to docker --platform linux/arm/v7", "linux/arm/v7", Docker, false, "linux/arm/v7"),
];

/// The same image where what is attested of a platform has it as its `subject`.
#[rustfmt::skip]
const ARTIFACT_ROWS: &[Row] = &[
    ("export", ALL_THREE, Same, true, ""),
    ("export --platform linux/amd64", "linux/amd64", New, true, ""),
    ("export --platform linux/amd64 --index keep", "linux/amd64", Same, true, ""),
    ("export --platform linux/amd64 --index flatten", "linux/amd64", Flat, false, ""),
    ("export --platform linux/amd64 --platform linux/arm/v7", "linux/amd64 linux/arm/v7", New, true, ""),
    ("export --attestations drop", ALL_THREE, New, false, ""),
    ("convert --to hybrid", ALL_THREE, Same, true, "linux/amd64"),
    ("convert --to docker --platform linux/amd64", "linux/amd64", Docker, false, "linux/amd64"),
];

/// An archive, or why there is none.
type Made = Result<Job, (String, String)>;

/// A folder for the archives, and one for what is in them.
struct Workshop {
    room: PathBuf,
    made: Vec<Made>,
}

impl Workshop {
    fn new(room: PathBuf) -> Self {
        fs::create_dir_all(&room).unwrap();
        Self { room, made: Vec::new() }
    }

    /// A path for the next archive; archives are numbered.
    fn path(&self, end: &str) -> PathBuf {
        self.room.join(format!("{:02}{end}", self.made.len()))
    }

    /// Reads an archive: what is in it.
    fn open(&self, path: &Path) -> Result<Graph, String> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = tempfile::Builder::new().prefix(&name).tempdir_in(&self.room);
        Graph::open(path, &folder.map_err(|error| error.to_string())?.keep())
    }

    /// Compares an archive with what has to be in it, as we read it and as ocitar does.
    fn check(&self, title: &str, path: PathBuf, wanted: Vec<Wanted>) -> Result<Job, String> {
        let graph = self.open(&path)?;
        graph.holds(&wanted)?;
        let name = path.to_str().unwrap();
        ocitar(&["verify", name])?;
        Ok(Job { title: title.to_owned(), path, graph, wanted, not: &[] })
    }

    /// An archive that is there already, or that was just written.
    fn add(&mut self, title: &str, path: PathBuf, wanted: Result<Vec<Wanted>, String>) {
        let job = wanted.and_then(|wanted| self.check(title, path, wanted));
        self.made.push(job.map_err(|error| (title.to_owned(), error)));
    }

    /// Runs `VERB IN OUT OPTION…`.
    fn write(
        &mut self,
        title: &str,
        verb: &str,
        input: &Path,
        wanted: Result<Vec<Wanted>, String>,
    ) -> PathBuf {
        let out = self.path(".tar");
        let (verb, options) = verb.split_once(' ').unwrap_or((verb, ""));
        let mut words = vec![verb, input.to_str().unwrap(), out.to_str().unwrap()];
        words.extend(options.split_whitespace());
        let wanted = wanted.and_then(|wanted| ocitar(&words).map(|_| wanted));
        self.add(title, out.clone(), wanted);
        out
    }

    fn sources(&self, paths: &[&PathBuf]) -> Result<Vec<Wanted>, String> {
        let all: Result<Vec<_>, _> = paths.iter().map(|path| self.open(path)).collect();
        Ok(all?.iter().flat_map(Graph::wanted).collect())
    }

    /// Every row of the table.
    fn rows(&mut self, what: &str, input: &Path, rows: &[Row]) {
        let all = self.sources(&[&input.to_owned()]);
        for &(words, kept, index, attested, docker) in rows {
            let docker = (!docker.is_empty()).then_some(docker);
            let wanted = all.clone().map(|all| {
                let choose = |image| chosen(image, kept, index, attested, docker);
                all.into_iter().map(choose).collect()
            });
            self.write(&format!("{what}{words}"), words, input, wanted);
        }
    }

    /// One archive of each platform for docker.
    fn fan_out(&mut self, input: &Path) {
        let (out, all) = (self.path(".tar"), self.sources(&[&input.to_owned()]));
        let words = [
            "convert",
            input.to_str().unwrap(),
            out.to_str().unwrap(),
            "--to",
            "docker",
            "--fan-out",
        ];
        let done = ocitar(&words);
        let stem = out.to_str().unwrap().trim_end_matches(".tar").to_owned();
        for platform in ALL_THREE.split(' ') {
            let wanted = done.clone().and(all.clone()).map(|all| {
                all.into_iter()
                    .map(|i| chosen(i, platform, Docker, false, Some(platform)))
                    .collect()
            });
            let path = PathBuf::from(format!("{stem}-{}.tar", platform.replace('/', "-")));
            self.add(&format!("convert --to docker --fan-out: {platform}"), path, wanted);
        }
    }

    /// What `ctr images export --platform` writes, and what one command makes of it.
    fn sparse(&mut self, inputs: &Inputs) {
        for (tool, platform, path) in &inputs.sparse {
            let title = format!("{tool} export --platform {platform}");
            let all = self.sources(&[path]);
            let copy = self.path(".tar");
            fs::copy(path, &copy).unwrap();
            self.add(&format!("as written: {title}"), copy, all.clone());
            let new = all.map(|all| {
                let choose = |image| chosen(image, platform, New, true, Some(platform));
                all.into_iter().map(choose).collect()
            });
            self.write(&format!("export of: {title}"), "export", path, new);
        }
    }

    /// From docker 20.10 to a layout, and back.
    fn docker(&mut self, input: &PathBuf) {
        let all = self.sources(&[input]);
        let copy = self.path(".tar");
        fs::copy(input, &copy).unwrap();
        self.add("as written: docker 20.10 save, three images", copy, all.clone());
        if let Some(Ok(job)) = self.made.last_mut() {
            job.not = &[(Consumer::SkopeoDocker, "takes the size of a linked layer for 0")];
        }
        let form = |docker: bool, target: Target| {
            let target = &target;
            all.clone().map(|all| {
                let form = |image: Wanted| Wanted {
                    target: target.clone(),
                    docker: image.docker.clone().filter(|_| docker),
                    ..image
                };
                all.into_iter().map(form).collect::<Vec<_>>()
            })
        };
        self.write("docker 20.10: export", "export", input, form(true, Target::Any));
        let oci = self.write(
            "docker 20.10: convert --to oci",
            "convert --to oci",
            input,
            form(false, Target::Any),
        );
        self.write(
            "  … and back: convert --to docker",
            "convert --to docker",
            &oci,
            form(true, Target::Any),
        );
        self.write(
            "docker 20.10: convert --to hybrid",
            "convert --to hybrid",
            input,
            form(true, Target::Any),
        );
        let one = form(true, Target::Any).map(|mut all| {
            all.retain(|image| image.names[0].contains("second"));
            all
        });
        let second = "export registry.k8s.io/tools/second:v2";
        let _ = self.write("docker 20.10: export REF", second, input, one);
    }

    /// Three families in one archive, and its parts.
    fn merged(&mut self, inputs: &Inputs) {
        let sources = [&inputs.docker, &inputs.three, &inputs.single];
        let all = self.sources(&sources).map(|all| {
            let hybrid = |image: Wanted| image.docker(Some("linux/amd64"));
            all.into_iter().map(hybrid).collect::<Vec<_>>()
        });
        let out = self.path(".tar");
        let mut words = vec!["merge", "-o", out.to_str().unwrap(), "--to", "hybrid"];
        words.extend(sources.iter().map(|path| path.to_str().unwrap()));
        let done = ocitar(&words);
        let all = done.and(all);
        self.add("merge docker 20.10, buildx, ctr", out.clone(), all.clone());
        for (by, index) in [("image", ""), ("platform", ""), ("platform", "keep")] {
            let title = format!(
                "split --by {by}{}{index}",
                if index.is_empty() { "" } else { " --index " }
            );
            let parts = all.clone().and_then(|_| self.parts(&out, by, index, &title));
            if let Err(error) = parts {
                self.made.push(Err((title, error)));
            }
        }
    }

    /// Each part holds what its archive holds of one image or of one platform, and all of them hold all of it.
    fn parts(&mut self, input: &Path, by: &str, index: &str, title: &str) -> Result<(), String> {
        let folder = self.path("");
        let all = self.sources(&[&input.to_owned()])?;
        let words = ["split", input.to_str().unwrap(), folder.to_str().unwrap()];
        let keep: &[&str] = if index.is_empty() { &[] } else { &["--index", index] };
        ocitar(&[&words[..], &["--by", by], keep].concat())?;
        let mut files: Vec<_> = fs::read_dir(&folder)
            .map_err(|error| error.to_string())?
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let parts = files.iter().filter(|path| path.extension().is_some_and(|end| end == "tar"));
        if files.len() != parts.clone().count() + 1 || !folder.join("parts.json").is_file() {
            return Err(format!("wrote {files:?}"));
        }
        let mut found = Vec::new();
        for path in parts {
            let graph = self.open(path)?;
            let (mut names, mut platforms) = (Vec::new(), Vec::new());
            for image in graph.wanted() {
                platforms.extend(image.platforms().map(|manifest| manifest.platform.clone()));
                names.extend(image.names);
            }
            platforms.sort();
            platforms.dedup();
            let wanted: Vec<_> = all
                .iter()
                .filter(|image| image.names.iter().any(|name| names.contains(name)))
                .map(|image| part(image, &platforms, index))
                .collect();
            let one = if by == "image" { wanted.len() } else { platforms.len() };
            if one != 1 {
                return Err(format!("{}: holds {names:?} {platforms:?}", path.display()));
            }
            for image in &wanted {
                found.extend(image.platforms().map(|m| (image.names.clone(), m.platform.clone())));
            }
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.add(&format!("{title}: {file}"), path.clone(), Ok(wanted));
        }
        let whole =
            all.iter().flat_map(|i| i.platforms().map(|m| (i.names.clone(), m.platform.clone())));
        let mut whole: Vec<_> = whole.collect();
        whole.sort();
        found.sort();
        if whole == found { Ok(()) } else { Err(format!("parts hold {found:?}, not {whole:?}")) }
    }

    /// What `check.py` finds wrong with any of the archives; one run for all.
    fn check_py(&mut self) {
        let paths: Vec<_> = self.made.iter().flatten().map(|job| job.path.clone()).collect();
        let Some(run) = run::check_py(&paths) else { return };
        let text = run.text();
        let mut lines = text.lines();
        for made in self.made.iter_mut().filter(|made| made.is_ok()) {
            let line = lines.next().unwrap_or_default();
            let found: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            let good = found["problems"].as_array().is_some_and(Vec::is_empty);
            if let (false, Ok(Job { title, .. })) = (good, &*made) {
                *made = Err((title.clone(), format!("check.py: {line}{}", run.err)));
            }
        }
    }

    /// Everything that is made of these inputs.
    fn all(mut self, inputs: &Inputs) -> Vec<Made> {
        self.rows("", &inputs.three, ROWS);
        self.rows("artifact: ", &inputs.artifact, ARTIFACT_ROWS);
        self.fan_out(&inputs.three);
        self.sparse(inputs);
        self.docker(&inputs.docker);
        self.merged(inputs);
        self.check_py();
        let filter = std::env::var("OCITAR_ARCHIVES").unwrap_or_default();
        let title = |made: &Made| match made {
            Ok(job) => job.title.clone(),
            Err((title, _)) => title.clone(),
        };
        self.made.retain(|made| title(made).contains(&filter));
        self.made
    }
}

/// What a row keeps of an image.
fn chosen(image: Wanted, kept: &str, index: Index, attested: bool, docker: Option<&str>) -> Wanted {
    let platforms: Vec<_> = kept.split(' ').map(str::to_owned).collect();
    let target = match (index, image.target.clone()) {
        (Same, target) => target,
        (New, Target::Same(digest)) => Target::New(digest),
        (Flat, _) => Target::One,
        _ => Target::Any,
    };
    Wanted { target, ..image.keep(&platforms, attested).docker(docker) }
}

/// What a part of these platforms has of an image.
fn part(image: &Wanted, platforms: &[String], index: &str) -> Wanted {
    let all = image.platforms().count();
    let kept = image.clone().keep(platforms, true);
    let target = match image.target.clone() {
        Target::Same(digest) if index != "keep" && kept.platforms().count() < all => {
            Target::New(digest)
        }
        target => target,
    };
    let docker = match kept.platforms().count() {
        1 => kept.platforms().next().map(|manifest| manifest.platform.clone()),
        _ => Some("linux/amd64".to_owned()),
    };
    Wanted { target, ..kept.docker(docker.as_deref()) }
}

fn failed(made: &[Made]) -> String {
    let errors = made.iter().filter_map(|made| made.as_ref().err());
    errors.fold(String::new(), |mut text, (title, error)| {
        let _ = writeln!(text, "{title}: {error}");
        text
    })
}

#[test]
fn exports_hold_what_was_chosen() {
    let room = tempfile::tempdir().unwrap();
    let made = Workshop::new(room.path().join("export")).all(&Inputs::kept());
    let failures = failed(&made);
    assert!(failures.is_empty(), "\n{failures}");
}

/// Without a consumer there is nothing to see of these: exit code 1, a name for it, and no file.
#[test]
fn what_is_not_there_is_not_exported() {
    let room = tempfile::tempdir().unwrap();
    let (inputs, out) = (Inputs::kept(), room.path().join("out.tar"));
    let sparse = &inputs.sparse[0].2;
    let rows: [(&Path, &str, &[&str]); 3] = [
        (
            sparse,
            "export --all-platforms",
            &["[E_PLATFORM_MISSING]", "linux/arm64", "linux/arm/v7"],
        ),
        (sparse, "export --platform linux/arm64", &["linux/arm64"]),
        (&inputs.three, "convert --to docker", &["linux/amd64", "linux/arm64", "linux/arm/v7"]),
    ];
    for (input, words, says) in rows {
        let (verb, options) = words.split_once(' ').unwrap();
        let options: Vec<_> = options.split(' ').collect();
        let run = run::ocitar([&[verb, run::arg(input), run::arg(&out)], &options[..]].concat());
        assert_eq!(run.code, 1, "{words}: {run:?}");
        let text = format!("{}{}", run.err, run.text());
        assert!(says.iter().all(|word| text.contains(word)), "{words}: {text}");
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0, "{words} wrote something");
    }
    // The report of what is in an archive names the same platforms as we do.
    let listed = run::ocitar(["ls", "--json", run::arg(sparse)]).ok().json();
    let image = &listed["archives"][0]["images"][0];
    assert_eq!(texts(&image["names"]), [THREE], "{}", text(&image["digest"]));
}

/// What a consumer made of an archive.
enum Cell {
    Loaded,
    /// As was right.
    Refused,
    Not,
    Fail(String),
}

fn cell(peers: &Peers, consumer: Consumer, made: &Made) -> Cell {
    let job = match made {
        Ok(job) => job,
        Err((_, error)) => return Cell::Fail(error.clone()),
    };
    if consumer.on_host() && !peers.host {
        return Cell::Not;
    }
    let expected = consumer.expected(job);
    if matches!(expected, Expected::Not(_)) {
        return Cell::Not;
    }
    match (expected, consumer.load(peers, job)) {
        (Expected::Refuses(_), Ok(())) => Cell::Fail("loads what it should refuse".to_owned()),
        (Expected::Refuses(words), Err(error)) if words.iter().any(|word| error.contains(word)) => {
            Cell::Refused
        }
        (_, Err(error)) => Cell::Fail(error),
        (_, Ok(())) => Cell::Loaded,
    }
}

#[test]
fn real_tools_load_what_was_exported() {
    let Some(peers) = Peers::find() else {
        assert!(!required(), "OCITAR_PEERS=1, and no peers run: tests/peers/peers.sh up");
        say("skipped, no peers");
        return;
    };
    assert!(
        peers.host || !required(),
        "OCITAR_PEERS=1, and docker 20.10 does not run: tests/peers/peers.sh host-up"
    );
    let inputs = Inputs::make(&peers).unwrap();
    let made = Workshop::new(peers.room().join("export")).all(&inputs);
    let columns: Vec<Vec<Cell>> = thread::scope(|scope| {
        let (peers, made) = (&peers, &made);
        let column = |consumer: Consumer| {
            scope.spawn(move || {
                let start = Instant::now();
                let cells = made.iter().map(|made| cell(peers, consumer, made)).collect();
                say(&format!("{:14} {:3} s", consumer.name(), start.elapsed().as_secs()));
                cells
            })
        };
        let threads = ALL.map(column);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let failures = table(&made, &columns);
    assert!(failures.is_empty(), "\n{failures}");
}

/// Prints archive × consumer; gives back the failures.
fn table(made: &[Made], columns: &[Vec<Cell>]) -> String {
    let mut text = format!("{:67}", "");
    for consumer in ALL {
        let _ = write!(text, " {:13}", consumer.name());
    }
    let mut failures = failed(made);
    for (row, made) in made.iter().enumerate() {
        let (Ok(Job { title, .. }) | Err((title, _))) = made;
        let _ = write!(text, "\n{title:67}");
        for (consumer, column) in ALL.iter().zip(columns) {
            let word = match &column[row] {
                Cell::Loaded => "ok",
                Cell::Refused => "refused, ok",
                Cell::Not => "–",
                Cell::Fail(reason) => {
                    if made.is_ok() {
                        let _ = writeln!(failures, "{title} into {}: {reason}", consumer.name());
                    }
                    "FAIL"
                }
            };
            let _ = write!(text, " {word:13}");
        }
    }
    say(&text);
    failures
}
