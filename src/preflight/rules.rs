//! What makes consumers refuse, lose or spoil an image: one row a rule.

/// One way an archive fails with a consumer.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// A stable name, for programs.
    pub id: &'static str,
    /// What happens, as a clause.
    pub text: &'static str,
    /// How it is known.
    pub source: &'static str,
    /// The command that mends it, `{in}` standing for the archive. `None`
    /// where the image has to be saved anew.
    pub repair: Option<&'static str>,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $text:literal, $source:literal, $repair:expr;)+) => {
        $($(#[$doc])* pub(super) const $name: &Rule =
            &Rule { id: $id, text: $text, source: $source, repair: $repair };)+

        /// Every rule there is.
        pub const RULES: &[&Rule] = &[$($name,)+];
    };
}

/// Written anew as it is: no links, no odd members, every control file.
const EXPORT: Option<&str> = Some("ocitar export {in} OUT.tar --index keep");
const PLAIN: Option<&str> = Some("ocitar export {in} OUT.tar --index keep --compress none");
/// An index without the promises.
const TRIM: Option<&str> = Some("ocitar export {in} OUT.tar");
const HYBRID: Option<&str> = Some("ocitar convert {in} OUT.tar --index keep --to hybrid");
const SPLIT: Option<&str> = Some("ocitar split {in} DIR --by image");
const RENAME: Option<&str> = Some("ocitar retag {in} OUT.tar OLD=HOST/PATH:TAG");
const NAME: Option<&str> = Some("ocitar retag {in} OUT.tar HOST/PATH:TAG");

rules! {
    // The file as a whole.
    /// The archive's own compression.
    OUTER = "outer-compression",
        "the archive is compressed in a way this consumer does not read",
        "observed: docker 20.10 without zstd, 26.1 and 28.5 without an xz program, ctr 1.x plain only, ctr 2.1 gzip and zstd, podman 5 all four, crane 0.20 plain only",
        PLAIN;
    SKIPPABLE = "outer-skippable-frame",
        "the zstd stream starts with a skippable frame, which containers/image does not take for zstd",
        "observed with podman 5.4 and 5.8, skopeo 1.18 and 1.22",
        PLAIN;
    BROKEN = "tar-broken",
        "the tar cannot be read to its end",
        "observed with every consumer on cut files, stray zero blocks and text behind the last member; crane stops at what it looks for",
        None;
    TYPE = "tar-type",
        "unpacking stops at a member type it does not know",
        "observed with docker 20.10 to 28.5 and skopeo oci-archive on types 7 and V",
        None;
    OUTSIDE = "tar-outside",
        "unpacking stops at a member or link that leads outside",
        "observed with docker 28.5 (20.10 and 26.1 let it pass) and skopeo oci-archive",
        None;
    HARD_LINK = "tar-hard-link",
        "a hard link stands before its target, or is read as an empty file, or not at all",
        "observed: docker needs the target first, containerd does not see hard links, podman and skopeo read them empty",
        EXPORT;
    SYMLINK = "tar-symlink",
        "a symbolic link is not followed to a file",
        "observed: containerd's docker view needs every link of the archive to lead to a file of it, podman and skopeo take a link's size for the layer's",
        EXPORT;
    CHAIN = "tar-symlink-chain",
        "a symbolic link leads to another one: this works by chance",
        "observed with containerd 1.7 and 2.1: the same file loads nine times in ten",
        None;

    // Control files.
    NO_MANIFEST_JSON = "no-manifest-json",
        "there is no manifest.json where this consumer looks for it",
        "observed with docker's classic store, skopeo docker-archive and crane",
        HYBRID;
    NO_INDEX_JSON = "no-index-json",
        "there is no index.json where this consumer looks for it",
        "observed with skopeo oci-archive; containerd asks for it once there is an oci-layout",
        HYBRID;
    NOT_AN_IMAGE = "not-an-image-archive",
        "neither view of an image archive is there",
        "observed with containerd 1.6 to 2.1, also where oci-layout is missing or states no version",
        EXPORT;
    LAYOUT = "oci-layout-version",
        "oci-layout is damaged or states a version other than 1.0.0",
        "observed with containerd 1.6 to 2.1 and docker's containerd store",
        EXPORT;
    MANIFEST_JSON = "manifest-json-damaged",
        "manifest.json is not an array of items, or not JSON",
        "observed: containerd refuses even where it would not use it",
        None;
    TRAILING = "json-trailing",
        "more bytes follow the JSON of a control file",
        "observed: containerd refuses them in index.json, podman and skopeo in manifest.json",
        None;
    INDEX_JSON = "index-json-damaged",
        "index.json is not an index, or not JSON",
        "observed with containerd, podman and skopeo",
        None;
    LARGE = "document-too-large",
        "a document is larger than this consumer reads",
        "observed: manifest.json 20 MiB (containerd) and 1 MiB (podman, skopeo), configurations 4 MiB (podman, skopeo), annotations 16 MiB (containerd)",
        None;
    AMBIGUOUS = "ambiguous",
        "a document or a limit keeps ocitar from telling what happens; taken as a refusal",
        "ocitar's own caution",
        None;
    EMPTY = "no-items",
        "the archive lists no image",
        "observed: docker's classic store and podman end with exit 0, containerd says the image might be filtered out",
        None;
    V1 = "docker-v1",
        "written by docker 1.9 or older: only docker up to 28 reads it",
        "observed with docker 20.10, 26.1, 28.5, containerd, podman, skopeo and crane",
        None;
    ONE_ITEM = "one-image-wanted",
        "this consumer wants exactly one image, or has to be told which",
        "observed with skopeo docker-archive (items), skopeo oci-archive (descriptors) and crane (items)",
        SPLIT;

    // Names.
    UNNAMED = "unnamed",
        "an image without a name is not stored, with exit 0",
        "observed with ctr 1.6 to 2.1",
        NAME;
    BARE_NAME = "bare-name",
        "a name that is one word is stored where no command finds it, or not at all, with exit 0",
        "observed with docker's containerd store 26.1 and 28.5 and ctr 2.1",
        NAME;
    TAG_ONLY = "tag-only",
        "a bare tag instead of a name: the image appears under a name made of the tag",
        "observed with ctr (import-DATE:TAG) and podman (localhost/TAG:latest)",
        NAME;
    INVALID_NAME = "invalid-name",
        "a name is not a valid image reference",
        "observed: containerd and podman refuse such a RepoTags before anything is loaded, docker's classic store leaves the image untagged, docker's containerd store hides it",
        NAME;
    NOT_CANONICAL = "name-not-canonical",
        "a name not spelled in full (docker.io/library/app:tag) is listed and cannot be used",
        "observed with docker's containerd store 26.1 and 28.5; kubelets look up full names only",
        RENAME;
    LOCALHOST = "name-localhost",
        "a name without a registry host becomes localhost/…",
        "observed with podman 5.4 and 5.8",
        RENAME;
    DIGEST_NAME = "name-with-digest",
        "a name with a digest is refused, dropped or listed without tag",
        "observed with docker's classic store, podman 5 and docker's containerd store",
        RENAME;
    TAGLESS = "name-without-tag",
        "a name without a tag",
        "observed: refused by docker's classic store and podman's docker-archive",
        RENAME;
    SAME_NAME = "same-name",
        "two images carry one name, and one of them loses it",
        "observed: the last one wins in docker and containerd, the first in podman",
        Some("ocitar merge -o OUT.tar {in} --on-conflict last");

    // Platforms.
    FILTERED = "platform-filtered",
        "nothing is left for this host: the image is for another platform and says so",
        "observed with ctr 1.6 to 2.1 on archives whose top descriptor, or docker view, states a platform",
        None;
    FILTERED_NAME = "platform-filtered-name",
        "a name leads to an image of another platform, whose content is not kept",
        "observed with ctr 1.6 and 2.1",
        Some("ocitar export {in} OUT.tar --except NAME");
    NO_PLATFORM = "platform-missing",
        "the index holds nothing this host runs",
        "observed: ctr 1.x, podman and skopeo refuse, ctr 2.1 lists a name without content, docker's containerd store keeps it",
        None;
    SPARSE = "platform-absent",
        "the index promises a manifest that is absent and that this consumer asks for",
        "observed with ctr --all-platforms, with a 386 child on amd64 in ctr 1.x, with a child without a platform, and where the host's own is absent",
        TRIM;
    NESTED = "nested-index",
        "an index inside an index",
        "observed: podman, skopeo and docker 26.1 with the containerd store do not read it",
        Some("ocitar export {in} OUT.tar --platform PLATFORM --index flatten");
    OTHER_OS = "other-os",
        "an image for another operating system than the daemon's",
        "observed with docker's classic store",
        None;

    // Content.
    MANIFEST_GONE = "manifest-missing",
        "a manifest or configuration is absent or damaged",
        "observed: containerd and podman look content up by its digest",
        None;
    LAYER_GONE = "layer-missing",
        "a layer is absent",
        "observed with every consumer",
        None;
    LAYER_BAD = "layer-damaged",
        "a layer is not the one of its diff ID or digest",
        "observed with every consumer; crane push does not look",
        None;
    LAYER_CODEC = "layer-compression",
        "a layer is compressed in a way this consumer does not read",
        "observed: docker 20.10 without zstd, docker 26.1 and 28.5 without an xz program, containerd gzip and zstd only, crane gzip only, and all layers alike",
        None;
    LAYER_TYPE = "layer-media-type",
        "compressed bytes under the media type of a plain tar",
        "observed with containerd 1.6 to 2.1 and docker's containerd store",
        None;
    NO_LAYER_TYPE = "no-image-layers",
        "an artifact, or layers of a type this consumer does not unpack",
        "observed with ctr 2.1, docker 26.1 and 28.5 with the containerd store, podman 5",
        None;
    LAYER_COUNT = "layer-count",
        "layers and diff IDs differ in number",
        "observed with docker, containerd, podman docker-archive, skopeo and crane",
        None;
    CONFIG_BAD = "configuration-refused",
        "a configuration this consumer does not take: no rootfs, another rootfs type, or too much history",
        "observed with docker's classic store (rootfs, history), podman (rootfs), ctr 2.1 and crane (rootfs type)",
        None;
    SHA512 = "sha512",
        "content addressed by sha512, which no importer looks up",
        "observed with docker's containerd store, containerd, podman and skopeo",
        None;
    MEDIA_TYPE = "media-type",
        "a descriptor's media type is missing or not that of its document",
        "observed: containerd refuses a descriptor without type and an index called a manifest, podman and skopeo a docker type over an OCI manifest",
        None;
    LAYER_SOURCES = "layer-sources",
        "LayerSources states another size than the layer has",
        "observed with crane 0.20.7 on compressed layers",
        EXPORT;

    // Both views.
    OTHER_VIEW = "view-unreadable",
        "the OCI view cannot be used, so manifest.json is read instead, without a word",
        "observed with podman 5.4 and 5.8",
        None;
    LOST = "image-lost",
        "an image of the archive is not there afterwards, although the import ends with exit 0",
        "follows from what each consumer reads of the archive",
        None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_every_rule_says_how_it_is_known() {
        let mut ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), RULES.len());
        for rule in RULES {
            assert!(!rule.text.is_empty() && !rule.source.is_empty(), "{}", rule.id);
            assert!(rule.repair.is_none_or(|text| text.starts_with("ocitar ")), "{}", rule.id);
        }
    }
}
