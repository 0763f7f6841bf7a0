//! What real tools make of an archive that `export`, `convert`, `merge` or `split` wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::archive::{canonical, text, texts};
use crate::consumers::{CTR, DOCKER_C8D, DOCKER_CLASSIC};
use crate::export_graph::{Graph, Image, Manifest, Wanted};
use crate::peers::Peers;

/// A tool that loads archives, in one of its modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// `ctr images import`, with `--platform` for each platform that is not the host's.
    Ctr,
    /// `ctr images import --all-platforms`.
    CtrAll,
    /// The same of containerd 1.6.
    Ctr16,
    Ctr16All,
    /// dockerd, classic image store.
    Docker,
    /// dockerd, containerd image store.
    DockerC8d,
    /// dockerd 20.10, classic image store.
    Docker20,
    /// `podman load`.
    Podman,
    /// `skopeo inspect` and `copy` of oci-archive, platform by platform.
    Skopeo,
    /// `skopeo copy --all` of oci-archive.
    SkopeoAll,
    /// The same of docker-archive.
    SkopeoDocker,
    /// `oras cp` of the tar as a layout.
    Oras,
}

pub const ALL: [Consumer; 12] = [
    Consumer::Ctr,
    Consumer::CtrAll,
    Consumer::Ctr16,
    Consumer::Ctr16All,
    Consumer::Docker,
    Consumer::DockerC8d,
    Consumer::Docker20,
    Consumer::Podman,
    Consumer::Skopeo,
    Consumer::SkopeoAll,
    Consumer::SkopeoDocker,
    Consumer::Oras,
];

/// An archive in the folder that peers share, and what it must hold.
pub struct Job {
    pub title: String,
    pub path: PathBuf,
    /// Read by us from this archive.
    pub graph: Graph,
    /// Read by us from the archives it was made of.
    pub wanted: Vec<Wanted>,
    /// Consumers that cannot be asked, whatever the rules say, and why.
    pub not: &'static [(Consumer, &'static str)],
}

/// What is right for a consumer to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Loads,
    /// It fails and says one of these.
    Refuses(&'static [&'static str]),
    /// It takes no archive of this kind, and why.
    Not(&'static str),
}

const HOST: &str = "linux/amd64";
const NOT_FOUND: &[&str] = &["not found"];
/// oras 1.2 panics where two goroutines fail in different ways.
const ORAS: &[&str] = &["not found", "errgroup"];
const NO_SUCH_FILE: &[&str] = &["no such file or directory"];
const NO_INSTANCE: &[&str] = &["no image found in image index", "no such file or directory"];

impl Job {
    fn complete(&self) -> bool {
        !self.graph.sparse()
    }

    /// Platforms that all of its images have.
    fn common(&self) -> Vec<String> {
        let mut sets = self.wanted.iter().map(|image| {
            image.platforms().map(|manifest| manifest.platform.clone()).collect::<BTreeSet<_>>()
        });
        let first = sets.next().unwrap_or_default();
        sets.fold(first, |common, set| &common & &set).into_iter().collect()
    }

    fn oci(&self) -> bool {
        !self.graph.images.is_empty()
    }

    fn descriptors(&self) -> usize {
        self.graph.images.iter().map(|image| image.refs.len()).sum()
    }

    /// The image that this one of the archive has to be.
    fn of(&self, image: &Image) -> &Wanted {
        let same = |wanted: &&Wanted| wanted.names.first() == image.names.first();
        self.wanted.iter().find(same).expect("the archive was compared before")
    }

    /// What `skopeo` and `oras` are to ask for: references that lead to one image only, and that they know.
    fn references(&self) -> Vec<(&Image, Option<&String>)> {
        let all: Vec<_> = self.graph.images.iter().flat_map(|image| &image.refs).collect();
        let mut found = Vec::new();
        for image in &self.graph.images {
            let alone = all.len() == 1;
            let good = image.refs.iter().flatten().find(|reference| {
                all.iter().filter(|other| other.as_ref() == Some(*reference)).count() == 1
            });
            let docker = self.graph.blob(&image.target).is_some_and(|bytes| {
                String::from_utf8_lossy(&bytes).contains("application/vnd.docker.distribution")
            });
            match good.filter(|_| !docker) {
                Some(reference) => found.push((image, Some(reference))),
                None if alone => found.push((image, None)),
                None => {}
            }
        }
        found
    }
}

impl Consumer {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ctr => "ctr",
            Self::CtrAll => "ctr --all",
            Self::Ctr16 => "ctr-1.6",
            Self::Ctr16All => "ctr-1.6 --all",
            Self::Docker => "docker",
            Self::DockerC8d => "docker-c8d",
            Self::Docker20 => "docker-20.10",
            Self::Podman => "podman",
            Self::Skopeo => "skopeo oci",
            Self::SkopeoAll => "skopeo --all",
            Self::SkopeoDocker => "skopeo docker",
            Self::Oras => "oras",
        }
    }

    pub fn on_host(self) -> bool {
        matches!(self, Self::Ctr16 | Self::Ctr16All | Self::Docker20)
    }

    pub fn expected(self, job: &Job) -> Expected {
        if let Some((_, why)) = job.not.iter().find(|(consumer, _)| *consumer == self) {
            return Expected::Not(why);
        }
        let no_docker = job.graph.items.is_empty().then_some(Expected::Not("needs manifest.json"));
        let host = job.common().iter().any(|platform| platform == HOST);
        match self {
            Self::CtrAll | Self::Ctr16All if !job.complete() => Expected::Refuses(NOT_FOUND),
            Self::Ctr | Self::Ctr16 if job.common().is_empty() => {
                Expected::Not("is asked for one platform")
            }
            Self::Docker | Self::Docker20 | Self::SkopeoDocker => {
                no_docker.unwrap_or(Expected::Loads)
            }
            // One descriptor: the layout is read, and if that fails or there are several, manifest.json.
            Self::Podman if !job.graph.items.is_empty() => Expected::Loads,
            Self::Podman if job.descriptors() != 1 => Expected::Not("takes one image only"),
            Self::Podman if job.graph.images[0].index && !host => Expected::Refuses(NO_INSTANCE),
            Self::Skopeo | Self::SkopeoAll | Self::Oras if !job.oci() => {
                Expected::Not("needs index.json")
            }
            Self::SkopeoAll if !job.complete() => Expected::Refuses(NO_SUCH_FILE),
            Self::Oras if !job.complete() => Expected::Refuses(ORAS),
            _ => Expected::Loads,
        }
    }

    /// Loads the archive into an empty store and compares what is there with what was to be there.
    pub fn load(self, peers: &Peers, job: &Job) -> Result<(), String> {
        let (inside, outside) = (peers.inside(&job.path), job.path.to_string_lossy());
        let chroot = |tool: &[&str], words: &[&str]| peers.run(&[tool, words].concat());
        let host = |tool: &[&str], words: &[&str]| peers.host_run(&[tool, words].concat());
        match self {
            Self::Ctr => ctr_each(&|words| chroot(&CTR, words), &inside, job),
            Self::CtrAll => ctr_all(&|words| chroot(&CTR, words), &inside, job),
            Self::Ctr16 => ctr_each(&|words| host(&["ctr"], words), &outside, job),
            Self::Ctr16All => ctr_all(&|words| host(&["ctr"], words), &outside, job),
            Self::Docker => docker(&|words| chroot(&DOCKER_CLASSIC, words), &inside, job),
            Self::Docker20 => docker(&|words| host(&["docker"], words), &outside, job),
            Self::DockerC8d => docker_c8d(&|words| chroot(&DOCKER_C8D, words), peers, job),
            Self::Podman => podman(peers, job),
            Self::Skopeo => skopeo(peers, job),
            Self::SkopeoAll => skopeo_all(peers, job),
            Self::SkopeoDocker => skopeo_docker(peers, job),
            Self::Oras => oras(peers, job),
        }
    }
}

/// A tool that is given the rest of its command line.
pub type Run<'a> = dyn Fn(&[&str]) -> Result<Vec<u8>, String> + 'a;

/// Names, and what each leads to.
type Store = BTreeMap<String, (String, Vec<String>)>;

fn compare(expected: &Store, found: &Store) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("loaded {found:#?}, not {expected:#?}")) }
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

fn words(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes)
        .map_err(|error| format!("{error} in {}", String::from_utf8_lossy(bytes)))
}

fn layers_of(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().into_iter().flatten();
    layers.map(|layer| text(&layer["digest"])).collect()
}

fn text_error(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A folder of the shared room that is gone when this is.
fn folder(peers: &Peers, prefix: &str) -> Result<tempfile::TempDir, String> {
    tempfile::Builder::new().prefix(prefix).tempdir_in(peers.room()).map_err(text_error)
}

// ---- containerd -------------------------------------------------------------------------------

/// One import for each platform that all images have, the host's by default. Each is unpacked.
fn ctr_each(plain: &Run, path: &str, job: &Job) -> Result<(), String> {
    for platform in job.common() {
        let flags = ["--platform", &platform];
        let flags = if platform == HOST { &[][..] } else { &flags };
        import(plain, path, job, flags, std::slice::from_ref(&platform))
            .map_err(|error| format!("{platform}: {error}"))?;
    }
    Ok(())
}

fn ctr_all(plain: &Run, path: &str, job: &Job) -> Result<(), String> {
    let all = job.wanted.iter().flat_map(|image| &image.manifests);
    let all: Vec<_> = all.map(|manifest| manifest.platform.clone()).collect();
    let host = job.wanted.iter().all(|image| image.platforms().any(|m| m.platform == HOST));
    // It unpacks what runs on this machine, and fails where there is no such thing.
    let flags: &[&str] =
        if host { &["--all-platforms"] } else { &["--all-platforms", "--no-unpack"] };
    import(plain, path, job, flags, &all)
}

/// Imports into a namespace of its own, which must then hold the names and the blobs of these platforms.
fn import(
    plain: &Run,
    path: &str,
    job: &Job,
    flags: &[&str],
    platforms: &[String],
) -> Result<(), String> {
    let all = if flags.contains(&"--all-platforms") { "all" } else { "own" };
    let space = format!("ocitar-export-{all}-{}", std::process::id());
    let ctr = |words: &[&str]| plain(&[&["-n", space.as_str()], words].concat());
    let result = ctr(&[&["images", "import"], flags, &[path]].concat())
        .and_then(|_| imported(&ctr, job, platforms));
    let names = lines(&ctr(&["images", "ls", "-q"])?);
    if !names.is_empty() {
        ctr(&[&["images", "rm", "--sync"], &words(&names)[..]].concat())?;
    }
    // Blobs that no image uses stay until the garbage collector runs, and may be gone when it is their turn.
    let left = lines(&ctr(&["content", "ls", "-q"])?);
    if !left.is_empty() {
        let _ = ctr(&[&["content", "rm"], &words(&left)[..]].concat());
    }
    let _ = plain(&["namespaces", "rm", &space]);
    result
}

fn imported(ctr: &Run, job: &Job, platforms: &[String]) -> Result<(), String> {
    let mut found = Store::new();
    for line in lines(&ctr(&["images", "ls"])?).iter().skip(1) {
        let mut columns = line.split_whitespace();
        let (Some(name), Some(digest)) = (columns.next(), columns.nth(1)) else {
            continue;
        };
        let id = if job.oci() { digest.to_owned() } else { config_of(ctr, digest)? };
        found.insert(name.to_owned(), (id, Vec::new()));
    }
    compare(&targets(job), &found)?;
    let present: BTreeSet<_> = lines(&ctr(&["content", "ls", "-q"])?).into_iter().collect();
    let chosen = |manifest: &&Manifest| platforms.contains(&manifest.platform);
    let manifests = job.wanted.iter().flat_map(|image| &image.manifests).filter(chosen);
    // Of an archive without manifests containerd makes them.
    let mut blobs = manifests.filter(|_| job.oci()).flat_map(Manifest::blobs);
    match blobs.find(|blob| !blob.is_empty() && !present.contains(*blob)) {
        Some(blob) => Err(format!("{blob} is not in the content store")),
        None => Ok(()),
    }
}

/// The config digest of a manifest in the content store.
fn config_of(ctr: &Run, manifest: &str) -> Result<String, String> {
    Ok(text(&json(&ctr(&["content", "get", manifest])?)?["config"]["digest"]))
}

/// What a store of manifests knows: targets of index.json, else configs.
fn targets(job: &Job) -> Store {
    let mut store = Store::new();
    for image in &job.graph.images {
        store.extend(
            image.names.iter().map(|name| (name.clone(), (image.target.clone(), Vec::new()))),
        );
    }
    if !job.oci() {
        for (name, (id, _)) in configs(job) {
            store.insert(name, (id, Vec::new()));
        }
    }
    store
}

// ---- docker -----------------------------------------------------------------------------------

fn docker_ids(docker: &Run) -> Result<Vec<String>, String> {
    let ids: BTreeSet<_> =
        lines(&docker(&["image", "ls", "-aq", "--no-trunc"])?).into_iter().collect();
    Ok(ids.into_iter().collect())
}

fn docker_empty(docker: &Run) -> Result<(), String> {
    for _ in 0..3 {
        let ids = docker_ids(docker)?;
        if ids.is_empty() {
            return Ok(());
        }
        // Removing a child removes its untagged parents, so some ids may be gone when their turn comes.
        let _ = docker(&[&["image", "rm", "-f"], &words(&ids)[..]].concat());
    }
    Err(format!("the store still holds {:?}", docker_ids(docker)?))
}

/// What `docker image inspect` and `podman image inspect` print.
fn inspected(bytes: &[u8]) -> Result<Store, String> {
    let mut store = Store::new();
    for image in json(bytes)?.as_array().into_iter().flatten() {
        let id = format!("sha256:{}", text(&image["Id"]).trim_start_matches("sha256:"));
        for name in texts(&image["RepoTags"]) {
            store.insert(canonical(&name), (id.clone(), texts(&image["RootFS"]["Layers"])));
        }
    }
    Ok(store)
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

/// What manifest.json has to lead to, as the archives before say.
fn configs(job: &Job) -> Store {
    let mut store = Store::new();
    for image in &job.wanted {
        if let Some(item) = &image.docker {
            let value = (item.config.clone(), item.diff_ids.clone());
            store.extend(image.names.iter().map(|name| (name.clone(), value.clone())));
        }
    }
    store
}

fn docker(docker: &Run, path: &str, job: &Job) -> Result<(), String> {
    let found = docker_load(docker, path)?;
    compare(&configs(job), &found)?;
    docker_empty(docker)
}

/// The containers that are made unpack each platform, which compares layers with diff IDs.
fn docker_c8d(docker: &Run, peers: &Peers, job: &Job) -> Result<(), String> {
    let ctr = |words: &[&str]| peers.run(&[&CTR[..], &["-n", "moby"], words].concat());
    let mut found = docker_load(docker, &peers.inside(&job.path))?;
    for (id, layers) in found.values_mut() {
        layers.clear();
        if !job.oci() {
            *id = config_of(&ctr, id)?;
        }
    }
    compare(&targets(job), &found)?;
    let present: BTreeSet<_> = lines(&ctr(&["content", "ls", "-q"])?).into_iter().collect();
    if let Some(blob) =
        job.graph.reachable().iter().find(|blob| job.oci() && !present.contains(*blob))
    {
        return Err(format!("{blob} is not in the content store"));
    }
    for image in &job.wanted {
        for (name, manifest) in
            image.names.iter().flat_map(|n| image.platforms().map(move |m| (n, m)))
        {
            let create =
                ["create", "--pull", "never", "--platform", &manifest.platform, name, "/none"];
            let container = docker(&create).map_err(|error| format!("{create:?}: {error}"))?;
            docker(&["rm", String::from_utf8_lossy(&container).trim()])?;
        }
    }
    docker_empty(docker)
}

// ---- podman, skopeo, oras -----------------------------------------------------------------------

const PODMAN: &str = r#"set -e
home=$1
podman() { command podman --root "$home/root" --runroot "$home/run" --storage-driver vfs "$@"; }
podman load -q -i "$2" >&2
podman image inspect $(podman images -aq --no-trunc | sort -u)"#;

fn podman(peers: &Peers, job: &Job) -> Result<(), String> {
    let home = folder(peers, "podman-")?;
    let (home, path) = (peers.inside(home.path()), peers.inside(&job.path));
    let quiet = "PODMAN_IGNORE_CGROUPSV1_WARNING=1";
    let found = peers.run(&["env", quiet, "sh", "-c", PODMAN, "sh", &home, &path])?;
    let one = (job.descriptors() == 1).then(|| &job.graph.images[0]);
    let instance = one.and_then(|image| {
        let wanted = job.of(image);
        // A manifest is taken as it is, of an index the one for this machine.
        wanted.platforms().find(|manifest| !image.index || manifest.platform == HOST)
    });
    let expected = match (one, instance) {
        (Some(image), Some(manifest)) => {
            let value = (manifest.config.clone(), manifest.diff_ids.clone());
            image.names.iter().map(|name| (name.clone(), value.clone())).collect()
        }
        _ => items(job),
    };
    compare(&expected, &inspected(&found)?)
}

/// What podman makes of manifest.json: a name without a host becomes one of its own.
fn items(job: &Job) -> Store {
    let configs = configs(job);
    let mut store = Store::new();
    for item in &job.graph.items {
        for (name, spelled) in item.names.iter().zip(&item.spelled) {
            let own =
                if name == spelled { spelled.clone() } else { format!("localhost/{spelled}") };
            store.extend(configs.get(name).map(|value| (own, value.clone())));
        }
    }
    store
}

fn run_skopeo(peers: &Peers, words: &[&str]) -> Result<Vec<u8>, String> {
    peers.run(&[&["skopeo", "--insecure-policy"], words].concat())
}

fn oci_source(peers: &Peers, job: &Job, reference: Option<&String>) -> String {
    let end = reference.map(|reference| format!(":{reference}")).unwrap_or_default();
    format!("oci-archive:{}{end}", peers.inside(&job.path))
}

fn skopeo(peers: &Peers, job: &Job) -> Result<(), String> {
    for (image, reference) in job.references() {
        let source = oci_source(peers, job, reference);
        for manifest in job.of(image).platforms() {
            let mut parts = manifest.platform.split('/');
            let mut part = || parts.next().unwrap_or_default();
            let (os, architecture, variant) = (part(), part(), part());
            let overrides = [
                "--override-os",
                os,
                "--override-arch",
                architecture,
                "--override-variant",
                variant,
            ];
            let says = |error| format!("{source} {}: {error}", manifest.platform);
            let inspect = [&overrides[..], &["inspect", "--config", "--raw", &source]].concat();
            let config = run_skopeo(peers, &inspect).map_err(says)?;
            if crate::support::image::sha256(&config) != manifest.config {
                return Err(format!("{source} {} has another config", manifest.platform));
            }
            let target = folder(peers, "dir-")?;
            let to = format!("dir:{}", peers.inside(target.path()));
            run_skopeo(peers, &[&overrides[..], &["copy", "-q", &source, &to]].concat())
                .map_err(says)?;
            let copied = fs::read(target.path().join("manifest.json")).map_err(text_error)?;
            if layers_of(&json(&copied)?) != manifest.layers {
                return Err(format!("{source} {} has other layers", manifest.platform));
            }
        }
    }
    Ok(())
}

/// Whether a folder has these blobs, each in a file of one of these names.
fn copied<'b>(
    job: &Job,
    blobs: impl IntoIterator<Item = &'b String>,
    paths: impl Fn(&str) -> Vec<PathBuf>,
) -> Result<(), String> {
    for blob in blobs {
        let hex = blob.trim_start_matches("sha256:");
        let Some(bytes) = paths(hex).iter().find_map(|path| fs::read(path).ok()) else {
            return Err(format!("{blob} was not copied"));
        };
        if Some(bytes) != job.graph.blob(blob) {
            return Err(format!("{blob} was copied with other bytes"));
        }
    }
    Ok(())
}

fn skopeo_all(peers: &Peers, job: &Job) -> Result<(), String> {
    for (image, reference) in job.references() {
        let source = oci_source(peers, job, reference);
        let target = folder(peers, "dir-")?;
        let to = format!("dir:{}", peers.inside(target.path()));
        run_skopeo(peers, &["copy", "-q", "--all", &source, &to])?;
        let root = fs::read(target.path().join("manifest.json")).map_err(text_error)?;
        if Some(root) != job.graph.blob(&image.target) {
            return Err(format!("{source} is another image"));
        }
        let manifests = job.of(image).manifests.iter().filter(|_| image.index);
        copied(job, manifests.flat_map(Manifest::blobs).filter(|blob| !blob.is_empty()), |hex| {
            [hex.to_owned(), format!("{hex}.manifest.json")]
                .map(|name| target.path().join(name))
                .into()
        })?;
    }
    Ok(())
}

fn skopeo_docker(peers: &Peers, job: &Job) -> Result<(), String> {
    for (name, (config, diff_ids)) in configs(job) {
        let source = format!("docker-archive:{}:{name}", peers.inside(&job.path));
        let found = run_skopeo(peers, &["inspect", "--config", "--raw", &source])?;
        if crate::support::image::sha256(found) != config {
            return Err(format!("{name} has another config"));
        }
        let target = folder(peers, "dir-")?;
        let to = format!("dir:{}", peers.inside(target.path()));
        run_skopeo(peers, &["copy", "-q", &source, &to])?;
        let manifest = fs::read(target.path().join("manifest.json")).map_err(text_error)?;
        let layers = layers_of(&json(&manifest)?);
        if layers != diff_ids {
            return Err(format!("{name} has the layers {layers:?}, not {diff_ids:?}"));
        }
    }
    Ok(())
}

fn oras(peers: &Peers, job: &Job) -> Result<(), String> {
    for image in &job.graph.images {
        let unique = |reference: &&String| {
            let same =
                |image: &&Image| image.refs.iter().flatten().any(|other| other == *reference);
            !reference.contains('/') && job.graph.images.iter().filter(same).count() == 1
        };
        let reference = match image.refs.iter().flatten().find(unique) {
            Some(tag) => format!(":{tag}"),
            None => format!("@{}", image.target),
        };
        let source = format!("{}{reference}", peers.inside(&job.path));
        let target = folder(peers, "oras-")?;
        let layout = target.path().join("layout");
        let to = format!("{}:copy", peers.inside(&layout));
        let flags = ["--no-tty", "--from-oci-layout", &source, "--to-oci-layout", &to];
        peers.run(&[&["oras", "cp"], &flags[..]].concat())?;
        let below = job.of(image).manifests.iter().flat_map(Manifest::blobs);
        let blobs = below.filter(|blob| !blob.is_empty()).chain([&image.target]);
        copied(job, blobs, |hex| vec![blob_file(&layout, hex)])?;
    }
    Ok(())
}

fn blob_file(layout: &Path, hex: &str) -> PathBuf {
    layout.join("blobs/sha256").join(hex)
}
