#!/usr/bin/env bash
# Gives a pause image, whatever mirror it came from, the name the kubelet asks
# for, and imports it.
#
#   pause.sh IN OUT [VERSION]
#
#   CTR         how to run ctr; nothing is imported without it, for example
#               CTR="sudo ctr" or CTR="sudo k3s ctr"
#   NAMESPACE   where the kubelet looks (default: k8s.io)
set -euo pipefail

in=$1 out=$2
ocitar retag "$in" "$out" "registry.k8s.io/pause:${3:-3.1}"
ocitar ls "$out"
if [ -n "${CTR:-}" ]; then
  read -ra ctr <<<"$CTR"
  "${ctr[@]}" -n "${NAMESPACE:-k8s.io}" images import "$out"
fi
