//! containerd's `certs.d`: a folder for each registry, with a `hosts.toml` that
//! says where to ask for its images.
//!
//! ```text
//! certs.d/docker.io/hosts.toml          docker.io
//! certs.d/registry.example.com_5000_/   registry.example.com:5000
//! certs.d/_default/                     every registry without a folder
//! ```
//!
//! ```toml
//! server = "https://registry-1.docker.io"
//! [host."https://mirror.example.com:5000/v2/hub"]
//!   capabilities = ["pull", "resolve"]
//!   override_path = true
//! ```
//!
//! The first host that may be pulled from counts, else the server, as in
//! containerd's `core/remotes/docker/config/hosts.go`: `/v2` comes behind a
//! path unless it ends so or `override_path` is set. A file with a server and
//! no host is read so since containerd 2; 1.6 and 1.7 ignore it. k3s writes such
//! files with a table `rewrite` for each host, which its containerd reads.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::edit::rules::mirror::{self, Mirror, Rewrite};
use crate::edit::rules::rule::{Origin, Rule};
use crate::edit::rules::{line_of, on_line, read_text, toml_error};
use crate::error::{Code, Error, Result};

#[derive(Deserialize)]
struct Document {
    server: Option<Spanned<String>>,
    #[serde(default)]
    host: BTreeMap<Spanned<String>, Entry>,
    #[serde(flatten)]
    own: Entry,
}

/// What is said about one host. The rest is about reaching it.
#[derive(Clone, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    override_path: bool,
    #[serde(default)]
    rewrite: BTreeMap<String, String>,
}

/// The rules of a folder.
///
/// # Errors
///
/// `E_IO`; `E_RULE`, with file and line, for what is no such TOML, for a host
/// that no name leads to, and when there is no mirror; with `reverse`, for what
/// cannot be undone.
pub(super) fn rules(folder: &Path, reverse: bool) -> Result<Vec<Rule>> {
    let fail = |e| Error::io(folder, e);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        // A folder, or a link to one.
        if entry.path().is_dir() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    names.sort();
    let has_port_form = |host: &str| {
        let form = host.rsplit_once(':').map(|(host, port)| format!("{host}_{port}_"));
        form.is_some_and(|form| names.contains(&form))
    };
    let mut all = Vec::new();
    for name in names.iter().filter(|name| !has_port_form(name)) {
        all.push(mirror(registry(name), &folder.join(name).join("hosts.toml"))?);
    }
    mirror::rules(all, reverse, &folder.display().to_string())
}

/// The registry a folder is for; `None` is every other.
fn registry(folder: &str) -> Option<Box<str>> {
    if folder == "_default" {
        return None;
    }
    let port = folder.strip_suffix('_').and_then(|rest| rest.rsplit_once('_'));
    let port = port.filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    Some(port.map_or_else(|| folder.into(), |(host, port)| format!("{host}:{port}").into()))
}

/// What a registry's file says; it may have none, and then no mirror.
fn mirror(host: Option<Box<str>>, path: &Path) -> Result<Mirror> {
    let file = path.display().to_string();
    let none = |host| Mirror {
        host,
        target: None,
        rewrites: Vec::new(),
        origin: Origin::new(&file, None),
    };
    if !path.exists() {
        return Ok(none(host));
    }
    let text = read_text(path)?;
    let document: Document = toml::from_str(&text).map_err(|e| toml_error(&e, &text, &file))?;
    let mut hosts: Vec<_> = document.host.into_iter().collect();
    hosts.sort_by_key(|(url, _)| url.span().start);
    hosts.extend(document.server.map(|server| (server, document.own)));
    let Some((url, entry)) = hosts.into_iter().find(|(_, entry)| entry.pulls()) else {
        return Ok(none(host));
    };
    let origin = Origin::new(&file, Some(line_of(&text, url.span().start)));
    let target = mirror::target(url.get_ref(), |path| entry.root(path));
    let target = target.and_then(|found| match mirror::target(url.get_ref(), str::to_owned) {
        Ok(meant) if meant != found => Err(Error::new(
            Code::Rule,
            format!("\"{}\": containerd asks for names below {found}/", url.get_ref()),
        )
        .hint(format!("for those below {meant}/: override_path = true"))),
        _ => Ok(found),
    });
    let target = target.map_err(|e| on_line(e, &origin))?;
    let rewrite = |(pattern, new): (&String, &String)| Rewrite::new(pattern, new, origin.clone());
    let rewrites = entry.rewrite.iter().map(rewrite).collect::<Result<_>>()?;
    // A file may only say how to reach the registry itself.
    let target = (host.as_deref() != Some(&*target) || !entry.rewrite.is_empty()).then_some(target);
    Ok(Mirror { host, target, rewrites, origin })
}

impl Entry {
    fn pulls(&self) -> bool {
        let all = self.capabilities.is_empty();
        all || self.capabilities.iter().any(|word| word.eq_ignore_ascii_case("pull"))
    }

    /// The path containerd asks below.
    fn root(&self, path: &str) -> String {
        let path = path.trim_end_matches('/');
        if self.override_path || path.ends_with("/v2") {
            return path.to_owned();
        }
        format!("{path}/v2")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::RenameRules;

    /// A `certs.d` of these files; a folder without a file where the text is
    /// empty.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::create_dir(root.path().join(name)).unwrap();
            if !text.is_empty() {
                fs::write(root.path().join(name).join("hosts.toml"), text).unwrap();
            }
        }
        root
    }

    fn read(files: &[(&str, &str)], reverse: bool) -> Result<RenameRules> {
        let rules = rules(folder(files).path(), reverse)?;
        Ok(rules.into_iter().fold(RenameRules::new(), RenameRules::rule))
    }

    fn became(rules: &RenameRules, name: &str) -> String {
        let new = rules.explain(name).unwrap().new;
        new.map_or_else(|| "-".to_owned(), |new| new.to_string())
    }

    const HUB: &str = r#"
server = "https://registry-1.docker.io"

[host."https://push.example.com"]
  capabilities = ["push"]

[host."https://z.example.com/v2/hub"]
  capabilities = ["pull", "resolve"]
  override_path = true
  skip_verify = true
  [host."https://z.example.com/v2/hub".header]
    x-a = ["b"]

[host."https://a.example.com"]
"#;

    const K3S: &str = r#"
server = "https://registry.k8s.io/v2"
capabilities = ["pull", "resolve", "push"]

[host."http://127.0.0.1:5000/v2"]
  capabilities = ["pull", "resolve"]
  [host."http://127.0.0.1:5000/v2".rewrite]
    "^(.*)$" = "k8s/$1"
"#;

    #[test]
    fn the_first_host_to_pull_from() {
        let files = [
            ("docker.io", HUB),
            ("registry.k8s.io", K3S),
            ("own.example.com_5000_", "server = \"https://own.example.com:5000\"\n"),
            ("other.example.com:5000", "server = \"http://moved.example.com\"\n"),
            ("certs.example.com", ""),
            ("_default", "[host.\"mirror.example.com\"]\n"),
        ];
        let rules = read(&files, false).unwrap();
        let rows = [
            ("nginx:1", "z.example.com/hub/library/nginx:1"),
            ("registry.k8s.io/pause:3.1", "127.0.0.1:5000/k8s/pause:3.1"),
            ("own.example.com:5000/a:1", "own.example.com:5000/a:1"),
            ("other.example.com:5000/a:1", "moved.example.com/a:1"),
            ("certs.example.com/a:1", "certs.example.com/a:1"),
            ("quay.io/a/b:1", "mirror.example.com/a/b:1"),
        ];
        for (name, want) in rows {
            assert_eq!(became(&rules, name), want, "{name}");
        }
        let rule = rules.explain("nginx:1").unwrap().rule.unwrap().to_string();
        assert!(rule.starts_with("mirror docker.io=z.example.com/hub ("), "{rule}");
        assert!(rule.ends_with("/docker.io/hosts.toml:7)"), "{rule}");
    }

    #[test]
    fn the_other_way_round() {
        let files = [("docker.io", HUB), ("own.example.com_5000_", "")];
        let rules = read(&files, true).unwrap();
        assert_eq!(
            became(&rules, "z.example.com/hub/library/nginx:1"),
            "docker.io/library/nginx:1"
        );
        assert_eq!(became(&rules, "z.example.com/other:1"), "-");
    }

    #[test]
    fn what_cannot_be_read() {
        let rows = [
            (vec![], false, "no mirror in it"),
            (vec![("docker.io", "")], false, "no mirror in it"),
            (vec![("docker.io", "server = \"https://registry-1.docker.io\"")], false, "no mirror"),
            (vec![("docker.io", "\nserver = \n")], false, "hosts.toml: line 2: "),
            (
                vec![("docker.io", "\n[host.\"ftp://x\"]\n")],
                false,
                "hosts.toml: line 2: \"ftp://x\"",
            ),
            (
                vec![("docker.io", "[host.\"x.io/hub\"]\n")],
                false,
                "line 1: \"x.io/hub\": no image name",
            ),
            (vec![("docker.io", K3S)], true, "cannot be undone"),
            (vec![("_default", HUB)], true, "mirrors every registry"),
        ];
        for (files, reverse, want) in rows {
            let error = read(&files, reverse).unwrap_err();
            assert_eq!(error.code(), Code::Rule, "{files:?}");
            assert!(error.to_string().contains(want), "{files:?}: {error}");
        }
        let error = read(&[("a.io", "[host.\"x.io/v2/hub\"]\n")], false).unwrap_err();
        assert_eq!(error.hint_text(), Some("for those below x.io/hub/: override_path = true"));
        assert_eq!(rules(Path::new("/no/such"), false).unwrap_err().code(), Code::Io);
    }
}
