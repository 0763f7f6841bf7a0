//! The consumers, one row for every version and mode that behaves differently.

use std::fmt;
use std::str::FromStr;

use crate::compress::Compression;
use crate::error::{Code, Error};

/// A program that takes image archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Consumer {
    /// `ctr images import`.
    Ctr,
    /// The images folder of k3s and rke2.
    K3s,
    /// `kind load image-archive`.
    Kind,
    /// `nerdctl load`.
    Nerdctl,
    /// `docker load` with the classic, graph driver store.
    Docker,
    /// `docker load` with the containerd store.
    DockerC8d,
    /// `podman load`.
    Podman,
    /// `crane validate --tarball`, and what `crane push` needs of a file.
    Crane,
    /// `skopeo copy docker-archive:…` and `oci-archive:…`.
    Skopeo,
}

impl Consumer {
    /// All of them; skopeo last, whose two forms exclude each other.
    pub const ALL: &'static [Consumer] = &[
        Consumer::Ctr,
        Consumer::K3s,
        Consumer::Kind,
        Consumer::Nerdctl,
        Consumer::Docker,
        Consumer::DockerC8d,
        Consumer::Podman,
        Consumer::Crane,
        Consumer::Skopeo,
    ];

    /// The name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Consumer::Ctr => "ctr",
            Consumer::K3s => "k3s",
            Consumer::Kind => "kind",
            Consumer::Nerdctl => "nerdctl",
            Consumer::Docker => "docker",
            Consumer::DockerC8d => "docker-c8d",
            Consumer::Podman => "podman",
            Consumer::Crane => "crane",
            Consumer::Skopeo => "skopeo",
        }
    }
}

/// One version and mode of a consumer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Target {
    /// A stable name: the consumer, the version, the mode.
    pub id: &'static str,
    /// The program.
    pub consumer: Consumer,
    /// What it is, for people.
    pub title: &'static str,
    /// How its behaviour is known.
    pub source: &'static str,
    /// Whether the consumer's name alone selects it.
    pub default: bool,
    /// Whether it keeps names at all.
    pub keeps_names: bool,
    /// Compressions of the whole archive it reads; docker reads layers alike.
    pub(super) outer: &'static [Compression],
    pub(super) model: Model,
}

/// How a consumer reads and stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// docker's classic store.
    Classic {
        /// `manifest.json` holding `null` is nothing, not an error.
        null_is_nothing: bool,
        /// A member `../x` ends the unpacking.
        refuses_outside: bool,
    },
    /// The containerd client importing by itself: `ctr` 1.x, old nerdctl, k3s.
    Client(Client),
    /// containerd's transfer service: `ctr` 2.x, new nerdctl, kind.
    Transfer {
        all_platforms: bool,
        /// What unnamed images are called.
        unnamed: Option<&'static str>,
    },
    /// docker's containerd store.
    Daemon {
        /// 28: damaged images are listed, unpacking is no failure.
        lenient: bool,
    },
    Podman,
    SkopeoDocker,
    SkopeoOci,
    Crane,
}

/// What clients of containerd differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// No platform is filtered out.
    pub(super) all_platforms: bool,
    /// Only the host's own platform passes, not what it can run too.
    pub(super) strict: bool,
    /// Absent manifests are passed over.
    pub(super) skips_missing: bool,
    /// `import-DATE:` in front of bare tags.
    pub(super) prefix: bool,
    /// What unnamed images are called.
    pub(super) unnamed: Option<&'static str>,
    /// Layers are unpacked at once.
    pub(super) unpacks: bool,
    /// containerd 1.7 and later: only layer types count as layers.
    pub(super) knows_layers: bool,
    /// containerd 1.7 and later: what the filter dropped is still there to unpack.
    pub(super) keeps_filtered: bool,
    /// Names are for a kubelet: in full, and with a tag.
    pub(super) kubelet: bool,
}

const CTR16: Client = Client {
    all_platforms: false,
    strict: false,
    skips_missing: false,
    prefix: true,
    unnamed: None,
    unpacks: true,
    knows_layers: false,
    keeps_filtered: false,
    kubelet: false,
};
const CTR17: Client = Client { knows_layers: true, keeps_filtered: true, ..CTR16 };
const K3S: Client = Client {
    all_platforms: true,
    skips_missing: true,
    prefix: false,
    unpacks: false,
    kubelet: true,
    ..CTR17
};
const NERDCTL: Client =
    Client { strict: true, prefix: false, unnamed: Some("overlayfs@"), ..CTR17 };

const PLAIN: &[Compression] = &[];
const GZIP_ZSTD: &[Compression] = &[Compression::Gzip, Compression::Zstd];
const DOCKER20: &[Compression] = &[Compression::Gzip, Compression::Bzip2, Compression::Xz];
const DOCKER26: &[Compression] = &[Compression::Gzip, Compression::Bzip2, Compression::Zstd];
const K3S_OUTER: &[Compression] = &[Compression::Gzip, Compression::Bzip2, Compression::Zstd];
const EVERY: &[Compression] =
    &[Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd];

const OLD_DOCKER: Model = Model::Classic { null_is_nothing: true, refuses_outside: false };
const DOCKER: Model = Model::Classic { null_is_nothing: false, refuses_outside: false };
const NEW_DOCKER: Model = Model::Classic { null_is_nothing: false, refuses_outside: true };
const TRANSFER: Model = Model::Transfer { all_platforms: false, unnamed: None };
const TRANSFER_ALL: Model = Model::Transfer { all_platforms: true, unnamed: None };
const KIND: Model = Model::Transfer { all_platforms: true, unnamed: Some("import-YYYY-MM-DD@") };
const NEW_NERDCTL: Model = Model::Transfer { all_platforms: false, unnamed: Some("import@") };

const fn row(
    id: &'static str,
    consumer: Consumer,
    title: &'static str,
    source: &'static str,
    outer: &'static [Compression],
    model: Model,
) -> Target {
    let keeps_names = !matches!(model, Model::SkopeoDocker | Model::SkopeoOci | Model::Crane);
    Target { id, consumer, title, source, default: true, keeps_names, outer, model }
}

const fn mode(target: Target) -> Target {
    Target { default: false, ..target }
}

/// Every target there is, in the order it is shown.
pub const TARGETS: &[Target] = &{
    use Consumer as C;
    [
        row("ctr-1.6", C::Ctr, "ctr 1.6", "observed with ctr 1.6.20", PLAIN, Model::Client(CTR16)),
        row("ctr-1.7", C::Ctr, "ctr 1.7", "observed with ctr 1.7.24", PLAIN, Model::Client(CTR17)),
        row("ctr-2.1", C::Ctr, "ctr 2.1", "observed with ctr 2.1.9", GZIP_ZSTD, TRANSFER),
        mode(row(
            "ctr-1.6-all",
            C::Ctr,
            "ctr 1.6 --all-platforms",
            "observed with ctr 1.6.20",
            PLAIN,
            Model::Client(Client { all_platforms: true, ..CTR16 }),
        )),
        mode(row(
            "ctr-1.7-all",
            C::Ctr,
            "ctr 1.7 --all-platforms",
            "observed with ctr 1.7.24",
            PLAIN,
            Model::Client(Client { all_platforms: true, ..CTR17 }),
        )),
        mode(row(
            "ctr-2.1-all",
            C::Ctr,
            "ctr 2.1 --all-platforms",
            "observed with ctr 2.1.9",
            GZIP_ZSTD,
            TRANSFER_ALL,
        )),
        row(
            "k3s",
            C::K3s,
            "k3s",
            "derived from the containerd client it imports with; it goes by the file's extension, not by its bytes",
            K3S_OUTER,
            Model::Client(K3S),
        ),
        row(
            "kind",
            C::Kind,
            "kind",
            "derived from the ctr it runs in the node, --all-platforms --digests, containerd 2",
            GZIP_ZSTD,
            KIND,
        ),
        row(
            "nerdctl-2.2",
            C::Nerdctl,
            "nerdctl 2.2",
            "derived from the containerd client it imports with",
            GZIP_ZSTD,
            Model::Client(NERDCTL),
        ),
        row(
            "nerdctl-2.3",
            C::Nerdctl,
            "nerdctl 2.3",
            "derived from containerd's transfer service",
            GZIP_ZSTD,
            NEW_NERDCTL,
        ),
        row(
            "docker-20.10",
            C::Docker,
            "docker 20.10",
            "observed with docker 20.10.24",
            DOCKER20,
            OLD_DOCKER,
        ),
        row("docker-26", C::Docker, "docker 26", "observed with docker 26.1.5", DOCKER26, DOCKER),
        row(
            "docker-28",
            C::Docker,
            "docker 28",
            "observed with docker 28.5.2",
            DOCKER26,
            NEW_DOCKER,
        ),
        row(
            "docker-c8d-26",
            C::DockerC8d,
            "docker 26 (containerd store)",
            "observed with docker 26.1.5",
            DOCKER26,
            Model::Daemon { lenient: false },
        ),
        row(
            "docker-c8d-28",
            C::DockerC8d,
            "docker 28 (containerd store)",
            "observed with docker 28.5.2",
            DOCKER26,
            Model::Daemon { lenient: true },
        ),
        row(
            "podman-5",
            C::Podman,
            "podman 5",
            "observed with podman 5.4.2 and 5.8",
            EVERY,
            Model::Podman,
        ),
        row(
            "crane-0.20",
            C::Crane,
            "crane 0.20",
            "observed with crane 0.20.7",
            PLAIN,
            Model::Crane,
        ),
        row(
            "skopeo-docker-archive",
            C::Skopeo,
            "skopeo docker-archive:",
            "observed with skopeo 1.18 and 1.22",
            EVERY,
            Model::SkopeoDocker,
        ),
        row(
            "skopeo-oci-archive",
            C::Skopeo,
            "skopeo oci-archive:",
            "observed with skopeo 1.18 and 1.22",
            EVERY,
            Model::SkopeoOci,
        ),
    ]
};

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.title)
    }
}

/// What was asked for: a consumer in all its versions, one target, or all.
#[derive(Clone, Debug)]
pub struct Selection(Vec<&'static Target>);

impl Selection {
    /// The targets, in the order of [`TARGETS`].
    #[must_use]
    pub fn targets(&self) -> &[&'static Target] {
        &self.0
    }
}

impl FromStr for Selection {
    type Err = Error;

    /// Reads `all` (every consumer but skopeo), the name of a consumer, or the
    /// id of a target.
    fn from_str(text: &str) -> Result<Selection, Error> {
        let wanted = |target: &&'static Target| {
            let asked = match text {
                "all" => target.consumer != Consumer::Skopeo,
                text => target.consumer.as_str() == text,
            };
            target.id == text || (asked && target.default)
        };
        let targets: Vec<_> = TARGETS.iter().filter(wanted).collect();
        if targets.is_empty() {
            let names: Vec<&str> = Consumer::ALL.iter().map(|consumer| consumer.as_str()).collect();
            let ids: Vec<&str> = TARGETS.iter().map(|target| target.id).collect();
            return Err(Error::new(Code::Usage, format!("no consumer is called \"{text}\""))
                .hint(format!("all, {}; or one of {}", names.join(", "), ids.join(", "))));
        }
        Ok(Selection(targets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_select_targets() {
        let ids = |text: &str| -> Option<Vec<&str>> {
            let selection: Selection = text.parse().ok()?;
            Some(selection.targets().iter().map(|target| target.id).collect())
        };
        assert_eq!(ids("ctr"), Some(vec!["ctr-1.6", "ctr-1.7", "ctr-2.1"]));
        assert_eq!(ids("ctr-2.1-all"), Some(vec!["ctr-2.1-all"]));
        assert_eq!(ids("docker"), Some(vec!["docker-20.10", "docker-26", "docker-28"]));
        assert_eq!(ids("rkt"), None);
        assert!(ids("all").is_some_and(|all| !all.iter().any(|id| id.contains("skopeo"))));
    }
}
