//! `--drop-unmatched`: what goes with an image, and what stays.

use super::support::image::{Image, blob_path, hex};
use super::support::run::{Room, arg, ocitar};
use super::support::tarball::{Tar, names};
use super::support::{docker, oci};
use super::{APP, Docs, Fixture, TEAM, assert_same, item, retag, top, written};

fn drop_all_but(room: &Room, tar: &Tar, rule: &str) -> Vec<u8> {
    retag(room, &tar.bytes(), &["--drop-unmatched", rule]).ok();
    written(room)
}

#[test]
fn an_image_goes_with_its_blobs_and_names() {
    let (fixture, room) = (Fixture::new(), Room::new());
    let rows = [
        (
            "oci",
            Docs::new(&[top('a', APP, "1.0"), top('b', TEAM, "1.0")].join(","), "", ""),
            Docs::new(&top('b', "quay.io/x:1.0", "1.0"), "", ""),
        ),
        (
            "hybrid",
            Docs::new(
                &[top('a', APP, "1.0"), top('b', TEAM, "1.0")].join(","),
                &[item('a', &["app:1.0"]), item('b', &[TEAM])].join(","),
                "\"app\":{\"1.0\":\"@ta\"},\"example.com/team/app\":{\"1.0\":\"@tb\"}",
            ),
            Docs::new(
                &top('b', "quay.io/x:1.0", "1.0"),
                &item('b', &["quay.io/x:1.0"]),
                "\"quay.io/x\":{\"1.0\":\"@tb\"}",
            ),
        ),
        (
            "two unnamed",
            Docs::new(&[top('a', "", ""), top('b', TEAM, "1.0")].join(","), "", ""),
            Docs::new(&top('b', "quay.io/x:1.0", "1.0"), "", ""),
        ),
    ];
    for (what, before, after) in rows {
        let gone = fixture.paths('a');
        let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
        let got = drop_all_but(&room, &fixture.archive(&before), "example.com/team/app=quay.io/x");
        // Blobs of the third image are nobody's and stay.
        assert_same(what, &got, &fixture.archive(&after).without(&gone).bytes());
    }
}

#[test]
fn shared_blobs_stay() {
    let (fixture, room) = (Fixture::new(), Room::new());
    // The index has `a` as a child.
    let docs = |tops: &[String]| Docs::new(&tops.join(","), "", "");
    let before = fixture.archive(&docs(&[top('i', APP, "1.0"), top('a', TEAM, "1.0")]));
    let got = drop_all_but(&room, &before, "example.com/team/app=quay.io/x");
    let mut gone = fixture.arm.blobs().into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    gone.push(blob_path(&fixture.digest('i')));
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    let after = fixture.archive(&docs(&[top('a', "quay.io/x:1.0", "1.0")])).without(&gone);
    assert_same("the index goes", &got, &after.bytes());

    let got = drop_all_but(&room, &before, "app=quay.io/x");
    let after = fixture.archive(&docs(&[top('i', "quay.io/x:1.0", "1.0")]));
    assert_same("the manifest goes", &got, &after.bytes());
}

/// In `docker24-links` image `one` reaches its first layer through a link into the folder of `two`.
#[test]
fn a_link_into_an_image_that_goes_becomes_a_file() {
    let room = Room::new();
    let made = docker::docker24_links();
    let id = |n: u8| format!("{n:x}").repeat(64);
    let config = |tag: &str| {
        let items: serde_json::Value =
            serde_json::from_slice(made.tar.get("manifest.json")).unwrap();
        let items = items.as_array().unwrap().clone();
        let item = items.into_iter().find(|item| item["RepoTags"][0] == tag).unwrap();
        item["Config"].as_str().unwrap().to_owned()
    };
    let manifest = String::from_utf8(made.tar.get("manifest.json").to_vec()).unwrap();
    let (one, two) = manifest.trim().trim_matches(['[', ']']).split_once("},{").unwrap();
    let (one, two) = (format!("{one}}}"), format!("{{{two}"));
    let folder = |n: u8| {
        let id = id(n);
        [format!("{id}/"), format!("{id}/VERSION"), format!("{id}/json"), format!("{id}/layer.tar")]
    };
    let without = |tar: Tar, gone: &[String]| {
        tar.without(&gone.iter().map(String::as_str).collect::<Vec<_>>())
    };

    let got = drop_all_but(&room, &made.tar, "one:1=example.com/one:2");
    let mut after = made.tar.clone();
    let layer = after.get(&format!("{}/layer.tar", id(3))).to_vec();
    let link = after
        .members
        .iter_mut()
        .find(|member| member.name == format!("{}/layer.tar", id(1)))
        .unwrap();
    (link.kind, link.mode, link.body) = (b'0', 0o644, layer);
    link.link.clear();
    let after = without(after, &[&folder(3)[..], &folder(4), &[config("two:1")]].concat())
        .with("manifest.json", format!("[{}]\n", one.replace("one:1", "example.com/one:2")))
        .with("repositories", format!("{{\"example.com/one\":{{\"2\":\"{}\"}}}}\n", id(2)));
    assert_same("two goes", &got, &after.bytes());

    let got = drop_all_but(&room, &made.tar, "two:1=example.com/two:2");
    let after =
        without(made.tar.clone(), &[&folder(1)[..], &folder(2), &[config("one:1")]].concat())
            .with("manifest.json", format!("[{}]\n", two.replace("two:1", "example.com/two:2")))
            .with("repositories", format!("{{\"example.com/two\":{{\"2\":\"{}\"}}}}\n", id(4)));
    assert_same("one goes", &got, &after.bytes());
}

#[test]
fn referrers_go_with_their_subject() {
    let room = Room::new();
    // The one about the image stays with it, and goes with it.
    let made = oci::referrers();
    let fixture = Fixture::new();
    let more = fixture.a.blobs();
    let mut tar = made.tar.clone();
    let index = String::from_utf8(tar.get("index.json").to_vec()).unwrap();
    let other = fixture.expand(&top('a', APP, "1.0"));
    tar = tar.with("index.json", index.replace("]}", &format!(",{other}]}}")));
    let at = tar.members.iter().position(|member| member.name == "index.json").unwrap();
    let added =
        more.into_iter().fold(Tar::new(), |tar, (path, body)| tar.file(&path, body)).members;
    tar.members.splice(at..at, added);

    let kept = drop_all_but(&room, &tar, "example.com/team/app=quay.io/x");
    let text = |bytes: &[u8]| {
        String::from_utf8(super::support::tarball::read(bytes, "index.json").unwrap()).unwrap()
    };
    assert!(text(&kept).contains("io.containerd.manifest.subject"), "{}", text(&kept));

    let gone = drop_all_but(&room, &tar, "app=quay.io/x");
    assert!(!text(&gone).contains("io.containerd.manifest.subject"), "{}", text(&gone));
    let image = Image::app("referrers");
    let path = format!("blobs/sha256/{}", hex(&image.manifest_digest()));
    assert!(names(&kept).contains(&path) && !names(&gone).contains(&path));
}

#[test]
fn an_image_of_an_old_archive_goes_with_its_folders() {
    let room = Room::new();
    let made = docker::v1_shared();
    let got = drop_all_but(&room, &made.tar, "one:1=quay.io/one:1");
    let id = "2".repeat(64);
    let gone = ["", "VERSION", "json", "layer.tar"].map(|file| format!("{id}/{file}"));
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    let names = format!("{{\"quay.io/one\":{{\"1\":\"{}\"}}}}\n", "1".repeat(64));
    assert_same("two goes", &got, &made.tar.without(&gone).with("repositories", names).bytes());
}

/// What is not needed must not come into the new archive either.
#[test]
fn an_image_of_a_directory_goes_with_its_blobs() {
    let (fixture, room) = (Fixture::new(), Room::new());
    let before = Docs::new(&[top('a', APP, "1.0"), top('b', TEAM, "1.0")].join(","), "", "");
    let folder = room.path("layout");
    tar::Archive::new(&fixture.archive(&before).bytes()[..]).unpack(&folder).unwrap();
    let out = room.path("out.tar");
    ocitar([
        "retag",
        arg(&folder),
        arg(&out),
        "--drop-unmatched",
        "example.com/team/app=quay.io/x",
    ])
    .ok();
    let after = Docs::new(&top('b', "quay.io/x:1.0", "1.0"), "", "");
    let gone = fixture.paths('a');
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    assert_same("directory", &written(&room), &fixture.archive(&after).without(&gone).bytes());
}
