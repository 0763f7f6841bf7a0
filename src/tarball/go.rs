//! What Go's `archive/tar` makes of header blocks and pax records, where it
//! takes more than the strict profile does.

use crate::tarball::header::{BLOCK_LEN, sum, usual};

/// The kind of a header, by its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// The pax records that count for a member, the last of each key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) has_link_path: bool,
    size: Option<Vec<u8>>,
    uid: Option<Vec<u8>>,
    gid: Option<Vec<u8>>,
    /// Of modification, access and change.
    times: [Option<Vec<u8>>; 3],
    pub(super) is_sparse: bool,
}

impl Records {
    /// Whether there is a name, a link target or a size.
    pub(super) fn renames(&self) -> bool {
        self.path.is_some() || self.has_link_path || self.size.is_some()
    }

    /// The size, where there is one; the outer `None` when a number or a time is
    /// none. Go looks at them when the member comes.
    pub(super) fn size(&self) -> Option<Option<i64>> {
        for owner in [&self.uid, &self.gid].into_iter().flatten() {
            integer(owner)?;
        }
        self.times.iter().flatten().try_for_each(|value| time(value))?;
        match &self.size {
            Some(size) => integer(size).map(Some),
            None => Some(None),
        }
    }
}

impl Format {
    /// `None` when the checksum is right in neither way of summing.
    pub(super) fn of(block: &[u8; BLOCK_LEN]) -> Option<Format> {
        let stated = octal(&block[148..156])?;
        // The field counts as blanks in its own sum.
        let field = &block[148..156];
        let blanks = 8 * i64::from(b' ');
        let unsigned = sum(block).cast_signed() - sum_of(field, |byte| byte.into()) + blanks;
        let signed = || {
            let sum = |bytes: &[u8]| sum_of(bytes, |byte| byte.cast_signed().into());
            sum(block) - sum(field) + blanks
        };
        if stated != unsigned && stated != signed() {
            return None;
        }
        Some(match (&block[257..263], &block[263..265], &block[508..512]) {
            (b"ustar\0", _, b"tar\0") => Format::Star,
            (b"ustar\0", ..) => Format::Ustar,
            (b"ustar ", b" \0", _) => Format::Gnu,
            _ => Format::V7,
        })
    }

    pub(super) fn is_gnu(self) -> bool {
        self == Format::Gnu
    }

    /// The size; `None` when it or any other number that Go reads is none.
    pub(super) fn size(self, block: &[u8; BLOCK_LEN]) -> Option<i64> {
        for range in [100..108, 108..116, 116..124, 136..148] {
            numeric(&block[range])?;
        }
        if self != Format::V7 {
            numeric(&block[329..337])?;
            numeric(&block[337..345])?;
        }
        if self == Format::Star {
            numeric(&block[476..488])?;
            numeric(&block[488..500])?;
        }
        numeric(&block[124..136])
    }

    /// The name, with the prefix of a magic that has one.
    pub(super) fn name(self, block: &[u8; BLOCK_LEN]) -> Vec<u8> {
        let prefix = match self {
            Format::V7 => &[][..],
            Format::Ustar => text(&block[345..500]),
            Format::Star => text(&block[345..476]),
            // Times stand there, unless an old writer of Go's wrote a prefix.
            Format::Gnu => {
                let is_time = |field: &[u8]| field.first() == Some(&0) || numeric(field).is_some();
                let prefix = text(&block[345..500]);
                let is_prefix = !is_time(&block[345..357]) || !is_time(&block[357..369]);
                if is_prefix && prefix.is_ascii() { prefix } else { &[] }
            }
        };
        let name = text(&block[..100]);
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }
}

fn sum_of(bytes: &[u8], value: impl Fn(u8) -> i64) -> i64 {
    bytes.iter().map(|byte| value(*byte)).sum()
}

/// What stands before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Base-256 in two's complement, or octal.
fn numeric(field: &[u8]) -> Option<i64> {
    if let Some(value) = usual(field) {
        return Some(value.cast_signed());
    }
    let Some(first) = field.first().filter(|byte| **byte & 0x80 != 0) else {
        return octal(field);
    };
    let invert = if first & 0x40 != 0 { 0xff } else { 0 };
    let mut value = 0_u64;
    for (at, byte) in field.iter().enumerate() {
        let byte = (byte ^ invert) & if at == 0 { 0x7f } else { 0xff };
        if value >> 56 > 0 {
            return None;
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).ok()?;
    Some(if invert == 0xff { !value } else { value })
}

/// Octal digits between blanks and NULs; none of them is 0.
fn octal(field: &[u8]) -> Option<i64> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(start) = field.iter().position(|byte| !is_blank(byte)) else { return Some(0) };
    let end = field.iter().rposition(|byte| !is_blank(byte)).map_or(start, |at| at + 1);
    let digits = text(&field[start..end]);
    let value = digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    });
    value.filter(|_| !digits.is_empty()).map(u64::cast_signed)
}

/// The records of a pax header; `None` when Go takes it for malformed.
pub(super) fn records(mut body: &[u8]) -> Option<Records> {
    let mut records = Records::default();
    let (mut version, mut has_map) = (false, false);
    // Pairs of an offset and a length, one behind the other.
    let mut wants_length = false;
    while !body.is_empty() {
        let blank = body.iter().position(|byte| *byte == b' ')?;
        let len = usize::try_from(integer(&body[..blank])?).ok()?;
        if len < 5 || len > body.len() || blank + 1 >= len - 1 || body[len - 1] != b'\n' {
            return None;
        }
        let record = &body[blank + 1..len - 1];
        body = &body[len..];
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let has_nul = match key {
            b"path" | b"linkpath" | b"uname" | b"gname" => value.contains(&0),
            _ => key.contains(&0),
        };
        if key.is_empty() || has_nul {
            return None;
        }
        match key {
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let is_length = key == b"GNU.sparse.numbytes";
                if is_length != wants_length || value.contains(&b',') {
                    return None;
                }
                wants_length = !wants_length;
                has_map = true;
            }
            b"GNU.sparse.map" => has_map = !value.is_empty(),
            b"GNU.sparse.major" | b"GNU.sparse.minor" => version |= !value.is_empty(),
            b"path" => records.path = given(value),
            b"linkpath" => records.has_link_path = !value.is_empty(),
            b"size" => records.size = given(value),
            b"uid" => records.uid = given(value),
            b"gid" => records.gid = given(value),
            b"mtime" => records.times[0] = given(value),
            b"atime" => records.times[1] = given(value),
            b"ctime" => records.times[2] = given(value),
            _ => {}
        }
    }
    records.is_sparse = version || has_map;
    Some(records)
}

/// An empty value keeps what the header says.
fn given(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

/// A number as `strconv.ParseInt` takes it in base 10.
fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"+").or(text.strip_prefix(b"-")).unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn time(value: &[u8]) -> Option<()> {
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    integer(parts.next()?)?;
    parts.next().is_none_or(|rest| rest.iter().all(u8::is_ascii_digit)).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let rows: [(&[u8], Option<i64>); 12] = [
            (b"0000644\0", Some(0o644)),
            (b"  12 \0\0", Some(10)),
            (b"\0\0\0\0", Some(0)),
            (b"    ", Some(0)),
            (b"12\x0034", Some(10)),
            (b"8", None),
            (b"-1", None),
            (b"\x80\0\0\0\0\0\0\0\0\0\x02\0", Some(512)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ];
        for (field, want) in rows {
            assert_eq!(numeric(field), want, "{field:?}");
        }
    }

    #[test]
    fn pax_records() {
        // Whether Go reads them, whether it reads a member behind them, and the size.
        type Size = Option<i64>;
        let rows: [(&[u8], Option<Option<Size>>); 16] = [
            (b"", Some(Some(None))),
            (b"10 size=3\n", Some(Some(Some(3)))),
            (b"11 size=+3\n", Some(Some(Some(3)))),
            (b"11 size=-1\n", Some(Some(Some(-1)))),
            (b"010 size=3\n", None),
            (b"011 size=3\n", Some(Some(Some(3)))),
            (b"10 size=x\n", Some(None)),
            (b"10 size=x\n10 size=3\n", Some(Some(Some(3)))),
            (b"10 size=3\n8 size=\n", Some(Some(None))),
            (b"10 size=3\n9 size=\n", None),
            (b"10 size=3\n\0", None),
            (b"11 path=a\0\n", None),
            (b"6 =ab\n", None),
            (b"11 mtime=1\n", Some(Some(None))),
            (b"13 mtime=1.x\n", Some(None)),
            (b"9 uid=ab\n", Some(None)),
        ];
        for (body, want) in rows {
            let got = records(body).map(|records| records.size());
            assert_eq!(got, want, "{:?}", String::from_utf8_lossy(body));
        }
        let sparse = records(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n");
        assert!(sparse.is_some_and(|records| records.is_sparse));
    }
}
