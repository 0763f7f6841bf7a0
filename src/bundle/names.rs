//! Names of a bundle's images, and the descriptors of `index.json` they stand on.

use std::collections::HashSet;

use crate::archive::names::by_descriptor;
use crate::archive::view::annotation;
use crate::archive::{Archive, Descriptor, Image, ManifestKind, Name, NameSite};
use crate::digest::{Algorithm, Digest};
use crate::edit::named_descriptor;
use crate::error::Result;
use crate::json::edit::{Edits, string};
use crate::json::{self, Node};
use crate::limits::Limits;
use crate::reference::Reference;

/// A name an image has in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BundleName {
    key: String,
    reference: Option<Reference>,
    /// How `RepoTags` spelled it.
    repo_tag: Option<Box<str>>,
}

/// A descriptor of `index.json`, as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Top {
    /// The names it carries, by key; none for an unnamed image.
    pub(super) keys: Vec<String>,
    /// The text of the descriptor.
    pub(super) raw: Vec<u8>,
}

impl BundleName {
    fn of(archive: &Archive, name: &Name) -> BundleName {
        let repo_tag = name.sites().iter().find_map(|site| match site {
            NameSite::RepoTag { item, position } => {
                archive.documents.items.get(*item)?.tags.get(*position).cloned()
            }
            _ => None,
        });
        BundleName { key: name.key(), reference: name.reference().cloned(), repo_tag }
    }

    /// The normal form, or the text of one that is no reference.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    /// What stands in `RepoTags`: the old spelling, else the name in full,
    /// which docker and containerd shorten and podman must have. Classic docker
    /// refuses an archive for a digest there.
    pub(super) fn repo_tag(&self) -> Option<&str> {
        let has_digest = self.reference.as_ref().is_some_and(|name| name.digest().is_some());
        if has_digest { None } else { Some(self.repo_tag.as_deref().unwrap_or(&self.key)) }
    }

    /// Whether `RepoTags` has a place for it.
    pub(super) fn is_repo_tag(&self) -> bool {
        self.repo_tag().is_some()
    }

    /// The same name of another digest, where it has one.
    pub(super) fn with_digest(&self, digest: Digest) -> Option<BundleName> {
        let old = self.reference.as_ref().filter(|name| name.digest().is_some())?;
        let new = old.with_digest(digest);
        Some(BundleName { key: new.to_string(), reference: Some(new), repo_tag: None })
    }

    /// Takes over how another archive spelled it in `RepoTags`.
    pub(super) fn join(&mut self, other: &BundleName) {
        // Either spelling is right; the order of the archives must not matter.
        let tags = [self.repo_tag.take(), other.repo_tag.clone()];
        self.repo_tag = tags.into_iter().flatten().min();
    }
}

/// The names of an image that stay, and their descriptors.
pub(super) fn of(
    archive: &Archive,
    image: &Image,
    kept: &[usize],
) -> Result<(Vec<BundleName>, Vec<Top>)> {
    let mut names: Vec<BundleName> =
        kept.iter().map(|at| BundleName::of(archive, &image.names()[*at])).collect();
    names.sort();
    Ok((names, tops(archive, image, kept)?))
}

/// One descriptor a name: its own where it carries nothing else, a copy of it
/// where another name on it goes.
fn tops(archive: &Archive, image: &Image, kept: &[usize]) -> Result<Vec<Top>> {
    let names_of = by_descriptor(image);
    let kept: HashSet<usize> = kept.iter().copied().collect();
    let mut tops = Vec::new();
    let mut placed: HashSet<usize> = HashSet::new();
    let mut unnamed = None;
    for descriptor in image.descriptors.iter().copied() {
        let Some(raw) = raw_top(archive, descriptor)? else { continue };
        let own = names_of.get(&descriptor).map_or(&[][..], Vec::as_slice);
        unnamed.get_or_insert_with(|| raw.to_vec());
        if own.is_empty() {
            // A tag without a repository is kept as long as nothing was picked.
            if kept.len() == image.names().len() {
                tops.push(Top { keys: Vec::new(), raw: raw.to_vec() });
            }
        } else if own.iter().all(|at| kept.contains(at)) {
            if own.iter().any(|at| placed.insert(*at)) {
                let keys = own.iter().map(|at| image.names()[*at].key()).collect();
                tops.push(Top { keys, raw: raw.to_vec() });
            }
        } else {
            for at in own.iter().filter(|at| kept.contains(at)) {
                let name = &image.names()[*at];
                if let Some(reference) = name.reference().filter(|_| placed.insert(*at)) {
                    tops.push(Top::named(raw, reference)?);
                }
            }
        }
    }
    // Names that only the docker view has.
    let template = unnamed.or_else(|| tops.first().map(|top| top.raw.clone()));
    if let Some(template) = template {
        let missing = (0..image.names().len()).filter(|at| kept.contains(at));
        for at in missing.filter(|at| !placed.contains(at)) {
            if let Some(reference) = image.names()[at].reference() {
                tops.push(Top::named(&template, reference)?);
            }
        }
        if tops.is_empty() {
            tops.push(Top { keys: Vec::new(), raw: template });
        }
        // An unnamed descriptor beside named ones says nothing more.
        if tops.iter().any(|top| !top.keys.is_empty()) {
            tops.retain(|top| !top.keys.is_empty() || has_name(&top.raw));
        }
    }
    Ok(tops)
}

/// Whether a descriptor has an annotation that names it.
fn has_name(raw: &[u8]) -> bool {
    [annotation::IMAGE_NAME, annotation::REF_NAME].iter().any(|key| note(raw, key).is_some())
}

/// An annotation of a descriptor.
fn note(raw: &[u8], key: &str) -> Option<String> {
    let node = json::parse(raw, &Limits::default()).ok()?;
    let annotations = node.map_field("annotations").unwrap_or_default();
    let found = annotations.into_iter().find(|(k, _)| **k == *key)?;
    Some(found.1.to_string())
}

/// One descriptor for each name, whichever archive came first: one that
/// containerd reads, where there is one. Those without a name stay where there
/// is no name, or for a tag that none of the names has.
pub(super) fn settle(tops: &mut Vec<Top>, names: &[BundleName]) {
    tops.sort_by_cached_key(|top| (!top.has_image_name(), top.raw.clone()));
    tops.dedup();
    let is_named = tops.iter().any(|top| !top.keys.is_empty());
    let mut placed: HashSet<String> = HashSet::new();
    tops.retain(|top| {
        let new = top.keys.iter().filter(|key| placed.insert((*key).clone())).count();
        new > 0 || top.keys.is_empty() && (!is_named || adds_tag(&top.raw, names))
    });
    tops.sort();
}

/// Whether a descriptor has a tag that is not that of one of the names.
fn adds_tag(raw: &[u8], names: &[BundleName]) -> bool {
    let Some(tag) = note(raw, annotation::REF_NAME) else { return has_name(raw) };
    let same = names.iter().filter_map(BundleName::reference);
    same.filter(|name| name.tag() == Some(&*tag)).count() != 1
}

/// The text of a top-level descriptor.
pub(super) fn raw_top(archive: &Archive, position: usize) -> Result<Option<&[u8]>> {
    let Some(index) = &archive.documents.index else { return Ok(None) };
    let node = index.root.array_field("manifests")?.get(position);
    Ok(node.map(|node| &index.bytes[node.span.clone()]))
}

impl Top {
    /// A descriptor under another name.
    pub(super) fn named(raw: &[u8], name: &Reference) -> Result<Top> {
        let raw = named_descriptor(raw, name)?.into_bytes();
        Ok(Top { keys: vec![name.to_string()], raw })
    }

    /// Whether containerd finds the name without being helped.
    pub(super) fn has_image_name(&self) -> bool {
        note(&self.raw, annotation::IMAGE_NAME).is_some()
    }

    /// Makes the descriptor lead to something else.
    pub(super) fn lead_to(&mut self, target: &Descriptor) -> Result<()> {
        self.raw = leading_to(&self.raw, target)?;
        Ok(())
    }
}

/// The text of a descriptor that leads to another document, the rest byte for
/// byte. A copy of the old document in it (`data`) goes.
pub(super) fn leading_to(raw: &[u8], target: &Descriptor) -> Result<Vec<u8>> {
    let node = json::parse(raw, &Limits::default())?;
    let mut edits = Edits::default();
    set_target(&node, target, &mut edits)?;
    Ok(edits.apply(raw))
}

/// As [`leading_to`], of a descriptor inside a document.
pub(super) fn set_target(node: &Node, target: &Descriptor, edits: &mut Edits) -> Result<()> {
    let mut set = |key: &str, text: String| -> Result<()> {
        if let Some(old) = node.field_or_null(key)? {
            edits.replace(old, text);
        }
        Ok(())
    };
    set("mediaType", string(target.media_type.as_str()))?;
    set("digest", string(&target.digest.to_string()))?;
    set("size", target.size.to_string())?;
    set("data", "null".to_owned())
}

/// The digest cosign's names are about: tags of `sha256-<hex>` with `.sig`,
/// `.att` or `.sbom` behind it, or alone as the tag of a list of referrers.
fn cosign_subject<'n>(names: impl Iterator<Item = Option<&'n Reference>>) -> Option<Digest> {
    let mut subject = None;
    for name in names {
        let hex = name?.tag()?.strip_prefix("sha256-")?;
        let ends = [".sig", ".att", ".sbom"];
        let hex = ends.iter().find_map(|end| hex.strip_suffix(end)).unwrap_or(hex);
        let digest = Digest::from_hex(Algorithm::Sha256, hex).ok()?;
        if subject.replace(digest).is_some_and(|other| other != digest) {
            return None;
        }
    }
    subject
}

/// What an image is about: cosign's names say so, or the subject of a manifest
/// that does not run.
pub(super) fn about<'n>(
    image: &Image,
    names: impl Iterator<Item = Option<&'n Reference>>,
) -> Option<Digest> {
    cosign_subject(names).or_else(|| match image.manifests() {
        [only] => match only.kind() {
            ManifestKind::Attestation(subject) => subject,
            _ => None,
        },
        _ => None,
    })
}

/// Whether an image is a signature or another attachment.
pub(super) fn is_attached(image: &Image) -> bool {
    about(image, image.names().iter().map(Name::reference)).is_some()
}
