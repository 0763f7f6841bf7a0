//! An archive as a reader sees it that shares nothing with ocitar.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::support::image::{IMAGE_NAME, REF_NAME, blob_path, sha256, sha512};

/// The members of an archive, and the files by name.
pub struct Seen {
    pub members: Vec<Header>,
    pub files: BTreeMap<String, Vec<u8>>,
    bytes: Vec<u8>,
}

/// What stands in a header.
#[derive(Debug)]
pub struct Header {
    pub name: String,
    kind: u8,
    mode: u32,
    mtime: u64,
    owners: (u64, u64),
    names: (Vec<u8>, Vec<u8>),
    is_ustar: bool,
}

/// One manifest below a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub digest: String,
    /// From the descriptor, else from the configuration; without arm64's `v8`.
    pub platform: String,
    /// What it is about; for BuildKit's attestations.
    pub about: Option<String>,
    pub is_attestation: bool,
    /// Whether manifest, configuration and layers are there.
    pub is_complete: bool,
}

impl Seen {
    pub fn at(path: &Path) -> Seen {
        Seen::of(std::fs::read(path).unwrap())
    }

    pub fn of(bytes: Vec<u8>) -> Seen {
        let (mut members, mut files) = (Vec::new(), BTreeMap::new());
        let mut archive = tar::Archive::new(&bytes[..]);
        // Raw: a pax header is a member like any other.
        for entry in archive.entries().unwrap().raw(true) {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let mut body = Vec::new();
            entry.read_to_end(&mut body).unwrap();
            let part = |bytes: Option<&[u8]>| bytes.unwrap_or_default().to_vec();
            members.push(Header {
                kind: header.entry_type().as_byte(),
                mode: header.mode().unwrap(),
                mtime: header.mtime().unwrap(),
                owners: (header.uid().unwrap(), header.gid().unwrap()),
                names: (part(header.username_bytes()), part(header.groupname_bytes())),
                is_ustar: header.as_ustar().is_some(),
                name: name.clone(),
            });
            files.insert(name, body);
        }
        Seen { members, files, bytes }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Fails unless the archive is canonical: ustar, files and directories only, owner 0, one time, the blobs sorted
    /// and each the bytes of its name, then the control files, two zero blocks, and nothing twice.
    #[track_caller]
    pub fn assert_canonical(&self, mtime: u64) {
        for header in &self.members {
            assert!(header.is_ustar, "{header:?}");
            assert_eq!(header.owners, (0, 0), "{header:?}");
            assert_eq!(header.names, (Vec::new(), Vec::new()), "{header:?}");
            assert_eq!(header.mtime, mtime, "{header:?}");
            let mode = match header.kind {
                b'5' => 0o755,
                b'0' => 0o644,
                _ => panic!("{header:?}"),
            };
            assert_eq!(header.mode, mode, "{header:?}");
        }
        let names: Vec<&str> = self.members.iter().map(|member| &*member.name).collect();
        let (blobs, controls): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| name.starts_with("blobs/"));
        assert_eq!(names, [&blobs[..], &controls[..]].concat(), "the control files come last");
        assert!(blobs.is_sorted() && controls.is_sorted(), "{names:?}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        let known = ["index.json", "manifest.json", "oci-layout"];
        assert!(controls.iter().all(|name| known.contains(name)), "{controls:?}");
        for (path, body) in &self.files {
            if let Some(name) = path.strip_prefix("blobs/").filter(|_| !path.ends_with('/')) {
                let digest = if name.starts_with("sha512") { sha512(body) } else { sha256(body) };
                assert_eq!(digest, name.replace('/', ":"));
            }
        }
        let padded: usize = self.files.values().map(|body| body.len().next_multiple_of(512)).sum();
        assert_eq!(self.bytes.len(), padded + 512 * self.members.len() + 1024);
        assert!(self.bytes.ends_with(&[0; 1024]));
    }

    /// Fails unless every descriptor leads to a blob of its size, and every blob is led to.
    #[track_caller]
    pub fn assert_sound(&self) {
        assert_eq!(self.dangling(), Vec::<String>::new());
        let blobs = self.files.keys().filter(|name| name.starts_with("blobs/"));
        let blobs: BTreeSet<String> = blobs.filter(|name| !name.ends_with('/')).cloned().collect();
        assert_eq!(blobs, self.reached());
    }

    fn json(&self, name: &str) -> Option<Value> {
        Some(serde_json::from_slice(self.files.get(name)?).unwrap())
    }

    /// The blob of a digest.
    pub fn blob(&self, digest: &str) -> Option<&[u8]> {
        self.files.get(&blob_path(digest)).map(Vec::as_slice)
    }

    /// The document of a digest.
    pub fn doc(&self, digest: &str) -> Option<Value> {
        serde_json::from_slice(self.blob(digest)?).ok()
    }

    /// The descriptors of `index.json`.
    pub fn tops(&self) -> Vec<Value> {
        let index = self.json("index.json");
        index.and_then(|index| index["manifests"].as_array().cloned()).unwrap_or_default()
    }

    /// The items of `manifest.json`.
    pub fn items(&self) -> Vec<Value> {
        let items = self.json("manifest.json");
        items.and_then(|items| items.as_array().cloned()).unwrap_or_default()
    }

    /// Full names in the OCI view, sorted.
    pub fn oci_names(&self) -> Vec<String> {
        let tops = self.tops();
        let mut names: Vec<String> = tops.iter().filter_map(name_of).collect();
        names.sort();
        names
    }

    /// Names in the docker view, sorted.
    pub fn tags(&self) -> Vec<String> {
        let items = self.items();
        let tags = items.iter().flat_map(|item| item["RepoTags"].as_array().unwrap().clone());
        let mut tags: Vec<String> = tags.map(|tag| tag.as_str().unwrap().to_owned()).collect();
        tags.sort();
        tags
    }

    /// The digest a name leads to in the OCI view.
    pub fn named(&self, name: &str) -> Option<String> {
        let tops = self.tops();
        let top = tops.iter().find(|top| name_of(top).as_deref() == Some(name))?;
        Some(digest(top).to_owned())
    }

    /// The digests `index.json` leads to, sorted, each once.
    pub fn roots(&self) -> Vec<String> {
        let roots: BTreeSet<String> =
            self.tops().iter().map(|top| digest(top).to_owned()).collect();
        roots.into_iter().collect()
    }

    /// The image IDs of the docker view: configurations, sorted.
    pub fn ids(&self) -> Vec<String> {
        let path = |item: &Value| item["Config"].as_str().unwrap().to_owned();
        let mut ids: Vec<String> =
            self.items().iter().map(|item| sha256(&self.files[&path(item)])).collect();
        ids.sort();
        ids
    }

    /// The manifests below a digest, in index order, each once.
    pub fn leaves(&self, root: &str) -> Vec<Leaf> {
        let mut leaves: Vec<Leaf> = Vec::new();
        let mut stack = vec![serde_json::json!({ "digest": root })];
        let mut seen = BTreeSet::new();
        while let Some(descriptor) = stack.pop() {
            if !seen.insert(digest(&descriptor).to_owned()) {
                continue;
            }
            match self.doc(digest(&descriptor)) {
                Some(doc) if doc["manifests"].is_array() => {
                    stack.extend(doc["manifests"].as_array().unwrap().iter().rev().cloned());
                }
                doc => leaves.push(self.leaf(&descriptor, doc)),
            }
        }
        leaves
    }

    fn leaf(&self, descriptor: &Value, doc: Option<Value>) -> Leaf {
        let notes = &descriptor["annotations"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let is_attestation = notes["vnd.docker.reference.type"].is_string();
        let config = doc.as_ref().and_then(|doc| self.doc(doc["config"]["digest"].as_str()?));
        let platform = match &descriptor["platform"] {
            Value::Object(_) => platform_of(&descriptor["platform"]),
            _ => config.as_ref().map(platform_of).unwrap_or_default(),
        };
        let is_complete = doc.as_ref().is_some_and(|doc| {
            let mut all = doc["layers"].as_array().unwrap().iter().chain([&doc["config"]]);
            all.all(|blob| self.blob(digest(blob)).is_some() || blob["urls"].is_array())
        });
        Leaf {
            digest: digest(descriptor).to_owned(),
            platform,
            about: text(&notes["vnd.docker.reference.digest"]),
            is_attestation,
            is_complete,
        }
    }

    /// The platforms below a name that are there, in index order.
    pub fn platforms(&self, name: &str) -> Vec<String> {
        let root = self.named(name).unwrap_or_else(|| panic!("{name}: {:?}", self.oci_names()));
        let there = self.leaves(&root).into_iter().filter(|leaf| leaf.is_complete);
        there.filter(|leaf| !leaf.is_attestation).map(|leaf| leaf.platform).collect()
    }

    /// Descriptors that lead nowhere, or to something of another size.
    pub fn dangling(&self) -> Vec<String> {
        let mut bad = Vec::new();
        self.visit(&mut |descriptor, found| match found {
            None if descriptor["urls"].is_array() => {}
            Some(body) if descriptor["size"].as_u64() == Some(body.len() as u64) => {}
            _ => bad.push(descriptor.to_string()),
        });
        for item in self.items() {
            let layers = item["Layers"].as_array().unwrap();
            let paths = layers.iter().chain([&item["Config"]]).map(|path| path.as_str().unwrap());
            bad.extend(
                paths.filter(|path| !self.files.contains_key(*path)).map(|path| path.to_owned()),
            );
        }
        bad
    }

    /// The paths of the blobs that something leads to.
    pub fn reached(&self) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        self.visit(&mut |descriptor, found| {
            if found.is_some() {
                reached.insert(blob_path(digest(descriptor)));
            }
        });
        for item in self.items() {
            let layers = item["Layers"].as_array().unwrap();
            let paths = layers.iter().chain([&item["Config"]]);
            reached.extend(paths.map(|path| path.as_str().unwrap().to_owned()));
        }
        reached
    }

    /// Every descriptor of the OCI view with its blob.
    fn visit(&self, visit: &mut dyn FnMut(&Value, Option<&[u8]>)) {
        let mut stack = self.tops();
        let mut seen = BTreeSet::new();
        while let Some(descriptor) = stack.pop() {
            let found = self.blob(digest(&descriptor));
            visit(&descriptor, found);
            let kind = descriptor["mediaType"].as_str().unwrap_or_default();
            let is_document =
                kind.contains("manifest") || kind.contains("index") || kind.is_empty();
            if !is_document || !seen.insert(digest(&descriptor).to_owned()) {
                continue;
            }
            let Some(doc) = self.doc(digest(&descriptor)) else { continue };
            for list in [&doc["manifests"], &doc["layers"]] {
                stack.extend(list.as_array().into_iter().flatten().cloned());
            }
            stack.extend(doc.get("config").cloned());
        }
    }
}

/// The digest in a descriptor.
pub fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

/// The full name of a top-level descriptor.
fn name_of(top: &Value) -> Option<String> {
    let notes = &top["annotations"];
    let full = |text: &&str| text.contains('/');
    let name = notes[IMAGE_NAME].as_str().or_else(|| notes[REF_NAME].as_str().filter(full))?;
    Some(name.to_owned())
}

fn platform_of(object: &Value) -> String {
    let parts = ["os", "architecture", "variant"].map(|key| object[key].as_str().unwrap_or(""));
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("/").replace("arm64/v8", "arm64")
}
