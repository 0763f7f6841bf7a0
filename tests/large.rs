//! Archives beyond every boundary of a number: 2 GiB, 4 GiB, where octal ends, a terabyte. They are holes, so that they
//! take neither disk nor time, and whoever read them whole would be noticed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(feature = "cli")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use support::docker::docker28;
use support::image::sha256;
use support::mount::Mounted;
use support::run::{Room, arg, ocitar};
use support::tarball::Tar;

const NEW: &str = "registry.example.com/new:v9";

/// Sizes of the hole. The last that octal can say is one below 8 GiB.
const SIZES: [u64; 11] = [
    (1 << 31) - 1,
    1 << 31,
    (1 << 31) + 1,
    (1 << 32) - 1024,
    (1 << 32) - 1,
    1 << 32,
    (1 << 32) + 513,
    (8 << 30) - 1,
    8 << 30,
    (8 << 30) + 1,
    1 << 40,
];

/// How a size stands in the archive.
#[derive(Clone, Copy, Debug)]
enum Stated {
    /// In the header; as a binary number where octal has not enough digits.
    Header,
    /// In a pax header, with 0 in the header where octal has not enough digits, as Go writes it.
    Pax,
}

/// An archive with a hole before everything that names images.
fn write(path: &Path, size: u64, stated: Stated) {
    let image = docker28().tar;
    let mut before = Vec::new();
    if let Stated::Pax = stated {
        let record = format!(" size={size}\n");
        // Its own length counts, which has two digits.
        let record = format!("{}{record}", record.len() + 2);
        let pax = Tar::new().file("PaxHeaders/hole", &record).bytes();
        before.extend_from_slice(&pax[..1024]);
        let mut header = tar::Header::from_byte_slice(&before[..512]).clone();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_cksum();
        before[..512].copy_from_slice(header.as_bytes());
    }
    let hole = Tar::new().file("hole", "").bytes();
    let mut header = tar::Header::from_byte_slice(&hole[..512]).clone();
    header.set_size(match stated {
        Stated::Pax if size >= 8 << 30 => 0,
        _ => size,
    });
    header.set_cksum();
    before.extend_from_slice(header.as_bytes());
    let file = File::create(path).unwrap();
    file.write_all_at(&before, 0).unwrap();
    let behind = before.len() as u64 + size.next_multiple_of(512);
    file.write_all_at(&image.bytes(), behind).unwrap();
}

/// What a run says as data, and nothing besides.
fn listing(args: &[&str]) -> serde_json::Value {
    let run = ocitar([&["--json"], args].concat()).ok();
    assert_eq!(run.err, "", "{args:?}");
    run.json()
}

/// What holds bytes of a file, in bytes.
fn taken(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

fn each(room: &Path, test: impl Fn(&Path, u64, Stated)) {
    for size in SIZES {
        for stated in [Stated::Header, Stated::Pax] {
            let path: PathBuf = room.join("in.tar");
            let _ = fs::remove_file(&path);
            write(&path, size, stated);
            test(&path, size, stated);
        }
    }
}

#[test]
fn names_behind_a_hole() {
    let room = Room::new();
    let small = room.write("small.tar", Tar::new().file("hole", "").bytes());
    write(&small, 512, Stated::Header);
    let images = |path: &Path| listing(&["ls", arg(path)])["archives"][0]["images"].clone();
    let want = images(&small);
    assert_eq!(want.as_array().unwrap().len(), 1);
    let renamed = ocitar(["retag", "-n", arg(&small), "-", NEW]).ok().text();
    each(&room.path(""), |path, size, stated| {
        let what = format!("{size} {stated:?}");
        for how in ["--no-mmap", "--mmap"] {
            let ls = listing(&["ls", how, arg(path)]);
            assert_eq!(ls["archives"][0]["images"], want, "{what} {how}");
        }
        let run = ocitar(["retag", "-n", arg(path), "-", NEW]).ok();
        assert_eq!(run.text(), renamed, "{what}");
        // A member that is cut by its last byte is cut.
        let file = File::options().write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(len - 1024 - 512).unwrap();
        let run = ocitar(["ls", arg(path)]);
        assert_eq!((run.code, run.id()), (3, "E_TAR_TRUNCATED"), "{what}: {}", run.err);
    });
}

/// In place only names are written, however far behind they are.
#[test]
fn in_place_behind_a_hole() {
    let room = Room::new();
    let tail = |path: &Path| {
        let file = File::open(path).unwrap();
        let len = file.metadata().unwrap().len();
        let mut end = vec![0; 64 << 10];
        file.read_exact_at(&mut end, len - (64 << 10)).unwrap();
        (len, sha256(&end))
    };
    each(&room.path(""), |path, size, stated| {
        let what = format!("{size} {stated:?}");
        let before = tail(path);
        ocitar(["retag", "--in-place=journal", arg(path), NEW]).ok();
        assert_eq!(ocitar(["ls", "-q", arg(path)]).ok().text(), format!("{NEW}\n"), "{what}");
        assert!(taken(path) < 4 << 20, "{what}: {} bytes on disk", taken(path));
        let after = tail(path);
        assert_ne!(before, after, "{what}");
        // There and back.
        let back = ["docker.io/library/app:1.0"];
        ocitar([&["retag", "--in-place=journal", arg(path)], &back[..]].concat()).ok();
        ocitar(["retag", "--in-place=journal", arg(path), NEW]).ok();
        assert_eq!(tail(path), after, "{what}");
        assert_eq!(room.list(), ["in.tar"], "{what}");
    });
}

/// Where the file system shares, a terabyte is shared, and nothing but the names is written.
#[test]
fn shared_behind_a_hole() {
    for mkfs in [&["mkfs.xfs", "-q", "-f"][..], &["mkfs.btrfs", "-q", "-f"]] {
        let Some(mounted) = Mounted::new(mkfs) else { continue };
        each(&mounted.folder, |path, size, stated| {
            let what = format!("{} {size} {stated:?}", mkfs[0]);
            let run = ocitar(["retag", "--in-place", "--json", arg(path), NEW]).ok();
            assert_eq!(run.json()["written"]["method"], "reflink", "{what}");
            assert_eq!(ocitar(["ls", "-q", arg(path)]).ok().text(), format!("{NEW}\n"), "{what}");
            assert!(taken(path) < 4 << 20, "{what}: {} bytes on disk", taken(path));
        });
    }
}

/// What there is no room for is said before a byte is written.
#[test]
fn no_room_for_it() {
    let room = Room::new();
    let input = room.path("in.tar");
    write(&input, 1 << 40, Stated::Header);
    let Some(mounted) = Mounted::tmpfs("size=1m") else { return };
    let out = mounted.folder.join("out.tar");
    let run = ocitar(["retag", arg(&input), arg(&out), NEW]);
    assert_eq!((run.code, run.id()), (5, "E_NO_SPACE"), "{}", run.err);
    assert!(run.err.contains("1.0 TiB needed"), "{}", run.err);
    assert_eq!(fs::read_dir(&mounted.folder).unwrap().count(), 0);
}
