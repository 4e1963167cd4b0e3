"""A net's answers, with and without what other nets that begin alike have left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.data.task import UNKNOWN, Task
from headstart.engine.evaluate import accuracy, answers
from headstart.engine.prefix_cache import Prefix
from headstart.nets.net import Net
from tests.conftest import make_vector_task
from tests.engine.engine_toys import images, perceptron


@pytest.mark.parametrize("place", [1, 3, None])
def test_a_shared_prefix_changes_no_bit_and_is_passed_once(tmp_path: Path, place: int | None) -> None:
    net, task = images()
    _answering(net, task)
    first = None if place is None else net.block_names[place]
    prefix = Prefix(net, first, 16)
    plain = answers(net, task, prefix=prefix)
    np.testing.assert_allclose(plain, answers(net, task), atol=1e-5)
    assert np.array_equal(answers(net, task, prefix=prefix, cache=tmp_path), plain)
    with torch.no_grad():
        net.head("toy").linear.weight.mul_(2)
    passes = _counted(net)
    again = answers(net, task, prefix=prefix, cache=tmp_path)
    assert not passes, "the frozen part was passed again"
    assert np.array_equal(again, answers(net, task, prefix=prefix))
    assert not np.array_equal(again, plain)


def test_other_weights_are_never_served_what_these_put_out(tmp_path: Path) -> None:
    net, task = perceptron(), make_vector_task()
    _answering(net, task)
    prefix = Prefix(net, net.block_names[1], 8)
    before = answers(net, task, prefix=prefix, cache=tmp_path)
    with torch.no_grad():
        next(net.blocks[net.block_names[0]].parameters()).add_(1)
    after = answers(net, task, prefix=prefix, cache=tmp_path)
    assert np.array_equal(after, answers(net, task, prefix=prefix))
    assert not np.array_equal(after, before)


def test_samples_whose_label_is_not_known_do_not_count() -> None:
    net, task = perceptron(), make_vector_task(60)
    _answering(net, task)
    labels = task.labels.copy()
    labels[::2] = UNKNOWN
    assert accuracy(net, replace(task, labels=labels)) == accuracy(net, task.take(np.arange(1, 60, 2)))


def _answering(net: Net, task: Task) -> None:
    """Give it a head, which is empty at first."""
    weight = net.add_head("toy", task.num_classes).linear.weight
    with torch.no_grad():
        weight.normal_(generator=torch.Generator().manual_seed(0))


def _counted(net: Net) -> list[int]:
    passes: list[int] = []
    net.blocks[net.block_names[0]].register_forward_hook(lambda *_: passes.append(1))
    return passes
