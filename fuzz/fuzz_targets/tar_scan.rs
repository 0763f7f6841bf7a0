//! The strict scan: members lie inside the input, in order and apart, and what
//! is accepted reads the same to the `tar` crate.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use ocitar::diagnostics::Severity;
use ocitar::error::Code;
use ocitar::tarball::{Kind, Marker, Member};
use tar::EntryType;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    ocitar_fuzz::mutate_tar(data, size, max_size, seed, false)
});

fuzz_target!(|data: &[u8]| {
    let Ok(archive) = ocitar_fuzz::open(data) else { return };
    let Some(index) = archive.tar() else { return };
    let plain = archive.compression() == ocitar::compress::Compression::None;
    let mut end = 0;
    for (at, member) in index.members().iter().enumerate() {
        assert_eq!(member.index as usize, at);
        assert!(
            end <= member.start
                && member.start <= member.header
                && member.header + 512 == member.body
        );
        end = member.end();
    }
    assert!(end <= index.end().offset && index.end().offset <= index.end().padding);
    assert!(!plain || index.end().padding <= data.len() as u64);

    // What is wrong with the documents or with two members of one name is
    // nothing to a reader of the tar.
    let fatal = archive.findings().iter().filter(|f| f.severity == Severity::Fatal);
    let mut about_tar = fatal.map(|f| (f.error.code(), f.error.message() == "not a tar archive"));
    let refused = about_tar.any(|(code, no_tar)| {
        let is_tar = code.id().starts_with("E_TAR_") && code != Code::TarDup;
        is_tar || no_tar || matches!(code, Code::LimitEntries | Code::LimitTarMeta)
    });
    if refused || !plain {
        return;
    }
    let mut other = tar::Archive::new(data);
    let mut seen = 0;
    for entry in other.entries().unwrap() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(_) if index.end().marker != Marker::Full => break,
            Err(error) => panic!("the tar crate refuses member {seen}: {error}"),
        };
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            continue;
        }
        let found =
            (name(&entry.path_bytes()), kind(&entry), entry.size(), entry.raw_file_position());
        assert_eq!(index.members().get(seen).map(ours), Some(found), "member {seen}");
        seen += 1;
    }
    assert_eq!(seen, index.members().len());
});

fn ours(member: &Member) -> (Vec<u8>, Kind, u64, u64) {
    (member.name.as_bytes().to_vec(), member.kind, member.size, member.body)
}

fn name(raw: &[u8]) -> Vec<u8> {
    // The crate keeps NULs behind the one that ends a GNU long name.
    let raw = raw.split(|b| *b == 0).next().unwrap_or_default();
    if raw == b"." || raw == b"./" {
        return b".".to_vec();
    }
    let raw = raw.strip_prefix(b"./").unwrap_or(raw);
    raw.strip_suffix(b"/").unwrap_or(raw).to_vec()
}

fn kind(entry: &tar::Entry<'_, &[u8]>) -> Kind {
    match entry.header().entry_type() {
        // Before there were types a directory's name told it.
        EntryType::Regular if entry.path_bytes().ends_with(b"/") => Kind::Directory,
        EntryType::Regular => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Device,
        other => panic!("the tar crate sees {other:?}"),
    }
}
