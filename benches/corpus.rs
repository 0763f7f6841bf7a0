//! Archives to measure on, generated with seeded content.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use ocitar::digest::Digest;

/// A generated archive, gone with this value.
pub struct Corpus {
    _folder: tempfile::TempDir,
    pub path: PathBuf,
    /// Bytes of the file.
    pub len: u64,
}

/// What an archive holds.
pub struct Shape {
    pub images: usize,
    /// Of each image; no layer is shared.
    pub layers: usize,
    /// Bytes of a layer before it is packed: a tar of one file.
    pub layer_len: usize,
    pub packing: Packing,
}

/// How layers are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Of bytes that nothing compresses.
    Plain,
    /// Of words, which become about half of it.
    Gzip,
    /// The same.
    Zstd,
}

impl Packing {
    fn media_type(self) -> &'static str {
        match self {
            Packing::Plain => "application/vnd.oci.image.layer.v1.tar",
            Packing::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Packing::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    fn pack(self, tar: Vec<u8>) -> Vec<u8> {
        match self {
            Packing::Plain => tar,
            Packing::Gzip => {
                let fast = flate2::Compression::fast();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), fast);
                encoder.write_all(&tar).and_then(|()| encoder.finish()).expect("memory")
            }
            Packing::Zstd => zstd::encode_all(&*tar, 3).expect("memory"),
        }
    }
}

/// A layer as it is in an archive, and the digest of what it unpacks to.
pub struct Layer {
    pub blob: Vec<u8>,
    pub diff_id: Digest,
}

impl Layer {
    pub fn new(seed: u64, len: usize, packing: Packing) -> Layer {
        let mut tar = header("file", len as u64 - 1536).to_vec();
        content(&mut tar, seed, len - 1024, packing == Packing::Plain);
        tar.resize(len, 0);
        Layer { diff_id: Digest::of(&tar), blob: packing.pack(tar) }
    }
}

impl Corpus {
    /// Writes a hybrid archive to memory where there is a tmpfs.
    pub fn new(shape: &Shape) -> Corpus {
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a temporary folder");
        let path = folder.path().join("in.tar");
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&path).expect("a file"));
        write(shape, &mut out);
        out.flush().expect("space");
        drop(out);
        let len = std::fs::metadata(&path).expect("metadata").len();
        Corpus { _folder: folder, path, len }
    }

    /// A path for output beside the archive.
    pub fn output(&self) -> PathBuf {
        self.path.with_file_name("out.tar")
    }
}

fn write(shape: &Shape, out: &mut impl Write) {
    let (mut index, mut items) = (Vec::new(), Vec::new());
    let mut seed = 0;
    for image in 0..shape.images {
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        for _ in 0..shape.layers {
            seed += 1;
            let layer = Layer::new(seed, shape.layer_len, shape.packing);
            let digest = Digest::of(&layer.blob);
            member(out, &digest.blob_path(), &layer.blob);
            layers.push((digest, layer.blob.len()));
            diff_ids.push(format!("\"{}\"", layer.diff_id));
        }
        let list = |each: &dyn Fn(&(Digest, usize)) -> String| {
            layers.iter().map(each).collect::<Vec<_>>().join(",")
        };
        let diff_ids = diff_ids.join(",");
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{diff_ids}]}}}}"#
        );
        let config_digest = blob(out, &config);
        let media_type = shape.packing.media_type();
        let descriptors = list(&|(digest, len)| {
            format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{len}}}"#)
        });
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config_digest}","size":{}}},"layers":[{descriptors}]}}"#,
            config.len()
        );
        let digest = blob(out, &manifest);
        let (len, name) = (manifest.len(), format!("docker.io/library/bench{image}:1"));
        index.push(format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{len},"annotations":{{"io.containerd.image.name":"{name}","org.opencontainers.image.ref.name":"1"}}}}"#
        ));
        let paths = list(&|(digest, _)| format!("\"{}\"", digest.blob_path()));
        items.push(format!(
            r#"{{"Config":"{}","RepoTags":["{name}"],"Layers":[{paths}]}}"#,
            config_digest.blob_path()
        ));
    }
    member(
        out,
        "index.json",
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, index.join(",")).as_bytes(),
    );
    member(out, "manifest.json", format!("[{}]", items.join(",")).as_bytes());
    member(out, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    out.write_all(&[0; 1024]).expect("space");
}

/// Fills up to a length with seeded bytes (xorshift64*): any, or words of a small
/// language.
fn content(out: &mut Vec<u8>, seed: u64, len: usize, any: bool) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while out.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let bytes = state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
        if any {
            out.extend_from_slice(&bytes);
        } else {
            // Half of them one of few, half of them one of many.
            out.extend_from_slice(&bytes[..3]);
            out.extend_from_slice(
                [b"image", b"layer", b"names", b"index"][usize::from(bytes[7] & 3)],
            );
        }
    }
    out.truncate(len);
}

fn blob(out: &mut impl Write, text: &str) -> Digest {
    let digest = Digest::of(text.as_bytes());
    member(out, &digest.blob_path(), text.as_bytes());
    digest
}

fn member(out: &mut impl Write, name: &str, body: &[u8]) {
    out.write_all(&header(name, body.len() as u64)).expect("space");
    out.write_all(body).expect("space");
    pad(out, body.len() as u64);
}

fn pad(out: &mut impl Write, len: u64) {
    let zeros = len.next_multiple_of(512) - len;
    out.write_all(&vec![0; usize::try_from(zeros).expect("less than a block")]).expect("space");
}

fn header(name: &str, size: u64) -> [u8; 512] {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).expect("a short name");
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    *header.as_bytes()
}
