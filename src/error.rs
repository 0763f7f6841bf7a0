//! What went wrong, where, and what to do next.
//!
//! One [`Error`] type carries every failure of the library: a stable [`Code`]
//! (`E_JSON_DUPKEY`), the archive, the member with its number and byte offset,
//! what was expected and what was found, and often a hint. A [`Code`] belongs
//! to one [`Class`], and the class decides the exit code of the command.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::limits::Limit;
use crate::text::printable;

/// The result of a fallible operation of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose fault a failure is; each class is one exit code of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Class {
    /// The archive reads well but its content is at fault, or nothing in it
    /// matched what was asked for (exit 1).
    Content,
    /// The request makes no sense, whatever the archive holds (exit 2).
    Usage,
    /// The archive is malformed, or two readers could read it differently (exit 3).
    Malformed,
    /// A limit was hit before the input could exhaust the machine (exit 4).
    Limit,
    /// The operating system said no: reading, writing, space, permissions (exit 5).
    Io,
    /// A signal ended the work (exit 130).
    Interrupted,
    /// ocitar is at fault (exit 70).
    Bug,
}

impl Class {
    /// The process exit code the command ends with for this class.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Content => 1,
            Class::Usage => 2,
            Class::Malformed => 3,
            Class::Limit => 4,
            Class::Io => 5,
            Class::Interrupted => 130,
            Class::Bug => 70,
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $class:ident;)+) => {
        /// A stable identifier of one kind of failure or finding.
        ///
        /// Programs match on these; the text of a message may change, a code
        /// keeps its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl Code {
            /// Every code there is, in the order of this page.
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            /// The identifier as printed, for example `E_TAR_CHECKSUM`.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Code::$name => $id,)+ }
            }

            /// The class this code belongs to.
            #[must_use]
            pub fn class(self) -> Class {
                match self { $(Code::$name => Class::$class,)+ }
            }
        }
    };
}

codes! {
    /// Two members of one name hold different bytes.
    TarDup = "E_TAR_DUP", Malformed;
    /// A header's checksum is not that of its bytes.
    TarChecksum = "E_TAR_CHECKSUM", Malformed;
    /// One zero block, then more members.
    TarEof = "E_TAR_EOF", Malformed;
    /// Extended headers contradict each other or the header they precede.
    TarExtConflict = "E_TAR_EXT_CONFLICT", Malformed;
    /// An extended header with no member behind it.
    TarExtDangling = "E_TAR_EXT_DANGLING", Malformed;
    /// A member kind that carries no data states a size.
    TarHdrOnlySize = "E_TAR_HDRONLY_SIZE", Malformed;
    /// A link whose target cannot be settled inside the archive.
    TarLink = "E_TAR_LINK", Malformed;
    /// Not a tar header of a kind every reader agrees on.
    TarMagic = "E_TAR_MAGIC", Malformed;
    /// A name that leaves the archive, or that readers would cut differently.
    TarName = "E_TAR_NAME", Malformed;
    /// The end-of-archive marker is missing or half there.
    TarNoEnd = "E_TAR_NOEND", Content;
    /// A numeric field that is neither octal nor positive base-256.
    TarNumeric = "E_TAR_NUMERIC", Malformed;
    /// A global pax header that would change members.
    TarPaxGlobal = "E_TAR_PAX_GLOBAL", Malformed;
    /// A pax record that does not parse.
    TarPaxSyntax = "E_TAR_PAX_SYNTAX", Malformed;
    /// A sparse member.
    TarSparse = "E_TAR_SPARSE", Malformed;
    /// Bytes that are not zero behind the end of the archive.
    TarTrailing = "E_TAR_TRAILING", Content;
    /// The file ends inside a member, or before a member it must have.
    TarTruncated = "E_TAR_TRUNCATED", Malformed;
    /// A member type that readers treat differently.
    TarType = "E_TAR_TYPE", Malformed;

    /// Two keys of one JSON object are the same to some readers.
    JsonCaseKey = "E_JSON_CASEKEY", Malformed;
    /// A key stands twice in one JSON object.
    JsonDupKey = "E_JSON_DUPKEY", Malformed;
    /// A number outside of what its field may hold.
    JsonRange = "E_JSON_RANGE", Malformed;
    /// A value of another type than the format asks for.
    JsonShape = "E_JSON_SHAPE", Malformed;
    /// Not JSON.
    JsonSyntax = "E_JSON_SYNTAX", Malformed;
    /// More bytes behind the JSON value.
    JsonTrailing = "E_JSON_TRAILING", Malformed;
    /// JSON that is not UTF-8, or starts with a byte order mark.
    JsonUtf8 = "E_JSON_UTF8", Malformed;

    /// Too many members in the archive.
    LimitEntries = "E_LIMIT_ENTRIES", Limit;
    /// A JSON document that is too large, too deep or too wide.
    LimitJson = "E_LIMIT_JSON", Limit;
    /// Too many descriptors, or indexes nested too deep.
    LimitGraph = "E_LIMIT_GRAPH", Limit;
    /// More documents in a stream than may be kept in memory.
    LimitKept = "E_LIMIT_KEPT", Limit;
    /// Too many layers in one image.
    LimitLayers = "E_LIMIT_LAYERS", Limit;
    /// An extended tar header that is too large, or too many of them.
    LimitTarMeta = "E_LIMIT_TARMETA", Limit;
    /// More decompressed bytes than allowed.
    LimitUnpacked = "E_LIMIT_UNPACKED", Limit;
    /// Less memory than it takes.
    LimitMemory = "E_LIMIT_MEM", Limit;
    /// A zstd window larger than allowed.
    LimitWindow = "E_LIMIT_WINDOW", Limit;

    /// A layer that Go cannot read, and so no daemon unpack.
    LayerTar = "E_LAYER_TAR", Content;
    /// A whiteout in a layer that would remove the folder it is in, or the one above.
    LayerWhiteout = "E_LAYER_WHITEOUT", Content;
    /// A name in a layer that leads out of it.
    LayerPath = "E_LAYER_PATH", Content;
    /// A sparse member in a layer.
    LayerSparse = "E_LAYER_SPARSE", Content;
    /// A header in a layer that readers take differently.
    LayerOdd = "E_LAYER_ODD", Content;

    /// A descriptor, a name or a link leads to a blob that is not there.
    BlobMissing = "E_BLOB_MISSING", Content;
    /// A compressed stream that does not decompress.
    DecompCorrupt = "E_DECOMP_CORRUPT", Content;
    /// The decompressed layer has another digest than its diff ID.
    DiffIdMismatch = "E_DIFFID_MISMATCH", Content;
    /// A digest of an algorithm that cannot be checked.
    DigestAlgorithm = "E_DIGEST_ALG", Malformed;
    /// Not a digest.
    DigestFormat = "E_DIGEST_FORMAT", Malformed;
    /// The content is not what its digest says.
    DigestMismatch = "E_DIGEST_MISMATCH", Content;
    /// The content is not of the size its descriptor says.
    SizeMismatch = "E_SIZE_MISMATCH", Content;
    /// The media type says one thing, the bytes another.
    MediaType = "E_MEDIATYPE", Content;
    /// A document that is an index and a manifest at once, or of a kind too old.
    DocumentKind = "E_DOCUMENT_KIND", Malformed;

    /// Not an image archive, or none this build can read.
    Format = "E_FORMAT", Malformed;
    /// A name with a digest that is not the digest of what it names.
    DigestName = "E_DIGEST_NAME", Content;
    /// The OCI layout lacks a part, or is of a version nobody reads.
    Layout = "E_LAYOUT", Content;
    /// No image in the archive.
    NoImages = "E_NO_IMAGES", Content;
    /// The docker view and the OCI view name different images alike.
    ImageConflict = "E_IMG_CONFLICT", Malformed;
    /// Layers and diff IDs differ in number.
    ImageLayerCount = "E_IMG_LAYERCOUNT", Content;
    /// The two views list the layers in different order.
    ImageLayerOrder = "E_IMG_LAYERORDER", Content;
    /// A configuration without a root file system made of layers.
    ImageRootfs = "E_IMG_ROOTFS", Content;
    /// A platform the index promises is not complete.
    PlatformMissing = "E_PLATFORM_MISSING", Content;
    /// An image has several platforms where the output holds one.
    PlatformChoice = "E_PLATFORM_CHOICE", Content;
    /// An image that alone is larger than a part may be.
    PartSize = "E_PART_SIZE", Content;
    /// A signature or an attestation would be about a digest that is gone.
    Referrer = "E_REFERRER", Content;
    /// No image or no platform of the archive answers to what was asked.
    NoMatch = "E_NO_MATCH", Content;

    /// Not an image reference, or not one that may stand here.
    Reference = "E_REF", Usage;
    /// A rule that does not parse.
    Rule = "E_RULE", Usage;
    /// A rule, or every rule, matched no name.
    RuleUnmatched = "E_RULE_UNMATCHED", Content;
    /// Two images would end with one name.
    NameCollision = "E_NAME_COLLISION", Content;
    /// Options that do not go together, or are missing.
    Usage = "E_USAGE", Usage;
    /// The output exists.
    OutExists = "E_OUT_EXISTS", Usage;
    /// The output is the input.
    OutSame = "E_OUT_SAME", Usage;
    /// A file that cannot be edited in place, or not in the way that was asked for.
    InPlace = "E_IN_PLACE", Usage;

    /// The operating system refused to read or write.
    Io = "E_IO", Io;
    /// The input changed while it was being read.
    InputChanged = "E_INPUT_CHANGED", Io;
    /// Not enough space for the output.
    NoSpace = "E_NO_SPACE", Io;
    /// An edit in place was cut short and has to be recovered first, or its
    /// journal cannot be used.
    Journal = "E_JOURNAL", Io;
    /// The work was interrupted.
    Interrupted = "E_INTERRUPTED", Interrupted;
    /// A result that does not hold what it must: a bug in ocitar.
    Bug = "E_BUG", Bug;

    /// Members no reference reaches.
    Unreferenced = "N_UNREFERENCED", Content;
    /// Members that no digest covers, so nothing can say whether they are intact.
    Unverifiable = "N_UNVERIFIABLE", Content;
    /// Platforms the index promises and the archive does not hold.
    Sparse = "N_SPARSE", Content;
    /// One member twice, with equal bytes.
    TarDupSame = "N_TAR_DUP_SAME", Content;
    /// Something about the tar every reader ignores.
    TarOdd = "N_TAR_ODD", Content;
    /// A link that some consumers do not follow.
    TarOddLink = "N_TAR_LINK", Content;
    /// An absolute name, which consumers look up differently.
    TarAbsolute = "N_TAR_ABSOLUTE", Content;
    /// Written by docker 1.9 or older.
    DockerV1 = "N_DOCKER_V1", Content;
    /// A document of a version that some consumers do not read.
    Version = "N_VERSION", Content;
    /// More history than layers, which classic docker refuses.
    History = "N_HISTORY", Content;
    /// An index states another platform for an image than its configuration.
    PlatformOdd = "N_PLATFORM", Content;
    /// A name in the archive that is not a reference every consumer takes.
    NameOdd = "N_NAME_ODD", Content;
    /// The two views of the archive hold different, but not contradicting, entries.
    ViewsDiffer = "N_VIEWS_DIFFER", Content;
    /// An image without layers.
    NoLayers = "N_NO_LAYERS", Content;
    /// Larger than some consumer reads.
    Large = "N_LARGE", Content;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// Where in an archive something is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The member's name, as it stands in the archive.
    pub member: Option<String>,
    /// The member's number, counted from 0 in file order.
    pub index: Option<u32>,
    /// Bytes from the start of the (uncompressed) archive.
    pub offset: Option<u64>,
}

impl Place {
    /// A place in a member: its number, its name and the offset of its header.
    #[must_use]
    pub fn member(index: u32, name: impl Into<String>, offset: u64) -> Self {
        Place { member: Some(name.into()), index: Some(index), offset: Some(offset) }
    }

    /// A place that is only an offset.
    #[must_use]
    pub fn offset(offset: u64) -> Self {
        Place { offset: Some(offset), ..Place::default() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.member, self.index, self.offset) {
            (Some(name), Some(index), Some(offset)) => {
                write!(f, "{} (member {index}, offset {offset})", printable(name))
            }
            (Some(name), _, _) => f.write_str(&printable(name)),
            (None, Some(index), Some(offset)) => write!(f, "member {index}, offset {offset}"),
            (None, _, Some(offset)) => write!(f, "offset {offset}"),
            (None, _, None) => Ok(()),
        }
    }
}

/// A failure: what, where, expected, found, and a next step.
///
/// Prints as one line, `ARCHIVE: MEMBER (member N, offset N): MESSAGE [ID]`;
/// the hint is not part of that line.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    code: Code,
    archive: Option<String>,
    place: Place,
    message: String,
    expected: Option<String>,
    found: Option<String>,
    hint: Option<String>,
    limit: Option<Limit>,
    source: Option<Arc<io::Error>>,
}

impl Error {
    /// An error of a kind, with a message that reads as a clause: lower case,
    /// no full stop, no place and no code in it.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            code,
            archive: None,
            place: Place::default(),
            message: message.into(),
            expected: None,
            found: None,
            hint: None,
            limit: None,
            source: None,
        }))
    }

    /// An operating system error on a file.
    pub fn io(path: impl AsRef<Path>, source: io::Error) -> Self {
        let code = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::NoSpace,
            io::ErrorKind::UnexpectedEof => Code::InputChanged,
            _ => Code::Io,
        };
        let mut error = Error::new(code, source.to_string());
        error.0.archive = Some(path.as_ref().display().to_string());
        error.0.source = Some(Arc::new(source));
        error
    }

    /// Adds the archive's name, unless an inner layer already knew it.
    #[must_use]
    pub fn in_archive(mut self, archive: impl Into<String>) -> Self {
        self.0.archive.get_or_insert_with(|| archive.into());
        self
    }

    /// Adds the place, unless an inner layer already knew it.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        if self.0.place == Place::default() {
            self.0.place = place;
        }
        self
    }

    /// Adds what should have been there and what was.
    #[must_use]
    pub fn expected_found(mut self, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        self.0.expected = Some(expected.to_string());
        self.0.found = Some(found.to_string());
        self
    }

    /// Adds a next step for the person who reads it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the limit that was hit.
    pub(crate) fn of_limit(mut self, limit: Limit) -> Self {
        self.0.limit = Some(limit);
        self
    }

    /// Adds the operating system's error behind this one.
    #[must_use]
    pub fn caused_by(mut self, source: io::Error) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Whether another error differs in nothing a reader would see.
    pub(crate) fn says_the_same(&self, other: &Error) -> bool {
        let parts =
            |e: &Error| (e.0.code, e.0.place.clone(), e.0.expected.clone(), e.0.found.clone());
        self.0.message == other.0.message && parts(self) == parts(other)
    }

    /// The stable identifier.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The class, which decides the exit code.
    #[must_use]
    pub fn class(&self) -> Class {
        self.0.code.class()
    }

    /// The archive or file this is about.
    #[must_use]
    pub fn archive(&self) -> Option<&str> {
        self.0.archive.as_deref()
    }

    /// Where in the archive.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// The message alone: no place, no code.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What should have been there.
    #[must_use]
    pub fn expected(&self) -> Option<&str> {
        self.0.expected.as_deref()
    }

    /// What was there.
    #[must_use]
    pub fn found(&self) -> Option<&str> {
        self.0.found.as_deref()
    }

    /// The limit that was hit: with a higher one the work might be done.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        self.0.limit
    }

    /// A next step.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(archive) = &inner.archive {
            write!(f, "{}: ", printable(archive))?;
        }
        let place = inner.place.to_string();
        if !place.is_empty() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&printable(&inner.message))?;
        if let (Some(expected), Some(found)) = (&inner.expected, &inner.found) {
            write!(f, ": expected {}, found {}", printable(expected), printable(found))?;
        }
        write!(f, " [{}]", inner.code)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_archive_place_message_and_id_on_one_line() {
        let error = Error::new(Code::JsonDupKey, "duplicate key \"manifests\"")
            .at(Place::member(7, "index.json", 10240))
            .in_archive("in.tar");
        assert_eq!(
            error.to_string(),
            "in.tar: index.json (member 7, offset 10240): duplicate key \"manifests\" [E_JSON_DUPKEY]"
        );
    }

    #[test]
    fn the_innermost_place_wins_and_names_are_escaped() {
        let error = Error::new(Code::TarName, "bad\nname")
            .at(Place::member(1, "a\x1b[2K", 0))
            .at(Place::offset(99));
        assert_eq!(
            error.to_string(),
            "a\\u{1b}[2K (member 1, offset 0): bad\\u{a}name [E_TAR_NAME]"
        );
    }

    #[test]
    fn ids_are_unique_and_well_formed() {
        let mut ids: Vec<_> = Code::ALL.iter().map(|c| c.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Code::ALL.len());
        for id in ids {
            assert!(id.starts_with("E_") || id.starts_with("N_"), "{id}");
        }
    }
}
