"""BYOL: each view predicts what a slowly moving copy of the network makes of the other."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.self_supervision import ByolConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.strategies.pretrain.seen import checked, first_decay, pair_of_views, steps_of
from headstart.terms.bootstrap import Bootstrap


def byol(net: Net, data: Task, cfg: ByolConfig | None = None) -> Iterator[Stage]:
    """Bootstrap your own latent (Grill et al. 2020): projection and predictor on the network, projection on its copy, whose
    decay rises to 1; symmetric, the views apart; no negatives.

    Deviations: SGD with momentum or AdamW and not LARS; projection and predictor are smaller by default, and the first decay
    follows from the length of the training.
    """
    cfg = cfg or ByolConfig()
    checked("byol", cfg, net, data)
    steps = steps_of(data, cfg.school)
    term = Bootstrap(
        net,
        dimensions=cfg.dimensions,
        hidden=cfg.hidden,
        momentum=first_decay(steps) if cfg.momentum is None else cfg.momentum,
        steps=steps,
        seed=cfg.school.seed,
    )
    yield pretrain_stage("byol", net, data, {"byol": term}, pair_of_views(net, cfg.pipeline), cfg.school, even=True)
