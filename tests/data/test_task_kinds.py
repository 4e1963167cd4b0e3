"""Tasks of other kinds than one class of several."""

import numpy as np
import pytest

from headstart.data.store import store_of
from headstart.data.task import YES_NO, Task, task_of
from headstart.errors import DataError

STORE = store_of(np.zeros((4, 3), np.float32))


def test_several_questions_know_what_is_known_and_count_the_yes():
    labels = np.array([[1, 0], [-1, -1], [1, -1], [0, 1]])
    task = task_of("tags", STORE, labels, ("sun", "rain"), "several")
    assert task.known.tolist() == [True, False, True, True]
    assert task.counts.tolist() == [2, 1]
    assert (task.outputs, task.take(np.array([2])).targets.tolist()) == (2, [[1, -1]])


def test_a_number_is_unknown_where_it_is_nan():
    task = task_of("age", STORE, np.array([1.5, np.nan, -2, 0]), (), "number")
    assert task.labels.dtype == np.float32
    assert task.known.tolist() == [True, False, True, True]
    assert (task.outputs, task.num_classes) == (1, 0)


def test_the_kind_is_part_of_the_fingerprint_and_a_plain_class_task_keeps_its_own():
    labels = np.array([0, 1, 1, 0])
    plain = task_of("q", STORE, labels, YES_NO)
    assert plain.fingerprint != task_of("q", STORE, labels, YES_NO, "yes_no").fingerprint


@pytest.mark.parametrize(
    ("labels", "classes", "kind", "said"),
    [
        (np.zeros((4, 2), np.int64), ("a",), "several", "do not fit"),
        (np.zeros(4, np.int64), ("a", "b"), "several", "do not fit"),
        (np.zeros((4, 2), np.int64), ("a", "b"), "classes", "do not fit"),
        (np.zeros(4, np.int64), (), "number", "float32"),
        (np.zeros(4, np.float32), ("a", "b"), "classes", "int64"),
        (np.zeros(4, np.int64), ("yes", "no"), "yes_no", "not"),
    ],
)
def test_labels_that_do_not_fit_their_kind_are_refused(labels, classes, kind, said):
    with pytest.raises(DataError, match=said):
        Task("q", STORE, labels, classes, np.arange(4), kind=kind)
