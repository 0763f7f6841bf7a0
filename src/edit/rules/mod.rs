//! Rename rules: what a name becomes, and which rule says so.
//!
//! Rules work on canonical names (`docker.io/library/nginx:1.27`), whatever an
//! archive's spelling, and know nothing of archives: [`RenameRules::explain`]
//! can be asked about any name.

#[cfg(feature = "rules-files")]
mod file;
#[cfg(feature = "rules-files")]
mod hosts;
#[cfg(feature = "rules-files")]
mod mirror;
#[cfg(feature = "rules-files")]
mod registries;
mod rule;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::archive::Image;
use crate::error::{Code, Error, Result};
use crate::reference::Reference;
use rule::Kind;
pub use rule::{Origin, Rule};

/// Rules in order, and what happens to names none of them matches.
///
/// ```
/// use ocitar::edit::{RenameRules, Rule};
///
/// # fn main() -> ocitar::error::Result<()> {
/// let rules = RenameRules::new().rule(Rule::prefix("k8s.gcr.io=registry.k8s.io")?);
/// let said = rules.explain("k8s.gcr.io/pause:3.1")?;
/// assert_eq!(said.new.map(|new| new.to_string()).as_deref(), Some("registry.k8s.io/pause:3.1"));
/// assert_eq!(said.rule.map(|rule| rule.to_string()).as_deref(), Some("--prefix k8s.gcr.io=registry.k8s.io"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct RenameRules {
    rules: Vec<Rule>,
    keep_old: bool,
    drop_unmatched: bool,
    allow_unmatched: bool,
}

/// A file of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleFile {
    /// Lines of `OLD NEW`; `#` starts a comment.
    Map(PathBuf),
    /// A k3s or rke2 `registries.yaml`: names as the first endpoint of each
    /// mirror holds them.
    #[cfg(feature = "rules-files")]
    Registries {
        /// The file.
        path: PathBuf,
        /// Names as the registries hold them, from those in the mirrors.
        reverse: bool,
    },
    /// A containerd `certs.d`: names as the first mirror of each registry's
    /// `hosts.toml` holds them.
    #[cfg(feature = "rules-files")]
    HostsDir {
        /// The folder of folders.
        path: PathBuf,
        /// Names as the registries hold them, from those in the mirrors.
        reverse: bool,
    },
    /// Rules in a format of ocitar's own, with comments, for version control.
    ///
    /// ```toml
    /// strict = true           # false: these rules may match nothing
    /// add = false             # true: keep the old names beside the new
    /// drop-unmatched = false  # true: drop names no rule matches
    ///
    /// [[rule]]                # the first that matches a name wins
    /// old = "nginx:1.27"
    /// new = "registry.example.com/web/nginx:1.27"
    ///
    /// [[rule]]
    /// prefix = "k8s.gcr.io"
    /// new = "registry.k8s.io"
    /// ```
    ///
    /// Other rules: `regex` and `replace`; `new` alone; `map`; `registries` or
    /// `hosts-dir`, and `reverse = true`. Paths are relative to the file; a
    /// key that is none of these is an error.
    #[cfg(feature = "rules-files")]
    Rules(PathBuf),
}

/// What the rules say about one name.
///
/// Prints as `OLD becomes NEW by RULE`, or `no rule matches OLD`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation<'r> {
    /// The name, canonical.
    pub old: Reference,
    /// What it becomes; `None` when no rule matches it.
    pub new: Option<Reference>,
    /// The rule that says so.
    pub rule: Option<&'r Rule>,
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.new, self.rule) {
            (Some(new), Some(rule)) => write!(f, "{} becomes {new} by {rule}", self.old),
            _ => write!(f, "no rule matches {}", self.old),
        }
    }
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

    /// Adds the rules of a file behind the others. A file of ocitar's own also
    /// says what becomes of old and unmatched names.
    ///
    /// # Errors
    ///
    /// `E_IO`; `E_RULE` and `E_REF`, with the file, and its line where that is
    /// known.
    pub fn read(self, file: &RuleFile) -> Result<Self> {
        #[cfg(feature = "rules-files")]
        let label = |path: &Path| path.display().to_string();
        match file {
            RuleFile::Map(path) => self.read_map(path),
            #[cfg(feature = "rules-files")]
            RuleFile::Registries { path, reverse } => {
                let more = registries::rules(&read_text(path)?, &label(path), *reverse)?;
                Ok(more.into_iter().fold(self, Self::rule))
            }
            #[cfg(feature = "rules-files")]
            RuleFile::HostsDir { path, reverse } => {
                Ok(hosts::rules(path, *reverse)?.into_iter().fold(self, Self::rule))
            }
            #[cfg(feature = "rules-files")]
            RuleFile::Rules(path) => file::read(self, path),
        }
    }

    fn read_map(self, path: &Path) -> Result<Self> {
        let text = read_text(path)?;
        self.map(&text, &path.display().to_string())
    }

    fn map(mut self, text: &str, file: &str) -> Result<Self> {
        let before = self.rules.len();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let rule = match (words.next(), words.next(), words.next()) {
                (None, ..) => continue,
                (Some(old), Some(new), None) => Rule::exact(old, new),
                _ => Err(Error::new(Code::Rule, "a line of a map is \"OLD NEW\"")),
            };
            let origin = Origin::new(file, Some(number));
            self.rules.push(rule.map_err(|e| on_line(e, &origin))?.at(origin));
        }
        if self.rules.len() == before {
            return Err(Error::new(Code::Rule, "no line \"OLD NEW\" in it").in_archive(file));
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

    /// Whether names no rule matches go, as set here or in a rule file.
    #[must_use]
    pub fn drops_unmatched(&self) -> bool {
        self.drop_unmatched
    }

    /// What becomes of a name, whatever its spelling, and which rule says so.
    /// No archive is needed. Rules about images, by digest or by a bare tag,
    /// are not asked.
    ///
    /// # Errors
    ///
    /// `E_REF` when this is no image reference, or a rule matches and its result
    /// is none; `E_RULE` when two rewrites of a mirror disagree, and as
    /// [`check`](Self::check).
    pub fn explain(&self, name: &str) -> Result<Explanation<'_>> {
        let old = rule::reference(name)?.canonical();
        let hit = match self.sole_new()? {
            Some(new) => Some((0, new.clone())),
            None => self.rename(&old)?,
        };
        let (rule, new) = hit.unzip();
        Ok(Explanation { old, new, rule: rule.and_then(|rule| self.rules.get(rule)) })
    }

    /// What a canonical name becomes, with the position of the rule that says
    /// so; `None` when no rule matches it.
    ///
    /// # Errors
    ///
    /// `E_REF` when a rule matches and its result is no image reference.
    pub(crate) fn rename(&self, name: &Reference) -> Result<Option<(usize, Reference)>> {
        for (position, rule) in self.rules.iter().enumerate() {
            if let Some(new) = rule.apply(name) {
                return Ok(Some((position, new?)));
            }
        }
        Ok(None)
    }

    /// The one `NEW` rule, when there is one.
    pub(crate) fn sole_new(&self) -> Result<Option<&Reference>> {
        let mut new = self.rules.iter().filter_map(|rule| match rule.kind() {
            Kind::New(new) => Some(new),
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
        let rules = self.rules.iter().enumerate();
        rules.filter_map(|(position, rule)| Some((position, rule.for_image(image)?))).next()
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
                format!("nothing for \"{rule}\"{more}: no image has the name, or an earlier rule took it"),
            )
            .hint(
                "`ocitar ls` shows the names; --allow-unmatched ignores rules that match nothing",
            ));
        }
        if !self.rules.iter().all(Rule::is_optional) && !fired.contains(&true) {
            return Err(Error::new(Code::RuleUnmatched, "no rule matched any name").hint(
                "`ocitar ls` shows the names; --allow-unmatched ignores rules that match nothing",
            ));
        }
        Ok(())
    }
}

/// Bytes a file of rules may have. A list of ten thousand names is one of them.
const FILE_SIZE: u64 = 16 << 20;

/// A file of rules as text.
fn read_text(path: &Path) -> Result<String> {
    let fail = |e| Error::io(path, e);
    let refuse =
        |message: String| Error::new(Code::Rule, message).in_archive(path.display().to_string());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(fail)?;
    file.take(FILE_SIZE + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > FILE_SIZE {
        return Err(refuse(format!("more than {FILE_SIZE} bytes of rules")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|e| refuse(format!("not UTF-8 at byte {}", e.utf8_error().valid_up_to())))?;
    // Editors elsewhere put a mark before it.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The same error, in a place; unless it has one already.
fn on_line(error: Error, origin: &Origin) -> Error {
    if error.archive().is_some() {
        return error;
    }
    let message = match origin.line() {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    };
    let placed = Error::new(error.code(), message).in_archive(origin.file());
    match error.hint_text() {
        Some(hint) => placed.hint(hint),
        None => placed,
    }
}

/// The line of a byte of a text, counted from 1.
#[cfg(feature = "rules-files")]
fn line_of(text: &str, at: usize) -> u64 {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count() as u64
}

#[cfg(feature = "rules-files")]
fn toml_error(error: &toml::de::Error, text: &str, file: &str) -> Error {
    let line = error.span().map(|span| line_of(text, span.start));
    on_line(Error::new(Code::Rule, error.message()), &Origin::new(file, line))
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
        let rules = RenameRules::new().map("# head\na:1 b:1\n\n c  d # tail\n", "m").unwrap();
        assert_eq!(rules.rules().len(), 2);
        let error = RenameRules::new().map("a:1 b:1\nx y z\n", "m").unwrap_err();
        assert_eq!(error.to_string(), "m: line 2: a line of a map is \"OLD NEW\" [E_RULE]");
        assert_eq!(
            rules.explain("c:9").unwrap().to_string(),
            "docker.io/library/c:9 becomes docker.io/library/d:9 by docker.io/library/c=docker.io/library/d (m:4)"
        );
    }
}
