//! Other programs' readings of one archive: Go's `archive/tar`, which is in every daemon, GNU tar, libarchive, Python,
//! and the `tar` crate.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use ocitar::tarball::{Kind, Member as Ours};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::bytes::TYPE;

/// One member as one reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: Vec<u8>,
    pub kind: Seen,
    /// Bytes of a regular file.
    pub size: u64,
    /// Of a regular file, by readers that read it.
    pub digest: Option<String>,
}

/// What kind of thing a reader takes a member for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    File,
    Directory,
    Symlink,
    HardLink,
    Device,
    /// By its type, as the reader names it.
    Other(u8),
}

impl Seen {
    /// By the type of the header.
    pub fn flag(flag: u8) -> Seen {
        match flag {
            b'0' | 0 => Seen::File,
            b'1' => Seen::HardLink,
            b'2' => Seen::Symlink,
            b'3' | b'4' | b'6' => Seen::Device,
            b'5' => Seen::Directory,
            other => Seen::Other(other),
        }
    }

    /// By the first letter of a long listing.
    fn letter(letter: u8) -> Seen {
        match letter {
            b'-' => Seen::File,
            b'h' => Seen::HardLink,
            b'l' => Seen::Symlink,
            b'b' | b'c' | b'p' => Seen::Device,
            b'd' => Seen::Directory,
            other => Seen::Other(other),
        }
    }
}

impl From<Kind> for Seen {
    fn from(kind: Kind) -> Seen {
        match kind {
            Kind::File => Seen::File,
            Kind::Directory => Seen::Directory,
            Kind::Symlink => Seen::Symlink,
            Kind::HardLink => Seen::HardLink,
            _ => Seen::Device,
        }
    }
}

/// What a reader makes of an archive.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub members: Vec<Member>,
    /// Why it stopped, when it did not come to a good end.
    pub error: Option<String>,
}

impl Reading {
    /// ocitar's own, without bodies.
    pub fn of(members: &[Ours]) -> Reading {
        let members = members.iter().map(|member| {
            let name = member.name.as_bytes().to_vec();
            Member { name, kind: member.kind.into(), size: member.size, digest: None }
        });
        Reading { members: members.collect(), error: None }
    }

    /// Whether two readers that are content see the same members. Who did not read bodies is not asked about them.
    pub fn agrees(&self, other: &Reading) -> bool {
        self.members.len() == other.members.len()
            && self.members.iter().zip(&other.members).all(|(a, b)| {
                let same_body = match (&a.digest, &b.digest) {
                    (Some(a), Some(b)) => a == b,
                    _ => true,
                };
                plain(&a.name) == plain(&b.name)
                    && a.kind == b.kind
                    && a.size == b.size
                    && same_body
            })
    }

    /// The members in short, for messages.
    pub fn shown(&self) -> String {
        let mut text = String::new();
        for member in self.members.iter().take(12) {
            let name = String::from_utf8_lossy(&member.name);
            text.push_str(&format!("\n        {:?} {} {name:?}", member.kind, member.size));
        }
        if let Some(error) = &self.error {
            text.push_str(&format!("\n        {error}"));
        }
        text
    }
}

/// A name as a consumer looks it up, who cleans it: `./` and a directory's `/` are no part of it.
fn plain(name: &[u8]) -> &[u8] {
    if matches!(name, b"." | b"./") {
        return b".";
    }
    let name = name.strip_prefix(b"./").unwrap_or(name);
    name.strip_suffix(b"/").unwrap_or(name)
}

/// A program that lists tars.
pub enum Reader {
    /// Speaks the items of `go/main.go`.
    Helper { name: &'static str, program: PathBuf, arguments: Vec<PathBuf> },
    /// GNU tar and bsdtar: a process for each archive, a long listing.
    Lister {
        name: &'static str,
        program: &'static str,
        arguments: &'static [&'static str],
        columns: usize,
    },
    /// The `tar` crate, in this process.
    Crate,
}

impl Reader {
    /// Those whose programs are on the PATH, Go first. With `OCITAR_READERS=1` all must be.
    pub fn all() -> Vec<Reader> {
        let mut all: Vec<Reader> = Vec::new();
        let lacks = |name: &str, why: &str| {
            let is_wanted = std::env::var("OCITAR_READERS").is_ok_and(|value| value == "1");
            assert!(!is_wanted, "{name}: {why}");
            println!("not compared with {name}: {why}");
        };
        match build_go() {
            Ok(program) => all.push(Reader::Helper { name: "Go", program, arguments: Vec::new() }),
            Err(why) => lacks("Go", &why),
        }
        let script = folder().join("read.py");
        let python =
            Reader::Helper { name: "Python", program: "python3".into(), arguments: vec![script] };
        let gnu = Reader::Lister {
            name: "GNU tar",
            program: "tar",
            arguments: &[
                "--numeric-owner",
                "--quoting-style=literal",
                "--absolute-names",
                "--show-stored-names",
                "-tvf",
            ],
            columns: 5,
        };
        let bsd = Reader::Lister {
            name: "bsdtar",
            program: "bsdtar",
            arguments: &["--numeric-owner", "-tvf"],
            columns: 8,
        };
        for (reader, probe) in [(python, "python3"), (gnu, "tar"), (bsd, "bsdtar")] {
            match version(probe) {
                Some(text) if probe == "tar" && !text.contains("GNU tar") => {
                    lacks("GNU tar", "tar is another one")
                }
                Some(_) => all.push(reader),
                None => lacks(reader.name(), "not on the PATH"),
            }
        }
        all.push(Reader::Crate);
        all
    }

    pub fn name(&self) -> &'static str {
        match self {
            Reader::Helper { name, .. } | Reader::Lister { name, .. } => name,
            Reader::Crate => "tar crate",
        }
    }

    /// Whether it reads files, and not just what is in memory.
    pub fn reads_files(&self) -> bool {
        !matches!(self, Reader::Crate)
    }

    /// Whether reading is a matter of microseconds, so that thousands may be read.
    pub fn is_fast(&self) -> bool {
        !matches!(self, Reader::Lister { .. })
    }

    /// Reads archives, in order.
    pub fn read(&self, archives: &[&[u8]]) -> Vec<Reading> {
        match self {
            Reader::Helper { program, arguments, .. } => {
                let items: Vec<(u8, &[u8])> = archives.iter().map(|bytes| (b't', *bytes)).collect();
                ask(program, arguments, &items).iter().map(from_helper).collect()
            }
            Reader::Lister { .. } => {
                let file = tempfile::NamedTempFile::new().unwrap();
                let one = |bytes: &&[u8]| {
                    fs::write(file.path(), bytes).unwrap();
                    self.read_file(file.path())
                };
                archives.iter().map(one).collect()
            }
            Reader::Crate => archives.iter().map(|bytes| read_with_crate(bytes)).collect(),
        }
    }

    /// Reads a file, which may be larger than the memory.
    pub fn read_file(&self, path: &Path) -> Reading {
        match self {
            Reader::Helper { program, arguments, .. } => {
                let item = (b'f', path.to_str().unwrap().as_bytes());
                from_helper(&ask(program, arguments, &[item])[0])
            }
            Reader::Lister { program, arguments, columns, .. } => {
                let mut command = Command::new(program);
                command.args(*arguments).arg(path).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
                let output = command.output().unwrap();
                let lines =
                    output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                let members = lines.map(|line| from_line(line, *columns)).collect();
                let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Reading { members, error: (!output.status.success()).then_some(complaint) }
            }
            Reader::Crate => unreachable!("the crate reads what is in memory"),
        }
    }

    /// Reads documents, when this is Go: each with its kind. `Err` is why Go refuses it.
    pub fn documents(&self, items: &[(u8, &[u8])]) -> Vec<Result<Value, String>> {
        let Reader::Helper { name: "Go", program, arguments } = self else {
            panic!("{} reads no documents", self.name())
        };
        let mut answers = ask(program, arguments, items);
        answers
            .iter_mut()
            .map(|answer| match answer["error"].as_str().unwrap() {
                "" => Ok(answer["value"].take()),
                error => Err(error.to_owned()),
            })
            .collect()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/readers")
}

fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn build_go() -> Result<PathBuf, String> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile-go-reader");
    let mut command = Command::new("go");
    command.args(["build", "-o"]).arg(&program).arg(".").current_dir(folder().join("go"));
    // Nothing is fetched: neither modules nor another Go.
    command.env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=mod").env("GOPROXY", "off");
    let output = command.output().map_err(|_| "no `go` on the PATH".to_owned())?;
    match output.status.success() {
        true => Ok(program),
        false => panic!("{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Gives items to a helper and takes a line for each.
fn ask(program: &Path, arguments: &[PathBuf], items: &[(u8, &[u8])]) -> Vec<Value> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.env("PYTHONUTF8", "1").spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let answers: Vec<Value> = thread::scope(|scope| {
        scope.spawn(move || {
            for (kind, bytes) in items {
                input.write_all(&[*kind]).unwrap();
                input.write_all(&(bytes.len() as u64).to_be_bytes()).unwrap();
                input.write_all(bytes).unwrap();
            }
        });
        output.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    });
    assert!(child.wait().unwrap().success(), "{} failed", program.display());
    assert_eq!(answers.len(), items.len());
    answers
}

fn from_helper(answer: &Value) -> Reading {
    let members = answer["members"].as_array().unwrap().iter().map(|member| {
        let text = member[0].as_str().unwrap();
        let bytes =
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap());
        let kind = Seen::flag(u8::try_from(member[1].as_u64().unwrap()).unwrap());
        let digest = member[3].as_str().filter(|digest| !digest.is_empty()).map(str::to_owned);
        // Python reports a size below zero.
        Member { name: bytes.collect(), kind, size: member[2].as_u64().unwrap_or(u64::MAX), digest }
    });
    let error = answer["error"].as_str().filter(|error| !error.is_empty());
    Reading { members: members.collect(), error: error.map(str::to_owned) }
}

/// A line of a long listing: columns, the size among them, and the name.
fn from_line(line: &[u8], columns: usize) -> Member {
    let kind = Seen::letter(line[0]);
    let mut words = Vec::new();
    let mut rest = line;
    while words.len() < columns {
        let blank = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        words.push(&rest[..blank]);
        let behind = &rest[blank..];
        // One blank stands before the name, which may start with more of them.
        let blanks = match words.len() == columns {
            true => behind.len().min(1),
            false => behind.iter().take_while(|byte| **byte == b' ').count(),
        };
        rest = &behind[blanks..];
    }
    // mode owner/group SIZE date time; mode links owner group SIZE month day year.
    let size = words[if columns == 5 { 2 } else { 4 }];
    let size = std::str::from_utf8(size).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let arrow: &[u8] = match kind {
        Seen::Symlink => b" -> ",
        Seen::HardLink => b" link to ",
        _ => b"",
    };
    let end = (!arrow.is_empty())
        .then(|| rest.windows(arrow.len()).position(|window| window == arrow))
        .flatten();
    let name = rest[..end.unwrap_or(rest.len())].to_vec();
    Member { name, kind, size: if kind == Seen::File { size } else { 0 }, digest: None }
}

fn read_with_crate(bytes: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let mut archive = tar::Archive::new(bytes);
    let result = archive.entries().and_then(|entries| {
        for entry in entries {
            let mut entry = entry?;
            let flag = entry.header().as_bytes()[TYPE];
            if flag == b'g' {
                continue;
            }
            let mut name = entry.path_bytes().into_owned();
            // The crate keeps the NULs behind the one that ends a GNU long name.
            name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
            let is_folder = flag == 0 && name.ends_with(b"/");
            let kind = if is_folder { Seen::Directory } else { Seen::flag(flag) };
            let size = if kind == Seen::File { entry.size() } else { 0 };
            let mut digest = None;
            if kind == Seen::File && size <= 64 << 20 {
                let mut body = Vec::new();
                if entry.read_to_end(&mut body)? as u64 != size {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                digest = Some(digest_of(&body));
            }
            reading.members.push(Member { name, kind, size, digest });
        }
        Ok(())
    });
    reading.error = result.err().map(|error| error.to_string());
    reading
}

/// The SHA-256 in hex.
pub fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
