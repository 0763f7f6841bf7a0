//! Retag in memory: the old names are gone, every other byte is what it was,
//! and the result verifies no worse than the input did.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use ocitar::archive::Archive;
use ocitar::edit::{Outcome, RenameRules, Rule};
use ocitar::error::Class;
use ocitar::progress::Silent;
use ocitar::tarball::{Kind, Marker};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    ocitar_fuzz::mutate_tar(data, size, max_size, seed, true)
});

fuzz_target!(|data: &[u8]| {
    let Ok(archive) = ocitar_fuzz::open(data).and_then(Archive::check) else { return };
    let same = ocitar_fuzz::written(&archive.edit().plan().unwrap());
    let end = archive.tar().unwrap().end();
    if end.marker == Marker::Full && archive.compression() == ocitar::compress::Compression::None {
        assert_eq!(same, &data[..end.padding as usize], "a plan without an edit");
    }
    let sum = data.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    let edit = match archive.edit().rename(&rules(sum)) {
        Ok(edit) => edit,
        Err(error) => {
            return assert!(matches!(error.class(), Class::Content | Class::Usage), "{error}");
        }
    };
    let changes = edit.renaming().unwrap().changes().to_vec();
    let dropped = edit.renaming().unwrap().dropped().count();
    let out = match edit.plan() {
        Ok(plan) => ocitar_fuzz::written(&plan),
        Err(error) => return assert!(error.class() != Class::Bug, "{error}"),
    };
    if dropped > 0 && dropped == archive.images().len() {
        // What is left of an archive without its images may be none.
        return;
    }
    let new = ocitar_fuzz::open(&out).and_then(Archive::check).expect("what was written opens");

    let names = new.images().iter().flat_map(|image| image.names());
    let names: HashSet<String> = names.map(ToString::to_string).collect();
    let given = |name: &String| {
        changes.iter().any(|change| match &change.outcome {
            Outcome::Rename(new) | Outcome::Add(new) => new.to_string() == *name,
            Outcome::Keep => change.old.as_ref() == Some(name),
            _ => false,
        })
    };
    for change in &changes {
        match (&change.old, &change.outcome) {
            (Some(old), Outcome::Drop | Outcome::Rename(_)) => {
                assert!(given(old) || !names.contains(old), "{old} is still there");
            }
            (_, Outcome::Add(new)) if change.image.is_some() => {
                assert!(names.contains(&new.to_string()), "{new}")
            }
            _ => {}
        }
        if let (Some(_), Outcome::Rename(new)) = (change.image, &change.outcome) {
            assert!(names.contains(&new.to_string()), "{new} is not there");
        }
    }
    for member in archive.tar().unwrap().members().iter().filter(|m| m.kind == Kind::File) {
        if matches!(&*member.name, "index.json" | "manifest.json" | "repositories") {
            continue;
        }
        let body = |all: &[u8], at: u64, len: u64| all[at as usize..(at + len) as usize].to_vec();
        match new.tar().unwrap().find(&member.name) {
            Some(found) => assert!(
                body(&out, found.body, found.size) == body(&same, member.body, member.size),
                "{} changed",
                member.name
            ),
            None => assert!(dropped > 0, "{} is gone", member.name),
        }
    }
    assert!(
        severity(&new) <= severity(&archive),
        "worse: {:?}",
        new.verify(&ocitar_fuzz::one_thread(), &Silent).findings
    );
});

fn rules(sum: u8) -> RenameRules {
    let rules = RenameRules::new()
        .allow_unmatched(sum & 8 > 0)
        .keep_old(sum & 16 > 0)
        .drop_unmatched(sum & 32 > 0);
    rules.rule(match sum & 7 {
        0 | 1 => Rule::parse("new.example/team/app:9").unwrap(),
        2 | 3 => Rule::prefix("docker.io=new.example/hub").unwrap(),
        4 => Rule::prefix("docker.io/library=localhost:5000").unwrap(),
        5 => Rule::regex("[^/]+/(.+)", "new.example/$1").unwrap(),
        6 => Rule::regex(".*/([^/]+):[^:]+", "new.example/$1:same").unwrap(),
        _ => Rule::parse("app:1.0=example.com/team/app:latest").unwrap(),
    })
}

fn severity(archive: &Archive) -> Option<ocitar::diagnostics::Severity> {
    archive.verify(&ocitar_fuzz::one_thread(), &Silent).findings.worst()
}
