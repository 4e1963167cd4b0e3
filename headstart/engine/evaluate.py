"""Looking at a net without changing it, and its answers on a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.data.mix import Mix
from headstart.data.task import Task
from headstart.data.views import PLAIN
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.prefix_cache import Prefix, open_cache
from headstart.engine.step import present
from headstart.nets.net import InputSpec, Net


@contextmanager
def looking(module: nn.Module) -> Iterator[None]:
    """Eval mode and no gradient inside; modes and the random streams (of the CPU and the module's device) stay as before."""
    modes = [(part, part.training) for part in module.modules()]
    devices = {tensor.device for tensor in chain(module.parameters(), module.buffers())}
    try:
        with torch.no_grad(), torch.random.fork_rng([device for device in devices if device.type == "cuda"]):
            module.eval()
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def batch_for(spec: InputSpec, device: str = "cpu") -> int:
    """Samples per pass without gradient: 32 at 224 px, 64 up to 158 px, at least 16.

    Measured on one thread (ResNet-18 at 224 and 96 px, MobileNetV3 at 128, ResNet-20 at 32): 8 take 1.05 to 1.6 times as
    long, 256 up to 1.2 times. Many threads share more, and an accelerator takes sixteen times as many.
    """
    if spec.kind != "image":
        return 1024
    few = max(min(64, 32 * 224 * 224 // max(spec.size * spec.size, 1)), 16)
    return few * (max(min(torch.get_num_threads() // 2, 4), 1) if device == "cpu" else 16)


def answers(
    net: Net, task: Task, head: str | None = None, *, prefix: Prefix | None = None, cache: Path | None = None
) -> NDArray[np.float32]:
    """Logits `[N, C]` of a head on the plain view of every sample of `task`, in the task's order.

    prefix  blocks of `net` before every one that the head reads, passed in batches of the prefix's width
    cache   folder that keeps what `prefix` puts out, for other nets that begin with it; the logits are the same to the bit
    """
    name = head or task.name
    batch_size = prefix.width if prefix is not None else batch_for(net.input, net.device.type)
    reads = net.head(name).reads
    until = max(reads, key=net.block_names.index)
    parts = []
    keep_freed_memory()
    with looking(net):
        start, inputs = _inputs(net, task, prefix, cache)
        for at in range(0, len(task), batch_size):
            x = inputs(task.rows[at : at + batch_size])
            parts.append(net.answer(net.run(x, start=start, until=until, taps=reads), name).float().cpu().numpy())
    return np.concatenate(parts) if parts else np.empty((0, net.head(name).num_classes), np.float32)


def outputs(net: Net, data: Task | Mix, heads: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Per head its outputs `[N, ...]` on the plain view of every sample of `data`, in its order; one pass for all heads."""
    taps = {tap for name in heads for tap in net.head(name).reads}
    until = max(taps, key=net.block_names.index)
    batch_size = batch_for(net.input, net.device.type)
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in heads}
    keep_freed_memory()
    with looking(net):
        for at in range(0, len(data), batch_size):
            x = present(data.store.gather(data.rows[at : at + batch_size]).to(net.device), net.input)
            seen = net.run(x, until=until, taps=taps)
            for name in heads:
                parts[name].append(net.answer(seen, name).float().cpu().numpy())
    return {
        name: np.concatenate(found) if found else np.empty((0, net.head(name).num_classes), np.float32)
        for name, found in parts.items()
    }


def _inputs(
    net: Net, task: Task, prefix: Prefix | None, cache: Path | None
) -> tuple[str | None, Callable[[NDArray[np.int64]], Tensor]]:
    """Where the pass begins, and what gives its input for rows of the store."""
    if prefix is None or prefix.end is None:
        return None, lambda rows: present(task.store.gather(rows).to(net.device), net.input)
    if cache is None:
        return prefix.end, lambda rows: prefix(task.store.gather(rows).to(net.device))
    kept = open_cache(cache, prefix, task, PLAIN, seed=0, autocast=None)
    return prefix.end, lambda rows: kept.gather(0, rows).to(net.device)


def accuracy(net: Net, task: Task, head: str | None = None) -> float:
    """Share answered rightly of the task's samples whose label is known; 0 where none is."""
    known = task.take(np.flatnonzero(task.known))
    right = answers(net, known, head).argmax(1) == known.targets
    return float(right.mean()) if len(known) else 0.0
