"""What peers.py and scaling.py share: runs in alternation, places that are gone afterwards, tables."""
import argparse
import contextlib
import json
import os
import platform
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORES = len(os.sched_getaffinity(0))
MIB = 1 << 20


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments(prog):
    """A parser of what both runs are told."""
    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--svg", metavar="FILE")
    return parser


def save(args, data, draw):
    """Writes what was measured to the files that were asked for: as it is, and drawn."""
    if args.json:
        Path(args.json).write_text(json.dumps(data, indent=1))
    if args.svg:
        Path(args.svg).write_text(draw(data))


def popen(command, **options):
    """Starts a command; only one that needs a shell gets one, which costs a millisecond."""
    argv = ["sh", "-c", command] if set(command) & set("|&;<>*") else shlex.split(command)
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True, **options)


def run(command, **options):
    """Runs a command in silence; gives the seconds it took."""
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        child = popen(command, stdout=subprocess.DEVNULL, stderr=errors, **options)
        try:
            code = child.wait()
            took = time.perf_counter() - start
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
        if code:
            errors.seek(0)
            sys.exit(f"{command}: exit {code}\n{errors.read().decode(errors='replace')}")
    return took


class Bench:
    """A folder in memory where commands run, `OCITAR` in them being the binary."""

    def __init__(self, folder):
        self.dir = Path(folder)
        self.ocitar = os.environ["OCITAR"]
        self.notes = []

    def run(self, command, ocitar=None):
        return run(command.replace("OCITAR", ocitar or shlex.quote(self.ocitar)), cwd=self.dir)

    def make(self, name, *options):
        say(f"making {name}")
        command = [sys.executable, ROOT / "benches/make-archive.py", self.dir / name, *map(str, options)]
        subprocess.run(command, check=True)
        return (self.dir / name).stat().st_size

    def remove(self, *names):
        for name in names:
            (self.dir / name).unlink(missing_ok=True)

    def alternate(self, rounds, commands, before, warm=True):
        """The seconds of each command of a dict: its place in a round changes, the first round does not count.

        Machines slow down and speed up within a minute, which this gives to all of them alike.
        """
        times = {name: [] for name in commands}
        for turn in range(-1 if warm else 0, rounds):
            for name in list(commands)[:: 1 if turn % 2 else -1]:
                before()
                # What a run leaves in a file must differ from what the last one left.
                took = self.run(commands[name].replace("TURN", str(turn % 2)))
                if turn >= 0:
                    times[name].append(took)
        return times

    def peak(self, command):
        """The most memory that ocitar had, in KiB. Pages of a map count as its own, so nothing is mapped."""
        if not os.access("/usr/bin/time", os.X_OK):
            return None
        # Not by wait4: a child starts with the peak of Python, from which it is made.
        self.run(command.replace("TURN", "2"), f"/usr/bin/time -f %M -o peak {shlex.quote(self.ocitar)} --no-mmap")
        return int((self.dir / "peak").read_text().split()[-1])

    @contextlib.contextmanager
    def file_system(self, kind, size):
        """A new file system of its own in the folder of its name, or None where that cannot be had."""
        make = {"xfs": "mkfs.xfs -q -m reflink=1", "btrfs": "mkfs.btrfs -q"}[kind]
        image, where = self.dir / f"{kind}.img", self.dir / kind
        if os.geteuid() != 0 or subprocess.run(["sh", "-c", f"command -v {make.split()[0]}"], capture_output=True).returncode:
            self.notes.append(f"{kind}: skipped, needs root and {make.split()[0]}")
            yield None
            return
        where.mkdir()
        try:
            with open(image, "wb") as file:
                file.truncate(size)
            run(f"{make} {image}")
            mount = subprocess.run(["mount", "-o", "loop", image, where], capture_output=True, text=True)
            if mount.returncode:
                self.notes.append(f"{kind}: skipped, {mount.stderr.strip()}")
            yield None if mount.returncode else where
        finally:
            subprocess.run(["umount", where], capture_output=True)
            image.unlink()
            where.rmdir()


@contextlib.contextmanager
def bench():
    # Whatever ends this, mounts and files go.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="ocitar-bench.", dir=os.environ.get("BENCH_DIR", "/dev/shm")) as folder:
        yield Bench(folder)


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())
    return f"{cpu}, {CORES} cores, Linux {platform.release()}"


def median(times):
    return statistics.median(times)


def seconds(value):
    return f"{value * 1000:.1f} ms" if value < 0.1 else f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def table(rows, left=()):
    """Rows of text in columns, those of `left` at their left edge and all others at their right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = [c.ljust(w) if n in left else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
