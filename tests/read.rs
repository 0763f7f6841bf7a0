//! What is read out of an archive, against what was put into it and against `check.py`, which reads on its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use ocitar::archive::Archive;
use serde_json::{Value, json};
use support::image::{Packing, pack};
use support::run::{Room, arg, check_py, ocitar, ocitar_reading, testdata};
use support::tarball::Tar;
use support::{Expected, docker, oci};

/// Programs that read an archive, and what they say is in it.
fn images(listed: &Value) -> Vec<Expected> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut images: Vec<Expected> = listed["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| {
            let names = image["names"].as_array().unwrap().iter();
            let mut names: Vec<String> = names.map(|name| text(name).unwrap()).collect();
            names.sort();
            let platforms = image["platforms"].as_array().unwrap().iter();
            let mut platforms: Vec<(String, bool)> = platforms
                .map(|platform| {
                    let name = text(&platform["platform"]).unwrap_or_else(|| "unknown".to_owned());
                    (name, platform["complete"].as_bool().unwrap())
                })
                .collect();
            platforms.sort();
            Expected { names, digest: text(&image["digest"]), platforms }
        })
        .collect();
    images.sort();
    images
}

/// What `images` leaves out: types and configurations.
fn details(listed: &Value) -> Vec<Value> {
    let mut all: Vec<Value> = listed["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| {
            let platforms = image["platforms"].as_array().unwrap().iter();
            let mut configs: Vec<&Value> = platforms.map(|platform| &platform["config"]).collect();
            configs.sort_by_key(|config| config.to_string());
            json!([image["digest"], image["type"], configs])
        })
        .collect();
    all.sort_by_key(Value::to_string);
    all
}

/// The one archive of `ls --json`.
fn ls(path: &Path) -> Value {
    let run = ocitar(["ls", "--json", arg(path)]).ok();
    run.json()["archives"][0].clone()
}

/// Lists files, and compares with what `check.py` says about them. Both read all in one run.
fn agree(files: &[(String, PathBuf)]) -> Vec<Value> {
    let paths = || files.iter().map(|(_, path)| arg(path));
    let mine = ocitar(["ls", "--json"].into_iter().chain(paths())).ok().json();
    let mine = mine["archives"].as_array().unwrap().clone();
    assert_eq!(mine.len(), files.len());
    let Some(run) = check_py(paths()) else {
        println!("not compared with check.py: there is no Python");
        return mine;
    };
    let text = run.text();
    let others: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(others.len(), files.len(), "{}", run.err);
    for (((what, _), mine), other) in files.iter().zip(&mine).zip(&others) {
        if other.get("skipped").is_some() {
            println!("{what}: not compared with check.py: {other}");
            continue;
        }
        assert!(other.get("error").is_none(), "{what}: {other}");
        assert_eq!(mine["format"], other["format"], "{what}: format");
        assert_eq!(images(mine), images(other), "{what}: ocitar left, check.py right");
        assert_eq!(details(mine), details(other), "{what}: ocitar left, check.py right");
    }
    mine
}

const NEW: &str = "registry.example.com/mirror/new:v9";

/// Renames everything in every file, and compares before and after.
fn retag_keeps_everything_else(files: &[(String, PathBuf)], room: &Room) {
    let before = agree(files);
    let mut retagged = Vec::new();
    let mut wanted = Vec::new();
    for ((what, path), listed) in files.iter().zip(&before) {
        let mut expected = images(listed);
        let rules = match expected.len() {
            0 => continue,
            1 => {
                expected[0].names = vec![NEW.to_owned()];
                vec![NEW]
            }
            _ => {
                for name in expected.iter_mut().flat_map(|image| &mut image.names) {
                    *name = format!("registry.example.com/{}", name.split_once('/').unwrap().1);
                }
                vec!["--regex", "[^/]+/(.*)", "registry.example.com/$1"]
            }
        };
        expected.sort();
        let out = room.path(&format!("{what}.after.tar"));
        let run = ocitar([&["retag", arg(path), arg(&out)], &rules[..]].concat());
        assert_eq!(run.code, 0, "{what}: {}", run.err);
        if let Some(run) = check_py(["--compare", arg(path), arg(&out)]) {
            assert!(run.code == 0 || run.text().contains("skipped"), "{what}: {}", run.text());
        }
        let codes = [path, &out].map(|path| ocitar(["verify", arg(path)]).code);
        assert_eq!(codes[0], codes[1], "{what}: verify before and after");
        retagged.push((what.clone(), out));
        wanted.push((expected, details(listed)));
    }
    for (((what, _), listed), (expected, details_before)) in
        retagged.iter().zip(agree(&retagged)).zip(wanted)
    {
        assert_eq!(images(&listed), expected, "{what}, retagged");
        assert_eq!(details(&listed), details_before, "{what}, retagged");
    }
}

#[test]
fn synthetic_archives_hold_what_was_put_in() {
    let room = Room::new();
    let mut files = Vec::new();
    let all = support::all();
    for made in &all {
        files.push((
            made.name.to_owned(),
            room.write(&format!("{}.tar", made.name), made.tar.bytes()),
        ));
    }
    for (mut made, listed) in all.into_iter().zip(agree(&files)) {
        let path = room.path(&format!("{}.tar", made.name));
        assert_eq!(listed["format"], made.format, "{}", made.name);
        made.images.sort();
        assert_eq!(images(&listed), made.images, "{}", made.name);
        let verified = ocitar(["verify", arg(&path)]);
        assert_eq!(verified.code, made.verify, "{}: {}", made.name, verified.err);
    }
}

#[test]
fn synthetic_archives_keep_all_but_their_names() {
    let room = Room::new();
    let write = |made: support::Made| {
        (made.name.to_owned(), room.write(&format!("{}.tar", made.name), made.tar.bytes()))
    };
    let all = support::all().into_iter().filter(|made| made.name != "docker-v1-untagged");
    retag_keeps_everything_else(&all.map(write).collect::<Vec<_>>(), &room);
}

/// There is no file in it that could hold a name.
#[test]
fn an_untagged_archive_of_old_docker_has_no_place_for_a_name() {
    let room = Room::new();
    let path = room.write("v1.tar", docker::v1_untagged().tar.bytes());
    let out = room.path("out.tar");
    let run = ocitar(["retag", arg(&path), arg(&out), "example.com/a:1"]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("[E_NO_MATCH]"), "{}", run.err);
    assert!(!out.exists());
}

#[test]
fn archives_of_real_tools_keep_all_but_their_names() {
    let room = Room::new();
    let name = |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), path);
    let files: Vec<_> = testdata().into_iter().map(name).collect();
    retag_keeps_everything_else(&files, &room);
    for (name, path) in files {
        assert_eq!(ocitar(["verify", arg(&path)]).code, 0, "{name}");
    }
}

/// Formats by the name of the file in `testdata`.
#[test]
fn formats_of_real_tools() {
    let rows = [
        ("docker20", "docker"),
        ("docker26", "hybrid"),
        ("buildx-oci", "oci"),
        ("buildx-docker", "hybrid"),
        ("ctr17-oci-only", "oci"),
        ("ctr", "hybrid"),
        ("podman5-oci", "oci"),
        ("podman5", "docker"),
        ("skopeo-oci", "oci"),
        ("skopeo-docker", "docker"),
        ("umoci", "oci"),
        ("oras", "oci"),
    ];
    for path in testdata() {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (_, format) = rows.iter().find(|(start, _)| name.starts_with(start)).expect(&name);
        assert_eq!(ls(&path)["format"], *format, "{name}");
    }
}

/// Writes the members of a tar as files below a folder.
fn unpack(tar: &[u8], folder: &Path) {
    tar::Archive::new(tar).unpack(folder).unwrap();
}

fn plain(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tar")
}

#[test]
fn a_layout_directory_reads_as_its_tar() {
    let room = Room::new();
    let mut archives: Vec<(String, Vec<u8>)> = support::all()
        .into_iter()
        .filter(|made| made.format == "oci" || made.format == "hybrid")
        .map(|made| (made.name.to_owned(), made.tar.bytes()))
        .collect();
    for path in testdata().iter().filter(|path| plain(path)) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        archives.push((name, fs::read(path).unwrap()));
    }
    let mut compared = 0;
    for (name, bytes) in archives {
        let tar = room.write(&format!("{name}.tar"), &bytes);
        let folder = room.path(&name);
        unpack(&bytes, &folder);
        if !folder.join("index.json").exists() {
            continue;
        }
        compared += 1;
        let (mut a, mut b) = (ls(&tar), ls(&folder));
        // A file of a folder has no number and no offset.
        for finding in a["findings"].as_array_mut().unwrap() {
            let finding = finding.as_object_mut().unwrap();
            finding.remove("index");
            finding.remove("offset");
        }
        assert_eq!(a["path"].take(), arg(&tar));
        assert_eq!(b["path"].take(), arg(&folder));
        assert_eq!(a, b, "{name}");
        let (a, b) = (Archive::open(&tar).unwrap(), Archive::open(&folder).unwrap());
        let labels = |archive: &Archive| -> Vec<String> {
            archive.images().iter().map(|i| i.label()).collect()
        };
        assert_eq!(labels(&a), labels(&b), "{name}");
        let blobs = |archive: &Archive| -> Vec<(Box<str>, Vec<u8>)> {
            let entries = archive.images().iter().flat_map(|image| archive.files_of(image));
            entries
                .map(|entry| {
                    let mut bytes = Vec::new();
                    entry
                        .span
                        .visit_chunks(&mut |chunk| {
                            bytes.extend_from_slice(chunk);
                            Ok(())
                        })
                        .unwrap();
                    (entry.name, bytes)
                })
                .collect()
        };
        assert_eq!(blobs(&a), blobs(&b), "{name}");
        let verified = [&tar, &folder].map(|path| ocitar(["verify", arg(path)]).code);
        assert_eq!(verified[0], verified[1], "{name}");
    }
    assert!(compared > 30, "{compared}");
}

#[test]
fn standard_input_and_compressed_files_read_as_the_plain_file() {
    let room = Room::new();
    let mut archives: Vec<(String, Vec<u8>)> =
        support::all().into_iter().map(|made| (made.name.to_owned(), made.tar.bytes())).collect();
    for path in testdata().iter().filter(|path| plain(path)) {
        archives.push((
            path.file_stem().unwrap().to_str().unwrap().to_owned(),
            fs::read(path).unwrap(),
        ));
    }
    for (name, bytes) in archives {
        let path = room.write(&format!("{name}.tar"), &bytes);
        let want = ls(&path)["images"].clone();
        for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
            let packed = pack(&bytes, packing);
            let run = ocitar_reading(&packed, ["ls", "--json", "-"]).ok();
            assert_eq!(
                run.json()["archives"][0]["images"],
                want,
                "{name} from a pipe, {packing:?}"
            );
            // The extension says nothing.
            let path = room.write(&format!("{name}.bin"), &packed);
            assert_eq!(ls(&path)["images"], want, "{name} from a file, {packing:?}");
        }
        for how in ["--mmap", "--no-mmap"] {
            let run = ocitar(["ls", "--json", how, arg(&path)]).ok();
            assert_eq!(run.json()["archives"][0]["images"], want, "{name} {how}");
        }
    }
}

#[test]
fn compressed_archives_of_testdata_read_alike() {
    for path in testdata().iter().filter(|path| !plain(path)) {
        let file = path.file_name().unwrap().to_str().unwrap();
        let stem = file.split('.').next().unwrap();
        let plain = path.with_file_name(format!("{stem}.tar"));
        assert_eq!(ls(path)["images"], ls(&plain)["images"], "{file}");
        let codes = ["verify", "inspect"].map(|verb| ocitar([verb, arg(path)]).code);
        assert_eq!(codes, [0, 0], "{file}");
    }
}

/// A tar of a folder has `./` before its names and sometimes a member for the folder itself.
#[test]
fn names_with_a_dot_and_a_slash_are_the_same_names() {
    let room = Room::new();
    for made in support::all() {
        let plain = room.write("plain.tar", made.tar.bytes());
        let dotted = made.tar.each(|member| member.name.insert_str(0, "./"));
        if dotted.members.iter().any(|member| member.kind == b'1') {
            continue;
        }
        let mut members = Tar::new().folder(".").members;
        members.extend(dotted.members);
        let dotted = room.write("dotted.tar", Tar { members, ..Tar::new() }.bytes());
        assert_eq!(ls(&dotted)["images"], ls(&plain)["images"], "{}", made.name);
    }
}

#[test]
fn referrers_are_listed_by_inspect_and_not_by_ls() {
    let room = Room::new();
    let path = room.write("a.tar", oci::referrers().tar.bytes());
    let listed = ocitar(["inspect", "--json", arg(&path)]).ok().json();
    assert_eq!(listed["images"].as_array().unwrap().len(), 1);
    assert_eq!(listed["referrers"].as_array().unwrap().len(), 2);
}
