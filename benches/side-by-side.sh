#!/usr/bin/env bash
# ocitar beside cp and openssl on archives of 2 GB in memory, in alternation:
# the machine is what it is, the ratios are what counts.
#
#   benches/side-by-side.sh [ROUNDS]        (5 rounds by default)
#
# Needs python3, openssl and 7 GB in /dev/shm (or in $BENCH_DIR).
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
dir=$(mktemp -d "${BENCH_DIR:-/dev/shm}/ocitar-bench.XXXXXX")
trap 'rm -rf "$dir"' EXIT
cargo build --release --quiet
ocitar=${CARGO_TARGET_DIR:-target}/release/ocitar
in=$dir/in.tar out=$dir/out.tar
python3 benches/make-archive.py "$in" --layers 8 --layer-mib 256
half=$(($(stat -c %s "$in") / 2))

now() { date +%s%N; }
timed() { # name, command…: one line "name milliseconds" in the log
  local name=$1 start; shift
  start=$(now); "$@" >/dev/null 2>&1; echo "$name $((($(now) - start) / 1000))" >>"$dir/log"
}
openssl_twice() {
  # Each half, read by openssl itself, at once.
  head -c "$half" "$in" >"$dir/a"; tail -c "$half" "$in" >"$dir/b"
  timed openssl sh -c "openssl dgst -sha256 '$dir/a' & openssl dgst -sha256 '$dir/b' & wait"
  rm "$dir/a" "$dir/b"
}
for _ in $(seq "$rounds"); do
  rm -f "$out"; timed cp cp --reflink=never "$in" "$out"
  rm -f "$out"; timed retag "$ocitar" retag "$in" "$out" registry.example.com/bench:2
  rm -f "$out"; openssl_twice
  timed verify "$ocitar" verify "$in"
  timed ls "$ocitar" ls "$in"
done
rm -f "$in" "$out"

# Ten archives of five layers, three of which they all have.
for n in 0 1 2 3 4 5 6 7 8 9; do
  python3 benches/make-archive.py "$dir/part$n.tar" --layers 5 --layer-mib 64 --shared 3 --first $((n * 2)) --name "bench$n:1"
done
merged=$dir/merged.tar
"$ocitar" merge -q -o "$merged" "$dir"/part?.tar
for _ in $(seq "$rounds"); do
  rm -f "$out"; timed merge-cp cp --reflink=never "$merged" "$out"
  rm -f "$out"; timed merge "$ocitar" merge -o "$out" "$dir"/part?.tar
  cmp "$merged" "$out"
done
rm -f "$dir"/part?.tar "$out"; mv "$merged" "$in"
memory() { /usr/bin/time -f %M "$ocitar" "$@" 2>&1 >/dev/null | tail -1; }
python3 - "$dir/log" <<'PY'
import statistics, sys
runs = {}
for line in open(sys.argv[1]):
    name, micros = line.split()
    runs.setdefault(name, []).append(int(micros) / 1000)
median = {name: statistics.median(times) for name, times in runs.items()}
print(f"{'work':34} {'median ms':>10} {'ratio':>6}")
rows = [("cp --reflink=never", "cp", "cp"), ("ocitar retag", "retag", "cp"),
        ("cp --reflink=never of the merged", "merge-cp", "merge-cp"), ("ocitar merge of ten", "merge", "merge-cp"),
        ("two openssl dgst, half each", "openssl", "openssl"), ("ocitar verify", "verify", "openssl")]
for title, name, base in rows:
    print(f"{title:34} {median[name]:10.0f} {median[name] / median[base]:6.2f}")
print(f"{'ocitar ls':34} {median['ls']:10.1f}")
PY
if [ -x /usr/bin/time ]; then
  rm -f "$out"
  echo "peak memory, KiB, nothing mapped: ls $(memory ls --no-mmap "$in"), verify $(memory verify --no-mmap "$in"), retag $(memory retag --no-mmap "$in" "$out" --prefix docker.io/library=example.com/a)"
fi
