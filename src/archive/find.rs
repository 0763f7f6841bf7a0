//! What people call an image, and which one that is.

use crate::archive::{Archive, Image, ImageManifest, Name};
use crate::digest::Digest;
use crate::reference::Reference;

/// Digits a digest is recognised by.
const LEAST_DIGITS: usize = 7;

/// What of an image a reference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    /// One of its names, by position.
    Name(usize),
    /// The image as a whole.
    Image,
    /// One of its manifests.
    Manifest(Digest),
}

impl Archive {
    /// Where a reference leads: positions of images, in order, each with what of
    /// it is meant. Names go before digests, and images before parts of images.
    pub(crate) fn hits(&self, reference: &str) -> Vec<(usize, Hit)> {
        let all = || self.images.iter().enumerate();
        let key = Name::new(reference).key();
        let named = |image: &Image| image.names().iter().position(|name| name.key() == key);
        let mut hits: Vec<(usize, Hit)> =
            all().filter_map(|(at, image)| Some((at, Hit::Name(named(image)?)))).collect();
        if let (true, Some(tag)) = (hits.is_empty(), reference.strip_prefix("<none>:")) {
            let tagged = all().filter(|(_, image)| image.bare_tags().any(|own| own == tag));
            hits.extend(tagged.map(|(at, _)| (at, Hit::Image)));
        }
        if hits.is_empty() {
            let wanted = Wanted::parse(reference);
            hits.extend(all().flat_map(|(at, image)| {
                wanted.iter().flat_map(move |wanted| wanted.hits(image)).map(move |hit| (at, hit))
            }));
            // What has the digest itself goes before what only holds it.
            if hits.iter().any(|(_, hit)| *hit == Hit::Image) {
                hits.retain(|(_, hit)| *hit == Hit::Image);
            }
        }
        hits
    }
}

/// A digest that was asked for.
struct Wanted {
    /// One of the image's names must have its repository.
    name: Option<Reference>,
    algorithm: Option<String>,
    hex: String,
}

impl Wanted {
    fn parse(text: &str) -> Option<Wanted> {
        let name = Reference::parse(text).ok().map(|name| name.canonical());
        if let Some((name, digest)) = name.and_then(|name| Some((name.clone(), name.digest()?))) {
            let algorithm = Some(digest.algorithm().as_str().to_owned());
            return Some(Wanted { name: Some(name), algorithm, hex: digest.hex() });
        }
        let (algorithm, hex) = match text.split_once(':') {
            Some((algorithm, hex)) => (Some(algorithm.to_owned()), hex),
            None => (None, text),
        };
        let is_hex = hex.len() >= LEAST_DIGITS && hex.bytes().all(|b| b.is_ascii_hexdigit());
        is_hex.then(|| Wanted { name: None, algorithm, hex: hex.to_owned() })
    }

    fn is(&self, digest: Digest) -> bool {
        let algorithm = self.algorithm.as_deref();
        algorithm.is_none_or(|own| own == digest.algorithm().as_str())
            && digest.hex().starts_with(&self.hex)
    }

    fn hits(&self, image: &Image) -> Vec<Hit> {
        if let Some(wanted) = &self.name {
            let mut names = image.names().iter().filter_map(Name::reference);
            if !names.any(|name| name.repository() == wanted.repository()) {
                return Vec::new();
            }
        }
        if image.digest().is_some_and(|digest| self.is(digest)) {
            return vec![Hit::Image];
        }
        let config = |manifest: &ImageManifest| manifest.config_digest();
        let is_its = |manifest: &&ImageManifest| {
            let own = manifest.descriptor().map(|descriptor| descriptor.digest);
            own.into_iter().chain(config(manifest)).any(|digest| self.is(digest))
        };
        let mut hits = Vec::new();
        for manifest in image.manifests().iter().filter(is_its) {
            match manifest.descriptor() {
                Some(descriptor) if image.manifests().len() > 1 => {
                    hits.push(Hit::Manifest(descriptor.digest));
                }
                _ => return vec![Hit::Image],
            }
        }
        hits.dedup();
        hits
    }
}
