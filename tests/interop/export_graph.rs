//! Images as a graph of digests, and what an archive must hold of them; read without any code of ocitar.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::archive::{Archive, canonical, text, texts};
use crate::support::image::{IMAGE_NAME, REF_NAME, SUBJECT, sha256};

/// One manifest, or one item of manifest.json where there is none.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Empty in the docker view.
    pub digest: String,
    /// `linux/arm/v7`; `unknown/unknown` for an attestation.
    pub platform: String,
    /// The manifest that this one is a statement about.
    pub about: Option<String>,
    pub config: String,
    /// Digests of the layers as they are stored, lowest first.
    pub layers: Vec<String>,
    /// Of the config, lowest first.
    pub diff_ids: Vec<String>,
    /// Whether it is in the archive with its config and layers.
    pub present: bool,
    /// What the index says of it.
    pub descriptor: Value,
}

impl Manifest {
    fn same(&self, other: &Self) -> bool {
        let key = |manifest: &Self| {
            let Manifest { digest, platform, about, config, layers, diff_ids, .. } = manifest;
            (
                digest.clone(),
                platform.clone(),
                about.clone(),
                config.clone(),
                layers.clone(),
                diff_ids.clone(),
            )
        };
        key(self) == key(other)
    }

    /// Itself and what it needs.
    pub fn blobs(&self) -> impl Iterator<Item = &String> {
        [&self.digest, &self.config].into_iter().chain(&self.layers)
    }
}

/// Descriptors of one digest in index.json.
#[derive(Clone, Debug)]
pub struct Image {
    pub names: Vec<String>,
    /// `ref.name` of each descriptor.
    pub refs: Vec<Option<String>>,
    pub target: String,
    /// Whether the target is an index.
    pub index: bool,
    /// In the order of the index, attestations too.
    pub manifests: Vec<Manifest>,
}

/// An item of manifest.json.
#[derive(Clone, Debug)]
pub struct Item {
    pub names: Vec<String>,
    /// The names as they are written.
    pub spelled: Vec<String>,
    pub image: Manifest,
}

/// An unpacked archive.
#[derive(Debug)]
pub struct Graph {
    root: PathBuf,
    pub images: Vec<Image>,
    pub items: Vec<Item>,
    /// Unnamed manifests with a subject.
    pub referrers: Vec<Manifest>,
}

impl Graph {
    /// Unpacks `path` into `room`, a folder that is not there yet.
    pub fn open(path: &Path, room: &Path) -> Result<Self, String> {
        Archive::open(path, room)?;
        let mut graph = Self {
            root: room.to_owned(),
            images: Vec::new(),
            items: Vec::new(),
            referrers: Vec::new(),
        };
        if let Ok(index) = graph.json("index.json") {
            for descriptor in index["manifests"].as_array().into_iter().flatten() {
                graph.descriptor(descriptor)?;
            }
        }
        if let Ok(items) = graph.json("manifest.json") {
            for item in items.as_array().into_iter().flatten() {
                graph.item(item)?;
            }
        }
        Ok(graph)
    }

    fn json(&self, path: &str) -> Result<Value, String> {
        let bytes = fs::read(self.root.join(path)).map_err(|error| format!("{path}: {error}"))?;
        serde_json::from_slice(&bytes).map_err(|error| format!("{path}: {error}"))
    }

    /// A blob by its digest; of a config of the docker view too.
    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        let hex = digest.trim_start_matches("sha256:");
        [format!("blobs/sha256/{hex}"), format!("{hex}.json")]
            .iter()
            .find_map(|path| fs::read(self.root.join(path)).ok())
    }

    fn document(&self, digest: &str) -> Option<Value> {
        serde_json::from_slice(&self.blob(digest)?).ok()
    }

    fn descriptor(&mut self, descriptor: &Value) -> Result<(), String> {
        let digest = text(&descriptor["digest"]);
        let annotations = &descriptor["annotations"];
        let reference = annotations[REF_NAME].as_str();
        let name = annotations[IMAGE_NAME].as_str().or(reference.filter(|r| r.contains('/')));
        let document = self.document(&digest).ok_or_else(|| format!("no {digest}"))?;
        if annotations[SUBJECT].is_string()
            || name.is_none() && reference.is_none() && document["subject"].is_object()
        {
            let mut manifests = Vec::new();
            self.walk(descriptor, &mut manifests);
            self.referrers.extend(manifests);
            return Ok(());
        }
        let names = name.map(canonical);
        let reference = reference.map(str::to_owned);
        if let Some(image) = self.images.iter_mut().find(|image| image.target == digest) {
            image.names.extend(names);
            image.names.sort();
            image.refs.push(reference);
            return Ok(());
        }
        let mut manifests = Vec::new();
        self.walk(descriptor, &mut manifests);
        self.images.push(Image {
            names: names.into_iter().collect(),
            refs: vec![reference],
            target: digest,
            index: document["manifests"].is_array(),
            manifests,
        });
        Ok(())
    }

    /// Every manifest below a descriptor, absent ones too.
    fn walk(&self, descriptor: &Value, found: &mut Vec<Manifest>) {
        let digest = text(&descriptor["digest"]);
        let document = self.document(&digest);
        let value = document.clone().unwrap_or_default();
        if let Some(children) = value["manifests"].as_array() {
            children.iter().for_each(|child| self.walk(child, found));
            return;
        }
        let config = text(&value["config"]["digest"]);
        let layers: Vec<_> = value["layers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|layer| text(&layer["digest"]))
            .collect();
        let content = self.document(&config).unwrap_or_default();
        let said = &descriptor["annotations"]["vnd.docker.reference.digest"];
        let about = said.as_str().or(value["subject"]["digest"].as_str()).map(str::to_owned);
        let named = if descriptor["platform"].is_object() {
            platform(&descriptor["platform"])
        } else {
            platform(&content)
        };
        let present = document.is_some()
            && [&config].into_iter().chain(&layers).all(|digest| self.blob(digest).is_some());
        found.push(Manifest {
            platform: if about.is_some() { "unknown/unknown".to_owned() } else { named },
            about,
            diff_ids: texts(&content["rootfs"]["diff_ids"]),
            digest,
            config,
            layers,
            present,
            descriptor: descriptor.clone(),
        });
    }

    fn item(&mut self, item: &Value) -> Result<(), String> {
        let read =
            |path: &str| fs::read(self.root.join(path)).map_err(|error| format!("{path}: {error}"));
        let bytes = read(&text(&item["Config"]))?;
        let config: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        let layers: Vec<_> =
            texts(&item["Layers"]).iter().map(|path| read(path).map(sha256)).collect();
        let spelled = texts(&item["RepoTags"]);
        let names = spelled.iter().map(|name| canonical(name)).collect();
        let image = Manifest {
            digest: String::new(),
            platform: platform(&config),
            about: None,
            config: sha256(&bytes),
            layers: layers.into_iter().collect::<Result<_, _>>()?,
            diff_ids: texts(&config["rootfs"]["diff_ids"]),
            present: true,
            descriptor: Value::Null,
        };
        self.items.push(Item { names, spelled, image });
        Ok(())
    }

    /// Everything of this archive, to be found in another one.
    pub fn wanted(&self) -> Vec<Wanted> {
        let of_item = |item: &Item| Wanted {
            names: item.names.clone(),
            manifests: vec![item.image.clone()],
            target: Target::Any,
            docker: Some(item.image.clone()),
        };
        if self.images.is_empty() {
            return self.items.iter().map(of_item).collect();
        }
        let of_image = |image: &Image| Wanted {
            names: image.names.clone(),
            manifests: image
                .manifests
                .iter()
                .filter(|manifest| manifest.present)
                .cloned()
                .collect(),
            target: Target::Same(image.target.clone()),
            docker: self
                .items
                .iter()
                .find(|item| image.manifests.iter().any(|m| m.config == item.image.config))
                .map(|item| item.image.clone()),
        };
        self.images.iter().map(of_image).collect()
    }

    /// Whether an index promises what is not there.
    pub fn sparse(&self) -> bool {
        self.images.iter().flat_map(|image| &image.manifests).any(|manifest| !manifest.present)
    }

    /// The digests of all files below `blobs`, which have to be those of their bytes.
    fn files(&self) -> Result<BTreeSet<String>, String> {
        let Ok(entries) = fs::read_dir(self.root.join("blobs/sha256")) else {
            return Ok(BTreeSet::new());
        };
        let mut found = BTreeSet::new();
        for entry in entries {
            let entry = entry.map_err(|error| error.to_string())?;
            let named = format!("sha256:{}", entry.file_name().to_string_lossy());
            let digest = sha256(fs::read(entry.path()).map_err(|error| error.to_string())?);
            if named != digest {
                return Err(format!("the blob {named} hashes to {digest}"));
            }
            found.insert(digest);
        }
        Ok(found)
    }

    /// Every blob that a name leads to and that is there.
    pub fn reachable(&self) -> BTreeSet<String> {
        let manifests = self.images.iter().flat_map(|image| &image.manifests);
        let below = manifests
            .chain(&self.referrers)
            .flat_map(Manifest::blobs)
            .filter(|blob| self.blob(blob).is_some());
        let targets = self.images.iter().map(|image| &image.target);
        let items = self
            .items
            .iter()
            .flat_map(|item| [&item.image.config].into_iter().chain(&item.image.layers));
        below.chain(targets).chain(items).filter(|blob| !blob.is_empty()).cloned().collect()
    }

    /// Fails unless this archive holds these images, those alone, and nothing that no name leads to.
    pub fn holds(&self, wanted: &[Wanted]) -> Result<(), String> {
        let mut names: BTreeMap<&String, &Wanted> = BTreeMap::new();
        for image in wanted {
            names.extend(image.names.iter().map(|name| (name, image)));
        }
        let oci = !self.images.is_empty();
        if oci {
            same_names(&names, self.images.iter().flat_map(|image| &image.names), "index.json")?;
        }
        for image in &self.images {
            let Some(wanted) = image.names.first().and_then(|name| names.get(name)) else {
                return Err(format!("{} has no name", image.target));
            };
            self.image(image, wanted).map_err(|error| format!("{:?}: {error}", image.names))?;
        }
        let docker: BTreeMap<_, _> =
            names.into_iter().filter(|(_, image)| image.docker.is_some()).collect();
        same_names(&docker, self.items.iter().flat_map(|item| &item.names), "manifest.json")?;
        for item in &self.items {
            let expected = item.names.first().and_then(|name| docker.get(name)?.docker.as_ref());
            let expected = expected.ok_or("an item of manifest.json has no name")?;
            let (is, was) = (&item.image, expected);
            if (&is.config, &is.diff_ids, &is.layers) != (&was.config, &was.diff_ids, &was.layers) {
                return Err(format!(
                    "manifest.json has {is:#?} for {:?}, not {was:#?}",
                    item.names
                ));
            }
        }
        let (files, reachable) = (self.files()?, self.reachable());
        match files.difference(&reachable).next() {
            Some(blob) => Err(format!("nothing leads to {blob}")),
            None => Ok(()),
        }
    }

    fn image(&self, image: &Image, wanted: &Wanted) -> Result<(), String> {
        let found: Vec<_> = image.manifests.iter().filter(|manifest| manifest.present).collect();
        let from_docker = wanted.manifests.iter().any(|manifest| manifest.digest.is_empty());
        let same = |(is, was): (&&Manifest, &Manifest)| {
            let was = match from_docker {
                // It had no manifest: the platform is the config's.
                true => Manifest { digest: is.digest.clone(), ..was.clone() },
                false => was.clone(),
            };
            is.same(&was)
        };
        if found.len() != wanted.manifests.len() || !found.iter().zip(&wanted.manifests).all(same) {
            return Err(format!("holds {found:#?}, not {:#?}", wanted.manifests));
        }
        let absent = image.manifests.len() - found.len();
        match &wanted.target {
            Target::Same(digest) if image.target != *digest => {
                return Err(format!("the target is {}, not {digest}", image.target));
            }
            Target::New(digest) if image.target == *digest || !image.index || absent > 0 => {
                return Err(format!("the index {} is not a true one", image.target));
            }
            Target::One if image.index || image.target != found[0].digest => {
                return Err(format!("the target {} is not the manifest", image.target));
            }
            Target::New(_) => {
                let changed = found
                    .iter()
                    .zip(&wanted.manifests)
                    .find(|(is, was)| !from_docker && is.descriptor != was.descriptor);
                if let Some((is, was)) = changed {
                    let (is, was) = (&is.descriptor, &was.descriptor);
                    return Err(format!("the index says {is} where it said {was}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn same_names<'n>(
    wanted: &BTreeMap<&String, &Wanted>,
    found: impl Iterator<Item = &'n String>,
    file: &str,
) -> Result<(), String> {
    let found: Vec<_> = found.collect();
    let once: BTreeSet<_> = found.iter().copied().collect();
    let wanted: BTreeSet<_> = wanted.keys().copied().collect();
    if once.len() == found.len() && once == wanted {
        Ok(())
    } else {
        Err(format!("{file} names {found:?}, not {wanted:?}"))
    }
}

/// What index.json has to lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This digest, the one it was before.
    Same(String),
    /// An index that promises what is there, with another digest than this.
    New(String),
    /// The one manifest itself.
    One,
    /// There was none before.
    Any,
}

/// An image that an archive has to hold.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Canonical.
    pub names: Vec<String>,
    /// In order, as they were in the archive they come from; attestations too.
    pub manifests: Vec<Manifest>,
    pub target: Target,
    /// What manifest.json has for it.
    pub docker: Option<Manifest>,
}

impl Wanted {
    /// Without attestations.
    pub fn platforms(&self) -> impl Iterator<Item = &Manifest> {
        self.manifests.iter().filter(|manifest| manifest.about.is_none())
    }

    /// Only these platforms and, if asked for, what is attested of them.
    pub fn keep(mut self, platforms: &[String], attested: bool) -> Self {
        let kept: BTreeSet<_> = self
            .platforms()
            .filter(|manifest| platforms.contains(&manifest.platform))
            .map(|manifest| manifest.digest.clone())
            .collect();
        self.manifests.retain(|manifest| match &manifest.about {
            Some(about) => attested && kept.contains(about),
            None => platforms.contains(&manifest.platform),
        });
        self
    }

    /// manifest.json holds this platform of it.
    pub fn docker(mut self, platform: Option<&str>) -> Self {
        self.docker = platform.and_then(|platform| {
            self.platforms().find(|manifest| manifest.platform == platform).cloned()
        });
        self
    }
}

/// `linux/arm/v7` of a descriptor's platform or of a config; the variants that say nothing are left out.
fn platform(value: &Value) -> String {
    let (os, architecture) = (text(&value["os"]), text(&value["architecture"]));
    let variant = text(&value["variant"]);
    let silent = variant.is_empty()
        || matches!((&*architecture, &*variant), ("arm64", "v8") | ("amd64", "v1"));
    if silent { format!("{os}/{architecture}") } else { format!("{os}/{architecture}/{variant}") }
}
