"""Draws what `peers.sh --json` and `scaling.sh --json` kept.

usage: python3 benches/chart.py IN.json OUT.svg
"""
import json
import math
import statistics
import sys
from html import escape

# Read on white and on near black alike, for a picture in a page does not know which it is on.
TEXT, LINE, OURS, THEIRS = "#768390", "#76839055", "#2f81f7", "#9a8f7a"
LINES = ["#2f81f7", "#db6d28", "#3fb950", "#a371f7", "#e5534b", "#9a8f7a"]


def text(x, y, what, anchor="start", size=12, fill=TEXT, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}" '
            f'font-weight="{weight}">{escape(what)}</text>')


def line(x1, y1, x2, y2, stroke=LINE):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}"/>'


def picture(width, height, title, parts):
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" role="img">',
        f"<title>{escape(title)}</title>", *parts, "</svg>", ""])


def seconds(value):
    if value < 1:
        return f"{value * 1000:.{1 if value < 0.01 else 0}f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def power(value):
    return f"{value:g} s" if value >= 1 else f"{value * 1000:g} ms"


def scale(low, high, start, end):
    """Places values on a logarithmic axis; gives that and the powers of ten on it."""
    low, high = math.floor(math.log10(low)), math.ceil(math.log10(high))
    high = max(high, low + 1)
    ticks = [10.0 ** power for power in range(low, high + 1)]
    return (lambda value: start + (math.log10(value) - low) / (high - low) * (end - start)), ticks


def bars(data):
    """For each work a bar for ocitar and one for each peer, on an axis of powers of ten."""
    works = {}
    for row in data["rows"]:
        if row.get("unit", "s") == "s":
            # A work with several peers stands there once, as its first row, the one of all rounds, has it.
            _, peers = works.setdefault(row["work"], (row["ocitar"], {}))
            peers |= {name: statistics.median(times) for name, times in row["peers"].items()}
    groups = [(work, [("", statistics.median(ours)), *peers.items()]) for work, (ours, peers) in works.items()]
    times = [value for _, entries in groups for _, value in entries]
    left, right, top, step, gap = 250, 680, 58, 17, 12
    place, ticks = scale(min(times), max(times), left, right)
    bottom = top + step * len(times) + gap * len(groups)
    parts = [text(left, 20, "ocitar", fill=OURS, weight="bold"),
             text(left + 50, 20, "and what does the same, or part of it", fill=THEIRS, weight="bold"),
             text(left, bottom + 24, f"{data['machine']}; medians of {data['rounds']} rounds", size=11)]
    for tick in ticks:
        parts += [line(place(tick), top - 12, place(tick), bottom), text(place(tick), top - 17, power(tick), "middle", 11)]
    y = top
    for work, entries in groups:
        parts.append(text(left - 10, y + 12, work, "end"))
        for peer, value in entries:
            width = max(place(value) - left, 1)
            parts += [f'<rect x="{left}" y="{y}" width="{width:.1f}" height="14" rx="2" fill="{THEIRS if peer else OURS}"/>',
                      text(left + width + 6, y + 11.5, f"{peer} {seconds(value)}".strip(), size=11)]
            y += step
        y += gap
    return picture(right + 220, bottom + 34, "Time of ocitar and of its peers", parts)


def curves(data):
    """Time against size, both on axes of powers of ten."""
    points = [point for line in data["lines"].values() for point in line]
    left, right, top, bottom = 70, 560, 24, 360
    x, sizes = scale(min(size for size, _ in points), max(size for size, _ in points), left, right)
    y, times = scale(min(took for _, took in points), max(took for _, took in points), bottom, top)
    parts = [text(left, bottom + 44, f"{data['machine']}; medians of {data['rounds']} rounds", size=11)]
    for size in sizes:
        name = f"{size:.0f} MB" if size < 1000 else f"{size / 1000:.0f} GB"
        parts += [line(x(size), top, x(size), bottom), text(x(size), bottom + 18, name, "middle", 11)]
    for took in times:
        parts += [line(left, y(took), right, y(took)),
                  text(left - 8, y(took) + 4, power(took), "end", 11)]
    lowest = top
    for number, (name, values) in sorted(enumerate(data["lines"].items()), key=lambda entry: -entry[1][1][-1][1]):
        colour = LINES[number % len(LINES)]
        path = " ".join(f"{x(size):.1f},{y(took):.1f}" for size, took in values)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(size):.1f}" cy="{y(took):.1f}" r="3" fill="{colour}"/>' for size, took in values]
        # Names stand where lines end, and below one another.
        lowest = max(y(values[-1][1]) + 4, lowest + 16)
        parts.append(text(right + 12, lowest, f"{name}: {seconds(values[-1][1])}", fill=colour))
    return picture(right + 260, bottom + 54, "Time against the size of the archive", parts)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1]) as kept:
        results = json.load(kept)
    with open(sys.argv[2], "w") as drawing:
        drawing.write((curves if "lines" in results else bars)(results))
