"""Which task helped which: who is compared, and what is decided where there are many comparisons."""

from __future__ import annotations

from typing import Any, cast

import pytest

from headstart.catalog.sharing import SharingConfig
from headstart.catalog.strategies import Recipe
from headstart.metrics.paired import Difference
from headstart.studies.multitask_helpers import helpers_of
from headstart.studies.multitask_judged import Judge
from headstart.studies.multitask_runs import Arm, single_name
from headstart.studies.multitask_told import sentences

CONFIG = SharingConfig(Recipe())


class Fixed:
    """A judge to whom every comparison has the p-value given for its task and the network compared with."""

    def __init__(self, p_values: dict[tuple[str, str], float]) -> None:
        self.p_values = p_values

    def gap(self, one: Arm, other: Arm, name: str) -> Difference | None:
        p = self.p_values.get((name, other.name))
        return None if p is None else Difference(0.03, 0.001, 0.059, p, p < 0.05, 0.04, 0.95, "images")

    def row(self, one: Arm, other: Arm, name: str) -> dict[str, str]:
        return {"task": name, "a": one.name, "b": other.name, "measure": "accuracy"}


def arms(*names: str, without: bool = True, alone: bool = True) -> list[Arm]:
    made = [Arm(single_name(name), "single", (name,), CONFIG) for name in names] if alone else []
    made.append(Arm("sum", "asked", names, CONFIG))
    rest = [(name, tuple(other for other in names if other != name)) for name in names]
    return made + ([Arm(f"without {name}", "without", others, CONFIG) for name, others in rest] if without else [])


def helped(p_values: dict[tuple[str, str], float], *args: Any, **more: Any) -> list[dict[str, Any]]:
    return helpers_of(cast("Judge", Fixed(p_values)), *args, **more)


def test_p_values_are_adjusted_for_all_comparisons_together() -> None:
    """Holm: the smallest of three counts three times, the next twice; none is decided that its own interval leaves open."""
    p_values = {("a", "without b"): 0.03, ("a", "without c"): 0.01, ("a", "without d"): 0.6}
    rows = helped(p_values, arms("a", "b", "c", "d")[:-4] + arms("a", "b", "c", "d")[-3:], "a", leave_out=False)
    assert [(row["helper"], row["b"], row["decided"]) for row in rows] == [
        ("b", "without b", False),
        ("c", "without c", True),
        ("d", "without d", False),
    ]
    assert [row["p_value"] for row in rows] == pytest.approx([0.06, 0.03, 0.6])
    assert {row["comparisons"] for row in rows} == {3}
    assert rows[0]["low"] > 0, "the interval stays that of the comparison alone"


def test_every_task_may_help_every_other() -> None:
    names = ("a", "b", "c")
    p_values = {(task, f"without {helper}"): 0.001 for task in names for helper in names if task != helper}
    del p_values["c", "without a"]  # not defined on these images
    rows = helped(p_values, arms(*names), None, leave_out=True)
    assert [(row["helper"], row["task"]) for row in rows] == [("a", "b"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")]
    assert {row["comparisons"] for row in rows} == {5}


@pytest.mark.parametrize(
    ("main", "leave_out", "pairs"),
    [(None, False, []), ("a", False, [("b", "a")]), ("b", True, [("a", "b")]), (None, True, [("b", "a"), ("a", "b")])],
)
def test_of_two_tasks_each_is_judged_by_the_others_own_network(
    main: str | None, leave_out: bool, pairs: list[tuple[str, str]]
) -> None:
    p_values = {("a", "only a"): 0.01, ("b", "only b"): 0.01}
    rows = helped(p_values, arms("a", "b", without=False), main, leave_out=leave_out)
    assert [(row["helper"], row["task"]) for row in rows] == pairs
    assert helped(p_values, arms("a", "b", without=False, alone=False), main, leave_out=leave_out) == []


def test_what_the_correction_leaves_open_is_said_with_its_p_value() -> None:
    p_values = {("a", "without b"): 0.03, ("a", "without c"): 0.01}
    rows = helped(p_values, arms("a", "b", "c")[:-3] + arms("a", "b", "c")[-2:], "a", leave_out=False)
    arm = {"name": "sum", "delta_m": None, "pull": 0.0, "distance": None, "role": "asked"}
    summary: dict[str, Any] = {
        "arms": [arm],
        "chosen": "sum",
        "baseline": "sum",
        "apart": None,
        "inference": {"apart": None},
        "helpers": [{**rows[0], "p_value": 0.06, "decided": False}, rows[1]],
        "measures": {"accuracy": {"words": "accuracy", "higher": True}},
    }
    assert list(sentences(summary)) == [
        "Whether b helps a is undecided: +3.0 points (+0.1 to +5.9); p = 0.06 among 2 comparisons (Holm).",
        "C helped a: +3.0 points (+0.1 to +5.9); p = 0.02 among 2 comparisons (Holm).",
    ]
