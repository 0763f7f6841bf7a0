//! Synthetic archives with `manifest.json` or `repositories`: crane, kaniko, jib, bazel, docker.
//!
//! Written after what the producers' sources say about order, names, modes and times; no producer ran.

use super::Made;
use super::image::{
    Descriptor, Image, Layer, OCI_LAYER, Packing, blob, hex, index, item, sha256, strings,
};
use super::oci::{LAYOUT_SPACED, blobs};
use super::tarball::{Member, Tar};

const NAME: &str = "example.com/team/app:1.0";
const AMD64: &[&str] = &["linux/amd64"];

/// Every archive of this file.
pub fn all() -> Vec<Made> {
    let mut all = vec![
        crane(),
        crane_two(),
        crane_legacy(),
        kaniko(),
        jib("jib-docker", ["Config", "RepoTags", "Layers"]),
        jib("jib-docker-lower-case", ["config", "repoTags", "layers"]),
        bazel(),
        docker25_0(),
        docker25_untagged(),
        docker25_second_untagged(),
        docker28(),
        docker24_links(),
        v1(),
        v1_shared(),
        v1_untagged(),
        hard_links(),
    ];
    let tags = ["null", "[]", "[\"<none>:<none>\"]", "[\"\"]"];
    let names = ["tags-null", "tags-empty", "tags-none", "tags-blank"];
    all.extend(names.into_iter().zip(tags).map(|(name, tags)| unnamed(name, Some(tags))));
    all.push(unnamed("tags-missing", None));
    all
}

/// Layers once each under their stored digest, then the config under a name with a colon.
fn crane_files(images: &[&Image], extension: &str) -> Tar {
    let mut tar = Tar::new();
    for image in images {
        tar = tar.file(&image.config_digest(), &image.config);
        for layer in &image.layers {
            let name = format!("{}{extension}", hex(&layer.digest()));
            if !tar.members.iter().any(|member| member.name == name) {
                tar = tar.file(&name, &layer.blob);
            }
        }
    }
    tar
}

fn crane_item(image: &Image, tag: &str) -> String {
    let layers: Vec<String> =
        image.layers.iter().map(|layer| format!("{}.tar.gz", hex(&layer.digest()))).collect();
    item(&image.config_digest(), &strings(&[tag]), &layers, "")
}

/// `crane pull --format=tarball`.
pub fn crane() -> Made {
    let image = Image::docker("linux/amd64", Image::app("crane").layers);
    let tar = crane_files(&[&image], ".tar.gz")
        .file("manifest.json", format!("[{}]", crane_item(&image, "busybox:1.36")));
    Made::new("crane", "docker", tar).image(
        &image.config_digest(),
        &["docker.io/library/busybox:1.36"],
        AMD64,
    )
}

/// Two images with a layer in common.
fn crane_two() -> Made {
    let first = Image::app("crane");
    let second = Image::new(
        "linux/arm64",
        vec![first.layers[0].clone(), Layer::new("other", Packing::Gzip)],
    );
    let items =
        [crane_item(&first, NAME), crane_item(&second, "example.com/team/other:i-was-a-digest")];
    let tar = crane_files(&[&first, &second], ".tar.gz")
        .file("manifest.json", format!("[{}]", items.join(",")));
    Made::new("crane-two", "docker", tar).image(&first.config_digest(), &[NAME], AMD64).image(
        &second.config_digest(),
        &["example.com/team/other:i-was-a-digest"],
        &["linux/arm64"],
    )
}

/// `crane pull --format=legacy`: plain layers in folders, `repositories` last.
fn crane_legacy() -> Made {
    let image = Image::plain("crane-legacy");
    let mut tar = Tar::new().file(&format!("{}.json", hex(&image.config_digest())), &image.config);
    let ids: Vec<String> =
        image.layers.iter().map(|layer| sha256(format!("crane {}", layer.diff_id()))).collect();
    for (id, layer) in ids.iter().zip(&image.layers) {
        let id = hex(id);
        tar = tar
            .file(&format!("{id}/layer.tar"), &layer.plain)
            .file(&format!("{id}/json"), format!("{{\"id\":\"{id}\"}}"))
            .file(&format!("{id}/VERSION"), "1.0");
    }
    let paths: Vec<String> = ids.iter().map(|id| format!("{}/layer.tar", hex(id))).collect();
    let config = format!("{}.json", hex(&image.config_digest()));
    let tar = tar
        .file("manifest.json", format!("[{}]", item(&config, &strings(&[NAME]), &paths, "")))
        .file(
            "repositories",
            format!("{{\"example.com/team/app\":{{\"1.0\":\"{}\"}}}}", hex(&ids[1])),
        );
    Made::new("crane-legacy", "docker", tar).image(&image.config_digest(), &[NAME], AMD64)
}

/// kaniko `--tar-path`: zstd layers whose names end in `.tar.gz`.
fn kaniko() -> Made {
    let layers = vec![Layer::new("kaniko-1", Packing::Zstd), Layer::new("kaniko-2", Packing::Zstd)];
    let image = Image::new("linux/amd64", layers);
    let name = "docker.io/unset-repo/unset-image-name:latest";
    let tar = crane_files(&[&image], ".tar.gz")
        .file("manifest.json", format!("[{}]", crane_item(&image, name)));
    Made::new("kaniko", "docker", tar).image(&image.config_digest(), &[name], AMD64)
}

/// jib's docker tar: `config.json`, the builder's name, modes with file type bits.
fn jib(name: &'static str, keys: [&str; 3]) -> Made {
    let image = Image::docker("linux/amd64", Image::app("jib").layers);
    let paths: Vec<String> =
        image.layers.iter().map(|layer| format!("{}.tar.gz", hex(&layer.digest()))).collect();
    let mut tar = Tar::new();
    for (path, layer) in paths.iter().zip(&image.layers) {
        tar = tar.file(path, &layer.blob);
    }
    let tags = ["example.com/team/app:1.0", "example.com/team/app:latest"];
    let [config, tag, layers] = keys;
    let manifest = format!(
        "[{{\"{config}\":\"config.json\",\"{tag}\":{},\"{layers}\":{}}}]",
        strings(&tags),
        strings(&paths)
    );
    let tar = tar.file("config.json", &image.config).file("manifest.json", manifest);
    Made::new(name, "docker", tar.each(as_jib)).image(&image.config_digest(), &tags, AMD64)
}

/// What commons-compress makes of every member.
pub fn as_jib(member: &mut Member) {
    member.mode = 0o100_644;
    member.uname = "builder".to_owned();
}

/// What bsdtar makes of a bazel mtree specification.
pub fn as_bazel(member: &mut Member) {
    member.mode = 0o755;
    member.mtime = 1_672_560_000;
}

/// rules_oci, docker format: blobs whose names end in `.tar.gz`, a pretty manifest.
fn bazel() -> Made {
    let image = Image::app("bazel");
    let (config, body) = blob(&image.config);
    let mut tar = Tar::new().file(&config, body);
    let mut paths = Vec::new();
    for layer in &image.layers {
        let path = format!("blobs/sha256/{}.tar.gz", hex(&layer.digest()));
        tar = tar.file(&path, &layer.blob);
        paths.push(path);
    }
    let manifest = format!(
        "[\n  {{\n    \"Config\": \"{config}\",\n    \"RepoTags\": [\n      \"{NAME}\"\n    ],\n    \"Layers\": {}\n  }}\n]\n",
        strings(&paths)
    );
    let tar = tar.file("manifest.json", manifest).each(as_bazel);
    Made::new("bazel-docker", "docker", tar).image(&image.config_digest(), &[NAME], AMD64)
}

/// docker's classic store since 25: layers under their diff IDs, v1 blobs nothing refers to.
fn docker25(image: &Image, tops: &[Descriptor], tags: &[&str], v1_blobs: bool) -> Tar {
    docker25_many(&[(image, tags)], tops, v1_blobs)
}

fn docker25_many(images: &[(&Image, &[&str])], tops: &[Descriptor], v1_blobs: bool) -> Tar {
    let mut files = Vec::new();
    let mut items = Vec::new();
    let mut names = Vec::new();
    for (image, tags) in images {
        files.extend(image.blobs());
        if v1_blobs {
            files.extend(
                image
                    .layers
                    .iter()
                    .map(|layer| blob(format!("{{\"layer\":\"{}\"}}", layer.diff_id()))),
            );
        }
        let paths: Vec<String> = image.layers.iter().map(|layer| blob(&layer.plain).0).collect();
        let sources: Vec<String> = image
            .layers
            .iter()
            .map(|layer| {
                let id = layer.diff_id();
                format!(
                    "\"{id}\":{{\"mediaType\":\"{OCI_LAYER}\",\"size\":{},\"digest\":\"{id}\"}}",
                    layer.plain.len()
                )
            })
            .collect();
        let sources = format!(",\"LayerSources\":{{{}}}", sources.join(","));
        let listed = if tags.is_empty() { "null".to_owned() } else { strings(tags) };
        items.push(item(&blob(&image.config).0, &listed, &paths, &sources));
        let top = image.layers.last().unwrap().diff_id();
        names.extend(tags.iter().map(|tag| {
            let (repository, tag) = tag.rsplit_once(':').unwrap();
            format!("\"{repository}\":{{\"{tag}\":\"{}\"}}", hex(&top))
        }));
    }
    // An empty list is Go's nil slice here.
    let index = if tops.is_empty() { index(tops).replace("[]", "null") } else { index(tops) };
    let mut tar = blobs(files)
        .file("index.json", index)
        .file("manifest.json", format!("[{}]\n", items.join(",")))
        .file("oci-layout", LAYOUT_SPACED);
    if !names.is_empty() {
        tar = tar.file("repositories", format!("{{{}}}\n", names.join(",")));
    }
    tar
}

/// 25.0.0 wrote the layers of the OCI manifest in random order, and a platform into the descriptor.
fn docker25_0() -> Made {
    let mut image = Image::plain("docker25");
    let manifest = Image::new("linux/amd64", image.layers.iter().rev().cloned().collect()).manifest;
    let right = image.manifest.split("\"layers\":").next().unwrap();
    let layers = manifest.split("\"layers\":").nth(1).unwrap();
    image.manifest = format!("{right}\"layers\":{layers}");
    let top = image.child().named("docker.io/library/app:1.0");
    let tar = docker25(&image, &[top], &["app:1.0"], true);
    Made::new("docker25.0.0", "hybrid", tar)
        .image(&image.manifest_digest(), &["docker.io/library/app:1.0"], AMD64)
        .verify(1)
}

/// 25.0.0 to 25.0.2 left an untagged image out of index.json.
fn docker25_untagged() -> Made {
    let image = Image::plain("docker25");
    let tar = docker25(&image, &[], &[], true);
    Made::new("docker25-untagged", "hybrid", tar).image(&image.config_digest(), &[], AMD64)
}

/// A later untagged image is left out of index.json by all versions.
fn docker25_second_untagged() -> Made {
    let (first, second) = (Image::plain("first"), Image::plain("second"));
    let top = first.descriptor().named("docker.io/library/app:1.0");
    let tar = docker25_many(&[(&first, &["app:1.0"]), (&second, &[])], &[top], true);
    Made::new("docker25-second-untagged", "hybrid", tar)
        .image(&first.manifest_digest(), &["docker.io/library/app:1.0"], AMD64)
        .image(&second.config_digest(), &[], AMD64)
}

/// One image, a familiar and a full name.
pub fn docker28() -> Made {
    let image = Image::plain("docker28");
    let names = ["docker.io/library/app:1.0", "localhost:5000/x:v1"];
    let tops = names.map(|name| image.descriptor().named(name));
    let tar = docker25(&image, &tops, &["app:1.0", "localhost:5000/x:v1"], true);
    Made::new("docker28", "hybrid", tar).image(&image.manifest_digest(), &names, AMD64)
}

/// docker 1.12 to 24: `VERSION`, `json` and `layer.tar` in a folder; a layer that was written before is a link,
/// here to a folder that comes later.
pub fn docker24_links() -> Made {
    let shared = Layer::new("shared", Packing::Plain);
    let first = Image::new("linux/amd64", vec![shared.clone(), Layer::new("one", Packing::Plain)]);
    let second = Image::new("linux/amd64", vec![shared.clone(), Layer::new("two", Packing::Plain)]);
    let id = |n: u8| format!("{n:x}").repeat(64);
    let mut tar = Tar::new();
    // In walk order: the link in folder 1 leads to folder 3.
    for (n, layer) in
        [(1, None), (2, Some(&first.layers[1])), (3, Some(&shared)), (4, Some(&second.layers[1]))]
    {
        let id_n = id(n);
        tar = tar.folder(&id_n).file(&format!("{id_n}/VERSION"), "1.0");
        tar = tar.file(&format!("{id_n}/json"), format!("{{\"id\":\"{id_n}\",\"os\":\"linux\"}}"));
        let path = format!("{id_n}/layer.tar");
        tar = match layer {
            Some(layer) => tar.file(&path, &layer.plain),
            None => tar.symlink(&path, &format!("../{}/layer.tar", id(3))),
        };
    }
    let config = |image: &Image| format!("{}.json", hex(&image.config_digest()));
    for image in [&first, &second] {
        tar = tar.file(&config(image), &image.config);
    }
    let path = |n: u8| format!("{}/layer.tar", id(n));
    let items = [
        item(&config(&first), "[\"one:1\"]", &[path(1), path(2)], ""),
        item(&config(&second), "[\"two:1\"]", &[path(3), path(4)], ""),
    ];
    let tar = tar.file("manifest.json", format!("[{}]\n", items.join(","))).file(
        "repositories",
        format!("{{\"one\":{{\"1\":\"{}\"}},\"two\":{{\"1\":\"{}\"}}}}\n", id(2), id(4)),
    );
    Made::new("docker24-links", "docker", tar)
        .image(&first.config_digest(), &["docker.io/library/one:1"], AMD64)
        .image(&second.config_digest(), &["docker.io/library/two:1"], AMD64)
}

/// One folder of an archive from before docker 1.10.
fn v1_folder(tar: Tar, id: &str, parent: Option<&str>, layer: &Layer) -> Tar {
    let parent = parent.map(|parent| format!(",\"parent\":\"{parent}\"")).unwrap_or_default();
    let json = format!(
        "{{\"id\":\"{id}\"{parent},\"architecture\":\"amd64\",\"os\":\"linux\",\"Size\":7}}"
    );
    tar.folder(id)
        .file(&format!("{id}/VERSION"), "1.0")
        .file(&format!("{id}/json"), json)
        .file(&format!("{id}/layer.tar"), &layer.plain)
}

fn v1_files(tops: &[&str]) -> Tar {
    let base = "b".repeat(64);
    let mut tar = Tar::new();
    for id in tops.iter().copied().chain([&*base]) {
        let parent = (id != base).then_some(&*base);
        tar = v1_folder(tar, id, parent, &Layer::new(&id[..8], Packing::Plain));
    }
    tar.each(|member| member.mtime = 1_400_000_000)
}

/// docker before 1.10: one image of two layers, two names.
pub fn v1() -> Made {
    let top = "1".repeat(64);
    let names = format!("{{\"app\":{{\"1.0\":\"{top}\",\"latest\":\"{top}\"}}}}\n");
    let tar = v1_files(&[&top]).file("repositories", names);
    Made::new("docker-v1", "docker-v1", tar).image(
        "",
        &["docker.io/library/app:1.0", "docker.io/library/app:latest"],
        AMD64,
    )
}

/// Two images on one base.
pub fn v1_shared() -> Made {
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    let names =
        format!("{{\"localhost:5000/two\":{{\"2\":\"{two}\"}},\"one\":{{\"1\":\"{one}\"}}}}\n");
    let tar = v1_files(&[&one, &two]).file("repositories", names);
    Made::new("docker-v1-shared", "docker-v1", tar)
        .image("", &["docker.io/library/one:1"], AMD64)
        .image("", &["localhost:5000/two:2"], AMD64)
}

/// Nothing was tagged, so there is no `repositories`.
pub fn v1_untagged() -> Made {
    Made::new("docker-v1-untagged", "docker-v1", v1_files(&[&"1".repeat(64)])).image("", &[], AMD64)
}

/// An archive that was unpacked and packed again where equal files were one file.
fn hard_links() -> Made {
    let layer = Layer::new("same", Packing::Plain);
    let image = Image::new("linux/amd64", vec![layer.clone(), layer.clone()]);
    let config = format!("{}.json", hex(&image.config_digest()));
    let tar = Tar::new()
        .file(&config, &image.config)
        .file("a/layer.tar", &layer.plain)
        .hard_link("b/layer.tar", "a/layer.tar")
        .file(
            "manifest.json",
            format!(
                "[{}]",
                item(&config, &strings(&[NAME]), &["a/layer.tar".into(), "b/layer.tar".into()], "")
            ),
        );
    Made::new("hard-links", "docker", tar).image(&image.config_digest(), &[NAME], AMD64)
}

/// Ways to have no name.
fn unnamed(name: &'static str, tags: Option<&str>) -> Made {
    let image = Image::plain("unnamed");
    let config = format!("{}.json", hex(&image.config_digest()));
    let mut tar = Tar::new().file(&config, &image.config);
    let mut paths = Vec::new();
    for layer in &image.layers {
        let path = format!("{}.tar", hex(&layer.diff_id()));
        tar = tar.file(&path, &layer.plain);
        paths.push(path);
    }
    let mut text = item(&config, tags.unwrap_or("null"), &paths, "");
    if tags.is_none() {
        text = text.replace("\"RepoTags\":null,", "");
    }
    let tar = tar.file("manifest.json", format!("[{text}]"));
    Made::new(name, "docker", tar).image(&image.config_digest(), &[], AMD64)
}

/// The docker view of an OCI layout, as containerd's exporter writes it.
pub fn containerd_manifest(items: &[(&Image, &[&str])]) -> String {
    let list: Vec<String> = items
        .iter()
        .map(|(image, tags)| {
            let tags = if tags.is_empty() { "null".to_owned() } else { strings(tags) };
            let paths: Vec<String> = image.layers.iter().map(|layer| blob(&layer.blob).0).collect();
            item(&blob(&image.config).0, &tags, &paths, "")
        })
        .collect();
    format!("[{}]", list.join(","))
}
