//! One file against everything stated about it, in one pass.

use std::io::{self, Read};

use crate::compress::{Compression, Decoder, decode_error};
use crate::diagnostics::Severity;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Code, Error, Result};
use crate::limits::Limits;
use crate::media_type::{LayerCompression, MediaType};
use crate::progress::{Progress, advance};
use crate::source::SpanReader;
use crate::verify::claims::Check;

/// Bytes decompressed at once: stays in the second-level cache while hashed.
const BUFFER: usize = 128 << 10;

type Findings = Vec<(Severity, Error)>;

/// Reads a file once and compares.
pub(super) fn check(check: &Check, limits: &Limits, progress: &dyn Progress) -> Findings {
    let mut findings = Findings::new();
    if let Err(error) = compare(check, limits, progress, &mut findings) {
        findings.push((Severity::Fatal, error));
    }
    findings
}

fn compare(
    check: &Check,
    limits: &Limits,
    progress: &dyn Progress,
    findings: &mut Findings,
) -> Result<()> {
    let mut error = |error: Error| findings.push((Severity::Error, error));
    let len = check.entry.span.len;
    for stated in check.sizes.iter().filter(|stated| **stated != len) {
        error(
            Error::new(Code::SizeMismatch, "not of the size its descriptor states")
                .expected_found(stated, len),
        );
    }
    let mut head = vec![0; Compression::SNIFF_LEN.min(usize::try_from(len).unwrap_or(usize::MAX))];
    check.entry.span.source.read_exact_at(check.entry.span.offset, &mut head)?;
    let compression = Compression::sniff(&head);

    let mut raw = Hashers::new(check);
    let unpacks = !check.diff_ids.is_empty() || check.either.is_some();
    let unpacked: Option<Result<Digest>> = if unpacks && compression != Compression::None {
        Some(unpack(check, compression, limits, &mut raw, progress)?)
    } else {
        check.entry.span.visit_chunks(&mut |bytes| {
            raw.update(bytes);
            advance(progress, bytes.len() as u64)
        })?;
        None
    };
    let raw = raw.finish();

    let mut is_corrupt = false;
    for stated in &check.digests {
        let found = raw.of(stated.algorithm());
        if found != Some(*stated) {
            is_corrupt = true;
            let found = found.map_or_else(String::new, |digest| digest.to_string());
            error(
                Error::new(Code::DigestMismatch, "corrupt: not the bytes of its digest")
                    .expected_found(stated, found),
            );
        }
    }
    // A corrupt blob is corrupt; that it then does not unpack is no news.
    if is_corrupt {
        return Ok(());
    }
    let plain = raw.of(Algorithm::Sha256);
    let content = match &unpacked {
        None => plain,
        Some(Ok(digest)) => Some(*digest),
        Some(Err(_)) => None,
    };
    if let Some(stated) =
        check.either.filter(|stated| plain != Some(*stated) && content != Some(*stated))
    {
        let found = plain.map_or_else(String::new, |digest| digest.to_string());
        error(
            Error::new(
                Code::DigestMismatch,
                "corrupt: neither these bytes nor their content have the digest of the name",
            )
            .expected_found(stated, found),
        );
        return Ok(());
    }
    match unpacked {
        Some(Err(failure)) => error(failure),
        _ => {
            for stated in check.diff_ids.iter().filter(|stated| content != Some(**stated)) {
                let found = content.map_or_else(String::new, |digest| digest.to_string());
                let message = "corrupt: the layer is not the one of its diff ID";
                error(Error::new(Code::DiffIdMismatch, message).expected_found(stated, found));
            }
        }
    }
    for media_type in &check.layer_types {
        findings.extend(check_type(media_type, compression));
    }
    Ok(())
}

/// Decompresses to the very end, hashing both sides. The outer error is one of
/// reading; that the stream is damaged is the inner one, and then the rest of
/// the file is still hashed.
fn unpack(
    check: &Check,
    compression: Compression,
    limits: &Limits,
    raw: &mut Hashers,
    progress: &dyn Progress,
) -> Result<Result<Digest>> {
    let mut input = Tee { reader: check.entry.span.reader(), raw, progress };
    let unpacked = hash_unpacked(&mut input, compression, limits);
    if unpacked.is_err() {
        let mut rest = vec![0; BUFFER];
        while input.read(&mut rest).map_err(decode_error)? > 0 {}
    }
    match unpacked {
        Err(error) if matches!(error.code(), Code::Interrupted | Code::Io | Code::InputChanged) => {
            Err(error)
        }
        other => Ok(other),
    }
}

fn hash_unpacked(input: &mut Tee<'_>, compression: Compression, limits: &Limits) -> Result<Digest> {
    let mut decoder = Decoder::new(compression, input, limits)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; BUFFER];
    loop {
        match decoder.read(&mut buffer).map_err(decode_error)? {
            0 => return Ok(hasher.finish()),
            got => hasher.update(&buffer[..got]),
        }
    }
}

/// Hashes what is read through it.
struct Tee<'a> {
    reader: SpanReader,
    raw: &'a mut Hashers,
    progress: &'a dyn Progress,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.reader.read(buffer)?;
        self.raw.update(&buffer[..got]);
        advance(self.progress, got as u64).map_err(io::Error::other)?;
        Ok(got)
    }
}

/// The hashes a file needs: one, unless its digests are of several kinds.
struct Hashers(Vec<(Algorithm, Hasher)>);

struct Hashed(Vec<(Algorithm, Digest)>);

impl Hashers {
    fn new(check: &Check) -> Hashers {
        let mut wanted: Vec<Algorithm> = check.digests.iter().map(Digest::algorithm).collect();
        if check.either.is_some() || !check.diff_ids.is_empty() {
            wanted.push(Algorithm::Sha256);
        }
        wanted.sort_unstable();
        wanted.dedup();
        Hashers(wanted.into_iter().map(|algorithm| (algorithm, Hasher::new(algorithm))).collect())
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.iter_mut().for_each(|(_, hasher)| hasher.update(bytes));
    }

    fn finish(self) -> Hashed {
        Hashed(self.0.into_iter().map(|(algorithm, hasher)| (algorithm, hasher.finish())).collect())
    }
}

impl Hashed {
    fn of(&self, algorithm: Algorithm) -> Option<Digest> {
        self.0.iter().find(|(found, _)| *found == algorithm).map(|(_, digest)| *digest)
    }
}

/// The media type of a layer against its first bytes. An OCI type without
/// suffix promises a plain tar and containerd fails on anything else; every
/// other mislabelling is sniffed away by all consumers.
fn check_type(media_type: &MediaType, found: Compression) -> Option<(Severity, Error)> {
    let declared = match media_type.declared_compression()? {
        LayerCompression::Gzip => Compression::Gzip,
        LayerCompression::Zstd => Compression::Zstd,
        LayerCompression::Uncompressed => Compression::None,
    };
    if declared == found {
        return None;
    }
    let sniffed = matches!(found, Compression::None | Compression::Gzip | Compression::Zstd)
        && (media_type.is_docker() || declared != Compression::None);
    let severity = if sniffed { Severity::Warning } else { Severity::Error };
    let error =
        Error::new(Code::MediaType, format!("the media type {media_type} does not fit the bytes"));
    Some((severity, error.expected_found(declared, found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mislabelled_layers() {
        let rows = [
            (MediaType::OCI_LAYER, Compression::None, None),
            (MediaType::OCI_LAYER, Compression::Gzip, Some(Severity::Error)),
            (MediaType::OCI_LAYER, Compression::Bzip2, Some(Severity::Error)),
            (MediaType::OCI_LAYER_GZIP, Compression::None, Some(Severity::Warning)),
            (MediaType::OCI_LAYER_GZIP, Compression::Zstd, Some(Severity::Warning)),
            (MediaType::OCI_LAYER_GZIP, Compression::Xz, Some(Severity::Error)),
            (MediaType::DOCKER_LAYER, Compression::Gzip, Some(Severity::Warning)),
            (MediaType::IN_TOTO, Compression::None, None),
        ];
        for (media_type, found, want) in rows {
            let got = check_type(&media_type, found).map(|(severity, _)| severity);
            assert_eq!(got, want, "{media_type} {found}");
        }
    }
}
