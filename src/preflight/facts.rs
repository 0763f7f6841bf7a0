//! What is in an archive, once for all consumers: members, the digest and
//! compression of every file, JSON documents.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::archive::Archive;
use crate::archive::store::Store;
use crate::compress::{Compression, Reading, Total, Wanted, measure_span};
use crate::digest::{Algorithm, Digest};
use crate::error::{Code, Error, Result};
use crate::json::{self, Node};
use crate::limits::Limits;
use crate::parallel;
use crate::preflight::control::{self, Config, Manifest};
use crate::preflight::members::{self, End, Kind, Member, clean};
use crate::progress::Progress;
use crate::source::Span;

/// JSON beyond this many bytes is larger than every consumer reads.
const LARGEST_DOCUMENT: u64 = 32 << 20;

/// What all predictions about one archive share.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) archive: &'a Archive,
    pub(super) members: Vec<Member>,
    pub(super) end: End,
    /// By the number of the member; `None` where it is no file.
    contents: Vec<Option<Content>>,
    cache: Vec<Cached>,
    /// Files by the digest of their bytes.
    by_digest: HashMap<Digest, usize>,
    /// The first of each name, names cleaned, folders left out.
    first: HashMap<String, usize>,
}

/// What a file says, once it was asked.
#[derive(Debug, Default)]
struct Cached {
    control: OnceLock<Document>,
    config: OnceLock<Option<Arc<Config>>>,
    manifest: OnceLock<Option<Arc<Manifest>>>,
}

/// The bytes of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    /// Of the bytes as stored.
    pub(super) digest: Digest,
    /// By magic.
    pub(super) compression: Compression,
    /// Of the bytes decompressed; `None` when they do not decompress, and of a
    /// file that is not compressed that of its bytes.
    pub(super) plain: Option<Digest>,
}

/// A file read as JSON.
#[derive(Debug)]
pub(super) struct Document {
    /// The first value, or why there is none.
    pub(super) root: std::result::Result<Node, Fault>,
    /// Whether anything but white space follows it.
    pub(super) trailing: bool,
}

/// Why a file has no JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is empty.
    Empty,
    /// It is no JSON.
    Syntax(String),
    /// It is JSON that readers read differently, or beyond a limit.
    Doubt(String),
}

impl<'a> Facts<'a> {
    /// Reads every file of the archive once, in parallel.
    pub(super) fn read(
        archive: &'a Archive,
        jobs: Option<usize>,
        progress: &dyn Progress,
    ) -> Result<Facts<'a>> {
        if !archive.is_whole() {
            let message = "a prediction needs the layers, which were not kept of this stream";
            return Err(Error::new(Code::Usage, message).in_archive(archive.label()));
        }
        let (members, end) = members::of(archive);
        let spans = spans(archive, &members);
        let mut order: Vec<usize> = (0..members.len()).filter(|at| spans[*at].is_some()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(members[*at].size));
        progress.begin(order.iter().map(|at| members[*at].size).sum());
        let total = Total::new(archive.limits());
        let how = Reading::new(archive.limits(), &total, progress);
        let read = parallel::map(&order, jobs, |at, spare| {
            let how = Reading { spare: Some(spare), ..how };
            spans[*at].as_ref().map(|span| content(span, &how)).transpose()
        });
        let mut contents = vec![None; members.len()];
        for (at, content) in order.iter().zip(read) {
            contents[*at] = content.map_err(|error| error.in_archive(archive.label()))?;
        }
        let by_digest = contents
            .iter()
            .enumerate()
            .filter(|(at, _)| members[*at].kind == Kind::File)
            .filter_map(|(at, content)| Some((content.as_ref()?.digest, at)))
            .collect();
        let cache = members.iter().map(|_| Cached::default()).collect();
        let mut first = HashMap::new();
        for (at, member) in members.iter().enumerate() {
            if !matches!(member.kind, Kind::Ignored | Kind::Directory) {
                first.entry(clean(&member.name)).or_insert(at);
            }
        }
        Ok(Facts { archive, members, end, contents, cache, by_digest, first })
    }

    /// The bytes of a file.
    pub(super) fn content(&self, member: usize) -> Option<&Content> {
        self.contents.get(member)?.as_ref()
    }

    /// The file whose bytes have a digest, whatever its name.
    pub(super) fn by_digest(&self, digest: &Digest) -> Option<usize> {
        self.by_digest.get(digest).copied()
    }

    /// A control file, which is kept as it is.
    pub(super) fn control(&self, member: usize) -> &Document {
        self.cache[member].control.get_or_init(|| self.document(member))
    }

    /// A file read as a configuration.
    pub(super) fn config(&self, member: usize) -> Option<Arc<Config>> {
        let config = || control::config(&self.document(member), self.archive.limits());
        self.cache[member].config.get_or_init(|| config().map(Arc::new)).clone()
    }

    /// A file read as an index or a manifest.
    pub(super) fn manifest(&self, member: usize) -> Option<Arc<Manifest>> {
        let manifest = || control::manifest(&self.document(member), self.archive.limits());
        self.cache[member].manifest.get_or_init(|| manifest().map(Arc::new)).clone()
    }

    /// A file read as JSON.
    fn document(&self, member: usize) -> Document {
        let size = self.members[member].size;
        let bytes = spans(self.archive, &self.members[member..=member])
            .pop()
            .flatten()
            .filter(|_| size <= LARGEST_DOCUMENT)
            .map(|span| span.read());
        match bytes {
            Some(Ok(bytes)) => document(&bytes, self.archive.limits()),
            _ => Document {
                root: Err(Fault::Doubt("too large to be read".to_owned())),
                trailing: false,
            },
        }
    }

    /// The first member of a name, names cleaned on both sides.
    pub(super) fn first(&self, name: &str) -> Option<usize> {
        self.first.get(&clean(name)).copied()
    }

    /// The last file of a name, names cleaned as Go's `path.Clean` does.
    pub(super) fn last(&self, name: &str) -> Option<usize> {
        self.members
            .iter()
            .rposition(|member| member.kind == Kind::File && clean(&member.name) == name)
    }

    /// Whether there is a member of this name in any spelling.
    pub(super) fn has(&self, name: &str) -> bool {
        let is = |member: &Member| clean(&member.name).trim_start_matches('/') == name;
        self.members.iter().any(is)
    }
}

/// The bytes of every file; `None` for what is no file.
fn spans(archive: &Archive, members: &[Member]) -> Vec<Option<Span>> {
    let has_bytes = |member: &&Member| matches!(member.kind, Kind::File | Kind::Contiguous);
    let span = |member: &Member| match &archive.store {
        Store::Tar(tar) => {
            Some(Span { source: Arc::clone(&tar.source), offset: member.body, len: member.size })
        }
        Store::Directory(_) => Some(archive.store.find(&member.name).ok()??.span),
    };
    members.iter().map(|member| Some(member).filter(has_bytes).and_then(span)).collect()
}

/// Reads a file once, decompressing what is compressed.
fn content(span: &Span, how: &Reading<'_>) -> Result<Content> {
    let wanted = Wanted { algorithms: vec![Algorithm::Sha256], content: true, layer: false };
    let found = measure_span(span, &wanted, how)?;
    let digest = found.raw(Algorithm::Sha256);
    let digest = digest.ok_or_else(|| Error::new(Code::Bug, "a digest that was asked for"))?;
    let plain = match found.unpacked {
        None => Some(digest),
        Some(unpacked) => unpacked.ok(),
    };
    Ok(Content { digest, compression: found.compression, plain })
}

/// The first JSON value of a file, as Go's decoder takes it.
fn document(bytes: &[u8], limits: &Limits) -> Document {
    let mut values =
        serde_json::Deserializer::from_slice(bytes).into_iter::<&serde_json::value::RawValue>();
    let (root, trailing) = match values.next() {
        None => (Err(Fault::Empty), false),
        Some(Err(error)) => (Err(Fault::Syntax(error.to_string())), false),
        Some(Ok(value)) => {
            let end = values.byte_offset();
            let trailing = bytes[end..].iter().any(|byte| !byte.is_ascii_whitespace());
            let root = json::parse(value.get().as_bytes(), limits);
            (root.map_err(|error| Fault::Doubt(error.message().to_owned())), trailing)
        }
    };
    Document { root, trailing }
}
