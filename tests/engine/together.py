"""Stages that two processes carry out together, and one process alone, for tests that compare them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed as dist
from torch import nn

from headstart.balance.agem import AGem
from headstart.data.memory import Memory
from headstart.data.task import UNKNOWN, Task
from headstart.data.views import PLAIN, standard_view
from headstart.engine import distributed, interrupt
from headstart.engine.checkpoint import save_state
from headstart.engine.fit import Machine, fit
from headstart.engine.log import RunLog
from headstart.engine.run import Drive
from headstart.errors import HeadstartError, RunFolderMismatch
from headstart.nets.net import Net
from headstart.stage import Adapt, Budget, Evaluate, Optimizer, Stage, Train
from headstart.terms.dark import Dark
from headstart.terms.rehearsal import Draws, Heads
from headstart.terms.replay import Replay
from headstart.terms.supervised import Supervised
from tests.conftest import make_image_task, make_vector_task
from tests.engine.engine_toys import Case, perceptron, resnet, state

PLAIN_SGD = Optimizer(lr=0.5, momentum=0.0, weight_decay=0.0, schedule="constant", warmup=0.0)
"""One step of it moves weights by half their gradient, so that equal weights mean equal gradients."""


def uneven_task(kind: str) -> Task:
    """35 samples in batches of 16, so that the last batch is 3 and parts are 1 and 2; classes of 4, 11 and 14; 6 unknown."""
    task = make_image_task(35, size=12) if kind == "images" else make_vector_task(35)
    order = np.random.default_rng(3).permutation(35)
    labels = np.empty(35, np.int64)
    labels[order] = np.repeat([0, 1, 2, UNKNOWN], [4, 11, 14, 6])
    return replace(task, labels=labels)


def stage(net: Net, task: Task, **settings: Any) -> Stage:
    """A stage on everything, with what a case changes."""
    net.add_head("toy", 3)
    with torch.no_grad():
        net.head("toy").linear.weight.copy_(torch.linspace(-1, 1, net.head("toy").linear.weight.numel()).view(3, -1))
    usual: dict[str, Any] = {
        "trains": {"blocks": 1.0, "heads": 1.0},
        "terms": {"supervised": Supervised("toy", smoothing=0.1, class_weights=(3.0, 1.0, 0.5))},
        "budget": Budget(steps=5),
        "optimizer": Optimizer(lr=0.05),
        "batch_size": 16,
    }
    return Stage("together", task, **{**usual, **settings})


@dataclass
class Luck:
    """A number that falls in the first process and rises in the others, as measured seconds might."""

    looks: int = 0

    def __call__(self, net: nn.Module) -> dict[str, float]:
        self.looks += 1
        first = not dist.is_initialized() or dist.get_rank() == 0
        return {"luck": float(-self.looks if first else self.looks)}


def rehearsed(kind: str, **balanced: Any) -> dict[str, Any]:
    """Stored samples of an earlier task beside the new ones, 7 at every step, augmented where they are images."""
    task = uneven_task(kind)
    memory = Memory.empty(9, task.store.array.shape[1:], task.store.array.dtype)
    memory = memory.put(np.arange(9), task.store.array[:9], np.arange(9) % 3, 0, offered=9)
    last = "pool" if kind == "images" else perceptron().last
    heads, draws = Heads(("toy",), (3,), (0, 0), (last,), False), Draws(3, 7, standard_view(12))
    terms = {
        "new": Supervised("toy"),
        "memory": Replay("toy", memory, heads, draws),
        "dark": Dark(task, memory, 1, heads, draws, alpha=0.5, beta=0.5),
    }
    return {"terms": terms, "trains": FROZEN_NORM, "optimizer": Optimizer(lr=0.03), **balanced}


FROZEN_NORM = {"blocks": Train(1.0, norm="frozen"), "heads": 1.0}
STAGES: Mapping[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "gradients without batchnorm": ("vectors", lambda: {"optimizer": PLAIN_SGD, "budget": Budget(steps=1)}),
    "gradients of the last batch": ("vectors", lambda: {"optimizer": PLAIN_SGD, "budget": Budget(steps=3)}),
    "gradients with frozen batchnorm": (
        "images",
        lambda: {"optimizer": PLAIN_SGD, "budget": Budget(steps=1), "trains": FROZEN_NORM},
    ),
    "gradients with trained batchnorm": ("images", lambda: {"optimizer": PLAIN_SGD, "budget": Budget(steps=1)}),
    "frozen batchnorm, augmented": ("images", lambda: {"trains": FROZEN_NORM, "views": {"main": standard_view(12)}}),
    # at other rates an activation comes within rounding of ReLU's kink, and a whole gradient hangs on the order of adding
    "trained batchnorm, augmented": (
        "images",
        lambda: {"views": {"main": standard_view(12)}, "average": 0.9, "optimizer": Optimizer(lr=0.03)},
    ),
    "part trained, cached": (
        "images",
        lambda: {"trains": {"blocks.layer3_0": 1.0, "heads": 1.0}, "views": {"main": PLAIN}, "cache": "on"},
    ),
    "clipped adamw": ("vectors", lambda: {"optimizer": Optimizer(lr=0.01, kind="adamw", clip=0.1)}),
    "adapted statistics": ("images", lambda: {"trains": {"blocks": Adapt(), "heads": 1.0}}),
    "rehearsed": ("images", lambda: rehearsed("images")),
    "rehearsed and projected": ("vectors", lambda: rehearsed("vectors", balance=AGem("memory"))),
    "watched": (
        "vectors",
        lambda: {"evaluate": Evaluate(1, Luck(), monitor="luck", patience=1), "budget": Budget(epochs=4)},
    ),
}


def carry_out(name: str, folder: Path) -> dict[str, Any]:
    """One of the stages above on a fresh net."""
    kind, settings = STAGES[name]
    net = resnet() if kind == "images" else perceptron()
    lines: list[dict[str, Any]] = []
    log = RunLog(None, (lines.append,))
    result = fit(net, stage(net, uneven_task(kind), **settings()), machine=Machine(cache=folder / "cache"), log=log)
    losses = [line["loss"] for line in lines if line["event"] == "epoch"]
    return {"net": state(net), "steps": result.steps, "losses": losses}


STRATEGIES = ("lpft", "distill")
"""One with a solved and a trained stage, and one with a teacher that answers live and one whose answers are kept."""


def strategy(name: str, folder: Path) -> dict[str, Any]:
    """A strategy saved and loaded again."""
    case = Case(name, "vectors")
    for _ in range(2):
        net = case.net()
        Drive(net, folder=folder / name).run(case.stages(net))
    return {"net": state(net), "steps": 0, "losses": []}


def everything(folder: Path) -> dict[str, Any]:
    """All stages and strategies."""
    return {name: carry_out(name, folder) for name in STAGES} | {name: strategy(name, folder) for name in STRATEGIES}


def failures(rank: int, folder: Path) -> None:
    """What `first` gives each process, errors as `[kind, text, exit code, told]`; then one leaves without a word."""

    def settings() -> int:
        raise RunFolderMismatch("of another run")

    def defect() -> int:
        raise ZeroDivisionError("by nought")

    def mixed() -> tuple[int, Any]:
        return distributed.world_size(), distributed.first(lambda: distributed.share("alone"))

    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found: dict[str, Any] = {"value": distributed.first(lambda: [rank]), "nested": distributed.first(mixed)}
    for name, compute in {"settings": settings, "defect": defect}.items():
        found[name] = _raised(lambda compute=compute: distributed.first(compute))  # type: ignore[misc]
    interrupt.STOP.requested = rank == 0
    found["stop"] = _raised(interrupt.check_together)
    found["after"] = distributed.share(rank)
    if rank == 1:
        distributed.stop()
    else:
        found["lost"] = _raised(distributed.barrier)
    (folder / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")


def _raised(act: Callable[[], Any]) -> list[Any] | None:
    try:
        act()
    except HeadstartError as error:
        return [type(error).__name__, str(error), error.exit_code, error.told]
    except ArithmeticError as error:
        return [type(error).__name__, str(error)]
    return None


def process(rank: int, folder: Path) -> None:
    """What each of the two processes does; what it has at the end goes to a file of its own."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        found = everything(folder)
    finally:
        dist.destroy_process_group()
    save_state(folder / f"{rank}.safetensors", found)
