//! The copy engine: spans to a file, by the kernel where it can.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use crate::error::Result;
use crate::plan::{Piece, Plan};
use crate::progress::{Progress, advance};
use crate::source::Span;
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

/// Bytes the kernel copies between two looks at whether to stop.
const KERNEL_STEP: u64 = 32 << 20;

/// Writes every piece of a plan at the file's position.
///
/// A `clone` holds the bytes of the plan's one source already: the pieces that
/// stay where they are in it are passed over, and it ends where the plan ends.
pub(super) fn pieces(
    plan: &Plan,
    mut output: &File,
    clone: bool,
    progress: &dyn Progress,
) -> Result<Written> {
    let mut method = if shares_bytes(output) { Method::Kernel } else { Method::Copy };
    let (mut at, mut bytes) = (0, 0);
    for piece in plan.pieces() {
        let stays = clone && piece.stays(at);
        at += piece.len();
        if stays {
            output.seek(SeekFrom::Start(at)).map_err(write_failed)?;
            advance(progress, piece.len())?;
            continue;
        }
        bytes += piece.len();
        match piece {
            Piece::Bytes(bytes) => {
                output.write_all(bytes).map_err(write_failed)?;
                advance(progress, bytes.len() as u64)?;
            }
            Piece::Span(span) => {
                let done = match (method, span.source.as_file()) {
                    (Method::Kernel, Some(input)) => kernel(span, input, output, progress)?,
                    _ => 0,
                };
                if done < span.len {
                    // Once refused is refused for all: the file systems do not change.
                    method = Method::Copy;
                    read_write(span, done, output, progress)?;
                }
            }
        }
    }
    if clone {
        output.set_len(at).map_err(write_failed)?;
        method = Method::Reflink;
    }
    Ok(Written { bytes, method })
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

/// Copies by `copy_file_range`; returns how many bytes it took.
fn kernel(span: &Span, input: &File, output: &File, progress: &dyn Progress) -> Result<u64> {
    let mut from = span.offset;
    let end = span.offset + span.len;
    while from < end {
        let step = usize::try_from((end - from).min(KERNEL_STEP)).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(input, Some(&mut from), output, None, step) {
            // Nothing more although the span goes on: the input became shorter,
            // or the file system pretends; reading tells which.
            Ok(0) => break,
            Ok(took) => advance(progress, took as u64)?,
            Err(rustix::io::Errno::INTR) => {}
            Err(
                rustix::io::Errno::XDEV
                | rustix::io::Errno::INVAL
                | rustix::io::Errno::NOSYS
                | rustix::io::Errno::OPNOTSUPP
                | rustix::io::Errno::PERM,
            ) => break,
            Err(error) => return Err(write_failed(error.into())),
        }
    }
    Ok(from - span.offset)
}

fn read_write(span: &Span, done: u64, mut output: &File, progress: &dyn Progress) -> Result<()> {
    span.behind(done).visit_chunks(&mut |bytes| {
        output.write_all(bytes).map_err(write_failed)?;
        advance(progress, bytes.len() as u64)
    })
}
