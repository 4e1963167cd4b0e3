"""Weights of tasks that change as they train: formulas or a table, read and tried before anything trains; torch-free.

    weight_plan({"digit": "1", "parity": "1 - 0.5 * t"}, tasks=("digit", "parity"))
    weight_plan(Path("weights.csv"), tasks=("digit", "parity"))

A table has a column `epoch` (whole numbers from 1) and one per task. An epoch that it does not name has the weights of the
last one named before it (a step function), so the first epoch must be named. A formula that asks for `t` or `step` is
computed at every step, everything else once per epoch.
"""

from __future__ import annotations

import csv
import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Union

from headstart.catalog.expressions import Expression, expression
from headstart.errors import ConfigError, problems

Given = Union[Mapping[str, Any], str, Path, "WeightPlan"]
"""One formula or number per task; or a table, as columns (with one called `epoch`) or as a CSV, TSV or JSON file;
or one that is read already."""


@dataclass(frozen=True)
class WeightPlan:
    """What each task's loss counts at each step.

    tasks      names, in order
    formulas   one per task; none where a table says it
    table      epoch -> one weight per task; none where formulas say it
    normalise  whether the weights of every step are scaled to add up to the number of tasks
    source     where it is from, for messages
    """

    tasks: tuple[str, ...]
    formulas: tuple[Expression, ...] = ()
    table: Mapping[int, tuple[float, ...]] | None = None
    normalise: bool = False
    source: str = "schedule"

    def only(self, tasks: Sequence[str]) -> WeightPlan:
        """The same for some of the tasks."""
        places = [self.tasks.index(task) for task in tasks]
        formulas = tuple(self.formulas[place] for place in places) if self.formulas else ()
        table = None
        if self.table is not None:
            table = {epoch: tuple(row[place] for place in places) for epoch, row in self.table.items()}
        return replace(self, tasks=tuple(tasks), formulas=formulas, table=table)

    @property
    def moves(self) -> bool:
        """Whether weights can change within an epoch."""
        return any(one.moves for one in self.formulas)

    def at(self, step: int, steps: int, per_epoch: int) -> dict[str, float]:
        """Weights at `step` (from 0) of `steps`, of which `per_epoch` make an epoch."""
        found = self._raw(step, steps, per_epoch)
        if self.normalise and (total := sum(found)) > 0:
            found = [weight * len(found) / total for weight in found]
        return dict(zip(self.tasks, found, strict=True))

    def _raw(self, step: int, steps: int, per_epoch: int) -> list[float]:
        epoch = step // per_epoch + 1
        if self.table is not None:
            return list(self.table[max(one for one in self.table if one <= epoch)])
        values = _values(step, steps, per_epoch)
        return [one.at(values) for one in self.formulas]

    def check(self, steps: int, per_epoch: int = 1) -> None:
        """Raise ConfigError with everything that goes wrong in a training of `steps` steps, `per_epoch` an epoch.

        Without `per_epoch` the steps are taken for epochs: what goes wrong within one is then found by the check that the
        loop makes before its first step.
        """
        problems(ConfigError, f"{self.source} cannot be used:", self._faults(steps, per_epoch))

    def _faults(self, steps: int, per_epoch: int) -> Iterator[str]:
        found: dict[tuple[str, str], tuple[str, int]] = {}
        for low in range(0, steps, per_epoch):
            inside = range(low, min(low + per_epoch, steps)) if self.moves else (low,)
            rows = [self._row(step, steps, per_epoch, found) for step in inside]
            silent = [row for row in rows if not any(row)]
            if len(silent) == len(rows) or (self.normalise and silent):
                where, count = found.get(("", "every weight is 0"), (f"epoch {low // per_epoch + 1}", 0))
                found["", "every weight is 0"] = (where, count + 1)
        for (task, fault), (where, count) in found.items():
            more = f" and {count - 1} time{'s' if count > 2 else ''} more" if count > 1 else ""
            yield f"{f'task {task!r}, ' if task else ''}{where}{more}: {fault}"

    def _row(self, step: int, steps: int, per_epoch: int, found: dict[tuple[str, str], tuple[str, int]]) -> list[float]:
        """Weights at a step, faults being noted; a weight that cannot be computed counts as one."""
        epoch = step // per_epoch + 1
        where = f"epoch {epoch}, step {step + 1}" if self.moves and per_epoch > 1 else f"epoch {epoch}"
        row: list[float] = []
        for place, task in enumerate(self.tasks):
            weight, fault = self._one(place, step, steps, per_epoch)
            if fault:
                first, count = found.get((task, fault), (where, 0))
                found[task, fault] = (first, count + 1)
            row.append(weight)
        return row

    def _one(self, place: int, step: int, steps: int, per_epoch: int) -> tuple[float, str]:
        if self.table is not None:
            weight, said = self._raw(step, steps, per_epoch)[place], "the table"
        else:
            said = repr(self.formulas[place].text)
            try:
                weight = self.formulas[place].at(_values(step, steps, per_epoch))
            except ValueError as error:
                return 1.0, f"{said} {error}"
        if not math.isfinite(weight):
            return 1.0, f"{said} is not finite"
        return weight, f"{said} is negative; a weight is 0 or more" if weight < 0 else ""


def weight_plan(given: Given, tasks: Sequence[str], *, normalise: bool = False) -> WeightPlan:
    """Read a schedule for these tasks; of one that is read already, the part about these.

    Raises ConfigError with all problems of its form. `WeightPlan.check` finds those of its values, which hang on how long
    the training is.
    """
    if isinstance(given, WeightPlan):
        return replace(given.only(tasks), normalise=normalise or given.normalise)
    content, source = _content(given)
    if isinstance(content, list) or "epoch" in content:
        return _tabled(content, tuple(tasks), normalise, source)
    found = list(_name_faults(content, tasks))
    formulas = []
    for task, text in content.items():
        try:
            formulas.append((task, expression(_text(text))))
        except ValueError as error:
            found.append(f"task {task!r}: {str(text)[:60]!r} {error}")
    problems(ConfigError, f"{source} cannot be used:", found)
    by_task = dict(formulas)
    return WeightPlan(tuple(tasks), tuple(by_task[task] for task in tasks), None, normalise, source)


def _values(step: int, steps: int, per_epoch: int) -> dict[str, float]:
    epoch = step // per_epoch + 1
    done = {"t": step / max(steps, 1), "step": float(step), "epoch": float(epoch), "epochs": float(-(-steps // per_epoch))}
    return {**done, "pi": math.pi}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ValueError("is not finite")
        return repr(value)
    raise ValueError("is neither a formula nor a number")


def _name_faults(columns: Any, tasks: Sequence[str]) -> Iterator[str]:
    if not tasks:
        yield "there are no tasks"
    if "epoch" in tasks:
        yield "a task is called 'epoch', which is what a schedule calls its epochs; give the task another name"
    for name in columns:
        if name not in tasks and name != "epoch":
            near = difflib.get_close_matches(str(name), tasks, 1)
            yield f"{name!r} is no task{f', did you mean {near[0]!r}?' if near else ''}; tasks are {', '.join(tasks)}"
    yield from (f"task {name!r} has no weight" for name in tasks if name not in columns)


def _content(given: Mapping[str, Any] | str | Path) -> tuple[Any, str]:
    """A schedule as a mapping, or as rows of a table, and what to call it."""
    if isinstance(given, Mapping):
        return given, "the schedule of weights"
    path = Path(given)
    source = f"the schedule of weights {path}"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source} cannot be read: {error}") from error
    if path.suffix.lower() == ".json":
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"{source} is not JSON: {error}") from error
        if not isinstance(content, dict) and not (isinstance(content, list) and all(isinstance(r, dict) for r in content)):
            raise ConfigError(
                f"{source} should hold one object with a formula per task, or a list of rows with an epoch each"
            )
        return content, source
    lines = list(csv.reader(text.splitlines(), delimiter="\t" if path.suffix.lower() in (".tsv", ".tab") else ","))
    return _rows(lines, source), source


def _rows(lines: list[list[str]], source: str) -> list[dict[str, Any]]:
    """Rows of a table file by column name; row numbers are the file's lines."""
    filled = [
        (number, [word.strip() for word in line]) for number, line in enumerate(lines, 1) if any(w.strip() for w in line)
    ]
    if not filled:
        raise ConfigError(f"{source} is empty; give a column epoch and one per task")
    (_, header), *rest = filled
    found = [
        f"line {number}: {len(row)} values for {len(header)} columns" for number, row in rest if len(row) != len(header)
    ]
    found += [f"column {name!r} is there twice" for name in dict.fromkeys(header) if header.count(name) > 1]
    problems(ConfigError, f"{source} cannot be used:", found)
    return [dict(zip(header, row, strict=True)) for _, row in rest] or [dict.fromkeys(header, "")]


def _tabled(content: Any, tasks: tuple[str, ...], normalise: bool, source: str) -> WeightPlan:
    rows, found = _as_rows(content)
    columns = dict.fromkeys(name for row in rows for name in row)
    found += list(_name_faults(columns, tasks))
    if "epoch" not in columns:
        found.append("there is no column 'epoch'")
    table: dict[int, tuple[float, ...]] = {}
    for number, row in enumerate(rows, 1):
        epoch = _number(row.get("epoch"))
        if epoch is None or epoch < 1 or epoch != int(epoch):
            found.append(f"row {number}: epoch {row.get('epoch')!r} is not a whole number from 1 on")
            continue
        if int(epoch) in table:
            found.append(f"row {number}: epoch {int(epoch)} is there twice")
        weights = [_number(row.get(task)) for task in tasks]
        found += [
            f"row {number}, column {task!r}: {row[task]!r} is not a number"
            for task, weight in zip(tasks, weights, strict=True)
            if task in row and weight is None
        ]
        table[int(epoch)] = tuple(1.0 if weight is None else weight for weight in weights)
    if table and 1 not in table:
        found.append(f"epoch 1 has no row, and there is none before it to hold; the first is {min(table)}")
    problems(ConfigError, f"{source} cannot be used:", found)
    return WeightPlan(tasks, (), dict(sorted(table.items())), normalise, source)


def _as_rows(content: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """A table as rows, from rows or from columns of one length."""
    if isinstance(content, list):
        return content, [] if content else ["there are no rows"]
    lists = {name: list(column) for name, column in content.items() if _is_column(column)}
    found = [f"column {name!r} is not a list of values" for name in content if name not in lists]
    lengths = {name: len(column) for name, column in lists.items()}
    if len(set(lengths.values())) > 1:
        return [], [*found, f"columns have different lengths: {lengths}"]
    count = next(iter(lengths.values()), 0)
    return [{name: column[at] for name, column in lists.items()} for at in range(count)], found if count else [
        *found,
        "there are no rows",
    ]


def _is_column(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, (str, bytes, Mapping))


def _number(value: Any) -> float | None:
    """A value of a table as a finite number; None where it is none."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None
