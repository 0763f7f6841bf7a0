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

impl Change {
    /// The places this change writes to, each once: where the new name will
    /// stand, or from where the old one goes. None for a name that stays.
    #[must_use]
    pub fn places(&self, archive: &Archive) -> Vec<NamePlace> {
        let mut places: Vec<NamePlace> = match (&self.outcome, self.image) {
            (Outcome::Keep, _) => Vec::new(),
            (Outcome::Rename(new) | Outcome::Add(new), Some(at)) => {
                match archive.images().get(at) {
                    Some(image) => self.new_places(archive, image, new),
                    None => Vec::new(),
                }
            }
            _ => self.sites.iter().copied().map(NamePlace::of).collect(),
        };
        places.sort();
        places.dedup();
        places
    }

    fn new_places(&self, archive: &Archive, image: &Image, new: &Reference) -> Vec<NamePlace> {
        let documents = &archive.documents;
        let mut places = Vec::new();
        // The old name's descriptors are renamed, else the first is cloned.
        let own = self.sites.iter().filter_map(|site| match site {
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
        let has_tag_site = self.sites.iter().any(|site| matches!(site, NameSite::RepoTag { .. }));
        let old_has_digest = self.old.as_deref().is_some_and(|old| old.contains('@'));
        // Classic docker refuses an archive for a digest in RepoTags.
        if !image.items.is_empty() && (new.digest().is_none() || (has_tag_site && old_has_digest)) {
            places.push(NamePlace::RepoTags);
        }
        let sites = || image.names().iter().flat_map(|name| name.sites());
        let listed = sites().any(|site| matches!(site, NameSite::Repositories { .. }));
        let could_be = image.names().is_empty() && !image.items.is_empty();
        if documents.repositories.is_some() && new.digest().is_none() && (listed || could_be) {
            places.push(NamePlace::Repositories);
        }
        places
    }
}
