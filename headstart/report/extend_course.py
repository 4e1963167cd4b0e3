"""Accuracy of each task over the sequence of tasks: a line per task, named at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from headstart.report.charts import SMALL, upright_grid
from headstart.report.extend_read import Arm, Matrix, Measured
from headstart.report.svg import NARROW, Scale, both, drawing, fit, label, line, padded, path, tag, text_width

COLOURS = 5
DASHES = 3

Point = tuple[int, Measured]


@dataclass(frozen=True)
class Panel:
    """One chart with its title and what is to be said of it."""

    title: str
    plot: Markup
    note: str = ""


@dataclass(frozen=True)
class Course:
    """The first arm large, the others small."""

    lead: str
    first: Panel
    others: Sequence[Panel]


def colour(place: int) -> str:
    """Class of the style sheet of the task at `place`: colours first, then dashes tell them apart."""
    return f"t{place % COLOURS} d{place // COLOURS % DASHES}"


def course(arms: Sequence[Arm], tasks: Sequence[str], agnostic: bool) -> Course | None:
    """None where no task was measured more than once in any arm."""
    drawn = [(arm, matrix) for arm in arms if _told(matrix := _matrix(arm, agnostic))]
    if not drawn:
        return None
    rate = "the task not known" if agnostic else "the task known"
    lead = f"Accuracy on the test images of each task after every step, {rate}. A line that falls is a task being forgotten."
    panels = [
        Panel(
            arm.label,
            both(partial(_chart, arm, matrix, tasks)) if at == 0 else _chart(arm, matrix, tasks, NARROW),
            arm.bound,
        )
        for at, (arm, matrix) in enumerate(drawn)
    ]
    return Course(lead, panels[0], panels[1:])


def _matrix(arm: Arm, agnostic: bool) -> Matrix:
    return arm.agnostic if agnostic and _told(arm.agnostic) else arm.known


def _told(matrix: Matrix) -> bool:
    return any(
        sum(row[at] is not None for row in matrix if at < len(row)) > 1 for at in range(max(map(len, matrix), default=0))
    )


def _chart(arm: Arm, matrix: Matrix, tasks: Sequence[str], width: float) -> Markup:
    lines = [
        [(at, one) for at, row in enumerate(matrix) if column < len(row) and (one := row[column])]
        for column in range(len(tasks))
    ]
    ends = [end for points in lines for _, one in points for end in (one.span or (one.mean, one.mean))]
    shown = [column for column, points in enumerate(lines) if points]
    height = max(210.0 if width < 500 else 290.0, 40 + 13.5 * len(shown))
    room = min(0.3 * width, 16 + max(text_width(tasks[column], SMALL) for column in shown))
    x_scale = Scale(0, max(len(matrix) - 1, 1), 58, width - room - 8)
    y_scale = Scale(*padded(ends, least=0.1), height - 26, 10)
    parts = [*upright_grid(y_scale, 44, width - room, True), *_feet(arm.rows, arm.learned, x_scale, height, width)]
    for place, column in enumerate(shown):
        aside = 4.0 * (place - (len(shown) - 1) / 2) if len(shown) <= 6 else None
        parts += _line(lines[column], x_scale, y_scale, colour(column), aside)
    parts += _names(
        [(column, y_scale(lines[column][-1][1].mean)) for column in shown], tasks, x_scale.end + 8, width, height
    )
    spoken = "; ".join(
        f"{tasks[column]} from {lines[column][0][1].percent} to {lines[column][-1][1].percent}" for column in shown
    )
    return drawing(width, height, f"Accuracy of each task over the sequence, {arm.label}: {spoken}", *parts)


def _feet(rows: Sequence[str], learned: Sequence[int], scale: Scale, height: float, width: float) -> list[Markup]:
    """Names of the steps below the chart; where they have no room, how many tasks had been learned, as often as fits."""
    step = abs(scale(1) - scale(0))
    named = [
        name if all(text_width(one, SMALL) < step - 8 for one in rows) else name.removeprefix("after ") for name in rows
    ]
    if any(text_width(name, SMALL) > max(step - 8, 60) for name in named):
        named = [f"{at}." for at in learned]
    widest = 8 + max(text_width(one, SMALL) for one in named)
    every = next((n for n in range(1, len(rows)) if n * step >= widest), len(rows))
    parts = []
    for at in range(0, len(rows), every):
        short = fit(named[at], 110, SMALL)
        half = text_width(short, SMALL) / 2
        x = min(max(scale(at), half), width - half)
        parts.append(label(x, height - 7, short, class_="tick", anchor="middle"))
    return parts


def _line(points: Sequence[Point], x: Scale, y: Scale, kind: str, aside: float | None) -> list[Markup]:
    """One task's line, `aside` so far beside its step that intervals do not cover each other; None draws no interval."""
    placed = [(x(at) + (aside or 0.0), one) for at, one in points]
    parts = []
    if aside is not None:
        parts += [line(at, y(one.span[0]), at, y(one.span[1]), f"whisker {kind}") for at, one in placed if one.span]
    if len(placed) > 1:
        parts.append(path([(at, y(one.mean)) for at, one in placed], f"line task {kind}"))
    dots = placed if aside is not None else placed[-1:]  # of many tasks only where they end
    return [*parts, *(tag("circle", cx=at, cy=y(one.mean), r=3.2, class_=f"spot {kind}") for at, one in dots)]


def _names(ends: Sequence[tuple[int, float]], tasks: Sequence[str], x: float, width: float, height: float) -> list[Markup]:
    """Each task's name beside the end of its line, moved apart where they would cover each other."""
    ordered = sorted(ends, key=lambda one: one[1])
    least = 13.0
    places: list[float] = []
    for _, y in ordered:
        places.append(max(y, places[-1] + least) if places else max(y, 8.0))
    below = height - 26
    for at in range(len(places) - 1, -1, -1):
        places[at] = min(places[at], below)
        below = places[at] - least
    parts = []
    for (column, _), y in zip(ordered, places, strict=True):
        name = fit(tasks[column], width - x - 12, SMALL)
        parts.append(label(x + 9, y + 4, name, class_=f"named {colour(column)}", size=SMALL))
    return parts
