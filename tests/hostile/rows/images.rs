//! Documents and blobs: which image an archive holds, and whether it does.

use ocitar::error::Code;

use super::Want::{Accepted, Fails, Refused};
use super::{NAME, Row, layout};
use crate::bytes::Bytes;
use crate::support::image::{
    Descriptor, Image, OCI_INDEX, OCI_MANIFEST, blob, hex, index, item, strings,
};
use crate::support::oci::LAYOUT;

pub fn rows() -> Vec<Row> {
    let mut rows = views();
    rows.extend(documents());
    rows.extend(digests());
    rows.extend(graph());
    rows
}

/// A layout of these blobs with this index.json.
pub fn with_index(blobs: &[(String, Vec<u8>)], index: &str) -> Vec<u8> {
    let bytes = blobs.iter().fold(Bytes::new(), |bytes, (path, body)| bytes.file(path, body));
    bytes.file("index.json", index).file("oci-layout", LAYOUT).end().0
}

/// A layout of one image, whose top descriptor has been through this.
fn with_top(change: impl Fn(String) -> String) -> Vec<u8> {
    let image = Image::app("hostile");
    let top = change(image.child().named(NAME).to_string());
    with_index(&image.blobs(), &format!("{{\"schemaVersion\":2,\"manifests\":[{top}]}}"))
}

/// A `docker save` of one image, whose manifest.json has been through this.
fn saved(change: impl Fn(String) -> String) -> Vec<u8> {
    let image = Image::plain("hostile-saved");
    let config = format!("{}.json", hex(&image.config_digest()));
    let mut bytes = Bytes::new().file(&config, &image.config);
    let paths = ["1.tar".to_owned(), "2.tar".to_owned()];
    for (path, layer) in paths.iter().zip(&image.layers) {
        bytes = bytes.file(path, &layer.blob);
    }
    let text = format!("[{}]", item(&config, &strings(&[NAME]), &paths, ""));
    bytes.file("manifest.json", change(text)).end().0
}

/// Both views, the docker one of the second image.
fn both(oci: &Image, docker: &Image, name: &str) -> Vec<u8> {
    let mut blobs = oci.blobs();
    blobs.extend(docker.blobs());
    blobs.sort();
    blobs.dedup();
    let mut bytes = blobs.iter().fold(Bytes::new(), |bytes, (path, body)| bytes.file(path, body));
    let paths: Vec<String> = docker
        .layers
        .iter()
        .map(|layer| crate::support::image::blob_path(&layer.digest()))
        .collect();
    let config = crate::support::image::blob_path(&docker.config_digest());
    let text = format!("[{}]", item(&config, &strings(&[name]), &paths, ""));
    bytes = bytes.file("index.json", index(&[oci.child().named(NAME)]));
    bytes.file("manifest.json", text).file("oci-layout", LAYOUT).end().0
}

fn views() -> Vec<Row> {
    let (good, evil) = (Image::app("good"), Image::app("evil"));
    let row = |what, bytes, want| Row::new("T40", what, bytes, want);
    // One configuration, and the layers of another image.
    let mut mixed = good.clone();
    mixed.layers = evil.layers.clone();
    let two = |first: &str, second: &str| {
        let mut blobs = good.blobs();
        blobs.extend(evil.blobs());
        with_index(&blobs, &index(&[good.child().named(first), evil.child().named(second)]))
    };
    vec![
        row("both views of one image", both(&good, &good, NAME), Accepted),
        row(
            "two views, two images, one name",
            both(&good, &evil, NAME),
            Refused(Code::ImageConflict),
        ),
        row(
            "two views, two images, one name in another spelling",
            both(&good, &evil, "EXAMPLE.com/team/app:1.0"),
            Accepted,
        ),
        row(
            "two views, one configuration, other layers",
            both(&good, &mixed, NAME),
            Fails(Code::DiffIdMismatch),
        ),
        row(
            "two views, two images, two names",
            both(&good, &evil, "example.com/team/other:1"),
            Accepted,
        ),
        Row::new(
            "T54",
            "one name for two images of one view",
            two(NAME, NAME),
            Fails(Code::NameCollision),
        ),
        Row::new(
            "T54",
            "two names for two images",
            two(NAME, "example.com/team/other:1"),
            Accepted,
        ),
        Row::new(
            "T55",
            "a name that is none",
            with_top(|top| top.replace(NAME, "not a name\\n")),
            Accepted,
        ),
        Row::new(
            "T55",
            "a tag of 129 characters",
            saved(|text| text.replace(":1.0", &format!(":{}", "t".repeat(129)))),
            Accepted,
        ),
    ]
}

fn documents() -> Vec<Row> {
    let top = |threat, what, change: &dyn Fn(String) -> String, want| {
        Row::new(threat, what, with_top(change), want)
    };
    let json = |threat, what, change: &dyn Fn(String) -> String, want| {
        Row::new(threat, what, saved(change), want)
    };
    let replace = |from: &'static str, to: &'static str| {
        move |text: String| {
            assert!(text.contains(from), "{from} in {text}");
            text.replacen(from, to, 1)
        }
    };
    let raw = |body: &[u8]| {
        let (blobs, _) = layout();
        blobs.file("index.json", body).file("oci-layout", LAYOUT).end().0
    };
    let case = Refused(Code::JsonCaseKey);
    let range = Refused(Code::JsonRange);
    let size = |to: &'static str| {
        move |text: String| {
            let at = text.find("\"size\":").unwrap() + 7;
            let end = at + text[at..].find(',').unwrap();
            format!("{}{to}{}", &text[..at], &text[end..])
        }
    };
    let deep = |n: usize| {
        format!("{{\"schemaVersion\":2,\"manifests\":[],\"x\":{}{}}}", "[".repeat(n), "]".repeat(n))
    };
    vec![
        json(
            "T45",
            "one layer file for two diff IDs",
            &replace("\"2.tar\"", "\"1.tar\""),
            Fails(Code::DiffIdMismatch),
        ),
        json(
            "T47",
            "`config` behind `Config`",
            &replace("\"RepoTags\"", "\"config\":\"evil.json\",\"RepoTags\""),
            case,
        ),
        json(
            "T47",
            "`REPOTAGS` beside `RepoTags`",
            &replace("\"RepoTags\"", "\"REPOTAGS\":[],\"RepoTags\""),
            case,
        ),
        json("T47", "a long s in `RepoTags`", &replace("\"RepoTags\"", "\"RepoTag\u{17f}\""), case),
        json(
            "T47",
            "a long s beside `RepoTags`",
            &replace("\"RepoTags\"", "\"RepoTag\u{17f}\":[],\"RepoTags\""),
            case,
        ),
        json(
            "T47",
            "an escaped long s in `Layers`",
            &replace("\"Layers\"", "\"Layer\\u017f\""),
            case,
        ),
        json(
            "T47",
            "keys in lower case, as jib",
            &|text| {
                text.replace("Config", "config")
                    .replace("RepoTags", "repoTags")
                    .replace("Layers", "layers")
            },
            Accepted,
        ),
        top(
            "T47",
            "a Kelvin sign nobody looks for",
            &replace("\"mediaType\"", "\"\u{212a}ey\":1,\"mediaType\""),
            Accepted,
        ),
        top(
            "T47",
            "`Digest` beside `digest`",
            &replace("\"digest\"", "\"Digest\":\"\",\"digest\""),
            case,
        ),
        top(
            "T48",
            "a key twice",
            &replace("\"digest\"", "\"digest\":\"\",\"digest\""),
            Refused(Code::JsonDupKey),
        ),
        top(
            "T48",
            "a key twice, once escaped",
            &replace("\"digest\"", "\"d\\u0069gest\":\"\",\"digest\""),
            Refused(Code::JsonDupKey),
        ),
        top(
            "T48",
            "a key twice where nobody looks",
            &replace("\"digest\"", "\"x\":{\"a\":1,\"a\":2},\"digest\""),
            Refused(Code::JsonDupKey),
        ),
        json(
            "T48",
            "another document behind manifest.json",
            &|text| format!("{text}[]"),
            Refused(Code::JsonTrailing),
        ),
        json(
            "T48",
            "garbage behind manifest.json",
            &|text| format!("{text} garbage"),
            Refused(Code::JsonTrailing),
        ),
        json(
            "T48",
            "a NUL behind manifest.json",
            &|text| format!("{text}\0"),
            Refused(Code::JsonTrailing),
        ),
        json(
            "T48",
            "a byte order mark",
            &|text| format!("\u{feff}{text}"),
            Refused(Code::JsonUtf8),
        ),
        json(
            "T48",
            "half a surrogate pair",
            &replace("\"RepoTags\"", "\"x\":\"\\ud800\",\"RepoTags\""),
            Refused(Code::JsonSyntax),
        ),
        Row::new(
            "T48",
            "a byte that is no UTF-8",
            raw(b"{\"schemaVersion\":2,\"manifests\":[],\"x\":\"\xff\"}"),
            Refused(Code::JsonUtf8),
        ),
        Row::new("T48", "UTF-16", raw(b"\xff\xfe{\0}\0"), Refused(Code::JsonUtf8)),
        Row::new("T48", "an empty document", raw(b""), Refused(Code::JsonSyntax)),
        Row::new("T48", "null for an index", raw(b"null"), Refused(Code::JsonShape)),
        Row::new("T49", "64 levels", raw(deep(63).as_bytes()), Fails(Code::NoImages)),
        Row::new("T49", "65 levels", raw(deep(64).as_bytes()), Refused(Code::LimitJson)),
        Row::new(
            "T49",
            "a hundred thousand levels",
            raw(deep(100_000).as_bytes()),
            Refused(Code::LimitJson),
        ),
        Row::new(
            "T49",
            "a million open brackets",
            raw(&b"[".repeat(1_000_000)),
            Refused(Code::JsonSyntax),
        ),
        Row::new(
            "T49",
            "300,000 values",
            raw(format!("{{\"manifests\":[],\"x\":[{}0]}}", "0,".repeat(300_000)).as_bytes()),
            Refused(Code::LimitJson),
        ),
        Row::new(
            "T49",
            "an index.json larger than the limit",
            raw(format!("{{\"manifests\":[]{}}}", " ".repeat(2 << 20)).as_bytes()),
            Refused(Code::LimitJson),
        )
        .limited(|limits| limits.control_file = 1 << 20),
        top("T50", "a size below zero", &size("-1"), range),
        top("T50", "a size of -0", &size("-0"), range),
        top("T50", "a size with a point", &size("1.0"), range),
        top("T50", "a size with an exponent", &size("1e3"), range),
        top("T50", "a size of 2^63", &size("9223372036854775808"), range),
        top("T50", "a size of 2^64-1", &size("18446744073709551615"), range),
        top("T50", "a size in a string", &size("\"1\""), Refused(Code::JsonShape)),
        top("T50", "a size of null", &size("null"), Refused(Code::JsonShape)),
        json("T50", "null for an item", &|_| "[null]".into(), Refused(Code::JsonShape)),
        json(
            "T50",
            "a text for tags",
            &|text| text.replace(&strings(&[NAME]), "\"a:1\""),
            Refused(Code::JsonShape),
        ),
    ]
}

fn digests() -> Vec<Row> {
    let digest = |what, change: &dyn Fn(&str) -> String, want| {
        let bytes = with_top(|top| {
            let at = top.find("sha256:").unwrap();
            format!("{}{}{}", &top[..at], change(&top[at..at + 71]), &top[at + 71..])
        });
        Row::new("T42", what, bytes, want)
    };
    let format = Refused(Code::DigestFormat);
    let algorithm = Refused(Code::DigestAlgorithm);
    let flipped = |which: &str| {
        let image = Image::app("hostile");
        let path = match which {
            "config" => crate::support::image::blob_path(&image.config_digest()),
            "manifest" => crate::support::image::blob_path(&image.manifest_digest()),
            _ => crate::support::image::blob_path(&image.layers[0].digest()),
        };
        let mut blobs = image.blobs();
        let body = &mut blobs.iter_mut().find(|(name, _)| *name == path).unwrap().1;
        let last = body.len() - 3;
        body[last] ^= 1;
        with_index(&blobs, &index(&[image.child().named(NAME)]))
    };
    let swapped = {
        let image = Image::app("hostile");
        let mut blobs = image.blobs();
        let first = blobs[0].1.clone();
        blobs[0].1 = std::mem::replace(&mut blobs[1].1, first);
        with_index(&blobs, &index(&[image.child().named(NAME)]))
    };
    let unreferenced = {
        let image = Image::app("hostile");
        let mut blobs = image.blobs();
        blobs.push((
            crate::support::image::blob_path(&crate::support::image::sha256("stated")),
            b"held".to_vec(),
        ));
        with_index(&blobs, &index(&[image.child().named(NAME)]))
    };
    let resized = |more: i64| {
        with_top(move |top| {
            let at = top.find("\"size\":").unwrap() + 7;
            let end = at + top[at..].find(',').unwrap();
            let size: i64 = top[at..end].parse().unwrap();
            format!("{}{}{}", &top[..at], size + more, &top[end..])
        })
    };
    let row = |what, bytes, want| Row::new("T43", what, bytes, want);
    vec![
        digest("a digest that is a path", &|_| "sha256:../../etc/passwd".into(), format),
        digest("a digest in capitals", &str::to_uppercase, format),
        digest(
            "a hex in capitals",
            &|digest| format!("sha256:{}", digest[7..].to_uppercase()),
            format,
        ),
        digest("a hex of 63 digits", &|digest| digest[..70].into(), format),
        digest("a hex of 65 digits", &|digest| format!("{digest}0"), format),
        digest("64 digits for sha512", &|digest| digest.replace("sha256", "sha512"), format),
        digest(
            "an algorithm nobody checks",
            &|_| "md5:d41d8cd98f00b204e9800998ecf8427e".into(),
            algorithm,
        ),
        digest(
            "a registered algorithm that is not supported",
            &|digest| digest.replace("sha256", "blake3"),
            algorithm,
        ),
        digest("an algorithm of two parts", &|digest| format!("foo+{digest}"), algorithm),
        digest("no algorithm", &|digest| digest[7..].into(), format),
        digest("an empty digest", &|_| String::new(), format),
        digest("a digest with a line end", &|digest| format!("{digest}\\n"), format),
        row(
            "a manifest that is not its digest",
            flipped("manifest"),
            Refused(Code::DigestMismatch),
        ),
        row(
            "a configuration that is not its digest",
            flipped("config"),
            Refused(Code::DigestMismatch),
        ),
        row("a layer that is not its digest", flipped("layer"), Fails(Code::DigestMismatch)),
        row("two layers that are each other", swapped, Fails(Code::DigestMismatch)),
        row(
            "an unreferenced blob that is not its digest",
            unreferenced,
            Fails(Code::DigestMismatch),
        ),
        row("a manifest of one byte less than stated", resized(1), Fails(Code::SizeMismatch)),
        row("a manifest of one byte more than stated", resized(-1), Fails(Code::SizeMismatch)),
    ]
}

fn graph() -> Vec<Row> {
    let kind = Refused(Code::DocumentKind);
    let image = Image::app("hostile");
    let blobs = image.blobs();
    let doc = |media_type: &str, text: &str| {
        let mut blobs = blobs.clone();
        blobs.push(blob(text));
        with_index(&blobs, &index(&[Descriptor::new(media_type, text).named(NAME)]))
    };
    let child = image.child();
    let row = |threat, what, bytes, want| Row::new(threat, what, bytes, want);
    let both = format!("{{\"manifests\":[{child}],{}", &image.manifest[1..]);
    let empty_both = "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}";
    let null_both = format!("{{\"manifests\":null,{}", &image.manifest[1..]);
    let with_layers = format!("{{\"schemaVersion\":2,\"layers\":[],\"manifests\":[{child}]}}");
    let nest = |n: usize, fan: usize| {
        let mut blobs = blobs.clone();
        let mut child = child.clone();
        for level in 0..n {
            let text =
                index(&vec![child.clone(); fan]).replacen('{', &format!("{{\"level\":{level},"), 1);
            blobs.push(blob(&text));
            child = Descriptor::new(OCI_INDEX, &text);
        }
        with_index(&blobs, &index(&[child.named(NAME)]))
    };
    vec![
        row("T41", "an index and a manifest in one", doc(OCI_INDEX, &both), kind),
        row("T41", "the same, called a manifest", doc(OCI_MANIFEST, &both), kind),
        row("T41", "an empty index and a manifest in one", doc(OCI_INDEX, empty_both), kind),
        row("T41", "a manifest with `manifests` of null", doc(OCI_MANIFEST, &null_both), kind),
        row("T41", "an index.json with layers", with_index(&blobs, &with_layers), kind),
        row("T41", "an index called a manifest", doc(OCI_MANIFEST, &index(&[image.child()])), kind),
        row("T41", "a manifest called an index", doc(OCI_INDEX, &image.manifest), kind),
        row(
            "T41",
            "a manifest that calls itself an index",
            doc(OCI_MANIFEST, &image.manifest.replacen(OCI_MANIFEST, OCI_INDEX, 1)),
            kind,
        ),
        row(
            "T41",
            "a manifest of schema 1",
            doc(OCI_MANIFEST, "{\"schemaVersion\":1,\"fsLayers\":[],\"history\":[]}"),
            kind,
        ),
        row("T51", "sixteen indexes in each other", nest(14, 1), Accepted),
        row("T51", "thirty indexes in each other", nest(30, 1), Refused(Code::LimitGraph)),
        row("T51", "twelve indexes that list the next sixteen times", nest(12, 16), Accepted),
        row("T51", "more descriptors than the limit", nest(8, 16), Refused(Code::LimitGraph))
            .limited(|limits| limits.descriptors = 6),
        row(
            "T56",
            "fields nobody knows",
            with_top(|top| top.replacen('{', "{\"x-vendor\" : [ 1.50 ] ,", 1)),
            Accepted,
        ),
    ]
}
