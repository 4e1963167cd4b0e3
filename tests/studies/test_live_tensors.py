"""Tensors alive at once: by hand, and the same whatever ran before."""

import numpy as np
import torch

from headstart.catalog.sharing import SharingConfig
from headstart.catalog.strategies import Recipe
from headstart.data.mix import Mix
from headstart.data.store import store_of
from headstart.data.task import task_of
from headstart.nets.small import mlp
from headstart.strategies.multitask import multitask
from headstart.studies.live_tensors import LiveTensors, training_peak

MB = 250_000  # float32 values


def test_a_tensor_counts_while_it_is_held_and_its_views_count_with_it():
    with LiveTensors() as live:
        first = torch.ones(MB)
        view = first.view(2, -1)[0]
        del first
        assert (live.now, live.peak) == (4 * MB, 4 * MB)
        second = view + 1
        assert live.now == 4 * MB + 2 * MB
        del view
        third = torch.zeros(MB // 2)
        assert (live.now, live.peak) == (4 * MB, 6 * MB)
        del second, third
    assert (live.now, live.peak) == (0, 6 * MB)


def test_what_the_backward_pass_keeps_is_counted():
    weight = torch.ones(MB, requires_grad=True)
    with LiveTensors() as live:
        live.hold([weight])
        kept = (weight.exp() * 2).sin().sum()  # exp keeps its answer, the product nothing, sin its input
        held = live.now
        kept.backward()
    assert held == 3 * 4 * MB + 4
    assert live.peak >= held + 4 * MB


def peak(batch: int, wide: int = 64) -> int:
    drawn = np.random.default_rng(0)
    store = store_of(drawn.normal(size=(300, 32)).astype(np.float32))
    names = ("0", "1")
    tasks = {name: task_of(name, store, drawn.integers(0, 2, 300), names) for name in ("a", "b")}
    mix = Mix("both", tasks, (np.arange(300),))
    config = SharingConfig(recipe=Recipe(epochs=1, batch_size=batch), watch=False)
    return training_peak(mlp(32, (wide, wide)), lambda net: multitask(net, mix, config))


def test_training_takes_the_same_whatever_ran_before_and_more_with_larger_batches():
    first = peak(50)
    wider = peak(50, 256)
    larger = peak(100)
    assert peak(50) == first
    # weights, gradients and momentum are there three times
    few, many = (sum((a + 1) * b for a, b in ((32, w), (w, w), (w, 4))) for w in (64, 256))
    assert wider - first >= 3 * 4 * (many - few)
    assert larger > first
