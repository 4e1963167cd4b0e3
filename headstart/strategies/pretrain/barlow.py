"""Barlow Twins: the correlation between two views' embeddings becomes the identity."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.self_supervision import BarlowConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.strategies.pretrain.seen import checked, pair_of_views
from headstart.terms.redundancy import Decorrelated


def barlow(net: Net, data: Task, cfg: BarlowConfig | None = None) -> Iterator[Stage]:
    """Barlow Twins (Zbontar et al. 2021): each dimension of the embedding agrees between views and with no other dimension,
    over the images of a step.

    Deviations: SGD with momentum or AdamW and not LARS; the embedding is smaller by default.
    """
    cfg = cfg or BarlowConfig()
    checked("barlow", cfg, net, data)
    term = Decorrelated(net, dimensions=cfg.dimensions, weight=cfg.weight, scale=cfg.scale, seed=cfg.school.seed)
    yield pretrain_stage("barlow", net, data, {"barlow": term}, pair_of_views(net, cfg.pipeline), cfg.school, even=True)
