//! `registries.yaml`, in which k3s and rke2 say where a node's images come
//! from.
//!
//! ```yaml
//! mirrors:
//!   docker.io:
//!     endpoint:
//!       - "https://registry.example.com:5000"
//!     rewrite:
//!       "^rancher/(.*)": "mirror/$1"
//!   "*":
//!     endpoint: ["https://cache.example.com/v2/all"]
//! configs:
//!   registry.example.com:5000:
//!     auth: {…}
//! ```
//!
//! The first endpoint counts. Its path is taken as k3s takes it: none, `/` and
//! `/v2` are the registry itself, anything else is where containerd asks
//! (`normalizeEndpointAddress` in k3s, `pkg/agent/containerd/config.go`). A
//! rewrite replaces in the repository's path whatever its pattern matches, and
//! the first that changes the path is taken, in no order
//! (`ReplaceAllString` in rancher/wharfie, `pkg/registries/registries.go`, and
//! in their containerd). `"*"` is for every registry that has neither a mirror
//! nor settings of its own.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

use crate::edit::rules::mirror::{self, Mirror, Rewrite};
use crate::edit::rules::on_line;
use crate::edit::rules::rule::{Origin, Rule};
use crate::error::{Code, Error, Result};

#[derive(Deserialize)]
struct Document {
    mirrors: Option<BTreeMap<String, Option<Entry>>>,
    configs: Option<BTreeMap<String, Option<Settings>>>,
}

/// A key that is not here could change names, so there is none.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    endpoint: Option<Vec<Spanned<String>>>,
    rewrite: Option<BTreeMap<String, Spanned<String>>>,
}

#[derive(Deserialize)]
struct Settings {
    auth: Option<IgnoredAny>,
    tls: Option<IgnoredAny>,
}

/// The rules of a file's text.
///
/// # Errors
///
/// `E_RULE`, with the line where it is known: no such YAML, no mirror in it, an
/// endpoint that no name leads to, a pattern that does not compile; with
/// `reverse`, what cannot be undone.
pub(super) fn rules(text: &str, file: &str, reverse: bool) -> Result<Vec<Rule>> {
    let document: Option<Document> = serde_saphyr::from_str(text).map_err(|e| {
        let line = e.location().map(|location| location.line());
        let message = e.without_snippet().to_string();
        on_line(Error::new(Code::Rule, message), &Origin::new(file, line))
    })?;
    let Document { mirrors, configs } =
        document.unwrap_or(Document { mirrors: None, configs: None });
    let mut all = Vec::new();
    let entries = mirrors.unwrap_or_default();
    let mut own: Vec<String> = configs
        .unwrap_or_default()
        .into_iter()
        .filter(|(_, settings)| settings.as_ref().is_some_and(Settings::is_any))
        .map(|(host, _)| host)
        .collect();
    for (host, entry) in entries {
        let Entry { endpoint, rewrite } = entry.unwrap_or_default();
        // No endpoint is no mirror, whatever else is said.
        let Some(first) = endpoint.unwrap_or_default().into_iter().next() else { continue };
        own.retain(|other| *other != host);
        let origin = Origin::new(file, Some(first.referenced.line()));
        let target = mirror::target(&first.value, root).map_err(|e| on_line(e, &origin))?;
        let rewrites = rewrite.unwrap_or_default().into_iter().map(|(pattern, replacement)| {
            let origin = Origin::new(file, Some(replacement.referenced.line()));
            Rewrite::new(&pattern, &replacement.value, origin)
        });
        let rewrites = rewrites.collect::<Result<_>>()?;
        all.push(Mirror { host: registry(host), target: Some(target), rewrites, origin });
    }
    let kept = |host: String| Mirror {
        host: registry(host),
        target: None,
        rewrites: Vec::new(),
        origin: Origin::new(file, None),
    };
    all.extend(own.into_iter().filter(|host| host != "*").map(kept));
    mirror::rules(all, reverse, file)
}

impl Settings {
    fn is_any(&self) -> bool {
        self.auth.is_some() || self.tls.is_some()
    }
}

fn registry(host: String) -> Option<Box<str>> {
    (host != "*").then(|| host.into())
}

/// The path k3s has containerd ask below.
fn root(path: &str) -> String {
    match path {
        "" | "/" => "/v2".to_owned(),
        path => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::RenameRules;

    fn read(text: &str, reverse: bool) -> Result<RenameRules> {
        let rules = rules(text, "r.yaml", reverse)?;
        Ok(rules.into_iter().fold(RenameRules::new(), RenameRules::rule))
    }

    /// What a name becomes; `-` where no rule matches it.
    fn became(rules: &RenameRules, name: &str) -> String {
        match rules.explain(name) {
            Ok(said) => said.new.map_or_else(|| "-".to_owned(), |new| new.to_string()),
            Err(error) => error.to_string(),
        }
    }

    const FULL: &str = r#"
mirrors:
  docker.io:
    endpoint:
      - "https://reg.example.com/v2"
      - "https://second.example.com"
    rewrite:
      "^rancher/(.*)": "mirror/rancher-$1"
      "^library/": ""
  registry.k8s.io: {endpoint: ["http://reg.example.com:5000/v2/k8s"]}
  embedded.example.com:
  "*":
    endpoint: ["https://all.example.com/v2/rest"]
configs:
  own.example.com:
    auth: {username: a, password: b}
  "reg.example.com": {tls: null}
"#;

    #[test]
    fn names_as_the_mirror_holds_them() {
        let rules = read(FULL, false).unwrap();
        let rows = [
            ("rancher/coredns:1.6.3", "reg.example.com/mirror/rancher-coredns:1.6.3"),
            ("nginx", "reg.example.com/nginx:latest"),
            ("grafana/loki:2", "reg.example.com/grafana/loki:2"),
            ("registry.k8s.io/pause:3.1", "reg.example.com:5000/k8s/pause:3.1"),
            ("quay.io/a/b:1", "all.example.com/rest/a/b:1"),
            ("embedded.example.com/a:1", "all.example.com/rest/a:1"),
            ("reg.example.com/a:1", "all.example.com/rest/a:1"),
            ("own.example.com/a:1", "own.example.com/a:1"),
        ];
        for (name, want) in rows {
            assert_eq!(became(&rules, name), want, "{name}");
        }
        let rows = [
            (
                "rancher/x:1",
                "mirror docker.io=reg.example.com rewrite ^rancher/(.*)=mirror/rancher-$1 (r.yaml:8)",
            ),
            ("grafana/x:1", "mirror docker.io=reg.example.com (r.yaml:5)"),
            ("quay.io/x:1", "mirror *=all.example.com/rest (r.yaml:13)"),
            ("own.example.com/x:1", "mirror own.example.com=own.example.com (r.yaml)"),
        ];
        for (name, want) in rows {
            assert_eq!(rules.explain(name).unwrap().rule.unwrap().to_string(), want, "{name}");
        }
    }

    /// As Go's `ReplaceAllString`: unanchored, every match, groups in the
    /// replacement.
    #[test]
    fn rewrites_replace_as_go_does() {
        let rows = [
            ("a", "o", "team/banana", "r.io/teom/bonono:1"),
            ("^library/(.*)$", "$1", "nginx", "r.io/nginx:1"),
            ("(an)(a)", "$2$1", "team/banana", "r.io/team/baanna:1"),
            ("(?i)NGINX", "web", "nginx", "r.io/library/web:1"),
            ("x*", "-", "team/ab", "E_REF"),
            ("^x*", "x", "team/ab", "r.io/xteam/ab:1"),
            ("(?P<org>[^/]+)/(.*)", "${org}-$2", "team/ab", "r.io/team-ab:1"),
        ];
        for (pattern, replacement, name, want) in rows {
            let text = format!(
                "mirrors:\n  docker.io:\n    endpoint: [r.io]\n    rewrite: {{'{pattern}': '{replacement}'}}\n"
            );
            let got = became(&read(&text, false).unwrap(), &format!("{name}:1"));
            assert!(
                got == want || got.ends_with(&format!("[{want}]")),
                "{pattern} on {name}: {got}"
            );
        }
    }

    #[test]
    fn rewrites_that_disagree_are_refused() {
        let text = "mirrors:\n  docker.io:\n    endpoint: [r.io]\n    rewrite:\n      '^a/': 'x/'\n      '^a/b': 'y'\n      '^c/(.*)': 'z/$1'\n      '^c/': 'z/'\n";
        let rules = read(text, false).unwrap();
        let error = rules.explain("a/b:1").unwrap_err();
        assert_eq!(error.code(), Code::Rule);
        assert!(error.message().contains("two rewrites"), "{error}");
        assert_eq!(became(&rules, "a/d:1"), "r.io/x/d:1");
        // These two agree.
        assert_eq!(became(&rules, "c/d:1"), "r.io/z/d:1");
    }

    #[test]
    fn the_other_way_round() {
        let text = "mirrors:\n  docker.io: {endpoint: [r.io/v2/hub]}\n  quay.io: {endpoint: ['https://r.io/v2/quay']}\n  r.io: {endpoint: ['http://r.io']}\n";
        let rules = read(text, true).unwrap();
        let rows = [
            ("r.io/hub/library/nginx:1", "docker.io/library/nginx:1"),
            ("r.io/hub/team/x:1", "docker.io/team/x:1"),
            ("r.io/quay/a/b:1", "quay.io/a/b:1"),
            ("r.io/hubble/x:1", "-"),
            ("docker.io/team/x:1", "-"),
        ];
        for (name, want) in rows {
            assert_eq!(became(&rules, name), want, "{name}");
        }
        // There and back is where one was.
        let forward = read(text, false).unwrap();
        for name in ["docker.io/library/nginx:1", "quay.io/a/b:1"] {
            assert_eq!(became(&rules, &became(&forward, name)), name);
        }
    }

    #[test]
    fn what_cannot_be_read_or_undone() {
        let mirror =
            |host: &str, rest: &str| format!("mirrors:\n  '{host}':\n    endpoint: {rest}\n");
        let two =
            format!("{}  quay.io: {{endpoint: [r.io/v2/x]}}\n", mirror("docker.io", "[r.io]"));
        let rewrite = format!("{}    rewrite: {{a: b}}\n", mirror("docker.io", "[r.io]"));
        let rows = [
            ("", false, "r.yaml: no mirror in it"),
            ("mirrors:\n", false, "r.yaml: no mirror in it"),
            ("mirrors:\n  docker.io:\n", false, "r.yaml: no mirror in it"),
            ("mirrors: [\n", false, "r.yaml: line "),
            ("mirrors: 1\n", false, "r.yaml: line 1: "),
            ("mirrors:\n  docker.io: {endpoints: [a]}\n", false, "line 2: unknown field"),
            ("mirrors:\n  a.io: {}\n  a.io: {}\n", false, "line 3: duplicate"),
            (&mirror("docker.io", "[ftp://r.io]"), false, "line 3: \"ftp://r.io\": neither"),
            (&mirror("docker.io", "[r.io/hub]"), false, "line 3: \"r.io/hub\": no image name"),
            (&rewrite.replace("a: b", "'(': b"), false, "line 4: the pattern \"(\""),
            (&rewrite.replace("a: b", "a: $1"), false, "line 4: the pattern has no group"),
            (&rewrite, true, "line 4: the rewrite a=b cannot be undone"),
            (&mirror("*", "[r.io]"), true, "line 3: r.io mirrors every registry"),
            (&two, true, "line 4: r.io/x holds images of quay.io, r.io those of docker.io"),
        ];
        for (text, reverse, want) in rows {
            let error = read(text, reverse).unwrap_err();
            assert_eq!(error.code(), Code::Rule, "{text}");
            assert!(error.to_string().contains(want), "{text}: {error}");
        }
    }
}
