//! Image references: `[host[:port]/]path[:tag][@digest]`.
//!
//! The grammar and the normalisation are those of the Go package
//! `github.com/distribution/reference`, which docker, containerd, nerdctl,
//! podman and k3s share: what it accepts, refuses and rewrites, [`Reference`]
//! accepts, refuses and rewrites. Two rules for the annotation
//! `org.opencontainers.image.ref.name` live here too: [`ref_name_object`], what
//! containerd writes there, and [`is_valid_ref_name`], what the OCI image
//! specification allows there.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, DigestError};

#[cfg(test)]
mod tests;

/// A normalised image reference.
///
/// `busybox` is read as `docker.io/library/busybox`; a tag is not made up, and
/// a tag beside a digest is kept ([`Reference::canonical`] does both). It
/// prints in full; [`Reference::familiar`] prints it the way docker shows it.
///
/// ```
/// # use ocitar::reference::Reference;
/// let name: Reference = "busybox:1.36".parse()?;
/// assert_eq!(name.to_string(), "docker.io/library/busybox:1.36");
/// assert_eq!(name.familiar().to_string(), "busybox:1.36");
/// # Ok::<(), ocitar::reference::ReferenceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Box<str>,
    // How much of `repository` is the domain; a slash follows unless it is 0.
    domain_len: usize,
    tag: Option<Box<str>>,
    digest: Option<Digest>,
}

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const DEFAULT_TAG: &str = "latest";
const OFFICIAL_PREFIX: &str = "library/";

/// In bytes, of the path without the domain.
const MAX_PATH: usize = 255;
/// In bytes.
const MAX_TAG: usize = 128;

impl Reference {
    /// Reads and normalises a reference, as `ParseNormalizedNamed` does.
    ///
    /// A first component is a domain if it is `localhost`, or holds a `.`, a
    /// `:` or an upper-case letter; otherwise the image is on Docker Hub, below
    /// `library/` when its path has one component. `index.docker.io` is Docker
    /// Hub as well. Text after the only component's colon is a tag, so
    /// `localhost:5000` and `sha256:<hex>` are images on Docker Hub.
    ///
    /// # Errors
    ///
    /// See [`ReferenceError`].
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if is_identifier(text) {
            return Err(ReferenceError::HexIdentifier);
        }
        let (domain, remainder) = split_domain(text);
        // Up to a colon it can only be path, or path and digest algorithm; both
        // count, so `a@SHA256:…` is refused for its case.
        let before_colon = remainder.split(':').next().unwrap_or_default();
        if before_colon.chars().any(|c| lower(c) != c) {
            return Err(ReferenceError::Uppercase);
        }
        let Some(parts) = Parts::of(domain, &remainder) else {
            let [domain, remainder] =
                [domain, &*remainder].map(|s| s.chars().map(lower).collect::<String>());
            return Err(match Parts::of(&domain, &remainder) {
                Some(_) => ReferenceError::Uppercase,
                None => ReferenceError::Format,
            });
        };
        if parts.repository.len() - parts.path_start() > MAX_PATH {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self {
            digest: parts.digest.map(str::parse).transpose()?,
            tag: parts.tag.map(Box::from),
            domain_len: parts.domain_len,
            repository: parts.repository.into(),
        })
    }

    /// The registry's host and port.
    ///
    /// It is empty in one odd case that docker accepts and whose names
    /// therefore exist: a first component that must be a domain (it has a dot)
    /// but can only be a path component, as in `foo_bar.com/x`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.repository[..self.domain_len]
    }

    /// The repository inside its registry, as `library/busybox`.
    #[must_use]
    pub fn path(&self) -> &str {
        let path = &self.repository[self.domain_len..];
        path.strip_prefix('/').unwrap_or(path)
    }

    /// Domain and path, as `docker.io/library/busybox`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Domain and path as docker shows them, as `busybox`.
    ///
    /// Mostly this reads as the same repository again. Not so for
    /// `docker.io/docker.io/x`, whose familiar name is another image's.
    #[must_use]
    pub fn familiar_repository(&self) -> &str {
        if self.domain() != DEFAULT_DOMAIN {
            return &self.repository;
        }
        let path = self.path();
        match path.strip_prefix(OFFICIAL_PREFIX) {
            Some(name) if !name.contains('/') => name,
            _ => path,
        }
    }

    /// The tag, if there is one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The form containerd stores images under (`ParseDockerRef`): a tag beside
    /// a digest is dropped, and `latest` is added where there is neither.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let tag = match self.digest {
            Some(_) => None,
            None => Some(self.tag.clone().unwrap_or_else(|| DEFAULT_TAG.into())),
        };
        Self { tag, ..self.clone() }
    }

    /// Prints it as docker does: without `docker.io/`, and without `library/`
    /// where that is all that remains before the name.
    ///
    /// ```
    /// # use ocitar::reference::Reference;
    /// let name = Reference::parse("docker.io/library/busybox:1.36")?;
    /// assert_eq!(name.familiar().to_string(), "busybox:1.36");
    /// # Ok::<(), ocitar::reference::ReferenceError>(())
    /// ```
    pub fn familiar(&self) -> impl fmt::Display {
        Printed { repository: self.familiar_repository(), reference: self }
    }

    /// The same reference with this tag.
    ///
    /// # Errors
    ///
    /// [`ReferenceError::Tag`] unless [`is_tag`].
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag);
        }
        Ok(Self { tag: Some(tag.into()), ..self.clone() })
    }

    /// The same reference without its tag.
    #[must_use]
    pub fn without_tag(&self) -> Self {
        Self { tag: None, ..self.clone() }
    }

    /// The same reference with this digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The same reference without its digest.
    #[must_use]
    pub fn without_digest(&self) -> Self {
        Self { digest: None, ..self.clone() }
    }

    /// The same tag and digest in this repository, which is read and
    /// normalised like any reference.
    ///
    /// # Errors
    ///
    /// [`ReferenceError::NotARepository`] if the text has a tag or a digest of
    /// its own (`localhost:5000` has), otherwise as [`Reference::parse`].
    pub fn with_repository(&self, repository: &str) -> Result<Self, ReferenceError> {
        let named = Self::parse(repository)?;
        if !named.is_name_only() {
            return Err(ReferenceError::NotARepository);
        }
        Ok(Self { tag: self.tag.clone(), digest: self.digest, ..named })
    }

    /// Whether it has neither a tag nor a digest.
    #[must_use]
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printed { repository: &self.repository, reference: self }.fmt(f)
    }
}

/// A reference under one of the names of its repository.
struct Printed<'a> {
    repository: &'a str,
    reference: &'a Reference,
}

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.repository.to_owned();
        if let Some(tag) = &self.reference.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.reference.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        f.pad(&text)
    }
}

/// Why a text is not a [`Reference`].
///
/// What [`Reference::parse`] returns are the kinds the Go package tells apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The part after `@` looks like a digest and is none that can be checked.
    Digest(DigestError),
    /// There is no text.
    Empty,
    /// The text does not follow the grammar.
    Format,
    /// Sixty-four hex characters, which everyone would take for an image ID.
    HexIdentifier,
    /// A repository was asked for and the text has a tag or a digest.
    NotARepository,
    /// The text does not follow the grammar of tags.
    Tag,
    /// The path is longer than registries take.
    TooLong,
    /// The text would follow the grammar if it were in lower case.
    Uppercase,
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReferenceError::Digest(digest) => digest.fmt(f),
            ReferenceError::Empty => f.write_str("an image reference cannot be empty"),
            ReferenceError::Format => f.write_str(
                "not an image reference of the form `[host[:port]/]path[:tag][@digest]`",
            ),
            ReferenceError::HexIdentifier => {
                f.write_str("64 hex characters are an image ID, not a name")
            }
            ReferenceError::NotARepository => {
                f.write_str("a repository is named without a tag and without a digest")
            }
            ReferenceError::Tag => write!(
                f,
                "a tag is 1 to {MAX_TAG} characters of `A-Za-z0-9_.-`, the first not `.` or `-`"
            ),
            ReferenceError::TooLong => {
                write!(f, "the path of a repository has at most {MAX_PATH} bytes")
            }
            ReferenceError::Uppercase => {
                f.write_str("the name of a repository is written in lower case")
            }
        }
    }
}

impl std::error::Error for ReferenceError {}

impl From<DigestError> for ReferenceError {
    fn from(digest: DigestError) -> Self {
        ReferenceError::Digest(digest)
    }
}

/// The parts of a text that follows the grammar.
struct Parts<'a> {
    repository: String,
    domain_len: usize,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// Matches `<domain>/<remainder>`; the domain holds no slash.
    fn of(domain: &str, remainder: &'a str) -> Option<Self> {
        // Names and tags hold no `@`, paths and tags no `:`, so the first of
        // each decides; the grammar has no other choice to make.
        let (name, digest) = cut(remainder, '@');
        let (path, tag) = cut(name, ':');
        let domain_len = if is_domain(domain) {
            domain.len()
        } else if is_path_component(domain) {
            0
        } else {
            return None;
        };
        let valid = path.split('/').all(is_path_component)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest_like);
        valid.then(|| Self { repository: format!("{domain}/{path}"), domain_len, tag, digest })
    }

    fn path_start(&self) -> usize {
        if self.domain_len == 0 { 0 } else { self.domain_len + 1 }
    }
}

/// Splits a reference into its domain and everything behind it, adding what
/// Docker Hub's short names leave out.
fn split_domain(text: &str) -> (&str, Cow<'_, str>) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DEFAULT_DOMAIN, Cow::Owned(format!("{OFFICIAL_PREFIX}{text}")));
    };
    let (domain, remainder) = if first == LEGACY_DEFAULT_DOMAIN {
        (DEFAULT_DOMAIN, rest)
    } else if first == "localhost"
        || first.contains(['.', ':'])
        || first.chars().any(|c| lower(c) != c)
    {
        (first, rest)
    } else {
        (DEFAULT_DOMAIN, text)
    };
    if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        return (domain, Cow::Owned(format!("{OFFICIAL_PREFIX}{remainder}")));
    }
    (domain, Cow::Borrowed(remainder))
}

fn cut(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Lower case as Go's `unicode.ToLower` has it, character for character.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// `host [":" port]`, with an IPv6 host in brackets.
fn is_domain(text: &str) -> bool {
    if let Some((address, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return !address.is_empty()
            && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = cut(text, ':');
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_label(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && text.starts_with(|c: char| c != '-')
        && text.ends_with(|c: char| c != '-')
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Lower-case words joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = text.as_bytes();
    loop {
        let word = rest.iter().take_while(|b| is_word(**b)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        rest = match rest {
            [] => return true,
            [b'_', b'_', rest @ ..] | [b'_' | b'.', rest @ ..] => rest,
            [b'-', ..] => &rest[rest.iter().take_while(|b| **b == b'-').count()..],
            _ => return false,
        };
    }
}

/// A digest of any algorithm, or nearly one: [`Digest`] has the last word.
fn is_digest_like(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    algorithm.split(['-', '_', '+', '.']).all(|word| {
        word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.bytes().all(|b| b.is_ascii_alphanumeric())
    }) && hex.len() >= 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether the text is a tag: 1 to 128 ASCII letters, digits, `_`, `.` and `-`,
/// not starting with `.` or `-`.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    (1..=MAX_TAG).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// What containerd writes as `org.opencontainers.image.ref.name` for an image of
/// this name: the tag, or the whole name where it sees none.
///
/// containerd reads the name as a URL without its scheme; the tag is what
/// follows the first `:` of the URL's path, including any `@digest` behind it.
/// There is none in a name without a slash, with a digest only, or whose host is
/// not one a URL can have. Characters that mean something else in a URL never
/// occur in a reference; a name that has one is returned whole.
#[must_use]
pub fn ref_name_object(name: &str) -> &str {
    tag_in_url(name).unwrap_or(name)
}

/// The text behind the first colon in the path of the URL `x://<name>`, unless
/// an `@` comes first.
fn tag_in_url(name: &str) -> Option<&str> {
    let special = |c: char| c.is_ascii_control() || matches!(c, '%' | '?' | '#');
    if name.contains(special) || name.contains("://") {
        return None;
    }
    let (authority, path) = name.split_once('/')?;
    let (path, tag) = path.split_at_checked(path.find([':', '@'])?)?;
    // containerd refuses to climb out of a host, and falls back to the whole name.
    if !is_url_authority(authority) || path.split('/').any(|component| component == "..") {
        return None;
    }
    tag.strip_prefix(':').filter(|tag| !tag.is_empty() && !tag.starts_with('@'))
}

/// `[user "@"] host [":" [port]]`, as Go's `net/url` has it.
fn is_url_authority(text: &str) -> bool {
    let (user, host) = text.rsplit_once('@').unwrap_or(("", text));
    let colon = match host.rfind([':', ']']) {
        Some(at) if host[at..].starts_with(':') => at,
        _ => host.len(),
    };
    let (name, port) = host.split_at(colon);
    let is_host_byte = |b: u8| {
        b.is_ascii_alphanumeric() || !b.is_ascii() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&b)
    };
    !host.is_empty()
        && name.bytes().all(is_host_byte)
        && name.starts_with('[') == name.ends_with(']')
        && port.bytes().skip(1).all(|b| b.is_ascii_digit())
        && user.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=@".contains(&b))
}

/// Whether the text may stand in `org.opencontainers.image.ref.name`, by the
/// grammar of the OCI image specification's annotations page.
///
/// It is not the grammar of references: `foo__bar:1` is an image name and not a
/// ref name. podman and skopeo insist on it, docker and containerd do not look.
#[must_use]
pub fn is_valid_ref_name(text: &str) -> bool {
    text.split('/').all(is_ref_name_component)
}

/// Words joined by one of `- . _ : @ +`, or by `--`.
fn is_ref_name_component(text: &str) -> bool {
    let mut rest = text.as_bytes();
    loop {
        let word = rest.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        rest = match rest {
            [] => return true,
            [b'-', b'-', rest @ ..] => rest,
            [b'-' | b'.' | b'_' | b':' | b'@' | b'+', rest @ ..] => rest,
            _ => return false,
        };
    }
}
