//! The archives that `export`, `convert`, `merge` and `split` are given: made by the real tools where they run, else those
//! that the same commands once wrote into `testdata`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::consumers::{CTR, DOCKER_C8D};
use crate::export_consumers::Run;
use crate::peers::Peers;

/// Three platforms and what was attested of each.
pub const THREE: &str = "registry.example.com/team/three:v1.0";
const EPOCH: &str = "1704164645";
const PLATFORMS: &str = "linux/amd64,linux/arm64,linux/arm/v7";

const BUILDX: &str = "FROM scratch
ARG TARGETARCH
COPY shared /shared
COPY hello-$TARGETARCH /hello
LABEL org.opencontainers.image.title=\"three\"
ENTRYPOINT [\"/hello\"]
";

const TOOLS: &str = "FROM scratch AS base
LABEL part=\"tool\"
COPY base /base

FROM base AS first
COPY first /first

FROM base AS second
COPY second /second
COPY base /again
ENTRYPOINT [\"/second\"]
";

/// Names, and the stage of [`TOOLS`] each is.
const DOCKER_IMAGES: [(&str, &str); 4] = [
    ("localhost:5000/tools/base:1.0", "base"),
    ("docker.io/library/first:1.0", "first"),
    ("example.com/team/first:latest", "first"),
    ("registry.k8s.io/tools/second:v2", "second"),
];

pub struct Inputs {
    /// `buildx build --output type=oci` of three platforms, with provenance.
    pub three: PathBuf,
    /// The same, with statements that name their `subject`; of the BuildKit of docker 28, which not every lab has.
    pub artifact: PathBuf,
    /// `docker save` of docker 20.10: three images, one of them with two names.
    pub docker: PathBuf,
    /// `ctr images export` of one image.
    pub single: PathBuf,
    /// `ctr images export --platform` of `three`, by the writer and the platform.
    pub sparse: Vec<(String, &'static str, PathBuf)>,
}

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

impl Inputs {
    /// What other runs of [`Inputs::make`] wrote.
    pub fn kept() -> Self {
        Self {
            three: testdata("buildx-oci-three.tar"),
            artifact: testdata("buildx-oci-artifact.tar"),
            docker: testdata("docker20-three-images.tar"),
            single: testdata("ctr17-single.tar"),
            sparse: vec![("ctr-1.7".to_owned(), "linux/amd64", testdata("ctr17-sparse-three.tar"))],
        }
    }

    /// Has the real tools build, save and export, in a folder they share.
    pub fn make(peers: &Peers) -> Result<Self, String> {
        let room = peers.room().join("inputs");
        fs::create_dir(&room).map_err(|error| error.to_string())?;
        let three = three(peers, &room)?;
        let mut sparse = Vec::new();
        let inside = |path: &Path| peers.inside(path);
        let outside = |path: &Path| path.to_string_lossy().into_owned();
        let chroot = |words: &[&str]| peers.run(&[&CTR[..], words].concat());
        let host = |words: &[&str]| peers.host_run(&[&["ctr"], words].concat());
        for platform in ["linux/amd64", "linux/arm64"] {
            let path = |tool: &str| room.join(format!("{tool}-sparse-{}.tar", &platform[6..]));
            let out = path("ctr");
            exported(&chroot, &inside(&three), &inside(&out), &["--platform", platform], THREE)?;
            sparse.push(("ctr".to_owned(), platform, out));
            if peers.host {
                let out = path("ctr-1.6");
                exported(
                    &host,
                    &outside(&three),
                    &outside(&out),
                    &["--platform", platform],
                    THREE,
                )?;
                sparse.push(("ctr-1.6".to_owned(), platform, out));
            }
        }
        let (built, single) = (room.join("ctr17-single.tar"), room.join("single.tar"));
        fs::copy(testdata("ctr17-single.tar"), &built).map_err(|error| error.to_string())?;
        // An image with a name of its own, as containerd had it.
        let name = "example.com/team/app:1.0";
        exported(&chroot, &inside(&built), &inside(&single), &[], name)?;
        let docker = if peers.host { docker(peers, &room)? } else { Self::kept().docker };
        Ok(Self { three, artifact: Self::kept().artifact, docker, single, sparse })
    }
}

/// Builds `three` with buildx and the BuildKit of dockerd.
fn three(peers: &Peers, room: &Path) -> Result<PathBuf, String> {
    let folder = room.join("three");
    let (path, inside) = (room.join("three.tar"), peers.inside(&folder));
    write(&folder, "Dockerfile", BUILDX)?;
    write(&folder, "shared", "shared by all platforms\n")?;
    for architecture in ["amd64", "arm64", "arm"] {
        let text = format!("built for {architecture}\n");
        write(&folder, &format!("hello-{architecture}"), &text)?;
    }
    let to = format!("type=oci,dest={},name={THREE},rewrite-timestamp=true", peers.inside(&path));
    let epoch = format!("SOURCE_DATE_EPOCH={EPOCH}");
    let words = ["buildx", "build", "-q", "--build-arg", &epoch, "--provenance=mode=max"];
    let output = ["--platform", PLATFORMS, "--output", &to, &inside];
    peers.run(&[&DOCKER_C8D[..], &words, &output].concat())?;
    let _ = peers.run(&[&DOCKER_C8D[..], &["buildx", "prune", "-af"]].concat());
    Ok(path)
}

/// What containerd exports again of an archive it imported whole.
fn exported(plain: &Run, from: &str, to: &str, flags: &[&str], name: &str) -> Result<(), String> {
    let space = format!("ocitar-inputs-{}", std::process::id());
    let ctr = |words: &[&str]| plain(&[&["-n", space.as_str(), "images"], words].concat());
    ctr(&["import", "--no-unpack", "--all-platforms", from])?;
    let done = ctr(&[&["export"], flags, &[to, name]].concat());
    ctr(&["rm", "--sync", name])?;
    let _ = plain(&["namespaces", "rm", &space]);
    done.map(|_| ())
}

/// Builds and saves with docker 20.10.
fn docker(peers: &Peers, room: &Path) -> Result<PathBuf, String> {
    let docker = |words: &[&str]| peers.host_run(&[&["docker"], words].concat());
    let (folder, path) = (room.join("tools"), room.join("docker20.tar"));
    write(&folder, "Dockerfile", TOOLS)?;
    for name in ["base", "first", "second"] {
        write(&folder, name, &format!("{name} of the tools\n"))?;
    }
    let mut save = vec!["save", "-o", path.to_str().unwrap()];
    for (name, stage) in DOCKER_IMAGES {
        docker(&["build", "-q", "-t", name, "--target", stage, folder.to_str().unwrap()])?;
        save.push(name);
    }
    docker(&save)?;
    let names = DOCKER_IMAGES.map(|(name, _)| name);
    docker(&[&["image", "rm", "-f"], &names[..]].concat())?;
    Ok(path)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(folder.join(name), text))
        .map_err(|error| error.to_string())
}
