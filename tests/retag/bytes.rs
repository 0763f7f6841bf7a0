//! What a retag leaves alone: headers, order, padding, and every byte where no name changes.

use super::support::all;
use super::support::run::{Room, arg, ocitar};
use super::support::tarball::{End, Member};
use super::{APP, Docs, Fixture, NEW, assert_same, item, retag, top, written};

type Change<'a> = &'a dyn Fn(&mut Member);

#[test]
fn headers_order_and_padding_stay() {
    let fixture = Fixture::new();
    let room = Room::new();
    let before = Docs::new(&top('a', APP, "1.0"), &item('a', &["app:1.0"]), "");
    let after = Docs::new(&top('a', NEW, "v9"), &item('a', &[NEW]), "");
    let odd = |member: &mut Member| {
        let n = member.name.len() as u64;
        (member.mode, member.mtime, member.owner) =
            (0o100_600 + (n % 8) as u32, 1_700_000_000 + n, n);
        member.uname = format!("user{n}");
    };
    let dotted = |member: &mut Member| member.name.insert_str(0, "./");
    for end in [End::Marker, End::Record, End::Missing] {
        let rows: [(&str, Change); 3] = [("plain", &|_| {}), ("odd", &odd), ("dotted", &dotted)];
        for (what, change) in rows {
            let make = |docs: &Docs, end: End| {
                let mut tar = fixture.archive(docs).each(change).end(end);
                tar.members.reverse();
                tar.bytes()
            };
            let run = retag(&room, &make(&before, end), &[NEW]).ok();
            let said = run.err.contains("E_TAR_NOEND");
            let want = match end {
                // What was padded before keeps its zeros: as many as there were.
                End::Record => {
                    let plain = make(&before, End::Marker).len();
                    let zeros = make(&before, End::Record).len() - plain;
                    [make(&after, End::Marker), vec![0; zeros]].concat()
                }
                _ => make(&after, End::Marker),
            };
            assert_same(&format!("{what} {end:?}"), &written(&room), &want);
            assert_eq!(said, end == End::Missing, "{}", run.err);
        }
    }
}

/// Archives whose one name is written in full wherever it stands, and that have containerd's annotation if any.
const CANONICAL: [&str; 11] = [
    "crane-legacy",
    "kaniko",
    "hard-links",
    "containerd-referrers",
    "foreign-layer",
    "nested-index",
    "sha512",
    "zstd-layers",
    "buildx-attested",
    "sparse",
    "no-layers",
];
const CANONICAL_REAL: [&str; 9] = [
    "buildx-oci-single",
    "buildx-oci-multi",
    "buildx-oci-zstd",
    "ctr16-single",
    "ctr17-single",
    "ctr17-sparse-attested",
    "ctr17-oci-only",
    "podman5-docker-archive",
    "skopeo-docker-archive",
];

#[test]
fn there_and_back_again() {
    let room = Room::new();
    let made = all().into_iter().filter(|made| CANONICAL.contains(&made.name));
    let mut archives: Vec<(&str, Vec<u8>)> =
        made.map(|made| (made.name, made.tar.bytes())).collect();
    assert_eq!(archives.len(), CANONICAL.len());
    for name in CANONICAL_REAL {
        let path = format!("{}/testdata/{name}.tar", env!("CARGO_MANIFEST_DIR"));
        archives.push((name, std::fs::read(path).unwrap()));
    }
    for (what, before) in archives {
        let run = retag(&room, &before, &[NEW, "--json"]).ok();
        let name = run.json()["changes"][0]["old"].as_str().unwrap().to_owned();
        let there = written(&room);
        assert_ne!(there, before, "{what}");
        retag(&room, &there, &[&format!("{NEW}={name}")]).ok();
        assert_same(what, &written(&room), &before);
    }
}

#[test]
fn a_run_that_changes_no_name_changes_no_byte() {
    let room = Room::new();
    for made in all() {
        retag(&room, &made.tar.bytes(), &["--allow-unmatched", "no/such:1=no/thing:1"]).ok();
        assert_same(made.name, &written(&room), &made.tar.bytes());
    }
}

#[test]
fn a_directory_becomes_a_canonical_tar() {
    let fixture = Fixture::new();
    let room = Room::new();
    let before = Docs::new(&top('a', APP, "1.0"), &item('a', &["app:1.0"]), "");
    let after = Docs::new(&top('a', NEW, "v9"), &item('a', &[NEW]), "");
    let after = fixture.archive(&after).bytes();
    // Two directories that differ in times, modes and the order of their files.
    for (name, change) in [("one", 0o600), ("two", 0o644)] {
        let folder = room.path(name);
        let mut tar = fixture.archive(&before).each(|member| {
            if member.kind == b'0' {
                (member.mode, member.mtime) = (change, u64::from(change));
            }
        });
        if name == "two" {
            tar.members.reverse();
        }
        tar::Archive::new(&tar.bytes()[..]).unpack(&folder).unwrap();
        let out = room.path("out.tar");
        ocitar(["retag", "--force", arg(&folder), arg(&out), NEW]).ok();
        assert_same(name, &written(&room), &after);
        let run = ocitar(["retag", arg(&folder), "-", NEW]).ok();
        assert_same(name, &run.out, &after);
    }
}

/// An output inside the input is the input.
#[test]
fn a_file_of_the_directory_is_no_output() {
    let (fixture, room) = (Fixture::new(), Room::new());
    let before = fixture.archive(&Docs::new(&top('a', APP, "1.0"), "", ""));
    let folder = room.path("layout");
    tar::Archive::new(&before.bytes()[..]).unpack(&folder).unwrap();
    for out in ["index.json", "oci-layout", "new.tar"] {
        let out = folder.join(out);
        let old = std::fs::read(&out).ok();
        let run = ocitar(["retag", "--force", arg(&folder), arg(&out), NEW]);
        assert_eq!((run.code, run.id()), (2, "E_OUT_SAME"), "{out:?}: {}", run.err);
        assert_eq!(std::fs::read(&out).ok(), old, "{out:?}");
    }
}
