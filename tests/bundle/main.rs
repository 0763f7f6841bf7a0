//! `ocitar export`, `convert`, `merge` and `split`: what is in the archives they write, and why they write none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "cli")]

mod attached;
mod bad;
mod convert;
mod graphs;
mod ledger;
mod merge;
mod nested;
mod odd;
mod pick;
mod pinned;
mod platforms;
mod seen;
mod select;
mod split;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use seen::Seen;
use support::image::{Descriptor, Image, OCI_INDEX, blob, index};
use support::oci::layout;
use support::run::{Room, Run, arg, ocitar};
use support::tarball::Tar;

const APP: &str = "example.com/team/app:1.0";
const OTHER: &str = "example.com/team/other:2.0";

/// An archive that a real tool wrote.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(format!("{name}.tar"))
}

/// Runs `VERB IN OUT` with further arguments; OUT is new.
fn run(room: &Room, verb: &str, input: &Path, more: &[&str]) -> Run {
    let out = room.path("out.tar");
    let _ = std::fs::remove_file(&out);
    ocitar([&[verb, arg(input), arg(&out)], more].concat())
}

/// What [`run`] wrote, which has to be without fault.
#[track_caller]
fn exported(room: &Room, verb: &str, input: &Path, more: &[&str]) -> Seen {
    let run = run(room, verb, input, more);
    assert_eq!(run.code, 0, "{verb} {} {more:?}: {}", input.display(), run.err);
    let seen = Seen::at(&room.path("out.tar"));
    seen.assert_canonical(0);
    seen
}

/// Fails unless a run ended with this code and this id, behind whatever tables and warnings.
#[track_caller]
fn assert_refused(run: &Run, code: i32, id: &str) {
    let said = run
        .err
        .lines()
        .any(|line| line.starts_with("ocitar: ") && line.ends_with(&format!("[{id}]")));
    assert!(run.code == code && said, "{} instead of {code} {id}: {}", run.code, run.err);
}

/// `merge -o OUT IN…`.
fn merge(out: &Path, inputs: &[PathBuf], more: &[&str]) -> Run {
    let inputs = inputs.iter().map(|input| arg(input));
    let args: Vec<&str> = ["merge", "-o", arg(out)].into_iter().chain(inputs).collect();
    ocitar([&args[..], more].concat())
}

/// The bytes of a merge that has to succeed.
#[track_caller]
fn merged(room: &Room, inputs: &[PathBuf], more: &[&str]) -> Vec<u8> {
    let out = room.path("merged.tar");
    let _ = std::fs::remove_file(&out);
    merge(&out, inputs, more).ok();
    std::fs::read(&out).unwrap()
}

/// The parts `split IN DIR` wrote, in order.
#[track_caller]
fn parts(room: &Room, folder: &str, input: &Path, more: &[&str]) -> Vec<PathBuf> {
    let folder = room.path(folder);
    let _ = std::fs::remove_dir_all(&folder);
    ocitar([&["split", arg(input), arg(&folder)], more].concat()).ok();
    let list = std::fs::read_to_string(folder.join("parts.json")).unwrap();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let parts = list["parts"].as_array().unwrap().iter();
    parts.map(|part| folder.join(part["file"].as_str().unwrap())).collect()
}

/// Fails unless `verify` finds nothing, absent platforms included where they are promised.
#[track_caller]
fn assert_verified(path: &Path, all_platforms: bool) {
    let more: &[&str] = if all_platforms { &["--all-platforms"] } else { &[] };
    let run = ocitar([&["verify", arg(path)], more].concat());
    assert_eq!(run.code, 0, "{}{}", run.text(), run.err);
}

/// An index of images, and the archive that holds it under a name.
struct Multi {
    images: Vec<Image>,
    text: String,
}

impl Multi {
    fn new(word: &str, platforms: &[&'static str]) -> Multi {
        let image = |platform: &&'static str| {
            let own = Image::app(&format!("{word}-{}", platform.replace('/', "-")));
            let shared = Image::app(word).layers[0].clone();
            Image::new(platform, vec![shared, own.layers[0].clone()])
        };
        let images: Vec<Image> = platforms.iter().map(image).collect();
        let text = index(&images.iter().map(Image::child).collect::<Vec<_>>());
        Multi { images, text }
    }

    fn descriptor(&self) -> Descriptor {
        Descriptor::new(OCI_INDEX, &self.text)
    }

    fn blobs(&self) -> Vec<(String, Vec<u8>)> {
        let blobs = self.images.iter().flat_map(Image::blobs);
        blobs.chain([blob(&self.text)]).collect()
    }

    fn archive(&self, name: &str) -> Tar {
        layout(self.blobs(), &[self.descriptor().named(name)])
    }
}

/// `"a b"` as a list.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}
