//! docker with the containerd store: everything is imported whatever its
//! platform, absent manifests are passed over, and what cannot be used is
//! listed by 28 and hidden, or refused late, by 26.

use crate::preflight::Listed;
use crate::preflight::containerd::graph::{self, Filter, Leaf};
use crate::preflight::containerd::unpack::{How, Image, Unpacked};
use crate::preflight::containerd::{LARGEST_MESSAGE, Record, Root, import};
use crate::preflight::control;
use crate::preflight::naming::{Shown, in_docker};
use crate::preflight::rules::{self, Rule};
use crate::preflight::run::{Run, Step};

/// What the daemon finds behind a name.
enum State {
    Usable,
    /// No manifest or configuration.
    Gone(&'static Rule),
    /// No layer of a type it knows.
    Artifact,
    /// Found, and `create` fails.
    Broken(&'static Rule),
    /// Unpacking fails.
    Failed(&'static Rule, String),
}

pub(in crate::preflight) fn load(run: &mut Run<'_>, lenient: bool) -> Step<()> {
    let records = import(run)?;
    if records.is_empty() {
        return run.refuse(rules::EMPTY, "image might be filtered out");
    }
    for record in &records {
        graph::walk(run, record, &Filter::All, true)?;
    }
    if let Some(record) = records.iter().find(|r| r.annotations > LARGEST_MESSAGE) {
        let detail = format!("annotations of {} bytes", record.annotations);
        return run.refuse(rules::LARGE, detail);
    }
    let mut failure = None;
    for record in &records {
        let state = state(run, record, lenient)?;
        let listed = match &state {
            State::Usable => Some(true),
            State::Gone(rule) => {
                run.note(rule, image_text(record));
                lenient.then_some(false)
            }
            State::Artifact => {
                run.note(rules::NO_LAYER_TYPE, image_text(record));
                lenient.then_some(true)
            }
            State::Broken(rule) => {
                run.note(rule, image_text(record));
                Some(false)
            }
            State::Failed(rule, detail) if lenient => {
                run.note(rule, &**detail);
                Some(false)
            }
            State::Failed(rule, detail) => {
                failure.get_or_insert((*rule, detail.clone()));
                (*rule != rules::LAYER_GONE).then_some(false)
            }
        };
        if let Some(usable) = listed {
            list(run, record, usable, lenient);
        }
    }
    match failure {
        Some((rule, detail)) => run.refuse(rule, detail),
        None => Ok(()),
    }
}

fn image_text(record: &Record) -> String {
    record.image.map(|digest| digest.to_string()).unwrap_or_default()
}

/// Shows a record the way `docker images` does.
fn list(run: &mut Run<'_>, record: &Record, usable: bool, lenient: bool) {
    let untagged = Listed { name: None, image: record.image, usable };
    let Some(name) = record.names.verbatim() else {
        run.store.push(untagged);
        return;
    };
    match in_docker(name) {
        Shown::Good(shown) => {
            if run.held(&shown).is_some() {
                run.note(rules::SAME_NAME, &*shown);
            }
            run.name(shown, record.image, usable);
        }
        Shown::Unusable(shown) => {
            let rule = if name.contains('@') { rules::DIGEST_NAME } else { rules::NOT_CANONICAL };
            run.note(rule, name);
            run.name(shown, record.image, false);
        }
        Shown::Invalid => {
            run.note(rules::INVALID_NAME, name);
            if !lenient {
                run.store.push(untagged);
            }
        }
        Shown::Hidden => run.note(rules::BARE_NAME, name),
    }
}

fn state(run: &mut Run<'_>, record: &Record, lenient: bool) -> Step<State> {
    let image = match &record.root {
        Root::Docker { .. } => Image::of_root(run, &record.root),
        Root::Oci(top) if record.is_index() => {
            if graph::document(run, top).is_none() {
                return Ok(State::Gone(rules::MANIFEST_GONE));
            }
            let mut leaves = graph::leaves(run, top, &Filter::All)?;
            leaves.retain(|leaf| !control::is_attestation(&leaf.descriptor));
            match choose(run, &leaves, lenient) {
                Ok(leaf) => {
                    leaf.document.as_ref().map(|manifest| Image::of_manifest(run, manifest))
                }
                Err(state) => return Ok(state),
            }
        }
        Root::Oci(top) => match graph::document(run, top) {
            Some(manifest) => Some(Image::of_manifest(run, &manifest)),
            None => return Ok(State::Gone(rules::MANIFEST_GONE)),
        },
    };
    let Some(image) = image else { return Ok(State::Broken(rules::SPARSE)) };
    if !image.has_config() {
        return Ok(State::Gone(rules::MANIFEST_GONE));
    }
    // 26 looks for layer types first; 28 counts them, and an artifact has none
    // in either list.
    if image.is_artifact() && !lenient {
        return Ok(State::Artifact);
    }
    Ok(match image.unpack(run, How { knows_layers: true, lenient: false }) {
        Unpacked::Done => State::Usable,
        Unpacked::Nothing(_) => State::Artifact,
        Unpacked::NoConfig => State::Gone(rules::MANIFEST_GONE),
        Unpacked::Failed(rule, detail) => State::Failed(rule, detail),
    })
}

/// The manifest a container is made from.
fn choose<'l>(run: &Run<'_>, leaves: &'l [Leaf], lenient: bool) -> Result<&'l Leaf, State> {
    if !lenient && leaves.iter().any(|leaf| leaf.depth > 1) {
        return Err(State::Broken(rules::NESTED));
    }
    let is_there = |leaf: &Leaf| {
        leaf.document
            .as_ref()
            .is_some_and(|manifest| Image::of_manifest(run, manifest).has_config())
    };
    match graph::best(run, leaves) {
        Some(leaf) if is_there(leaf) => Ok(leaf),
        Some(_) if !lenient => Err(State::Broken(rules::SPARSE)),
        _ => leaves.iter().find(|leaf| is_there(leaf)).ok_or(State::Gone(rules::SPARSE)),
    }
}
