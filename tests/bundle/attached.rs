//! Signatures, attestations and bills of material: they go where what they are about goes.

use super::seen::Seen;
use super::support::image::{
    Descriptor, EMPTY, Image, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, SUBJECT, blob, index, manifest,
};
use super::support::oci::{layout, signature};
use super::support::run::{Room, ocitar};
use super::{APP, Multi, OTHER, assert_verified, exported, merged, parts, run, words};

type Files = Vec<(String, Vec<u8>)>;

/// BuildKit's attestation of a manifest: an image of no platform, or an artifact with a subject.
fn buildkit(subject: &Descriptor, is_artifact: bool) -> (Descriptor, Files) {
    let (statement, files) = if is_artifact {
        signature(subject)
    } else {
        let statement = format!("{{\"subject\":\"{}\"}}", subject.digest);
        let config = "{\"architecture\":\"unknown\",\"os\":\"unknown\",\"config\":{},\
             \"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";
        let layer = Descriptor::new("application/vnd.in-toto+json", &statement);
        let text = manifest(OCI_MANIFEST, &Descriptor::new(OCI_CONFIG, config), &[layer], "");
        (Descriptor::new(OCI_MANIFEST, &text), vec![blob(config), blob(&statement), blob(&text)])
    };
    let statement = statement
        .annotation("vnd.docker.reference.type", "attestation-manifest")
        .annotation("vnd.docker.reference.digest", &subject.digest)
        .platform("unknown/unknown");
    (statement, files)
}

/// An index of two platforms, an attestation of each, and one of the first attestation.
fn attested(is_artifact: bool) -> (Vec<String>, Vec<u8>) {
    let multi = Multi::new("attested", &["linux/amd64", "linux/arm64"]);
    let mut children: Vec<Descriptor> = multi.images.iter().map(Image::child).collect();
    let mut files = multi.blobs();
    for at in 0..2 {
        let (statement, more) = buildkit(&children[at], is_artifact);
        children.push(statement);
        files.extend(more);
    }
    let (second, more) = buildkit(&children[2], is_artifact);
    children.push(second);
    let text = index(&children);
    files.extend([more, vec![blob(&text)]].concat());
    let digests = children.into_iter().map(|child| child.digest).collect();
    (digests, layout(files, &[Descriptor::new(OCI_INDEX, &text).named(APP)]).bytes())
}

#[test]
fn buildkit_attestations_follow_their_manifests() {
    let room = Room::new();
    for is_artifact in [false, true] {
        let (digests, bytes) = attested(is_artifact);
        let input = room.write("in.tar", bytes);
        let rows: [(&str, &[usize]); 9] = [
            ("", &[0, 1, 2, 3, 4]),
            ("--all-platforms", &[0, 1, 2, 3, 4]),
            ("--platform amd64", &[0, 2, 4]),
            ("--platform arm64", &[1, 3]),
            ("--platform amd64 --platform arm64", &[0, 1, 2, 3, 4]),
            ("--attestations drop", &[0, 1]),
            ("--attestations drop --platform arm64", &[1]),
            ("--attestations only", &[2, 3, 4]),
            ("--attestations only --platform arm64", &[3]),
        ];
        for (args, want) in rows {
            let seen = exported(&room, "export", &input, &words(args));
            seen.assert_sound();
            let found = seen.leaves(&seen.named(APP).unwrap());
            let found: Vec<String> = found.into_iter().map(|leaf| leaf.digest).collect();
            let want: Vec<String> = want.iter().map(|at| digests[*at].clone()).collect();
            assert_eq!(found, want, "{args}, artifact: {is_artifact}");
            assert_verified(&room.path("out.tar"), true);
        }
        let seen = exported(&room, "export", &input, &words("--platform arm64 --index flatten"));
        seen.assert_sound();
        assert_eq!(seen.roots(), [digests[1].clone()]);
    }
}

/// What an index says about something it does not hold is no reason to make it anew.
#[test]
fn an_attestation_about_something_else_stays() {
    let room = Room::new();
    let multi = Multi::new("stale", &["linux/amd64", "linux/arm64"]);
    let (statement, more) = buildkit(&Image::app("elsewhere").descriptor(), false);
    let children = [multi.images[0].child(), multi.images[1].child(), statement.clone()];
    let text = index(&children);
    let top = Descriptor::new(OCI_INDEX, &text).named(APP);
    let files = [multi.blobs(), more, vec![blob(&text)]].concat();
    let input = room.write("in.tar", layout(files, std::slice::from_ref(&top)).bytes());
    for args in ["", "--all-platforms", "--index keep"] {
        let seen = exported(&room, "export", &input, &words(args));
        assert_eq!(seen.named(APP), Some(top.digest.clone()), "{args}");
        assert_eq!(seen.dangling(), Vec::<String>::new(), "{args}");
    }
    // With platforms asked for it may be about one of the others.
    let seen = exported(&room, "export", &input, &words("--platform amd64"));
    seen.assert_sound();
    assert!(seen.blob(&statement.digest).is_none());
}

fn cosign_name(repository: &str, digest: &str, end: &str) -> String {
    format!("{repository}:{}{end}", digest.replace(':', "-"))
}

/// An index signed three ways by tags, one of its manifests signed, the signature signed; and another signed image.
struct Cosign {
    multi: Multi,
    other: Image,
    names: [String; 7],
    bytes: Vec<u8>,
}

impl Cosign {
    fn new() -> Cosign {
        let multi = Multi::new("cosign", &["linux/amd64", "linux/arm64"]);
        let other = Image::app("cosign-other");
        let mut tops = vec![multi.descriptor().named(APP), other.descriptor().named(OTHER)];
        let mut files = [multi.blobs(), other.blobs()].concat();
        let mut names = Vec::new();
        let mut attach = |about: &Descriptor, word: &str, repository: &str, end: &str| {
            // Each is a signature of its own: about the image, and about a word.
            let (text, more) = payload(about, word);
            let name = cosign_name(repository, &about.digest, end);
            tops.push(text.clone().named(&name));
            names.push(name);
            files.extend(more);
            text
        };
        let repository = "example.com/team/app";
        let sig = attach(&multi.descriptor(), "sig", repository, ".sig");
        attach(&multi.descriptor(), "att", repository, ".att");
        attach(&multi.descriptor(), "sbom", repository, ".sbom");
        attach(&multi.descriptor(), "fallback", repository, "");
        attach(&multi.images[1].descriptor(), "arm", repository, ".sig");
        attach(&sig, "of the signature", repository, ".sig");
        attach(&other.descriptor(), "sig", "example.com/team/other", ".sig");
        let names = names.try_into().unwrap();
        Cosign { multi, other, names, bytes: layout(files, &tops).bytes() }
    }
}

/// A signature as cosign stores it: a manifest of layers that are payloads, with no subject.
fn payload(about: &Descriptor, word: &str) -> (Descriptor, Files) {
    let payload = format!("{{\"critical\":\"{}\",\"word\":\"{word}\"}}", about.digest);
    let layer = Descriptor::new("application/vnd.dev.cosign.simplesigning.v1+json", &payload);
    let config = format!(
        "{{\"architecture\":\"\",\"config\":{{\"w\":\"{word}\"}},\"os\":\"\",\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"{}\"]}}}}",
        layer.digest
    );
    let text = manifest(OCI_MANIFEST, &Descriptor::new(OCI_CONFIG, &config), &[layer], "");
    (Descriptor::new(OCI_MANIFEST, &text), vec![blob(&config), blob(&payload), blob(&text)])
}

#[test]
fn cosign_tags_follow_their_images() {
    let (cosign, room) = (Cosign::new(), Room::new());
    let input = room.write("in.tar", &cosign.bytes);
    let index = cosign.multi.descriptor().digest;
    let with = |images: &[&str], names: &[usize]| {
        let mut all: Vec<String> = images.iter().map(|name| (*name).to_owned()).collect();
        all.extend(names.iter().map(|at| cosign.names[*at].clone()));
        all.sort();
        all
    };
    let rows = [
        (String::new(), with(&[APP, OTHER], &[0, 1, 2, 3, 4, 5, 6])),
        (APP.into(), with(&[APP], &[0, 1, 2, 3, 4, 5])),
        (OTHER.into(), with(&[OTHER], &[6])),
        (index.clone(), with(&[APP], &[0, 1, 2, 3, 4, 5])),
        (format!("--except {APP}"), with(&[OTHER], &[6])),
        (format!("--except {}", cosign.other.manifest_digest()), with(&[APP], &[0, 1, 2, 3, 4, 5])),
        // What follows a signature that goes, goes.
        (format!("--except {}", cosign.names[0]), with(&[APP, OTHER], &[1, 2, 3, 4, 6])),
        // A signature can be asked for itself; then it is alone, but for what is about it.
        (cosign.names[1].clone(), with(&[], &[1])),
        (cosign.names[0].clone(), with(&[], &[0, 5])),
        ("--attestations drop".into(), with(&[APP, OTHER], &[])),
        (format!("{APP} --platform amd64 --index keep"), with(&[APP], &[0, 1, 2, 3, 5])),
        (format!("{APP} --platform amd64 --break-signatures"), with(&[APP], &[])),
        (format!("{APP} --platform arm64 --break-signatures"), with(&[APP], &[4])),
        (format!("{APP} --platform arm64 --attestations drop"), with(&[APP], &[])),
    ];
    for (args, want) in rows {
        let seen = exported(&room, "export", &input, &words(&args));
        assert_eq!(seen.oci_names(), want, "{args}");
        if !args.contains("keep") {
            seen.assert_sound();
            assert_verified(&room.path("out.tar"), true);
        }
    }
}

#[test]
fn a_new_digest_stops_where_something_is_signed() {
    let (cosign, room) = (Cosign::new(), Room::new());
    let input = room.write("in.tar", &cosign.bytes);
    for args in ["--platform arm64", "--platform arm64 --index flatten"] {
        let args: Vec<&str> = [&[APP][..], &words(args)].concat();
        let refused = run(&room, "export", &input, &args);
        assert_eq!((refused.code, refused.id()), (1, "E_REFERRER"), "{}", refused.err);
        // What is about a signature that breaks breaks with it.
        for at in [0, 1, 2, 3, 5] {
            assert!(refused.err.contains(&cosign.names[at]), "{at}: {}", refused.err);
        }
        assert!(!refused.err.contains(&cosign.names[4]), "it is about a manifest that stays");
        assert!(!room.path("out.tar").exists());
        let broken =
            run(&room, "export", &input, &[&args[..], &["--break-signatures", "--json"]].concat())
                .ok();
        let broken: Vec<String> = broken.json()["broken"]
            .as_array()
            .unwrap()
            .iter()
            .map(|broken| broken["name"].as_str().unwrap().to_owned())
            .collect();
        let mut want = cosign.names[..4].to_vec();
        want.push(cosign.names[5].clone());
        want.sort();
        assert_eq!(broken, want);
    }
}

/// Beside the image in `index.json`: containerd's copies, oras, notation; with a statement about a statement.
struct Beside {
    multi: Multi,
    other: Image,
    /// About the index, about its second manifest, about the first statement, about the other image, about neither.
    digests: [String; 5],
    bytes: Vec<u8>,
}

/// A signature as notation stores it: an artifact with a subject.
fn notation(about: &Descriptor, word: &str) -> (Descriptor, Files) {
    let signature = format!("jws of {word}");
    let layer = Descriptor::new("application/jose+json", &signature);
    let more =
        format!(",\"artifactType\":\"application/vnd.cncf.notary.signature\",\"subject\":{about}");
    let text = manifest(OCI_MANIFEST, &Descriptor::new(EMPTY, "{}"), &[layer], &more);
    (Descriptor::new(OCI_MANIFEST, &text), vec![blob("{}"), blob(&signature), blob(&text)])
}

impl Beside {
    fn new() -> Beside {
        let multi = Multi::new("beside", &["linux/amd64", "linux/arm64"]);
        let other = Image::app("beside-other");
        let mut files = [multi.blobs(), other.blobs()].concat();
        let (on_index, a) = notation(&multi.descriptor(), "index");
        let (on_arm, b) = signature(&multi.images[1].descriptor());
        let (on_statement, c) = notation(&on_index, "statement");
        let (on_other, d) = notation(&other.descriptor(), "other");
        let (on_nothing, e) = notation(&Image::app("gone").descriptor(), "gone");
        let arm_digest = multi.images[1].manifest_digest();
        let marked = on_arm.clone().annotation(SUBJECT, &arm_digest);
        let tops = [
            on_statement.clone(),
            multi.descriptor().named(APP),
            on_index.clone(),
            marked,
            other.descriptor().named(OTHER),
            on_other.clone(),
            on_nothing.clone(),
        ];
        files.extend([a, b, c, d, e].concat());
        let digests = [on_index, on_arm, on_statement, on_other, on_nothing].map(|d| d.digest);
        Beside { multi, other, digests, bytes: layout(files, &tops).bytes() }
    }
}

#[test]
fn referrers_follow_their_subjects() {
    let (beside, room) = (Beside::new(), Room::new());
    let input = room.write("in.tar", &beside.bytes);
    let arm = &beside.multi.images[1].manifest_digest()[7..19];
    let other = beside.other.manifest_digest();
    let rows: Vec<(String, &[usize])> = vec![
        (String::new(), &[0, 1, 2, 3, 4]),
        (APP.into(), &[0, 1, 2]),
        (OTHER.into(), &[3]),
        (format!("--except {APP}"), &[3, 4]),
        (format!("--except {other}"), &[0, 1, 2, 4]),
        ("--attestations drop".into(), &[]),
        (format!("{APP} --platform amd64 --index keep"), &[0, 2]),
        (format!("{APP} --platform arm64 --index keep"), &[0, 1, 2]),
        (format!("{APP} --platform arm64 --break-signatures"), &[1]),
        (format!("{APP} --platform arm64 --index flatten --break-signatures"), &[1]),
    ];
    for (args, want) in rows {
        let seen = exported(&room, "export", &input, &words(&args));
        let found: Vec<usize> =
            (0..5).filter(|at| seen.roots().contains(&beside.digests[*at])).collect();
        assert_eq!(found, want, "{args}");
        if !args.contains("keep") {
            seen.assert_sound();
            assert_verified(&room.path("out.tar"), true);
        }
    }
    let refused = run(&room, "export", &input, &[APP, "--platform", "arm64"]);
    assert_eq!((refused.code, refused.id()), (1, "E_REFERRER"), "{arm}");
    assert!(refused.err.contains(&beside.digests[0]), "{}", refused.err);
}

/// A signature under a name that is not cosign's is about its subject all the same.
#[test]
fn a_named_signature_is_no_image() {
    let room = Room::new();
    let multi = Multi::new("named", &["linux/amd64", "linux/arm64"]);
    let (sig, files) = signature(&multi.descriptor());
    let name = "example.com/team/app:signature";
    let tops = [multi.descriptor().named(APP), sig.named(name)];
    let bytes = layout([multi.blobs(), files].concat(), &tops).bytes();
    let input = room.write("in.tar", &bytes);
    let rows: [(&str, &[&str]); 6] = [
        ("", &[APP, name]),
        ("--all-platforms", &[APP, name]),
        (APP, &[APP, name]),
        ("--attestations drop", &[APP]),
        ("--platform arm64 --index keep", &[APP, name]),
        ("--platform arm64 --break-signatures", &[APP]),
    ];
    for (args, want) in rows {
        let seen = exported(&room, "export", &input, &words(args));
        assert_eq!(seen.oci_names(), want, "{args}");
    }
    let seen = exported(&room, "export", &input, &[name]);
    assert_eq!(seen.oci_names(), [name]);
    let refused = run(&room, "export", &input, &["--platform", "arm64"]);
    assert_eq!((refused.code, refused.id()), (1, "E_REFERRER"), "{}", refused.err);
    assert_eq!(Seen::of(merged(&room, &[input], &[])).oci_names(), [APP, name]);
}

/// The manifest of a referrer that is promised and not there.
#[test]
fn an_absent_referrer_is_not_promised_again() {
    let room = Room::new();
    let image = Image::app("alone");
    let (sig, _) = signature(&image.descriptor());
    let sig = sig.annotation(SUBJECT, &image.manifest_digest());
    let tops = [image.descriptor().named(APP), sig];
    let input = room.write("in.tar", layout(image.blobs(), &tops).bytes());
    let seen = exported(&room, "export", &input, &[]);
    seen.assert_sound();
}

#[test]
fn parts_hold_what_is_about_their_images() {
    let room = Room::new();
    for bytes in [Cosign::new().bytes, Beside::new().bytes] {
        let input = room.write("in.tar", bytes);
        let parts = parts(&room, "parts", &input, &["--by", "image"]);
        assert_eq!(parts.len(), 2);
        for part in &parts {
            Seen::at(part).assert_canonical(0);
            Seen::at(part).assert_sound();
            ocitar(["verify", part.to_str().unwrap(), "--all-platforms"]).ok();
        }
        assert!(merged(&room, &parts, &[]) == merged(&room, &[input], &[]));
    }
}

/// docker's format has no place for what is about an image: it stops, or says what went.
#[test]
fn signatures_and_docker() {
    let room = Room::new();
    let (beside, cosign) = (Beside::new(), Cosign::new());
    for (bytes, names) in
        [(&beside.bytes, &beside.digests[..1]), (&cosign.bytes, &cosign.names[..1])]
    {
        let input = room.write("in.tar", bytes);
        let convert = |more: &str| {
            let args = format!("--to docker --platform linux/amd64 {more}");
            run(&room, "convert", &input, &words(&args))
        };
        let refused = convert("");
        super::assert_refused(&refused, 1, "E_REFERRER");
        assert!(names.iter().all(|name| refused.err.contains(name)), "{}", refused.err);
        let said = convert("--break-signatures --json").ok().json();
        let broken: Vec<&str> = said["broken"]
            .as_array()
            .unwrap()
            .iter()
            .map(|b| b["name"].as_str().unwrap())
            .collect();
        assert!(names.iter().all(|name| broken.contains(&&**name)), "{broken:?}");
        Seen::at(&room.path("out.tar")).assert_sound();
        convert("--attestations drop").ok();
        let nothing = convert("--attestations only");
        assert_eq!(nothing.code, 1, "{}", nothing.err);
    }
}

/// Statements about statements about statements: as many as there may be cost no more than as many others.
#[test]
fn a_long_chain_of_statements() {
    let room = Room::new();
    let image = Image::app("chained");
    let mut tops = vec![image.descriptor().named(APP)];
    let mut files = image.blobs();
    let mut subject = image.descriptor();
    for word in 0..4000 {
        let (text, more) = notation(&subject, &word.to_string());
        tops.push(text.clone());
        files.extend(more);
        subject = text;
    }
    let input = room.write("in.tar", layout(files, &tops).bytes());
    let seen = exported(&room, "export", &input, &[APP]);
    assert_eq!(seen.tops().len(), 4001);
    let gone = run(&room, "export", &input, &["--attestations", "drop", "--json"]).ok().json();
    assert_eq!(gone["dropped"].as_array().unwrap().len(), 4000);
}
