//! Header blocks to members: the strict reading of an outer tar.
//!
//! What is accepted here has one reading in Go's `archive/tar`, GNU tar,
//! libarchive and Python alike. A structural doubt ends the scan with an error;
//! what does not shift the positions of later members becomes a finding and
//! the scan goes on.

use std::borrow::Cow;

use crate::diagnostics::Diagnostics;
use crate::error::{Code, Error, Place, Result};
use crate::limits::{Limit, Limits};
use crate::tarball::header::{BLOCK, BLOCK_LEN, Header, padded};
use crate::tarball::pax;
use crate::tarball::{End, Kind, Marker, Member};

/// What a scan reads from: any offset of a file, or only forward in a stream.
/// The scan asks for ascending offsets only.
pub(crate) trait Input {
    /// Fills as much of `buffer` as there is at `offset`; less only at the end.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize>;

    /// The length of the input in bytes, once it is known.
    fn known_len(&self) -> Option<u64>;
}

/// Walks the headers of a tar.
#[derive(Debug)]
pub(crate) struct Scanner<'l> {
    limits: &'l Limits,
    /// Where the next header is.
    offset: u64,
    members: u32,
    globals: u32,
    /// Where a global header is that no member has come after.
    global: Option<u64>,
    /// Bytes of names so far.
    names: u64,
}

/// Extended headers waiting for their member.
#[derive(Default)]
struct Pending {
    start: Option<u64>,
    pax: Option<pax::Records>,
    has_pax: bool,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    bytes: u64,
}

/// One step of the scan.
pub(crate) enum Step {
    Member(Member),
    End(End),
}

/// Refuses what is no member to all readers. First of all, because what stands
/// where in a header depends on it.
fn check_type(flag: u8) -> Result<()> {
    match flag {
        b'0'..=b'6' | 0 | b'x' | b'g' | b'L' | b'K' => Ok(()),
        b'S' => Err(Error::new(Code::TarSparse, "a sparse member")),
        other => {
            let flag = char::from(other).escape_default();
            let message = format!("member type '{flag}', which readers treat differently");
            Err(Error::new(Code::TarType, message))
        }
    }
}

impl<'l> Scanner<'l> {
    pub(crate) fn new(limits: &'l Limits) -> Self {
        Scanner { limits, offset: 0, members: 0, globals: 0, global: None, names: 0 }
    }

    /// Reads on to the next member, or to the end of the archive.
    pub(crate) fn step(
        &mut self,
        input: &mut dyn Input,
        findings: &mut Diagnostics,
    ) -> Result<Step> {
        let mut pending = Pending::default();
        loop {
            let at = self.offset;
            let mut block = [0; BLOCK_LEN];
            let got = input.read_at(at, &mut block)?;
            if got < BLOCK_LEN {
                return self.end_without_marker(input, &pending, &block[..got]).map(Step::End);
            }
            if block == [0; BLOCK_LEN] {
                return self.end(input, &pending).map(Step::End);
            }
            let header = Header::new(&block).map_err(|e| self.not_a_header(e, at, &block))?;
            let place = Place { index: Some(self.members), ..Place::offset(at) };
            let step = self.one(&header, input, &mut pending, findings);
            if let Some(member) = step.map_err(|e| e.at(place))? {
                return Ok(Step::Member(member));
            }
        }
    }

    /// Takes one header: an extended header is added to `pending`, anything
    /// else completes a member.
    fn one(
        &mut self,
        header: &Header<'_>,
        input: &mut dyn Input,
        pending: &mut Pending,
        findings: &mut Diagnostics,
    ) -> Result<Option<Member>> {
        let at = self.offset;
        check_type(header.type_flag())?;
        header.check_name()?;
        header.check_numbers()?;
        let size = header.size()?;
        let body = at.checked_add(BLOCK).ok_or_else(truncated)?;
        match header.type_flag() {
            b'x' | b'g' | b'L' | b'K' => {
                if !header.may_extend() {
                    let message = "an extended header under a magic that has none for some readers";
                    return Err(Error::new(Code::TarMagic, message));
                }
                self.extended(header.type_flag(), body, size, input, pending)?;
                Ok(None)
            }
            flag => {
                if self.members >= self.limits.members {
                    return Err(self.limits.exceeded(Limit::Members));
                }
                let member = self.member(header, flag, body, size, pending, findings)?;
                let end = padded(member.size).and_then(|size| body.checked_add(size));
                let end = end.ok_or_else(truncated)?;
                if let Some(len) = input.known_len().filter(|len| *len < end) {
                    return Err(cut(&member, len));
                }
                self.members += 1;
                self.global = None;
                self.offset = end;
                Ok(Some(member))
            }
        }
    }

    fn extended(
        &mut self,
        flag: u8,
        body: u64,
        size: u64,
        input: &mut dyn Input,
        pending: &mut Pending,
    ) -> Result<()> {
        pending.bytes = pending.bytes.saturating_add(size);
        if pending.bytes > self.limits.tar_metadata {
            return Err(self.limits.exceeded(Limit::TarMetadata));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        if input.read_at(body, &mut bytes)? < bytes.len() {
            return Err(truncated());
        }
        self.offset = padded(size).and_then(|size| body.checked_add(size)).ok_or_else(truncated)?;
        if flag == b'g' {
            self.globals += 1;
            if self.globals > self.limits.tar_globals {
                return Err(self.limits.exceeded(Limit::TarGlobals));
            }
            // A member's own headers must stand right before it.
            if pending.start.is_some() {
                return Err(conflict("a global pax header between a member and its headers"));
            }
            self.global = Some(body - BLOCK);
            return pax::check_global(&bytes);
        }
        pending.start.get_or_insert(body - BLOCK);
        let twice = match flag {
            b'x' => {
                pending.pax = Some(pax::parse(&bytes)?);
                std::mem::replace(&mut pending.has_pax, true)
            }
            b'L' => pending.long_name.replace(long_name(bytes)?).is_some(),
            _ => pending.long_link.replace(long_name(bytes)?).is_some(),
        };
        if twice {
            return Err(conflict("two extended headers of one kind before a member"));
        }
        Ok(())
    }

    fn member(
        &mut self,
        header: &Header<'_>,
        flag: u8,
        body: u64,
        size: u64,
        pending: &mut Pending,
        findings: &mut Diagnostics,
    ) -> Result<Member> {
        let pax = pending.pax.take().unwrap_or_default();
        let gnu = pending.long_name.is_some() || pending.long_link.is_some();
        let renames = pax.path.is_some() || pax.link_path.is_some() || pax.size.is_some();
        if gnu && renames {
            return Err(conflict("a pax header and a GNU long name for one member"));
        }
        let size = match pax.size {
            None => size,
            Some(stated) if stated == size || (stated >= 8 << 30 && size == 0) => stated,
            Some(stated) => {
                return Err(
                    conflict("the pax size is not the header's size").expected_found(size, stated)
                );
            }
        };
        let raw = pending.long_name.take().or(pax.path);
        let raw = raw.map_or_else(|| header.name(), Cow::Owned);
        let link = pending.long_link.take().or(pax.link_path);
        self.count_names(raw.len(), link.as_ref().map_or(0, Vec::len))?;
        let is_dir_name = raw.last() == Some(&b'/');
        // Before there were types the name told a directory. Go asks the name
        // that counts in the end, Python the one in the header.
        if flag == 0 && is_dir_name != (header.name().last() == Some(&b'/')) {
            return Err(Error::new(Code::TarType, "a directory by one of its names only"));
        }
        let kind = match flag {
            b'0' | b'1' | b'2' | b'3' | b'4' | b'6' if is_dir_name => {
                let message = "a member named like a directory that is none";
                return Err(Error::new(Code::TarName, message));
            }
            0 if is_dir_name && size > 0 => {
                return Err(Error::new(Code::TarType, "a directory with data"));
            }
            0 if is_dir_name => Kind::Directory,
            b'0' | 0 => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' | b'4' | b'6' => Kind::Device,
            _ => Kind::Directory,
        };
        if header.is_v7() && !matches!(kind, Kind::File | Kind::Directory) {
            return Err(Error::new(Code::TarMagic, "a link or device without magic"));
        }
        if kind != Kind::File && size != 0 {
            return Err(Error::new(
                Code::TarHdrOnlySize,
                "a member kind without data states a size",
            )
            .expected_found(0, size));
        }
        let start = pending.start.unwrap_or(self.offset);
        let index = self.members;
        let place = |name: &str| Place::member(index, name, start);
        let name = match self.checked_name(&raw) {
            Ok(name) if name == "." && kind != Kind::Directory => {
                let message = "the root of the archive is no directory";
                findings.fatal(Error::new(Code::TarName, message).at(place(&name)));
                name
            }
            Ok(name) => name,
            Err(message) => {
                let shown = String::from_utf8_lossy(&raw).into_owned();
                findings.fatal(Error::new(Code::TarName, message).at(place(&shown)));
                shown
            }
        };
        if name.starts_with('/') {
            let message =
                "an absolute name: docker strips it, containerd and crane look for it as it is";
            findings.warning(Error::new(Code::TarAbsolute, message).at(place(&name)));
        }
        if kind == Kind::Device {
            let message = "a device or fifo: every consumer of image archives ignores it";
            findings.note(Error::new(Code::TarOdd, message).at(place(&name)));
        }
        let link = match kind {
            Kind::HardLink | Kind::Symlink => {
                let raw = link.unwrap_or_else(|| header.link_name());
                let link = String::from_utf8(raw)
                    .map_err(|_| Error::new(Code::TarName, "a link target that is not UTF-8"))?;
                if link.is_empty() {
                    return Err(Error::new(Code::TarLink, "a link without a target"));
                }
                Some(link.into_boxed_str())
            }
            // GNU tar writes no `K` here; readers that see one show a link.
            _ if link.is_some() => {
                return Err(conflict("a link target on a member that is no link"));
            }
            _ => None,
        };
        Ok(Member {
            name: name.into_boxed_str(),
            link,
            kind,
            index,
            start,
            header: self.offset,
            body,
            size,
            pax_size: pax.size.is_some(),
        })
    }

    /// Names are what a member costs in memory.
    fn count_names(&mut self, name: usize, link: usize) -> Result<()> {
        self.names = self.names.saturating_add((name + link) as u64);
        if name.max(link) > self.limits.member_name {
            return Err(self.limits.exceeded(Limit::MemberName));
        }
        if self.names > self.limits.member_names {
            return Err(self.limits.exceeded(Limit::MemberNames));
        }
        Ok(())
    }

    /// A name as every reader would look it up: UTF-8, one leading `./` and a
    /// directory's trailing `/` gone, no component that is empty, `.` or `..`.
    fn checked_name(&self, raw: &[u8]) -> Result<String, &'static str> {
        let name = std::str::from_utf8(raw).map_err(|_| "a name that is not UTF-8")?;
        if name.is_empty() {
            return Err("an empty name");
        }
        let is_odd = if name.is_ascii() {
            // Every byte, without a way out: that is done many at a time.
            name.bytes().fold(false, |odd, byte| odd | byte.is_ascii_control() | (byte == b'\\'))
        } else {
            name.contains(|c: char| c.is_control() || c == '\\')
        };
        if is_odd {
            return Err("a control character or backslash in a name");
        }
        if matches!(name, "." | "./") {
            return Ok(".".to_owned());
        }
        let is_relative = name.starts_with("./");
        let name = name.strip_prefix("./").unwrap_or(name);
        let name = name.strip_suffix('/').unwrap_or(name);
        let inside = name.strip_prefix('/').filter(|_| !is_relative).unwrap_or(name);
        let mut has_empty = false;
        for part in inside.as_bytes().split(|byte| *byte == b'/') {
            match part {
                b".." => return Err("a name that leaves the archive"),
                b"" | b"." => has_empty = true,
                _ => {}
            }
        }
        if has_empty {
            return Err("an empty or '.' component in a name");
        }
        Ok(name.to_owned())
    }

    /// The end at a zero block.
    fn end(&mut self, input: &mut dyn Input, pending: &Pending) -> Result<End> {
        let at = self.offset;
        self.no_dangling(pending)?;
        let mut block = [0xff; BLOCK_LEN];
        let got = input.read_at(at + BLOCK, &mut block)?;
        if block[..got].iter().any(|b| *b != 0) {
            return Err(Error::new(
                Code::TarEof,
                "one zero block, then more: Go refuses it, others go on or stop",
            )
            .at(Place::offset(at)));
        }
        let marker = if got == BLOCK_LEN { Marker::Full } else { Marker::Half };
        Ok(End { offset: at, marker, padding: at + BLOCK + got as u64 })
    }

    /// The end where bytes run out before any zero block.
    fn end_without_marker(
        &mut self,
        input: &mut dyn Input,
        pending: &Pending,
        rest: &[u8],
    ) -> Result<End> {
        let at = self.offset;
        if input.known_len().is_some_and(|len| len < at) {
            return Err(truncated().at(Place::offset(at)));
        }
        self.no_dangling(pending)?;
        if rest.iter().any(|b| *b != 0) {
            return Err(self.not_a_header(truncated(), at, rest));
        }
        let marker = if rest.is_empty() { Marker::Missing } else { Marker::Half };
        Ok(End { offset: at, marker, padding: at + rest.len() as u64 })
    }

    fn no_dangling(&self, pending: &Pending) -> Result<()> {
        // Python fails on either, the others say nothing or warn.
        match pending.start.or(self.global) {
            None => Ok(()),
            Some(start) => {
                Err(Error::new(Code::TarExtDangling, "an extended header without a member")
                    .at(Place::offset(start)))
            }
        }
    }

    /// What bytes that are no header mean depends on where they stand: at the
    /// start the file is no tar, unless it has a tar's magic, and further on it
    /// is damaged.
    fn not_a_header(&self, error: Error, at: u64, bytes: &[u8]) -> Error {
        let has_magic = bytes.get(257..262) == Some(b"ustar");
        if at == 0 && !has_magic && error.code() != Code::TarMagic {
            return Error::new(Code::Format, "not a tar archive").hint(
                "image archives are tar files, plain or compressed with gzip, zstd, xz or bzip2",
            );
        }
        error.at(Place { index: Some(self.members), ..Place::offset(at) })
    }
}

/// Of a member that goes on behind the end of the file.
pub(super) fn cut(member: &Member, len: u64) -> Error {
    let missing = member.end().saturating_sub(len);
    let message = format!("the file ends inside this member, {missing} bytes are missing");
    Error::new(Code::TarTruncated, message).at(Place::member(
        member.index,
        &*member.name,
        member.start,
    ))
}

fn truncated() -> Error {
    Error::new(Code::TarTruncated, "the file ends inside a member")
}

fn conflict(message: &str) -> Error {
    Error::new(Code::TarExtConflict, message)
}

/// A GNU long name: bytes, then NULs to the end.
fn long_name(mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    if end == 0 || bytes[end..].iter().any(|b| *b != 0) {
        return Err(Error::new(Code::TarName, "an empty GNU long name, or bytes behind its NUL"));
    }
    bytes.truncate(end);
    Ok(bytes)
}
