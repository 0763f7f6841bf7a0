#!/usr/bin/env bash
# Brings bundles from one registry's names to another's, and counts images.
#
#   migrate.sh OLD=NEW OUTDIR BUNDLE…
#   migrate.sh docker.io/kubeguide=registry.cn-hangzhou.aliyuncs.com/ns out bundles/*.tar
#
# Prints old and new names before anything is written; beside each new bundle,
# its report says what was done, with every digest before and after.
set -euo pipefail

rule=$1 folder=$2
shift 2
mkdir -p "$folder"
table=$(mktemp)
trap 'rm -f "$table"' EXIT
count() { ocitar ls -q "$1" | wc -l; }

processed=0 skipped=0 failed=0
for bundle in "$@"; do
  out=$folder/$(basename "$bundle")
  images=$(count "$bundle" 2>/dev/null) || images=1
  if [ -e "$out" ]; then
    echo "$bundle: done before" >&2
    skipped=$((skipped + images))
  elif ! error=$(ocitar retag --dry-run "$bundle" "$out" --prefix "$rule" 2>&1 >"$table"); then
    echo "$error" >&2
    # Nothing of the old registry in it is no failure.
    case $error in
      *E_RULE_UNMATCHED*) skipped=$((skipped + images)) ;;
      *) failed=$((failed + images)) ;;
    esac
  else
    cat "$table"
    if ocitar retag --verify "$bundle" "$out" --prefix "$rule" --report "$out.json"; then
      done=$(sed -n 's/^ *"retagged": \([0-9]*\).*/\1/p' "$out.json")
      processed=$((processed + done)) skipped=$((skipped + images - done))
    else
      failed=$((failed + images))
    fi
  fi
done
echo "processed $processed, skipped $skipped, failed $failed"
[ $failed = 0 ]
