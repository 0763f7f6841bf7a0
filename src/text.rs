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

/// Reads a byte count: digits, with K, M, G or T behind them (or KiB and so on)
/// for powers of 1024, or kB, MB, GB or TB for powers of 1000.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.to_ascii_lowercase();
    let (letter, base): (&str, u64) = match &*unit {
        "" | "b" => ("", 1),
        "ib" => return None,
        unit => match unit.strip_suffix("ib") {
            Some(letter) => (letter, 1024),
            None => unit.strip_suffix('b').map_or((unit, 1024), |letter| (letter, 1000)),
        },
    };
    let power = ["", "k", "m", "g", "t"].iter().position(|known| *known == letter)?;
    let factor = base.checked_pow(u32::try_from(power).ok()?)?;
    number.parse::<u64>().ok()?.checked_mul(factor)
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
    fn sizes_are_read() {
        let rows = [
            ("0", Some(0)),
            ("512", Some(512)),
            ("7b", Some(7)),
            ("4GiB", Some(4 << 30)),
            ("4g", Some(4 << 30)),
            ("4GB", Some(4_000_000_000)),
            ("16M", Some(16 << 20)),
            ("2kB", Some(2000)),
            ("1T", Some(1 << 40)),
            ("", None),
            ("G", None),
            ("-1", None),
            ("1.5G", None),
            ("4 GiB", None),
            ("4XB", None),
            ("4iB", None),
            ("99999999999T", None),
        ];
        for (text, want) in rows {
            assert_eq!(parse_size(text), want, "{text}");
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
