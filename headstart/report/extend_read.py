"""What a run of `headstart extend` wrote, read into one shape: tasks, and arms with their numbers.

Nothing is taken for granted: a number that is absent, not finite or not a number is None, a list that is none is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.report import words
from headstart.report.folder import number, rows_of, table_of

ROLES = {"lower": "lower bound", "upper": "upper bound"}
"""Roles of arms besides the method asked for, as a person says them."""

CAME = "as it came"
"""The row of the model before it learned anything new."""


@dataclass(frozen=True)
class Measured:
    """A mean and the ends of its 95 % interval, where it has one."""

    mean: float
    span: tuple[float, float] | None = None

    @property
    def percent(self) -> str:
        return words.percent(self.mean)

    @property
    def between(self) -> str:
        """The interval as text, empty without one."""
        return words.percent_range(self.span) if self.span else ""

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out nought."""
        return self.span is not None and not self.span[0] <= 0 <= self.span[1]


def measured(value: Any) -> Measured | None:
    """`{mean, low, high}` or a bare number; None when there is no mean."""
    table = table_of(value)
    mean = number(table.get("mean")) if table else number(value)
    if mean is None:
        return None
    low, high = number(table.get("low")), number(table.get("high"))
    return Measured(mean, None if low is None or high is None else (low, high))


@dataclass(frozen=True)
class Task:
    """One task in the order learned. `images` it was learned from, `tests` it is judged on; None where not known."""

    name: str
    new: bool
    judged: bool
    classes: tuple[str, ...]
    images: float | None
    tests: float | None
    where: str


Matrix = Sequence[Sequence[Measured | None]]


@dataclass(frozen=True)
class Arm:
    """One method as it was run.

    rows      what was learned before each row of `known` and `agnostic` (`[rows][tasks]`), the accuracies with the task
              known and not known; rows without any measurement are left out
    learned   per row, how many tasks had been learned
    listed    classes make one list, so that what counts is measured with the task not known: `before`, `after`, `change`,
              `forgetting` and `backward` are; else with the task known
    raw       the arm as it was written, for what only one section reads
    """

    name: str
    role: str
    listed: bool
    family: str
    summary: str
    limits: tuple[str, ...]
    seeds: int
    rows: tuple[str, ...]
    learned: tuple[int, ...]
    known: Matrix
    agnostic: Matrix
    new: Measured | None
    new_agnostic: Measured | None
    before: Measured | None
    after: Measured | None
    change: Measured | None
    agnostic_after: Measured | None
    average: Measured | None
    agnostic_average: Measured | None
    forgetting: Measured | None
    backward: Measured | None
    old_bytes: float | None
    old_images: float | None
    old_what: str
    training: float | None
    training_parts: Mapping[str, float]
    inference: float | None
    stored: float | None
    stored_parts: Mapping[str, float]
    parameters: float | None
    seconds: float | None
    raw: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The method's name as a person reads it."""
        return words.human(self.name)

    @property
    def learned_new(self) -> Measured | None:
        """Accuracy on the new task, as it counts."""
        return (self.new_agnostic or self.new) if self.listed else self.new

    @property
    def overall(self) -> Measured | None:
        """Average accuracy, as it counts."""
        return (self.agnostic_average or self.average) if self.listed else self.average

    @property
    def alike(self) -> bool:
        """Whether being told the task changes nothing, as with one head for all tasks."""
        return any(map(any, self.known)) and _means(self.known) == _means(self.agnostic)

    @property
    def bound(self) -> str:
        """`lower bound` or `upper bound`, empty for a method."""
        return ROLES.get(self.role, "")


def tasks_of(summary: Mapping[str, Any]) -> list[Task]:
    """All tasks in the order learned."""
    return [
        Task(
            str(row.get("name") or f"task {place}"),
            row.get("role") != "old",
            bool(row.get("judged", number(row.get("test_images")) is not None)),
            tuple(str(name) for name in _list(row.get("classes"))),
            number(row.get("images")),
            number(row.get("test_images")),
            str(row.get("where") or ""),
        )
        for place, row in enumerate(rows_of(summary.get("tasks")), 1)
    ]


def arms_of(summary: Mapping[str, Any]) -> list[Arm]:
    """All arms, the method asked for first."""
    tasks, listed = tasks_of(summary), summary.get("scenario") == "class"
    return [_arm(row, tasks, listed) for row in rows_of(summary.get("arms")) if row.get("name")]


def _arm(row: Mapping[str, Any], tasks: Sequence[Task], listed: bool) -> Arm:
    first = "agnostic_" if listed and any(key in row for key in ("agnostic_old", "agnostic_forgetting")) else ""
    new, old, needed = (table_of(row.get(key)) for key in ("new", f"{first}old", "old_data"))
    flops, stored = table_of(row.get("flops")), table_of(row.get("stored"))
    known, agnostic = _matrix(row.get("matrix"), len(tasks)), _matrix(row.get("agnostic"), len(tasks))
    size = max(len(known), len(agnostic))
    shown = [at for at in range(size) if any(one for m in (known, agnostic) if at < len(m) for one in m[at])]
    names = [str(name) for name in _list(row.get("rows"))] or [task.name for task in tasks]
    return Arm(
        name=str(row["name"]),
        role=str(row.get("role") or "method"),
        listed=bool(first),
        family=str(row.get("family") or ""),
        summary=str(row.get("summary") or ""),
        limits=_texts(row.get("limits")),
        seeds=len(_list(row.get("seeds"))) or 1,
        rows=tuple(_row_name(at, names, tasks) for at in shown),
        learned=tuple(at + 1 for at in shown),
        known=[known[at] if at < len(known) else [] for at in shown],
        agnostic=[agnostic[at] if at < len(agnostic) else [] for at in shown],
        new=measured(new.get("accuracy")),
        new_agnostic=measured(new.get("agnostic")),
        before=measured(old.get("before")),
        after=measured(old.get("after")),
        change=measured(old.get("change")),
        agnostic_after=measured(table_of(row.get("agnostic_old")).get("after")) or _kept(agnostic, tasks),
        average=measured(row.get("average_accuracy")),
        agnostic_average=measured(row.get("agnostic_average")),
        forgetting=measured(row.get(f"{first}forgetting")),
        backward=measured(row.get(f"{first}backward_transfer")),
        old_bytes=number(needed.get("bytes")),
        old_images=number(needed.get("images")),
        old_what=str(needed.get("what") or ""),
        training=number(flops.get("training")),
        training_parts=_parts(flops.get("parts")),
        inference=number(flops.get("inference")),
        stored=number(stored.get("bytes")),
        stored_parts=_parts({key: value for key, value in stored.items() if key not in ("bytes", "parameters")}),
        parameters=number(stored.get("parameters")),
        seconds=number(row.get("seconds")),
        raw=row,
    )


def _row_name(at: int, names: Sequence[str], tasks: Sequence[Task]) -> str:
    """The row of the last old task is the model as it came; an old task is not learned here."""
    if at < len(tasks) and not tasks[at].new:
        return CAME if at + 1 == len(tasks) or tasks[at + 1].new else f"after {tasks[at].name}"
    return f"after {names[at]}" if at < len(names) else f"row {at + 1}"


def _matrix(value: Any, columns: int) -> Matrix:
    """Rows of `columns` cells each, short ones filled with None."""
    found = [[measured(cell) for cell in _list(row)] for row in _list(value)]
    return [[*row[:columns], *[None] * (columns - len(row))] for row in found]


def _means(matrix: Matrix) -> list[list[float | None]]:
    return [[cell.mean if cell else None for cell in row] for row in matrix]


def _kept(matrix: Matrix, tasks: Sequence[Task]) -> Measured | None:
    """Mean of the last row over the tasks from before (all but the last where none is): an estimate without an interval."""
    old = [at for at, task in enumerate(tasks) if not task.new] or list(range(len(tasks) - 1))
    found = [one.mean for at in old if matrix and at < len(matrix[-1]) and (one := matrix[-1][at])]
    return Measured(sum(found) / len(found)) if found else None


def _parts(value: Any) -> dict[str, float]:
    """Parts that are more than nought, by name."""
    return {words.human(str(k)): v for k, one in table_of(value).items() if (v := number(one)) is not None and v > 0}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    """A sentence, or several, as texts."""
    return (value,) if isinstance(value, str) and value else tuple(str(one) for one in _list(value) if one)
