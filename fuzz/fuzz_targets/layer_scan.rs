//! Layers: whatever pieces they come in they read the same, and what the strict
//! scan of archives accepts is to the lenient reader of layers the same list.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use ocitar::compress::Compression;
use ocitar::diagnostics::Severity;
use ocitar::error::Code;
use ocitar::tarball::Kind;
use ocitar::tarball::layer::{LayerMember, LayerReport, LayerScan};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    ocitar_fuzz::mutate_tar(data, size, max_size, seed, false)
});

fuzz_target!(|data: &[u8]| {
    let (members, report) = read(data, [data.len().max(1)]);
    assert_eq!(report.members as usize, members.len());
    let sizes = data.iter().rev().map(|byte| usize::from(*byte) * 7 + 1);
    let (again, in_pieces) = read(data, sizes);
    assert_eq!(members, again);
    assert_eq!(said(&report), said(&in_pieces));
    // Every byte is read once: members cannot state more than there is.
    let stated: u64 = members.iter().map(|member| member.size).fold(0, u64::saturating_add);
    assert!(report.failure.is_some() || stated <= data.len() as u64);

    let Ok(archive) = ocitar_fuzz::open(data) else { return };
    let Some(index) = archive.tar().filter(|_| archive.compression() == Compression::None) else {
        return;
    };
    let wrong = archive.findings().iter().filter(|found| found.severity >= Severity::Error);
    let tar_is_refused = |code: Code| {
        let is_tar = code.id().starts_with("E_TAR_") || code.id().starts_with("E_LIMIT_");
        (is_tar && code != Code::TarDup) || code == Code::Format
    };
    if wrong.map(|found| found.error.code()).any(tar_is_refused) {
        return;
    }
    assert!(report.failure.is_none(), "accepted as an archive: {:?}", report.failure);
    let odd =
        |doubt: &&ocitar::error::Error| matches!(doubt.code(), Code::LayerOdd | Code::LayerSparse);
    assert!(!report.doubts.iter().any(|doubt| odd(&doubt)), "{:?}", report.doubts);
    // Global headers are members to Go.
    let members = members.iter().filter(|member| member.flag != b'g');
    let theirs = members.map(|member| (name(&member.name), member.flag, member.size));
    let ours = index.members().iter();
    let ours = ours.map(|m| (m.name.as_bytes().to_vec(), flag(m.kind), m.size));
    let same_flag = |ours: u8, theirs: u8| match ours {
        b'3' => matches!(theirs, b'3' | b'4' | b'6'),
        b'0' => matches!(theirs, b'0' | b'7'),
        ours => ours == theirs,
    };
    let (ours, theirs): (Vec<_>, Vec<_>) = (ours.collect(), theirs.collect());
    let alike = ours.iter().zip(&theirs).all(|(ours, theirs)| {
        ours.0 == theirs.0 && ours.2 == theirs.2 && same_flag(ours.1, theirs.1)
    });
    assert!(alike && ours.len() == theirs.len(), "{ours:?}\n{theirs:?}");
});

fn read(data: &[u8], sizes: impl IntoIterator<Item = usize>) -> (Vec<LayerMember>, LayerReport) {
    let mut scan = LayerScan::new();
    let mut members = Vec::new();
    let mut rest = data;
    let mut sizes = sizes.into_iter();
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(rest.len()).min(rest.len());
        let (now, later) = rest.split_at(size);
        scan.push(now, &mut |member| members.push(member.clone()));
        rest = later;
    }
    (members, scan.finish())
}

fn said(report: &LayerReport) -> Vec<String> {
    report.failure.iter().chain(&report.doubts).map(ToString::to_string).collect()
}

fn name(raw: &[u8]) -> Vec<u8> {
    if raw == b"." || raw == b"./" {
        return b".".to_vec();
    }
    let raw = raw.strip_prefix(b"./").unwrap_or(raw);
    raw.strip_suffix(b"/").unwrap_or(raw).to_vec()
}

fn flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Directory => b'5',
        _ => b'3',
    }
}
