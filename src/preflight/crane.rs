//! crane: names are looked up in the tar letter by letter, the first of each,
//! and all layers are taken to be compressed as the first one is.

use crate::compress::Compression;
use crate::digest::Digest;
use crate::preflight::Listed;
use crate::preflight::control::{self, Config, Item};
use crate::preflight::members::{End, Kind, clean, join_folder};
use crate::preflight::rules;
use crate::preflight::run::{Run, Step};

/// Links are followed this often before they count as a circle.
const HOPS: u32 = 16;

pub(super) fn load(run: &mut Run<'_>) -> Step<()> {
    run.outer()?;
    let facts = run.facts;
    let manifest = find(run, "manifest.json", rules::NO_MANIFEST_JSON)?;
    let items =
        control::items(facts.control(manifest), facts.archive.limits(), rules::MANIFEST_JSON);
    let Some(items) = run.take("manifest.json", items)? else {
        return run.refuse(rules::MANIFEST_JSON, "no valid manifest.json in tarball");
    };
    let [item] = &items[..] else {
        let detail = format!("manifest.json has {} items", items.len());
        return run.refuse(rules::ONE_ITEM, detail);
    };
    let at = find(run, &item.config, rules::MANIFEST_GONE)?;
    let Some(config) = facts.config(at) else {
        return run.refuse(rules::CONFIG_BAD, item.config.clone());
    };
    layers(run, item, &config)?;
    if config.rootfs.as_deref() != Some("layers") {
        let found = config.rootfs.as_deref().unwrap_or("none");
        return run.refuse(rules::CONFIG_BAD, format!("rootfs type {found:?}"));
    }
    let image: Option<Digest> = facts.content(at).map(|content| content.digest);
    run.store.push(Listed { name: None, image, usable: true });
    Ok(())
}

fn layers(run: &mut Run<'_>, item: &Item, config: &Config) -> Step<()> {
    if item.layers.len() != config.layers.len() {
        let counts = format!("{} layers, {} diff IDs", item.layers.len(), config.layers.len());
        return run.refuse(rules::LAYER_COUNT, counts);
    }
    let facts = run.facts;
    let mut compressed = None;
    for (path, layer) in item.layers.iter().zip(&config.layers) {
        // Layers are asked for by diff ID: of equal ones the first path is read.
        if layer.is_repeated {
            continue;
        }
        let at = find(run, path, rules::LAYER_GONE)?;
        let Some(content) = facts.content(at) else {
            return run.refuse(rules::LAYER_GONE, &**path);
        };
        let first = matches!(content.compression, Compression::Gzip | Compression::Zstd);
        let compressed = *compressed.get_or_insert(first);
        let found = match (compressed, content.compression) {
            (true, Compression::Gzip) => content.plain,
            (true, compression) => {
                return run.refuse(rules::LAYER_CODEC, format!("{path}: {compression}"));
            }
            (false, _) => Some(content.digest),
        };
        if found.is_none() || found != layer.digest {
            let is_codec = content.plain == layer.digest;
            let rule = if is_codec { rules::LAYER_CODEC } else { rules::LAYER_BAD };
            return run.refuse(rule, &**path);
        }
        let stated = item.sources.iter().find(|(diff_id, _)| Some(*diff_id) == layer.digest);
        if compressed && stated.is_some_and(|(_, size)| *size != facts.members[at].size) {
            return run.refuse(rules::LAYER_SOURCES, &**path);
        }
    }
    Ok(())
}

/// The first file of exactly this name, links of either kind followed from
/// their own folder.
fn find(run: &mut Run<'_>, path: &str, absent: &'static rules::Rule) -> Step<usize> {
    let mut path = path.to_owned();
    for _ in 0..HOPS {
        let found =
            run.facts.members.iter().position(|m| *m.name == *path && m.kind != Kind::Ignored);
        let Some(at) = found else {
            return match run.facts.end {
                End::Broken(message) => run.refuse(rules::BROKEN, message),
                End::Clean => run.refuse(absent, format!("file {path} not found in tar")),
            };
        };
        let member = &run.facts.members[at];
        match member.kind {
            Kind::Symlink | Kind::HardLink => path = join_folder(&path, &clean(&member.link)),
            _ => return Ok(at),
        }
    }
    run.refuse(rules::SYMLINK, path)
}
