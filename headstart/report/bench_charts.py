"""Charts of `headstart bench`: how long one answer takes, and how many answers a second come out of larger batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import SMALL
from headstart.report.growing import mark
from headstart.report.svg import Scale, drawing, fit, label, line, path, tag, text_width

LEFT = 62.0


@dataclass(frozen=True)
class Wait:
    """How long one answer of a model takes: the median, and what 95 of 100 answers stay below; seconds."""

    name: str
    median: float
    late: float | None
    first: bool = False


@dataclass(frozen=True)
class Pace:
    """Images a second by batch size; `style` and `shape` as in a learning curve, so that colour alone tells nothing."""

    name: str
    style: str
    shape: str
    points: Sequence[tuple[float, float]]


def waits(rows: Sequence[Wait], width: float) -> Markup:
    """One bar from zero per model, a thin line on to the 95th percentile; the median in figures at the right."""
    narrow = width < 500
    gutter = 0.0 if narrow else min(0.36 * width, 16 + max(text_width(row.name) for row in rows))
    scale = Scale(0.0, 1.04 * max(max(row.median, row.late or 0.0) for row in rows) or 1.0, gutter, width - 74)
    step, top = (46.0 if narrow else 32.0), 6.0
    bottom = top + step * len(rows)
    parts: list[Markup] = []
    for tick in scale.ticks(4 if narrow else 6):
        parts.append(line(scale(tick), top, scale(tick), bottom, "grid"))
        parts.append(
            label(scale(tick), bottom + 17, words.short(tick), class_="tick", anchor="middle" if scale(tick) > 20 else None)
        )
    for place, row in enumerate(rows):
        parts.append(_wait(row, scale, top + step * place, step, narrow=narrow))
    axis = "time for one image"
    parts.append(label((scale.start + scale.end) / 2, bottom + 36, axis, class_="muted", anchor="middle", size=SMALL))
    spoken = "; ".join(f"{row.name} {words.short(row.median)}" for row in rows)
    return drawing(width, bottom + 44, f"Median time for one image: {spoken}", *parts)


def _wait(row: Wait, scale: Scale, top: float, step: float, *, narrow: bool) -> Markup:
    y = top + (step - 14 if narrow else step / 2)
    kind = "best" if row.first else "plain"
    room = scale.end if narrow else scale.start - 10
    parts = [label(0, top + 17 if narrow else y + 4.5, fit(row.name, room), class_=f"name {kind}")]
    parts.append(
        tag(
            "rect",
            x=scale.start,
            y=y - 7,
            width=max(scale(row.median) - scale.start, 1.5),
            height=14,
            rx=2,
            class_=f"wait {kind}",
        )
    )
    if row.late is not None and row.late > row.median:
        parts.append(line(scale(row.median), y, scale(row.late), y, f"late {kind}"))
        parts.append(line(scale(row.late), y - 5, scale(row.late), y + 5, f"late {kind}"))
    parts.append(label(scale.end + 74, y + 4.5, words.short(row.median), class_=f"value {kind}", anchor="end"))
    return tag("g", *parts)


def paces(rows: Sequence[Pace], width: float) -> Markup:
    """Images a second against the batch size, both axes logarithmic."""
    base = 240.0 if width < 500 else 300.0
    xs = [math.log2(x) for row in rows for x, _ in row.points]
    ys = [math.log10(y) for row in rows for _, y in row.points]
    along = Scale(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, LEFT + 14, width - 24)
    air = max(0.08 * (max(ys) - min(ys)), 0.1)
    heights = Scale(min(ys) - air, max(ys) + air, base, 10)
    parts: list[Markup] = []
    for tick in _ticks(heights, 6 if width > 500 else 4):
        parts.append(line(LEFT, heights(math.log10(tick)), width - 12, heights(math.log10(tick)), "grid"))
        parts.append(label(LEFT - 7, heights(math.log10(tick)) + 4, words.compact(tick), class_="tick", anchor="end"))
    parts += _batches(sorted({x for row in rows for x, _ in row.points}), along, base)
    parts += [_pace(row, along, heights) for row in rows]
    parts.append(label((LEFT + width) / 2, base + 38, "images in a batch", class_="muted", anchor="middle", size=SMALL))
    spoken = "; ".join(
        f"{row.name} {', '.join(f'{words.count(x)}: {words.compact(y)}' for x, y in row.points)}" for row in rows
    )
    return drawing(width, base + 46, f"Images a second by images in a batch: {spoken}", *parts)


def _pace(row: Pace, along: Scale, heights: Scale) -> Markup:
    points = [(along(math.log2(x)), heights(math.log10(y))) for x, y in row.points]
    parts = [path(points, "mean")] if len(points) > 1 else []
    return tag("g", *parts, *(mark(row.shape, x, y) for x, y in points), class_=f"way {row.style}")


def _ticks(scale: Scale, wanted: int) -> list[float]:
    """Round numbers within a range of decimal logarithms: 1, 2 and 5 times powers of ten, fewer where they would crowd."""
    low, high = math.floor(scale.low), math.ceil(scale.high)
    inside: list[float] = []
    for factors in ((1, 2, 5), (1, 3), (1,)):
        every = [factor * 10.0**power for power in range(low, high + 1) for factor in factors]
        inside = [tick for tick in every if scale.low <= math.log10(tick) <= scale.high]
        if len(inside) <= wanted:
            break
    return inside


def _batches(sizes: Sequence[float], along: Scale, base: float) -> list[Markup]:
    """Batch sizes below the axis; of those that would overlap the earlier stay."""
    parts, free = [], -math.inf
    for size in sizes:
        x, text = along(math.log2(size)), words.count(size)
        half = text_width(text, SMALL) / 2
        if x - half > free:
            parts.append(label(x, base + 18, text, class_="tick", anchor="middle", size=SMALL))
            free = x + half + 6
    return parts
