"""The strokes of an SVG chart: elements, words of an estimated width, the sheet, its colours."""

from __future__ import annotations

import html
import unicodedata

from edge_sdk.report.figures import clean

WIDTH = 760.0
LETTER = 13.0  # px, the size of the words in a chart
COLORS = 6  # the series colours, then they begin again with other dashes

# Colours apart for all common colour blindness (Okabe and Ito 2008, darkened or lightened to a
# contrast of 3:1 with the paper); print keeps the light ones.
_LIGHT = (
    "--paper:#ffffff;--ink:#1f2328;--muted:#57606a;--grid:#d9dee3;--rest:#8a97a5;--c0:#0072b2;"
    "--c1:#c75000;--c2:#00805e;--c3:#a8468b;--c4:#8c6200;--c5:#4a4f57"
)
_DARK = (
    "--paper:#14181d;--ink:#e6edf3;--muted:#9aa5b1;--grid:#323a43;--rest:#7d8896;--c0:#56b4e9;"
    "--c1:#ff9447;--c2:#2bc59a;--c3:#e6a0c8;--c4:#f0c24b;--c5:#c3cad3"
)


def theme(selector: str) -> str:
    """Return the CSS that gives `selector` the colours, dark on a screen that prefers it."""
    dark = f"@media screen and (prefers-color-scheme:dark){{{selector}{{{_DARK}}}}}"
    return f"{selector}{{{_LIGHT}}}{dark}"


_STYLE = theme(".edge-chart") + (
    ".edge-chart text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,"
    "sans-serif;fill:var(--ink);font-variant-numeric:tabular-nums}"
    ".edge-chart .head{font-size:15px;font-weight:600}.edge-chart .quiet{fill:var(--muted)}"
    ".edge-chart .strong{font-weight:600}"
    ".edge-chart .halo{stroke:var(--paper);stroke-width:4px;paint-order:stroke;"
    "stroke-linejoin:round}.edge-chart .paper{fill:var(--paper)}"
    ".edge-chart .grid{stroke:var(--grid)}.edge-chart .axis{stroke:var(--muted)}"
)


def tag(name: str, *children: str, **attributes: str | float) -> str:
    """Return an element; an underscore in a name is a hyphen, one at its end is dropped."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{pairs}>{''.join(children)}</{name}>" if children else f"<{name}{pairs}/>"


def words(text: str, x: float, y: float, kind: str = "", anchor: str = "start") -> str:
    """Return a line of text, escaped, with its baseline at y."""
    return tag("text", html.escape(clean(text)), x=x, y=y, class_=kind, text_anchor=anchor)


def line(start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
    """Return a straight line in the colour of its kind."""
    return tag("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=kind)


def hint(text: str, *children: str) -> str:
    """Return a group whose words show when it is pointed at."""
    return tag("g", tag("title", html.escape(clean(text))), *children)


def sheet(title: str, height: float, *children: str) -> str:
    """Return the whole picture, complete in itself: it also stands alone as a file."""
    head = [
        words(part, 0, 17 + 20 * n, "head") for n, part in enumerate(wrap(title, WIDTH * 0.8, 2))
    ]
    return tag(
        "svg",
        tag("title", html.escape(clean(title))),
        f"<style>{_STYLE}</style>",
        tag("rect", x=-12, y=-8, width=WIDTH + 24, height=height + 16, class_="paper"),
        *head,
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"-12 -8 {WIDTH + 24:g} {height + 16:g}",
        class_="edge-chart",
        role="img",
        aria_label=clean(title),
    )


def head_height(title: str) -> float:
    """Return how much of the sheet the title takes."""
    return 12 + 20.0 * len(wrap(title, WIDTH * 0.8, 2))


def width_of(text: str) -> float:
    """Return the width of a line in px, from above: fonts differ, and none must collide."""
    return sum(map(_width, text)) * LETTER


def wrap(text: str, room: float, lines: int) -> list[str]:
    """Return `text` in at most so many lines of `room` px, at least one.

    What is too long for the last line is cut out of its middle: names often differ in their ends.
    """
    parts: list[str] = []
    rest = clean(text)
    while len(parts) < lines - 1 and width_of(rest) > room:
        end = _fitting(rest, room)
        blank = rest.rfind(" ", 0, end + 1)
        end = blank if blank > 0 else end
        parts.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    if width_of(rest) > room:
        tail = rest[len(rest) - _fitting(rest[::-1], room * 0.4) :].lstrip()
        rest = rest[: _fitting(rest, room - width_of(f"…{tail}"))].rstrip() + f"…{tail}"
    return [*parts, rest]


def _fitting(text: str, room: float) -> int:
    """Return how many letters fit, at least one."""
    end = len(text)
    while end > 1 and width_of(text[:end]) > room:
        end -= 1
    return end


def _width(letter: str) -> float:
    """Return a letter's width as a share of its size, as in the widest of the common fonts."""
    if letter in "iljtfrI.,:;|!'()[] -/":
        return 0.38
    if letter in "mwMW%@" or unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    return 0.74 if letter.isupper() else 0.64


def _attribute(value: str | float) -> str:
    text = value if isinstance(value, str) else f"{round(value, 2):g}"
    return html.escape(text)
