"""What one answer about everything costs: one pass of one network, or a pass of a network per task."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from headstart.engine.evaluate import looking
from headstart.engine.step import present
from headstart.nets.cost import block_flops, head_macs
from headstart.nets.net import Net

_ROUNDS, _WARM = 20, 3


def inference_of(
    nets: Mapping[str, Net], sample: np.ndarray[Any, Any] | Mapping[str, np.ndarray[Any, Any]]
) -> dict[str, dict[str, float]]:
    """Operations and milliseconds to answer all questions about one sample, by what `nets` are called.

    sample  `[1, ...]` of the store, or one per network where they see it at sizes of their own. Times are
            medians over rounds in which every network has its turn, on one sample at a time, on the network's device;
            `low` and `high` are the quartiles.
    """
    samples = sample if isinstance(sample, Mapping) else dict.fromkeys(nets, sample)
    calls = {name: _caller(net, samples[name]) for name, net in nets.items()}
    times: dict[str, list[float]] = {name: [] for name in nets}
    for number in range(_WARM + _ROUNDS):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if number >= _WARM:
                times[name].append(1000 * (time.perf_counter() - began))
    found = {}
    for name, net in nets.items():
        low, middle, high = np.percentile(times[name], (25, 50, 75))
        found[name] = {"flops": float(pass_flops(net)), "ms": float(middle), "ms_low": float(low), "ms_high": float(high)}
    return found


def pass_flops(net: Net) -> int:
    """Floating-point operations of one pass that answers with every head."""
    flops = block_flops(net)
    deepest = max((tap for name in net.heads for tap in net.head(name).reads), key=net.block_names.index)
    blocks = sum(flops[name] for name in net.between(None, deepest))
    return 2 * (blocks + sum(head_macs(net, name) for name in net.heads))


def _caller(net: Net, sample: np.ndarray[Any, Any]) -> Callable[[], None]:
    taps = {tap for name in net.heads for tap in net.head(name).reads}
    x = torch.from_numpy(np.array(sample)).to(net.device)

    def call() -> None:
        with looking(net):
            seen = net.run(present(x, net.input), until=max(taps, key=net.block_names.index), taps=taps)
            for name in net.heads:
                net.answer(seen, name)
            if net.device.type == "cuda":
                torch.cuda.synchronize(net.device)

    return call
