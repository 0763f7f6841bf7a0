//! The graph below the top-level descriptors: every index, manifest and
//! configuration read once, with its digest checked before it is believed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::archive::document::check_size;
use crate::archive::store::{Entry, Store};
use crate::archive::view::{Config, Descriptor, Index, Manifest, ManifestDocument};
use crate::diagnostics::Diagnostics;
use crate::digest::{Digest, Hasher};
use crate::error::{Code, Error, Result};
use crate::json;
use crate::limits::Limits;
use crate::media_type::MediaClass;

/// Every blob reachable from the top, by digest.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: HashMap<Digest, GraphNode>,
}

/// One blob of the graph.
#[derive(Debug)]
pub(crate) struct GraphNode {
    /// The file that holds it; `None` when it is absent.
    pub(crate) entry: Option<Entry>,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Index(Box<Index>),
    Manifest(Box<Manifest>),
    Config(Arc<Config>),
    /// Layers, and everything of a type ocitar has no business reading.
    Opaque,
    /// A document that is damaged; the finding says how.
    Damaged,
}

/// What a blob is read as, from the descriptor that leads to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Manifest,
    Config,
    Opaque,
}

impl Graph {
    /// Walks down from `tops`, breadth first and without recursion; a blob
    /// that many descriptors share is read once.
    pub(crate) fn load<'d>(
        store: &Store,
        tops: impl IntoIterator<Item = &'d Descriptor>,
        limits: &Limits,
        findings: &mut Diagnostics,
    ) -> Graph {
        let mut graph = Graph::default();
        let mut level: Vec<(Descriptor, Role)> =
            tops.into_iter().map(|d| (d.clone(), role_of_manifest(d))).collect();
        let mut depth = 0;
        while !level.is_empty() {
            let mut next = Vec::new();
            for (descriptor, role) in level {
                if graph.nodes.contains_key(&descriptor.digest) {
                    continue;
                }
                if graph.nodes.len() >= limits.descriptors as usize {
                    let message = format!("more than {} descriptors", limits.descriptors);
                    findings.fatal(Error::new(Code::LimitGraph, message));
                    return graph;
                }
                let node = GraphNode::load(store, &descriptor, role, limits, findings);
                match &node.content {
                    Content::Index(index) => {
                        next.extend(
                            index.manifests.iter().map(|d| (d.clone(), role_of_manifest(d))),
                        );
                    }
                    Content::Manifest(manifest) => {
                        let config = &manifest.config;
                        let is_config = config.media_type.class() == MediaClass::Config;
                        let role = if is_config { Role::Config } else { Role::Opaque };
                        next.push((config.clone(), role));
                        next.extend(manifest.layers.iter().map(|d| (d.clone(), Role::Opaque)));
                    }
                    Content::Config(_) | Content::Opaque | Content::Damaged => {}
                }
                graph.nodes.insert(descriptor.digest, node);
            }
            depth += 1;
            if depth > limits.graph_depth && !next.is_empty() {
                let message = format!("indexes nested deeper than {}", limits.graph_depth);
                findings.fatal(Error::new(Code::LimitGraph, message));
                return graph;
            }
            level = next;
        }
        graph
    }

    pub(crate) fn get(&self, digest: &Digest) -> Option<&GraphNode> {
        self.nodes.get(digest)
    }

    /// Every descriptor below the top, each time it stands somewhere.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        self.nodes.values().flat_map(|node| -> Vec<&Descriptor> {
            match &node.content {
                Content::Index(index) => index.manifests.iter().collect(),
                Content::Manifest(manifest) => {
                    manifest.layers.iter().chain([&manifest.config]).collect()
                }
                Content::Config(_) | Content::Opaque | Content::Damaged => Vec::new(),
            }
        })
    }
}

fn role_of_manifest(descriptor: &Descriptor) -> Role {
    match descriptor.media_type.class() {
        MediaClass::Index | MediaClass::Manifest | MediaClass::Schema1 => Role::Manifest,
        // Old tools leave the type out; the shape tells.
        MediaClass::Other if descriptor.media_type.as_str().is_empty() => Role::Manifest,
        _ => Role::Opaque,
    }
}

impl GraphNode {
    fn load(
        store: &Store,
        descriptor: &Descriptor,
        role: Role,
        limits: &Limits,
        findings: &mut Diagnostics,
    ) -> GraphNode {
        let entry = match store.find(&descriptor.digest.blob_path()) {
            Ok(entry) => entry,
            Err(error) => {
                findings.fatal(error);
                None
            }
        };
        let content = match (&entry, role) {
            (Some(entry), Role::Manifest | Role::Config) => {
                Self::read(entry, descriptor, role, limits).unwrap_or_else(|error| {
                    findings.fatal(error.at(entry.place.clone()));
                    Content::Damaged
                })
            }
            _ => Content::Opaque,
        };
        GraphNode { entry, content }
    }

    fn read(
        entry: &Entry,
        descriptor: &Descriptor,
        role: Role,
        limits: &Limits,
    ) -> Result<Content> {
        check_size(entry, limits.document)?;
        let bytes = entry.span.read()?;
        let mut hasher = Hasher::new(descriptor.digest.algorithm());
        hasher.update(&bytes);
        let found = hasher.finish();
        if found != descriptor.digest {
            return Err(Error::new(Code::DigestMismatch, "corrupt: not the bytes of its digest")
                .expected_found(descriptor.digest, found));
        }
        let root = json::parse(&bytes, limits)?;
        if role == Role::Config {
            return Ok(Content::Config(Arc::new(Config::read(&root)?)));
        }
        let document = ManifestDocument::read(&root, limits)?;
        let content = match document {
            ManifestDocument::Index(index) => Content::Index(index),
            ManifestDocument::Manifest(manifest) => Content::Manifest(manifest),
        };
        let stated = descriptor.media_type.class();
        let is_index = matches!(content, Content::Index(_));
        if (stated == MediaClass::Index && !is_index)
            || (stated == MediaClass::Manifest && is_index)
        {
            return Err(Error::new(
                Code::DocumentKind,
                "the descriptor's media type is not the document's kind",
            ));
        }
        Ok(content)
    }
}
