//! A plan that keeps a tar as it is: members in their order and byte for byte,
//! but for the documents that changed and the members that go.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::archive::Archive;
use crate::archive::store::{Store, Tar};
use crate::edit::documents::Edited;
use crate::edit::drop::Gone;
use crate::error::Result;
use crate::plan::{Plan, PlanBuilder};
use crate::source::Span;
use crate::tarball::Marker;
use crate::tarball::write::{END_MARKER, directory_header, file_header, padding, resized};

pub(super) fn plan(archive: &Archive, edited: Edited, gone: &Gone) -> Result<Plan> {
    let documents = [
        ("index.json", edited.index),
        ("manifest.json", edited.manifest),
        ("repositories", edited.repositories),
    ];
    let documents: HashMap<&str, Vec<u8>> =
        documents.into_iter().filter_map(|(name, bytes)| Some((name, bytes?))).collect();
    match &archive.store {
        Store::Tar(tar) => tar_plan(archive, tar, &documents, gone),
        Store::Directory(_) => directory_plan(archive, &documents, gone),
    }
}

fn tar_plan(
    archive: &Archive,
    tar: &Tar,
    documents: &HashMap<&str, Vec<u8>>,
    gone: &Gone,
) -> Result<Plan> {
    let source = &tar.source;
    let span =
        |from: u64, to: u64| Span { source: Arc::clone(source), offset: from, len: to - from };
    let mut plan = PlanBuilder::new(vec![archive.origin().clone()]);
    let mut done = 0;
    for member in tar.index.members() {
        let document =
            documents.get(&*member.name).filter(|_| !gone.removed.contains(&member.index));
        let target = gone.materialised.get(&member.index);
        let removed = gone.removed.contains(&member.index);
        if document.is_none() && target.is_none() && !removed {
            continue;
        }
        plan.span(span(done, member.start));
        done = member.end();
        if let Some(bytes) = document {
            plan.bytes(resized(source, member, bytes.len() as u64)?);
            plan.bytes(bytes.clone());
            plan.zeros(padding(bytes.len() as u64));
        } else if let Some(target) = target {
            let target = &tar.index.members()[*target as usize];
            plan.bytes(resized(source, member, target.size)?);
            plan.span(span(target.body, target.end()));
        }
    }
    let end = tar.index.end();
    plan.span(span(done, end.offset));
    match end.marker {
        // The record padding behind the marker is kept too.
        Marker::Full => plan.span(span(end.offset, end.padding)),
        Marker::Half | Marker::Missing => plan.zeros(usize::try_from(END_MARKER).unwrap_or(1024)),
    }
    Ok(plan.build())
}

/// A directory becomes a canonical tar: sorted, owner 0, time 0.
fn directory_plan(
    archive: &Archive,
    documents: &HashMap<&str, Vec<u8>>,
    gone: &Gone,
) -> Result<Plan> {
    let mut plan = PlanBuilder::new(vec![archive.origin().clone()]);
    let mut folders = HashSet::new();
    for entry in archive.store.entries().filter(|entry| !gone.files.contains(&entry.name)) {
        let ends = entry.name.match_indices('/').map(|(at, _)| &entry.name[..at]);
        for folder in ends {
            if folders.insert(folder.to_owned()) {
                plan.bytes(directory_header(folder, 0)?);
            }
        }
        let new = documents.get(&*entry.name);
        let len = new.map_or(entry.span.len, |bytes| bytes.len() as u64);
        plan.bytes(file_header(&entry.name, len, 0)?);
        match new {
            Some(bytes) => plan.bytes(bytes.clone()),
            None => plan.span(entry.span),
        }
        plan.zeros(padding(len));
    }
    plan.zeros(usize::try_from(END_MARKER).unwrap_or(1024));
    Ok(plan.build())
}
