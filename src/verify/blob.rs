//! One file against everything stated about it, in one pass.

use crate::compress::{Compression, Facts, Reading, Wanted, measure_span};
use crate::diagnostics::Severity;
use crate::digest::{Algorithm, Digest};
use crate::error::{Code, Error};
use crate::media_type::{LayerCompression, MediaType};
use crate::verify::claims::Check;

pub(super) type Findings = Vec<(Severity, Error)>;

/// Reads a file once and compares.
pub(super) fn check(check: &Check, strict: bool, how: &Reading<'_>) -> Findings {
    match measure_span(&check.entry.span, &check.wanted(), how) {
        Ok(facts) => compare(check, &facts, strict),
        Err(error) => vec![(Severity::Fatal, error)],
    }
}

impl Check {
    fn wanted(&self) -> Wanted {
        let content = !self.diff_ids.is_empty() || self.either.is_some();
        let mut algorithms: Vec<Algorithm> = self.digests.iter().map(Digest::algorithm).collect();
        if content {
            algorithms.push(Algorithm::Sha256);
        }
        algorithms.sort_unstable();
        algorithms.dedup();
        Wanted { algorithms, content, layer: self.is_layer() }
    }

    /// Whether it is a layer of an image, which is unpacked as a tar. cosign's
    /// signatures have diff IDs, too, and another media type.
    fn is_layer(&self) -> bool {
        let has_other_type = self.layer_types.is_empty() && !self.sizes.is_empty();
        !self.diff_ids.is_empty() && !has_other_type
    }
}

/// Compares what was found with what is stated. With `strict` a layer must be
/// one thing to all readers.
pub(super) fn compare(check: &Check, facts: &Facts, strict: bool) -> Findings {
    let mut findings = Findings::new();
    let mut error = |error: Error| findings.push((Severity::Error, error));
    let len = check.entry.span.len;
    for stated in check.sizes.iter().filter(|stated| **stated != len) {
        error(
            Error::new(Code::SizeMismatch, "not of the size its descriptor states")
                .expected_found(stated, len),
        );
    }
    let mut is_corrupt = false;
    for stated in &check.digests {
        let found = facts.raw(stated.algorithm());
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
        return findings;
    }
    let plain = facts.raw(Algorithm::Sha256);
    let content = match &facts.unpacked {
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
        return findings;
    }
    match &facts.unpacked {
        Some(Err(failure)) => error(failure.clone()),
        _ => {
            for stated in check.diff_ids.iter().filter(|stated| content != Some(**stated)) {
                let found = content.map_or_else(String::new, |digest| digest.to_string());
                let message = "corrupt: the layer is not the one of its diff ID";
                error(Error::new(Code::DiffIdMismatch, message).expected_found(stated, found));
            }
        }
    }
    for media_type in &check.layer_types {
        findings.extend(check_type(media_type, facts.compression));
    }
    if let Some(layer) = facts.layer.as_ref().filter(|_| check.is_layer()) {
        let severity = if strict { Severity::Error } else { Severity::Warning };
        findings.extend(layer.failure.iter().map(|error| (Severity::Error, in_layer(error))));
        findings.extend(layer.doubts.iter().map(|error| (severity, in_layer(error))));
    }
    findings
}

/// An error about what is in a layer, whose own place is that of the blob.
fn in_layer(error: &Error) -> Error {
    let offset = error.place().offset.unwrap_or_default();
    Error::new(error.code(), format!("{} (at {offset} of the unpacked layer)", error.message()))
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
