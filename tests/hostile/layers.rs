//! Layers, which ocitar reads as Go does: the same members, and an end where Go gives up.

use ocitar::error::Code;
use ocitar::tarball::layer::LayerScan;

use crate::readers::{Member, Reader, Reading, Seen};

/// Counts over tars that were read as layers.
#[derive(Default)]
pub struct Tally {
    tried: usize,
    /// Read to the end by both.
    read: usize,
    /// With something that readers take differently.
    doubted: usize,
    /// Sparse, and not compared.
    sparse: usize,
    pub lies: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, archives: &[(String, Vec<u8>)], readers: &[Reader]) {
        let Some(go) = readers.iter().find(|reader| reader.name() == "Go") else { return };
        let bytes: Vec<&[u8]> = archives.iter().map(|(_, bytes)| &**bytes).collect();
        for ((what, bytes), theirs) in archives.iter().zip(go.read(&bytes)) {
            self.tried += 1;
            self.compare(what, bytes, &theirs);
        }
    }

    fn compare(&mut self, what: &str, bytes: &[u8], theirs: &Reading) {
        let mut scan = LayerScan::new();
        let mut members: Vec<Member> = Vec::new();
        // In pieces that no block fits.
        for piece in bytes.chunks(777) {
            scan.push(piece, &mut |member| {
                let kind = Seen::flag(member.flag);
                let size = if kind == Seen::File { member.size } else { 0 };
                members.push(Member { name: member.name.clone(), kind, size, digest: None });
            });
        }
        let report = scan.finish();
        if report.doubts.iter().any(|doubt| doubt.code() == Code::LayerSparse) {
            self.sparse += 1;
            return;
        }
        self.doubted += usize::from(!report.doubts.is_empty());
        let ours = Reading {
            members,
            error: report.failure.as_ref().map(|error| error.message().to_owned()),
        };
        let ends_alike = ours.error.is_some() == theirs.error.is_some();
        self.read += usize::from(ours.error.is_none() && theirs.error.is_none());
        let same = |(ours, theirs): (&Member, &Member)| {
            (&ours.name, ours.kind, ours.size) == (&theirs.name, theirs.kind, theirs.size)
        };
        let lists_alike = ours.members.len() == theirs.members.len()
            && ours.members.iter().zip(&theirs.members).all(same);
        // Where both give up Go has not shown what it could not read to its end.
        let begins_alike = ours.error.is_some()
            && ours.members.len() <= theirs.members.len() + 1
            && ours.members.iter().zip(&theirs.members).all(same);
        if !ends_alike || !(lists_alike || begins_alike) {
            let (ours, theirs) = (ours.shown(), theirs.shown());
            self.lies.push(format!("{what} as a layer\n    ocitar: {ours}\n    Go: {theirs}"));
        }
    }

    pub fn shown(&self) -> String {
        let Tally { tried, read, doubted, sparse, .. } = self;
        format!(
            "\nas layers, beside Go\n  {tried} tried, {read} read to the end by both, {doubted} with doubts, {sparse} sparse and not compared\n"
        )
    }
}
