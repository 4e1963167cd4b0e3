"""What came of it: accuracies, what was kept, and what it cost, of every arm, and their differences in pairs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.continual import METHODS
from headstart.engine.past import Past
from headstart.metrics.continual import OverImages, over_images
from headstart.metrics.paired import Difference, holm_differences, paired_bootstrap
from headstart.seeding import seed_for
from headstart.studies.extend_runs import Arm, Run, Runs

Cells = list[list[list[NDArray[np.bool_] | None]]]
"""`[seed][row][task]`: right or wrong, None where it was not measured."""


def cells_of(runs: Runs, arm: Arm, seeds: Sequence[int], what: str) -> Cells:
    """Right or wrong of an arm; `what` is `known` (the task is known) or `unknown`."""
    old, tasks = len(runs.old), len(runs.old) + len(runs.new)
    found: Cells = []
    for seed in seeds:
        grid: list[list[NDArray[np.bool_] | None]] = [[None] * tasks for _ in range(tasks)]
        for place, row in enumerate(runs.seen(Run(arm, seed))["rows"]):
            at = old - 1 + place
            if at < 0:  # before a first task there is nothing to look at
                continue
            for number, one in enumerate(row["tasks"]):
                grid[at][number] = None if one is None else one[what].numpy().astype(np.bool_)
        found.append(grid)
    return found


def measured(runs: Runs, arm: Arm, seeds: Sequence[int], seed: int) -> tuple[OverImages, OverImages]:
    """The numbers with the task known, and not known."""
    first = len(runs.old) if runs.old else None
    return tuple(  # type: ignore[return-value]
        over_images(cells_of(runs, arm, seeds, what), first, seed_for(seed, "continual", what))
        for what in ("known", "unknown")
    )


def arm_record(runs: Runs, arm: Arm, seeds: Sequence[int], seed: int) -> dict[str, Any]:
    """One entry of `arms` in summary.json."""
    known, unknown = measured(runs, arm, seeds, seed)
    seen = [runs.seen(Run(arm, one)) for one in seeds]
    told, free, first = known.to_json(), unknown.to_json(), seen[0]
    method = METHODS[arm.name]
    return {
        "name": arm.name,
        "role": arm.role,
        "family": method.family,
        "summary": method.summary,
        "limits": method.limits,
        "seeds": list(seeds),
        "matrix": told["matrix"],
        "agnostic": free["matrix"],
        "rows": [*_names(runs)],
        "new": {"accuracy": told["new"], "agnostic": free["new"]},
        "old": told["old"],
        "average_accuracy": told["average_accuracy"],
        "agnostic_average": free["average_accuracy"],
        "agnostic_old": free["old"],
        "agnostic_forgetting": free["forgetting"],
        "agnostic_backward_transfer": free["backward_transfer"],
        "forgetting": told["forgetting"],
        "backward_transfer": told["backward_transfer"],
        "left_out": told["left_out"],
        "old_data": _needed(first),
        "flops": _flops(first),
        "stored": first["stored"],
        "seconds": float(np.mean([one["seconds"] for one in seen])),
        "curves": first["curves"],
        "confusion": _confusion(runs, arm, seeds),
    }


def _names(runs: Runs) -> list[str]:
    return [one.name for one in runs.start.past.tasks] + [one.name for one in runs.new]


def _needed(seen: Mapping[str, Any]) -> dict[str, Any]:
    """The most that any increment needed of old samples; of a memory what it holds at the end too."""
    found = [one["old"] for one in seen["costs"]]
    if seen["memory"]["images"]:
        found.append({"what": "stored samples", **seen["memory"]})
    return dict(max(found, key=lambda one: float(one["bytes"])))


def _flops(seen: Mapping[str, Any]) -> dict[str, Any]:
    parts: dict[str, float] = {}
    for one in seen["costs"]:
        for name, value in one["parts"].items():
            parts[name] = parts.get(name, 0.0) + value
    return {"training": sum(parts.values()), "parts": parts, "inference": seen["costs"][-1]["inference"]}


def _confusion(runs: Runs, arm: Arm, seeds: Sequence[int]) -> dict[str, Any] | None:
    """Over all classes after the last task, where they make one list and every task's images are there; all seeds added."""
    past: Past = runs.start.past
    judged = [*runs.old, *runs.new]
    if past.scenario != "class" or None in judged:
        return None
    labels = [*past.classes, *(name for one in runs.new for name in one.train.classes)]
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for seed in seeds:
        first = 0
        for one, cell in zip(judged, runs.seen(Run(arm, seed))["rows"][-1]["tasks"], strict=True):
            assert one is not None
            np.add.at(counts, (one.test.targets + first, cell["said"].numpy()), 1)
            first += one.test.num_classes
    return {"labels": labels, "counts": counts.tolist()}


def differences(runs: Runs, arms: Sequence[Arm], seeds: Sequence[int], seed: int) -> list[dict[str, Any]]:
    """Every two arms on shared images: the new task, the old tasks, and all of them.

    Where classes make one list the task is not known, as nobody names it when answering; else it is (`known`). Of more than
    two, p-values are Holm's over all pairs of one kind.
    """
    found = []
    known = runs.start.past.scenario != "class"
    for what, tasks in _asked(runs).items():
        each = {arm.name: _flat(runs, arm, seeds, tasks, "known" if known else "unknown") for arm in arms}
        pairs = list(itertools.combinations(each, 2))
        gaps = {f"{a} {b}": paired_bootstrap(each[a], each[b], seed_for(seed, "differences", a, b, what)) for a, b in pairs}
        if len(pairs) > 1:
            gaps = holm_differences(gaps)
        for a, b in pairs:
            record = difference_record(gaps[f"{a} {b}"])
            found.append({"a": a, "b": b, "what": what, "known": known, "corrected": len(pairs) > 1, **record})
    return found


def _asked(runs: Runs) -> dict[str, list[int]]:
    old = [number for number, one in enumerate(runs.old) if one is not None]
    new = list(range(len(runs.old), len(runs.old) + len(runs.new)))
    # Learned from nothing, the tasks before the last are the old ones.
    earlier = old if runs.old else new[:-1]
    return {name: tasks for name, tasks in (("new", new[-1:]), ("old", earlier), ("average", [*old, *new])) if tasks}


def _flat(runs: Runs, arm: Arm, seeds: Sequence[int], tasks: Sequence[int], how: str) -> NDArray[np.float64]:
    """`[S, N]` right or wrong at the end on the images of some tasks, weighed so that every task counts the same."""
    grids = cells_of(runs, arm, seeds, how)
    rows = [[np.asarray(grid[-1][task], np.float64) for task in tasks] for grid in grids]
    total = sum(len(part) for part in rows[0])
    scale = [total / (len(tasks) * len(part)) for part in rows[0]] if len(tasks) > 1 else [1.0]
    return np.array([np.concatenate([part * s for part, s in zip(row, scale, strict=True)]) for row in rows])


def difference_record(gap: Difference) -> dict[str, Any]:
    """A paired difference as JSON."""
    names = ("mean", "low", "high", "p_value", "decided", "detectable", "method")
    return {name: getattr(gap, name) for name in names}
