//! Where a new name will stand.

use std::fmt;

use crate::archive::view::annotation;
use crate::archive::{Archive, Image, NameSite};
use crate::edit::rename::{Change, Outcome};
use crate::reference::Reference;

/// One of the four places names live in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum NamePlace {
    /// `RepoTags` in `manifest.json`.
    RepoTags,
    /// `repositories`.
    Repositories,
    /// `io.containerd.image.name` in `index.json`.
    ImageName,
    /// `org.opencontainers.image.ref.name` in `index.json`; often only the tag.
    RefName,
}

impl NamePlace {
    /// The place a site is in.
    #[must_use]
    pub fn of(site: NameSite) -> NamePlace {
        match site {
            NameSite::RepoTag { .. } => NamePlace::RepoTags,
            NameSite::Repositories { .. } => NamePlace::Repositories,
            NameSite::ImageName { .. } => NamePlace::ImageName,
            NameSite::RefName { .. } => NamePlace::RefName,
        }
    }

    /// What people call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            NamePlace::RepoTags => "RepoTags",
            NamePlace::Repositories => "repositories",
            NamePlace::ImageName => "containerd name",
            NamePlace::RefName => "ref.name",
        }
    }
}

impl fmt::Display for NamePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the names of an archive's changes will stand.
#[derive(Clone, Debug)]
pub struct Places<'a> {
    archive: &'a Archive,
    /// By image, whether `repositories` lists it.
    listed: Vec<bool>,
}

impl<'a> Places<'a> {
    /// Looks at what an archive has of each image.
    #[must_use]
    pub fn new(archive: &'a Archive) -> Places<'a> {
        let is_listed = |image: &Image| {
            let mut sites = image.names().iter().flat_map(|name| name.sites());
            sites.any(|site| matches!(site, NameSite::Repositories { .. }))
                || (image.names().is_empty() && !image.items.is_empty())
        };
        let has_list = archive.documents.repositories.is_some();
        let listed = archive.images().iter().map(|image| has_list && is_listed(image)).collect();
        Places { archive, listed }
    }

    /// The places a change writes to, each once: where the new name will stand,
    /// or from where the old one goes. None for a name that stays.
    #[must_use]
    pub fn of(&self, change: &Change) -> Vec<NamePlace> {
        let mut places: Vec<NamePlace> = match (&change.outcome, change.image) {
            (Outcome::Keep, _) => Vec::new(),
            (Outcome::Rename(new) | Outcome::Add(new), Some(at)) => {
                self.new_places(change, at, new)
            }
            _ => change.sites.iter().copied().map(NamePlace::of).collect(),
        };
        places.sort();
        places.dedup();
        places
    }

    fn new_places(&self, change: &Change, at: usize, new: &Reference) -> Vec<NamePlace> {
        let Some(image) = self.archive.images().get(at) else { return Vec::new() };
        let documents = &self.archive.documents;
        let mut places = Vec::new();
        // The old name's descriptors are renamed, else the first is cloned.
        let own = change.sites.iter().filter_map(|site| match site {
            NameSite::ImageName { descriptor } | NameSite::RefName { descriptor } => {
                Some(*descriptor)
            }
            _ => None,
        });
        let mut own: Vec<usize> = own.collect();
        if own.is_empty() {
            own.extend(image.descriptors.first());
        }
        for descriptor in own.into_iter().filter_map(|at| documents.tops.get(at)) {
            places.push(NamePlace::ImageName);
            let has = |key| descriptor.annotation(key).is_some();
            // It is only added to a descriptor that has neither annotation.
            if has(annotation::REF_NAME) || !has(annotation::IMAGE_NAME) {
                places.push(NamePlace::RefName);
            }
        }
        // Classic docker refuses an archive for a digest in RepoTags; one that
        // was there stays.
        let has_digest = |name: &str| name.contains('@');
        let had_one = change.old.as_deref().is_some_and(has_digest)
            && change.sites.iter().any(|site| matches!(site, NameSite::RepoTag { .. }));
        let takes_digests = new.digest().is_none() || had_one;
        if !image.items.is_empty() && takes_digests {
            places.push(NamePlace::RepoTags);
        }
        if new.digest().is_none() && self.listed.get(at).is_some_and(|listed| *listed) {
            places.push(NamePlace::Repositories);
        }
        places
    }
}
