"""The penalty on weights that moved: zero where they were, and of a gradient in closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from headstart.engine import distributed
from headstart.engine.fit import fit
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.terms.penalty import Penalty
from headstart.terms.supervised import Supervised
from tests.engine.engine_toys import images, stage, vectors


class Alone:
    """All that a penalty asks of a step."""

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes

    def once(self, value: Tensor) -> Tensor:
        return value / self.processes


def made(strength: float = 3.0) -> tuple[Net, Penalty, dict[str, Tensor], dict[str, Tensor]]:
    net, _ = images()
    live = {name: one for name, one in net.named_parameters() if name.startswith("blocks.")}
    with forked(4):
        importances = {name: torch.rand_like(one) for name, one in live.items()}
    anchors = {name: one.detach().clone() for name, one in live.items()}
    return net, Penalty(live, strength, anchors=anchors, importances=importances), anchors, importances


def test_it_is_zero_at_the_anchor_and_its_gradient_is_strength_times_importance_times_way() -> None:
    net, penalty, anchors, importances = made()
    step: Any = Alone()
    assert penalty(step).item() == 0
    with torch.no_grad(), forked(5):
        for one in net.parameters():
            one.add_(torch.randn_like(one))
    live = {name: one for name, one in net.named_parameters() if name in anchors}
    found = torch.autograd.grad(penalty(step), list(live.values()))
    told = penalty.gradient()
    for (name, one), gradient in zip(live.items(), found, strict=True):
        expected = 3.0 * importances[name] * (one.detach() - anchors[name])
        torch.testing.assert_close(gradient, expected)
        torch.testing.assert_close(told[name], expected)


def test_the_weights_stay_the_nets_and_what_is_kept_is_saved() -> None:
    net, penalty, anchors, _ = made()
    assert not list(penalty.parameters())
    assert len(penalty.state_dict()) == 2 * len(anchors)
    _, other, _, _ = made()
    with torch.no_grad():
        for value in other.state_dict().values():
            value.zero_()
    other.load_state_dict(penalty.state_dict())
    for name, value in other.state_dict().items():
        assert torch.equal(value, penalty.state_dict()[name])
    assert {one.dtype for one in penalty.double().buffers()} == {torch.float64}
    assert next(net.parameters()).dtype == torch.float32


def test_of_several_processes_each_has_its_part() -> None:
    net, penalty, _, _ = made()
    with torch.no_grad():
        next(net.parameters()).add_(1.0)
    whole, half = (penalty(step) for step in (Alone(), Alone(2)))  # type: ignore[arg-type]
    assert half.item() == pytest.approx(whole.item() / 2)


def test_the_engines_step_divides_by_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Asks(Penalty):
        def forward(self, step: Any) -> Tensor:
            with monkeypatch.context() as patch:
                patch.setattr(distributed, "world_size", lambda: 4)
                seen.append(step.once(torch.tensor(8.0)).item())
            seen.append(step.once(torch.tensor(8.0)).item())
            return super().forward(step)

    net, task = vectors()
    fit(net, stage(task, terms={"supervised": Supervised("toy"), "old": Asks(dict(net.named_parameters()), 0.1)}))
    assert set(seen) == {2.0, 8.0}


def test_a_strong_penalty_keeps_weights_near_their_anchor() -> None:
    ways = []
    for strength in (0.0, 3.0, 10.0):
        net, task = vectors()
        live = dict(net.named_parameters())
        start = {name: one.detach().clone() for name, one in live.items()}
        penalty = Penalty(live, strength, anchors=start)
        fit(net, stage(task, terms={"supervised": Supervised("toy"), "old": penalty}))
        ways.append(sum(float((live[name].detach() - start[name]).square().sum()) for name in live))
    assert ways[0] > 2 * ways[1] > 4 * ways[2]


def test_what_cannot_be_is_said_all_together() -> None:
    net, _ = vectors()
    live = dict(net.named_parameters())
    first, second, *rest = live
    importances = {name: torch.ones_like(live[name]) for name in rest} | {first: -torch.ones_like(live[first])}
    with pytest.raises(ConfigError) as error:
        Penalty(live, -1.0, anchors={name: torch.zeros(7) for name in live}, importances=importances)
    for part in ("strength=-1", "has shape [7]", f"importances lack {second!r}", "negative"):
        assert part in str(error.value)
    with pytest.raises(ConfigError, match="no weights"):
        Penalty({}, 1.0)
