"""What strategies with a teacher share: whose answers a stage learns from, live or kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.store import Store
from headstart.data.views import PLAIN, Rendering
from headstart.engine import distributed
from headstart.engine.fit import Machine
from headstart.engine.record import record, recordable
from headstart.engine.run import Drive, under_way
from headstart.engine.step import render
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.terms.teacher import Answers, Live, Several


@dataclass(frozen=True, eq=False)
class Shown:
    """The samples of a stage as a teacher sees them (`terms.teacher.Sees`): row by row the same, at another size.

    Views say where they crop and by how much they move in shares of the sides, so that both sizes show the same.
    """

    store: Store

    @property
    def fingerprint(self) -> str:
        """That of the store."""
        return self.store.fingerprint

    def __call__(self, rows: NDArray[np.int64], how: Rendering, device: torch.device) -> Tensor:
        """See `Sees`; samples blended with one another are not there."""
        if how.mixed:
            raise ConfigError("the teacher sees samples of its own, which are not blended with others; train without mixup")
        return render(self.store, rows, how.view, seed=how.seed, draw=how.draw, device=device)


def answers_on(
    stage: Stage,
    net: Net,
    teachers: Sequence[Live],
    *,
    folder: Path | None = None,
    live: int = 0,
    plain: bool = False,
    **how: Any,
) -> list[Answers]:
    """What each teacher says about the samples that `stage` shows: kept where its view allows it, else live.

    folder  where answers are kept; None: with the run's caches, else with the run, else in memory
    live    so many teachers, from the first, have to see every batch anyhow and answer live
    plain   what is kept are answers on the plain view, which the stage compares with its own (Learning without Forgetting)
    how     `dtype` and `top_k` of `record`

    Whether they are kept follows from the stage alone, so that a run resumed learns from the same numbers.
    """
    view, drive = stage.views["main"], under_way(net)
    recorded = PLAIN if plain else view
    if not recordable(recorded, mixup=stage.mixup):
        live = len(teachers)
    machine = drive.machine or Machine(device=str(net.device))
    return [
        teacher
        if number < live
        else record(
            teacher,
            stage.task,
            recorded,
            run_seed=drive.seed,
            compared_with=view if plain else None,
            folder=folder or _folder(drive),
            epochs=stage.budget.epochs,
            width=-(-min(stage.batch_size, len(stage.data)) // distributed.world_size()),
            device=machine.device,
            autocast=machine.autocast,
            log=drive.log,
            **how,
        )
        for number, teacher in enumerate(teachers)
    ]


def _folder(drive: Drive) -> Path | None:
    if drive.machine is not None and drive.machine.cache is not None:
        return drive.machine.cache
    return None if drive.folder is None else drive.folder / "answers"


def together(answers: Sequence[Answers], weights: Sequence[float] = (), average: str = "logits") -> Answers:
    """Several teachers as one; a single one as it is."""
    return answers[0] if len(answers) == 1 else Several(answers, weights or None, average)


def check_classes(teachers: Sequence[Live], stage: Stage) -> None:
    """Raise ConfigError naming every teacher that does not answer about the classes of the stage's task."""
    wanted = stage.task.num_classes
    problems(
        ConfigError,
        f"teachers must answer about the {wanted} classes of task {stage.data.name!r}:",
        [
            f"teacher {number + 1} (head {teacher.head!r}) answers about {teacher.num_classes} classes; say which of them "
            "each class of the task is (order=)"
            for number, teacher in enumerate(teachers)
            if teacher.num_classes != wanted
        ],
    )
