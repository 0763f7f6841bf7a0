//! How much an archive may ask of the machine.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::error::{Code, Error, Result};

/// One table for the fields, their defaults, their names, and the error each
/// of them ends with: whoever adds a limit adds a row.
macro_rules! limits {
    ($(
        $(#[$doc:meta])*
        $field:ident: $type:ty = $default:expr;
        $limit:ident, $name:literal, $code:ident, $what:literal;
    )+) => {
        /// Upper bounds that are checked before anything is allocated or followed.
        ///
        /// Every number an archive states is compared with what is really there;
        /// these bounds are for what *is* there, so that a small hostile file
        /// cannot become a large amount of work. A limit that is hit is an error
        /// of the class [`Limit`](crate::error::Class::Limit) that says which
        /// one, see [`Error::limit`].
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Limits { $($(#[$doc])* pub $field: $type,)+ }

        impl Default for Limits {
            fn default() -> Self {
                Limits { $($field: $default,)+ }
            }
        }

        /// The name of one of the [`Limits`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Limit { $(#[doc = concat!("`", $name, "`: ", $what, ".")] $limit,)+ }

        impl Limit {
            /// Every limit, in the order of [`Limits`].
            pub const ALL: &'static [Limit] = &[$(Limit::$limit,)+];

            /// The name, as people write it: `zstd-window-log`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Limit::$limit => $name,)+ }
            }

            /// What there may be at most so many of: `members of an archive`.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self { $(Limit::$limit => $what,)+ }
            }

            /// The code of the error when it is hit.
            #[must_use]
            pub fn code(self) -> Code {
                match self { $(Limit::$limit => Code::$code,)+ }
            }
        }

        impl Limits {
            /// The value of a limit.
            #[must_use]
            pub fn get(&self, limit: Limit) -> u64 {
                match limit {
                    $(Limit::$limit => u64::try_from(self.$field).unwrap_or(u64::MAX),)+
                }
            }

            /// Sets a limit.
            ///
            /// # Errors
            ///
            /// `E_USAGE` when the limit cannot be that high or that low.
            pub fn set(&mut self, limit: Limit, value: u64) -> Result<()> {
                let range = limit.range();
                let wrong = || {
                    let (least, most) = (range.start(), range.end());
                    let message = format!("the limit {limit} is a number from {least} to {most}");
                    Error::new(Code::Usage, message)
                };
                if !range.contains(&value) {
                    return Err(wrong());
                }
                match limit {
                    $(Limit::$limit => self.$field = value.try_into().map_err(|_| wrong())?,)+
                }
                Ok(())
            }
        }
    };
}

limits! {
    /// Members of one archive, 262,144. A `docker save` of 500 images holds
    /// about 20,000; the header blocks of this many are 128 MiB that gzip to
    /// half of one.
    members: u32 = 262_144;
    Members, "members", LimitEntries, "members of an archive";

    /// Bytes of the extended tar headers (pax, GNU long name) of one member,
    /// 1 MiB: what Go's `archive/tar`, and so every daemon, reads at most.
    tar_metadata: u64 = 1 << 20;
    TarMetadata, "tar-metadata", LimitTarMeta, "bytes of extended headers before a member";

    /// Global pax headers of one archive, 64.
    tar_globals: u32 = 64;
    TarGlobals, "tar-globals", LimitTarMeta, "global pax headers of an archive";

    /// Bytes of a member's name, 4,096: `PATH_MAX`.
    member_name: usize = 4096;
    MemberName, "member-name", LimitTarMeta, "bytes of a member's name";

    /// Bytes of all members' names and link targets together, 32 MiB: in a
    /// compressed archive they cost next to nothing.
    member_names: u64 = 32 << 20;
    MemberNames, "member-names", LimitTarMeta, "bytes of all members' names";

    /// Bytes of an index, manifest or config, 16 MiB. Registries stop at 4 MiB,
    /// but an archive need not have come from one: containerd and podman load
    /// manifests of 9 MiB. Only configurations of more than 4 MiB are refused,
    /// by podman and skopeo, which is a warning and no limit.
    document: u64 = 16 << 20;
    Document, "document", LimitJson, "bytes of an index, manifest or config";

    /// Bytes of all indexes, manifests and configs together, 512 MiB.
    documents: u64 = 512 << 20;
    Documents, "documents", LimitJson, "bytes of all indexes, manifests and configs";

    /// Bytes of `manifest.json`, `index.json` and `repositories`, 16 MiB:
    /// below containerd's 20 MiB, so that what is accepted loads.
    control_file: u64 = 16 << 20;
    ControlFile, "control-file", LimitJson, "bytes of index.json, manifest.json or repositories";

    /// Nesting of one JSON document, 64; never more than 256, whatever is
    /// stated here, because reading it takes stack.
    json_depth: u32 = 64;
    JsonDepth, "json-depth", LimitJson, "levels of nesting in a JSON document";

    /// Values of one JSON document, 262,144.
    json_values: u32 = 262_144;
    JsonValues, "json-values", LimitJson, "values in a JSON document";

    /// Indexes inside indexes, 16; real tools nest two.
    graph_depth: u32 = 16;
    GraphDepth, "graph-depth", LimitGraph, "levels of indexes and manifests";

    /// Descriptors reached from the top of an archive, 65,536.
    descriptors: u32 = 65_536;
    Descriptors, "descriptors", LimitGraph, "descriptors below the top of an archive";

    /// Layers of one image, 1,024; overlay mounts stop near 127.
    layers: u32 = 1024;
    Layers, "layers", LimitLayers, "layers of an image";

    /// Decompressed bytes of one blob, or of the archive's own compression, 128 GiB.
    unpacked: u64 = 128 << 30;
    Unpacked, "unpacked", LimitUnpacked, "decompressed bytes of a blob, or of the archive";

    /// Decompressed bytes of all blobs of an archive that are looked at in one run,
    /// 1 TiB.
    unpacked_total: u64 = 1 << 40;
    UnpackedTotal, "unpacked-total", LimitUnpacked, "decompressed bytes of all blobs of an archive";

    /// Base-2 logarithm of the largest zstd window, 27: 128 MiB, what libzstd
    /// accepts without being told otherwise.
    zstd_window_log: u32 = 27;
    ZstdWindowLog, "zstd-window-log", LimitWindow, "bits in the size of a zstd window";

    /// Bytes of documents kept in memory while a compressed or piped archive is
    /// listed, 32 MiB. Beyond it a file is unpacked to a temporary one, and a
    /// pipe is an error.
    kept: u64 = 32 << 20;
    Kept, "kept", LimitKept, "bytes of documents kept of a stream";
}

/// The deepest JSON that is read: a level takes nearly 4 KiB of stack in an
/// unoptimised build, and a thread has 2 MiB.
pub(crate) const DEEPEST_JSON: u32 = 256;

impl Limit {
    /// The values that make sense.
    fn range(self) -> RangeInclusive<u64> {
        match self {
            Limit::JsonDepth => 1..=DEEPEST_JSON.into(),
            // What libzstd can be told, on every machine.
            Limit::ZstdWindowLog => 10..=30,
            Limit::Members
            | Limit::TarGlobals
            | Limit::MemberName
            | Limit::JsonValues
            | Limit::GraphDepth
            | Limit::Descriptors
            | Limit::Layers => 1..=u32::MAX.into(),
            _ => 1..=u64::MAX,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Limit {
    type Err = Error;

    fn from_str(name: &str) -> Result<Limit> {
        let found = Limit::ALL.iter().find(|limit| limit.name() == name);
        found.copied().ok_or_else(|| {
            let names: Vec<&str> = Limit::ALL.iter().map(|limit| limit.name()).collect();
            Error::new(Code::Usage, format!("there is no limit \"{name}\""))
                .hint(format!("the limits are {}", names.join(", ")))
        })
    }
}

/// Suffixes of numbers: powers of 1024.
const SUFFIXES: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

impl Limits {
    /// Sets a limit as people write it: `members=1M`, with a suffix K, M, G or
    /// T for powers of 1024. Returns what was set.
    ///
    /// # Errors
    ///
    /// `E_USAGE` when this is not `NAME=VALUE`, names no limit, or the value is
    /// no number, too high or too low.
    pub fn set_text(&mut self, text: &str) -> Result<(Limit, u64)> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(Error::new(Code::Usage, format!("\"{text}\" is not NAME=VALUE")));
        };
        let limit: Limit = name.parse()?;
        let last = value.chars().last().map(|last| last.to_ascii_uppercase());
        let suffix = SUFFIXES.iter().find(|(suffix, _)| Some(*suffix) == last);
        let (digits, shift) =
            suffix.map_or((value, 0), |(_, shift)| (&value[..value.len() - 1], *shift));
        let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits);
        let number = number.and_then(|digits| digits.parse::<u64>().ok());
        let number = number.and_then(|number| number.checked_mul(1 << shift)).ok_or_else(|| {
            Error::new(Code::Usage, format!("\"{value}\" is no value of the limit {limit}"))
                .hint("whole numbers, with a suffix K, M, G or T for powers of 1024")
        })?;
        self.set(limit, number)?;
        Ok((limit, number))
    }

    /// The value of a limit as short as [`set_text`](Self::set_text) takes it.
    #[must_use]
    pub fn text(&self, limit: Limit) -> String {
        let value = self.get(limit);
        let whole = |shift: u32| value != 0 && value.is_multiple_of(1 << shift);
        match SUFFIXES.iter().find(|(_, shift)| whole(*shift)) {
            Some((suffix, shift)) => format!("{}{suffix}", value >> shift),
            None => value.to_string(),
        }
    }

    /// The error of a limit that was hit.
    pub(crate) fn exceeded(&self, limit: Limit) -> Error {
        let message = format!("more than {} {} (limit {limit})", self.get(limit), limit.what());
        Error::new(limit.code(), message).of_limit(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    #[test]
    fn names_and_errors() {
        let limits = Limits::default();
        for &limit in Limit::ALL {
            assert_eq!(limit.name().parse::<Limit>().unwrap(), limit);
            assert!(limit.range().contains(&limits.get(limit)), "{limit}");
            assert_eq!(limit.code().class(), Class::Limit, "{limit}");
            let error = limits.exceeded(limit);
            assert_eq!((error.limit(), error.code()), (Some(limit), limit.code()));
            let says = |part: &str| assert!(error.message().contains(part), "{error}");
            says(limit.name());
            says(&limits.get(limit).to_string());
            // What is shown can be typed, and means the same.
            let mut same = Limits { json_depth: 1, ..Limits::default() };
            same.set_text(&format!("{limit}={}", limits.text(limit))).unwrap();
            assert_eq!(same.get(limit), limits.get(limit));
        }
    }

    #[test]
    fn values_as_typed() {
        let rows: &[(&str, Option<(Limit, u64)>)] = &[
            ("members=1", Some((Limit::Members, 1))),
            ("members=1M", Some((Limit::Members, 1 << 20))),
            ("members=1m", Some((Limit::Members, 1 << 20))),
            ("members=4G", None),
            ("members=4294967295", Some((Limit::Members, 4_294_967_295))),
            ("members=0", None),
            ("unpacked=2T", Some((Limit::Unpacked, 2 << 40))),
            ("unpacked=18446744073709551615", Some((Limit::Unpacked, u64::MAX))),
            ("unpacked=18446744073709551616", None),
            ("unpacked=16777216T", None),
            ("unpacked=1K", Some((Limit::Unpacked, 1024))),
            ("unpacked=-1", None),
            ("unpacked=+1", None),
            ("unpacked=1.5G", None),
            ("unpacked= 1", None),
            ("unpacked=K", None),
            ("unpacked=", None),
            ("unpacked=1KiB", None),
            ("unpacked=1\u{a0}", None),
            ("unpacked", None),
            ("zstd-window-log=30", Some((Limit::ZstdWindowLog, 30))),
            ("zstd-window-log=31", None),
            ("zstd-window-log=9", None),
            ("json-depth=256", Some((Limit::JsonDepth, 256))),
            ("json-depth=257", None),
            ("Members=1", None),
            ("zstd_window_log=20", None),
            ("=1", None),
            ("", None),
        ];
        for (text, want) in rows {
            let mut limits = Limits::default();
            let set = limits.set_text(text);
            match want {
                Some((limit, value)) => {
                    assert_eq!(set.unwrap(), (*limit, *value), "{text}");
                    assert_eq!(limits.get(*limit), *value, "{text}");
                }
                None => {
                    assert_eq!(set.unwrap_err().code(), Code::Usage, "{text}");
                    assert_eq!(limits, Limits::default(), "{text}");
                }
            }
        }
    }
}
