//! Registry mirrors: what `registries.yaml` and `hosts.toml` say alike.
//!
//! Both tell containerd where to ask for an image instead of at its own
//! registry. Asked for `docker.io/library/nginx:1`, a mirror `https://m:5000`
//! is asked for its repository `library/nginx`: for `m:5000/library/nginx:1`.
//! That is the name the image has in the mirror, and the one it is pushed
//! there under.

use std::fmt;

use regex::Regex;

use crate::edit::rules::on_line;
use crate::edit::rules::rule::{Kind, Origin, Rule, compile, prefix, with_repository};
use crate::error::{Code, Error, Result};
use crate::reference::Reference;

/// What a registry's images are called in its mirror; under one of the
/// mirror's rewrites, or where none of them changes the name.
#[derive(Clone, Debug)]
pub(super) struct MirrorRule {
    /// The registry; `None` for every registry that no rule before this is for.
    host: Option<Box<str>>,
    /// How names in the mirror start; `None` where the registry has none.
    target: Option<Box<str>>,
    rewrite: Option<Rewrite>,
    /// The mirror's rewrites that were not tried yet.
    rivals: Vec<Rewrite>,
}

/// A pattern that is replaced in the repository's path, wherever it matches.
#[derive(Clone, Debug)]
pub(super) struct Rewrite {
    pattern: Regex,
    replacement: Box<str>,
    origin: Origin,
}

/// A registry and where its images are.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    /// `None` is every other registry.
    pub(super) host: Option<Box<str>>,
    /// How names in the mirror start; `None` where the registry has none.
    pub(super) target: Option<Box<str>>,
    pub(super) rewrites: Vec<Rewrite>,
    pub(super) origin: Origin,
}

impl Rewrite {
    /// A pattern and its replacement, with `$1` or `${name}` for groups.
    ///
    /// The syntax is Go's; what differs from Rust's does not matter for
    /// repositories, which are ASCII.
    pub(super) fn new(pattern: &str, replacement: &str, origin: Origin) -> Result<Rewrite> {
        let compiled = compile(pattern, pattern, replacement);
        let pattern = compiled.map_err(|e| on_line(e, &origin))?;
        Ok(Rewrite { pattern, replacement: replacement.into(), origin })
    }

    /// The path it makes of this one; `None` when that is the same. The first
    /// rewrite that changes a path is the one containerd takes.
    fn apply(&self, path: &str) -> Option<String> {
        let new = self.pattern.replace_all(path, &*self.replacement);
        (new != path).then(|| new.into_owned())
    }
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.pattern, self.replacement)
    }
}

impl MirrorRule {
    pub(super) fn apply(&self, name: &Reference) -> Option<Result<Reference>> {
        if self.host.as_deref().is_some_and(|host| host != name.domain()) {
            return None;
        }
        let path = match &self.rewrite {
            Some(rewrite) => rewrite.apply(name.path())?,
            None => name.path().to_owned(),
        };
        let rival = self
            .rivals
            .iter()
            .find(|rival| rival.apply(name.path()).is_some_and(|other| other != path));
        if let (Some(rival), Some(rewrite)) = (rival, &self.rewrite) {
            return Some(Err(Error::new(
                Code::Rule,
                format!("two rewrites make different names of {name}: {rewrite} and {rival}"),
            )
            .hint("containerd takes either, as it happens; let one pattern exclude the other")));
        }
        Some(match &self.target {
            Some(target) => with_repository(name, &format!("{target}/{path}")),
            None => Ok(name.clone()),
        })
    }
}

impl fmt::Display for MirrorRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_deref().unwrap_or("*");
        write!(f, "mirror {host}={}", self.target.as_deref().unwrap_or(host))?;
        match &self.rewrite {
            Some(rewrite) => write!(f, " rewrite {rewrite}"),
            None => Ok(()),
        }
    }
}

/// The rules that give names as the mirrors hold them; with `reverse`, as the
/// registries do.
///
/// # Errors
///
/// `E_RULE` when there is no mirror; with `reverse` when a mirror cannot be
/// undone or two leave open which registry an image came from.
pub(super) fn rules(mirrors: Vec<Mirror>, reverse: bool, file: &str) -> Result<Vec<Rule>> {
    if mirrors.iter().all(|mirror| mirror.target.is_none()) {
        return Err(Error::new(Code::Rule, "no mirror in it").in_archive(file));
    }
    if reverse {
        return reversed(&mirrors);
    }
    // A registry's own entry goes before that for all others, which alone makes
    // an entry without a mirror mean something.
    let has_rest = mirrors.iter().any(|mirror| mirror.host.is_none());
    let (named, rest): (Vec<_>, Vec<_>) =
        mirrors.into_iter().partition(|mirror| mirror.host.is_some());
    let named = named.into_iter().filter(|mirror| has_rest || mirror.target.is_some());
    Ok(named.chain(rest).flat_map(forward).collect())
}

/// A rule for each rewrite, and one for the names none of them changes.
fn forward(mirror: Mirror) -> Vec<Rule> {
    let Mirror { host, target, rewrites, origin } = mirror;
    let rule = |rewrite: Option<Rewrite>, rivals: &[Rewrite]| {
        let origin = rewrite.as_ref().map_or_else(|| origin.clone(), |own| own.origin.clone());
        let (host, target) = (host.clone(), target.clone());
        let rule = MirrorRule { host, target, rewrite, rivals: rivals.to_vec() };
        Rule::new(Kind::Mirror(rule)).at(origin)
    };
    let rewriting =
        (0..rewrites.len()).map(|i| rule(Some(rewrites[i].clone()), &rewrites[i + 1..]));
    rewriting.chain([rule(None, &[])]).collect()
}

fn reversed(mirrors: &[Mirror]) -> Result<Vec<Rule>> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for mirror in mirrors {
        let fail = |message: String| on_line(Error::new(Code::Rule, message), &mirror.origin);
        let Some(target) = mirror.target.as_deref() else { continue };
        let Some(host) = mirror.host.as_deref() else {
            return Err(fail(format!(
                "{target} mirrors every registry, so no name in it tells where an image came from"
            ))
            .hint("name the registries, or say --prefix MIRROR=REGISTRY"));
        };
        if let Some(rewrite) = mirror.rewrites.first() {
            let message = format!("the rewrite {rewrite} cannot be undone");
            return Err(on_line(Error::new(Code::Rule, message), &rewrite.origin)
                .hint("--reverse takes mirrors without rewrites; say --regex for the others"));
        }
        // An entry that says how to reach a registry is not a mirror of it.
        if host == target {
            continue;
        }
        let clash =
            seen.iter().find(|(other, _)| is_below(target, other) || is_below(other, target));
        if let Some((other, of)) = clash {
            return Err(fail(format!(
                "{target} holds images of {host}, {other} those of {of}: a name in it does not tell which"
            ))
            .hint("say --prefix MIRROR=REGISTRY for the one that is meant"));
        }
        seen.push((target, host));
        let rule = Rule::prefixes(target, host).map_err(|e| on_line(e, &mirror.origin))?;
        rules.push(rule.at(mirror.origin.clone()));
    }
    Ok(rules)
}

/// Whether a repository is another, or below it.
fn is_below(repository: &str, other: &str) -> bool {
    let rest = repository.strip_prefix(other);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// How names start that lead to an endpoint: its host, and what its path says
/// behind `/v2`, which is where clients look for names.
///
/// `endpoint` is a URL, or one without its scheme. `root` makes of its path the
/// one that containerd asks below.
pub(super) fn target(endpoint: &str, root: impl Fn(&str) -> String) -> Result<Box<str>> {
    let fail = |message: &str| Error::new(Code::Rule, format!("\"{endpoint}\": {message}"));
    let rest = match endpoint.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some(_) => return Err(fail("neither http nor https")),
        None => endpoint,
    };
    if rest.contains(['@', '?', '#']) {
        return Err(fail("more than a host and a path"));
    }
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // What Docker Hub's registry is called, and its images are not.
    let host = match host {
        "registry-1.docker.io" | "index.docker.io" => "docker.io",
        host => host,
    };
    let root = root(path);
    let mut parts = root.split('/').filter(|part| !part.is_empty());
    if parts.next() != Some("v2") {
        return Err(fail("no image name leads there, because clients ask below /v2/")
            .hint(format!("say which names do: --prefix REGISTRY={host}/…")));
    }
    let parts: Vec<&str> = std::iter::once(host).chain(parts).collect();
    prefix(&parts.join("/")).map_err(|_| fail("no image name starts with this"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_endpoint_makes_of_names() {
        let rows = [
            ("https://reg.example.com", Some("reg.example.com")),
            ("https://reg.example.com/", Some("reg.example.com")),
            ("http://reg.example.com:5000/v2", Some("reg.example.com:5000")),
            ("https://reg.example.com/v2/", Some("reg.example.com")),
            ("reg.example.com:5000", Some("reg.example.com:5000")),
            ("https://reg.example.com/v2/hub/x", Some("reg.example.com/hub/x")),
            ("https://registry-1.docker.io", Some("docker.io")),
            ("localhost:5000", Some("localhost:5000")),
            ("https://reg.example.com/hub", None),
            ("https://reg.example.com/hub/v2", None),
            ("https://registry", None),
            ("ftp://reg.example.com", None),
            ("https://user:secret@reg.example.com", None),
            ("https://reg.example.com/v2/UPPER", None),
            ("https://", None),
            ("", None),
        ];
        for (endpoint, want) in rows {
            let as_is = |path: &str| match path {
                "" | "/" => "/v2".to_owned(),
                path => path.to_owned(),
            };
            let got = target(endpoint, as_is);
            assert_eq!(got.as_deref().ok(), want, "{endpoint}");
            assert!(got.map_or_else(|e| e.code() == Code::Rule, |_| true), "{endpoint}");
        }
    }
}
