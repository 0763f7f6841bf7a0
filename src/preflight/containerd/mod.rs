//! containerd's importer, which `ctr`, nerdctl, k3s, kind and docker's
//! containerd store share, and what each of them does with its result.
//!
//! The importer reads the tar once. With an `oci-layout` it takes `index.json`
//! and finds content by digest, under whatever name; without one it takes
//! `manifest.json` and finds files by name, and makes manifests of its own.

mod client;
mod daemon;
mod graph;
mod transfer;
mod unpack;

use std::collections::{BTreeMap, HashMap};

use crate::archive::view::Descriptor;
use crate::digest::Digest;
use crate::media_type::MediaClass;
use crate::platform::Platform;
use crate::preflight::control::{self, Item};
use crate::preflight::members::{Kind, clean, join_folder};
use crate::preflight::naming::Annotated;
use crate::preflight::rules;
use crate::preflight::run::{Run, Step};
use crate::reference::Reference;

pub(super) use client::load as client;
pub(super) use daemon::load as daemon;
pub(super) use transfer::load as transfer;

/// Bytes of a control file containerd reads.
const LARGEST_CONTROL: u64 = 20 << 20;

/// Bytes of annotations that no longer fit containerd's messages.
const LARGEST_MESSAGE: u64 = 16 << 20;

/// A descriptor at the top: what may become a named image.
#[derive(Debug)]
struct Record {
    names: Annotated,
    platform: Option<Platform>,
    root: Root,
    /// What the store shows it as; of an image made from `manifest.json`, whose
    /// digest depends on the store, that of its configuration.
    image: Option<Digest>,
    has_data: bool,
    annotations: u64,
}

#[derive(Debug)]
enum Root {
    /// A descriptor of `index.json`.
    Oci(Box<Descriptor>),
    /// An item of `manifest.json`: members.
    Docker { config: usize, layers: Vec<usize> },
}

/// Reads the archive as the importer does.
fn import(run: &mut Run<'_>) -> Step<Vec<Record>> {
    run.outer()?;
    run.whole()?;
    let facts = run.facts;
    let items = match facts.last("manifest.json") {
        None => None,
        Some(at) if facts.members[at].size > LARGEST_CONTROL => {
            return run.refuse(rules::LARGE, "manifest.json");
        }
        Some(at) => {
            let items =
                control::items(facts.control(at), facts.archive.limits(), rules::MANIFEST_JSON);
            run.take("manifest.json", items)?
        }
    };
    let version = match facts.last("oci-layout") {
        None => None,
        Some(at) => run.take("oci-layout", control::layout(facts.control(at), rules::LAYOUT))?,
    };
    match (version, items) {
        (Some(version), _) if version != "1.0.0" => run.refuse(rules::LAYOUT, version),
        (Some(_), _) => oci(run),
        (None, Some(items)) => docker(run, &items),
        (None, None) if facts.has("repositories") => run.refuse(rules::V1, "no manifest.json"),
        (None, None) => run.refuse(rules::NOT_AN_IMAGE, "unrecognized image format"),
    }
}

fn oci(run: &mut Run<'_>) -> Step<Vec<Record>> {
    let facts = run.facts;
    let Some(index) = facts.last("index.json") else {
        return run.refuse(rules::NO_INDEX_JSON, "oci-layout is there, index.json is not");
    };
    let document = facts.control(index);
    if document.trailing {
        return run.refuse(rules::TRAILING, "index.json");
    }
    let tops = run.take("index.json", control::tops(document, rules::INDEX_JSON))?;
    let record = |top: control::Top| Record {
        names: top.names,
        platform: top.descriptor.platform.clone(),
        image: Some(top.descriptor.digest),
        root: Root::Oci(Box::new(top.descriptor)),
        has_data: top.has_data,
        annotations: top.annotations,
    };
    Ok(tops.into_iter().map(record).collect())
}

fn docker(run: &mut Run<'_>, items: &[Item]) -> Step<Vec<Record>> {
    let files = files(run)?;
    let mut records = Vec::new();
    for item in items {
        let Some(&config) = files.get(&*item.config) else {
            return run
                .refuse(rules::MANIFEST_GONE, format!("image config {:?} not found", item.config));
        };
        let mut layers = Vec::new();
        for path in &item.layers {
            match files.get(&**path) {
                Some(&layer) => layers.push(layer),
                None => return missing_layer(run, path),
            }
        }
        let Some(view) = run.facts.config(config) else {
            return run.refuse(rules::CONFIG_BAD, item.config.clone());
        };
        let mut named = Vec::new();
        for tag in &item.tags {
            match Reference::parse(tag) {
                Ok(name) => named.push(Annotated {
                    image_name: Some(name.canonical().to_string().into()),
                    ref_name: None,
                }),
                Err(error) => return run.refuse(rules::INVALID_NAME, format!("{tag:?}: {error}")),
            }
        }
        if named.is_empty() {
            named.push(Annotated::default());
        }
        let image = run.facts.content(config).map(|content| content.digest);
        records.extend(named.into_iter().map(|names| Record {
            names,
            platform: Some(view.platform.normalized()),
            root: Root::Docker { config, layers: layers.clone() },
            image,
            has_data: false,
            annotations: 0,
        }));
    }
    Ok(records)
}

fn missing_layer<T>(run: &mut Run<'_>, path: &str) -> Step<T> {
    let linked = run
        .facts
        .members
        .iter()
        .any(|member| member.kind == Kind::HardLink && clean(&member.name) == clean(path));
    let rule = if linked { rules::HARD_LINK } else { rules::LAYER_GONE };
    run.refuse(rule, format!("layer {path:?} not found"))
}

/// Files by name, the last of each; every symbolic link has to lead to one.
fn files(run: &mut Run<'_>) -> Step<HashMap<String, usize>> {
    let members = &run.facts.members;
    let mut files: HashMap<String, usize> = HashMap::new();
    for (at, member) in members.iter().enumerate().filter(|(_, m)| m.kind == Kind::File) {
        let name = clean(&member.name);
        if !matches!(&*name, "oci-layout" | "manifest.json") {
            files.insert(name, at);
        }
    }
    let links: BTreeMap<&str, String> = members
        .iter()
        .filter(|member| member.kind == Kind::Symlink)
        .map(|member| (&*member.name, join_folder(&member.name, &member.link)))
        .collect();
    let mut linked = Vec::new();
    for (name, target) in &links {
        // The links are taken in no order: whether the second of a chain stands
        // for a file yet when the first one asks is luck.
        let second = || links.get(&**target).and_then(|target| files.get(target));
        let found = match (files.get(target), second()) {
            (Some(found), _) => *found,
            (None, Some(found)) => {
                run.note(rules::CHAIN, *name);
                *found
            }
            (None, None) => {
                let detail = format!("no target for the link {name:?} to {target:?}");
                return run.refuse(rules::SYMLINK, detail);
            }
        };
        linked.push(((*name).to_owned(), found));
    }
    files.extend(linked);
    Ok(files)
}

impl Record {
    fn is_index(&self) -> bool {
        matches!(&self.root, Root::Oci(d) if d.media_type.class() == MediaClass::Index)
    }
}
