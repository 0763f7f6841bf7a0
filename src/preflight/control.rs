//! The control files as Go decodes them: keys in any case, absent fields zero.

use std::collections::HashSet;

use crate::archive::view::{Descriptor, annotation};
use crate::digest::Digest;
use crate::json::{Node, Value};
use crate::limits::Limits;
use crate::platform::Platform;
use crate::preflight::facts::{Document, Fault};
use crate::preflight::naming::Annotated;
use crate::preflight::rules::{AMBIGUOUS, Rule};

/// Why a control file is no use: the rule, and what is wrong with it.
pub(super) type Problem = (&'static Rule, String);

/// One item of `manifest.json`.
#[derive(Debug, Default)]
pub(super) struct Item {
    pub(super) config: String,
    pub(super) tags: Vec<Box<str>>,
    pub(super) layers: Vec<Box<str>>,
    /// Sizes of layers, by diff ID.
    pub(super) sources: Vec<(Digest, u64)>,
}

/// A descriptor of `index.json`.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) descriptor: Descriptor,
    pub(super) names: Annotated,
    /// Whether the content is said to be in the descriptor itself.
    pub(super) has_data: bool,
    /// Bytes of its annotations.
    pub(super) annotations: u64,
}

/// The value of a document; `damaged` is the rule for one that has none.
pub(super) fn root<'d>(
    document: &'d Document,
    damaged: &'static Rule,
) -> Result<&'d Node, Problem> {
    match &document.root {
        Ok(node) => Ok(node),
        Err(Fault::Empty) => Err((damaged, "it is empty".to_owned())),
        Err(Fault::Syntax(message)) => Err((damaged, message.clone())),
        Err(Fault::Doubt(message)) => Err((AMBIGUOUS, message.clone())),
    }
}

/// The items of `manifest.json`; `None` of `null`.
pub(super) fn items(
    document: &Document,
    limits: &Limits,
    damaged: &'static Rule,
) -> Result<Option<Vec<Item>>, Problem> {
    let node = root(document, damaged)?;
    if node.is_null() {
        return Ok(None);
    }
    let problem = |message: &str| (damaged, message.to_owned());
    let nodes = node.array().map_err(|_| problem("it is not an array"))?;
    let items = nodes.iter().map(|node| item(node).map_err(|error| problem(error.message())));
    let items: Vec<Item> = items.collect::<Result<_, _>>()?;
    match items.iter().any(|item| item.layers.len() > limits.layers as usize) {
        true => Err((AMBIGUOUS, format!("more than {} layers", limits.layers))),
        false => Ok(Some(items)),
    }
}

fn item(node: &Node) -> crate::error::Result<Item> {
    if node.is_null() {
        return Ok(Item::default());
    }
    let mut sources = Vec::new();
    if let Some(node) = node.field("LayerSources")? {
        for (diff_id, source) in node.object().unwrap_or_default() {
            if let (Ok(diff_id), Ok(Some(size))) = (diff_id.parse(), source.size_field("size")) {
                sources.push((diff_id, size));
            }
        }
    }
    Ok(Item {
        config: node.str_field("Config")?.unwrap_or_default().to_owned(),
        tags: node.strings_field("RepoTags")?,
        layers: node.strings_field("Layers")?,
        sources,
    })
}

/// The descriptors of `index.json`.
pub(super) fn tops(document: &Document, damaged: &'static Rule) -> Result<Vec<Top>, Problem> {
    let node = root(document, damaged)?;
    let problem = |error: crate::error::Error| (damaged, error.message().to_owned());
    let nodes = node.array_field("manifests").map_err(problem)?;
    let top = |node: &Node| {
        let descriptor = Descriptor::read(node)?;
        let sizes = descriptor.annotations.iter().map(|(key, value)| key.len() + value.len());
        Ok(Top {
            names: Annotated::of(&descriptor),
            has_data: node.field("data")?.is_some(),
            annotations: sizes.sum::<usize>() as u64,
            descriptor,
        })
    };
    nodes.iter().map(|node| top(node).map_err(problem)).collect()
}

/// What `oci-layout` states; `Ok(None)` when it states no version.
pub(super) fn layout(
    document: &Document,
    damaged: &'static Rule,
) -> Result<Option<String>, Problem> {
    let node = root(document, damaged)?;
    let version = node.str_field("imageLayoutVersion");
    let version = version.map_err(|error| (damaged, error.message().to_owned()))?;
    Ok(version.filter(|version| !version.is_empty()).map(ToOwned::to_owned))
}

/// What decides about a configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Config {
    pub(super) platform: Platform,
    /// The type of its rootfs; `None` without a rootfs.
    pub(super) rootfs: Option<String>,
    pub(super) layers: Vec<DiffId>,
    /// Steps of the history that made a layer.
    pub(super) steps: usize,
}

/// A layer as a configuration knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiffId {
    /// The digest of its content; `None` when it is no digest.
    pub(super) digest: Option<Digest>,
    /// Stands for it and all the layers below it.
    pub(super) chain: Digest,
    /// Whether it stands further down, too.
    pub(super) is_repeated: bool,
}

/// The layers of diff IDs, base first.
fn layers(diff_ids: &[Box<str>]) -> Vec<DiffId> {
    let mut chain = String::new();
    let mut seen = HashSet::new();
    let mut layer = |text: &str| {
        let below = Digest::of(format!("{chain} {text}").as_bytes());
        chain = below.to_string();
        let is_repeated = !seen.insert(text.to_owned());
        DiffId { digest: text.parse().ok(), chain: below, is_repeated }
    };
    diff_ids.iter().map(|text| layer(text)).collect()
}

impl Config {
    /// Whether its rootfs is made of layers.
    pub(super) fn has_layers(&self) -> bool {
        matches!(self.rootfs.as_deref(), None | Some("" | "layers"))
    }
}

/// A configuration; `None` when it is no JSON object of the usual fields.
///
/// More layers than the limit are none at all.
pub(super) fn config(document: &Document, limits: &Limits) -> Option<Config> {
    let node = document.root.as_ref().ok()?;
    let mut config =
        Config { platform: crate::archive::view::platform(node).ok()?, ..Config::default() };
    if let Some(rootfs) = node.field("rootfs").ok()? {
        config.rootfs = Some(rootfs.str_field("type").ok()?.unwrap_or_default().to_owned());
        let diff_ids = rootfs.strings_field("diff_ids").ok()?;
        if diff_ids.len() > limits.layers as usize {
            return None;
        }
        config.layers = layers(&diff_ids);
    }
    let history = node.array_field("history").ok()?;
    config.steps =
        history.iter().filter(|step| !step.bool_field("empty_layer").unwrap_or(false)).count();
    Some(config)
}

/// The document of an index or manifest, as far as it decides anything.
#[derive(Debug)]
pub(super) struct Manifest {
    /// What its own `mediaType` says; empty when it says nothing.
    pub(super) media_type: String,
    pub(super) has_children: bool,
    pub(super) has_config: bool,
    pub(super) children: Vec<Descriptor>,
    pub(super) config: Option<Descriptor>,
    pub(super) layers: Vec<Descriptor>,
}

/// An index or a manifest; `None` when it is neither.
///
/// More layers than the limit are none at all.
pub(super) fn manifest(document: &Document, limits: &Limits) -> Option<Manifest> {
    let node = document.root.as_ref().ok()?;
    let list = |key: &str| -> Option<Vec<Descriptor>> {
        node.array_field(key).ok()?.iter().map(|node| Descriptor::read(node).ok()).collect()
    };
    let has = |key: &str| matches!(node.field(key), Ok(Some(_)));
    Some(Manifest {
        media_type: node.str_field("mediaType").ok()?.unwrap_or_default().to_owned(),
        has_children: has("manifests"),
        has_config: has("config") || has("layers"),
        children: list("manifests")?,
        config: match node.field("config").ok()? {
            Some(Node { value: Value::Object(fields), .. }) if fields.is_empty() => None,
            Some(node) => Some(Descriptor::read(node).ok()?),
            None => None,
        },
        layers: list("layers").filter(|layers| layers.len() <= limits.layers as usize)?,
    })
}

/// Whether a descriptor is BuildKit's attestation about a sibling.
pub(super) fn is_attestation(descriptor: &Descriptor) -> bool {
    descriptor.annotation(annotation::REFERENCE_TYPE).is_some()
        || descriptor.platform.as_ref().is_some_and(Platform::is_unknown)
}
