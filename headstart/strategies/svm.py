"""Frozen backbone, support vector machine."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.strategies import SvmConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Solve
from headstart.strategies.common import class_weights


def svm(net: Net, task: Task, cfg: SvmConfig | None = None) -> Iterator[Solve]:
    """Keep the backbone as it is and put a linear support vector machine on its features.

    One class against the rest, squared hinge loss. Its margins are turned into probabilities by one scale, fitted to
    out-of-fold margins (Platt 1999, without the shift, which cancels in a softmax).
    """
    cfg = cfg or SvmConfig()
    net.add_head(task.name, task.num_classes)
    weights = class_weights(task) if cfg.class_weights else None
    yield Solve("svm", task, task.name, (), "svm", cfg.penalties, cfg.folds, weights)
