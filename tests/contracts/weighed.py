"""Small multi-task runs under every weighting, alone and in two processes, for tests that compare them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import distributed as dist

from headstart.balance.base import Balance
from headstart.catalog.sharing import SharingConfig
from headstart.catalog.strategies import Recipe
from headstart.catalog.weightings import WEIGHTINGS, CaGrad, Scheduled
from headstart.data.mix import Mix, mix_of
from headstart.data.store import store_of
from headstart.data.task import task_of
from headstart.engine.checkpoint import save_state
from headstart.engine.log import RunLog
from headstart.engine.run import Drive
from headstart.stage import Solve, Stage
from headstart.strategies.multitask import multitask
from tests.engine.engine_toys import perceptron, state

SCHEDULED = Scheduled({"kind": "1 - 0.5 * t", "loud": "epoch < 3", "age": 0.7}, normalise=True)
SETTINGS: Mapping[str, Any] = {"schedule": SCHEDULED, "cagrad": CaGrad(c=0.2, normalise=True)}
STEPS_AN_EPOCH, EPOCHS = 5, 4


def mix() -> Mix:
    """Two data sets of 33 and 25 samples, drawn batch by batch of 13: one asked for a class and a yes or no, with gaps, the
    other for that class and a number. So the yes or no, or the number, is absent from every batch."""
    draw = np.random.default_rng(0)
    vectors = draw.normal(0, 1, (58, 6)).astype(np.float32)
    store = store_of(vectors)
    rows = np.arange(58)
    kind = np.where(draw.random(58) < 0.2, -1, np.digitize(vectors[:, 0], [-0.5, 0.5]))
    loud = np.where(rows < 33, (vectors[:, 1] > 0).astype(np.int64), -1)
    age = np.where(rows >= 33, 40 + 9 * vectors[:, 2], np.nan).astype(np.float32)
    tasks = [
        task_of("kind", store, kind, ("low", "middle", "high")),
        task_of("loud", store, loud, ("no", "yes"), kind="yes_no"),
        task_of("age", store, age, (), kind="number"),
    ]
    return mix_of("mix", tasks, [rows[:33], rows[33:]], "proportional", "batch")


def run(name: str, folder: Path | None = None, log: RunLog | None = None, seed: int = 0) -> dict[str, Any]:
    """A run on a fresh net: its state, the balance's, and the lines of its epochs."""
    lines: list[dict[str, Any]] = []
    log = log or RunLog()
    log = replace_listeners(log, lines)
    net, balances = perceptron(), list[Balance]()
    recipe = Recipe(epochs=EPOCHS, batch_size=13, lr=0.1, clip=5.0)
    cfg = replace(SharingConfig(), recipe=recipe, scale=1.0, weighting=name, weighting_settings=SETTINGS.get(name))

    def seen(stages: Iterable[Stage | Solve]) -> Iterator[Stage | Solve]:
        for stage in stages:
            assert isinstance(stage, Stage)
            balances.append(stage.balance)
            yield stage

    Drive(net, seed=seed, folder=folder, log=log).run(seen(multitask(net, mix(), cfg)))
    epochs = [{k: v for k, v in line.items() if k != "seconds"} for line in lines if line["event"] == "epoch"]
    return {"net": state(net), "balance": state(balances[0]), "epochs": epochs}


def replace_listeners(log: RunLog, lines: list[dict[str, Any]]) -> RunLog:
    """The same log, which also fills `lines`."""
    return RunLog(log.path, (*log.listeners, lines.append), **log.context)


def names() -> list[str]:
    """All weightings."""
    return list(WEIGHTINGS)


def process(rank: int, folder: Path, which: list[str]) -> None:
    """What each of two processes does; what it has at the end goes to a file of its own."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        found = {name: run(name) for name in which}
    finally:
        dist.destroy_process_group()
    save_state(folder / f"{rank}.safetensors", found)
