"""Learning curves of `headstart distill`: agreement and divergence, which compare, then the losses, which do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from markupsafe import Markup

from headstart.report import words
from headstart.report.charts import Series, line_chart
from headstart.report.folder import number, rows_of, table_of
from headstart.report.svg import NARROW, padded

HEIGHT = 190.0
LINES = {"alone": "dashed", "born_again": "loss", "distilled": "bold"}
"""Class of the style sheet of each way of learning, in the order in which lines are laid over each other."""
NAMES = {"alone": "student alone", "born_again": "born again, all generations", "distilled": "distilled"}
NOUGHT = 1e-12

Line = list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One chart with its title and what it tells."""

    title: str
    plot: Markup
    note: str


@dataclass(frozen=True)
class Curves:
    """The section; `legend` pairs a line's class with what it means."""

    lead: str
    legend: Sequence[tuple[str, str]]
    panels: Sequence[Panel]
    losses: Sequence[Panel]


@dataclass(frozen=True)
class _Run:
    kind: str
    points: Sequence[tuple[float, Mapping[str, Any]]]

    def line(self, read: Callable[[Mapping[str, Any]], Any]) -> Line:
        return [(epoch, value) for epoch, point in self.points if (value := number(read(point))) is not None]


def curves(summary: Mapping[str, Any]) -> Curves | None:
    """Curves of all runs, every seed thin and their mean bold, or None when no epoch was written."""
    runs = [run for row in rows_of(summary.get("curves")) if (run := _run(row)) is not None]
    panels = [
        panel
        for key, title, note, as_percent in (
            ("agreement", "Agreement with the teacher", "share of images on which both say the same class", True),
            ("kl", "Distance from the teacher", "KL in nats; nought when the probabilities are the same", False),
        )
        if (panel := _panel(runs, title, note, _value(key), as_percent=as_percent)) is not None
    ]
    losses = _losses(runs)
    if not panels and not losses:
        return None
    found = {run.kind for run in runs}
    several = any(sum(run.kind == kind for run in runs) > 1 for kind in found)
    legend = [
        (LINES[kind], NAMES[kind] + (", mean of the seeds" if several else "")) for kind in reversed(LINES) if kind in found
    ]
    lead = "What counts is how near the student comes to its teacher, epoch by epoch. The losses below are sums of unlike "
    lead += "things: the soft loss holds the teacher's own entropy, which no student can remove."
    return Curves(lead, legend, panels, losses)


def _run(row: Mapping[str, Any]) -> _Run | None:
    points = [(epoch, point) for point in rows_of(row.get("points")) if (epoch := number(point.get("epoch"))) is not None]
    kind = str(row.get("kind"))
    return _Run(kind, sorted(points, key=lambda one: one[0])) if points and kind in LINES else None


def _losses(runs: Sequence[_Run]) -> list[Panel]:
    """The whole loss of each way of learning, and each term of those that have several."""
    found = []
    for kind in reversed(LINES):
        own = [run for run in runs if run.kind == kind]
        terms = list(dict.fromkeys(chain(*(table_of(point.get("losses")) for run in own for _, point in run.points))))
        title = f"Loss, {NAMES[kind]}"
        found.append(_panel(own, title, "on the training images", _value("loss"), as_percent=False))
        if len(terms) > 1:
            found += [
                _panel(own, f"{title}: {words.human(term)}", "this term alone", _term(term), as_percent=False)
                for term in terms
            ]
    return [panel for panel in found if panel is not None]


def _value(key: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda point: point.get(key)


def _term(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda point: table_of(point.get("losses")).get(name)


def _panel(
    runs: Sequence[_Run], title: str, note: str, read: Callable[[Mapping[str, Any]], Any], *, as_percent: bool
) -> Panel | None:
    by_kind = {kind: [line for run in runs if run.kind == kind if (line := run.line(read))] for kind in LINES}
    series, ends = [], []
    for kind, lines in by_kind.items():
        mean = _mean(lines)
        series += [Series(line, f"{LINES[kind]} fold") for line in lines] if len(lines) > 1 else []
        series += [Series(mean, LINES[kind])] if mean else []
        ends += [(kind, mean[-1][1])] if mean else []
    if not series:
        return None
    values = [y for one in series for _, y in one.points]
    limits = padded(values, least=0.04) if as_percent else _from_nought(values)
    unit = words.percent if as_percent else words.figures
    spoken = f"{title}, at the end: {', '.join(f'{NAMES[kind]} {unit(value)}' for kind, value in ends)}"
    last = max(x for one in series for x, _ in one.points)
    first = min(x for one in series for x, _ in one.points)
    plot = line_chart(series, NARROW, HEIGHT, spoken, x_ticks=_ticks(first, last), y_range=limits, y_percent=as_percent)
    return Panel(title, plot, note)


def _mean(lines: Sequence[Line]) -> Line:
    """Mean over the seeds at the epochs that every one of them reached."""
    found = [dict(line) for line in lines]
    shared = sorted(set.intersection(*(set(line) for line in found))) if found else []
    return [(x, sum(line[x] for line in found) / len(found)) for x in shared]


def _from_nought(values: Sequence[float]) -> tuple[float, float]:
    """From zero, so that what hardly falls looks so; lower where some values are negative."""
    low, high = min(0.0, *values), max(0.0, *values)
    air = 0.05 * (high - low)
    return (low - air if low < 0 else 0.0, high + air) if air > NOUGHT else (0.0, 1.0)


def _ticks(first: float, last: float) -> list[tuple[float, str]]:
    places = sorted({first, last, *([round((first + last) / 2)] if last - first > 3 else [])})
    return [(float(x), f"epoch {words.count(x)}" if x == last else words.count(x)) for x in places]
