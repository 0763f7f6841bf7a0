#!/bin/sh
# Puts the archives of testdata/ and the stored finds into fuzz/corpus/, where
# `cargo fuzz run TARGET` looks for them.
set -eu
cd "$(dirname "$0")"
for target in tar_scan archive_open retag_roundtrip; do
    mkdir -p "corpus/$target"
    cp ../testdata/*.tar "corpus/$target/"
done
cp ../testdata/*.tar.* corpus/archive_open/
mkdir -p corpus/reference
n=0
for name in busybox app:1.0 example.com/team/app:latest localhost:5000/tools/base:1.0 localhost:5000 \
    registry.k8s.io/tools/second:v2 docker.io/library/nginx index.docker.io/a/b:c a__b---c.d/e_f:T-1.x \
    "x@sha256:0000000000000000000000000000000000000000000000000000000000000000" \
    "[::1]:5000/a/b:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"; do
    n=$((n + 1))
    printf %s "$name" >"corpus/reference/seed-$n"
done
for folder in regressions/*/; do
    target=$(basename "$folder")
    [ -d "corpus/$target" ] && cp "$folder"* "corpus/$target/" 2>/dev/null || true
done
