//! What a renaming does, for people and as data.

use ocitar::archive::Archive;
use ocitar::edit::{Change, Ledger, NamePlace, Outcome, Places, RenameRules};
use ocitar::text::printable;
use serde_json::{Value, json};

use crate::output::{short_digest, table, wrapped};

/// The changes of a run, with all they are about.
pub struct Changes<'a> {
    pub archive: &'a Archive,
    pub list: &'a [Change],
    pub rules: &'a RenameRules,
}

/// How many names became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub retagged: usize,
    pub unchanged: usize,
    pub dropped: usize,
}

impl Changes<'_> {
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for change in self.list {
            match change.outcome {
                Outcome::Keep => counts.unchanged += 1,
                Outcome::Rename(_) | Outcome::Add(_) => counts.retagged += 1,
                _ => counts.dropped += 1,
            }
        }
        counts
    }

    /// A row for each name a rule matches, then a list of those none does. In a
    /// width that is too small for the rows, each is a block of lines.
    pub fn table(&self, width: Option<usize>) -> String {
        let places = Places::new(self.archive);
        let (matched, unmatched): (Vec<_>, Vec<_>) = self
            .list
            .iter()
            .map(|change| self.row(change, &places))
            .partition(|row| row.rule.is_some());
        let fits = |text: &str| {
            width.is_none_or(|width| text.lines().all(|line| line.chars().count() <= width))
        };
        let mut text = Row::table(&matched);
        if !fits(&text) {
            text = matched.iter().map(|row| row.block(width.unwrap_or(usize::MAX))).collect();
        }
        if !unmatched.is_empty() {
            let blank = if text.is_empty() { "" } else { "\n" };
            let rows: Vec<Vec<String>> = unmatched.iter().map(Row::unmatched).collect();
            text = format!("{text}{blank}{}", table(&["UNMATCHED", "BECOMES"], &rows));
        }
        text
    }

    fn row(&self, change: &Change, places: &Places<'_>) -> Row {
        let old = change.old.as_deref().unwrap_or("<none>");
        let rule = change.rule.and_then(|rule| self.rules.rules().get(rule));
        let places = places.of(change);
        Row {
            old: printable(old).into_owned(),
            new: match &change.outcome {
                Outcome::Keep => "(unchanged)".to_owned(),
                Outcome::Rename(new) => new.to_string(),
                Outcome::Add(new) => format!("+ {new}"),
                _ => "(dropped)".to_owned(),
            },
            rule: rule.map(|rule| printable(&rule.to_string()).into_owned()),
            digest: self.digest(change).unwrap_or_else(|| "-".to_owned()),
            places: match &places[..] {
                [] => "-".to_owned(),
                places => places.iter().map(|place| place.as_str()).collect::<Vec<_>>().join(", "),
            },
        }
    }

    fn digest(&self, change: &Change) -> Option<String> {
        let image = self.archive.images().get(change.image?)?;
        image.digest().map(|digest| digest.to_string())
    }

    /// The same as data, with the ledger.
    pub fn json(&self, ledger: &Ledger) -> Value {
        let places = Places::new(self.archive);
        let changes: Vec<Value> =
            self.list.iter().map(|change| self.change_json(change, &places)).collect();
        let unmatched = self.list.iter().filter(|change| change.rule.is_none());
        let unmatched: Vec<&str> = unmatched.filter_map(|change| change.old.as_deref()).collect();
        let counts = self.counts();
        json!({
            "changes": changes,
            "unmatched": unmatched,
            "counts": {
                "retagged": counts.retagged,
                "unchanged": counts.unchanged,
                "dropped": counts.dropped,
            },
            "ledger": ledger_json(ledger),
        })
    }

    fn change_json(&self, change: &Change, places: &Places<'_>) -> Value {
        let (outcome, new) = match &change.outcome {
            Outcome::Keep => ("keep", None),
            Outcome::Rename(new) => ("rename", Some(new.to_string())),
            Outcome::Add(new) => ("add", Some(new.to_string())),
            _ => ("drop", None),
        };
        let rule = change.rule.and_then(|rule| self.rules.rules().get(rule));
        json!({
            "old": change.old,
            "new": new,
            "outcome": outcome,
            "rule": rule.map(ToString::to_string),
            "digest": self.digest(change),
            "sites": change.sites.iter().map(|site| site.as_str()).collect::<Vec<_>>(),
            "places": places.of(change).into_iter().map(NamePlace::as_str).collect::<Vec<_>>(),
        })
    }
}

pub fn ledger_json(ledger: &Ledger) -> Value {
    let entries = ledger.entries().iter().map(|entry| {
        json!({
            "kind": entry.kind.as_str(),
            "before": entry.before.map(|before| before.to_string()),
            "after": entry.after.map(|after| after.to_string()),
            "platform": entry.platform.as_ref().map(ToString::to_string),
        })
    });
    entries.collect()
}

/// One change as it is printed.
struct Row {
    old: String,
    new: String,
    rule: Option<String>,
    digest: String,
    places: String,
}

impl Row {
    fn table(rows: &[Row]) -> String {
        if rows.is_empty() {
            return String::new();
        }
        let cells = |row: &Row| {
            let rule = row.rule.clone().unwrap_or_default();
            vec![row.old.clone(), row.new.clone(), rule, row.digest.clone(), row.places.clone()]
        };
        let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
        table(&["OLD", "NEW", "RULE", "DIGEST", "PLACES"], &rows)
    }

    fn block(&self, width: usize) -> String {
        let Row { old, new, rule, digest, places } = self;
        let rule = wrapped(rule.as_deref().unwrap_or("-"), width);
        format!("{old}\n  → {new}\n{rule}    {}  {places}\n", short_digest(digest))
    }

    fn unmatched(&self) -> Vec<String> {
        vec![self.old.clone(), self.new.clone()]
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ocitar::edit::Rule;

    use super::*;

    fn printed(rules: &RenameRules, width: Option<usize>) -> String {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/docker26-two-images.tar");
        let archive = Archive::open(file).unwrap();
        let edit = archive.edit().rename(rules).unwrap();
        let list = edit.renaming().unwrap().changes();
        Changes { archive: &archive, list, rules }.table(width)
    }

    #[test]
    fn rows_where_they_fit_and_blocks_where_not() {
        let rule = Rule::prefix("docker.io/library=registry.example.com/hub").unwrap();
        let rules = RenameRules::new().rule(rule);
        let wide = printed(&rules, None);
        let lines: Vec<&str> = wide.lines().collect();
        assert!(lines[0].starts_with("OLD "), "{wide}");
        assert!(
            lines[1].starts_with("docker.io/library/app:1.0 registry.example.com/hub/app:1.0 ")
        );
        assert!(lines[1].ends_with("RepoTags, repositories, containerd name, ref.name"), "{wide}");
        assert_eq!(printed(&rules, Some(400)), wide);
        let narrow = printed(&rules, Some(80));
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        let digest = wide.split("sha256:").nth(1).unwrap();
        let want = format!(
            "docker.io/library/app:1.0\n  → registry.example.com/hub/app:1.0\n    \
             --prefix docker.io/library=registry.example.com/hub\n    \
             sha256:{}  RepoTags, repositories, containerd name, ref.name\n\n\
             UNMATCHED                       BECOMES\n\
             registry.k8s.io/tools/second:v2 (unchanged)\n",
            &digest[..12]
        );
        assert_eq!(narrow, want);
        // Only a word that is longer than the width is not kept in it.
        let narrow = printed(&rules, Some(50));
        let rule = "\n    --prefix\n      docker.io/library=registry.example.com/hub\n    sha256:";
        assert!(narrow.contains(rule), "{narrow}");
    }
}
