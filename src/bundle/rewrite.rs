//! Indexes made anew without some of their manifests: the text of what goes is
//! taken out, what stays keeps its bytes.

use std::collections::{HashMap, HashSet};

use crate::archive::Descriptor;
use crate::archive::graph::Content;
use crate::archive::view::ManifestDocument;
use crate::bundle::blobs::{Blobs, LeafKey};
use crate::bundle::made::descriptor;
use crate::bundle::names::set_target;
use crate::digest::Digest;
use crate::error::{Code, Error, Result};
use crate::json;
use crate::json::edit::Edits;
use crate::media_type::MediaType;

/// Makes the indexes at and below a root anew with some of their manifests:
/// by the digest of the old one, the descriptor of the new one.
pub(super) fn rewrite(
    blobs: &mut Blobs<'_>,
    root: &Descriptor,
    kept: &HashSet<LeafKey>,
) -> Result<HashMap<Digest, Descriptor>> {
    let mut new: HashMap<Digest, Descriptor> = HashMap::new();
    let mut empty: HashSet<Digest> = HashSet::new();
    let indexes = blobs.indexes(&root.digest);
    let types = types_of(blobs, root, &indexes);
    for digest in indexes {
        let Some(index) = blobs.index(&digest) else { continue };
        let children: Vec<Descriptor> = index.manifests.clone();
        let stays = |child: &Descriptor| match blobs.index(&child.digest) {
            Some(_) => !empty.contains(&child.digest),
            None => kept.contains(&blobs.key(child)),
        };
        let stays: Vec<bool> = children.iter().map(stays).collect();
        let is_new = children.iter().any(|child| new.contains_key(&child.digest));
        if !is_new && stays.iter().all(|stays| *stays) {
            continue;
        }
        if !stays.contains(&true) {
            empty.insert(digest);
            continue;
        }
        let bytes = blobs.read(&digest)?;
        let limits = blobs.limits();
        let node = json::parse(&bytes, limits)?;
        let Some(array) = node.field("manifests")? else { continue };
        let mut edits = Edits::default();
        for (child, node) in children.iter().zip(array.array()?) {
            if let Some(target) = new.get(&child.digest) {
                set_target(node, target, &mut edits)?;
            }
        }
        edits.retain_items(array, |at| stays.get(at) == Some(&true));
        let bytes = edits.apply(&bytes);
        let size = bytes.len() as u64;
        let view = ManifestDocument::read(&json::parse(&bytes, limits)?, limits)?;
        let ManifestDocument::Index(view) = view else {
            return Err(Error::new(Code::Bug, "an index that became something else"));
        };
        let made = blobs.add_document(bytes, Content::Index(view));
        let media_type = types.get(&digest).cloned().unwrap_or(MediaType::OCI_INDEX);
        new.insert(digest, descriptor(media_type, made, size));
    }
    Ok(new)
}

/// The media types of indexes, from the descriptors that lead to them.
fn types_of(
    blobs: &Blobs<'_>,
    root: &Descriptor,
    indexes: &[Digest],
) -> HashMap<Digest, MediaType> {
    let mut types = HashMap::from([(root.digest, root.media_type.clone())]);
    let children =
        indexes.iter().filter_map(|index| blobs.index(index)).flat_map(|index| &index.manifests);
    for child in children.filter(|child| blobs.index(&child.digest).is_some()) {
        types.entry(child.digest).or_insert_with(|| child.media_type.clone());
    }
    types
}
