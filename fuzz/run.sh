#!/bin/bash
# Builds every target and runs each for SECONDS, two at a time:
#     fuzz/run.sh SECONDS [TARGET…]
# Needs a nightly compiler and `cargo install cargo-fuzz`. Prints a table and
# exits 1 when a target crashed; the input is then in fuzz/artifacts/TARGET/.
# To keep a find: copy it to fuzz/regressions/TARGET/, where `cargo test` and
# the next run replay it.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:?seconds for each target}
shift
targets=("$@")
[ $# -gt 0 ] || targets=(tar_scan archive_open reference retag_roundtrip)

sh fuzz/seed.sh
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
for target in "${targets[@]}"; do
    cargo +nightly fuzz build "$target"
done

one() {
    dictionary=
    [ "$1" = reference ] || dictionary=-dict=fuzz/tar.dict
    if cargo +nightly fuzz run "$1" -- "-max_total_time=$seconds" -max_len=65536 -timeout=10 \
        -rss_limit_mb=1024 -detect_leaks=0 -print_final_stats=1 $dictionary >"$logs/$1" 2>&1; then
        echo ok >"$logs/$1.result"
    else
        echo CRASHED >"$logs/$1.result"
    fi
}

running=0
for target in "${targets[@]}"; do
    if [ "$running" -ge 2 ]; then
        wait -n
        running=$((running - 1))
    fi
    one "$target" &
    running=$((running + 1))
done
wait

failed=0
printf '%-18s %12s %10s %s\n' target execs exec/s result
for target in "${targets[@]}"; do
    stat() { sed -n "s/^stat::$1: *//p" "$logs/$target"; }
    result=$(cat "$logs/$target.result")
    printf '%-18s %12s %10s %s\n' "$target" "$(stat number_of_executed_units)" "$(stat average_exec_per_sec)" "$result"
    if [ "$result" != ok ]; then
        failed=1
        grep -E -A3 'panicked at|ERROR: |SUMMARY|Test unit written' "$logs/$target" | head -20
    fi
done
exit "$failed"
