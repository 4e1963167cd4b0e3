"""Methods with negatives, carried out by one process or two, with a rule that makes weights tell gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch import distributed as dist

from headstart.catalog.contrast import SimclrConfig
from headstart.engine.run import Drive
from headstart.stage import Budget, Solve, Stage
from headstart.strategies.pretrain import PRETRAIN
from tests.conftest import make_image_task
from tests.engine.engine_toys import state
from tests.engine.together import PLAIN_SGD
from tests.strategies.pretrain.pretrain_toys import SCHOOL, TOYS, Toy, patchwise

METHODS: Mapping[str, tuple[str, Toy]] = {
    **{name: (name, TOYS[name]) for name in ("simclr", "moco", "triplet", "cpc", "amdim")},
    "simclr, nce": ("simclr", Toy(SimclrConfig(SCHOOL, dimensions=8, objective="nce"))),
    "simclr in chunks": ("simclr", Toy(SimclrConfig(SCHOOL, dimensions=8, chunk=3), patchwise, 16)),
}
STEPS = 2
"""13 images in batches of 8 at most: of 7, in parts of 3 and 4, and of 6."""


def learned(name: str) -> dict[str, Tensor]:
    """The net, and what its term remembers, after two steps of the plainest rule."""
    method, toy = METHODS[name]
    net = toy.net()
    kept: list[Stage] = []

    def plainly(stages: Iterable[Stage | Solve]) -> Iterator[Stage]:
        for stage in stages:
            assert isinstance(stage, Stage)
            kept.append(replace(stage, optimizer=replace(PLAIN_SGD, lr=0.002), budget=Budget(steps=STEPS)))
            yield kept[-1]

    Drive(net).run(plainly(PRETRAIN[method](net, make_image_task(13, size=toy.size), toy.config)))
    (term,) = kept[0].terms.values()
    return {f"net.{k}": v for k, v in state(net).items()} | {
        f"term.{k}": v.detach().clone() for k, v in term.state_dict().items() if isinstance(v, Tensor)
    }


def process(rank: int, folder: Path) -> None:
    """Every method, in one of two processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        found = {f"{name}/{key}": value.contiguous() for name in METHODS for key, value in learned(name).items()}
    finally:
        dist.destroy_process_group()
    save_file(found, folder / f"{rank}.safetensors")
