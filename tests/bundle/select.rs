//! Platforms, indexes and attestations of archives that real tools wrote: every combination, against what a few lines
//! here make of the input.

use ocitar::archive::{Archive, Format, OpenOptions};
use ocitar::bundle::{
    Attestations, Bundle, GatherOptions, IndexPolicy, Layout, Platforms, Selection,
};
use ocitar::error::{Code, Result};
use ocitar::progress::Silent;
use ocitar::verify::VerifyOptions;
use ocitar::write::WriteOptions;

use super::seen::{Leaf, Seen, digest};
use super::support::image::REF_NAME;
use super::support::run::{Room, arg, ocitar};
use super::{assert_verified, data, exported, run, words};

/// Archives with one image in the OCI view.
const OCI: [&str; 13] = [
    "buildx-oci-three",
    "buildx-oci-multi",
    "buildx-oci-attested",
    "buildx-oci-artifact",
    "ctr17-sparse",
    "ctr17-sparse-attested",
    "ctr17-sparse-three",
    "ctr17-all-platforms",
    "docker26c8d-multi-attested",
    "skopeo-oci-all",
    "oras-attached",
    "podman5-oci-archive",
    "buildx-oci-single",
];

/// Archives of the docker view alone.
const DOCKER: [&str; 8] = [
    "docker20-two-tags",
    "docker20-links",
    "docker20-three-images",
    "docker20-by-id",
    "podman5-docker-archive",
    "podman5-two-images",
    "skopeo-docker-archive",
    "buildx-docker",
];

/// `""` keeps what is complete, `*` demands everything.
const SUBSETS: [&str; 6] =
    ["", "*", "linux/amd64", "linux/arm64", "linux/arm64 linux/amd64", "linux/s390x"];
const POLICIES: [IndexPolicy; 3] = [IndexPolicy::Rewrite, IndexPolicy::Keep, IndexPolicy::Flatten];
const ATTESTATIONS: [Attestations; 3] =
    [Attestations::Keep, Attestations::Drop, Attestations::Only];
const FORMATS: [Format; 3] = [Format::Oci, Format::Hybrid, Format::Docker];

fn platforms(subset: &str) -> Platforms {
    match subset {
        "" => Platforms::Complete,
        "*" => Platforms::All,
        list => Platforms::Only(words(list).iter().map(|text| text.parse().unwrap()).collect()),
    }
}

/// One export by the library: what was written, or why nothing was.
fn export(
    archive: &Archive,
    subset: &str,
    policy: IndexPolicy,
    attestations: Attestations,
    format: Option<Format>,
) -> Result<Seen> {
    let selection =
        Selection::new().platforms(platforms(subset)).index(policy).attestations(attestations);
    let bundle = Bundle::gather(&[archive], &GatherOptions::new(), &Silent)?.select(&selection)?;
    let layout = Layout::new(format.unwrap_or(bundle.format()));
    let plan = bundle.output(&layout)?.plan()?;
    let mut bytes = Vec::new();
    plan.write_stream(&mut bytes, &WriteOptions::new())?;
    assert_eq!(plan.len(), bytes.len() as u64);
    Ok(Seen::of(bytes))
}

/// What must come of it: the manifests that are kept, or the code of the error.
fn expected(
    leaves: &[Leaf],
    is_index: bool,
    subset: &str,
    policy: IndexPolicy,
    attestations: Attestations,
) -> std::result::Result<Vec<Leaf>, Code> {
    let images = || leaves.iter().filter(|leaf| !leaf.is_attestation);
    let asked = words(subset);
    let wants = |leaf: &Leaf| matches!(subset, "" | "*") || asked.contains(&&*leaf.platform);
    let is_missing = match subset {
        "" => !images().any(|leaf| leaf.is_complete),
        "*" => {
            let keeps = policy == IndexPolicy::Keep;
            leaves.iter().any(|leaf| !leaf.is_complete && (keeps || !leaf.is_attestation))
        }
        _ => asked
            .iter()
            .any(|platform| !images().any(|leaf| leaf.platform == *platform && leaf.is_complete)),
    };
    if is_missing {
        return Err(Code::PlatformMissing);
    }
    let subject = |leaf: &Leaf| {
        images().any(|image| wants(image) && leaf.about.as_ref() == Some(&image.digest))
    };
    let stays = |leaf: &&Leaf| {
        leaf.is_complete
            && match (leaf.is_attestation, attestations) {
                (false, Attestations::Only) | (true, Attestations::Drop) => false,
                (false, _) => wants(leaf),
                (true, _) => subject(leaf),
            }
    };
    let kept: Vec<Leaf> = leaves.iter().filter(stays).cloned().collect();
    if kept.is_empty() {
        return Err(Code::NoMatch);
    }
    if policy != IndexPolicy::Flatten || !is_index {
        return Ok(kept);
    }
    let only: Vec<Leaf> = kept.into_iter().filter(|leaf| !leaf.is_attestation).collect();
    if only.len() == 1 { Ok(only) } else { Err(Code::PlatformChoice) }
}

#[test]
fn every_combination_of_oci_archives() {
    let mut done = 0;
    for name in OCI {
        let archive = Archive::open(data(name)).unwrap().check().unwrap();
        let before = Seen::at(&data(name));
        let roots: Vec<String> = before
            .tops()
            .iter()
            .filter(|top| is_named(top))
            .map(|top| digest(top).to_owned())
            .collect();
        let [root] = &roots[..] else { panic!("{name}: {roots:?}") };
        let leaves = before.leaves(root);
        let is_index = before.doc(root).unwrap()["manifests"].is_array();
        for subset in SUBSETS {
            for policy in POLICIES {
                for attestations in ATTESTATIONS {
                    for format in FORMATS {
                        let what =
                            format!("{name} [{subset}] {policy:?} {attestations:?} {format}");
                        // The referrer beside the image is what stays of it.
                        if name == "oras-attached" && attestations == Attestations::Only {
                            continue;
                        }
                        let got = export(&archive, subset, policy, attestations, Some(format));
                        let mut want = expected(&leaves, is_index, subset, policy, attestations);
                        let is_kept = attestations == Attestations::Keep;
                        if name == "oras-attached" && format == Format::Docker && is_kept {
                            // docker's format has no place for it.
                            want = want.and(Err(Code::Referrer));
                        }
                        check(&what, &before, root, got, want, policy, format);
                        done += 1;
                    }
                }
            }
        }
    }
    assert_eq!(done, 13 * 6 * 3 * 3 * 3 - 6 * 3 * 3);
}

fn check(
    what: &str,
    before: &Seen,
    root: &str,
    got: Result<Seen>,
    want: std::result::Result<Vec<Leaf>, Code>,
    policy: IndexPolicy,
    format: Format,
) {
    let kept = match want {
        Err(code) => {
            assert_eq!(got.err().map(|error| error.code()), Some(code), "{what}");
            return;
        }
        Ok(kept) => kept,
    };
    let images: Vec<&Leaf> = kept.iter().filter(|leaf| !leaf.is_attestation).collect();
    if format == Format::Docker && images.len() != 1 {
        let code = if images.is_empty() { Code::NoMatch } else { Code::PlatformChoice };
        assert_eq!(got.err().map(|error| error.code()), Some(code), "{what}");
        return;
    }
    let seen = got.unwrap_or_else(|error| panic!("{what}: {error}"));
    seen.assert_canonical(0);
    // Blobs that are kept are what they were.
    let is_new = |path: &str| !before.files.contains_key(path);
    let blobs = seen.files.iter().filter(|(path, _)| path.starts_with("blobs/"));
    for (path, body) in blobs.filter(|(path, _)| !is_new(path)) {
        assert!(before.files[path] == *body, "{what}: {path}");
    }
    let configs = |leaf: &&Leaf| {
        let manifest = before.doc(&leaf.digest).unwrap();
        digest(&manifest["config"]).to_owned()
    };
    let configs: Vec<String> = images.iter().map(configs).collect();
    for config in &configs {
        assert!(seen.blob(config).is_some(), "{what}: image ID {config}");
    }
    if format != Format::Oci && !images.is_empty() {
        // Which platform it is has tests of its own; without a wish it is this one.
        let ids = seen.ids();
        let amd64 = images.iter().position(|leaf| leaf.platform == "linux/amd64").unwrap_or(0);
        assert_eq!(ids, [configs[amd64].clone()], "{what}");
    }
    if format == Format::Docker {
        return;
    }
    let top = seen.tops().into_iter().find(is_named).unwrap();
    let new = digest(&top).to_owned();
    let digests = |leaves: &[Leaf]| -> Vec<String> {
        leaves.iter().map(|leaf| leaf.digest.clone()).collect()
    };
    let left: Vec<Leaf> = seen.leaves(&new).into_iter().filter(|leaf| leaf.is_complete).collect();
    assert_eq!(digests(&left), digests(&kept), "{what}");
    let all = before.leaves(root).len();
    let changes = policy == IndexPolicy::Rewrite && kept.len() < all;
    match policy {
        IndexPolicy::Flatten => assert_eq!(new, kept[0].digest, "{what}"),
        _ => assert_eq!(new != root, changes, "{what}: {new}"),
    }
    if policy != IndexPolicy::Keep {
        seen.assert_sound();
        let archive = OpenOptions::new().open_bytes(what, seen.bytes()).unwrap();
        let report = archive.verify(&VerifyOptions::default(), &Silent);
        assert!(report.is_ok(), "{what}: {:?}", report.findings);
    }
    if changes {
        // What stays in the index keeps its text.
        let text = |digest: &str, seen: &Seen| {
            String::from_utf8(seen.blob(digest).unwrap().to_vec()).unwrap()
        };
        let (old, new) = (text(root, before), text(&new, &seen));
        assert!(new.len() < old.len(), "{what}");
        for item in new.split('{') {
            assert!(
                old.contains(item.trim_end_matches([' ', '\n', '\t', ']', '}', ','])),
                "{what}: {item}"
            );
        }
    }
}

fn is_named(top: &serde_json::Value) -> bool {
    top["annotations"][REF_NAME].is_string()
}

#[test]
fn every_combination_of_docker_archives() {
    for name in DOCKER {
        let archive = Archive::open(data(name)).unwrap().check().unwrap();
        let before = Seen::at(&data(name));
        // The layers that are links have to be looked up by who wrote the test; the images have not.
        let ids: Vec<String> = archive
            .images()
            .iter()
            .flat_map(|image| image.manifests())
            .filter_map(|manifest| manifest.config_digest())
            .map(|digest| digest.to_string())
            .collect();
        let mut ids: Vec<String> = ids.into_iter().collect();
        ids.sort();
        let mut tags: Vec<String> = archive
            .images()
            .iter()
            .flat_map(|image| image.names())
            .map(|name| name.to_string())
            .collect();
        tags.sort();
        for subset in SUBSETS {
            for policy in POLICIES {
                for attestations in [Attestations::Keep, Attestations::Drop] {
                    for format in FORMATS.map(Some).into_iter().chain([None]) {
                        let what =
                            format!("{name} [{subset}] {policy:?} {attestations:?} {format:?}");
                        let got = export(&archive, subset, policy, attestations, format);
                        if subset.contains("arm64") || subset.contains("s390x") {
                            let code = got.err().map(|error| error.code());
                            assert_eq!(code, Some(Code::PlatformMissing), "{what}");
                            continue;
                        }
                        let seen = got.unwrap_or_else(|error| panic!("{what}: {error}"));
                        seen.assert_canonical(0);
                        seen.assert_sound();
                        let format = format.unwrap_or(archive.format().unwrap());
                        if format != Format::Oci {
                            assert_eq!(seen.ids(), ids, "{what}");
                            assert_eq!(seen.tags().len(), tags.len(), "{what}");
                        }
                        if format != Format::Docker {
                            assert_eq!(seen.oci_names(), tags, "{what}");
                        }
                        let old = before.files.values().collect::<Vec<_>>();
                        let made = |path: &str, body: &Vec<u8>| {
                            path.starts_with("blobs/")
                                && !path.ends_with('/')
                                && !old.contains(&body)
                        };
                        let made = seen.files.iter().filter(|(path, body)| made(path, body));
                        let most = if format == Format::Docker { 0 } else { ids.len() };
                        assert!(made.count() <= most, "{what}: only manifests are made");
                    }
                }
            }
        }
    }
}

/// By the command, with the platforms that stay, or the exit code and the id.
#[test]
fn the_command() {
    let three = "registry.example.com/team/three:v1.0";
    let multi = "ghcr.io/team/multi:v1.0";
    let rows: [(&str, &str, &str, &str); 18] = [
        ("buildx-oci-three", three, "", "linux/amd64 linux/arm64 linux/arm/v7"),
        ("buildx-oci-three", three, "--all-platforms", "linux/amd64 linux/arm64 linux/arm/v7"),
        ("buildx-oci-three", three, "--platform arm", "linux/arm/v7"),
        ("buildx-oci-three", three, "--platform aarch64", "linux/arm64"),
        (
            "buildx-oci-three",
            three,
            "--platform arm64 --platform x86_64",
            "linux/amd64 linux/arm64",
        ),
        ("buildx-oci-three", three, "--platform arm64 --platform s390x", "1 E_PLATFORM_MISSING"),
        ("buildx-oci-three", three, "--platform linux/arm64/v9", "1 E_PLATFORM_MISSING"),
        ("buildx-oci-three", three, "--index flatten", "1 E_PLATFORM_CHOICE"),
        ("buildx-oci-three", three, "--index flatten --platform arm", "linux/arm/v7"),
        ("buildx-oci-three", three, "--to docker", "1 E_PLATFORM_CHOICE"),
        ("ctr17-sparse-three", three, "", "linux/amd64"),
        ("ctr17-sparse-three", three, "--platform arm64", "1 E_PLATFORM_MISSING"),
        ("ctr17-sparse-three", three, "--all-platforms", "1 E_PLATFORM_MISSING"),
        ("ctr17-sparse-attested", multi, "", "linux/amd64"),
        ("buildx-oci-attested", multi, "--platform amd64 --attestations drop", "linux/amd64"),
        (
            "buildx-oci-attested",
            multi,
            "--index flatten --attestations keep --platform amd64",
            "2 E_USAGE",
        ),
        ("buildx-oci-attested", multi, "--attestations only --to docker", "1 E_NO_MATCH"),
        ("buildx-oci-attested", multi, "--platform amd64 --all-platforms", "2 error:"),
    ];
    let room = Room::new();
    for (input, name, options, want) in rows {
        let run = run(&room, "export", &data(input), &words(options));
        let what = format!("{input} {options}: {}", run.err);
        if let Some((code, id)) = want.split_once(' ').filter(|(code, _)| code.len() == 1) {
            assert_eq!(run.code.to_string(), code, "{what}");
            let said = run.err.contains(&format!("[{id}]")) || run.id().starts_with(id);
            assert!(said, "{what}");
            assert!(!room.path("out.tar").exists(), "{what}");
            continue;
        }
        assert_eq!(run.code, 0, "{what}");
        let seen = Seen::at(&room.path("out.tar"));
        seen.assert_sound();
        assert_eq!(seen.platforms(name).join(" "), want, "{what}");
        assert_verified(&room.path("out.tar"), true);
    }
}

/// A table names everything that is missing; with `--json` it is data.
#[test]
fn what_is_missing_is_said() {
    let room = Room::new();
    let input = data("ctr17-sparse-three");
    let run = super::run(&room, "export", &input, &["--all-platforms"]);
    for platform in ["linux/arm64", "linux/arm/v7"] {
        assert!(run.err.contains(platform), "{}", run.err);
    }
    let run = super::run(&room, "export", &input, &["--all-platforms", "--json"]);
    let missing = run.json()["missing"].clone();
    let platforms: Vec<&str> =
        missing.as_array().unwrap().iter().map(|row| row["platform"].as_str().unwrap()).collect();
    assert_eq!(platforms, ["linux/arm64", "linux/arm/v7"]);
    let seen = exported(&room, "export", &input, &["--index", "keep"]);
    assert_eq!(seen.dangling().len(), 5, "two platforms, three attestations");
    let run = ocitar(["verify", arg(&room.path("out.tar")), "--all-platforms"]);
    assert_eq!(run.code, 1, "{}", run.text());
}
