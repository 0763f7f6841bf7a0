#!/usr/bin/env python3
"""An independent reader of container image archives, to check another one against.

    check.py ARCHIVE...              one JSON object a line (below); exit 1 if one of them has "error"
    check.py --compare BEFORE AFTER  {"ok":true}, exit 0, or {"ok":false,"why":...}, exit 1

Python 3.11, standard library only; `zstd` from the PATH for zstd. It is written from the descriptions of the formats
(docker save, OCI image layout, distribution references, containerd's platforms), without care for speed. ARCHIVE is a
tar, plain or in gzip, xz, bzip2 or zstd (told by magic), or a directory with the same files.

    {"path":..., "format":"docker"|"oci"|"hybrid"|"docker-v1", "images":[{"digest":..., "names":[...],
     "platforms":[{"complete":true, "config":"sha256:..."|null, "platform":"linux/amd64"}], "type":...}], "problems":[...]}
    {"path":..., "error":...} when it is malformed or no image archive, {"path":..., "skipped":...} when `zstd` is missing

format     at the root: index.json oci, manifest.json docker, both hybrid; else docker-v1: `repositories`, or a folder with
           `json` and `layer.tar`.
image      a distinct digest among the top-level descriptors of index.json, without referrers: those annotated
           io.containerd.manifest.subject, and those that have neither of the two names below and whose manifest or index
           has a `subject`. With it the items of manifest.json whose config is the config of a manifest below it (by its
           bytes, or by its name where that is blobs/ALG/HEX). An item that joins none is an image alone (digest: the
           SHA-256 of the config's bytes; type: the docker config's media type). Items with one config are one image. In
           docker-v1: one image for each id in `repositories`, without that file for each folder nothing has as parent.
names      RepoTags without "", <none> and <none>:<none>; io.containerd.image.name, or if that is absent or empty
           org.opencontainers.image.ref.name when it has one of / : @. `repositories` only in docker-v1. In
           ParseDockerRef's form; what that refuses stays as it is. A RepoTag of an item that joins several images goes to
           those which have that name already, to all of them when none has.
platforms  each image manifest below the descriptor; no attestations (annotation vnd.docker.reference.type, or
           unknown/unknown), no artifacts (a config of another media type). The descriptor's platform, else the config's,
           normalised; an absent os is linux, an absent architecture is left out; "unknown" when neither can be read.
           complete: manifest, config and layers are members, foreign layers excepted. docker: config and layers.
           docker-v1: json and layer.tar of each ancestor. A symlink leads one hop to a file, hard links are resolved. A
           blob is looked for at blobs/ALG/HEX only.
problems   a blob that does not hash to its path; a descriptor with another size than its blob; a layer whose decompressed
           bytes (by magic) are not its diff ID, unless its media type is no tar; more or fewer layers than diff IDs; a
           blob that should be a JSON object and is not; a member twice with different bytes (the last one is used); no
           end marker. An absent target is no problem.
errors     no tar, a cut tar, a sparse member, a global PAX header with more than a comment; index.json, manifest.json or
           `repositories` that is not JSON (UTF-8, no duplicate keys, nothing behind it); a value of a wrong type
           anywhere. Keys match in any case, but two that differ in case only are an error; null is the zero value.
--compare  Both have the same top-level digests (if there is an index.json), and the same manifests: config digest and
           layers in order (the digest of their bytes as stored), whatever their names. Each member of BEFORE but
           index.json, manifest.json and repositories is in AFTER with equal name, bytes, type, link, mode, mtime, uid, gid
           and uname, in the same order; AFTER may have more.
"""
import bz2, gzip, hashlib, io, json, lzma, mmap, os, pathlib, posixpath, re
import shutil, signal, stat, subprocess, sys, tarfile, tempfile, zlib
from dataclasses import dataclass, field as dataclass_field

CONTROL = ("index.json", "manifest.json", "repositories")
INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST_TYPES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
CONFIG_TYPES = ("application/vnd.oci.image.config.v1+json", DOCKER_CONFIG)
IMAGE_NAME, REF_NAME = "io.containerd.image.name", "org.opencontainers.image.ref.name"
SUBJECT, ATTESTATION = "io.containerd.manifest.subject", "vnd.docker.reference.type"
HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
BLOB_PATH = re.compile(r"blobs/(sha256|sha384|sha512)/([0-9a-f]+)")

class Malformed(Exception):
    """The archive, or one document in it, cannot be read."""

class Skipped(Exception):
    """A program that is needed is not on this machine."""

# ---------------------------------------------------------------------------------------------------- compression
def decompress(data):
    """The decompressed chunks of `data`, by its magic; `data` itself when it has none."""
    head = bytes(data[:6])
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return unzstd(data)
    for magic, module in (b"\x1f\x8b", gzip), (b"BZh", bz2), (b"\xfd7zXZ\0", lzma):
        if head.startswith(magic):
            return chunks(module.open(io.BytesIO(data)))
    return iter([data])

def chunks(stream):
    try:
        yield from iter(lambda: stream.read(1 << 20), b"")
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise Malformed(f"decompression: {error}") from None

def unzstd(data):
    if not shutil.which("zstd"):
        raise Skipped("zstd is not on the PATH")
    with tempfile.TemporaryFile() as source:
        source.write(data)
        source.seek(0)
        command = ["zstd", "-dcq", "--long=31"]
        with subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            yield from chunks(child.stdout)
        if child.returncode:
            raise Malformed("zstd refuses the stream")

# -------------------------------------------------------------------------------------------------------- members
@dataclass
class Member:
    head: tuple                     # name, type, link, mode, mtime, uid, gid, uname: what must be equal beside the body
    body: object = b""              # bytes or memoryview
    known: dict = dataclass_field(default_factory=dict)         # digests computed so far

    name = property(lambda self: self.head[0])
    type = property(lambda self: self.head[1])
    link = property(lambda self: self.head[2])

    def digest(self, algorithm="sha256", plain=False):
        """The digest of the body; with `plain`, of the decompressed body."""
        if (algorithm, plain) not in self.known:
            state = hashlib.new(algorithm)
            for chunk in decompress(self.body) if plain else [self.body]:
                state.update(chunk)
            self.known[algorithm, plain] = f"{algorithm}:{state.hexdigest()}"
        return self.known[algorithm, plain]

def mapped(file):
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(file.fileno()).st_size else b"")

def read_tar(data):
    """(members, whether there is an end marker). Python's reader stops quietly where it sees no header."""
    if not data:
        return [], False
    members, last = [], -1
    with tarfile.open(fileobj=data.obj, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
        while entry := tar.next():
            if entry.offset_data <= last or entry.size < 0:
                raise Malformed(f"negative size of {entry.name!r}")
            if entry.sparse is not None or set(tar.pax_headers) - {"comment"}:
                raise Malformed("sparse members and global PAX headers are not supported")
            last, kind = entry.offset_data, "0" if entry.type == tarfile.AREGTYPE else entry.type.decode("latin-1")
            body = data[last:last + entry.size] if kind not in "123456" else b""
            head = entry.name, kind, entry.linkname, entry.mode, entry.mtime, entry.uid, entry.gid, entry.uname
            members.append(Member(head, body))
        position = tar.offset
    end, behind = data[position:position + 512], data[position + 512:position + 1024]
    if any(end) or any(behind) or 0 < len(end) < 512:
        raise Malformed(f"no header and no end marker at {position}")
    return members, len(end) > 0

def read_directory(root):
    members = []
    for path in sorted(pathlib.Path(root).rglob("*")):
        info, kind, link, body = path.lstat(), "6", "", b""
        if path.is_symlink():
            kind, link = "2", os.readlink(path)
        elif path.is_file():
            with open(path, "rb") as file:
                kind, body = "0", mapped(file) if info.st_size > 1 << 20 else file.read()
        elif path.is_dir():
            kind = "5"
        name, mode = str(path.relative_to(root)), stat.S_IMODE(info.st_mode)
        members.append(Member((name, kind, link, mode, info.st_mtime_ns, info.st_uid, info.st_gid, ""), body))
    return members

def clean(name):
    """The member's place below the root; None if it leaves it."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if ".." in parts else "/".join(parts)

class Archive:
    def __init__(self, path):
        if os.path.isdir(path):
            self.members, self.ended = read_directory(path), True
        else:
            with open(path, "rb") as file:
                data = mapped(file)
            plain = decompress(data)
            first = next(plain, b"")
            if first is not data:
                with tempfile.TemporaryFile() as file:
                    file.write(first)
                    file.writelines(plain)
                    file.flush()
                    data = mapped(file)
            self.members, self.ended = read_tar(data)
        self.named = {clean(member.name): member for member in self.members if member.type in "012"}

    def get(self, name):
        """The regular file at `name`: itself, one hop through a symlink, or through hard links."""
        symlinks = 1
        for _ in range(40):
            name = clean(name)
            member = self.named.get(name) if name is not None else None
            if member is None or member.type == "0":
                return member
            if member.type == "1":
                name = member.link
            elif symlinks:
                symlinks, name = 0, posixpath.normpath(posixpath.join(posixpath.dirname(name), member.link))
            else:
                return None

    def blob(self, digest):
        good = re.fullmatch(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", digest)
        return self.get("blobs/" + digest.replace(":", "/")) if good else None

# ---------------------------------------------------------------------------------------- JSON, much as Go reads it
def parse(data, what, kind):
    def pairs(entries):
        if len(dict(entries)) < len(entries):
            raise Malformed(f"{what}: duplicate key")
        return dict(entries)
    try:                                                        # int() of NaN or Infinity is an error, as it should be
        return typed(json.loads(bytes(data).decode(), object_pairs_hook=pairs, parse_constant=int), kind, what)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{what}: {error}") from None

def typed(value, kind, what):
    """`value`, which must be of `kind`; the zero value for null."""
    if value is not None and not isinstance(value, kind):
        raise Malformed(f"{what}: not a {kind.__name__}")
    return kind() if value is None else value

def field(document, key, kind=str):
    found = [name for name in document if name.lower() == key.lower()]
    if len(found) > 1:
        raise Malformed(f"two keys for {key}")
    return typed(document[found[0]] if found else None, kind, key)

def items(document, key, kind=dict):
    return [typed(item, kind, key) for item in field(document, key, list)]

def annotations(descriptor):
    return {key: typed(value, str, key) for key, value in field(descriptor, "annotations", dict).items()}

# --------------------------------------------------------------------------------------------- names and platforms
LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
HOST = rf"(?:{LABEL}(?:\.{LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
ALGORITHM = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*"
REFERENCE = re.compile(rf"((?:{HOST}/)?({COMPONENT}(?:/{COMPONENT})*))"
                       rf"(?::([a-zA-Z0-9_][a-zA-Z0-9_.-]{{0,127}}))?(?:@({ALGORITHM}):([0-9a-fA-F]{{32,}}))?")

def canonical(name):
    """`name` in the form of containerd's ParseDockerRef; as it is when that refuses it."""
    host, slash, rest = name.partition("/")
    if not slash or not (host == "localhost" or "." in host or ":" in host or host != host.lower()):
        host, rest = "docker.io", name
    elif host == "index.docker.io":
        host = "docker.io"
    if host == "docker.io" and "/" not in rest:
        rest = "library/" + rest
    match, remote = REFERENCE.fullmatch(f"{host}/{rest}"), rest.split(":")[0]
    if not match or remote != remote.lower() or re.fullmatch(r"[0-9a-f]{64}", name) or len(match[2]) > 255:
        return name
    if match[4]:
        good = len(match[5]) == HEX_LENGTHS.get(match[4]) and match[5] == match[5].lower()
        return f"{match[1]}@{match[4]}:{match[5]}" if good else name
    return f"{match[1]}:{match[3] or 'latest'}"

MACHINES = {"i386": ("386", ""), "x86_64": ("amd64", None), "x86-64": ("amd64", None), "aarch64": ("arm64", None),
            "armhf": ("arm", "v7"), "armel": ("arm", "v6")}
VARIANTS = {"amd64": {"v1": ""}, "arm": {"": "v7", "7": "v7", "5": "v5", "6": "v6", "8": "v8"},
            "arm64": {"8": "", "v8": "", "v8.0": "", "9": "v9", "9.0": "v9", "v9.0": "v9"}}

def platform_of(document):
    """os/arch[/variant] of a descriptor's platform or of a config, normalised as containerd does."""
    system, machine, variant = (field(document, key).lower() for key in ("os", "architecture", "variant"))
    system = {"": "linux", "macos": "darwin"}.get(system, system)
    machine, fixed = MACHINES.get(machine, (machine, None))
    variant = VARIANTS.get(machine, {}).get(variant, variant) if fixed is None else fixed
    return "/".join(part for part in (system, machine, variant) if part)

# --------------------------------------------------------------------------------------------------------- images
@dataclass
class Image:
    digest: object
    type: str
    names: set = dataclass_field(default_factory=set)
    platforms: list = dataclass_field(default_factory=list)     # [name, config digest, complete]
    configs: set = dataclass_field(default_factory=set)         # config digests of the manifests below it

    def as_json(self):
        platforms = [dict(zip(("platform", "config", "complete"), entry)) for entry in self.platforms]
        platforms.sort(key=lambda entry: (entry["platform"], entry["config"] or "", entry["complete"]))
        return {"names": sorted(self.names), "digest": self.digest, "type": self.type, "platforms": platforms}

class Checker:
    """Reads the images of one archive and collects what is wrong with it."""

    def __init__(self, path):
        self.archive, self.images, self.problems = Archive(path), [], []
        self.content = set()        # for --compare: (config digest, layer digests) of each manifest
        self.top = None             # for --compare: the top-level digests of index.json
        index, manifest, repositories = (self.archive.get(name) for name in CONTROL)
        self.format = "hybrid" if index and manifest else "oci" if index else "docker" if manifest else "docker-v1"
        if index:
            self.read_index(parse(index.body, "index.json", dict))
        if manifest:
            self.read_items(parse(manifest.body, "manifest.json", list))
        if self.format == "docker-v1":
            self.read_v1(parse(repositories.body, "repositories", dict) if repositories else None)
        self.check_members()

    def problem(self, line):
        if line not in self.problems:
            self.problems.append(line)

    def document(self, member, what):
        """The JSON object in a blob; None if the blob is absent, or if it is none, which is a problem."""
        try:
            return parse(member.body, what, dict) if member else None
        except Malformed as error:
            self.problem(str(error))

    def read_index(self, index):
        images, self.top = {}, set()
        for descriptor in items(index, "manifests"):
            digest, notes = field(descriptor, "digest"), annotations(descriptor)
            self.top.add(digest)
            if SUBJECT in notes or not (notes.get(IMAGE_NAME) or notes.get(REF_NAME)) and self.has_subject(descriptor):
                self.walk(descriptor, Image(None, ""))
                continue
            self.check_size(descriptor)
            if digest not in images:
                images[digest] = Image(digest, field(descriptor, "mediaType"))
                self.walk(descriptor, images[digest])
            name = notes.get(IMAGE_NAME) or notes.get(REF_NAME, "")
            if notes.get(IMAGE_NAME) or re.search("[/:@]", name):
                images[digest].names.add(canonical(name))
        self.images += images.values()

    def has_subject(self, descriptor):
        if field(descriptor, "mediaType") not in ("", *INDEX_TYPES, *MANIFEST_TYPES):
            return False
        digest = field(descriptor, "digest")
        return bool(field(self.document(self.archive.blob(digest), digest) or {}, "subject", dict))

    def walk(self, top, image):
        """Follows all descriptors below `top` and adds what it finds to `image`."""
        todo, seen = [top], set()
        while todo:
            descriptor = todo.pop()
            self.check_size(descriptor)
            digest, kind = field(descriptor, "digest"), field(descriptor, "mediaType")
            once = digest, str(field(descriptor, "platform", dict))
            if once in seen or (kind and kind not in INDEX_TYPES + MANIFEST_TYPES):
                continue
            seen.add(once)
            document = self.document(self.archive.blob(digest), digest)
            children, is_index = items(document or {}, "manifests"), kind in INDEX_TYPES
            if document and bool(children) != bool(field(document, "config", dict)):
                is_index = bool(children)                   # what it is counts for more than what it is called
            if not kind and descriptor is top and document:
                image.type = field(document, "mediaType") or (INDEX_TYPES if is_index else MANIFEST_TYPES)[0]
            if is_index:
                todo += children
            else:
                self.read_manifest(descriptor, document, image)

    def read_manifest(self, descriptor, manifest, image):
        """`manifest` is None when its blob is absent or is no JSON object."""
        platform = field(descriptor, "platform", dict)
        config, layers = field(manifest or {}, "config", dict), items(manifest or {}, "layers")
        digest, blob = field(config, "digest") or None, self.archive.blob(field(config, "digest"))
        for target in [config, *layers]:
            self.check_size(target)
        found = [(field(layer, "digest"), self.archive.blob(field(layer, "digest"))) for layer in layers]
        stored = [member.digest() if member else name for name, member in found]
        self.content.add((digest, *stored, field(descriptor, "digest")))
        if manifest is not None and field(config, "mediaType") not in CONFIG_TYPES:
            return                                          # an artifact
        document = self.document(blob, digest)
        name = platform_of(platform) if platform else platform_of(document) if document is not None else "unknown"
        if ATTESTATION in annotations(descriptor) or name.split("/")[:2] == ["unknown", "unknown"]:
            return
        image.configs.add(digest)
        complete, only_tars, tars = blob is not None, True, []
        for layer, (layer_digest, member) in zip(layers, found):
            kind = field(layer, "mediaType")
            foreign = re.search(r"nondistributable|\.foreign\.", kind) or field(layer, "urls", list)
            complete = complete and bool(member or foreign)
            is_tar = not kind or (re.search(r"\btar\b", kind) and "encrypted" not in kind)
            only_tars = only_tars and bool(is_tar)
            tars.append((layer_digest, member if is_tar else None))
        image.platforms.append([name, digest, complete])
        self.check_layers(digest, document, tars, only_tars)

    def read_items(self, found):
        alone, joinable = {}, list(self.images)
        for item in found:
            item = typed(item, dict, "manifest.json")
            path, tags = field(item, "Config"), items(item, "RepoTags", str)
            config, claim = self.archive.get(path), BLOB_PATH.fullmatch(clean(path) or "")
            claim = claim and f"{claim[1]}:{claim[2]}"
            digest = config.digest() if config else claim
            document = self.document(config, path)
            layers = [(name, self.archive.get(name)) for name in items(item, "Layers", str)]
            self.content.add((digest or path, *(member.digest() if member else name for name, member in layers)))
            self.check_layers(path, document, layers, True)
            joined = [image for image in joinable if image.configs & {digest or path, claim or path}]
            if not joined:
                complete = config is not None and all(member for _, member in layers)
                platform = "unknown" if document is None else platform_of(document)
                joined = [alone.setdefault(digest or path, Image(digest, DOCKER_CONFIG, platforms=[[platform, digest, True]]))]
                joined[0].platforms[0][2] &= complete
            for name in [canonical(tag) for tag in tags if tag not in ("", "<none>", "<none>:<none>")]:
                for image in [image for image in joined if name in image.names] or joined:
                    image.names.add(name)
        self.images += alone.values()

    def read_v1(self, repositories):
        images = {}
        if repositories is None:
            named = [name for name in self.archive.named if name]
            ids = [name[:-5] for name in named if name.endswith("/json") and self.archive.get(name[:-5] + "/layer.tar")]
            if not ids:
                raise Malformed("no index.json, manifest.json or repositories at the root")
            parents = {field(self.document(self.archive.get(f"{id}/json"), id) or {}, "parent") for id in ids}
            images = {id: Image(None, "") for id in ids if id not in parents}
        for repository, tags in (repositories or {}).items():
            for tag, top in typed(tags, dict, "repositories").items():
                images.setdefault(typed(top, str, "repositories"), Image(None, "")).names.add(canonical(f"{repository}:{tag}"))
        for top, image in images.items():
            platform, complete, layers, current = "unknown", True, {}, top
            while current and current not in layers:
                document = self.document(self.archive.get(f"{current}/json"), f"{current}/json")
                layer = self.archive.get(f"{current}/layer.tar")
                layers[current] = layer.digest() if layer else current
                complete = complete and document is not None and layer is not None
                if current == top and document is not None:
                    platform = platform_of(document)
                current = field(document or {}, "parent")
            self.content.add((top, *layers.values()))
            image.platforms.append([platform, None, complete])
        self.images += images.values()

    def check_size(self, descriptor):
        digest, size = field(descriptor, "digest"), descriptor.get("size")
        blob = self.archive.blob(digest)
        if blob and isinstance(size, int) and size != len(blob.body):
            self.problem(f"{digest}: its descriptor says {size} bytes, the blob has {len(blob.body)}")

    def check_layers(self, what, config, layers, counted):
        """Compares `layers` (name, member or None) with the diff IDs of a config."""
        ids = items(field(config or {}, "rootfs", dict), "diff_ids", str)
        if config is not None and counted and len(ids) != len(layers):
            self.problem(f"{what}: {len(ids)} diff_ids, {len(layers)} layers")
        for wanted, (name, member) in zip(ids, layers) if len(ids) == len(layers) else []:
            algorithm = wanted.partition(":")[0]
            try:
                if algorithm not in HEX_LENGTHS:
                    self.problem(f"{what}: diff_id {wanted!r}")
                elif member and member.digest(algorithm, plain=True) != wanted:
                    self.problem(f"{what}: layer {name} does not have the diff_id {wanted}")
            except Malformed as error:
                self.problem(f"{what}: layer {name}: {error}")
            except Skipped:
                pass

    def check_members(self):
        first = {}
        for member in self.archive.members:
            name = clean(member.name)
            body = member if member.type == "0" else self.archive.get(member.name) if member.type in "12" else None
            blob = BLOB_PATH.fullmatch(name or "")
            if body and blob and body.digest(blob[1]) != f"{blob[1]}:{blob[2]}":
                self.problem(f"{name}: its bytes are {body.digest(blob[1])}")
            if body and first.setdefault(name, body.digest()) != body.digest():
                self.problem(f"{name}: twice, with different bytes")
        if not self.archive.ended:
            self.problem("no end marker")

# ----------------------------------------------------------------------------------------------- the two commands
def report(path):
    checker = Checker(path)
    images = sorted((image.as_json() for image in checker.images), key=lambda image: (image["names"], image["digest"] or ""))
    return {"format": checker.format, "images": images, "problems": checker.problems}

def difference(before, after):
    """Why AFTER is not BEFORE with other names; None if it is."""
    before, after = Checker(before), Checker(after)
    if before.top != after.top:
        return f"top-level digests: {sorted(before.top or [])} became {sorted(after.top or [])}"
    for config, *rest in before.content ^ after.content:
        return f"{config} with {rest} is only in {'BEFORE' if (config, *rest) in before.content else 'AFTER'}"
    rest = iter(after.archive.members)
    for member in before.archive.members:
        if clean(member.name) in CONTROL:
            continue
        if not any(other.head == member.head and other.digest() == member.digest() for other in rest):
            return f"member {member.name!r} is changed, absent or out of order"

def guarded(action):
    """What `action` returns, or its failure as an object: nothing in an archive may lead to a traceback."""
    try:
        return action()
    except Skipped as reason:
        return {"skipped": str(reason)}
    except Exception as error:
        return {"error": str(error) if isinstance(error, Malformed) else f"{type(error).__name__}: {error}"}

def main(arguments):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if arguments[:1] == ["--compare"] and len(arguments) == 3:
        result = guarded(lambda: {"why": difference(*arguments[1:])})
        if "skipped" in result:
            print(json.dumps(result))
            return 2
        why = result.get("why") or result.get("error")
        print(json.dumps({"ok": False, "why": why} if why else {"ok": True}))
        return 1 if why else 0
    if not arguments or arguments[0].startswith("-"):
        print(__doc__)
        return 2
    failed = False
    for path in arguments:
        result = guarded(lambda: report(path))
        failed |= "error" in result
        print(json.dumps({"path": path, **result}, sort_keys=True))
    return int(failed)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
