//! Headers and their order: sizes, types, numbers, checksums, magic, the end.

use ocitar::error::Code;

use super::Want::{Accepted, Fails, Refused};
use super::{Row, around, ending, layout};
use crate::bytes::{
    BLOCK, Bytes, DEV_MAJOR, GNU, H, LINK, MODE, MTIME, PREFIX, SIZE, UID, V7, smuggled,
};

pub fn rows() -> Vec<Row> {
    let mut rows = types();
    rows.extend(numbers());
    rows.extend(magic());
    rows.extend(checksums());
    rows.extend(first());
    rows.extend(ends());
    rows
}

/// Types that carry no data and state some; types nobody agrees on.
fn types() -> Vec<Row> {
    let row = |threat, what, trick, want| Row::new(threat, what, around(trick), want);
    let inner = smuggled();
    let len = inner.len() as u64;
    let mut rows = Vec::new();
    for (kind, what) in [
        (b'1', "hard link with data"),
        (b'2', "symbolic link with data"),
        (b'3', "character device with data"),
        (b'4', "block device with data"),
        (b'5', "directory with data"),
        (b'6', "fifo with data"),
    ] {
        let header = H::new("lnk", len, kind).link("oci-layout");
        let trick = Bytes::new().h(&header).raw(&inner);
        rows.push(row("T4", what, trick, Refused(Code::TarHdrOnlySize)));
        let size = len.to_string();
        let header = H::new("lnk", 0, kind).link("oci-layout");
        let trick = Bytes::new().x(&[("size", &size)]).h(&header).raw(&inner);
        rows.push(row("T4", what, trick, Refused(Code::TarExtConflict)));
    }
    let old = |name: &str, size| H::new(name, size, 0).magic(V7);
    let long = "a/".repeat(60) + "file";
    rows.extend([
        row(
            "T5",
            "old type, a folder's name, data",
            Bytes::new().h(&old("d/", 4)).body("data"),
            Refused(Code::TarType),
        ),
        row("T5", "old type, a folder's name", Bytes::new().h(&old("d/", 0)), Accepted),
        row(
            "T5",
            "a file with a folder's name",
            Bytes::new().h(&H::new("d/", 4, b'0')).body("data"),
            Refused(Code::TarName),
        ),
        row(
            "T5",
            "a symbolic link with a folder's name",
            Bytes::new().h(&H::new("d/", 0, b'2').link("oci-layout")),
            Refused(Code::TarName),
        ),
        row(
            "T5",
            "a hard link with a folder's name",
            Bytes::new().h(&H::new("d/", 0, b'1').link("oci-layout")),
            Refused(Code::TarName),
        ),
        row(
            "T5",
            "old type, a folder in the header and a file in pax",
            Bytes::new().x(&[("path", "f")]).h(&H::new("d/", 0, 0)),
            Refused(Code::TarType),
        ),
        row(
            "T5",
            "old type, a file in the header and a folder in pax",
            Bytes::new().x(&[("path", "d/")]).h(&H::new("f", 0, 0)),
            Refused(Code::TarType),
        ),
        row(
            "T5",
            "old type, a folder in the header and a file in a long name",
            Bytes::new().l("f").h(&H::new("d/", 0, 0).magic(GNU)),
            Refused(Code::TarType),
        ),
        row(
            "T5",
            "a file whose cut name looks like a folder's",
            Bytes::new().l(&long).h(&H::new(&long[..100], 4, b'0').magic(GNU)).body("data"),
            Accepted,
        ),
    ]);
    for kind in *b"78VMDNXAQIsZ\x01\xff" {
        let trick = Bytes::new().h(&H::new("odd", len, kind)).raw(&inner);
        rows.push(row(
            "T20",
            "a type that readers treat differently",
            trick,
            Refused(Code::TarType),
        ));
    }
    rows.extend([
        row(
            "T12",
            "an old GNU sparse file",
            Bytes::new().h(&H::new("sparse", len, b'S').magic(GNU)).raw(&inner),
            Refused(Code::TarSparse),
        ),
        row(
            "T12",
            "an old GNU sparse file of 8 GiB",
            Bytes::new()
                .h(&H::new("sparse", 512, b'S')
                    .magic(GNU)
                    .put(386..398, "00000000000")
                    .put(398..410, "00000001000")
                    .put(483..495, "77777777777"))
                .body("x"),
            Refused(Code::TarSparse),
        ),
        row(
            "T36",
            "a device",
            Bytes::new()
                .h(&H::new("null", 0, b'3').put(DEV_MAJOR, "0000001\0").put(337..345, "0000003\0")),
            Accepted,
        ),
        row("T36", "a fifo", Bytes::new().h(&H::new("pipe", 0, b'6')), Accepted),
        row(
            "T36",
            "a setuid file",
            Bytes::new().h(&H::new("su", 4, b'0').put(MODE, "0004755\0")).body("data"),
            Accepted,
        ),
        row(
            "T20",
            "a link target in the header of a file",
            Bytes::new().h(&H::new("f", 4, b'0').link("oci-layout")).body("data"),
            Accepted,
        ),
        row("T22", "more members than the limit", Bytes::new(), Refused(Code::LimitEntries))
            .limited(|limits| limits.members = 3),
    ]);
    rows
}

fn numbers() -> Vec<Row> {
    let row = |what, header: &H, want| {
        Row::new("T8", what, around(Bytes::new().h(header).raw(smuggled())), want)
    };
    let file = || H::new("f", 0, b'0');
    let size = |field: &[u8]| file().put(SIZE, field);
    let numeric = Refused(Code::TarNumeric);
    let mut minus_one = [0xff; 12];
    let mut past = [0xff; 12];
    past[0] = 0x80;
    let mut rows = vec![
        row("size with a sign", &size(b"+0000002000\0"), numeric),
        row("size below zero", &size(b"-0000002000\0"), numeric),
        row("size of -1 in base-256", &size(&minus_one), numeric),
        row("size past 2^63 in base-256", &size(&past), numeric),
        row("blank size", &size(b"            "), numeric),
        row("size of NULs", &size(&[0; 12]), numeric),
        row("digits behind the NUL of a size", &size(b"0000\x00000200\0"), numeric),
        row("NUL before the digits of a size", &size(b"\x000000002000\0"), numeric),
        row("size with a digit 8", &size(b"00000000800\0"), numeric),
        row("size with a letter", &size(b"0000000200x\0"), numeric),
        row("size behind a tab", &size(b"\t0000002000\0"), numeric),
        row("size between blanks", &size(b"       2000 "), Accepted),
        row("size of twelve digits", &size(b"000000002000"), Accepted),
        row("size in base-256", &size(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0]), Accepted),
        row("junk for a mode", &file().put(MODE, "junk"), numeric),
        row("mode behind a line feed", &file().put(MODE, "\n000644\0"), numeric),
        row("owner of -1", &file().put(UID, [0xff; 8]), numeric),
        row("owner in base-256", &file().put(UID, [0x80, 0, 0, 0, 0, 0x1f, 0, 0]), Accepted),
        row("blank owner", &file().put(UID, "        "), Accepted),
        row("owner of NULs", &file().put(UID, [0; 8]), Accepted),
        row("time before 1970", &file().put(MTIME, [0xff; 12]), Accepted),
        row("time below 64 bits", &file().put(MTIME, b"\xff\xff\xff\xff\x7f"), numeric),
        row("junk for a device of a file", &file().put(DEV_MAJOR, "junk"), numeric),
        row(
            "junk for a device where there is no magic",
            &file().magic(V7).put(DEV_MAJOR, "junk"),
            numeric,
        ),
        row("blank device of a file", &file().put(DEV_MAJOR, "        "), Accepted),
    ];
    // Where numbers end: nothing may be added to these without looking.
    minus_one[0] = 0x7f;
    rows.push(row("size with a high bit too few", &size(&minus_one), numeric));
    let at_end = |threat, what, size: u64| {
        Row::new(
            threat,
            what,
            around(Bytes::new().h(&H::new("f", 0, b'0').put(SIZE, {
                let mut field = [0; 12];
                field[0] = 0x80;
                field[4..].copy_from_slice(&size.to_be_bytes());
                field
            }))),
            Refused(Code::TarTruncated),
        )
    };
    rows.push(at_end("T9", "size of 2^63-1", i64::MAX as u64));
    rows.push(at_end("T9", "size that ends just past 2^63", i64::MAX as u64 - 511));
    rows.push(at_end("T9", "size of a terabyte", 1 << 40));
    rows
}

fn magic() -> Vec<Row> {
    let row = |what, header: &H, want| {
        Row::new("T17", what, around(Bytes::new().h(header).body("data")), want)
    };
    let file = || H::new("n.txt", 4, b'0');
    let prefixed = || file().put(PREFIX, "pre");
    let refused = Refused(Code::TarMagic);
    let mut rows = vec![
        row("a prefix", &prefixed(), Accepted),
        row(
            "a prefix with a slash at its end",
            &file().put(PREFIX, "pre/"),
            Refused(Code::TarName),
        ),
        row("a prefix that leads out", &file().put(PREFIX, ".."), Refused(Code::TarName)),
        row(
            "a prefix and no name",
            &H::new("", 4, b'0').put(PREFIX, "pre"),
            Refused(Code::TarName),
        ),
        row("a prefix under a NUL version", &prefixed().magic(b"ustar\0\0\0"), refused),
        row("a prefix under a blank version", &prefixed().magic(b"ustar\0  "), refused),
        row("a prefix under GNU's magic", &prefixed().magic(GNU), refused),
        row("a prefix without magic", &prefixed().magic(V7), refused),
        row("GNU's times", &file().magic(GNU).put(345..357, "14000000000"), refused),
        row("GNU's magic", &file().magic(GNU), Accepted),
        row("a NUL version", &file().magic(b"ustar\0\0\0"), Accepted),
        row("a blank version", &file().magic(b"ustar\0  "), Accepted),
        row("no magic", &file().magic(V7), Accepted),
        row("another version", &file().magic(b"ustar\x0001"), refused),
        row("a magic of one letter", &file().magic(b"u\0\0\0\0\0\0\0"), refused),
        row("a magic in capitals", &file().magic(b"USTAR\x0000"), refused),
        row("star's trailer", &file().put(508..512, b"tar\0"), refused),
        row("star's trailer and a prefix", &prefixed().put(508..512, b"tar\0"), refused),
        row(
            "a symbolic link without magic",
            &H::new("l", 0, b'2').magic(V7).put(LINK, "oci-layout"),
            refused,
        ),
    ];
    for (magic, what) in [
        (V7, "a pax header without magic"),
        (b"ustar\0\0\0", "a pax header under a NUL version"),
        (b"ustar\0  ", "a pax header under a blank version"),
    ] {
        let body = crate::bytes::record("path", "from-pax");
        let header = H::new("PaxHeaders/x", body.len() as u64, b'x').magic(magic);
        let trick = Bytes::new().h(&header).body(body).h(&file()).body("data");
        rows.push(Row::new("T17", what, around(trick), refused));
    }
    rows
}

fn checksums() -> Vec<Row> {
    let row = |what, trick, want| Row::new("T16", what, around(trick), want);
    let file = H::new("f", 4, b'0');
    // 0x80 counts as -128 in the sum of old machines.
    let high = H::new(b"h\xc3\xa9", 4, b'0');
    let sum: i64 = {
        let block = Bytes::new().h_with_checksum(&high, b"        ").0;
        block.iter().map(|byte| i64::from(*byte as i8)).sum()
    };
    let signed: [u8; 8] = format!("{sum:06o}\0 ").as_bytes().try_into().unwrap();
    let good = Bytes::new().h(&file).0;
    let digits = std::str::from_utf8(&good[148..154]).unwrap().to_owned();
    let field = |text: String| -> [u8; 8] { text.as_bytes().try_into().unwrap() };
    let with = |field: &[u8; 8]| Bytes::new().h_with_checksum(&file, field).body("data");
    vec![
        row("a wrong checksum", with(b"000001\0 "), Refused(Code::TarChecksum)),
        row("a blank checksum", with(b"        "), Refused(Code::TarChecksum)),
        row("a checksum of NULs", with(&[0; 8]), Refused(Code::TarChecksum)),
        row(
            "a signed checksum",
            Bytes::new().h_with_checksum(&high, &signed).body("data"),
            Refused(Code::TarChecksum),
        ),
        row(
            "a checksum behind a tab",
            with(&field(format!("\t{digits}\0"))),
            Refused(Code::TarChecksum),
        ),
        row(
            "a checksum with letters behind it",
            with(&field(format!("{digits}xx"))),
            Refused(Code::TarChecksum),
        ),
        row("a checksum of seven digits", with(&field(format!("0{digits}\0"))), Accepted),
        row("a checksum behind a blank", with(&field(format!(" {digits} "))), Accepted),
    ]
}

/// What is wrong with the first header says what it is, as long as that is a header.
fn first() -> Vec<Row> {
    let (blobs, documents) = layout();
    let first = |header: &[u8]| [header, &blobs.0, &documents.0, &[0; 1024]].concat();
    let file = H::new("f", 0, b'0');
    let good = Bytes::new().h(&file).0;
    let mut damaged = good.clone();
    damaged[0] ^= 1;
    let other = Bytes::new().h(&file.clone().magic(b"rustar00")).0;
    let label = Bytes::new().h(&H::new("label", 0, b'V').magic(GNU).put(PREFIX, "12345")).0;
    let row =
        |threat, what, header: &[u8], code| Row::new(threat, what, first(header), Refused(code));
    vec![
        row("T16", "a first header with another sum", &damaged, Code::TarChecksum),
        row("T17", "a first header with another magic", &other, Code::TarMagic),
        row("T20", "a volume label first", &label, Code::TarType),
        row("T16", "a first block of noise", &[0x55; BLOCK], Code::Format),
        Row::new("T16", "half a block", vec![0x55; 256], Refused(Code::Format)),
    ]
}

fn ends() -> Vec<Row> {
    let zero = || Bytes::new().raw([0; BLOCK]);
    let after = |bytes: &Bytes| ending(&Bytes::new().raw(&bytes.0));
    let (blobs, documents) = layout();
    let whole = blobs.clone().raw(documents.0).0;
    let cut = |n: usize| whole[..whole.len() - n].to_vec();
    let no_pad = whole.len() - BLOCK + crate::support::oci::LAYOUT.len();
    let row = Row::new;
    let other = Bytes::new().file("index.json", "{}").end();
    let zeros = |n: usize| after(&Bytes::new().raw(vec![0; n]));
    vec![
        row("T14", "four MiB of zeros behind the end", zeros(4 << 20), Accepted),
        row("T14", "more zeros than any tool pads with", zeros(65 << 20), Fails(Code::TarTrailing)),
        row(
            "T19",
            "a global header and no member",
            ending(&Bytes::new().g(&[("comment", "x")]).end()),
            Refused(Code::TarExtDangling),
        ),
        row(
            "T5",
            "a prefix without a name or a type",
            around(Bytes::new().h(&H::new("", 0, 0).put(PREFIX, "p"))),
            Refused(Code::TarType),
        ),
        row("T13", "one zero block between members", around(zero()), Refused(Code::TarEof)),
        row(
            "T13",
            "one zero block, then bytes",
            after(&zero().raw([1; BLOCK])),
            Refused(Code::TarEof),
        ),
        row("T13", "a zero block first", zero().raw(&whole).end().0, Refused(Code::TarEof)),
        row(
            "T14",
            "another archive behind the end",
            after(&Bytes::new().end().raw(&other.0)),
            Fails(Code::TarTrailing),
        ),
        row(
            "T14",
            "a byte behind the end",
            after(&Bytes::new().end().raw(b"x")),
            Fails(Code::TarTrailing),
        ),
        row(
            "T14",
            "zeros behind the end",
            after(&Bytes::new().end().raw([0; 7 * BLOCK])),
            Accepted,
        ),
        row(
            "T14",
            "an odd number of zeros behind the end",
            after(&Bytes::new().end().raw([0; 100])),
            Accepted,
        ),
        row("T15", "no end marker", cut(0), Fails(Code::TarNoEnd)),
        row("T15", "half an end marker", after(&zero()), Fails(Code::TarNoEnd)),
        row(
            "T15",
            "a block and a half of end marker",
            after(&zero().raw([0; 100])),
            Fails(Code::TarNoEnd),
        ),
        row(
            "T15",
            "a part of a zero block",
            after(&Bytes::new().raw([0; 100])),
            Fails(Code::TarNoEnd),
        ),
        row("T15", "cut in a header", cut(BLOCK + 100), Refused(Code::TarTruncated)),
        row("T15", "cut in a body", whole[..no_pad - 4].to_vec(), Refused(Code::TarTruncated)),
        row("T15", "a body without padding", whole[..no_pad].to_vec(), Refused(Code::TarTruncated)),
        row(
            "T15",
            "bytes for an end",
            after(&Bytes::new().raw(b"not a header")),
            Refused(Code::TarTruncated),
        ),
        row("T15", "cut before the documents", blobs.0.clone(), Refused(Code::TarTruncated)),
        row("T72", "nothing but zeros", vec![0; 20 * BLOCK], Refused(Code::Format)),
        row("T72", "nothing", Vec::new(), Refused(Code::TarTruncated)),
        row("T72", "text", b"not a tar at all\n".repeat(100), Refused(Code::Format)),
    ]
}
