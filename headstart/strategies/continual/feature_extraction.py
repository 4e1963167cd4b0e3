"""The new task's head alone, on what the model sees already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from headstart.catalog.regularised import FeatureExtractionConfig
from headstart.data.task import Task
from headstart.engine.past import Past
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual.common import new_loss, settle, stage, trains


def feature_extraction(net: Net, task: Task, cfg: FeatureExtractionConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """Shared blocks and old heads frozen, the new head trained by gradient steps (Li & Hoiem 2016, their baseline).

    Class-incrementally its loss is over the classes of all heads, of which the old ones stay as they are. In the
    domain-incremental scenario there is one head, which is all that can train.
    """
    cfg = cfg or FeatureExtractionConfig()
    place = settle("feature_extraction", net, task, past, cfg.learn)
    what = trains(net, place, replace(cfg.learn, scale=0.0))
    yield stage("head", net, task, cfg.learn, what, {"new": new_loss(task, place, cfg.learn)})
