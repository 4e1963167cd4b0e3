"""The classic 2x2 picture: how much data there is, how like the source it is, what each corner advises, what happened there.

The words stand above and below the square, so that places inside it are true to scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from headstart.report.calibration import Past
from headstart.report.svg import drawing, label, line, tag

Span = tuple[float, float]


@dataclass(frozen=True)
class Corner:
    """One quadrant; `lines` are the advice, broken to fit."""

    number: int
    where: str
    lines: tuple[str, ...]
    column: int
    row: int


CORNERS = (
    Corner(1, "much data, unlike", ("Fine-tune or re-train", "the whole network"), 0, 0),
    Corner(2, "much data, like", ("Fine-tune the top", "blocks and the head"), 1, 0),
    Corner(3, "little data, unlike", ("Read early blocks", "or all; label more"), 0, 1),
    Corner(4, "little data, like", ("Keep the backbone", "frozen, learn a head"), 1, 1),
)

WIDTH, LEFT, CELL, STRIP = 350, 22, 163, 42
TOP = STRIP
FLOOR = TOP + 2 * CELL
HEIGHT = FLOOR + STRIP + 20
AIR = 9
"""Pixels between the border of the square and the places 0 and 1, so that no mark is cut."""


@dataclass(frozen=True)
class Place:
    """Where the user's data lie: similarity `x` and size `y`, 0 to 1, each perhaps with an interval."""

    x: float
    y: float
    x_span: Span | None = None
    y_span: Span | None = None


def across(x: float) -> float:
    """Pixels of a similarity; the border 0.5 lies in the middle whatever the air."""
    return LEFT + AIR + min(max(x, 0.0), 1.0) * (2 * CELL - 2 * AIR)


def up(y: float) -> float:
    """Pixels of a size; much is above."""
    return TOP + AIR + (1 - min(max(y, 0.0), 1.0)) * (2 * CELL - 2 * AIR)


def quadrant_picture(number: int | None, place: Place | None, past: Sequence[Past] = ()) -> Markup:
    """The four quadrants, quadrant `number` lit, the user's data, and past experiments as marks with a hover title."""
    parts = [_corner(corner, corner.number == number) for corner in CORNERS]
    for at, (sideways, turned) in enumerate((("unlike the source", "much data"), ("like the source", "little data"))):
        middle = CELL * (at + 0.5)
        parts.append(label(LEFT + middle, FLOOR + 14, sideways, class_="muted", anchor="middle", size=12))
        turn = f"translate(14 {TOP + middle:.1f}) rotate(-90)"
        parts.append(tag("text", turned, transform=turn, class_="muted", text_anchor="middle", font_size=12))
    parts += [one.mark(across(one.x), up(one.y)) for one in past]
    parts += [_yours(place)] if place else []
    lit = next((c for c in CORNERS if c.number == number), None)
    spoken = f"your data lie in quadrant {lit.number}: {lit.where}" if lit else "no quadrant was named"
    spoken += f"; {len(past)} past experiments around them" if past else ""
    return drawing(
        WIDTH, HEIGHT, f"Quadrants of data size and similarity to the source; {spoken}", *parts, class_="chart quadrant"
    )


def _corner(corner: Corner, lit: bool) -> Markup:
    x, y = LEFT + CELL * corner.column, TOP + CELL * corner.row
    tone = " lit" if lit else ""
    parts = [tag("rect", x=x + 1.5, y=y + 1.5, width=CELL - 3, height=CELL - 3, rx=6, class_=f"corner{tone}")]
    base = 17 if corner.row == 0 else FLOOR + 38
    parts.append(label(x + 4, base + 1, str(corner.number), class_=f"digit{tone}", size=16))
    parts += [label(x + 20, base + 15 * i, text, class_=f"advice{tone}", size=12) for i, text in enumerate(corner.lines)]
    return tag("g", *parts)


def _yours(place: Place) -> Markup:
    """The user's data: a dot, its intervals as a cross, the region they enclose as a wash."""
    px, py = across(place.x), up(place.y)
    parts = [tag("circle", cx=px, cy=py, r=11, class_="halo")]
    if place.x_span or place.y_span:
        low, high = (across(end) for end in place.x_span or (place.x, place.x))
        floor, ceiling = (up(end) for end in place.y_span or (place.y, place.y))
        parts = [_wash(px, py, (low, high), (ceiling, floor))]
        parts += [line(low, py, high, py, "reach"), line(px, ceiling, px, floor, "reach")]
        parts += [line(end, py - 4, end, py + 4, "reach") for end in (low, high) if place.x_span]
        parts += [line(px - 4, end, px + 4, end, "reach") for end in (ceiling, floor) if place.y_span]
    dot = tag("circle", cx=px, cy=py, r=6, class_="dot yours")
    right = px < LEFT + 2 * CELL - 78  # words on the side that has room
    below = py + 22 < FLOOR
    name = label(
        px + (9 if right else -9),
        py + (20 if below else -12),
        "your data",
        class_="yours",
        anchor="start" if right else "end",
        size=12.5,
    )
    return tag("g", *parts, dot, name)


def _wash(x: float, y: float, side: Span, height: Span) -> Markup:
    """The region that the two intervals enclose: four quarters of ellipses, since an interval need not be symmetric."""
    west, east, north, south = x - side[0], side[1] - x, y - height[0], height[1] - y
    if min(west, east, north, south) < 0 or (west + east) * (north + south) <= 0:
        return Markup("")  # one interval alone is its bar; one that does not hold the point encloses nothing round it
    quarters = (
        (east, north, x + east, y),
        (east, south, x, y + south),
        (west, south, x - west, y),
        (west, north, x, y - north),
    )
    turns = [f"A{rx:.1f} {ry:.1f} 0 0 1 {to_x:.1f} {to_y:.1f}" for rx, ry, to_x, to_y in quarters]
    return tag("path", d=f"M{x:.1f} {y - north:.1f}{''.join(turns)}Z", class_="halo")
