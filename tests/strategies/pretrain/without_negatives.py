"""Methods without negatives, carried out by one process or two, with a rule that makes weights tell gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch import distributed as dist

from headstart.engine.run import Drive
from headstart.stage import Budget, Solve, Stage
from headstart.strategies.pretrain import PRETRAIN
from tests.conftest import make_image_task
from tests.engine.engine_toys import state
from tests.engine.together import PLAIN_SGD
from tests.strategies.pretrain.pretrain_toys import TOYS, Toy

METHODS = ("byol", "simsiam", "barlow", "vicreg", "dino", "deepcluster", "swav", "mae")
STEPS = 3
IMAGES = 28
"""In batches of 8 at most: even ones have 7, in parts of 3 and 4; others have 8."""


@dataclass(frozen=True)
class Case:
    """A method, how it is tried, and how many steps are compared."""

    method: str
    toy: Toy
    steps: int = STEPS


def normalised() -> Case:
    """DINO with the head that it has on networks with batch normalisation, on 7 images, parts of 3 and 4.

    One step: what it normalises hardly varies at first, and rounding grows tenfold with every further one.
    """
    toy = TOYS["dino"]
    school = replace(toy.config.school, batch_size=7)
    return Case("dino", replace(toy, config=replace(toy.config, norm=True, school=school)), 1)


CASES: Mapping[str, Case] = {
    **{name: Case(name, TOYS[name]) for name in METHODS},
    "dino, normalised head": normalised(),
}


def plainly(stages: Iterable[Stage | Solve], steps: int) -> Iterator[Stage | Solve]:
    """The first stage for some steps, by the plainest rule."""
    for stage in stages:
        assert isinstance(stage, Stage)
        yield replace(stage, optimizer=replace(PLAIN_SGD, lr=0.02), budget=Budget(steps=steps), carry=False)
        return


def learned(name: str) -> dict[str, Tensor]:
    """The net, and what its term remembers, after the case's steps."""
    case = CASES[name]
    net = case.toy.net()
    kept: list[Stage] = []

    def watched(stages: Iterable[Stage | Solve]) -> Iterator[Stage | Solve]:
        for stage in stages:
            assert isinstance(stage, Stage)
            kept.append(stage)
            yield stage

    stages = PRETRAIN[case.method](net, make_image_task(IMAGES, size=case.toy.size), case.toy.config)
    Drive(net).run(watched(plainly(stages, case.steps)))
    (term,) = kept[0].terms.values()
    return {f"net.{k}": v for k, v in state(net).items()} | {
        f"term.{k}": v.detach().clone() for k, v in term.state_dict().items() if isinstance(v, Tensor)
    }


def process(rank: int, folder: Path) -> None:
    """Every method, in one of two processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        found = {f"{name}/{key}": value.contiguous() for name in CASES for key, value in learned(name).items()}
    finally:
        dist.destroy_process_group()
    save_file(found, folder / f"{rank}.safetensors")
