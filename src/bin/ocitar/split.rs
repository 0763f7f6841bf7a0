//! `ocitar split`: one archive becomes several.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ocitar::bundle::{Bundle, GatherOptions, IndexPolicy, Platforms, SplitBy};
use ocitar::compress::Codec;
use ocitar::error::{Code, Error, Result};
use ocitar::text::{parse_size, size};
use ocitar::write::WriteOptions;
use serde_json::{Value, json};

use crate::args::{Common, Split};
use crate::output::{self, Printer};
use crate::progress::Bar;
use crate::{bundles, report, writing};

/// The file that says what is in which part.
const PARTS: &str = "parts.json";

pub fn run(verb: &Split, common: &Common, printer: &Printer) -> Result<u8> {
    let by = by(&verb.by)?;
    if verb.output == Path::new("-") {
        return Err(Error::new(Code::Usage, "split writes a folder, not a stream"));
    }
    let policy = if by == SplitBy::Platform { IndexPolicy::Rewrite } else { IndexPolicy::Keep };
    let selection = verb.shape.selection(Platforms::Complete, policy)?;
    let codec = verb.writing.codec(None)?;
    let folder = Folder::new(&verb.output, verb.writing.force || verb.writing.dry_run)?;
    let options = WriteOptions::new().force(verb.writing.force);
    if let Some(path) = &verb.writing.report {
        report::check(path, &verb.input, &verb.output, &options)?;
    }
    let archive = match writing::open(&verb.input, &verb.writing, common, folder.parent(), printer)?
    {
        Ok(archive) => archive,
        Err(code) => return Ok(code),
    };
    let fail = |error: Error| writing::failed(&archive, error);
    let bar = Bar::new(common, "reading");
    let gather = GatherOptions::new().jobs(common.jobs.map(usize::from));
    let gathered = Bundle::gather(&[&archive], &gather, &bar);
    bar.finish();
    let gathered = gathered.map_err(fail)?;
    let layout = verb.shape.layout(verb.to, &gathered, &Platforms::Complete)?;
    bundles::missing(&gathered.missing(&selection), printer, false).map_err(fail)?;
    let parts = gathered.split(by, &selection, &layout).map_err(fail)?;
    let codec: Codec = codec.unwrap_or(archive.compression().into());
    let mut plans = Vec::new();
    for part in &parts {
        plans.push(part.bundle.plan(&layout).map_err(fail)?);
    }
    let folder = if verb.writing.dry_run { folder } else { folder.start()? };
    let mut said: Vec<Value> = Vec::new();
    for (part, plan) in parts.iter().zip(&plans) {
        let file = format!("{}.tar{}", part.name, extension(codec));
        let outcome = part.bundle.outcome(&layout).map_err(fail)?;
        let images = bundles::images_json(&outcome);
        let mut value = json!({ "file": file, "bytes": plan.len(), "images": images });
        let bytes = if verb.writing.dry_run {
            plan.len()
        } else {
            let path = folder.path().join(&file);
            writing::write(plan, &path, options.codec(codec), common)?.bytes
        };
        value["bytes"] = bytes.into();
        let images = bundles::count(outcome.images.len(), "image");
        printer.say(&format!("{file}: {images}, {}", size(bytes)));
        said.push(value);
    }
    let said = json!({ "parts": said });
    if !verb.writing.dry_run {
        folder.finish(&said)?;
    }
    if let Some(path) = &verb.writing.report {
        report::write(path, &said, verb.writing.force)?;
    }
    if printer.json {
        output::json_data(&said)?;
    }
    Ok(0)
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
    use ocitar::compress::Compression;
    match codec.compression {
        Compression::Gzip => ".gz",
        Compression::Zstd => ".zst",
        Compression::Xz => ".xz",
        Compression::Bzip2 => ".bz2",
        _ => "",
    }
}

/// Where the parts go: all of them appear at once, under a folder that is new
/// or was empty.
struct Folder {
    path: PathBuf,
    /// The folder that takes the name when all is done.
    temporary: Option<tempfile::TempDir>,
    replaces: bool,
}

impl Folder {
    fn new(path: &Path, replaces: bool) -> Result<Folder> {
        let label = || path.display().to_string();
        let is_free = match fs::read_dir(path) {
            Ok(mut items) => items.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                let message = "the output of split is a folder";
                return Err(Error::new(Code::Usage, message).in_archive(label()));
            }
            Err(error) => return Err(Error::io(path, error)),
        };
        if !is_free && !replaces {
            return Err(Error::new(Code::OutExists, "the folder is not empty")
                .in_archive(label())
                .hint("--force writes the parts into it"));
        }
        Ok(Folder { path: path.to_owned(), temporary: None, replaces: !is_free })
    }

    fn parent(&self) -> Option<&Path> {
        self.path.parent().filter(|parent| !parent.as_os_str().is_empty())
    }

    fn start(mut self) -> Result<Folder> {
        if !self.replaces {
            let parent = self.parent().unwrap_or(Path::new("."));
            let folder = tempfile::Builder::new().prefix(".ocitar.").tempdir_in(parent);
            self.temporary = Some(folder.map_err(|e| Error::io(parent, e))?);
        }
        Ok(self)
    }

    fn path(&self) -> &Path {
        self.temporary.as_ref().map_or(&self.path, tempfile::TempDir::path)
    }

    fn finish(self, said: &Value) -> Result<()> {
        report::write(&self.path().join(PARTS), said, true)?;
        let Some(temporary) = self.temporary else { return Ok(()) };
        let fail = |e: io::Error| Error::io(&self.path, e);
        // A new folder is for everyone the umask allows, a temporary one is not.
        let mode = rustix::process::umask(rustix::fs::Mode::empty());
        rustix::process::umask(mode);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777 & !mode.as_raw_mode());
        fs::set_permissions(temporary.path(), mode).map_err(fail)?;
        fs::rename(temporary.path(), &self.path).map_err(fail)?;
        let _ = temporary.keep();
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = fs::File::open(parent.unwrap_or(Path::new(".")));
        parent.and_then(|parent| parent.sync_all()).map_err(fail)
    }
}
