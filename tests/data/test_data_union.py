"""Samples of several tasks as one task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.data.store import store_of
from headstart.data.task import UNKNOWN, Task
from headstart.data.union import alone, united
from headstart.errors import DataError
from tests.conftest import make_image_task, make_vector_task


def three_tasks(kind: str = "images") -> list[Task]:
    make = make_image_task if kind == "images" else make_vector_task
    made = [replace(make(12 + number, 3, seed=number), name=f"t{number}") for number in range(3)]
    made[1].labels[4] = UNKNOWN
    made[2] = made[2].take(np.array([5, 2, 9]))
    return made


CLASSES = tuple(f"{t}{c}" for t in "xyz" for c in "abc")


@pytest.mark.parametrize("kind", ["images", "vectors"])
@pytest.mark.parametrize("on_disk", [False, True])
def test_every_sample_stands_there_once_with_its_label_in_the_list(kind: str, on_disk: bool, tmp_path: Path) -> None:
    tasks = three_tasks(kind)
    all_ = united(tasks, "all_", CLASSES, (0, 3, 6), tmp_path if on_disk else None)
    assert len(all_) == 12 + 13 + 3
    assert all_.classes == CLASSES
    samples = np.concatenate([task.store.array[task.rows] for task in tasks])
    assert np.array_equal(all_.store.array[all_.rows], samples)
    wanted = [label + 3 * n if label >= 0 else -1 for n, task in enumerate(tasks) for label in task.targets.tolist()]
    assert all_.targets.tolist() == wanted
    assert wanted.count(-1) == 1
    assert bool(list(tmp_path.iterdir())) == on_disk
    again = united(tasks, "all_", CLASSES, (0, 3, 6), tmp_path if on_disk else None)
    assert again.fingerprint == all_.fingerprint


def test_the_fingerprint_tells_samples_and_their_order_apart() -> None:
    one, two, three = three_tasks()
    marks = {
        united(tasks, "all_", CLASSES, (0, 3), None).store.fingerprint
        for tasks in ([one, two], [two, one], [one, three], [one, replace(two, store=store_of(two.store.array + 1))])
    }
    assert len(marks) == 4


def test_rows_of_one_store_are_not_copied_and_rows_in_two_tasks_are() -> None:
    whole = make_image_task(12, 3)
    parts = [whole.take(np.arange(0, 6)), whole.take(np.arange(6, 12))]
    shared = united(parts, "all_", CLASSES[:6], (0, 3))
    assert shared.store is whole.store
    assert shared.targets.tolist() == [*whole.targets[:6], *(whole.targets[6:] + 3)]
    twice = united([whole, whole], "all_", CLASSES[:6], (0, 3))
    assert twice.store is not whole.store
    assert twice.targets.tolist() == [*whole.targets, *(whole.targets + 3)]


def test_groups_of_different_tasks_stay_apart() -> None:
    one, two, three = three_tasks()
    one = replace(one, groups=np.arange(12) // 4)
    two = replace(two, groups=np.arange(13) // 4)
    all_ = united([one, two, three], "all_", CLASSES, (0, 3, 6))
    assert all_.groups is not None
    found = all_.groups[all_.rows]
    numbers = [*(np.arange(12) // 4), *(np.arange(13) // 4 + 10), 20, 21, 22]
    for place, number in enumerate(numbers):
        assert [bool(same) for same in found == found[place]] == [other == number for other in numbers]


def test_samples_of_different_kinds_are_refused() -> None:
    with pytest.raises(DataError, match="different kinds"):
        united([make_image_task(size=12), make_image_task(size=16)], "all_", CLASSES, (0, 3))
    with pytest.raises(DataError, match="no tasks"):
        united([], "all_", CLASSES, ())


@pytest.mark.parametrize("in_file", [False, True])
def test_alone_a_task_has_its_own_samples_and_no_others(in_file: bool, tmp_path: Path) -> None:
    store = store_of(np.arange(24, dtype=np.float32).reshape(12, 2))
    labels, groups = np.arange(12) % 3, np.arange(12) // 2
    task = Task("t", store, labels, ("a", "b", "c"), np.array([7, 2, 5]), groups)
    found = alone(task, tmp_path if in_file else None)
    assert len(found.store) == 3
    assert np.array_equal(found.store.array[found.rows], store.array[[7, 2, 5]])
    assert np.array_equal(found.targets, task.targets)
    assert found.groups is not None
    assert found.groups.tolist() == [3, 1, 2]
    assert (found.store.file is not None) == in_file
