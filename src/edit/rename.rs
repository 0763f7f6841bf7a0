//! What rename rules do to the names of one archive.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::archive::{Archive, Image, Name, NameSite};
use crate::edit::rules::RenameRules;
use crate::error::{Code, Error, Result};
use crate::reference::Reference;

/// What happens to one name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It stays, in its spelling.
    Keep,
    /// It becomes this one.
    Rename(Reference),
    /// It stays and this one comes beside it.
    Add(Reference),
    /// It goes.
    Drop,
}

/// One line of the table of old and new names.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Change {
    /// The position of the image in [`Archive::images`]; `None` for a name
    /// only `repositories` has.
    pub image: Option<usize>,
    /// The old name, normalised; `None` when an image had none.
    pub old: Option<String>,
    /// What happens to it.
    pub outcome: Outcome,
    /// The position of the rule that decided.
    pub rule: Option<usize>,
    /// Where the old name stands.
    pub sites: Vec<NameSite>,
    /// The position of the name among its image's.
    position: Option<usize>,
}

/// What rules do to every name of an archive, before anything is written.
#[derive(Debug, Default)]
pub struct Renaming {
    changes: Vec<Change>,
    /// By image: the outcome of each of its names.
    pub(super) names: Vec<Vec<Outcome>>,
    /// By image: the name of descriptors and items that had none.
    pub(super) unnamed: BTreeMap<usize, Reference>,
    /// The outcome of each name only `repositories` has.
    pub(super) strays: Vec<Outcome>,
    /// Images that go altogether.
    pub(super) dropped: BTreeSet<usize>,
}

impl Renaming {
    pub(super) fn resolve(archive: &Archive, rules: &RenameRules) -> Result<Renaming> {
        let mut renaming = match rules.sole_new()? {
            Some(new) => Self::one_image(archive, new, rules)?,
            None => Self::by_name(archive, rules)?,
        };
        renaming.find_dropped(archive, rules)?;
        renaming.check_digests(archive)?;
        renaming.check_collisions(archive)?;
        Ok(renaming)
    }

    /// `NEW`: the one image gets it, instead of all names or beside them.
    fn one_image(archive: &Archive, new: &Reference, rules: &RenameRules) -> Result<Renaming> {
        let [image] = archive.images() else {
            let names: Vec<String> = archive.images().iter().map(Image::label).take(10).collect();
            let count = archive.images().len();
            return Err(Error::new(
                Code::NoMatch,
                format!("NEW names one image and the archive holds {count}"),
            )
            .hint(format!("say which: OLD=NEW; images: {}", names.join(", "))));
        };
        let mut renaming = Renaming::default();
        renaming.replace_names(0, image, new, 0, rules.keeps_old());
        let stray = if rules.keeps_old() { Outcome::Keep } else { Outcome::Drop };
        renaming.strays = vec![stray; archive.strays.len()];
        Ok(renaming)
    }

    /// Gives an image a name instead of all it has, or beside them.
    fn replace_names(
        &mut self,
        at: usize,
        image: &Image,
        new: &Reference,
        rule: usize,
        keep_old: bool,
    ) {
        let outcome = |first: bool| match (keep_old, first) {
            (true, true) => Outcome::Add(new.clone()),
            (true, false) => Outcome::Keep,
            (false, _) => Outcome::Rename(new.clone()),
        };
        let outcomes: Vec<Outcome> = (0..image.names().len()).map(|i| outcome(i == 0)).collect();
        for (name, outcome) in image.names().iter().enumerate().zip(&outcomes) {
            self.changes.push(change(Some(at), name, outcome.clone(), Some(rule)));
        }
        if image.names().is_empty() {
            self.changes.push(Change {
                image: Some(at),
                old: None,
                outcome: Outcome::Rename(new.clone()),
                rule: Some(rule),
                sites: Vec::new(),
                position: None,
            });
        }
        if image.names().is_empty() || !keep_old {
            self.unnamed.insert(at, new.clone());
        }
        self.names.push(outcomes);
    }

    fn by_name(archive: &Archive, rules: &RenameRules) -> Result<Renaming> {
        let mut renaming = Renaming::default();
        let mut fired = vec![false; rules.rules().len()];
        for (at, image) in archive.images().iter().enumerate() {
            if let Some((rule, new)) = rules.for_image(image) {
                fired[rule] = true;
                renaming.replace_names(at, image, new, rule, rules.keeps_old());
                continue;
            }
            let mut outcomes = Vec::new();
            for name in image.names().iter().enumerate() {
                let (outcome, rule) = decide(name.1, rules, &mut fired)?;
                renaming.changes.push(change(Some(at), name, outcome.clone(), rule));
                outcomes.push(outcome);
            }
            renaming.names.push(outcomes);
        }
        for name in archive.strays.iter().enumerate() {
            let (outcome, rule) = decide(name.1, rules, &mut fired)?;
            renaming.changes.push(change(None, name, outcome.clone(), rule));
            renaming.strays.push(outcome);
        }
        renaming.follow_signatures(archive, rules.keeps_old(), &mut fired);
        rules.check_fired(&fired)?;
        Ok(renaming)
    }

    /// cosign keeps signatures under `sha256-<hex>.sig` tags of the image's
    /// repository: they follow the image of that digest.
    fn follow_signatures(&mut self, archive: &Archive, add: bool, fired: &mut [bool]) {
        let mut moved: HashMap<(String, String), (Reference, Option<usize>)> = HashMap::new();
        for change in &self.changes {
            let (Some(image), Some(old), Outcome::Rename(new) | Outcome::Add(new)) =
                (change.image, &change.old, &change.outcome)
            else {
                continue;
            };
            let image = &archive.images()[image];
            let digests = image.digest().into_iter();
            let digests = digests
                .chain(image.manifests().iter().filter_map(|m| m.descriptor().map(|d| d.digest)));
            if let Ok(old) = Reference::parse(old) {
                for digest in digests {
                    moved.insert(
                        (old.repository().to_owned(), digest.hex()),
                        (new.clone(), change.rule),
                    );
                }
            }
        }
        for change in &mut self.changes {
            let Some(image) = change.image.filter(|_| change.rule.is_none()) else { continue };
            let Some(reference) = change.old.as_deref().and_then(|old| Reference::parse(old).ok())
            else {
                continue;
            };
            let Some(hex) = reference.tag().and_then(signed_hex) else { continue };
            let Some((new, rule)) = moved.get(&(reference.repository().to_owned(), hex.to_owned()))
            else {
                continue;
            };
            let Ok(follows) = reference.with_repository(new.repository()) else { continue };
            change.outcome = match follows == reference {
                true => Outcome::Keep,
                false if add => Outcome::Add(follows),
                false => Outcome::Rename(follows),
            };
            change.rule = *rule;
            if let Some(fired) = rule.and_then(|rule| fired.get_mut(rule)) {
                *fired = true;
            }
            if let Some(outcome) = change.position.and_then(|at| self.names[image].get_mut(at)) {
                *outcome = change.outcome.clone();
            }
        }
    }

    /// With `--drop-unmatched` an image goes when none of its names stays.
    fn find_dropped(&mut self, archive: &Archive, rules: &RenameRules) -> Result<()> {
        if !rules.drops_unmatched() {
            return Ok(());
        }
        for (at, image) in archive.images().iter().enumerate() {
            let goes = self.names[at].iter().all(|outcome| *outcome == Outcome::Drop);
            if !goes || self.unnamed.contains_key(&at) {
                continue;
            }
            self.dropped.insert(at);
            if image.names().is_empty() {
                self.changes.push(Change {
                    image: Some(at),
                    old: None,
                    outcome: Outcome::Drop,
                    rule: None,
                    sites: Vec::new(),
                    position: None,
                });
            }
        }
        if self.dropped.len() == archive.images().len() {
            return Err(Error::new(Code::RuleUnmatched, "no image would be left")
                .hint("`ocitar ls` shows the names"));
        }
        Ok(())
    }

    /// A `name@digest` must name what it leads to: containerd and podman look.
    fn check_digests(&self, archive: &Archive) -> Result<()> {
        for change in &self.changes {
            let (Some(image), Outcome::Rename(new) | Outcome::Add(new)) =
                (change.image, &change.outcome)
            else {
                continue;
            };
            let target = archive.images()[image].digest();
            if let Some(stated) = new.digest().filter(|stated| Some(*stated) != target) {
                let found = target.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
                return Err(Error::new(
                    Code::DigestName,
                    format!("{new} names a digest that is not the image's"),
                )
                .expected_found(found, stated));
            }
        }
        Ok(())
    }

    fn check_collisions(&self, archive: &Archive) -> Result<()> {
        let mut owners: HashMap<String, usize> = HashMap::new();
        for (at, image) in archive.images().iter().enumerate() {
            for name in self.final_names(at, image) {
                if let Some(other) = owners.insert(name.clone(), at).filter(|other| *other != at) {
                    let was = |at: usize| archive.images()[at].label();
                    return Err(Error::new(
                        Code::NameCollision,
                        format!("two images would be named {name}: {} and {}", was(other), was(at)),
                    ));
                }
            }
        }
        Ok(())
    }

    /// The names an image ends with, normalised, each once.
    pub(super) fn final_names(&self, at: usize, image: &Image) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let mut seen = HashSet::new();
        let mut add = |name: String| {
            if seen.insert(name.clone()) {
                names.push(name);
            }
        };
        for (name, outcome) in image.names().iter().zip(&self.names[at]) {
            match outcome {
                Outcome::Keep => add(name.key()),
                Outcome::Rename(new) => add(new.to_string()),
                Outcome::Add(new) => {
                    add(name.key());
                    add(new.to_string());
                }
                Outcome::Drop => {}
            }
        }
        if let Some(new) = self.unnamed.get(&at) {
            add(new.to_string());
        }
        names
    }

    /// Whether an image goes, or anything about its names changes.
    pub(super) fn touches(&self, at: usize) -> bool {
        self.dropped.contains(&at)
            || self.unnamed.contains_key(&at)
            || self.names[at].iter().any(|outcome| *outcome != Outcome::Keep)
    }

    /// Every name of the archive and what happens to it, in image order.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Positions in [`Archive::images`] of the images that go.
    pub fn dropped(&self) -> impl Iterator<Item = usize> {
        self.dropped.iter().copied()
    }
}

/// What rules do to one name, and which one.
fn decide(
    name: &Name,
    rules: &RenameRules,
    fired: &mut [bool],
) -> Result<(Outcome, Option<usize>)> {
    let hit = match name.reference() {
        Some(reference) => rules.rename(reference)?,
        None => None,
    };
    let rule = hit.as_ref().map(|(rule, _)| *rule);
    if let Some(fired) = rule.and_then(|rule| fired.get_mut(rule)) {
        *fired = true;
    }
    let outcome = match hit {
        // A rule that gives a name itself writes it in full wherever it stands.
        Some((_, new)) if name.reference() == Some(&new) => Outcome::Rename(new),
        Some((_, new)) if rules.keeps_old() => Outcome::Add(new),
        Some((_, new)) => Outcome::Rename(new),
        None if rules.drops_unmatched() => Outcome::Drop,
        None => Outcome::Keep,
    };
    Ok((outcome, rule))
}

fn change(
    image: Option<usize>,
    (position, name): (usize, &Name),
    outcome: Outcome,
    rule: Option<usize>,
) -> Change {
    let sites = name.sites().to_vec();
    Change { image, old: Some(name.key()), outcome, rule, sites, position: Some(position) }
}

/// The digest's hex in a cosign tag: `sha256-<hex>`, then nothing or `.sig`,
/// `.att`, `.sbom`.
fn signed_hex(tag: &str) -> Option<&str> {
    let rest = tag.strip_prefix("sha256-")?;
    let (hex, kind) = rest.split_at_checked(64)?;
    let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex && matches!(kind, "" | ".sig" | ".att" | ".sbom")).then_some(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosign_tags_name_a_digest() {
        let hex = "a".repeat(64);
        for kind in ["", ".sig", ".att", ".sbom"] {
            assert_eq!(signed_hex(&format!("sha256-{hex}{kind}")), Some(&*hex));
        }
        for other in ["latest", "sha256-abc.sig", &format!("sha256-{hex}.tar")] {
            assert_eq!(signed_hex(other), None, "{other}");
        }
    }
}
