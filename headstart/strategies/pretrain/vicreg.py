"""VICReg: views alike, every dimension spread, no two dimensions the same."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.self_supervision import VicregConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.pretrain.common import pretrain_stage
from headstart.strategies.pretrain.seen import checked, pair_of_views
from headstart.terms.redundancy import Regularised


def vicreg(net: Net, data: Task, cfg: VicregConfig | None = None) -> Iterator[Stage]:
    """Variance-invariance-covariance regularisation (Bardes et al. 2022), in its authors' scaling (`terms.redundancy`).

    Deviations: SGD with momentum or AdamW and not LARS, with a limit to the gradient's norm instead; the embedding is
    smaller by default.
    """
    cfg = cfg or VicregConfig()
    checked("vicreg", cfg, net, data)
    weights = (cfg.alike, cfg.spread, cfg.apart)
    term = Regularised(net, dimensions=cfg.dimensions, weights=weights, seed=cfg.school.seed)
    yield pretrain_stage("vicreg", net, data, {"vicreg": term}, pair_of_views(net, cfg.pipeline), cfg.school, even=True)
