#!/usr/bin/env python3
"""Draws docs/images/front.svg, the picture of README.md, of the figures in docs/benchmarks.md and docs/results/tiny.md.

    tools/draw_front_picture.py [--check]     --check: fails where the file is not what the figures give
"""
import itertools
import math
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs/images/front.svg"
INK, PALE, GRID = "#1c2733", "#55606e", "#e3e7ec"
ATTENTION, RECURRENT = "#d07a1d", "#2f6db5"  # lines; the same colours as layers
LAYERS = {"attention": ("#f5d7a6", "#a9742a"), "recurrent": ("#bcd3ec", "#5b7fa6")}
TOP, BOTTOM = 116, 286  # of all panels


def rows_of(page, section, first_cell):
    """Cells of the rows of the first table of a section whose header begins with this cell."""
    lines = (ROOT / page).read_text(encoding="utf-8").split(f"\n{section}\n", 1)[1].splitlines()
    begin = next(index for index, line in enumerate(lines) if line.startswith("|") and cells(line)[0] == first_cell)
    return [cells(line) for line in itertools.takewhile(lambda line: line.startswith("|"), lines[begin + 2:])]


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def number(text):
    return float(re.sub(r"[*,]|±.*", "", text))


def decode_times():
    """Tokens of context -> milliseconds a token of the Transformer and of the HypeNet made of it."""
    found = {}
    for row in rows_of("docs/benchmarks.md", "### Inference", "context"):
        found[int(number(row[0]))] = (number(row[6]), number(row[2]))
    return found


def recalls():
    """Tokens of a prompt -> the share of hidden facts that teacher and HypeNet of `make demo` find."""
    found = {}
    for row in rows_of("docs/results/tiny.md", "## `make demo`: recipes/tiny.json on 2 CPU cores", ""):
        if not (match := re.match(r"recall at ([\d,/ ]+)", row[0])):
            continue
        for length, teacher, student in zip(match[1].split("/"), row[1].split("/"), row[2].split("/")):
            found[int(number(length))] = (number(teacher), number(student))
    return found


def text(x, y, shown, size=13, fill=INK, anchor="start", weight="normal"):
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" font-weight="{weight}">{shown}</text>'


def short(tokens):
    for unit, size in (("M", 1 << 20), ("K", 1 << 10)):
        if tokens >= size:
            return f"{tokens // size}{unit}"
    return str(tokens)


def layers(x, kinds):
    for index, kind in enumerate(kinds):
        fill, stroke = LAYERS[kind]
        yield f'<rect x="{x}" y="{TOP + index * 22}" width="86" height="17" rx="3" fill="{fill}" stroke="{stroke}"/>'


def conversion():
    """A Transformer's layers, an arrow, the HypeNet's."""
    yield text(28, 74, "A quarter of the layers stay attention", 14, weight="600")
    yield from layers(28, ["attention"] * 8)
    yield from layers(198, ["recurrent"] * 3 + ["attention"] + ["recurrent"] * 2 + ["attention", "recurrent"])
    yield f'<path d="M124 201 h58" stroke="{INK}" stroke-width="1.6" marker-end="url(#tip)"/>'
    yield text(153, 192, "convert", 12, PALE, "middle")
    yield text(71, TOP - 10, "Transformer", 12, PALE, "middle")
    yield text(241, TOP - 10, "HypeNet", 12, PALE, "middle")
    for row, (kind, what) in enumerate((("attention", "attention: a cache that grows by the token"),
                                        ("recurrent", "recurrent: a state of fixed size"))):
        y = 318 + 20 * row
        fill, stroke = LAYERS[kind]
        yield f'<rect x="28" y="{y}" width="16" height="11" rx="2" fill="{fill}" stroke="{stroke}"/>'
        yield text(50, y + 10, what, 12, PALE)


def chart(left, right, title, notes, points, y_of, ticks, ends):
    """Two lines over lengths on an axis of powers of two. points: length -> the Transformer's and the HypeNet's value."""
    lengths = sorted(points)
    first, last = math.log2(lengths[0]), math.log2(lengths[-1])
    x_of = {length: left + (right - left) * (math.log2(length) - first) / (last - first) for length in lengths}
    yield text(left - 30, 74, title, 14, weight="600")
    for value, label in ticks:
        yield f'<path d="M{left} {y_of(value):.1f} H{right}" stroke="{GRID}"/>'
        yield text(left - 7, y_of(value) + 4, label, 11, PALE, "end")
    for length in lengths:
        yield text(x_of[length], BOTTOM + 18, short(length), 11, PALE, "middle")
    for which, colour in ((0, ATTENTION), (1, RECURRENT)):
        places = [(x_of[length], y_of(points[length][which])) for length in lengths]
        yield f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}" fill="none" stroke="{colour}" stroke-width="2.4"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.4" fill="{colour}"/>' for x, y in places)
        name, dx, dy, anchor = ends[which]
        yield text(places[-1][0] + dx, places[-1][1] + dy, name, 12, colour, anchor, "600")
    for row, note in enumerate(notes):
        yield text(left - 30, 328 + 20 * row, note, 12, PALE)


def draw():
    times, found = decode_times(), recalls()
    highest, lowest = math.log2(40), math.log2(1)

    def y_of_time(value):
        return BOTTOM - (BOTTOM - TOP) * (math.log2(value) - lowest) / (highest - lowest)

    def y_of_share(value):
        return BOTTOM - (BOTTOM - TOP) * value

    old, new = times[max(times)]
    body = [
        *conversion(),
        *chart(404, 620, "Milliseconds a token", ["by tokens of context: shape of Qwen3-1.7B", "and its HypeNet, one H200, this engine"],
               times, y_of_time, [(1, "1"), (3, "3"), (10, "10"), (30, "30")],
               [(f"Transformer {old:.1f}", -28, -10, "end"), (f"HypeNet {new:.1f}", 0, 78, "end")]),
        *chart(722, 930, "Hidden facts found", ["by tokens of the prompt: make demo,", "rows of 256, three minutes on two cores"],
               found, y_of_share, [(0, "0"), (0.5, "½"), (1, "all")],
               [("Transformer", 0, -10, "end"), ("HypeNet", 0, 22, "end")]),
    ]
    return "\n".join([
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 370" width="960" height="370" role="img" font-family="'
        'system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif">',
        "<title>A conversion, the time a token takes, and the facts that are found</title>",
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="{INK}"/></marker></defs>',
        f'<rect x=".5" y=".5" width="959" height="369" rx="12" fill="#fff" stroke="{GRID}"/>',
        text(28, 40, "From a Transformer to a HypeNet", 19, weight="700"), *body, "</svg>", ""])


def main():
    drawn = draw()
    if "--check" in sys.argv[1:]:
        if not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != drawn:
            print(f"{PICTURE.relative_to(ROOT)}: other figures than the pages have: run tools/draw_front_picture.py")
            return 1
        return 0
    PICTURE.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
