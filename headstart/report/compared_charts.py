"""Pictures of a comparison: every difference as a matrix, and accuracy against cost with its Pareto front."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import SMALL, upright_grid
from headstart.report.svg import Scale, drawing, fit, label, line, padded, path, tag, text_width

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Gap:
    """How far a is ahead of b, and whether that is decided."""

    a: str
    b: str
    ahead: float
    decided: bool
    detectable: float | None = None


def difference_map(gaps: Mapping[tuple[str, str], Gap], order: Sequence[str], width: float) -> Markup:
    """Row minus column in points, every pair twice with opposite signs."""
    size = len(order)
    text = 12.5 if width > 500 else 11.0
    longest = max(text_width(name, text) for name in order)
    gutter = min(0.32 * width, 10 + longest)
    slant = 0.72 * min(longest, 110.0)
    head = slant + 18
    cell = min(58.0, (width - gutter - slant * 0.6) / size)
    parts = []
    for i, row in enumerate(order):
        y = head + cell * i
        parts.append(label(gutter - 7, y + cell / 2 + 4, fit(row, gutter - 8, text), anchor="end", size=text))
        parts += [_cell(_ahead(gaps, row, column), gutter + cell * j, y, cell) for j, column in enumerate(order)]
        turn = f"translate({gutter + cell * (i + 0.5) + 4:.1f} {head - 7:.1f}) rotate(-45)"
        parts.append(tag("text", fit(row, 110.0, text), transform=turn, font_size=text))
    spoken = "; ".join(
        f"{gap.a} {words.points(gap.ahead, sign=True)} against {gap.b}, {'decided' if gap.decided else 'not decided'}"
        for gap in gaps.values()
    )
    return drawing(width, head + cell * size + 2, f"Differences of all pairs: {spoken}", *parts)


def _ahead(gaps: Mapping[tuple[str, str], Gap], row: str, column: str) -> tuple[float, bool] | None:
    if (row, column) in gaps:
        return gaps[row, column].ahead, gaps[row, column].decided
    turned = gaps.get((column, row))
    return None if turned is None else (-turned.ahead, turned.decided)


def _cell(found: tuple[float, bool] | None, x: float, y: float, cell: float) -> Markup:
    box: dict[str, Any] = {"x": x + 0.5, "y": y + 0.5, "width": cell - 1, "height": cell - 1, "rx": 2}
    if found is None:
        return tag("rect", **box, class_="cell empty")
    ahead, decided = found
    shown = words.points(ahead, sign=True).partition(" ")[0]
    depth, tone = (0.9, "on") if decided else (0.12, "off")
    size = min(12.5, cell * 0.36)
    figure = label(x + cell / 2, y + cell / 2 + size * 0.36, shown, class_=tone, anchor="middle", size=size)
    kind = "right" if ahead >= 0 else "wrong"
    return tag("g", tag("rect", **box, class_=f"cell {kind}", style=f"--d:{depth:.2f}"), figure)


@dataclass(frozen=True)
class Spot:
    """One strategy: its cost in seconds, its accuracy and the interval of that."""

    name: str
    cost: float
    accuracy: float
    span: tuple[float, float] | None


def front(spots: Sequence[Spot]) -> list[Spot]:
    """Those that nothing else beats in one of cost and accuracy and equals in the other, the cheapest first."""
    found: list[Spot] = []
    for spot in sorted(spots, key=lambda spot: (spot.cost, -spot.accuracy)):
        if not found or spot.accuracy > found[-1].accuracy:
            found.append(spot)
    return found


def scatter(
    spots: Sequence[Spot], width: float, axis: str = "time for a fold", unit: Callable[[float], str] = words.duration
) -> Markup:
    """Accuracy against the logarithm of cost in seconds; the Pareto front filled, coloured and joined by steps."""
    height, foot = (300.0, 40.0) if width < 500 else (340.0, 42.0)
    bottom = height - foot
    costs = [math.log10(spot.cost) for spot in spots]
    air = max(0.08 * (max(costs) - min(costs)), 0.12)
    room = min(max(text_width(spot.name, SMALL) for spot in spots), 70.0)  # for names beside the costliest
    x_scale = Scale(min(costs) - air, max(costs) + air, 46, width - room)
    ends = [end for spot in spots for end in (spot.span or (spot.accuracy, spot.accuracy))]
    y_scale = Scale(*padded(ends, least=0.04), bottom, 10)
    parts = upright_grid(y_scale, 46, width - 10, True)
    for tick in _ticks(x_scale, 4 if width < 500 else 8):
        x = x_scale(math.log10(tick))
        parts.append(line(x, 10, x, bottom, "grid"))
        parts.append(label(x, bottom + 17, unit(tick), class_="tick", anchor="middle"))
    parts.append(label((46 + width) / 2, height - 6, axis, class_="muted", anchor="middle", size=SMALL))
    ahead = front(spots)
    at = {spot.name: (x_scale(math.log10(spot.cost)), y_scale(spot.accuracy)) for spot in spots}
    way = _steps([at[spot.name] for spot in ahead])
    if len(ahead) > 1:
        parts.append(path(way, "line"))
    for spot in spots:
        parts += _spot(spot, at[spot.name], y_scale, "best" if spot in ahead else "plain")
    level = [(a, b, y - 2, y + 2) for (a, y), (b, _) in zip(way[::2], way[1::2], strict=False)]
    parts += _names(spots, at, (46, width - 4, 4, bottom), level)
    spoken = "; ".join(f"{spot.name} {words.percent(spot.accuracy)} in {unit(spot.cost)}" for spot in spots)
    return drawing(width, height, f"Accuracy against {axis}: {spoken}", *parts)


def _ticks(scale: Scale, wanted: int) -> list[float]:
    """Round durations within the range: 1, 2 and 5 times powers of ten, fewer where they would crowd."""
    low, high = math.floor(scale.low), math.ceil(scale.high)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        every = [f * 10.0**power for power in range(low, high + 1) for f in factors]
        inside = [tick for tick in every if scale.low <= math.log10(tick) <= scale.high]
        if len(inside) <= wanted:
            break
    return inside


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """From each point straight on to the next one's place, then up: what is reached for that cost."""
    found = [points[0]]
    for (_, y), (x, above) in itertools.pairwise(points):
        found += [(x, y), (x, above)]
    return found


def _spot(spot: Spot, at: tuple[float, float], scale: Scale, kind: str) -> list[Markup]:
    x, y = at
    dot = tag("circle", cx=x, cy=y, r=5.5, class_=f"dot {kind}")
    if spot.span is None:
        return [dot]
    return [line(x, scale(spot.span[0]), x, scale(spot.span[1]), f"whisker {kind}"), dot]


def _names(
    spots: Sequence[Spot], at: Mapping[str, tuple[float, float]], frame: Box, drawn: Sequence[Box] = ()
) -> list[Markup]:
    """Each name beside its dot, where it covers neither another dot nor another name nor what is `drawn`, in the frame."""
    taken: list[Box] = [*drawn, *((x - 7, x + 7, y - 7, y + 7) for x, y in at.values())]
    parts = []
    for spot in sorted(spots, key=lambda spot: at[spot.name][1]):
        (x, y), wide = at[spot.name], text_width(spot.name, SMALL)
        places = [
            (x + dx if side == "start" else x - dx, y + dy, side)
            for dx, dy in (
                (9, 4),
                (9, 17),
                (9, -9),
                (9, 30),
                (9, -22),
                (9, 43),
                (9, -35),
                (9, 56),
                (9, -48),
                (9, 69),
                (9, -61),
            )
            for side in ("start", "end")
        ]
        boxes = [(a if side == "start" else a - wide, b, side, a) for a, b, side in places]
        left, base, side, anchor = min(
            boxes, key=lambda one: _in_the_way((one[0], one[0] + wide, one[1] - 10, one[1] + 3), taken, frame)
        )
        taken.append((left, left + wide, base - 10, base + 3))
        if abs(base - 4 - y) > 12:  # too far off to be seen to belong there
            parts.append(line(x, y, anchor + (-2 if side == "start" else 2), base - 4, "line thin"))
        parts.append(label(anchor, base, spot.name, anchor=side if side == "end" else None, size=SMALL))
    return parts


def _in_the_way(box: Box, taken: Sequence[Box], frame: Box) -> int:
    """How much stands in the way of a name: others it would cover, and above all the edge of the picture."""
    outside = box[0] < frame[0] or box[1] > frame[1] or box[2] < frame[2] or box[3] > frame[3]
    return 100 * outside + sum(box[0] < b and a < box[1] and box[2] < d and c < box[3] for a, b, c, d in taken)
