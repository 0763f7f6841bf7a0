//! The control files of an archive: raw bytes beside the parsed form.

use std::cell::Cell;

use crate::archive::store::{Entry, Store};
use crate::diagnostics::Diagnostics;
use crate::error::{Code, Error};
use crate::json::{self, Node};
use crate::limits::{Limit, Limits};
use crate::tarball::Kind;

/// A control file: where it is, its bytes, and what they say.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) entry: Entry,
    pub(crate) bytes: Vec<u8>,
    pub(crate) root: Node,
}

/// Above this size podman and skopeo refuse `manifest.json`.
const LARGE_MANIFEST_JSON: u64 = 1 << 20;

/// Above this size podman and skopeo refuse a configuration.
const LARGE_CONFIG: u64 = 4 << 20;

impl Document {
    /// Reads the control file of a name at the root of the archive. One that is
    /// not a regular file, too large, or no JSON is a fatal finding.
    pub(crate) fn load(
        store: &Store,
        name: &str,
        limits: &Limits,
        findings: &mut Diagnostics,
    ) -> Option<Document> {
        if let Some(member) = store.tar().and_then(|tar| tar.index.find(name)) {
            // skopeo follows a link here, containerd ignores it.
            if member.kind != Kind::File {
                let message = "a control file must be a regular file";
                findings.fatal(Error::new(Code::TarLink, message).at(member.place()));
                return None;
            }
        }
        let entry = store.find(name).ok()??;
        let loaded = read(&entry, limits);
        match loaded {
            Ok((bytes, root)) => {
                if name == "manifest.json" && entry.span.len > LARGE_MANIFEST_JSON {
                    let message = "larger than 1 MiB, which podman and skopeo refuse";
                    findings.warning(Error::new(Code::Large, message).at(entry.place.clone()));
                }
                Some(Document { entry, bytes, root })
            }
            Err(error) => {
                findings.fatal(error.at(entry.place));
                None
            }
        }
    }
}

/// Reads a control file.
fn read(entry: &Entry, limits: &Limits) -> Result<(Vec<u8>, Node), Error> {
    check_size(entry, limits, Limit::ControlFile)?;
    let bytes = entry.span.read().map_err(not_kept)?;
    let root = json::parse(&bytes, limits)?;
    Ok((bytes, root))
}

/// Reads manifests and configurations, under a limit for each and for all.
pub(crate) struct Reader<'a> {
    pub(crate) store: &'a Store,
    pub(crate) limits: &'a Limits,
    left: Cell<u64>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(store: &'a Store, limits: &'a Limits) -> Reader<'a> {
        Reader { store, limits, left: Cell::new(limits.documents) }
    }

    /// The bytes of a document.
    pub(crate) fn read(&self, entry: &Entry) -> Result<Vec<u8>, Error> {
        check_size(entry, self.limits, Limit::Document)?;
        let left = self.left.get().checked_sub(entry.span.len);
        self.left.set(left.ok_or_else(|| self.limits.exceeded(Limit::Documents))?);
        entry.span.read().map_err(not_kept)
    }
}

/// A warning about a configuration that not everybody reads.
pub(crate) fn check_config_size(entry: &Entry, findings: &mut Diagnostics) {
    if entry.span.len > LARGE_CONFIG {
        let message = "larger than 4 MiB, which podman and skopeo refuse of a configuration";
        findings.warning(Error::new(Code::Large, message).at(entry.place.clone()));
    }
}

/// Of a stream only what starts like JSON is kept.
fn not_kept(error: Error) -> Error {
    match error.code() {
        Code::LimitKept => Error::new(Code::JsonSyntax, "not JSON: no value starts like this"),
        _ => error,
    }
}

fn check_size(entry: &Entry, limits: &Limits, limit: Limit) -> Result<(), Error> {
    let most = limits.get(limit);
    if entry.span.len > most {
        let error = limits.exceeded(limit);
        return Err(error.expected_found(format!("at most {most}"), entry.span.len));
    }
    Ok(())
}
