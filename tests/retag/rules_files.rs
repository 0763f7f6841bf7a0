//! Rules from files: the names an archive ends with, and what is refused.

use super::support::image::Image;
use super::support::oci::layout;
use super::support::run::{Room, arg, ocitar};
use super::{retag, written};

const REGISTRIES: &str = r#"mirrors:
  docker.io:
    endpoint: ["https://reg.example.com:5000/v2/hub", "https://other.example.com"]
    rewrite:
      "^rancher/(.*)": "mirrored/$1"
  registry.k8s.io:
    endpoint: ["http://reg.example.com:5000/v2/k8s"]
"#;
const PLAIN: &str = "mirrors:
  docker.io: {endpoint: ['https://reg.example.com:5000/v2/hub']}
  registry.k8s.io: {endpoint: ['http://reg.example.com:5000/v2/k8s']}
";
const HOSTS: &str = "server = \"https://registry-1.docker.io\"
[host.\"https://cache.example.com\"]
  capabilities = [\"pull\", \"resolve\"]
";
const NAMES: [&str; 4] = [
    "docker.io/library/nginx:1.27",
    "docker.io/rancher/coredns:1.6",
    "registry.k8s.io/pause:3.10",
    "quay.io/team/app:2",
];

/// An archive with images of these names.
fn archive(names: &[&str]) -> Vec<u8> {
    let images: Vec<Image> =
        names.iter().map(|name| Image::plain(&name.replace('/', "-"))).collect();
    let tops: Vec<_> =
        images.iter().zip(names).map(|(image, name)| image.descriptor().named(name)).collect();
    layout(images.iter().flat_map(Image::blobs).collect(), &tops).bytes()
}

fn names(room: &Room) -> Vec<String> {
    let listed = ocitar(["ls", "-q", arg(&room.path("out.tar"))]).ok().text();
    listed.lines().map(ToOwned::to_owned).collect()
}

/// The names with some of them replaced.
fn with(changed: &[(usize, &str)]) -> Vec<String> {
    let mut names: Vec<String> = NAMES.iter().map(|&name| name.to_owned()).collect();
    for (at, name) in changed {
        names[*at] = (*name).to_owned();
    }
    names
}

fn room() -> Room {
    let room = Room::new();
    room.write("registries.yaml", REGISTRIES);
    room.write("plain.yaml", PLAIN);
    room.write("certs.d/docker.io/hosts.toml", HOSTS);
    room.write("names.txt", "quay.io/team/app:2 r.io/team:3 # the app\n");
    room
}

#[test]
fn names_as_files_say() {
    let room = room();
    let tar = archive(&NAMES);
    let path = |name: &str| arg(&room.path(name)).to_owned();
    let (registries, plain, certs) = (path("registries.yaml"), path("plain.yaml"), path("certs.d"));
    let hub = "reg.example.com:5000/hub";
    let hub = [format!("{hub}/library/nginx:1.27"), format!("{hub}/rancher/coredns:1.6")];
    let mirrored = "reg.example.com:5000/hub/mirrored/coredns:1.6";
    let pause = "reg.example.com:5000/k8s/pause:3.10";
    let cached = ["cache.example.com/library/nginx:1.27", "cache.example.com/rancher/coredns:1.6"];
    let rows: [(&str, &[&str], Vec<String>); 4] = [
        (
            "registries.yaml with a rewrite",
            &["--registries", &registries],
            with(&[(0, &hub[0]), (1, mirrored), (2, pause)]),
        ),
        (
            "registries.yaml without",
            &["--registries", &plain],
            with(&[(0, &hub[0]), (1, &hub[1]), (2, pause)]),
        ),
        ("certs.d", &["--hosts-dir", &certs], with(&[(0, cached[0]), (1, cached[1])])),
        (
            "the first match wins, whichever option gave it",
            &["--hosts-dir", &certs, "--registries", &plain, "--prefix", "docker.io=r.io"],
            with(&[(0, cached[0]), (1, cached[1]), (2, pause)]),
        ),
    ];
    for (what, rules, want) in rows {
        retag(&room, &tar, rules).ok();
        assert_eq!(names(&room), want, "{what}");
    }
}

/// What went to the mirror and back is what it was, byte for byte.
#[test]
fn there_and_back() {
    let room = room();
    let tar = archive(&NAMES);
    let plain = arg(&room.path("plain.yaml")).to_owned();
    let certs = arg(&room.path("certs.d")).to_owned();
    for rules in [["--registries", &plain], ["--hosts-dir", &certs]] {
        retag(&room, &tar, &rules).ok();
        let there = written(&room);
        assert_ne!(there, tar);
        retag(&room, &there, &[&rules[..], &["--reverse"]].concat()).ok();
        super::assert_same(rules[0], &written(&room), &tar);
    }
}

#[test]
fn a_file_of_our_own() {
    let room = room();
    let tar = archive(&NAMES);
    let rules = room.write(
        "team/rules.toml",
        "# Read from anywhere: paths are the file's.
strict = false
[[rule]]
old = \"nginx:1.27\"
new = \"r.io/web:1\"
[[rule]]
map = \"../names.txt\"
[[rule]]
registries = \"../plain.yaml\"
[[rule]]
old = \"absent:1\"
new = \"r.io/absent:1\"
",
    );
    let rules = arg(&rules);
    let run = retag(&room, &tar, &["--rules", rules, "--json"]).ok();
    let hub = "reg.example.com:5000/hub/rancher/coredns:1.6";
    let pause = "reg.example.com:5000/k8s/pause:3.10";
    let want = with(&[(0, "r.io/web:1"), (1, hub), (2, pause), (3, "r.io/team:3")]);
    assert_eq!(names(&room), want);
    // Each change says which rule of which file it comes from.
    let said = run.json();
    let rule = |at: usize| said["changes"][at]["rule"].as_str().unwrap().to_owned();
    let folder = arg(&room.path("team")).to_owned();
    assert_eq!(rule(0), format!("docker.io/library/nginx:1.27=r.io/web:1 ({folder}/rules.toml:3)"));
    assert!(rule(1).ends_with("/../plain.yaml:2)"), "{}", rule(1));
    assert!(rule(3).ends_with("/../names.txt:1)"), "{}", rule(3));

    // Strict, the rule for what is absent is an error, which says where it is.
    let text = std::fs::read_to_string(rules).unwrap();
    let strict = room.write("team/strict.toml", text.replace("strict = false", "strict = true"));
    let run = retag(&room, &tar, &["--rules", arg(&strict)]);
    assert_eq!((run.code, run.id()), (1, "E_RULE_UNMATCHED"), "{}", run.err);
    assert!(run.err.contains("strict.toml:10)"), "{}", run.err);
    assert!(!room.path("out.tar").exists());

    // What becomes of old and unmatched names, also when it comes from a pipe.
    let settings = "add = true\n[[rule]]\nold = 'nginx'\nnew = 'r.io/web'\n";
    let add = room.write("add.toml", settings);
    retag(&room, &tar, &["--rules", arg(&add)]).ok();
    assert_eq!(names(&room).len(), 5);
    let drop = room.write("drop.toml", settings.replace("add", "drop-unmatched"));
    retag(&room, &tar, &["--rules", arg(&drop)]).ok();
    assert_eq!(names(&room), ["r.io/web:1.27"]);
    let alone = written(&room);
    let piped =
        super::support::run::ocitar_reading(&tar, ["retag", "-", "-", "--rules", arg(&drop)]);
    assert_eq!(piped.ok().out, alone);
}

#[test]
fn what_is_refused() {
    let room = room();
    let tar = archive(&NAMES);
    let file = |name: &str, text: &str| arg(&room.write(name, text)).to_owned();
    let registries = arg(&room.path("registries.yaml")).to_owned();
    let typo = file("typo.toml", "[[rule]]\nold = 'a:1'\nnew = 'b:1'\nnext = 'c:1'\n");
    let yaml = file("bad.yaml", "mirrors:\n  docker.io:\n    endpoints: [a.io]\n");
    let twice = file("twice.yaml", &PLAIN.replace("/v2/hub", "/v2").replace("/v2/k8s", "/v2"));
    let star = file("star.yaml", &PLAIN.replace("docker.io", "'*'"));
    let absent = arg(&room.path("absent")).to_owned();
    let rows: [(&[&str], i32, &str, &str); 9] = [
        (&["--rules", &typo], 2, "E_RULE", "typo.toml: line 1: unknown key `next`"),
        (&["--registries", &yaml], 2, "E_RULE", "bad.yaml: line 3: unknown field"),
        (&["--registries", &registries, "--reverse"], 2, "E_RULE", "cannot be undone"),
        (&["--registries", &twice, "--reverse"], 2, "E_RULE", "does not tell which"),
        (&["--registries", &star, "--reverse"], 2, "E_RULE", "mirrors every registry"),
        (&["--reverse", "a:1=b:1"], 2, "E_USAGE", "--reverse"),
        (&["--rules", &absent], 5, "E_IO", "absent"),
        (&["--registries", &absent], 5, "E_IO", "absent"),
        (&["--hosts-dir", &absent], 5, "E_IO", "absent"),
    ];
    for (rules, code, id, said) in rows {
        let run = retag(&room, &tar, rules);
        assert_eq!((run.code, run.id()), (code, id), "{rules:?}: {}", run.err);
        assert!(run.err.contains(said), "{rules:?}: {}", run.err);
        assert!(!room.path("out.tar").exists(), "{rules:?}");
    }
    // A mirror that holds two registries may bring two names together.
    let tar = archive(&["docker.io/library/pause:3.10", "registry.k8s.io/library/pause:3.10"]);
    let run = retag(&room, &tar, &["--registries", &twice]);
    assert_eq!((run.code, run.id()), (1, "E_NAME_COLLISION"), "{}", run.err);
}
