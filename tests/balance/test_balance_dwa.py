"""Dynamic weight average against equation 7 computed by hand, and tasks that are not always there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from headstart.balance.dwa import DynamicWeightAverage
from tests.balance.helpers import linear, parameter

ROWS = {"a": (1.0, 0.0), "b": (0.0, 1.0)}


def weights(epochs: Sequence[Sequence[Mapping[str, float]]], temperature: float = 2.0) -> list[dict[str, float]]:
    """Weights at the first step of each epoch, of losses given per step of each epoch."""
    balance = DynamicWeightAverage(("a", "b"), temperature)
    per_epoch = len(epochs[0])
    balance.begin(len(epochs) * per_epoch, per_epoch)
    found, step = [], 0
    for epoch in epochs:
        for number, values in enumerate(epoch):
            w = parameter(2)
            losses = linear(w, {name: ROWS[name] for name in values}, values)
            used = balance.backward(losses, {"shared": [w]}, step)
            if losses:
                assert w.grad is not None
                assert w.grad.tolist() == [used.get("a", 0.0), used.get("b", 0.0)]
            if number == 0:
                found.append(used)
            step += 1
    return found


def by_hand(ratios: Sequence[float], temperature: float = 2.0) -> dict[str, float]:
    exponents = [math.exp(ratio / temperature) for ratio in ratios]
    return {name: 2 * one / sum(exponents) for name, one in zip("ab", exponents, strict=True)}


def test_the_published_case() -> None:
    """Epoch means (1, 1), then (1, 4): 2 softmax((.5, 2)); the first two epochs have weight 1."""
    found = weights([[{"a": 1.0, "b": 1.0}], [{"a": 1.0, "b": 4.0}], [{"a": 1.0, "b": 4.0}]])
    assert found[0] == found[1] == {"a": 1.0, "b": 1.0}
    assert found[2] == pytest.approx({"a": 2 * math.exp(0.5) / (math.exp(0.5) + math.exp(2)), "b": 1.6351481})
    assert sum(found[2].values()) == pytest.approx(2)


@pytest.mark.parametrize("temperature", [0.5, 2.0, 10.0])
def test_ratios_are_of_epoch_means(temperature: float) -> None:
    draw = np.random.default_rng(0).uniform(0.1, 3, (5, 4, 2))
    found = weights([[{"a": a, "b": b} for a, b in epoch] for epoch in draw], temperature)
    means = draw.mean(1)
    for epoch in range(2, 5):
        assert found[epoch] == pytest.approx(by_hand(means[epoch - 1] / means[epoch - 2], temperature), rel=1e-12)


def test_a_loss_of_zero_divides_nothing() -> None:
    found = weights([[{"a": 0.0, "b": 1.0}], [{"a": 2.0, "b": 3.0}], [{"a": 0.0, "b": 3.0}], [{"a": 1.0, "b": 3.0}]])
    assert found[2] == pytest.approx(by_hand((1.0, 3.0)))
    assert found[3] == pytest.approx(by_hand((0.0, 1.0)))


def test_a_large_ratio_overflows_nothing() -> None:
    found = weights([[{"a": 1e-9, "b": 1.0}], [{"a": 1e9, "b": 1.0}], [{"a": 1.0, "b": 1.0}]])
    assert found[2] == pytest.approx({"a": 2.0, "b": 0.0})


def test_absent_in_a_step_is_no_part_of_the_mean_and_absent_in_an_epoch_keeps_the_ratio() -> None:
    epochs = [
        [{"a": 1.0, "b": 2.0}, {"a": 3.0}],
        [{"a": 1.0, "b": 4.0}, {"b": 8.0}],  # ratios 1/2 and 6/2
        [{"a": 1.0, "b": 3.0}, {"a": 1.0}],  # ratios 1 and 1/2
        [{"a": 0.5}, {"a": 1.5}],  # ratio 1, and still 1/2
        [{"a": 2.0, "b": 9.0}, {"b": 9.0}],  # ratio 2, and 9/3 against the last epoch it was there
        [{"a": 1.0, "b": 1.0}, {"b": 1.0}],
    ]
    found = weights(epochs)
    assert found[2] == pytest.approx(by_hand((0.5, 3.0)))
    assert found[3] == {"a": pytest.approx(by_hand((1.0, 0.5))["a"])}
    assert found[4] == pytest.approx(by_hand((1.0, 0.5)))
    assert found[5] == pytest.approx(by_hand((2.0, 3.0)))


def test_a_task_that_comes_late_starts_with_ratio_one() -> None:
    found = weights([[{"a": 1.0}], [{"a": 1.0}], [{"a": 1.0, "b": 2.0}], [{"a": 2.0, "b": 6.0}], [{"a": 2.0, "b": 1.0}]])
    assert found[2] == pytest.approx(by_hand((1.0, 1.0)))
    assert found[3] == pytest.approx(by_hand((1.0, 1.0)))
    assert found[4] == pytest.approx(by_hand((2.0, 3.0)))


def test_other_losses_count_once_and_are_not_weighed() -> None:
    balance = DynamicWeightAverage(("a",))
    balance.begin(3, 1)
    for step in range(3):
        w = parameter(2)
        assert balance.backward(linear(w, {"a": (1, 0), "pull": (0, 1)}, {"a": 1.0, "pull": 5.0}), {}, step)["pull"] == 1.0
        assert w.grad is not None
        assert w.grad.tolist() == [1, 1]
    assert not list(balance.parameters())


def test_a_state_that_is_loaded_replaces_what_was_known() -> None:
    def after(values: Sequence[Mapping[str, float]]) -> DynamicWeightAverage:
        balance = DynamicWeightAverage(("a", "b"))
        balance.begin(9, 1)
        for step, one in enumerate(values):
            w = parameter(2)
            balance.backward(linear(w, ROWS, one), {}, step)
        return balance

    even = {"a": 1.0, "b": 1.0}
    used, other = after([even, even, even]), after([even, {"a": 1.0, "b": 4.0}, even])
    used.load_state_dict(other.state_dict())
    w = parameter(2)
    assert used.backward(linear(w, ROWS, even), {}, 2) == pytest.approx(by_hand((1.0, 4.0)))
