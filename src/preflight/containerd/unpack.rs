//! Applying the layers of one manifest.

use crate::archive::view::Descriptor;
use crate::compress::Compression;
use crate::media_type::{LayerCompression, MediaClass};
use crate::preflight::containerd::Root;
use crate::preflight::control::Manifest;
use crate::preflight::rules::{self, Rule};
use crate::preflight::run::Run;

/// What of a manifest is unpacked.
#[derive(Debug)]
pub(super) struct Image {
    config: Option<usize>,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    member: Option<usize>,
    label: String,
    /// Its type is one of image layers.
    is_layer: bool,
    /// Its compression is told by its bytes; else it has to be a plain tar.
    sniffed: bool,
}

/// What came of unpacking.
#[derive(Debug)]
pub(super) enum Unpacked {
    Done,
    /// There is nothing to unpack: an artifact, or a configuration of another kind.
    Nothing(&'static Rule),
    /// No configuration.
    NoConfig,
    Failed(&'static Rule, String),
}

/// What versions differ in.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// Other types than layers' are left out before counting.
    pub(super) knows_layers: bool,
    /// No layer at all, or another rootfs type, is no failure.
    pub(super) lenient: bool,
}

impl Image {
    pub(super) fn of_manifest(run: &Run<'_>, manifest: &Manifest) -> Image {
        let find = |descriptor: &Descriptor| run.facts.by_digest(&descriptor.digest);
        let layer = |descriptor: &Descriptor| {
            let plain = LayerCompression::Uncompressed;
            let media_type = &descriptor.media_type;
            Layer {
                member: find(descriptor),
                label: descriptor.digest.to_string(),
                is_layer: media_type.class() == MediaClass::Layer,
                sniffed: media_type.is_docker() || media_type.declared_compression() != Some(plain),
            }
        };
        Image {
            config: manifest.config.as_ref().and_then(find),
            layers: manifest.layers.iter().map(layer).collect(),
        }
    }

    /// Of an item of `manifest.json`, whose types the importer makes up.
    pub(super) fn of_root(run: &Run<'_>, root: &Root) -> Option<Image> {
        let Root::Docker { config, layers } = root else { return None };
        let layer = |at: &usize| Layer {
            member: Some(*at),
            label: run.facts.members[*at].name.to_string(),
            is_layer: true,
            sniffed: true,
        };
        Some(Image { config: Some(*config), layers: layers.iter().map(layer).collect() })
    }

    /// Whether it has layers and none is of a type that is unpacked.
    pub(super) fn is_artifact(&self) -> bool {
        !self.layers.is_empty() && !self.layers.iter().any(|layer| layer.is_layer)
    }

    pub(super) fn has_config(&self) -> bool {
        self.config.is_some()
    }

    pub(super) fn unpack(&self, run: &mut Run<'_>, how: How) -> Unpacked {
        let facts = run.facts;
        let Some(config) = self.config.and_then(|at| facts.config(at)) else {
            return Unpacked::NoConfig;
        };
        if how.lenient && self.is_artifact() {
            return Unpacked::Nothing(rules::NO_LAYER_TYPE);
        }
        if how.lenient && !config.has_layers() {
            return Unpacked::Nothing(rules::CONFIG_BAD);
        }
        let layers: Vec<&Layer> =
            self.layers.iter().filter(|layer| layer.is_layer || !how.knows_layers).collect();
        if layers.len() != config.layers.len() {
            let counts = format!("{} layers, {} diff IDs", layers.len(), config.layers.len());
            return Unpacked::Failed(rules::LAYER_COUNT, counts);
        }
        for (layer, diff_id) in layers.iter().zip(&config.layers) {
            if run.is_known(&diff_id.chain) {
                continue;
            }
            let Some(content) = layer.member.and_then(|at| facts.content(at)) else {
                return Unpacked::Failed(rules::LAYER_GONE, layer.label.clone());
            };
            if !layer.is_layer {
                return Unpacked::Failed(rules::NO_LAYER_TYPE, layer.label.clone());
            }
            let known = matches!(content.compression, Compression::Gzip | Compression::Zstd);
            let found = if known && layer.sniffed { content.plain } else { Some(content.digest) };
            let wanted = diff_id.digest;
            if found.is_none() || found != wanted {
                let rule = match content.compression {
                    Compression::None => rules::LAYER_BAD,
                    _ if content.plain != wanted => rules::LAYER_BAD,
                    _ if known => rules::LAYER_TYPE,
                    _ => rules::LAYER_CODEC,
                };
                return Unpacked::Failed(rule, layer.label.clone());
            }
            run.knows(diff_id.chain);
        }
        if self.is_artifact() {
            return Unpacked::Nothing(rules::NO_LAYER_TYPE);
        }
        Unpacked::Done
    }
}
