#!/bin/bash
# Fuzzes, two targets at a time:
#     fuzz/run.sh HOURS [TARGET…]     this many CPU-hours, shared out evenly
#     fuzz/run.sh SECONDSs [TARGET…]  this many seconds for each target
# Needs a nightly compiler and `cargo install cargo-fuzz`. Prints a table and
# exits 1 when a target crashed; the input is then in fuzz/artifacts/TARGET/.
# To keep a find: copy it to fuzz/regressions/TARGET/, where `cargo test` and
# the next run replay it.
set -eu
cd "$(dirname "$0")/.."
time=${1:?how many CPU-hours, or seconds for each target with an s behind them}
shift
targets=("$@")
[ $# -gt 0 ] ||
    targets=(tar_scan layer_scan archive_open documents decompress reference retag_roundtrip operations)
case $time in
*s) seconds=${time%s} ;;
*) seconds=$(awk "BEGIN { print int($time * 3600 / ${#targets[@]}) }") ;;
esac

sh fuzz/seed.sh
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
for target in "${targets[@]}"; do
    cargo +nightly fuzz build "$target"
done

one() {
    dictionary=
    case $1 in reference | decompress) ;; *) dictionary=-dict=fuzz/tar.dict ;; esac
    TIMEFORMAT='%U %S'
    {
        time if cargo +nightly fuzz run "$1" -- "-max_total_time=$seconds" -max_len=65536 \
            -timeout=10 -rss_limit_mb=1024 -detect_leaks=0 -print_final_stats=1 $dictionary \
            >"$logs/$1" 2>&1; then
            echo ok >"$logs/$1.result"
        else
            echo CRASHED >"$logs/$1.result"
        fi
    } 2>"$logs/$1.cpu"
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
printf '%-18s %8s %8s %12s %8s %8s %s\n' target seconds 'of CPU' execs exec/s corpus result
for target in "${targets[@]}"; do
    stat() { sed -n "s/^stat::$1: *//p" "$logs/$target"; }
    result=$(cat "$logs/$target.result")
    cpu=$(awk '{ printf "%d", $1 + $2 }' "$logs/$target.cpu")
    printf '%-18s %8s %8s %12s %8s %8s %s\n' "$target" "$seconds" "$cpu" "$(stat number_of_executed_units)" \
        "$(stat average_exec_per_sec)" "$(find "fuzz/corpus/$target" -type f | wc -l)" "$result"
    if [ "$result" != ok ]; then
        failed=1
        grep -E -A3 'panicked at|ERROR: |SUMMARY|Test unit written' "$logs/$target" | head -20
    fi
done
exit "$failed"
