"""A schedule's weights multiply the losses, epoch by epoch or step by step, and nothing trains under a wrong one."""

from __future__ import annotations

import pytest

from headstart.balance.schedule import Schedule
from headstart.catalog.schedules import weight_plan
from headstart.errors import ConfigError
from tests.balance.helpers import linear, parameter

ROWS = {"a": (1.0, 0.0), "b": (0.0, 1.0), "pull": (10.0, 10.0)}


def begun(given: object, steps: int = 8, per_epoch: int = 4, **settings: bool) -> Schedule:
    balance = Schedule(weight_plan(given, ("a", "b"), **settings))  # type: ignore[arg-type]
    balance.begin(steps, per_epoch)
    return balance


def test_gradient_and_weights_follow_the_formula_and_other_losses_count_once() -> None:
    balance = begun({"a": "1 - t", "b": "epoch"})
    for step, (a, b) in {0: (1.0, 1.0), 2: (0.75, 1.0), 6: (0.25, 2.0), 4: (0.5, 2.0)}.items():
        w = parameter(2)
        assert balance.backward(linear(w, ROWS), {"shared": [w]}, step) == {"a": a, "b": b, "pull": 1.0}
        assert w.grad is not None
        assert w.grad.tolist() == [a + 10, b + 10]


def test_a_loss_of_weight_zero_is_as_good_as_absent() -> None:
    balance = begun({"a": "epoch < 2", "b": 1})
    w, v = parameter(2), parameter(2)
    used = balance.backward({**linear(w, {"a": ROWS["a"]}), **linear(v, {"b": ROWS["b"]})}, {"shared": [w, v]}, 4)
    assert used == {"a": 0.0, "b": 1.0}
    assert w.grad is None
    assert v.grad is not None
    w = parameter(2)
    assert balance.backward(linear(w, {"a": ROWS["a"]}), {"shared": [w]}, 5) == {"a": 0.0}
    assert w.grad is None


def test_scaled_weights_add_up_to_the_number_of_tasks_and_absent_ones_keep_theirs() -> None:
    balance = begun({"epoch": [1, 2], "a": [3, 1], "b": [1, 0]}, normalise=True)
    w = parameter(2)
    assert balance.backward(linear(w, ROWS), {"shared": [w]}, 0) == {"a": 1.5, "b": 0.5, "pull": 1.0}
    assert balance.backward(linear(w, {"b": ROWS["b"]}), {"shared": [w]}, 1) == {"b": 0.5}
    assert balance.backward(linear(w, ROWS), {"shared": [w]}, 4) == {"a": 2.0, "b": 0.0, "pull": 1.0}


def test_a_wrong_schedule_is_refused_before_the_first_step() -> None:
    with pytest.raises(ConfigError, match=r"task 'a', epoch 2, step 6: .* divides by zero"):
        begun({"a": "1 / (step - 5) ** 2", "b": 1})


def test_there_is_nothing_to_learn_or_save() -> None:
    balance = begun({"a": "1 - t", "b": 1})
    assert not list(balance.parameters())
    assert balance.state_dict() == {}
    assert balance.report() == {}
    assert balance.tasks == ("a", "b")
