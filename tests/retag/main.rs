//! `ocitar retag`: every byte of what it writes, and every reason for which it writes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "cli")]

mod answers;
mod bundle;
mod bytes;
mod drop;
mod errors;
mod output;
mod rules_files;
mod sites;
#[path = "../support/mod.rs"]
mod support;

use support::image::{Descriptor, Image, OCI_INDEX, blob, blob_path, hex, index, strings};
use support::image::{IMAGE_NAME, REF_NAME};
use support::oci::{LAYOUT, blobs};
use support::run::{Room, Run, arg, ocitar};
use support::tarball::Tar;

const APP: &str = "docker.io/library/app:1.0";
const TEAM: &str = "example.com/team/app:1.0";
const NEW: &str = "registry.example.com/new:v9";

/// Images `a` and `b`, and `i`, an index of `a` and an image for arm64.
struct Fixture {
    a: Image,
    b: Image,
    arm: Image,
    i: String,
}

impl Fixture {
    fn new() -> Fixture {
        let (a, b) = (Image::plain("a"), Image::plain("b"));
        let arm = Image::new("linux/arm64", Image::plain("arm").layers);
        let i = index(&[a.child(), arm.child()]);
        Fixture { a, b, arm, i }
    }

    fn image(&self, which: char) -> &Image {
        match which {
            'a' => &self.a,
            'b' => &self.b,
            other => panic!("no image {other}"),
        }
    }

    fn descriptor(&self, which: char) -> Descriptor {
        match which {
            'i' => Descriptor::new(OCI_INDEX, &self.i),
            which => self.image(which).descriptor(),
        }
    }

    fn digest(&self, which: char) -> String {
        self.descriptor(which).digest
    }

    /// Hex of the top layer's diff ID, which docker writes into `repositories`.
    fn top(&self, which: char) -> String {
        hex(&self.image(which).layers.last().unwrap().diff_id()).to_owned()
    }

    /// Paths of the blobs only this image has.
    fn paths(&self, which: char) -> Vec<String> {
        self.image(which).blobs().into_iter().map(|(path, _)| path).collect()
    }

    /// Replaces `@a` by the start of a descriptor's text, `@ca` and `@la` by the fields `Config` and `Layers` of an
    /// item, `@ta` by the hex of the top layer, `@da` by a digest, `@N` and `@R` by annotation keys.
    fn expand(&self, text: &str) -> String {
        let mut text = text.replace("@N", IMAGE_NAME).replace("@R", REF_NAME);
        for which in ['a', 'b'] {
            let image = self.image(which);
            let layers: Vec<String> =
                image.layers.iter().map(|layer| blob_path(&layer.digest())).collect();
            let config = blob(&image.config).0;
            text = text
                .replace(&format!("@c{which}"), &format!("\"Config\":\"{config}\""))
                .replace(&format!("@l{which}"), &format!("\"Layers\":{}", strings(&layers)))
                .replace(&format!("@t{which}"), &self.top(which));
        }
        for which in ['a', 'b', 'i'] {
            let descriptor = self.descriptor(which).to_string();
            text = text
                .replace(&format!("@d{which}"), &self.digest(which))
                .replace(&format!("@{which}"), &descriptor[1..descriptor.len() - 1]);
        }
        text
    }

    /// An archive with all blobs and these documents.
    fn archive(&self, docs: &Docs) -> Tar {
        let images = [&self.a, &self.b, &self.arm];
        let mut files: Vec<_> = images.into_iter().flat_map(Image::blobs).collect();
        files.push(blob(&self.i));
        let mut tar = blobs(files);
        for (name, text) in
            ["index.json", "manifest.json", "oci-layout", "repositories"].iter().zip(docs.texts())
        {
            if let Some(text) = text {
                tar = tar.file(name, self.expand(&text));
            }
        }
        tar
    }
}

/// The documents of an archive, with the placeholders of [`Fixture::expand`].
#[derive(Clone, Default)]
struct Docs {
    index: Option<String>,
    manifest: Option<String>,
    repositories: Option<String>,
}

impl Docs {
    /// Both views, and `repositories` where it is not empty. Each is what is between the outermost brackets.
    fn new(tops: &str, items: &str, repositories: &str) -> Docs {
        let part = |text: &str, whole: String| (!text.is_empty()).then_some(whole);
        Docs {
            index: part(tops, format!("{{\"schemaVersion\":2,\"manifests\":[{tops}]}}")),
            manifest: part(items, format!("[{items}]\n")),
            repositories: part(repositories, format!("{{{repositories}}}\n")),
        }
    }

    fn texts(&self) -> [Option<String>; 4] {
        let layout = self.index.is_some().then(|| LAYOUT.to_owned());
        [self.index.clone(), self.manifest.clone(), layout, self.repositories.clone()]
    }
}

/// A descriptor with containerd's annotations; without one where it is empty.
fn top(which: char, name: &str, ref_name: &str) -> String {
    let pairs = [("@N", name), ("@R", ref_name)];
    let fields: Vec<String> = pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("\"{key}\":\"{value}\""))
        .collect();
    match fields.is_empty() {
        true => format!("{{@{which}}}"),
        false => format!("{{@{which},\"annotations\":{{{}}}}}", fields.join(",")),
    }
}

/// An item of `manifest.json`.
fn item(which: char, tags: &[&str]) -> String {
    format!("{{@c{which},\"RepoTags\":{},@l{which}}}", strings(tags))
}

/// Writes an archive and runs `retag IN OUT` with these rules.
fn retag(room: &Room, tar: &[u8], rules: &[&str]) -> Run {
    let path = room.write("in.tar", tar);
    let out = room.path("out.tar");
    let _ = std::fs::remove_file(&out);
    ocitar([&["retag", arg(&path), arg(&out)], rules].concat())
}

/// What [`retag`] wrote.
fn written(room: &Room) -> Vec<u8> {
    std::fs::read(room.path("out.tar")).unwrap()
}

/// Where two archives differ first, for people.
#[track_caller]
fn assert_same(what: &str, got: &[u8], want: &[u8]) {
    if got == want {
        return;
    }
    let (names, wanted) = (support::tarball::names(got), support::tarball::names(want));
    assert_eq!(names, wanted, "{what}: members");
    for name in wanted {
        let [a, b] = [got, want].map(|bytes| support::tarball::read(bytes, &name).unwrap());
        assert_eq!(String::from_utf8_lossy(&a), String::from_utf8_lossy(&b), "{what}: {name}");
    }
    let at = got.iter().zip(want).position(|(a, b)| a != b);
    let around = |bytes: &[u8]| {
        let from = at.unwrap_or(0) / 512 * 512;
        bytes.get(from..from + 512).unwrap_or_default().escape_ascii().to_string()
    };
    let [got_block, want_block] =
        [around(got), around(want)].map(|text| text.replace("\\x00", "."));
    panic!("{what}: headers or padding differ at {at:?}:\n{got_block}\n{want_block}");
}
