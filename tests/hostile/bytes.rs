//! Tars byte by byte, so that anything can be wrong with them. Nothing of ocitar and nothing of the `tar` crate.

use std::ops::Range;

pub const BLOCK: usize = 512;

/// Fields of a header.
pub const MODE: Range<usize> = 100..108;
pub const UID: Range<usize> = 108..116;
pub const SIZE: Range<usize> = 124..136;
pub const MTIME: Range<usize> = 136..148;
pub const CHECKSUM: Range<usize> = 148..156;
pub const TYPE: usize = 156;
pub const LINK: Range<usize> = 157..257;
pub const MAGIC: Range<usize> = 257..265;
pub const DEV_MAJOR: Range<usize> = 329..337;
pub const PREFIX: Range<usize> = 345..500;

/// Magic and version, as the writers of this world write them.
pub const USTAR: &[u8; 8] = b"ustar\x0000";
pub const GNU: &[u8; 8] = b"ustar  \0";
pub const V7: &[u8; 8] = &[0; 8];

/// A header; its checksum is put right when it is written.
#[derive(Clone)]
pub struct H([u8; BLOCK]);

impl H {
    /// A ustar header of a name, a size and a type.
    pub fn new(name: impl AsRef<[u8]>, size: u64, kind: u8) -> H {
        let mut block = [0; BLOCK];
        let name = name.as_ref();
        block[..name.len()].copy_from_slice(name);
        block[MODE].copy_from_slice(b"0000644\0");
        block[UID].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        block[SIZE].copy_from_slice(format!("{size:011o}\0").as_bytes());
        block[MTIME].copy_from_slice(b"00000000000\0");
        block[TYPE] = kind;
        block[MAGIC].copy_from_slice(USTAR);
        H(block)
    }

    /// Other bytes in a field, from its start.
    pub fn put(mut self, field: Range<usize>, bytes: impl AsRef<[u8]>) -> H {
        let bytes = bytes.as_ref();
        assert!(bytes.len() <= field.len());
        self.0[field.start..field.start + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn link(self, target: &str) -> H {
        self.put(LINK, target)
    }

    pub fn magic(self, magic: &[u8; 8]) -> H {
        self.put(MAGIC, magic)
    }

    fn bytes(&self) -> [u8; BLOCK] {
        let mut block = self.0;
        fix_checksum(&mut block);
        block
    }
}

impl From<[u8; BLOCK]> for H {
    fn from(block: [u8; BLOCK]) -> H {
        H(block)
    }
}

/// Puts the checksum of a header right.
pub fn fix_checksum(block: &mut [u8]) {
    block[CHECKSUM].fill(b' ');
    let sum: u64 = block[..BLOCK].iter().map(|byte| u64::from(*byte)).sum();
    block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A pax record; its length counts its own digits.
pub fn record(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let rest = [b" ", key.as_ref(), b"=", value.as_ref(), b"\n"].concat();
    let len = (1..).find(|n: &usize| n.to_string().len() + rest.len() == *n).unwrap();
    [len.to_string().as_bytes(), &rest].concat()
}

/// A tar in the making.
#[derive(Clone, Default)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    pub fn new() -> Bytes {
        Bytes::default()
    }

    /// A header alone.
    pub fn h(mut self, header: &H) -> Bytes {
        self.0.extend_from_slice(&header.bytes());
        self
    }

    /// A header with any checksum field.
    pub fn h_with_checksum(mut self, header: &H, field: &[u8; 8]) -> Bytes {
        let mut block = header.bytes();
        block[CHECKSUM].copy_from_slice(field);
        self.0.extend_from_slice(&block);
        self
    }

    /// Bytes, and zeros to the end of the block.
    pub fn body(mut self, bytes: impl AsRef<[u8]>) -> Bytes {
        self.0.extend_from_slice(bytes.as_ref());
        let len = self.0.len().next_multiple_of(BLOCK);
        self.0.resize(len, 0);
        self
    }

    /// Bytes as they are.
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Bytes {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    /// A regular file.
    pub fn file(self, name: &str, body: impl AsRef<[u8]>) -> Bytes {
        let size = body.as_ref().len() as u64;
        self.h(&H::new(name, size, b'0')).body(body)
    }

    /// An extended header of a type, with its body.
    pub fn meta(self, kind: u8, body: impl AsRef<[u8]>) -> Bytes {
        let name = if matches!(kind, b'x' | b'g') { "PaxHeaders/x" } else { "././@LongLink" };
        let header = H::new(name, body.as_ref().len() as u64, kind);
        let header = if matches!(kind, b'L' | b'K') { header.magic(GNU) } else { header };
        self.h(&header).body(body)
    }

    /// A pax header of these records.
    pub fn x(self, records: &[(&str, &str)]) -> Bytes {
        self.meta(
            b'x',
            records.iter().flat_map(|(key, value)| record(key, value)).collect::<Vec<u8>>(),
        )
    }

    /// A global pax header of these records.
    pub fn g(self, records: &[(&str, &str)]) -> Bytes {
        self.meta(
            b'g',
            records.iter().flat_map(|(key, value)| record(key, value)).collect::<Vec<u8>>(),
        )
    }

    /// A GNU long name, with its NUL.
    pub fn l(self, name: &str) -> Bytes {
        self.meta(b'L', [name.as_bytes(), b"\0"].concat())
    }

    /// A GNU long link target, with its NUL.
    pub fn k(self, name: &str) -> Bytes {
        self.meta(b'K', [name.as_bytes(), b"\0"].concat())
    }

    /// Two zero blocks.
    pub fn end(mut self) -> Bytes {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self
    }
}

/// What an attacker wants one reader to see and another not: a member of its own.
pub fn smuggled() -> Vec<u8> {
    let body = b"{\"smuggled\":true}";
    Bytes::new().file("smuggled", body).0
}
