//! The recipes of the README, run as they stand. Programs that need a daemon
//! are stood in for here; `tests/interop/recipes.rs` runs the real ones.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "cli")]

#[path = "../support/mod.rs"]
mod support;

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::bundle;
use support::image::Image;
use support::oci::layout;
use support::run::{Room, Run, arg, finish, ocitar};

/// A recipe with `ocitar` and the programs of `room/bin` on its path.
fn recipe(room: &Room, name: &str, args: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recipes").join(name);
    let ours = Path::new(env!("CARGO_BIN_EXE_ocitar")).parent().unwrap().to_owned();
    let rest = env::var_os("PATH").unwrap_or_default();
    let path = [room.path("bin"), ours].into_iter().chain(env::split_paths(&rest));
    let mut command = Command::new("bash");
    command.arg(script).args(args).env("PATH", env::join_paths(path).unwrap());
    command.env_remove("CTR").env_remove("NAMESPACE");
    command
}

fn run(room: &Room, name: &str, args: &[&str]) -> Run {
    finish(&mut recipe(room, name, args), &[])
}

/// Puts a program on the path of recipes.
fn program(room: &Room, name: &str, text: &str) {
    let path = room.write(&format!("bin/{name}"), format!("#!/bin/sh\nset -eu\n{text}\n"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn names(path: &Path) -> Vec<String> {
    ocitar(["ls", "-q", arg(path)]).ok().text().lines().map(ToOwned::to_owned).collect()
}

/// An archive with images of these names, as containerd writes it.
fn archive(names: &[&str]) -> Vec<u8> {
    let images: Vec<Image> =
        names.iter().map(|name| Image::app(&name.replace(['/', ':'], "-"))).collect();
    let tops: Vec<_> =
        images.iter().zip(names).map(|(image, name)| image.descriptor().named(name)).collect();
    layout(images.iter().flat_map(Image::blobs).collect(), &tops).bytes()
}

/// A room where docker has `app:1.0` and `example.com/team/app:1.0`, and `k3s
/// ctr` keeps what it is given as `imported-N`, unless it is unsound.
fn with_daemons() -> Room {
    let room = Room::new();
    let saved = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/docker26-two-images.tar");
    let one = room.path("one.tar");
    let rule = "docker.io/library/app:1.0=docker.io/library/app:1.0";
    ocitar(["retag", arg(&saved), arg(&one), rule, "--drop-unmatched"]).ok();
    program(
        &room,
        "docker",
        &format!(
            "[ \"$1\" = save ]\ncase $2 in\n  app:1.0|example.com/team/app:1.0) cat '{}' ;;\n  \
             *) echo \"no such image: $2\" >&2; exit 1 ;;\nesac",
            one.display()
        ),
    );
    program(&room, "sudo", "exec \"$@\"");
    let folder = room.path("").display().to_string();
    program(
        &room,
        "k3s",
        &format!(
            "[ \"$*\" = 'ctr -n k8s.io images import -' ]\nn=$(ls '{folder}' | grep -c imported- || true)\n\
             cat >'{folder}/new'\nocitar verify -q '{folder}/new'\nmv '{folder}/new' '{folder}/imported-'$n"
        ),
    );
    room
}

#[test]
fn the_import_loop() {
    let room = with_daemons();
    let listed = run(&room, "import.sh", &["--list"]).ok().text();
    assert_eq!(listed.lines().count(), 3);
    assert!(
        listed
            .lines()
            .all(|name| ocitar::reference::Reference::parse(name).unwrap().to_string() == name)
    );

    // The kubelet's names, whatever was saved under which.
    let done = run(&room, "import.sh", &["app:1.0", "example.com/team/app:1.0"]).ok();
    assert_eq!(done.text(), "imported 2, failed 0\n", "{}", done.err);
    assert_eq!(names(&room.path("imported-0")), ["docker.io/library/app:1.0"]);
    assert_eq!(names(&room.path("imported-1")), ["example.com/team/app:1.0"]);

    // The default list, of which docker here has one. The others fail on both
    // sides of the pipe, and the loop goes on.
    let done = run(&room, "import.sh", &[]);
    assert_eq!((done.code, &*done.text()), (1, "imported 1, failed 2\n"), "{}", done.err);
    assert_eq!(names(&room.path("imported-2")), ["example.com/team/app:1.0"]);
    assert!(!room.path("imported-3").exists());
    assert!(done.err.contains("docker.io/library/nginx:1.27: not imported"), "{}", done.err);
}

#[test]
fn the_mirror_migration() {
    let room = Room::new();
    let bundle = room.write("in/bundle.tar", bundle::archive());
    let small = room.write("in/small.tar", archive(&["docker.io/kubeguide/a:1", "quay.io/b:1"]));
    let other = room.write("in/other.tar", archive(&["quay.io/c:1"]));
    let broken = room.write("in/broken.tar", "not an archive");
    let out = room.path("out");
    let bundles = [&bundle, &small, &other, &broken].map(|path| arg(path));
    let args = [&[bundle::PREFIX, arg(&out)], &bundles[..]].concat();
    let done = run(&room, "migrate.sh", &args);
    assert_eq!(done.code, 1, "{}", done.err);
    let text = done.text();
    let last = text.lines().last().unwrap();
    assert_eq!(last, "processed 491, skipped 12, failed 1", "{}", done.err);
    // Before a bundle is written, its table.
    let row = "docker.io/kubeguide/a:1 registry.cn-hangzhou.aliyuncs.com/k8s-mirror/a:1 ";
    assert!(text.lines().any(|line| line.starts_with(row)), "{text}");
    let mirrored = "registry.cn-hangzhou.aliyuncs.com/k8s-mirror/a:1";
    assert_eq!(names(&out.join("small.tar")), [mirrored, "quay.io/b:1"]);
    let mut files: Vec<PathBuf> =
        fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let want = ["bundle.tar", "bundle.tar.json", "small.tar", "small.tar.json"];
    assert_eq!(files, want.map(|name| out.join(name)));

    // Again, there is nothing left to do but what failed.
    let done = run(&room, "migrate.sh", &args[..5]).ok();
    assert_eq!(done.text(), "processed 0, skipped 503, failed 0\n", "{}", done.err);
}

#[test]
fn the_pause_image() {
    let room = Room::new();
    let out = room.path("out.tar");
    let image = Image::plain("pause");
    let named = image.descriptor().named("registry.aliyuncs.com/google_containers/pause:3.1");
    for tar in [
        layout(image.blobs(), &[named]).bytes(),
        layout(image.blobs(), &[image.descriptor().named("k8s.gcr.io/pause:3.1")]).bytes(),
        layout(image.blobs(), &[image.descriptor()]).bytes(),
    ] {
        let input = room.write("in.tar", tar);
        let _ = fs::remove_file(&out);
        let done = run(&room, "pause.sh", &[arg(&input), arg(&out)]).ok();
        assert!(done.text().contains("registry.k8s.io/pause:3.1 "), "{}", done.text());
        assert_eq!(names(&out), ["registry.k8s.io/pause:3.1"]);
    }
    // Imported where the kubelet looks.
    program(&room, "ctr", "printf '%s\\n' \"$*\"");
    let input = arg(&room.path("in.tar")).to_owned();
    fs::remove_file(&out).unwrap();
    let mut import = recipe(&room, "pause.sh", &[&input, arg(&out), "3.10"]);
    let done = finish(import.env("CTR", "ctr"), &[]).ok();
    let last = format!("-n k8s.io images import {}", out.display());
    assert_eq!(done.text().lines().last(), Some(&*last));
    assert_eq!(names(&out), ["registry.k8s.io/pause:3.10"]);
}
