//! One 512-byte header block: fields decoded, no meaning yet.
//!
//! The rules are stricter than any one reader's, because a field that two
//! readers take differently makes one file two archives: Go's `archive/tar`
//! (inside every daemon), GNU tar, libarchive and Python differ on blanks,
//! signs, base-256 and on which magic may carry a name prefix.

use std::borrow::Cow;
use std::ffi::CStr;

use crate::error::{Code, Error, Result};

/// Bytes of a tar block, and of a header.
pub const BLOCK: u64 = 512;
/// [`BLOCK`] as a length in memory.
pub(crate) const BLOCK_LEN: usize = 512;

/// `size` rounded up to whole blocks, or `None` past the end of `u64`.
#[must_use]
pub fn padded(size: u64) -> Option<u64> {
    size.checked_next_multiple_of(BLOCK)
}

/// A header block whose checksum and magic have been checked.
pub(crate) struct Header<'a> {
    block: &'a [u8; BLOCK_LEN],
    dialect: Dialect,
}

/// Which magic a header carries, as far as decoding depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// No magic at all: the name stands alone, only files and directories.
    V7,
    /// `ustar` and `00`: the only one whose prefix field is a prefix to all readers.
    Ustar,
    /// GNU, or an old version field: no prefix.
    Other,
}

impl<'a> Header<'a> {
    /// Checks what makes a block a header.
    pub(crate) fn new(block: &'a [u8; BLOCK_LEN]) -> Result<Self> {
        let stated = octal(&block[148..156])
            .ok_or_else(|| Error::new(Code::TarChecksum, "the checksum field is not octal"))?;
        // The field counts as blanks in its own sum.
        let field: u64 = block[148..156].iter().map(|byte| u64::from(*byte)).sum();
        let found = sum(block) - field + 8 * u64::from(b' ');
        if stated != found {
            return Err(Error::new(Code::TarChecksum, "header checksum mismatch")
                .expected_found(stated, found));
        }
        let dialect = match &block[257..265] {
            b"ustar\x0000" => Dialect::Ustar,
            b"ustar  \0" | b"ustar\0\0\0" | b"ustar\0  " => Dialect::Other,
            [0, 0, 0, 0, 0, 0, 0, 0] => Dialect::V7,
            _ => return Err(Error::new(Code::TarMagic, "unknown magic in the header")),
        };
        Ok(Header { block, dialect })
    }

    /// Checks that the name is cut from the header alike by every reader.
    pub(crate) fn check_name(&self) -> Result<()> {
        let prefix_used = self.block[345..500].iter().fold(0, |all, b| all | b) != 0;
        if self.dialect != Dialect::Ustar && prefix_used {
            let message = "a name prefix under a magic that has none for some readers";
            return Err(Error::new(Code::TarMagic, message));
        }
        if &self.block[508..512] == b"tar\0" {
            let message = "a star header, whose name prefix readers cut differently";
            return Err(Error::new(Code::TarMagic, message));
        }
        // Without a type a name that ends in a slash is a directory's: to Python
        // the name field, to others what the prefix makes of it.
        if self.type_flag() == 0 && self.block[0] == 0 && prefix_used {
            let message = "a prefix without a name, a directory to some readers";
            return Err(Error::new(Code::TarType, message));
        }
        Ok(())
    }

    /// Whether every reader takes an extended header for one: the `tar` crate
    /// lists it as a member under an old version field.
    pub(crate) fn may_extend(&self) -> bool {
        self.dialect == Dialect::Ustar || &self.block[257..265] == b"ustar  \0"
    }

    pub(crate) fn is_v7(&self) -> bool {
        self.dialect == Dialect::V7
    }

    pub(crate) fn type_flag(&self) -> u8 {
        self.block[156]
    }

    /// The size field. Blank is refused: readers disagree on it.
    pub(crate) fn size(&self) -> Result<u64> {
        number(&self.block[124..136])
            .ok_or_else(|| numeric("size"))?
            .ok_or_else(|| Error::new(Code::TarNumeric, "the size field is blank"))
    }

    /// Checks the numbers that are not used: Go refuses the whole archive when
    /// one of them does not parse, so no daemon could load it. It reads device
    /// numbers of every member, and Python even where there is no magic.
    pub(crate) fn check_numbers(&self) -> Result<()> {
        let fields = [
            ("mode", 100..108),
            ("uid", 108..116),
            ("gid", 116..124),
            ("devmajor", 329..337),
            ("devminor", 337..345),
        ];
        for (name, range) in fields {
            let field = &self.block[range];
            if !is_usual(field) && number(field).is_none() {
                return Err(numeric(name));
            }
        }
        let mtime = &self.block[136..148];
        if !is_usual(mtime) && number(mtime).is_none() && !is_negative(mtime) {
            return Err(numeric("mtime"));
        }
        Ok(())
    }

    /// The name, prefix joined. Bytes behind the first NUL are not part of it.
    pub(crate) fn name(&self) -> Cow<'a, [u8]> {
        let name = until_nul(&self.block[..100]);
        let prefix = until_nul(&self.block[345..500]);
        if self.dialect == Dialect::Ustar && !prefix.is_empty() {
            return [prefix, b"/", name].concat().into();
        }
        name.into()
    }

    pub(crate) fn link_name(&self) -> Vec<u8> {
        until_nul(&self.block[157..257]).to_vec()
    }
}

/// The sum of all bytes. Eight at a time: each of four lanes gets 128 bytes, whose
/// sum it can hold.
pub(super) fn sum(block: &[u8; BLOCK_LEN]) -> u64 {
    const LANES: u64 = 0x00ff_00ff_00ff_00ff;
    let (words, _) = block.as_chunks::<8>();
    let lanes = words.iter().fold(0_u64, |lanes, word| {
        let word = u64::from_le_bytes(*word);
        lanes.wrapping_add(word & LANES).wrapping_add(word >> 8 & LANES)
    });
    (0..4).map(|lane| lanes >> (16 * lane) & 0xffff).sum()
}

/// A time before 1970 as GNU tar writes it: base-256, in two's complement.
fn is_negative(field: &[u8]) -> bool {
    let (sign, value) = field.split_at(field.len() - 8);
    sign.iter().all(|byte| *byte == 0xff) && value[0] >= 0x80
}

fn numeric(field: &str) -> Error {
    Error::new(
        Code::TarNumeric,
        format!("the {field} field is not a number every reader reads alike"),
    )
}

fn until_nul(field: &[u8]) -> &[u8] {
    CStr::from_bytes_until_nul(field).map_or(field, CStr::to_bytes)
}

/// Octal digits between optional spaces and NUL or space to the end (a tab is
/// no blank to Go); or base-256 with a first byte of exactly 0x80 and a value below 2^63.
/// `Some(None)` is a blank field.
#[expect(clippy::option_option, reason = "blank, a number, or not a number")]
fn number(field: &[u8]) -> Option<Option<u64>> {
    if let Some(value) = usual(field) {
        return Some(Some(value));
    }
    if field.first() == Some(&0x80) {
        let mut value = 0u64;
        for byte in &field[1..] {
            value = value.checked_mul(256)?.checked_add(u64::from(*byte))?;
        }
        return (value <= i64::MAX as u64).then_some(Some(value));
    }
    if field.iter().all(|b| matches!(b, b' ' | 0)) {
        return Some(None);
    }
    octal(field).map(Some)
}

/// Whether a number is one of [`usual`] or none at all, for where its value is of no
/// use: every header has seven such fields, which are looked at eight bytes at a time.
fn is_usual(field: &[u8]) -> bool {
    // What a byte must not have once `'0'` is taken from it.
    const DIGITS: u64 = 0xf8f8_f8f8_f8f8_f8f8;
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let Some((digits, last)) = field.split_last_chunk::<8>() else { return false };
    let last = u64::from_be_bytes(*last);
    let is_number = (last ^ (ZEROS << 8)) & (DIGITS << 8 | 0xff) == 0
        && digits.iter().all(|digit| matches!(digit, b'0'..=b'7'));
    is_number || (last == 0 && digits.iter().all(|byte| *byte == 0))
}

/// A number as nearly all are written: seven or eleven octal digits, and NUL.
pub(super) fn usual(field: &[u8]) -> Option<u64> {
    fn each<const N: usize>(digits: &[u8]) -> Option<u64> {
        let (mut value, mut others) = (0, 0);
        for digit in digits.first_chunk::<N>()? {
            others |= (digit ^ b'0') & !7;
            value = value << 3 | u64::from(digit & 7);
        }
        (others == 0).then_some(value)
    }
    // The lengths of all fields: a loop of a known length is none.
    match field.split_last() {
        Some((0, digits)) if digits.len() == 7 => each::<7>(digits),
        Some((0, digits)) if digits.len() == 11 => each::<11>(digits),
        _ => None,
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let blanks = field.iter().take_while(|b| **b == b' ').count();
    let digits = &field[blanks..];
    let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if digits.is_empty() || rest.iter().any(|b| !matches!(b, b' ' | 0)) {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_every_reader_reads_alike() {
        let rows: [(&[u8], Option<Option<u64>>); 16] = [
            (b"00000000012\0", Some(Some(10))),
            (b"         12 ", Some(Some(10))),
            (b"777777777777", Some(Some(0o777_777_777_777))),
            (b"000000001000", Some(Some(512))),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Some(None)),
            (b"            ", Some(None)),
            (b"00000000018\0", None),
            (b"-0000000004\0", None),
            (b"+0000000004\0", None),
            (b"\t0000000004\0", None),
            (b"\x000000000004\0", None),
            (b"0000\x000000004", None),
            (b"0000004x\0\0\0\0", None),
            (b"\x80\0\0\0\0\0\0\0\0\0\x02\0", Some(Some(512))),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ];
        for (field, want) in rows {
            assert_eq!(number(field), want, "{field:?}");
        }
    }

    #[test]
    fn usual_numbers_are_told_by_every_byte() {
        let blanks = [0; 12];
        for field in [&b"0123456\0"[..], b"01234567012\0", &blanks[..8], &blanks] {
            for at in 0..field.len() {
                for byte in 0..=255 {
                    let mut field = field.to_vec();
                    field[at] = byte;
                    let want = usual(&field).is_some() || field.iter().all(|byte| *byte == 0);
                    assert_eq!(is_usual(&field), want, "{field:?}");
                }
            }
        }
    }

    #[test]
    fn sums_are_of_all_bytes() {
        let mut block = [0xff; BLOCK_LEN];
        assert_eq!(sum(&block), 512 * 255);
        for (at, byte) in block.iter_mut().enumerate() {
            *byte = (at * 7 % 256) as u8;
        }
        assert_eq!(sum(&block), block.iter().map(|byte| u64::from(*byte)).sum::<u64>());
    }

    #[test]
    fn sizes_pad_to_blocks() {
        let rows =
            [(0, Some(0)), (1, Some(512)), (512, Some(512)), (513, Some(1024)), (u64::MAX, None)];
        for (size, want) in rows {
            assert_eq!(padded(size), want);
        }
    }
}
