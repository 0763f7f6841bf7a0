//! Compressed layers beside second decoders: what `verify` decompresses another
//! decoder reads as the same bytes, and nothing is read that it refuses.
//!
//! The first byte says gzip or zstd; the rest is the layer.
#![no_main]

use std::io::Read;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use ocitar::archive::Archive;
use ocitar::diagnostics::Severity;
use ocitar::error::Code;
use ocitar::progress::Silent;
use ocitar::verify::VerifyOptions;
use ocitar_fuzz::{Random, layout, sha256};

/// Bytes that a second decoder gives at most.
const MOST: u64 = 8 << 20;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(seed);
    match random.below(4) {
        // The content of the first part changes, and is compressed again: plain
        // mutation ends at the checksums.
        0 | 1 if size > 1 => {
            let mut content = second(data[0], &data[1..size]).unwrap_or_else(|_| b"text".to_vec());
            content.truncate(max_size);
            let len = content.len();
            content.resize(len + 64, 0);
            let len = fuzzer_mutate(&mut content, len, len + 64);
            content.truncate(len);
            let at = random.below(content.len() + 1);
            let parts = match random.below(3) {
                0 => vec![&content[..]],
                1 => vec![&content[..at], &content[at..]],
                _ => vec![&content[..], &[]],
            };
            let parts: Vec<Vec<u8>> =
                parts.into_iter().map(|part| pack(data[0], part, &mut random)).collect();
            let all = [&data[..1], &parts.concat()].concat();
            let len = all.len().min(max_size);
            data[..len].copy_from_slice(&all[..len]);
            len
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});

fuzz_target!(|data: &[u8]| {
    let Some((kind, layer)) = data.split_first() else { return };
    let magic: &[u8] = if is_gzip(*kind) { &[0x1f, 0x8b, 8] } else { &[0x28, 0xb5, 0x2f, 0xfd] };
    if !layer.starts_with(magic) {
        return;
    }
    let theirs = second(*kind, layer);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        sha256(theirs.as_deref().unwrap_or_default())
    );
    let suffix = if is_gzip(*kind) { "gzip" } else { "zstd" };
    let archive = layout(config.as_bytes(), &format!("+{suffix}"), layer);
    let archive = ocitar_fuzz::open(&archive).and_then(Archive::check).expect("a sound layout");
    let mut options = VerifyOptions::default();
    options.jobs = Some(1);
    let report = archive.verify(&options, &Silent);
    let errors = report.findings.iter().filter(|found| found.severity >= Severity::Error);
    let codes: Vec<Code> = errors.map(|found| found.error.code()).collect();
    match theirs {
        Ok(bytes) => assert!(
            !codes.contains(&Code::DiffIdMismatch),
            "other bytes than a second decoder's {}: {:?}",
            bytes.len(),
            report.findings
        ),
        // zstd itself takes a compressed block of no bytes for an empty one; the format
        // wants a literals header there, and others fail for it.
        Err(error) if error.contains("LiteralsSectionParseError(GetBitsError") => {}
        // It was decompressed to the end when there is a diff ID to compare.
        Err(error) => assert!(
            !codes.is_empty() && !codes.contains(&Code::DiffIdMismatch),
            "a second decoder refuses it: {error}; {:?}",
            report.findings
        ),
    }
});

fn is_gzip(kind: u8) -> bool {
    kind & 1 == 0
}

fn pack(kind: u8, bytes: &[u8], random: &mut Random) -> Vec<u8> {
    if is_gzip(kind) {
        return libflate::gzip::Encoder::new(Vec::new())
            .and_then(|mut encoder| {
                std::io::Write::write_all(&mut encoder, bytes)?;
                encoder.finish().into_result()
            })
            .unwrap();
    }
    let level = match random.below(2) {
        0 => ruzstd::encoding::CompressionLevel::Uncompressed,
        _ => ruzstd::encoding::CompressionLevel::Fastest,
    };
    ruzstd::encoding::compress_to_vec(bytes, level)
}

fn second(kind: u8, layer: &[u8]) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    if is_gzip(kind) {
        let decoder =
            libflate::gzip::MultiDecoder::new(layer).map_err(|error| error.to_string())?;
        decoder.take(MOST).read_to_end(&mut all).map_err(|error| error.to_string())?;
    } else {
        frames(layer, &mut all)?;
    }
    if all.len() as u64 >= MOST { Err("too long".to_owned()) } else { Ok(all) }
}

/// zstd: frame after frame, skippable ones between them.
fn frames(mut layer: &[u8], all: &mut Vec<u8>) -> Result<(), String> {
    use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
    use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
    while !layer.is_empty() {
        let mut decoder = FrameDecoder::new();
        match decoder.reset(&mut layer) {
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                layer = layer.get(length as usize..).ok_or("a cut skippable frame")?;
                continue;
            }
            other => other.map_err(|error| error.to_string())?,
        }
        while !decoder.is_finished() {
            decoder
                .decode_blocks(&mut layer, BlockDecodingStrategy::UptoBytes(1 << 20))
                .map_err(|error| error.to_string())?;
            if let Some(bytes) = decoder.collect() {
                all.extend_from_slice(&bytes);
            }
            if all.len() as u64 >= MOST {
                return Err("too long".to_owned());
            }
        }
        if let Some(bytes) = decoder.collect() {
            all.extend_from_slice(&bytes);
        }
        let stated = decoder.get_checksum_from_data();
        if stated.is_some() && stated != decoder.get_calculated_checksum() {
            return Err("another checksum".to_owned());
        }
    }
    Ok(())
}
