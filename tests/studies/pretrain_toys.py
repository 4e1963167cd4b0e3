"""A small way to pretrain, images and a network to try the job with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

import headstart
from headstart.catalog.pretraining import PretrainMethod, Schooling
from headstart.data.task import Task
from headstart.data.views import Flip, Shift, View
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.stage import Stage
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.studies.pretrain import PretrainResult
from headstart.terms.base import StepLike, Term
from tests.conftest import images
from tests.engine.engine_toys import resnet

ABOUT = PretrainMethod("pretext", "was the image turned upside down?", "nobody", 1.0, "toys only")
COUNT, SIZE = 120, 12


@dataclass(frozen=True)
class FlippedConfig:
    """Tell images that stand on their head from those that do not."""

    school: Schooling = field(default_factory=lambda: Schooling(epochs=4, batch_size=16, lr=0.05))
    poison: bool = False
    """whether the loss is no number from the third epoch on"""

    def faults(self) -> list[str]:
        return self.school.faults()


class Flipped(Term):
    """Cross-entropy of two answers on images of which half are upside down."""

    def __init__(self, net: Net, poison: bool) -> None:
        super().__init__()
        self.block, self.reads, self.pool, self.poison = net.last, (net.last,), net.pooled, poison
        self.head = nn.Linear(net.info[net.last].channels, 2)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def chance(self) -> float:
        return math.log(2)

    def forward(self, step: StepLike) -> torch.Tensor:
        samples = step.samples("one")
        labels = torch.arange(len(samples)) % 2
        turned = torch.where(labels[:, None, None, None] == 1, samples.flip(1), samples)
        logits = self.head(self.pool(self.block, step.run(turned, taps=[self.block])[self.block]))
        loss = step.mean_all(nn.functional.cross_entropy(logits, labels, reduction="none"))
        return loss * math.nan if self.poison and int(self.steps) >= 14 else loss

    def after_step(self, step: StepLike) -> None:
        self.steps += 1


def flipped(net: Net, data: Task, cfg: FlippedConfig | None = None) -> Iterator[Stage]:
    """The toy method; it must not see a label."""
    assert not data.known.any()
    cfg = cfg or FlippedConfig()
    views = {"one": View((Shift(), Flip()))}
    with forked(cfg.school.seed):
        term = Flipped(net, cfg.poison)
    yield pretrain_stage("flipped", net, data, {"flipped": term}, views, cfg.school)


def arrays(count: int = COUNT, labelled: bool = True) -> Any:
    """Images `[N, 12, 12, 3]`, three classes, or none."""
    pixels, labels = images(count, 3, SIZE)
    return (pixels, labels) if labelled else pixels


def run(out: Path, data: Any = None, method: Any = flipped, **settings: Any) -> PretrainResult:
    """`headstart.pretrain` on a small net; no verdict unless `budget` says so."""
    about = {} if isinstance(method, str) else {"about": ABOUT}
    used: dict[str, Any] = {"device": "cpu", "budget": "0", "looks": 4, **settings}
    backbone = used.pop("backbone", None) or resnet()
    return headstart.pretrain(arrays() if data is None else data, method, backbone, out=out, **about, **used)
