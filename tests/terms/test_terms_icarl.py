"""Sigmoid outputs: new classes from labels, old ones from the old network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.data.task import UNKNOWN
from headstart.errors import ConfigError
from headstart.terms.icarl import SigmoidList
from headstart.terms.teacher import Live
from tests.terms.taught import Shown, big, pictures
from tests.terms.test_terms_replay import two_heads


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def pair(step: Shown, teacher: Live) -> tuple[np.ndarray, np.ndarray]:
    ours = torch.cat([step.logits(name) for name in ("toy", "second")], 1)
    return ours.detach().double().numpy(), teacher.logits(step).double().numpy()


@pytest.mark.parametrize("labels", [[3, 4, 3, 0, 2, 4], [3, 4, UNKNOWN, 0, 2, 4]])
def test_it_is_algorithm_3_one_output_after_the_other(labels: list[int]) -> None:
    step, teacher = Shown(two_heads(), pictures(), torch.tensor(labels)), Live(big(), "toy")
    ours, theirs = pair(step, teacher)
    losses = []
    for i, label in enumerate(labels):
        if label == UNKNOWN:
            continue
        total = 0.0
        for y in range(5):
            target = sigmoid(theirs[i, y]) if y < 3 else float(label == y)
            total -= target * np.log(sigmoid(ours[i, y])) + (1 - target) * np.log(1 - sigmoid(ours[i, y]))
        losses.append(total)
    found = SigmoidList("toy", ("toy", "second"), teacher, old=3)(step).item()
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


def test_without_an_old_network_all_targets_are_labels() -> None:
    step = Shown(two_heads(), pictures(), torch.tensor([0, 1, 2, 3, 4, 0]))
    ours = torch.cat([step.logits(name) for name in ("toy", "second")], 1).detach().double()
    targets = torch.eye(5, dtype=torch.float64)[[0, 1, 2, 3, 4, 0]]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(ours, targets, reduction="sum") / 6
    assert SigmoidList("toy", ("toy", "second"))(step).item() == pytest.approx(expected.item(), rel=1e-5)


def test_mixed_labels_are_targets_as_they_are() -> None:
    shares = torch.rand(6, 5, generator=torch.Generator().manual_seed(0))
    step = Shown(two_heads(), pictures(), shares)
    ours = torch.cat([step.logits(name) for name in ("toy", "second")], 1).detach()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(ours, shares, reduction="sum") / 6
    assert SigmoidList("toy", ("toy", "second"))(step).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_old_network_gets_no_gradient_and_must_know_the_old_classes() -> None:
    step, teacher = Shown(two_heads(), pictures(), torch.tensor([3, 4, 3, 0, 2, 4])), Live(big(), "toy")
    loss: Tensor = SigmoidList("toy", ("toy", "second"), teacher, old=3)(step)
    torch.autograd.grad(loss, list(step.net.heads.parameters()), allow_unused=True)
    assert not loss.isnan()
    assert all(p.grad is None and not p.requires_grad for p in teacher.net.parameters())
    with pytest.raises(ConfigError, match="classes"):
        SigmoidList("toy", ("toy", "second"), teacher, old=2)(step)
