//! Loading an archive with real tools and reading back what they made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::archive::{Archive, Image, canonical, text, texts};
use crate::cases::Case;
use crate::peers::Peers;

/// A tool that loads archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// dockerd 26, classic image store.
    Docker26,
    /// dockerd 26, containerd image store.
    Docker26C8d,
    /// dockerd 20.10, classic image store.
    Docker20,
    /// `ctr images import` of containerd 1.7.
    Ctr17,
    /// `ctr images import` of containerd 1.6.
    Ctr16,
    /// `podman load`.
    Podman,
    /// skopeo, transport docker-archive.
    SkopeoDocker,
    /// skopeo, transport oci-archive.
    SkopeoOci,
}

pub const ALL: [Consumer; 8] = [
    Consumer::Docker26,
    Consumer::Docker26C8d,
    Consumer::Docker20,
    Consumer::Ctr17,
    Consumer::Ctr16,
    Consumer::Podman,
    Consumer::SkopeoDocker,
    Consumer::SkopeoOci,
];

/// A retagged archive with all that is known of it.
pub struct Job<'a> {
    pub case: &'a Case,
    /// The new archive, in the folder that peers share.
    pub path: &'a Path,
    /// What was in the archive before, read by us.
    pub before: &'a Archive,
    /// What is in the new one, read by us.
    pub after: &'a Archive,
}

/// What a consumer knows under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Loaded {
    id: String,
    layers: Vec<String>,
}

type Store = BTreeMap<String, Loaded>;

impl Job<'_> {
    /// The images as this view should hold them now: new names, everything else from before.
    fn expected(&self, view: &[Image], id: impl Fn(&Image) -> String) -> Store {
        let mut store = Store::new();
        for image in view {
            for name in self.case.renamed(&image.names) {
                store.insert(name, Loaded { id: id(image), layers: image.layers.clone() });
            }
        }
        store
    }

    /// The view that containerd takes: OCI if it is there.
    fn containerd_view(&self) -> &[Image] {
        if self.before.oci.is_empty() { &self.before.docker } else { &self.before.oci }
    }

    fn complete(&self) -> bool {
        self.containerd_view().iter().all(|image| image.complete)
    }

    fn artifact(&self) -> bool {
        self.before.oci.iter().any(|image| image.artifact)
    }
}

impl Consumer {
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker26 => "docker-26",
            Self::Docker26C8d => "docker-26-c8d",
            Self::Docker20 => "docker-20.10",
            Self::Ctr17 => "ctr-1.7",
            Self::Ctr16 => "ctr-1.6",
            Self::Podman => "podman",
            Self::SkopeoDocker => "skopeo-docker",
            Self::SkopeoOci => "skopeo-oci",
        }
    }

    pub fn on_host(self) -> bool {
        matches!(self, Self::Docker20 | Self::Ctr16)
    }

    /// Why this consumer does not take archives of this shape, if so.
    pub fn declines(self, job: &Job) -> Option<&'static str> {
        if let Some((_, why)) = job.case.refused.iter().find(|(name, _)| *name == self.name()) {
            return Some(why);
        }
        let outside = job.path.extension().and_then(|end| end.to_str()).unwrap_or_default();
        let no_docker = job.before.docker.is_empty().then_some("needs manifest.json");
        match self {
            Self::Docker26 if outside == "xz" => Some("needs an xz program"),
            Self::Docker20 if outside == "zst" => Some("knows no zstd"),
            Self::Docker26 | Self::Docker20 | Self::SkopeoDocker => no_docker,
            Self::Docker26C8d if outside == "xz" => Some("needs an xz program"),
            Self::Docker26C8d if job.artifact() => Some("takes images only"),
            Self::Ctr17 | Self::Ctr16 if outside != "tar" => Some("takes plain tar only"),
            Self::Podman if job.before.docker.is_empty() && job.after.refs.len() != 1 => {
                Some("takes one image only")
            }
            Self::Podman if job.artifact() => Some("takes images only"),
            Self::SkopeoOci if job.before.oci.is_empty() => Some("needs index.json"),
            _ => None,
        }
    }

    /// Loads the archive into an empty store and compares what is there with what was in the archive before.
    pub fn check(self, peers: &Peers, job: &Job) -> Result<(), String> {
        let inside = peers.inside(job.path);
        let outside = job.path.to_string_lossy();
        let chroot = |tool: &[&str], words: &[&str]| peers.run(&[tool, words].concat());
        let host = |tool: &[&str], words: &[&str]| peers.host_run(&[tool, words].concat());
        match self {
            Self::Docker26 => docker_classic(&|words| chroot(&DOCKER_CLASSIC, words), &inside, job),
            Self::Docker20 => docker_classic(&|words| host(&["docker"], words), &outside, job),
            Self::Docker26C8d => docker_containerd(&|words| chroot(&DOCKER_C8D, words), peers, job),
            Self::Ctr17 => containerd(&|words| chroot(&CTR, words), &inside, job),
            Self::Ctr16 => containerd(&|words| host(&["ctr"], words), &outside, job),
            Self::Podman => podman(peers, job),
            Self::SkopeoDocker => skopeo_docker(peers, job),
            Self::SkopeoOci => skopeo_oci(peers, job),
        }
    }
}

pub const DOCKER_CLASSIC: [&str; 3] = ["docker", "-H", "unix:///run/peers/graph.sock"];
pub const DOCKER_C8D: [&str; 3] = ["docker", "-H", "unix:///run/peers/c8d.sock"];
pub const CTR: [&str; 3] = ["ctr", "-a", "/run/peers/containerd.sock"];

/// A tool that is given the rest of its command line.
type Run<'a> = dyn Fn(&[&str]) -> Result<Vec<u8>, String> + 'a;

fn compare(expected: &Store, found: &Store) -> Result<(), String> {
    let names = |store: &Store| store.keys().cloned().collect::<Vec<_>>();
    if names(expected) != names(found) {
        return Err(format!("names are {:?}, not {:?}", names(found), names(expected)));
    }
    for (name, image) in expected {
        if found[name] != *image {
            return Err(format!("{name} is {:?}, not {image:?}", found[name]));
        }
    }
    Ok(())
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .map(str::to_owned)
        .filter(|line| !line.is_empty())
        .collect()
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes)
        .map_err(|error| format!("{error} in {}", String::from_utf8_lossy(bytes)))
}

/// What `docker image inspect` and `podman image inspect` print; images without names are left out.
fn inspected(bytes: &[u8]) -> Result<Store, String> {
    let mut store = Store::new();
    for image in json(bytes)?.as_array().into_iter().flatten() {
        let id = format!("sha256:{}", text(&image["Id"]).trim_start_matches("sha256:"));
        for name in texts(&image["RepoTags"]) {
            store.insert(
                canonical(&name),
                Loaded { id: id.clone(), layers: texts(&image["RootFS"]["Layers"]) },
            );
        }
    }
    Ok(store)
}

// ---- docker ---------------------------------------------------------------------------------

fn docker_ids(docker: &Run) -> Result<Vec<String>, String> {
    let ids: BTreeSet<_> =
        lines(&docker(&["image", "ls", "-aq", "--no-trunc"])?).into_iter().collect();
    Ok(ids.into_iter().collect())
}

fn docker_empty(docker: &Run) -> Result<(), String> {
    let ids = docker_ids(docker)?;
    if ids.is_empty() {
        return Ok(());
    }
    // Removing a child removes its untagged parents, so some ids may be gone when their turn comes.
    let _ = docker(&[&["image", "rm", "-f"], &words(&ids)[..]].concat());
    match docker_ids(docker)?.as_slice() {
        [] => Ok(()),
        left => Err(format!("the store still holds {left:?}")),
    }
}

fn words(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}

fn docker_load(docker: &Run, path: &str) -> Result<Store, String> {
    docker_empty(docker)?;
    docker(&["load", "-q", "-i", path])?;
    let ids = docker_ids(docker)?;
    if ids.is_empty() {
        return Ok(Store::new());
    }
    inspected(&docker(&[&["image", "inspect"], &words(&ids)[..]].concat())?)
}

fn docker_classic(docker: &Run, path: &str, job: &Job) -> Result<(), String> {
    let found = docker_load(docker, path)?;
    compare(&job.expected(&job.before.docker, |image| image.config.clone()), &found)?;
    docker_empty(docker)
}

fn docker_containerd(docker: &Run, peers: &Peers, job: &Job) -> Result<(), String> {
    let ctr = |words: &[&str]| peers.run(&[&CTR[..], &["-n", "moby"], words].concat());
    let mut found = docker_load(docker, &peers.inside(job.path))?;
    if job.before.oci.is_empty() {
        for image in found.values_mut() {
            image.id = config_of(&ctr, &image.id)?;
        }
    }
    let expected = job.expected(job.containerd_view(), |image| {
        image.target.clone().unwrap_or(image.config.clone())
    });
    compare(&expected, &found)?;
    has_blobs(&ctr, job)?;
    docker_empty(docker)
}

// ---- containerd -------------------------------------------------------------------------------

/// The config digest of a manifest in the content store.
fn config_of(ctr: &Run, manifest: &str) -> Result<String, String> {
    Ok(text(&json(&ctr(&["content", "get", manifest])?)?["config"]["digest"]))
}

/// Every blob below a named image must be in the content store.
fn has_blobs(ctr: &Run, job: &Job) -> Result<(), String> {
    let present: BTreeSet<_> = lines(&ctr(&["content", "ls", "-q"])?).into_iter().collect();
    let named = job.before.oci.iter().filter(|image| !job.case.renamed(&image.names).is_empty());
    match named.flat_map(|image| &image.blobs).find(|blob| !present.contains(*blob)) {
        Some(blob) => Err(format!("{blob} is not in the content store")),
        None => Ok(()),
    }
}

fn containerd(plain: &Run, path: &str, job: &Job) -> Result<(), String> {
    let space = format!("ocitar-interop-{}", std::process::id());
    let ctr = |words: &[&str]| plain(&[&["-n", space.as_str()], words].concat());
    let mut import = vec!["images", "import"];
    if job.complete() {
        import.push("--all-platforms");
    }
    if job.artifact() {
        import.push("--no-unpack");
    }
    import.push(path);
    let result = ctr(&import).and_then(|_| imported(&ctr, job));
    let names = lines(&ctr(&["images", "ls", "-q"])?);
    if !names.is_empty() {
        ctr(&[&["images", "rm", "--sync"], &words(&names)[..]].concat())?;
    }
    let left = lines(&ctr(&["content", "ls", "-q"])?);
    // Blobs that no image uses stay until the garbage collector runs.
    if !left.is_empty() {
        ctr(&[&["content", "rm"], &words(&left)[..]].concat())?;
    }
    let _ = plain(&["namespaces", "rm", &space]);
    result
}

fn imported(ctr: &Run, job: &Job) -> Result<(), String> {
    let by_config = job.before.oci.is_empty();
    let mut found = Store::new();
    for line in lines(&ctr(&["images", "ls"])?).iter().skip(1) {
        let mut columns = line.split_whitespace();
        let (Some(name), Some(digest)) = (columns.next(), columns.nth(1)) else {
            continue;
        };
        let id = if by_config { config_of(ctr, digest)? } else { digest.to_owned() };
        found.insert(name.to_owned(), Loaded { id, layers: Vec::new() });
    }
    // Unpacking compared the layers with the diff IDs of the config, and the digest leads to the config.
    let mut expected = job.expected(job.containerd_view(), |image| {
        image.target.clone().unwrap_or(image.config.clone())
    });
    expected.values_mut().for_each(|image| image.layers.clear());
    compare(&expected, &found)?;
    has_blobs(ctr, job)
}

// ---- podman, skopeo -----------------------------------------------------------------------------

/// A folder of the shared room that is gone when this is.
fn folder(peers: &Peers, prefix: &str) -> Result<tempfile::TempDir, String> {
    tempfile::Builder::new()
        .prefix(prefix)
        .tempdir_in(peers.room())
        .map_err(|error| error.to_string())
}

const PODMAN: &str = r#"set -e
home=$1
podman() { command podman --root "$home/root" --runroot "$home/run" --storage-driver vfs "$@"; }
podman load -q -i "$2" >&2
podman image inspect $(podman images -aq --no-trunc | sort -u)"#;

fn podman(peers: &Peers, job: &Job) -> Result<(), String> {
    let home = folder(peers, "podman-")?;
    let inside = (peers.inside(home.path()), peers.inside(job.path));
    let found = peers.run(&[
        "env",
        "PODMAN_IGNORE_CGROUPSV1_WARNING=1",
        "sh",
        "-c",
        PODMAN,
        "sh",
        &inside.0,
        &inside.1,
    ])?;
    // One descriptor: the layout is read; several: manifest.json.
    let view = if job.after.refs.len() == 1 { &job.before.oci } else { &job.before.docker };
    compare(&job.expected(view, |image| image.config.clone()), &inspected(&found)?)
}

fn skopeo(peers: &Peers, words: &[&str]) -> Result<Vec<u8>, String> {
    peers.run(&[&["skopeo", "--insecure-policy"], words].concat())
}

fn skopeo_docker(peers: &Peers, job: &Job) -> Result<(), String> {
    let source = |name: &str| format!("docker-archive:{}:{name}", peers.inside(job.path));
    for image in &job.before.docker {
        let names = job.case.renamed(&image.names);
        for name in &names {
            let config = skopeo(peers, &["inspect", "--config", "--raw", &source(name)])?;
            if config != job.before.blob(&image.config)? {
                return Err(format!("{name} has another config"));
            }
        }
        for name in image.names.iter().filter(|name| !names.contains(name)) {
            if skopeo(peers, &["inspect", &source(name)]).is_ok() {
                return Err(format!("{name} is still there"));
            }
        }
        let Some(name) = names.first() else { continue };
        let target = folder(peers, "dir-")?;
        skopeo(
            peers,
            &["copy", "-q", &source(name), &format!("dir:{}", peers.inside(target.path()))],
        )?;
        let manifest = json(
            &fs::read(target.path().join("manifest.json")).map_err(|error| error.to_string())?,
        )?;
        let layers: Vec<_> = manifest["layers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|layer| text(&layer["digest"]))
            .collect();
        if layers != image.layers {
            return Err(format!("{name} has the layers {layers:?}, not {:?}", image.layers));
        }
    }
    Ok(())
}

fn skopeo_oci(peers: &Peers, job: &Job) -> Result<(), String> {
    let path = peers.inside(job.path);
    // Which references there are is not for skopeo to say: it is asked for those it should find.
    crate::same_references(job.case, job.before, job.after)?;
    let alone = job.after.refs.len() == 1;
    for (reference, digest) in &job.after.refs {
        let Some(image) = job.before.oci.iter().find(|image| image.target.as_ref() == Some(digest))
        else {
            return Err(format!("{digest} was not in the archive before"));
        };
        let manifest = job.before.blob(digest)?;
        // skopeo finds no digest by reference, and no manifest of docker's type.
        let docker = text(&json(&manifest)?["mediaType"]).starts_with("application/vnd.docker.");
        let usable = reference.as_ref().filter(|reference| !docker && !reference.contains('@'));
        // Without a reference only a lone image can be had; of equal references only the first.
        let first =
            job.after.refs.iter().find(|(other, _)| other == reference).map(|(_, digest)| digest);
        let source = match usable {
            Some(_) if first != Some(digest) => continue,
            Some(reference) => format!("oci-archive:{path}:{reference}"),
            None if alone => format!("oci-archive:{path}"),
            None => continue,
        };
        if skopeo(peers, &["inspect", "--raw", &source])? != manifest {
            return Err(format!("{source} is another image"));
        }
        let target = folder(peers, "dir-")?;
        let target_name = format!("dir:{}", peers.inside(target.path()));
        let all = if image.complete { "--all" } else { "--preserve-digests" };
        skopeo(peers, &["copy", "-q", all, &source, &target_name])?;
        if !target.path().join(image.config.trim_start_matches("sha256:")).exists()
            && !image.complete
        {
            return Err(format!("{source} was copied without its config"));
        }
    }
    Ok(())
}
