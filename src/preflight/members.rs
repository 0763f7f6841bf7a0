//! The members of an archive as Go's `archive/tar` hands them to a daemon.
//!
//! [`TarIndex`](crate::tarball::TarIndex) is stricter: it cleans names, joins
//! equal ones and ends at what readers treat differently. A prediction needs
//! what it leaves out, so the headers are walked once more, without judging.

use std::borrow::Cow;

use crate::archive::Archive;
use crate::archive::store::Store;
use crate::limits::Limits;
use crate::source::Source;
use crate::tarball::header::{BLOCK, BLOCK_LEN, Header, padded};
use crate::tarball::pax;

/// One member, with its name as it stands in the archive.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: Box<str>,
    pub(super) link: Box<str>,
    pub(super) kind: Kind,
    pub(super) body: u64,
    pub(super) size: u64,
}

/// What a member's type flag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    /// Devices, fifos and global headers, which nobody looks at.
    Ignored,
    /// Type 7: a file to some readers, refused by others.
    Contiguous,
    /// Any other type.
    Unknown,
}

/// How reading ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With the end marker, or with the bytes.
    Clean,
    /// With this error of the reader.
    Broken(&'static str),
}

const CUT: End = End::Broken("unexpected EOF");
const NO_HEADER: End = End::Broken("archive/tar: invalid tar header");

/// The members of an archive and how it ends. The files of an OCI layout
/// directory are members of the tar that would be made of it.
pub(super) fn of(archive: &Archive) -> (Vec<Member>, End) {
    match &archive.store {
        Store::Tar(tar) => Walk::new(&tar.source, archive.limits()).run(),
        Store::Directory(_) => {
            let file = |name: &str, size| Member {
                name: name.into(),
                link: Box::default(),
                kind: Kind::File,
                body: 0,
                size,
            };
            let files = archive.store.entries().map(|entry| file(&entry.name, entry.span.len));
            (files.collect(), End::Clean)
        }
    }
}

struct Walk<'a> {
    source: &'a Source,
    limits: &'a Limits,
    members: Vec<Member>,
    offset: u64,
    pax: pax::Records,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<'a> Walk<'a> {
    fn new(source: &'a Source, limits: &'a Limits) -> Walk<'a> {
        Walk {
            source,
            limits,
            members: Vec::new(),
            offset: 0,
            pax: pax::Records::default(),
            long_name: None,
            long_link: None,
        }
    }

    fn run(mut self) -> (Vec<Member>, End) {
        let end = loop {
            if let Err(end) = self.header() {
                break end;
            }
        };
        (self.members, end)
    }

    fn block(&self, at: u64) -> Result<Option<[u8; BLOCK_LEN]>, End> {
        let mut block = [0; BLOCK_LEN];
        match self.source.read_some_at(at, &mut block) {
            Ok(0) => Ok(None),
            Ok(BLOCK_LEN) => Ok(Some(block)),
            _ => Err(CUT),
        }
    }

    /// Takes one header and what belongs to it.
    fn header(&mut self) -> Result<(), End> {
        let Some(block) = self.block(self.offset)? else { return Err(End::Clean) };
        if block == [0; BLOCK_LEN] {
            return Err(match self.block(self.offset + BLOCK)? {
                None | Some([0, ..]) if self.is_end()? => End::Clean,
                _ => NO_HEADER,
            });
        }
        let header = Header::new(&block).map_err(|_| NO_HEADER)?;
        let flag = header.type_flag();
        let stated = self.pax.size.take();
        let size = match header.size() {
            Ok(size) => stated.unwrap_or(size),
            Err(_) => return Err(NO_HEADER),
        };
        let has_body = !matches!(flag, b'1' | b'2' | b'3' | b'4' | b'5' | b'6');
        let size = if has_body { size } else { 0 };
        let body = self.offset + BLOCK;
        let end = padded(size).and_then(|size| body.checked_add(size)).ok_or(NO_HEADER)?;
        // The body of the last member may miss its padding.
        if body + size > self.source.len() {
            return Err(CUT);
        }
        self.offset = end;
        match flag {
            b'x' | b'L' | b'K' => self.extended(flag, body, size),
            _ => self.member(&header, flag, body, size),
        }
    }

    /// Whether the second block of the end marker is zero too, or not there.
    fn is_end(&self) -> Result<bool, End> {
        Ok(self.block(self.offset + BLOCK)?.is_none_or(|block| block == [0; BLOCK_LEN]))
    }

    fn extended(&mut self, flag: u8, body: u64, size: u64) -> Result<(), End> {
        if size > self.limits.tar_metadata {
            return Err(NO_HEADER);
        }
        let bytes = self.source.read_vec(body, size).map_err(|_| CUT)?;
        match flag {
            b'x' => self.pax = pax::parse(&bytes).map_err(|_| NO_HEADER)?,
            b'L' => self.long_name = Some(until_nul(bytes)),
            _ => self.long_link = Some(until_nul(bytes)),
        }
        Ok(())
    }

    fn member(&mut self, header: &Header<'_>, flag: u8, body: u64, size: u64) -> Result<(), End> {
        if self.members.len() >= self.limits.members as usize {
            return Err(End::Broken("more members than the limit"));
        }
        let pax = std::mem::take(&mut self.pax);
        let name = pax.path.or(self.long_name.take());
        let name = name.map_or_else(|| header.name(), Cow::Owned);
        let link = pax.link_path.or(self.long_link.take()).unwrap_or_else(|| header.link_name());
        let kind = match flag {
            0 if name.ends_with(b"/") => Kind::Directory,
            0 | b'0' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' | b'4' | b'6' | b'g' => Kind::Ignored,
            b'5' => Kind::Directory,
            b'7' => Kind::Contiguous,
            _ => Kind::Unknown,
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into();
        self.members.push(Member { name: text(&name), link: text(&link), kind, body, size });
        Ok(())
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// A slash-separated path as Go's `path.Clean` writes it: a leading `/` stays.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// `link` from the folder of `name`, as Go's `path.Join` has it: a leading `/`
/// in the link means nothing.
pub(super) fn join_folder(name: &str, link: &str) -> String {
    match name.rsplit_once('/') {
        Some((folder, _)) => clean(&format!("{folder}/{link}")),
        None => clean(link.trim_start_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_in_go() {
        let rows = [
            ("./a", "a"),
            ("a//b/./c", "a/b/c"),
            ("/a", "/a"),
            ("/../a", "/a"),
            ("../a", "../a"),
            ("a/../../b", "../b"),
            ("", "."),
            ("./", "."),
        ];
        for (path, want) in rows {
            assert_eq!(clean(path), want, "{path}");
        }
        assert_eq!(join_folder("b/layer.tar", "../a/layer.tar"), "a/layer.tar");
        assert_eq!(join_folder("b/layer.tar", "/a/layer.tar"), "b/a/layer.tar");
        assert_eq!(join_folder("junk", "../../etc"), "../../etc");
    }
}
