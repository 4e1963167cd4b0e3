"""Contracts on a device: everything that meets there is there, and what is learned is what is learned on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import headstart
from headstart.catalog.pretrain_methods import PRETRAINING
from headstart.catalog.weightings import WEIGHTINGS
from headstart.engine.fit import Machine
from headstart.strategies import STRATEGIES
from headstart.strategies.pretrain import PRETRAIN
from headstart.studies import arms
from tests.conftest import images, others_slow
from tests.contracts import weighed
from tests.engine.engine_toys import CONFIGS, KINDS, Case, differing, drive, resnet, state
from tests.pretended import DEVICE, Elsewhere, pretended
from tests.strategies.continual.continual_toys import CASES as CONTINUAL_CASES
from tests.strategies.continual.continual_toys import Case as ContinualCase
from tests.strategies.continual.continual_toys import all_of, sequence
from tests.strategies.pretrain.pretrain_toys import pretrained


def fetched(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in tensors.items()}


def test_the_pretended_device_refuses_what_a_real_one_refuses() -> None:
    with pretended():
        there, here = torch.randn(3, 4).to("cuda:0"), torch.randn(3, 4)
        assert isinstance(there * 2, Elsewhere)
        assert (there[torch.tensor([0, 2])] * torch.tensor(2.0)).device == DEVICE
        for wrong in (
            lambda: there + here,
            lambda: here[torch.tensor([1], device=DEVICE)],
            lambda: nn.functional.linear(here, there),
            lambda: torch.cat([here, there]),
        ):
            with pytest.raises(RuntimeError, match="same device"):
                wrong()
        with pytest.raises(TypeError, match="to numpy"):
            there.numpy()
        with pytest.raises(TypeError, match="to numpy"):
            np.asarray(there)
        assert np.array_equal(there.cpu().numpy(), there.held.numpy())
        layer = nn.Linear(4, 2)
        weight = layer.weight
        layer.to("cuda:0")
        assert layer.weight is weight
        assert layer.weight.device == DEVICE
        nn.functional.cross_entropy(layer(there), torch.tensor([0, 1, 0]).to("cuda:0")).backward()
        assert layer.weight.grad is not None
        assert layer.weight.grad.device == DEVICE


STRATEGY_CASES = [Case(strategy, kind) for strategy in STRATEGIES for kind in KINDS]
PLAIN_WEIGHTINGS = [name for name, one in WEIGHTINGS.items() if one.family != "by gradients"]


@pytest.mark.parametrize("case", others_slow(STRATEGY_CASES, lambda case: case.kind == "images"), ids=str)
def test_every_strategy(case: Case) -> None:
    with pretended():
        found = fetched(drive(case)[0])
    assert not differing(found, drive(case)[0])


@pytest.mark.parametrize(
    "case",
    others_slow(CONTINUAL_CASES, lambda case: case.kind == "vectors" and case.method in ("lwf", "ewc", "icarl")),
    ids=str,
)
def test_every_continual_method(case: ContinualCase) -> None:
    with pretended():
        found = fetched(all_of(*sequence(case, 2)))
    assert not differing(found, all_of(*sequence(case, 2)))


@pytest.mark.parametrize("name", others_slow(sorted(PRETRAIN), lambda name: name in ("moco", "rotation")))
def test_every_way_to_pretrain(name: str) -> None:
    labelled = PRETRAINING[name].labels
    with pretended():
        found = fetched(state(pretrained(name, labelled=labelled)))
    assert not differing(found, state(pretrained(name, labelled=labelled)))


@pytest.mark.parametrize("name", others_slow(PLAIN_WEIGHTINGS, lambda name: name == "gradnorm"))
def test_every_weighting(name: str) -> None:
    with pretended():
        found: Any = weighed.run(name)
        found = {part: fetched(found[part]) for part in ("net", "balance")}
    alone = weighed.run(name)
    for part, values in found.items():
        assert not differing(values, alone[part])


@pytest.mark.slow
def test_the_main_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From reading images to the saved model, with every strategy."""
    monkeypatch.setattr(arms, "_enough_epochs", lambda *_: 2)
    data, told = images(60, 3, 16), {}
    for device, where in (("cuda:0", pretended), ("cpu", nullcontext)):
        out = tmp_path / device.partition(":")[0]
        with where():
            result = headstart.adapt(data, resnet(16), out=out, device=device, budget="1h", folds=2)
        told[device] = {arm["name"]: arm["accuracy_mean"] for arm in result.summary["arms"]}
        answers = headstart.Model.load(out / "model").predict(data[0])
        told[device] |= {
            "test": result.summary["test"]["accuracy"],
            "chosen": result.summary["chosen"],
            "answers": str(answers),
        }
    assert told["cuda:0"] == told["cpu"]


@pytest.fixture
def mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `Machine` that says nothing else computes in bf16 where that is enough."""
    device, _, *others = Machine.__init__.__defaults__  # type: ignore[misc]
    monkeypatch.setattr(Machine.__init__, "__defaults__", (device, "bf16", *others))


TRAINING = [case for case in STRATEGY_CASES if hasattr(CONFIGS[case.strategy], "recipe")]


@pytest.mark.parametrize("case", others_slow(TRAINING, lambda case: case.kind == "images"), ids=str)
def test_every_strategy_in_mixed_precision(case: Case, mixed: None) -> None:
    """Weights are kept in full precision, are numbers, and are others than those learned in full precision."""
    found, exact = drive(case)[0], drive(case, machine=Machine(precision="float32"))[0]
    assert all(one.dtype == exact[name].dtype for name, one in found.items())
    assert all(bool(one.isfinite().all()) for one in found.values() if one.is_floating_point())
    assert differing(found, exact)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CONTINUAL_CASES if case.kind == "images"], ids=str)
def test_every_continual_method_in_mixed_precision(case: ContinualCase, mixed: None) -> None:
    net, _ = sequence(case, 2)
    assert all(bool(one.isfinite().all()) for one in net.parameters())
    assert {one.dtype for one in net.parameters()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PRETRAIN))
def test_every_way_to_pretrain_in_mixed_precision(name: str, mixed: None) -> None:
    net = pretrained(name, labelled=PRETRAINING[name].labels)
    assert all(bool(one.isfinite().all()) for one in net.parameters())
    assert {one.dtype for one in net.parameters()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN_WEIGHTINGS)
def test_every_weighting_in_mixed_precision(name: str, mixed: None) -> None:
    found = weighed.run(name)
    assert all(bool(one.isfinite().all()) for part in ("net", "balance") for one in found[part].values())
