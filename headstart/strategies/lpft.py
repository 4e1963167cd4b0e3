"""Probe, then fine-tune."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.strategies import LpftConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Solve, Stage
from headstart.strategies.common import class_weights, layerwise, learned_part, supervised_stage


def lpft(net: Net, task: Task, cfg: LpftConfig | None = None) -> Iterator[Stage | Solve]:
    """Learn the head on frozen features first, then fine-tune everything from there (LP-FT, Kumar et al. 2022).

    A head that is already right does not distort the features it starts from. In the second stage the head trains at the
    blocks' low rate, as in the paper. The probe is solved exactly, where the paper trains it by gradient steps. With
    early stopping it does not see the tenth that is watched either.
    """
    cfg = cfg or LpftConfig()
    net.add_head(task.name, task.num_classes)
    learned = learned_part(task, cfg.recipe)
    weights = class_weights(learned) if cfg.recipe.class_weights else None
    yield Solve("probe", learned, task.name, (), "logistic", cfg.penalties, cfg.folds, weights)
    trains = {**layerwise(net, cfg.scale, 1.0), f"heads.{task.name}": cfg.scale}
    yield supervised_stage("fine_tune", net, task, trains, cfg.recipe)
