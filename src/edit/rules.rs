//! Rename rules: what a name becomes, and which rule says so.
//!
//! Rules work on canonical names (`docker.io/library/nginx:1.27`), whatever an
//! archive's spelling, and know nothing of archives: [`RenameRules::rename`]
//! can be asked about any name.

use regex::{Regex, RegexBuilder};

use crate::archive::{Image, ImageManifest};
use crate::digest::Digest;
use crate::error::{Code, Error, Result};
use crate::reference::{Reference, ReferenceError};

/// One rule.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Rule {
    /// `NEW`: the archive's one image gets this name instead of all it has.
    New(Reference),
    /// `sha256:…=NEW`: the image of this digest, of its manifest or of its
    /// configuration, gets this name instead of all it has.
    Digest {
        /// What identifies the image.
        digest: Digest,
        /// The name it gets.
        new: Reference,
    },
    /// `<none>:TAG=NEW`: the image whose only name is a tag without a
    /// repository.
    BareTag {
        /// The tag.
        tag: Box<str>,
        /// The name it gets.
        new: Reference,
    },
    /// `OLD=NEW`: one name, or every tag of one repository.
    Exact {
        /// The name that is replaced.
        old: Reference,
        /// The name it gets.
        new: Reference,
    },
    /// A repository prefix, at a border between components.
    Prefix {
        /// Starts with a registry host.
        old: Box<str>,
        /// Starts with a registry host.
        new: Box<str>,
    },
    /// A regular expression over the whole canonical name.
    Regex {
        /// Anchored at both ends.
        pattern: Regex,
        /// With `$1` or `${name}` for groups.
        replacement: Box<str>,
    },
}

/// Bytes a compiled pattern may take: patterns come from people, and some
/// grow exponentially.
const REGEX_SIZE: usize = 1 << 20;

impl Rule {
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
                Ok(Rule::New(reference(text)?.canonical()))
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
            return Ok(Rule::BareTag { tag: tag.into(), new: reference(new)?.canonical() });
        }
        if let Ok(digest) = old.parse() {
            return Ok(Rule::Digest { digest, new: reference(new)?.canonical() });
        }
        let (old, new) = (reference(old)?, reference(new)?);
        if old.is_name_only() != new.is_name_only() {
            return Err(Error::new(
                Code::Rule,
                format!("one side of \"{old}={new}\" has a tag and the other has none"),
            )
            .hint("give both sides a tag, or neither to rename the repository and keep its tags"));
        }
        Ok(Rule::Exact { old: if old.is_name_only() { old } else { old.canonical() }, new })
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
        Ok(Rule::Prefix { old: prefix(old)?, new: prefix(new)? })
    }

    /// The rule `--regex PATTERN REPLACEMENT`.
    ///
    /// # Errors
    ///
    /// `E_RULE` when the pattern does not compile, or the replacement names a
    /// group it does not have.
    pub fn regex(pattern: &str, replacement: &str) -> Result<Rule> {
        let built = RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(REGEX_SIZE).build();
        let pattern = built.map_err(|e| {
            let line = e.to_string().lines().last().unwrap_or_default().trim().to_owned();
            Error::new(Code::Rule, format!("the pattern \"{pattern}\" does not compile: {line}"))
        })?;
        check_groups(&pattern, replacement)?;
        Ok(Rule::Regex { pattern, replacement: replacement.into() })
    }

    /// What a name becomes under this rule; `None` when the rule says nothing
    /// about it. Some rules are about images, not about names.
    fn apply(&self, name: &Reference) -> Option<Result<Reference>> {
        match self {
            Rule::New(_) | Rule::Digest { .. } | Rule::BareTag { .. } => None,
            Rule::Exact { old, new } if old.is_name_only() => (old.repository()
                == name.repository())
            .then(|| with_repository(name, new.repository())),
            Rule::Exact { old, new } => (old == name).then(|| Ok(new.canonical())),
            Rule::Prefix { old, new } => {
                let rest = name.repository().strip_prefix(&**old)?;
                let at_border = rest.is_empty() || rest.starts_with('/');
                at_border.then(|| with_repository(name, &format!("{new}{rest}")))
            }
            Rule::Regex { pattern, replacement } => {
                let text = name.to_string();
                let captures = pattern.captures(&text)?;
                let mut out = String::new();
                captures.expand(replacement, &mut out);
                Some(
                    reference(&out)
                        .map(|new| new.canonical())
                        .map_err(|e| e.hint(format!("--regex turned {text} into this"))),
                )
            }
        }
    }

    /// Whether the rule is about particular names, so that matching nothing
    /// is a mistake.
    fn must_match(&self) -> bool {
        !matches!(self, Rule::Prefix { .. } | Rule::Regex { .. })
    }
}

/// The rule as it is written on a command line.
impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Rule::New(new) => write!(f, "{new}"),
            Rule::Digest { digest, new } => write!(f, "{digest}={new}"),
            Rule::BareTag { tag, new } => write!(f, "<none>:{tag}={new}"),
            Rule::Exact { old, new } => write!(f, "{old}={new}"),
            Rule::Prefix { old, new } => write!(f, "--prefix {old}={new}"),
            Rule::Regex { pattern, replacement } => {
                let text = pattern.as_str();
                let inner =
                    text.strip_prefix("^(?:").and_then(|t| t.strip_suffix(")$")).unwrap_or(text);
                write!(f, "--regex {inner} {replacement}")
            }
        }
    }
}

/// Rules in order, and what happens to names none of them matches.
#[derive(Clone, Debug, Default)]
pub struct RenameRules {
    rules: Vec<Rule>,
    keep_old: bool,
    drop_unmatched: bool,
    allow_unmatched: bool,
}

impl RenameRules {
    /// No rules yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule behind the others; the first that matches a name wins.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds the rules of a map file: a line is `OLD NEW`; `#` starts a comment.
    ///
    /// # Errors
    ///
    /// As [`Rule::exact`], with the line's number.
    pub fn map_file(mut self, text: &str) -> Result<Self> {
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let rule = match (words.next(), words.next(), words.next()) {
                (None, ..) => continue,
                (Some(old), Some(new), None) => Rule::exact(old, new),
                _ => Err(Error::new(Code::Rule, "a line of a map is \"OLD NEW\"")),
            };
            let number = number + 1;
            self.rules.push(
                rule.map_err(|e| Error::new(e.code(), format!("line {number}: {}", e.message())))?,
            );
        }
        Ok(self)
    }

    /// Keeps the old name beside the new one.
    #[must_use]
    pub fn keep_old(mut self, yes: bool) -> Self {
        self.keep_old = yes;
        self
    }

    /// Drops the names no rule matches, and the images left without a name.
    #[must_use]
    pub fn drop_unmatched(mut self, yes: bool) -> Self {
        self.drop_unmatched = yes;
        self
    }

    /// Accepts rules that match nothing.
    #[must_use]
    pub fn allow_unmatched(mut self, yes: bool) -> Self {
        self.allow_unmatched = yes;
        self
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Checks that the rules go together, which needs no archive.
    ///
    /// # Errors
    ///
    /// `E_RULE` when a `NEW` name does not stand alone.
    pub fn check(&self) -> Result<()> {
        self.sole_new().map(drop)
    }

    pub(crate) fn keeps_old(&self) -> bool {
        self.keep_old
    }

    pub(crate) fn drops_unmatched(&self) -> bool {
        self.drop_unmatched
    }

    /// What a canonical name becomes, with the position of the rule that says
    /// so; `None` when no rule matches it.
    ///
    /// # Errors
    ///
    /// `E_REF` when a rule matches and its result is no image reference.
    pub fn rename(&self, name: &Reference) -> Result<Option<(usize, Reference)>> {
        for (position, rule) in self.rules.iter().enumerate() {
            if let Some(new) = rule.apply(name) {
                return Ok(Some((position, new?)));
            }
        }
        Ok(None)
    }

    /// The one `NEW` rule, when there is one.
    pub(crate) fn sole_new(&self) -> Result<Option<&Reference>> {
        let mut new = self.rules.iter().filter_map(|rule| match rule {
            Rule::New(new) => Some(new),
            _ => None,
        });
        match (new.next(), new.next()) {
            (None, _) => Ok(None),
            (Some(old), Some(new)) => Err(Error::new(Code::Rule, "two new names for one image")
                .hint(format!(
                    "to rename one to the other: {}={}",
                    old.familiar(),
                    new.familiar()
                ))),
            (Some(_), None) if self.rules.len() > 1 => {
                Err(Error::new(Code::Rule, "a NEW name replaces all names and stands alone")
                    .hint("say OLD=NEW for each name"))
            }
            (Some(new), None) => Ok(Some(new)),
        }
    }

    /// The first rule that is about this image as a whole, with its new name.
    /// Such rules go before those about names.
    pub(crate) fn for_image(&self, image: &Image) -> Option<(usize, &Reference)> {
        let configs = || image.manifests().iter().filter_map(ImageManifest::config_digest);
        self.rules.iter().enumerate().find_map(|(position, rule)| match rule {
            Rule::Digest { digest, new } => {
                let is =
                    image.digest() == Some(*digest) || configs().any(|config| config == *digest);
                is.then_some((position, new))
            }
            Rule::BareTag { tag, new } => {
                let is = image.names().is_empty() && image.bare_tags().any(|bare| bare == &**tag);
                is.then_some((position, new))
            }
            _ => None,
        })
    }

    /// Checks which rules fired, by position.
    ///
    /// # Errors
    ///
    /// `E_RULE_UNMATCHED` when an exact rule or all rules matched nothing,
    /// unless that was allowed.
    pub(crate) fn check_fired(&self, fired: &[bool]) -> Result<()> {
        if self.allow_unmatched {
            return Ok(());
        }
        let idle = |(rule, fired): &(&Rule, &bool)| rule.must_match() && !**fired;
        let mut idle = self.rules.iter().zip(fired).filter(idle);
        if let Some((rule, _)) = idle.next() {
            let more = match idle.count() {
                0 => String::new(),
                n => format!(", and {n} more"),
            };
            return Err(Error::new(
                Code::RuleUnmatched,
                format!("no image is named as in \"{rule}\"{more}"),
            )
            .hint(
                "`ocitar ls` shows the names; --allow-unmatched ignores rules that match nothing",
            ));
        }
        if !self.rules.is_empty() && !fired.contains(&true) {
            return Err(Error::new(Code::RuleUnmatched, "no rule matched any name").hint(
                "`ocitar ls` shows the names; --allow-unmatched ignores rules that match nothing",
            ));
        }
        Ok(())
    }
}

fn reference(text: &str) -> Result<Reference> {
    Reference::parse(text).map_err(|e| bad_reference(text, &e))
}

fn bad_reference(text: &str, error: &ReferenceError) -> Error {
    Error::new(Code::Reference, format!("\"{text}\": {error}"))
}

fn with_repository(name: &Reference, repository: &str) -> Result<Reference> {
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
fn prefix(text: &str) -> Result<Box<str>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn one(rule: Result<Rule>, name: &str) -> Option<String> {
        let rules = RenameRules::new().rule(rule.unwrap());
        let name = Reference::parse(name).unwrap().canonical();
        rules.rename(&name).unwrap().map(|(_, new)| new.to_string())
    }

    #[test]
    fn exact_rules_compare_after_normalisation() {
        let rows = [
            ("nginx:1=example.com/n:2", "docker.io/library/nginx:1", Some("example.com/n:2")),
            ("nginx:1=example.com/n:2", "docker.io/library/nginx:2", None),
            ("nginx=example.com/n", "docker.io/library/nginx:2", Some("example.com/n:2")),
            ("nginx=web", "nginx", Some("docker.io/library/web:latest")),
            ("index.docker.io/library/a:1=b:1", "a:1", Some("docker.io/library/b:1")),
        ];
        for (rule, name, want) in rows {
            assert_eq!(one(Rule::parse(rule), name).as_deref(), want, "{rule} on {name}");
        }
    }

    #[test]
    fn prefixes_match_at_component_borders() {
        let rows = [
            (
                "k8s.gcr.io=registry.k8s.io",
                "k8s.gcr.io/pause:3.1",
                Some("registry.k8s.io/pause:3.1"),
            ),
            ("docker.io/kube=r.io/k", "kube/x:1", Some("r.io/k/x:1")),
            ("docker.io/kube=r.io/k", "kubeguide/x:1", None),
            ("docker.io/library/=r.io/", "nginx:1", Some("r.io/nginx:1")),
            ("docker.io/library/nginx=r.io/n", "nginx:1", Some("r.io/n:1")),
            ("docker.io=r.io/hub", "nginx:1", Some("r.io/hub/library/nginx:1")),
            ("localhost:5000=r.io", "localhost:5000/a:1", Some("r.io/a:1")),
        ];
        for (rule, name, want) in rows {
            assert_eq!(one(Rule::prefix(rule), name).as_deref(), want, "{rule} on {name}");
        }
        for bad in ["library=r.io", "docker.io", "docker.io=UPPER", "docker.io/a:1=r.io", "=r.io"] {
            assert_eq!(Rule::prefix(bad).unwrap_err().code(), Code::Rule, "{bad}");
        }
    }

    #[test]
    fn patterns_match_the_whole_name() {
        let rule = || Rule::regex(r"docker\.io/([^/]+)/(.+)", "r.io/$1-$2");
        assert_eq!(one(rule(), "nginx:1").as_deref(), Some("r.io/library-nginx:1"));
        assert_eq!(one(rule(), "quay.io/a/b:1"), None);
        assert_eq!(one(Rule::regex("nginx", "x"), "nginx:1"), None);
        assert_eq!(
            one(Rule::regex("(.*):(.*)", "${1}_x:$2"), "r.io/a:1").as_deref(),
            Some("r.io/a_x:1")
        );
        for (pattern, replacement) in [("(.*)", "$1_x"), ("(.*)", "$2"), ("a", "${b}"), ("a", "$")]
        {
            assert_eq!(
                Rule::regex(pattern, replacement).unwrap_err().code(),
                Code::Rule,
                "{replacement}"
            );
        }
        assert_eq!(Rule::regex("(", "x").unwrap_err().code(), Code::Rule);
        assert_eq!(Rule::regex("a{1000}{1000}{1000}", "x").unwrap_err().code(), Code::Rule);
    }

    #[test]
    fn the_first_match_wins() {
        let rules = RenameRules::new()
            .rule(Rule::parse("a:1=first:1").unwrap())
            .rule(Rule::prefix("docker.io/library=r.io").unwrap());
        let rename = |name: &str| {
            let name = Reference::parse(name).unwrap().canonical();
            rules.rename(&name).unwrap().map(|(at, new)| (at, new.to_string()))
        };
        assert_eq!(rename("a:1"), Some((0, "docker.io/library/first:1".into())));
        assert_eq!(rename("a:2"), Some((1, "r.io/a:2".into())));
        assert_eq!(rename("quay.io/a:2"), None);
    }

    #[test]
    fn mistakes_are_told_apart() {
        let rows = [
            ("out.tar", Code::Rule),
            ("./x", Code::Rule),
            ("a:1=b", Code::Rule),
            ("a=b:1", Code::Rule),
            ("a/UPPER", Code::Reference),
            ("a:1=b/UP:1", Code::Reference),
            ("", Code::Reference),
        ];
        for (rule, want) in rows {
            assert_eq!(Rule::parse(rule).unwrap_err().code(), want, "{rule}");
        }
    }

    #[test]
    fn maps_have_comments_and_line_numbers() {
        let rules = RenameRules::new().map_file("# head\na:1 b:1\n\n c  d # tail\n").unwrap();
        assert_eq!(rules.rules().len(), 2);
        let error = RenameRules::new().map_file("a:1 b:1\nx y z\n").unwrap_err();
        assert_eq!(error.message(), "line 2: a line of a map is \"OLD NEW\"");
    }
}
