//! Verification: everything an archive states about its bytes, checked.
//!
//! Every file is read once. It is hashed against the digests its path and its
//! descriptors give, and in the same pass decompressed and hashed against the
//! diff IDs of the images that use it as a layer; and a layer is read as the tar
//! it must be. Files are taken biggest first, by as many threads as asked for.

mod blob;
mod claims;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::archive::store::CONTROL_FILES;
use crate::archive::{Archive, Entry, Image, ImageManifest, ManifestKind, Target};
use crate::compress::{Facts, Reading, Total};
use crate::diagnostics::{Diagnostics, Severity};
use crate::error::{Code, Error, Place, Result};
use crate::media_type::MediaClass;
use crate::parallel;
use crate::progress::Progress;
use crate::source::Span;

/// What to verify, and how.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Whether a platform that an index promises and the archive does not hold
    /// is an error instead of a note.
    pub all_platforms: bool,
    /// Whether a layer that readers other than Go take differently is an error
    /// instead of a warning.
    pub strict_layers: bool,
    /// Threads; as many as the machine has when `None`.
    pub jobs: Option<usize>,
}

/// What verification found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// One entry for each image, in the archive's order.
    pub images: Vec<ImageReport>,
    /// The findings of opening, then those of verifying in file order.
    pub findings: Diagnostics,
    /// Files that no digest covers, by name: nothing can say whether they are
    /// intact.
    pub unverifiable: Vec<Box<str>>,
    /// Files hashed.
    pub files: usize,
    /// Bytes hashed, as they are in the archive.
    pub bytes: u64,
}

impl Report {
    /// Whether the archive is what it says: no error among the findings.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.findings.worst() < Some(Severity::Error)
    }
}

/// The state of one image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImageReport {
    /// Its first name, or its digest.
    pub label: String,
    /// What can be done with it.
    pub status: Status,
    /// Blobs that are there and intact.
    pub present: usize,
    /// Blobs that platforms in the archive need.
    pub needed: usize,
    /// Platforms the index promises and the archive does not hold.
    pub absent: Vec<String>,
}

/// The state of an image as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Every blob of every platform is there.
    Complete,
    /// Some platforms are complete, others are absent.
    Sparse,
    /// Blobs are missing.
    Incomplete,
    /// Some blob is not what its digest says.
    Corrupt,
}

impl Status {
    /// The lower-case word, as `ctr images check` uses it where it has one.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Complete | Status::Sparse => "complete",
            Status::Incomplete => "incomplete",
            Status::Corrupt => "corrupt",
        }
    }
}

/// A verification before anything is read.
pub(crate) struct Verification<'a> {
    archive: &'a Archive,
    claims: claims::Claims,
}

/// Hears every byte that is verified: which file it is of, where in it it is,
/// and the bytes.
pub(crate) type Tap<'t> = dyn Fn(&Span, u64, &[u8]) -> Result<()> + Sync + 't;

impl<'a> Verification<'a> {
    pub(crate) fn new(archive: &'a Archive) -> Verification<'a> {
        Verification { archive, claims: claims::collect(archive) }
    }

    /// What will be read.
    pub(crate) fn spans(&self) -> impl Iterator<Item = &Span> {
        self.claims.checked.iter().map(|check| &check.entry.span)
    }

    pub(crate) fn run(
        self,
        options: &VerifyOptions,
        progress: &dyn Progress,
        tap: Option<&Tap<'_>>,
    ) -> Report {
        let Verification { archive, claims } = self;
        let total = Total::new(archive.limits());
        let how = Reading::new(archive.limits(), &total, progress);
        let results = parallel::map(&claims.checked, options.jobs, |check, spare| {
            let tap_file;
            let mut how = Reading { spare: Some(spare), ..how };
            if let Some(tap) = tap {
                tap_file = |at: u64, bytes: &[u8]| tap(&check.entry.span, at, bytes);
                how.tap = Some(&tap_file);
            }
            blob::check(check, options.strict_layers, &how)
        });
        if let Err(changed) = archive.check_unchanged() {
            let mut findings = Diagnostics::default();
            findings.fatal(changed);
            return Report {
                images: Vec::new(),
                findings,
                unverifiable: Vec::new(),
                files: 0,
                bytes: 0,
            };
        }
        archive.report(options, claims, results)
    }
}

impl Archive {
    /// Checks everything the archive states.
    ///
    /// Nothing here fails: what is wrong is in the report. Of an archive that was
    /// written to meanwhile that is all it says.
    #[must_use]
    pub fn verify(&self, options: &VerifyOptions, progress: &dyn Progress) -> Report {
        let verification = Verification::new(self);
        progress.begin(verification.spans().map(|span| span.len).sum());
        verification.run(options, progress, None)
    }

    /// As [`verify`](Self::verify), of a stream whose files were measured as
    /// they went by.
    pub(crate) fn verify_measured(&self, facts: &HashMap<u32, Facts>) -> Report {
        let claims = claims::collect(self);
        let compare =
            |check: &claims::Check| match check.entry.place.index.and_then(|i| facts.get(&i)) {
                Some(facts) => blob::compare(check, facts, false),
                None => vec![(Severity::Fatal, Error::new(Code::Bug, "a file was not measured"))],
            };
        let results = claims.checked.iter().map(compare).collect();
        self.report(&VerifyOptions::default(), claims, results)
    }

    fn report(
        &self,
        options: &VerifyOptions,
        claims: claims::Claims,
        results: Vec<blob::Findings>,
    ) -> Report {
        let mut findings = self.findings().clone();
        // Files that opening found damaged, or could not read.
        let known: HashSet<Box<str>> = findings
            .iter()
            .filter(|finding| finding.severity >= Severity::Error)
            .filter_map(|finding| finding.error.place().member.as_deref().map(Into::into))
            .collect();
        let mut damaged: HashSet<Box<str>> = known.clone();
        let mut found: Vec<(Severity, Error)> = Vec::new();
        let (mut files, mut bytes) = (0, 0);
        for (check, result) in claims.checked.iter().zip(results) {
            files += 1;
            bytes += check.entry.span.len;
            for (severity, error) in result {
                if severity >= Severity::Error {
                    damaged.insert(check.entry.name.clone());
                }
                // Opening has named this one already.
                if error.code() != Code::DigestMismatch || !known.contains(&check.entry.name) {
                    found.push((severity, error.at(check.entry.place.clone())));
                }
            }
        }
        found.extend(self.bad_data().map(|error| (Severity::Error, error)));
        found.sort_by_key(|(_, error)| (error.place().index, error.place().offset));
        found.into_iter().for_each(|(severity, error)| findings.push(severity, error));
        let images = self
            .images()
            .iter()
            .map(|image| check_image(self, image, options, &damaged, &mut findings));
        let images = images.collect();
        note_members(&claims, &mut findings);
        let unverifiable = claims.unverifiable;
        Report { images, findings, unverifiable, files, bytes }
    }
}

fn note_members(claims: &claims::Claims, findings: &mut Diagnostics) {
    let list = |names: &[Box<str>]| -> String {
        let shown: Vec<&str> = names.iter().take(3).map(|name| &**name).collect();
        let more = if names.len() > 3 { ", …" } else { "" };
        format!("{}{more}", shown.join(", "))
    };
    if !claims.unreferenced.is_empty() {
        let names = &claims.unreferenced;
        let message =
            format!("{} that nothing refers to: {}", count(names.len(), "blob"), list(names));
        findings.note(Error::new(Code::Unreferenced, message));
    }
    // That control files are not covered goes without saying.
    let is_control = |name: &str| CONTROL_FILES.contains(&name);
    let names: Vec<Box<str>> =
        claims.unverifiable.iter().filter(|name| !is_control(name)).cloned().collect();
    if !names.is_empty() {
        let message =
            format!("{} that no digest covers: {}", count(names.len(), "file"), list(&names));
        findings.note(Error::new(Code::Unverifiable, message));
    }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Counts the blobs of an image and finds what is missing.
fn check_image(
    archive: &Archive,
    image: &Image,
    options: &VerifyOptions,
    damaged: &HashSet<Box<str>>,
    findings: &mut Diagnostics,
) -> ImageReport {
    let label = image.label();
    // By digest or path: whether the blob is there and intact.
    let mut blobs: BTreeMap<String, bool> = BTreeMap::new();
    let mut absent = Vec::new();
    let mut missing = false;
    if let Target::Manifest(top) = image.target() {
        let entry = archive.blob(&top.digest);
        let is_missing = entry.is_none();
        blobs.insert(
            top.digest.to_string(),
            entry.is_some_and(|entry| !damaged.contains(&entry.name)),
        );
        if is_missing {
            missing = true;
            let owner = if image.names().is_empty() { "an image" } else { &*label };
            let message = format!("{owner}: {} is not in the archive", top.digest);
            findings.error(Error::new(Code::BlobMissing, message));
        }
    }
    let is_single = image.manifests().len() == 1;
    for manifest in image.manifests() {
        check_shape(&label, manifest, findings);
        check_layer_types(&label, manifest, findings);
        if is_absent(manifest) && !is_single {
            if manifest.kind() == ManifestKind::Image {
                absent.push(platform_of(manifest));
            }
            continue;
        }
        for (name, entry) in needed(manifest) {
            missing |= entry.is_none();
            if entry.is_none() && !missing_is_known(image, &name) {
                let message = format!("{label}: {name} is not in the archive");
                findings.error(Error::new(Code::BlobMissing, message).at(place_of(manifest)));
            }
            let intact = entry.is_some_and(|entry| !damaged.contains(&entry.name));
            blobs.insert(name, intact);
        }
    }
    let platforms = image.platforms().count();
    if !absent.is_empty() {
        let names = absent.join(", ");
        if options.all_platforms || absent.len() == platforms {
            missing = true;
            let message = format!("{label}: absent platforms: {names}");
            findings.error(Error::new(Code::PlatformMissing, message));
        } else {
            let message = format!("{label}: promises platforms the archive does not hold: {names}");
            findings.note(Error::new(Code::Sparse, message));
        }
    }
    let corrupt = archive.files_of(image).iter().any(|entry| damaged.contains(&entry.name));
    let present = blobs.values().filter(|intact| **intact).count();
    let status = match () {
        () if corrupt => Status::Corrupt,
        () if missing || present < blobs.len() => Status::Incomplete,
        () if !absent.is_empty() => Status::Sparse,
        () => Status::Complete,
    };
    ImageReport { label, status, present, needed: blobs.len(), absent }
}

/// An index is allowed to promise more than there is (`docker save` and `ctr
/// images export` write such), as long as what there is is whole. A manifest
/// that came without its configuration is promise, too.
fn is_absent(manifest: &ImageManifest) -> bool {
    manifest.descriptor().is_some() && (!manifest.is_present() || manifest.config_entry().is_none())
}

/// Top-level manifests were reported with the image, and items of
/// `manifest.json` when they were read.
fn missing_is_known(image: &Image, name: &str) -> bool {
    let is_top = image.digest().is_some_and(|digest| digest.to_string() == name);
    is_top || name == UNREAD || !matches!(image.target(), Target::Manifest(_))
}

/// Stands for what a manifest that could not be read would need.
const UNREAD: &str = "unread";

/// What a manifest needs: each blob's name and its file.
fn needed(manifest: &ImageManifest) -> Vec<(String, Option<&Entry>)> {
    let mut all = Vec::new();
    if let Some(descriptor) = manifest.descriptor() {
        all.push((descriptor.digest.to_string(), manifest.manifest_entry()));
    }
    match (manifest.config_digest(), manifest.config_entry()) {
        (Some(digest), entry) => all.push((digest.to_string(), entry)),
        (None, Some(entry)) => all.push((entry.name.to_string(), Some(entry))),
        (None, None) if manifest.kind() == ManifestKind::Image => all.push((UNREAD.into(), None)),
        (None, None) => {}
    }
    for layer in manifest.layers() {
        if layer.entry().is_none() && layer.is_foreign() {
            continue;
        }
        let name =
            layer.descriptor().map_or_else(|| layer.path().to_owned(), |d| d.digest.to_string());
        all.push((name, layer.entry()));
    }
    all
}

/// Findings about a manifest that its own documents show.
fn check_shape(label: &str, manifest: &ImageManifest, findings: &mut Diagnostics) {
    let (ManifestKind::Image, Some(config)) = (manifest.kind(), manifest.config()) else { return };
    let place = place_of(manifest);
    let layers = manifest.layers().len();
    if !config.has_rootfs {
        let message = format!(
            "{label}: the configuration has no rootfs of type \"layers\"; docker refuses it"
        );
        findings.error(Error::new(Code::ImageRootfs, message).at(place));
    } else if layers != config.diff_ids.len() && manifest.descriptor().is_some() {
        let error = Error::new(Code::ImageLayerCount, format!("{label}: layers of the manifest"));
        let expected = format!("{} as in its diff IDs", config.diff_ids.len());
        findings.error(error.expected_found(expected, layers).at(place));
    } else if layers == 0 {
        let message = format!("{label}: an image without layers");
        findings.note(Error::new(Code::NoLayers, message).at(place));
    }
}

/// A layer of a type that is no layer's: containerd does not unpack it, and
/// then misses it among the diff IDs. And one that only a key opens.
fn check_layer_types(label: &str, manifest: &ImageManifest, findings: &mut Diagnostics) {
    if manifest.kind() != ManifestKind::Image {
        return;
    }
    let types = manifest.layers().iter().filter_map(|layer| Some(&layer.descriptor()?.media_type));
    // cosign's signatures are images in all but this, and nobody unpacks them.
    let types = types.filter(|media_type| !media_type.as_str().starts_with(COSIGN));
    let encrypted = types.clone().filter(|media_type| media_type.is_encrypted()).count();
    if encrypted > 0 {
        let message =
            format!("{label}: encrypted layers, whose diff IDs only a key can check: {encrypted}");
        findings.note(Error::new(Code::Unverifiable, message).at(place_of(manifest)));
    }
    let mut seen = HashSet::new();
    for unknown in types.filter(|media_type| !is_layer(media_type)) {
        if seen.insert(unknown) {
            let message = match unknown.as_str() {
                "" => format!("{label}: a layer without a media type"),
                text => format!("{label}: a layer whose media type is no layer's: {text}"),
            };
            findings.warning(Error::new(Code::MediaType, message).at(place_of(manifest)));
        }
    }
}

const COSIGN: &str = "application/vnd.dev.cosign.";

fn place_of(manifest: &ImageManifest) -> Place {
    let entry = manifest.manifest_entry().or(manifest.config_entry());
    entry.map(|entry| entry.place.clone()).unwrap_or_default()
}

fn platform_of(manifest: &ImageManifest) -> String {
    manifest.platform().map_or_else(|| "unknown".into(), |platform| platform.to_string())
}

/// Whether a descriptor's type is that of a layer.
fn is_layer(media_type: &crate::media_type::MediaType) -> bool {
    media_type.class() == MediaClass::Layer
}
