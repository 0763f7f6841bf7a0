//! JSON: what is taken from a document is what serde_json reads in it, no
//! object in it has a key twice, and no field that counts has two spellings.
//!
//! The first byte says what the document is; the rest is the document.
#![no_main]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use libfuzzer_sys::fuzz_target;
use ocitar::archive::{Archive, Descriptor, Target};
use ocitar::diagnostics::Severity;
use ocitar::digest::Digest;
use ocitar_fuzz::{Role, around};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let Some((role, text)) = data.split_first() else { return };
    let role = Role::of(*role);
    let archive = ocitar_fuzz::open(&around(role, text)).expect("a tar");
    let digest = Digest::of(text);
    let path = match role {
        Role::Items => "manifest.json".to_owned(),
        Role::Top => "index.json".to_owned(),
        _ => digest.blob_path(),
    };
    let refused = archive.findings().iter().any(|found| {
        found.severity == Severity::Fatal && found.error.place().member.as_ref() == Some(&path)
    });
    if refused {
        return;
    }
    let once: Result<Once, _> = serde_json::from_slice(text);
    // Nothing was looked at where nothing leads to it.
    let Some(ours) = ours(&archive, role, &digest) else { return };
    let value = match once {
        Ok(Once(value)) => value,
        // Where nobody reads it there may be any number.
        Err(error) if error.to_string().starts_with("number out of range") => return,
        Err(error) => panic!("{role:?} was taken: {error}"),
    };
    let theirs = theirs(&value, role);
    if role == Role::Top {
        // Descriptors of one manifest are one image with several names.
        let digests = |list: &Value| -> BTreeSet<String> {
            items(list).map(|descriptor| self::text(descriptor, "digest").to_owned()).collect()
        };
        assert_eq!(digests(&ours), digests(&theirs));
        assert!(
            items(&ours).all(|one| items(&theirs).any(|other| one == other)),
            "{ours} {theirs}"
        );
    } else {
        assert_eq!(ours, theirs, "{role:?}");
    }
});

/// What was taken.
fn ours(archive: &Archive, role: Role, digest: &Digest) -> Option<Value> {
    match role {
        Role::Top => {
            let targets = archive.images().iter().filter_map(|image| match image.target() {
                Target::Manifest(top) => Some(&**top),
                _ => None,
            });
            let all = targets.chain(archive.referrers()).map(descriptor);
            Some(set(all.collect()))
        }
        Role::Index => archive.index(digest).map(|index| {
            json!({
                "manifests": index.manifests.iter().map(descriptor).collect::<Vec<_>>(),
                "subject": index.subject.as_ref().map(descriptor),
            })
        }),
        Role::Manifest => archive.manifest(digest).map(|manifest| {
            json!({
                "config": descriptor(&manifest.config),
                "layers": manifest.layers.iter().map(descriptor).collect::<Vec<_>>(),
                "subject": manifest.subject.as_ref().map(descriptor),
            })
        }),
        Role::Config => {
            let manifest = archive.images().first()?.manifests().first()?;
            let config = manifest.config()?;
            Some(json!({
                "os": config.platform.os,
                "architecture": config.platform.architecture,
                "diff_ids": config.diff_ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
            }))
        }
        Role::Items => {
            let all = archive.images().iter().flat_map(|image| image.names());
            let names: Vec<Value> = all.map(|name| name.text().into()).collect();
            archive.findings().fatal_one().is_none().then(|| set(names))
        }
    }
}

fn descriptor(descriptor: &Descriptor) -> Value {
    let annotations: BTreeMap<&str, &str> =
        descriptor.annotations.iter().map(|(key, value)| (&**key, &**value)).collect();
    json!({
        "mediaType": descriptor.media_type.as_str(),
        "digest": descriptor.digest.to_string(),
        "size": descriptor.size,
        "annotations": annotations,
        "platform": descriptor.platform.as_ref().map(|p| json!([p.os, p.architecture, p.variant])),
    })
}

/// The same as serde_json has it.
fn theirs(value: &Value, role: Role) -> Value {
    let list = |key: &str| -> Vec<Value> { items(field(value, key)).map(plain).collect() };
    let one = |key: &str| match field(value, key) {
        Value::Null => Value::Null,
        other => plain(other),
    };
    match role {
        Role::Top => set(list("manifests")),
        Role::Index => json!({ "manifests": list("manifests"), "subject": one("subject") }),
        Role::Manifest => {
            json!({ "config": one("config"), "layers": list("layers"), "subject": one("subject") })
        }
        Role::Config => json!({
            "os": text(value, "os"),
            "architecture": text(value, "architecture"),
            "diff_ids": items(field(field(value, "rootfs"), "diff_ids")).collect::<Vec<_>>(),
        }),
        Role::Items => {
            // `null` is an empty string to Go, and neither is a name.
            let names = items(value).flat_map(|item| items(field(item, "RepoTags")));
            let names = names.filter(|name| name.as_str().is_some_and(|name| !name.is_empty()));
            set(names.cloned().collect())
        }
    }
}

fn plain(value: &Value) -> Value {
    let annotations: BTreeMap<&str, &str> = field(value, "annotations")
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (&**key, value.as_str().unwrap_or_default()))
        .collect();
    let platform = match field(value, "platform") {
        Value::Null => Value::Null,
        p => json!([text(p, "os"), text(p, "architecture"), text(p, "variant")]),
    };
    json!({
        "mediaType": text(value, "mediaType"),
        "digest": text(value, "digest"),
        "size": field(value, "size").as_u64().unwrap_or_default(),
        "annotations": annotations,
        "platform": platform,
    })
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    field(value, key).as_str().unwrap_or_default()
}

/// A field by its name in whatever case, as Go finds it.
fn field<'v>(value: &'v Value, key: &str) -> &'v Value {
    let wanted = folded(key);
    let fields = value.as_object().into_iter().flatten();
    let mut found = fields.filter(|(name, _)| folded(name) == wanted);
    let value = found.next().map_or(&Value::Null, |(_, value)| value);
    assert!(found.next().is_none(), "{key} in two spellings");
    value
}

/// The two letters beyond ASCII that fold to it count, too.
fn folded(key: &str) -> String {
    key.to_lowercase().replace('\u{17f}', "s").replace('\u{212a}', "k")
}

fn set(mut list: Vec<Value>) -> Value {
    list.sort_by_key(Value::to_string);
    list.dedup();
    list.into()
}

/// A document in which no object has a key twice. Those of annotations may differ
/// in case.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Once, D::Error> {
        deserializer.deserialize_any(OnceVisitor)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Once, E> {
        Ok(Once(Value::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Once, E> {
        Ok(Once(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Once, A::Error> {
        let mut list = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Once(list.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Once, A::Error> {
        let mut seen = HashSet::new();
        let mut map = serde_json::Map::new();
        while let Some((key, Once(value))) = fields.next_entry::<String, Once>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format!("{key} twice")));
            }
            map.insert(key, value);
        }
        Ok(Once(map.into()))
    }
}
