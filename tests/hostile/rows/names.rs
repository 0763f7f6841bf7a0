//! Names and links: what leads out of the archive, stands twice, or is another file to whoever unpacks.

use ocitar::error::Code;

use super::Want::{Accepted, Fails, Refused};
use super::{NAME, Row, around, layout};
use crate::bytes::{BLOCK, Bytes, H};
use crate::support::image::{Image, hex, item, strings};

pub fn rows() -> Vec<Row> {
    let mut rows = names();
    rows.extend(twice());
    rows.extend(below_links());
    rows.extend(links());
    rows.extend(many());
    rows
}

/// Names that would be much work if they were compared with each other.
fn many() -> Vec<Row> {
    let list = |names: &mut dyn Iterator<Item = String>| {
        let bytes = names.fold(Bytes::new(), |bytes, name| bytes.h(&H::new(name, 0, b'0')));
        around(bytes)
    };
    let row = |what, bytes| Row::new("T62", what, bytes, Accepted);
    vec![
        row("ten thousand members of one name", list(&mut (0..10_000).map(|_| "same".to_owned()))),
        row(
            "ten thousand names that start alike",
            list(&mut (0..10_000).map(|n| format!("{}{n:05}", "n".repeat(90)))),
        ),
        row(
            "names that are each the start of the next",
            list(&mut (1..100).map(|n| "n".repeat(n))),
        ),
        row(
            "a name of two thousand parts",
            around(Bytes::new().x(&[("path", &"n/".repeat(2000))]).h(&H::new("n/", 0, b'5'))),
        ),
    ]
}

fn names() -> Vec<Row> {
    let name = Refused(Code::TarName);
    let bad: [(&str, &str, &str); 20] = [
        ("T25", "a name that leads out", "../evil"),
        ("T25", "a name that leads out later", "a/../../evil"),
        ("T25", "a name that comes back", "a/../evil"),
        ("T25", "two points", ".."),
        ("T25", "two points and a slash", "../"),
        ("T25", "an absolute name that leads out", "/../evil"),
        ("T25", "a point in the middle", "a/./evil"),
        ("T25", "two leading points", "././evil"),
        ("T25", "a point at the end", "a/."),
        ("T25", "an empty part", "a//evil"),
        ("T25", "an empty part at the start", "//evil"),
        ("T25", "an absolute name behind a point", ".//evil"),
        ("T25", "the root of the machine", "/"),
        ("T25", "a backslash", "..\\evil"),
        ("T25", "a drive and a backslash", "C:\\evil"),
        ("T37", "a terminal escape", "evil\x1b[1A\x1b[2Ksafe"),
        ("T37", "a line end", "evil\r\nsafe"),
        ("T37", "a delete", "evil\x7f"),
        ("T37", "a C1 control character", "evil\u{9b}2K"),
        ("T29", "the root of the archive as a file", "./"),
    ];
    let file = |name: &str| Bytes::new().h(&H::new(name, 4, b'0')).body("data");
    let mut rows: Vec<Row> =
        bad.iter().map(|(t, what, text)| Row::new(t, what, around(file(text)), name)).collect();
    let more = [
        ("T25", "a name that is not UTF-8", file("").0, name),
        (
            "T25",
            "an absolute name in pax",
            Bytes::new().x(&[("path", "/abs")]).h(&H::new("f", 4, b'0')).body("data").0,
            Accepted,
        ),
        (
            "T25",
            "a name out in pax",
            Bytes::new().x(&[("path", "../evil")]).h(&H::new("f", 4, b'0')).body("data").0,
            name,
        ),
        (
            "T25",
            "a long name out",
            Bytes::new().l("../evil").h(&H::new("f", 4, b'0')).body("data").0,
            name,
        ),
        ("T25", "a drive", file("C:evil").0, Accepted),
        ("T35", "names that differ in case", [file("A").0, file("a").0].concat(), Accepted),
        (
            "T35",
            "names that some file systems take for one",
            [file("ß").0, file("ss").0].concat(),
            Accepted,
        ),
        ("T37", "a name that changes direction", file("evil\u{202e}safe").0, Accepted),
        (
            "T25",
            "bytes behind the NUL of a name",
            Bytes::new().h(&H::new(b"safe\0../evil", 4, b'0')).body("data").0,
            Accepted,
        ),
        (
            "T29",
            "the root of the archive as a link",
            Bytes::new().h(&H::new(".", 0, b'2').link("oci-layout")).0,
            name,
        ),
        ("T29", "the root of the archive", Bytes::new().h(&H::new("./", 0, b'5')).0, Accepted),
    ];
    rows.extend(more.map(|(t, what, trick, want)| Row::new(t, what, around(Bytes(trick)), want)));
    let bytes = Bytes::new().h(&H::new(b"\xff\xfe", 4, b'0')).body("data");
    rows.push(Row::new("T25", "a name of no encoding", around(bytes), name));
    // A second one is a second one before it is anything else.
    for (control, want) in [
        ("index.json", Refused(Code::TarDup)),
        ("oci-layout", Refused(Code::TarDup)),
        ("manifest.json", name),
        ("repositories", name),
    ] {
        let trick = file(&format!("/{control}"));
        rows.push(Row::new("T25", "an absolute control file", around(trick), want));
    }
    rows
}

/// One name, two members.
fn twice() -> Vec<Row> {
    let dup = Refused(Code::TarDup);
    let (blobs, documents) = layout();
    let twice = |trick: Bytes| blobs.clone().raw(&documents.0).raw(trick.0).end().0;
    let file = |name: &str, body: &str| Bytes::new().file(name, body);
    let other = "{\"schemaVersion\":2,\"manifests\":[]}";
    let at = |path: &str| Bytes::new().x(&[("path", path)]).h(&H::new("x", 34, b'0')).body(other);
    let (blob, body) = Image::app("hostile").blobs().swap_remove(0);
    let row = Row::new;
    vec![
        row(
            "T27",
            "a folder on top of a link",
            around(Bytes::new().h(&H::new("d", 0, b'2').link("blobs")).h(&H::new("d/", 0, b'5'))),
            dup,
        ),
        row(
            "T39",
            "the same oci-layout twice",
            twice(file("oci-layout", crate::support::oci::LAYOUT)),
            dup,
        ),
        row("T39", "a second index.json", twice(file("index.json", other)), dup),
        row("T39", "a second index.json behind a point", twice(file("./index.json", other)), dup),
        row("T39", "a second index.json named in pax", twice(at("index.json")), dup),
        row(
            "T39",
            "a second index.json by an absolute name",
            twice(file("/index.json", other)),
            Refused(Code::TarDup),
        ),
        row(
            "T39",
            "a second index.json that is a folder",
            twice(Bytes::new().h(&H::new("index.json/", 0, b'5'))),
            dup,
        ),
        row(
            "T39",
            "a second index.json that is a link",
            twice(Bytes::new().h(&H::new("index.json", 0, b'2').link("oci-layout"))),
            dup,
        ),
        row(
            "T39",
            "a second index.json that is a device",
            twice(Bytes::new().h(&H::new("index.json", 0, b'6'))),
            dup,
        ),
        row("T39", "a blob twice, other bytes", twice(file(&blob, "other")), dup),
        row(
            "T39",
            "a blob twice, the same bytes",
            twice(Bytes::new().file(&blob, &body)),
            Accepted,
        ),
        row(
            "T39",
            "a file twice under an absolute name too",
            around(Bytes::new().file("a", "1").file("/a", "2")),
            dup,
        ),
        row(
            "T39",
            "the same, with equal bytes",
            around(Bytes::new().file("a", "1").file("/a", "1")),
            Accepted,
        ),
        row(
            "T39",
            "a folder twice",
            twice(Bytes::new().h(&H::new("d/", 0, b'5')).h(&H::new("d", 0, b'5'))),
            Accepted,
        ),
        row(
            "T39",
            "a file and a folder",
            around(Bytes::new().file("d", "1").h(&H::new("d/", 0, b'5'))),
            dup,
        ),
    ]
}

/// Members below one that is no directory: docker unpacks an archive before it reads it.
fn below_links() -> Vec<Row> {
    let name = Refused(Code::TarName);
    let link = |name: &str, to: &str| Bytes::new().h(&H::new(name, 0, b'2').link(to));
    let row = |what, trick, want| Row::new("T26", what, around(trick), want);
    let folder = |name: &str| Bytes::new().h(&H::new(name, 0, b'5'));
    vec![
        row(
            "a file written through a link, and one at its target",
            link("d", "e").file("d/c.json", "1").raw(folder("e/").file("e/c.json", "2").0),
            name,
        ),
        row(
            "a file below a link that comes later",
            Bytes::new().file("d/c.json", "1").raw(link("d", "blobs").0),
            name,
        ),
        row("a file below a file", Bytes::new().file("d", "1").file("d/c.json", "1"), name),
        row(
            "a file below a hard link",
            Bytes::new().file("f", "1").h(&H::new("d", 0, b'1').link("f")).file("d/c.json", "1"),
            name,
        ),
        row(
            "a file far below a link",
            link("d", "blobs").file("d-", "1").file("d/a/b/c.json", "1"),
            name,
        ),
        row(
            "a file below a link of an absolute name",
            link("/d", "blobs").file("d/c.json", "1"),
            name,
        ),
        row(
            "names that only start alike",
            link("d", "oci-layout").file("d.json", "1").file("d-/c.json", "1"),
            Accepted,
        ),
    ]
}

/// A `docker save` of one image whose second layer is told by `layer`.
fn saved(layer: impl Fn(Bytes, &[u8]) -> Bytes, path: &str) -> Vec<u8> {
    let image = Image::plain("hostile-links");
    let config = format!("{}.json", hex(&image.config_digest()));
    let bytes = Bytes::new().file(&config, &image.config);
    let bytes = bytes.file("a/layer.tar", &image.layers[0].blob);
    let bytes = layer(bytes, &image.layers[1].blob);
    let layers = ["a/layer.tar".to_owned(), path.to_owned()];
    let item = item(&config, &strings(&[NAME]), &layers, "");
    bytes.file("manifest.json", format!("[{item}]")).end().0
}

fn links() -> Vec<Row> {
    let refused = Refused(Code::TarLink);
    let link = |name: &str, kind: u8, to: &str| H::new(name, 0, kind).link(to);
    let at_b = "b/layer.tar";
    let soft = |to: &'static str| {
        saved(move |bytes, body| bytes.file("c/layer.tar", body).h(&link(at_b, b'2', to)), at_b)
    };
    let row = Row::new;
    let alone = |kind, to: &str| around(Bytes::new().h(&link("b/lnk", kind, to)));
    let (blobs, documents) = layout();
    let top = documents.0.clone();
    let control = |kind| {
        let (_, documents) = layout();
        let renamed = String::from_utf8_lossy(&documents.0).contains("index.json");
        assert!(renamed);
        // index.json is the first of the documents: its header gets another name.
        let header = H::new("real.json", 0, b'0');
        let size = &top[124..136];
        let real = Bytes::new().h(&header.put(124..136, size)).raw(&top[512..]);
        blobs.clone().raw(real.0).h(&link("index.json", kind, "real.json")).end().0
    };
    vec![
        row("T34", "a hard link to nothing", alone(b'1', ""), refused),
        row("T32", "a symbolic link to nothing", alone(b'2', ""), refused),
        row("T32", "a layer that is a link to a layer", soft("../c/layer.tar"), Accepted),
        row("T32", "a layer that is a link out", soft("../../../etc/passwd"), refused),
        row("T32", "a layer that is a link to nothing", soft("../d/layer.tar"), refused),
        row("T32", "a layer that is a link to itself", soft("layer.tar"), refused),
        row("T32", "a layer that is a link to a folder", soft(".."), refused),
        row("T32", "a layer that is an empty link", soft(""), refused),
        row("T32", "a layer that is an absolute link", soft("/c/layer.tar"), Accepted),
        row(
            "T32",
            "an absolute link with something at both of its targets",
            saved(
                |bytes, body| {
                    bytes.file("c/layer.tar", body).file("b/c/layer.tar", "evil").h(&link(
                        at_b,
                        b'2',
                        "/c/layer.tar",
                    ))
                },
                at_b,
            ),
            refused,
        ),
        row(
            "T32",
            "a link to a link to a layer",
            saved(
                |bytes, body| {
                    bytes
                        .file("c/layer.tar", body)
                        .h(&link("d/layer.tar", b'2', "../c/layer.tar"))
                        .h(&link(at_b, b'2', "../d/layer.tar"))
                },
                at_b,
            ),
            refused,
        ),
        row(
            "T32",
            "a link through a link",
            saved(
                |bytes, body| {
                    bytes.file("c/layer.tar", body).h(&link("d", b'2', "c")).h(&link(
                        at_b,
                        b'2',
                        "../d/layer.tar",
                    ))
                },
                at_b,
            ),
            refused,
        ),
        row(
            "T34",
            "a layer that is a hard link to an earlier file",
            saved(
                |bytes, body| bytes.file("c/layer.tar", body).h(&link(at_b, b'1', "c/layer.tar")),
                at_b,
            ),
            Accepted,
        ),
        row(
            "T34",
            "a layer that is a hard link to a later file",
            saved(
                |bytes, body| bytes.h(&link(at_b, b'1', "c/layer.tar")).file("c/layer.tar", body),
                at_b,
            ),
            refused,
        ),
        row(
            "T34",
            "a layer that is a hard link to a link",
            saved(
                |bytes, body| {
                    bytes
                        .file("c/layer.tar", body)
                        .h(&link("d", b'2', "c/layer.tar"))
                        .h(&link(at_b, b'1', "d"))
                },
                at_b,
            ),
            refused,
        ),
        row(
            "T34",
            "a layer that is a hard link out",
            saved(|bytes, _| bytes.h(&link(at_b, b'1', "../etc/passwd")), at_b),
            refused,
        ),
        row(
            "T32",
            "a layer that is a device",
            saved(|bytes, _| bytes.h(&H::new(at_b, 0, b'6')), at_b),
            refused,
        ),
        row(
            "T32",
            "a layer that is a folder",
            saved(|bytes, _| bytes.h(&H::new("b/layer.tar/", 0, b'5')), at_b),
            refused,
        ),
        row(
            "T32",
            "a layer that is not there",
            saved(|bytes, _| bytes, at_b),
            Fails(Code::BlobMissing),
        ),
        row("T32", "an unused link out", alone(b'2', "../../etc/passwd"), refused),
        row("T32", "an unused link to nothing", alone(b'2', "nothing"), Accepted),
        row("T34", "an unused hard link to nothing", alone(b'1', "nothing"), Accepted),
        row("T33", "index.json as a symbolic link", control(b'2'), refused),
        row("T33", "index.json as a hard link", control(b'1'), refused),
        row(
            "T33",
            "oci-layout as a link",
            {
                let (blobs, documents) = layout();
                // Without its own oci-layout: a header and a block of body at the end.
                let documents = documents.0[..documents.0.len() - 2 * BLOCK].to_vec();
                let bytes = blobs.raw(documents).file("real", crate::support::oci::LAYOUT);
                bytes.h(&link("oci-layout", b'2', "real")).end().0
            },
            refused,
        ),
        row(
            "T33",
            "repositories as a link",
            around(Bytes::new().file("real", "{}").h(&link("repositories", b'2', "real"))),
            refused,
        ),
        row(
            "T33",
            "repositories as a hard link",
            around(Bytes::new().file("real", "{}").h(&link("repositories", b'1', "real"))),
            refused,
        ),
        row("T28", "an unused hard link out", alone(b'1', "../../etc/passwd"), Accepted),
        row("T28", "an unused hard link to an absolute path", alone(b'1', "/etc/passwd"), Accepted),
        row(
            "T33",
            "manifest.json as a folder",
            around(Bytes::new().h(&H::new("manifest.json/", 0, b'5'))),
            refused,
        ),
        row(
            "T33",
            "manifest.json as a link out of the archive",
            around(Bytes::new().h(&link("manifest.json", b'2', "/etc/passwd"))),
            refused,
        ),
    ]
}
