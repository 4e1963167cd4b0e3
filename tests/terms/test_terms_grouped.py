"""A teacher of finer classes: probabilities are added, whatever the temperature of the fine logits' scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.terms.grouped import Grouped
from headstart.terms.teacher import Live
from tests.engine.engine_toys import perceptron


def fine() -> Net:
    net = perceptron()
    head = net.add_head("fine", 5)
    draw = np.random.default_rng(0)
    with torch.no_grad():
        head.linear.weight.copy_(torch.from_numpy(draw.normal(size=head.linear.weight.shape)).float())
    return net


def test_probabilities_are_added() -> None:
    net = fine()
    samples = torch.from_numpy(np.random.default_rng(1).normal(size=(7, net.input.size)).astype(np.float32))
    groups = ((3,), (0, 4), (1,))
    own = softmax(Live(net, "fine").of(samples).numpy().astype(np.float64), 1)
    sums = np.stack([own[:, list(group)].sum(1) for group in groups], 1)
    asked = Grouped(net, "fine", groups)
    assert asked.num_classes == 3
    found = softmax(asked.of(samples).numpy().astype(np.float64), 1)
    np.testing.assert_allclose(found, sums / sums.sum(1, keepdims=True), rtol=1e-5)


def test_its_digest_tells_groups_apart() -> None:
    net = fine()
    marks = {Grouped(net, "fine", groups).digest() for groups in (((0, 1), (2,)), ((0,), (1, 2)), ((1, 0), (2,)))}
    assert len(marks) == 3
    assert Grouped(net, "fine", ((0,), (1,))).digest() != Live(net, "fine", order=(0, 1)).digest()


def test_a_class_in_two_groups_is_refused() -> None:
    with pytest.raises(ConfigError, match="more than once"):
        Grouped(fine(), "fine", ((0, 1), (1,)))
