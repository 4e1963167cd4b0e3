"""What each network was right about: measures with intervals, differences, the mean relative change, costs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.kinds import Kind
from headstart.data.task import Task, valid
from headstart.errors import DataError
from headstart.metrics.delta import Judged, delta_m_interval
from headstart.metrics.intervals import Interval
from headstart.metrics.measured import MEASURES
from headstart.metrics.measured import measure as measure_of
from headstart.metrics.multitask import difference, interval
from headstart.metrics.paired import Difference
from headstart.studies.multitask_runs import Arm, Run, Runs, single_name

MEASURED: dict[Kind, tuple[str, ...]] = {
    "classes": ("accuracy", "balanced_accuracy"),
    "yes_no": ("balanced_accuracy", "accuracy", "average_precision", "auc"),
    "several": ("average_precision", "auc", "balanced_accuracy"),
    "number": ("mean_absolute_error", "root_mean_squared_error", "r2"),
}
"""Measures by kind of question; the first is the one that networks are compared by."""


def main_measure(kind: Kind) -> str:
    """The measure that networks are compared by."""
    return MEASURED[kind][0]


def said(kind: Kind, outputs: Any, measure: str) -> NDArray[Any]:
    """Answers as a measure wants them, from what `Runs.seen` keeps of a task (`[N, C]` logits, or `[N]` numbers)."""
    values: NDArray[Any] = np.asarray(outputs)
    scores = MEASURES[measure].answers == "scores"
    if kind == "number" or (kind == "several" and scores):
        return values
    if kind == "several":
        return (values > 0).astype(np.int64)
    return np.asarray(values[:, 1] - values[:, 0] if scores else values.argmax(1))


class Judge:
    """Compares runs on one part of the data, `validation` or `test`, over all seeds."""

    def __init__(self, runs: Runs, part: str, seeds: Sequence[int], seed: int) -> None:
        self.runs, self.part, self.seeds, self.seed = runs, part, tuple(seeds), seed

    def task(self, name: str) -> Task:
        return self.runs.parts[self.part][name]

    def labels(self, name: str) -> NDArray[Any]:
        """Labels of the task's samples of which one answer at least is known, `rows`."""
        task = self.task(name)
        return np.asarray(task.targets[task.known])

    def answers(self, arm: Arm, name: str, measure: str) -> list[NDArray[Any]]:
        """Per seed what the arm says about these samples."""
        known = self.task(name).known
        found = [self.runs.seen(Run(arm, seed))["outputs"][self.part][name] for seed in self.seeds]
        return [said(self.task(name).kind, outputs, measure)[known] for outputs in found]

    def measures(self, arm: Arm, name: str) -> dict[str, dict[str, Any]]:
        """Every measure of one task with its interval; None where it is not defined on these samples."""
        found = {}
        for measure in MEASURED[self.task(name).kind]:
            try:
                one = interval(measure, self.labels(name), self.answers(arm, name, measure), self.seed)
            except DataError as error:
                found[measure] = {"mean": None, "low": None, "high": None, "why": str(error)}
                continue
            found[measure] = as_record(one)
        return found

    def gap(self, one: Arm, other: Arm, name: str) -> Difference | None:
        """How much better `one` is on a task, by the measure it is compared by; None where that is not defined."""
        measure = main_measure(self.task(name).kind)
        first, second = (self.answers(arm, name, measure) for arm in (one, other))
        try:
            return difference(measure, self.labels(name), first, second, self.seed)
        except DataError:
            return None

    def row(self, one: Arm, other: Arm, name: str) -> dict[str, str]:
        """Who is compared on which task by what, as summary.json has it."""
        return {"task": name, "a": one.name, "b": other.name, "measure": main_measure(self.task(name).kind)}

    def difference(self, one: Arm, other: Arm, name: str) -> dict[str, Any] | None:
        """`gap` as summary.json has it."""
        found = self.gap(one, other, name)
        return None if found is None else {**self.row(one, other, name), **as_difference(found)}

    def delta(self, arm: Arm, others: Mapping[str, Arm]) -> dict[str, Any] | None:
        """The mean relative change of the arm's tasks against other networks, by task; None where it is not defined."""
        judged = {}
        for name in arm.tasks:
            measure, task = main_measure(self.task(name).kind), self.task(name)
            sides = [self.answers(one, name, measure) for one in (arm, others[name])]
            judged[name] = Judged(measure, task.rows[task.known], self.labels(name), *sides)
        try:
            return as_record(delta_m_interval(judged, self.seed))
        except DataError:
            return None

    def value(self, arm: Arm, name: str) -> float:
        """The measure that a task is compared by, higher for better, mean over seeds."""
        measure = main_measure(self.task(name).kind)
        found = [measure_of(measure, self.labels(name), one) for one in self.answers(arm, name, measure)]
        return float(np.mean(found)) * (1 if MEASURES[measure].higher else -1)


def as_record(one: Interval) -> dict[str, Any]:
    """As summary.json has it."""
    return {"mean": one.mean, "low": one.low, "high": one.high}


def as_difference(one: Difference) -> dict[str, Any]:
    """As summary.json has it; positive is better for the first."""
    return {
        "mean": one.mean,
        "low": one.low,
        "high": one.high,
        "p_value": one.p_value,
        "decided": one.decided,
        "detectable": one.detectable,
    }


def alone_of(arms: Sequence[Arm]) -> dict[str, Arm]:
    """The arm that is a network for one task alone, by task; empty where there are none."""
    return {arm.tasks[0]: arm for arm in arms if arm.role == "single"}


def known(task: Task) -> int:
    """Labels (several questions: answers) that are known."""
    return int(valid(task.targets).sum())


def beside_alone(runs: Runs, arms: Sequence[Arm], seeds: Sequence[int]) -> dict[str, Any] | None:
    """The costs of a network for each task, added up; None where they were not trained."""
    alone = list(alone_of(arms).values())
    if not alone:
        return None
    each = [[runs.seen(Run(arm, seed)) for seed in seeds] for arm in alone]
    return {
        "networks": len(alone),
        "names": [single_name(arm.tasks[0]) for arm in alone],
        "parameters": sum(one[0]["parameters"] for one in each),
        "bytes": sum(one[0]["bytes"] for one in each),
        "flops": sum(sum(one[0]["flops"].values()) for one in each),
        "seconds": float(np.mean([sum(one[place]["seconds"] for one in each) for place in range(len(seeds))])),
        "memory": most([one[place]["memory"] for one in each for place in range(len(seeds))]),
    }


def most(values: Sequence[int | None]) -> int | None:
    """The largest; None where none is known."""
    there = [value for value in values if value is not None]
    return max(there) if there else None
