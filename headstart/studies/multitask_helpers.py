"""What each task does for the others, or for the main one: the network against the same without that task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from headstart.metrics.paired import holm_differences
from headstart.studies.multitask_judged import Judge, alone_of, as_difference
from headstart.studies.multitask_runs import Arm


def helpers_of(judge: Judge, arms: Sequence[Arm], main: str | None, *, leave_out: bool) -> list[dict[str, Any]]:
    """A paired comparison for every task that was left out, and every task (or the main one) it could have helped.

    arms  all that were trained: the first one asked for, those without a task of its, and networks for a task alone
    main  the task that the others are judged by; None: all

    The more comparisons, the more of them come out by chance: p-values of all of them are adjusted together (Holm 1979), and
    what is decided is decided by these. Intervals stay those of each comparison alone.
    """
    pairs = {}
    for helper, without in _left_out(arms, main, leave_out=leave_out):
        for task in [main] if main else without.tasks:
            found = judge.gap(_asked(arms), without, task)
            if found is not None:
                pairs[f"{helper} for {task}"] = (helper, task, without, found)
    adjusted = holm_differences({key: found for key, (*_, found) in pairs.items()})
    return [
        {
            **judge.row(_asked(arms), without, task),
            **as_difference(adjusted[key]),
            "helper": helper,
            "comparisons": len(pairs),
        }
        for key, (helper, task, without, _) in pairs.items()
    ]


def _asked(arms: Sequence[Arm]) -> Arm:
    return next(arm for arm in arms if arm.role == "asked")


def _left_out(arms: Sequence[Arm], main: str | None, *, leave_out: bool) -> Iterator[tuple[str, Arm]]:
    """Each task that was left out, and the network without it: of two tasks that may be the other's own network."""
    tasks, alone = _asked(arms).tasks, alone_of(arms)
    without = [arm for arm in arms if arm.role == "without"]
    if not without and len(tasks) == 2 and (leave_out or main):
        without = [alone[name] for name in tasks if name in alone and name == (main or name)]
    for arm in without:
        yield next(name for name in tasks if name not in arm.tasks), arm
