//! One prediction while it is being made.

use std::collections::{HashMap, HashSet};

use crate::archive::{ConfigSummary, Image, ImageManifest};
use crate::compress::Compression;
use crate::digest::Digest;
use crate::platform::PlatformSpec;
use crate::preflight::facts::Facts;
use crate::preflight::members::End;
use crate::preflight::rules::{self, Rule};
use crate::preflight::{Finding, Listed, Target};

/// What a consumer would hold, and what there is to say about it.
#[derive(Debug)]
pub(super) struct Run<'f> {
    pub(super) facts: &'f Facts<'f>,
    pub(super) target: &'static Target,
    pub(super) host: &'f PlatformSpec,
    pub(super) store: Vec<Listed>,
    pub(super) findings: Vec<Finding>,
    /// Layers the consumer has, by their own digest or that of their chain.
    known: HashSet<Digest>,
    /// Where names are in the store.
    names: HashMap<String, usize>,
    /// Descriptors that may still be looked at.
    left: u32,
}

/// More findings than this are not kept: an archive must not turn its size into
/// a report of that size.
const FINDINGS: usize = 1000;

/// The import ends with an error; the finding says which.
#[derive(Debug)]
pub(super) struct Refused;

pub(super) type Step<T> = Result<T, Refused>;

impl<'f> Run<'f> {
    pub(super) fn new(
        facts: &'f Facts<'f>,
        target: &'static Target,
        host: &'f PlatformSpec,
    ) -> Run<'f> {
        Run {
            facts,
            target,
            host,
            store: Vec::new(),
            findings: Vec::new(),
            known: HashSet::new(),
            names: HashMap::new(),
            left: facts.archive.limits().descriptors.saturating_mul(4),
        }
    }

    /// Says something that does not end the import.
    pub(super) fn note(&mut self, rule: &'static Rule, detail: impl Into<String>) {
        let detail = detail.into();
        let known = |finding: &Finding| finding.rule == rule && finding.detail == detail;
        if self.findings.len() < FINDINGS && !self.findings.iter().any(known) {
            let repair = self.repair(rule);
            self.findings.push(Finding { rule, detail, fatal: false, repair });
        }
    }

    /// Ends the import.
    pub(super) fn refuse<T>(&mut self, rule: &'static Rule, detail: impl Into<String>) -> Step<T> {
        let repair = self.repair(rule);
        self.findings.push(Finding { rule, detail: detail.into(), fatal: true, repair });
        Err(Refused)
    }

    /// The command that a rule names, unless it would leave this archive as it is.
    fn repair(&self, rule: &'static Rule) -> Option<&'static str> {
        let images = self.facts.archive.images();
        let mends = if rule == rules::ONE_ITEM {
            // A part for each image: with its names, though.
            images.len() > 1 && images.iter().all(|image| image.names().len() < 2)
        } else if rule == rules::NO_MANIFEST_JSON {
            images.iter().flat_map(Image::platforms).any(docker_runs)
        } else {
            true
        };
        rule.repair.filter(|_| mends)
    }

    /// Ends the import with a problem of a control file.
    pub(super) fn take<T>(
        &mut self,
        name: &str,
        result: Result<T, (&'static Rule, String)>,
    ) -> Step<T> {
        match result {
            Ok(value) => Ok(value),
            Err((rule, message)) => self.refuse(rule, format!("{name}: {message}")),
        }
    }

    /// Gives a name to an image; the image that had it keeps none.
    pub(super) fn name(&mut self, name: String, image: Option<Digest>, usable: bool) {
        let at = *self.names.entry(name.clone()).or_insert(self.store.len());
        let listed = Listed { name: Some(name), image, usable };
        match self.store.get_mut(at) {
            Some(held) => *held = listed,
            None => self.store.push(listed),
        }
    }

    /// What a name leads to.
    pub(super) fn held(&mut self, name: &str) -> Option<&mut Listed> {
        self.store.get_mut(*self.names.get(name)?)
    }

    /// Counts a descriptor: an index that stands many times below itself is
    /// looked at until there were too many.
    pub(super) fn descend(&mut self) -> Step<()> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return self.refuse(rules::AMBIGUOUS, "more descriptors than the limit"),
        }
        Ok(())
    }

    /// Forgets what was listed and found.
    pub(super) fn start_again(&mut self) -> Vec<Finding> {
        self.store.clear();
        self.names.clear();
        std::mem::take(&mut self.findings)
    }

    /// Whether the archive's own compression is read.
    pub(super) fn outer(&mut self) -> Step<()> {
        let found = self.facts.archive.compression();
        if found == Compression::None || self.target.outer.contains(&found) {
            return Ok(());
        }
        self.refuse(rules::OUTER, found.as_str())
    }

    /// Whether the tar can be read to its end.
    pub(super) fn whole(&mut self) -> Step<()> {
        match self.facts.end {
            End::Clean => Ok(()),
            End::Broken(message) => self.refuse(rules::BROKEN, message),
        }
    }

    /// Whether the consumer has a layer.
    pub(super) fn is_known(&self, layer: &Digest) -> bool {
        self.known.contains(layer)
    }

    /// From now on it has.
    pub(super) fn knows(&mut self, layer: Digest) {
        self.known.insert(layer);
    }
}

/// Whether an item of `manifest.json` can be made for a manifest.
fn docker_runs(manifest: &ImageManifest) -> bool {
    let layers = manifest.layers();
    let is_image =
        |config: &ConfigSummary| config.has_rootfs && config.diff_ids.len() == layers.len();
    manifest.config().is_some_and(is_image) && layers.iter().all(|layer| layer.entry().is_some())
}
