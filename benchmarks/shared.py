"""Multi-task learning: what a step with eight heads on one backbone costs beside a step with one.

Both go through `fit`: the same net, the same augmented batches, every block training; the one has a loss per head, added up.
One pass of the backbone serves all heads, so what is left is their own products and losses. Told apart: what two towers,
alone and with cross-stitch units, cost beside one network.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np

from benchmarks.fine_tune import CLASSES, pictures
from benchmarks.table import Row, row
from benchmarks.timing import in_turn, ratio
from headstart.catalog.sharing import SharingConfig
from headstart.catalog.strategies import Recipe
from headstart.data.mix import Mix, mix_of
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.fit import fit
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.nets.towers import towers
from headstart.strategies.multitask import multitask
from headstart.studies.multitask_arms import stages_of

HEADS = 8


def _tasks(count: int, size: int) -> Mix:
    """Eight questions about the same pictures."""
    first = pictures(count, size)
    draw = np.random.default_rng(1)
    tasks = [
        replace(first, name=f"task{number}", labels=draw.integers(0, CLASSES, len(first.store))) for number in range(HEADS)
    ]
    return mix_of("eight", tasks)


def _compare(name: str, size: int, batch: int, steps: int, pairs: int) -> list[Row]:
    mix = _tasks(steps * batch, size)
    names = tuple(mix.tasks)
    base = build(name, pretrained=False)
    base.heads.clear()
    cfg = SharingConfig(Recipe(epochs=1, batch_size=batch, lr=0.01, warmup=0.0), watch=False)
    starts: dict[str, tuple[Net, Mix]] = {
        "one head": (base, mix.only(names[0])),
        "eight heads": (base, mix),
        "two heads": (base, mix.only(*names[:2])),
        "two towers": (towers(base, names[:2]), mix.only(*names[:2])),
        "two towers mixed": (towers(base, names[:2], stitch=stages_of(base)), mix.only(*names[:2])),
    }
    nets: dict[str, Net] = {}

    def ready(kind: str) -> None:
        nets[kind] = copy.deepcopy(starts[kind][0])

    def go(kind: str) -> None:
        for stage in multitask(nets[kind], starts[kind][1], cfg):
            fit(nets[kind], stage)

    taken = in_turn({kind: (lambda kind=kind: go(kind)) for kind in starts}, pairs, ready=ready)  # type: ignore[misc]
    about = f"{name.split(':')[1]} at {size} px, batches of {batch}"
    return [
        row(f"{about}: step with {HEADS} heads / with one", ratio(taken["eight heads"], taken["one head"]), limit=1.1),
        row(f"{about}: step with two towers / with two heads", ratio(taken["two towers"], taken["two heads"])),
        row(f"{about}: two towers with cross-stitch / without", ratio(taken["two towers mixed"], taken["two towers"])),
    ]


def measure(*, quick: bool) -> list[Row]:
    """A small network, where the work beside its arithmetic shows most, and a larger one on larger pictures."""
    keep_freed_memory()
    pairs, steps = (5, 4) if quick else (15, 8)
    return [
        *_compare("headstart:resnet8", 32, 64, steps, pairs),
        *_compare("headstart:resnet20", 32, 64, max(steps // 2, 2), pairs),
    ]
