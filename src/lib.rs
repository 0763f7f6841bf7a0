//! Container image archives: the tar files that `docker save`, `ctr images
//! export`, `nerdctl save`, `podman save`, `skopeo copy`, `buildx` and `crane
//! pull` write, read, verified, renamed and written again without a daemon.
//!
//! ```text
//!     bytes ──► tar index ──► archive ──► edits ──► plan ──► writer
//!     map       spans of      images,     pure      ordered   one pass,
//!     or pipe   members       blobs,      graph →   pieces    atomic
//!                             names       graph
//! ```
//!
//! * An archive is indexed once, by its headers: every member becomes a span of
//!   the file. Nothing is unpacked.
//! * A [`bundle::Bundle`] selects, converts, merges and splits whole images; an
//!   [`edit::Edit`] renames, and keeps the archive member by member.
//! * An edit changes metadata only. Its result is a [`plan::Plan`], the ordered
//!   pieces of the output, whose exact size is known before a byte is written.
//! * One writer executes any plan: a file appears whole or not at all.
//! * Bytes are the truth: what is not edited is written byte for byte, and
//!   digests are only ever computed over raw bytes.
//!
//! # Example: rename an image
//!
//! ```
//! use ocitar::archive::Archive;
//! use ocitar::edit::{RenameRules, Rule};
//! use ocitar::write::WriteOptions;
//!
//! # fn main() -> ocitar::error::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let out = folder.path().join("out.tar");
//! let archive = Archive::open("testdata/docker26-two-images.tar")?.check()?;
//! for image in archive.images() {
//!     println!("{} {:?}", image.label(), image.digest());
//! }
//! let rules = RenameRules::new().rule(Rule::prefix("docker.io/library=registry.example.com/hub")?);
//! let plan = archive.edit().rename(&rules)?.plan()?;
//! plan.write_to(&out, &WriteOptions::new())?;
//! # let names = Archive::open(&out)?.images()[0].label();
//! # assert_eq!(names, "registry.example.com/hub/app:1.0");
//! # Ok(())
//! # }
//! ```
//!
//! # What opening promises
//!
//! [`archive::Archive::open`] collects what is wrong as findings;
//! [`archive::Archive::check`] stops at the fatal ones. What passes has one
//! reading: the tar lists the same members to every reader, the JSON says the
//! same to Go and to everyone else, and no name leads to one image in the
//! docker view and to another in the OCI view. Layers are not read by opening;
//! [`archive::Archive::verify`] reads them.
//!
//! # Security
//!
//! Archives are hostile until they prove otherwise. No input makes the library
//! panic or allocate what the input merely states; everything else has a bound
//! in [`limits::Limits`]. An input that changes while it is read is an error (see
//! [`source`]), and an output is there as a whole or not (see [`mod@write`]),
//! whenever the process ends. Not defended against: somebody who shortens an
//! input that was mapped on demand ([`source::MapChoice::Always`]), and
//! somebody who can write to the output's folder.
//!
//! # Features
//!
//! | feature | what for | default |
//! |---|---|---|
//! | `cli` | the `ocitar` command, with `rules-files`, `xz` and `bzip2` | yes |
//! | `oci-spec` | conversions to the types of the `oci-spec` crate | yes |
//! | `rules-files` | rename rules from `registries.yaml`, `hosts.toml`, `rules.toml` | with `cli` |
//! | `xz`, `bzip2` | archives and layers compressed so | with `cli` |
//!
//! Libraries that link this one want `default-features = false`.
//!
//! The library never prints, starts no process, opens no socket and leaves
//! rayon's global pool alone. It needs a Unix; kernel copies are for Linux.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_macros))]

pub mod archive;
pub mod bundle;
pub mod compress;
pub mod diagnostics;
pub mod digest;
pub mod edit;
pub mod error;
mod json;
pub mod limits;
pub mod media_type;
#[cfg(feature = "oci-spec")]
mod oci_spec;
mod parallel;
pub mod plan;
pub mod platform;
pub mod preflight;
pub mod progress;
pub mod reference;
pub mod source;
pub mod stream;
pub mod tarball;
pub mod text;
pub mod verify;
pub mod write;
