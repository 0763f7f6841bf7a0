//! The copy engine: spans to a file, by the kernel where it can.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::error::{Code, Error, Result};
use crate::parallel;
use crate::plan::{Piece, Plan};
use crate::progress::{Progress, advance};
use crate::source::{Source, Span};
use crate::write::{Written, write_failed};

/// How bytes got into an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// `copy_file_range`: the kernel copied, or shared, the bytes.
    Kernel,
    /// Read and written.
    Copy,
    /// Read, compressed and written.
    Compressed,
    /// The file system shared the bytes of the old file with the new one, and
    /// what differs was written.
    Reflink,
    /// What differs was written into the file itself, under an undo journal.
    Journal,
    /// Nothing differs, and nothing was written.
    Unchanged,
}

impl Method {
    /// What the summary of a run says.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Kernel => "kernel copy",
            Method::Copy => "copy",
            Method::Compressed => "compressed",
            Method::Reflink => "reflink",
            Method::Journal => "journal",
            Method::Unchanged => "nothing to change",
        }
    }
}

/// Bytes of one step: between two looks at whether to stop, and what one thread
/// takes at once.
const STEP: u64 = 8 << 20;

/// What a new file begins as, and what is in it already.
#[derive(Default)]
pub(super) struct Start<'p> {
    /// The source whose bytes it is a clone of.
    clone: Option<&'p Source>,
    /// Bytes of the output that are not where they were in it.
    fresh: u64,
    /// What was written already, by where it starts in the output.
    written: BTreeMap<u64, u64>,
}

impl<'p> Start<'p> {
    /// A file whose bytes are shared with the plan's one source, where the file
    /// system can do that and most of what the plan takes stays where it is.
    ///
    /// # Errors
    ///
    /// Those of emptying the file again.
    pub(super) fn clone_of(plan: &'p Plan, output: &File) -> Result<Option<Start<'p>>> {
        let Some((source, fresh)) = worth_cloning(plan).filter(|_| shares_bytes(output)) else {
            return Ok(None);
        };
        let Some(input) = source.as_file() else { return Ok(None) };
        let is_shared = rustix::fs::ioctl_ficlone(output, input).is_ok();
        let len = output.metadata().map_err(write_failed)?.len();
        // XFS is known to have called half of a file a success, and a clone that
        // fails on its way may leave what it has done.
        if is_shared && len == source.len() {
            return Ok(Some(Start { clone: Some(source), fresh, ..Start::default() }));
        }
        if len > 0 {
            output.set_len(0).map_err(write_failed)?;
        }
        Ok(None)
    }

    pub(super) fn fresh(&self) -> u64 {
        self.fresh
    }

    pub(super) fn is_clone(&self) -> bool {
        self.clone.is_some()
    }

    /// With these bytes written already: where they start in the output, and
    /// how many.
    pub(super) fn with(self, written: impl Iterator<Item = (u64, u64)>) -> Start<'p> {
        Start { written: written.collect(), ..self }
    }
}

/// The first source of a plan, when most of the output is where it was in it, and
/// how many bytes are not.
fn worth_cloning(plan: &Plan) -> Option<(&Source, u64)> {
    let source = plan.pieces().iter().find_map(|piece| match piece {
        Piece::Span(span) => Some(&*span.source),
        Piece::Bytes(_) => None,
    })?;
    let (mut at, mut stays) = (0, 0);
    for piece in plan.pieces() {
        stays += if piece.stays(source, at) { piece.len() } else { 0 };
        at += piece.len();
    }
    (stays > at / 2).then_some((source, at - stays))
}

/// One step: bytes of a piece, and where they go.
struct Step<'p> {
    piece: &'p Piece,
    /// Bytes of the piece before this step.
    from: u64,
    len: u64,
    at: u64,
}

/// Writes what of a plan is not in a new file yet, which ends where the plan
/// ends. Steps are taken in order, by several threads: on tmpfs and ext4, which
/// let one of them write at a time, another one reads meanwhile.
pub(super) fn pieces(
    plan: &Plan,
    output: &File,
    start: &Start<'_>,
    jobs: Option<usize>,
    progress: &dyn Progress,
) -> Result<Written> {
    let mut steps = Vec::new();
    let mut at = 0;
    for piece in plan.pieces() {
        if start.clone.is_some_and(|source| piece.stays(source, at)) {
            advance(progress, piece.len())?;
        } else {
            push_steps(&mut steps, piece, at, &start.written);
        }
        at += piece.len();
    }
    let shares = shares_bytes(output);
    if start.is_clone() {
        output.set_len(at).map_err(write_failed)?;
    }
    // A thread for a step that is full.
    let bytes: u64 = steps.iter().map(|step| step.len).sum();
    let threads = usize::try_from(bytes.div_ceil(STEP)).unwrap_or(usize::MAX);
    let jobs = Some(jobs.unwrap_or_else(parallel::machine).min(threads));
    let kernel = Kernel { works: shares, refused: Mutex::default(), took: AtomicU64::new(0) };
    let failed = AtomicBool::new(false);
    let done = parallel::map(&steps, jobs, |step, _| {
        // What another thread could not write need not be gone on with.
        if failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let done = step.write(output, &kernel, progress);
        failed.fetch_or(done.is_err(), Ordering::Relaxed);
        done
    });
    done.into_iter().collect::<Result<()>>()?;
    // Whatever was answered to each write: as long as it was meant to be?
    let len = output.metadata().map_err(write_failed)?.len();
    if len != at {
        let error = Error::new(Code::Io, "the file system did not keep all that was written");
        return Err(error.expected_found(at, len));
    }
    let method = match (start.is_clone(), kernel.took.into_inner()) {
        (true, _) => Method::Reflink,
        (_, 1..) => Method::Kernel,
        _ => Method::Copy,
    };
    let bytes = bytes + start.written.values().sum::<u64>();
    Ok(Written { bytes, method })
}

/// The steps of a piece that starts at `at`, around what was written.
fn push_steps<'p>(
    steps: &mut Vec<Step<'p>>,
    piece: &'p Piece,
    at: u64,
    written: &BTreeMap<u64, u64>,
) {
    let mut gap = |from: u64, end: u64| {
        let starts = (0..(end - from).div_ceil(STEP)).map(|number| from + number * STEP);
        steps.extend(starts.map(|from| Step {
            piece,
            from,
            len: STEP.min(end - from),
            at: at + from,
        }));
    };
    let mut from = 0;
    for (start, len) in written.range(at..at + piece.len()) {
        gap(from, start - at);
        from = start - at + len;
    }
    gap(from, piece.len());
}

/// Whether `copy_file_range` can share extents or copy on a server. Anywhere
/// else the kernel splices page by page, which on tmpfs was measured to be several
/// times slower than reading and writing.
fn shares_bytes(output: &File) -> bool {
    const BTRFS: u32 = 0x9123_683e;
    const XFS: u32 = 0x5846_5342;
    const BCACHEFS: u32 = 0xca45_1a4e;
    const ZFS: u32 = 0x2fc1_2fc1;
    const OCFS2: u32 = 0x7461_636f;
    const NFS: u32 = 0x6969;
    const CEPH: u32 = 0x00c3_6400;
    const CIFS: u32 = 0xff53_4d42;
    const SMB2: u32 = 0xfe53_4d42;
    // The type is a magic number of 32 bits in a field whose width varies.
    let kind = rustix::fs::fstatfs(output).map(|stat| stat.f_type as u32);
    kind.is_ok_and(|kind| [BTRFS, XFS, BCACHEFS, ZFS, OCFS2, NFS, CEPH, CIFS, SMB2].contains(&kind))
}

/// Whether the kernel copies.
struct Kernel {
    works: bool,
    /// Files it would not copy from: once refused is refused, their file systems
    /// do not change.
    refused: Mutex<Vec<RawFd>>,
    took: AtomicU64,
}

impl Kernel {
    fn refused(&self) -> MutexGuard<'_, Vec<RawFd>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies what it can of the start of a span; returns how much.
    fn copy(&self, span: &Span, output: &File, at: u64, progress: &dyn Progress) -> Result<u64> {
        let Some(input) = span.source.as_file().filter(|_| self.works) else { return Ok(0) };
        if self.refused().contains(&input.as_raw_fd()) {
            return Ok(0);
        }
        let took = by_kernel(span, input, output, at, progress)?;
        self.took.fetch_add(took, Ordering::Relaxed);
        if took < span.len {
            self.refused().push(input.as_raw_fd());
        }
        Ok(took)
    }
}

impl Step<'_> {
    fn write(&self, output: &File, kernel: &Kernel, progress: &dyn Progress) -> Result<()> {
        let span = match self.piece {
            Piece::Bytes(bytes) => {
                let rest = usize::try_from(self.from).ok().and_then(|from| bytes.get(from..));
                let rest = rest.unwrap_or_default();
                let len = usize::try_from(self.len).unwrap_or(usize::MAX).min(rest.len());
                output.write_all_at(&rest[..len], self.at).map_err(write_failed)?;
                return advance(progress, self.len);
            }
            Piece::Span(span) => Span { len: self.len, ..span.behind(self.from) },
        };
        let done = kernel.copy(&span, output, self.at, progress)?;
        if done < span.len {
            let mut at = self.at + done;
            span.behind(done).visit_chunks(&mut |bytes| {
                output.write_all_at(bytes, at).map_err(write_failed)?;
                at += bytes.len() as u64;
                advance(progress, bytes.len() as u64)
            })?;
        }
        Ok(())
    }
}

/// Copies by `copy_file_range`; returns how many bytes it took.
fn by_kernel(
    span: &Span,
    input: &File,
    output: &File,
    mut at: u64,
    progress: &dyn Progress,
) -> Result<u64> {
    let mut from = span.offset;
    let end = span.offset + span.len;
    while from < end {
        let step = usize::try_from(end - from).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(input, Some(&mut from), output, Some(&mut at), step) {
            // Nothing more although the span goes on: the input became shorter,
            // or the file system pretends; reading tells which.
            Ok(0) => break,
            Ok(took) => advance(progress, took as u64)?,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                break;
            }
            Err(error) => return Err(write_failed(error.into())),
        }
    }
    Ok(from - span.offset)
}
