//! The OCI view: `oci-layout` and `index.json`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::archive::document::Document;
use crate::archive::graph::{Content, Graph};
use crate::archive::image::{Image, ImageManifest, Layer, ManifestBody, ManifestKind, Target};
use crate::archive::view::{Descriptor, annotation};
use crate::diagnostics::Diagnostics;
use crate::digest::Digest;
use crate::error::{Code, Error, Result};
use crate::json::shape::INDEX;
use crate::limits::{Limit, Limits};
use crate::media_type::{MediaClass, MediaType};

/// The only version of the layout there is; containerd refuses any other.
const LAYOUT_VERSION: &str = "1.0.0";

/// Findings about the `oci-layout` file.
pub(crate) fn check_layout(layout: &Document, findings: &mut Diagnostics) {
    match layout.root.str_field("imageLayoutVersion") {
        Ok(Some(LAYOUT_VERSION)) => {}
        // An empty version makes containerd read manifest.json instead.
        Ok(version) => {
            let error =
                Error::new(Code::Layout, "containerd and docker refuse this layout version")
                    .expected_found(LAYOUT_VERSION, version.unwrap_or("none"));
            findings.error(error.at(layout.entry.place.clone()));
        }
        Err(error) => findings.fatal(error.at(layout.entry.place.clone())),
    }
}

/// Findings about `index.json` itself.
pub(crate) fn check_index(index: &Document, findings: &mut Diagnostics) {
    // Nobody refuses it, and nobody has to read it.
    let version = index.root.size_field("schemaVersion").ok().flatten();
    if let Some(version) = version.filter(|version| *version != 2) {
        let error = Error::new(Code::Version, "index.json of another schema version");
        findings.warning(error.expected_found(2, version).at(index.entry.place.clone()));
    }
}

/// The descriptors of `index.json`, in order.
pub(crate) fn descriptors(index: &Document) -> Result<Vec<Descriptor>> {
    let root = &index.root;
    INDEX.check(root)?;
    for key in ["config", "layers", "fsLayers"] {
        if root.field_or_null(key)?.is_some() {
            return Err(Error::new(Code::DocumentKind, "index.json is a manifest too"));
        }
    }
    let stated = root.str_field("mediaType")?.map(|text| MediaType::from(text).class());
    if matches!(stated, Some(MediaClass::Manifest | MediaClass::Schema1)) {
        let message = "index.json calls itself a manifest";
        return Err(Error::new(Code::DocumentKind, message));
    }
    root.array_field("manifests")?.iter().map(Descriptor::read).collect()
}

/// The images of the OCI view, in the order of their first descriptor, and the
/// positions of descriptors that are referrers. Descriptors with one digest
/// are one image.
pub(crate) fn images(
    tops: &[Descriptor],
    graph: &Graph,
    limits: &Limits,
    findings: &mut Diagnostics,
) -> (Vec<Image>, Vec<usize>) {
    let mut images: Vec<Image> = Vec::new();
    let mut referrers = Vec::new();
    let mut seen: HashMap<Digest, usize> = HashMap::new();
    let mut below = Manifests { graph, bodies: HashMap::new(), left: limits.descriptors.into() };
    for (position, top) in tops.iter().enumerate() {
        // What the others are would be walked again by whoever looks at them.
        if below.left == 0 {
            break;
        }
        if is_referrer(top, graph) {
            referrers.push(position);
            continue;
        }
        let at = *seen.entry(top.digest).or_insert_with(|| {
            images.push(Image::new(Target::Manifest(Box::new(top.clone())), below.of(top)));
            images.len() - 1
        });
        if let Target::Manifest(first) = &images[at].target
            && first.media_type != top.media_type
        {
            let message = format!("index.json gives {} two media types", top.digest);
            let error = Error::new(Code::DocumentKind, message);
            findings.fatal(error.expected_found(&first.media_type, &top.media_type));
        }
        images[at].descriptors.push(position);
    }
    if below.left == 0 {
        findings.fatal(limits.exceeded(Limit::Descriptors));
    }
    (images, referrers)
}

/// A top-level descriptor that is about another: containerd marks its copies
/// with an annotation; others (oras) leave an unnamed manifest with a subject.
fn is_referrer(top: &Descriptor, graph: &Graph) -> bool {
    if top.annotation(annotation::SUBJECT).is_some() {
        return true;
    }
    let names = [annotation::IMAGE_NAME, annotation::REF_NAME];
    if names.iter().any(|key| top.annotation(key).is_some()) {
        return false;
    }
    match graph.get(&top.digest).map(|node| &node.content) {
        Some(Content::Manifest(manifest)) => manifest.subject.is_some(),
        Some(Content::Index(index)) => index.subject.is_some(),
        _ => false,
    }
}

/// Collects the manifests below descriptors, what they share but once.
struct Manifests<'g> {
    graph: &'g Graph,
    bodies: HashMap<Digest, Arc<ManifestBody>>,
    /// How many more descriptors may be looked at. What several tops share is
    /// walked and copied for each of them, and neither may become a product.
    left: u64,
}

impl Manifests<'_> {
    /// The manifests below a descriptor, nested indexes included, in index order,
    /// once for each platform they are listed for.
    fn of(&mut self, top: &Descriptor) -> Vec<ImageManifest> {
        let mut found = Vec::new();
        let mut visited = HashSet::new();
        let mut stack = vec![top];
        while let Some(descriptor) = stack.pop() {
            if !visited.insert((descriptor.digest, &descriptor.platform)) {
                continue;
            }
            match self.graph.get(&descriptor.digest).map(|node| &node.content) {
                _ if self.left == 0 => break,
                Some(Content::Index(index)) => {
                    self.left = self.left.saturating_sub(index.manifests.len() as u64);
                    stack.extend(index.manifests.iter().rev());
                }
                _ => {
                    self.left = self.left.saturating_sub(1 + (descriptor.bulk() >> 8));
                    found.push(self.manifest(descriptor));
                }
            }
        }
        found
    }

    fn manifest(&mut self, descriptor: &Descriptor) -> ImageManifest {
        let graph = self.graph;
        let body = self.bodies.entry(descriptor.digest);
        let body = Arc::clone(body.or_insert_with(|| Arc::new(body_of(&descriptor.digest, graph))));
        let config = body.config_view.as_ref().map(|view| view.platform.clone());
        ImageManifest {
            descriptor: Some(descriptor.clone()),
            kind: kind_of(descriptor, graph.get(&descriptor.digest).map(|node| &node.content)),
            platform: descriptor.platform.clone().or(config),
            body,
        }
    }
}

/// What the manifest a descriptor leads to is for.
pub(crate) fn kind_of(descriptor: &Descriptor, content: Option<&Content>) -> ManifestKind {
    if descriptor.is_attestation() {
        let subject = descriptor.annotation(annotation::REFERENCE_DIGEST);
        return ManifestKind::Attestation(subject.and_then(|text| text.parse().ok()));
    }
    match content {
        Some(Content::Manifest(manifest))
            if manifest.config.media_type.class() != MediaClass::Config =>
        {
            match &manifest.subject {
                Some(subject) => ManifestKind::Attestation(Some(subject.digest)),
                None => ManifestKind::Artifact,
            }
        }
        Some(Content::Other) if descriptor.media_type.class() == MediaClass::Other => {
            ManifestKind::Artifact
        }
        _ => ManifestKind::Image,
    }
}

fn body_of(digest: &Digest, graph: &Graph) -> ManifestBody {
    let node = graph.get(digest);
    let entry = node.and_then(|node| node.entry.clone());
    let Some(Content::Manifest(manifest)) = node.map(|node| &node.content) else {
        let is_present = entry.is_some();
        return ManifestBody { entry, is_present, ..ManifestBody::default() };
    };
    let config = graph.get(&manifest.config.digest);
    let config_view = config.and_then(|node| node.config.clone());
    let diff_ids = config_view.as_ref().map_or(&[][..], |view| &view.diff_ids);
    let layers = manifest.layers.iter().enumerate().map(|(i, layer)| Layer {
        descriptor: Some(layer.clone()),
        path: layer.digest.blob_path().into(),
        diff_id: diff_ids.get(i).copied(),
        entry: graph.get(&layer.digest).and_then(|node| node.entry.clone()),
    });
    ManifestBody {
        entry,
        config: Some(manifest.config.digest),
        config_entry: config.and_then(|node| node.entry.clone()),
        layers: layers.collect(),
        config_view,
        is_present: true,
    }
}
