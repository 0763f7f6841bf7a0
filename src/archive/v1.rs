//! Archives from before docker 1.10: a folder a layer, and `repositories`.
//!
//! A layer ID is no digest, so nothing in such an archive can be verified, and
//! docker 29, containerd, podman and crane read none of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::archive::docker::Tagged;
use crate::archive::document::Reader;
use crate::archive::image::{Image, ImageManifest, Layer, ManifestBody, ManifestKind, Target};
use crate::archive::store::Store;
use crate::archive::view;
use crate::diagnostics::Diagnostics;
use crate::error::Result;
use crate::json;
use crate::limits::{Limit, Limits};
use crate::platform::Platform;

/// What a layer's `json` says.
struct LayerJson {
    parent: Option<Box<str>>,
    platform: Platform,
}

/// The images of `repositories`: one for each layer ID a tag leads to.
pub(crate) fn images(
    tagged: &[Tagged],
    reader: &Reader<'_>,
    findings: &mut Diagnostics,
) -> Vec<Image> {
    let Reader { store, limits, .. } = *reader;
    let mut layers: HashMap<Box<str>, LayerJson> = HashMap::new();
    let mut order = Vec::new();
    for entry in store.entries() {
        let Some(id) = entry.name.strip_suffix("/json") else { continue };
        match read_json(&entry, reader) {
            Ok(json) => {
                order.push(Box::<str>::from(id));
                layers.insert(id.into(), json);
            }
            Err(error) => findings.fatal(error.at(entry.place)),
        }
    }
    let mut tops: Vec<Box<str>> = tagged.iter().map(|tagged| tagged.id.clone()).collect();
    if tagged.is_empty() {
        // Untagged: the images are the layers that are nobody's parent.
        let parents: HashSet<_> = layers.values().filter_map(|json| json.parent.clone()).collect();
        tops = order.into_iter().filter(|id| !parents.contains(id)).collect();
    }
    let mut images: Vec<Image> = Vec::new();
    let mut seen = HashSet::new();
    let mut left = limits.descriptors;
    for id in tops {
        if !seen.insert(id.clone()) {
            continue;
        }
        match chain(&id, &layers, store, limits, &mut left) {
            Ok(manifest) => images.push(Image::new(Target::V1(id), vec![manifest])),
            Err(error) => findings.fatal(error),
        }
    }
    images
}

fn read_json(entry: &crate::archive::store::Entry, reader: &Reader<'_>) -> Result<LayerJson> {
    let root = json::parse(&reader.read(entry)?, reader.limits)?;
    let mut platform = view::platform(&root)?;
    if platform.os.is_empty() {
        "linux".clone_into(&mut platform.os);
    }
    let parent = root.str_field("parent")?.filter(|parent| !parent.is_empty());
    Ok(LayerJson { parent: parent.map(Into::into), platform })
}

/// The layers below `top`, base first.
fn chain(
    top: &str,
    layers: &HashMap<Box<str>, LayerJson>,
    store: &Store,
    limits: &Limits,
    left: &mut u32,
) -> Result<ImageManifest> {
    let mut found = Vec::new();
    let mut next = Some(top);
    while let Some(id) = next {
        *left = left.checked_sub(1).ok_or_else(|| limits.exceeded(Limit::Descriptors))?;
        if found.len() >= limits.layers as usize {
            return Err(limits.exceeded(Limit::Layers));
        }
        let path = format!("{id}/layer.tar");
        let entry = store.find(&path)?;
        found.push(Layer { descriptor: None, path: path.into(), diff_id: None, entry });
        next = layers.get(id).and_then(|json| json.parent.as_deref());
    }
    found.reverse();
    let json = layers.get(top);
    let body = ManifestBody {
        config_entry: store.find(&format!("{top}/json"))?,
        layers: found,
        is_present: true,
        ..ManifestBody::default()
    };
    Ok(ImageManifest {
        descriptor: None,
        kind: ManifestKind::Image,
        platform: json.map(|json| json.platform.clone()),
        body: Arc::new(body),
    })
}

/// Whether a store looks like such an archive: folders with `json` and
/// `layer.tar` in them.
pub(crate) fn looks_like(store: &Store) -> bool {
    store.entries().any(|entry| {
        let id = entry.name.strip_suffix("/json");
        id.is_some_and(|id| matches!(store.find(&format!("{id}/layer.tar")), Ok(Some(_))))
    })
}
