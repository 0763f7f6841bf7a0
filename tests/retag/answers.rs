//! What a run says before and after: places, the ledger, the report.

use std::collections::BTreeSet;
use std::fs;

use ocitar::archive::{Archive, OpenOptions};
use ocitar::edit::{Ledger, NamePlace, Outcome, Places, RenameRules, Rule};
use serde_json::Value;

use super::support::run::{Room, arg, ocitar, ocitar_reading, testdata};
use super::support::{self, image::Image, oci::layout};
use super::{APP, Docs, Fixture, NEW, TEAM, item, retag, top};

/// Every archive of ours that can be edited, by name.
fn archives() -> Vec<(String, Vec<u8>)> {
    let made = support::all().into_iter().map(|made| (made.name.to_owned(), made.tar.bytes()));
    let real = testdata().into_iter().map(|path| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
    });
    made.chain(real).collect()
}

fn open(bytes: &[u8]) -> Option<Archive> {
    OpenOptions::new().open_stream("test", bytes).and_then(Archive::check).ok()
}

/// Renames in memory; `None` where the rules do not fit the archive.
fn renamed(archive: &Archive, rules: &RenameRules) -> Option<Archive> {
    let plan = archive.edit().rename(rules).ok()?.plan().ok()?;
    let mut bytes = Vec::new();
    plan.visit(&mut |chunk| {
        bytes.extend_from_slice(chunk);
        Ok(())
    })
    .unwrap();
    Some(open(&bytes).unwrap())
}

/// The places a dry run names are those the new name is found in afterwards.
#[test]
fn places_are_where_the_new_name_stands() {
    let rules = [
        Rule::parse(NEW),
        Rule::regex("[^/]+/(.*)", "new.example.com/$1"),
        Rule::regex("([^@]*):([^:@]+)", "$1:new-$2"),
        Rule::prefix("docker.io=new.example.com/hub"),
    ];
    let mut compared = 0;
    for (name, bytes) in archives() {
        let Some(archive) = open(&bytes) else { continue };
        for (rule, add) in rules.iter().flat_map(|rule| [(rule, false), (rule, true)]) {
            let rules = RenameRules::new().rule(rule.clone().unwrap()).keep_old(add);
            let Some(after) = renamed(&archive, &rules) else { continue };
            let edit = archive.edit().rename(&rules).unwrap();
            let (changes, places) = (edit.renaming().unwrap().changes(), Places::new(&archive));
            // Several names may have become one: then it stands where any did.
            for change in changes {
                let (Outcome::Rename(new) | Outcome::Add(new)) = &change.outcome else {
                    assert_eq!(places.of(change), [], "{name}");
                    continue;
                };
                let same = changes.iter().filter(|other| other.outcome == change.outcome);
                let said: BTreeSet<NamePlace> = same.flat_map(|change| places.of(change)).collect();
                let found = after.images().iter().flat_map(|image| image.names());
                let found = found.filter(|name| name.reference() == Some(new));
                let found: BTreeSet<NamePlace> =
                    found.flat_map(|name| name.sites()).map(|site| NamePlace::of(*site)).collect();
                if change.image.is_some() {
                    assert_eq!(said, found, "{name}: {new} by {}, add {add}", rules.rules()[0]);
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 200, "{compared}");
}

/// Documents and digests that an archive of ours really holds.
fn digests(archive: &Archive) -> BTreeSet<(&'static str, String)> {
    let mut all = BTreeSet::new();
    for image in archive.images() {
        let digest = image.digest().filter(|digest| archive.index(digest).is_some());
        all.extend(digest.map(|digest| ("index", digest.to_string())));
        for manifest in image.manifests() {
            let own = manifest.descriptor().filter(|_| manifest.is_present());
            all.extend(own.map(|own| ("manifest", own.digest.to_string())));
            let config = manifest.config_entry().and(manifest.config_digest());
            all.extend(config.map(|digest| ("config", digest.to_string())));
        }
    }
    all
}

fn side(ledger: &Ledger, after: bool) -> BTreeSet<(&'static str, String)> {
    let entries = ledger.entries().iter();
    let sides = entries.filter_map(|entry| {
        let digest = if after { entry.after } else { entry.before };
        Some((entry.kind.as_str(), digest?.to_string()))
    });
    sides.collect()
}

#[test]
fn a_retag_leaves_every_digest() {
    let rules = RenameRules::new().rule(Rule::regex("[^/]+/(.*)", "new.example.com/$1").unwrap());
    let mut compared = 0;
    for (name, bytes) in archives() {
        let Some(archive) = open(&bytes) else { continue };
        let Some(after) = renamed(&archive, &rules) else { continue };
        let ledger = archive.edit().rename(&rules).unwrap().ledger();
        assert!(ledger.is_unchanged(), "{name}");
        assert!(digests(&archive).is_subset(&side(&ledger, false)), "{name}");
        assert!(digests(&after).is_subset(&side(&ledger, true)), "{name}");
        assert_eq!(side(&ledger, false), side(&ledger, true), "{name}");
        compared += ledger.entries().len();
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn what_is_dropped_has_no_digest_after() {
    let room = Room::new();
    let (a, b) = (Image::plain("a"), Image::plain("b"));
    let tops = [a.descriptor().named(APP), b.descriptor().named(TEAM)];
    let tar = layout([a.blobs(), b.blobs()].concat(), &tops).bytes();
    let rules = ["app:1.0=registry.example.com/new:v9", "--drop-unmatched", "--json"];
    let said = retag(&room, &tar, &rules).ok().json();
    let entry = |kind: &str, before: String, stays: bool| {
        let after = if stays { Value::from(&*before) } else { Value::Null };
        serde_json::json!({ "kind": kind, "before": before, "after": after, "platform": "linux/amd64" })
    };
    let want = [
        entry("manifest", a.manifest_digest(), true),
        entry("config", a.config_digest(), true),
        entry("manifest", b.manifest_digest(), false),
        entry("config", b.config_digest(), false),
    ];
    assert_eq!(said["ledger"], Value::from(want.to_vec()));
    assert_eq!(said["counts"], serde_json::json!({ "retagged": 1, "unchanged": 0, "dropped": 1 }));
    assert_eq!(said["unmatched"], Value::from(vec![TEAM]));
}

#[test]
fn the_report_is_what_json_prints() {
    let (fixture, room) = (Fixture::new(), Room::new());
    let docs = Docs::new(&top('a', APP, "1.0"), &item('a', &["app:1.0"]), "");
    let tar = fixture.archive(&docs).bytes();
    let input = room.write("in.tar", &tar);
    let (out, report) = (room.path("out.tar"), room.path("report.json"));
    let args = ["retag", arg(&input), arg(&out), NEW, "--report", arg(&report)];
    let printed = ocitar([&args[..], &["--json"]].concat()).ok().json();
    let read = || serde_json::from_slice::<Value>(&fs::read(&report).unwrap()).unwrap();
    assert_eq!(read(), printed);
    assert_eq!(printed["ledger"].as_array().unwrap().len(), 2);

    // It is not written over, nor is anything else then.
    fs::remove_file(&out).unwrap();
    let run = ocitar(args);
    assert_eq!((run.code, run.id()), (2, "E_OUT_EXISTS"), "{}", run.err);
    assert!(!out.exists());
    let run = ocitar([&args[..], &["--force"]].concat()).ok();
    assert!(run.out.is_empty() && run.err.contains("retagged 1, "), "{}", run.err);
    assert_eq!(read(), printed);

    // Where the archive goes to a pipe, this is how to have both.
    fs::remove_file(&report).unwrap();
    let piped = ocitar_reading(&tar, ["retag", "-", "-", NEW, "--report", arg(&report)]).ok();
    assert_eq!(piped.out, fs::read(&out).unwrap());
    assert_eq!(read()["changes"], printed["changes"]);
    assert_eq!(read()["ledger"], printed["ledger"]);

    // A run that fails leaves none, and it cannot be the input or the output.
    fs::remove_file(&report).unwrap();
    let run = ocitar(["retag", arg(&input), arg(&out), "-f", "x:1=y:1", "--report", arg(&report)]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(!report.exists());
    for other in [&input, &out] {
        let run = ocitar(["retag", arg(&input), arg(&out), "-f", NEW, "--report", arg(other)]);
        assert_eq!((run.code, run.id()), (2, "E_OUT_SAME"), "{}", run.err);
    }
    assert_eq!(fs::read(&input).unwrap(), tar);
}
