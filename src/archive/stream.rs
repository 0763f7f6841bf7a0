//! A stream that is listed as it goes by: what documents need is kept, the
//! rest is only looked at.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read};
use std::sync::Arc;

use crate::archive::store::{CONTROL_FILES, Tar};
use crate::compress::decode_error;
use crate::diagnostics::Diagnostics;
use crate::error::{Code, Error, Result};
use crate::limits::Limits;
use crate::source::{Kept, Source};
use crate::tarball::scan::Input;
use crate::tarball::{Kind, TarIndex};

/// Members of up to this many bytes are kept whatever they hold.
const SMALL: u64 = 4 << 10;

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
    let mut input = Forward { stream, position: 0, ended: false, buffer: vec![0; 128 << 10] };
    let mut kept = Kept::default();
    let mut left = limits.kept;
    // Bodies are told apart by a keyed hash, which nobody can aim at.
    let keys = RandomState::new();
    let mut hashes = Vec::new();
    let index = TarIndex::scan(&mut input, limits, findings, |member, input| {
        let mut hasher = keys.build_hasher();
        if member.kind == Kind::File && member.size > 0 {
            let mut head = [0; SMALL as usize];
            let start = head.len().min(usize::try_from(member.size).unwrap_or(usize::MAX));
            let got = input.read_at(member.body, &mut head[..start])?;
            hasher.write(&head[..got]);
            let is_document = member.size <= SMALL
                || is_json_start(head[0])
                || CONTROL_FILES.contains(&&*member.name);
            if is_document && member.size <= limits.control_file {
                left = left.checked_sub(member.size).ok_or_else(|| over_budget(limits))?;
                let mut body = head[..got].to_vec();
                body.resize(usize::try_from(member.size).unwrap_or(usize::MAX), 0);
                let more = input.read_at(member.body + got as u64, &mut body[got..])?;
                hasher.write(&body[got..got + more]);
                body.truncate(got + more);
                kept.push(member.body, body);
            } else {
                input.skip(member.body + member.size, &mut |bytes| hasher.write(bytes))?;
            }
        }
        hashes.push(hasher.finish());
        Ok(())
    })?;
    // A compressed stream is only known to be sound at its end, and a writer at
    // the other end of a pipe wants to finish.
    input.skip(u64::MAX, &mut |_| ())?;
    index.check_names(&|a, b| hashes[a.index as usize] == hashes[b.index as usize], findings);
    index.check_links(findings);
    Ok(Tar { source: Arc::new(Source::kept(label, kept, input.position)), index })
}

/// The code [`super::OpenOptions::open`] knows to unpack the file instead.
fn over_budget(limits: &Limits) -> Error {
    let kept = limits.kept;
    Error::new(Code::LimitKept, format!("more than {kept} bytes of JSON in a stream"))
        .hint("write the stream to a file and open that")
}

/// JSON starts with one of these; tar headers, gzip and zstd layers do not.
fn is_json_start(byte: u8) -> bool {
    matches!(byte, b'{' | b'[' | b' ' | b'\n' | b'\r' | b'\t' | b'n')
}

/// A stream as input of a scan: offsets only go up.
struct Forward<R> {
    stream: R,
    position: u64,
    ended: bool,
    buffer: Vec<u8>,
}

impl<R: Read> Forward<R> {
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
        Ok(got)
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

impl<R: Read> Input for Forward<R> {
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
