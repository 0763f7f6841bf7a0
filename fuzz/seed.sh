#!/bin/sh
# Fills fuzz/corpus/, where `cargo fuzz run TARGET` looks for inputs: with the
# archives of testdata/, the crafted archives and documents of tests/hostile, and
# the stored finds.
set -eu
cd "$(dirname "$0")"
crafted=$(mktemp -d)
trap 'rm -rf "$crafted"' EXIT
(cd .. && OCITAR_SEEDS=$crafted cargo test --quiet --locked --test hostile -- \
    --exact --ignored crafted_cases_as_seeds >/dev/null)
for target in tar_scan layer_scan archive_open retag_roundtrip operations; do
    mkdir -p "corpus/$target"
    cp ../testdata/*.tar "$crafted"/archives/* "corpus/$target/"
done
cp ../testdata/*.tar.* corpus/archive_open/
mkdir -p corpus/documents corpus/decompress corpus/reference
cp "$crafted"/documents/* corpus/documents/
for text in "" short "$(cat tar.dict)"; do
    name=${#text}
    { printf '\0' && printf %s "$text" | gzip -9n; } >"corpus/decompress/gzip-$name"
    { printf '\0' && printf %s "$text" | gzip -1n && printf more | gzip; } >"corpus/decompress/gzip-twice-$name"
    { printf '\1' && printf %s "$text" | zstd -q19; } >"corpus/decompress/zstd-$name"
    { printf '\1' && printf %s "$text" | zstd -q && printf '\120\52\115\30\4\0\0\0skip' &&
        printf more | zstd -q --no-check; } >"corpus/decompress/zstd-twice-$name"
done
n=0
for name in busybox app:1.0 example.com/team/app:latest localhost:5000/tools/base:1.0 localhost:5000 \
    registry.k8s.io/tools/second:v2 docker.io/library/nginx index.docker.io/a/b:c a__b---c.d/e_f:T-1.x \
    "x@sha256:0000000000000000000000000000000000000000000000000000000000000000" \
    "[::1]:5000/a/b:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" \
    linux/arm64/v8 "windows(10.0.1)/amd64" "windows(10.0.1+win32k)" arm \
    "sha512:$(printf '%0128d' 0)"; do
    n=$((n + 1))
    printf %s "$name" >"corpus/reference/seed-$n"
done
for folder in regressions/*/; do
    target=$(basename "$folder")
    [ -d "corpus/$target" ] && cp "$folder"* "corpus/$target/" 2>/dev/null || true
done
