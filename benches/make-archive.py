#!/usr/bin/env python3
"""Makes an image archive of a given size for side-by-side measurements.

usage: make-archive.py OUT [--layers N] [--layer-mib M] [--gzip] [--form docker|hybrid]
                       [--shared S --first N] [--name NAME]

Content is seeded: the same arguments give the same bytes. Layers are tars of
one file of random bytes. `docker` is the form of `docker save` from 1.10 to
24, `hybrid` that of docker 25 and later. With --shared the first layers are
those every archive has, and the others are numbered from --first.
"""
import argparse
import hashlib
import io
import json
import random
import tarfile
import zlib

MIB = 1 << 20


def header(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def layer_chunks(seed, mib):
    """The bytes of a layer, a MiB at a time."""
    rng = random.Random(seed)
    yield header("data", mib * MIB)
    for _ in range(mib):
        yield rng.randbytes(MIB)
    yield bytes(1024)


class Out:
    def __init__(self, path):
        self.file = open(path, "wb")

    def member(self, name, chunks, size):
        self.file.write(header(name, size))
        written = 0
        for chunk in chunks:
            self.file.write(chunk)
            written += len(chunk)
        assert written == size, (written, size)
        self.file.write(bytes(-size % 512))

    def close(self):
        self.file.write(bytes(1024))
        self.file.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--layer-mib", type=int, default=256)
    parser.add_argument("--gzip", action="store_true")
    parser.add_argument("--form", choices=["docker", "hybrid"], default="hybrid")
    parser.add_argument("--shared", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--name", default="bench:1")
    args = parser.parse_args()

    out = Out(args.out)
    diff_ids, layers = [], []
    own = range(args.first, args.first + args.layers - args.shared)
    for seed in [*range(args.shared), *(args.shared + n for n in own)]:
        plain, digest, size = hashlib.sha256(), hashlib.sha256(), 0

        def tee():
            for chunk in layer_chunks(seed, args.layer_mib):
                if args.gzip:
                    # Half of each MiB is zeros, so that there is something to compress.
                    chunk = chunk[: len(chunk) // 2] + bytes(len(chunk) - len(chunk) // 2)
                plain.update(chunk)
                yield chunk

        def packed():
            if not args.gzip:
                yield from tee()
                return
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            for chunk in tee():
                yield packer.compress(chunk)
            yield packer.flush()

        # The digest names the member, so the content is made twice.
        for chunk in packed():
            digest.update(chunk)
            size += len(chunk)
        diff_ids.append("sha256:" + plain.hexdigest())
        name = digest.hexdigest()
        path = f"blobs/sha256/{name}" if args.form == "hybrid" else f"{name}/layer.tar"
        plain = hashlib.sha256()
        out.member(path, packed(), size)
        layers.append((name, path, size))

    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": f"layer {n}"} for n in range(args.layers)],
    }).encode()
    config_hex = hashlib.sha256(config).hexdigest()
    config_path = f"blobs/sha256/{config_hex}" if args.form == "hybrid" else f"{config_hex}.json"
    out.member(config_path, [config], len(config))
    item = {"Config": config_path, "RepoTags": [args.name], "Layers": [path for _, path, _ in layers]}
    if args.form == "hybrid":
        suffix = "+gzip" if args.gzip else ""
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                       "digest": "sha256:" + config_hex, "size": len(config)},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar" + suffix,
                        "digest": "sha256:" + name, "size": size} for name, _, size in layers],
        }).encode()
        manifest_hex = hashlib.sha256(manifest).hexdigest()
        out.member(f"blobs/sha256/{manifest_hex}", [manifest], len(manifest))
        index = json.dumps({"schemaVersion": 2, "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": "sha256:" + manifest_hex, "size": len(manifest),
            "annotations": {"io.containerd.image.name": "docker.io/library/" + args.name,
                            "org.opencontainers.image.ref.name": args.name.split(":")[1]},
        }]}).encode()
        out.member("index.json", [index], len(index))
    manifest_json = json.dumps([item]).encode()
    out.member("manifest.json", [manifest_json], len(manifest_json))
    if args.form == "hybrid":
        layout = b'{"imageLayoutVersion": "1.0.0"}'
        out.member("oci-layout", [layout], len(layout))
    out.close()


if __name__ == "__main__":
    main()
