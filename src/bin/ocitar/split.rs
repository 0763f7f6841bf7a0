//! `ocitar split`: one archive becomes several.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ocitar::bundle::{GatherOptions, IndexPolicy, Output, Platforms, SplitBy};
use ocitar::compress::{Codec, Compression};
use ocitar::error::{Code, Error, Result};
use ocitar::text::{parse_size, size};
use ocitar::write::{WriteOptions, check_space};
use rustix::fs::{CWD, RenameFlags};
use serde_json::{Value, json};

use crate::args::{Common, Split};
use crate::bundles::{Request, Verb};
use crate::changes::ledger_json;
use crate::output::Printer;
use crate::{report, said, writing};

/// How many parts are told of when there are many.
const FEW: usize = 10;

/// The file that says what is in which part.
const PARTS: &str = "parts.json";

pub fn run(verb: &Split, common: &Common, printer: &Printer) -> Result<u8> {
    let by = by(&verb.by)?;
    if verb.output == Path::new("-") {
        return Err(Error::new(Code::Usage, "split writes a folder, not a stream"));
    }
    let index = match by {
        SplitBy::Platform => IndexPolicy::Rewrite,
        _ => IndexPolicy::Keep,
    };
    let request = Request {
        verb: Verb::Split,
        inputs: std::slice::from_ref(&verb.input),
        output: &verb.output,
        gather: GatherOptions::new(),
        platforms: Platforms::Complete,
        index,
        to: verb.to,
        shape: &verb.shape,
        writing: &verb.writing,
    };
    let job = request.check(printer)?;
    let is_dry = verb.writing.dry_run;
    let codec = verb.writing.codec(None)?;
    let folder = match is_dry {
        true => None,
        false => Some(Folder::new(&verb.output, &verb.input, verb.writing.force)?),
    };
    let archives = match job.open(common, printer)? {
        Ok(archives) => archives,
        Err(code) => return Ok(code),
    };
    let fail = |error: Error| job.failed(&archives, error);
    let (gathered, layout) = job.gather(&archives, false, common, printer)?;
    let parts = gathered.split(by, &job.selection, &layout).map_err(fail)?;
    let own = archives.first().map_or(Compression::None, |archive| archive.compression());
    let codec: Codec = codec.unwrap_or(own.into());
    let mut outputs = Vec::new();
    let mut plans = Vec::new();
    for part in &parts {
        let output = part.bundle.output(&layout).map_err(fail)?;
        plans.push(output.plan().map_err(fail)?);
        outputs.push(output);
    }
    let mut written: Vec<u64> = plans.iter().map(|plan| plan.len()).collect();
    let files: Vec<String> =
        parts.iter().map(|part| format!("{}.tar{}", part.name, extension(codec))).collect();
    let folder = folder.map(Folder::start).transpose()?;
    if let Some(folder) = &folder {
        if codec.compression == Compression::None {
            check_space(folder.path(), written.iter().sum())?;
        }
        let options = WriteOptions::new().jobs(common.jobs()).codec(codec);
        for ((plan, file), bytes) in plans.iter().zip(&files).zip(&mut written) {
            *bytes = writing::write(plan, &[], &folder.path().join(file), options, common)?.bytes;
        }
    }
    let rows = files.iter().zip(&outputs).zip(&written);
    let said: Vec<Value> =
        rows.clone().map(|((file, output), bytes)| part_json(file, output, *bytes)).collect();
    let said = json!({
        "parts": said,
        "dropped": dropped(&outputs),
        "broken": broken(&outputs),
        "left_out": said::left_out_json(&outputs),
    });
    if let Some(folder) = folder {
        folder.finish(&said, printer)?;
    }
    let most = if printer.verbose || files.len() <= 2 * FEW { files.len() } else { FEW };
    for ((file, output), bytes) in rows.take(most) {
        let images = said::count(output.images().len(), "image");
        printer.say(&format!("{file}: {images}, {}", size(*bytes)));
        if printer.verbose {
            printer.say(said::ledger_text(&output.written()).trim_end());
        }
    }
    if files.len() > most {
        printer.say(&format!("… and {} more, as {PARTS} lists them", files.len() - most));
    }
    let dropped = dropped(&outputs);
    said::list("dropped", dropped.iter().copied(), printer);
    let word = if is_dry { "would write" } else { "wrote" };
    let parts = said::count(outputs.len(), "part");
    printer.say(&format!("{parts}; {word} {}", size(written.iter().sum())));
    job.report(&said, printer)?;
    Ok(0)
}

fn part_json(file: &str, output: &Output<'_>, bytes: u64) -> Value {
    let mut value = said::output_json(output);
    let part = json!({
        "file": file,
        "bytes": bytes,
        "images": value["images"].take(),
        "renamed": value["renamed"].take(),
        "ledger": ledger_json(&output.written()),
    });
    part
}

/// What is in none of the parts.
fn dropped<'o>(outputs: &'o [Output<'_>]) -> Vec<&'o str> {
    let Some((first, rest)) = outputs.split_first() else { return Vec::new() };
    let rest: Vec<HashSet<&str>> =
        rest.iter().map(|o| o.dropped().iter().map(String::as_str).collect()).collect();
    let all = first.dropped().iter().map(String::as_str);
    all.filter(|label| rest.iter().all(|dropped| dropped.contains(label))).collect()
}

/// What went although it was about something that is in a part.
fn broken(outputs: &[Output<'_>]) -> Vec<Value> {
    let mut seen = HashSet::new();
    let mut all: Vec<Value> = Vec::new();
    for output in outputs {
        let list = said::output_json(output)["broken"].take();
        all.extend(list.as_array().into_iter().flatten().cloned());
    }
    all.retain(|broken| seen.insert(broken.to_string()));
    all
}

fn by(text: &str) -> Result<SplitBy> {
    let size = text.strip_prefix("size=").and_then(parse_size).filter(|size| *size > 0);
    match (text, size) {
        ("image", _) => Ok(SplitBy::Image),
        ("platform", _) => Ok(SplitBy::Platform),
        (_, Some(size)) => Ok(SplitBy::Size(size)),
        _ => Err(Error::new(Code::Usage, format!("\"{text}\" is no way to split"))
            .hint("--by image, --by platform, or --by size=4GiB")),
    }
}

fn extension(codec: Codec) -> &'static str {
    match codec.compression {
        Compression::Gzip => ".gz",
        Compression::Zstd => ".zst",
        Compression::Xz => ".xz",
        Compression::Bzip2 => ".bz2",
        _ => "",
    }
}

/// Where the parts go: all of them appear at once, in a folder that is new, was
/// empty, or held the parts of an earlier split and nothing else.
struct Folder {
    path: PathBuf,
    /// The folder that takes the name when all is done.
    temporary: Option<tempfile::TempDir>,
    /// The files in the folder it takes the place of.
    old: Vec<PathBuf>,
}

impl Folder {
    fn new(path: &Path, input: &Path, force: bool) -> Result<Folder> {
        let label = || path.display().to_string();
        let fail = |error: io::Error| Error::io(path, error);
        let mut old = Vec::new();
        match fs::read_dir(path) {
            Ok(items) => {
                for item in items {
                    old.push(PathBuf::from(item.map_err(fail)?.file_name()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                let message = "the output of split is a folder";
                return Err(Error::new(Code::Usage, message).in_archive(label()));
            }
            Err(error) => return Err(fail(error)),
        }
        if !old.is_empty() && !force {
            return Err(Error::new(Code::OutExists, "the folder is not empty")
                .in_archive(label())
                .hint("--force replaces the parts of an earlier split"));
        }
        let inside = |input: PathBuf| input.parent() == path.canonicalize().ok().as_deref();
        if input.canonicalize().is_ok_and(inside) {
            let message = "the input is in the folder that would be replaced";
            return Err(Error::new(Code::OutSame, message).in_archive(label()));
        }
        let parts = parts_of(&path.join(PARTS));
        if let Some(other) = old.iter().find(|file| !parts.contains(*file)) {
            let message = format!("holds \"{}\", which is no part of a split", other.display());
            return Err(Error::new(Code::OutExists, message).in_archive(label()));
        }
        Ok(Folder { path: path.to_owned(), temporary: None, old })
    }

    fn parent(&self) -> &Path {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }

    fn start(mut self) -> Result<Folder> {
        let folder = tempfile::Builder::new().prefix(".ocitar.").tempdir_in(self.parent());
        self.temporary = Some(folder.map_err(|e| Error::io(self.parent(), e))?);
        Ok(self)
    }

    fn path(&self) -> &Path {
        self.temporary.as_ref().map_or(&self.path, tempfile::TempDir::path)
    }

    fn finish(mut self, said: &Value, printer: &Printer) -> Result<()> {
        report::write(&self.path().join(PARTS), said, true)?;
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        let fail = |e: io::Error| Error::io(&self.path, e);
        // A new folder is for everyone the umask allows, a temporary one is not.
        let mode = rustix::process::umask(rustix::fs::Mode::empty());
        rustix::process::umask(mode);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777 & !mode.as_raw_mode());
        fs::set_permissions(temporary.path(), mode).map_err(fail)?;
        if self.old.is_empty() {
            fs::rename(temporary.path(), &self.path).map_err(fail)?;
            let _ = temporary.keep();
        } else {
            self.replace(temporary, printer)?;
        }
        let parent = fs::File::open(self.parent());
        parent.and_then(|parent| parent.sync_all()).map_err(fail)
    }

    /// Exchanges the folders in one step, then removes the old one.
    fn replace(&self, temporary: tempfile::TempDir, printer: &Printer) -> Result<()> {
        let flags = RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(CWD, temporary.path(), CWD, &self.path, flags)
            .map_err(|e| Error::io(&self.path, e.into()))?;
        let folder = temporary.keep();
        let removed = self.old.iter().try_for_each(|file| fs::remove_file(folder.join(file)));
        if let Err(error) = removed.and_then(|()| fs::remove_dir(&folder)) {
            let folder = folder.display();
            printer.say(&format!("warning: the old parts are left in {folder}: {error}"));
        }
        Ok(())
    }
}

/// The files an earlier split wrote, by what it said of them.
fn parts_of(list: &Path) -> HashSet<PathBuf> {
    let mut files = HashSet::new();
    let Ok(text) = fs::read(list) else { return files };
    files.insert(PathBuf::from(PARTS));
    let said: Value = serde_json::from_slice(&text).unwrap_or_default();
    let parts = said["parts"].as_array().into_iter().flatten();
    files.extend(parts.filter_map(|part| part["file"].as_str()).map(PathBuf::from));
    files
}
