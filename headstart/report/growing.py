"""Charts of the study of data sizes: accuracy of several ways against images, or against seconds, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import SMALL, upright_grid
from headstart.report.svg import Scale, drawing, label, line, padded, path, tag, text_width

LEFT = 46


@dataclass(frozen=True)
class Spot:
    """One point of a curve; `led` marks one that was extrapolated, not measured."""

    x: float
    accuracy: float
    span: tuple[float, float] | None = None
    led: bool = False


@dataclass(frozen=True)
class Curve:
    """One way.

    style  class of the style sheet
    shape  of its marks: `circle`, `square`, `triangle` or `diamond`, so that colour alone tells nothing
    """

    name: str
    style: str
    shape: str
    spots: Sequence[Spot]

    def spoken(self, unit: Callable[[float], str]) -> str:
        """Its points as words."""
        told = (f"{unit(s.x)} {words.percent(s.accuracy)}{' extrapolated' if s.led else ''}" for s in self.spots)
        return f"{self.name}: {', '.join(told)}"


def growing_chart(
    curves: Sequence[Curve],
    width: float,
    axis: str,
    unit: Callable[[float], str],
    ticks: Sequence[float],
    meets: Sequence[tuple[float, float]] = (),
) -> Markup:
    """Accuracy with intervals against a logarithmic axis; extrapolated points are hollow, the way there dashed.

    ticks  values named below the axis, in order; of those that would overlap the later ones stay
    meets  (x, accuracy) where two curves cross, drawn as rings
    """
    base = 260 if width < 500 else 330
    spots = [spot for curve in curves for spot in curve.spots]
    ends = [end for spot in spots for end in (spot.accuracy, *(spot.span or ()))]
    heights = Scale(*padded(ends, least=0.04), base, 10)
    logs = [math.log(spot.x) for spot in spots]
    air = 0.05 * (max(logs) - min(logs)) or 1.0
    along = Scale(min(logs) - air, max(logs) + air, LEFT, width - 12)
    parts = upright_grid(heights, LEFT, width - 12, True)
    for place, curve in enumerate(curves):
        apart = 3.0 * (place - (len(curves) - 1) / 2) if any(spot.span for spot in curve.spots) else 0.0
        parts.append(_curve(curve, Scale(along.low, along.high, along.start + apart, along.end + apart), heights))
    parts += [tag("circle", cx=along(math.log(x)), cy=heights(y), r=8, class_="meet") for x, y in meets]
    parts += _feet(ticks, along, base, unit)
    parts.append(label((LEFT + width - 12) / 2, base + 38, axis, class_="muted", anchor="middle", size=SMALL))
    spoken = "; ".join(curve.spoken(unit) for curve in curves)
    return drawing(width, base + 46, f"Accuracy against {axis}. {spoken}", *parts)


def _curve(curve: Curve, along: Scale, heights: Scale) -> Markup:
    measured = [(along(math.log(s.x)), heights(s.accuracy)) for s in curve.spots if not s.led]
    led = [(along(math.log(s.x)), heights(s.accuracy)) for s in curve.spots if s.led]
    parts = [path(measured, "mean")] if len(measured) > 1 else []
    parts += [path([*measured[-1:], *led], "mean led")] if led and measured else []
    for spot in curve.spots:
        x, kind = along(math.log(spot.x)), " led" if spot.led else ""
        if spot.span:
            parts.append(line(x, heights(spot.span[0]), x, heights(spot.span[1]), f"extent{kind}"))
        parts.append(mark(curve.shape, x, heights(spot.accuracy), f"mark{kind}"))
    return tag("g", *parts, class_=f"way {curve.style}")


def mark(shape: str, x: float, y: float, class_: str = "mark", r: float = 4.5) -> Markup:
    """One mark of a curve."""
    if shape == "square":
        return tag("rect", x=x - r + 0.5, y=y - r + 0.5, width=2 * r - 1, height=2 * r - 1, class_=class_)
    if shape in ("triangle", "diamond"):
        low = [(x + r, y + r * 0.8), (x - r, y + r * 0.8)] if shape == "triangle" else [(x + r, y), (x, y + r), (x - r, y)]
        return tag("path", d="M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in [(x, y - r), *low]) + "Z", class_=class_)
    return tag("circle", cx=x, cy=y, r=r, class_=class_)


def swatch(curve: Curve) -> Markup:
    """Line and mark of a curve for the key beside the chart."""
    parts = (line(0, 7, 26, 7, "mean"), mark(curve.shape, 13, 7))
    inside = tag("g", *parts, class_=f"way {curve.style}")
    return tag("svg", inside, viewBox="0 0 26 14", width=26, height=14, aria_hidden="true")


def _feet(ticks: Sequence[float], along: Scale, base: float, unit: Callable[[float], str]) -> list[Markup]:
    parts, free = [], math.inf
    for value in reversed(ticks):
        x, text = along(math.log(value)), unit(value)
        half = text_width(text, SMALL) / 2
        if x + half > free:
            continue
        free = x - half - 6
        parts.append(label(x, base + 18, text, class_="tick", anchor="middle", size=SMALL))
    return parts
