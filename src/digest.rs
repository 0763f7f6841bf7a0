//! Content digests: `sha256:<64 hex>` and `sha512:<128 hex>`, nothing else.
//!
//! A [`Digest`] exists only after its text was checked, so a path or a name
//! built from one holds lower-case hex and nothing an archive made up. The
//! grammar is that of the OCI image specification's descriptor page; of its
//! registered algorithms the two that every consumer can check are accepted.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256, Sha512};

/// The verified form of a digest text: an algorithm and its raw bytes.
///
/// It is `Copy`, compares and sorts like its text, and prints as
/// `sha256:<hex>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    // The first `algorithm.len()` bytes count, the rest is zero.
    bytes: [u8; MAX_LEN],
}

const MAX_LEN: usize = 64;

impl Digest {
    /// The sha256 of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_sha256(Sha256::digest(bytes).into())
    }

    /// The digest whose raw sha256 bytes are these.
    #[must_use]
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        Self::from_raw(Algorithm::Sha256, hash)
    }

    /// Reads the hex part of a digest, as in a `blobs/sha256/<hex>` path.
    ///
    /// # Errors
    ///
    /// [`DigestError::WrongLength`] unless `hex` has exactly
    /// [`Algorithm::hex_len`] characters, [`DigestError::Uppercase`] when only
    /// its case is at fault, [`DigestError::Malformed`] otherwise.
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Result<Self, DigestError> {
        if !is_encoded(hex) {
            return Err(DigestError::Malformed);
        }
        if hex.len() != algorithm.hex_len() {
            return Err(DigestError::WrongLength {
                algorithm,
                expected: algorithm.hex_len(),
                found: hex.len(),
            });
        }
        let mut bytes = [0; MAX_LEN];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            for &digit in pair {
                *byte = (*byte << 4) | nibble(digit).ok_or_else(|| wrong_digit(hex))?;
            }
        }
        Ok(Self { algorithm, bytes })
    }

    /// The digest a layout path `blobs/<algorithm>/<hex>` stands for, or `None`
    /// when the path has any other shape.
    #[must_use]
    pub fn from_blob_path(path: &str) -> Option<Self> {
        let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
        Self::from_hex(Algorithm::from_name(algorithm)?, hex).ok()
    }

    /// Whether these bytes have this digest.
    #[must_use]
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        let mut hasher = Hasher::new(self.algorithm());
        hasher.update(bytes);
        hasher.finish() == *self
    }

    /// The algorithm that made it.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw hash: 32 bytes for sha256, 64 for sha512.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.len()]
    }

    /// The hash in lower-case hex, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        let mut hex = String::with_capacity(self.algorithm.hex_len());
        self.push_hex(&mut hex);
        hex
    }

    /// Where an OCI image layout keeps this content: `blobs/sha256/<hex>`.
    #[must_use]
    pub fn blob_path(&self) -> String {
        self.join("blobs/", "/")
    }

    fn from_raw<const N: usize>(algorithm: Algorithm, hash: [u8; N]) -> Self {
        let mut bytes = [0; MAX_LEN];
        for (to, from) in bytes.iter_mut().zip(hash) {
            *to = from;
        }
        Self { algorithm, bytes }
    }

    fn join(&self, prefix: &str, separator: &str) -> String {
        let algorithm = self.algorithm.as_str();
        let len = prefix.len() + algorithm.len() + separator.len() + self.algorithm.hex_len();
        let mut text = String::with_capacity(len);
        text.push_str(prefix);
        text.push_str(algorithm);
        text.push_str(separator);
        self.push_hex(&mut text);
        text
    }

    fn push_hex(&self, text: &mut String) {
        for byte in self.as_bytes() {
            text.push(hex_digit(byte >> 4));
            text.push(hex_digit(byte & 0xf));
        }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    /// Reads `<algorithm>:<hex>`.
    ///
    /// # Errors
    ///
    /// [`DigestError::Malformed`] when the text is no digest at all,
    /// [`DigestError::UnsupportedAlgorithm`] when it is one this library cannot
    /// check, [`DigestError::WrongLength`] and [`DigestError::Uppercase`] when
    /// the hex of a known algorithm is at fault.
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, encoded) = text.split_once(':').ok_or(DigestError::Malformed)?;
        if let Some(algorithm) = Algorithm::from_name(name) {
            return Self::from_hex(algorithm, encoded);
        }
        if Algorithm::from_name(&name.to_ascii_lowercase()).is_some() {
            return Err(DigestError::Uppercase);
        }
        if is_algorithm_name(name) && is_encoded(encoded) {
            return Err(DigestError::UnsupportedAlgorithm(name.into()));
        }
        Err(DigestError::Malformed)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.join("", ":"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A hash algorithm this library can compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256: 32 bytes, what practically every image uses.
    Sha256,
    /// SHA-512: 64 bytes.
    Sha512,
}

impl Algorithm {
    /// The name in front of the colon, and the folder under `blobs/`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The algorithm of exactly this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// How many hex characters a digest of this algorithm has.
    #[must_use]
    pub fn hex_len(self) -> usize {
        self.len() * 2
    }

    fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A digest computed piece by piece.
#[derive(Clone, Debug)]
pub struct Hasher(State);

#[derive(Clone, Debug)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Starts a digest of no bytes.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// Appends these bytes to what is hashed.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of everything appended so far.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(state) => Digest::from_sha256(state.finalize().into()),
            State::Sha512(state) => {
                Digest::from_raw::<64>(Algorithm::Sha512, state.finalize().into())
            }
        }
    }
}

/// Why a text is not a [`Digest`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DigestError {
    /// The text does not have the shape `<algorithm>:<hex>`.
    Malformed,
    /// A well-formed digest whose algorithm this library does not compute.
    /// Content it names cannot be verified, which is not the same as verified.
    UnsupportedAlgorithm(Box<str>),
    /// The digest would be right in lower case, which is its only spelling.
    Uppercase,
    /// The hash part is too short or too long for its algorithm.
    WrongLength {
        /// The algorithm named.
        algorithm: Algorithm,
        /// The characters it needs.
        expected: usize,
        /// The characters found.
        found: usize,
    },
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DigestError::Malformed => f.write_str("not a digest of the form `<algorithm>:<hex>`"),
            DigestError::UnsupportedAlgorithm(name) => write!(
                f,
                "content digested with `{name}` cannot be verified: only sha256 and sha512 can"
            ),
            DigestError::Uppercase => f.write_str("a digest is written in lower case"),
            DigestError::WrongLength { algorithm, expected, found } => {
                write!(f, "{algorithm} has {expected} hex characters, not {found}")
            }
        }
    }
}

impl std::error::Error for DigestError {}

/// Tells bad case from bad characters, for a hash part of the right length.
fn wrong_digit(hex: &str) -> DigestError {
    if hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        DigestError::Uppercase
    } else {
        DigestError::Malformed
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 })
}

/// The specification's `algorithm`: lower-case words joined by single
/// separators.
fn is_algorithm_name(name: &str) -> bool {
    name.split(['+', '.', '_', '-']).all(|word| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

/// The specification's `encoded`, which leaves room for base64.
fn is_encoded(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn short(found: usize, algorithm: Algorithm) -> DigestError {
        DigestError::WrongLength { algorithm, expected: algorithm.hex_len(), found }
    }

    #[test]
    fn round_trips() {
        for text in [
            EMPTY.to_owned(),
            format!("sha256:{}", "0".repeat(64)),
            format!("sha256:{}", "0123456789abcdef".repeat(4)),
            format!("sha512:{}", "fedcba9876543210".repeat(8)),
        ] {
            let digest: Digest = text.parse().unwrap();
            assert_eq!(digest.to_string(), text);
            assert_eq!(format!("{}:{}", digest.algorithm(), digest.hex()), text);
            assert_eq!(digest.blob_path(), format!("blobs/{}", text.replace(':', "/")));
            assert_eq!(Digest::from_blob_path(&digest.blob_path()), Some(digest));
            assert_eq!(Digest::from_hex(digest.algorithm(), &digest.hex()), Ok(digest));
        }
    }

    #[test]
    fn refuses_everything_else() {
        use Algorithm::{Sha256, Sha512};
        use DigestError::{Malformed, UnsupportedAlgorithm, Uppercase};
        let hex = |n| "a".repeat(n);
        let rows = [
            (String::new(), Malformed),
            ("sha256".into(), Malformed),
            (hex(64), Malformed),
            (":".into(), Malformed),
            (format!(":{}", hex(64)), Malformed),
            ("sha256:".into(), Malformed),
            ("sha256:../../etc".into(), Malformed),
            (format!("sha256:{}/", hex(63)), Malformed),
            (format!("sha256:{}g", hex(63)), Malformed),
            (format!("sha256:{}\n", hex(63)), Malformed),
            (format!("sha256:{}\n", hex(64)), Malformed),
            (format!(" sha256:{}", hex(64)), Malformed),
            (format!("sha256:{}é", hex(62)), Malformed),
            (format!("sha256::{}", hex(63)), Malformed),
            (format!("sha256:{}", hex(63)), short(63, Sha256)),
            (format!("sha256:{}", hex(65)), short(65, Sha256)),
            (format!("sha256:{}", hex(128)), short(128, Sha256)),
            (format!("sha512:{}", hex(64)), short(64, Sha512)),
            (format!("sha256:A{}", hex(63)), Uppercase),
            (format!("sha256:{}F", hex(63)), Uppercase),
            (format!("SHA256:{}", hex(64)), Uppercase),
            (format!("md5:{}", hex(32)), UnsupportedAlgorithm("md5".into())),
            (format!("sha384:{}", hex(96)), UnsupportedAlgorithm("sha384".into())),
            (format!("blake3:{}", hex(64)), UnsupportedAlgorithm("blake3".into())),
            ("foo+bar:xyz=".into(), UnsupportedAlgorithm("foo+bar".into())),
            ("foo++bar:xyz".into(), Malformed),
            ("../x:abc".into(), Malformed),
            ("MD5:abc".into(), Malformed),
        ];
        for (text, want) in rows {
            assert_eq!(text.parse::<Digest>(), Err(want), "{text:?}");
        }
    }

    #[test]
    fn blob_paths_have_one_shape() {
        let hex = "a".repeat(64);
        for path in [
            format!("./blobs/sha256/{hex}"),
            format!("/blobs/sha256/{hex}"),
            format!("blobs/sha256/{hex}/"),
            format!("blobs/sha256/{hex}.tar"),
            format!("blobs/sha256/{}", hex.to_uppercase()),
            format!("blobs/sha512/{hex}"),
            format!("blobs/md5/{hex}"),
            format!("blobs/{hex}"),
            "blobs/sha256/".into(),
            "blobs/sha256/../x".into(),
        ] {
            assert_eq!(Digest::from_blob_path(&path), None, "{path}");
        }
    }

    /// What NIST gives as examples of FIPS 180: nothing, one block, two blocks, many.
    #[test]
    fn hashes() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        let rows = [
            (
                String::new(),
                &EMPTY[7..],
                "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                 47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
            ),
            (
                "abc".into(),
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".into(),
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
                "204a8fc6dda82f0a0ced7beb8e08a41657c16ef468b228a8279be331a703c335\
                 96fd15c13b1b07f9aa1d3bea57789ca031ad85c7a71dd70354ec631238ca3445",
            ),
            (
                "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn\
                 hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu"
                    .into(),
                "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
                "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018\
                 501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909",
            ),
            (
                "a".repeat(1_000_000),
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
                "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb\
                 de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b",
            ),
        ];
        for (text, sha256, sha512) in rows {
            for (algorithm, want) in [(Algorithm::Sha256, sha256), (Algorithm::Sha512, sha512)] {
                let want = Digest::from_hex(algorithm, want).unwrap();
                // At once, and in pieces that end anywhere in a block.
                for piece in [text.len().max(1), 1 + text.len() / 3, 7777] {
                    let mut hasher = Hasher::new(algorithm);
                    hasher.update(b"");
                    text.as_bytes().chunks(piece).for_each(|bytes| hasher.update(bytes));
                    assert_eq!(hasher.finish(), want, "{algorithm} {} {piece}", text.len());
                }
                assert!(want.is_of(text.as_bytes()), "{algorithm} {}", text.len());
            }
            assert_eq!(Digest::of(text.as_bytes()).hex(), sha256);
        }
        assert_eq!(Digest::of(b"abc").as_bytes().len(), 32);
    }

    #[test]
    fn sorts_like_its_text() {
        let mut texts = [
            format!("sha512:{}", "0".repeat(128)),
            format!("sha256:{}", "f".repeat(64)),
            format!("sha256:{}", "0a".repeat(32)),
            format!("sha256:{}", "a0".repeat(32)),
        ];
        let mut digests = texts.clone().map(|t| t.parse::<Digest>().unwrap());
        texts.sort();
        digests.sort();
        assert_eq!(digests.map(|d| d.to_string()), texts);
    }
}
