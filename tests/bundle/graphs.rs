//! Laws that hold of any bundle, tried on generated ones: images of several platforms, indexes in indexes, shared
//! layers, attestations, signatures, several names, and blobs that are gone.

use ocitar::archive::{Archive, OpenOptions};
use ocitar::bundle::{
    Bundle, GatherOptions, IndexPolicy, Layout, Part, Platforms, Selection, SplitBy,
};
use ocitar::edit::{RenameRules, Rule};
use ocitar::error::{Code, Result};
use ocitar::progress::Silent;
use ocitar::verify::VerifyOptions;
use ocitar::write::WriteOptions;
use proptest::prelude::*;

use super::seen::Seen;
use super::support::docker::containerd_manifest;
use super::support::image::{Descriptor, Image, Layer, OCI_INDEX, Packing, blob, index};
use super::support::oci::{LAYOUT, signature};
use super::support::tarball::Tar;

const PLATFORMS: [&str; 4] = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x"];

/// One image to be.
#[derive(Clone, Debug)]
struct Spec {
    /// Platform, layers out of a few, and whether there is an attestation; one alone may be a bare manifest.
    leaves: Vec<(usize, Vec<usize>, bool)>,
    /// How many indexes lie between the top and the manifests.
    depth: usize,
    names: usize,
    is_signed: bool,
}

#[derive(Clone, Debug)]
struct Graph {
    images: Vec<Spec>,
    /// Positions, modulo their number, of blobs that are gone.
    missing: Vec<usize>,
    is_hybrid: bool,
    /// Where the order of the members starts.
    turn: usize,
}

fn graphs() -> impl Strategy<Value = Graph> {
    let leaf = (0..4_usize, prop::collection::vec(0..6_usize, 1..3), any::<bool>());
    let spec =
        (prop::collection::vec(leaf, 1..4), 0..4_usize, 0..3_usize, prop::bool::weighted(0.3))
            .prop_map(|(leaves, depth, names, is_signed)| Spec { leaves, depth, names, is_signed });
    let images = prop::collection::vec(spec, 1..5);
    let missing =
        prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(any::<usize>(), 1..3)];
    (images, missing, any::<bool>(), any::<usize>())
        .prop_map(|(images, missing, is_hybrid, turn)| Graph { images, missing, is_hybrid, turn })
}

impl Graph {
    /// The members: blobs in some order, then the control files; and a name, if there is one.
    fn members(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        let mut tops = Vec::new();
        let mut items: Vec<(Image, Vec<String>)> = Vec::new();
        let mut roots = Vec::new();
        for (n, spec) in self.images.iter().enumerate() {
            let images: Vec<Image> = spec
                .leaves
                .iter()
                .map(|(platform, layers, _)| {
                    let layer = |at: &usize| Layer::new(&format!("layer-{at}"), Packing::Plain);
                    // Two images of one configuration have a test of their own.
                    let own =
                        self.is_hybrid.then(|| Layer::new(&format!("own-{n}"), Packing::Plain));
                    let layers = layers.iter().map(layer).chain(own).collect();
                    Image::new(PLATFORMS[*platform], layers)
                })
                .collect();
            let mut children: Vec<Descriptor> = images.iter().map(Image::child).collect();
            files.extend(images.iter().flat_map(Image::blobs));
            for (image, _) in images.iter().zip(&spec.leaves).filter(|(_, leaf)| leaf.2) {
                let (statement, more) = signature(&image.descriptor());
                files.extend(more);
                children.push(
                    statement
                        .annotation("vnd.docker.reference.type", "attestation-manifest")
                        .annotation("vnd.docker.reference.digest", &image.manifest_digest())
                        .platform("unknown/unknown"),
                );
            }
            let mut root = images[0].descriptor();
            if spec.depth > 0 || children.len() > 1 {
                for depth in 0..spec.depth.max(1) {
                    let text = index(&children);
                    files.push(blob(&text));
                    root = Descriptor::new(OCI_INDEX, &text);
                    // The innermost index twice: as a child, and with its first child beside it.
                    let first = children[0].clone();
                    children = vec![root.clone()];
                    if depth == 0 {
                        children.push(first);
                    }
                }
            }
            // Equal images would have equal names, and one image has them all.
            if roots.contains(&root.digest) {
                continue;
            }
            roots.push(root.digest.clone());
            let names: Vec<String> =
                (0..spec.names).map(|tag| format!("example.com/image-{n}:v{tag}")).collect();
            match names.is_empty() {
                true => tops.push(root.clone()),
                false => tops.extend(names.iter().map(|name| root.clone().named(name))),
            }
            // As on a machine that is linux/amd64.
            let shown = images.iter().find(|image| image.platform == PLATFORMS[0]);
            items.push((shown.unwrap_or(&images[0]).clone(), names));
            if spec.is_signed {
                let (sig, more) = signature(&root);
                files.extend(more);
                let tag = format!("example.com/image-{n}:{}.sig", root.digest.replace(':', "-"));
                tops.push(if n % 2 == 0 { sig.named(&tag) } else { sig });
            }
        }
        files.sort();
        files.dedup();
        for at in &self.missing {
            // What the tops lead to has to be there.
            let at = at % files.len();
            if files.len() > 1
                && !roots.iter().any(|root| super::support::image::blob_path(root) == files[at].0)
            {
                files.remove(at);
            }
        }
        let mut merged: Vec<(Image, Vec<String>)> = Vec::new();
        for (image, names) in items {
            match merged.iter_mut().find(|(other, _)| other.config == image.config) {
                Some((_, all)) => all.extend(names),
                None => merged.push((image, names)),
            }
        }
        let tags: Vec<Vec<&str>> =
            merged.iter().map(|(_, names)| names.iter().map(String::as_str).collect()).collect();
        let items: Vec<(&Image, &[&str])> =
            merged.iter().zip(&tags).map(|((image, _), tags)| (image, &tags[..])).collect();
        files.push(("index.json".into(), index(&tops).into_bytes()));
        if self.is_hybrid && self.missing.is_empty() {
            files.push(("manifest.json".into(), containerd_manifest(&items).into_bytes()));
        }
        files.push(("oci-layout".into(), LAYOUT.into()));
        files
    }

    fn archive(&self, turn: usize) -> Archive {
        let mut files = self.members();
        let by = turn % files.len();
        files.rotate_left(by);
        let tar = files.iter().fold(Tar::new(), |tar, (name, body)| tar.file(name, body));
        open(tar.bytes())
    }

    /// The first name there is.
    fn name(&self, archive: &Archive) -> Option<String> {
        let names = archive.images().iter().flat_map(|image| image.names());
        names.map(|name| name.to_string()).find(|name| !name.ends_with(".sig"))
    }
}

fn open(bytes: Vec<u8>) -> Archive {
    OpenOptions::new().open_bytes("in.tar", bytes).unwrap().check().unwrap()
}

fn write(bundle: &Bundle<'_>, layout: &Layout) -> Result<Vec<u8>> {
    let plan = bundle.output(layout)?.plan()?;
    let mut bytes = Vec::new();
    plan.write_stream(&mut bytes, &WriteOptions::new())?;
    assert_eq!(plan.len(), bytes.len() as u64);
    Ok(bytes)
}

/// What `export` does.
fn export(archive: &Archive, gather: &GatherOptions, selection: &Selection) -> Result<Vec<u8>> {
    let bundle = Bundle::gather(&[archive], gather, &Silent)?;
    let selection = selection.clone().break_signatures(true);
    write(
        &bundle.select(&selection)?,
        &Layout::new(bundle.format()).prefer([PLATFORMS[0].parse().unwrap()]),
    )
}

/// What `merge` does.
fn merge(archives: &[Archive]) -> Result<Vec<u8>> {
    let archives: Vec<&Archive> = archives.iter().collect();
    let bundle = Bundle::gather(&archives, &GatherOptions::new(), &Silent)?;
    write(
        &bundle.select(&Selection::new().index(IndexPolicy::Keep))?,
        &Layout::new(bundle.format()),
    )
}

/// What was written; nothing where the graph has an image of which nothing is there.
fn written(result: Result<Vec<u8>>) -> Option<Vec<u8>> {
    match result {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let code = error.code();
            assert!(
                matches!(code, Code::PlatformMissing | Code::NoMatch | Code::PartSize),
                "{error}"
            );
            None
        }
    }
}

fn all() -> GatherOptions {
    GatherOptions::new()
}

fn only(platform: &str) -> Selection {
    Selection::new().platforms(Platforms::Only(vec![platform.parse().unwrap()]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exports_are_true(graph in graphs(), platform in 0..4_usize) {
        let archive = graph.archive(graph.turn);
        for selection in [Selection::new(), only(PLATFORMS[platform])] {
            let Some(bytes) = written(export(&archive, &all(), &selection)) else { continue };
            let seen = Seen::of(bytes.clone());
            seen.assert_canonical(0);
            seen.assert_sound();
            let archive = OpenOptions::new().open_bytes("out.tar", bytes.clone()).unwrap();
            let report = archive.verify(&VerifyOptions::default(), &Silent);
            prop_assert!(report.is_ok(), "{:?}", report.findings);
            // Again it is the same.
            prop_assert!(written(export(&archive, &all(), &selection)) == Some(bytes));
        }
    }

    #[test]
    fn the_order_of_members_does_not_matter(graph in graphs()) {
        let [one, other] = [0, graph.turn].map(|turn| export(&graph.archive(turn), &all(), &Selection::new()));
        prop_assert!(written(one) == written(other));
    }

    #[test]
    fn picking_and_selecting_commute(graph in graphs(), platform in 0..4_usize) {
        let archive = graph.archive(0);
        let (Some(name), selection) = (graph.name(&archive), only(PLATFORMS[platform])) else { return Ok(()) };
        let pick = || GatherOptions::new().only([&*name]);
        let Some(selected) = written(export(&archive, &all(), &selection)) else { return Ok(()) };
        let both = written(export(&archive, &pick(), &selection)).unwrap();
        let then_picked = export(&open(selected), &pick(), &Selection::new()).unwrap();
        prop_assert!(both == then_picked);
        if let Some(picked) = written(export(&archive, &pick(), &Selection::new())) {
            prop_assert!(both == export(&open(picked), &all(), &selection).unwrap());
        }
    }

    #[test]
    fn renaming_and_exporting_commute(graph in graphs()) {
        let archive = graph.archive(0);
        let rules = RenameRules::new().rule(Rule::prefix("example.com=registry.example.com/hub").unwrap());
        let renamed = |archive: &Archive| {
            let mut bytes = Vec::new();
            let plan = archive.edit().rename(&rules.clone().allow_unmatched(true)).unwrap().plan().unwrap();
            plan.write_stream(&mut bytes, &WriteOptions::new()).unwrap();
            open(bytes)
        };
        let Some(exported) = written(export(&archive, &all(), &Selection::new())) else { return Ok(()) };
        let want = export(&renamed(&archive), &all(), &Selection::new()).unwrap();
        let got = renamed(&open(exported));
        prop_assert!(export(&got, &all(), &Selection::new()).unwrap() == want);
    }

    #[test]
    fn parts_merge_into_the_whole(graph in graphs(), share in 2..5_u64) {
        let archive = graph.archive(graph.turn);
        let Some(whole) = written(merge(std::slice::from_ref(&archive))) else { return Ok(()) };
        let bundle = Bundle::gather(&[&archive], &all(), &Silent).unwrap();
        let selection = Selection::new().index(IndexPolicy::Keep);
        let layout = Layout::new(bundle.format());
        let size = whole.len() as u64 * 2 / share;
        for by in [SplitBy::Image, SplitBy::Size(size), SplitBy::Platform] {
            let parts = match bundle.split(by, &selection, &layout) {
                Err(error) if error.code() == Code::PartSize => continue,
                parts => parts.unwrap(),
            };
            let archive = |part: &Part<'_>| open(write(&part.bundle, &layout).unwrap());
            let archives: Vec<Archive> = parts.iter().map(archive).collect();
            if let SplitBy::Size(most) = by {
                prop_assert!(parts.iter().all(|part| part.bundle.output(&layout).unwrap().plan().unwrap().len() <= most));
            }
            let back = merge(&archives).unwrap();
            prop_assert!(back == whole, "{by:?}: {:?} {:?}", Seen::of(back.clone()).tops(), Seen::of(whole.clone()).tops());
        }
        // And in any order, with the whole among them.
        let parts = bundle.split(SplitBy::Image, &selection, &layout).unwrap();
        let mut archives: Vec<Archive> = parts.iter().map(|part| open(write(&part.bundle, &layout).unwrap())).collect();
        archives.reverse();
        archives.push(open(whole.clone()));
        prop_assert!(merge(&archives).unwrap() == whole);
    }
}
