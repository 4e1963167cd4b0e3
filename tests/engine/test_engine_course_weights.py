"""What an epoch's line says about weights: means over steps a loss was there, their sum, and the balance's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from headstart.balance.base import Balance, Groups
from headstart.balance.fixed import Fixed
from headstart.engine.checkpoint import Checkpoints
from headstart.engine.fit import Machine, fit
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.errors import Interrupted
from headstart.terms.base import StepLike, Term
from headstart.terms.supervised import Supervised
from tests.engine.engine_toys import stage, stopping_at, vectors


class Growing(Balance):
    """Weighs by the number of the step, and counts what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks = ("supervised", "now_and_then", "never")
        self.begun: list[tuple[int, int]] = []
        self.steps = 0

    def begin(self, steps: int, per_epoch: int) -> None:
        self.begun.append((steps, per_epoch))

    def backward(self, losses: Mapping[str, Tensor], groups: Groups, step: int) -> dict[str, float]:
        self.steps += 1
        sum(losses.values()).backward()  # type: ignore[union-attr]
        return {name: float(step + 1) for name in losses}

    def report(self) -> dict[str, float]:
        return {"steps": float(self.steps)}


class NowAndThen(Term):
    """Is there at every other step; a constant 6 with a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def absent(self, step: StepLike) -> bool:
        self.calls += 1
        return self.calls % 2 == 0

    def forward(self, step: StepLike) -> Tensor:
        return 6 + 0 * step.logits("toy").sum()


@pytest.fixture(autouse=True)
def _not_stopped() -> Iterator[None]:
    yield
    STOP.requested = False


def lines(balance: Balance, log: RunLog | None = None, folder: Path | None = None, **more: Any) -> list[dict[str, Any]]:
    net, task = vectors()
    found: list[dict[str, Any]] = []
    log = RunLog(None, (*(log.listeners if log else ()), found.append))
    machine = Machine(checkpoint_every=1e9)
    fit(
        net,
        stage(task, balance=balance, **more),
        machine=machine,
        log=log,
        checkpoints=Checkpoints(folder) if folder else None,
    )
    return [line for line in found if line["event"] == "epoch"]


def test_weights_and_losses_are_means_over_the_steps_they_were_there() -> None:
    """Three steps an epoch: 1 2 3, 4 5 6; the second loss at 1 3, 5."""
    balance = Growing()
    first, second = lines(balance, terms={"supervised": Supervised("toy"), "now_and_then": NowAndThen()})
    assert balance.begun == [(6, 3)]
    assert first["weights"] == {"supervised": 2.0, "now_and_then": 2.0}
    assert second["weights"] == {"supervised": 5.0, "now_and_then": 5.0}
    assert first["losses"]["now_and_then"] == second["losses"]["now_and_then"] == 6.0
    assert first["loss"] == pytest.approx(2 * first["losses"]["supervised"] + 2 * 6)
    assert (first["weight_sum"], second["weight_sum"]) == (4.0, 10.0)
    assert (first["balance"], second["balance"]) == ({"steps": 3.0}, {"steps": 6.0})


def test_a_mean_survives_a_resume(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        lines(Growing(), stopping_at("s", 2), tmp_path)
    STOP.requested = False
    balance = Growing()
    resumed, want = lines(balance, folder=tmp_path), lines(Growing())
    assert balance.begun == [(6, 3)]
    for line in (*resumed, *want):
        del line["seconds"], line["balance"]
    assert resumed == want


@pytest.mark.parametrize("weight", [1.0, 0.1, 1 / 3])
def test_constant_weights_are_told_to_the_bit_and_single_tasks_say_no_more_than_ever(weight: float) -> None:
    for line in lines(Fixed({"supervised": weight})):
        assert line["weights"] == {"supervised": weight}
        assert line["loss"] == line["losses"]["supervised"] * weight
        assert set(line) == {"event", "stage", "epoch", "loss", "losses", "weights", "lr", "seconds"}
    assert all(line["weight_sum"] == weight for line in lines(Fixed({"supervised": weight}, tasks=("supervised",))))
