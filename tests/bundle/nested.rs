//! Indexes in indexes: made anew from below, each with the digest and size of what it leads to.

use super::seen::{Seen, digest};
use super::support::image::{Descriptor, Image, OCI_INDEX, blob, index};
use super::support::oci::layout;
use super::support::run::Room;
use super::{APP, OTHER, assert_refused, assert_verified, exported, run, words};

/// Four images; `inner` of the last two, `middle` of the second and `inner`, `outer` of all, and `inner` again.
struct Nested {
    images: Vec<Image>,
    inner: String,
    middle: String,
    outer: String,
}

fn child(text: &str) -> Descriptor {
    Descriptor::new(OCI_INDEX, text)
}

impl Nested {
    fn new() -> Nested {
        let platforms = ["linux/amd64", "linux/arm64", "linux/s390x", "linux/ppc64le"];
        let images: Vec<Image> = platforms
            .iter()
            .map(|platform| Image::new(platform, Image::app(&platform.replace('/', "-")).layers))
            .collect();
        let inner = index(&[images[2].child(), images[3].child()]);
        let middle = index(&[images[1].child(), child(&inner)]);
        let outer = index(&[images[0].child(), child(&middle), child(&inner), images[3].child()]);
        Nested { images, inner, middle, outer }
    }

    fn archive(&self) -> Vec<u8> {
        let texts = [&self.inner, &self.middle, &self.outer];
        let mut files: Vec<_> = self.images.iter().flat_map(Image::blobs).collect();
        files.extend(texts.iter().map(blob));
        layout(files, &[child(&self.outer).named(APP), child(&self.inner).named(OTHER)]).bytes()
    }

    /// The outer index, made here, without some of the images.
    fn without(&self, gone: &[usize]) -> (String, String) {
        let kept = |list: &[usize]| -> Vec<Descriptor> {
            let stays = list.iter().filter(|at| !gone.contains(at));
            stays.map(|at| self.images[*at].child()).collect()
        };
        let inner_children = kept(&[2, 3]);
        let inner = index(&inner_children);
        let inner_child = (!inner_children.is_empty()).then(|| child(&inner));
        let middle_children: Vec<_> = kept(&[1]).into_iter().chain(inner_child.clone()).collect();
        let middle = index(&middle_children);
        let middle_child = (!middle_children.is_empty()).then(|| child(&middle));
        let outer: Vec<_> = kept(&[0])
            .into_iter()
            .chain(middle_child)
            .chain(inner_child)
            .chain(kept(&[3]))
            .collect();
        (index(&outer), inner)
    }
}

const ALL: [&str; 4] = ["linux/amd64", "linux/arm64", "linux/s390x", "linux/ppc64le"];

#[test]
fn every_subset_of_platforms() {
    let (nested, room) = (Nested::new(), Room::new());
    let input = room.write("in.tar", nested.archive());
    for mask in 1_usize..16 {
        let (kept, gone): (Vec<usize>, Vec<usize>) = (0..4).partition(|at| mask & (1 << at) != 0);
        let platforms: Vec<String> =
            kept.iter().map(|at| format!("--platform={}", ALL[*at])).collect();
        // The second image is the inner index, which may have none of them.
        let mut args: Vec<&str> = vec![APP];
        args.extend(platforms.iter().map(String::as_str));
        let seen = exported(&room, "export", &input, &args);
        seen.assert_sound();
        let (outer, _) = nested.without(&gone);
        let root = seen.named(APP).unwrap();
        assert_eq!(String::from_utf8_lossy(seen.blob(&root).unwrap()), outer, "{mask:04b}");
        let want: Vec<&str> = kept.iter().map(|at| ALL[*at]).collect();
        let mut found = seen.platforms(APP);
        found.sort_by_key(|platform| ALL.iter().position(|known| known == platform));
        assert_eq!(found, want, "{mask:04b}");
        assert_verified(&room.path("out.tar"), true);
    }
}

/// An index that is the image of one name and part of another's is made anew for both.
#[test]
fn a_shared_index() {
    let (nested, room) = (Nested::new(), Room::new());
    let input = room.write("in.tar", nested.archive());
    let seen = exported(&room, "export", &input, &["--platform", "linux/s390x"]);
    seen.assert_sound();
    let (outer, inner) = nested.without(&[0, 1, 3]);
    for (name, text) in [(APP, outer), (OTHER, inner)] {
        let root = seen.named(name).unwrap();
        assert_eq!(String::from_utf8_lossy(seen.blob(&root).unwrap()), text);
    }
    let refused = run(&room, "export", &input, &["--platform", "linux/amd64"]);
    assert_refused(&refused, 1, "E_PLATFORM_MISSING");
}

/// Blobs that are gone from the file take their places in the indexes along.
#[test]
fn absent_children_at_every_depth() {
    let (nested, room) = (Nested::new(), Room::new());
    let full = Seen::of(nested.archive());
    for gone in 0..4 {
        let bytes = nested.archive();
        let lost = super::support::image::blob_path(&nested.images[gone].manifest_digest());
        let tar = full_without(&bytes, &lost);
        let input = room.write("in.tar", tar);
        let seen = exported(&room, "export", &input, &[APP]);
        seen.assert_sound();
        let root = seen.named(APP).unwrap();
        let (outer, _) = nested.without(&[gone]);
        assert_eq!(String::from_utf8_lossy(seen.blob(&root).unwrap()), outer);
        // Left alone, it is what it was.
        let seen = exported(&room, "export", &input, &[APP, "--index", "keep"]);
        assert_eq!(seen.named(APP), full.named(APP));
        assert!(!seen.dangling().is_empty());
    }
}

fn full_without(bytes: &[u8], lost: &str) -> Vec<u8> {
    let seen = Seen::of(bytes.to_vec());
    let mut tar = super::Tar::new();
    for (name, body) in seen.files.iter().filter(|(name, _)| *name != lost) {
        if !name.ends_with('/') {
            tar = tar.file(name, body);
        }
    }
    tar.bytes()
}

/// Layout, unknown fields and annotations of an index stay as they stood; a copy of a child inside it does not.
#[test]
fn what_else_stands_in_an_index() {
    let room = Room::new();
    let images = [Image::app("x"), Image::new("linux/arm64", Image::app("y").layers)];
    let inner = format!(
        "{{\n  \"schemaVersion\": 2,\n  \"x-own\": [1, 2.50, {{\"é\": null}}],\n  \"manifests\": [\n    {},\n    {}\n  ],\n  \"annotations\": {{\"a\": \"b\"}}\n}}\n",
        images[0].child(),
        images[1].child()
    );
    let data = base64(inner.as_bytes());
    let inner_child = child(&inner).to_string();
    let inner_child =
        format!("{},\"data\":\"{data}\",\"x\":1}}", &inner_child[..inner_child.len() - 1]);
    let outer = format!("{{\"manifests\":[{inner_child}],\"schemaVersion\":2}}");
    let mut files: Vec<_> = images.iter().flat_map(Image::blobs).collect();
    files.extend([blob(&inner), blob(&outer)]);
    let input = room.write("in.tar", layout(files, &[child(&outer).named(APP)]).bytes());
    let seen = exported(&room, "export", &input, &words("--platform linux/arm64"));
    seen.assert_sound();
    assert_verified(&room.path("out.tar"), true);
    let want = inner.replace(&format!("{},\n    ", images[0].child()), "");
    let root = seen.named(APP).unwrap();
    let new_outer = String::from_utf8_lossy(seen.blob(&root).unwrap()).into_owned();
    let doc = seen.doc(&root).unwrap();
    let top = doc["manifests"][0].clone();
    assert_eq!(String::from_utf8_lossy(seen.blob(digest(&top)).unwrap()), want);
    let old = child(&inner);
    let expected = outer
        .replace(&old.digest, digest(&top))
        .replace(&format!("\"size\":{}", old.size), &format!("\"size\":{}", want.len()))
        .replace(&format!("\"{data}\""), "null");
    assert_eq!(new_outer, expected);
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
