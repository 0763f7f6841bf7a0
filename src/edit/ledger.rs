//! The ledger: every digest people pin, before an edit and after it.

use std::collections::HashSet;

use crate::archive::{Archive, Descriptor, Image, Target};
use crate::digest::Digest;
use crate::edit::Edit;
use crate::edit::drop::referrers;
use crate::edit::rename::Renaming;
use crate::platform::Platform;

/// Every index, manifest and configuration of an archive that is in it, once,
/// with its digest before an edit and after it.
///
/// Renaming changes no digest; dropping an image takes some away; an index that
/// loses platforms gets another, and an image that had no manifest gets one.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: Vec<LedgerEntry>,
}

/// One document.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerEntry {
    /// What it is.
    pub kind: LedgerKind,
    /// Its digest in the input; `None` when it was not there.
    pub before: Option<Digest>,
    /// Its digest in the output; `None` when it is no longer there.
    pub after: Option<Digest>,
    /// The platform of a manifest or a configuration, where one is known.
    pub platform: Option<Platform>,
}

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LedgerKind {
    /// An index of manifests.
    Index,
    /// The manifest of one platform, or of something attached to one.
    Manifest,
    /// The configuration of one platform: docker's image ID.
    Config,
}

impl LedgerKind {
    /// The lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LedgerKind::Index => "index",
            LedgerKind::Manifest => "manifest",
            LedgerKind::Config => "config",
        }
    }
}

impl Ledger {
    /// The documents, in image order, an index before its manifests and a
    /// manifest before its configuration.
    #[must_use]
    pub fn entries(&self) -> &[LedgerEntry] {
        &self.entries
    }

    /// Whether every document that stays has the digest it had.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.entries.iter().all(|entry| entry.after.is_none() || entry.after == entry.before)
    }

    /// The documents of archives, each of which stays as it is.
    pub(crate) fn of(archives: &[&Archive]) -> Ledger {
        let mut book = Book::new(&|digest| Some(*digest));
        for archive in archives {
            archive.images().iter().for_each(|image| book.image(archive, image));
            archive.referrers().for_each(|top| book.referrer(archive, top));
        }
        book.ledger
    }

    pub(crate) fn push(&mut self, entry: LedgerEntry) {
        self.entries.push(entry);
    }
}

impl Edit<'_> {
    /// The digests before this edit and after it.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let unchanged = Renaming::default();
        let renaming = self.renaming.as_ref().unwrap_or(&unchanged);
        let dropped: HashSet<usize> = renaming.dropped().collect();
        let gone: HashSet<usize> = referrers(self.archive, renaming).into_iter().collect();
        // What stays comes first: a document two images share stays with one.
        let mut book = Book::new(&|digest| Some(*digest));
        for stays in [true, false] {
            if !stays {
                book.after = &|_| None;
            }
            let images = self.archive.images().iter().enumerate();
            let chosen = images.filter(|(at, _)| dropped.contains(at) != stays);
            chosen.for_each(|(_, image)| book.image(self.archive, image));
            let positions = self.archive.referrer_positions().iter();
            for at in positions.filter(|at| gone.contains(at) != stays) {
                book.referrer(self.archive, &self.archive.documents.tops[*at]);
            }
        }
        book.ledger
    }
}

/// A ledger that is being written.
struct Book<'a> {
    /// What becomes of a document.
    after: &'a dyn Fn(&Digest) -> Option<Digest>,
    seen: HashSet<(LedgerKind, Digest)>,
    ledger: Ledger,
}

impl<'a> Book<'a> {
    fn new(after: &'a dyn Fn(&Digest) -> Option<Digest>) -> Book<'a> {
        Book { after, seen: HashSet::new(), ledger: Ledger::default() }
    }

    fn enter(&mut self, kind: LedgerKind, before: Digest, platform: Option<Platform>) {
        if self.seen.insert((kind, before)) {
            let (before, after) = (Some(before), (self.after)(&before));
            self.ledger.entries.push(LedgerEntry { kind, before, after, platform });
        }
    }

    fn image(&mut self, archive: &Archive, image: &Image) {
        if let Target::Manifest(top) = image.target() {
            self.indexes(archive, top.digest);
        }
        for manifest in image.manifests() {
            let own = manifest.descriptor().filter(|_| manifest.is_present());
            if let Some(own) = own {
                self.enter(LedgerKind::Manifest, own.digest, manifest.platform());
            }
            if let (Some(config), Some(_)) = (manifest.config_digest(), manifest.config_entry()) {
                self.enter(LedgerKind::Config, config, manifest.platform());
            }
        }
    }

    /// An index and those below it.
    fn indexes(&mut self, archive: &Archive, top: Digest) {
        let mut queue = vec![top];
        while let Some(digest) = queue.pop() {
            let is_new = !self.seen.contains(&(LedgerKind::Index, digest));
            if let Some(index) = archive.index(&digest).filter(|_| is_new) {
                self.enter(LedgerKind::Index, digest, None);
                queue.extend(index.manifests.iter().rev().map(|child| child.digest));
            }
        }
    }

    /// What is attached to an image: a manifest, or an index of such.
    fn referrer(&mut self, archive: &Archive, top: &Descriptor) {
        self.indexes(archive, top.digest);
        let index = archive.index(&top.digest);
        for child in index.map_or(std::slice::from_ref(top), |index| &index.manifests) {
            if let Some(manifest) = archive.manifest(&child.digest) {
                self.enter(LedgerKind::Manifest, child.digest, None);
                if archive.blob(&manifest.config.digest).is_some() {
                    self.enter(LedgerKind::Config, manifest.config.digest, None);
                }
            }
        }
    }
}
