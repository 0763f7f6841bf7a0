#!/usr/bin/env bash
# Makes the archives of this folder again, each with the tool it is named after.
#
#   testdata/make.sh [NAME…]     all groups, or some of: docker20 docker26 c8d buildx ctr podman skopeo
#                                layout outer (those after buildx use what buildx made)
#
# Needs what tests/peers/peers.sh needs (root, Debian bookworm). Tools that take a time are given a
# fixed one; docker's classic builder, docker save and provenance statements write the present time, so
# those archives differ from run to run in their times and in the digests that follow from them.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
PEERS=$HERE/../tests/peers/peers.sh
ROOT=${PEERS_ROOT:-${TMPDIR:-/var/tmp}/peers}
WORK=$ROOT/x/testdata                 # seen as /x/testdata inside
EPOCH=1704164645                      # 2024-01-02T03:04:05Z
NS=ocitar-testdata
export SOURCE_DATE_EPOCH=$EPOCH

run() { "$PEERS" run "$@"; }
graph() { run env DOCKER_BUILDKIT=0 docker -H unix:///run/peers/graph.sock "$@"; }
c8d() { run docker -H unix:///run/peers/c8d.sock "$@"; }
host() { "$PEERS" host-run docker "$@"; }
ctr() { run ctr -a /run/peers/containerd.sock -n $NS "$@"; }
ctr16() { "$PEERS" host-run ctr -n $NS "$@"; }
podman() { run env PODMAN_IGNORE_CGROUPSV1_WARNING=1 podman --root /x/testdata/podman --runroot /x/testdata/podman.run --storage-driver vfs "$@"; }
skopeo() { run skopeo --insecure-policy --tmpdir /x/testdata/tmp "$@"; }

say() { echo "== $*"; }
keep() { # NAME: what a tool wrote to $WORK/NAME becomes testdata/NAME
  install -m 644 "$WORK/$1" "$HERE/$1"
}
hush() { "$@" >"$WORK/log" 2>&1 || { cat "$WORK/log" >&2; return 1; }; }
empty() { # docker command…: no image and no build cache
  local ids
  ids=$("$@" image ls -qa | sort -u)
  # shellcheck disable=SC2086
  [ -z "$ids" ] || "$@" image rm -f $ids >/dev/null 2>&1 || true
}

# ---- what goes into the images --------------------------------------------------------------

sources() {
  rm -rf "$WORK"
  mkdir -p "$WORK"/{tmp,app/etc,tool,multi}
  printf '#!/bin/sh\necho "hello from app"\n' >"$WORK/app/hello"
  : >"$WORK/app/empty"
  printf 'greeting = "hello"\nlevel = 3\n' >"$WORK/app/etc/app.toml"
  cat >"$WORK/app/Dockerfile" <<'D'
FROM scratch
LABEL org.opencontainers.image.title="app" org.opencontainers.image.licenses="MIT" note="a <b> & \"c\""
COPY hello /bin/hello
COPY empty /var/empty
COPY etc /etc
ENV GREETING=hello
EXPOSE 8080
USER 1000:1000
ENTRYPOINT ["/bin/hello"]
CMD ["--help"]
D
  printf 'base\n' >"$WORK/tool/base"
  printf 'first tool\n' >"$WORK/tool/first"
  printf 'second tool\n' >"$WORK/tool/second"
  cat >"$WORK/tool/Dockerfile" <<'D'
FROM scratch AS base
LABEL part="tool"
COPY base /base

FROM base AS first
COPY first /first

FROM base AS second
COPY second /second
COPY base /again
ENTRYPOINT ["/second"]
D
  for arch in amd64 arm64; do printf 'built for %s\n' $arch >"$WORK/multi/hello-$arch"; done
  printf 'shared by all platforms\n' >"$WORK/multi/shared"
  cat >"$WORK/multi/Dockerfile" <<'D'
FROM scratch
ARG TARGETARCH
COPY shared /shared
COPY hello-$TARGETARCH /hello
LABEL org.opencontainers.image.title="multi"
ENTRYPOINT ["/hello"]
D
  find "$WORK" -exec touch -h -d @$EPOCH {} +
}

# ---- docker, classic store ------------------------------------------------------------------

# Builds app and the tools with the classic builder of one docker.
classic_images() { # folder as the daemon's client sees it, docker command…
  local x=$1; shift
  empty "$@"
  hush "$@" build -q -t docker.io/library/app:1.0 -t example.com/team/app:latest "$x/app"
  hush "$@" build -q -t localhost:5000/tools/base:1.0 --target base "$x/tool"
  hush "$@" build -q -t localhost:5000/tools/first:1.0 --target first "$x/tool"
  hush "$@" build -q -t registry.k8s.io/tools/second:v2 --target second "$x/tool"
}

link_before_target() { # archive: does a layer link come before the layer it leads to
  python3 - "$1" <<'P'
import posixpath, sys, tarfile
members = tarfile.open(sys.argv[1]).getmembers()
at = {m.name: i for i, m in enumerate(members)}
links = [(i, posixpath.normpath(posixpath.join(posixpath.dirname(m.name), m.linkname)))
         for i, m in enumerate(members) if m.issym()]
sys.exit(not any(i < at[target] for i, target in links))
P
}

docker20() {
  say docker 20.10
  classic_images "$WORK" host
  host save -o "$WORK/docker20-two-tags.tar" app:1.0 example.com/team/app:latest
  # Which of the two holds the shared layer is chance: until the link comes first.
  for _ in $(seq 60); do
    host save -o "$WORK/docker20-links.tar" localhost:5000/tools/base:1.0 localhost:5000/tools/first:1.0
    link_before_target "$WORK/docker20-links.tar" && break
  done
  link_before_target "$WORK/docker20-links.tar"
  host save -o "$WORK/docker20-by-id.tar" "$(host image inspect -f '{{.Id}}' app:1.0)"
  keep docker20-two-tags.tar; keep docker20-links.tar; keep docker20-by-id.tar
  empty host
}

docker26() {
  say docker 26, classic store
  local x=/x/testdata
  classic_images $x graph
  graph save -o $x/docker26-two-tags.tar app:1.0 example.com/team/app:latest
  graph save -o $x/docker26-two-images.tar app:1.0 registry.k8s.io/tools/second:v2
  graph save -o $x/docker26-parent.tar localhost:5000/tools/base:1.0 localhost:5000/tools/first:1.0
  graph save -o $x/docker26-by-id.tar "$(graph image inspect -f '{{.Id}}' app:1.0)"
  for name in two-tags two-images parent by-id; do keep docker26-$name.tar; done
  empty graph
}

# ---- docker, containerd store; buildx ---------------------------------------------------------

build() { # folder, argument…
  c8d buildx build -q --provenance=false --build-arg SOURCE_DATE_EPOCH=$EPOCH "${@:2}" "/x/testdata/$1" >/dev/null
}
buildx() { build "$1" --output "$2,rewrite-timestamp=true" "${@:3}"; } # folder, output, argument…

docker26_c8d() {
  say docker 26, containerd store
  local x=/x/testdata many=linux/amd64,linux/arm64
  empty c8d
  build app -t example.com/team/app:1.0
  build multi -t docker.io/library/multi:1.0 --platform $many --provenance=mode=max
  c8d save -o $x/docker26c8d-single.tar example.com/team/app:1.0
  c8d save -o $x/docker26c8d-multi-attested.tar multi:1.0
  c8d save -o $x/docker26c8d-by-id.tar "$(c8d image ls -q --no-trunc example.com/team/app)"
  for name in single multi-attested by-id; do keep docker26c8d-$name.tar; done
  empty c8d
}

buildx_outputs() {
  say buildx
  local x=/x/testdata many=linux/amd64,linux/arm64 kind
  local oci=type=oci,dest=$x/buildx-oci
  buildx app $oci-single.tar,name=example.com/team/app:1.0
  buildx app $oci-unnamed.tar
  buildx app "$oci-two-names.tar,\"name=example.com/team/app:1.0,docker.io/library/app:edge\""
  buildx multi $oci-multi.tar,name=registry.k8s.io/team/multi:v1.0 --platform $many
  buildx multi $oci-attested.tar,name=ghcr.io/team/multi:v1.0 --platform $many --provenance=mode=max
  for kind in zstd estargz uncompressed; do
    buildx app $oci-$kind.tar,name=example.com/team/app:$kind,compression=$kind,force-compression=true,oci-mediatypes=true
  done
  buildx app type=docker,dest=$x/buildx-docker.tar,name=docker.io/library/app:1.0
  for kind in oci-{single,unnamed,two-names,multi,attested,zstd,estargz,uncompressed} docker; do
    keep buildx-$kind.tar
  done
  c8d buildx prune -af >/dev/null
}

# ---- containerd -------------------------------------------------------------------------------

ctr_clean() { # ctr command
  local names
  names=$("$1" images ls -q 2>/dev/null) || return 0
  # shellcheck disable=SC2086
  [ -z "$names" ] || "$1" images rm --sync $names >/dev/null
  "$1" namespaces rm $NS >/dev/null 2>&1 || true # not while a lease holds content
}

containerd() {
  say containerd 1.7 and 1.6
  local x=/x/testdata app=example.com/team/app:1.0 multi=registry.k8s.io/team/multi:v1.0 digest
  cp "$HERE"/buildx-oci-{single,multi,attested}.tar "$WORK"
  ctr_clean ctr; ctr_clean ctr16
  ctr images import --no-unpack --all-platforms $x/buildx-oci-single.tar >/dev/null
  ctr images import --no-unpack --all-platforms $x/buildx-oci-multi.tar >/dev/null
  ctr images export $x/ctr17-single.tar $app
  ctr images export --all-platforms $x/ctr17-all-platforms.tar $multi
  ctr images export $x/ctr17-sparse.tar $multi
  skopeo copy -q oci-archive:$x/buildx-oci-multi.tar oci-archive:$x/one.tar:registry.k8s.io/team/one:v1.0
  ctr images import --no-unpack $x/one.tar >/dev/null
  ctr images export --all-platforms $x/ctr17-shared-config.tar $multi registry.k8s.io/team/one:v1.0
  ctr images tag $app docker.io/library/app:edge >/dev/null
  ctr images export $x/ctr17-two-names.tar $app docker.io/library/app:edge
  ctr images export --skip-manifest-json $x/ctr17-oci-only.tar $app
  ctr images import --no-unpack --all-platforms $x/buildx-oci-attested.tar >/dev/null
  ctr images export $x/ctr17-sparse-attested.tar ghcr.io/team/multi:v1.0
  digest=$(ctr images ls | awk -v n=$app '$1 == n { print $3 }')
  ctr images tag $app "example.com/team/app@$digest" >/dev/null
  ctr images export $x/ctr17-digest-name.tar "example.com/team/app@$digest"
  ctr16 images import --no-unpack "$WORK/buildx-oci-single.tar" >/dev/null
  ctr16 images export "$WORK/ctr16-single.tar" $app
  for name in single all-platforms shared-config sparse sparse-attested two-names oci-only digest-name; do keep ctr17-$name.tar; done
  keep ctr16-single.tar
  ctr_clean ctr; ctr_clean ctr16
}

# ---- podman, skopeo -----------------------------------------------------------------------------

podman_saves() {
  say podman
  local x=/x/testdata
  podman build -q --timestamp $EPOCH --isolation chroot -t docker.io/library/app:1.0 -t example.com/team/app:latest $x/app >/dev/null
  podman build -q --timestamp $EPOCH --isolation chroot -t localhost/tools/second:v2 --target second $x/tool >/dev/null
  rm -f "$WORK"/podman5-*
  podman save -q -o $x/podman5-docker-archive.tar docker.io/library/app:1.0
  podman save -q -m -o $x/podman5-two-images.tar docker.io/library/app:1.0 example.com/team/app:latest localhost/tools/second:v2
  podman save -q --format oci-archive -o $x/podman5-oci-archive.tar docker.io/library/app:1.0
  for name in docker-archive two-images oci-archive; do keep podman5-$name.tar; done
  podman rmi -af >/dev/null
}

skopeo_copies() {
  say skopeo
  local x=/x/testdata
  cp "$HERE"/buildx-oci-{single,multi}.tar "$WORK"
  rm -f "$WORK"/skopeo-*
  skopeo copy -q oci-archive:$x/buildx-oci-single.tar docker-archive:$x/skopeo-docker-archive.tar:quay.io/team/app:1.0
  skopeo copy -q oci-archive:$x/buildx-oci-single.tar oci-archive:$x/skopeo-oci-archive.tar:quay.io/team/app:1.0
  skopeo copy -q oci-archive:$x/buildx-oci-single.tar oci-archive:$x/skopeo-oci-tag-only.tar:1.0
  skopeo copy -q --all oci-archive:$x/buildx-oci-multi.tar oci-archive:$x/skopeo-oci-all.tar:quay.io/team/multi:1.0
  skopeo copy -q --dest-compress-format zstd oci-archive:$x/buildx-oci-single.tar oci-archive:$x/skopeo-oci-zstd.tar:quay.io/team/app:zstd
  for name in docker-archive oci-archive oci-tag-only oci-all oci-zstd; do keep skopeo-$name.tar; done
}

# ---- layouts put into a tar by hand -----------------------------------------------------------

layouts() {
  say umoci and oras layouts, GNU tar
  local x=/x/testdata tar=(tar --owner=0 --group=0 --numeric-owner --mtime=@$EPOCH)
  rm -rf "$WORK"/{umoci,oras,attached,notes.txt}
  run umoci init --layout $x/umoci
  run umoci new --image $x/umoci:1.0
  run umoci insert --image $x/umoci:1.0 --history.created 2024-01-02T03:04:05Z $x/app/hello /bin/hello
  run umoci insert --image $x/umoci:1.0 --history.created 2024-01-02T03:04:05Z $x/app/etc /etc
  run umoci config --image $x/umoci:1.0 --created 2024-01-02T03:04:05Z --no-history \
    --config.entrypoint /bin/hello --config.label part=umoci
  run umoci gc --layout $x/umoci
  (cd "$WORK/umoci" && "${tar[@]}" --format=gnu -cf "$WORK/umoci-dot.tar" . && "${tar[@]}" --sort=name --format=pax \
    --pax-option="exthdr.name=%d/PaxHeaders/%f,atime:=$EPOCH,ctime:=$EPOCH" -cf "$WORK/umoci-star.tar" -- *)
  printf 'a note\n' >"$WORK/notes.txt"
  run sh -c "cd $x && oras push --no-tty --oci-layout --artifact-type application/vnd.example.note \
    --annotation org.opencontainers.image.created=2024-01-02T03:04:05Z oras:v1 notes.txt:text/plain" >/dev/null
  (cd "$WORK/oras" && find . -name ingest -prune -o -type f -printf '%P\n' | LC_ALL=C sort | "${tar[@]}" --format=ustar -T - -cf "$WORK/oras-artifact.tar")
  # An image and, attached to it, an artifact that names it as its subject.
  mkdir "$WORK/attached"
  tar -xf "$HERE/buildx-oci-single.tar" -C "$WORK/attached"
  run sh -c "cd $x && oras attach --no-tty --oci-layout --artifact-type application/vnd.example.note \
    --annotation org.opencontainers.image.created=2024-01-02T03:04:05Z attached:1.0 notes.txt:text/plain" >/dev/null
  (cd "$WORK/attached" && rm -rf ingest && "${tar[@]}" --sort=name --format=ustar -cf "$WORK/oras-attached.tar" -- *)
  keep umoci-dot.tar; keep umoci-star.tar; keep oras-artifact.tar; keep oras-attached.tar
}

# ---- compressed from outside --------------------------------------------------------------------

outer() {
  say compressed from outside
  local name half
  for name in docker26-two-tags buildx-oci-multi; do
    (
      cd "$HERE"
      half=$(($(stat -c %s $name.tar) / 1024 * 512 + 100)) # a cut that is not at a record
      gzip -9nc $name.tar >$name.tar.gz
      { head -c $half $name.tar | gzip -nc; tail -c +$((half + 1)) $name.tar | gzip -nc; } >$name.members.tar.gz
      zstd -q -19 --check -c $name.tar >$name.tar.zst
      { head -c $half $name.tar | zstd -q -c; tail -c +$((half + 1)) $name.tar | zstd -q -c; } >$name.frames.tar.zst
      xz -c $name.tar >$name.tar.xz
      bzip2 -c $name.tar >$name.tar.bz2
    )
  done
}

# ---------------------------------------------------------------------------------------------------

groups=${*:-docker20 docker26 c8d buildx ctr podman skopeo layout outer}
"$PEERS" up >/dev/null
"$PEERS" host-up >/dev/null
for tool in python3 zstd xz bzip2; do
  command -v $tool >/dev/null || apt-get install -qy python3 zstd xz-utils bzip2 >/dev/null
done
sources
for group in $groups; do
  case $group in
    docker20) docker20 ;;
    docker26) docker26 ;;
    c8d) docker26_c8d ;;
    buildx) buildx_outputs ;;
    ctr) containerd ;;
    podman) podman_saves ;;
    skopeo) skopeo_copies ;;
    layout) layouts ;;
    outer) outer ;;
    *) echo "make.sh: no group $group" >&2; exit 2 ;;
  esac
done
rm -rf "$WORK"
ls -l "$HERE" | awk '/\.tar/ { n++; s += $5 } END { print n " archives, " s " bytes" }'
