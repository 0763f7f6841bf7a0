#!/usr/bin/env python3
"""Makes an image archive of a given size for side-by-side measurements.

usage: make-archive.py OUT [--layers N] [--layer-mib M | --layer-bytes B] [--gzip] [--form docker|hybrid|oci]
                       [--content random|text|zeros] [--images N] [--strays N]
                       [--shared S --first N] [--name NAME]

Content is seeded: the same arguments give the same bytes. Layers are tars of
one file of random bytes, of text and random bytes that gzip -6 makes half of,
or of zeros, which take no room in the file. `docker` is the form of `docker
save` from 1.10 to 24, `hybrid` that of docker 25 and later, `oci` has no
manifest.json. With --shared the first layers are those every archive has, and
the others are numbered from --first. Of several images each has layers of its
own. Strays are files of a few bytes that no image has to do with.
"""
import argparse
import hashlib
import json
import random
import string
import tarfile
import zlib

MIB = 1 << 20
ZEROS = bytes(MIB)
LETTERS = string.ascii_letters.encode()


def header(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def random_chunks(rng, unit):
    while True:
        yield rng.randbytes(unit)


def text_chunks(rng, _unit):
    """Words as often as Zipf has them, seven eighths of each MiB.

    One text is made, and every chunk has an alphabet of its own: it compresses
    as the first did, and no window finds the one chunk in the other.
    """
    words = [bytes(rng.choices(LETTERS, k=rng.randint(2, 11))) for _ in range(4096)]
    weights = [1 / (rank + 8) for rank in range(len(words))]
    text = b" ".join(rng.choices(words, weights, k=MIB // 4))[: MIB * 7 // 8]
    while True:
        other = bytes.maketrans(LETTERS, bytes(rng.sample(LETTERS, len(LETTERS))))
        yield text.translate(other) + rng.randbytes(MIB - len(text))


def zero_chunks(_rng, _unit):
    while True:
        yield ZEROS


def layer_chunks(seed, size, content):
    """The bytes of a layer, at most a MiB at a time."""
    # Layers of zeros have to differ, too.
    yield header(f"data{seed}" if content == "zeros" else "data", size)
    source = {"random": random_chunks, "text": text_chunks, "zeros": zero_chunks}[content]
    source = source(random.Random(seed), min(size, MIB))
    for start in range(0, size, MIB):
        yield next(source)[: size - start]
    yield bytes(-size % 512 + 1024)


class Out:
    def __init__(self, path):
        self.file = open(path, "wb")

    def member(self, name, chunks, size):
        self.file.write(header(name, size))
        written = 0
        for chunk in chunks:
            if chunk == ZEROS:
                self.file.seek(MIB, 1)
            else:
                self.file.write(chunk)
            written += len(chunk)
        assert written == size, (written, size)
        self.file.write(bytes(-size % 512))

    def close(self):
        self.file.write(bytes(1024))
        self.file.close()


def digest_of(content):
    return hashlib.sha256(content).hexdigest()


def hashed(chunks, hasher):
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk


def pack(chunks):
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join([*map(packer.compress, chunks), packer.flush()])


def add_layer(out, args, seed):
    """Writes a layer; gives its diff ID, digest, path and size."""
    def chunks():
        return layer_chunks(seed, args.layer_bytes or args.layer_mib * MIB, args.content)

    plain = hashlib.sha256()
    if args.gzip:
        packed = pack(hashed(chunks(), plain))
        digest, body, size = digest_of(packed), [packed], len(packed)
    else:
        # The digest names the member, and plain layers may be large: they are made twice.
        size = sum(map(len, hashed(chunks(), plain)))
        digest, body = plain.hexdigest(), chunks()
    path = f"{digest}/layer.tar" if args.form == "docker" else f"blobs/sha256/{digest}"
    out.member(path, body, size)
    return plain.hexdigest(), digest, path, size


def add_image(out, args, name, seeds):
    """Writes an image; gives its item of manifest.json and its descriptor, of which `docker` has none."""
    layers = [add_layer(out, args, seed) for seed in seeds]
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + diff_id for diff_id, *_ in layers]},
        "history": [{"created_by": f"layer {n}"} for n in range(len(layers))],
    }).encode()
    config_hex = digest_of(config)
    config_path = f"{config_hex}.json" if args.form == "docker" else f"blobs/sha256/{config_hex}"
    out.member(config_path, [config], len(config))
    item = {"Config": config_path, "RepoTags": [name], "Layers": [path for _, _, path, _ in layers]}
    if args.form == "docker":
        return item, None
    suffix = "+gzip" if args.gzip else ""
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": "sha256:" + config_hex, "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar" + suffix,
                    "digest": "sha256:" + digest, "size": size} for _, digest, _, size in layers],
    }).encode()
    manifest_hex = digest_of(manifest)
    out.member(f"blobs/sha256/{manifest_hex}", [manifest], len(manifest))
    return item, {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": "sha256:" + manifest_hex, "size": len(manifest),
        "annotations": {"io.containerd.image.name": "docker.io/library/" + name,
                        "org.opencontainers.image.ref.name": name.split(":")[1]},
    }


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n\n")[0])
    parser.add_argument("out")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--layer-mib", type=int, default=256)
    parser.add_argument("--layer-bytes", type=int)
    parser.add_argument("--gzip", action="store_true")
    parser.add_argument("--form", choices=["docker", "hybrid", "oci"], default="hybrid")
    parser.add_argument("--content", choices=["random", "text", "zeros"], default="random")
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--strays", type=int, default=0)
    parser.add_argument("--shared", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--name", default="bench:1")
    args = parser.parse_args()

    out = Out(args.out)
    items, descriptors = [], []
    own, first = args.layers - args.shared, args.shared + args.first
    for image in range(args.images):
        name = args.name if args.images == 1 else args.name.replace(":", f"{image}:")
        seeds = [*range(args.shared), *range(first + image * own, first + (image + 1) * own)]
        item, descriptor = add_image(out, args, name, seeds)
        items.append(item)
        descriptors.append(descriptor)
    for stray in range(args.strays):
        out.member(f"strays/{stray}", [b"stray\n"], 6)

    if args.form != "docker":
        index = json.dumps({"schemaVersion": 2, "manifests": descriptors}).encode()
        out.member("index.json", [index], len(index))
    if args.form != "oci":
        manifest_json = json.dumps(items).encode()
        out.member("manifest.json", [manifest_json], len(manifest_json))
    if args.form != "docker":
        layout = b'{"imageLayoutVersion": "1.0.0"}'
        out.member("oci-layout", [layout], len(layout))
    out.close()


if __name__ == "__main__":
    main()
