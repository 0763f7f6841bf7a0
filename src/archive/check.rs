//! Findings about an archive as a whole, once everything in it has been read:
//! what is not there, and what importers will stumble over.

use crate::archive::names::{Name, NameSite, is_no_name};
use crate::archive::store::CONTROL_FILES;
use crate::archive::{Archive, Format, Image, ManifestKind, oci};
use crate::diagnostics::{Diagnostics, Severity};
use crate::error::{Code, Error, Place};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::tarball::Marker;

pub(super) fn check(archive: &Archive, findings: &mut Diagnostics) {
    super::join::check_names(archive.images(), findings);
    check_control_names(archive, findings);
    if let Some(layout) = &archive.documents.layout {
        oci::check_layout(layout, findings);
    }
    if let Some(index) = &archive.documents.index {
        oci::check_index(index, findings);
    }
    check_parts(archive, findings);
    check_tags(archive, findings);
    check_digest_names(archive, findings);
    check_history(archive, findings);
    check_platforms(archive, findings);
    check_views(archive, findings);
}

/// A control file under an absolute name: docker, which unpacks the archive
/// into a folder, reads it, and everyone else reads none. And one that is there
/// twice, even with the same bytes: an edit would change one of them.
fn check_control_names(archive: &Archive, findings: &mut Diagnostics) {
    let Some(tar) = archive.store.tar() else { return };
    let found = CONTROL_FILES.iter().filter_map(|name| tar.index.find(&format!("/{name}")));
    for member in found {
        let message = "a control file under an absolute name, which docker alone reads";
        findings.fatal(Error::new(Code::TarName, message).at(member.place()));
    }
    for second in CONTROL_FILES.iter().filter_map(|name| tar.index.copies(name).nth(1)) {
        let message = "a control file twice; consumers disagree which counts";
        findings.fatal(Error::new(Code::TarDup, message).at(second.place()));
    }
}

/// Findings about what is not there at all. Without an end marker a control
/// file that everything else points to has been cut off.
fn check_parts(archive: &Archive, findings: &mut Diagnostics) {
    let end = archive.store.tar().map(|tar| tar.index.end());
    let cut = end.is_some_and(|end| end.marker != Marker::Full);
    let place = || Place::offset(end.map_or(0, |end| end.offset));
    let is_damaged = findings.worst() == Some(Severity::Fatal);
    let missing = missing_part(archive);
    match missing {
        Some(name) if cut && !is_damaged => {
            let message = format!("the file ends before {name} and the end marker");
            findings.fatal(Error::new(Code::TarTruncated, message).at(place()));
        }
        Some("oci-layout") => {
            let message =
                "index.json without oci-layout: containerd and docker do not see the OCI view";
            // Where there is a docker view they read that instead.
            let has_docker = archive.format() == Some(Format::Hybrid);
            let severity = if has_docker { Severity::Warning } else { Severity::Error };
            findings.push(severity, Error::new(Code::Layout, message));
        }
        Some("index.json") if archive.format().is_some() => {
            let message = "oci-layout without index.json: containerd refuses the archive";
            findings.error(Error::new(Code::Layout, message));
        }
        _ => {}
    }
    match archive.format() {
        None if !cut && !is_damaged => findings.fatal(no_documents(archive)),
        Some(Format::DockerV1) => {
            let message = "written by docker 1.9 or older: docker 29, containerd, podman and crane do not read it, and nothing in it can be verified";
            findings.warning(Error::new(Code::DockerV1, message));
        }
        Some(format) if archive.images().is_empty() && !is_damaged => {
            let message = format!("no image in the archive, whose form is {format}");
            // What `export --attestations only` may leave.
            let is_attached = archive.referrers().next().is_some();
            let severity = if is_attached { Severity::Warning } else { Severity::Error };
            findings.push(severity, Error::new(Code::NoImages, message));
        }
        Some(Format::Hybrid) if archive.documents.items.is_empty() => {
            let message = "manifest.json is empty: classic docker loads nothing and says nothing";
            findings.warning(Error::new(Code::ViewsDiffer, message));
        }
        _ => {}
    }
    if cut {
        let message = "the end-of-archive marker is missing";
        findings.error(Error::new(Code::TarNoEnd, message).at(place()));
    }
}

/// The control file that the others say must be there.
fn missing_part(archive: &Archive) -> Option<&'static str> {
    let has = |name: &str| matches!(archive.store.find(name), Ok(Some(_)));
    let items = &archive.documents.items;
    let has_tags = items.iter().any(|item| item.tags.iter().any(|tag| !is_no_name(tag)));
    // Producers that write either of these write `repositories` for every tag.
    let wants_repositories = has_tags
        && (items.iter().any(|item| item.has_layer_sources)
            || archive.store.file_names().any(|name| name.ends_with("/VERSION")));
    match archive.format() {
        None if has("oci-layout") => Some("index.json"),
        None => Some("manifest.json"),
        Some(Format::Docker) if has("oci-layout") => Some("index.json"),
        Some(Format::Hybrid | Format::Oci) if !has("oci-layout") => Some("oci-layout"),
        Some(Format::DockerV1) if !has("repositories") => Some("repositories"),
        Some(Format::Docker | Format::Hybrid) if wants_repositories && !has("repositories") => {
            Some("repositories")
        }
        _ => None,
    }
}

fn no_documents(archive: &Archive) -> Error {
    let message = "no index.json, manifest.json or repositories: not an image archive";
    let error = Error::new(Code::Format, message);
    let elsewhere = archive.store.file_names().find(|name| {
        let file = name.rsplit('/').next();
        matches!(file, Some("manifest.json" | "index.json"))
    });
    match elsewhere {
        Some(name) => error.hint(format!(
            "\"{name}\" stands in a folder: pack the archive again from inside it"
        )),
        None => error.hint("what `docker export` writes is a file system, not an image; `docker save` writes images"),
    }
}

/// `RepoTags` that importers refuse, or take for something else.
fn check_tags(archive: &Archive, findings: &mut Diagnostics) {
    let Some(manifest) = &archive.documents.manifest else { return };
    for tag in archive.documents.items.iter().flat_map(|item| &item.tags) {
        let message = match Reference::parse(tag) {
            _ if is_no_name(tag) => {
                "docker, containerd and podman refuse the archive for this name"
            }
            Ok(name) if name.digest().is_some() => {
                "docker and podman do not take a digest for a name"
            }
            Ok(name) if name.tag().is_none() => "docker and podman refuse a name without a tag",
            // What is no reference at all has been said.
            _ => continue,
        };
        let error = Error::new(Code::NameOdd, format!("\"{tag}\" in RepoTags: {message}"));
        findings.warning(error.at(manifest.entry.place.clone()));
    }
}

/// A name with a digest that is not the image's: podman refuses it, others
/// store a lie.
fn check_digest_names(archive: &Archive, findings: &mut Diagnostics) {
    for image in archive.images() {
        for name in image.names() {
            let in_oci = name
                .sites()
                .iter()
                .any(|site| matches!(site, NameSite::ImageName { .. } | NameSite::RefName { .. }));
            let stated = name.reference().and_then(Reference::digest).filter(|_| in_oci);
            let Some(stated) = stated.filter(|stated| Some(*stated) != image.digest()) else {
                continue;
            };
            let found = image.digest().map_or_else(String::new, |digest| digest.to_string());
            let message = format!("{name} names a digest that is not the image's");
            findings.error(Error::new(Code::DigestName, message).expected_found(stated, found));
        }
    }
}

fn check_history(archive: &Archive, findings: &mut Diagnostics) {
    for manifest in archive.images().iter().flat_map(|image| image.manifests()) {
        let Some(config) = manifest.config() else { continue };
        if manifest.kind() == ManifestKind::Image && config.layer_steps > config.diff_ids.len() {
            let place =
                manifest.config_entry().map(|entry| entry.place.clone()).unwrap_or_default();
            let error = Error::new(
                Code::History,
                "more steps in the history than layers: classic docker refuses the image",
            );
            let expected = format!("at most {}", config.diff_ids.len());
            findings.warning(error.expected_found(expected, config.layer_steps).at(place));
        }
    }
}

/// Variants are not compared: most configurations leave out what an index states.
fn check_platforms(archive: &Archive, findings: &mut Diagnostics) {
    for manifest in archive.images().iter().flat_map(Image::platforms) {
        let stated = manifest.descriptor().and_then(|descriptor| descriptor.platform.as_ref());
        let (Some(stated), Some(config)) = (stated, manifest.config()) else { continue };
        let [index, config] = [stated, &config.platform].map(Platform::normalized);
        let says = |platform: &Platform| {
            !platform.os.is_empty() && !platform.architecture.is_empty() && !platform.is_unknown()
        };
        let differ = (&index.os, &index.architecture) != (&config.os, &config.architecture);
        if says(&index) && says(&config) && differ {
            let error = Error::new(
                Code::PlatformOdd,
                "the index states another platform than the configuration: consumers choose by the one and run the other",
            );
            let place = manifest.config_entry().map(|entry| entry.place.clone());
            findings.warning(error.expected_found(&index, &config).at(place.unwrap_or_default()));
        }
    }
}

/// Where there are two views: images of the OCI view that the docker view does not
/// have, and names that one of them does not have. Names with a digest only the OCI
/// view has a place for.
fn check_views(archive: &Archive, findings: &mut Diagnostics) {
    if archive.format() != Some(Format::Hybrid) || archive.documents.items.is_empty() {
        return;
    }
    let mut note = |what: &str, view: &str| {
        let message = format!("{what} is in {view} only");
        findings.note(Error::new(Code::ViewsDiffer, message));
    };
    for image in archive.images().iter().filter(|image| image.platforms().next().is_some()) {
        let (in_oci, in_docker) = (!image.descriptors.is_empty(), !image.items.is_empty());
        if in_oci && !in_docker {
            note(&image.label(), "index.json");
        }
        if !in_oci || !in_docker {
            continue;
        }
        let tagged = |name: &&Name| name.reference().is_some_and(|name| name.digest().is_none());
        for name in image.names().iter().filter(tagged) {
            let has = |is_wanted: fn(&NameSite) -> bool| name.sites().iter().any(is_wanted);
            let by_index =
                has(|site| matches!(site, NameSite::ImageName { .. } | NameSite::RefName { .. }));
            let by_items = has(|site| matches!(site, NameSite::RepoTag { .. }));
            match (by_index, by_items) {
                (true, false) => note(&name.to_string(), "index.json"),
                (false, true) => note(&name.to_string(), "manifest.json"),
                _ => {}
            }
        }
    }
}
