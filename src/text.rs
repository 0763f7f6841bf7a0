//! Text for people: names from an archive made safe for a terminal, and byte
//! counts made readable.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` with everything escaped that could move a cursor, hide or reorder
/// what a person reads: control characters (C0, C1, DEL), line and paragraph
/// separators, and the bidirectional and zero-width formatting characters.
///
/// Text that holds none of these comes back unchanged, without a copy.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A byte count the way `ctr images ls` prints sizes: binary units, one
/// decimal, and plain bytes below one KiB.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes}.0 B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_moves_the_cursor() {
        let rows = [
            ("docker.io/library/a:1", "docker.io/library/a:1"),
            ("evil\x1b[1A\r\n", "evil\\u{1b}[1A\\u{d}\\u{a}"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("é漢", "é漢"),
        ];
        for (text, want) in rows {
            assert_eq!(printable(text), want);
        }
    }

    #[test]
    fn sizes_read_like_ctr() {
        let rows = [
            (0, "0.0 B"),
            (1023, "1023.0 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (2_147_483_648, "2.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, want) in rows {
            assert_eq!(size(bytes), want);
        }
    }
}
