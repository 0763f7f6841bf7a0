//! The command line, as typed.

use std::path::PathBuf;

use clap::builder::ArgPredicate;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches};
use clap::{Parser, Subcommand, ValueEnum};
use ocitar::error::{Code, Error, Result};
use ocitar::limits::{Limit, Limits};

/// Read, verify, retag and rewrite container image archives
///
/// Works on what `docker save`, `ctr images export`, `nerdctl save`, `podman
/// save`, `skopeo copy`, `buildx` and `crane pull` write, and on OCI layout
/// directories. Compression is told by content, never by name; `-` is standard
/// input or output.
#[derive(Debug, Parser)]
#[command(name = "ocitar", version, max_term_width = 100)]
#[command(after_help = EXIT_CODES, after_long_help = limits_help())]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 content at fault or nothing matched, 2 usage, 3 malformed or \
ambiguous archive, 4 a limit was hit, 5 I/O, 70 a bug, 129, 130 and 143 interrupted";

/// The exit codes, and every limit with its default.
fn limits_help() -> String {
    let limits = Limits::default();
    let row =
        |limit: &Limit| format!("  {limit:16} {:>7}  {}\n", limits.text(*limit), limit.what());
    let rows: String = Limit::ALL.iter().map(row).collect();
    format!(
        "Limits, their defaults, and what there may be at most so many of:\n{rows}\n{EXIT_CODES}"
    )
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every verb")]
pub struct Common {
    /// Threads to use [default: as many as the machine has]
    #[arg(short, long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Print errors only; with `ls`, names only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: When,
    /// Show no progress bar
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Map the input, which nobody may shorten meanwhile, instead of reading it
    #[arg(long, global = true, conflicts_with = "no_mmap")]
    pub mmap: bool,
    /// Map nothing, not even what compressed archives are unpacked into
    #[arg(long, global = true)]
    pub no_mmap: bool,
    /// Where compressed and piped archives are unpacked
    #[arg(long, global = true, value_name = "DIR")]
    pub tmpdir: Option<PathBuf>,
    /// Set a limit; VALUE may end in K, M, G or T. `ocitar --help` lists them
    // On both sides of the verb, see `command`.
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = limit)]
    pub limits: Vec<(Limit, u64)>,
}

/// The command line. A global option that may be repeated loses what stands
/// before the verb when it stands behind it, too: clap keeps one of the two. So
/// `--limit` is an option of its own for every verb, and [`Cli::of`] joins them.
pub fn command() -> Command {
    let command = Cli::command();
    let limits = command.get_arguments().find(|arg| arg.get_id() == LIMITS).cloned();
    command.mut_subcommands(|verb| verb.args(&limits))
}

const LIMITS: &str = "limits";

impl Cli {
    /// What was typed.
    pub fn of(matches: &ArgMatches) -> Result<Cli, clap::Error> {
        let mut cli = Cli::from_arg_matches(matches)?;
        let behind =
            matches.subcommand().and_then(|(_, verb)| verb.get_many::<(Limit, u64)>(LIMITS));
        cli.common.limits.extend(behind.into_iter().flatten().copied());
        Ok(cli)
    }
}

impl Common {
    pub fn jobs(&self) -> Option<usize> {
        self.jobs.map(usize::from)
    }

    /// The limits as set; of one that is set twice the last counts.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for (limit, value) in &self.limits {
            // It was set once already, to see whether it can be.
            let _ = limits.set(*limit, *value);
        }
        limits
    }
}

fn limit(text: &str) -> Result<(Limit, u64), String> {
    Limits::default().set_text(text).map_err(|error| match error.hint_text() {
        Some(hint) => format!("{}: {hint}", error.message()),
        None => error.message().to_owned(),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the images of archives
    Ls(Ls),
    /// Show what an archive holds: manifests, configurations, layers, history
    Inspect(Inspect),
    /// Check every digest, size, diff ID and media type
    Verify(Verify),
    /// Say what importers will do with an archive
    Check(Check),
    /// Rename images, without touching a blob
    Retag(Retag),
    /// Keep some images and platforms, with an index that says so
    Export(Export),
    /// Write the docker view, the OCI view, or both
    Convert(Convert),
    /// Put the images of several archives into one
    Merge(Merge),
    /// Make several archives of one
    Split(Split),
    /// Undo what `retag --in-place=journal` was stopped in
    Recover(Recover),
}

#[derive(Debug, Args)]
pub struct Ls {
    /// Archives, OCI layout directories, or `-`
    #[arg(value_name = "IN", required = true)]
    pub inputs: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Inspect {
    /// An archive, an OCI layout directory, or `-`
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// An image by name, digest or the start of its hex [default: all]
    #[arg(value_name = "REF")]
    pub reference: Option<String>,
    /// Only this platform
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// Print a document's bytes as they are
    #[arg(long, value_name = "WHICH")]
    pub raw: Option<Raw>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Raw {
    /// The image's index, or index.json
    Index,
    /// The manifest of one platform
    Manifest,
    /// The configuration of one platform
    Config,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Archives, OCI layout directories, or `-`
    #[arg(value_name = "IN", required = true)]
    pub inputs: Vec<PathBuf>,
    /// Fail when a platform that an index promises is absent
    #[arg(long)]
    pub all_platforms: bool,
    /// Fail when a layer is another one to other readers than to Go
    #[arg(long)]
    pub strict_layers: bool,
}

/// Say what importers will do with an archive: the names that will appear,
/// images that are lost, and what is refused
///
/// Exit 0 of an importer does not mean loaded, and listed does not mean usable:
/// the outcome is `loads`, `unusable` (listed and no use), `nothing` (exit 0 and
/// nothing there) or `refused`. Ends with 1 if anything is lost or fails.
#[derive(Debug, Args)]
#[command(after_help = CHECK_TARGETS)]
pub struct Check {
    /// An archive, an OCI layout directory, or `-`
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// A consumer, one version of it, or `all`; may be repeated [default: all]
    #[arg(long = "for", value_name = "TARGET")]
    pub targets: Vec<String>,
    /// The platform of the machine that imports
    #[arg(long, value_name = "PLATFORM", default_value = "linux/amd64")]
    pub host: String,
}

const CHECK_TARGETS: &str = "\
Targets: ctr, k3s, kind, nerdctl, docker (classic store), docker-c8d (containerd store),
podman, crane; skopeo (both its forms; not part of all). One version or mode:
ctr-1.6, ctr-1.7, ctr-2.1, ctr-2.1-all (--all-platforms), docker-20.10, docker-26,
docker-28, docker-c8d-26, docker-c8d-28, nerdctl-2.2, nerdctl-2.3, skopeo-oci-archive, …";

/// Rename images, without touching a blob
///
/// Rules are tried in order and the first that matches a name wins. Names are
/// compared after normalisation (`nginx` is `docker.io/library/nginx:latest`)
/// and written in full to every place an archive keeps names in.
#[derive(Debug, Args)]
#[command(after_help = RETAG_EXAMPLES)]
pub struct Retag {
    /// An archive, an OCI layout directory, or `-`
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The new archive, or `-`; its extension says how it is compressed. Not
    /// with --in-place
    // Where it is absent the default is never looked at.
    #[arg(value_name = "OUT", required = false, required_unless_present = "in_place")]
    #[arg(default_value_if("in_place", ArgPredicate::IsPresent, "."))]
    pub output: PathBuf,
    /// `NEW` names the one image; `OLD=NEW` renames one image, or without tags
    /// a repository
    #[arg(value_name = "RULE")]
    pub rules: Vec<String>,
    /// Replace the start of names, at a component border
    #[arg(long, value_name = "OLD=NEW")]
    pub prefix: Vec<String>,
    /// Rewrite names that a regular expression matches as a whole
    #[arg(long, num_args = 2, value_names = ["PATTERN", "REPLACEMENT"])]
    pub regex: Vec<String>,
    /// Read rules from lines of `OLD NEW`
    #[arg(long, value_name = "FILE")]
    pub map: Vec<PathBuf>,
    /// Read rules from a file of ocitar's own, see below
    #[arg(long = "rules", id = "rule_files", value_name = "FILE.toml")]
    pub rule_files: Vec<PathBuf>,
    /// Names as the mirrors of a k3s or rke2 registries.yaml hold them
    #[arg(long, value_name = "FILE")]
    pub registries: Vec<PathBuf>,
    /// Names as the mirrors of a containerd certs.d/*/hosts.toml hold them
    #[arg(long, value_name = "DIR")]
    pub hosts_dir: Vec<PathBuf>,
    /// With --registries and --hosts-dir: from the mirrors' names to the registries'
    #[arg(long)]
    pub reverse: bool,
    /// Keep the old names beside the new
    #[arg(long)]
    pub add: bool,
    /// Drop names no rule matches, and images left without one
    #[arg(long)]
    pub drop_unmatched: bool,
    /// Accept rules that match nothing
    #[arg(long)]
    pub allow_unmatched: bool,
    #[command(flatten)]
    pub writing: Writing,
    /// Change IN itself. `journal` writes only the bytes that differ, which takes
    /// milliseconds; `atomic` puts a new file in its place
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "atomic", conflicts_with_all = ["force", "compress"])]
    pub in_place: Option<How>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// A new file in the place of the old one, cloned where the file system can
    Atomic,
    /// Into the file itself, with an undo journal beside it until that is done
    Journal,
}

/// How every verb that writes does it.
#[derive(Debug, Args)]
pub struct Writing {
    /// Print what would change, write nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Verify the input first
    #[arg(long)]
    pub verify: bool,
    /// Write what was done to a new file, as --json prints it
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub report: Option<PathBuf>,
    /// Replace an existing output
    #[arg(short, long)]
    pub force: bool,
    /// none, gzip[:LEVEL] or zstd[:LEVEL] [default: by OUT's extension, else as
    /// IN, of several: none]
    #[arg(long, value_name = "CODEC")]
    pub compress: Option<String>,
}

impl Retag {
    /// With --in-place there is no OUT: what was typed in its place is a rule.
    pub fn rule_for_output(&self, order: Option<&ArgMatches>) -> Result<Option<&str>> {
        let source = order.and_then(|order| order.value_source("output"));
        if self.in_place.is_none() || source != Some(ValueSource::CommandLine) {
            return Ok(None);
        }
        let text = self.output.to_str().map(Some);
        text.ok_or_else(|| Error::new(Code::Rule, "a rule that is not UTF-8"))
    }
}

/// Keep some images and platforms of an archive, with an index that is true
///
/// Without --platform every platform that is complete stays: what the archive
/// only promises goes from its index. What stays is byte for byte what it was.
#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct Export {
    /// An archive, an OCI layout directory, or `-`
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The new archive, or `-`; its extension says how it is compressed
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// Images to keep, by name, digest or the start of its hex [default: all]
    #[arg(value_name = "REF")]
    pub references: Vec<String>,
    /// Leave out an image, or one of its names
    #[arg(long, value_name = "REF")]
    pub except: Vec<String>,
    #[command(flatten)]
    pub platforms: PlatformArgs,
    /// The views to write
    #[arg(long, value_name = "FORMAT", default_value = "same")]
    pub to: To,
    #[command(flatten)]
    pub shape: Shape,
    #[command(flatten)]
    pub writing: Writing,
}

/// Write an archive with the docker view, the OCI view, or both
///
/// Configurations stay byte for byte, so docker's image IDs stay. Manifests are
/// made for images that had none; their layers are read and their diff IDs
/// checked.
#[derive(Debug, Args)]
#[command(after_help = CONVERT_EXAMPLES)]
pub struct Convert {
    /// An archive, an OCI layout directory, or `-`
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The new archive, or `-`; its extension says how it is compressed
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// The views to write
    #[arg(long, value_name = "FORMAT")]
    pub to: To,
    #[command(flatten)]
    pub platforms: PlatformArgs,
    /// Write a file for each platform, its name before OUT's extension
    #[arg(long, conflicts_with = "all_platforms")]
    pub fan_out: bool,
    #[command(flatten)]
    pub shape: Shape,
    #[command(flatten)]
    pub writing: Writing,
}

/// Put the images of several archives into one
///
/// Archives of every form go together; what they share is written once.
#[derive(Debug, Args)]
pub struct Merge {
    /// The new archive, or `-`; its extension says how it is compressed
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Archives, OCI layout directories, or `-`
    #[arg(value_name = "IN", required = true)]
    pub inputs: Vec<PathBuf>,
    /// Which image keeps a name that leads to two
    #[arg(long, value_name = "WHICH")]
    pub on_conflict: Option<Conflict>,
    /// The views to write; `same` of different ones is hybrid
    #[arg(long, value_name = "FORMAT", default_value = "same")]
    pub to: To,
    #[command(flatten)]
    pub shape: Shape,
    #[command(flatten)]
    pub writing: Writing,
}

/// Make several archives of one, each complete by itself
///
/// They are numbered in the order of the images, and parts.json says what is in
/// which. Blobs that several parts need are in each of them.
#[derive(Debug, Args)]
pub struct Split {
    /// An archive, an OCI layout directory, or `-`
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// A folder for the parts: new, empty, or with --force that of an earlier split
    #[arg(value_name = "DIR")]
    pub output: PathBuf,
    /// image, platform, or size=N: at most N bytes a part, such as size=4GiB
    #[arg(long, value_name = "WHAT")]
    pub by: String,
    /// The views to write
    #[arg(long, value_name = "FORMAT", default_value = "same")]
    pub to: To,
    #[command(flatten)]
    pub shape: Shape,
    #[command(flatten)]
    pub writing: Writing,
}

/// Which platforms stay.
#[derive(Debug, Args)]
pub struct PlatformArgs {
    /// Keep this platform, which must be complete; may be repeated
    #[arg(long = "platform", value_name = "PLATFORM", conflicts_with = "all_platforms")]
    pub platforms: Vec<String>,
    /// Keep all platforms, which must all be complete
    #[arg(long)]
    pub all_platforms: bool,
}

/// What becomes of indexes, attestations and names.
#[derive(Debug, Args)]
pub struct Shape {
    /// What becomes of an index that loses platforms: made anew, left as it is, or
    /// the one manifest named directly [default: rewrite; merge and split: keep, but for split --by platform]
    #[arg(long, value_name = "HOW")]
    pub index: Option<IndexArg>,
    /// What becomes of attestations and signatures [default: keep]
    #[arg(long, value_name = "WHICH")]
    pub attestations: Option<AttestationsArg>,
    /// Leave out signatures about a digest that changes, instead of stopping
    #[arg(long)]
    pub break_signatures: bool,
    /// Which platform the docker view shows of an image with several
    #[arg(long, value_name = "PLATFORM")]
    pub default_platform: Option<String>,
    /// Name every image by its digest too
    #[arg(long)]
    pub digest_names: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// The views the input has
    Same,
    /// index.json and manifest.json
    Hybrid,
    /// index.json alone
    Oci,
    /// manifest.json alone
    Docker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IndexArg {
    /// Made anew without what is not there; it has another digest
    Rewrite,
    /// Left alone, with promises the file does not hold
    Keep,
    /// Replaced by the one manifest
    Flatten,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AttestationsArg {
    /// They go where what they are about goes
    Keep,
    /// None stays
    Drop,
    /// Nothing else stays
    Only,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Conflict {
    /// The image of the first archive
    First,
    /// The image of the last archive
    Last,
}

const EXPORT_EXAMPLES: &str = "\
Examples:
  ocitar export in.tar out.tar                          an index that is true
  ocitar export in.tar out.tar nginx:1.27 --platform linux/arm64
  ocitar export in.tar out.tar --all-platforms          fails if one is missing
  ocitar export in.tar out.tar --except nginx:1.27
  ocitar export in.tar out.tar --platform amd64 --index flatten --to docker";

const CONVERT_EXAMPLES: &str = "\
Examples:
  ocitar convert docker.tar oci.tar --to oci
  ocitar convert oci.tar both.tar --to hybrid --default-platform linux/arm64
  ocitar convert oci.tar docker.tar --to docker --platform linux/amd64
  ocitar convert oci.tar docker.tar --to docker --fan-out";

/// Undo what `retag --in-place=journal` was stopped in
///
/// Afterwards the file is byte for byte what it was before, or what it was to
/// become. Until then every other verb refuses the file.
#[derive(Debug, Args)]
pub struct Recover {
    /// The archive, not its journal
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

const RETAG_EXAMPLES: &str = "\
Examples:
  ocitar retag in.tar out.tar registry.k8s.io/pause:3.10
  ocitar retag in.tar out.tar nginx:1.27=registry.example.com/web/nginx:1.27
  ocitar retag in.tar out.tar --prefix docker.io/library=registry.example.com/hub
  ocitar retag --in-place=journal in.tar example.com/app:v1
  docker save app | ocitar retag - out.tar.zst example.com/app:v1

A file of --rules; paths in it are relative to it:
  strict = true            # false: these rules may match nothing
  add = false              # true: as --add
  drop-unmatched = false   # true: as --drop-unmatched
  [[rule]]                 # the first that matches a name wins
  old = \"nginx:1.27\"
  new = \"registry.example.com/web/nginx:1.27\"
  [[rule]]
  prefix = \"k8s.gcr.io\"
  new = \"registry.k8s.io\"
Other rules: new; regex and replace; map; registries or hosts-dir, and reverse.";
