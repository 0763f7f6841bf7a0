//! The command as a program: exit codes, streams, signals, what it prints.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "cli")]

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::image::{Image, Packing, blob_path, item, pack, sha256};
use support::oci::{LAYOUT, layout};
use support::run::{Room, arg, command, finish, ocitar, ocitar_reading};
use support::tarball::Tar;
use support::{docker, oci};

const NEW: &str = "registry.example.com/new:v9";
const APP: &str = "docker.io/library/app:1.0";

#[test]
fn help_names_every_verb_and_exit_code() {
    for args in [&["--help"][..], &["-h"], &["help"]] {
        let text = ocitar(args).ok().text();
        for verb in ["ls", "inspect", "verify", "retag"] {
            assert!(
                text.lines().any(|line| line.trim_start().starts_with(verb)),
                "{verb} in {text}"
            );
        }
        assert!(text.contains("Exit codes: 0 done, 1 content"), "{text}");
    }
    for verb in ["ls", "inspect", "verify", "retag"] {
        let text = ocitar([verb, "--help"]).ok().text();
        assert!(text.contains(&format!("Usage: ocitar {verb}")), "{text}");
        for option in ["--json", "--jobs", "--quiet", "--mmap", "--no-mmap", "--tmpdir"] {
            assert!(text.contains(option), "{option} in {text}");
        }
    }
    let text = ocitar(["--version"]).ok().text();
    assert_eq!(text, format!("ocitar {}\n", env!("CARGO_PKG_VERSION")));
}

/// Every code the help promises but 70, which is a bug, and those of signals, which have a test of their own.
#[test]
fn exit_codes() {
    let room = Room::new();
    let image = Image::plain("x");
    let good = layout(image.blobs(), &[image.descriptor().named(APP)]);
    let layer = blob_path(&image.layers[0].digest());
    let ok = room.write("ok.tar", good.bytes());
    let corrupt = room.write("corrupt.tar", good.clone().with(&layer, "other").bytes());
    let malformed = room.write("malformed.tar", good.clone().with("index.json", "{").bytes());
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let limit = room.write("limit.tar", good.with("index.json", deep).bytes());
    let sparse = room.write("sparse.tar", oci::sparse().tar.bytes());
    let no = room.path("no-such.tar");
    let (out, other) = (room.path("out.tar"), room.path("other.tar"));
    let [ok, corrupt, malformed, limit, sparse, no, out, other] =
        [&ok, &corrupt, &malformed, &limit, &sparse, &no, &out, &other].map(|path| arg(path));
    let full = "/dev/full";
    let rows: Vec<(&str, Vec<&str>, i32)> = vec![
        ("ls", vec!["ls", ok], 0),
        ("verify", vec!["verify", ok], 0),
        ("inspect", vec!["inspect", ok], 0),
        ("retag", vec!["retag", ok, out, NEW], 0),
        ("absent platforms are a note", vec!["verify", sparse], 0),
        ("corrupt", vec!["verify", corrupt], 1),
        ("corrupt, --verify", vec!["retag", "--verify", corrupt, other, NEW], 1),
        ("absent platforms with --all-platforms", vec!["verify", "--all-platforms", sparse], 1),
        ("no such image", vec!["inspect", ok, "no/such"], 1),
        ("no such platform", vec!["inspect", ok, "--platform", "linux/s390x"], 1),
        ("no rule matches", vec!["retag", "-n", ok, out, "x:1=y:1"], 1),
        ("no verb", vec![], 2),
        ("an unknown verb", vec!["tag", ok], 2),
        ("an unknown option", vec!["ls", "--nope", ok], 2),
        ("no input", vec!["ls"], 2),
        ("no threads", vec!["verify", "-j", "0", ok], 2),
        ("no rule", vec!["retag", ok, out], 2),
        ("the output exists", vec!["retag", ok, corrupt, NEW], 2),
        ("a bad platform", vec!["inspect", ok, "--platform", "linux/a/b/c"], 2),
        ("malformed, ls", vec!["ls", malformed], 3),
        ("malformed, verify", vec!["verify", malformed], 3),
        ("malformed, inspect", vec!["inspect", malformed], 3),
        ("malformed, retag", vec!["retag", "-n", malformed, out, NEW], 3),
        ("a limit, ls", vec!["ls", limit], 4),
        ("a limit, retag", vec!["retag", "-n", limit, out, NEW], 4),
        ("no file, ls", vec!["ls", no], 5),
        ("no file, verify", vec!["verify", no], 5),
        ("no file, inspect", vec!["inspect", no], 5),
        ("no file, retag", vec!["retag", no, other, NEW], 5),
        ("no map file", vec!["retag", ok, other, "--map", no], 5),
        ("a full device", vec!["retag", ok, full, NEW], 5),
        ("several: corrupt counts before malformed", vec!["verify", malformed, corrupt, ok], 1),
        ("several: malformed", vec!["verify", ok, malformed], 3),
    ];
    for (what, args, code) in rows {
        let run = ocitar(&args);
        assert_eq!(run.code, code, "{what}: {}{}", run.err, run.text());
        let complains = |line: &str| {
            ["ocitar: ", "error: ", "fatal: ", "Usage: "]
                .iter()
                .any(|start| line.starts_with(start))
        };
        assert_eq!(code != 0, run.err.lines().any(complains), "{what}: {}", run.err);
    }
}

#[test]
fn errors_are_one_line_with_place_and_id() {
    let room = Room::new();
    let image = Image::plain("x");
    let tar = layout(image.blobs(), &[image.descriptor().named(APP)])
        .with("index.json", "{\"manifests\":[],\"manifests\":[]}");
    let at = tar.members.iter().position(|member| member.name == "index.json").unwrap();
    let offset = Tar { members: tar.members[..at].to_vec(), ..Tar::new() }.bytes().len() - 1024;
    let path = room.write("in.tar", tar.bytes());
    let path = arg(&path);
    let want = format!(
        "ocitar: {path}: index.json (member {at}, offset {offset}): duplicate key \"manifests\" [E_JSON_DUPKEY]"
    );
    for args in [vec!["ls", path], vec!["retag", "-n", path, "-", NEW]] {
        let run = ocitar(&args);
        assert_eq!(run.err.lines().next(), Some(&*want), "{args:?}");
        assert!(run.out.is_empty(), "{args:?}");
    }
    let run = ocitar(["verify", path]);
    assert!(run.err.contains(want.strip_prefix("ocitar: ").unwrap()), "{}", run.err);
    let run = ocitar(["ls", "--json", path]);
    let error = &run.json()["archives"][0]["error"];
    assert_eq!(error["id"], "E_JSON_DUPKEY");
    assert_eq!(
        (error["member"].as_str(), error["index"].as_u64()),
        (Some("index.json"), Some(at as u64))
    );
    assert_eq!(error["offset"].as_u64(), Some(offset as u64));
    // A hint is a line of its own, and never the first.
    let run = ocitar(["retag", path, "x", "a:1", "b:1"]);
    let lines: Vec<&str> = run.err.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].ends_with("[E_RULE]") && lines[1].starts_with("  hint: "),
        "{}",
        run.err
    );
    assert!(!run.err.contains('\x1b'), "no colour in a pipe");
    let run = ocitar(["--color", "always", "retag", path, "x", "a:1", "b:1"]);
    assert!(run.err.contains("\x1b[31mocitar\x1b[0m"), "{}", run.err);
}

#[test]
fn a_reader_that_goes_away_is_no_failure_of_a_listing() {
    let room = Room::new();
    // More than a pipe holds.
    let image = Image::plain("x");
    let tops: Vec<_> =
        (0..3000).map(|n| image.descriptor().named(&format!("example.com/a/{n}:1"))).collect();
    let path = room.write("in.tar", layout(image.blobs(), &tops).bytes());
    for (args, lines) in [
        (&["ls"][..], 0),
        (&["ls"], 1),
        (&["ls", "--json"], 0),
        (&["ls", "-q"], 0),
        (&["ls", "-q"], 1),
        (&["inspect"], 0),
        (&["inspect", "--json"], 0),
        (&["verify"], 0),
        (&["ls", "--help"], 0),
    ] {
        let mut child = command([args, &[arg(&path)]].concat());
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // As `head` does it: a line, and away.
        let mut reader = BufReader::with_capacity(64, child.stdout.take().unwrap());
        for _ in 0..lines {
            assert!(reader.read_line(&mut String::new()).unwrap() > 0, "{args:?}");
        }
        drop(reader);
        let done = child.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{args:?}");
        let err = String::from_utf8_lossy(&done.stderr);
        assert!(err.lines().all(|line| line.starts_with("note: ")), "{args:?}: {err}");
    }
    // An archive is not complete without its end.
    let mut child = command(["retag", arg(&path), "-", "--prefix", "example.com/a=example.com/b"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&done.stderr).contains("[E_IO]"));
}

#[test]
fn a_full_device_is_a_failure() {
    let room = Room::new();
    let path = room.write("in.tar", docker::docker28().tar.bytes());
    let path = arg(&path);
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let rows: [&[&str]; 15] = [
        &["--help"],
        &["-h"],
        &["help"],
        &["help", "retag"],
        &["ls", "--help"],
        &["--version"],
        &["ls", path],
        &["ls", "--json", path],
        &["ls", "-q", path],
        &["inspect", path],
        &["inspect", "--json", path],
        &["verify", path],
        &["check", path],
        &["retag", "-n", "--json", path, "out.tar", NEW],
        &["retag", path, "-", NEW],
    ];
    for args in rows {
        let done = command(args).stdout(full()).stderr(Stdio::piped()).output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(5), "{args:?}: {err}");
        let mut lines = err.lines().filter(|line| line.starts_with("ocitar: "));
        let line = lines.next().unwrap_or_default();
        assert!(line.ends_with("[E_IO]") || line.ends_with("[E_NO_SPACE]"), "{args:?}: {err}");
        assert_eq!(lines.next(), None, "{args:?}: {err}");
    }
}

/// Whether a terminal would do something with this text.
fn moves_a_cursor(text: &str) -> bool {
    text.chars().any(|c| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c))
}

#[test]
fn what_an_archive_says_is_escaped_for_terminals() {
    let room = Room::new();
    let image = Image::plain("x");
    let evil = "\\u001b[2J\\u001b]0;evil\\u0007\\r\\n\\u202egnp.exe\\u009b";
    let top = image.descriptor().annotation("io.containerd.image.name", evil).to_string();
    let config = image.config.replace("\"Cmd\"", &format!("\"User\":\"{evil}\",\"Labels\":{{\"{evil}\":\"{evil}\"}},\"Env\":[\"{evil}=1\"],\"Cmd\""));
    let index = format!("{{\"schemaVersion\":2,\"manifests\":[{top}]}}");
    let oci = layout(image.blobs(), &[]).with("index.json", index);
    let docker = Tar::new()
        .file("c.json", &config)
        .file("1.tar", &image.layers[0].plain)
        .file("2.tar", &image.layers[1].plain)
        .file(
            "manifest.json",
            format!(
                "[{}]",
                item(
                    "c.json",
                    &format!("[\"{evil}\",\"app:1.0\"]"),
                    &["1.tar".into(), "2.tar".into()],
                    ""
                )
            ),
        );
    let missing = Tar::new()
        .file("manifest.json", format!("[{}]", item(evil, "[\"app:1.0\"]", &[evil.into()], "")));
    let member = Tar::new()
        .file("a\u{1b}[2J", "x")
        .file("oci-layout", LAYOUT)
        .file("index.json", "{\"manifests\":[]}");
    let platform =
        image.child().to_string().replace("\"os\":\"linux\"", &format!("\"os\":\"{evil}\""));
    let platform =
        layout(image.blobs(), &[]).with("index.json", format!("{{\"manifests\":[{platform}]}}"));
    for (what, tar) in [
        ("oci", oci),
        ("docker", docker),
        ("missing", missing),
        ("member", member),
        ("platform", platform),
    ] {
        let path = room.write(&format!("{what}.tar"), tar.bytes());
        let path = arg(&path);
        let out = room.path("out.tar");
        let rows: [&[&str]; 8] = [
            &["ls", path],
            &["ls", "-q", path],
            &["inspect", path],
            &["inspect", path, "no-such-image"],
            &["verify", "-v", path],
            &["retag", "-n", path, "-", NEW],
            &["retag", "-n", path, "-", "--regex", ".*app.*", NEW],
            &[
                "retag",
                "-v",
                "--force",
                path,
                arg(&out),
                "--allow-unmatched",
                "--drop-unmatched",
                "app:1.0=b:1",
            ],
        ];
        for args in rows {
            let run = ocitar(args);
            assert!([0, 1, 2, 3].contains(&run.code), "{what} {args:?}: {}", run.err);
            for text in [run.text(), run.err] {
                assert!(!moves_a_cursor(&text), "{what} {args:?}: {}", text.escape_debug());
            }
        }
        // JSON escapes what it must, and holds the name as it is.
        let run = ocitar(["inspect", "--json", path]);
        assert!(!run.text().trim_end().contains(|c: char| c < ' '), "{what}");
        run.json();
    }
    let run = ocitar(["ls", "no\u{1b}[2Jsuch"]);
    assert!(!moves_a_cursor(&run.err), "{}", run.err);
    let run = ocitar(["retag", "x", "y", "a\u{1b}[2J"]);
    assert!(!moves_a_cursor(&run.err), "{}", run.err);
}

/// An archive whose one layer is a hole of 200 MiB.
fn large(room: &Room) -> std::path::PathBuf {
    let hole = 200 << 20;
    let config = Image::new("linux/amd64", Vec::new())
        .config
        .replace("[]", &format!("[\"{}\"]", sha256("")));
    let items = item("c.json", "[\"app:1.0\"]", &["layer.tar".into()], "");
    let tar = Tar::new()
        .file("c.json", config)
        .file("manifest.json", format!("[{items}]"))
        .file("layer.tar", "");
    let bytes = tar.bytes();
    let at = bytes.len() - 1024 - 512;
    let mut header = tar::Header::from_byte_slice(&bytes[at..at + 512]).clone();
    header.set_size(hole);
    header.set_cksum();
    let path = room.write("in.tar", &bytes[..at]);
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(header.as_bytes(), at as u64).unwrap();
    file.set_len(at as u64 + 512 + hole + 1024).unwrap();
    path
}

#[test]
fn a_signal_leaves_nothing_behind() {
    let room = Room::new();
    let input = large(&room);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let fresh = ("fresh.tar", None);
        for ((out, old), more) in [
            (fresh, ["--compress", "gzip:9"]),
            (("old.tar", Some("precious")), ["--compress", "gzip:9"]),
            (fresh, ["--verify", "--jobs=1"]),
        ] {
            let path = room.path(out);
            old.inspect(|old| fs::write(&path, old).unwrap());
            let args = [&["retag", "--force", arg(&input), arg(&path), NEW], &more[..]].concat();
            let mut child = command(args).stderr(Stdio::piped()).spawn().unwrap();
            let started = Instant::now();
            // The output has no name yet. Before that one was opened to see whether
            // it could be, and held nothing.
            let open = format!("/proc/{}/fd", child.id());
            let nameless = |path: std::path::PathBuf| {
                path.starts_with(room.path("")) && path.to_string_lossy().ends_with(" (deleted)")
            };
            let has_begun = || {
                let open = fs::read_dir(&open).into_iter().flatten().flatten();
                open.into_iter().map(|fd| fd.path()).any(|fd| {
                    fs::read_link(&fd).is_ok_and(nameless)
                        && fs::metadata(&fd).is_ok_and(|file| file.len() > 0)
                })
            };
            while !has_begun()
                && started.elapsed() < Duration::from_secs(20)
                && child.try_wait().unwrap().is_none()
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
            let done = child.wait_with_output().unwrap();
            if !sent.is_ok_and(|status| status.success()) || done.status.code() == Some(0) {
                println!("SIG{signal} came too late, not tested");
                let _ = fs::remove_file(&path);
                continue;
            }
            let err = String::from_utf8_lossy(&done.stderr);
            assert_eq!(done.status.code(), Some(code), "{err}");
            assert!(err.contains("[E_INTERRUPTED]"), "{err}");
            assert_eq!(fs::read(&path).ok().as_deref(), old.map(str::as_bytes), "{out}");
            let _ = fs::remove_file(&path);
            assert_eq!(room.list(), ["in.tar"]);
        }
    }
}

/// Whether a process has taken note of every signal it was sent, and catches this one.
fn is_ready_for(signal: u32, child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    let pending = mask("SigPnd:") | mask("ShdPnd:");
    pending == 0 && mask("SigCgt:") & (1 << (signal - 1)) != 0
}

/// The first asks for an end, which comes when the write that waits for a reader is through; who does not want to wait
/// sends another, of any kind.
#[test]
fn a_second_signal_ends_at_once() {
    let room = Room::new();
    let input = large(&room);
    let fifo = room.path("fifo");
    if !Command::new("mkfifo").arg(&fifo).status().is_ok_and(|made| made.success()) {
        return;
    }
    for (first, second) in [
        (2, None),
        (15, None),
        (1, None),
        (2, Some(2)),
        (15, Some(15)),
        (2, Some(15)),
        (1, Some(2)),
    ] {
        let what = format!("{first}, {second:?}");
        let mut child = command(["retag", arg(&input), arg(&fifo), NEW]);
        let mut child = child.stderr(Stdio::piped()).spawn().unwrap();
        let mut reader = File::open(&fifo).unwrap();
        // It is in a write by now that is larger than what a pipe holds.
        reader.read_exact(&mut [0]).unwrap();
        let send = |child: &Child, signal: u32| {
            while !is_ready_for(signal, child) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let args = [format!("-{signal}"), child.id().to_string()];
            assert!(Command::new("kill").args(args).status().unwrap().success(), "{what}");
        };
        send(&child, first);
        while !is_ready_for(first, &child) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(child.try_wait().unwrap().is_none(), "{what}: the first one does not kill");
        match second {
            Some(signal) => {
                send(&child, signal);
                // Nobody reads on.
                let started = Instant::now();
                while child.try_wait().unwrap().is_none() {
                    if started.elapsed() > Duration::from_secs(20) {
                        child.kill().unwrap();
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            None => {
                let mut rest = Vec::new();
                reader.read_to_end(&mut rest).unwrap();
                let last = rest.rchunks(512).next().unwrap();
                assert!(last.starts_with(b".ocitar-aborted\0"), "{what}");
            }
        }
        let done = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr);
        let last = i32::try_from(second.unwrap_or(first)).unwrap();
        assert_eq!(done.status.code(), Some(128 + last), "{what}: {err}");
        // What is ended at once says nothing.
        assert_eq!(err.contains("[E_INTERRUPTED]"), second.is_none(), "{what}: {err}");
    }
}

/// The size of a file is no reason to read it.
#[test]
fn a_large_archive_is_listed_at_once() {
    let room = Room::new();
    let input = large(&room);
    let started = Instant::now();
    ocitar(["ls", arg(&input)]).ok();
    ocitar(["retag", "-n", arg(&input), "-", NEW]).ok();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn quiet_prints_names_only() {
    let room = Room::new();
    let path = room.write("in.tar", docker::docker28().tar.bytes());
    let run = ocitar(["ls", "-q", arg(&path)]).ok();
    assert_eq!(run.text(), format!("{APP}\nlocalhost:5000/x:v1\n"));
    let unnamed = room.write("unnamed.tar", oci::tag_only().tar.bytes());
    assert_eq!(ocitar(["ls", "-q", arg(&unnamed)]).ok().text(), "");
    let run = ocitar(["verify", "-q", arg(&path)]).ok();
    assert_eq!((run.text(), run.err), (String::new(), String::new()));
}

#[test]
fn several_inputs_and_one_of_them_bad() {
    let room = Room::new();
    let good = room.write("good.tar", docker::docker28().tar.bytes());
    let bad = room.write("bad.tar", "no tar");
    let run = ocitar(["ls", arg(&good), arg(&bad), arg(&good)]);
    assert_eq!(run.code, 3, "{}", run.err);
    assert_eq!(run.text().matches(APP).count(), 2, "{}", run.text());
    assert_eq!(
        run.err.lines().filter(|line| line.starts_with("ocitar: ")).count(),
        1,
        "{}",
        run.err
    );
    let run = ocitar(["ls", "--json", arg(&good), arg(&bad)]);
    let archives = run.json()["archives"].clone();
    assert_eq!(archives[0]["format"], "hybrid");
    assert_eq!(archives[1]["error"]["id"], "E_FORMAT");
}

/// `docker save | ocitar` where the daemon fails half-way.
#[test]
fn a_pipe_that_ends_early() {
    let bytes = docker::docker28().tar.bytes();
    for end in [0, 100, 512, 1000, 5000, bytes.len() / 2] {
        let run = ocitar_reading(&bytes[..end], ["retag", "-", "-", NEW]);
        assert_eq!(run.code, 3, "{end}: {}", run.err);
        // What had gone by is marked as unusable.
        let is_marked =
            run.out.rchunks(512).next().is_none_or(|block| block.starts_with(b".ocitar-aborted\0"));
        assert!(is_marked, "{end}");
    }
    let mut never = command(["ls", "/dev/null"]);
    assert_eq!(finish(&mut never, &[]).code, 3);
}

/// What has no end is read as far as it takes to see that it is no archive.
/// Who writes to a named pipe is read to the end, whichever verb it is that reads.
#[test]
fn a_named_pipe() {
    let room = Room::new();
    let pipe = room.path("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let bytes = docker::docker28().tar.bytes();
    let out = room.path("out.tar");
    let rows = [
        vec!["ls", arg(&pipe)],
        vec!["verify", arg(&pipe)],
        vec!["retag", "--force", arg(&pipe), arg(&out), NEW],
        vec!["retag", arg(&pipe), "-", NEW],
        vec!["export", "--force", arg(&pipe), arg(&out)],
    ];
    for args in rows {
        std::thread::scope(|scope| {
            // Without a reader this waits, and one that goes away is an error.
            let writer = scope.spawn(|| fs::write(&pipe, &bytes));
            let run = ocitar(&args);
            assert_eq!(run.code, 0, "{args:?}: {}", run.err);
            writer.join().unwrap().unwrap();
        });
    }
}

/// What is wrong with an archive is said before what is wrong with the rules.
#[test]
fn verify_comes_first() {
    let room = Room::new();
    let image = Image::app("flipped");
    let tar = layout(image.blobs(), &[image.descriptor().named("example.com/team/app:1.0")]);
    let path = blob_path(&image.layers[0].digest());
    let mut flipped = tar.get(&path).to_vec();
    flipped[20] ^= 1;
    let input = room.write("in.tar", tar.with(&path, flipped).bytes());
    let out = room.path("out.tar");
    for rule in [NEW, "example.com/nothing:1=example.com/new:1"] {
        let run = ocitar(["retag", "--verify", arg(&input), arg(&out), rule]);
        assert_eq!(run.code, 1, "{rule}: {}", run.err);
        assert!(run.err.contains("[E_DIGEST_MISMATCH]"), "{rule}: {}", run.err);
        assert_eq!(room.list(), ["in.tar"], "{rule}");
    }
}

/// An error in what came already does not wait for more.
#[test]
fn an_error_does_not_wait_for_the_pipe() {
    let mut bytes = docker::docker28().tar.bytes();
    bytes.truncate(2048);
    bytes.extend([b'x'; 512 << 10]);
    let packed = pack(&bytes, Packing::Gzip);
    for verb in [&["ls", "-"][..], &["verify", "-"], &["retag", "-", "-", NEW]] {
        let mut child = command(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Held open until the end.
        let mut stdin = child.stdin.take().unwrap();
        let _ = std::io::Write::write_all(&mut stdin, &packed);
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < Duration::from_secs(60), "{verb:?} waits");
            std::thread::sleep(Duration::from_millis(5));
        }
        let done = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(err.contains("[E_TAR_CHECKSUM]"), "{verb:?}: {err}");
        drop(stdin);
    }
}

#[test]
fn what_has_no_end() {
    for (verb, code) in [("ls", 3), ("inspect", 3), ("verify", 3), ("check", 1)] {
        for path in ["/dev/zero", "/dev/urandom"] {
            let run = ocitar([verb, path]);
            assert_eq!(run.code, code, "{verb} {path}: {}", run.err);
        }
    }
    let room = Room::new();
    let mut yes = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
    let mut retag = command(["retag", "-", arg(&room.path("out.tar")), NEW]);
    let run = retag.stdin(yes.stdout.take().unwrap()).output().unwrap();
    // With its end of the pipe.
    drop(retag);
    let err = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(3), "{err}");
    assert!(err.contains("[E_FORMAT]"), "{err}");
    yes.wait().unwrap();
    assert_eq!(room.list().len(), 0);
}
