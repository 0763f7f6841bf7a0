//! What becomes of the four places of a name, by format and by rule: new bytes where they were asked for, old bytes
//! everywhere else.

use super::support::run::{Room, arg};
use super::{APP, Docs, Fixture, NEW, TEAM, assert_same, item, retag, top, written};

struct Row {
    what: &'static str,
    before: Docs,
    rules: &'static [&'static str],
    after: Docs,
}

fn row(what: &'static str, before: Docs, rules: &'static [&'static str], after: Docs) -> Row {
    Row { what, before, rules, after }
}

/// Every row ends with exactly the archive that has the documents of `after`; nothing but documents changes.
fn check(rows: Vec<Row>) {
    let fixture = Fixture::new();
    let room = Room::new();
    for row in rows {
        let before = fixture.archive(&row.before);
        let rules: Vec<String> = row.rules.iter().map(|rule| fixture.expand(rule)).collect();
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let run = retag(&room, &before.bytes(), &rules);
        assert_eq!(run.code, 0, "{}: {}", row.what, run.err);
        assert_same(row.what, &written(&room), &fixture.archive(&row.after).bytes());
    }
}

fn oci(tops: &[String]) -> Docs {
    Docs::new(&tops.join(","), "", "")
}

fn docker(items: &[String], repositories: &str) -> Docs {
    Docs::new("", &items.join(","), repositories)
}

#[test]
fn new_names_the_one_image_of_an_oci_archive() {
    let new = || oci(&[top('a', NEW, "v9")]);
    let rules: &[&str] = &[NEW];
    check(vec![
        row("named", oci(&[top('a', APP, "1.0")]), rules, new()),
        row("unnamed", oci(&[top('a', "", "")]), rules, new()),
        row("an index", oci(&[top('i', APP, "1.0")]), rules, oci(&[top('i', NEW, "v9")])),
        row("two names become one", oci(&[top('a', APP, "1.0"), top('a', TEAM, "1.0")]), rules, new()),
        row("named and unnamed", oci(&[top('a', "", ""), top('a', TEAM, "1.0")]), rules, new()),
        row("containerd's name alone", oci(&[top('a', APP, "")]), rules, oci(&[top('a', NEW, "")])),
        row("the same name", oci(&[top('a', NEW, "v9")]), rules, new()),
        row("a familiar new name", oci(&[top('a', NEW, "v9")]), &["app:1.0"], oci(&[top('a', APP, "1.0")])),
        row("no tag", oci(&[top('a', NEW, "v9")]), &["app"], oci(&[top('a', "docker.io/library/app:latest", "latest")])),
        row(
            "a tag that is all there is: containerd's name is added",
            oci(&[top('a', "", "1.0")]),
            rules,
            oci(&[format!("{{@a,\"annotations\":{{\"@R\":\"v9\",\"@N\":\"{NEW}\"}}}}")]),
        ),
        row(
            "a full name in ref.name stays one",
            oci(&[top('a', "", TEAM)]),
            rules,
            oci(&[format!("{{@a,\"annotations\":{{\"@R\":\"{NEW}\",\"@N\":\"{NEW}\"}}}}")]),
        ),
        row(
            "a full name that ref.name may not hold",
            oci(&[top('a', "", TEAM)]),
            &["example.com/foo__bar:1"],
            oci(&["{@a,\"annotations\":{\"@R\":\"1\",\"@N\":\"example.com/foo__bar:1\"}}".to_owned()]),
        ),
        row(
            "annotations are null",
            oci(&["{@a,\"annotations\":null}".to_owned()]),
            rules,
            new(),
        ),
        row(
            "annotations are empty",
            oci(&["{@a,\"annotations\":{}}".to_owned()]),
            rules,
            new(),
        ),
        row(
            "layout, order and other annotations stay",
            oci(&["\n  { @a , \"annotations\" : { \"z\" : \"\\u0041\", \"@R\": \"1.0\" ,\"a\":\"<b>\"} , \"x\": [ 1e2 ] }\n".to_owned()]),
            rules,
            oci(&[format!("\n  {{ @a , \"annotations\" : {{ \"z\" : \"\\u0041\", \"@R\": \"v9\" ,\"a\":\"<b>\",\"@N\":\"{NEW}\"}} , \"x\": [ 1e2 ] }}\n")]),
        ),
        row(
            "where it came from is no name",
            oci(&["{@a,\"annotations\":{\"containerd.io/distribution.source.docker.io\":\"library/app\",\"@N\":\"docker.io/library/app:1.0\",\"@R\":\"1.0\"},\"platform\":{\"architecture\":\"amd64\",\"os\":\"linux\"}}".to_owned()]),
            rules,
            oci(&[format!("{{@a,\"annotations\":{{\"containerd.io/distribution.source.docker.io\":\"library/app\",\"@N\":\"{NEW}\",\"@R\":\"v9\"}},\"platform\":{{\"architecture\":\"amd64\",\"os\":\"linux\"}}}}")]),
        ),
    ]);
}

#[test]
fn new_names_the_one_image_of_a_docker_archive() {
    let named = |tags: &str| docker(&[format!("{{@ca,\"RepoTags\":{tags},@la}}")], "");
    let rules: &[&str] = &[NEW];
    let new = || docker(&[item('a', &[NEW])], "");
    check(vec![
        row("named", docker(&[item('a', &["app:1.0"])], ""), rules, new()),
        row("two names become one", docker(&[item('a', &["app:1.0", TEAM])], ""), rules, new()),
        row("null", named("null"), rules, new()),
        row("empty", named("[]"), rules, new()),
        row("docker's no name", named("[\"<none>:<none>\"]"), rules, new()),
        row(
            "no field",
            docker(&["{@ca,@la}".to_owned()], ""),
            rules,
            docker(&[format!("{{@ca,@la,\"RepoTags\":[\"{NEW}\"]}}")], ""),
        ),
        row(
            "keys in another case",
            docker(&[item('a', &["app:1.0"]).replace("RepoTags", "repotags")], ""),
            rules,
            docker(&[item('a', &[NEW]).replace("RepoTags", "repotags")], ""),
        ),
        row(
            "items of one configuration: the first keeps the name",
            docker(&[item('a', &["app:1.0"]), item('a', &[TEAM])], ""),
            rules,
            docker(&[item('a', &[NEW]), item('a', &[])], ""),
        ),
        row(
            "repositories follow",
            docker(&[item('a', &["app:1.0", "app:2.0"])], "\"app\":{\"1.0\":\"@ta\",\"2.0\":\"@ta\"}"),
            rules,
            docker(&[item('a', &[NEW])], "\"registry.example.com/new\":{\"v9\":\"@ta\"}"),
        ),
        row(
            "repositories get the name of an image without one",
            docker(&["{@ca,\"RepoTags\":null,@la}".to_owned()], " "),
            rules,
            docker(&[item('a', &[NEW])], "\"registry.example.com/new\":{\"v9\":\"@ta\"}"),
        ),
        row(
            "what only repositories names goes",
            docker(&[item('a', &["app:1.0"])], "\"app\":{\"1.0\":\"@ta\"},\"old\":{\"0\":\"@ta\"}"),
            rules,
            docker(&[item('a', &[NEW])], "\"registry.example.com/new\":{\"v9\":\"@ta\"}"),
        ),
        row(
            "Parent and LayerSources stay",
            docker(&["{@ca,\"RepoTags\":[\"app:1.0\"],\"Parent\":\"@da\",\"LayerSources\":{\"@db\":{\"size\":1}},@la}".to_owned()], ""),
            rules,
            docker(&[format!("{{@ca,\"RepoTags\":[\"{NEW}\"],\"Parent\":\"@da\",\"LayerSources\":{{\"@db\":{{\"size\":1}}}},@la}}")], ""),
        ),
    ]);
}

#[test]
fn both_views_of_a_hybrid_change_together() {
    let hybrid = |tops: &[String], items: &[String], more: &str| {
        Docs::new(&tops.join(","), &items.join(","), more)
    };
    let new = || hybrid(&[top('a', NEW, "v9")], &[item('a', &[NEW])], "");
    check(vec![
        row(
            "named",
            hybrid(&[top('a', APP, "1.0")], &[item('a', &["app:1.0"])], ""),
            &[NEW],
            new(),
        ),
        row("unnamed", hybrid(&[top('a', "", "")], &[item('a', &[])], ""), &[NEW], new()),
        row(
            "named in the docker view alone",
            hybrid(&[top('a', "", "")], &[item('a', &["app:1.0"])], ""),
            &[NEW],
            new(),
        ),
        row(
            "named in the OCI view alone",
            hybrid(&[top('a', APP, "1.0")], &[item('a', &[])], ""),
            &[NEW],
            new(),
        ),
        row(
            "a tag that is the tag of the docker name",
            hybrid(&[top('a', "", "1.0")], &[item('a', &["app:1.0"])], ""),
            &["app:1.0=registry.example.com/new:v9"],
            hybrid(
                &[format!("{{@a,\"annotations\":{{\"@R\":\"v9\",\"@N\":\"{NEW}\"}}}}")],
                &[item('a', &[NEW])],
                "",
            ),
        ),
        row(
            "all four sites",
            hybrid(
                &[top('a', APP, "1.0")],
                &[item('a', &["app:1.0"])],
                "\"app\":{\"1.0\":\"@ta\"}",
            ),
            &[NEW],
            hybrid(
                &[top('a', NEW, "v9")],
                &[item('a', &[NEW])],
                "\"registry.example.com/new\":{\"v9\":\"@ta\"}",
            ),
        ),
        row(
            "the names of one image change, the spelling of the other stays",
            hybrid(
                &[top('a', APP, "1.0"), top('b', "docker.io/library/b:1", "1")],
                &[item('a', &["app:1.0"]), item('b', &["b:1"])],
                "\"app\":{\"1.0\":\"@ta\"},\"b\":{\"1\":\"@tb\"}",
            ),
            &["app:1.0=registry.example.com/new:v9"],
            hybrid(
                &[top('a', NEW, "v9"), top('b', "docker.io/library/b:1", "1")],
                &[item('a', &[NEW]), item('b', &["b:1"])],
                "\"registry.example.com/new\":{\"v9\":\"@ta\"},\"b\":{\"1\":\"@tb\"}",
            ),
        ),
        row(
            "add: both names everywhere",
            hybrid(
                &[top('a', APP, "1.0")],
                &[item('a', &["app:1.0"])],
                "\"app\":{\"1.0\":\"@ta\"}",
            ),
            &["--add", NEW],
            hybrid(
                &[top('a', APP, "1.0"), top('a', NEW, "v9")],
                &[item('a', &["app:1.0", NEW])],
                "\"app\":{\"1.0\":\"@ta\"},\"registry.example.com/new\":{\"v9\":\"@ta\"}",
            ),
        ),
        row(
            "add to an image without a name",
            hybrid(&[top('a', "", "")], &[item('a', &[])], ""),
            &["--add", NEW],
            new(),
        ),
    ]);
}

#[test]
fn rules_choose_the_names() {
    let two = || oci(&[top('a', APP, "1.0"), top('b', TEAM, "1.0")]);
    let first = |name: &str, tag: &str| oci(&[top('a', name, tag), top('b', TEAM, "1.0")]);
    let mirror = "registry.example.com/mirror";
    check(vec![
        row("exact", two(), &["app:1.0=b:2"], first("docker.io/library/b:2", "2")),
        row(
            "exact, in full",
            two(),
            &["docker.io/library/app:1.0=b:2"],
            first("docker.io/library/b:2", "2"),
        ),
        row("a repository", two(), &["app=b/c"], first("docker.io/b/c:1.0", "1.0")),
        row(
            "every tag of a repository",
            oci(&[top('a', APP, "1.0"), top('b', "docker.io/library/app:2", "2")]),
            &["app=quay.io/x"],
            oci(&[top('a', "quay.io/x:1.0", "1.0"), top('b', "quay.io/x:2", "2")]),
        ),
        row(
            "prefix",
            two(),
            &["--prefix", "docker.io/library=registry.example.com/mirror"],
            first(&format!("{mirror}/app:1.0"), "1.0"),
        ),
        row(
            "prefix, a host",
            two(),
            &["--prefix", "docker.io=registry.example.com/mirror"],
            first(&format!("{mirror}/library/app:1.0"), "1.0"),
        ),
        row(
            "regex",
            two(),
            &["--regex", "docker\\.io/library/(.*):(.*)", "registry.example.com/mirror/$1:v$2"],
            first(&format!("{mirror}/app:v1.0"), "v1.0"),
        ),
        row(
            "the first rule that matches: prefix before exact",
            two(),
            &["--prefix", "docker.io/library=quay.io/p", "--allow-unmatched", "app:1.0=b:2"],
            first("quay.io/p/app:1.0", "1.0"),
        ),
        row(
            "the first rule that matches: exact before prefix",
            two(),
            &["app:1.0=b:2", "--prefix", "docker.io/library=quay.io/p"],
            first("docker.io/library/b:2", "2"),
        ),
        row("rules that match nothing, allowed", two(), &["--allow-unmatched", "x:1=y:1"], two()),
        row("a rule that changes nothing", two(), &["app:1.0=docker.io/library/app:1.0"], two()),
        row(
            "add",
            two(),
            &["--add", "app:1.0=b:2"],
            oci(&[
                top('a', APP, "1.0"),
                top('a', "docker.io/library/b:2", "2"),
                top('b', TEAM, "1.0"),
            ]),
        ),
        row(
            "two names become one: one descriptor",
            oci(&[top('a', APP, "1.0"), top('a', TEAM, "1.0")]),
            &["app:1.0=example.com/team/app:1.0"],
            oci(&[top('a', TEAM, "1.0")]),
        ),
        row(
            "two names become one, tags",
            docker(
                &[item('a', &["app:1.0", TEAM])],
                "\"app\":{\"1.0\":\"@ta\"},\"example.com/team/app\":{\"1.0\":\"@ta\"}",
            ),
            &["app:1.0=example.com/team/app:1.0"],
            docker(&[item('a', &[TEAM])], "\"example.com/team/app\":{\"1.0\":\"@ta\"}"),
        ),
        row(
            "names that no rule matches go, their image stays for its other name",
            oci(&[top('a', APP, "1.0"), top('a', TEAM, "1.0")]),
            &["--drop-unmatched", "app:1.0=b:2"],
            oci(&[top('a', "docker.io/library/b:2", "2")]),
        ),
        row(
            "a digest that is the image's",
            oci(&[top('a', APP, "1.0")]),
            &["app:1.0=example.com/app@@da"],
            oci(&[top('a', "example.com/app@@da", "example.com/app@@da")]),
        ),
        row(
            "a name with a digest keeps it under a prefix",
            oci(&[top('a', "docker.io/library/app@@da", "docker.io/library/app@@da")]),
            &["--prefix", "docker.io/library=quay.io/p"],
            oci(&[top('a', "quay.io/p/app@@da", "quay.io/p/app@@da")]),
        ),
        row(
            "swapped",
            two(),
            &["app:1.0=example.com/team/app:1.0", "example.com/team/app:1.0=app:1.0"],
            oci(&[top('a', TEAM, "1.0"), top('b', APP, "1.0")]),
        ),
        row(
            "a name that is no reference stays",
            oci(&[top('a', "example.com/UPPER:1", "1"), top('b', TEAM, "1.0")]),
            &["example.com/team/app=b"],
            oci(&[
                top('a', "example.com/UPPER:1", "1"),
                top('b', "docker.io/library/b:1.0", "1.0"),
            ]),
        ),
    ]);
}

/// `repositories` may name what no other document does; classic docker ignores it beside `manifest.json`.
#[test]
fn names_that_only_repositories_has() {
    let both = |text: &str| docker(&[item('a', &["app:1.0"])], text);
    check(vec![
        row(
            "renamed",
            both("\"app\":{\"1.0\":\"@ta\"},\"old\":{\"0\":\"@ta\"}"),
            &["old:0=quay.io/o:1"],
            both("\"app\":{\"1.0\":\"@ta\"},\"quay.io/o\":{\"1\":\"@ta\"}"),
        ),
        row(
            "dropped",
            both("\"old\":{\"0\":\"@ta\"},\"app\":{\"1.0\":\"@ta\"}"),
            // A rule that gives a name itself writes it in full.
            &["--drop-unmatched", "app:1.0=app:1.0"],
            docker(
                &[item('a', &["docker.io/library/app:1.0"])],
                "\"docker.io/library/app\":{\"1.0\":\"@ta\"}",
            ),
        ),
        row(
            "added",
            both("\"old\":{\"0\":\"@ta\"},\"app\":{\"1.0\":\"@ta\"}"),
            &["--add", "old:0=quay.io/o:1"],
            both("\"old\":{\"0\":\"@ta\"},\"quay.io/o\":{\"1\":\"@ta\"},\"app\":{\"1.0\":\"@ta\"}"),
        ),
    ]);
}

#[test]
fn an_image_that_takes_a_name_only_repositories_has() {
    let docs = |name: &str, text: &str| docker(&[item('a', &[name])], text);
    check(vec![row(
        "what manifest.json says counts",
        docs("app:1.0", "\"b\":{\"1\":\"@tb\"},\"app\":{\"1.0\":\"@ta\"}"),
        &["app:1.0=docker.io/library/b:1"],
        docs("docker.io/library/b:1", "\"docker.io/library/b\":{\"1\":\"@ta\"}"),
    )]);
}

#[test]
fn rules_come_from_files() {
    let (fixture, room) = (Fixture::new(), Room::new());
    let map =
        room.write("map", "# names\napp:1.0 b:2 # ours\n\n  example.com/team/app\tquay.io/t\n");
    let before = fixture.archive(&oci(&[top('a', APP, "1.0"), top('b', TEAM, "1.0")]));
    let after = fixture
        .archive(&oci(&[top('a', "docker.io/library/b:2", "2"), top('b', "quay.io/t:1.0", "1.0")]));
    retag(&room, &before.bytes(), &["--map", arg(&map)]).ok();
    assert_same("map", &written(&room), &after.bytes());
}

#[test]
fn signatures_follow_their_image() {
    let tag = |name: &str, kind: &str| format!("{name}:@da{kind}").replace("sha256:", "sha256-");
    let fixture = Fixture::new();
    let sign = |name: &str, kind: &str| {
        let full = fixture.expand(&tag(name, kind)).replace(":sha256:", ":sha256-");
        let (_, tag) = full.rsplit_once(':').unwrap();
        top('b', &full, tag)
    };
    let rows =
        [("app:1.0=quay.io/x:2", "quay.io/x:2", "2"), ("app=quay.io/x", "quay.io/x:1.0", "1.0")];
    let room = Room::new();
    for kind in [".sig", ".att", ".sbom", ""] {
        for (rule, name, new_tag) in rows {
            let before =
                fixture.archive(&oci(&[top('a', APP, "1.0"), sign("docker.io/library/app", kind)]));
            let after = fixture.archive(&oci(&[top('a', name, new_tag), sign("quay.io/x", kind)]));
            retag(&room, &before.bytes(), &[rule]).ok();
            assert_same(&format!("{rule} {kind}"), &written(&room), &after.bytes());
            // What stays beside the new name keeps its signature.
            let after = fixture.archive(&oci(&[
                top('a', APP, "1.0"),
                top('a', name, new_tag),
                sign("docker.io/library/app", kind),
                sign("quay.io/x", kind),
            ]));
            retag(&room, &before.bytes(), &["--add", rule]).ok();
            assert_same(&format!("--add {rule} {kind}"), &written(&room), &after.bytes());
            // Nor does it change where the repository does not.
            let after = fixture.archive(&oci(&[
                top('a', "docker.io/library/app:3", "3"),
                sign("docker.io/library/app", kind),
            ]));
            retag(&room, &before.bytes(), &["--drop-unmatched", "app:1.0=app:3"]).ok();
            assert_same(&format!("app:3 {kind}"), &written(&room), &after.bytes());
            // Nor is it dropped as a name no rule matches.
            let after = fixture.archive(&oci(&[top('a', name, new_tag), sign("quay.io/x", kind)]));
            retag(&room, &before.bytes(), &["--drop-unmatched", rule]).ok();
            assert_same(&format!("--drop {rule} {kind}"), &written(&room), &after.bytes());
        }
    }
}

#[test]
fn v1_archives_have_their_names_in_repositories() {
    let room = Room::new();
    let (one, two) = (super::support::docker::v1(), super::support::docker::v1_shared());
    let id = |digit: &str| digit.repeat(64);
    let rows = [
        (
            &one,
            &[NEW][..],
            format!("{{\"registry.example.com/new\":{{\"v9\":\"{}\"}}}}\n", id("1")),
        ),
        (
            &one,
            &["app:latest=quay.io/a:2"],
            format!("{{\"app\":{{\"1.0\":\"{0}\"}},\"quay.io/a\":{{\"2\":\"{0}\"}}}}\n", id("1")),
        ),
        (
            &one,
            &["--drop-unmatched", "app:1.0=b:1"],
            format!("{{\"docker.io/library/b\":{{\"1\":\"{}\"}}}}\n", id("1")),
        ),
        (
            &two,
            &["--prefix", "localhost:5000=quay.io"],
            format!(
                "{{\"quay.io/two\":{{\"2\":\"{}\"}},\"one\":{{\"1\":\"{}\"}}}}\n",
                id("2"),
                id("1")
            ),
        ),
    ];
    for (made, rules, want) in rows {
        retag(&room, &made.tar.bytes(), rules).ok();
        let after = made.tar.clone().with("repositories", &want);
        assert_same(&format!("{rules:?}"), &written(&room), &after.bytes());
    }
}
