"""What more labels would bring: the probe's accuracy against the number of images, and where twice as many would lead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import SMALL, upright_grid
from headstart.report.folder import RunFolder, interval, number, rows_of, table_of
from headstart.report.svg import Scale, both, drawing, label, line, padded, path, tag, text_width


@dataclass(frozen=True)
class Point:
    """Accuracy of the probe learned from so many images; `expected` marks one that was not measured."""

    images: float
    accuracy: float
    span: tuple[float, float] | None
    per_class: float | None
    expected: bool = False


@dataclass(frozen=True)
class Growth:
    """The section of the learning curve."""

    lead: str
    plot: Markup
    key: str


def growth(run: RunFolder) -> Growth | None:
    """The probe's learning curve, or None where it was not measured."""
    found = table_of(run.summary.get("learning_curve"))
    points = [one for row in rows_of(found.get("points")) if (one := _point(row, False))]
    points.sort(key=lambda one: one.images)
    twice = _point(table_of(found.get("twice")), True)
    if not points:
        return None
    every = [*points, *([twice] if twice else [])]
    said = str(found.get("sentence") or "")
    key = "Dots: the frozen network's linear probe on held-out images, learned from so many images; lines: their intervals."
    key += " Dashed and hollow: expected from twice the labels, should the curve go on as it runs." if twice else ""
    return Growth(
        lead=words.sentence(words.grouped(said)) if said else _lead(points, twice),
        plot=both(lambda width: growth_chart(every, width)),
        key=key,
    )


def _point(row: Mapping[str, Any], expected: bool) -> Point | None:
    images, accuracy = number(row.get("images")), number(row.get("accuracy"))
    if not images or images < 0 or accuracy is None:
        return None
    return Point(images, accuracy, interval(row.get("interval")), number(row.get("per_class")), expected)


def _lead(points: Sequence[Point], twice: Point | None) -> str:
    last = points[-1]
    text = f"The probe gets {words.percent(last.accuracy)} right with {words.count(last.images)} images"
    if twice is None:
        return f"{text}; what more labels would bring was not worked out."
    return f"{text}; twice as many should bring it to {words.percent(twice.accuracy)} ({words.percent_range(twice.span)})."


def growth_chart(points: Sequence[Point], width: float) -> Markup:
    """Accuracy with whiskers against images on a logarithmic axis; expected points are hollow, the way there dashed."""
    base, left = (220 if width < 500 else 270), 46
    ends = [end for one in points for end in (one.span or (one.accuracy, one.accuracy))]
    heights = Scale(*padded([*ends, *(one.accuracy for one in points)], least=0.04), base, 10)
    logs = [math.log(one.images) for one in points]
    spread = max(logs) - min(logs)
    air = 0.08 * spread if spread else 1.0
    along = Scale(min(logs) - air, max(logs) + air, left, width - 12)
    places = [(along(x), heights(one.accuracy)) for x, one in zip(logs, points, strict=True)]
    measured = [place for place, one in zip(places, points, strict=True) if not one.expected]
    parts = upright_grid(heights, left, width - 12, True)
    parts += [path(measured, "line")] if len(measured) > 1 else []
    parts += [path([measured[-1], places[-1]], "line ahead")] if points[-1].expected and measured else []
    for (x, y), one in zip(places, points, strict=True):
        parts.append(_mark(x, y, one, heights))
    parts += _feet([x for x, _ in places], points, base)
    parts.append(
        label((left + width - 12) / 2, base + 52, "images learned from", class_="muted", anchor="middle", size=SMALL)
    )
    spoken = "; ".join(
        f"{words.count(one.images)} images {words.percent(one.accuracy)}{' expected' if one.expected else ''}"
        for one in points
    )
    return drawing(width, base + 60, f"Learning curve of the probe: {spoken}", *parts)


def _mark(x: float, y: float, one: Point, heights: Scale) -> Markup:
    kind = "ahead" if one.expected else "best"
    parts = [tag("circle", cx=x, cy=y, r=5, class_=f"dot {kind}")]
    if one.span:
        parts.insert(0, line(x, heights(one.span[0]), x, heights(one.span[1]), f"whisker {kind}"))
    high = heights(one.span[1]) if one.span else y
    name = label(x, max(high - 7, 11), words.percent(one.accuracy), class_="value", anchor="middle", size=SMALL)
    return tag("g", *parts, name)


def _feet(xs: Sequence[float], points: Sequence[Point], base: float) -> list[Markup]:
    """Images below each point, and images per class where known; from the right, what would overlap is left out."""
    parts, free = [], math.inf
    for x, one in reversed(list(zip(xs, points, strict=True))):
        texts = [words.count(one.images), *([f"{words.figures(one.per_class, 2)} a class"] if one.per_class else [])]
        half = max(text_width(text, SMALL) for text in texts) / 2
        if x + half > free:
            continue
        free = x - half - 6
        for at, text in enumerate(texts):
            parts.append(label(x, base + 18 + 15 * at, text, class_="tick", anchor="middle", size=SMALL))
    return parts
