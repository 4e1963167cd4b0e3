"""Charts of a study of layers: a value at every cut for several kinds of networks, and where fine-tuning is ahead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import SMALL, upright_grid
from headstart.report.svg import TEXT, Scale, drawing, fit, label, line, padded, path, tag, text_width

LEFT = 46


@dataclass(frozen=True)
class Mark:
    """The mean at cut n (0: the base network) and its interval."""

    n: int
    mean: float
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class Trace:
    """One kind of networks over all cuts.

    style    class of the style sheet; `plus` beside it makes the marks hollow and the line dashed
    shape    of its marks: `circle`, `square`, `triangle` or `diamond`, so that colour alone tells nothing
    singles  `(n, value)` of single runs
    """

    name: str
    style: str
    shape: str
    marks: Sequence[Mark]
    singles: Sequence[tuple[int, float]] = ()

    @property
    def spoken(self) -> str:
        """Its means as words."""
        return f"{self.name}: " + ", ".join(f"{one.n} {words.percent(one.mean)}" for one in self.marks)


@dataclass(frozen=True)
class Contest:
    """Fine-tuned minus frozen at one number of target images."""

    images: float
    difference: float
    span: tuple[float, float] | None

    @property
    def winner(self) -> str:
        """`tuned`, `frozen`, or `open` where the interval holds zero or is not known."""
        if self.span is None or self.span[0] <= 0 <= self.span[1]:
            return "open"
        return "tuned" if self.span[0] > 0 else "frozen"


@dataclass(frozen=True)
class Row:
    """One cut with its contests."""

    name: str
    note: str
    contests: Sequence[Contest]


def layer_chart(
    traces: Sequence[Trace], width: float, cuts: Mapping[int, str], axis: str, *, change: bool = False
) -> Markup:
    """Means with intervals joined by lines over the cuts, single runs as small dots.

    `change` draws differences of accuracies in points around a line at zero; else accuracies, with a line across at the
    mean at n = 0. Kinds stand a little apart at each cut, so that nothing is hidden.
    """
    base = 230.0 if width < 500 else 300.0
    places = sorted(
        {one.n for trace in traces for one in trace.marks} | {n for t in traces for n, _ in t.singles} | set(cuts)
    )
    step = (width - LEFT - 8) / len(places)
    centre = {n: LEFT + step * (place + 0.5) for place, n in enumerate(places)}
    scale = _upright(traces, base, change)
    times = 100.0 if change else 1.0
    grid = Scale(times * scale.low, times * scale.high, scale.start, scale.end)
    parts = upright_grid(grid, LEFT, width - 8, not change)
    level = 0.0 if change else next((one.mean for t in traces for one in t.marks if one.n == 0), None)
    if level is not None:
        parts.append(line(LEFT, scale(level), width - 8, scale(level), "guide"))
    gap = min(9.0, 0.62 * step / max(1, len(traces)))
    for place, trace in enumerate(traces):
        shift = gap * (place - (len(traces) - 1) / 2)
        parts.append(_trace(trace, {n: x + (shift if n else 0) for n, x in centre.items()}, scale))
    parts += _feet(centre, cuts, step, base)
    parts.append(label((LEFT + width - 8) / 2, base + 52, axis, class_="muted", anchor="middle", size=SMALL))
    what = "Change of accuracy" if change else "Accuracy"
    return drawing(width, base + 60, f"{what} by {axis}. " + "; ".join(trace.spoken for trace in traces), *parts)


def _upright(traces: Sequence[Trace], base: float, change: bool) -> Scale:
    ends = [end for t in traces for one in t.marks for end in (one.mean, *(one.span or ()))]
    ends += [value for t in traces for _, value in t.singles] + ([0.0] if change else [])
    return Scale(*padded(ends, floor=-1.0 if change else 0.0, least=0.02), base, 10)


def _trace(trace: Trace, across: Mapping[int, float], scale: Scale) -> Markup:
    places = [(across[one.n], scale(one.mean)) for one in trace.marks]
    parts = [path(places, "mean")] if len(places) > 1 else []
    for (x, _), one in zip(places, trace.marks, strict=True):
        if one.span:
            parts.append(line(x, scale(one.span[0]), x, scale(one.span[1]), "extent"))
    parts += [tag("circle", cx=across[n], cy=scale(value), r=2, class_="single") for n, value in trace.singles]
    parts += [marker(trace.shape, x, y, 4.2) for x, y in places]
    return tag("g", *parts, class_=f"trace {trace.style}")


def marker(shape: str, x: float, y: float, r: float) -> Markup:
    """A mark around (x, y); its colour comes from the group it stands in."""
    corners = {
        "square": ((-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)),
        "triangle": ((0, -1.2), (1.12, 0.85), (-1.12, 0.85)),
        "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    }.get(shape)
    if corners is None:
        return tag("circle", cx=x, cy=y, r=r, class_="mark")
    d = "L".join(f"{x + r * across:.1f} {y + r * down:.1f}" for across, down in corners)
    return tag("path", d=f"M{d}Z", class_="mark")


def sample(trace: Trace) -> Markup:
    """A piece of the trace's line with its mark, for a key."""
    parts = [path([(1, 7), (27, 7)], "mean"), marker(trace.shape, 14, 7, 4.2)]
    inside = tag("g", *parts, class_=f"trace {trace.style}")
    return tag("svg", inside, viewBox="0 0 28 14", width=28, height=14, aria_hidden="true")


def _feet(centre: Mapping[int, float], cuts: Mapping[int, str], step: float, base: float) -> list[Markup]:
    """n below each place and, where all fit, the block's name under it; of many cuts every second or third."""
    every = max(1, math.ceil(20 / step))
    longest = max((text_width(name, 1.15) for name in cuts.values()), default=0.0)
    size = next((one for one in (SMALL, 10.0) if longest * one < step - 4), None)
    parts = []
    for place, (n, x) in enumerate(centre.items()):
        if place % every == 0:
            parts.append(label(x, base + 18, str(n) if n else "base", class_="tick", anchor="middle", size=SMALL))
        if size and n in cuts:
            parts.append(label(x, base + 33, cuts[n], class_="foot", anchor="middle", size=size))
    return parts


def contest_chart(rows: Sequence[Row], width: float) -> Markup:
    """A row for each cut; on it, by target images on a logarithmic axis, who is ahead: shape and figures tell."""
    narrow = width < 500
    gutter = (
        0.0 if narrow else min(0.42 * width, 16 + max(text_width(t, TEXT) for row in rows for t in (row.name, row.note)))
    )
    step = 74 if narrow else 52
    bottom = 4 + step * len(rows)
    sizes = sorted({one.images for row in rows for one in row.contests})
    logs = [math.log(size) for size in sizes]
    across = Scale(logs[0] - 1e-6, logs[-1] + 1e-6, gutter + 30, width - 30)
    parts = [line(across(x), 4, across(x), bottom, "grid") for x in logs]
    free = -math.inf
    for x, size in zip(logs, sizes, strict=True):
        half = text_width(words.count(size), SMALL) / 2
        if across(x) - half > free:
            parts.append(label(across(x), bottom + 17, words.count(size), class_="tick", anchor="middle", size=SMALL))
            free = across(x) + half + 4
    for place, row in enumerate(rows):
        parts.append(_row(row, 4 + step * place, step, gutter, narrow, across))
    middle = (across.start + across.end) / 2
    parts.append(label(middle, bottom + 36, "training images of the target", class_="muted", anchor="middle", size=SMALL))
    spoken = "; ".join(
        f"{row.name}: " + ", ".join(f"{words.count(c.images)} {words.points(c.difference, sign=True)}" for c in row.contests)
        for row in rows
    )
    return drawing(width, bottom + 44, f"Fine-tuned minus frozen by training images of the target. {spoken}", *parts)


def _row(row: Row, top: float, step: float, gutter: float, narrow: bool, across: Scale) -> Markup:
    y = top + step - (14 if narrow else 18)
    if narrow:
        beside = text_width(row.name, TEXT) * 1.1 + 10
        head = [label(0, top + 16, row.name), label(beside, top + 16, fit(row.note, across.end + 30 - beside, SMALL),
                class_="note", size=SMALL)]  # fmt: skip
    else:
        head = [label(0, y - 4, fit(row.name, gutter - 8)), label(0, y + 11, row.note, class_="note", size=SMALL)]
    parts = [line(across.start, y, across.end, y, "grid"), *head]
    for one in row.contests:
        x = across(math.log(one.images))
        shape = {"tuned": "triangle", "frozen": "square"}.get(one.winner, "circle")
        parts.append(tag("g", marker(shape, x, y, 5.5), class_=f"contest {one.winner}"))
        text = words.points(one.difference, sign=True).partition(" ")[0]
        parts.append(label(x, y - 11, text, class_="value", anchor="middle", size=SMALL))
    return tag("g", *parts)


def contest_sample(winner: str) -> Markup:
    """The mark of a winner, for a key."""
    shape = {"tuned": "triangle", "frozen": "square"}.get(winner, "circle")
    inside = tag("g", marker(shape, 7, 7, 5), class_=f"contest {winner}")
    return tag("svg", inside, viewBox="0 0 14 14", width=14, height=14, aria_hidden="true")
