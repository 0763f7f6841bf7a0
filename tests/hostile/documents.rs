//! What ocitar takes from a JSON document, and what Go's `encoding/json` takes from it into the fields importers act on.
//!
//! A document is put into an archive where ocitar reads it, with every digest right, and is read through the public
//! API; Go reads its bytes. Where ocitar takes it, Go must take it, and both the same values.

use std::collections::{BTreeMap, BTreeSet};

use ocitar::archive::{Archive, Descriptor, NameSite, OpenOptions};
use ocitar::diagnostics::Severity;
use ocitar::digest::Digest;
use ocitar::error::Code;
use ocitar::platform::Platform;
use ocitar::reference::Reference;
use serde_json::{Value, json};

use crate::bytes::Bytes;
use crate::mutate::Random;
use crate::readers::Reader;
use crate::support::image::{
    Descriptor as Made, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, blob, index, manifest, sha256,
};
use crate::support::oci::LAYOUT;
use crate::support::tarball;

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Items,
    Index,
    Manifest,
    Config,
    /// `index.json` itself.
    Top,
}

impl Role {
    const ALL: [Role; 5] = [Role::Items, Role::Top, Role::Index, Role::Manifest, Role::Config];

    /// The one a byte stands for where fuzzing keeps documents.
    pub fn of(byte: u8) -> Role {
        Role::ALL[usize::from(byte) % Role::ALL.len()]
    }

    /// Such a byte.
    pub fn byte(self) -> u8 {
        Role::ALL.iter().position(|role| *role == self).unwrap() as u8
    }

    /// As the Go helper calls it.
    fn letter(self) -> u8 {
        match self {
            Role::Items => b'm',
            Role::Index | Role::Top => b'i',
            Role::Manifest => b'n',
            Role::Config => b'c',
        }
    }
}

/// One document.
pub struct Document {
    pub what: String,
    pub role: Role,
    pub bytes: Vec<u8>,
}

/// A layout of these blobs with this index.json.
fn layout(blobs: &[(String, Vec<u8>)], top: &[u8]) -> Vec<u8> {
    let bytes = blobs.iter().fold(Bytes::new(), |bytes, (path, body)| bytes.file(path, body));
    bytes.file("index.json", top).file("oci-layout", LAYOUT).end().0
}

/// The document in an archive that leads to it.
fn around(role: Role, bytes: &[u8]) -> Vec<u8> {
    let top = |media_type: &str, text: &[u8]| index(&[Made::new(media_type, text)]).into_bytes();
    match role {
        Role::Items => Bytes::new().file("manifest.json", bytes).end().0,
        Role::Index => layout(&[blob(bytes)], &top(OCI_INDEX, bytes)),
        Role::Manifest => layout(&[blob(bytes)], &top(OCI_MANIFEST, bytes)),
        Role::Config => {
            let text = manifest(OCI_MANIFEST, &Made::new(OCI_CONFIG, bytes), &[], "");
            layout(&[blob(bytes), blob(&text)], &top(OCI_MANIFEST, text.as_bytes()))
        }
        Role::Top => layout(&[], bytes),
    }
}

/// What ocitar takes from a document; `None` when it refuses it.
pub fn ours(document: &Document) -> Option<Ours> {
    let bytes = around(document.role, &document.bytes);
    let archive = OpenOptions::new().open_bytes("document", bytes).ok()?;
    let digest: Digest = sha256(&document.bytes).parse().unwrap();
    let member = match document.role {
        Role::Items => "manifest.json".to_owned(),
        Role::Top => "index.json".to_owned(),
        _ => digest.blob_path(),
    };
    let fatal = |found: &ocitar::diagnostics::Diagnostic| {
        found.severity == Severity::Fatal && found.error.place().member.as_ref() == Some(&member)
    };
    if archive.findings().iter().any(fatal) {
        return None;
    }
    match document.role {
        Role::Items => Some(Ours::Items(Box::new(archive))),
        Role::Top => {
            let targets = archive.images().iter().filter_map(|image| match image.target() {
                ocitar::archive::Target::Manifest(top) => Some(&**top),
                _ => None,
            });
            let all = targets.chain(archive.referrers());
            Some(Ours::Tops(all.map(|top| (top.digest.to_string(), descriptor(top))).collect()))
        }
        Role::Index => archive.index(&digest).map(|index| {
            Ours::Value(json!({
                "manifests": index.manifests.iter().map(descriptor).collect::<Vec<_>>(),
                "subject": index.subject.as_ref().map(descriptor),
                "artifactType": index.artifact_type.as_deref().unwrap_or_default(),
            }))
        }),
        Role::Manifest => archive.manifest(&digest).map(|manifest| {
            Ours::Value(json!({
                "config": descriptor(&manifest.config),
                "layers": manifest.layers.iter().map(descriptor).collect::<Vec<_>>(),
                "subject": manifest.subject.as_ref().map(descriptor),
                "artifactType": manifest.artifact_type.as_deref().unwrap_or_default(),
            }))
        }),
        Role::Config => config(&archive).map(Ours::Value),
    }
}

/// What ocitar shows of a document.
pub enum Ours {
    Value(Value),
    Items(Box<Archive>),
    /// The descriptors of index.json, by digest.
    Tops(BTreeMap<String, Value>),
}

fn descriptor(descriptor: &Descriptor) -> Value {
    let annotations: BTreeMap<&str, &str> =
        descriptor.annotations.iter().map(|(key, value)| (&**key, &**value)).collect();
    json!({
        "mediaType": descriptor.media_type.as_str(),
        "digest": descriptor.digest.to_string(),
        "size": descriptor.size,
        "urls": texts(&descriptor.urls),
        "annotations": annotations,
        "platform": descriptor.platform.as_ref().map(platform),
        "artifactType": descriptor.artifact_type.as_deref().unwrap_or_default(),
    })
}

fn texts(list: &[Box<str>]) -> Vec<&str> {
    list.iter().map(|text| &**text).collect()
}

fn platform(platform: &Platform) -> Value {
    json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "os.version": platform.os_version,
        "os.features": platform.os_features,
        "variant": platform.variant,
    })
}

fn config(archive: &Archive) -> Option<Value> {
    let manifest = archive.images().first()?.manifests().first()?;
    let summary = manifest.config()?;
    let full = archive.config(manifest).expect("what was accepted can be read")?;
    let mut value = platform(&summary.platform);
    let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().to_owned();
    value["created"] = text(&full.created).into();
    value["diff_ids"] = summary.diff_ids.iter().map(Digest::to_string).collect();
    value["has_rootfs"] = summary.has_rootfs.into();
    let labels: BTreeMap<&str, &str> = full.labels.iter().map(|(k, v)| (&**k, &**v)).collect();
    value["config"] = json!({
        "Entrypoint": texts(&full.entrypoint),
        "Cmd": texts(&full.cmd),
        "Env": texts(&full.env),
        "User": text(&full.user),
        "WorkingDir": text(&full.working_dir),
        "Labels": labels,
    });
    let steps = full.history.iter().map(|step| {
        json!({
            "created": text(&step.created),
            "created_by": text(&step.created_by),
            "comment": text(&step.comment),
            "empty_layer": step.empty_layer,
        })
    });
    value["history"] = steps.collect();
    Some(value)
}

/// Go's zero values as ocitar gives them: nil and empty are one.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), plain(value))).collect()
        }
        Value::Array(items) if items.is_empty() => Value::Null,
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

/// Two values, where an empty list or map is none.
fn same(ours: &Value, theirs: &Value) -> bool {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (a, b) => a == b || (empty(a) && empty(b)),
    }
}

/// How ocitar's reading differs from Go's, if it does.
pub fn difference(
    document: &Document,
    ours: &Ours,
    theirs: &Result<Value, String>,
) -> Option<String> {
    let theirs = match theirs {
        Ok(value) => value,
        Err(error) => return Some(format!("Go refuses it: {error}")),
    };
    match ours {
        Ours::Value(ours) => {
            let mut theirs =
                if document.role == Role::Config { go_config(theirs) } else { theirs.clone() };
            leave_shown(&mut theirs, ours);
            (!same(ours, &theirs))
                .then(|| format!("\n    ocitar: {ours}\n    Go:     {}", plain(&theirs)))
        }
        Ours::Tops(ours) => {
            // ocitar joins the descriptors of one digest; their names it shows elsewhere.
            let mut first: BTreeMap<String, Value> = BTreeMap::new();
            for top in theirs["manifests"].as_array().into_iter().flatten() {
                let digest = top["digest"].as_str().unwrap_or_default().to_owned();
                first.entry(digest).or_insert_with(|| top.clone());
            }
            let equal = ours.len() == first.len()
                && ours.iter().all(|(digest, ours)| {
                    first.get(digest).is_some_and(|theirs| same(ours, theirs))
                });
            (!equal).then(|| format!("\n    ocitar: {ours:?}\n    Go:     {first:?}"))
        }
        Ours::Items(archive) => {
            items_difference(archive, theirs.as_array().map_or(&[], Vec::as_slice))
        }
    }
}

/// Leaves out the fields that Go has a type for and ocitar does not show.
fn leave_shown(theirs: &mut Value, ours: &Value) {
    let Some(fields) = theirs.as_object_mut() else { return };
    fields.retain(|key, _| ours.get(key).is_some());
    if let Some(run) = fields.get_mut("config").filter(|_| ours["config"]["Cmd"].is_array()) {
        leave_shown(run, &ours["config"]);
    }
    for step in fields.get_mut("history").and_then(Value::as_array_mut).into_iter().flatten() {
        step.as_object_mut().unwrap().remove("author");
    }
}

/// The fields of a configuration under the names used here.
fn go_config(value: &Value) -> Value {
    let mut flat = value.clone();
    let fields = flat.as_object_mut().unwrap();
    let rootfs = fields.remove("rootfs").unwrap();
    fields.insert("diff_ids".into(), rootfs["diff_ids"].clone());
    let is_layers = matches!(rootfs["type"].as_str(), Some("" | "layers"));
    fields.insert("has_rootfs".into(), is_layers.into());
    flat
}

/// ocitar shows the items of manifest.json as images: tags as names with their places, layers as paths, and a
/// configuration as a file, or as a complaint that it is not there.
fn items_difference(archive: &Archive, items: &[Value]) -> Option<String> {
    let strings = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    };
    let tags: Vec<Vec<String>> = items.iter().map(|item| strings(&item["RepoTags"])).collect();
    let mut places = 0;
    for name in archive.images().iter().flat_map(|image| image.names()) {
        for (at, site) in name.sites().iter().enumerate() {
            let NameSite::RepoTag { item, position } = *site else { continue };
            places += 1;
            let Some(tag) = tags.get(item).and_then(|tags| tags.get(position)) else {
                return Some(format!("{name} has a place that Go does not know"));
            };
            let full = |text: &str| Reference::parse(text).map(|name| name.canonical().to_string());
            if (at == 0 && tag != name.text()) || full(tag).ok() != full(name.text()).ok() {
                return Some(format!("{name} is {tag} to Go"));
            }
        }
    }
    let is_none = |tag: &&String| matches!(tag.as_str(), "" | "<none>" | "<none>:<none>");
    let named = tags.iter().flatten().filter(|tag| !is_none(tag)).count();
    if named != places {
        return Some(format!("{places} tags, {named} to Go"));
    }
    let ours: BTreeSet<Vec<String>> = archive
        .images()
        .iter()
        .flat_map(|image| image.manifests())
        .map(|manifest| manifest.layers().iter().map(|layer| layer.path().to_owned()).collect())
        .collect();
    let theirs: BTreeSet<Vec<String>> = items.iter().map(|item| strings(&item["Layers"])).collect();
    if ours != theirs {
        return Some(format!("layers {ours:?}, {theirs:?} to Go"));
    }
    let complaints: Vec<&str> = archive
        .findings()
        .iter()
        .filter(|found| found.error.code() == Code::BlobMissing)
        .map(|found| found.error.message())
        .collect();
    let lacks = |item: &&Value| {
        let config = item["Config"].as_str().unwrap_or_default();
        !complaints.iter().any(|text| text.contains(&format!("configuration \"{config}\"")))
    };
    items
        .iter()
        .find(lacks)
        .map(|item| format!("nothing about the configuration {}", item["Config"]))
}

/// Counts over documents.
#[derive(Default)]
pub struct Tally {
    /// By role: tried, taken by ocitar, taken by Go of those ocitar refuses.
    counts: BTreeMap<Role, [usize; 3]>,
    pub lies: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, documents: &[Document], go: &Reader) {
        let items: Vec<(u8, &[u8])> =
            documents.iter().map(|document| (document.role.letter(), &*document.bytes)).collect();
        for (document, theirs) in documents.iter().zip(go.documents(&items)) {
            let counts = self.counts.entry(document.role).or_default();
            counts[0] += 1;
            match ours(document) {
                None => counts[2] += usize::from(theirs.is_ok()),
                Some(ours) => {
                    counts[1] += 1;
                    if let Some(difference) = difference(document, &ours, &theirs) {
                        let text = String::from_utf8_lossy(&document.bytes);
                        self.lies.push(format!(
                            "{:?} {}: {difference}\n    {text}",
                            document.role, document.what
                        ));
                    }
                }
            }
        }
    }

    pub fn shown(&self) -> String {
        let line = |(role, [tried, taken, theirs]): (&Role, &[usize; 3])| {
            let refused = tried - taken;
            format!(
                "  {:<9} {tried:>5} tried, {taken:>5} taken, {refused:>5} refused, {theirs:>5} of those taken by Go\n",
                format!("{role:?}")
            )
        };
        format!(
            "\ndocuments, beside encoding/json\n{}",
            self.counts.iter().map(line).collect::<String>()
        )
    }
}

/// The documents of archives that real tools wrote.
pub fn real(archives: &[(String, Vec<u8>)]) -> Vec<Document> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (archive, bytes) in archives {
        for name in tarball::names(bytes) {
            let Some(body) = tarball::read(bytes, name.trim_start_matches("./")) else { continue };
            let Ok(value) = serde_json::from_slice::<Value>(&body) else { continue };
            let base = name.trim_start_matches("./");
            let roles: &[Role] = match () {
                () if base == "manifest.json" => &[Role::Items],
                () if base == "index.json" => &[Role::Top, Role::Index],
                () if value["manifests"].is_array() => &[Role::Index],
                () if value["layers"].is_array() => &[Role::Manifest],
                () if value["rootfs"].is_object() => &[Role::Config],
                () => &[],
            };
            for role in roles.iter().filter(|role| seen.insert((**role, body.clone()))) {
                found.push(Document {
                    what: format!("{archive} {name}"),
                    role: *role,
                    bytes: body.clone(),
                });
            }
        }
    }
    found
}

/// Documents in which one thing has been changed, the same ones in every run.
pub fn damaged(seeds: &[Document], number: u64) -> Document {
    let mut random = Random::new(number);
    let role = *random.pick(&Role::ALL);
    let seeds: Vec<&Document> = seeds.iter().filter(|seed| seed.role == role).collect();
    let seed = random.pick(&seeds);
    let mut bytes = seed.bytes.clone();
    for _ in 0..1 + random.below(3) / 2 {
        damage(&mut bytes, &mut random);
    }
    Document { what: format!("damaged {number}"), role, bytes }
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let strings = strings(bytes);
    if strings.is_empty() {
        return;
    }
    let values: [&[u8]; 24] = [
        b"null",
        b"true",
        b"0",
        b"-0",
        b"-1",
        b"1.0",
        b"1e3",
        b"9223372036854775807",
        b"9223372036854775808",
        b"[]",
        b"{}",
        b"[null]",
        b"\"\"",
        b"\"x\"",
        b"\"\\u0000\"",
        b"\"\\ud83d\\ude00\"",
        b"\"\\ud800\"",
        b"\"\\u2028\"",
        b"{\"a\":null}",
        b"[[]]",
        b"\"\xc3\xbc\"",
        b"\"\xff\"",
        b"01",
        b"+1",
    ];
    let string = random.pick(&strings).clone();
    let is_key = bytes[string.end..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
    match random.below(9) {
        0 => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        // A key or a value in another case, or with a letter that folds into another.
        1 => {
            let at = string.start + 1 + random.below(string.len() - 2);
            match bytes[at] {
                b's' if random.below(2) == 0 => drop(bytes.splice(at..=at, "\u{17f}".bytes())),
                b'k' if random.below(2) == 0 => drop(bytes.splice(at..=at, "\u{212a}".bytes())),
                byte if byte.is_ascii_alphabetic() => bytes[at] ^= 0x20,
                _ => {}
            }
        }
        2 => {
            let at = string.start + 1 + random.below(string.len() - 2);
            let escaped = format!("\\u{:04x}", bytes[at]);
            bytes.splice(at..=at, escaped.bytes());
        }
        // A field twice: as it is, in another case, before or behind.
        3 | 4 if is_key => {
            let mut key = bytes[string.clone()].to_vec();
            if random.below(2) == 0 {
                key = key.to_ascii_uppercase();
            }
            let value: &[u8] = random.pick::<&[u8]>(&values);
            let field = [&key[..], b":", value, b","].concat();
            bytes.splice(string.start..string.start, field);
        }
        // The value behind a key, when it is a scalar.
        5..=7 if is_key => {
            let colon =
                string.end + bytes[string.end..].iter().position(|byte| *byte == b':').unwrap();
            let end = scalar_end(bytes, colon + 1);
            bytes.splice(colon + 1..end, random.pick(&values).iter().copied());
        }
        8 => {
            let at = random.below(bytes.len());
            let end = (at + 1 + random.below(8)).min(bytes.len());
            bytes.drain(at..end);
        }
        _ => drop(bytes.splice(string, random.pick(&values).iter().copied())),
    }
}

/// Where the value that starts here ends, when it is a text, a number or a word; else just behind its bracket's pair.
fn scalar_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0usize;
    let mut is_text = false;
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if is_text => at += 1,
            b'"' => is_text = !is_text,
            _ if is_text => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth > 0 => depth -= 1,
            b']' | b'}' | b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Texts that hold something, with their quotes.
fn strings(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut start = None;
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], start) {
            (b'\\', Some(_)) => at += 1,
            (b'"', None) => start = Some(at),
            (b'"', Some(from)) => {
                if at > from + 1 {
                    found.push(from..at + 1);
                }
                start = None;
            }
            _ => {}
        }
        at += 1;
    }
    found
}
