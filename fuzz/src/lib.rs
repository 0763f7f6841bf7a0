//! What the targets share: opening with small limits, archives around a
//! document or a layer, and mutators that keep a tar a tar. Plain mutation ends at the header checksum, and at the digests
//! of the blobs.

use libfuzzer_sys::fuzzer_mutate;
use ocitar::archive::{Access, Archive, OpenOptions};
use ocitar::error::Result;
use ocitar::limits::Limits;
use sha2::{Digest, Sha256};

const BLOCK: usize = 512;

/// Opening options for inputs of 64 KiB: a compressed one may not unpack to
/// gigabytes.
pub fn options(access: Access) -> OpenOptions {
    let mut limits = Limits::default();
    limits.unpacked = 4 << 20;
    limits.zstd_window_log = 22;
    OpenOptions::new().access(access).limits(limits)
}

/// Opens bytes, plain or compressed.
pub fn open(bytes: &[u8]) -> Result<Archive> {
    options(Access::Whole).open_bytes("fuzz", bytes)
}

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `manifest.json`.
    Items,
    /// `index.json`.
    Top,
    /// An index that it leads to.
    Index,
    /// A manifest that it leads to.
    Manifest,
    /// The configuration of such a manifest.
    Config,
}

impl Role {
    /// The one a byte stands for.
    pub fn of(byte: u8) -> Role {
        let all = [Role::Items, Role::Top, Role::Index, Role::Manifest, Role::Config];
        all[usize::from(byte) % all.len()]
    }
}

/// A document in an archive that leads to it, every digest right.
pub fn around(role: Role, text: &[u8]) -> Vec<u8> {
    let blob = |text: &[u8]| (format!("blobs/sha256/{}", &sha256(text)[7..]), text.to_vec());
    let top = |kind: &str, text: &[u8]| {
        let descriptor = descriptor(&format!("application/vnd.oci.image.{kind}.v1+json"), text);
        format!(r#"{{"schemaVersion":2,"manifests":[{descriptor}]}}"#).into_bytes()
    };
    let (mut files, index) = match role {
        Role::Items => return tar(&[("manifest.json".to_owned(), text.to_vec())]),
        Role::Top => (Vec::new(), text.to_vec()),
        Role::Index => (vec![blob(text)], top("index", text)),
        Role::Manifest => (vec![blob(text)], top("manifest", text)),
        Role::Config => {
            let manifest = manifest(text, "");
            (vec![blob(text), blob(&manifest)], top("manifest", &manifest))
        }
    };
    files.push(("index.json".to_owned(), index));
    files.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
    tar(&files)
}

/// An archive of one image of one layer, whose media type ends so.
pub fn layout(config: &[u8], suffix: &str, layer: &[u8]) -> Vec<u8> {
    let kind = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
    let manifest = manifest(config, &descriptor(&kind, layer));
    let top = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{top}]}}"#).into_bytes();
    let blob = |text: &[u8]| (format!("blobs/sha256/{}", &sha256(text)[7..]), text.to_vec());
    tar(&[
        blob(config),
        blob(&manifest),
        blob(layer),
        ("index.json".to_owned(), index),
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
    ])
}

fn manifest(config: &[u8], layers: &str) -> Vec<u8> {
    let config = descriptor("application/vnd.oci.image.config.v1+json", config);
    format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#).into_bytes()
}

fn descriptor(media_type: &str, text: &[u8]) -> String {
    let (digest, size) = (sha256(text), text.len());
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    // A blob that is there twice is there once.
    let mut seen = Vec::new();
    for (path, bytes) in files.iter() {
        if seen.contains(&path) {
            continue;
        }
        seen.push(path);
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// `sha256:` and the hex of these bytes.
pub fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Mutates a tar: its bytes, one member's body with the size put right, or the
/// order of its members. Checksums are right afterwards; digests as well, now
/// and then, when `blobs` says so.
pub fn mutate_tar(data: &mut [u8], size: usize, max_size: usize, seed: u32, blobs: bool) -> usize {
    let mut random = Random::new(seed);
    let members = members(&data[..size]);
    let new = match random.below(8) {
        _ if members.is_empty() => fuzzer_mutate(data, size, max_size),
        0 | 1 => fuzzer_mutate(data, size, max_size),
        2 => move_member(data, size, max_size, &members, &mut random),
        3 => mutate_header(data, size, &members, &mut random),
        _ => mutate_body(data, size, max_size, &members, &mut random),
    };
    if blobs && random.below(4) > 0 {
        fix_digests(&mut data[..new]);
    }
    fix_checksums(&mut data[..new]);
    new
}

/// A generator that a mutator's seed starts.
pub struct Random(u64);

impl Random {
    /// Starts it.
    pub fn new(seed: u32) -> Random {
        Random(u64::from(seed) | 1 << 40)
    }

    /// A number below this one.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

/// Header offset and body length of what could be members, extended headers
/// included.
fn members(data: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(block) = data.get(at..at + BLOCK) {
        if block.iter().all(|b| *b == 0) {
            break;
        }
        let size =
            octal(&block[124..136]).filter(|size| at + BLOCK + size <= data.len()).unwrap_or(0);
        found.push((at, size));
        at += BLOCK + size.next_multiple_of(BLOCK);
    }
    found
}

fn octal(field: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    usize::from_str_radix(text, 8).ok()
}

fn fix_checksums(data: &mut [u8]) {
    for (at, _) in members(data) {
        let block = &mut data[at..at + BLOCK];
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

/// Copies, moves or removes one member.
fn move_member(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    members: &[(usize, usize)],
    random: &mut Random,
) -> usize {
    let (at, len) = members[random.below(members.len())];
    let (to, _) = members[random.below(members.len())];
    let end = (at + BLOCK + len.next_multiple_of(BLOCK)).min(size);
    let mut all = data[..size].to_vec();
    let member = all[at..end].to_vec();
    match random.below(3) {
        0 => drop(all.drain(at..end)),
        1 => drop(all.splice(to..to, member)),
        _ => {
            all.drain(at..end);
            let to = to.min(all.len()) / BLOCK * BLOCK;
            all.splice(to..to, member);
        }
    }
    put(data, &all, max_size)
}

/// Mutates the bytes of one header, or gives it another type.
fn mutate_header(
    data: &mut [u8],
    size: usize,
    members: &[(usize, usize)],
    random: &mut Random,
) -> usize {
    let (at, _) = members[random.below(members.len())];
    let block = &mut data[at..at + BLOCK];
    match random.below(3) {
        0 => block[156] = b"0125xgLKS\x007346"[random.below(14)],
        1 => drop(fuzzer_mutate(&mut block[..100], 100, 100)),
        _ => drop(fuzzer_mutate(block, BLOCK, BLOCK)),
    }
    size
}

/// Mutates one member's body and states its new size.
fn mutate_body(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    members: &[(usize, usize)],
    random: &mut Random,
) -> usize {
    // Control files are last and layers are dull: take the latest of two.
    let pick = random.below(members.len()).max(random.below(members.len()));
    let (at, len) = members[pick];
    let body = at + BLOCK;
    let room = max_size.saturating_sub(size);
    let mut new = data[body..body + len].to_vec();
    new.resize(len + room.min(1024), 0);
    let room = new.len();
    // libFuzzer aborts when there is nothing to mutate and no room.
    if room == 0 {
        return size;
    }
    let len_now = fuzzer_mutate(&mut new, len, room);
    new.truncate(len_now);
    let stated = format!("{len_now:011o}\0");
    new.resize(len_now.next_multiple_of(BLOCK), 0);
    let mut all = data[..size].to_vec();
    all[at + 124..at + 136].copy_from_slice(stated.as_bytes());
    let end = (body + len.next_multiple_of(BLOCK)).min(size);
    all.splice(body..end, new);
    put(data, &all, max_size)
}

fn put(data: &mut [u8], all: &[u8], max_size: usize) -> usize {
    let len = all.len().min(max_size).min(data.len());
    data[..len].copy_from_slice(&all[..len]);
    len
}

/// Gives every blob the name its bytes have, and every mention of the old name
/// the new one. A few rounds: a manifest's digest changes with its config's.
fn fix_digests(data: &mut [u8]) {
    for _ in 0..4 {
        let mut renamed = false;
        for (at, len) in members(data) {
            let end = (at + BLOCK + len).min(data.len());
            let Some(hex) = hex_of(&data[at..at + 100]) else { continue };
            let sum = Sha256::digest(&data[at + BLOCK..end]);
            let new: String = sum.iter().map(|b| format!("{b:02x}")).collect();
            let old = data[at + hex..at + hex + 64].to_vec();
            if old == new.as_bytes() {
                continue;
            }
            renamed = true;
            let mut from = 0;
            while let Some(found) = find(&data[from..], &old) {
                data[from + found..from + found + 64].copy_from_slice(new.as_bytes());
                from += found + 64;
            }
        }
        if !renamed {
            return;
        }
    }
}

fn find(data: &[u8], what: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += data[at..].iter().position(|b| *b == what[0])?;
        if data[at..].starts_with(what) {
            return Some(at);
        }
        at += 1;
    }
}

/// Where the digest stands in a name: `blobs/sha256/<hex>`, `<hex>.json`.
fn hex_of(name: &[u8]) -> Option<usize> {
    let start = match () {
        () if name.starts_with(b"blobs/sha256/") => 13,
        () if name.starts_with(b"./blobs/sha256/") => 15,
        () if name[64..].starts_with(b".json\0") => 0,
        () => return None,
    };
    name[start..start + 64].iter().all(u8::is_ascii_hexdigit).then_some(start)
}

/// What a plan writes.
pub fn written(plan: &ocitar::plan::Plan) -> Vec<u8> {
    let mut all = Vec::new();
    plan.visit(&mut |chunk| {
        all.extend_from_slice(chunk);
        Ok(())
    })
    .unwrap();
    assert_eq!(all.len() as u64, plan.len(), "the length a plan states");
    all
}

/// Verification on the fuzzer's own thread.
pub fn one_thread() -> ocitar::verify::VerifyOptions {
    let mut options = ocitar::verify::VerifyOptions::default();
    options.jobs = Some(1);
    options
}
