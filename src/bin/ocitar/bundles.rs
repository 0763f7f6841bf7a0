//! From archives to bundles and out again: what export, convert, merge and split
//! do alike.

use std::path::{Path, PathBuf};

use ocitar::archive::{Archive, Format};
use ocitar::bundle::{Bundle, GatherOptions, IndexPolicy, Layout, Output, Platforms, Selection};
use ocitar::error::{Code, Error, Result};
use ocitar::platform::PlatformSpec;
use ocitar::write::WriteOptions;
use serde_json::{Value, json};

use crate::args::{Common, Shape, To, Writing};
use crate::output::{self, Printer};
use crate::progress::Bar;
use crate::{report, said, shape, writing};

/// Who asks: they have different options to hint at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Export,
    Convert,
    Merge,
    Split,
}

/// What a verb asks for.
pub struct Request<'v> {
    pub verb: Verb,
    pub inputs: &'v [PathBuf],
    /// A file, a folder, or `-`.
    pub output: &'v Path,
    pub gather: GatherOptions,
    pub platforms: Platforms,
    /// What becomes of indexes where the command line does not say.
    pub index: IndexPolicy,
    pub to: To,
    pub shape: &'v Shape,
    pub writing: &'v Writing,
}

/// A request in which nothing is wrong.
pub struct Job<'v> {
    request: Request<'v>,
    pub selection: Selection,
    default_platform: Option<PlatformSpec>,
    mtime: u64,
}

impl<'v> Request<'v> {
    /// Says what is wrong with the request before anything is read.
    pub fn check(self, printer: &Printer) -> Result<Job<'v>> {
        let Request { shape, writing, inputs, output, .. } = &self;
        let selection = shape.selection(self.platforms.clone(), self.index)?;
        let default_platform = shape.default_platform(self.to)?;
        if self.verb != Verb::Split && *output == Path::new("-") {
            writing::check_stdout(writing, printer)?;
        }
        if inputs.iter().filter(|input| **input == Path::new("-")).count() > 1 {
            return Err(Error::new(Code::Usage, "standard input can be read once"));
        }
        if let Some(path) = &writing.report {
            let options = WriteOptions::new().force(writing.force);
            inputs.iter().try_for_each(|input| report::check(path, input, output, &options))?;
        }
        let mtime = shape::mtime()?;
        Ok(Job { request: self, selection, default_platform, mtime })
    }
}

impl Job<'_> {
    pub fn is_to_stdout(&self) -> bool {
        self.request.verb != Verb::Split && self.request.output == Path::new("-")
    }

    /// Whether a file may be written here.
    pub fn check_output(&self, path: &Path) -> Result<()> {
        let options = WriteOptions::new().force(self.request.writing.force);
        self.request.inputs.iter().try_for_each(|input| options.check(path, input))
    }

    /// Opens every input. What is wrong with the content of one has been printed
    /// when there are none.
    pub fn open(&self, common: &Common, printer: &Printer) -> Result<Result<Vec<Archive>, u8>> {
        let Request { inputs, output, writing, .. } = &self.request;
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.filter(|_| !self.is_to_stdout());
        let mut archives = Vec::new();
        for input in *inputs {
            match writing::open(input, writing, common, folder, printer)? {
                Ok(archive) => archives.push(archive),
                Err(code) => return Ok(Err(code)),
            }
        }
        Ok(Ok(archives))
    }

    /// Gathers the images, and says which platforms of them are missing unless
    /// each `part` has what there is of them.
    pub fn gather<'a>(
        &self,
        archives: &'a [Archive],
        part: bool,
        common: &Common,
        printer: &Printer,
    ) -> Result<(Bundle<'a>, Layout)> {
        let fail = |error| self.failed(archives, error);
        let list: Vec<&Archive> = archives.iter().collect();
        let bar = Bar::new(common, "reading");
        let gather = self.request.gather.clone().jobs(common.jobs());
        let gathered = Bundle::gather(&list, &gather, &bar);
        bar.finish();
        let bundle = gathered.map_err(fail)?;
        if !part {
            let asked = self.request.platforms != Platforms::Complete;
            let missing = bundle.missing(&self.selection);
            if let Some((said, error)) = said::missing(&missing, asked, printer.json) {
                self.report(&said, printer)?;
                return Err(fail(error));
            }
        }
        let layout = self.layout(&bundle);
        Ok((bundle, layout))
    }

    fn layout(&self, bundle: &Bundle<'_>) -> Layout {
        let Request { to, shape, platforms, .. } = &self.request;
        let format = match to {
            To::Same => bundle.format(),
            To::Hybrid => Format::Hybrid,
            To::Oci => Format::Oci,
            To::Docker => Format::Docker,
        };
        let mut layout = Layout::new(format)
            .digest_names(shape.digest_names)
            .break_signatures(shape.break_signatures)
            .mtime(self.mtime);
        if let Platforms::Only(specs) = platforms {
            layout = layout.prefer(specs.iter().cloned());
        }
        match self.default_platform.clone().filter(|_| format != Format::Oci) {
            Some(platform) => layout.default_platform(platform),
            None => layout,
        }
    }

    /// Writes an output, or says what it would be; what is said is data, too.
    pub fn write(
        &self,
        output: &Output<'_>,
        path: &Path,
        options: WriteOptions<'_>,
        common: &Common,
        printer: &Printer,
    ) -> Result<Value> {
        let plan = output.plan()?;
        let mut value = said::whole_json(output);
        value["output"] = path.display().to_string().into();
        value["bytes"] = plan.len().into();
        if self.request.writing.dry_run {
            said::say(output, None, plan.len(), printer);
        } else {
            let written = writing::write(&plan, self.request.inputs, path, options, common)?;
            value["written"] = json!({ "bytes": written.bytes, "method": written.method.as_str() });
            said::say(output, Some(&written), plan.len(), printer);
        }
        Ok(value)
    }

    /// Writes the report, and prints the data.
    pub fn report(&self, said: &Value, printer: &Printer) -> Result<()> {
        let writing = self.request.writing;
        if let Some(path) = &writing.report {
            report::write(path, said, writing.force)?;
        }
        if printer.json {
            output::json_data(said)?;
        }
        Ok(())
    }

    /// The error of work on archives, with what the verb has to offer; but one
    /// that was written to meanwhile is to blame for any.
    pub fn failed(&self, archives: &[Archive], error: Error) -> Error {
        let changed = archives.iter().find_map(|archive| archive.check_unchanged().err());
        match (changed, archives) {
            (Some(changed), _) if error.code() != Code::Interrupted => changed,
            (_, [only]) => self.hinted(error.in_archive(only.label())),
            _ => self.hinted(error),
        }
    }

    fn hinted(&self, error: Error) -> Error {
        use Verb::{Convert, Export, Merge, Split};
        let hint = match (error.code(), self.request.verb) {
            (Code::PlatformChoice, Convert) => {
                "--platform chooses one, --fan-out writes a file for each"
            }
            (Code::PlatformChoice, Export) => "--platform chooses one",
            (Code::PlatformChoice, Split) => "--by platform makes a part for each",
            (Code::PlatformChoice, Merge) => "--to hybrid keeps all of them",
            (Code::NameCollision, Merge) => {
                "--on-conflict first or last chooses one; parts that split made by platform are one image again only if made with --index keep"
            }
            (Code::NameCollision, Export) => "--except DIGEST leaves one out",
            (Code::NameCollision, _) => "`ocitar export IN OUT --except DIGEST` leaves one out",
            (Code::Referrer, _) if self.request.to == To::Docker => {
                "--to hybrid has a place for it, --break-signatures leaves it out"
            }
            (Code::Referrer, _) => {
                "--index keep leaves the digest alone, --break-signatures leaves them out"
            }
            (Code::NoMatch, Export) if self.request.to == To::Docker => {
                "--except leaves it out, --to hybrid keeps it"
            }
            (Code::NoMatch, _) if self.request.to == To::Docker => "--to hybrid keeps it",
            (Code::PlatformMissing, Export) if self.request.platforms == Platforms::Complete => {
                "--except leaves an image out"
            }
            (Code::PlatformMissing, _) if self.request.platforms == Platforms::Complete => {
                "`ocitar export IN OUT --except IMAGE` leaves it out"
            }
            (Code::PlatformMissing, _) => {
                "without --platform and --all-platforms every complete platform is kept"
            }
            (Code::PartSize, _) => "--by image makes a part for each image, whatever its size",
            (Code::Usage, _) if self.request.shape.digest_names => "--to hybrid or oci has",
            _ => return error,
        };
        if error.hint_text().is_some() { error } else { error.hint(hint) }
    }
}
