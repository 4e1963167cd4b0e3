"""What a run of `headstart multitask` wrote, read into one shape: tasks, measures, arms and differences.

Nothing is taken for granted: a number that is absent, not finite or not a number is None, a list that is none is empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headstart.report import words
from headstart.report.extend_read import Measured, measured
from headstart.report.folder import number, rows_of, table_of

KINDS = {
    "classes": "one of several classes",
    "yes_no": "yes or no",
    "several": "several yes/no questions",
    "number": "a number",
}
"""Kinds of questions, as a person says them."""

EACH = "a network each"
"""What the networks for one task alone are called together."""


@dataclass(frozen=True)
class Measure:
    """One measure. Shares are shown in percent and their differences in points; errors and R² as plain figures.

    known  whether the run wrote what the measure is; without that nobody can say which direction is better
    """

    name: str
    text: str
    higher: bool = True
    known: bool = True

    @property
    def share(self) -> bool:
        return self.known and self.higher and self.name != "r2"

    def possible(self, span: tuple[float, float] | None) -> tuple[float, float] | None:
        """An interval as far as such values can be: with few seeds Student's t reaches beyond."""
        least, most = (0.0, 1.0) if self.share else (0.0, math.inf) if not self.higher else (-math.inf, 1.0)
        if span is None or not self.known:
            return span
        return min(max(span[0], least), most), max(min(span[1], most), least)

    @property
    def way(self) -> str:
        """Which direction is better, in words."""
        return "" if not self.known else "more is better" if self.higher else "less is better"

    def value(self, found: float | None) -> str:
        """94.2 % or 0.148."""
        return words.percent(found) if self.share else words.figures(found)

    def between(self, span: tuple[float, float] | None) -> str:
        """An interval of values, empty without one."""
        if span is None:
            return ""
        return words.percent_range(span) if self.share else f"{words.figures(span[0])} to {words.figures(span[1])}"

    def gap(self, better: float | None, *, unit: bool = True) -> str:
        """A difference of which more is better, as it is drawn: +3.2 points; for errors +0.135 is so much less error."""
        if better is None:
            return words.UNKNOWN
        if self.share:
            text = words.points(better, sign=True)
            return text if unit else text.partition(" ")[0]
        return f"{'+' if better > 0 else ''}{words.figures(better)}"

    def gaps(self, span: tuple[float, float] | None) -> str:
        """The interval of a difference."""
        if span is None:
            return ""
        return words.points_range(span) if self.share else f"{words.figures(span[0])} to {words.figures(span[1])}"

    def told(self, better: float) -> str:
        """A difference in words: 3.2 points better, or: mean absolute error 0.135 larger."""
        size = abs(better)
        if self.share:
            return f"{words.points(size)} {'better' if better > 0 else 'worse'}"
        larger = (better > 0) is self.higher
        return f"{self.text} {words.figures(size)} {'larger' if larger else 'smaller'}"


@dataclass(frozen=True)
class Task:
    """One question. `known` counts labels by part of the data; `main` is the one that counts."""

    name: str
    kind: str
    classes: tuple[str, ...]
    main: bool
    measure: Measure
    known: Mapping[str, float]


@dataclass(frozen=True)
class Gap:
    """How much better `a` is than `b` on a task, in its measure; positive is better, also where less of the measure is."""

    task: str
    a: str
    b: str
    measure: Measure
    mean: float
    span: tuple[float, float] | None
    p: float | None
    decided: bool
    detectable: float | None
    helper: str = ""

    @property
    def said(self) -> str:
        """`better`, `worse` or `undecided`."""
        return "undecided" if not self.decided else "better" if self.mean > 0 else "worse"


@dataclass(frozen=True)
class Arm:
    """One way to train some of the tasks.

    role      single (a network for one task alone), sum, asked, without (all tasks but one)
    measures  task -> measure -> value
    delta     mean relative change against a network each, in percent
    raw       as it was written, for what only one section reads
    """

    name: str
    role: str
    sharing: str
    weighting: str
    tasks: tuple[str, ...]
    measures: Mapping[str, Mapping[str, Measured | None]]
    delta: Measured | None
    parameters: float | None
    bytes: float | None
    training: float | None
    seconds: float | None
    memory: float | None
    raw: Mapping[str, Any]

    def on(self, task: Task) -> Measured | None:
        """What it was compared by."""
        return self.measures.get(task.name, {}).get(task.measure.name)


@dataclass(frozen=True)
class Found:
    """A whole run. `together` are arms that answer all questions, `alone` those for one each, by task."""

    tasks: Sequence[Task]
    measures: Mapping[str, Measure]
    arms: Sequence[Arm]
    gaps: Sequence[Gap]
    helpers: Sequence[Gap]
    chosen: str
    baseline: str
    main: str
    seeds: int
    summary: Mapping[str, Any]

    @property
    def together(self) -> list[Arm]:
        found = [arm for arm in self.arms if arm.role in ("sum", "asked")]
        return sorted(found, key=lambda arm: arm.name != self.chosen)  # the saved one first, the others as they came

    @property
    def alone(self) -> dict[str, Arm]:
        return {arm.tasks[0]: arm for arm in self.arms if arm.role == "single" and arm.tasks}

    @property
    def best(self) -> Arm | None:
        """The arm whose network was saved."""
        return next((arm for arm in self.arms if arm.name == self.chosen), None)

    def against(self, arm: str, *, plain: bool) -> list[Gap]:
        """Its differences against the plain sum, or against the tasks' own networks, in the order of the tasks."""
        order = [task.name for task in self.tasks]
        singles = {one.name for one in self.alone.values()}
        found = [gap for gap in self.gaps if gap.a == arm and (gap.b == self.baseline if plain else gap.b in singles)]
        return sorted(found, key=lambda gap: order.index(gap.task) if gap.task in order else len(order))


def read(summary: Mapping[str, Any]) -> Found:
    """Everything of summary.json that a section shows."""
    measures = measures_of(summary)
    tasks = [_task(row, measures) for row in rows_of(summary.get("tasks")) if _text(row.get("name"))]
    return Found(
        tasks=tasks,
        measures=measures,
        arms=[_arm(row, measures) for row in rows_of(summary.get("arms")) if _text(row.get("name"))],
        gaps=[gap for row in rows_of(summary.get("differences")) if (gap := _gap(row, measures))],
        helpers=_helpers(summary, measures, [task.name for task in tasks]),
        chosen=_text(summary.get("chosen")),
        baseline=_text(summary.get("baseline")),
        main=_text(summary.get("main")),
        seeds=max(1, len(seeds)) if isinstance(seeds := summary.get("seeds"), list) else 1,
        summary=summary,
    )


def _helpers(summary: Mapping[str, Any], measures: Mapping[str, Measure], order: Sequence[str]) -> list[Gap]:
    """What every task did for others, by the task that was helped."""
    found = [gap for row in rows_of(summary.get("helpers")) if (gap := _gap(row, measures)) and gap.helper]
    return sorted(found, key=lambda gap: order.index(gap.task) if gap.task in order else len(order))


def measures_of(summary: Mapping[str, Any]) -> dict[str, Measure]:
    """The measures that the run describes."""
    found = {}
    for name, value in table_of(summary.get("measures")).items():
        row = table_of(value)
        if row:
            text = _text(row.get("words")) or words.human(str(name))
            found[str(name)] = Measure(str(name), text, row.get("higher") is not False, "higher" in row)
    return found


def measure_of(name: Any, measures: Mapping[str, Measure]) -> Measure:
    """A measure by its name; one that the run does not describe has no direction."""
    text = _text(name)
    return measures.get(text) or Measure(text, words.human(text) or "the measure", known=False)


def _task(row: Mapping[str, Any], measures: Mapping[str, Measure]) -> Task:
    classes = row.get("classes")
    return Task(
        name=str(row["name"]),
        kind=_text(row.get("kind")),
        classes=tuple(str(one) for one in classes) if isinstance(classes, list) else (),
        main=row.get("main") is True,
        measure=measure_of(row.get("measure"), measures),
        known={str(part): n for part, value in table_of(row.get("known")).items() if (n := number(value)) is not None},
    )


def _arm(row: Mapping[str, Any], measures: Mapping[str, Measure]) -> Arm:
    tasks = row.get("tasks")
    return Arm(
        name=str(row["name"]),
        role=_text(row.get("role")),
        sharing=_text(row.get("sharing")),
        weighting=_text(row.get("weighting")),
        tasks=tuple(str(one) for one in tasks) if isinstance(tasks, list) else (),
        measures={
            str(task): {str(name): _measured(value, measure_of(name, measures)) for name, value in table_of(found).items()}
            for task, found in table_of(row.get("measures")).items()
        },
        delta=measured(row.get("delta_m")),
        parameters=number(row.get("parameters")),
        bytes=number(row.get("bytes")),
        training=number(table_of(row.get("flops")).get("training")),
        seconds=number(row.get("seconds")),
        memory=number(row.get("memory")),
        raw=row,
    )


def _measured(value: Any, measure: Measure) -> Measured | None:
    found = measured(value)
    return None if found is None else replace(found, span=measure.possible(found.span))


def _gap(row: Mapping[str, Any], measures: Mapping[str, Measure]) -> Gap | None:
    """None when it does not say who was compared on what, with what outcome."""
    found = measured(row)
    if found is None or not all(isinstance(row.get(key), str) for key in ("task", "a", "b")):
        return None
    measure = measure_of(row.get("measure"), measures)
    span = found.span
    if span is not None and measure.share:  # no two shares differ by more than one
        span = max(span[0], -1.0), min(span[1], 1.0)
    return Gap(
        task=row["task"],
        a=row["a"],
        b=row["b"],
        measure=measure,
        mean=found.mean,
        span=span,
        p=number(row.get("p_value")),
        decided=row.get("decided") is True,
        detectable=number(row.get("detectable")),
        helper=_text(row.get("helper")),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
