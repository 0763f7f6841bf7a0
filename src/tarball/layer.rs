//! The tar inside a layer, as Go reads it.
//!
//! Every daemon unpacks layers with Go's `archive/tar`. Where that gives up the
//! layer cannot be unpacked anywhere that matters. Where other readers would
//! see something else than Go there is a doubt worth knowing about; but layers
//! are not refused for it, as outer tars are ([`tarball`](crate::tarball)): what is in
//! them is the business of whoever runs the image.
//!
//! Layers go by once, in pieces of any size, and nothing of them is kept but
//! the header that is being read. The maps of sparse members are passed over,
//! not checked.

use crate::error::{Code, Error, Place};
use crate::tarball::go::{self, Format, Records};
use crate::tarball::header::{BLOCK_LEN, Header, padded};
use crate::tarball::pax;

/// What Go reads of one extended header at most.
const MAX_EXTENDED: u64 = 1 << 20;

/// A member of a layer, as Go's `Reader.Next` gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerMember {
    /// The name, as it stands there.
    pub name: Vec<u8>,
    /// The type flag; `0` for a file that has none, `5` for a directory.
    pub flag: u8,
    /// Bytes of the content as they stand in the layer, without holes.
    pub size: u64,
}

/// What reading a layer came to.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LayerReport {
    /// How many members there are, not counting extended headers.
    pub members: u64,
    /// Why Go cannot read it.
    pub failure: Option<Error>,
    /// What other readers take differently, the first of each kind. Places are
    /// offsets in the uncompressed layer.
    pub doubts: Vec<Error>,
}

/// Reads a layer that goes by.
#[derive(Debug)]
pub struct LayerScan {
    /// Where in the layer the header or body starts that is being read.
    at: u64,
    state: State,
    /// What has come of it.
    held: Vec<u8>,
    pending: Pending,
    report: LayerReport,
}

/// What is being read.
#[derive(Clone, Debug)]
enum State {
    Header,
    /// The body of an extended header of this many bytes, and its type.
    Extended(u64, u8),
    /// More of the map of a sparse member, whose content comes behind it.
    SparseMap(u64),
    /// Content, then padding.
    Content(u64, u64),
    /// After one block of zeros: another, or the end.
    Zero,
    /// Nothing that counts.
    End,
}

/// What extended headers say about the member behind them.
#[derive(Debug, Default)]
struct Pending {
    pax: Option<Records>,
    long_name: Option<Vec<u8>>,
    has_long_link: bool,
}

impl Default for LayerScan {
    fn default() -> Self {
        LayerScan::new()
    }
}

impl LayerScan {
    /// A layer of which nothing has come yet.
    #[must_use]
    pub fn new() -> LayerScan {
        LayerScan {
            at: 0,
            state: State::Header,
            held: Vec::new(),
            pending: Pending::default(),
            report: LayerReport::default(),
        }
    }

    /// Takes the next bytes of the layer and shows every member it comes to.
    pub fn push(&mut self, mut bytes: &[u8], visit: &mut dyn FnMut(&LayerMember)) {
        while !bytes.is_empty() {
            let wanted = match &mut self.state {
                State::End => return,
                State::Content(content, padding) => {
                    let left = *content + *padding;
                    let take = left.min(bytes.len() as u64);
                    let of_content = take.min(*content);
                    *content -= of_content;
                    *padding -= take - of_content;
                    if take == left {
                        self.state = State::Header;
                    }
                    self.at += take;
                    bytes = &bytes[usize::try_from(take).unwrap_or(bytes.len())..];
                    continue;
                }
                State::Extended(size, _) => {
                    usize::try_from(padded(*size).unwrap_or(*size)).unwrap_or(usize::MAX)
                }
                State::Header | State::SparseMap(_) | State::Zero => BLOCK_LEN,
            };
            // What is whole is read where it lies.
            if self.held.is_empty() && bytes.len() >= wanted {
                let (now, rest) = bytes.split_at(wanted);
                self.take(now, visit);
                bytes = rest;
                continue;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(wanted - self.held.len()));
            self.held.extend_from_slice(now);
            bytes = rest;
            if self.held.len() == wanted {
                let held = std::mem::take(&mut self.held);
                self.take(&held, visit);
                // Its memory serves the next one.
                self.held = held;
                self.held.clear();
            }
        }
    }

    /// The layer ends here.
    #[must_use]
    pub fn finish(mut self) -> LayerReport {
        let held = std::mem::take(&mut self.held);
        let is_cut = match self.state.clone() {
            State::Header | State::Zero => !held.is_empty(),
            // Go misses no padding at the end.
            State::Extended(size, flag) => {
                let body = usize::try_from(size).ok().and_then(|size| held.get(..size));
                body.map(|body| self.extended(body, flag)).is_none()
            }
            State::Content(content, _) => content > 0,
            State::SparseMap(_) => true,
            State::End => false,
        };
        if is_cut {
            self.fail("it ends inside a member");
        } else if self.pending.is_some() {
            self.doubt(Code::LayerOdd, b"", "an extended header without a member");
        }
        self.report
    }

    /// Reads a header or a body that is whole.
    fn take(&mut self, bytes: &[u8], visit: &mut dyn FnMut(&LayerMember)) {
        match self.state.clone() {
            State::Header => self.header(bytes, visit),
            State::Extended(size, flag) => {
                self.state = State::Header;
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                self.extended(bytes.get(..size).unwrap_or(bytes), flag);
            }
            State::SparseMap(content) if bytes.get(504).is_none_or(|more| *more == 0) => {
                self.content(content);
            }
            State::Zero if bytes.iter().all(|byte| *byte == 0) => self.state = State::End,
            State::Zero => self.fail("a block of zeros between members"),
            State::SparseMap(_) | State::Content(..) | State::End => {}
        }
        self.at += bytes.len() as u64;
    }

    fn header(&mut self, bytes: &[u8], visit: &mut dyn FnMut(&LayerMember)) {
        let Ok(block) = <&[u8; BLOCK_LEN]>::try_from(bytes) else { return };
        if block == &[0; BLOCK_LEN] {
            self.state = State::Zero;
            return;
        }
        let Some(format) = Format::of(block) else {
            let is_packed = self.at == 0 && matches!(block, [0x1f, 0x8b, ..] | [0x28, 0xb5, ..]);
            return self.fail(match is_packed {
                true => "it is compressed twice",
                false => "no header, or one whose checksum is another",
            });
        };
        let Some(size) = format.size(block) else {
            return self.fail("a number in a header that is none");
        };
        let flag = block[156];
        if matches!(flag, b'x' | b'g' | b'L' | b'K') {
            self.check_strictly(block, b"");
            return match u64::try_from(size).ok().filter(|size| *size <= MAX_EXTENDED) {
                Some(0) => self.extended(&[], flag),
                Some(size) => self.state = State::Extended(size, flag),
                None => self.fail("an extended header of more than 1 MiB"),
            };
        }
        let pending = std::mem::take(&mut self.pending);
        let pax = pending.pax.unwrap_or_default();
        let Some(pax_size) = pax.size() else {
            return self.fail("a number in a pax header that is none");
        };
        if pending.long_name.is_some() && pax.renames() {
            self.doubt(Code::LayerOdd, b"", "a pax header and a GNU long name for one member");
        }
        let name = pending.long_name.or(pax.path).unwrap_or_else(|| format.name(block));
        self.check_strictly(block, &name);
        if pax_size.is_some_and(|stated| stated != size && !(size == 0 && stated >= 8 << 30)) {
            self.doubt(Code::LayerOdd, &name, "the pax size is not the header's");
        }
        let size = pax_size.unwrap_or(size);
        let flag = match flag {
            0 if name.last() == Some(&b'/') => b'5',
            0 => b'0',
            flag => flag,
        };
        // Go reads no content of these, whatever size they state.
        let has_content = !(b'1'..=b'6').contains(&flag);
        if !has_content && size != 0 {
            self.doubt(Code::LayerOdd, &name, "a member kind without data states a size");
        }
        let Some(content) = u64::try_from(size).ok().or((!has_content).then_some(0)) else {
            return self.fail("a member of less than no bytes");
        };
        let content = if has_content { content } else { 0 };
        self.check_name(&name);
        let is_map = flag == b'S';
        if is_map && !format.is_gnu() {
            return self.fail("a sparse member without GNU's magic");
        }
        if is_map || pax.is_sparse {
            self.doubt(Code::LayerSparse, &name, "a sparse member, whose holes readers fill");
        }
        self.report.members += 1;
        visit(&LayerMember { name, flag, size: content });
        match block[482] {
            1.. if is_map => self.state = State::SparseMap(content),
            _ => self.content(content),
        }
    }

    fn content(&mut self, content: u64) {
        self.state = match padded(content) {
            Some(0) => State::Header,
            Some(padded) => State::Content(content, padded - content),
            // More than there can be.
            None => State::Content(u64::MAX - 512, 0),
        };
    }

    fn extended(&mut self, body: &[u8], flag: u8) {
        let strict = match flag {
            b'x' => pax::parse(body).map(|_| ()),
            b'g' => pax::check_global(body),
            _ => Ok(()),
        };
        if let Err(error) = strict {
            let code = if error.code() == Code::TarSparse { None } else { Some(Code::LayerOdd) };
            code.into_iter().for_each(|code| self.doubt(code, b"", error.message()));
        }
        let records = match flag {
            b'x' | b'g' => go::records(body),
            _ => Some(Records::default()),
        };
        let Some(records) = records else {
            return self.fail("a pax header that is malformed");
        };
        let twice = match flag {
            b'x' => self.pending.pax.replace(records).is_some(),
            // Go shows a global header as a member, which takes the place of the
            // one that others wait for.
            b'g' => std::mem::take(&mut self.pending).is_some(),
            b'L' => self.pending.long_name.replace(go::text(body).to_vec()).is_some(),
            _ => std::mem::replace(&mut self.pending.has_long_link, true),
        };
        if twice {
            self.doubt(Code::LayerOdd, b"", "extended headers that get into each other's way");
        }
        if self.pending.long_name.as_ref().is_some_and(Vec::is_empty) {
            self.pending.long_name = None;
        }
    }

    /// What the strict profile of outer tars says of a header that Go reads.
    fn check_strictly(&mut self, block: &[u8; BLOCK_LEN], name: &[u8]) {
        let strict = Header::new(block).and_then(|header| {
            if header.type_flag() != b'S' {
                header.check_name()?;
            }
            header.check_numbers()?;
            header.size()
        });
        if let Err(error) = strict {
            self.doubt(Code::LayerOdd, name, error.message());
        }
    }

    fn check_name(&mut self, name: &[u8]) {
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let mut depth = 0_usize;
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." if depth == 0 => {
                    return self.doubt(Code::LayerPath, name, "a name that leads out of the layer");
                }
                b".." => depth -= 1,
                _ => depth += 1,
            }
        }
        let base = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if matches!(base, b".wh." | b".wh.." | b".wh...") {
            self.doubt(Code::LayerWhiteout, name, "a whiteout of nothing, of `.` or of `..`");
        }
    }

    fn fail(&mut self, message: &str) {
        let error = Error::new(Code::LayerTar, format!("no tar that Go could read: {message}"));
        let error = error.at(Place::offset(self.at));
        self.report.failure.get_or_insert(error);
        self.state = State::End;
    }

    /// Notes what makes readers differ, once for each kind.
    fn doubt(&mut self, code: Code, name: &[u8], message: &str) {
        if self.report.doubts.iter().any(|doubt| doubt.code() == code) {
            return;
        }
        let message = match name {
            [] => message.to_owned(),
            name => format!("{}: {message}", String::from_utf8_lossy(name)),
        };
        self.report.doubts.push(Error::new(code, message).at(Place::offset(self.at)));
    }
}

impl Pending {
    fn is_some(&self) -> bool {
        self.pax.is_some() || self.long_name.is_some() || self.has_long_link
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, size: u64, flag: u8) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.as_old_mut().linkflag = [flag];
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    fn body(text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    /// Names and sizes, whether it fails, and the codes of doubts.
    fn read(bytes: &[u8], piece: usize) -> (Vec<(String, u64)>, bool, Vec<Code>) {
        let mut scan = LayerScan::new();
        let mut members = Vec::new();
        for piece in bytes.chunks(piece) {
            scan.push(piece, &mut |member| {
                members.push((String::from_utf8_lossy(&member.name).into_owned(), member.size));
            });
        }
        let report = scan.finish();
        assert_eq!(report.members, members.len() as u64);
        let doubts = report.doubts.iter().map(Error::code).collect();
        (members, report.failure.is_some(), doubts)
    }

    #[test]
    fn layers() {
        let file =
            |name: &str, text: &str| [header(name, text.len() as u64, b'0'), body(text)].concat();
        let end = vec![0; 1024];
        let pax = |text: &str| [header("pax", text.len() as u64, b'x'), body(text)].concat();
        let long = [header("long", 7, b'L'), body("by/long")].concat();
        let link = header("lnk", 2048, b'2');
        type Want = (&'static [(&'static str, u64)], bool, &'static [Code]);
        let rows: Vec<(&str, Vec<u8>, Want)> = vec![
            ("nothing", vec![], (&[], false, &[])),
            ("zeros", end.clone(), (&[], false, &[])),
            ("a file", [file("a", "text"), end.clone()].concat(), (&[("a", 4)], false, &[])),
            ("no end", file("a", "text"), (&[("a", 4)], false, &[])),
            ("no padding", file("a", "text")[..516].to_vec(), (&[("a", 4)], false, &[])),
            ("cut", file("a", "text")[..515].to_vec(), (&[("a", 4)], true, &[])),
            ("half a header", file("a", "text")[..100].to_vec(), (&[], true, &[])),
            ("no tar", b"x".repeat(2000), (&[], true, &[])),
            ("compressed twice", [&[0x1f, 0x8b][..], &[8; 600]].concat(), (&[], true, &[])),
            (
                "zeros between",
                [file("a", ""), vec![0; 512], file("b", "")].concat(),
                (&[("a", 0)], true, &[]),
            ),
            (
                "a link with data is none",
                [link, file("inner", "x")].concat(),
                (&[("lnk", 0), ("inner", 1)], false, &[Code::LayerOdd]),
            ),
            (
                "names",
                [pax("15 path=by/pax\n"), file("a", "x"), long, file("b", "y")].concat(),
                (&[("by/pax", 1), ("by/long", 1)], false, &[]),
            ),
            (
                "another size",
                [pax("10 size=3\n"), file("a", "x")].concat(),
                (&[("a", 3)], false, &[Code::LayerOdd]),
            ),
            (
                "ways out",
                [file("a/../b", ""), file("../b", ""), file("c/.wh...", "")].concat(),
                (
                    &[("a/../b", 0), ("../b", 0), ("c/.wh...", 0)],
                    false,
                    &[Code::LayerPath, Code::LayerWhiteout],
                ),
            ),
            (
                "whiteouts",
                [file("a/.wh.b", ""), file("c/.wh..wh..opq", "")].concat(),
                (&[("a/.wh.b", 0), ("c/.wh..wh..opq", 0)], false, &[]),
            ),
            ("dangling", pax("10 path=a\n"), (&[], false, &[Code::LayerOdd])),
        ];
        for (what, bytes, (members, fails, doubts)) in rows {
            let members: Vec<(String, u64)> =
                members.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
            for piece in [1, 7, 512, 1000, 1 << 20] {
                let got = read(&bytes, piece);
                assert_eq!(got, (members.clone(), fails, doubts.to_vec()), "{what} by {piece}");
            }
        }
    }
}
