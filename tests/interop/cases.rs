//! The archives, how each is renamed, and what its names are afterwards.

/// One archive of `testdata` and one way to rename it.
pub struct Case {
    /// File in `testdata`; a trailing `/` means: unpacked, as a folder.
    pub file: String,
    /// Rules, as given to `ocitar retag IN OUT`.
    pub rules: Vec<String>,
    /// Old name and new name; the old name is empty for an unnamed image, `name@` stands for any digest.
    /// Names not listed here stay.
    pub names: Vec<(String, String)>,
    /// Consumers that refuse archives of this shape whatever their names are, and why.
    pub refused: Vec<(&'static str, &'static str)>,
}

impl Case {
    fn new(file: &str, rules: &[&str], names: &[(&str, &str)]) -> Self {
        Self {
            file: file.to_owned(),
            rules: rules.iter().map(|&rule| rule.to_owned()).collect(),
            names: names.iter().map(|&(old, new)| (old.to_owned(), new.to_owned())).collect(),
            refused: Vec::new(),
        }
    }

    fn refused(mut self, consumer: &'static str, why: &'static str) -> Self {
        self.refused.push((consumer, why));
        self
    }

    /// What the table calls it.
    pub fn title(&self) -> String {
        format!(
            "{} {}",
            self.file.rsplit_terminator('/').next().unwrap_or_default(),
            if self.rules.len() == 1 { "NEW" } else { "rules" }
        )
    }

    fn after(&self, name: &str) -> String {
        let digest = name.find('@').map_or("", |at| &name[at + 1..]);
        let same = |old: &str| {
            name.strip_prefix(old).is_some_and(|rest| rest.is_empty() || old.ends_with('@'))
        };
        match self.names.iter().find(|(old, _)| !old.is_empty() && same(old)) {
            Some((_, new)) if new.ends_with('@') => format!("{new}{digest}"),
            Some((_, new)) => new.clone(),
            None => name.to_owned(),
        }
    }

    /// The names an image has after the run, when these were its names before.
    pub fn renamed(&self, names: &[String]) -> Vec<String> {
        let mut new: Vec<String> = match names {
            [] => self
                .names
                .iter()
                .filter(|(old, _)| old.is_empty())
                .map(|(_, new)| new.clone())
                .collect(),
            names => names.iter().map(|name| self.after(name)).collect(),
        };
        new.sort();
        new.dedup();
        new
    }
}

/// The name that `NEW` gives.
pub const NEW: &str = "registry.example.com/interop/app:v9";

const APP: &str = "docker.io/library/app:1.0";
const TEAM: &str = "example.com/team/app:1.0";
const LATEST: &str = "example.com/team/app:latest";

/// The archive's one image, whatever its names are, gets one name.
fn new(file: &str, old: &[&str]) -> Case {
    let names: Vec<_> = old.iter().map(|&old| (old, NEW)).collect();
    Case::new(file, &[NEW], &names)
}

/// Both names of `app` change, by a prefix and by an exact rule.
fn two_tags(file: &str) -> Case {
    Case::new(
        file,
        &[
            "--prefix",
            "docker.io/library=registry.example.com/mirror",
            "example.com/team/app:latest=localhost:5000/app:v2",
        ],
        &[(APP, "registry.example.com/mirror/app:1.0"), (LATEST, "localhost:5000/app:v2")],
    )
}

fn tools(file: &str) -> Case {
    Case::new(
        file,
        &["--prefix", "localhost:5000/tools=registry.example.com/mirror/tools"],
        &[
            ("localhost:5000/tools/base:1.0", "registry.example.com/mirror/tools/base:1.0"),
            ("localhost:5000/tools/first:1.0", "registry.example.com/mirror/tools/first:1.0"),
        ],
    )
}

/// Every case that `testdata` gives.
pub fn all() -> Vec<Case> {
    let multi = "registry.k8s.io/team/multi:v1.0";
    let ghcr = "ghcr.io/team/multi:v1.0";
    let edge = "docker.io/library/app:edge";
    let quay = "quay.io/team/app:1.0";
    let mut cases = vec![
        two_tags("docker20-two-tags.tar"),
        new("docker20-two-tags.tar", &[APP, LATEST]),
        tools("docker20-links.tar")
            .refused("skopeo-docker", "takes the size of a linked layer for 0"),
        new("docker20-by-id.tar", &[""]),
        two_tags("docker26-two-tags.tar"),
        new("docker26-two-tags.tar", &[APP, LATEST]),
        Case::new(
            "docker26-two-images.tar",
            &[
                "docker.io/library/app:1.0=docker.io/example/app:1.1",
                "--prefix",
                "registry.k8s.io=registry.example.com:8443/k8s",
            ],
            &[
                (APP, "docker.io/example/app:1.1"),
                (
                    "registry.k8s.io/tools/second:v2",
                    "registry.example.com:8443/k8s/tools/second:v2",
                ),
            ],
        ),
        tools("docker26-parent.tar"),
        new("docker26-by-id.tar", &[""]),
        new("docker26c8d-single.tar", &[TEAM]),
        new("docker26c8d-by-id.tar", &[""]),
        new("docker26c8d-multi-attested.tar", &["docker.io/library/multi:1.0"]),
        new("buildx-oci-single.tar", &[TEAM]),
        new("buildx-oci-unnamed.tar", &[""]),
        Case::new(
            "buildx-oci-two-names.tar",
            &[
                "--prefix",
                "docker.io/library=registry.example.com/mirror",
                "--prefix",
                "example.com/team=registry.example.com/team",
            ],
            &[
                (edge, "registry.example.com/mirror/app:edge"),
                (TEAM, "registry.example.com/team/app:1.0"),
            ],
        ),
        new("buildx-oci-two-names.tar", &[edge, TEAM]),
        new("buildx-oci-multi.tar", &[multi]),
        new("buildx-oci-multi/", &[multi]),
        new("buildx-oci-attested.tar", &[ghcr]),
        new("buildx-oci-zstd.tar", &["example.com/team/app:zstd"]),
        new("buildx-oci-estargz.tar", &["example.com/team/app:estargz"]),
        new("buildx-oci-uncompressed.tar", &["example.com/team/app:uncompressed"]),
        new("buildx-docker.tar", &[APP]),
        new("ctr17-single.tar", &[TEAM]),
        new("ctr17-oci-only.tar", &[TEAM]),
        new("ctr17-all-platforms.tar", &[multi]),
        Case::new(
            "ctr17-shared-config.tar",
            &["--prefix", "registry.k8s.io/team=registry.example.com/team"],
            &[
                (multi, "registry.example.com/team/multi:v1.0"),
                ("registry.k8s.io/team/one:v1.0", "registry.example.com/team/one:v1.0"),
            ],
        ),
        new("ctr17-sparse.tar", &[multi]),
        new("ctr17-sparse-attested.tar", &[ghcr]),
        Case::new(
            "ctr17-two-names.tar",
            &[
                "docker.io/library/app:edge=docker.io/library/app:stable",
                "example.com/team/app=registry.example.com/team/app",
            ],
            &[(edge, "docker.io/library/app:stable"), (TEAM, "registry.example.com/team/app:1.0")],
        ),
        new("ctr16-single.tar", &[TEAM]),
        new("podman5-docker-archive.tar", &[APP]),
        Case::new(
            "podman5-two-images.tar",
            &[
                "--prefix",
                "docker.io/library=registry.example.com/mirror",
                "localhost/tools/second:v2=quay.io/tools/second:v3",
            ],
            &[
                (APP, "registry.example.com/mirror/app:1.0"),
                ("localhost/tools/second:v2", "quay.io/tools/second:v3"),
            ],
        ),
        new("podman5-oci-archive.tar", &[APP]),
        new("skopeo-docker-archive.tar", &[quay]),
        new("skopeo-oci-archive.tar", &[quay]),
        new("skopeo-oci-tag-only.tar", &[""]),
        new("skopeo-oci-all.tar", &["quay.io/team/multi:1.0"]),
        new("skopeo-oci-zstd.tar", &["quay.io/team/app:zstd"]),
        new("umoci-dot.tar", &[""]),
        new("umoci-star.tar", &[""]),
        new("oras-artifact.tar", &[""]),
        Case::new(
            "oras-attached.tar",
            &["--prefix", "example.com/team=registry.example.com/team"],
            &[(TEAM, "registry.example.com/team/app:1.0")],
        ),
    ];
    for end in ["tar.gz", "members.tar.gz", "tar.zst", "frames.tar.zst", "tar.xz", "tar.bz2"] {
        cases.push(two_tags(&format!("docker26-two-tags.{end}")));
        cases.push(new(&format!("buildx-oci-multi.{end}"), &[multi]));
    }
    cases.extend(digest_name());
    cases
}

/// A name with a digest: it stays one under a prefix rule, `NEW` makes it a tagged one.
fn digest_name() -> [Case; 2] {
    let file = "ctr17-digest-name.tar";
    let rules = ["--prefix", "example.com/team=registry.example.com/team"];
    let kept =
        Case::new(file, &rules, &[("example.com/team/app@", "registry.example.com/team/app@")]);
    let why = "takes no name with a digest";
    let kept = ["docker-26", "docker-26-c8d", "docker-20.10", "podman", "skopeo-docker"]
        .iter()
        .fold(kept, |case, consumer| case.refused(consumer, why));
    [new(file, &["example.com/team/app@"]), kept]
}

/// Images of a size that does not fit into a pipe or a buffer; the test builds them.
pub fn big(docker: &str, containerd: &str) -> [Case; 2] {
    [new(docker, &["example.com/team/big:1.0"]), new(containerd, &["example.com/team/big:1.0"])]
}
