//! `ocitar recover` in every state a file and its journal can be in.
//!
//! Journals are made here from the description of their format, not by ocitar.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::support::docker::docker28;
use super::support::run::{Room, Run, arg, ocitar};
use super::{LONG, SHORT, journal_of, to_new_file};

/// What differs between two files, as one range.
pub struct Journal {
    pub inode: u64,
    pub sizes: [u64; 2],
    /// Offset, old bytes, new bytes.
    pub ranges: Vec<(u64, Vec<u8>, Vec<u8>)>,
}

impl Journal {
    pub fn new(inode: u64, old: &[u8], new: &[u8]) -> Journal {
        let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
        let range = (same as u64, old[same..].to_vec(), new[same..].to_vec());
        Journal { inode, sizes: [old.len() as u64, new.len() as u64], ranges: vec![range] }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"ocitar journal 1".to_vec();
        for number in [self.inode, self.sizes[0], self.sizes[1], self.ranges.len() as u64] {
            bytes.extend(number.to_le_bytes());
        }
        let old: Vec<u8> = self.ranges.iter().flat_map(|range| range.1.clone()).collect();
        let new: Vec<u8> = self.ranges.iter().flat_map(|range| range.2.clone()).collect();
        bytes.extend(Sha256::digest(&old));
        bytes.extend(Sha256::digest(&new));
        for (offset, old, new) in &self.ranges {
            for number in [*offset, old.len() as u64, new.len() as u64] {
                bytes.extend(number.to_le_bytes());
            }
        }
        bytes.extend(Sha256::digest(&bytes));
        bytes.extend(old);
        bytes
    }
}

/// A file, what it is to become, and its path.
struct Fixture {
    room: Room,
    file: PathBuf,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Fixture {
    /// One whose new form is longer, or shorter.
    fn new(longer: bool) -> Fixture {
        let room = Room::new();
        let file = room.write("in.tar", docker28().tar.bytes());
        let [before, after] = if longer { [SHORT, LONG] } else { [LONG, SHORT] };
        let old = to_new_file(&room, &file, &[before]).unwrap();
        fs::write(&file, &old).unwrap();
        let new = to_new_file(&room, &file, &[after]).unwrap();
        fs::remove_file(room.path("new-file")).unwrap();
        assert_eq!(new.len() > old.len(), longer);
        Fixture { room, file, old, new }
    }

    fn journal(&self) -> Journal {
        Journal::new(fs::metadata(&self.file).unwrap().ino(), &self.old, &self.new)
    }

    fn put(&self, file: &[u8], journal: &[u8]) {
        fs::write(&self.file, file).unwrap();
        fs::write(journal_of(&self.file), journal).unwrap();
    }

    fn recover(&self) -> Run {
        ocitar(["recover", "--json", arg(&self.file)])
    }

    /// Recovers to one of the two files, and says so.
    #[track_caller]
    fn becomes(&self, what: &str, says: &str, want: &[u8]) {
        let run = self.recover().ok();
        assert_eq!(run.json()["recovery"], says, "{what}");
        assert!(fs::read(&self.file).unwrap() == want, "{what}");
        assert_eq!(self.room.list(), ["in.tar"], "{what}");
        let run = self.recover().ok();
        assert_eq!(run.json()["recovery"], "not-needed", "{what}, again");
        ocitar(["ls", arg(&self.file)]).ok();
    }

    /// Refuses, and touches neither.
    #[track_caller]
    fn refuses(&self, what: &str) {
        let before = [&self.file, &journal_of(&self.file)].map(|path| fs::read(path).unwrap());
        let run = self.recover();
        assert_eq!((run.code, run.id()), (5, "E_JOURNAL"), "{what}: {}", run.err);
        let after = [&self.file, &journal_of(&self.file)].map(|path| fs::read(path).unwrap());
        assert!(before == after, "{what}");
        assert_eq!(ocitar(["ls", arg(&self.file)]).id(), "E_JOURNAL", "{what}");
    }

    /// A state between old and new: every block is of the one or the other, or not written yet where the file grows.
    fn between(&self, seed: u64, size: usize) -> Vec<u8> {
        let mut file = self.old.clone();
        file.resize(size, 0);
        let mut state = seed;
        for (number, block) in file.chunks_mut(512).enumerate() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let from = number * 512;
            if self.old.get(from..from + 512) == self.new.get(from..from + 512) {
                continue;
            }
            let source = match state >> 62 {
                0 => continue,
                // Nothing has arrived yet.
                1 if from >= self.old.len() => &[][..],
                _ => self.new.get(from..).unwrap_or_default(),
            };
            let len = block.len();
            block.fill(0);
            let take = len.min(source.len());
            block[..take].copy_from_slice(&source[..take]);
        }
        file
    }
}

#[test]
fn whole_journals() {
    for longer in [true, false] {
        let fixture = Fixture::new(longer);
        let journal = fixture.journal().bytes();
        let (old, new) = (&fixture.old, &fixture.new);
        fixture.put(old, &journal);
        fixture.becomes("not begun", "not-begun", old);
        fixture.put(new, &journal);
        fixture.becomes("complete", "complete", new);
        let (least, most) = (old.len().min(new.len()), old.len().max(new.len()));
        for seed in 0..40 {
            // Sizes in which a write was cut short, too.
            let size = least + (most - least) * (seed as usize % 5) / 4;
            let between = fixture.between(seed, size);
            if &between == old || &between == new {
                continue;
            }
            fixture.put(&between, &journal);
            fixture.becomes(&format!("between, {seed}"), "restored", old);
        }
    }
}

#[test]
fn the_file_that_is_written_through_a_link() {
    let fixture = Fixture::new(true);
    let link = fixture.room.path("link.tar");
    symlink("in.tar", &link).unwrap();
    fixture.put(&fixture.between(3, fixture.new.len()), &fixture.journal().bytes());
    ocitar(["recover", arg(&link)]).ok();
    assert!(fs::read(&fixture.file).unwrap() == fixture.old);
    assert_eq!(fixture.room.list(), ["in.tar", "link.tar"]);
}

#[test]
fn torn_journals() {
    let fixture = Fixture::new(true);
    let whole = fixture.journal().bytes();
    let head = 112 + 24 + 32;
    let cuts = (0..head + 3).step_by(7).chain([16, 48, 111, 112, head - 1, head, whole.len() - 1]);
    for cut in cuts {
        // Cut short, and of full length with zeros where nothing arrived.
        for zeros in [false, true] {
            let mut journal = whole[..cut].to_vec();
            if zeros {
                journal.resize(whole.len(), 0);
            }
            fixture.put(&fixture.old, &journal);
            fixture.becomes(&format!("cut at {cut}, {zeros}"), "not-begun", &fixture.old);
        }
    }
    let mut between = fixture.between(3, fixture.new.len());
    // So that no reader takes it for an archive.
    between[..512].fill(1);
    for cut in [0, 100, head - 1, head, whole.len() - 1] {
        fixture.put(&between, &whole[..cut]);
        fixture.refuses(&format!("torn beside a file that is neither, cut at {cut}"));
    }
    // The old bytes are damaged, and not needed.
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fixture.put(&fixture.new, &damaged);
    fixture.becomes("damaged beside the new file", "complete", &fixture.new);
    fixture.put(&fixture.between(3, fixture.new.len()), &damaged);
    fixture.refuses("damaged beside a file that is neither");
}

#[test]
fn journals_of_something_else() {
    let fixture = Fixture::new(true);
    let between = fixture.between(3, fixture.new.len());
    let (old, new) = (&fixture.old, &fixture.new);

    let other = Journal { inode: 1, ..fixture.journal() };
    fixture.put(&between, &other.bytes());
    fixture.refuses("another inode");
    // Copied together with its journal, but in one of its two states.
    fixture.put(new, &other.bytes());
    fixture.becomes("another inode, the new file", "complete", new);

    for len in [old.len() - 1, new.len() + 1] {
        let mut grown = between.clone();
        grown.resize(len, 0);
        fixture.put(&grown, &fixture.journal().bytes());
        fixture.refuses("a file of another size");
    }

    let mut later = fixture.journal().bytes();
    later[15] = b'2';
    for file in [old, new, &between] {
        fixture.put(file, &later);
        fixture.refuses("another version");
    }

    let end = old.len() as u64;
    let nonsense = [
        vec![(u64::MAX - 3, vec![0; 8], vec![])],
        vec![(end, vec![1; 8], vec![])],
        vec![(new.len() as u64 - 4, vec![], vec![1; 8])],
        vec![(512, vec![0; 8], vec![1; 8]), (514, vec![0; 8], vec![1; 8])],
        vec![(512, vec![0; 8], vec![1; 8]), (0, vec![0; 8], vec![1; 8])],
    ];
    for (number, ranges) in nonsense.into_iter().enumerate() {
        fixture.put(&between, &Journal { ranges, ..fixture.journal() }.bytes());
        fixture.refuses(&format!("nonsense {number}"));
    }
}

#[test]
fn journals_that_are_none() {
    let fixture = Fixture::new(true);
    let journal = journal_of(&fixture.file);
    fs::write(fixture.room.path("victim"), "precious").unwrap();
    symlink("victim", &journal).unwrap();
    let run = fixture.recover();
    assert_eq!((run.code, run.id()), (5, "E_IO"), "{}", run.err);
    fs::remove_file(&journal).unwrap();
    fs::create_dir(&journal).unwrap();
    assert_eq!(fixture.recover().code, 5);
    fs::remove_dir(&journal).unwrap();
    fs::File::create(&journal).unwrap().set_len(1 << 40).unwrap();
    let run = fixture.recover();
    assert_eq!((run.code, run.id()), (5, "E_JOURNAL"), "{}", run.err);
    fs::remove_file(&journal).unwrap();

    // In a folder that others may write to.
    fixture.put(&fixture.between(3, fixture.new.len()), &fixture.journal().bytes());
    if chown(&journal, Some(12345), None).is_ok() {
        fixture.refuses("somebody else's journal");
        chown(&fixture.file, Some(12345), None).unwrap();
        ocitar(["recover", arg(&fixture.file)]).ok();
        assert!(fs::read(&fixture.file).unwrap() == fixture.old);
    }
    let run = ocitar(["recover", arg(&fixture.room.path("absent"))]);
    assert_eq!((run.code, run.id()), (5, "E_IO"), "{}", run.err);
}

#[test]
fn an_edit_that_is_going_on() {
    let fixture = Fixture::new(true);
    fixture.put(&fixture.between(3, fixture.new.len()), &fixture.journal().bytes());
    let flock = |path: &Path| {
        let mut flock = Command::new("flock");
        flock.arg(path).arg(env!("CARGO_BIN_EXE_ocitar")).arg("recover").arg(&fixture.file);
        flock.output()
    };
    let Ok(done) = flock(&journal_of(&fixture.file)) else {
        eprintln!("skipped: no flock");
        return;
    };
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(5), "{said}");
    assert!(said.contains("another ocitar is at work"), "{said}");
    fixture.becomes("afterwards", "restored", &fixture.old);
}

#[test]
fn it_says_what_it_did() {
    let fixture = Fixture::new(true);
    let journal = fixture.journal().bytes();
    let rows: [(&[u8], &str); 3] = [
        (&fixture.old, "the edit had not begun: the file is the old one"),
        (&fixture.new, "the edit was complete: the file is the new one"),
        (
            &fixture.between(3, fixture.new.len()),
            "the edit was undone: the file is the old one again",
        ),
    ];
    for (file, says) in rows {
        fixture.put(file, &journal);
        let run = ocitar(["recover", arg(&fixture.file)]).ok();
        assert_eq!(run.err.trim(), format!("{}: {says}", arg(&fixture.file)));
    }
    let run = ocitar(["recover", arg(&fixture.file)]).ok();
    assert!(run.err.contains("nothing to recover"), "{}", run.err);
}
