//! The outer tar: headers to members, members to an index, headers back out.
//!
//! Indexing reads headers only. A [`Member`] knows where it starts (its
//! extended headers included), where its body is and how long; nothing is
//! unpacked. The strict rules are in `tarball/scan.rs`.

mod go;
pub(crate) mod header;
pub mod layer;
pub(crate) mod pax;
pub(crate) mod scan;
pub(crate) mod write;

use crate::diagnostics::Diagnostics;
use crate::error::{Code, Error, Place, Result};
use crate::limits::Limits;
use crate::source::{Source, Window};
pub(crate) use header::padded;
use scan::{Input, Scanner, Step};

/// What kind of thing a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; old `docker save` writes shared layers so.
    Symlink,
    /// A hard link to an earlier member.
    HardLink,
    /// A device or fifo, which every consumer ignores.
    Device,
}

/// One member of a tar. All offsets are bytes from the start of the
/// uncompressed archive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Member {
    /// The name without a leading `./` and without a directory's trailing `/`.
    pub name: Box<str>,
    /// The target of a link, as written.
    pub link: Option<Box<str>>,
    /// What it is.
    pub kind: Kind,
    /// Number in file order, from 0.
    pub index: u32,
    /// Where it starts: its first extended header, or its header.
    pub start: u64,
    /// Where its header is.
    pub header: u64,
    /// Where its body is.
    pub body: u64,
    /// Bytes of the body, without padding.
    pub size: u64,
    /// Whether a pax record states the size too.
    pub(crate) pax_size: bool,
}

impl Member {
    /// Where the next member starts.
    #[must_use]
    pub fn end(&self) -> u64 {
        // The scan has checked that this does not overflow.
        self.body + padded(self.size).unwrap_or(self.size)
    }

    /// The name as docker sees it, which unpacks the archive into a folder.
    fn unpacked_name(&self) -> &str {
        self.name.strip_prefix('/').unwrap_or(&self.name)
    }

    /// The member as a place for errors.
    #[must_use]
    pub fn place(&self) -> Place {
        Place::member(self.index, &*self.name, self.start)
    }
}

/// How an archive ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Where the last member ends.
    pub offset: u64,
    /// What stands there.
    pub marker: Marker,
    /// Where the zero bytes behind it end: writers pad to 10 KiB records.
    pub padding: u64,
}

/// Padding is looked at up to here: more than any writer's record, and than what
/// files are extended to for devices of fixed blocks. `/dev/zero` has no end.
const MAX_PADDING: u64 = 64 << 20;

/// The end-of-archive marker: two zero blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Both blocks.
    Full,
    /// Less than two, then the end of the file.
    Half,
    /// None.
    Missing,
}

/// Every member of a tar, in file order and by name.
#[derive(Debug)]
pub struct TarIndex {
    members: Vec<Member>,
    /// Numbers of members sorted by name, then by position.
    by_name: Vec<u32>,
    end: End,
}

impl TarIndex {
    /// Indexes a tar by walking its headers. What is malformed becomes a fatal
    /// finding and the index holds what came before.
    ///
    /// `each` sees every member before the next one is read, which is when a
    /// stream can still read its body.
    ///
    /// # Errors
    ///
    /// Those of reading the input and of `each`.
    pub(crate) fn scan<I: Input>(
        input: &mut I,
        limits: &Limits,
        findings: &mut Diagnostics,
        mut each: impl FnMut(&Member, &mut I) -> Result<()>,
    ) -> Result<TarIndex> {
        let mut members: Vec<Member> = Vec::new();
        let mut scanner = Scanner::new(limits);
        let end = loop {
            match scanner.step(input, findings) {
                Ok(Step::Member(member)) => {
                    each(&member, input)?;
                    members.push(member);
                }
                Ok(Step::End(end)) => break check_trailing(input, end, findings)?,
                Err(error) => {
                    // How long a stream is shows behind its last member.
                    let len = input.known_len().unwrap_or(u64::MAX);
                    let cut = members.pop_if(|last| last.end() > len);
                    findings.fatal(cut.map_or(error, |member| scan::cut(&member, len)));
                    let offset = members.last().map_or(0, Member::end);
                    break End { offset, marker: Marker::Full, padding: offset };
                }
            }
        };
        let mut by_name: Vec<u32> = members.iter().map(|m| m.index).collect();
        by_name.sort_by(|a, b| {
            let name = |i: &u32| &members[*i as usize].name;
            name(a).cmp(name(b)).then(a.cmp(b))
        });
        Ok(TarIndex { members, by_name, end })
    }

    /// The members in file order.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How the archive ends.
    #[must_use]
    pub fn end(&self) -> End {
        self.end
    }

    /// The members by name, and those of one name by position, where names that
    /// differ in a `/` at the start are one.
    fn sorted_as_unpacked(&self) -> Vec<&Member> {
        let mut sorted: Vec<&Member> =
            self.by_name.iter().map(|i| &self.members[*i as usize]).collect();
        if sorted.iter().any(|member| member.name.starts_with('/')) {
            sorted.sort_by_key(|member| (member.unpacked_name(), member.index));
        }
        sorted
    }

    /// The first member of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Member> {
        self.copies(name).next()
    }

    /// Every member of a name, in file order.
    pub fn copies<'n>(&self, name: &'n str) -> impl Iterator<Item = &Member> + use<'_, 'n> {
        let at = self.by_name.partition_point(|i| &*self.members[*i as usize].name < name);
        let members = self.by_name[at..].iter().map(|i| &self.members[*i as usize]);
        members.take_while(move |member| &*member.name == name)
    }

    /// The regular member whose bytes stand under a name: the member itself,
    /// or what its link leads to. `None` when nothing has the name.
    ///
    /// Symbolic links are followed once and only inside the archive, because
    /// that is where Go's consumers agree; hard links only to an earlier
    /// member, as tar defines them.
    ///
    /// # Errors
    ///
    /// `E_TAR_LINK` when the name is a link that does not lead to a regular
    /// member in one step, or no regular member at all.
    pub fn resolve(&self, name: &str) -> Result<Option<&Member>> {
        let Some(member) = self.find(name) else { return Ok(None) };
        let target = match (member.kind, &member.link) {
            (Kind::File, _) => return Ok(Some(member)),
            (Kind::Symlink, Some(link)) => join(&member.name, link),
            (Kind::HardLink, Some(link)) => join("", link),
            _ => {
                return Err(
                    Error::new(Code::TarLink, "a regular member is wanted here").at(member.place())
                );
            }
        };
        let refuse = |message: &str| Err(Error::new(Code::TarLink, message).at(member.place()));
        let found = target.as_deref().and_then(|target| self.find(target));
        if self.has_two_targets(member, found) {
            return refuse(
                "an absolute link: docker follows it from the root of the archive, podman and crane from the link's folder, and something stands at both",
            );
        }
        match found {
            Some(target) if target.kind != Kind::File => {
                refuse("a link to a link or a directory: consumers follow it differently or not")
            }
            Some(target) if member.kind == Kind::HardLink && target.index > member.index => {
                refuse("a hard link to a later member")
            }
            Some(target) => Ok(Some(target)),
            None => {
                let link = member.link.as_deref().unwrap_or_default();
                refuse(&format!("nothing in the archive at the link's target \"{link}\""))
            }
        }
    }

    /// Whether a symbolic link with an absolute target leads to one member when
    /// followed from the root and to another when followed from its folder.
    fn has_two_targets(&self, member: &Member, from_root: Option<&Member>) -> bool {
        let link = member.link.as_deref().unwrap_or_default();
        if member.kind != Kind::Symlink || !link.starts_with('/') {
            return false;
        }
        let beside = join(&member.name, link.trim_start_matches('/'));
        let beside = beside.as_deref().and_then(|target| self.find(target));
        beside.is_some_and(|beside| from_root.is_none_or(|root| root.name != beside.name))
    }

    /// Findings about links, whether anything uses them or not: one that leads
    /// out of the archive is fatal; one that leads nowhere keeps containerd
    /// from reading the whole archive.
    pub(crate) fn check_links(&self, findings: &mut Diagnostics) {
        for member in self.members.iter().filter(|member| member.link.is_some()) {
            let link = member.link.as_deref().unwrap_or_default();
            let odd = |message: &str| Error::new(Code::TarOddLink, message).at(member.place());
            if member.kind == Kind::Symlink && join(&member.name, link).is_none() {
                let message = format!("a link that leads out of the archive, to \"{link}\"");
                findings.fatal(Error::new(Code::TarLink, message).at(member.place()));
            } else if let Err(error) = self.resolve(&member.name) {
                findings.warning(odd(&format!(
                    "{}; containerd refuses the archive for it",
                    error.message()
                )));
            } else if link.starts_with('/') {
                findings.warning(odd("a link with an absolute target"));
            } else if member.kind == Kind::HardLink {
                findings.warning(odd(
                    "a hard link: containerd ignores it and podman reads it as empty",
                ));
            }
        }
    }

    /// Findings about names: duplicates with other bytes are fatal (docker and
    /// containerd take the last, podman and crane the first), equal ones noted.
    /// So is a member below one that is no directory.
    pub(crate) fn check_names(
        &self,
        equal_bodies: &dyn Fn(&Member, &Member) -> bool,
        findings: &mut Diagnostics,
    ) {
        let sorted = self.sorted_as_unpacked();
        check_folders(&sorted, findings);
        for pair in sorted.windows(2) {
            let [first, second] = [pair[0], pair[1]];
            if first.unpacked_name() != second.unpacked_name()
                || (first.kind, second.kind) == (Kind::Directory, Kind::Directory)
            {
                continue;
            }
            let same = first.kind == second.kind
                && first.link == second.link
                && first.size == second.size
                && (first.size == 0 || equal_bodies(first, second));
            if same {
                let message = format!("the same as member {}", first.index);
                findings.note(Error::new(Code::TarDupSame, message).at(second.place()));
            } else {
                let message = format!(
                    "another member of this name (member {}) holds different bytes; consumers disagree which counts",
                    first.index
                );
                findings.fatal(Error::new(Code::TarDup, message).at(second.place()));
            }
        }
    }
}

/// Members below one that is no directory. Whoever unpacks the archive, as docker
/// does, writes them through the link or removes it; whoever reads the members
/// takes no notice. `sorted` is by [`Member::unpacked_name`].
fn check_folders(sorted: &[&Member], findings: &mut Diagnostics) {
    // What the names that follow start with: those of one start stand together.
    let mut starts: Vec<&Member> = Vec::new();
    for member in sorted {
        let name = member.unpacked_name();
        while starts.last().is_some_and(|start| !name.starts_with(start.unpacked_name())) {
            starts.pop();
        }
        let is_above =
            |start: &&&Member| name.as_bytes().get(start.unpacked_name().len()) == Some(&b'/');
        if let Some(above) = starts.iter().find(is_above) {
            let message =
                format!("stands below \"{}\", which is no directory", above.unpacked_name());
            findings.fatal(Error::new(Code::TarName, message).at(member.place()));
        }
        let is_known = starts.last().is_some_and(|start| start.unpacked_name() == name);
        if member.kind != Kind::Directory && !is_known {
            starts.push(member);
        }
    }
}

impl Input for Window<'_> {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.read_some_at(offset, buffer)
    }

    fn known_len(&self) -> Option<u64> {
        Some(self.source_len())
    }
}

/// Finds where the padding ends, and whether anything follows it.
fn check_trailing(input: &mut impl Input, end: End, findings: &mut Diagnostics) -> Result<End> {
    let mut padding = end.padding;
    let mut buffer = vec![0; 64 << 10];
    let mut is_zero = true;
    while is_zero && padding < end.padding.saturating_add(MAX_PADDING) {
        let got = input.read_at(padding, &mut buffer)?;
        let zeros = buffer[..got].iter().take_while(|b| **b == 0).count();
        padding += zeros as u64;
        if got == 0 {
            return Ok(End { padding, ..end });
        }
        is_zero = zeros == got;
    }
    let message = match is_zero {
        true => "more zeros behind the end of the archive than any tool pads with",
        false => {
            "bytes behind the end of the archive, which no consumer reads and ocitar does not carry over"
        }
    };
    let error = Error::new(Code::TarTrailing, message).at(Place::offset(padding));
    findings.error(error.hint("`cat` does not join archives: only the first is seen"));
    Ok(End { padding, ..end })
}

/// `link` as seen from the folder of `name`, cleaned; `None` when it leaves
/// the archive.
fn join(name: &str, link: &str) -> Option<String> {
    let folder = match link.strip_prefix('/') {
        Some(_) => "",
        None => name.rsplit_once('/').map_or("", |(folder, _)| folder),
    };
    let mut parts: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether two bodies of one size hold the same bytes.
pub(crate) fn equal_bodies(source: &Source, a: &Member, b: &Member) -> bool {
    let mut at = b.body;
    let mut other = Vec::new();
    let walked = source.visit_chunks(a.body, a.size, &mut |chunk| {
        other.resize(chunk.len(), 0);
        source.read_exact_at(at, &mut other)?;
        at += chunk.len() as u64;
        // Any error ends the walk; which one does not matter.
        if other == chunk { Ok(()) } else { Err(Error::new(Code::TarDup, "different")) }
    });
    walked.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_inside_the_archive() {
        let rows = [
            ("a/layer.tar", "../b/layer.tar", Some("b/layer.tar")),
            ("a/layer.tar", "x.tar", Some("a/x.tar")),
            ("a/layer.tar", "/x.tar", Some("x.tar")),
            ("a", "./b//c", Some("b/c")),
            ("a/b", "../../c", None),
            ("", "a/b", Some("a/b")),
        ];
        for (name, link, want) in rows {
            assert_eq!(join(name, link).as_deref(), want, "{name} -> {link}");
        }
    }
}
