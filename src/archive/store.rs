//! The files of an archive by name: members of a tar, or files of an OCI
//! layout directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostics::Diagnostics;
use crate::digest::Digest;
use crate::error::{Code, Error, Place, Result};
use crate::limits::{Limit, Limits};
use crate::source::{Source, Span};
use crate::tarball::{Kind, Member, TarIndex};

/// The files at the root of an archive that say what is in it.
pub(crate) const CONTROL_FILES: [&str; 4] =
    ["index.json", "manifest.json", "oci-layout", "repositories"];

/// Where the files of an archive are.
#[derive(Debug)]
pub(crate) enum Store {
    Tar(Tar),
    Directory(Directory),
}

/// A tar and the bytes behind it.
#[derive(Debug)]
pub(crate) struct Tar {
    pub(crate) source: Arc<Source>,
    pub(crate) index: TarIndex,
}

/// The regular files of an OCI layout directory, sorted by name.
#[derive(Debug)]
pub(crate) struct Directory {
    files: Vec<(Box<str>, Arc<Source>)>,
}

/// One regular file of an archive.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name of the member that holds the bytes: a link's target.
    pub name: Box<str>,
    /// Where it is, for errors.
    pub place: Place,
    /// Its bytes.
    pub span: Span,
}

impl Store {
    /// The regular file under a name, links followed as
    /// [`TarIndex::resolve`] does.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Entry>> {
        match self {
            Store::Tar(tar) => Ok(tar.index.resolve(clean(name))?.map(|member| tar.entry(member))),
            Store::Directory(directory) => Ok(directory.find(name)),
        }
    }

    /// Whether a file is the first one of its name.
    pub(crate) fn is_first(&self, entry: &Entry) -> bool {
        let tar = self.tar().and_then(|tar| tar.index.find(&entry.name));
        tar.is_none_or(|first| Some(first.index) == entry.place.index)
    }

    /// As [`Source::check_unchanged`], of all there is.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        match self {
            Store::Tar(tar) => tar.source.check_unchanged(),
            Store::Directory(directory) => {
                directory.files.iter().try_for_each(|(_, file)| file.check_unchanged())
            }
        }
    }

    /// Every regular file, in file order.
    pub(crate) fn entries(&self) -> Box<dyn Iterator<Item = Entry> + '_> {
        match self {
            Store::Tar(tar) => {
                let files = tar.index.members().iter().filter(|m| m.kind == Kind::File);
                Box::new(files.map(|member| tar.entry(member)))
            }
            Store::Directory(directory) => {
                Box::new(directory.files.iter().map(|(name, source)| entry_of(name, source)))
            }
        }
    }

    /// The names of the regular files, in file order.
    pub(crate) fn file_names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Store::Tar(tar) => {
                let files = tar.index.members().iter().filter(|m| m.kind == Kind::File);
                Box::new(files.map(|member| &*member.name))
            }
            Store::Directory(directory) => {
                Box::new(directory.files.iter().map(|(name, _)| &**name))
            }
        }
    }

    /// The digests of which there is a file, or a link, by name.
    pub(crate) fn blobs(&self) -> Box<dyn Iterator<Item = Digest> + '_> {
        match self {
            Store::Tar(tar) => {
                let members = tar.index.members().iter().filter(|m| m.kind != Kind::Directory);
                Box::new(members.filter_map(|member| Digest::from_blob_path(&member.name)))
            }
            Store::Directory(directory) => {
                let names = directory.files.iter().map(|(name, _)| name);
                Box::new(names.filter_map(|name| Digest::from_blob_path(name)))
            }
        }
    }

    pub(crate) fn tar(&self) -> Option<&Tar> {
        match self {
            Store::Tar(tar) => Some(tar),
            Store::Directory(_) => None,
        }
    }
}

/// Members are stored without a leading `./`; documents may still spell it.
fn clean(name: &str) -> &str {
    name.strip_prefix("./").unwrap_or(name)
}

impl Tar {
    pub(crate) fn entry(&self, member: &Member) -> Entry {
        let span = Span { source: Arc::clone(&self.source), offset: member.body, len: member.size };
        Entry { name: member.name.clone(), place: member.place(), span }
    }
}

impl Directory {
    /// Lists `oci-layout`, `index.json`, `manifest.json` and `blobs/*/*`; other
    /// files beside a layout are none of its business. Links are not followed:
    /// a layout directory has none, and one that leads out of it would be read
    /// as part of the image.
    pub(crate) fn open(
        root: &Path,
        limits: &Limits,
        findings: &mut Diagnostics,
    ) -> Result<Directory> {
        let mut files = Vec::new();
        let mut seen = 0;
        let mut folders: Vec<(PathBuf, String)> = vec![(root.to_owned(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            let depth = prefix.matches('/').count();
            for item in fs::read_dir(&folder).map_err(|e| Error::io(&folder, e))? {
                let item = item.map_err(|e| Error::io(&folder, e))?;
                let path = item.path();
                let kind = item.file_type().map_err(|e| Error::io(&path, e))?;
                let Ok(name) = item.file_name().into_string() else { continue };
                let name = format!("{prefix}{name}");
                let is_ours = depth > 0 || CONTROL_FILES.contains(&&*name) || name == "blobs";
                if !is_ours {
                    continue;
                }
                seen += 1;
                if seen > limits.members {
                    return Err(limits.exceeded(Limit::Members));
                }
                if kind.is_dir() && depth < 2 {
                    folders.push((path, format!("{name}/")));
                } else if kind.is_file() && depth != 1 {
                    let metadata = item.metadata().map_err(|e| Error::io(&path, e))?;
                    files.push((name.into_boxed_str(), Arc::new(Source::path(path, &metadata))));
                } else if kind.is_symlink() {
                    let place = Place { member: Some(name), ..Place::default() };
                    let message = "a symbolic link in an OCI layout directory is not followed";
                    findings.warning(Error::new(Code::TarOddLink, message).at(place));
                }
            }
        }
        files.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Directory { files })
    }

    fn find(&self, name: &str) -> Option<Entry> {
        let at = self.files.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        let (name, source) = &self.files[at];
        Some(entry_of(name, source))
    }
}

fn entry_of(name: &str, source: &Arc<Source>) -> Entry {
    let span = Span { source: Arc::clone(source), offset: 0, len: source.len() };
    let place = Place { member: Some(name.to_owned()), ..Place::default() };
    Entry { name: name.into(), place, span }
}
