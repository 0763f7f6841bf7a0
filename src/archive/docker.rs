//! The docker view: `manifest.json` and `repositories`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::archive::document::{Document, Reader, check_config_size};
use crate::archive::image::{Image, ImageManifest, Layer, ManifestBody, ManifestKind, Target};
use crate::archive::store::{Entry, Store};
use crate::archive::view::ConfigSummary;
use crate::diagnostics::Diagnostics;
use crate::digest::{Algorithm, Digest};
use crate::error::{Code, Error, Result};
use crate::json::shape::{ITEMS, REPOSITORIES};
use crate::json::{self, shape};
use crate::limits::{Limit, Limits};

/// One item of `manifest.json`.
#[derive(Debug)]
pub(crate) struct Item {
    /// The path of the configuration, as written.
    pub(crate) config: Box<str>,
    /// The tags, as written.
    pub(crate) tags: Vec<Box<str>>,
    /// The paths of the layers, base first, as written.
    pub(crate) layers: Vec<Box<str>>,
    /// Whether docker 25 or later wrote it: they state every layer's source.
    pub(crate) has_layer_sources: bool,
}

/// One name of `repositories`.
#[derive(Debug)]
pub(crate) struct Tagged {
    pub(crate) repository: Box<str>,
    pub(crate) tag: Box<str>,
    /// The layer ID it leads to: a directory name, or a diff ID's hex.
    pub(crate) id: Box<str>,
}

impl Tagged {
    /// The name as one text.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }
}

/// The items of `manifest.json`. `null` has none, as an empty array.
pub(crate) fn items(manifest: &Document, limits: &Limits) -> Result<Vec<Item>> {
    if manifest.root.is_null() {
        return Ok(Vec::new());
    }
    ITEMS.check(&manifest.root)?;
    let items = manifest.root.array().map_err(|_| shape("manifest.json must be an array"))?;
    let item = |node: &json::Node| {
        let config =
            node.str_field("Config")?.ok_or_else(|| shape("an item without \"Config\""))?;
        let layers = node.strings_field("Layers")?;
        if layers.len() > limits.layers as usize {
            return Err(limits.exceeded(Limit::Layers));
        }
        Ok(Item {
            config: config.into(),
            tags: node.strings_field("RepoTags")?,
            layers,
            has_layer_sources: node.field("LayerSources")?.is_some(),
        })
    };
    items.iter().map(item).collect()
}

/// The names of `repositories`, in document order.
pub(crate) fn repositories(document: &Document) -> Result<Vec<Tagged>> {
    REPOSITORIES.check(&document.root)?;
    let object = |node: &json::Node| match node.object() {
        Some(fields) => Ok(fields.len()),
        None => Err(shape("repositories must hold objects of tags")),
    };
    object(&document.root)?;
    let mut names = Vec::new();
    for (repository, tags) in document.root.object().unwrap_or_default() {
        object(tags)?;
        for (tag, id) in tags.object().unwrap_or_default() {
            let json::Value::String(id) = &id.value else {
                return Err(shape("a tag in repositories must lead to a layer ID"));
            };
            names.push(Tagged { repository: repository.clone(), tag: tag.clone(), id: id.clone() });
        }
    }
    Ok(names)
}

/// The images of the docker view. Items that share a configuration are one
/// image, as podman and docker treat them.
pub(crate) fn images(
    items: &[Item],
    reader: &Reader<'_>,
    findings: &mut Diagnostics,
) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    let mut configs = Configs { reader, read: HashMap::new() };
    let mut by_config = HashMap::new();
    for (position, item) in items.iter().enumerate() {
        let loaded = configs.load(&item.config, findings);
        let at = match loaded.digest.and_then(|digest| by_config.get(&digest).copied()) {
            Some(at) => {
                let image: &Image = &images[at];
                if !image.manifests[0].layers().iter().map(|layer| &layer.path).eq(&item.layers) {
                    let message =
                        "two items of manifest.json share a configuration and list other layers";
                    findings.fatal(Error::new(Code::ImageConflict, message));
                }
                at
            }
            None => {
                images.push(image(item, &loaded, reader.store, findings));
                images.len() - 1
            }
        };
        if let Some(digest) = loaded.digest {
            by_config.insert(digest, at);
        }
        images[at].items.push(position);
    }
    images
}

fn image(item: &Item, loaded: &Loaded, store: &Store, findings: &mut Diagnostics) -> Image {
    let diff_ids = loaded.view.as_ref().map_or(&[][..], |view| &view.diff_ids);
    let has_rootfs = loaded.view.as_ref().is_some_and(|view| view.has_rootfs);
    if has_rootfs && diff_ids.len() != item.layers.len() {
        let error = Error::new(Code::ImageLayerCount, format!("layers listed for {}", item.config))
            .expected_found(format!("{} as in its diff IDs", diff_ids.len()), item.layers.len());
        findings
            .error(error.at(loaded.entry.as_ref().map(|e| e.place.clone()).unwrap_or_default()));
    }
    let layers = item.layers.iter().enumerate().map(|(i, path)| {
        let entry = match store.find(path) {
            Ok(None) => {
                let message =
                    format!("manifest.json names the layer \"{path}\", which is not there");
                findings.error(Error::new(Code::BlobMissing, message));
                None
            }
            Ok(entry) => entry,
            Err(error) => {
                findings.fatal(error);
                None
            }
        };
        Layer { descriptor: None, path: path.clone(), diff_id: diff_ids.get(i).copied(), entry }
    });
    let body = ManifestBody {
        entry: None,
        // Where the file is absent its path may still say which one it is.
        config: loaded.digest.or_else(|| Digest::from_blob_path(&item.config)),
        config_entry: loaded.entry.clone(),
        config_view: loaded.view.clone(),
        layers: layers.collect(),
        is_present: true,
    };
    let manifest = ImageManifest {
        descriptor: None,
        kind: ManifestKind::Image,
        platform: loaded.view.as_ref().map(|view| view.platform.clone()),
        body: Arc::new(body),
    };
    Image::new(loaded.digest.map_or(Target::Unknown, Target::Config), vec![manifest])
}

/// Configurations by the file that holds them, each read once however many
/// items name it.
struct Configs<'a> {
    reader: &'a Reader<'a>,
    read: HashMap<Box<str>, Loaded>,
}

#[derive(Clone, Default)]
struct Loaded {
    entry: Option<Entry>,
    digest: Option<Digest>,
    view: Option<Arc<ConfigSummary>>,
}

impl Configs<'_> {
    fn load(&mut self, path: &str, findings: &mut Diagnostics) -> Loaded {
        let entry = match self.reader.store.find(path) {
            Ok(Some(entry)) => entry,
            Ok(None) => {
                let message =
                    format!("manifest.json names the configuration \"{path}\", which is not there");
                findings.error(Error::new(Code::BlobMissing, message));
                return Loaded::default();
            }
            Err(error) => {
                findings.fatal(error);
                return Loaded::default();
            }
        };
        if let Some(loaded) = self.read.get(&entry.name) {
            return loaded.clone();
        }
        let name = entry.name.clone();
        let place = entry.place.clone();
        let mut loaded = Loaded { entry: Some(entry.clone()), ..Loaded::default() };
        match self.reader.read(&entry) {
            Err(error) => findings.fatal(error.at(place)),
            Ok(bytes) => {
                check_config_size(&entry, findings);
                let found = Digest::of(&bytes);
                loaded.digest = Some(found);
                match digest_in_name(&name).filter(|stated| *stated != found) {
                    Some(stated) => {
                        let error = Error::new(
                            Code::DigestMismatch,
                            "corrupt: not the bytes of its digest",
                        );
                        findings.fatal(error.expected_found(stated, found).at(place));
                    }
                    None => {
                        let view = json::parse(&bytes, self.reader.limits);
                        let view = view.and_then(|root| ConfigSummary::read(&root));
                        match view {
                            Ok(view) => loaded.view = Some(Arc::new(view)),
                            Err(error) => findings.fatal(error.at(place)),
                        }
                    }
                }
            }
        }
        self.read.insert(name, loaded.clone());
        loaded
    }
}

/// The sha256 a file name states: `<hex>`, `sha256:<hex>`, with any of the
/// extensions archives use, in any folder.
pub(crate) fn digest_in_name(path: &str) -> Option<Digest> {
    let name = path.rsplit('/').next()?;
    let name = name.strip_prefix("sha256:").unwrap_or(name);
    let stem = name.split('.').next()?;
    Digest::from_hex(Algorithm::Sha256, stem).ok()
}
