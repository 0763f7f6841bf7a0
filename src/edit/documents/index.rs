//! `index.json`: one descriptor a name.

use std::collections::HashSet;

use crate::archive::names::{self, is_full};
use crate::archive::view::annotation;
use crate::archive::{Document, Image};
use crate::edit::documents::{Changes, Final};
use crate::edit::drop;
use crate::edit::rename::Outcome;
use crate::error::{Code, Error, Result};
use crate::json::edit::{Edits, string};
use crate::json::{self, Node};
use crate::reference::{Reference, is_valid_ref_name, ref_name_object};

impl<'a> Changes<'a> {
    /// `index.json`: one descriptor a name.
    pub(super) fn index(&self, document: &Document) -> Result<Option<Vec<u8>>> {
        let Some(array) = document.root.field("manifests")? else { return Ok(None) };
        let keep = vec![true; array.array()?.len()];
        let mut edit = IndexEdit { document, array, edits: Edits::default(), keep };
        for (at, image) in self.touched() {
            if self.is_dropped(at) {
                image.descriptors.iter().for_each(|d| edit.keep[*d] = false);
            } else {
                self.index_image(at, image, &mut edit)?;
            }
        }
        for referrer in drop::referrers(self.archive, self.renaming) {
            edit.keep[referrer] = false;
        }
        let IndexEdit { mut edits, keep, .. } = edit;
        edits.retain_items(array, |i| keep[i]);
        Ok((!edits.is_empty()).then(|| edits.apply(&document.bytes)))
    }

    /// The descriptors of one image.
    fn index_image(&self, at: usize, image: &'a Image, edit: &mut IndexEdit<'_>) -> Result<()> {
        let names_of = names::by_descriptor(image);
        let mut done = HashSet::new();
        for descriptor in image.descriptors.iter().copied() {
            let named = names_of.get(&descriptor).map_or(&[][..], Vec::as_slice);
            let is_kept = |name: &usize| self.renaming.names[at][*name] == Outcome::Keep;
            let finals: Vec<Final<'_>> = match named {
                [] => match self.unnamed(at) {
                    Some(new) => vec![new],
                    None => continue,
                },
                named => {
                    named.iter().flat_map(|i| self.finals_of(at, *i, &image.names()[*i])).collect()
                }
            };
            // Two names on one descriptor (containerd's and another in ref.name)
            // are taken apart when either changes.
            let splits = named.len() > 1 && !named.iter().all(is_kept);
            let mut finals = finals.into_iter().filter(|name| done.insert(name.key.clone()));
            match finals.next() {
                // Every name of it goes, or stands on another descriptor.
                None => edit.keep[descriptor] = false,
                Some(Final { new: Some(new), .. }) => edit.rename(descriptor, new)?,
                Some(Final { new: None, old: Some(old), .. }) if splits => {
                    edit.rename(descriptor, old)?;
                }
                Some(Final { new: None, .. }) => {}
            }
            for other in finals {
                let old = other.old.filter(|_| splits);
                if let Some(name) = other.new.or(old) {
                    edit.clone_behind(descriptor, descriptor, name)?;
                }
            }
        }
        // Names that only the docker view had so far.
        let fresh = self.new_names(at, image).into_iter();
        let fresh = fresh.filter(|name| done.insert(name.key.clone()));
        let mut missing: Vec<&Reference> = fresh.filter_map(|name| name.new).collect();
        let Some(first) = image.descriptors.first().copied() else { return Ok(()) };
        let anchor = image.descriptors.iter().rev().copied().find(|d| edit.keep[*d]);
        if anchor.is_none() {
            // The image lost all of its descriptors to names that went; it keeps
            // one, under a name that stays.
            let stays = |i: &usize| self.renaming.names[at][*i] == Outcome::Keep;
            let kept = (0..image.names().len()).filter(stays);
            missing.extend(kept.filter_map(|i| image.names()[i].reference()).take(1));
            let Some(new) = missing.first().copied() else { return Ok(()) };
            edit.keep[first] = true;
            edit.rename(first, new)?;
            missing.remove(0);
        }
        for new in missing {
            edit.clone_behind(anchor.unwrap_or(first), first, new)?;
        }
        Ok(())
    }
}

/// `index.json` while it is edited.
struct IndexEdit<'d> {
    document: &'d Document,
    array: &'d Node,
    edits: Edits,
    /// By descriptor, whether it stays.
    keep: Vec<bool>,
}

impl IndexEdit<'_> {
    fn text(&self, node: &Node) -> &[u8] {
        &self.document.bytes[node.span.clone()]
    }

    fn rename(&mut self, descriptor: usize, name: &Reference) -> Result<()> {
        let node = &self.array.array()?[descriptor];
        self.edits.replace(node, named_descriptor(self.text(node), name)?);
        Ok(())
    }

    /// Adds a copy of a descriptor under another name, behind one that stays.
    fn clone_behind(&mut self, anchor: usize, descriptor: usize, name: &Reference) -> Result<()> {
        let node = &self.array.array()?[descriptor];
        let text = named_descriptor(self.text(node), name)?;
        self.edits.insert_item(self.array, anchor, &text);
        Ok(())
    }
}

/// The text of a descriptor under another name, the rest byte for byte.
///
/// containerd's annotation gets the canonical name and is added where it was
/// missing. `ref.name` gets the tag where it held a tag and the full name where
/// it held one that the layout's grammar allows; it is only added to a
/// descriptor that had neither.
pub(crate) fn named_descriptor(bytes: &[u8], name: &Reference) -> Result<String> {
    let root = json::parse(bytes, &crate::limits::Limits::default())?;
    let full = name.to_string();
    let annotations = root.field_or_null("annotations")?;
    let fields = annotations.and_then(Node::object).unwrap_or_default();
    let value = |key: &str| fields.iter().find(|(k, _)| &**k == key).map(|(_, node)| node);
    let text = |node: &Node| match &node.value {
        json::Value::String(text) => Some(text.clone()),
        _ => None,
    };
    let old_ref = value(annotation::REF_NAME);
    let held_full = old_ref.and_then(text).is_some_and(|text| is_full(&text));
    let ref_name =
        if held_full && is_valid_ref_name(&full) { &*full } else { ref_name_object(&full) };

    let mut edits = Edits::default();
    let mut added = Vec::new();
    match value(annotation::IMAGE_NAME) {
        Some(old) => edits.replace(old, string(&full)),
        None => added.push((annotation::IMAGE_NAME, string(&full))),
    }
    match old_ref {
        Some(old) => edits.replace(old, string(ref_name)),
        None if value(annotation::IMAGE_NAME).is_none() => {
            added.push((annotation::REF_NAME, string(ref_name)))
        }
        None => {}
    }
    let object = || {
        let fields: Vec<String> =
            added.iter().map(|(key, value)| format!("{}:{value}", string(key))).collect();
        format!("{{{}}}", fields.join(","))
    };
    match annotations {
        Some(node) if node.object().is_some() => edits.append_fields(node, &added),
        Some(null) => edits.replace(null, object()),
        None => edits.append_fields(&root, &[("annotations", object())]),
    }
    let text = edits.apply(bytes);
    String::from_utf8(text).map_err(|_| Error::new(Code::Bug, "an edit of UTF-8 that is none"))
}
