//! docker's classic store: unpack everything, read `manifest.json`, load item
//! by item, and leave what is loaded when one fails.

use std::collections::{BTreeMap, HashSet};

use crate::compress::Compression;
use crate::digest::Digest;
use crate::preflight::Listed;
use crate::preflight::control::{self, DiffId, Item};
use crate::preflight::extract::{Tree, Unpacker};
use crate::preflight::naming::{Tagging, in_classic};
use crate::preflight::rules;
use crate::preflight::run::{Run, Step};
use crate::reference::Reference;

pub(super) fn load(run: &mut Run<'_>, null_is_nothing: bool, refuses_outside: bool) -> Step<()> {
    run.outer()?;
    run.whole()?;
    let unpacker = Unpacker { refuses_outside, refuses_links_outside: false, confined: true };
    let tree = match Tree::new(&run.facts.members, unpacker) {
        Ok(tree) => tree,
        Err((rule, detail)) => return run.refuse(rule, detail),
    };
    let Some(manifest) = tree.file("manifest.json") else { return v1(run, &tree) };
    let document = run.facts.control(manifest);
    let items = run.take(
        "manifest.json",
        control::items(document, run.facts.archive.limits(), rules::MANIFEST_JSON),
    )?;
    let Some(items) = items else {
        if null_is_nothing {
            run.note(rules::EMPTY, "manifest.json is null");
            return Ok(());
        }
        return run.refuse(rules::MANIFEST_JSON, "manifest.json is null");
    };
    if items.is_empty() {
        run.note(rules::EMPTY, "manifest.json has no items");
    }
    let mut loaded = Loaded::default();
    let done = items.iter().try_for_each(|item| image(run, &tree, item, &mut loaded));
    // Whatever fails, what was loaded before stays.
    run.store = loaded.list();
    done
}

/// The form before `manifest.json`: names lead to folders. Without
/// `repositories`, or with a folder that is no layer, it is none.
fn v1(run: &mut Run<'_>, tree: &Tree) -> Step<()> {
    let Some(repositories) = tree.file("repositories") else {
        return run.refuse(rules::NO_MANIFEST_JSON, "manifest.json");
    };
    let document = run.facts.control(repositories);
    let node = run.take("repositories", control::root(document, rules::NO_MANIFEST_JSON))?;
    for (repository, tags) in node.object().unwrap_or_default() {
        for (tag, id) in tags.object().unwrap_or_default() {
            let layer = match &id.value {
                crate::json::Value::String(id) => tree.file(&format!("{id}/layer.tar")),
                _ => None,
            };
            if layer.is_none() {
                return run.refuse(rules::LAYER_GONE, format!("{repository}:{tag}"));
            }
            match in_classic(&format!("{repository}:{tag}")) {
                Tagging::Tag(name) => run.name(name, None, true),
                _ => return run.refuse(rules::INVALID_NAME, format!("{repository}:{tag}")),
            }
        }
    }
    run.note(rules::V1, "read from repositories; docker 29 does not");
    Ok(())
}

fn image(run: &mut Run<'_>, tree: &Tree, item: &Item, loaded: &mut Loaded) -> Step<()> {
    let facts = run.facts;
    let Some(at) = tree.file(&item.config) else {
        return run.refuse(rules::MANIFEST_GONE, item.config.clone());
    };
    let Some(config) = facts.config(at) else {
        return run.refuse(rules::CONFIG_BAD, item.config.clone());
    };
    let os = &config.platform.os;
    if !os.is_empty() && *os != run.host.platform().os {
        return run.refuse(
            rules::OTHER_OS,
            format!("cannot load {os} image on {}", run.host.platform().os),
        );
    }
    if config.rootfs.is_none() {
        return run.refuse(rules::CONFIG_BAD, format!("{}: no rootfs", item.config));
    }
    if config.layers.len() != item.layers.len() {
        let counts = format!("{} layers, {} diff IDs", item.layers.len(), config.layers.len());
        return run.refuse(rules::LAYER_COUNT, counts);
    }
    for (path, diff_id) in item.layers.iter().zip(&config.layers) {
        layer(run, tree, diff_id, path)?;
    }
    if config.steps > config.layers.len() {
        return run.refuse(rules::CONFIG_BAD, format!("{}: too much history", item.config));
    }
    let image = facts.content(at).map(|content| content.digest);
    register(run, item, image, loaded)
}

fn layer(run: &mut Run<'_>, tree: &Tree, diff_id: &DiffId, path: &str) -> Step<()> {
    // A layer that is there already is not even opened.
    if run.is_known(&diff_id.chain) {
        return Ok(());
    }
    let content = tree.file(path).and_then(|at| run.facts.content(at));
    let Some(content) = content else { return run.refuse(rules::LAYER_GONE, path) };
    let compression = content.compression;
    if compression != Compression::None && !run.target.outer.contains(&compression) {
        return run.refuse(rules::LAYER_CODEC, format!("{path}: {compression}"));
    }
    if content.plain.is_none() || content.plain != diff_id.digest {
        return run.refuse(rules::LAYER_BAD, path);
    }
    run.knows(diff_id.chain);
    Ok(())
}

/// Images in the order they came, and the names that lead to them.
#[derive(Debug, Default)]
struct Loaded {
    images: Vec<Option<Digest>>,
    seen: HashSet<Option<Digest>>,
    names: BTreeMap<String, Option<Digest>>,
}

impl Loaded {
    fn list(self) -> Vec<Listed> {
        let listed = |name, image| Listed { name, image, usable: true };
        let tagged: HashSet<Option<Digest>> = self.names.values().copied().collect();
        let untagged = self.images.iter().filter(|image| !tagged.contains(*image));
        let mut list: Vec<Listed> = untagged.map(|image| listed(None, *image)).collect();
        list.extend(self.names.into_iter().map(|(name, image)| listed(Some(name), image)));
        list
    }
}

/// Tags an image that is in the store: whatever fails now leaves it there.
fn register(
    run: &mut Run<'_>,
    item: &Item,
    image: Option<Digest>,
    loaded: &mut Loaded,
) -> Step<()> {
    if loaded.seen.insert(image) {
        loaded.images.push(image);
    }
    for tag in &item.tags {
        match in_classic(tag) {
            Tagging::Tag(name) => {
                let held = loaded.names.insert(name.clone(), image);
                if held.is_some_and(|held| held != image) {
                    run.note(rules::SAME_NAME, name);
                }
            }
            Tagging::Swallowed => run.note(rules::DIGEST_NAME, &**tag),
            Tagging::Refused => {
                let rule = match Reference::parse(tag) {
                    Err(_) => rules::INVALID_NAME,
                    Ok(reference) if reference.digest().is_some() => rules::DIGEST_NAME,
                    Ok(_) => rules::TAGLESS,
                };
                return run.refuse(rule, &**tag);
            }
        }
    }
    Ok(())
}
