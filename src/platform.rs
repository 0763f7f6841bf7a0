//! Platforms: which machine an image is for, and which of them a host runs.
//!
//! Spelling, normalisation and matching are those of the Go package
//! `github.com/containerd/platforms` (1.0), which containerd, docker, nerdctl
//! and BuildKit share, with one difference: nothing depends on the machine this
//! runs on. Where that package fills a gap with its host, a bare architecture
//! means linux, a bare operating system is refused, and a platform without an
//! operating system matches nothing.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// A platform as an index or an image configuration states it.
///
/// The fields are those of the OCI image specification, as read: nothing is
/// normalised, and a field that is absent is empty. It prints as what
/// [`PlatformSpec`] reads, `linux/arm/v7` or `windows(10.0.17763+win32k)/amd64`,
/// and as `unknown` without an operating system.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Platform {
    /// The operating system, `linux` (in Go's spelling, `GOOS`).
    pub os: String,
    /// The processor, `amd64` (in Go's spelling, `GOARCH`).
    pub architecture: String,
    /// The kind of the processor, `v7`.
    pub variant: String,
    /// The version of the operating system, for Windows.
    pub os_version: String,
    /// What the operating system has to offer.
    pub os_features: Vec<String>,
    /// Reserved by the specification, and never looked at.
    pub features: Vec<String>,
}

impl Platform {
    /// A platform of an operating system and an architecture, as written.
    #[must_use]
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self { os: os.into(), architecture: architecture.into(), ..Self::default() }
    }

    /// The same platform in the one spelling platforms are compared in: lower
    /// case, `x86_64` as `amd64`, `aarch64` as `arm64`, `arm` as `arm/v7`,
    /// `arm64/v8` as `arm64`, `macos` as `darwin`, features sorted.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let (architecture, variant) = normalize_architecture(&self.architecture, &self.variant);
        let mut os_features = self.os_features.clone();
        os_features.sort();
        os_features.dedup();
        Self { os: normalize_os(&self.os), architecture, variant, os_features, ..self.clone() }
    }

    /// Whether the operating system or the architecture is `unknown`, as in the
    /// descriptors of attestations: no platform of the image.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os.is_empty() {
            return f.pad("unknown");
        }
        let mut features: Vec<&str> = self.os_features.iter().map(String::as_str).collect();
        features.retain(|feature| !feature.is_empty());
        features.sort_unstable();
        features.dedup();

        let mut options = encode_option(&self.os_version);
        for feature in features {
            options.push('+');
            options.push_str(&encode_option(feature));
        }
        if !options.is_empty() {
            options = format!("({options})");
        }
        let mut text = format!("{}{options}", self.os);
        for part in [&self.architecture, &self.variant] {
            if !part.is_empty() {
                text.push('/');
                text.push_str(part);
            }
        }
        f.pad(&text)
    }
}

/// A platform as a user asks for it: `linux/arm64`, `amd64`,
/// `windows(10.0.20348)/amd64`.
///
/// It prints as it would be read again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlatformSpec(Platform);

impl PlatformSpec {
    /// Reads `<os>[(<version>[+<feature>]*)]/<architecture>[/<variant>]`, or
    /// `<architecture>` alone, which means linux.
    ///
    /// With an operating system in front, every architecture and variant is
    /// taken as written, in lower case; alone, an architecture has to be known.
    /// In version and features, `%2B` stands for `+`.
    ///
    /// # Errors
    ///
    /// See [`PlatformError`].
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        if text.contains('*') {
            return Err(PlatformError::Wildcard);
        }
        let mut parts = text.split('/');
        let first = parts.next().unwrap_or_default();
        let (os, os_version, os_features) = parse_os(first)?;
        let rest = [parts.next(), parts.next(), parts.next()];
        if !rest.iter().flatten().all(|part| is_component(part)) {
            return Err(PlatformError::Component);
        }
        let (os, (architecture, variant)) = match rest {
            [None, ..] if is_among(KNOWN_OS, &os) => return Err(PlatformError::BareOs),
            [None, ..] => ("linux".to_owned(), normalize_architecture(first, "")),
            [Some(architecture), None, _] => (os, normalize_architecture(architecture, "")),
            [Some(architecture), Some(variant), None] => {
                (os, normalize_architecture(architecture, variant))
            }
            [_, _, Some(_)] => return Err(PlatformError::TooManyComponents),
        };
        if rest[0].is_none() && !is_among(KNOWN_ARCHITECTURES, &architecture) {
            return Err(PlatformError::Unknown);
        }
        // The usual variant is shown only where it was written.
        let variant = match (architecture.as_str(), variant.as_str(), rest[1]) {
            ("arm", "v7", None) => String::new(),
            ("arm64", "", Some(_)) => "v8".to_owned(),
            _ => variant,
        };
        Ok(Self(Platform {
            os,
            architecture,
            variant,
            os_version,
            os_features,
            features: Vec::new(),
        }))
    }

    /// The platform asked for.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.0
    }

    /// Whether a platform is the one asked for, and not merely one that would
    /// run on it (containerd's `OnlyStrict`).
    ///
    /// After normalisation operating system, architecture and variant are
    /// equal; the image asks for no feature that was not asked for; Windows
    /// versions go together. An operating system that is missing matches
    /// nothing.
    #[must_use]
    pub fn matches(&self, platform: &Platform) -> bool {
        let (wanted, found) = (self.0.normalized(), platform.normalized());
        fits_os(&wanted, &found)
            && wanted.architecture == found.architecture
            && wanted.variant == found.variant
    }
}

/// Asks for just this platform.
impl From<Platform> for PlatformSpec {
    fn from(platform: Platform) -> Self {
        Self(platform)
    }
}

impl FromStr for PlatformSpec {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        Self::parse(text)
    }
}

impl fmt::Display for PlatformSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which platforms a host runs, and which it prefers (containerd's `Only`).
///
/// An amd64 host of level *n* runs the levels below and 386; an arm host runs
/// the versions below down to v5; an arm64 host runs the minor versions below,
/// from v9.*x* on also v8.*x+5* and below, and the versions of 32-bit arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMatcher {
    host: Platform,
}

impl HostMatcher {
    /// The matcher of a host of this platform.
    #[must_use]
    pub fn new(host: &Platform) -> Self {
        Self { host: host.normalized() }
    }

    /// The host, normalised.
    #[must_use]
    pub fn host(&self) -> &Platform {
        &self.host
    }

    /// How far a platform is from the host's own, 0 being that; `None` if the
    /// host does not run it.
    #[must_use]
    pub fn rank(&self, platform: &Platform) -> Option<usize> {
        let found = platform.normalized();
        if !fits_os(&self.host, &found) {
            return None;
        }
        match self.host.architecture.as_str() {
            "amd64" => rank_amd64(&self.host.variant, &found),
            "arm" => rank_arm(&self.host.variant, &found),
            "arm64" => rank_arm64(&self.host.variant, &found),
            architecture => {
                let same = found.architecture == architecture && found.variant == self.host.variant;
                same.then_some(0)
            }
        }
    }

    /// The place of the platform this host takes out of a list: the lowest
    /// rank, then the most operating system features, then the first.
    #[must_use]
    pub fn best<'a>(&self, platforms: impl IntoIterator<Item = &'a Platform>) -> Option<usize> {
        let ranked = platforms.into_iter().enumerate().filter_map(|(place, platform)| {
            Some((self.rank(platform)?, Reverse(platform.os_features.len()), place))
        });
        ranked.min().map(|(_, _, place)| place)
    }
}

/// Why a text is not a [`PlatformSpec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlatformError {
    /// An operating system alone, which other tools complete with the
    /// architecture of the machine they happen to run on.
    BareOs,
    /// An architecture or a variant is empty or has characters of its own.
    Component,
    /// A `%` in version or features is not followed by two hex digits, or what
    /// is written that way is not UTF-8.
    Escape,
    /// The part before the first slash is empty or has characters of its own.
    Os,
    /// More than `os/architecture/variant`.
    TooManyComponents,
    /// One word that is neither an operating system nor an architecture.
    Unknown,
    /// A `*`.
    Wildcard,
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PlatformError::BareOs => {
                "an operating system alone is no platform: add an architecture, as in `linux/amd64`"
            }
            PlatformError::Component => {
                "architecture and variant consist of letters, digits, `_`, `.` and `-`"
            }
            PlatformError::Escape => {
                "`%` in the version or a feature does not start an encoded character"
            }
            PlatformError::Os => "an operating system is written as `os` or `os(version+feature)`",
            PlatformError::TooManyComponents => {
                "a platform has at most three parts: os/architecture/variant"
            }
            PlatformError::Unknown => "neither a known architecture nor a known operating system",
            PlatformError::Wildcard => "wildcards are not supported in platforms",
        })
    }
}

impl std::error::Error for PlatformError {}

/// Reads `<os>[(<version>[+<feature>]*)]`.
fn parse_os(text: &str) -> Result<(String, String, Vec<String>), PlatformError> {
    let (os, options) = match text.split_once('(') {
        None => (text, ""),
        Some((os, rest)) => (os, rest.strip_suffix(')').ok_or(PlatformError::Os)?),
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let is_option = |b: u8| is_name(b) || matches!(b, b'.' | b'%' | b'+');
    if os.is_empty() || !os.bytes().all(is_name) || !options.bytes().all(is_option) {
        return Err(PlatformError::Os);
    }
    let mut options = options.split('+');
    let version = decode_option(options.next().unwrap_or_default())?;
    let features = options.map(|feature| {
        if feature.is_empty() { Err(PlatformError::Os) } else { decode_option(feature) }
    });
    Ok((normalize_os(os), version, features.collect::<Result<_, _>>()?))
}

fn is_component(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    !text.is_empty() && text.bytes().all(allowed)
}

fn decode_option(text: &str) -> Result<String, PlatformError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(PlatformError::Escape);
        };
        bytes.extend(u8::try_from(high * 16 + low));
    }
    String::from_utf8(bytes).map_err(|_| PlatformError::Escape)
}

/// Encodes the characters that mean something where the option stands.
fn encode_option(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' => encoded.push_str("%25"),
            '+' => encoded.push_str("%2B"),
            '(' => encoded.push_str("%28"),
            ')' => encoded.push_str("%29"),
            '/' => encoded.push_str("%2F"),
            c => encoded.push(c),
        }
    }
    encoded
}

fn normalize_os(os: &str) -> String {
    match os.to_lowercase() {
        os if os == "macos" => "darwin".to_owned(),
        os => os,
    }
}

fn normalize_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_lowercase(), variant.to_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

/// Whether everything but the processor of a normalised platform suits a
/// normalised host or wish.
fn fits_os(wanted: &Platform, found: &Platform) -> bool {
    let windows = wanted.os == "windows";
    // Windows hosts have `win32k` without saying so.
    let mut needed = found.os_features.iter().filter(|f| !windows || *f != "win32k");
    !wanted.os.is_empty()
        && wanted.os == found.os
        && needed.all(|feature| wanted.os_features.contains(feature))
        && (!windows || windows_runs(&wanted.os_version, &found.os_version))
}

/// A host of level *n* prefers *n*, then the levels below, then 386.
fn rank_amd64(host: &str, found: &Platform) -> Option<usize> {
    let host_level = host.strip_prefix('v').unwrap_or(host).parse().unwrap_or(1).max(1);
    match (found.architecture.as_str(), found.variant.as_str()) {
        ("amd64", variant) if variant == host => Some(0),
        ("amd64", "") => below(host_level, 1, 1),
        ("amd64", variant) => below(host_level, version(variant)?, 1),
        ("386", "") => usize::try_from(host_level).ok(),
        _ => None,
    }
}

/// A host of version *n* prefers *n*, then the versions below, down to 5.
fn rank_arm(host: &str, found: &Platform) -> Option<usize> {
    if found.architecture != "arm" {
        return None;
    }
    if found.variant == host {
        return Some(0);
    }
    let host_version = host.strip_prefix('v').unwrap_or(host).parse().ok()?;
    below(host_version, version(&found.variant)?, 5)
}

/// A host prefers its own version, then the minor versions below, then those of
/// Armv8 its Armv9 includes, then 32-bit arm.
fn rank_arm64(host: &str, found: &Platform) -> Option<usize> {
    let (host_major, host_minor) = arm64_version(host)?;
    // Armv9.x includes Armv8.(x+5), and Armv8 ends with 8.9.
    let (newest_v8, count_v9) = match host_major {
        9 => ((host_minor + 5).min(9), host_minor + 1),
        _ => (host_minor, 0),
    };
    if found.architecture == "arm64" {
        let (major, minor) = arm64_version(&found.variant)?;
        return match major {
            9 => count_v9.checked_sub(minor + 1),
            _ => newest_v8.checked_sub(minor).map(|rank| count_v9 + rank),
        };
    }
    rank_arm("v8", found).map(|rank| count_v9 + newest_v8 + 1 + rank)
}

/// Major and minor of the arm64 versions there are: 8.0 to 8.9, 9.0 to 9.7.
/// A host of another version runs nothing at all.
fn arm64_version(variant: &str) -> Option<(usize, usize)> {
    let (major, newest, minor) = match variant {
        "" => return Some((8, 0)),
        "v9" => return Some((9, 0)),
        _ => match variant.strip_prefix("v8.") {
            Some(minor) => (8, 9, minor),
            None => (9, 7, variant.strip_prefix("v9.")?),
        },
    };
    let &[digit] = minor.as_bytes() else { return None };
    let minor = usize::from(digit.checked_sub(b'0')?);
    (minor <= newest).then_some((major, minor))
}

/// The *n* of `v<n>`, in its one spelling.
fn version(variant: &str) -> Option<u32> {
    let digits = variant.strip_prefix('v')?;
    let version = digits.parse::<u32>().ok()?;
    (version.to_string() == digits).then_some(version)
}

/// How far a version is below the host's, if it is and is not below the lowest.
fn below(host: u32, version: u32, lowest: u32) -> Option<usize> {
    let between = (lowest..host).contains(&version);
    between.then(|| usize::try_from(host - version).ok())?
}

/// The builds of Windows Server 2022 and 2025, whose containers keep running on
/// later builds.
const WINDOWS_LTSC: [u16; 2] = [20348, 26100];

/// Whether a Windows host of one version runs containers of the other; an empty
/// version is any.
///
/// Before Windows Server 2022 the builds have to be equal. From then on, a host
/// runs the builds from the long-term release before it up to its own. The
/// fourth number, the revision, does not count.
fn windows_runs(host: &str, container: &str) -> bool {
    let Some((host_version, host)) = windows_build(host) else { return true };
    if container.is_empty() {
        return true;
    }
    let Some((version, build)) = windows_build(container) else { return false };
    let oldest = if host < WINDOWS_LTSC[0] {
        host
    } else {
        let earlier = WINDOWS_LTSC.into_iter().filter(|ltsc| *ltsc < host);
        earlier.max().unwrap_or(WINDOWS_LTSC[0])
    };
    version == host_version && (oldest..=host).contains(&build)
}

/// Major and minor, and the build, of `10.0.20348[.…]`; `None` if it states none.
fn windows_build(text: &str) -> Option<((u8, u8), u16)> {
    fn number<T: FromStr>(text: Option<&str>) -> Option<T> {
        // `parse` alone would take a sign.
        text.filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
    }
    let mut parts = text.split('.');
    let version = (number(parts.next())?, number(parts.next())?);
    let build = number(parts.next())?;
    (version != (0, 0) || build != 0).then_some((version, build))
}

/// The operating systems Go knows.
const KNOWN_OS: &str = "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd \
    openbsd plan9 solaris windows zos";

/// The architectures Go knows.
const KNOWN_ARCHITECTURES: &str = "386 amd64 amd64p32 arm arm64 arm64be armbe loong64 mips mips64 \
    mips64le mips64p32 mips64p32le mipsle ppc ppc64 ppc64le riscv riscv64 s390 s390x sparc sparc64 \
    wasm";

fn is_among(known: &str, name: &str) -> bool {
    known.split(' ').any(|word| word == name)
}
