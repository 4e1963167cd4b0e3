"""The accuracy matrix: a heat map with the task known and one with the task not known, and the numbers with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from headstart.report import words
from headstart.report.extend_read import Arm, Matrix, Measured
from headstart.report.svg import both, drawing, fit, label, tag, text_width

SMALLEST = 24.0
"""Pixels below which a cell could not hold its figure; the drawing then scrolls."""


@dataclass(frozen=True)
class Map:
    """One heat map with its title."""

    title: str
    plot: Markup


@dataclass(frozen=True)
class Table:
    """The same in figures: `heads` are the tasks, each row its name and its cells (figure, interval)."""

    title: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[str, str]]]]


@dataclass(frozen=True)
class Matrices:
    """The heat maps of one arm, side by side, and their tables."""

    name: str
    bound: str
    maps: Sequence[Map]
    tables: Sequence[Table]
    narrow: bool


def matrices(arms: Sequence[Arm], tasks: Sequence[str]) -> list[Matrices]:
    """Both heat maps of every arm that measured anything; the one with the task not known only where that says more."""
    return [found for arm in arms if (found := _of(arm, tasks)).maps]


def _of(arm: Arm, tasks: Sequence[str]) -> Matrices:
    named = [("Task known", arm.known), ("Task not known", arm.agnostic)]
    if arm.alike:
        named = [("Task known or not: the answers are the same", arm.known)]
    shown = [(title, matrix) for title, matrix in named if _any(matrix)]
    narrow = len(tasks) <= 8 and len(shown) > 1  # side by side on a desktop, one below the other where they are large
    maps = []
    for title, matrix in shown:
        rows = [at for at in range(len(arm.rows)) if at < len(matrix) and any(matrix[at])]
        most = 350.0 if narrow else math.inf
        draw = partial(heat_map, matrix, arm.rows, arm.learned, tasks, rows, f"{arm.label}, {title.lower()}", most)
        maps.append(Map(title, both(draw)))
    return Matrices(arm.label, arm.bound, maps, [_table(arm, title, matrix, tasks) for title, matrix in shown], narrow)


def _any(matrix: Matrix) -> bool:
    return any(cell for row in matrix for cell in row)


def _table(arm: Arm, title: str, matrix: Matrix, tasks: Sequence[str]) -> Table:
    def cell(one: Measured | None) -> tuple[str, str]:
        return (one.percent, one.between) if one else (words.UNKNOWN, "")

    rows = [(name, [cell(one) for one in row]) for name, row in zip(arm.rows, matrix, strict=False) if any(row)]
    return Table(f"{title}, in figures", list(tasks), rows)


def heat_map(
    matrix: Matrix,
    names: Sequence[str],
    learned: Sequence[int],
    tasks: Sequence[str],
    rows: Sequence[int],
    spoken: str,
    most: float,
    width: float,
) -> Markup:
    """A row after each task, a column per task; depth of colour and figure are the accuracy.

    Cells of tasks that were not learned yet have a dashed edge: what the network said of them before. Wider than `width`
    where the cells would not hold their figures, never wider than `most` where they do.
    """
    width = min(width, most)
    text = 12.5 if len(tasks) <= 12 else 11.0
    gutter = min(0.34 * width, 12 + max(text_width(names[at], text) for at in rows))
    longest = min(96.0, max(text_width(name, text) for name in tasks))
    aslant = len(tasks) <= 12
    head, margin = (0.74 * longest + 16, 0.7 * longest) if aslant else (longest + 12, 2.0)
    cell = max(min(64.0, (width - gutter - margin) / len(tasks)), SMALLEST)
    high = max(min(cell, 44.0), SMALLEST)
    parts = []
    for place, at in enumerate(rows):
        y = head + high * place
        parts.append(label(gutter - 7, y + high / 2 + 4, fit(names[at], gutter - 8, text), anchor="end", size=text))
        for column, one in enumerate(matrix[at]):
            parts.append(_cell(one, gutter + cell * column, y, cell, high, column >= learned[at]))
    for column, name in enumerate(tasks):
        x = gutter + cell * (column + 0.5) + text / 3
        turn = f"translate({x:.1f} {head - 7:.1f}) rotate({-45 if aslant else -90})"
        parts.append(tag("text", fit(name, 96, text), transform=turn, font_size=text))
    told = "; ".join(f"{names[at]}: {', '.join(_spoken(tasks, matrix[at]))}" for at in rows)
    across, down = gutter + cell * len(tasks) + margin, head + high * len(rows) + 2
    return drawing(across, down, f"Accuracy matrix of {spoken}: {told}", *parts, class_="chart matrix")


def _spoken(tasks: Sequence[str], row: Sequence[Measured | None]) -> list[str]:
    return [f"{name} {one.percent}" for name, one in zip(tasks, row, strict=True) if one]


def _cell(one: Measured | None, x: float, y: float, wide: float, high: float, early: bool) -> Markup:
    box: dict[str, float] = {"x": x + 0.5, "y": y + 0.5, "width": wide - 1, "height": high - 1}
    if one is None:
        return tag("rect", **box, rx=2, class_="cell empty")
    share = min(max(one.mean, 0.0), 1.0)
    depth = 0.04 + 0.9 * share**2  # the square spreads the upper half, where accuracies lie
    tone = "on" if depth > 0.86 else "mid" if depth > 0.57 else "off"  # as each can best be read, light and dark
    places = 1 if text_width("99.9", 12.5) <= wide - 6 else 0
    figure = words.percent(one.mean, places).partition(words.NARROW)[0]
    size = min(12.5, (wide - 4) / (0.57 * max(len(figure), 2)))
    kind = "cell right early" if early else "cell right"
    square = tag("rect", **box, rx=2, class_=kind, style=f"--d:{depth:.2f}")
    middle = label(x + wide / 2, y + high / 2 + size * 0.36, figure, class_=tone, anchor="middle", size=size)
    return tag("g", square, middle)
