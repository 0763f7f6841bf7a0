"""Reads tars as Python's tarfile does; items and lines as in go/main.go ("t" and "f" only)."""

import hashlib
import io
import json
import struct
import sys
import tarfile

MAX_BODY = 64 << 20


def listing(archive):
    members = []
    error = ""
    try:
        with tarfile.open(mode="r:", **archive) as tar:
            for member in tar:
                if member.size < 0:
                    # tarfile goes back by as much, and on for ever.
                    raise tarfile.ReadError("negative size")
                kind = member.type[0]
                size, digest = 0, ""
                if kind in b"0\0":
                    size = member.size
                    if size <= MAX_BODY:
                        body = tar.extractfile(member).read()
                        digest = hashlib.sha256(body).hexdigest()
                        if len(body) < size:
                            raise tarfile.ReadError("short body")
                name = member.name.encode("utf-8", "surrogateescape").hex()
                members.append([name, kind, size, digest])
    except Exception as problem:  # what a reader of hostile input can raise is what it likes
        error = repr(problem)
    return {"members": members, "error": error}


def main():
    while head := sys.stdin.buffer.read(9):
        kind, length = struct.unpack(">cQ", head)
        body = sys.stdin.buffer.read(length)
        archive = {"name": body.decode()} if kind == b"f" else {"fileobj": io.BytesIO(body)}
        sys.stdout.write(json.dumps(listing(archive)) + "\n")


main()
