//! The archive as files below a folder, as docker and `oci-archive` unpack it.

use std::collections::HashMap;

use crate::preflight::members::{Kind, Member, clean};
use crate::preflight::rules::{self, Rule};

/// What unpackers differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unpacker {
    /// A member that leads outside ends it.
    pub(super) refuses_outside: bool,
    /// So does a symbolic link that does.
    pub(super) refuses_links_outside: bool,
    /// Absolute links are followed inside the folder.
    pub(super) confined: bool,
}

/// Files and links by path.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: HashMap<String, Node>,
    confined: bool,
}

#[derive(Clone, Debug)]
enum Node {
    File(usize),
    Link(String),
}

/// Links are followed this often, as kernels do.
const HOPS: u32 = 40;

impl Tree {
    /// Unpacks; the error is the rule and what stopped it.
    pub(super) fn new(
        members: &[Member],
        unpacker: Unpacker,
    ) -> Result<Tree, (&'static Rule, String)> {
        let mut nodes: HashMap<String, Node> = HashMap::new();
        for (at, member) in members.iter().enumerate() {
            let path = clean(&member.name);
            let path = path.trim_start_matches('/');
            if unpacker.refuses_outside && leads_outside(path) {
                return Err((rules::OUTSIDE, path.to_owned()));
            }
            let node = match member.kind {
                Kind::Directory | Kind::Ignored => continue,
                Kind::Contiguous | Kind::Unknown => {
                    return Err((rules::TYPE, member.name.to_string()));
                }
                Kind::File => Node::File(at),
                Kind::Symlink => {
                    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                    let beside = clean(&format!("./{folder}/{}", member.link));
                    if unpacker.refuses_links_outside && leads_outside(&beside) {
                        let message = format!("{path} -> {}", member.link);
                        return Err((rules::OUTSIDE, message));
                    }
                    let is_absolute = member.link.starts_with('/');
                    Node::Link(if is_absolute { clean(&member.link) } else { beside })
                }
                Kind::HardLink => {
                    let target = clean(&member.link);
                    match nodes.get(target.trim_start_matches('/')) {
                        Some(node) => node.clone(),
                        None => {
                            let message = format!("{path} -> {}", member.link);
                            return Err((rules::HARD_LINK, message));
                        }
                    }
                }
            };
            nodes.insert(path.to_owned(), node);
        }
        Ok(Tree { nodes, confined: unpacker.confined })
    }

    /// The file under a path, links followed.
    pub(super) fn file(&self, path: &str) -> Option<usize> {
        let mut rest: Vec<String> = parts(path);
        let mut at: Vec<String> = Vec::new();
        let mut hops = 0;
        while let Some(part) = rest.pop() {
            if part == ".." {
                at.pop();
                continue;
            }
            at.push(part);
            let here = at.join("/");
            match self.nodes.get(&here) {
                Some(Node::Link(target)) => {
                    hops += 1;
                    if hops > HOPS || (target.starts_with('/') && !self.confined) {
                        return None;
                    }
                    at.clear();
                    rest.extend(parts(target));
                }
                Some(Node::File(member)) if rest.is_empty() => return Some(*member),
                _ => {}
            }
        }
        None
    }
}

/// The components of a path, last first.
fn parts(path: &str) -> Vec<String> {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    let mut parts: Vec<String> = parts.map(ToOwned::to_owned).collect();
    parts.reverse();
    parts
}

fn leads_outside(path: &str) -> bool {
    path == ".." || path.starts_with("../")
}
