//! `rules.toml`: rules in order, with comments, for a team to keep in git.
//!
//! ```toml
//! # What the cluster's registry holds.
//! strict = true          # false: rules of this file may match nothing
//! add = false            # true: keep the old names beside the new
//! drop-unmatched = false # true: drop names no rule matches
//!
//! [[rule]]               # the first that matches a name wins
//! old = "nginx:1.27"
//! new = "registry.example.com/web/nginx:1.27"
//!
//! [[rule]]
//! prefix = "k8s.gcr.io"
//! new = "registry.k8s.io"
//!
//! [[rule]]
//! regex = 'quay\.io/([^/]+)/(.+)'
//! replace = "registry.example.com/quay/$1-$2"
//!
//! [[rule]]
//! map = "names.txt"
//!
//! [[rule]]
//! registries = "registries.yaml"
//! reverse = true
//!
//! [[rule]]
//! hosts-dir = "certs.d"
//! ```
//!
//! Paths are relative to the file. Each rule is what the option of its name is
//! on the command line. A key that is not here is an error.

use std::path::Path;

use serde::Deserialize;
use toml::{Spanned, Table, Value};

use crate::edit::rules::rule::{Origin, Rule};
use crate::edit::rules::{RenameRules, RuleFile, line_of, on_line, read_text, toml_error};
use crate::error::{Code, Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    #[serde(default = "yes")]
    strict: bool,
    #[serde(default)]
    add: bool,
    #[serde(default)]
    drop_unmatched: bool,
    #[serde(default)]
    rule: Vec<Spanned<Table>>,
}

fn yes() -> bool {
    true
}

/// Adds the rules of a file behind those there are.
///
/// # Errors
///
/// `E_IO`; `E_RULE` and `E_REF`, with file and line.
pub(super) fn read(rules: RenameRules, path: &Path) -> Result<RenameRules> {
    let text = read_text(path)?;
    parse(rules, &text, path)
}

fn parse(mut rules: RenameRules, text: &str, path: &Path) -> Result<RenameRules> {
    let file = path.display().to_string();
    let document: Document = toml::from_str(text).map_err(|e| toml_error(&e, text, &file))?;
    if document.rule.is_empty() {
        return Err(Error::new(Code::Rule, "no [[rule]] in it").in_archive(file));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let start = rules.rules.len();
    for entry in document.rule {
        let origin = Origin::new(&file, Some(line_of(text, entry.span().start)));
        rules = add(rules, entry.get_ref(), folder, &origin).map_err(|e| on_line(e, &origin))?;
    }
    if !document.strict {
        let own = rules.rules.split_off(start);
        rules.rules.extend(own.into_iter().map(Rule::optional));
    }
    rules.keep_old |= document.add;
    rules.drop_unmatched |= document.drop_unmatched;
    Ok(rules)
}

/// Adds what one `[[rule]]` says, told by the keys it has.
fn add(rules: RenameRules, rule: &Table, folder: &Path, origin: &Origin) -> Result<RenameRules> {
    const KEYS: [&str; 9] =
        ["hosts-dir", "map", "new", "old", "prefix", "regex", "registries", "replace", "reverse"];
    let text = |key: &str| match rule.get(key) {
        Some(Value::String(text)) => Ok(text.as_str()),
        _ => Err(Error::new(Code::Rule, format!("`{key}` is a string"))),
    };
    let path = |key: &str| text(key).map(|path| folder.join(path));
    let reverse = || match rule.get("reverse") {
        None => Ok(false),
        Some(Value::Boolean(yes)) => Ok(*yes),
        Some(_) => Err(Error::new(Code::Rule, "`reverse` is true or false")),
    };
    // In the order of the alphabet, which is a table's.
    let keys: Vec<&str> = rule.keys().map(String::as_str).collect();
    let one = match keys[..] {
        ["new"] => Rule::parse(text("new")?)?,
        ["new", "old"] => Rule::exact(text("old")?, text("new")?)?,
        ["new", "prefix"] => Rule::prefixes(text("prefix")?, text("new")?)?,
        ["regex", "replace"] => Rule::regex(text("regex")?, text("replace")?)?,
        ["map"] => return rules.read(&RuleFile::Map(path("map")?)),
        ["registries"] | ["registries", "reverse"] => {
            let (path, reverse) = (path("registries")?, reverse()?);
            return rules.read(&RuleFile::Registries { path, reverse });
        }
        ["hosts-dir"] | ["hosts-dir", "reverse"] => {
            let (path, reverse) = (path("hosts-dir")?, reverse()?);
            return rules.read(&RuleFile::HostsDir { path, reverse });
        }
        _ => {
            let message = match keys.iter().find(|key| !KEYS.contains(key)) {
                Some(key) => format!("unknown key `{key}`"),
                None if keys.is_empty() => "an empty rule".to_owned(),
                None => format!("a rule does not have just {}", keys.join(", ")),
            };
            return Err(Error::new(Code::Rule, message).hint(
                "a rule has: old and new; prefix and new; regex and replace; new; map; \
                 registries or hosts-dir, and reverse",
            ));
        }
    };
    Ok(rules.rule(one.at(origin.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RenameRules> {
        parse(RenameRules::new(), text, Path::new("team/rules.toml"))
    }

    #[test]
    fn rules_keep_their_order_and_say_where_they_stand() {
        let text = "\
# head
strict = false
add = true

[[rule]]
old = \"nginx:1\"   # one name
new = \"r.io/n:1\"

[[rule]]
prefix = \"docker.io/library\"
new = \"r.io/hub\"

[[rule]]
regex = 'quay\\.io/(.+)'
replace = \"r.io/quay/$1\"
";
        let rules = read(text).unwrap();
        let rows = [
            ("nginx:1", "r.io/n:1", "docker.io/library/nginx:1=r.io/n:1 (team/rules.toml:5)"),
            (
                "nginx:2",
                "r.io/hub/nginx:2",
                "--prefix docker.io/library=r.io/hub (team/rules.toml:9)",
            ),
            (
                "quay.io/a:1",
                "r.io/quay/a:1",
                "--regex quay\\.io/(.+) r.io/quay/$1 (team/rules.toml:13)",
            ),
        ];
        for (name, new, rule) in rows {
            let said = rules.explain(name).unwrap();
            assert_eq!(said.new.map(|new| new.to_string()).as_deref(), Some(new), "{name}");
            assert_eq!(said.rule.map(ToString::to_string).as_deref(), Some(rule), "{name}");
        }
        assert!(rules.keeps_old() && !rules.drops_unmatched());
        assert!(rules.rules().iter().all(|rule| !rule.must_match()));
        assert!(read("[[rule]]\nnew = 'a:1'").unwrap().rules()[0].must_match());
    }

    #[test]
    fn mistakes_have_a_line() {
        let rows = [
            ("", "team/rules.toml: no [[rule]] in it"),
            ("strict = true\n", "team/rules.toml: no [[rule]] in it"),
            ("strict = \"yes\"\n", "line 1: "),
            ("# x\nstric = true\n", "line 2: unknown field `stric`"),
            ("a = [\n", "line "),
            ("\n[[rule]]\nold = 'a:1'\n", "line 2: a rule does not have just old"),
            ("\n[[rule]]\nold = 'a:1'\nnew = 'b'\n", "line 2: one side of"),
            ("[[rule]]\nnew = 'b/UP'\n", "line 1: \"b/UP\": "),
            ("[[rule]]\nnew = 1\n", "line 1: `new` is a string"),
            ("[[rule]]\n", "line 1: an empty rule"),
            ("[[rule]]\nnewer = 'b'\n", "line 1: unknown key `newer`"),
            ("[[rule]]\nregex = '('\nreplace = 'b'\n", "line 1: the pattern \"(\" does not"),
            ("[[rule]]\nprefix = 'hub'\nnew = 'r.io'\n", "line 1: \"hub\" cannot start"),
            (
                "[[rule]]\nregistries = 'x.yaml'\nreverse = 1\n",
                "line 1: `reverse` is true or false",
            ),
            ("[[rule]]\nmap = 'no-such'\n", "team/no-such: "),
            ("[[rule]]\nold='a'\nnew='b'\nnew='c'\n", "line 4: duplicate key"),
        ];
        for (text, want) in rows {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with("team/") && error.contains(want), "{text:?}: {error}");
        }
    }
}
