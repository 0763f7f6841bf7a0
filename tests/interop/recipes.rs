//! The recipes of the README with the real docker and containerd.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::consumers::{CTR, DOCKER_CLASSIC};
use crate::peers::{Peers, output, required};
use crate::{ocitar, say};

/// A namespace of our own in the containerd of the peers.
struct Node<'p> {
    peers: &'p Peers,
    namespace: String,
    bin: PathBuf,
}

impl Node<'_> {
    /// Puts a program of the peers on the path of recipes.
    fn program(&self, name: &str, words: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/peers.sh");
        // A path of the folder we share begins at another root there.
        let room = self.peers.room().display().to_string();
        let root = room.strip_suffix(&self.peers.inside(self.peers.room())).unwrap();
        let text = format!(
            "#!/bin/sh\nfor word do shift; set -- \"$@\" \"${{word#{root}}}\"; done\n\
             exec '{}' run {} \"$@\"\n",
            script.display(),
            words.join(" ")
        );
        let path = self.bin.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn recipe(&self, name: &str, args: &[&str]) -> Result<String, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recipes").join(name);
        let ours = Path::new(env!("CARGO_BIN_EXE_ocitar")).parent().unwrap().to_owned();
        let rest = env::var_os("PATH").unwrap_or_default();
        let path = [self.bin.clone(), ours].into_iter().chain(env::split_paths(&rest));
        let mut command = Command::new("bash");
        command.arg(script).args(args).env("PATH", env::join_paths(path).unwrap());
        command.env("CTR", "ctr").env("NAMESPACE", &self.namespace);
        output(&mut command).map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    fn ctr(&self, words: &[&str]) -> Result<String, String> {
        let words = [&CTR[..], &["-n", &self.namespace], words].concat();
        self.peers.run(&words).map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    /// The names in the namespace, which is emptied.
    fn take(&self) -> Vec<String> {
        let text = self.ctr(&["images", "ls", "-q"]).unwrap();
        let names: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        let words: Vec<&str> = names.iter().map(String::as_str).collect();
        if !words.is_empty() {
            self.ctr(&[&["images", "rm", "--sync"], &words[..]].concat()).unwrap();
        }
        names
    }
}

#[test]
fn recipes_with_real_daemons() {
    let Some(peers) = Peers::find() else {
        assert!(!required(), "OCITAR_PEERS=1, and no peers run: tests/peers/peers.sh up");
        say("skipped, no peers");
        return;
    };
    let namespace = format!("ocitar-recipes-{}", std::process::id());
    let node = Node { peers: &peers, namespace, bin: peers.room().join("bin") };
    fs::create_dir(&node.bin).unwrap();
    node.program("docker", &DOCKER_CLASSIC);
    node.program("ctr", &CTR);
    let docker = |words: &[&str]| peers.run(&[&DOCKER_CLASSIC[..], words].concat());

    // Images as somebody built them, under short names.
    let archive = peers.room().join("images.tar");
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/docker26-two-images.tar");
    let (from, to) = (testdata.to_str().unwrap(), archive.to_str().unwrap());
    let rules = ["--regex", ".*/([^/]+):.*", "recipes/$1:1"];
    ocitar(&[&["retag", from, to], &rules[..]].concat()).unwrap();
    docker(&["load", "-q", "-i", &peers.inside(&archive)]).unwrap();

    let done = node.recipe("import.sh", &["recipes/app:1", "recipes/second:1"]);
    let names = node.take();
    // docker has no such image: nothing is imported, and the loop says so.
    let failed = node.recipe("import.sh", &["recipes/absent:1"]);
    let none = node.take();
    docker(&["image", "rm", "-f", "recipes/app:1", "recipes/second:1"]).unwrap();
    let done = done.unwrap();
    assert!(done.ends_with("imported 2, failed 0\n"), "{done}");
    assert_eq!(names, ["docker.io/recipes/app:1", "docker.io/recipes/second:1"]);
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(none, [""; 0]);

    // The pause image under a mirror's name.
    let pause = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ctr17-single.tar");
    let out = peers.room().join("pause.tar");
    let done = node.recipe("pause.sh", &[pause.to_str().unwrap(), out.to_str().unwrap()]);
    let names = node.take();
    let _ = peers.run(&[&CTR[..], &["namespaces", "rm", &node.namespace]].concat());
    assert!(done.unwrap().contains("registry.k8s.io/pause:3.1"));
    assert_eq!(names, ["registry.k8s.io/pause:3.1"]);
}
