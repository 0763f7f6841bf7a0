//! What is in an archive, read without any code of ocitar: GNU tar unpacks it, `serde_json` reads it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The files that may change when names change.
const CONTROL: [&str; 3] = ["index.json", "manifest.json", "repositories"];

/// One image of one view of an archive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Image {
    /// Canonical names, sorted; empty for an unnamed image.
    pub names: Vec<String>,
    /// What the descriptor in index.json names; `None` in the docker view.
    pub target: Option<String>,
    /// Config digest of the instance for linux/amd64.
    pub config: String,
    /// Diff IDs of that instance, lowest layer first.
    pub layers: Vec<String>,
    /// Every blob below `target` that is in the archive.
    pub blobs: Vec<String>,
    /// Whether every blob below `target` is in the archive.
    pub complete: bool,
    /// Whether the config is no image config.
    pub artifact: bool,
}

/// An unpacked archive, seen as docker sees it and as OCI tools see it.
pub struct Archive {
    root: PathBuf,
    /// Items of manifest.json; those of one config are one image.
    pub docker: Vec<Image>,
    /// Descriptors of index.json; those of one digest are one image.
    pub oci: Vec<Image>,
    /// `ref.name` of every descriptor in index.json, in order, with its digest.
    pub refs: Vec<(Option<String>, String)>,
    /// Names in `repositories`, sorted; `None` without that file.
    pub repositories: Option<Vec<String>>,
}

impl Archive {
    /// Unpacks `path` into `room` (a folder that is not there yet) and reads it. A folder is read where it is.
    pub fn open(path: &Path, room: &Path) -> Result<Self, String> {
        let root = if path.is_dir() {
            path.to_owned()
        } else {
            fs::create_dir_all(room).map_err(|error| error.to_string())?;
            let done = Command::new("tar")
                .args(["--no-same-owner", "-xf"])
                .arg(path)
                .arg("-C")
                .arg(room)
                .output()
                .map_err(|error| error.to_string())?;
            if !done.status.success() {
                return Err(format!("tar: {}", String::from_utf8_lossy(&done.stderr)));
            }
            room.to_owned()
        };
        let mut archive = Self {
            root,
            docker: Vec::new(),
            oci: Vec::new(),
            refs: Vec::new(),
            repositories: None,
        };
        archive.read_docker()?;
        archive.read_oci()?;
        archive.read_repositories()?;
        Ok(archive)
    }

    /// The bytes of a blob, by digest, or of a config of the docker view.
    pub fn blob(&self, digest: &str) -> Result<Vec<u8>, String> {
        let hex = digest.trim_start_matches("sha256:");
        [format!("blobs/sha256/{hex}"), format!("{hex}.json")]
            .iter()
            .find_map(|path| fs::read(self.root.join(path)).ok())
            .ok_or_else(|| format!("no blob {digest}"))
    }

    fn json(&self, path: &str) -> Result<Option<Value>, String> {
        match fs::read(self.root.join(path)) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("{path}: {error}"))
            }
            Err(_) => Ok(None),
        }
    }

    fn read_docker(&mut self) -> Result<(), String> {
        let Some(items) = self.json("manifest.json")? else {
            return Ok(());
        };
        for item in items.as_array().into_iter().flatten() {
            let path = text(&item["Config"]);
            let config = self.json(&path)?.ok_or_else(|| format!("no {path}"))?;
            let hex = path.trim_start_matches("blobs/sha256/").trim_end_matches(".json");
            self.docker.push(Image {
                names: texts(&item["RepoTags"]).iter().map(|name| canonical(name)).collect(),
                target: None,
                config: format!("sha256:{hex}"),
                layers: texts(&config["rootfs"]["diff_ids"]),
                blobs: Vec::new(),
                complete: true,
                artifact: false,
            });
        }
        join(&mut self.docker, |image| image.config.clone());
        Ok(())
    }

    fn read_oci(&mut self) -> Result<(), String> {
        let Some(index) = self.json("index.json")? else {
            return Ok(());
        };
        for descriptor in index["manifests"].as_array().into_iter().flatten() {
            let digest = text(&descriptor["digest"]);
            let annotations = &descriptor["annotations"];
            let reference = annotations["org.opencontainers.image.ref.name"].as_str();
            let name = annotations["io.containerd.image.name"]
                .as_str()
                .or(reference.filter(|name| name.contains('/')));
            self.refs.push((reference.map(str::to_owned), digest.clone()));
            let mut image = Image {
                names: name.map(canonical).into_iter().collect(),
                target: Some(digest.clone()),
                config: String::new(),
                layers: Vec::new(),
                blobs: Vec::new(),
                complete: true,
                artifact: false,
            };
            self.walk(&digest, true, &mut image)?;
            image.blobs.sort();
            image.blobs.dedup();
            self.oci.push(image);
        }
        join(&mut self.oci, |image| image.target.clone().unwrap_or_default());
        Ok(())
    }

    /// Follows descriptors; `host` says whether linux/amd64 can be below this one.
    fn walk(&self, digest: &str, host: bool, image: &mut Image) -> Result<(), String> {
        let Ok(bytes) = self.blob(digest) else {
            image.complete = false;
            return Ok(());
        };
        image.blobs.push(digest.to_owned());
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|error| format!("{digest}: {error}"))?;
        for child in value["manifests"].as_array().into_iter().flatten() {
            let platform = &child["platform"];
            let host = host
                && (platform.is_null()
                    || (platform["os"] == "linux" && platform["architecture"] == "amd64"));
            self.walk(&text(&child["digest"]), host, image)?;
        }
        if !value["config"].is_object() {
            return Ok(());
        }
        for leaf in
            [&value["config"]].into_iter().chain(value["layers"].as_array().into_iter().flatten())
        {
            let digest = text(&leaf["digest"]);
            if self.root.join("blobs/sha256").join(digest.trim_start_matches("sha256:")).exists() {
                image.blobs.push(digest);
            } else {
                image.complete = false;
            }
        }
        if host && image.config.is_empty() {
            image.config = text(&value["config"]["digest"]);
            let config = self
                .blob(&image.config)
                .ok()
                .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            let config = config.unwrap_or_default();
            image.layers = texts(&config["rootfs"]["diff_ids"]);
            image.artifact = config["rootfs"].is_null();
        }
        Ok(())
    }

    fn read_repositories(&mut self) -> Result<(), String> {
        let Some(Value::Object(repositories)) = self.json("repositories")? else {
            return Ok(());
        };
        let mut names = Vec::new();
        for (repository, tags) in &repositories {
            for tag in tags.as_object().into_iter().flat_map(|tags| tags.keys()) {
                names.push(canonical(&format!("{repository}:{tag}")));
            }
        }
        names.sort();
        self.repositories = Some(names);
        Ok(())
    }

    /// Fails unless both hold the same files with the same bytes, control files apart.
    pub fn same_files(&self, other: &Self) -> Result<(), String> {
        let (mine, theirs) = (files(&self.root)?, files(&other.root)?);
        for (path, file) in &mine {
            let Some(twin) = theirs.get(path) else {
                return Err(format!("{path} is gone"));
            };
            let control = CONTROL.contains(&path.as_str());
            if !control
                && fs::read(file).map_err(|e| e.to_string())?
                    != fs::read(twin).map_err(|e| e.to_string())?
            {
                return Err(format!("{path} has other bytes"));
            }
        }
        match theirs.keys().find(|path| !mine.contains_key(*path)) {
            Some(path) => Err(format!("{path} is new")),
            None => Ok(()),
        }
    }
}

/// Every file and link below a folder, by its path inside.
fn files(root: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            let path = entry.path();
            if entry.file_type().map_err(|error| error.to_string())?.is_dir() {
                folders.push(path);
            } else {
                let inside = path.strip_prefix(root).map_err(|error| error.to_string())?;
                found.insert(inside.to_string_lossy().into_owned(), path);
            }
        }
    }
    Ok(found)
}

/// Makes one image of those with equal keys: the first, with the names of all.
fn join(images: &mut Vec<Image>, key: impl Fn(&Image) -> String) {
    let mut joined: Vec<Image> = Vec::new();
    for image in images.drain(..) {
        match joined.iter_mut().find(|other| key(other) == key(&image)) {
            Some(other) => other.names.extend(image.names),
            None => joined.push(image),
        }
    }
    for image in &mut joined {
        image.names.sort();
        image.names.dedup();
    }
    *images = joined;
}

/// `app:1.0` is `docker.io/library/app:1.0`. Only for names that tools wrote: it checks nothing.
pub fn canonical(name: &str) -> String {
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}
