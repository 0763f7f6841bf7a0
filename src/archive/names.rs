//! Names and the four places they live in.
//!
//! `RepoTags` in `manifest.json`, the keys of `repositories`, and two
//! annotations on the descriptors of `index.json`: containerd's full image name
//! and the OCI layout's `ref.name`. They are read into one list here and are
//! always written together, so that no consumer sees a name another does not.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::archive::docker::{Item, Tagged};
use crate::archive::image::Image;
use crate::archive::view::{Descriptor, annotation};
use crate::reference::Reference;

/// A name of an image and every place it stands in.
#[derive(Clone, Debug)]
pub struct Name {
    text: Box<str>,
    reference: Option<Reference>,
    pub(crate) sites: Vec<NameSite>,
}

/// One place of a name. Positions count from 0 in document order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NameSite {
    /// A string in the `RepoTags` of an item of `manifest.json`.
    RepoTag {
        /// The item.
        item: usize,
        /// The string in it.
        position: usize,
    },
    /// A tag in `repositories`, counted over all repositories.
    Repositories {
        /// The tag.
        position: usize,
    },
    /// `io.containerd.image.name` of a descriptor of `index.json`.
    ImageName {
        /// The descriptor.
        descriptor: usize,
    },
    /// `org.opencontainers.image.ref.name` of a descriptor of `index.json`.
    RefName {
        /// The descriptor.
        descriptor: usize,
    },
}

impl NameSite {
    /// What the field calls the place.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            NameSite::RepoTag { .. } => "RepoTags",
            NameSite::Repositories { .. } => "repositories",
            NameSite::ImageName { .. } => annotation::IMAGE_NAME,
            NameSite::RefName { .. } => annotation::REF_NAME,
        }
    }

    /// Whether the docker view reads it.
    pub(crate) fn is_docker(self) -> bool {
        matches!(self, NameSite::RepoTag { .. } | NameSite::Repositories { .. })
    }
}

impl Name {
    pub(crate) fn new(text: &str) -> Name {
        let reference = Reference::parse(text).ok().map(|reference| reference.canonical());
        Name { text: text.into(), reference, sites: Vec::new() }
    }

    /// The name as it stands in the archive, at the first of its sites.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name normalised, as containerd and the kubelet look it up; `None`
    /// when it is no image reference.
    #[must_use]
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    /// Every place the name stands in.
    #[must_use]
    pub fn sites(&self) -> &[NameSite] {
        &self.sites
    }

    /// What makes two spellings one name.
    pub(crate) fn key(&self) -> String {
        self.reference.as_ref().map_or_else(|| self.text.to_string(), Reference::to_string)
    }
}

/// The normalised name, or the text where it is no reference.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.key())
    }
}

/// Whether a `RepoTags` string names nothing: docker's and podman's ways of
/// writing an untagged image.
pub(crate) fn is_no_name(tag: &str) -> bool {
    matches!(tag, "" | "<none>:<none>" | "<none>")
}

/// Whether a `ref.name` is a whole name: not just a tag, and not the `@digest`
/// containerd writes for a name without one.
pub(crate) fn is_full(ref_name: &str) -> bool {
    ref_name.contains(['/', ':', '@']) && !ref_name.starts_with('@')
}

/// Collects the names `index.json` gives to images.
pub(crate) fn of_descriptors(images: &mut [Image], tops: &[Descriptor]) {
    for image in images {
        let mut names = Collector::default();
        for descriptor in image.descriptors.iter().copied() {
            let annotation =
                |key| tops[descriptor].annotation(key).filter(|name| !is_no_name(name));
            let full = annotation(annotation::IMAGE_NAME);
            let ref_name = annotation(annotation::REF_NAME);
            match (full, ref_name) {
                (Some(full), ref_name) => {
                    names.add(full, NameSite::ImageName { descriptor });
                    if let Some(ref_name) = ref_name {
                        // A whole name may be another one: podman reads it
                        // where there is no containerd name. `@sha256:…` alone
                        // is what containerd makes of a name with a digest.
                        let is_own = is_full(ref_name) && !ref_name.starts_with('@');
                        let own = if is_own { ref_name } else { full };
                        names.add(own, NameSite::RefName { descriptor });
                    }
                }
                (None, Some(text)) if is_full(text) => {
                    names.add(text, NameSite::RefName { descriptor });
                }
                (None, Some(tag)) => image.bare_tags.push((descriptor, tag.into())),
                (None, None) => {}
            }
        }
        image.names = names.list;
    }
}

/// Adds the names of the docker view to images that were joined to it. What
/// `repositories` names and no other site does comes back as strays.
pub(crate) fn of_items(images: &mut [Image], items: &[Item], tagged: &[Tagged]) -> Vec<Name> {
    let owners = owners(images, items);
    let mut by_key: HashMap<String, (usize, usize)> = HashMap::new();
    for (at, image) in images.iter_mut().enumerate() {
        let mut names = Collector::of(std::mem::take(&mut image.names));
        for item in image.items.iter().copied() {
            for (position, tag) in items[item].tags.iter().enumerate() {
                if owners.get(&(item, position)) == Some(&at) {
                    names.add(tag, NameSite::RepoTag { item, position });
                }
            }
        }
        image.names = names.list;
        // A tag without a repository belongs to the one name that has it.
        let by_tag = names_by_tag(&image.names);
        for (descriptor, tag) in std::mem::take(&mut image.bare_tags) {
            match by_tag.get(&tag).map(Vec::as_slice) {
                Some([only]) => image.names[*only].sites.push(NameSite::RefName { descriptor }),
                _ => image.bare_tags.push((descriptor, tag)),
            }
        }
        for (position, name) in image.names.iter().enumerate() {
            by_key.entry(name.key()).or_insert((at, position));
        }
    }
    let mut strays = Collector::default();
    for (position, tagged) in tagged.iter().enumerate() {
        let site = NameSite::Repositories { position };
        let text = tagged.name();
        match by_key.get(&Name::new(&text).key()) {
            Some((image, at)) => images[*image].names[*at].sites.push(site),
            None => strays.add(&text, site),
        }
    }
    strays.list
}

/// The image of every tag, by item and position in it. Images that share a
/// configuration share its item, whose tags are those of all of them: a tag is
/// of the image that `index.json` gives the name to, else of the first.
fn owners(images: &[Image], items: &[Item]) -> HashMap<(usize, usize), usize> {
    let mut sharers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, image) in images.iter().enumerate() {
        image.items.iter().for_each(|item| sharers.entry(*item).or_default().push(at));
    }
    let mut named: HashMap<String, Vec<usize>> = HashMap::new();
    for at in sharers.values().filter(|sharers| sharers.len() > 1).flatten() {
        for name in &images[*at].names {
            named.entry(name.key()).or_default().push(*at);
        }
    }
    let mut owners = HashMap::new();
    for (item, sharers) in &sharers {
        let tags = items[*item].tags.iter().enumerate();
        for (position, tag) in tags.filter(|(_, tag)| !is_no_name(tag)) {
            let named = named.get(&Name::new(tag).key()).map_or(&[][..], Vec::as_slice);
            let owner = sharers.iter().find(|at| named.contains(at)).or(sharers.first());
            owners.extend(owner.map(|at| ((*item, position), *at)));
        }
    }
    owners
}

/// By descriptor, the positions of its names: containerd's first.
pub(crate) fn by_descriptor(image: &Image) -> HashMap<usize, Vec<usize>> {
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

/// Positions of names by their tag.
fn names_by_tag(names: &[Name]) -> HashMap<Box<str>, Vec<usize>> {
    let mut by_tag: HashMap<Box<str>, Vec<usize>> = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        if let Some(tag) = name.reference().and_then(Reference::tag) {
            by_tag.entry(tag.into()).or_default().push(at);
        }
    }
    by_tag
}

#[derive(Default)]
struct Collector {
    list: Vec<Name>,
    by_key: HashMap<String, usize>,
}

impl Collector {
    fn of(list: Vec<Name>) -> Collector {
        let by_key = list.iter().enumerate().map(|(at, name)| (name.key(), at)).collect();
        Collector { list, by_key }
    }

    fn add(&mut self, text: &str, site: NameSite) {
        let name = Name::new(text);
        let at = *self.by_key.entry(name.key()).or_insert_with(|| {
            self.list.push(name);
            self.list.len() - 1
        });
        self.list[at].sites.push(site);
    }
}
