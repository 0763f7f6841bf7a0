"""ocitar beside its peers; called by peers.sh, which says how."""
import shlex
import shutil
import subprocess
import tarfile

import chart
from measure import CORES, MIB, ROOT, arguments, bench, machine, median, save, say, seconds, table

NEW = "registry.example.com/bench:2"
# Daemons take a minute, and are here to show by how much they differ, not by what percentage.
SLOW = {"rounds": 1, "warm": False}


class Run:
    """The rows of one run. Limits are ratios, or milliseconds."""

    def __init__(self, bench, rounds):
        self.bench, self.rounds, self.rows = bench, rounds, []

    def compare(self, work, command, peers, limit=None, before=None, most_ms=None, rounds=None, warm=True):
        """Runs a command in alternation with its peers, whose slowest counts."""
        say(work)
        before = before or (lambda: self.bench.remove("out.tar"))
        times = self.bench.alternate(rounds or self.rounds, {"ocitar": command, **peers}, before, warm)
        before()
        self.rows.append({"work": work, "ocitar": times["ocitar"], "peers": {name: times[name] for name in peers},
                          "limit": limit, "most_ms": most_ms, "peak_kib": self.bench.peak(command)})

    def add(self, work, values, peer, peer_values, limit=None, unit="s"):
        """A row of what is known already: seconds, or bytes."""
        self.rows.append({"work": work, "ocitar": values, "peers": {peer: peer_values}, "limit": limit, "unit": unit})


def summary(row):
    """Median, that of the slowest peer, ratio, limit as text, whether it is kept."""
    ours = median(row["ocitar"])
    theirs = max(map(median, row["peers"].values()), default=None)
    ratio = theirs and ours / theirs
    if most := row.get("most_ms"):
        return ours, theirs, ratio, f"{most} ms", ours * 1000 <= most
    limit = row["limit"]
    return ours, theirs, ratio, f"{limit:.2f}" if limit else "", not limit or ratio <= limit


def show(rows):
    lines = [("work", "ocitar", "beside", "takes", "ratio", "limit", "", "peak MiB")]
    for row in rows:
        ours, theirs, ratio, limit, kept = summary(row)
        text = seconds if row.get("unit", "s") == "s" else lambda value: f"{value / 1e6:.1f} MB"
        peak = row.get("peak_kib")
        beside = " and ".join(row["peers"]) or "-"
        lines.append((row["work"], text(ours), beside, text(theirs) if theirs else "", f"{ratio:.2f}" if ratio else "",
                      limit, "" if kept else "missed", f"{peak / 1024:.0f}" if peak else ""))
    table(lines, left=(0, 2, 6))


def plain(run, size):
    """An archive of eight equal layers in memory."""
    bench = run.bench
    total = bench.make("in.tar", "--layer-mib", size // 8)
    bench.make("huge.tar", "--layer-mib", size * 10 // 8, "--content", "zeros")
    for name, what in [("in.tar", size), ("huge.tar", size * 10)]:
        run.compare(f"retag --in-place=journal, {what} MB", f"OCITAR retag --in-place=journal {name} example.com/bench:TURN",
                    {}, most_ms=10, before=lambda: None)
    run.compare(f"ls, {size} MB", "OCITAR ls in.tar", {}, most_ms=5)
    copy = "cp --reflink=never in.tar out.tar"
    run.compare("retag, no reflink", f"OCITAR retag in.tar out.tar {NEW}", {"cp --reflink=never": copy}, 1.05)
    run.compare("retag --verify, no reflink", f"OCITAR retag --verify in.tar out.tar {NEW}",
                {"cp": copy, "ocitar verify": "OCITAR verify in.tar"}, 1.25)
    run.compare("retag - -", f"cat in.tar | OCITAR retag - - {NEW} | cat", {"cat | cat | cat": "cat in.tar | cat | cat"}, 1.2)
    bench.remove("out.tar")

    # A file for each process, for openssl is faster when it reads a file itself.
    bench.run(f"split -n {CORES} in.tar part.")
    parts = sorted(bench.dir.glob("part.*"))
    openssl = "".join(f"openssl dgst -sha256 {part.name} & " for part in parts) + "wait"
    run.compare("verify, plain layers", "OCITAR verify in.tar", {f"{CORES} openssl dgst at once": openssl}, 1.05)
    bench.remove(*(part.name for part in parts))
    say("openssl speed")
    speed = f"openssl speed -mr -seconds 1 -bytes 65536 -multi {CORES} sha256"
    times, rates = [], []
    for _ in range(run.rounds):
        times.append(bench.run("OCITAR verify in.tar"))
        # The last line is the sum of all processes, in bytes a second.
        told = subprocess.run(shlex.split(speed), capture_output=True, text=True, check=True).stdout
        rates.append(float(told.split(":")[-1]))
    run.add("verify, plain layers", times, f"openssl speed -multi {CORES}", [total / rate for rate in rates])


def reflinks(run, size):
    """Where files share blocks. `in.tar` and `huge.tar` are those of `plain`."""
    bench = run.bench
    for kind, title in [("xfs", "XFS"), ("btrfs", "Btrfs")]:
        # What is shared takes no room.
        with bench.file_system(kind, size * MIB * 2 + (1 << 30)) as folder:
            if not folder:
                continue
            source, fresh, out = (f"{kind}/{name}" for name in ("in.tar", "fresh.tar", "out.tar"))

            def both(name, label, before, **limit):
                run.compare(f"retag on {title}, {label}", f"OCITAR retag {name} {out} {NEW}",
                            {"cp --reflink=always": f"cp --reflink=always {name} {out}"}, before=before, **limit)

            def write():
                # What is not on disk yet has to be written before it can be shared.
                bench.remove(out, fresh)
                bench.run(f"fstrim {kind}")  # gives the memory of what was removed back
                bench.run(f"cp --reflink=never {source} {fresh}")

            for name, what in [("in.tar", size), ("huge.tar", size * 10)]:
                bench.run(f"cp --sparse=always {name} {source}")
                bench.run(f"sync -f {source}")
                both(source, f"{what} MB", lambda: bench.remove(out), most_ms=30)
                if what == size:
                    both(fresh, f"{what} MB just written", write)
                bench.remove(source, fresh, out)


def packed(run, size):
    """Layers of gzip, and archives that are compressed as a whole."""
    bench = run.bench
    bench.make("gz.tar", "--layer-mib", max(size // 32, 1), "--content", "text", "--gzip", "--form", "oci")
    with tarfile.open(bench.dir / "gz.tar") as archive:
        largest = sorted(archive.getmembers(), key=lambda member: -member.size)[:8]
        for number, member in enumerate(largest):
            with open(bench.dir / f"layer{number}", "wb") as file:
                shutil.copyfileobj(archive.extractfile(member), file, MIB)
    gunzip = "pigz" if shutil.which("pigz") else "gzip"
    hash_all = "".join(
        "(" + "; ".join(f"{gunzip} -dc layer{n} | openssl dgst -sha256" for n in range(core, 8, CORES)) + ") & "
        for core in range(min(CORES, 8))) + "wait"
    run.compare("verify, gzip layers", "OCITAR verify gz.tar", {f"{CORES} {gunzip} -dc | openssl dgst at once": hash_all})
    bench.remove("gz.tar", *(f"layer{number}" for number in range(8)))

    bench.make("in.tar", "--layer-mib", max(size // 64, 1), "--content", "text")
    bench.run("gzip -6 <in.tar >in.tar.gz")
    outputs = ("out.tar.gz", "peer.tar.gz", "out.tar.zst", "peer.tar.zst")

    def both(work, command, name, peer, limit):
        run.compare(work, command, {name: peer}, limit, before=lambda: bench.remove(*outputs))
        bench.remove(*outputs)
        bench.run(command)
        bench.run(peer)

    def length(name):
        return [(bench.dir / name).stat().st_size]

    if shutil.which("pigz"):
        both(".tar.gz to .tar.gz", f"OCITAR retag in.tar.gz out.tar.gz --compress gzip:6 {NEW}",
             "pigz -dc | pigz -6", "pigz -dc in.tar.gz | pigz -6 >peer.tar.gz", 1.15)
        run.add("size of that .tar.gz", length("out.tar.gz"), "pigz -6", length("peer.tar.gz"), unit="B")
        run.add("size of that .tar.gz", length("out.tar.gz"), "gzip -6", length("in.tar.gz"), 1.03, unit="B")
    else:
        bench.notes.append("pigz: not here, .tar.gz to .tar.gz left out")
    if shutil.which("zstd"):
        both(".tar to .tar.zst", f"OCITAR retag in.tar out.tar.zst --compress zstd:3 {NEW}",
             "zstd -T0 -3", "zstd -q -T0 -3 in.tar -o peer.tar.zst", 1.1)
        run.add("size of that .tar.zst", length("out.tar.zst"), "zstd -T0 -3", length("peer.tar.zst"), unit="B")
    else:
        bench.notes.append("zstd: not here, .tar to .tar.zst left out")
    bench.remove("in.tar", "in.tar.gz", *outputs)


def tools(run):
    """Programs that know images, on the `in.tar` of `plain`."""
    bench, here = run.bench, run.bench.dir
    chroot = f"{shlex.quote(str(ROOT / 'tests/peers/peers.sh'))} run"

    def answers(command):
        try:
            return subprocess.run(shlex.split(command), capture_output=True, timeout=30).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False

    # The chroot shares /dev with the machine, and /dev/shm with it.
    inside = answers(f"{chroot} test -d {here}")

    def tool(name, probe, there=""):
        for command in [name] + [f"{chroot} {name} {there}".strip()] * inside:
            if answers(f"{command} {probe}"):
                return command
        bench.notes.append(f"{name}: not here or does not answer, skipped")
        return None

    def beside(label, peer, clean="true"):
        def before():
            bench.remove("out.tar")
            bench.run(f"{clean} || true")

        run.compare("retag, no reflink", f"OCITAR retag in.tar out.tar {NEW}", {label: peer}, before=before, **SLOW)
        before()

    source, out = here / "in.tar", here / "out.tar"
    bench.run("OCITAR retag -q --in-place=journal in.tar bench:1")
    if skopeo := tool("skopeo", "--version"):
        beside("skopeo copy", f"{skopeo} --insecure-policy --tmpdir {here} copy -q docker-archive:{source} docker-archive:{out}:{NEW}")
    if umoci := tool("umoci", "--version"):
        layout = here / "layout"
        beside("tar, umoci tag, tar", f"mkdir {layout} && tar -xf {source} -C {layout} && "
               f"{umoci} tag --image {layout}:1 2 && tar -cf {out} -C {layout} .", f"rm -rf {layout}")
    if docker := tool("docker", "version", "-H unix:///run/peers/graph.sock"):
        beside("docker load, docker save", f"{docker} load -q -i {source} && {docker} tag bench:1 {NEW} && "
               f"{docker} save -o {out} {NEW}", f"{docker} rmi bench:1 {NEW}")
    if ctr := tool("ctr", "version", "-a /run/peers/containerd.sock"):
        images = f"{ctr} -n ocitar-bench images"
        beside("ctr import, ctr export", f"{images} import --no-unpack {source} && "
               f"{images} tag docker.io/library/bench:1 {NEW} && {images} export {out} {NEW}",
               f"{images} rm --sync docker.io/library/bench:1 {NEW}")
        bench.run(f"{ctr} namespaces rm ocitar-bench || true")
    if crane := tool("crane", "version"):
        run.compare("verify, plain layers", "OCITAR verify in.tar", {"crane validate": f"{crane} validate --tarball {source}"}, **SLOW)


def many(run):
    """Many members, and many archives."""
    bench = run.bench
    bench.make("many.tar", "--layers", 3, "--layer-mib", 1, "--strays", 10_000)
    run.compare("ls, 10,000 members", "OCITAR ls many.tar", {}, most_ms=5)
    bench.remove("many.tar")


def merges(run, size):
    """Ten archives of five layers, three of which they all have."""
    bench = run.bench
    parts = [f"part{number}.tar" for number in range(10)]
    for number, part in enumerate(parts):
        bench.make(part, "--layers", 5, "--layer-mib", max(size // 32, 1), "--shared", 3, "--first", number * 2,
                   "--name", f"bench{number}:1")
    merge = f"OCITAR merge -o out.tar {' '.join(parts)}"
    bench.run(merge)
    (bench.dir / "out.tar").rename(bench.dir / "merged.tar")
    run.compare("merge of ten", merge, {"cp --reflink=never of it": "cp --reflink=never merged.tar out.tar"}, 1.1)
    bench.remove("merged.tar", "out.tar", *parts)


def main():
    parser = arguments("peers.sh")
    parser.add_argument("--size", type=int, default=2048, metavar="MB")
    args = parser.parse_args()
    size = max(args.size, 8)
    with bench() as place:
        run = Run(place, args.rounds)
        many(run)
        merges(run, size)
        plain(run, size)
        reflinks(run, size)
        place.remove("huge.tar")
        tools(run)
        place.remove("in.tar", "out.tar")
        packed(run, size)
    data = {"machine": machine(), "size_mb": size, "rounds": args.rounds, "rows": run.rows, "notes": place.notes}
    print(f"{data['machine']}; medians of {args.rounds} rounds in alternation\n")
    show(run.rows)
    most = 64 + CORES
    over = [row["work"] for row in run.rows if (row.get("peak_kib") or 0) > most * 1024]
    print(f"\npeak memory of at most {most} MiB, nothing mapped: " + ("missed by " + ", ".join(over) if over else "kept"))
    for note in place.notes:
        print(note)
    save(args, data, chart.bars)


if __name__ == "__main__":
    main()
