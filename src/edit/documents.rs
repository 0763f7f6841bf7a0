//! The three documents that hold names, edited: bytes to bytes.
//!
//! Every name of an image that changes is written to all of its sites, and to
//! both views where the archive has both. What does not change keeps its bytes.

use std::collections::{HashMap, HashSet};

use crate::archive::names::{is_full, is_no_name};
use crate::archive::view::annotation;
use crate::archive::{Archive, Descriptor, Document, Image, Name, NameSite, docker, oci};
use crate::edit::rename::{Outcome, Renaming};
use crate::error::{Code, Error, Result};
use crate::json::edit::{Edits, string, strings};
use crate::json::{self, Node};
use crate::reference::{Reference, is_valid_ref_name, ref_name_object};

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

    /// `index.json`: one descriptor a name.
    fn index(&self, document: &Document) -> Result<Option<Vec<u8>>> {
        let Some(array) = document.root.field("manifests")? else { return Ok(None) };
        let keep = vec![true; array.array()?.len()];
        let mut edit = IndexEdit { document, array, edits: Edits::default(), keep };
        for (at, image) in self.touched() {
            if self.is_dropped(at) {
                image.descriptors.iter().for_each(|d| edit.keep[*d] = false);
            } else {
                self.index_image(at, image, &mut edit)?;
            }
        }
        for referrer in super::drop::referrers(self.archive, self.renaming) {
            edit.keep[referrer] = false;
        }
        let IndexEdit { mut edits, keep, .. } = edit;
        edits.retain_items(array, |i| keep[i]);
        Ok((!edits.is_empty()).then(|| edits.apply(&document.bytes)))
    }

    /// The descriptors of one image.
    fn index_image(&self, at: usize, image: &'a Image, edit: &mut IndexEdit<'_>) -> Result<()> {
        let names_of = names_by_descriptor(image);
        let mut done = HashSet::new();
        for descriptor in image.descriptors.iter().copied() {
            let named = names_of.get(&descriptor).map_or(&[][..], Vec::as_slice);
            let is_kept = |name: &usize| self.renaming.names[at][*name] == Outcome::Keep;
            let finals: Vec<Final<'_>> = match named {
                [] => match self.unnamed(at) {
                    Some(new) => vec![new],
                    None => continue,
                },
                named => {
                    named.iter().flat_map(|i| self.finals_of(at, *i, &image.names()[*i])).collect()
                }
            };
            // Two names on one descriptor (containerd's and another in ref.name)
            // are taken apart when either changes.
            let splits = named.len() > 1 && !named.iter().all(is_kept);
            let mut finals = finals.into_iter().filter(|name| done.insert(name.key.clone()));
            match finals.next() {
                // Every name of it goes, or stands on another descriptor.
                None => edit.keep[descriptor] = false,
                Some(Final { new: Some(new), .. }) => edit.rename(descriptor, new)?,
                Some(Final { new: None, old: Some(old), .. }) if splits => {
                    edit.rename(descriptor, old)?;
                }
                Some(Final { new: None, .. }) => {}
            }
            for other in finals {
                let old = other.old.filter(|_| splits);
                if let Some(name) = other.new.or(old) {
                    edit.clone_behind(descriptor, descriptor, name)?;
                }
            }
        }
        // Names that only the docker view had so far.
        let fresh = self.new_names(at, image).into_iter();
        let fresh = fresh.filter(|name| done.insert(name.key.clone()));
        let mut missing: Vec<&Reference> = fresh.filter_map(|name| name.new).collect();
        let Some(first) = image.descriptors.first().copied() else { return Ok(()) };
        let anchor = image.descriptors.iter().rev().copied().find(|d| edit.keep[*d]);
        if anchor.is_none() {
            // The image lost all of its descriptors to names that went; it keeps
            // one, under a name that stays.
            let stays = |i: &usize| self.renaming.names[at][*i] == Outcome::Keep;
            let kept = (0..image.names().len()).filter(stays);
            missing.extend(kept.filter_map(|i| image.names()[i].reference()).take(1));
            let Some(new) = missing.first().copied() else { return Ok(()) };
            edit.keep[first] = true;
            edit.rename(first, new)?;
            missing.remove(0);
        }
        for new in missing {
            edit.clone_behind(anchor.unwrap_or(first), first, new)?;
        }
        Ok(())
    }

    /// `manifest.json`: the `RepoTags` of every item.
    fn manifest(&self, document: &Document) -> Result<Option<Vec<u8>>> {
        if document.root.is_null() {
            return Ok(None);
        }
        let nodes = document.root.array()?;
        let mut edits = Edits::default();
        let mut keep = vec![true; nodes.len()];
        for (at, image) in self.touched() {
            if self.is_dropped(at) {
                image.items.iter().for_each(|item| keep[*item] = false);
                continue;
            }
            let position_of: HashMap<String, usize> =
                image.names().iter().enumerate().map(|(i, name)| (name.key(), i)).collect();
            let mut done = HashSet::new();
            let mut tags_of: Vec<(usize, Vec<String>)> = Vec::new();
            for item in image.items.iter().copied() {
                let mut tags = Vec::new();
                for tag in &self.archive.documents.items[item].tags {
                    let Some(i) =
                        position_of.get(&Name::new(tag).key()).filter(|_| !is_no_name(tag))
                    else {
                        continue;
                    };
                    let old = &image.names()[*i];
                    for name in self.finals_of(at, *i, old) {
                        // Classic docker refuses an archive for a digest in
                        // RepoTags; one that was there stays.
                        let has_digest =
                            |name: Option<&Reference>| name.is_some_and(|n| n.digest().is_some());
                        if has_digest(name.new) && !has_digest(old.reference()) {
                            continue;
                        }
                        if done.insert(name.key) {
                            tags.push(
                                name.new.map_or_else(|| tag.to_string(), Reference::to_string),
                            );
                        }
                    }
                }
                tags_of.push((item, tags));
            }
            let missing =
                self.new_names(at, image).into_iter().filter(|name| done.insert(name.key.clone()));
            let missing = missing.filter_map(|name| name.new).filter(|new| new.digest().is_none());
            if let Some((_, tags)) = tags_of.first_mut() {
                tags.extend(missing.map(Reference::to_string));
            }
            for (item, tags) in tags_of {
                if self.archive.documents.items[item]
                    .tags
                    .iter()
                    .map(|tag| &**tag)
                    .eq(tags.iter().map(String::as_str))
                {
                    continue;
                }
                let text = strings(tags.iter().map(String::as_str));
                match nodes[item].field_or_null("RepoTags")? {
                    Some(old) => edits.replace(old, text),
                    None => edits.append_fields(&nodes[item], &[("RepoTags", text)]),
                }
            }
        }
        edits.retain_items(&document.root, |i| keep[i]);
        Ok((!edits.is_empty()).then(|| edits.apply(&document.bytes)))
    }

    /// `repositories`: written anew in its own order when any name in it
    /// changes; its values are layer IDs and stay.
    fn repositories(&self, document: &Document) -> Option<Vec<u8>> {
        let tagged = &self.archive.documents.tagged;
        let mut outcome_of: HashMap<usize, &Outcome> = HashMap::new();
        let mut note = |name: &Name, outcome: &'a Outcome| {
            for site in name.sites() {
                if let NameSite::Repositories { position } = site {
                    outcome_of.insert(*position, outcome);
                }
            }
        };
        for (image, outcomes) in self.archive.images().iter().zip(&self.renaming.names) {
            image.names().iter().zip(outcomes).for_each(|(name, outcome)| note(name, outcome));
        }
        self.archive
            .strays
            .iter()
            .zip(&self.renaming.strays)
            .for_each(|(name, outcome)| note(name, outcome));

        // A name that images get is theirs, whatever stray has it.
        let images = self.touched().filter(|(at, _)| !self.is_dropped(*at));
        let taken: HashSet<String> =
            images.flat_map(|(at, image)| self.new_names(at, image)).map(|name| name.key).collect();
        let strays = self.archive.strays.iter().filter(|name| taken.contains(&name.key()));
        let beaten: HashSet<usize> = strays
            .flat_map(|name| name.sites())
            .filter_map(|site| match site {
                NameSite::Repositories { position } => Some(*position),
                _ => None,
            })
            .collect();
        let mut entries = Repositories::default();
        for (position, old) in tagged.iter().enumerate().filter(|(at, _)| !beaten.contains(at)) {
            let kept = |entries: &mut Repositories| entries.add(&old.repository, &old.tag, &old.id);
            match outcome_of.get(&position) {
                None | Some(Outcome::Keep) => kept(&mut entries),
                Some(Outcome::Rename(new)) => entries.add_reference(new, &old.id),
                Some(Outcome::Add(new)) => {
                    kept(&mut entries);
                    entries.add_reference(new, &old.id);
                }
                Some(Outcome::Drop) => {}
            }
        }
        for (at, image) in self.touched().filter(|(at, _)| !self.is_dropped(*at)) {
            if let Some(id) = self.layer_id(image) {
                self.new_names(at, image)
                    .iter()
                    .filter_map(|name| name.new)
                    .for_each(|new| entries.add_reference(new, &id));
            }
        }
        let old = tagged.iter().map(|t| (&*t.repository, &*t.tag));
        if old.eq(entries.iter()) {
            return None;
        }
        let newline = if document.bytes.ends_with(b"\n") { "\n" } else { "" };
        Some(format!("{}{newline}", entries.json()).into_bytes())
    }

    /// The layer ID `repositories` gives for an image: what it gives already,
    /// else what the producer of the archive would have written.
    fn layer_id(&self, image: &Image) -> Option<Box<str>> {
        let sites = image.names().iter().flat_map(|name| name.sites());
        let known = sites.filter_map(|site| match site {
            NameSite::Repositories { position } => {
                Some(self.archive.documents.tagged[*position].id.clone())
            }
            _ => None,
        });
        if let Some(id) = known.into_iter().next() {
            return Some(id);
        }
        if !image.names().is_empty() {
            return None;
        }
        let item = &self.archive.documents.items[*image.items.first()?];
        let top = item.layers.last()?;
        match (top.strip_suffix("/layer.tar"), top.rsplit_once('/')) {
            (Some(id), _) => Some(id.into()),
            (None, Some((_, hex))) => Some(hex.into()),
            // podman keeps layers at the root and links to them from folders
            // named by the layer ID; the last link to the top layer is its own.
            (None, None) => {
                let tar = self.archive.store.tar()?;
                let target = format!("../{top}");
                let links = tar.index.members().iter().rev();
                let mut links = links.filter(|member| member.link.as_deref() == Some(&*target));
                Some(links.next()?.name.strip_suffix("/layer.tar")?.into())
            }
        }
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
        for name in written {
            if !wanted.contains(&name) {
                return Err(Error::new(
                    Code::Bug,
                    format!("the edited archive would still say {name}"),
                )
                .hint("this is a bug in ocitar; nothing was written"));
            }
        }
        Ok(())
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

/// `index.json` while it is edited.
struct IndexEdit<'d> {
    document: &'d Document,
    array: &'d Node,
    edits: Edits,
    /// By descriptor, whether it stays.
    keep: Vec<bool>,
}

impl IndexEdit<'_> {
    fn text(&self, node: &Node) -> &[u8] {
        &self.document.bytes[node.span.clone()]
    }

    fn rename(&mut self, descriptor: usize, name: &Reference) -> Result<()> {
        let node = &self.array.array()?[descriptor];
        self.edits.replace(node, named_descriptor(self.text(node), name)?);
        Ok(())
    }

    /// Adds a copy of a descriptor under another name, behind one that stays.
    fn clone_behind(&mut self, anchor: usize, descriptor: usize, name: &Reference) -> Result<()> {
        let node = &self.array.array()?[descriptor];
        let text = named_descriptor(self.text(node), name)?;
        self.edits.insert_item(self.array, anchor, &text);
        Ok(())
    }
}

/// By descriptor, the positions of its names: containerd's first.
fn names_by_descriptor(image: &Image) -> HashMap<usize, Vec<usize>> {
    let mut names_of: HashMap<usize, Vec<usize>> = HashMap::new();
    for (i, name) in image.names().iter().enumerate() {
        for site in name.sites() {
            match site {
                NameSite::ImageName { descriptor } => {
                    let names = names_of.entry(*descriptor).or_default();
                    names.retain(|other| *other != i);
                    names.insert(0, i);
                }
                NameSite::RefName { descriptor } => {
                    let names = names_of.entry(*descriptor).or_default();
                    if !names.contains(&i) {
                        names.push(i);
                    }
                }
                _ => {}
            }
        }
    }
    names_of
}

/// The text of a descriptor under another name, the rest byte for byte.
///
/// containerd's annotation gets the canonical name and is added where it was
/// missing. `ref.name` gets the tag where it held a tag and the full name where
/// it held one that the layout's grammar allows; it is only added to a
/// descriptor that had neither.
pub(crate) fn named_descriptor(bytes: &[u8], name: &Reference) -> Result<String> {
    let root = json::parse(bytes, &crate::limits::Limits::default())?;
    let full = name.to_string();
    let annotations = root.field_or_null("annotations")?;
    let fields = annotations.and_then(Node::object).unwrap_or_default();
    let value = |key: &str| fields.iter().find(|(k, _)| &**k == key).map(|(_, node)| node);
    let text = |node: &Node| match &node.value {
        json::Value::String(text) => Some(text.clone()),
        _ => None,
    };
    let old_ref = value(annotation::REF_NAME);
    let held_full = old_ref.and_then(text).is_some_and(|text| is_full(&text));
    let ref_name =
        if held_full && is_valid_ref_name(&full) { &*full } else { ref_name_object(&full) };

    let mut edits = Edits::default();
    let mut added = Vec::new();
    match value(annotation::IMAGE_NAME) {
        Some(old) => edits.replace(old, string(&full)),
        None => added.push((annotation::IMAGE_NAME, string(&full))),
    }
    match old_ref {
        Some(old) => edits.replace(old, string(ref_name)),
        None if value(annotation::IMAGE_NAME).is_none() => {
            added.push((annotation::REF_NAME, string(ref_name)))
        }
        None => {}
    }
    let object = || {
        let fields: Vec<String> =
            added.iter().map(|(key, value)| format!("{}:{value}", string(key))).collect();
        format!("{{{}}}", fields.join(","))
    };
    match annotations {
        Some(node) if node.object().is_some() => edits.append_fields(node, &added),
        Some(null) => edits.replace(null, object()),
        None => edits.append_fields(&root, &[("annotations", object())]),
    }
    let text = edits.apply(bytes);
    String::from_utf8(text).map_err(|_| Error::new(Code::Bug, "an edit of UTF-8 that is none"))
}

/// Entries of `repositories` in order of first appearance.
#[derive(Default)]
struct Repositories {
    list: Vec<(String, Vec<(String, String)>)>,
    position: HashMap<String, usize>,
    seen: HashSet<String>,
}

impl Repositories {
    fn add(&mut self, repository: &str, tag: &str, id: &str) {
        if !self.seen.insert(Name::new(&format!("{repository}:{tag}")).key()) {
            return;
        }
        let at = *self.position.entry(repository.to_owned()).or_insert_with(|| {
            self.list.push((repository.to_owned(), Vec::new()));
            self.list.len() - 1
        });
        self.list[at].1.push((tag.to_owned(), id.to_owned()));
    }

    /// A name with a digest has no place in `repositories`.
    fn add_reference(&mut self, name: &Reference, id: &str) {
        if let (Some(tag), None) = (name.tag(), name.digest()) {
            self.add(name.repository(), tag, id);
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list
            .iter()
            .flat_map(|(repository, tags)| tags.iter().map(move |(tag, _)| (&**repository, &**tag)))
    }

    fn json(&self) -> String {
        let tags = |tags: &[(String, String)]| -> String {
            let tags: Vec<String> =
                tags.iter().map(|(tag, id)| format!("{}:{}", string(tag), string(id))).collect();
            tags.join(",")
        };
        let list = self
            .list
            .iter()
            .map(|(repository, all)| format!("{}:{{{}}}", string(repository), tags(all)));
        format!("{{{}}}", list.collect::<Vec<_>>().join(","))
    }
}
