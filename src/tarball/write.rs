//! Headers for output: an edited copy of one that was read, or a new one.

use crate::error::{Code, Error, Result};
use crate::source::Source;
use crate::tarball::header::{BLOCK, BLOCK_LEN, padded};
use crate::tarball::{Kind, Member};

/// Bytes of the end-of-archive marker.
pub(crate) const END_MARKER: u64 = 2 * BLOCK;

/// The largest size the octal field holds; beyond it base-256 and pax are needed.
const MAX_OCTAL_SIZE: u64 = 0o77_777_777_777;

/// The checksum field of a header.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// The headers of `member` for a body of `size` bytes: byte for byte what they
/// were but for size and checksum.
///
/// Where the headers state the size in a pax record too, or the member was a
/// link, a plain header of the same name, mode, owner and time takes their
/// place.
pub(crate) fn resized(source: &Source, member: &Member, size: u64) -> Result<Vec<u8>> {
    let mut block = [0; BLOCK_LEN];
    source.read_exact_at(member.header, &mut block)?;
    let keeps_headers = member.kind == Kind::File && !member.pax_size && size <= MAX_OCTAL_SIZE;
    let mut headers = if keeps_headers {
        source.read_vec(member.start, member.header - member.start)?
    } else {
        Vec::new()
    };
    let mut header = tar::Header::from_byte_slice(&block).clone();
    if !keeps_headers {
        let old = header;
        header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        let bad =
            |e| Error::new(Code::TarNumeric, "a header field").caused_by(e).at(member.place());
        // A link's mode says nothing about the file it becomes.
        header.set_mode(if member.kind == Kind::File { old.mode().map_err(bad)? } else { 0o644 });
        header.set_uid(old.uid().map_err(bad)?);
        header.set_gid(old.gid().map_err(bad)?);
        header.set_mtime(old.mtime().map_err(bad)?);
        let records = set_name(&mut header, &member.name);
        put_records(&mut headers, &records);
    }
    header.set_size(size);
    header.set_cksum();
    if keeps_headers && block[CHECKSUM].ends_with(b"\0 ") {
        // Go and GNU tar write six digits, NUL and a space; the crate writes seven digits and NUL.
        let field = &mut header.as_old_mut().cksum;
        field.copy_within(1..7, 0);
        field[6..].copy_from_slice(b"\0 ");
    }
    headers.extend_from_slice(header.as_bytes());
    Ok(headers)
}

/// The canonical header of a regular file: owner 0, mode 0644, and a time in
/// seconds since 1970.
pub(crate) fn file_header(name: &str, size: u64, mtime: u64) -> Result<Vec<u8>> {
    canonical(name, tar::EntryType::Regular, 0o644, size, mtime)
}

/// The canonical header of a directory: owner 0, mode 0755, and a time in
/// seconds since 1970.
pub(crate) fn directory_header(name: &str, mtime: u64) -> Result<Vec<u8>> {
    canonical(&format!("{name}/"), tar::EntryType::Directory, 0o755, 0, mtime)
}

fn canonical(
    name: &str,
    kind: tar::EntryType,
    mode: u32,
    size: u64,
    mtime: u64,
) -> Result<Vec<u8>> {
    let mut headers = Vec::new();
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    header.set_size(size);
    let mut records = set_name(&mut header, name);
    if size > MAX_OCTAL_SIZE {
        // The header says it in base-256 and the record in digits: readers know
        // one or the other.
        records.extend(pax_record("size", &size.to_string()));
    }
    put_records(&mut headers, &records);
    header.set_cksum();
    headers.extend_from_slice(header.as_bytes());
    Ok(headers)
}

/// Sets a name of up to 100 bytes in the header; a longer one takes a pax
/// record, which is returned; never the prefix field, never GNU's `L`.
fn set_name(header: &mut tar::Header, name: &str) -> Vec<u8> {
    let is_long = name.len() > 100;
    let cut = if is_long {
        name.char_indices().map(|(i, _)| i).take_while(|i| *i <= 100).last().unwrap_or(0)
    } else {
        name.len()
    };
    header.as_old_mut().name[..cut].copy_from_slice(&name.as_bytes()[..cut]);
    if is_long { pax_record("path", name) } else { Vec::new() }
}

/// Writes a pax header with these records, if there are any.
fn put_records(before: &mut Vec<u8>, records: &[u8]) {
    if records.is_empty() {
        return;
    }
    let mut pax = tar::Header::new_ustar();
    pax.set_entry_type(tar::EntryType::XHeader);
    pax.set_mode(0o644);
    pax.as_old_mut().name[..9].copy_from_slice(b"PaxHeader");
    pax.set_size(records.len() as u64);
    pax.set_cksum();
    before.extend_from_slice(pax.as_bytes());
    before.extend_from_slice(records);
    before.resize(before.len() + padding(records.len() as u64), 0);
}

/// One pax record: its length counts its own digits.
fn pax_record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    format!("{len} {key}={value}\n").into_bytes()
}

/// Zero bytes behind a body of `size` bytes.
pub(crate) fn padding(size: u64) -> usize {
    let padded = padded(size).unwrap_or(size);
    usize::try_from(padded - size).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_records_count_themselves() {
        assert_eq!(pax_record("path", "a"), b"9 path=a\n");
        assert_eq!(pax_record("path", "ab"), b"11 path=ab\n");
        let long = "x".repeat(200);
        let record = pax_record("path", &long);
        assert_eq!(record.len().to_string().as_bytes(), &record[..3]);
    }
}
