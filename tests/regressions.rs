//! What the fuzz targets have found, replayed without a fuzzer: every file of
//! `fuzz/regressions/TARGET/` must not panic and must verify with the exit code
//! its extension states (`NAME.exit3`).
#![cfg(all(feature = "xz", feature = "bzip2"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

use ocitar::archive::{Access, Archive, Format, OpenOptions};
use ocitar::bundle::{Bundle, GatherOptions, Layout, Output, Platforms, Selection, SplitBy};
use ocitar::diagnostics::Severity;
use ocitar::edit::{RenameRules, Rule};
use ocitar::error::{Class, Error};
use ocitar::progress::Silent;
use ocitar::reference::Reference;
use ocitar::verify::{Report, VerifyOptions};

/// The stored finds of a target: name, stated exit code, bytes.
fn finds(target: &str) -> Vec<(String, u8, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions").join(target);
    let finds = fs::read_dir(folder).unwrap().map(|item| {
        let path = item.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let code = name.rsplit_once(".exit").unwrap().1.parse().unwrap();
        (name, code, fs::read(path).unwrap())
    });
    let finds: Vec<_> = finds.collect();
    assert!(!finds.is_empty(), "{target}");
    finds
}

fn verify(archive: &Archive) -> Report {
    let mut options = VerifyOptions::default();
    options.jobs = Some(1);
    archive.verify(&options, &Silent)
}

fn exit_code(opened: &Result<Archive, Error>) -> u8 {
    match opened {
        Ok(archive) => verify(archive).findings.exit_code(),
        Err(error) => error.class().exit_code(),
    }
}

#[test]
fn archives_open_as_stated() {
    for (name, code, bytes) in
        ["tar_scan", "layer_scan", "archive_open", "retag_roundtrip"].into_iter().flat_map(finds)
    {
        let whole = OpenOptions::new().open_bytes("find", bytes.clone());
        assert_eq!(exit_code(&whole), code, "{name}");
        assert_eq!(exit_code(&OpenOptions::new().open_stream("find", &*bytes)), code, "{name}");
        // A stream of which only the documents are kept stops the same verbs.
        let stream = OpenOptions::new().access(Access::Metadata).open_stream("find", &*bytes);
        let fatal = |opened: &Archive| opened.findings().fatal_one().map(Error::code);
        assert_eq!(
            stream.ok().as_ref().map(fatal),
            whole.ok().as_ref().map(fatal),
            "{name} as a stream"
        );
    }
}

#[test]
fn archives_retag_as_sound_as_they_were() {
    for (name, code, bytes) in finds("retag_roundtrip") {
        for (at, rule) in [
            Rule::parse("new.example/team/app:9"),
            Rule::prefix("docker.io=new.example/hub"),
            Rule::regex("[^/]+/(.+)", "new.example/$1"),
        ]
        .into_iter()
        .enumerate()
        {
            for options in 0..4 {
                let what = format!("{name}, rule {at}, options {options}");
                let rules = RenameRules::new().allow_unmatched(true).rule(rule.clone().unwrap());
                let rules = rules.keep_old(options & 1 > 0).drop_unmatched(options & 2 > 0);
                let Ok(archive) =
                    OpenOptions::new().open_bytes("find", bytes.clone()).and_then(Archive::check)
                else {
                    assert_ne!(code, 0, "{what}");
                    continue;
                };
                let edit = match archive.edit().rename(&rules) {
                    Ok(edit) => edit,
                    Err(error) => {
                        let class = error.class();
                        assert!(matches!(class, Class::Content | Class::Usage), "{what}: {error}");
                        continue;
                    }
                };
                if edit.renaming().unwrap().dropped().count() == archive.images().len() {
                    // What is left of an archive without its images may be none.
                    continue;
                }
                let plan = match edit.plan() {
                    Ok(plan) => plan,
                    Err(error) => {
                        assert_eq!(error.class(), Class::Content, "{what}: {error}");
                        continue;
                    }
                };
                let mut out = Vec::new();
                plan.visit(&mut |chunk| {
                    out.extend_from_slice(chunk);
                    Ok(())
                })
                .unwrap();
                let new =
                    OpenOptions::new().open_bytes("output", out).and_then(Archive::check).unwrap();
                let worst = |archive: &Archive| {
                    verify(archive).findings.worst().filter(|w| *w >= Severity::Error)
                };
                assert!(worst(&new) <= worst(&archive), "{what}: {:?}", verify(&new).findings);
            }
        }
    }
}

#[test]
fn archives_are_written_as_sound_as_they_were() {
    let all = Selection::new().platforms(Platforms::All);
    let selections = [Selection::new(), all.clone(), all.lenient(true)];
    for (name, code, bytes) in finds("operations") {
        for (format, selection) in [Format::Oci, Format::Docker, Format::Hybrid]
            .into_iter()
            .flat_map(|format| selections.iter().map(move |selection| (format, selection)))
        {
            let what = format!("{name} as {format}, {selection:?}");
            let archive = OpenOptions::new().open_bytes("find", bytes.clone());
            let archive = archive.and_then(Archive::check).unwrap();
            let layout = Layout::new(format);
            let Some(bundle) = allowed(
                &what,
                Bundle::gather(&[&archive], &GatherOptions::new(), &Silent)
                    .and_then(|bundle| bundle.select(selection)),
            ) else {
                continue;
            };
            if let Some(out) = allowed(&what, bundle.output(&layout)) {
                assert!(verify(&opened(&out)).findings.exit_code() <= code, "{what}");
            }
            for part in
                allowed(&what, bundle.split(SplitBy::Image, selection, &layout)).iter().flatten()
            {
                opened(&part.bundle.output(&layout).unwrap());
            }
        }
    }
}

/// `None` for what the archive or the request does not allow.
fn allowed<T>(what: &str, result: Result<T, Error>) -> Option<T> {
    let is_allowed = |error: &Error| matches!(error.class(), Class::Content | Class::Usage);
    result.inspect_err(|error| assert!(is_allowed(error), "{what}: {error}")).ok()
}

/// What is written, as an archive again.
fn opened(out: &Output<'_>) -> Archive {
    let mut written = Vec::new();
    let mut keep = |chunk: &[u8]| {
        written.extend_from_slice(chunk);
        Ok(())
    };
    out.plan().unwrap().visit(&mut keep).unwrap();
    OpenOptions::new().open_bytes("output", written).and_then(Archive::check).unwrap()
}

#[test]
fn references_parse_as_stated() {
    for (name, code, bytes) in finds("reference") {
        let text = String::from_utf8(bytes).unwrap();
        let parsed = Reference::parse(&text);
        assert_eq!(parsed.is_ok(), code == 0, "{name}");
        if let Ok(reference) = parsed {
            assert_eq!(Reference::parse(&reference.to_string()).as_ref(), Ok(&reference), "{name}");
            assert_eq!(reference.canonical().canonical(), reference.canonical(), "{name}");
        }
    }
}
