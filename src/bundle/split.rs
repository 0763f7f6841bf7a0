//! Parts of a bundle, each an archive of its own.

use std::collections::HashSet;

use crate::bundle::{Bundle, BundleImage, Layout, Platforms, Referrer, Selection};
use crate::digest::Digest;
use crate::error::{Code, Error, Result};
use crate::platform::PlatformSpec;
use crate::text;

/// How a bundle is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitBy {
    /// A part for each image.
    Image,
    /// A part for each platform that is complete somewhere, with every image of
    /// which it is.
    Platform,
    /// Parts of at most this many bytes, uncompressed, filled in the order of
    /// the images.
    Size(u64),
}

/// One part.
#[derive(Debug)]
#[non_exhaustive]
pub struct Part<'a> {
    /// A file name without extension: the number of the part, so that the parts
    /// sort, and its content.
    pub name: String,
    /// A word for what is in it: the platform, or the name of the image; empty
    /// where it was filled by size.
    pub content: String,
    /// What is in it.
    pub bundle: Bundle<'a>,
}

impl<'a> Bundle<'a> {
    /// Splits into parts. Signatures and attestations go with what they are
    /// about, blobs that several parts need are in each of them. Merged again
    /// the parts give the archive that this bundle would, unless they were
    /// split by platform and indexes made anew, or the docker view showed
    /// another platform than it would by itself.
    ///
    /// # Errors
    ///
    /// `E_PART_SIZE` when one image is larger than a part may be, and those of
    /// [`select`](Self::select) and [`plan`](Self::plan).
    pub fn split(
        &self,
        by: SplitBy,
        selection: &Selection,
        layout: &Layout,
    ) -> Result<Vec<Part<'a>>> {
        let parts = match by {
            SplitBy::Platform => self.by_platform(selection)?,
            SplitBy::Image => {
                let bundle = self.select(selection)?;
                let (units, orphans) = (bundle.units(), bundle.orphans());
                let name = |unit: &usize| slug(&bundle.images[*unit].label());
                units
                    .iter()
                    .map(|unit| (name(unit), bundle.subset(&[*unit], &units, &orphans)))
                    .collect()
            }
            SplitBy::Size(most) => self.select(selection)?.by_size(most, layout)?,
        };
        let digits = parts.len().to_string().len().max(3);
        let number = |(at, (content, bundle)): (usize, (String, Bundle<'a>))| {
            let dash = if content.is_empty() { "" } else { "-" };
            Part { name: format!("{:0digits$}{dash}{content}", at + 1), content, bundle }
        };
        Ok(parts.into_iter().enumerate().map(number).collect())
    }

    fn by_platform(&self, selection: &Selection) -> Result<Vec<(String, Bundle<'a>)>> {
        let mut platforms: Vec<PlatformSpec> = Vec::new();
        let images = self.images.iter().filter(|image| image.about.is_none());
        let leaves = images.flat_map(|image| &image.leaves).filter(|leaf| leaf.is_image());
        let there = leaves.filter(|leaf| leaf.is_complete() && selection.wants(leaf));
        for platform in there.filter_map(|leaf| leaf.platform.as_ref()) {
            let spec = PlatformSpec::from(platform.clone());
            if !platforms.contains(&spec) {
                platforms.push(spec);
            }
        }
        if let Some(absent) = selection.absent(&platforms) {
            let message = format!("no image has {} whole", absent.platform());
            return Err(Error::new(Code::PlatformMissing, message));
        }
        if platforms.is_empty() {
            // Artifacts are for every platform there is.
            return Ok(vec![(String::new(), self.select(selection)?)]);
        }
        platforms.sort();
        let mut parts = Vec::new();
        for spec in platforms {
            let name = slug(&spec.platform().format_all().to_string());
            let only = selection.clone().platforms(Platforms::Only(vec![spec])).lenient(true);
            parts.push((name, self.select(&only)?));
        }
        Ok(parts)
    }

    fn by_size(&self, most: u64, layout: &Layout) -> Result<Vec<(String, Bundle<'a>)>> {
        let (units, orphans) = (self.units(), self.orphans());
        let mut parts = Vec::new();
        let mut picked: Vec<usize> = Vec::new();
        let mut part: Option<Bundle<'a>> = None;
        for unit in units.iter().copied() {
            picked.push(unit);
            let larger = self.subset(&picked, &units, &orphans);
            if larger.plan(layout)?.len() <= most {
                part = Some(larger);
                continue;
            }
            picked = vec![unit];
            let alone = self.subset(&picked, &units, &orphans);
            let len = alone.plan(layout)?.len();
            if len > most {
                let label = self.images[unit].label();
                let message = format!("{label} alone is larger than a part may be");
                return Err(Error::new(Code::PartSize, message)
                    .expected_found(
                        format!("at most {most} bytes ({})", text::size(most)),
                        format!("{len} ({})", text::size(len)),
                    )
                    .hint("--by image makes a part for each image, whatever its size"));
            }
            parts.extend(part.replace(alone));
        }
        parts.extend(part);
        Ok(parts.into_iter().map(|bundle| (String::new(), bundle)).collect())
    }

    /// Positions of the images that need a part: all but those that follow
    /// another.
    fn units(&self) -> Vec<usize> {
        let kept: HashSet<Digest> =
            self.images.iter().flat_map(|image| self.documents(image)).collect();
        let follows = |image: &BundleImage| {
            image.follows && image.about.is_some_and(|subject| kept.contains(&subject))
        };
        (0..self.images.len()).filter(|at| !follows(&self.images[*at])).collect()
    }

    /// Some units, and what follows them.
    fn subset(&self, picked: &[usize], units: &[usize], orphans: &[Referrer]) -> Bundle<'a> {
        let mut bundle = self.clone();
        let mut at = 0;
        bundle.images.retain(|_| {
            at += 1;
            picked.contains(&(at - 1)) || !units.contains(&(at - 1))
        });
        // A unit stays, whatever it is about.
        let labels: HashSet<Digest> =
            picked.iter().map(|at| self.images[*at].root.digest).collect();
        for image in bundle.images.iter_mut().filter(|image| labels.contains(&image.root.digest)) {
            image.follows = false;
        }
        bundle.follow(true);
        if picked.first() == units.first() {
            bundle.referrers.extend_from_slice(orphans);
            bundle.referrers.sort_by_key(|referrer| referrer.descriptor.digest);
            bundle.referrers.dedup_by_key(|referrer| referrer.descriptor.digest);
        }
        bundle
    }

    /// Referrers about nothing in the bundle: they go to the first part.
    fn orphans(&self) -> Vec<Referrer> {
        let mut all = self.clone();
        all.follow(true);
        let kept: HashSet<Digest> =
            all.referrers.iter().map(|referrer| referrer.descriptor.digest).collect();
        let orphan = |referrer: &&Referrer| !kept.contains(&referrer.descriptor.digest);
        self.referrers.iter().filter(orphan).cloned().collect()
    }
}

/// A name as part of a file name: its last component and its tag.
fn slug(label: &str) -> String {
    let is_platform = !label.contains(':');
    let last = if is_platform { label } else { label.rsplit('/').next().unwrap_or(label) };
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' };
    let text: String = last.chars().map(plain).take(80).collect();
    text.trim_matches(['-', '.']).to_owned()
}
