"""Greedy pretraining: each frozen block once over what is kept of the one below, against all frozen blocks at every step.

The same images, stages and steps, so that both must end with the same bits. Making what is kept is in the time. How much
there is to gain grows with depth: without keeping, block number k trains on top of k - 1 that run anew in every epoch.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.fine_tune import pictures
from benchmarks.table import Row, row
from benchmarks.timing import in_turn, ratio
from headstart.catalog.greedy import GreedyConfig
from headstart.catalog.pretraining import Schooling
from headstart.data.task import Task
from headstart.engine.fit import Machine
from headstart.engine.run import Drive
from headstart.nets.cost import block_flops
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet
from headstart.strategies.common import weighted_blocks
from headstart.strategies.pretrain.greedy import greedy
from headstart.studies.costs import course_of

CONFIG = GreedyConfig(Schooling(epochs=8, batch_size=64, lr=0.05), renderings=2, together=0)


def network(depth: int) -> Net:
    """A residual network for 32 px whose weights are always the same."""
    with forked(0):
        return cifar_resnet(depth, 16, 32)


def learned(depth: int, task: Task, *, keeping: bool) -> Net:
    """It, block by block."""
    net = network(depth)
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as folder:
        Drive(net, 0, Machine(cache=Path(folder) if keeping else None)).run(greedy(net, task, CONFIG))
    return net


def operations(depth: int, task: Task, *, keeping: bool) -> float:
    """Floating-point operations of that, counted."""
    net, machine = network(depth), Machine(cache=Path("cache") if keeping else None)
    return course_of(net, greedy(net, task, CONFIG), task, machine, block_flops(net)).flops


def _compare(depth: int, task: Task, rounds: int) -> list[Row]:
    nets: dict[str, Net] = {}

    def run(keeping: bool) -> None:
        nets["kept" if keeping else "anew"] = learned(depth, task, keeping=keeping)

    taken = in_turn({"anew": lambda: run(False), "kept": lambda: run(True)}, rounds, warm_up=0)
    bound = operations(depth, task, keeping=False) / operations(depth, task, keeping=True)
    state = nets["kept"].state_dict()
    differing = sum(not tensor.equal(state[name]) for name, tensor in nets["anew"].state_dict().items())
    name = f"{len(weighted_blocks(network(depth)))} blocks"
    return [
        row(f"{name}: frozen blocks at every step / once; counted {bound:.2f}", ratio(taken["anew"], taken["kept"])),
        Row(f"{name}: tensors that differ", float(differing), "", limit=0),
    ]


def measure(*, quick: bool) -> list[Row]:
    """Residual networks of 4 and 10 blocks with weights."""
    task = pictures(64 if quick else 256, 32)
    return [found for depth in (8, 20) for found in _compare(depth, task, 2 if quick else 6)]
