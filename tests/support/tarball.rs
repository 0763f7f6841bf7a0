//! A tar as a list of members.

use std::io::Read;

/// A tar: members in order, and how it ends.
#[derive(Clone, Debug, Default)]
pub struct Tar {
    pub members: Vec<Member>,
    pub end: End,
}

/// What stands behind the last member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Two zero blocks, as Go writes them.
    #[default]
    Marker,
    /// Zero blocks up to a multiple of 10 KiB, as GNU tar writes them.
    Record,
    /// Nothing.
    Missing,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    /// `0` file, `1` hard link, `2` symbolic link, `5` directory.
    pub kind: u8,
    pub link: String,
    pub mode: u32,
    pub mtime: u64,
    pub owner: u64,
    pub uname: String,
    pub body: Vec<u8>,
}

impl Member {
    fn new(name: &str, kind: u8, mode: u32) -> Member {
        Member {
            name: name.to_owned(),
            kind,
            link: String::new(),
            mode,
            mtime: 0,
            owner: 0,
            uname: String::new(),
            body: Vec::new(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let name = self.name.as_bytes();
        if name.len() > 100 {
            pax_path(&self.name, out);
        }
        let mut header = tar::Header::new_ustar();
        let cut = name.len().min(100);
        header.as_old_mut().name[..cut].copy_from_slice(&name[..cut]);
        header.as_old_mut().linkname[..self.link.len()].copy_from_slice(self.link.as_bytes());
        header.set_entry_type(tar::EntryType::new(self.kind));
        header.set_mode(self.mode);
        header.set_mtime(self.mtime);
        header.set_uid(self.owner);
        header.set_gid(self.owner);
        header.set_username(&self.uname).unwrap();
        header.set_size(self.body.len() as u64);
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(&self.body);
        out.resize(out.len().next_multiple_of(512), 0);
    }
}

/// A pax header with a path, named as Go names it.
fn pax_path(path: &str, out: &mut Vec<u8>) {
    let length = (1..).find(|n| format!("{n} path={path}\n").len() == *n).unwrap();
    let body = format!("{length} path={path}\n").into_bytes();
    let (folder, base) = path.rsplit_once('/').unwrap_or(("", path));
    let mut name = format!("{folder}/PaxHeaders.0/{base}");
    name.truncate(100);
    Member { body, ..Member::new(&name, b'x', 0) }.write(out);
}

impl Tar {
    /// No members.
    pub fn new() -> Tar {
        Tar::default()
    }

    /// Adds a regular file, mode 0644.
    pub fn file(mut self, name: &str, body: impl AsRef<[u8]>) -> Tar {
        let body = body.as_ref().to_vec();
        self.members.push(Member { body, ..Member::new(name, b'0', 0o644) });
        self
    }

    /// Adds a directory, mode 0755.
    pub fn folder(mut self, name: &str) -> Tar {
        self.members.push(Member::new(&format!("{name}/"), b'5', 0o755));
        self
    }

    /// Adds a symbolic link, mode 0777.
    pub fn symlink(mut self, name: &str, link: &str) -> Tar {
        self.members.push(Member { link: link.to_owned(), ..Member::new(name, b'2', 0o777) });
        self
    }

    /// Adds a hard link.
    pub fn hard_link(mut self, name: &str, link: &str) -> Tar {
        self.members.push(Member { link: link.to_owned(), ..Member::new(name, b'1', 0o644) });
        self
    }

    /// Says how it ends.
    pub fn end(mut self, end: End) -> Tar {
        self.end = end;
        self
    }

    /// Changes every member.
    pub fn each(mut self, change: impl FnMut(&mut Member)) -> Tar {
        self.members.iter_mut().for_each(change);
        self
    }

    /// The body of a member.
    pub fn get(&self, name: &str) -> &[u8] {
        &self.members.iter().find(|member| member.name == name).expect(name).body
    }

    /// The same with another body in one member.
    pub fn with(mut self, name: &str, body: impl AsRef<[u8]>) -> Tar {
        let member = self.members.iter_mut().find(|member| member.name == name).expect(name);
        member.body = body.as_ref().to_vec();
        self
    }

    /// The same without the members of these names.
    pub fn without(mut self, names: &[&str]) -> Tar {
        self.members.retain(|member| !names.contains(&member.name.as_str()));
        self
    }

    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.members.iter().for_each(|member| member.write(&mut out));
        match self.end {
            End::Marker => out.resize(out.len() + 1024, 0),
            End::Record => out.resize((out.len() + 1024).next_multiple_of(10240), 0),
            End::Missing => {}
        }
        out
    }
}

/// The body of a member of a tar that some program wrote, read by the `tar` crate.
pub fn read(bytes: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if path.trim_start_matches("./") == name {
            let mut body = Vec::new();
            entry.read_to_end(&mut body).unwrap();
            return Some(body);
        }
    }
    None
}

/// Names of the members of a tar, in order, read by the `tar` crate.
pub fn names(bytes: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| String::from_utf8_lossy(&entry.unwrap().path_bytes()).into_owned())
        .collect()
}
