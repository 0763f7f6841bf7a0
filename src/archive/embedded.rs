//! The `data` of a descriptor: the content itself, in base64.
//!
//! ocitar reads the blob and never this. A consumer may (containerd does for
//! content it has not got), so that the two must be the same.

use crate::archive::view::Descriptor;
use crate::digest::{Digest, Hasher};
use crate::error::{Code, Error};

/// What is wrong with the `data` of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadData {
    NotBase64,
    Size(u64),
    Digest(Digest),
}

impl BadData {
    /// Compares `data` with the descriptor it stands in.
    pub(super) fn find(data: &str, digest: Digest, size: u64) -> Option<BadData> {
        let Some(bytes) = base64(data) else { return Some(BadData::NotBase64) };
        if bytes.len() as u64 != size {
            return Some(BadData::Size(bytes.len() as u64));
        }
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        let found = hasher.finish();
        (found != digest).then_some(BadData::Digest(found))
    }

    /// The finding about it.
    pub(crate) fn error(self, descriptor: &Descriptor) -> Error {
        let wrong = |code, what: &str| Error::new(code, format!("a descriptor's data {what}"));
        match self {
            BadData::NotBase64 => wrong(Code::JsonShape, "is not base64, which Go refuses"),
            BadData::Size(found) => wrong(Code::SizeMismatch, "is not of the size it states")
                .expected_found(descriptor.size, found),
            BadData::Digest(found) => wrong(Code::DigestMismatch, "is not what its digest names")
                .expected_found(descriptor.digest, found),
        }
    }
}

/// Decodes base64 (RFC 4648, section 4, padded) as Go decodes a JSON field of
/// bytes: line ends are skipped, bits behind the last byte may be anything.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    let digits = &text[..text.len() - padding];
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.chunks(4) {
        let mut bits = 0;
        for digit in group {
            bits = bits << 6 | u32::from(value_of(*digit)?);
        }
        // A group of n digits fills n - 1 bytes; what is left over is dropped.
        bits <<= 6 * (4 - group.len()) + 8;
        bytes.extend_from_slice(&bits.to_be_bytes()[..group.len() - 1]);
    }
    Some(bytes)
}

fn value_of(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_as_go_does() {
        // The vectors of RFC 4648, and what Go 1.22 makes of odd input.
        let rows: &[(&str, Option<&[u8]>)] = &[
            ("", Some(b"")),
            ("Zg==", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("Zm9vYg==", Some(b"foob")),
            ("Zm9vYmE=", Some(b"fooba")),
            ("Zm9vYmFy", Some(b"foobar")),
            ("e30=", Some(b"{}")),
            ("//79", Some(&[0xff, 0xfe, 0xfd])),
            ("+A==", Some(&[0xf8])),
            ("Zm9v\r\nYmFy\n", Some(b"foobar")),
            ("Zh==", Some(b"f")),
            ("Zg", None),
            ("Zg=", None),
            ("Z===", None),
            ("====", None),
            ("Zg==Zg==", None),
            ("Zm9v====", None),
            ("Zm 9v", None),
            ("_-8=", None),
        ];
        for (text, want) in rows {
            assert_eq!(base64(text).as_deref(), *want, "{text:?}");
        }
    }
}
