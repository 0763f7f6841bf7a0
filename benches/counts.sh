#!/usr/bin/env bash
# Instructions that ocitar executes, held against those in counts.txt: what wall
# time on a shared machine cannot show. Exit 1 when one has grown by more than 5 %.
#
#   benches/counts.sh [--write]       --write puts what was counted into counts.txt
#
# Needs valgrind and python3. $OCITAR counts another binary than that of this tree.
#
# The works hash no layer, only documents: valgrind's processor has no SHA
# instructions, and a count would be that of a SHA-256 nobody runs (here it is a
# sixth of the count with 1,000 images). They copy nothing either, for that is the
# kernel's work and not counted. Another compiler or kind of processor gives other
# counts, so the file says what it was made with.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/binary.sh
kept=$PWD/benches/counts.txt
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
make() { python3 benches/make-archive.py "$dir/$1" "${@:2}"; }
make members.tar --layers 3 --layer-bytes 512 --strays 10000
make images.tar --images 1000 --layers 8 --layer-bytes 512 # with configurations and manifests 10,003 members
cd "$dir"

count() { # name, arguments…: one line "name instructions"
  # The environment lies on the stack, whose size and place would count.
  env -i valgrind --tool=callgrind --callgrind-out-file=/dev/null "$OCITAR" --jobs 1 -q "${@:2}" >/dev/null 2>log ||
    { cat log >&2; exit 5; }
  echo "$1 $(sed -n 's/^==[0-9]*== Collected : //p' log)"
}
made_with="# $(rustc --version | cut -d' ' -f1,2), $(uname -m)"
{
  echo "$made_with"
  count index-10000-members ls members.tar
  count ls-1000-images ls images.tar
  count retag-1000-images retag --dry-run images.tar out.tar --prefix docker.io/library=registry.example.com/hub
} >counts

if [ "${1:-}" = --write ]; then
  cat counts | tee "$kept"
  exit
fi
[ "$(head -n 1 "$kept")" = "$made_with" ] ||
  echo "counts.txt is of another compiler or processor: $(head -n 1 "$kept")" >&2
awk '
  /^#/ { next }
  FNR == NR { kept[$1] = $2; next }
  !($1 in kept) { print $1, $2, "is not in counts.txt"; failed = 1; next }
  {
    change = ($2 / kept[$1] - 1) * 100
    grown = change > 5
    printf "%-22s %12d %12d %+7.2f %%%s\n", $1, kept[$1], $2, change, grown ? "  grown" : ""
    failed = failed || grown
  }
  END { exit failed }
' "$kept" counts
