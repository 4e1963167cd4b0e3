"""Watching gradients: right numbers, and not a bit of the training changed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.balance.base import Balance
from headstart.balance.dwa import DynamicWeightAverage
from headstart.balance.fixed import Fixed
from headstart.balance.gradnorm import GradNorm
from headstart.balance.uncertainty import Uncertainty
from headstart.balance.watched import Watched
from tests.balance.helpers import linear, parameter

ROWS = {"a": (3.0, 4.0), "b": (0.0, 2.0), "c": (-4.0, 3.0)}


def test_norms_and_cosines_by_hand() -> None:
    w, head = parameter(2), parameter(1, 1.0)
    balance = Watched(Fixed(tasks=("a", "b", "c")), ("a", "b", "c"), every=1)
    balance.begin(4, 2)
    losses = {name: loss + 100 * head.sum() for name, loss in linear(w, ROWS).items()}  # heads are not compared
    assert balance.backward(losses, {"shared": [w], "heads": [head]}, 0) == {"a": 1.0, "b": 1.0, "c": 1.0}
    assert balance.report() == pytest.approx(
        {"norm/a": 5, "norm/b": 2, "norm/c": 5, "cosine/a/b": 0.8, "cosine/a/c": 0.0, "cosine/b/c": 0.6}
    )
    assert balance.report() == balance.report()
    assert balance.tasks == ("a", "b", "c")


def test_means_over_the_epoch_of_what_is_there_and_a_fresh_start_for_the_next() -> None:
    balance = Watched(Fixed(), ("a", "b"), every=1)
    balance.begin(4, 2)
    for step, rows in enumerate([{"a": (2.0, 0.0), "b": (1.0, 0.0)}, {"a": (4.0, 0.0)}, {"b": (0.0, 0.0)}]):
        w = parameter(2)
        balance.backward(linear(w, rows), {"shared": [w]}, step)
        if step == 1:
            assert balance.report() == {"norm/a": 3.0, "norm/b": 1.0, "cosine/a/b": 1.0}
    assert balance.report() == {"norm/b": 0.0}  # no cosine with a gradient of zero
    w = parameter(2)
    balance.backward(linear(w, {"a": (1.0, 0.0), "b": (0.0, 0.0)}), {"shared": [w]}, 3)
    assert balance.report() == {"norm/a": 1.0, "norm/b": 0.0}


@pytest.mark.parametrize(("every", "measured"), [(None, [0, 3]), (2, [0, 2, 4]), (1, [0, 1, 2, 3, 4, 5])])
def test_it_measures_as_often_as_asked(every: int | None, measured: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(Watched, "_measure", lambda *_: seen.append(step))
    balance = Watched(Fixed(), ("a",), every)
    balance.begin(6, 3)
    for step in range(6):
        w = parameter(2)
        balance.backward(linear(w, {"a": ROWS["a"]}), {"shared": [w]}, step)
    assert seen == measured
    with pytest.raises(ValueError, match="every=0 must be"):
        Watched(Fixed(), ("a",), 0)


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 2))


def _train(kind: str, watched: bool) -> list[torch.Tensor]:
    net = _net()
    inner: Balance = {
        "sum": lambda: Fixed({"a": 0.3}),
        "dwa": lambda: DynamicWeightAverage(("a", "b")),
        "uncertainty": lambda: Uncertainty(("a", "b"), {"a": "number"}),
        "gradnorm": lambda: GradNorm(("a", "b"), net[0].parameters()),
    }[kind]()
    balance = Watched(inner, ("a", "b"), every=2) if watched else inner
    balance.begin(9, 3)
    descent = torch.optim.SGD([*net.parameters(), *balance.parameters()], lr=0.1, momentum=0.9)
    for step in range(9):
        torch.manual_seed(step)
        out = net(torch.randn(5, 3))
        losses = {"a": out[:, 0].square().mean(), "b": out[:, 1].exp().mean(), "pull": net[0].weight.square().sum()}
        balance.backward(losses, {"shared": list(net[0].parameters()), "heads": list(net[3].parameters())}, step)
        descent.step()
        descent.zero_grad()
    return [*net.parameters(), *balance.parameters(), torch.rand(1)]


@pytest.mark.parametrize("kind", ["sum", "dwa", "uncertainty", "gradnorm"])
def test_watching_changes_not_a_bit(kind: str) -> None:
    for alone, watched in zip(_train(kind, False), _train(kind, True), strict=True):
        assert torch.equal(alone, watched)


def test_what_was_measured_survives_a_resume() -> None:
    first = Watched(Uncertainty(("a", "b")), ("a", "b"), every=1)
    first.begin(4, 4)
    w = parameter(2)
    first.backward(linear(w, {"a": ROWS["a"], "b": ROWS["b"]}), {"shared": [w]}, 0)
    second = Watched(Uncertainty(("a", "b")), ("a", "b"), every=1)
    second.load_state_dict(first.state_dict())
    second.begin(4, 4)
    assert second.report() == first.report()
    for balance in (first, second):
        w = parameter(2)
        balance.backward(linear(w, {"a": ROWS["b"], "b": ROWS["c"]}), {"shared": [w]}, 1)
    assert second.report() == first.report()
    assert first.report()["norm/a"] == pytest.approx(3.5)
    assert "log_variance/a" in first.report()
