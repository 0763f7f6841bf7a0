//! Compression by magic bytes, never by name: sniff, decode with caps, encode.
//!
//! gzip may have several members (eStargz, `cat a.gz b.gz`) and zstd several
//! frames and skippable ones (zstd:chunked); all of them are one stream here.
//! Bytes behind the last are an error, as they are to Go's readers.

mod ahead;
mod decode;
mod encode;
mod gzip;
mod measure;

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

pub(crate) use ahead::read_ahead;
pub(crate) use decode::{Decoder, decode_error};
pub(crate) use encode::Encoder;
pub(crate) use measure::{Facts, Reading, Total, Wanted, measure, measure_span};

use crate::error::{Code, Error, Result};

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// zstd (RFC 8878).
    Zstd,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
}

impl Compression {
    /// Bytes of the start of a stream that [`sniff`](Self::sniff) looks at.
    pub const SNIFF_LEN: usize = 8;

    /// What the first bytes of a stream say.
    #[must_use]
    pub fn sniff(head: &[u8]) -> Compression {
        match head {
            [0x1f, 0x8b, 0x08, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A skippable frame, with its length behind the magic.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, _, _, _, _, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
            _ => Compression::None,
        }
    }

    /// Reads the start of a stream and sniffs it. The bytes that were read come
    /// back too: they belong before the rest.
    pub(crate) fn read_head(stream: impl Read) -> io::Result<(Compression, Vec<u8>)> {
        let mut head = Vec::with_capacity(Self::SNIFF_LEN);
        stream.take(Self::SNIFF_LEN as u64).read_to_end(&mut head)?;
        Ok((Self::sniff(&head), head))
    }

    /// What a file's extension asks for when it is written: `.tar`, `.tar.gz`,
    /// `.tgz`, `.tar.zst`, `.tzst`, `.tar.xz`, `.txz`, `.tar.bz2`, `.tbz2`.
    #[must_use]
    pub fn from_extension(path: &Path) -> Option<Compression> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "tar" => Some(Compression::None),
            "gz" | "tgz" => Some(Compression::Gzip),
            "zst" | "tzst" => Some(Compression::Zstd),
            "xz" | "txz" => Some(Compression::Xz),
            "bz2" | "tbz" | "tbz2" => Some(Compression::Bzip2),
            _ => None,
        }
    }

    /// The lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Xz => "xz",
            Compression::Bzip2 => "bzip2",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A compression to write, with its level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codec {
    /// The format.
    pub compression: Compression,
    /// The level in the format's own scale; its usual default when `None`.
    pub level: Option<u32>,
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        Codec { compression, level: None }
    }
}

impl std::str::FromStr for Codec {
    type Err = Error;

    /// Parses `none`, `gzip`, `gzip:9`, `zstd`, `zstd:19`.
    fn from_str(text: &str) -> Result<Codec> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let (compression, levels) = match name {
            "none" => (Compression::None, 0..=0),
            "gzip" => (Compression::Gzip, 0..=9),
            "zstd" => (Compression::Zstd, 1..=22),
            _ => {
                return Err(Error::new(Code::Usage, format!("unknown compression \"{name}\""))
                    .hint("none, gzip[:0-9] or zstd[:1-22]"));
            }
        };
        let level = match level {
            None => None,
            Some(text) => match text.parse().ok().filter(|level| levels.contains(level)) {
                Some(level) if compression != Compression::None => Some(level),
                _ => {
                    return Err(Error::new(Code::Usage, format!("{name} has no level \"{text}\""))
                        .hint("none, gzip[:0-9] or zstd[:1-22]"));
                }
            },
        };
        Ok(Codec { compression, level })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_bytes_decide() {
        let rows: [(&[u8], Compression); 9] = [
            (b"", Compression::None),
            (b"\x1f\x8b\x08\0", Compression::Gzip),
            (b"\x1f\x8b", Compression::None),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\x50\x2a\x4d\x18\x01\0\0\0", Compression::Zstd),
            (b"\x50\x2a\x4d\x18", Compression::None),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"BZh91AY", Compression::Bzip2),
            (b"manifest.json", Compression::None),
        ];
        for (head, want) in rows {
            assert_eq!(Compression::sniff(head), want, "{head:?}");
        }
    }

    #[test]
    fn extensions_ask_for_a_compression() {
        let rows = [
            ("out.tar", Some(Compression::None)),
            ("out.tar.gz", Some(Compression::Gzip)),
            ("OUT.TGZ", Some(Compression::Gzip)),
            ("a.tar.zst", Some(Compression::Zstd)),
            ("a.bin", None),
            ("-", None),
        ];
        for (path, want) in rows {
            assert_eq!(Compression::from_extension(Path::new(path)), want);
        }
    }

    #[test]
    fn codecs_parse() {
        let level = |text: &str| text.parse::<Codec>().ok().map(|c| (c.compression, c.level));
        assert_eq!(level("zstd:19"), Some((Compression::Zstd, Some(19))));
        assert_eq!(level("gzip"), Some((Compression::Gzip, None)));
        for bad in ["gzip:10", "zstd:0", "none:1", "xz", "", "gzip:x"] {
            assert_eq!(level(bad), None, "{bad}");
        }
    }
}
