#!/usr/bin/env bash
# The real tools that read and write image archives, for the interop tests, for
# testdata/make.sh and for benchmarks.
#
#   peers.sh up               start the current generation; makes its chroot first if absent
#                             (debootstrap and apt-get, about a minute)
#   peers.sh run CMD ARG…     run a program of the chroot
#   peers.sh down             stop the daemons, unmount; the chroot stays for the next `up`
#
#   peers.sh host-up          start the previous generation, on the machine itself
#   peers.sh host-run docker|ctr ARG…
#   peers.sh host-down
#
#   peers.sh status           what answers, with versions; exit 1 unless all of `up` does
#
# In the chroot (Debian trixie): containerd 1.7, docker 26.1, skopeo, podman, umoci, oras, buildx.
#   run ctr    -a /run/peers/containerd.sock …
#   run docker -H unix:///run/peers/graph.sock …     classic (graph driver) image store
#   run docker -H unix:///run/peers/c8d.sock …       containerd image store
#   A file of the machine is seen inside as /x/NAME when it lies in $PEERS_X, or in $PEERS_ROOT/x.
# On the machine (Debian bookworm): docker 20.10, the last before hybrid archives, and containerd 1.6.
#   Own sockets, data and state, all in $PEERS_HOST; an installed docker service is left alone.
#
# Environment: PEERS_ROOT   where the chroot lives        (default $TMPDIR/peers or /var/tmp/peers)
#              PEERS_X      folder seen inside as /x      (default $PEERS_ROOT.x)
#              PEERS_HOST   folder of the older daemons   (default $PEERS_ROOT.host)
#              PEERS_SUITE  what the chroot is            (default trixie)
#              PEERS_EXTRA  more Debian packages for the chroot
#
# Needs root and a Debian mirror; no image is pulled from anywhere.
set -euo pipefail
ROOT=${PEERS_ROOT:-${TMPDIR:-/var/tmp}/peers}
X=${PEERS_X:-$ROOT.x}
HOST=${PEERS_HOST:-$ROOT.host}
SUITE=${PEERS_SUITE:-trixie}
RUN=$ROOT/run/peers
CTR=(ctr -a /run/peers/containerd.sock)
export DEBIAN_FRONTEND=noninteractive

# ---- small things -------------------------------------------------------------------------

die() { echo "peers.sh: $*" >&2; exit 1; }

quiet() { "$@" >/dev/null 2>&1 </dev/null; }

await() { # name, log, probe command…
  local name=$1 log=$2; shift 2
  for _ in $(seq 80); do quiet "$@" && return; sleep 0.5; done
  tail -n 20 "$log" >&2 || true
  die "$name does not answer"
}

launch() { # pid file, log, command…
  local pid=$1 log=$2; shift 2
  setsid "$@" >"$log" 2>&1 </dev/null &
  echo $! >"$pid"
}

stop() { # pid file…
  local file pid
  for file; do
    [ -e "$file" ] || continue
    pid=$(cat "$file"); rm -f "$file"
    grep -qE '^(containerd|dockerd)$' "/proc/$pid/comm" 2>/dev/null || continue # a number of long ago
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  done
}

apt_install() { apt-get -o DPkg::Lock::Timeout=300 install -qy --no-install-recommends "$@" >/dev/null; }

# The mirror this machine's own apt uses.
mirror() {
  { grep -hE '^(URIs:|deb )' /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
    grep -oE 'https?://[^ ]*/debian\b' || echo http://deb.debian.org/debian; } | head -n 1
}

# ---- the chroot ---------------------------------------------------------------------------

bind() { # option of mount, source, target
  mountpoint -q "$3" && return
  mount "$1" "$2" "$3"
  mount --make-rslave "$3" # what is unmounted here later stays mounted on the machine
}

mounts() {
  bind --bind "$ROOT" "$ROOT" # dockerd pivots into the root when it unpacks: it must be a mount
  mountpoint -q "$ROOT/proc" || mount -t proc proc "$ROOT/proc"
  bind --rbind /sys "$ROOT/sys" # with the cgroups, dockerd wants them
  bind --rbind /dev "$ROOT/dev"
  mkdir -p "$X" "$ROOT/x"
  bind --bind "$X" "$ROOT/x"
}

unmount() {
  local sub
  for sub in /x /dev /sys /proc ""; do umount -R -l "$ROOT$sub" 2>/dev/null || true; done
}

make_chroot() {
  [ -e "$ROOT/.ready" ] && return
  [ -x /usr/sbin/debootstrap ] || { apt-get update -q >/dev/null; apt_install debootstrap; }
  mkdir -p "$ROOT"
  debootstrap --variant=minbase --include=ca-certificates "$SUITE" "$ROOT" "$(mirror)" >/dev/null
  mounts
  echo 'Acquire::Check-Valid-Until "false";' >"$ROOT/etc/apt/apt.conf.d/99peers" # a frozen mirror may be old
  printf '#!/bin/sh\nexit 101\n' >"$ROOT/usr/sbin/policy-rc.d"                    # start no service
  chmod 755 "$ROOT/usr/sbin/policy-rc.d"
  chroot "$ROOT" apt-get update -q >/dev/null
  # shellcheck disable=SC2086
  chroot "$ROOT" apt-get install -qy --no-install-recommends \
    skopeo umoci podman containerd docker.io docker-cli docker-buildx oras crun runc \
    busybox-static ${PEERS_EXTRA:-} >/dev/null
  touch "$ROOT/.ready"
}

# ctr waits ten seconds for a socket that is not there.
ctr_answers() { [ -S "$RUN/containerd.sock" ] && quiet chroot "$ROOT" "${CTR[@]}" version; }
in_docker() { chroot "$ROOT" docker -H "unix:///run/peers/$1.sock" "${@:2}"; }

configure() {
  mkdir -p "$RUN"
  # containerd 2 cannot find the mount below its btrfs snapshotter inside a chroot.
  cat >"$RUN/containerd.toml" <<T
version = 2
root = "/var/lib/peers/containerd"
state = "/run/peers/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs"]
[grpc]
  address = "/run/peers/containerd.sock"
T
  local store features
  for store in graph c8d; do
    features='{}'
    [ $store = c8d ] && features='{"containerd-snapshotter":true}'
    cat >"$RUN/$store.json" <<T
{"features":$features,"data-root":"/var/lib/peers/$store","exec-root":"/run/peers/$store",
 "pidfile":"/run/peers/$store.docker.pid","hosts":["unix:///run/peers/$store.sock"],
 "containerd":"/run/peers/containerd.sock","iptables":false,"ip6tables":false,"bridge":"none"}
T
  done
}

up() {
  make_chroot
  mounts
  configure
  local store
  if ! ctr_answers; then
    launch "$RUN/containerd.pid" "$RUN/containerd.log" chroot "$ROOT" containerd -c /run/peers/containerd.toml
    await containerd "$RUN/containerd.log" chroot "$ROOT" "${CTR[@]}" version
  fi
  for store in graph c8d; do
    quiet in_docker $store version && continue
    rm -f "$RUN/$store.docker.pid"
    launch "$RUN/$store.pid" "$RUN/$store.log" chroot "$ROOT" dockerd --config-file "/run/peers/$store.json"
    await "dockerd ($store)" "$RUN/$store.log" in_docker $store version
  done
  current_versions
}

down() {
  stop "$RUN"/{c8d,graph,containerd}.pid
  unmount
}

server_version() { "$@" version 2>/dev/null </dev/null | sed -n '/^Server/,$ s/^ *[Vv]ersion: *//p' | head -n 1; }

current_versions() {
  local store
  echo "ctr         $(server_version chroot "$ROOT" "${CTR[@]}")"
  for store in graph c8d; do echo "docker-$store $(server_version in_docker $store)"; done
  chroot "$ROOT" sh -c '
    echo "buildx      $(docker buildx version | cut -d" " -f2)"
    for tool in skopeo podman; do echo "$tool      $($tool --version | sed "s/.* //")"; done
    echo "umoci       $(umoci --version | sed -n "1 s/.* //p")"
    echo "oras        $(oras version | sed -n "s/^Version: *//p")"'
}

# ---- the previous generation, on the machine ------------------------------------------------

host_docker() { DOCKER_CONFIG=$HOST/client DOCKER_BUILDKIT=0 /usr/bin/docker -H "unix://$HOST/docker.sock" "$@"; }
host_ctr() { /usr/bin/ctr -a "$HOST/containerd.sock" "$@"; }
host_ctr_answers() { [ -S "$HOST/containerd.sock" ] && quiet host_ctr version; }

host_install() {
  [ -x /usr/bin/docker ] && [ -x /usr/sbin/dockerd ] && [ -x /usr/bin/containerd ] && [ -x /usr/bin/ctr ] &&
    [ -x /usr/bin/xz ] && [ -x /usr/bin/zstd ] && [ -x /usr/bin/bzip2 ] && return
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e $policy ]; then # the packages must not start a service of their own
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    made=1
  fi
  # docker 20.10 reads xz with the program; the tests unpack with all three.
  local wanted=(docker.io containerd xz-utils zstd bzip2)
  apt_install "${wanted[@]}" || { apt-get update -q >/dev/null; apt_install "${wanted[@]}"; } || die "cannot install docker.io"
  [ -z "$made" ] || rm -f $policy
}

host_up() {
  host_install
  mkdir -p "$HOST"
  cat >"$HOST/containerd.toml" <<T
version = 2
root = "$HOST/containerd"
state = "$HOST/containerd.run"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "$HOST/containerd.sock"
T
  cat >"$HOST/docker.json" <<T
{"data-root":"$HOST/docker","exec-root":"$HOST/docker.run","pidfile":"$HOST/docker.own.pid",
 "hosts":["unix://$HOST/docker.sock"],"containerd":"$HOST/containerd.sock",
 "iptables":false,"ip6tables":false,"bridge":"none"}
T
  if ! host_ctr_answers; then
    launch "$HOST/containerd.pid" "$HOST/containerd.log" /usr/bin/containerd -c "$HOST/containerd.toml"
    await "containerd of the machine" "$HOST/containerd.log" host_ctr version
  fi
  if ! quiet host_docker version; then
    rm -f "$HOST/docker.own.pid"
    launch "$HOST/docker.pid" "$HOST/docker.log" /usr/sbin/dockerd --config-file "$HOST/docker.json"
    await "dockerd of the machine" "$HOST/docker.log" host_docker version
  fi
  host_versions
}

host_versions() {
  echo "host-docker $(server_version host_docker)"
  echo "host-ctr    $(server_version host_ctr)"
}

host_run() {
  case ${1:-} in
    docker) host_docker "${@:2}" ;;
    ctr) host_ctr "${@:2}" ;;
    *) die "host-run docker|ctr ARG…" ;;
  esac
}

host_down() { stop "$HOST/docker.pid" "$HOST/containerd.pid"; }

# ---- verbs --------------------------------------------------------------------------------

status() {
  host_ctr_answers && quiet host_docker version && host_versions
  ctr_answers && quiet in_docker graph version && quiet in_docker c8d version && current_versions
}

[ "$(id -u)" = 0 ] || die "needs root"
case ${1:-} in
  up) up ;;
  run) shift; exec chroot "$ROOT" "$@" ;;
  down) down ;;
  host-up) host_up ;;
  host-run) shift; host_run "$@" ;;
  host-down) host_down ;;
  status) status ;;
  *) sed -n '2,/^set -e/ { s/^# \{0,1\}//p }' "$0"; exit 2 ;;
esac
