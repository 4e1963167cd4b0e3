"""Learning curves of `headstart extend`: how each task stands while one more is being learned, and the losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import Series, line_chart
from headstart.report.extend_course import Panel, colour
from headstart.report.extend_read import Arm
from headstart.report.folder import RunFolder, number, rows_of, table_of
from headstart.report.svg import NARROW, padded

HEIGHT, LOW = 190.0, 110.0
NOUGHT = 1e-12

Line = list[tuple[float, float]]


@dataclass(frozen=True)
class Group:
    """The panels of one arm."""

    name: str
    panels: Sequence[Panel]
    losses: Sequence[Panel]


@dataclass(frozen=True)
class Curves:
    """The section; `legend` pairs a line's class with the task it stands for."""

    lead: str
    legend: Sequence[tuple[str, str]]
    groups: Sequence[Group]


@dataclass
class _Learned:
    """One task being learned: its stages one after another, accuracy per watched task, loss and its terms."""

    task: str
    accuracy: dict[str, Line] = field(default_factory=dict)
    loss: Line = field(default_factory=list)
    terms: dict[str, Line] = field(default_factory=dict)
    starts: list[float] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    length: float = 0.0


def curves(run: RunFolder, arms: Sequence[Arm], tasks: Sequence[str]) -> Curves | None:
    """Curves of every arm, from the summary, or from the log of a run that did not get so far; None without any."""
    found = [(arm.label, _learned(rows_of(arm.raw.get("curves")))) for arm in arms]
    logged = False
    if not any(parts for _, parts in found):
        found, logged = _from_log(run), True
    named = set(chain(*(part.accuracy for _, parts in found for part in parts)))
    order = [*tasks, *sorted(named - set(tasks))]  # a log may tell of tasks that no summary named yet
    groups = [group for name, parts in found if (group := _group(name, parts, order)).panels or group.losses]
    if not groups:
        return None
    legend = [(f"task {colour(place)}", name) for place, name in enumerate(order) if name in named]
    return Curves(_lead(run, bool(named), logged), legend, groups)


def _lead(run: RunFolder, accuracy: bool, logged: bool) -> str:
    watched = str(run.summary.get("watched") or "")
    lead = "How the tasks stand while one more is being learned" if accuracy else "Losses while a task is being learned"
    lead += f"; measured on {watched.removesuffix('.')}" if watched and accuracy else ""
    lead += ", as far as the log of this unfinished run tells" if logged and not run.finished else ""
    return f"{lead}. Upright lines: a new stage begins."


def _learned(rows: Sequence[Mapping[str, Any]]) -> list[_Learned]:
    """Stages of one task follow each other; of several seeds the first one's are drawn."""
    seeds = [row.get("seed") for row in rows if row.get("seed") is not None]
    found: dict[str, _Learned] = {}
    for row in rows:
        if seeds and row.get("seed") not in (None, seeds[0]):
            continue
        name = str(row.get("task") or "a task")
        _add(found.setdefault(name, _Learned(name)), str(row.get("stage") or ""), rows_of(row.get("points")))
    return [one for one in found.values() if one.length]


def _add(one: _Learned, stage: str, points: Sequence[Mapping[str, Any]]) -> None:
    """One more stage, its epochs counted on from those before."""
    placed = sorted(((e, p) for p in points if (e := number(p.get("epoch"))) is not None), key=lambda pair: pair[0])
    if not placed:
        return
    start, ahead = one.length, 1.0 if placed[0][0] == 0 else 0.0  # epochs may be counted from nought
    one.starts.append(start)
    one.stages.append(stage)
    for epoch, point in placed:
        x = start + epoch + ahead
        for lines, key in ((one.accuracy, "accuracy"), (one.terms, "losses")):
            for name, value in table_of(point.get(key)).items():
                if (y := number(value)) is not None:
                    lines.setdefault(str(name), []).append((x, y))
        if (y := number(point.get("loss"))) is not None:
            one.loss.append((x, y))
        one.length = x


def _from_log(run: RunFolder) -> list[tuple[str, list[_Learned]]]:
    """What the log of a run without a summary tells: losses, and accuracies where it looked. Repeated epochs count once."""
    found: dict[str, dict[tuple[str, str], dict[float, Mapping[str, Any]]]] = {}
    for line in run.events("epoch"):
        epoch, at = number(line.get("epoch")), number(line.get("increment"))
        if epoch is None or not line.get("run"):
            continue
        task = f"new task {words.count(at + 1)}" if at is not None else "a new task"
        stages = found.setdefault(str(line["run"]), {})
        stages.setdefault((task, str(line.get("stage") or "")), {})[epoch] = {**line, "accuracy": _looked(line)}
    return [
        (name, _learned([{"task": t, "stage": s, "points": [*epochs.values()]} for (t, s), epochs in stages.items()]))
        for name, stages in found.items()
    ]


def _looked(line: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracies of one line of the log: keys that begin with "accuracy " and go on with the task's name."""
    return {str(key).removeprefix("accuracy "): value for key, value in line.items() if str(key).startswith("accuracy ")}


def _group(name: str, parts: Sequence[_Learned], tasks: Sequence[str]) -> Group:
    values = [y for one in parts for line in one.accuracy.values() for _, y in line]
    limits = padded(values, least=0.1) if values else (0.0, 1.0)
    return Group(
        name,
        [_accuracy(one, tasks, limits) for one in parts if one.accuracy],
        [_losses(one) for one in parts if one.loss or one.terms],
    )


def _title(one: _Learned) -> str:
    return f"Learning {one.task}"


def _note(one: _Learned) -> str:
    named = [words.human(stage) for stage in one.stages if stage]
    return " → ".join(dict.fromkeys(named)) if len(named) > 1 else ""


def _accuracy(one: _Learned, tasks: Sequence[str], limits: tuple[float, float]) -> Panel:
    series = [Series(line, f"task {colour(tasks.index(name))}") for name, line in one.accuracy.items()]
    ends = ", ".join(f"{name} {words.percent(line[-1][1])}" for name, line in one.accuracy.items())
    return Panel(
        _title(one),
        _lines(series, one, HEIGHT, f"Accuracy while learning {one.task}; at the end {ends}", limits),
        _note(one),
    )


def _losses(one: _Learned) -> Panel:
    """The whole loss bold; where it has several terms, each of them thin."""
    series = [Series(line, "thin") for line in one.terms.values()] if len(one.terms) > 1 else []
    series += [Series(one.loss, "loss")] if one.loss else []
    if not series:
        series = [Series(line, "loss") for line in one.terms.values()]
    values = [y for s in series for _, y in s.points]
    low, high = min(0.0, *values), max(0.0, *values)
    limits = (low, high * 1.05) if high - low > NOUGHT else (0.0, 1.0)
    last = f"; at the end {words.figures(one.loss[-1][1])}" if one.loss else ""
    note = f"thin: {words.listed(words.human(name) for name in one.terms)}" if len(one.terms) > 1 else ""
    return Panel(one.task, _lines(series, one, LOW, f"Loss while learning {one.task}{last}", limits, False), note)


def _lines(
    series: Sequence[Series], one: _Learned, height: float, spoken: str, limits: tuple[float, float], percent: bool = True
) -> Markup:
    last = one.length
    places = sorted({1.0, last, *([float(round((1 + last) / 2))] if last > 4 else [])})
    ticks = [(x, f"epoch {words.count(x)}" if x == last else words.count(x)) for x in places]
    marks = one.starts[1:]
    return line_chart(series, NARROW, height, spoken, x_ticks=ticks, y_range=limits, y_percent=percent, marks=marks)
