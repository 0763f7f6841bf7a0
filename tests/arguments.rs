//! Command lines nobody would type, and settings that must not matter.
//!
//! * Whatever the arguments are, a run ends with one of the exit codes that the help lists, and never as a bug.
//! * The number of threads changes no byte of what is written or printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "cli")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use support::image::{Image, Layer, Packing, blob_path};
use support::oci::layout;
use support::run::{Room, arg, finish, ocitar, testdata};
use support::tarball::Tar;

const NEW: &str = "registry.example.com/new:v9";
const LISTS: usize = 2000;
/// Each works in a folder of its own, so that what a run finds there does not depend on the others.
const WORKERS: usize = 4;

/// A generator that gives the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % n
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// A verb and its options, as its help prints them, each with whether it takes a value.
type Verbs = Vec<(String, Vec<(String, bool)>)>;

fn verbs() -> Verbs {
    let help = ocitar(["--help"]).ok().text();
    let commands = help.split("Commands:\n").nth(1).unwrap().lines();
    let verbs = commands.map_while(|line| line.split_whitespace().next());
    verbs.map(|verb| (verb.to_owned(), options(verb))).collect()
}

fn options(verb: &str) -> Vec<(String, bool)> {
    let help = ocitar([verb, "--help"]);
    let text = help.text();
    let lines = text.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let mut options = Vec::new();
    for line in lines {
        let spelled = line.split("  ").next().unwrap();
        let takes = spelled.contains('<') && !spelled.contains("[=");
        for word in spelled.split([' ', ',', '[']).filter(|word| word.starts_with('-')) {
            options.push((word.to_owned(), takes));
        }
    }
    options
}

/// Files of the folder: archives, and what is none. None is a file outside: with `--force` they are written to.
const PATHS: [&str; 14] = [
    "docker.tar",
    "oci.tar",
    "oci.tar.gz",
    "docker.tar.zst",
    "cut.tar",
    "empty",
    "text",
    "layout",
    "out.tar",
    "out.tar.xz",
    "no/such/out.tar",
    "folder",
    "-",
    "/dev/null",
];

/// Values that some option or operand takes.
const VALUES: [&str; 40] = [
    "nginx:1.27",
    "registry.example.com/a/b:v1",
    "docker.io/library=registry.example.com/hub",
    "a:1=b:2",
    "=",
    "a=",
    "=a:1",
    "sha256:0000",
    "linux/amd64",
    "arm64",
    "linux/arm/v7",
    "windows(10.0.17763.1)/amd64",
    "oci",
    "docker",
    "hybrid",
    "same",
    "none",
    "gzip:9",
    "gzip:99",
    "zstd:-1",
    "xz",
    "image",
    "platform",
    "size=1",
    "size=20K",
    "size=",
    "keep",
    "drop",
    "rewrite",
    "flatten",
    "first",
    "all",
    "ctr",
    "json-depth=3",
    "members=1",
    "unpacked=0",
    "documents=16E",
    "1",
    "8",
    "journal",
];

/// What somebody's script may pass on without a look.
const ODD: [&str; 16] = [
    "",
    " ",
    "--",
    "---",
    "-x",
    "--no-such-option",
    "--=",
    "-1",
    "65535",
    "18446744073709551616",
    "\u{1b}[2J",
    "\u{202e}gpj",
    "a\nb",
    "%s%n",
    "{}",
    "日本語:タグ",
];

/// Lines that make sense, to begin with; `IN` is any path.
const LINES: [&str; 15] = [
    "ls IN",
    "ls IN IN --limit members=1",
    "inspect IN",
    "verify IN IN",
    "check IN",
    "retag IN out.tar a:1 --force",
    "retag IN - a:1",
    "retag IN /dev/full a:1",
    "retag IN -n out.tar --add a:1",
    "retag --in-place=journal IN a:1",
    "export IN out.tar --force",
    "convert IN out.tar --to oci --force",
    "merge -o out.tar --force IN IN",
    "split IN folder --by image --force",
    "recover IN",
];

fn list(dice: &mut Dice, verbs: &Verbs) -> Vec<String> {
    let (mut list, verb, most): (Vec<String>, _, _) = if dice.below(3) > 0 {
        let line = dice.of(&LINES);
        let list: Vec<String> = line
            .split(' ')
            .map(|word| if word == "IN" { dice.of(&PATHS) } else { word }.to_owned())
            .collect();
        let verb = verbs.iter().find(|(verb, _)| *verb == list[0]).unwrap();
        (list, verb, 3)
    } else {
        let verb = &verbs[dice.below(verbs.len())];
        (vec![verb.0.clone()], verb, 8)
    };
    let options = &verb.1;
    for _ in 0..dice.below(most) {
        match dice.below(10) {
            0 | 1 => list.push(dice.of(&PATHS).to_owned()),
            2 | 3 => list.push(dice.of(&VALUES).to_owned()),
            4 => list.push(dice.of(&ODD).to_owned()),
            5 => list.push("--force".to_owned()),
            _ if options.is_empty() => {}
            _ => {
                let (option, takes) = &options[dice.below(options.len())];
                let value = match dice.below(8) {
                    0 | 1 => dice.of(&PATHS),
                    2 => dice.of(&ODD),
                    _ => dice.of(&VALUES),
                };
                match dice.below(12) {
                    0 => list.push(format!("{option}={value}")),
                    1 => list.push(option.clone()),
                    _ => {
                        list.push(option.clone());
                        list.extend(takes.then(|| value.to_owned()));
                    }
                }
            }
        }
    }
    // Options may stand before the verb as well.
    if dice.below(10) == 0 {
        let at = dice.below(list.len());
        list.rotate_left(at);
    }
    list
}

/// Puts the files there that are read, as they are at first.
fn fill(room: &Room) {
    let data = |name: &str| {
        let all = testdata();
        fs::read(all.iter().find(|path| path.ends_with(name)).unwrap()).unwrap()
    };
    let docker = data("docker26-two-tags.tar");
    room.write("cut.tar", &docker[..docker.len() / 2]);
    room.write("docker.tar", docker);
    room.write("oci.tar", data("buildx-oci-multi.tar"));
    room.write("oci.tar.gz", data("buildx-oci-multi.tar.gz"));
    room.write("docker.tar.zst", data("docker26-two-tags.tar.zst"));
    room.write("empty", "");
    room.write("text", "[[rule]]\nnew = \"a.io/b:1\"\n");
    fs::create_dir_all(room.path("folder")).unwrap();
    room.write("layout/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
    room.write("layout/index.json", "{\"schemaVersion\":2,\"manifests\":[]}");
}

/// The code a list of arguments ends with.
fn run(room: &Room, list: &[String]) -> i32 {
    let mut command = Command::new("timeout");
    // Much more than any of them takes.
    command.args(["-s", "KILL", "120", env!("CARGO_BIN_EXE_ocitar")]).args(list);
    command.current_dir(room.path("")).env_remove("RUST_BACKTRACE");
    let done = command.stdin(Stdio::null()).output().unwrap();
    let err = String::from_utf8_lossy(&done.stderr);
    let what = format!("{list:?}: {:?} {err}", done.status);
    let code = done.status.code().unwrap_or_else(|| panic!("a signal: {what}"));
    assert!((0..=5).contains(&code), "{what}");
    assert!(!err.contains("panicked") && !err.contains("[E_BUG]"), "{what}");
    // Who fails says why, as data where that was asked for; `check -q` answers by its code.
    assert!(code <= 1 || !err.is_empty() || !done.stdout.is_empty(), "{what}");
    code
}

#[test]
fn any_arguments() {
    let verbs = verbs();
    assert!(verbs.len() > 10, "{verbs:?}");
    assert!(verbs.iter().all(|(verb, all)| verb == "help" || all.len() > 10), "{verbs:?}");
    let all = std::thread::scope(|threads| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let verbs = &verbs;
                threads.spawn(move || {
                    let room = Room::new();
                    let mut dice = Dice(0x000c_17a2 + worker as u64);
                    let mut codes = BTreeMap::new();
                    for n in 0..LISTS / WORKERS {
                        if n % 10 == 0 {
                            fill(&room);
                        }
                        let list = list(&mut dice, verbs);
                        *codes.entry(run(&room, &list)).or_insert(0) += 1;
                    }
                    codes
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    let mut sum = BTreeMap::new();
    for (code, count) in all.into_iter().flatten() {
        *sum.entry(code).or_insert(0) += count;
    }
    println!("exit codes of {LISTS} lists: {sum:?}");
    // They get far enough to meet every kind of end.
    assert!((0..=5).all(|code| sum.contains_key(&code)), "{sum:?}");
    assert!(sum[&0] > LISTS / 20, "{sum:?}");
}

/// An archive of layers that are all damaged: a large one, which is done last by whoever takes it first, and small ones.
fn damaged() -> Vec<u8> {
    let noise = (0..8_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8);
    let large = Tar::new().file("noise", noise.collect::<Vec<u8>>()).bytes();
    let mut layers =
        vec![Layer { plain: large.clone(), blob: large, ..Layer::new("large", Packing::Plain) }];
    layers.extend(["a", "b", "c", "d"].map(|name| Layer::new(name, Packing::Gzip)));
    let image = Image::new("linux/amd64", layers);
    let mut tar = layout(image.blobs(), &[image.descriptor().named("a.io/b:1")]);
    for layer in &image.layers {
        let path = blob_path(&layer.digest());
        let mut body = tar.get(&path).to_vec();
        *body.last_mut().unwrap() ^= 1;
        tar = tar.with(&path, body);
    }
    tar.bytes()
}

/// One thread, two, more than there is work, and whatever one processor makes of it.
#[test]
fn any_number_of_threads() {
    let room = Room::new();
    let data = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    let [docker, oci, packed, links] = [
        "docker26-two-images.tar",
        "buildx-oci-multi.tar",
        "docker26-two-tags.tar.zst",
        "docker20-links.tar",
    ]
    .map(data);
    let bad = room.write("bad.tar", damaged());
    let [docker, oci, packed, links, bad] = [&docker, &oci, &packed, &links, &bad].map(|p| arg(p));
    let rows: [&[&str]; 15] = [
        &["ls", "--json", docker, bad, oci, packed],
        &["inspect", "--json", oci],
        &["verify", docker, oci, bad, packed, links],
        &["verify", "--json", docker, oci, bad, packed, links],
        &["verify", "--json", "--all-platforms", "--strict-layers", links, oci],
        &["check", "--json", docker],
        &["retag", oci, "-", NEW],
        &["retag", "--verify", packed, "-", NEW],
        &["retag", "--compress", "gzip:9", oci, "-", NEW],
        &["retag", "--compress", "zstd:3", oci, "-", NEW],
        &["export", oci, "-", "--platform", "linux/amd64"],
        &["export", docker, "-", "--compress", "zstd"],
        &["convert", docker, "-", "--to", "hybrid"],
        &["convert", links, "-", "--to", "oci"],
        &["merge", "-o", "-", docker, oci, packed, links],
    ];
    let one = ["-c", "0"];
    let pins = Command::new("taskset").args(one).arg("true").output();
    let pins = pins.is_ok_and(|done| done.status.success());
    if !pins {
        eprintln!("skipped: one processor, for want of taskset");
    }
    for args in rows {
        let want = ocitar([args, &["-j", "2"]].concat());
        assert!(want.code <= 3 && !want.out.is_empty(), "{args:?}: {}", want.err);
        let mut runs = Vec::new();
        for jobs in ["1", "3", "64"] {
            runs.push((jobs, ocitar([args, &["-j", jobs]].concat())));
        }
        runs.push(("as many as there are", ocitar(args)));
        if pins {
            let mut pinned = Command::new("taskset");
            pinned.args(one).arg(env!("CARGO_BIN_EXE_ocitar")).args(args);
            runs.push(("one processor", finish(&mut pinned, &[])));
        }
        for (how, run) in runs {
            assert_eq!((run.code, &run.err), (want.code, &want.err), "{args:?}, {how}");
            assert!(run.out == want.out, "{args:?}, {how}: other bytes");
        }
    }
}
