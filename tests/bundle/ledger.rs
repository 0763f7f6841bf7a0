//! Every digest people pin, before and after; and the names that have one in them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::seen::{Seen, digest};
use super::support::image::Image;
use super::support::oci::{hybrid, layout};
use super::support::run::{Room, Run, arg, ocitar};
use super::{APP, Multi, OTHER, data, exported, merge, run, words};

type Row = (String, Option<String>, Option<String>);

fn rows(document: &Value) -> Vec<Row> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let row = |entry: &Value| {
        (text(&entry["kind"]).unwrap(), text(&entry["before"]), text(&entry["after"]))
    };
    document["ledger"].as_array().unwrap().iter().map(row).collect()
}

fn row(kind: &str, before: &str, after: &str) -> Row {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    (kind.into(), text(before), text(after))
}

/// The rows about an index of two platforms.
fn multi_rows(multi: &Multi, index: &str, kept: &[usize]) -> BTreeSet<Row> {
    let mut rows = BTreeSet::from([row("index", &multi.descriptor().digest, index)]);
    for (at, image) in multi.images.iter().enumerate() {
        for (kind, digest) in
            [("manifest", image.manifest_digest()), ("config", image.config_digest())]
        {
            rows.insert(row(kind, &digest, if kept.contains(&at) { &digest } else { "" }));
        }
    }
    rows
}

#[test]
fn export_and_convert() {
    let room = Room::new();
    let multi = Multi::new("ledger", &["linux/amd64", "linux/arm64"]);
    let input = room.write("in.tar", multi.archive(APP).bytes());
    let old = multi.descriptor().digest;
    let new = super::index(&[multi.images[1].child()]);
    let new = super::support::image::sha256(&new);
    let arm = multi.images[1].manifest_digest();
    let rows_of: [(&str, &str, &str, &[usize]); 6] = [
        ("export", "", &old, &[0, 1]),
        ("export", "--platform arm64", &new, &[1]),
        ("export", "--platform arm64 --index keep", &old, &[1]),
        ("export", "--platform arm64 --index flatten", &arm, &[1]),
        ("convert", "--to hybrid", &old, &[0, 1]),
        ("convert", "--to hybrid --platform arm64", &new, &[1]),
    ];
    for (verb, args, index, kept) in rows_of {
        for dry in [&["--json"][..], &["--json", "--dry-run"]] {
            let run = run(&room, verb, &input, &[&words(args)[..], dry].concat()).ok();
            let found: Vec<Row> = rows(&run.json());
            let set: BTreeSet<Row> = found.iter().cloned().collect();
            assert_eq!(set.len(), found.len(), "{found:?}");
            assert_eq!(set, multi_rows(&multi, index, kept), "{verb} {args}");
        }
    }
    // Docker's format has configurations and nothing else.
    let run = run(&room, "convert", &input, &words("--to docker --platform arm64 --json")).ok();
    let found = rows(&run.json());
    let stays: Vec<&Row> = found.iter().filter(|row| row.2.is_some()).collect();
    let config = multi.images[1].config_digest();
    assert_eq!(stays, [&row("config", &config, &config)]);
    assert_eq!(found.len(), 5);
}

#[test]
fn manifests_that_were_not_there() {
    let room = Room::new();
    let run =
        run(&room, "convert", &data("docker20-three-images"), &["--to", "oci", "--json"]).ok();
    let seen = Seen::at(&room.path("out.tar"));
    let found: BTreeSet<Row> = rows(&run.json()).into_iter().collect();
    let mut want = BTreeSet::new();
    for root in seen.roots() {
        let config = digest(&seen.doc(&root).unwrap()["config"]).to_owned();
        want.insert(row("manifest", "", &root));
        want.insert(row("config", &config, &config));
    }
    assert_eq!(found, want);
    let images = run.json()["images"].clone();
    for image in images.as_array().unwrap() {
        assert_ne!(image["before"], image["after"]);
        assert_eq!(
            image["before"],
            image["shown"].as_str().map_or(image["before"].clone(), Value::from)
        );
    }
}

#[test]
fn merges() {
    let room = Room::new();
    let multi = Multi::new("ledger", &["linux/amd64", "linux/arm64"]);
    let other = Image::app("ledger-other");
    let inputs = [
        room.write("a.tar", multi.archive(APP).bytes()),
        room.write("b.tar", layout(other.blobs(), &[other.descriptor().named(OTHER)]).bytes()),
    ];
    let out = room.path("merged.tar");
    let report = room.path("report.json");
    let run: Run = merge(&out, &inputs, &["--json", "--report", arg(&report)]).ok();
    let mut want = multi_rows(&multi, &multi.descriptor().digest, &[0, 1]);
    for (kind, digest) in [("manifest", other.manifest_digest()), ("config", other.config_digest())]
    {
        want.insert(row(kind, &digest, &digest));
    }
    assert_eq!(rows(&run.json()).into_iter().collect::<BTreeSet<_>>(), want);
    let reported: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(reported, run.json());
    assert_eq!(run.json()["written"]["bytes"], std::fs::metadata(&out).unwrap().len());
}

/// Of a split every part says the digests of its images before and after.
#[test]
fn parts() {
    let room = Room::new();
    let multi = Multi::new("ledger", &["linux/amd64", "linux/arm64"]);
    let input = room.write("in.tar", multi.archive(APP).bytes());
    let run =
        ocitar(["split", arg(&input), arg(&room.path("parts")), "--by", "platform", "--json"]).ok();
    let parts = run.json()["parts"].clone();
    for (at, part) in parts.as_array().unwrap().iter().enumerate() {
        let image = &part["images"][0];
        let new = super::index(&[multi.images[at].child()]);
        assert_eq!(image["before"], multi.descriptor().digest);
        assert_eq!(image["after"], super::support::image::sha256(&new));
    }
}

#[test]
fn digests_for_names() {
    let room = Room::new();
    let multi = Multi::new("names", &["linux/amd64", "linux/arm64"]);
    let tops = [
        multi.descriptor().named(APP),
        multi.descriptor().named("example.com/team/app:latest"),
        multi.descriptor().named(OTHER),
    ];
    let tar = hybrid(
        multi.blobs(),
        &tops,
        &[(&multi.images[0], &[APP, "example.com/team/app:latest", OTHER])],
    );
    let input = room.write("in.tar", tar.bytes());
    for args in ["", "--platform arm64"] {
        let args = [&["--digest-names"][..], &words(args)].concat();
        let seen = exported(&room, "export", &input, &args);
        seen.assert_sound();
        let root = seen.named(APP).unwrap();
        let mut want = vec![APP.to_owned(), "example.com/team/app:latest".into(), OTHER.into()];
        want.extend(["app", "other"].map(|name| format!("example.com/team/{name}@{root}")));
        want.sort();
        assert_eq!(seen.oci_names(), want);
        let said = run(&room, "export", &input, &[&args[..], &["--json"]].concat()).ok().json();
        assert_eq!(said["images"][0]["names"], serde_json::json!(want));
        assert_eq!(seen.tags().len(), 3, "the docker view has no place for them");
        super::assert_verified(&room.path("out.tar"), true);
        // They are names of the archive from now on.
        let again = room.write("again.tar", seen.bytes());
        assert_eq!(exported(&room, "export", &again, &["--digest-names"]).oci_names(), want);
    }
    let refused =
        run(&room, "convert", &input, &words("--to docker --digest-names --platform arm64"));
    assert_eq!((refused.code, refused.id()), (2, "E_USAGE"), "{}", refused.err);
}

#[test]
fn a_digest_in_a_name_changes_with_the_index() {
    let room = Room::new();
    let multi = Multi::new("pinned", &["linux/amd64", "linux/arm64"]);
    let old = multi.descriptor().digest;
    let pinned = |digest: &str| format!("example.com/team/app@{digest}");
    let tops = [multi.descriptor().named(APP), multi.descriptor().named(&pinned(&old))];
    let input = room.write("in.tar", layout(multi.blobs(), &tops).bytes());
    for args in
        ["--platform arm64", "--platform arm64 --index flatten", "--platform arm64 --index keep"]
    {
        let run = run(&room, "export", &input, &[&words(args)[..], &["--json"]].concat()).ok();
        let seen = Seen::at(&room.path("out.tar"));
        let root = seen.named(APP).unwrap();
        assert_eq!(seen.named(&pinned(&root)), Some(root.clone()), "{args}");
        assert_eq!(seen.oci_names().len(), 2);
        let renamed = run.json()["renamed"].clone();
        if args.contains("keep") {
            assert_eq!(renamed, serde_json::json!([]));
            continue;
        }
        assert_eq!(renamed, serde_json::json!([{ "old": pinned(&old), "new": pinned(&root) }]));
        let text = String::from_utf8_lossy(&seen.files["index.json"]).into_owned();
        assert!(!text.contains(&old), "{text}");
        super::assert_verified(&room.path("out.tar"), true);
    }
}

/// One descriptor with two names, one of which has the digest.
#[test]
fn a_digest_in_the_second_name_of_a_descriptor() {
    let room = Room::new();
    let multi = Multi::new("both", &["linux/amd64", "linux/arm64"]);
    let old = multi.descriptor().digest;
    let top = multi
        .descriptor()
        .annotation(super::support::image::IMAGE_NAME, APP)
        .annotation(super::support::image::REF_NAME, &format!("example.com/team/app@{old}"));
    let input = room.write("in.tar", layout(multi.blobs(), &[top]).bytes());
    let seen = exported(&room, "export", &input, &words("--platform arm64"));
    let text = String::from_utf8_lossy(&seen.files["index.json"]).into_owned();
    assert!(!text.contains(&old), "{text}");
    super::assert_verified(&room.path("out.tar"), true);
}

/// Each part says what became of the digests in it, and all of them together what is in none.
#[test]
fn digests_of_parts() {
    let room = Room::new();
    let multi = Multi::new("parted", &["linux/amd64", "linux/arm64"]);
    let input = room.write("in.tar", multi.archive(APP).bytes());
    let out = room.path("parts");
    let args = ["split", arg(&input), arg(&out), "--by", "platform", "--json"];
    let said = ocitar(args).ok().json();
    let file: Value =
        serde_json::from_slice(&std::fs::read(out.join("parts.json")).unwrap()).unwrap();
    assert_eq!(said, file);
    let old = multi.descriptor().digest;
    for (part, kept) in said["parts"].as_array().unwrap().iter().zip([0, 1]) {
        let seen = Seen::at(&out.join(part["file"].as_str().unwrap()));
        let new = seen.named(APP).unwrap();
        assert_ne!(new, old);
        let mut want = multi_rows(&multi, &new, &[kept]);
        want.retain(|(_, _, after)| after.is_some());
        assert_eq!(rows(part).into_iter().collect::<BTreeSet<Row>>(), want, "{kept}");
        assert_eq!(part["images"][0]["before"], old);
        assert_eq!(part["images"][0]["after"], new);
    }
    assert_eq!(said["left_out"]["blobs"], 1, "the old index");
    for key in ["dropped", "broken"] {
        assert_eq!(said[key].as_array().unwrap().len(), 0);
    }
}
