"""Small settings of every way to pretrain, and a small net and images to try them on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headstart.catalog.contrast import AmdimConfig, CpcConfig, MocoConfig, SimclrConfig, TripletConfig
from headstart.catalog.greedy import GreedyConfig, SupervisedConfig
from headstart.catalog.pretext import JigsawConfig, RelativePositionConfig, RotationConfig
from headstart.catalog.pretraining import Schooling
from headstart.catalog.self_supervision import (
    BarlowConfig,
    ByolConfig,
    DeepClusterConfig,
    DinoConfig,
    MaeConfig,
    SimSiamConfig,
    SwavConfig,
    VicregConfig,
)
from headstart.data.task import UNKNOWN, Task
from headstart.engine.fit import Machine
from headstart.engine.log import RunLog
from headstart.engine.run import Drive
from headstart.nets.net import Net
from headstart.nets.patches import amdim_encoder, cpc_encoder
from headstart.nets.rng import forked
from headstart.nets.vit import vit
from headstart.strategies.pretrain import PRETRAIN
from tests.conftest import make_image_task
from tests.engine.engine_toys import resnet

SCHOOL = Schooling(epochs=2, batch_size=8, lr=0.02)
IMAGES = 22
"""Batches of 8 do not divide them: even ones have 8, 7 and 7 images, others leave 6 for the last."""


@dataclass(frozen=True)
class Toy:
    """How a method is tried.

    config  small settings
    net     a new small network each time
    size    side of the images
    """

    config: Any
    net: Callable[[], Net] = resnet
    size: int = 12


def transformer() -> Net:
    """A vision transformer of two layers whose weights are always the same."""
    with forked(1):
        return vit(12, 3, width=8, depth=2, heads=2)


def patchwise() -> Net:
    """An encoder of patches whose weights are always the same."""
    with forked(1):
        return cpc_encoder(16, 8, 1)


def mapped() -> Net:
    """An encoder with maps of 7x7, 5x5 and 1x1 places whose weights are always the same."""
    with forked(1):
        return amdim_encoder(32, 2)


TOYS: Mapping[str, Toy] = {
    "supervised": Toy(SupervisedConfig(SCHOOL)),
    "greedy": Toy(GreedyConfig(Schooling(epochs=1, batch_size=12, lr=0.02), renderings=1, together=1, together_scale=1.0)),
    "byol": Toy(ByolConfig(SCHOOL, dimensions=8, hidden=16)),
    "simsiam": Toy(SimSiamConfig(SCHOOL, dimensions=16, hidden=8)),
    "barlow": Toy(BarlowConfig(SCHOOL, dimensions=16)),
    "vicreg": Toy(VicregConfig(SCHOOL, dimensions=16)),
    "dino": Toy(DinoConfig(SCHOOL, local=2, words=16, hidden=64, bottleneck=8, norm=False)),
    "deepcluster": Toy(DeepClusterConfig(SCHOOL, clusters=5)),
    "swav": Toy(SwavConfig(SCHOOL, pipeline="dino", local=1, prototypes=6, dimensions=8, hidden=16, queue=12)),
    "mae": Toy(MaeConfig(SCHOOL, width=8), transformer),
    "simclr": Toy(SimclrConfig(SCHOOL, dimensions=8)),
    "moco": Toy(MocoConfig(SCHOOL, queue=20, groups=2, momentum=0.9, dimensions=8)),
    "triplet": Toy(TripletConfig(SCHOOL, dimensions=8)),
    "rotation": Toy(RotationConfig(SCHOOL)),
    "relative_position": Toy(RelativePositionConfig(SCHOOL, hidden=16), partial(resnet, 16), 16),
    "jigsaw": Toy(JigsawConfig(SCHOOL, permutations=6, hidden=16), partial(resnet, 16), 16),
    "cpc": Toy(CpcConfig(SCHOOL, width=8, layers=1, rows=2), patchwise, size=16),
    "amdim": Toy(AmdimConfig(SCHOOL, dimensions=8), mapped, size=32),
}
"""Every method with settings small enough to run many times."""


def images(toy: Toy, *, labelled: bool = False) -> Task:
    """A few images; nothing is known about them unless the method learns from labels."""
    task = make_image_task(IMAGES, size=toy.size)
    if not labelled:
        task = Task(task.name, task.store, task.labels * 0 + UNKNOWN, task.classes, task.rows)
    return task


def pretrained(
    name: str, *, seed: int = 0, folder: Path | None = None, log: RunLog | None = None, labelled: bool = False
) -> Net:
    """A net after the method; every number follows from the seed."""
    toy = TOYS[name]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = toy.net()
    drive = Drive(net, seed, Machine(checkpoint_every=0.0), folder, None, log or RunLog(None))
    drive.run(PRETRAIN[name](net, images(toy, labelled=labelled), toy.config))
    return net


def parted(found: Mapping[str, Tensor], alone: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> tuple[float, float]:
    """How far what two processes learned is from what one did: of the net and of the rest.

    Of the net (keys `net.*`, `start` as drawn): as a share of the way that all its numbers went together. Of what a term
    remembers: the most of any tensor, as a share of its length (and a little more, since of a bias which a normalisation
    takes back nothing but rounding is left). Whole numbers must be equal.
    """
    apart = moved = most = 0.0
    for key, value in alone.items():
        if not value.is_floating_point():
            assert torch.equal(found[key], value), key
            continue
        between = float((found[key] - value).double().norm())
        if key.startswith("net."):
            apart += between**2
            moved += float((value - start[key.removeprefix("net.")]).double().square().sum())
        else:
            most = max(most, between / (float(value.double().norm()) + 0.01))
    return (apart / moved) ** 0.5, most
