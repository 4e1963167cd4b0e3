"""Samples with and without labels as one task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.data.join import with_unlabelled
from headstart.data.store import store_of
from headstart.data.task import UNKNOWN, task_of
from headstart.errors import DataError
from tests.conftest import make_image_task, make_vector_task


def test_rows_of_one_store_are_taken_once_and_their_labels_forgotten() -> None:
    task = make_image_task(12, size=8)
    mine, others = task.take(np.array([5, 1, 3])), task.take(np.array([1, 7, 8, 5]))
    joined = with_unlabelled(mine, others)
    assert joined.rows.tolist() == [5, 1, 3, 7, 8]
    assert joined.targets.tolist() == [*task.labels[[5, 1, 3]], UNKNOWN, UNKNOWN]
    assert joined.store is task.store
    assert (task.labels != UNKNOWN).all()
    assert joined.counts.sum() == 3


@pytest.mark.parametrize("on_disk", [True, False])
def test_two_stores_are_put_together_and_the_tasks_rows_stay(on_disk: bool, tmp_path: Path) -> None:
    task, others = make_image_task(12, size=8).take(np.array([5, 1, 3])), make_image_task(9, size=8, seed=4)
    others = others.take(np.array([8, 0]))
    joined = with_unlabelled(task, others, tmp_path if on_disk else None)
    assert joined.rows.tolist() == [5, 1, 3, 12, 13]
    assert joined.targets.tolist() == [*task.targets, UNKNOWN, UNKNOWN]
    assert np.array_equal(joined.store.gather(joined.rows[:3]), task.store.gather(task.rows))
    assert np.array_equal(joined.store.gather(joined.rows[3:]), others.store.gather(others.rows))
    assert joined.classes == task.classes
    assert (joined.store.file is not None) == on_disk
    again = with_unlabelled(task, others, tmp_path if on_disk else None)
    assert again.store.fingerprint == joined.store.fingerprint
    assert again.fingerprint == joined.fingerprint
    assert with_unlabelled(task, others.take(np.array([1, 0]))).store.fingerprint != joined.store.fingerprint


def test_no_unlabelled_sample_shares_a_group_with_another() -> None:
    task, others = make_vector_task(6), make_vector_task(4, seed=1)
    joined = with_unlabelled(replace(task, groups=np.array([0, 0, 1, 1, 2, 2])), others)
    assert joined.groups is not None
    assert joined.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 4, 5, 6]


def test_samples_of_other_shapes_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"\[10, 10, 3\] uint8, those of 'toy' \[8, 8, 3\] uint8; read both at the same size"
    ):
        with_unlabelled(make_image_task(6, size=8), make_image_task(6, size=10))
    floats = task_of("toy", store_of(np.zeros((3, 6))), np.zeros(3, np.int64), ("a",))
    with pytest.raises(DataError, match="read both at the same size"):
        with_unlabelled(make_image_task(6, size=8), floats)
