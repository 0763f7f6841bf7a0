//! How much an archive may ask of the machine.

/// Upper bounds that are checked before anything is allocated or followed.
///
/// Every number an archive states is compared with what is really there; these
/// bounds are for what *is* there, so that a small hostile file cannot become
/// a large amount of work. A limit that is hit is an error of the class
/// [`Limit`](crate::error::Class::Limit) that names the limit and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Members of one archive, 262,144. A `docker save` of 500 images holds
    /// about 20,000; the header blocks of this many are 128 MiB that gzip to
    /// half of one.
    pub members: u32,
    /// Bytes of one extended tar header (pax, GNU long name), 1 MiB: what Go's
    /// `archive/tar`, and so every daemon, reads at most.
    pub tar_metadata: u64,
    /// Global pax headers of one archive, 64.
    pub tar_globals: u32,
    /// Bytes of a member's name, 4,096: `PATH_MAX`.
    pub member_name: usize,
    /// Bytes of an index, manifest or config, 4 MiB: what distribution accepts of
    /// a manifest and containers/image of a config.
    pub document: u64,
    /// Bytes of all indexes, manifests and configs together, 512 MiB.
    pub documents: u64,
    /// Bytes of `manifest.json`, `index.json` and `repositories`, 16 MiB:
    /// below containerd's 20 MiB, so that what is accepted loads.
    pub control_file: u64,
    /// Nesting of one JSON document, 64.
    pub json_depth: u32,
    /// Values of one JSON document, 262,144.
    pub json_values: u32,
    /// Indexes inside indexes, 16; real tools nest two.
    pub graph_depth: u32,
    /// Descriptors reached from the top of an archive, 65,536.
    pub descriptors: u32,
    /// Layers of one image, 1,024; overlay mounts stop near 127.
    pub layers: u32,
    /// Decompressed bytes of one blob, or of the archive's own compression, 128 GiB.
    pub unpacked: u64,
    /// Base-2 logarithm of the largest zstd window, 27: 128 MiB, what libzstd
    /// accepts without being told otherwise.
    pub zstd_window_log: u32,
    /// Bytes of documents kept in memory while a compressed or piped archive is
    /// listed, 32 MiB. Beyond it a file is unpacked to a temporary one, and a
    /// pipe is an error.
    pub kept: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            members: 262_144,
            tar_metadata: 1 << 20,
            tar_globals: 64,
            member_name: 4096,
            document: 4 << 20,
            documents: 512 << 20,
            control_file: 16 << 20,
            json_depth: 64,
            json_values: 262_144,
            graph_depth: 16,
            descriptors: 65_536,
            layers: 1024,
            unpacked: 128 << 30,
            zstd_window_log: 27,
            kept: 32 << 20,
        }
    }
}
