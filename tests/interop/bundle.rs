//! A bundle of 500 images, renamed by one prefix rule and 20 exact ones, and loaded into containerd.

use std::collections::BTreeSet;
use std::fs;

use crate::consumers::CTR;
use crate::ocitar;
use crate::peers::{Peers, required};
use crate::say;
use crate::support::bundle;

#[test]
fn five_hundred_images_into_containerd() {
    let Some(peers) = Peers::find() else {
        assert!(!required(), "OCITAR_PEERS=1, and no peers run: tests/peers/peers.sh up");
        say("skipped, no peers");
        return;
    };
    let (input, out) = (peers.room().join("bundle.tar"), peers.room().join("renamed.tar"));
    fs::write(&input, bundle::archive()).unwrap();
    let rules = bundle::rules();
    let mut words = vec!["retag", input.to_str().unwrap(), out.to_str().unwrap()];
    words.extend(rules.iter().map(String::as_str));
    ocitar(&words).unwrap();

    let space = format!("ocitar-bundle-{}", std::process::id());
    let ctr = |words: &[&str]| peers.run(&[&CTR[..], &["-n", &space], words].concat());
    let imported = ctr(&["images", "import", &peers.inside(&out)]);
    let list = |columns: &[&str]| -> BTreeSet<String> {
        let text = ctr(columns).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(ToOwned::to_owned).collect()
    };
    let found = list(&["images", "ls", "-q"]);
    let unpacked = list(&["snapshots", "ls"]).len();
    // Whatever was seen, the store is left as it was.
    let names: Vec<&str> = found.iter().map(String::as_str).collect();
    if !names.is_empty() {
        ctr(&[&["images", "rm", "--sync"], &names[..]].concat()).unwrap();
    }
    let _ = peers.run(&[&CTR[..], &["namespaces", "rm", &space]].concat());

    imported.unwrap();
    let want: BTreeSet<String> = bundle::names().into_iter().map(|name| name.new).collect();
    assert_eq!(found, want);
    // A header, the layer all of them have, and one for each.
    assert_eq!(unpacked, 1 + 1 + bundle::COUNT, "every layer was unpacked");
}
