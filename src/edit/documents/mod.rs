//! The three documents that hold names, edited: bytes to bytes.
//!
//! Every name of an image that changes is written to all of its sites, and to
//! both views where the archive has both. What does not change keeps its bytes.

mod index;
mod manifest;
mod repositories;

use std::collections::HashSet;

use crate::archive::names::{is_full, is_no_name};
use crate::archive::view::annotation;
use crate::archive::{Archive, Descriptor, Document, Image, Name, docker, oci};
use crate::edit::rename::{Outcome, Renaming};
use crate::error::{Code, Error, Result};
use crate::json;
use crate::reference::Reference;
pub(crate) use index::named_descriptor;

/// New bytes of the documents that change.
#[derive(Debug, Default)]
pub(super) struct Edited {
    pub(super) index: Option<Vec<u8>>,
    pub(super) manifest: Option<Vec<u8>>,
    pub(super) repositories: Option<Vec<u8>>,
}

/// Edits every document, and reads the results back: no old name may be left.
pub(super) fn edit(archive: &Archive, renaming: &Renaming) -> Result<Edited> {
    let documents = &archive.documents;
    let changes = Changes { archive, renaming };
    let edited = Edited {
        index: documents.index.as_ref().map(|d| changes.index(d)).transpose()?.flatten(),
        manifest: documents.manifest.as_ref().map(|d| changes.manifest(d)).transpose()?.flatten(),
        repositories: documents.repositories.as_ref().and_then(|d| changes.repositories(d)),
    };
    changes.check(&edited)?;
    Ok(edited)
}

struct Changes<'a> {
    archive: &'a Archive,
    renaming: &'a Renaming,
}

/// One name an image ends with: its normal form, and the reference to write
/// when it is new.
struct Final<'a> {
    key: String,
    new: Option<&'a Reference>,
    /// The name that stays, where it is a reference.
    old: Option<&'a Reference>,
}

impl<'a> Changes<'a> {
    /// The images whose names change, with their positions.
    fn touched(&self) -> impl Iterator<Item = (usize, &'a Image)> {
        let renaming = self.renaming;
        let images = self.archive.images().iter().enumerate();
        images.filter(|(at, _)| !renaming.names.is_empty() && renaming.touches(*at))
    }

    fn is_dropped(&self, at: usize) -> bool {
        self.renaming.dropped.contains(&at)
    }

    /// What becomes of one name of an image.
    fn finals_of(&self, at: usize, name: usize, old: &'a Name) -> Vec<Final<'a>> {
        let kept = || Final { key: old.key(), new: None, old: old.reference() };
        let fresh = |new: &'a Reference| Final { key: new.to_string(), new: Some(new), old: None };
        match &self.renaming.names[at][name] {
            Outcome::Keep => vec![kept()],
            Outcome::Rename(new) => vec![fresh(new)],
            Outcome::Add(new) => vec![kept(), fresh(new)],
            Outcome::Drop => Vec::new(),
        }
    }

    /// The new names of an image, which every view must have.
    fn new_names(&self, at: usize, image: &'a Image) -> Vec<Final<'a>> {
        let named =
            image.names().iter().enumerate().flat_map(|(i, name)| self.finals_of(at, i, name));
        let mut all: Vec<Final<'a>> = named.filter(|name| name.new.is_some()).collect();
        all.extend(self.unnamed(at));
        all
    }

    fn unnamed(&self, at: usize) -> Option<Final<'a>> {
        let new = self.renaming.unnamed.get(&at)?;
        Some(Final { key: new.to_string(), new: Some(new), old: None })
    }

    /// Reads the new documents back and compares every name in them with what
    /// was asked for.
    fn check(&self, edited: &Edited) -> Result<()> {
        let mut wanted = HashSet::new();
        if self.renaming.names.is_empty() {
            return Ok(());
        }
        for (at, image) in self.archive.images().iter().enumerate() {
            wanted.extend(self.renaming.final_names(at, image));
        }
        for (name, outcome) in self.archive.strays.iter().zip(&self.renaming.strays) {
            match outcome {
                Outcome::Keep => _ = wanted.insert(name.key()),
                Outcome::Rename(new) => _ = wanted.insert(new.to_string()),
                Outcome::Add(new) => {
                    wanted.insert(name.key());
                    wanted.insert(new.to_string());
                }
                Outcome::Drop => {}
            }
        }
        let written = self.written(edited)?;
        let placed = self.untouched(edited);
        for (at, image) in self.touched().filter(|(at, _)| !self.is_dropped(*at)) {
            let is_placed =
                |name: &Final<'_>| written.contains(&name.key) || placed.contains(&name.key);
            let mut new = self.new_names(at, image).into_iter();
            if let Some(name) = new.find(|name| !is_placed(name)) {
                return Err(Error::new(
                    Code::NoMatch,
                    format!("the archive has no place for the name {}", name.key),
                )
                .hint("load it into docker, tag it there, and save it again"));
            }
        }
        match written.difference(&wanted).min() {
            None => Ok(()),
            Some(name) => {
                let message = format!("the edited archive would still say {name}");
                Err(Error::new(Code::Bug, message)
                    .hint("this is a bug in ocitar; nothing was written"))
            }
        }
    }

    /// Every name the edited documents hold.
    fn written(&self, edited: &Edited) -> Result<HashSet<String>> {
        let limits = self.archive.limits();
        let documents = &self.archive.documents;
        let read = |new: &Option<Vec<u8>>, old: &Option<Document>| -> Result<Option<Document>> {
            let (Some(new), Some(old)) = (new, old) else { return Ok(None) };
            let root = json::parse(new, limits)?;
            Ok(Some(Document { entry: old.entry.clone(), bytes: new.clone(), root }))
        };
        let mut names = HashSet::new();
        if let Some(index) = read(&edited.index, &documents.index)? {
            add_descriptors(&mut names, &oci::descriptors(&index)?);
        }
        if let Some(manifest) = read(&edited.manifest, &documents.manifest)? {
            add_items(&mut names, &docker::items(&manifest, limits)?);
        }
        if let Some(repositories) = read(&edited.repositories, &documents.repositories)? {
            add_tagged(&mut names, &docker::repositories(&repositories)?);
        }
        Ok(names)
    }

    /// Every name the documents hold that were not edited.
    fn untouched(&self, edited: &Edited) -> HashSet<String> {
        let documents = &self.archive.documents;
        let mut names = HashSet::new();
        if edited.index.is_none() {
            add_descriptors(&mut names, &documents.tops);
        }
        if edited.manifest.is_none() {
            add_items(&mut names, &documents.items);
        }
        if edited.repositories.is_none() {
            add_tagged(&mut names, &documents.tagged);
        }
        names
    }
}

fn add_descriptors(names: &mut HashSet<String>, descriptors: &[Descriptor]) {
    for descriptor in descriptors {
        let annotation = |key| descriptor.annotation(key).filter(|text| !is_no_name(text));
        let full = annotation(annotation::REF_NAME).filter(|text| is_full(text));
        let full = full.filter(|text| !text.starts_with('@'));
        let all = annotation(annotation::IMAGE_NAME).into_iter().chain(full);
        names.extend(all.map(|text| Name::new(text).key()));
    }
}

fn add_items(names: &mut HashSet<String>, items: &[docker::Item]) {
    let tags = items.iter().flat_map(|item| &item.tags).filter(|tag| !is_no_name(tag));
    names.extend(tags.map(|tag| Name::new(tag).key()));
}

fn add_tagged(names: &mut HashSet<String>, tagged: &[docker::Tagged]) {
    names.extend(tagged.iter().map(|tagged| Name::new(&tagged.name()).key()));
}
