//! Where the output goes: files, pipes, compression, and what must not be touched.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Stdio;

use serde_json::{Value, json};

use super::support::image::{Packing, pack};
use super::support::oci;
use super::support::run::{Room, arg, command, ocitar, ocitar_reading};
use super::{APP, Docs, Fixture, NEW, assert_same, item, retag, top, written};

fn before(fixture: &Fixture) -> Vec<u8> {
    fixture.archive(&Docs::new(&top('a', APP, "1.0"), &item('a', &["app:1.0"]), "")).bytes()
}

fn after(fixture: &Fixture) -> Vec<u8> {
    fixture.archive(&Docs::new(&top('a', NEW, "v9"), &item('a', &[NEW]), "")).bytes()
}

fn unpack(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match bytes {
        [0x1f, 0x8b, ..] => {
            _ = flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap()
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => out = zstd::decode_all(bytes).unwrap(),
        _ => out = bytes.to_vec(),
    }
    out
}

fn packing(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x1f, 0x8b, ..] => "gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        _ => "none",
    }
}

#[test]
fn an_existing_file_is_left_alone() {
    let (fixture, room) = (Fixture::new(), Room::new());
    let input = room.write("in.tar", before(&fixture));
    let out = room.write("out.tar", "precious");
    let run = ocitar(["retag", arg(&input), arg(&out), NEW]);
    assert_eq!((run.code, run.id()), (2, "E_OUT_EXISTS"), "{}", run.err);
    assert_eq!(fs::read(&out).unwrap(), b"precious");
    // A failed run with --force leaves it, too.
    let run = ocitar(["retag", "--force", arg(&input), arg(&out), "x:1=y:1"]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert_eq!(fs::read(&out).unwrap(), b"precious");
    ocitar(["retag", "--force", arg(&input), arg(&out), NEW]).ok();
    assert_same("forced", &fs::read(&out).unwrap(), &after(&fixture));
    assert_eq!(fs::read(&input).unwrap(), before(&fixture), "the input");
    assert_eq!(room.list(), ["in.tar", "out.tar"]);
}

#[test]
fn force_keeps_a_link_and_a_mode() {
    use std::os::unix::fs::PermissionsExt;
    let (fixture, room) = (Fixture::new(), Room::new());
    let input = room.write("in.tar", before(&fixture));
    let real = room.write("real.tar", "old");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    let link = room.path("link.tar");
    symlink("real.tar", &link).unwrap();
    ocitar(["retag", "--force", arg(&input), arg(&link), NEW]).ok();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_same("link", &fs::read(&real).unwrap(), &after(&fixture));
    assert_eq!(fs::metadata(&real).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn the_input_is_no_output() {
    let (fixture, room) = (Fixture::new(), Room::new());
    let bytes = before(&fixture);
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let packed = pack(&bytes, packing);
        let input = room.write("in.tar", &packed);
        let (soft, hard) = (room.path("soft.tar"), room.path("hard.tar"));
        let _ = (fs::remove_file(&soft), fs::remove_file(&hard));
        symlink("in.tar", &soft).unwrap();
        fs::hard_link(&input, &hard).unwrap();
        for out in [&input, &soft, &hard] {
            for force in [&[][..], &["--force"]] {
                let run = ocitar([&["retag", arg(&input), arg(out), NEW], force].concat());
                assert_eq!(
                    (run.code, run.id()),
                    (2, "E_OUT_SAME"),
                    "{packing:?} {out:?}: {}",
                    run.err
                );
                assert_eq!(fs::read(&input).unwrap(), packed);
            }
        }
        // The other way round: reading through the link.
        let run = ocitar(["retag", "--force", arg(&soft), arg(&input), NEW]);
        assert_eq!((run.code, run.id()), (2, "E_OUT_SAME"), "{}", run.err);
    }
    assert_eq!(room.list(), ["hard.tar", "in.tar", "soft.tar"]);
}

/// The same through standard input and output, which may be appended to, too.
#[test]
fn the_input_is_no_standard_output() {
    let (fixture, room) = (Fixture::new(), Room::new());
    let bytes = before(&fixture);
    let input = room.write("in.tar", &bytes);
    for args in [
        &["retag", arg(&input), "-", NEW][..],
        &["retag", "-", "-", NEW],
        &["retag", "--drop-unmatched", "-", "-", "app:1.0=x:1"],
        &["export", "-", "-"],
        &["convert", arg(&input), "-", "--to", "oci"],
    ] {
        let appended = fs::OpenOptions::new().append(true).open(&input).unwrap();
        let mut ocitar = command(args);
        let child = ocitar.stdin(fs::File::open(&input).unwrap()).stdout(appended);
        let done = child.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(2) && said.contains("[E_OUT_SAME]"), "{args:?} {said}");
        assert_eq!(fs::read(&input).unwrap(), bytes, "{args:?}");
    }
}

#[test]
fn a_folder_is_no_output() {
    let (fixture, room) = (Fixture::new(), Room::new());
    let input = room.write("in.tar", before(&fixture));
    fs::create_dir(room.path("folder")).unwrap();
    for force in [&[][..], &["--force"]] {
        let run = ocitar([&["retag", arg(&input), arg(&room.path("folder")), NEW], force].concat());
        assert_eq!((run.code, run.id()), (2, "E_USAGE"), "{}", run.err);
    }
    let run = ocitar(["retag", arg(&input), arg(&room.path("no/such/folder.tar")), NEW]);
    assert_eq!((run.code, run.id()), (5, "E_IO"), "{}", run.err);
}

#[test]
fn the_archive_itself_goes_to_standard_output() {
    let (fixture, room) = (Fixture::new(), Room::new());
    let bytes = before(&fixture);
    let input = room.write("in.tar", &bytes);
    let run = ocitar(["retag", arg(&input), "-", NEW]).ok();
    assert_same("file to pipe", &run.out, &after(&fixture));
    let run = ocitar_reading(&bytes, ["retag", "-", "-", NEW]).ok();
    assert_same("pipe to pipe", &run.out, &after(&fixture));
    let out = room.path("out.tar");
    ocitar_reading(&bytes, ["retag", "-", arg(&out), NEW]).ok();
    assert_same("pipe to file", &written(&room), &after(&fixture));
    let run = ocitar(["retag", arg(&input), "-", NEW, "--no-mmap"]).ok();
    assert_same("without a map", &run.out, &after(&fixture));
    let run = ocitar(["retag", arg(&input), "-", NEW, "--json"]);
    assert_eq!((run.code, run.id()), (2, "E_USAGE"), "{}", run.err);
    assert_eq!(room.list(), ["in.tar", "out.tar"]);
}

#[test]
fn compression_by_extension_option_and_input() {
    let (fixture, room) = (Fixture::new(), Room::new());
    let plain = before(&fixture);
    let inputs = [("none", Packing::Plain), ("gzip", Packing::Gzip), ("zstd", Packing::Zstd)];
    // File name, `--compress`, and what comes out; `=` is what went in.
    let rows = [
        ("out.tar", "", "none"),
        ("out.tar.gz", "", "gzip"),
        ("out.tgz", "", "gzip"),
        ("out.tar.zst", "", "zstd"),
        ("out.tzst", "", "zstd"),
        ("OUT.TAR.GZ", "", "gzip"),
        ("out", "", "="),
        ("out.img", "", "="),
        ("-", "", "="),
        ("out.tar", "gzip", "gzip"),
        ("out.tar", "zstd", "zstd"),
        ("out.tar.gz", "none", "none"),
        ("out.tar.gz", "zstd:1", "zstd"),
        ("out.img", "gzip:9", "gzip"),
        ("-", "zstd:3", "zstd"),
    ];
    for (name, how) in inputs {
        let input = room.write("in", pack(&plain, how));
        for (out, option, want) in rows {
            let path = if out == "-" { out.to_owned() } else { arg(&room.path(out)).to_owned() };
            let option = if option.is_empty() { vec![] } else { vec!["--compress", option] };
            let run =
                ocitar([&["retag", "--force", arg(&input), &path, NEW], &option[..]].concat()).ok();
            let bytes = if out == "-" { run.out } else { fs::read(path).unwrap() };
            let want = if want == "=" { name } else { want };
            assert_eq!(packing(&bytes), want, "{name} to {out} {option:?}");
            assert_same(&format!("{name} to {out} {option:?}"), &unpack(&bytes), &after(&fixture));
        }
    }
    for bad in ["gzip:10", "zstd:0", "zstd:23", "none:1", "xz", "gzip:x", ""] {
        let run = ocitar(["retag", "in", "out", NEW, "--compress", bad]);
        assert_eq!((run.code, run.id()), (2, "E_USAGE"), "{bad}: {}", run.err);
    }
    let input = room.write("in", &plain);
    for (out, how) in [("out.tar.xz", "xz"), ("out.tar.bz2", "bzip2")] {
        let out = room.path(out);
        ocitar(["retag", arg(&input), arg(&out), NEW]).ok();
        assert_eq!(
            ocitar(["ls", "--json", arg(&out)]).ok().json()["archives"][0]["compression"],
            how
        );
        let plain = ocitar(["retag", arg(&out), "-", NEW, "--compress", "none"]).ok();
        assert_same(how, &plain.out, &after(&fixture));
    }
}

#[test]
fn the_same_bytes_with_any_number_of_threads() {
    let (fixture, room) = (Fixture::new(), Room::new());
    // Large enough for several compression jobs.
    let noise: Vec<u8> =
        (0_u32..9 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let tar = fixture.archive(&Docs::new(&top('a', APP, "1.0"), "", "")).file("noise", noise);
    let input = room.write("in.tar", tar.bytes());
    for codec in ["none", "gzip:1", "zstd:1"] {
        let run = |jobs: &str| {
            ocitar(["retag", arg(&input), "-", NEW, "--compress", codec, "-j", jobs]).ok().out
        };
        let one = run("1");
        assert_eq!(run("8"), one, "{codec}");
        assert_eq!(run("2"), one, "{codec}");
        let file = room.path("out.tar");
        ocitar(["retag", "--force", arg(&input), arg(&file), NEW, "--compress", codec, "-j", "8"])
            .ok();
        assert_eq!(fs::read(&file).unwrap(), one, "{codec}, to a file");
    }
}

#[test]
fn a_dry_run_writes_nothing_and_says_all() {
    let (fixture, room) = (Fixture::new(), Room::new());
    let docs = Docs::new(
        &[top('a', APP, "1.0"), top('b', "quay.io/b:1", "1")].join(","),
        &[item('a', &["app:1.0"]), item('b', &["quay.io/b:1"])].join(","),
        "\"app\":{\"1.0\":\"@ta\"}",
    );
    let input = room.write("in.tar", fixture.archive(&docs).bytes());
    let out = room.path("out.tar");
    let rule = "app:1.0=registry.example.com/new:v9";
    let args = ["retag", "-n", arg(&input), arg(&out), rule];
    let run = ocitar([&args[..], &["--json"]].concat()).ok();
    let said = run.json();
    let after = Docs::new(
        &[top('a', NEW, "v9"), top('b', "quay.io/b:1", "1")].join(","),
        &[item('a', &[NEW]), item('b', &["quay.io/b:1"])].join(","),
        "\"registry.example.com/new\":{\"v9\":\"@ta\"}",
    );
    let containerd = "io.containerd.image.name";
    let ref_name = "org.opencontainers.image.ref.name";
    let ledger: Vec<_> = ['a', 'b']
        .into_iter()
        .flat_map(|which| {
            let image = fixture.image(which);
            [("manifest", image.manifest_digest()), ("config", image.config_digest())]
        })
        .map(|(kind, digest)| {
            json!({ "kind": kind, "before": digest, "after": digest, "platform": "linux/amd64" })
        })
        .collect();
    let want = json!({
        "bytes": fixture.archive(&after).bytes().len(),
        "counts": { "retagged": 1, "unchanged": 1, "dropped": 0 },
        "unmatched": ["quay.io/b:1"],
        "ledger": ledger,
        "changes": [
            {
                "digest": fixture.digest('a'), "old": APP, "new": NEW, "outcome": "rename",
                "rule": format!("{APP}={NEW}"), "sites": [containerd, ref_name, "RepoTags", "repositories"],
                "places": ["RepoTags", "repositories", "containerd name", "ref.name"],
            },
            {
                "digest": fixture.digest('b'), "old": "quay.io/b:1", "new": Value::Null, "outcome": "keep",
                "rule": Value::Null, "sites": [containerd, ref_name, "RepoTags"], "places": [],
            },
        ],
    });
    assert_eq!(said, want);
    let again = ocitar([&args[..], &["--json"]].concat()).ok();
    assert_eq!(again.out, run.out);
    let table = ocitar(args).ok().text();
    let row = table.lines().find(|line| line.starts_with(APP)).expect(&table);
    let words: Vec<_> = row.split_whitespace().collect();
    assert_eq!(words[..4], [APP, NEW, &*format!("{APP}={NEW}"), &*fixture.digest('a')]);
    assert!(row.ends_with("RepoTags, repositories, containerd name, ref.name"), "{row}");
    let unmatched = table.split_once("\nUNMATCHED").expect(&table).1;
    assert!(unmatched.contains("quay.io/b:1 (unchanged)"), "{table}");
    assert_eq!(room.list(), ["in.tar"]);
    // The run itself then says the same, and has the size that was foretold.
    let done = ocitar(["retag", "--json", arg(&input), arg(&out), rule]).ok().json();
    for same in ["changes", "counts", "unmatched", "ledger"] {
        assert_eq!(done[same], want[same]);
    }
    assert_eq!(done["written"]["bytes"], want["bytes"]);
    assert_eq!(written(&room).len() as u64, want["bytes"].as_u64().unwrap());
    // A compressed input is listed without unpacking it; the size is not known then.
    let gz = room.write("in.tar.gz", pack(&fixture.archive(&docs).bytes(), Packing::Gzip));
    let said = ocitar(["retag", "-n", "--json", arg(&gz), arg(&out), rule]).ok().json();
    assert_eq!(said["changes"], want["changes"]);
    assert_eq!(said["bytes"], Value::Null);
}

#[test]
fn the_summary_counts() {
    let room = Room::new();
    let made = oci::tag_only();
    let run = retag(&room, &made.tar.bytes(), &[NEW]).ok();
    assert!(run.err.contains("retagged 1, unchanged 0, dropped 0; wrote "), "{}", run.err);
    let run = retag(&room, &made.tar.bytes(), &[NEW, "-q"]).ok();
    assert_eq!(run.err, "");
    assert!(run.out.is_empty());
    let run = retag(&room, &made.tar.bytes(), &[NEW, "-v"]).ok();
    assert!(run.err.contains("OLD") && run.err.contains(NEW), "{}", run.err);
    // Nothing is left in the folder of the output but the output.
    assert_eq!(room.list(), ["in.tar", "out.tar"]);
}
