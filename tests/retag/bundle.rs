//! Five hundred images, one prefix rule and twenty exact ones.

use std::collections::BTreeSet;

use serde_json::Value;

use super::support::bundle::{self, COUNT, EXACT};
use super::support::run::{Room, arg, ocitar};
use super::{retag, written};

#[test]
fn five_hundred_images() {
    let room = Room::new();
    let tar = bundle::archive();
    let names = bundle::names();
    let rules = bundle::rules();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let input = room.write("in.tar", &tar);

    // The table has a row for each name, and writes nothing.
    let out = room.path("out.tar");
    let dry = ocitar([&["retag", "-n", arg(&input), arg(&out)], &rules[..]].concat()).ok();
    let table = dry.text();
    let rows: BTreeSet<(&str, &str)> = table
        .lines()
        .skip(1)
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap(), words.next().unwrap())
        })
        .collect();
    let want: BTreeSet<(&str, &str)> = names.iter().map(|name| (&*name.old, &*name.new)).collect();
    assert_eq!(rows, want);
    assert!(table.starts_with("OLD "), "{table}");
    assert!(!table.contains("UNMATCHED"), "{table}");
    let exact = table.lines().filter(|line| !line.contains(" --prefix ")).count();
    assert_eq!(exact, EXACT + 1);
    assert!(dry.err.contains("would retag 500, leave 0 unchanged, drop 0, write "), "{}", dry.err);
    assert_eq!(room.list(), ["in.tar"]);

    // The run does what the table says, and no digest changes.
    let run = retag(&room, &tar, &[&rules[..], &["--json"]].concat()).ok();
    let said = run.json();
    assert_eq!(said["counts"]["retagged"], COUNT);
    assert_eq!(said["unmatched"], Value::Array(Vec::new()));
    let ledger = said["ledger"].as_array().unwrap();
    assert_eq!(ledger.len(), 2 * COUNT, "a manifest and a configuration for each image");
    assert!(ledger.iter().all(|entry| entry["before"] == entry["after"]));
    assert_eq!(written(&room).len() as u64, said["written"]["bytes"].as_u64().unwrap());
    ocitar(["verify", "-q", arg(&out)]).ok();

    // The names, in both views, and with the image that had the old one.
    let list = |path| ocitar(["ls", "--json", arg(path)]).ok().json()["archives"][0].take();
    let (before, after) = (list(&input), list(&out));
    let pairs =
        before["images"].as_array().unwrap().iter().zip(after["images"].as_array().unwrap());
    let mut seen = 0;
    for ((old, new), name) in pairs.zip(&names) {
        assert_eq!(old["names"][0], *name.old);
        assert_eq!(new["names"], Value::from(vec![&*name.new]));
        assert_eq!(old["digest"], new["digest"]);
        seen += 1;
    }
    assert_eq!(seen, COUNT);
    let read = |file| super::support::tarball::read(&written(&room), file).unwrap();
    for file in ["index.json", "manifest.json"] {
        let text = String::from_utf8(read(file)).unwrap();
        assert!(!text.contains("kubeguide") && !text.contains("quay.io"), "{file}");
    }
}
