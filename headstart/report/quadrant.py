"""The classic 2x2 picture: how much data there is, how like the source it is, and what each corner advises."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from headstart.report.svg import drawing, label, tag


@dataclass(frozen=True)
class Corner:
    """One quadrant; `lines` are the advice, broken to fit."""

    number: int
    where: str
    lines: tuple[str, ...]
    column: int
    row: int


CORNERS = (
    Corner(1, "much data, unlike", ("Fine-tune or", "re-train the whole", "network"), 0, 0),
    Corner(2, "much data, like", ("Fine-tune the top", "blocks and the head"), 1, 0),
    Corner(3, "little data, unlike", ("Heads on earlier", "blocks, all depths,", "or label more data"), 0, 1),
    Corner(4, "little data, like", ("Keep the backbone", "frozen, learn", "only a head"), 1, 1),
)

WIDTH, HEIGHT, LEFT, TOP, CELL = 350, 350, 24, 2, 163


def quadrant_picture(number: int | None, x: float | None, y: float | None) -> Markup:
    """The four quadrants, quadrant `number` lit, and a point at similarity `x` and size `y`, both 0 to 1."""
    parts = [_corner(corner, corner.number == number) for corner in CORNERS]
    for place, (across, up) in enumerate((("unlike the source", "much data"), ("like the source", "little data"))):
        middle = CELL * (place + 0.5)
        parts.append(label(LEFT + middle, HEIGHT - 4, across, class_="muted", anchor="middle", size=12))
        turn = f"translate(14 {TOP + middle:.1f}) rotate(-90)"
        parts.append(tag("text", up, transform=turn, class_="muted", text_anchor="middle", font_size=12))
    if x is not None and y is not None:
        parts.append(_point(x, y))
    lit = next((c for c in CORNERS if c.number == number), None)
    spoken = f"your data lie in quadrant {lit.number}: {lit.where}" if lit else "no quadrant was named"
    return drawing(
        WIDTH, HEIGHT, f"Quadrants of data size and similarity to the source; {spoken}", *parts, class_="chart quadrant"
    )


def _corner(corner: Corner, lit: bool) -> Markup:
    x, y = LEFT + CELL * corner.column, TOP + CELL * corner.row
    tone = " lit" if lit else ""
    parts = [tag("rect", x=x + 1.5, y=y + 1.5, width=CELL - 3, height=CELL - 3, rx=6, class_=f"corner{tone}")]
    parts.append(label(x + 12, y + 26, str(corner.number), class_=f"digit{tone}", size=17))
    base = y + CELL - 14 - 16 * (len(corner.lines) - 1)
    parts += [label(x + 12, base + 16 * i, text, class_=f"advice{tone}", size=12) for i, text in enumerate(corner.lines)]
    return tag("g", *parts)


def _point(x: float, y: float) -> Markup:
    """The user's data: in its quadrant by the same proportions, kept clear of the number and the advice written there."""
    px = LEFT + _within(x, 34, 24)
    py = TOP + _within(1 - y, 44, 72)
    right = (px - LEFT) % CELL < CELL / 2  # so that the words stay in the point's own quadrant
    ring = tag("circle", cx=px, cy=py, r=11, class_="halo")
    dot = tag("circle", cx=px, cy=py, r=5.5, class_="dot best")
    words = label(
        px + (15 if right else -15), py + 4, "your data", class_="yours", anchor="start" if right else "end", size=12.5
    )
    return tag("g", ring, dot, words)


def _within(place: float, before: float, after: float) -> float:
    """Where `place`, 0 to 1 over two cells, lies in pixels, when each cell keeps `before` and `after` free."""
    cell = 0 if place < 0.5 else 1
    share = min(max(2 * place - cell, 0.0), 1.0)
    return CELL * cell + before + share * (CELL - before - after)
