//! The undo journal of an edit in place.
//!
//! ```text
//!     magic, version     16 bytes  "ocitar journal 1"
//!     inode               8        of the file
//!     old size, new size  8 + 8    of the file
//!     ranges              8        how many
//!     sha256 of old      32        the old bytes of all ranges
//!     sha256 of new      32        the new bytes of all ranges
//!     each range         24        offset, length of old, length of new
//!     sha256             32        of everything so far
//!     old bytes                    of all ranges
//! ```
//!
//! Numbers are little-endian. A range's old bytes end where the old file ended,
//! its new bytes where the new one ends: appending has no old bytes, cutting no
//! new ones.
//!
//! The file is not written to before the journal and its name are on disk, and
//! the journal does not go before the file is on disk. So whoever finds a
//! journal finds one of four things, told apart by the hashes: a journal that
//! is not whole beside the old file, a whole one beside the old file, beside the
//! new one, or beside something in between. The device is not recorded: its
//! number may be another one after the machine came up again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Code, Error, Result};
use crate::source::settled::{self, folder_of, journal_of};
use crate::write::in_place::InPlace;

const MAGIC: &[u8; 14] = b"ocitar journal";
const VERSION: &[u8; 2] = b" 1";
/// Bytes before the ranges.
const FIXED: usize = 112;
const HASH: usize = 32;
const RANGE: usize = 24;
/// An archive has three documents with names; what lies between them may move.
const MAX_RANGES: usize = 256;

/// More than any journal takes.
pub(super) const MAX_LEN: u64 = InPlace::MOST + (FIXED + HASH + MAX_RANGES * RANGE) as u64;

/// One run of bytes that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    offset: u64,
    old: u64,
    new: u64,
}

/// What differs between a file and what it is to become.
pub(super) struct Changes<'f> {
    file: &'f File,
    old_size: u64,
    ranges: Vec<Range>,
    /// The bytes of all ranges, in order.
    old: Vec<u8>,
    new: Vec<u8>,
}

impl<'f> Changes<'f> {
    pub(super) fn new(file: &'f File, old_size: u64) -> Changes<'f> {
        Changes { file, old_size, ranges: Vec::new(), old: Vec::new(), new: Vec::new() }
    }

    /// Adds bytes at an offset behind what was added before, but for those that
    /// are there already. Says whether it is still little enough.
    pub(super) fn push(&mut self, offset: u64, new: &[u8]) -> io::Result<bool> {
        let there = self.old_size.saturating_sub(offset).min(new.len() as u64);
        let mut old = vec![0; usize::try_from(there).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut old, offset)?;
        let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
        let (mut old, mut new) = (&old[same..], &new[same..]);
        if old.len() == new.len() {
            let same = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
            (old, new) = (&old[..old.len() - same], &new[..new.len() - same]);
        }
        if !new.is_empty() {
            self.add(offset + same as u64, old, new);
        }
        Ok(self.is_small())
    }

    /// Adds what stands behind the new end. Says whether it is still little
    /// enough.
    pub(super) fn end(&mut self, new_size: u64) -> io::Result<bool> {
        let cut = self.old_size.saturating_sub(new_size);
        if cut > InPlace::MOST {
            return Ok(false);
        }
        if cut > 0 {
            let mut old = vec![0; usize::try_from(cut).unwrap_or(usize::MAX)];
            self.file.read_exact_at(&mut old, new_size)?;
            self.add(new_size, &old, &[]);
        }
        Ok(self.is_small())
    }

    fn add(&mut self, offset: u64, old: &[u8], new: &[u8]) {
        self.ranges.push(Range { offset, old: old.len() as u64, new: new.len() as u64 });
        self.old.extend_from_slice(old);
        self.new.extend_from_slice(new);
    }

    fn is_small(&self) -> bool {
        self.ranges.len() <= MAX_RANGES && self.old.len() as u64 <= InPlace::MOST
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The journal of these changes, and the new bytes.
    pub(super) fn into_journal(self, inode: u64, new_size: u64) -> (Journal, Vec<u8>) {
        let journal = Journal {
            inode,
            old_size: self.old_size,
            new_size,
            old_hash: Digest::of(&self.old),
            new_hash: Digest::of(&self.new),
            ranges: self.ranges,
            old: self.old,
        };
        (journal, self.new)
    }
}

/// A journal: what it takes to make a file what it was.
pub(super) struct Journal {
    pub(super) inode: u64,
    pub(super) old_size: u64,
    pub(super) new_size: u64,
    old_hash: Digest,
    new_hash: Digest,
    ranges: Vec<Range>,
    old: Vec<u8>,
}

/// A journal that was read.
pub(super) struct Parsed {
    pub(super) journal: Journal,
    /// Whether all old bytes are there. If not, it still knows the file's states.
    pub(super) whole: bool,
}

/// Which state a file is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Old,
    New,
    Between,
}

impl Journal {
    /// What stands before the old bytes.
    fn head(&self) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], VERSION].concat();
        let numbers = [self.inode, self.old_size, self.new_size, self.ranges.len() as u64];
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes.extend_from_slice(self.old_hash.as_bytes());
        bytes.extend_from_slice(self.new_hash.as_bytes());
        let ranges = self.ranges.iter().flat_map(|range| [range.offset, range.old, range.new]);
        bytes.extend(ranges.flat_map(u64::to_le_bytes));
        bytes.extend_from_slice(Digest::of(&bytes).as_bytes());
        bytes
    }

    /// Reads a journal; `None` when not even its head is whole.
    ///
    /// # Errors
    ///
    /// What no run of this version wrote, although it is whole.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Parsed>, &'static str> {
        // What is torn may have zeros there.
        let other = |version: &[u8]| version != VERSION && version[1].is_ascii_digit();
        if bytes.starts_with(MAGIC) && bytes.get(14..16).is_some_and(other) {
            return Err("the journal is of another version of ocitar");
        }
        let count = bytes.get(40..48).map(number).filter(|count| *count <= MAX_RANGES as u64);
        let Some(count) = count else { return Ok(None) };
        let end = FIXED + usize::try_from(count).unwrap_or(usize::MAX) * RANGE;
        let (Some(head), Some(check), Some(old)) =
            (bytes.get(..end), bytes.get(end..end + HASH), bytes.get(end + HASH..))
        else {
            return Ok(None);
        };
        if !head.starts_with(MAGIC) || Digest::of(head).as_bytes() != check {
            return Ok(None);
        }
        let range = |bytes: &[u8]| Range {
            offset: number(&bytes[..8]),
            old: number(&bytes[8..16]),
            new: number(&bytes[16..24]),
        };
        let journal = Journal {
            inode: number(&head[16..24]),
            old_size: number(&head[24..32]),
            new_size: number(&head[32..40]),
            old_hash: hash(&head[48..80]),
            new_hash: hash(&head[80..112]),
            ranges: head[FIXED..].chunks_exact(RANGE).map(range).collect(),
            old: old.to_vec(),
        };
        if !journal.is_sound() {
            return Err("the journal makes no sense");
        }
        let whole = Digest::of(old) == journal.old_hash;
        Ok(Some(Parsed { journal, whole }))
    }

    /// Whether the ranges follow each other and end with the file.
    fn is_sound(&self) -> bool {
        let mut from = 0;
        self.ranges.iter().all(|range| {
            let ends =
                [(range.old, self.old_size), (range.new, self.new_size)].map(|(len, size)| {
                    let end = range.offset.checked_add(len)?;
                    (len == 0 || end <= size).then_some(end)
                });
            let sound = range.offset >= from && ends.iter().all(Option::is_some);
            from = ends.into_iter().flatten().max().unwrap_or(from);
            sound
        })
    }

    /// Which state the file is in.
    pub(super) fn state(&self, file: &File) -> io::Result<State> {
        let size = file.metadata()?.len();
        let is = |wanted: u64, hash: Digest, len: fn(&Range) -> u64| -> io::Result<bool> {
            Ok(size == wanted && hash_ranges(file, &self.ranges, len)? == hash)
        };
        if is(self.old_size, self.old_hash, |range| range.old)? {
            return Ok(State::Old);
        }
        if is(self.new_size, self.new_hash, |range| range.new)? {
            return Ok(State::New);
        }
        Ok(State::Between)
    }

    /// Makes the file what it is to become, on disk.
    pub(super) fn apply(&self, file: &File, new: &[u8]) -> io::Result<()> {
        self.write(file, new, |range| range.new)?;
        if self.new_size < self.old_size {
            file.set_len(self.new_size)?;
        }
        file.sync_all()
    }

    /// Makes the file what it was, on disk. Whoever does so twice, or is stopped
    /// at any point and does it again, ends with the same file.
    pub(super) fn undo(&self, file: &File) -> io::Result<()> {
        self.write(file, &self.old, |range| range.old)?;
        file.set_len(self.old_size)?;
        file.sync_all()
    }

    fn write(&self, file: &File, bytes: &[u8], len: fn(&Range) -> u64) -> io::Result<()> {
        let mut rest = bytes;
        for range in &self.ranges {
            let len = usize::try_from(len(range)).unwrap_or(usize::MAX);
            let split = rest.split_at_checked(len);
            let (bytes, behind) = split.ok_or(io::ErrorKind::InvalidData)?;
            file.write_all_at(bytes, range.offset)?;
            rest = behind;
        }
        Ok(())
    }

    /// Puts the journal beside its file, on disk. Nobody else has one then.
    pub(super) fn create(&self, target: &Path) -> Result<Pending> {
        let path = journal_of(target);
        let folder = folder_of(target);
        let fail = |e: io::Error| Error::io(&path, e);
        // Opened first, so that a folder that cannot be synced changes nothing.
        let folder = File::open(folder).map_err(|e| Error::io(folder, e))?;
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => settled::check(target).err().unwrap_or(fail(e)),
            _ => fail(e),
        })?;
        let pending = Pending { file, path: path.clone(), folder };
        let written = pending.lock().and_then(|()| {
            let mut file = &pending.file;
            file.write_all(&self.head()).map_err(fail)?;
            file.write_all(&self.old).map_err(fail)?;
            pending.file.sync_all().map_err(fail)?;
            pending.folder.sync_all().map_err(fail)
        });
        if let Err(error) = written {
            // What is left of it will be known for a journal that is not whole.
            let _ = pending.clear();
            return Err(error);
        }
        Ok(pending)
    }
}

/// A journal on disk, held by this process.
pub(super) struct Pending {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) folder: File,
}

impl Pending {
    /// Keeps other processes from taking a journal for one that was left.
    /// A file system without locks goes without.
    pub(super) fn lock(&self) -> Result<()> {
        match rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                Err(Error::new(Code::Journal, "another ocitar is at work on this file")
                    .in_archive(self.path.display().to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Removes the journal, on disk.
    pub(super) fn clear(self) -> Result<()> {
        let fail = |e| Error::io(&self.path, e);
        fs::remove_file(&self.path).map_err(fail)?;
        self.folder.sync_all().map_err(fail)
    }
}

fn hash_ranges(file: &File, ranges: &[Range], len: fn(&Range) -> u64) -> io::Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 64 << 10];
    for range in ranges {
        let (mut at, end) = (range.offset, range.offset.saturating_add(len(range)));
        while at < end {
            let take = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            file.read_exact_at(&mut buffer[..take], at)?;
            hasher.update(&buffer[..take]);
            at += take as u64;
        }
    }
    Ok(hasher.finish())
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn hash(bytes: &[u8]) -> Digest {
    let mut hash = [0; HASH];
    hash.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    Digest::from_sha256(hash)
}
