//! The control files of an archive: raw bytes beside the parsed form.

use crate::archive::store::{Entry, Store};
use crate::diagnostics::Diagnostics;
use crate::error::{Code, Error};
use crate::json::{self, Node};
use crate::limits::Limits;
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
        let loaded = read(&entry, limits.control_file, limits);
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

/// Reads and parses one JSON file of at most `limit` bytes.
pub(crate) fn read(entry: &Entry, limit: u64, limits: &Limits) -> Result<(Vec<u8>, Node), Error> {
    check_size(entry, limit)?;
    let bytes = entry.span.read()?;
    let root = json::parse(&bytes, limits)?;
    Ok((bytes, root))
}

pub(crate) fn check_size(entry: &Entry, limit: u64) -> Result<(), Error> {
    if entry.span.len > limit {
        return Err(Error::new(Code::LimitJson, "a document larger than the limit")
            .expected_found(format!("at most {limit} bytes"), entry.span.len));
    }
    Ok(())
}
