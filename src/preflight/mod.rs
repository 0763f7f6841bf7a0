//! What importers will do with an archive, before it is shipped.
//!
//! ```
//! use ocitar::archive::Archive;
//! use ocitar::platform::PlatformSpec;
//! use ocitar::preflight::{Outcome, Preflight, Selection};
//! use ocitar::progress::Silent;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let archive = Archive::open("testdata/buildx-oci-single.tar")?;
//! let preflight = Preflight::new(&archive, None, &Silent)?;
//! let host: PlatformSpec = "linux/amd64".parse()?;
//! let docker: Selection = "docker-28".parse()?;
//! let prediction = preflight.predict(docker.targets()[0], &host);
//! assert_eq!(prediction.outcome, Outcome::Refused);
//! assert_eq!(prediction.findings[0].rule.id, "no-manifest-json");
//! # Ok(())
//! # }
//! ```
//!
//! # The model
//!
//! There is one small model for each family of programs: docker's classic
//! store, containerd's importer with its three front ends (the client library,
//! the transfer service, docker's containerd store), podman and skopeo, and
//! crane. A model says how its program reads the tar (names literal or
//! cleaned, the first or the last of equal ones, which links), which view it
//! takes, how it finds content (by path or by digest), which platforms it
//! keeps, when it unpacks layers and which compressions it knows, and what it
//! makes of names. [`TARGETS`] has one row for every version and mode that
//! behaves differently, [`RULES`] one for everything that goes wrong, with the
//! command that mends it and how it is known.
//!
//! All models work on the same facts, which are read once: the headers of the
//! tar as Go's reader sees them, every file's digest (and that of its content,
//! where it is compressed), and the JSON documents. An archive need not be
//! sound for that: damaged ones are what predictions are for.
//!
//! Exit 0 does not mean loaded, and listed does not mean usable; [`Outcome`]
//! tells the four apart.
//!
//! # Where it comes from
//!
//! The rows were observed: 275 archives of precise shapes were imported into
//! docker 20.10.24, 26.1.5 and 28.5.2 (the classic store, and from 26 on the
//! containerd store), ctr 1.6.20, 1.7.24 and 2.1.9, podman 5.4.2 and 5.8,
//! skopeo 1.18 and 1.22 and crane 0.20.7, on linux/amd64, each into an empty
//! store. k3s, kind and nerdctl were not run: their rows are derived from the
//! calls they make to containerd, and say so.
//!
//! # Limits
//!
//! * The store is taken to be empty. A layer that is there already spares
//!   docker the reading of its file, and a containerd that knows a layer by its
//!   diff ID stores another manifest digest for the same archive.
//! * The insides of layers are not looked at: a layer of the right digest is
//!   taken to be a tar.
//! * A chain of symbolic links in docker's view loads into containerd nine
//!   times in ten; it is predicted to load, with a finding.
//! * xz needs a program beside docker's daemon, which is predicted to be
//!   absent from version 26 on, as it was.
//! * What ocitar itself will not read, for a limit or because readers differ on
//!   it, is predicted to be refused, under the rule `ambiguous`.

mod containerd;
mod control;
mod crane;
mod docker;
mod extract;
mod facts;
mod members;
mod naming;
mod podman;
mod rules;
mod run;
mod targets;

use std::fmt;

use crate::archive::{Archive, Format, Image, ImageManifest};
use crate::digest::Digest;
use crate::error::Result;
use crate::platform::PlatformSpec;
use crate::progress::Progress;
use facts::Facts;
pub use rules::{RULES, Rule};
use run::Run;
use targets::Model;
pub use targets::{Consumer, Selection, TARGETS, Target};

/// How an import ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// With exit 0, and everything that is listed can be used.
    Loads,
    /// With exit 0, and something that is listed cannot be used.
    Unusable,
    /// With exit 0, and nothing is there.
    Nothing,
    /// With an error. What [`Prediction::images`] holds then stays behind.
    Refused,
}

impl Outcome {
    /// The lower-case word for people and for JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Loads => "loads",
            Outcome::Unusable => "unusable",
            Outcome::Nothing => "nothing",
            Outcome::Refused => "refused",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One line of the consumer's list of images afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// The name as the consumer shows it; `None` for an untagged image, and
    /// with consumers that keep no names.
    pub name: Option<String>,
    /// What the name leads to: for containerd the digest of its descriptor, for
    /// the others that of the configuration. Of an image containerd makes from
    /// `manifest.json` it is the configuration's, too.
    pub image: Option<Digest>,
    /// Whether it can be used.
    pub usable: bool,
}

/// Something a consumer stumbles over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// What it is about: a name, a member, a digest. Text from the archive.
    pub detail: String,
    /// Whether the import ends here.
    pub fatal: bool,
    /// The rule's repair, where it would mend this archive.
    pub repair: Option<&'static str>,
}

impl Finding {
    /// The command that mends it, for an archive of this path.
    #[must_use]
    pub fn command(&self, input: &str) -> Option<String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
        let input = match input.chars().all(is_plain) && !input.is_empty() {
            true => input.to_owned(),
            false => format!("'{}'", input.replace('\'', "'\\''")),
        };
        Some(self.repair?.replace("{in}", &input))
    }
}

/// What a consumer will do with an archive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Prediction {
    /// The consumer.
    pub target: &'static Target,
    /// How it ends.
    pub outcome: Outcome,
    /// What is listed afterwards, also after an error.
    pub images: Vec<Listed>,
    /// Images of the archive that are not there afterwards, by label. Empty
    /// when the import is refused.
    pub lost: Vec<String>,
    /// Why, in the order the consumer meets it.
    pub findings: Vec<Finding>,
}

impl Prediction {
    /// Whether everything arrives and can be used.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Loads && self.lost.is_empty()
    }
}

/// An archive, read for predictions.
#[derive(Debug)]
pub struct Preflight<'a> {
    facts: Facts<'a>,
}

impl<'a> Preflight<'a> {
    /// Reads every file of an archive once, on as many threads as `jobs` says.
    ///
    /// The archive may have fatal findings; it must have been opened with
    /// [`Access::Whole`](crate::archive::Access::Whole).
    ///
    /// # Errors
    ///
    /// `E_IO` and `E_INPUT_CHANGED` of reading, `E_USAGE` when the layers were
    /// not kept, `E_INTERRUPTED`.
    pub fn new(
        archive: &'a Archive,
        jobs: Option<usize>,
        progress: &dyn Progress,
    ) -> Result<Preflight<'a>> {
        Ok(Preflight { facts: Facts::read(archive, jobs, progress)? })
    }

    /// What a consumer on a host will do with it.
    #[must_use]
    pub fn predict(&self, target: &'static Target, host: &PlatformSpec) -> Prediction {
        let mut run = Run::new(&self.facts, target, host);
        let done = match target.model {
            Model::Classic { null_is_nothing, refuses_outside } => {
                docker::load(&mut run, null_is_nothing, refuses_outside)
            }
            Model::Client(client) => containerd::client(&mut run, client),
            Model::Transfer { all_platforms, unnamed } => {
                containerd::transfer(&mut run, all_platforms, unnamed)
            }
            Model::Daemon { lenient } => containerd::daemon(&mut run, lenient),
            Model::Podman => podman::load(&mut run),
            Model::SkopeoDocker => podman::docker_archive(&mut run, false),
            Model::SkopeoOci => podman::oci_archive(&mut run, false),
            Model::Crane => crane::load(&mut run),
        };
        let outcome = match (&done, &run.store[..]) {
            (Err(_), _) => Outcome::Refused,
            (Ok(()), []) => Outcome::Nothing,
            (Ok(()), store) if store.iter().any(|listed| !listed.usable) => Outcome::Unusable,
            _ => Outcome::Loads,
        };
        let lost = match outcome {
            Outcome::Refused => Vec::new(),
            _ => self.lost(&run.store),
        };
        if !lost.is_empty() {
            run.note(rules::LOST, lost.join(", "));
        }
        Prediction { target, outcome, images: run.store, lost, findings: run.findings }
    }

    /// Images of the archive that nothing listed leads to.
    fn lost(&self, store: &[Listed]) -> Vec<String> {
        let archive = self.facts.archive;
        if archive.format() == Some(Format::DockerV1) {
            return Vec::new();
        }
        let is_there = |image: &&Image| {
            let configs = image.manifests().iter().filter_map(ImageManifest::config_digest);
            let mut digests = image.digest().into_iter().chain(configs);
            digests.any(|digest| store.iter().any(|listed| listed.image == Some(digest)))
        };
        let lost = archive.images().iter().filter(|image| !is_there(image));
        lost.map(Image::label).collect()
    }
}
