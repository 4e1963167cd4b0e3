"""Schedules of weights: formulas and tables, and everything wrong with them found before training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headstart.catalog.schedules import weight_plan
from headstart.errors import ConfigError

TWO = ("a", "b")


def test_formulas_by_step_and_epoch() -> None:
    plan = weight_plan({"a": "1 - t", "b": "epoch < 2"}, TWO)
    assert plan.moves
    assert [plan.at(step, 8, 4) for step in (0, 2, 4, 6)] == [
        {"a": 1.0, "b": 1.0},
        {"a": 0.75, "b": 1.0},
        {"a": 0.5, "b": 0.0},
        {"a": 0.25, "b": 0.0},
    ]
    assert not weight_plan({"a": 2, "b": "epoch / epochs"}, TWO).moves
    assert weight_plan({"a": 2, "b": "epoch / epochs"}, TWO).at(9, 10, 4) == {"a": 2.0, "b": 1.0}


def test_scaled_to_the_number_of_tasks() -> None:
    plan = weight_plan({"a": "3", "b": "1"}, TWO, normalise=True)
    assert plan.at(0, 4, 2) == {"a": 1.5, "b": 0.5}


TABLE = {1: (1.0, 0.5), 3: (2.0, 0.0)}


@pytest.mark.parametrize("kind", ["columns", "csv", "tsv", "json rows", "json columns"])
def test_a_table_holds_the_last_named_epoch(kind: str, tmp_path: Path) -> None:
    columns = {"epoch": [1, 3], "b": [0.5, 0.0], "a": [1, 2.0]}
    rows = [{"epoch": 3, "a": 2, "b": 0}, {"epoch": 1, "a": 1, "b": 0.5}]
    files = {
        "csv": ("w.csv", "\ufeffepoch,b,a\r\n1, 0.5 ,1\r\n\r\n3,0,2\r\n"),
        "tsv": ("w.tsv", "a\tepoch\tb\n2\t3\t0\n1\t1\t.5\n"),
        "json rows": ("w.json", json.dumps(rows)),
        "json columns": ("w.json", json.dumps(columns)),
    }
    if kind != "columns":
        (tmp_path / files[kind][0]).write_text(files[kind][1], encoding="utf-8")
    plan = weight_plan(columns if kind == "columns" else tmp_path / files[kind][0], TWO)
    assert plan.table == TABLE
    assert [plan.at(epoch, 5, 1)["a"] for epoch in range(5)] == [1, 1, 2, 2, 2]
    assert not plan.moves
    plan.check(10, 2)


def test_formulas_may_stand_in_a_json_file(tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text('{"a": "1 - t", "b": 1}', encoding="utf-8")
    assert weight_plan(str(tmp_path / "w.json"), TWO).at(1, 2, 1) == {"a": 0.5, "b": 1.0}


def _refused(*lines: str) -> str:
    return r"(?s)cannot be used:\s+- " + r"\n  - ".join(lines) + "$"


def test_all_problems_of_formulas_together() -> None:
    given = {"a": "1 +", "digit": "1", "c": "foo", "d": [1]}
    with pytest.raises(ConfigError) as caught:
        weight_plan(given, ("a", "digits", "c", "d"))
    assert str(caught.value).splitlines() == [
        "the schedule of weights cannot be used:",
        "  - 'digit' is no task, did you mean 'digits'?; tasks are a, digits, c, d",
        "  - task 'digits' has no weight",
        "  - task 'a': '1 +' cannot be read (invalid syntax)",
        "  - task 'c': 'foo' 'foo' is unknown: there are t, epoch, epochs, step, pi",
        "  - task 'd': '[1]' is neither a formula nor a number",
    ]


def test_all_problems_of_a_table_together() -> None:
    given = {"epoch": [2, 2, 0, 3], "a": [1, "x", 1, None], "c": [1, 1, 1, 1]}
    with pytest.raises(ConfigError) as caught:
        weight_plan(given, TWO)
    assert str(caught.value).splitlines()[1:] == [
        "  - 'c' is no task; tasks are a, b",
        "  - task 'b' has no weight",
        "  - row 2: epoch 2 is there twice",
        "  - row 2, column 'a': 'x' is not a number",
        "  - row 3: epoch 0 is not a whole number from 1 on",
        "  - row 4, column 'a': None is not a number",
        "  - epoch 1 has no row, and there is none before it to hold; the first is 2",
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("w.csv", "", "is empty"),
        ("w.csv", "epoch,a,b\n1,2\n", "line 2: 2 values for 3 columns"),
        ("w.csv", "epoch,a,a,b\n1,2,2,2\n", "column 'a' is there twice"),
        ("w.csv", "epoch,a,b\n", "epoch '' is not a whole number"),
        ("w.csv", "a,b\n1,2\n", "no column 'epoch'"),
        ("w.json", "{", "is not JSON"),
        ("w.json", "[1]", "should hold one object"),
        ("w.json", '{"epoch": [1, 2], "a": [1], "b": [1, 1]}', "different lengths"),
        ("w.json", '{"epoch": [1], "a": "1", "b": [1]}', "column 'a' is not a list"),
        ("w.json", "[]", "there are no rows"),
    ],
)
def test_files_that_hold_no_schedule(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        weight_plan(tmp_path / name, TWO)
    with pytest.raises(ConfigError, match="cannot be read"):
        weight_plan(tmp_path / "none.csv", TWO)


def test_a_task_called_epoch_is_refused() -> None:
    with pytest.raises(ConfigError, match="a task is called 'epoch'"):
        weight_plan({"epoch": [1], "a": [1]}, ("epoch", "a"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none(value: float) -> None:
    with pytest.raises(ConfigError, match=r"task 'a': .* is not finite"):
        weight_plan({"a": value, "b": 1}, TWO)


def test_every_epoch_is_tried() -> None:
    plan = weight_plan({"a": "1 / (epoch - 3)", "b": "2 - epoch"}, TWO)
    with pytest.raises(ConfigError) as caught:
        plan.check(5)
    assert str(caught.value).splitlines()[1:] == [
        "  - task 'a', epoch 1 and 1 time more: '1 / (epoch - 3)' is negative; a weight is 0 or more",
        "  - task 'a', epoch 3: '1 / (epoch - 3)' divides by zero",
        "  - task 'b', epoch 3 and 2 times more: '2 - epoch' is negative; a weight is 0 or more",
    ]


def test_every_step_is_tried_where_steps_matter() -> None:
    plan = weight_plan({"a": "1 / (step - 7)**2", "b": "1"}, TWO)
    plan.check(5)  # five epochs, one step each: nothing to find
    with pytest.raises(ConfigError, match=r"task 'a', epoch 2, step 8: '1 / \(step - 7\)\*\*2' divides by zero"):
        plan.check(20, 5)


def test_an_epoch_without_any_weight_is_refused_and_a_step_without_one_is_not() -> None:
    with pytest.raises(ConfigError, match="  - epoch 3 and 1 time more: every weight is 0"):
        weight_plan({"a": "epoch < 3", "b": 0}, TWO).check(8, 2)
    table = {"epoch": [1, 2], "a": [1, 0], "b": [1, 0]}
    with pytest.raises(ConfigError, match="epoch 2 and 1 time more: every weight is 0"):
        weight_plan(table, TWO).check(3)
    blinking = {"a": "step % 2", "b": 0}
    weight_plan(blinking, TWO).check(8, 2)
    with pytest.raises(ConfigError, match="every weight is 0"):  # nothing to scale up
        weight_plan(blinking, TWO, normalise=True).check(8, 2)


def test_negative_numbers_in_a_table() -> None:
    with pytest.raises(ConfigError, match="task 'b', epoch 2: the table is negative"):
        weight_plan({"epoch": [1, 2], "a": [1, 1], "b": [1, -1]}, TWO).check(2)


@pytest.mark.parametrize("given", [{"a": "1 - t", "b": 2, "c": 1}, {"epoch": [1], "a": [1], "b": [2], "c": [3]}])
def test_a_part_of_a_schedule_is_one(given: dict[str, Any]) -> None:
    """As when a task is left out to see whether it helped."""
    whole = weight_plan(given, ("a", "b", "c"))
    part = weight_plan(whole, ("c", "a"))
    at = whole.at(1, 4, 2)
    assert part.at(1, 4, 2) == {"c": at["c"], "a": at["a"]}
    assert sum(weight_plan(whole, ("a", "b"), normalise=True).at(0, 4, 2).values()) == pytest.approx(2)
