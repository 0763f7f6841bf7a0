#!/usr/bin/env bash
# Brings images from docker into the containerd that the kubelet uses, under the
# names it asks for: the full ones, in the namespace k8s.io. No file in between.
#
#   import.sh [--list] [IMAGE…]      without an IMAGE, those of the list below
#
#   CTR         how to run ctr                  (default: sudo k3s ctr)
#   NAMESPACE   where the kubelet looks         (default: k8s.io)
set -euo pipefail

default=(
  docker.io/library/nginx:1.27
  registry.k8s.io/pause:3.10
  example.com/team/app:1.0
)

if [ "${1:-}" = --list ]; then
  printf '%s\n' "${default[@]}"
  exit
fi
[ $# -gt 0 ] || set -- "${default[@]}"
read -ra ctr <<<"${CTR:-sudo k3s ctr}"

imported=0 failed=0
for image in "$@"; do
  # One image, one name: NEW. When anything goes wrong, ocitar makes the stream
  # unreadable, so that ctr fails too instead of importing a part.
  if docker save "$image" | ocitar retag -q - - "$image" |
    "${ctr[@]}" -n "${NAMESPACE:-k8s.io}" images import -; then
    imported=$((imported + 1))
  else
    echo "$image: not imported" >&2
    failed=$((failed + 1))
  fi
done
echo "imported $imported, failed $failed"
[ $failed = 0 ]
