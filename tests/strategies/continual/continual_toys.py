"""What tests of continual methods share: three small tasks one after the other, in every scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from headstart.catalog.continual import (
    METHODS,
    ExpandConfig,
    FineTuneConfig,
    JointConfig,
    Learn,
    LwfConfig,
    NewHeadConfig,
    PacknetConfig,
)
from headstart.catalog.regularised import EwcConfig, FeatureExtractionConfig, L2spConfig, MasConfig, SiConfig
from headstart.catalog.rehearsal import AgemConfig, DerConfig, DerppConfig, IcarlConfig, LwfMcConfig, ReplayConfig
from headstart.catalog.strategies import Recipe
from headstart.data.task import Task
from headstart.engine.fit import Machine
from headstart.engine.log import RunLog
from headstart.engine.past import Learned, Past
from headstart.engine.run import Drive, Result
from headstart.nets.net import Net
from headstart.stage import Solve, Stage
from headstart.strategies.continual import CONTINUAL
from tests.conftest import make_image_task, make_vector_task
from tests.engine.engine_toys import perceptron, resnet, state

LEARN = Learn(Recipe(epochs=2, batch_size=16, lr=0.1, augment=False), scale=0.5)
CONFIGS: Mapping[str, Any] = {
    "fine_tune": FineTuneConfig(LEARN, warmup_epochs=1),
    "feature_extraction": FeatureExtractionConfig(LEARN),
    "l2sp": L2spConfig(LEARN, warmup_epochs=1),
    "ewc": EwcConfig(LEARN, strength=1.0, warmup_epochs=1),
    "si": SiConfig(LEARN, strength=0.1),
    "mas": MasConfig(LEARN, strength=0.1),
    "lwf": LwfConfig(LEARN),
    "packnet": PacknetConfig(LEARN),
    "replay": ReplayConfig(LEARN, capacity=20),
    "der": DerConfig(LEARN, capacity=20),
    "derpp": DerppConfig(LEARN, capacity=20),
    "agem": AgemConfig(LEARN, capacity=20),
    "icarl": IcarlConfig(LEARN, capacity=20),
    "lwf_mc": LwfMcConfig(LEARN),
    "new_head": NewHeadConfig(LEARN, depth="best", penalties=(1e-3, 1e-1), folds=2),
    "expand": ExpandConfig(LEARN, warmup_epochs=1),
    "joint": JointConfig(LEARN, warmup_epochs=1),
}
"""Every method with settings small enough to run many times."""

KINDS = ("images", "vectors")
CLASSES = ("a", "b", "c")


def toy_task(number: int, kind: str, scenario: str) -> Task:
    """Task `number` of the sequence: 35 samples of three classes, other samples for every task."""
    seed = 10 + number
    made = make_image_task(35, size=12, seed=seed) if kind == "images" else make_vector_task(35, seed=seed)
    names = CLASSES if scenario == "domain" else tuple(f"{name}{number}" for name in CLASSES)
    return replace(made, name=f"task{number}", classes=names)


@dataclass(frozen=True)
class Case:
    """A method on a kind of data in a scenario."""

    method: str
    kind: str
    scenario: str

    def __str__(self) -> str:
        return f"{self.method}-{self.kind}-{self.scenario}"

    def net(self) -> Net:
        return resnet() if self.kind == "images" else perceptron()

    def task(self, number: int) -> Task:
        return toy_task(number, self.kind, self.scenario)

    def past(self, seed: int = 0) -> Past:
        return Past(self.scenario, seed=seed)  # type: ignore[arg-type]


CASES = [Case(name, kind, scenario) for name in CONTINUAL for kind in KINDS for scenario in METHODS[name].scenarios]


def increment(
    case: Case,
    net: Net,
    past: Past,
    number: int,
    *,
    wrap: Callable[[Net, Iterable[Stage | Solve]], Iterable[Stage | Solve]] = lambda net, stages: stages,
    seed: int = 0,
    folder: Path | None = None,
    log: RunLog | None = None,
    config: Any = None,
) -> list[Result]:
    """Teach one task more; `past` knows it afterwards."""
    task = case.task(number)
    if METHODS[case.method].old_data:
        past.old = tuple(case.task(n) for n in range(number))
    drive = Drive(net, seed=seed, machine=Machine(), folder=folder, log=log or RunLog())
    stages = CONTINUAL[case.method](net, task, config or CONFIGS[case.method], past=past)
    results = drive.run(wrap(net, stages))
    head = past.tasks[0].head if past.scenario == "domain" and past.tasks else task.name
    past.tasks.append(Learned(task.name, head, task.classes))
    return results


def sequence(case: Case, count: int = 3, **how: Any) -> tuple[Net, Past]:
    """A fresh net that has learned `count` tasks."""
    net, past = case.net(), case.past()
    for number in range(count):
        increment(case, net, past, number, **how)
    return net, past


def all_of(net: Net, past: Past) -> dict[str, Tensor]:
    """Every tensor of net, state and memory, by name."""
    found = {f"net.{name}": value for name, value in state(net).items()}
    found |= {f"state.{name}": value for name, value in _flat(past.state)}
    found |= {f"owners.{name}": value for name, value in past.owners.items()}
    if past.memory is not None:
        kept = past.memory.to_state()
        found |= {f"memory.{name}": value for name, value in kept.items() if isinstance(value, Tensor)}
    return found


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _flat(one, f"{name}/{key}")
    elif isinstance(value, (list, tuple)):
        for place, one in enumerate(value):
            yield from _flat(one, f"{name}/{place}")


def accuracy_of(net: Net, task: Task, head: str) -> float:
    """Share right of `task`'s own samples, by one head."""
    from headstart.engine.evaluate import answers

    return float(np.mean(answers(net, task, head).argmax(1) == task.targets))
