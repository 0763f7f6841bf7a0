//! Parts of a bundle, each an archive of its own.
//!
//! What is split is images; what is attached goes with what it is about. Work
//! is in proportion to what the parts hold, not to their number.

use std::collections::HashSet;
use std::ops::Range;

use crate::bundle::attached::{About, Attached};
use crate::bundle::{Bundle, BundleImage, Layout, Selection};
use crate::digest::Digest;
use crate::error::{Code, Error, Result};
use crate::platform::Platform;
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
    /// [`select`](Self::select) and [`output`](Self::output).
    pub fn split(
        &self,
        by: SplitBy,
        selection: &Selection,
        layout: &Layout,
    ) -> Result<Vec<Part<'a>>> {
        let parts = match by {
            SplitBy::Platform => self.by_platform(selection)?,
            SplitBy::Image => {
                let units = Units::of(self.select(selection)?);
                let parts = (0..units.list.len()).map(|at| units.part(at..at + 1));
                parts.zip(&units.list).map(|(part, image)| (slug_of_image(image), part)).collect()
            }
            SplitBy::Size(most) => Units::of(self.select(selection)?).by_size(most, layout)?,
        };
        let digits = parts.len().to_string().len().max(3);
        let number = |(at, (content, bundle)): (usize, (String, Bundle<'a>))| {
            let dash = if content.is_empty() { "" } else { "-" };
            Part { name: format!("{:0digits$}{dash}{content}", at + 1), content, bundle }
        };
        Ok(parts.into_iter().enumerate().map(number).collect())
    }

    fn by_platform(&self, selection: &Selection) -> Result<Vec<(String, Bundle<'a>)>> {
        let mut platforms: Vec<Platform> = Vec::new();
        let images = self.images.iter().filter(|image| image.about.is_none());
        let leaves = images.flat_map(|image| &image.leaves).filter(|leaf| leaf.is_image());
        let there = leaves.filter(|leaf| leaf.is_complete() && selection.wants(leaf));
        platforms.extend(there.filter_map(|leaf| leaf.platform.clone()));
        platforms.sort();
        platforms.dedup();
        if let Some(absent) = selection.absent(&platforms) {
            let message = format!("no image has {absent} whole");
            return Err(Error::new(Code::PlatformMissing, message));
        }
        if platforms.is_empty() {
            // Artifacts are for every platform there is.
            return Ok(vec![(String::new(), self.select(selection)?)]);
        }
        let part = |platform: Platform| {
            let name = slug(&platform.to_string());
            Ok((name, self.select(&selection.clone().exactly(platform))?))
        };
        platforms.into_iter().map(part).collect()
    }
}

/// The images that need a part, and all that follows them.
struct Units<'a> {
    /// Without any image.
    rest: Bundle<'a>,
    /// All images but those that follow another.
    list: Vec<BundleImage>,
    attached: Vec<Attached>,
    about: About,
    /// Positions of what is about nothing here: it goes to the first part.
    orphans: Vec<usize>,
}

impl<'a> Units<'a> {
    fn of(mut bundle: Bundle<'a>) -> Units<'a> {
        let all = bundle.take_attached();
        let mut list = std::mem::take(&mut bundle.images);
        let mut there: HashSet<Digest> =
            list.iter().flat_map(|image| bundle.documents(image)).collect();
        there.extend(all.iter().flat_map(|attached| attached.documents(&bundle)));
        let (mut attached, mut orphans) = (Vec::new(), Vec::new());
        for own in all {
            let follows = own.subject().is_some_and(|subject| there.contains(&subject));
            match own {
                // An image that is about nothing here stands for itself.
                Attached::Image(mut image) if !follows => {
                    image.follows = false;
                    list.push(*image);
                }
                own => {
                    orphans.extend((!follows).then_some(attached.len()));
                    attached.push(own);
                }
            }
        }
        list.sort_by_cached_key(BundleImage::order);
        let about = About::new(&attached);
        Units { rest: bundle, list, attached, about, orphans }
    }

    /// Some units, and what follows them.
    fn part(&self, units: Range<usize>) -> Bundle<'a> {
        let is_first = units.start == 0;
        let mut part = self.rest.with(self.list[units].to_vec(), Vec::new());
        let documents = part.images.iter().flat_map(|image| part.documents(image)).collect();
        let seeds = if is_first { self.orphans.clone() } else { Vec::new() };
        let follow = self.about.closure(&part, &self.attached, documents, seeds);
        let attached = follow.into_iter().map(|at| self.attached[at].clone());
        attached.for_each(|attached| part.attach(attached));
        part.sort_attached();
        part
    }

    /// Parts as full as they may be.
    fn by_size(&self, most: u64, layout: &Layout) -> Result<Vec<(String, Bundle<'a>)>> {
        let mut parts = Vec::new();
        let mut from = 0;
        while from < self.list.len() {
            let len = |count: usize| -> Result<u64> {
                Ok(self.part(from..from + count).output(layout)?.plan()?.len())
            };
            let alone = len(1)?;
            if alone > most {
                let label = self.list[from].label();
                let message = format!("{label} alone is larger than a part may be");
                return Err(Error::new(Code::PartSize, message).expected_found(
                    format!("at most {most} bytes ({})", text::size(most)),
                    format!("{alone} ({})", text::size(alone)),
                ));
            }
            let left = self.list.len() - from;
            // More images are never fewer bytes: double until it is too much,
            // then halve the doubt.
            let (mut fits, mut too_many) = (1, left + 1);
            while fits + 1 < too_many {
                let next = match too_many > left {
                    true => (fits * 2).min(left),
                    false => fits.midpoint(too_many),
                };
                if len(next)? <= most {
                    fits = next;
                } else {
                    too_many = next;
                }
            }
            parts.push((String::new(), self.part(from..from + fits)));
            from += fits;
        }
        Ok(parts)
    }
}

/// An image in a file name: the last component of its name and its tag, or its
/// digest.
fn slug_of_image(image: &BundleImage) -> String {
    let label = image.label();
    slug(label.rsplit('/').next().unwrap_or(&label))
}

/// A text as part of a file name.
fn slug(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' };
    let mut text: Vec<char> = text.chars().map(plain).take(80).collect();
    text.dedup_by(|a, b| (*a, *b) == ('-', '-'));
    text.into_iter().collect::<String>().trim_matches(['-', '.']).to_owned()
}
