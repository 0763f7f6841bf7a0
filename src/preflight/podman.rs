//! podman and skopeo: `oci-archive`, which unpacks and reads `index.json`, and
//! `docker-archive`, which looks names up in the tar. podman tries the one,
//! then the other, and says nothing of why.

use std::collections::HashMap;
use std::sync::Arc;

use crate::archive::view::Descriptor;
use crate::compress::Compression;
use crate::digest::{Algorithm, Digest};
use crate::media_type::{MediaClass, MediaType};
use crate::platform::{HostMatcher, Platform};
use crate::preflight::Listed;
use crate::preflight::control::{self, DiffId, Item, Manifest};
use crate::preflight::extract::{Tree, Unpacker};
use crate::preflight::members::{Kind, join_folder};
use crate::preflight::naming::{in_podman, is_whole};
use crate::preflight::rules;
use crate::preflight::run::{Run, Step};
use crate::reference::Reference;

/// Bytes of `manifest.json` that are read.
const LARGEST_MANIFEST: u64 = 1 << 20;

/// Bytes of a configuration that are read.
const LARGEST_CONFIG: u64 = 4 << 20;

pub(super) fn load(run: &mut Run<'_>) -> Step<()> {
    let has_index = run.facts.has("index.json");
    if oci_archive(run, true).is_ok() {
        return Ok(());
    }
    // What was found there counts for nothing if the other form loads.
    let mut first = run.start_again();
    match docker_archive(run, true) {
        Ok(()) => {
            // Several descriptors are no damage, and common.
            let why = first.iter().find(|finding| finding.fatal);
            if has_index && why.is_none_or(|why| why.rule != rules::ONE_ITEM) {
                let why =
                    why.map_or_else(String::new, |why| format!("{}: {}", why.rule.id, why.detail));
                run.note(rules::OTHER_VIEW, why);
            }
            Ok(())
        }
        Err(refused) => {
            if has_index {
                first.append(&mut run.findings);
                run.findings = first;
            }
            Err(refused)
        }
    }
}

pub(super) fn oci_archive(run: &mut Run<'_>, is_podman: bool) -> Step<()> {
    outer(run)?;
    run.whole()?;
    let facts = run.facts;
    let unpacker = Unpacker { refuses_outside: true, refuses_links_outside: true, confined: false };
    let tree = match Tree::new(&facts.members, unpacker) {
        Ok(tree) => tree,
        Err((rule, detail)) => return run.refuse(rule, detail),
    };
    let Some(index) = tree.file("index.json") else {
        return run.refuse(rules::NO_INDEX_JSON, "index.json");
    };
    let tops = control::tops(facts.control(index), rules::INDEX_JSON);
    let tops = run.take("index.json", tops)?;
    let [top] = &tops[..] else {
        let detail = format!("index.json has {} descriptors", tops.len());
        return run.refuse(rules::ONE_ITEM, detail);
    };
    let blobs = Blobs { tree: &tree };
    let (digest, manifest) = blobs.instance(run, &top.descriptor)?;
    let image = blobs.copy(run, &manifest, is_podman)?;
    let name = match top.names.verbatim().filter(|_| is_podman) {
        None => None,
        Some(name) => Some(oci_name(run, name, &digest)?),
    };
    run.store.push(Listed { name, image: Some(image), usable: true });
    Ok(())
}

/// What podman calls an image of the OCI view.
fn oci_name(run: &mut Run<'_>, name: &str, manifest: &Digest) -> Step<String> {
    let Some(reference) = in_podman(name) else {
        return run.refuse(rules::INVALID_NAME, name);
    };
    if let Some(digest) = reference.digest() {
        if digest != *manifest {
            return run.refuse(rules::DIGEST_NAME, name);
        }
        run.note(rules::DIGEST_NAME, name);
        return Ok(format!("{}:<none>", reference.repository()));
    }
    if !is_whole(name) {
        run.note(rules::TAG_ONLY, name);
    } else if reference.domain() == "localhost" && !name.starts_with("localhost/") {
        run.note(rules::LOCALHOST, name);
    }
    Ok(reference.canonical().to_string())
}

/// The blobs of an unpacked layout, found by path.
struct Blobs<'t> {
    tree: &'t Tree,
}

impl Blobs<'_> {
    fn find(&self, descriptor: &Descriptor) -> Option<usize> {
        self.tree.file(&descriptor.digest.blob_path())
    }

    /// The manifest that is copied: itself, or the host's of an index. Its
    /// bytes are not compared with its digest.
    fn instance(&self, run: &mut Run<'_>, top: &Descriptor) -> Step<(Digest, Arc<Manifest>)> {
        let document = self.document(run, top, rules::MANIFEST_GONE)?;
        let is_index = match top.media_type.class() {
            MediaClass::Index => true,
            MediaClass::Other => document.has_children,
            _ => false,
        };
        if !is_index {
            self.check_kind(run, top, &document)?;
            return Ok((top.digest, document));
        }
        let Some(child) = choose(run.host.platform(), &document.children) else {
            let detail = format!("{}: nothing for {}", top.digest, run.host);
            return run.refuse(rules::NO_PLATFORM, detail);
        };
        let manifest = self.document(run, child, rules::SPARSE)?;
        if manifest.has_children {
            return run.refuse(rules::NESTED, child.digest.to_string());
        }
        self.check_kind(run, child, &manifest)?;
        Ok((top.digest, manifest))
    }

    fn document(
        &self,
        run: &mut Run<'_>,
        descriptor: &Descriptor,
        absent: &'static rules::Rule,
    ) -> Step<Arc<Manifest>> {
        let Some(at) = self.find(descriptor) else {
            return run.refuse(absent, descriptor.digest.to_string());
        };
        match run.facts.manifest(at) {
            Some(manifest) => Ok(manifest),
            None => run.refuse(rules::MANIFEST_GONE, descriptor.digest.to_string()),
        }
    }

    /// A descriptor's type has to be that of the manifest.
    fn check_kind(
        &self,
        run: &mut Run<'_>,
        descriptor: &Descriptor,
        manifest: &Manifest,
    ) -> Step<()> {
        let stated = &descriptor.media_type;
        let differs = *stated == MediaType::DOCKER_MANIFEST
            && !manifest.media_type.is_empty()
            && manifest.media_type != stated.as_str();
        let ambiguous = stated.class() == MediaClass::Manifest && manifest.has_children;
        if differs || ambiguous {
            return run.refuse(rules::MEDIA_TYPE, descriptor.digest.to_string());
        }
        Ok(())
    }

    /// Reads configuration and layers, whose digests are checked; gives the
    /// configuration's.
    fn copy(&self, run: &mut Run<'_>, manifest: &Manifest, is_podman: bool) -> Step<Digest> {
        let Some(config) = &manifest.config else {
            return run.refuse(rules::MANIFEST_GONE, "a manifest without a configuration");
        };
        if config.digest.algorithm() != Algorithm::Sha256 {
            return run.refuse(rules::SHA512, config.digest.to_string());
        }
        let at = self.find(config);
        let Some(at) = at else {
            return run.refuse(rules::MANIFEST_GONE, config.digest.to_string());
        };
        let facts = run.facts;
        if facts.members[at].size > LARGEST_CONFIG {
            return run.refuse(rules::LARGE, config.digest.to_string());
        }
        if facts.content(at).is_none_or(|content| content.digest != config.digest) {
            return run.refuse(rules::MANIFEST_GONE, config.digest.to_string());
        }
        let is_image = config.media_type.class() == MediaClass::Config;
        if is_podman && !is_image {
            return run.refuse(rules::NO_LAYER_TYPE, config.media_type.to_string());
        }
        for layer in &manifest.layers {
            if layer.digest.algorithm() != Algorithm::Sha256 {
                return run.refuse(rules::SHA512, layer.digest.to_string());
            }
            let Some(content) = self.find(layer).and_then(|at| facts.content(at)) else {
                return run.refuse(rules::LAYER_GONE, layer.digest.to_string());
            };
            if content.digest != layer.digest {
                return run.refuse(rules::LAYER_BAD, layer.digest.to_string());
            }
        }
        Ok(config.digest)
    }
}

/// The child of an index for a host: its own platform without a variant more
/// than it has, else the first that states none.
fn choose<'d>(host: &Platform, children: &'d [Descriptor]) -> Option<&'d Descriptor> {
    let matcher = HostMatcher::new(host);
    let same = |platform: &Platform| {
        let platform = platform.normalized();
        platform.os == matcher.host().os && platform.architecture == matcher.host().architecture
    };
    let ranked = children.iter().filter_map(|child| {
        let platform = child.platform.as_ref().filter(|platform| same(platform))?;
        Some((matcher.rank(platform)?, child))
    });
    let best = ranked.min_by_key(|(rank, _)| *rank).map(|(_, child)| child);
    best.or_else(|| children.iter().find(|child| child.platform.is_none()))
}

/// The archive's compression: a zstd stream has to start with a zstd frame.
fn outer(run: &mut Run<'_>) -> Step<()> {
    run.outer()?;
    if run.facts.archive.skippable_first {
        return run.refuse(rules::SKIPPABLE, "zstd");
    }
    Ok(())
}

pub(super) fn docker_archive(run: &mut Run<'_>, is_podman: bool) -> Step<()> {
    outer(run)?;
    run.whole()?;
    let facts = run.facts;
    let Some(manifest) = file(run, "manifest.json")? else {
        let rule = if facts.has("repositories") { rules::V1 } else { rules::NO_MANIFEST_JSON };
        return run.refuse(rule, "manifest.json");
    };
    if facts.members[manifest].size > LARGEST_MANIFEST {
        return run.refuse(rules::LARGE, "manifest.json");
    }
    let document = facts.control(manifest);
    if document.trailing {
        return run.refuse(rules::TRAILING, "manifest.json");
    }
    let items = control::items(document, facts.archive.limits(), rules::MANIFEST_JSON);
    let items = run.take("manifest.json", items)?.unwrap_or_default();
    if !is_podman {
        let [item] = &items[..] else {
            let detail = format!("manifest.json has {} items", items.len());
            return run.refuse(rules::ONE_ITEM, detail);
        };
        let image = image(run, item)?;
        run.store.push(Listed { name: None, image, usable: true });
        return Ok(());
    }
    if items.is_empty() {
        run.note(rules::EMPTY, "manifest.json has no items");
    }
    // All names are read before any image is.
    for tag in items.iter().flat_map(|item| &item.tags) {
        match Reference::parse(tag) {
            Err(error) => return run.refuse(rules::INVALID_NAME, format!("{tag:?}: {error}")),
            Ok(name) if name.digest().is_some() => return run.refuse(rules::DIGEST_NAME, &**tag),
            Ok(name) if name.tag().is_none() => return run.refuse(rules::TAGLESS, &**tag),
            Ok(_) => {}
        }
    }
    // A name is looked up again, and the first item that has it is loaded.
    let mut holders: HashMap<&str, &Item> = HashMap::new();
    for item in &items {
        for tag in &item.tags {
            holders.entry(tag).or_insert(item);
        }
    }
    items.iter().try_for_each(|item| store(run, &holders, item))
}

/// Loads, under each name of an item, the item that holds the name.
fn store(run: &mut Run<'_>, holders: &HashMap<&str, &Item>, item: &Item) -> Step<()> {
    if item.tags.is_empty() {
        let image = image(run, item)?;
        run.store.push(Listed { name: None, image, usable: true });
    }
    for tag in &item.tags {
        let first = holders.get(&**tag).copied().unwrap_or(item);
        if !std::ptr::eq(first, item) {
            run.note(rules::SAME_NAME, &**tag);
        }
        let image = image(run, first)?;
        let Some(name) = in_podman(tag) else { return run.refuse(rules::INVALID_NAME, &**tag) };
        if name.domain() == "localhost" && !tag.starts_with("localhost/") {
            run.note(rules::LOCALHOST, &**tag);
        }
        run.name(name.to_string(), image, true);
    }
    Ok(())
}

fn image(run: &mut Run<'_>, item: &Item) -> Step<Option<Digest>> {
    let facts = run.facts;
    let Some(at) = file(run, &item.config)? else {
        return run.refuse(rules::MANIFEST_GONE, item.config.clone());
    };
    if facts.members[at].size > LARGEST_CONFIG {
        return run.refuse(rules::LARGE, item.config.clone());
    }
    let config = facts.config(at);
    let Some(config) = config.filter(|config| config.rootfs.is_some()) else {
        return run.refuse(rules::CONFIG_BAD, format!("{}: no rootfs", item.config));
    };
    if config.layers.len() != item.layers.len() {
        let counts = format!("{} layers, {} diff IDs", item.layers.len(), config.layers.len());
        return run.refuse(rules::LAYER_COUNT, counts);
    }
    if let Some(path) = item.layers.iter().find(|path| facts.first(path).is_none()) {
        return run.refuse(rules::LAYER_GONE, &**path);
    }
    for (path, diff_id) in item.layers.iter().zip(&config.layers) {
        // Of equal layers only the first path is read, and a layer that is in
        // the store not at all.
        if diff_id.is_repeated || diff_id.digest.is_some_and(|digest| run.is_known(&digest)) {
            continue;
        }
        layer(run, diff_id, path)?;
        diff_id.digest.into_iter().for_each(|digest| run.knows(digest));
    }
    Ok(facts.content(at).map(|content| content.digest))
}

fn layer(run: &mut Run<'_>, diff_id: &DiffId, path: &str) -> Step<()> {
    let Some(at) = run.facts.first(path) else { return run.refuse(rules::LAYER_GONE, path) };
    match run.facts.members[at].kind {
        Kind::HardLink => return run.refuse(rules::HARD_LINK, path),
        Kind::Symlink => return run.refuse(rules::SYMLINK, path),
        _ => {}
    }
    let Some(content) = run.facts.content(at) else { return run.refuse(rules::LAYER_GONE, path) };
    if content.plain.is_none() || content.plain != diff_id.digest {
        let rule = match content.compression {
            Compression::None => rules::LAYER_BAD,
            _ if content.plain.is_none() => rules::LAYER_CODEC,
            _ => rules::LAYER_BAD,
        };
        return run.refuse(rule, path);
    }
    Ok(())
}

/// The file of a name; one symbolic link is followed.
fn file(run: &mut Run<'_>, path: &str) -> Step<Option<usize>> {
    let Some(at) = run.facts.first(path) else { return Ok(None) };
    let member = &run.facts.members[at];
    match member.kind {
        Kind::File | Kind::Contiguous => Ok(Some(at)),
        Kind::Symlink => {
            let target = join_folder(&member.name, &member.link);
            let found = run.facts.first(&target);
            let kind = found.map(|at| run.facts.members[at].kind);
            match kind {
                Some(Kind::File | Kind::Contiguous) => Ok(found),
                _ => run.refuse(rules::SYMLINK, path),
            }
        }
        _ => run.refuse(rules::HARD_LINK, path),
    }
}
