#!/usr/bin/env bash
# How the time of ocitar's work grows with the size of an archive and with threads.
#
#   benches/scaling.sh [ROUNDS] [--sizes MB,MB…] [--verify-all] [--json FILE] [--svg FILE]
#
# 5 rounds, and 100, 1000, 4000 and 16000 MB unless said. Archives are sparse where
# their bytes do not matter, and those to verify are left out above 4000 MB unless
# asked for. Needs 5 GB in /dev/shm (or in $BENCH_DIR); root gets reflinks, on XFS.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/binary.sh
exec python3 benches/scaling.py "$@"
