//! Archives to measure on, generated with seeded content.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use ocitar::digest::{Algorithm, Digest, Hasher};

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
    pub layer_len: u64,
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
        let layers: Vec<Digest> = (0..shape.layers)
            .map(|_| {
                seed += 1;
                let mut hasher = Hasher::new(Algorithm::Sha256);
                content(seed, shape.layer_len, |bytes| hasher.update(bytes));
                let digest = hasher.finish();
                out.write_all(&header(&digest.blob_path(), shape.layer_len)).expect("space");
                content(seed, shape.layer_len, |bytes| out.write_all(bytes).expect("space"));
                pad(out, shape.layer_len);
                digest
            })
            .collect();
        let list = |each: &dyn Fn(&Digest) -> String| {
            layers.iter().map(each).collect::<Vec<_>>().join(",")
        };
        let diff_ids = list(&|digest| format!("\"{digest}\""));
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{diff_ids}]}}}}"#
        );
        let config_digest = blob(out, &config);
        let descriptors = list(&|digest| {
            let len = shape.layer_len;
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{len}}}"#
            )
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
        let paths = list(&|digest| format!("\"{}\"", digest.blob_path()));
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

/// Seeded bytes nothing compresses (xorshift64*), in chunks.
fn content(seed: u64, len: u64, mut visit: impl FnMut(&[u8])) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut buffer = vec![0; 64 << 10];
    let mut left = len;
    while left > 0 {
        for word in buffer.chunks_exact_mut(8) {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            word.copy_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        visit(&buffer[..take]);
        left -= take as u64;
    }
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
