//! Extended headers: pax, global pax, GNU long names, and what they say of each other.

use ocitar::error::Code;

use super::Want::{Accepted, Refused};
use super::{Row, around, ending};
use crate::bytes::{Bytes, GNU, H, record, smuggled};

pub fn rows() -> Vec<Row> {
    let mut rows = sizes();
    rows.extend(pairs());
    rows.extend(records());
    rows.extend(globals());
    rows.extend(limits());
    rows
}

fn file() -> H {
    H::new("raw.txt", 4, b'0')
}

/// A file of the name `raw.txt` behind these.
fn named(before: Bytes) -> Bytes {
    before.h(&file()).body("data")
}

fn sizes() -> Vec<Row> {
    let inner = smuggled();
    let len = inner.len() as u64;
    let row = |threat, what, size: &[(&str, &str)], header: u64| {
        let trick = Bytes::new().x(size).h(&H::new("nested.tar", header, b'0')).raw(&inner);
        Row::new(threat, what, around(trick), Refused(Code::TarExtConflict))
    };
    let text = len.to_string();
    let conflict = Refused(Code::TarExtConflict);
    vec![
        row("T1", "a pax size over a header's zero", &[("size", &text)], 0),
        row("T1", "a pax size of zero over a header's", &[("size", "0")], len),
        row("T1", "a pax size larger than the header's", &[("size", "1536")], len),
        row("T3", "two sizes, the first zero", &[("size", "0"), ("size", &text)], 0),
        row("T3", "two sizes, the last zero", &[("size", &text), ("size", "0")], 0),
        row("T3", "two equal sizes", &[("size", &text), ("size", &text)], len),
        Row::new(
            "T1",
            "a pax size that is the header's",
            around(Bytes::new().x(&[("size", "4")]).h(&file()).body("data")),
            Accepted,
        ),
        Row::new(
            "T1",
            "a pax size with zeros before it",
            around(Bytes::new().x(&[("size", "0004")]).h(&file()).body("data")),
            Accepted,
        ),
        Row::new(
            "T2",
            "a pax size before a long name",
            around(Bytes::new().x(&[("size", &text)]).l("a").h(&H::new("a", 16, b'0')).raw(&inner)),
            conflict,
        ),
        Row::new(
            "T2",
            "a long name before a pax size",
            around(Bytes::new().l("a").x(&[("size", &text)]).h(&H::new("a", 16, b'0')).raw(&inner)),
            conflict,
        ),
    ]
}

/// Two headers for one member.
fn pairs() -> Vec<Row> {
    let row = |threat, what, trick, want| Row::new(threat, what, around(trick), want);
    let conflict = Refused(Code::TarExtConflict);
    let link = || H::new("l", 0, b'2').link("raw");
    let pax = |records: &[(&str, &str)]| Bytes::new().x(records);
    vec![
        row(
            "T2",
            "a long name, then a pax path",
            named(Bytes::new().l("from_L").x(&[("path", "from_pax")])),
            conflict,
        ),
        row(
            "T2",
            "a pax path, then a long name",
            named(pax(&[("path", "from_pax")]).l("from_L")),
            conflict,
        ),
        row(
            "T2",
            "a pax link target, then a long one",
            pax(&[("linkpath", "a")]).k("b").h(&link()),
            conflict,
        ),
        row(
            "T2",
            "a long name and a pax time",
            named(pax(&[("mtime", "1.5")]).l("from_L")),
            Accepted,
        ),
        row(
            "T2",
            "a long name and a long link target",
            Bytes::new().k("oci-layout").l("long").h(&link().magic(GNU)),
            Accepted,
        ),
        row(
            "T3",
            "two pax paths in one header",
            named(pax(&[("path", "first"), ("path", "second")])),
            conflict,
        ),
        row(
            "T3",
            "two pax link targets in one header",
            pax(&[("linkpath", "a"), ("linkpath", "b")]).h(&link()),
            conflict,
        ),
        row(
            "T11",
            "two pax headers",
            named(pax(&[("path", "first")]).x(&[("path", "second")])),
            conflict,
        ),
        row(
            "T11",
            "two pax headers of times",
            named(pax(&[("mtime", "1")]).x(&[("mtime", "2")])),
            conflict,
        ),
        row("T11", "two long names", named(Bytes::new().l("first").l("second")), conflict),
        row(
            "T11",
            "two long link targets",
            Bytes::new().k("first").k("second").h(&link()),
            conflict,
        ),
        row(
            "T11",
            "a global header between a pax header and its file",
            named(pax(&[("path", "p")]).g(&[("comment", "c")])),
            conflict,
        ),
        row("T20", "a long link target on a file", named(Bytes::new().k("oci-layout")), conflict),
        row(
            "T20",
            "a pax link target on a file",
            named(pax(&[("linkpath", "oci-layout")])),
            conflict,
        ),
        Row::new(
            "T19",
            "a pax header and no file",
            ending(&pax(&[("path", "p")]).end()),
            Refused(Code::TarExtDangling),
        ),
        Row::new(
            "T19",
            "a long name and no file",
            ending(&Bytes::new().l("l").end()),
            Refused(Code::TarExtDangling),
        ),
        Row::new(
            "T19",
            "a pax header, no file, no end",
            ending(&pax(&[("path", "p")])),
            Refused(Code::TarExtDangling),
        ),
    ]
}

fn records() -> Vec<Row> {
    let row = |threat, what, body: &[u8], want| {
        Row::new(threat, what, around(named(Bytes::new().meta(b'x', body))), want)
    };
    let syntax = Refused(Code::TarPaxSyntax);
    let name = Refused(Code::TarName);
    let sparse = Refused(Code::TarSparse);
    let mut rows = vec![
        row("T6", "a record longer than its header", b"99 path=evil.txt\n", syntax),
        row("T6", "a record without its newline", b"17 path=evil.txt!", syntax),
        row("T6", "a record shorter than its text", b"12 path=evil.txt\n", syntax),
        row("T6", "a zero before a length", b"0017 path=evil.txt\n", syntax),
        row("T6", "a sign before a length", b"+17 path=evil.txt\n", syntax),
        row("T6", "a blank before a length", b" 18 path=evil.txt\n", syntax),
        row("T6", "a length of zero", b"0 path=evil.txt\n", syntax),
        row("T6", "a length past 2^64", b"18446744073709551633 path=evil.txt\n", syntax),
        row("T6", "a record without a key", b"5 =a\n", syntax),
        row("T6", "a record without a value sign", b"7 path\n", syntax),
        row("T6", "NULs behind the last record", b"17 path=evil.txt\n\0\0\0", syntax),
        row("T6", "a blank line behind the last record", b"17 path=evil.txt\n\n", syntax),
        row("T6", "two blanks before a key", &record(" path", "evil.txt"), syntax),
        row("T6", "a tab before a key", &record("\tpath", "evil.txt"), syntax),
        row("T6", "a record in a comment", &record("comment", "\n10 size=1\n"), syntax),
        row("T6", "two lines of comment", &record("comment", "one\ntwo"), syntax),
        row(
            "T6",
            "a record in an attribute",
            &record("SCHILY.xattr.user.a", "\n16 path=evil.txt\n"),
            syntax,
        ),
        row(
            "T6",
            "a line break in an attribute",
            &record("SCHILY.xattr.user.a", "\x01\n\x02"),
            Accepted,
        ),
        row(
            "T6",
            "a path behind a line break in an attribute",
            &[record("SCHILY.xattr.user.a", "\x01\n"), record("path", "p")].concat(),
            syntax,
        ),
        row(
            "T6",
            "a path before a line break in an attribute",
            &[record("path", "p"), record("SCHILY.xattr.user.a", "\x01\n\n")].concat(),
            Accepted,
        ),
        row("T6", "a NUL in a key", &record("path\0", "evil.txt"), syntax),
        row("T6", "a newline in a key", &record("path\n", "evil.txt"), syntax),
        row("T6", "a NUL in an owner's name", &record("uname", "a\0b"), syntax),
        row("T6", "a NUL in a group's name", &record("gname", "a\0b"), syntax),
        row("T6", "an owner that is no number", &record("uid", "root"), syntax),
        row("T6", "an empty owner", &record("gid", ""), syntax),
        row("T6", "an owner past 2^63", &record("uid", "9223372036854775808"), syntax),
        row("T6", "a time that is no number", &record("mtime", "now"), syntax),
        row("T6", "a time of two points", &record("ctime", "1.2.3"), syntax),
        row("T6", "an empty time", &record("atime", ""), syntax),
        row("T6", "another character set", &record("hdrcharset", "BINARY"), syntax),
        row(
            "T6",
            "the character set there is",
            &record("hdrcharset", "ISO-IR 10646 2000 UTF-8"),
            Accepted,
        ),
        row("T6", "a part of a volume", &record("GNU.volume.offset", "512"), syntax),
        row("T7", "a NUL in a pax path", &record("path", "safe.txt\0/../evil"), name),
        row("T7", "a NUL in a pax link target", &record("linkpath", "a\0b"), name),
        row("T8", "a pax size with a sign", &record("size", "+4"), syntax),
        row("T8", "a pax size below zero", &record("size", "-1"), syntax),
        row("T8", "a pax size of 2^64", &record("size", "18446744073709551616"), syntax),
        row("T8", "a pax size in hex", &record("size", "0x4"), syntax),
        row("T8", "a pax size with a blank", &record("size", " 4"), syntax),
        row("T12", "GNU sparse 0.1", &record("GNU.sparse.map", "0,4"), sparse),
        row("T12", "GNU sparse 1.0", &record("GNU.sparse.major", "1"), sparse),
        row("T12", "an orphan sparse name", &record("GNU.sparse.name", "evil.txt"), sparse),
        row("T12", "star's real size", &record("SCHILY.realsize", "1024"), sparse),
        row("T12", "Solaris' holes", &record("SUN.holesdata", " 0 4"), sparse),
        row("T21", "an empty pax path", &record("path", ""), name),
        row("T21", "an empty pax link target", &record("linkpath", ""), name),
        row("T21", "an empty pax size", &record("size", ""), syntax),
        row(
            "T36",
            "a capability in an attribute",
            &record("SCHILY.xattr.security.capability", "\x01\0\0\x02"),
            Accepted,
        ),
        row("T6", "an empty pax header", b"", Accepted),
    ];
    for (what, body) in [
        ("bytes behind the NUL of a long name", &b"safe\0hidden\0"[..]),
        ("an empty long name", b"\0"),
    ] {
        rows.push(Row::new("T7", what, around(named(Bytes::new().meta(b'L', body))), name));
    }
    let accepted =
        [("a long name without its NUL", &b"long"[..]), ("NULs behind a long name", b"long\0\0\0")];
    for (what, body) in accepted {
        rows.push(Row::new("T7", what, around(named(Bytes::new().meta(b'L', body))), Accepted));
    }
    let trick = Bytes::new().h(&H::new("", 4, b'0')).body("data");
    rows.push(Row::new("T21", "an empty name", around(trick), name));
    rows
}

fn globals() -> Vec<Row> {
    let row = |what, records: &[(&str, &str)], want| {
        Row::new("T18", what, around(named(Bytes::new().g(records))), want)
    };
    let refused = Refused(Code::TarPaxGlobal);
    vec![
        row("a global path", &[("path", "glob")], refused),
        row("a global size", &[("size", "1024")], refused),
        row("a global link target", &[("linkpath", "glob")], refused),
        row("a global character set", &[("hdrcharset", "BINARY")], refused),
        row("a global sparse map", &[("GNU.sparse.map", "0,1")], refused),
        row("a global volume label", &[("GNU.volume.label", "v")], refused),
        row("a global attribute", &[("SCHILY.xattr.user.a", "b")], refused),
        row("a global owner that is no number", &[("uid", "root")], Refused(Code::TarPaxSyntax)),
        row("a global owner", &[("uid", "0"), ("uname", "root")], Accepted),
        row("a global time and a comment", &[("mtime", "1700000000"), ("comment", "c")], Accepted),
    ]
}

fn limits() -> Vec<Row> {
    let limit = Refused(Code::LimitTarMeta);
    let comment = record("comment", "x".repeat(2 << 20));
    let many = |n: usize| (0..n).fold(Bytes::new(), |bytes, _| bytes.g(&[("comment", "c")]));
    let gigabyte = |kind| Bytes::new().h(&H::new("PaxHeaders/x", 1 << 30, kind)).body("x");
    let row = |threat, what, trick, want| Row::new(threat, what, around(trick), want);
    let half = record("comment", "x".repeat(600 << 10));
    vec![
        row("T10", "a pax header of 2 MiB", named(Bytes::new().meta(b'x', &comment)), limit),
        row("T10", "a global header of 2 MiB", named(Bytes::new().meta(b'g', &comment)), limit),
        row("T10", "a long name of 2 MiB", named(Bytes::new().l(&"n".repeat(2 << 20))), limit),
        row("T10", "a pax header that states 1 GiB", gigabyte(b'x'), limit),
        row("T10", "a long name that states 1 GiB", gigabyte(b'L'), limit),
        row(
            "T10",
            "two headers of 600 KiB for one member",
            named(Bytes::new().meta(b'x', &half).l(&"n".repeat(600 << 10))),
            limit,
        ),
        row(
            "T10",
            "a name of 5,000 bytes",
            named(Bytes::new().x(&[("path", &"n/".repeat(2500))])),
            Refused(Code::LimitTarMeta),
        ),
        row("T11", "65 global headers", named(many(65)), limit),
        row("T11", "64 global headers", named(many(64)), Accepted),
    ]
}
