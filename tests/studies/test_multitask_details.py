"""What is told of single images: what was said, what is true, and whether that is right as far as anybody knows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.catalog.kinds import Kind
from headstart.data.store import store_of
from headstart.data.task import Task
from headstart.studies.multitask_details import _Answers


def answers(kind: Kind, labels: NDArray[np.generic], outputs: NDArray[np.float32], classes: tuple[str, ...]) -> _Answers:
    store = store_of(np.zeros((len(labels), 2), np.float32))
    return _Answers(Task("task", store, labels, classes, np.arange(len(labels)), kind=kind), outputs)


def test_of_several_questions_only_those_known_can_be_wrong() -> None:
    labels = np.array([[1, 0, -1], [1, 0, -1], [0, 0, 0], [-1, -1, -1]], np.int64)
    said = np.array([[2, -1, 3], [-2, -1, 3], [-1, -1, -1], [1, 1, 1]], np.float32)
    found = answers("several", labels, said, ("wet", "dark", "fog"))
    assert [found.words(at) for at in range(4)] == ["wet, fog", "fog", "none", "wet, dark, fog"]
    assert [found.truth(at) for at in range(4)] == ["wet (not known: fog)", "wet (not known: fog)", "none", None]
    assert [found.right(at) for at in range(4)] == [True, False, True, None]


def test_a_class_is_right_wrong_or_not_known_and_a_number_neither() -> None:
    labels, said = np.array([1, 0, -1], np.int64), np.array([[0, 1], [0, 1], [1, 0]], np.float32)
    found = answers("yes_no", labels, said, ("no", "yes"))
    assert [found.right(at) for at in range(3)] == [True, False, None]
    numbers = answers("number", np.array([1.5, np.nan], np.float32), np.array([1.5, 2.0], np.float32), ())
    assert [numbers.right(at) for at in range(2)] == [None, None]
    assert [numbers.truth(at) for at in range(2)] == ["1.5", None]
