"""The confusion matrix as a heat map, and the list of what is taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from headstart.report import words
from headstart.report.svg import Scale, drawing, fit, label, tag, text_width

LARGEST = 40
"""Classes up to which a heat map can be read; above it only the list of confusions is shown."""


@dataclass(frozen=True)
class Confusion:
    """`count` of the `support` images of class `true` were taken for `predicted`."""

    true: str
    predicted: str
    count: int
    support: int


def top_confusions(counts: Sequence[Sequence[int]], classes: Sequence[str], limit: int = 12) -> list[Confusion]:
    """The most frequent mistakes, most frequent first; `counts[i][j]` images of class i were taken for class j."""
    found = [
        Confusion(classes[i], classes[j], int(cell), int(sum(row)))
        for i, row in enumerate(counts)
        for j, cell in enumerate(row)
        if i != j and cell
    ]
    return sorted(found, key=lambda one: (-one.count, -one.count / one.support))[:limit]


def heat_map(counts: Sequence[Sequence[int]], classes: Sequence[str], width: float) -> Markup:
    """Rows are the true classes, columns the answers; a cell's depth of colour is its share of the row.

    Right answers (the diagonal) and mistakes have different colours, so that a small mistake is seen beside a large
    diagonal. The drawing may be wider than `width` on a phone: cells never get too small to be told apart.
    """
    size = len(classes)
    text = 13.0 if size <= 12 else 11.5 if size <= 24 else 10.0
    gutter = min(0.3 * width, 10 + max(text_width(name, text) for name in classes))
    longest = min(110.0, max(text_width(name, text) for name in classes))
    # Many names over narrow columns can only be read upright; a few are easier to read aslant.
    head, margin, angle = (longest + 12, 2.0, -90) if size > 12 else (0.75 * longest + 18, 0.72 * longest, -45)
    cell = min(46.0, max((width - gutter - margin) / size, 14.0))
    across = gutter + cell * size + margin
    shown = [[_cell(counts, i, j, gutter, head, cell) for j in range(size)] for i in range(size)]
    parts = [one for row in shown for one in row]
    for place, name in enumerate(classes):
        middle = cell * (place + 0.5)
        parts.append(label(gutter - 6, head + middle + text / 3, fit(name, gutter - 8, text), anchor="end", size=text))
        turn = f"translate({gutter + middle + text / 3:.1f} {head - 6:.1f}) rotate({angle})"
        parts.append(tag("text", fit(name, 110, text), transform=turn, font_size=text))
    right = sum(int(counts[i][i]) for i in range(size))
    total = sum(int(value) for row in counts for value in row)
    spoken = f"Confusion matrix of {size} classes: {right} of {total} images on the diagonal; the list gives the mistakes"
    return drawing(across, head + cell * size + 2, spoken, *parts, class_="chart matrix")


def _cell(counts: Sequence[Sequence[int]], i: int, j: int, left: float, top: float, cell: float) -> Markup:
    value, total = int(counts[i][j]), sum(int(v) for v in counts[i])
    share = value / total if total else 0.0
    x, y = left + cell * j, top + cell * i
    # The square root lifts rare mistakes off the background; the printed number stays exact.
    depth = Scale(0, 1, 0.12, 1)(share**0.5) if value else 0.0
    kind = "right" if i == j else "wrong"
    parts = [tag("rect", x=x + 0.5, y=y + 0.5, width=cell - 1, height=cell - 1, rx=2, class_="cell empty")]
    if value:
        parts[0] = tag(
            "rect",
            x=x + 0.5,
            y=y + 0.5,
            width=cell - 1,
            height=cell - 1,
            rx=2,
            class_=f"cell {kind}",
            style=f"--d:{depth:.2f}",
        )
        size = min(13.0, cell * 0.42)
        if size >= 8 and text_width(str(value), size) <= cell - 2:
            tone = "on" if depth > 0.86 else "mid" if depth > 0.57 else "off"  # as each can best be read, light and dark
            parts.append(
                label(x + cell / 2, y + cell / 2 + size * 0.36, str(value), class_=tone, anchor="middle", size=size)
            )
    return tag("g", *parts)


def spoken_share(one: Confusion) -> str:
    """3 of 40 (7.5 %)."""
    return f"{words.count(one.count)} of {words.count(one.support)} ({words.percent(one.count / one.support)})"
