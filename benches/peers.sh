#!/usr/bin/env bash
# ocitar beside the programs that do the same work, or a part of it that cannot
# be left out: cp, cat, openssl, gzip, pigz, zstd, skopeo, crane, umoci, docker, ctr.
#
#   benches/peers.sh [ROUNDS] [--size MB] [--json FILE] [--svg FILE]
#
# 5 rounds and an archive of 2048 MB unless said; needs python3, openssl and five
# times that size in /dev/shm (or in $BENCH_DIR). What is not installed is left out
# with a line that says so. Root gets XFS and Btrfs, too, on images that are mounted
# and gone afterwards; `tests/peers/peers.sh up` gets the daemons, and the tools in
# its chroot. $OCITAR measures another binary than that of this tree.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/binary.sh
exec python3 benches/peers.py "$@"
