//! What tools write that is odd and has one reading: it must stay accepted.

use super::Want::{Accepted, Fails, Refused};
use super::{NAME, Row, around, layout};
use crate::bytes::{Bytes, GNU, H, MODE, MTIME, UID};
use crate::support::image::{Image, hex, index, item, strings};
use ocitar::error::Code;

pub fn rows() -> Vec<Row> {
    let mut rows = habits();
    rows.extend(absolute());
    rows
}

/// A layout whose every header has been through this.
fn each(change: impl Fn(H) -> H) -> Vec<u8> {
    let image = Image::app("hostile");
    let mut bytes = Bytes::new();
    let top = index(&[image.child().named(NAME)]);
    let mut files = image.blobs();
    files.push(("index.json".into(), top.into_bytes()));
    files.push(("oci-layout".into(), b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()));
    for (path, body) in files {
        bytes = bytes.h(&change(H::new(&path, body.len() as u64, b'0'))).body(body);
    }
    bytes.end().0
}

fn habits() -> Vec<Row> {
    let row = |what, bytes| Row::new("-", what, bytes, Accepted);
    let (blobs, documents) = layout();
    let pax_everywhere = {
        let image = Image::app("hostile");
        let mut bytes = Bytes::new();
        for (path, body) in image.blobs() {
            let times = [
                ("mtime", "1700000000.123456789"),
                ("atime", "1700000000.5"),
                ("ctime", "1700000001"),
            ];
            bytes = bytes.x(&times).file(&path, body);
        }
        bytes.raw(&documents.0).end().0
    };
    let dotted = {
        let image = Image::app("hostile");
        let mut bytes = Bytes::new().h(&H::new("./", 0, b'5')).h(&H::new("./blobs/", 0, b'5'));
        for (path, body) in image.blobs() {
            bytes = bytes.file(&format!("./{path}"), body);
        }
        let top = index(&[image.child().named(NAME)]);
        bytes.file("./index.json", top).file("./oci-layout", crate::support::oci::LAYOUT).end().0
    };
    let attribute = [
        ("SCHILY.xattr.com.apple.provenance", "\x01\x02\0x"),
        ("LIBARCHIVE.xattr.com.apple.provenance", "AQI"),
    ];
    vec![
        row("`./` before every name, as `tar c .`", dotted),
        row(
            "a macOS resource fork beside a file",
            around(Bytes::new().file("._index.json", "\0\x05\x16\x07").file("./._blobs", "\0")),
        ),
        row(
            "a macOS resource fork of a blob",
            around(Bytes::new().file("blobs/sha256/._00", "\0\x05\x16\x07")),
        ),
        row(
            "macOS attributes in pax",
            around(Bytes::new().x(&attribute).file("attributed", "data")),
        ),
        row(
            "a global comment first, as `git archive`",
            Bytes::new()
                .g(&[("comment", "0123456789abcdef0123456789abcdef01234567")])
                .raw(&blobs.0)
                .raw(&documents.0)
                .end()
                .0,
        ),
        row(
            "the builder's names and file type bits in modes, as jib",
            each(|h| h.put(MODE, "0100644\0").put(265..270, "jib").put(297..302, "users")),
        ),
        row(
            "owner and group names that are no UTF-8",
            each(|h| h.put(265..267, [0xff, 0xfe]).put(297..299, [0xff, 0xfe])),
        ),
        row("GNU's magic, as tar-stream and GNU tar", each(|h| h.magic(GNU))),
        row("blank owners", each(|h| h.put(UID, [0; 8]).put(116..124, [0; 8]))),
        row("no device numbers, as Go", each(|h| h.put(329..345, [0; 16]))),
        row(
            "device numbers of zero, as GNU tar",
            each(|h| h.put(329..345, b"0000000\x000000000\0")),
        ),
        row(
            "numbers that end in blanks, as old Python and busybox",
            each(|h| h.put(MODE, "000644 \0").put(MTIME, "14000000000 ")),
        ),
        row(
            "owners past two million in base-256, as Go",
            each(|h| h.put(UID, [0x80, 0, 0, 0, 0x77, 0x35, 0x94, 0])),
        ),
        row("pax times before every member, as GNU tar --format=pax", pax_everywhere),
        row(
            "folders with and without a slash",
            around(
                Bytes::new().h(&H::new("d/", 0, b'5')).h(&H::new("e", 0, b'5')).file("d/f", "x"),
            ),
        ),
        row("records of 10 KiB", {
            let mut bytes = blobs.clone().raw(&documents.0).end().0;
            bytes.resize(bytes.len().next_multiple_of(10240), 0);
            bytes
        }),
        row(
            "blobs that are linked from elsewhere, as snapd",
            around(Bytes::new().h(&H::new("latest", 0, b'2').link("index.json"))),
        ),
        row(
            "names of 100 bytes without a NUL",
            around(Bytes::new().file(&"n".repeat(100), "data")),
        ),
        row(
            "names beyond ASCII",
            around(
                Bytes::new()
                    .x(&[("path", "grün/файл")])
                    .file("gr_n", "data")
                    .file("grün.txt", "data"),
            ),
        ),
    ]
}

/// Buildpacks write absolute names, and spell them so in manifest.json.
fn absolute() -> Vec<Row> {
    let image = Image::plain("hostile-absolute");
    let config = format!("{}.json", hex(&image.config_digest()));
    let archive = |member: &str, spelled: &str, documents: &str| {
        let paths = ["1.tar", "2.tar"];
        let mut bytes = Bytes::new().file(&format!("{member}{config}"), &image.config);
        for (path, layer) in paths.iter().zip(&image.layers) {
            bytes = bytes.file(&format!("{member}{path}"), &layer.blob);
        }
        let layers = paths.map(|path| format!("{spelled}{path}"));
        let item = item(&format!("{spelled}{config}"), &strings(&[NAME]), &layers, "");
        bytes.file(&format!("{documents}manifest.json"), format!("[{item}]")).end().0
    };
    let row = |what, bytes, want| Row::new("T25", what, bytes, want);
    vec![
        row("absolute names that manifest.json spells so", archive("/", "/", ""), Accepted),
        row(
            "absolute names that manifest.json spells without the slash",
            archive("/", "", ""),
            Fails(Code::BlobMissing),
        ),
        row(
            "names that manifest.json spells with a slash",
            archive("", "/", ""),
            Fails(Code::BlobMissing),
        ),
        row("names that manifest.json spells with a point", archive("", "./", ""), Accepted),
        row("names with a point", archive("./", "", "./"), Accepted),
        row("an absolute manifest.json", archive("/", "/", "/"), Refused(Code::TarName)),
    ]
}
