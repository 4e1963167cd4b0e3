"""Uncertainty weighting: its loss and gradients by hand, and where it settles."""

from __future__ import annotations

import math

import pytest
import torch

from headstart.balance.uncertainty import Uncertainty
from tests.balance.helpers import linear, parameter

ROWS = {"kind": (1.0, 0.0), "age": (0.0, 1.0)}
VALUES = {"kind": 0.7, "age": 3.0}
KINDS = {"kind": "classes", "age": "number"}


def made(*log_variance: float) -> Uncertainty:
    balance = Uncertainty(("kind", "age"), KINDS).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for one, value in zip(balance.log_variance, log_variance, strict=True):
            one.fill_(value)
    return balance


def test_gradients_are_those_of_the_published_losses() -> None:
    """Classes: L / s^2 + log s. Number: L / (2 s^2) + log s. By z = log s^2, log s = z / 2."""
    z = (0.4, -0.6)
    balance, w = made(*z), parameter(2)
    used = balance.backward(linear(w, ROWS, VALUES), {"shared": [w]}, 0)
    assert used == pytest.approx({"kind": math.exp(-0.4), "age": 0.5 * math.exp(0.6)})
    assert w.grad is not None
    assert w.grad.tolist() == pytest.approx([used["kind"], used["age"]])
    want = [-used["kind"] * 0.7 + 0.5, -used["age"] * 3.0 + 0.5]
    assert [float(one.grad) for one in balance.log_variance] == pytest.approx(want)


def test_equals_the_derivative_of_the_objective() -> None:
    def objective(z: float, age: float) -> float:
        s = math.sqrt(math.exp(z))
        return 0.7 / s**2 + math.log(s) + 3.0 / (2 * math.sqrt(math.exp(age)) ** 2) + math.log(math.sqrt(math.exp(age)))

    balance, w, h = made(0.3, 0.2), parameter(2), 1e-6
    balance.backward(linear(w, ROWS, VALUES), {"shared": [w]}, 0)
    numeric = [(objective(0.3 + h, 0.2) - objective(0.3 - h, 0.2)) / (2 * h)]
    numeric.append((objective(0.3, 0.2 + h) - objective(0.3, 0.2 - h)) / (2 * h))
    assert [float(one.grad) for one in balance.log_variance] == pytest.approx(numeric, rel=1e-6)


def test_settles_where_the_variance_is_the_loss() -> None:
    """The optimum of L / (2 s^2) + log s is s^2 = L; of L / s^2 + log s it is 2 L."""
    balance = made(0.0, 0.0)
    descent = torch.optim.SGD(balance.parameters(), lr=0.2)
    for step in range(300):
        descent.zero_grad()
        w = parameter(2)
        balance.backward(linear(w, ROWS, VALUES), {"shared": [w]}, step)
        descent.step()
    assert [math.exp(one.item()) for one in balance.log_variance] == pytest.approx([2 * 0.7, 3.0], rel=1e-4)
    assert balance.report() == pytest.approx({"log_variance/kind": math.log(1.4), "log_variance/age": math.log(3)}, rel=1e-4)


def test_an_absent_task_is_left_alone_and_other_losses_count_once() -> None:
    balance, w = made(0.0, 0.0), parameter(2)
    used = balance.backward(linear(w, {"kind": ROWS["kind"], "pull": (0.0, 3.0)}), {"shared": [w]}, 0)
    assert used == {"kind": 1.0, "pull": 1.0}
    assert w.grad is not None
    assert w.grad.tolist() == [1, 3]
    assert balance.log_variance[0].grad is not None
    assert balance.log_variance[1].grad is None
    assert balance.backward({"pull": linear(w, {"pull": (1.0, 1.0)})["pull"]}, {}, 1) == {"pull": 1.0}


def test_the_log_variance_stays_in_bounds_and_can_come_back() -> None:
    balance, w = made(-50.0, 50.0), parameter(2)
    used = balance.backward(linear(w, ROWS, VALUES), {"shared": [w]}, 0)
    assert used == pytest.approx({"kind": math.exp(10), "age": 0.5 * math.exp(-10)})
    assert [one.item() for one in balance.log_variance] == [-10, 10]
    grads = [float(one.grad) for one in balance.log_variance]
    assert grads[0] < 0 < grads[1]  # descent leads back inside


@pytest.mark.parametrize("names", [("keys", "values"), ("pop", "training"), ("a", "weight")])
def test_tasks_may_be_called_anything(names: tuple[str, str]) -> None:
    balance = Uncertainty(names, variance=4.0)
    assert [name for name, _ in balance.named_parameters()] == ["log_variance.0", "log_variance.1"]
    assert balance.report() == pytest.approx({f"log_variance/{name}": math.log(4) for name in names})
