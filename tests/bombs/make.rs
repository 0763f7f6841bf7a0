//! The bombs: small files that state or hold far too much.
//!
//! They are written piece by piece, because what this process holds would count
//! as memory of the programs it starts.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::image::{
    Descriptor, Image, Layer, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Packing, blob, index,
    manifest, sha256,
};
use crate::support::oci::{LAYOUT, layout};
use crate::support::run::Room;
use crate::support::tarball::Tar;

pub const NAME: &str = "example.com/team/app:1.0";

/// What a verb must end with: its exit code, and the id it names first.
pub type End = (i32, &'static str);

pub const DONE: End = (0, "");

/// A file, and what becomes of it.
pub struct Bomb {
    pub name: &'static str,
    pub path: PathBuf,
    /// Options that make a limit small enough to be hit quickly.
    pub options: &'static [&'static str],
    pub ls: End,
    pub verify: End,
    pub retag: End,
    /// MiB that may come on top of the rest: names, a zstd window.
    pub more: u64,
}

struct Maker<'r> {
    room: &'r Room,
    bombs: Vec<Bomb>,
}

impl Maker<'_> {
    /// A bomb that every verb ends alike on.
    fn all(&mut self, name: &'static str, end: End, write: impl FnOnce(&mut BufWriter<File>)) {
        self.each(name, [end; 3], write);
    }

    /// A bomb with an end for each of `ls`, `verify` and `retag`.
    fn each(
        &mut self,
        name: &'static str,
        [ls, verify, retag]: [End; 3],
        write: impl FnOnce(&mut BufWriter<File>),
    ) {
        let path = self.room.path(name);
        let mut out = BufWriter::new(File::create(&path).unwrap());
        write(&mut out);
        out.into_inner().unwrap();
        let bomb = Bomb { name, path, options: &[], ls, verify, retag, more: 0 };
        self.bombs.push(bomb);
    }

    /// A tar that is written as it is.
    fn tar(&mut self, name: &'static str, end: End, tar: &Tar) {
        self.all(name, end, |out| out.write_all(&tar.bytes()).unwrap());
    }

    /// The last one has this, too.
    fn last(&mut self, change: impl FnOnce(&mut Bomb)) {
        self.bombs.last_mut().map(change).unwrap();
    }
}

/// Writes every bomb into a folder.
pub fn all(room: &Room) -> Vec<Bomb> {
    let mut maker = Maker { room, bombs: Vec::new() };
    tars(&mut maker);
    compressed(&mut maker);
    documents(&mut maker);
    graphs(&mut maker);
    maker.bombs
}

/// Headers that state too much, and too many of them.
fn tars(maker: &mut Maker<'_>) {
    let meta = (4, "E_LIMIT_TARMETA");
    for (name, kind) in [("pax-1g.tar", b'x'), ("long-name-1g.tar", b'L')] {
        maker.all(name, meta, |out| {
            out.write_all(&header("PaxHeaders/a", 1 << 30, kind)).unwrap();
            out.flush().unwrap();
            out.get_ref().set_len(512 + (1 << 30) + 2048).unwrap();
        });
    }
    maker.all("pax-1g.tar.zst", meta, |out| {
        frame(out, 20, &[Raw(&header("PaxHeaders/a", 1 << 30, b'x')), Zeros((1 << 30) + 2048)]);
    });
    maker.all("globals-1m.tar.zst", meta, |out| {
        let one = [&header("g", 15, b'g')[..], &block(b"15 comment=abc\n")].concat();
        repeat(out, &zstd::encode_all(&*one.repeat(64), 1).unwrap(), 1 << 14);
    });
    let many = header("a", 0, b'0').repeat(1 << 14);
    maker.all("members-64k.tar.gz", (4, "E_LIMIT_ENTRIES"), |out| {
        repeat(out, &gzip(&many), 4);
    });
    maker.last(|bomb| bomb.options = &["--limit", "members=16K"]);
    maker.all("members-4m.tar.zst", (4, "E_LIMIT_ENTRIES"), |out| {
        repeat(out, &zstd::encode_all(&*many, 1).unwrap(), 1 << 8);
    });
    // As many as are accepted, each with a name of its own.
    maker.all("members-256k.tar.zst", (3, "E_FORMAT"), |out| {
        let mut out = zstd::Encoder::new(out, 1).unwrap();
        for n in 0..1 << 18 {
            out.write_all(&header(&format!("{n:095}"), 0, b'0')).unwrap();
        }
        out.write_all(&[0; 1024]).unwrap();
        out.finish().unwrap();
    });
    // `verify` keeps about a KiB for each.
    maker.last(|bomb| bomb.more = 384);
    maker.all("names-4k.tar.zst", meta, |out| {
        let mut out = zstd::Encoder::new(out, 1).unwrap();
        for n in 0..1 << 14 {
            let name = format!("{n:04000}\0");
            out.write_all(&header("././@LongLink", name.len() as u64, b'L')).unwrap();
            out.write_all(&block(name.as_bytes())).unwrap();
            out.write_all(&header("a", 0, b'0')).unwrap();
        }
        out.finish().unwrap();
    });
    maker.last(|bomb| bomb.more = 4 * 32);
    // The largest size there is, and one that is none.
    let huge = |out: &mut BufWriter<File>| {
        out.write_all(&header("a", i64::MAX as u64, b'0')).unwrap();
    };
    maker.all("base256-2^63-1.tar", (3, "E_TAR_TRUNCATED"), huge);
    maker.all("base256-2^63-1.tar.zst", (3, "E_TAR_TRUNCATED"), |out| {
        frame(out, 20, &[Raw(&header("a", i64::MAX as u64, b'0')), Zeros(1 << 28)]);
    });
    maker.all("base256-2^88.tar", (3, "E_TAR_NUMERIC"), |out| {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[0] = b'a';
        header.as_old_mut().size = [0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header.set_cksum();
        out.write_all(header.as_bytes()).unwrap();
    });
}

/// Little that decompresses to much.
fn compressed(maker: &mut Maker<'_>) {
    let window = (4, "E_LIMIT_WINDOW");
    maker.all("window-256m.tar.zst", window, |out| frame(out, 28, &[Zeros(1 << 28)]));
    let mut layers = |name, exponents: &[u32], ends: [End; 3]| {
        let blobs = exponents.iter().enumerate().map(|(n, exponent)| {
            let mut blob = Vec::new();
            frame(&mut blob, *exponent, &[Raw(&[n as u8]), Zeros(140 << 20)]);
            blob
        });
        let tar = image_of(blobs.collect(), "+zstd");
        maker.each(name, ends, |out| out.write_all(&tar.bytes()).unwrap());
    };
    layers("window-256m-layer.tar", &[28], [DONE, window, DONE]);
    layers("window-128m-layers.tar", &[27; 4], [DONE, (1, "E_DIFFID_MISMATCH"), DONE]);
    maker.last(|bomb| bomb.more = 128);
    maker.last(|bomb| bomb.options = &["--jobs", "4"]);

    let mib = gzip(&[0; 1 << 20]);
    let layer = mib.repeat(256);
    let tar = image_of(vec![layer.clone()], "+gzip");
    let ends = [DONE, (1, "E_DIFFID_MISMATCH"), DONE];
    maker.each("gzip-1029.tar", ends, |out| out.write_all(&tar.bytes()).unwrap());
    let ends = [DONE, (4, "E_LIMIT_UNPACKED"), DONE];
    maker.each("gzip-1029-limit.tar", ends, |out| out.write_all(&tar.bytes()).unwrap());
    maker.last(|bomb| bomb.options = &["--limit", "unpacked=64M"]);
    // One compression is undone and no more: this layer is a gzip file.
    let inner = Layer { plain: layer.clone(), blob: gzip(&layer), ..small_layer() };
    let image = Image::new("linux/amd64", vec![inner]);
    let tar = layout(image.blobs(), &[image.descriptor().named(NAME)]);
    let ends = [DONE, (1, "E_LAYER_TAR"), DONE];
    maker.each("gzip-nested-layer.tar", ends, |out| out.write_all(&tar.bytes()).unwrap());
    maker.all("gzip-nested.tar.gz", (3, "E_FORMAT"), |out| {
        out.write_all(&gzip(&layer)).unwrap();
    });
    maker.all("gzip-1029-outer.tar.gz", (3, "E_FORMAT"), |out| {
        out.write_all(&gzip(&header("a", 256 << 20, b'0'))).unwrap();
        repeat(out, &mib, 256);
        out.write_all(&gzip(&[0; 1024])).unwrap();
    });
}

/// JSON that is deep, wide or long.
fn documents(maker: &mut Maker<'_>) {
    let limit = (4, "E_LIMIT_JSON");
    let index = |text: &[u8]| Tar::new().file("oci-layout", LAYOUT).file("index.json", text);
    maker.tar("json-open.tar", (3, "E_JSON_SYNTAX"), &index(&b"[".repeat(5 << 20)));
    let deep = |n: usize, middle: &[u8]| [&b"[".repeat(n), middle, &b"]".repeat(n)].concat();
    maker.tar("json-deep.tar", limit, &index(&deep(8 << 20, b"")));
    let long = [b"\"", &b"a".repeat(15 << 20)[..], b"\""].concat();
    maker.tar("json-deep-long.tar", (3, "E_JSON_SHAPE"), &index(&deep(63, &long)));
    let blanks = b" ".repeat(15 << 20);
    maker.tar("json-deep-blank.tar", (3, "E_JSON_SHAPE"), &index(&deep(63, &blanks)));
    maker.tar(
        "json-wide.tar",
        limit,
        &index(&[&b"[1"[..], &b",1".repeat((8 << 20) - 2)[..], b"]"].concat()),
    );
    let tags = |n: usize| {
        let tags: Vec<String> = (0..n).map(|n| format!("\"a:{n}\"")).collect();
        let item =
            format!("[{{\"Config\":\"c\",\"RepoTags\":[{}],\"Layers\":[]}}]", tags.join(","));
        Tar::new().file("manifest.json", item).file("c", "{\"rootfs\":{\"type\":\"layers\"}}")
    };
    maker.tar("tags-1m.tar", limit, &tags(1_000_000));
    maker.each("tags-256k.tar", [DONE, DONE, (1, "E_RULE_UNMATCHED")], |out| {
        out.write_all(&tags(262_000).bytes()).unwrap();
    });
    // About a KiB for each name.
    maker.last(|bomb| bomb.more = 272);
    maker.all("index-1g.tar", limit, |out| {
        out.write_all(&header("index.json", 1 << 30, b'0')).unwrap();
        out.flush().unwrap();
        out.get_ref().set_len(512 + (1 << 30) + 1024).unwrap();
    });
    let image = Image::plain("x");
    let one = layout(image.blobs(), &[image.descriptor().named(NAME)]);
    maker.tar("documents.tar", limit, &one);
    maker.last(|bomb| bomb.options = &["--limit", "documents=600"]);
}

/// Descriptors that multiply, or lead back.
fn graphs(maker: &mut Maker<'_>) {
    // 16^12 ways down, 13 blobs.
    let image = Image::plain("x");
    let mut files = image.blobs();
    let mut child = image.descriptor();
    for _ in 0..12 {
        let text = index(&vec![child; 16]);
        child = Descriptor::new(OCI_INDEX, &text);
        files.push(blob(text));
    }
    maker.tar("dag-16x12.tar", DONE, &layout(files.clone(), &[child.clone().named(NAME)]));
    for _ in 0..8 {
        let text = index(&[child]);
        child = Descriptor::new(OCI_INDEX, &text);
        files.push(blob(text));
    }
    maker.tar("nested-20.tar", (4, "E_LIMIT_GRAPH"), &layout(files, &[child.named(NAME)]));

    // No digest can name what contains it, so this one lies.
    let own = sha256("round and round");
    let text = index(&[Descriptor { digest: own.clone(), ..Descriptor::new(OCI_INDEX, "") }]);
    let top =
        Descriptor { digest: own.clone(), size: text.len(), ..Descriptor::new(OCI_INDEX, "") };
    let path = format!("blobs/{}", own.replace(':', "/"));
    let tar = layout(vec![(path, text.into_bytes())], &[top.named(NAME)]);
    maker.tar("cycle.tar", (1, "E_DIGEST_MISMATCH"), &tar);

    // Many indexes that share one: of many children, or of one with much to say.
    let limit = (4, "E_LIMIT_GRAPH");
    let child = image.descriptor();
    maker.tar("shared-wide.tar", limit, &shared(&index(&vec![child.clone(); 16_000]), &image));
    let long = child.annotation("org.example.long", &"a".repeat(1 << 20));
    maker.tar("shared-long.tar", limit, &shared(&index(&[long]), &image));

    let layers = vec![Descriptor::new(OCI_LAYER, "x"); 2000];
    let text = manifest(OCI_MANIFEST, &Descriptor::new(OCI_CONFIG, "{}"), &layers, "");
    let top = Descriptor::new(OCI_MANIFEST, &text).named(NAME);
    maker.tar("layers-2000.tar", (4, "E_LIMIT_LAYERS"), &layout(vec![blob(text)], &[top]));
}

/// Two thousand indexes with one index in each.
fn shared(below: &str, image: &Image) -> Tar {
    let mut files = image.blobs();
    files.push(blob(below));
    let mut tops = Vec::new();
    let child = Descriptor::new(OCI_INDEX, below);
    for n in 0..2000 {
        let child = child.clone().annotation("n", &n.to_string());
        let text = index(&[child]);
        tops.push(Descriptor::new(OCI_INDEX, &text).named(&format!("example.com/app:{n}")));
        files.push(blob(text));
    }
    layout(files, &tops)
}

/// An image of these layers, whose diff IDs are those of another.
fn image_of(blobs: Vec<Vec<u8>>, ending: &str) -> Tar {
    let layers: Vec<Layer> = blobs.iter().map(|_| small_layer()).collect();
    let config = Image::new("linux/amd64", layers).config;
    let media_type = format!("{OCI_LAYER}{ending}");
    let descriptors: Vec<_> = blobs.iter().map(|b| Descriptor::new(&media_type, b)).collect();
    let text = manifest(OCI_MANIFEST, &Descriptor::new(OCI_CONFIG, &config), &descriptors, "");
    let top = Descriptor::new(OCI_MANIFEST, &text).named(NAME);
    let mut files: Vec<_> = blobs.iter().map(blob).collect();
    files.extend([blob(config), blob(text)]);
    layout(files, &[top])
}

fn small_layer() -> Layer {
    Layer::new("x", Packing::Gzip)
}

/// A header block.
fn header(name: &str, size: u64, kind: u8) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// Bytes up to the next block.
fn block(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn repeat(out: &mut impl Write, bytes: &[u8], times: usize) {
    (0..times).for_each(|_| out.write_all(bytes).unwrap());
}

use Part::{Raw, Zeros};

/// A part of a zstd frame.
enum Part<'p> {
    /// As it is, less than 128 KiB.
    Raw(&'p [u8]),
    /// So many zeros, at four bytes for each 128 KiB.
    Zeros(usize),
}

/// Writes a zstd frame (RFC 8878) with a window of 2^`log` bytes.
fn frame(out: &mut impl Write, log: u32, parts: &[Part<'_>]) {
    const BLOCK: usize = 128 << 10;
    // No content size, no checksum, no dictionary.
    out.write_all(&[0x28, 0xb5, 0x2f, 0xfd, 0]).unwrap();
    out.write_all(&[((log - 10) << 3) as u8]).unwrap();
    let mut write = |kind: usize, size: usize, last: usize, bytes: &[u8]| {
        let head = size << 3 | kind << 1 | last;
        out.write_all(&head.to_le_bytes()[..3]).unwrap();
        out.write_all(bytes).unwrap();
    };
    for part in parts {
        match part {
            Raw(bytes) => write(0, bytes.len(), 0, bytes),
            Zeros(n) => {
                (0..n / BLOCK).for_each(|_| write(1, BLOCK, 0, &[0]));
                write(1, n % BLOCK, 0, &[0]);
            }
        }
    }
    write(0, 0, 1, &[]);
}
