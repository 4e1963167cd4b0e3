"""What tests of the engine share: small nets from a seed, strategies with small settings, and ways to compare and stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headstart.catalog.strategies import (
    BornAgainConfig,
    DistillConfig,
    EarlyProbeConfig,
    FullConfig,
    GradualConfig,
    LpftConfig,
    PartialConfig,
    ProbeConfig,
    Recipe,
    RetrainConfig,
    SvmConfig,
)
from headstart.data.task import Task
from headstart.engine.checkpoint import bytes_of
from headstart.engine.fit import Machine
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.engine.run import Drive, Result
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet, mlp
from headstart.stage import Budget, Optimizer, Solve, Stage
from headstart.strategies import STRATEGIES
from headstart.terms.supervised import Supervised
from headstart.terms.teacher import Live
from tests.conftest import make_image_task, make_vector_task

RECIPE = Recipe(epochs=2, batch_size=16, lr=0.1)
SEARCH: dict[str, Any] = {"penalties": (1e-3, 1e-1), "folds": 2}
CONFIGS: Mapping[str, Any] = {
    "probe": ProbeConfig(**SEARCH),
    "svm": SvmConfig(**SEARCH),
    "early_probe": EarlyProbeConfig(depth="best", **SEARCH),
    "partial": PartialConfig(RECIPE, top=1),
    "full": FullConfig(RECIPE, decay=0.8),
    "lpft": LpftConfig(RECIPE, **SEARCH),
    "retrain": RetrainConfig(RECIPE, top=1),
    "gradual": GradualConfig(replace(RECIPE, epochs=3), stages=3),
    "distill": DistillConfig(replace(RECIPE, clip=1.0), temperature=2.0, share=0.3, losses=("hints",)),
    "born_again": BornAgainConfig(replace(RECIPE, epochs=1), generations=1),
}
"""Every strategy with settings small enough to run many times."""

KINDS = ("images", "vectors")


def resnet(size: int = 12, width: int = 4) -> Net:
    """A ResNet-8 whose weights are always the same."""
    with forked(1):
        return cifar_resnet(8, width, size)


def perceptron(features: int = 6) -> Net:
    """Two hidden layers whose weights are always the same."""
    with forked(1):
        return mlp(features, (12, 10))


EVERYTHING: Mapping[str, Any] = {"blocks": 1.0, "heads": 1.0}


def stage(task: Task, **more: Any) -> Stage:
    """Two epochs on everything, or what the test says instead."""
    settings: dict[str, Any] = {
        "trains": EVERYTHING,
        "terms": {"supervised": Supervised("toy")},
        "budget": Budget(epochs=2),
        "optimizer": Optimizer(lr=0.05),
        "batch_size": 16,
    }
    return Stage("s", task, **(settings | more))


def vectors() -> tuple[Net, Task]:
    """A perceptron with an empty head and 35 samples."""
    net = perceptron()
    net.add_head("toy", 3)
    return net, make_vector_task(35)


def images() -> tuple[Net, Task]:
    """A ResNet with an empty head and 35 images."""
    net = resnet()
    net.add_head("toy", 3)
    return net, make_image_task(35, size=12)


@dataclass(frozen=True)
class Case:
    """A strategy on a kind of data."""

    strategy: str
    kind: str

    def net(self) -> Net:
        return resnet() if self.kind == "images" else perceptron()

    def task(self) -> Task:
        # 35 samples in batches of 16: the last batch is smaller.
        return make_image_task(35, size=12) if self.kind == "images" else make_vector_task(35)

    def config(self, **recipe: Any) -> Any:
        """The small settings, with other entries of the recipe where the strategy has one."""
        config = CONFIGS[self.strategy]
        return replace(config, recipe=replace(config.recipe, **recipe)) if recipe and hasattr(config, "recipe") else config

    def stages(self, net: Net, **recipe: Any) -> Iterator[Stage | Solve]:
        more = {"teachers": self.teachers()} if self.strategy == "distill" else {}
        return STRATEGIES[self.strategy](net, self.task(), self.config(**recipe), **more)

    def teachers(self) -> list[Live]:
        """Two that know nothing special: one of another width, which sees every batch, and one whose answers are kept."""
        found = []
        for seed, net in enumerate((resnet(width=6), resnet()) if self.kind == "images" else (perceptron(), perceptron())):
            head = net.add_head("theirs", 3)
            with forked(seed):
                torch.nn.init.normal_(head.linear.weight, std=0.1)
            found.append(Live(net, "theirs"))
        return found


def drive(
    case: Case,
    *,
    wrap: Callable[[Net, Iterable[Stage | Solve]], Iterable[Stage | Solve]] = lambda net, stages: stages,
    seed: int = 0,
    machine: Machine | None = None,
    folder: Path | None = None,
    log: RunLog | None = None,
    **recipe: Any,
) -> tuple[dict[str, Tensor], list[Result]]:
    """Run a case on a fresh net; the final state and what the stages returned."""
    net = case.net()
    drive = Drive(net, seed=seed, machine=machine or Machine(), folder=folder, log=log or RunLog())
    results = drive.run(wrap(net, case.stages(net, **recipe)))
    return state(net), results


def state(net: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter and buffer."""
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that are not equal to the bit."""
    assert set(one) == set(other)
    return [name for name in one if not (torch.equal(one[name], other[name]) or _same_bits(one[name], other[name]))]


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """What `torch.equal` denies of NaN."""
    return (one.shape, one.dtype) == (other.shape, other.dtype) and bytes_of(one) == bytes_of(other)


def stopping_at(stage: str, step: int, path: Path | None = None) -> RunLog:
    """A log that asks the run to stop when `stage` has done `step` steps, as Ctrl-C would."""

    def listen(line: Mapping[str, Any]) -> None:
        if line["event"] == "tick" and line.get("what") == stage and line["done"] == step:
            STOP.requested = True

    return RunLog(path, (listen,))
