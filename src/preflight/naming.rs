//! What becomes of a name: each store has its own idea.

use crate::archive::view::{Descriptor, annotation};
use crate::reference::Reference;

/// What `ctr` puts in front of a bare tag; the date is that of the import.
pub(super) const IMPORT_PREFIX: &str = "import-YYYY-MM-DD";

/// Whether containerd takes a text for a whole name.
pub(super) fn is_whole(text: &str) -> bool {
    text.contains(['/', ':', '@'])
}

/// The two annotations of a descriptor that name it, empty ones left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Annotated {
    pub(super) image_name: Option<Box<str>>,
    pub(super) ref_name: Option<Box<str>>,
}

impl Annotated {
    pub(super) fn of(descriptor: &Descriptor) -> Annotated {
        let text = |key| descriptor.annotation(key).map(Into::into);
        Annotated { image_name: text(annotation::IMAGE_NAME), ref_name: text(annotation::REF_NAME) }
    }

    /// The name as it stands, containerd's own first.
    pub(super) fn verbatim(&self) -> Option<&str> {
        self.image_name.as_deref().or(self.ref_name.as_deref())
    }

    /// The name `ctr` stores: a bare `ref.name` gets a prefix.
    pub(super) fn prefixed(&self) -> Option<String> {
        match (&self.image_name, &self.ref_name) {
            (Some(name), _) => Some(name.to_string()),
            (None, Some(name)) if is_whole(name) => Some(name.to_string()),
            (None, Some(tag)) => Some(format!("{IMPORT_PREFIX}:{tag}")),
            (None, None) => None,
        }
    }
}

/// How docker with the containerd store shows a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Under this name, and usable.
    Good(String),
    /// Under this name, and not found when it is used.
    Unusable(String),
    /// No reference: shown untagged or not at all, by version.
    Invalid,
    /// One word: never shown.
    Hidden,
}

/// What becomes of a record of this name in docker's containerd store.
pub(super) fn in_docker(name: &str) -> Shown {
    if !is_whole(name) {
        return Shown::Hidden;
    }
    let Ok(reference) = Reference::parse(name) else { return Shown::Invalid };
    let repository = reference.familiar_repository();
    let canonical = reference.to_string() == name;
    match (reference.tag(), reference.digest()) {
        (Some(tag), digest) => {
            let shown = format!("{repository}:{tag}");
            // Docker takes `sha256:…` for an image ID.
            if canonical && digest.is_none() && !is_image_id(&shown) {
                Shown::Good(shown)
            } else {
                Shown::Unusable(shown)
            }
        }
        (None, _) if canonical => Shown::Good(format!("{repository}:<none>")),
        (None, _) => Shown::Unusable(format!("{repository}:<none>")),
    }
}

/// What docker's classic store does with a `RepoTags` entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tagging {
    /// The image gets this name.
    Tag(String),
    /// Said to be loaded; the image stays untagged.
    Swallowed,
    /// Refused, the image staying untagged: without tag, with a digest alone,
    /// or no reference.
    Refused,
}

pub(super) fn in_classic(tag: &str) -> Tagging {
    let Ok(reference) = Reference::parse(tag) else { return Tagging::Refused };
    match (reference.tag(), reference.digest()) {
        (Some(_), Some(_)) => Tagging::Swallowed,
        (None, _) => Tagging::Refused,
        (Some(_), None) => {
            let shown = reference.familiar().to_string();
            if is_image_id(&shown) { Tagging::Swallowed } else { Tagging::Tag(shown) }
        }
    }
}

fn is_image_id(name: &str) -> bool {
    name.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A name as podman completes it: without a registry host it is `localhost/`.
pub(super) fn in_podman(name: &str) -> Option<Reference> {
    Reference::parse(name).ok()?;
    let first = name.split_once('/').map(|(first, _)| first);
    let has_host = first.is_some_and(|host| host == "localhost" || host.contains(['.', ':']));
    let full = if has_host { name.to_owned() } else { format!("localhost/{name}") };
    Reference::parse(&full).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_finds_names_in_full_only() {
        let good = |text: &str| Shown::Good(text.to_owned());
        let unusable = |text: &str| Shown::Unusable(text.to_owned());
        let rows = [
            ("docker.io/library/app:1", good("app:1")),
            ("example.com/a/b:1", good("example.com/a/b:1")),
            ("example.com/a/b", good("example.com/a/b:<none>")),
            ("app:1", unusable("app:1")),
            ("docker.io/app:1", unusable("app:1")),
            ("index.docker.io/library/app:1", unusable("app:1")),
            ("latest", Shown::Hidden),
            ("é1", Shown::Hidden),
            ("example.com/UP:1", Shown::Invalid),
            ("<none>:<none>", Shown::Invalid),
        ];
        for (name, want) in rows {
            assert_eq!(in_docker(name), want, "{name}");
        }
    }

    #[test]
    fn podman_puts_localhost_in_front() {
        let rows = [
            ("app:1", Some("localhost/app:1")),
            ("team/app:1", Some("localhost/team/app:1")),
            ("docker.io/app:1", Some("docker.io/library/app:1")),
            ("example.com/app", Some("example.com/app")),
            ("UP/app:1", None),
        ];
        for (name, want) in rows {
            assert_eq!(in_podman(name).map(|name| name.to_string()).as_deref(), want, "{name}");
        }
    }
}
