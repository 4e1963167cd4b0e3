"""Task by task, of the saved network: what is taken for what, ROC curves, and true numbers against those said."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import SMALL, upright_grid
from headstart.report.extend_course import Panel
from headstart.report.folder import number, rows_of, table_of
from headstart.report.matrix import LARGEST, heat_map, spoken_share, top_confusions
from headstart.report.multitask_read import KINDS, Found, Task
from headstart.report.svg import NARROW, Scale, both, drawing, label, line, path, tag

SIDE = 300.0
"""Width of a square picture in pixels."""

SHOWN = 6
"""Most ROC curves of one task that are open."""


@dataclass(frozen=True)
class Shown:
    """One task. `rocs` are its questions' curves, `confusion` and `scatter` what belongs to its kind; None else."""

    name: str
    kind: str
    lead: str
    main: bool
    confusion: Markup | None
    mistakes: Sequence[tuple[str, str, str]]
    rocs: Sequence[Panel]
    scatter: Markup | None
    without: Sequence[str]


def details(found: Found) -> list[Shown]:
    """Every task that the saved network was looked at, the main one first."""
    test = table_of(found.summary.get("test"))
    tasks = sorted(found.tasks, key=lambda task: not task.main)
    return [_shown(found, task, row) for task in tasks if (row := table_of(test.get(task.name)))]


def _shown(found: Found, task: Task, row: Mapping[str, Any]) -> Shown:
    counts = _counts(row.get("confusion"), len(task.classes))
    questions = rows_of(row.get("questions")) or ([dict(row)] if "roc" in row else [])
    curves = [(one, points) for one in questions if (points := _points(one.get("roc")))]
    missing = [str(one.get("question") or task.name) for one in questions if not _points(one.get("roc"))]
    listed = top_confusions(counts, task.classes) if len(task.classes) > 2 else ()  # two classes: the picture says it all
    mistakes = [(one.true, one.predicted, spoken_share(one)) for one in listed]
    return Shown(
        name=task.name,
        kind=KINDS.get(task.kind, words.human(task.kind)),
        lead=_lead(found, task, number(row.get("images"))),
        main=task.main,
        confusion=_confusion(counts, task.classes),
        mistakes=mistakes,
        rocs=[_roc(str(one.get("question") or task.name), one, points) for one, points in curves],
        scatter=_scatter(task, row),
        without=missing,
    )


def _confusion(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup | None:
    """None where there are no counts, or too many classes to be read; of two classes it stands beside the ROC curve."""
    if not counts or len(classes) > LARGEST:
        return None
    return heat_map(counts, classes, SIDE) if len(classes) == 2 else both(partial(heat_map, counts, classes))


def _lead(found: Found, task: Task, images: float | None) -> str:
    one = found.best.on(task) if found.best else None
    judged = f"{words.plural(images, 'test image')} with an answer" if images is not None else "Test images with an answer"
    if one is None:
        return f"{judged}; {task.measure.text} is not defined on them."
    span = f" ({task.measure.between(one.span)})" if one.span else ""
    way = f"; {task.measure.way}" if task.measure.known and not task.measure.higher else ""
    return f"{judged}; {task.measure.text} {task.measure.value(one.mean)}{span}{way}."


def _counts(value: Any, size: int) -> list[list[int]]:
    """A square matrix of counts, or none."""
    rows = value if isinstance(value, list) else []
    if not size or len(rows) != size or any(not isinstance(row, list) or len(row) != size for row in rows):
        return []
    return [[int(number(cell) or 0) for cell in row] for row in rows]


def _points(value: Any) -> list[tuple[float, float]]:
    """Points of a ROC curve."""
    table = table_of(value)
    across, up = table.get("false_positive"), table.get("true_positive")
    if not isinstance(across, list) or not isinstance(up, list) or len(across) != len(up) or len(across) < 2:
        return []
    found = [
        (x, y) for a, b in zip(across, up, strict=True) if (x := number(a)) is not None and (y := number(b)) is not None
    ]
    return found if len(found) == len(across) else []


def _roc(title: str, row: Mapping[str, Any], points: Sequence[tuple[float, float]]) -> Panel:
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(points))
    yes, no = number(row.get("yes")), number(row.get("no"))
    note = f"area {words.percent(area)}" + (f"; {words.count(yes)} yes, {words.count(no)} no" if yes and no else "")
    return Panel(title, _roc_chart(points, title, area), note)


def _roc_chart(points: Sequence[tuple[float, float]], title: str, area: float) -> Markup:
    """Found yes against false yes; the diagonal is guessing."""
    x, y = Scale(0, 1, 46, SIDE - 12), Scale(0, 1, SIDE - 46, 10)
    parts = upright_grid(y, 46, SIDE - 12, True)
    for tick in (0.0, 0.5, 1.0):
        anchor, at = ("end", SIDE) if tick == 1 else ("middle", x(tick))
        parts.append(label(at, SIDE - 28, words.percent(tick, 0), class_="tick", anchor=anchor))
    parts.append(line(x(0), y(0), x(1), y(1), "guide"))
    parts.append(path([(x(a), y(b)) for a, b in points], "line bold"))
    parts.append(label((46 + SIDE) / 2, SIDE - 8, "called yes though no", class_="muted", anchor="middle", size=SMALL))
    spoken = f"ROC curve of {title}: area under it {words.percent(area)}"
    return drawing(SIDE, SIDE, spoken, *parts)


def _scatter(task: Task, row: Mapping[str, Any]) -> Markup | None:
    truth, said = row.get("true"), row.get("said")
    if not isinstance(truth, list) or not isinstance(said, list) or len(truth) != len(said):
        return None
    pairs = [
        (a, b) for x, y in zip(truth, said, strict=True) if (a := number(x)) is not None and (b := number(y)) is not None
    ]
    return both(partial(_dots, pairs, task.name)) if pairs else None


def _dots(pairs: Sequence[tuple[float, float]], name: str, width: float) -> Markup:
    """What was said against what is true, one dot per image; on the diagonal it is right."""
    side = min(width, 430.0) if width > 500 else NARROW
    values = [one for pair in pairs for one in pair]
    low, high = min(values), max(values)
    air = 0.05 * (high - low) or max(abs(high) * 0.05, 0.5)
    x, y = Scale(low - air, high + air, 56, side - 12), Scale(low - air, high + air, side - 46, 10)
    parts = list(_grid(x, y, side))
    parts.append(line(x(x.low), y(x.low), x(x.high), y(x.high), "guide"))
    parts += [tag("circle", cx=x(a), cy=y(b), r=3, class_="mark") for a, b in pairs]
    parts.append(label((56 + side) / 2, side - 8, "true", class_="muted", anchor="middle", size=SMALL))
    parts.append(label(62, 20, "said", class_="muted", size=SMALL))
    spoken = f"{name}: said against true, {words.plural(len(pairs), 'image')} between {words.figures(low)} and "
    return drawing(side, side, f"{spoken}{words.figures(high)}", *parts)


def _grid(x: Scale, y: Scale, side: float) -> Iterator[Markup]:
    for tick in x.ticks(5):
        yield line(x(tick), 10, x(tick), side - 46, "grid")
        yield label(x(tick), side - 28, words.figures(tick), class_="tick", anchor="middle")
    for tick in y.ticks(5):
        yield line(56, y(tick), side - 12, y(tick), "grid")
        yield label(49, y(tick) + 4, words.figures(tick), class_="tick", anchor="end")
