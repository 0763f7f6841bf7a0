#!/usr/bin/env python3
"""Small image archives, one precise shape each, for tests/preflight.

    shapes.py DIR [SHAPE...]     writes DIR/<shape>.tar and DIR/labels.tsv (shape, digest, label)

Python standard library; zstd and lz4 from the PATH. Every image is made of layers that hold one small file, whose text
depends on the shape, so that no two shapes share content. Labels say which image of a shape a digest belongs to: `cfgA`,
`manA` of the first, `cfgB`, `manB` of the second, by platform where an index lists them, `idx0` of an index.

Prefixes of the names: `d-` manifest.json only, `oci-` index.json only, `hy-` both, `ix-` an index below index.json,
`att-` one with an attestation, `top-` a platform in the descriptor of index.json, `mj-` odd manifest.json.
"""
import base64, bz2, gzip, hashlib, json, lzma, os, subprocess, sys

V1 = "application/vnd.oci.image."
INDEX, MANIFEST, CONFIG = V1 + "index.v1+json", V1 + "manifest.v1+json", V1 + "config.v1+json"
LAYER = V1 + "layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
NAME, REF = "io.containerd.image.name", "org.opencontainers.image.ref.name"
BAD_NAME = "example.com/OBS/Up:1"
MIB = 1 << 20
SHAPES = {}


def shape(*names):
    """Registers what makes the archives of these names; it is called with the name."""
    def register(make):
        SHAPES.update((name, make) for name in names)
        return make
    return register


def rows(table, make):
    """Registers a shape a row: the name and what `make` gets besides."""
    for name, *rest in table:
        SHAPES[name] = lambda key, rest=rest: make(key, *rest)


# ---- bytes

def through(program):
    return lambda data: subprocess.run([program, "-q", "-c"], input=data, capture_output=True, check=True).stdout


PACK = {"": bytes, "gz": lambda data: gzip.compress(data, mtime=0), "bz2": bz2.compress, "xz": lzma.compress,
        "zst": through("zstd"), "lz4": through("lz4")}
SUFFIX = {"gz": "+gzip", "zst": "+zstd"}


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def digest(data, algorithm="sha256"):
    return algorithm + ":" + hashlib.new(algorithm, data).hexdigest()


def path_of(blob):
    return "blobs/" + blob.replace(":", "/")


def name_of(key):
    return f"example.com/obs/{key}:1"


def named(name):
    """The annotations containerd writes: the name, and its tag."""
    return {NAME: name, REF: name.rpartition(":")[2]}


# ---- tar

class Entry:
    def __init__(self, name, data=b"", kind="0", link="", records=None, owner=""):
        self.name, self.data, self.kind, self.link = name, data, kind, link
        self.records, self.owner = dict(records or {}), owner

    def bytes(self):
        name, records, out = self.name, dict(self.records), b""
        if len(name.encode()) > 100:
            records.setdefault("path", name)
        if records:
            out += block("pax", pax(records), "x")
            name = "short" if "path" in records else name
        return out + block(name, self.data, self.kind, self.link, self.owner)


def pax(records):
    text = b""
    for key, value in records.items():
        rest = f" {key}={value}\n".encode()
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length += 1
        text += str(length).encode() + rest
    return text


def block(name, data, kind, link="", owner=""):
    """A ustar header, the body and its padding."""
    mode = 0o755 if kind == "5" else 0o644
    head = bytearray(512)
    def put(at, field):
        head[at:at + len(field)] = field
    put(0, name.encode())
    for at, value in ((100, mode), (108, 0), (116, 0)):
        put(at, b"%07o\0" % value)
    put(124, b"%011o\0" % len(data))
    put(136, b"%011o\0" % 0)
    put(148, b" " * 8)
    put(156, kind.encode())
    put(157, link.encode())
    put(257, b"ustar\00000")
    put(265, owner.encode())
    if kind in "34":
        put(329, b"%07o\0" % 1)
        put(337, b"%07o\0" % 3)
    put(148, b"%06o\0 " % sum(head))
    return bytes(head) + data + b"\0" * (-len(data) % 512)


class Archive:
    """Entries, the end marker, what is done to the whole, and labels of digests."""

    def __init__(self):
        self.entries, self.end, self.whole, self.labels = [], b"\0" * 1024, bytes, {}

    def add(self, *args, **more):
        self.entries.append(Entry(*args, **more))
        return self

    def label(self, **images):
        for letter, image in images.items():
            self.labels.update({image.config_digest: "cfg" + letter, image.digest: "man" + letter})
        return self

    def find(self, name):
        return next(entry for entry in self.entries if entry.name == name)

    def drop(self, name):
        self.entries = [entry for entry in self.entries if entry.name != name]
        return self

    def change(self, name, edit):
        entry = self.find(name)
        entry.data = edit(entry.data)
        return self

    def move(self, rename):
        for entry in self.entries:
            entry.name = rename(entry.name)
        return self

    def bytes(self):
        parts = (entry if isinstance(entry, bytes) else entry.bytes() for entry in self.entries)
        return self.whole(b"".join(parts) + self.end)


# ---- images

class Image:
    """Layers, a configuration and a manifest. `packs` says how each layer is compressed."""

    def __init__(self, seed, layers=None, packs=("",), arch="amd64", os_name="linux", algorithm="sha256", docker=False,
                 layer_type=None, config=None, without=(), manifest=None):
        texts = [seed] if layers is None else layers
        packs = list(packs) * (len(texts) if len(packs) == 1 else 1)
        tars = [block("f", text.encode(), "0") + b"\0" * 1024 for text in texts]
        self.arch, self.os, self.algorithm = arch, os_name, algorithm
        self.diff_ids = [digest(tar) for tar in tars]
        self.blobs = [PACK[pack](tar) for pack, tar in zip(packs, tars)]
        step = {"created": "2024-01-02T03:04:05Z", "created_by": "test"}
        fields = {"architecture": arch, "os": os_name, "created": "2024-01-02T03:04:05Z",
                  "config": {"Cmd": ["/f"], "Labels": {"seed": seed}},
                  "rootfs": {"type": "layers", "diff_ids": self.diff_ids}, "history": [step for _ in texts]}
        fields.update(config or {})
        for key in without:
            del fields[key]
        self.config = dump(fields)
        self.config_digest = digest(self.config, algorithm)
        self.layer_digests = [digest(blob, algorithm) for blob in self.blobs]
        kind = DOCKER_LAYER if docker else LAYER
        types = [layer_type or kind + SUFFIX.get(pack, "") for pack in packs]
        self.fields = {
            "schemaVersion": 2, "mediaType": DOCKER_MANIFEST if docker else MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG if docker else CONFIG, "digest": self.config_digest,
                       "size": len(self.config)},
            "layers": [{"mediaType": media, "digest": found, "size": len(blob)}
                       for media, found, blob in zip(types, self.layer_digests, self.blobs)]}
        self.fields.update(manifest or {})
        self.seal()

    def seal(self):
        """Makes the manifest of its fields."""
        self.manifest = dump(self.fields)
        self.digest = digest(self.manifest, self.algorithm)
        return self

    def edit(self, change):
        change(self.fields)
        return self.seal()

    def descriptor(self, annotations=None, platform=False, **more):
        found = {"mediaType": self.fields.get("mediaType", MANIFEST), "digest": self.digest, "size": len(self.manifest)}
        if annotations:
            found["annotations"] = annotations
        if platform:
            found["platform"] = {"architecture": self.arch, "os": self.os}
        return {**found, **more}

    def item(self, tags, **more):
        """An item of manifest.json that leads into blobs/."""
        return {"Config": path_of(self.config_digest), "RepoTags": tags,
                "Layers": [path_of(found) for found in self.layer_digests], **more}

    def files(self):
        yield from zip(map(path_of, self.layer_digests), self.blobs)
        yield path_of(self.config_digest), self.config
        yield path_of(self.digest), self.manifest


def put_blobs(archive, *images):
    for image in images:
        for name, data in image.files():
            if not any(entry.name == name for entry in archive.entries):
                archive.add(name, data)


def put_flat(archive, image, tags):
    """Configuration and layers at the root; gives the item."""
    config = image.config_digest.partition(":")[2] + ".json"
    layers = [found.partition(":")[2] + ".tar" for found in image.layer_digests]
    for name, data in [*zip(layers, image.blobs), (config, image.config)]:
        if not any(entry.name == name for entry in archive.entries):
            archive.add(name, data)
    return {"Config": config, "RepoTags": tags, "Layers": layers}


def put_control(archive, descriptors, layout=b'{"imageLayoutVersion":"1.0.0"}', index=None):
    value = {"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors}
    archive.add("index.json", dump(value) if index is None else index)
    if layout is not None:
        archive.add("oci-layout", layout)
    return archive


def put_items(archive, *items):
    return archive.add("manifest.json", dump(items))


def flat(key, tags=None, item=None, image=None, **more):
    """manifest.json only, one image."""
    archive, image = Archive(), image or Image(key, **more)
    found = put_flat(archive, image, [name_of(key)] if tags is None else tags)
    found.update(item or {})
    return put_items(archive, found).label(A=image)


def layout(key, annotations=None, image=None, index=None, marker=b'{"imageLayoutVersion":"1.0.0"}', top=None, **more):
    """index.json only, one image; named like the shape unless `annotations` says otherwise."""
    archive, image = Archive(), image or Image(key, **more)
    put_blobs(archive, image)
    descriptor = image.descriptor(named(name_of(key)) if annotations is None else annotations)
    descriptor.update(top or {})
    return put_control(archive, [descriptor], marker, index).label(A=image)


def hybrid(key, annotations=None, tags=None, image=None, items=None, item=None, **more):
    """Both views of one image."""
    parts = {name: more.pop(name) for name in ("index", "marker", "top") if name in more}
    image = image or Image(key, **more)
    archive = layout(key, annotations, image, **parts)
    found = image.item([name_of(key)] if tags is None else tags, **(item or {}))
    return archive.add("manifest.json", dump([found]) if items is None else items)


def pair(key, form, names=None, second=None):
    """Two images, `-a` and `-b` unless `names` says otherwise."""
    archive, images = Archive(), (Image(key + "A"), Image(key + "B", **(second or {})))
    names = names or [name_of(key + "-a"), name_of(key + "-b")]
    archive.label(A=images[0], B=images[1])
    tags = [[name] for name in names]
    if form == "d":
        return put_items(archive, *[put_flat(archive, *both) for both in zip(images, tags)])
    put_blobs(archive, *images)
    put_control(archive, [image.descriptor(named(name)) for image, name in zip(images, names)])
    if form == "hy":
        put_items(archive, *[image.item(tag) for image, tag in zip(images, tags)])
    return archive


def put_index(archive, children, label="idx0"):
    """An index blob; gives its descriptor."""
    data = dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
    archive.add(path_of(digest(data)), data).labels[digest(data)] = label
    return {"mediaType": INDEX, "digest": digest(data), "size": len(data)}


# ---- basic forms

def old_folder(archive, key, image, **fields):
    """A layer as docker before 25 wrote it; gives its ID."""
    layer = hashlib.sha256(key.encode()).hexdigest()
    archive.add(layer + "/", kind="5").add(layer + "/VERSION", b"1.0")
    archive.add(layer + "/json", dump({"id": layer, "created": "2015-01-01T00:00:00Z", "os": "linux", **fields}))
    archive.add(layer + "/layer.tar", image.blobs[0])
    return layer


@shape("d-legacy")
def _(key):
    archive, image = Archive(), Image(key)
    config = image.config_digest[7:] + ".json"
    archive.add(config, image.config)
    layer = old_folder(archive, key, image)
    put_items(archive, {"Config": config, "RepoTags": [name_of(key)], "Layers": [layer + "/layer.tar"]})
    return archive.add("repositories", dump({name_of(key)[:-2]: {"1": layer}})).label(A=image)


@shape("v1-only")
def _(key):
    archive = Archive()
    layer = old_folder(archive, key, Image(key), architecture="amd64", config={"Cmd": ["/f"]})
    return archive.add("repositories", dump({name_of(key)[:-2]: {"1": layer}}))


SHAPES["d-flat"] = flat
rows([("oci-ain", None), ("oci-rn-tag", {REF: "obsbaretag"}), ("oci-noname", {})], layout)
rows([("hy-ok-last",), ("hy-gzip", "gz")], lambda key, pack="": hybrid(key, packs=(pack,)))
SHAPES["oci-rn-full"] = lambda key: layout(key, {REF: name_of(key)})
SHAPES["oci-ain-only"] = lambda key: layout(key, {NAME: name_of(key)})
SHAPES["oci-dockermt"] = lambda key: layout(key, docker=True)


@shape("hy-ok-first")
def _(key):
    archive = hybrid(key)
    archive.entries.sort(key=lambda entry: entry.name.startswith("blobs/"))
    return archive


def untagged(key, **more):
    archive = hybrid(key, **more)
    return archive.change("manifest.json", lambda data: data.replace(dump([name_of(key)]), b"null"))


SHAPES["hy-noname"] = lambda key: untagged(key, annotations={})
SHAPES["hy-oci-named-only"] = untagged
SHAPES["hy-docker-named-only"] = lambda key: hybrid(key, {})
SHAPES["hy-rn-tag-only"] = lambda key: hybrid(key, {REF: "1"})

# ---- two views

SHAPES["hy-names-differ"] = lambda key: hybrid(key, named(name_of(key + "-o")), [name_of(key + "-d")])


@shape("hy-images-differ", "hy-images-differ-samename")
def _(key):
    archive, a, b = Archive(), Image(key + "A"), Image(key + "B")
    docker, oci = ("", "") if key.endswith("samename") else ("-d", "-o")
    put_blobs(archive, a, b)
    put_control(archive, [b.descriptor(named(name_of(key + oci)))])
    return put_items(archive, a.item([name_of(key + docker)])).label(A=a, B=b)


rows([("hy-mj-broken", b"{oops"), ("hy-mj-empty", b"[]"), ("hy-mj-null", b"null")],
     lambda key, items: hybrid(key, items=items))
SHAPES["hy-mj-object"] = lambda key: hybrid(key).change("manifest.json", lambda data: data[1:-1])
SHAPES["hy-mj-badpaths"] = lambda key: hybrid(key, item={"Config": "nope.json", "Layers": ["nope/layer.tar"]})
SHAPES["hy-mj-badname"] = lambda key: hybrid(key, tags=[BAD_NAME])

# ---- several names and images


@shape("oci-2names", "hy-2names")
def _(key):
    archive, image = Archive(), Image(key)
    names = [name_of(key + end) for end in ("-a", "-b")]
    put_blobs(archive, image)
    put_control(archive, [image.descriptor(named(name)) for name in names])
    if key.startswith("hy"):
        put_items(archive, image.item(names))
    return archive.label(A=image)


SHAPES["d-2names"] = lambda key: flat(key, [name_of(key + "-a"), name_of(key + "-b")])
rows([("d-2img", "d"), ("oci-2img", "oci"), ("hy-2img", "hy")], pair)
rows([("d-2img-1name", "d"), ("oci-2img-1name", "oci")], lambda key, form: pair(key, form, [name_of(key)] * 2))
SHAPES["d-2img-2ndbad"] = lambda key: pair(key, "d", [name_of(key), BAD_NAME])


@shape("hy-2img-1bad")
def _(key):
    return pair(key, "hy").drop(path_of(Image(key + "B").layer_digests[0]))


@shape("d-2items-1cfg", "d-samecfg-difflayers")
def _(key):
    archive, a, b = Archive(), Image(key + "A"), Image(key + "B")
    first = put_flat(archive, a, [name_of(key + "-a")])
    other = first if key == "d-2items-1cfg" else put_flat(archive, b, [])
    archive.label(A=a)
    return put_items(archive, first, {**first, "RepoTags": [name_of(key + "-b")], "Layers": other["Layers"]})


def two_annotated(key, first, second):
    archive, a, b = Archive(), Image(key + "A"), Image(key + "B")
    put_blobs(archive, a, b)
    return put_control(archive, [a.descriptor(first), b.descriptor(second)]).label(A=a, B=b)


SHAPES["oci-2img-samern"] = lambda key: two_annotated(
    key, {NAME: name_of(key + "-a"), REF: "1"}, {NAME: name_of(key + "-b"), REF: "1"})
SHAPES["oci-2img-rntag"] = lambda key: two_annotated(key, {REF: "obst1"}, {REF: "obst2"})
SHAPES["oci-2img-noname"] = lambda key: two_annotated(key, None, None)

# ---- names

X = digest(b"x")
rows([
    ("d-canonical", "docker.io/library/obsc:1"), ("d-familiar", "obsf:1"), ("d-userrepo", "obsu/app:1"),
    ("d-indexdockerio", "index.docker.io/library/obsi:1"), ("d-tags-none", "<none>:<none>"), ("d-tags-emptystr", ""),
    ("d-tags-upper", BAD_NAME), ("d-tags-nonascii", "example.com/obs/na:é1"), ("d-tags-sha256", digest(b"y")),
    ("d-tags-longtag", "example.com/obs/lt:" + "a" * 129), ("d-dbl-underscore", "example.com/obs__x/y:1"),
], lambda key, tag: flat(key, [tag]))
rows([("d-tags-null", None), ("d-tags-empty", [])], lambda key, tags: flat(key, item={"RepoTags": tags}))
SHAPES["d-tags-absent"] = lambda key: flat(key).change(
    "manifest.json", lambda data: data.replace(b'"RepoTags":' + dump([name_of(key)]) + b",", b""))
SHAPES["d-tags-notag"] = lambda key: flat(key, [name_of(key)[:-2]])
SHAPES["d-tags-digest"] = lambda key: flat(key, [name_of(key)[:-2] + "@" + X])
SHAPES["d-tags-tagdigest"] = lambda key: flat(key, [name_of(key) + "@" + X])
SHAPES["d-tags-space"] = lambda key: flat(key, [" " + name_of(key)])
SHAPES["d-tags-good-then-bad"] = lambda key: flat(key, [name_of(key), BAD_NAME])
rows([
    ("oci-ain-canon", "docker.io/library/obsac:1"), ("oci-ain-bare", "obsbare"), ("oci-ain-fam", "obsafam:1"),
    ("oci-ain-index", "index.docker.io/library/obsai:1"), ("oci-ain-hub-short", "docker.io/obsah:1"),
    ("oci-ain-notag", "example.com/obs/antag"), ("oci-ain-digest", "example.com/obs/adig@" + X),
    ("oci-ain-tagdigest", "example.com/obs/atd:1@" + X), ("oci-ain-upper", BAD_NAME),
    ("oci-ain-nonascii", "example.com/obs/ana:é1"), ("oci-ain-space", " example.com/obs/asp:1"),
    ("oci-ain-none", "<none>:<none>"),
], lambda key, name: layout(key, {NAME: name, REF: "1"}))
SHAPES["oci-ain-empty"] = lambda key: layout(key, {NAME: "", REF: ""})
SHAPES["oci-ain-own-digest"] = lambda key: layout(
    key, dict.fromkeys([NAME, REF], name_of(key)[:-2] + "@" + Image(key).digest))
rows([("oci-rn-fam", "obsrfam:1"), ("oci-rn-upper", BAD_NAME), ("oci-rn-badgrammar", "example.com/obs__x/z:1"),
      ("oci-rn-nonascii", "é1"), ("oci-rn-sha256", X)], lambda key, name: layout(key, {REF: name}))

# ---- platforms


def platforms(key, listed, present=None, both=None, silent=(), packs=("",)):
    """An index of the platforms `listed`; `present` are there, `silent` ones do not say what they are."""
    archive = Archive()
    images = {name: Image(key + name, arch=name.split("/")[0], packs=packs) for name in listed}
    children = []
    for name, image in images.items():
        archive.labels.update({image.config_digest: "cfg" + name, image.digest: "man" + name})
        child = image.descriptor(platform=name not in silent)
        if "/" in name:
            child["platform"]["variant"] = name.split("/")[1]
        children.append(child)
    put_blobs(archive, *[images[name] for name in (listed if present is None else present)])
    top = put_index(archive, children)
    put_control(archive, [{**top, "annotations": named(name_of(key))}])
    return put_items(archive, images[both].item([name_of(key)])) if both else archive


AMD_ARM = ["amd64", "arm64"]
rows([
    ("ix-full", AMD_ARM), ("ix-sparse", AMD_ARM, ["amd64"]), ("ix-sparse-hy", AMD_ARM, ["amd64"], "amd64"),
    ("ix-sparse-arm", AMD_ARM, ["arm64"]), ("ix-sparse-386", ["amd64", "386"], ["amd64"]),
    ("ix-only386", ["386", "arm64"]), ("ix-onlyarm", ["arm64"]), ("ix-rewritten", ["amd64"]),
    ("ix-rewritten-hy", ["amd64"], None, "amd64"), ("ix-noplat", AMD_ARM, None, None, AMD_ARM),
    ("ix-noplat-absent", AMD_ARM, ["amd64"], None, ["arm64"]), ("oci-v3", ["amd64/v3"]),
    ("hy-ix-sparse-gz", AMD_ARM, ["amd64"], "amd64", (), ("gz",)),
], platforms)


@shape("ix-child-nolayer")
def _(key):
    archive = platforms(key, AMD_ARM)
    other = Image(key + "arm64", arch="arm64")
    return archive.drop(path_of(other.config_digest)).drop(path_of(other.layer_digests[0]))


@shape("ix-nested", "ix-nested-hy")
def _(key):
    archive, image = Archive(), Image(key)
    put_blobs(archive, image)
    inner = put_index(archive, [image.descriptor(platform=True)], "idx1")
    outer = put_index(archive, [inner])
    put_control(archive, [{**outer, "annotations": named(name_of(key))}])
    return (put_items(archive, image.item([name_of(key)])) if key.endswith("hy") else archive).label(A=image)


@shape("att-present", "att-absent", "att-absent-hy")
def _(key):
    archive, image, statement = Archive(), Image(key), b'{"about":"' + key.encode() + b'"}'
    unknown = {"architecture": "unknown", "os": "unknown"}
    config = dump({**unknown, "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(statement)]}})
    manifest = dump({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.in-toto+json", "digest": digest(statement), "size": len(statement)}]})
    put_blobs(archive, image)
    if key == "att-present":
        for data in (statement, config, manifest):
            archive.add(path_of(digest(data)), data)
    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest}
    child = {"mediaType": MANIFEST, "digest": digest(manifest), "size": len(manifest), "platform": unknown}
    top = put_index(archive, [image.descriptor(platform=True), {**child, "annotations": about}])
    put_control(archive, [{**top, "annotations": named(name_of(key))}])
    return (put_items(archive, image.item([name_of(key)])) if key.endswith("hy") else archive).label(A=image)


def stated(arch):
    return {"platform": {"architecture": arch, "os": "linux"}}


rows([("top-amd64", "amd64"), ("top-arm64", "arm64")], lambda key, arch: layout(key, arch=arch, top=stated(arch)))
SHAPES["top-arm64-noplat"] = lambda key: layout(key, arch="arm64")
SHAPES["top-arm64-hy"] = lambda key: hybrid(key, arch="arm64", top=stated("arm64"))


@shape("top-mixed", "top-2plat-1name")
def _(key):
    archive, a, b = Archive(), Image(key + "A"), Image(key + "B", arch="arm64")
    ends = ("-a", "-b") if key == "top-mixed" else ("", "")
    put_blobs(archive, a, b)
    tops = [image.descriptor(named(name_of(key + end)), True) for image, end in zip((a, b), ends)]
    return put_control(archive, tops).label(A=a, B=b)


SHAPES["d-arm64"] = lambda key: flat(key, arch="arm64")
SHAPES["d-windows"] = lambda key: flat(key, os_name="windows")
SHAPES["d-noarch"] = lambda key: flat(key, without=("architecture", "os"))
SHAPES["oci-noarch"] = lambda key: layout(key, without=("architecture", "os"))

# ---- damage

LOST = {"nolayer": lambda image: image.layer_digests[0], "noconfig": lambda image: image.config_digest,
        "nomanifest": lambda image: image.digest}
for what, which in LOST.items():
    SHAPES["oci-" + what] = lambda key, which=which: layout(key).drop(path_of(which(Image(key))))
    SHAPES["hy-" + what] = lambda key, which=which: hybrid(key).drop(path_of(which(Image(key))))
SHAPES["d-nolayer"] = lambda key: flat(key).drop(Image(key).layer_digests[0][7:] + ".tar")
SHAPES["d-noconfig"] = lambda key: flat(key).drop(Image(key).config_digest[7:] + ".json")


@shape("oci-nomanifest-data")
def _(key):
    image = Image(key)
    data = base64.b64encode(image.manifest).decode()
    return layout(key, top={"data": data}).drop(path_of(image.digest))


def turn(data):
    """Another byte in the text of the layer's one file."""
    return data[:513] + bytes([data[513] ^ 1]) + data[514:]


def later(data):
    return data.replace(b"2024-01-02", b"2024-01-03", 1)


def flipped(key, form, what):
    image = Image(key)
    name, change = {"layer": (image.layer_digests[0], turn), "config": (image.config_digest, later),
                    "manifest": (image.digest, lambda data: data.replace(b'"size":', b'"sizE":', 1))}[what]
    archive = form(key).change(path_of(name), change)
    archive.labels[digest(later(image.config))] = "cfgFlipped"
    return archive


for what in ("layer", "config", "manifest"):
    SHAPES["oci-flip-" + what] = lambda key, what=what: flipped(key, layout, what)
    SHAPES["hy-flip-" + what] = lambda key, what=what: flipped(key, hybrid, what)
SHAPES["d-flip-layer"] = lambda key: flat(key).change(Image(key).layer_digests[0][7:] + ".tar", turn)


@shape("d-flip-config")
def _(key):
    image = Image(key)
    archive = flat(key).change(image.config_digest[7:] + ".json", later)
    archive.labels[digest(later(image.config))] = "cfgFlipped"
    return archive


SHAPES["oci-badsize-man"] = lambda key: layout(key, top={"size": len(Image(key).manifest) + 1})


@shape("oci-badsize-layer")
def _(key):
    def bigger(fields):
        fields["layers"][0]["size"] += 1
    return layout(key, image=Image(key).edit(bigger))


SHAPES["oci-layercount"] = lambda key: layout(
    key, image=Image(key, [key, key + "2"]).edit(lambda fields: fields["layers"].pop()))


@shape("d-layercount")
def _(key):
    image = Image(key, [key, key + "2"])
    return flat(key, image=image, item={"Layers": [image.layer_digests[0][7:] + ".tar"]})


SHAPES["d-norootfs"] = lambda key: flat(key, without=("rootfs",))
SHAPES["d-history-extra"] = lambda key: flat(key, config={"history": [{"created_by": "a"}, {"created_by": "b"}]})
rows([("d-rootfstype", flat), ("oci-rootfstype", layout)], lambda key, form: form(
    key, config={"rootfs": {"type": "foo", "diff_ids": Image(key).diff_ids}}))


@shape("truncated")
def _(key):
    archive = hybrid(key)
    archive.end, archive.whole = b"", lambda data: data[:-400]
    return archive


@shape("d-emptylayerfile")
def _(key):
    image = Image(key, config={"rootfs": {"type": "layers", "diff_ids": [digest(b"")]}})
    image.blobs, image.layer_digests = [b""], [digest(b"")]
    return flat(key, image=image)


# ---- compression

for pack in ("gz", "zst", "bz2", "xz"):
    SHAPES["d-layer-" + pack] = lambda key, pack=pack: flat(key, packs=(pack,))
rows([("d-layer-mixed", ["", "gz"]), ("d-layer-mixed2", ["gz", ""])],
     lambda key, packs: flat(key, layers=[key, key + "2"], packs=packs))
SHAPES["d-layer-gz-diffofgz"] = lambda key: flat(
    key, packs=("gz",), config={"rootfs": {"type": "layers", "diff_ids": Image(key, packs=("gz",)).layer_digests}})
rows([
    ("oci-layer-gz", "gz", None), ("oci-layer-zst", "zst", None), ("oci-lie-gz-as-plain", "gz", LAYER),
    ("oci-lie-plain-as-gz", "", LAYER + "+gzip"), ("oci-lie-zst-as-gz", "zst", LAYER + "+gzip"),
    ("oci-lie-gz-as-zst", "gz", LAYER + "+zstd"), ("oci-layer-bz2", "bz2", LAYER),
    ("oci-layer-mt-unknown", "", "application/x-tar"),
], lambda key, pack, media: layout(key, packs=(pack,), layer_type=media))
SHAPES["oci-lie-gz-docker-plain"] = lambda key: layout(key, packs=("gz",), layer_type=DOCKER_LAYER, docker=True)


def packed(key, form, how):
    archive = form(key)
    archive.whole = how
    return archive


for pack in ("gz", "zst", "xz", "bz2", "lz4"):
    SHAPES["outer-" + pack] = lambda key, pack=pack: packed(key, hybrid, PACK[pack])
for pack in ("gz", "zst", "xz", "bz2"):
    SHAPES["outer-d-" + pack] = lambda key, pack=pack: packed(key, flat, PACK[pack])
rows([
    ("outer-gzgz", lambda data: PACK["gz"](PACK["gz"](data))),
    ("outer-gz-multimember", lambda data: PACK["gz"](data[:1000]) + PACK["gz"](data[1000:])),
    ("outer-zst-skippable", lambda data: bytes.fromhex("502a4d18 04000000") + b"skip" + PACK["zst"](data)),
], lambda key, how: packed(key, hybrid, how))

# ---- names of members

rows([("dot-d", flat, "./"), ("dot-oci", layout, "./"), ("abs-d", flat, "/"), ("abs-oci", layout, "/"),
      ("subdir", hybrid, "image/")], lambda key, form, prefix: form(key).move(lambda name: prefix + name))


@shape("dot-hy-root")
def _(key):
    archive = hybrid(key).move(lambda name: "./" + name)
    archive.entries.insert(0, Entry("./", kind="5"))
    return archive


def prefixed_item(key, prefix):
    image = Image(key)
    item = put_flat(Archive(), image, [])
    return flat(key, image=image, item={"Config": prefix + item["Config"],
                                        "Layers": [prefix + path for path in item["Layers"]]})


rows([("dot-in-manifest", "./"), ("abs-in-manifest", "/")], prefixed_item)
SHAPES["dot-both"] = lambda key: prefixed_item(key, "./").move(lambda name: "./" + name)


@shape("dirs")
def _(key):
    archive = hybrid(key)
    archive.entries[:0] = [Entry("blobs/", kind="5"), Entry("blobs/sha256/", kind="5")]
    return archive


# ---- links. p is a file, q is in the place of a layer, r stands between them.

P, Q, R = ("%s/layer.tar" % (letter * 64) for letter in "abc")


def linked(key, order, kind, listed, target=None, chain=False, paths=(P, Q, R)):
    """The layers `listed` (of p and q); q leads to p, through r if there is a chain."""
    archive, image, (p, q, r) = Archive(), Image(key, [key] * len(listed)), paths
    def lead(to):
        return target(to) if target else to if kind == "1" else "../" + to
    members = {"p": Entry(p, image.blobs[0]), "q": Entry(q, kind=kind, link=lead(r if chain else p)),
               "r": Entry(r, kind=kind, link=lead(p))}
    archive.entries = [members[letter] for letter in order]
    config = image.config_digest[7:] + ".json"
    layers = [{"p": p, "q": q}[letter] for letter in listed]
    archive.add(config, image.config)
    return put_items(archive, {"Config": config, "RepoTags": [name_of(key)], "Layers": layers}).label(A=image)


for start, listed in (("d-", "pq"), ("d1-", "q")):
    rows([(start + "symlink-back", "pq", "2", listed), (start + "symlink-fwd", "qp", "2", listed),
          (start + "hardlink-back", "pq", "1", listed), (start + "hardlink-fwd", "qp", "1", listed),
          (start + "symlink-chain", "prq", "2", listed, None, True),
          (start + "symlink-abs", "pq", "2", listed, lambda to: "/" + to)], linked)
SHAPES["d1-hardlink-top"] = lambda key: linked(key, "pq", "1", "q", paths=("pp.tar", "qq.tar", "rr.tar"))
SHAPES["d-repeat-path"] = lambda key: flat(key, layers=[key, key])
rows([("d-symlink-dangling", flat, "nowhere"), ("hy-symlink-dangling", hybrid, "nowhere"),
      ("d-symlink-escape", flat, "../../etc/passwd")],
     lambda key, form, link: form(key).add("junk", kind="2", link=link))


@shape("d1-symlink-dir")
def _(key):
    archive, image = Archive(), Image(key)
    config = image.config_digest[7:] + ".json"
    archive.add("p/layer.tar", image.blobs[0]).add("q", kind="2", link="p").add(config, image.config)
    item = {"Config": config, "RepoTags": [name_of(key)], "Layers": ["q/layer.tar"]}
    return put_items(archive, item).label(A=image)


@shape("oci-symlink-blob", "oci-hardlink-blob")
def _(key):
    image = Image(key)
    blob = path_of(image.layer_digests[0])
    archive = layout(key).drop(blob).add("data/l.tar", image.blobs[0])
    kind, link = ("2", "../../data/l.tar") if "symlink" in key else ("1", "data/l.tar")
    return archive.add(blob, kind=kind, link=link)


# ---- members that stand twice


@shape("dup-manifest")
def _(key):
    archive, images = Archive(), {end: Image(key + end) for end in "ab"}
    for end, image in images.items():
        put_items(archive, put_flat(archive, image, [name_of(f"{key}-{end}")]))
    return archive.label(A=images["a"], B=images["b"])


@shape("dup-index")
def _(key):
    archive, a, b = Archive(), Image(key + "A"), Image(key + "B")
    put_blobs(archive, a, b)
    put_control(archive, [a.descriptor(named(name_of(key + "-a")))])
    other = {"schemaVersion": 2, "manifests": [b.descriptor(named(name_of(key + "-b")))]}
    return archive.add("index.json", dump(other)).label(A=a, B=b)


def twice(key, form, path, damaged_first):
    archive = form(key)
    at = next(at for at, entry in enumerate(archive.entries) if entry.name == path)
    damaged = Entry(path, turn(archive.entries[at].data))
    archive.entries.insert(at if damaged_first else at + 1, damaged)
    return archive


for end, first in (("goodbad", False), ("badgood", True)):
    SHAPES["dup-layer-" + end] = lambda key, first=first: twice(
        key, flat, Image(key).layer_digests[0][7:] + ".tar", first)
    SHAPES[f"dup-blob-{end}-oci"] = lambda key, first=first: twice(
        key, layout, path_of(Image(key).layer_digests[0]), first)


@shape("dup-blob-same")
def _(key):
    archive = hybrid(key)
    archive.entries.append(archive.entries[0])
    return archive


# ---- manifest.json and what it holds

SHAPES["repos-disagree"] = lambda key: flat(key).add("repositories", dump({"example.com/obs/other": {"9": "f" * 64}}))


def sources(key, **more):
    return {"LayerSources": {Image(key).diff_ids[0]: more}}


SHAPES["layersources-stale"] = lambda key: flat(key, item=sources(key, mediaType=LAYER, size=7, digest=digest(b"zz")))
SHAPES["layersources-stale-gz"] = lambda key: flat(
    key, packs=("gz",), item=sources(key, mediaType=LAYER + "+gzip", size=7, digest=digest(b"zz")))
SHAPES["layersources-docker25"] = lambda key: hybrid(key, item=sources(
    key, mediaType=LAYER, size=len(Image(key).blobs[0]), digest=Image(key).diff_ids[0]))
rows([("parent-stale", {"Parent": "sha256:" + "e" * 64}), ("parent-garbage", {"Parent": "foo"}),
      ("mj-2m", {"Pad": "x" * (2 * MIB)}), ("mj-21m", {"Pad": "x" * (21 * MIB)}), ("d-layersnull", {"Layers": None}),
      ], lambda key, item: flat(key, item=item, layers=[] if "Layers" in item else None))
rows([
    ("lower-keys", lambda data: data.replace(b"Config", b"config").replace(b"RepoTags", b"repotags")
     .replace(b"Layers", b"layers")),
    ("mj-trailing", lambda data: data + b" trailing garbage"), ("mj-bom", lambda data: b"\xef\xbb\xbf" + data),
    ("mj-empty", lambda data: b"[]"), ("mj-null", lambda data: b"null"), ("mj-object", lambda data: data[1:-1]),
], lambda key, change: flat(key).change("manifest.json", change))
SHAPES["d-nolayers"] = lambda key: flat(key, layers=[])
SHAPES["hy-nolayers"] = lambda key: hybrid(key, layers=[])
SHAPES["hy-mj-2m"] = lambda key: hybrid(key, item={"Pad": "x" * (2 * MIB)})
SHAPES["cfg-5m"] = lambda key: hybrid(key, config={"comment": "x" * (5 * MIB)})

# ---- oci-layout, index.json and what they hold

for end, text in [("missing", None), ("2", '{"imageLayoutVersion":"2.0.0"}'), ("101", '{"imageLayoutVersion":"1.0.1"}'),
                  ("empty", "{}"), ("extra", '{"imageLayoutVersion":"1.0.0","x":1}'), ("notjson", "1.0.0"),
                  ("zero", "")]:
    marker = None if text is None else text.encode()
    SHAPES["oci-layout-" + end] = lambda key, marker=marker: layout(key, marker=marker)
    SHAPES["hy-layout-" + end] = lambda key, marker=marker: hybrid(
        key, named(name_of(key + "-o")), [name_of(key + "-d")], marker=marker)
SHAPES["oci-noindex"] = lambda key: layout(key).drop("index.json")
SHAPES["hy-noindex"] = lambda key: hybrid(key).drop("index.json")
rows([("oci-manifests-null", layout, b"null"), ("oci-manifests-empty", layout, b"[]"),
      ("hy-manifests-null", hybrid, b"null")],
     lambda key, form, value: form(key, index=b'{"schemaVersion":2,"manifests":' + value + b"}"))


def other_index(key, make):
    return layout(key).change("index.json", lambda data: make(json.loads(data)["manifests"]))


rows([
    ("oci-ij-noschema", lambda tops: dump({"manifests": tops})),
    ("oci-ij-schema1", lambda tops: dump({"schemaVersion": 1, "manifests": tops})),
    ("oci-ij-trailing", lambda tops: dump({"schemaVersion": 2, "manifests": tops}) + b" x"),
    ("oci-desc-nomt", lambda tops: dump({"schemaVersion": 2, "manifests": [
        {key: value for key, value in tops[0].items() if key != "mediaType"}]})),
    ("oci-upper-keys", lambda tops: dump({"SchemaVersion": 2, "MANIFESTS": [
        {key[0].upper() + key[1:]: value for key, value in tops[0].items()}]})),
], other_index)
for mib in (5, 21):
    SHAPES[f"oci-ij-{mib}m"] = lambda key, mib=mib: layout(key, {**named(name_of(key)), "pad": "x" * (mib * MIB)})
for mib in (5, 9):
    SHAPES[f"oci-man-{mib}m"] = lambda key, mib=mib: layout(key, manifest={"annotations": {"pad": "x" * (mib * MIB)}})
SHAPES["oci-man-nomt"] = lambda key: layout(key, image=Image(key).edit(lambda fields: fields.pop("mediaType")))
SHAPES["oci-desc-wrongmt"] = lambda key: layout(key, top={"mediaType": DOCKER_MANIFEST})


@shape("oci-desc-idx-as-man")
def _(key):
    archive, image = Archive(), Image(key)
    put_blobs(archive, image)
    top = put_index(archive, [image.descriptor(platform=True)])
    return put_control(archive, [{**top, "mediaType": MANIFEST, "annotations": named(name_of(key))}]).label(A=image)


@shape("oci-artifact")
def _(key):
    archive, note = Archive(), key.encode()
    manifest = dump({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/x-obs",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2},
        "layers": [{"mediaType": "text/plain", "digest": digest(note), "size": len(note)}]})
    for data in (b"{}", note, manifest):
        archive.add(path_of(digest(data)), data)
    archive.labels[digest(manifest)] = "manA"
    top = {"mediaType": MANIFEST, "digest": digest(manifest), "size": len(manifest)}
    return put_control(archive, [{**top, "annotations": named(name_of(key))}])


rows([("oci-sha512", layout), ("hy-sha512", hybrid)], lambda key, form: form(key, algorithm="sha512"))
SHAPES["oci-nolayers"] = lambda key: layout(key, layers=[])
SHAPES["oci-layersnull"] = lambda key: layout(
    key, layers=[], manifest={"layers": None}, config={"rootfs": {"type": "layers", "diff_ids": None}})
SHAPES["subj-desc"] = lambda key: two_annotated(
    key, named(name_of(key)), {"io.containerd.manifest.subject": Image(key + "A").digest})

# ---- members nobody asked for


def beside(entry):
    """What macOS puts beside a file."""
    folder, slash, name = entry.name.rpartition("/")
    return Entry(f"{folder}{slash}._{name}", b"\x00\x05\x16\x07" + bytes(200))


@shape("macos", "macos-d")
def _(key):
    archive = hybrid(key) if key == "macos" else flat(key)
    archive.entries = [new for entry in archive.entries for new in (beside(entry), entry)]
    return archive


SHAPES["unknown-files"] = lambda key: hybrid(key).add("README.md", b"hello").add("extra/x", b"1").add("zero", b"")


@shape("oci-orphan")
def _(key):
    orphan = b"nobody's " + key.encode()
    archive = layout(key).add(path_of(digest(orphan)), orphan)
    return archive.add("blobs/sha256/nothex", b"1").add("blobs/md5/" + "a" * 32, b"2")


@shape("paxglobal")
def _(key):
    archive = hybrid(key)
    archive.entries.insert(0, Entry("pax_global_header", pax({"comment": "0" * 40}), "g"))
    return archive


@shape("paxpath", "uid-big")
def _(key):
    archive = hybrid(key)
    for entry in archive.entries:
        if key == "paxpath":
            entry.records = {"path": entry.name}
        else:
            entry.records, entry.owner = {"uid": 4000000, "gid": 4000000}, "builder"
    return archive


SHAPES["device"] = lambda key: hybrid(key).add("dev0", kind="3").add("pipe", kind="6")
SHAPES["dotdot"] = lambda key: hybrid(key).add("../obs-evil", b"x")


@shape("type7", "type-v")
def _(key):
    archive = hybrid(key)
    if key == "type7":
        archive.entries[0].kind = "7"
    else:
        archive.entries.insert(0, Entry("label", kind="V"))
    return archive


# ---- the end

def ended(key, end):
    archive = hybrid(key)
    archive.end = end
    return archive


rows([("trailing-garbage", b"\0" * 1024 + b"garbage!" * 375), ("no-end", b""), ("one-zero", b"\0" * 512),
      ("no-end-garbage", b'{"errorDetail":{"message":"boom"},"error":"boom"}\n'), ("pad10k", b"\0" * 10240)], ended)


@shape("one-zero-more")
def _(key):
    archive = hybrid(key)
    archive.entries.insert(2, b"\0" * 512)
    return archive


@shape("concat")
def _(key):
    archive, other = flat(key + "-a"), flat(key + "-b")
    archive.end += other.bytes()
    return archive


@shape("emptyfile", "emptytar")
def _(key):
    archive = Archive()
    archive.end = b"" if key == "emptyfile" else archive.end
    return archive


def main():
    folder, wanted = sys.argv[1], sys.argv[2:] or sorted(SHAPES)
    os.makedirs(folder, exist_ok=True)
    labels = []
    for name in wanted:
        archive = SHAPES[name](name)
        with open(os.path.join(folder, name + ".tar"), "wb") as out:
            out.write(archive.bytes())
        labels += [f"{name}\t{found}\t{label}\n" for found, label in archive.labels.items()]
    with open(os.path.join(folder, "labels.tsv"), "w", encoding="utf-8") as out:
        out.writelines(labels)


if __name__ == "__main__":
    main()
