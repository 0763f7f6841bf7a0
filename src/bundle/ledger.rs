//! The digests of a bundle before and after.

use std::collections::HashSet;

use crate::archive::Archive;
use crate::bundle::Bundle;
use crate::digest::Digest;
use crate::edit::{Ledger, LedgerKind};

/// What archives hold.
pub(super) fn before(archives: &[&Archive]) -> Ledger {
    Ledger::of(archives, &|digest| Some(*digest))
}

/// What becomes of it.
pub(super) fn after(bundle: &Bundle<'_>) -> Ledger {
    let kept = bundle.digests();
    let after = |digest: &Digest| {
        let mut digest = *digest;
        // A document may have been replaced more than once.
        for _ in 0..=bundle.replaced.len() {
            if kept.contains(&digest) {
                return Some(digest);
            }
            digest = *bundle.replaced.get(&digest)?;
        }
        None
    };
    let mut ledger = Ledger::of(bundle.blobs.archives(), &after);
    let entries = ledger.entries().iter();
    let mut known: HashSet<Digest> =
        entries.flat_map(|entry| entry.before.into_iter().chain(entry.after)).collect();
    for image in &bundle.images {
        for index in bundle.blobs.indexes(&image.root.digest) {
            if known.insert(index) {
                ledger.add(LedgerKind::Index, index, None);
            }
        }
        for leaf in &image.leaves {
            if known.insert(leaf.descriptor.digest) {
                let platform = leaf.platform.clone();
                ledger.add(LedgerKind::Manifest, leaf.descriptor.digest, platform);
            }
        }
    }
    ledger
}
