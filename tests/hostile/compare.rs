//! ocitar's reading of tars beside everybody else's.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use ocitar::archive::{Archive, OpenOptions};
use ocitar::compress::Compression;
use ocitar::diagnostics::Severity;
use ocitar::error::Code;

use crate::readers::{Reader, Reading, Seen, digest_of};

/// Longer than this for one archive of a few kilobytes is for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// What ocitar makes of the tar in some bytes, whatever the documents in it say.
pub enum Ours {
    /// It lists these members.
    Accepted {
        reading: Reading,
        /// It says that the end marker is not whole, where Go may say that the file is cut.
        is_open: bool,
    },
    Refused(Code),
    /// Compressed, so other readers have nothing to say of it.
    Packed,
    Panic,
}

impl Ours {
    pub fn of(bytes: &[u8]) -> Ours {
        let work = || match OpenOptions::new().open_bytes("hostile", bytes) {
            Ok(archive) => Ours::read(&archive, bytes),
            Err(error) => Ours::Refused(error.code()),
        };
        catch_unwind(AssertUnwindSafe(work)).unwrap_or(Ours::Panic)
    }

    fn read(archive: &Archive, bytes: &[u8]) -> Ours {
        if archive.compression() != Compression::None {
            return Ours::Packed;
        }
        let fatal = archive.findings().iter().filter(|found| found.severity == Severity::Fatal);
        // What is wrong with documents is nothing to a reader of tars.
        let about_tar = |code: Code| {
            code.id().starts_with("E_TAR_")
                || matches!(code, Code::LimitEntries | Code::LimitTarMeta)
        };
        for error in fatal.map(|found| &found.error) {
            if about_tar(error.code()) || error.message() == "not a tar archive" {
                return Ours::Refused(error.code());
            }
        }
        let members = archive.tar().unwrap().members();
        let mut reading = Reading::of(members);
        for (seen, member) in reading.members.iter_mut().zip(members) {
            let [start, end] =
                [member.body, member.body + member.size].map(|at| usize::try_from(at).unwrap());
            seen.digest = (seen.kind == Seen::File).then(|| digest_of(&bytes[start..end]));
        }
        let is_open = archive.findings().iter().any(|found| found.error.code() == Code::TarNoEnd);
        Ours::Accepted { reading, is_open }
    }
}

/// How one reader compares.
#[derive(Default)]
struct Theirs {
    asked: usize,
    accepted: usize,
    /// Of those ocitar refuses.
    accepted_of_refused: usize,
    /// Accepted by both, with other members.
    otherwise: usize,
    /// Accepted by ocitar alone.
    refused_of_accepted: usize,
}

/// Counts over all archives of one kind.
#[derive(Default)]
pub struct Tally {
    title: String,
    tried: usize,
    accepted: usize,
    packed: usize,
    panics: usize,
    hangs: usize,
    refused: BTreeMap<&'static str, usize>,
    readers: BTreeMap<(usize, &'static str), Theirs>,
    /// Refused by ocitar, accepted by two readers at least that list other members.
    disputed: usize,
    pub lies: Vec<String>,
}

impl Tally {
    pub fn new(title: &str) -> Tally {
        Tally { title: title.to_owned(), ..Tally::default() }
    }

    /// Reads archives with everybody. The slow readers are asked about one of `every` only.
    pub fn add(&mut self, archives: &[(String, Vec<u8>)], readers: &[Reader], every: usize) {
        let ours = self.read(archives);
        let mut readings: Vec<Vec<Reading>> = vec![Vec::new(); ours.len()];
        for (at, reader) in readers.iter().enumerate() {
            let step = if reader.is_fast() { 1 } else { every };
            let asked: Vec<usize> = (0..ours.len())
                .step_by(step)
                .filter(|i| !matches!(ours[*i], Ours::Packed))
                .collect();
            let bytes: Vec<&[u8]> = asked.iter().map(|i| &*archives[*i].1).collect();
            for (i, theirs) in asked.into_iter().zip(reader.read(&bytes)) {
                self.compare(at, reader.name(), &archives[i].0, &ours[i], &theirs);
                readings[i].push(theirs);
            }
        }
        for (ours, readings) in ours.iter().zip(&readings) {
            let mut content = readings.iter().filter(|reading| reading.error.is_none());
            let first = content.next();
            let differ = first.is_some_and(|first| content.any(|other| !first.agrees(other)));
            self.disputed += usize::from(differ && matches!(ours, Ours::Refused(_)));
        }
    }

    /// Reads with ocitar, in another thread: one that hangs is counted, and ends the test.
    fn read(&mut self, archives: &[(String, Vec<u8>)]) -> Vec<Ours> {
        let (sender, receiver) = mpsc::channel();
        let mut all = Vec::new();
        thread::scope(|scope| {
            scope.spawn(move || {
                archives.iter().try_for_each(|(_, bytes)| sender.send(Ours::of(bytes)))
            });
            for (name, _) in archives {
                match receiver.recv_timeout(PATIENCE) {
                    Ok(ours) => all.push(ours),
                    Err(RecvTimeoutError::Timeout) => {
                        eprintln!("{name}: ocitar hangs");
                        std::process::exit(1);
                    }
                    Err(RecvTimeoutError::Disconnected) => unreachable!("panics are caught"),
                }
            }
        });
        for ((name, _), ours) in archives.iter().zip(&all) {
            self.tried += 1;
            match ours {
                Ours::Accepted { .. } => self.accepted += 1,
                Ours::Refused(code) => *self.refused.entry(code.id()).or_default() += 1,
                Ours::Packed => self.packed += 1,
                Ours::Panic => {
                    self.panics += 1;
                    self.lies.push(format!("{name}: a panic"));
                }
            }
        }
        all
    }

    fn compare(
        &mut self,
        at: usize,
        reader: &'static str,
        what: &str,
        ours: &Ours,
        theirs: &Reading,
    ) {
        let counts = self.readers.entry((at, reader)).or_default();
        counts.asked += 1;
        counts.accepted += usize::from(theirs.error.is_none());
        let Ours::Accepted { reading, is_open } = ours else {
            counts.accepted_of_refused += usize::from(theirs.error.is_none());
            return;
        };
        let agrees = reading.agrees(theirs);
        // Where the end is not whole Go may stop with an error, behind the last member.
        let is_refused = theirs.error.is_some();
        let is_lie = if is_refused { reader == "Go" && !(*is_open && agrees) } else { !agrees };
        counts.otherwise += usize::from(!is_refused && !agrees);
        counts.refused_of_accepted += usize::from(is_refused);
        if is_lie {
            self.lies.push(format!(
                "{what}\n    ocitar:{}\n    {reader}:{}",
                reading.shown(),
                theirs.shown()
            ));
        }
    }

    /// The table.
    pub fn shown(&self) -> String {
        let mut text = String::new();
        let refused: usize = self.refused.values().sum();
        let _ = writeln!(text, "\n{}: {} archives", self.title, self.tried);
        let _ = writeln!(
            text,
            "  ocitar      accepts {:>6}, refuses {refused:>6}, panics {}, hangs {}{}",
            self.accepted,
            self.panics,
            self.hangs,
            if self.packed > 0 {
                format!(" ({} compressed, not compared)", self.packed)
            } else {
                String::new()
            }
        );
        for ((_, name), counts) in &self.readers {
            let Theirs { asked, accepted, accepted_of_refused, otherwise, refused_of_accepted } =
                counts;
            let _ = writeln!(
                text,
                "  {name:<11} accepts {accepted:>6} of {asked:>6}; of ocitar's refusals {accepted_of_refused:>6}; \
                 of what ocitar accepts it refuses {refused_of_accepted:>3} and lists otherwise {otherwise:>3}"
            );
        }
        let _ = writeln!(
            text,
            "  refused by ocitar, and readers that accept list different members: {}",
            self.disputed
        );
        let mut ids: Vec<(&&str, &usize)> = self.refused.iter().collect();
        ids.sort_by_key(|(id, count)| (std::cmp::Reverse(**count), **id));
        for line in ids.chunks(4) {
            let line: Vec<String> =
                line.iter().map(|(id, count)| format!("{id} {count}")).collect();
            let _ = writeln!(text, "    {}", line.join(", "));
        }
        text
    }
}
