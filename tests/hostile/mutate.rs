//! Archives of real tools, damaged: the same ones in every run.

use std::ops::Range;

use crate::bytes::{
    BLOCK, Bytes, CHECKSUM, DEV_MAJOR, GNU, H, LINK, MAGIC, MODE, MTIME, PREFIX, SIZE, TYPE, UID,
    V7, fix_checksum, record,
};

/// Numbers that look random and are the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n.max(1) as u64).unwrap()
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}

/// Where a member starts (its own header) and ends.
type Place = Range<usize>;

/// One damaged archive. A third of them are damaged twice.
pub fn damaged(seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    let mut bytes = random.pick(seeds).clone();
    for _ in 0..1 + random.below(3) / 2 {
        damage(&mut bytes, seeds, &mut random);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let members = members(bytes);
    if members.is_empty() {
        return;
    }
    let member = random.pick(&members).clone();
    let len = bytes.len();
    match random.below(16) {
        0 | 1 => flip(bytes, 0..len, random),
        // The checksum hides what a flipped bit of a header would do.
        2 | 3 => {
            flip(bytes, member.start..member.start + BLOCK, random);
            fix_checksum(&mut bytes[member.start..]);
        }
        4..=7 => rewrite_field(&mut bytes[member.start..], random),
        8 => drop(bytes.drain(member)),
        9 => {
            let copy = bytes[member].to_vec();
            insert(bytes, &copy, &members, random);
        }
        10 => {
            let other = random.pick(seeds);
            let theirs = self::members(other);
            let theirs = random.pick(&theirs).clone();
            insert(bytes, &other[theirs], &members, random);
        }
        11 => bytes.truncate(random.below(bytes.len())),
        12 => {
            let body = random.below(4 * BLOCK);
            let size = format!("{body:011o}\0");
            bytes[member.start..][SIZE].copy_from_slice(size.as_bytes());
            fix_checksum(&mut bytes[member.start..]);
        }
        13 => {
            // A block more or less: headers and bodies change places.
            let at = random.below(bytes.len() / BLOCK) * BLOCK;
            match random.below(2) {
                0 => drop(bytes.drain(at..at + BLOCK)),
                _ => drop(bytes.splice(at..at, [0; BLOCK])),
            }
        }
        _ => {
            let meta = meta(random);
            bytes.splice(member.start..member.start, meta);
        }
    }
}

fn flip(bytes: &mut [u8], within: Range<usize>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let at = within.start + random.below(within.len());
        bytes[at] ^= 1 << random.below(8);
    }
}

fn insert(bytes: &mut Vec<u8>, member: &[u8], members: &[Place], random: &mut Random) {
    let at = random.pick(members).start;
    bytes.splice(at..at, member.iter().copied());
}

/// Writes into one field of a header what such a field is trouble with.
fn rewrite_field(block: &mut [u8], random: &mut Random) {
    let numbers: [&[u8]; 14] = [
        b"00000000000\0",
        b"00000001000\0",
        b"       1000 ",
        b"            ",
        b"\0\0\0\0\0\0\0\0\0\0\0\0",
        b"-0000001000\0",
        b"\t0000001000\0",
        b"0000100\x000000",
        b"00001000 x\0\0",
        b"\x80\0\0\0\0\0\0\0\0\0\x02\0",
        b"\x80\0\0\0\0\0\0\x02",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"777777777777",
        b"\x000000001000\0",
    ];
    let names: [&[u8]; 14] = [
        b"index.json\0",
        b"manifest.json\0",
        b"./manifest.json\0",
        b"/manifest.json\0",
        b"repositories\0",
        b"blobs\0",
        b"blobs/\0",
        b"../up\0",
        b"a//b\0",
        b"d/\0",
        b".\0",
        b"\0",
        b"sp ace\0",
        b"gr\xc3\xbcn\0",
    ];
    let magics: [&[u8]; 8] = [
        b"ustar\x0000",
        GNU,
        V7,
        b"ustar\0\0\0",
        b"ustar\0  ",
        b"ustar 00",
        b"ustar\x0001",
        b"\0\0\0\0\0\0\x30\x30",
    ];
    let types = b"0\x001234567xgLKSVMDNXAZ";
    let number = random.pick(&numbers).to_vec();
    let name = random.pick(&names).to_vec();
    let (field, value) = match random.below(14) {
        0 | 1 => (SIZE, number),
        2 => (random.pick(&[MODE, UID, MTIME, DEV_MAJOR]).clone(), number),
        3 | 4 => (0..100, name),
        5 => (LINK, name),
        6 => (PREFIX, name),
        7 | 8 => (MAGIC, random.pick(&magics).to_vec()),
        9 | 10 => (TYPE..TYPE + 1, vec![*random.pick(types)]),
        11 => (508..512, b"tar\0".to_vec()),
        12 => (CHECKSUM, number),
        _ => {
            (random.pick(&[0..100, MODE, UID, SIZE, MTIME, LINK, PREFIX]).clone(), random.bytes(8))
        }
    };
    let len = value.len().min(field.len());
    block[field.start..field.start + len].copy_from_slice(&value[..len]);
    if field != CHECKSUM {
        fix_checksum(block);
    }
}

/// Extended headers, sound and unsound, alone and in pairs.
fn meta(random: &mut Random) -> Vec<u8> {
    let mut bytes = Bytes::new();
    for _ in 0..1 + random.below(3) / 2 {
        bytes = match random.below(8) {
            0 => bytes.l(random.pick::<&str>(&["long", "index.json", "d/", "./x", "a/../b"])),
            1 => bytes.k("oci-layout"),
            2 => bytes
                .meta(*random.pick(b"LK"), random.pick(&[&b"a\0b\0"[..], b"\0", b"a", b"a\0\0"])),
            3 => bytes.meta(b'g', records(random)),
            _ => bytes.meta(b'x', records(random)),
        };
    }
    // Now and then under another magic.
    if random.below(6) == 0 {
        let magic = random.pick(&[GNU, V7, b"ustar\0\0\0"]);
        let header: [u8; BLOCK] = bytes.0[..BLOCK].try_into().unwrap();
        let other = Bytes::new().h(&H::from(header).magic(magic)).0;
        bytes.0[..BLOCK].copy_from_slice(&other);
    }
    bytes.0
}

fn records(random: &mut Random) -> Vec<u8> {
    let keys = [
        "path",
        "linkpath",
        "size",
        "size",
        "mtime",
        "uid",
        "uname",
        "comment",
        "hdrcharset",
        "GNU.sparse.name",
        "GNU.sparse.size",
        "SCHILY.realsize",
        "SCHILY.xattr.user.a",
        " path",
        "Path",
        "path\0",
        "LIBARCHIVE.creationtime",
    ];
    let values = [
        "0",
        "4",
        "512",
        "1024",
        "",
        "index.json",
        "d/",
        "a\0b",
        "+4",
        "-1",
        "1.5",
        "x y",
        "\n9 size=0\n",
        "grün",
    ];
    let mut body = Vec::new();
    for _ in 0..1 + random.below(3) {
        body.extend(record(random.pick(&keys), random.pick(&values)));
    }
    if random.below(8) == 0 {
        let at = random.below(body.len());
        body[at] ^= 1 << random.below(8);
    }
    body
}

/// Members as their sizes say, without a care for what they are.
fn members(bytes: &[u8]) -> Vec<Place> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(block) = bytes.get(at..at + BLOCK) {
        let text = String::from_utf8_lossy(&block[SIZE]).into_owned();
        let size = usize::from_str_radix(text.trim_matches(['\0', ' ']), 8).unwrap_or(0);
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let end = (at + BLOCK).saturating_add(size.next_multiple_of(BLOCK)).min(bytes.len());
        found.push(at..end);
        at = end;
    }
    found
}
