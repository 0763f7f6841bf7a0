//! One rule: its forms on a command line, and what it makes of a name.

use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::archive::{Image, ImageManifest};
use crate::digest::Digest;
#[cfg(feature = "rules-files")]
use crate::edit::rules::mirror::MirrorRule;
use crate::error::{Code, Error, Result};
use crate::reference::{Reference, ReferenceError};

/// One rule, and where it was written.
///
/// It prints as on a command line, with the file and line it came from where
/// it came from one: `--prefix k8s.gcr.io=registry.k8s.io (rules.toml:4)`.
#[derive(Clone, Debug)]
pub struct Rule {
    kind: Kind,
    origin: Option<Origin>,
    optional: bool,
}

/// Where a rule was written. Prints as `rules.toml:4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    file: Box<str>,
    line: Option<u64>,
}

/// What a rule is about.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// `NEW`: the archive's one image gets this name instead of all it has.
    New(Reference),
    /// `sha256:…=NEW`: the image of this digest, of its manifest or of its
    /// configuration, gets this name instead of all it has.
    Digest { digest: Digest, new: Reference },
    /// `<none>:TAG=NEW`: the image whose only name is a tag without a
    /// repository.
    BareTag { tag: Box<str>, new: Reference },
    /// `OLD=NEW`: one name, or every tag of one repository.
    Exact { old: Reference, new: Reference },
    /// A repository prefix, at a border between components. Both start with a
    /// registry host.
    Prefix { old: Box<str>, new: Box<str> },
    /// A regular expression over the whole canonical name, anchored at both
    /// ends; the replacement has `$1` or `${name}` for groups.
    Regex { pattern: Regex, replacement: Box<str> },
    /// A registry's mirror, from a file.
    #[cfg(feature = "rules-files")]
    Mirror(MirrorRule),
}

/// Bytes a compiled pattern may take: patterns come from people, and some
/// grow exponentially.
const REGEX_SIZE: usize = 1 << 20;

impl Origin {
    /// A file, as it is called, and a line of it, counted from 1.
    pub(super) fn new(file: &str, line: Option<u64>) -> Origin {
        Origin { file: file.into(), line }
    }

    /// The file, as it was called.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line in it, counted from 1; `None` where the file as a whole says it.
    #[must_use]
    pub fn line(&self) -> Option<u64> {
        self.line
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

impl Rule {
    pub(super) fn new(kind: Kind) -> Rule {
        Rule { kind, origin: None, optional: false }
    }

    /// Parses `NEW` or `OLD=NEW`.
    ///
    /// # Errors
    ///
    /// `E_REF` when either side is no image reference, `E_RULE` when one side
    /// has a tag and the other has none, or when the text looks like a path.
    pub fn parse(text: &str) -> Result<Rule> {
        match text.split_once('=') {
            Some((old, new)) => Rule::exact(old, new),
            None => {
                reject_path(text)?;
                Ok(Rule::new(Kind::New(reference(text)?.canonical())))
            }
        }
    }

    /// The rule `OLD=NEW` from its two sides.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn exact(old: &str, new: &str) -> Result<Rule> {
        reject_path(old)?;
        reject_path(new)?;
        if let Some(tag) = old.strip_prefix("<none>:") {
            let new = reference(new)?.canonical();
            return Ok(Rule::new(Kind::BareTag { tag: tag.into(), new }));
        }
        if let Ok(digest) = old.parse() {
            return Ok(Rule::new(Kind::Digest { digest, new: reference(new)?.canonical() }));
        }
        let hex = old.strip_prefix("sha256:").or_else(|| old.strip_prefix("sha512:"));
        if hex.is_some_and(|hex| hex.len() > 6 && hex.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(Error::new(Code::Rule, format!("\"{old}\" is not a whole digest"))
                .hint("piped, `ocitar ls` shows whole ones"));
        }
        let (old, new) = (reference(old)?, reference(new)?);
        if old.is_name_only() != new.is_name_only() {
            return Err(Error::new(
                Code::Rule,
                format!("one side of \"{old}={new}\" has a tag and the other has none"),
            )
            .hint("give both sides a tag, or neither to rename the repository and keep its tags"));
        }
        let old = if old.is_name_only() { old } else { old.canonical() };
        Ok(Rule::new(Kind::Exact { old, new }))
    }

    /// The rule `--prefix OLD=NEW`.
    ///
    /// # Errors
    ///
    /// `E_RULE` when a side does not start with a registry host, or is no
    /// repository.
    pub fn prefix(text: &str) -> Result<Rule> {
        let (old, new) = text.split_once('=').ok_or_else(|| {
            Error::new(Code::Rule, format!("the prefix rule \"{text}\" has no '='"))
                .hint("--prefix OLD=NEW, for example k8s.gcr.io=registry.k8s.io")
        })?;
        Rule::prefixes(old, new)
    }

    /// The rule `--prefix OLD=NEW` from its two sides.
    ///
    /// # Errors
    ///
    /// As [`prefix`](Self::prefix).
    pub fn prefixes(old: &str, new: &str) -> Result<Rule> {
        Ok(Rule::new(Kind::Prefix { old: prefix(old)?, new: prefix(new)? }))
    }

    /// The rule `--regex PATTERN REPLACEMENT`.
    ///
    /// # Errors
    ///
    /// `E_RULE` when the pattern does not compile, or the replacement names a
    /// group it does not have.
    pub fn regex(pattern: &str, replacement: &str) -> Result<Rule> {
        let pattern = compile(pattern, &format!("^(?:{pattern})$"), replacement)?;
        Ok(Rule::new(Kind::Regex { pattern, replacement: replacement.into() }))
    }

    /// The same rule, from this place.
    pub(super) fn at(self, origin: Origin) -> Rule {
        Rule { origin: Some(origin), ..self }
    }

    /// The same rule, which may match nothing.
    #[cfg(feature = "rules-files")]
    pub(super) fn optional(self) -> Rule {
        Rule { optional: true, ..self }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Where it was written; `None` on a command line or in a program.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// What a name becomes under this rule; `None` when the rule says nothing
    /// about it. Some rules are about images, not about names.
    pub(super) fn apply(&self, name: &Reference) -> Option<Result<Reference>> {
        let new = match &self.kind {
            Kind::New(_) | Kind::Digest { .. } | Kind::BareTag { .. } => return None,
            Kind::Exact { old, new } if old.is_name_only() => (old.repository()
                == name.repository())
            .then(|| with_repository(name, new.repository())),
            Kind::Exact { old, new } => (old == name).then(|| Ok(new.canonical())),
            Kind::Prefix { old, new } => {
                let rest = name.repository().strip_prefix(&**old)?;
                let at_border = rest.is_empty() || rest.starts_with('/');
                at_border.then(|| with_repository(name, &format!("{new}{rest}")))
            }
            Kind::Regex { pattern, replacement } => {
                let text = name.to_string();
                let captures = pattern.captures(&text)?;
                let mut out = String::new();
                captures.expand(replacement, &mut out);
                Some(reference(&out).map(|new| new.canonical()))
            }
            #[cfg(feature = "rules-files")]
            Kind::Mirror(rule) => rule.apply(name),
        };
        let explain = |error: Error| match error.hint_text() {
            Some(_) => error,
            None => error.hint(format!("{self} turned {name} into this")),
        };
        new.map(|new| new.map_err(explain))
    }

    /// Whether the rule is about this image as a whole, whatever its names are;
    /// then its new name.
    pub(super) fn for_image(&self, image: &Image) -> Option<&Reference> {
        match &self.kind {
            Kind::Digest { digest, new } => {
                let mut configs = image.manifests().iter().filter_map(ImageManifest::config_digest);
                let is = image.digest() == Some(*digest) || configs.any(|config| config == *digest);
                is.then_some(new)
            }
            Kind::BareTag { tag, new } => {
                let is = image.names().is_empty() && image.bare_tags().any(|bare| bare == &**tag);
                is.then_some(new)
            }
            _ => None,
        }
    }

    /// Whether the rule is about particular names, so that matching nothing
    /// is a mistake.
    pub(super) fn must_match(&self) -> bool {
        let is_about_one = matches!(
            self.kind,
            Kind::New(_) | Kind::Digest { .. } | Kind::BareTag { .. } | Kind::Exact { .. }
        );
        is_about_one && !self.optional
    }

    pub(super) fn is_optional(&self) -> bool {
        self.optional
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::New(new) => write!(f, "{new}"),
            Kind::Digest { digest, new } => write!(f, "{digest}={new}"),
            Kind::BareTag { tag, new } => write!(f, "<none>:{tag}={new}"),
            Kind::Exact { old, new } => write!(f, "{old}={new}"),
            Kind::Prefix { old, new } => write!(f, "--prefix {old}={new}"),
            Kind::Regex { pattern, replacement } => {
                let text = pattern.as_str();
                let inner =
                    text.strip_prefix("^(?:").and_then(|t| t.strip_suffix(")$")).unwrap_or(text);
                write!(f, "--regex {inner} {replacement}")
            }
            #[cfg(feature = "rules-files")]
            Kind::Mirror(rule) => write!(f, "{rule}"),
        }?;
        match &self.origin {
            Some(origin) => write!(f, " ({origin})"),
            None => Ok(()),
        }
    }
}

/// Compiles a pattern and looks at the groups its replacement names.
pub(super) fn compile(given: &str, pattern: &str, replacement: &str) -> Result<Regex> {
    let built = RegexBuilder::new(pattern).size_limit(REGEX_SIZE).build();
    let pattern = built.map_err(|e| {
        let line = e.to_string().lines().last().unwrap_or_default().trim().to_owned();
        Error::new(Code::Rule, format!("the pattern \"{given}\" does not compile: {line}"))
    })?;
    check_groups(&pattern, replacement)?;
    Ok(pattern)
}

pub(super) fn reference(text: &str) -> Result<Reference> {
    Reference::parse(text).map_err(|e| bad_reference(text, &e))
}

fn bad_reference(text: &str, error: &ReferenceError) -> Error {
    Error::new(Code::Reference, format!("\"{text}\": {error}"))
}

pub(super) fn with_repository(name: &Reference, repository: &str) -> Result<Reference> {
    name.with_repository(repository).map_err(|e| bad_reference(repository, &e))
}

/// A group that is not there would silently become nothing: `$1_x` is the
/// group `1_x`.
fn check_groups(pattern: &Regex, replacement: &str) -> Result<()> {
    for part in replacement.replace("$$", "").split('$').skip(1) {
        let name = match part.strip_prefix('{') {
            Some(braced) => braced.split('}').next().unwrap_or_default(),
            None => {
                let end = part.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
                &part[..end.unwrap_or(part.len())]
            }
        };
        let known = match name.parse::<usize>() {
            Ok(number) => number < pattern.captures_len(),
            Err(_) => pattern.capture_names().flatten().any(|group| group == name),
        };
        if !known {
            return Err(Error::new(Code::Rule, format!("the pattern has no group \"{name}\""))
                .hint("write ${1} where letters, digits or _ follow the number"));
        }
    }
    Ok(())
}

/// `docker.io/library/x.tar` parses as a name, but nobody means one.
fn reject_path(text: &str) -> Result<()> {
    const ENDINGS: [&str; 8] =
        [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.xz", ".tar.bz2", ".oci"];
    let is_path = ENDINGS.iter().any(|ending| text.ends_with(ending))
        || ["/", "./", "../", "~"].iter().any(|start| text.starts_with(start));
    if is_path {
        return Err(Error::new(
            Code::Rule,
            format!("\"{text}\" looks like a file, not like an image name"),
        )
        .hint("the order is: ocitar retag IN OUT RULE…"));
    }
    Ok(())
}

/// Checks one side of a prefix rule: a host, then path components.
pub(super) fn prefix(text: &str) -> Result<Box<str>> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let host = text.split('/').next().unwrap_or_default();
    let is_host = host == "localhost" || host.contains(['.', ':']);
    // Any path below the prefix must parse, so one is tried; with two components,
    // because Docker Hub's names of one component gain a `library/`.
    let tried = Reference::parse(&format!("{text}/x/y"));
    match tried {
        Ok(tried) if is_host && tried.repository() == format!("{text}/x/y") => Ok(text.into()),
        _ => Err(Error::new(
            Code::Rule,
            format!("\"{text}\" cannot start an image name: a prefix begins with a registry host"),
        )
        .hint("Docker Hub is written in full: docker.io, docker.io/library, docker.io/ORG")),
    }
}
