//! One pass over a stream: what documents need is kept, the rest goes by.
//!
//! Listing keeps the members that look like documents. Retagging passes every
//! byte on as it comes, until the first document that holds names: from there
//! on it holds back what comes, because the documents are changed together. In
//! the archives of every tool but few they stand last, so that what is held is
//! small; where it is not, it goes to an unlinked temporary file.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::archive::store::{CONTROL_FILES, Tar};
use crate::compress::{Facts, Reading, Total, Wanted, decode_error, measure};
use crate::diagnostics::{Diagnostics, Severity};
use crate::digest::{Algorithm, Digest};
use crate::error::{Code, Error, Result};
use crate::limits::{Limit, Limits};
use crate::progress::{Progress, Silent, advance};
use crate::source::{Kept, Source};
use crate::tarball::scan::Input;
use crate::tarball::{Kind, Member, TarIndex};

/// Members of up to this many bytes are kept whatever they hold.
const SMALL: u64 = 4 << 10;

/// Documents in which names stand.
const NAMING: [&str; 3] = ["index.json", "manifest.json", "repositories"];

/// Where bytes go that are passed on.
pub(crate) type Sink<'s> = &'s mut dyn FnMut(&[u8]) -> Result<()>;

/// How to pass.
pub(crate) struct PassOptions<'s> {
    pub(crate) limits: &'s Limits,
    /// Where every byte goes that is not held back; nowhere when listing.
    pub(crate) sink: Option<Sink<'s>>,
    /// Whether to hash every file, and what it decompresses to.
    pub(crate) verify: bool,
    /// Where what is held goes when it is much.
    pub(crate) tmpdir: Option<PathBuf>,
    pub(crate) progress: &'s dyn Progress,
}

/// What a pass leaves.
pub(crate) struct Passed {
    pub(crate) tar: Tar,
    /// From here on nothing has been passed on.
    pub(crate) held_from: u64,
    /// By number of the member.
    pub(crate) facts: HashMap<u32, Facts>,
}

/// Reads a stream to its end and keeps what looks like a document.
///
/// # Errors
///
/// Those of the stream, and `E_LIMIT_KEPT` when more would have to be kept than
/// [`Limits::kept`].
pub(super) fn keep(
    label: &str,
    stream: impl Read,
    limits: &Limits,
    findings: &mut Diagnostics,
) -> Result<Tar> {
    let options =
        PassOptions { limits, sink: None, verify: false, tmpdir: None, progress: &Silent };
    pass(label, stream, options, findings).map(|passed| passed.tar)
}

/// Unpacks a stream into a file that has no name and is gone with its handle,
/// as far as it is a tar.
///
/// # Errors
///
/// As [`keep`], and those of the file.
pub(super) fn spool(
    stream: impl Read,
    limits: &Limits,
    tmpdir: Option<PathBuf>,
    findings: &mut Diagnostics,
) -> Result<(File, TarIndex)> {
    #[expect(clippy::disallowed_methods, reason = "no other folder was named")]
    let folder = tmpdir.unwrap_or_else(std::env::temp_dir);
    let fail = |e: io::Error| Error::io(&folder, e);
    let mut file = tempfile::tempfile_in(&folder).map_err(fail)?;
    let mut sink = |bytes: &[u8]| file.write_all(bytes).map_err(fail);
    let options = PassOptions {
        limits,
        sink: Some(&mut sink),
        verify: false,
        tmpdir: None,
        progress: &Silent,
    };
    let mut input = Forward::new(stream, options);
    input.route = Route::Through;
    let index = TarIndex::scan(&mut input, limits, findings, |member, input| {
        input.skip(member.end(), &mut |_| ())
    })?;
    input.drain(findings)?;
    Ok((file, index))
}

/// Passes a stream on, as far as it may go.
///
/// # Errors
///
/// As [`keep`], and those of the sink and of the temporary file.
pub(crate) fn pass(
    label: &str,
    stream: impl Read,
    options: PassOptions<'_>,
    findings: &mut Diagnostics,
) -> Result<Passed> {
    let limits = options.limits;
    let verify = options.verify;
    let mut input = Forward::new(stream, options);
    let total = Total::new(limits);
    let mut kept = Documents { limits, total: &total, kept: Kept::default(), left: limits.kept };
    // Bodies are told apart by a keyed hash, which nobody can aim at. It costs
    // as much as the copying, so what is passed on goes without.
    let keys = RandomState::new();
    let mut hashes: Vec<Option<u64>> = Vec::new();
    let mut facts = HashMap::new();
    let index = TarIndex::scan(&mut input, limits, findings, |member, input| {
        input.decide(member)?;
        let mut hash = None;
        if member.kind == Kind::File && verify {
            facts.insert(member.index, kept.measure(member, input)?);
        } else if member.kind == Kind::File {
            let mut hasher = keys.build_hasher();
            let hashed = kept.take(member, input, &mut hasher)?;
            hash = hashed.then(|| hasher.finish());
        }
        hashes.push(hash);
        input.skip(member.end(), &mut |_| ())?;
        input.next_member();
        Ok(())
    })?;
    if input.route == Route::Pending {
        // No document holds names, so that nothing that follows is passed on.
        input.route = Route::None;
    }
    input.drain(findings)?;
    let hash = |member: &Member| hashes.get(member.index as usize).copied().flatten();
    index.check_names(&|a, b| hash(a).is_some() && hash(a) == hash(b), findings);
    index.check_links(findings);
    let Forward { held, held_from, position, .. } = input;
    let held_from = held_from.unwrap_or(position);
    let kept = kept.kept.with_tail(held_from, held.into_tail());
    let source = Arc::new(Source::kept(label, kept, position));
    Ok(Passed { tar: Tar { source, index }, held_from, facts })
}

/// The documents that are kept.
struct Documents<'l> {
    limits: &'l Limits,
    total: &'l Total,
    kept: Kept,
    left: u64,
}

impl Documents<'_> {
    /// Lets a body go by, and keeps it when it may be a document. Returns
    /// whether all of it was hashed.
    fn take<R: Read>(
        &mut self,
        member: &Member,
        input: &mut Forward<'_, R>,
        hasher: &mut impl Hasher,
    ) -> Result<bool> {
        let mut head = [0; SMALL as usize];
        let start = head.len().min(usize::try_from(member.size).unwrap_or(usize::MAX));
        let got = input.read_at(member.body, &mut head[..start])?;
        hasher.write(&head[..got]);
        if self.is_document(member, &head[..got]) {
            let mut body = head[..got].to_vec();
            // What is held is kept already, and of nothing there is nothing to keep.
            let keeps = !input.is_held() && member.size > 0;
            if keeps {
                self.reserve(member)?;
            }
            body.resize(usize::try_from(member.size).unwrap_or(usize::MAX), 0);
            let more = input.read_at(member.body + got as u64, &mut body[got..])?;
            hasher.write(&body[got..got + more]);
            body.truncate(got + more);
            if keeps {
                self.kept.push(member.body, body);
            }
            return Ok(true);
        }
        let hashes = input.sink.is_none();
        input.skip(member.body + member.size, &mut |bytes| {
            if hashes {
                hasher.write(bytes);
            }
        })?;
        Ok(hashes || got as u64 == member.size)
    }

    /// Lets a body go by, and measures it.
    fn measure<R: Read>(&mut self, member: &Member, input: &mut Forward<'_, R>) -> Result<Facts> {
        let of_path = Digest::from_blob_path(&member.name).map(|digest| digest.algorithm());
        let mut algorithms = vec![Algorithm::Sha256];
        algorithms.extend(of_path.filter(|algorithm| *algorithm != Algorithm::Sha256));
        let wanted = Wanted { algorithms, content: true, layer: true };
        let how = Reading::new(self.limits, self.total, &Silent);
        let mut body = Body { input, member, kept: Vec::new(), keeps: None, documents: self };
        let buffered = BufReader::with_capacity(256 << 10, &mut body);
        let facts = measure(buffered, &wanted, &how)?;
        let Body { kept, keeps, .. } = body;
        if keeps == Some(true) {
            self.kept.push(member.body, kept);
        }
        Ok(facts)
    }

    fn is_document(&self, member: &Member, head: &[u8]) -> bool {
        let looks = head.first().is_some_and(|byte| is_json_start(*byte));
        let is_control = CONTROL_FILES.contains(&&*member.name);
        member.size <= self.limits.control_file && (member.size <= SMALL || looks || is_control)
    }

    fn reserve(&mut self, member: &Member) -> Result<()> {
        self.left = self.left.checked_sub(member.size).ok_or_else(|| {
            self.limits.exceeded(Limit::Kept).hint("write the stream to a file and open that")
        })?;
        Ok(())
    }
}

/// JSON starts with one of these; tar headers, gzip and zstd layers do not.
fn is_json_start(byte: u8) -> bool {
    matches!(byte, b'{' | b'[' | b' ' | b'\n' | b'\r' | b'\t' | b'n')
}

/// The body of a member as a reader, which keeps it when it is a document.
struct Body<'b, 's, 'l, R> {
    input: &'b mut Forward<'s, R>,
    member: &'b Member,
    documents: &'b mut Documents<'l>,
    kept: Vec<u8>,
    /// Decided with the first bytes.
    keeps: Option<bool>,
}

impl<R: Read> Read for Body<'_, '_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = (self.member.body + self.member.size).saturating_sub(self.input.position);
        let take = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let got = self.input.fill(&mut buffer[..take]).map_err(io::Error::other)?;
        if self.keeps.is_none() && got > 0 {
            let is_document = self.documents.is_document(self.member, &buffer[..got]);
            let keeps = is_document && !self.input.is_held();
            if keeps {
                self.documents.reserve(self.member).map_err(io::Error::other)?;
            }
            self.keeps = Some(keeps);
        }
        if self.keeps == Some(true) {
            self.kept.extend_from_slice(&buffer[..got]);
        }
        Ok(got)
    }
}

/// A stream as input of a scan: offsets only go up.
struct Forward<'s, R> {
    stream: R,
    position: u64,
    ended: bool,
    buffer: Vec<u8>,
    sink: Option<Sink<'s>>,
    progress: &'s dyn Progress,
    route: Route,
    /// Headers whose member is not known yet, and where they start.
    pending: Vec<u8>,
    pending_from: u64,
    held: Held,
    held_from: Option<u64>,
}

/// What becomes of bytes that are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    /// Nothing: the stream is only listed.
    None,
    /// They wait until their member is known.
    Pending,
    /// They are passed on.
    Through,
    /// They are held back.
    Held,
}

impl<'s, R: Read> Forward<'s, R> {
    fn new(stream: R, options: PassOptions<'s>) -> Self {
        let route = if options.sink.is_some() { Route::Pending } else { Route::None };
        Forward {
            stream,
            position: 0,
            ended: false,
            buffer: vec![0; 256 << 10],
            sink: options.sink,
            progress: options.progress,
            route,
            pending: Vec::new(),
            pending_from: 0,
            held: Held {
                memory: Vec::new(),
                file: None,
                limit: options.limits.kept,
                tmpdir: options.tmpdir,
            },
            held_from: None,
        }
    }

    fn is_held(&self) -> bool {
        self.route == Route::Held
    }

    /// Says where the bytes of a member go, its headers included.
    fn decide(&mut self, member: &Member) -> Result<()> {
        if self.route != Route::Pending {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        if NAMING.contains(&&*member.name) {
            self.held_from = Some(self.pending_from);
            self.route = Route::Held;
        } else {
            self.route = Route::Through;
        }
        self.send(&pending)
    }

    /// What follows belongs to the next member.
    fn next_member(&mut self) {
        if self.route == Route::Through {
            self.route = Route::Pending;
            self.pending_from = self.position;
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match (self.route, &mut self.sink) {
            (Route::Through, Some(sink)) => sink(bytes),
            (Route::Pending, _) => {
                self.pending.extend_from_slice(bytes);
                Ok(())
            }
            (Route::Held, _) => self.held.push(bytes),
            _ => Ok(()),
        }
    }

    /// Reads until the buffer is full or the stream ends.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut got = 0;
        while got < buffer.len() && !self.ended {
            match self.stream.read(&mut buffer[got..]) {
                Ok(0) => self.ended = true,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(decode_error(e)),
            }
        }
        self.position += got as u64;
        self.send(&buffer[..got])?;
        advance(self.progress, got as u64)?;
        Ok(got)
    }

    /// Lets the rest go by: a compressed stream is only known to be sound at its
    /// end, and a writer at the other end of a pipe wants to finish. But what is
    /// no archive may have no end.
    fn drain(&mut self, findings: &Diagnostics) -> Result<()> {
        if findings.worst() >= Some(Severity::Error) {
            return Ok(());
        }
        self.skip(u64::MAX, &mut |_| ())
    }

    /// Lets the bytes up to an offset go by.
    fn skip(&mut self, offset: u64, look: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        while self.position < offset && !self.ended {
            let left = offset - self.position;
            let take = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = self.fill(&mut buffer[..take])?;
            look(&buffer[..got]);
        }
        self.buffer = buffer;
        Ok(())
    }
}

impl<R: Read> Input for Forward<'_, R> {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        if offset < self.position {
            return Err(Error::new(Code::Bug, "a stream was asked for bytes that have gone by"));
        }
        self.skip(offset, &mut |_| ())?;
        if self.position < offset {
            return Ok(0);
        }
        self.fill(buffer)
    }

    fn known_len(&self) -> Option<u64> {
        self.ended.then_some(self.position)
    }
}

/// Bytes that are held back: in memory, and beyond a limit in a file without
/// a name.
struct Held {
    memory: Vec<u8>,
    file: Option<File>,
    limit: u64,
    tmpdir: Option<PathBuf>,
}

impl Held {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        #[expect(clippy::disallowed_methods, reason = "no other folder was named")]
        let folder = || self.tmpdir.clone().unwrap_or_else(std::env::temp_dir);
        if self.file.is_none() && self.memory.len() as u64 + bytes.len() as u64 <= self.limit {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let fail = |e: io::Error| Error::io(folder(), e);
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut file = tempfile::tempfile_in(folder()).map_err(fail)?;
                file.write_all(&std::mem::take(&mut self.memory)).map_err(fail)?;
                none.insert(file)
            }
        };
        file.write_all(bytes).map_err(fail)
    }

    fn into_tail(self) -> crate::source::Tail {
        match self.file {
            Some(file) => crate::source::Tail::File(file),
            None => crate::source::Tail::Memory(self.memory),
        }
    }
}
