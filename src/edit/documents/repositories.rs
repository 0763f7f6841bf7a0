//! `repositories`: names by the layer IDs they lead to.

use std::collections::{HashMap, HashSet};

use crate::archive::{Document, Image, Name, NameSite};
use crate::edit::documents::Changes;
use crate::edit::rename::Outcome;
use crate::json::edit::string;
use crate::reference::Reference;

impl<'a> Changes<'a> {
    /// `repositories`: written anew in its own order when any name in it
    /// changes; its values are layer IDs and stay.
    pub(super) fn repositories(&self, document: &Document) -> Option<Vec<u8>> {
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
