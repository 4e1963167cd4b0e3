"""Frozen backbone, linear head."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.strategies import ProbeConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Solve
from headstart.strategies.common import class_weights


def probe(net: Net, task: Task, cfg: ProbeConfig | None = None) -> Iterator[Solve]:
    """Keep the backbone as it is and learn only a linear head, by L-BFGS on its features.

    Few weights, so little overfitting: the advice for little data like the source. Multinomial logistic regression on
    standardised features; its ridge strength is chosen by cross-validation on the training images.
    """
    cfg = cfg or ProbeConfig()
    net.add_head(task.name, task.num_classes)
    weights = class_weights(task) if cfg.class_weights else None
    yield Solve("probe", task, task.name, (), "logistic", cfg.penalties, cfg.folds, weights)
