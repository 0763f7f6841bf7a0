//! REF and `--except`: which images stay, and under which names, in both views.

use super::seen::Seen;
use super::support::image::{Image, REF_NAME, hex};
use super::support::oci::{hybrid, layout};
use super::support::run::Room;
use super::support::tarball::Tar;
use super::{APP, Multi, OTHER, assert_refused, exported, run, words};

const SECOND: &str = "docker.io/library/second:latest";
const MULTI: &str = "quay.io/team/multi:1";

/// Image `a` under two names, `b` under one, `m` of two platforms.
struct Bundle {
    a: Image,
    b: Image,
    m: Multi,
}

impl Bundle {
    fn new() -> Bundle {
        let m = Multi::new("m", &["linux/amd64", "linux/arm64"]);
        Bundle { a: Image::app("a"), b: Image::app("b"), m }
    }

    fn archive(&self) -> Tar {
        let Bundle { a, b, m } = self;
        let tops = [
            a.descriptor().named(APP),
            a.descriptor().named(SECOND),
            b.descriptor().named(OTHER),
            m.descriptor().named(MULTI),
        ];
        let items: [(&Image, &[&str]); 3] =
            [(a, &[APP, "second:latest"]), (b, &[OTHER]), (&m.images[0], &[MULTI])];
        hybrid([a.blobs(), b.blobs(), m.blobs()].concat(), &tops, &items)
    }
}

#[test]
fn names_digests_and_exceptions() {
    let bundle = Bundle::new();
    let room = Room::new();
    let input = room.write("in.tar", bundle.archive().bytes());
    let (a, b) = (bundle.a.manifest_digest(), bundle.b.manifest_digest());
    let (config, index) = (bundle.b.config_digest(), bundle.m.descriptor().digest);
    let all = [APP, SECOND, OTHER, MULTI].join(" ");
    let rows: Vec<(String, String)> = vec![
        (String::new(), all.clone()),
        (APP.into(), APP.into()),
        ("second".into(), SECOND.into()),
        ("docker.io/library/second".into(), SECOND.into()),
        (format!("{APP} second:latest"), format!("{APP} {SECOND}")),
        (format!("{OTHER} {MULTI}"), format!("{OTHER} {MULTI}")),
        // A digest is the image with all its names, and more than one of them.
        (a.clone(), format!("{APP} {SECOND}")),
        (format!("{APP} {a}"), format!("{APP} {SECOND}")),
        (hex(&a)[..12].into(), format!("{APP} {SECOND}")),
        (config, OTHER.into()),
        (index, MULTI.into()),
        (format!("--except {APP}"), [SECOND, OTHER, MULTI].join(" ")),
        (format!("--except {APP} --except second"), [OTHER, MULTI].join(" ")),
        (format!("--except {}", &hex(&b)[..7]), [APP, SECOND, MULTI].join(" ")),
        (format!("--except {a} --except {b}"), MULTI.into()),
        (format!("{a} --except second"), APP.into()),
        (format!("{OTHER} {APP} --except {b}"), APP.into()),
    ];
    for (args, want) in rows {
        let seen = exported(&room, "export", &input, &words(&args));
        seen.assert_sound();
        let mut want = words(&want);
        want.sort_unstable();
        assert_eq!(seen.oci_names(), want, "{args}");
        // RepoTags keeps the spelling it had.
        let familiar = |name: &&str| name.replace("docker.io/library/", "");
        let mut tags: Vec<String> = want.iter().map(familiar).collect();
        tags.sort();
        assert_eq!(seen.tags(), tags, "{args}");
    }
}

/// A digest below an index is one platform of it, alone or behind a repository.
#[test]
fn one_platform_by_its_digest() {
    let bundle = Bundle::new();
    let room = Room::new();
    let input = room.write("in.tar", bundle.archive().bytes());
    let index = bundle.m.descriptor().digest;
    let [amd, arm] = [&bundle.m.images[0], &bundle.m.images[1]];
    let (both, one) = ("linux/amd64 linux/arm64", "linux/arm64");
    let rows = [
        (arm.manifest_digest(), one),
        (hex(&arm.manifest_digest())[..7].to_owned(), one),
        (arm.config_digest(), one),
        (format!("quay.io/team/multi@{}", arm.manifest_digest()), one),
        (format!("{MULTI}@{}", arm.manifest_digest()), one),
        (format!("quay.io/team/multi@{index}"), both),
        // A tag beside a digest says nothing, as for docker.
        (format!("quay.io/team/multi:2@{index}"), both),
        (format!("{} {}", arm.manifest_digest(), amd.manifest_digest()), both),
        (format!("{} {MULTI}", arm.manifest_digest()), both),
        (format!("{MULTI} --except {}", amd.manifest_digest()), one),
    ];
    for (args, want) in rows {
        let seen = exported(&room, "export", &input, &words(&args));
        seen.assert_sound();
        assert_eq!(seen.oci_names(), [MULTI], "{args}");
        assert_eq!(seen.platforms(MULTI).join(" "), want, "{args}");
    }
    for args in [
        format!("quay.io/team/other@{index}"),
        format!("quay.io/team/multi@{}", bundle.a.manifest_digest()),
    ] {
        assert_refused(&run(&room, "export", &input, &words(&args)), 1, "E_NO_MATCH");
    }
}

/// What `ls` calls an image that has a tag and no repository.
#[test]
fn a_tag_without_a_repository() {
    let room = Room::new();
    let (a, b) = (Image::app("a"), Image::app("b"));
    let tops =
        [a.descriptor().annotation(REF_NAME, "v1"), b.descriptor().annotation(REF_NAME, "v2")];
    let input = room.write("in.tar", layout([a.blobs(), b.blobs()].concat(), &tops).bytes());
    let seen = exported(&room, "export", &input, &["<none>:v2"]);
    assert!(seen.blob(&b.manifest_digest()).is_some());
    assert!(seen.blob(&a.manifest_digest()).is_none());
}

#[test]
fn what_is_not_there() {
    let room = Room::new();
    let bundle = Bundle::new();
    let input = room.write("in.tar", bundle.archive().bytes());
    let rows = [
        ("nowhere:1", "E_NO_MATCH", "nowhere:1"),
        ("example.com/team/app:2.0", "E_NO_MATCH", "example.com/team/app:2.0"),
        ("sha256:0000000000", "E_NO_MATCH", "it holds"),
        // Too short to be a digest.
        ("abc", "E_NO_MATCH", "abc"),
        ("--except nowhere:1", "E_NO_MATCH", "nowhere:1"),
        (
            "example.com/team/other:2.0 --except example.com/team/other:2.0",
            "E_NO_MATCH",
            "no image is left",
        ),
    ];
    for (args, id, text) in rows {
        let run = run(&room, "export", &input, &words(args));
        assert_eq!((run.code, run.id()), (1, id), "{args}: {}", run.err);
        assert!(run.err.contains(text), "{args}: {}", run.err);
        assert!(!room.path("out.tar").exists());
    }
}

/// A descriptor that carried two names carries the one that stays.
#[test]
fn two_names_on_one_descriptor() {
    let room = Room::new();
    let image = Image::app("two");
    let top = image
        .descriptor()
        .annotation(super::support::image::IMAGE_NAME, APP)
        .annotation(super::support::image::REF_NAME, OTHER);
    let tar = super::layout(image.blobs(), &[top]);
    let input = room.write("in.tar", tar.bytes());
    for name in [APP, OTHER] {
        let seen = exported(&room, "export", &input, &[name]);
        assert_eq!(seen.oci_names(), [name]);
        let text = seen.tops()[0].to_string();
        let gone = if name == APP { OTHER } else { APP };
        assert!(!text.contains(gone), "{text}");
        // And is found again.
        exported(&room, "export", &room.write("again.tar", Seen::bytes(&seen)), &[name]);
    }
}

/// One name is enough for a digest: names with a digest are names, too.
#[test]
fn names_with_a_digest() {
    let room = Room::new();
    let input = super::data("ctr17-digest-name");
    let before = Seen::at(&input);
    let name = before.oci_names()[0].clone();
    let seen = exported(&room, "export", &input, &[&name]);
    assert_eq!(seen.oci_names(), std::slice::from_ref(&name));
    // Classic docker refuses an archive for one in RepoTags.
    assert_eq!(seen.tags(), Vec::<String>::new());
    let run = run(&room, "export", &input, &["--except", &name]);
    assert_refused(&run, 1, "E_NO_MATCH");
}
