//! The graph below the top-level descriptors: every index, manifest and
//! configuration read once, with its digest checked before it is believed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::archive::document::{Reader, check_config_size};
use crate::archive::store::Entry;
use crate::archive::view::{ConfigSummary, Descriptor, Index, Manifest, ManifestDocument};
use crate::diagnostics::{Diagnostics, Severity};
use crate::digest::{Digest, Hasher};
use crate::error::{Code, Error, Result};
use crate::json::{self, Node};
use crate::limits::Limit;
use crate::media_type::MediaClass;

/// Every blob reachable from the top, by digest.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: HashMap<Digest, GraphNode>,
    /// The digests as they were reached.
    order: Vec<Digest>,
}

/// One blob of the graph, read as whatever descriptors lead to it.
#[derive(Debug)]
pub(crate) struct GraphNode {
    /// The file that holds it; `None` when it is absent.
    pub(crate) entry: Option<Entry>,
    pub(crate) content: Content,
    /// What it says when it is read as a configuration.
    pub(crate) config: Option<Arc<ConfigSummary>>,
    read_as: Vec<Role>,
}

/// What a blob says when it is read as a manifest.
#[derive(Debug)]
pub(crate) enum Content {
    Index(Box<Index>),
    Manifest(Box<Manifest>),
    /// Nothing: a layer, a configuration, or damaged; then a finding says how.
    Other,
}

/// What a blob is read as, from the descriptor that leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Manifest,
    Config,
    Layer,
}

impl Graph {
    /// Walks down from `tops`, breadth first and without recursion; a blob
    /// that many descriptors share is read once for each kind of use.
    pub(crate) fn load<'d>(
        reader: &Reader<'_>,
        tops: impl IntoIterator<Item = &'d Descriptor>,
        findings: &mut Diagnostics,
    ) -> Graph {
        let limits = reader.limits;
        let mut graph = Graph::default();
        let mut level: Vec<(Descriptor, Role)> =
            tops.into_iter().map(|d| (d.clone(), role_of_manifest(d))).collect();
        let mut depth = 0;
        while !level.is_empty() {
            let mut next = Vec::new();
            for (descriptor, role) in level {
                if graph.nodes.len() >= limits.descriptors as usize {
                    findings.fatal(limits.exceeded(Limit::Descriptors));
                    return graph;
                }
                let node = graph.nodes.entry(descriptor.digest);
                let order = &mut graph.order;
                let node = node.or_insert_with(|| {
                    order.push(descriptor.digest);
                    GraphNode::find(reader, &descriptor, findings)
                });
                if node.read_as.contains(&role) {
                    continue;
                }
                node.read_as.push(role);
                node.read(&descriptor, role, reader, findings);
                match &node.content {
                    Content::Index(index) if role == Role::Manifest => {
                        next.extend(
                            index.manifests.iter().map(|d| (d.clone(), role_of_manifest(d))),
                        );
                    }
                    Content::Manifest(manifest) if role == Role::Manifest => {
                        let config = &manifest.config;
                        let is_config = config.media_type.class() == MediaClass::Config;
                        let role = if is_config { Role::Config } else { Role::Layer };
                        next.push((config.clone(), role));
                        next.extend(manifest.layers.iter().map(|d| (d.clone(), Role::Layer)));
                    }
                    _ => {}
                }
            }
            depth += 1;
            if depth > limits.graph_depth && !next.is_empty() {
                findings.fatal(limits.exceeded(Limit::GraphDepth));
                return graph;
            }
            level = next;
        }
        graph
    }

    pub(crate) fn get(&self, digest: &Digest) -> Option<&GraphNode> {
        self.nodes.get(digest)
    }

    fn nodes(&self) -> impl Iterator<Item = &GraphNode> {
        self.order.iter().filter_map(|digest| self.nodes.get(digest))
    }

    /// Descriptors whose embedded content is wrong, and the files they stand in.
    pub(crate) fn bad_data(&self) -> impl Iterator<Item = (&Entry, &Descriptor)> {
        let nodes = self.nodes().filter_map(|node| Some((node.entry.as_ref()?, node)));
        nodes.flat_map(|(entry, node)| {
            let all = node.content.descriptors().into_iter().chain(node.content.subject());
            all.filter(|descriptor| descriptor.bad_data.is_some()).map(move |bad| (entry, bad))
        })
    }

    /// Every descriptor below the top, each time it stands somewhere.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        self.nodes().flat_map(|node| node.content.descriptors())
    }
}

impl Content {
    /// The descriptors that lead on from here.
    fn descriptors(&self) -> Vec<&Descriptor> {
        match self {
            Content::Index(index) => index.manifests.iter().collect(),
            Content::Manifest(manifest) => {
                manifest.layers.iter().chain([&manifest.config]).collect()
            }
            Content::Other => Vec::new(),
        }
    }

    /// What this is about.
    fn subject(&self) -> Option<&Descriptor> {
        match self {
            Content::Index(index) => index.subject.as_ref(),
            Content::Manifest(manifest) => manifest.subject.as_ref(),
            Content::Other => None,
        }
    }
}

fn role_of_manifest(descriptor: &Descriptor) -> Role {
    match descriptor.media_type.class() {
        MediaClass::Index | MediaClass::Manifest | MediaClass::Schema1 => Role::Manifest,
        // Old tools leave the type out; the shape tells.
        MediaClass::Other if descriptor.media_type.as_str().is_empty() => Role::Manifest,
        _ => Role::Layer,
    }
}

impl GraphNode {
    fn find(reader: &Reader<'_>, descriptor: &Descriptor, findings: &mut Diagnostics) -> GraphNode {
        let entry = reader.store.find(&descriptor.digest.blob_path()).unwrap_or_else(|error| {
            findings.fatal(error);
            None
        });
        GraphNode { entry, content: Content::Other, config: None, read_as: Vec::new() }
    }

    fn read(
        &mut self,
        descriptor: &Descriptor,
        role: Role,
        reader: &Reader<'_>,
        findings: &mut Diagnostics,
    ) {
        let Some(entry) = self.entry.as_ref().filter(|_| role != Role::Layer) else { return };
        let place = || entry.place.clone();
        let root = match document(entry, descriptor, reader) {
            Ok(root) => root,
            Err(error) => return findings.fatal(error.at(place())),
        };
        if role == Role::Config {
            check_config_size(entry, findings);
            match ConfigSummary::read(&root) {
                Ok(config) => self.config = Some(Arc::new(config)),
                Err(error) => findings.fatal(error.at(place())),
            }
            return;
        }
        match ManifestDocument::read(&root, reader.limits) {
            Ok(document) => {
                if let Err(error) = check_type(descriptor, &document, &root) {
                    let is_kind = error.code() == Code::DocumentKind;
                    let severity = if is_kind { Severity::Fatal } else { Severity::Warning };
                    findings.push(severity, error.at(place()));
                    if is_kind {
                        return;
                    }
                }
                self.content = match document {
                    ManifestDocument::Index(index) => Content::Index(index),
                    ManifestDocument::Manifest(manifest) => Content::Manifest(manifest),
                };
            }
            Err(error) => findings.fatal(error.at(place())),
        }
    }
}

/// Reads a document and checks that it is the one its digest names.
fn document(entry: &Entry, descriptor: &Descriptor, reader: &Reader<'_>) -> Result<Node> {
    let bytes = reader.read(entry)?;
    let mut hasher = Hasher::new(descriptor.digest.algorithm());
    hasher.update(&bytes);
    let found = hasher.finish();
    if found != descriptor.digest {
        return Err(Error::new(Code::DigestMismatch, "corrupt: not the bytes of its digest")
            .expected_found(descriptor.digest, found));
    }
    json::parse(&bytes, reader.limits)
}

/// Compares what a descriptor says of a document with what the document is.
fn check_type(descriptor: &Descriptor, document: &ManifestDocument, root: &Node) -> Result<()> {
    let is_index = matches!(document, ManifestDocument::Index(_));
    let stated = &descriptor.media_type;
    let contradicts = match stated.class() {
        MediaClass::Index => !is_index,
        MediaClass::Manifest => is_index,
        _ => false,
    };
    if contradicts {
        let message = "the descriptor's media type is not the document's kind";
        return Err(Error::new(Code::DocumentKind, message));
    }
    if stated.as_str().is_empty() {
        return Err(Error::new(Code::MediaType, "the descriptor has no media type"));
    }
    match root.str_field("mediaType")?.filter(|own| !own.is_empty() && *own != stated.as_str()) {
        // podman and skopeo refuse it, the others do not look.
        Some(own) => {
            Err(Error::new(Code::MediaType, "the descriptor's media type is not the document's")
                .expected_found(stated, own))
        }
        None => Ok(()),
    }
}
