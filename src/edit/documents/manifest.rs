//! `manifest.json`: the `RepoTags` of its items.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::archive::{Document, Name, NameSite};
use crate::edit::documents::Changes;
use crate::error::Result;
use crate::json::edit::{Edits, strings};
use crate::reference::Reference;

impl Changes<'_> {
    /// `manifest.json`: the `RepoTags` of every item.
    pub(super) fn manifest(&self, document: &Document) -> Result<Option<Vec<u8>>> {
        if document.root.is_null() {
            return Ok(None);
        }
        let nodes = document.root.array()?;
        let mut edits = Edits::default();
        let mut keep = vec![true; nodes.len()];
        let touched: HashSet<usize> = self.touched().map(|(at, _)| at).collect();
        let owners = self.tag_owners();
        let mut done: HashSet<(usize, String)> = HashSet::new();
        let mut tags_of: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (item, images) in self.sharers() {
            if images.iter().all(|at| self.is_dropped(*at)) {
                keep[item] = false;
            } else if images.iter().any(|at| touched.contains(at)) {
                let tags = tags_of.entry(item).or_default();
                let old = self.archive.documents.items[item].tags.iter().enumerate();
                for (position, tag) in old {
                    let Some((at, name)) = owners.get(&(item, position)).copied() else { continue };
                    if !self.is_dropped(at) {
                        self.add_tag(tag, at, name, &mut done, tags);
                    }
                }
            }
        }
        // Names that only the OCI view had so far.
        for (at, image) in self.touched().filter(|(at, _)| !self.is_dropped(*at)) {
            let missing = self.new_names(at, image).into_iter();
            let missing = missing.filter(|name| done.insert((at, name.key.clone())));
            let missing = missing.filter_map(|name| name.new).filter(|new| new.digest().is_none());
            if let Some(tags) = image.items.first().and_then(|item| tags_of.get_mut(item)) {
                tags.extend(missing.map(Reference::to_string));
            }
        }
        for (item, tags) in tags_of {
            let old = &self.archive.documents.items[item].tags;
            if old.iter().map(|tag| &**tag).eq(tags.iter().map(String::as_str)) {
                continue;
            }
            let text = strings(tags.iter().map(String::as_str));
            match nodes[item].field_or_null("RepoTags")? {
                Some(old) => edits.replace(old, text),
                None => edits.append_fields(&nodes[item], &[("RepoTags", text)]),
            }
        }
        edits.retain_items(&document.root, |i| keep[i]);
        Ok((!edits.is_empty()).then(|| edits.apply(&document.bytes)))
    }

    /// What becomes of one tag of an item: the names its image has for it.
    fn add_tag(
        &self,
        tag: &str,
        at: usize,
        name: usize,
        done: &mut HashSet<(usize, String)>,
        tags: &mut Vec<String>,
    ) {
        let old = &self.archive.images()[at].names()[name];
        for name in self.finals_of(at, name, old) {
            // Classic docker refuses an archive for a digest in RepoTags; one
            // that was there stays.
            let has_digest = |name: Option<&Reference>| name.is_some_and(|n| n.digest().is_some());
            if has_digest(name.new) && !has_digest(old.reference()) {
                continue;
            }
            if done.insert((at, name.key)) {
                tags.push(name.new.map_or_else(|| tag.to_owned(), Reference::to_string));
            }
        }
    }

    /// The images of every item that has any.
    fn sharers(&self) -> BTreeMap<usize, Vec<usize>> {
        let mut sharers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, image) in self.archive.images().iter().enumerate() {
            image.items.iter().for_each(|item| sharers.entry(*item).or_default().push(at));
        }
        sharers
    }

    /// The image and the name of every tag, by item and position in it.
    fn tag_owners(&self) -> HashMap<(usize, usize), (usize, usize)> {
        let mut owners = HashMap::new();
        for (at, image) in self.archive.images().iter().enumerate() {
            for (name, sites) in image.names().iter().map(Name::sites).enumerate() {
                for site in sites {
                    if let NameSite::RepoTag { item, position } = *site {
                        owners.insert((item, position), (at, name));
                    }
                }
            }
        }
        owners
    }
}
