//! What goes with an image that is dropped: the files nothing else needs.
//!
//! Files that no image ever referred to are not this edit's business and stay.

use std::collections::{HashMap, HashSet};

use crate::archive::store::Tar;
use crate::archive::view::annotation;
use crate::archive::{Archive, Image};
use crate::digest::Digest;
use crate::edit::rename::Renaming;
use crate::tarball::{Kind, Member};

/// What does not stay as it is.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Members of a tar, by number.
    pub(super) removed: HashSet<u32>,
    /// Files of a directory, by name.
    pub(super) files: HashSet<Box<str>>,
    /// Links whose target goes: they become regular members with the bytes of
    /// this one.
    pub(super) materialised: HashMap<u32, u32>,
}

/// The members that go with the dropped images.
pub(super) fn members(archive: &Archive, renaming: &Renaming) -> Gone {
    let mut gone = Gone::default();
    if renaming.dropped.is_empty() {
        return gone;
    }
    let (dropped, kept) = split(archive, renaming);
    let kept_files = files(archive, &kept);
    // Files reached by name alone from what stays: a link's target is not, so
    // it may go, and the link becomes a file.
    let kept_paths: HashSet<&str> = kept.iter().flat_map(|image| paths(archive, image)).collect();
    let mut doomed: HashSet<Box<str>> = files(archive, &dropped);
    for at in referrers(archive, renaming) {
        let digest = archive.documents.tops[at].digest;
        doomed.extend(archive.files_below(&digest).into_iter().map(|entry| entry.name.clone()));
    }
    let Some(tar) = archive.store.tar() else {
        gone.files = doomed;
        gone.files.retain(|name| !kept_files.contains(name));
        return gone;
    };
    let linked = link_targets(tar, &kept_paths);
    let stays = |member: &Member| {
        kept_paths.contains(&*member.name)
            || (kept_files.contains(&member.name) && !linked.contains(&member.index))
    };
    let doomed = doomed.iter().filter_map(|name| tar.index.find(name));
    gone.removed.extend(doomed.filter(|member| !stays(member)).map(|member| member.index));
    let dropped_paths: HashSet<&str> =
        dropped.iter().flat_map(|image| paths(archive, image)).collect();
    for member in tar.index.members().iter().filter(|m| m.link.is_some()) {
        let Ok(Some(target)) = tar.index.resolve(&member.name) else { continue };
        let target_goes = gone.removed.contains(&target.index);
        if kept_paths.contains(&*member.name) {
            if target_goes {
                gone.materialised.insert(member.index, target.index);
            }
        } else if target_goes || dropped_paths.contains(&*member.name) {
            gone.removed.insert(member.index);
        }
    }
    remove_folders(tar, &mut gone);
    gone
}

/// Positions in `index.json` of descriptors about images that go.
pub(super) fn referrers(archive: &Archive, renaming: &Renaming) -> Vec<usize> {
    if renaming.dropped.is_empty() {
        return Vec::new();
    }
    let (dropped, kept) = split(archive, renaming);
    let digests = |images: &[&Image]| -> HashSet<Digest> {
        let manifests = images.iter().flat_map(|image| image.manifests());
        let below = manifests.filter_map(|manifest| manifest.descriptor().map(|d| d.digest));
        below.chain(images.iter().filter_map(|image| image.digest())).collect()
    };
    let (dropped, kept) = (digests(&dropped), digests(&kept));
    let about = |at: &usize| {
        let descriptor = &archive.documents.tops[*at];
        let stated = descriptor.annotation(annotation::SUBJECT).and_then(|text| text.parse().ok());
        let subject =
            stated.or_else(|| archive.subject_of(descriptor).map(|subject| subject.digest));
        subject.is_some_and(|digest| dropped.contains(&digest) && !kept.contains(&digest))
    };
    archive.referrer_positions().iter().copied().filter(about).collect()
}

fn split<'a>(archive: &'a Archive, renaming: &Renaming) -> (Vec<&'a Image>, Vec<&'a Image>) {
    let (dropped, kept): (Vec<_>, Vec<_>) =
        archive.images().iter().enumerate().partition(|(at, _)| renaming.dropped.contains(at));
    let images = |list: Vec<(usize, &'a Image)>| list.into_iter().map(|(_, image)| image).collect();
    (images(dropped), images(kept))
}

fn files(archive: &Archive, images: &[&Image]) -> HashSet<Box<str>> {
    images.iter().flat_map(|image| archive.files_of(image)).map(|entry| entry.name).collect()
}

/// The paths the docker view names for an image.
fn paths<'a>(archive: &'a Archive, image: &Image) -> Vec<&'a str> {
    let items = image.items.iter().map(|at| &archive.documents.items[*at]);
    items.flat_map(|item| item.layers.iter().chain([&item.config])).map(|path| &**path).collect()
}

/// The members that kept paths reach only through a link.
fn link_targets(tar: &Tar, kept_paths: &HashSet<&str>) -> HashSet<u32> {
    let links = kept_paths
        .iter()
        .filter_map(|path| tar.index.find(path))
        .filter(|member| member.link.is_some());
    links.filter_map(|link| Some(tar.index.resolve(&link.name).ok()??.index)).collect()
}

/// Old archives keep a layer's `VERSION` and `json` beside it: a folder whose
/// layer went goes whole.
fn remove_folders(tar: &Tar, gone: &mut Gone) {
    let layers = gone.removed.iter().map(|at| &tar.index.members()[*at as usize]);
    let folders: HashSet<Box<str>> = layers
        .filter_map(|member| member.name.strip_suffix("/layer.tar"))
        .map(Into::into)
        .collect();
    let inside = |member: &&Member| {
        let folder = if member.kind == Kind::Directory {
            Some(&*member.name)
        } else {
            ["/VERSION", "/json"].iter().find_map(|end| member.name.strip_suffix(end))
        };
        folder.is_some_and(|folder| folders.contains(folder))
    };
    let more: Vec<u32> =
        tar.index.members().iter().filter(inside).map(|member| member.index).collect();
    gone.removed.extend(more);
}
