//! The body of a pax extended header.

use crate::error::{Code, Error, Result};

/// The records of one pax header that change the member behind it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link_path: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
}

/// Parses the body of an `x` header.
///
/// Canonical records only: a decimal length without sign, blank or leading
/// zero, one `=`, a final newline, nothing behind the last record. Readers
/// differ on everything else, and on which of two equal keys counts.
pub(crate) fn parse(body: &[u8]) -> Result<Records> {
    let mut records = Records::default();
    each(body, |key, value| match key {
        b"path" => set(&mut records.path, name(value)?),
        b"linkpath" => set(&mut records.link_path, name(value)?),
        b"size" => set(&mut records.size, decimal(value).ok_or_else(|| bad_number("size"))?),
        // star's and Solaris' keys change the content to libarchive alone.
        _ if key.starts_with(b"GNU.sparse.")
            || matches!(key, b"SCHILY.realsize" | b"SUN.holesdata") =>
        {
            Err(Error::new(Code::TarSparse, "a sparse member"))
        }
        _ if key.starts_with(b"GNU.volume.") || key == b"GNU.dumpdir" => {
            Err(malformed("a pax record of a multi-volume or incremental archive"))
        }
        b"hdrcharset" if value != b"ISO-IR 10646 2000 UTF-8" => {
            Err(malformed("names in a character set other than UTF-8"))
        }
        _ => check_harmless(key, value),
    })?;
    Ok(records)
}

/// Checks records that change nothing ocitar reads, because a value that does
/// not parse makes one reader give up and another go on.
fn check_harmless(key: &[u8], value: &[u8]) -> Result<()> {
    match key {
        b"uid" | b"gid" if decimal(value).is_none() => Err(bad_number("owner")),
        b"mtime" | b"atime" | b"ctime" if !is_time(value) => Err(bad_number("time")),
        b"uname" | b"gname" if value.contains(&0) => Err(malformed("a NUL in a pax owner")),
        _ => Ok(()),
    }
}

/// Checks the body of a `g` header: Go ignores its records, GNU tar and Python
/// apply them, so it may only hold what changes no member.
pub(crate) fn check_global(body: &[u8]) -> Result<()> {
    each(body, |key, value| match key {
        b"comment" | b"mtime" | b"atime" | b"ctime" | b"uname" | b"gname" | b"uid" | b"gid" => {
            check_harmless(key, value)
        }
        _ => Err(Error::new(
            Code::TarPaxGlobal,
            format!("a global pax header sets {:?}", String::from_utf8_lossy(key)),
        )),
    })
}

fn each(mut body: &[u8], mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
    let mut is_broken = false;
    while !body.is_empty() {
        let (record, rest) =
            split_record(body).ok_or_else(|| malformed("a malformed pax record"))?;
        let equals = record.iter().position(|b| *b == b'=').filter(|at| *at > 0);
        let equals = equals.ok_or_else(|| malformed("a pax record without a key"))?;
        let key = &record[..equals];
        // GNU tar skips blanks before a key, Go has them in it; Go refuses a
        // NUL in a key, others end it there.
        if key[0] == b' ' || key.iter().any(u8::is_ascii_control) {
            return Err(malformed("a blank before a pax key, or a control character in it"));
        }
        let value = &record[equals + 1..];
        is_broken |= check_lines(key, value)?;
        if is_broken && matches!(key, b"path" | b"linkpath" | b"size") {
            return Err(malformed("a pax name or size behind a value of several lines"));
        }
        visit(key, value)?;
        body = rest;
    }
    Ok(())
}

/// Whether a value has several lines. The `tar` crate takes every line for a
/// record and the first that is none for the end, so such a value could add
/// records or hide those behind it. Attributes hold any bytes, macOS writes them
/// last; nothing else has a reason.
fn check_lines(key: &[u8], value: &[u8]) -> Result<bool> {
    let mut more = value.split(|b| *b == b'\n').skip(1).peekable();
    let is_broken = more.peek().is_some();
    let may_break = key.starts_with(b"SCHILY.xattr.");
    if is_broken && (!may_break || more.any(|line| line.first().is_some_and(u8::is_ascii_digit))) {
        return Err(malformed("a line in a pax value that readers may take for a record"));
    }
    Ok(is_broken)
}

/// Splits `LENGTH key=value\n` off the front: the part behind the blank,
/// without its newline, and what follows.
fn split_record(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = body.iter().take(8).position(|b| *b == b' ')?;
    let digits = &body[..blank];
    if digits.first() == Some(&b'0') {
        return None;
    }
    let len = usize::try_from(decimal(digits)?).ok()?;
    let record = body.get(..len)?.get(blank + 1..)?;
    let record = record.strip_suffix(b"\n")?;
    Some((record, &body[len..]))
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(Error::new(Code::TarExtConflict, "one key twice in a pax header"));
    }
    Ok(())
}

fn name(value: &[u8]) -> Result<Vec<u8>> {
    if value.is_empty() || value.contains(&0) {
        return Err(Error::new(Code::TarName, "an empty name, or a NUL in it, in a pax header"));
    }
    Ok(value.to_vec())
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (value <= i64::MAX as u64).then_some(value)
}

fn is_time(value: &[u8]) -> bool {
    let value = value.strip_prefix(b"-").unwrap_or(value);
    let mut parts = value.split(|b| *b == b'.');
    let whole = parts.next().is_some_and(|p| decimal(p).is_some());
    let fraction = parts.next().is_none_or(|p| p.iter().all(u8::is_ascii_digit));
    whole && fraction && parts.next().is_none()
}

fn bad_number(field: &str) -> Error {
    malformed(&format!("a pax {field} that is not a plain number"))
}

fn malformed(message: &str) -> Error {
    Error::new(Code::TarPaxSyntax, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_all_readers_read_alike() {
        let rows: &[(&[u8], Result<Records, Code>)] = &[
            (b"", Ok(Records::default())),
            (b"10 path=a\n", Ok(Records { path: Some(b"a".to_vec()), ..Records::default() })),
            (b"12 size=123\n", Ok(Records { size: Some(123), ..Records::default() })),
            (b"20 mtime=1672560000\n", Ok(Records::default())),
            (b"21 mtime=1672560000.\n", Ok(Records::default())),
            (b"26 SCHILY.xattr.user.a=bc\n", Ok(Records::default())),
            (b"9 a=b=c=\n", Ok(Records::default())),
            (b"12 a=b=c=\n\n\n", Err(Code::TarPaxSyntax)),
            (b"10 path=a\n10 path=b\n", Err(Code::TarExtConflict)),
            (b"12 size=123\n10 size=1\n", Err(Code::TarExtConflict)),
            (b"99 path=a\n", Err(Code::TarPaxSyntax)),
            (b"10 path=ab", Err(Code::TarPaxSyntax)),
            (b"010 path=a\n", Err(Code::TarPaxSyntax)),
            (b" 10 path=a\n", Err(Code::TarPaxSyntax)),
            (b"10 path=a\n\0\0", Err(Code::TarPaxSyntax)),
            (b"13 size=+123\n", Err(Code::TarPaxSyntax)),
            (b"11 size=-1\n", Err(Code::TarPaxSyntax)),
            (b"29 size=18446744073709551616\n", Err(Code::TarPaxSyntax)),
            (b"9 path=\n", Err(Code::TarPaxSyntax)),
            (b"8 path=\n", Err(Code::TarName)),
            (b"12 path=a\0b\n", Err(Code::TarName)),
            (b"22 GNU.sparse.major=1\n", Err(Code::TarSparse)),
            (b"21 SCHILY.realsize=1\n", Err(Code::TarSparse)),
            (b"22 SUN.holesdata= 0 1\n", Err(Code::TarSparse)),
            (b"23 GNU.volume.offset=1\n", Err(Code::TarPaxSyntax)),
            (b"11  path=a\n", Err(Code::TarPaxSyntax)),
            (b"11 \tpath=a\n", Err(Code::TarPaxSyntax)),
            (b"11 pa\0th=a\n", Err(Code::TarPaxSyntax)),
            (b"13 uname=a\0b\n", Err(Code::TarPaxSyntax)),
            (b"7 uid=\n", Err(Code::TarPaxSyntax)),
            (b"15 comment=a\nb\n", Err(Code::TarPaxSyntax)),
            (b"27 SCHILY.xattr.user.a=b\nc\n", Ok(Records::default())),
            (b"34 SCHILY.xattr.user.a=\n10 size=1\n", Err(Code::TarPaxSyntax)),
            (b"27 SCHILY.xattr.user.a=b\nc\n10 path=a\n", Err(Code::TarPaxSyntax)),
            (b"9 mtime=\n", Err(Code::TarPaxSyntax)),
            (b"6 =ab\n", Err(Code::TarPaxSyntax)),
        ];
        for (body, want) in rows {
            let got = parse(body).map_err(|e| e.code());
            assert_eq!(&got, want, "{:?}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn global_headers_may_not_change_members() {
        let rows: &[(&[u8], bool)] = &[
            (b"13 comment=x\n", true),
            (b"10 path=a\n", false),
            (b"10 size=1\n", false),
            (b"9 uid=ab\n", false),
            (b"9 mtime=\n", false),
        ];
        for (body, accepted) in rows {
            assert_eq!(check_global(body).is_ok(), *accepted);
        }
    }
}
