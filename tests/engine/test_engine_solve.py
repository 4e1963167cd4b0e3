"""How a solver's strength is chosen where samples hang together in groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart.data.task import Task
from headstart.engine.solve import solve
from headstart.errors import DataError
from headstart.stage import Solve
from tests.conftest import make_vector_task
from tests.engine.engine_toys import perceptron


def in_groups(groups: np.ndarray) -> Task:
    return replace(make_vector_task(len(groups)), groups=groups.astype(np.int64))


def chosen(task: Task) -> dict[str, float]:
    net = perceptron()
    net.add_head("toy", 3)
    return solve(net, Solve("probe", task, "toy", (), "logistic", (1e-3, 1e-1), 5)).tried


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_few_groups_are_enough_to_choose_by(groups: int) -> None:
    """Folds are counted in groups and not in images: of two groups there are two folds, however many images they hold."""
    assert set(chosen(in_groups(np.arange(36) // 3 % groups))) == {"@0.001", "@0.1"}


def test_groups_of_two_classes_each_are_dealt_to_more_folds() -> None:
    """Each class lies in two of three groups: of two folds one would hold a class whole."""
    pairs = np.array([[0, 1], [1, 2], [2, 0]])
    assert max(chosen(in_groups(pairs[np.arange(36) % 3, np.arange(36) // 3 % 2])).values()) > 0.5


def test_a_class_within_one_group_cannot_be_chosen_for() -> None:
    with pytest.raises(DataError, match="all images of class 'class0', class 'class1', class 'class2' are in one group"):
        chosen(in_groups(np.arange(36) % 3))
