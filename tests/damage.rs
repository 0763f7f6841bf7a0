//! Damage: every archive of `testdata/` with flipped bytes and cut off at every
//! block. Nothing panics, nothing damaged passes for sound, and `retag` never
//! leaves an output behind.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use ocitar::archive::{Access, Archive, OpenOptions};
use ocitar::diagnostics::{Diagnostics, Severity};
use ocitar::error::Code;
use ocitar::progress::Silent;
use ocitar::verify::VerifyOptions;
use tar::EntryType;

const BLOCK: usize = 512;
const CONTROL_FILES: [&str; 4] = ["index.json", "manifest.json", "oci-layout", "repositories"];
/// Cuts of larger files are sampled.
const EXHAUSTIVE: usize = 64 << 10;

/// A member as the `tar` crate sees it: the reference that owes nothing to the
/// code under test.
struct Member {
    name: String,
    kind: EntryType,
    /// Its first extended header, or its header.
    start: usize,
    body: usize,
    size: usize,
}

impl Member {
    fn end(&self) -> usize {
        self.body + self.size.next_multiple_of(BLOCK)
    }
}

struct Sample {
    name: String,
    bytes: Vec<u8>,
}

impl Sample {
    fn members(&self) -> Vec<Member> {
        let name = |raw: &[u8]| {
            let name = std::str::from_utf8(raw).unwrap();
            let name = name.strip_prefix("./").unwrap_or(name);
            name.strip_suffix('/').unwrap_or(name).to_owned()
        };
        let mut names = tar::Archive::new(&*self.bytes);
        let names: Vec<String> =
            names.entries().unwrap().map(|entry| name(&entry.unwrap().path_bytes())).collect();
        let mut names = names.into_iter();
        let mut members = Vec::new();
        let mut start = None;
        for entry in tar::Archive::new(&*self.bytes).entries().unwrap().raw(true) {
            let entry = entry.unwrap();
            let kind = entry.header().entry_type();
            let header = usize::try_from(entry.raw_header_position()).unwrap();
            if matches!(kind, EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink)
            {
                start.get_or_insert(header);
                continue;
            }
            members.push(Member {
                name: names.next().unwrap(),
                kind,
                start: start.take().unwrap_or(header),
                body: usize::try_from(entry.raw_file_position()).unwrap(),
                size: usize::try_from(entry.size()).unwrap(),
            });
        }
        assert!(names.next().is_none(), "{}", self.name);
        members
    }
}

fn samples(wanted: impl Fn(&str) -> bool) -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut samples: Vec<Sample> = fs::read_dir(folder)
        .unwrap()
        .map(|item| item.unwrap())
        .filter(|item| wanted(item.file_name().to_str().unwrap()))
        .map(|item| Sample {
            name: item.file_name().into_string().unwrap(),
            bytes: fs::read(item.path()).unwrap(),
        })
        .collect();
    assert!(samples.len() >= 10, "the test data is there");
    samples.sort_by(|a, b| a.name.cmp(&b.name));
    samples
}

fn plain() -> Vec<Sample> {
    samples(|name| name.ends_with(".tar"))
}

fn compressed() -> Vec<Sample> {
    samples(|name| name.contains(".tar."))
}

/// What `verify` says of some bytes.
struct Verdict {
    code: u8,
    findings: Diagnostics,
    unverifiable: Vec<Box<str>>,
    /// What opening stops every other verb with.
    fatal: Option<Code>,
    /// The unpacked bytes, when the archive passes.
    unpacked: Option<Vec<u8>>,
}

impl Verdict {
    fn names(&self, member: &str) -> bool {
        let mut bad = self.findings.iter().filter(|finding| finding.severity >= Severity::Error);
        bad.any(|finding| finding.error.place().member.as_deref() == Some(member))
    }

    fn errors(&self) -> String {
        let bad = self.findings.iter().filter(|finding| finding.severity >= Severity::Error);
        bad.map(|finding| format!("\n    {}", finding.error)).collect()
    }
}

fn verify(what: &str, bytes: &[u8]) -> Verdict {
    let work = || {
        let archive = match OpenOptions::new().open_bytes("damaged.tar", bytes) {
            Ok(archive) => archive,
            Err(error) => {
                return Verdict {
                    code: error.class().exit_code(),
                    findings: Diagnostics::default(),
                    unverifiable: Vec::new(),
                    fatal: Some(error.code()),
                    unpacked: None,
                };
            }
        };
        let mut options = VerifyOptions::default();
        options.jobs = Some(1);
        let report = archive.verify(&options, &Silent);
        assert_eq!(report.is_ok(), report.findings.exit_code() == 0, "{what}");
        let fatal = archive.findings().fatal_one().map(|error| error.code());
        Verdict {
            code: report.findings.exit_code(),
            fatal,
            unpacked: report.is_ok().then(|| unpacked(&archive)),
            findings: report.findings,
            unverifiable: report.unverifiable,
        }
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| panic!("{what}: a panic"))
}

/// A plan that edits nothing holds the archive as it was before compression.
fn unpacked(archive: &Archive) -> Vec<u8> {
    let mut bytes = Vec::new();
    let plan = archive.edit().plan().unwrap();
    plan.visit(&mut |chunk| {
        bytes.extend_from_slice(chunk);
        Ok(())
    })
    .unwrap();
    bytes
}

/// Runs `work` on every sample with as many threads as there are; returns what
/// it counted, and fails with all complaints at once.
fn on_all(samples: &[Sample], work: impl Fn(&Sample, &mut Vec<String>) -> usize + Sync) -> usize {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let chunk = samples.len().div_ceil(threads);
    let (count, complaints) = thread::scope(|scope| {
        let handles: Vec<_> = samples
            .chunks(chunk)
            .map(|samples| {
                scope.spawn(|| {
                    let mut complaints = Vec::new();
                    let count: usize =
                        samples.iter().map(|sample| work(sample, &mut complaints)).sum();
                    (count, complaints)
                })
            })
            .collect();
        let mut all = (0, Vec::new());
        for handle in handles {
            let (count, complaints) = handle.join().unwrap();
            all.0 += count;
            all.1.extend(complaints);
        }
        all
    });
    let shown = complaints.iter().take(40).map(|line| format!("\n  {line}")).collect::<String>();
    assert!(complaints.is_empty(), "{} of {count} went wrong:{shown}", complaints.len());
    count
}

#[test]
fn the_archives_are_sound() {
    for sample in plain().iter().chain(&compressed()) {
        let verdict = verify(&sample.name, &sample.bytes);
        assert_eq!(verdict.code, 0, "{}{}", sample.name, verdict.errors());
    }
}

#[test]
fn a_flipped_byte_of_a_body_is_found() {
    let flips = on_all(&plain(), |sample, complaints| {
        let sound = verify(&sample.name, &sample.bytes);
        let mut flips = 0;
        for member in sample.members().iter().filter(|m| m.kind.is_file() && m.size > 0) {
            let unverifiable = sound.unverifiable.iter().any(|name| **name == *member.name);
            for (at, bit) in [(0, 0x01), (member.size / 2, 0x80), (member.size - 1, 0x10)] {
                let mut bytes = sample.bytes.clone();
                bytes[member.body + at] ^= bit;
                let what = format!("{}: {} byte {at} of {}", sample.name, member.name, member.size);
                let verdict = verify(&what, &bytes);
                flips += 1;
                if !unverifiable && (verdict.code != 1 || !verdict.names(&member.name)) {
                    complaints.push(format!("{what}: exit {}{}", verdict.code, verdict.errors()));
                }
            }
        }
        flips
    });
    println!("{flips} flips in bodies");
}

#[test]
fn a_flipped_byte_of_a_header_is_found() {
    let flips = on_all(&plain(), |sample, complaints| {
        let mut flips = 0;
        for (number, member) in sample.members().iter().enumerate() {
            // Name, size, type, and a byte no reader uses; all are in the sum.
            for at in [0, 124, 156, 500] {
                let mut bytes = sample.bytes.clone();
                bytes[member.start + at] ^= 0x01;
                let what = format!("{}: header of member {number} byte {at}", sample.name);
                let verdict = verify(&what, &bytes);
                flips += 1;
                if verdict.code != 3 {
                    complaints.push(format!("{what}: exit {}{}", verdict.code, verdict.errors()));
                }
            }
        }
        flips
    });
    println!("{flips} flips in headers");
}

#[test]
fn a_compressed_archive_is_damaged_or_the_same() {
    let plain: BTreeMap<String, Vec<u8>> = plain().into_iter().map(|s| (s.name, s.bytes)).collect();
    let tried = on_all(&compressed(), |sample, complaints| {
        let base = sample.name.split('.').next().unwrap();
        let same = &plain[&format!("{base}.tar")];
        let mut tried = 0;
        let mut check = |what: String, bytes: &[u8]| {
            let verdict = verify(&what, bytes);
            tried += 1;
            if verdict.code == 0 && verdict.unpacked.as_ref() != Some(same) {
                complaints.push(format!("{what}: passes with other content"));
            }
        };
        // Magic, flags and check sums stand at either end, so all of those.
        let len = sample.bytes.len();
        let at_an_end = |at: usize| at < 24 || at + 24 >= len;
        for at in (0..len).filter(|at| at_an_end(*at) || at % 5 == 0) {
            let bits = if at_an_end(at) { 0..8 } else { at % 8..at % 8 + 1 };
            for bit in bits {
                let mut bytes = sample.bytes.clone();
                bytes[at] ^= 1 << bit;
                check(format!("{} byte {at} bit {bit}", sample.name), &bytes);
            }
        }
        for cut in (0..len).filter(|at| at_an_end(*at) || at % 11 == 0) {
            check(format!("{} cut at {cut}", sample.name), &sample.bytes[..cut]);
        }
        tried
    });
    println!("{tried} flips and cuts of compressed archives");
}

/// What a cut must lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// Inside a member, or a control file is still to come.
    Malformed,
    /// Every member is there, the end marker is not.
    NoEnd,
    /// Other members are still to come.
    Failure,
    /// The marker is whole; what is missing is padding behind it.
    Any,
}

impl Want {
    fn of(members: &[Member], cut: usize) -> Want {
        let end = members.last().unwrap().end();
        let inside = members.iter().any(|member| member.start < cut && cut < member.end());
        let mut to_come = members.iter().filter(|member| cut <= member.start);
        match () {
            () if inside || to_come.clone().any(|m| CONTROL_FILES.contains(&&*m.name)) => {
                Want::Malformed
            }
            () if to_come.next().is_some() => Want::Failure,
            () if cut < end + 2 * BLOCK => Want::NoEnd,
            () => Want::Any,
        }
    }

    fn allows(self, code: u8) -> bool {
        match self {
            Want::Malformed => code == 3,
            Want::NoEnd => code == 1,
            Want::Failure => code != 0,
            Want::Any => true,
        }
    }
}

/// Every block border, and places off it, spread over the borders.
fn cuts(sample: &Sample) -> Vec<usize> {
    let len = sample.bytes.len();
    let borders: Vec<usize> = (0..len).step_by(BLOCK).collect();
    let step = if len <= EXHAUSTIVE { 1 } else { borders.len().div_ceil(EXHAUSTIVE / BLOCK) };
    let borders = borders.into_iter().step_by(step);
    let off = [1, 100, 511];
    borders.enumerate().flat_map(|(i, at)| [at, at + off[i % 3]]).filter(|at| *at < len).collect()
}

#[test]
fn a_cut_is_found() {
    let tried = on_all(&plain(), |sample, complaints| {
        let members = sample.members();
        let cuts = cuts(sample);
        for cut in &cuts {
            let (cut, want) = (*cut, Want::of(&members, *cut));
            let what = format!("{} cut at {cut}", sample.name);
            let verdict = verify(&what, &sample.bytes[..cut]);
            // Between two blocks there is no archive to speak of, only damage.
            let ragged = cut % BLOCK != 0 && want == Want::Failure;
            if !want.allows(verdict.code) && !ragged || (ragged && verdict.code == 0) {
                complaints.push(format!(
                    "{what}: exit {}, wanted {want:?}{}",
                    verdict.code,
                    verdict.errors()
                ));
            }
            // From a pipe, with only the documents kept, it stops the same verbs.
            let stream =
                OpenOptions::new().access(Access::Metadata).open_stream("-", &sample.bytes[..cut]);
            let fatal =
                stream.map(|archive| archive.findings().fatal_one().map(|error| error.code()));
            if fatal.as_ref().ok() != Some(&verdict.fatal) {
                complaints
                    .push(format!("{what}: {:?} as a file, {fatal:?} as a stream", verdict.fatal));
            }
        }
        cuts.len()
    });
    println!("{tried} cuts");
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("in.tar");
        fs::write(&path, bytes).unwrap();
        path
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ocitar"));
        command.current_dir(self.0.path()).env("TMPDIR", self.0.path());
        command.arg("--no-progress").args(arguments).output().unwrap()
    }

    fn files(&self) -> Vec<String> {
        let files = fs::read_dir(self.0.path()).unwrap();
        let mut files: Vec<String> =
            files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        files
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_command_says_what_the_library_says() {
    let folder = Folder::new();
    let mut runs = 0;
    for (i, sample) in plain().iter().enumerate() {
        let members = sample.members();
        let cuts = cuts(sample);
        // Another place in each archive; the last cut is in the end marker or
        // the padding.
        for cut in [cuts[i * 7 % cuts.len()], cuts[cuts.len() - 1 - i % 6]] {
            let want = Want::of(&members, cut);
            folder.write(&sample.bytes[..cut]);
            let what = format!("{} cut at {cut}", sample.name);
            let verdict = verify(&what, &sample.bytes[..cut]);
            let output = folder.run(&["verify", "in.tar"]);
            assert_eq!(
                output.status.code(),
                Some(i32::from(verdict.code)),
                "verify {what}\n{}",
                stderr(&output)
            );
            let output = folder.run(&["ls", "in.tar"]);
            let code = output.status.code().unwrap();
            assert_eq!(code != 0, verdict.fatal.is_some(), "ls {what}\n{}", stderr(&output));
            if want == Want::Malformed {
                assert_eq!(code, 3, "ls {what}\n{}", stderr(&output));
                assert!(
                    stderr(&output).starts_with("ocitar: in.tar: "),
                    "{what}: {}",
                    stderr(&output)
                );
            }
            runs += 2;
        }
    }
    assert_eq!(folder.files(), ["in.tar"]);
    println!("{runs} runs of verify and ls");
}

/// One way to damage an archive, and what `retag` says then.
struct Class {
    name: &'static str,
    code: i32,
    id: &'static str,
    /// Whether the line names a member besides an offset.
    member: bool,
    arguments: &'static [&'static str],
    damage: fn(&[u8], &[Member]) -> Option<Vec<u8>>,
}

fn member(members: &[Member], wanted: impl Fn(&Member) -> bool) -> Option<&Member> {
    members.iter().find(|member| member.kind.is_file() && wanted(member))
}

fn flip(bytes: &[u8], at: usize) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    Some(bytes)
}

fn is_json_blob(bytes: &[u8], member: &Member) -> bool {
    member.name.starts_with("blobs/") && bytes[member.body] == b'{'
}

const CLASSES: &[Class] = &[
    Class {
        name: "a header byte",
        code: 3,
        id: "E_TAR_CHECKSUM",
        member: false,
        arguments: &[],
        damage: |bytes, members| flip(bytes, members[members.len() / 2].start),
    },
    Class {
        name: "cut in a body",
        code: 3,
        id: "E_TAR_TRUNCATED",
        member: true,
        arguments: &[],
        damage: |bytes, members| {
            let member = members.iter().rfind(|member| member.size > 0)?;
            Some(bytes[..member.body + 1].to_vec())
        },
    },
    Class {
        name: "cut before the first control file",
        code: 3,
        id: "E_TAR_TRUNCATED",
        member: false,
        arguments: &[],
        damage: |bytes, members| {
            let first = members.iter().find(|member| CONTROL_FILES.contains(&&*member.name))?;
            (first.start > 0).then(|| bytes[..first.start].to_vec())
        },
    },
    Class {
        name: "a control file that is no JSON",
        code: 3,
        id: "E_JSON_",
        member: true,
        arguments: &[],
        damage: |bytes, members| {
            let member = member(members, |m| matches!(&*m.name, "index.json" | "manifest.json"))?;
            flip(bytes, member.body)
        },
    },
    Class {
        name: "a manifest",
        code: 1,
        id: "E_DIGEST_MISMATCH",
        member: true,
        arguments: &[],
        damage: |bytes, members| {
            let index = member(members, |m| m.name == "index.json")?;
            let index = std::str::from_utf8(&bytes[index.body..index.body + index.size]).unwrap();
            let listed =
                |m: &Member| m.name.rsplit('/').next().is_some_and(|hex| index.contains(hex));
            let member = member(members, |m| is_json_blob(bytes, m) && listed(m))?;
            flip(bytes, member.body + member.size - 1)
        },
    },
    Class {
        name: "a layer, with --verify",
        code: 1,
        id: "E_DIGEST_MISMATCH",
        member: true,
        arguments: &["--verify"],
        damage: |bytes, members| {
            let member = member(members, |m| {
                m.name.starts_with("blobs/") && !is_json_blob(bytes, m) && m.size > 0
            })?;
            flip(bytes, member.body)
        },
    },
    Class {
        name: "a second index with other bytes",
        code: 3,
        id: "E_TAR_DUP",
        member: true,
        arguments: &[],
        damage: |bytes, members| {
            let member = member(members, |m| m.name == "index.json")?;
            let mut copy = bytes[member.start..member.end()].to_vec();
            copy[member.body - member.start + member.size - 1] = b' ';
            let end = members.last()?.end();
            Some([&bytes[..end], &copy, &bytes[end..]].concat())
        },
    },
    Class {
        name: "one zero block, then more",
        code: 3,
        id: "E_TAR_EOF",
        member: false,
        arguments: &[],
        damage: |bytes, members| {
            let at = members[members.len() / 2].start;
            Some([&bytes[..at], &[0; BLOCK], &bytes[at..]].concat())
        },
    },
];

#[test]
fn retag_of_a_damaged_archive_leaves_nothing() {
    let samples = plain();
    let mut runs = 0;
    for class in CLASSES {
        let folder = Folder::new();
        let mut done = 0;
        for sample in samples.iter().step_by(3) {
            let Some(bytes) = (class.damage)(&sample.bytes, &sample.members()) else { continue };
            folder.write(&bytes);
            let what = format!("{}: {}", sample.name, class.name);
            let rule = ["--prefix", "docker.io=r.example", "--allow-unmatched"];
            let output =
                folder.run(&[&["retag", "in.tar", "out.tar"], class.arguments, &rule].concat());
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(class.code), "{what}\n{text}");
            let lines: Vec<&str> =
                text.lines().filter(|line| !line.starts_with("  hint: ")).collect();
            assert!(lines.len() == 1 || !class.arguments.is_empty(), "{what}\n{text}");
            assert!(lines[0].contains(class.id) && lines[0].contains("offset "), "{what}\n{text}");
            assert!(!class.member || lines[0].contains("(member "), "{what}\n{text}");
            assert_eq!(folder.files(), ["in.tar"], "{what}");
            done += 1;
        }
        assert!(done > 0, "no archive for {}", class.name);
        runs += done;
    }
    println!("{runs} runs of retag");
}

#[test]
fn retag_of_a_damaged_compressed_archive_leaves_nothing() {
    let folder = Folder::new();
    for sample in compressed() {
        let path = folder.write(&sample.bytes[..sample.bytes.len() * 2 / 3]);
        let output =
            folder.run(&["retag", "in.tar", "out.tar.gz", "--prefix", "docker.io=r.example"]);
        let text = stderr(&output);
        assert!(matches!(output.status.code(), Some(1 | 3)), "{}\n{text}", sample.name);
        let lines = text.lines().filter(|line| !line.starts_with("  hint: ")).count();
        assert_eq!(lines, 1, "{}\n{text}", sample.name);
        assert_eq!(
            folder.files(),
            [path.file_name().unwrap().to_str().unwrap()],
            "{}",
            sample.name
        );
    }
}
