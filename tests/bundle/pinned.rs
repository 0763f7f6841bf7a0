//! The bytes of outputs, pinned: for every number of threads, every machine, and until somebody changes them on purpose.

use super::seen::Seen;
use super::support::image::sha256;
use super::support::run::{Room, arg, command, finish};
use super::{data, words};

/// The time of the second pin.
const EPOCH: u64 = 1_704_164_645;

/// Commands, and the digests of what they write at time 0 and at [`EPOCH`]. `@x` is an archive of `testdata`.
const ROWS: [(&str, &str, &str); 14] = [
    (
        "export @docker20-links OUT",
        "d19aa49ecda29a6ed2e85474c21acdea918de474eb05b2eec8a15793f7895847",
        "45c91feb94a006a20e3cf3094889cb0829a2d44c77f018fb0100db5ad6d0248a",
    ),
    (
        "export @docker20-three-images OUT --to oci",
        "d670add6c44ce89b42417ad36b9198cff27670125abec446d8c5f392d5a2e181",
        "002ad4116dfac057bb3a016147280925a77ee08fef31b1aaa8e3240fcdbe1f80",
    ),
    (
        "export @podman5-two-images OUT --to hybrid",
        "6b0e1b9f26d0701765f794913380bd281728140efcb8ede85c551e27b05dcd46",
        "370306e5ee4dcae4bab547faa5b60b2e5c292d150a743454ab57ef49e015f6b8",
    ),
    (
        "export @docker26-two-tags OUT",
        "9bc140dbb2a3ea8481ea0cb514e0d9b514c7b29aeb301630207985c842e3184e",
        "ad369533ecc74e8461567330c7086cf8b2376d4c4e7fde05d0b143904e62c9bf",
    ),
    (
        "export @ctr17-sparse-three OUT",
        "7a38a0f1c2a0e581f2a860e889ae73f321f1fc1a7eb19f05e3afec3cccb0dec9",
        "46797f4ad510339044b0048f2f3719199669aabce4a6a49467abad22762cf601",
    ),
    (
        "export @buildx-oci-three OUT --platform arm64 --platform arm",
        "1883580d4c5a2474570054f9972df9659ccc50f161809169d9df815f5e13047a",
        "3dca7dac1e700560ed81ad8ae4ed746d066c210a23b67bf51492fa7c64e73547",
    ),
    (
        "export @buildx-oci-three OUT --platform arm64 --index keep",
        "4fe210226258f118c39136bcc91855ad0cc428185837bbd1d353f3063603ff35",
        "ac8b52c4d894a72802d26dfd972f8eee75301d7f1942ca362415a043e495913a",
    ),
    (
        "export @buildx-oci-three OUT --platform amd64 --index flatten --to docker",
        "cc2ad50975e74dcfe2628663b21e3e023c5d0dbbd33dd352b7b3f04d7e153342",
        "80a96ddf91f49c5701794da2b63354027543efd8cc9eb016f1ea43f653827cba",
    ),
    (
        "export @buildx-oci-attested OUT --attestations only",
        "d858284fdaa567dd7770254ef61569d90af782f318269a2ed9781bb530b64bec",
        "2e9d28a9c2f8059d4b9081cac614c912871ca0d231715b60e7e70162ba9d2576",
    ),
    (
        "export @docker26c8d-multi-attested OUT --to hybrid --digest-names",
        "2fdf02a0374449cdfe53f00edc70bf34d5bb4721e673a01618d9e5fe4957df1e",
        "6f2b3a0270f0b779da8d875f11ffc955cf123aaef44b7ef4c6612fe97128c8c7",
    ),
    (
        "convert @buildx-oci-multi OUT --to hybrid --default-platform arm64",
        "c363e404bd93fc40c9a6a267fe5a292f197cd90b76c8f75386aa8d5910bb674e",
        "f4405cb69742266a3df5fb38036562d3d6cfdd2822ccfe5d7687a256f1e93fd9",
    ),
    (
        "convert @oras-attached OUT --to oci",
        "460d6f674e85f46796a23810433d0784d098367eec6a2d83a37fb0e105d13392",
        "74ac81425039e8f254a3f3d0e304c573883aed84f9db7e8ed7f7751ac04f0dac",
    ),
    (
        "merge -o OUT @docker20-links @podman5-two-images @buildx-oci-three @skopeo-oci-tag-only",
        "22272b3194bdcb6487d563d5bf1de9357a30465c805346c8e2bcfc38a01e5b2b",
        "1211d953d789643b60dade67195ecede9573d5873e58e4a24f3db03c169ca6b9",
    ),
    (
        "merge -o OUT @ctr17-all-platforms @umoci-star --to oci",
        "271377f1e59f1b957eedd660df93ba331b9a14aafdf019bb50558ab8924f0822",
        "3f35257cb55ea78ac0b531a7059dfd810083a92546c423e97793767021d253c2",
    ),
];

#[test]
fn outputs_are_what_they_were() {
    let room = Room::new();
    let mut found = Vec::new();
    for (line, at_zero, at_epoch) in ROWS {
        let mut digests = Vec::new();
        for epoch in [0, EPOCH] {
            let runs = ["1", "4"].map(|jobs| output(&room, line, jobs, epoch));
            assert!(runs[0] == runs[1], "{line}");
            let seen = Seen::of(runs[0].clone());
            seen.assert_canonical(epoch);
            digests.push(sha256(seen.bytes())[7..].to_owned());
        }
        if digests != [at_zero, at_epoch] {
            found.push(format!("    (\"{line}\", \"{}\", \"{}\"),", digests[0], digests[1]));
        }
    }
    assert!(found.is_empty(), "other bytes:\n{}", found.join("\n"));
}

fn output(room: &Room, line: &str, jobs: &str, epoch: u64) -> Vec<u8> {
    let out = room.path("out.tar");
    let expand = |word: &str| match word.strip_prefix('@') {
        Some(name) => arg(&data(name)).to_owned(),
        None => word.replace("OUT", arg(&out)),
    };
    let args: Vec<String> = words(line).into_iter().map(expand).collect();
    let mut command = command(args);
    command.args(["-j", jobs, "--force"]);
    match epoch {
        0 => command.env_remove("SOURCE_DATE_EPOCH"),
        epoch => command.env("SOURCE_DATE_EPOCH", epoch.to_string()),
    };
    finish(&mut command, &[]).ok();
    std::fs::read(&out).unwrap()
}

#[test]
fn times_that_are_none() {
    let room = Room::new();
    let export = |epoch: &str| {
        let mut command =
            command(["export", arg(&data("docker20-links")), arg(&room.path("out.tar"))]);
        finish(command.arg("--force").env("SOURCE_DATE_EPOCH", epoch), &[])
    };
    for epoch in ["-1", "x", "1.5", " 1", "8589934592", "99999999999999999999"] {
        let run = export(epoch);
        assert_eq!((run.code, run.id()), (2, "E_USAGE"), "{epoch}: {}", run.err);
        assert!(!room.path("out.tar").exists());
    }
    for (epoch, time) in [("", 0), ("0", 0), ("8589934591", 8_589_934_591)] {
        export(epoch).ok();
        Seen::at(&room.path("out.tar")).assert_canonical(time);
    }
}
