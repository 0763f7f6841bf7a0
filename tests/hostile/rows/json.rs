//! Documents made by hand, for the comparison with `encoding/json`.

use crate::documents::{Document, Role};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Every document.
pub fn all() -> Vec<Document> {
    let mut all = Vec::new();
    let mut add = |role, texts: &[String]| {
        for (at, text) in texts.iter().enumerate() {
            all.push(Document { what: format!("{at}"), role, bytes: text.clone().into_bytes() });
        }
    };
    add(Role::Items, &items());
    let descriptors = descriptors();
    let list = |text: &String| format!("{{\"schemaVersion\":2,\"manifests\":[{text}]}}");
    let indexes: Vec<String> = descriptors.iter().map(list).chain(indexes()).collect();
    add(Role::Index, &indexes);
    add(Role::Top, &indexes);
    let as_config = descriptors.iter().map(|text| format!("{{\"config\":{text},\"layers\":[]}}"));
    let as_layer = descriptors.iter().map(|text| {
        format!("{{\"config\":{{\"digest\":\"{DIGEST}\",\"size\":0}},\"layers\":[{text}]}}")
    });
    add(Role::Manifest, &as_config.chain(as_layer).collect::<Vec<_>>());
    add(Role::Config, &configs());
    all
}

fn items() -> Vec<String> {
    [
        "null",
        "[]",
        "{}",
        "[null]",
        "[{}]",
        "[[]]",
        "\"\"",
        " [ ] ",
        "[] []",
        "[]x",
        "",
        r#"[{"Config":"a","RepoTags":["x:1"],"Layers":["l"]}]"#,
        r#"[{"config":"a","repoTags":["x:1"],"layers":["l"]}]"#,
        r#"[{"CONFIG":"a","REPOTAGS":["x:1"],"LAYERS":["l"]}]"#,
        r#"[{"Config":"a","config":"b","Layers":[]}]"#,
        r#"[{"config":"b","Config":"a","Layers":[]}]"#,
        r#"[{"Config":"a","Config":"b","Layers":[]}]"#,
        r#"[{"Config":"a","Con\u0066ig":"b","Layers":[]}]"#,
        "[{\"Config\":\"a\",\"RepoTag\u{17f}\":[\"x:1\"]}]",
        r#"[{"Config":"a","RepoTag\u017f":["x:1"]}]"#,
        "[{\"Config\":\"a\",\"RepoTags\":[\"x:1\"],\"Layer\u{17f}\":[\"evil\"]}]",
        r#"[{"Config":null}]"#,
        r#"[{"Config":1}]"#,
        r#"[{"Config":["a"]}]"#,
        r#"[{"Config":"a","RepoTags":null,"Layers":null}]"#,
        r#"[{"Config":"a","RepoTags":"x:1"}]"#,
        r#"[{"Config":"a","RepoTags":[null,"x:1",""],"Layers":[null,"l"]}]"#,
        r#"[{"Config":"a","RepoTags":[["x:1"]]}]"#,
        r#"[{"Config":"a","RepoTags":{"0":"x:1"}}]"#,
        r#"[{"Config":"a","RepoTags":["x:1"]},{"Config":"b","RepoTags":["y:1"]}]"#,
        r#"[{"Config":"a","RepoTags":["x:1"],"Layers":["l"]},{"Config":"b"}]"#,
        r#"[{"Config":"\u0061\/\u00fc\ud83d\ude00","RepoTags":["\u0078:1"]}]"#,
        r#"[{"Config":"\ud800","RepoTags":["x:1"]}]"#,
        r#"[{"Config":"a\u0000b","RepoTags":["x:1"]}]"#,
        r#"[{"Config":"a\qb"}]"#,
        "[{\"Config\":\"a\tb\"}]",
        "[{\"Config\":\"a\u{7f}\u{2028}b\",\"RepoTags\":[\"x:1\"]}]",
        r#"[{"Config":"./a","RepoTags":["x:1"],"Layers":["./l","/m","../n"]}]"#,
        r#"[{"Config":"a","RepoTags":["x:1",]}]"#,
        r#"[{"Config":"a" "RepoTags":["x:1"]}]"#,
        r#"[{"Config":"a","Unknown":{"deep":[1,2.5e3,{"x":"\n"}]}}]"#,
        r#"[{"Config":"a","Unknown":{"k":1,"k":2}}]"#,
        r#"[{"Config":"a","Unknown":1e999}]"#,
        r#"[{"Config":"a","Unknown":01}]"#,
        r#"[{"Config":"a","Unknown":.5}]"#,
        r#"[{"Config":"a","Unknown":NaN}]"#,
        r#"[{"Config":'a'}]"#,
        r#"[{Config:"a"}]"#,
        "[{\"Config\":\"a\"}] // x",
        "/* x */ [{\"Config\":\"a\"}]",
        "\u{feff}[{\"Config\":\"a\"}]",
        "[{\"Config\":\"a\"}]\0",
        "\u{b}[{\"Config\":\"a\"}]",
        "\u{a0}[{\"Config\":\"a\"}]",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Descriptors with something in each field.
fn descriptors() -> Vec<String> {
    let base = format!("\"digest\":\"{DIGEST}\"");
    let sized = format!("{base},\"size\":5");
    let mut all: Vec<String> = [
        "0",
        "-0",
        "-1",
        "1",
        "1.0",
        "1e2",
        "1E2",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "99999999999999999999",
        "\"1\"",
        "null",
        "true",
        "[1]",
        "{}",
        "00",
        "0x1",
        "+1",
    ]
    .iter()
    .map(|size| format!("{{{base},\"size\":{size}}}"))
    .collect();
    let more = [
        r#""mediaType":"application/vnd.oci.image.manifest.v1+json""#,
        r#""mediaType":null"#,
        r#""mediaType":1"#,
        r#""MediaType":"upper""#,
        r#""mediatype":"a","mediaType":"b""#,
        r#""mediaType":"a\u0000b""#,
        r#""annotations":{"a":"b","A":"c"}"#,
        r#""annotations":{"a":"b","a":"c"}"#,
        r#""annotations":{"a":null}"#,
        r#""annotations":null"#,
        r#""annotations":{}"#,
        r#""annotations":{"a":1}"#,
        r#""annotations":[]"#,
        r#""annotations":{"":""}"#,
        r#""annotations":{"io.containerd.image.name":"a:1","org.opencontainers.image.ref.name":"1"}"#,
        r#""Annotations":{"io.containerd.image.name":"a:1"}"#,
        r#""platform":{"os":"linux","architecture":"amd64"}"#,
        r#""platform":{"OS":"linux","Architecture":"amd64","Variant":"v8"}"#,
        r#""platform":{"os":"linux","OS":"windows"}"#,
        r#""platform":{"os":"linux","o\u017f":"windows"}"#,
        "\"platform\":{\"o\u{17f}\":\"windows\"}",
        r#""platform":{"os":"windows","os.version":"10.0","os.features":["win32k",null]}"#,
        r#""platform":{"os":null}"#,
        r#""platform":{"os":1}"#,
        r#""platform":null"#,
        r#""platform":{}"#,
        r#""platform":[]"#,
        r#""urls":["https://a",null]"#,
        r#""urls":null"#,
        r#""urls":"https://a""#,
        r#""artifactType":"a/b""#,
        r#""artifactType":null"#,
        r#""SIZE":6"#,
        "\"\u{17f}ize\":6",
        r#""s\u0069ze":6"#,
        r#""unknown":{"digest":"x"}"#,
    ];
    all.extend(more.iter().map(|more| format!("{{{sized},{more}}}")));
    let digests = [
        "\"\"",
        "null",
        "1",
        "\"sha256:\"",
        "\"sha256:00\"",
        "\"md5:d41d8cd98f00b204e9800998ecf8427e\"",
        "\"SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"",
        r#""sha256\u003ae3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855""#,
        r#""sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n""#,
    ];
    all.extend(digests.iter().map(|digest| format!("{{\"digest\":{digest},\"size\":5}}")));
    all.extend(["null", "{}", "[]", "\"x\""].map(str::to_owned));
    all
}

fn indexes() -> Vec<String> {
    [
        "null",
        "{}",
        "[]",
        r#"{"manifests":null}"#,
        r#"{"manifests":[]}"#,
        r#"{"manifests":{}}"#,
        r#"{"Manifests":[]}"#,
        "{\"manife\u{17f}ts\":[]}",
        r#"{"manifests":[],"MANIFESTS":[]}"#,
        r#"{"manifests":[],"artifactType":"x"}"#,
        r#"{"manifests":[],"subject":null}"#,
        r#"{"manifests":[],"subject":{}}"#,
        r#"{"manifests":[],"config":null}"#,
        r#"{"manifests":[],"layers":null}"#,
        r#"{"manifests":[]} {}"#,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn configs() -> Vec<String> {
    let rootfs = format!("\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"{DIGEST}\"]}}");
    let more = [
        r#""architecture":"amd64","os":"linux""#,
        r#""Architecture":"amd64","OS":"linux""#,
        r#""architecture":"amd64","Architecture":"arm64""#,
        r#""os":null,"variant":"v7","os.version":"1","os.features":["a"]"#,
        r#""created":"2024-01-02T03:04:05Z""#,
        r#""created":null"#,
        r#""created":1"#,
        r#""config":{"Env":["A=b",null],"Cmd":null,"Entrypoint":["/x"],"User":"u","WorkingDir":"/w","Labels":{"a":"b","c":null}}"#,
        r#""config":{"env":["A=b"],"CMD":["x"],"labels":{"a":"b"}}"#,
        r#""config":{"Env":["A=b"],"env":["C=d"]}"#,
        r#""config":{"Cmd":"x"}"#,
        r#""config":{"Labels":{"a":"b","a":"c"}}"#,
        "\"config\":{\"Label\u{17f}\":{\"a\":\"b\"}}",
        r#""config":null"#,
        r#""config":[]"#,
        r#""Config":{"User":"root"},"config":{"User":"u"}"#,
        r#""history":[{"created_by":"x","empty_layer":true},{"created_by":"y"}]"#,
        r#""history":[{"Created_By":"x","EMPTY_LAYER":true}]"#,
        r#""history":[{"empty_layer":null}]"#,
        r#""history":[{"empty_layer":"true"}]"#,
        r#""history":[{"empty_layer":1}]"#,
        r#""history":[null]"#,
        r#""history":null"#,
        r#""history":{}"#,
        r#""container_config":{"Env":["x","y"]},"docker_version":"1.0""#,
        r#""rootf\u017f":{"diff_ids":[]}"#,
        r#""Rootfs":{"diff_ids":[]}"#,
    ];
    let mut all: Vec<String> = more.iter().map(|more| format!("{{{rootfs},{more}}}")).collect();
    all.extend(
        [
            "null",
            "{}",
            r#"{"rootfs":null}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":null}}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":[null]}}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":["x"]}}"#,
            r#"{"rootfs":{"type":"other","diff_ids":[]}}"#,
            r#"{"rootfs":{"TYPE":"layers","Diff_IDs":[]}}"#,
            r#"{"rootfs":{"type":"layers","diff_id\u017f":[]}}"#,
        ]
        .map(str::to_owned),
    );
    all
}
