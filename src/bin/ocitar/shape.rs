//! From the command line to what the library is asked for.

use ocitar::bundle::{Attestations, IndexPolicy, OnConflict, Platforms, Selection};
use ocitar::error::{Code, Error, Result};
use ocitar::platform::PlatformSpec;

use crate::args::{AttestationsArg, Conflict, IndexArg, PlatformArgs, Shape, To};

impl From<Conflict> for OnConflict {
    fn from(conflict: Conflict) -> OnConflict {
        match conflict {
            Conflict::First => OnConflict::First,
            Conflict::Last => OnConflict::Last,
        }
    }
}

impl PlatformArgs {
    pub fn platforms(&self) -> Result<Platforms> {
        Ok(match (&self.platforms[..], self.all_platforms) {
            (_, true) => Platforms::All,
            ([], false) => Platforms::Complete,
            (list, false) => {
                Platforms::Only(list.iter().map(|text| spec(text)).collect::<Result<_>>()?)
            }
        })
    }
}

fn spec(text: &str) -> Result<PlatformSpec> {
    // Any word may be an operating system; an architecture is none.
    let first = text.split_once('/').map(|(first, _)| first);
    if first.is_some_and(|first| PlatformSpec::parse(first).is_ok()) {
        let message = format!("\"{text}\" has an architecture where the operating system stands");
        return Err(Error::new(Code::Usage, message).hint(format!("linux/{text}")));
    }
    text.parse().map_err(|error| {
        Error::new(Code::Usage, format!("\"{text}\" is not a platform: {error}"))
            .hint("linux/amd64, linux/arm/v7, arm64, or windows(10.0.20348)/amd64")
    })
}

impl Shape {
    /// What of every image is to stay.
    pub fn selection(&self, platforms: Platforms, index: IndexPolicy) -> Result<Selection> {
        let index = match self.index {
            None => index,
            Some(IndexArg::Rewrite) => IndexPolicy::Rewrite,
            Some(IndexArg::Keep) => IndexPolicy::Keep,
            Some(IndexArg::Flatten) => IndexPolicy::Flatten,
        };
        let keeps = [Some(AttestationsArg::Keep), Some(AttestationsArg::Only)];
        if index == IndexPolicy::Flatten && keeps.contains(&self.attestations) {
            let message = "--index flatten leaves no index that attestations could stay in";
            return Err(Error::new(Code::Usage, message).hint("--index rewrite keeps them"));
        }
        let attestations = match self.attestations {
            None | Some(AttestationsArg::Keep) => Attestations::Keep,
            Some(AttestationsArg::Drop) => Attestations::Drop,
            Some(AttestationsArg::Only) => Attestations::Only,
        };
        Ok(Selection::new()
            .platforms(platforms)
            .index(index)
            .attestations(attestations)
            .break_signatures(self.break_signatures))
    }

    /// Which platform a docker view is to show.
    pub fn default_platform(&self, to: To) -> Result<Option<PlatformSpec>> {
        let Some(text) = &self.default_platform else { return Ok(None) };
        if to == To::Oci {
            let message = "--default-platform is for the docker view, and --to oci has none";
            return Err(Error::new(Code::Usage, message));
        }
        spec(text).map(Some)
    }
}

/// The time of every member: 0, or what the environment asks for.
pub fn mtime() -> Result<u64> {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    let Some(value) = std::env::var_os(NAME).filter(|value| !value.is_empty()) else {
        return Ok(0);
    };
    // The octal field of a header holds no more.
    const MOST: u64 = 0o77_777_777_777;
    let seconds = value.to_str().and_then(|text| text.parse().ok()).filter(|s| *s <= MOST);
    seconds.ok_or_else(|| {
        let value = value.to_string_lossy().into_owned();
        Error::new(Code::Usage, format!("{NAME} is not a time in seconds: \"{value}\""))
    })
}
