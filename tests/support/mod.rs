//! Archives built in memory, and the programs that are run on them.
//!
//! * [`tarball`]: a tar as a list of members, written with the `tar` crate's header and nothing of ocitar.
//! * [`image`]: layers, configurations, manifests, descriptors.
//! * [`docker`], [`oci`]: what producers write that `testdata` does not hold. These archives are synthesised from
//!   descriptions of the producers' output (their sources, their documentation), not saved by the producers.
//! * [`bundle`]: five hundred images in one archive.
//! * [`run`]: `ocitar` itself, and `check.py`, which reads archives on its own; [`trace`]: `ocitar` under strace.
//! * [`mount`]: file systems.

// Each test file uses its own part of this.
#![allow(dead_code)]

pub mod bundle;
pub mod docker;
pub mod image;
pub mod mount;
pub mod oci;
pub mod run;
pub mod tarball;
pub mod trace;

use tarball::Tar;

/// One synthetic archive and what a reader must find in it.
pub struct Made {
    /// What a failed test calls it.
    pub name: &'static str,
    /// The archive.
    pub tar: Tar,
    /// As `ocitar ls --json` names it.
    pub format: &'static str,
    /// In any order.
    pub images: Vec<Expected>,
    /// The exit code of `ocitar verify`.
    pub verify: i32,
}

/// One image that must be found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expected {
    /// Canonical names, sorted.
    pub names: Vec<String>,
    /// Of the target; `None` before docker 1.10.
    pub digest: Option<String>,
    /// Platforms and whether they are complete, sorted.
    pub platforms: Vec<(String, bool)>,
}

impl Made {
    /// An archive without images yet.
    pub fn new(name: &'static str, format: &'static str, tar: Tar) -> Made {
        Made { name, tar, format, images: Vec::new(), verify: 0 }
    }

    /// Expects an image; a platform with a `-` before it is promised and absent.
    pub fn image(mut self, digest: &str, names: &[&str], platforms: &[&str]) -> Made {
        let mut names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let platform = |text: &&str| match text.strip_prefix('-') {
            Some(absent) => (absent.to_owned(), false),
            None => ((*text).to_owned(), true),
        };
        let mut platforms: Vec<_> = platforms.iter().map(platform).collect();
        names.sort();
        platforms.sort();
        let digest = (!digest.is_empty()).then(|| digest.to_owned());
        self.images.push(Expected { names, digest, platforms });
        self
    }

    /// Expects this exit code of `ocitar verify`.
    pub fn verify(mut self, code: i32) -> Made {
        self.verify = code;
        self
    }
}

/// Every synthetic archive.
pub fn all() -> Vec<Made> {
    let mut all = docker::all();
    all.extend(oci::all());
    all
}
